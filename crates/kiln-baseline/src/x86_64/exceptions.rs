//! Landing pads' clauses as actions, and the table of call sites.

use kiln_bitcode::{Constant, ConstantId, Instruction, Opcode, Type, ValueId};

use super::generator::{Generator, Result};
use crate::compiler::Unsupported;

impl Generator<'_> {
    /// The number of a type in this function's table: as `llvm.eh.typeid.for` gives it and clauses ask for it.
    pub(crate) fn type_number(&mut self, value: ValueId) -> Result<i32> {
        let ty = self.type_symbol(value)?;
        Ok(self.exceptions.type_number(ty))
    }

    /// The symbol of a type's information; `None` for null, which stands for all types.
    fn type_symbol(&mut self, value: ValueId) -> Result<Option<u32>> {
        match self.constant(value) {
            Some(Constant::Null) => Ok(None),
            Some(Constant::Global(base)) => match self.symbol(base) {
                super::encoder::Target::Symbol(index) => Ok(Some(index)),
                _ => unreachable!("symbols are symbols"),
            },
            _ => Err(Box::new(Unsupported::Instruction("an unusual type of exceptions"))),
        }
    }

    /// The action of a landing pad.
    fn action(&mut self, pad: &Instruction) -> Result<u32> {
        let body = self.body;
        let mut clauses = Vec::new();
        for clause in body.operands(pad).chunks_exact(2) {
            let value = ValueId(clause[1]);
            if clause[0] == 0 {
                clauses.push(self.type_number(value)?);
                continue;
            }
            let count = match self.module.ty(self.ty(value)) {
                Type::Array { count, .. } => *count,
                _ => return Err(Box::new(Unsupported::Instruction("an unusual filter"))),
            };
            let elements: Vec<ConstantId> = match self.constant(value) {
                Some(Constant::Aggregate(elements)) => elements.to_vec(),
                _ if count == 0 => Vec::new(),
                _ => return Err(Box::new(Unsupported::Instruction("an unusual filter"))),
            };
            let mut types = Vec::with_capacity(elements.len());
            for element in elements {
                types.push(self.type_symbol(ValueId(element.0))?);
            }
            clauses.push(self.exceptions.filter_number(&types));
        }
        Ok(self.exceptions.action(&clauses, pad.flags() & Instruction::CLEANUP != 0))
    }

    /// Fills in the table of call sites; all offsets are `start` less than the encoder's.
    pub(crate) fn fill_sites(&mut self, start: u32) -> Result<()> {
        if self.sites.iter().all(|site| site.pad.is_none()) {
            return Ok(());
        }
        let body = self.body;
        let sites = std::mem::take(&mut self.sites);
        // Each landing pad's action is made once.
        let mut actions: Vec<(u32, u32)> = Vec::new();
        for site in &sites {
            let pad = match site.pad {
                None => None,
                Some((label, index)) => {
                    let known = actions.iter().find(|(at, _)| *at == index).map(|(_, action)| *action);
                    let action = match known {
                        Some(action) => action,
                        None => {
                            let pad = body.instruction(index);
                            debug_assert_eq!(pad.opcode, Opcode::LandingPad);
                            let action = self.action(pad)?;
                            actions.push((index, action));
                            action
                        }
                    };
                    Some((self.asm.offset_of(label) - start, action))
                }
            };
            self.exceptions.site(site.start - start, site.end - start, pad);
        }
        self.sites = sites;
        Ok(())
    }
}
