//! A function body as stable lines of text, like [`rows`](crate::rows()) of modules.
//!
//! The first line names the function, then comes a line per instruction: block, result, operation, type of the result,
//! what the instruction says beside its operands, the operands, and its place in the source. Arguments are `%a0` and
//! so on, results `%0` in their order, blocks `b0`; constants are written out.

use std::fmt::{self, Write};

use crate::body::{BlockId, Body, Call, Location, ValueId};
use crate::constant::{ConstantId, GlobalRef};
use crate::module::Module;
use crate::opcode::Opcode;
use crate::packed::Instruction;
use crate::rows::Row;

/// The lines of `body`, which belongs to `module`.
pub fn body_rows<'m>(module: &'m Module, body: &'m Body) -> impl Iterator<Item = String> + 'm {
    let row = move |write: &dyn Fn(&mut Row<'m>) -> fmt::Result| {
        let mut row = Row { module, body: Some(body), out: String::new() };
        if write(&mut row).is_err() {
            row.out.push('…');
        }
        row.out
    };
    let header = row(&|row| {
        row.put("body ")?;
        row.global_ref(GlobalRef::Function(body.function()))?;
        write!(row, " blocks={} arguments={}", body.block_count(), body.argument_count())
    });
    let mut locations = body.locations().iter().copied().peekable();
    let blocks = (0..body.block_count()).map(BlockId);
    let instructions = blocks.flat_map(move |block| body.block_instructions(block).map(move |index| (block, index)));
    std::iter::once(header).chain(instructions.map(move |(block, index)| {
        let location = locations.next_if(|location| location.instruction == index);
        row(&|row| row.instruction(body, block, body.instruction(index), location))
    }))
}

impl<'m> Row<'m> {
    fn instruction(
        &mut self,
        body: &'m Body,
        block: BlockId,
        instruction: &Instruction,
        location: Option<Location>,
    ) -> fmt::Result {
        write!(self, "b{} ", block.0)?;
        match instruction.result() {
            ValueId::NONE => self.put("-")?,
            ValueId(result) => write!(self, "%{}", result - body.first_result())?,
        }
        write!(self, " {} ", instruction.opcode.name())?;
        self.ty(body.result_type(instruction))?;
        self.detail("flags", instruction.flags() & 0xff)?;
        self.detail("fast", u16::from(instruction.fast_math()))?;
        self.detail("sub", u16::from(instruction.sub))?;
        self.detail("align", u16::from(instruction.align()))?;
        self.detail("ordering", instruction.ordering() as u16)?;
        match instruction.opcode {
            Opcode::Gep | Opcode::Alloca => {
                self.put(" of=")?;
                self.ty(crate::TypeId(instruction.aux()))?;
            }
            Opcode::Call | Opcode::Invoke | Opcode::CallBr => self.call(body, body.call(instruction))?,
            _ => {}
        }
        let names: &[_] = match instruction.opcode {
            Opcode::LandingPad => &[(Instruction::CLEANUP, " cleanup")],
            Opcode::Alloca => &[(Instruction::SPECIAL_ALLOCA, " special")],
            _ => &[
                (Instruction::VOLATILE, " volatile"),
                (Instruction::SINGLE_THREAD, " singlethread"),
                (Instruction::WEAK, " weak"),
            ],
        };
        for (flag, name) in names {
            self.put(if instruction.flags() & flag != 0 { name } else { "" })?;
        }
        self.put(": ")?;
        let operands = body.operands(instruction);
        self.list(kinds(instruction, operands).zip(operands), |row, (kind, word)| row.operand(body, kind, *word))?;
        match location {
            Some(Location { line, column, inlined_at: 0, .. }) => write!(self, " at={line}:{column}"),
            Some(Location { line, column, .. }) => write!(self, " at={line}:{column}:inlined"),
            None => Ok(()),
        }
    }

    fn detail(&mut self, key: &str, value: u16) -> fmt::Result {
        if value == 0 { Ok(()) } else { write!(self, " {key}={value}") }
    }

    fn call(&mut self, body: &'m Body, call: &Call) -> fmt::Result {
        let module = self.module;
        self.put(" fn=")?;
        self.ty(call.ty)?;
        write!(self, " cc={} tail={}", call.convention, call.tail as u8)?;
        self.attributes(module.attributes(call.attributes))?;
        for (tag, operands) in body.bundles(call) {
            self.put(" bundle ")?;
            self.text(&module.operand_bundle_tags()[tag as usize])?;
            self.put("(")?;
            self.list(operands, |row, word| row.operand(body, Kind::Value, *word))?;
            self.put(")")?;
        }
        Ok(())
    }

    fn operand(&mut self, body: &'m Body, kind: Kind, word: u32) -> fmt::Result {
        let value = ValueId(word);
        match kind {
            Kind::Block => write!(self, "b{word}"),
            Kind::Number => write!(self, "{word}"),
            Kind::Value if value == ValueId::NONE => self.put("metadata"),
            Kind::Value if body.is_constant(value) => self.constant(ConstantId(word)),
            Kind::Value => {
                self.ty(body.type_of(self.module, value))?;
                match word.checked_sub(body.first_result()) {
                    Some(result) => write!(self, " %{result}"),
                    None => write!(self, " %a{}", word - body.first_value()),
                }
            }
        }
    }
}

/// What an operand is: see [`Opcode`].
#[derive(Clone, Copy)]
enum Kind {
    Value,
    Block,
    Number,
}

/// The kinds of the operands of `instruction`.
fn kinds(instruction: &Instruction, operands: &[u32]) -> impl Iterator<Item = Kind> + use<> {
    use Kind::{Block, Number, Value};
    // CLEANUPRET and CATCHRET have no counts; CATCHSWITCH has handlers, the others arguments.
    let (opcode, code) = (instruction.opcode, instruction.sub);
    let targets = if opcode == Opcode::CallBr { operands[2] as usize } else { 0 };
    (0..operands.len()).map(move |at| match opcode {
        Opcode::Br => Block,
        Opcode::CondBr | Opcode::IndirectBr if at > 0 => Block,
        Opcode::Phi | Opcode::Switch if at % 2 == 1 => Block,
        Opcode::Invoke if at == 1 || at == 2 => Block,
        Opcode::CallBr if at == 2 => Number,
        Opcode::CallBr if (1..3 + targets).contains(&at) => Block,
        Opcode::LandingPad if at % 2 == 0 => Number,
        Opcode::ExtractValue if at > 0 => Number,
        Opcode::InsertValue if at > 1 => Number,
        Opcode::Funclet if code <= 49 && at > 0 => Block,
        Opcode::Funclet if code > 49 && at == 1 => Number,
        Opcode::Funclet if code == 52 && at > 1 => Block,
        _ => Value,
    })
}
