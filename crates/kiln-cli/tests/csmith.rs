//! Random programs from csmith: 300 fixed seeds, unoptimised and optimised, against the native build.
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

const PROGRAMS: usize = 300;
const BATCH: usize = 10;
/// Seeds of csmith 2.3.0 whose native program does not end within the limit: most never do.
const ENDLESS: &[u32] = &[
    20, 22, 60, 66, 73, 81, 88, 112, 114, 118, 123, 124, 126, 134, 137, 145, 146, 148, 162, 163, 165, 169, 191, 195,
    197, 203, 206, 207, 218, 247, 280, 292, 295, 298, 306, 310, 333, 341,
];
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
    let seeds: Vec<u32> = (0..).filter(|seed| !ENDLESS.contains(seed)).take(PROGRAMS).collect();
    let trials = seeds
        .chunks(BATCH)
        .map(|batch| {
            let (shop, left_out, batch) = (Arc::clone(&shop), Arc::clone(&left_out), batch.to_vec());
            Trial::test(format!("seeds::{}-{}", batch[0], batch[batch.len() - 1]), move || {
                for seed in batch {
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
    assert!(left_out <= 20, "too many seeds are left out");
    conclusion.exit();
}

fn one(shop: &Workshop, seed: u32, left_out: &AtomicU32) -> Result<(), Failed> {
    let built = csmith::build(shop, seed)?;
    let expected = native(&built, &Run::default(), NATIVE_LIMIT)?;
    if expected.end == End::TimedOut {
        left_out.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    for module in &built.modules {
        // Every fourth program also with a random half of its functions from each compiler.
        let mix = seed.is_multiple_of(4).then(|| vec![format!("--mix={seed}")]);
        for options in std::iter::once(Vec::new()).chain(mix) {
            let what = format!("{} {}", module.file_name().unwrap_or_default().display(), options.join(" "));
            let ours = under_kiln(&built, std::slice::from_ref(module), &Run { options, ..Run::default() })?;
            same(&expected, &ours, Compare { stderr: true, ..Compare::default() })
                .map_err(|failure| Failed::from(format!("{what}: {}", failure.message().unwrap_or_default())))?;
        }
    }
    Ok(())
}
