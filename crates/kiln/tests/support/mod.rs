//! What every test of the embedding API needs.

use std::path::{Path, PathBuf};

use kiln::{Engine, Options};

/// The optimizer of the same build: cargo puts it one folder above the tests.
fn optimizer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("kiln-optimizer");
    assert!(built.is_file(), "{} is missing: cargo build -p kiln-optimizer", built.display());
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
