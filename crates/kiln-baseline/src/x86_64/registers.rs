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

use kiln_bitcode::ValueId;

use super::encoder::{Gpr, Mem, Xmm};
use super::generator::{Generator, Place, Result};
use super::parts::Bank;
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

/// One part of a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Its value's index.
    pub(crate) value: u32,
    /// Slot, relative to RBP; 0 for none.
    pub(crate) slot: i32,
    /// Register, or [`NO_REG`].
    pub(crate) reg: u8,
    /// Whether the slot holds it.
    pub(crate) stored: bool,
    /// It keeps the register, which nobody else owns.
    pub(crate) fixed: bool,
    pub(crate) bank: Bank,
    pub(crate) bytes: u8,
}

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

pub(crate) fn bit(reg: u8) -> u32 {
    1 << reg
}

const fn bank_mask(bank: Bank) -> u32 {
    match bank {
        Bank::Gpr => GPRS,
        Bank::Xmm => XMMS,
    }
}

impl Generator<'_> {
    // ---- slots --------------------------------------------------------------------------------------------------

    /// The slot of a part, made now if it has none.
    pub(crate) fn slot(&mut self, part: u32) -> i32 {
        let Part { slot, bytes, value, .. } = self.parts[part as usize];
        if slot != 0 {
            return slot;
        }
        let slot = self.frame.take(if bytes == 16 { 16 } else { 8 });
        self.parts[part as usize].slot = slot;
        let life = self.flow.lives[value as usize];
        if life.crosses() {
            // Given back at the end of the last block where it lives.
            let head = &mut self.ending[life.last as usize];
            self.frame.held.push((part, *head));
            *head = self.frame.held.len() as u32 - 1;
        }
        slot
    }

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
    pub(crate) fn end_lives(&mut self, position: u32) {
        let mut at = std::mem::replace(&mut self.ending[position as usize], u32::MAX);
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
            self.registers.owners[reg as usize] = NO_PART;
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
            self.slot(part);
            let mem = self.slot_mem(part);
            self.store_part(reg, &mem, bytes);
            self.parts[part as usize].stored = true;
        }
    }

    /// Whether somebody will read the value again.
    fn is_wanted(&self, part: u32) -> bool {
        self.values[self.parts[part as usize].value as usize].uses > 0
    }

    fn evict(&mut self, reg: u8) {
        let part = self.registers.owners[reg as usize];
        if self.is_wanted(part) {
            self.spill(part);
        }
        self.drop_register(part);
    }

    /// A register of `bank`, pinned, its contents undefined.
    #[inline]
    pub(crate) fn alloc(&mut self, bank: Bank) -> Result<u8> {
        let free = self.registers.free & bank_mask(bank);
        let reg = if free != 0 {
            let cheap = free & !CALLEE_SAVED;
            (if cheap != 0 { cheap } else { free }).trailing_zeros() as u8
        } else {
            self.make_free(bank)?
        };
        self.hold(reg);
        Ok(reg)
    }

    /// Frees a register of `bank`, none of which is free.
    #[cold]
    fn make_free(&mut self, bank: Bank) -> Result<u8> {
        let candidates = bank_mask(bank) & !self.registers.pinned & !self.registers.temps;
        let mut best = NO_REG;
        let mut left = candidates;
        while left != 0 {
            let reg = left.trailing_zeros() as u8;
            left &= left - 1;
            let owner = self.registers.owners[reg as usize];
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
        Ok(best)
    }

    /// Where to make the only part of `result`: the register that it keeps, or a temporary.
    #[inline]
    pub(crate) fn target(&mut self, result: ValueId, bank: Bank) -> Result<u8> {
        match self.part_of(result, 0).map(|part| self.parts[part as usize]) {
            Some(Part { reg, fixed: true, .. }) => Ok(reg),
            _ => self.alloc(bank),
        }
    }

    fn hold(&mut self, reg: u8) {
        self.registers.free &= !bit(reg);
        self.registers.pinned |= bit(reg);
        self.registers.temps |= bit(reg);
        self.registers.used |= bit(reg);
    }

    pub(crate) fn alloc_gpr(&mut self) -> Result<Gpr> {
        Ok(Gpr(self.alloc(Bank::Gpr)?))
    }

    pub(crate) fn alloc_xmm(&mut self) -> Result<Xmm> {
        Ok(Xmm(self.alloc(Bank::Xmm)? - XMM0))
    }

    /// Makes `reg` a temporary; what it holds moves elsewhere.
    pub(crate) fn claim(&mut self, reg: u8) -> Result<()> {
        if self.registers.free & bit(reg) == 0 {
            let part = self.registers.owners[reg as usize];
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
                self.registers.owners[to as usize] = part;
                self.parts[part as usize].reg = to;
                self.registers.owners[reg as usize] = NO_PART;
            } else {
                self.evict(reg);
            }
        }
        self.hold(reg);
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
            let part = std::mem::replace(&mut self.registers.owners[reg as usize], NO_PART);
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
            let part = self.registers.owners[reg as usize];
            if part == NO_PART || !self.parts[part as usize].stored || !self.is_wanted(part) {
                if part != NO_PART {
                    self.parts[part as usize].reg = NO_REG;
                }
                self.registers.owners[reg as usize] = NO_PART;
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
            if self.registers.owners[reg as usize] != NO_PART {
                self.evict(reg);
            }
        }
    }

    // ---- values -------------------------------------------------------------------------------------------------

    pub(crate) fn value_index(&self, value: ValueId) -> u32 {
        value.0 - self.first_value
    }

    /// The part `at` of `value`, if it is one that lives in registers and slots.
    pub(crate) fn part_of(&self, value: ValueId, at: u32) -> Option<u32> {
        match self.values.get(value.0.checked_sub(self.first_value)? as usize)?.place {
            Place::Parts(first) => Some(first + at),
            _ => None,
        }
    }

    /// The register that holds `part`, loaded if it is not in one; pinned.
    pub(crate) fn part_register(&mut self, part: u32) -> Result<u8> {
        let Part { reg, bank, stored, bytes, .. } = self.parts[part as usize];
        if reg != NO_REG {
            self.registers.pinned |= bit(reg);
            return Ok(reg);
        }
        if !stored {
            return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
        }
        let reg = self.alloc(bank)?;
        let mem = self.slot_mem(part);
        self.load_part(reg, &mem, bytes);
        self.own(part, reg);
        self.registers.pinned |= bit(reg);
        Ok(reg)
    }

    /// Makes temporary `reg` the register of `part`.
    fn own(&mut self, part: u32, reg: u8) {
        debug_assert_eq!(self.registers.owners[reg as usize], NO_PART);
        self.registers.owners[reg as usize] = part;
        self.registers.temps &= !bit(reg);
        self.parts[part as usize].reg = reg;
    }

    /// The part in a temporary that may be changed: its own register if nobody needs it there any more.
    pub(crate) fn take_part(&mut self, part: u32) -> Result<u8> {
        let Part { reg, bank, stored, bytes, value, fixed, .. } = self.parts[part as usize];
        let last = self.values[value as usize].uses == 1;
        if reg != NO_REG {
            if !fixed && last && (stored || !self.values[value as usize].crosses) {
                self.registers.owners[reg as usize] = NO_PART;
                self.parts[part as usize].reg = NO_REG;
                self.hold(reg);
                return Ok(reg);
            }
            let before = self.registers.pinned;
            self.registers.pinned |= bit(reg);
            let to = self.alloc(bank)?;
            self.copy_register(to, reg, bytes);
            self.registers.pinned = before | bit(to);
            return Ok(to);
        }
        if !stored {
            return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
        }
        let to = self.alloc(bank)?;
        let mem = self.slot_mem(part);
        self.load_part(to, &mem, bytes);
        Ok(to)
    }

    /// Makes temporary `reg` the part `at` of a result.
    pub(crate) fn bind(&mut self, result: ValueId, at: u32, reg: u8) {
        let known = self.values[self.value_index(result) as usize];
        if known.uses == 0 {
            return;
        }
        let Place::Parts(first) = known.place else { unreachable!("results have parts") };
        let part = first + at;
        let Part { reg: home, bytes, fixed: true, .. } = self.parts[part as usize] else {
            return self.bind_part(part, reg, known.crosses);
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
    #[inline]
    pub(crate) fn release(&mut self, value: ValueId) {
        let Some(index) = value.0.checked_sub(self.first_value) else { return };
        let known = &mut self.values[index as usize];
        known.uses = known.uses.saturating_sub(1);
        if known.uses == 0 {
            self.release_last(index);
        }
    }

    /// Nobody will read the value of this index again.
    fn release_last(&mut self, index: u32) {
        let known = self.values[index as usize];
        if let Place::Deferred(deferred) = known.place {
            // Now its own operands have been read too.
            let body = self.body;
            let instruction = body.instruction(deferred);
            let numbers = &mut *self.numbers;
            crate::analysis::for_values(instruction, body.operands(instruction), |value| numbers.push(value.0));
            return;
        }
        if let Place::Parts(first) = known.place {
            for part in first..first + known.parts {
                self.drop_register(part);
                if !known.crosses && self.parts[part as usize].slot != 0 {
                    self.give_back_slot(part);
                }
            }
        }
    }

    /// Frees temporaries; nothing is pinned any more.
    pub(crate) fn end_instruction(&mut self) {
        self.registers.free |= self.registers.temps;
        self.registers.temps = 0;
        self.registers.pinned = 0;
    }
}
