//! What happened to each function: its last versions.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, Pipeline};
use kiln_dispatch::FunctionIndex;
use kiln_remote::ModuleId;

/// Who made a version's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompiledBy {
    /// The first tier, on the thread that needed it.
    Baseline,
    /// The optimizer.
    Optimizer(Pipeline),
}

/// Where a version's code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Compiled for a first call.
    FirstCall(CompiledBy),
    /// Compiled again with the same meaning.
    Reoptimised(CompiledBy),
    /// Compiled from IR with a new meaning.
    Redefined(CompiledBy),
    /// From an object file.
    Object,
}

impl fmt::Display for CompiledBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompiledBy::Baseline => "baseline",
            CompiledBy::Optimizer(Pipeline::Quick) => "optimizer, quick",
            CompiledBy::Optimizer(Pipeline::Full) => "optimizer, full",
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::FirstCall(by) => write!(f, "first call ({by})"),
            Origin::Reoptimised(by) => write!(f, "re-optimised ({by})"),
            Origin::Redefined(by) => write!(f, "redefined ({by})"),
            Origin::Object => f.write_str("object"),
        }
    }
}

/// One version of a function.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VersionRecord {
    /// Counts up per function, from 1.
    pub number: u32,
    /// Where its code came from.
    pub origin: Origin,
    /// When it was installed.
    pub installed: Instant,
    /// From the request to the install.
    pub took: Duration,
    /// Bytes of its code.
    pub bytes: u64,
    /// What rolling back to it needs.
    pub(crate) source: Source,
}

/// What a version was made of.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A function of a loaded module.
    Module(ModuleId, FunctionId),
    /// The bytes of an object.
    Object(Arc<[u8]>),
}

/// The versions of every function that has had one, and what was redefined.
#[derive(Debug, Default)]
pub(crate) struct History {
    functions: HashMap<FunctionIndex, VecDeque<VersionRecord>>,
    /// Functions of modules whose bodies were replaced by others.
    opaque: HashMap<ModuleId, BTreeSet<FunctionId>>,
    /// Functions into whose bodies no compile of another function may look.
    closed: HashMap<ModuleId, Vec<FunctionId>>,
    /// What functions are compiled from that were redefined by IR.
    sources: HashMap<FunctionIndex, (ModuleId, FunctionId)>,
}

impl History {
    /// Adds a version; the oldest of more than `limit` is forgotten.
    pub(crate) fn add(&mut self, function: FunctionIndex, record: VersionRecord, limit: usize) {
        // Nearly all functions have one version.
        let records = self.functions.entry(function).or_insert_with(|| VecDeque::with_capacity(1));
        while records.len() >= limit.max(1) {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// The versions of a function, the oldest first.
    pub(crate) fn of(&self, function: FunctionIndex) -> Vec<VersionRecord> {
        self.functions.get(&function).into_iter().flatten().cloned().collect()
    }

    /// Functions of `module` whose bodies mean nothing any more.
    pub(crate) fn opaque(&self, module: ModuleId) -> Vec<FunctionId> {
        self.opaque.get(&module).into_iter().flatten().copied().collect()
    }

    /// Functions of `module` whose bodies a compile of `roots` may not look into: the opaque ones, and those that are to be
    /// called only.
    pub(crate) fn closed_to(&self, module: ModuleId, roots: &[FunctionId]) -> Vec<FunctionId> {
        let mut closed = self.opaque(module);
        let others = self.closed.get(&module).into_iter().flatten();
        closed.extend(others.filter(|function| !roots.contains(function)));
        closed.sort_unstable();
        closed.dedup();
        closed
    }

    /// Whether no compile of another function may look into a body.
    pub(crate) fn is_closed(&self, module: ModuleId, function: FunctionId) -> bool {
        self.closed.get(&module).is_some_and(|functions| functions.contains(&function))
    }

    /// Says that no compile of another function may look into a body.
    pub(crate) fn close(&mut self, module: ModuleId, function: FunctionId) {
        self.closed.entry(module).or_default().push(function);
    }

    /// What a function is compiled from since it was redefined by IR.
    pub(crate) fn source(&self, function: FunctionIndex) -> Option<(ModuleId, FunctionId)> {
        self.sources.get(&function).copied()
    }

    /// Says that `function` is compiled from the body `id` of `module` from now on, and no longer from what it was.
    pub(crate) fn set_source(&mut self, function: FunctionIndex, module: ModuleId, id: FunctionId) {
        self.sources.insert(function, (module, id));
        self.set_opaque(module, id, false);
    }

    /// Says that `function`, compiled from `before` so far, is compiled from `now` from now on, which means the same. Not if it
    /// was redefined meanwhile.
    pub(crate) fn move_source(
        &mut self,
        function: FunctionIndex,
        before: (ModuleId, FunctionId),
        now: (ModuleId, FunctionId),
    ) {
        let is_opaque = self.opaque.get(&before.0).is_some_and(|functions| functions.contains(&before.1));
        if self.source(function).unwrap_or(before) != before || is_opaque {
            return;
        }
        self.sources.insert(function, now);
        if self.is_closed(before.0, before.1) {
            self.close(now.0, now.1);
        }
    }

    /// The modules that functions are compiled from, or can be rolled back to, as far as it was redefined.
    pub(crate) fn modules(&self) -> HashSet<ModuleId> {
        let records = self.functions.values().flatten().filter_map(|record| match record.source {
            Source::Module(module, _) => Some(module),
            Source::Object(_) => None,
        });
        records.chain(self.sources.values().map(|(module, _)| *module)).collect()
    }

    /// Forgets what it knows of a module that is gone.
    pub(crate) fn forget(&mut self, module: ModuleId) {
        self.opaque.remove(&module);
        self.closed.remove(&module);
    }

    /// Says that the body of a module's function means nothing any more, or means something again.
    pub(crate) fn set_opaque(&mut self, module: ModuleId, function: FunctionId, opaque: bool) {
        if opaque {
            self.opaque.entry(module).or_default().insert(function);
        } else if let Some(functions) = self.opaque.get_mut(&module) {
            functions.remove(&function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32) -> VersionRecord {
        VersionRecord {
            number,
            origin: Origin::Object,
            installed: Instant::now(),
            took: Duration::ZERO,
            bytes: 1,
            source: Source::Module(ModuleId(0), FunctionId(0)),
        }
    }

    #[test]
    fn the_oldest_versions_are_forgotten() {
        let mut history = History::default();
        (1..=20).for_each(|number| history.add(FunctionIndex(3), record(number), 16));
        let numbers: Vec<_> = history.of(FunctionIndex(3)).iter().map(|r| r.number).collect();
        assert_eq!(numbers, (5..=20).collect::<Vec<_>>());
        assert!(history.of(FunctionIndex(4)).is_empty());
    }

    #[test]
    fn what_is_opaque_can_mean_something_again() {
        let mut history = History::default();
        for opaque in [true, true, false] {
            history.set_opaque(ModuleId(1), FunctionId(2), opaque);
            assert_eq!(history.opaque(ModuleId(1)).len(), usize::from(opaque));
        }
    }
}
