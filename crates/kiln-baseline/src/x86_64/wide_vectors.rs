//! Vectors that travel in YMM registers: the lower half is a part like any other, the upper half joins it for the way.
//!
//! Within a function nothing is in the upper halves, which are zeroed once they were read: instructions without VEX would
//! have to keep them.

use kiln_bitcode::ValueId;

use super::abi::{Place, Signature, numbered};
use super::encoder::{Mem, Xmm};
use super::generator::{Generator, Result};
use super::registers::{SCRATCH_XMM, XMM0};

impl Generator<'_> {
    /// The lower halves of a call's arguments are in place: puts the upper ones above them.
    #[inline(never)]
    pub(crate) fn place_uppers(&mut self, signature: &Signature, arguments: &[u32]) -> Result<()> {
        for (at, part) in numbered(&signature.arguments) {
            if let (true, Place::Vector(reg)) = (part.kind.is_wide(), part.place) {
                self.place_upper(Xmm(reg), ValueId(arguments[part.argument as usize]), at + 1)?;
            }
        }
        Ok(())
    }

    /// Puts part `at` of `value` above what is in `to`.
    pub(crate) fn place_upper(&mut self, to: Xmm, value: ValueId, at: u32) -> Result<()> {
        self.load_into(SCRATCH_XMM.0 + XMM0, value, at)?;
        self.asm.insert_upper(to, SCRATCH_XMM);
        Ok(())
    }

    /// Stores the upper half of `from` as part `at` of `value`.
    pub(crate) fn take_upper(&mut self, value: ValueId, at: u32, from: Xmm) {
        let Some(part) = self.part_of(value, at) else { return };
        self.asm.extract_upper(SCRATCH_XMM, from);
        let slot = self.slot(part);
        self.asm.store_xmm(&Mem::frame(slot), SCRATCH_XMM, 16);
        self.parts[part as usize].stored = true;
    }
}
