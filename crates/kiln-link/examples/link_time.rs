//! Links objects and archives into plain memory, without running anything, and prints how long each phase took.
//!
//! ```text
//! link_time [--reps N] [--one-thread] [--prune NAME] FILE…
//! ```
//!
//! Undefined symbols are bound to an address in reach, so the numbers leave out what looking up names in the process
//! costs. Memory is touched before, so they leave out page faults too.

use std::time::{Duration, Instant};

use kiln_abi::ExecutorAddr;
use kiln_link::{External, FileKind, Link, Options, Placement, RuntimeSymbols, Scope, TlsPlacement, identify};

const BASE: u64 = 0x7f00_0000_0000;

#[derive(Default)]
struct Fake {
    lookups: usize,
}

impl Scope for Fake {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        self.lookups += 1;
        // The thread-local variables of libstdc++ that call_once uses.
        if name.starts_with(b"_ZSt15__once_callable") || name.starts_with(b"_ZSt11__once_call") {
            return Some(External::DynamicTls { module: 2, offset: 16 });
        }
        Some(External::Function(ExecutorAddr::new(BASE - 0x100_0000)))
    }
}

/// A moment: wall time, and processor time of this thread, which other programs on the machine do not disturb as much.
#[derive(Clone, Copy)]
struct Moment {
    wall: Instant,
    cpu: Duration,
}

impl Moment {
    fn now() -> Moment {
        let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let ns = schedule.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        Moment { wall: Instant::now(), cpu: Duration::from_nanos(ns) }
    }

    /// Milliseconds of wall and processor time from `self` to `end`.
    fn until(self, end: Moment) -> [f64; 2] {
        [end.wall - self.wall, end.cpu.saturating_sub(self.cpu)].map(|time| time.as_secs_f64() * 1e3)
    }
}

fn main() {
    let mut reps = 5;
    let mut options = Options::default();
    let mut files = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--reps" => reps = args.next().and_then(|n| n.parse().ok()).expect("--reps N"),
            "--one-thread" => options.single_threaded = true,
            "--prune" => {
                options.prune = true;
                options.roots.push(args.next().expect("--prune NAME").into_bytes());
            }
            _ => files.push(arg),
        }
    }
    let inputs: Vec<(String, Vec<u8>)> =
        files.into_iter().map(|f| (f.clone(), std::fs::read(&f).unwrap_or_else(|e| panic!("{f}: {e}")))).collect();
    let mut memory: Vec<Vec<u8>> = Vec::new();
    let mut best = [[f64::MAX; 4]; 2];
    for rep in 0..reps {
        let start = Moment::now();
        let mut link = Link::new(options.clone());
        for (name, bytes) in &inputs {
            match identify(bytes) {
                FileKind::Archive | FileKind::ThinArchive => link.add_archive(name, bytes, false),
                _ => link.add_object(name, bytes),
            };
        }
        let mut scope = Fake::default();
        let resolved = link.resolve(&mut scope).unwrap_or_else(|errors| panic!("{errors}"));
        let after_resolve = Moment::now();
        let layout = resolved.layout().unwrap_or_else(|errors| panic!("{errors}"));
        let after_layout = Moment::now();
        memory.resize(layout.segments.len(), Vec::new());
        for (memory, segment) in memory.iter_mut().zip(&layout.segments) {
            memory.resize(segment.size as usize, 1);
        }
        let mut address = BASE;
        let mut placements = Vec::new();
        for (working, segment) in memory.iter_mut().zip(&layout.segments) {
            address = address.next_multiple_of(segment.align.max(4096));
            placements.push(Placement { address: ExecutorAddr::new(address), working, zeroed: rep == 0 });
            address += segment.size;
        }
        let tls = layout.tls.map_or(TlsPlacement::None, |t| TlsPlacement::Static { tp_offset: -(t.size as i64) });
        let runtime = RuntimeSymbols {
            tls_get_addr: Some(ExecutorAddr::new(BASE - 0x10_0000)),
            tls_descriptor: Some(ExecutorAddr::new(BASE - 0x10_0000)),
        };
        let sizes: Vec<u64> = layout.segments.iter().map(|s| s.size).collect();
        let before_place = Moment::now();
        let mut linked = layout.place(&mut placements, tls, &runtime).unwrap_or_else(|errors| panic!("{errors}"));
        let end = Moment::now();
        let unwind = linked.take_unwind().len();
        let phases = [start.until(after_resolve), after_resolve.until(after_layout), before_place.until(end)];
        let total = [0, 1].map(|kind| phases.iter().map(|phase| phase[kind]).sum::<f64>());
        for kind in [0, 1] {
            let best = &mut best[kind];
            if total[kind] < best[3] {
                *best = [phases[0][kind], phases[1][kind], phases[2][kind], total[kind]];
            }
        }
        if rep == 0 {
            println!(
                "segments {sizes:?} bytes, {unwind} unwind entries, {} constructors, {} lookups outside",
                linked.init().len(),
                scope.lookups
            );
        }
    }
    for (kind, [resolve, layout, place, total]) in ["wall", "cpu of the first thread"].iter().zip(best) {
        println!("resolve {resolve:8.3}  layout {layout:8.3}  place {place:8.3}  total {total:8.3} ms best {kind}");
    }
}
