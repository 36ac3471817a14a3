//! Names that both processes give to a module's functions and globals inside compiled objects.
//!
//! Within one module every function and global is known by its id, whatever its name and linkage: the engine resolves
//! names once, when it loads the module, and an object that comes back says `kiln$f12` or `kiln$g7`. Only what LLVM's
//! code generator itself calls (`memcpy`, `__udivti3`, …) keeps a plain name.

use crate::{FunctionId, GlobalId};

/// What an id symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    /// A function of the module.
    Function(FunctionId),
    /// A global variable of the module.
    Global(GlobalId),
    /// An alias or ifunc of the module: its index in the bitcode's order of alias and ifunc records.
    Alias(u32),
}

/// The symbol name of `id`.
#[must_use]
pub fn name(id: Id) -> String {
    let (bytes, length) = spell(id);
    bytes[..length].iter().map(|byte| char::from(*byte)).collect()
}

impl Id {
    /// Its number among its kind.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Id::Function(FunctionId(number)) | Id::Global(GlobalId(number)) | Id::Alias(number) => number,
        }
    }
}

/// Which byte of a name says what kind of id it is.
pub const KIND: usize = 5;

/// The id of a kind, which is the byte at [`KIND`] of its name.
#[must_use]
pub const fn id(kind: u8, number: u32) -> Option<Id> {
    match kind {
        b'f' => Some(Id::Function(FunctionId(number))),
        b'g' => Some(Id::Global(GlobalId(number))),
        b'a' => Some(Id::Alias(number)),
        _ => None,
    }
}

/// Bytes that the longest name has.
pub const NAME_MAX: usize = 16;

/// The symbol name of `id` and its length, without an allocation.
#[must_use]
pub fn spell(id: Id) -> ([u8; NAME_MAX], usize) {
    let (mut bytes, mut number) = match id {
        Id::Function(FunctionId(n)) => (*b"kiln$f0000000000", n),
        Id::Global(GlobalId(n)) => (*b"kiln$g0000000000", n),
        Id::Alias(n) => (*b"kiln$a0000000000", n),
    };
    // By hand, because every function that is compiled names several: `format!` takes several times as long.
    let count = number.checked_ilog10().unwrap_or(0) as usize + 1;
    for digit in bytes[6..6 + count].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    (bytes, 6 + count)
}

/// What `name` stands for, if it is an id symbol in its one canonical spelling.
#[must_use]
pub fn parse(name: &[u8]) -> Option<Id> {
    let [kind, digits @ ..] = name.strip_prefix(b"kiln$")? else { return None };
    if digits.is_empty() || digits.len() > 10 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value = 0u32;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        value = value.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    id(*kind, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for id in [Id::Function(FunctionId(0)), Id::Global(GlobalId(u32::MAX)), Id::Alias(12)] {
            assert_eq!(parse(name(id).as_bytes()), Some(id));
        }
        assert_eq!(name(Id::Function(FunctionId(4_294_967_290))), "kiln$f4294967290");
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        for bad in ["kiln$f", "kiln$f01", "kiln$f4294967296", "kiln$x1", "kiln$f1a", "f1", "kiln$"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
