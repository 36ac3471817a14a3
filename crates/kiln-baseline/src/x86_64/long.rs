//! Integers of more than two words, word by word; funnel shifts of two. `long_division.rs` divides them.

use kiln_bitcode::{Instruction, Opcode, ValueId};

use super::arithmetic::Test;
use super::encoder::{Alu, Base, Cond, Gpr, Mem, Op, RAX, RBP, RCX, RDX, Shift};
use super::generator::{Generator, Result};
use crate::compiler::Unsupported;

/// Longer ones than this are not multiplied here: the code grows with the square.
const MULTIPLY_WORDS_MAX: u32 = 16;

pub(crate) fn words(bits: u32) -> u32 {
    bits.div_ceil(64)
}

impl Generator<'_> {
    /// Word `at` of `value` in a temporary; the last one is extended to all of its bits.
    fn take_word(&mut self, value: ValueId, at: u32, bits: u32, signed: bool) -> Result<Gpr> {
        let reg = self.take_gpr(value, at)?;
        let rest = bits - 64 * at;
        if rest < 64 {
            match signed {
                true => self.sign_extend(reg, rest, true),
                false => self.zero_extend(reg, rest),
            }
        }
        Ok(reg)
    }

    pub(crate) fn long_binary(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        bits: u32,
    ) -> Result<()> {
        let (first, others) = match instruction.opcode {
            Opcode::Add => (Alu::Add, Alu::Adc),
            Opcode::Sub => (Alu::Sub, Alu::Sbb),
            Opcode::And => (Alu::And, Alu::And),
            Opcode::Or => (Alu::Or, Alu::Or),
            Opcode::Xor => (Alu::Xor, Alu::Xor),
            Opcode::Mul => return self.long_multiply(instruction, left, right, bits),
            Opcode::Shl | Opcode::LShr | Opcode::AShr => return self.long_shift(instruction, left, right, bits),
            _ => return self.long_divide(instruction, left, right, bits),
        };
        let result = self.result(instruction)?;
        for at in 0..words(bits) {
            // Moves only, which leave the carry alone.
            let operand = self.read_gpr(right, at)?;
            let reg = self.take_gpr(left, at)?;
            self.asm.alu_rr(if at == 0 { first } else { others }, reg, operand, 8);
            self.release_pin(operand.0);
            self.bind_or_drop(result, at, reg.0);
        }
        Ok(())
    }

    /// The flags for `cond` after a comparison.
    pub(crate) fn long_compare(
        &mut self,
        cond: Cond,
        signed: bool,
        left: ValueId,
        right: ValueId,
        bits: u32,
    ) -> Result<Test> {
        let last = words(bits) - 1;
        if matches!(cond, Cond::E | Cond::NE) {
            let differences = self.alloc_gpr()?;
            self.asm.mov_imm(differences, 0);
            for at in 0..=last {
                let a = self.take_word(left, at, bits, false)?;
                let b = self.take_word(right, at, bits, false)?;
                self.asm.alu_rr(Alu::Xor, a, b, 8);
                self.asm.alu_rr(Alu::Or, differences, a, 8);
                self.unhold(a.0);
                self.unhold(b.0);
            }
            self.asm.test(differences, differences, 8);
            return Ok(Test::plain(cond));
        }
        // Only "less" and "not less" come out of a subtraction of several words.
        let (left, right, cond) = match cond {
            Cond::A | Cond::BE | Cond::G | Cond::LE => (right, left, super::arithmetic::swapped(cond)),
            _ => (left, right, cond),
        };
        // What changes flags comes first.
        let (top, other_top) = (self.take_word(left, last, bits, signed)?, self.take_word(right, last, bits, signed)?);
        for at in 0..last {
            let (a, b) = (self.take_gpr(left, at)?, self.take_gpr(right, at)?);
            self.asm.alu_rr(if at == 0 { Alu::Cmp } else { Alu::Sbb }, a, b, 8);
            self.unhold(a.0);
            self.unhold(b.0);
        }
        self.asm.alu_rr(Alu::Sbb, top, other_top, 8);
        Ok(Test::plain(cond))
    }

    /// `scmp` and `ucmp`: subtracted both ways.
    pub(crate) fn long_three_way(
        &mut self,
        instruction: &Instruction,
        operands: [ValueId; 2],
        bits: u32,
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        let size = 8 * u64::from(words(bits));
        let (a, b) = (Mem::frame(self.frame.object(size, 8)), Mem::frame(self.frame.object(size, 8)));
        self.store_words(&a, operands[0], bits, signed)?;
        self.store_words(&b, operands[1], bits, signed)?;
        let (reg, less, word) = (self.alloc_gpr()?, self.alloc_gpr()?, self.alloc_gpr()?);
        for (flag, low, high) in [(less, a, b), (reg, b, a)] {
            for at in 0..words(bits) {
                self.asm.load(word, &low.plus(8 * at as i32), 8);
                let alu = if at == 0 { Alu::Cmp } else { Alu::Sbb };
                self.asm.alu_rm(alu, word, &high.plus(8 * at as i32), 8);
            }
            self.asm.setcc(if signed { Cond::L } else { Cond::B }, flag);
        }
        self.asm.alu_rr(Alu::Sub, reg, less, 1);
        self.asm.movsx(reg, reg, 1, true);
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// `zext` and `sext` to more than two words.
    pub(crate) fn long_widen(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        from: u32,
        to: u32,
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        let last = words(from) - 1;
        self.copy_parts(result, 0, value, 0, last)?;
        let top = self.take_word(value, last, from, signed)?;
        let fill = self.alloc_gpr()?;
        if signed {
            self.asm.mov(fill, top);
            self.asm.shift_imm(Shift::Sar, fill, 63, 8);
        } else {
            self.asm.mov_imm(fill, 0);
        }
        self.bind_or_drop(result, last, top.0);
        for at in last + 1..words(to) {
            let copy = self.alloc_gpr()?;
            self.asm.mov(copy, fill);
            self.bind_or_drop(result, at, copy.0);
        }
        Ok(())
    }

    pub(crate) fn store_words(&mut self, to: &Mem, value: ValueId, bits: u32, signed: bool) -> Result<()> {
        for at in 0..words(bits) {
            let reg = self.take_word(value, at, bits, signed)?;
            self.asm.store(&to.plus(8 * at as i32), reg, 8);
            self.unhold(reg.0);
        }
        Ok(())
    }

    pub(crate) fn load_words(&mut self, result: ValueId, from: &Mem, bits: u32) -> Result<()> {
        for at in 0..words(bits) {
            let reg = self.alloc_gpr()?;
            self.asm.load(reg, &from.plus(8 * at as i32), 8);
            self.bind_or_drop(result, at, reg.0);
        }
        Ok(())
    }

    /// Every word of one times every word of the other, as far as the product is kept.
    fn long_multiply(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, bits: u32) -> Result<()> {
        let count = words(bits);
        if count > MULTIPLY_WORDS_MAX {
            return Err(Box::new(Unsupported::Instruction("multiplication of integers of over 1024 bits")));
        }
        let result = self.result(instruction)?;
        let mut place = || Mem::frame(self.frame.object(8 * u64::from(count), 8));
        let (a, b, product) = (place(), place(), place());
        self.store_words(&a, left, bits, false)?;
        self.store_words(&b, right, bits, false)?;
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        let carry = self.alloc_gpr()?;
        for at in 0..count {
            self.asm.store_imm(&product.plus(8 * at as i32), 0, 8);
        }
        for i in 0..count {
            self.asm.mov_imm(carry, 0);
            for j in 0..count - i {
                let sum = product.plus(8 * (i + j) as i32);
                self.asm.load(RAX, &a.plus(8 * i as i32), 8);
                self.asm.rm(Op::one(0xf7).w(), 4, &b.plus(8 * j as i32)); // mul
                self.asm.alu_rr(Alu::Add, RAX, carry, 8);
                self.asm.alu_ri(Alu::Adc, RDX, 0, 8);
                self.asm.alu_mr(Alu::Add, &sum, RAX, 8);
                self.asm.alu_ri(Alu::Adc, RDX, 0, 8);
                self.asm.mov(carry, RDX);
            }
        }
        self.load_words(result, &product, bits)
    }

    /// Shifts the value within a longer stretch of memory: by words through the address, by bits as it is read.
    fn long_shift(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, bits: u32) -> Result<()> {
        let count = words(bits);
        let result = self.result(instruction)?;
        let is_left = instruction.opcode == Opcode::Shl;
        let signed = instruction.opcode == Opcode::AShr;
        let start = self.frame.object(8 * u64::from(2 * count + 1), 8);
        // To the left, zeros lie before the value; to the right, copies of the sign after it.
        let (fill_start, value_start) = if is_left { (0, count + 1) } else { (count, 0) };
        let word = |at: u32| Mem::frame(start + 8 * at as i32);
        self.store_words(&word(value_start), left, bits, signed)?;
        self.claim(RCX.0)?;
        let fill = self.alloc_gpr()?;
        if signed {
            self.asm.load(fill, &word(count - 1), 8);
            self.asm.shift_imm(Shift::Sar, fill, 63, 8);
        } else {
            self.asm.mov_imm(fill, 0);
        }
        for at in 0..=count {
            self.asm.store(&word(fill_start + at), fill, 8);
        }
        self.load_into(RCX.0, right, 0)?;
        // Amounts of at least the width are poison, but must not lead elsewhere.
        let by = self.alloc_gpr()?;
        self.asm.mov(by, RCX);
        self.asm.shift_imm(Shift::Shr, by, 6, 8);
        self.asm.mov_imm(fill, u64::from(count));
        self.asm.alu_rr(Alu::Cmp, by, fill, 8);
        self.asm.cmov(Cond::A, by, fill, true);
        if is_left {
            self.asm.unary(3, by, 8);
        }
        let shifted = |at: u32| Mem { base: Base::Reg(RBP), index: Some((by, 3)), disp: start + 8 * at as i32 };
        for at in 0..count {
            let (near, far) = (self.alloc_gpr()?, self.alloc_gpr()?);
            // shld near, far, cl or shrd near, far, cl
            let (kept, from, opcode) = if is_left { (count + 1 + at, count + at, 0xa5) } else { (at, at + 1, 0xad) };
            self.asm.load(near, &shifted(kept), 8);
            self.asm.load(far, &shifted(from), 8);
            self.asm.rr(Op::two(opcode).w(), far.0, near.0);
            self.unhold(far.0);
            self.bind_or_drop(result, at, near.0);
        }
        Ok(())
    }

    /// `fshl` and `fshr` of 128 bits: four words, of which two that lie together are taken.
    pub(crate) fn wide_funnel(
        &mut self,
        instruction: &Instruction,
        halves: [ValueId; 2],
        amount: ValueId,
        is_left: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        let all = self.lane_mem(0, 0);
        for (at, half) in (0i32..).zip(halves) {
            self.store_words(&all.plus(16 * at), half, 128, false)?;
        }
        self.claim(RCX.0)?;
        self.load_into(RCX.0, amount, 0)?;
        let by = self.alloc_gpr()?;
        self.asm.mov32(by, RCX);
        self.asm.shift_imm(Shift::Shr, by, 6, 4);
        self.asm.alu_ri(Alu::And, by, 1, 4);
        if is_left {
            self.asm.unary(3, by, 8);
        }
        let word = |at: i32| Mem { index: Some((by, 3)), ..all.plus(8 * at) };
        for at in 0..2 {
            let (near, far) = (self.alloc_gpr()?, self.alloc_gpr()?);
            let (kept, from, opcode) = if is_left { (2 + at, 1 + at, 0xa5) } else { (at, at + 1, 0xad) };
            self.asm.load(near, &word(kept), 8);
            self.asm.load(far, &word(from), 8);
            self.asm.rr(Op::two(opcode).w(), far.0, near.0);
            self.unhold(far.0);
            self.bind_or_drop(result, at as u32, near.0);
        }
        Ok(())
    }
}
