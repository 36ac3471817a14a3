//! Time and memory of short runs, measured by a small program of their own.
//!
//! What the kernel calls the peak of a process begins with the peak of the one that forked it, so a benchmark of many
//! megabytes cannot start what shall be seen to need one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::corpus::{self, Error, Key, Workshop, tool};

/// Starts programs and measures them.
pub struct Launcher {
    program: PathBuf,
    scratch: tempfile::TempDir,
}

/// A run that ended well.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From start to end.
    pub wall: Duration,
    /// The most memory that was resident, in bytes.
    pub peak: u64,
}

impl Launcher {
    /// Builds the program that measures, if need be.
    ///
    /// # Errors
    ///
    /// When clang is missing or refuses it.
    pub fn new(shop: &Workshop) -> Result<Launcher, Error> {
        let source = shop.source("programs/measure/main.c");
        let directory = shop.result("measure", Key::new().file(&source)?, |into| {
            // Linked statically, it is resident with less than any program that it could be asked to measure.
            corpus::run(Command::new(tool::CLANG).args(["-O2", "-static", "-o"]).arg(into.join("measure")).arg(&source))
        })?;
        let scratch = tempfile::tempdir().map_err(Error::file(std::env::temp_dir()))?;
        Ok(Launcher { program: directory.join("measure"), scratch })
    }

    /// Runs `words`; what it prints is thrown away. `Err` says how a run ended that did not end well.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or fails: with the first line of what it wrote to standard error.
    pub fn run(&self, words: &[String]) -> Result<Measured, String> {
        let result = self.scratch.path().join("result");
        let done = Command::new(&self.program)
            .arg(&result)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        if !done.status.success() {
            let stderr = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{}: {}", done.status, stderr.lines().next().unwrap_or_default()));
        }
        read(&result).ok_or_else(|| format!("{} holds no measurement", result.display()))
    }
}

fn read(result: &Path) -> Option<Measured> {
    let text = std::fs::read_to_string(result).ok()?;
    let (wall, peak) = text.trim().split_once(' ')?;
    Some(Measured { wall: Duration::from_nanos(wall.parse().ok()?), peak: peak.parse::<u64>().ok()? * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_program_is_not_said_to_need_what_this_one_does() {
        // More than any shell takes, and written to, so that it is resident here.
        let here = vec![1u8; 256 << 20];
        let launcher = Launcher::new(&Workshop::new()).unwrap();
        let measured = launcher.run(&["true".to_owned()]).unwrap();
        assert!(measured.peak < 64 << 20, "{measured:?}");
        assert!(measured.peak > 1 << 16, "{measured:?}");
        assert!(here.iter().all(|byte| *byte == 1));
        let failed = launcher.run(&["sh".to_owned(), "-c".to_owned(), "echo why >&2; exit 3".to_owned()]);
        assert!(failed.as_ref().is_err_and(|why| why.contains("status: 3: why")), "{failed:?}");
    }
}
