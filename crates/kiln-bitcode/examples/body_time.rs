//! Prints how long decoding all function bodies of each file takes: `body_time [-n ROUNDS] FILE…`.

use std::hint::black_box;
use std::time::Instant;

use kiln_bitcode::{Body, FunctionId};

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
    println!("{:>9} {:>12} {:>9} {:>9} {:>9}  file", "functions", "instructions", "locations", "ms", "ns/inst");
    for file in files {
        let bytes = std::fs::read(&file)?;
        let modules = kiln_bitcode::parse(&bytes)?;
        let mut body = Body::new();
        let mut best = f64::INFINITY;
        let (mut functions, mut instructions, mut locations) = (0u64, 0u64, 0u64);
        for _ in 0..rounds {
            (functions, instructions, locations) = (0, 0, 0);
            let start = Instant::now();
            for module in &modules {
                for (id, function) in (0..).map(FunctionId).zip(module.functions()) {
                    if !function.is_declaration() {
                        module
                            .read_body(black_box(&bytes), id, &mut body)
                            .map_err(|e| format!("{file}: {id:?}: {e}"))?;
                        functions += 1;
                        instructions += body.instructions().len() as u64;
                        locations += body.locations().len() as u64;
                    }
                }
            }
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
        }
        let each = best * 1e6 / instructions.max(1) as f64;
        println!("{functions:>9} {instructions:>12} {locations:>9} {best:>9.3} {each:>9.1}  {file}");
    }
    Ok(())
}
