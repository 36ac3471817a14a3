use std::ops::Range;
use std::{fmt, io};

use kiln_abi::{ExecutorAddr, Permission};

/// Why executable memory could not be had.
///
/// Whatever the operation had done before it failed has been undone.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel refused the reservation, the smallest one that was tried included.
    #[error("no address space for a code cache: the last attempt asked for {bytes} bytes")]
    AddressSpace {
        /// Bytes of the last attempt, all views together.
        bytes: u64,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The region has no free extent that is large enough.
    #[error(
        "code cache is out of {permission:?} space: {size} bytes aligned to {align} wanted, largest free extent is {largest_free}"
    )]
    OutOfSpace {
        /// The region.
        permission: Permission,
        /// Bytes wanted.
        size: u64,
        /// Alignment wanted.
        align: u64,
        /// Size of the largest free extent of the region.
        largest_free: u64,
    },
    /// A fixed address or a range was asked for, and nothing is free there.
    #[error("no {size} free bytes of {permission:?} memory in {}..{}", .range.start, .range.end)]
    Occupied {
        /// The region.
        permission: Permission,
        /// Bytes wanted.
        size: u64,
        /// Where they were wanted.
        range: Range<ExecutorAddr>,
    },
    /// The kernel has no memory behind the address space.
    #[error("no memory for {bytes} bytes of {permission:?} space")]
    OutOfMemory {
        /// The region.
        permission: Permission,
        /// Bytes that should have been backed.
        bytes: u64,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A segment with an alignment that is not a power of two or beyond what a region can hold.
    #[error("a segment of {size} bytes cannot have alignment {align}")]
    BadAlignment {
        /// Size of the segment.
        size: u64,
        /// The alignment.
        align: u64,
    },
    /// An unwind entry describes code outside the reservation it was published with, or overlaps its neighbour.
    #[error("unwind entry for {pc_begin} of {pc_bytes} bytes lies outside its code or overlaps another")]
    BadUnwindEntry {
        /// First address the entry describes.
        pc_begin: ExecutorAddr,
        /// Bytes it describes.
        pc_bytes: u64,
    },
    /// More code caches at a time than unwinding can look through.
    #[error("a process has at most {limit} code caches at a time")]
    TooManyCaches {
        /// The limit.
        limit: usize,
    },
    /// The memory for the child's copy of the code could not be had.
    #[error("no memory to copy {bytes} bytes of code for a forked child")]
    Fork {
        /// Bytes of live code and read-only data.
        bytes: u64,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.kind.source()
    }
}
