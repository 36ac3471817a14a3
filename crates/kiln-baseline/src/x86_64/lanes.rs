//! Operations on vectors lane by lane, through memory: slow, and for whatever SSE2 has no instruction for.

use kiln_bitcode::{Instruction, Opcode, Type, TypeId, ValueId};

use super::arithmetic::integer_condition;
use super::encoder::{Alu, Cond, Gpr, Mem, Op, RAX, RCX, RDX, Shift, Xmm};
use super::floats::sse;
use super::generator::{Generator, Result};
use super::operands::Bits;
use super::parts::Shape;
use super::registers::{SCRATCH, XMM0};
use crate::compiler::Unsupported;

impl Generator<'_> {
    /// Puts all lanes of `value` into memory.
    pub(crate) fn store_lanes(&mut self, value: ValueId, area: usize) -> Result<()> {
        let ty = self.ty(value);
        for at in 0..self.type_parts(ty)?.1 {
            let reg = self.read_xmm(value, at)?;
            let mem = self.lane_mem(area, 16 * at);
            self.asm.store_xmm(&mem, reg, 16);
            self.release_pin(reg.0 + XMM0);
        }
        Ok(())
    }

    /// Makes what is in memory the result.
    pub(crate) fn load_lanes(&mut self, result: ValueId, ty: TypeId, area: usize) -> Result<()> {
        for at in 0..self.type_parts(ty)?.1 {
            let reg = self.alloc_xmm()?;
            let mem = self.lane_mem(area, 16 * at);
            self.asm.load_xmm(reg, &mem, 16);
            self.bind_or_drop(result, at, reg.0 + XMM0);
        }
        Ok(())
    }

    pub(crate) fn lane(&mut self, area: usize, lane: u32, shape: Shape) -> Mem {
        self.lane_mem(area, lane * u32::from(shape.lane_bytes))
    }

    /// Loads an integer lane, extended to 64 bits.
    fn load_lane(&mut self, to: Gpr, mem: &Mem, bytes: u8, signed: bool) {
        match (signed, bytes) {
            (false, _) | (_, 8) => self.asm.load(to, mem, bytes),
            (_, 1) => self.asm.rm(Op::two(0xbe).w(), to.0, mem),
            (_, 2) => self.asm.rm(Op::two(0xbf).w(), to.0, mem),
            _ => self.asm.rm(Op::one(0x63).w(), to.0, mem),
        }
    }

    /// Adds `amount` to all lanes of pointers in area 0.
    fn add_to_lanes(&mut self, amount: Gpr, shape: Shape) {
        for lane in 0..shape.lanes {
            let to = self.lane(0, lane, shape);
            self.asm.alu_mr(Alu::Add, &to, amount, 8);
        }
    }

    /// A `getelementptr` of vectors: a pointer or an index that is a scalar counts for all lanes.
    pub(crate) fn lanes_gep(&mut self, instruction: &Instruction) -> Result<()> {
        let damaged = || Box::new(Unsupported::Instruction("a damaged getelementptr"));
        let body = self.body;
        let operands = body.operands(instruction);
        let shape = self.shape(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let base = ValueId(operands[0]);
        if matches!(self.module.ty(self.ty(base)), Type::Vector { .. }) {
            self.store_lanes(base, 0)?;
        } else {
            let from = self.read_gpr(base, 0)?;
            for lane in 0..shape.lanes {
                let to = self.lane(0, lane, shape);
                self.asm.store(&to, from, 8);
            }
        }
        let amount = self.alloc_gpr()?;
        let mut ty = TypeId(instruction.aux());
        let mut offset = 0i64;
        for (at, index) in operands[1..].iter().enumerate() {
            let index = ValueId(*index);
            let index_type = self.ty(index);
            if at > 0
                && let Type::Struct { fields, .. } = self.module.ty(ty)
            {
                // A vector of equal numbers does as well.
                let part = self.part_type(index_type, 0)?;
                let Bits::Number(field) = self.constant_bits(index, part)? else { return Err(damaged()) };
                let field = field as u32 as usize;
                let start = self.module.field_offsets(ty).get(field).ok_or_else(damaged)?;
                offset = offset.wrapping_add(*start as i64);
                ty = fields[field];
                continue;
            }
            if at > 0 {
                ty = match self.module.ty(ty) {
                    Type::Array { element, .. } => *element,
                    _ => return Err(Box::new(Unsupported::Instruction("getelementptr into vectors, of vectors"))),
                };
            }
            let stride = self.size_of(ty)?;
            if let Some(number) = self.signed_number(index) {
                offset = offset.wrapping_add(number.wrapping_mul(stride as i64));
            } else if matches!(self.module.ty(index_type), Type::Vector { .. }) {
                let from = self.shape(index_type)?;
                self.store_lanes(index, 1)?;
                for lane in 0..shape.lanes {
                    let place = self.lane(1, lane, from);
                    self.load_lane(amount, &place, from.lane_bytes, true);
                    self.scale(amount, stride)?;
                    let to = self.lane(0, lane, shape);
                    self.asm.alu_mr(Alu::Add, &to, amount, 8);
                }
            } else {
                let scaled = self.take_sign_extended(index, 0, true)?;
                self.scale(scaled, stride)?;
                self.add_to_lanes(scaled, shape);
                self.unhold(scaled.0);
            }
        }
        if offset != 0 {
            self.asm.mov_imm(amount, offset as u64);
            self.add_to_lanes(amount, shape);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    pub(crate) fn lanes_binary(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let shape = self.shape(self.body.result_type(instruction))?;
        for reg in [RAX, RCX, RDX] {
            self.claim(reg.0)?;
        }
        let result = self.result(instruction)?;
        self.store_lanes(left, 0)?;
        self.store_lanes(right, 1)?;
        let bytes = shape.lane_bytes;
        let wide = bytes == 8;
        let width = if wide { 8 } else { 4 };
        let signed = matches!(instruction.opcode, Opcode::AShr | Opcode::SDiv | Opcode::SRem);
        for lane in 0..shape.lanes {
            let (a, b) = (self.lane(0, lane, shape), self.lane(1, lane, shape));
            self.load_lane(RAX, &a, bytes, signed);
            self.load_lane(RCX, &b, bytes, signed);
            let from = match instruction.opcode {
                Opcode::Mul => {
                    self.asm.imul(RAX, RCX, wide);
                    RAX
                }
                Opcode::Shl => {
                    self.asm.shift_cl(Shift::Shl, RAX, width);
                    RAX
                }
                Opcode::LShr => {
                    self.asm.shift_cl(Shift::Shr, RAX, width);
                    RAX
                }
                Opcode::AShr => {
                    self.asm.shift_cl(Shift::Sar, RAX, width);
                    RAX
                }
                Opcode::UDiv | Opcode::URem => {
                    self.asm.alu_rr(Alu::Xor, RDX, RDX, 4);
                    self.asm.unary(6, RCX, width);
                    if instruction.opcode == Opcode::UDiv { RAX } else { RDX }
                }
                Opcode::SDiv | Opcode::SRem => {
                    self.asm.raw(if wide { &[0x48, 0x99] } else { &[0x99] });
                    self.asm.unary(7, RCX, width);
                    if instruction.opcode == Opcode::SDiv { RAX } else { RDX }
                }
                _ => return Err(Box::new(Unsupported::Instruction("arithmetic on vectors"))),
            };
            self.asm.store(&a, from, bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    pub(crate) fn lanes_compare(&mut self, instruction: &Instruction, left: ValueId, right: ValueId) -> Result<()> {
        let ty = self.ty(left);
        let shape = self.shape(ty)?;
        if instruction.opcode == Opcode::FCmp {
            return self.lanes_compare_floats(instruction, left, right, shape);
        }
        let result = self.result(instruction)?;
        let cond = integer_condition(instruction.sub)?;
        let (mask, value) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.store_lanes(left, 0)?;
        self.store_lanes(right, 1)?;
        self.asm.mov_imm(mask, 0);
        for lane in 0..shape.lanes {
            let (a, b) = (self.lane(0, lane, shape), self.lane(1, lane, shape));
            self.asm.load(value, &a, shape.lane_bytes);
            self.asm.alu_rm(Alu::Cmp, value, &b, shape.lane_bytes);
            self.asm.setcc(cond, SCRATCH);
            self.asm.movzx(SCRATCH, SCRATCH, 1);
            self.asm.shift_imm(Shift::Shl, SCRATCH, lane as u8, 8);
            self.asm.alu_rr(Alu::Or, mask, SCRATCH, 8);
        }
        self.bind(result, 0, mask.0);
        Ok(())
    }

    /// `one` and `ueq`, which are two of the machine's comparisons: the flags of a scalar one tell both.
    fn lanes_compare_floats(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        shape: Shape,
    ) -> Result<()> {
        let cond = match instruction.sub {
            6 => Cond::NE,
            9 => Cond::E,
            _ => return Err(Box::new(Unsupported::Instruction("fcmp with a constant result"))),
        };
        let result = self.result(instruction)?;
        let (mask, value) = (self.alloc_gpr()?, self.alloc_xmm()?);
        self.store_lanes(left, 0)?;
        self.store_lanes(right, 1)?;
        self.asm.mov_imm(mask, 0);
        let op = if shape.lane_bytes == 4 { Op::two(0x2e) } else { Op::two(0x2e).p66() };
        for lane in 0..shape.lanes {
            let (a, b) = (self.lane(0, lane, shape), self.lane(1, lane, shape));
            self.asm.load_xmm(value, &a, shape.lane_bytes);
            self.asm.rm(op, value.0, &b);
            self.asm.setcc(cond, SCRATCH);
            self.asm.movzx(SCRATCH, SCRATCH, 1);
            self.asm.shift_imm(Shift::Shl, SCRATCH, lane as u8, 8);
            self.asm.alu_rr(Alu::Or, mask, SCRATCH, 8);
        }
        self.bind(result, 0, mask.0);
        Ok(())
    }

    pub(crate) fn lanes_extreme(&mut self, base: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<()> {
        let shape = self.shape(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        let (a, b) = (self.alloc_gpr()?, self.alloc_gpr()?);
        self.store_lanes(ValueId(operands[0]), 0)?;
        let absolute = base == b"abs";
        if !absolute {
            self.store_lanes(ValueId(operands[1]), 1)?;
        }
        let signed = absolute || base[0] == b's';
        for lane in 0..shape.lanes {
            let place = self.lane(0, lane, shape);
            self.load_lane(a, &place, shape.lane_bytes, signed);
            if absolute {
                self.asm.mov(b, a);
                self.asm.unary(3, b, 8);
                self.asm.cmov(Cond::S, b, a, true);
                self.asm.store(&place, b, shape.lane_bytes);
                continue;
            }
            let other = self.lane(1, lane, shape);
            self.load_lane(b, &other, shape.lane_bytes, signed);
            self.asm.alu_rr(Alu::Cmp, b, a, 8);
            let cond = match base {
                b"umin" => Cond::B,
                b"umax" => Cond::A,
                b"smin" => Cond::L,
                _ => Cond::G,
            };
            self.asm.cmov(cond, a, b, true);
            self.asm.store(&place, a, shape.lane_bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    pub(crate) fn lanes_convert(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let source = self.ty(value);
        let (from, to) = (self.shape(source)?, self.shape(self.body.result_type(instruction))?);
        let result = self.result(instruction)?;
        let reg = self.alloc_gpr()?;
        let xmm = self.alloc_xmm()?;
        self.store_lanes(value, 0)?;
        for lane in 0..from.lanes {
            let (a, b) = (self.lane(0, lane, from), self.lane(1, lane, to));
            match instruction.opcode {
                Opcode::Trunc | Opcode::ZExt => {
                    self.load_lane(reg, &a, from.lane_bytes, false);
                    self.asm.store(&b, reg, to.lane_bytes);
                }
                Opcode::SExt => {
                    self.load_lane(reg, &a, from.lane_bytes, true);
                    self.asm.store(&b, reg, to.lane_bytes);
                }
                Opcode::SiToFp => {
                    self.load_lane(reg, &a, from.lane_bytes, true);
                    self.clear(xmm);
                    self.asm.rr(sse(0x2a, to.lane_bytes).w(), xmm.0, reg.0);
                    self.asm.store_xmm(&b, xmm, to.lane_bytes);
                }
                Opcode::UiToFp if from.lane_bytes < 8 => {
                    self.load_lane(reg, &a, from.lane_bytes, false);
                    self.clear(xmm);
                    self.asm.rr(sse(0x2a, to.lane_bytes).w(), xmm.0, reg.0);
                    self.asm.store_xmm(&b, xmm, to.lane_bytes);
                }
                Opcode::FpToSi => {
                    let wide = to.lane_bytes == 8;
                    self.asm.rm(sse(0x2c, from.lane_bytes).w_if(wide), reg.0, &a);
                    self.asm.store(&b, reg, to.lane_bytes);
                }
                Opcode::FpExt | Opcode::FpTrunc if from.lane_bytes != to.lane_bytes => {
                    self.clear(xmm);
                    self.asm.rm(sse(0x5a, from.lane_bytes), xmm.0, &a);
                    self.asm.store_xmm(&b, xmm, to.lane_bytes);
                }
                _ => return Err(Box::new(Unsupported::Instruction("conversion of vectors"))),
            }
        }
        self.load_lanes(result, self.body.result_type(instruction), 1)
    }

    /// The place of a lane whose number is known at run time only: within the area whatever it is.
    fn lane_at(&mut self, index: ValueId, shape: Shape) -> Result<Mem> {
        let reg = self.take_zero_extended(index, 0)?;
        let lanes = 128 / i32::from(shape.lane_bytes);
        self.asm.alu_ri(Alu::And, reg, lanes - 1, 4);
        let start = self.lane_mem(0, 0);
        Ok(Mem { index: Some((reg, shape.lane_bytes.trailing_zeros() as u8)), ..start })
    }

    pub(crate) fn lanes_extract(&mut self, instruction: &Instruction, vector: ValueId, index: ValueId) -> Result<()> {
        let ty = self.ty(vector);
        let shape = self.shape(ty)?;
        let result = self.result(instruction)?;
        self.store_lanes(vector, 0)?;
        let mem = self.lane_at(index, shape)?;
        if shape.float {
            let to = self.alloc_xmm()?;
            self.asm.load_xmm(to, &mem, shape.lane_bytes);
            self.bind_xmm(result, 0, to);
        } else {
            let to = self.alloc_gpr()?;
            self.asm.load(to, &mem, shape.lane_bytes);
            self.bind(result, 0, to.0);
        }
        Ok(())
    }

    pub(crate) fn lanes_insert(
        &mut self,
        instruction: &Instruction,
        vector: ValueId,
        element: ValueId,
        index: ValueId,
    ) -> Result<()> {
        let shape = self.shape(self.body.result_type(instruction))?;
        let result = self.result(instruction)?;
        self.store_lanes(vector, 0)?;
        let mem = match self.number(index) {
            Some(lane) if lane < u64::from(shape.lanes) => self.lane(0, lane as u32, shape),
            _ => self.lane_at(index, shape)?,
        };
        if shape.float {
            let from: Xmm = self.read_xmm(element, 0)?;
            self.asm.store_xmm(&mem, from, shape.lane_bytes);
        } else {
            let from = self.read_gpr(element, 0)?;
            self.asm.store(&mem, from, shape.lane_bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 0)
    }

    pub(crate) fn lanes_shuffle(
        &mut self,
        instruction: &Instruction,
        left: ValueId,
        right: ValueId,
        mask: ValueId,
    ) -> Result<()> {
        let source = self.ty(left);
        let (from, to) = (self.any_shape(source)?, self.any_shape(self.body.result_type(instruction))?);
        let result = self.result(instruction)?;
        if from.lane_bytes != to.lane_bytes {
            return Err(Box::new(Unsupported::Instruction("an unusual shufflevector")));
        }
        let mut order = Vec::with_capacity(to.lanes as usize);
        for lane in 0..to.lanes {
            let index = self.lane_constant(mask, lane);
            order.push(index.ok_or_else(|| Box::new(Unsupported::Instruction("an unusual shufflevector")))? as u32);
        }
        self.store_lanes(left, 0)?;
        if order.iter().any(|index| (from.lanes..2 * from.lanes).contains(index)) {
            self.store_lanes(right, 1)?;
        }
        let reg = self.alloc_gpr()?;
        let mut lane = 0;
        while lane < to.lanes {
            let index = order[lane as usize];
            if index >= 2 * from.lanes {
                // Anything.
                lane += 1;
                continue;
            }
            let (area, start) = if index < from.lanes { (0, index) } else { (1, index - from.lanes) };
            // Neighbours that stay neighbours travel together.
            let mut run = 1;
            while lane + run < to.lanes
                && order[(lane + run) as usize] == index + run
                && start + run < from.lanes
                && run * u32::from(to.lane_bytes) < 8
            {
                run += 1;
            }
            let bytes = run * u32::from(to.lane_bytes);
            let piece = 1 << (31 - bytes.leading_zeros());
            let source = self.lane(area, start, from);
            let target = self.lane(2, lane, to);
            self.asm.load(reg, &source, piece as u8);
            self.asm.store(&target, reg, piece as u8);
            lane += piece / u32::from(to.lane_bytes);
        }
        self.load_lanes(result, self.body.result_type(instruction), 2)
    }

    /// `vector.reduce.*`; whether it is one that is known.
    pub(crate) fn reduce(&mut self, base: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<bool> {
        let Some(operation) = base.strip_prefix(b"vector.reduce.") else { return Ok(false) };
        let vector = ValueId(operands[operands.len() - 1]);
        let ty = self.ty(vector);
        if let Some(lanes) = self.mask_lanes(ty) {
            let all = if lanes == 64 { u64::MAX } else { (1 << lanes) - 1 };
            let cond = match operation {
                b"or" | b"umax" | b"smin" => Cond::NE,
                b"and" | b"umin" | b"smax" => Cond::E,
                _ => return Ok(false),
            };
            let result = self.result(instruction)?;
            let reg = self.take_zero_extended(vector, 0)?;
            let flag = self.alloc_gpr()?;
            if cond == Cond::NE {
                self.asm.test(reg, reg, 8);
            } else {
                self.asm.mov_imm(flag, all);
                self.asm.alu_rr(Alu::Cmp, reg, flag, 8);
            }
            self.asm.setcc(cond, flag);
            self.bind(result, 0, flag.0);
            return Ok(true);
        }
        let shape = self.shape(ty)?;
        if shape.float {
            let opcode = match operation {
                b"fadd" => 0x58,
                b"fmul" => 0x59,
                _ => return Ok(false),
            };
            let result = self.result(instruction)?;
            self.store_lanes(vector, 0)?;
            let reg = self.take_xmm(ValueId(operands[0]), 0)?;
            for lane in 0..shape.lanes {
                let mem = self.lane(0, lane, shape);
                self.asm.rm(sse(opcode, shape.lane_bytes), reg.0, &mem);
            }
            self.bind_xmm(result, 0, reg);
            return Ok(true);
        }
        let signed = matches!(operation, b"smin" | b"smax");
        let (sum, next) = (self.alloc_gpr()?, self.alloc_gpr()?);
        let result = self.result(instruction)?;
        self.store_lanes(vector, 0)?;
        for lane in 0..shape.lanes {
            let mem = self.lane(0, lane, shape);
            if lane == 0 {
                self.load_lane(sum, &mem, shape.lane_bytes, signed);
                continue;
            }
            self.load_lane(next, &mem, shape.lane_bytes, signed);
            let cond = match operation {
                b"umin" => Cond::B,
                b"umax" => Cond::A,
                b"smin" => Cond::L,
                b"smax" => Cond::G,
                b"mul" => {
                    self.asm.imul(sum, next, true);
                    continue;
                }
                _ => {
                    let alu = match operation {
                        b"add" => Alu::Add,
                        b"and" => Alu::And,
                        b"or" => Alu::Or,
                        b"xor" => Alu::Xor,
                        _ => return Ok(false),
                    };
                    self.asm.alu_rr(alu, sum, next, 8);
                    continue;
                }
            };
            self.asm.alu_rr(Alu::Cmp, next, sum, 8);
            self.asm.cmov(cond, sum, next, true);
        }
        self.bind(result, 0, sum.0);
        Ok(true)
    }
}
