//! Calls of `llvm.x86.*`: the machine's own instructions. Only functions whose target features have them call them, so
//! nothing is asked here.

use kiln_bitcode::{Instruction, ValueId};

use super::encoder::{Alu, Cond, Op, Shift};
use super::generator::{Generator, Result};
use super::registers::XMM0;
use super::vectors::{PAND, PANDN, POR, p66};

impl Generator<'_> {
    /// One whose result is no vector; `name` is what follows `llvm.x86.`. Whether it is one that is known.
    pub(crate) fn machine(&mut self, name: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        if let Some(name) = name.strip_prefix(b"bmi.") {
            return self.bit_fields(name, instruction, operands);
        }
        if let Some(name) = name.strip_prefix(b"sse42.crc32.") {
            return self.crc32(name, instruction, operands);
        }
        let value = |at: usize| ValueId(operands[at]);
        let barrier: Option<&[u8]> = match name {
            b"sse2.pause" => Some(&[0xf3, 0x90]),
            b"sse2.mfence" => Some(&[0x0f, 0xae, 0xf0]),
            b"sse2.lfence" => Some(&[0x0f, 0xae, 0xe8]),
            b"sse.sfence" => Some(&[0x0f, 0xae, 0xf8]),
            _ => None,
        };
        if let Some(bytes) = barrier {
            self.asm.raw(bytes);
            return Ok(true);
        }
        match name {
            b"sse2.pmovmskb.128" | b"avx2.pmovmskb" => self.sign_mask(instruction, value(0), 1)?,
            b"sse.movmsk.ps" | b"avx.movmsk.ps.256" => self.sign_mask(instruction, value(0), 4)?,
            b"sse2.movmsk.pd" | b"avx.movmsk.pd.256" => self.sign_mask(instruction, value(0), 8)?,
            b"sse41.ptestz" | b"avx.ptestz.256" => self.test_bits(instruction, value(0), value(1), PAND)?,
            b"sse41.ptestc" | b"avx.ptestc.256" => self.test_bits(instruction, value(0), value(1), PANDN)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One whose result is a vector.
    pub(crate) fn machine_vector(&mut self, name: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let value = |at: usize| ValueId(operands[at]);
        if let Some(op) = binary_operation(name) {
            self.packed_binary(instruction, op, value(0), value(1))?;
            return Ok(true);
        }
        if let Some((opcode, extension)) = shift_operation(name) {
            self.shift_lanes(instruction, operands, opcode, extension)?;
            return Ok(true);
        }
        if let b"pclmulqdq" | b"pclmulqdq.256" = name {
            let Some(halves) = self.number(value(2)) else { return Ok(false) };
            let result = self.result(instruction)?;
            for at in 0..self.part_count(self.body.result_type(instruction))? {
                let from = self.read_xmm(value(1), at)?;
                let to = self.take_xmm(value(0), at)?;
                self.asm.rr_i8(Op::three3a(0x44).p66(), to.0, from.0, halves as u8);
                self.release_pin(from.0 + XMM0);
                self.bind_or_drop(result, at, to.0 + XMM0);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Shifts all lanes by one number. Where that is no constant, it comes in a register, and the opcode tells the direction.
    fn shift_lanes(&mut self, instruction: &Instruction, operands: &[u32], opcode: u8, extension: u8) -> Result<()> {
        let (vector, count) = (ValueId(operands[0]), ValueId(operands[1]));
        let result = self.result(instruction)?;
        let constant = self.number(count);
        let by = self.alloc_xmm()?;
        if constant.is_none() {
            let from = self.read_gpr(count, 0)?;
            self.asm.rr(p66(0x6e), by.0, from.0); // movd
        }
        for at in 0..self.part_count(self.body.result_type(instruction))? {
            let reg = self.take_xmm(vector, at)?;
            match constant {
                // What is too much is too much.
                Some(count) => self.asm.rr_i8(p66(opcode), extension, reg.0, count.min(255) as u8),
                None => self.asm.rr(p66(0xc0 | extension << 3 | opcode & 3), reg.0, by.0),
            }
            self.bind_or_drop(result, at, reg.0 + XMM0);
        }
        Ok(())
    }

    /// The sign bits of all lanes.
    fn sign_mask(&mut self, instruction: &Instruction, vector: ValueId, lane_bytes: u8) -> Result<()> {
        let result = self.result(instruction)?;
        let ty = self.ty(vector);
        let to = self.alloc_gpr()?;
        let more = self.alloc_gpr()?;
        for at in 0..self.part_count(ty)? {
            let from = self.read_xmm(vector, at)?;
            let reg = if at == 0 { to } else { more };
            self.move_mask(reg, from, lane_bytes);
            self.release_pin(from.0 + XMM0);
            if at > 0 {
                self.asm.shift_imm(Shift::Shl, more, at as u8 * (16 / lane_bytes), 4);
                self.asm.alu_rr(Alu::Or, to, more, 4);
            }
        }
        self.bind(result, 0, to.0);
        Ok(())
    }

    /// Whether `join` leaves no bit of both: PAND none that is set in both, PANDN none of the right that the left lacks.
    fn test_bits(&mut self, instruction: &Instruction, left: ValueId, right: ValueId, join: Op) -> Result<()> {
        let result = self.result(instruction)?;
        let ty = self.ty(left);
        let (all, one) = (self.alloc_xmm()?, self.alloc_xmm()?);
        for at in 0..self.part_count(ty)? {
            let (a, b) = (self.read_xmm(left, at)?, self.read_xmm(right, at)?);
            let to = if at == 0 { all } else { one };
            self.asm.movaps(to, a);
            self.asm.rr(join, to.0, b.0);
            if at > 0 {
                self.asm.rr(POR, all.0, one.0);
            }
            self.release_pin(a.0 + XMM0);
            if a != b {
                self.release_pin(b.0 + XMM0);
            }
        }
        self.asm.rr(Op::three38(0x17).p66(), all.0, all.0); // ptest
        let to = self.alloc_gpr()?;
        self.asm.setcc(Cond::E, to);
        self.asm.movzx(to, to, 1);
        self.bind(result, 0, to.0);
        Ok(())
    }

    /// `llvm.x86.bmi.*`, called by who asks for BMI or BMI2; whether it is one that is known.
    fn bit_fields(&mut self, name: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let (name, wide) = match (name.strip_suffix(b".64"), name.strip_suffix(b".32")) {
            (Some(name), _) => (name, true),
            (_, Some(name)) => (name, false),
            _ => return Ok(false),
        };
        // Prefixes: 0 none, 2 F3, 3 F2 (SDM, VEX.pp); whether the first operand is the one in ModRM.
        let (prefix, opcode, first_in_modrm) = match name {
            b"bzhi" => (0, 0xf5, true),
            b"bextr" => (0, 0xf7, true),
            b"pext" => (2, 0xf5, false),
            b"pdep" => (3, 0xf5, false),
            _ => return Ok(false),
        };
        let [first, second, ..] = *operands else { return Ok(false) };
        let result = self.result(instruction)?;
        let first = self.read_gpr(ValueId(first), 0)?;
        let second = self.read_gpr(ValueId(second), 0)?;
        let to = self.alloc_gpr()?;
        let (other, rm) = if first_in_modrm { (second, first) } else { (first, second) };
        self.asm.bits(prefix, opcode, to, other, rm, wide);
        self.bind(result, 0, to.0);
        Ok(true)
    }

    /// `llvm.x86.sse42.crc32.*`, called by who asks for SSE4.2; whether it is one that is known.
    fn crc32(&mut self, name: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let (wide, bytes) = match name {
            b"32.8" => (false, 1),
            b"32.16" => (false, 2),
            b"32.32" => (false, 4),
            b"64.8" => (true, 1),
            b"64.64" => (true, 8),
            _ => return Ok(false),
        };
        let [sum, data, ..] = *operands else { return Ok(false) };
        let result = self.result(instruction)?;
        let data = self.read_gpr(ValueId(data), 0)?;
        let sum = self.take_gpr(ValueId(sum), 0)?;
        if bytes == 2 {
            self.asm.raw(&[0x66]);
        }
        let rex = 0x40 | u8::from(wide) << 3 | (sum.0 & 8) >> 1 | data.0 >> 3;
        let opcode = if bytes == 1 { 0xf0 } else { 0xf1 };
        self.asm.raw(&[0xf2, rex, 0x0f, 0x38, opcode, 0xc0 | (sum.0 & 7) << 3 | data.0 & 7]);
        self.bind(result, 0, sum.0);
        Ok(true)
    }
}

/// Shifts of all lanes by one number: their opcode and what stands in ModRM's field of a register.
fn shift_operation(name: &[u8]) -> Option<(u8, u8)> {
    Some(match name {
        b"sse2.psrli.w" | b"avx2.psrli.w" => (0x71, 2),
        b"sse2.psrai.w" | b"avx2.psrai.w" => (0x71, 4),
        b"sse2.pslli.w" | b"avx2.pslli.w" => (0x71, 6),
        b"sse2.psrli.d" | b"avx2.psrli.d" => (0x72, 2),
        b"sse2.psrai.d" | b"avx2.psrai.d" => (0x72, 4),
        b"sse2.pslli.d" | b"avx2.pslli.d" => (0x72, 6),
        b"sse2.psrli.q" | b"avx2.psrli.q" => (0x73, 2),
        b"sse2.pslli.q" | b"avx2.pslli.q" => (0x73, 6),
        _ => return None,
    })
}

/// Intrinsics that are one instruction on each register: those of AVX2 do in both halves what the older ones do in one.
fn binary_operation(base: &[u8]) -> Option<Op> {
    Some(match base {
        b"ssse3.pshuf.b.128" | b"avx2.pshuf.b" => Op::three38(0x00).p66(),
        b"ssse3.pmadd.ub.sw.128" | b"avx2.pmadd.ub.sw" => Op::three38(0x04).p66(),
        b"ssse3.pmul.hr.sw.128" | b"avx2.pmul.hr.sw" => Op::three38(0x0b).p66(),
        b"sse41.packusdw" | b"avx2.packusdw" => Op::three38(0x2b).p66(),
        b"sse2.packsswb.128" | b"avx2.packsswb" => p66(0x63),
        b"sse2.packssdw.128" | b"avx2.packssdw" => p66(0x6b),
        b"sse2.packuswb.128" | b"avx2.packuswb" => p66(0x67),
        b"sse2.pmadd.wd" | b"avx2.pmadd.wd" => p66(0xf5),
        b"sse2.pmulh.w" | b"avx2.pmulh.w" => p66(0xe5),
        b"sse2.pmulhu.w" | b"avx2.pmulhu.w" => p66(0xe4),
        b"sse2.psad.bw" | b"avx2.psad.bw" => p66(0xf6),
        b"sse2.pavg.b" | b"avx2.pavg.b" => p66(0xe0),
        b"sse2.pavg.w" | b"avx2.pavg.w" => p66(0xe3),
        _ => return None,
    })
}
