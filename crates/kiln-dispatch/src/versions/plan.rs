//! Which words a replacement changes, in which order, and where cores must synchronise: a plain value, and the one
//! function that carries it out. `docs/design/replacement.md` argues the order.

use crate::index::FunctionIndex;

/// What a function's state word becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settle {
    /// It has a body: who waited goes on to the stub.
    Installed,
    /// It has none: the next caller makes one.
    Unresolved,
}

/// One change of what callers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The function's state becomes `Compiling`: who comes through the resolver waits.
    Close(FunctionIndex),
    /// The function's slot, the first word of its stub.
    Slot(FunctionIndex, u64),
    /// The displacement at this address of live code, to lead to the target.
    Site {
        /// Address of the displacement.
        place: u64,
        /// Where the branch shall lead.
        target: u64,
    },
    /// The function's state, and whoever waits for it is woken.
    Settle(FunctionIndex, Settle),
    /// Every core executes a serialising operation.
    Barrier,
}

/// A replacement, ready to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
}

/// How one function changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) function: FunctionIndex,
    /// The slot that leads to the new body, or to the resolver.
    pub(crate) open_slot: u64,
    /// Where sites shall lead: the new body, or the stub.
    pub(crate) target: u64,
    pub(crate) settle: Settle,
}

/// What a [`Plan`] needs to know of one function when it is closed before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// The slot that leads to the resolver.
    pub(crate) slot: u64,
    pub(crate) stub: u64,
}

impl Plan {
    /// Empties the plan and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
    }

    /// Closes a function: step 5a of the note. `sites` are those that lead to its body.
    pub(crate) fn close(&mut self, function: FunctionIndex, closing: Closing, sites: impl Iterator<Item = u64>) {
        self.steps.push(Step::Close(function));
        self.steps.push(Step::Slot(function, closing.slot));
        self.steps.extend(sites.map(|place| Step::Site { place, target: closing.stub }));
    }

    /// How many words it stores into stubs and code.
    pub(crate) fn words(&self) -> u64 {
        let stores = |step: &&Step| matches!(step, Step::Slot(..) | Step::Site { .. });
        self.steps.iter().filter(stores).count() as u64
    }

    /// All cores synchronise.
    pub(crate) fn barrier(&mut self) {
        self.steps.push(Step::Barrier);
    }

    /// Gives a function its new entries: step 5.
    pub(crate) fn open(&mut self, change: Change, sites: impl Iterator<Item = u64>) {
        let Change { function, open_slot, target, settle } = change;
        match settle {
            Settle::Installed => {
                self.steps.push(Step::Slot(function, open_slot));
                self.steps.extend(sites.map(|place| Step::Site { place, target }));
                self.steps.push(Step::Settle(function, settle));
            }
            // The state first: who comes by the slot must be able to claim.
            Settle::Unresolved => {
                self.steps.push(Step::Settle(function, settle));
                self.steps.push(Step::Slot(function, open_slot));
                self.steps.extend(sites.map(|place| Step::Site { place, target }));
            }
        }
    }
}

/// What a plan acts on: the real code and table, or a model of them.
pub(crate) trait Target {
    fn close(&self, function: FunctionIndex);
    fn slot(&self, function: FunctionIndex, word: u64);
    fn site(&self, place: u64, target: u64);
    fn settle(&self, function: FunctionIndex, settle: Settle);
    fn barrier(&self);
}

/// Carries a plan out. Nothing in it can fail.
pub(crate) fn execute(plan: &Plan, target: &impl Target) {
    for step in &plan.steps {
        match *step {
            Step::Close(function) => target.close(function),
            Step::Slot(function, word) => target.slot(function, word),
            Step::Site { place, target: to } => target.site(place, to),
            Step::Settle(function, settle) => target.settle(function, settle),
            Step::Barrier => target.barrier(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;

    const OLD: [u64; 2] = [0x1000, 0x2000];
    const NEW: [u64; 2] = [0x1100, 0x2100];
    const STUB: [u64; 2] = [0x10, 0x20];
    const RESOLVER: u64 = 1;

    /// Code whose words are seen by a core that may run on old ones until a barrier: each word has all values since then.
    struct World {
        slots: RefCell<HashMap<u32, Vec<u64>>>,
        sites: RefCell<HashMap<u64, Vec<u64>>>,
        states: RefCell<HashMap<u32, &'static str>>,
        after: RefCell<Vec<(bool, bool)>>,
    }

    impl World {
        fn new() -> World {
            World {
                slots: RefCell::new((0..2).map(|f| (f, vec![OLD[f as usize]])).collect()),
                sites: RefCell::new((0..4).map(|s| (s, vec![OLD[s as usize % 2]])).collect()),
                states: RefCell::new((0..2).map(|f| (f, "installed")).collect()),
                after: RefCell::default(),
            }
        }

        /// Everything that an entry may lead to now.
        fn reachable(&self) -> Vec<u64> {
            let slots = self.slots.borrow();
            let sites = self.sites.borrow();
            slots.values().chain(sites.values()).flatten().copied().collect()
        }

        fn note(&self) {
            let reachable = self.reachable();
            let old = reachable.iter().any(|to| OLD.contains(to));
            let new = reachable.iter().any(|to| NEW.contains(to));
            self.after.borrow_mut().push((old, new));
        }
    }

    impl Target for World {
        fn close(&self, function: FunctionIndex) {
            self.states.borrow_mut().insert(function.0, "compiling");
        }
        fn slot(&self, function: FunctionIndex, word: u64) {
            self.slots.borrow_mut().get_mut(&function.0).unwrap().push(word);
            self.note();
        }
        fn site(&self, place: u64, target: u64) {
            self.sites.borrow_mut().get_mut(&place).unwrap().push(target);
            self.note();
        }
        fn settle(&self, function: FunctionIndex, settle: Settle) {
            let state = if settle == Settle::Installed { "installed" } else { "unresolved" };
            self.states.borrow_mut().insert(function.0, state);
            self.note();
        }
        fn barrier(&self) {
            for words in self.slots.borrow_mut().values_mut().chain(self.sites.borrow_mut().values_mut()) {
                words.drain(..words.len() - 1);
            }
            self.note();
        }
    }

    fn change(f: u32) -> Change {
        let new = NEW[f as usize];
        Change { function: FunctionIndex(f), open_slot: new, target: new, settle: Settle::Installed }
    }

    #[test]
    fn a_single_change_leaves_nothing_old_behind_its_barrier() {
        let mut plan = Plan::default();
        plan.open(change(0), [0, 2].into_iter());
        plan.barrier();
        let world = World::new();
        execute(&plan, &world);
        let reachable = world.reachable();
        assert!(!reachable.contains(&OLD[0]) && reachable.contains(&NEW[0]) && reachable.contains(&OLD[1]));
        assert_eq!(plan.steps[0], Step::Slot(FunctionIndex(0), NEW[0]), "the stub is the truth first");
        assert_eq!(plan.words(), 3, "a slot and two sites");
    }

    #[test]
    fn a_batch_is_closed_before_it_opens() {
        let mut plan = Plan::default();
        for f in 0..2 {
            let closing = Closing { slot: RESOLVER, stub: STUB[f as usize] };
            plan.close(FunctionIndex(f), closing, [f.into(), u64::from(f) + 2].into_iter());
        }
        plan.barrier();
        for f in 0..2 {
            plan.open(change(f), [f.into(), u64::from(f) + 2].into_iter());
        }
        plan.barrier();
        let world = World::new();
        execute(&plan, &world);
        let after = world.after.borrow();
        assert!(after.iter().all(|(old, new)| !(*old && *new)), "old and new at once: {after:?}");
        assert_eq!(after.last(), Some(&(false, true)));
        assert!(world.states.borrow().values().all(|state| *state == "installed"));
    }

    #[test]
    fn an_invalidated_function_can_be_claimed_before_its_slot_leads_to_the_resolver() {
        let mut plan = Plan::default();
        let function = FunctionIndex(1);
        let change = Change { function, open_slot: RESOLVER, target: STUB[1], settle: Settle::Unresolved };
        plan.open(change, [1].into_iter());
        assert_eq!(plan.steps[..2], [Step::Settle(function, Settle::Unresolved), Step::Slot(function, RESOLVER)]);
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p kiln-dispatch --lib --release`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::state;
    use crate::sync::{AtomicU32, AtomicU64, Futex, Ordering};
    use loom::sync::Arc;
    use loom::sync::atomic::fence;

    const OLD: u64 = 0x1000;
    const NEW: u64 = 0x2000;
    const SITE: u64 = 8;
    /// A caller's core is in a call, or between two.
    const BETWEEN: u32 = 0;
    const INSIDE: u32 = 1;

    /// One function with one site. `membarrier` returns after every core was between two instructions that it had not
    /// fetched before: modelled by waiting until the caller is between two calls.
    struct Model {
        state: Futex,
        slot: AtomicU64,
        site: AtomicU64,
        caller: AtomicU32,
        old_is_live: AtomicU32,
        new_is_written: AtomicU32,
    }

    impl Target for Model {
        fn close(&self, _: FunctionIndex) {
            state::close(&self.state);
        }
        fn slot(&self, _: FunctionIndex, word: u64) {
            self.slot.store(word, Ordering::Release);
        }
        fn site(&self, _: u64, target: u64) {
            self.site.store(target, Ordering::Release);
        }
        fn settle(&self, _: FunctionIndex, settle: Settle) {
            match settle {
                Settle::Installed => state::settle(&self.state, state::State::Installed),
                Settle::Unresolved => state::settle(&self.state, state::State::Unresolved),
            }
        }
        fn barrier(&self) {
            // As membarrier(2) says: pairs with the fence in `call`.
            fence(Ordering::SeqCst);
            while self.caller.load(Ordering::Acquire) == INSIDE {
                loom::thread::yield_now();
            }
        }
    }

    impl Model {
        fn call(&self, through: &AtomicU64) {
            self.caller.store(INSIDE, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            match through.load(Ordering::Acquire) {
                OLD => assert_eq!(self.old_is_live.load(Ordering::Relaxed), 1, "a new entry into a reclaimed body"),
                NEW => assert_eq!(self.new_is_written.load(Ordering::Relaxed), 1, "an entry into bytes not written"),
                other => panic!("{other:#x}"),
            }
            self.caller.store(BETWEEN, Ordering::Release);
        }
    }

    #[test]
    fn nobody_enters_a_body_before_it_is_published_or_after_it_is_reclaimed() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model {
                state: state::unresolved(),
                slot: AtomicU64::new(OLD),
                site: AtomicU64::new(OLD),
                caller: AtomicU32::new(BETWEEN),
                old_is_live: AtomicU32::new(1),
                new_is_written: AtomicU32::new(0),
            });
            let caller = {
                let model = model.clone();
                loom::thread::spawn(move || {
                    model.call(&model.site);
                    model.call(&model.slot);
                })
            };
            model.new_is_written.store(1, Ordering::Relaxed);
            model.barrier();
            let mut plan = Plan::default();
            let change = Change { function: FunctionIndex(0), open_slot: NEW, target: NEW, settle: Settle::Installed };
            plan.open(change, [SITE].into_iter());
            plan.barrier();
            execute(&plan, &*model);
            model.old_is_live.store(0, Ordering::Relaxed);
            caller.join().unwrap();
        });
    }
}
