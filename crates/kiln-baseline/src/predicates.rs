//! Predicates of constrained comparisons, which are strings of metadata.

use kiln_bitcode::{Error, FunctionId, MetadataStrings, Module};

/// In the order of `CmpInst::Predicate` from `oeq` on.
const NAMES: [&[u8]; 14] =
    [b"oeq", b"ogt", b"oge", b"olt", b"ole", b"one", b"ord", b"uno", b"ueq", b"ugt", b"uge", b"ult", b"ule", b"une"];

/// Which metadata is which predicate.
#[derive(Debug, Default)]
pub(crate) struct Predicates {
    strings: MetadataStrings,
}

impl Predicates {
    /// Looks for those of `function`.
    pub(crate) fn find(&mut self, module: &Module, bytes: &[u8], function: FunctionId) -> Result<(), Error> {
        self.strings.find(module, bytes, function, &NAMES)
    }

    /// The predicate (`CmpInst::Predicate`) that metadata number `number` is.
    pub(crate) fn of(&self, number: u32) -> Option<u8> {
        self.strings.which(number).map(|which| which + 1)
    }
}
