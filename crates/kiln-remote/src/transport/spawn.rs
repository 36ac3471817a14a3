//! Starting the optimizer so that the program does not notice.
//!
//! A child whose exit signal is 0 is invisible to `waitpid(-1)` and raises no SIGCHLD, but `execve` sets the exit signal
//! back to SIGCHLD (`begin_new_exec` in Linux's fs/exec.c). Hence two steps:
//!
//! 1. The caller blocks all signals and clones an intermediate process (`CLONE_VM | CLONE_VFORK`, exit signal 0). It
//!    shares our memory and the caller sleeps until it is gone, so nothing is copied, whatever the program's size.
//! 2. The intermediate clones the process to be in the same way and sleeps until that has executed the optimizer (or
//!    failed), then exits. The optimizer's parent is now init, not the program.
//! 3. The caller reaps the intermediate by number with `__WCLONE`; a `waitpid(-1)` in another thread cannot see it.
//!
//! If the program has made itself a subreaper (`PR_SET_CHILD_SUBREAPER`), it inherits the optimizer and can see it.
//!
//! Between clone and exec there are only system calls: other threads of the program go on, and any lock may be held.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::socket::Transport;
use crate::error::Error;

/// The descriptor at which the optimizer finds its socket.
const SOCKET_DESCRIPTOR: c_int = 3;
/// Stack of each of the two processes. They call system call wrappers only.
const STACK_BYTES: usize = 32 << 10;
/// Variables of the program that are not meant for us.
const NOT_INHERITED: [&[u8]; 2] = [b"LD_PRELOAD", b"LD_AUDIT"];

/// Where the optimizer's standard error goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// Nowhere.
    #[default]
    Silent,
    /// To the program's.
    Inherit,
    /// To the end of a file.
    File(PathBuf),
}

impl Log {
    /// What `KILN_OPTIMIZER_LOG` says: `inherit` or the path of a file; nothing means silent.
    #[must_use]
    pub fn from_env() -> Log {
        match std::env::var_os("KILN_OPTIMIZER_LOG") {
            None => Log::Silent,
            Some(value) if value.is_empty() => Log::Silent,
            Some(value) if value == "inherit" => Log::Inherit,
            Some(path) => Log::File(path.into()),
        }
    }
}

/// Everything needed to start an optimizer, prepared while it is still allowed to allocate and read the environment.
#[derive(Debug)]
pub struct Spawner {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    log: Option<CString>,
    inherit_log: bool,
}

/// A started optimizer.
#[derive(Debug)]
pub struct Spawned {
    /// Our end of the connection.
    pub transport: Transport,
    /// Its process number. It is no child of ours: it ends when the connection does.
    pub pid: i32,
}

/// Why an optimizer could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The binary could not be executed.
    #[error("cannot execute {}: {source}", path.display())]
    Execute {
        /// The binary.
        path: PathBuf,
        /// What `execve` returned.
        source: io::Error,
    },
    /// There was no socket to be had.
    #[error("cannot connect to a new optimizer: {0}")]
    Connect(#[from] Error),
    /// The process could not be made.
    #[error("cannot create a process for the optimizer: {0}")]
    Clone(io::Error),
}

impl Spawner {
    /// Prepares to start the binary at `path`. The environment of the optimizer is the present one.
    #[must_use]
    pub fn new(path: &Path, log: &Log) -> Spawner {
        let environment = std::env::vars_os().filter(|(name, _)| !NOT_INHERITED.contains(&name.as_bytes()));
        let environment = environment.filter_map(|(name, value)| {
            let mut entry = OsString::with_capacity(name.len() + 1 + value.len());
            entry.push(name);
            entry.push("=");
            entry.push(value);
            CString::new(entry.into_vec()).ok()
        });
        Spawner {
            path: c_string(path),
            arguments: vec![c"kiln-optimizer".into(), c"--connect-fd".into(), c"3".into()],
            environment: environment.collect(),
            log: if let Log::File(path) = log { Some(c_string(path)) } else { None },
            inherit_log: *log == Log::Inherit,
        }
    }

    /// Starts an optimizer.
    ///
    /// May be called from any thread at any time; the thread sleeps until the new program is executed (about a
    /// millisecond). Signals that arrive meanwhile are delivered afterwards.
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        let (transport, theirs) = Transport::pair()?;
        let mut stacks = vec![0u128; 2 * STACK_BYTES / size_of::<u128>()];
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let (lower, upper) = stacks.split_at_mut(STACK_BYTES / size_of::<u128>());
        let plan = Plan {
            path: self.path.as_ptr(),
            arguments: arguments.as_ptr(),
            environment: environment.as_ptr(),
            log: self.log.as_deref().map_or(ptr::null(), CStr::as_ptr),
            inherit_log: self.inherit_log,
            socket: theirs.as_raw_fd(),
            stack: upper.as_mut_ptr_range().end.cast(),
            pid: AtomicI32::new(0),
            clone_errno: AtomicI32::new(0),
            exec_errno: AtomicI32::new(0),
        };

        let mask = block_signals();
        // SAFETY: `intermediate` runs on a stack of its own that outlives it, as CLONE_VFORK lets `clone` return only when
        // it has exited; so does everything `plan` points to. It makes system calls only.
        let child = unsafe {
            libc::clone(
                intermediate,
                lower.as_mut_ptr_range().end.cast(),
                libc::CLONE_VM | libc::CLONE_VFORK,
                ptr::from_ref(&plan).cast_mut().cast(),
            )
        };
        let clone_error = (child < 0).then(io::Error::last_os_error);
        if child > 0 {
            reap(child);
        }
        restore_signals(mask);

        if let Some(error) = clone_error {
            return Err(SpawnError::Clone(error));
        }
        // Relaxed: the processes that wrote have ended, which `wait4` ordered before this.
        match (plan.clone_errno.load(Ordering::Relaxed), plan.exec_errno.load(Ordering::Relaxed)) {
            (0, 0) => Ok(Spawned { transport, pid: plan.pid.load(Ordering::Relaxed) }),
            (0, errno) => Err(SpawnError::Execute {
                path: OsString::from_vec(self.path.as_bytes().to_vec()).into(),
                source: io::Error::from_raw_os_error(errno),
            }),
            (errno, _) => Err(SpawnError::Clone(io::Error::from_raw_os_error(errno))),
        }
    }
}

/// A path as the kernel takes it; one with a NUL inside names no file, and neither does the empty one.
fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// What the new processes need, in the memory they share with us.
struct Plan {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    log: *const c_char,
    inherit_log: bool,
    socket: c_int,
    stack: *mut c_void,
    pid: AtomicI32,
    clone_errno: AtomicI32,
    exec_errno: AtomicI32,
}

fn errno() -> i32 {
    // SAFETY: glibc's errno location is valid for the calling thread; the cloned processes share the caller's, which
    // sleeps.
    unsafe { *libc::__errno_location() }
}

extern "C" fn intermediate(argument: *mut c_void) -> c_int {
    // SAFETY: `argument` is the `Plan` of `spawn`, which sleeps until we exit.
    let plan = unsafe { &*argument.cast::<Plan>() };
    // SAFETY: as for the first clone; `plan.stack` is the other stack.
    let child = unsafe { libc::clone(optimizer, plan.stack, libc::CLONE_VM | libc::CLONE_VFORK, argument) };
    if child < 0 {
        plan.clone_errno.store(errno(), Ordering::Relaxed);
    } else {
        plan.pid.store(child, Ordering::Relaxed);
        if plan.exec_errno.load(Ordering::Relaxed) != 0 {
            reap(child);
        }
    }
    // Not a return: that would run glibc's exit path.
    // SAFETY: ends this process only.
    unsafe { libc::_exit(0) }
}

extern "C" fn optimizer(argument: *mut c_void) -> c_int {
    // SAFETY: `argument` is the `Plan` of `spawn`, which sleeps until we have executed or exited.
    let plan = unsafe { &*argument.cast::<Plan>() };
    // SAFETY: system calls on descriptors, limits and signal state of this process, none of which it shares with the
    // program (no CLONE_FILES, CLONE_SIGHAND, CLONE_THREAD); all pointers come from `plan` or from this frame.
    unsafe {
        libc::setsid();
        raise_limits();
        place_descriptors(plan);
        default_signals();
        libc::execve(plan.path, plan.arguments, plan.environment);
        plan.exec_errno.store(errno(), Ordering::Relaxed);
        libc::_exit(127)
    }
}

/// Standard streams, then the socket at its number, and nothing else.
///
/// # Safety
///
/// In the new process only: closes what is open.
unsafe fn place_descriptors(plan: &Plan) {
    // SAFETY: see above; the strings are NUL-terminated.
    unsafe {
        // Out of the way of 0 to 3 first: the program may have closed those, and the socket may be one of them.
        let socket = libc::fcntl(plan.socket, libc::F_DUPFD, 10);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        let log = if plan.log.is_null() {
            -1
        } else {
            libc::open(plan.log, libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND, 0o644)
        };
        // Above the numbers they are copied to.
        let null = libc::fcntl(null, libc::F_DUPFD, 10);
        let log = libc::fcntl(log, libc::F_DUPFD, 10);
        libc::dup2(null, 0);
        libc::dup2(null, 1);
        if log >= 0 {
            libc::dup2(log, 2);
        } else if !plan.inherit_log {
            libc::dup2(null, 2);
        }
        libc::dup2(socket, SOCKET_DESCRIPTOR);
        libc::syscall(libc::SYS_close_range, (SOCKET_DESCRIPTOR + 1) as c_long, c_long::from(u32::MAX), 0 as c_long);
    }
}

/// Lifts soft limits that the user meant for the program.
///
/// # Safety
///
/// In the new process only.
unsafe fn raise_limits() {
    for resource in [libc::RLIMIT_AS, libc::RLIMIT_DATA, libc::RLIMIT_STACK, libc::RLIMIT_FSIZE, libc::RLIMIT_CPU] {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for reads and writes.
        unsafe {
            if libc::getrlimit(resource, &mut limit) == 0 {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(resource, &limit);
            }
        }
    }
}

/// The kernel's `struct sigaction` (glibc's wrapper refuses the two signals it keeps for itself).
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SIGNALS: c_long = 64;
const MASK_BYTES: usize = 8;

/// Ignored signals stay ignored over `execve`, and so does the mask.
///
/// # Safety
///
/// In the new process only.
unsafe fn default_signals() {
    let default = KernelSigaction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=SIGNALS {
        // SAFETY: `default` is valid for reads. SIGKILL and SIGSTOP fail, harmlessly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                ptr::from_ref(&default),
                ptr::null_mut::<KernelSigaction>(),
                MASK_BYTES,
            );
        }
    }
    restore_signals(0);
}

fn block_signals() -> u64 {
    let mut old = 0u64;
    let all = u64::MAX;
    // SAFETY: both masks are valid for the 8 bytes that are named.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, ptr::from_ref(&all), &raw mut old, MASK_BYTES);
    }
    old
}

fn restore_signals(mask: u64) {
    // SAFETY: as in `block_signals`.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&mask),
            ptr::null_mut::<u64>(),
            MASK_BYTES,
        );
    }
}

/// Waits for a child without exit signal.
fn reap(child: c_int) {
    loop {
        let mut status: c_int = 0;
        // SAFETY: `status` is valid for writes.
        let result = unsafe {
            libc::syscall(libc::SYS_wait4, child, &raw mut status, libc::__WCLONE, ptr::null_mut::<c_void>())
        };
        if result >= 0 || errno() != libc::EINTR {
            return;
        }
    }
}
