//! Freeing code that nobody is in.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;

use kiln_abi::{ExecutorAddr, Permission};

use crate::index::FunctionIndex;
use crate::versions::store::{Code, Version};
use crate::versions::table_versions::{RetiredVersion, Versions};

/// Retired units that are about to be freed, if nobody is in them. Give it back with [`Versions::finish_reclaim`].
#[derive(Debug)]
#[must_use = "no other reclamation begins until this one is finished"]
pub struct Reclaiming {
    /// Address ranges with their unit and its retirement, sorted.
    ranges: Vec<(Range<u64>, u32, u64)>,
    began: Instant,
}

impl Reclaiming {
    /// The addresses in question, sorted and disjoint. No entry has led there since the barrier that ended their retirement.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().map(|(range, ..)| range.clone())
    }
}

/// What a look at all threads of the process found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// For each range, by its index, whether some thread may be inside or return there. What cannot be inspected holds
    /// everything.
    pub held: Vec<bool>,
    /// Who was seen to hold what: thread and index of the range.
    pub holders: Vec<(u32, usize)>,
    /// What could not be inspected, in words.
    pub obstacles: Vec<String>,
}

/// Who keeps a retired version from being freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The thread.
    pub thread: u32,
    /// A function whose old version it is in.
    pub function: FunctionIndex,
    /// The version's number.
    pub number: u32,
}

/// What a reclamation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Units freed.
    pub units: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Units that wait for threads.
    pub held_units: u64,
    /// For whom they wait.
    pub holders: Vec<Holder>,
    /// What could not be looked at, and may therefore hold anything.
    pub obstacles: Vec<String>,
}

impl Versions {
    /// Bytes of retired code that wait to be freed.
    #[must_use]
    pub fn retired_bytes(&self) -> u64 {
        self.lock().store.retired_bytes
    }

    /// Those of `versions` whose memory has not been freed, and may be somebody else's otherwise.
    #[must_use]
    pub fn not_freed(&self, versions: &[RetiredVersion]) -> Vec<RetiredVersion> {
        let state = self.lock();
        let live = state.store.versions.iter().map(|(_, version)| (version.function, version.number));
        let live: HashSet<_> = live.collect();
        versions.iter().filter(|version| live.contains(&(version.function, version.number))).copied().collect()
    }

    /// Begins to free the retired units that nobody is in; `None` if there are none, or somebody is at it.
    ///
    /// 1. Here, under the install lock: the ranges of all retired units.
    /// 2. The caller looks at all threads, for as long as it takes. Installs and calls go on; what retires now is not in
    ///    the list.
    /// 3. [`Versions::finish_reclaim`].
    #[must_use]
    pub fn begin_reclaim(&self) -> Option<Reclaiming> {
        let mut state = self.lock();
        if state.scanning || state.store.retired.is_empty() {
            return None;
        }
        state.scanning = true;
        let store = &state.store;
        let region = self.cache.region(Permission::Code);
        let mut ranges: Vec<(Range<u64>, u32, u64)> = Vec::with_capacity(store.retired.len());
        for number in &store.retired {
            let unit = store.units.get(*number);
            let Code::Retired(retired) = &unit.code else { continue };
            let segments = (0..retired.segments()).map(|segment| retired.range(segment));
            let code = segments.filter(|range| region.contains(&range.start));
            ranges.extend(code.map(|range| (range.start.get()..range.end.get(), *number, unit.retirement)));
        }
        drop(state);
        ranges.sort_unstable_by_key(|(range, ..)| range.start);
        Some(Reclaiming { ranges, began: Instant::now() })
    }

    /// Frees what nobody holds, with its unwind entries, debugger records and call sites. `forget` is told of each body
    /// before its memory is used again, under the install lock.
    pub fn finish_reclaim(
        &self,
        reclaiming: Reclaiming,
        found: Found,
        mut forget: impl FnMut(ExecutorAddr),
    ) -> Reclaimed {
        let Reclaiming { ranges, began } = reclaiming;
        let Found { held, holders, obstacles } = found;
        let mut state = self.lock();
        state.scanning = false;
        state.stats.scans += 1;
        state.stats.scan_nanoseconds += began.elapsed().as_nanos() as u64;
        let mut result = Reclaimed { obstacles, ..Reclaimed::default() };
        for (thread, range) in holders {
            let (_, unit, _) = &ranges[range];
            let holds = |version: &Version| Holder { thread, function: version.function, number: version.number };
            result.holders.extend(state.store.versions_of(*unit).map(holds));
        }
        result.holders.sort_unstable();
        result.holders.dedup();
        let mut held_units: Vec<u32> =
            ranges.iter().zip(&held).filter(|(_, held)| **held).map(|((_, unit, _), _)| *unit).collect();
        held_units.sort_unstable();
        held_units.dedup();
        let mut looked_at: Vec<(u32, u64)> = ranges.iter().map(|(_, unit, retirement)| (*unit, *retirement)).collect();
        looked_at.sort_unstable();
        let store = &mut state.store;
        let mut freed = Vec::new();
        let retired = std::mem::take(&mut store.retired);
        for number in retired {
            let unit = store.units.get(number);
            let was_looked_at = looked_at.binary_search(&(number, unit.retirement)).is_ok();
            let is_free = was_looked_at && unit.pins == 0 && held_units.binary_search(&number).is_err();
            if !is_free || !matches!(unit.code, Code::Retired(_)) {
                store.retired.push(number);
                continue;
            }
            result.units += 1;
            result.bytes += unit.bytes;
            store.versions_of(number).for_each(|version| forget(ExecutorAddr::new(version.start)));
            freed.push(store.remove_unit(number));
        }
        result.held_units = held_units.len() as u64;
        state.stats.reclaimed_units += result.units;
        for retired in freed {
            // SAFETY: nothing has led to the code since the barrier that ended its retirement, and after that no thread
            // was found to be in it or about to return there; its sites are forgotten.
            unsafe { retired.reclaim() };
        }
        result
    }
}
