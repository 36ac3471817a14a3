//! Integer arithmetic, comparisons and selection.
//!
//! Bits above an integer's width are garbage in registers; so they are cleared or filled where they matter: before
//! division, right shifts, comparison and widening, and when a value is stored.

use kiln_bitcode::{Instruction, Opcode, Type, TypeId, ValueId};

use super::encoder::{Alu, Cond, Gpr, Op, RAX, RCX, RDX, Shift, Xmm};
use super::generator::{Generator, Result};
use super::operands::Right;
use super::parts::{Bank, field};
use super::registers::XMM0;
use super::values::Place;
use crate::compiler::Unsupported;

/// What the flags say after a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub(crate) cond: Cond,
    pub(crate) parity: Parity,
}

/// The second condition that some comparisons of floating-point numbers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parity {
    None,
    /// And the operands are ordered.
    AndOrdered,
    /// Or they are not.
    OrUnordered,
}

impl Test {
    pub(crate) fn plain(cond: Cond) -> Test {
        Test { cond, parity: Parity::None }
    }
}

impl Generator<'_> {
    #[inline(never)]
    pub(crate) fn binary(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let bits = match self.module.ty(self.body.result_type(instruction)) {
            Type::Integer(bits) => *bits,
            Type::Vector { .. } => return self.vector_binary(instruction, left, right),
            _ => return Err(Box::new(Unsupported::Type("an unusual type"))),
        };
        if bits > 64 {
            return self.wide_binary(instruction, left, right, bits);
        }
        let bytes = if bits > 32 { 8 } else { 4 };
        let result = instruction.result();
        let reg = match instruction.opcode {
            Opcode::Add => self.add(result, left, right, bytes)?,
            Opcode::Sub => self.alu_binary(result, Alu::Sub, left, right, bytes)?,
            Opcode::And => self.alu_binary(result, Alu::And, left, right, bytes)?,
            Opcode::Or => self.alu_binary(result, Alu::Or, left, right, bytes)?,
            Opcode::Xor => self.alu_binary(result, Alu::Xor, left, right, bytes)?,
            Opcode::Mul => self.multiply(result, left, right, bytes)?,
            Opcode::Shl | Opcode::LShr | Opcode::AShr => self.shift(instruction, left, right, bits)?,
            _ => self.divide(instruction.opcode, left, right, bits)?,
        };
        let only = self.scalar(self.body.result_type(instruction))?;
        self.define(instruction.result(), only, reg.0);
        Ok(())
    }

    /// Constants go right where the operation allows it.
    fn commute(&self, left: ValueId, right: ValueId) -> (ValueId, ValueId) {
        if self.body.is_constant(left) && !self.body.is_constant(right) { (right, left) } else { (left, right) }
    }

    fn add(&mut self, result: ValueId, left: ValueId, right: ValueId, bytes: u8) -> Result<Gpr> {
        let (left, right) = self.commute(left, right);
        // Where the left operand stays in its register, `lea` adds and copies at once.
        if let Some(part) = self.part_of(left, 0)
            && self.parts[part as usize].reg != super::registers::NO_REG
            && (self.values[self.value_index(left) as usize].uses() > 1 || self.kept_register(result).is_some())
            && let Right::Imm(number) = self.right(right, 0, bytes)?
        {
            let from = self.read_gpr(left, 0)?;
            let to = Gpr(self.target(result, Bank::Gpr)?);
            let mem = super::encoder::Mem::reg(from, number);
            self.asm.rm(Op::one(0x8d).w_if(bytes == 8), to.0, &mem);
            return Ok(to);
        }
        self.alu_binary(result, Alu::Add, left, right, bytes)
    }

    fn alu_binary(&mut self, result: ValueId, alu: Alu, left: ValueId, right: ValueId, bytes: u8) -> Result<Gpr> {
        let (left, right) = if alu == Alu::Sub { (left, right) } else { self.commute(left, right) };
        let operand = self.right(right, 0, bytes)?;
        let reg = Gpr(self.take_for(result, left)?);
        self.alu(alu, reg, operand, bytes);
        Ok(reg)
    }

    fn multiply(&mut self, result: ValueId, left: ValueId, right: ValueId, bytes: u8) -> Result<Gpr> {
        let (left, right) = self.commute(left, right);
        let wide = bytes == 8;
        match self.right(right, 0, bytes)? {
            Right::Imm(number) => {
                let from = self.read_gpr(left, 0)?;
                let to = Gpr(self.target(result, Bank::Gpr)?);
                self.asm.imul_imm(to, from, number, wide);
                Ok(to)
            }
            Right::Reg(from) => {
                let to = Gpr(self.take_for(result, left)?);
                self.asm.imul(to, from, wide);
                Ok(to)
            }
            Right::Mem(mem) => {
                let to = Gpr(self.take_for(result, left)?);
                self.asm.rm(Op::two(0xaf).w_if(wide), to.0, &mem);
                Ok(to)
            }
        }
    }

    /// Amounts of at least the width are poison: what the machine does then is as good as anything.
    fn shift(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, bits: u32) -> Result<Gpr> {
        let opcode = instruction.opcode;
        let bytes = if bits > 32 { 8 } else { 4 };
        let shift = match opcode {
            Opcode::Shl => Shift::Shl,
            Opcode::LShr => Shift::Shr,
            _ => Shift::Sar,
        };
        let amount = self.number(right);
        if amount.is_none() {
            self.claim(RCX.0)?;
            self.load_into(RCX.0, right, 0)?;
            if bits < 8 {
                self.zero_extend(RCX, bits);
            }
        }
        let reg = match opcode {
            _ if matches!(bits, 32 | 64) => Gpr(self.take_for(instruction.result(), left)?),
            Opcode::Shl => self.take_gpr(left, 0)?,
            Opcode::LShr => {
                let reg = self.take_gpr(left, 0)?;
                self.zero_extend(reg, bits);
                reg
            }
            _ => self.take_sign_extended(left, 0, bits > 32)?,
        };
        match amount {
            Some(amount) => self.asm.shift_imm(shift, reg, amount as u8 & (8 * bytes - 1), bytes),
            None => self.asm.shift_cl(shift, reg, bytes),
        }
        Ok(reg)
    }

    fn divide(&mut self, opcode: Opcode, left: ValueId, right: ValueId, bits: u32) -> Result<Gpr> {
        let wide = bits > 32;
        let bytes = if wide { 8 } else { 4 };
        let signed = matches!(opcode, Opcode::SDiv | Opcode::SRem);
        let remainder = matches!(opcode, Opcode::URem | Opcode::SRem);
        if !signed
            && let Some(divisor) = self.number(right)
            && divisor.is_power_of_two()
            && !self.body.is_constant(left)
        {
            let reg = self.take_gpr(left, 0)?;
            if !matches!(bits, 32 | 64) {
                self.zero_extend(reg, bits);
            }
            if remainder {
                let mask = divisor - 1;
                match i32::try_from(mask) {
                    Ok(mask) => self.asm.alu_ri(Alu::And, reg, mask, bytes),
                    Err(_) => {
                        let far = self.alloc_gpr()?;
                        self.asm.mov_imm(far, mask);
                        self.asm.alu_rr(Alu::And, reg, far, bytes);
                    }
                }
            } else if divisor > 1 {
                self.asm.shift_imm(Shift::Shr, reg, divisor.trailing_zeros() as u8, bytes);
            }
            return Ok(reg);
        }
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        self.load_into(RAX.0, left, 0)?;
        let natural = matches!(bits, 32 | 64);
        let divisor = match (natural, signed) {
            (true, _) => self.read_gpr(right, 0)?,
            (false, true) => self.take_sign_extended(right, 0, wide)?,
            (false, false) => self.take_zero_extended(right, 0)?,
        };
        if signed {
            self.sign_extend(RAX, bits, wide);
            // cdq, cqo
            self.asm.raw(if wide { &[0x48, 0x99] } else { &[0x99] });
            self.asm.unary(7, divisor, bytes);
        } else {
            if !natural {
                self.zero_extend(RAX, bits);
            }
            self.asm.alu_rr(Alu::Xor, RDX, RDX, 4);
            self.asm.unary(6, divisor, bytes);
        }
        Ok(if remainder { RDX } else { RAX })
    }

    // ---- comparison ---------------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn compare(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        if matches!(self.module.ty(self.body.result_type(instruction)), Type::Vector { .. }) {
            return self.vector_compare(instruction, left, right);
        }
        if instruction.opcode == Opcode::FCmp && *self.module.ty(self.ty(left)) == Type::Fp128 {
            return self.quad_compare(instruction, left, right);
        }
        let test = self.compare_flags(instruction, left, right)?;
        let reg = Gpr(self.target(instruction.result(), Bank::Gpr)?);
        self.materialize(test, reg)?;
        let only = self.scalar(self.body.result_type(instruction))?;
        self.define(instruction.result(), only, reg.0);
        Ok(())
    }

    /// `to = test ? 1 : 0`, in the low byte at least.
    pub(crate) fn materialize(&mut self, test: Test, to: Gpr) -> Result<()> {
        self.asm.setcc(test.cond, to);
        match test.parity {
            Parity::None => {}
            Parity::AndOrdered => {
                self.asm.setcc(Cond::NP, super::registers::SCRATCH);
                self.asm.alu_rr(Alu::And, to, super::registers::SCRATCH, 1);
            }
            Parity::OrUnordered => {
                self.asm.setcc(Cond::P, super::registers::SCRATCH);
                self.asm.alu_rr(Alu::Or, to, super::registers::SCRATCH, 1);
            }
        }
        Ok(())
    }

    /// Emits the comparison; the flags are its result.
    pub(crate) fn compare_flags(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<Test> {
        if instruction.opcode == Opcode::FCmp {
            return self.float_flags(instruction.sub, left, right);
        }
        let cond = integer_condition(instruction.sub)?;
        let signed = instruction.sub >= 38;
        let ty = self.ty(left);
        let word = self.known.types.word(ty);
        // What most are is known by its bytes.
        let bits = match word {
            0 => self.integer_bits(ty).ok_or_else(|| Box::new(Unsupported::Type("an unusual type")))?,
            bytes => u32::from(bytes) * 8,
        };
        if bits > 64 {
            return self.wide_compare(cond, signed, left, right, bits);
        }
        // A constant goes right, which reverses the order.
        let (left, right, cond) = if self.body.is_constant(left) && !self.body.is_constant(right) {
            (right, left, swapped(cond))
        } else {
            (left, right, cond)
        };
        let bytes = match (word, bits) {
            (0, 8 | 16 | 32 | 64) => (bits / 8) as u8,
            (0, _) => return self.compare_extended(signed, left, right, bits, cond),
            _ => word,
        };
        // One of them may be in its slot.
        let operand = self.right(right, 0, bytes)?;
        if let (Right::Imm(number), Some(part)) = (operand, self.part_of(left, 0)) {
            let known = self.parts[part as usize];
            if known.reg == super::registers::NO_REG && known.stored {
                let mem = self.slot_mem(part);
                self.asm.alu_mi(Alu::Cmp, &mem, number, bytes);
                return Ok(Test::plain(cond));
            }
        }
        let reg = self.read_gpr(left, 0)?;
        match operand {
            Right::Imm(0) => self.asm.test(reg, reg, bytes),
            _ => self.alu(Alu::Cmp, reg, operand, bytes),
        }
        Ok(Test::plain(cond))
    }

    /// Compares integers with bits above their width.
    #[inline(never)]
    fn compare_extended(&mut self, signed: bool, left: ValueId, right: ValueId, bits: u32, cond: Cond) -> Result<Test> {
        let wide = bits > 32;
        let bytes = if wide { 8 } else { 4 };
        let (a, b);
        if signed {
            a = self.take_sign_extended(left, 0, wide)?;
            b = self.take_sign_extended(right, 0, wide)?;
        } else {
            a = self.take_zero_extended(left, 0)?;
            b = self.take_zero_extended(right, 0)?;
        }
        self.asm.alu_rr(Alu::Cmp, a, b, bytes);
        Ok(Test::plain(cond))
    }

    /// The flags say whether the `i1` `value` is true.
    pub(crate) fn truth(&mut self, value: ValueId) -> Result<Test> {
        if !self.body.is_constant(value)
            && let Place::Deferred(index) = self.values[self.value_index(value) as usize].place()
        {
            let body = self.body;
            let instruction = body.instruction(index);
            let operands = body.operands(instruction);
            return self.compare_flags(instruction, ValueId(operands[0]), ValueId(operands[1]));
        }
        let reg = self.read_gpr(value, 0)?;
        self.asm.test_i8(reg, 1);
        Ok(Test::plain(Cond::NE))
    }

    // ---- selection ----------------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn select(
        &mut self,
        instruction: &Instruction,
        condition: ValueId,
        then: ValueId,
        otherwise: ValueId,
    ) -> Result<()> {
        if matches!(self.module.ty(self.ty(condition)), Type::Vector { .. }) {
            return self.vector_select(instruction, condition, then, otherwise);
        }
        let result = self.result(instruction)?;
        let (first, count) = self.type_parts(self.body.result_type(instruction))?;
        // All operands come before the comparison: what fetches them may change flags.
        let mut chosen = [(0u8, 0u8); 8];
        if count as usize > chosen.len() {
            return Err(Box::new(Unsupported::Instruction("select of a large aggregate")));
        }
        for at in 0..count {
            let yes = self.read(then, at)?;
            let no = self.take(otherwise, at)?;
            chosen[at as usize] = (yes, no);
        }
        let test = self.truth(condition)?;
        let all_general = (0..count).all(|at| self.known.types.get(first + at).bank == Bank::Gpr);
        if all_general && test.parity == Parity::None {
            for (at, (yes, no)) in chosen[..count as usize].iter().enumerate() {
                let wide = self.known.types.get(first + at as u32).bytes == 8;
                self.asm.cmov(test.cond, Gpr(*no), Gpr(*yes), wide);
            }
        } else {
            let mut skips = [0usize; 2];
            let mut skip_count = 1;
            let mut enter = None;
            match test.parity {
                Parity::None => skips[0] = self.asm.skip(test.cond.inverted()),
                Parity::AndOrdered => {
                    skips = [self.asm.skip(test.cond.inverted()), self.asm.skip(Cond::P)];
                    skip_count = 2;
                }
                Parity::OrUnordered => {
                    enter = Some(self.asm.skip(Cond::P));
                    skips[0] = self.asm.skip(test.cond.inverted());
                }
            }
            if let Some(enter) = enter {
                self.asm.land(enter);
            }
            for (yes, no) in &chosen[..count as usize] {
                self.copy_register(*no, *yes, 8);
            }
            for skip in &skips[..skip_count] {
                self.asm.land(*skip);
            }
        }
        for (at, (_, no)) in (0u32..).zip(&chosen[..count as usize]) {
            self.bind(result, at, *no);
        }
        Ok(())
    }

    // ---- aggregates ---------------------------------------------------------------------------------------------

    /// Makes parts `from..from + count` of `value` the parts of `result` from `to` on.
    pub(crate) fn copy_parts(&mut self, result: ValueId, to: u32, value: ValueId, from: u32, count: u32) -> Result<()> {
        for at in 0..count {
            let reg = self.take(value, from + at)?;
            self.bind(result, to + at, reg);
            // Many parts need not be in registers at once.
            self.registers.pinned &= !super::registers::bit(reg);
        }
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn extract_value(&mut self, instruction: &Instruction, from: ValueId, indices: &[u32]) -> Result<()> {
        let result = self.result(instruction)?;
        let ty = self.ty(from);
        let (_, before) = field(&mut self.known.types, self.module, ty, indices)?;
        let count = self.type_parts(self.body.result_type(instruction))?.1;
        self.copy_parts(result, 0, from, before, count)
    }

    #[inline(never)]
    pub(crate) fn insert_value(
        &mut self,
        instruction: &Instruction,
        into: ValueId,
        value: ValueId,
        indices: &[u32],
    ) -> Result<()> {
        let result = self.result(instruction)?;
        let all = self.type_parts(self.body.result_type(instruction))?.1;
        let (ty, before) = field(&mut self.known.types, self.module, self.body.result_type(instruction), indices)?;
        let count = self.type_parts(ty)?.1;
        self.copy_parts(result, 0, into, 0, before)?;
        self.copy_parts(result, before, value, 0, count)?;
        self.copy_parts(result, before + count, into, before + count, all - before - count)
    }

    // ---- two words ----------------------------------------------------------------------------------------------

    fn wide_binary(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, bits: u32) -> Result<()> {
        if bits > 128 {
            return self.long_binary(instruction, left, right, bits);
        }
        let pair = match instruction.opcode {
            Opcode::Add => (Alu::Add, Alu::Adc),
            Opcode::Sub => (Alu::Sub, Alu::Sbb),
            Opcode::And => (Alu::And, Alu::And),
            Opcode::Or => (Alu::Or, Alu::Or),
            Opcode::Xor => (Alu::Xor, Alu::Xor),
            Opcode::Mul => return self.wide_multiply(instruction, left, right),
            Opcode::Shl | Opcode::LShr | Opcode::AShr => return self.wide_shift(instruction, left, right, bits),
            _ => return self.wide_divide(instruction, left, right, bits),
        };
        let result = self.result(instruction)?;
        let rights = (self.right(right, 0, 8)?, self.wide_right(right)?);
        let low = self.take_gpr(left, 0)?;
        let high = self.take_gpr(left, 1)?;
        self.alu(pair.0, low, rights.0, 8);
        self.alu(pair.1, high, rights.1, 8);
        self.bind(result, 0, low.0);
        self.bind(result, 1, high.0);
        Ok(())
    }

    /// The upper word as a right operand. Of 32 bits or less it is 4 bytes in its slot, so it goes through a register.
    fn wide_right(&mut self, value: ValueId) -> Result<Right> {
        self.right(value, 1, 8)
    }

    fn wide_multiply(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let result = self.result(instruction)?;
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        let a = self.read_gpr(left, 0)?;
        let b = self.read_gpr(right, 0)?;
        let cross = self.take_gpr(left, 1)?;
        let other = self.take_gpr(right, 1)?;
        self.asm.imul(cross, b, true);
        self.asm.imul(other, a, true);
        self.asm.alu_rr(Alu::Add, cross, other, 8);
        self.asm.mov(RAX, a);
        self.asm.unary(4, b, 8);
        self.asm.alu_rr(Alu::Add, RDX, cross, 8);
        self.bind(result, 0, RAX.0);
        self.bind(result, 1, RDX.0);
        Ok(())
    }

    /// The two words of `value`, extended to 128 bits.
    pub(crate) fn take_wide(&mut self, value: ValueId, bits: u32, signed: bool) -> Result<(Gpr, Gpr)> {
        let low = self.take_gpr(value, 0)?;
        let high = self.take_gpr(value, 1)?;
        if bits < 128 {
            let is_constant = self.body.is_constant(value);
            match signed {
                true => self.sign_extend(high, bits - 64, true),
                false if !is_constant => self.zero_extend(high, bits - 64),
                false => {}
            }
        }
        Ok((low, high))
    }

    fn wide_shift(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, bits: u32) -> Result<()> {
        let result = self.result(instruction)?;
        self.claim(RCX.0)?;
        self.load_into(RCX.0, right, 0)?;
        let (low, high) = self.take_wide(left, bits, instruction.opcode == Opcode::AShr)?;
        let fill = self.alloc_gpr()?;
        // shld, shrd by CL; then, where the amount is 64 or more, by words.
        match instruction.opcode {
            Opcode::Shl => {
                self.asm.mov_imm(fill, 0);
                self.asm.rr(Op::two(0xa5).w(), low.0, high.0);
                self.asm.shift_cl(Shift::Shl, low, 8);
                self.asm.test_i8(RCX, 64);
                self.asm.cmov(Cond::NE, high, low, true);
                self.asm.cmov(Cond::NE, low, fill, true);
            }
            opcode => {
                let arithmetic = opcode == Opcode::AShr;
                if arithmetic {
                    self.asm.mov(fill, high);
                    self.asm.shift_imm(Shift::Sar, fill, 63, 8);
                } else {
                    self.asm.mov_imm(fill, 0);
                }
                self.asm.rr(Op::two(0xad).w(), high.0, low.0);
                self.asm.shift_cl(if arithmetic { Shift::Sar } else { Shift::Shr }, high, 8);
                self.asm.test_i8(RCX, 64);
                self.asm.cmov(Cond::NE, low, high, true);
                self.asm.cmov(Cond::NE, high, fill, true);
            }
        }
        self.bind(result, 0, low.0);
        self.bind(result, 1, high.0);
        Ok(())
    }

    fn wide_divide(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, bits: u32) -> Result<()> {
        let (name, signed) = match instruction.opcode {
            Opcode::UDiv => ("__udivti3", false),
            Opcode::SDiv => ("__divti3", true),
            Opcode::URem => ("__umodti3", false),
            Opcode::SRem => ("__modti3", true),
            _ => return Err(Box::new(Unsupported::Instruction("an operation on wide integers"))),
        };
        let result = self.result(instruction)?;
        let words = [(left, 0u32, 7u8), (left, 1, 6), (right, 0, 2), (right, 1, 1)];
        for (value, at, reg) in words {
            self.claim(reg)?;
            self.load_into(reg, value, at)?;
            if at == 1 && bits < 128 {
                match signed {
                    true => self.sign_extend(Gpr(reg), bits - 64, true),
                    false => self.zero_extend(Gpr(reg), bits - 64),
                }
            }
        }
        self.call_library(name)?;
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        self.bind(result, 0, RAX.0);
        self.bind(result, 1, RDX.0);
        Ok(())
    }

    fn wide_compare(&mut self, cond: Cond, signed: bool, left: ValueId, right: ValueId, bits: u32) -> Result<Test> {
        if bits > 128 {
            return self.long_compare(cond, signed, left, right, bits);
        }
        let extended = bits < 128;
        if matches!(cond, Cond::E | Cond::NE) {
            let (low, high) = self.take_wide(left, bits, false)?;
            let (other_low, other_high) = if extended {
                self.take_wide(right, bits, false)?
            } else {
                (self.read_gpr(right, 0)?, self.read_gpr(right, 1)?)
            };
            self.asm.alu_rr(Alu::Xor, low, other_low, 8);
            self.asm.alu_rr(Alu::Xor, high, other_high, 8);
            self.asm.alu_rr(Alu::Or, low, high, 8);
            return Ok(Test::plain(cond));
        }
        // Only "less" and "not less" come out of a subtraction of two words.
        let (left, right, cond) = match cond {
            Cond::A | Cond::BE | Cond::G | Cond::LE => (right, left, swapped(cond)),
            _ => (left, right, cond),
        };
        let (low, high) = self.take_wide(left, bits, signed)?;
        let (other_low, other_high) = if extended {
            self.take_wide(right, bits, signed)?
        } else {
            (self.read_gpr(right, 0)?, self.read_gpr(right, 1)?)
        };
        self.asm.alu_rr(Alu::Cmp, low, other_low, 8);
        self.asm.alu_rr(Alu::Sbb, high, other_high, 8);
        Ok(Test::plain(cond))
    }

    /// A vector of type `ty`'s only register, for operations on it.
    pub(crate) fn single_xmm(&mut self, ty: TypeId) -> Result<()> {
        match self.type_parts(ty)? {
            (first, 1) if self.known.types.get(first).bank == Bank::Xmm => Ok(()),
            _ => Err(Box::new(Unsupported::Type("a vector of several registers, here"))),
        }
    }

    pub(crate) fn bind_xmm(&mut self, result: ValueId, at: u32, reg: Xmm) {
        self.bind(result, at, reg.0 + XMM0);
    }
}

/// The condition after `cmp left, right` for a predicate of `icmp` (llvm/IR/InstrTypes.h, `CmpInst::Predicate`).
pub(crate) fn integer_condition(predicate: u8) -> Result<Cond> {
    Ok(match predicate {
        32 => Cond::E,
        33 => Cond::NE,
        34 => Cond::A,
        35 => Cond::AE,
        36 => Cond::B,
        37 => Cond::BE,
        38 => Cond::G,
        39 => Cond::GE,
        40 => Cond::L,
        41 => Cond::LE,
        _ => return Err(Box::new(Unsupported::Instruction("an unknown comparison"))),
    })
}

/// The condition for operands in the other order.
pub(crate) fn swapped(cond: Cond) -> Cond {
    match cond {
        Cond::A => Cond::B,
        Cond::B => Cond::A,
        Cond::AE => Cond::BE,
        Cond::BE => Cond::AE,
        Cond::G => Cond::L,
        Cond::L => Cond::G,
        Cond::GE => Cond::LE,
        Cond::LE => Cond::GE,
        other => other,
    }
}
