//! One region: what of it is free, and what of it has memory.
//!
//! Memory comes ahead of need and in steps that grow with the region, so that the path of a small install makes no
//! system call: a fresh page pair costs 3.2 µs by faults, 1.6 µs in a batch and 0.9 µs inside a huge page.

use std::io;
use std::ops::Range;

use kiln_abi::{ExecutorAddr, Permission, Segment};

use crate::cache::Place;
use crate::error::{Error, ErrorKind};
use crate::heap::{GRANULE, Heap};
use crate::mapper::{HUGE_PAGE, Mapper, Pages, RegionViews};
use crate::quarantine::Quarantine;

/// Unit in which memory is committed.
const BLOCK: u64 = 64 << 10;
/// Blocks of a huge page.
const HUGE_BLOCKS: u64 = HUGE_PAGE / BLOCK;
/// From this many blocks on a run is worth huge pages: 2 MiB of them take as long as 1.2 MiB of base pages.
const HUGE_WORTHY: u64 = 16;
/// Data that is asked for in one piece larger than this is left to demand faults: large zero-initialised arrays are
/// rarely used whole, and private memory has no SIGBUS to fear.
const DATA_COMMIT_MAX: u64 = 1 << 20;
/// A freed piece of at least this size gives its memory back.
const DECOMMIT_MIN: u64 = HUGE_PAGE;
/// `int3`: what freed code becomes, so that a stray jump stops where it lands.
const FREED_CODE: u8 = 0xcc;

#[derive(Debug)]
pub(crate) struct Region {
    permission: Permission,
    views: RegionViews,
    heap: Heap,
    committed: Vec<u64>,
    committed_blocks: u64,
    live: u64,
    quarantine: Option<Quarantine>,
}

// SAFETY: the pointer in `views` is plain data here; every access through it goes by the owner of an allocation.
unsafe impl Send for Region {}

/// An allocation of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) permission: Permission,
    pub(crate) at: ExecutorAddr,
    /// Bytes that were asked for.
    pub(crate) size: u64,
}

impl Piece {
    /// Bytes that were taken.
    pub(crate) fn taken(&self) -> u64 {
        Heap::rounded(self.size).expect("rounded when it was allocated")
    }
}

impl Region {
    pub(crate) fn new(permission: Permission, mapper: &dyn Mapper, quarantine: u64) -> Self {
        let views = mapper.region(permission);
        let start = views.executor.get();
        let blocks = views.bytes / BLOCK;
        Self {
            permission,
            views,
            heap: Heap::new(start..start + views.bytes),
            committed: vec![0; blocks.div_ceil(64) as usize],
            committed_blocks: 0,
            live: 0,
            quarantine: (quarantine > 0).then(|| Quarantine::new(quarantine)),
        }
    }

    /// Takes memory for `segment`, backed and ready to be written.
    pub(crate) fn allocate(&mut self, segment: &Segment, place: &Place, mapper: &dyn Mapper) -> Result<Piece, Error> {
        let &Segment { permission, size, align } = segment;
        if !align.is_power_of_two() || align > self.views.bytes {
            return Err(ErrorKind::BadAlignment { size, align }.into());
        }
        let no_space = |heap: &Heap| {
            let largest_free = heap.largest_free();
            ErrorKind::OutOfSpace { permission, size, align, largest_free }
        };
        let Some(taken) = Heap::rounded(size) else { return Err(no_space(&self.heap).into()) };
        let at = match place {
            Place::Anywhere => self.heap.allocate(taken, align).ok_or_else(|| no_space(&self.heap))?,
            Place::At(at) if !at.get().is_multiple_of(align) => {
                return Err(ErrorKind::BadAlignment { size, align }.into());
            }
            Place::At(at) => self.heap.allocate_at(at.get(), taken).ok_or(ErrorKind::Occupied {
                permission,
                size,
                range: *at..*at + size,
            })?,
            Place::Within(range) => self
                .heap
                .allocate_within(range.start.get()..range.end.get(), taken, align)
                .ok_or_else(|| ErrorKind::Occupied { permission, size, range: range.clone() })?,
        };
        if let Err(source) = self.commit(at..at + taken, mapper) {
            self.heap.free(at, taken);
            return Err(ErrorKind::OutOfMemory { permission, bytes: taken, source }.into());
        }
        self.live += 1;
        let piece = Piece { permission, at: ExecutorAddr::new(at), size };
        let offsets = self.offsets(&piece);
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.used(offsets, |pages| mapper.guard(permission, pages, false));
        }
        Ok(piece)
    }

    /// Takes `piece` back.
    ///
    /// # Safety
    ///
    /// `piece` is a live allocation of this region; nothing refers to or executes its bytes any more.
    pub(crate) unsafe fn free(&mut self, piece: &Piece, mapper: &dyn Mapper) {
        let range = self.offsets(piece);
        self.live -= 1;
        let Some(quarantine) = &mut self.quarantine else {
            // SAFETY: the contract of this function.
            unsafe { self.clear(range, mapper) };
            return self.heap.free(piece.at.get(), piece.taken());
        };
        let permission = self.permission;
        let released = quarantine.freed(*piece, range.clone(), |pages| mapper.guard(permission, pages, true));
        // SAFETY: the contract of this function. Bytes are written through the other view, which is not guarded.
        unsafe { self.clear(range, mapper) };
        for piece in released {
            self.heap.free(piece.at.get(), piece.taken());
        }
    }

    /// Makes freed bytes trap, or read as zero, and gives the memory of large pieces back.
    ///
    /// # Safety
    ///
    /// Nothing refers to or executes them any more.
    unsafe fn clear(&mut self, range: Range<u64>, mapper: &dyn Mapper) {
        let mut kept = [range.clone(), 0..0];
        let inner = range.start.next_multiple_of(BLOCK)..range.end / BLOCK * BLOCK;
        if range.end - range.start >= DECOMMIT_MIN && mapper.decommit(self.permission, inner.clone()).is_ok() {
            self.mark(inner.start / BLOCK..inner.end / BLOCK, false);
            kept = [range.start..inner.start, inner.end..range.end];
        }
        let fill = if self.permission == Permission::Code { FREED_CODE } else { 0 };
        for part in kept {
            // SAFETY: the bytes are committed parts of a piece, to which nothing refers any more.
            unsafe {
                let at = self.views.working.add(part.start as usize);
                at.write_bytes(fill, (part.end - part.start) as usize);
            }
        }
    }

    /// Gives all memory back for good: nothing can be allocated any more.
    ///
    /// # Safety
    ///
    /// Nothing refers to or executes any byte of the region, now or later.
    pub(crate) unsafe fn release(&mut self, mapper: &dyn Mapper) {
        // What the mapper cannot give back stays with it.
        let _ = mapper.decommit(self.permission, 0..self.views.bytes);
        self.mark(0..self.blocks(), false);
        let start = self.views.executor.get();
        self.heap = Heap::new(start..start);
        self.quarantine = None;
        self.live = 0;
    }

    /// The bytes of `piece` relative to the region.
    fn offsets(&self, piece: &Piece) -> Range<u64> {
        let start = piece.at.offset_from(self.views.executor) as u64;
        start..start + piece.taken()
    }

    /// Backs `[range)` of addresses and some of what follows.
    fn commit(&mut self, range: Range<u64>, mapper: &dyn Mapper) -> io::Result<()> {
        if self.permission == Permission::ReadWrite && range.end - range.start > DATA_COMMIT_MAX {
            return Ok(());
        }
        let start = self.views.executor.get();
        let wanted = (range.start - start) / BLOCK..(range.end - start).div_ceil(BLOCK);
        let mut block = wanted.start;
        while block < wanted.end {
            if self.is_committed(block) {
                block += 1;
                continue;
            }
            let run = block..self.run_end(block, &wanted);
            block = run.end;
            self.commit_run(run, mapper)?;
        }
        Ok(())
    }

    /// Where the run of uncommitted blocks from `block` on ends: with what is wanted, or a step behind it.
    fn run_end(&self, block: u64, wanted: &Range<u64>) -> u64 {
        // A small program commits little, and half as much again each time; a large one whole huge pages.
        let step = match self.committed_blocks {
            few @ 0..HUGE_BLOCKS => (few / 2).max(1),
            _ => HUGE_BLOCKS,
        };
        let last = (block + step).max(wanted.end).min(self.blocks());
        (block..last).find(|&block| self.is_committed(block)).unwrap_or(last)
    }

    /// Commits a run of uncommitted blocks; a long one as whole huge pages, beyond its ends where they are free.
    fn commit_run(&mut self, run: Range<u64>, mapper: &dyn Mapper) -> io::Result<()> {
        if run.end - run.start < HUGE_WORTHY || self.permission == Permission::ReadWrite {
            return self.commit_blocks(run, Pages::Base, mapper);
        }
        let huge = run.start / HUGE_BLOCKS * HUGE_BLOCKS..run.end.next_multiple_of(HUGE_BLOCKS).min(self.blocks());
        let is_whole = |page: u64| !(page..page + HUGE_BLOCKS).any(|block| self.is_committed(block));
        let first = huge.clone().step_by(HUGE_BLOCKS as usize).find(|&page| is_whole(page)).unwrap_or(huge.end);
        let last = (first..huge.end).step_by(HUGE_BLOCKS as usize).find(|&page| !is_whole(page)).unwrap_or(huge.end);
        if run.start < first {
            self.commit_blocks(run.start..first.min(run.end), Pages::Base, mapper)?;
        }
        if first < last {
            self.commit_blocks(first..last, Pages::Huge, mapper)?;
        }
        if last.max(first) < run.end {
            self.commit_blocks(last.max(first)..run.end, Pages::Base, mapper)?;
        }
        Ok(())
    }

    fn commit_blocks(&mut self, blocks: Range<u64>, pages: Pages, mapper: &dyn Mapper) -> io::Result<()> {
        mapper.commit(self.permission, blocks.start * BLOCK..blocks.end * BLOCK, pages)?;
        self.mark(blocks, true);
        Ok(())
    }

    fn mark(&mut self, blocks: Range<u64>, committed: bool) {
        for block in blocks {
            let (word, bit) = ((block / 64) as usize, 1 << (block % 64));
            let was = self.committed[word] & bit != 0;
            if committed {
                self.committed[word] |= bit;
            } else {
                self.committed[word] &= !bit;
            }
            match (was, committed) {
                (false, true) => self.committed_blocks += 1,
                (true, false) => self.committed_blocks -= 1,
                _ => {}
            }
        }
    }

    fn is_committed(&self, block: u64) -> bool {
        self.committed[(block / 64) as usize] & (1 << (block % 64)) != 0
    }

    fn blocks(&self) -> u64 {
        self.views.bytes / BLOCK
    }

    /// The used parts, as offsets widened to whole blocks.
    pub(crate) fn used_blocks(&self) -> Vec<Range<u64>> {
        let start = self.views.executor.get();
        let mut blocks: Vec<Range<u64>> = Vec::new();
        for extent in self.heap.used_extents() {
            let next = (extent.start - start) / BLOCK * BLOCK..(extent.end - start).next_multiple_of(BLOCK);
            match blocks.last_mut() {
                Some(last) if last.end >= next.start => last.end = next.end,
                _ => blocks.push(next),
            }
        }
        blocks
    }

    /// After the region's memory was replaced by a copy of its used blocks: nothing else has memory, and nothing is guarded.
    pub(crate) fn become_child(&mut self) {
        if let Some(quarantine) = &mut self.quarantine {
            quarantine.forget_guards();
        }
        self.mark(0..self.blocks(), false);
        for range in self.used_blocks() {
            self.mark(range.start / BLOCK..range.end / BLOCK, true);
        }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.heap.used()
    }

    pub(crate) fn stats(&self) -> crate::RegionStats {
        crate::RegionStats {
            permission: self.permission,
            executor: self.views.executor,
            reserved_bytes: self.views.bytes,
            committed_bytes: self.committed_blocks * BLOCK,
            used_bytes: self.heap.used(),
            largest_free_bytes: self.heap.largest_free(),
            live_allocations: self.live,
        }
    }
}

const _: () = assert!(BLOCK.is_multiple_of(GRANULE) && HUGE_PAGE.is_multiple_of(BLOCK));
