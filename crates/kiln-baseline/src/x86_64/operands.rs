//! Operands: values and constants as registers, memory operands and immediates.

use std::num::NonZeroU64;

use kiln_abi::symbol::Id;
use kiln_bitcode::{
    AliasKind, Constant, ConstantId, GlobalRef, Instruction, Linkage, ThreadLocal, Type, TypeId, ValueId, Visibility,
};
use kiln_link::RelocationKind;

use super::encoder::{Alu, Base, Gpr, Mem, Op, RBP, Shift, Target, Xmm};
use super::generator::{Generator, Result, label_at};
use super::part_array::Part;
use super::parts::{Bank, PartType};
use super::registers::{NO_REG, XMM0};
use super::symbols::Name;
use super::values::Place;
use crate::compiler::Unsupported;
use crate::evaluate::{self, Value};

/// What a constant part is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bits {
    Number(u128),
    Address {
        base: GlobalRef,
        offset: i64,
    },
    /// `plus - minus + offset`
    Difference {
        plus: GlobalRef,
        minus: GlobalRef,
        offset: i64,
    },
    /// The address of a block of this function.
    Label(u32),
}

/// The right operand of an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right {
    Reg(Gpr),
    Mem(Mem),
    Imm(i32),
}

/// An instruction names a variable whose address is not known yet: the function is compiled anew, and begins with finding out.
pub(super) const THREAD_LOCAL: &str = "a thread-local variable";

impl Generator<'_> {
    // ---- constants ----------------------------------------------------------------------------------------------

    pub(crate) fn constant(&self, value: ValueId) -> Option<Constant<'_>> {
        self.body.constant(self.module, value)
    }

    /// The number that `value` is, if it is a constant integer of at most 64 bits; bits above its type's are zero.
    pub(crate) fn number(&self, value: ValueId) -> Option<u64> {
        self.body.number(self.module, value)
    }

    /// The same, sign-extended from the width of its type.
    pub(crate) fn signed_number(&self, value: ValueId) -> Option<i64> {
        let number = self.number(value)?;
        let bits = self.integer_bits(self.ty(value))?;
        Some(sign_extend(number, bits))
    }

    /// What part `part` of the constant `value` is.
    pub(crate) fn constant_bits(&self, value: ValueId, part: PartType) -> Result<Bits> {
        self.leaf(ConstantId(value.0), u64::from(part.offset), u64::from(part.store))
    }

    /// `bytes` bytes at `offset` of the constant `value` in memory.
    pub(crate) fn constant_bytes(&self, value: ValueId, offset: u64, bytes: u64) -> Result<Bits> {
        self.leaf(ConstantId(value.0), offset, bytes)
    }

    /// `bytes` bytes at `offset` of the constant `id` in memory.
    fn leaf(&self, id: ConstantId, offset: u64, bytes: u64) -> Result<Bits> {
        let what = |what| Err(Box::new(Unsupported::Constant(what)));
        let Some(constant) = self.constant(ValueId(id.0)) else { return what("a damaged constant") };
        let ty = self.constant_type(id);
        let data = |all: &[u8]| {
            let mut image = [0u8; 16];
            for (at, byte) in image.iter_mut().take(bytes as usize).enumerate() {
                let at = offset as usize + at;
                *byte = all.get(at).copied().unwrap_or(0);
            }
            Ok(Bits::Number(u128::from_le_bytes(image)))
        };
        match constant {
            Constant::Null | Constant::Undef | Constant::Poison => Ok(Bits::Number(0)),
            Constant::Int(number) => Ok(Bits::Number(u128::from(number))),
            Constant::WideInt(words) => {
                let at = offset as usize / 8;
                Ok(Bits::Number(u128::from(words.get(at).copied().unwrap_or(0))))
            }
            Constant::Float(bits) => Ok(Bits::Number(bits >> (8 * offset.min(15)))),
            Constant::Data(all) => data(all),
            Constant::String { bytes: all, .. } => data(all),
            Constant::Aggregate(elements) => match self.module.ty(ty) {
                Type::Struct { fields, .. } => {
                    let starts = self.module.field_offsets(ty);
                    for ((element, field), start) in elements.iter().zip(fields.iter()).zip(starts) {
                        let size = self.module.layout_of(*field).map_or(0, |layout| layout.store_size);
                        if offset >= *start && offset + bytes <= start + size {
                            return self.leaf(*element, offset - start, bytes);
                        }
                    }
                    what("a part of a structure")
                }
                Type::Array { element, .. } => {
                    let stride = self.module.layout_of(*element).map_or(1, |layout| layout.size.max(1));
                    let Some(inner) = elements.get((offset / stride) as usize) else { return what("a damaged array") };
                    self.leaf(*inner, offset % stride, bytes)
                }
                Type::Vector { element, .. } if *self.module.ty(*element) == Type::Integer(1) => {
                    let mut number = 0u128;
                    for (lane, inner) in elements.iter().enumerate() {
                        match self.leaf(*inner, 0, 1)? {
                            Bits::Number(bits) => number |= (bits & 1) << lane,
                            _ => return what("a vector of addresses"),
                        }
                    }
                    Ok(Bits::Number(number))
                }
                Type::Vector { element, .. } => {
                    let stride = self.module.layout_of(*element).map_or(1, |layout| layout.size.max(1));
                    if bytes == stride
                        && let Some(inner) = elements.get((offset / stride) as usize)
                    {
                        return self.leaf(*inner, 0, stride);
                    }
                    let mut number = 0u128;
                    for lane in 0..bytes / stride {
                        let Some(inner) = elements.get((offset / stride + lane) as usize) else {
                            return what("a damaged vector");
                        };
                        match self.leaf(*inner, 0, stride)? {
                            Bits::Number(bits) => number |= bits << (8 * lane * stride),
                            _ => return what("a vector of addresses"),
                        }
                    }
                    Ok(Bits::Number(number))
                }
                _ => what("an aggregate of no aggregate type"),
            },
            Constant::BlockAddress { function, block } if function == self.function => Ok(Bits::Label(block)),
            Constant::BlockAddress { .. } => what("a label address of another function"),
            _ => {
                let bits = self.module.layout_of(ty).map_or(64, |layout| layout.bits);
                match evaluate::evaluate_in(&(self.module, self.body), id) {
                    Ok(Value::Number(number)) => {
                        let number = evaluate::zero_extend(number, bits) as u128;
                        Ok(Bits::Number(number >> (8 * offset.min(8))))
                    }
                    // Of a narrower one, the bits above are garbage as in all registers.
                    Ok(Value::Address { base, offset }) if bits <= 64 => Ok(Bits::Address { base, offset }),
                    Ok(Value::Difference { plus, minus, offset }) if bits <= 64 => {
                        Ok(Bits::Difference { plus, minus, offset })
                    }
                    _ => what("a constant expression"),
                }
            }
        }
    }

    // ---- symbols ------------------------------------------------------------------------------------------------

    pub(crate) fn symbol(&mut self, base: GlobalRef) -> Target {
        let id = match base {
            GlobalRef::Function(id) => Id::Function(id),
            GlobalRef::Global(id) => Id::Global(id),
            GlobalRef::Alias(id) => Id::Alias(id.0),
        };
        let weak = self.module.symbol(base).linkage == Linkage::ExternWeak;
        Target::Symbol(self.symbols.add(if weak { Name::Weak(id) } else { Name::Module(id) }))
    }

    pub(crate) fn library(&mut self, name: &'static str) -> Target {
        Target::Symbol(self.symbols.add(Name::Library(name)))
    }

    /// Whether `base` lies within reach of the code whatever else is loaded: a variable of this module that no other
    /// definition replaces.
    fn is_near(&self, base: GlobalRef) -> bool {
        let GlobalRef::Global(id) = base else { return false };
        let global = self.module.global(id);
        if global.is_declaration() || self.module.block_address_owner(id).is_some() {
            return false;
        }
        let symbol = &global.symbol;
        match symbol.linkage {
            Linkage::Internal | Linkage::Private => true,
            Linkage::External => symbol.visibility != Visibility::Default || symbol.dso_local,
            _ => false,
        }
    }

    pub(crate) fn is_thread_local(&self, base: GlobalRef) -> bool {
        match base {
            GlobalRef::Global(id) => self.module.global(id).thread_local != ThreadLocal::None,
            GlobalRef::Alias(id) => {
                self.module.alias(id).kind == AliasKind::Alias
                    && self.module.alias(id).thread_local != ThreadLocal::None
            }
            GlobalRef::Function(_) => false,
        }
    }

    /// `base + offset` as a memory operand; through a register where only the linker's table reaches it.
    fn global_mem(&mut self, base: GlobalRef, offset: i64) -> Result<Mem> {
        if self.is_thread_local(base) {
            let reg = self.alloc_gpr()?;
            self.load_address(reg, base, offset)?;
            return Ok(Mem::reg(reg, 0));
        }
        let target = self.symbol(base);
        let small = i32::try_from(offset).ok().filter(|o| o.unsigned_abs() < 1 << 24);
        match small {
            Some(offset) if self.is_near(base) => Ok(Mem::rip(target, RelocationKind::PC32, offset)),
            _ => {
                let reg = self.alloc_gpr()?;
                self.load_got(reg, target);
                match small {
                    Some(offset) => Ok(Mem::reg(reg, offset)),
                    None => {
                        let far = self.alloc_gpr()?;
                        self.asm.mov_imm(far, offset as u64);
                        self.asm.alu_rr(Alu::Add, reg, far, 8);
                        Ok(Mem::reg(reg, 0))
                    }
                }
            }
        }
    }

    pub(crate) fn load_got(&mut self, to: Gpr, target: Target) {
        self.asm.rm(Op::one(0x8b).w(), to.0, &Mem::rip(target, RelocationKind::REX_GOTPCRELX, 0));
    }

    /// Puts `base + offset` into `to` without touching flags.
    pub(crate) fn load_address(&mut self, to: Gpr, base: GlobalRef, offset: i64) -> Result<()> {
        let Some(small) = i32::try_from(offset).ok().filter(|o| o.unsigned_abs() < 1 << 24) else {
            return self.load_far_address(to, base, offset);
        };
        if self.is_thread_local(base) {
            let known = self.thread_locals.iter().find(|(known, _)| *known == base);
            let Some((_, slot)) = known else {
                self.wanted_thread_local = Some(base);
                return Err(Box::new(Unsupported::Constant(THREAD_LOCAL)));
            };
            let slot = *slot;
            self.asm.load(to, &Mem::frame(slot), 8);
            if small != 0 {
                self.asm.lea(to, &Mem::reg(to, small));
            }
            return Ok(());
        }
        let target = self.symbol(base);
        if self.is_near(base) {
            self.asm.lea(to, &Mem::rip(target, RelocationKind::PC32, small));
        } else {
            self.load_got(to, target);
            if small != 0 {
                self.asm.lea(to, &Mem::reg(to, small));
            }
        }
        Ok(())
    }

    // ---- registers ----------------------------------------------------------------------------------------------

    /// Loads a constant part into register `to`.
    pub(crate) fn load_bits(&mut self, to: u8, bits: Bits, part: PartType) -> Result<()> {
        match (bits, part.bank) {
            (Bits::Number(number), Bank::Gpr) => self.asm.mov_imm(Gpr(to), number as u64),
            (Bits::Number(0), Bank::Xmm) => {
                let reg = to - XMM0;
                self.asm.rr(Op::two(0x57), reg, reg);
            }
            (Bits::Number(number), Bank::Xmm) => {
                let size = part.bytes;
                let at = self.pool.add(number, size);
                let mem = Mem::rip(Target::Pool(at), RelocationKind::PC32, 0);
                self.asm.load_xmm(Xmm(to - XMM0), &mem, part.bytes);
            }
            (Bits::Address { base, offset }, Bank::Gpr) => self.load_address(Gpr(to), base, offset)?,
            (Bits::Label(block), Bank::Gpr) => match self.flow.position[block as usize] {
                // LLVM's address of a block that is not there.
                crate::analysis::NONE => self.asm.mov_imm(Gpr(to), 1),
                position => {
                    let target = Target::Label(label_at(position));
                    self.asm.lea(Gpr(to), &Mem::rip(target, RelocationKind::PC32, 0));
                }
            },
            (Bits::Difference { plus, minus, offset }, Bank::Gpr) => {
                self.load_difference(Gpr(to), plus, minus, offset)?;
            }
            (_, Bank::Xmm) => return Err(Box::new(Unsupported::Constant("an address in a vector"))),
        }
        Ok(())
    }

    /// Puts part `at` of `value` into the temporary `to`, which must not hold anything else.
    #[inline]
    pub(crate) fn load_into(&mut self, to: u8, value: ValueId, at: u32) -> Result<()> {
        if let Place::Parts(first) = self.place_of(value)
            && let Part { reg, bytes, .. } = self.parts[(first + at) as usize]
            && reg != NO_REG
        {
            self.copy_register(to, reg, bytes);
            return Ok(());
        }
        self.load_other(to, value, at)
    }

    /// The same of what is in no register.
    pub(crate) fn load_other(&mut self, to: u8, value: ValueId, at: u32) -> Result<()> {
        match self.place_of(value) {
            Place::Parts(first) => {
                let part = first + at;
                let known = self.parts[part as usize];
                if !known.stored {
                    return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
                }
                self.load_slot(to, known.slot, known.bytes);
            }
            Place::Nowhere => return self.load_constant(to, value, at),
            Place::Frame(disp) => self.asm.lea(Gpr(to), &Mem::frame(disp)),
            Place::Deferred(index) => self.load_deferred(Gpr(to), index)?,
            Place::Variable(_) => return Err(Box::new(Unsupported::Instruction("the address of a register"))),
        }
        Ok(())
    }

    /// The same of a constant.
    fn load_constant(&mut self, to: u8, value: ValueId, at: u32) -> Result<()> {
        if !self.body.is_constant(value) {
            return Err(Box::new(Unsupported::Instruction("a use of a value before its definition")));
        }
        if to < XMM0
            && at == 0
            && let Some(number) = self.number(value)
        {
            self.asm.mov_imm(Gpr(to), number);
            return Ok(());
        }
        let ty = self.ty(value);
        let part = self.part_type(ty, at)?;
        match (self.constant_bits(value, part), part.bank) {
            (Ok(bits), Bank::Gpr) | (Ok(bits @ Bits::Number(_)), _) => self.load_bits(to, bits, part),
            (_, Bank::Xmm) => self.load_address_lanes(Xmm(to - XMM0), value, part),
            (Err(what), _) => Err(what),
        }
    }

    fn bank_of(&mut self, value: ValueId, at: u32) -> Result<Bank> {
        let ty = self.ty(value);
        if self.known.types.word(ty) != 0 {
            return Ok(Bank::Gpr);
        }
        Ok(self.part_type(ty, at)?.bank)
    }

    /// A register that holds part `at` of `value`, not to be changed.
    #[inline(always)]
    pub(crate) fn read(&mut self, value: ValueId, at: u32) -> Result<u8> {
        self.read_raw(value, at).map(|reg| reg as u8)
    }

    fn read_raw(&mut self, value: ValueId, at: u32) -> Result<usize> {
        if let Some(part) = self.part_of(value, at) {
            return self.part_register(part).map(usize::from);
        }
        let bank = self.bank_of(value, at)?;
        let reg = self.alloc(bank)?;
        self.load_into(reg, value, at)?;
        Ok(usize::from(reg))
    }

    /// A temporary that holds part `at` of `value`, to be changed.
    #[inline(always)]
    pub(crate) fn take(&mut self, value: ValueId, at: u32) -> Result<u8> {
        self.take_raw(value, at).map(|reg| reg as u8)
    }

    fn take_raw(&mut self, value: ValueId, at: u32) -> Result<usize> {
        if let Some(part) = self.part_of(value, at) {
            return self.take_part_raw(part);
        }
        self.read_raw(value, at)
    }

    #[inline(always)]
    pub(crate) fn read_gpr(&mut self, value: ValueId, at: u32) -> Result<Gpr> {
        Ok(Gpr(self.read(value, at)?))
    }

    #[inline(always)]
    pub(crate) fn read_xmm(&mut self, value: ValueId, at: u32) -> Result<Xmm> {
        Ok(Xmm(self.read(value, at)? - XMM0))
    }

    #[inline(always)]
    pub(crate) fn take_gpr(&mut self, value: ValueId, at: u32) -> Result<Gpr> {
        Ok(Gpr(self.take(value, at)?))
    }

    #[inline(always)]
    pub(crate) fn take_xmm(&mut self, value: ValueId, at: u32) -> Result<Xmm> {
        Ok(Xmm(self.take(value, at)? - XMM0))
    }

    /// The right operand of integer arithmetic on `bytes` bytes: an immediate if it is one, its slot if it is there only.
    #[inline]
    pub(crate) fn right(&mut self, value: ValueId, at: u32, bytes: u8) -> Result<Right> {
        match self.immediate(value, bytes) {
            Some(small) if at == 0 => Ok(Right::Imm(small)),
            _ => self.other_right(value, at, bytes),
        }
    }

    /// The number that `value` is, as an immediate of an operation on `bytes` bytes, if its type is one that a byte describes.
    #[inline(never)]
    fn immediate(&self, value: ValueId, bytes: u8) -> Option<i32> {
        let number = self.number(value)?;
        let width = self.known.types.word(self.ty(value)).min(bytes);
        if width == 0 {
            return None;
        }
        i32::try_from(sign_extend(number, u32::from(width) * 8)).ok()
    }

    #[inline(never)]
    fn other_right(&mut self, value: ValueId, at: u32, bytes: u8) -> Result<Right> {
        match self.place_of(value) {
            Place::Parts(first) => {
                let part = first + at;
                let known = self.parts[part as usize];
                if known.reg == NO_REG && known.stored && known.bytes >= bytes {
                    return Ok(Right::Mem(self.slot_mem(part)));
                }
                return Ok(Right::Reg(Gpr(self.part_register(part)?)));
            }
            Place::Nowhere if self.body.is_constant(value) => {
                let ty = self.ty(value);
                if at == 0
                    && let Some(number) = self.number(value)
                {
                    let width = u32::from(self.scalar(ty)?.bits);
                    let number = sign_extend(number, width.min(u32::from(bytes) * 8));
                    return Ok(match i32::try_from(number) {
                        Ok(small) => Right::Imm(small),
                        Err(_) => Right::Reg(self.read_gpr(value, 0)?),
                    });
                }
                let part = self.part_type(ty, at)?;
                let number = self.constant_bits(value, part)?;
                if let Bits::Number(number) = number {
                    let number = sign_extend(number as u64, u32::from(part.bits).min(u32::from(bytes) * 8));
                    if let Ok(small) = i32::try_from(number) {
                        return Ok(Right::Imm(small));
                    }
                }
            }
            _ => {}
        }
        Ok(Right::Reg(self.read_gpr(value, at)?))
    }

    /// `alu to, right`
    pub(crate) fn alu(&mut self, alu: Alu, to: Gpr, right: Right, bytes: u8) {
        match right {
            Right::Reg(from) => self.asm.alu_rr(alu, to, from, bytes),
            Right::Mem(mem) => self.asm.alu_rm(alu, to, &mem, bytes),
            Right::Imm(value) => self.asm.alu_ri(alu, to, value, bytes),
        }
    }

    // ---- widths -------------------------------------------------------------------------------------------------

    /// Clears the bits of `reg` above `bits`, up to 32 or 64.
    pub(crate) fn zero_extend(&mut self, reg: Gpr, bits: u32) {
        match bits {
            8 => self.asm.movzx(reg, reg, 1),
            16 => self.asm.movzx(reg, reg, 2),
            32 => self.asm.mov32(reg, reg),
            64 => {}
            1..=31 => self.asm.alu_ri(Alu::And, reg, (1i32 << bits).wrapping_sub(1), 4),
            _ => {
                let count = (64 - bits) as u8;
                self.asm.shift_imm(Shift::Shl, reg, count, 8);
                self.asm.shift_imm(Shift::Shr, reg, count, 8);
            }
        }
    }

    /// Copies the sign bit of `reg`, an integer of `bits` bits, up to bit 31, or bit 63 if `wide`.
    pub(crate) fn sign_extend(&mut self, reg: Gpr, bits: u32, wide: bool) {
        match (bits, wide) {
            (8, _) => self.asm.movsx(reg, reg, 1, wide),
            (16, _) => self.asm.movsx(reg, reg, 2, wide),
            (32, true) => self.asm.movsx(reg, reg, 4, true),
            (32, false) | (64, _) => {}
            _ => {
                let (count, bytes) = if wide || bits > 32 { ((64 - bits) as u8, 8) } else { ((32 - bits) as u8, 4) };
                self.asm.shift_imm(Shift::Shl, reg, count, bytes);
                self.asm.shift_imm(Shift::Sar, reg, count, bytes);
            }
        }
    }

    /// A temporary with the zero-extended integer `value` of at most 64 bits, clean up to 64 bits.
    pub(crate) fn take_zero_extended(&mut self, value: ValueId, at: u32) -> Result<Gpr> {
        let ty = self.ty(value);
        let bits = u32::from(self.part_type(ty, at)?.bits);
        let is_constant = self.body.is_constant(value);
        let reg = self.take_gpr(value, at)?;
        if !is_constant {
            self.zero_extend(reg, bits);
        }
        Ok(reg)
    }

    /// A temporary with the sign-extended integer `value` of at most 64 bits; up to bit 31 or, if `wide`, 63.
    pub(crate) fn take_sign_extended(&mut self, value: ValueId, at: u32, wide: bool) -> Result<Gpr> {
        if at == 0
            && let Some(number) = self.signed_number(value)
        {
            let reg = self.alloc_gpr()?;
            let number = if wide { number as u64 } else { u64::from(number as u32) };
            self.asm.mov_imm(reg, number);
            return Ok(reg);
        }
        let ty = self.ty(value);
        let bits = u32::from(self.part_type(ty, at)?.bits);
        let reg = self.take_gpr(value, at)?;
        self.sign_extend(reg, bits, wide);
        Ok(reg)
    }

    // ---- addresses ----------------------------------------------------------------------------------------------

    /// The place that pointer `value` leads to, if that is a register and a displacement. What else it is, and what is wrong
    /// with it, [`Generator::address`] says.
    #[inline(always)]
    pub(crate) fn plain_address(&mut self, value: ValueId) -> Option<(Gpr, i32)> {
        if let Some(part) = self.part_of(value, 0) {
            let reg = self.part_register(part).ok()?;
            // RSP and R12 would need more bytes.
            return (reg & 7 != 4).then_some((Gpr(reg), 0));
        }
        match self.place_of(value) {
            Place::Frame(disp) => Some((RBP, disp)),
            Place::Deferred(index) => self.deferred_address(index),
            _ => None,
        }
    }

    /// The same of what an instruction that waits computes: if it adds a number.
    #[inline(always)]
    fn deferred_address(&mut self, index: u32) -> Option<(Gpr, i32)> {
        let at = self.deferred_raw(index)?.get();
        Some((Gpr((at >> 32) as u8), at as i32))
    }

    /// The displacement below the register and a bit that says that there is something: all in a machine word.
    #[inline(never)]
    fn deferred_raw(&mut self, index: u32) -> Option<NonZeroU64> {
        let (base, offset) = self.constant_gep(self.body.instruction(index))?;
        let (reg, disp) = match self.place_of(base) {
            Place::Frame(disp) => (RBP.0, disp.checked_add(offset)?),
            Place::Parts(part) => (self.part_register(part).ok()?, offset),
            Place::Deferred(_) | Place::Nowhere | Place::Variable(_) => return None,
        };
        // As above.
        let is_plain = reg & 7 != 4 && disp != i32::MIN;
        NonZeroU64::new(1 << 40 | u64::from(reg) << 32 | u64::from(disp as u32)).filter(|_| is_plain)
    }

    /// The pointer and the distance, if the instruction is a `getelementptr` with one index, which is a number: what nearly
    /// all are after optimisation.
    #[inline]
    fn constant_gep(&self, instruction: &Instruction) -> Option<(ValueId, i32)> {
        let &[base, index] = self.body.operands(instruction) else { return None };
        let number = self.body.index(self.module, ValueId(index))?;
        let stride = self.module.layout_of(TypeId(instruction.aux()))?.size;
        let Type::Integer(bits @ 1..=64) = self.module.ty(self.ty(ValueId(index))) else { return None };
        let offset = sign_extend(number, *bits).checked_mul(i64::try_from(stride).ok()?)?;
        Some((ValueId(base), i32::try_from(offset).ok().filter(|offset| *offset != i32::MIN)?))
    }

    /// The place that pointer `value` leads to.
    #[inline]
    pub(crate) fn address(&mut self, value: ValueId) -> Result<Mem> {
        match self.place_of(value) {
            Place::Frame(disp) => Ok(Mem::frame(disp)),
            Place::Parts(part) => Ok(Mem::reg(Gpr(self.part_register(part)?), 0)),
            Place::Deferred(index) => {
                let body = self.body;
                self.gep_address(body.instruction(index))
            }
            Place::Nowhere | Place::Variable(_) => self.other_address(value),
        }
    }

    fn other_address(&mut self, value: ValueId) -> Result<Mem> {
        if self.body.is_constant(value) {
            let ty = self.ty(value);
            let part = self.scalar(ty)?;
            return match self.constant_bits(value, part)? {
                Bits::Address { base, offset } => self.global_mem(base, offset),
                Bits::Number(number) => match i32::try_from(number as i64) {
                    Ok(disp) => Ok(Mem { base: Base::None, index: None, disp }),
                    Err(_) => Ok(Mem::reg(self.read_gpr(value, 0)?, 0)),
                },
                Bits::Label(_) | Bits::Difference { .. } => Ok(Mem::reg(self.read_gpr(value, 0)?, 0)),
            };
        }
        Ok(Mem::reg(self.read_gpr(value, 0)?, 0))
    }

    /// The place that a `getelementptr` computes (language reference, "getelementptr").
    pub(crate) fn gep_address(&mut self, instruction: &Instruction) -> Result<Mem> {
        if let Some((base, offset)) = self.constant_gep(instruction) {
            let mem = self.address(base)?;
            return if offset == 0 { Ok(mem) } else { self.add_offset(mem, i64::from(offset)) };
        }
        self.other_gep_address(instruction)
    }

    #[inline(never)]
    fn other_gep_address(&mut self, instruction: &Instruction) -> Result<Mem> {
        let body = self.body;
        let operands = body.operands(instruction);
        let mut mem = self.address(ValueId(operands[0]))?;
        let mut ty = TypeId(instruction.aux());
        let mut offset = 0i64;
        for (at, index) in operands[1..].iter().enumerate() {
            let index = ValueId(*index);
            let number = body.index(self.module, index);
            let stride;
            if at == 0 {
                if number == Some(0) {
                    continue;
                }
                stride = self.size_of(ty)?;
            } else {
                match self.module.ty(ty) {
                    Type::Struct { fields, .. } => {
                        let field =
                            number.ok_or_else(|| Box::new(Unsupported::Instruction("a damaged getelementptr")))?;
                        let start = self.module.field_offsets(ty).get(field as usize);
                        offset = offset.wrapping_add(
                            *start.ok_or_else(|| Box::new(Unsupported::Instruction("a damaged getelementptr")))? as i64,
                        );
                        ty = fields[field as usize];
                        continue;
                    }
                    Type::Array { element, .. } => {
                        ty = *element;
                        if number == Some(0) {
                            continue;
                        }
                        stride = self.size_of(ty)?;
                    }
                    Type::Vector { element, scalable: false, .. } => {
                        let layout = self
                            .module
                            .layout_of(*element)
                            .ok_or_else(|| Box::new(Unsupported::Type("a type without size")))?;
                        if layout.bits % 8 != 0 {
                            return Err(Box::new(Unsupported::Instruction("getelementptr into a vector of bits")));
                        }
                        stride = layout.bits / 8;
                        ty = *element;
                    }
                    _ => return Err(Box::new(Unsupported::Instruction("a damaged getelementptr"))),
                }
            }
            let bits = match self.module.ty(self.ty(index)) {
                Type::Integer(bits @ 1..=64) => *bits,
                _ => return Err(Box::new(Unsupported::Instruction("getelementptr with an unusual index"))),
            };
            if let Some(number) = number {
                offset = offset.wrapping_add(sign_extend(number, bits).wrapping_mul(stride as i64));
            } else {
                mem = self.add_index(mem, index, bits, stride)?;
            }
        }
        if offset == 0 {
            return Ok(mem);
        }
        self.add_offset(mem, offset)
    }

    /// `mem + offset`
    pub(crate) fn add_offset(&mut self, mem: Mem, offset: i64) -> Result<Mem> {
        let total = i64::from(mem.disp).checked_add(offset);
        // What is far from a symbol may be out of the linker's reach.
        let limit = if matches!(mem.base, Base::Rip(..)) { 1 << 24 } else { i64::from(i32::MAX) };
        if let Some(total) = total.filter(|t| t.abs() <= limit) {
            return Ok(Mem { disp: total as i32, ..mem });
        }
        let base = self.alloc_gpr()?;
        self.asm.lea(base, &mem);
        let far = self.alloc_gpr()?;
        self.asm.mov_imm(far, offset as u64);
        Ok(Mem { base: Base::Reg(base), index: Some((far, 0)), disp: 0 })
    }

    fn add_index(&mut self, mem: Mem, index: ValueId, bits: u32, stride: u64) -> Result<Mem> {
        if stride == 0 {
            return Ok(mem);
        }
        let fits = matches!(stride, 1 | 2 | 4 | 8);
        let reg = if bits == 64 && fits {
            self.read_gpr(index, 0)?
        } else {
            let reg = if bits == 32 {
                // One instruction for copy and extension.
                let from = self.read_gpr(index, 0)?;
                let to = self.alloc_gpr()?;
                self.asm.movsx(to, from, 4, true);
                to
            } else {
                self.take_sign_extended(index, 0, true)?
            };
            if !fits {
                self.scale(reg, stride)?;
            }
            reg
        };
        let scale = if fits { stride.trailing_zeros() as u8 } else { 0 };
        // One index only, and none beside RIP.
        let mem = if mem.index.is_some() || matches!(mem.base, Base::Rip(..)) {
            let base = self.alloc_gpr()?;
            self.asm.lea(base, &mem);
            Mem::reg(base, 0)
        } else {
            mem
        };
        Ok(Mem { index: Some((reg, scale)), ..mem })
    }

    /// `reg *= factor`
    pub(crate) fn scale(&mut self, reg: Gpr, factor: u64) -> Result<()> {
        if factor.is_power_of_two() {
            self.asm.shift_imm(Shift::Shl, reg, factor.trailing_zeros() as u8, 8);
        } else if let Ok(small) = i32::try_from(factor) {
            self.asm.imul_imm(reg, reg, small, true);
        } else {
            let far = self.alloc_gpr()?;
            self.asm.mov_imm(far, factor);
            self.asm.imul(reg, far, true);
        }
        Ok(())
    }

    /// A memory operand that is used more than once, while registers are taken: its address in one register at most.
    pub(crate) fn steady(&mut self, mem: Mem) -> Result<Mem> {
        match mem.base {
            Base::Rip(..) => {
                let reg = self.alloc_gpr()?;
                self.asm.lea(reg, &mem);
                Ok(Mem::reg(reg, 0))
            }
            _ => Ok(mem),
        }
    }
}

/// The low `bits` bits of `number` as a signed number.
pub(crate) fn sign_extend(number: u64, bits: u32) -> i64 {
    let unused = 64 - bits.clamp(1, 64);
    (number << unused) as i64 >> unused
}
