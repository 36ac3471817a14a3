use std::fmt;
use std::ops::{Add, Sub};

/// An address in the process that runs the code.
///
/// Not a pointer: the linker, the protocols and an engine that serves another process all compute with executor
/// addresses of memory they cannot touch. Only mappers and FFI turn one into a raw pointer.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ExecutorAddr(u64);

impl ExecutorAddr {
    /// The null address: what an undefined weak symbol resolves to.
    pub const NULL: ExecutorAddr = ExecutorAddr(0);

    /// The address with the numeric value `address`.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The numeric value.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is the null address.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The signed distance `self - base` in bytes, modulo 2^64.
    #[must_use]
    pub const fn offset_from(self, base: ExecutorAddr) -> i64 {
        self.0.wrapping_sub(base.0) as i64
    }
}

impl Add<u64> for ExecutorAddr {
    type Output = ExecutorAddr;

    fn add(self, bytes: u64) -> ExecutorAddr {
        ExecutorAddr(self.0.wrapping_add(bytes))
    }
}

impl Sub<u64> for ExecutorAddr {
    type Output = ExecutorAddr;

    fn sub(self, bytes: u64) -> ExecutorAddr {
        ExecutorAddr(self.0.wrapping_sub(bytes))
    }
}

impl fmt::Debug for ExecutorAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for ExecutorAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
