//! Who may still be in code that nothing leads to any more.
//!
//! Given address ranges, a scan looks at the registers and stacks of every thread of the process and says which ranges
//! some word may point into. `docs/design/reclamation.md` says why that is enough to free the others, and what a program can
//! see of it: nothing.
//!
//! 1. Threads are listed (`threads.rs`).
//! 2. One that sleeps in a system call is looked at from outside (`outside.rs`).
//! 3. One that runs is asked by a signal, and looks at itself (`signal.rs`). If it falls asleep before it answers, the
//!    question is taken back and step 2 does.
//! 4. The scanning thread looks at itself.
//! 5. Steps 1 to 4 are repeated for threads that have not been met, until a complete list holds none.
//!
//! What a thread was found to hold may be let go a moment later, but it cannot get hold of anything new: nothing leads
//! there. So each thread need be inspected only once, at any time, and all of them need not be stopped together.

mod control;
mod host;
mod outside;
mod procfs;
mod progress;
mod ranges;
mod report;
mod signal;
mod stacks;
mod sys;
mod threads;
mod x86_64;

pub use host::{PrepareError, note_coroutines, on_other_signal, prepare, reserved_signal};
pub use progress::Scan;
pub use ranges::{Ranges, RangesError};
pub use report::{Counts, Obstacle, Reason, Report, Tid};

use kiln_abi::ExecutorAddr;
use std::time::Duration;

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long to wait for threads that can neither be asked nor looked at.
    ///
    /// Running threads answer at a tick of the kernel's clock, which comes every 1 to 10 ms of *their* time.
    pub patience: Duration,
    /// Where the program's part of the calling thread's stack begins; what is below are frames of the engine.
    ///
    /// Those know the ranges, as data. `None` on a stack of the engine: from where the trampoline was entered;
    /// elsewhere: from the caller's frame.
    pub own_stack_from: Option<ExecutorAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_millis(100), own_stack_from: None }
    }
}

/// Looks for threads that may be in `ranges`, and waits for those that run.
///
/// The caller has made sure that nothing leads there any more, and that every core has noticed (`membarrier`). May be
/// called on a stack of the engine with all signals blocked. Uses neither libc's `malloc` nor its locks; memory for the
/// report comes from Rust's allocator.
#[inline(never)]
#[must_use]
pub fn scan(ranges: &Ranges, options: &Options) -> Report {
    let own = progress::Own::here(options.own_stack_from);
    let mut scan = Scan::begin(ranges);
    scan.complete(own, options.patience);
    scan.finish()
}

/// Has `make` start a child process that runs on this process's memory without being one of its threads, and tells scans about
/// the one it returns, if it did.
///
/// For `clone` with `CLONE_VM` but neither `CLONE_THREAD` nor `CLONE_VFORK`. Nothing is free from before it starts until it ends.
/// Children of `vfork` and `posix_spawn` need no telling: the thread that made one waits for it, and shows it.
pub fn watch_child(make: impl FnOnce() -> Option<i32>) {
    let Ok(control) = control::control() else {
        // No memory for the shared state of scans: then there is none for a scan either.
        make();
        return;
    };
    let expected = control.expect_child();
    if let Some(child) = make() {
        control.watch(child);
    }
    drop(expected);
}
