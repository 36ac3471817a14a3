//! What taking over another generation of a module costs, and where the time goes when nearly nothing differs:
//! `cargo run --release -p kiln --example update_cost -- OLD.bc NEW.bc [TIMES]`

use std::path::PathBuf;
use std::time::Instant;

use kiln::{Engine, Input, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(old), Some(new)) = (arguments.next().map(PathBuf::from), arguments.next().map(PathBuf::from)) else {
        return Err("two bitcode files are wanted".into());
    };
    let rounds: usize = arguments.next().and_then(|count| count.to_str()?.parse().ok()).unwrap_or(7).max(1);
    let name = old.display().to_string();
    let mut times = Vec::new();
    for _ in 0..rounds {
        // A new engine each time: what is found out about a generation is kept.
        let engine = Engine::new(Options::default())?;
        engine.load(&[Input::File(old.clone())])?;
        // There and back: what the two mean is known then, as a watching thread finds it out while nobody waits.
        for file in [&new, &old] {
            engine.update(&name, &Input::File(file.clone()))?;
        }
        let begin = Instant::now();
        let update = engine.update(&name, &Input::File(new.clone()))?;
        times.push(begin.elapsed());
        let redefined = update.redefined.versions();
        println!("{:?}: {redefined:?}, {} as before", times[times.len() - 1], update.unchanged);
    }
    times.sort_unstable();
    println!("least {:?}, median {:?}", times[0], times[times.len() / 2]);
    Ok(())
}
