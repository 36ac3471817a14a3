//! Chunks: where a table's stubs and states are, so that it grows without moving anything.
//!
//! Chunk sizes grow with the table: eight chunks of 256 functions, eight of 512, and so on. Which chunk an index is
//! in is a matter of shifts, no more than an eighth of the memory, and 4 KiB, is ahead of its use, and 2^27 functions
//! need 144 chunks, few enough to search through for an address.
//!
//! A chunk's stubs are one block of code memory that starts with the port's entry code, which tells the trampoline the
//! chunk, and with it the table and the index of the first stub.

use crate::memory::StubBlock;
use crate::state;
use crate::sync::Futex;
use crate::table::FunctionTable;
use crate::x86_64::{ENTRY_BYTES, entry_code};
use kiln_abi::ExecutorAddr;
use kiln_abi::x86_64::{STUB_BYTES, STUB_RETURN_OFFSET, fresh_stub};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Functions in each of the first chunks.
const FIRST: u32 = 256;
/// Chunks of one size.
const PER_SIZE: u32 = 8;
/// Most functions of a table: their stubs take the 2 GiB that one reservation can span.
pub(crate) const MAX_FUNCTIONS: u32 = 1 << 27;
/// Chunks of a full table.
pub(crate) const MAX_CHUNKS: usize = locate(MAX_FUNCTIONS - 1).chunk + 1;

/// Where an index is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) chunk: usize,
    /// Index of the chunk's first function.
    pub(crate) first: u32,
    /// Functions in the chunk.
    pub(crate) len: u32,
}

/// Where the function with this index is. `index` < [`MAX_FUNCTIONS`].
pub(crate) const fn locate(index: u32) -> Location {
    // With the first size's total added, the highest bit tells the size and the three bits below it which of eight.
    let biased = index + FIRST * PER_SIZE;
    let size = biased.ilog2() - (FIRST * PER_SIZE).ilog2();
    let len = FIRST << size;
    let of_this_size = biased / len - PER_SIZE;
    let first = biased / len * len - FIRST * PER_SIZE;
    Location { chunk: (size * PER_SIZE + of_this_size) as usize, first, len }
}

/// A run of functions. Never freed: the address of a stub may be anywhere.
pub(crate) struct Chunk {
    pub(crate) table: &'static FunctionTable,
    /// Index of the first function.
    pub(crate) first: u32,
    /// Where the first stub runs.
    stubs: ExecutorAddr,
    /// Where the first stub is written.
    working: NonNull<u8>,
    states: Box<[Futex]>,
}

// SAFETY: `working` is only used for atomic stores and loads of slots and, by `write_fresh_stub`, for stubs that nobody
// can have reached yet; the memory belongs to the chunk (promise of `StubMemory`).
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// Bytes of stub memory a chunk of `len` functions takes.
    pub(crate) const fn block_bytes(len: u32) -> u64 {
        ENTRY_BYTES + len as u64 * STUB_BYTES
    }

    /// A chunk in `block`, which is [`block_bytes`](Chunk::block_bytes) long, with its entry code written.
    pub(crate) fn new(
        table: &'static FunctionTable,
        place: &Location,
        block: StubBlock,
        trampoline: ExecutorAddr,
    ) -> &'static Chunk {
        assert!(block.executor.get().is_multiple_of(STUB_BYTES), "stub block at {}", block.executor);
        // SAFETY: the block is longer than its entry code.
        let working = unsafe { block.working.add(ENTRY_BYTES as usize) };
        let chunk: &'static Chunk = Box::leak(Box::new(Chunk {
            table,
            first: place.first,
            stubs: block.executor + ENTRY_BYTES,
            working,
            states: (0..place.len).map(|_| state::unresolved()).collect(),
        }));
        let code = entry_code(ExecutorAddr::new((&raw const *chunk).addr() as u64), trampoline);
        // SAFETY: the block is ours, longer than the entry code, and nothing leads to it yet.
        unsafe { block.working.copy_from_nonoverlapping(NonNull::from(&code).cast(), code.len()) };
        chunk
    }

    pub(crate) fn len(&self) -> u32 {
        self.states.len() as u32
    }

    pub(crate) fn state(&self, index: u32) -> &Futex {
        &self.states[(index - self.first) as usize]
    }

    pub(crate) fn stub(&self, index: u32) -> ExecutorAddr {
        self.stubs + u64::from(index - self.first) * STUB_BYTES
    }

    /// The slot of a stub that was written.
    pub(crate) fn slot(&self, index: u32) -> &AtomicU64 {
        // SAFETY: the stub's first eight bytes, aligned to 16, written by `write_fresh_stub` before the table's length
        // let anybody ask for this index, and since then only stored to through this atomic. The block outlives `self`.
        unsafe { AtomicU64::from_ptr(self.working_stub(index).cast().as_ptr()) }
    }

    /// Writes the stub of a function that nobody knows of yet.
    pub(crate) fn write_fresh_stub(&self, index: u32) {
        let entry = self.stubs - ENTRY_BYTES;
        let bytes = fresh_stub(self.stub(index), entry).expect("a chunk is smaller than a jump's reach");
        // SAFETY: inside the block; the index is beyond the table's length, so no slot of it exists and no code leads
        // there.
        unsafe { self.working_stub(index).copy_from_nonoverlapping(NonNull::from(&bytes).cast(), bytes.len()) };
    }

    /// The index of the stub one byte of which is at `address`.
    pub(crate) fn index_of(&self, address: ExecutorAddr) -> Option<u32> {
        let offset = u64::try_from(address.offset_from(self.stubs)).ok()?;
        let nth = offset / STUB_BYTES;
        (nth < self.states.len() as u64).then(|| self.first + nth as u32)
    }

    /// The index of the stub whose call of the resolver returns to `address`.
    pub(crate) fn index_of_resolver_call(&self, address: ExecutorAddr) -> u32 {
        let index = self.index_of(address - STUB_RETURN_OFFSET);
        index.unwrap_or_else(|| panic!("{address} is not behind a resolver call of the stubs at {}", self.stubs))
    }

    /// All states, for the child of a fork.
    pub(crate) fn states(&self) -> &[Futex] {
        &self.states
    }

    fn working_stub(&self, index: u32) -> NonNull<u8> {
        let nth = (index - self.first) as usize;
        assert!(nth < self.states.len(), "function {index} in the chunk of {}..+{}", self.first, self.states.len());
        // SAFETY: the block holds as many stubs as there are states.
        unsafe { self.working.add(nth * STUB_BYTES as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_follow_each_other_without_gaps() {
        let mut next = 0;
        let mut chunk = 0;
        while next < MAX_FUNCTIONS {
            let location = locate(next);
            assert_eq!((location.chunk, location.first), (chunk, next));
            assert_eq!(locate(next + location.len - 1), location);
            assert!(location.len <= FIRST + next / 8, "{location:?}");
            next += location.len;
            chunk += 1;
        }
        assert_eq!(chunk, MAX_CHUNKS);
    }
}
