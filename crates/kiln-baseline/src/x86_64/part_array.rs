//! The parts of a function's values: what is known of where each is.
//!
//! A value that is used in its own block only is gone when the block ends, and the parts of the next block's take the
//! places of its parts. So the array does not grow with the function's instructions, but with what lives long.

use std::ops::{Index, IndexMut};

use super::parts::Bank;
use super::registers::NO_REG;

/// One part of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Its value's index.
    pub(crate) value: u32,
    /// Slot, relative to RBP; 0 for none.
    pub(crate) slot: i32,
    /// Register, or [`NO_REG`].
    pub(crate) reg: u8,
    /// Whether the slot holds it.
    pub(crate) stored: bool,
    /// It keeps the register, which nobody else owns.
    pub(crate) fixed: bool,
    pub(crate) bank: Bank,
    pub(crate) bytes: u8,
    /// How many parts its value has.
    pub(crate) count: u8,
}

/// As many of the values that stay in one block give their places to those of the next.
const LOCAL: usize = 256;

/// Parts by their numbers: first those of values that stay in their block and have no other parts.
#[derive(Debug, Default)]
pub(crate) struct PartArray {
    all: Vec<Part>,
    /// How many of the first [`LOCAL`] the block at hand has taken.
    taken: usize,
}

impl PartArray {
    pub(crate) fn clear(&mut self) {
        const NOTHING: Part =
            Part { value: 0, slot: 0, reg: NO_REG, stored: false, fixed: false, bank: Bank::Gpr, bytes: 0, count: 0 };
        self.all.resize(LOCAL, NOTHING);
        self.taken = 0;
    }

    /// The number of the part that [`PartArray::add`] adds next.
    pub(crate) fn next(&self) -> u32 {
        self.all.len() as u32
    }

    /// Adds a part that stays; returns its number.
    #[inline]
    pub(crate) fn add(&mut self, part: Part) -> u32 {
        let number = self.next();
        self.all.push(part);
        number
    }

    /// Adds the only part of a value that is not live beyond the block at hand; returns its number.
    #[inline(always)]
    pub(crate) fn add_local(&mut self, part: Part) -> u32 {
        let number = self.taken;
        match self.all.get_mut(number) {
            Some(place) if number < LOCAL => *place = part,
            _ => return self.add(part),
        }
        self.taken += 1;
        number as u32
    }

    /// A block begins. No register and no slot is a local part's any more.
    pub(crate) fn begin_block(&mut self) {
        self.taken = 0;
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.all)
    }
}

impl Index<usize> for PartArray {
    type Output = Part;

    #[inline(always)]
    fn index(&self, part: usize) -> &Part {
        &self.all[part]
    }
}

impl IndexMut<usize> for PartArray {
    #[inline(always)]
    fn index_mut(&mut self, part: usize) -> &mut Part {
        &mut self.all[part]
    }
}
