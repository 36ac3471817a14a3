//! Thread-local variables reached through descriptors (`-mtls-dialect=gnu2`), where their place is known at run time only:
//! a linked program prints what the native one prints.

use std::path::{Path, PathBuf};
use std::process::Command;

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Whether `object` asks for descriptors.
fn has_descriptors(object: &Path) -> bool {
    String::from_utf8_lossy(&run(Command::new("llvm-readobj-22").arg("-r").arg(object))).contains("TLSDESC_CALL")
}

fn judge(model: &str, dialect: &str, level: &str) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let clang = || Command::new("clang-22");
    let (object, library, native) = (at("main.o"), at("libtheirs.so"), at("native"));
    run(clang().args(["-shared", "-fPIC"]).arg(source("library.c")).arg("-o").arg(&library));
    let dialect_flag = format!("-mtls-dialect={dialect}");
    let model_flag = format!("-DMODEL=\"{model}\"");
    run(clang()
        .args(["-c", "-fPIC", level, &dialect_flag, &model_flag])
        .arg(source("variables.c"))
        .arg("-o")
        .arg(&object));
    assert_eq!(has_descriptors(&object), dialect == "gnu2");
    let rpath = format!("-Wl,-rpath,{}", folder.path().display());
    run(clang().arg(&object).arg(&library).arg(rpath).arg("-o").arg(&native));
    let expected = run(&mut Command::new(native));
    let linked = run(Command::new(env!("CARGO_BIN_EXE_kiln")).arg("link").args([&object, &library]));
    assert_eq!(String::from_utf8_lossy(&linked), String::from_utf8_lossy(&expected), "{model} {dialect} {level}");
    assert!(expected.len() > 50);
}

#[test]
fn global_dynamic() {
    judge("global-dynamic", "gnu2", "-O0");
    judge("global-dynamic", "gnu2", "-O2");
}

#[test]
fn local_dynamic() {
    judge("local-dynamic", "gnu2", "-O0");
    judge("local-dynamic", "gnu2", "-O2");
}

#[test]
fn the_older_way() {
    judge("global-dynamic", "gnu", "-O2");
    judge("local-dynamic", "gnu", "-O2");
}
