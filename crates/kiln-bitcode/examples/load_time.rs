//! Prints how long loading each file takes: `load_time [-n ROUNDS] FILE…`.

use std::hint::black_box;
use std::time::Instant;

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
    println!("{:>10} {:>9} {:>9} {:>8}  file", "bytes", "ms", "ms/MB", "symbols");
    for file in files {
        let bytes: &'static [u8] = std::fs::read(&file)?.leak();
        let mut best = f64::INFINITY;
        let mut symbols = 0;
        for _ in 0..rounds {
            let start = Instant::now();
            let modules = kiln_bitcode::parse_static(black_box(bytes))?;
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
            symbols = modules.iter().map(|m| m.functions().len() + m.globals().len() + m.aliases().len()).sum();
        }
        let megabytes = bytes.len() as f64 / 1e6;
        println!("{:>10} {best:>9.3} {:>9.3} {symbols:>8}  {file}", bytes.len(), best / megabytes);
    }
    Ok(())
}
