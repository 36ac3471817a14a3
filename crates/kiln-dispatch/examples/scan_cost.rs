//! What a scan costs: per sleeping thread and per running thread, for few and for many ranges.
//!
//! `cargo run --release -p kiln-dispatch --example scan_cost`. Sleeping threads are in `read` on a pipe, about forty frames
//! of 64 bytes deep; running ones spin.

use kiln_abi::ExecutorAddr;
use kiln_dispatch::scan::{Options, Ranges, Report, scan};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn main() {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        println!("nothing to measure on this machine");
        return;
    }
    println!("sleeping threads   ranges   scan µs: median   quickest   quickest per thread");
    let mut alone = 0.0;
    for threads in [0, 1, 16, 256] {
        for count in [1, 1_000, 10_000] {
            let times = scan_with(&with_sleeping(threads), &ranges(count));
            let quickest = times[0];
            if threads == 0 {
                alone = quickest;
            }
            let each = if threads == 0 { 0.0 } else { (quickest - alone) / threads as f64 };
            println!("{threads:16} {count:8} {:17.1} {quickest:10.1} {each:21.2}", times[times.len() / 2]);
        }
    }
    println!();
    println!("running threads   scan ms: median   largest   pause µs: median   largest");
    for threads in [1, 2, 16] {
        running(threads);
    }
}

/// Ranges of 256 bytes, one every KiB, where nothing is.
fn ranges(count: u64) -> Ranges {
    let start = |n: u64| ExecutorAddr::new((1 << 45) + n * 1024);
    Ranges::new((0..count).map(|n| start(n)..start(n) + 256)).expect("they are disjoint")
}

/// Threads that end when this is dropped.
struct Sleeping {
    pipe: [i32; 2],
    threads: Vec<std::thread::JoinHandle<()>>,
}

fn with_sleeping(count: usize) -> Sleeping {
    let mut pipe = [0; 2];
    // SAFETY: writes two numbers.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let started = Arc::new(AtomicUsize::new(0));
    let threads = (0..count)
        .map(|_| {
            let (input, started) = (pipe[0], Arc::clone(&started));
            std::thread::spawn(move || {
                started.fetch_add(1, Ordering::Relaxed);
                read_below(input, 40);
            })
        })
        .collect();
    while started.load(Ordering::Relaxed) < count {
        std::thread::yield_now();
    }
    // Nothing depends on it but the first of many scans.
    std::thread::sleep(Duration::from_millis(50));
    Sleeping { pipe, threads }
}

/// Reads from `descriptor`, this many frames down.
#[inline(never)]
fn read_below(descriptor: i32, frames: usize) -> usize {
    let words = std::hint::black_box([frames; 6]);
    if frames > 0 {
        return read_below(descriptor, frames - 1) + words[0];
    }
    let mut byte = 0u8;
    // SAFETY: writes one byte.
    usize::try_from(unsafe { libc::read(descriptor, (&raw mut byte).cast(), 1) }).unwrap_or(0)
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        // SAFETY: a descriptor of our own: whoever reads finds the end.
        unsafe { libc::close(self.pipe[1]) };
        for thread in self.threads.drain(..) {
            thread.join().expect("it only reads");
        }
        // SAFETY: nobody reads any more.
        unsafe { libc::close(self.pipe[0]) };
    }
}

fn one(ranges: &Ranges) -> Report {
    let report = scan(ranges, &Options { patience: Duration::from_secs(10), ..Options::default() });
    assert!(report.is_conclusive(), "{report:?}");
    report
}

/// Microseconds of scans, the quickest first.
fn scan_with(_threads: &Sleeping, ranges: &Ranges) -> Vec<f64> {
    let mut times: Vec<f64> = (0..200).map(|_| one(ranges).elapsed.as_secs_f64() * 1e6).collect();
    times.sort_unstable_by(f64::total_cmp);
    times
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn running(count: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let ranges = ranges(1_000);
    let reports: Vec<Report> = (0..50).map(|_| one(&ranges)).collect();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("it only spins");
    }
    let scans: Vec<Duration> = reports.iter().map(|report| report.elapsed).collect();
    let pauses: Vec<Duration> = reports.iter().flat_map(|report| &report.pauses).map(|&(_, pause)| pause).collect();
    let largest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default().as_secs_f64();
    println!(
        "{count:15} {:16.2} {:9.2} {:18.1} {:9.1}",
        middle(scans.clone()).as_secs_f64() * 1e3,
        largest(&scans) * 1e3,
        middle(pauses.clone()).as_secs_f64() * 1e6,
        largest(&pauses) * 1e6,
    );
}
