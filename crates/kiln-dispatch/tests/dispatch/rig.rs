//! What every test needs: stub memory, bodies, and a resolver that hands them out.

use kiln_abi::ExecutorAddr;
use kiln_dispatch::{Claim, FunctionIndex, FunctionTable, Resolve, StubBlock, StubMemory};
use std::error::Error;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// Code memory of its own, which is never given back.
pub(crate) struct Memory {
    executor: usize,
    working: usize,
    bytes: usize,
    used: AtomicUsize,
    pub(crate) barriers: AtomicUsize,
}

impl Memory {
    /// Two views of one file, as in a real session.
    pub(crate) fn two_views(bytes: usize) -> &'static Memory {
        // SAFETY: new mappings of a new file.
        unsafe {
            let file = libc::memfd_create(c"code".as_ptr(), 0);
            assert!(file >= 0 && libc::ftruncate(file, bytes as libc::off_t) == 0);
            let executor = map(bytes, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_SHARED, file);
            let working = map(bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file);
            Memory::leak(executor, working, bytes)
        }
    }

    /// One private view: what a forked child stores is its own.
    pub(crate) fn private(bytes: usize) -> &'static Memory {
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: a new mapping.
        let view = unsafe { map(bytes, all, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1) };
        Memory::leak(view, view, bytes)
    }

    fn leak(executor: usize, working: usize, bytes: usize) -> &'static Memory {
        register_for_barriers();
        Box::leak(Box::new(Memory {
            executor,
            working,
            bytes,
            used: AtomicUsize::new(0),
            barriers: AtomicUsize::new(0),
        }))
    }

    fn take(&self, bytes: usize) -> Option<usize> {
        let offset = self.used.fetch_add(bytes.next_multiple_of(16), Ordering::Relaxed);
        (offset + bytes <= self.bytes).then_some(offset)
    }

    /// Publishes a body.
    pub(crate) fn code(&self, bytes: &[u8]) -> ExecutorAddr {
        let offset = self.take(bytes.len()).expect("the test's memory is big enough");
        let place = std::ptr::with_exposed_provenance_mut::<u8>(self.working + offset);
        // SAFETY: inside the working view, and `take` gives each byte to one caller only.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.synchronize();
        ExecutorAddr::new((self.executor + offset) as u64)
    }

    /// Publishes a body that returns `value`.
    pub(crate) fn returns(&self, value: u32) -> ExecutorAddr {
        let [a, b, c, d] = value.to_le_bytes();
        self.code(&[0xb8, a, b, c, d, 0xc3]) // mov eax, value; ret
    }

    /// Publishes a body that is `function`, wherever that is.
    pub(crate) fn native(&self, function: usize) -> ExecutorAddr {
        let mut code = vec![0xff, 0x25, 0, 0, 0, 0]; // jmp qword ptr [rip]
        code.extend_from_slice(&function.to_le_bytes());
        self.code(&code)
    }
}

// SAFETY: `take` gives every byte away once, the working view shows at the executor address, and nothing is unmapped.
unsafe impl StubMemory for Memory {
    fn reserve(&self, bytes: u64, align: u64) -> Result<StubBlock, Box<dyn Error + Send + Sync>> {
        assert!(align <= 16);
        let offset = self.take(bytes as usize).ok_or("the test's memory is full")?;
        let working = std::ptr::with_exposed_provenance_mut(self.working + offset);
        Ok(StubBlock {
            executor: ExecutorAddr::new((self.executor + offset) as u64),
            working: NonNull::new(working).unwrap(),
        })
    }

    fn synchronize(&self) {
        self.barriers.fetch_add(1, Ordering::Relaxed);
        membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
    }
}

unsafe fn map(bytes: usize, protection: i32, flags: i32, file: i32) -> usize {
    // SAFETY: a mapping at an address of the kernel's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file, 0) };
    assert_ne!(address, libc::MAP_FAILED);
    address.expose_provenance()
}

fn register_for_barriers() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE));
}

fn membarrier(command: i32) {
    // SAFETY: touches no memory.
    assert_eq!(unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }, 0);
}

/// A resolver that calls a closure with the table.
pub(crate) struct Resolver<F> {
    table: OnceLock<&'static FunctionTable>,
    resolve: F,
    pub(crate) entered: AtomicUsize,
}

impl<F: Fn(&'static FunctionTable, FunctionIndex) -> ExecutorAddr + Sync> Resolve for Resolver<F> {
    fn resolve(&self, function: FunctionIndex) -> ExecutorAddr {
        self.entered.fetch_add(1, Ordering::Relaxed);
        (self.resolve)(self.table.get().unwrap(), function)
    }
}

/// A table whose first calls go to `resolve`.
pub(crate) fn table<F>(memory: &'static Memory, resolve: F) -> (&'static FunctionTable, &'static Resolver<F>)
where
    F: Fn(&'static FunctionTable, FunctionIndex) -> ExecutorAddr + Sync + 'static,
{
    table_in(memory, resolve)
}

/// The same with stubs wherever the caller wants them.
pub(crate) fn table_in<F>(memory: &'static dyn StubMemory, resolve: F) -> (&'static FunctionTable, &'static Resolver<F>)
where
    F: Fn(&'static FunctionTable, FunctionIndex) -> ExecutorAddr + Sync + 'static,
{
    let resolver: &'static Resolver<F> =
        Box::leak(Box::new(Resolver { table: OnceLock::new(), resolve, entered: AtomicUsize::new(0) }));
    let table = FunctionTable::new(memory, resolver).unwrap();
    assert!(resolver.table.set(table).is_ok());
    (table, resolver)
}

/// A table with one function, whose body `compile` makes at the first call.
pub(crate) fn function(
    memory: &'static Memory,
    compile: impl Fn() -> ExecutorAddr + Sync + 'static,
) -> (&'static FunctionTable, FunctionIndex) {
    let (table, _) = table(memory, move |table, function| compile_once(table, function, &compile));
    (table, table.allocate(1).unwrap())
}

/// Claims `function`, and compiles and installs it if nobody else does.
pub(crate) fn compile_once(
    table: &FunctionTable,
    function: FunctionIndex,
    compile: &dyn Fn() -> ExecutorAddr,
) -> ExecutorAddr {
    match table.claim_or_wait(function) {
        Claim::Mine => {
            let body = compile();
            table.install(&[(function, body)]).unwrap();
            body
        }
        Claim::Installed(body) => body,
        claim => panic!("{claim:?}"),
    }
}

/// The stub as something to call.
///
/// # Safety
///
/// `F` is a function pointer type that fits the bodies of `function`.
pub(crate) unsafe fn callable<F: Copy>(table: &FunctionTable, function: FunctionIndex) -> F {
    let address = table.stub(function).get() as usize;
    assert_eq!(size_of::<F>(), size_of::<usize>());
    // SAFETY: same size; the caller vouches for the type.
    unsafe { std::mem::transmute_copy(&address) }
}

pub(crate) type Plain = extern "C" fn() -> u32;

/// The stub of a body that takes nothing and returns a number.
pub(crate) fn plain(table: &FunctionTable, function: FunctionIndex) -> Plain {
    // SAFETY: the tests that use this have bodies made by `returns`, or functions of this type.
    unsafe { callable(table, function) }
}

/// Waits until thread `tid` sleeps in `futex`.
pub(crate) fn until_asleep_in_futex(tid: libc::pid_t) {
    let futex = format!("{} ", libc::SYS_futex);
    while !std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap().starts_with(&futex) {
        std::thread::yield_now();
    }
}

/// Held by a test that fills all stacks of the engine and waits until it has them.
pub(crate) static ALL_STACKS: Mutex<()> = Mutex::new(());

/// Number of stacks of the engine.
pub(crate) const STACKS: usize = 64;
