//! `kiln-bench start`: how long short runs take from start to end.

use clap::Args;
use kiln_bench::corpus::{Level, Workshop, features, real};
use kiln_bench::table;

use super::{Result, Way, interleave, kiln, present, print, scratch};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Rounds; every way runs once per round
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// These runs only: hello, lua, sqlite
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
}

/// One program with its arguments.
struct Run {
    name: &'static str,
    module: String,
    native: String,
    libraries: String,
    args: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("{}\n\n{}", table::cpu(), table::head(&["run", "way", "min ms", "median ms"]));
    let mut notes = Vec::new();
    for run in runs()?.iter().filter(|run| arguments.only.is_empty() || arguments.only.iter().any(|n| n == run.name)) {
        let mut ways = ways(run)?;
        interleave(&mut ways, arguments.rounds)?;
        print(&ways, run.name);
        notes.push(format!("{}: {}", run.name, compiled(run)?));
    }
    println!("\nFunctions that `kiln run` compiled: {}.", notes.join("; "));
    Ok(())
}

fn runs() -> Result<Vec<Run>> {
    let shop = Workshop::new();
    let features = features::all(&shop)?;
    let hello = features.iter().find(|feature| feature.name == "hello").ok_or("programs/features/hello.c is gone")?;
    let hello = hello.build(&shop, Level::O0)?;
    let mut runs = vec![Run {
        name: "hello",
        module: hello.modules[0].display().to_string(),
        native: hello.native.display().to_string(),
        libraries: String::new(),
        args: String::new(),
    }];
    for (name, script) in [("lua", "fib.lua 20"), ("sqlite", "short.sql")] {
        let built = real::named(name).ok_or("no such program")?.build(&shop, Level::O0)?;
        runs.push(Run {
            name,
            module: real::whole(&built).display().to_string(),
            native: built.native.display().to_string(),
            libraries: built.libraries.iter().map(|library| format!("-l{library} ")).collect(),
            args: format!("{}/{script}", shop.source("programs").join(name).display()),
        });
    }
    Ok(runs)
}

fn ways(run: &Run) -> Result<Vec<Way>> {
    let Run { module, native, libraries, args, .. } = run;
    let executable = scratch("program");
    let mut ways = vec![
        Way::new("`kiln run`", format!("{} run {libraries} {module} {args}", kiln()?.display())),
        Way::new("native -O0, run only", format!("{native} {args}")),
        Way::new(
            "`clang-22 -O0` + link + run",
            format!("clang-22 -w -O0 {module} -o {executable} {libraries} && {executable} {args}"),
        ),
    ];
    if present("lli-22") {
        ways.push(Way::new("`lli-22`", format!("lli-22 {module} {args}")));
        ways.push(Way::new("`lli-22 --jit-kind=mcjit -O0`", format!("lli-22 --jit-kind=mcjit -O0 {module} {args}")));
    }
    Ok(ways)
}

/// What the statistics say about functions.
fn compiled(run: &Run) -> Result<String> {
    let command = format!("{} run --stats {} {} {}", kiln()?.display(), run.libraries, run.module, run.args);
    let done = std::process::Command::new("sh").args(["-c", &command]).output()?;
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    let line = stderr.lines().find_map(|line| line.trim().strip_prefix("functions "));
    Ok(line.unwrap_or("no statistics").trim().to_owned())
}
