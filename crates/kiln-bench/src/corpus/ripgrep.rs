//! ripgrep: a whole Rust program, the standard library included, as one module.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::workshop::{Workshop, run};
use super::{Built, Error, Key, Level};

/// The version that `programs/vendor` pins.
pub const VERSION: &str = "14.1.1";

/// Builds `rg` with its own lock file and `lto = "fat"`, so that `--emit=llvm-bc` holds the whole program.
///
/// At [`Level::O0`] ripgrep and its dependencies are unoptimised; the standard library stays as it was shipped.
///
/// # Errors
///
/// When cargo cannot fetch or build it.
pub fn build(shop: &Workshop, level: Level) -> Result<Built, Error> {
    let source = shop.vendored("ripgrep")?;
    let key = Key::new().word(VERSION).word(level.name());
    let directory = shop.result(&format!("ripgrep-{}", level.name()), key, |into| build_in(&source, into, level))?;
    Ok(Built {
        native: directory.join("native"),
        modules: vec![directory.join("rg.bc")],
        libraries: Vec::new(),
        directory,
    })
}

fn build_in(registry: &Path, into: &Path, level: Level) -> Result<(), Error> {
    // Cargo writes beside the manifest, and the registry's copy is not ours to change.
    let source = into.join("source");
    copy(registry, &source)?;
    let (opt_level, debug) = match level {
        Level::O0 => ("0", "0"),
        Level::O2 => ("3", "1"),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .current_dir(&source)
        .args(["rustc", "--quiet", "--release", "--locked", "--bin", "rg", "--target-dir"])
        .arg(into.join("target"))
        .args(["--", "--emit=llvm-bc,link", "--cap-lints=allow"])
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", opt_level)
        .env("CARGO_PROFILE_RELEASE_DEBUG", debug)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS"))?;
    let release = into.join("target/release");
    let module = module_in(&release.join("deps"))?;
    rename(&module, &into.join("rg.bc"))?;
    rename(&release.join("rg"), &into.join("native"))?;
    for folder in ["source", "target"] {
        std::fs::remove_dir_all(into.join(folder)).map_err(Error::file(into))?;
    }
    Ok(())
}

fn module_in(folder: &Path) -> Result<PathBuf, Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::file(folder))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "bc"))
        .ok_or_else(|| Error::format(folder, "rustc wrote no bitcode"))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(Error::file(from))
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in std::fs::read_dir(from).map_err(Error::file(from))? {
        let path = entry.map_err(Error::file(from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}
