//! Which parts of a region are free.
//!
//! An address-range allocator that never touches the memory it hands out, so that it serves an executor's memory as
//! well as ours. Everything is a multiple of [`GRANULE`].
//!
//! Strategy: best fit among the holes, then the front of the *tail*, the one extent that reaches to the end of the
//! region. Without holes an allocation moves one number; with holes it costs a few operations of B-trees of holes.
//! Freeing coalesces with both neighbours, and a hole that touches the tail joins it.
//!
//! Invariants:
//! 1. Holes are disjoint, not empty, not adjacent to each other or to the tail, and lie below it.
//! 2. `by_size` holds exactly the extents of `by_start`.
//! 3. `used` = bytes of the region outside holes and tail.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Smallest unit of allocation, and the alignment of everything.
pub(crate) const GRANULE: u64 = 16;

/// How many holes of a fitting size are tried before one is taken that fits whatever its alignment.
const ALIGNED_TRIES: usize = 8;

/// Free and used parts of `[start, end)`.
#[derive(Debug)]
pub(crate) struct Heap {
    bounds: Range<u64>,
    by_start: BTreeMap<u64, u64>,
    by_size: BTreeSet<(u64, u64)>,
    tail: u64,
    used: u64,
}

impl Heap {
    /// A heap whose whole range is free. Both bounds must be multiples of the granule.
    pub(crate) fn new(bounds: Range<u64>) -> Self {
        assert!(
            bounds.start.is_multiple_of(GRANULE) && bounds.end.is_multiple_of(GRANULE) && bounds.start <= bounds.end
        );
        Self { tail: bounds.start, bounds, by_start: BTreeMap::new(), by_size: BTreeSet::new(), used: 0 }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Size of the largest free extent.
    pub(crate) fn largest_free(&self) -> u64 {
        let hole = self.by_size.last().map_or(0, |&(size, _)| size);
        hole.max(self.bounds.end - self.tail)
    }

    /// The bytes that an allocation of `size` takes; `None` where that overflows.
    pub(crate) fn rounded(size: u64) -> Option<u64> {
        size.max(1).checked_next_multiple_of(GRANULE)
    }

    /// Takes `size` bytes at a multiple of `align`. `size` must be rounded, `align` a power of two.
    pub(crate) fn allocate(&mut self, size: u64, align: u64) -> Option<u64> {
        let align = align.max(GRANULE);
        let tight = self.by_size.range((size, 0)..).take(ALIGNED_TRIES);
        let loose = self.by_size.range((size.checked_add(align - GRANULE)?, 0)..).take(1);
        let hole = tight.chain(loose).find_map(|&(bytes, start)| {
            let at = start.checked_next_multiple_of(align)?;
            (at.checked_add(size)? <= start + bytes).then_some((start, at))
        });
        if let Some((start, at)) = hole {
            self.take_from_hole(start, at..at + size);
            return Some(at);
        }
        let at = self.tail.checked_next_multiple_of(align)?;
        let end = at.checked_add(size)?;
        (end <= self.bounds.end).then(|| self.take_from_tail(at..end))
    }

    /// Takes exactly `[at, at + size)`, if all of it is free.
    pub(crate) fn allocate_at(&mut self, at: u64, size: u64) -> Option<u64> {
        let end = at.checked_add(size)?;
        if !at.is_multiple_of(GRANULE) || at < self.bounds.start || end > self.bounds.end {
            return None;
        }
        if at >= self.tail {
            return Some(self.take_from_tail(at..end));
        }
        let (&start, &bytes) = self.by_start.range(..=at).next_back()?;
        (end <= start + bytes).then(|| {
            self.take_from_hole(start, at..end);
            at
        })
    }

    /// Takes `size` bytes at the lowest multiple of `align` that keeps them inside `range`.
    pub(crate) fn allocate_within(&mut self, range: Range<u64>, size: u64, align: u64) -> Option<u64> {
        let align = align.max(GRANULE);
        let fit = |free: Range<u64>| {
            let at = free.start.max(range.start).checked_next_multiple_of(align)?;
            (at.checked_add(size)? <= free.end.min(range.end)).then_some(at)
        };
        let first = self.by_start.range(..=range.start).next_back().map_or(range.start, |(&start, _)| start);
        let hole = self
            .by_start
            .range(first..range.end.max(first))
            .find_map(|(&start, &bytes)| fit(start..start + bytes).map(|at| (start, at)));
        if let Some((start, at)) = hole {
            self.take_from_hole(start, at..at + size);
            return Some(at);
        }
        fit(self.tail..self.bounds.end).map(|at| self.take_from_tail(at..at + size))
    }

    /// Gives `[at, at + size)` back, which an allocation of this heap returned.
    pub(crate) fn free(&mut self, at: u64, size: u64) {
        let mut free = at..at + size;
        assert!(free.start >= self.bounds.start && free.end <= self.tail, "{free:x?} was never allocated");
        self.used -= size;
        if let Some((&start, &bytes)) = self.by_start.range(..free.start).next_back() {
            assert!(start + bytes <= free.start, "{free:x?} is free already");
            if start + bytes == free.start {
                self.remove_hole(start, bytes);
                free.start = start;
            }
        }
        if let Some((&start, &bytes)) = self.by_start.range(free.start..).next() {
            assert!(free.end <= start, "{free:x?} is free already");
            if start == free.end {
                self.remove_hole(start, bytes);
                free.end = start + bytes;
            }
        }
        if free.end == self.tail {
            self.tail = free.start;
        } else {
            self.insert_hole(free);
        }
    }

    /// The used parts in ascending order, adjacent allocations merged.
    pub(crate) fn used_extents(&self) -> Vec<Range<u64>> {
        let mut extents = Vec::with_capacity(self.by_start.len() + 1);
        let mut from = self.bounds.start;
        for (&start, &bytes) in &self.by_start {
            if from < start {
                extents.push(from..start);
            }
            from = start + bytes;
        }
        if from < self.tail {
            extents.push(from..self.tail);
        }
        extents
    }

    fn take_from_tail(&mut self, taken: Range<u64>) -> u64 {
        if self.tail < taken.start {
            self.insert_hole(self.tail..taken.start);
        }
        self.tail = taken.end;
        self.used += taken.end - taken.start;
        taken.start
    }

    fn take_from_hole(&mut self, start: u64, taken: Range<u64>) {
        let bytes = self.by_start[&start];
        self.remove_hole(start, bytes);
        if start < taken.start {
            self.insert_hole(start..taken.start);
        }
        if taken.end < start + bytes {
            self.insert_hole(taken.end..start + bytes);
        }
        self.used += taken.end - taken.start;
    }

    fn insert_hole(&mut self, hole: Range<u64>) {
        self.by_start.insert(hole.start, hole.end - hole.start);
        self.by_size.insert((hole.end - hole.start, hole.start));
    }

    fn remove_hole(&mut self, start: u64, bytes: u64) {
        self.by_start.remove(&start);
        self.by_size.remove(&(bytes, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x1000;

    fn heap(bytes: u64) -> Heap {
        Heap::new(BASE..BASE + bytes)
    }

    #[test]
    fn freeing_everything_leaves_one_extent_whatever_the_order() {
        let mut heap = heap(1 << 17);
        let mut live: Vec<_> = (1..100u64).map(|n| (heap.allocate(n * 16, 16).unwrap(), n * 16)).collect();
        let mut random = 12345u64;
        while !live.is_empty() {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (at, size) = live.swap_remove((random >> 33) as usize % live.len());
            heap.free(at, size);
        }
        assert_eq!((heap.used(), heap.largest_free()), (0, 1 << 17));
        assert!(heap.by_start.is_empty() && heap.by_size.is_empty());
    }

    /// Judge: a bitmap of granules, which shares nothing with the trees.
    #[test]
    fn random_operations_agree_with_a_bitmap() {
        const GRANULES: usize = 512;
        let mut heap = heap(GRANULES as u64 * GRANULE);
        let mut taken = [false; GRANULES];
        let mut live: Vec<(u64, u64)> = Vec::new();
        let mut random = 99u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let index = |address: u64| ((address - BASE) / GRANULE) as usize;
        for _ in 0..20_000 {
            let size = (1 + next(20)) * GRANULE;
            let align = GRANULE << next(5);
            let got = match next(5) {
                0 | 1 => heap.allocate(size, align).inspect(|at| assert!(at.is_multiple_of(align))),
                2 => {
                    let at = BASE + next(GRANULES as u64) * GRANULE;
                    let free = (at + size) <= BASE + GRANULES as u64 * GRANULE
                        && !taken[index(at)..index(at + size)].contains(&true);
                    let got = heap.allocate_at(at, size);
                    assert_eq!(got, free.then_some(at));
                    got
                }
                3 => {
                    let low = BASE + next(GRANULES as u64) * GRANULE;
                    let high = low + next(100) * GRANULE;
                    let lowest = (low..high)
                        .step_by(GRANULE as usize)
                        .filter(|at| at.is_multiple_of(align) && at + size <= high.min(heap.bounds.end))
                        .find(|&at| !taken[index(at)..index(at + size)].contains(&true));
                    let got = heap.allocate_within(low..high, size, align);
                    assert_eq!(got, lowest);
                    got
                }
                _ => {
                    if !live.is_empty() {
                        let (at, size) = live.swap_remove(next(live.len() as u64) as usize);
                        taken[index(at)..index(at + size)].fill(false);
                        heap.free(at, size);
                    }
                    None
                }
            };
            if let Some(at) = got {
                assert!(!taken[index(at)..index(at + size)].contains(&true));
                taken[index(at)..index(at + size)].fill(true);
                live.push((at, size));
            }
            let used = taken.iter().filter(|taken| **taken).count() as u64 * GRANULE;
            assert_eq!(heap.used(), used);
            assert_eq!(heap.used_extents().iter().map(|extent| extent.end - extent.start).sum::<u64>(), used);
            let largest = taken.split(|taken| *taken).map(<[bool]>::len).max().unwrap() as u64 * GRANULE;
            assert_eq!(heap.largest_free(), largest);
        }
    }

    #[test]
    fn absurd_sizes_are_refused_without_overflow() {
        let mut heap = heap(4096);
        assert_eq!(Heap::rounded(u64::MAX), None);
        assert_eq!(heap.allocate(!15, 16), None);
        assert_eq!(heap.allocate(16, 1 << 63), None);
        assert_eq!(heap.allocate_at(!15, 16), None);
        assert_eq!(heap.allocate_within(u64::MAX - 31..u64::MAX, 64, 1 << 40), None);
        let (low, high) = (BASE + 64, BASE + 32);
        assert_eq!(heap.allocate_within(low..high, 16, 16), None);
        assert_eq!(heap.used(), 0);
    }

    #[test]
    #[should_panic(expected = "free already")]
    fn a_double_free_is_a_bug_of_ours() {
        let mut heap = heap(4096);
        let [a, _b] = [heap.allocate(16, 16).unwrap(), heap.allocate(16, 16).unwrap()];
        heap.free(a, 16);
        heap.free(a, 16);
    }
}
