//! The state of one function, in one word.
//!
//! | State | Means | Slot leads to | Left by |
//! | --- | --- | --- | --- |
//! | `Unresolved` | nobody makes a body | trampoline | [`claim`], [`install`] |
//! | `Compiling` | one thread, the owner, makes a body | trampoline | [`install`], [`fail`], [`abandon`], [`orphan`] |
//! | `Installed` | there is a body | the body | [`install`] or [`settle`] of another body; [`close`]; [`settle`] without a body |
//! | `Failed` | there will be no body | trampoline | [`install`], if one turns up after all |
//!
//! | Transition | From | To | By whom |
//! | --- | --- | --- | --- |
//! | [`claim`] | `Unresolved` | `Compiling` | any thread; exactly one wins and becomes the owner |
//! | [`install`] | any | `Installed` | the owner; anybody who got the body along with another one |
//! | [`fail`] | `Compiling` | `Failed` | the owner; nothing happens if a body came from elsewhere meanwhile |
//! | [`abandon`] | `Compiling` | `Unresolved` | the owner; likewise |
//! | [`orphan`] | `Compiling` | `Unresolved` | the only thread of a forked child |
//! | [`close`] | any | `Compiling` | who holds the install lock, until it settles the function |
//! | [`settle`] | any | `Installed`, `Unresolved` | who holds the install lock |
//!
//! The word holds the state in bits 0-2 and, in bit 3, whether somebody sleeps until the owner settles. Who may touch
//! what: the state bits change by the transitions above only; bit 3 is set by waiters while `Compiling` and cleared by
//! whatever leaves `Compiling`. The slot is stored by [`install`] alone, before the state says `Installed`.
//!
//! Versions of a body have states of their own (`versions`); the install lock orders two installs of one function.

use crate::sync::{AtomicU64, Futex, Ordering};

/// The states of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unresolved = 0,
    Compiling = 1,
    Installed = 2,
    Failed = 3,
}

const STATE: u32 = 0b111;
const WAITERS: u32 = 0b1000;

impl State {
    fn of(word: u32) -> State {
        match word & STATE {
            0 => State::Unresolved,
            1 => State::Compiling,
            2 => State::Installed,
            3 => State::Failed,
            other => unreachable!("function state {other}"),
        }
    }
}

/// The word of a new function.
pub(crate) fn unresolved() -> Futex {
    Futex::new(State::Unresolved as u32)
}

/// The state right now.
pub(crate) fn read(function: &Futex) -> State {
    // Acquire: partner is the Release in `install`. Who reads `Installed` also reads the slot that `install` stored
    // before; who reads anything else goes on with no more than the state.
    State::of(function.word().load(Ordering::Acquire))
}

/// `Unresolved` → `Compiling`: `Ok` makes the calling thread the owner, `Err` is the state that stood in the way.
pub(crate) fn claim(function: &Futex) -> Result<(), State> {
    // Acquire: on success after whatever the one who abandoned the function did before (`give_up`), on failure as in
    // `read`.
    function
        .word()
        .compare_exchange(State::Unresolved as u32, State::Compiling as u32, Ordering::Acquire, Ordering::Acquire)
        .map(drop)
        .map_err(State::of)
}

/// Sleeps until the function is not `Compiling`, and says what it is then.
pub(crate) fn wait(function: &Futex) -> State {
    loop {
        let word = function.word().load(Ordering::Acquire);
        if State::of(word) != State::Compiling {
            return State::of(word);
        }
        // Relaxed: bit 3 carries no data. If the exchange comes before the write that ends `Compiling`, that write
        // finds the bit and its thread wakes us; if it comes after, the exchange fails and the next round sees why.
        let announced = word & WAITERS != 0
            || function.word().compare_exchange(word, word | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if announced {
            // Sleeps only while the word is unchanged, so a write between the exchange and here is not missed.
            function.wait(word | WAITERS);
        }
    }
}

/// Any state → `Installed`, with `word` in the slot.
///
/// The slot is stored first: a thread that is told `Installed` finds the body in the slot.
pub(crate) fn install(function: &Futex, slot: &AtomicU64, word: u64) {
    // Release: the body's bytes were published and all cores synchronised before this call; a core that fetches the new
    // word, or loads it after an Acquire, may run them.
    slot.store(word, Ordering::Release);
    // Release: partner of the Acquire in `read`, `claim` and `wait`; whoever reads `Installed` reads this slot.
    let old = function.word().swap(State::Installed as u32, Ordering::Release);
    if old & WAITERS != 0 {
        function.wake_all();
    }
}

/// Any state → `Compiling`, with nobody as its owner but the caller: who comes waits. Follow with [`settle`].
///
/// If the function is being compiled, its compile's result is stale and will not be installed.
pub(crate) fn close(function: &Futex) {
    let mut word = function.word().load(Ordering::Relaxed);
    // Relaxed: nothing is handed over; those who wait are kept.
    while let Err(now) = function.word().compare_exchange(
        word,
        word & WAITERS | State::Compiling as u32,
        Ordering::Relaxed,
        Ordering::Relaxed,
    ) {
        word = now;
    }
}

/// Any state → `Installed` or `Unresolved`, waking whoever waits. The slot is the caller's to store, before or after as
/// [`Plan::open`](crate::versions) says.
pub(crate) fn settle(function: &Futex, to: State) {
    // Release: as in `install`.
    let old = function.word().swap(to as u32, Ordering::Release);
    if old & WAITERS != 0 {
        function.wake_all();
    }
}

/// `Compiling` → `Failed`, unless somebody else installed a body meanwhile.
pub(crate) fn fail(function: &Futex) {
    give_up(function, State::Failed);
}

/// `Compiling` → `Unresolved`, unless somebody else installed a body meanwhile: the next who comes may claim.
pub(crate) fn abandon(function: &Futex) {
    give_up(function, State::Unresolved);
}

/// `Compiling` → `Unresolved` in a forked child, where neither the owner nor those who waited exist any more.
pub(crate) fn orphan(function: &Futex) {
    let word = function.word();
    if State::of(word.load(Ordering::Relaxed)) == State::Compiling {
        // Relaxed: the child has one thread; threads it starts later synchronise with it by being started.
        word.store(State::Unresolved as u32, Ordering::Relaxed);
    }
}

fn give_up(function: &Futex, to: State) {
    let mut word = function.word().load(Ordering::Relaxed);
    loop {
        match State::of(word) {
            State::Compiling => {}
            // Somebody installed another body, or took it away again.
            State::Installed | State::Unresolved => return,
            other => panic!("only the owner of a compile gives it up, and this function is {other:?}"),
        }
        // Release: not for data, there is none, but so that who claims next comes after all that the owner did.
        match function.word().compare_exchange(word, to as u32, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => break,
            // A waiter announced itself, or somebody installed.
            Err(now) => word = now,
        }
    }
    if word & WAITERS != 0 {
        function.wake_all();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn transitions() {
        let function = unresolved();
        let slot = AtomicU64::new(0);
        assert_eq!(claim(&function), Ok(()));
        assert_eq!(claim(&function), Err(State::Compiling));
        abandon(&function);
        assert_eq!(read(&function), State::Unresolved);
        assert_eq!(claim(&function), Ok(()));
        fail(&function);
        assert_eq!(claim(&function), Err(State::Failed));
        assert_eq!(wait(&function), State::Failed);
        install(&function, &slot, 7);
        assert_eq!((wait(&function), slot.load(Ordering::Relaxed)), (State::Installed, 7));
        install(&function, &slot, 8);
        assert_eq!((read(&function), slot.load(Ordering::Relaxed)), (State::Installed, 8));
        orphan(&function);
        assert_eq!(read(&function), State::Installed);
    }

    #[test]
    fn a_body_that_came_from_elsewhere_outlives_the_owners_failure() {
        for give_up in [fail, abandon] {
            let function = unresolved();
            claim(&function).unwrap();
            install(&function, &AtomicU64::new(0), 7);
            give_up(&function);
            assert_eq!(read(&function), State::Installed);
        }
    }

    #[test]
    fn an_orphan_can_be_claimed_again() {
        let function = unresolved();
        claim(&function).unwrap();
        orphan(&function);
        assert_eq!(claim(&function), Ok(()));
    }

    #[test]
    #[should_panic(expected = "only the owner of a compile gives it up")]
    fn failing_twice_is_a_bug() {
        let function = unresolved();
        claim(&function).unwrap();
        fail(&function);
        fail(&function);
    }

    #[test]
    fn a_closed_function_is_settled_by_who_closed_it() {
        for (to, from) in [(State::Installed, State::Unresolved), (State::Unresolved, State::Compiling)] {
            let function = unresolved();
            if from == State::Compiling {
                claim(&function).unwrap();
            }
            close(&function);
            assert_eq!(read(&function), State::Compiling);
            assert_eq!(claim(&function), Err(State::Compiling));
            settle(&function, to);
            assert_eq!(read(&function), to);
            fail(&function);
            assert_eq!(read(&function), to, "what an owner gives up is no longer its own");
        }
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p kiln-dispatch --lib --release`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::AtomicU32;
    use loom::sync::Arc;

    struct Function {
        state: Futex,
        slot: AtomicU64,
        /// Stands for the bytes of the body: 0 until written, then 42.
        body: AtomicU32,
        compiles: AtomicU32,
    }

    const SLOT: u64 = 0xe9;

    /// Every interleaving with at most three preemptions: without a bound it takes many minutes.
    fn model(test: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(test);
    }

    impl Function {
        fn new() -> Arc<Function> {
            Arc::new(Function {
                state: unresolved(),
                slot: AtomicU64::new(0),
                body: AtomicU32::new(0),
                compiles: AtomicU32::new(0),
            })
        }

        fn compile_and_install(&self) {
            self.compiles.fetch_add(1, Ordering::Relaxed);
            self.body.store(42, Ordering::Relaxed);
            install(&self.state, &self.slot, SLOT);
        }

        /// What `resolve` does: claim or wait, until there is a body.
        fn first_call(&self) {
            let state = match claim(&self.state) {
                Ok(()) => return self.compile_and_install(),
                Err(State::Compiling) => wait(&self.state),
                Err(other) => other,
            };
            match state {
                State::Installed => self.check_entry(),
                State::Unresolved => self.first_call(),
                other => panic!("{other:?}"),
            }
        }

        fn check_entry(&self) {
            assert_eq!(self.slot.load(Ordering::Relaxed), SLOT);
            assert_eq!(self.body.load(Ordering::Relaxed), 42);
        }
    }

    #[test]
    fn threads_that_meet_make_one_compile() {
        model(|| {
            let function = Function::new();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let function = function.clone();
                    loom::thread::spawn(move || function.first_call())
                })
                .collect();
            function.first_call();
            threads.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(function.compiles.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn who_fetches_the_slot_runs_the_body() {
        model(|| {
            let function = Function::new();
            let caller = {
                let function = function.clone();
                // A thread whose core fetches the slot: it looks at no state.
                loom::thread::spawn(move || {
                    if function.slot.load(Ordering::Acquire) == SLOT {
                        function.check_entry();
                    }
                })
            };
            function.first_call();
            caller.join().unwrap();
        });
    }

    #[test]
    fn abandoned_functions_are_compiled_by_who_waited() {
        model(|| {
            let function = Function::new();
            claim(&function.state).unwrap();
            let waiters: Vec<_> = (0..2)
                .map(|_| {
                    let function = function.clone();
                    loom::thread::spawn(move || function.first_call())
                })
                .collect();
            abandon(&function.state);
            waiters.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(function.compiles.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn a_failure_wakes_everyone() {
        model(|| {
            let function = Function::new();
            claim(&function.state).unwrap();
            let waiters: Vec<_> = (0..2)
                .map(|_| {
                    let function = function.clone();
                    loom::thread::spawn(move || assert_eq!(wait(&function.state), State::Failed))
                })
                .collect();
            fail(&function.state);
            waiters.into_iter().for_each(|t| t.join().unwrap());
        });
    }

    #[test]
    fn a_neighbour_is_installed_while_somebody_claims_it() {
        model(|| {
            let function = Function::new();
            let neighbour = {
                let function = function.clone();
                loom::thread::spawn(move || function.compile_and_install())
            };
            function.first_call();
            neighbour.join().unwrap();
            assert_eq!(read(&function.state), State::Installed);
            function.check_entry();
        });
    }
}
