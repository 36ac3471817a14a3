//! Which instruction each piece of a function's code belongs to.
//!
//! The generator notes where the code of each instruction begins, in one byte mostly. What debug location an instruction has
//! nobody asks until there is a crash, a debugger or a profiler: then the body is read once more, with its locations, which
//! compiling skips.

use std::sync::Arc;

use kiln_bitcode::{Body, Location};

/// Where the code of instructions begins, while it is generated.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Whether the function has locations.
    pub(crate) wanted: bool,
    /// Place of the first mark's code.
    first: u32,
    /// Place and instruction of the last mark, or [`FAR_AWAY`].
    last: (u32, u32),
    /// The numbers, behind [`FRONT`] bytes for the one that comes first.
    bytes: Vec<u8>,
}

/// The longest number of 32 bits.
const FRONT: usize = 5;

impl Default for Marks {
    fn default() -> Self {
        Self { wanted: false, first: 0, last: FAR_AWAY, bytes: vec![0; FRONT] }
    }
}

impl Marks {
    pub(crate) fn restart(&mut self, body: &Body) {
        self.wanted = body.has_locations();
        self.last = FAR_AWAY;
        self.bytes.truncate(FRONT);
    }

    /// Instruction `index` begins at `place`, which is not before the last one.
    #[inline(always)]
    pub(crate) fn note(&mut self, place: u32, index: u32) {
        let (before, instruction) = self.last;
        let (distance, step) = (place.wrapping_sub(before), index.wrapping_sub(instruction));
        if distance <= NEAR_MAX && (1..=STEP_MAX as u32).contains(&step) {
            self.last = (place, index);
            self.bytes.push((distance << STEP_BITS | step) as u8);
        } else {
            self.note_any(place, index);
        }
    }

    /// The same for the first one, and for those that need more than a byte.
    #[inline(never)]
    fn note_any(&mut self, place: u32, index: u32) {
        let (before, instruction) = match self.last {
            _ if self.bytes.len() == FRONT => {
                self.first = place;
                (place, -1)
            }
            (before, instruction) => (before, i64::from(instruction)),
        };
        self.last = (place, index);
        let distance = u64::from(place - before) << STEP_BITS;
        let step = i64::from(index) - instruction;
        match u64::try_from(step) {
            Ok(step) if (1..=STEP_MAX).contains(&step) => put(&mut self.bytes, distance | step),
            _ => {
                put(&mut self.bytes, distance | FAR);
                put(&mut self.bytes, (step << 1 ^ step >> 63) as u64);
            }
        }
    }

    /// The table for code that begins at `start`.
    pub(crate) fn table(&mut self, start: u32) -> Option<LineTable> {
        if self.bytes.len() == FRONT {
            return None;
        }
        let mut number = self.first - start;
        let length = (number.checked_ilog2().unwrap_or(0) / 7 + 1) as usize;
        for (at, byte) in self.bytes[FRONT - length..FRONT].iter_mut().enumerate() {
            *byte = number as u8 & 0x7f | if at + 1 < length { 0x80 } else { 0 };
            number >>= 7;
        }
        Some(LineTable(Arc::from(&self.bytes[FRONT - length..])))
    }
}

/// The instructions of a function's code, in a few bytes: the place of the first one; then for each a number that is four times
/// the bytes of code since the last one, plus how many instructions to go on by, or 0 where that is less than 1 or more
/// than 3, and a second number has it, its sign in the lowest bit. Numbers are in LEB128.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTable(Arc<[u8]>);

/// How many bits of a mark's number say which instruction it has.
const STEP_BITS: u32 = 2;
/// The largest step that they hold.
const STEP_MAX: u64 = (1 << STEP_BITS) - 1;
/// Before the first mark: nothing is near it.
const FAR_AWAY: (u32, u32) = (1 << 31, 0);
/// The most bytes of code that a mark of one byte goes on by.
const NEAR_MAX: u32 = 0x7f >> STEP_BITS;
/// Instead of a step: it follows as a number of its own.
const FAR: u64 = 0;

impl LineTable {
    /// From which byte of the code on each instruction's code lies.
    pub fn marks(&self) -> impl Iterator<Item = (u32, u32)> {
        let mut rest = &self.0[..];
        let (mut place, mut last) = (take(&mut rest).unwrap_or_default(), -1i64);
        std::iter::from_fn(move || {
            let number = take(&mut rest)?;
            place += number >> STEP_BITS;
            last += match number & STEP_MAX {
                FAR => {
                    let step = take(&mut rest)?;
                    (step >> 1) as i64 ^ -((step & 1) as i64)
                }
                step => step as i64,
            };
            Some((place as u32, last as u32))
        })
    }

    /// The rows: from which byte of the code on which of [`Body::locations`] holds, if any does. Instructions without a
    /// location belong to the one before them, and at the start of a block to none.
    ///
    /// `body` is the body that was compiled, read with its locations.
    #[must_use]
    pub fn rows(&self, body: &Body) -> Vec<(u32, Option<u32>)> {
        let locations = body.locations();
        let same = |a: &Location, b: &Location| Location { instruction: b.instruction, ..*a } == *b;
        let mut rows: Vec<(u32, Option<u32>)> = Vec::new();
        let mut previous = None;
        for (place, instruction) in self.marks() {
            let found = locations.binary_search_by_key(&instruction, |location| location.instruction).ok();
            let before = previous.replace(instruction);
            let begins_block = || before.is_none_or(|before| body.begins_block(before, instruction));
            let row = match (found, rows.last()) {
                (Some(found), Some((_, Some(last)))) if same(&locations[found], &locations[*last as usize]) => continue,
                (Some(found), _) => Some(found as u32),
                (None, None | Some((_, Some(_)))) if begins_block() => None,
                (None, _) => continue,
            };
            match rows.last_mut() {
                // What took no code takes no row.
                Some(last) if last.0 == place => last.1 = row,
                _ => rows.push((place, row)),
            }
        }
        rows
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(start: u32, marks: &[(u32, u32)]) -> LineTable {
        let mut noted = Marks::default();
        for (place, instruction) in marks {
            noted.note(*place, *instruction);
        }
        noted.table(start).expect("marks were made")
    }

    #[test]
    fn tables_give_back_what_they_were_made_of() {
        let near = [(0, 0), (5, 1), (5, 3), (9 + 15, 6), (40, 10), (41, 2), (50, 2)];
        let long = [(7, u32::MAX), (1 << 20, 1 << 30), (u32::MAX, 0)];
        for marks in [&near[..], &long[..], &[(7, u32::MAX)]] {
            assert_eq!(table(0, marks).marks().collect::<Vec<_>>(), marks);
        }
    }

    #[test]
    fn places_count_from_the_start_of_the_code() {
        assert_eq!(table(100, &[(112, 4), (120, 5)]).marks().collect::<Vec<_>>(), [(12, 4), (20, 5)]);
    }

    #[test]
    fn the_next_instruction_after_a_short_one_takes_one_byte() {
        let marks: Vec<_> = (0..100).map(|n| (31 * n, n)).collect();
        let table = table(0, &marks);
        assert_eq!(table.size(), 101);
        assert_eq!(table.marks().collect::<Vec<_>>(), marks);
    }

    #[test]
    fn a_function_without_code_has_no_table() {
        assert_eq!(Marks::default().table(0), None);
    }
}
