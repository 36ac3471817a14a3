//! `kiln bisect`: finds the function that the first tier translates wrongly.
//!
//! The functions of a session have numbers. A run with a range of them compiled by the first tier and all others by LLVM
//! is right or wrong; where a range is wrong, one of its halves is, down to one function, in as many runs as the number
//! of functions has bits. Where neither half is wrong, functions are wrong together only, and the range is the answer.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kiln::{Engine, Input, Options};

use crate::args::BisectOptions;
use crate::{Status, report};

/// A run may take this much longer than the one that is right, and at least [`LIMIT_MIN`]: wrong code may never end.
const LIMIT_FACTOR: u32 = 20;
const LIMIT_MIN: Duration = Duration::from_secs(10);
/// Exit status when a wrong function was found.
const EXIT_FOUND: u8 = 1;

/// What a run did. One in which Kiln itself failed is compared like any other: functions that make it fail are found too.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// `None` for a run that was ended.
    status: Option<ExitStatus>,
    stdout: Vec<u8>,
}

/// Finds it and says its name.
pub(crate) fn bisect(options: &BisectOptions) -> Status {
    match find(options) {
        Ok(status) => status,
        Err(error) => report::failure(&*error),
    }
}

fn find(options: &BisectOptions) -> Result<Status, Box<dyn std::error::Error>> {
    let names = function_names(options)?;
    let begin = Instant::now();
    let right = run(options, "--tier=optimizer".into(), None)?;
    let limit = LIMIT_MIN.max(begin.elapsed() * LIMIT_FACTOR);
    let is_wrong = |from: usize, to: usize| -> io::Result<bool> {
        let wrong = run(options, format!("--tier-range={from}..{to}").into(), Some(limit))? != right;
        eprintln!("kiln: functions {from}..{to}: {}", if wrong { "wrong" } else { "right" });
        Ok(wrong)
    };
    let (mut from, mut to) = (0, names.len());
    if !is_wrong(from, to)? {
        println!("both tiers compute the same");
        return Ok(0);
    }
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if is_wrong(from, middle)? {
            to = middle;
        } else if is_wrong(middle, to)? {
            from = middle;
        } else {
            println!("functions {from}..{to} are wrong together only:");
            names[from..to].iter().for_each(|name| println!("  {name}"));
            return Ok(EXIT_FOUND);
        }
    }
    println!("{} (function {from}) is wrong", names[from]);
    if let Some(text) = text_of(options, &names[from]) {
        print!("{text}");
    }
    Ok(EXIT_FOUND)
}

fn function_names(options: &BisectOptions) -> Result<Vec<String>, kiln::Error> {
    let mut inputs = vec![Input::File(PathBuf::from(&options.program[0]))];
    inputs.extend(options.more.iter().cloned().map(Input::File));
    inputs.extend(options.libraries.iter().cloned().map(Input::Library));
    let engine = Engine::new(Options::default())?;
    engine.load(&inputs)?;
    Ok(engine.function_names())
}

/// Runs the program in a process of its own.
fn run(options: &BisectOptions, tier: OsString, limit: Option<Duration>) -> io::Result<Outcome> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg(tier);
    for more in &options.more {
        command.arg("-i").arg(more);
    }
    for library in &options.libraries {
        command.arg("-l").arg(library);
    }
    let stdin = match &options.stdin {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    };
    // Not a pipe: nobody reads while the program is waited for.
    let output = std::env::temp_dir().join(format!("kiln-bisect-{}", std::process::id()));
    let mut child =
        command.args(&options.program).stdin(stdin).stdout(File::create(&output)?).stderr(Stdio::null()).spawn()?;
    let status = wait(&mut child, limit);
    let stdout = std::fs::read(&output);
    std::fs::remove_file(&output)?;
    Ok(Outcome { status: status?, stdout: stdout? })
}

/// Waits for the end, or ends it.
fn wait(child: &mut Child, limit: Option<Duration>) -> io::Result<Option<ExitStatus>> {
    let Some(limit) = limit else { return child.wait().map(Some) };
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// The function as textual IR, where LLVM's tools are installed.
fn text_of(options: &BisectOptions, name: &str) -> Option<String> {
    for file in std::iter::once(PathBuf::from(&options.program[0])).chain(options.more.iter().cloned()) {
        let mut extract = Command::new("llvm-extract-22");
        let done = extract.arg("-S").arg(format!("--func={name}")).arg(&file).stderr(Stdio::null()).output().ok()?;
        if done.status.success() {
            return Some(String::from_utf8_lossy(&done.stdout).into_owned());
        }
    }
    None
}
