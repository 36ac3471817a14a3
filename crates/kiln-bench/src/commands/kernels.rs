//! `kiln-bench kernels`: how fast the first tier's code is, beside native code of the same bitcode.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use kiln_bench::corpus::{self, Key, Level, Workshop, tool};
use kiln_bench::table::{self, number, row};

use super::{Result, kiln, succeed};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Runs of each kernel each way, interleaved; each run times itself five times
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const KERNELS: [&str; 7] = ["bodies", "hash", "interpreter", "matrix", "sieve", "sort", "trees"];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("{}\n", table::cpu());
    println!("{}", table::head(&["kernel", "native ms", "`--tier=baseline` ms", "ratio"]));
    let shop = Workshop::new();
    let kiln = kiln()?.display().to_string();
    for level in Level::ALL {
        let mut product = 0.0;
        for kernel in KERNELS {
            let (module, native) = build(&shop, kernel, level)?;
            let ways = [native.display().to_string(), format!("{kiln} run --tier=baseline {}", module.display())];
            let mut best = [f64::INFINITY; 2];
            let mut results = Vec::new();
            for _ in 0..arguments.rounds.max(1) {
                for (way, best) in ways.iter().zip(&mut best) {
                    let output = succeed(way)?;
                    let (result, ms) = output.trim().split_once(' ').ok_or("a kernel printed something else")?;
                    *best = best.min(ms.parse()?);
                    results.push(result.to_owned());
                }
            }
            if results.iter().any(|result| *result != results[0]) {
                return Err(format!("{kernel} -{}: different results", level.name()).into());
            }
            let ratio = best[1] / best[0];
            product += ratio.ln();
            println!(
                "{}",
                row(&[format!("{kernel} -{}", level.name()), number(best[0]), number(best[1]), number(ratio)])
            );
        }
        let mean = (product / KERNELS.len() as f64).exp();
        println!("{}", row(&[format!("geometric mean -{}", level.name()), String::new(), String::new(), number(mean)]));
    }
    Ok(())
}

/// The bitcode of a kernel, and the executable that `clang` makes of the same source at the same level.
fn build(shop: &Workshop, kernel: &str, level: Level) -> Result<(PathBuf, PathBuf)> {
    let folder = shop.source("programs/kernels");
    let source = folder.join(format!("{kernel}.c"));
    let key = Key::new().word(level.flag()).file(&source)?.file(&folder.join("kernel.h"))?;
    let clang = |into: &Path, file: &str, flags: &[&str]| {
        let mut command = Command::new(tool::CLANG);
        corpus::run(command.args(["-w", level.flag()]).args(flags).arg(&source).arg("-o").arg(into.join(file)))
    };
    let directory = shop.result(&format!("kernel-{kernel}"), key, |into| {
        clang(into, "it.bc", &["-fPIC", "-c", "-emit-llvm"])?;
        clang(into, "native", &["-lm"])
    })?;
    Ok((directory.join("it.bc"), directory.join("native")))
}
