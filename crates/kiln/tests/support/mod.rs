//! What every test of the embedding API needs.

#![allow(dead_code, reason = "each test file is compiled with this module and uses some of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::{Engine, Input, Options, Reclaimed};

/// The optimizer of the same build: cargo puts it one folder above the tests.
fn optimizer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("kiln-optimizer");
    assert!(cfg!(kiln_tsan) || built.is_file(), "{} is missing: cargo build -p kiln-optimizer", built.display());
    built
}

/// Options with that optimizer.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.optimizer = Some(optimizer());
    options
}

/// An engine with these options.
pub(crate) fn engine() -> Engine {
    Engine::new(options()).unwrap()
}

/// Compiles a C source to a file with that extension.
fn clang(name: &str, source: &str, extension: &str, flags: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (c, out) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.{extension}")));
    std::fs::write(&c, source).unwrap();
    let status = Command::new("clang-22").args(["-c", "-fPIC"]).args(flags).arg(&c).arg("-o").arg(&out).status();
    assert!(status.unwrap().success(), "clang-22 refused {name}");
    out
}

/// The bitcode of a C source.
pub(crate) fn bitcode(name: &str, source: &str, flags: &[&str]) -> Input {
    Input::File(clang(name, source, "bc", &[&["-emit-llvm"], flags].concat()))
}

/// The object file of a C source.
pub(crate) fn object(name: &str, source: &str) -> Vec<u8> {
    std::fs::read(clang(name, source, "o", &["-O1"])).unwrap()
}

/// The type of most test functions.
pub(crate) type Int = unsafe extern "C" fn(i32) -> i32;

/// Calls the function `name` of the session.
pub(crate) fn call(engine: &Engine, name: &str, argument: i32) -> i32 {
    let function = engine.function::<Int>(name).unwrap();
    // SAFETY: the tests' functions only compute.
    unsafe { function.pointer()(argument) }
}

/// Reclaims when no other test starts a process: a child of `vfork` runs on our memory, and might hold anything.
pub(crate) fn reclaim(engine: &Engine) -> Reclaimed {
    loop {
        let reclaimed = engine.reclaim();
        if reclaimed.obstacles.is_empty() {
            return reclaimed;
        }
        std::thread::yield_now();
    }
}

/// Runs `test`, whose path in this binary is `name`, in a process of its own; what it prints is printed.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    const VARIABLE: &str = "KILN_TEST_ALONE";
    if std::env::var_os(VARIABLE).is_some() {
        return test();
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--test-threads=1", "--nocapture"])
        .env(VARIABLE, "1")
        // Or every new thread brings memory of its own, and resident memory says nothing.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{name}: {:?}\n{text}", output.status);
    println!("{text}");
}
