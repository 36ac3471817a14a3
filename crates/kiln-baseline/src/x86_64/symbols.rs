//! What code refers to outside itself: symbols, and constants that lie behind the code.

use std::collections::HashMap;

use kiln_abi::symbol::Id;

/// A symbol that the code refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// Something of the module.
    Module(Id),
    /// The same, which may stay undefined and is null then.
    Weak(Id),
    /// A function of the run-time library.
    Library(&'static str),
}

/// The function's symbols in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    pub(crate) names: Vec<Name>,
    known: HashMap<Name, u32>,
}

impl Symbols {
    pub(crate) fn clear(&mut self) {
        self.names.clear();
        self.known.clear();
    }

    pub(crate) fn add(&mut self, name: Name) -> u32 {
        *self.known.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() as u32 - 1
        })
    }
}

/// Constants of 4, 8 or 16 bytes, each aligned to its size.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) bytes: Vec<u8>,
    known: HashMap<(u128, u8), u32>,
}

impl Pool {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.known.clear();
    }

    /// The place of the low `size` bytes of `value`.
    pub(crate) fn add(&mut self, value: u128, size: u8) -> u32 {
        let bytes = &mut self.bytes;
        *self.known.entry((value, size)).or_insert_with(|| {
            let start = bytes.len().next_multiple_of(usize::from(size));
            bytes.resize(start, 0);
            bytes.extend_from_slice(&value.to_le_bytes()[..usize::from(size)]);
            start as u32
        })
    }
}
