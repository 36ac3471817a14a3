//! What code refers to outside itself: symbols, and constants that lie behind the code.

use std::collections::HashMap;

use kiln_abi::symbol::Id;

/// A symbol that the code refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// By the ids of functions, globals and aliases: which of `names` it is, if that is the one.
    known: [Vec<u32>; 3],
}

impl Symbols {
    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    /// The number of `name`, which is the same whenever it is asked for.
    pub(crate) fn add(&mut self, name: Name) -> u32 {
        let (kind, id) = match name {
            Name::Module(id) | Name::Weak(id) => match id {
                Id::Function(id) => (0, id.0),
                Id::Global(id) => (1, id.0),
                Id::Alias(id) => (2, id),
            },
            Name::Library(_) => {
                // There are few of them.
                return match self.names.iter().position(|known| *known == name) {
                    Some(at) => at as u32,
                    None => self.push(name),
                };
            }
        };
        let known = &mut self.known[kind];
        if known.len() <= id as usize {
            known.resize(id as usize + 1, 0);
        }
        // What was noted for another function is recognised by what stands there now.
        let at = known[id as usize];
        if self.names.get(at as usize) == Some(&name) {
            return at;
        }
        known[id as usize] = self.names.len() as u32;
        self.push(name)
    }

    fn push(&mut self, name: Name) -> u32 {
        self.names.push(name);
        self.names.len() as u32 - 1
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
