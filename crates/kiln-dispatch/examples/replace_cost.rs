//! What installing a body costs where many call sites lead to the old one:
//! `cargo run --release -p kiln-dispatch --example replace_cost`

use std::time::Instant;

use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, Options, Place, Records};
use kiln_dispatch::{Body, CallSite, Found, FunctionIndex, FunctionTable, Mode, Resolve, Unit, Versions};

struct Nobody;

impl Resolve for Nobody {
    fn resolve(&self, function: FunctionIndex) -> ExecutorAddr {
        panic!("{function:?} is called");
    }
}

fn main() {
    println!("call sites | install, median of 200, microseconds | per site, nanoseconds");
    for sites in [0usize, 1, 10, 100, 1_000, 10_000, 100_000] {
        let cache: &'static CodeCache = Box::leak(Box::new(CodeCache::new(&Options::new()).expect("memory")));
        let table = FunctionTable::new(cache, &Nobody).expect("stubs");
        table.allocate(2).expect("stubs");
        let versions = Versions::new(table, cache);
        install(cache, &versions, 1, &[0xc3], 0, Mode::Offer);
        // A caller of `sites` calls, eight bytes each: `call f` and three bytes of nothing.
        let caller: Vec<u8> = [0xe8, 0, 0, 0, 0, 0x0f, 0x1f, 0x00].repeat(sites.max(1));
        install(cache, &versions, 0, &caller, sites, Mode::Offer);
        let mut times: Vec<u128> = (0..200)
            .map(|_| {
                let took = install(cache, &versions, 1, &[0xc3], 0, Mode::Redefine);
                // Nothing is ever called here.
                if let Some(reclaiming) = versions.begin_reclaim() {
                    let found = Found { held: reclaiming.ranges().map(|_| false).collect(), ..Found::default() };
                    versions.finish_reclaim(reclaiming, found, |_| {});
                }
                took
            })
            .collect();
        times.sort_unstable();
        let median = times[times.len() / 2] as f64 / 1e3;
        println!("{sites:>10} | {median:>10.2} | {:.2}", median * 1e3 / sites.max(1) as f64);
    }
}

/// Installs `code` as the body of `function`; the time of the install alone, in nanoseconds.
fn install(cache: &CodeCache, versions: &Versions, function: u32, code: &[u8], sites: usize, mode: Mode) -> u128 {
    let segment = Segment { permission: Permission::Code, size: code.len() as u64, align: 16 };
    let mut reservation = cache.reserve(&[(segment, Place::Anywhere)]).expect("memory");
    reservation.working(0).copy_from_slice(code);
    let address = reservation.segment(0);
    let callee = FunctionIndex(1);
    let sites: Vec<_> =
        (0..sites as u64).map(|n| CallSite { place: address + (n * 8 + 1), function: callee }).collect();
    let bodies = [Body { function: FunctionIndex(function), address, bytes: code.len() as u64 }];
    let (bodies, sites, epoch) = (&bodies[..], &sites[..], versions.epoch());
    let unit = Unit { reservation, records: Records::new(), bodies, sites, unpatchable: 0, visible: &[], epoch };
    let begin = Instant::now();
    versions.install(unit, mode).expect("installed");
    begin.elapsed().as_nanos()
}
