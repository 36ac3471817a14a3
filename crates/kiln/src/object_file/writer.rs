//! Link graphs and aliases of a module, written as one relocatable object.

use std::collections::{BTreeMap, HashMap, HashSet};

use gimli::write::RelocationTarget;
use kiln_abi::FunctionId;
use kiln_abi::symbol::Id;
use kiln_baseline::LineTable;
use kiln_baseline::data::{AliasTarget, ModuleData, alias_target};
use kiln_bitcode::{AliasId, AliasKind, ComdatId, ComdatSelection, Constant, DebugInfo, GlobalId, GlobalRef, Module};
use kiln_link::{Content, Graph, SectionKind, SymbolPlace};
use object::write::{Comdat, Error, Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, ComdatKind, Endianness, RelocationFlags, SymbolFlags, SymbolKind, SymbolScope,
};

use super::sections::{Block, Wanted};
use super::symbols::{Symbols, id_of};
use crate::dwarf::{self, LinedCode};
use crate::source::SourceLines;

/// An object while it is made.
pub(super) struct Writer<'m> {
    module: &'m Module,
    object: Object<'static>,
    symbols: Symbols<'m>,
    sections: BTreeMap<Wanted, SectionId>,
    groups: BTreeMap<Vec<u8>, Vec<SectionId>>,
    /// Words that hold an address for the unwinder, by what they point to.
    cells: HashMap<(SymbolId, bool), SymbolId>,
    /// Sections named by the program that hold constants with addresses in them.
    relocated: HashSet<Vec<u8>>,
}

/// Where a block of a graph has gone.
#[derive(Clone, Copy)]
enum Place {
    At(SectionId, u64),
    /// It holds addresses for the unwinder, which are shared between functions.
    Cells,
}

/// What a symbol of a graph has become: a symbol, and a distance from it.
type Target = (SymbolId, i64);

impl<'m> Writer<'m> {
    /// An empty object. `partial`: other objects will define functions of this module.
    pub(super) fn new(module: &'m Module, partial: bool) -> Self {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let source = module.source_filename();
        let name = source.rsplit(|byte| *byte == b'/').next().unwrap_or(source);
        object.add_file_symbol(name.to_vec());
        Self {
            module,
            object,
            symbols: Symbols::new(module, partial),
            sections: BTreeMap::new(),
            groups: BTreeMap::new(),
            cells: HashMap::new(),
            relocated: HashSet::new(),
        }
    }

    /// Adds the module's variables.
    pub(super) fn add_data(&mut self, data: &ModuleData<'_>) -> Result<(), Error> {
        let graph = &data.graph;
        let mut ids = vec![None; graph.symbols().len()];
        let functions = (0u32..).map(|id| Id::Function(FunctionId(id))).zip(&data.functions);
        let globals = (0u32..).map(|id| Id::Global(GlobalId(id))).zip(&data.globals);
        let aliases = (0u32..).map(Id::Alias).zip(&data.aliases);
        for (id, symbol) in functions.chain(globals).chain(aliases) {
            if let Some(symbol) = symbol {
                ids[symbol.index()] = Some(id);
            }
        }
        let sections: Vec<(&[u8], SectionKind)> = graph.sections().collect();
        let mut explicit = vec![false; graph.blocks().count()];
        for symbol in data.globals.iter().zip(self.module.globals()).filter(|(_, global)| global.section.is_some()) {
            if let Some(SymbolPlace::Defined { block, .. }) = symbol.0.map(|id| graph.symbols()[id.index()].place) {
                explicit[block.index()] = true;
            }
        }
        let relocated = relocated_blocks(graph);
        for (index, (section, ..)) in graph.blocks().enumerate() {
            if explicit[index] && relocated[index] {
                self.relocated.insert(sections[section].0.to_vec());
            }
        }
        let mut places = Vec::with_capacity(explicit.len());
        for (index, (section, content, align)) in graph.blocks().enumerate() {
            let (name, kind) = sections[section];
            let wanted = Wanted::of(&Block {
                kind,
                name,
                explicit: explicit[index],
                zero: matches!(content, Content::Zero(_)),
                relocated: relocated[index] || explicit[index] && self.relocated.contains(name),
                group: graph.group_of(index),
            });
            places.push(self.place(&wanted, content, align));
        }
        self.finish_graph(graph, &places, &ids, None)
    }

    /// Adds a function.
    pub(super) fn add_function(&mut self, function: FunctionId, graph: &Graph<'_>) -> Result<(), Error> {
        let module = self.module;
        let record = module.function(function);
        let explicit = record.section.map(|section| module.text(section));
        let group = record.comdat.and_then(|comdat| self.signature(comdat));
        let sections: Vec<(&[u8], SectionKind)> = graph.sections().collect();
        let relocated = relocated_blocks(graph);
        let mut places = Vec::new();
        for (index, (section, content, align)) in graph.blocks().enumerate() {
            let (name, kind) = sections[section];
            if kind == SectionKind::ReadOnly && name == b".data.rel.ro" {
                places.push(Place::Cells);
                continue;
            }
            let named = explicit.filter(|_| kind == SectionKind::Code);
            let wanted = Wanted::of(&Block {
                kind,
                name: named.unwrap_or(name),
                explicit: named.is_some(),
                zero: matches!(content, Content::Zero(_)),
                relocated: relocated[index],
                // Linkers take out what unwinds a function that they drop.
                group: group.filter(|_| name != b".eh_frame"),
            });
            places.push(self.place(&wanted, content, align));
        }
        let personality = record.personality.and_then(|id| match module.constant(id) {
            Constant::Global(base) => Some(id_of(base)),
            _ => None,
        });
        self.finish_graph(graph, &places, &vec![None; graph.symbols().len()], personality)
    }

    /// The name of a group whose copies in other objects are the same.
    fn signature(&self, comdat: ComdatId) -> Option<&'m [u8]> {
        let comdat = self.module.comdat(comdat);
        (comdat.selection != ComdatSelection::NoDuplicates).then(|| self.module.str(comdat.name))
    }

    fn section(&mut self, wanted: &Wanted) -> SectionId {
        if let Some(known) = self.sections.get(wanted) {
            return *known;
        }
        let id = self.object.add_section(Vec::new(), wanted.name.clone(), wanted.kind());
        self.object.section_mut(id).flags = wanted.flags();
        if let Some(group) = &wanted.group {
            self.groups.entry(group.clone()).or_default().push(id);
        }
        self.sections.insert(wanted.clone(), id);
        id
    }

    fn place(&mut self, wanted: &Wanted, content: &Content<'_>, align: u64) -> Place {
        let id = self.section(wanted);
        let is_bss = self.object.section(id).is_bss();
        let start = match content {
            Content::Zero(size) if is_bss => self.object.append_section_bss(id, *size, align),
            Content::Zero(size) => self.object.append_section_data(id, &vec![0; *size as usize], align),
            Content::Bytes(bytes) => self.object.append_section_data(id, bytes, align),
        };
        Place::At(id, start)
    }

    /// Adds symbols and relocations of a graph whose blocks have their places. `ids` says what its symbols stand for,
    /// where their names do not.
    fn finish_graph(
        &mut self,
        graph: &Graph<'_>,
        places: &[Place],
        ids: &[Option<Id>],
        personality: Option<Id>,
    ) -> Result<(), Error> {
        let mut pointers = HashMap::new();
        for (block, offset, _, symbol, _) in graph.edges() {
            if matches!(places[block], Place::Cells) {
                pointers.insert((block, offset), symbol.index());
            }
        }
        let mut targets: Vec<Option<Target>> = Vec::with_capacity(ids.len());
        for (symbol, id) in graph.symbols().iter().zip(ids) {
            targets.push(match symbol.place {
                SymbolPlace::Defined { block, .. } if matches!(places[block.index()], Place::Cells) => None,
                _ => Some(self.symbol(symbol, *id, places)),
            });
        }
        let personality = personality.map(|id| self.symbols.of(&mut self.object, id, false));
        for (index, symbol) in graph.symbols().iter().enumerate() {
            let SymbolPlace::Defined { block, offset } = symbol.place else { continue };
            if targets[index].is_some() {
                continue;
            }
            let pointed = pointers.get(&(block.index(), offset)).and_then(|to| targets[*to]);
            if let Some((to, _)) = pointed {
                targets[index] = Some((self.cell(to, personality == Some(to))?, 0));
            }
        }
        for (block, offset, kind, symbol, addend) in graph.edges() {
            let (Place::At(section, start), Some((symbol, distance))) = (places[block], targets[symbol.index()]) else {
                continue;
            };
            let addend = addend.wrapping_add(distance);
            let flags = RelocationFlags::Elf { r_type: kind.0 };
            self.object.add_relocation(section, Relocation { offset: start + offset, symbol, addend, flags })?;
        }
        Ok(())
    }

    /// A word that holds the address of `to`. That of a personality function has a name and is shared between objects, as
    /// all compilers make it.
    fn cell(&mut self, to: SymbolId, personality: bool) -> Result<SymbolId, Error> {
        if let Some(known) = self.cells.get(&(to, personality)) {
            return Ok(*known);
        }
        let symbol = self.object.symbol(to);
        let shared = personality && !symbol.is_local();
        let name = if shared { [b"DW.ref.", &symbol.name[..]].concat() } else { Vec::new() };
        let wanted = Wanted::of(&Block {
            kind: SectionKind::ReadWrite,
            name: b".data",
            explicit: false,
            zero: false,
            relocated: true,
            group: shared.then_some(&name),
        });
        let section = self.section(&wanted);
        let at = self.object.append_section_data(section, &[0; 8], 8);
        let cell = self.object.add_symbol(Symbol {
            name,
            value: at,
            size: 8,
            kind: SymbolKind::Data,
            scope: if shared { SymbolScope::Linkage } else { SymbolScope::Compilation },
            weak: shared,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
        if shared {
            self.symbols.know(self.object.symbol(cell).name.clone(), cell);
        }
        let flags = RelocationFlags::Elf { r_type: object::elf::R_X86_64_64 };
        self.object.add_relocation(section, Relocation { offset: at, symbol: to, addend: 0, flags })?;
        self.cells.insert((to, personality), cell);
        Ok(cell)
    }

    fn symbol(&mut self, symbol: &kiln_link::Symbol<'_>, id: Option<Id>, places: &[Place]) -> Target {
        let weak = symbol.binding == kiln_link::Binding::Weak;
        let kind = match symbol.kind {
            kiln_link::SymbolKind::Function => SymbolKind::Text,
            kiln_link::SymbolKind::Tls => SymbolKind::Tls,
            _ => SymbolKind::Data,
        };
        let (section, value) = match symbol.place {
            SymbolPlace::Defined { block, offset } => {
                let Place::At(section, start) = places[block.index()] else { unreachable!("cells have been left out") };
                if symbol.name.is_empty() && id.is_none() {
                    return (self.object.section_symbol(section), start.wrapping_add(offset) as i64);
                }
                (SymbolSection::Section(section), start.wrapping_add(offset))
            }
            SymbolPlace::Common { align } => (SymbolSection::Common, align),
            // Functions and what they are called else are defined with their code.
            SymbolPlace::Undefined | SymbolPlace::Absolute(_) => (SymbolSection::Undefined, 0),
        };
        let made = match id {
            Some(id) => self.symbols.of(&mut self.object, id, false),
            None => self.symbols.named(&mut self.object, &symbol.name, weak),
        };
        // Aliases of variables are defined with the others.
        if section != SymbolSection::Undefined && !matches!(id, Some(Id::Alias(_))) {
            if let (SymbolSection::Common, Some(Id::Global(global))) = (section, id) {
                self.symbols.is_common(made, self.module.global(global).symbol.visibility);
            }
            let known = self.object.symbol_mut(made);
            (known.section, known.value, known.size, known.kind) = (section, value, symbol.size, kind);
        }
        (made, 0)
    }

    /// Aliases and ifuncs, which lie where something else does.
    pub(super) fn add_aliases(&mut self) {
        for id in (0u32..self.module.aliases().len() as u32).map(AliasId) {
            let alias = self.module.alias(id);
            let Some(target) = alias_target(self.module, id) else { continue };
            let (section, value, size, kind) = match target {
                AliasTarget::Address(address) => (SymbolSection::Absolute, address, 0, SymbolKind::Label),
                AliasTarget::Place { base: GlobalRef::Alias(_), .. } if alias.kind == AliasKind::Ifunc => continue,
                AliasTarget::Place { base, offset } => {
                    let (base, distance) = self.through_ifunc(base, offset);
                    let base = self.symbols.of(&mut self.object, id_of(base), false);
                    let base = self.object.symbol(base);
                    // A function that is left out leaves out its other names.
                    if matches!(base.section, SymbolSection::Undefined | SymbolSection::Common) {
                        continue;
                    }
                    let size = base.size.saturating_sub(distance.unsigned_abs());
                    (base.section, base.value.wrapping_add_signed(distance), size, base.kind)
                }
            };
            let made = self.symbols.of(&mut self.object, Id::Alias(id.0), false);
            if let AliasTarget::Place { base: GlobalRef::Alias(_), .. } = target {
                self.symbols.is_ifunc(made, alias.symbol.visibility);
            }
            let made = self.object.symbol_mut(made);
            (made.section, made.value, made.kind) = (section, value, kind);
            made.size = if alias.kind == AliasKind::Ifunc { 0 } else { size };
        }
    }

    /// An ifunc lies where its resolver does.
    fn through_ifunc(&self, base: GlobalRef, offset: i64) -> (GlobalRef, i64) {
        let GlobalRef::Alias(ifunc) = base else { return (base, offset) };
        match alias_target(self.module, ifunc) {
            Some(AliasTarget::Place { base, offset }) => (base, offset),
            _ => (base, offset),
        }
    }

    /// Line tables of the functions that have any.
    pub(super) fn add_lines(&mut self, bytes: &[u8], tables: &[(FunctionId, LineTable)]) -> Result<(), String> {
        let debug = DebugInfo::read(self.module, bytes).map_err(|error| error.to_string())?;
        let (mut symbols, mut code) = (Vec::new(), Vec::new());
        for (function, table) in tables {
            let Some(lines) = SourceLines::of(&debug, self.module, bytes, *function, table) else { continue };
            let symbol = self.symbols.of(&mut self.object, Id::Function(*function), false);
            let symbol = self.object.symbol(symbol);
            let (SymbolSection::Section(section), bytes) = (symbol.section, symbol.size) else { continue };
            // By the section: another object's copy of a COMDAT function may be the one that is kept, with lines of its own.
            let address = gimli::write::Address::Symbol { symbol: symbols.len(), addend: symbol.value as i64 };
            code.push(LinedCode { address, bytes, lines });
            symbols.push(self.object.section_symbol(section));
        }
        let producer = format!("kiln {}", env!("CARGO_PKG_VERSION"));
        let Some(mut unit) = dwarf::unit(&producer, &code) else { return Ok(()) };
        let sections = dwarf::relocatable(&mut unit).map_err(|error| error.to_string())?;
        let added: Vec<_> = sections
            .iter()
            .map(|section| {
                let id = self.section(&Wanted::outside(section.id.name().as_bytes()));
                self.object.append_section_data(id, &section.bytes, 1);
                (section.id, id)
            })
            .collect();
        for (section, (_, id)) in sections.iter().zip(&added) {
            for relocation in &section.relocations {
                let symbol = match relocation.target {
                    RelocationTarget::Symbol(index) => symbols[index],
                    RelocationTarget::Section(target) => {
                        let Some((_, target)) = added.iter().find(|(id, _)| *id == target) else { continue };
                        self.object.section_symbol(*target)
                    }
                };
                let r_type = if relocation.size == 8 { object::elf::R_X86_64_64 } else { object::elf::R_X86_64_32 };
                let relocation = Relocation {
                    offset: relocation.offset as u64,
                    symbol,
                    addend: relocation.addend,
                    flags: RelocationFlags::Elf { r_type },
                };
                self.object.add_relocation(*id, relocation).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// The object's bytes.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        // Without it, linkers give the program an executable stack.
        self.section(&Wanted::outside(b".note.GNU-stack"));
        for (name, sections) in std::mem::take(&mut self.groups) {
            let first = SymbolSection::Section(sections[0]);
            let symbol = self.symbols.signature(&mut self.object, &name, first);
            self.object.add_comdat(Comdat { kind: ComdatKind::Any, symbol, sections });
        }
        self.symbols.finish(&mut self.object);
        self.object.write()
    }
}

/// Which blocks have addresses written into them when the program is loaded.
fn relocated_blocks(graph: &Graph<'_>) -> Vec<bool> {
    let mut relocated = vec![false; graph.blocks().count()];
    for (block, ..) in graph.edges() {
        relocated[block] = true;
    }
    relocated
}
