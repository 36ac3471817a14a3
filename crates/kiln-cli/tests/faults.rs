//! What the outside does to a run: an optimizer that is killed, stopped, broken or absent, and limits of the process.
//!
//! Whatever happens, a run ends: either as the native program would, or with Kiln's own exit status and a message. The
//! moments of the kills come from fixed seeds.

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use harness::{Compare, LIMIT, Run, kiln, native, optimizer, same, tail, under_kiln};
use kiln_bench::corpus::{Built, Level, Workshop, real};
use kiln_bench::process::{self, End, Outcome};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

const KILLED_RUNS: u64 = 100;
const BATCH: u64 = 10;

fn main() {
    let arguments = Arguments::from_args();
    let shop = Arc::new(Workshop::new());
    let mut trials = Vec::new();
    let mut add = |name: String, test: fn(&Workshop, u64) -> Result<(), Failed>, seed: u64| {
        let shop = Arc::clone(&shop);
        trials.push(Trial::test(name, move || test(&shop, seed)));
    };
    for batch in 0..KILLED_RUNS / BATCH {
        add(format!("optimizer_killed::{batch}"), optimizer_killed, batch);
    }
    add("optimizer_stopped".to_owned(), optimizer_stopped, 0);
    add("optimizer_dies_at_once".to_owned(), optimizer_dies_at_once, 0);
    add("optimizer_is_absent".to_owned(), optimizer_is_absent, 0);
    add("limits_of_memory".to_owned(), limits_of_memory, 0);
    add("limits_of_file_size".to_owned(), limits_of_file_size, 0);
    add("limits_of_descriptors".to_owned(), limits_of_descriptors, 0);
    add("limits_of_code".to_owned(), limits_of_code, 0);
    add("program_file_is_overwritten".to_owned(), program_file_is_overwritten, 0);
    add("unused_functions_get_no_body".to_owned(), unused_functions_get_no_body, 0);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Lua runs its script in many small steps, so a kill at any time hits something.
fn lua(shop: &Workshop) -> Result<(Built, Run), Failed> {
    let built = real::named("lua").ok_or("no lua")?.build(shop, Level::O0)?;
    let script = shop.source("programs/lua/features.lua").display().to_string();
    let options = vec!["--tier=optimizer".to_owned()];
    let run = Run { options, args: vec![script, "x".to_owned()], stdin: b"1 2\n3\n".to_vec(), ..Run::default() };
    Ok((built, run))
}

fn start(built: &Built, run: &Run) -> Result<Outcome, Failed> {
    under_kiln(built, &[real::whole(built)], run)
}

/// Right, or Kiln's own status with a message.
fn right_or_clear(native: &Outcome, ours: &Outcome) -> Result<(), Failed> {
    let says = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("kiln: ");
    if ours.end == End::Exit(125) && (says(&ours.stderr) || says(&ours.stdout)) {
        return Ok(());
    }
    same(native, ours, Compare::default())
}

/// A script in front of the optimizer.
fn wrapper(folder: &Path, script: &str) -> Result<PathBuf, Failed> {
    let path = folder.join("kiln-optimizer");
    fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn with_optimizer(mut run: Run, path: &Path) -> Run {
    run.env.push(("KILN_OPTIMIZER".to_owned(), path.display().to_string()));
    run
}

fn optimizer_killed(shop: &Workshop, batch: u64) -> Result<(), Failed> {
    let (built, run) = lua(shop)?;
    let expected = native(&built, &run, LIMIT)?;
    let whole = start(&built, &run)?;
    same(&expected, &whole, Compare::default())?;
    let mut killed = 0;
    for number in 0..BATCH {
        let folder = tempfile::tempdir()?;
        let pids = folder.path().join("pids");
        let script = format!("echo $$ >> '{}'\nexec '{}' \"$@\"", pids.display(), optimizer().display());
        let run = with_optimizer(run.clone(), &wrapper(folder.path(), &script)?);
        // splitmix64 of the run's number: a moment between the start and a little after the end.
        let mut random = (batch * BATCH + number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let moment = whole.wall.mul_f64((random >> 40) as f64 / f64::from(1 << 24) * 1.1);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(moment);
            let pids = fs::read_to_string(pids).unwrap_or_default();
            let pid = pids.lines().last().and_then(|line| line.parse().ok()).and_then(Pid::from_raw);
            pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
        });
        let ours = start(&built, &run)?;
        killed += u64::from(killer.join().unwrap_or(false));
        right_or_clear(&expected, &ours).map_err(|failure| {
            Failed::from(format!("killed after {moment:?}: {}", failure.message().unwrap_or_default()))
        })?;
    }
    if killed == 0 { Err("no optimizer was alive at its moment: nothing was tested".into()) } else { Ok(()) }
}

/// The first optimizer stops itself before it answers; its successor must do the work.
fn optimizer_stopped(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let (built, run) = lua(shop)?;
    let folder = tempfile::tempdir()?;
    let marker = folder.path().join("stopped");
    let script = format!(
        "[ -e '{marker}' ] || {{ echo $$ > '{marker}'; kill -STOP $$; }}\nexec '{}' \"$@\"",
        optimizer().display(),
        marker = marker.display()
    );
    let mut run = with_optimizer(run, &wrapper(folder.path(), &script)?);
    run.options.extend(["--compile-timeout".to_owned(), "2".to_owned()]);
    let ours = start(&built, &run)?;
    let stopped = fs::read_to_string(&marker)?.trim().parse().ok().and_then(Pid::from_raw);
    // Kiln should have killed it; if not, it must not outlive the test.
    let left = stopped.is_some_and(|pid| !dies(pid) && kill_process(pid, Signal::KILL).is_ok());
    right_or_clear(&native(&built, &run, LIMIT)?, &ours)?;
    if left { Err("the stopped optimizer was left behind".into()) } else { Ok(()) }
}

/// Whether the process ends. One that was killed is gone only when it is next scheduled.
fn dies(pid: Pid) -> bool {
    let begin = std::time::Instant::now();
    while begin.elapsed() < LIMIT {
        if is_dead(pid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Whether a process has ended. One that init has not reaped yet still takes signals.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn optimizer_dies_at_once(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let (built, run) = lua(shop)?;
    let ours = start(&built, &with_optimizer(run, Path::new("/bin/false")))?;
    clear(&ours, "optimizer")
}

fn optimizer_is_absent(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let (built, run) = lua(shop)?;
    let ours = start(&built, &with_optimizer(run, Path::new("/nonexistent/kiln-optimizer")))?;
    clear(&ours, "llvm-22-dev")
}

fn clear(ours: &Outcome, word: &str) -> Result<(), Failed> {
    if ours.end == End::Exit(125) && String::from_utf8_lossy(&ours.stderr).contains(word) {
        return Ok(());
    }
    Err(format!("ended with {}, and the message should name {word}:\n{}", ours.end, tail(&ours.stderr)).into())
}

fn limits_of_memory(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let values = ["20000", "50000", "100000", "200000", "500000", "1000000", "2000000", "3000000", "8000000"];
    limited(shop, "-v", &values, "8000000")
}

fn limits_of_file_size(shop: &Workshop, _: u64) -> Result<(), Failed> {
    limited(shop, "-f", &["0", "1", "8", "64", "512", "4096", "1000000", "unlimited"], "unlimited")
}

fn limits_of_descriptors(shop: &Workshop, _: u64) -> Result<(), Failed> {
    limited(shop, "-n", &["4", "5", "6", "8", "12", "20", "256"], "256")
}

/// Runs under `ulimit option value` for each value; at `enough` the run must be right.
fn limited(shop: &Workshop, option: &str, values: &[&str], enough: &str) -> Result<(), Failed> {
    let (built, run) = lua(shop)?;
    let expected = native(&built, &run, LIMIT)?;
    for value in values {
        // Through a pipe: a limit on the size of files must not hit the file that the output is kept in.
        let script = format!("set -o pipefail; (ulimit {option} {value} && exec \"$@\" 2>&1) | cat");
        let mut command = Command::new("bash");
        command.arg("-c").arg(script).arg("bash").arg(kiln()).arg("run");
        command.args(&run.options).args(["-l", "m"]).arg(real::whole(&built)).args(&run.args);
        command.env("KILN_OPTIMIZER", optimizer()).env("LANG", "C.UTF-8");
        let ours = process::run(command, &run.stdin, Duration::from_secs(60))?;
        let judged = if *value == enough {
            same(&expected, &ours, Compare::default())
        } else {
            right_or_clear(&expected, &ours)
        };
        judged.map_err(|failure| {
            Failed::from(format!("ulimit {option} {value}: {}", failure.message().unwrap_or_default()))
        })?;
    }
    Ok(())
}

/// Lazy means lazy: a short script makes fewer than half of SQLite's functions compile.
/// SQLite in less code memory than it has code for: the same output, functions that came and went, and little memory.
fn limits_of_code(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let built = real::named("sqlite").ok_or("no sqlite")?.build(shop, Level::O0)?;
    let args = vec![shop.source("programs/sqlite/short.sql").display().to_string()];
    let expected = native(&built, &Run { args: args.clone(), ..Run::default() }, LIMIT)?;
    // What is above the limit: stubs and what was loaded, and code that waits for a look at all threads.
    for (limit, kilobytes) in [("450K", 520), ("350K", 420)] {
        let options = ["--stats", "--code-limit", limit].map(str::to_owned).to_vec();
        let ours = start(&built, &Run { args: args.clone(), options, ..Run::default() })?;
        let stderr = String::from_utf8_lossy(&ours.stderr).into_owned();
        let number = |line: &str| {
            let words = stderr.lines().find_map(|text| text.trim().strip_prefix(line)).unwrap_or_default();
            words.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default()
        };
        let (evicted, used) = (number("code limit "), number("code "));
        if ours.stdout != expected.stdout || ours.end != expected.end {
            return Err(format!("{limit}: not as natively:\n{}", tail(&ours.stderr)).into());
        }
        if evicted == 0 || used == 0 || used > kilobytes {
            return Err(format!("{limit}: {evicted} functions were evicted, {used} KiB are in use:\n{stderr}").into());
        }
    }
    Ok(())
}

/// Functions are compiled from the file as it was, though the program itself makes it another one before it calls them.
fn program_file_is_overwritten(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let built = real::named("lua").ok_or("no lua")?.build(shop, Level::O0)?;
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.bc");
    let script = shop.source("programs/lua/overwrite.lua").display().to_string();
    let run = Run { args: vec![script, copy.display().to_string()], ..Run::default() };
    let expected = native(&built, &run, LIMIT)?;
    fs::copy(real::whole(&built), &copy)?;
    let ours = under_kiln(&built, std::slice::from_ref(&copy), &run)?;
    same(&expected, &ours, Compare::default())?;
    if fs::read(&copy)? == b"no program any more" { Ok(()) } else { Err("the file was not written".into()) }
}

fn unused_functions_get_no_body(shop: &Workshop, _: u64) -> Result<(), Failed> {
    let built = real::named("sqlite").ok_or("no sqlite")?.build(shop, Level::O0)?;
    let script = shop.source("programs/sqlite/short.sql").display().to_string();
    let run = Run { args: vec![script], options: vec!["--stats".to_owned()], ..Run::default() };
    let ours = start(&built, &run)?;
    let stderr = String::from_utf8_lossy(&ours.stderr);
    let words: Vec<&str> = stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix("functions "))
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match (number(0), number(2)) {
        (Some(compiled), Some(defined)) if compiled > 0 && compiled * 2 < defined => Ok(()),
        (Some(compiled), Some(defined)) => Err(format!("{compiled} of {defined} functions were compiled").into()),
        _ => Err(format!("no line `functions N of M` in the statistics:\n{}", tail(&ours.stderr)).into()),
    }
}
