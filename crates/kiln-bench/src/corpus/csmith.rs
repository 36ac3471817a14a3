//! Random C programs from csmith, by seed.
//!
//! A csmith program has no undefined behaviour and prints one checksum of its globals, so the native build is a
//! complete oracle.

use std::path::Path;
use std::process::Command;

use super::workshop::{output, run, tool};
use super::{Built, Error, Key, Level, Workshop};

/// Where Debian puts csmith's run-time headers.
pub const HEADERS: &str = "/usr/include/csmith";

/// Whether csmith and its headers are installed.
pub fn available() -> bool {
    Path::new(HEADERS).is_dir() && Command::new("csmith").arg("--version").output().is_ok()
}

/// The program of one seed: its native build without optimisation, and two modules, unoptimised and optimised.
///
/// # Errors
///
/// When csmith or clang is missing or fails.
pub fn build(shop: &Workshop, seed: u32) -> Result<Built, Error> {
    let parent = shop.out().join("csmith");
    std::fs::create_dir_all(&parent).map_err(Error::file(parent))?;
    let key = Key::new().word(seed.to_string()).word("both levels");
    let directory = shop.result(&format!("csmith/{seed}"), key, |into| {
        let source = into.join("program.c");
        let text = output(Command::new("csmith").args(["--seed", &seed.to_string()]))?;
        std::fs::write(&source, text).map_err(Error::file(&source))?;
        let clang = |level: Level| {
            let mut command = Command::new(tool::CLANG);
            command.args(["-w", level.flag(), "-I", HEADERS]).arg(&source);
            command
        };
        for level in [Level::O0, Level::O2] {
            run(clang(level).args(["-c", "-emit-llvm", "-o"]).arg(into.join(module(level))))?;
        }
        run(clang(Level::O0).arg("-o").arg(into.join("native")))
    })?;
    Ok(Built {
        native: directory.join("native"),
        modules: [Level::O0, Level::O2].map(|level| directory.join(module(level))).to_vec(),
        libraries: Vec::new(),
        directory,
    })
}

/// File name of the module of one level.
fn module(level: Level) -> String {
    format!("program{}.bc", level.flag())
}
