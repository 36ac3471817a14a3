//! Global variables as a link graph.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use kiln_abi::{ExecutorAddr, FunctionId, GlobalId};
use kiln_bitcode::{
    AliasId, AliasKind, ComdatId, ComdatSelection, Constant, ConstantId, Function, Global, GlobalRef, Linkage, Module,
    ThreadLocal, Type, TypeId, TypeLayout,
};
use kiln_link::{
    Binding, BlockId, Content, Graph, GroupId, RelocationKind, SectionId, SectionKind, Symbol, SymbolId, SymbolKind,
    SymbolPlace, Visibility,
};

use crate::error::{Error, ErrorKind};
use crate::evaluate::{Value, evaluate, zero_extend};

/// Where functions lie before they have code.
pub trait Stubs {
    /// The stub of a function with a body.
    fn function(&self, function: FunctionId) -> ExecutorAddr;
    /// The stub of an ifunc.
    fn ifunc(&self, ifunc: AliasId) -> ExecutorAddr;
    /// Where a global of the module lies already, because an earlier generation of the module has laid it out; any address
    /// for a thread-local one.
    fn elsewhere(&self, global: GlobalId) -> Option<ExecutorAddr> {
        let _ = global;
        None
    }
    /// Whether the caller fills in pointers to tables of label addresses itself, which exist only once their functions are
    /// compiled: [`ModuleData::table_pointers`]. Otherwise they are relocations against the tables' symbols.
    fn fills_table_pointers(&self) -> bool {
        false
    }
}

/// A place in the initial value of a global that shall hold the address of a table of label addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePointer {
    /// Whose value it is part of.
    pub holder: GlobalId,
    /// Where in it, in bytes. The pointer has 8 bytes.
    pub offset: u64,
    /// The global that holds label addresses.
    pub table: GlobalId,
    /// Distance from the table's first byte.
    pub addend: i64,
}

/// A module's globals, ready to be linked.
#[derive(Debug)]
pub struct ModuleData<'m> {
    /// Blocks, symbols and relocations.
    pub graph: Graph<'m>,
    /// The symbol of each function, by id; `None` for local ones and declarations that no initial value refers to.
    pub functions: Vec<Option<SymbolId>>,
    /// The symbol of each global, by id; `None` for declarations that no initial value refers to, and for globals
    /// that hold label addresses.
    pub globals: Vec<Option<SymbolId>>,
    /// The symbol of each alias and ifunc, by id.
    pub aliases: Vec<Option<SymbolId>>,
    /// Zeros so far, where the caller [fills them in](Stubs::fills_table_pointers).
    pub table_pointers: Vec<TablePointer>,
}

/// Priority of constructors that ask for none.
const DEFAULT_PRIORITY: u64 = 65535;
const POINTER_BYTES: u64 = 8;
/// Constants of more zero bytes than this lie among the variables.
const ZERO_CONSTANT_BYTES_MAX: u64 = 64 << 10;
/// Bytes of all globals of a module: code reaches them by 32-bit displacements, hence no link is larger either.
const MAX_BYTES: u64 = 1 << 31;

/// Sections of globals that name none: of thread-local ones, of constants, of the others.
const USUAL_SECTIONS: [(&[u8], SectionKind); 3] =
    [(b".tdata", SectionKind::Tls), (b".rodata", SectionKind::ReadOnly), (b".data", SectionKind::ReadWrite)];

/// The initial values of a module that do not lie in it as they are: one piece of memory for all of them. Empty at first;
/// each is for one module.
#[derive(Debug, Default)]
pub struct Images(OnceCell<Vec<u8>>);

/// Lays out the globals of `module` and initialises them; their bytes go to `images`.
///
/// # Panics
///
/// If `images` has been used before.
///
/// # Errors
///
/// The first global whose initial value cannot be expressed, or whose type has no size.
pub fn module_data<'m>(module: &'m Module, stubs: &dyn Stubs, images: &'m Images) -> Result<ModuleData<'m>, Error> {
    let mut builder = Builder::new(module, stubs);
    builder.define_functions();
    builder.define_globals()?;
    builder.define_aliases()?;
    builder.declare_section_bounds();
    builder.fill_globals(images)?;
    builder.add_structors()?;
    Ok(builder.data)
}

/// A block whose initial value is still to be written.
struct Unfilled {
    global: GlobalId,
    block: BlockId,
    /// Where in the image of all.
    start: usize,
}

struct Builder<'m, 's> {
    module: &'m Module,
    stubs: &'s dyn Stubs,
    data: ModuleData<'m>,
    /// Those of [`USUAL_SECTIONS`] that are needed.
    usual_sections: [Option<SectionId>; USUAL_SECTIONS.len()],
    named_sections: HashMap<(&'m [u8], SectionKind), SectionId>,
    groups: HashMap<ComdatId, GroupId>,
    /// Blocks that are still to be filled.
    unfilled: Vec<Unfilled>,
    /// Bytes of their initial values, one behind the other.
    image_bytes: usize,
    retained: BTreeSet<GlobalRef>,
    /// [`Stubs::fills_table_pointers`]
    fills_table_pointers: bool,
    /// Explicitly named sections that hold variables: a section is one piece of memory.
    written: HashSet<&'m [u8]>,
}

impl<'m, 's> Builder<'m, 's> {
    fn new(module: &'m Module, stubs: &'s dyn Stubs) -> Self {
        let name = String::from_utf8_lossy(module.source_filename());
        let mut graph = Graph::new(name);
        graph.reserve(2, module.globals().len(), module.functions().len() + module.globals().len(), 0);
        let mut builder = Self {
            module,
            stubs,
            data: ModuleData {
                graph,
                functions: vec![None; module.functions().len()],
                globals: vec![None; module.globals().len()],
                aliases: vec![None; module.aliases().len()],
                table_pointers: Vec::new(),
            },
            usual_sections: [None; USUAL_SECTIONS.len()],
            named_sections: HashMap::new(),
            groups: HashMap::new(),
            unfilled: Vec::new(),
            image_bytes: 0,
            retained: BTreeSet::new(),
            fills_table_pointers: stubs.fills_table_pointers(),
            written: HashSet::new(),
        };
        builder.find_retained();
        let variables = module.globals().iter().filter(|global| !global.is_constant);
        builder.written = variables.filter_map(|global| global.section.map(|id| module.text(id))).collect();
        builder
    }

    fn error(&self, global: GlobalId, kind: ErrorKind) -> Error {
        let name = String::from_utf8_lossy(self.module.symbol_name(GlobalRef::Global(global))).into_owned();
        Error::new(if name.is_empty() { format!("{}", global.0) } else { name }, kind)
    }

    /// Collects what `llvm.used` and `llvm.compiler.used` name.
    fn find_retained(&mut self) {
        for global in self.module.globals() {
            if !matches!(self.module.str(global.symbol.name), b"llvm.used" | b"llvm.compiler.used") {
                continue;
            }
            let Some(Constant::Aggregate(elements)) = global.initializer.map(|id| self.module.constant(id)) else {
                continue;
            };
            for element in elements {
                if let Ok(Value::Address { base, .. }) = evaluate(self.module, *element) {
                    self.retained.insert(base);
                }
            }
        }
    }

    fn symbol(&self, id: GlobalRef, place: SymbolPlace, kind: SymbolKind, size: u64) -> Symbol<'m> {
        let symbol = self.module.symbol(id);
        let binding = match symbol.linkage {
            Linkage::Internal | Linkage::Private => Binding::Local,
            Linkage::LinkOnceAny | Linkage::LinkOnceOdr | Linkage::WeakAny | Linkage::WeakOdr | Linkage::ExternWeak => {
                Binding::Weak
            }
            _ => Binding::Global,
        };
        let visibility = match symbol.visibility {
            kiln_bitcode::Visibility::Default => Visibility::Default,
            kiln_bitcode::Visibility::Hidden => Visibility::Hidden,
            kiln_bitcode::Visibility::Protected => Visibility::Protected,
        };
        let name = plain_name(self.module.str(symbol.name));
        let retained = !self.retained.is_empty() && self.retained.contains(&id);
        Symbol { binding, visibility, size, retained, ..Symbol::new(name, place).with_kind(kind) }
    }

    fn define_functions(&mut self) {
        for (id, function) in (0u32..).map(FunctionId).zip(self.module.functions()) {
            let is_local = function.symbol.linkage.is_local();
            if has_body(function) && !is_local {
                let symbol = self.function_symbol(id);
                self.data.functions[id.0 as usize] = Some(self.data.graph.add_symbol(symbol));
            }
        }
    }

    /// The symbol of a function with a body.
    fn function_symbol(&self, id: FunctionId) -> Symbol<'m> {
        let place = SymbolPlace::Absolute(self.stubs.function(id));
        self.symbol(GlobalRef::Function(id), place, SymbolKind::Function, kiln_abi::x86_64::STUB_BYTES)
    }

    /// Whether the runtime lays `global` out: it has a value, is no list for the compiler, and holds no label address.
    fn is_laid_out(&self, id: GlobalId, global: &Global) -> bool {
        let compiler_only = self.module.str(global.symbol.name).starts_with(b"llvm.")
            || global.section.is_some_and(|id| self.module.text(id) == b"llvm.metadata");
        !global.is_declaration()
            && global.symbol.linkage != Linkage::AvailableExternally
            && !compiler_only
            && self.module.block_address_owner(id).is_none()
    }

    fn define_globals(&mut self) -> Result<(), Error> {
        let module = self.module;
        let mut total = 0u64;
        for (id, global) in (0u32..).map(GlobalId).zip(module.globals()) {
            if !self.is_laid_out(id, global) {
                continue;
            }
            if let Some(address) = self.stubs.elsewhere(id) {
                let symbol = self.symbol(GlobalRef::Global(id), SymbolPlace::Absolute(address), SymbolKind::Data, 0);
                self.data.globals[id.0 as usize] = Some(self.data.graph.add_symbol(symbol));
                continue;
            }
            let layout = module.layout_of(global.symbol.value_type).filter(|layout| !layout.scalable);
            let size = layout.ok_or_else(|| self.error(id, ErrorKind::Unsized))?.size;
            total = size.saturating_add(total);
            if total > MAX_BYTES {
                return Err(self.error(id, ErrorKind::TooLarge { bytes: size, limit: MAX_BYTES }));
            }
            let align = alignment(module, global);
            let is_tls = global.thread_local != ThreadLocal::None;
            let symbol_kind = if is_tls { SymbolKind::Tls } else { SymbolKind::Data };
            if global.symbol.linkage == Linkage::Common && !is_tls {
                let symbol = self.symbol(GlobalRef::Global(id), SymbolPlace::Common { align }, symbol_kind, size);
                self.data.globals[id.0 as usize] = Some(self.data.graph.add_symbol(symbol));
                continue;
            }
            let initializer = global.initializer.expect("is_laid_out asks for one");
            // Zeros take no room among unnamed variables, where large constants may go too; elsewhere they are bytes
            // like others, in their place.
            let among_variables = !global.is_constant || size > ZERO_CONSTANT_BYTES_MAX;
            let may_be_zero = is_tls || (among_variables && global.section.is_none());
            let zero = may_be_zero && is_zero(module, initializer);
            let section = self.section(global, zero);
            let known = if zero { None } else { plain_bytes(module, initializer, size) };
            let content = match known {
                Some(bytes) => Content::from(bytes),
                // Bytes follow.
                None => Content::Zero(size),
            };
            let block = self.data.graph.add_block(section, content, align);
            if let Some(group) = global.comdat.and_then(|comdat| self.group(comdat)) {
                self.data.graph.set_group(block, group);
            }
            let place = SymbolPlace::Defined { block, offset: 0 };
            let symbol = self.symbol(GlobalRef::Global(id), place, symbol_kind, size);
            self.data.globals[id.0 as usize] = Some(self.data.graph.add_symbol(symbol));
            if !zero && known.is_none() {
                self.unfilled.push(Unfilled { global: id, block, start: self.image_bytes });
                self.image_bytes += size as usize;
            }
        }
        Ok(())
    }

    fn group(&mut self, comdat: ComdatId) -> Option<GroupId> {
        let record = self.module.comdat(comdat);
        if record.selection == ComdatSelection::NoDuplicates {
            return None;
        }
        let name = self.module.str(record.name);
        Some(*self.groups.entry(comdat).or_insert_with(|| self.data.graph.add_group(name)))
    }

    /// The section of `global`. `zero`: it takes no room but among variables.
    fn section(&mut self, global: &Global, zero: bool) -> SectionId {
        let tls = global.thread_local != ThreadLocal::None;
        let graph = &mut self.data.graph;
        let Some(name) = global.section.map(|id| self.module.text(id)) else {
            let usual = match global.is_constant && !zero {
                _ if tls => 0,
                true => 1,
                false => 2,
            };
            let (name, kind) = USUAL_SECTIONS[usual];
            return *self.usual_sections[usual].get_or_insert_with(|| graph.add_section(name, kind));
        };
        let kind = match name {
            _ if tls => SectionKind::Tls,
            _ if starts_section(name, b".init_array") => SectionKind::InitArray,
            _ if starts_section(name, b".fini_array") => SectionKind::FiniArray,
            _ if starts_section(name, b".preinit_array") => SectionKind::PreinitArray,
            _ if self.written.contains(name) => SectionKind::ReadWrite,
            _ => SectionKind::ReadOnly,
        };
        *self.named_sections.entry((name, kind)).or_insert_with(|| graph.add_section(name, kind))
    }

    fn define_aliases(&mut self) -> Result<(), Error> {
        for id in (0u32..self.module.aliases().len() as u32).map(AliasId) {
            let alias = self.module.alias(id);
            let (place, kind) = if alias.kind == AliasKind::Ifunc {
                (SymbolPlace::Absolute(self.stubs.ifunc(id)), SymbolKind::Function)
            } else {
                match self.alias_place(id) {
                    Some(found) => found,
                    // An alias into a table of label addresses comes with its function's version.
                    None => continue,
                }
            };
            let symbol = self.symbol(GlobalRef::Alias(id), place, kind, 0);
            self.data.aliases[id.0 as usize] = Some(self.data.graph.add_symbol(symbol));
        }
        Ok(())
    }

    /// What an alias stands for; `None` if that is not laid out here.
    fn alias_place(&self, id: AliasId) -> Option<(SymbolPlace, SymbolKind)> {
        let (base, offset) = match alias_target(self.module, id)? {
            AliasTarget::Address(address) => {
                return Some((SymbolPlace::Absolute(ExecutorAddr::new(address)), SymbolKind::Untyped));
            }
            AliasTarget::Place { base, offset } => (base, offset),
        };
        let (place, kind) = match base {
            GlobalRef::Function(function) => {
                if !has_body(self.module.function(function)) {
                    return None;
                }
                (SymbolPlace::Absolute(self.stubs.function(function)), SymbolKind::Function)
            }
            GlobalRef::Global(global) => {
                let symbol = &self.data.graph.symbols()[self.data.globals[global.0 as usize]?.index()];
                (symbol.place, symbol.kind)
            }
            GlobalRef::Alias(ifunc) => (SymbolPlace::Absolute(self.stubs.ifunc(ifunc)), SymbolKind::Function),
        };
        let place = match place {
            SymbolPlace::Defined { block, offset: start } => {
                SymbolPlace::Defined { block, offset: start.wrapping_add(offset as u64) }
            }
            SymbolPlace::Absolute(address) => SymbolPlace::Absolute(address + offset as u64),
            SymbolPlace::Undefined | SymbolPlace::Common { .. } => return None,
        };
        Some((place, kind))
    }

    /// `__start_NAME` and `__stop_NAME` are the linker's to define, also where only functions refer to them.
    fn declare_section_bounds(&mut self) {
        for id in (0u32..self.module.globals().len() as u32).map(GlobalId) {
            let name = self.module.symbol_name(GlobalRef::Global(id));
            if self.module.global(id).is_declaration()
                && (name.starts_with(b"__start_") || name.starts_with(b"__stop_"))
            {
                self.symbol_of(GlobalRef::Global(id));
            }
        }
    }

    fn fill_globals(&mut self, images: &'m Images) -> Result<(), Error> {
        /// What is most of 512 KB: a larger table had better grow with its edges.
        const EDGES_MAX: usize = 16_000;
        let mut image = Image { bytes: vec![0; self.image_bytes], leaves: Vec::new() };
        // Room that is not used is never touched.
        self.data.graph.reserve(0, 0, 0, usize::min(self.image_bytes / POINTER_BYTES as usize, EDGES_MAX));
        let unfilled = std::mem::take(&mut self.unfilled);
        for &Unfilled { global, block, start } in &unfilled {
            let record = self.module.global(global);
            let initializer = record.initializer.expect("only globals with a value are in the list");
            write(self.module, initializer, record.symbol.value_type, start as u64, &mut image)
                .map_err(|kind| self.error(global, kind))?;
            for leaf in image.leaves.drain(..) {
                let leaf = Leaf { offset: leaf.offset - start as u64, ..leaf };
                self.add_edge(global, block, leaf).map_err(|kind| self.error(global, kind))?;
            }
        }
        images.0.set(image.bytes).expect("each is for one module");
        let mut rest = images.0.get().map_or(&[][..], Vec::as_slice);
        for Unfilled { block, .. } in unfilled {
            let size = self.data.graph.block_size(block);
            let (bytes, others) = rest.split_at(size as usize);
            self.data.graph.set_content(block, Content::from(bytes));
            rest = others;
        }
        Ok(())
    }

    fn add_edge(&mut self, holder: GlobalId, block: BlockId, leaf: Leaf) -> Result<(), ErrorKind> {
        let width = ErrorKind::AddressWidth { bytes: leaf.bytes };
        match leaf.value {
            Value::Number(_) => {}
            // Globals that hold them are left out, and functions emit them.
            Value::Label { .. } | Value::LabelDifference { .. } => return Err(width),
            Value::Address { base: GlobalRef::Global(table), offset }
                if leaf.bytes == 8
                    && self.fills_table_pointers
                    && self.module.block_address_owner(table).is_some()
                    && self.module.global(holder).thread_local == ThreadLocal::None =>
            {
                self.data.table_pointers.push(TablePointer { holder, offset: leaf.offset, table, addend: offset });
            }
            Value::Address { base, offset } => {
                let symbol = self.symbol_of(base);
                let kind = match leaf.bytes {
                    8 => RelocationKind::ABS64,
                    4 => RelocationKind::ABS32,
                    2 => RelocationKind::ABS16,
                    1 => RelocationKind::ABS8,
                    _ => return Err(width),
                };
                self.data.graph.add_edge(block, leaf.offset, kind, symbol, offset);
            }
            Value::Difference { plus, minus, offset } => {
                // `plus - minus` as a distance from the field: possible where `minus` lies in this very block.
                let symbol = self.symbol_of(minus);
                let start = match self.data.graph.symbols()[symbol.index()].place {
                    SymbolPlace::Defined { block: home, offset } if home == block => offset,
                    _ => return Err(ErrorKind::Distance),
                };
                let foreign_function =
                    matches!(plus, GlobalRef::Function(id) if self.module.function(id).is_declaration());
                let kind = match leaf.bytes {
                    8 => RelocationKind::PC64,
                    // The function may lie beyond 32 bits: a stub will do, as for LLVM's dso_local_equivalent.
                    4 if foreign_function => RelocationKind::PLT32,
                    4 => RelocationKind::PC32,
                    2 => RelocationKind::PC16,
                    1 => RelocationKind::PC8,
                    _ => return Err(width),
                };
                let addend = offset.wrapping_add(leaf.offset as i64).wrapping_sub(start as i64);
                let plus = self.symbol_of(plus);
                self.data.graph.add_edge(block, leaf.offset, kind, plus, addend);
            }
        }
        Ok(())
    }

    /// The symbol of a function or global, made now if nobody needed one before.
    #[inline]
    fn symbol_of(&mut self, id: GlobalRef) -> SymbolId {
        let known = match id {
            GlobalRef::Function(function) => self.data.functions[function.0 as usize],
            GlobalRef::Global(global) => self.data.globals[global.0 as usize],
            GlobalRef::Alias(alias) => self.data.aliases[alias.0 as usize],
        };
        known.unwrap_or_else(|| self.make_symbol(id))
    }

    #[cold]
    fn make_symbol(&mut self, id: GlobalRef) -> SymbolId {
        let mut symbol = match id {
            GlobalRef::Function(function) if has_body(self.module.function(function)) => self.function_symbol(function),
            _ => self.symbol(id, SymbolPlace::Undefined, SymbolKind::Untyped, 0),
        };
        if let GlobalRef::Global(global) = id
            && self.module.block_address_owner(global).is_some()
        {
            // A table of label addresses is known by its id, whatever its name and linkage.
            symbol.binding = Binding::Global;
            symbol.visibility = Visibility::Default;
            symbol.name = kiln_link::IntoName::into_name(kiln_abi::symbol::Id::Global(global));
        }
        let made = self.data.graph.add_symbol(symbol);
        match id {
            GlobalRef::Function(function) => self.data.functions[function.0 as usize] = Some(made),
            GlobalRef::Global(global) => self.data.globals[global.0 as usize] = Some(made),
            GlobalRef::Alias(alias) => self.data.aliases[alias.0 as usize] = Some(made),
        }
        made
    }

    /// `llvm.global_ctors` and `llvm.global_dtors` as arrays of the linker.
    fn add_structors(&mut self) -> Result<(), Error> {
        for id in (0u32..self.module.globals().len() as u32).map(GlobalId) {
            let global = self.module.global(id);
            let (array, kind) = match self.module.str(global.symbol.name) {
                b"llvm.global_ctors" => (".init_array", SectionKind::InitArray),
                b"llvm.global_dtors" => (".fini_array", SectionKind::FiniArray),
                _ => continue,
            };
            let Some(Constant::Aggregate(entries)) = global.initializer.map(|value| self.module.constant(value)) else {
                continue;
            };
            let mut sorted = Vec::with_capacity(entries.len());
            for entry in entries {
                let structor = self.structor(*entry).ok_or_else(|| self.error(id, ErrorKind::BadStructors))?;
                sorted.extend(structor);
            }
            for Structor { priority, function, offset, with } in sorted {
                let name = match priority {
                    DEFAULT_PRIORITY => array.to_owned(),
                    priority => format!("{array}.{priority:05}"),
                };
                let section = self.data.graph.add_section(name, kind);
                let block =
                    self.data.graph.add_block(section, Content::from(vec![0; POINTER_BYTES as usize]), POINTER_BYTES);
                // Where another module's copy of the variable is kept, its constructor runs instead.
                let comdat = with.and_then(|global| self.module.global(global).comdat);
                if let Some(group) = comdat.and_then(|comdat| self.group(comdat)) {
                    self.data.graph.set_group(block, group);
                }
                let symbol = self.symbol_of(function);
                self.data.graph.add_edge(block, 0, RelocationKind::ABS64, symbol, offset);
            }
        }
        Ok(())
    }

    /// One entry of such a list; `Some(None)` for a null function, which the list's reader skips.
    fn structor(&self, entry: ConstantId) -> Option<Option<Structor>> {
        let Constant::Aggregate(fields) = self.module.constant(entry) else {
            return matches!(self.module.constant(entry), Constant::Null).then_some(None);
        };
        let Value::Number(priority) = evaluate(self.module, *fields.first()?).ok()? else { return None };
        let with = match fields.get(2).map(|with| evaluate(self.module, *with)) {
            Some(Ok(Value::Address { base: GlobalRef::Global(global), .. })) => Some(global),
            _ => None,
        };
        match evaluate(self.module, *fields.get(1)?).ok()? {
            Value::Address { base: function, offset } => {
                Some(Some(Structor { priority: priority as u64, function, offset, with }))
            }
            Value::Number(0) => Some(None),
            _ => None,
        }
    }
}

/// Whether a function has code of its own here.
fn has_body(function: &Function) -> bool {
    !function.is_declaration() && function.symbol.linkage != Linkage::AvailableExternally
}

/// What an alias stands for in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasTarget {
    /// So many bytes from the start of a function or global, or of an ifunc's stub.
    Place {
        /// A function, a global, or an ifunc; never another alias.
        base: GlobalRef,
        /// Distance in bytes.
        offset: i64,
    },
    /// An address that is a number.
    Address(u64),
}

/// Follows `alias` through other aliases; `None` where it stands for nothing that a symbol can.
#[must_use]
pub fn alias_target(module: &Module, alias: AliasId) -> Option<AliasTarget> {
    let (mut alias, mut distance) = (alias, 0i64);
    // A chain that is longer than the list leads back into itself.
    for _ in 0..=module.aliases().len() {
        match evaluate(module, module.alias(alias).target).ok()? {
            Value::Number(address) => {
                return Some(AliasTarget::Address((address as u64).wrapping_add(distance as u64)));
            }
            Value::Address { base: GlobalRef::Alias(other), offset }
                if module.alias(other).kind == AliasKind::Alias =>
            {
                (alias, distance) = (other, distance.wrapping_add(offset));
            }
            Value::Address { base, offset } => {
                return Some(AliasTarget::Place { base, offset: distance.wrapping_add(offset) });
            }
            _ => return None,
        }
    }
    None
}

/// One entry of `llvm.global_ctors` or `llvm.global_dtors`.
struct Structor {
    priority: u64,
    function: GlobalRef,
    offset: i64,
    /// The variable it initialises: with a copy of it that is dropped, it is dropped too.
    with: Option<GlobalId>,
}

/// A name as the assembler would print it: `\x01` asks for it verbatim, which is what ELF does anyway.
fn plain_name(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"\x01").unwrap_or(name)
}

/// Whether `name` is `base` or `base` with a suffix after a dot.
fn starts_section(name: &[u8], base: &[u8]) -> bool {
    name.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
}

/// `DataLayout::getPreferredAlign(const GlobalVariable *)`
pub(crate) fn alignment(module: &Module, global: &Global) -> u64 {
    let Some(layout) = module.layout_of(global.symbol.value_type) else { return 1 };
    match global.align() {
        Some(explicit) if global.section.is_some() => explicit,
        Some(explicit) if explicit >= layout.preferred_align => explicit,
        Some(explicit) => explicit.max(layout.abi_align),
        None if layout.bits > 128 => layout.preferred_align.max(16),
        None => layout.preferred_align,
    }
}

/// Whether the whole value is zero, so that it takes no room.
///
/// LLVM writes what is all zero as one null, however large; so nothing is lost by not looking into aggregates, which
/// may share their parts and thereby be exponentially larger than the module.
fn is_zero(module: &Module, id: ConstantId) -> bool {
    match module.constant(id) {
        Constant::Null | Constant::Undef | Constant::Poison | Constant::Int(0) => true,
        Constant::Aggregate(_) => module.layout_of(module.constant_type(id)).is_some_and(|layout| layout.size == 0),
        _ => false,
    }
}

/// The bytes of a value of `size` bytes that lie in the module as they are, be it as the only part of a value.
fn plain_bytes(module: &Module, mut id: ConstantId, size: u64) -> Option<&[u8]> {
    loop {
        match module.constant(id) {
            Constant::Data(bytes) | Constant::String { bytes, nul: false } => {
                return (bytes.len() as u64 == size).then_some(bytes);
            }
            // The reader has refused values that are part of themselves.
            Constant::Aggregate([only]) => id = *only,
            _ => return None,
        }
    }
}

/// An initial value while it is written.
pub(crate) struct Image {
    /// All of it, zero at first.
    pub(crate) bytes: Vec<u8>,
    /// The addresses in it, whose bytes stay zero.
    pub(crate) leaves: Vec<Leaf>,
}

/// An address in an initial value.
pub(crate) struct Leaf {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) value: Value,
}

/// Writes the value `id` of type `ty` at `offset`. The reader bounds the depth of constants.
pub(crate) fn write(
    module: &Module,
    id: ConstantId,
    ty: TypeId,
    offset: u64,
    image: &mut Image,
) -> Result<(), ErrorKind> {
    write_part(module, id, ty, offset, image)
}

/// The same, for the loops over the parts of a value: most have no parts.
#[inline(always)]
fn write_part(module: &Module, id: ConstantId, ty: TypeId, offset: u64, image: &mut Image) -> Result<(), ErrorKind> {
    let layout = module.layout_of(ty).ok_or(ErrorKind::Unsized)?;
    // Nothing to write: and each step into a value writes at least a byte, so the size bounds the work.
    if layout.size == 0 {
        return Ok(());
    }
    match module.constant(id) {
        Constant::Null | Constant::Undef | Constant::Poison => {}
        Constant::Int(value) => image.number(offset, layout.store_size, &value.to_le_bytes()),
        Constant::WideInt(words) => {
            // Leading zero words may be missing; the last one may be wider than what is left.
            for (start, word) in (0..layout.store_size).step_by(8).zip(words) {
                image.number(offset + start, (layout.store_size - start).min(8), &word.to_le_bytes());
            }
        }
        Constant::Float(bits) => image.number(offset, layout.store_size, &bits.to_le_bytes()),
        Constant::Data(bytes) | Constant::String { bytes, .. } => image.write(offset, bytes),
        Constant::Aggregate(elements) => write_aggregate(module, ty, elements, offset, image)?,
        Constant::Global(base) => {
            let value = Value::Address { base, offset: 0 };
            image.leaves.push(Leaf { offset, bytes: layout.store_size, value });
        }
        _ => return write_expression(module, id, layout, offset, image),
    }
    Ok(())
}

fn write_expression(
    module: &Module,
    id: ConstantId,
    layout: &TypeLayout,
    offset: u64,
    image: &mut Image,
) -> Result<(), ErrorKind> {
    match evaluate(module, id)? {
        Value::Number(number) => {
            image.number(offset, layout.store_size, &zero_extend(number, layout.bits).to_le_bytes());
        }
        value => image.leaves.push(Leaf { offset, bytes: layout.store_size, value }),
    }
    Ok(())
}

fn write_aggregate(
    module: &Module,
    ty: TypeId,
    elements: &[ConstantId],
    offset: u64,
    image: &mut Image,
) -> Result<(), ErrorKind> {
    match module.ty(ty) {
        Type::Struct { fields, .. } => {
            for ((element, field), start) in elements.iter().zip(fields.iter()).zip(module.field_offsets(ty)) {
                write_part(module, *element, *field, offset + start, image)?;
            }
        }
        Type::Array { element: of, .. } => {
            let stride = module.layout_of(*of).ok_or(ErrorKind::Unsized)?.size;
            for (position, element) in (0u64..).zip(elements) {
                write_part(module, *element, *of, offset + position * stride, image)?;
            }
        }
        Type::Vector { element: of, .. } => {
            let bits = module.layout_of(*of).ok_or(ErrorKind::Unsized)?.bits;
            if bits % 8 == 0 {
                for (position, element) in (0u64..).zip(elements) {
                    write(module, *element, *of, offset + position * bits / 8, image)?;
                }
            } else {
                write_packed(module, bits, elements, offset, image)?;
            }
        }
        _ => return Err(ErrorKind::Unsized),
    }
    Ok(())
}

/// A vector of elements that are no whole bytes: its elements follow each other bit by bit.
fn write_packed(
    module: &Module,
    bits: u64,
    elements: &[ConstantId],
    offset: u64,
    image: &mut Image,
) -> Result<(), ErrorKind> {
    let mut bytes = vec![0u8; (bits * elements.len() as u64).div_ceil(8) as usize];
    for (position, element) in (0u64..).zip(elements) {
        let Value::Number(number) = evaluate(module, *element)? else {
            return Err(ErrorKind::AddressWidth { bytes: bits.div_ceil(8) });
        };
        for bit in (0..bits.min(128)).filter(|bit| number >> bit & 1 == 1) {
            let at = position * bits + bit;
            bytes[(at / 8) as usize] |= 1 << (at % 8);
        }
    }
    image.write(offset, &bytes);
    Ok(())
}

impl Image {
    fn write(&mut self, offset: u64, piece: &[u8]) {
        self.bytes[offset as usize..][..piece.len()].copy_from_slice(piece);
    }

    /// Writes the low `bytes` bytes of a little-endian number; what the number lacks stays zero.
    fn number(&mut self, offset: u64, bytes: u64, little_endian: &[u8]) {
        let len = little_endian.len().min(bytes as usize);
        self.write(offset, &little_endian[..len]);
    }
}
