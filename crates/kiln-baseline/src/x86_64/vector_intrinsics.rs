//! Calls of `llvm.*` on vectors.

use kiln_bitcode::{Instruction, ValueId};

use super::floats::packed;
use super::generator::{Generator, Result};
use super::registers::XMM0;
use super::vectors::{PAND, p66, repeat};

impl Generator<'_> {
    /// Whether it is one that is known.
    pub(crate) fn vector_intrinsic(
        &mut self,
        base: &[u8],
        instruction: &Instruction,
        operands: &[u32],
    ) -> Result<bool> {
        let value = |at: usize| ValueId(operands[at]);
        if self.mask_lanes(self.body.result_type(instruction)).is_some() {
            return Ok(false);
        }
        let shape = self.shape(self.body.result_type(instruction))?;
        let saturating = match (base, shape.lane_bytes) {
            (b"uadd.sat", 1) => Some(0xdc),
            (b"uadd.sat", 2) => Some(0xdd),
            (b"sadd.sat", 1) => Some(0xec),
            (b"sadd.sat", 2) => Some(0xed),
            (b"usub.sat", 1) => Some(0xd8),
            (b"usub.sat", 2) => Some(0xd9),
            (b"ssub.sat", 1) => Some(0xe8),
            (b"ssub.sat", 2) => Some(0xe9),
            (b"umin", 1) => Some(0xda),
            (b"umax", 1) => Some(0xde),
            (b"smin", 2) => Some(0xea),
            (b"smax", 2) => Some(0xee),
            _ => None,
        };
        if let Some(op) = saturating {
            self.packed_binary(instruction, p66(op), value(0), value(1))?;
            return Ok(true);
        }
        match base {
            b"umin" | b"umax" | b"smin" | b"smax" | b"abs" => {
                self.lanes_extreme(base, instruction, operands)?;
                Ok(true)
            }
            b"fabs" if shape.float => {
                let result = self.result(instruction)?;
                let width = u32::from(shape.lane_bytes) * 8;
                let mask = self.pool_mem(repeat((1 << (width - 1)) - 1, shape.lane_bytes), 16);
                for at in 0..self.part_count(self.body.result_type(instruction))? {
                    let reg = self.take_xmm(value(0), at)?;
                    self.asm.rm(PAND, reg.0, &mask);
                    self.bind_or_drop(result, at, reg.0 + XMM0);
                }
                Ok(true)
            }
            b"sqrt" if shape.float => {
                let result = self.result(instruction)?;
                for at in 0..self.part_count(self.body.result_type(instruction))? {
                    let from = self.read_xmm(value(0), at)?;
                    let reg = self.alloc_xmm()?;
                    self.asm.rr(packed(0x51, shape.lane_bytes), reg.0, from.0);
                    self.release_pin(from.0 + XMM0);
                    self.bind_or_drop(result, at, reg.0 + XMM0);
                }
                Ok(true)
            }
            b"fmuladd" if shape.float => {
                let fused = self.fuses()?;
                let result = self.result(instruction)?;
                for at in 0..self.part_count(self.body.result_type(instruction))? {
                    let addend = self.read_xmm(value(2), at)?;
                    let factor = self.read_xmm(value(1), at)?;
                    let reg = self.take_xmm(value(0), at)?;
                    if fused {
                        self.asm.multiply_add(reg, factor, addend, shape.lane_bytes, false);
                    } else {
                        self.asm.rr(packed(0x59, shape.lane_bytes), reg.0, factor.0);
                        self.asm.rr(packed(0x58, shape.lane_bytes), reg.0, addend.0);
                    }
                    self.release_pin(addend.0 + XMM0);
                    if factor != addend {
                        self.release_pin(factor.0 + XMM0);
                    }
                    self.bind_or_drop(result, at, reg.0 + XMM0);
                }
                Ok(true)
            }
            b"ctpop" => {
                self.vector_population(instruction, value(0), shape.lane_bytes)?;
                Ok(true)
            }
            _ if base.starts_with(b"x86.") => self.machine_vector(&base[4..], instruction, operands),
            _ => self.lane_intrinsic(base, instruction, operands),
        }
    }

    /// The number of bits set in each lane, by sums of neighbouring fields.
    fn vector_population(&mut self, instruction: &Instruction, value: ValueId, lane_bytes: u8) -> Result<()> {
        let result = self.result(instruction)?;
        let field = |own: &mut Self, byte: u64| own.pool_mem(repeat(byte, 1), 16);
        let (pairs, fours, eights) = (field(self, 0x55), field(self, 0x33), field(self, 0x0f));
        for at in 0..self.part_count(self.body.result_type(instruction))? {
            let reg = self.take_xmm(value, at)?;
            let other = self.alloc_xmm()?;
            self.asm.movaps(other, reg);
            self.asm.rr_i8(p66(0x71), 2, other.0, 1); // psrlw
            self.asm.rm(PAND, other.0, &pairs);
            self.asm.rr(p66(0xf8), reg.0, other.0); // psubb
            self.asm.movaps(other, reg);
            self.asm.rm(PAND, reg.0, &fours);
            self.asm.rr_i8(p66(0x71), 2, other.0, 2);
            self.asm.rm(PAND, other.0, &fours);
            self.asm.rr(p66(0xfc), reg.0, other.0); // paddb
            self.asm.movaps(other, reg);
            self.asm.rr_i8(p66(0x71), 2, other.0, 4);
            self.asm.rr(p66(0xfc), reg.0, other.0);
            self.asm.rm(PAND, reg.0, &eights);
            match lane_bytes {
                1 => {}
                8 => {
                    self.clear(other);
                    self.asm.rr(p66(0xf6), reg.0, other.0); // psadbw
                }
                _ => {
                    // Sums of the bytes arrive in the uppermost.
                    let group = if lane_bytes == 2 { 0x71 } else { 0x72 };
                    let width = 8 * lane_bytes;
                    let mut step = 8;
                    while step < width {
                        self.asm.movaps(other, reg);
                        self.asm.rr_i8(p66(group), 6, other.0, step);
                        self.asm.rr(p66(0xfc), reg.0, other.0);
                        step *= 2;
                    }
                    self.asm.rr_i8(p66(group), 2, reg.0, width - 8);
                }
            }
            self.unhold(other.0 + XMM0);
            self.bind_or_drop(result, at, reg.0 + XMM0);
        }
        Ok(())
    }
}
