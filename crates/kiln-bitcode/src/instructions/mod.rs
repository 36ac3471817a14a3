//! The meaning of each instruction record (`BitcodeReader::parseFunctionBody`, `ModuleBitcodeWriter::writeInstruction`).
//!
//! What the compiler relies on is checked here: see [`Module::read_body`](crate::Module::read_body) for the list.

mod arithmetic;
pub(crate) mod codes;
mod control;
mod memory;

pub(crate) use self::arithmetic::{CASTS, FLOATS, INTEGERS, PREDICATES, converts, known_flags};
pub(crate) use self::codes::*;
pub(crate) use self::memory::AllocaFields;
use crate::bitstream::Block;
use crate::body::ValueId;
use crate::body_reader::{BodyReader, Fields};
use crate::classes::Class;
use crate::constant::{Constant, ConstantId};
use crate::error::{Error, ErrorKind};
use crate::opcode::Opcode;
use crate::packed::Draft;
use crate::types::{Type, TypeId};

/// `Value::MaxAlignmentExponent` + 1
const MAX_ALIGN: u64 = 33;

type Outcome = Result<(), Error>;

impl BodyReader<'_> {
    /// Reads the record of an instruction.
    #[inline]
    pub(crate) fn read_instruction(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        match f.code {
            LOAD => self.load(f, b),
            STORE => self.store(f, b),
            GEP => self.gep(f, b),
            CALL => self.call(f, b),
            BR => self.br(f, b),
            CMP2 => self.compare(f, b),
            BINOP => self.binary(f, b),
            CAST => self.cast(f, b),
            PHI => self.phi(f, b),
            ALLOCA => self.alloca(f, b),
            RET => self.ret(f, b),
            INVOKE => self.invoke(f, b),
            VSELECT => self.select(f, b),
            EXTRACTVAL => self.extract_value(f, b),
            INSERTVAL => self.insert_value(f, b),
            SWITCH => self.switch(f, b),
            UNREACHABLE => self.unreachable(f, b),
            UNOP => self.negate(f, b),
            EXTRACTELT => self.extract_element(f, b),
            INSERTELT => self.insert_element(f, b),
            SHUFFLEVEC => self.shuffle(f, b),
            LANDINGPAD => self.landing_pad(f, b),
            RESUME => {
                let (value, ty) = self.typed(f, b)?;
                self.storable(ty, b)?;
                let instruction = Draft::new(Opcode::Resume, self.void);
                let first = self.operand(value);
                self.terminate(instruction, first);
                Ok(())
            }
            FREEZE => {
                let (value, ty) = self.typed(f, b)?;
                self.storable(ty, b)?;
                let first = self.operand(value);
                self.push(Draft::new(Opcode::Freeze, ty), first);
                Ok(())
            }
            INDIRECTBR => self.indirect_br(f, b),
            VAARG => self.va_arg(f, b),
            LOADATOMIC => self.load(f, b),
            STOREATOMIC => self.store(f, b),
            FENCE => self.fence(f, b),
            CMPXCHG => self.cmpxchg(f, b),
            ATOMICRMW => self.atomic_rmw(f, b),
            CALLBR => self.callbr(f, b),
            CLEANUPRET | CATCHRET | CATCHPAD | CLEANUPPAD | CATCHSWITCH => self.funclet(f, b),
            code => Err(b.error(ErrorKind::UnknownRecord { code })),
        }
    }

    /// Where the operands of the next instruction begin.
    #[inline(always)]
    fn start(&self) -> usize {
        self.body.operands.len()
    }

    /// Adds one operand.
    #[inline(always)]
    fn operand(&mut self, operand: u32) -> usize {
        let first = self.start();
        self.body.operands.push(operand);
        first
    }

    #[inline(always)]
    fn operands<const N: usize>(&mut self, operands: [u32; N]) -> usize {
        let first = self.start();
        self.body.operands.extend_from_slice(&operands);
        first
    }

    /// Adds an instruction that ends its block.
    #[inline]
    fn terminate(&mut self, draft: Draft, first: usize) {
        self.push(draft, first);
        self.closed += 1;
        self.body.blocks.push(self.body.len() as u32);
    }

    /// Adds a value of any type, or of metadata, with its type if it is defined later.
    pub(crate) fn push_any(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (value, ty) = self.typed(f, b)?;
        let value = match self.classes.class(ty) {
            Class::Metadata => ValueId::NONE.0,
            Class::Token => value,
            _ => {
                self.storable(ty, b)?;
                value
            }
        };
        self.body.operands.push(value);
        Ok(())
    }

    /// The next field as a block that control may go to: any but the entry.
    #[inline(always)]
    fn target(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let index = self.need(f, b)?;
        if index == 0 || index >= u64::from(self.blocks) {
            let count = u64::from(self.blocks);
            return Err(b.error(ErrorKind::BadReference { what: "basic block", index, count }));
        }
        Ok(index as u32)
    }

    #[inline(always)]
    fn expect(&self, holds: bool, what: &'static str, b: &Block<'_>) -> Outcome {
        if holds { Ok(()) } else { Err(b.error(ErrorKind::TypeMismatch { what })) }
    }

    #[inline(always)]
    fn storable(&self, ty: TypeId, b: &Block<'_>) -> Outcome {
        self.expect(self.classes.class(ty).is_storable(), "value of a type that cannot be stored", b)
    }

    #[inline(always)]
    fn align(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u8, Error> {
        match self.need(f, b)? {
            value @ 0..=MAX_ALIGN => Ok(value as u8),
            value => Err(b.error(ErrorKind::BadValue { what: "exponent of an alignment", value })),
        }
    }

    #[inline(always)]
    fn optional_fast_math(&self, f: &mut Fields<'_>) -> u8 {
        if f.rest().is_empty() { 0 } else { fast_math_flags(f.take().unwrap_or_default()) }
    }

    /// Length of a vector, nothing for other types.
    fn lanes(&self, ty: TypeId) -> Option<(u32, bool)> {
        match self.module.ty(ty) {
            Type::Vector { count, scalable, .. } => Some((*count, *scalable)),
            _ => None,
        }
    }

    /// Element type of a vector.
    fn element(&self, ty: TypeId, b: &Block<'_>) -> Result<TypeId, Error> {
        match self.module.ty(ty) {
            Type::Vector { element, .. } => Ok(*element),
            _ => Err(b.error(ErrorKind::TypeMismatch { what: "element of something else than a vector" })),
        }
    }

    /// A type that no record names. LLVM's writer lists the types of all instructions, so that the module has it.
    fn missing_type(&self, ty: Option<TypeId>, b: &Block<'_>) -> Result<TypeId, Error> {
        ty.ok_or_else(|| b.error(ErrorKind::TypeMismatch { what: "result whose type the module lacks" }))
    }

    /// `value` as a constant, if it is one that exists.
    fn constant(&self, value: u32) -> Option<Constant<'_>> {
        let known = value < self.next && self.body.is_constant(ValueId(value));
        if known { self.body.constant(self.module, ValueId(value)) } else { None }
    }

    fn is_constant(&self, value: u32) -> bool {
        value < self.next && self.body.is_constant(ValueId(value))
    }

    /// Whether the constant `value` is an integer written as such.
    fn is_integer(&self, value: u32) -> bool {
        let own = value >= self.first;
        let table = if own { &self.body.constants } else { &self.module.constants };
        table.is_integer(ConstantId(value))
    }
}

/// `getDecodedFastMathFlags`: in bitcode `reassoc` is the highest bit, and the lowest once meant all of them.
#[inline]
fn fast_math_flags(flags: u64) -> u8 {
    let reassociate = (flags >> 7 & 1) as u8;
    if flags & 1 != 0 { 0x7f } else { flags as u8 & 0x7e | reassociate }
}
