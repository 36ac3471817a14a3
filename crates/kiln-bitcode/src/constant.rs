use kiln_abi::{FunctionId, GlobalId};

use crate::attributes::IntRange;
use crate::bitstream::Block;
use crate::error::{Error, ErrorKind};
use crate::global::AliasId;
use crate::types::TypeId;

/// A constant of a module: its absolute value number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConstantId(pub u32);

/// A function, global variable, alias or ifunc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GlobalRef {
    /// A function.
    Function(FunctionId),
    /// A global variable.
    Global(GlobalId),
    /// An alias or ifunc.
    Alias(AliasId),
}

/// A constant value. Its type is [`Module::constant_type`](crate::Module::constant_type).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Constant<'a> {
    /// All bits zero.
    Null,
    /// Any value.
    Undef,
    /// Poison.
    Poison,
    /// An integer of at most 64 bits, zero-extended.
    Int(u64),
    /// A wider one: little-endian words, of which leading zero ones may be missing.
    WideInt(&'a [u64]),
    /// The bits of a floating-point number.
    Float(u128),
    /// An array, structure or vector of these.
    Aggregate(&'a [ConstantId]),
    /// An array or vector of simple elements: their bytes, little-endian, without padding.
    Data(&'a [u8]),
    /// An array of bytes.
    String {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether a zero byte follows.
        nul: bool,
    },
    /// The address of a global.
    Global(GlobalRef),
    /// Address arithmetic.
    Gep(Gep<'a>),
    /// A conversion.
    Cast {
        /// Which.
        op: CastOp,
        /// Of what.
        value: ConstantId,
    },
    /// Arithmetic.
    Binary {
        /// Which.
        op: BinaryOp,
        /// `nuw` 1, `nsw` 2; `exact` 1.
        flags: u8,
        /// Left operand.
        left: ConstantId,
        /// Right operand.
        right: ConstantId,
    },
    /// `fneg`
    Negate(ConstantId),
    /// `select`
    Select {
        /// Chooses.
        condition: ConstantId,
        /// If true.
        then: ConstantId,
        /// If false.
        otherwise: ConstantId,
    },
    /// `icmp` or `fcmp`
    Compare {
        /// `CmpInst::Predicate`
        predicate: u32,
        /// Left operand.
        left: ConstantId,
        /// Right operand.
        right: ConstantId,
    },
    /// `extractelement`
    ExtractElement {
        /// From what.
        vector: ConstantId,
        /// Which.
        index: ConstantId,
    },
    /// `insertelement`
    InsertElement {
        /// Into what.
        vector: ConstantId,
        /// What.
        element: ConstantId,
        /// Where.
        index: ConstantId,
    },
    /// `shufflevector`
    ShuffleVector {
        /// First operand.
        left: ConstantId,
        /// Second operand.
        right: ConstantId,
        /// Indices into both.
        mask: ConstantId,
    },
    /// The address of a basic block.
    BlockAddress {
        /// In which function.
        function: FunctionId,
        /// Which block, counted from the entry.
        block: u32,
    },
    /// An address of a function that is equivalent and known to be in this component.
    DsoLocalEquivalent(GlobalRef),
    /// A function's address without control-flow integrity.
    NoCfi(GlobalRef),
    /// A signed pointer.
    PtrAuth {
        /// What is signed.
        pointer: ConstantId,
        /// With which key.
        key: ConstantId,
        /// Discriminator.
        discriminator: ConstantId,
        /// Address that takes part.
        address_discriminator: ConstantId,
        /// Symbol whose presence switches signing off.
        deactivation_symbol: Option<ConstantId>,
    },
    /// Inline assembly, as the callee of a call.
    InlineAsm(&'a InlineAsm),
}

/// A constant `getelementptr`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gep<'a> {
    /// Type that the base is taken to point to.
    pub source: TypeId,
    /// Whether no intermediate address leaves the object.
    pub inbounds: bool,
    /// Whether nothing wraps as a signed number.
    pub nusw: bool,
    /// Whether nothing wraps as an unsigned number.
    pub nuw: bool,
    /// Which offsets may be accessed through the result.
    pub in_range: Option<&'a IntRange>,
    /// The base, then the indices.
    pub operands: &'a [ConstantId],
}

/// Inline assembly.
#[derive(Clone, Debug, PartialEq)]
pub struct InlineAsm {
    /// Function type.
    pub ty: TypeId,
    /// `sideeffect` 1, `alignstack` 2, `inteldialect` 4, `unwind` 8.
    pub flags: u8,
    /// Template.
    pub template: Box<[u8]>,
    /// Constraints.
    pub constraints: Box<[u8]>,
}

macro_rules! operations {
    ($(#[$meta:meta])* $type:ident, $what:literal { $($variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $(
                #[doc = concat!("`", $text, "`")]
                $variant,
            )*
        }

        impl $type {
            /// Its name in textual IR.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $text,)*
                }
            }

            pub(crate) fn decode(value: u64, block: &Block<'_>) -> Result<Self, Error> {
                match value {
                    $($code => Ok($type::$variant),)*
                    _ => Err(block.error(ErrorKind::BadValue { what: $what, value })),
                }
            }

            /// The number that [`decode`](Self::decode) takes.
            pub(crate) fn encode(self) -> u64 {
                match self {
                    $($type::$variant => $code,)*
                }
            }
        }
    };
}

operations! {
    /// A conversion (`CastOpcodes`).
    CastOp, "conversion" {
        Trunc = 0, "trunc";
        ZExt = 1, "zext";
        SExt = 2, "sext";
        FpToUi = 3, "fptoui";
        FpToSi = 4, "fptosi";
        UiToFp = 5, "uitofp";
        SiToFp = 6, "sitofp";
        FpTrunc = 7, "fptrunc";
        FpExt = 8, "fpext";
        PtrToInt = 9, "ptrtoint";
        IntToPtr = 10, "inttoptr";
        BitCast = 11, "bitcast";
        AddrSpaceCast = 12, "addrspacecast";
        PtrToAddr = 13, "ptrtoaddr";
    }
}

operations! {
    /// Arithmetic (`BinaryOpcodes`); the same codes mean floating-point arithmetic where the type says so.
    BinaryOp, "operation" {
        Add = 0, "add";
        Sub = 1, "sub";
        Mul = 2, "mul";
        UDiv = 3, "udiv";
        SDiv = 4, "sdiv";
        URem = 5, "urem";
        SRem = 6, "srem";
        Shl = 7, "shl";
        LShr = 8, "lshr";
        AShr = 9, "ashr";
        And = 10, "and";
        Or = 11, "or";
        Xor = 12, "xor";
    }
}
