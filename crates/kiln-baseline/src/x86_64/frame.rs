//! The stack frame: slots and fixed objects below the frame pointer.
//!
//! ```text
//! rbp + 16   arguments on the stack
//! rbp + 8    return address
//! rbp        the caller's rbp
//! rbp - 40   rbx, r12 - r15, those that are used
//! ...        slots and objects
//! rsp        dynamic allocas and outgoing arguments come and go below
//! ```

use super::encoder::Gpr;
use super::registers::CALLEE_SAVED;

/// Bytes that the callee-saved registers take.
const SAVED_BYTES: i32 = 40;
/// Larger frames are left to the optimizer.
const SIZE_MAX: i64 = 1 << 28;

/// The frame while its function is compiled.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Bytes below RBP.
    size: i64,
    free8: Vec<i32>,
    free16: Vec<i32>,
    /// Slots of values that are live beyond their block, in lists by the block where they end: part and next.
    pub(crate) held: Vec<(u32, u32)>,
    /// Slots are never used twice: the function may return twice.
    pub(crate) keep_slots: bool,
    pub(crate) overflow: bool,
}

impl Frame {
    pub(crate) fn reset(&mut self) {
        self.size = i64::from(SAVED_BYTES);
        self.free8.clear();
        self.free16.clear();
        self.held.clear();
        self.keep_slots = false;
        self.overflow = false;
    }

    /// A slot of 8 or 16 bytes, as a displacement from RBP.
    pub(crate) fn take(&mut self, bytes: u8) -> i32 {
        let free = if bytes == 16 { &mut self.free16 } else { &mut self.free8 };
        match free.pop() {
            Some(slot) => slot,
            None => self.object(u64::from(bytes), u64::from(bytes)),
        }
    }

    pub(crate) fn give(&mut self, slot: i32, bytes: u8) {
        if !self.keep_slots {
            let free = if bytes == 16 { &mut self.free16 } else { &mut self.free8 };
            free.push(slot);
        }
    }

    /// Room for `size` bytes; `align` is at most 16.
    pub(crate) fn object(&mut self, size: u64, align: u64) -> i32 {
        debug_assert!(align <= 16, "RBP is aligned to 16 bytes only");
        let size = i64::try_from(size).unwrap_or(SIZE_MAX).min(SIZE_MAX);
        let align = align.max(1) as i64;
        debug_assert!(align.count_ones() == 1, "alignments are powers of two");
        self.size = (self.size + size + align - 1) & -align;
        if self.size > SIZE_MAX {
            self.overflow = true;
            self.size = SIZE_MAX;
        }
        -(self.size as i32)
    }

    /// Bytes to subtract from RSP after RBP was set.
    pub(crate) fn bytes(&self) -> u32 {
        ((self.size + 15) & !15) as u32
    }
}

/// Where callee-saved register `reg` is kept, relative to RBP.
pub(crate) fn saved_at(reg: u8) -> i32 {
    match reg {
        3 => -8,
        12 => -16,
        13 => -24,
        14 => -32,
        _ => -40,
    }
}

/// The callee-saved registers in `mask`.
pub(crate) fn saved(mask: u32) -> impl Iterator<Item = Gpr> {
    [3u8, 12, 13, 14, 15].into_iter().filter(move |reg| mask & CALLEE_SAVED & 1 << reg != 0).map(Gpr)
}
