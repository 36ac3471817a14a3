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
fn a_function_beyond_the_tier_that_is_demanded_is_named_with_the_reason() {
    let output = run(&["--tier=baseline"], &module("refused"));
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("cannot compile "), "{stderr}");
    assert!(stderr.contains("the first tier does not do "), "{stderr}");
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
