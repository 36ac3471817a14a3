//! `x86_fp80`: two general registers hold a number, its significand and its exponent with the sign; the x87 registers are
//! used within an instruction only, and are empty between instructions.

use kiln_bitcode::{Instruction, Opcode, ValueId};

use super::encoder::{Alu, Cond, Gpr, Mem, Op, RSP};
use super::generator::{Generator, Result};
use super::registers::bit;
use super::soft_floats::Format;
use crate::compiler::Unsupported;

/// `DB /5` and `DB /7`: `fld` and `fstp` of 80 bits.
const LOAD: u8 = 5;
const STORE: u8 = 7;

/// Bytes between arguments on the stack.
const STEP: i32 = 16;

impl Generator<'_> {
    /// Stores the 80 bits of the parts of `value` from `at` on at `to`.
    pub(crate) fn store_x87_part(&mut self, to: &Mem, value: ValueId, at: u32) -> Result<()> {
        for (step, bytes) in [(0u32, 8u8), (1, 2)] {
            // What the instruction has pinned before stays so.
            let before = self.registers.pinned;
            let reg = self.read_gpr(value, at + step)?;
            self.asm.store(&to.plus(8 * step as i32), reg, bytes);
            if before & bit(reg.0) == 0 {
                self.release_pin(reg.0);
            }
        }
        Ok(())
    }

    /// Pushes the number in the parts of `value` from `at` on onto the x87 registers.
    pub(crate) fn push_x87_part(&mut self, value: ValueId, at: u32) -> Result<()> {
        let place = self.lane_mem(0, 0);
        self.store_x87_part(&place, value, at)?;
        self.asm.rm(Op::one(0xdb), LOAD, &place);
        Ok(())
    }

    fn push_x87(&mut self, value: ValueId) -> Result<()> {
        self.push_x87_part(value, 0)
    }

    /// Pops ST0, the parts of `result` from `at` on.
    pub(crate) fn bind_st0(&mut self, result: ValueId, at: u32) -> Result<()> {
        let place = self.lane_mem(0, 0);
        self.asm.rm(Op::one(0xdb), STORE, &place);
        let low = self.alloc_gpr()?;
        self.asm.load(low, &place, 8);
        self.bind_or_drop(result, at, low.0);
        let high = self.alloc_gpr()?;
        self.asm.load(high, &place.plus(8), 2);
        self.bind_or_drop(result, at + 1, high.0);
        Ok(())
    }

    pub(crate) fn x87_binary(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let result = self.result(instruction)?;
        // ST1 = ST1 op ST0, and pop.
        let code: u8 = match instruction.opcode {
            Opcode::FAdd => 0xc1,
            Opcode::FMul => 0xc9,
            Opcode::FSub => 0xe9,
            Opcode::FDiv => 0xf9,
            _ => {
                self.x87_call("fmodl", &[left, right])?;
                return self.bind_st0(result, 0);
            }
        };
        self.push_x87(left)?;
        self.push_x87(right)?;
        self.asm.raw(&[0xde, code]);
        self.bind_st0(result, 0)
    }

    pub(crate) fn x87_multiply_add(&mut self, instruction: &Instruction, operands: [ValueId; 3]) -> Result<()> {
        let result = self.result(instruction)?;
        self.push_x87(operands[0])?;
        self.push_x87(operands[1])?;
        self.asm.raw(&[0xde, 0xc9]); // fmulp
        self.push_x87(operands[2])?;
        self.asm.raw(&[0xde, 0xc1]); // faddp
        self.bind_st0(result, 0)
    }

    /// Compares as `ucomis` does.
    pub(crate) fn x87_flags(&mut self, left: ValueId, right: ValueId, signals: bool) -> Result<()> {
        self.push_x87(right)?;
        self.push_x87(left)?;
        // fcomip st0, st1 or fucomip st0, st1
        self.asm.raw(&[0xdf, if signals { 0xf1 } else { 0xe9 }]);
        self.asm.raw(&[0xdd, 0xd8]); // fstp st0
        Ok(())
    }

    /// `sqrt`
    pub(crate) fn x87_root(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let result = self.result(instruction)?;
        self.push_x87(value)?;
        self.asm.raw(&[0xd9, 0xfa]); // fsqrt
        self.bind_st0(result, 0)
    }

    /// Calls a run-time function that takes 80-bit arguments, which travel on the stack.
    pub(crate) fn x87_call(&mut self, name: &'static str, arguments: &[ValueId]) -> Result<()> {
        let bytes = STEP * arguments.len() as i32;
        self.asm.lea(RSP, &Mem::reg(RSP, -bytes));
        for (at, value) in (0i32..).zip(arguments) {
            self.store_x87_part(&Mem::reg(RSP, STEP * at), *value, 0)?;
        }
        self.call_library(name)?;
        self.asm.lea(RSP, &Mem::reg(RSP, bytes));
        Ok(())
    }

    /// Between `x86_fp80` and what SSE computes with.
    pub(crate) fn x87_resize(&mut self, result: ValueId, value: ValueId, from: Format, to: Format) -> Result<()> {
        let place = self.lane_mem(0, 0);
        let other = if from == Format::X87 { to } else { from };
        let (code, bytes) = if other == Format::Single { (0xd9, 4) } else { (0xdd, 8) };
        if to == Format::X87 {
            let reg = self.read_xmm(value, 0)?;
            self.asm.store_xmm(&place, reg, bytes);
            self.asm.rm(Op::one(code), 0, &place); // fld
            return self.bind_st0(result, 0);
        }
        self.push_x87(value)?;
        self.asm.rm(Op::one(code), 3, &place); // fstp
        let reg = self.alloc_xmm()?;
        self.asm.load_xmm(reg, &place, bytes);
        self.bind_xmm(result, 0, reg);
        Ok(())
    }

    pub(crate) fn x87_from_integer(&mut self, result: ValueId, value: ValueId, bits: u32, signed: bool) -> Result<()> {
        let place = self.lane_mem(0, 0);
        let reg = match (bits, signed) {
            (64, _) => self.read_gpr(value, 0)?,
            (_, true) => self.take_sign_extended(value, 0, true)?,
            (_, false) => self.take_zero_extended(value, 0)?,
        };
        self.asm.store(&place, reg, 8);
        self.asm.rm(Op::one(0xdf), 5, &place); // fild m64
        if bits == 64 && !signed {
            let wrap = self.pool_mem(u128::from(2f32.powi(64).to_bits()), 4);
            self.asm.test(reg, reg, 8);
            let large = self.asm.skip(Cond::S);
            let done = self.asm.skip_always();
            self.asm.land(large);
            self.asm.rm(Op::one(0xd8), 0, &wrap); // fadd m32
            self.asm.land(done);
        }
        self.bind_st0(result, 0)
    }

    pub(crate) fn x87_to_integer(&mut self, result: ValueId, value: ValueId, bits: u32, signed: bool) -> Result<()> {
        if bits == 64 && !signed {
            // 2^63 is subtracted from what is not below it, and turned on again as a bit.
            let half = self.pool_mem(u128::from(2f32.powi(63).to_bits()), 4);
            self.push_x87(value)?;
            let top = self.alloc_gpr()?;
            self.asm.rm(Op::one(0xd9), 0, &half); // fld m32
            self.asm.mov_imm(top, 0);
            self.asm.raw(&[0xdb, 0xe9]); // fucomi st0, st1
            self.asm.raw(&[0xdd, 0xd8]); // fstp st0
            let large = self.asm.skip(Cond::BE);
            let small = self.asm.skip_always();
            self.asm.land(large);
            self.asm.rm(Op::one(0xd8), 4, &half); // fsub m32
            self.asm.mov_imm(top, 1 << 63);
            self.asm.land(small);
            let reg = self.pop_truncated(8)?;
            self.asm.alu_rr(Alu::Xor, reg, top, 8);
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        if bits > 64 {
            return Err(Box::new(Unsupported::Instruction("a conversion to a wide integer")));
        }
        self.push_x87(value)?;
        // As narrow as LLVM's, which programs can tell where the number does not fit.
        let bytes = match bits + u32::from(!signed) {
            ..=16 => 2,
            17..=32 => 4,
            _ => 8,
        };
        let reg = self.pop_truncated(bytes)?;
        self.bind(result, 0, reg.0);
        Ok(())
    }

    /// Pops ST0 as a number of `bytes` bytes, cut to an integer. `fistp` rounds as the control word says, so that is changed
    /// and put back.
    fn pop_truncated(&mut self, bytes: u8) -> Result<Gpr> {
        let place = self.lane_mem(0, 0);
        let (usual, cutting) = (place.plus(8), place.plus(12));
        let reg = self.alloc_gpr()?;
        self.asm.rm(Op::one(0xd9), 7, &usual); // fnstcw
        self.asm.load(reg, &usual, 2);
        self.asm.alu_ri(Alu::Or, reg, 0xc00, 4);
        self.asm.store(&cutting, reg, 2);
        self.asm.rm(Op::one(0xd9), 5, &cutting); // fldcw
        // fistp
        let (opcode, digit) = match bytes {
            2 => (0xdf, 3),
            4 => (0xdb, 3),
            _ => (0xdf, 7),
        };
        self.asm.rm(Op::one(opcode), digit, &place);
        self.asm.rm(Op::one(0xd9), 5, &usual);
        self.asm.load(reg, &place, bytes);
        Ok(reg)
    }
}
