//! Freeing old code: when, and how the program's threads are looked at.

use std::ops::Range;
use std::sync::atomic::Ordering;

use kiln_abi::ExecutorAddr;
use kiln_dispatch::scan::{self, Ranges};
use kiln_dispatch::{Look, Reclaimed, RetiredVersion};

use crate::engine::{Engine, Inner};
use crate::process::signals::Blocked;
use crate::replace::Pending;

impl Engine {
    /// Frees all retired code that no thread is in, and says who is in the rest. It happens by itself when much has been
    /// retired.
    pub fn reclaim(&self) -> Reclaimed {
        let entry = 0u8;
        reclaim(self.inner(), frame_of(&entry))
    }
}

impl Inner {
    /// Frees retired code on the calling thread once there is enough of it to make up for looking at all threads.
    pub(crate) fn reclaim_if_much(&'static self, from: ExecutorAddr) {
        // Relaxed: a hint; two threads that look at once find that the first one is at it.
        if self.versions().retired_bytes() >= self.reclaim_at.load(Ordering::Relaxed) {
            reclaim(self, from);
        }
    }

    /// Who is inside any of `retired`; `from` as for [`frame_of`].
    #[inline(never)]
    pub(crate) fn pending(&'static self, retired: &[RetiredVersion], from: ExecutorAddr) -> Vec<Pending> {
        let _blocked = Blocked::all();
        let mut sorted: Vec<_> = retired.iter().filter(|version| version.bytes > 0).collect();
        sorted.sort_unstable_by_key(|version| version.start);
        let ranges: Vec<_> = sorted.iter().map(|v| v.start.get()..v.start.get() + v.bytes).collect();
        let mut held = vec![false; ranges.len()];
        let mut holders = Vec::new();
        let _ = Threads { inner: self, from }.look(&ranges, &mut held, &mut holders);
        let mut pending: Vec<_> = holders
            .into_iter()
            .map(|(thread, at)| Pending {
                thread,
                function: self.name_of(sorted[at].function),
                number: sorted[at].number,
            })
            .collect();
        pending.dedup();
        pending
    }
}

/// Where the caller's part of this thread's stack begins, given a variable of the function that the client called: frames
/// below it are the engine's, which know old code as data.
pub(crate) fn frame_of(variable: &u8) -> ExecutorAddr {
    ExecutorAddr::new(std::ptr::from_ref(variable).addr() as u64)
}

#[inline(never)]
fn reclaim(inner: &'static Inner, from: ExecutorAddr) -> Reclaimed {
    let _blocked = Blocked::all();
    let reclaimed = inner.versions().reclaim(&Threads { inner, from });
    // What is held now need not be looked at again for every version that retires.
    let left = inner.versions().retired_bytes();
    inner.reclaim_at.store(left + inner.options.reclaim_bytes, Ordering::Relaxed);
    reclaimed
}

/// All threads of the process.
struct Threads {
    inner: &'static Inner,
    from: ExecutorAddr,
}

impl Look for Threads {
    fn look(&self, ranges: &[Range<u64>], held: &mut [bool], holders: &mut Vec<(u32, usize)>) -> Vec<String> {
        let addresses = ranges.iter().map(|range| ExecutorAddr::new(range.start)..ExecutorAddr::new(range.end));
        let ranges = match Ranges::new(addresses) {
            Ok(ranges) => ranges,
            Err(error) => panic!("live code overlaps: {error}"),
        };
        let report =
            scan::scan(&ranges, &scan::Options { own_stack_from: Some(self.from), ..scan::Options::default() });
        for (at, held) in held.iter_mut().enumerate() {
            *held = !report.is_free(at);
        }
        holders.extend(report.holders.iter().map(|(thread, range)| (thread.0.cast_unsigned(), *range)));
        let threads = report.uninspected.iter().map(|(thread, reason)| format!("thread {}: {reason:?}", thread.0));
        threads.chain(report.obstacles.iter().map(|obstacle| format!("{obstacle:?}"))).collect()
    }

    fn forget(&self, body: ExecutorAddr) {
        self.inner.code.lock().remove(body);
    }
}
