//! The life of a piece of code as types.
//!
//! | state | type | bytes | left by |
//! | --- | --- | --- | --- |
//! | reserved | [`Reservation`] | written by its owner, executed by nobody | `publish`, or drop: rolled back |
//! | published | [`Published`] | executed; words patched through [`Published::word`] | `retire` |
//! | retired | [`Retired`] | no new entry leads here; threads may be inside | `reclaim`: free again |
//!
//! None can be cloned. Dropping a reservation rolls it back; dropping one of the others is a bug (a panic in debug
//! builds, a leak otherwise), since nobody could ever free them. `leak` says that it is meant.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kiln_abi::{ExecutorAddr, FdeEntry, Permission};

use crate::cache::Inner;
use crate::error::Error;
use crate::pieces::Pieces;
use crate::region::Piece;
use crate::{observe, unwind};

/// What is made known about code when it is published, and forgotten when it is reclaimed.
#[derive(Debug, Default)]
pub struct Records<'a> {
    /// Unwind entries of the published code, best in ascending order.
    pub unwind: Cow<'a, [FdeEntry]>,
    /// An ELF object with executor addresses in its section headers, for debuggers. It is copied.
    pub debug_object: Option<&'a [u8]>,
    /// Names of functions, for profilers.
    pub symbols: &'a [Symbol<'a>],
}

/// A function as profilers see it.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its first address.
    pub address: ExecutorAddr,
    /// Its size.
    pub bytes: u64,
    /// Where its code comes from, in ascending order of addresses; empty where that is not known.
    pub lines: &'a [Line<'a>],
}

/// Where a piece of a function comes from: from here to the next one.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Where the piece begins.
    pub address: ExecutorAddr,
    /// The file.
    pub file: &'a [u8],
    /// The line, 0 for none.
    pub line: u32,
}

impl<'a> Records<'a> {
    /// No records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds unwind entries.
    #[must_use]
    pub fn unwind(mut self, entries: impl Into<Cow<'a, [FdeEntry]>>) -> Self {
        self.unwind = entries.into();
        self
    }

    /// Adds an object for debuggers.
    #[must_use]
    pub fn debug_object(mut self, object: Option<&'a [u8]>) -> Self {
        self.debug_object = object;
        self
    }

    /// Adds names for profilers.
    #[must_use]
    pub fn symbols(mut self, symbols: &'a [Symbol<'a>]) -> Self {
        self.symbols = symbols;
        self
    }
}

/// Memory that its owner may write and that nobody executes. Dropping it gives the memory back.
#[must_use = "dropping a reservation gives the memory back"]
pub struct Reservation {
    inner: Arc<Inner>,
    pieces: Pieces,
    slot: usize,
    generation: u64,
}

impl Reservation {
    pub(crate) fn new(inner: Arc<Inner>, pieces: Pieces, slot: usize, generation: u64) -> Self {
        Self { inner, pieces, slot, generation }
    }

    /// Number of segments.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.pieces.len()
    }

    /// Where segment `index` will run.
    #[must_use]
    pub fn segment(&self, index: usize) -> ExecutorAddr {
        self.pieces[index].at
    }

    /// The addresses of segment `index`.
    #[must_use]
    pub fn range(&self, index: usize) -> Range<ExecutorAddr> {
        let piece = &self.pieces[index];
        piece.at..piece.at + piece.size
    }

    /// The bytes of segment `index`, to be written.
    #[must_use]
    pub fn working(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: the piece is ours alone until it is published, and `self` is borrowed mutably for as long.
        unsafe { self.inner.bytes(&self.pieces[index]) }
    }

    /// The bytes of all segments at once.
    #[must_use]
    pub fn working_all(&mut self) -> Vec<&mut [u8]> {
        // SAFETY: pieces are disjoint, ours alone until they are published, and `self` is borrowed mutably for as long.
        self.pieces.iter().map(|piece| unsafe { self.inner.bytes(piece) }).collect()
    }

    /// Addresses and bytes of the first `N` segments; those that there are not have none.
    #[must_use]
    pub fn first_working<const N: usize>(&mut self) -> [(ExecutorAddr, &mut [u8]); N] {
        let (inner, pieces) = (&self.inner, &self.pieces);
        std::array::from_fn(|index| match pieces.get(index) {
            // SAFETY: as in `working_all`; each piece comes once.
            Some(piece) => (piece.at, unsafe { inner.bytes(piece) }),
            None => (ExecutorAddr::default(), &mut [][..]),
        })
    }

    /// Makes the code executable: when this returns, any thread may enter it, unwind through it and be shown it by a
    /// debugger.
    ///
    /// 1. The records are installed; nobody can need them yet.
    /// 2. All cores synchronise. Only after that may anything lead to the new bytes, which is the caller's next step.
    ///
    /// On an error everything is rolled back.
    pub fn publish(self, records: Records<'_>) -> Result<Published, Error> {
        let published = self.install(records)?;
        published.owned().inner.mapper.synchronize_cores();
        Ok(published)
    }

    /// Installs the records; the caller synchronises before anything leads to the code.
    fn install(self, records: Records<'_>) -> Result<Published, Error> {
        let code = self.pieces.iter().filter(|piece| piece.permission == Permission::Code);
        let code = code.map(|piece| piece.at..piece.at + piece.size);
        let entries = unwind::Checked::new(code, &records.unwind)?;
        let debug = records.debug_object.map(observe::register_object);
        if let Some(log) = &self.inner.log {
            log.add(records.symbols, |symbol| self.code_of(symbol));
        }
        // One step for a fork: a child sees the code in flight and unknown, or published and known.
        let mut state = self.inner.lock();
        let unwind = self.inner.unwind.register(entries);
        state.leave_flight(self.slot);
        drop(state);
        let (inner, pieces) = self.into_parts();
        Ok(Published { owned: Some(Owned { inner, pieces, unwind, debug }) })
    }

    /// The bytes of a function, if they are ours.
    fn code_of(&self, symbol: &Symbol<'_>) -> Option<&[u8]> {
        let end = symbol.address.get().checked_add(symbol.bytes)?;
        let contains = |piece: &&Piece| piece.at <= symbol.address && end <= piece.at.get() + piece.size;
        let piece = self.pieces.iter().find(contains)?;
        let start = symbol.address.offset_from(piece.at) as usize;
        // SAFETY: the piece is ours alone until it is published, and nobody writes it while `self` is borrowed.
        let bytes: &[u8] = unsafe { self.inner.bytes(piece) };
        Some(&bytes[start..start + symbol.bytes as usize])
    }

    /// Gives the memory to the caller, who will give it back.
    fn into_parts(self) -> (Arc<Inner>, Pieces) {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: both fields are read once, and `this` is neither used nor dropped afterwards.
        unsafe { (std::ptr::read(&raw const this.inner), std::ptr::read(&raw const this.pieces)) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        // In a forked child all reservations of the parent have been freed already.
        if state.generation == self.generation {
            state.leave_flight(self.slot);
            // SAFETY: the pieces are live, were never published, and borrows of their bytes have ended.
            unsafe { state.free(&self.pieces, &*self.inner.mapper) };
        }
    }
}

pub(crate) fn publish_all<'a>(
    inner: &Arc<Inner>,
    reservations: impl IntoIterator<Item = (Reservation, Records<'a>)>,
) -> Result<Vec<Published>, Error> {
    let mut published = Vec::new();
    for (reservation, records) in reservations {
        assert!(Arc::ptr_eq(inner, &reservation.inner), "a reservation is published by the cache that made it");
        match reservation.install(records) {
            Ok(next) => published.push(next),
            Err(error) => {
                for undone in published {
                    // SAFETY: nothing was ever told of the code, so nobody can be inside.
                    unsafe { undone.retire().reclaim() };
                }
                return Err(error);
            }
        }
    }
    inner.mapper.synchronize_cores();
    Ok(published)
}

/// What published and retired code owns.
struct Owned {
    inner: Arc<Inner>,
    pieces: Pieces,
    unwind: unwind::Registration,
    debug: Option<observe::Registration>,
}

/// Code that may be executed.
#[must_use = "published code is retired and reclaimed, or leaked on purpose"]
pub struct Published {
    owned: Option<Owned>,
}

impl Published {
    fn owned(&self) -> &Owned {
        self.owned.as_ref().expect("taken only when the value is consumed")
    }

    /// Where segment `index` lies.
    #[must_use]
    pub fn address(&self, index: usize) -> ExecutorAddr {
        self.owned().pieces[index].at
    }

    /// The addresses of segment `index`.
    #[must_use]
    pub fn range(&self, index: usize) -> Range<ExecutorAddr> {
        let piece = &self.owned().pieces[index];
        piece.at..piece.at + piece.size
    }

    /// Number of segments.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.owned().pieces.len()
    }

    /// The aligned 8-byte word at `address`, seen through the writable view: how published code is patched.
    ///
    /// `None` unless the whole word lies in one of the segments and is aligned. Storing it once is one atomic change for
    /// every thread that fetches the code; which words may change, and when cores must synchronise, is the caller's
    /// protocol.
    #[must_use]
    pub fn word(&self, address: ExecutorAddr) -> Option<&AtomicU64> {
        let owned = self.owned();
        let contains = |piece: &&Piece| piece.at <= address && address.offset_from(piece.at) as u64 + 8 <= piece.size;
        let piece = owned.pieces.iter().find(contains).filter(|_| address.get().is_multiple_of(8))?;
        let word = owned.inner.working(piece.permission, address).cast::<AtomicU64>();
        // SAFETY: the word is aligned and inside a live segment, which stays mapped and writable in this view for as
        // long as `self` is borrowed. Since it was published nobody holds a plain reference to its bytes.
        Some(unsafe { &*word })
    }

    /// Says that no new entry can lead to this code. Threads may still be inside, and its unwind entries stay.
    pub fn retire(mut self) -> Retired {
        Retired { owned: self.owned.take() }
    }

    /// Leaves the code published for the rest of the process.
    pub fn leak(mut self) {
        std::mem::forget(self.owned.take());
    }
}

/// Code that nothing leads to any more.
#[must_use = "retired code is reclaimed, or leaked on purpose"]
pub struct Retired {
    owned: Option<Owned>,
}

impl Retired {
    /// The addresses of segment `index`.
    #[must_use]
    pub fn range(&self, index: usize) -> Range<ExecutorAddr> {
        let piece = &self.owned.as_ref().expect("taken only when the value is consumed").pieces[index];
        piece.at..piece.at + piece.size
    }

    /// Number of segments.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.owned.as_ref().expect("taken only when the value is consumed").pieces.len()
    }

    /// Forgets the records and frees the memory.
    ///
    /// # Safety
    ///
    /// No thread executes the code, has a frame of it on a stack, or can get there again, and nobody holds a pointer
    /// into its data.
    pub unsafe fn reclaim(mut self) {
        let owned = self.owned.take().expect("taken only when the value is consumed");
        if let Some(debug) = owned.debug {
            debug.undo();
        }
        let mut state = owned.inner.lock();
        owned.inner.unwind.unregister(owned.unwind);
        // SAFETY: the pieces are live; the caller promises that nobody uses them.
        unsafe { state.free(&owned.pieces, &*owned.inner.mapper) };
    }

    /// Keeps the memory for the rest of the process, because somebody might still be inside.
    pub fn leak(mut self) {
        std::mem::forget(self.owned.take());
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        dropped_alive(self.owned.take(), "published");
    }
}

impl Drop for Retired {
    fn drop(&mut self) {
        dropped_alive(self.owned.take(), "retired");
    }
}

/// Code that is dropped without having been given up stays where it is: a thread may be inside.
fn dropped_alive(owned: Option<Owned>, state: &str) {
    let Some(owned) = owned else { return };
    let at = owned.pieces.first().map(|piece| piece.at);
    std::mem::forget(owned);
    if cfg!(debug_assertions) && !std::thread::panicking() {
        panic!("{state} code at {at:?} was dropped");
    }
}

impl Inner {
    /// The working bytes of a piece.
    ///
    /// # Safety
    ///
    /// The piece is a live allocation of this cache and nothing else refers to its bytes for as long as the result lives.
    #[expect(clippy::mut_from_ref, reason = "the bytes belong to the piece, not to the cache")]
    unsafe fn bytes(&self, piece: &Piece) -> &mut [u8] {
        let start = self.working(piece.permission, piece.at);
        // SAFETY: a live piece lies inside its region and is committed; uniqueness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(start, piece.size as usize) }
    }
}

/// Pieces of code are made on one thread and reclaimed on another.
const _: fn() = || {
    fn assert<T: Send + Sync>() {}
    assert::<Reservation>();
    assert::<Published>();
    assert::<Retired>();
    assert::<crate::CodeCache>();
};
