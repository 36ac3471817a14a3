//! Programs whose source is generated: bitcode, object and executable of each.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kiln_bench::corpus::{self, Key, Workshop, tool};

use super::Result;

/// Which compiler takes the source.
#[derive(Clone, Copy)]
pub(crate) enum Language {
    C,
    Cxx,
}

/// The results, all unoptimised.
pub(crate) struct Built {
    pub(crate) module: PathBuf,
    pub(crate) object: PathBuf,
    pub(crate) native: PathBuf,
}

/// Builds the source `text` with `count` functions.
pub(crate) fn build(name: &str, count: usize, language: Language, text: &str) -> Result<Built> {
    let (compiler, extension) = match language {
        Language::C => (tool::CLANG, "c"),
        Language::Cxx => (tool::CLANGXX, "cc"),
    };
    let shop = Workshop::new();
    let directory = shop.result(&format!("{name}-{count}"), Key::new().word(text), |into| {
        let source = into.join(format!("it.{extension}"));
        fs::write(&source, text).map_err(|error| corpus::Error::File { path: source.clone(), source: error })?;
        let module = into.join("it.bc");
        corpus::run(
            Command::new(compiler).args(["-w", "-O0", "-c", "-emit-llvm"]).arg(&source).arg("-o").arg(&module),
        )?;
        let object = into.join("it.o");
        corpus::run(Command::new(compiler).args(["-w", "-O0", "-fPIC", "-c"]).arg(&source).arg("-o").arg(&object))?;
        corpus::run(Command::new(compiler).arg(&object).arg("-o").arg(into.join("native")))
    })?;
    Ok(Built { module: directory.join("it.bc"), object: directory.join("it.o"), native: directory.join("native") })
}
