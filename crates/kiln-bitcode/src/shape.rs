//! Abbreviations that LLVM's writer uses for function bodies, known by their definition
//! (`ModuleBitcodeWriter::writeBlockInfo`): their numbers and the widths of their types differ between modules.

use crate::bitstream::{Field, Operand, Tail};
use crate::body_reader::DEBUG_LOC;
use crate::instructions::{BINOP, BR, CAST, CMP2, GEP, LOAD, RET, STORE, UNREACHABLE};

/// What fields the records of an abbreviation have. `ty` is the width of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// None: code, count and fields as 6-bit numbers.
    Unabbreviated,
    /// Address, type, alignment, volatile.
    Load { ty: u32 },
    /// Address, value, alignment, volatile.
    Store,
    /// Flags, type, array of values.
    Gep { ty: u32 },
    /// Target.
    Jump,
    /// Then, otherwise, condition.
    Branch,
    /// Left, right, predicate.
    Compare,
    /// The same and flags.
    FlaggedCompare,
    /// Nothing.
    ReturnVoid,
    /// Value.
    Return,
    /// Nothing.
    Unreachable,
    /// Line, column, scope, inlined at, is implicit, atom group, atom rank.
    Location,
    /// Left, right, operation.
    Binary,
    /// The same and flags.
    FlaggedBinary,
    /// Value, type, operation.
    Cast { ty: u32 },
    /// The same and flags.
    FlaggedCast { ty: u32 },
    /// To be interpreted.
    Other,
}

impl Shape {
    pub(crate) fn of(code: Operand, operands: &[Operand], tail: Tail) -> Self {
        const NUMBER: Field = Field::Vbr(6);
        let Operand::Literal(code) = code else { return Shape::Other };
        let mut fields = [Field::Char6; 7];
        let Some(known) = fields.get_mut(..operands.len()) else { return Shape::Other };
        for (field, operand) in known.iter_mut().zip(operands) {
            match operand {
                Operand::Field(own) => *field = *own,
                Operand::Literal(_) => return Shape::Other,
            }
        }
        match (u32::try_from(code).unwrap_or(u32::MAX), &*known, tail) {
            (LOAD, [NUMBER, Field::Fixed(ty), Field::Vbr(4), Field::Fixed(1)], Tail::None) => Shape::Load { ty: *ty },
            (STORE, [NUMBER, NUMBER, Field::Vbr(4), Field::Fixed(1)], Tail::None) => Shape::Store,
            (GEP, [Field::Fixed(3), Field::Fixed(ty)], Tail::Array(NUMBER)) => Shape::Gep { ty: *ty },
            (BR, [NUMBER], Tail::None) => Shape::Jump,
            (BR, [NUMBER, NUMBER, NUMBER], Tail::None) => Shape::Branch,
            (CMP2, [NUMBER, NUMBER, Field::Fixed(6)], Tail::None) => Shape::Compare,
            (CMP2, [NUMBER, NUMBER, Field::Fixed(6), Field::Fixed(8)], Tail::None) => Shape::FlaggedCompare,
            (RET, [], Tail::None) => Shape::ReturnVoid,
            (RET, [NUMBER], Tail::None) => Shape::Return,
            (UNREACHABLE, [], Tail::None) => Shape::Unreachable,
            (
                DEBUG_LOC,
                [NUMBER, Field::Vbr(8), NUMBER, NUMBER, Field::Fixed(1), NUMBER, Field::Vbr(3)],
                Tail::None,
            ) => Shape::Location,
            (BINOP, [NUMBER, NUMBER, Field::Fixed(4)], Tail::None) => Shape::Binary,
            (BINOP, [NUMBER, NUMBER, Field::Fixed(4), Field::Fixed(8)], Tail::None) => Shape::FlaggedBinary,
            (CAST, [NUMBER, Field::Fixed(ty), Field::Fixed(4)], Tail::None) => Shape::Cast { ty: *ty },
            (CAST, [NUMBER, Field::Fixed(ty), Field::Fixed(4), Field::Fixed(8)], Tail::None) => {
                Shape::FlaggedCast { ty: *ty }
            }
            _ => Shape::Other,
        }
    }
}
