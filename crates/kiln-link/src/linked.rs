//! The result of a link.

use kiln_abi::{ExecutorAddr, FdeEntry};

use crate::graph::{SymbolId, SymbolKind};
use crate::link::InputId;

/// Where a symbol ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// At an address.
    Address(ExecutorAddr),
    /// At an offset in the link's thread-local block.
    Tls {
        /// Offset in the block.
        offset: u64,
    },
}

impl Location {
    /// The address, unless it is thread-local.
    #[must_use]
    pub fn address(self) -> Option<ExecutorAddr> {
        match self {
            Location::Address(address) => Some(address),
            Location::Tls { .. } => None,
        }
    }
}

/// A definition that the link made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Where it is. For an `Ifunc`, its stub.
    pub location: Location,
    /// Bytes it covers; 0 if unknown.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// Whether a definition elsewhere would have been preferred to it.
    pub weak: bool,
    /// Whether later loads may bind to it: false for hidden symbols.
    pub exported: bool,
}

/// A function whose address is found by calling a resolver (`STT_GNU_IFUNC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfuncSlot {
    /// The resolver to call, after all memory has its final protection and before any constructor.
    pub resolver: ExecutorAddr,
    /// Where to store what it returns: an aligned word of writable memory.
    pub slot: ExecutorAddr,
}

/// A direct branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite {
    /// Address of the displacement.
    pub place: ExecutorAddr,
    /// Index of the global symbol it names: [`Linked::global_name`].
    pub symbol: GlobalId,
    /// Where the branch leads now.
    pub target: ExecutorAddr,
    /// The instruction.
    pub opcode: Opcode,
    /// Whether the displacement lies in one aligned 8-byte word, so that it can be rewritten while threads run it.
    pub patchable: bool,
}

/// A global symbol of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalId(pub(crate) u32);

/// Kinds of direct branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// `E8 rel32`
    Call,
    /// `E9 rel32`
    Jump,
    /// `0F 8x rel32`
    ConditionalJump,
}

/// A finished link: bytes are in place, everything else that its owner must know is here.
pub struct Linked<'a> {
    pub(crate) names: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Linked<'a> {
    /// The definition of a global symbol in this link.
    #[must_use]
    pub fn symbol(&self, name: &[u8]) -> Option<Definition> {
        let _ = name;
        unimplemented!()
    }

    /// The definition of a symbol of an input graph, local ones included: what the reference in that graph binds to,
    /// if it lies in this link.
    #[must_use]
    pub fn graph_symbol(&self, input: InputId, symbol: SymbolId) -> Option<Definition> {
        let _ = (input, symbol);
        unimplemented!()
    }

    /// All definitions that later loads may bind to, with their names.
    pub fn exports(&self) -> impl Iterator<Item = (&'a [u8], Definition)> + '_ {
        std::iter::empty()
    }

    /// The name of a global symbol.
    #[must_use]
    pub fn global_name(&self, symbol: GlobalId) -> &'a [u8] {
        let _ = symbol;
        unimplemented!()
    }

    /// Takes the unwind table entries of all live code, sorted by `pc_begin`.
    pub fn take_unwind(&mut self) -> Vec<FdeEntry> {
        unimplemented!()
    }

    /// The initial image of the thread-local block, as long as [`TlsRequest::image_size`](crate::TlsRequest).
    #[must_use]
    pub fn tls_image(&self) -> &[u8] {
        unimplemented!()
    }

    /// Functions of `.preinit_array`, in the order in which to call them, before [`Linked::init`].
    #[must_use]
    pub fn preinit(&self) -> &[ExecutorAddr] {
        unimplemented!()
    }

    /// Constructors, in the order in which to call them with (argc, argv, envp).
    #[must_use]
    pub fn init(&self) -> &[ExecutorAddr] {
        unimplemented!()
    }

    /// Destructors, in the order in which to call them.
    #[must_use]
    pub fn fini(&self) -> &[ExecutorAddr] {
        unimplemented!()
    }

    /// Resolvers to run before anything else of the link.
    #[must_use]
    pub fn ifuncs(&self) -> &[IfuncSlot] {
        unimplemented!()
    }

    /// Direct branches to global symbols, with [`Options::call_sites`](crate::Options::call_sites).
    #[must_use]
    pub fn call_sites(&self) -> &[CallSite] {
        unimplemented!()
    }
}
