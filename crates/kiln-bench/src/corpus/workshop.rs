//! Results of compilers, kept by the content of everything that went in.
//!
//! A result lives in `<out>/<name>-<hash>`, where the hash covers sources, flags and the compiler's version. It appears
//! by one `rename` of a finished directory, so a test that is killed half-way leaves nothing that looks finished, and
//! two processes that build the same thing both end with a whole one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

/// The compilers and tools that build programs, by the names Debian gives them.
pub mod tool {
    /// C.
    pub const CLANG: &str = "clang-22";
    /// C++.
    pub const CLANGXX: &str = "clang++-22";
    /// Joins modules.
    pub const LLVM_LINK: &str = "llvm-link-22";
    /// Rust; the one that cargo found.
    pub const RUSTC: &str = "rustc";
}

/// A program could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tool is not there at all.
    #[error("{tool} could not be started: {source}; scripts/setup-llvm.sh --tests installs what is missing")]
    Tool {
        /// Its command name.
        tool: String,
        /// Why.
        source: io::Error,
    },
    /// A tool ran and failed.
    #[error("{command}\nended with {status}:\n{stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote.
        stderr: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in `programs/` or an answer of a tool is not what was agreed.
    #[error("{path}: {problem}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }

    pub(crate) fn format(path: impl Into<PathBuf>, problem: impl Into<String>) -> Error {
        Error::Format { path: path.into(), problem: problem.into() }
    }
}

/// Everything that decides a result.
#[derive(Clone, Default)]
pub struct Key(blake3::Hasher);

impl Key {
    /// An empty key.
    pub fn new() -> Key {
        Key::default()
    }

    /// Adds a word: a flag, a name, a version.
    #[must_use]
    pub fn word(mut self, word: impl AsRef<OsStr>) -> Key {
        let bytes = word.as_ref().as_encoded_bytes();
        // The length keeps "ab","c" and "a","bc" apart.
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        self
    }

    /// Adds words.
    #[must_use]
    pub fn words(self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Key {
        words.into_iter().fold(self, Key::word)
    }

    /// Adds a file's name and content.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn file(self, path: &Path) -> Result<Key, Error> {
        let content = std::fs::read(path).map_err(Error::file(path))?;
        let mut key = self.word(path.file_name().unwrap_or_default());
        key.0.update(&(content.len() as u64).to_le_bytes()).update(&content);
        Ok(key)
    }

    fn hex(&self) -> String {
        self.0.finalize().to_hex()[..16].to_string()
    }
}

/// The directory of results.
pub struct Workshop {
    root: PathBuf,
    out: PathBuf,
    /// One lock per result, so that threads of one process build it once.
    building: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
    /// The versions of the compilers, part of every key.
    versions: OnceLock<String>,
    fetched: OnceLock<HashMap<String, PathBuf>>,
    fetching: Mutex<()>,
}

impl Workshop {
    /// The repository this crate was compiled in, with results under cargo's target directory.
    pub fn new() -> Workshop {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/kiln-bench").to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Workshop::at(root, target.join("programs"))
    }

    /// A repository and a directory for results.
    pub fn at(root: PathBuf, out: PathBuf) -> Workshop {
        Workshop {
            root,
            out,
            building: Mutex::default(),
            versions: OnceLock::new(),
            fetched: OnceLock::new(),
            fetching: Mutex::default(),
        }
    }

    /// A path in the repository.
    pub fn source(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The directory of results.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The directory with the result of `build`, which is run only if no result for `key` is there.
    ///
    /// # Errors
    ///
    /// What `build` returns, and trouble with the directory.
    pub fn result(
        &self,
        name: &str,
        key: Key,
        build: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let key = key.word(self.versions()?);
        let place = self.out.join(format!("{name}-{}", key.hex()));
        let lock = Arc::clone(self.building.lock().expect("not poisoned").entry(place.clone()).or_default());
        // A build that panicked left nothing behind that the next one could trip over.
        let _building = lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if place.is_dir() {
            return Ok(place);
        }
        std::fs::create_dir_all(&self.out).map_err(Error::file(&self.out))?;
        let unfinished =
            tempfile::Builder::new().prefix(".building-").tempdir_in(&self.out).map_err(Error::file(&self.out))?;
        build(unfinished.path())?;
        match std::fs::rename(unfinished.path(), &place) {
            // Another process was first.
            Err(_) if place.is_dir() => Ok(place),
            Err(error) => Err(Error::file(&place)(error)),
            Ok(()) => {
                let _ = unfinished.keep();
                Ok(place)
            }
        }
    }

    fn versions(&self) -> Result<&str, Error> {
        if let Some(versions) = self.versions.get() {
            return Ok(versions);
        }
        let mut all = String::new();
        for compiler in [tool::CLANG, tool::RUSTC] {
            all += &output(Command::new(compiler).arg("--version"))?;
        }
        Ok(self.versions.get_or_init(|| all))
    }

    /// The unpacked source of a crate that `programs/vendor` pins, fetched if need be.
    ///
    /// # Errors
    ///
    /// When cargo cannot fetch it, or it is not among the pinned ones.
    pub fn vendored(&self, name: &str) -> Result<PathBuf, Error> {
        let manifest = self.source("programs/vendor/Cargo.toml");
        let _fetching = self.fetching.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.fetched.get().is_none() {
            let _ = self.fetched.set(fetch(&manifest)?);
        }
        let fetched = self.fetched.get().expect("just set");
        fetched.get(name).cloned().ok_or_else(|| Error::format(manifest, format!("does not pin {name}")))
    }
}

impl Default for Workshop {
    fn default() -> Workshop {
        Workshop::new()
    }
}

/// Has cargo fetch the pinned crates; name to directory.
///
/// `cargo metadata` leaves ripgrep out, since a program cannot be a dependency, but fetches and unpacks it beside the
/// others: its directory is theirs with the version of the lock file.
fn fetch(manifest: &Path) -> Result<HashMap<String, PathBuf>, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(&cargo).args(["fetch", "--quiet", "--locked", "--manifest-path"]).arg(manifest))?;
    let metadata = output(
        Command::new(&cargo).args(["metadata", "--format-version=1", "--locked", "--manifest-path"]).arg(manifest),
    )?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|error| Error::format(manifest, error.to_string()))?;
    let mut directories = HashMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        if let (Some(name), Some(path)) = (package["name"].as_str(), package["manifest_path"].as_str())
            && let Some(directory) = Path::new(path).parent()
        {
            directories.insert(name.to_owned(), directory.to_path_buf());
        }
    }
    if let Some(registry) = directories.get("lua-src").and_then(|lua| lua.parent()) {
        directories.insert("ripgrep".to_owned(), registry.join(format!("ripgrep-{}", super::ripgrep::VERSION)));
    }
    Ok(directories)
}

/// Runs a command that must succeed.
///
/// # Errors
///
/// When it does not start, or fails.
pub fn run(command: &mut Command) -> Result<(), Error> {
    output(command).map(drop)
}

/// The standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Tool { tool: command.get_program().to_string_lossy().into_owned(), source })?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(Error::Failed {
        command: format!("{command:?}"),
        status: done.status,
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workshop(out: &Path) -> Workshop {
        Workshop::at(Workshop::new().root, out.to_path_buf())
    }

    #[test]
    fn a_result_is_built_once_per_key() {
        let out = tempfile::tempdir().unwrap();
        let shop = workshop(out.path());
        let build =
            |text: &'static str| move |dir: &Path| std::fs::write(dir.join("x"), text).map_err(Error::file(dir));
        let first = shop.result("n", Key::new().word("a"), build("1")).unwrap();
        let again = shop.result("n", Key::new().word("a"), build("2")).unwrap();
        let other = shop.result("n", Key::new().word("b"), build("3")).unwrap();
        assert_eq!(first, again);
        assert_eq!(std::fs::read(first.join("x")).unwrap(), b"1");
        assert_eq!(std::fs::read(other.join("x")).unwrap(), b"3");
    }

    #[test]
    fn a_failed_build_leaves_nothing() {
        let out = tempfile::tempdir().unwrap();
        let shop = workshop(out.path());
        let failed = shop.result("n", Key::new(), |dir| Err(Error::format(dir, "no")));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn words_keep_their_borders() {
        assert_ne!(Key::new().word("ab").word("c").hex(), Key::new().word("a").word("bc").hex());
    }
}
