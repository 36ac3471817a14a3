//! The code regions of this process, each with its index.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};

use kiln_abi::{ExecutorAddr, FdeEntry};

use super::index::{Index, Piece, Reader};
use super::libgcc;
use crate::error::{Error, ErrorKind};
use crate::sync::AtomicU64;

/// Code regions at a time. A session has one; tests have one per thread.
const MAX: usize = 64;

/// Readers inside [`find`]; see `index` for what the count is for.
#[cfg(not(loom))]
static READERS: AtomicU64 = AtomicU64::new(0);
#[cfg(loom)]
loom::lazy_static! { static ref READERS: AtomicU64 = AtomicU64::new(0); }
static REGIONS: [AtomicPtr<Entry>; MAX] = [const { AtomicPtr::new(std::ptr::null_mut()) }; MAX];
/// Regions below this position have been used: what a search looks at.
static USED: AtomicUsize = AtomicUsize::new(0);
static REGISTERING: Mutex<()> = Mutex::new(());

struct Entry {
    code: Range<u64>,
    index: Index,
}

/// The unwind entries of one code cache.
pub(crate) struct Registry {
    entry: &'static Entry,
}

/// What a publish registered: mostly one piece, which needs no list.
#[derive(Debug, Default)]
pub(crate) struct Registration {
    first: Option<Piece>,
    others: Box<[Piece]>,
}

/// The entry that contains `pc`, in whatever region.
pub(crate) fn find(pc: u64) -> Option<FdeEntry> {
    let reader = Reader::enter(&READERS);
    // Relaxed: whoever asks for a `pc` in code learnt of it after its region was registered.
    let used = USED.load(Ordering::Relaxed);
    REGIONS[..used].iter().find_map(|region| {
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
        let free = REGIONS.iter().position(|region| region.load(Ordering::Relaxed).is_null());
        let free = free.ok_or(ErrorKind::TooManyCaches { limit: MAX })?;
        let entry: &'static Entry = Box::leak(Box::new(Entry { code, index }));
        // Release: whoever finds the entry sees it initialised.
        REGIONS[free].store(std::ptr::from_ref(entry).cast_mut(), Ordering::Release);
        // Relaxed: see `find`.
        USED.fetch_max(free + 1, Ordering::Relaxed);
        Ok(Self { entry })
    }

    /// Makes entries findable.
    pub(crate) fn register(&self, entries: Checked<'_>) -> Registration {
        let link = |begin: u64, entries: &[FdeEntry]| self.entry.index.link(begin, entries, &READERS);
        match entries {
            Checked::None => Registration::default(),
            Checked::One(begin, entry) => Registration { first: Some(link(begin, &[entry])), others: Box::default() },
            Checked::Sorted { segments, entries } => {
                let mut rest = &entries[..];
                let mut pieces = segments.iter().filter_map(|segment| {
                    let count = rest.partition_point(|entry| entry.pc_begin < segment.end);
                    let (inside, behind) = rest.split_at(count);
                    rest = behind;
                    (!inside.is_empty()).then(|| link(segment.start.get(), inside))
                });
                Registration { first: pieces.next(), others: pieces.collect() }
            }
        }
    }

    /// Forgets what [`Registry::register`] made findable.
    pub(crate) fn unregister(&self, registration: Registration) {
        for piece in registration.first.into_iter().chain(registration.others) {
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

/// Unwind entries that lie in code.
pub(crate) enum Checked<'a> {
    None,
    /// One, as nearly every function has, and the first address of the piece it lies in.
    One(u64, FdeEntry),
    /// Any number, and the pieces, both sorted.
    Sorted {
        segments: Vec<Range<ExecutorAddr>>,
        entries: Cow<'a, [FdeEntry]>,
    },
}

impl<'a> Checked<'a> {
    /// `entries` must be disjoint, and each must lie in one of the `segments` of code.
    pub(crate) fn new(
        mut segments: impl Iterator<Item = Range<ExecutorAddr>>,
        entries: &'a [FdeEntry],
    ) -> Result<Self, Error> {
        match entries {
            [] => Ok(Self::None),
            [entry] => {
                check_disjoint(entries)?;
                let end = entry.pc_begin + entry.pc_bytes;
                let segment = segments.find(|segment| segment.start <= entry.pc_begin && end <= segment.end);
                segment.map(|segment| Self::One(segment.start.get(), *entry)).ok_or_else(|| bad(entry))
            }
            _ => Self::sorted(segments, Cow::Borrowed(entries)),
        }
    }

    fn sorted(
        segments: impl Iterator<Item = Range<ExecutorAddr>>,
        mut entries: Cow<'a, [FdeEntry]>,
    ) -> Result<Self, Error> {
        if !entries.is_sorted_by_key(|entry| entry.pc_begin) {
            entries.to_mut().sort_unstable_by_key(|entry| entry.pc_begin);
        }
        check_disjoint(&entries)?;
        let mut segments: Vec<_> = segments.filter(|segment| segment.start < segment.end).collect();
        segments.sort_unstable_by_key(|segment| segment.start);
        let mut rest = &entries[..];
        for segment in &segments {
            let (inside, behind) = rest.split_at(rest.partition_point(|entry| entry.pc_begin < segment.end));
            let outside = |entry: &&FdeEntry| entry.pc_begin < segment.start;
            let longer = |entry: &&FdeEntry| entry.pc_begin + entry.pc_bytes > segment.end;
            if let Some(stray) = inside.first().filter(outside).or(inside.last().filter(longer)) {
                return Err(bad(stray));
            }
            rest = behind;
        }
        match rest.first() {
            Some(stray) => Err(bad(stray)),
            None => Ok(Self::Sorted { segments, entries }),
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
