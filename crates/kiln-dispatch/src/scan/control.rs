//! What all scans of a process share, in memory that a forked child finds wiped.
//!
//! A child is born without the other threads, so a scan that one of them had begun does not exist there, and neither do
//! its timers. Zero is the right value of everything here.

use super::Tid;
use super::report::Obstacle;
use super::signal::Cell;
use super::sys::{self, Errno};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Threads that can be asked at a time.
pub(super) const CELLS: usize = 64;

/// Children on our memory that can be watched at a time.
const WATCHED: usize = 32;

/// Shared state of all scans of a process.
#[repr(C)]
pub(super) struct Control {
    /// The process that this state is of, 0 if nobody has asked yet. A child of `vfork` sees its parent's.
    process: AtomicI32,
    /// Whether somebody scans.
    busy: AtomicBool,
    /// Counts answers; scanners sleep on it.
    pub(super) answers: AtomicU32,
    /// Processes that run on our memory; 0 is a free place.
    watched: [AtomicI32; WATCHED],
    /// Children that found no place, which are never forgotten, and those that are just being made.
    unwatched: AtomicU32,
    /// Number of the last request.
    pub(super) requests: AtomicU64,
    pub(super) cells: [Cell; CELLS],
}

static CONTROL: AtomicPtr<Control> = AtomicPtr::new(ptr::null_mut());

/// The shared state, made if there is none.
pub(super) fn control() -> Result<&'static Control, Errno> {
    if let Some(control) = existing() {
        return Ok(control);
    }
    let memory = sys::map(size_of::<Control>())?;
    let new: *mut Control = memory.cast();
    // SAFETY: whole pages of the new mapping, which hold nothing but a `Control`.
    if let Err(errno) = unsafe { sys::wipe_on_fork(memory, size_of::<Control>()) } {
        // SAFETY: nobody was told of the mapping.
        unsafe { sys::unmap(memory, size_of::<Control>()) };
        return Err(errno);
    }
    // Release: partner of the Acquire in `existing`. Who comes second takes what the first made.
    if CONTROL.compare_exchange(ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed).is_err() {
        // SAFETY: nobody was told of the mapping.
        unsafe { sys::unmap(memory, size_of::<Control>()) };
    }
    Ok(existing().expect("one of the two was stored"))
}

/// The shared state, if somebody made it.
pub(super) fn existing() -> Option<&'static Control> {
    // SAFETY: null or a zeroed, page-aligned, never unmapped `Control`, for which zero is valid.
    unsafe { CONTROL.load(Ordering::Acquire).as_ref() }
}

/// The right to scan, until dropped.
pub(super) struct Turn(&'static Control);

impl Turn {
    pub(super) fn control(&self) -> &'static Control {
        self.0
    }
}

impl Control {
    /// The right to scan the threads of `process`, the calling one, unless somebody scans.
    pub(super) fn turn(&'static self, process: i32) -> Result<Turn, Obstacle> {
        // Relaxed: the value is a number, nothing is reached through it.
        let owner = self.process.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed);
        if owner.is_err_and(|owner| owner != process) {
            // A child of `vfork`: a forked one found this wiped.
            return Err(Obstacle::NotThisProcess);
        }
        // Acquire: partner of the Release in `drop`; what the last scan left in the cells is seen.
        if self.busy.swap(true, Ordering::Acquire) {
            return Err(Obstacle::Busy);
        }
        Ok(Turn(self))
    }

    /// From now on until the result is dropped, there may be a child on our memory.
    pub(super) fn expect_child(&self) -> impl Drop {
        struct Expected<'c>(&'c AtomicU32);
        impl Drop for Expected<'_> {
            fn drop(&mut self) {
                // Release: the child's number was stored before.
                self.0.fetch_sub(1, Ordering::Release);
            }
        }
        self.unwatched.fetch_add(1, Ordering::SeqCst);
        Expected(&self.unwatched)
    }

    /// Remembers a process that runs on our memory.
    pub(super) fn watch(&self, child: i32) {
        let free = |place: &AtomicI32| place.compare_exchange(0, child, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !self.watched.iter().any(free) {
            self.unwatched.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A process that runs on our memory. Those that do not any more are forgotten.
    pub(super) fn sharing_child(&self) -> Option<Option<Tid>> {
        // First: a child that was made meanwhile is in its place by then. Acquire: partner of the Release in `expect_child`.
        let unwatched = self.unwatched.load(Ordering::Acquire) != 0;
        for place in &self.watched {
            let child = place.load(Ordering::Relaxed);
            if child == 0 {
                continue;
            }
            if sys::shares_memory(child) != Some(false) {
                return Some(Some(Tid(child)));
            }
            // Only scans free places, and there is one at a time.
            place.store(0, Ordering::Relaxed);
        }
        unwatched.then_some(None)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}
