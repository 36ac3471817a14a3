//! Division of integers of more than two words, and their conversions from and to floating point: loops over memory, as
//! LLVM expands them inline too, since the run-time library has no functions for these.

use kiln_bitcode::{Instruction, Opcode, ValueId};

use super::encoder::{Alu, Base, Cond, Gpr, Mem, Op, RAX, RBP, RCX, RDX, RSI, Shift, Xmm};
use super::floats::sse;
use super::generator::{Generator, Result};
use super::long::words;
use super::registers::{SCRATCH, XMM0};
use super::soft_floats::Format;
use crate::compiler::Unsupported;

/// Longer ones than this are not divided here: the code grows with the length.
const DIVISION_WORDS_MAX: u32 = 16;

impl Generator<'_> {
    /// Words of memory.
    fn long_area(&mut self, count: u32) -> Mem {
        Mem::frame(self.frame.object(8 * u64::from(count), 8))
    }

    /// Turns the sign of the words at `mem` if `mask` is all ones, and leaves them if it is zero.
    fn negate_words(&mut self, mem: &Mem, count: u32, mask: Gpr) {
        for at in 0..count {
            self.asm.alu_mr(Alu::Xor, &mem.plus(8 * at as i32), mask, 8);
        }
        for at in 0..count {
            self.asm.alu_mr(if at == 0 { Alu::Sub } else { Alu::Sbb }, &mem.plus(8 * at as i32), mask, 8);
        }
    }

    /// `mask` becomes the sign of the words at `mem`, in all bits, and they their magnitude.
    fn take_sign(&mut self, mem: &Mem, count: u32, mask: Gpr) {
        self.asm.load(mask, &mem.plus(8 * (count as i32 - 1)), 8);
        self.asm.shift_imm(Shift::Sar, mask, 63, 8);
        self.negate_words(mem, count, mask);
    }

    /// Bit by bit: the dividend moves into the remainder from above, and the quotient into the dividend from below.
    pub(crate) fn long_divide(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        bits: u32,
    ) -> Result<()> {
        let count = words(bits);
        if count > DIVISION_WORDS_MAX {
            return Err(Box::new(Unsupported::Instruction("division of integers of over 1024 bits")));
        }
        let signed = matches!(instruction.opcode, Opcode::SDiv | Opcode::SRem);
        let wants_quotient = matches!(instruction.opcode, Opcode::UDiv | Opcode::SDiv);
        let result = self.result(instruction)?;
        let (dividend, divisor) = (self.long_area(count), self.long_area(count));
        // One more, for what leaves it above.
        let (rest, difference) = (self.long_area(count + 1), self.long_area(count + 1));
        self.store_words(&dividend, left, bits, signed)?;
        self.store_words(&divisor, right, bits, signed)?;
        for reg in [RAX, RCX, RDX, RSI] {
            self.claim(reg.0)?;
        }
        if signed {
            self.take_sign(&dividend, count, RDX);
            self.take_sign(&divisor, count, RSI);
            self.asm.alu_rr(Alu::Xor, RSI, RDX, 8);
        }
        for at in 0..=count {
            self.asm.store_imm(&rest.plus(8 * at as i32), 0, 8);
        }
        self.asm.mov_imm(RCX, u64::from(64 * count));
        let (again, less) = (self.asm.label(), self.asm.label());
        self.asm.bind(again);
        let both =
            (0..count).map(|at| dividend.plus(8 * at as i32)).chain((0..=count).map(|at| rest.plus(8 * at as i32)));
        for (at, word) in both.enumerate() {
            // shl or rcl
            self.asm.rm(Op::one(0xd1).w(), if at == 0 { 4 } else { 2 }, &word);
        }
        for at in 0..=count {
            let step = 8 * at as i32;
            self.asm.load(RAX, &rest.plus(step), 8);
            if at == count {
                self.asm.alu_ri(Alu::Sbb, RAX, 0, 8);
            } else {
                self.asm.alu_rm(if at == 0 { Alu::Sub } else { Alu::Sbb }, RAX, &divisor.plus(step), 8);
            }
            self.asm.store(&difference.plus(step), RAX, 8);
        }
        self.asm.jcc(Cond::B, less);
        self.copy_block(&rest, &difference, 8 * (count + 1));
        self.asm.alu_mi(Alu::Or, &dividend, 1, 8);
        self.asm.bind(less);
        self.asm.alu_ri(Alu::Sub, RCX, 1, 4);
        self.asm.jcc(Cond::NE, again);
        let found = if wants_quotient { dividend } else { rest };
        if signed {
            // A remainder has the sign of the dividend.
            self.negate_words(&found, count, if wants_quotient { RSI } else { RDX });
        }
        for reg in [RAX, RCX, RDX, RSI] {
            self.unhold(reg.0);
        }
        self.load_words(result, &found, bits)
    }

    /// `sitofp` and `uitofp`: the upper 64 bits, with one more for all that are below them, are rounded as usual; what they
    /// are multiplied with is a power of two.
    pub(crate) fn long_to_float(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        format: Format,
        bits: u32,
        signed: bool,
    ) -> Result<()> {
        let bytes = match format {
            Format::Double => 8,
            Format::Single | Format::Half | Format::BFloat => 4,
            Format::X87 | Format::Quad => {
                return Err(Box::new(Unsupported::Instruction("a conversion of a long integer to x86_fp80 or fp128")));
            }
        };
        let count = words(bits);
        if count > DIVISION_WORDS_MAX {
            return Err(Box::new(Unsupported::Instruction("a conversion of an integer of over 1024 bits")));
        }
        let result = self.result(instruction)?;
        // Two words of zero below.
        let padded = self.long_area(count + 2);
        let number = padded.plus(16);
        self.store_words(&number, value, bits, signed)?;
        let (high, low, lost, at, sign) = (RAX, RDX, RSI, Gpr(8), Gpr(9));
        for reg in [high, RCX, low, lost, at, sign] {
            self.claim(reg.0)?;
        }
        self.claim(XMM0)?;
        self.claim(XMM0 + 1)?;
        self.asm.mov_imm(sign, 0);
        if signed {
            self.take_sign(&number, count, sign);
        }
        for step in 0..2 {
            self.asm.store_imm(&padded.plus(8 * step), 0, 8);
        }
        let word = |below: i32| Mem { base: Base::Reg(RBP), index: Some((at, 3)), disp: number.disp - 8 * below };
        let (search, found, sticky, exact, done) =
            (self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label());
        // The highest word that is not zero.
        self.clear(Xmm(0));
        self.asm.mov_imm(at, u64::from(count - 1));
        self.asm.bind(search);
        self.asm.load(high, &word(0), 8);
        self.asm.test(high, high, 8);
        self.asm.jcc(Cond::NE, found);
        self.asm.alu_ri(Alu::Sub, at, 1, 8);
        self.asm.jcc(Cond::GE, search);
        self.asm.jmp(done);
        self.asm.bind(found);
        self.asm.load(low, &word(1), 8);
        // Its leading zeros are filled from the next; bsr.
        self.asm.rr(Op::two(0xbd).w(), RCX.0, high.0);
        self.asm.alu_ri(Alu::Xor, RCX, 63, 4);
        self.asm.rr(Op::two(0xa5).w(), low.0, high.0); // shld high, low, cl
        self.asm.shift_cl(Shift::Shl, low, 8);
        self.asm.mov(lost, low);
        // The exponent: 64 for each word below, less what was shifted.
        self.asm.mov(low, at);
        self.asm.shift_imm(Shift::Shl, low, 6, 8);
        self.asm.alu_rr(Alu::Sub, low, RCX, 8);
        self.asm.bind(sticky);
        self.asm.alu_ri(Alu::Sub, at, 1, 8);
        self.asm.jcc(Cond::LE, exact);
        self.asm.alu_rm(Alu::Or, lost, &word(1), 8);
        self.asm.jmp(sticky);
        self.asm.bind(exact);
        // 64 bits, of which the lowest says whether there was more, are more than either format has.
        self.asm.mov(RCX, high);
        self.asm.shift_imm(Shift::Shr, high, 1, 8);
        self.asm.shift_imm(Shift::Shl, RCX, 63, 8);
        self.asm.alu_rr(Alu::Or, lost, RCX, 8);
        self.asm.mov_imm(RCX, 0);
        self.asm.test(lost, lost, 8);
        self.asm.setcc(Cond::NE, RCX);
        self.asm.alu_rr(Alu::Or, high, RCX, 8);
        // Half of it, which is a signed number.
        self.asm.rr(sse(0x2a, bytes).w(), 0, high.0); // cvtsi2sd
        if bytes == 4 {
            self.asm.rr(sse(0x5a, 4), 0, 0); // cvtss2sd
        }
        self.asm.alu_ri(Alu::Add, low, 1024, 8);
        self.asm.shift_imm(Shift::Shl, low, 52, 8);
        self.asm.gpr_to_xmm(Xmm(1), low, true);
        self.asm.rr(sse(0x59, 8), 0, 1); // mulsd
        self.asm.shift_imm(Shift::Shl, sign, 63, 8);
        self.asm.gpr_to_xmm(Xmm(1), sign, true);
        self.asm.rr(Op::two(0x57), 0, 1); // xorps
        if bytes == 4 {
            self.asm.rr(sse(0x5a, 8), 0, 0); // cvtsd2ss
        }
        self.asm.bind(done);
        self.unhold(XMM0 + 1);
        for reg in [high, RCX, low, lost, at, sign] {
            self.unhold(reg.0);
        }
        match format {
            Format::Half | Format::BFloat => self.bind_narrow(format, result),
            _ => {
                self.bind_xmm(result, 0, Xmm(0));
                Ok(())
            }
        }
    }

    /// `fptosi` and `fptoui`: the significand, shifted to its place among zeros.
    pub(crate) fn float_to_long(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        format: Format,
        bits: u32,
    ) -> Result<()> {
        let count = words(bits);
        if format == Format::Quad || count > DIVISION_WORDS_MAX {
            return Err(Box::new(Unsupported::Instruction("a conversion to an integer of over 128 bits")));
        }
        let result = self.result(instruction)?;
        let number = self.long_area(count + 1);
        let (significand, exponent, sign) = (RAX, RDX, RSI);
        for reg in [significand, RCX, exponent, sign] {
            self.claim(reg.0)?;
        }
        // A number of 64 bits, the place of its lowest, and the sign in all bits.
        if format == Format::X87 {
            self.load_into(significand.0, value, 0)?;
            self.load_into(exponent.0, value, 1)?;
            self.asm.movsx(sign, exponent, 2, true);
            self.asm.shift_imm(Shift::Sar, sign, 63, 8);
            self.asm.alu_ri(Alu::And, exponent, 0x7fff, 4);
            self.asm.alu_ri(Alu::Sub, exponent, 16383 + 63, 8);
        } else {
            let from = match format {
                Format::Half | Format::BFloat => self.narrow_as_single(format, value)?,
                _ => self.read_xmm(value, 0)?,
            };
            let double = self.alloc_xmm()?;
            if format == Format::Double {
                self.asm.movaps(double, from);
            } else {
                self.clear(double);
                self.asm.rr(sse(0x5a, 4), double.0, from.0);
            }
            self.asm.xmm_to_gpr(significand, double, true);
            self.asm.mov(sign, significand);
            self.asm.shift_imm(Shift::Sar, sign, 63, 8);
            self.asm.mov(exponent, significand);
            self.asm.shift_imm(Shift::Shl, exponent, 1, 8);
            self.asm.shift_imm(Shift::Shr, exponent, 53, 8);
            // 52 bits, and the one above them that is not written.
            self.asm.shift_imm(Shift::Shl, significand, 12, 8);
            self.asm.shift_imm(Shift::Shr, significand, 12, 8);
            self.asm.mov_imm(RCX, 1 << 52);
            self.asm.alu_rr(Alu::Or, significand, RCX, 8);
            self.asm.alu_ri(Alu::Sub, exponent, 1023 + 52, 8);
        }
        for at in 0..=count {
            self.asm.store_imm(&number.plus(8 * at as i32), 0, 8);
        }
        let (left, done) = (self.asm.label(), self.asm.label());
        self.asm.mov(RCX, exponent);
        self.asm.test(exponent, exponent, 8);
        self.asm.jcc(Cond::GE, left);
        // To the right, by less than 64, or nothing is left.
        self.asm.unary(3, RCX, 8);
        self.asm.alu_ri(Alu::Cmp, RCX, 63, 8);
        self.asm.jcc(Cond::A, done);
        self.asm.shift_cl(Shift::Shr, significand, 8);
        self.asm.store(&number, significand, 8);
        self.asm.jmp(done);
        self.asm.bind(left);
        self.asm.shift_imm(Shift::Shr, exponent, 6, 8);
        // What does not fit is poison, but must not lead elsewhere.
        self.asm.alu_ri(Alu::Cmp, exponent, count as i32 - 1, 8);
        self.asm.jcc(Cond::A, done);
        let place = |step: i32| Mem { base: Base::Reg(RBP), index: Some((exponent, 3)), disp: number.disp + step };
        self.asm.mov_imm(SCRATCH, 0);
        self.asm.rr(Op::two(0xa5).w(), significand.0, SCRATCH.0); // shld scratch, significand, cl
        self.asm.shift_cl(Shift::Shl, significand, 8);
        self.asm.store(&place(0), significand, 8);
        self.asm.store(&place(8), SCRATCH, 8);
        self.asm.bind(done);
        self.negate_words(&number, count, sign);
        for reg in [significand, RCX, exponent, sign] {
            self.unhold(reg.0);
        }
        self.load_words(result, &number, bits)
    }
}
