//! The walk that finds out how long values live and how much they matter.

use kiln_bitcode::{Body, Instruction, Module, Opcode, Ordering, ValueId, for_values};

use super::{CallKind, LOCAL, Life, NONE, Region};

/// By opcode: how many of the first operands are values, if these are all that are, [`ALL`] or [`UNUSUAL`].
pub(super) static VALUES: [u8; 64] = {
    let mut values = [ALL; 64];
    values[Opcode::Br as usize] = 0;
    values[Opcode::LandingPad as usize] = 0;
    values[Opcode::CondBr as usize] = 1;
    values[Opcode::ExtractValue as usize] = 1;
    values[Opcode::Switch as usize] = 1;
    values[Opcode::IndirectBr as usize] = 1;
    values[Opcode::InsertValue as usize] = 2;
    values[Opcode::Phi as usize] = UNUSUAL;
    values[Opcode::Call as usize] = UNUSUAL;
    values[Opcode::Invoke as usize] = UNUSUAL;
    values[Opcode::CallBr as usize] = UNUSUAL;
    values[Opcode::Alloca as usize] = UNUSUAL;
    values[Opcode::FRem as usize] = UNUSUAL;
    values
};

/// All operands are values.
pub(super) const ALL: u8 = u8::MAX;
/// More than its operands needs to be known of an instruction.
pub(super) const UNUSUAL: u8 = ALL - 1;

/// The walk over all instructions in order. What is used where it is defined costs it one comparison.
pub(super) struct Walk<'r> {
    pub(super) module: &'r Module,
    pub(super) body: &'r Body,
    pub(super) places: &'r mut [u32],
    pub(super) lives: &'r mut Vec<Life>,
    pub(super) region_of: &'r [u32],
    /// Number of the function's first value.
    pub(super) first_value: u32,
    /// How many values come before the first result.
    pub(super) first_result: u32,
    /// How many of these are arguments; the others are constants.
    pub(super) arguments: u32,
    pub(super) here: Here<'r>,
}

/// The block that is being looked at.
pub(super) struct Here<'r> {
    pub(super) at: u32,
    /// The innermost region around it, or [`NONE`].
    pub(super) region: u32,
    pub(super) regions: &'r [Region],
    /// What an operand counts.
    pub(super) weight: u32,
    /// First position from which a variable that is used must be kept.
    pub(super) outermost_start: u32,
}

impl<'r> Walk<'r> {
    /// Goes to the block at `at`.
    #[inline(always)]
    pub(super) fn enter(&mut self, at: u32) {
        let here = &mut self.here;
        (here.at, here.region) = (at, self.region_of[at as usize]);
        (here.weight, here.outermost_start) = match here.region {
            NONE => (1, at),
            region => {
                let region = &here.regions[region as usize];
                (region.weight(), region.outermost)
            }
        };
        // What is none of the function's values passes for one of this block.
        let last = self.places.len() - 1;
        self.places[last] = LOCAL | at;
    }

    /// An instruction that is [`UNUSUAL`]. Gives back what is left of its operands.
    #[inline(never)]
    pub(super) fn unusual<'b>(
        &mut self,
        instruction: &'b Instruction,
        calls: &mut impl FnMut(&Body, &Instruction, &[u32]) -> CallKind,
        call_count: &mut u32,
    ) -> &'b [u32]
    where
        'r: 'b,
    {
        let body = self.body;
        let operands = body.operands(instruction);
        match instruction.opcode {
            Opcode::Call => match calls(body, instruction, operands) {
                CallKind::Nothing => operands.iter().for_each(|value| self.mention(*value)),
                kind => {
                    *call_count += u32::from(kind == CallKind::Call);
                    return operands;
                }
            },
            Opcode::FRem => {
                *call_count += 1;
                return operands;
            }
            Opcode::Alloca => {
                if self.here.at == 0 {
                    self.object(instruction.result().0);
                }
                return operands;
            }
            opcode => {
                if matches!(opcode, Opcode::Invoke | Opcode::CallBr) {
                    *call_count += u32::from(calls(body, instruction, operands) == CallKind::Call);
                }
                for_values(opcode, operands, |value| self.operand(value.0, instruction, 1));
            }
        }
        &[]
    }

    /// What an operand in the block at `position` counts.
    fn weight_at(&self, position: u32) -> u32 {
        match self.region_of[position as usize] {
            NONE => 1,
            region => self.here.regions[region as usize].weight(),
        }
    }

    /// Gives the value `index`, which the block at `block` defines, a life.
    #[inline(never)]
    fn add(&mut self, index: u32, block: u32, kind: u32) -> usize {
        // No instruction makes an argument, and what writes phis counts by itself.
        let weight = if index < self.first_result || kind == Life::PHI { 0 } else { self.weight_at(block) };
        let place = self.lives.len();
        self.places[index as usize] = place as u32;
        self.lives.push(Life { block, last: block, first: block, weight, kind, local: self.body.uses(index).0 });
        place
    }

    /// The result of an `alloca` in the first block.
    fn object(&mut self, result: u32) {
        let place = self.add(result - self.first_value, 0, Life::UNUSED);
        // Nothing is taken back: an object is defined before it is used.
        self.lives[place].first = NONE;
    }

    /// A phi of the block at `block` begins here, or is written.
    #[inline(always)]
    pub(super) fn phi(&mut self, phi: u32, block: u32) {
        let index = phi - self.first_value;
        let place = match self.places[index as usize] {
            place if place & LOCAL != 0 => self.add(index, block, Life::PHI),
            place => place as usize,
        };
        let life = &mut self.lives[place];
        life.last = life.last.max(self.here.at);
        life.first = life.first.min(self.here.at);
        life.weight = life.weight.saturating_add(self.here.weight);
    }

    /// The life of `value`, if it has one or must have one because it is used here.
    #[inline(always)]
    fn life(&mut self, value: u32) -> Option<usize> {
        let index = value.wrapping_sub(self.first_value).min(self.places.len() as u32 - 1);
        match self.places[index as usize] {
            place if place == LOCAL | self.here.at => None,
            place if place & LOCAL != 0 => self.first_use(index, place ^ LOCAL),
            place => Some(place as usize),
        }
    }

    /// The life of a value that has none yet.
    #[inline(always)]
    fn first_use(&mut self, index: u32, block: u32) -> Option<usize> {
        // Constants of the body live nowhere.
        let is_constant = index < self.first_result && index >= self.arguments;
        if is_constant { None } else { Some(self.add(index, block, Life::PLAIN)) }
    }

    /// `value` is operand `at` of `instruction`, or another one that is no address.
    #[inline(always)]
    pub(super) fn operand(&mut self, value: u32, instruction: &Instruction, at: usize) {
        if let Some(place) = self.life(value) {
            let life = &mut self.lives[place];
            self.here.count(life, self.here.weight);
            if life.kind >= Life::UNUSED {
                self.lives[place].kind = if at == 0 { self.use_object(place, instruction) } else { Life::PLAIN };
            }
        }
    }

    /// `value` flows into a phi.
    #[inline(always)]
    pub(super) fn flow(&mut self, value: u32) {
        if let Some(place) = self.life(value) {
            let life = &mut self.lives[place];
            if life.kind >= Life::UNUSED {
                life.kind = Life::PLAIN;
            }
            self.here.count(life, self.here.weight);
        }
    }

    /// An instruction that does nothing names `value`.
    fn mention(&mut self, value: u32) {
        if let Some(place) = self.life(value) {
            self.here.count(&mut self.lives[place], 0);
        }
    }

    /// The first operand of `instruction` is an object: of which kind it is then. A load or store at its address means that a
    /// variable of the type may be there, all else that none is.
    #[inline(always)]
    fn use_object(&mut self, place: usize, instruction: &Instruction) -> u32 {
        let ty = match instruction.opcode {
            Opcode::Load => self.body.result_type(instruction),
            Opcode::Store => self.body.type_of(self.module, ValueId(self.body.operands(instruction)[1])),
            _ => return Life::PLAIN,
        };
        let life = &mut self.lives[place];
        life.first = life.first.min(self.here.outermost_start);
        let kind = if is_plain(instruction) { Life::VARIABLE + ty.0 } else { Life::PLAIN };
        let fits = life.kind == kind || life.kind == Life::UNUSED;
        if fits { kind } else { Life::PLAIN }
    }

    /// Adds what uses in the block that defines a value count.
    #[inline]
    pub(super) fn weigh_local_uses(&mut self) {
        for at in 0..self.lives.len() {
            let Life { block, local, .. } = self.lives[at];
            if local != 0 {
                let weight = local.saturating_mul(self.weight_at(block));
                self.lives[at].weight = self.lives[at].weight.saturating_add(weight);
            }
        }
    }
}

/// Whether an access is neither volatile nor atomic.
fn is_plain(access: &Instruction) -> bool {
    access.flags() & Instruction::VOLATILE == 0 && access.ordering() == Ordering::NotAtomic
}

impl Here<'_> {
    #[inline(always)]
    fn count(&self, life: &mut Life, weight: u32) {
        life.local = life.local.saturating_sub(1);
        // Where so many count that it does not fit, any will do.
        life.weight = life.weight.wrapping_add(weight);
        if life.block != self.at {
            life.last = life.last.max(self.end_of_use(life.block));
        }
    }

    /// How far a value that is defined at `definition` lives if it is used here.
    #[inline(always)]
    fn end_of_use(&self, definition: u32) -> u32 {
        let (mut end, mut region) = (self.at, self.region);
        while region != NONE && self.regions[region as usize].start > definition {
            end = self.regions[region as usize].end;
            region = self.regions[region as usize].parent;
        }
        end
    }
}
