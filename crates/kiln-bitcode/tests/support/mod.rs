//! Bitcode made at test time from the sources in `tests/modules`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where this test binary keeps what it makes.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// The output of `command`, which must succeed.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (is LLVM 22 installed?)"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Compiles every source in `tests/modules` and returns the bitcode files.
pub(crate) fn compile_modules(dir: &Path) -> Vec<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules");
    let mut made = Vec::new();
    for source in std::fs::read_dir(sources).unwrap() {
        let source = source.unwrap().path();
        let name = source.file_name().unwrap().to_str().unwrap().to_owned();
        let out = |suffix: &str| dir.join(format!("{name}{suffix}.bc"));
        match source.extension().unwrap().to_str().unwrap() {
            // Not verified: some attributes exclude each other in meaning, not in form.
            "ll" => {
                run(Command::new("llvm-as-22").arg("-disable-verify").arg(&source).arg("-o").arg(out("")));
                made.push(out(""));
            }
            "c" | "cpp" => {
                for level in ["-O0", "-O2"] {
                    let mut clang = Command::new("clang-22");
                    clang.args(["-c", "-emit-llvm", "-g", level]).arg(&source).arg("-o").arg(out(level));
                    run(&mut clang);
                    made.push(out(level));
                }
            }
            "rs" => {
                for level in ["-Copt-level=0", "-Copt-level=2"] {
                    let mut rustc = Command::new("rustc");
                    rustc.args(["--emit=llvm-bc", "--edition=2024", "-Cembed-bitcode=yes", level]);
                    run(rustc.arg(&source).arg("-o").arg(out(level)));
                    made.push(out(level));
                }
            }
            other => panic!("no compiler for .{other}"),
        }
    }
    made.sort();
    made
}
