//! Function bodies, decoded into arrays that are reused from function to function.

use std::ops::Range;

use kiln_abi::FunctionId;

use crate::attributes::AttributeListId;
use crate::constant::{Constant, ConstantId};
use crate::constants::Constants;
use crate::module::Module;
use crate::types::TypeId;

/// A value that an instruction can name: the module's constants, globals included, come first
/// ([`Module::constant_count`](crate::Module::constant_count) of them), then the function's arguments, the constants of
/// the body, and the results of instructions in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

impl ValueId {
    /// No value: the result of a `void` call, an operand that is metadata.
    pub const NONE: ValueId = ValueId(u32::MAX);
}

/// A basic block of a function, counted from the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// What an instruction does. Operands are the words of [`Body::operands`]: V is a [`ValueId`], B a [`BlockId`], N a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// V
    FNeg,
    /// V V, as all arithmetic
    Add,
    /// V V
    Sub,
    /// V V
    Mul,
    /// V V
    UDiv,
    /// V V
    SDiv,
    /// V V
    URem,
    /// V V
    SRem,
    /// V V
    Shl,
    /// V V
    LShr,
    /// V V
    AShr,
    /// V V
    And,
    /// V V
    Or,
    /// V V
    Xor,
    /// V V
    FAdd,
    /// V V
    FSub,
    /// V V
    FMul,
    /// V V
    FDiv,
    /// V V
    FRem,
    /// V, as all conversions
    Trunc,
    /// V
    ZExt,
    /// V
    SExt,
    /// V
    FpToUi,
    /// V
    FpToSi,
    /// V
    UiToFp,
    /// V
    SiToFp,
    /// V
    FpTrunc,
    /// V
    FpExt,
    /// V
    PtrToInt,
    /// V
    PtrToAddr,
    /// V
    IntToPtr,
    /// V
    BitCast,
    /// V
    AddrSpaceCast,
    /// base V, then the indices V…; `aux` is the source element type
    Gep,
    /// condition V, then V, otherwise V
    Select,
    /// vector V, index V
    ExtractElement,
    /// vector V, element V, index V
    InsertElement,
    /// V, V, mask V (a constant)
    ShuffleVector,
    /// aggregate V, indices N…
    ExtractValue,
    /// aggregate V, value V, indices N…
    InsertValue,
    /// V V; `sub` is the predicate (`CmpInst::Predicate`)
    ICmp,
    /// V V; `sub` is the predicate
    FCmp,
    /// (V B)…, an entry per edge
    Phi,
    /// V
    Freeze,
    /// list V; the type is that of the result
    VaArg,
    /// count V; `aux` is the allocated type
    Alloca,
    /// address V
    Load,
    /// address V, value V
    Store,
    /// address V, expected V, new V; `sub` is the ordering on failure; flag [`Instruction::WEAK`]
    CmpXchg,
    /// address V, value V; `sub` is the operation (`AtomicRMWInst::BinOp`)
    AtomicRmw,
    /// no operands
    Fence,
    /// callee V, arguments V… (`NONE` for metadata); see [`Body::call`]
    Call,
    /// callee V, normal B, unwind B, arguments V…; see [`Body::call`]
    Invoke,
    /// (kind N: 0 catch, 1 filter; V)…; flag [`Instruction::CLEANUP`]
    LandingPad,
    /// V
    Resume,
    /// V, or nothing
    Ret,
    /// B
    Br,
    /// condition V, true B, false B
    CondBr,
    /// V, default B, (constant V, B)…
    Switch,
    /// address V, B…
    IndirectBr,
    /// nothing
    Unreachable,
    /// callee V, default B, count of indirect destinations N, B…, arguments V…; see [`Body::call`]
    CallBr,
    /// Parts of Windows' exception handling, which no Linux front end writes: `sub` is the record's code, the operands
    /// are those of the record in its order
    Funclet,
}

impl Opcode {
    /// Its name in textual IR; conditional branches are `br` too.
    #[must_use]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; Opcode::Funclet as usize + 1] = [
            "fneg",
            "add",
            "sub",
            "mul",
            "udiv",
            "sdiv",
            "urem",
            "srem",
            "shl",
            "lshr",
            "ashr",
            "and",
            "or",
            "xor",
            "fadd",
            "fsub",
            "fmul",
            "fdiv",
            "frem",
            "trunc",
            "zext",
            "sext",
            "fptoui",
            "fptosi",
            "uitofp",
            "sitofp",
            "fptrunc",
            "fpext",
            "ptrtoint",
            "ptrtoaddr",
            "inttoptr",
            "bitcast",
            "addrspacecast",
            "getelementptr",
            "select",
            "extractelement",
            "insertelement",
            "shufflevector",
            "extractvalue",
            "insertvalue",
            "icmp",
            "fcmp",
            "phi",
            "freeze",
            "va_arg",
            "alloca",
            "load",
            "store",
            "cmpxchg",
            "atomicrmw",
            "fence",
            "call",
            "invoke",
            "landingpad",
            "resume",
            "ret",
            "br",
            "br",
            "switch",
            "indirectbr",
            "unreachable",
            "callbr",
            "funclet",
        ];
        NAMES[self as usize]
    }

    /// Whether it ends a block; [`Opcode::Funclet`] does only with some codes.
    #[must_use]
    pub fn is_terminator(self) -> bool {
        use Opcode::*;
        matches!(self, Ret | Br | CondBr | Switch | IndirectBr | Invoke | Resume | Unreachable | CallBr)
    }
}

/// Orderings of atomic operations, as in the bitcode (`AtomicOrderingCodes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ordering {
    /// Not atomic.
    NotAtomic,
    /// `unordered`
    Unordered,
    /// `monotonic`
    Monotonic,
    /// `acquire`
    Acquire,
    /// `release`
    Release,
    /// `acq_rel`
    AcquireRelease,
    /// `seq_cst`
    SequentiallyConsistent,
}

/// One instruction: 24 bytes, whatever it is.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// What it does.
    pub opcode: Opcode,
    /// Which kind of it: predicate, operation, ordering on failure; see [`Opcode`].
    pub sub: u8,
    /// Alignment of the access or of the `alloca` as its binary logarithm plus one; 0 where none is given.
    pub align: u8,
    /// Ordering of an atomic access or a fence.
    pub ordering: Ordering,
    /// `nuw` 1, `nsw` 2; `exact` 1; `disjoint` 1; `nneg` 1; `samesign` 1; for `getelementptr` inbounds 1, nusw 2, nuw 4; or
    /// the bits named here.
    pub flags: u16,
    /// Fast-math flags (`FastMathFlags`), 0 where there are none.
    pub fast_math: u8,
    /// How many operands it has; [`Instruction::MANY`] if the word before them says it.
    pub(crate) count: u8,
    /// Type of the result; `void` where there is none.
    pub ty: TypeId,
    /// A second number; see [`Opcode`].
    pub aux: u32,
    /// The result, or [`ValueId::NONE`].
    pub result: ValueId,
    /// Place of its operands.
    pub(crate) first: u32,
}

const _: () = assert!(size_of::<Instruction>() == 24);

impl Instruction {
    /// The access is volatile.
    pub const VOLATILE: u16 = 1 << 8;
    /// The access synchronises with signal handlers of its own thread only.
    pub const SINGLE_THREAD: u16 = 1 << 9;
    /// `cmpxchg` may fail without reason.
    pub const WEAK: u16 = 1 << 10;
    /// `landingpad` is a cleanup.
    pub const CLEANUP: u16 = 1 << 11;
    /// `alloca` holds the arguments of an `inalloca` call, or a `swifterror`.
    pub const SPECIAL_ALLOCA: u16 = 1 << 12;

    /// Too many operands for `count`.
    pub(crate) const MANY: u8 = u8::MAX;

    /// An instruction that says nothing more.
    #[inline(always)]
    pub(crate) fn new(opcode: Opcode, ty: TypeId) -> Self {
        Self {
            opcode,
            sub: 0,
            align: 0,
            ordering: Ordering::NotAtomic,
            flags: 0,
            fast_math: 0,
            count: 0,
            ty,
            aux: 0,
            result: ValueId::NONE,
            first: 0,
        }
    }
}

/// How a call must be made with respect to the caller's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TailKind {
    /// No wish.
    None,
    /// `tail`: may be one.
    Tail,
    /// `musttail`
    Must,
    /// `notail`
    Never,
}

impl TailKind {
    /// What the bits of a call's record say.
    #[inline]
    pub(crate) fn of(bits: u64) -> Self {
        match bits {
            _ if bits & 1 << 16 != 0 => TailKind::Never,
            _ if bits & 1 << 14 != 0 => TailKind::Must,
            _ if bits & 1 != 0 => TailKind::Tail,
            _ => TailKind::None,
        }
    }
}

/// What a call says beside its operands.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The function type of the call.
    pub ty: TypeId,
    /// Attributes: [`Module::attributes`](crate::Module::attributes).
    pub attributes: AttributeListId,
    /// Calling convention (`CallingConv::ID`).
    pub convention: u16,
    /// Its tail marker.
    pub tail: TailKind,
    /// Its operand bundles: a range of [`Body::bundles`].
    pub(crate) bundles: (u32, u32),
}

/// Where an instruction comes from. The bitcode's "same as before" is resolved: an instruction without an entry comes
/// from nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Index of the instruction.
    pub instruction: u32,
    /// Line, from 1; 0 where it is not known.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// Scope: the number of the metadata node plus one.
    pub scope: u32,
    /// Where it was inlined: the number of the metadata node plus one; 0 if it was not.
    pub inlined_at: u32,
}

/// A decoded function body. Reused: [`Module::read_body`](crate::Module::read_body) clears it and keeps its memory.
#[derive(Debug, Default)]
pub struct Body {
    pub(crate) function: Option<FunctionId>,
    /// First instruction of every block, and the end of the last one.
    pub(crate) blocks: Vec<u32>,
    pub(crate) instructions: Vec<Instruction>,
    pub(crate) operands: Vec<u32>,
    pub(crate) calls: Vec<Call>,
    pub(crate) bundles: Vec<(u32, u32, u32)>,
    pub(crate) locations: Vec<Location>,
    /// Number of the first value that belongs to the function: its first argument.
    pub(crate) first_value: u32,
    pub(crate) arguments: u32,
    pub(crate) has_phis: bool,
    /// Types of the function's values, its arguments first.
    pub(crate) types: Vec<TypeId>,
    /// The constants of the body, numbered from `first_value + arguments`.
    pub(crate) constants: Constants,
    /// Values used before their definition, with the type that the use demands.
    pub(crate) forward: Vec<(u32, TypeId)>,
    /// The fields of the record that is being read.
    pub(crate) fields: Vec<u64>,
}

impl Body {
    /// An empty body, to be filled by [`Module::read_body`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose body it is.
    ///
    /// # Panics
    ///
    /// If nothing was read, or the last reading failed.
    #[must_use]
    pub fn function(&self) -> FunctionId {
        self.function.expect("a body was read")
    }

    /// Bytes that its arrays hold.
    #[must_use]
    pub fn bytes_in_use(&self) -> usize {
        size_of_val(&*self.blocks)
            + size_of_val(&*self.instructions)
            + size_of_val(&*self.operands)
            + size_of_val(&*self.calls)
            + size_of_val(&*self.bundles)
            + size_of_val(&*self.locations)
            + size_of_val(&*self.types)
            + size_of_val(&*self.forward)
    }

    /// How many blocks it has, at least one.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.blocks.len().saturating_sub(1) as u32
    }

    /// The instructions of `block`, at least one.
    #[must_use]
    pub fn block_instructions(&self, block: BlockId) -> Range<u32> {
        self.blocks[block.0 as usize]..self.blocks[block.0 as usize + 1]
    }

    /// Whether a block begins behind instruction `before` and not behind `index`.
    #[must_use]
    pub fn begins_block(&self, before: u32, index: u32) -> bool {
        let next = self.blocks.partition_point(|first| *first <= before);
        index < before || self.blocks.get(next).is_some_and(|first| *first <= index)
    }

    /// Whether there is a [`Opcode::Phi`] among the instructions.
    #[must_use]
    pub fn has_phis(&self) -> bool {
        self.has_phis
    }

    /// Instruction `index`.
    #[must_use]
    pub fn instruction(&self, index: u32) -> &Instruction {
        &self.instructions[index as usize]
    }

    /// The instructions of a range that [`Body::block_instructions`] gave.
    #[inline]
    #[must_use]
    pub fn block(&self, range: Range<u32>) -> &[Instruction] {
        &self.instructions[range.start as usize..range.end as usize]
    }

    /// All instructions, block after block.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The operands of `instruction`: see [`Opcode`] for what the words mean.
    #[inline]
    #[must_use]
    pub fn operands(&self, instruction: &Instruction) -> &[u32] {
        let first = instruction.first as usize;
        let count = match instruction.count {
            Instruction::MANY => self.operands[first - 1] as usize,
            count => usize::from(count),
        };
        &self.operands[first..first + count]
    }

    /// Adds an instruction with the operands from `first` on.
    #[inline]
    pub(crate) fn push_instruction(&mut self, instruction: Instruction, mut first: usize) {
        let count = (self.operands.len() - first).min(usize::from(Instruction::MANY)) as u8;
        if count == Instruction::MANY {
            self.operands.insert(first, (self.operands.len() - first) as u32);
            first += 1;
        }
        self.instructions.push(Instruction { first: first as u32, count, ..instruction });
    }

    /// Gives the last instruction the place `location`; nothing if there is none.
    #[inline]
    pub(crate) fn push_location(&mut self, location: Location) -> Option<()> {
        let instruction = self.instructions.len().checked_sub(1)? as u32;
        let location = Location { instruction, ..location };
        match self.locations.last_mut() {
            Some(last) if last.instruction == instruction => *last = location,
            _ => self.locations.push(location),
        }
        Some(())
    }

    /// What a [`Opcode::Call`], [`Opcode::Invoke`] or [`Opcode::CallBr`] numbered `aux` says beside its operands.
    #[must_use]
    pub fn call(&self, instruction: &Instruction) -> &Call {
        &self.calls[instruction.aux as usize]
    }

    /// Operand bundles of `call`: the tag, an index of [`Module::operand_bundle_tags`], and the values.
    pub fn bundles(&self, call: &Call) -> impl Iterator<Item = (u32, &[u32])> {
        let (start, end) = call.bundles;
        let bundles = self.bundles[start as usize..end as usize].iter();
        bundles.map(|(tag, first, count)| (*tag, &self.operands[*first as usize..][..*count as usize]))
    }

    /// Where instructions come from, in their order; those without an entry come from nowhere.
    #[must_use]
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }

    /// Number of the first value that is not the module's: the first argument.
    #[must_use]
    pub fn first_value(&self) -> u32 {
        self.first_value
    }

    /// How many arguments the function takes, without those behind `...`.
    #[must_use]
    pub fn argument_count(&self) -> u32 {
        self.arguments
    }

    /// Argument `n`.
    #[must_use]
    pub fn argument(&self, n: u32) -> ValueId {
        debug_assert!(n < self.arguments, "argument {n} of {}", self.arguments);
        ValueId(self.first_value + n)
    }

    /// One past the last value.
    #[must_use]
    pub fn value_count(&self) -> u32 {
        self.first_value + self.types.len() as u32
    }

    /// The type of `value`.
    #[must_use]
    pub fn type_of(&self, module: &Module, value: ValueId) -> TypeId {
        match value.0.checked_sub(self.first_value) {
            Some(own) => self.types[own as usize],
            None => module.constant_type(ConstantId(value.0)),
        }
    }

    /// Whether `value` is a constant, of the module or of the body.
    #[must_use]
    pub fn is_constant(&self, value: ValueId) -> bool {
        value.0 < self.first_value || (self.first_constant()..self.first_result()).contains(&value.0)
    }

    /// The constant `value`; `None` for arguments and results. The [`ConstantId`]s inside are value numbers as well:
    /// those of the body's own constants are for this function only.
    #[must_use]
    pub fn constant<'a>(&'a self, module: &'a Module, value: ValueId) -> Option<Constant<'a>> {
        if value.0 < self.first_value {
            return Some(module.constant(ConstantId(value.0)));
        }
        self.is_constant(value).then(|| self.constants.get_local(&module.constants, ConstantId(value.0)))
    }

    /// The constant integer or pointer `value` of at most 64 bits, whose bits above its type's are zero; `None` for all
    /// else. Undefined ones are 0.
    #[inline]
    #[must_use]
    pub fn number(&self, module: &Module, value: ValueId) -> Option<u64> {
        if value.0 < self.first_value {
            module.constants.number(ConstantId(value.0), &module.classes)
        } else if self.is_constant(value) {
            self.constants.number(ConstantId(value.0), &module.classes)
        } else {
            None
        }
    }

    /// The same of what is written as an integer, without a look at its type: an index, for example.
    #[inline]
    #[must_use]
    pub fn index(&self, module: &Module, value: ValueId) -> Option<u64> {
        let constants = if value.0 < self.first_value { &module.constants } else { &self.constants };
        constants.index(ConstantId(value.0))
    }

    fn first_constant(&self) -> u32 {
        self.first_value + self.arguments
    }

    /// Number of the first value that an instruction makes.
    #[must_use]
    pub fn first_result(&self) -> u32 {
        self.first_constant() + self.constants.len() as u32
    }
}
