use kiln_bitcode::ConstantId;

/// Why a global variable cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("global {global}: {kind}")]
pub struct Error {
    global: String,
    kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(global: String, kind: ErrorKind) -> Self {
        Self { global, kind }
    }

    /// The global's name.
    #[must_use]
    pub fn global(&self) -> &str {
        &self.global
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// What is wrong with a global variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Its type has no size, or none that is known before the program runs.
    #[error("its type has no fixed size")]
    Unsized,
    /// Its initial value holds something that no relocation can express.
    #[error("its initial value holds {what} (constant {})", .constant.0)]
    Inexpressible {
        /// What it is.
        what: &'static str,
        /// Which constant of the module.
        constant: ConstantId,
    },
    /// An address stands in a field that is too narrow or too wide for one.
    #[error("its initial value holds an address in a field of {bytes} bytes")]
    AddressWidth {
        /// Width of the field.
        bytes: u64,
    },
    /// With it, the module's globals are larger than what code can reach.
    #[error("with its {bytes} bytes, the module's globals exceed the {limit} that code can reach")]
    TooLarge {
        /// Size of the type.
        bytes: u64,
        /// Largest size of all.
        limit: u64,
    },
    /// The distance of two symbols neither of which lies in the global itself.
    #[error("its initial value holds the distance of two symbols that lie elsewhere")]
    Distance,
    /// An alias that leads nowhere.
    #[error("it is an alias of something that is no definition")]
    BadAlias,
    /// A list of constructors or destructors is not built as the language reference says.
    #[error("it is not a list of (priority, function, data)")]
    BadStructors,
}
