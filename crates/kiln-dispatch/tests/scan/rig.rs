//! What every test needs: a process of its own, bodies, threads in them, and scans.

use kiln_abi::ExecutorAddr;
use kiln_dispatch::scan::{Options, Ranges, Report, Tid, scan};
use std::cell::Cell;
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs `test`, whose path in this binary is `name`, in a process of its own.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    const VARIABLE: &str = "KILN_SCAN_TEST_ALONE";
    if std::env::var_os(VARIABLE).is_some() {
        return known_frames(test);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--test-threads=1", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{name}: {:?}\n{text}", output.status);
}

thread_local! {
    /// Where the test's frames on this thread end.
    static OWN_STACK_FROM: Cell<Option<ExecutorAddr>> = const { Cell::new(None) };
}

/// Runs a part of a test on a new thread: its frames know the ranges, as an engine's do, and scans by this thread leave
/// them out.
pub(crate) fn known_frames<T>(part: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn below<T>(part: impl FnOnce() -> T) -> T {
        part()
    }
    let above = 0u64;
    OWN_STACK_FROM.set(Some(ExecutorAddr::new((&raw const above).addr() as u64)));
    below(part)
}

/// Code that stands for a compiled body.
///
/// Its address is kept inverted: what a thread holds to call it must not be found on its stack.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    hidden: u64,
    bytes: u64,
}

/// `fn(function, argument)`: calls `function(argument)` and returns what it does.
const CALL: &[u8] = &[
    0x53, // push rbx
    0x48, 0x89, 0xf8, // mov rax, rdi
    0x48, 0x89, 0xf7, // mov rdi, rsi
    0xff, 0xd0, // call rax
    0x5b, // pop rbx
    0xc3, // ret
];

/// `fn(began, go_on)`: sets `*began` and spins until `*go_on` is set.
const SPIN: &[u8] = &[
    0xc7, 0x07, 0x01, 0x00, 0x00, 0x00, // mov dword ptr [rdi], 1
    0xf3, 0x90, // pause
    0x83, 0x3e, 0x00, // cmp dword ptr [rsi], 0
    0x74, 0xf9, // je -7
    0xc3, // ret
];

/// `fn(number, a, b)`: a system call.
const SYSTEM_CALL: &[u8] = &[
    0x48, 0x89, 0xf8, // mov rax, rdi
    0x48, 0x89, 0xf7, // mov rdi, rsi
    0x48, 0x89, 0xd6, // mov rsi, rdx
    0x31, 0xd2, // xor edx, edx
    0x45, 0x31, 0xd2, // xor r10d, r10d
    0x0f, 0x05, // syscall
    0xc3, // ret
];

impl Body {
    fn of(code: &[u8]) -> Body {
        const PAGE: usize = 4096;
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: a new mapping, which the code fits in.
        unsafe {
            let page = libc::mmap(std::ptr::null_mut(), PAGE, all, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            page.cast::<u8>().copy_from_nonoverlapping(code.as_ptr(), code.len());
            Body { hidden: !(page.addr() as u64), bytes: code.len() as u64 }
        }
    }

    /// A body that calls what it is told to.
    pub(crate) fn calling() -> Body {
        Body::of(CALL)
    }

    /// The same, whose last instruction is the call.
    pub(crate) fn ending_with_a_call() -> Body {
        Body::of(&CALL[..CALL.len() - 2])
    }

    /// A body that spins.
    pub(crate) fn spinning() -> Body {
        Body::of(SPIN)
    }

    /// A body that makes a system call itself.
    pub(crate) fn in_system_call() -> Body {
        Body::of(SYSTEM_CALL)
    }

    fn address(self) -> u64 {
        std::hint::black_box(!self.hidden)
    }

    /// Calls a body of [`calling`](Self::calling).
    #[inline(never)]
    pub(crate) fn call(self, function: extern "C" fn(usize) -> i64, argument: usize) -> i64 {
        type Call = extern "C" fn(extern "C" fn(usize) -> i64, usize) -> i64;
        // SAFETY: `CALL` has this type.
        let code: Call = unsafe { std::mem::transmute(self.address() as usize) };
        code(function, argument)
    }

    /// Calls a body of [`spinning`](Self::spinning).
    #[inline(never)]
    pub(crate) fn spin(self, began: &AtomicU32, go_on: &AtomicU32) {
        // SAFETY: `SPIN` has this type.
        let code: extern "C" fn(*mut u32, *mut u32) = unsafe { std::mem::transmute(self.address() as usize) };
        code(began.as_ptr(), go_on.as_ptr());
    }

    /// Calls a body of [`in_system_call`](Self::in_system_call).
    #[inline(never)]
    pub(crate) fn system_call(self, number: i64, a: usize, b: usize) -> i64 {
        // SAFETY: `SYSTEM_CALL` has this type.
        let code: extern "C" fn(i64, usize, usize) -> i64 = unsafe { std::mem::transmute(self.address() as usize) };
        code(number, a, b)
    }
}

/// The ranges of bodies. Index `n` is that of body `n` if the addresses rise, so there is [`index`].
#[inline(never)]
pub(crate) fn ranges(bodies: &[Body]) -> Ranges {
    Ranges::new(bodies.iter().map(|body| {
        let start = ExecutorAddr::new(body.address());
        start..start + body.bytes
    }))
    .unwrap()
}

/// Which of the ranges is that of `body`.
#[inline(never)]
pub(crate) fn index(ranges: &Ranges, body: Body) -> usize {
    (0..ranges.len()).find(|&n| ranges.get(n).start.get() == body.address()).unwrap()
}

/// A scan that has all the time it needs.
pub(crate) fn patient() -> Options {
    patient_for(Duration::from_secs(60))
}

/// A scan that gives up after `patience`.
pub(crate) fn patient_for(patience: Duration) -> Options {
    Options { patience, own_stack_from: OWN_STACK_FROM.get() }
}

/// Scans for one body.
pub(crate) fn scan_for(body: Body) -> Report {
    scan(&ranges(&[body]), &patient())
}

/// Whether `tid` holds range 0.
pub(crate) fn holds(report: &Report, tid: Tid) -> bool {
    report.holders.contains(&(tid, 0))
}

/// Whether `tid` was asked by a signal. Others may be, such as the main thread before it falls asleep.
pub(crate) fn was_asked(report: &Report, tid: Tid) -> bool {
    report.pauses.iter().any(|&(asked, _)| asked == tid)
}

/// A thread whose number is known.
pub(crate) struct Thread<T> {
    pub(crate) tid: Tid,
    handle: JoinHandle<T>,
}

impl<T> Thread<T> {
    /// Starts a thread and waits until its number is known.
    pub(crate) fn start(body: impl FnOnce() -> T + Send + 'static) -> Thread<T>
    where
        T: Send + 'static,
    {
        let tid: &'static AtomicI32 = Box::leak(Box::new(AtomicI32::new(0)));
        let handle = std::thread::spawn(move || {
            tid.store(own_tid().0, Ordering::Release);
            body()
        });
        Thread { tid: wait_for_tid(tid), handle }
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.handle.is_finished()
    }

    pub(crate) fn join(self) -> T {
        self.handle.join().unwrap()
    }
}

pub(crate) fn own_tid() -> Tid {
    // SAFETY: touches nothing.
    Tid(unsafe { libc::gettid() })
}

/// Waits until `tid` is not 0.
pub(crate) fn wait_for_tid(tid: &AtomicI32) -> Tid {
    while tid.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    Tid(tid.load(Ordering::Acquire))
}

/// Waits until `flag` is set.
pub(crate) fn wait_for(flag: &AtomicU32) {
    while flag.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
}

/// Waits until thread `tid` sleeps in system call `number`.
pub(crate) fn until_asleep_in(tid: Tid, number: i64) {
    let number = format!("{number} ");
    while !std::fs::read_to_string(format!("/proc/self/task/{}/syscall", tid.0)).unwrap().starts_with(&number) {
        std::thread::yield_now();
    }
}

/// A flag that lives as long as the process.
pub(crate) fn flag() -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(0)))
}

/// A pipe: what to read, what to write.
pub(crate) fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: writes two numbers.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    (ends[0], ends[1])
}

/// Reads one byte from the descriptor; what `read` returned.
pub(crate) extern "C" fn read_byte(descriptor: usize) -> i64 {
    let mut byte = 0u8;
    // SAFETY: writes one byte.
    unsafe { libc::read(descriptor as i32, (&raw mut byte).cast(), 1) as i64 }
}

/// Writes one byte.
pub(crate) fn write_byte(descriptor: i32) {
    // SAFETY: reads one byte.
    assert_eq!(unsafe { libc::write(descriptor, c"x".as_ptr().cast(), 1) }, 1);
}

/// Blocks all signals of the calling thread.
pub(crate) fn block_all_signals() {
    // SAFETY: changes the mask of the calling thread.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut()), 0);
    }
}
