//! Running a program to its end, or to a time limit.
//!
//! Output goes to files rather than pipes: a program that leaves a child behind does not keep the reader waiting, and a
//! child that writes after its parent's end is not lost in a closed pipe. Each program leads a process group of its own,
//! which is killed when the program has ended or its time is up, so nothing outlives a test.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exit(i32),
    /// It died by this signal.
    Signal(i32),
    /// It was killed at the time limit.
    TimedOut,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exit(status) => write!(f, "exit {status}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
            End::TimedOut => f.write_str("time limit"),
        }
    }
}

/// What a finished program leaves behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
    /// From start to end.
    pub wall: Duration,
}

/// Runs `command` in a process group of its own, with `stdin` as its input, for at most `limit`.
///
/// # Errors
///
/// Only for what is not the program's doing: it could not be started, or its output could not be stored.
pub fn run(mut command: Command, stdin: &[u8], limit: Duration) -> io::Result<Outcome> {
    let scratch = tempfile::tempdir()?;
    let (input, output, errors) = (scratch.path().join("in"), scratch.path().join("out"), scratch.path().join("err"));
    std::fs::write(&input, stdin)?;
    command
        .stdin(Stdio::from(File::open(&input)?))
        .stdout(Stdio::from(File::create(&output)?))
        .stderr(Stdio::from(File::create(&errors)?))
        .process_group(0);
    let start = Instant::now();
    let (status, timed_out) = wait(command, limit)?;
    let wall = start.elapsed();
    let end = match (timed_out, status.code(), status.signal()) {
        (true, ..) => End::TimedOut,
        (false, Some(code), _) => End::Exit(code),
        (false, None, signal) => End::Signal(signal.unwrap_or_default()),
    };
    Ok(Outcome { end, stdout: read(&output)?, stderr: read(&errors)?, wall })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Waits for the end of `command`; a watchdog kills its group at the limit. Whatever is left of the group dies too.
fn wait(mut command: Command, limit: Duration) -> io::Result<(ExitStatus, bool)> {
    let mut child = command.spawn()?;
    let group = Pid::from_child(&child);
    let (ended, watch) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let timed_out = watch.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if timed_out {
            // The group exists: its leader has not been waited for, or `ended` would have been dropped.
            let _ = kill_process_group(group, Signal::KILL);
        }
        timed_out
    });
    let status = child.wait();
    drop(ended);
    let timed_out = watchdog.join().unwrap_or(false);
    // Only orphans of the program can still be in the group; none is the normal case.
    let _ = kill_process_group(group, Signal::KILL);
    Ok((status?, timed_out))
}
