//! `llvm.experimental.constrained.*` (language reference, "Constrained Floating-Point Intrinsics").
//!
//! Nothing here computes at compile time, moves or leaves out an operation, and the machine's instructions honour rounding
//! modes and raise exceptions by themselves. What differs from the plain twins: comparisons say whether they signal, what
//! takes several steps must not raise what the number does not call for, and lanes that are none must not be computed with.

use kiln_bitcode::{Body, Instruction, Opcode, Type, ValueId};

use super::encoder::{Alu, Cond, Gpr, Op, Shift, Xmm};
use super::floats::sse;
use super::generator::{Generator, Result};
use super::registers::SCRATCH;
use super::soft_floats::Format;
use crate::compiler::Unsupported;

/// The predicate of a comparison is metadata, whose strings were not read: the function is compiled anew with them.
pub(crate) const PREDICATES: &str = "a comparison whose predicate is metadata";

impl Generator<'_> {
    /// Whether it is one that is known.
    pub(crate) fn constrained(
        &mut self,
        operation: &[u8],
        instruction: &Instruction,
        operands: &[u32],
    ) -> Result<bool> {
        let value = |at: usize| ValueId(operands[at]);
        let opcode = match operation {
            b"fcmp" => return self.constrained_compare(instruction, operands, false),
            b"fcmps" => return self.constrained_compare(instruction, operands, true),
            b"fadd" => Opcode::FAdd,
            b"fsub" => Opcode::FSub,
            b"fmul" => Opcode::FMul,
            b"fdiv" => Opcode::FDiv,
            b"frem" => Opcode::FRem,
            b"fptrunc" => Opcode::FpTrunc,
            b"fpext" => Opcode::FpExt,
            b"sitofp" => Opcode::SiToFp,
            b"uitofp" => Opcode::UiToFp,
            b"fptosi" => Opcode::FpToSi,
            b"fptoui" => Opcode::FpToUi,
            _ => return self.constrained_function(operation, instruction, operands),
        };
        let mut plain = *instruction;
        plain.opcode = opcode;
        match opcode {
            Opcode::FAdd | Opcode::FSub | Opcode::FMul | Opcode::FDiv if self.has_spare_lanes(instruction)? => {
                let opcode = match opcode {
                    Opcode::FAdd => 0x58,
                    Opcode::FSub => 0x5c,
                    Opcode::FMul => 0x59,
                    _ => 0x5e,
                };
                self.constrained_lanes(opcode, instruction, &[value(0), value(1)])?;
            }
            Opcode::FAdd | Opcode::FSub | Opcode::FMul | Opcode::FDiv | Opcode::FRem => {
                self.float_binary(&plain, value(0), value(1))?;
            }
            Opcode::FpToUi if self.integer_bits(self.body.result_type(instruction)) == Some(64) => {
                let format = self.format(self.ty(value(0)))?;
                let bytes = match format {
                    Format::X87 | Format::Quad => {
                        self.convert(&plain, value(0))?;
                        return Ok(true);
                    }
                    Format::Double => 8,
                    _ => 4,
                };
                let result = self.result(instruction)?;
                let from = match format {
                    Format::Half | Format::BFloat => self.narrow_as_single(format, value(0))?,
                    _ => self.read_xmm(value(0), 0)?,
                };
                let reg = self.float_as_word(from, bytes)?;
                self.bind(result, 0, reg.0);
            }
            _ => self.convert(&plain, value(0))?,
        }
        Ok(true)
    }

    fn constrained_function(&mut self, operation: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let is_vector = matches!(self.module.ty(self.body.result_type(instruction)), Type::Vector { .. });
        match operation {
            b"sqrt" if is_vector => {
                self.constrained_lanes(0x51, instruction, &[ValueId(operands[0])])?;
                return Ok(true);
            }
            b"fmuladd" if is_vector && self.has_spare_lanes(instruction)? => return Ok(false),
            // LLVM calls the library for these, whatever it does for the plain ones.
            b"minnum" | b"maxnum" if !is_vector => return self.mathematical(operation, instruction, operands),
            b"sqrt" | b"fmuladd" | b"fma" | b"floor" | b"ceil" | b"trunc" | b"round" | b"roundeven" | b"rint"
            | b"nearbyint" | b"lrint" | b"llrint" | b"lround" | b"llround" | b"ldexp" | b"powi" | b"pow" | b"exp"
            | b"exp2" | b"log" | b"log2" | b"log10" | b"sin" | b"cos" | b"tan" | b"asin" | b"acos" | b"atan"
            | b"atan2" | b"sinh" | b"cosh" | b"tanh" | b"maximum" | b"minimum" | b"minnum" | b"maxnum" => {}
            _ => return Ok(false),
        }
        let name = [b"llvm.", operation].concat();
        self.intrinsic(&name, instruction, operands)?;
        Ok(true)
    }

    // ---- comparisons --------------------------------------------------------------------------------------------

    fn constrained_compare(&mut self, instruction: &Instruction, operands: &[u32], signals: bool) -> Result<bool> {
        let (left, right) = (ValueId(operands[0]), ValueId(operands[1]));
        if !self.body.keeps_metadata() {
            return Err(Box::new(Unsupported::Instruction(PREDICATES)));
        }
        let number = Body::metadata_number(ValueId(operands[2]));
        let Some(predicate) = number.and_then(|number| self.known.predicates.of(number)) else { return Ok(false) };
        let ty = self.ty(left);
        if let Type::Vector { .. } = self.module.ty(ty) {
            return self.constrained_compare_lanes(instruction, [left, right], predicate, signals);
        }
        if self.format(ty)? == Format::Quad {
            let mut plain = *instruction;
            (plain.opcode, plain.sub) = (Opcode::FCmp, predicate);
            self.quad_compare(&plain, left, right)?;
            return Ok(true);
        }
        let result = self.result(instruction)?;
        let test = self.float_flags_by(predicate, left, right, signals)?;
        let flag = self.alloc_gpr()?;
        self.materialize(test, flag)?;
        self.bind(result, 0, flag.0);
        Ok(true)
    }

    fn constrained_compare_lanes(
        &mut self,
        instruction: &Instruction,
        operands: [ValueId; 2],
        predicate: u8,
        signals: bool,
    ) -> Result<bool> {
        let shape = self.shape(self.ty(operands[0]))?;
        if shape.lanes > 64 {
            return Ok(false);
        }
        let (swap, test) = super::floats::float_test(predicate)?;
        let result = self.result(instruction)?;
        let (mask, flag, number) = (self.alloc_gpr()?, self.alloc_gpr()?, self.alloc_xmm()?);
        for (area, value) in operands.into_iter().enumerate() {
            self.store_lanes(value, if swap { 1 - area } else { area })?;
        }
        let op = super::floats::comparison(shape.lane_bytes, signals);
        self.asm.mov_imm(mask, 0);
        for lane in 0..shape.lanes {
            let (a, b) = (self.lane(0, lane, shape), self.lane(1, lane, shape));
            self.asm.load_xmm(number, &a, shape.lane_bytes);
            self.asm.rm(op, number.0, &b);
            self.materialize(test, flag)?;
            self.asm.movzx(flag, flag, 1);
            self.asm.shift_imm(Shift::Shl, flag, lane as u8, 8);
            self.asm.alu_rr(Alu::Or, mask, flag, 8);
        }
        self.bind(result, 0, mask.0);
        Ok(true)
    }

    // ---- lanes --------------------------------------------------------------------------------------------------

    /// Whether the last register of the result has lanes that are none of the vector's.
    fn has_spare_lanes(&mut self, instruction: &Instruction) -> Result<bool> {
        let Type::Vector { .. } = self.module.ty(self.body.result_type(instruction)) else { return Ok(false) };
        Ok(!self.shape(self.body.result_type(instruction))?.bytes().is_multiple_of(16))
    }

    /// An operation of SSE on each lane by itself.
    fn constrained_lanes(&mut self, opcode: u8, instruction: &Instruction, operands: &[ValueId]) -> Result<()> {
        let shape = self.shape(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let number = self.alloc_xmm()?;
        for (area, value) in operands.iter().enumerate() {
            self.store_lanes(*value, area)?;
        }
        for lane in 0..shape.lanes {
            let (to, from) = (self.lane(0, lane, shape), self.lane(operands.len() - 1, lane, shape));
            self.asm.load_xmm(number, &to, shape.lane_bytes);
            self.asm.rm(sse(opcode, shape.lane_bytes), number.0, &from);
            self.asm.store_xmm(&to, number, shape.lane_bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    /// The number of `bytes` bytes in `from` as one of 64 unsigned bits, by one conversion: 2^63 is subtracted from what
    /// is not below it, and turned on again as a bit.
    fn float_as_word(&mut self, from: Xmm, bytes: u8) -> Result<Gpr> {
        let half = if bytes == 4 { u128::from(0x5f00_0000u32) } else { 0x43e0_0000_0000_0000 };
        let half = self.pool_mem(half, bytes);
        let (reg, number) = (self.alloc_gpr()?, self.alloc_xmm()?);
        self.asm.load_xmm(number, &half, bytes);
        let op: Op = super::floats::comparison(bytes, true);
        self.asm.rr(op, number.0, from.0);
        self.asm.movaps(number, from);
        self.asm.mov_imm(SCRATCH, 0);
        let below = self.asm.skip(Cond::A);
        self.asm.rm(sse(0x5c, bytes), number.0, &half);
        self.asm.mov_imm(SCRATCH, 1 << 63);
        self.asm.land(below);
        // cvttsd2si
        self.asm.rr(sse(0x2c, bytes).w(), reg.0, number.0);
        self.asm.alu_rr(Alu::Xor, reg, SCRATCH, 8);
        Ok(reg)
    }
}
