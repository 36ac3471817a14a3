use std::io;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    kind: ErrorKind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer sent a frame larger than either side may send.
    #[error("the peer announced a frame of {bytes} bytes, at most {max} are allowed")]
    FrameTooLarge {
        /// Announced size of the body.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A frame was announced with descriptors that did not come.
    #[error("a frame announced {announced} descriptors, {received} came")]
    MissingDescriptors {
        /// How many the header said.
        announced: usize,
        /// How many there were.
        received: usize,
    },
    /// More descriptors came than any frame may hold.
    #[error("the peer sent more descriptors than a frame may hold ({max})")]
    TooManyDescriptors {
        /// The limit.
        max: usize,
    },
    /// A message does not have the form of its kind.
    #[error("message {message} {what}")]
    Malformed {
        /// Kind of the message.
        message: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A message that this side does not expect, or does not expect now.
    #[error("unexpected message of kind {kind}")]
    Unexpected {
        /// The number of the kind.
        kind: u16,
    },
    /// The peer does not speak this protocol at all.
    #[error("the peer does not speak Kiln's compile protocol")]
    NotKiln,
    /// The peer speaks another version of the protocol.
    #[error("the peer speaks version {theirs} of the compile protocol, this side version {ours}")]
    Version {
        /// Our version.
        ours: u32,
        /// The peer's version.
        theirs: u32,
    },
    /// The connection has ended: the peer closed it or died.
    #[error("the connection was closed by the peer")]
    Closed,
    /// The descriptor of the connection was closed or replaced behind our back.
    #[error("the connection's descriptor {descriptor} no longer belongs to it")]
    NotOurs {
        /// The number of the descriptor.
        descriptor: i32,
    },
    /// A payload is not as large as announced.
    #[error("a payload of {announced} bytes was announced, its memory holds {actual}")]
    PayloadSize {
        /// The size in the message.
        announced: u64,
        /// The size of the file.
        actual: u64,
    },
    /// A system call failed.
    #[error("{call} failed: {source}")]
    System {
        /// Name of the system call.
        call: &'static str,
        /// The error it returned.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind }
    }

    pub(crate) fn system(call: &'static str, errno: rustix::io::Errno) -> Self {
        Self::new(ErrorKind::System { call, source: io::Error::from_raw_os_error(errno.raw_os_error()) })
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether the connection is gone (rather than: the peer misbehaved).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.kind, ErrorKind::Closed | ErrorKind::NotOurs { .. })
    }
}
