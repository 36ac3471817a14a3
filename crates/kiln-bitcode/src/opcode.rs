//! What instructions there are.

/// What an instruction does. Operands are the words of [`Body::operands`](crate::Body::operands): V is a [`ValueId`](crate::ValueId), B a [`BlockId`](crate::BlockId), N a number.
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
    /// address V, expected V, new V; `sub` is the ordering on failure; flag [`Instruction::WEAK`](crate::Instruction::WEAK)
    CmpXchg,
    /// address V, value V; `sub` is the operation (`AtomicRMWInst::BinOp`)
    AtomicRmw,
    /// no operands
    Fence,
    /// callee V, arguments V… (`NONE` for metadata); see [`Body::call`](crate::Body::call)
    Call,
    /// callee V, normal B, unwind B, arguments V…; see [`Body::call`](crate::Body::call)
    Invoke,
    /// (kind N: 0 catch, 1 filter; V)…; flag [`Instruction::CLEANUP`](crate::Instruction::CLEANUP)
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
    /// callee V, default B, count of indirect destinations N, B…, arguments V…; see [`Body::call`](crate::Body::call)
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

impl Ordering {
    /// By number.
    pub(crate) const ALL: [Ordering; 8] = [
        Ordering::NotAtomic,
        Ordering::Unordered,
        Ordering::Monotonic,
        Ordering::Acquire,
        Ordering::Release,
        Ordering::AcquireRelease,
        Ordering::SequentiallyConsistent,
        Ordering::SequentiallyConsistent,
    ];
}
