//! Second chances: which code is taken away when there is too much.
//!
//! | a function's version is | its entries lead to | left by |
//! | --- | --- | --- |
//! | current | its body | `cool`: the resolver gets its stub, its sites get the stub |
//! | cold | the resolver | a call: `revive`; too much code: `evict_cold` |
//! | retired | the resolver | the scan that finds nobody in it |
//!
//! Whether a function is called costs nothing to find out while it is not cold: there are no counters in its code.

use crate::index::FunctionIndex;
use crate::versions::plan::{Change, Settle};
use crate::versions::table_versions::{RetiredVersion, State, Versions};

impl Versions {
    /// The next `count` functions in turn whose code could be taken away: they have some, are not cold, and nobody keeps
    /// their unit. Fewer once all were gone through.
    #[must_use]
    pub fn next_in_turn(&self, count: usize) -> Vec<FunctionIndex> {
        let mut state = self.lock();
        let State { store, hand, .. } = &mut *state;
        let len = store.functions_len() as u32;
        let mut found = Vec::new();
        for _ in 0..len {
            if found.len() == count {
                break;
            }
            *hand = if *hand + 1 < len { *hand + 1 } else { 0 };
            let function = FunctionIndex(*hand);
            let is_kept = |unit: u32| store.units.get(unit).pins > 0;
            if store.entered(function).is_some_and(|version| !is_kept(version.unit)) {
                found.push(function);
            }
        }
        found
    }

    /// Leads all entries of `functions` to the resolver, until about `bytes` of code are cold. Their versions stay current.
    pub fn cool(&self, functions: &[FunctionIndex], bytes: u64) {
        let mut state = self.lock();
        let State { store, plan, stats, .. } = &mut *state;
        plan.clear();
        for function in functions.iter().copied() {
            if store.cold_bytes >= bytes {
                break;
            }
            if store.entered(function).is_none() {
                continue;
            }
            plan.open(self.unresolved(function), store.sites_of(function));
            store.set_cold(function, true);
            store.cooled.push_back(function);
            store.takings += 1;
            stats.cooled += 1;
        }
        // No barrier: a core that still has an old word enters a version that is there.
        // SAFETY: the store lists sites of live code only, and the lock is held.
        unsafe { self.execute(plan, stats) };
    }

    /// Leads the entries of `function`, which the caller has claimed, to its current version again. `false` if it has none:
    /// somebody must compile it.
    #[must_use]
    pub fn revive(&self, function: FunctionIndex) -> bool {
        let mut state = self.lock();
        let State { store, plan, stats, .. } = &mut *state;
        let Some(body) = store.current(function).map(|version| version.start) else { return false };
        if !store.is_cold(function) {
            // Somebody installed another one since the caller claimed it.
            return true;
        }
        let target = kiln_abi::ExecutorAddr::new(body);
        let open_slot = self.table.slot_word(function, target).expect("the stub has led there before");
        plan.clear();
        plan.open(Change { function, open_slot, target: body, settle: Settle::Installed }, store.sites_of(function));
        store.set_cold(function, false);
        stats.revived += 1;
        // SAFETY: the store lists sites of live code only, and the lock is held; the sites led to it before, so it is in reach.
        unsafe { self.execute(plan, stats) };
        true
    }

    /// Takes the versions away that have been cold for longest, until they make up `bytes`; there may be fewer.
    pub fn evict_cold(&self, bytes: u64) -> Vec<RetiredVersion> {
        let mut state = self.lock();
        let State { store, plan, stats, .. } = &mut *state;
        let mut taken = Vec::new();
        let mut left = bytes;
        while left > 0
            && let Some(function) = store.cooled.pop_front()
        {
            if !store.is_cold(function) {
                continue;
            }
            let version = store.current(function).expect("a cold function has a version");
            left = left.saturating_sub(version.bytes);
            taken.extend(store.take_current(function));
        }
        if !taken.is_empty() {
            // Nothing leads there since they are cold; now every core knows.
            plan.clear();
            plan.barrier();
            // SAFETY: nothing but a barrier.
            unsafe { self.execute(plan, stats) };
        }
        stats.evicted += taken.len() as u64;
        taken.into_iter().map(|version| self.retire(store, version)).collect()
    }

    /// Bytes of cold code.
    #[must_use]
    pub fn cold_bytes(&self) -> u64 {
        self.lock().store.cold_bytes
    }
}
