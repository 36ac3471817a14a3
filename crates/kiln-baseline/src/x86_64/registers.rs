//! Where values are while code is generated.
//!
//! A part of a value may be in a register, in its slot of the frame, or in both. What is live beyond its block is stored
//! to its slot as soon as it exists, so at the ends of blocks registers can be forgotten; what is not gets a slot only
//! when its register is needed. A block whose only predecessor lies right before it goes on with that one's registers.
//!
//! Some values keep a register all their life ([`super::fixed`]); for all others, it is not there while they live.
//!
//! R11 and XMM15 are never given out: copies between slots, and addresses of calls, pass through them.
//!
//! While one instruction is translated, the registers of its operands and its temporaries are *pinned*.

use std::ops::Range;

use kiln_bitcode::ValueId;

use super::encoder::{Encoder, Gpr, Mem, RBP, Xmm};
use super::generator::{Generator, Result};
use super::part_array::Part;
use super::parts::{Bank, PartType};
use super::values::{Place, Value};
use crate::compiler::Unsupported;

/// No register.
pub(crate) const NO_REG: u8 = u8::MAX;
/// No part.
pub(crate) const NO_PART: u32 = u32::MAX;
/// XMM registers follow the general ones in masks and lists.
pub(crate) const XMM0: u8 = 16;
/// Copies between slots pass through it.
pub(crate) const SCRATCH: Gpr = Gpr(11);
/// The same.
pub(crate) const SCRATCH_XMM: Xmm = Xmm(15);

/// All but RSP, RBP, R11.
const GPRS: u32 = 0b1111_0111_1100_1111;
/// XMM0-14.
const XMMS: u32 = 0x7fff << 16;
/// RBX, R12-R15: calls preserve them.
pub(crate) const CALLEE_SAVED: u32 = 0b1111_0000_0000_1000;
/// What calls destroy.
pub(crate) const CALLER_SAVED: u32 = (GPRS & !CALLEE_SAVED) | XMMS;

/// The registers.
#[derive(Debug)]
pub(crate) struct Registers {
    /// The part in each, or [`NO_PART`].
    pub(crate) owners: [u32; 32],
    pub(crate) free: u32,
    pub(crate) pinned: u32,
    /// Taken for the current instruction, without owner.
    pub(crate) temps: u32,
    /// Ever used, for what has to be saved.
    pub(crate) used: u32,
    /// Kept by values, be it others than now.
    pub(crate) reserved: u32,
}

impl Default for Registers {
    fn default() -> Self {
        Registers { owners: [NO_PART; 32], free: GPRS | XMMS, pinned: 0, temps: 0, used: 0, reserved: 0 }
    }
}

#[inline]
pub(crate) fn bit(reg: u8) -> u32 {
    1 << (reg & 31)
}

const fn bank_mask(bank: Bank) -> u32 {
    match bank {
        Bank::Gpr => GPRS,
        Bank::Xmm => XMMS,
    }
}

// Where a function says which register, or that it fails, that comes back in two machine registers only if both are as
// wide: hence `..._raw`, which callers see through a function that is always inlined.

impl Generator<'_> {
    // ---- slots --------------------------------------------------------------------------------------------------

    /// The slot of a part, made now if it has none.
    #[inline]
    pub(crate) fn slot(&mut self, part: u32) -> i32 {
        match self.parts[part as usize].slot {
            0 => self.make_slot(part),
            slot => slot,
        }
    }

    #[inline(never)]
    fn make_slot(&mut self, part: u32) -> i32 {
        let Part { bytes, value, .. } = self.parts[part as usize];
        let slot = self.frame.take(if bytes == 16 { 16 } else { 8 });
        self.parts[part as usize].slot = slot;
        if let Some(life) = self.flow.life(value).filter(|life| life.crosses()) {
            // Given back at the end of the last block where it lives.
            let head = &mut self.ending[life.last as usize];
            self.frame.held.push((part, *head));
            *head = self.frame.held.len() as u32 - 1;
        }
        slot
    }

    #[inline(never)]
    fn give_back_slot(&mut self, part: u32) {
        let Part { slot, bytes, .. } = self.parts[part as usize];
        self.parts[part as usize].slot = 0;
        self.parts[part as usize].stored = false;
        // What is above the frame's own slots belongs to the caller.
        if slot < 0 {
            self.frame.give(slot, if bytes == 16 { 16 } else { 8 });
        }
    }

    /// Gives back the slots and registers of values that end with the block at `position`.
    #[inline]
    pub(crate) fn end_lives(&mut self, position: u32) {
        let first = std::mem::replace(&mut self.ending[position as usize], u32::MAX);
        if first != u32::MAX {
            self.give_back_slots(first);
        }
    }

    /// The same of a list of [`super::frame::Frame::held`].
    #[inline(never)]
    fn give_back_slots(&mut self, first: u32) {
        let mut at = first;
        while at != u32::MAX {
            let (part, next) = self.frame.held[at as usize];
            self.drop_register(part);
            self.give_back_slot(part);
            at = next;
        }
    }

    /// The slot as a memory operand.
    pub(crate) fn slot_mem(&self, part: u32) -> Mem {
        debug_assert_ne!(self.parts[part as usize].slot, 0);
        Mem::frame(self.parts[part as usize].slot)
    }

    // ---- registers ----------------------------------------------------------------------------------------------

    #[inline]
    fn drop_register(&mut self, part: u32) {
        let known = &mut self.parts[part as usize];
        let reg = known.reg;
        if reg != NO_REG && !known.fixed {
            known.reg = NO_REG;
            self.registers.owners[usize::from(reg & 31)] = NO_PART;
            self.registers.free |= bit(reg);
        }
    }

    pub(crate) fn store_part(&mut self, reg: u8, mem: &Mem, bytes: u8) {
        if reg < XMM0 {
            self.asm.store(mem, Gpr(reg), bytes);
        } else {
            self.asm.store_xmm(mem, Xmm(reg - XMM0), bytes);
        }
    }

    pub(crate) fn load_part(&mut self, reg: u8, mem: &Mem, bytes: u8) {
        if reg < XMM0 {
            self.asm.load(Gpr(reg), mem, bytes);
        } else {
            self.asm.load_xmm(Xmm(reg - XMM0), mem, bytes);
        }
    }

    pub(crate) fn store_slot(&mut self, reg: u8, slot: i32, bytes: u8) {
        if reg < XMM0 {
            self.asm.store_at(RBP, slot, Gpr(reg), bytes);
        } else {
            self.asm.store_xmm(&Mem::frame(slot), Xmm(reg - XMM0), bytes);
        }
    }

    pub(crate) fn load_slot(&mut self, reg: u8, slot: i32, bytes: u8) {
        if reg < XMM0 {
            self.asm.load_at(Gpr(reg), RBP, slot, bytes);
        } else {
            self.asm.load_xmm(Xmm(reg - XMM0), &Mem::frame(slot), bytes);
        }
    }

    /// Copies all bits that a part may have.
    pub(crate) fn copy_register(&mut self, to: u8, from: u8, bytes: u8) {
        if to == from {
            return;
        }
        match (to < XMM0, bytes) {
            (true, 4) => self.asm.mov32(Gpr(to), Gpr(from)),
            (true, _) => self.asm.mov(Gpr(to), Gpr(from)),
            (false, _) => self.asm.movaps(Xmm(to - XMM0), Xmm(from - XMM0)),
        }
    }

    /// Makes sure that `part`, which is in a register, is in its slot too.
    pub(crate) fn spill(&mut self, part: u32) {
        let Part { reg, stored, bytes, fixed, .. } = self.parts[part as usize];
        if !stored && !fixed {
            let slot = self.slot(part);
            self.store_slot(reg, slot, bytes);
            self.parts[part as usize].stored = true;
        }
    }

    /// Whether somebody will read the value again.
    fn is_wanted(&self, part: u32) -> bool {
        self.values[self.parts[part as usize].value as usize].uses() > 0
    }

    fn evict(&mut self, reg: u8) {
        let part = self.registers.owners[usize::from(reg & 31)];
        if self.is_wanted(part) {
            self.spill(part);
        }
        self.drop_register(part);
    }

    /// A register of `bank`, pinned, its contents undefined.
    #[inline]
    pub(crate) fn alloc(&mut self, bank: Bank) -> Result<u8> {
        let reg = self.pick(bank)?;
        self.registers.temps |= bit(reg);
        Ok(reg)
    }

    /// The same, for who gives it an owner.
    #[inline]
    fn pick(&mut self, bank: Bank) -> Result<u8> {
        let free = self.registers.free & bank_mask(bank);
        let reg = if free != 0 {
            let cheap = free & !CALLEE_SAVED;
            (if cheap != 0 { cheap } else { free }).trailing_zeros() as u8
        } else {
            self.make_free(bank)?
        };
        self.registers.free &= !bit(reg);
        self.registers.pinned |= bit(reg);
        self.registers.used |= bit(reg);
        Ok(reg)
    }

    /// Frees a register of `bank`, none of which is free.
    #[inline(always)]
    fn make_free(&mut self, bank: Bank) -> Result<u8> {
        self.make_free_raw(bank).map(|reg| reg as u8)
    }

    #[cold]
    #[inline(never)]
    fn make_free_raw(&mut self, bank: Bank) -> Result<usize> {
        let candidates = bank_mask(bank) & !self.registers.pinned & !self.registers.temps;
        let mut best = NO_REG;
        let mut left = candidates;
        while left != 0 {
            let reg = left.trailing_zeros() as u8;
            left &= left - 1;
            let owner = self.registers.owners[usize::from(reg & 31)];
            if owner == NO_PART {
                continue;
            }
            best = reg;
            if self.parts[owner as usize].stored || !self.is_wanted(owner) {
                break;
            }
        }
        if best == NO_REG {
            let what = match self.registers.reserved {
                0 => "an instruction that needs very many registers",
                _ => super::fixed::IN_THE_WAY,
            };
            return Err(Box::new(Unsupported::Instruction(what)));
        }
        self.evict(best);
        Ok(usize::from(best))
    }

    /// Where to make the only part of `result`: the register that it keeps, or a temporary.
    #[inline(always)]
    pub(crate) fn target(&mut self, result: ValueId, bank: Bank) -> Result<u8> {
        self.target_raw(result, bank).map(|reg| reg as u8)
    }

    fn target_raw(&mut self, result: ValueId, bank: Bank) -> Result<usize> {
        if let Place::Parts(part) = self.place_of(result)
            && let Part { reg, fixed: true, .. } = self.parts[part as usize]
        {
            return Ok(usize::from(reg));
        }
        self.alloc(bank).map(usize::from)
    }

    /// The register that `result` keeps, if it keeps one. Nothing else that is live here is in it.
    #[inline]
    pub(crate) fn kept_register(&self, result: ValueId) -> Option<u8> {
        if let Place::Parts(part) = self.place_of(result)
            && let Part { reg, fixed: true, .. } = self.parts[part as usize]
        {
            return Some(reg);
        }
        None
    }

    /// The only part of `value` where it may be changed into `result`: in the register that that keeps, or in a temporary.
    #[inline]
    pub(crate) fn take_for(&mut self, result: ValueId, value: ValueId) -> Result<u8> {
        match self.kept_register(result) {
            Some(reg) => {
                self.load_into(reg, value, 0)?;
                Ok(reg)
            }
            None => self.take(value, 0),
        }
    }

    #[inline]
    fn hold(&mut self, reg: u8) {
        self.registers.free &= !bit(reg);
        self.registers.pinned |= bit(reg);
        self.registers.temps |= bit(reg);
        self.registers.used |= bit(reg);
    }

    #[inline(always)]
    pub(crate) fn alloc_gpr(&mut self) -> Result<Gpr> {
        Ok(Gpr(self.alloc(Bank::Gpr)?))
    }

    #[inline(always)]
    pub(crate) fn alloc_xmm(&mut self) -> Result<Xmm> {
        Ok(Xmm(self.alloc(Bank::Xmm)? - XMM0))
    }

    /// Makes `reg` a temporary; what it holds moves elsewhere.
    #[inline]
    pub(crate) fn claim(&mut self, reg: u8) -> Result<()> {
        if self.registers.free & bit(reg) == 0 {
            self.clear_register(reg)?;
        }
        self.hold(reg);
        Ok(())
    }

    /// Moves elsewhere what `reg` holds.
    #[inline(never)]
    fn clear_register(&mut self, reg: u8) -> Result<()> {
        let part = self.registers.owners[usize::from(reg & 31)];
        if self.registers.reserved & bit(reg) != 0 {
            return Err(Box::new(Unsupported::Instruction(super::fixed::IN_THE_WAY)));
        }
        if part == NO_PART || self.registers.pinned & bit(reg) != 0 {
            return Err(Box::new(Unsupported::Instruction("an instruction that needs one register twice")));
        }
        let bank = if reg < XMM0 { Bank::Gpr } else { Bank::Xmm };
        let free = self.registers.free & bank_mask(bank);
        if self.is_wanted(part) && free != 0 {
            // Away from where calls want their arguments, if possible.
            let far = free & (1 | CALLEE_SAVED | 1 << 10 | 0x7f00 << 16);
            let to = (if far != 0 { far } else { free }).trailing_zeros() as u8;
            self.copy_register(to, reg, self.parts[part as usize].bytes);
            self.registers.free &= !bit(to);
            self.registers.used |= bit(to);
            self.registers.owners[usize::from(to & 31)] = part;
            self.parts[part as usize].reg = to;
            self.registers.owners[usize::from(reg & 31)] = NO_PART;
        } else {
            self.evict(reg);
        }
        Ok(())
    }

    /// Gives back a temporary before the end of the instruction.
    pub(crate) fn unhold(&mut self, reg: u8) {
        debug_assert_ne!(self.registers.temps & bit(reg), 0);
        self.registers.temps &= !bit(reg);
        self.registers.pinned &= !bit(reg);
        self.registers.free |= bit(reg);
    }

    /// Forgets what registers hold. Everything that is needed later is in its slot.
    pub(crate) fn forget_registers(&mut self) {
        let mut left = (GPRS | XMMS) & !self.registers.free & !self.registers.reserved;
        while left != 0 {
            let reg = left.trailing_zeros() as u8;
            left &= left - 1;
            let part = std::mem::replace(&mut self.registers.owners[usize::from(reg & 31)], NO_PART);
            if part != NO_PART {
                self.parts[part as usize].reg = NO_REG;
            }
            self.registers.free |= bit(reg);
        }
    }

    /// Keeps in registers only what is live beyond its block, as a block ends.
    pub(crate) fn forget_local_registers(&mut self) {
        let mut left = (GPRS | XMMS) & !self.registers.free & !self.registers.reserved;
        while left != 0 {
            let reg = left.trailing_zeros() as u8;
            left &= left - 1;
            let part = self.registers.owners[usize::from(reg & 31)];
            let stays = part != NO_PART && {
                let Part { value, stored, .. } = self.parts[part as usize];
                let known = self.values[value as usize];
                stored && known.crosses() && known.uses() > 0
            };
            if !stays {
                if part != NO_PART {
                    self.parts[part as usize].reg = NO_REG;
                }
                self.registers.owners[usize::from(reg & 31)] = NO_PART;
                self.registers.free |= bit(reg);
            }
        }
    }

    /// From here on the registers in `mask` are kept by values, and no others. Nobody needs what newly kept ones hold.
    pub(crate) fn change_reserved(&mut self, mask: u32) {
        let before = std::mem::replace(&mut self.registers.reserved, mask);
        self.registers.free |= before & !mask;
        let mut left = mask & !before;
        while left != 0 {
            let reg = left.trailing_zeros() as usize;
            left &= left - 1;
            let part = std::mem::replace(&mut self.registers.owners[reg], NO_PART);
            if part != NO_PART {
                debug_assert!(self.parts[part as usize].stored);
                self.parts[part as usize].reg = NO_REG;
            }
        }
        self.registers.free &= !mask;
    }

    /// Stores what the registers in `mask` hold and is still wanted, and forgets them. Pinned ones are not exempt.
    pub(crate) fn save_registers(&mut self, mask: u32) {
        let mut left = mask & !self.registers.free;
        while left != 0 {
            let reg = left.trailing_zeros() as u8;
            left &= left - 1;
            if self.registers.owners[usize::from(reg & 31)] != NO_PART {
                self.evict(reg);
            }
        }
    }

    // ---- values -------------------------------------------------------------------------------------------------

    pub(crate) fn value_index(&self, value: ValueId) -> u32 {
        value.0 - self.first_value
    }

    /// How `value` is had; constants are nowhere.
    #[inline]
    pub(crate) fn place_of(&self, value: ValueId) -> Place {
        // What belongs to the module comes before the first value, and so wraps to beyond the last.
        match self.values.get(value.0.wrapping_sub(self.first_value) as usize) {
            Some(known) => known.place(),
            None => Place::Nowhere,
        }
    }

    /// The part `at` of `value`, if it is one that lives in registers and slots.
    #[inline]
    pub(crate) fn part_of(&self, value: ValueId, at: u32) -> Option<u32> {
        let known = self.values.get(value.0.wrapping_sub(self.first_value) as usize)?;
        known.part().map(|first| first + at)
    }

    /// The parts of `value`, if it has parts.
    pub(crate) fn all_parts(&self, value: Value) -> Range<u32> {
        match value.part() {
            Some(first) if value.has_several_parts() => first..first + u32::from(self.parts[first as usize].count),
            Some(part) => part..part + 1,
            None => 0..0,
        }
    }

    /// The register that holds `part`, loaded if it is not in one; pinned.
    #[inline]
    pub(crate) fn part_register(&mut self, part: u32) -> Result<u8> {
        let reg = self.parts[part as usize].reg;
        if reg != NO_REG {
            self.registers.pinned |= bit(reg);
            return Ok(reg);
        }
        self.load_register(part)
    }

    /// Loads `part`, which has no register, from its slot.
    #[inline(always)]
    fn load_register(&mut self, part: u32) -> Result<u8> {
        self.load_register_raw(part).map(|reg| reg as u8)
    }

    #[inline(never)]
    fn load_register_raw(&mut self, part: u32) -> Result<usize> {
        let Part { bank, stored, bytes, .. } = self.parts[part as usize];
        if !stored {
            return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
        }
        let reg = self.pick(bank)?;
        let known = &mut self.parts[part as usize];
        known.reg = reg;
        let slot = known.slot;
        self.registers.owners[usize::from(reg & 31)] = part;
        self.load_slot(reg, slot, bytes);
        Ok(usize::from(reg))
    }

    /// Makes temporary `reg` the register of `part`.
    fn own(&mut self, part: u32, reg: u8) {
        debug_assert_eq!(self.registers.owners[usize::from(reg & 31)], NO_PART);
        self.registers.owners[usize::from(reg & 31)] = part;
        self.registers.temps &= !bit(reg);
        self.parts[part as usize].reg = reg;
    }

    /// The part in a temporary that may be changed: its own register if nobody needs it there any more.
    pub(crate) fn take_part_raw(&mut self, part: u32) -> Result<usize> {
        let Part { reg, bank, stored, bytes, value, fixed, .. } = self.parts[part as usize];
        if reg != NO_REG {
            let known = self.values[value as usize];
            if !fixed && (known.is_last_here() || stored && known.uses() == 1) {
                self.registers.owners[usize::from(reg & 31)] = NO_PART;
                self.parts[part as usize].reg = NO_REG;
                self.hold(reg);
                return Ok(usize::from(reg));
            }
            let before = self.registers.pinned;
            self.registers.pinned |= bit(reg);
            let to = self.alloc(bank)?;
            self.copy_register(to, reg, bytes);
            self.registers.pinned = before | bit(to);
            return Ok(usize::from(to));
        }
        if !stored {
            return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
        }
        let to = self.alloc(bank)?;
        self.load_slot(to, self.parts[part as usize].slot, bytes);
        Ok(usize::from(to))
    }

    /// Makes the result of an instruction, an integer of `bytes` bytes, in the register that `emit` is told.
    #[inline(always)]
    pub(crate) fn make(&mut self, result: ValueId, bytes: u8, emit: impl FnOnce(&mut Encoder, Gpr)) -> Result<()> {
        let index = self.value_index(result);
        let known = self.values[index as usize];
        if !known.is_nowhere() || known.uses() == 0 {
            // Where it is kept; or nobody wants it.
            let reg = self.target(result, Bank::Gpr)?;
            emit(&mut self.asm, Gpr(reg));
            return Ok(());
        }
        let reg = self.pick(Bank::Gpr)?;
        emit(&mut self.asm, Gpr(reg));
        let bytes = if bytes == 8 { 8 } else { 4 };
        let made = Part { value: index, slot: 0, reg, stored: false, fixed: false, bank: Bank::Gpr, bytes, count: 1 };
        if known.crosses() {
            self.add_crossing(made);
        } else {
            self.add_local(made);
        }
        Ok(())
    }

    /// Makes temporary `reg` the result of an instruction, of one part of type `ty`.
    #[inline]
    pub(crate) fn define(&mut self, result: ValueId, ty: PartType, reg: u8) {
        let index = self.value_index(result);
        let known = self.values[index as usize];
        if known.uses() == 0 {
            return;
        }
        if !known.is_nowhere() {
            return self.bind(result, 0, reg);
        }
        debug_assert_eq!(self.registers.owners[usize::from(reg & 31)], NO_PART);
        self.registers.temps &= !bit(reg);
        self.registers.pinned |= bit(reg);
        let PartType { bank, bytes, .. } = ty;
        let made = Part { value: index, slot: 0, reg, stored: false, fixed: false, bank, bytes, count: 1 };
        if known.crosses() {
            self.add_crossing(made);
        } else {
            self.add_local(made);
        }
    }

    /// Gives its value the part `made`, which is in a register.
    #[inline(always)]
    fn add_local(&mut self, made: Part) {
        let part = self.parts.add_local(made);
        self.values[made.value as usize].set_part(part);
        self.registers.owners[usize::from(made.reg & 31)] = part;
    }

    /// The same for a value that is live beyond its block.
    #[inline(never)]
    fn add_crossing(&mut self, made: Part) {
        let part = self.parts.add(made);
        self.values[made.value as usize].set_part(part);
        self.registers.owners[usize::from(made.reg & 31)] = part;
        self.spill(part);
    }

    /// Makes temporary `reg` the part `at` of a result.
    pub(crate) fn bind(&mut self, result: ValueId, at: u32, reg: u8) {
        let known = self.values[self.value_index(result) as usize];
        if known.uses() == 0 {
            return;
        }
        let Some(first) = known.part() else { unreachable!("results have parts") };
        let part = first + at;
        let Part { reg: home, bytes, fixed: true, .. } = self.parts[part as usize] else {
            return self.bind_part(part, reg, known.crosses());
        };
        self.copy_register(home, reg, bytes);
    }

    fn bind_part(&mut self, part: u32, reg: u8, crosses: bool) {
        self.own(part, reg);
        self.parts[part as usize].stored = false;
        if crosses {
            self.spill(part);
        }
        self.registers.pinned |= bit(reg);
    }

    /// One operand has been read. Values that are not live beyond their block and not wanted any more free their places.
    #[inline(always)]
    pub(crate) fn release(&mut self, value: ValueId) {
        let index = value.0.wrapping_sub(self.first_value);
        if let Some(known) = self.values.get_mut(index as usize)
            && known.release()
        {
            let known = *known;
            self.free_places(known);
        }
    }

    /// Nobody will read this value again. What is rare is a call at the end: so no registers are saved here.
    #[inline(never)]
    fn free_places(&mut self, known: Value) {
        match known.part() {
            Some(part) if !known.has_several_parts() => self.free_part(part, known.crosses()),
            Some(_) => self.free_several(known),
            None => {
                if let Place::Deferred(deferred) = known.place() {
                    self.read_deferred(deferred);
                }
            }
        }
    }

    #[inline]
    fn free_part(&mut self, part: u32, crosses: bool) {
        let known = &mut self.parts[part as usize];
        if known.fixed {
            return;
        }
        let reg = known.reg;
        let has_slot = !crosses && known.slot != 0;
        if reg != NO_REG {
            known.reg = NO_REG;
            self.registers.owners[usize::from(reg & 31)] = NO_PART;
            self.registers.free |= bit(reg);
        }
        if has_slot {
            self.give_back_slot(part);
        }
    }

    #[inline(never)]
    fn free_several(&mut self, value: Value) {
        for part in self.all_parts(value) {
            self.free_part(part, value.crosses());
        }
    }

    /// Frees temporaries; nothing is pinned any more: at the end of an instruction or a step of it, and after calls.
    pub(crate) fn free_temporaries(&mut self) {
        self.registers.free |= self.registers.temps;
        self.registers.temps = 0;
        self.registers.pinned = 0;
    }
}
