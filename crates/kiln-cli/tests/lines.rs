//! Source lines of compiled code: in crash reports, for gdb, for perf, in objects. Judges: the marks in the source, gdb.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Faults in a function that is inlined at -O2, and lies in another file than its caller.
const HEADER: &str =
    "static inline int load(int *p, int n) {\n  if (n < 4)\n    return n;\n  return *p + n; // fault\n}\n";
const SOURCE: &str = "#include \"HEADER\"\n\
    static volatile int seen;\n\
    __attribute__((noinline)) int inner(int *p, int n) {\n\
      int here = load(p, n); // inlined\n\
      seen = here; // behind\n\
      return here ^ n;\n\
    }\n\
    __attribute__((noinline)) int middle(int *p, int n) {\n\
      int sum = 0;\n\
      for (int i = 0; i < n; i++)\n\
        sum += inner(p, i); // call\n\
      return sum;\n\
    }\n\
    int main(int argc, char **argv) {\n\
      return middle((int *)(long)(argc * 8), argc + 4) + 1; // outermost\n\
    }\n";

struct Program {
    module: PathBuf,
    /// Names of the files.
    header: String,
    source: String,
}

/// Names differ from test to test: tests of one process share the folder.
fn program(name: &str, level: &str) -> Program {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (header, source) = (format!("{name}{level}.h"), format!("{name}{level}.c"));
    std::fs::write(folder.join(&header), HEADER).unwrap();
    std::fs::write(folder.join(&source), SOURCE.replace("HEADER", &header)).unwrap();
    let module = folder.join(format!("{name}{level}.bc"));
    let mut clang = Command::new("clang-22");
    clang.current_dir(folder).args(["-g", level, "-c", "-emit-llvm"]).arg(&source).arg("-o").arg(&module);
    assert!(clang.status().expect("clang-22 is installed").success());
    Program { module, header, source }
}

/// The line of `text` that bears `mark`.
fn line(text: &str, mark: &str) -> usize {
    1 + text.lines().position(|line| line.ends_with(mark)).unwrap()
}

impl Program {
    /// With the end of its directory, however the compiler wrote that.
    fn fault(&self) -> String {
        format!("/{}:{}", self.header, line(HEADER, "// fault"))
    }

    fn at(&self, mark: &str) -> String {
        format!("{}:{}", self.source, line(SOURCE, mark))
    }
}

fn kiln(arguments: &[&str], module: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiln")).args(arguments).arg(module).output().unwrap()
}

/// What gdb prints when it does `commands` with `program`.
fn gdb(commands: &[&str], program: &[&str]) -> String {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set breakpoint pending on"]);
    gdb.args(commands.iter().flat_map(|command| ["-ex", command])).arg("--args").args(program);
    let output = gdb.output().expect("gdb is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn crash_reports_name_the_line_of_the_fault() {
    for level in ["-O0", "-O2"] {
        let program = program("report", level);
        for tier in ["--tier=baseline", "--tier=optimizer"] {
            let output = kiln(&["run", tier], &program.module);
            let report = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(report.contains(&format!("{}\n", &program.fault()[1..])), "{level} {tier}: {report}");
        }
    }
}

#[test]
fn a_program_without_debug_info_is_reported_without_lines() {
    let module = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare.bc");
    let source = module.with_extension("c");
    std::fs::write(&source, "int main(int argc, char **argv) { return *(int *)(long)(argc * 8); }\n").unwrap();
    let mut clang = Command::new("clang-22");
    assert!(clang.args(["-c", "-emit-llvm"]).arg(&source).arg("-o").arg(&module).status().unwrap().success());
    let report = kiln(&["run"], &module).stderr;
    let report = String::from_utf8_lossy(&report);
    assert!(report.contains("segmentation fault in main (") && report.contains("bare.bc+0x"), "{report}");
}

#[test]
fn gdb_shows_lines_and_stops_at_them() {
    for level in ["-O0", "-O2"] {
        let program = program("debugged", level);
        let behind = format!("break {}", program.at("// behind"));
        // Stops in the first function that it knows, until there is the right one.
        let commands = [&behind[..], "run", "info breakpoints", "delete", "continue", "backtrace"];
        let text = gdb(&commands, &[env!("CARGO_BIN_EXE_kiln"), "run", "--gdb", program.module.to_str().unwrap()]);
        assert!(text.contains("Breakpoint 1, main ()"), "{level}: {text}");
        let trace = text.split("SIGSEGV").nth(1).unwrap_or_else(|| panic!("{level}: {text}"));
        assert!(trace.contains(&program.fault()), "{level}: {text}");
        for (function, mark) in [("middle ()", "// call"), ("main ()", "// outermost")] {
            assert!(trace.contains(&format!("{function} at {}", program.at(mark))), "{level} {function}: {text}");
        }
    }
}

#[test]
fn gdb_stops_at_a_line_of_a_function_that_is_compiled_later() {
    let program = program("pending", "-O0");
    let behind = format!("break {}", program.at("// behind"));
    let commands = [&behind[..], "run", "continue", "continue", "backtrace 1"];
    let text = gdb(&commands, &[env!("CARGO_BIN_EXE_kiln"), "run", "--gdb", program.module.to_str().unwrap()]);
    assert!(text.contains(&format!("#0  inner () at {}", program.at("// behind"))), "{text}");
}

#[test]
fn objects_have_line_tables() {
    for level in ["-O0", "-O2"] {
        let program = program("object", level);
        let object = program.module.with_extension("o");
        let output = kiln(&["compile", "-o", object.to_str().unwrap()], &program.module);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let verified = Command::new("llvm-dwarfdump-22").arg("--verify").arg(&object).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        let executable = program.module.with_extension("exe");
        let linked = Command::new("clang-22").arg(&object).arg("-o").arg(&executable).status().unwrap();
        assert!(linked.success());
        let behind = format!("break {}", program.at("// behind"));
        let text = gdb(&[&behind, "run", "backtrace", "delete", "continue"], &[executable.to_str().unwrap()]);
        let frames = ["inner ()", "middle ()", "main ()"].into_iter().zip(["// behind", "// call", "// outermost"]);
        for (function, mark) in frames {
            assert!(text.contains(&format!("{function} at {}", program.at(mark))), "{level} {function}: {text}");
        }
        let fault = text.split("SIGSEGV").nth(1).unwrap_or_else(|| panic!("{level}: {text}"));
        assert!(fault.contains(&program.fault()), "{level}: {text}");
    }
}

#[test]
fn perf_is_told_the_lines_of_each_function() {
    for level in ["-O0", "-O2"] {
        let program = program("profiled", level);
        let folder = program.module.with_extension("dumps");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        let output = kiln.current_dir(&folder).args(["run", "--perf=jitdump"]).arg(&program.module).output().unwrap();
        assert!(!output.stderr.is_empty(), "{output:?}");
        let dump = std::fs::read_dir(&folder).unwrap().next().expect("a dump").unwrap().path();
        let functions = lines_of(&std::fs::read(dump).unwrap());
        let has = |function: &str, place: &str| {
            let lines = functions.iter().find(|(name, _)| name == function).map(|(_, lines)| lines);
            lines.is_some_and(|lines| lines.iter().any(|line| line.ends_with(place)))
        };
        let faulting = if level == "-O0" { "load" } else { "inner" };
        assert!(has(faulting, &program.fault()), "{level}: {functions:?}");
        assert!(has("middle", &program.at("// call")), "{level}: {functions:?}");
    }
}

/// Names of functions and their lines in a jitdump (linux/tools/perf/Documentation/jitdump-specification.txt).
fn lines_of(dump: &[u8]) -> Vec<(String, Vec<String>)> {
    let word = |at: usize| u32::from_ne_bytes(dump[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_ne_bytes(dump[at..at + 8].try_into().unwrap());
    let text = |at: usize| {
        let text = &dump[at..];
        String::from_utf8_lossy(&text[..text.iter().position(|byte| *byte == 0).unwrap()]).into_owned()
    };
    let (mut functions, mut lines, mut at) = (Vec::new(), Vec::new(), word(8) as usize);
    while at < dump.len() {
        match word(at) {
            0 => functions.push((text(at + 56), std::mem::take(&mut lines))),
            2 => {
                let (code, mut entry) = (long(at + 16), at + 32);
                for _ in 0..long(at + 24) {
                    assert!(long(entry) >= code);
                    let file = text(entry + 16);
                    lines.push(format!("{file}:{}", word(entry + 8)));
                    entry += 16 + file.len() + 1;
                }
            }
            _ => {}
        }
        at += word(at + 4) as usize;
    }
    functions
}
