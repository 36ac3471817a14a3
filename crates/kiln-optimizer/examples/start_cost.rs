//! What starting an optimizer costs: from nothing to its greeting, and to the first compiled function.
//!
//! `cargo run --release -p kiln-optimizer --example start_cost -- KILN_OPTIMIZER FILE.bc FUNCTION_ID [ROUNDS]`

use std::path::Path;
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, ModuleDigest, Pipeline};
use kiln_remote::{
    Client, Compile, Connection, Event, FunctionSet, Log, ModuleId, Neighbours, OpenModule, Payload, Spawner,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [optimizer, file, function, rest @ ..] = &arguments[..] else {
        return Err("usage: start_cost KILN_OPTIMIZER FILE.bc FUNCTION_ID [ROUNDS]".into());
    };
    let bitcode = std::fs::read(file)?;
    let function = FunctionId(function.parse()?);
    let rounds: usize = rest.first().map_or(Ok(40), |n| n.parse())?;
    let spawner = Spawner::new(Path::new(optimizer), &Log::Inherit);
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(round(&spawner, &bitcode, function)?);
    }
    for (index, name) in ["spawned", "greeted", "compiled"].iter().enumerate() {
        let mut column: Vec<f64> = times.iter().map(|t| t[index].as_secs_f64() * 1e3).collect();
        column.sort_by(f64::total_cmp);
        println!("{name:>9}: best {:.2} ms, median {:.2} ms", column[0], column[column.len() / 2]);
    }
    Ok(())
}

fn round(spawner: &Spawner, bitcode: &[u8], function: FunctionId) -> Result<[Duration; 3], Box<dyn std::error::Error>> {
    let start = Instant::now();
    let spawned = spawner.spawn()?;
    let mut times = [start.elapsed(), Duration::ZERO, Duration::ZERO];
    let mut connection = Connection::new(spawned.transport, Client::new());
    let module = ModuleId(0);
    let digest = ModuleDigest(*blake3::hash(bitcode).as_bytes());
    let have = FunctionSet::default();
    connection.machine().open_module(OpenModule { module, digest, bitcode: Payload::memory(bitcode)?, have })?;
    connection.machine().compile(Compile {
        module,
        roots: vec![function],
        pipeline: Pipeline::Quick,
        neighbours: Neighbours::NONE,
        opaque: Vec::new(),
        alone: None,
    })?;
    loop {
        match connection.machine().poll_event() {
            Some(Event::Welcome(_)) => times[1] = start.elapsed(),
            Some(Event::Compiled(_)) => {
                times[2] = start.elapsed();
                return Ok(times);
            }
            Some(other) => return Err(format!("{other:?}").into()),
            None => {
                connection.pump(None)?;
            }
        }
    }
}
