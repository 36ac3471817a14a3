//! Constants as records: CONSTANTS_BLOCK (LLVM's BitcodeReader::parseConstants).

use super::codes::{
    AGGREGATE, BLOCKADDRESS, CE_BINOP, CE_CAST, CE_CMP, CE_EXTRACTELT, CE_GEP, CE_GEP_OLD, CE_GEP_WITH_INRANGE,
    CE_GEP_WITH_INRANGE_INDEX_OLD, CE_INBOUNDS_GEP, CE_INSERTELT, CE_SELECT, CE_SHUFFLEVEC, CE_SHUFVEC_EX, CE_UNOP,
    CSTRING, DATA, DSO_LOCAL_EQUIVALENT, FLOAT, INLINEASM, INTEGER, NO_CFI, NULL, POISON, PTRAUTH, PTRAUTH2, SETTYPE,
    STRING, UNDEF, WIDE_INTEGER,
};
use super::{Constants, Node, RawGep, Span};
use crate::ahead::{Ahead, Stretch};
use crate::attributes::{decode_sign_rotated, read_range};
use crate::bitstream::{Block, Budget, Entry, Field, Record, bytes_of};
use crate::constant::{BinaryOp, CastOp, ConstantId, InlineAsm};
use crate::error::{Error, ErrorKind};
use crate::shape::{Shape, Shapes};
use crate::types::{Type, TypeId, TypeTable};

/// What a constant without operands is charged.
const BYTES_PER_CONSTANT: u64 = 32;

/// How a string is written, and how long it is.
#[derive(Clone, Copy)]
struct Text {
    abbrev: u32,
    field: Field,
    bytes: u32,
    nul: bool,
}

impl Constants {
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
                    let nul = code == CSTRING;
                    let Some(ty) = current else {
                        return Err(block.error(ErrorKind::TypeMismatch { what: "constant without a type" }));
                    };
                    check_string(bytes.len, nul, ty, types, block)?;
                    self.push(Node::String { bytes, nul }, ty, block)?;
                    // What follows is mostly more of them.
                    self.read_strings_like(Text { abbrev, field, bytes: bytes.len, nul }, ty, block, budget)?;
                    continue;
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
            if node.has_operands() {
                self.composed.push(self.nodes.len() as u32);
            }
            self.push(node, ty, block)?;
        }
    }

    fn push(&mut self, node: Node, ty: TypeId, block: &Block<'_>) -> Result<(), Error> {
        if self.nodes.len() >= u32::MAX as usize {
            return Err(block.error(ErrorKind::Limit { what: "constants", limit: u64::from(u32::MAX) }));
        }
        self.nodes.push(node);
        self.types.push(ty);
        Ok(())
    }

    /// Reads the strings that come next, as long as they are like `text`, which is of type `ty`: all those of one type follow
    /// each other.
    fn read_strings_like(
        &mut self,
        text: Text,
        ty: TypeId,
        block: &mut Block<'_>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let (width, count) = (block.id_bits(), u64::from(text.bytes));
        let before = self.nodes.len();
        loop {
            let mut ahead = Ahead::new(block.ahead());
            ahead.load();
            let (id, number) = (ahead.fixed(width), ahead.number());
            // What is not like it, or too much, is left to others.
            let is_like = id == u64::from(text.abbrev) && number == count && ahead.finish();
            let bytes = span(self.bytes.len(), self.bytes.len() + text.bytes as usize, block);
            let Some(bytes) = bytes.ok().filter(|_| is_like && self.nodes.len() < u32::MAX as usize) else { break };
            block.go_to(ahead.rest().place)?;
            block.read_characters(text.field, count, &mut self.bytes)?;
            self.nodes.push(Node::String { bytes, nul: text.nul });
            self.types.push(ty);
        }
        let read = (self.nodes.len() - before) as u64;
        block.charge(read * (count + BYTES_PER_CONSTANT), budget)
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
