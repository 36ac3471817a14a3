//! Freed memory that is kept from being used again: for finding whoever still uses it.
//!
//! The oldest pieces are let go once there are more than so many bytes. Pages without a live byte are guarded until something
//! is allocated there again, so that a stale pointer faults; elsewhere it meets traps or zeros.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use crate::region::Piece;

/// Unit of guarding; a multiple of the kernel's pages on x86-64.
const PAGE: u64 = 4096;

/// The freed pieces of one region.
#[derive(Debug)]
pub(crate) struct Quarantine {
    limit: u64,
    bytes: u64,
    pieces: VecDeque<Piece>,
    /// Bytes of live pieces by page; pages without any are not in here.
    live: HashMap<u64, u64>,
    guarded: HashSet<u64>,
}

impl Quarantine {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, pieces: VecDeque::new(), live: HashMap::new(), guarded: HashSet::new() }
    }

    /// A piece of live memory begins to exist at `range`; `expose` gives guarded pages their rights back.
    pub(crate) fn used(&mut self, range: Range<u64>, mut expose: impl FnMut(Range<u64>)) {
        for (page, bytes) in pages(range) {
            *self.live.entry(page).or_default() += bytes;
            if self.guarded.remove(&page) {
                expose(page..page + PAGE);
            }
        }
    }

    /// `piece` at `range` is freed; returns what may be used again. `guard` takes the rights of pages away.
    pub(crate) fn freed(&mut self, piece: Piece, range: Range<u64>, mut guard: impl FnMut(Range<u64>)) -> Vec<Piece> {
        let mut dead: Option<Range<u64>> = None;
        for (page, bytes) in pages(range.clone()) {
            let live = self.live.get_mut(&page).expect("a live piece is counted on its pages");
            *live -= bytes;
            if *live > 0 {
                continue;
            }
            self.live.remove(&page);
            self.guarded.insert(page);
            // Neighbours in one call.
            dead = match dead {
                Some(run) if run.end == page => Some(run.start..page + PAGE),
                Some(run) => {
                    guard(run);
                    Some(page..page + PAGE)
                }
                None => Some(page..page + PAGE),
            };
        }
        dead.into_iter().for_each(guard);
        self.pieces.push_back(piece);
        self.bytes += range.end - range.start;
        let mut released = Vec::new();
        while self.bytes > self.limit
            && let Some(oldest) = self.pieces.pop_front()
        {
            self.bytes -= oldest.taken();
            released.push(oldest);
        }
        released
    }

    /// The executor view was made anew: nothing in it is guarded.
    pub(crate) fn forget_guards(&mut self) {
        self.guarded.clear();
    }
}

/// The pages of a range, and how many of its bytes lie in each.
fn pages(range: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    let first = range.start / PAGE * PAGE;
    (first..range.end).step_by(PAGE as usize).map(move |page| {
        let bytes = range.end.min(page + PAGE) - range.start.max(page);
        (page, bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_abi::{ExecutorAddr, Permission};

    fn piece(at: u64, size: u64) -> (Piece, Range<u64>) {
        (Piece { permission: Permission::Code, at: ExecutorAddr::new(at), size }, at..at + size)
    }

    #[test]
    fn pages_are_guarded_when_their_last_live_byte_goes() {
        let mut quarantine = Quarantine::new(1 << 20);
        let pieces = [piece(0, 0x1800), piece(0x1800, 0x100), piece(0x2000, 0x3000)];
        for (_, range) in &pieces {
            quarantine.used(range.clone(), |_| panic!("nothing is guarded"));
        }
        let mut guards = Vec::new();
        for (piece, range) in &pieces {
            assert!(quarantine.freed(*piece, range.clone(), |pages| guards.push(pages)).is_empty());
        }
        assert_eq!(guards, [0..0x1000, 0x1000..0x2000, 0x2000..0x5000]);
        let mut exposed = Vec::new();
        quarantine.used(0x1ff0..0x2010, |pages| exposed.push(pages));
        assert_eq!(exposed, [0x1000..0x2000, 0x2000..0x3000]);
    }

    #[test]
    fn the_oldest_pieces_are_let_go() {
        let mut quarantine = Quarantine::new(0x250);
        let mut released = Vec::new();
        for at in [0, 0x100, 0x200, 0x300] {
            let (piece, range) = piece(at, 0x100);
            quarantine.used(range.clone(), |_| {});
            released.extend(quarantine.freed(piece, range, |_| {}).iter().map(|piece| piece.at.get()));
        }
        assert_eq!(released, [0, 0x100]);
    }
}
