//! Every system call of this crate.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

/// Sleeps while `word` holds `expected`.
///
/// A raw system call: libc's wrapper would do, but must not be a cancellation point, and `errno` is the caller's
/// concern.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32) {
    // SAFETY: `word` is a valid, aligned 32-bit word for the whole call; no timeout is given. Interruption and a
    // changed word make it return early, which the caller expects.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            ptr::null::<libc::timespec>(),
        );
    }
}

/// Wakes everyone who sleeps on `word`.
pub(crate) fn futex_wake_all(word: &AtomicU32) {
    // SAFETY: the kernel uses the address as a key only.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, i32::MAX);
    }
}

/// New private zeroed memory that takes no swap space until it is touched.
pub(crate) fn map_private(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("the kernel never maps at 0 unasked"))
}

/// Takes all access to `bytes` bytes at `address` away.
///
/// # Safety
///
/// The range is page-aligned, belongs to the caller alone and is not used any more.
pub(crate) unsafe fn forbid_access(address: NonNull<u8>, bytes: usize) -> io::Result<()> {
    // SAFETY: the caller gives the range away.
    check(unsafe { libc::mprotect(address.as_ptr().cast(), bytes, libc::PROT_NONE) })
}

/// Makes `bytes` bytes at `address` read as zero in every forked child, however the fork is made.
///
/// # Safety
///
/// The range is page-aligned, private anonymous memory of the caller's, which can live with its being zeroed.
pub(crate) unsafe fn wipe_on_fork(address: NonNull<u8>, bytes: usize) -> io::Result<()> {
    // SAFETY: as the caller promised; nothing changes in this process.
    check(unsafe { libc::madvise(address.as_ptr().cast(), bytes, libc::MADV_WIPEONFORK) })
}

/// Bytes of a page.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: reads a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("Linux always knows its page size")
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
