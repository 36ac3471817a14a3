//! Reads randomly damaged bitcode: `fuzz [-n EXECUTIONS] [-s SEED] FILE…`, with a plain generator and stable Rust.
//!
//! Panics are the only failure. Before each execution the seed is kept, so that a panic can be repeated alone.

#[path = "../tests/support/mutate.rs"]
mod mutate;

use std::time::Instant;

use mutate::{Random, mutate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut executions, mut seed) = (1_000_000u64, 1u64);
    let mut corpus = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-n" => executions = arguments.next().ok_or("-n needs a number")?.parse()?,
            "-s" => seed = arguments.next().ok_or("-s needs a number")?.parse()?,
            file => corpus.push(std::fs::read(file)?),
        }
    }
    if corpus.is_empty() {
        return Err("no files".into());
    }
    let start = Instant::now();
    let (mut read, mut slowest) = (0u64, (0.0f64, 0));
    for execution in seed..seed + executions {
        let mut random = Random(execution);
        let (file, other) = (random.below(corpus.len()), random.below(corpus.len()));
        let bytes = mutate(&mut random, &corpus[file], &corpus[other]);
        let begin = Instant::now();
        let outcome = std::panic::catch_unwind(|| match kiln_bitcode::parse(&bytes) {
            // Walking every row touches every table.
            Ok(modules) => modules.iter().flat_map(kiln_bitcode::rows).map(|row| row.len()).sum::<usize>(),
            Err(_) => 0,
        });
        match outcome {
            Ok(rows) => read += u64::from(rows > 0),
            Err(_) => return Err(format!("execution {execution} panicked: repeat it with -s {execution} -n 1").into()),
        }
        let seconds = begin.elapsed().as_secs_f64();
        if seconds > slowest.0 {
            slowest = (seconds, execution);
        }
    }
    println!(
        "{executions} executions, {read} read, none panicked; {:.0} per second, slowest {:.1} ms (seed {})",
        executions as f64 / start.elapsed().as_secs_f64(),
        slowest.0 * 1e3,
        slowest.1
    );
    Ok(())
}
