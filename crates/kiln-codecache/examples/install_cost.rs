//! What it costs to install a function of 64 bytes, and what memory it takes.
//!
//! `cargo run --release -p kiln-codecache --example install_cost`

use std::time::Instant;

use kiln_abi::{FdeEntry, Permission, Segment};
use kiln_codecache::{CodeCache, Options, Place, Published, Records};

const FRAME_BYTES: u64 = 24;

fn main() {
    let cache = CodeCache::new(&Options::new()).expect("address space");
    let mut live: Vec<Published> = Vec::with_capacity(100_000);
    let (mappings, memory) = (mappings(), resident_kib());
    println!("reserve + write + publish of 64 bytes of code, {FRAME_BYTES} bytes of frame, 1 unwind entry:");
    for count in [1, 1_000, 100_000] {
        let mut times: Vec<f64> = (live.len()..count)
            .map(|_| {
                let start = Instant::now();
                live.push(install(&cache));
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
        println!("  up to {count:>6}: mean {mean:.2} µs, median {median:.2} µs, max {max:.1} µs");
    }
    let start = Instant::now();
    (0..10_000).for_each(|_| cache.synchronize_cores());
    println!("  of that the barrier: {:.2} µs", start.elapsed().as_secs_f64() * 1e2);

    let stats = cache.stats();
    let used: u64 = stats.regions.iter().map(|region| region.used_bytes).sum();
    let committed: u64 = stats.regions.iter().map(|region| region.committed_bytes).sum();
    println!("at {} functions, per function:", live.len());
    println!("  {:.1} bytes of the regions used, {:.1} committed", per(used, &live), per(committed, &live));
    println!("  {:.1} bytes resident in all (both views count)", per((resident_kib() - memory) * 1024, &live));
    println!("  {} mappings more than before, all functions together", self::mappings() - mappings);

    let mut times: Vec<f64> = (0..100_000)
        .map(|n| {
            let start = Instant::now();
            let next = install(&cache);
            let old = std::mem::replace(&mut live[n * 7919 % 100_000], next);
            // SAFETY: nobody ever entered the function.
            unsafe { old.retire().reclaim() };
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("replacing a random one of them: median {:.2} µs", times[times.len() / 2]);
    let start = Instant::now();
    let batch: Vec<_> = (0..64).map(|_| prepare(&cache)).collect();
    let published = cache.publish_all(batch).expect("valid records");
    println!("64 of them in one batch: {:.2} µs each", start.elapsed().as_secs_f64() * 1e6 / 64.0);
    println!("copying the code for a forked child: {:.2} ms", fork_ms(&cache));
    live.into_iter().chain(published).for_each(Published::leak);

    println!("one link of 34 MB of code into fresh memory, 10 times, in ms:");
    println!("         all  reserve     copy  publish     fork  reclaim      CPU");
    let mut rows: Vec<[f64; 7]> = (0..10).map(|_| large()).collect();
    rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
    for (name, row) in [("best  ", rows[0]), ("median", rows[5])] {
        println!("  {name} {}", row.map(|ms| format!("{ms:>7.3}")).join("  "));
    }
}

fn install(cache: &CodeCache) -> Published {
    let (reservation, records) = prepare(cache);
    reservation.publish(records).expect("valid records")
}

fn prepare(cache: &CodeCache) -> (kiln_codecache::Reservation, Records<'static>) {
    let code = Segment { permission: Permission::Code, size: 64, align: 16 };
    let frame = Segment { permission: Permission::ReadOnly, size: FRAME_BYTES, align: 8 };
    let mut reservation = cache.reserve(&[(code, Place::Anywhere), (frame, Place::Anywhere)]).expect("room");
    reservation.working(0).fill(0xc3);
    reservation.working(1).fill(0);
    let entry = FdeEntry { pc_begin: reservation.segment(0), pc_bytes: 64, fde: reservation.segment(1) };
    (reservation, Records::new().unwind(vec![entry]))
}

/// Milliseconds: all, reserve, copy, publish; fork, reclaim; then the processor time of the first four.
fn large() -> [f64; 7] {
    const BYTES: usize = 34 << 20;
    let source = vec![0xc3u8; BYTES];
    let cache = CodeCache::new(&Options::new()).expect("address space");
    let (start, cpu) = (Instant::now(), cpu_ms());
    let since = |earlier: Instant| earlier.elapsed().as_secs_f64() * 1e3;
    let code = Segment { permission: Permission::Code, size: BYTES as u64, align: 16 };
    let mut reservation = cache.reserve(&[(code, Place::Anywhere)]).expect("room");
    let reserved = since(start);
    reservation.working(0).copy_from_slice(&source);
    let written = since(start);
    let published = reservation.publish(Records::new()).expect("no records");
    let (all, cpu) = (since(start), cpu_ms() - cpu);
    let fork = fork_ms(&cache);
    let start = Instant::now();
    // SAFETY: nobody ever entered the code.
    unsafe { published.retire().reclaim() };
    [all, reserved, written - reserved, all - written, fork, since(start), cpu]
}

/// What a fork costs the parent beyond the fork itself, at best.
fn fork_ms(cache: &CodeCache) -> f64 {
    let once = || {
        let start = Instant::now();
        cache.before_fork();
        cache.after_fork_in_parent();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn cpu_ms() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn per(bytes: u64, live: &[Published]) -> f64 {
    bytes as f64 / live.len() as f64
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count())
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
