//! Freeing old code: when, and how the program's threads are looked at.

use std::ops::Range;

use kiln_abi::ExecutorAddr;
use kiln_dispatch::{Look, Reclaimed, RetiredVersion};

use crate::engine::{Engine, Inner};
use crate::process::signals::Blocked;
use crate::replace::Pending;

impl Engine {
    /// Frees all retired code that no thread is in, and says who is in the rest. It happens by itself when much has been
    /// retired.
    pub fn reclaim(&self) -> Reclaimed {
        let _blocked = Blocked::all();
        self.inner().versions().reclaim(&Threads(self.inner()))
    }
}

impl Inner {
    /// Frees retired code on the calling thread once there is enough of it to make up for looking at all threads.
    pub(crate) fn reclaim_if_much(&'static self) {
        if self.versions().retired_bytes() >= self.options.reclaim_bytes {
            self.versions().reclaim(&Threads(self));
        }
    }

    /// Who is inside any of `retired`.
    pub(crate) fn pending(&'static self, retired: &[RetiredVersion]) -> Vec<Pending> {
        let mut sorted: Vec<_> = retired.iter().filter(|version| version.bytes > 0).collect();
        sorted.sort_unstable_by_key(|version| version.start);
        let ranges: Vec<_> = sorted.iter().map(|v| v.start.get()..v.start.get() + v.bytes).collect();
        let mut held = vec![false; ranges.len()];
        let mut holders = Vec::new();
        Threads(self).look(&ranges, &mut held, &mut holders);
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

/// All threads of the process.
struct Threads(&'static Inner);

impl Look for Threads {
    fn look(&self, ranges: &[Range<u64>], held: &mut [bool], holders: &mut Vec<(u32, usize)>) {
        let _ = (ranges, holders);
        // Until threads can be looked at, each may be anywhere.
        held.fill(true);
    }

    fn forget(&self, body: ExecutorAddr) {
        self.0.code.lock().remove(body);
    }
}
