//! Stacks of the engine, on which first calls are resolved.
//!
//! A first call may come from a 16-KB stack or from an alternate signal stack, and compiling needs more. So there are
//! 64 stacks of 256 KiB, untouched until used, each above a guard. Who is on which is one 64-bit word:
//! the trampoline takes the lowest clear bit, so that the same few stacks stay warm. When all bits are set it sleeps;
//! who holds a stack waits for others that hold stacks too, never for one that sleeps here, so one will come back.
//!
//! Most processes use one or two, so a guard is set when its stack is used for the first time: 64 of them take as long as
//! everything else that a small program needs the engine for.
//!
//! The word lies in a page that the kernel wipes in a forked child: there all stacks but the caller's are free again,
//! and zero says so.

use crate::error::{Error, ErrorKind};
use crate::fork::{self, Forks};
use crate::sys;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Number of stacks: one bit of a word each.
pub(crate) const STACKS: usize = 64;
/// Bytes of one stack.
pub(crate) const STACK_BYTES: usize = 256 << 10;
/// Distance from one stack to the next: the stack and, below it, what must not be touched. 64 KiB is a page size that
/// Linux uses on other machines.
pub(crate) const STRIDE: usize = STACK_BYTES + (64 << 10);

/// What the trampoline knows of the stacks. It is written once, before there is a stub.
#[repr(C)]
pub(crate) struct Pool {
    /// The page that a fork wipes.
    pub(crate) control: AtomicPtr<Control>,
    /// The lowest address of the first stack's guard.
    pub(crate) base: AtomicUsize,
}

/// The page that a fork wipes: all zero in a child.
#[repr(C)]
pub(crate) struct Control {
    /// Bit n: stack n is in use.
    pub(crate) used: AtomicU64,
    /// Counts stacks that came back while somebody slept; what they sleep on.
    pub(crate) returned: AtomicU32,
    /// Threads that sleep, or are about to.
    pub(crate) sleepers: AtomicU32,
    /// Whether this process noticed that it was forked.
    pub(crate) forks: Forks,
}

pub(crate) static POOL: Pool = Pool { control: AtomicPtr::new(std::ptr::null_mut()), base: AtomicUsize::new(0) };

/// Bit n: stack n has its guard. Guards are inherited by forked children, as this word is.
static GUARDED: AtomicU64 = AtomicU64::new(0);

static MAPPING: Mutex<()> = Mutex::new(());

/// Maps the stacks, once per process.
pub(crate) fn map_stacks() -> Result<(), Error> {
    let _once = MAPPING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if control().is_some() {
        return Ok(());
    }
    let page = sys::page_bytes();
    let bytes = page + STACKS * STRIDE;
    let failed = |source| Error::new(ErrorKind::EngineStacks { bytes, source });
    let memory = sys::map_private(bytes).map_err(failed)?;
    // SAFETY: the first page of the new mapping, which holds the control words and nothing else.
    unsafe { sys::wipe_on_fork(memory, page) }.map_err(failed)?;
    // SAFETY: inside the mapping.
    let base = unsafe { memory.add(page) };
    // SAFETY: inside the new mapping, below the first stack; the guard is a multiple of every page size.
    unsafe { sys::forbid_access(base, STRIDE - STACK_BYTES) }.map_err(failed)?;
    GUARDED.store(1, Ordering::Relaxed);
    POOL.base.store(base.as_ptr().expose_provenance(), Ordering::Relaxed);
    let control: NonNull<Control> = memory.cast();
    // SAFETY: zeroed memory is a valid `Control`, page-aligned and never unmapped.
    fork::mark_ready(unsafe { &control.as_ref().forks });
    // Release: partner of the Acquire in `control`.
    POOL.control.store(control.as_ptr(), Ordering::Release);
    Ok(())
}

/// Sets the guard of the stack that the caller is on, if it has none.
pub(crate) fn guard_current() {
    let Some((stack, base)) = here() else { return };
    // Relaxed: whoever is on a stack uses the bit of that one only.
    if GUARDED.load(Ordering::Relaxed) & (1 << stack) != 0 {
        return;
    }
    let guard = std::ptr::with_exposed_provenance_mut(base + stack * STRIDE);
    let Some(guard) = NonNull::new(guard) else { return };
    // SAFETY: below a stack in our mapping, and nobody's. Where the kernel has no mapping left for it, the next one who comes
    // here tries again: until then 64 KiB that nobody uses lie below the stack.
    if unsafe { sys::forbid_access(guard, STRIDE - STACK_BYTES) }.is_ok() {
        GUARDED.fetch_or(1 << stack, Ordering::Relaxed);
    }
}

/// The number of the stack that the caller is on, and where the first one's guard begins.
fn here() -> Option<(usize, usize)> {
    let base = POOL.base.load(Ordering::Relaxed);
    let variable = 0u8;
    let offset = (&raw const variable).addr().wrapping_sub(base);
    (offset < STACKS * STRIDE).then_some((offset / STRIDE, base))
}

fn control() -> Option<&'static Control> {
    // SAFETY: null or what `map_stacks` stored: a valid `Control` that is never unmapped.
    unsafe { POOL.control.load(Ordering::Acquire).as_ref() }
}

/// The word that a fork wipes, if stacks were mapped.
pub(crate) fn forks() -> Option<&'static Forks> {
    control().map(|control| &control.forks)
}

/// In a forked child: all stacks are free, except the one the caller may be on.
pub(crate) fn keep_current_only() {
    let Some(control) = control() else { return };
    let mine = here().map_or(0, |(stack, _)| 1 << stack);
    // Relaxed: the child has one thread.
    control.used.store(mine, Ordering::Relaxed);
    control.sleepers.store(0, Ordering::Relaxed);
}

/// An address that stands for the stack of the engine that the caller is on.
#[cfg(kiln_tsan)]
pub(crate) fn current() -> *mut libc::c_void {
    let base = POOL.base.load(Ordering::Relaxed);
    let here: usize;
    // SAFETY: reads a register. A variable's address would be an access to the stack, which comes too early.
    unsafe { std::arch::asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    let stack = (here - base) / STRIDE;
    std::ptr::without_provenance_mut(base + stack * STRIDE)
}
