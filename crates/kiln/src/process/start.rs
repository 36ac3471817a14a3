//! From a linked program to its exit status: constructors, `main`, `exit`.

use std::ffi::{CString, c_char, c_int};

use kiln_abi::ExecutorAddr;

use super::host;

// Unwinding may pass through the frames that call these: `pthread_exit` in `main` unwinds to the start of the thread. None of
// them holds anything that would have to be dropped.
type Constructor = extern "C-unwind" fn(c_int, *const *const c_char, *const *const c_char);
type Main = extern "C-unwind" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;

/// The arguments of a program, in memory that lives as long as the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments {
    count: c_int,
    /// Address of the null-terminated array.
    values: usize,
}

impl Arguments {
    /// Keeps `arguments` for ever: a program may hold on to its `argv`.
    pub(crate) fn new(arguments: Vec<CString>) -> Self {
        let count = c_int::try_from(arguments.len()).expect("the kernel limits arguments far below i32::MAX");
        let mut values: Vec<*const c_char> =
            arguments.into_iter().map(|argument| argument.into_raw().cast_const()).collect();
        values.push(std::ptr::null());
        Self { count, values: values.leak().as_ptr() as usize }
    }

    fn pointer(self) -> *const *const c_char {
        self.values as *const *const c_char
    }
}

/// Calls each of `constructors` with the arguments that glibc's start-up code passes (Rust's std relies on them).
///
/// # Safety
/// Each address must be that of a linked function with a constructor's signature, callable now.
pub(crate) unsafe fn run_constructors(constructors: &[ExecutorAddr], arguments: Arguments) {
    for constructor in constructors {
        // SAFETY: the caller's duty; `argv` and `environ` live as long as the process.
        unsafe {
            let constructor = std::mem::transmute::<*const (), Constructor>(constructor.get() as *const ());
            constructor(arguments.count, arguments.pointer(), host::environ());
        }
    }
}

/// Calls each of `functions` without arguments.
///
/// # Safety
/// Each address must be that of a linked function with a destructor's signature, callable now.
pub(crate) unsafe fn run_destructors(functions: &[ExecutorAddr]) {
    for function in functions {
        // SAFETY: the caller's duty.
        unsafe { std::mem::transmute::<*const (), extern "C-unwind" fn()>(function.get() as *const ())() };
    }
}

/// Calls `main` and ends the process with its value, as C's start-up code does.
///
/// # Safety
/// `main` must be the address of a linked function with C's `main` signature.
pub(crate) unsafe fn run_main(main: ExecutorAddr, arguments: Arguments) -> ! {
    // SAFETY: the caller's duty; `exit` runs handlers that the program registered, on the program's main thread.
    unsafe {
        let main = std::mem::transmute::<*const (), Main>(main.get() as *const ());
        let status = main(arguments.count, arguments.pointer(), host::environ());
        libc::exit(status)
    }
}
