//! Instructions that wait for their one user, which makes them part of itself: comparisons for branches, addresses for loads
//! and stores.

use kiln_bitcode::{Instruction, Opcode, Type, ValueId};

use super::encoder::Gpr;
use super::generator::{Generator, Result};
use super::values::Place;

impl Generator<'_> {
    /// Whether the instruction waits for its one user, which makes it part of itself. What is rare is a call at the end: so no
    /// registers are saved here.
    #[inline(never)]
    pub(crate) fn is_deferred(&mut self, index: u32, instruction: &Instruction) -> bool {
        let result = self.value_index(instruction.result());
        let at = result as usize;
        if !self.values[at].is_last_here() {
            return false;
        }
        let Some(user) = self.body.uses(result).1 else { return false };
        let user = self.body.instruction(user);
        match (instruction.opcode, user.opcode) {
            (Opcode::Gep, Opcode::Load) | (Opcode::ICmp, Opcode::CondBr) => {
                self.values[at].set_deferred(index);
                true
            }
            (Opcode::Gep, Opcode::Store | Opcode::Gep) | (Opcode::FCmp, Opcode::CondBr) | (_, Opcode::Select) => {
                self.is_deferred_into(index, instruction, user)
            }
            _ => false,
        }
    }

    /// The same where it depends on more than what both are.
    #[inline(never)]
    fn is_deferred_into(&mut self, index: u32, instruction: &Instruction, user: &Instruction) -> bool {
        let takes = match (instruction.opcode, user.opcode) {
            // It may be what is stored.
            (Opcode::Gep, Opcode::Store) => self.module.ty(self.body.result_type(instruction)).is_scalar_pointer(),
            (Opcode::Gep, Opcode::Gep) => {
                // One in another is enough: chains of any length would be walked by recursion.
                let base = ValueId(self.body.operands(instruction)[0]);
                !matches!(self.place_of(base), Place::Deferred(_))
                    && self.body.operands(user)[0] == instruction.result().0
                    && self.module.ty(self.body.result_type(user)).is_scalar_pointer()
                    && self.module.ty(self.body.result_type(instruction)).is_scalar_pointer()
            }
            (Opcode::Gep, _) => false,
            (_, Opcode::CondBr) => true,
            _ => {
                self.body.operands(user)[0] == instruction.result().0
                    && matches!(self.module.ty(self.body.result_type(instruction)), Type::Integer(_))
            }
        };
        let takes = takes && !self.needs_call(instruction);
        if takes {
            let at = self.value_index(instruction.result()) as usize;
            self.values[at].set_deferred(index);
        }
        takes
    }

    /// Whether a comparison is made by a function of the run-time library.
    fn needs_call(&self, instruction: &Instruction) -> bool {
        instruction.opcode == Opcode::FCmp
            && *self.module.ty(self.ty(ValueId(self.body.operands(instruction)[0]))) == Type::Fp128
    }

    /// Puts what was put off into `to`.
    pub(crate) fn load_deferred(&mut self, to: Gpr, index: u32) -> Result<()> {
        let body = self.body;
        let instruction = body.instruction(index);
        if instruction.opcode == Opcode::Gep {
            let mem = self.gep_address(instruction)?;
            self.asm.lea(to, &mem);
            return Ok(());
        }
        let operands = body.operands(instruction);
        let test = self.compare_flags(instruction, ValueId(operands[0]), ValueId(operands[1]))?;
        self.materialize(test, to)
    }

    /// What was put off has been made part of its user: now its own operands have been read too. One of them may have
    /// been put off as well, none of that one's.
    #[inline(never)]
    pub(crate) fn read_deferred(&mut self, deferred: u32) {
        let body = self.body;
        let instruction = body.instruction(deferred);
        for value in body.operands(instruction) {
            self.release(ValueId(*value));
        }
    }
}

trait Scalars {
    fn is_scalar_pointer(&self) -> bool;
}

impl Scalars for Type {
    fn is_scalar_pointer(&self) -> bool {
        matches!(self, Type::Pointer { .. })
    }
}
