//! What a throw costs, through published frames and through native ones, by the number of published functions.
//!
//! `cargo run --release -p kiln-codecache --example unwind_cost`

#[path = "../tests/frames/mod.rs"]
mod frames;

use std::hint::black_box;
use std::panic::catch_unwind;
use std::time::Instant;

use kiln_codecache::unwind::find_fde;
use kiln_codecache::{CodeCache, Options, Published};

const THROWS: u32 = 20_000;

fn main() {
    let cache = CodeCache::new(&Options::new()).expect("address space");
    let mut live: Vec<Published> = Vec::new();
    for count in [0, 1, 100, 100_000] {
        while live.len() < count {
            live.push(frames::publish(&cache, 64));
        }
        let native = time(|| drop(catch_unwind(|| native_frame(throw))));
        print!("{count:>6} functions: native throw {native:.2} µs");
        if let Some(middle) = live.get(live.len() / 2) {
            let call_it = frames::function(middle);
            let published = time(|| drop(catch_unwind(|| call_it(throw))));
            let pc = middle.address(0) + 6;
            let find = time(|| assert!(black_box(find_fde(black_box(pc))).is_some()));
            print!(", through a published frame {published:.2} µs, find_fde {:.1} ns", find * 1e3);
        }
        println!();
    }
    live.into_iter().for_each(Published::leak);
}

/// Median of 11 means, in µs.
fn time(mut action: impl FnMut()) -> f64 {
    let mut means: Vec<f64> = (0..11)
        .map(|_| {
            let start = Instant::now();
            (0..THROWS / 11).for_each(|_| action());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(THROWS / 11)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    means[means.len() / 2]
}

#[inline(never)]
extern "C-unwind" fn native_frame(callee: extern "C-unwind" fn()) {
    callee();
    black_box(());
}

extern "C-unwind" fn throw() {
    std::panic::resume_unwind(Box::new(()));
}
