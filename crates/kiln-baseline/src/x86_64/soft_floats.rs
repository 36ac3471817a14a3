//! Numbers that SSE does not compute with: `half`, `bfloat` and `fp128`.
//!
//! As LLVM does it (llvm/lib/CodeGen/SelectionDAG/LegalizeFloatTypes.cpp): the narrow ones are computed with as `float`,
//! each operation rounded; `fp128` by the run-time library. All travel and live at the bottom of XMM registers.

use kiln_bitcode::{Instruction, Opcode, Type, TypeId, ValueId};

use super::arithmetic::{Parity, Test};
use super::encoder::{Alu, Cond, Gpr, Mem, Op, RAX, RDI, RDX, RSI, Shift, Xmm};
use super::floats::sse;
use super::generator::{Generator, Result};
use super::registers::XMM0;
use crate::compiler::Unsupported;

/// A floating-point type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Half,
    BFloat,
    Single,
    Double,
    /// `x86_fp80`, which lives in two general registers (`x87.rs`).
    X87,
    /// `fp128`
    Quad,
}

impl Format {
    /// What SSE computes with.
    pub(crate) fn is_native(self) -> bool {
        matches!(self, Format::Single | Format::Double)
    }

    fn is_narrow(self) -> bool {
        matches!(self, Format::Half | Format::BFloat)
    }

    /// The letters in the names of run-time functions (GCC internals, "Routines for floating point emulation").
    fn letters(self) -> &'static str {
        match self {
            Format::Half => "hf",
            Format::BFloat => "bf",
            Format::Single => "sf",
            Format::Double => "df",
            Format::X87 => "xf",
            Format::Quad => "tf",
        }
    }
}

/// The run-time function that converts between two formats, where one is needed.
fn conversion(from: Format, to: Format) -> Option<&'static str> {
    Some(match (from.letters(), to.letters()) {
        ("sf", "hf") => "__truncsfhf2",
        ("df", "hf") => "__truncdfhf2",
        ("xf", "hf") => "__truncxfhf2",
        ("tf", "hf") => "__trunctfhf2",
        ("sf", "tf") => "__extendsftf2",
        ("df", "tf") => "__extenddftf2",
        ("xf", "tf") => "__extendxftf2",
        ("tf", "sf") => "__trunctfsf2",
        ("tf", "df") => "__trunctfdf2",
        ("tf", "xf") => "__trunctfxf2",
        _ => return None,
    })
}

/// The run-time library's functions from and to integers of `bits` bits.
fn integer_calls(format: Format, signed: bool, bits: u32) -> (&'static str, &'static str) {
    match (format, signed, bits) {
        (Format::Quad, true, 0..=32) => ("__floatsitf", "__fixtfsi"),
        (Format::Quad, false, 0..=32) => ("__floatunsitf", "__fixunstfsi"),
        (Format::Quad, true, 33..=64) => ("__floatditf", "__fixtfdi"),
        (Format::Quad, false, 33..=64) => ("__floatunditf", "__fixunstfdi"),
        (Format::Quad, true, _) => ("__floattitf", "__fixtfti"),
        (Format::Quad, false, _) => ("__floatuntitf", "__fixunstfti"),
        (Format::Double, true, _) => ("__floattidf", "__fixdfti"),
        (Format::Double, false, _) => ("__floatuntidf", "__fixunsdfti"),
        (Format::X87, true, _) => ("__floattixf", "__fixxfti"),
        (Format::X87, false, _) => ("__floatuntixf", "__fixunsxfti"),
        (_, true, _) => ("__floattisf", "__fixsfti"),
        (_, false, _) => ("__floatuntisf", "__fixunssfti"),
    }
}

impl Generator<'_> {
    /// The format of a scalar; vectors and others are refused.
    pub(crate) fn format(&self, ty: TypeId) -> Result<Format> {
        Ok(match self.module.ty(ty) {
            Type::Half => Format::Half,
            Type::BFloat => Format::BFloat,
            Type::Float => Format::Single,
            Type::Double => Format::Double,
            Type::X86Fp80 => Format::X87,
            Type::Fp128 => Format::Quad,
            _ => return Err(Box::new(Unsupported::Type("an unusual type"))),
        })
    }

    // ---- half and bfloat ----------------------------------------------------------------------------------------

    /// The narrow number `value` as `float`.
    pub(crate) fn narrow_as_single(&mut self, format: Format, value: ValueId) -> Result<Xmm> {
        let from = self.read_xmm(value, 0)?;
        let to = self.alloc_xmm()?;
        let bits = self.alloc_gpr()?;
        self.asm.xmm_to_gpr(bits, from, false);
        if format == Format::BFloat {
            self.asm.shift_imm(Shift::Shl, bits, 16, 4);
            self.asm.gpr_to_xmm(to, bits, false);
            self.unhold(bits.0);
            return Ok(to);
        }
        /// What the exponents differ by, 127 - 15, where `float` has its own.
        const BIAS: i32 = 112 << 23;
        let sign = self.alloc_gpr()?;
        self.asm.mov32(sign, bits);
        self.asm.alu_ri(Alu::And, sign, 0x8000, 4);
        self.asm.shift_imm(Shift::Shl, sign, 16, 4);
        self.asm.alu_ri(Alu::And, bits, 0x7fff, 4);
        self.asm.alu_ri(Alu::Cmp, bits, 0x400, 4);
        let small = self.asm.skip(Cond::B);
        self.asm.shift_imm(Shift::Shl, bits, 13, 4);
        self.asm.alu_ri(Alu::Add, bits, BIAS, 4);
        self.asm.alu_ri(Alu::Cmp, bits, BIAS + (31 << 23), 4);
        let normal = self.asm.skip(Cond::B);
        // Infinities and NaNs.
        self.asm.alu_ri(Alu::Add, bits, BIAS, 4);
        let done = self.asm.skip_always();
        self.asm.land(small);
        // A multiple of 2^-24, which `float` holds exactly.
        let unit = self.pool_mem(u128::from((2.0f32).powi(-24).to_bits()), 4);
        self.clear(to);
        self.asm.rr(sse(0x2a, 4), to.0, bits.0);
        self.asm.rm(sse(0x59, 4), to.0, &unit);
        self.asm.xmm_to_gpr(bits, to, false);
        self.asm.land(done);
        self.asm.land(normal);
        self.asm.alu_rr(Alu::Or, bits, sign, 4);
        self.asm.gpr_to_xmm(to, bits, false);
        self.unhold(sign.0);
        self.unhold(bits.0);
        Ok(to)
    }

    /// Makes the `float` in XMM0, a temporary, the narrow `result`.
    pub(crate) fn bind_narrow(&mut self, format: Format, result: ValueId) -> Result<()> {
        let from = Xmm(0);
        if format == Format::Half {
            self.call_library("__truncsfhf2")?;
            self.claim(XMM0)?;
            self.bind(result, 0, XMM0);
            return Ok(());
        }
        // To nearest, ties to even; NaNs stay NaNs.
        let bits = self.alloc_gpr()?;
        let odd = self.alloc_gpr()?;
        self.asm.xmm_to_gpr(bits, from, false);
        self.asm.rr(Op::two(0x2e), from.0, from.0); // ucomiss
        let nan = self.asm.skip(Cond::P);
        self.asm.mov32(odd, bits);
        self.asm.shift_imm(Shift::Shr, odd, 16, 4);
        self.asm.alu_ri(Alu::And, odd, 1, 4);
        self.asm.alu_rr(Alu::Add, bits, odd, 4);
        self.asm.alu_ri(Alu::Add, bits, 0x7fff, 4);
        let done = self.asm.skip_always();
        self.asm.land(nan);
        self.asm.alu_ri(Alu::Or, bits, 0x40_0000, 4);
        self.asm.land(done);
        self.asm.shift_imm(Shift::Shr, bits, 16, 4);
        self.asm.gpr_to_xmm(from, bits, false);
        self.bind(result, 0, XMM0);
        Ok(())
    }

    /// Puts the narrow operands of an instruction into XMM0 and the registers that follow it, as `float`.
    pub(crate) fn place_narrow(&mut self, format: Format, operands: &[ValueId]) -> Result<()> {
        for (at, value) in (0u32..).zip(operands) {
            let wide = self.narrow_as_single(format, *value)?;
            let parked = self.lane_mem(0, 16 * at);
            self.asm.store_xmm(&parked, wide, 4);
            self.free_temporaries();
        }
        for at in 0..operands.len() as u8 {
            self.claim(XMM0 + at)?;
            let parked = self.lane_mem(0, 16 * u32::from(at));
            self.asm.load_xmm(Xmm(at), &parked, 4);
        }
        Ok(())
    }

    fn narrow_binary(&mut self, instruction: &Instruction, format: Format, operands: [ValueId; 2]) -> Result<()> {
        let result = self.result(instruction)?;
        self.place_narrow(format, &operands)?;
        match instruction.opcode {
            Opcode::FAdd => self.asm.rr(sse(0x58, 4), 0, 1),
            Opcode::FSub => self.asm.rr(sse(0x5c, 4), 0, 1),
            Opcode::FMul => self.asm.rr(sse(0x59, 4), 0, 1),
            Opcode::FDiv => self.asm.rr(sse(0x5e, 4), 0, 1),
            _ => {
                self.call_library("fmodf")?;
                self.claim(XMM0)?;
            }
        }
        self.bind_narrow(format, result)
    }

    // ---- operations ---------------------------------------------------------------------------------------------

    /// Arithmetic of formats that are not SSE's.
    pub(crate) fn soft_binary(
        &mut self,
        instruction: &Instruction,
        format: Format,
        left: ValueId,
        right: ValueId,
    ) -> Result<()> {
        match format {
            Format::X87 => self.x87_binary(instruction, left, right),
            Format::Quad => {
                let name = match instruction.opcode {
                    Opcode::FAdd => "__addtf3",
                    Opcode::FSub => "__subtf3",
                    Opcode::FMul => "__multf3",
                    Opcode::FDiv => "__divtf3",
                    _ => "fmodf128",
                };
                self.float_call(instruction, name, &[left, right])
            }
            _ => self.narrow_binary(instruction, format, [left, right]),
        }
    }

    /// `fmuladd`, in two steps.
    pub(crate) fn soft_multiply_add(&mut self, instruction: &Instruction, operands: [ValueId; 3]) -> Result<()> {
        match self.format(self.body.result_type(instruction))? {
            Format::X87 => self.x87_multiply_add(instruction, operands),
            Format::Quad => {
                let result = self.result(instruction)?;
                self.place(XMM0, operands[0], 0)?;
                self.place(XMM0 + 1, operands[1], 0)?;
                self.call_library("__multf3")?;
                self.claim(XMM0)?;
                self.place(XMM0 + 1, operands[2], 0)?;
                self.call_library("__addtf3")?;
                self.bind_returned(result, Format::Quad)
            }
            _ => Err(Box::new(Unsupported::Instruction("fmuladd of half or bfloat"))),
        }
    }

    /// The flags for a predicate of `fcmp` on formats that are not SSE's; for `fp128` only
    /// [`Generator::quad_compare`] finds them, with calls.
    pub(crate) fn soft_flags(&mut self, format: Format, left: ValueId, right: ValueId, signals: bool) -> Result<()> {
        match format {
            Format::X87 => self.x87_flags(left, right, signals),
            Format::Quad => Err(Box::new(Unsupported::Instruction("fcmp of fp128, here"))),
            _ => {
                let a = self.narrow_as_single(format, left)?;
                let b = self.narrow_as_single(format, right)?;
                self.asm.rr(super::floats::comparison(4, signals), a.0, b.0);
                Ok(())
            }
        }
    }

    /// `fcmp` of `fp128`: the library's result compares with zero as the operands do with each other
    /// (GCC internals, "Comparison functions").
    pub(crate) fn quad_compare(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let result = self.result(instruction)?;
        // What holds of the result; where operands are unordered, each function's result makes its own relation false.
        let (name, cond) = match instruction.sub {
            1 => ("__eqtf2", Cond::E),
            2 => ("__gttf2", Cond::G),
            3 => ("__getf2", Cond::GE),
            4 => ("__lttf2", Cond::L),
            5 => ("__letf2", Cond::LE),
            7 => ("__unordtf2", Cond::E),
            8 => ("__unordtf2", Cond::NE),
            10 => ("__letf2", Cond::G),
            11 => ("__lttf2", Cond::GE),
            12 => ("__getf2", Cond::L),
            13 => ("__gttf2", Cond::LE),
            14 => ("__netf2", Cond::NE),
            6 | 9 => return self.quad_compare_twice(result, instruction.sub == 9, left, right),
            _ => return Err(Box::new(Unsupported::Instruction("fcmp with a constant result"))),
        };
        self.place(XMM0, left, 0)?;
        self.place(XMM0 + 1, right, 0)?;
        self.call_library(name)?;
        self.claim(RAX.0)?;
        self.asm.test(RAX, RAX, 4);
        let flag = self.alloc_gpr()?;
        self.materialize(Test { cond, parity: Parity::None }, flag)?;
        self.bind(result, 0, flag.0);
        Ok(())
    }

    /// `ueq`, or its opposite `one`: no function tells unordered and equal at once.
    fn quad_compare_twice(&mut self, result: ValueId, ueq: bool, left: ValueId, right: ValueId) -> Result<()> {
        let places = [self.lane_mem(0, 0), self.lane_mem(0, 16)];
        let unordered = self.lane_mem(0, 32);
        self.store_memory(&places[0], left, 0)?;
        self.store_memory(&places[1], right, 0)?;
        for name in ["__unordtf2", "__eqtf2"] {
            self.free_temporaries();
            for (reg, place) in (0u8..).zip(&places) {
                self.claim(reg + XMM0)?;
                self.asm.load_xmm(Xmm(reg), place, 16);
            }
            self.call_library(name)?;
            self.claim(RAX.0)?;
            if name == "__unordtf2" {
                self.asm.store(&unordered, RAX, 4);
            }
        }
        let flag = self.alloc_gpr()?;
        self.asm.test(RAX, RAX, 4);
        self.asm.setcc(Cond::E, flag);
        self.asm.load(RAX, &unordered, 4);
        self.asm.test(RAX, RAX, 4);
        self.asm.setcc(Cond::NE, RAX);
        self.asm.alu_rr(Alu::Or, flag, RAX, 1);
        if !ueq {
            self.asm.alu_ri(Alu::Xor, flag, 1, 4);
        }
        self.bind(result, 0, flag.0);
        Ok(())
    }

    /// `fneg`, `fabs` and `copysign` by the sign's bit.
    pub(crate) fn soft_sign(
        &mut self,
        instruction: &Instruction,
        format: Format,
        value: ValueId,
        change: Sign,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        if format == Format::X87 {
            let low = self.take(value, 0)?;
            self.bind_or_drop(result, 0, low);
            let high = self.take_gpr(value, 1)?;
            match change {
                Sign::Turn => self.asm.alu_ri(Alu::Xor, high, 0x8000, 4),
                Sign::Clear => self.asm.alu_ri(Alu::And, high, 0x7fff, 4),
                Sign::Of(other) => {
                    let from = self.take_gpr(other, 1)?;
                    self.asm.alu_ri(Alu::And, high, 0x7fff, 4);
                    self.asm.alu_ri(Alu::And, from, 0x8000, 4);
                    self.asm.alu_rr(Alu::Or, high, from, 4);
                }
            }
            self.bind(result, 1, high.0);
            return Ok(());
        }
        let sign = if format == Format::Quad { 1u128 << 127 } else { 0x8000 };
        let reg = self.take_xmm(value, 0)?;
        match change {
            Sign::Turn => {
                let mask = self.pool_mem(sign, 16);
                self.asm.rm(Op::two(0x57), reg.0, &mask); // xorps
            }
            Sign::Clear | Sign::Of(_) => {
                let others = self.pool_mem(!sign, 16);
                self.asm.rm(Op::two(0x54), reg.0, &others); // andps
            }
        }
        if let Sign::Of(other) = change {
            let mask = self.pool_mem(sign, 16);
            let from = self.take_xmm(other, 0)?;
            self.asm.rm(Op::two(0x54), from.0, &mask);
            self.asm.rr(Op::two(0x56), reg.0, from.0); // orps
        }
        self.bind_xmm(result, 0, reg);
        Ok(())
    }

    // ---- conversions --------------------------------------------------------------------------------------------

    /// `fpext` and `fptrunc` where one of the formats is not SSE's.
    pub(crate) fn soft_resize(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        from: Format,
        to: Format,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        if from.is_narrow() {
            // Exact, and so is every step after it.
            let wide = self.narrow_as_single(from, value)?;
            match to {
                Format::Single => self.bind_xmm(result, 0, wide),
                Format::Double => {
                    self.asm.rr(sse(0x5a, 4), wide.0, wide.0);
                    self.bind_xmm(result, 0, wide);
                }
                _ => {
                    let parked = self.lane_mem(0, 0);
                    self.asm.store_xmm(&parked, wide, 4);
                    self.free_temporaries();
                    return self.extend_parked(result, &parked, to);
                }
            }
            return Ok(());
        }
        match (from, to) {
            (Format::Single, Format::BFloat) => {
                self.place(XMM0, value, 0)?;
                return self.bind_narrow(to, result);
            }
            (_, Format::BFloat) => return Err(Box::new(Unsupported::Instruction("fptrunc to bfloat in one step"))),
            (Format::Single | Format::Double, Format::X87) | (Format::X87, Format::Single | Format::Double) => {
                return self.x87_resize(result, value, from, to);
            }
            _ => {}
        }
        let Some(name) = conversion(from, to) else {
            return Err(Box::new(Unsupported::Instruction("an unusual conversion")));
        };
        if from == Format::X87 {
            self.x87_call(name, &[value])?;
        } else {
            self.place(XMM0, value, 0)?;
            self.call_library(name)?;
        }
        self.bind_returned(result, to)
    }

    /// Makes the `float` at `parked` the `fp128` or `x86_fp80` `result`.
    fn extend_parked(&mut self, result: ValueId, parked: &Mem, to: Format) -> Result<()> {
        if to == Format::X87 {
            self.asm.rm(Op::one(0xd9), 0, parked); // fld m32
            return self.bind_returned(result, to);
        }
        self.claim(XMM0)?;
        self.asm.load_xmm(Xmm(0), parked, 4);
        self.call_library("__extendsftf2")?;
        self.bind_returned(result, to)
    }

    /// Makes what a run-time function returned the result.
    fn bind_returned(&mut self, result: ValueId, format: Format) -> Result<()> {
        if format == Format::X87 {
            return self.bind_st0(result, 0);
        }
        self.claim(XMM0)?;
        self.bind(result, 0, XMM0);
        Ok(())
    }

    /// `sitofp` and `uitofp` where the format is not SSE's, or the integer longer than a word.
    pub(crate) fn soft_from_integer(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        format: Format,
        bits: u32,
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        if bits > 128 {
            return self.long_to_float(instruction, value, format, bits, signed);
        }
        if format.is_narrow() && bits <= 64 {
            let wide = self.integer_as_float(value, bits, signed, 4)?;
            self.move_to_xmm0(wide)?;
            return self.bind_narrow(format, result);
        }
        if format == Format::X87 && bits <= 64 {
            return self.x87_from_integer(result, value, bits, signed);
        }
        let (name, _) = integer_calls(format, signed, bits);
        self.claim(RDI.0)?;
        self.load_into(RDI.0, value, 0)?;
        let extend = |own: &mut Self, reg: Gpr, bits: u32| match signed {
            true => own.sign_extend(reg, bits, true),
            false => own.zero_extend(reg, bits),
        };
        if bits > 64 {
            self.claim(RSI.0)?;
            self.load_into(RSI.0, value, 1)?;
            if bits < 128 {
                extend(self, RSI, bits - 64);
            }
        } else if !matches!(bits, 32 | 64) {
            extend(self, RDI, bits);
        }
        self.call_library(name)?;
        if format.is_narrow() {
            self.claim(XMM0)?;
            return self.bind_narrow(format, result);
        }
        self.bind_returned(result, format)
    }

    fn move_to_xmm0(&mut self, from: Xmm) -> Result<()> {
        let parked = self.lane_mem(0, 0);
        self.asm.store_xmm(&parked, from, 16);
        self.free_temporaries();
        self.claim(XMM0)?;
        self.asm.load_xmm(Xmm(0), &parked, 16);
        Ok(())
    }

    /// `fptosi` and `fptoui` where the format is not SSE's, or the integer longer than a word.
    pub(crate) fn soft_to_integer(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        format: Format,
        bits: u32,
        signed: bool,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        if bits > 128 {
            return self.float_to_long(instruction, value, format, bits);
        }
        if format.is_narrow() && bits <= 64 {
            let wide = self.narrow_as_single(format, value)?;
            let reg = self.float_as_integer(wide, bits, signed, 4)?;
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        if format == Format::X87 && bits <= 64 {
            return self.x87_to_integer(result, value, bits, signed);
        }
        let (_, name) = integer_calls(format, signed, bits);
        if format == Format::X87 {
            self.x87_call(name, &[value])?;
        } else if format.is_narrow() {
            let wide = self.narrow_as_single(format, value)?;
            self.move_to_xmm0(wide)?;
            self.call_library(name)?;
        } else {
            self.place(XMM0, value, 0)?;
            self.call_library(name)?;
        }
        self.claim(RAX.0)?;
        self.bind(result, 0, RAX.0);
        if bits > 64 {
            self.claim(RDX.0)?;
            self.bind(result, 1, RDX.0);
        }
        Ok(())
    }

    // ---- saturating conversions ---------------------------------------------------------------------------------

    /// `fptosi.sat` and `fptoui.sat`: the nearest number that there is; 0 for NaN.
    pub(crate) fn saturating_conversion(
        &mut self,
        instruction: &Instruction,
        value: ValueId,
        signed: bool,
    ) -> Result<()> {
        let source = self.ty(value);
        let format = self.format(source)?;
        let bits = self.integer_bits(self.body.result_type(instruction)).unwrap_or(0);
        if !format.is_native() || !matches!(bits, 1..=53 | 64) {
            return Err(Box::new(Unsupported::Instruction("a saturating conversion of unusual types")));
        }
        let result = self.result(instruction)?;
        let from = self.read_xmm(value, 0)?;
        // `double` holds every `float`, and every limit of up to 53 bits.
        let number = self.alloc_xmm()?;
        if format == Format::Single {
            self.clear(number);
            self.asm.rr(sse(0x5a, 4), number.0, from.0);
        } else {
            self.asm.movaps(number, from);
        }
        let ucomisd = Op::two(0x2e).p66();
        let limit = self.alloc_gpr()?;
        let double = |own: &mut Self, value: f64| own.pool_mem(u128::from(value.to_bits()), 8);
        if bits == 64 {
            let reg = self.float_as_integer(number, 64, signed, 8)?;
            let above = double(self, if signed { 2f64.powi(63) } else { 2f64.powi(64) });
            self.asm.mov_imm(limit, if signed { i64::MAX as u64 } else { u64::MAX });
            self.asm.rm(ucomisd, number.0, &above);
            self.asm.cmov(Cond::AE, reg, limit, true);
            self.asm.mov_imm(limit, 0);
            if signed {
                // Below the least number the machine gives that number.
                self.asm.rr(ucomisd, number.0, number.0);
                self.asm.cmov(Cond::P, reg, limit, true);
            } else {
                let zero = double(self, 0.0);
                self.asm.rm(ucomisd, number.0, &zero);
                // Negative, zero, or NaN.
                self.asm.cmov(Cond::BE, reg, limit, true);
            }
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        let (least, most) = match signed {
            true => (-(2f64.powi(bits as i32 - 1)), 2f64.powi(bits as i32 - 1) - 1.0),
            false => (0.0, 2f64.powi(bits as i32) - 1.0),
        };
        let reg = self.alloc_gpr()?;
        let copy = self.alloc_xmm()?;
        let (least, most) = (double(self, least), double(self, most));
        self.asm.movaps(copy, number);
        self.asm.rm(sse(0x5f, 8), copy.0, &least); // maxsd
        self.asm.rm(sse(0x5d, 8), copy.0, &most); // minsd
        self.asm.rr(sse(0x2c, 8).w(), reg.0, copy.0);
        self.asm.mov_imm(limit, 0);
        self.asm.rr(ucomisd, number.0, number.0);
        self.asm.cmov(Cond::P, reg, limit, true);
        self.bind(result, 0, reg.0);
        Ok(())
    }
}

/// What happens to a sign.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sign {
    /// `fneg`
    Turn,
    /// `fabs`
    Clear,
    /// `copysign`
    Of(ValueId),
}
