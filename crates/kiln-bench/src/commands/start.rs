//! `kiln-bench start`: how long short runs take from start to end, and how much memory.

use std::time::Duration;

use clap::Args;
use kiln_bench::corpus::{Built, Level, Workshop, features, real, ripgrep};
use kiln_bench::launch::Launcher;
use kiln_bench::table::{self, Samples, ms, number, row};

use super::{Result, kiln, present, scratch};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Rounds; every way runs once per round, the slow ones less often
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// These runs only: hello, lua, quickjs, sqlite, ripgrep
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Kiln and native executables only, not clang and lli
    #[arg(long)]
    quick: bool,
}

/// One program with its arguments.
struct Run {
    name: &'static str,
    what: &'static str,
    /// How its bitcode and its native executable are optimised.
    level: &'static str,
    /// What `kiln run` may take, as a multiple of the native SQLite run.
    aim: f64,
    module: String,
    native: String,
    libraries: Vec<String>,
    args: Vec<String>,
}

/// One way to run it.
struct Way {
    name: String,
    words: Vec<String>,
    samples: Samples,
    /// Wall time of each round.
    seconds: Vec<f64>,
    peak: u64,
    spent: Duration,
    failed: Option<String>,
}

const RUNS: [&str; 5] = ["hello", "lua", "quickjs", "sqlite", "ripgrep"];
const KILN: &str = "`kiln run`";
/// A way that took this long has fewer rounds.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let shop = Workshop::new();
    let launcher = Launcher::new(&shop)?;
    if let Some(unknown) = arguments.only.iter().find(|name| !RUNS.contains(&name.as_str())) {
        return Err(format!("no run is called {unknown}: there are {}", RUNS.join(", ")).into());
    }
    // The speed of the machine: what the others are divided by, measured between them.
    let measure = of(&shop, "sqlite")?;
    let measure = words(&[&measure.native], &measure.args);
    let head = ["run", "way", "min ms", "median ms", "peak MB", "of native SQLite", "aim"];
    println!("{}\n\n{}", table::cpu(), table::head(&head));
    let mut notes = Vec::new();
    for name in RUNS.into_iter().filter(|name| arguments.only.is_empty() || arguments.only.iter().any(|n| n == name)) {
        let run = of(&shop, name)?;
        let mut ways = ways(&run, arguments.quick)?;
        ways.push(Way::new("native SQLite", measure.clone()));
        interleave(&launcher, &mut ways, arguments.rounds);
        print(&run, ways);
        notes.push(format!("{name}: {}", compiled(&run)?));
    }
    println!("\nFunctions that `kiln run` compiled: {}.", notes.join("; "));
    Ok(())
}

/// The run called `name`, built.
fn of(shop: &Workshop, name: &'static str) -> Result<Run> {
    let script = |file: &str| shop.source("programs").join(name).join(file).display().to_string();
    let (built, what, args) = match name {
        "hello" => {
            let features = features::all(shop)?;
            let hello =
                features.iter().find(|feature| feature.name == name).ok_or("programs/features/hello.c is gone")?;
            (hello.build(shop, Level::O0)?, "hello world", Vec::new())
        }
        "ripgrep" => {
            let header = shop.vendored("libsqlite3-sys")?.join("sqlite3/sqlite3.h");
            let args = ["-c", "sqlite3_open", &header.display().to_string()].map(str::to_owned).to_vec();
            (ripgrep::build(shop, Level::O2)?, "ripgrep as released, one file", args)
        }
        _ => {
            let built = real::named(name).ok_or("no such program")?.build(shop, Level::O0)?;
            let (what, args) = match name {
                "lua" => ("Lua, fib(20)", vec![script("fib.lua"), "20".to_owned()]),
                "quickjs" => ("QuickJS, a small script", vec![script("small.js")]),
                _ => ("SQLite, a script", vec![script("short.sql")]),
            };
            (built, what, args)
        }
    };
    let Built { native, modules, mut libraries, .. } = built.clone();
    let module = match name {
        "hello" | "ripgrep" => modules[0].clone(),
        _ => real::whole(&built),
    };
    if name == "ripgrep" {
        libraries.extend(["m", "gcc_s"].map(str::to_owned));
    }
    let (module, native) = (module.display().to_string(), native.display().to_string());
    let level = if name == "ripgrep" { "-O3" } else { "-O0" };
    // Milliseconds where the native SQLite run takes 87; ripgrep's 40 are of a machine where it takes 139.
    let aim = match name {
        "hello" => 4.0 / 87.0,
        "lua" => 12.0 / 87.0,
        "quickjs" => 80.0 / 87.0,
        "sqlite" => 130.0 / 87.0,
        _ => 40.0 / 139.0,
    };
    Ok(Run { name, what, level, aim, module, native, libraries, args })
}

impl Way {
    fn new(name: impl Into<String>, words: Vec<String>) -> Way {
        let samples = Samples::default();
        Way { name: name.into(), words, samples, seconds: Vec::new(), peak: 0, spent: Duration::ZERO, failed: None }
    }
}

fn words(command: &[&str], args: &[String]) -> Vec<String> {
    command.iter().map(ToString::to_string).chain(args.iter().cloned()).collect()
}

fn ways(run: &Run, quick: bool) -> Result<Vec<Way>> {
    let Run { module, native, libraries, args, .. } = run;
    let libraries: Vec<String> = libraries.iter().map(|library| format!("-l{library}")).collect();
    let mut ways = vec![
        Way::new(KILN, kiln_run(run, &[])?),
        Way::new(format!("native {}, run only", run.level), words(&[native], args)),
    ];
    if quick {
        return Ok(ways);
    }
    let executable = scratch("program");
    let shell = format!(
        "clang-22 -w -O0 {module} -o {executable} {} && {executable} {}; status=$?; rm -f {executable}; exit $status",
        libraries.join(" "),
        args.join(" ")
    );
    ways.push(Way::new("`clang-22 -O0` + link + run", words(&["sh", "-c", &shell], &[])));
    if present("lli-22") {
        let mut modes = vec![vec!["lli-22"], vec!["lli-22", "-O0"], vec!["lli-22", "--jit-kind=mcjit", "-O0"]];
        if run.name == "ripgrep" {
            // Minutes, and the last one crashes.
            modes.truncate(1);
        }
        for mode in modes {
            let command: Vec<&str> = mode.iter().copied().chain([module.as_str()]).collect();
            ways.push(Way::new(format!("`{}`", mode.join(" ")), words(&command, args)));
        }
    }
    Ok(ways)
}

fn kiln_run(run: &Run, options: &[&str]) -> Result<Vec<String>> {
    let kiln = kiln()?.display().to_string();
    let libraries: Vec<String> = run.libraries.iter().map(|library| format!("-l{library}")).collect();
    let mut command = words(&[&kiln, "run"], &[]);
    command.extend(options.iter().map(ToString::to_string));
    command.extend(libraries);
    command.push(run.module.clone());
    command.extend(run.args.iter().cloned());
    Ok(command)
}

/// Runs all ways round by round, so that other load on the machine hits every way alike. One that failed has no more.
fn interleave(launcher: &Launcher, ways: &mut [Way], rounds: usize) {
    for _ in 0..rounds {
        for way in ways.iter_mut().filter(|way| way.failed.is_none() && way.spent <= PATIENCE) {
            match launcher.run(&way.words) {
                Ok(measured) => {
                    way.samples.push(measured.wall);
                    way.seconds.push(measured.wall.as_secs_f64());
                    way.spent += measured.wall;
                    way.peak = way.peak.max(measured.peak);
                }
                Err(why) => way.failed = Some(why),
            }
        }
    }
}

/// Prints a row per way but the last, which says how fast the machine was; of lli's the one that was best.
fn print(run: &Run, mut ways: Vec<Way>) {
    let seconds = |way: &Way| way.samples.min().filter(|_| way.failed.is_none()).map(|time| time.as_secs_f64());
    let measure = ways.pop().map_or(Vec::new(), |way| way.seconds);
    let is_lli = |way: &Way| way.name.starts_with("`lli");
    let best = ways.iter().filter(|way| is_lli(way)).filter_map(seconds).reduce(f64::min);
    ways.retain(|way| !is_lli(way) || best.is_none() || seconds(way) == best);
    for way in &ways {
        let ratio = median_ratio(&way.seconds, &measure).map_or("-".to_owned(), number);
        let (min, median) = match &way.failed {
            None => (ms(way.samples.min()), ms(way.samples.median())),
            Some(why) => ("fails".to_owned(), why.clone()),
        };
        let peak = number(way.peak as f64 / 1e6);
        let aim = if way.name == KILN { number(run.aim) } else { String::new() };
        println!("{}", row(&[run.what.to_owned(), way.name.clone(), min, median, peak, ratio, aim]));
    }
}

/// The median over the rounds of one time through another of the same round: the speed of a machine that others use changes
/// from round to round.
fn median_ratio(times: &[f64], measures: &[f64]) -> Option<f64> {
    let mut ratios: Vec<f64> = times.iter().zip(measures).map(|(time, measure)| time / measure).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

/// What the statistics say about functions.
fn compiled(run: &Run) -> Result<String> {
    let command = kiln_run(run, &["--stats"])?;
    let done = std::process::Command::new(&command[0]).args(&command[1..]).output()?;
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    let line = stderr.lines().find_map(|line| line.trim().strip_prefix("functions "));
    Ok(line.unwrap_or("no statistics").trim().to_owned())
}
