use std::fmt;

use crate::codes::BlockKind;

/// Why bitcode could not be read, and where.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    bit: u64,
    block: BlockKind,
}

/// What was wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not bitcode at all.
    #[error("not LLVM bitcode")]
    NotBitcode,
    /// A well-formed file of a producer whose bitcode this reader does not take. The optimizer rewrites it as current
    /// bitcode, unless it is newer than LLVM 22.
    #[error("bitcode of a foreign producer, {producer:?}")]
    ForeignProducer {
        /// The identification string of the file, empty where it has none.
        producer: String,
        /// Whether the producer is newer than the LLVM release this reader is pinned to.
        newer: bool,
    },
    /// The input ends inside an element.
    #[error("the input is cut short")]
    Truncated,
    /// A variable-width number has more than 64 bits.
    #[error("a variable-width number does not fit 64 bits")]
    NumberTooWide,
    /// An abbreviation id that the block does not define.
    #[error("abbreviation {id} is not defined")]
    UndefinedAbbreviation {
        /// The id as read.
        id: u32,
    },
    /// An abbreviation definition that makes no sense.
    #[error("malformed abbreviation: {what}")]
    BadAbbreviation {
        /// The rule that is broken.
        what: &'static str,
    },
    /// A block whose length word disagrees with its content or its parent.
    #[error("the block's length does not match its content")]
    BadBlockLength,
    /// A block that may occur once occurs again, or too late.
    #[error("misplaced or repeated block")]
    MisplacedBlock,
    /// A record is shorter than its code demands.
    #[error("record {code} has {len} fields, needs {needs}")]
    ShortRecord {
        /// The record's code.
        code: u32,
        /// Fields present.
        len: usize,
        /// Fields demanded.
        needs: usize,
    },
    /// A record code this reader does not know, where ignoring it would change the meaning.
    #[error("unknown record code {code}")]
    UnknownRecord {
        /// The record's code.
        code: u32,
    },
    /// A field of a record is outside its domain.
    #[error("{what} cannot be {value}")]
    BadValue {
        /// What the field means.
        what: &'static str,
        /// The value read.
        value: u64,
    },
    /// A reference to something that does not exist.
    #[error("{what} {index} does not exist, there are {count}")]
    BadReference {
        /// What is referred to.
        what: &'static str,
        /// The index read.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// Types of things that must agree don't.
    #[error("type mismatch: {what}")]
    TypeMismatch {
        /// The rule that is broken.
        what: &'static str,
    },
    /// A constant that contains itself.
    #[error("constant {constant} contains itself")]
    CyclicConstant {
        /// Value number of the constant.
        constant: u32,
    },
    /// A bound of this reader that keeps memory and stack proportional to the input.
    #[error("limit exceeded: {what} (at most {limit})")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// More function bodies than function definitions, or fewer.
    #[error("{bodies} function bodies for {definitions} function definitions")]
    BodyCount {
        /// Function blocks found so far.
        bodies: usize,
        /// Function records that announce a body.
        definitions: usize,
    },
    /// A function without a body, or one whose body lies outside the bytes given.
    #[error("function {function} has no body here")]
    NoBody {
        /// Number of the function.
        function: u32,
    },
    /// Instructions end inside a basic block, or go on behind the last one.
    #[error("{closed} basic blocks end with a terminator, {blocks} are declared")]
    UnterminatedBlock {
        /// How many terminators were read.
        closed: u32,
        /// How many blocks the function declares.
        blocks: u32,
    },
    /// A debug location that belongs to no instruction, or repeats none.
    #[error("misplaced debug location")]
    MisplacedLocation,
    /// The data layout string does not follow the language reference.
    #[error("malformed data layout: {part:?}")]
    BadDataLayout {
        /// The specification at fault.
        part: String,
    },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, bit: u64, block: BlockKind) -> Self {
        Self(Box::new(Inner { kind, bit, block }))
    }

    /// What was wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The bit of the input (counted from its first byte, least significant bit first) at which reading stopped.
    #[must_use]
    pub fn bit(&self) -> u64 {
        self.0.bit
    }

    /// Name of the block that was being read, as LLVM calls it: `CONSTANTS_BLOCK` for example.
    #[must_use]
    pub fn block(&self) -> String {
        self.0.block.to_string()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bitcode: {} (at bit {} in {})", self.0.kind, self.0.bit, self.0.block)
    }
}

impl std::error::Error for Error {}
