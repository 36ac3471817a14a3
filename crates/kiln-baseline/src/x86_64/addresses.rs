//! Constants made of addresses that are neither a number nor one symbol: lanes of vectors, distances, and what is far from
//! its symbol. All is computed where it is used, without touching flags.

use kiln_bitcode::{GlobalRef, Type, ValueId};

use super::encoder::{Base, Gpr, Mem, RAX, RCX, Xmm};
use super::generator::{Generator, Result};
use super::parts::{Bank, PartType};
use super::registers::SCRATCH;
use crate::compiler::Unsupported;

impl Generator<'_> {
    /// Runs `make`, which computes in the first register with the second to help, for `to`, whichever register that is.
    fn with_help(&mut self, to: Gpr, make: impl FnOnce(&mut Self, Gpr, Gpr) -> Result<()>) -> Result<()> {
        if to != SCRATCH {
            return make(self, to, SCRATCH);
        }
        // Copies between slots: whoever's registers they are, they are put back.
        let slots = [self.frame.take(8), self.frame.take(8)];
        for (reg, slot) in [RAX, RCX].into_iter().zip(slots) {
            self.asm.store(&Mem::frame(slot), reg, 8);
        }
        make(self, RAX, RCX)?;
        self.asm.mov(SCRATCH, RAX);
        for (reg, slot) in [RAX, RCX].into_iter().zip(slots) {
            self.asm.load(reg, &Mem::frame(slot), 8);
            self.frame.give(slot, 8);
        }
        Ok(())
    }

    /// `plus - minus + offset`
    pub(crate) fn load_difference(&mut self, to: Gpr, plus: GlobalRef, minus: GlobalRef, offset: i64) -> Result<()> {
        self.with_help(to, |own, to, other| {
            own.load_address(to, plus, offset)?;
            own.load_address(other, minus, 0)?;
            // a - b = a + ~b + 1
            own.asm.unary(2, other, 8);
            own.asm.lea(to, &Mem { base: Base::Reg(to), index: Some((other, 0)), disp: 1 });
            Ok(())
        })
    }

    /// `base + offset`, however far that is.
    pub(crate) fn load_far_address(&mut self, to: Gpr, base: GlobalRef, offset: i64) -> Result<()> {
        self.with_help(to, |own, to, other| {
            own.load_address(to, base, 0)?;
            own.asm.mov_imm(other, offset as u64);
            own.asm.lea(to, &Mem { base: Base::Reg(to), index: Some((other, 0)), disp: 0 });
            Ok(())
        })
    }

    /// Loads a part of the constant `value` that is one or two lanes of addresses.
    pub(crate) fn load_address_lanes(&mut self, to: Xmm, value: ValueId, part: PartType) -> Result<()> {
        let is_vector = matches!(self.module.ty(self.ty(value)), Type::Vector { .. });
        if !is_vector || !matches!(part.store, 8 | 16) {
            return Err(Box::new(Unsupported::Constant("an address in a vector")));
        }
        let slot = self.frame.take(16);
        let lane = PartType { bank: Bank::Gpr, bytes: 8, bits: 64, store: 8, offset: 0 };
        for at in (0..u32::from(part.store)).step_by(8) {
            let bits = self.constant_bytes(value, u64::from(part.offset + at), 8)?;
            self.load_bits(SCRATCH.0, bits, lane)?;
            self.asm.store(&Mem::frame(slot + at as i32), SCRATCH, 8);
        }
        self.asm.load_xmm(to, &Mem::frame(slot), part.store);
        self.frame.give(slot, 16);
        Ok(())
    }
}
