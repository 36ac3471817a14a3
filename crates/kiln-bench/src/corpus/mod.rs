//! The programs that tests and benchmarks run, built on demand.
//!
//! [`Workshop`] owns the directory of results and knows which of them are still right. [`features`] are small programs
//! of our own, one language feature each; [`real`] are programs other people wrote, and [`ripgrep`] is the largest of
//! those. All are compiled by the pinned clang or by rustc, once to bitcode and once to a native executable, at two
//! levels: what a compiler emits without an `-O` flag and with `-O2`.

pub mod csmith;
pub mod features;
pub mod real;
pub mod ripgrep;
mod workshop;

use std::path::PathBuf;

pub use workshop::{Error, Key, Workshop, run, tool};

/// How far bitcode was optimised before Kiln sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As the front end emits it when no `-O` flag is given.
    O0,
    /// After the `-O2` pipeline.
    O2,
}

impl Level {
    /// Both levels.
    pub const ALL: [Level; 2] = [Level::O0, Level::O2];

    /// The name in directories and test names.
    pub fn name(self) -> &'static str {
        match self {
            Level::O0 => "O0",
            Level::O2 => "O2",
        }
    }

    /// The compiler's flag.
    pub fn flag(self) -> &'static str {
        match self {
            Level::O0 => "-O0",
            Level::O2 => "-O2",
        }
    }
}

/// A program, built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The native executable of the same sources and level.
    pub native: PathBuf,
    /// The bitcode modules; the first is the one that holds `main`.
    pub modules: Vec<PathBuf>,
    /// Libraries it needs, as the `-l` option names them.
    pub libraries: Vec<String>,
    /// Where it was built.
    pub directory: PathBuf,
}
