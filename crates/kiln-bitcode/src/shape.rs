//! Abbreviations that LLVM's writer uses for function bodies and their constants, known by their definition
//! (`ModuleBitcodeWriter::writeBlockInfo`): their numbers and the widths of their types differ between modules.

use crate::ahead::Ahead;
use crate::bitstream::{Field, Operand, Tail, UNABBREV_RECORD};
use crate::body_reader::DEBUG_LOC;
use crate::constants::codes::{INTEGER, NULL, SETTYPE};
use crate::instructions::{BINOP, BR, CAST, CMP2, GEP, LOAD, RET, STORE, UNREACHABLE};

/// Ids that have forms: LLVM's writer takes 5 bits for each.
const WIDTH: u32 = 5;
const COUNT: usize = 1 << WIDTH;

/// The forms of records, by the ids of their abbreviations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forms([Shape; COUNT]);

impl Forms {
    /// The forms that these abbreviations give.
    pub(crate) fn new(abbrevs: impl Iterator<Item = Shape>) -> Self {
        let mut forms = [Shape::Other; COUNT];
        let (first, rest) = (UNABBREV_RECORD as usize, UNABBREV_RECORD as usize + 1);
        forms[first] = Shape::Unabbreviated;
        forms[rest..].iter_mut().zip(abbrevs).for_each(|(slot, shape)| *slot = shape);
        Self(forms)
    }
}

/// The forms of a block's records.
#[derive(Clone, Copy)]
pub(crate) struct Shapes {
    forms: Forms,
    /// Width of the ids.
    width: u32,
}

impl Shapes {
    /// These forms in a block with ids of `width` bits.
    pub(crate) fn new(width: u32, forms: Forms) -> Self {
        // No record of a block with longer ids has a form.
        let known = width <= WIDTH;
        Self { forms: if known { forms } else { Forms([Shape::Other; COUNT]) }, width: width.min(WIDTH) }
    }

    /// The form of the record that comes next.
    #[inline(always)]
    pub(crate) fn next(&self, from: &mut Ahead<'_>) -> Shape {
        self.forms.0[from.fixed(self.width) as usize % COUNT]
    }
}

/// What fields the records of an abbreviation have. `ty` is the width of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// None: code, count and fields as 6-bit numbers.
    Unabbreviated,
    /// Address, type, alignment, volatile.
    Load { ty: u8 },
    /// Address, value, alignment, volatile.
    Store,
    /// Flags, type, array of values.
    Gep { ty: u8 },
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
    Cast { ty: u8 },
    /// The same and flags.
    FlaggedCast { ty: u8 },
    /// In a block of constants: type of those that follow.
    SetType { ty: u8 },
    /// In a block of constants: number with its sign in the lowest bit.
    Integer,
    /// In a block of constants: nothing.
    Null,
    /// To be interpreted.
    Other,
}

impl Shape {
    pub(crate) fn of(code: Operand, operands: &[Operand], tail: Tail) -> Self {
        const NUMBER: Field = Field::Vbr(6);
        /// Types have no more bits, so that a record's first fields fit a word of bits.
        const MAX_WIDTH: u32 = 20;
        let Operand::Literal(code) = code else { return Shape::Other };
        let mut fields = [Field::Char6; 7];
        let Some(known) = fields.get_mut(..operands.len()) else { return Shape::Other };
        for (field, operand) in known.iter_mut().zip(operands) {
            match operand {
                Operand::Field(Field::Fixed(width)) if *width > MAX_WIDTH => return Shape::Other,
                Operand::Field(own) => *field = *own,
                Operand::Literal(_) => return Shape::Other,
            }
        }
        match (u32::try_from(code).unwrap_or(u32::MAX), &*known, tail) {
            (LOAD, [NUMBER, Field::Fixed(ty), Field::Vbr(4), Field::Fixed(1)], Tail::None) => {
                Shape::Load { ty: *ty as u8 }
            }
            (STORE, [NUMBER, NUMBER, Field::Vbr(4), Field::Fixed(1)], Tail::None) => Shape::Store,
            (GEP, [Field::Fixed(3), Field::Fixed(ty)], Tail::Array(NUMBER)) => Shape::Gep { ty: *ty as u8 },
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
            (CAST, [NUMBER, Field::Fixed(ty), Field::Fixed(4)], Tail::None) => Shape::Cast { ty: *ty as u8 },
            (CAST, [NUMBER, Field::Fixed(ty), Field::Fixed(4), Field::Fixed(8)], Tail::None) => {
                Shape::FlaggedCast { ty: *ty as u8 }
            }
            (SETTYPE, [Field::Fixed(ty)], Tail::None) => Shape::SetType { ty: *ty as u8 },
            (INTEGER, [Field::Vbr(8)], Tail::None) => Shape::Integer,
            (NULL, [], Tail::None) => Shape::Null,
            _ => Shape::Other,
        }
    }
}
