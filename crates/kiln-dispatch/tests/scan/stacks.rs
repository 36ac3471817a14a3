//! Where a thread's stack is.

use crate::rig::{
    Body, Thread, alone, flag, holds, own_tid, patient, patient_for, pipe, ranges, read_byte, scan_for,
    until_asleep_in, wait_for, wait_for_tid, write_byte,
};
use kiln_dispatch::scan::{Obstacle, Options, Reason, Tid, note_coroutines, scan};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

/// A thread on an alternate stack that interrupted a body, which another had called.
struct Interrupted {
    outer: Body,
    inner: Body,
    go_on: &'static AtomicU32,
    thread: Thread<()>,
}

struct Spin {
    body: Body,
    began: &'static AtomicU32,
    go_on: &'static AtomicU32,
}

extern "C" fn spin(spin: usize) -> i64 {
    // SAFETY: a `Spin` of this test, which lives as long as the process.
    let spin = unsafe { &*ptr::with_exposed_provenance::<Spin>(spin) };
    spin.body.spin(spin.began, spin.go_on);
    0
}

impl Interrupted {
    /// Has `handler` run on an alternate stack.
    fn by(handler: extern "C" fn(i32)) -> Interrupted {
        let (outer, inner, began, go_on) = (Body::calling(), Body::spinning(), flag(), flag());
        let argument: &Spin = Box::leak(Box::new(Spin { body: inner, began, go_on }));
        let argument = ptr::from_ref(argument).expose_provenance();
        let thread = Thread::start(move || {
            use_alternate_stack();
            outer.call(spin, argument);
        });
        wait_for(began);
        // SAFETY: all-zero is a valid `sigaction`; the handler has its type; the thread lives.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_ONSTACK;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut()), 0);
            assert_eq!(libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.tid.0, libc::SIGUSR1), 0);
        }
        Interrupted { outer, inner, go_on, thread }
    }

    fn is_held(&self) {
        for body in [self.outer, self.inner] {
            let report = scan_for(body);
            assert!(holds(&report, self.thread.tid) && report.is_conclusive(), "{report:?}");
        }
    }

    fn ends(self) {
        self.go_on.store(1, Ordering::Release);
        self.thread.join();
        for body in [self.outer, self.inner] {
            let report = scan_for(body);
            assert!(report.is_free(0), "{report:?}");
        }
    }
}

fn use_alternate_stack() {
    const BYTES: usize = 64 << 10;
    let memory = Box::leak(vec![0u8; BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: BYTES };
    // SAFETY: memory of our own, which lives as long as the process.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) }, 0);
}

#[test]
fn trap_14_a_thread_asleep_in_a_handler_on_an_alternate_stack() {
    static DESCRIPTOR: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handler(_: i32) {
        read_byte(DESCRIPTOR.load(Ordering::Relaxed) as usize);
    }
    alone("stacks::trap_14_a_thread_asleep_in_a_handler_on_an_alternate_stack", || {
        let (output, input) = pipe();
        DESCRIPTOR.store(output, Ordering::Relaxed);
        let interrupted = Interrupted::by(handler);
        until_asleep_in(interrupted.thread.tid, libc::SYS_read);
        interrupted.is_held();
        write_byte(input);
        interrupted.ends();
    });
}

#[test]
fn trap_14_a_thread_running_in_a_handler_on_an_alternate_stack() {
    static BEGAN: AtomicU32 = AtomicU32::new(0);
    static GO_ON: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: i32) {
        BEGAN.store(1, Ordering::Release);
        while GO_ON.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
        }
    }
    alone("stacks::trap_14_a_thread_running_in_a_handler_on_an_alternate_stack", || {
        let interrupted = Interrupted::by(handler);
        wait_for(&BEGAN);
        interrupted.is_held();
        GO_ON.store(1, Ordering::Release);
        interrupted.ends();
    });
}

/// Starts a thread of libc's with a stack of 16 KiB, the least there may be.
fn start_on_small_stack(function: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void) -> libc::pthread_t {
    // SAFETY: structures of our own; the function has its type.
    unsafe {
        let mut attributes = std::mem::zeroed();
        let mut thread = 0;
        assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
        assert_eq!(libc::pthread_attr_setstacksize(&raw mut attributes, 16 << 10), 0);
        assert_eq!(libc::pthread_create(&raw mut thread, &raw const attributes, function, ptr::null_mut()), 0);
        thread
    }
}

#[test]
fn trap_12_a_running_thread_with_16_kilobytes_of_stack() {
    static BODY: std::sync::OnceLock<Body> = std::sync::OnceLock::new();
    static TID: AtomicI32 = AtomicI32::new(0);
    static BEGAN: AtomicU32 = AtomicU32::new(0);
    static GO_ON: AtomicU32 = AtomicU32::new(0);
    extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
        TID.store(own_tid().0, Ordering::Release);
        BODY.get().unwrap().spin(&BEGAN, &GO_ON);
        ptr::null_mut()
    }
    alone("stacks::trap_12_a_running_thread_with_16_kilobytes_of_stack", || {
        let body = *BODY.get_or_init(Body::spinning);
        let thread = start_on_small_stack(run);
        wait_for(&BEGAN);
        for _ in 0..10 {
            let report = scan_for(body);
            assert!(holds(&report, wait_for_tid(&TID)) && report.is_conclusive(), "{report:?}");
        }
        GO_ON.store(1, Ordering::Release);
        // SAFETY: started above, and joined once.
        assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
        assert!(scan_for(body).is_free(0));
    });
}

thread_local! {
    static MAIN: Cell<*mut libc::ucontext_t> = const { Cell::new(ptr::null_mut()) };
    static COROUTINE: Cell<*mut libc::ucontext_t> = const { Cell::new(ptr::null_mut()) };
}

static IN_COROUTINE: AtomicUsize = AtomicUsize::new(0);

/// Reads a byte, then goes back to where the coroutine was entered.
extern "C" fn read_and_leave(descriptor: usize) -> i64 {
    let read = read_byte(descriptor);
    // SAFETY: both contexts are set by `coroutine`.
    unsafe { libc::swapcontext(COROUTINE.get(), MAIN.get()) };
    read
}

/// Runs `entry` on a stack of its own until it leaves.
fn coroutine(entry: extern "C" fn()) {
    const BYTES: usize = 256 << 10;
    // SAFETY: contexts and a stack that live as long as the process.
    unsafe {
        let main: *mut libc::ucontext_t = Box::leak(Box::new(std::mem::zeroed()));
        let own: *mut libc::ucontext_t = Box::leak(Box::new(std::mem::zeroed()));
        assert_eq!(libc::getcontext(own), 0);
        (*own).uc_stack.ss_sp = Box::leak(vec![0u8; BYTES].into_boxed_slice()).as_mut_ptr().cast();
        (*own).uc_stack.ss_size = BYTES;
        (*own).uc_link = main;
        MAIN.set(main);
        COROUTINE.set(own);
        libc::makecontext(own, entry, 0);
        assert_eq!(libc::swapcontext(main, own), 0);
    }
}

/// While a thread is on a coroutine's stack it is not known what else it left, and when it has left that stack, the
/// body is still in use there.
#[test]
fn trap_13_a_thread_on_a_coroutines_stack() {
    static BODY: std::sync::OnceLock<Body> = std::sync::OnceLock::new();
    extern "C" fn entry() {
        BODY.get().unwrap().call(read_and_leave, IN_COROUTINE.load(Ordering::Relaxed));
    }
    alone("stacks::trap_13_a_thread_on_a_coroutines_stack", || {
        let body = *BODY.get_or_init(Body::calling);
        let (output, input) = pipe();
        IN_COROUTINE.store(output as usize, Ordering::Relaxed);
        let (left, leave) = pipe();
        let thread = Thread::start(move || {
            coroutine(entry);
            read_byte(left as usize)
        });
        until_asleep_in(thread.tid, libc::SYS_read);
        let report = scan_for(body);
        assert!(holds(&report, thread.tid), "{report:?}");
        assert_eq!(report.uninspected, [(thread.tid, Reason::UnknownStack)]);
        write_byte(input);
        // The thread reads once more, on its own stack now.
        while !scan_for(body).uninspected.is_empty() {}
        until_asleep_in(thread.tid, libc::SYS_read);
        let report = scan_for(body);
        assert!(report.obstacles.contains(&Obstacle::Coroutines) && !report.is_free(0), "{report:?}");
        write_byte(leave);
        thread.join();
    });
}

#[test]
fn trap_13_nothing_is_free_in_a_program_with_coroutines() {
    alone("stacks::trap_13_nothing_is_free_in_a_program_with_coroutines", || {
        let body = Body::calling();
        assert!(scan_for(body).is_free(0));
        note_coroutines();
        let report = scan_for(body);
        assert_eq!(report.obstacles, [Obstacle::Coroutines]);
        assert!(!report.is_free(0));
    });
}

/// The scanning thread is in a body itself.
#[test]
fn the_scanning_thread_holds_what_called_it() {
    static BODY: std::sync::OnceLock<Body> = std::sync::OnceLock::new();
    static HOLDS: AtomicU32 = AtomicU32::new(0);
    extern "C" fn scan_here(_: usize) -> i64 {
        let options = Options { own_stack_from: None, ..patient() };
        let report = scan(&ranges(&[*BODY.get().unwrap()]), &options);
        HOLDS.store(holds(&report, own_tid()).into(), Ordering::Relaxed);
        0
    }
    alone("stacks::the_scanning_thread_holds_what_called_it", || {
        let body = *BODY.get_or_init(Body::calling);
        body.call(scan_here, 0);
        assert_eq!(HOLDS.load(Ordering::Relaxed), 1);
        assert!(scan_for(body).is_free(0));
    });
}

/// A thread that is no thread of libc's has no known stack: nothing is free while it lives.
#[test]
fn a_thread_made_by_clone_is_not_understood() {
    static TID: AtomicI32 = AtomicI32::new(0);
    extern "C" fn run(descriptor: *mut libc::c_void) -> i32 {
        // SAFETY: bare system calls; there is no control block that libc's functions could use.
        unsafe {
            let mut byte = 0u8;
            std::arch::asm!("syscall", inlateout("rax") libc::SYS_read => _, in("rdi") descriptor,
                in("rsi") &raw mut byte, in("rdx") 1, out("rcx") _, out("r11") _);
            std::arch::asm!("syscall", in("rax") libc::SYS_exit, in("rdi") 0, options(noreturn));
        }
    }
    alone("stacks::a_thread_made_by_clone_is_not_understood", || {
        let body = Body::calling();
        let (output, input) = pipe();
        let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        let stack = Box::leak(vec![0u128; 4096].into_boxed_slice()).as_mut_ptr_range().end;
        // SAFETY: a stack that lives as long as the process.
        let tid = unsafe { libc::clone(run, stack.cast(), flags, output as usize as *mut libc::c_void) };
        assert!(tid > 0);
        TID.store(tid, Ordering::Release);
        until_asleep_in(Tid(tid), libc::SYS_read);
        let report = scan(&ranges(&[body]), &patient_for(Duration::from_millis(20)));
        assert!(report.uninspected.contains(&(Tid(tid), Reason::UnknownStack)), "{report:?}");
        write_byte(input);
        while !scan_for(body).is_free(0) {}
    });
}
