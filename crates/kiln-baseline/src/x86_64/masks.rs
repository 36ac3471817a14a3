//! Vectors of bits, which are integers: bit for lane, those above garbage.

use kiln_bitcode::{Instruction, Type, TypeId, ValueId};

use super::encoder::{Alu, Gpr, Shift};
use super::generator::{Generator, Result};
use super::operands::Bits;
use super::parts::{Bank, PartType};
use crate::compiler::Unsupported;

impl Generator<'_> {
    /// The number of lanes of a vector of bits.
    pub(crate) fn mask_lanes(&self, ty: TypeId) -> Option<u32> {
        match self.module.ty(ty) {
            Type::Vector { count, element, scalable: false } if *self.module.ty(*element) == Type::Integer(1) => {
                Some(*count)
            }
            _ => None,
        }
    }

    pub(crate) fn mask_compare(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let result = self.result(instruction)?;
        let from = self.read_gpr(right, 0)?;
        let to = self.take_gpr(left, 0)?;
        match instruction.sub {
            32 => {
                self.asm.alu_rr(Alu::Xor, to, from, 8);
                self.asm.unary(2, to, 8);
            }
            33 => self.asm.alu_rr(Alu::Xor, to, from, 8),
            // As unsigned bits, false is less than true; as signed ones, more.
            34 | 40 => {
                self.turned_and(to, from); // left and not right
            }
            36 | 38 => {
                self.asm.unary(2, to, 8);
                self.asm.alu_rr(Alu::And, to, from, 8);
            }
            35 | 41 => {
                // Not (right and not left).
                self.asm.unary(2, to, 8);
                self.asm.alu_rr(Alu::And, to, from, 8);
                self.asm.unary(2, to, 8);
            }
            _ => {
                self.turned_and(to, from);
                self.asm.unary(2, to, 8);
            }
        }
        self.bind(result, 0, to.0);
        Ok(())
    }

    /// `to &= !from`
    fn turned_and(&mut self, to: Gpr, from: Gpr) {
        self.asm.alu_rr(Alu::Or, to, from, 8);
        self.asm.alu_rr(Alu::Xor, to, from, 8);
    }

    /// A shuffle of vectors of bits: stretches that stay together are shifted together.
    pub(crate) fn shuffle_bits(
        &mut self,
        instruction: &Instruction,
        from: [ValueId; 2],
        mask: ValueId,
        lanes: u32,
    ) -> Result<()> {
        let unusual = || Box::new(Unsupported::Instruction("an unusual shufflevector of bits"));
        let count = self.mask_lanes(self.body.result_type(instruction)).ok_or_else(unusual)?;
        let result = self.result(instruction)?;
        let (to, piece) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.asm.mov_imm(to, 0);
        let mut lane = 0;
        while lane < count {
            let Some(start) = self.shuffle_index(mask, lane) else { return Err(unusual()) };
            if start >= 2 * lanes {
                // Anything.
                lane += 1;
                continue;
            }
            let (operand, first) = (start / lanes, start % lanes);
            let mut run = 1;
            while lane + run < count && first + run < lanes && self.shuffle_index(mask, lane + run) == Some(start + run)
            {
                run += 1;
            }
            self.load_into(piece.0, from[operand as usize], 0)?;
            // Up and down again, so that nothing else is left.
            self.asm.shift_imm(Shift::Shl, piece, (64 - first - run) as u8, 8);
            self.asm.shift_imm(Shift::Shr, piece, (64 - run) as u8, 8);
            self.asm.shift_imm(Shift::Shl, piece, lane as u8, 8);
            self.asm.alu_rr(Alu::Or, to, piece, 8);
            lane += run;
        }
        self.bind(result, 0, to.0);
        Ok(())
    }

    /// Which lane of its operands a shuffle takes for `lane`.
    fn shuffle_index(&self, mask: ValueId, lane: u32) -> Option<u32> {
        let part = PartType { bank: Bank::Gpr, bytes: 4, bits: 32, store: 4, offset: 4 * lane };
        match self.constant_bits(mask, part) {
            Ok(Bits::Number(number)) => Some(number as u32),
            _ => None,
        }
    }
}
