//! Calls of `llvm.*` on vectors, lane by lane through memory: what SSE2 has no instruction for.

use kiln_bitcode::{Instruction, Type, ValueId};

use super::encoder::{Alu, Cond, Gpr, Mem, Op, RCX, Shift, Xmm};
use super::generator::{Generator, Result};
use super::parts::Shape;
use super::registers::XMM0;
use super::vectors::{PAND, PANDN, POR, repeat};
use crate::compiler::Unsupported;

/// The operands of a masked access (language reference, "Masked Vector Load and Store Intrinsics").
struct Masked {
    /// Where the lanes lie, or a vector of where each lies.
    at: ValueId,
    mask: ValueId,
    /// What is stored, or what lanes that are not loaded become.
    value: ValueId,
}

impl Generator<'_> {
    /// Whether it is one that is known.
    pub(crate) fn lane_intrinsic(&mut self, base: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let shape = self.shape(self.body.result_type(instruction))?;
        match base {
            b"masked.load" | b"masked.gather" => self.masked_load(base == b"masked.gather", instruction, operands)?,
            b"copysign" if shape.float => {
                self.lanes_sign(instruction, ValueId(operands[0]), ValueId(operands[1]), shape)?
            }
            _ if shape.float => return self.lanes_library(base, instruction, operands, shape),
            b"ctlz" | b"cttz" | b"bswap" | b"bitreverse" | b"fshl" | b"fshr" | b"uadd.sat" | b"usub.sat"
            | b"sadd.sat" | b"ssub.sat" => self.lanes_integer(base, instruction, operands, shape)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn lanes_integer(&mut self, base: &[u8], instruction: &Instruction, operands: &[u32], shape: Shape) -> Result<()> {
        let bytes = shape.lane_bytes;
        let operands = match base {
            // What else they take is no vector.
            b"ctlz" | b"cttz" | b"bswap" | b"bitreverse" => &operands[..1],
            b"fshl" | b"fshr" => &operands[..3],
            _ => &operands[..2],
        };
        self.claim(RCX.0)?;
        let result = self.result(instruction)?;
        let (a, b, c) = (self.alloc_gpr()?, self.alloc_gpr()?, self.alloc_gpr()?);
        for (area, operand) in operands.iter().enumerate() {
            self.store_lanes(ValueId(*operand), area)?;
        }
        for lane in 0..shape.lanes {
            let place = self.lane(0, lane, shape);
            self.asm.load(a, &place, bytes);
            let from = match base {
                b"ctlz" | b"cttz" => {
                    self.count_zeros_of(a, [b, c], 8 * u64::from(bytes), base == b"ctlz");
                    a
                }
                b"bswap" | b"bitreverse" => {
                    self.asm.byte_swap(a);
                    if base == b"bitreverse" {
                        self.reverse_bits_of_bytes(a, b, c);
                    }
                    self.asm.shift_imm(Shift::Shr, a, 64 - 8 * bytes, 8);
                    a
                }
                b"fshl" | b"fshr" => {
                    let (low, amount) = (self.lane(1, lane, shape), self.lane(2, lane, shape));
                    self.asm.load(b, &low, bytes);
                    self.asm.load(RCX, &amount, bytes);
                    self.funnel_lane(a, b, bytes, base == b"fshl")
                }
                _ => {
                    let right = self.lane(1, lane, shape);
                    let alu = if base[1..].starts_with(b"add") { Alu::Add } else { Alu::Sub };
                    self.saturate_lane(a, &right, b, bytes, alu, base[0] == b's');
                    a
                }
            };
            self.asm.store(&place, from, bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    /// Shifts by CL; the register with the result.
    fn funnel_lane(&mut self, high: Gpr, low: Gpr, bytes: u8, left: bool) -> Gpr {
        if bytes >= 4 {
            // shld high, low; shrd low, high. The machine takes the amount modulo the width.
            let (kept, filled) = if left { (high, low) } else { (low, high) };
            let op = Op::two(if left { 0xa5 } else { 0xad }).w_if(bytes == 8);
            self.asm.rr(op, filled.0, kept.0);
            return kept;
        }
        // Both halves in one register of 32 bits.
        let bits = 8 * bytes;
        self.asm.alu_ri(Alu::And, RCX, i32::from(bits) - 1, 4);
        self.asm.shift_imm(Shift::Shl, high, bits, 4);
        self.asm.alu_rr(Alu::Or, high, low, 4);
        if left {
            self.asm.shift_cl(Shift::Shl, high, 4);
            self.asm.shift_imm(Shift::Shr, high, bits, 4);
        } else {
            self.asm.shift_cl(Shift::Shr, high, 4);
        }
        high
    }

    fn saturate_lane(&mut self, reg: Gpr, right: &Mem, limit: Gpr, bytes: u8, alu: Alu, signed: bool) {
        if signed {
            // A result that does not fit has left on the side of the first operand.
            self.asm.mov(RCX, reg);
            self.asm.shift_imm(Shift::Sar, RCX, 8 * bytes - 1, bytes);
            self.asm.mov_imm(limit, (1 << (8 * u64::from(bytes) - 1)) - 1);
            self.asm.alu_rr(Alu::Xor, limit, RCX, 8);
        } else {
            self.asm.mov_imm(limit, if alu == Alu::Add { u64::MAX } else { 0 });
        }
        self.asm.alu_rm(alu, reg, right, bytes);
        self.asm.cmov(if signed { Cond::O } else { Cond::B }, reg, limit, true);
    }

    /// The lanes of `value` with the signs of those of `signs`.
    fn lanes_sign(&mut self, instruction: &Instruction, value: ValueId, signs: ValueId, shape: Shape) -> Result<()> {
        let result = self.result(instruction)?;
        let width = u32::from(shape.lane_bytes) * 8;
        let mask = self.pool_mem(repeat(1 << (width - 1), shape.lane_bytes), 16);
        for at in 0..self.part_count(self.body.result_type(instruction))? {
            let sign = self.take_xmm(signs, at)?;
            let from = self.read_xmm(value, at)?;
            let reg = self.alloc_xmm()?;
            self.asm.load_xmm(reg, &mask, 16);
            self.asm.rr(PANDN, reg.0, from.0);
            self.asm.rm(PAND, sign.0, &mask);
            self.asm.rr(POR, reg.0, sign.0);
            self.release_pin(from.0 + XMM0);
            self.bind_or_drop(result, at, reg.0 + XMM0);
        }
        Ok(())
    }

    /// One call of the mathematical library for each lane.
    fn lanes_library(
        &mut self,
        base: &[u8],
        instruction: &Instruction,
        operands: &[u32],
        shape: Shape,
    ) -> Result<bool> {
        let Type::Vector { element, .. } = self.module.ty(self.body.result_type(instruction)) else { return Ok(false) };
        let Some((function, count)) = self.library_function(base, *element) else { return Ok(false) };
        let result = self.result(instruction)?;
        for (area, operand) in operands[..count].iter().enumerate() {
            self.store_lanes(ValueId(*operand), area)?;
        }
        for lane in 0..shape.lanes {
            for area in 0..count {
                let reg = XMM0 + area as u8;
                self.claim(reg)?;
                let mem = self.lane(area, lane, shape);
                self.asm.load_xmm(Xmm(reg - XMM0), &mem, shape.lane_bytes);
            }
            self.call_library(function)?;
            let mem = self.lane(0, lane, shape);
            self.asm.store_xmm(&mem, Xmm(0), shape.lane_bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)?;
        Ok(true)
    }

    // ---- masked accesses ----------------------------------------------------------------------------------------

    fn masked_load(&mut self, gather: bool, instruction: &Instruction, operands: &[u32]) -> Result<()> {
        // An alignment stands between in bitcode of older front ends.
        let [at, .., mask, value] = *operands else { return Ok(()) };
        let access = Masked { at: ValueId(at), mask: ValueId(mask), value: ValueId(value) };
        let result = self.result(instruction)?;
        self.masked_access(&access, gather, false)?;
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    /// `llvm.masked.store` and `llvm.masked.scatter`.
    pub(crate) fn masked_store(&mut self, scatter: bool, operands: &[u32]) -> Result<()> {
        let [value, at, .., mask] = *operands else { return Ok(()) };
        let access = Masked { at: ValueId(at), mask: ValueId(mask), value: ValueId(value) };
        self.masked_access(&access, scatter, true)
    }

    /// Between memory and lane area 0, which holds the value.
    fn masked_access(&mut self, access: &Masked, apart: bool, store: bool) -> Result<()> {
        let ty = self.ty(access.value);
        let shape = self.shape(ty)?;
        if shape.lanes > 64 {
            return Err(Box::new(Unsupported::Type("a mask of over 64 lanes")));
        }
        let pointers = Shape { lanes: shape.lanes, lane_bytes: 8, float: false, narrow: false };
        let mask = self.read_gpr(access.mask, 0)?;
        let (number, pointer) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.store_lanes(access.value, 0)?;
        if apart {
            self.store_lanes(access.at, 1)?;
        } else {
            self.load_into(pointer.0, access.at, 0)?;
        }
        for lane in 0..shape.lanes {
            // bt mask, lane
            self.asm.rr_i8(Op::two(0xba).w(), 4, mask.0, lane as u8);
            let skip = self.asm.skip(Cond::AE);
            let inner = self.lane(0, lane, shape);
            let outer = if apart {
                let from = self.lane(1, lane, pointers);
                self.asm.load(pointer, &from, 8);
                Mem::reg(pointer, 0)
            } else {
                Mem::reg(pointer, (lane * u32::from(shape.lane_bytes)) as i32)
            };
            let (from, to) = if store { (inner, outer) } else { (outer, inner) };
            self.asm.load(number, &from, shape.lane_bytes);
            self.asm.store(&to, number, shape.lane_bytes);
            self.asm.land(skip);
        }
        Ok(())
    }
}
