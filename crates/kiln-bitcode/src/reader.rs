//! The module block: from records to a [`Module`].

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_abi::{FunctionId, GlobalId};

use crate::attributes::{self, AttributeList};
use crate::bitstream::{Block, BlockInfo, BodyRange, Budget, Entry, Record, bytes_of};
use crate::classes::Classes;
use crate::codes::BlockKind;
use crate::constant::{ConstantId, GlobalRef};
use crate::constants::{Constants, Labels};
use crate::error::{Error, ErrorKind};
use crate::global::{
    Alias, AliasId, AliasKind, CodeModel, Comdat, ComdatId, ComdatSelection, DllStorage, Function, Global, Linkage,
    Name, Sanitizer, Symbol, ThreadLocal, UnnamedAddr, Visibility,
};
use crate::layout::{DataLayout, Layouts};
use crate::module::{MetadataKind, Module, next_identity};
use crate::types::{Type, TypeTable};

const VERSION: u32 = 1;
const TRIPLE: u32 = 2;
const DATALAYOUT: u32 = 3;
const ASM: u32 = 4;
const SECTIONNAME: u32 = 5;
const DEPLIB: u32 = 6;
const GLOBALVAR: u32 = 7;
const FUNCTION: u32 = 8;
const ALIAS_OLD: u32 = 9;
const GCNAME: u32 = 11;
const COMDAT: u32 = 12;
const ALIAS: u32 = 14;
const SOURCE_FILENAME: u32 = 16;
const HASH: u32 = 17;
const IFUNC: u32 = 18;

/// What a module takes beside its tables.
const MODULE_COST: u64 = 4096;
/// `CallingConv::MaxID`
const MAX_CALLING_CONVENTION: u64 = 1023;
/// `Value::MaxAlignmentExponent`
const MAX_ALIGN_EXPONENT: u64 = 32;

/// Reads a module block whose names lie in `strtab`.
pub(crate) fn read_module<'a>(
    block: Block<'a>,
    producer: String,
    strtab: &Arc<[u8]>,
    record: &mut Record<'a>,
    budget: &mut Budget,
) -> Result<Module, Error> {
    block.charge(MODULE_COST, budget)?;
    let mut reader = Reader::new(block, strtab);
    reader.read(producer.as_str(), record, budget)?;
    reader.finish(producer)
}

struct Reader<'a> {
    block: Block<'a>,
    strtab: Arc<[u8]>,
    info: BlockInfo,
    triple: Vec<u8>,
    source_filename: Vec<u8>,
    asm: Vec<u8>,
    data_layout: DataLayout,
    raw_groups: Option<Vec<(u64, attributes::RawGroup)>>,
    raw_lists: Option<Vec<Box<[u64]>>>,
    attribute_lists: Option<Vec<AttributeList>>,
    types: Option<TypeTable>,
    sections: Vec<Arc<[u8]>>,
    gcs: Vec<Arc<[u8]>>,
    functions: Vec<Function>,
    globals: Vec<Global>,
    aliases: Vec<Alias>,
    comdats: Vec<Comdat>,
    constants: Constants,
    /// Function records that announced a body, in order.
    defined: Vec<FunctionId>,
    bodies: Vec<BodyRange>,
    metadata_kinds: Vec<MetadataKind>,
    bundle_tags: Vec<Box<[u8]>>,
    sync_scopes: Vec<Box<[u8]>>,
    hash: Option<[u32; 5]>,
    version: Option<u64>,
}

impl<'a> Reader<'a> {
    fn new(block: Block<'a>, strtab: &Arc<[u8]>) -> Self {
        Self {
            block,
            strtab: strtab.clone(),
            info: BlockInfo::default(),
            triple: Vec::new(),
            source_filename: Vec::new(),
            asm: Vec::new(),
            data_layout: DataLayout::default(),
            raw_groups: None,
            raw_lists: None,
            attribute_lists: None,
            types: None,
            sections: Vec::new(),
            gcs: Vec::new(),
            functions: Vec::new(),
            globals: Vec::new(),
            aliases: Vec::new(),
            comdats: Vec::new(),
            constants: Constants::default(),
            defined: Vec::new(),
            bodies: Vec::new(),
            metadata_kinds: Vec::new(),
            bundle_tags: Vec::new(),
            sync_scopes: Vec::new(),
            hash: None,
            version: None,
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.block.error(kind)
    }

    fn read(&mut self, producer: &str, record: &mut Record<'a>, budget: &mut Budget) -> Result<(), Error> {
        loop {
            match self.block.next(budget)? {
                Entry::End => return Ok(()),
                Entry::SubBlock(kind) => self.read_block(kind, record, budget)?,
                Entry::Record(abbrev) => {
                    self.block.read_record(abbrev, record, budget)?;
                    self.read_record(producer, record)?;
                }
            }
        }
    }

    fn read_block(&mut self, kind: BlockKind, record: &mut Record<'a>, budget: &mut Budget) -> Result<(), Error> {
        match kind {
            BlockKind::FUNCTION => {
                let body = self.block.skip_block()?;
                self.bodies.push(body);
                if self.bodies.len() > self.defined.len() {
                    return Err(self.body_count());
                }
                return Ok(());
            }
            BlockKind::BLOCKINFO
            | BlockKind::TYPE
            | BlockKind::PARAMATTR
            | BlockKind::PARAMATTR_GROUP
            | BlockKind::CONSTANTS
            | BlockKind::METADATA_KIND
            | BlockKind::OPERAND_BUNDLE_TAGS
            | BlockKind::SYNC_SCOPE_NAMES => {}
            // Metadata, value symbol table, use lists, summaries: skipped by their length word.
            _ => {
                self.block.skip_block()?;
                return Ok(());
            }
        }
        let mut inner = self.block.enter(kind, &self.info)?;
        match kind {
            BlockKind::BLOCKINFO => self.info.read(inner, budget)?,
            BlockKind::TYPE if self.types.is_none() => {
                self.types = Some(TypeTable::read(&mut inner, record, budget)?);
            }
            BlockKind::PARAMATTR_GROUP if self.raw_groups.is_none() => {
                self.raw_groups = Some(attributes::read_groups(&mut inner, record, budget)?);
            }
            BlockKind::PARAMATTR if self.raw_lists.is_none() => {
                self.raw_lists = Some(attributes::read_lists(&mut inner, record, budget)?);
            }
            BlockKind::CONSTANTS => match &self.types {
                Some(types) => self.constants.read(&mut inner, types, record, budget)?,
                None => return Err(self.error(ErrorKind::MisplacedBlock)),
            },
            BlockKind::METADATA_KIND => self.metadata_kinds = read_metadata_kinds(&mut inner, record, budget)?,
            BlockKind::OPERAND_BUNDLE_TAGS => self.bundle_tags = read_names(&mut inner, record, budget)?,
            BlockKind::SYNC_SCOPE_NAMES => self.sync_scopes = read_names(&mut inner, record, budget)?,
            _ => return Err(self.error(ErrorKind::MisplacedBlock)),
        }
        Ok(())
    }

    fn read_record(&mut self, producer: &str, record: &Record<'_>) -> Result<(), Error> {
        match record.code {
            VERSION => {
                let version = record.require(1, &self.block)?[0];
                if version != 2 {
                    // Names not in a string table, or relative value numbers not used: not LLVM 22's writer.
                    let producer = producer.to_owned();
                    return Err(self.error(ErrorKind::ForeignProducer { producer, newer: version > 2 }));
                }
                self.version = Some(version);
            }
            TRIPLE => self.triple = record.text(&self.block)?,
            DATALAYOUT => {
                let text = String::from_utf8_lossy(&record.text(&self.block)?).into_owned();
                self.data_layout = DataLayout::parse(&text).map_err(|kind| self.error(kind))?;
            }
            ASM => self.asm = record.text(&self.block)?,
            SECTIONNAME => self.sections.push(record.text(&self.block)?.into()),
            GCNAME => self.gcs.push(record.text(&self.block)?.into()),
            SOURCE_FILENAME => self.source_filename = record.text(&self.block)?,
            HASH => {
                let words: Option<Vec<u32>> = record.values().iter().map(|v| u32::try_from(*v).ok()).collect();
                self.hash = words.and_then(|words| words.try_into().ok());
            }
            COMDAT => self.read_comdat(record)?,
            GLOBALVAR => self.read_global(record)?,
            FUNCTION => self.read_function(record)?,
            ALIAS => self.read_alias(record, AliasKind::Alias)?,
            IFUNC => self.read_alias(record, AliasKind::Ifunc)?,
            ALIAS_OLD | DEPLIB => return Err(self.error(ErrorKind::UnknownRecord { code: record.code })),
            // VSTOFFSET points to a table of offsets of function blocks, which are found without it.
            _ => {}
        }
        Ok(())
    }

    /// The first thing that needs types and attributes calls this; both lie before all globals.
    fn types(&self) -> Result<&TypeTable, Error> {
        self.types.as_ref().ok_or_else(|| self.error(ErrorKind::MisplacedBlock))
    }

    fn attributes(&mut self, index: u64) -> Result<AttributeList, Error> {
        if index == 0 {
            return Ok(AttributeList::default());
        }
        if self.attribute_lists.is_none() {
            let groups = self.raw_groups.take().unwrap_or_default();
            let groups = attributes::resolve_groups(groups, self.types()?, &self.block)?;
            let lists = self.raw_lists.take().unwrap_or_default();
            self.attribute_lists = Some(attributes::resolve_lists(&lists, &groups, &self.block)?);
            // A second block of either kind would be lost.
            (self.raw_groups, self.raw_lists) = (Some(Vec::new()), Some(Vec::new()));
        }
        let lists = self.attribute_lists.as_deref().unwrap_or_default();
        let found = usize::try_from(index - 1).ok().and_then(|at| lists.get(at));
        found.cloned().ok_or_else(|| {
            let count = lists.len() as u64;
            self.error(ErrorKind::BadReference { what: "attribute list", index, count })
        })
    }

    fn name(&self, start: u64, len: u64) -> Result<Name, Error> {
        let count = self.strtab.len() as u64;
        match start.checked_add(len) {
            Some(end) if end <= count && end <= u64::from(u32::MAX) => {
                Ok(Name { start: start as u32, len: len as u32 })
            }
            _ => Err(self.error(ErrorKind::BadReference { what: "name at", index: start, count })),
        }
    }

    /// Element `index` - 1 of a table, nothing for 0.
    fn entry<T: Clone>(&self, table: &[T], what: &'static str, index: u64) -> Result<Option<T>, Error> {
        if index == 0 {
            return Ok(None);
        }
        let found = usize::try_from(index - 1).ok().and_then(|at| table.get(at)).cloned();
        let count = table.len() as u64;
        found.map(Some).ok_or_else(|| self.error(ErrorKind::BadReference { what, index, count }))
    }

    fn comdat_id(&self, index: u64) -> Result<Option<ComdatId>, Error> {
        let found = self.entry(&self.comdats, "comdat", index)?;
        Ok(found.map(|_| ComdatId((index - 1) as u32)))
    }

    /// A constant by its value number + 1; whether it exists is known at the end.
    fn constant(&self, value: u64) -> Result<Option<ConstantId>, Error> {
        match u32::try_from(value) {
            Ok(0) => Ok(None),
            Ok(number) => Ok(Some(ConstantId(number - 1))),
            Err(_) => Err(self.error(ErrorKind::BadValue { what: "value number", value })),
        }
    }

    /// An alignment by its exponent + 1.
    fn align(&self, value: u64) -> Result<Option<u64>, Error> {
        match value {
            0 => Ok(None),
            1..=33 => Ok(Some(1 << (value - 1))),
            _ => {
                debug_assert!(value > MAX_ALIGN_EXPONENT);
                Err(self.error(ErrorKind::BadValue { what: "exponent of an alignment", value }))
            }
        }
    }

    fn address_space(&self, value: u64) -> Result<u32, Error> {
        let space = u32::try_from(value).ok().filter(|space| *space < 1 << 24);
        space.ok_or_else(|| self.error(ErrorKind::BadValue { what: "address space", value }))
    }

    fn read_comdat(&mut self, record: &Record<'_>) -> Result<(), Error> {
        // [strtab offset, strtab size, selection kind]
        let fields = record.require(3, &self.block)?;
        let name = self.name(fields[0], fields[1])?;
        self.comdats.push(Comdat { name, selection: ComdatSelection::decode(fields[2], &self.block)? });
        Ok(())
    }

    fn read_global(&mut self, record: &Record<'_>) -> Result<(), Error> {
        // [strtab offset, strtab size, type, isconst | explicit type << 1 | address space << 2, initid, linkage,
        //  alignment, section, visibility, threadlocal, unnamed_addr, externally_initialized, dllstorageclass, comdat,
        //  attributes, preemption specifier, partition offset, partition size, sanitizer, code model]
        let fields = record.require(8, &self.block)?;
        let field = |at: usize| fields.get(at).copied().unwrap_or(0);
        if fields[3] & 2 == 0 {
            return Err(self.error(ErrorKind::TypeMismatch { what: "global with a typed pointer" }));
        }
        let address_space = self.address_space(fields[3] >> 2)?;
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space,
            linkage: fields[5],
            visibility: field(8),
            unnamed_addr: field(10),
            dll_storage: field(12),
            dso_local: field(15),
            partition: (field(16), field(17)),
        })?;
        let sanitizer = field(18);
        let global = Global {
            is_constant: fields[3] & 1 != 0,
            initializer: self.constant(fields[4])?,
            align: self.align(fields[6])?,
            section: self.entry(&self.sections, "section", fields[7])?.filter(|s| !s.is_empty()),
            thread_local: ThreadLocal::decode(field(9), &self.block)?,
            externally_initialized: field(11) != 0,
            comdat: self.comdat_id(field(13))?,
            attributes: self.attributes(field(14))?,
            sanitizer: (sanitizer != 0).then_some(Sanitizer {
                no_address: sanitizer & 1 != 0,
                no_hwaddress: sanitizer & 2 != 0,
                memtag: sanitizer & 4 != 0,
                dynamic_init: sanitizer & 8 != 0,
            }),
            code_model: match field(19) {
                0 => None,
                model => Some(CodeModel::decode(model, &self.block)?),
            },
            symbol,
        };
        let id = GlobalId(self.globals.len() as u32);
        self.constants.push_global(GlobalRef::Global(id), global.symbol.pointer_type);
        self.globals.push(global);
        Ok(())
    }

    fn read_function(&mut self, record: &Record<'_>) -> Result<(), Error> {
        // [strtab offset, strtab size, type, callingconv, isproto, linkage, paramattr, alignment, section, visibility,
        //  gc, unnamed_addr, prologuedata, dllstorageclass, comdat, prefixdata, personalityfn, preemption specifier,
        //  address space, partition offset, partition size]
        let fields = record.require(10, &self.block)?;
        let field = |at: usize| fields.get(at).copied().unwrap_or(0);
        let program_space = u64::from(self.data_layout.program_address_space());
        let address_space = self.address_space(fields.get(18).copied().unwrap_or(program_space))?;
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space,
            linkage: fields[5],
            visibility: fields[9],
            unnamed_addr: field(11),
            dll_storage: field(13),
            dso_local: field(17),
            partition: (field(19), field(20)),
        })?;
        if !matches!(self.types()?.all()[symbol.value_type.0 as usize], Type::Function { .. }) {
            return Err(self.error(ErrorKind::TypeMismatch { what: "function of another type" }));
        }
        if fields[3] > MAX_CALLING_CONVENTION {
            return Err(self.error(ErrorKind::BadValue { what: "calling convention", value: fields[3] }));
        }
        let function = Function {
            calling_convention: fields[3] as u32,
            attributes: self.attributes(fields[6])?,
            align: self.align(fields[7])?,
            section: self.entry(&self.sections, "section", fields[8])?.filter(|s| !s.is_empty()),
            gc: self.entry(&self.gcs, "garbage collector", field(10))?,
            comdat: self.comdat_id(field(14))?,
            prefix: self.constant(field(15))?,
            prologue: self.constant(field(12))?,
            personality: self.constant(field(16))?,
            body: None,
            symbol,
        };
        let id = FunctionId(self.functions.len() as u32);
        if fields[4] == 0 {
            self.defined.push(id);
        }
        self.constants.push_global(GlobalRef::Function(id), function.symbol.pointer_type);
        self.functions.push(function);
        Ok(())
    }

    fn read_alias(&mut self, record: &Record<'_>, kind: AliasKind) -> Result<(), Error> {
        // ALIAS: [strtab offset, strtab size, type, address space, aliasee, linkage, visibility, dllstorageclass,
        //         threadlocal, unnamed_addr, preemption specifier, partition offset, partition size]
        // IFUNC: [strtab offset, strtab size, type, address space, resolver, linkage, visibility, preemption
        //         specifier, partition offset, partition size]
        let fields = record.require(6, &self.block)?;
        let field = |at: usize| fields.get(at).copied().unwrap_or(0);
        let alias = kind == AliasKind::Alias;
        let only_alias = |at: usize| if alias { field(at) } else { 0 };
        let rest = if alias { 10 } else { 7 };
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space: self.address_space(fields[3])?,
            linkage: fields[5],
            visibility: field(6),
            unnamed_addr: only_alias(9),
            dll_storage: only_alias(7),
            dso_local: field(rest),
            partition: (field(rest + 1), field(rest + 2)),
        })?;
        let Ok(target) = u32::try_from(fields[4]) else {
            return Err(self.error(ErrorKind::BadValue { what: "value number", value: fields[4] }));
        };
        let thread_local = ThreadLocal::decode(only_alias(8), &self.block)?;
        let id = AliasId(self.aliases.len() as u32);
        self.constants.push_global(GlobalRef::Alias(id), symbol.pointer_type);
        self.aliases.push(Alias { symbol, kind, target: ConstantId(target), thread_local });
        Ok(())
    }

    fn symbol(&mut self, fields: SymbolFields) -> Result<Symbol, Error> {
        let linkage = Linkage::decode(fields.linkage, &self.block)?;
        let local = matches!(linkage, Linkage::Internal | Linkage::Private);
        // What is local has default visibility and no DLL storage class (parseGlobalVarRecord).
        let visibility = Visibility::decode(fields.visibility, &self.block)?;
        let visibility = if local { Visibility::Default } else { visibility };
        let dll_storage = DllStorage::decode(fields.dll_storage, &self.block)?;
        let value_type = self.types()?.get(fields.value_type, &self.block)?;
        let Some(types) = &mut self.types else { return Err(self.block.error(ErrorKind::MisplacedBlock)) };
        Ok(Symbol {
            name: fields.name,
            value_type,
            pointer_type: types.pointer(fields.address_space),
            address_space: fields.address_space,
            linkage,
            visibility,
            unnamed_addr: UnnamedAddr::decode(fields.unnamed_addr, &self.block)?,
            dll_storage: if local { DllStorage::Default } else { dll_storage },
            // inferDSOLocal
            dso_local: fields.dso_local != 0
                || local
                || (visibility != Visibility::Default && linkage != Linkage::ExternWeak),
            partition: self.name(fields.partition.0, fields.partition.1)?,
        })
    }

    fn body_count(&self) -> Error {
        self.error(ErrorKind::BodyCount { bodies: self.bodies.len(), definitions: self.defined.len() })
    }

    fn finish(mut self, producer: String) -> Result<Module, Error> {
        if self.version.is_none() {
            return Err(self.error(ErrorKind::ForeignProducer { producer, newer: false }));
        }
        if self.bodies.len() != self.defined.len() {
            return Err(self.body_count());
        }
        for (id, body) in self.defined.iter().zip(&self.bodies) {
            self.functions[id.0 as usize].body = Some(*body);
        }
        // Attributes of calls are wanted even where no global names a list.
        if self.raw_lists.as_ref().is_some_and(|lists| !lists.is_empty()) {
            self.attributes(1)?;
        }
        let types = self.types.take().unwrap_or_default();
        self.constants.check(&types, &self.block)?;
        self.check_references()?;
        let block_addresses = self.block_addresses();
        Ok(Module {
            identity: next_identity(),
            producer,
            triple: self.triple.into(),
            source_filename: self.source_filename.into(),
            asm: self.asm.into(),
            layouts: Layouts::compute(types.all(), &self.data_layout),
            data_layout: self.data_layout,
            classes: Classes::compute(types.all()),
            types,
            attribute_lists: self.attribute_lists.unwrap_or_default(),
            functions: self.functions,
            globals: self.globals,
            aliases: self.aliases,
            comdats: self.comdats,
            constants: self.constants,
            block_addresses,
            metadata_kinds: self.metadata_kinds,
            bundle_tags: self.bundle_tags,
            sync_scopes: self.sync_scopes,
            hash: self.hash,
            strtab: self.strtab,
            block_info: self.info,
        })
    }

    /// Initialisers exist and have the type of their global, everything else that names a constant names one that is.
    fn check_references(&self) -> Result<(), Error> {
        let count = self.constants.len() as u64;
        let exists = |id: ConstantId| {
            if u64::from(id.0) < count {
                return Ok(());
            }
            let index = u64::from(id.0);
            Err(self.error(ErrorKind::BadReference { what: "constant", index, count }))
        };
        for global in &self.globals {
            let Some(id) = global.initializer else { continue };
            exists(id)?;
            if self.constants.ty(id) != global.symbol.value_type {
                return Err(self.error(ErrorKind::TypeMismatch { what: "initialiser of a global" }));
            }
        }
        self.aliases.iter().try_for_each(|alias| exists(alias.target))?;
        let operands = |f: &Function| [f.prefix, f.prologue, f.personality];
        self.functions.iter().flat_map(operands).flatten().try_for_each(exists)
    }

    fn block_addresses(&self) -> BTreeMap<GlobalId, Labels> {
        if !self.constants.has_block_address() {
            return BTreeMap::new();
        }
        let labels = |global: &Global| global.initializer.map(|id| self.constants.labels(id)).unwrap_or_default();
        let all = (0..).map(GlobalId).zip(self.globals.iter().map(labels));
        all.filter(|(_, labels)| *labels != Labels::None).collect()
    }
}

/// What the records of functions, globals and aliases have in common.
struct SymbolFields {
    name: Name,
    value_type: u64,
    address_space: u32,
    linkage: u64,
    visibility: u64,
    unnamed_addr: u64,
    dll_storage: u64,
    dso_local: u64,
    partition: (u64, u64),
}

/// Reads a METADATA_KIND_BLOCK: `[id, name…]` records.
fn read_metadata_kinds<'a>(
    block: &mut Block<'a>,
    record: &mut Record<'a>,
    budget: &mut Budget,
) -> Result<Vec<MetadataKind>, Error> {
    const KIND: u32 = 6;
    let mut kinds = Vec::new();
    read_records(block, record, budget, |record, block| {
        if record.code == KIND {
            let fields = record.require(2, block)?;
            let id = u32::try_from(fields[0])
                .map_err(|_| block.error(ErrorKind::BadValue { what: "kind of metadata", value: fields[0] }))?;
            kinds.push(MetadataKind { id, name: bytes_of(&fields[1..], block)?.into() });
        }
        Ok(())
    })?;
    Ok(kinds)
}

/// Reads a block of names numbered by their order.
fn read_names<'a>(
    block: &mut Block<'a>,
    record: &mut Record<'a>,
    budget: &mut Budget,
) -> Result<Vec<Box<[u8]>>, Error> {
    const NAME: u32 = 1;
    let mut names = Vec::new();
    read_records(block, record, budget, |record, block| {
        if record.code != NAME {
            return Err(block.error(ErrorKind::UnknownRecord { code: record.code }));
        }
        names.push(record.text(block)?.into());
        Ok(())
    })?;
    Ok(names)
}

fn read_records<'a>(
    block: &mut Block<'a>,
    record: &mut Record<'a>,
    budget: &mut Budget,
    mut each: impl FnMut(&Record<'a>, &Block<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        match block.next(budget)? {
            Entry::End => return Ok(()),
            Entry::SubBlock(_) => _ = block.skip_block()?,
            Entry::Record(abbrev) => {
                block.read_record(abbrev, record, budget)?;
                each(record, block)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TypeId;

    #[test]
    fn types_are_shared() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Module>();
        assert_eq!(TypeTable::default().pointer(0), TypeId(0));
    }
}
