//! Mutates the files of a directory and links the results, without end to the imagination of a coverage-guided fuzzer
//! but on stable Rust: `fuzz_link DIRECTORY [EXECUTIONS [SEED]]`.
//!
//! A panic ends the program and leaves the input in `crash-SEED-N` beside it.

#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
#[path = "../tests/support/fuzz.rs"]
mod fuzz;

use std::time::Instant;

use fuzz::{Random, execute, mutate};

fn main() {
    let mut args = std::env::args().skip(1);
    let directory = args.next().expect("fuzz DIRECTORY [EXECUTIONS [SEED]]");
    let executions: u64 = args.next().map_or(1_000_000, |n| n.parse().expect("a number"));
    let seed: u64 = args.next().map_or(1, |n| n.parse().expect("a number"));
    let mut corpus: Vec<Vec<u8>> = std::fs::read_dir(&directory)
        .expect("a directory")
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file"))
        .collect();
    corpus.sort();
    let mut random = Random::new(seed);
    let (mut linked, start) = (0u64, Instant::now());
    for n in 0..executions {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = random.below(corpus.len());
        mutate(&mut random, &mut input, &corpus[other]);
        let choice = random.next();
        match std::panic::catch_unwind(|| execute(&input, choice)) {
            Ok(result) => linked += u64::from(result.is_ok()),
            Err(_) => {
                let name = format!("crash-{seed}-{n}");
                std::fs::write(&name, &input).expect("the input is written");
                eprintln!("execution {n} panicked; choice {choice:#x}; input in {name}");
                std::process::exit(1);
            }
        }
        if n % 1_000_000 == 999_999 {
            eprintln!(
                "{} executions, {linked} linked, {:.0} per second",
                n + 1,
                (n + 1) as f64 / start.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{executions} executions, {linked} linked without an error, no panic; {:.1} s",
        start.elapsed().as_secs_f64()
    );
}
