//! `kiln-bench replace`: calls per second of a loop whose callee is replaced again and again.
//!
//! One thread calls `f(x) = x + k` in a tight loop while another replaces `f` by distinct ELF objects, a new `k` each
//! time. Beside it runs the same loop with the same body, byte by byte and at the same alignment, that is never replaced.

mod gaps;
mod objects;
mod statically;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use kiln::{Engine, ExecutorAddr, Input, Options};
use kiln_bench::table;

use super::Result;
use objects::{Body, Loop, assemble, source};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Most replacements
    #[arg(long, default_value_t = 1_000_000)]
    max: u64,
    /// Length of a window, in milliseconds
    #[arg(long, default_value_t = 100)]
    window: u64,
    /// Windows per number of replacements
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Print a table with the ratio to a loop that is never replaced instead of the peers' rows
    #[arg(long)]
    ratio: bool,
    /// Print a row of the same loop linked statically, too
    #[arg(long = "static")]
    statically: bool,
    /// Print how long a caller waits between two calls instead, with and without replacement
    #[arg(long)]
    gaps: bool,
    /// Show the machine code of the loop and where its call leads, after the last replacement
    #[arg(long)]
    show: bool,
}

/// Numbers of replacements after which the calls are counted.
const POINTS: [u64; 13] = [0, 1, 2, 5, 10, 20, 50, 200, 460, 1000, 10_000, 100_000, 1_000_000];
/// Calls per chunk: the calling thread says after each that it goes on.
const CHUNK: u64 = 1024;
/// What the calling thread does and has done.
struct Calls {
    stop: AtomicBool,
    /// Which loop it runs: 0 is replaced, 1 is not, 2 is linked statically.
    which: AtomicU32,
    chunks: [AtomicU64; 3],
}

impl Calls {
    fn run(&self, loops: [Loop; 3]) {
        let mut x = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let which = self.which.load(Ordering::Relaxed) as usize;
            // SAFETY: the loops are what `source` writes: C functions of two integers.
            x = unsafe { loops[which](CHUNK, x) };
            self.chunks[which].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Millions of calls per second in a window that begins and ends with a chunk.
    fn window(&self, which: usize, length: Duration) -> f64 {
        self.which.store(which as u32, Ordering::Relaxed);
        let next = |from: u64| loop {
            let now = self.chunks[which].load(Ordering::Relaxed);
            if now != from {
                break now;
            }
            std::hint::spin_loop();
        };
        let first = next(next(self.chunks[which].load(Ordering::Relaxed)));
        let begin = Instant::now();
        std::thread::sleep(length);
        let last = next(self.chunks[which].load(Ordering::Relaxed));
        (last - first) as f64 * CHUNK as f64 / begin.elapsed().as_secs_f64() / 1e6
    }
}

/// Resident memory in kB and number of mappings.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    (resident.unwrap_or(0), maps.lines().count() as u64)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}

/// An engine with a loop that calls `f`, a loop that calls `control_f`, and the bodies of these two.
struct World {
    engine: Engine,
    bodies: [Body; 2],
    loops: [Loop; 2],
}

impl World {
    fn new(change: impl FnOnce(&mut Options)) -> Result<World> {
        let mut options = Options::default();
        options.replaceable = true;
        change(&mut options);
        let engine = Engine::new(options)?;
        let mut bodies = [Body::new("")?, Body::new("control_")?];
        let load = |name: &str, bytes: Vec<u8>| engine.load(&[Input::Bytes { name: name.to_owned(), bytes }]);
        load("f.o", bodies[0].adding(1).to_vec())?;
        load("control_f.o", bodies[1].adding(1).to_vec())?;
        load("run.o", assemble(&source("", "loop"))?)?;
        load("control_run.o", assemble(&source("control_", "loop"))?)?;
        let address = |name: &str| engine.lookup(name).ok_or_else(|| format!("{name} is not defined"));
        // SAFETY: the objects above define these names as C functions of two integers that return one.
        let function = |at: ExecutorAddr| unsafe { std::mem::transmute::<u64, Loop>(at.get()) };
        let loops = [function(address("run")?), function(address("control_run")?)];
        Ok(World { engine, bodies, loops })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.gaps {
        return gaps::run(arguments);
    }
    let World { engine, bodies: [mut body, _], loops } = World::new(|_| {})?;
    let calls = Calls { stop: false.into(), which: 0.into(), chunks: [0.into(), 0.into(), 0.into()] };
    if arguments.ratio {
        println!("{}\n", table::cpu());
        let columns = [
            "replacements",
            "Mcalls/s",
            "never replaced",
            "ratio, geometric mean",
            "median µs per replacement",
            "RSS kB",
            "mappings",
        ];
        println!("{}", table::head(&columns));
    }
    let result = std::thread::scope(|scope| {
        scope.spawn(|| calls.run([loops[0], loops[1], statically::LOOP]));
        let result = measure(arguments, &engine, &mut body, &calls, loops);
        calls.stop.store(true, Ordering::Relaxed);
        result
    });
    result?;
    if arguments.show {
        show(&engine)?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, engine: &Engine, body: &mut Body, calls: &Calls, loops: [Loop; 2]) -> Result<()> {
    let window = Duration::from_millis(arguments.window);
    let mut done = 0;
    for point in POINTS.into_iter().filter(|point| *point <= arguments.max) {
        // A sample of at most so many: the bench's own memory must not grow with the replacements.
        const SAMPLES: u64 = 20_000;
        let every = (point - done) / SAMPLES + 1;
        let mut times = Vec::with_capacity(SAMPLES as usize);
        let before = calls.chunks[0].load(Ordering::Relaxed);
        calls.which.store(0, Ordering::Relaxed);
        let begin = Instant::now();
        while done < point {
            done += 1;
            let object = body.adding(done as u32 + 1);
            let one = Instant::now();
            engine.redefine_from_object(&["f"], object)?;
            if done.is_multiple_of(every) {
                times.push(one.elapsed().as_secs_f64() * 1e6);
            }
        }
        let during = (calls.chunks[0].load(Ordering::Relaxed) - before) as f64 * CHUNK as f64
            / begin.elapsed().as_secs_f64()
            / 1e6;
        // SAFETY: as in `Calls::run`.
        let (got, wanted) = (unsafe { loops[0](1000, 0) }, 1000 * (done + 1));
        if got != wanted {
            return Err(format!("an old version is called after {done} replacements: {got}, not {wanted}").into());
        }
        let mut subject = Vec::new();
        let mut still = Vec::new();
        for _ in 0..arguments.reps {
            subject.push(calls.window(0, window));
            if arguments.ratio {
                still.push(calls.window(1, window));
            }
        }
        calls.which.store(0, Ordering::Relaxed);
        let (resident, mappings) = memory();
        let link = median(&mut times);
        let best = subject.iter().copied().fold(0.0, f64::max);
        if arguments.statically && point == 0 {
            let mut windows: Vec<f64> = (0..arguments.reps).map(|_| calls.window(2, window)).collect();
            calls.which.store(0, Ordering::Relaxed);
            let best = windows.iter().copied().fold(0.0, f64::max);
            let middle = median(&mut windows);
            println!("static-direct\t0\t{best:.3}\t{middle:.3}\t0\t{resident}\t{mappings}\t0\t0\t0\t0");
        }
        if arguments.ratio {
            let logs: f64 = subject.iter().zip(&still).map(|(a, b)| (a / b).ln()).sum();
            let ratio = (logs / subject.len() as f64).exp();
            let cells = [
                point.to_string(),
                format!("{:.0}", median(&mut subject)),
                format!("{:.0}", median(&mut still)),
                format!("{ratio:.3}"),
                if point == 0 { "-".to_owned() } else { format!("{link:.1}") },
                resident.to_string(),
                mappings.to_string(),
            ];
            println!("{}", table::row(&cells));
        } else {
            let middle = median(&mut subject);
            let during = if point == 0 { 0.0 } else { during };
            println!("kiln\t{point}\t{best:.3}\t{middle:.3}\t{during:.3}\t{resident}\t{mappings}\t0\t{link:.2}\t0\t0");
        }
    }
    Ok(())
}

/// Prints the loop's bytes and where its call leads: to the current body itself.
fn show(engine: &Engine) -> Result<()> {
    let mut names = BTreeMap::new();
    for name in ["run", "f"] {
        let (start, bytes) = engine.body(name).ok_or("no body")?;
        names.insert(name, (start, bytes));
    }
    let (start, bytes) = names["run"];
    // SAFETY: the bytes of a live body that is never replaced.
    let code = unsafe { std::slice::from_raw_parts(start.get() as *const u8, bytes as usize) };
    let call = code.iter().position(|byte| *byte == 0xe8).ok_or("no call")?;
    let displacement = i32::from_le_bytes(code[call + 1..call + 5].try_into()?);
    let target = start + (call as u64 + 5) + i64::from(displacement) as u64;
    println!("call at {}: leads to {target}, the body of f is at {}", start + call as u64, names["f"].0);
    Ok(())
}
