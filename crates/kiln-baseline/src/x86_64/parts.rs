//! What values are made of: parts, each of which fits one register.

use kiln_bitcode::{Module, Type, TypeId};

use crate::compiler::Unsupported;

/// A kind of register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bank {
    Gpr,
    Xmm,
}

/// A part of a value of some type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartType {
    pub(crate) bank: Bank,
    /// Bytes that are used in the register: 4 or 8, or 16 for vectors and `fp128`.
    pub(crate) bytes: u8,
    /// Bits of an integer; those above are garbage. 0 in XMM registers.
    pub(crate) bits: u8,
    /// Bytes in memory.
    pub(crate) store: u8,
    /// Where they are in the memory image of the whole value.
    pub(crate) offset: u32,
}

impl PartType {
    /// The only part of an integer or pointer of `bytes` bytes: see [`PartTable::word`].
    #[inline]
    pub(crate) fn word(bytes: u8) -> Self {
        Self { bank: Bank::Gpr, bytes: if bytes == 8 { 8 } else { 4 }, bits: bytes * 8, store: bytes, offset: 0 }
    }
}

/// A shape of vectors that this compiler knows: lanes of whole bytes in XMM registers, of which the last may be part full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) lanes: u32,
    /// Bytes of a lane, in registers and in memory.
    pub(crate) lane_bytes: u8,
    /// Lanes are `float` or `double`.
    pub(crate) float: bool,
    /// Lanes are `half` or `bfloat`, which are moved but not computed with.
    pub(crate) narrow: bool,
}

impl Shape {
    pub(crate) fn bytes(self) -> u32 {
        self.lanes * u32::from(self.lane_bytes)
    }
}

/// More parts than this in one value: better in memory, which the optimizer's code does.
const PARTS_MAX: usize = 40;

/// The parts of the types of a module, found when first asked for.
#[derive(Debug, Default)]
pub(crate) struct PartTable {
    parts: Vec<PartType>,
    known: Vec<Parts>,
    /// By type: [`PartTable::word`].
    words: Vec<u8>,
}

/// The parts of one type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    /// The first in the table, or [`UNKNOWN`].
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// The first one itself: nearly all types have no other.
    pub(crate) only: PartType,
}

const UNKNOWN: u32 = u32::MAX;

/// Integers wider than this take several parts.
const WORD_BITS: u32 = 64;

impl PartTable {
    /// Starts anew with the types of `module`.
    pub(crate) fn reset(&mut self, module: &Module) {
        self.parts.clear();
        self.known.clear();
        let unknown = Parts { first: UNKNOWN, count: 0, only: integer(0, 0) };
        self.known.resize(module.types().len(), unknown);
        self.words.clear();
        self.words.resize(module.types().len(), 0);
    }

    /// The parts of the type.
    #[inline]
    pub(crate) fn of(&mut self, module: &Module, ty: TypeId) -> Result<Parts, Box<Unsupported>> {
        match self.known[ty.0 as usize] {
            Parts { first: UNKNOWN, .. } => self.find(module, ty),
            parts => Ok(parts),
        }
    }

    /// Bytes of the type, if it is known as an integer or pointer of 1, 2, 4 or 8 bytes without unused bits; otherwise 0.
    #[inline]
    pub(crate) fn word(&self, ty: TypeId) -> u8 {
        self.words[ty.0 as usize]
    }

    /// First part of the type and their number.
    #[inline]
    pub(crate) fn range(&mut self, module: &Module, ty: TypeId) -> Result<(u32, u32), Box<Unsupported>> {
        let Parts { first, count, .. } = self.of(module, ty)?;
        Ok((first, count))
    }

    #[cold]
    fn find(&mut self, module: &Module, ty: TypeId) -> Result<Parts, Box<Unsupported>> {
        let first = self.parts.len();
        if let Err(error) = self.add(module, ty, 0, first) {
            self.parts.truncate(first);
            return Err(error);
        }
        let count = (self.parts.len() - first) as u32;
        let only = self.parts.get(first).copied().unwrap_or(integer(0, 0));
        let parts = Parts { first: first as u32, count, only };
        self.known[ty.0 as usize] = parts;
        if count == 1 && only.bank == Bank::Gpr && matches!(only.bits, 8 | 16 | 32 | 64) {
            self.words[ty.0 as usize] = only.store;
        }
        Ok(parts)
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> PartType {
        self.parts[index as usize]
    }

    fn add(&mut self, module: &Module, ty: TypeId, offset: u32, first: usize) -> Result<(), Box<Unsupported>> {
        if self.parts.len() - first > PARTS_MAX {
            return Err(Box::new(Unsupported::Type("a large aggregate")));
        }
        match module.ty(ty) {
            Type::Void => {}
            Type::Integer(bits) if *bits <= WORD_BITS => self.parts.push(integer(*bits, offset)),
            Type::Integer(bits) => {
                let words = bits.div_ceil(WORD_BITS);
                if words as usize > PARTS_MAX {
                    return Err(Box::new(Unsupported::Type("a very wide integer")));
                }
                for word in 0..words {
                    self.parts.push(integer((bits - word * WORD_BITS).min(WORD_BITS), offset + word * 8));
                }
            }
            Type::Pointer { address_space: 0 } => self.parts.push(integer(WORD_BITS, offset)),
            Type::Pointer { .. } => return Err(Box::new(Unsupported::Type("a pointer of another address space"))),
            Type::Float => self.parts.push(float(4, offset)),
            Type::Double => self.parts.push(float(8, offset)),
            Type::Half | Type::BFloat => self.parts.push(PartType { store: 2, ..float(4, offset) }),
            // The significand, and the exponent with the sign: x87 registers hold nothing between instructions.
            Type::X86Fp80 => {
                self.parts.push(integer(WORD_BITS, offset));
                self.parts.push(integer(16, offset + 8));
            }
            Type::Fp128 => self.parts.push(float(16, offset)),
            Type::Array { count, element } => {
                let stride =
                    module.layout_of(*element).ok_or_else(|| Box::new(Unsupported::Type("a type without size")))?.size;
                for index in 0..*count {
                    if index as usize > PARTS_MAX {
                        return Err(Box::new(Unsupported::Type("a large aggregate")));
                    }
                    self.add(module, *element, offset + (index * stride) as u32, first)?;
                }
            }
            Type::Struct { fields, .. } => {
                for (field, start) in fields.iter().zip(module.field_offsets(ty)) {
                    self.add(module, *field, offset + *start as u32, first)?;
                }
            }
            Type::Vector { count, element, scalable: false }
                if *module.ty(*element) == Type::Integer(1) && (1..=64).contains(count) =>
            {
                self.parts.push(integer(*count, offset));
            }
            Type::Vector { .. } => {
                let shape =
                    shape(module, ty).ok_or_else(|| Box::new(Unsupported::Type("a vector of an unusual shape")))?;
                let mut left = shape.bytes();
                let mut offset = offset;
                while left > 0 {
                    let store = left.min(16) as u8;
                    self.parts.push(PartType { bank: Bank::Xmm, bytes: 16, bits: 0, store, offset });
                    left -= u32::from(store);
                    offset += u32::from(store);
                }
            }
            _ => return Err(Box::new(Unsupported::Type("an unusual type"))),
        }
        Ok(())
    }
}

fn integer(bits: u32, offset: u32) -> PartType {
    let store = bits.div_ceil(8) as u8;
    PartType { bank: Bank::Gpr, bytes: if bits <= 32 { 4 } else { 8 }, bits: bits as u8, store, offset }
}

fn float(bytes: u8, offset: u32) -> PartType {
    PartType { bank: Bank::Xmm, bytes, bits: 0, store: bytes, offset }
}

/// The shape of vector type `ty`, if it is one that registers hold lane by lane as memory does.
pub(crate) fn shape(module: &Module, ty: TypeId) -> Option<Shape> {
    let Type::Vector { count, element, scalable: false } = module.ty(ty) else { return None };
    let (lane_bytes, float) = match module.ty(*element) {
        Type::Integer(8) => (1, false),
        Type::Integer(16) => (2, false),
        Type::Integer(32) => (4, false),
        Type::Integer(64) | Type::Pointer { address_space: 0 } => (8, false),
        Type::Half | Type::BFloat => (2, false),
        Type::Float => (4, true),
        Type::Double => (8, true),
        _ => return None,
    };
    let narrow = matches!(module.ty(*element), Type::Half | Type::BFloat);
    let shape = Shape { lanes: *count, lane_bytes, float, narrow };
    (*count <= 128 && shape.bytes() <= 128).then_some(shape)
}

/// Splits `ty` for the field that `indices` lead to: its type and how many parts lie before it.
pub(crate) fn field(
    table: &mut PartTable,
    module: &Module,
    ty: TypeId,
    indices: &[u32],
) -> Result<(TypeId, u32), Box<Unsupported>> {
    let mut ty = ty;
    let mut before = 0;
    for index in indices {
        match module.ty(ty) {
            Type::Struct { fields, .. } => {
                let inner = *fields
                    .get(*index as usize)
                    .ok_or_else(|| Box::new(Unsupported::Instruction("a damaged index")))?;
                for field in &fields[..*index as usize] {
                    before += table.range(module, *field)?.1;
                }
                ty = inner;
            }
            Type::Array { element, .. } => {
                before += table.range(module, *element)?.1 * index;
                ty = *element;
            }
            _ => return Err(Box::new(Unsupported::Instruction("a damaged index"))),
        }
    }
    Ok((ty, before))
}
