//! Floating-point arithmetic, and conversions of all kinds.

use kiln_bitcode::{Instruction, Opcode, Type, TypeId, ValueId};
use kiln_link::RelocationKind;

use super::arithmetic::{Parity, Test};
use super::encoder::{Alu, Cond, Gpr, Mem, Op, Shift, Target, Xmm};
use super::generator::{Generator, Result};
use super::parts::{Bank, PartType};
use super::registers::{NO_REG, XMM0};
use super::soft_floats::{Format, Sign};
use crate::compiler::Unsupported;

/// `addss` and its relatives; `double` and vectors differ by prefix.
pub(crate) fn sse(opcode: u8, bytes: u8) -> Op {
    if bytes == 4 { Op::two(opcode).pf3() } else { Op::two(opcode).pf2() }
}

/// The same for a whole register.
pub(crate) fn packed(opcode: u8, bytes: u8) -> Op {
    if bytes == 4 { Op::two(opcode) } else { Op::two(opcode).p66() }
}

/// `ucomiss` and `ucomisd`; `comiss` and `comisd` for what signals.
pub(crate) fn comparison(bytes: u8, signals: bool) -> Op {
    let op = Op::two(if signals { 0x2f } else { 0x2e });
    if bytes == 4 { op } else { op.p66() }
}

/// What the flags say for a predicate of `fcmp`, and whether the operands change places. `ucomis` sets CF, ZF and PF
/// together where a NaN takes part.
pub(crate) fn float_test(predicate: u8) -> Result<(bool, Test)> {
    let (swap, cond, parity) = match predicate {
        1 => (false, Cond::E, Parity::AndOrdered),
        2 => (false, Cond::A, Parity::None),
        3 => (false, Cond::AE, Parity::None),
        4 => (true, Cond::A, Parity::None),
        5 => (true, Cond::AE, Parity::None),
        6 => (false, Cond::NE, Parity::None),
        7 => (false, Cond::NP, Parity::None),
        8 => (false, Cond::P, Parity::None),
        9 => (false, Cond::E, Parity::None),
        10 => (true, Cond::B, Parity::None),
        11 => (true, Cond::BE, Parity::None),
        12 => (false, Cond::B, Parity::None),
        13 => (false, Cond::BE, Parity::None),
        14 => (false, Cond::NE, Parity::OrUnordered),
        _ => return Err(Box::new(Unsupported::Instruction("fcmp with a constant result"))),
    };
    Ok((swap, Test { cond, parity }))
}

impl Generator<'_> {
    pub(crate) fn float_bytes(&self, ty: TypeId) -> Result<u8> {
        match self.module.ty(ty) {
            Type::Float => Ok(4),
            Type::Double => Ok(8),
            Type::Half => Err(Box::new(Unsupported::Type("half, here"))),
            Type::BFloat => Err(Box::new(Unsupported::Type("bfloat, here"))),
            Type::X86Fp80 => Err(Box::new(Unsupported::Type("x86_fp80, here"))),
            Type::Fp128 => Err(Box::new(Unsupported::Type("fp128, here"))),
            _ => Err(Box::new(Unsupported::Type("an unusual type"))),
        }
    }

    /// The format of a scalar that SSE does not compute with; `None` for those it does, and for vectors.
    fn soft_format(&self, ty: TypeId) -> Result<Option<Format>> {
        match self.module.ty(ty) {
            Type::Float | Type::Double | Type::Vector { .. } => Ok(None),
            _ => Ok(Some(self.format(ty)?)),
        }
    }

    /// A constant of the pool.
    pub(crate) fn pool_mem(&mut self, value: u128, size: u8) -> Mem {
        let at = self.pool.add(value, size);
        Mem::rip(Target::Pool(at), RelocationKind::PC32, 0)
    }

    #[inline(never)]
    pub(crate) fn float_binary(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        if let Some(format) = self.soft_format(self.body.result_type(instruction))? {
            return self.soft_binary(instruction, format, left, right);
        }
        let opcode = match instruction.opcode {
            Opcode::FAdd => 0x58,
            Opcode::FMul => 0x59,
            Opcode::FSub => 0x5c,
            Opcode::FDiv => 0x5e,
            _ => {
                let bytes = self.float_bytes(self.body.result_type(instruction))?;
                return self.float_call(instruction, if bytes == 4 { "fmodf" } else { "fmod" }, &[left, right]);
            }
        };
        if matches!(self.module.ty(self.body.result_type(instruction)), Type::Vector { .. }) {
            return self.vector_float_binary(instruction, opcode, left, right);
        }
        let bytes = self.float_bytes(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let reg = self.float_op(Some(result), sse(opcode, bytes), left, right, bytes)?;
        self.bind_xmm(result, 0, reg);
        Ok(())
    }

    /// `op left, right`, in the register that `result` keeps if it does.
    pub(crate) fn float_op(
        &mut self,
        result: Option<ValueId>,
        op: Op,
        left: ValueId,
        right: ValueId,
        bytes: u8,
    ) -> Result<Xmm> {
        let left_register = |this: &mut Self| match result {
            Some(result) => Ok(Xmm(this.take_for(result, left)? - XMM0)),
            None => this.take_xmm(left, 0),
        };
        if let Some(part) = self.part_of(right, 0) {
            let known = self.parts[part as usize];
            if known.reg == NO_REG && known.stored && right != left {
                let mem = self.slot_mem(part);
                let to = left_register(self)?;
                self.asm.rm(op, to.0, &mem);
                return Ok(to);
            }
        } else if self.body.is_constant(right) {
            let ty = self.ty(right);
            let part = self.scalar(ty)?;
            if let super::operands::Bits::Number(number) = self.constant_bits(right, part)? {
                let mem = self.pool_mem(number, bytes);
                let to = left_register(self)?;
                self.asm.rm(op, to.0, &mem);
                return Ok(to);
            }
        }
        let from = self.read_xmm(right, 0)?;
        let to = left_register(self)?;
        self.asm.rr(op, to.0, from.0);
        Ok(to)
    }

    /// A call of a function of one type, `double f(double, ...)`, of the run-time library.
    pub(crate) fn float_call(
        &mut self,
        instruction: &Instruction,
        name: &'static str,
        arguments: &[ValueId],
    ) -> Result<()> {
        let result = self.result(instruction)?;
        for (reg, value) in (0u8..).zip(arguments) {
            self.place(reg + XMM0, *value, 0)?;
        }
        self.call_library(name)?;
        self.claim(XMM0)?;
        self.bind(result, 0, XMM0);
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn negate(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        if let Some(format) = self.soft_format(self.body.result_type(instruction))? {
            return self.soft_sign(instruction, format, value, Sign::Turn);
        }
        let bytes = match self.module.ty(self.body.result_type(instruction)) {
            Type::Vector { element, .. } => {
                self.single_xmm(self.body.result_type(instruction))?;
                self.float_bytes(*element)?
            }
            _ => self.float_bytes(self.body.result_type(instruction))?,
        };
        let sign = if bytes == 4 { 0x8000_0000_8000_0000u64 } else { 1 << 63 };
        let result = self.result(instruction)?;
        let mem = self.pool_mem(u128::from(sign) | u128::from(sign) << 64, 16);
        let reg = self.take_xmm(value, 0)?;
        // xorps
        self.asm.rm(Op::two(0x57), reg.0, &mem);
        self.bind_xmm(result, 0, reg);
        Ok(())
    }

    /// The flags for a predicate of `fcmp`.
    pub(crate) fn float_flags(&mut self, predicate: u8, left: ValueId, right: ValueId) -> Result<Test> {
        self.float_flags_by(predicate, left, right, false)
    }

    /// The same; quiet NaNs raise the exception too if it `signals`.
    pub(crate) fn float_flags_by(
        &mut self,
        predicate: u8,
        left: ValueId,
        right: ValueId,
        signals: bool,
    ) -> Result<Test> {
        let ty = self.ty(left);
        let soft = self.soft_format(ty)?;
        let (swap, test) = float_test(predicate)?;
        let (left, right) = if swap { (right, left) } else { (left, right) };
        if let Some(format) = soft {
            self.soft_flags(format, left, right, signals)?;
            return Ok(test);
        }
        let bytes = self.float_bytes(ty)?;
        let a = self.read_xmm(left, 0)?;
        let b = self.read_xmm(right, 0)?;
        self.asm.rr(comparison(bytes, signals), a.0, b.0);
        Ok(test)
    }

    // ---- conversions --------------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn convert(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let from = self.ty(value);
        let to = self.body.result_type(instruction);
        let is_vector = |ty: TypeId| matches!(self.module.ty(ty), Type::Vector { .. });
        let vectors = is_vector(from) || is_vector(to);
        match instruction.opcode {
            Opcode::Freeze => {
                let result = self.result(instruction)?;
                let count = self.type_parts(to)?.1;
                self.copy_parts(result, 0, value, 0, count)
            }
            Opcode::BitCast => self.bitcast(instruction, value),
            _ if vectors => self.vector_convert(instruction, value),
            Opcode::Trunc => self.narrow(instruction, value),
            Opcode::ZExt | Opcode::SExt | Opcode::PtrToInt | Opcode::IntToPtr | Opcode::PtrToAddr => {
                self.widen(instruction, value)
            }
            Opcode::FpTrunc | Opcode::FpExt => {
                let (from, to) = (self.format(from)?, self.format(to)?);
                if !(from.is_native() && to.is_native()) {
                    return self.soft_resize(instruction, value, from, to);
                }
                let bytes = |format| if format == Format::Single { 4 } else { 8 };
                let (from, to) = (bytes(from), bytes(to));
                let result = self.result(instruction)?;
                let source = self.read_xmm(value, 0)?;
                let reg = self.alloc_xmm()?;
                if from == to {
                    self.asm.movaps(reg, source);
                } else {
                    self.clear(reg);
                    self.asm.rr(sse(0x5a, from), reg.0, source.0);
                }
                self.bind_xmm(result, 0, reg);
                Ok(())
            }
            Opcode::FpToSi => self.float_to_integer(instruction, value, true),
            Opcode::FpToUi => self.float_to_integer(instruction, value, false),
            Opcode::SiToFp => self.integer_to_float(instruction, value, true),
            Opcode::UiToFp => self.integer_to_float(instruction, value, false),
            _ => Err(Box::new(Unsupported::Instruction("addrspacecast"))),
        }
    }

    /// Between integers and pointers, narrower or wider.
    fn widen(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let source = self.ty(value);
        let (Some(from), Some(to)) = (self.integer_bits(source), self.integer_bits(self.body.result_type(instruction)))
        else {
            return Err(Box::new(Unsupported::Type("an unusual type")));
        };
        let signed = instruction.opcode == Opcode::SExt;
        if to > 128 && to > from {
            return self.long_widen(instruction, value, from, to, signed);
        }
        if to <= from {
            return self.narrow(instruction, value);
        }
        if to > 64 {
            let result = self.result(instruction)?;
            // Two words.
            if from > 64 {
                let (low, high) = self.take_wide(value, from, signed)?;
                self.bind(result, 0, low.0);
                self.bind(result, 1, high.0);
                return Ok(());
            }
            let low =
                if signed { self.take_sign_extended(value, 0, true)? } else { self.take_zero_extended(value, 0)? };
            let high = self.alloc_gpr()?;
            if signed {
                self.asm.mov(high, low);
                self.asm.shift_imm(Shift::Sar, high, 63, 8);
            } else {
                self.asm.mov_imm(high, 0);
            }
            self.bind(result, 0, low.0);
            self.bind(result, 1, high.0);
            return Ok(());
        }
        let result = instruction.result();
        let known = self.part_of(value, 0).map(|part| self.parts[part as usize]);
        let reg = match (from, known) {
            // Extension and copy in one.
            (8 | 16 | 32, Some(known)) => {
                let bytes = (from / 8) as u8;
                if known.reg == NO_REG && known.stored {
                    let part = self.part_of(value, 0).expect("it has parts");
                    let mem = self.slot_mem(part);
                    let reg = Gpr(self.target(result, Bank::Gpr)?);
                    match (signed, bytes) {
                        (false, _) => self.asm.load(reg, &mem, bytes),
                        (true, 4) => self.asm.rm(Op::one(0x63).w(), reg.0, &mem),
                        (true, 1) => self.asm.rm(Op::two(0xbe).w_if(to > 32), reg.0, &mem),
                        (true, _) => self.asm.rm(Op::two(0xbf).w_if(to > 32), reg.0, &mem),
                    }
                    reg
                } else {
                    let source = self.read_gpr(value, 0)?;
                    let last = self.values[self.value_index(value) as usize].uses() == 1;
                    let reg = match self.kept_register(result) {
                        Some(reg) => Gpr(reg),
                        None if last => self.take_gpr(value, 0)?,
                        None => self.alloc_gpr()?,
                    };
                    if signed {
                        self.asm.movsx(reg, source, bytes, to > 32);
                    } else {
                        self.asm.movzx(reg, source, bytes);
                    }
                    reg
                }
            }
            _ if signed => self.take_sign_extended(value, 0, to > 32)?,
            _ => self.take_zero_extended(value, 0)?,
        };
        let only = self.scalar(self.body.result_type(instruction))?;
        self.define(result, only, reg.0);
        Ok(())
    }

    /// Integers and pointers whose bits above the result's width may stay: nobody looks at them.
    fn narrow(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let bytes = self.known.types.word(self.body.result_type(instruction));
        if bytes != 0 {
            let only = PartType::word(bytes);
            let home = self.kept_register(instruction.result());
            let from = self.part_of(value, 0).map_or(NO_REG, |part| self.parts[part as usize].reg);
            let reg = match home {
                Some(home) if from != NO_REG => {
                    self.copy_register(home, from, only.bytes);
                    home
                }
                _ => self.take_for(instruction.result(), value)?,
            };
            self.define(instruction.result(), only, reg);
            return Ok(());
        }
        let result = self.result(instruction)?;
        let count = self.type_parts(self.body.result_type(instruction))?.1;
        self.copy_parts(result, 0, value, 0, count)
    }

    fn bitcast(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let source = self.ty(value);
        let from = self.type_parts(source)?;
        let to = self.type_parts(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let same = from.1 == to.1
            && (0..from.1).all(|at| {
                let (a, b) = (self.known.types.get(from.0 + at), self.known.types.get(to.0 + at));
                a.bank == b.bank && (a.bank == Bank::Xmm || a.bits == b.bits)
            });
        if same {
            return self.copy_parts(result, 0, value, 0, to.1);
        }
        let (a, b) = (self.known.types.get(from.0), self.known.types.get(to.0));
        match (from.1, to.1, a.bank, b.bank) {
            (1, 1, Bank::Gpr, Bank::Xmm) if matches!(a.bits, 8 | 16 | 32 | 64) && a.bits == 8 * b.store => {
                let reg = self.read_gpr(value, 0)?;
                let to = self.alloc_xmm()?;
                self.asm.gpr_to_xmm(to, reg, a.bytes == 8);
                self.bind_xmm(result, 0, to);
            }
            (1, 1, Bank::Xmm, Bank::Gpr) if matches!(b.bits, 8 | 16 | 32 | 64) && b.bits == 8 * a.store => {
                let reg = self.read_xmm(value, 0)?;
                let to = self.alloc_gpr()?;
                self.asm.xmm_to_gpr(to, reg, b.bytes == 8);
                self.bind(result, 0, to.0);
            }
            (1, 2, Bank::Xmm, Bank::Gpr) => {
                let reg = self.read_xmm(value, 0)?;
                let (low, high) = (self.alloc_gpr()?, self.alloc_gpr()?);
                let other = self.alloc_xmm()?;
                self.asm.xmm_to_gpr(low, reg, true);
                // pshufd other, reg, 0xee
                self.asm.rr_i8(Op::two(0x70).p66(), other.0, reg.0, 0xee);
                self.asm.xmm_to_gpr(high, other, true);
                self.bind(result, 0, low.0);
                self.bind(result, 1, high.0);
            }
            (2, 1, Bank::Gpr, Bank::Xmm) => {
                let (low, high) = (self.read_gpr(value, 0)?, self.read_gpr(value, 1)?);
                let (to, other) = (self.alloc_xmm()?, self.alloc_xmm()?);
                self.asm.gpr_to_xmm(to, low, true);
                self.asm.gpr_to_xmm(other, high, true);
                // punpcklqdq
                self.asm.rr(Op::two(0x6c).p66(), to.0, other.0);
                self.bind_xmm(result, 0, to);
            }
            _ => return Err(Box::new(Unsupported::Instruction("an unusual bitcast"))),
        }
        Ok(())
    }

    /// Breaks the dependence on what the register held before: `xorps reg, reg`.
    pub(crate) fn clear(&mut self, reg: Xmm) {
        self.asm.rr(Op::two(0x57), reg.0, reg.0);
    }

    /// As LLVM does it, which programs can tell where the number does not fit: by 32 bits up to `i32` and `u16`, by 64 up
    /// to `i64` and `u32`, `u64` in two steps.
    fn float_to_integer(&mut self, instruction: &Instruction, value: ValueId, signed: bool) -> Result<()> {
        let source = self.ty(value);
        let format = self.format(source)?;
        let bits = self
            .integer_bits(self.body.result_type(instruction))
            .ok_or_else(|| Box::new(Unsupported::Type("an unusual type")))?;
        if bits > 64 || !format.is_native() {
            return self.soft_to_integer(instruction, value, format, bits, signed);
        }
        let result = self.result(instruction)?;
        let from = self.read_xmm(value, 0)?;
        let reg = self.float_as_integer(from, bits, signed, if format == Format::Single { 4 } else { 8 })?;
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// The number of `bytes` bytes in `from` as an integer of at most 64 bits.
    pub(crate) fn float_as_integer(&mut self, from: Xmm, bits: u32, signed: bool, bytes: u8) -> Result<Gpr> {
        let reg = self.alloc_gpr()?;
        let wide = if signed { bits > 32 } else { bits > 31 };
        // cvttsd2si
        if signed || bits < 64 {
            self.asm.rr(sse(0x2c, bytes).w_if(wide), reg.0, from.0);
            return Ok(reg);
        }
        // Above 2^63 the first conversion gives the sign bit alone; the second is of what is above it.
        let limit = if bytes == 4 { u128::from(0x5f00_0000u32) } else { 0x43e0_0000_0000_0000 };
        let mem = self.pool_mem(limit, bytes);
        let above = self.alloc_xmm()?;
        let high = self.alloc_gpr()?;
        let mask = self.alloc_gpr()?;
        self.asm.rr(sse(0x2c, bytes).w(), reg.0, from.0);
        self.asm.movaps(above, from);
        self.asm.rm(sse(0x5c, bytes), above.0, &mem);
        self.asm.rr(sse(0x2c, bytes).w(), high.0, above.0);
        self.asm.mov(mask, reg);
        self.asm.shift_imm(Shift::Sar, mask, 63, 8);
        self.asm.alu_rr(Alu::And, high, mask, 8);
        self.asm.alu_rr(Alu::Or, reg, high, 8);
        Ok(reg)
    }

    fn integer_to_float(&mut self, instruction: &Instruction, value: ValueId, signed: bool) -> Result<()> {
        let format = self.format(self.body.result_type(instruction))?;
        let source = self.ty(value);
        let bits = self.integer_bits(source).ok_or_else(|| Box::new(Unsupported::Type("an unusual type")))?;
        if bits > 64 || !format.is_native() {
            return self.soft_from_integer(instruction, value, format, bits, signed);
        }
        let result = self.result(instruction)?;
        let to = self.integer_as_float(value, bits, signed, if format == Format::Single { 4 } else { 8 })?;
        self.bind_xmm(result, 0, to);
        Ok(())
    }

    /// The integer `value` of at most 64 bits as a number of `bytes` bytes.
    pub(crate) fn integer_as_float(&mut self, value: ValueId, bits: u32, signed: bool, bytes: u8) -> Result<Xmm> {
        let to = self.alloc_xmm()?;
        if signed {
            let wide = bits > 32;
            let reg = if matches!(bits, 32 | 64) {
                self.read_gpr(value, 0)?
            } else {
                self.take_sign_extended(value, 0, wide)?
            };
            self.clear(to);
            self.asm.rr(sse(0x2a, bytes).w_if(wide), to.0, reg.0);
            return Ok(to);
        }
        let reg = self.take_zero_extended(value, 0)?;
        if bits < 64 {
            self.clear(to);
            self.asm.rr(sse(0x2a, bytes).w(), to.0, reg.0);
            return Ok(to);
        }
        // Half of it, with the lost bit kept for rounding, and twice the result.
        let half = self.alloc_gpr()?;
        self.clear(to);
        self.asm.test(reg, reg, 8);
        let large = self.asm.skip(Cond::S);
        self.asm.rr(sse(0x2a, bytes).w(), to.0, reg.0);
        let done = self.asm.skip_always();
        self.asm.land(large);
        self.asm.mov(half, reg);
        self.asm.shift_imm(Shift::Shr, half, 1, 8);
        self.asm.alu_ri(Alu::And, reg, 1, 4);
        self.asm.alu_rr(Alu::Or, half, reg, 8);
        self.asm.rr(sse(0x2a, bytes).w(), to.0, half.0);
        self.asm.rr(sse(0x58, bytes), to.0, to.0);
        self.asm.land(done);
        Ok(to)
    }
}
