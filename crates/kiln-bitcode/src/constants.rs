//! Constants of a module: every initialiser is a tree of these.
//!
//! A [`ConstantId`] is the bitcode's own value number, in which the module's globals, functions and aliases come first.
//! Constants may name later ones; after the whole module is read, [`Constants::check`] makes sure that every operand
//! exists and has the type its place demands, and that no constant contains itself, so that whoever evaluates a tree
//! may do so by plain recursion.

mod check;
pub(crate) mod codes;
mod records;

use crate::attributes::IntRange;
use crate::classes::{Class, Classes};
use crate::constant::{BinaryOp, CastOp, Constant, ConstantId, Gep, GlobalRef, InlineAsm};
use crate::types::TypeId;

pub(crate) use check::Labels;

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

    /// Makes room for so many functions, globals and aliases.
    pub(crate) fn reserve_globals(&mut self, count: usize) {
        self.nodes.reserve(count);
        self.types.reserve(count);
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

    /// The operands of the constant at `index`.
    #[inline]
    fn operands(&self, index: usize) -> &[ConstantId] {
        let run = |start: u32, len: u32| Span { start, len }.of(&self.operands);
        match &self.nodes[index] {
            Node::Aggregate(span) | Node::PtrAuth(span) => span.of(&self.operands),
            Node::Gep(index) => self.geps[*index as usize].operands.of(&self.operands),
            Node::Binary { operands, .. } | Node::Compare { operands, .. } | Node::ExtractElement(operands) => {
                run(*operands, 2)
            }
            Node::Select(at) | Node::InsertElement(at) | Node::ShuffleVector(at) => run(*at, 3),
            Node::Cast { value, .. } | Node::Negate(value) => std::slice::from_ref(value),
            Node::BlockAddress { function: value, .. } | Node::DsoLocalEquivalent(value) | Node::NoCfi(value) => {
                std::slice::from_ref(value)
            }
            _ => &[],
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
