//! `kiln-bench replace --gaps`: how long a caller waits from one call to the next while others replace.
//!
//! One thread calls a function through a direct call, and reads the processor's time stamp before each call. What the
//! other thread does meanwhile changes from window to window.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kiln_bench::table;

use super::objects::Loop;
use super::{Arguments, Result, World};

/// What the other thread does during a window.
const WAYS: [&str; 5] = [
    "nothing is replaced",
    "the called function is replaced every millisecond",
    "another function is replaced, over and over",
    "the called function is replaced, over and over",
    "the same, and all threads are looked at each time",
];
const NOTHING: usize = 0;
const NOW_AND_THEN: usize = 1;
const ANOTHER: usize = 2;
const LOOKS: usize = 4;

/// Buckets per doubling: a quantile is known to 3 %.
const FINE: u32 = 5;

/// Counts of gaps by length, in ticks. One thread writes.
struct Histogram(Vec<AtomicU64>);

impl Histogram {
    fn new() -> Histogram {
        Histogram((0..64 << FINE).map(|_| AtomicU64::new(0)).collect())
    }

    fn bucket(ticks: u64) -> usize {
        let doublings = (ticks | 1 << FINE).ilog2() - FINE;
        ((doublings << FINE) as u64 + (ticks >> doublings)) as usize
    }

    /// The most ticks that fall into a bucket.
    fn most(bucket: usize) -> u64 {
        let doublings = (bucket >> FINE).saturating_sub(1);
        let first = (bucket - (doublings << FINE)) as u64;
        // Of the last bucket all bits are shifted out.
        ((first + 1) << doublings).wrapping_sub(1)
    }

    fn add(&self, ticks: u64) {
        let count = &self.0[Self::bucket(ticks)];
        // Relaxed, and no locked instruction: nobody else writes, and readers wait for the thread's end.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The gap that this share of all gaps does not exceed.
    fn quantile(&self, share: f64) -> u64 {
        let mut left = (self.len() as f64 * share).ceil() as u64;
        for (bucket, count) in self.0.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count >= left {
                return Self::most(bucket);
            }
            left -= count;
        }
        0
    }
}

/// What the calling thread is told and tells.
struct Caller {
    stop: AtomicBool,
    /// Where gaps are counted.
    way: AtomicUsize,
    histograms: [Histogram; WAYS.len()],
    /// The longest gap since the other thread stored 0.
    longest: AtomicU64,
}

impl Caller {
    fn run(&self, call: Loop) {
        let (mut last, mut x) = (now(), 0);
        while !self.stop.load(Ordering::Relaxed) {
            // SAFETY: one round of the loop that `objects::source` writes.
            x = unsafe { call(1, x) };
            let begin = now();
            let gap = begin - last;
            last = begin;
            self.histograms[self.way.load(Ordering::Relaxed)].add(gap);
            if gap > self.longest.load(Ordering::Relaxed) {
                self.longest.store(gap, Ordering::Relaxed);
            }
        }
    }
}

fn now() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    // Old code is freed between windows: looks at all threads are a row of their own.
    let World { engine, mut bodies, loops } = World::new(|options| options.reclaim_bytes = u64::MAX / 2)?;
    let caller = Caller {
        stop: false.into(),
        way: 0.into(),
        histograms: std::array::from_fn(|_| Histogram::new()),
        longest: 0.into(),
    };
    let names = ["f", "control_f"];
    let (mut replacements, mut k) = ([0u64; WAYS.len()], 1);
    // The longest gaps while all threads were looked at, and in as long a time after that.
    let (mut looks, mut rests) = (Vec::new(), Vec::new());
    let begin = (Instant::now(), now());
    std::thread::scope(|scope| {
        scope.spawn(|| caller.run(loops[0]));
        let mut windows = || -> Result<()> {
            for _ in 0..arguments.reps {
                for (way, count) in replacements.iter_mut().enumerate() {
                    caller.way.store(way, Ordering::Relaxed);
                    let end = Instant::now() + Duration::from_millis(arguments.window);
                    while Instant::now() < end {
                        if way == NOTHING {
                            continue;
                        }
                        if way == NOW_AND_THEN {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        let which = usize::from(way == ANOTHER);
                        k += 1;
                        caller.longest.store(0, Ordering::Relaxed);
                        engine.redefine_from_object(&[names[which]], bodies[which].adding(k))?;
                        if way == LOOKS {
                            let begin = Instant::now();
                            engine.reclaim();
                            let took = begin.elapsed();
                            looks.push(caller.longest.swap(0, Ordering::Relaxed));
                            std::thread::sleep(took);
                            rests.push(caller.longest.load(Ordering::Relaxed));
                        }
                        *count += 1;
                    }
                    caller.way.store(0, Ordering::Relaxed);
                    engine.reclaim();
                }
            }
            Ok(())
        };
        let result = windows();
        caller.stop.store(true, Ordering::Relaxed);
        result
    })?;
    let ticks_per_ns = (now() - begin.1) as f64 / begin.0.elapsed().as_nanos() as f64;
    let ns = |ticks: u64| table::number(ticks as f64 / ticks_per_ns);
    println!("{}\n", table::cpu());
    println!("{}", table::head(&["meanwhile", "replacements", "calls", "p50 ns", "p99 ns", "p99.9 ns", "longest µs"]));
    for (way, name) in WAYS.iter().enumerate() {
        let gaps = &caller.histograms[way];
        let quantiles = [0.5, 0.99, 0.999].map(|share| ns(gaps.quantile(share)));
        let longest = table::number(gaps.quantile(1.0) as f64 / ticks_per_ns / 1e3);
        let [p50, p99, p999] = quantiles;
        let cells =
            [(*name).to_owned(), replacements[way].to_string(), gaps.len().to_string(), p50, p99, p999, longest];
        println!("{}", table::row(&cells));
    }
    let middle = |mut gaps: Vec<u64>| {
        gaps.sort_unstable();
        ns(gaps.get(gaps.len() / 2).copied().unwrap_or(0))
    };
    println!(
        "\nLongest gap during a replacement with a look at all threads, median of {}: {} ns; in as long a time without: {} ns.",
        looks.len(),
        middle(looks),
        middle(rests)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_they_say() {
        let mut last = 0;
        for ticks in (0..5000).chain([1 << 20, u64::MAX / 3, u64::MAX]) {
            let bucket = Histogram::bucket(ticks);
            assert!(bucket >= last && bucket < 64 << FINE);
            assert!(ticks <= Histogram::most(bucket), "{ticks} in {bucket}");
            assert!(bucket == 0 || ticks > Histogram::most(bucket - 1), "{ticks} in {bucket}");
            last = bucket;
        }
    }

    #[test]
    fn quantiles_of_known_gaps() {
        let gaps = Histogram::new();
        (0..1000).for_each(|gap| gaps.add(gap % 10));
        gaps.add(1 << 30);
        assert_eq!((gaps.quantile(0.5), gaps.quantile(0.99), gaps.len()), (5, 9, 1001));
        assert!(gaps.quantile(1.0) >= 1 << 30);
    }
}
