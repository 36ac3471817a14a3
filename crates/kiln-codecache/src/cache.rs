//! The code cache: three regions, and what is in flight.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_abi::{ExecutorAddr, Permission, Segment};

use crate::error::Error;
use crate::fork;
use crate::in_process::InProcess;
use crate::lifecycle::{Published, Records, Reservation};
use crate::mapper::{Mapper, RegionViews};
use crate::observe::Log;
use crate::pieces::Pieces;
use crate::region::{Piece, Region};
use crate::unwind::Registry;

/// What a code cache is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Bytes of address space to reserve: three eighths for code, a quarter for read-only data, the rest for data.
    /// Less is taken where the process's limits ask for it.
    pub size: u64,
    /// Reserve below 2 GiB, for code with 32-bit absolute addresses.
    pub low_2gib: bool,
    /// Let debuggers put breakpoints into code: it is writable where it is executed. They write as the process could, and
    /// memory that is shared is not copied for them.
    pub breakpoints: bool,
    /// Write the names of published functions to `/tmp/perf-PID.map`.
    pub perf_map: bool,
    /// Write the names and bytes of published functions to `jit-PID.dump` in this directory.
    pub jitdump: Option<PathBuf>,
    /// Per region, bytes of freed memory that are kept from being used again, so that a stale pointer traps or faults instead
    /// of meeting something else.
    pub quarantine: u64,
}

impl Default for Options {
    /// 1 GiB: everything is in reach of everything, and of the shared libraries above it.
    fn default() -> Self {
        Self { size: 1 << 30, low_2gib: false, breakpoints: false, perf_map: false, jitdump: None, quarantine: 0 }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Options::size`].
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = bytes;
        self
    }

    /// Sets [`Options::low_2gib`].
    #[must_use]
    pub fn low_2gib(mut self, low: bool) -> Self {
        self.low_2gib = low;
        self
    }

    /// Sets [`Options::breakpoints`].
    #[must_use]
    pub fn breakpoints(mut self, possible: bool) -> Self {
        self.breakpoints = possible;
        self
    }

    /// Sets [`Options::perf_map`].
    #[must_use]
    pub fn perf_map(mut self, write: bool) -> Self {
        self.perf_map = write;
        self
    }

    /// Sets [`Options::jitdump`].
    #[must_use]
    pub fn jitdump(mut self, directory: Option<PathBuf>) -> Self {
        self.jitdump = directory;
        self
    }

    /// Sets [`Options::quarantine`].
    #[must_use]
    pub fn quarantine(mut self, bytes: u64) -> Self {
        self.quarantine = bytes;
        self
    }
}

/// Where a segment should lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Wherever its region has room.
    #[default]
    Anywhere,
    /// Exactly there: a free place of its region, at a multiple of 16.
    At(ExecutorAddr),
    /// Inside the range, as low as possible.
    Within(Range<ExecutorAddr>),
}

/// Executable memory of a session. A handle: clones are the same cache.
#[derive(Clone)]
pub struct CodeCache {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) mapper: Box<dyn Mapper>,
    pub(crate) views: [RegionViews; 3],
    /// What 32-bit displacements reach from everywhere.
    reach: RangeInclusive<u64>,
    pub(crate) state: Mutex<State>,
    pub(crate) unwind: Registry,
    pub(crate) fork: fork::Slot,
    pub(crate) log: Option<Log>,
}

// SAFETY: `views` holds addresses; memory behind them is reached through `Reservation` and `Published` only, which own
// disjoint parts of it.
unsafe impl Send for Inner {}
// SAFETY: as above; everything mutable is behind the mutex or atomic.
unsafe impl Sync for Inner {}

/// What the lock protects.
pub(crate) struct State {
    regions: [Region; 3],
    /// Pieces of reservations that are not published yet, by slot: a forked child frees them, their owners are gone.
    in_flight: Vec<Option<Pieces>>,
    free_slots: Vec<usize>,
    /// How many forks lie between the first process and this one.
    pub(crate) generation: u64,
}

impl CodeCache {
    /// Reserves memory in this process.
    ///
    /// Call it first thing in the program, before threads exist: registering for core barriers takes 1.4 µs then and
    /// 12 ms later.
    pub fn new(options: &Options) -> Result<Self, Error> {
        Self::with_mapper(Box::new(InProcess::new(options)?), options)
    }

    /// A code cache over memory that somebody else provides; `options` say nothing about its size and place then.
    pub fn with_mapper(mapper: Box<dyn Mapper>, options: &Options) -> Result<Self, Error> {
        let log = Log::new(options.perf_map, options.jitdump.clone());
        fork::FORK_WORD.create();
        let views = Permission::ALL.map(|permission| mapper.region(permission));
        let regions = Permission::ALL.map(|permission| Region::new(permission, &*mapper, options.quarantine));
        let first = views.iter().map(|view| view.executor.get()).min().expect("three regions");
        let last = views.iter().map(|view| view.executor.get() + view.bytes).max().expect("three regions");
        let reach = last.saturating_sub(1 << 31)..=first.saturating_add((1 << 31) - 1);
        let code = views[Permission::Code as usize];
        let unwind = Registry::new(code.executor.get()..code.executor.get() + code.bytes)?;
        let state = State { regions, in_flight: Vec::new(), free_slots: Vec::new(), generation: 0 };
        Ok(Self {
            inner: Arc::new(Inner {
                mapper,
                views,
                reach,
                state: Mutex::new(state),
                unwind,
                fork: fork::Slot::default(),
                log,
            }),
        })
    }

    /// Takes memory for all of `segments`, or for none of them.
    ///
    /// Working memory of [`Permission::ReadOnly`] and [`Permission::ReadWrite`] segments reads as zero; what unwritten
    /// code bytes hold is unspecified. A segment of size 0 gets an address of its own too.
    pub fn reserve(&self, segments: &[(Segment, Place)]) -> Result<Reservation, Error> {
        self.reserve_each(segments.iter().map(|(segment, place)| (segment, place)))
    }

    /// The same for segments that may lie wherever there is room.
    pub fn reserve_anywhere(&self, segments: &[Segment]) -> Result<Reservation, Error> {
        self.reserve_each(segments.iter().map(|segment| (segment, &Place::Anywhere)))
    }

    fn reserve_each<'s>(
        &self,
        segments: impl ExactSizeIterator<Item = (&'s Segment, &'s Place)>,
    ) -> Result<Reservation, Error> {
        let mut pieces = Pieces::with_capacity(segments.len());
        let mut state = self.inner.lock();
        for (segment, place) in segments {
            match state.regions[segment.permission as usize].allocate(segment, place, &*self.inner.mapper) {
                Ok(piece) => pieces.push(piece),
                Err(error) => {
                    // SAFETY: the pieces were taken above and nobody else has seen them.
                    unsafe { state.free(&pieces, &*self.inner.mapper) };
                    return Err(error);
                }
            }
        }
        let slot = state.enter_flight(pieces.clone());
        let generation = state.generation;
        drop(state);
        Ok(Reservation::new(self.inner.clone(), pieces, slot, generation))
    }

    /// Publishes several reservations with one barrier: all of them, or none and all are rolled back.
    pub fn publish_all<'a>(
        &self,
        reservations: impl IntoIterator<Item = (Reservation, Records<'a>)>,
    ) -> Result<Vec<Published>, Error> {
        crate::lifecycle::publish_all(&self.inner, reservations)
    }

    /// The aligned 8-byte word at `address` of the code region, seen through the writable view: how published code is
    /// patched where [`Published::word`]'s search would cost too much.
    ///
    /// # Panics
    ///
    /// If the word is not aligned or not inside the code region.
    ///
    /// # Safety
    ///
    /// The word lies in published or retired code that is not reclaimed for as long as the result is used.
    #[must_use]
    pub unsafe fn code_word(&self, address: ExecutorAddr) -> &AtomicU64 {
        let region = self.region(Permission::Code);
        let inside = region.contains(&address) && address.get().is_multiple_of(8);
        assert!(inside, "{address} is not a word of the code region {region:?}");
        let word = self.inner.working(Permission::Code, address).cast::<AtomicU64>();
        // SAFETY: aligned and inside the region, whose writable view stays mapped as long as the cache; live code, so
        // nobody holds a plain reference to its bytes (the caller's promise).
        unsafe { &*word }
    }

    /// Writes data that is published already, through the writable view: what could not be known earlier.
    ///
    /// # Panics
    ///
    /// If the bytes are not inside one of the two data regions.
    ///
    /// # Safety
    ///
    /// They lie in published data that is not reclaimed, and no thread reads or writes them meanwhile.
    pub unsafe fn write_data(&self, address: ExecutorAddr, bytes: &[u8]) {
        let end = address + bytes.len() as u64;
        let holds = |permission: &Permission| {
            let region = self.region(*permission);
            region.start <= address && end <= region.end
        };
        let region = [Permission::ReadOnly, Permission::ReadWrite].into_iter().find(holds);
        let region = region.unwrap_or_else(|| panic!("{address}, {} bytes, is not in a data region", bytes.len()));
        let at = self.inner.working(region, address);
        // SAFETY: inside the region's writable view, in live data, which nobody else uses: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    }

    /// Gives the memory of all code and data back, whoever owns it; the address space stays reserved, and nothing can be
    /// reserved any more. Owners keep what they have as numbers: they may be leaked, not retired or reclaimed.
    ///
    /// # Safety
    ///
    /// No thread executes code of the cache, has a frame of it on a stack, or reads or writes its data, now or later.
    pub unsafe fn release(&self) {
        let mut state = self.inner.lock();
        for region in &mut state.regions {
            // SAFETY: the contract of this function.
            unsafe { region.release(&*self.inner.mapper) };
        }
    }

    /// Returns when every running thread sees all code bytes written before, as after [`Reservation::publish`].
    ///
    /// Needed after published code was patched, before anything relies on nobody executing the old bytes.
    pub fn synchronize_cores(&self) {
        self.inner.mapper.synchronize_cores();
    }

    /// Addresses of a region.
    #[must_use]
    pub fn region(&self, permission: Permission) -> Range<ExecutorAddr> {
        let views = self.inner.views[permission as usize];
        views.executor..views.executor + views.bytes
    }

    /// Whether 32-bit displacements reach from everywhere in the reservation to `address`.
    #[must_use]
    pub fn reaches(&self, address: ExecutorAddr) -> bool {
        self.inner.reach.contains(&address.get())
    }

    /// Bytes allocated in a region.
    #[must_use]
    pub fn used_bytes(&self, permission: Permission) -> u64 {
        self.inner.lock().region(permission).used_bytes()
    }

    /// How much of what is in use.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.inner.lock();
        Stats {
            regions: [0, 1, 2].map(|region| state.regions[region].stats()),
            mappings: self.inner.mapper.mappings() + self.inner.unwind.mappings(),
            unwind_entries: self.inner.unwind.entries(),
            in_flight: state.in_flight.iter().flatten().count(),
        }
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held is a bug that was reported already; the process may go on with what it has.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where this process writes `address` of a region.
    pub(crate) fn working(&self, permission: Permission, address: ExecutorAddr) -> *mut u8 {
        let views = &self.views[permission as usize];
        views.working.as_ptr().wrapping_add(address.offset_from(views.executor) as usize)
    }
}

impl State {
    fn enter_flight(&mut self, pieces: Pieces) -> usize {
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.in_flight.push(None);
            self.in_flight.len() - 1
        });
        self.in_flight[slot] = Some(pieces);
        slot
    }

    pub(crate) fn leave_flight(&mut self, slot: usize) {
        if self.in_flight[slot].take().is_some() {
            self.free_slots.push(slot);
        }
    }

    pub(crate) fn region(&self, permission: Permission) -> &Region {
        &self.regions[permission as usize]
    }

    /// In a forked child that has memory of its own: forgets what the parent's other threads were about to publish.
    ///
    /// # Safety
    ///
    /// The owners of the reservations in flight do not exist in this process.
    pub(crate) unsafe fn become_child(&mut self, mapper: &dyn Mapper) {
        self.generation += 1;
        for permission in [Permission::Code, Permission::ReadOnly] {
            self.regions[permission as usize].become_child();
        }
        for slot in 0..self.in_flight.len() {
            if let Some(pieces) = self.in_flight[slot].take() {
                self.free_slots.push(slot);
                // SAFETY: what is in flight is live and was never published; its owner is gone.
                unsafe { self.free(&pieces, mapper) };
            }
        }
    }

    /// Takes pieces back.
    ///
    /// # Safety
    ///
    /// They are live allocations; nothing refers to or executes their bytes any more.
    pub(crate) unsafe fn free(&mut self, pieces: &[Piece], mapper: &dyn Mapper) {
        for piece in pieces {
            // SAFETY: the contract of this function.
            unsafe { self.regions[piece.permission as usize].free(piece, mapper) };
        }
    }
}

/// How much of a code cache is in use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// One entry per region, in the order of [`Permission::ALL`].
    pub regions: [RegionStats; 3],
    /// Mappings of the kernel that belong to the cache: a constant.
    pub mappings: usize,
    /// Functions whose unwind entries are registered.
    pub unwind_entries: usize,
    /// Reservations that are neither published nor rolled back.
    pub in_flight: usize,
}

/// How much of a region is in use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegionStats {
    /// Which region.
    pub permission: Permission,
    /// Its first address.
    pub executor: ExecutorAddr,
    /// Address space.
    pub reserved_bytes: u64,
    /// Backed with memory ahead of need. Large pieces of data are backed by their first use instead.
    pub committed_bytes: u64,
    /// Allocated.
    pub used_bytes: u64,
    /// Largest piece that can be had.
    pub largest_free_bytes: u64,
    /// Allocated pieces.
    pub live_allocations: u64,
}
