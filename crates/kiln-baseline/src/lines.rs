//! Which debug location each piece of a function's code belongs to.
//!
//! The generator notes where the code of each instruction begins. From that and the body's locations comes a table of one
//! to three bytes per change of location; what a location means nobody asks until there is a crash, a debugger or a
//! profiler. Instructions without a location belong to the one before them, and at the start of a block to none.

use kiln_bitcode::{Body, Location};

/// Where the code of instructions begins.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Whether the function has locations.
    pub(crate) wanted: bool,
    /// Place of the code, and the instruction.
    marks: Vec<(u32, u32)>,
}

impl Marks {
    pub(crate) fn restart(&mut self, body: &Body) {
        self.wanted = !body.locations().is_empty();
        self.marks.clear();
    }

    /// Instruction `index` begins at `place`.
    #[inline(never)]
    pub(crate) fn note(&mut self, place: u32, index: u32) {
        self.marks.push((place, index));
    }

    /// The table for code that begins at `start`.
    pub(crate) fn table(&self, body: &Body, start: u32) -> Option<LineTable> {
        let locations = body.locations();
        let same = |a: &Location, b: &Location| Location { instruction: b.instruction, ..*a } == *b;
        let mut rows: Vec<(u32, Option<u32>)> = Vec::new();
        let mut next = 0;
        let mut previous = None;
        for (place, instruction) in &self.marks {
            if previous.is_none_or(|previous| *instruction <= previous) {
                next = locations.partition_point(|location| location.instruction < *instruction);
            }
            while locations.get(next).is_some_and(|location| location.instruction < *instruction) {
                next += 1;
            }
            let found = locations.get(next).filter(|location| location.instruction == *instruction);
            let before = previous.replace(*instruction);
            let begins_block = || before.is_none_or(|before| body.begins_block(before, *instruction));
            let row = match (found, rows.last()) {
                (Some(found), Some((_, Some(last)))) if same(found, &locations[*last as usize]) => continue,
                (Some(_), _) => Some(next as u32),
                (None, None | Some((_, Some(_)))) if begins_block() => None,
                (None, _) => continue,
            };
            let place = place - start;
            match rows.last_mut() {
                // What took no code takes no row.
                Some(last) if last.0 == place => last.1 = row,
                _ => rows.push((place, row)),
            }
        }
        (!rows.is_empty()).then(|| LineTable::encode(&rows))
    }
}

/// The debug locations of a function's code, in a few bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTable(Box<[u8]>);

/// How many bits of a row's number say which location it has.
const STEP_BITS: u32 = 3;
/// Instead of a step: there is no location.
const NO_LOCATION: u64 = 0;
/// Instead of a step: it follows as a number of its own.
const FAR: u64 = (1 << STEP_BITS) - 1;

impl LineTable {
    /// Each row is a number: bytes of code since the last row, times eight, plus how many locations to go on by; 7 where
    /// that is less than 1 or more than 6, and a second number has it, its sign in the lowest bit. Numbers are in LEB128.
    fn encode(rows: &[(u32, Option<u32>)]) -> Self {
        let mut bytes = Vec::with_capacity(rows.len() * 2);
        let (mut place, mut last) = (0, -1);
        for (to, location) in rows {
            let distance = u64::from(to - place) << STEP_BITS;
            place = *to;
            let Some(location) = location else {
                put(&mut bytes, distance | NO_LOCATION);
                continue;
            };
            let step = i64::from(*location) - last;
            last = i64::from(*location);
            match u64::try_from(step) {
                Ok(step) if (1..FAR).contains(&step) => put(&mut bytes, distance | step),
                _ => {
                    put(&mut bytes, distance | FAR);
                    put(&mut bytes, (step << 1 ^ step >> 63) as u64);
                }
            }
        }
        Self(bytes.into())
    }

    /// The rows: from which byte of the code on which of [`Body::locations`] holds, if any does.
    pub fn rows(&self) -> impl Iterator<Item = (u32, Option<u32>)> {
        let mut rest = &self.0[..];
        let (mut place, mut last) = (0u64, -1i64);
        std::iter::from_fn(move || {
            let number = take(&mut rest)?;
            place += number >> STEP_BITS;
            let step = match number & FAR {
                NO_LOCATION => return Some((place as u32, None)),
                FAR => {
                    let step = take(&mut rest)?;
                    (step >> 1) as i64 ^ -((step & 1) as i64)
                }
                step => step as i64,
            };
            last += step;
            Some((place as u32, Some(last as u32)))
        })
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

    #[test]
    fn tables_give_back_what_they_were_made_of() {
        let far =
            [(0, Some(0)), (5, Some(1)), (9, None), (9 + 15, Some(2)), (40, Some(8)), (41, Some(7)), (50, Some(7))];
        let long = [(0, None), (1 << 20, Some(1 << 30)), (u32::MAX, Some(0))];
        for rows in [&far[..], &long[..], &[(7, Some(u32::MAX))]] {
            assert_eq!(LineTable::encode(rows).rows().collect::<Vec<_>>(), rows);
        }
    }

    #[test]
    fn the_next_location_after_a_short_instruction_takes_one_byte() {
        let rows: Vec<_> = (0..100).map(|n| (15 * n, Some(n))).collect();
        let table = LineTable::encode(&rows);
        assert_eq!(table.size(), 100);
        assert_eq!(table.rows().collect::<Vec<_>>(), rows);
    }
}
