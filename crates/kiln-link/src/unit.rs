//! One participant of a link: an object file or a graph, seen the same way by every later phase.
//!
//! A unit has sections (an object's sections by their index, a graph's blocks), global names with their hashes, and
//! relocations per section. Everything else (symbol values, relocation records, section names) stays where it is in the
//! input and is read again when needed: it is cheaper to decode 24 bytes twice than to write them somewhere first.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_abi::Permission;

use crate::elf;
use crate::graph::{Binding, Content, Graph, SectionKind, Symbol, SymbolKind, SymbolPlace, Visibility};
use crate::names;
use crate::x86_64::RelocationKind;

/// Index of a unit in load order.
pub(crate) type UnitId = u32;

/// A reference that is not (yet) a global symbol's.
pub(crate) const NO_SYMBOL: u32 = u32::MAX;

/// What becomes of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Not part of the memory image: tables, debug information, excluded sections.
    Absent,
    /// Belongs to a COMDAT group that another unit provides.
    Discarded,
    /// Nothing refers to it.
    Pruned,
    Code,
    ReadOnly,
    ReadWrite,
    /// Read-write, all zeros.
    Zero,
    /// Initial image of thread-local variables.
    Tls,
    /// Thread-local variables that start as zeros.
    TlsZero,
}

impl Class {
    /// Whether it takes part in the output.
    pub(crate) fn is_live(self) -> bool {
        !matches!(self, Class::Absent | Class::Discarded | Class::Pruned)
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Class::Tls | Class::TlsZero)
    }

    /// The segment it lies in, `None` for thread-local and absent ones.
    pub(crate) fn permission(self) -> Option<Permission> {
        match self {
            Class::Code => Some(Permission::Code),
            Class::ReadOnly => Some(Permission::ReadOnly),
            Class::ReadWrite | Class::Zero => Some(Permission::ReadWrite),
            _ => None,
        }
    }
}

/// What a section means to the linker beyond its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Plain,
    /// Unwind tables.
    EhFrame,
    PreinitArray,
    InitArray,
    FiniArray,
    /// Constructors of old compilers, last to first.
    Ctors,
    /// Destructors of old compilers.
    Dtors,
    /// Named by a C identifier: laid out next to its namesakes.
    Named,
}

/// A section of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// Object: offset of the bytes in the file. Graph: number of edges.
    pub(crate) data: u32,
    pub(crate) size: u32,
    /// Object: index of the section that holds the relocations, 0 for none. Graph: first edge.
    pub(crate) relocations: u32,
    /// Offset in its segment, or in the thread-local block; set by the layout.
    pub(crate) offset: u32,
    pub(crate) align_log2: u8,
    pub(crate) class: Class,
    pub(crate) role: Role,
    /// A root when sections are pruned.
    pub(crate) retained: bool,
}

impl Section {
    pub(crate) const ABSENT: Section = Section {
        data: 0,
        size: 0,
        relocations: 0,
        offset: 0,
        align_log2: 0,
        class: Class::Absent,
        role: Role::Plain,
        retained: false,
    };
}

/// A global symbol's name, hashed: the name itself is found again through the symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GlobalName {
    pub(crate) hash: u32,
    /// `NO_SYMBOL` for a local symbol among the globals.
    pub(crate) len: u32,
}

/// A COMDAT group.
#[derive(Clone, Debug)]
pub(crate) struct Group<'a> {
    pub(crate) signature: &'a [u8],
    pub(crate) hash: u32,
    /// Object: index of the group section. Graph: the group's id.
    pub(crate) index: u32,
}

/// Where a symbol's value counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Undefined,
    Absolute,
    Common,
    Section(u32),
}

/// A symbol as any unit presents it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SymbolView {
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) home: Home,
    pub(crate) binding: Binding,
    pub(crate) kind: SymbolKind,
    pub(crate) visibility: Visibility,
}

/// One relocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    pub(crate) addend: i64,
    pub(crate) symbol: u32,
    pub(crate) kind: RelocationKind,
}

/// The input behind a unit.
pub(crate) enum Body<'a> {
    Elf(elf::Object<'a>),
    Graph {
        graph: &'a Graph<'a>,
        /// The edges by block, where they are not added in that order.
        order: Option<Vec<u32>>,
    },
}

pub(crate) struct Unit<'a> {
    /// The archive, for a member.
    pub(crate) archive: Option<&'a str>,
    pub(crate) name: UnitName<'a>,
    /// Position of its input in the list.
    pub(crate) input: u32,
    pub(crate) body: Body<'a>,
    pub(crate) sections: Vec<Section>,
    /// Number of symbols before the first global one.
    pub(crate) first_global: u32,
    pub(crate) globals: Vec<GlobalName>,
    /// For each of `globals` the link's symbol. Written by the thread that owns the name's shard; atomic only because
    /// two shards' entries lie in one list.
    pub(crate) bound: Vec<AtomicU32>,
    pub(crate) groups: Vec<Group<'a>>,
    /// (section, index of the relocation) of relocations that may need slots, in order.
    pub(crate) slot_uses: Vec<(u32, u32)>,
    /// Local symbols of type IFUNC.
    pub(crate) local_ifuncs: Vec<u32>,
}

/// The name of a unit in messages.
#[derive(Clone, Copy)]
pub(crate) enum UnitName<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl fmt::Display for Unit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.name {
            UnitName::Text(text) => text.into(),
            UnitName::Bytes(bytes) => String::from_utf8_lossy(bytes),
        };
        match self.archive {
            Some(archive) => write!(f, "{archive}({name})"),
            None => f.write_str(&name),
        }
    }
}

impl<'a> Unit<'a> {
    /// The symbol with this index in the unit's own numbering; `None` for a bad index.
    #[inline]
    pub(crate) fn symbol(&self, index: u32) -> Option<SymbolView> {
        match &self.body {
            Body::Elf(object) => object.symbol(index),
            Body::Graph { graph, .. } => graph.symbols.get(index as usize).map(graph_symbol),
        }
    }

    /// Section and value of an ordinary symbol; `None` if it takes more than that to say what it is.
    #[inline]
    pub(crate) fn plain_local(&self, index: u32) -> Option<(u32, u64)> {
        match &self.body {
            Body::Elf(object) => object.plain_symbol(index),
            Body::Graph { graph, .. } => match graph.symbols.get(index as usize)? {
                Symbol { place: SymbolPlace::Defined { block, offset }, kind, .. } if *kind != SymbolKind::Ifunc => {
                    Some((block.0, *offset))
                }
                _ => None,
            },
        }
    }

    /// The symbol behind entry `global` of `globals`, which was read before.
    #[inline]
    pub(crate) fn global(&self, global: u32) -> SymbolView {
        self.symbol(self.first_global + global).expect("the symbol was read when the unit was made")
    }

    /// The name of the symbol with this index; empty where there is none.
    pub(crate) fn symbol_name(&self, index: u32) -> &'a [u8] {
        match &self.body {
            Body::Elf(object) => object.symbol_name(index).unwrap_or_default(),
            Body::Graph { graph, .. } => graph.symbols.get(index as usize).map_or(&[], |s| &s.name),
        }
    }

    /// The name of entry `global` of `globals`.
    #[inline]
    pub(crate) fn global_name(&self, global: u32) -> &'a [u8] {
        let index = self.first_global + global;
        match &self.body {
            Body::Elf(object) => object.name_of_length(index, self.globals[global as usize].len),
            Body::Graph { graph, .. } => &graph.symbols[index as usize].name,
        }
    }

    /// The name of a section, for messages and special sections.
    pub(crate) fn section_name(&self, section: u32) -> &'a [u8] {
        match &self.body {
            Body::Elf(object) => object.section_name(section).unwrap_or_default(),
            Body::Graph { graph, .. } => {
                let graph: &'a Graph<'a> = graph;
                graph.blocks.get(section as usize).map_or(&[], |b| &graph.sections[b.section.0 as usize].name)
            }
        }
    }

    /// The bytes of a live section that is not all zeros.
    #[inline]
    pub(crate) fn section_bytes(&self, section: u32) -> &'a [u8] {
        match &self.body {
            Body::Elf(object) => {
                let s = &self.sections[section as usize];
                // In bounds: checked when the section was read.
                &object.bytes[s.data as usize..s.data as usize + s.size as usize]
            }
            Body::Graph { graph, .. } => {
                let graph: &'a Graph<'a> = graph;
                match &graph.blocks[section as usize].content {
                    Content::Bytes(bytes) => bytes,
                    Content::Zero(_) => &[],
                }
            }
        }
    }

    /// How many relocations a section has.
    pub(crate) fn relocation_count(&self, section: u32) -> u32 {
        let s = &self.sections[section as usize];
        match &self.body {
            Body::Elf(object) => (object.relocations(s.relocations).len() / elf::RELA_BYTES) as u32,
            Body::Graph { .. } => s.data,
        }
    }

    /// Relocation `index` of a section.
    pub(crate) fn relocation(&self, section: u32, index: u32) -> Relocation {
        let s = &self.sections[section as usize];
        match &self.body {
            Body::Elf(object) => {
                let at = index as usize * elf::RELA_BYTES;
                let record = &object.relocations(s.relocations)[at..at + elf::RELA_BYTES];
                elf::relocation(record.try_into().expect("of that length"))
            }
            Body::Graph { graph, order } => graph_relocation(graph, order.as_deref(), s.relocations + index),
        }
    }

    /// All relocations of a section, one by one.
    pub(crate) fn relocations(&self, section: u32) -> impl Iterator<Item = Relocation> + '_ {
        (0..self.relocation_count(section)).map(move |i| self.relocation(section, i))
    }

    /// The link's symbol that this unit's symbol `index` is bound to, or `NO_SYMBOL` for a local one.
    #[inline]
    pub(crate) fn bound(&self, index: u32) -> u32 {
        match index.checked_sub(self.first_global) {
            // Relaxed: written before the threads that did so were joined.
            Some(global) => self.bound.get(global as usize).map_or(NO_SYMBOL, |b| b.load(Ordering::Relaxed)),
            None => NO_SYMBOL,
        }
    }

    /// Calls `f` for each section of a group.
    pub(crate) fn for_each_member(&self, group: &Group<'_>, mut f: impl FnMut(u32)) {
        match &self.body {
            Body::Elf(object) => {
                for word in object.group_members(group.index) {
                    if (word as usize) < self.sections.len() {
                        f(word);
                    }
                }
            }
            Body::Graph { graph, .. } => {
                for (i, block) in graph.blocks.iter().enumerate() {
                    if block.group.is_some_and(|g| g.0 == group.index) {
                        f(i as u32);
                    }
                }
            }
        }
    }
}

#[inline]
pub(crate) fn graph_relocation(graph: &Graph<'_>, order: Option<&[u32]>, index: u32) -> Relocation {
    let index = order.map_or(index as usize, |order| order[index as usize] as usize);
    let edge = &graph.edges[index];
    Relocation { offset: edge.offset, addend: edge.addend, symbol: edge.symbol.0, kind: edge.kind }
}

fn graph_symbol(symbol: &crate::graph::Symbol<'_>) -> SymbolView {
    let (home, value) = match symbol.place {
        SymbolPlace::Defined { block, offset } => (Home::Section(block.0), offset),
        SymbolPlace::Absolute(address) => (Home::Absolute, address.get()),
        SymbolPlace::Undefined => (Home::Undefined, 0),
        SymbolPlace::Common { align } => (Home::Common, align),
    };
    SymbolView {
        value,
        size: symbol.size,
        home,
        binding: symbol.binding,
        kind: symbol.kind,
        visibility: symbol.visibility,
    }
}

/// Which rule a graph breaks.
pub(crate) type GraphFault = &'static str;

/// A graph as a unit.
pub(crate) fn from_graph<'a>(name: &'a str, graph: &'a Graph<'a>, input: u32) -> Result<Unit<'a>, GraphFault> {
    let mut sections = Vec::with_capacity(graph.blocks.len());
    for block in &graph.blocks {
        sections.push(graph_section(graph, block)?);
    }
    let order = count_edges(graph, &mut sections)?;
    let mut globals = Vec::with_capacity(graph.symbols.len());
    let mut bound = Vec::with_capacity(graph.symbols.len());
    let mut local_ifuncs = Vec::new();
    for (i, symbol) in graph.symbols.iter().enumerate() {
        if let SymbolPlace::Defined { block, .. } = symbol.place {
            let Some(section) = sections.get_mut(block.0 as usize) else {
                return Err("symbol in a block of another graph");
            };
            section.retained |= symbol.retained;
        }
        let local = symbol.binding == Binding::Local;
        if local && symbol.kind == SymbolKind::Ifunc {
            local_ifuncs.push(i as u32);
        }
        globals.push(if local {
            GlobalName { hash: 0, len: NO_SYMBOL }
        } else {
            GlobalName { hash: names::hash(&symbol.name), len: symbol.name.len() as u32 }
        });
        bound.push(AtomicU32::new(NO_SYMBOL));
    }
    let groups = graph
        .groups
        .iter()
        .enumerate()
        .map(|(i, signature)| Group { signature, hash: names::hash(signature), index: i as u32 })
        .collect();
    let mut unit = Unit {
        archive: None,
        name: UnitName::Text(name),
        input,
        body: Body::Graph { graph, order },
        sections,
        first_global: 0,
        globals,
        bound,
        groups,
        slot_uses: Vec::new(),
        local_ifuncs,
    };
    if graph.edges.iter().any(|edge| edge.kind.needs_slot()) {
        for section in 0..unit.sections.len() as u32 {
            for i in 0..unit.relocation_count(section) {
                if unit.relocation(section, i).kind.needs_slot() {
                    unit.slot_uses.push((section, i));
                }
            }
        }
    }
    Ok(unit)
}

fn graph_section(graph: &Graph<'_>, block: &crate::graph::Block<'_>) -> Result<Section, GraphFault> {
    let Some(home) = graph.sections.get(block.section.0 as usize) else {
        return Err("block in a section of another graph");
    };
    if !block.align.is_power_of_two() {
        return Err("alignment of a block is not a power of two");
    }
    let Ok(size) = u32::try_from(block.content.size()) else { return Err("block of 4 GiB or more") };
    let zero = matches!(block.content, Content::Zero(_));
    let class = match home.kind {
        SectionKind::Code => Class::Code,
        SectionKind::ReadWrite if zero => Class::Zero,
        SectionKind::ReadWrite => Class::ReadWrite,
        SectionKind::Tls if zero => Class::TlsZero,
        SectionKind::Tls => Class::Tls,
        SectionKind::ReadOnly | SectionKind::InitArray | SectionKind::FiniArray | SectionKind::PreinitArray => {
            Class::ReadOnly
        }
    };
    if zero && size > 0 && !matches!(class, Class::Zero | Class::TlsZero) {
        return Err("zero block outside variables");
    }
    let role = match home.kind {
        SectionKind::InitArray => Role::InitArray,
        SectionKind::FiniArray => Role::FiniArray,
        SectionKind::PreinitArray => Role::PreinitArray,
        SectionKind::ReadOnly if home.name.as_ref() == b".eh_frame" => Role::EhFrame,
        _ if names::is_c_identifier(&home.name) => Role::Named,
        _ => Role::Plain,
    };
    let retained = matches!(role, Role::InitArray | Role::FiniArray | Role::PreinitArray);
    let align_log2 = block.align.trailing_zeros() as u8;
    Ok(Section { size, align_log2, class, role, retained, ..Section::ABSENT })
}

/// Sets each section's range of edges; returns the edges' order by block unless they stand in it already.
fn count_edges(graph: &Graph<'_>, sections: &mut [Section]) -> Result<Option<Vec<u32>>, GraphFault> {
    let mut sorted = true;
    let mut last = 0;
    for edge in &graph.edges {
        let Some(section) = sections.get_mut(edge.block.0 as usize) else {
            return Err("edge in a block of another graph");
        };
        section.data += 1;
        sorted &= last <= edge.block.0;
        last = edge.block.0;
    }
    let mut start = 0;
    for section in sections.iter_mut() {
        section.relocations = start;
        start += section.data;
    }
    if sorted {
        return Ok(None);
    }
    let mut next: Vec<u32> = sections.iter().map(|s| s.relocations).collect();
    let mut order = vec![0; graph.edges.len()];
    for (i, edge) in graph.edges.iter().enumerate() {
        let at = &mut next[edge.block.0 as usize];
        order[*at as usize] = i as u32;
        *at += 1;
    }
    Ok(Some(order))
}
