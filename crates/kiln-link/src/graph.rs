//! A link input made in memory: what a compiler that writes no object file hands over.
//!
//! A graph is a list of blocks (bytes that stay together), symbols that name places in them, and edges: one relocation
//! each. It takes part in a link exactly as an object file does, block for section: the same symbol rules, the same
//! relocation table, the same layout.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use kiln_abi::ExecutorAddr;
use kiln_abi::symbol::{self, Id};

use crate::x86_64::RelocationKind;

/// A section of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionId(pub(crate) u32);

/// A block of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub(crate) u32);

/// A symbol of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub(crate) u32);

/// A COMDAT group of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(crate) u32);

impl BlockId {
    /// The position of the block in the order of [`Graph::add_block`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl SymbolId {
    /// The position of the symbol in the order of [`Graph::add_symbol`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a section of a graph is for, hence where its blocks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SectionKind {
    /// Instructions.
    Code,
    /// Constants, relocated ones included: a JIT's relocations are done before anybody reads.
    ReadOnly,
    /// Variables.
    ReadWrite,
    /// The initial image of thread-local variables.
    Tls,
    /// An array of function addresses to call before `main`, like ELF's `.init_array`. The section's name may carry a
    /// priority: `.init_array.00101` runs before `.init_array.00102`, and both before `.init_array`.
    InitArray,
    /// An array of function addresses to call at exit, like ELF's `.fini_array`; priorities as for `InitArray`.
    FiniArray,
    /// An array of function addresses to call before those of `InitArray`.
    PreinitArray,
}

/// The bytes of a block.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Initialised bytes, borrowed or owned.
    Bytes(Cow<'a, [u8]>),
    /// So many zero bytes, which take no room in the input.
    Zero(u64),
}

impl Content<'_> {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Zero(size) => *size,
        }
    }
}

impl<'a> From<&'a [u8]> for Content<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Content::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Content<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Content::Bytes(Cow::Owned(bytes))
    }
}

/// Where a symbol of a graph lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolPlace {
    /// At `offset` in `block`; the offset may lie outside the block.
    Defined {
        /// The block that moves the symbol.
        block: BlockId,
        /// Distance from the block's first byte.
        offset: u64,
    },
    /// At an address that is known before the link, such as a function's stub.
    Absolute(ExecutorAddr),
    /// Somewhere else.
    Undefined,
    /// A tentative definition (C's `int x;` with `-fcommon`): zero bytes unless another input defines the name.
    Common {
        /// Required alignment in bytes, a power of two. The size is the symbol's.
        align: u64,
    },
}

/// How a symbol takes part in resolution (ELF gABI, symbol binding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// Known in its own input only.
    Local,
    /// Known everywhere; two definitions are an error.
    Global,
    /// Known everywhere; gives way to a `Global` definition. Undefined, it may stay undefined and is 0 then.
    Weak,
    /// GNU extension: as `Global`, and one instance in the whole process (`STB_GNU_UNIQUE`).
    Unique,
}

/// Who may bind to a symbol (ELF gABI, symbol visibility).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everybody; later loads see the definition.
    #[default]
    Default,
    /// Everybody, but references inside the link bind to the link's own definition.
    Protected,
    /// This link only. ELF's "internal" is treated the same.
    Hidden,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SymbolKind {
    /// Unknown: an undefined symbol, or a label.
    #[default]
    Untyped,
    /// Code.
    Function,
    /// A variable or constant.
    Data,
    /// A thread-local variable: the offset counts from the start of its section's image.
    Tls,
    /// Code that returns the address of the function to use (`STT_GNU_IFUNC`).
    Ifunc,
}

/// A symbol of a [`Graph`].
#[derive(Clone, Debug)]
pub struct Symbol<'a> {
    /// Its name; may be empty for a local symbol.
    pub name: Name<'a>,
    /// Where it lies.
    pub place: SymbolPlace,
    /// How it takes part in resolution.
    pub binding: Binding,
    /// Who may bind to it.
    pub visibility: Visibility,
    /// What it stands for.
    pub kind: SymbolKind,
    /// Bytes it covers; 0 if unknown.
    pub size: u64,
    /// A root when dead blocks are pruned (`llvm.used`).
    pub retained: bool,
}

impl<'a> Symbol<'a> {
    /// A global symbol with the given place and no type or size.
    pub fn new(name: impl IntoName<'a>, place: SymbolPlace) -> Self {
        Symbol {
            name: name.into_name(),
            place,
            binding: Binding::Global,
            visibility: Visibility::Default,
            kind: SymbolKind::Untyped,
            size: 0,
            retained: false,
        }
    }

    /// A reference to a name that another input or the process defines.
    pub fn undefined(name: impl IntoName<'a>) -> Self {
        Symbol::new(name, SymbolPlace::Undefined)
    }

    /// A global function that starts at `offset` in `block`.
    pub fn function(name: impl IntoName<'a>, block: BlockId, offset: u64) -> Self {
        Symbol { kind: SymbolKind::Function, ..Symbol::new(name, SymbolPlace::Defined { block, offset }) }
    }

    /// A global variable of `size` bytes that starts at `offset` in `block`.
    pub fn data(name: impl IntoName<'a>, block: BlockId, offset: u64, size: u64) -> Self {
        Symbol { kind: SymbolKind::Data, size, ..Symbol::new(name, SymbolPlace::Defined { block, offset }) }
    }

    /// A name for an address that is known before the link.
    pub fn absolute(name: impl IntoName<'a>, address: ExecutorAddr) -> Self {
        Symbol::new(name, SymbolPlace::Absolute(address))
    }

    /// A nameless local symbol at `offset` in `block`.
    #[must_use]
    pub fn local(block: BlockId, offset: u64) -> Self {
        Symbol { binding: Binding::Local, ..Symbol::new("", SymbolPlace::Defined { block, offset }) }
    }

    /// The same symbol with another binding.
    #[must_use]
    pub fn with_binding(self, binding: Binding) -> Self {
        Symbol { binding, ..self }
    }

    /// The same symbol with another visibility.
    #[must_use]
    pub fn with_visibility(self, visibility: Visibility) -> Self {
        Symbol { visibility, ..self }
    }

    /// The same symbol with another kind.
    #[must_use]
    pub fn with_kind(self, kind: SymbolKind) -> Self {
        Symbol { kind, ..self }
    }
}

/// The name of a section, symbol or group: bytes, borrowed or owned; those of ids lie in the name itself.
#[derive(Clone)]
pub struct Name<'a>(Spelling<'a>);

const _: () = assert!(size_of::<Name<'_>>() == 24);

#[derive(Clone)]
enum Spelling<'a> {
    Borrowed(&'a [u8]),
    Owned(Box<[u8]>),
    /// The spelling that an id has, and its number.
    Id {
        length: u8,
        bytes: [u8; symbol::NAME_MAX],
        number: u32,
    },
}

impl Name<'_> {
    /// What the name stands for, if it was made of an id.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        let Spelling::Id { bytes, number, .. } = &self.0 else { return None };
        symbol::id(bytes[symbol::KIND], *number)
    }
}

impl Deref for Name<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Spelling::Borrowed(bytes) => bytes,
            Spelling::Owned(bytes) => bytes,
            Spelling::Id { length, bytes, .. } => &bytes[..usize::from(*length)],
        }
    }
}

impl AsRef<[u8]> for Name<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Name<'_> {
    fn default() -> Self {
        Name(Spelling::Borrowed(&[]))
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name<'_> {}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self), f)
    }
}

/// What can be the name of a section or symbol: text or bytes, borrowed or owned, or the id of something of a module.
pub trait IntoName<'a> {
    /// The name as bytes.
    fn into_name(self) -> Name<'a>;
}

impl<'a> IntoName<'a> for Name<'a> {
    fn into_name(self) -> Name<'a> {
        self
    }
}

/// The name that [`symbol::name`] gives it.
impl<'a> IntoName<'a> for Id {
    fn into_name(self) -> Name<'a> {
        let (bytes, length) = symbol::spell(self);
        Name(Spelling::Id { length: length as u8, bytes, number: self.number() })
    }
}

impl<'a> IntoName<'a> for &'a str {
    fn into_name(self) -> Name<'a> {
        Name(Spelling::Borrowed(self.as_bytes()))
    }
}

impl<'a> IntoName<'a> for &'a [u8] {
    fn into_name(self) -> Name<'a> {
        Name(Spelling::Borrowed(self))
    }
}

impl<'a> IntoName<'a> for String {
    fn into_name(self) -> Name<'a> {
        self.into_bytes().into_name()
    }
}

impl<'a> IntoName<'a> for Vec<u8> {
    fn into_name(self) -> Name<'a> {
        Name(Spelling::Owned(self.into_boxed_slice()))
    }
}

impl<'a> IntoName<'a> for Cow<'a, [u8]> {
    fn into_name(self) -> Name<'a> {
        match self {
            Cow::Borrowed(bytes) => bytes.into_name(),
            Cow::Owned(bytes) => bytes.into_name(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) kind: SectionKind,
}

#[derive(Clone, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) section: SectionId,
    pub(crate) content: Content<'a>,
    pub(crate) align: u64,
    pub(crate) group: Option<GroupId>,
}

/// One relocation of a graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub(crate) block: BlockId,
    pub(crate) symbol: SymbolId,
    pub(crate) offset: u64,
    pub(crate) addend: i64,
    pub(crate) kind: RelocationKind,
}

/// A link input made in memory. See the [module's example](crate::Graph#example).
///
/// # Example
///
/// ```
/// use kiln_link::{Content, Graph, RelocationKind, SectionKind, Symbol};
///
/// // int answer(void) { return other(); }
/// let mut graph = Graph::new("module.c");
/// let text = graph.add_section(".text", SectionKind::Code);
/// let body = graph.add_block(text, Content::from(&[0xe9, 0, 0, 0, 0][..]), 16); // jmp other
/// graph.add_symbol(Symbol::function("answer", body, 0));
/// let other = graph.add_symbol(Symbol::undefined("other"));
/// graph.add_edge(body, 1, RelocationKind::PLT32, other, -4);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) sections: Vec<Section<'a>>,
    pub(crate) blocks: Vec<Block<'a>>,
    pub(crate) symbols: Vec<Symbol<'a>>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) groups: Vec<Name<'a>>,
    /// Memory of blocks that were cleared away, the first block's last.
    spare: Vec<Vec<u8>>,
}

impl<'a> Graph<'a> {
    /// An empty graph; `name` appears in errors.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Empties the graph and keeps its memory, that of its blocks' own bytes included.
    pub fn clear(&mut self) {
        self.sections.clear();
        self.symbols.clear();
        self.edges.clear();
        self.groups.clear();
        for block in self.blocks.drain(..).rev() {
            if let Content::Bytes(Cow::Owned(mut bytes)) = block.content {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
    }

    /// No bytes, with the memory of a block that was cleared away if there is one left.
    #[must_use]
    pub fn take_spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Makes room for so many more sections, blocks, symbols and relocations.
    pub fn reserve(&mut self, sections: usize, blocks: usize, symbols: usize, edges: usize) {
        self.sections.reserve_exact(sections);
        self.blocks.reserve_exact(blocks);
        self.symbols.reserve_exact(symbols);
        self.edges.reserve_exact(edges);
    }

    /// Adds a section. Blocks of equally named sections whose name is a C identifier lie together, as
    /// `__start_NAME` and `__stop_NAME` promise; otherwise the name is for errors and tools, except for `.eh_frame`,
    /// whose blocks are read as unwind tables.
    pub fn add_section(&mut self, name: impl IntoName<'a>, kind: SectionKind) -> SectionId {
        self.sections.push(Section { name: name.into_name(), kind });
        SectionId(index(self.sections.len()))
    }

    /// Adds a block to `section`. `align` is a power of two.
    pub fn add_block(&mut self, section: SectionId, content: Content<'a>, align: u64) -> BlockId {
        self.blocks.push(Block { section, content, align, group: None });
        BlockId(index(self.blocks.len()))
    }

    /// Adds a COMDAT group: of all groups with this signature in a link, only the first one's blocks are kept.
    pub fn add_group(&mut self, signature: impl IntoName<'a>) -> GroupId {
        self.groups.push(signature.into_name());
        GroupId(index(self.groups.len()))
    }

    /// Makes `block` a member of `group`.
    ///
    /// # Panics
    ///
    /// If `block` is not of this graph.
    pub fn set_group(&mut self, block: BlockId, group: GroupId) {
        self.blocks[block.0 as usize].group = Some(group);
    }

    /// Adds a symbol.
    pub fn add_symbol(&mut self, symbol: Symbol<'a>) -> SymbolId {
        self.symbols.push(symbol);
        SymbolId(index(self.symbols.len()))
    }

    /// Replaces a symbol, for one that was referred to before its definition was made.
    ///
    /// # Panics
    ///
    /// If `id` is not of this graph.
    pub fn define_symbol(&mut self, id: SymbolId, symbol: Symbol<'a>) {
        self.symbols[id.index()] = symbol;
    }

    /// Adds a relocation of the field at `offset` in `block`. Errors (a field outside its block, a kind that is not a
    /// static relocation) come out of the link.
    pub fn add_edge(&mut self, block: BlockId, offset: u64, kind: RelocationKind, symbol: SymbolId, addend: i64) {
        self.edges.push(Edge { block, symbol, offset, addend, kind });
    }

    /// The name given to [`Graph::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The symbols, in the order of their ids.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol<'a>] {
        &self.symbols
    }

    /// The symbols with their ids.
    pub fn symbols_with_ids(&self) -> impl Iterator<Item = (SymbolId, &Symbol<'a>)> {
        self.symbols.iter().enumerate().map(|(index, symbol)| (SymbolId(index as u32), symbol))
    }

    /// Name and kind of every section, in the order of their ids.
    pub fn sections(&self) -> impl Iterator<Item = (&[u8], SectionKind)> {
        self.sections.iter().map(|section| (&*section.name, section.kind))
    }

    /// Every block in the order of their ids: the position of its section, its content and its alignment.
    pub fn blocks(&self) -> impl Iterator<Item = (usize, &Content<'a>, u64)> {
        self.blocks.iter().map(|block| (block.section.0 as usize, &block.content, block.align))
    }

    /// The signature of the COMDAT group that the block at `index` belongs to.
    #[must_use]
    pub fn group_of(&self, index: usize) -> Option<&[u8]> {
        self.blocks[index].group.map(|group| &*self.groups[group.0 as usize])
    }

    /// Every relocation: the position of its block, the offset in it, kind, symbol and addend.
    pub fn edges(&self) -> impl Iterator<Item = (usize, u64, RelocationKind, SymbolId, i64)> {
        self.edges.iter().map(|edge| (edge.block.0 as usize, edge.offset, edge.kind, edge.symbol, edge.addend))
    }

    /// How many bytes a block has.
    ///
    /// # Panics
    ///
    /// If `block` is not of this graph.
    #[must_use]
    pub fn block_size(&self, block: BlockId) -> u64 {
        self.blocks[block.0 as usize].content.size()
    }

    /// Gives a block its bytes.
    ///
    /// # Panics
    ///
    /// If `block` is not of this graph.
    pub fn set_content(&mut self, block: BlockId, content: Content<'a>) {
        self.blocks[block.0 as usize].content = content;
    }

    /// The bytes of a block so far, to be filled in; `None` for a zero block. Borrowed content is copied first.
    ///
    /// # Panics
    ///
    /// If `block` is not of this graph.
    pub fn block_bytes_mut(&mut self, block: BlockId) -> Option<&mut Vec<u8>> {
        match &mut self.blocks[block.0 as usize].content {
            Content::Bytes(bytes) => Some(bytes.to_mut()),
            Content::Zero(_) => None,
        }
    }
}

/// The id of the last of `len` items.
fn index(len: usize) -> u32 {
    u32::try_from(len - 1).expect("a graph holds fewer than 2^32 items of one kind")
}
