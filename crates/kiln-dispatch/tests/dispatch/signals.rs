//! First calls from signal handlers, and signals during first calls.

use crate::native::symbol;
use crate::rig::{self, Memory, compile_once, plain, until_asleep_in_futex};
use kiln_dispatch::{FunctionIndex, FunctionTable};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

/// A table that handlers and bare threads can get at.
type Shared = OnceLock<&'static FunctionTable>;

fn call(table: &Shared, n: u32) -> u32 {
    plain(table.get().unwrap(), FunctionIndex(n))()
}

/// A signal number per test, so that tests run side by side.
fn own_signal(test: i32) -> i32 {
    libc::SIGRTMIN() + test
}

fn handle(signal: i32, handler: extern "C" fn(i32), flags: i32) {
    // SAFETY: the handlers of this file do what a handler may, and first calls.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, ptr::null_mut()), 0);
    }
}

/// A table of `count` functions that return their index, whose compiles call `meanwhile`.
fn table(count: u32, meanwhile: impl Fn(FunctionIndex) + Sync + 'static) -> &'static FunctionTable {
    let memory = Memory::two_views(4 << 20);
    let (table, _) = rig::table(memory, move |table, function| {
        compile_once(table, function, &|| {
            meanwhile(function);
            memory.returns(function.0)
        })
    });
    table.allocate(count).unwrap();
    table
}

#[test]
fn trap_12_a_first_call_on_an_alternate_stack() {
    static TABLE: Shared = OnceLock::new();
    static ON_ALTERNATE: AtomicBool = AtomicBool::new(false);
    static RESULT: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: i32) {
        let mut stack: MaybeUninit<libc::stack_t> = MaybeUninit::uninit();
        // SAFETY: only asks.
        unsafe {
            libc::sigaltstack(ptr::null(), stack.as_mut_ptr());
            ON_ALTERNATE.store(stack.assume_init().ss_flags & libc::SS_ONSTACK != 0, Ordering::Relaxed);
        }
        RESULT.store(call(&TABLE, 12), Ordering::Relaxed);
    }
    TABLE.set(table(13, |_| use_stack())).unwrap();
    handle(own_signal(1), handler, libc::SA_ONSTACK);
    // What the kernel needs for the frame, and 2 KiB for the handler.
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) }.max(libc::MINSIGSTKSZ as u64) as usize + 2048;
    let mut stack = vec![0u8; bytes];
    let new = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: bytes };
    let mut old = MaybeUninit::uninit();
    // SAFETY: the stack outlives its use; the old one is put back.
    unsafe {
        assert_eq!(libc::sigaltstack(&raw const new, old.as_mut_ptr()), 0);
        libc::raise(own_signal(1));
        assert_eq!(libc::sigaltstack(old.as_ptr(), ptr::null_mut()), 0);
    }
    assert!(ON_ALTERNATE.load(Ordering::Relaxed));
    assert_eq!(RESULT.load(Ordering::Relaxed), 12);
}

/// More than a small thread has, and the engine may.
fn use_stack() {
    let mut buffer = [1u8; 128 << 10];
    std::hint::black_box(&mut buffer);
}

#[test]
fn trap_12_a_first_call_on_a_16_kb_thread_stack() {
    static TABLE: Shared = OnceLock::new();
    extern "C" fn thread(_: *mut libc::c_void) -> *mut libc::c_void {
        ptr::without_provenance_mut(call(&TABLE, 16) as usize)
    }
    TABLE.set(table(17, |_| use_stack())).unwrap();
    let mut attributes = MaybeUninit::uninit();
    let mut id = MaybeUninit::uninit();
    let mut result = ptr::null_mut();
    // SAFETY: plain use of the thread functions.
    unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        assert_eq!(libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), 16 << 10), 0);
        assert_eq!(libc::pthread_create(id.as_mut_ptr(), attributes.as_ptr(), thread, ptr::null_mut()), 0);
        libc::pthread_join(id.assume_init(), &raw mut result);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    assert_eq!(result.addr(), 16);
}

/// A thread does nothing but `malloc_trim` on a heap full of holes, which holds the heap's lock all the while; each of
/// its interruptions makes a first call. If those took the lock, one would wait for itself.
#[test]
fn trap_12_a_first_call_in_a_handler_that_interrupted_malloc() {
    const WANTED: u32 = 100;
    static TABLE: Shared = OnceLock::new();
    static INSIDE: AtomicBool = AtomicBool::new(false);
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    static PENDING: AtomicBool = AtomicBool::new(false);
    static TID: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handler(_: i32) {
        let n = HANDLED.load(Ordering::Relaxed);
        if INSIDE.load(Ordering::Relaxed) && n < WANTED {
            assert_eq!(call(&TABLE, n), n);
            HANDLED.store(n + 1, Ordering::Relaxed);
        }
        PENDING.store(false, Ordering::Relaxed);
    }
    TABLE.set(table(WANTED, |_| ())).unwrap();
    handle(own_signal(2), handler, libc::SA_RESTART);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: asks for a number.
            TID.store(unsafe { libc::gettid() }, Ordering::Release);
            let mut blocks: Vec<Option<Vec<u8>>> = (0..1000).map(|_| Some(vec![1; 16 << 10])).collect();
            blocks.iter_mut().step_by(2).for_each(|block| *block = None);
            while HANDLED.load(Ordering::Relaxed) < WANTED {
                INSIDE.store(true, Ordering::Relaxed);
                // SAFETY: always callable.
                unsafe { libc::malloc_trim(0) };
                INSIDE.store(false, Ordering::Relaxed);
            }
        });
        while HANDLED.load(Ordering::Relaxed) < WANTED {
            let tid = TID.load(Ordering::Acquire);
            if tid != 0 && !PENDING.swap(true, Ordering::Relaxed) {
                send(tid, own_signal(2));
            }
            std::thread::yield_now();
        }
    });
}

fn send(tid: i32, signal: i32) {
    // SAFETY: a signal that is handled.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
}

/// Sends a signal to the calling thread alone.
fn send_self(signal: i32) {
    // SAFETY: asks for a number.
    send(unsafe { libc::gettid() }, signal);
}

/// Thread A compiles; the handler that interrupts B calls the same function and sleeps until A is done.
#[test]
fn trap_12_a_handler_calls_the_function_that_another_thread_compiles() {
    static TABLE: Shared = OnceLock::new();
    static COMPILING: AtomicBool = AtomicBool::new(false);
    static GO_ON: AtomicBool = AtomicBool::new(false);
    static COMPILES: AtomicU32 = AtomicU32::new(0);
    static RESULT: AtomicU32 = AtomicU32::new(u32::MAX);
    static B: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handler(_: i32) {
        RESULT.store(call(&TABLE, 3), Ordering::Relaxed);
    }
    let compile = |_| {
        COMPILES.fetch_add(1, Ordering::Relaxed);
        COMPILING.store(true, Ordering::Relaxed);
        while !GO_ON.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    };
    TABLE.set(table(4, compile)).unwrap();
    handle(own_signal(3), handler, 0);
    std::thread::scope(|scope| {
        let a = scope.spawn(|| call(&TABLE, 3));
        while !COMPILING.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        scope.spawn(|| {
            // SAFETY: asks for a number.
            B.store(unsafe { libc::gettid() }, Ordering::Relaxed);
            send_self(own_signal(3));
        });
        while B.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        until_asleep_in_futex(B.load(Ordering::Relaxed));
        assert_eq!(RESULT.load(Ordering::Relaxed), u32::MAX);
        GO_ON.store(true, Ordering::Relaxed);
        assert_eq!(a.join().unwrap(), 3);
    });
    assert_eq!(RESULT.load(Ordering::Relaxed), 3);
    assert_eq!(COMPILES.load(Ordering::Relaxed), 1);
}

/// A signal that comes during the compile runs its handler afterwards, before the body, and the handler may call the
/// very function.
#[test]
fn trap_12_a_signal_during_a_compile_is_delivered_after_it() {
    static TABLE: Shared = OnceLock::new();
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    static HANDLED_AT_BODY: AtomicU32 = AtomicU32::new(u32::MAX);
    extern "C" fn handler(_: i32) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
        call(&TABLE, 0);
    }
    extern "C" fn body() -> u32 {
        HANDLED_AT_BODY.store(HANDLED.load(Ordering::Relaxed), Ordering::Relaxed);
        5
    }
    let memory = Memory::two_views(1 << 20);
    let (table, function) = rig::function(memory, move || {
        send_self(own_signal(4));
        assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
        memory.native(body as *const () as usize)
    });
    assert_eq!(function, FunctionIndex(0));
    TABLE.set(table).unwrap();
    handle(own_signal(4), handler, 0);
    assert_eq!(call(&TABLE, 0), 5);
    assert_eq!(HANDLED.load(Ordering::Relaxed), 1);
    assert_eq!(HANDLED_AT_BODY.load(Ordering::Relaxed), 1);
}

/// The signals of the process as `/proc` shows them, so that nothing of libc's stands between.
fn blocked() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
    u64::from_str_radix(mask, 16).unwrap()
}

#[test]
fn trap_12_all_signals_are_blocked_while_the_engine_works() {
    static DURING: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    let table = table(2, |function| DURING[function.0 as usize].store(blocked() as usize, Ordering::Relaxed));
    let everything = !(1u64 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));
    let before = blocked();
    for n in 0..2 {
        plain(table, FunctionIndex(n))();
        assert_eq!(DURING[n as usize].load(Ordering::Relaxed) as u64, everything);
        assert_eq!(blocked(), before);
    }
}

/// A handler may leave by `siglongjmp` as soon as it can run: by then the thread holds no stack of the engine. It does
/// so three times for each stack there is.
#[test]
fn trap_12_a_handler_jumps_out_of_a_first_call() {
    let count = 3 * rig::STACKS as u32;
    let table = table(count, |_| send_self(own_signal(5)));
    // SAFETY: the type it has in `native.c`.
    let escape: extern "C" fn(i32, rig::Plain) -> i32 = unsafe { std::mem::transmute(symbol("escape")) };
    for n in 0..count {
        assert_eq!(escape(own_signal(5), plain(table, FunctionIndex(n))), own_signal(5));
        assert_eq!(plain(table, FunctionIndex(n))(), n);
    }
}

/// A thread that was told to end goes on through a first call, even past a cancellation point in the engine.
#[test]
fn trap_12_a_cancelled_thread_finishes_its_first_call() {
    let table = table(9, |_| {
        // SAFETY: waits for nothing, for no time.
        unsafe { libc::poll(ptr::null_mut(), 0, 0) };
    });
    // SAFETY: the type it has in `native.c`.
    let call_cancelled: extern "C" fn(rig::Plain) -> i32 = unsafe { std::mem::transmute(symbol("call_cancelled")) };
    assert_eq!(call_cancelled(plain(table, FunctionIndex(8))), 8);
}
