//! Registers that values keep for all their life.
//!
//! What lives across blocks is in its slot at their ends, because nobody knows there where the other predecessors leave it.
//! The values that matter most need not: each gets a register of its own from its first block to its last, so that it is
//! there whatever way control takes. These are values that are used in cycles, phis of loops above all, and *variables*:
//! stack objects of one scalar whose address goes nowhere (see [`crate::analysis`]).
//!
//! Intervals of positions are handed to registers in one sweep; of those that overlap on all registers, the one of
//! the least weight goes without. Where an interval has no call, registers that calls destroy do as well.
//!
//! Correctness does not depend on the guess what calls: whatever finds a fixed register in its way fails with
//! [`IN_THE_WAY`], and the function is compiled once more without them. They are never used in functions that return
//! twice; at a landing pad the unwinder has restored those that calls preserve.

use kiln_bitcode::{BlockId, Opcode, Type, TypeId, ValueId};

use super::generator::Generator;
use super::part_array::Part;
use super::parts::{Bank, PartType, Parts};
use super::registers::{CALLEE_SAVED, NO_REG, XMM0, bit};
use crate::analysis::{Life, Object};

/// A fixed register is needed for something else.
pub(crate) const IN_THE_WAY: &str = "a register that a value keeps";

/// R8-R10: no instruction needs one of them in particular.
const SCRATCH_GPRS: u32 = 0b111 << 8;
/// XMM8-14: no call takes arguments there.
const SCRATCH_XMMS: u32 = 0x7f00 << 16;
/// What must come together on one register before saving and restoring it is worth while.
const SAVED_WEIGHT_MIN: u32 = 6;
/// Less is not worth a register at all.
pub(crate) const WEIGHT_MIN: u32 = 3;

/// A value that may have a register of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    first: u32,
    last: u32,
    weight: u32,
    /// Index of the value.
    value: u32,
    /// Registers that it may have.
    allowed: u32,
    bank: Bank,
    bytes: u8,
    reg: u8,
}

impl Generator<'_> {
    /// Gives registers to the values that need them most, before the first instruction.
    pub(crate) fn fix_registers(&mut self) {
        self.reserved.clear();
        if self.frame.keep_slots || !self.may_fix {
            return;
        }
        let mut candidates = std::mem::take(self.candidates);
        candidates.clear();
        self.collect_candidates(&mut candidates);
        if !candidates.is_empty() {
            if !candidates.is_sorted_by_key(|candidate| candidate.first) {
                std::mem::swap(&mut candidates, self.unsorted);
                sort(self.unsorted, &mut candidates, &mut self.reserved, self.flow.order.len());
            }
            assign(&mut candidates);
            self.drop_cheap(&mut candidates);
            self.reserve(&candidates);
        }
        candidates.clear();
        *self.candidates = candidates;
        self.wishes.clear();
    }

    fn collect_candidates(&mut self, candidates: &mut Vec<Candidate>) {
        let flow = self.flow;
        for value in self.wishes.iter().copied() {
            let Some(life) = flow.life(value).filter(|_| self.body.uses(value).0 != 0) else { continue };
            let id = ValueId(self.first_value + value);
            let ty = match life.object() {
                Object::Variable(ty) => ty,
                _ => {
                    let ty = self.ty(id);
                    if self.stays_elsewhere(id, life, ty) {
                        continue;
                    }
                    ty
                }
            };
            let ty = match self.known.types.word(ty) {
                0 => match self.known.types.of(self.module, ty) {
                    Ok(Parts { count: 1, only, .. }) => only,
                    _ => continue,
                },
                bytes => PartType::word(bytes),
            };
            let calls = flow.has_calls(life.first, life.last);
            let allowed = match (ty.bank, calls) {
                (Bank::Gpr, true) => CALLEE_SAVED,
                (Bank::Gpr, false) if life.first == 0 => CALLEE_SAVED | SCRATCH_GPRS & !self.incoming_registers(),
                (Bank::Gpr, false) => CALLEE_SAVED | SCRATCH_GPRS,
                (Bank::Xmm, true) => continue,
                (Bank::Xmm, false) => SCRATCH_XMMS,
            };
            let Life { first, last, weight, .. } = *life;
            let PartType { bank, bytes, .. } = ty;
            candidates.push(Candidate { first, last, weight, value, allowed, bank, bytes, reg: NO_REG });
        }
    }

    /// Registers that arguments arrive in, of those that values may keep.
    fn incoming_registers(&self) -> u32 {
        let used = &super::abi::ARGUMENT_REGISTERS[..usize::from(self.own.general_registers).min(6)];
        used.iter().fold(1 << super::abi::NEST_REGISTER, |mask, reg| mask | bit(*reg))
    }

    /// Whether the value needs no register, or cannot have one.
    fn stays_elsewhere(&self, value: ValueId, life: &Life, ty: TypeId) -> bool {
        // A phi that an indirect jump writes is written before all jumps.
        if life.is_phi() {
            return self.flow.order[life.block as usize].indirect;
        }
        if !matches!(self.module.ty(ty), Type::Pointer { .. }) {
            return self.body.is_constant(value);
        }
        let Some(definition) = self.body.definition_in(self.flow.order[life.block as usize].block, value) else {
            // An argument, or a constant of the body.
            return self.body.is_constant(value);
        };
        let instruction = self.body.instruction(definition);
        match instruction.opcode {
            Opcode::Alloca => life.block == 0,
            // A place in the frame, if it is one in an object there.
            Opcode::Gep => {
                let operands = self.body.operands(instruction);
                let base = self.body.definition_in(BlockId(0), ValueId(operands[0]));
                base.is_some_and(|base| self.body.instruction(base).opcode == Opcode::Alloca)
                    && operands[1..].iter().all(|index| self.body.is_constant(ValueId(*index)))
            }
            _ => false,
        }
    }

    /// Takes back registers that calls preserve where saving them costs more than what they hold gains.
    fn drop_cheap(&self, candidates: &mut [Candidate]) {
        let mut weights = [0u32; 32];
        for candidate in candidates.iter().filter(|candidate| candidate.reg != NO_REG) {
            let sum = &mut weights[usize::from(candidate.reg)];
            *sum = sum.saturating_add(candidate.weight);
        }
        for candidate in candidates.iter_mut().filter(|candidate| candidate.reg != NO_REG) {
            let is_saved = CALLEE_SAVED & bit(candidate.reg) != 0;
            if is_saved && weights[usize::from(candidate.reg)] < SAVED_WEIGHT_MIN {
                candidate.reg = NO_REG;
            }
        }
    }

    /// Makes the parts of what has registers, and notes which registers are taken at each position.
    fn reserve(&mut self, candidates: &[Candidate]) {
        let flow = self.flow;
        self.reserved.resize(flow.order.len() + 1, 0);
        for candidate in candidates.iter().filter(|candidate| candidate.reg != NO_REG) {
            let Candidate { value, bank, bytes, reg, .. } = *candidate;
            // Where one interval follows another at once, the register stays taken.
            self.reserved[candidate.first as usize] ^= bit(reg);
            self.reserved[candidate.last as usize + 1] ^= bit(reg);
            self.registers.used |= bit(reg);
            let part = self.parts.add(Part { value, slot: 0, reg, stored: false, fixed: true, bank, bytes, count: 1 });
            let known = &mut self.values[value as usize];
            match flow.life(value).map_or(Object::No, Life::object) {
                Object::Variable(_) => known.set_variable(part),
                _ => known.set_part(part),
            }
        }
        let mut mask = 0;
        for reserved in self.reserved.iter_mut() {
            mask ^= *reserved;
            *reserved = mask;
        }
    }

    /// Registers that are not for others at `position`.
    pub(crate) fn reserved_at(&self, position: u32) -> u32 {
        self.reserved.get(position as usize).copied().unwrap_or(0)
    }

    /// Whether the result of the load at `index`, from the variable at `address`, may be the variable's register itself: it
    /// is read once, before anything is stored there.
    pub(crate) fn is_read_in_place(&self, index: u32, address: ValueId) -> bool {
        /// How far is looked.
        const NEAR: u32 = 24;
        let body = self.body;
        let mut result = body.instruction(index).result();
        let mut end = index;
        loop {
            let value = self.value_index(result);
            let (1, Some(user)) = body.uses(value) else { return false };
            if user > index + NEAR || self.flow.crosses(value) {
                return false;
            }
            end = user.max(end);
            let user = body.instruction(user);
            // These may wait for their own user.
            if !matches!(user.opcode, Opcode::Gep | Opcode::ICmp | Opcode::FCmp) {
                break;
            }
            result = user.result();
        }
        let between = index + 1..end.max(index + 1);
        body.block(between).iter().all(|at| at.opcode != Opcode::Store || body.operands(at)[0] != address.0)
    }
}

/// Sorts candidates, which come by their values, by where they begin: those that begin together keep their order.
/// `starts` is scratch.
fn sort(from: &mut Vec<Candidate>, to: &mut Vec<Candidate>, starts: &mut Vec<u32>, positions: usize) {
    starts.clear();
    starts.resize(positions, 0);
    for candidate in &*from {
        starts[candidate.first as usize] += 1;
    }
    let mut sum = 0;
    for start in starts.iter_mut() {
        sum += std::mem::replace(start, sum);
    }
    to.clear();
    to.extend_from_slice(from);
    for candidate in &*from {
        let place = &mut starts[candidate.first as usize];
        to[*place as usize] = *candidate;
        *place += 1;
    }
    from.clear();
    starts.clear();
}

/// Hands out registers in one sweep over the intervals, which are sorted by their starts.
fn assign(candidates: &mut [Candidate]) {
    // Which candidate has each register, of what weight, and how long.
    let mut active = [0usize; 32];
    let mut weights = [0u32; 32];
    let mut ends = [0u32; 32];
    let mut taken = 0u32;
    // No register becomes free before.
    let mut next_end = u32::MAX;
    let mut ever_used = 0u32;
    for at in 0..candidates.len() {
        let Candidate { first, last, weight, allowed, .. } = candidates[at];
        if next_end < first {
            next_end = u32::MAX;
            let mut left = taken;
            while left != 0 {
                let reg = left.trailing_zeros() as u8;
                left &= left - 1;
                let end = ends[usize::from(reg & 31)];
                if end < first {
                    taken &= !bit(reg);
                } else {
                    next_end = next_end.min(end);
                }
            }
        }
        let free = allowed & !taken;
        let reg = if free != 0 {
            // Those that need not be saved come first, then those that are saved already.
            let (unsaved, used) = (free & !CALLEE_SAVED, free & ever_used);
            let best = if used != 0 { used } else { free };
            (if unsaved != 0 { unsaved } else { best }).trailing_zeros() as u8
        } else {
            let mut cheapest = (weight, NO_REG);
            let mut left = allowed;
            while left != 0 {
                let reg = left.trailing_zeros() as u8;
                left &= left - 1;
                let other = weights[usize::from(reg & 31)];
                cheapest = if other < cheapest.0 { (other, reg) } else { cheapest };
            }
            if cheapest.1 == NO_REG {
                continue;
            }
            candidates[active[usize::from(cheapest.1 & 31)]].reg = NO_REG;
            cheapest.1
        };
        candidates[at].reg = reg;
        let place = usize::from(reg & 31);
        (active[place], weights[place], ends[place]) = (at, weight, last);
        next_end = next_end.min(last);
        taken |= bit(reg);
        ever_used |= bit(reg);
    }
}

const _: () = assert!(XMM0 == 16, "masks have general registers first");
