//! Holding signals off while the engine holds a lock.

/// Every signal is blocked on this thread until the value is dropped, glibc's internal ones included.
///
/// A handler of the program may enter the engine through a first call; if it interrupted a thread that holds one of the
/// engine's locks it would wait for itself.
#[derive(Debug)]
pub(crate) struct Blocked {
    previous: u64,
}

/// Bytes of the kernel's signal set, which `rt_sigprocmask` wants to know.
const KERNEL_SET_BYTES: usize = 8;

fn set_mask(mask: u64) -> u64 {
    let mut previous = 0u64;
    // SAFETY: both sets are live 8-byte words; glibc's wrapper would leave its internal signals unblocked.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut previous,
            KERNEL_SET_BYTES,
        );
    }
    previous
}

impl Blocked {
    /// Blocks every signal on the calling thread.
    pub(crate) fn all() -> Self {
        Self { previous: set_mask(u64::MAX) }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        set_mask(self.previous);
    }
}
