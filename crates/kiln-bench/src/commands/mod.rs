//! The subcommands.

pub(crate) mod compile;
pub(crate) mod functions;
pub(crate) mod generated;
pub(crate) mod kernels;
pub(crate) mod link;
pub(crate) mod plot;
pub(crate) mod programs;
pub(crate) mod reader;
#[expect(unsafe_code, reason = "compiled code is called")]
pub(crate) mod replace;
pub(crate) mod start;
pub(crate) mod throw;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_bench::table::{Samples, ms, row};

/// What a subcommand can fail with; the user sees its text.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `kiln` to measure: `KILN`, or the one beside this program, which cargo built with the same profile.
pub(crate) fn kiln() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KILN") {
        return Ok(path.into());
    }
    let beside = std::env::current_exe()?.with_file_name("kiln");
    if beside.is_file() {
        return Ok(beside);
    }
    Err(format!("no {}; run `cargo build --release` first or set KILN", beside.display()).into())
}

/// One way to do what a table compares.
pub(crate) struct Way {
    pub(crate) name: String,
    /// A shell command; its output is thrown away and it must succeed.
    pub(crate) command: String,
    samples: Samples,
    failed: Option<String>,
}

impl Way {
    pub(crate) fn new(name: impl Into<String>, command: impl Into<String>) -> Way {
        Way { name: name.into(), command: command.into(), samples: Samples::default(), failed: None }
    }
}

/// Runs all ways round by round, so that other load on the machine hits every way alike. A way that took very long has
/// fewer rounds, one that failed has no more.
pub(crate) fn interleave(ways: &mut [Way], rounds: usize) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let mut spent = vec![Duration::ZERO; ways.len()];
    for _ in 0..rounds {
        for (way, spent) in ways.iter_mut().zip(&mut spent) {
            if way.failed.is_some() || *spent > PATIENCE {
                continue;
            }
            let start = Instant::now();
            let done = Command::new("sh").args(["-c", &way.command]).stdin(Stdio::null()).output()?;
            let wall = start.elapsed();
            *spent += wall;
            if done.status.success() {
                way.samples.push(wall);
            } else {
                let stderr = String::from_utf8_lossy(&done.stderr);
                way.failed = Some(format!("{}: {}", done.status, stderr.lines().next().unwrap_or_default()));
            }
        }
    }
    Ok(())
}

/// Prints a row per way: minimum and median in milliseconds.
pub(crate) fn print(ways: &[Way], first: &str) {
    for way in ways {
        let cells = match &way.failed {
            Some(why) => [first.to_owned(), way.name.clone(), "fails".to_owned(), why.clone()],
            None => [first.to_owned(), way.name.clone(), ms(way.samples.min()), ms(way.samples.median())],
        };
        println!("{}", row(&cells));
    }
}

/// Whether a command is on the path.
pub(crate) fn present(command: &str) -> bool {
    Command::new(command).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A path for a file that is written and measured again and again: in memory where the machine has a file system there.
pub(crate) fn scratch(name: &str) -> String {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    folder.join(format!("kiln-bench-{}-{name}", std::process::id())).display().to_string()
}

/// The standard output of a shell command that must succeed.
pub(crate) fn succeed(command: &str) -> Result<String> {
    let done = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&done.stderr);
    Err(format!("{}: {}", done.status, stderr.lines().next().unwrap_or_default()).into())
}
