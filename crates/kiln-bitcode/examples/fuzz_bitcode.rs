//! Reads randomly damaged bitcode: `fuzz_bitcode [-n EXECUTIONS] [-s SEED] FILE…`, with a plain generator and stable Rust.
//!
//! Every other execution damages one function body instead of the file. Panics are the only failure. Each execution
//! depends on its seed only, so that one that panicked can be repeated alone.

#[path = "../tests/support/mutate.rs"]
mod mutate;
#[path = "../tests/support/walk.rs"]
mod walk;

use std::ops::Range;
use std::time::Instant;

use kiln_bitcode::{Body, FunctionId, Module};
use mutate::{Random, flip, mutate};

/// A file of the corpus and what it holds.
struct File {
    bytes: Vec<u8>,
    modules: Vec<Module>,
    /// Where the bodies of the first module lie.
    bodies: Vec<(FunctionId, Range<usize>)>,
}

impl File {
    fn read(path: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let bytes = std::fs::read(path)?;
        let modules = kiln_bitcode::parse(&bytes)?;
        let ids = (0..modules[0].functions().len() as u32).map(FunctionId);
        let bodies = ids.filter_map(|id| Some((id, modules[0].body_range(&bytes, id)?))).collect();
        Ok(Self { bytes, modules, bodies })
    }
}

/// What became of the executions.
#[derive(Default)]
struct Counts {
    files: u64,
    bodies: u64,
    refused_bodies: u64,
}

fn execute(corpus: &mut [File], seed: u64, body: &mut Body, counts: &mut Counts) {
    let mut random = Random(seed);
    let (file, other) = (random.below(corpus.len()), random.below(corpus.len()));
    if seed % 2 == 1 && !corpus[file].bodies.is_empty() {
        let File { bytes, modules, bodies } = &mut corpus[file];
        let (id, range) = bodies[random.below(bodies.len())].clone();
        let before = bytes[range.clone()].to_vec();
        flip(&mut random, &mut bytes[range.clone()]);
        match walk::walk_body(&modules[0], bytes, id, body) {
            Some(_) => counts.bodies += 1,
            None => counts.refused_bodies += 1,
        }
        bytes[range.clone()].copy_from_slice(&before);
        return;
    }
    let bytes = mutate(&mut random, &corpus[file].bytes, &corpus[other].bytes);
    let Ok(modules) = kiln_bitcode::parse(&bytes) else { return };
    counts.files += 1;
    for module in &modules {
        counts.bodies += walk::walk(module, &bytes, body).1 as u64;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut executions, mut seed) = (1_000_000u64, 1u64);
    let mut corpus = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-n" => executions = arguments.next().ok_or("-n needs a number")?.parse()?,
            "-s" => seed = arguments.next().ok_or("-s needs a number")?.parse()?,
            file => corpus.push(File::read(file)?),
        }
    }
    if corpus.is_empty() {
        return Err("no files".into());
    }
    let start = Instant::now();
    let (mut body, mut counts, mut slowest) = (Body::new(), Counts::default(), (0.0f64, 0));
    for execution in seed..seed + executions {
        let begin = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            execute(&mut corpus, execution, &mut body, &mut counts);
        }));
        if outcome.is_err() {
            return Err(format!("execution {execution} panicked: repeat it with -s {execution} -n 1").into());
        }
        let seconds = begin.elapsed().as_secs_f64();
        if seconds > slowest.0 {
            slowest = (seconds, execution);
        }
    }
    let Counts { files, bodies, refused_bodies } = counts;
    println!(
        "{executions} executions, none panicked: {files} files read, {bodies} bodies read, {refused_bodies} damaged \
         bodies refused; {:.0} per second, slowest {:.1} ms (seed {})",
        executions as f64 / start.elapsed().as_secs_f64(),
        slowest.0 * 1e3,
        slowest.1
    );
    Ok(())
}
