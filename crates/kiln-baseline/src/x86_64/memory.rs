//! Loads, stores and stack objects.

use kiln_bitcode::{Instruction, Ordering, Type, TypeId, TypeLayout, ValueId};

use super::atomics::Access;
use super::encoder::{Alu, Base, Cond, Gpr, Mem, Op, RBP, RSP, Shift, Xmm};
use super::generator::{Generator, Result};
use super::operands::Bits;
use super::part_array::Part;
use super::parts::{Bank, PartType, Parts};
use super::registers::{SCRATCH, XMM0, bit};
use super::values::{Place, Value};
use crate::compiler::Unsupported;

/// Objects on the stack larger than this are left to the optimizer.
const OBJECT_MAX: u64 = 1 << 27;
/// A page: the guard below the stack is at least one.
pub(crate) const PROBE_BYTES: u32 = 4096;

/// Blocks up to this size are copied by words. Objects that small have often just been written field by field, and a load of
/// 16 bytes waits until all stores that it spans have left the store buffer.
const WORDS_MAX: u32 = 32;

impl Generator<'_> {
    // ---- loads and stores ---------------------------------------------------------------------------------------

    /// Loads an integer of `bytes` bytes; the bits above them are zero up to 32, garbage above that where `bytes` is odd.
    fn load_integer(&mut self, to: Gpr, mem: &Mem, bytes: u8) -> Result<()> {
        if bytes.is_power_of_two() {
            self.asm.load(to, mem, bytes);
            return Ok(());
        }
        // As LLVM splits it: 4, 2, 1.
        let other = self.alloc_gpr()?;
        let low = if bytes > 4 { 4 } else { 2 };
        self.asm.load(to, mem, low);
        let mut done = low;
        while done < bytes {
            let step = if bytes - done >= 2 { 2 } else { 1 };
            self.asm.load(other, &mem.plus(i32::from(done)), step);
            self.asm.shift_imm(Shift::Shl, other, 8 * done, 8);
            self.asm.alu_rr(Alu::Or, to, other, 8);
            done += step;
        }
        self.unhold(other.0);
        Ok(())
    }

    /// Stores the low `bytes` bytes of `from`, which may be changed where `bytes` is odd.
    fn store_integer(&mut self, mem: &Mem, from: Gpr, bytes: u8) {
        if bytes.is_power_of_two() {
            self.asm.store(mem, from, bytes);
            return;
        }
        let mut done = 0;
        while done < bytes {
            let step = match bytes - done {
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            self.asm.store(&mem.plus(i32::from(done)), from, step);
            done += step;
            if done < bytes {
                self.asm.shift_imm(Shift::Shr, from, 8 * step, 8);
            }
        }
    }

    /// Loads one part from the memory image of its value at `mem`.
    pub(crate) fn load_memory(&mut self, mem: &Mem, part: PartType) -> Result<u8> {
        let place = mem.plus(part.offset as i32);
        match part.bank {
            Bank::Gpr if part.store.is_power_of_two() => {
                let to = self.alloc_gpr()?;
                self.asm.load(to, &place, part.store);
                Ok(to.0)
            }
            Bank::Gpr => {
                let to = self.alloc_gpr()?;
                self.load_integer(to, &place, part.store)?;
                Ok(to.0)
            }
            Bank::Xmm => {
                let to = self.alloc_xmm()?;
                if matches!(part.store, 4 | 8 | 16) {
                    self.asm.load_xmm(to, &place, part.store);
                } else if part.store == 2 {
                    self.asm.load(SCRATCH, &place, 2);
                    self.asm.gpr_to_xmm(to, SCRATCH, false);
                } else {
                    // Not a byte more than there is.
                    let whole = self.lane_mem(0, 0);
                    self.copy_block(&whole, &place, u32::from(part.store));
                    self.asm.load_xmm(to, &whole, 16);
                }
                Ok(to.0 + XMM0)
            }
        }
    }

    /// A memory operand for all parts of a value of type `ty`.
    fn part_memory(&mut self, mem: Mem, count: u32) -> Result<Mem> {
        if count > 1 { self.steady(mem) } else { Ok(mem) }
    }

    #[inline(never)]
    pub(crate) fn load(&mut self, index: u32, instruction: &Instruction, address: ValueId) -> Result<()> {
        if let Place::Variable(variable) = self.place_of(address) {
            return self.load_variable(index, instruction, address, variable);
        }
        let bytes = self.known.types.word(self.body.result_type(instruction));
        if bytes == 0 || instruction.ordering() != Ordering::NotAtomic {
            return self.load_unusual(instruction, address);
        }
        // What most loads are.
        if let Some((base, disp)) = self.plain_address(address) {
            return self.make(instruction.result(), bytes, |asm, to| asm.load_at(to, base, disp, bytes));
        }
        let mem = self.address(address)?;
        self.make(instruction.result(), bytes, |asm, to| asm.load(to, &mem, bytes))
    }

    /// A load of several parts, of a float, of bits, or an atomic one.
    #[inline(never)]
    fn load_unusual(&mut self, instruction: &Instruction, address: ValueId) -> Result<()> {
        if instruction.ordering() != Ordering::NotAtomic {
            match self.access(instruction, self.body.result_type(instruction))? {
                Access::Machine => {}
                access => return self.atomic_load(instruction, address, access),
            }
        }
        let Parts { first, count, only } = self.known.types.of(self.module, self.body.result_type(instruction))?;
        let mem = self.address(address)?;
        if count == 1 {
            let reg = match (only.bank, only.store) {
                (Bank::Gpr, 1 | 2 | 4 | 8) => {
                    let to = self.target(instruction.result(), Bank::Gpr)?;
                    self.asm.load(Gpr(to), &mem, only.store);
                    to
                }
                _ => self.load_memory(&mem, only)?,
            };
            self.define(instruction.result(), only, reg);
            return Ok(());
        }
        let result = self.result(instruction)?;
        let mem = self.part_memory(mem, count)?;
        for at in 0..count {
            let part = self.known.types.get(first + at);
            let reg = self.load_memory(&mem, part)?;
            self.bind_or_drop(result, at, reg);
        }
        Ok(())
    }

    /// A load from a variable that has a register.
    #[inline(never)]
    fn load_variable(&mut self, index: u32, instruction: &Instruction, address: ValueId, variable: u32) -> Result<()> {
        if self.is_read_in_place(index, address) {
            let at = self.value_index(instruction.result()) as usize;
            self.values[at].set_part(variable);
            return Ok(());
        }
        let only = self.scalar(self.body.result_type(instruction))?;
        let Part { reg, bank, bytes, .. } = self.parts[variable as usize];
        let to = self.target(instruction.result(), bank)?;
        self.copy_register(to, reg, bytes);
        self.define(instruction.result(), only, to);
        Ok(())
    }

    /// Binds a result's part without keeping it pinned; a volatile load may have no users.
    pub(crate) fn bind_or_drop(&mut self, result: ValueId, at: u32, reg: u8) {
        self.bind(result, at, reg);
        if self.registers.temps & bit(reg) != 0 {
            self.unhold(reg);
        }
        self.registers.pinned &= !bit(reg);
    }

    #[inline(never)]
    pub(crate) fn store(&mut self, instruction: &Instruction, address: ValueId, value: ValueId) -> Result<()> {
        if let Place::Variable(variable) = self.place_of(address) {
            return self.load_into(self.parts[variable as usize].reg, value, 0);
        }
        let ty = self.ty(value);
        let bytes = self.known.types.word(ty);
        if bytes == 0 || instruction.ordering() != Ordering::NotAtomic {
            return self.store_unusual(instruction, address, value, ty);
        }
        // What most stores are.
        let mem = match self.plain_address(address) {
            Some((base, disp)) => Mem::reg(base, disp),
            None => self.address(address)?,
        };
        if let Some(part) = self.part_of(value, 0) {
            let reg = self.part_register(part)?;
            self.asm.store(&mem, Gpr(reg), bytes);
            return Ok(());
        }
        if let Some(number) = self.number(value) {
            self.store_number(&mem, number, bytes);
            return Ok(());
        }
        self.store_part_memory(&mem, value, 0, PartType::word(bytes))
    }

    /// Stores the low `bytes` bytes of a number.
    pub(crate) fn store_number(&mut self, mem: &Mem, number: u64, bytes: u8) {
        let number = if bytes == 8 { number as i64 } else { i64::from(number as u32 as i32) };
        if let Ok(small) = i32::try_from(number) {
            self.asm.store_imm(mem, small, bytes);
        } else {
            self.asm.mov_imm(SCRATCH, number as u64);
            self.asm.store(mem, SCRATCH, 8);
        }
    }

    /// A store of several parts, of a float, of bits, or an atomic one.
    #[inline(never)]
    fn store_unusual(&mut self, instruction: &Instruction, address: ValueId, value: ValueId, ty: TypeId) -> Result<()> {
        if instruction.ordering() != Ordering::NotAtomic {
            match self.access(instruction, ty)? {
                Access::Machine => {}
                access => return self.atomic_store(instruction, address, value, access),
            }
        }
        let Parts { count, only, .. } = self.known.types.of(self.module, ty)?;
        let mem = self.address(address)?;
        let mem = self.part_memory(mem, count)?;
        if instruction.ordering() == Ordering::SequentiallyConsistent {
            let part = self.scalar(ty)?;
            if part.bank != Bank::Gpr {
                let from = self.read_xmm(value, 0)?;
                let reg = self.alloc_gpr()?;
                self.asm.xmm_to_gpr(reg, from, part.store == 8);
                self.asm.rm(Op::sized(0x87, part.store), reg.0, &mem);
                return Ok(());
            }
            let reg = self.take_gpr(value, 0)?;
            self.clean_padding(reg, part);
            self.asm.rm(Op::sized(0x87, part.store), reg.0, &mem);
            return Ok(());
        }
        if count == 1 {
            return self.store_part_memory(&mem, value, 0, only);
        }
        for at in 0..count {
            self.store_memory(&mem, value, at)?;
        }
        Ok(())
    }

    /// Bits of the last byte that do not belong to the integer are zero in memory.
    fn clean_padding(&mut self, reg: Gpr, part: PartType) {
        if !part.bits.is_multiple_of(8) {
            self.zero_extend(reg, u32::from(part.bits));
        }
    }

    /// Stores part `at` of `value` into the memory image of the value at `mem`.
    pub(crate) fn store_memory(&mut self, mem: &Mem, value: ValueId, at: u32) -> Result<()> {
        let ty = self.ty(value);
        let part = self.part_type(ty, at)?;
        self.store_part_memory(mem, value, at, part)
    }

    fn store_part_memory(&mut self, mem: &Mem, value: ValueId, at: u32, part: PartType) -> Result<()> {
        let place = mem.plus(part.offset as i32);
        if let Place::Parts(first) = self.place_of(value) {
            // What most stores are.
            if part.bank == Bank::Gpr && matches!(part.bits, 8 | 16 | 32 | 64) {
                let reg = self.part_register(first + at)?;
                self.asm.store(&place, Gpr(reg), part.store);
                self.registers.pinned &= !bit(reg);
                return Ok(());
            }
        } else if self.body.is_constant(value)
            && part.store.is_power_of_two()
            && part.store <= 8
            && let Bits::Number(number) = self.constant_bits(value, part)?
        {
            self.store_number(&place, number as u64, part.store);
            return Ok(());
        }
        match part.bank {
            Bank::Gpr => {
                let clean = part.bits.is_multiple_of(8) && part.store.is_power_of_two();
                let reg = if clean { self.read_gpr(value, at)? } else { self.take_gpr(value, at)? };
                self.clean_padding(reg, part);
                self.store_integer(&place, reg, part.store);
                self.release_pin(reg.0);
            }
            Bank::Xmm => {
                let reg = self.read_xmm(value, at)?;
                if matches!(part.store, 4 | 8 | 16) {
                    self.asm.store_xmm(&place, reg, part.store);
                } else if part.store == 2 {
                    self.asm.xmm_to_gpr(SCRATCH, reg, false);
                    self.asm.store(&place, SCRATCH, 2);
                } else {
                    let whole = self.lane_mem(0, 0);
                    self.asm.store_xmm(&whole, reg, 16);
                    self.copy_block(&place, &whole, u32::from(part.store));
                }
                self.release_pin(reg.0 + XMM0);
            }
        }
        Ok(())
    }

    /// A register that was read or taken is not needed by this instruction any more.
    pub(crate) fn release_pin(&mut self, reg: u8) {
        if self.registers.temps & bit(reg) != 0 {
            self.unhold(reg);
        } else {
            self.registers.pinned &= !bit(reg);
        }
    }

    /// A `getelementptr` that is no part of another instruction.
    #[inline(never)]
    pub(crate) fn gep(&mut self, instruction: &Instruction) -> Result<()> {
        if !matches!(self.module.ty(self.body.result_type(instruction)), Type::Pointer { .. }) {
            return self.lanes_gep(instruction);
        }
        let mem = self.gep_address(instruction)?;
        if mem.base == Base::Reg(RBP) && mem.index.is_none() && Value::can_be_at(mem.disp) {
            // Nothing but objects of the frame is addressed by RBP.
            let index = self.value_index(instruction.result()) as usize;
            self.values[index].set_frame(mem.disp);
            return Ok(());
        }
        let to = Gpr(self.target(instruction.result(), Bank::Gpr)?);
        match mem {
            Mem { base: Base::Reg(base), index: None, disp: 0 } => self.copy_register(to.0, base.0, 8),
            _ => self.asm.lea(to, &mem),
        }
        let only = self.scalar(self.body.result_type(instruction))?;
        self.define(instruction.result(), only, to.0);
        Ok(())
    }

    // ---- stack objects ------------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn alloca(&mut self, instruction: &Instruction, count: ValueId) -> Result<()> {
        if instruction.flags() & Instruction::SPECIAL_ALLOCA != 0 {
            return Err(Box::new(Unsupported::Instruction("alloca of an inalloca or swifterror")));
        }
        let index = self.value_index(instruction.result()) as usize;
        if let Place::Variable(_) | Place::Frame(_) = self.values[index].place() {
            return Ok(());
        }
        let (layout, align) = self.object_layout(instruction)?;
        let fixed = if self.position == 0 { self.number(count) } else { None };
        self.guard_object(instruction, fixed.is_some());
        if let Some(count) = fixed {
            let size = object_size(&layout, count)?;
            if align <= 16 {
                let home = self.frame.object(size, align);
                self.values[index].set_frame(home);
                return Ok(());
            }
            // RBP is a multiple of 16 only.
            let start = self.frame.object(size + align - 16, 16);
            let result = self.result(instruction)?;
            let reg = self.alloc_gpr()?;
            self.asm.lea(reg, &Mem::frame(start + align as i32 - 16));
            self.asm.alu_ri(Alu::And, reg, -(align as i32), 8);
            self.bind(result, 0, reg.0);
            return Ok(());
        }
        self.dynamic = true;
        let result = self.result(instruction)?;
        let size = self.take_zero_extended(count, 0)?;
        self.scale(size, layout.size)?;
        self.asm.alu_ri(Alu::Add, size, 15, 8);
        self.asm.alu_ri(Alu::And, size, -16, 8);
        let top = self.alloc_gpr()?;
        self.asm.mov(top, RSP);
        self.asm.alu_rr(Alu::Sub, top, size, 8);
        if align > 16 {
            self.asm.alu_ri(Alu::And, top, -(align as i32), 8);
        }
        self.probe_down_to(top);
        self.bind(result, 0, top.0);
        Ok(())
    }

    /// How an object that `instruction` makes lies in memory, and to how many bytes it is aligned.
    pub(crate) fn object_layout(&self, instruction: &Instruction) -> Result<(TypeLayout, u64)> {
        let layout = *self
            .module
            .layout_of(TypeId(instruction.aux()))
            .ok_or_else(|| Box::new(Unsupported::Type("a type without size")))?;
        let align = match instruction.align() {
            0 => layout.preferred_align,
            log => 1u64.checked_shl(u32::from(log) - 1).unwrap_or(u64::MAX),
        };
        if align > 1 << 16 {
            return Err(Box::new(Unsupported::Instruction("alloca with a huge alignment")));
        }
        Ok((layout, align))
    }

    /// Moves RSP down to `to`, touching every page on the way.
    fn probe_down_to(&mut self, to: Gpr) {
        self.asm.mov(SCRATCH, RSP);
        let again = self.asm.label();
        let done = self.asm.label();
        self.asm.bind(again);
        self.asm.alu_ri(Alu::Sub, SCRATCH, PROBE_BYTES as i32, 8);
        self.asm.alu_rr(Alu::Cmp, SCRATCH, to, 8);
        self.asm.jcc(Cond::BE, done);
        // RSP comes along, so that what is touched is always above it.
        self.asm.mov(RSP, SCRATCH);
        self.asm.alu_mi(Alu::Or, &Mem::reg(RSP, 0), 0, 8);
        self.asm.jmp(again);
        self.asm.bind(done);
        self.asm.mov(RSP, to);
    }

    // ---- blocks of memory ---------------------------------------------------------------------------------------

    /// Copies `size` bytes; both places may be named several times.
    pub(crate) fn copy_block(&mut self, to: &Mem, from: &Mem, size: u32) {
        let mut at = 0;
        while at < size {
            let step = match size - at {
                16.. if size > WORDS_MAX => 16,
                8.. => 8,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            let (to, from) = (to.plus(at as i32), from.plus(at as i32));
            if step == 16 {
                let through = Xmm(15);
                self.asm.load_xmm(through, &from, 16);
                self.asm.store_xmm(&to, through, 16);
            } else {
                self.asm.load(SCRATCH, &from, step);
                self.asm.store(&to, SCRATCH, step);
            }
            at += u32::from(step);
        }
    }

    /// Whether the type holds nothing.
    pub(crate) fn is_void(&self, ty: TypeId) -> bool {
        matches!(self.module.ty(ty), Type::Void)
    }
}

/// Bytes of `count` objects; of none, one.
pub(crate) fn object_size(layout: &TypeLayout, count: u64) -> Result<u64> {
    let size = layout.size.checked_mul(count).filter(|size| *size <= OBJECT_MAX);
    Ok(size.ok_or_else(|| Box::new(Unsupported::Instruction("alloca of a huge object")))?.max(1))
}
