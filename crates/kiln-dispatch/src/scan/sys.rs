//! System calls of the scanner.
//!
//! Bare ones: libc's `open` and `read` are cancellation points, its `timer_create` takes a lock and starts threads. All
//! of them may be called in a signal handler; `errno` is saved by whoever must.

use super::Tid;
use std::ffi::c_int;
use std::io::Write;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// A number of `errno`.
pub(super) type Errno = i32;

/// Bytes of the kernel's signal set.
const KERNEL_SET_BYTES: usize = 8;

fn errno() -> Errno {
    // SAFETY: always callable; the thread's own variable.
    unsafe { *libc::__errno_location() }
}

/// Leaves `errno` as it was when dropped.
pub(super) struct KeepErrno(Errno);

impl KeepErrno {
    pub(super) fn new() -> Self {
        Self(errno())
    }
}

impl Drop for KeepErrno {
    fn drop(&mut self) {
        // SAFETY: as in `errno`.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

/// A file that is closed when dropped.
pub(super) struct File(c_int);

impl File {
    /// Opens `path`, which ends with a zero byte.
    fn open(path: &[u8], flags: c_int) -> Result<File, Errno> {
        assert_eq!(path.last(), Some(&0));
        // SAFETY: `path` is a terminated string that lives across the call.
        let fd = unsafe {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC | flags)
        };
        // A descriptor fits.
        if fd < 0 { Err(errno()) } else { Ok(File(fd as c_int)) }
    }

    /// Opens file `name` of thread `tid`.
    pub(super) fn of_thread(tid: Tid, name: &str) -> Result<File, Errno> {
        let mut path = [0u8; 64];
        let mut rest = &mut path[..];
        write!(rest, "/proc/self/task/{}/{name}\0", tid.0).expect("the names in use are short");
        let used = 64 - rest.len();
        File::open(&path[..used], 0)
    }

    /// Opens the folder of the process's threads.
    pub(super) fn threads() -> Result<File, Errno> {
        File::open(b"/proc/self/task\0", libc::O_DIRECTORY)
    }

    /// Opens the list of mappings.
    pub(super) fn mappings() -> Result<File, Errno> {
        File::open(b"/proc/self/maps\0", 0)
    }

    /// Reads from the start, again if it was read before: such files are made when they are read.
    pub(super) fn read_anew<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        // SAFETY: the kernel writes into `buffer` only.
        let read = unsafe { libc::syscall(libc::SYS_pread64, self.0, buffer.as_mut_ptr(), buffer.len(), 0) };
        filled(read, buffer)
    }

    /// Reads on.
    pub(super) fn read_on<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        // SAFETY: the kernel writes into `buffer` only.
        let read = unsafe { libc::syscall(libc::SYS_read, self.0, buffer.as_mut_ptr(), buffer.len()) };
        filled(read, buffer)
    }

    /// The next entries of a folder, as `struct linux_dirent64`s.
    pub(super) fn read_entries<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        // SAFETY: the kernel writes into `buffer` only.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, self.0, buffer.as_mut_ptr(), buffer.len()) };
        filled(read, buffer)
    }
}

fn filled(read: i64, buffer: &[u8]) -> Result<&[u8], Errno> {
    usize::try_from(read).map(|bytes| &buffer[..bytes]).map_err(|_| errno())
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: opened by `open` and owned by this value.
        unsafe { libc::syscall(libc::SYS_close, self.0) };
    }
}

/// The calling process.
pub(super) fn process() -> i32 {
    // SAFETY: touches nothing. Bare, since libc's answer may be remembered from before a fork.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}

/// The calling thread.
pub(super) fn thread() -> Tid {
    // SAFETY: touches nothing.
    Tid(unsafe { libc::syscall(libc::SYS_gettid) as i32 })
}

/// Whether thread `tid` of this process has not ended.
pub(super) fn is_alive(tid: Tid) -> bool {
    // SAFETY: signal 0 is none; nothing is sent.
    let status = unsafe { libc::syscall(libc::SYS_tgkill, process(), tid.0, 0) };
    status == 0 || errno() != libc::ESRCH
}

/// Whether process `pid` runs on the memory of this one. `None` if the kernel does not say.
pub(super) fn shares_memory(pid: i32) -> Option<bool> {
    /// `KCMP_VM` of linux/kcmp.h.
    const KCMP_VM: c_int = 1;
    // SAFETY: compares two kernel objects.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, thread().0, pid, KCMP_VM, 0, 0) };
    if order >= 0 {
        return Some(order == 0);
    }
    (errno() == libc::ESRCH).then_some(false)
}

/// Reads words of this process at `address`; how many could be read before the first that could not.
///
/// Through the kernel, because nothing else can read memory that another thread may unmap. By the number of this thread:
/// a main thread that has ended has no memory.
pub(super) fn read_words(address: u64, words: &mut [u64]) -> usize {
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size_of_val(words) };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address as usize), iov_len: size_of_val(words) };
    // SAFETY: the kernel writes into `words` and checks what it reads. Whole words: the last goes over the stack.
    let read = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            thread().0,
            &raw const local,
            1usize,
            &raw const remote,
            1usize,
            0usize,
        )
    };
    usize::try_from(read).unwrap_or(0) / size_of::<u64>()
}

/// Where thread `tid` keeps its list of robust mutexes, which glibc has in the thread's control block; 0 if it has none.
pub(super) fn robust_list(tid: Tid) -> u64 {
    let mut head = 0u64;
    let mut bytes = 0usize;
    // SAFETY: the kernel writes two words that live across the call.
    let status = unsafe { libc::syscall(libc::SYS_get_robust_list, tid.0, &raw mut head, &raw mut bytes) };
    if status == 0 { head } else { 0 }
}

/// New zeroed private memory, page-aligned.
pub(super) fn map(bytes: usize) -> Result<*mut u8, Errno> {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe {
        libc::syscall(
            libc::SYS_mmap,
            0usize,
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0usize,
        )
    };
    if address == -1 { Err(errno()) } else { Ok(ptr::with_exposed_provenance_mut(address as usize)) }
}

/// Makes memory of [`map`] read as zero in forked children.
///
/// # Safety
///
/// It can live with that.
pub(super) unsafe fn wipe_on_fork(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: nothing changes in this process.
    unsafe { advise(address, bytes, libc::MADV_WIPEONFORK) }
}

/// Leaves memory of [`map`] out of forked children.
///
/// # Safety
///
/// They do not use it.
pub(super) unsafe fn keep_from_children(address: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: nothing changes in this process.
    unsafe { advise(address, bytes, libc::MADV_DONTFORK) }
}

unsafe fn advise(address: *mut u8, bytes: usize, advice: c_int) -> Result<(), Errno> {
    // SAFETY: the caller knows the advice.
    let status = unsafe { libc::syscall(libc::SYS_madvise, address, bytes, advice) };
    if status == 0 { Ok(()) } else { Err(errno()) }
}

/// Gives memory of [`map`] back.
///
/// # Safety
///
/// Nobody uses it any more.
pub(super) unsafe fn unmap(address: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_munmap, address, bytes) };
}

/// Sleeps while `word` holds `expected`, at most for `limit`.
pub(super) fn futex_wait(word: &AtomicU32, expected: u32, limit: Duration) {
    let limit = timespec(limit);
    // SAFETY: both words live across the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            &raw const limit,
        );
    }
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Time since some point.
pub(super) fn now() -> Duration {
    let mut time = timespec(Duration::ZERO);
    // SAFETY: writes a live structure; libc's function is the vDSO's and may be called in handlers.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// All signals blocked until dropped, glibc's own included.
pub(super) struct SignalsBlocked(u64);

impl SignalsBlocked {
    pub(super) fn new() -> Self {
        Self(set_mask(u64::MAX))
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        set_mask(self.0);
    }
}

fn set_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    // SAFETY: both sets are live words of the kernel's size.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, KERNEL_SET_BYTES);
    }
    old
}

/// A signal's disposition as the kernel keeps it: `struct kernel_sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Disposition {
    pub(super) handler: usize,
    flags: u64,
    /// Where handlers return to.
    pub(super) restorer: usize,
    mask: u64,
}

/// What happens to signal `number`.
pub(super) fn disposition(number: c_int) -> Result<Disposition, Errno> {
    let mut old = Disposition::default();
    // SAFETY: the kernel writes a live structure of its own form.
    let status = unsafe { libc::syscall(libc::SYS_rt_sigaction, number, 0usize, &raw mut old, KERNEL_SET_BYTES) };
    if status == 0 { Ok(old) } else { Err(errno()) }
}

/// A handler for signals with information.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Makes `handler` what signal `number` does.
pub(super) fn handle(number: c_int, handler: Handler) -> Result<(), Errno> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero is a valid `sigaction`.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: live structures; the handler has the signature that SA_SIGINFO asks for. Through libc, which adds the
    // code that handlers return to.
    let status = unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(number, action, ptr::null_mut())
    };
    if status == 0 { Ok(()) } else { Err(errno()) }
}

/// A timer that signals one thread once that thread has run on; gone when dropped.
pub(super) struct RunTimer(c_int);

impl RunTimer {
    /// Has signal `number` with `value` sent to thread `tid` at the first clock tick at which it runs.
    pub(super) fn start(tid: Tid, number: c_int, value: usize) -> Result<RunTimer, Errno> {
        /// `CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED` of the kernel's include/linux/posix-timers_types.h.
        const THREAD_RUN_TIME: c_int = 4 | 2;
        let clock = !tid.0 << 3 | THREAD_RUN_TIME;
        let mut event = MaybeUninit::<libc::sigevent>::zeroed();
        // SAFETY: all-zero is a valid `sigevent`.
        let event = unsafe { event.assume_init_mut() };
        event.sigev_value.sival_ptr = ptr::without_provenance_mut(value);
        event.sigev_signo = number;
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_notify_thread_id = tid.0;
        let mut id: c_int = 0;
        // SAFETY: live structures of the kernel's form.
        if unsafe { libc::syscall(libc::SYS_timer_create, clock, ptr::from_mut(event), &raw mut id) } != 0 {
            return Err(errno());
        }
        let timer = RunTimer(id);
        // Relative: a time that has passed would signal at once, and so might interrupt a system call.
        let soon =
            libc::itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(Duration::from_nanos(1)) };
        // SAFETY: a live structure, and a timer of ours.
        if unsafe { libc::syscall(libc::SYS_timer_settime, id, 0, &raw const soon, 0usize) } != 0 {
            return Err(errno());
        }
        Ok(timer)
    }
}

impl Drop for RunTimer {
    fn drop(&mut self) {
        // SAFETY: a timer of ours.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}

unsafe extern "C" {
    /// Takes a real-time signal out of what `SIGRTMIN` and `SIGRTMAX` delimit; -1 if there is none.
    fn __libc_allocate_rtsig(high_priority: c_int) -> c_int;
}

/// Takes the highest real-time signal: what programs agree upon counts from `SIGRTMIN`.
pub(super) fn allocate_signal() -> Option<c_int> {
    // SAFETY: changes a variable of libc's.
    let number = unsafe { __libc_allocate_rtsig(0) };
    (number > 0).then_some(number)
}
