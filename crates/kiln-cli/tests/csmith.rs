//! Random programs from csmith: 200 fixed seeds, unoptimised, against the native build.
//!
//! A program prints a checksum of its globals, so one wrong value shows. A seed whose native program runs longer than
//! the limit is left out, and there may be few of those.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Compare, Run, native, same, under_kiln};
use kiln_bench::corpus::{Workshop, csmith};
use kiln_bench::process::End;
use libtest_mimic::{Arguments, Failed, Trial};

const SEEDS: u32 = 200;
const BATCH: u32 = 10;
const NATIVE_LIMIT: Duration = Duration::from_secs(5);

fn main() {
    let arguments = Arguments::from_args();
    if !csmith::available() {
        println!("csmith is not installed: no random programs are tested (scripts/setup-llvm.sh --tests installs it)");
        // CI must not become green by losing a package.
        std::process::exit(i32::from(std::env::var_os("CI").is_some_and(|value| value == "true")));
    }
    let shop = Arc::new(Workshop::new());
    let left_out = Arc::new(AtomicU32::new(0));
    let trials = (0..SEEDS / BATCH)
        .map(|batch| {
            let (shop, left_out) = (Arc::clone(&shop), Arc::clone(&left_out));
            let first = batch * BATCH;
            Trial::test(format!("seeds::{first}-{}", first + BATCH - 1), move || {
                for seed in first..first + BATCH {
                    one(&shop, seed, &left_out).map_err(|failure| {
                        Failed::from(format!("seed {seed}: {}", failure.message().unwrap_or_default()))
                    })?;
                }
                Ok(())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left_out = left_out.load(Ordering::Relaxed);
    println!("{left_out} seeds left out: their native program runs longer than {} s", NATIVE_LIMIT.as_secs());
    assert!(left_out <= SEEDS / 5, "too many seeds are left out");
    conclusion.exit();
}

fn one(shop: &Workshop, seed: u32, left_out: &AtomicU32) -> Result<(), Failed> {
    let built = csmith::build(shop, seed)?;
    let expected = native(&built, &Run::default(), NATIVE_LIMIT)?;
    if expected.end == End::TimedOut {
        left_out.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let ours = under_kiln(&built, &built.modules, &Run::default())?;
    same(&expected, &ours, Compare { stderr: true, ..Compare::default() })
}
