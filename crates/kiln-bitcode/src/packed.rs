//! How instructions are kept.

use crate::body::ValueId;
use crate::opcode::{Opcode, Ordering};
use crate::types::TypeId;

/// One instruction as it is kept: in 16 bytes, whatever it is.
///
/// No instruction has both an alignment and fast-math flags, or flags of both kinds, and most have few operands and no
/// second number. What needs more than that is asked of the body: [`Body::operands`](crate::Body::operands),
/// [`Body::result_type`](crate::Body::result_type).
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// What it does.
    pub opcode: Opcode,
    /// Which kind of it: predicate, operation, ordering on failure; see [`Opcode`].
    pub sub: u8,
    /// Alignment or fast-math flags, and [`Instruction::RESULT`].
    pub(crate) detail: u8,
    /// Flags, three bits; ordering, three bits; how many operands are in `words`, or [`Instruction::OUTSIDE`].
    pub(crate) bits: u8,
    /// Number of the result if it has one, and of the next value anyway: instructions are sorted by it.
    pub(crate) next: u32,
    /// The operands, or where they begin among those of the body, and the second number.
    pub(crate) words: [u32; 2],
}

const _: () = assert!(size_of::<Instruction>() == 16);

/// Opcodes as a set.
const fn set(opcodes: &[Opcode]) -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < opcodes.len() {
        set |= 1 << opcodes[at] as u64;
        at += 1;
    }
    set
}

/// Those with a second number.
const WITH_AUX: u64 = set(&[Opcode::Gep, Opcode::Alloca, Opcode::Call, Opcode::Invoke, Opcode::CallBr]);
/// Those that access memory or make some: they have an alignment.
const WITH_ALIGN: u64 = set(&[Opcode::Alloca, Opcode::Load, Opcode::Store, Opcode::CmpXchg, Opcode::AtomicRmw]);
/// Those whose flags have names.
const WITH_NAMED_FLAGS: u64 = WITH_ALIGN | set(&[Opcode::Fence, Opcode::LandingPad]);

impl Opcode {
    #[inline(always)]
    fn is_in(self, set: u64) -> bool {
        set >> self as u64 & 1 != 0
    }

    /// How many operands have room in the row itself.
    #[inline(always)]
    pub(crate) fn room(self) -> usize {
        if self.is_in(WITH_AUX) { 1 } else { 2 }
    }
}

impl Instruction {
    /// The access is volatile.
    pub const VOLATILE: u16 = 1 << 8;
    /// The access synchronises with signal handlers of its own thread only.
    pub const SINGLE_THREAD: u16 = 1 << 9;
    /// `cmpxchg` may fail without reason.
    pub const WEAK: u16 = 1 << 10;
    /// `landingpad` is a cleanup.
    pub const CLEANUP: u16 = 1 << 8;
    /// `alloca` holds the arguments of an `inalloca` call, or a `swifterror`.
    pub const SPECIAL_ALLOCA: u16 = 1 << 8;

    const DETAIL: u8 = 0x7f;
    /// It makes a value.
    pub(crate) const RESULT: u8 = 0x80;
    /// The operands lie among those of the body, behind their number.
    pub(crate) const OUTSIDE: u8 = 3;

    /// `draft` with `count` operands in `words`; `next` is the number of the next value.
    #[inline(always)]
    pub(crate) fn new(draft: Draft, has_result: bool, next: u32, count: u8, words: [u32; 2]) -> Self {
        let Draft { opcode, sub, align, ordering, flags, fast_math, .. } = draft;
        let detail = align | fast_math | if has_result { Self::RESULT } else { 0 };
        let bits = (flags | flags >> 8) as u8 & 7 | (ordering as u8) << 3 | count << 6;
        Self { opcode, sub, detail, bits, next, words }
    }

    /// Whether it makes a value.
    #[inline(always)]
    #[must_use]
    pub fn has_result(&self) -> bool {
        self.detail & Self::RESULT != 0
    }

    /// The value that it makes, or [`ValueId::NONE`].
    #[inline(always)]
    #[must_use]
    pub fn result(&self) -> ValueId {
        if self.has_result() { ValueId(self.next) } else { ValueId::NONE }
    }

    /// Its operands if they are at most two and lie in the row itself, as nearly all do; [`ValueId::NONE`] for what is missing.
    #[inline(always)]
    #[must_use]
    pub fn pair(&self) -> Option<[u32; 2]> {
        let count = self.bits >> 6;
        let or_none = |is_there: bool, word: u32| if is_there { word } else { ValueId::NONE.0 };
        (count != Self::OUTSIDE).then(|| [or_none(count > 0, self.words[0]), or_none(count > 1, self.words[1])])
    }

    /// Alignment of the access or of the `alloca` as its binary logarithm plus one; 0 where none is given.
    #[inline]
    #[must_use]
    pub fn align(&self) -> u8 {
        if self.opcode.is_in(WITH_ALIGN) { self.detail & Self::DETAIL } else { 0 }
    }

    /// Fast-math flags (`FastMathFlags`), 0 where there are none.
    #[must_use]
    pub fn fast_math(&self) -> u8 {
        if self.opcode.is_in(WITH_ALIGN) { 0 } else { self.detail & Self::DETAIL }
    }

    /// Ordering of an atomic access or a fence.
    #[inline]
    #[must_use]
    pub fn ordering(&self) -> Ordering {
        Ordering::ALL[usize::from(self.bits >> 3 & 7)]
    }

    /// `nuw` 1, `nsw` 2; `exact` 1; `disjoint` 1; `nneg` 1; `samesign` 1; for `getelementptr` inbounds 1, nusw 2, nuw 4; or
    /// the bits named here.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u16 {
        let flags = u16::from(self.bits & 7);
        if self.opcode.is_in(WITH_NAMED_FLAGS) { flags << 8 } else { flags }
    }

    /// A second number; see [`Opcode`].
    #[inline]
    #[must_use]
    pub fn aux(&self) -> u32 {
        if self.opcode.is_in(WITH_AUX) { self.words[1] } else { 0 }
    }
}

/// What an instruction says beside its operands, before it is packed.
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    pub(crate) opcode: Opcode,
    pub(crate) sub: u8,
    pub(crate) align: u8,
    pub(crate) ordering: Ordering,
    pub(crate) flags: u16,
    pub(crate) fast_math: u8,
    pub(crate) ty: TypeId,
    pub(crate) aux: u32,
}

impl Draft {
    /// One that says nothing more.
    #[inline(always)]
    pub(crate) fn new(opcode: Opcode, ty: TypeId) -> Self {
        Self { opcode, sub: 0, align: 0, ordering: Ordering::NotAtomic, flags: 0, fast_math: 0, ty, aux: 0 }
    }
}
