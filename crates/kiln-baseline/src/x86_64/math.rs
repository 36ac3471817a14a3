//! Functions of the mathematical library, and what stands for some of them.

use kiln_bitcode::{Instruction, Type, TypeId, ValueId};

use super::encoder::{Alu, Cond, Gpr, Op, RAX, RCX, RDI, Shift};
use super::floats::{packed, sse};
use super::generator::{Generator, Result};
use super::registers::{SCRATCH, XMM0};
use super::soft_floats::Format;
use crate::compiler::Unsupported;

/// A function that LLVM calls for an intrinsic (llvm/IR/RuntimeLibcalls.td).
struct Function {
    base: &'static str,
    /// For `float`, `double`, `x86_fp80` and `fp128`.
    names: [&'static str; 4],
    arguments: usize,
}

macro_rules! functions {
    ($($base:literal $name:literal $arguments:literal,)*) => {
        &[$(Function {
            base: $base,
            names: [concat!($name, "f"), $name, concat!($name, "l"), concat!($name, "f128")],
            arguments: $arguments,
        }),*]
    };
}

const FUNCTIONS: &[Function] = functions! {
    "floor" "floor" 1,
    "ceil" "ceil" 1,
    "trunc" "trunc" 1,
    "round" "round" 1,
    "roundeven" "roundeven" 1,
    "rint" "rint" 1,
    "nearbyint" "nearbyint" 1,
    "fma" "fma" 3,
    "sqrt" "sqrt" 1,
    "pow" "pow" 2,
    "exp" "exp" 1,
    "exp2" "exp2" 1,
    "exp10" "exp10" 1,
    "log" "log" 1,
    "log2" "log2" 1,
    "log10" "log10" 1,
    "sin" "sin" 1,
    "cos" "cos" 1,
    "tan" "tan" 1,
    "asin" "asin" 1,
    "acos" "acos" 1,
    "atan" "atan" 1,
    "atan2" "atan2" 2,
    "sinh" "sinh" 1,
    "cosh" "cosh" 1,
    "tanh" "tanh" 1,
    "minnum" "fmin" 2,
    "maxnum" "fmax" 2,
};

/// Those that return an integer.
const TO_INTEGER: &[Function] = functions! {
    "lround" "lround" 1,
    "llround" "llround" 1,
    "lrint" "lrint" 1,
    "llrint" "llrint" 1,
};

fn find(functions: &'static [Function], base: &[u8], format: Format) -> Option<(&'static str, usize)> {
    let function = functions.iter().find(|function| function.base.as_bytes() == base)?;
    let at = match format {
        // Computed with as `float`.
        Format::Half | Format::BFloat | Format::Single => 0,
        Format::Double => 1,
        Format::X87 => 2,
        Format::Quad => 3,
    };
    Some((function.names[at], function.arguments))
}

impl Generator<'_> {
    /// The function that LLVM calls for an intrinsic on `float` or `double`, and how many arguments it takes.
    pub(crate) fn library_function(&self, base: &[u8], ty: TypeId) -> Option<(&'static str, usize)> {
        match self.module.ty(ty) {
            Type::Float => find(FUNCTIONS, base, Format::Single),
            Type::Double => find(FUNCTIONS, base, Format::Double),
            _ => None,
        }
    }

    /// An intrinsic that is such a function. Whether it is one.
    pub(crate) fn mathematical(&mut self, base: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let Ok(format) = self.format(self.body.result_type(instruction)) else { return Ok(false) };
        let Some((name, count)) = find(FUNCTIONS, base, format) else { return Ok(false) };
        let arguments: Vec<ValueId> = operands[..count].iter().map(|operand| ValueId(*operand)).collect();
        match format {
            Format::Single | Format::Double | Format::Quad => self.float_call(instruction, name, &arguments)?,
            Format::X87 => {
                let result = self.result(instruction)?;
                self.x87_call(name, &arguments)?;
                self.bind_st0(result, 0)?;
            }
            // It would be rounded twice.
            Format::Half | Format::BFloat if base == b"fma" => return Ok(false),
            Format::Half | Format::BFloat => {
                let result = self.result(instruction)?;
                self.place_narrow(format, &arguments)?;
                self.call_library(name)?;
                self.claim(XMM0)?;
                self.bind_narrow(format, result)?;
            }
        }
        Ok(true)
    }

    /// `lround`, `lrint` and theirs. Whether it is one that is known.
    pub(crate) fn rounded_to_integer(
        &mut self,
        base: &[u8],
        instruction: &Instruction,
        value: ValueId,
    ) -> Result<bool> {
        let format = self.format(self.ty(value))?;
        let Some((name, _)) = find(TO_INTEGER, base, format) else { return Ok(false) };
        // Of 32 bits it is what fits of the library's `long`.
        if !matches!(self.integer_bits(self.body.result_type(instruction)), Some(32 | 64)) {
            return Ok(false);
        }
        let result = self.result(instruction)?;
        match format {
            Format::X87 => self.x87_call(name, &[value])?,
            Format::Half | Format::BFloat => {
                self.place_narrow(format, &[value])?;
                self.call_library(name)?;
            }
            _ => {
                self.place(XMM0, value, 0)?;
                self.call_library(name)?;
            }
        }
        self.claim(RAX.0)?;
        self.bind(result, 0, RAX.0);
        Ok(true)
    }

    /// `powi` and `ldexp`, whose exponent is an `int`. Whether it is one that is known.
    pub(crate) fn scaled(
        &mut self,
        base: &[u8],
        instruction: &Instruction,
        value: ValueId,
        exponent: ValueId,
    ) -> Result<bool> {
        let format = self.format(self.body.result_type(instruction))?;
        let name = match (base, format) {
            (b"powi", Format::Double) => "__powidf2",
            (b"powi", Format::Single) => "__powisf2",
            (b"powi", Format::X87) => "__powixf2",
            (b"powi", Format::Quad) => "__powitf2",
            (_, Format::Double) => "ldexp",
            (_, Format::Single) => "ldexpf",
            (_, Format::X87) => "ldexpl",
            (_, Format::Quad) => "ldexpf128",
            _ => return Ok(false),
        };
        if self.integer_bits(self.ty(exponent)) != Some(32) {
            return Ok(false);
        }
        self.place(RDI.0, exponent, 0)?;
        if format == Format::X87 {
            let result = self.result(instruction)?;
            self.x87_call(name, &[value])?;
            self.bind_st0(result, 0)?;
        } else {
            self.float_call(instruction, name, &[value])?;
        }
        Ok(true)
    }

    /// `maxnum` and `minnum`, which LLVM makes without a call; `maximum` and `maximumnum` and theirs, to which zeros have
    /// an order. Whether it is of a type that the machine has.
    pub(crate) fn extreme_float(
        &mut self,
        base: &[u8],
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
    ) -> Result<bool> {
        let bytes = match self.module.ty(self.body.result_type(instruction)) {
            Type::Float => 4,
            Type::Double => 8,
            _ => return Ok(false),
        };
        let result = self.result(instruction)?;
        let is_max = base.starts_with(b"max");
        let ucomis = if bytes == 4 { Op::two(0x2e) } else { Op::two(0x2e).p66() };
        let extreme = sse(if is_max { 0x5f } else { 0x5d }, bytes);
        let (a, b) = (self.read_xmm(left, 0)?, self.read_xmm(right, 0)?);
        let to = self.alloc_xmm()?;
        if base.ends_with(b"num") && base.len() == b"maxnum".len() {
            // `maxss` gives its second operand where one is a NaN: the number, if the first one is.
            self.asm.movaps(to, b);
            self.asm.rr(ucomis, a.0, a.0);
            let nan = self.asm.skip(Cond::P);
            self.asm.rr(extreme, to.0, a.0);
            self.asm.land(nan);
            self.bind_xmm(result, 0, to);
            return Ok(true);
        }
        self.asm.movaps(to, a);
        self.asm.rr(ucomis, a.0, b.0);
        let unordered = self.asm.skip(Cond::P);
        let different = self.asm.skip(Cond::NE);
        // Equal, be it zeros: positive if one of them is, or negative.
        self.asm.rr(Op::two(if is_max { 0x54 } else { 0x56 }), to.0, b.0);
        let done = self.asm.skip_always();
        self.asm.land(different);
        self.asm.rr(extreme, to.0, b.0);
        let also_done = self.asm.skip_always();
        self.asm.land(unordered);
        if base.ends_with(b"num") {
            self.asm.rr(ucomis, b.0, b.0);
            let kept = self.asm.skip(Cond::P);
            self.asm.movaps(to, b);
            self.asm.land(kept);
        } else {
            // A quiet NaN.
            self.asm.rr(sse(0x58, bytes), to.0, b.0);
        }
        self.asm.land(done);
        self.asm.land(also_done);
        self.bind_xmm(result, 0, to);
        Ok(true)
    }

    // ---- the environment ----------------------------------------------------------------------------------------

    /// `get.rounding`: nearest 1, up 2, down 3, zero 0. The control word has them in another order.
    pub(crate) fn get_rounding(&mut self, instruction: &Instruction) -> Result<()> {
        let result = self.result(instruction)?;
        let place = self.lane_mem(0, 0);
        self.claim(RCX.0)?;
        let reg = self.alloc_gpr()?;
        self.asm.rm(Op::one(0xd9), 7, &place); // fnstcw
        self.asm.load(RCX, &place, 2);
        self.asm.alu_ri(Alu::And, RCX, 0xc00, 4);
        self.asm.shift_imm(Shift::Shr, RCX, 9, 4);
        self.asm.mov_imm(reg, 0b00_10_11_01);
        self.asm.shift_cl(Shift::Shr, reg, 4);
        self.asm.alu_ri(Alu::And, reg, 3, 4);
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// `set.rounding`, in both control registers.
    pub(crate) fn set_rounding(&mut self, value: ValueId) -> Result<()> {
        let place = self.lane_mem(0, 0);
        self.claim(RCX.0)?;
        self.load_into(RCX.0, value, 0)?;
        let (mode, word) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.asm.alu_ri(Alu::And, RCX, 3, 4);
        self.asm.alu_rr(Alu::Add, RCX, RCX, 4);
        // From zero 0, nearest 1, up 2, down 3 to nearest 0, down 1, up 2, zero 3.
        self.asm.mov_imm(mode, 0b01_10_00_11);
        self.asm.shift_cl(Shift::Shr, mode, 4);
        self.asm.alu_ri(Alu::And, mode, 3, 4);
        let change = |own: &mut Self, mode: Gpr, shift: u8, mask: i32, bytes: u8| {
            own.asm.load(word, &place, bytes);
            own.asm.shift_imm(Shift::Shl, mode, shift, 4);
            own.asm.alu_ri(Alu::And, word, !mask, 4);
            own.asm.alu_rr(Alu::Or, word, mode, 4);
            own.asm.store(&place, word, bytes);
        };
        self.asm.rm(Op::one(0xd9), 7, &place); // fnstcw
        change(self, mode, 10, 0xc00, 2);
        self.asm.rm(Op::one(0xd9), 5, &place); // fldcw
        self.asm.rm(Op::two(0xae), 3, &place); // stmxcsr
        change(self, mode, 3, 0x6000, 4);
        self.asm.rm(Op::two(0xae), 2, &place); // ldmxcsr
        Ok(())
    }

    // ---- classes ------------------------------------------------------------------------------------------------

    /// `is.fpclass`
    pub(crate) fn float_class(&mut self, instruction: &Instruction, value: ValueId, mask: ValueId) -> Result<()> {
        let wanted = self
            .number(mask)
            .ok_or_else(|| Box::new(Unsupported::Instruction("classes that are found at run time")))?;
        let (infinity, normal, bytes) = match self.format(self.ty(value))? {
            Format::Half => (0x7c00u64, 1 << 10, 2),
            Format::BFloat => (0x7f80, 1 << 7, 2),
            Format::Single => (0x7f80_0000, 1 << 23, 4),
            Format::Double => (0x7ff0 << 48, 1u64 << 52, 8),
            Format::X87 => return self.x87_class(instruction, value, wanted),
            Format::Quad => return Err(Box::new(Unsupported::Type("fp128, here"))),
        };
        let sign = 1u64 << (8 * u32::from(bytes) - 1);
        // First number and class (llvm/ADT/FloatingPointMode.h, `FPClassTest`): the quiet bit is half of `normal`. As
        // integers, the classes follow each other: each stretch of wanted ones is a range.
        let positive =
            [(0, 0x40), (1, 0x80), (normal, 0x100), (infinity, 0x200), (infinity + 1, 1), (infinity + normal / 2, 2)];
        let negative = [0x20, 0x10, 8, 4, 1, 2];
        let mut classes = [(0u64, 0u64); 12];
        for (at, ((start, class), other)) in positive.into_iter().zip(negative).enumerate() {
            classes[at] = (start, class);
            classes[at + 6] = (start + sign, other);
        }
        let last = u64::MAX >> (64 - 8 * u32::from(bytes));
        let result = self.result(instruction)?;
        let from = self.read_xmm(value, 0)?;
        let (bits, limit, flag) = (self.alloc_gpr()?, self.alloc_gpr()?, self.alloc_gpr()?);
        self.asm.xmm_to_gpr(bits, from, bytes == 8);
        self.asm.mov_imm(flag, 0);
        let mut at = 0;
        while at < 12 {
            if wanted & classes[at].1 == 0 {
                at += 1;
                continue;
            }
            let start = classes[at].0;
            while at < 12 && wanted & classes[at].1 != 0 {
                at += 1;
            }
            let end = if at < 12 { classes[at].0 - 1 } else { last };
            // bits - start <= end - start
            self.asm.mov_imm(limit, start);
            self.asm.mov(SCRATCH, bits);
            self.asm.alu_rr(Alu::Sub, SCRATCH, limit, bytes);
            self.asm.mov_imm(limit, end - start);
            self.asm.alu_rr(Alu::Cmp, SCRATCH, limit, bytes);
            self.asm.setcc(Cond::BE, SCRATCH);
            self.asm.alu_rr(Alu::Or, flag, SCRATCH, 1);
        }
        self.bind(result, 0, flag.0);
        Ok(())
    }

    /// The machine's own classes, looked up in a table of bits; what is no number to it is a NaN that signals, as to
    /// LLVM's code, which looks at bits.
    fn x87_class(&mut self, instruction: &Instruction, value: ValueId, wanted: u64) -> Result<()> {
        // C3, C2, C0 of `fxam`: 1 NaN, 2 normal, 3 infinity, 4 zero, 6 denormal; C1 is the sign, bit 3 of the index.
        let classes = [(2u32, 0x100, 8), (3, 0x200, 4), (4, 0x40, 0x20), (6, 0x80, 0x10)];
        let mut table = 0u64;
        for (code, positive, negative) in classes {
            table |= u64::from(wanted & positive != 0) << code | u64::from(wanted & negative != 0) << (code + 8);
        }
        let result = self.result(instruction)?;
        self.claim(RAX.0)?;
        self.claim(RCX.0)?;
        let flag = self.alloc_gpr()?;
        self.push_x87_part(value, 0)?;
        self.asm.raw(&[0xd9, 0xe5]); // fxam
        self.asm.raw(&[0xdf, 0xe0]); // fnstsw ax
        self.asm.raw(&[0xdd, 0xd8]); // fstp st0
        // AX bits 8 C0, 9 C1, 10 C2, 14 C3.
        self.asm.mov32(RCX, RAX);
        self.asm.shift_imm(Shift::Shr, RCX, 8, 4);
        self.asm.alu_ri(Alu::And, RCX, 1, 4);
        for (bit, to) in [(10u8, 1u8), (14, 2), (9, 3)] {
            self.asm.mov32(flag, RAX);
            self.asm.shift_imm(Shift::Shr, flag, bit, 4);
            self.asm.alu_ri(Alu::And, flag, 1, 4);
            self.asm.shift_imm(Shift::Shl, flag, to, 4);
            self.asm.alu_rr(Alu::Or, RCX, flag, 4);
        }
        self.asm.mov_imm(flag, table);
        self.asm.shift_cl(Shift::Shr, flag, 4);
        if wanted & 3 != 0 {
            self.asm.alu_ri(Alu::And, RCX, 7, 4);
            self.asm.alu_ri(Alu::Cmp, RCX, 1, 4);
            let number = self.asm.skip(Cond::A);
            // The quiet bit is below the integer's.
            let significand = self.lane_mem(0, 0);
            self.asm.load(flag, &significand, 8);
            self.asm.shift_imm(Shift::Shr, flag, 62, 8);
            match wanted & 3 {
                1 => self.asm.alu_ri(Alu::Xor, flag, 1, 4),
                2 => {}
                _ => self.asm.mov_imm(flag, 1),
            }
            self.asm.land(number);
        }
        self.asm.alu_ri(Alu::And, flag, 1, 4);
        self.bind(result, 0, flag.0);
        Ok(())
    }

    /// `fabs` and `copysign`: bits of the sign only.
    pub(crate) fn sign_bits(&mut self, instruction: &Instruction, value: ValueId, sign: Option<ValueId>) -> Result<()> {
        let bytes = self.float_bytes(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let bit = if bytes == 4 { 0x8000_0000_8000_0000u64 } else { 1 << 63 };
        let mask = u128::from(bit) | u128::from(bit) << 64;
        let others = self.pool_mem(!mask, 16);
        let reg = self.take_xmm(value, 0)?;
        self.asm.rm(packed(0x54, 4), reg.0, &others); // andps
        if let Some(sign) = sign {
            let only = self.pool_mem(mask, 16);
            let from = self.read_xmm(sign, 0)?;
            let other = self.alloc_xmm()?;
            self.asm.movaps(other, from);
            self.asm.rm(packed(0x54, 4), other.0, &only);
            self.asm.rr(packed(0x56, 4), reg.0, other.0); // orps
        }
        self.bind_xmm(result, 0, reg);
        Ok(())
    }
}
