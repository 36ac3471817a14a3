//! Whole programs: every function of them is compiled here, and they print what LLVM's print.

use std::path::{Path, PathBuf};
use std::process::Command;

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The example that writes objects, which cargo builds along with the tests.
fn compiler() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().and_then(Path::parent).expect("the profile's folder").join("examples/compile")
}

fn check(name: &str) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name);
    let folder = std::env::temp_dir().join(format!("kiln-programs-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = |name: &str| folder.join(name);
    let clang = if name.ends_with(".cc") { "clang++-22" } else { "clang-22" };
    run(Command::new(clang).args(["-w", "-O1"]).arg(&source).arg("-o").arg(path("native")).arg("-lm"));
    let expected = run(&mut Command::new(path("native")));
    for flags in [&["-O0", "-Xclang", "-disable-O0-optnone"][..], &["-O1"], &["-O2", "-fno-inline"]] {
        let bitcode = path("program.bc");
        let emit = ["-w", "-fPIC", "-c", "-emit-llvm"];
        run(Command::new(clang).args(emit).args(flags).arg(&source).arg("-o").arg(&bitcode));
        run(Command::new(compiler()).arg(&bitcode).arg("-o").arg(path("program.o")).arg("--left").arg(path("left")));
        let left = std::fs::read_to_string(path("left")).expect("list");
        assert_eq!(left, "", "{name} {flags:?}: all functions are compiled");
        run(Command::new(clang)
            .args(["-z", "noexecstack"])
            .arg(path("program.o"))
            .arg("-o")
            .arg(path("program"))
            .arg("-lm"));
        let printed = run(&mut Command::new(path("program")));
        assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&expected), "{name} {flags:?}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn exceptions() {
    check("exceptions.cc");
}

#[test]
fn control() {
    check("control.c");
}

#[test]
fn memory() {
    check("memory.c");
}

#[test]
fn numbers() {
    check("numbers.c");
}

#[test]
fn registers() {
    check("registers.cc");
}
