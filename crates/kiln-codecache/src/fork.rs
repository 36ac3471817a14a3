//! A forked child gets code memory of its own. docs/design/fork.md is the protocol; numbers refer to it.

use std::cell::UnsafeCell;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use kiln_abi::Permission;

use crate::cache::{CodeCache, Inner, State};
use crate::error::{Error, ErrorKind};
use crate::mapper::ForkCopy;
use crate::{observe, sys, unwind};

/// What is kept between the two halves of a fork.
pub(crate) struct InProgress {
    lock: MutexGuard<'static, State>,
    debuggers: Option<observe::ForkLock>,
    log: Option<MutexGuard<'static, observe::LogState>>,
    copy: Result<ForkCopy, Error>,
    signals: u64,
}

/// Room for [`InProgress`], touched only by the thread that holds the cache's lock.
#[derive(Default)]
pub(crate) struct Slot(UnsafeCell<Option<InProgress>>);

// SAFETY: only the thread that holds the lock of the cache's state reaches into the cell, see `put` and `take`.
unsafe impl Sync for Slot {}
// SAFETY: the lock guard inside never leaves the forking thread: `put` and `take` are called by it, and a fork keeps
// the thread.
unsafe impl Send for Slot {}

impl CodeCache {
    /// Before a fork, on the forking thread: stops installs and reclaims, and copies the live code for the child.
    ///
    /// Exactly one of [`after_fork_in_parent`](Self::after_fork_in_parent) and
    /// [`after_fork_in_child`](Self::after_fork_in_child) must follow in each process, on the same thread; where no fork
    /// happened after all, the former. With several caches the order after the fork is the reverse of that before. Signals stay
    /// blocked in between. Whoever patches published code must not do so
    /// from before this call until after those.
    pub fn before_fork(&self) {
        // 1: no handler may run code of ours in the child before it has its own.
        let signals = sys::block_signals();
        // 2
        let log = self.inner.log.as_ref().map(|log| log.lock());
        let debuggers = observe::lock_for_fork();
        let state = self.inner.lock();
        // 3
        let live = state.live();
        let bytes = live.iter().map(|(_, range)| range.end - range.start).sum();
        let copy = self.inner.mapper.copy_for_child(&live).map_err(|source| ErrorKind::Fork { bytes, source }.into());
        // SAFETY: the guards borrow from `self.inner`, which outlives them: they are taken out again by one of the
        // functions below, which are called on this cache.
        let (lock, log) = unsafe {
            type Log<'a> = Option<MutexGuard<'a, observe::LogState>>;
            (
                std::mem::transmute::<MutexGuard<'_, State>, MutexGuard<'static, State>>(state),
                std::mem::transmute::<Log<'_>, Log<'static>>(log),
            )
        };
        self.inner.put(InProgress { lock, debuggers, log, copy, signals });
    }

    /// After a fork, in the parent: goes on as before.
    pub fn after_fork_in_parent(&self) {
        let InProgress { lock, debuggers, log, copy, signals } = self.inner.take();
        // 5: the child has its own reference to the copy.
        if let Ok(copy) = copy {
            self.inner.mapper.discard(copy);
        }
        drop((lock, debuggers, log));
        sys::restore_signals(signals);
    }

    /// After a fork, in the child: moves the code to memory of its own.
    ///
    /// On an error the child still shares the parent's memory and must end: whatever either process installs would
    /// appear in the other. Signals stay blocked then.
    pub fn after_fork_in_child(&self) -> Result<(), Error> {
        let InProgress { mut lock, debuggers, mut log, copy, signals } = self.inner.take();
        // 6
        self.inner.mapper.adopt(copy?);
        // 7
        // SAFETY: the threads that owned what was in flight do not exist here.
        unsafe { lock.become_child(&*self.inner.mapper) };
        unwind::forget_readers();
        FORK_WORD.set();
        if let Some(log) = &mut log {
            log.become_child();
        }
        drop((lock, debuggers, log));
        sys::restore_signals(signals);
        Ok(())
    }
}

/// Whether this process came out of a fork that did not call the functions above: `_Fork` or a raw `clone`.
///
/// One load. Such a child shares its code memory with the parent and must install nothing.
#[must_use]
pub fn forked_without_handlers() -> bool {
    FORK_WORD.is_wiped()
}

/// A word that the kernel zeroes in every forked child.
pub(crate) struct ForkWord(AtomicPtr<AtomicU64>);

pub(crate) static FORK_WORD: ForkWord = ForkWord(AtomicPtr::new(std::ptr::null_mut()));

impl ForkWord {
    /// Makes the word, once per process; without the kernel's help (Linux 4.14) no fork is noticed.
    pub(crate) fn create(&self) {
        // Acquire: pairs with the AcqRel below.
        if !self.0.load(Ordering::Acquire).is_null() {
            return;
        }
        let Ok(page) = sys::map_private(sys::PAGE) else { return };
        if sys::wipe_on_fork(page.as_ptr().expose_provenance(), sys::PAGE).is_err() {
            return sys::unmap(page.as_ptr().expose_provenance(), sys::PAGE);
        }
        let word = page.cast::<AtomicU64>();
        // SAFETY: a fresh zeroed page, aligned, reached through atomics only, never unmapped once it is stored below.
        unsafe { word.as_ref() }.store(1, Ordering::Relaxed);
        // AcqRel: whoever finds the pointer finds the 1.
        let stored = self.0.compare_exchange(std::ptr::null_mut(), word.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        if stored.is_err() {
            sys::unmap(page.as_ptr().expose_provenance(), sys::PAGE);
        }
    }

    fn word(&self) -> Option<&AtomicU64> {
        // Acquire: pairs with `create`.
        let word = self.0.load(Ordering::Acquire);
        // SAFETY: null, or the page of `create`, which stays mapped.
        unsafe { word.as_ref() }
    }

    fn set(&self) {
        if let Some(word) = self.word() {
            // Relaxed: the child has one thread.
            word.store(1, Ordering::Relaxed);
        }
    }

    fn is_wiped(&self) -> bool {
        // Relaxed: written before the process had other threads, see `set`.
        self.word().is_some_and(|word| word.load(Ordering::Relaxed) == 0)
    }
}

impl Inner {
    fn put(&self, in_progress: InProgress) {
        // SAFETY: the caller holds the lock: its guard is inside `in_progress`.
        unsafe { *self.fork.0.get() = Some(in_progress) };
    }

    fn take(&self) -> InProgress {
        // SAFETY: between `before_fork` and here the calling thread holds the lock; without a `before_fork` the cell is
        // empty and stays so.
        let in_progress = unsafe { (*self.fork.0.get()).take() };
        in_progress.expect("after_fork follows before_fork on the same thread")
    }
}

impl State {
    /// Parts of the shared regions that hold anything, in units of commitment.
    fn live(&self) -> Vec<(Permission, std::ops::Range<u64>)> {
        let shared = [Permission::Code, Permission::ReadOnly];
        let blocks = |permission: Permission| {
            self.region(permission).used_blocks().into_iter().map(move |range| (permission, range))
        };
        shared.into_iter().flat_map(blocks).collect()
    }
}
