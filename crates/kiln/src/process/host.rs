//! Symbols that a native link would take from start-up files and static parts of libc, and those that the engine answers
//! itself.
//!
//! `atexit` and its relatives live in `libc_nonshared.a`, so no look-up in a shared library finds them; each passes its
//! unit's `__dso_handle` on. `_Fork` skips the handlers that keep a child's code apart from its parent's, so they run here.
//! What hides the engine's own signals is in `signal_calls`.

use std::ffi::{c_char, c_int, c_void};

use kiln_abi::ExecutorAddr;

use super::{fork, signal_calls};

type Handler = extern "C" fn();

// Parts of libgcc.a that no shared library exports. `dylib` only means that the C compiler finds the archive.
#[link(name = "gcc", kind = "dylib")]
unsafe extern "C" {
    static __cpu_model: [u32; 4];
    static __cpu_features2: [u32; 1];
    fn __cpu_indicator_init() -> c_int;
}

unsafe extern "C" {
    fn __cxa_atexit(function: extern "C" fn(*mut c_void), argument: *mut c_void, dso: *mut c_void) -> c_int;
    fn __cxa_at_quick_exit(function: extern "C" fn(*mut c_void), dso: *mut c_void) -> c_int;
    fn __register_atfork(
        prepare: Option<Handler>,
        parent: Option<Handler>,
        child: Option<Handler>,
        dso: *mut c_void,
    ) -> c_int;
    fn _Fork() -> libc::pid_t;
}

/// The host's own variable `name`.
pub(crate) fn lookup_data(name: &[u8]) -> Option<ExecutorAddr> {
    let address = match name {
        b"__cpu_model" => &raw const __cpu_model as usize,
        b"__cpu_features2" => &raw const __cpu_features2 as usize,
        _ => return None,
    };
    Some(ExecutorAddr::new(address as u64))
}

/// The address of the host's own definition of the function `name`.
pub(crate) fn lookup(name: &[u8]) -> Option<ExecutorAddr> {
    let address = match name {
        b"__cpu_indicator_init" => __cpu_indicator_init as *const () as usize,
        b"atexit" => atexit as *const () as usize,
        b"at_quick_exit" => at_quick_exit as *const () as usize,
        b"pthread_atfork" => pthread_atfork as *const () as usize,
        b"clone" | b"__clone" => clone as *const () as usize,
        b"_Fork" => fork_without_handlers as *const () as usize,
        b"__stack_chk_fail_local" => stack_chk_fail_local as *const () as usize,
        _ => signal_calls::lookup(name)? as usize,
    };
    Some(ExecutorAddr::new(address as u64))
}

/// Whether the main thread and all others but the calling one have ended.
pub(crate) fn only_thread_left() -> bool {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return false };
    let is_alive = |task: &std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which stands in parentheses and may hold any.
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z'))
    };
    tasks.flatten().filter(is_alive).count() == 1
}

/// Registers `function` to run after every `atexit` handler that is registered later.
pub(crate) fn at_exit(function: extern "C" fn(*mut c_void)) {
    // SAFETY: the handler takes the null argument given here and Kiln's own image is never unloaded.
    unsafe { __cxa_atexit(function, std::ptr::null_mut(), std::ptr::null_mut()) };
}

extern "C" fn atexit(function: extern "C" fn(*mut c_void)) -> c_int {
    // SAFETY: as in glibc's own atexit: a function without parameters may be called with a surplus register argument.
    // A null handle means "the executable", whose handlers run at exit.
    unsafe { __cxa_atexit(function, std::ptr::null_mut(), std::ptr::null_mut()) }
}

extern "C" fn at_quick_exit(function: extern "C" fn(*mut c_void)) -> c_int {
    // SAFETY: as for `atexit`.
    unsafe { __cxa_at_quick_exit(function, std::ptr::null_mut()) }
}

extern "C" fn pthread_atfork(prepare: Option<Handler>, parent: Option<Handler>, child: Option<Handler>) -> c_int {
    // SAFETY: the program's handlers are passed on as they came.
    unsafe { __register_atfork(prepare, parent, child, std::ptr::null_mut()) }
}

extern "C" fn fork_without_handlers() -> libc::pid_t {
    fork::prepare();
    // SAFETY: no preconditions; our own handlers run around it.
    let pid = unsafe { _Fork() };
    if pid == 0 {
        fork::child()
    } else {
        fork::parent()
    }
    pid
}

extern "C" fn stack_chk_fail_local() -> ! {
    const MESSAGE: &[u8] = b"*** stack smashing detected ***: terminated\n";
    // SAFETY: a plain write of a static buffer, then the end of the process, as glibc's `__stack_chk_fail` does.
    unsafe {
        libc::write(2, MESSAGE.as_ptr().cast(), MESSAGE.len());
        libc::abort()
    }
}

/// `clone`, whose last three arguments are there if the flags ask for them: passing on what is in their places does no harm.
/// A child that shares the memory without being a thread is told of to who frees code.
unsafe extern "C" fn clone(
    function: extern "C" fn(*mut c_void) -> c_int,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parent: *mut c_void,
    tls: *mut c_void,
    child: *mut c_void,
) -> c_int {
    // SAFETY: the program's own arguments, passed on under the program's own duty to make them valid.
    let call = || unsafe { libc::clone(function, stack, flags, argument, parent, tls, child) };
    if flags & (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_THREAD) != libc::CLONE_VM {
        return call();
    }
    let mut made = -1;
    kiln_dispatch::scan::watch_child(|| {
        made = call();
        (made > 0).then_some(made)
    });
    made
}

/// The environment that the program starts with.
pub(crate) fn environ() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: libc defines `environ` and it is read before the program can change it from another thread.
    unsafe { environ }
}
