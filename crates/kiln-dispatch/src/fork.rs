//! The child of a fork: one thread, and the memory of many.
//!
//! The page with the [`Forks`] word is wiped by the kernel in every child, whatever made it: `fork`, `_Fork`, which
//! skips the handlers of `pthread_atfork`, or the bare system call. The trampoline looks at the word whenever it was
//! entered, so a child that nobody told about its birth resets itself at the first function it resolves.

use crate::stack;
use crate::table::FunctionTable;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The newest table; the others hang behind it.
static TABLES: AtomicPtr<FunctionTable> = AtomicPtr::new(ptr::null_mut());

/// Values of the word that a fork wipes.
const WIPED: u32 = 0;
const RESETTING: u32 = 1;
const READY: u32 = 2;

pub(crate) type Forks = AtomicU32;

/// Adds a table to those that a child resets. Tables live for ever.
pub(crate) fn register(table: &'static FunctionTable) {
    let new = ptr::from_ref(table).cast_mut();
    let mut head = TABLES.load(Ordering::Relaxed);
    loop {
        table.next.store(head, Ordering::Relaxed);
        // Release: partner of the Acquire in `tables`; who finds the table finds it complete.
        match TABLES.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

fn tables() -> impl Iterator<Item = &'static FunctionTable> {
    // SAFETY: null or a leaked table; Acquire: partner of the Release in `register`, also for the older ones behind it.
    let table = |entry: &AtomicPtr<FunctionTable>| unsafe { entry.load(Ordering::Acquire).as_ref() };
    std::iter::successors(table(&TABLES), move |newer| table(&newer.next))
}

/// Makes every table usable in the child of a fork.
///
/// Compiles whose owner did not come along are unresolved again, a load that was under way is forgotten, and the
/// stacks that other threads used are free. Call it before the child claims, installs or allocates anything; the
/// calling thread owns no claim. A child that was made behind the back of `pthread_atfork` gets the same when it
/// resolves its first function.
pub fn fork_child_reset() {
    stack::keep_current_only();
    tables().for_each(FunctionTable::orphan_compiles);
    if let Some(forks) = stack::forks() {
        forks.store(READY, Ordering::Release);
    }
}

/// Does what [`fork_child_reset`] does if this process is a child in which nobody did.
pub(crate) fn reset_if_forked() {
    let Some(forks) = stack::forks() else { return };
    // Acquire: partner of the Release below; a thread that finds `READY` finds the tables reset.
    while forks.load(Ordering::Acquire) != READY {
        if forks.compare_exchange(WIPED, RESETTING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            // The stacks were wiped free together with the word and may be in use by now: they are not touched here.
            tables().for_each(FunctionTable::orphan_compiles);
            forks.store(READY, Ordering::Release);
        }
        // Another thread of the child is at it, with signals blocked, for some microseconds.
        std::hint::spin_loop();
    }
}

/// The word's value in a process that is nobody's child, or has reset itself.
pub(crate) fn mark_ready(forks: &Forks) {
    forks.store(READY, Ordering::Release);
}
