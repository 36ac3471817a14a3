//! From a program counter to the unwind entry of the code it lies in.
//!
//! Problem: any thread may ask at any time, in a signal handler too, so readers take no lock and wait for nobody.
//! Writers publish and reclaim pieces of code, hundreds of thousands over time, in well under a microsecond each.
//!
//! Strategy: a bit per granule (16 bytes) of the code region says where a registered piece begins; summary levels above
//! it, one bit per 64 of the level below, find the nearest begin at or below a program counter in a handful of loads. A
//! `u32` per granule names the piece's record, which holds the one entry of the piece or points to a sorted table.
//!
//! ```text
//! level 1   ...0100000000000001...       one bit per word of level 0
//! level 0   ...0000010000000000...       one bit per granule: a piece begins here
//! slots     ... 0 0 0 7 0 0 0 0...       its record
//! ```
//!
//! Why no reader needs a retry: a reader asks for a `pc` in live code, whose piece was registered before anyone could
//! enter it and stays registered until nobody can be inside. The piece's own bit is set all that time, and no other
//! piece begins between it and `pc`, since pieces are disjoint. Every word that the search looks at between `pc` and
//! the piece's begin is therefore as the search needs it, whatever writers do elsewhere: bits that come and go belong to
//! pieces on other sides. A `pc` that is not in live code may be answered with `None` or with any entry that contains
//! it, never with a crash: see below.
//!
//! Reclaiming records and tables: a reader of such a stray `pc` can hold a record of a piece that is just going. So
//! readers count themselves in and out, and what was unlinked is reused only when, after the unlinking, the count was
//! seen at zero:
//!
//! ```text
//! reader                      writer
//! R1 count += 1               W1 clear the bits and the slot
//! R2 fence(SeqCst)            W2 fence(SeqCst)
//! R3 search                   W3 count == 0 ?  reuse : keep for later
//! R4 count -= 1 (Release)
//! ```
//!
//! If R2 comes before W2 in the order of fences, W3 sees R1 unless R4 has happened; then nothing is reused, or the
//! reader is gone. If W2 comes before R2, R3 sees W1 and cannot reach the record.
//! A reader that never leaves (its thread died inside, by a longjmp out of a signal handler) costs memory only.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use kiln_abi::{ExecutorAddr, FdeEntry};

use crate::error::Error;
use crate::heap::GRANULE;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// Records of the first chunk; each further chunk doubles.
const FIRST_CHUNK: u32 = if cfg!(loom) { 4 } else { 256 };
/// Chunks: `FIRST_CHUNK` * (2^20 - 1) records.
const CHUNKS: usize = 20;
/// Levels of bits. The last must be one word, or pieces that reach across two of them are lost: six cover 1 TiB.
const LEVELS: usize = 6;

/// The index over one code region.
pub(crate) struct Index {
    code: Range<u64>,
    memory: Memory,
    levels: [Range<usize>; LEVELS],
    chunks: [AtomicPtr<Record>; CHUNKS],
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Writer {
    next: u32,
    free: Vec<u32>,
    /// Unlinked records that a reader might still hold.
    unlinked: Vec<u32>,
    entries: usize,
    ready: Ready,
}

#[cfg(loom)]
#[derive(Default)]
struct Ready;

/// Which slots have memory, as far as that was not left to faults: pages from the first slot's on.
#[cfg(not(loom))]
#[derive(Default)]
struct Ready {
    /// The first page without.
    end: usize,
    /// How many have it.
    pages: usize,
}

/// Memory for slots comes in steps of at most so many pages.
#[cfg(not(loom))]
const READY_MAX: usize = 8;

/// What is known about a registered piece. Written while unlinked, immutable while linked.
///
/// With a `count` of 1, `begin..end` is the code of the only entry and `table` its FDE. Otherwise `table` is the
/// address of an array of `count` sorted entries, owned by the record.
struct Record {
    begin: AtomicU64,
    end: AtomicU64,
    table: AtomicU64,
    count: AtomicU64,
}

/// A registered piece: where it begins and its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    granule: u32,
    record: u32,
}

/// A reader that has counted itself in.
pub(crate) struct Reader<'a>(&'a AtomicU64);

impl<'a> Reader<'a> {
    pub(crate) fn enter(count: &'a AtomicU64) -> Self {
        // Relaxed: R1; the fence below orders it.
        count.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        // Release: R4, pairs with the Acquire load of W3: whoever reuses a record does so after this reader's last load.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Index {
    /// An index over `code`, with nothing registered.
    pub(crate) fn new(code: Range<u64>) -> Result<Self, Error> {
        let granules = ((code.end - code.start) / GRANULE) as usize;
        assert!(
            granules <= u32::MAX as usize,
            "granules are counted in 32 bits, fewer than the last level has room for"
        );
        let mut levels = [const { 0..0 }; LEVELS];
        let (mut bits, mut from) = (granules, 0);
        for level in &mut levels {
            let words = bits.div_ceil(64);
            *level = from..from + words;
            (bits, from) = (words, from + words);
        }
        let memory = Memory::new(from, granules)?;
        let chunks = std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut()));
        Ok(Self { code, memory, levels, chunks, writer: Mutex::new(Writer::default()) })
    }

    pub(crate) fn entries(&self) -> usize {
        self.lock().entries
    }

    /// Makes `entries`, sorted and all inside one piece that begins at `begin`, findable.
    pub(crate) fn link(&self, begin: u64, entries: &[FdeEntry], readers: &AtomicU64) -> Piece {
        let granule = ((begin - self.code.start) / GRANULE) as u32;
        let mut writer = self.lock();
        self.reuse_unlinked(&mut writer, readers);
        self.memory.make_ready(granule as usize, &mut writer.ready);
        let index = self.take_record(&mut writer);
        writer.entries += entries.len();
        self.record(index).expect("just taken").fill(entries);
        // Release: a reader that finds the index (Acquire, `search`) sees the record's contents.
        self.memory.slot(granule as usize).store(index + 1, Ordering::Release);
        let mut bit = granule as usize;
        for level in &self.levels {
            // Release: a reader that sees the bit sees what lies below it. Nobody needs this piece before its publisher
            // says so, so the order among levels does not matter.
            let word = self.memory.word(level.start + bit / 64);
            let before = word.fetch_or(1 << (bit % 64), Ordering::Release);
            if before != 0 {
                break;
            }
            bit /= 64;
        }
        Piece { granule, record: index }
    }

    /// Makes a piece unfindable again; nobody is inside it any more.
    pub(crate) fn unlink(&self, piece: Piece, readers: &AtomicU64) {
        let mut writer = self.lock();
        let mut bit = piece.granule as usize;
        for level in &self.levels {
            // Relaxed: W1, ordered by the fence of `reuse_unlinked`.
            let word = self.memory.word(level.start + bit / 64);
            let before = word.fetch_and(!(1 << (bit % 64)), Ordering::Relaxed);
            if before != 1 << (bit % 64) {
                break;
            }
            bit /= 64;
        }
        // Relaxed: W1 as above.
        self.memory.slot(piece.granule as usize).store(0, Ordering::Relaxed);
        writer.entries -= self.record(piece.record).expect("linked").len();
        writer.unlinked.push(piece.record);
        self.reuse_unlinked(&mut writer, readers);
    }

    /// The entry that contains `pc`.
    pub(crate) fn find(&self, pc: u64, _counted_in: &Reader<'_>) -> Option<FdeEntry> {
        if !self.code.contains(&pc) {
            return None;
        }
        let begin = self.nearest_begin(((pc - self.code.start) / GRANULE) as usize)?;
        // Acquire: pairs with the Release of `link`.
        let index = self.memory.slot(begin).load(Ordering::Acquire).checked_sub(1)?;
        self.record(index)?.find(pc)
    }

    /// The largest begin at or below `granule`.
    fn nearest_begin(&self, granule: usize) -> Option<usize> {
        let mut bit = granule;
        let mut up = 0;
        let mut found = loop {
            let word = self.load(up, bit / 64) & (u64::MAX >> (63 - bit % 64));
            if word != 0 {
                break bit / 64 * 64 + word.ilog2() as usize;
            }
            bit = (bit / 64).checked_sub(1)?;
            up += 1;
            if up == LEVELS {
                return None;
            }
        };
        for level in (0..up).rev() {
            let word = self.load(level, found);
            // Zero only for a stray `pc`: a writer is between two levels.
            found = found * 64 + word.checked_ilog2()? as usize;
        }
        Some(found)
    }

    fn load(&self, level: usize, word: usize) -> u64 {
        // Acquire: pairs with the Release of `link`.
        self.memory.word(self.levels[level].start + word).load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// W2 and W3: records that no reader can hold become free.
    fn reuse_unlinked(&self, writer: &mut Writer, readers: &AtomicU64) {
        if writer.unlinked.is_empty() {
            return;
        }
        fence(Ordering::SeqCst);
        // Acquire: pairs with R4.
        if readers.load(Ordering::Acquire) == 0 {
            for &index in &writer.unlinked {
                self.record(index).expect("was linked").clear();
            }
            writer.free.append(&mut writer.unlinked);
        }
    }

    fn take_record(&self, writer: &mut Writer) -> u32 {
        if let Some(index) = writer.free.pop() {
            return index;
        }
        let index = writer.next;
        let (chunk, offset) = Self::chunk_of(index);
        assert!(chunk < CHUNKS, "more pieces than granules");
        if offset == 0 {
            let records = Record::chunk((FIRST_CHUNK << chunk) as usize);
            // Release: pairs with the Acquire of `record`.
            self.chunks[chunk].store(Box::into_raw(records).cast(), Ordering::Release);
        }
        writer.next += 1;
        index
    }

    /// Chunk `n` holds `FIRST_CHUNK << n` records.
    fn chunk_of(index: u32) -> (usize, usize) {
        let biased = index + FIRST_CHUNK;
        let chunk = biased.ilog2() - FIRST_CHUNK.ilog2();
        (chunk as usize, (biased - (FIRST_CHUNK << chunk)) as usize)
    }

    fn record(&self, index: u32) -> Option<&Record> {
        let (chunk, offset) = Self::chunk_of(index);
        // Acquire: pairs with the Release of `take_record`.
        let records = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if records.is_null() {
            return None;
        }
        // SAFETY: a chunk that is not null has `FIRST_CHUNK << chunk` records and lives as long as the index; `offset`
        // is below that by `chunk_of`.
        Some(unsafe { &*records.add(offset) })
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        for (n, chunk) in self.chunks.iter_mut().enumerate() {
            // Relaxed: `&mut self` says that no other thread is here.
            let records = chunk.load(Ordering::Relaxed);
            if !records.is_null() {
                let records = std::ptr::slice_from_raw_parts_mut(records, (FIRST_CHUNK << n) as usize);
                // SAFETY: the chunk was made by `take_record` from a box of this length.
                for record in unsafe { Box::from_raw(records) } {
                    record.clear();
                }
            }
        }
    }
}

impl Record {
    /// `count` records of nothing. Their pages come when they are used: making a chunk must not take milliseconds.
    #[cfg(not(loom))]
    fn chunk(count: usize) -> Box<[Self]> {
        let layout = std::alloc::Layout::array::<Self>(count).expect("at most 2^28 records");
        // SAFETY: the layout is not empty. All zeroes is a valid record, and the box has the layout of the allocation.
        unsafe {
            let records = std::alloc::alloc_zeroed(layout).cast::<Self>();
            if records.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(records, count))
        }
    }

    #[cfg(loom)]
    fn chunk(count: usize) -> Box<[Self]> {
        let zero = || AtomicU64::new(0);
        (0..count).map(|_| Self { begin: zero(), end: zero(), table: zero(), count: zero() }).collect()
    }

    /// Relaxed throughout: nobody sees the record before it is linked with Release, or after readers were seen at zero.
    fn fill(&self, entries: &[FdeEntry]) {
        let set = |field: &AtomicU64, value| field.store(value, Ordering::Relaxed);
        let (first, last) = (entries[0], entries[entries.len() - 1]);
        set(&self.begin, first.pc_begin.get());
        set(&self.end, last.pc_begin.get() + last.pc_bytes);
        set(&self.count, entries.len() as u64);
        set(&self.table, if entries.len() == 1 { first.fde.get() } else { leak_table(entries) });
    }

    fn len(&self) -> usize {
        // Relaxed: read by the writer under its lock, and by `find`, see there.
        self.count.load(Ordering::Relaxed) as usize
    }

    fn clear(&self) {
        if let count @ 2.. = self.len() {
            // Relaxed: as in `fill`.
            let table = self.table.load(Ordering::Relaxed);
            // SAFETY: the record owns the table that `fill` leaked, no reader holds it, and the count is reset below.
            unsafe { drop_table(table, count) };
        }
        // Relaxed: as in `fill`.
        self.count.store(0, Ordering::Relaxed);
    }

    /// Relaxed throughout: the record's index was loaded with Acquire, and its fields do not change while it is linked
    /// or a reader is counted in.
    fn find(&self, pc: u64) -> Option<FdeEntry> {
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let (begin, end) = (get(&self.begin), get(&self.end));
        if pc < begin || pc >= end {
            return None;
        }
        match get(&self.count) as usize {
            0 => None,
            1 => Some(FdeEntry {
                pc_begin: ExecutorAddr::new(begin),
                pc_bytes: end - begin,
                fde: ExecutorAddr::new(get(&self.table)),
            }),
            count => {
                // SAFETY: a table of `count` entries belongs to the record, and the caller is counted in.
                let entries = unsafe { table(get(&self.table), count) };
                let next = entries.partition_point(|entry| entry.pc_begin.get() <= pc);
                let entry = entries[next.checked_sub(1)?];
                (pc - entry.pc_begin.get() < entry.pc_bytes).then_some(entry)
            }
        }
    }
}

fn leak_table(entries: &[FdeEntry]) -> u64 {
    Box::into_raw(Box::<[FdeEntry]>::from(entries)).cast::<FdeEntry>().expose_provenance() as u64
}

/// # Safety
///
/// `at` came from [`leak_table`] with `count` entries and was not dropped.
unsafe fn table<'a>(at: u64, count: usize) -> &'a [FdeEntry] {
    // SAFETY: the contract of this function.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(at as usize), count) }
}

/// # Safety
///
/// As for [`table`], and nobody refers to the entries any more.
unsafe fn drop_table(at: u64, count: usize) {
    let entries = std::ptr::with_exposed_provenance_mut::<FdeEntry>(at as usize);
    // SAFETY: the contract of this function.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(entries, count)) });
}

/// Zeroed words and slots. Untouched parts cost address space only: the region is large and mostly empty.
#[cfg(not(loom))]
struct Memory {
    base: std::ptr::NonNull<u8>,
    words: usize,
    slots: usize,
}

// SAFETY: the mapping belongs to the value and is reached through atomics only.
#[cfg(not(loom))]
unsafe impl Send for Memory {}
// SAFETY: as above.
#[cfg(not(loom))]
unsafe impl Sync for Memory {}

#[cfg(not(loom))]
impl Memory {
    fn new(words: usize, slots: usize) -> Result<Self, Error> {
        let bytes = Self::bytes(words, slots);
        let base = crate::sys::map_private(bytes)
            .map_err(|source| crate::error::ErrorKind::AddressSpace { bytes: bytes as u64, source })?;
        Ok(Self { base, words, slots })
    }

    fn bytes(words: usize, slots: usize) -> usize {
        (words * 8 + slots * 4).next_multiple_of(crate::sys::PAGE)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words);
        // SAFETY: in bounds of the zeroed mapping, aligned by its page-aligned base, accessed atomically only.
        unsafe { &*self.base.as_ptr().cast::<AtomicU64>().add(index) }
    }

    /// Backs the page of a slot, and as many behind it as there are already: each would be a fault.
    fn make_ready(&self, slot: usize, ready: &mut Ready) {
        let page = (self.words * 8 + slot * 4) / crate::sys::PAGE;
        if page < ready.end {
            return;
        }
        let last = Self::bytes(self.words, self.slots) / crate::sys::PAGE;
        let count = ready.pages.clamp(1, READY_MAX).min(last - page);
        crate::sys::back(self.base.as_ptr().addr() + page * crate::sys::PAGE, count * crate::sys::PAGE);
        *ready = Ready { end: page + count, pages: ready.pages + count };
    }

    fn slot(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.slots);
        // SAFETY: as above; slots follow the words.
        unsafe { &*self.base.as_ptr().add(self.words * 8).cast::<AtomicU32>().add(index) }
    }
}

#[cfg(not(loom))]
impl Drop for Memory {
    fn drop(&mut self) {
        crate::sys::unmap(self.base.as_ptr().expose_provenance(), Self::bytes(self.words, self.slots));
    }
}

/// loom's atomics cannot live in raw memory.
#[cfg(loom)]
struct Memory {
    words: Vec<AtomicU64>,
    slots: Vec<AtomicU32>,
}

#[cfg(loom)]
impl Memory {
    fn new(words: usize, slots: usize) -> Result<Self, Error> {
        let words = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { words, slots: (0..slots).map(|_| AtomicU32::new(0)).collect() })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words[index]
    }

    fn make_ready(&self, _: usize, _: &mut Ready) {}

    fn slot(&self, index: usize) -> &AtomicU32 {
        &self.slots[index]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A piece is found from its end whatever word, at whatever level, its begin lies in.
    #[test]
    fn pieces_may_reach_across_the_words_of_every_level() {
        let index = Index::new(0..40 << 30).unwrap();
        let readers = AtomicU64::new(0);
        for level in 1..=5 {
            let boundary = 64u64.pow(level) * GRANULE;
            let begin = boundary - GRANULE;
            let pc_bytes = 2 * GRANULE + boundary / 2;
            let fde = ExecutorAddr::new(u64::from(level));
            let entry = FdeEntry { pc_begin: ExecutorAddr::new(begin), pc_bytes, fde };
            let piece = index.link(begin, &[entry], &readers);
            for pc in [begin, boundary, begin + pc_bytes - 1] {
                assert_eq!(index.find(pc, &Reader::enter(&readers)), Some(entry), "level {level}");
            }
            index.unlink(piece, &readers);
            assert_eq!(index.find(boundary, &Reader::enter(&readers)), None);
        }
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p kiln-codecache --lib --release loom`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn entry(begin: u64, fde: u64) -> FdeEntry {
        FdeEntry { pc_begin: ExecutorAddr::new(begin), pc_bytes: 10, fde: ExecutorAddr::new(fde) }
    }

    /// An index over 128 granules at address 0, with a live piece whose word of bits others share.
    fn index() -> Index {
        let index = Index::new(0..128 * GRANULE).unwrap();
        index.link(70 * GRANULE, &[entry(70 * GRANULE, 1)], &AtomicU64::new(0));
        index
    }

    /// Live code is found whatever comes and goes beside it.
    #[test]
    fn loom_live_code_is_always_found() {
        loom::model(|| {
            let shared = Arc::new((index(), AtomicU64::new(0)));
            let reader = thread::spawn({
                let shared = shared.clone();
                move || {
                    let (index, readers) = &*shared;
                    let live = entry(70 * GRANULE, 1);
                    let found = index.find(70 * GRANULE + 9, &Reader::enter(readers));
                    assert_eq!(found, Some(live));
                }
            });
            let (index, readers) = &*shared;
            let below = index.link(65 * GRANULE, &[entry(65 * GRANULE, 2)], readers);
            index.unlink(below, readers);
            reader.join().unwrap();
        });
    }

    /// A stray look-up never sees a record that was reused while it held it.
    #[test]
    fn loom_records_are_not_reused_under_a_reader() {
        loom::model(|| {
            let shared = Arc::new((index(), AtomicU64::new(0)));
            let going = shared.0.link(80 * GRANULE, &[entry(80 * GRANULE, 2)], &shared.1);
            let reader = thread::spawn({
                let shared = shared.clone();
                move || {
                    let (index, readers) = &*shared;
                    let found = index.find(80 * GRANULE, &Reader::enter(readers));
                    assert!(found.is_none_or(|found| found == entry(80 * GRANULE, 2)), "{found:?}");
                }
            });
            let (index, readers) = &*shared;
            index.unlink(going, readers);
            index.link(90 * GRANULE, &[entry(80 * GRANULE, 3)], readers);
            reader.join().unwrap();
        });
    }
}
