//! The function table.

use crate::chunk::{Chunk, Location, MAX_CHUNKS, MAX_FUNCTIONS, locate};
use crate::error::{Error, ErrorKind};
use crate::index::FunctionIndex;
use crate::memory::StubMemory;
use crate::state::{self, State};
use crate::sync::{AtomicU64, Futex};
use crate::{fork, stack, x86_64};
use kiln_abi::ExecutorAddr;
use kiln_abi::x86_64::{STUB_BYTES, STUB_RESOLVE_OFFSET, stub_target, stub_word};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Finds the code of a function that is called for the first time.
pub trait Resolve: Sync {
    /// Where the call of `function` shall go on; typically claims it, compiles and installs.
    ///
    /// Runs on the thread that called, on a stack of the engine, with all signals blocked and with the default
    /// floating-point modes; `errno` and thread cancellation are taken care of. The crate's contract lists what it must
    /// not do. If there is no way to get the function, it returns the address of something that says so.
    ///
    /// The address may be anywhere in the process. Before it is entered, the core executes a serialising operation,
    /// so it may be a body that another thread published and that this one only heard of.
    fn resolve(&self, function: FunctionIndex) -> ExecutorAddr;
}

/// What [`FunctionTable::claim`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The calling thread is the owner now and must settle the function.
    Mine,
    /// Another thread makes the body: [`wait`](FunctionTable::wait).
    Other,
    /// There is a body.
    Installed(ExecutorAddr),
    /// There will be none.
    Failed,
}

/// What became of a function that another thread was compiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a body.
    Installed(ExecutorAddr),
    /// There will be none.
    Failed,
    /// The owner gave the function up: claim it.
    Abandoned,
}

/// How big a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Functions allocated.
    pub functions: u32,
    /// Blocks of stub memory.
    pub blocks: u32,
    /// Bytes of stub memory, including what lies ahead of its use.
    pub stub_bytes: u64,
    /// Bytes of everything else.
    pub table_bytes: u64,
}

/// All functions of a session: their stubs, slots and states.
///
/// Lives until the process ends, as its stubs do: their addresses may be in any data structure of the program.
///
/// Reading (`stub`, `index_of`, `body`) takes no lock and is async-signal-safe; so are `claim`, `wait`, `install`,
/// `fail` and `abandon`. `allocate` takes a lock and allocates memory: it belongs to loading.
pub struct FunctionTable {
    memory: &'static dyn StubMemory,
    resolver: &'static dyn Resolve,
    trampoline: ExecutorAddr,
    /// Filled from the front; an entry never changes once it is set.
    chunks: [AtomicPtr<Chunk>; MAX_CHUNKS],
    /// Functions allocated: chunks and stubs below are complete.
    len: AtomicU32,
    /// The lowest address of a stub, and the end of the highest one. Written before `len` says that they count.
    lowest: AtomicU64,
    end: AtomicU64,
    growth: Growth,
    /// The table made before this one.
    pub(crate) next: AtomicPtr<FunctionTable>,
}

impl FunctionTable {
    /// An empty table whose stubs come from `memory` and whose first calls go to `resolver`.
    ///
    /// # Errors
    ///
    /// When this machine has no trampoline or the stacks of the engine cannot be mapped.
    pub fn new(
        memory: &'static dyn StubMemory,
        resolver: &'static dyn Resolve,
    ) -> Result<&'static FunctionTable, Error> {
        let trampoline = x86_64::trampoline().ok_or_else(|| Error::new(ErrorKind::UnsupportedHost))?;
        stack::map_stacks()?;
        let table = Box::leak(Box::new(FunctionTable {
            memory,
            resolver,
            trampoline,
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CHUNKS],
            len: AtomicU32::new(0),
            lowest: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(0),
            growth: Growth::new(),
            next: AtomicPtr::new(ptr::null_mut()),
        }));
        fork::register(table);
        Ok(table)
    }

    /// Makes `count` functions, all unresolved, with consecutive indices, and returns the first.
    ///
    /// # Errors
    ///
    /// When there is no memory for their stubs, or there are too many. No function exists then that did not before.
    pub fn allocate(&'static self, count: u32) -> Result<FunctionIndex, Error> {
        let _growing = self.growth.lock();
        let first = self.len();
        let end = first.checked_add(count).filter(|end| *end <= MAX_FUNCTIONS).ok_or_else(|| {
            Error::new(ErrorKind::TooManyFunctions { requested: count, allocated: first, max: MAX_FUNCTIONS })
        })?;
        let mut index = first;
        while index < end {
            let chunk = self.chunk_to_fill(&locate(index))?;
            let chunk_end = end.min(chunk.first + chunk.len());
            (index..chunk_end).for_each(|index| chunk.write_fresh_stub(index));
            index = chunk_end;
        }
        if count > 0 {
            self.memory.synchronize();
        }
        // Release: partner of the Acquire in `len`; who knows the index finds chunk and stub.
        self.len.store(end, Ordering::Release);
        Ok(FunctionIndex(first))
    }

    /// Functions allocated so far.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether no function was allocated yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stub of a function: its one address.
    #[must_use]
    pub fn stub(&self, function: FunctionIndex) -> ExecutorAddr {
        self.chunk(function).stub(function.0)
    }

    /// The function one byte of whose stub is at `address`.
    #[must_use]
    pub fn index_of(&self, address: ExecutorAddr) -> Option<FunctionIndex> {
        let len = self.len();
        // Relaxed: written before the length was, which was just read with Acquire. Most addresses are of something else.
        let (lowest, end) = (self.lowest.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        if !(lowest..end).contains(&address.get()) {
            return None;
        }
        let index = self.guess(address).or_else(|| self.chunks().find_map(|chunk| chunk.index_of(address)))?;
        (index < len).then_some(FunctionIndex(index))
    }

    /// The same, mostly found at once: blocks that were made together lie one behind the other, so that the distance from
    /// the first stub says which of them it is. Each block's entry code moves the next one up a little.
    fn guess(&self, address: ExecutorAddr) -> Option<u32> {
        let chunk = |at: usize| {
            // SAFETY: as in `chunks`.
            unsafe { self.chunks.get(at)?.load(Ordering::Acquire).as_ref() }
        };
        let distance = u64::try_from(address.offset_from(chunk(0)?.stub(0))).ok()? / STUB_BYTES;
        let nth = u32::try_from(distance).ok().filter(|nth| *nth < MAX_FUNCTIONS)?;
        let at = locate(nth).chunk;
        [Some(at), at.checked_sub(1)].into_iter().flatten().find_map(|at| chunk(at)?.index_of(address))
    }

    /// The body that the stub leads to, if there is one.
    #[must_use]
    pub fn body(&self, function: FunctionIndex) -> Option<ExecutorAddr> {
        let (state, ..) = self.function(function);
        (state::read(state) == State::Installed).then(|| self.installed_body(function))
    }

    /// Makes the calling thread the owner of an unresolved function, or says why not.
    #[must_use]
    pub fn claim(&self, function: FunctionIndex) -> Claim {
        match state::claim(self.function(function).0) {
            Ok(()) => Claim::Mine,
            Err(State::Installed) => Claim::Installed(self.installed_body(function)),
            Err(State::Failed) => Claim::Failed,
            Err(State::Compiling | State::Unresolved) => Claim::Other,
        }
    }

    /// Sleeps until whoever compiles `function` has settled it.
    ///
    /// The address it returns was learnt by a load of data: it is entered through [`Resolve::resolve`]'s return or
    /// through the stub, not by a direct call.
    #[must_use]
    pub fn wait(&self, function: FunctionIndex) -> Outcome {
        match state::wait(self.function(function).0) {
            State::Installed => Outcome::Installed(self.installed_body(function)),
            State::Failed => Outcome::Failed,
            State::Unresolved => Outcome::Abandoned,
            State::Compiling => unreachable!("wait ends when compiling ends"),
        }
    }

    /// Claims `function`, waiting for other owners first: never returns [`Claim::Other`].
    #[must_use]
    pub fn claim_or_wait(&self, function: FunctionIndex) -> Claim {
        loop {
            match self.claim(function) {
                Claim::Other => {}
                claim => return claim,
            }
            match self.wait(function) {
                Outcome::Installed(body) => return Claim::Installed(body),
                Outcome::Failed => return Claim::Failed,
                Outcome::Abandoned => {}
            }
        }
    }

    /// Makes each body the code of its function. The function may be in any state and claimed by anybody.
    ///
    /// 1. The bodies are published and all cores have synchronised: the caller's duty, one barrier for the whole batch.
    /// 2. All jumps are encoded; if one does not reach, nothing has changed.
    /// 3. Per function, the slot is stored: one aligned 8-byte store. From here on new calls reach the body; a core
    ///    that still has the old word goes to the trampoline.
    /// 4. Per function, the state becomes `Installed`: who comes through the trampoline is sent to the body, and who
    ///    waited wakes.
    ///
    /// # Errors
    ///
    /// When a stub does not reach its body; nothing has changed then.
    pub fn install(&self, bodies: &[(FunctionIndex, ExecutorAddr)]) -> Result<(), Error> {
        for &(function, body) in bodies {
            self.slot_word(function, body)?;
        }
        for &(function, body) in bodies {
            let (state, slot) = self.function(function);
            state::install(state, slot, self.slot_word(function, body)?);
        }
        Ok(())
    }

    /// Says that there will be no body for a function the caller owns, and wakes who waited.
    pub fn fail(&self, function: FunctionIndex) {
        state::fail(self.function(function).0);
    }

    /// Gives up a function the caller owns, so that the next who comes can claim it.
    pub fn abandon(&self, function: FunctionIndex) {
        state::abandon(self.function(function).0);
    }

    /// How big the table is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats =
            Stats { functions: self.len(), table_bytes: size_of::<FunctionTable>() as u64, ..Stats::default() };
        for chunk in self.chunks() {
            stats.blocks += 1;
            stats.stub_bytes += Chunk::block_bytes(chunk.len());
            stats.table_bytes += (size_of::<Chunk>() + chunk.len() as usize * size_of::<Futex>()) as u64;
        }
        stats
    }

    /// The word of the slot that leads to the resolver.
    pub(crate) fn slot_to_resolver(&self, function: FunctionIndex) -> u64 {
        let stub = self.stub(function);
        stub_word(stub, stub + STUB_RESOLVE_OFFSET).expect("a stub reaches itself")
    }

    pub(crate) fn resolver(&self) -> &'static dyn Resolve {
        self.resolver
    }

    /// In a forked child: compiles that nobody works on any more are unresolved again.
    pub(crate) fn orphan_compiles(&self) {
        self.growth.reset();
        self.chunks().flat_map(Chunk::states).for_each(state::orphan);
    }

    fn chunks(&self) -> impl Iterator<Item = &'static Chunk> {
        self.chunks.iter().map_while(|entry| {
            // SAFETY: null or a chunk that `chunk_to_fill` leaked. Acquire: partner of its Release.
            unsafe { entry.load(Ordering::Acquire).as_ref() }
        })
    }

    fn chunk(&self, function: FunctionIndex) -> &'static Chunk {
        assert!(function.0 < self.len(), "{function:?} in a table of {}", self.len());
        // SAFETY: as in `chunks`; not null, because the index is below the length.
        unsafe { &*self.chunks[locate(function.0).chunk].load(Ordering::Acquire) }
    }

    /// The chunk at `place`, made if there is none. The caller holds the growth lock.
    fn chunk_to_fill(&'static self, place: &Location) -> Result<&'static Chunk, Error> {
        let entry = &self.chunks[place.chunk];
        // SAFETY: as in `chunks`.
        if let Some(chunk) = unsafe { entry.load(Ordering::Acquire).as_ref() } {
            return Ok(chunk);
        }
        let bytes = Chunk::block_bytes(place.len);
        let block = self
            .memory
            .reserve(bytes, STUB_BYTES)
            .map_err(|source| Error::new(ErrorKind::StubMemory { stubs: place.len, bytes, source }))?;
        let chunk = Chunk::new(self, place, block, self.trampoline);
        // Relaxed: see `index_of`.
        let first = chunk.stub(place.first).get();
        self.lowest.fetch_min(first, Ordering::Relaxed);
        self.end.fetch_max(first + u64::from(place.len) * STUB_BYTES, Ordering::Relaxed);
        // Release: partner of the Acquires above; who sees the chunk sees it complete.
        entry.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
        Ok(chunk)
    }

    /// State word and slot of a function.
    pub(crate) fn function(&self, function: FunctionIndex) -> (&'static Futex, &'static AtomicU64) {
        let chunk = self.chunk(function);
        (chunk.state(function.0), chunk.slot(function.0))
    }

    /// The body in the slot of a function that was seen `Installed`.
    fn installed_body(&self, function: FunctionIndex) -> ExecutorAddr {
        let stub = self.stub(function);
        // Relaxed: the state was read with Acquire after the slot was stored.
        let word = self.function(function).1.load(Ordering::Relaxed);
        stub_target(stub, word).unwrap_or_else(|| panic!("the slot of {function:?} at {stub} holds {word:#x}"))
    }

    /// The word of the slot that leads to `body`.
    ///
    /// # Errors
    ///
    /// Where the stub's jump does not reach.
    pub(crate) fn slot_word(&self, function: FunctionIndex, body: ExecutorAddr) -> Result<u64, Error> {
        let stub = self.stub(function);
        stub_word(stub, body).ok_or_else(|| Error::new(ErrorKind::OutOfReach { function, stub, body }))
    }
}

impl std::fmt::Debug for FunctionTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionTable").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The lock of `allocate`, which a forked child can free of an owner it does not have.
///
/// Whatever an owner that is gone left behind is harmless: a chunk is complete before its entry is set, and stubs are
/// written again until the length covers them.
struct Growth(Futex);

struct Growing<'a>(&'a Growth);

impl Growth {
    const FREE: u32 = 0;
    const TAKEN: u32 = 1;

    const fn new() -> Self {
        Self(Futex::new(Self::FREE))
    }

    fn lock(&self) -> Growing<'_> {
        // Acquire: partner of the Release in `drop`.
        while self.0.word().swap(Self::TAKEN, Ordering::Acquire) != Self::FREE {
            self.0.wait(Self::TAKEN);
        }
        Growing(self)
    }

    fn reset(&self) {
        // Relaxed: the child has one thread.
        self.0.word().store(Self::FREE, Ordering::Relaxed);
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        self.0.0.word().store(Growth::FREE, Ordering::Release);
        // Nobody counts who sleeps: loads are rare, and one more system call per load costs nothing.
        self.0.0.wake_all();
    }
}
