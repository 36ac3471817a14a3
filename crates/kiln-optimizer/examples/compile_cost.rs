//! What compiling costs: opening a module, one function alone, batches, the whole module.
//!
//! Times are processor time of the one thread, the best of some rounds: other programs share the machine.
//!
//! `cargo run --release -p kiln-optimizer --example compile_cost -- FILE.bc [quick|full]`

use std::time::Duration;

use kiln_abi::{FunctionId, Pipeline};
use kiln_optimizer::compiler::{Context, Module, Output, compile, initialise};
use kiln_remote::Neighbours;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 5;

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    initialise(|reason| {
        eprintln!("{reason:?}");
        std::process::exit(70)
    });
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: compile_cost FILE.bc [quick|full]")?;
    let pipeline = if arguments.next().as_deref() == Some("full") { Pipeline::Full } else { Pipeline::Quick };
    let bitcode = std::fs::read(path)?;

    let mut open = Duration::MAX;
    for _ in 0..5 {
        let context = Context::new(false);
        let start = now();
        let module = context.open(&bitcode)?;
        open = open.min(now() - start);
        drop(module);
    }
    let context = Context::new(false);
    let mut module = context.open(&bitcode)?;
    let defined: Vec<_> = (0..module.functions()).map(FunctionId).filter(|f| module.is_defined(*f)).collect();
    println!(
        "{} bytes, {} functions, {} defined; open {:.2} ms",
        bitcode.len(),
        module.functions(),
        defined.len(),
        milliseconds(open)
    );

    let sample: Vec<_> = defined.iter().copied().step_by((defined.len() / 256).max(1)).collect();
    report("first job", &[batch(&mut module, &sample[..1], pipeline)?]);
    for size in [1, 4, 16, 64] {
        let mut best = Vec::new();
        for roots in sample.chunks(size) {
            let rounds: Result<Vec<_>, _> = (0..ROUNDS).map(|_| batch(&mut module, roots, pipeline)).collect();
            best.extend(rounds?.into_iter().min_by_key(|(_, time)| *time));
        }
        report(&format!("by {size}"), &best);
    }
    let start = now();
    let whole = batch(&mut module, &defined, pipeline)?;
    println!("whole module in one batch: {:.1} ms", milliseconds(now() - start));
    report("whole", &[whole]);
    Ok(())
}

fn batch(
    module: &mut Module<'_, &Vec<u8>>,
    roots: &[FunctionId],
    pipeline: Pipeline,
) -> Result<(Output, Duration), Box<dyn std::error::Error>> {
    let start = now();
    let output = compile(module, roots, pipeline, Neighbours::NONE, &[], |_| false, false)?;
    Ok((output, now() - start))
}

fn report(name: &str, outputs: &[(Output, Duration)]) {
    let functions: usize = outputs.iter().map(|(o, _)| o.functions.len()).sum();
    let instructions: u64 = outputs.iter().map(|(o, _)| o.instructions).sum();
    let bytes: usize = outputs.iter().map(|(o, _)| o.object.len()).sum();
    let per = |time: fn(&(Output, Duration)) -> Duration| {
        outputs.iter().map(time).sum::<Duration>().as_secs_f64() * 1e6 / functions as f64
    };
    // The parts are wall time.
    let share = |part: fn(&Output) -> Duration| {
        let all: Duration = outputs.iter().map(|(o, _)| o.extract + o.passes + o.codegen).sum();
        outputs.iter().map(|(o, _)| part(o)).sum::<Duration>().as_secs_f64() * 100.0 / all.as_secs_f64()
    };
    let mut each: Vec<_> = outputs.iter().map(|(_, time)| *time).collect();
    each.sort();
    println!(
        "{name:>10}: {functions:5} functions, {:4.0} instructions and {:5.0} object bytes each; us each: {:6.0} \
         ({:2.0}% extract, {:2.0}% passes, {:2.0}% codegen); median job {:.2} ms",
        instructions as f64 / functions as f64,
        bytes as f64 / functions as f64,
        per(|(_, time)| *time),
        share(|o| o.extract),
        share(|o| o.passes),
        share(|o| o.codegen),
        milliseconds(each[each.len() / 2]),
    );
}
