//! The code regions of this process, each with its index.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};

use kiln_abi::{ExecutorAddr, FdeEntry};

use super::index::{Index, Piece, Reader};
use super::libgcc;
use crate::error::{Error, ErrorKind};

/// Code regions at a time. A session has one; tests have one per thread.
const MAX: usize = 64;

/// Readers inside [`find`]; see `index` for what the count is for.
static READERS: AtomicU64 = AtomicU64::new(0);
static REGIONS: [AtomicPtr<Entry>; MAX] = [const { AtomicPtr::new(std::ptr::null_mut()) }; MAX];
static REGISTERING: Mutex<()> = Mutex::new(());

struct Entry {
    code: Range<u64>,
    index: Index,
}

/// The unwind entries of one code cache.
pub(crate) struct Registry {
    entry: &'static Entry,
}

/// What a publish registered.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    pieces: Vec<Piece>,
}

/// The entry that contains `pc`, in whatever region.
pub(crate) fn find(pc: u64) -> Option<FdeEntry> {
    let reader = Reader::enter(&READERS);
    REGIONS.iter().find_map(|region| {
        // Acquire: pairs with the Release of `Registry::new`.
        let entry = region.load(Ordering::Acquire);
        // SAFETY: an entry that is linked is alive; one that was just unlinked lives until no reader is counted in.
        let entry = unsafe { entry.as_ref() }?;
        if entry.code.contains(&pc) { entry.index.find(pc, &reader) } else { None }
    })
}

/// In a forked child: readers of other threads are gone, and the calling thread is none.
pub(crate) fn forget_readers() {
    // Relaxed: the process has one thread.
    READERS.store(0, Ordering::Relaxed);
}

impl Registry {
    pub(crate) fn new(code: Range<u64>) -> Result<Self, Error> {
        libgcc::install();
        let index = Index::new(code.clone())?;
        let _lock = REGISTERING.lock();
        // Relaxed: written under the lock only.
        let free = REGIONS.iter().find(|region| region.load(Ordering::Relaxed).is_null());
        let free = free.ok_or(ErrorKind::TooManyCaches { limit: MAX })?;
        let entry: &'static Entry = Box::leak(Box::new(Entry { code, index }));
        // Release: whoever finds the entry sees it initialised.
        free.store(std::ptr::from_ref(entry).cast_mut(), Ordering::Release);
        Ok(Self { entry })
    }

    /// Makes `entries` findable; each must lie in one of the `segments` of code.
    pub(crate) fn register(
        &self,
        segments: impl Iterator<Item = Range<ExecutorAddr>>,
        mut entries: Vec<FdeEntry>,
    ) -> Result<Registration, Error> {
        if entries.is_empty() {
            return Ok(Registration::default());
        }
        if !entries.is_sorted_by_key(|entry| entry.pc_begin) {
            entries.sort_unstable_by_key(|entry| entry.pc_begin);
        }
        check_disjoint(&entries)?;
        let mut parts = Vec::with_capacity(1);
        let mut placed = 0;
        for segment in segments {
            let inside = |entry: &FdeEntry| segment.contains(&entry.pc_begin);
            let Some(first) = entries.iter().position(inside) else { continue };
            let count = entries[first..].iter().take_while(|entry| inside(entry)).count();
            let last = entries[first + count - 1];
            if last.pc_bytes > segment.end.offset_from(last.pc_begin) as u64 {
                return Err(bad(&last));
            }
            placed += count;
            parts.push((segment, first..first + count));
        }
        if placed != entries.len() {
            let is_placed = |n: usize| parts.iter().any(|(_, part)| part.contains(&n));
            let stray = (0..entries.len()).find(|&n| !is_placed(n)).expect("the counts differ");
            return Err(bad(&entries[stray]));
        }
        let link = |begin: ExecutorAddr, part| self.entry.index.link(begin.get(), part, &READERS);
        let pieces = match &parts[..] {
            [(segment, _)] => vec![link(segment.start, entries)],
            parts => parts.iter().map(|(segment, part)| link(segment.start, entries[part.clone()].to_vec())).collect(),
        };
        Ok(Registration { pieces })
    }

    /// Forgets what [`Registry::register`] made findable.
    pub(crate) fn unregister(&self, registration: Registration) {
        for piece in registration.pieces {
            self.entry.index.unlink(piece, &READERS);
        }
    }

    pub(crate) fn entries(&self) -> usize {
        self.entry.index.entries()
    }

    /// Kernel mappings of the index.
    pub(crate) fn mappings(&self) -> usize {
        1
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let entry = std::ptr::from_ref(self.entry).cast_mut();
        for region in &REGIONS {
            // Relaxed: the fence below orders it, as W1 in `index`.
            let _ = region.compare_exchange(entry, std::ptr::null_mut(), Ordering::Relaxed, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        // Acquire: W3 in `index`. With a reader inside, the entry is leaked: caches come and go in tests only.
        if READERS.load(Ordering::Acquire) == 0 {
            // SAFETY: the box leaked by `new`; it is unlinked, no reader can hold it, and `self` is going.
            drop(unsafe { Box::from_raw(entry) });
        }
    }
}

fn check_disjoint(entries: &[FdeEntry]) -> Result<(), Error> {
    let end = |entry: &FdeEntry| entry.pc_begin.get().checked_add(entry.pc_bytes);
    for (n, entry) in entries.iter().enumerate() {
        let next = entries.get(n + 1).map_or(u64::MAX, |next| next.pc_begin.get());
        if entry.pc_bytes == 0 || end(entry).is_none_or(|end| end > next) {
            return Err(bad(entry));
        }
    }
    Ok(())
}

fn bad(entry: &FdeEntry) -> Error {
    ErrorKind::BadUnwindEntry { pc_begin: entry.pc_begin, pc_bytes: entry.pc_bytes }.into()
}
