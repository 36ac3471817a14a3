//! Vectors: lanes of 1, 2, 4 or 8 bytes in XMM registers, several for long ones. Vectors of bits are integers (`masks.rs`).
//!
//! What SSE2 does with one instruction is done so; all else goes lane by lane through memory (`lanes.rs`).

use kiln_bitcode::{Instruction, Opcode, Type, TypeId, ValueId};

use super::encoder::{Alu, Cond, Gpr, Mem, Op, Shift, Xmm};
use super::floats::packed;
use super::generator::{Generator, Result};
use super::operands::Bits;
use super::parts::{Shape, shape};
use super::registers::{SCRATCH, XMM0};
use crate::compiler::Unsupported;

pub(crate) const fn p66(opcode: u8) -> Op {
    Op::two(opcode).p66()
}

pub(crate) const PAND: Op = p66(0xdb);
pub(crate) const PANDN: Op = p66(0xdf);
pub(crate) const POR: Op = p66(0xeb);
const PXOR: Op = p66(0xef);
const PSHUFD: Op = p66(0x70);

impl Generator<'_> {
    /// The shape of a vector that registers hold as memory does, and that is computed with.
    pub(crate) fn shape(&self, ty: TypeId) -> Result<Shape> {
        match self.any_shape(ty)? {
            Shape { narrow: true, .. } => Err(Box::new(Unsupported::Type("a vector of half or bfloat, here"))),
            shape => Ok(shape),
        }
    }

    /// The shape of a vector whose lanes are only moved.
    pub(crate) fn any_shape(&self, ty: TypeId) -> Result<Shape> {
        shape(self.module, ty).ok_or_else(|| Box::new(Unsupported::Type("a vector of an unusual shape")))
    }

    /// Lane `lane` of a constant vector of numbers.
    pub(crate) fn lane_constant(&mut self, value: ValueId, lane: u32) -> Option<u64> {
        if !self.body.is_constant(value) {
            return None;
        }
        let Type::Vector { element, .. } = *self.module.ty(self.ty(value)) else { return None };
        let bytes = match self.module.ty(element) {
            Type::Integer(bits) if !matches!(bits, 8 | 16 | 32 | 64) => return None,
            _ => self.module.layout_of(element)?.size,
        };
        // Masks of shuffles have lanes of 32 bits, and may be longer than any vector that is computed with.
        match self.constant_bytes(value, u64::from(lane) * bytes, bytes).ok()? {
            Bits::Number(number) if bytes <= 8 => Some(number as u64 & (u64::MAX >> (64 - 8 * bytes))),
            _ => None,
        }
    }

    /// The number in all lanes of a constant.
    fn splat_constant(&mut self, value: ValueId) -> Option<u64> {
        let ty = self.ty(value);
        let lanes = shape(self.module, ty)?.lanes;
        let first = self.lane_constant(value, 0)?;
        (1..lanes).all(|lane| self.lane_constant(value, lane) == Some(first)).then_some(first)
    }

    pub(crate) fn part_count(&mut self, ty: TypeId) -> Result<u32> {
        Ok(self.type_parts(ty)?.1)
    }

    /// `op` on every register of two vectors.
    pub(crate) fn packed_binary(
        &mut self,
        instruction: &Instruction,
        op: Op,
        left: ValueId,
        right: ValueId,
    ) -> Result<()> {
        let result = self.result(instruction)?;
        for at in 0..self.part_count(self.body.result_type(instruction))? {
            let from = self.read_xmm(right, at)?;
            let to = self.take_xmm(left, at)?;
            self.asm.rr(op, to.0, from.0);
            self.release_pin(from.0 + XMM0);
            self.bind_or_drop(result, at, to.0 + XMM0);
        }
        Ok(())
    }

    pub(crate) fn vector_binary(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let opcode = instruction.opcode;
        if self.mask_lanes(self.body.result_type(instruction)).is_some() {
            let alu = match opcode {
                Opcode::And | Opcode::Mul => Alu::And,
                Opcode::Or => Alu::Or,
                Opcode::Xor | Opcode::Add | Opcode::Sub => Alu::Xor,
                _ => return Err(Box::new(Unsupported::Instruction("arithmetic on vectors of bits"))),
            };
            let result = self.result(instruction)?;
            let part = self.scalar(self.body.result_type(instruction))?;
            let from = self.read_gpr(right, 0)?;
            let to = self.take_gpr(left, 0)?;
            self.asm.alu_rr(alu, to, from, part.bytes);
            self.bind(result, 0, to.0);
            return Ok(());
        }
        let shape = self.shape(self.body.result_type(instruction))?;
        let op = match (opcode, shape.lane_bytes) {
            (Opcode::Add, 1) => Some(0xfc),
            (Opcode::Add, 2) => Some(0xfd),
            (Opcode::Add, 4) => Some(0xfe),
            (Opcode::Add, 8) => Some(0xd4),
            (Opcode::Sub, 1) => Some(0xf8),
            (Opcode::Sub, 2) => Some(0xf9),
            (Opcode::Sub, 4) => Some(0xfa),
            (Opcode::Sub, 8) => Some(0xfb),
            (Opcode::And, _) => Some(0xdb),
            (Opcode::Or, _) => Some(0xeb),
            (Opcode::Xor, _) => Some(0xef),
            (Opcode::Mul, 2) => Some(0xd5),
            _ => None,
        };
        if let Some(op) = op {
            return self.packed_binary(instruction, p66(op), left, right);
        }
        if matches!(opcode, Opcode::Shl | Opcode::LShr | Opcode::AShr)
            && let Some(amount) = self.splat_constant(right)
            && amount < u64::from(shape.lane_bytes) * 8
        {
            // Digits of the immediate forms: 6 left, 2 right, 4 right by sign.
            let digit = match opcode {
                Opcode::Shl => 6,
                Opcode::LShr => 2,
                _ => 4,
            };
            let group = match (shape.lane_bytes, digit) {
                (2, _) => Some(0x71),
                (4, _) => Some(0x72),
                (8, 2 | 6) => Some(0x73),
                _ => None,
            };
            if let Some(group) = group {
                let result = self.result(instruction)?;
                for at in 0..self.part_count(self.body.result_type(instruction))? {
                    let to = self.take_xmm(left, at)?;
                    self.asm.rr_i8(p66(group), digit, to.0, amount as u8);
                    self.bind_or_drop(result, at, to.0 + XMM0);
                }
                return Ok(());
            }
        }
        self.lanes_binary(instruction, left, right)
    }

    pub(crate) fn vector_float_binary(
        &mut self,
        instruction: &Instruction,
        opcode: u8,
        left: ValueId,
        right: ValueId,
    ) -> Result<()> {
        let shape = self.shape(self.body.result_type(instruction))?;
        self.packed_binary(instruction, packed(opcode, shape.lane_bytes), left, right)
    }

    // ---- comparison and selection -------------------------------------------------------------------------------

    pub(crate) fn vector_compare(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let ty = self.ty(left);
        if self.mask_lanes(ty).is_some() {
            return self.mask_compare(instruction, left, right);
        }
        let shape = self.shape(ty)?;
        if shape.lanes > 64 {
            return Err(Box::new(Unsupported::Instruction("comparison of very long vectors")));
        }
        let plan = if instruction.opcode == Opcode::FCmp {
            float_plan(instruction.sub)
        } else {
            integer_plan(instruction.sub, shape.lane_bytes)
        };
        let Some(plan) = plan else { return self.lanes_compare(instruction, left, right) };
        let result = self.result(instruction)?;
        let mask = self.alloc_gpr()?;
        let (left, right) = if plan.swap { (right, left) } else { (left, right) };
        let lanes_each = 16 / u32::from(shape.lane_bytes);
        for at in 0..self.part_count(ty)? {
            let from = self.read_xmm(right, at)?;
            let mut from = from;
            let to = self.take_xmm(left, at)?;
            match plan.op {
                Compare::Float(predicate) => {
                    self.asm.rr_i8(packed(0xc2, shape.lane_bytes), to.0, from.0, predicate);
                }
                Compare::Integer { opcode, bias } => {
                    if bias {
                        // Unsigned order is signed order with the sign bits turned.
                        let width = u32::from(shape.lane_bytes) * 8;
                        let bias = self.pool_mem(repeat(1 << (width - 1), shape.lane_bytes), 16);
                        let copy = self.alloc_xmm()?;
                        self.asm.movaps(copy, from);
                        self.release_pin(from.0 + XMM0);
                        from = copy;
                        self.asm.rm(PXOR, from.0, &bias);
                        self.asm.rm(PXOR, to.0, &bias);
                    }
                    self.asm.rr(p66(opcode), to.0, from.0);
                    if shape.lane_bytes == 8 {
                        // Both halves must be equal.
                        let other = self.alloc_xmm()?;
                        self.asm.rr_i8(PSHUFD, other.0, to.0, 0xb1);
                        self.asm.rr(PAND, to.0, other.0);
                        self.unhold(other.0 + XMM0);
                    }
                }
            }
            self.release_pin(from.0 + XMM0);
            self.collect_signs(to, shape.lane_bytes);
            let bits = if at == 0 { mask } else { SCRATCH };
            self.move_mask(bits, to, shape.lane_bytes);
            if at > 0 {
                self.asm.shift_imm(Shift::Shl, SCRATCH, (at * lanes_each) as u8, 8);
                self.asm.alu_rr(Alu::Or, mask, SCRATCH, 8);
            }
            self.unhold(to.0 + XMM0);
        }
        if plan.invert {
            self.asm.unary(2, mask, 8);
        }
        self.bind(result, 0, mask.0);
        Ok(())
    }

    /// Brings the sign bits of 16-bit lanes to bytes.
    fn collect_signs(&mut self, reg: Xmm, lane_bytes: u8) {
        if lane_bytes == 2 {
            self.asm.rr(p66(0x63), reg.0, reg.0); // packsswb
            // Only the low half counts: clear what repeats above it.
            self.asm.rr_i8(p66(0x73), 3, reg.0, 8); // psrldq reg, 8
        }
    }

    /// The sign bits of the lanes as an integer.
    pub(crate) fn move_mask(&mut self, to: Gpr, from: Xmm, lane_bytes: u8) {
        let op = match lane_bytes {
            4 => Op::two(0x50),
            8 => p66(0x50),
            _ => p66(0xd7),
        };
        self.asm.rr(op, to.0, from.0);
    }

    /// All bits of the lanes of register `at` whose bits in `mask` are set.
    pub(crate) fn expand_mask(&mut self, mask: Gpr, at: u32, lane_bytes: u8) -> Result<Xmm> {
        let to = self.alloc_xmm()?;
        let lanes_each = 16 / u32::from(lane_bytes);
        self.asm.mov(SCRATCH, mask);
        if at > 0 {
            self.asm.shift_imm(Shift::Shr, SCRATCH, (at * lanes_each) as u8, 8);
        }
        self.asm.gpr_to_xmm(to, SCRATCH, false);
        let pattern = match lane_bytes {
            1 => {
                self.asm.rr(p66(0x60), to.0, to.0); // punpcklbw
                self.asm.rr_i8(Op::two(0x70).pf2(), to.0, to.0, 0x50); // pshuflw
                self.asm.rr_i8(PSHUFD, to.0, to.0, 0x50);
                repeat(0x8040_2010_0804_0201, 8)
            }
            2 => {
                self.asm.rr_i8(Op::two(0x70).pf2(), to.0, to.0, 0);
                self.asm.rr_i8(PSHUFD, to.0, to.0, 0);
                0x0080_0040_0020_0010_0008_0004_0002_0001
            }
            4 => {
                self.asm.rr_i8(PSHUFD, to.0, to.0, 0);
                0x0000_0008_0000_0004_0000_0002_0000_0001
            }
            _ => {
                self.asm.rr_i8(PSHUFD, to.0, to.0, 0);
                0x0000_0002_0000_0002_0000_0001_0000_0001
            }
        };
        let bits = self.pool_mem(pattern, 16);
        self.asm.rm(PAND, to.0, &bits);
        let equal = match lane_bytes {
            1 => 0x74,
            2 => 0x75,
            _ => 0x76,
        };
        self.asm.rm(p66(equal), to.0, &bits);
        Ok(to)
    }

    pub(crate) fn vector_select(
        &mut self,
        instruction: &Instruction,
        condition: ValueId,
        then: ValueId,
        otherwise: ValueId,
    ) -> Result<()> {
        let mask = self.read_gpr(condition, 0)?;
        let result = self.result(instruction)?;
        if self.mask_lanes(self.body.result_type(instruction)).is_some() {
            // (then & mask) | (otherwise & !mask)
            let yes = self.take_gpr(then, 0)?;
            let no = self.take_gpr(otherwise, 0)?;
            self.asm.alu_rr(Alu::Xor, yes, no, 8);
            self.asm.alu_rr(Alu::And, yes, mask, 8);
            self.asm.alu_rr(Alu::Xor, yes, no, 8);
            self.bind(result, 0, yes.0);
            return Ok(());
        }
        let shape = self.any_shape(self.body.result_type(instruction))?;
        for at in 0..self.part_count(self.body.result_type(instruction))? {
            let lanes = self.expand_mask(mask, at, shape.lane_bytes)?;
            let yes = self.take_xmm(then, at)?;
            let no = self.read_xmm(otherwise, at)?;
            self.asm.rr(PAND, yes.0, lanes.0);
            self.asm.rr(PANDN, lanes.0, no.0);
            self.asm.rr(POR, yes.0, lanes.0);
            self.unhold(lanes.0 + XMM0);
            self.release_pin(no.0 + XMM0);
            self.bind_or_drop(result, at, yes.0 + XMM0);
        }
        Ok(())
    }

    // ---- conversion ---------------------------------------------------------------------------------------------

    pub(crate) fn vector_convert(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let source = self.ty(value);
        let result = self.result(instruction)?;
        match instruction.opcode {
            Opcode::ZExt | Opcode::SExt if self.mask_lanes(source).is_some() => {
                let shape = self.shape(self.body.result_type(instruction))?;
                let mask = self.read_gpr(value, 0)?;
                for at in 0..self.part_count(self.body.result_type(instruction))? {
                    let lanes = self.expand_mask(mask, at, shape.lane_bytes)?;
                    if instruction.opcode == Opcode::ZExt {
                        let ones = self.pool_mem(repeat(1, shape.lane_bytes), 16);
                        self.asm.rm(PAND, lanes.0, &ones);
                    }
                    self.bind_or_drop(result, at, lanes.0 + XMM0);
                }
                Ok(())
            }
            Opcode::Trunc if self.mask_lanes(self.body.result_type(instruction)).is_some() => {
                let shape = self.shape(source)?;
                let mask = self.alloc_gpr()?;
                let lanes_each = 16 / u32::from(shape.lane_bytes);
                for at in 0..self.part_count(source)? {
                    let reg = self.take_xmm(value, at)?;
                    // The lowest bit to the sign.
                    let (group, count) = match shape.lane_bytes {
                        1 => (0x71, 7),
                        2 => (0x71, 15),
                        4 => (0x72, 31),
                        _ => (0x73, 63),
                    };
                    self.asm.rr_i8(p66(group), 6, reg.0, count);
                    self.collect_signs(reg, shape.lane_bytes);
                    let bits = if at == 0 { mask } else { SCRATCH };
                    self.move_mask(bits, reg, shape.lane_bytes);
                    if at > 0 {
                        self.asm.shift_imm(Shift::Shl, SCRATCH, (at * lanes_each) as u8, 8);
                        self.asm.alu_rr(Alu::Or, mask, SCRATCH, 8);
                    }
                    self.unhold(reg.0 + XMM0);
                }
                self.bind(result, 0, mask.0);
                Ok(())
            }
            Opcode::PtrToInt | Opcode::IntToPtr | Opcode::PtrToAddr
                if shape(self.module, source).is_some_and(|s| s.lane_bytes == 8)
                    && shape(self.module, self.body.result_type(instruction)).is_some_and(|s| s.lane_bytes == 8) =>
            {
                let count = self.part_count(self.body.result_type(instruction))?;
                self.copy_parts(result, 0, value, 0, count)
            }
            _ => self.lanes_convert(instruction, value),
        }
    }

    // ---- lanes in and out ---------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn extract_element(&mut self, instruction: &Instruction, vector: ValueId, index: ValueId) -> Result<()> {
        let ty = self.ty(vector);
        let result = self.result(instruction)?;
        if let Some(lanes) = self.mask_lanes(ty) {
            let Some(lane) = self.number(index).filter(|lane| *lane < u64::from(lanes)) else {
                let at = self.read_gpr(index, 0)?;
                let reg = self.read_gpr(vector, 0)?;
                let to = self.alloc_gpr()?;
                self.asm.rr(Op::two(0xa3).w(), at.0, reg.0); // bt
                self.asm.setcc(Cond::B, to);
                self.bind(result, 0, to.0);
                return Ok(());
            };
            let reg = self.take_gpr(vector, 0)?;
            self.asm.shift_imm(Shift::Shr, reg, lane as u8, 8);
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        let shape = self.any_shape(ty)?;
        let Some(lane) = self.number(index).filter(|lane| *lane < u64::from(shape.lanes)) else {
            return self.lanes_extract(instruction, vector, index);
        };
        let byte = lane as u32 * u32::from(shape.lane_bytes);
        let (part, byte) = (byte / 16, (byte % 16) as u8);
        if shape.float {
            let reg = self.take_xmm(vector, part)?;
            if byte > 0 {
                self.asm.rr_i8(p66(0x73), 3, reg.0, byte); // psrldq
            }
            self.bind_xmm(result, 0, reg);
            return Ok(());
        }
        let mut from = self.read_xmm(vector, part)?;
        let to = self.alloc_gpr()?;
        if shape.narrow {
            let reg = self.alloc_xmm()?;
            self.asm.rr_i8(p66(0xc5), to.0, from.0, byte / 2); // pextrw
            self.asm.gpr_to_xmm(reg, to, false);
            self.bind_xmm(result, 0, reg);
            return Ok(());
        }
        match shape.lane_bytes {
            2 => self.asm.rr_i8(p66(0xc5), to.0, from.0, byte / 2), // pextrw
            1 => {
                self.asm.rr_i8(p66(0xc5), to.0, from.0, byte / 2);
                if byte % 2 == 1 {
                    self.asm.shift_imm(Shift::Shr, to, 8, 4);
                }
            }
            bytes => {
                if byte > 0 {
                    let copy = self.alloc_xmm()?;
                    let order = if bytes == 8 { 0xee } else { byte / 4 };
                    self.asm.rr_i8(PSHUFD, copy.0, from.0, order);
                    from = copy;
                }
                self.asm.xmm_to_gpr(to, from, bytes == 8);
            }
        }
        self.bind(result, 0, to.0);
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn insert_element(
        &mut self,
        instruction: &Instruction,
        vector: ValueId,
        element: ValueId,
        index: ValueId,
    ) -> Result<()> {
        if let Some(lanes) = self.mask_lanes(self.body.result_type(instruction)) {
            let lane = self.number(index).filter(|lane| *lane < u64::from(lanes));
            let lane =
                lane.ok_or_else(|| Box::new(Unsupported::Instruction("a lane of bits that is found at run time")))?;
            let result = self.result(instruction)?;
            let bit = self.take_gpr(element, 0)?;
            let reg = self.take_gpr(vector, 0)?;
            self.asm.alu_ri(Alu::And, bit, 1, 4);
            self.asm.shift_imm(Shift::Shl, bit, lane as u8, 8);
            // btr reg, lane
            self.asm.rr_i8(Op::two(0xba).w(), 6, reg.0, lane as u8);
            self.asm.alu_rr(Alu::Or, reg, bit, 8);
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        let shape = self.any_shape(self.body.result_type(instruction))?;
        let lane = self.number(index).filter(|lane| *lane < u64::from(shape.lanes));
        let whole = self.part_count(self.body.result_type(instruction))? == 1;
        match lane {
            Some(lane) if shape.lane_bytes == 2 && whole => {
                let result = self.result(instruction)?;
                let from = match shape.narrow {
                    true => {
                        let (number, bits) = (self.read_xmm(element, 0)?, self.alloc_gpr()?);
                        self.asm.xmm_to_gpr(bits, number, false);
                        bits
                    }
                    false => self.read_gpr(element, 0)?,
                };
                let reg = self.take_xmm(vector, 0)?;
                self.asm.rr_i8(p66(0xc4), reg.0, from.0, lane as u8); // pinsrw
                self.bind_xmm(result, 0, reg);
                Ok(())
            }
            Some(0) if whole && self.is_undefined(vector) => {
                // Nothing but the first lane is known.
                let result = self.result(instruction)?;
                if shape.float || shape.narrow {
                    return self.copy_parts(result, 0, element, 0, 1);
                }
                let from = self.read_gpr(element, 0)?;
                let reg = self.alloc_xmm()?;
                self.asm.gpr_to_xmm(reg, from, shape.lane_bytes == 8);
                self.bind_xmm(result, 0, reg);
                Ok(())
            }
            _ => self.lanes_insert(instruction, vector, element, index),
        }
    }

    /// Whether a constant is undefined altogether.
    fn is_undefined(&self, value: ValueId) -> bool {
        use kiln_bitcode::Constant;
        matches!(self.constant(value), Some(Constant::Undef | Constant::Poison))
    }

    #[inline(never)]
    pub(crate) fn shuffle(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        mask: ValueId,
    ) -> Result<()> {
        let source = self.ty(left);
        if let Some(lanes) = self.mask_lanes(source) {
            return self.shuffle_bits(instruction, [left, right], mask, lanes);
        }
        let shape = self.any_shape(source)?;
        let to = self.any_shape(self.body.result_type(instruction))?;
        let single = self.part_count(source)? == 1 && self.part_count(self.body.result_type(instruction))? == 1;
        let mut order = [0u32; 4];
        if single && shape.lane_bytes >= 4 && to.lanes <= 4 {
            let mut from_left = true;
            for lane in 0..to.lanes {
                // A lane that may be anything counts as lane 0.
                let index = self.lane_constant(mask, lane).unwrap_or(0) as u32;
                let index = if index == u32::MAX { 0 } else { index };
                from_left &= index < shape.lanes;
                order[lane as usize] = index;
            }
            if from_left {
                let control = if shape.lane_bytes == 4 {
                    order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6
                } else {
                    let pair = |lane: u32| (2 * lane) | ((2 * lane + 1) << 2);
                    pair(order[0]) | pair(order[1]) << 4
                };
                let result = self.result(instruction)?;
                let from = self.read_xmm(left, 0)?;
                let reg = self.alloc_xmm()?;
                self.asm.rr_i8(PSHUFD, reg.0, from.0, control as u8);
                self.bind_xmm(result, 0, reg);
                return Ok(());
            }
        }
        self.lanes_shuffle(instruction, left, right, mask)
    }

    /// A place in the function's memory for lanes.
    pub(crate) fn lane_mem(&mut self, area: usize, byte: u32) -> Mem {
        let start = match self.lane_areas[area] {
            0 => {
                self.lane_areas[area] = self.frame.object(128, 16);
                self.lane_areas[area]
            }
            start => start,
        };
        Mem::frame(start + byte as i32)
    }
}

/// How a comparison of vectors is made.
struct Plan {
    op: Compare,
    swap: bool,
    invert: bool,
}

enum Compare {
    /// The predicate of `cmpps`.
    Float(u8),
    /// `pcmpeq` or `pcmpgt`, of numbers with their sign bits turned if `bias`.
    Integer { opcode: u8, bias: bool },
}

fn float_plan(predicate: u8) -> Option<Plan> {
    let (code, swap) = match predicate {
        1 => (0, false),
        2 => (1, true),
        3 => (2, true),
        4 => (1, false),
        5 => (2, false),
        7 => (7, false),
        8 => (3, false),
        10 => (6, false),
        11 => (5, false),
        12 => (6, true),
        13 => (5, true),
        14 => (4, false),
        _ => return None,
    };
    Some(Plan { op: Compare::Float(code), swap, invert: false })
}

fn integer_plan(predicate: u8, lane_bytes: u8) -> Option<Plan> {
    let (equal, greater) = match lane_bytes {
        1 => (0x74, Some(0x64)),
        2 => (0x75, Some(0x65)),
        4 => (0x76, Some(0x66)),
        _ => (0x76, None),
    };
    let order = |swap, invert, bias| greater.map(|opcode| Plan { op: Compare::Integer { opcode, bias }, swap, invert });
    let equality = |invert| Some(Plan { op: Compare::Integer { opcode: equal, bias: false }, swap: false, invert });
    match predicate {
        32 => equality(false),
        33 => equality(true),
        34 => order(false, false, true),
        35 => order(true, true, true),
        36 => order(true, false, true),
        37 => order(false, true, true),
        38 => order(false, false, false),
        39 => order(true, true, false),
        40 => order(true, false, false),
        41 => order(false, true, false),
        _ => None,
    }
}

/// `lane` in all lanes of 16 bytes.
pub(crate) fn repeat(lane: u64, lane_bytes: u8) -> u128 {
    let mut all = 0u128;
    for at in 0..16 / u32::from(lane_bytes) {
        all |= u128::from(lane) << (at * u32::from(lane_bytes) * 8);
    }
    all
}
