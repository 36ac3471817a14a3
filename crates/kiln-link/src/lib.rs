//! Kiln's JIT linker: ELF64 x86-64 objects, static archives and in-memory graphs to memory images, placed and fixed up.
//!
//! A link goes through four types; each step consumes the one before:
//!
//! 1. [`Link`]: the inputs, in a linker's order.
//! 2. [`Link::resolve`] → [`Resolved`]: archive members are pulled, every symbol is bound. No symbol is added after
//!    this.
//! 3. [`Resolved::layout`] → [`Layout`]: every section, slot and stub has its place in a segment. No size changes
//!    after this. The caller reserves memory for the segments.
//! 4. [`Layout::place`] → [`Linked`]: bytes are copied and relocated into the caller's working memory, in one pass.
//!
//! ```
//! use kiln_abi::ExecutorAddr;
//! use kiln_link::*;
//!
//! struct Process;
//! impl Scope for Process {
//!     fn lookup(&mut self, name: &[u8]) -> Option<External> {
//!         (name == b"other").then(|| External::Function(ExecutorAddr::new(0x40_2000)))
//!     }
//! }
//!
//! // int answer(void) { return other(); }
//! let mut graph = Graph::new("module.c");
//! let text = graph.add_section(".text", SectionKind::Code);
//! let body = graph.add_block(text, Content::from(&[0xe9, 0, 0, 0, 0][..]), 16); // jmp other
//! graph.add_symbol(Symbol::function("answer", body, 0));
//! let other = graph.add_symbol(Symbol::undefined("other"));
//! graph.add_edge(body, 1, RelocationKind::PLT32, other, -4);
//!
//! let mut link = Link::new(Options::default());
//! link.add_graph(&graph);
//! let layout = link.resolve(&mut Process)?.layout()?;
//!
//! // The caller finds memory for each segment: here a vector that pretends to lie at 0x401000.
//! let mut memory: Vec<Vec<u8>> = layout.segments.iter().map(|s| vec![0; s.size as usize]).collect();
//! let mut placements: Vec<Placement> = memory
//!     .iter_mut()
//!     .enumerate()
//!     .map(|(i, working)| Placement { address: ExecutorAddr::new(0x40_1000 + 0x10_0000 * i as u64), working, zeroed: true })
//!     .collect();
//! let linked = layout.place(&mut placements, TlsPlacement::None, &RuntimeSymbols::default())?;
//!
//! let answer = linked.symbol(b"answer").unwrap().location.address().unwrap();
//! assert!(answer.get() >= 0x40_1000);
//! # Ok::<(), Errors>(())
//! ```
//!
//! # The caller's duties
//!
//! - Inputs must not change while they are borrowed: a mapped file that is truncated meanwhile is the caller's SIGBUS.
//! - Segments lie within 2 GiB of each other; outside definitions may lie anywhere.
//! - After publishing, in this order: run the [resolvers](Linked::ifuncs), make the [thread-local image](Linked::tls_image)
//!   known, call [preinit](Linked::preinit) and [init](Linked::init); at exit [fini](Linked::fini).
//!
//! # Non-goals
//!
//! Symbol versions are compared, not ordered: `f@@V1` defines `f` and `f@V1`, `f@V1` only itself; a reference that no object
//! defines, `memcpy@GLIBC_2.2.5`, asks the scope for that whole name, and an archive's index for no version.
//! The address of a far function, taken by `lea` in code that is not position-independent, is its stub's.
//!
//! Never maps memory, never does I/O, holds no unsafe code. No output file, no merging of strings, no identical code
//! folding (it breaks pointer identity), no relocation of machine code other than by the static relocations of the psABI.

#![forbid(unsafe_code)]

mod alone;
mod archive;
mod debug;
mod eh_frame;
mod elf;
mod error;
mod graph;
mod init;
mod input;
mod layout;
mod link;
mod linked;
mod load;
mod names;
mod place;
mod prune;
mod resolve;
mod scope;
mod symbols;
mod unit;
mod x86_64;

pub use alone::{Alone, AloneMemory, Branch, PlacedAlone, Unfit};
pub use debug::{DebugError, DebugObject};
pub use error::{Advice, Error, ErrorKind, Errors, Site};
pub use graph::{
    Binding, BlockId, Content, Graph, GroupId, IntoName, Name, SectionId, SectionKind, Symbol, SymbolId, SymbolKind,
    SymbolPlace, Visibility,
};
pub use input::{FileKind, ScriptInput, identify, linker_script};
pub use layout::{Layout, Placement, RuntimeSymbols, TlsPlacement, TlsRequest};
pub use link::{InputId, Link, Options};
pub use linked::{CallSite, Definition, GlobalId, GraphSymbols, IfuncSlot, Linked, Location, Opcode, PlacedSection};
pub use names::hash as name_hash;
pub use resolve::Resolved;
pub use scope::{External, Members, NoMembers, NoScope, Scope};
pub use x86_64::RelocationKind;
