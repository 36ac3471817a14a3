//! What does not change while a process lives: the reserved signal, where handlers return to, the main stack's end.
//!
//! A forked child inherits all of it.

use super::sys::{self, Errno, File};
use super::{procfs, signal};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};

static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// A `fn()`, or null.
static OTHER: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static RESTORER: AtomicU64 = AtomicU64::new(0);
static MAIN_STACK_END: AtomicU64 = AtomicU64::new(0);
static COROUTINES: AtomicBool = AtomicBool::new(false);

/// Why running threads cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// All real-time signals are taken.
    #[error("no real-time signal is left")]
    NoSignal,
    /// The kernel refused something.
    #[error("cannot {step}: error {errno}")]
    Kernel {
        /// What was to be done.
        step: &'static str,
        /// What the kernel said.
        errno: i32,
    },
}

/// The process that prepares; 0 for none. A child that was forked meanwhile finds its parent's number, not its own, and
/// begins anew: the thread that held it does not exist there.
static PREPARING: AtomicI32 = AtomicI32::new(0);

/// The right to prepare.
struct Preparing;

impl Preparing {
    fn enter() -> Self {
        // SAFETY: takes nothing and always succeeds.
        let own = unsafe { libc::getpid() };
        loop {
            // Acquire: partner of the Release in `drop`; who comes second finds what the first one did.
            let holder = PREPARING.load(Ordering::Acquire);
            if holder != own && PREPARING.compare_exchange(holder, own, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Self;
            }
            // Another thread of this process is at it, with signals blocked, once for some microseconds.
            std::thread::yield_now();
        }
    }
}

impl Drop for Preparing {
    fn drop(&mut self) {
        PREPARING.store(0, Ordering::Release);
    }
}

/// Reserves the signal that asks running threads, once per process, and returns its number.
///
/// Best done before the program can look at `SIGRTMAX`, and while there is one thread: it takes a lock and reads the
/// process's mappings. Without it, a scan does it.
///
/// # Errors
///
/// If there is no signal left. Scans work then, and report all running threads as not inspected.
pub fn prepare() -> Result<i32, PrepareError> {
    if let Some(number) = reserved_signal() {
        return Ok(number);
    }
    // With signals blocked no handler finds its own thread holding the lock.
    let _blocked = sys::SignalsBlocked::new();
    let _once = Preparing::enter();
    if let Some(number) = reserved_signal() {
        return Ok(number);
    }
    let kernel = |step| move |errno| PrepareError::Kernel { step, errno };
    let end = find_main_stack_end().map_err(kernel("read the mappings"))?;
    MAIN_STACK_END.store(end, Ordering::Relaxed);
    super::control::control().map_err(kernel("map memory"))?;
    let number = sys::allocate_signal().ok_or(PrepareError::NoSignal)?;
    sys::handle(number, signal::answer).map_err(kernel("handle the signal"))?;
    let disposition = sys::disposition(number).map_err(kernel("ask for the signal's handler"))?;
    RESTORER.store(disposition.restorer as u64, Ordering::Relaxed);
    // Release: partner of the Acquire in `reserved_signal`; who finds a number finds the words above.
    SIGNAL.store(number, Ordering::Release);
    Ok(number)
}

/// The signal that [`prepare`] reserved.
///
/// The program must not see it: not block it, not change what it does, not wait for it.
#[must_use]
pub fn reserved_signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Acquire)).filter(|&number| number != 0)
}

/// Has `handler` called when the reserved signal comes and is no question of a scan. It must be async-signal-safe.
pub fn on_other_signal(handler: fn()) {
    OTHER.store(handler as *mut (), Ordering::Release);
}

/// The reserved signal came, and not from a scan.
pub(super) fn pass_on() {
    let handler = OTHER.load(Ordering::Acquire);
    if !handler.is_null() {
        // SAFETY: only `on_other_signal` stores here, and what it stores is a `fn()`.
        let handler = unsafe { std::mem::transmute::<*mut (), fn()>(handler) };
        handler();
    }
}

/// Whether the reserved signal still does what it should.
pub(super) fn is_handled(number: c_int) -> bool {
    let handler: sys::Handler = signal::answer;
    sys::disposition(number).is_ok_and(|disposition| disposition.handler == handler as usize)
}

/// Tells scans that the program switches stacks by itself: from now on nothing is found free.
///
/// A stack that was switched away from is no thread's, so no scan looks at it. For names such as `makecontext` and
/// `swapcontext` when the program binds them. Scans notice by themselves when they meet a thread on such a stack.
pub fn note_coroutines() {
    COROUTINES.store(true, Ordering::Relaxed);
}

pub(super) fn has_coroutines() -> bool {
    COROUTINES.load(Ordering::Relaxed)
}

pub(super) fn restorer() -> u64 {
    RESTORER.load(Ordering::Relaxed)
}

pub(super) fn main_stack_end() -> u64 {
    MAIN_STACK_END.load(Ordering::Relaxed)
}

/// Reads the mappings until the main thread's stack turns up.
fn find_main_stack_end() -> Result<u64, Errno> {
    let file = File::mappings()?;
    let mut buffer = [0; 4096];
    let mut kept = 0;
    loop {
        let read = file.read_on(&mut buffer[kept..])?.len();
        if read == 0 {
            return Err(libc::ENOENT);
        }
        let filled = kept + read;
        let complete = buffer[..filled].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        if let Some(end) = buffer[..complete].split(|&byte| byte == b'\n').find_map(procfs::main_stack_end) {
            return Ok(end);
        }
        buffer.copy_within(complete..filled, 0);
        kept = filled - complete;
    }
}
