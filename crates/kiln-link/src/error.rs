//! What can be wrong with a link: every problem of a link at once, each as typed fields.
//!
//! Policy: bad input is an [`Error`]; a broken invariant of this crate is a panic. Names are copied into the error, so
//! that it outlives the inputs.

use std::fmt;

use kiln_abi::ExecutorAddr;

use crate::input::FileKind;
use crate::x86_64::RelocationKind;

/// Errors kept per link; the rest are counted. A hostile object can hold millions.
const KEPT: usize = 1000;

/// All problems that one step of a link found.
#[derive(Debug, Default)]
pub struct Errors {
    errors: Vec<Error>,
    omitted: usize,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn push(&mut self, kind: ErrorKind) {
        if self.errors.len() < KEPT {
            self.errors.push(Error { kind });
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn append(&mut self, other: Errors) {
        let room = KEPT - self.errors.len().min(KEPT);
        self.omitted += other.omitted + other.errors.len().saturating_sub(room);
        self.errors.extend(other.errors.into_iter().take(room));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// `value` if there is no error.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Errors> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The errors, in a deterministic order. Never empty in an `Err`.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.errors.iter()
    }

    /// How many more there were than [`Errors::iter`] gives.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl From<ErrorKind> for Errors {
    fn from(kind: ErrorKind) -> Self {
        Errors { errors: vec![Error { kind }], omitted: 0 }
    }
}

impl<'e> IntoIterator for &'e Errors {
    type Item = &'e Error;
    type IntoIter = std::slice::Iter<'e, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.errors.first().map(|error| error as _)
    }
}

/// One problem of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
}

impl Error {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {}

/// Where in the inputs a relocation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The object, archive member (`archive(member)`) or graph.
    pub object: String,
    /// The section.
    pub section: String,
    /// Offset of the field in the section.
    pub offset: u64,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:({}+{:#x})", self.object, self.section, self.offset)
    }
}

/// What a reader of an out-of-range error can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The object holds 32-bit absolute addresses: compile it with `-fPIC`, or link into a reservation below 2 GiB.
    CompilePicOrLinkLow,
    /// The object reaches for a variable of a shared library directly: compile it with `-fPIC`.
    CompilePic,
    /// The segments were placed too far from each other.
    PlaceNearer,
    /// The thread-local model needs the static pool: compile with `-ftls-model=global-dynamic`, or enlarge the pool.
    UseDynamicTls,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Advice::CompilePicOrLinkLow => "compile it with -fPIC, or place the program below 2 GiB (--low)",
            Advice::CompilePic => "compile it with -fPIC",
            Advice::PlaceNearer => "place the segments within 2 GiB of each other",
            Advice::UseDynamicTls => "compile it with -ftls-model=global-dynamic",
        })
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is no relocatable object for this machine, nor an archive of such.
    #[error("{input}: {found} where an x86-64 ELF object or archive is expected")]
    NotLinkable {
        /// The input.
        input: String,
        /// What it looks like.
        found: FileKind,
    },
    /// The input breaks its format.
    #[error("{input}: malformed at offset {offset:#x}: {what}")]
    Malformed {
        /// The input.
        input: String,
        /// Offset in the input's bytes.
        offset: u64,
        /// Which rule is broken.
        what: &'static str,
    },
    /// The input is valid but uses something this linker refuses.
    #[error("{input}: {what} in section {section} is not supported")]
    Unsupported {
        /// The input.
        input: String,
        /// The section.
        section: String,
        /// What it is.
        what: &'static str,
    },
    /// An object made by `gcc -flto` without machine code in it would link as if it were empty.
    #[error("{input}: holds only GCC's intermediate code; compile with -fno-lto or -ffat-lto-objects")]
    SlimLto {
        /// The input.
        input: String,
    },
    /// An archive member is LLVM bitcode and nobody took it.
    #[error("{archive}({member}): LLVM bitcode, needed for {symbol:?}")]
    BitcodeMember {
        /// The archive.
        archive: String,
        /// The member's name.
        member: String,
        /// The symbol it was wanted for; empty if the whole archive was asked for.
        symbol: String,
    },
    /// The file that a thin archive names could not be had.
    #[error("{archive}: member {path:?} of the thin archive is missing")]
    ThinMemberMissing {
        /// The archive.
        archive: String,
        /// The path as the archive has it.
        path: String,
    },
    /// Nobody defines a symbol that a relocation refers to.
    #[error("undefined symbol {symbol}, referenced by {first}{}", and_more(*.references))]
    Undefined {
        /// The symbol.
        symbol: String,
        /// The first reference.
        first: Site,
        /// How many references there are.
        references: usize,
    },
    /// As `Undefined`, for a symbol declared hidden or protected: only this link may define it.
    #[error("undefined {} symbol {symbol}, referenced by {first}; only the link itself could define it",
        if *.protected { "protected" } else { "hidden" })]
    UndefinedHidden {
        /// The symbol.
        symbol: String,
        /// Whether it is protected rather than hidden.
        protected: bool,
        /// The first reference.
        first: Site,
    },
    /// Two inputs define a symbol.
    #[error("duplicate symbol {symbol}: defined in {first} and in {second}")]
    Duplicate {
        /// The symbol.
        symbol: String,
        /// The input whose definition came first.
        first: String,
        /// The other input.
        second: String,
    },
    /// A relocation refers to a section that its COMDAT group has lost to another input's copy.
    #[error("{site}: relocation refers to {symbol} in a discarded section")]
    DiscardedTarget {
        /// The relocation.
        site: Site,
        /// The symbol it names.
        symbol: String,
    },
    /// The relocation is none of the static ones of the x86-64 psABI.
    #[error("{site}: {kind} against {symbol} is not a relocation of a relocatable x86-64 object")]
    UnknownRelocation {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// The symbol it names.
        symbol: String,
    },
    /// The relocated field does not lie inside its section.
    #[error("{site}: the field of {kind} does not lie in its section of {size} bytes")]
    FieldOutside {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// Size of the section.
        size: u64,
    },
    /// The value does not fit the field.
    #[error(
        "{site}: {kind} against {symbol} at {place} is out of range: target {target}, value {value:#x} is not in \
        [{min:#x}, {max:#x}]; {advice}"
    )]
    OutOfRange {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// The symbol it names.
        symbol: String,
        /// Address of the field.
        place: ExecutorAddr,
        /// Address of the target.
        target: ExecutorAddr,
        /// The value that does not fit.
        value: i128,
        /// Least value the field holds.
        min: i128,
        /// Greatest value the field holds.
        max: i128,
        /// What to do about it.
        advice: Advice,
    },
    /// The bytes around the field are none of the instructions that this relocation may stand in.
    #[error("{site}: {kind} against {symbol}: the instruction is not {expected}")]
    UnexpectedInstruction {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// The symbol it names.
        symbol: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A thread-local relocation against an ordinary symbol, or the reverse.
    #[error("{site}: {kind} against {symbol}, which is {}a thread-local variable", if *.is_tls { "" } else { "not " })]
    TlsMismatch {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// The symbol it names.
        symbol: String,
        /// Whether the symbol is thread-local.
        is_tls: bool,
    },
    /// The relocation's TLS model cannot reach the variable where it lies.
    #[error("{site}: {kind} against {symbol}: the variable has no constant offset from the thread pointer; {advice}")]
    TlsModel {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// The symbol it names.
        symbol: String,
        /// What to do about it.
        advice: Advice,
    },
    /// Code needs a function of the runtime that [`RuntimeSymbols`](crate::RuntimeSymbols) lacks.
    #[error("{site}: {kind} against {symbol} needs the runtime's {function}")]
    MissingRuntime {
        /// The relocation.
        site: Site,
        /// Its kind.
        kind: RelocationKind,
        /// The symbol it names.
        symbol: String,
        /// The function.
        function: &'static str,
    },
    /// An unwind table that the runtime could not find its entries in.
    #[error("{input}: .eh_frame of section {section} at {offset:#x}: {what}")]
    EhFrame {
        /// The input.
        input: String,
        /// The section.
        section: String,
        /// Offset in the section.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The output would exceed what 32-bit displacements can cross.
    #[error("the output needs {bytes} bytes; at most {limit} can be placed")]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The caller's placement does not match the layout.
    #[error("placement {index} does not fit its segment: {what}")]
    Placement {
        /// Which segment.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
}

fn and_more(references: usize) -> String {
    match references {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    }
}

/// A name from an input, for a message.
pub(crate) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
