//! A bitcode module as an ELF object, made by the first tier alone.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use gimli::write::RelocationTarget;
use kiln_abi::symbol::{self, Id};
use kiln_abi::{ExecutorAddr, FunctionId};
use kiln_baseline::data::{self, Stubs};
use kiln_baseline::{Compiler, LineTable};
use kiln_bitcode::{AliasId, AliasKind, Constant, DebugInfo, GlobalRef, Linkage, Module, Visibility};
use kiln_link::{Binding, Content, Graph, SectionKind, SymbolKind, SymbolPlace};
use object::write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolScope};

use crate::dwarf::{self, LinedCode};
use crate::error::Error;
use crate::source::SourceLines;

/// A compiled module.
#[derive(Debug)]
#[non_exhaustive]
pub struct CompiledObject {
    /// The ELF object.
    pub bytes: Vec<u8>,
    /// How many functions it holds.
    pub functions: u64,
    /// Of how many IR instructions.
    pub instructions: u64,
    /// Functions that it refers to but does not hold, because the first tier leaves them to the optimizer, with the reason.
    /// Whoever defines them needs names that the module may have kept to itself: those are visible in this case.
    pub left: Vec<(String, String)>,
}

/// Compiles the bitcode module in `path` to an ELF object, without LLVM. Calls and data become relocations for any linker.
///
/// # Errors
///
/// Whatever is wrong with the file, and what an object cannot express.
pub fn compile_object(path: &Path) -> Result<CompiledObject, Error> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let refuse = |message: String| Error::Object { name: name.clone(), message };
    match kiln_bitcode::identify(&bytes) {
        kiln_bitcode::Input::Bitcode { newer: true, producer, .. } => {
            return Err(Error::NewerProducer { name, producer });
        }
        kiln_bitcode::Input::Bitcode { current: true, .. } => {}
        _ => return Err(refuse("not bitcode that LLVM 22 wrote".to_owned())),
    }
    let modules = kiln_bitcode::parse(&bytes).map_err(|source| Error::Bitcode { name: name.clone(), source })?;
    let [module] = &modules[..] else { return Err(refuse("it holds several modules".to_owned())) };
    if !module.module_asm().is_empty() {
        return Err(refuse("it holds assembly at module level".to_owned()));
    }
    if module.aliases().iter().any(|alias| alias.kind == AliasKind::Ifunc) {
        return Err(refuse("it holds ifuncs".to_owned()));
    }

    let mut compiler = Compiler::new();
    let (mut graphs, mut left, mut instructions) = (Vec::new(), Vec::new(), 0);
    let mut lines = Vec::new();
    for (id, function) in (0u32..).map(FunctionId).zip(module.functions()) {
        if function.is_declaration() || function.symbol.linkage == Linkage::AvailableExternally {
            continue;
        }
        match compiler.compile(module, &bytes, id) {
            Ok(code) => {
                instructions += u64::from(code.instructions);
                lines.extend(code.lines.map(|table| (id, table)));
                graphs.push(code.graph);
            }
            Err(error) => {
                let name = name_of(module, Id::Function(id));
                left.push((String::from_utf8_lossy(&name).into_owned(), error.to_string()));
            }
        }
    }
    let data = data::module_data(module, &Numbers).map_err(|source| Error::Data { name: name.clone(), source })?;
    let mut writer = Writer {
        module,
        partial: !left.is_empty(),
        object: Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little),
        named: HashMap::new(),
        sections: BTreeMap::new(),
    };
    for graph in std::iter::once(&data.graph).chain(&graphs) {
        writer.add(graph).map_err(|error| refuse(error.to_string()))?;
    }
    writer.add_aliases();
    if !lines.is_empty() {
        writer.add_lines(&bytes, &lines).map_err(refuse)?;
    }
    // Without it, linkers give the program an executable stack.
    writer.section(b".note.GNU-stack", object::SectionKind::Other);
    let bytes = writer.object.write().map_err(|error| refuse(error.to_string()))?;
    Ok(CompiledObject { bytes, functions: graphs.len() as u64, instructions, left })
}

/// The distance of the numbers that stand for stubs from the functions' own.
const FIRST_STUB: u64 = 0x1000;

/// Stubs that only say which function they stand for: initial values hold them, and become relocations again.
struct Numbers;

impl Stubs for Numbers {
    fn function(&self, function: FunctionId) -> ExecutorAddr {
        ExecutorAddr::new(FIRST_STUB + u64::from(function.0))
    }

    fn ifunc(&self, _: AliasId) -> ExecutorAddr {
        ExecutorAddr::new(0)
    }
}

/// The linker's name of something in the module; things without name keep that of their number.
fn name_of(module: &Module, id: Id) -> Vec<u8> {
    let name = module.symbol_name(global(id));
    // "Not to be decorated", which ELF does to no name.
    let name = name.strip_prefix(b"\x01").unwrap_or(name);
    if name.is_empty() { symbol::name(id).into_bytes() } else { name.to_vec() }
}

fn global(id: Id) -> GlobalRef {
    match id {
        Id::Function(function) => GlobalRef::Function(function),
        Id::Global(global) => GlobalRef::Global(global),
        Id::Alias(alias) => GlobalRef::Alias(AliasId(alias)),
    }
}

struct Writer<'m> {
    module: &'m Module,
    /// Other objects will define functions of this module.
    partial: bool,
    object: Object<'static>,
    named: HashMap<Vec<u8>, SymbolId>,
    sections: BTreeMap<Vec<u8>, SectionId>,
}

impl Writer<'_> {
    /// The symbol that a graph calls `name`.
    fn symbol(&mut self, name: &[u8], weak: bool) -> SymbolId {
        let (name, weak, scope) = match symbol::parse(name) {
            Some(id) => {
                let symbol = self.module.symbol(global(id));
                let weak = matches!(
                    symbol.linkage,
                    Linkage::ExternWeak
                        | Linkage::WeakAny
                        | Linkage::WeakOdr
                        | Linkage::LinkOnceAny
                        | Linkage::LinkOnceOdr
                );
                let scope = match (symbol.linkage, symbol.visibility) {
                    (Linkage::Internal | Linkage::Private, _) if !self.partial => SymbolScope::Compilation,
                    (_, Visibility::Hidden) => SymbolScope::Linkage,
                    _ => SymbolScope::Dynamic,
                };
                (name_of(self.module, id), weak, scope)
            }
            None => (name.to_vec(), weak, SymbolScope::Dynamic),
        };
        if let Some(known) = self.named.get(&name) {
            return *known;
        }
        let id = self.object.add_symbol(Symbol {
            name: name.clone(),
            value: 0,
            size: 0,
            kind: object::SymbolKind::Unknown,
            scope,
            weak,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        self.named.insert(name, id);
        id
    }

    fn section(&mut self, name: &[u8], kind: object::SectionKind) -> SectionId {
        let object = &mut self.object;
        *self.sections.entry(name.to_vec()).or_insert_with(|| object.add_section(Vec::new(), name.to_vec(), kind))
    }

    fn section_for(&mut self, name: &[u8], kind: SectionKind, zero: bool) -> SectionId {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let by_name = !name.is_empty() && name.iter().all(is_word) || name.starts_with(b".init_array");
        match kind {
            SectionKind::Code => self.object.section_id(StandardSection::Text),
            SectionKind::ReadOnly if name == b".eh_frame" || name == b".gcc_except_table" => {
                self.section(name, object::SectionKind::ReadOnlyData)
            }
            // The program walks it from `__start_` to `__stop_`, or by priority.
            SectionKind::ReadOnly | SectionKind::ReadWrite | SectionKind::InitArray if by_name => {
                self.section(name, object::SectionKind::Data)
            }
            SectionKind::ReadOnly => self.section(b".data.rel.ro", object::SectionKind::Data),
            SectionKind::ReadWrite if zero => self.object.section_id(StandardSection::UninitializedData),
            SectionKind::ReadWrite => self.object.section_id(StandardSection::Data),
            SectionKind::Tls if zero => self.object.section_id(StandardSection::UninitializedTls),
            SectionKind::Tls => self.object.section_id(StandardSection::Tls),
            SectionKind::InitArray => self.section(b".init_array", object::SectionKind::Data),
            SectionKind::PreinitArray => self.section(b".preinit_array", object::SectionKind::Data),
            SectionKind::FiniArray => self.section(b".fini_array", object::SectionKind::Data),
        }
    }

    fn add(&mut self, graph: &Graph<'_>) -> Result<(), object::write::Error> {
        let sections: Vec<(Vec<u8>, SectionKind)> = graph.sections().map(|(n, k)| (n.to_vec(), k)).collect();
        let mut places = Vec::new();
        for (section, content, align) in graph.blocks() {
            let (name, kind) = &sections[section];
            let zero = matches!(content, Content::Zero(_)) && matches!(kind, SectionKind::ReadWrite | SectionKind::Tls);
            let id = self.section_for(name, *kind, zero);
            let is_bss = self.object.section(id).is_bss();
            let start = match content {
                Content::Zero(size) if is_bss => self.object.append_section_bss(id, *size, align),
                Content::Zero(size) => self.object.append_section_data(id, &vec![0; *size as usize], align),
                Content::Bytes(bytes) => self.object.append_section_data(id, bytes, align),
            };
            places.push((id, start));
        }
        let symbols: Vec<SymbolId> = graph.symbols().iter().map(|symbol| self.add_symbol(symbol, &places)).collect();
        for (block, offset, kind, symbol, addend) in graph.edges() {
            let (section, start) = places[block];
            let flags = RelocationFlags::Elf { r_type: kind.0 };
            let symbol = symbols[symbol.index()];
            self.object.add_relocation(section, Relocation { offset: start + offset, symbol, addend, flags })?;
        }
        Ok(())
    }

    fn add_symbol(&mut self, symbol: &kiln_link::Symbol<'_>, places: &[(SectionId, u64)]) -> SymbolId {
        let kind = match symbol.kind {
            SymbolKind::Function => object::SymbolKind::Text,
            SymbolKind::Tls => object::SymbolKind::Tls,
            _ => object::SymbolKind::Data,
        };
        let (section, value) = match symbol.place {
            SymbolPlace::Undefined => return self.symbol(&symbol.name, symbol.binding == Binding::Weak),
            SymbolPlace::Absolute(stub) => {
                let function = FunctionId((stub.get() - FIRST_STUB) as u32);
                return self.symbol(symbol::name(Id::Function(function)).as_bytes(), false);
            }
            SymbolPlace::Defined { block, offset } => {
                let (section, start) = places[block.index()];
                (section, start.wrapping_add(offset))
            }
            SymbolPlace::Common { align } => {
                let section = self.object.section_id(StandardSection::UninitializedData);
                (section, self.object.append_section_bss(section, symbol.size, align))
            }
        };
        if symbol.name.is_empty() {
            return self.object.add_symbol(Symbol {
                name: Vec::new(),
                value,
                size: 0,
                kind,
                scope: SymbolScope::Compilation,
                weak: false,
                section: SymbolSection::Section(section),
                flags: SymbolFlags::None,
            });
        }
        let id = self.symbol(&symbol.name, false);
        let made = self.object.symbol_mut(id);
        made.section = SymbolSection::Section(section);
        made.value = value;
        made.size = symbol.size;
        made.kind = kind;
        made.weak |= symbol.binding == Binding::Weak;
        if symbol.binding == Binding::Local && !self.partial {
            made.scope = SymbolScope::Compilation;
        }
        id
    }

    /// Line tables of the functions that have any.
    fn add_lines(&mut self, bytes: &[u8], tables: &[(FunctionId, LineTable)]) -> Result<(), String> {
        let debug = DebugInfo::read(self.module, bytes).map_err(|error| error.to_string())?;
        let (mut symbols, mut code) = (Vec::new(), Vec::new());
        for (function, table) in tables {
            let Some(lines) = SourceLines::of(&debug, self.module, bytes, *function, table) else { continue };
            let symbol = self.symbol(symbol::name(Id::Function(*function)).as_bytes(), false);
            let address = gimli::write::Address::Symbol { symbol: symbols.len(), addend: 0 };
            code.push(LinedCode { address, bytes: self.object.symbol(symbol).size, lines });
            symbols.push(symbol);
        }
        let producer = format!("kiln {}", env!("CARGO_PKG_VERSION"));
        let Some(mut unit) = dwarf::unit(&producer, &code) else { return Ok(()) };
        let sections = dwarf::relocatable(&mut unit).map_err(|error| error.to_string())?;
        let added: Vec<_> = sections
            .iter()
            .map(|section| {
                let id = self.section(section.id.name().as_bytes(), object::SectionKind::Debug);
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

    /// Aliases of functions take the function's place; those of variables come with the data.
    fn add_aliases(&mut self) {
        for (id, alias) in (0u32..).zip(self.module.aliases()) {
            let Constant::Global(GlobalRef::Function(function)) = self.module.constant(alias.target) else { continue };
            let target = self.symbol(symbol::name(Id::Function(function)).as_bytes(), false);
            let target = self.object.symbol(target);
            let (section, value, kind) = (target.section, target.value, target.kind);
            let made = self.symbol(symbol::name(Id::Alias(id)).as_bytes(), false);
            let made = self.object.symbol_mut(made);
            (made.section, made.value, made.kind) = (section, value, kind);
        }
    }
}
