//! Which compiler makes a function, and what is said where none does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Assembly that only LLVM's assembler knows how to read.
const SOURCE: &str = "#include <stdio.h>\n\
    static int odd(int x) { __asm__ volatile(\"bswapl %0; bswapl %0\" : \"+r\"(x)); return x; }\n\
    static int even(int x) { return x * 2; }\n\
    int main(void) { printf(\"%d %d\\n\", odd(7), even(7)); return 3; }\n";

fn module(name: &str) -> PathBuf {
    compile(name, SOURCE, &["-O0"])
}

fn compile(name: &str, text: &str, flags: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, module) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.bc")));
    std::fs::write(&source, text).unwrap();
    let mut clang = Command::new("clang-22");
    let status = clang.args(flags).args(["-c", "-emit-llvm"]).arg(&source).arg("-o").arg(&module).status();
    assert!(status.expect("clang-22 is installed").success());
    module
}

fn run(options: &[&str], module: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kiln")).arg("run").args(options).arg(module).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_optimizer_does_what_the_first_tier_leaves_out_and_statistics_say_why() {
    let output = run(&["--stats"], &module("fallback"));
    let stderr = stderr(&output);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "7 14\n", "{stderr}");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr.contains(" because the first tier does not do "), "{stderr}");
}

#[test]
fn what_is_left_out_goes_to_the_optimizer_without_its_module() {
    // What it refers to: a constant, a thread's variable, a function, a weak one, a library's, a jump table's switch.
    let source = "#include <stdio.h>\n#include <string.h>\n\
        static const int squares[3] = {0, 1, 4};\n\
        static _Thread_local int calls = 3;\n\
        extern int missing(void) __attribute__((weak));\n\
        static int twice(int x) { return 2 * x; }\n\
        static int (*const table[])(int) = { twice };\n\
        struct large { long words[5]; };\n\
        static struct large make(double x, struct large in) {\n\
          __asm__ volatile(\"bswapq %0; bswapq %0\" : \"+r\"(in.words[0]));\n\
          in.words[1] += (long)x; calls++;\n\
          switch (in.words[0]) { case 1: in.words[2] = 7; break; case 2: in.words[2] = strlen(\"four\"); break;\n\
            case 3: in.words[2] = table[0](9); break; case 4: in.words[2] = twice(11); break; default: in.words[2] = -1; }\n\
          in.words[3] = missing ? missing() : squares[in.words[0] % 3]; return in; }\n\
        int main(void) { for (long i = 0; i < 6; i++) { struct large in = {{ i, 100 }}; in = make(i * 2.5, in);\n\
          printf(\"%ld %ld %ld %d\\n\", in.words[1], in.words[2], in.words[3], calls); } return 0; }\n";
    let expected = "100 -1 0 4\n102 7 1 5\n105 4 4 6\n107 18 0 7\n110 22 1 8\n112 -1 4 9\n";
    for level in ["-O0", "-O2"] {
        let module = compile(&format!("without_module{level}"), source, &[level]);
        let output = run(&["--stats"], &module);
        let stderr = stderr(&output);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{level}: {stderr}");
        assert!(stderr.contains(" of a function alone, "), "{level}: {stderr}");
    }
}

#[test]
fn a_function_beyond_the_tier_that_is_demanded_is_named_with_the_reason() {
    let output = run(&["--tier=baseline"], &module("refused"));
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("cannot compile "), "{stderr}");
    assert!(stderr.contains("the first tier does not do "), "{stderr}");
}

#[test]
fn a_symbol_that_nobody_defines_is_named_with_the_function_that_calls_it() {
    let source = "int nowhere(int); int lost(int x) { return x ? nowhere(x) : 0; }\n\
        int main(int argc, char **argv) { return lost(argc); }\n";
    let output = run(&["--tier=baseline"], &compile("undefined", source, &["-O0"]));
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("undefined symbol nowhere, referenced by lost ("), "{stderr}");
}

#[test]
fn the_optimizer_alone_makes_everything_where_it_is_demanded() {
    let output = run(&["--tier=optimizer", "--stats"], &module("alone"));
    let stderr = stderr(&output);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "7 14\n", "{stderr}");
    assert!(stderr.contains("first tier  0 functions, 0 IR instructions"), "{stderr}");
    assert!(!stderr.contains("because"), "{stderr}");
}

#[test]
fn a_mix_of_both_computes_the_same() {
    let module = module("mix");
    for seed in 0..8 {
        let output = run(&[&format!("--mix={seed}")], &module);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "7 14\n", "seed {seed}: {}", stderr(&output));
    }
}

#[test]
fn intrinsics_that_become_calls_find_the_mathematical_library() {
    let source =
        "volatile double x = 2.5; int main(void) { return (int)(__builtin_floor(x) + __builtin_fma(x, x, x)); }\n";
    let module = compile("math", source, &["-O2"]);
    for tier in ["baseline", "optimizer"] {
        let output = run(&["--tier", tier], &module);
        assert_eq!(output.status.code(), Some(10), "{tier}: {}", stderr(&output));
    }
}

#[test]
fn instructions_may_name_thread_local_variables() {
    // No front end writes most of these.
    let text = "@x = internal thread_local global i32 7\n\
        @y = thread_local global [4 x i32] [i32 1, i32 2, i32 3, i32 4]\n\
        @format = private constant [13 x i8] c\"%d %d %d %d\\0A\\00\"\n\
        declare i32 @printf(ptr, ...)\n\
        define i32 @leaf(i32 %a, i32 %b, i32 %c) {\n\
          %v = load i32, ptr @x\n %s = add i32 %v, %a\n store i32 %s, ptr @x\n\
          %q = getelementptr [4 x i32], ptr @y, i64 0, i32 %b\n %w = load i32, ptr %q\n\
          %u = load i32, ptr getelementptr (i8, ptr @y, i64 8)\n\
          %t = add i32 %w, %u\n %r = add i32 %t, %c\n ret i32 %r }\n\
        define i32 @loop(i32 %n, double %d) {\nentry:\n br label %l\nl:\n\
          %i = phi i32 [ 0, %entry ], [ %j, %l ]\n\
          %p = phi ptr [ @x, %entry ], [ getelementptr (i8, ptr @y, i64 4), %l ]\n\
          %sum = phi i32 [ 0, %entry ], [ %sum2, %l ]\n\
          %v = load i32, ptr %p\n %sum2 = add i32 %sum, %v\n %j = add i32 %i, 1\n\
          %c = icmp slt i32 %j, %n\n br i1 %c, label %l, label %e\ne:\n\
          %k = fptosi double %d to i32\n %sum3 = add i32 %sum2, %k\n ret i32 %sum3 }\n\
        define i32 @main() {\n %a = call i32 @leaf(i32 3, i32 1, i32 100)\n %b = load i32, ptr @x\n\
          %c = call i32 @loop(i32 5, double 1000.0)\n %there = icmp ne ptr @x, null\n %d = zext i1 %there to i32\n\
          %e = call i32 (ptr, ...) @printf(ptr @format, i32 %a, i32 %b, i32 %c, i32 %d)\n ret i32 0 }\n";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, module) = (folder.join("thread_operands.ll"), folder.join("thread_operands.bc"));
    std::fs::write(&source, text).unwrap();
    let assembled = Command::new("llvm-as-22").arg(&source).arg("-o").arg(&module).output().unwrap();
    assert!(assembled.status.success(), "{}", stderr(&assembled));
    for tier in ["--tier=baseline", "--tier=optimizer"] {
        let output = run(&[tier], &module);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "105 10 1018 1\n", "{tier}: {}", stderr(&output));
    }
}

#[test]
fn a_module_becomes_an_object_that_any_linker_takes() {
    let source = "#include <stdio.h>\n\
        static int twice(int x) { return 2 * x; }\n\
        int (*volatile table[])(int) = { twice, 0 };\n\
        static const char *const words[] = { \"one\", \"two\" };\n\
        static _Thread_local int counter = 5;\n\
        static int zeros[100];\n\
        __attribute__((constructor)) static void first(void) { zeros[99] = 1; }\n\
        __attribute__((weak)) int weak(void) { return 4; }\n\
        int main(void) { counter++; printf(\"%d %s %d %d %d\\n\", table[0](weak()), words[1], counter, zeros[99], table[1] == 0);\n\
        return 0; }\n";
    let module = compile("object", source, &["-O0", "-fPIC"]);
    let (object, program) = (module.with_extension("o"), module.with_extension("exe"));
    let output = Command::new(env!("CARGO_BIN_EXE_kiln")).arg("compile").arg(&module).arg("-o").arg(&object).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let linked = Command::new("clang-22").arg(&object).arg("-o").arg(&program).output().unwrap();
    assert!(linked.status.success() && linked.stderr.is_empty(), "{}", stderr(&linked));
    let output = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "8 two 6 1 1\n");
}

#[test]
fn an_object_that_would_lack_functions_is_not_written_unasked() {
    let module = module("lacking");
    let object = module.with_extension("o");
    let _ = std::fs::remove_file(&object);
    let kiln = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_kiln")).arg("compile").args(arguments).arg(&module).output().unwrap()
    };
    let output = kiln(&[]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("odd is left out: the first tier does not do"), "{}", stderr(&output));
    assert!(!object.exists());
    assert_eq!(kiln(&["--partial"]).status.code(), Some(0));
    assert!(object.exists());
}

#[test]
fn a_program_of_the_first_tier_needs_no_optimizer() {
    let source = "#include <stdio.h>\nint main(void) { printf(\"%s\\n\", \"no LLVM\"); return 0; }\n";
    let module = compile("alone_here", source, &["-O0"]);
    let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
    let output = kiln.arg("run").arg(&module).env("KILN_OPTIMIZER", "/nonexistent/kiln-optimizer").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no LLVM\n", "{}", stderr(&output));
}

#[test]
fn bisection_names_the_function_that_differs() {
    // No tier promises where a variable lies in its frame, and they do not agree about it.
    let source = "#include <stdio.h>\n\
        int distance(void) { volatile char local; return (char *)__builtin_frame_address(0) - (char *)&local; }\n\
        int one(void) { return 1; }\nint two(void) { return one() + one(); }\n\
        int main(void) { printf(\"%d %d\\n\", two(), distance()); return 0; }\n";
    let module = compile("bisected", source, &["-O0"]);
    let output = Command::new(env!("CARGO_BIN_EXE_kiln")).arg("bisect").arg(&module).output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(found.starts_with("distance (function 0) is wrong\n"), "{found}");
    assert!(found.contains("define"), "its IR follows: {found}");

    let same = compile("agreed", "int main(void) { return 7; }\n", &["-O0"]);
    let output = Command::new(env!("CARGO_BIN_EXE_kiln")).arg("bisect").arg(&same).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn calls_between_modules_are_direct_whoever_compiles_them() {
    let main = "int helper(int); int (*volatile kept)(int); extern int puts(const char *);\n\
        int main(void) { int sum = 0; for (int i = 0; i < 9; i++) sum += helper(i); puts(\"x\"); return sum; }\n";
    let main = compile("calls-main", main, &["-O0", "-fPIC"]);
    let helper = compile("calls-helper", "int helper(int x) { return 2 * x; }\n", &["-O0", "-fPIC"]);
    for tier in [&["--tier=baseline"][..], &["--tier=optimizer"], &["--tier=optimizer", "--pipeline=full"]] {
        let more = ["--stats", "-i", helper.to_str().unwrap()];
        let output = run(&[tier, &more].concat(), &main);
        assert_eq!(output.status.code(), Some(72), "{}", stderr(&output));
        let direct = stderr(&output).contains(" direct, 0 through stubs") && !stderr(&output).contains(" 0 direct");
        assert!(direct, "{tier:?}: {}", stderr(&output));
    }
}
