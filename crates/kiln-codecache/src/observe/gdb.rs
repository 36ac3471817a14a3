//! The JIT interface of GDB, which LLDB understands too.
//!
//! The debugger sets a breakpoint on `__jit_debug_register_code` and reads `__jit_debug_descriptor` when it is hit
//! (GDB manual, "JIT Compilation Interface"): a doubly linked list of objects in memory, and which one has just come or
//! is about to go. Linking and unlinking take constant time. Debuggers find both symbols in the executable's symbol
//! table, by these names.

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const NO_ACTION: u32 = 0;
const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

/// `struct jit_code_entry`.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    prev: *mut Entry,
    symfile_addr: *const u8,
    symfile_size: u64,
}

/// `struct jit_descriptor`.
#[repr(C)]
struct Descriptor {
    version: u32,
    action_flag: u32,
    relevant_entry: *mut Entry,
    first_entry: *mut Entry,
}

#[repr(transparent)]
struct Shared(UnsafeCell<Descriptor>);

// SAFETY: accessed under `LOCK` only, and by a debugger while the process is stopped.
unsafe impl Sync for Shared {}

#[unsafe(no_mangle)]
#[used]
static __jit_debug_descriptor: Shared = Shared(UnsafeCell::new(Descriptor {
    version: 1,
    action_flag: NO_ACTION,
    relevant_entry: ptr::null_mut(),
    first_entry: ptr::null_mut(),
}));

static LOCK: Mutex<()> = Mutex::new(());

/// Where debuggers put their breakpoint.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn __jit_debug_register_code() {
    // Kept apart from its callers: a call that has no effect must not be removed.
    std::hint::black_box(());
}

/// An object that debuggers know.
#[derive(Debug)]
pub(crate) struct Registration {
    entry: NonNull<Entry>,
}

// SAFETY: the entry is reached under `LOCK` only, from whatever thread.
unsafe impl Send for Registration {}
// SAFETY: as above; a shared reference gives no access at all.
unsafe impl Sync for Registration {}

/// The thread that holds the list around a fork, or 0.
static FORKING: AtomicU32 = AtomicU32::new(0);

/// The list is held around a fork; dropped to let it go.
pub(crate) struct ForkLock(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

/// Keeps other threads from changing the list, around a fork. `None` where this thread does so already, for another
/// cache.
pub(crate) fn lock_for_fork() -> Option<ForkLock> {
    let thread = crate::sys::thread_id();
    // Relaxed: the value is this thread's id only if this thread stored it.
    if FORKING.load(Ordering::Relaxed) == thread {
        return None;
    }
    let guard = lock();
    FORKING.store(thread, Ordering::Relaxed);
    Some(ForkLock(guard))
}

impl Drop for ForkLock {
    fn drop(&mut self) {
        // Relaxed: see `lock_for_fork`; the lock is still held.
        FORKING.store(0, Ordering::Relaxed);
    }
}

fn lock() -> MutexGuard<'static, ()> {
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells debuggers of a copy of `object`.
pub(crate) fn register(object: &[u8]) -> Registration {
    let bytes: Box<[u8]> = object.into();
    let size = bytes.len() as u64;
    let symfile_addr = Box::into_raw(bytes).cast::<u8>();
    let next = ptr::null_mut();
    let entry = Box::leak(Box::new(Entry { next, prev: ptr::null_mut(), symfile_addr, symfile_size: size }));
    let entry = NonNull::from(entry);
    let _lock = lock();
    // SAFETY: the lock is held; entries in the list are alive until `undo` takes them out.
    unsafe {
        let descriptor = __jit_debug_descriptor.0.get();
        let first = (*descriptor).first_entry;
        (*entry.as_ptr()).next = first;
        if !first.is_null() {
            (*first).prev = entry.as_ptr();
        }
        (*descriptor).first_entry = entry.as_ptr();
        notify(descriptor, REGISTER, entry.as_ptr());
    }
    Registration { entry }
}

impl Registration {
    /// Takes the object back.
    pub(crate) fn undo(self) {
        let entry = self.entry.as_ptr();
        let _lock = lock();
        // SAFETY: the lock is held and the entry is in the list; afterwards nothing refers to it, and both boxes were
        // leaked by `register`.
        unsafe {
            let descriptor = __jit_debug_descriptor.0.get();
            let Entry { next, prev, symfile_addr, symfile_size } = ptr::read(entry);
            if prev.is_null() {
                (*descriptor).first_entry = next;
            } else {
                (*prev).next = next;
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
            notify(descriptor, UNREGISTER, entry);
            drop(Box::from_raw(entry));
            let object = ptr::slice_from_raw_parts_mut(symfile_addr.cast_mut(), symfile_size as usize);
            drop(Box::from_raw(object));
        }
    }
}

/// # Safety
///
/// `LOCK` is held and `descriptor` is the one there is.
unsafe fn notify(descriptor: *mut Descriptor, action: u32, entry: *mut Entry) {
    // SAFETY: the contract of this function. Volatile: the reader is another process.
    unsafe {
        (&raw mut (*descriptor).relevant_entry).write_volatile(entry);
        (&raw mut (*descriptor).action_flag).write_volatile(action);
        __jit_debug_register_code();
        (&raw mut (*descriptor).action_flag).write_volatile(NO_ACTION);
        (&raw mut (*descriptor).relevant_entry).write_volatile(ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The objects in the list, newest first.
    fn objects() -> Vec<Vec<u8>> {
        let _lock = lock();
        let mut objects = Vec::new();
        // SAFETY: the lock is held; entries in the list and their objects are alive.
        unsafe {
            let mut entry = (*__jit_debug_descriptor.0.get()).first_entry;
            while !entry.is_null() {
                let Entry { next, symfile_addr, symfile_size, .. } = ptr::read(entry);
                objects.push(std::slice::from_raw_parts(symfile_addr, symfile_size as usize).to_vec());
                assert!(next.is_null() || (*next).prev == entry);
                entry = next;
            }
        }
        objects
    }

    #[test]
    fn objects_come_and_go_in_any_order() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|object| register(object));
        assert_eq!(objects(), [b"c", b"b", b"a"]);
        b.undo();
        assert_eq!(objects(), [b"c", b"a"]);
        c.undo();
        a.undo();
        assert!(objects().is_empty());
    }
}
