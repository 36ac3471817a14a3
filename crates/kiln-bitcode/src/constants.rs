//! Constants of a module: every initialiser is a tree of these.
//!
//! A [`ConstantId`] is the bitcode's own value number, in which the module's globals, functions and aliases come first.
//! Constants may name later ones; after the whole module is read, [`Constants::check`] makes sure that every operand
//! exists and has the type its place demands, and that no constant contains itself, so that whoever evaluates a tree
//! may do so by plain recursion.

use kiln_abi::FunctionId;

use crate::ahead::{Ahead, Stretch};
use crate::attributes::{IntRange, decode_sign_rotated, read_range};
use crate::bitstream::{Block, Budget, Entry, Record, bytes_of};
use crate::classes::{Class, Classes};
use crate::constant::{BinaryOp, CastOp, Constant, ConstantId, Gep, GlobalRef, InlineAsm};
use crate::error::{Error, ErrorKind};
use crate::shape::{Shape, Shapes};
use crate::types::{Type, TypeId, TypeTable};

/// A part of one of the tables of [`Constants`].
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of<T>(self, table: &[T]) -> &[T] {
        &table[self.start as usize..][..self.len as usize]
    }
}

/// A `getelementptr` whose operands are in a table.
#[derive(Debug, PartialEq)]
struct RawGep {
    source: TypeId,
    flags: u8,
    in_range: Option<Box<IntRange>>,
    operands: Span,
}

/// How a constant is kept: 16 bytes, the rest in tables.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Global(GlobalRef),
    Null,
    Undef,
    Poison,
    Int(u64),
    WideInt(Span),
    Float(u64),
    WideFloat(Span),
    Aggregate(Span),
    Data(Span),
    String { bytes: Span, nul: bool },
    Gep(u32),
    Cast { op: CastOp, value: ConstantId },
    Binary { op: BinaryOp, flags: u8, operands: u32 },
    Negate(ConstantId),
    Select(u32),
    Compare { predicate: u32, operands: u32 },
    ExtractElement(u32),
    InsertElement(u32),
    ShuffleVector(u32),
    BlockAddress { function: ConstantId, block: u32 },
    DsoLocalEquivalent(ConstantId),
    NoCfi(ConstantId),
    PtrAuth(Span),
    InlineAsm(u32),
}

const _: () = assert!(size_of::<Node>() <= 16);

impl Node {
    fn has_operands(&self) -> bool {
        !matches!(
            self,
            Node::Global(_)
                | Node::Null
                | Node::Undef
                | Node::Poison
                | Node::Int(_)
                | Node::WideInt(_)
                | Node::Float(_)
                | Node::WideFloat(_)
                | Node::Data(_)
                | Node::String { .. }
                | Node::InlineAsm(_)
        )
    }
}

/// All values of a module's scope.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Constants {
    /// Value number of the first one: 0 in a module.
    base: u32,
    nodes: Vec<Node>,
    types: Vec<TypeId>,
    operands: Vec<ConstantId>,
    words: Vec<u64>,
    bytes: Vec<u8>,
    geps: Vec<RawGep>,
    asms: Vec<InlineAsm>,
    /// Indices of those that have operands.
    composed: Vec<u32>,
    has_block_address: bool,
    /// 1 + how deep each constant is nested, once checked.
    depths: Vec<u16>,
    /// How many parts each constant has when written out, once checked.
    sizes: Vec<u32>,
    /// Whose block addresses each constant holds, once checked; empty where there are none.
    labels: Vec<Labels>,
}

/// Deepest nesting of a constant. Evaluation recurses this far.
pub(crate) const MAX_DEPTH: u16 = 512;

/// Most parts of a constant expression, those that occur several times counted each time: what evaluation may take.
/// Aggregates are not bounded this way, but by the size of their type.
const MAX_EXPRESSION: u32 = 1 << 16;

pub(crate) const SETTYPE: u32 = 1;
pub(crate) const NULL: u32 = 2;
const UNDEF: u32 = 3;
pub(crate) const INTEGER: u32 = 4;
const WIDE_INTEGER: u32 = 5;
const FLOAT: u32 = 6;
const AGGREGATE: u32 = 7;
const STRING: u32 = 8;
const CSTRING: u32 = 9;
const CE_BINOP: u32 = 10;
const CE_CAST: u32 = 11;
const CE_GEP_OLD: u32 = 12;
const CE_SELECT: u32 = 13;
const CE_EXTRACTELT: u32 = 14;
const CE_INSERTELT: u32 = 15;
const CE_SHUFFLEVEC: u32 = 16;
const CE_CMP: u32 = 17;
const CE_SHUFVEC_EX: u32 = 19;
const CE_INBOUNDS_GEP: u32 = 20;
const BLOCKADDRESS: u32 = 21;
const DATA: u32 = 22;
const CE_GEP_WITH_INRANGE_INDEX_OLD: u32 = 24;
const CE_UNOP: u32 = 25;
const POISON: u32 = 26;
const DSO_LOCAL_EQUIVALENT: u32 = 27;
const NO_CFI: u32 = 29;
const INLINEASM: u32 = 30;
const CE_GEP_WITH_INRANGE: u32 = 31;
const CE_GEP: u32 = 32;
const PTRAUTH: u32 = 33;
const PTRAUTH2: u32 = 34;

/// What a constant without operands is charged.
const BYTES_PER_CONSTANT: u64 = 32;

impl Constants {
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    #[inline]
    pub(crate) fn ty(&self, id: ConstantId) -> TypeId {
        self.types[(id.0 - self.base) as usize]
    }

    /// Their types, in order.
    pub(crate) fn types(&self) -> &[TypeId] {
        &self.types
    }

    /// Forgets all constants; the next one will have value number `base`.
    pub(crate) fn restart(&mut self, base: u32) {
        self.base = base;
        self.nodes.clear();
        self.types.clear();
        self.operands.clear();
        self.words.clear();
        self.bytes.clear();
        self.geps.clear();
        self.asms.clear();
        self.composed.clear();
        self.has_block_address = false;
    }

    /// Whether constant `id` of this table is an integer written as such.
    pub(crate) fn is_integer(&self, id: ConstantId) -> bool {
        matches!(self.nodes[(id.0 - self.base) as usize], Node::Int(_) | Node::WideInt(_) | Node::Null)
    }

    /// Constant `id` of this table, if it is an integer or pointer of at most 64 bits whose value is known without the
    /// linker.
    #[inline]
    pub(crate) fn number(&self, id: ConstantId, classes: &Classes) -> Option<u64> {
        match self.nodes[(id.0 - self.base) as usize] {
            Node::Int(number) => Some(number),
            Node::Null | Node::Undef | Node::Poison => {
                let facts = classes.of(self.ty(id));
                let is_small = facts.class == Class::Integer && facts.scalar <= 64 || facts.class == Class::Pointer;
                is_small.then_some(0)
            }
            _ => None,
        }
    }

    /// Constant `id`, if it is an integer written as such, of at most 64 bits.
    #[inline]
    pub(crate) fn index(&self, id: ConstantId) -> Option<u64> {
        match self.nodes.get(id.0.wrapping_sub(self.base) as usize)? {
            Node::Int(number) => Some(*number),
            Node::Null => Some(0),
            _ => None,
        }
    }

    /// Gives the next value number to a function, global or alias.
    #[inline(always)]
    pub(crate) fn push_global(&mut self, global: GlobalRef, ty: TypeId) {
        self.nodes.push(Node::Global(global));
        self.types.push(ty);
    }

    /// Constant `id` of a module.
    pub(crate) fn get(&self, id: ConstantId) -> Constant<'_> {
        self.get_local(self, id)
    }

    /// Constant `id` of this table, where `globals` is the table of its module.
    pub(crate) fn get_local<'a>(&'a self, globals: &Constants, id: ConstantId) -> Constant<'a> {
        let three = |at: u32| {
            let at = at as usize;
            [self.operands[at], self.operands[at + 1], self.operands[at + 2]]
        };
        match self.nodes[(id.0 - self.base) as usize] {
            Node::Global(global) => Constant::Global(global),
            Node::Null => Constant::Null,
            Node::Undef => Constant::Undef,
            Node::Poison => Constant::Poison,
            Node::Int(value) => Constant::Int(value),
            Node::WideInt(words) => Constant::WideInt(words.of(&self.words)),
            Node::Float(bits) => Constant::Float(u128::from(bits)),
            Node::WideFloat(words) => {
                let words = words.of(&self.words);
                Constant::Float(u128::from(words[0]) | u128::from(words[1]) << 64)
            }
            Node::Aggregate(elements) => Constant::Aggregate(elements.of(&self.operands)),
            Node::Data(bytes) => Constant::Data(bytes.of(&self.bytes)),
            Node::String { bytes, nul } => Constant::String { bytes: bytes.of(&self.bytes), nul },
            Node::Gep(index) => {
                let gep = &self.geps[index as usize];
                let inbounds = gep.flags & 1 != 0;
                Constant::Gep(Gep {
                    source: gep.source,
                    inbounds,
                    nusw: inbounds || gep.flags & 2 != 0,
                    nuw: gep.flags & 4 != 0,
                    in_range: gep.in_range.as_deref(),
                    operands: gep.operands.of(&self.operands),
                })
            }
            Node::Cast { op, value } => Constant::Cast { op, value },
            Node::Binary { op, flags, operands } => {
                let at = operands as usize;
                Constant::Binary { op, flags, left: self.operands[at], right: self.operands[at + 1] }
            }
            Node::Negate(value) => Constant::Negate(value),
            Node::Select(at) => {
                let [condition, then, otherwise] = three(at);
                Constant::Select { condition, then, otherwise }
            }
            Node::Compare { predicate, operands } => {
                let at = operands as usize;
                Constant::Compare { predicate, left: self.operands[at], right: self.operands[at + 1] }
            }
            Node::ExtractElement(at) => {
                Constant::ExtractElement { vector: self.operands[at as usize], index: self.operands[at as usize + 1] }
            }
            Node::InsertElement(at) => {
                let [vector, element, index] = three(at);
                Constant::InsertElement { vector, element, index }
            }
            Node::ShuffleVector(at) => {
                let [left, right, mask] = three(at);
                Constant::ShuffleVector { left, right, mask }
            }
            Node::BlockAddress { function, block } => match globals.global(function) {
                Some(GlobalRef::Function(function)) => Constant::BlockAddress { function, block },
                _ => Constant::Poison,
            },
            Node::DsoLocalEquivalent(id) => globals.global(id).map_or(Constant::Poison, Constant::DsoLocalEquivalent),
            Node::NoCfi(id) => globals.global(id).map_or(Constant::Poison, Constant::NoCfi),
            Node::PtrAuth(span) => {
                let operands = span.of(&self.operands);
                Constant::PtrAuth {
                    pointer: operands[0],
                    key: operands[1],
                    discriminator: operands[2],
                    address_discriminator: operands[3],
                    deactivation_symbol: operands.get(4).copied(),
                }
            }
            Node::InlineAsm(index) => Constant::InlineAsm(&self.asms[index as usize]),
        }
    }

    #[inline]
    pub(crate) fn global(&self, id: ConstantId) -> Option<GlobalRef> {
        match self.nodes.get((id.0 - self.base) as usize) {
            Some(Node::Global(global)) => Some(*global),
            _ => None,
        }
    }

    /// Reads a CONSTANTS_BLOCK and numbers its constants on.
    pub(crate) fn read<'a>(
        &mut self,
        block: &mut Block<'a>,
        shapes: &Shapes,
        types: &TypeTable,
        record: &mut Record<'a>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        // Strings are most of a block that is large.
        self.bytes.reserve(block.remaining_bytes());
        // Until a SETTYPE, constants are i32 (BitcodeReader::parseConstants); LLVM's writer always starts with one.
        let mut current = None;
        loop {
            let before = self.nodes.len();
            let place = self.read_usual(shapes, types.all(), &mut current, block.ahead());
            block.go_to(place)?;
            block.charge((self.nodes.len() - before) as u64 * BYTES_PER_CONSTANT, budget)?;
            let abbrev = match block.next(budget)? {
                Entry::End => return Ok(()),
                Entry::SubBlock(_) => {
                    block.skip_block()?;
                    continue;
                }
                Entry::Record(abbrev) => abbrev,
            };
            let node = match block.text_abbrev(abbrev) {
                // Most bytes of a constants block are strings: they go straight to their table.
                Some((code @ (STRING | CSTRING), field)) => {
                    let start = self.bytes.len();
                    block.read_text(field, &mut self.bytes, budget)?;
                    let bytes = span(start, self.bytes.len(), block)?;
                    Node::String { bytes, nul: code == CSTRING }
                }
                _ => {
                    block.read_record(abbrev, record, budget)?;
                    if record.code == SETTYPE {
                        current = Some(types.get(record.require(1, block)?[0], block)?);
                        continue;
                    }
                    let Some(ty) = current else {
                        return Err(block.error(ErrorKind::TypeMismatch { what: "constant without a type" }));
                    };
                    self.read_node(record, ty, types, block)?
                }
            };
            let Some(ty) = current else {
                return Err(block.error(ErrorKind::TypeMismatch { what: "constant without a type" }));
            };
            if let Node::String { bytes, nul } = node {
                check_string(bytes.len, nul, ty, types, block)?;
            }
            if self.nodes.len() >= u32::MAX as usize {
                return Err(block.error(ErrorKind::Limit { what: "constants", limit: u64::from(u32::MAX) }));
            }
            if node.has_operands() {
                self.composed.push(self.nodes.len() as u32);
            }
            self.nodes.push(node);
            self.types.push(ty);
        }
    }

    /// Reads types, integers and nulls in the form that LLVM's writer gives them, up to the first other record, whose
    /// place is returned. What is not right is left to be refused.
    fn read_usual(&mut self, shapes: &Shapes, types: &[Type], current: &mut Option<TypeId>, from: Stretch<'_>) -> u64 {
        let mut from = Ahead::new(from);
        let mut ty = *current;
        // Of the current type, if it is one for numbers that fit.
        let mut mask = ty.map_or(0, |ty| number_mask(&types[ty.0 as usize]));
        loop {
            let place = from.rest().place;
            from.load();
            let (id, node) = match (shapes.next(&mut from), ty) {
                (Shape::SetType { ty: width }, _) => {
                    let number = from.fixed(u32::from(width));
                    let Some(found) = types.get(number as usize).filter(|_| from.finish()) else { break place };
                    ty = Some(TypeId(number as u32));
                    *current = ty;
                    mask = number_mask(found);
                    continue;
                }
                (Shape::Integer, Some(ty)) if mask != 0 => (ty, Node::Int(decode_sign_rotated(from.octets()) & mask)),
                (Shape::Null, Some(ty)) if mask != 0 || matches!(types[ty.0 as usize], Type::Pointer { .. }) => {
                    (ty, Node::Null)
                }
                _ => break place,
            };
            if !from.finish() || self.nodes.len() >= u32::MAX as usize {
                break place;
            }
            self.nodes.push(node);
            self.types.push(id);
        }
    }

    fn read_node(
        &mut self,
        record: &Record<'_>,
        ty: TypeId,
        types: &TypeTable,
        block: &Block<'_>,
    ) -> Result<Node, Error> {
        let mismatch = |what| block.error(ErrorKind::TypeMismatch { what });
        let fields = record.values();
        let need = |needs| record.require(needs, block);
        let id = |value: u64| constant_id(value, block);
        Ok(match record.code {
            NULL => match types.all()[ty.0 as usize] {
                Type::Void | Type::Function { .. } | Type::Label => {
                    return Err(mismatch("null of a type without values"));
                }
                _ => Node::Null,
            },
            UNDEF => Node::Undef,
            POISON => Node::Poison,
            INTEGER => {
                let Type::Integer(bits @ 1..=64) = types.all()[ty.0 as usize] else {
                    return Err(mismatch("integer constant of another type"));
                };
                Node::Int(decode_sign_rotated(need(1)?[0]) & (u64::MAX >> (64 - bits)))
            }
            WIDE_INTEGER => {
                let Type::Integer(bits) = types.all()[ty.0 as usize] else {
                    return Err(mismatch("integer constant of another type"));
                };
                let words = bits.div_ceil(64) as usize;
                if need(1)?.len() > words {
                    return Err(
                        block.error(ErrorKind::BadValue { what: "words of an integer", value: fields.len() as u64 })
                    );
                }
                let start = self.words.len();
                self.words.extend(fields.iter().map(|v| decode_sign_rotated(*v)));
                if let Some(top) = self.words.last_mut()
                    && fields.len() == words
                    && bits % 64 != 0
                {
                    *top &= u64::MAX >> (64 - bits % 64);
                }
                match fields.len() {
                    1 if bits <= 64 => Node::Int(self.words.pop().unwrap_or_default()),
                    _ => Node::WideInt(span(start, self.words.len(), block)?),
                }
            }
            FLOAT => self.read_float(need(1)?, &types.all()[ty.0 as usize], block)?,
            AGGREGATE => {
                let start = self.operands.len();
                for field in fields {
                    self.operands.push(id(*field)?);
                }
                Node::Aggregate(span(start, self.operands.len(), block)?)
            }
            STRING | CSTRING => {
                let start = self.bytes.len();
                self.bytes.extend(bytes_of(fields, block)?);
                Node::String { bytes: span(start, self.bytes.len(), block)?, nul: record.code == CSTRING }
            }
            DATA => self.read_data(fields, ty, types, block)?,
            CE_BINOP => {
                let op = BinaryOp::decode(need(3)?[0], block)?;
                let flags = (fields.get(3).copied().unwrap_or(0) & 3) as u8;
                let operands = self.push_operands(&fields[1..3], block)?.start;
                Node::Binary { op, flags, operands }
            }
            CE_UNOP => match need(2)?[0] {
                0 => Node::Negate(id(fields[1])?),
                value => return Err(block.error(ErrorKind::BadValue { what: "operation", value })),
            },
            CE_CAST => Node::Cast { op: CastOp::decode(need(3)?[0], block)?, value: id(fields[2])? },
            CE_GEP_OLD | CE_INBOUNDS_GEP | CE_GEP_WITH_INRANGE_INDEX_OLD | CE_GEP | CE_GEP_WITH_INRANGE => {
                let gep = self.read_gep(record, types, block)?;
                self.geps.push(gep);
                Node::Gep(self.geps.len() as u32 - 1)
            }
            CE_SELECT => Node::Select(self.push_operands(&need(3)?[..3], block)?.start),
            CE_EXTRACTELT => {
                // [type, vector, index type, index]
                let operands = [need(4)?[1], fields[3]];
                Node::ExtractElement(self.push_operands(&operands, block)?.start)
            }
            CE_INSERTELT => {
                // [vector, element, index type, index]
                let operands = [need(4)?[0], fields[1], fields[3]];
                Node::InsertElement(self.push_operands(&operands, block)?.start)
            }
            CE_SHUFFLEVEC => Node::ShuffleVector(self.push_operands(&need(3)?[..3], block)?.start),
            CE_SHUFVEC_EX => Node::ShuffleVector(self.push_operands(&need(4)?[1..4], block)?.start),
            CE_CMP => {
                let predicate = u32::try_from(need(4)?[3]).unwrap_or(u32::MAX);
                Node::Compare { predicate, operands: self.push_operands(&fields[1..3], block)?.start }
            }
            BLOCKADDRESS => {
                let function = id(need(3)?[1])?;
                let Ok(index) = u32::try_from(fields[2]) else {
                    return Err(block.error(ErrorKind::BadValue { what: "basic block", value: fields[2] }));
                };
                self.has_block_address = true;
                Node::BlockAddress { function, block: index }
            }
            DSO_LOCAL_EQUIVALENT => Node::DsoLocalEquivalent(id(need(2)?[1])?),
            NO_CFI => Node::NoCfi(id(need(2)?[1])?),
            PTRAUTH => Node::PtrAuth(self.push_operands(&need(4)?[..4], block)?),
            PTRAUTH2 => Node::PtrAuth(self.push_operands(&need(5)?[..5], block)?),
            INLINEASM => {
                let asm = read_asm(record, types, block)?;
                self.asms.push(asm);
                Node::InlineAsm(self.asms.len() as u32 - 1)
            }
            // LLVM takes an unknown constant for undef; here it would be a silently wrong initialiser.
            code => return Err(block.error(ErrorKind::UnknownRecord { code })),
        })
    }

    /// `[type, flags?, in-range?, (operand type, operand)…]`; typed pointers, which leave out the type, are foreign.
    fn read_gep(&mut self, record: &Record<'_>, types: &TypeTable, block: &Block<'_>) -> Result<RawGep, Error> {
        let fields = record.require(2, block)?;
        let source = types.get(fields[0], block)?;
        let mut at = 1;
        let mut flags = 0;
        let mut in_range = None;
        match record.code {
            CE_INBOUNDS_GEP => flags = 1,
            CE_GEP_OLD => {}
            // The index of the old in-range mark is dropped, as LLVM does.
            CE_GEP_WITH_INRANGE_INDEX_OLD => (flags, at) = (fields[1] & 1, 2),
            CE_GEP => (flags, at) = (fields[1], 2),
            _ => {
                flags = fields[1];
                let bits = record.require(3, block)?[2];
                let (range, used) = read_range(&fields[3..], bits).ok_or_else(|| {
                    block.error(ErrorKind::BadValue { what: "range of a constant address", value: bits })
                })?;
                in_range = Some(range);
                at = 3 + used;
            }
        }
        let pairs = &fields[at..];
        if pairs.is_empty() || pairs.len() % 2 != 0 {
            let needs = fields.len() + 1;
            return Err(block.error(ErrorKind::ShortRecord { code: record.code, len: fields.len(), needs }));
        }
        let start = self.operands.len();
        for pair in pairs.chunks_exact(2) {
            self.operands.push(constant_id(pair[1], block)?);
        }
        let operands = span(start, self.operands.len(), block)?;
        Ok(RawGep { source, flags: flags as u8 & 7, in_range: in_range.map(Box::new), operands })
    }

    fn push_operands(&mut self, values: &[u64], block: &Block<'_>) -> Result<Span, Error> {
        let start = self.operands.len();
        for value in values {
            self.operands.push(constant_id(*value, block)?);
        }
        span(start, self.operands.len(), block)
    }

    fn read_float(&mut self, fields: &[u64], ty: &Type, block: &Block<'_>) -> Result<Node, Error> {
        let second = || {
            let short = ErrorKind::ShortRecord { code: FLOAT, len: fields.len(), needs: 2 };
            fields.get(1).copied().ok_or_else(|| block.error(short))
        };
        let [low, high] = match ty {
            Type::Half | Type::BFloat => return Ok(Node::Float(fields[0] & 0xffff)),
            Type::Float => return Ok(Node::Float(fields[0] & 0xffff_ffff)),
            Type::Double => return Ok(Node::Float(fields[0])),
            // The exponent's word comes second (ModuleBitcodeWriter::writeConstants).
            Type::X86Fp80 => [second()? & 0xffff | fields[0] << 16, fields[0] >> 48],
            Type::Fp128 | Type::PpcFp128 => [fields[0], second()?],
            _ => return Err(block.error(ErrorKind::TypeMismatch { what: "floating-point constant of another type" })),
        };
        let start = self.words.len();
        self.words.extend([low, high]);
        Ok(Node::WideFloat(span(start, start + 2, block)?))
    }

    fn read_data(&mut self, fields: &[u64], ty: TypeId, types: &TypeTable, block: &Block<'_>) -> Result<Node, Error> {
        let mismatch =
            || block.error(ErrorKind::TypeMismatch { what: "data of another type than an array of numbers" });
        let (count, element) = match types.all()[ty.0 as usize] {
            Type::Array { count, element } => (count, element),
            Type::Vector { count, element, scalable: false } => (u64::from(count), element),
            _ => return Err(mismatch()),
        };
        if count != fields.len() as u64 {
            return Err(block.error(ErrorKind::TypeMismatch { what: "data of another length than its type" }));
        }
        let start = self.bytes.len();
        match types.all()[element.0 as usize] {
            Type::Integer(8) => self.bytes.extend(fields.iter().map(|v| *v as u8)),
            Type::Integer(16) | Type::Half | Type::BFloat => {
                self.bytes.extend(fields.iter().flat_map(|v| (*v as u16).to_le_bytes()));
            }
            Type::Integer(32) | Type::Float => {
                self.bytes.extend(fields.iter().flat_map(|v| (*v as u32).to_le_bytes()));
            }
            Type::Integer(64) | Type::Double => self.bytes.extend(fields.iter().flat_map(|v| v.to_le_bytes())),
            _ => return Err(mismatch()),
        }
        Ok(Node::Data(span(start, self.bytes.len(), block)?))
    }

    /// Calls `visit` for each operand of the constant at `index`.
    fn for_operands<E>(&self, index: usize, mut visit: impl FnMut(ConstantId) -> Result<(), E>) -> Result<(), E> {
        let run = |start: u32, len: u32| Span { start, len }.of(&self.operands);
        let operands = match self.nodes[index] {
            Node::Aggregate(span) | Node::PtrAuth(span) => span.of(&self.operands),
            Node::Gep(index) => self.geps[index as usize].operands.of(&self.operands),
            Node::Binary { operands, .. } | Node::Compare { operands, .. } | Node::ExtractElement(operands) => {
                run(operands, 2)
            }
            Node::Select(at) | Node::InsertElement(at) | Node::ShuffleVector(at) => run(at, 3),
            Node::Cast { value, .. } | Node::Negate(value) => return visit(value),
            Node::BlockAddress { function: value, .. } | Node::DsoLocalEquivalent(value) | Node::NoCfi(value) => {
                return visit(value);
            }
            _ => return Ok(()),
        };
        operands.iter().try_for_each(|id| visit(*id))
    }

    /// Checks what can only be checked when all constants of a module are known: see the module's comment.
    pub(crate) fn check(&mut self, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        self.check_within(None, types, block)
    }

    /// The same for the constants of a body, which may name those of its module.
    pub(crate) fn check_local(
        &mut self,
        module: &Constants,
        types: &TypeTable,
        block: &Block<'_>,
    ) -> Result<(), Error> {
        if self.composed.is_empty() {
            return Ok(());
        }
        self.check_within(Some(module), types, block)
    }

    fn check_within(&mut self, outer: Option<&Constants>, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        let view = View { table: self, outer };
        for index in self.composed.iter().map(|index| *index as usize) {
            self.for_operands(index, |operand| {
                if view.exists(operand) {
                    return Ok(());
                }
                let count = u64::from(self.base) + self.nodes.len() as u64;
                let index = u64::from(operand.0);
                Err(block.error(ErrorKind::BadReference { what: "constant", index, count }))
            })?;
            view.check_types(index, types, block)?;
        }
        self.check_depth(outer, block)
    }

    /// Refuses constants that contain themselves, are nested too deep, or are too large expressions when written out;
    /// and notes which ones hold block addresses.
    fn check_depth(&mut self, outer: Option<&Constants>, block: &Block<'_>) -> Result<(), Error> {
        const UNSEEN: u16 = 0;
        const OPEN: u16 = u16::MAX;
        // 0: not seen, OPEN: being visited, else 1 + depth.
        let mut depths = std::mem::take(&mut self.depths);
        let mut sizes = std::mem::take(&mut self.sizes);
        depths.clear();
        depths.resize(self.nodes.len(), 1);
        self.composed.iter().for_each(|index| depths[*index as usize] = UNSEEN);
        sizes.clear();
        sizes.resize(self.nodes.len(), 1);
        // Who holds labels of a body's own constants is of no interest.
        let note_labels = self.has_block_address && outer.is_none();
        let mut labels = vec![Labels::None; if note_labels { self.nodes.len() } else { 0 }];
        let mut stack = Vec::new();
        for root in self.composed.iter().map(|index| *index as usize) {
            if depths[root] != UNSEEN {
                continue;
            }
            stack.push(root);
            while let Some(&index) = stack.last() {
                let first_visit = depths[index] == UNSEEN;
                if !first_visit && depths[index] != OPEN {
                    stack.pop();
                    continue;
                }
                depths[index] = OPEN;
                let (mut deepest, mut size, before) = (0, 1u32, stack.len());
                let mut holds = if note_labels { self.own_labels(index) } else { Labels::None };
                self.for_operands(index, |operand| {
                    let Some(own) = operand.0.checked_sub(self.base) else {
                        let (depth, parts) = outer.map_or((1, 1), |outer| outer.extent(operand));
                        deepest = deepest.max(depth);
                        size = size.saturating_add(parts);
                        return Ok(());
                    };
                    let own = own as usize;
                    match depths[own] {
                        UNSEEN if first_visit => stack.push(own),
                        // On the second visit all operands are done, or an operand is an ancestor.
                        UNSEEN | OPEN => {
                            let constant = self.base + index as u32;
                            return Err(block.error(ErrorKind::CyclicConstant { constant }));
                        }
                        depth => {
                            deepest = deepest.max(depth);
                            size = size.saturating_add(sizes[own]);
                            holds = holds.with(labels.get(own).copied().unwrap_or_default());
                        }
                    }
                    Ok(())
                })?;
                if stack.len() == before {
                    let exceeds = |what, limit| Err(block.error(ErrorKind::Limit { what, limit }));
                    if deepest >= MAX_DEPTH {
                        return exceeds("nesting of constants", u64::from(MAX_DEPTH));
                    }
                    if size > MAX_EXPRESSION && !matches!(self.nodes[index], Node::Aggregate(_)) {
                        return exceeds("size of a constant expression", u64::from(MAX_EXPRESSION));
                    }
                    depths[index] = deepest + 1;
                    sizes[index] = size;
                    if let Some(known) = labels.get_mut(index) {
                        *known = holds;
                    }
                    stack.pop();
                }
            }
        }
        (self.depths, self.sizes, self.labels) = (depths, sizes, labels);
        Ok(())
    }

    /// 1 + depth and number of parts of a constant that has been checked.
    fn extent(&self, id: ConstantId) -> (u16, u32) {
        (self.depths[id.0 as usize], self.sizes[id.0 as usize])
    }

    fn own_labels(&self, index: usize) -> Labels {
        match self.get(ConstantId(self.base + index as u32)) {
            Constant::BlockAddress { function, .. } => Labels::Of(function),
            _ => Labels::None,
        }
    }

    /// Whose block addresses `id` holds, however deep inside.
    pub(crate) fn labels(&self, id: ConstantId) -> Labels {
        self.labels.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn has_block_address(&self) -> bool {
        self.has_block_address
    }
}

/// A table together with that of the module around it, if it is a body's.
struct View<'c> {
    table: &'c Constants,
    outer: Option<&'c Constants>,
}

impl View<'_> {
    /// The table that holds `id`.
    fn holder(&self, id: ConstantId) -> &Constants {
        if id.0 < self.table.base { self.outer.unwrap_or(self.table) } else { self.table }
    }

    /// Between the constants of a module and those of a body lie the arguments.
    fn exists(&self, id: ConstantId) -> bool {
        let holder = self.holder(id);
        id.0.checked_sub(holder.base).is_some_and(|index| (index as usize) < holder.nodes.len())
    }

    fn ty(&self, id: ConstantId) -> TypeId {
        self.holder(id).ty(id)
    }

    fn global(&self, id: ConstantId) -> Option<GlobalRef> {
        self.holder(id).global(id)
    }

    fn check_types(&self, index: usize, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        let mismatch = |what| Err(block.error(ErrorKind::TypeMismatch { what }));
        match self.table.nodes[index] {
            Node::Aggregate(span) => {
                let elements = span.of(&self.table.operands);
                let fits = match &types.all()[self.table.types[index].0 as usize] {
                    Type::Array { count, element } => {
                        *count == elements.len() as u64 && elements.iter().all(|e| self.ty(*e) == *element)
                    }
                    Type::Vector { count, element, scalable: false } => {
                        *count as usize == elements.len() && elements.iter().all(|e| self.ty(*e) == *element)
                    }
                    Type::Struct { fields, .. } => elements.iter().map(|e| self.ty(*e)).eq(fields.iter().copied()),
                    _ => false,
                };
                if fits { Ok(()) } else { mismatch("elements of an aggregate") }
            }
            Node::BlockAddress { function, .. } if !matches!(self.global(function), Some(GlobalRef::Function(_))) => {
                mismatch("block address of something else than a function")
            }
            Node::DsoLocalEquivalent(of) | Node::NoCfi(of) if self.global(of).is_none() => {
                mismatch("equivalent of something else than a global")
            }
            _ => Ok(()),
        }
    }
}

/// Whose block addresses a constant holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Labels {
    #[default]
    None,
    /// This function's.
    Of(FunctionId),
    /// Several functions', of which this is the first.
    Mixed(FunctionId),
}

impl Labels {
    pub(crate) fn first(self) -> Option<FunctionId> {
        match self {
            Labels::None => None,
            Labels::Of(function) | Labels::Mixed(function) => Some(function),
        }
    }

    fn with(self, other: Labels) -> Labels {
        match (self, other) {
            (labels, Labels::None) | (Labels::None, labels) => labels,
            (Labels::Of(a), Labels::Of(b)) if a == b => self,
            (Labels::Of(a) | Labels::Mixed(a), Labels::Of(b) | Labels::Mixed(b)) => Labels::Mixed(a.min(b)),
        }
    }
}

/// The bits that numbers of an integer type of at most 64 bits have; none for other types.
fn number_mask(ty: &Type) -> u64 {
    match ty {
        Type::Integer(bits @ 1..=64) => u64::MAX >> (64 - bits),
        _ => 0,
    }
}

fn constant_id(value: u64, block: &Block<'_>) -> Result<ConstantId, Error> {
    match u32::try_from(value) {
        Ok(id) => Ok(ConstantId(id)),
        Err(_) => Err(block.error(ErrorKind::BadValue { what: "value number", value })),
    }
}

fn span(start: usize, end: usize, block: &Block<'_>) -> Result<Span, Error> {
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(start), Ok(end)) => Ok(Span { start, len: end - start }),
        _ => Err(block.error(ErrorKind::Limit { what: "bytes of constants", limit: u64::from(u32::MAX) })),
    }
}

fn check_string(len: u32, nul: bool, ty: TypeId, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
    let fits = match types.all()[ty.0 as usize] {
        Type::Array { count, element } => {
            types.all()[element.0 as usize] == Type::Integer(8) && count == u64::from(len) + u64::from(nul)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(block.error(ErrorKind::TypeMismatch { what: "string of another type" })) }
}

/// `[type, flags, template length, template…, constraints length, constraints…]`
fn read_asm(record: &Record<'_>, types: &TypeTable, block: &Block<'_>) -> Result<InlineAsm, Error> {
    let fields = record.require(4, block)?;
    let ty = types.get(fields[0], block)?;
    let text = |fields: &[u64]| -> Result<(Box<[u8]>, usize), Error> {
        let len = fields.first().copied().unwrap_or(u64::MAX);
        match fields.get(1..).and_then(|rest| rest.get(..usize::try_from(len).ok()?)) {
            Some(chars) => Ok((bytes_of(chars, block)?.into(), chars.len() + 1)),
            None => Err(block.error(ErrorKind::BadValue { what: "length of inline assembly", value: len })),
        }
    };
    let (template, used) = text(&fields[2..])?;
    let (constraints, _) = text(&fields[2 + used..])?;
    Ok(InlineAsm { ty, flags: (fields[1] & 15) as u8, template, constraints })
}
