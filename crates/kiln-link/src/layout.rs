//! Where everything goes: sections to segments, slots and stubs beside them.

use kiln_abi::{ExecutorAddr, Segment};

use crate::error::Errors;
use crate::linked::Linked;
use crate::resolve::Resolved;

/// Thread-local storage that a link needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsRequest {
    /// Bytes of one thread's block.
    pub size: u64,
    /// Alignment of the block, a power of two.
    pub align: u64,
    /// Bytes that start with other values than 0; the rest of the block is zero.
    pub image_size: u64,
}

/// Where a link's thread-local block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsPlacement {
    /// The link needs none.
    None,
    /// In a pool at a constant distance from the thread pointer: every access becomes local-exec.
    Static {
        /// Address of the block minus the thread pointer.
        tp_offset: i64,
    },
    /// Each thread's block is found by `__tls_get_addr`.
    Dynamic {
        /// The id to find it by.
        module: u64,
    },
}

/// Functions of the runtime that linked code calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSymbols {
    /// `__tls_get_addr`: takes the address of a pair (module, offset).
    pub tls_get_addr: Option<ExecutorAddr>,
    /// Resolver of TLS descriptors: takes the address of a descriptor in `rax`, whose second word is the address of a
    /// pair (module, offset), returns the variable's offset from the thread pointer in `rax` and preserves every other
    /// register.
    pub tls_descriptor: Option<ExecutorAddr>,
}

/// The memory for one segment.
#[derive(Debug)]
pub struct Placement<'m> {
    /// Where the program will see it.
    pub address: ExecutorAddr,
    /// Where the linker writes it; at least the segment's size.
    pub working: &'m mut [u8],
    /// Whether `working` is known to hold zeros: then nothing is written where the program expects zeros.
    pub zeroed: bool,
}

/// A link whose sizes are final.
pub struct Layout<'a> {
    /// The memory it needs; none of size 0. [`Layout::place`] takes as many placements, in this order.
    pub segments: Vec<Segment>,
    /// The thread-local storage it needs.
    pub tls: Option<TlsRequest>,
    pub(crate) resolved: Resolved<'a>,
}

impl<'a> Layout<'a> {
    /// Copies the sections to their places and applies all relocations.
    ///
    /// # Errors
    ///
    /// All relocations that do not fit or cannot be; the working memory is in no defined state then.
    pub fn place(
        self,
        placements: &mut [Placement<'_>],
        tls: TlsPlacement,
        runtime: &RuntimeSymbols,
    ) -> Result<Linked<'a>, Errors> {
        let _ = (placements, tls, runtime);
        unimplemented!()
    }
}
