//! First calls without LLVM: the calling thread compiles the function itself.
//!
//! Compilers keep their memory between functions, and so does who links and installs what they make; so they wait on a stack
//! for whoever needs one next, and there are as many as threads have ever compiled at once. The lock of the stack is held for
//! a push or a pop, never while anything is compiled, and always with signals blocked: whoever holds it cannot be interrupted
//! by a first call of its own thread.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_abi::symbol::Id;
use kiln_abi::{ExecutorAddr, FunctionId, Permission, Tier};
use kiln_baseline::{Code, CompileError};
use kiln_dispatch::{FunctionIndex, Mode};
use kiln_link::{AloneMemory, Binding, Placement, SymbolId, SymbolPlace};
use kiln_remote::ModuleId;

use crate::compiler::{Begun, Failure, Sink};
use crate::engine::Inner;
use crate::history::CompiledBy;
use crate::module::LoadedModule;
use crate::options::{Options, TierChoice};
use crate::place::{self, Observed};
use crate::process::lease;
use crate::replace::Redefined;
use crate::resolve::{MadeBodies, ObjectScope, Ready};
use crate::versions::{self, Branch, Entries};

/// The compilers of the first tier, and what they did.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    state: Mutex<State>,
}

/// Everything behind the lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    #[expect(clippy::vec_box, reason = "a worker is large, and taken and put back for every function")]
    idle: Vec<Box<Worker>>,
    statistics: BaselineStatistics,
}

/// What a thread compiles and installs a function with.
#[derive(Debug, Default)]
struct Worker {
    compiler: kiln_baseline::Compiler,
    alone: AloneMemory,
    made: MadeBodies,
    entries: Entries,
}

/// What the first tier did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct BaselineStatistics {
    pub(crate) functions: u64,
    pub(crate) instructions: u64,
    /// Reading bodies and generating code.
    pub(crate) compiling: Duration,
    /// The same, of functions that turned out to be beyond it.
    pub(crate) refusing: Duration,
    /// Linking, placing, publishing and installing.
    pub(crate) installing: Duration,
    /// What was left to the optimizer, and how many functions for that reason.
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Baseline {
    /// The state's lock. A panic elsewhere is a bug that ends the process, so poisoning says nothing new.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn statistics(&self) -> BaselineStatistics {
        self.lock().statistics.clone()
    }

    fn worker(&self) -> Box<Worker> {
        self.lock().idle.pop().unwrap_or_default()
    }

    fn compile(&self, worker: &mut Worker, module: &LoadedModule, function: FunctionId) -> Result<Code, CompileError> {
        let begin = Instant::now();
        let code = worker.compiler.compile(&module.bitcode, &module.bytes, function);
        let time = begin.elapsed();
        if let Some(body) = module.bitcode.body_range(&module.bytes, function) {
            lease::was_read(&module.bytes[body]);
        }
        let mut state = self.lock();
        let statistics = &mut state.statistics;
        match &code {
            Ok(code) => {
                statistics.compiling += time;
                statistics.functions += 1;
                statistics.instructions += u64::from(code.instructions);
            }
            Err(error) => {
                statistics.refusing += time;
                *statistics.refused.entry(error.to_string()).or_default() += 1;
            }
        }
        code
    }
}

/// Which compilers may make a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The first tier, and the optimizer for what that does not do.
    BaselineFirst,
    /// One of them, or nobody.
    Only(Tier),
}

impl Plan {
    /// What `options` say about one function, with its number in the session. A mix depends on nothing but the seed and
    /// the function's ids, so that a run can be repeated.
    pub(crate) fn of(options: &Options, module: ModuleId, function: FunctionId, index: FunctionIndex) -> Self {
        match options.tier {
            TierChoice::BaselineFirst => Plan::BaselineFirst,
            TierChoice::Only(tier) => Plan::Only(tier),
            TierChoice::Mix { seed } if coin(seed, module, function) => Plan::BaselineFirst,
            TierChoice::Range { from, to } if (from..to).contains(&index.0) => Plan::BaselineFirst,
            TierChoice::Mix { .. } | TierChoice::Range { .. } => Plan::Only(Tier::Optimizer),
        }
    }
}

/// A bit that looks random: the last steps of splitmix64 over all three.
fn coin(seed: u64, module: ModuleId, function: FunctionId) -> bool {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(module.0) << 32 | u64::from(function.0));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) & 1 != 0
}

impl Inner {
    /// Compiles `function` on this thread and installs it; `depth` counts the functions that wait for its labels.
    pub(crate) fn compile_baseline(
        &self,
        module: &LoadedModule,
        function: FunctionId,
        depth: u32,
    ) -> Result<(), Failure> {
        let begun = Begun {
            epoch: self.versions().epoch(),
            at: Instant::now(),
            by: CompiledBy::Baseline,
            mode: Mode::Offer,
            installed: None,
        };
        let mut worker = self.baseline.worker();
        let code = match self.baseline.compile(&mut worker, module, function) {
            Ok(code) => code,
            Err(refused) => {
                self.baseline.lock().idle.push(worker);
                return Err(Failure::Baseline(refused));
            }
        };
        let begin = Instant::now();
        let result = loop {
            match self.install_baseline(module, function, &code, &mut worker, &begun) {
                // By a worker of its own.
                Err(Failure::NeedsOwner(owner)) => {
                    if let Err(failure) = self.compile_owner(module, owner, depth) {
                        break Err(failure);
                    }
                }
                result => break result,
            }
        };
        worker.compiler.reuse(code);
        let mut state = self.baseline.lock();
        state.statistics.installing += begin.elapsed();
        state.idle.push(worker);
        result
    }

    fn install_baseline(
        &self,
        module: &LoadedModule,
        function: FunctionId,
        code: &Code,
        worker: &mut Worker,
        begun: &Begun,
    ) -> Result<(), Failure> {
        match self.install_alone(module, function, code, worker, begun) {
            Some(result) => result,
            None => self.install_together(module, &[function], std::slice::from_ref(code), begun),
        }
    }

    /// Compiles `functions` of `module` on this thread and makes them current together, with a new meaning; `None` if one
    /// of them is the optimizer's.
    pub(crate) fn redefine_by_baseline(
        &'static self,
        module: &LoadedModule,
        functions: &[FunctionId],
    ) -> Result<Option<Redefined>, Failure> {
        let allowed = |function: &FunctionId| {
            let index = module.index_of(*function).expect("a function with a body");
            !matches!(Plan::of(&self.options, module.id, *function, index), Plan::Only(Tier::Optimizer))
        };
        if !functions.iter().all(allowed) {
            return Ok(None);
        }
        let sink = Sink::default();
        let begun = Begun {
            epoch: self.versions().epoch(),
            at: Instant::now(),
            by: CompiledBy::Baseline,
            mode: Mode::Redefine,
            installed: Some(sink.clone()),
        };
        let mut worker = self.baseline.worker();
        let codes = functions.iter().map(|function| self.baseline.compile(&mut worker, module, *function));
        let codes = codes.collect::<Result<Vec<_>, _>>();
        self.baseline.lock().idle.push(worker);
        let Ok(codes) = codes else { return Ok(None) };
        loop {
            match self.install_together(module, functions, &codes, &begun) {
                Err(Failure::NeedsOwner(owner)) => self.compile_owner(module, owner, 0)?,
                result => break result?,
            }
        }
        self.adopt_sources(module, functions);
        let installed = std::mem::take(&mut *sink.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Some(self.redefined(installed)))
    }

    /// Links the code of `functions` and makes it theirs, all at once.
    fn install_together(
        &self,
        module: &LoadedModule,
        functions: &[FunctionId],
        codes: &[Code],
        begun: &Begun,
    ) -> Result<(), Failure> {
        let called = |function: &FunctionId| format!("{} ({})", module.function_name(*function), module.name);
        let names: Vec<_> = functions.iter().map(called).collect();
        let mut link = versions::link();
        let named = names.iter().zip(codes);
        let inputs: Vec<_> = named.map(|(name, code)| link.add_graph_as(name, &code.graph)).collect();
        let mut scope = ObjectScope::new(self, module);
        let resolved = link.resolve(&mut scope);
        if let Some(owner) = scope.needs_owner() {
            return Err(Failure::NeedsOwner(owner));
        }
        let resolved = resolved.map_err(|errors| Failure::Link(self.in_names_of(module, &errors.to_string())))?;
        let mut filled = place::fill(self, resolved, &Observed::default())
            .map_err(|error| Failure::Link(self.in_names_of(module, &error.to_string())))?;
        let mut all = MadeBodies::default();
        for ((code, input), function) in codes.iter().zip(inputs).zip(functions) {
            add_made(&mut all, code, *function, |id| filled.linked.graph_symbol(input, id)?.location.address());
        }
        filled.shown = self.show_baseline(module, &all);
        self.install_filled(module, &all, None, filled, begun)
    }

    /// The short way for code that refers only to what is placed already; `None` where it takes the long one.
    fn install_alone(
        &self,
        module: &LoadedModule,
        function: FunctionId,
        code: &Code,
        worker: &mut Worker,
        begun: &Begun,
    ) -> Option<Result<(), Failure>> {
        let Worker { alone, made, entries, .. } = worker;
        let mut scope = ObjectScope::new(self, module);
        let alone = code.graph.lay_out_alone(alone, &mut scope);
        if let Some(owner) = scope.needs_owner() {
            return Some(Err(Failure::NeedsOwner(owner)));
        }
        let alone = alone.ok()?;
        let count = alone.segments().len();
        let mut reservation = match self.cache.reserve_anywhere(alone.segments()) {
            Ok(reservation) => reservation,
            Err(error) => return Some(Err(Failure::Link(error.to_string()))),
        };
        let mut placements = reservation
            .first_working::<{ Permission::ALL.len() }>()
            .map(|(address, working)| Placement { address, working, zeroed: false });
        let placed = alone.place(&mut placements[..count], true).ok()?;
        made.clear();
        add_made(made, code, function, |id| placed.address(id));
        let branches = placed.branches().iter();
        let branches = branches.map(|b| Branch { place: b.place, target: b.target, patchable: b.patchable });
        entries.fill(self.table(), module, made, branches);
        let shown = self.show_baseline(module, made);
        Some(shown.with_records(placed.unwind(), |records| {
            self.install_bodies(module, made, None, Ready { reservation, records, entries }, begun)
        }))
    }
}

/// Adds what compiled code defines of its module: the function, and globals that belong to it.
fn add_made(
    made: &mut MadeBodies,
    code: &Code,
    function: FunctionId,
    address: impl Fn(SymbolId) -> Option<ExecutorAddr>,
) {
    made.tables.extend(code.lines.clone().map(|table| (function, table)));
    for (id, symbol) in code.graph.symbols_with_ids() {
        if !matches!(symbol.place, SymbolPlace::Defined { .. }) || symbol.binding == Binding::Local {
            continue;
        }
        let Some(address) = address(id) else { continue };
        match symbol.name.id() {
            Some(Id::Function(id)) if id == function => made.functions.push((function, address, symbol.size)),
            Some(Id::Global(global)) => made.globals.push((global, address)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_the_same_for_the_same_seed_and_takes_both_tiers() {
        let options = |seed| Options { tier: TierChoice::Mix { seed }, ..Options::default() };
        let plans = |seed| -> Vec<Plan> {
            (0..1000).map(|f| Plan::of(&options(seed), ModuleId(0), FunctionId(f), FunctionIndex(f))).collect()
        };
        assert_eq!(plans(1), plans(1));
        assert_ne!(plans(1), plans(2));
        let baseline = plans(1).iter().filter(|plan| **plan == Plan::BaselineFirst).count();
        assert!((400..600).contains(&baseline), "{baseline} of 1000");
    }
}
