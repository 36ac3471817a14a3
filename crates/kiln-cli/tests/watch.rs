//! `kiln run --watch`: saves while a program runs.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program that prints a line whenever it gets one.
const SOURCE: &str = "#include <stdio.h>\n\
    static int lines;\n\
    static const char *greeting(void) { return \"hello\"; }\n\
    int main(void) { char buffer[64]; while (fgets(buffer, sizeof buffer, stdin)) { printf(\"%s %d\\n\", greeting(), ++lines);\n\
    fflush(stdout); } return lines; }\n";

struct Watched {
    file: PathBuf,
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    messages: BufReader<std::process::ChildStderr>,
}

impl Watched {
    fn start(name: &str) -> Watched {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("program.c");
        std::fs::write(&file, SOURCE).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(["run", "--watch"]).arg(&file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let messages = BufReader::new(child.stderr.take().unwrap());
        Watched { file, child, output, messages }
    }

    fn ask(&mut self) -> String {
        use std::io::Write;
        writeln!(self.child.stdin.as_mut().unwrap(), "next").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Saves as editors do, and returns what is said until a line holds `until`.
    fn save(&mut self, from: &str, to: &str, until: &str) -> String {
        let new = self.file.with_extension("new");
        std::fs::write(&new, SOURCE.replace(from, to)).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
        let mut said = String::new();
        while !said.contains(until) {
            let read = self.messages.read_line(&mut said).unwrap();
            assert!(read > 0, "the program ended: {said}");
        }
        said
    }
}

#[test]
fn a_save_is_live_and_variables_keep_their_values() {
    let mut program = Watched::start("live");
    assert_eq!(program.ask(), "hello 1");
    let said = program.save("hello", "bonjour", "as before");
    assert!(said.contains("greeting is live, version 2"), "{said}");
    assert!(said.contains("1 changed, 1 as before"), "{said}");
    assert_eq!(program.ask(), "bonjour 2");
    let said = program.save("return \"hello\"", "return ;", "error generated");
    assert!(said.contains("not taken over, the program goes on as it is"), "{said}");
    assert_eq!(program.ask(), "bonjour 3");
    let said = program.save("static int lines", "static long lines", "restart");
    assert!(said.contains("the variable lines was i32 (4 bytes) and is i64 (8 bytes) now"), "{said}");
    assert_eq!(program.ask(), "bonjour 4");
    program.save("hello", "hello again", "as before");
    assert_eq!(program.ask(), "hello again 5");
    drop(program.child.stdin.take());
    let mut rest = String::new();
    program.messages.read_to_string(&mut rest).unwrap();
    assert_eq!((program.child.wait().unwrap().code(), rest.as_str()), (Some(5), ""));
}

#[test]
fn what_cannot_be_watched_is_said() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unwatched");
    std::fs::create_dir_all(&folder).unwrap();
    let (source, object) = (folder.join("o.c"), folder.join("o.o"));
    std::fs::write(&source, "int main(void) { return 7; }").unwrap();
    assert!(Command::new("clang-22").arg("-c").arg(&source).arg("-o").arg(&object).status().unwrap().success());
    let output = Command::new(env!("CARGO_BIN_EXE_kiln")).args(["run", "--watch"]).arg(&object).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not watched"));
}
