//! Prints how long laying out the globals of each file takes: `data_time [-n ROUNDS] FILE…`.

use std::hint::black_box;
use std::time::Instant;

use kiln_abi::{ExecutorAddr, FunctionId};
use kiln_baseline::data::{Images, Stubs, module_data};
use kiln_bitcode::AliasId;

struct SomeStubs;

impl Stubs for SomeStubs {
    fn function(&self, function: FunctionId) -> ExecutorAddr {
        ExecutorAddr::new(0x1000_0000 + 16 * u64::from(function.0))
    }

    fn ifunc(&self, ifunc: AliasId) -> ExecutorAddr {
        ExecutorAddr::new(0x800_0000 + 16 * u64::from(ifunc.0))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rounds = 20;
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "-n" {
            rounds = arguments.next().ok_or("-n needs a number")?.parse()?;
        } else {
            files.push(argument);
        }
    }
    println!("{:>9} {:>8}  file", "ms", "symbols");
    for file in files {
        let mut best = f64::INFINITY;
        let mut symbols = 0;
        let modules = kiln_bitcode::parse(&std::fs::read(&file)?)?;
        for _ in 0..rounds {
            let start = Instant::now();
            symbols = 0;
            for module in &modules {
                symbols += black_box(module_data(module, &SomeStubs, &Images::default())?).graph.symbols().len();
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
        }
        println!("{best:>9.3} {symbols:>8}  {file}");
    }
    Ok(())
}
