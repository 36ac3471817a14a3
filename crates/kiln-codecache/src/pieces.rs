//! The pieces of one reservation: mostly one per region, which need no memory of their own.

use std::ops::Deref;

use kiln_abi::{ExecutorAddr, Permission};

use crate::region::Piece;

/// How many need none: a piece per region.
const FEW: usize = 3;
const NOTHING: Piece = Piece { permission: Permission::Code, at: ExecutorAddr::new(0), size: 0 };

/// Pieces in the order in which they were asked for.
#[derive(Clone, Debug)]
pub(crate) enum Pieces {
    Few { count: u8, pieces: [Piece; FEW] },
    Many(Vec<Piece>),
}

impl Pieces {
    /// No pieces, and room for `count`.
    pub(crate) fn with_capacity(count: usize) -> Self {
        if count <= FEW {
            Self::Few { count: 0, pieces: [NOTHING; FEW] }
        } else {
            Self::Many(Vec::with_capacity(count))
        }
    }

    /// Adds one, for which there is room.
    pub(crate) fn push(&mut self, piece: Piece) {
        match self {
            Self::Few { count, pieces } => {
                pieces[usize::from(*count)] = piece;
                *count += 1;
            }
            Self::Many(pieces) => pieces.push(piece),
        }
    }
}

impl Deref for Pieces {
    type Target = [Piece];

    fn deref(&self) -> &[Piece] {
        match self {
            Self::Few { count, pieces } => &pieces[..usize::from(*count)],
            Self::Many(pieces) => pieces,
        }
    }
}
