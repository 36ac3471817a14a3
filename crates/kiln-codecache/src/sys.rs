//! The system calls of this crate. A port to another operating system edits this module.
//!
//! Nothing here allocates through libc or takes one of its locks: everything may run while the program is inside
//! `malloc` or in a signal handler.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};

use rustix::fs::{Mode, OFlags};
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{MembarrierCommand, membarrier};

/// Bytes of a page. x86-64 has no other; ports with several sizes ask the kernel.
pub(crate) const PAGE: usize = 4096;

/// Reserves `bytes` of address space that cannot be touched, where the kernel likes it.
pub(crate) fn reserve(bytes: usize) -> io::Result<usize> {
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing uses.
    let at = unsafe {
        mm::mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
    }?;
    Ok(at as usize)
}

/// Reserves `bytes` at exactly `at`; `EEXIST` where something lies there.
pub(crate) fn reserve_at(at: usize, bytes: usize) -> io::Result<()> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
    // SAFETY: MAP_FIXED_NOREPLACE never replaces what is mapped already. Kernels before 4.17 take the address as a
    // hint, which the comparison below notices.
    let got =
        unsafe { mm::mmap_anonymous(ptr::without_provenance_mut(at), bytes, ProtFlags::empty(), flags) }? as usize;
    if got != at {
        unmap(got, bytes);
        return Err(io::Error::from(rustix::io::Errno::EXIST));
    }
    Ok(())
}

/// Maps fresh shared memory over two reservations of the caller: readable and writable at `working`, and at `executor`
/// its first `code` bytes executable and the rest read-only.
///
/// Anonymous: it has no descriptor that the program could see or close, no size that `RLIMIT_FSIZE` could cut, and no
/// `vm.memfd_noexec` applies. Where it may not become executable later (`PR_SET_MDWE`, systemd's
/// `MemoryDenyWriteExecute`), a file in memory that is executable from the start. Pages come by touching them and go by
/// [`remove`].
///
/// # Safety
///
/// `[working, working + bytes)` and `[executor, executor + bytes)` must be reservations that nothing refers to.
pub(crate) unsafe fn map_twice(working: usize, executor: usize, code: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the contract of this function; no byte is written before the second view has its rights.
    unsafe {
        map_over(working, bytes, MapFlags::SHARED)?;
        if duplicate_over(working, executor, bytes).is_err() {
            // Under valgrind, which does not know this use of mremap.
            return map_file_twice(working, executor, code, bytes);
        }
        match protect(executor, code, Protection::ReadExecute) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                map_file_twice(working, executor, code, bytes)
            }
            Err(error) => Err(error),
            Ok(()) => protect(executor + code, bytes - code, Protection::Read),
        }
    }
}

/// [`map_twice`] with a file in memory, whose descriptor is closed again.
///
/// # Safety
///
/// As for [`map_twice`].
unsafe fn map_file_twice(working: usize, executor: usize, code: usize, bytes: usize) -> io::Result<()> {
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| (bytes as u64) > limit) {
        // ftruncate would send SIGXFSZ.
        return Err(io::Error::from(rustix::io::Errno::FBIG));
    }
    let file = rustix::fs::memfd_create("kiln-code", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&file, bytes as u64)?;
    let views = [
        (working, bytes, ProtFlags::READ | ProtFlags::WRITE, 0),
        (executor, code, ProtFlags::READ | ProtFlags::EXEC, 0),
        (executor + code, bytes - code, ProtFlags::READ, code),
    ];
    for (at, bytes, prot, offset) in views {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: what is replaced is the caller's, and nothing refers to it.
        unsafe { mm::mmap(ptr::without_provenance_mut(at), bytes, prot, flags, &file, offset as u64) }?;
    }
    Ok(())
}

/// Maps fresh memory, readable and writable, over the caller's own reservation at `at`.
///
/// # Safety
///
/// `[at, at + bytes)` must belong to a reservation of the caller that nothing refers to.
unsafe fn map_over(at: usize, bytes: usize, sharing: MapFlags) -> io::Result<()> {
    let flags = sharing | MapFlags::NORESERVE | MapFlags::FIXED;
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: what is replaced is the caller's own reservation, which nothing refers to.
    unsafe { mm::mmap_anonymous(ptr::without_provenance_mut(at), bytes, prot, flags) }?;
    Ok(())
}

/// Maps private zeroed memory, readable and writable, somewhere.
pub(crate) fn map_private(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing uses.
    let at = unsafe { mm::mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
    NonNull::new(at.cast()).ok_or_else(|| io::Error::from(rustix::io::Errno::NOMEM))
}

/// Maps private zeroed memory, readable and writable, over the caller's own reservation at `at`.
///
/// # Safety
///
/// `[at, at + bytes)` must belong to a reservation of the caller that nothing refers to.
pub(crate) unsafe fn map_private_over(at: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: the contract of this function.
    unsafe { map_over(at, bytes, MapFlags::PRIVATE) }
}

/// Maps the pages of the shared mapping at `from` a second time, over the caller's own mapping at `to`.
///
/// `mremap` with an old size of 0 duplicates a shared mapping (mremap(2), "If the value of old_size is zero"): the
/// second view of memory that has no file descriptor.
///
/// # Safety
///
/// `[from, from + bytes)` must lie in one shared mapping; nothing may refer to `[to, to + bytes)`, which must be the
/// caller's.
unsafe fn duplicate_over(from: usize, to: usize, bytes: usize) -> io::Result<()> {
    let (from, to) = (ptr::without_provenance_mut(from), ptr::without_provenance_mut(to));
    // SAFETY: an old size of 0 leaves `from` alone; nothing refers to what is replaced, per the contract.
    unsafe { mm::mremap_fixed(from, 0, bytes, MremapFlags::MAYMOVE, to) }?;
    Ok(())
}

/// Moves the mapping at `from` over the caller's own mapping at `to`.
///
/// # Safety
///
/// Both ranges must be the caller's, and `from` one mapping. References into `to` afterwards see the moved pages, so
/// their bytes must be equal or not referred to.
pub(crate) unsafe fn move_over(from: usize, to: usize, bytes: usize) -> io::Result<()> {
    let (from, to) = (ptr::without_provenance_mut(from), ptr::without_provenance_mut(to));
    // SAFETY: per the contract nobody can tell, or minds, that the pages behind `to` are others.
    unsafe { mm::mremap_fixed(from, bytes, bytes, MremapFlags::MAYMOVE, to) }?;
    Ok(())
}

/// What a view may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    None,
    Read,
    ReadWrite,
    ReadExecute,
    ReadWriteExecute,
}

/// Changes what `[at, at + bytes)` may be used for.
///
/// # Safety
///
/// No reference may rely on a right that is taken away.
pub(crate) unsafe fn protect(at: usize, bytes: usize, protection: Protection) -> io::Result<()> {
    let flags = match protection {
        Protection::None => MprotectFlags::empty(),
        Protection::Read => MprotectFlags::READ,
        Protection::ReadWrite => MprotectFlags::READ | MprotectFlags::WRITE,
        Protection::ReadExecute => MprotectFlags::READ | MprotectFlags::EXEC,
        Protection::ReadWriteExecute => MprotectFlags::READ | MprotectFlags::WRITE | MprotectFlags::EXEC,
    };
    // SAFETY: the contract of this function.
    unsafe { mm::mprotect(ptr::without_provenance_mut(at), bytes, flags) }?;
    Ok(())
}

/// Unmaps the caller's own `[at, at + bytes)`, to which nothing may refer any more.
pub(crate) fn unmap(at: usize, bytes: usize) {
    // SAFETY: callers pass only what they mapped and own; failing (no memory to split a mapping) leaks address space.
    let _ = unsafe { mm::munmap(ptr::without_provenance_mut(at), bytes) };
}

fn advise(at: usize, bytes: usize, advice: Advice) -> io::Result<()> {
    // SAFETY: the advices used by this module neither unmap nor change bytes that are in use; see their callers.
    unsafe { mm::madvise(ptr::without_provenance_mut(at), bytes, advice) }?;
    Ok(())
}

/// Backs the writable `[at, at + bytes)` with memory, so that no access will fault with SIGBUS.
///
/// `MADV_POPULATE_WRITE` (Linux 5.14) reports a lack of memory as an error. Older kernels: a system call that stores
/// its answer into each page; where the page cannot be had, the kernel's own store fails, which is `EFAULT` instead of
/// a signal. It overwrites 8 bytes per page, so the range must not hold anything yet.
pub(crate) fn populate(at: usize, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match advise(at, bytes, Advice::LinuxPopulateWrite) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => populate_by_system_call(at, bytes),
        result => result,
    }
}

/// Backs pages of a private mapping. Only saves faults, so failing does not matter.
#[cfg(not(loom))]
pub(crate) fn back(at: usize, bytes: usize) {
    let _ = advise(at, bytes, Advice::LinuxPopulateWrite);
}

/// [`populate`] for kernels before 5.14.
pub(crate) fn populate_by_system_call(at: usize, bytes: usize) -> io::Result<()> {
    for page in (at..at + bytes).step_by(PAGE) {
        // SAFETY: without a new mask, rt_sigprocmask only stores the old one: 8 bytes at `page`, which lies in a writable
        // mapping of the caller that holds nothing yet.
        let result = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, 0, ptr::null::<u64>(), page, 8usize) };
        if result != 0 {
            return Err(match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::EFAULT) => io::Error::from(rustix::io::Errno::NOMEM),
                error => error,
            });
        }
    }
    Ok(())
}

/// Fills the page tables of a view whose pages exist. Only saves faults, so failing does not matter.
pub(crate) fn map_pages(at: usize, bytes: usize) {
    let _ = advise(at, bytes, Advice::LinuxPopulateRead);
}

/// Backs `[at, at + bytes)`, aligned to huge pages and touched in each of them, with huge pages.
///
/// `MADV_COLLAPSE` (Linux 6.1) disregards `shmem_enabled`, which is `never` by default.
pub(crate) fn collapse(at: usize, bytes: usize) -> io::Result<()> {
    const MADV_COLLAPSE: i32 = 25;
    // SAFETY: collapsing moves pages without changing what is mapped where.
    let result = unsafe { libc::madvise(ptr::without_provenance_mut(at), bytes, MADV_COLLAPSE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Frees the pages of the shared mapping at `[at, at + bytes)`, in all views; they read as zero afterwards.
///
/// # Safety
///
/// Nothing may refer to the bytes.
pub(crate) unsafe fn remove(at: usize, bytes: usize) -> io::Result<()> {
    advise(at, bytes, Advice::LinuxRemove)
}

/// Frees the pages of the private mapping at `[at, at + bytes)`; they read as zero afterwards.
///
/// # Safety
///
/// Nothing may refer to the bytes.
pub(crate) unsafe fn discard(at: usize, bytes: usize) -> io::Result<()> {
    advise(at, bytes, Advice::LinuxDontNeed)
}

/// Leaves `[at, at + bytes)` out of core dumps: another view of it is dumped.
pub(crate) fn exclude_from_core(at: usize, bytes: usize) {
    let _ = advise(at, bytes, Advice::LinuxDontDump);
}

/// Makes `[at, at + bytes)` read as zero in a forked child.
pub(crate) fn wipe_on_fork(at: usize, bytes: usize) -> io::Result<()> {
    advise(at, bytes, Advice::LinuxWipeOnFork)
}

/// Address space that the process may still map under `RLIMIT_AS`; `None` without a limit.
pub(crate) fn address_space_left() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    // The first field of statm is the size in pages: proc(5). A short read or odd text counts as nothing in use.
    let mut text = [0u8; 64];
    let statm = rustix::fs::open("/proc/self/statm", OFlags::CLOEXEC, Mode::empty());
    let length = statm.and_then(|statm| rustix::io::read(statm, &mut text)).unwrap_or(0);
    let pages = text[..length].iter().take_while(|byte| byte.is_ascii_digit());
    let pages = pages.fold(0u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(limit.saturating_sub(pages.saturating_mul(PAGE as u64)))
}

/// Registers the process for core-serialising barriers; whether the kernel offers them.
pub(crate) fn register_core_barrier() -> bool {
    membarrier(MembarrierCommand::RegisterPrivateExpeditedSyncCore).is_ok()
}

/// Makes every running thread of the process execute a core-serialising instruction before it runs program code again.
pub(crate) fn core_barrier() -> io::Result<()> {
    membarrier(MembarrierCommand::PrivateExpeditedSyncCore)?;
    Ok(())
}

/// Blocks all signals for the calling thread; the mask that was in force.
pub(crate) fn block_signals() -> u64 {
    let (all, mut old) = (u64::MAX, 0u64);
    // SAFETY: both masks are 8 bytes, the kernel's sigset size on x86-64 and AArch64. The raw call also blocks the two
    // signals that libc keeps for itself, so that no handler at all can run.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut old, 8usize) };
    old
}

/// Puts the signal mask back.
pub(crate) fn restore_signals(mask: u64) {
    // SAFETY: as in `block_signals`; no old mask is asked for.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, ptr::null_mut::<u64>(), 8usize)
    };
}

/// The process's id, asked anew: a fork changes it.
pub(crate) fn process_id() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().cast_unsigned()
}

/// The calling thread's id.
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

/// The clock of `perf record -k mono`.
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Makes a new file of the process's own at `path`, in place of what an earlier process of the same id left, holding
/// `bytes`.
pub(crate) fn create_file(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let _ = rustix::fs::unlink(path);
    // Exclusive and without following links: the directory may be everybody's.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    write_all(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?, bytes)
}

/// Appends `bytes` to the file that [`create_file`] made.
pub(crate) fn append_file(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    write_all(rustix::fs::open(path, flags, Mode::empty())?, bytes)
}

/// Writes all of `bytes` at the end of a file, unless `RLIMIT_FSIZE` forbids: the kernel would send SIGXFSZ.
fn write_all(file: OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    let size = rustix::fs::fstat(&file)?.st_size.cast_unsigned();
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| size.saturating_add(bytes.len() as u64) > limit) {
        return Err(io::Error::from(rustix::io::Errno::FBIG));
    }
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(0) => return Err(io::Error::from(rustix::io::Errno::IO)),
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// All bytes of a file that [`create_file`] made.
pub(crate) fn read_file(path: &CStr) -> io::Result<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes.extend(&buffer[..read]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Maps the first page of a file readable and executable: a mark that perf records.
pub(crate) fn map_file_executable(path: &CStr) -> io::Result<usize> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: without MAP_FIXED the kernel picks addresses that nothing uses. Nobody reads or executes the page.
    let at =
        unsafe { mm::mmap(ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE, &file, 0) }?;
    Ok(at as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shared mapping of two pages with a file of one: the second cannot be had.
    fn with_missing_page(populate: fn(usize, usize) -> io::Result<()>) -> [Option<i32>; 2] {
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, PAGE as u64).unwrap();
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without MAP_FIXED the kernel picks addresses that nothing uses.
        let at = unsafe { mm::mmap(ptr::null_mut(), 2 * PAGE, prot, MapFlags::SHARED, &file, 0) }.unwrap() as usize;
        let results = [at, at + PAGE].map(|page| populate(page, PAGE).err().map(|error| error.raw_os_error().unwrap()));
        unmap(at, 2 * PAGE);
        results
    }

    /// Missing pages come as SIGBUS when they are touched, and as an error here, on old kernels too.
    #[test]
    fn trap_20_a_page_that_cannot_be_had_is_an_error() {
        assert_eq!(with_missing_page(populate), [None, Some(libc::EFAULT)]);
        assert_eq!(with_missing_page(populate_by_system_call), [None, Some(libc::ENOMEM)]);
    }
}
