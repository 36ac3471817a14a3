use crate::index::FunctionIndex;
use kiln_abi::ExecutorAddr;
use std::io;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error {
    kind: Box<ErrorKind>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind: Box::new(kind) }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Kiln has no trampoline for the machine it runs on.
    #[error("there is no resolver trampoline for this machine")]
    UnsupportedHost,
    /// The stacks that first calls run on could not be mapped.
    #[error("cannot map {bytes} bytes for the stacks of the engine")]
    EngineStacks {
        /// Bytes of address space asked for.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The code cache gave no memory for stubs.
    #[error("no memory for {stubs} more stubs ({bytes} bytes)")]
    StubMemory {
        /// Stubs in the block asked for.
        stubs: u32,
        /// Bytes of the block.
        bytes: u64,
        /// What the code cache said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// More functions than an index can name.
    #[error("{requested} more functions after {allocated} are more than a table holds ({max})")]
    TooManyFunctions {
        /// Functions asked for.
        requested: u32,
        /// Functions there are.
        allocated: u32,
        /// Functions there can be.
        max: u32,
    },
    /// A stub's jump does not reach the body.
    #[error("the stub of {function:?} at {stub} does not reach {body}")]
    OutOfReach {
        /// Whose body it is.
        function: FunctionIndex,
        /// Where its stub is.
        stub: ExecutorAddr,
        /// Where the body is.
        body: ExecutorAddr,
    },
}
