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
        // Each landing pad's action is made once: by its label, one more than the action, or 0.
        let mut actions = std::mem::take(&mut self.exceptions.by_label);
        actions.clear();
        for site in &sites {
            // What has none is covered by the gaps between those that have.
            let Some((label, index)) = site.pad else { continue };
            let at = label.0 as usize;
            if actions.len() <= at {
                actions.resize(at + 1, 0);
            }
            if actions[at] == 0 {
                let pad = body.instruction(index);
                debug_assert_eq!(pad.opcode, Opcode::LandingPad);
                actions[at] = self.action(pad)? + 1;
            }
            let pad = (self.asm.offset_of(label) - start, actions[at] - 1);
            self.exceptions.site(site.start - start, site.end - start, pad);
        }
        self.sites = sites;
        self.exceptions.by_label = actions;
        Ok(())
    }
}
