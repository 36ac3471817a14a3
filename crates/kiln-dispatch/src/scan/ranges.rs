//! Which of many address ranges a word points into.
#![forbid(unsafe_code)]

use kiln_abi::ExecutorAddr;
use std::ops::Range;

/// One range, as handlers read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Bounds {
    pub(super) start: u64,
    /// First byte behind the range.
    pub(super) end: u64,
}

/// The address ranges that a scan asks about: bodies that nothing leads to any more.
///
/// They keep the order of their addresses; indices in a [`Report`](super::Report) refer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    sorted: Vec<Bounds>,
}

/// Why some ranges are not a set of [`Ranges`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// A range without a byte, or one that ends before it starts.
    #[error("the range {start}..{end} is empty")]
    Empty {
        /// Where it starts.
        start: ExecutorAddr,
        /// Where it ends.
        end: ExecutorAddr,
    },
    /// Two ranges have a byte in common.
    #[error("the range that starts at {second} overlaps the one that starts at {first}")]
    Overlapping {
        /// Where the lower one starts.
        first: ExecutorAddr,
        /// Where the upper one starts.
        second: ExecutorAddr,
    },
}

impl Ranges {
    /// The given ranges, in any order.
    ///
    /// # Errors
    ///
    /// If one is empty, or two overlap.
    pub fn new(ranges: impl IntoIterator<Item = Range<ExecutorAddr>>) -> Result<Self, RangesError> {
        let mut sorted: Vec<Bounds> =
            ranges.into_iter().map(|range| Bounds { start: range.start.get(), end: range.end.get() }).collect();
        sorted.sort_unstable_by_key(|bounds| bounds.start);
        let address = ExecutorAddr::new;
        if let Some(Bounds { start, end }) = sorted.iter().find(|bounds| bounds.start >= bounds.end) {
            return Err(RangesError::Empty { start: address(*start), end: address(*end) });
        }
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].end > pair[1].start) {
            return Err(RangesError::Overlapping { first: address(pair[0].start), second: address(pair[1].start) });
        }
        Ok(Self { sorted })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Range `index`, counted by address.
    ///
    /// # Panics
    ///
    /// If there are not that many.
    #[must_use]
    pub fn get(&self, index: usize) -> Range<ExecutorAddr> {
        let bounds = self.sorted[index];
        ExecutorAddr::new(bounds.start)..ExecutorAddr::new(bounds.end)
    }

    pub(super) fn sorted(&self) -> &[Bounds] {
        &self.sorted
    }
}

/// Sets of ranges are bit maps: one bit each, in words of this many.
pub(super) const MARKS_PER_WORD: usize = u64::BITS as usize;

/// Words of a bit map for `ranges` ranges.
pub(super) fn marks_words(ranges: usize) -> usize {
    ranges.div_ceil(MARKS_PER_WORD)
}

/// Finds words that point into ranges, and marks these.
pub(super) struct Finder<'a> {
    sorted: &'a [Bounds],
    lowest: u64,
    /// From `lowest` to the end of the last range: nearly all words of a stack are out of this and need no search.
    span: u64,
}

impl<'a> Finder<'a> {
    /// `sorted` holds disjoint ranges by address.
    pub(super) fn new(sorted: &'a [Bounds]) -> Self {
        let lowest = sorted.first().map_or(u64::MAX, |bounds| bounds.start);
        let span = sorted.last().map_or(0, |bounds| bounds.end - lowest);
        Self { sorted, lowest, span }
    }

    /// Marks the ranges that `word` may be an address in.
    ///
    /// The end belongs to a range too: a call that does not return may be a body's last instruction, and its return
    /// address is one past it. So a word where two ranges meet marks both.
    #[inline]
    pub(super) fn mark(&self, word: u64, marks: &mut [u64]) {
        if word.wrapping_sub(self.lowest) <= self.span {
            self.search(word, marks);
        }
    }

    fn search(&self, word: u64, marks: &mut [u64]) {
        let behind = self.sorted.partition_point(|bounds| bounds.start <= word);
        for index in behind.saturating_sub(2)..behind {
            if word <= self.sorted[index].end {
                marks[index / MARKS_PER_WORD] |= 1 << (index % MARKS_PER_WORD);
            }
        }
    }
}

/// The ranges that are marked.
pub(super) fn marked(marks: &[u64]) -> impl Iterator<Item = usize> {
    marks.iter().enumerate().flat_map(|(nth, &word)| {
        let rest = std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)));
        rest.take_while(|&rest| rest != 0).map(move |rest| nth * MARKS_PER_WORD + rest.trailing_zeros() as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(bounds: &[(u64, u64)]) -> Result<Ranges, RangesError> {
        Ranges::new(bounds.iter().map(|&(start, end)| ExecutorAddr::new(start)..ExecutorAddr::new(end)))
    }

    fn found(bounds: &[(u64, u64)], word: u64) -> Vec<usize> {
        let ranges = ranges(bounds).unwrap();
        let mut marks = vec![0; marks_words(ranges.len())];
        Finder::new(ranges.sorted()).mark(word, &mut marks);
        marked(&marks).collect()
    }

    #[test]
    fn trap_14_the_end_is_inside() {
        let bounds = [(0x100, 0x110), (0x120, 0x130)];
        for (word, inside) in [
            (0xff, vec![]),
            (0x100, vec![0]),
            (0x10f, vec![0]),
            (0x110, vec![0]),
            (0x111, vec![]),
            (0x11f, vec![]),
            (0x120, vec![1]),
            (0x130, vec![1]),
            (0x131, vec![]),
            (0, vec![]),
            (u64::MAX, vec![]),
        ] {
            assert_eq!(found(&bounds, word), inside, "{word:#x}");
        }
    }

    #[test]
    fn trap_14_where_two_meet_both_are_marked() {
        assert_eq!(found(&[(0x110, 0x120), (0x100, 0x110)], 0x110), [0, 1]);
    }

    #[test]
    fn nothing_is_in_no_ranges() {
        for word in [0, 1, u64::MAX] {
            assert_eq!(found(&[], word), []);
        }
    }

    /// Against a search that looks at every range.
    #[test]
    fn many_ranges_are_found_as_by_looking_at_each() {
        let mut start = 0x1000;
        let bounds: Vec<(u64, u64)> = (0..500)
            .map(|n: u64| {
                start += n * n % 7 * 16;
                let end = start + 1 + n * 31 % 64;
                (std::mem::replace(&mut start, end), end)
            })
            .collect();
        for word in 0xff0..start + 16 {
            let expected: Vec<usize> =
                (0..bounds.len()).filter(|&n| (bounds[n].0..=bounds[n].1).contains(&word)).collect();
            assert_eq!(found(&bounds, word), expected, "{word:#x}");
        }
    }

    #[test]
    fn bad_ranges_are_refused() {
        let address = ExecutorAddr::new;
        assert_eq!(ranges(&[(8, 8)]), Err(RangesError::Empty { start: address(8), end: address(8) }));
        assert_eq!(ranges(&[(9, 8)]), Err(RangesError::Empty { start: address(9), end: address(8) }));
        assert_eq!(
            ranges(&[(16, 32), (8, 17)]),
            Err(RangesError::Overlapping { first: address(8), second: address(16) })
        );
    }
}
