//! The crash reporter: names the function and source line of a fault in compiled code, then lets the process die.
//!
//! The program must not notice it: queries of `sigaction` show the default (see `signal_calls`), a fault is re-executed under
//! the default action so that the process dies of the same signal with the same core, and a signal that somebody sent is
//! raised again. It runs on the faulting thread's own stack, so an exhausted stack dies without a report, as
//! natively.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_abi::ExecutorAddr;

/// Writes a report about a fault at an address; runs in a signal handler.
pub(crate) type Describe = fn(ExecutorAddr) -> Option<String>;

const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// The describing function as an address, 0 before [`install`].
static DESCRIBE: AtomicUsize = AtomicUsize::new(0);

/// Starts reporting faults whose action is still the default.
pub(crate) fn install(describe: Describe) {
    DESCRIBE.store(describe as usize, Ordering::Release);
    for number in SIGNALS {
        // SAFETY: all-zero is a valid `sigaction`; it is filled below.
        let (mut action, mut old): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        action.sa_sigaction = reporter_address();
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: both structures live across the calls, and `report` has the signature that SA_SIGINFO asks for.
        unsafe {
            libc::sigaction(number, std::ptr::null(), &raw mut old);
            if old.sa_sigaction == libc::SIG_DFL {
                libc::sigaction(number, &raw const action, std::ptr::null_mut());
            }
        }
    }
}

fn reporter_address() -> usize {
    report as *const () as usize
}

/// Whether `handler` is the reporter.
pub(crate) fn is_reporter(handler: libc::sighandler_t) -> bool {
    handler == reporter_address()
}

/// Shows the default in place of the reporter.
pub(crate) fn hide(action: &mut libc::sigaction) {
    if is_reporter(action.sa_sigaction) {
        action.sa_sigaction = libc::SIG_DFL;
        action.sa_flags = 0;
    }
}

extern "C" fn report(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
    let pc = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] } as u64;
    // SAFETY: likewise a valid siginfo.
    let sent = unsafe { (*info).si_code } <= 0;
    // SAFETY: all-zero is the default action with an empty mask; a plain system call.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, &raw const default, std::ptr::null_mut());
    }
    let describe = DESCRIBE.load(Ordering::Acquire);
    if describe != 0 {
        // SAFETY: only `install` stores here, and it stores a `Describe`.
        let describe = unsafe { std::mem::transmute::<usize, Describe>(describe) };
        if let Some(text) = describe(ExecutorAddr::new(pc)) {
            let message = format!("kiln: {} in {text}\n", signal_name(number));
            // SAFETY: a plain write of a live buffer.
            unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
        }
    }
    if sent {
        // SAFETY: a plain system call; the signal is delivered with the default action once the handler returns.
        unsafe { libc::raise(number) };
    }
}

fn signal_name(number: c_int) -> &'static str {
    match number {
        libc::SIGSEGV => "segmentation fault",
        libc::SIGBUS => "bus error",
        libc::SIGILL => "illegal instruction",
        _ => "arithmetic exception",
    }
}
