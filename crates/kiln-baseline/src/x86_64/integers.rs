//! Intrinsics on integers: extremes, bits, overflow, saturation.

use kiln_bitcode::{Instruction, TypeId, ValueId};

use super::encoder::{Alu, Cond, Gpr, Op, RAX, RCX, RDX, Shift};
use super::generator::{Generator, Result};
use super::registers::SCRATCH;
use crate::compiler::Unsupported;

impl Generator<'_> {
    fn word_bits(&self, ty: TypeId) -> Result<u32> {
        match self.integer_bits(ty) {
            Some(bits @ 1..=64) => Ok(bits),
            _ => Err(Box::new(Unsupported::Instruction("an intrinsic on wide integers"))),
        }
    }

    pub(crate) fn extreme(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        cond: Cond,
        signed: bool,
    ) -> Result<()> {
        if let Some(bits @ 65..=128) = self.integer_bits(self.body.result_type(instruction)) {
            return self.wide_extreme(instruction, [left, right], bits, cond, signed);
        }
        let bits = self.word_bits(self.body.result_type(instruction))?;
        let wide = bits > 32;
        let result = self.result(instruction)?;
        let (a, b) = if matches!(bits, 32 | 64) {
            let b = self.read_gpr(right, 0)?;
            (self.take_gpr(left, 0)?, b)
        } else if signed {
            (self.take_sign_extended(left, 0, wide)?, self.take_sign_extended(right, 0, wide)?)
        } else {
            (self.take_zero_extended(left, 0)?, self.take_zero_extended(right, 0)?)
        };
        // b replaces a where b is the one wanted: b cond a.
        self.asm.alu_rr(Alu::Cmp, b, a, if wide { 8 } else { 4 });
        self.asm.cmov(cond, a, b, wide);
        self.bind(result, 0, a.0);
        Ok(())
    }

    /// [`Generator::extreme`] of two words: of the differences of the operands, the one that tells by being less.
    fn wide_extreme(
        &mut self,
        instruction: &Instruction,
        operands: [ValueId; 2],
        bits: u32,
        cond: Cond,
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        let (a, a_high) = self.take_wide(operands[0], bits, signed)?;
        let (b, b_high) = self.take_wide(operands[1], bits, signed)?;
        let (less, low, high) = match cond {
            Cond::B | Cond::L => (cond, (b, b_high), (a, a_high)),
            Cond::A => (Cond::B, (a, a_high), (b, b_high)),
            _ => (Cond::L, (a, a_high), (b, b_high)),
        };
        self.asm.mov(SCRATCH, low.1);
        self.asm.alu_rr(Alu::Cmp, low.0, high.0, 8);
        self.asm.alu_rr(Alu::Sbb, SCRATCH, high.1, 8);
        self.asm.cmov(less, a, b, true);
        self.asm.cmov(less, a_high, b_high, true);
        self.bind(result, 0, a.0);
        self.bind(result, 1, a_high.0);
        Ok(())
    }

    pub(crate) fn three_way(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        signed: bool,
    ) -> Result<()> {
        self.word_bits(self.body.result_type(instruction))?;
        let source = self.ty(left);
        if let Some(bits @ 65..=128) = self.integer_bits(source) {
            return self.wide_three_way(instruction, left, right, bits, signed);
        }
        if let Some(bits @ 129..) = self.integer_bits(source) {
            return self.long_three_way(instruction, [left, right], bits, signed);
        }
        let bits = self.word_bits(source)?;
        let wide = bits > 32;
        let result = self.result(instruction)?;
        let (a, b) = if signed {
            (self.take_sign_extended(left, 0, wide)?, self.take_sign_extended(right, 0, wide)?)
        } else {
            (self.take_zero_extended(left, 0)?, self.take_zero_extended(right, 0)?)
        };
        let reg = self.alloc_gpr()?;
        let less = self.alloc_gpr()?;
        self.asm.alu_rr(Alu::Cmp, a, b, if wide { 8 } else { 4 });
        let (above, below) = if signed { (Cond::G, Cond::L) } else { (Cond::A, Cond::B) };
        self.asm.setcc(above, reg);
        self.asm.setcc(below, less);
        self.asm.alu_rr(Alu::Sub, reg, less, 1);
        self.asm.movsx(reg, reg, 1, true);
        self.bind(result, 0, reg.0);
        Ok(())
    }

    fn wide_three_way(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        bits: u32,
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        let (a, a_high) = self.take_wide(left, bits, signed)?;
        let (b, b_high) = self.take_wide(right, bits, signed)?;
        let (reg, less) = (self.alloc_gpr()?, self.alloc_gpr()?);
        let below = if signed { Cond::L } else { Cond::B };
        for (flag, (low, low_high), (high, high_high)) in
            [(less, (a, a_high), (b, b_high)), (reg, (b, b_high), (a, a_high))]
        {
            self.asm.mov(SCRATCH, low_high);
            self.asm.alu_rr(Alu::Cmp, low, high, 8);
            self.asm.alu_rr(Alu::Sbb, SCRATCH, high_high, 8);
            self.asm.setcc(below, flag);
        }
        self.asm.alu_rr(Alu::Sub, reg, less, 1);
        self.asm.movsx(reg, reg, 1, true);
        self.bind(result, 0, reg.0);
        Ok(())
    }

    fn wide_absolute(&mut self, instruction: &Instruction, value: ValueId, bits: u32) -> Result<()> {
        let result = self.result(instruction)?;
        let (low, high) = self.take_wide(value, bits, true)?;
        // All ones where it is negative: turning every bit and adding one negates.
        let sign = self.alloc_gpr()?;
        self.asm.mov(sign, high);
        self.asm.shift_imm(Shift::Sar, sign, 63, 8);
        self.asm.alu_rr(Alu::Xor, low, sign, 8);
        self.asm.alu_rr(Alu::Xor, high, sign, 8);
        self.asm.alu_rr(Alu::Sub, low, sign, 8);
        self.asm.alu_rr(Alu::Sbb, high, sign, 8);
        self.bind(result, 0, low.0);
        self.bind(result, 1, high.0);
        Ok(())
    }

    pub(crate) fn absolute(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        if let Some(bits @ 65..=128) = self.integer_bits(self.body.result_type(instruction)) {
            return self.wide_absolute(instruction, value, bits);
        }
        let bits = self.word_bits(self.body.result_type(instruction))?;
        let wide = bits > 32;
        let bytes = if wide { 8 } else { 4 };
        let result = self.result(instruction)?;
        let reg = self.take_sign_extended(value, 0, wide)?;
        let negative = self.alloc_gpr()?;
        self.asm.mov(negative, reg);
        self.asm.unary(3, negative, bytes);
        self.asm.cmov(Cond::S, negative, reg, wide);
        self.bind(result, 0, negative.0);
        Ok(())
    }

    pub(crate) fn byte_swap(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let result = self.result(instruction)?;
        match self.integer_bits(self.body.result_type(instruction)) {
            Some(bits @ (16 | 24 | 32 | 40 | 48 | 56 | 64)) => {
                let reg = self.take_gpr(value, 0)?;
                self.asm.byte_swap(reg);
                if bits < 64 {
                    self.asm.shift_imm(Shift::Shr, reg, (64 - bits) as u8, 8);
                }
                self.bind(result, 0, reg.0);
            }
            Some(128) => {
                let (low, high) = (self.take_gpr(value, 0)?, self.take_gpr(value, 1)?);
                self.asm.byte_swap(low);
                self.asm.byte_swap(high);
                self.bind(result, 0, high.0);
                self.bind(result, 1, low.0);
            }
            _ => return Err(Box::new(Unsupported::Instruction("bswap of an unusual width"))),
        }
        Ok(())
    }

    pub(crate) fn bit_reverse(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let bits = self.word_bits(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let reg = self.take_gpr(value, 0)?;
        let other = self.alloc_gpr()?;
        let mask = self.alloc_gpr()?;
        self.asm.byte_swap(reg);
        self.reverse_bits_of_bytes(reg, other, mask);
        if bits < 64 {
            self.asm.shift_imm(Shift::Shr, reg, (64 - bits) as u8, 8);
        }
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// Turns each byte of `reg` round.
    pub(crate) fn reverse_bits_of_bytes(&mut self, reg: Gpr, other: Gpr, mask: Gpr) {
        for (pattern, count) in
            [(0x0f0f_0f0f_0f0f_0f0fu64, 4u8), (0x3333_3333_3333_3333, 2), (0x5555_5555_5555_5555, 1)]
        {
            self.asm.mov_imm(mask, pattern);
            self.asm.mov(other, reg);
            self.asm.shift_imm(Shift::Shr, other, count, 8);
            self.asm.alu_rr(Alu::And, other, mask, 8);
            self.asm.alu_rr(Alu::And, reg, mask, 8);
            self.asm.shift_imm(Shift::Shl, reg, count, 8);
            self.asm.alu_rr(Alu::Or, reg, other, 8);
        }
    }

    pub(crate) fn count_zeros(&mut self, instruction: &Instruction, value: ValueId, leading: bool) -> Result<()> {
        let bits = match self.integer_bits(self.body.result_type(instruction)) {
            Some(128) => return self.count_zeros_wide(instruction, value, leading),
            _ => self.word_bits(self.body.result_type(instruction))?,
        };
        let result = self.result(instruction)?;
        let reg = self.take_zero_extended(value, 0)?;
        let (found, other) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.count_zeros_of(reg, [found, other], u64::from(bits), leading);
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// Makes a zero-extended number of `bits` bits how many zeros it begins or ends with. `bsf` and `bsr` leave their target
    /// alone where nothing is set, but say so.
    pub(crate) fn count_zeros_of(&mut self, reg: Gpr, [found, other]: [Gpr; 2], bits: u64, leading: bool) {
        if leading {
            self.asm.mov_imm(other, u64::MAX);
            self.asm.rr(Op::two(0xbd).w(), found.0, reg.0); // bsr
            self.asm.cmov(Cond::E, found, other, true);
            self.asm.mov_imm(reg, bits - 1);
            self.asm.alu_rr(Alu::Sub, reg, found, 4);
        } else {
            self.asm.mov_imm(other, bits);
            self.asm.rr(Op::two(0xbc).w(), found.0, reg.0); // bsf
            self.asm.cmov(Cond::E, found, other, true);
            self.asm.mov(reg, found);
        }
    }

    fn count_zeros_wide(&mut self, instruction: &Instruction, value: ValueId, leading: bool) -> Result<()> {
        let result = self.result(instruction)?;
        let low = self.read_gpr(value, 0)?;
        let high = self.read_gpr(value, 1)?;
        let (near, far) = if leading { (high, low) } else { (low, high) };
        let (a, b, c) = (self.alloc_gpr()?, self.alloc_gpr()?, self.alloc_gpr()?);
        // b: as if the near word were zero; a: as if it were not.
        if leading {
            self.asm.mov_imm(c, 127);
            self.asm.rr(Op::two(0xbd).w(), b.0, far.0);
            self.asm.cmov(Cond::E, b, c, true);
            self.asm.alu_ri(Alu::Xor, b, 63, 4);
            self.asm.alu_ri(Alu::Add, b, 64, 4);
            self.asm.rr(Op::two(0xbd).w(), a.0, near.0);
            // The flags of the last comparison must survive, so the test comes again.
            self.asm.alu_ri(Alu::Xor, a, 63, 4);
        } else {
            self.asm.mov_imm(c, 64);
            self.asm.rr(Op::two(0xbc).w(), b.0, far.0);
            self.asm.cmov(Cond::E, b, c, true);
            self.asm.alu_ri(Alu::Add, b, 64, 4);
            self.asm.rr(Op::two(0xbc).w(), a.0, near.0);
        }
        self.asm.test(near, near, 8);
        self.asm.cmov(Cond::E, a, b, true);
        self.asm.mov_imm(c, 0);
        self.bind(result, 0, a.0);
        self.bind(result, 1, c.0);
        Ok(())
    }

    /// Without `popcnt`, which the baseline lacks: sums of neighbouring fields.
    pub(crate) fn population(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        if let Some(bits @ 65..=128) = self.integer_bits(self.body.result_type(instruction)) {
            let result = self.result(instruction)?;
            let (low, high) = self.take_wide(value, bits, false)?;
            self.count_bits(low)?;
            self.count_bits(high)?;
            self.asm.alu_rr(Alu::Add, low, high, 8);
            self.asm.mov_imm(high, 0);
            self.bind(result, 0, low.0);
            self.bind(result, 1, high.0);
            return Ok(());
        }
        self.word_bits(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let reg = self.take_zero_extended(value, 0)?;
        self.count_bits(reg)?;
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// Replaces `reg` by the number of its bits that are set.
    fn count_bits(&mut self, reg: Gpr) -> Result<()> {
        let other = self.alloc_gpr()?;
        let mask = self.alloc_gpr()?;
        self.asm.mov(other, reg);
        self.asm.shift_imm(Shift::Shr, other, 1, 8);
        self.asm.mov_imm(mask, 0x5555_5555_5555_5555);
        self.asm.alu_rr(Alu::And, other, mask, 8);
        self.asm.alu_rr(Alu::Sub, reg, other, 8);
        self.asm.mov_imm(mask, 0x3333_3333_3333_3333);
        self.asm.mov(other, reg);
        self.asm.shift_imm(Shift::Shr, other, 2, 8);
        self.asm.alu_rr(Alu::And, other, mask, 8);
        self.asm.alu_rr(Alu::And, reg, mask, 8);
        self.asm.alu_rr(Alu::Add, reg, other, 8);
        self.asm.mov(other, reg);
        self.asm.shift_imm(Shift::Shr, other, 4, 8);
        self.asm.alu_rr(Alu::Add, reg, other, 8);
        self.asm.mov_imm(mask, 0x0f0f_0f0f_0f0f_0f0f);
        self.asm.alu_rr(Alu::And, reg, mask, 8);
        self.asm.mov_imm(mask, 0x0101_0101_0101_0101);
        self.asm.imul(reg, mask, true);
        self.asm.shift_imm(Shift::Shr, reg, 56, 8);
        self.unhold(other.0);
        self.unhold(mask.0);
        Ok(())
    }

    pub(crate) fn funnel(&mut self, instruction: &Instruction, operands: &[u32], left: bool) -> Result<()> {
        let (high, low, amount) = (ValueId(operands[0]), ValueId(operands[1]), ValueId(operands[2]));
        if self.integer_bits(self.body.result_type(instruction)) == Some(128) {
            return self.wide_funnel(instruction, [low, high], amount, left);
        }
        let bits = self.word_bits(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let bytes: u8 = match bits {
            8 => 1,
            16 => 2,
            32 => 4,
            64 => 8,
            _ => return Err(Box::new(Unsupported::Instruction("a funnel shift of an unusual width"))),
        };
        let constant = self.number(amount).map(|n| (n % u64::from(bits)) as u8);
        if constant.is_none() {
            self.claim(RCX.0)?;
            self.load_into(RCX.0, amount, 0)?;
        }
        if high == low {
            let shift = if left { Shift::Rol } else { Shift::Ror };
            let reg = self.take_gpr(high, 0)?;
            match constant {
                Some(count) => self.asm.shift_imm(shift, reg, count, bytes),
                None => self.asm.shift_cl(shift, reg, bytes),
            }
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        if bits < 32 {
            // Both halves in one register of 32 bits.
            let reg = self.take_gpr(high, 0)?;
            let other = self.take_zero_extended(low, 0)?;
            self.asm.shift_imm(Shift::Shl, reg, bits as u8, 4);
            self.asm.alu_rr(Alu::Or, reg, other, 4);
            if bits == 8 {
                self.zero_extend(reg, 16);
            }
            match constant {
                Some(count) => {
                    let count = if left { count } else { bits as u8 - count };
                    // Left: the upper half of the sum after the shift.
                    self.asm.shift_imm(Shift::Shl, reg, count, 4);
                    self.asm.shift_imm(Shift::Shr, reg, bits as u8, 4);
                }
                None => {
                    self.asm.alu_ri(Alu::And, RCX, bits as i32 - 1, 4);
                    if left {
                        self.asm.shift_cl(Shift::Shl, reg, 4);
                        self.asm.shift_imm(Shift::Shr, reg, bits as u8, 4);
                    } else {
                        self.asm.shift_cl(Shift::Shr, reg, 4);
                    }
                }
            }
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        // shld high, low; shrd low, high. The machine takes the amount modulo the width.
        let wide = bytes == 8;
        let (kept, filled) = if left { (high, low) } else { (low, high) };
        let from = self.read_gpr(filled, 0)?;
        let reg = self.take_gpr(kept, 0)?;
        match constant {
            Some(count) => {
                let op = Op::two(if left { 0xa4 } else { 0xac }).w_if(wide);
                self.asm.rr_i8(op, from.0, reg.0, count);
            }
            None => {
                let op = Op::two(if left { 0xa5 } else { 0xad }).w_if(wide);
                self.asm.rr(op, from.0, reg.0);
            }
        }
        self.bind(result, 0, reg.0);
        Ok(())
    }

    fn natural_bytes(&self, ty: TypeId) -> Result<u8> {
        match self.integer_bits(ty) {
            Some(8) => Ok(1),
            Some(16) => Ok(2),
            Some(32) => Ok(4),
            Some(64) => Ok(8),
            _ => Err(Box::new(Unsupported::Instruction("an overflow intrinsic of an unusual width"))),
        }
    }

    pub(crate) fn overflow(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        alu: Alu,
        signed: bool,
    ) -> Result<()> {
        let ty = self.ty(left);
        let cond = if signed { Cond::O } else { Cond::B };
        let result = self.result(instruction)?;
        if self.integer_bits(ty) == Some(128) {
            let second = if alu == Alu::Add { Alu::Adc } else { Alu::Sbb };
            let rights = (self.right(right, 0, 8)?, self.right(right, 1, 8)?);
            let (low, high) = (self.take_gpr(left, 0)?, self.take_gpr(left, 1)?);
            let flag = self.alloc_gpr()?;
            self.alu(alu, low, rights.0, 8);
            self.alu(second, high, rights.1, 8);
            self.asm.setcc(cond, flag);
            for (at, reg) in (0u32..).zip([low, high, flag]) {
                self.bind(result, at, reg.0);
            }
            return Ok(());
        }
        let bytes = self.natural_bytes(ty)?;
        let operand = self.right(right, 0, bytes)?;
        let reg = self.take_gpr(left, 0)?;
        let flag = self.alloc_gpr()?;
        self.alu(alu, reg, operand, bytes);
        self.asm.setcc(cond, flag);
        self.bind(result, 0, reg.0);
        self.bind(result, 1, flag.0);
        Ok(())
    }

    pub(crate) fn multiply_overflow(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        signed: bool,
    ) -> Result<()> {
        let ty = self.ty(left);
        if self.integer_bits(ty) == Some(128) {
            return self.wide_multiply_overflow(instruction, [left, right], signed);
        }
        let bytes = self.natural_bytes(ty)?;
        let result = self.result(instruction)?;
        if bytes == 1 {
            // In 32 bits there is room: the product fits if extending its low byte gives it back.
            let (a, b) = if signed {
                (self.take_sign_extended(left, 0, false)?, self.take_sign_extended(right, 0, false)?)
            } else {
                (self.take_zero_extended(left, 0)?, self.take_zero_extended(right, 0)?)
            };
            let flag = self.alloc_gpr()?;
            self.asm.imul(a, b, false);
            if signed {
                self.asm.movsx(b, a, 1, false);
            } else {
                self.asm.movzx(b, a, 1);
            }
            self.asm.alu_rr(Alu::Cmp, a, b, 4);
            self.asm.setcc(Cond::NE, flag);
            self.bind(result, 0, a.0);
            self.bind(result, 1, flag.0);
            return Ok(());
        }
        if signed {
            let from = self.read_gpr(right, 0)?;
            let reg = self.take_gpr(left, 0)?;
            let flag = self.alloc_gpr()?;
            let op = match bytes {
                2 => Op::two(0xaf).p66(),
                4 => Op::two(0xaf),
                _ => Op::two(0xaf).w(),
            };
            self.asm.rr(op, reg.0, from.0);
            self.asm.setcc(Cond::O, flag);
            self.bind(result, 0, reg.0);
            self.bind(result, 1, flag.0);
            return Ok(());
        }
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        let from = self.read_gpr(right, 0)?;
        self.load_into(RAX.0, left, 0)?;
        self.asm.unary(4, from, bytes); // mul
        let flag = self.alloc_gpr()?;
        self.asm.setcc(Cond::O, flag);
        self.bind(result, 0, RAX.0);
        self.bind(result, 1, flag.0);
        Ok(())
    }

    /// The product of 128 bits and whether there is more of it. Signed numbers are multiplied without their signs; the
    /// result then fits if it has the sign that it should have, or is zero.
    fn wide_multiply_overflow(
        &mut self,
        instruction: &Instruction,
        operands: [ValueId; 2],
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        let area = |word: i32| word * 8;
        let place = self.lane_mem(0, 0);
        for (at, value) in (0i32..).zip(operands) {
            let (low, high) = self.take_wide(value, 128, signed)?;
            if signed {
                let sign = self.alloc_gpr()?;
                self.asm.mov(sign, high);
                self.asm.shift_imm(Shift::Sar, sign, 63, 8);
                self.asm.alu_rr(Alu::Xor, low, sign, 8);
                self.asm.alu_rr(Alu::Xor, high, sign, 8);
                self.asm.alu_rr(Alu::Sub, low, sign, 8);
                self.asm.alu_rr(Alu::Sbb, high, sign, 8);
                self.asm.store(&place.plus(area(4 + at)), sign, 8);
                self.unhold(sign.0);
            }
            self.asm.store(&place.plus(area(2 * at)), low, 8);
            self.asm.store(&place.plus(area(2 * at + 1)), high, 8);
            self.unhold(low.0);
            self.unhold(high.0);
        }
        let (flag, high, other) = (self.alloc_gpr()?, self.alloc_gpr()?, self.alloc_gpr()?);
        // Both upper words: too much by itself.
        self.asm.alu_mi(Alu::Cmp, &place.plus(area(1)), 0, 8);
        self.asm.setcc(Cond::NE, flag);
        self.asm.alu_mi(Alu::Cmp, &place.plus(area(3)), 0, 8);
        self.asm.setcc(Cond::NE, other);
        self.asm.alu_rr(Alu::And, flag, other, 1);
        // The products of an upper and a lower word go to the upper half.
        for (at, (a, b)) in [(1, 2), (0, 3)].into_iter().enumerate() {
            self.asm.load(RAX, &place.plus(area(a)), 8);
            self.asm.rm(Op::one(0xf7).w(), 4, &place.plus(area(b))); // mul
            self.asm.setcc(Cond::O, other);
            self.asm.alu_rr(Alu::Or, flag, other, 1);
            if at == 0 {
                self.asm.mov(high, RAX);
            } else {
                // One of them is zero, or the flag is set.
                self.asm.alu_rr(Alu::Add, high, RAX, 8);
            }
        }
        self.asm.load(RAX, &place, 8);
        self.asm.rm(Op::one(0xf7).w(), 4, &place.plus(area(2)));
        self.asm.alu_rr(Alu::Add, RDX, high, 8);
        self.asm.setcc(Cond::B, other);
        self.asm.alu_rr(Alu::Or, flag, other, 1);
        if signed {
            let sign = high;
            self.asm.load(sign, &place.plus(area(4)), 8);
            self.asm.alu_rm(Alu::Xor, sign, &place.plus(area(5)), 8);
            self.asm.alu_rr(Alu::Xor, RAX, sign, 8);
            self.asm.alu_rr(Alu::Xor, RDX, sign, 8);
            self.asm.alu_rr(Alu::Sub, RAX, sign, 8);
            self.asm.alu_rr(Alu::Sbb, RDX, sign, 8);
            // Another sign than it should have, unless it is zero.
            self.asm.mov(other, RAX);
            self.asm.alu_rr(Alu::Or, other, RDX, 8);
            self.asm.setcc(Cond::NE, other);
            self.asm.alu_rr(Alu::Xor, sign, RDX, 8);
            self.asm.shift_imm(Shift::Shr, sign, 63, 8);
            self.asm.alu_rr(Alu::And, other, sign, 1);
            self.asm.alu_rr(Alu::Or, flag, other, 1);
        }
        for (at, reg) in (0u32..).zip([RAX, RDX, flag]) {
            self.bind(result, at, reg.0);
        }
        Ok(())
    }

    pub(crate) fn saturate(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        alu: Alu,
        signed: bool,
    ) -> Result<()> {
        let bytes = self.natural_bytes(self.body.result_type(instruction))?;
        let bits = u32::from(bytes) * 8;
        let result = self.result(instruction)?;
        let operand = self.right(right, 0, bytes)?;
        let reg = self.take_gpr(left, 0)?;
        let limit = self.alloc_gpr()?;
        if !signed {
            self.asm.mov_imm(limit, if alu == Alu::Add { u64::MAX } else { 0 });
            self.alu(alu, reg, operand, bytes);
            self.asm.cmov(Cond::B, reg, limit, true);
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        // After an overflow the sign is the wrong one: the limit is the largest number if it is set.
        let smallest = self.alloc_gpr()?;
        let least = 1u64 << (bits - 1);
        self.alu(alu, reg, operand, bytes);
        let fits = self.asm.skip(Cond::O);
        let done = self.asm.skip_always();
        self.asm.land(fits);
        self.asm.mov_imm(limit, least - 1);
        self.asm.mov_imm(smallest, least);
        self.asm.test(reg, reg, bytes);
        self.asm.cmov(Cond::S, smallest, limit, true);
        self.asm.mov(reg, smallest);
        self.asm.land(done);
        self.bind(result, 0, reg.0);
        Ok(())
    }
}
