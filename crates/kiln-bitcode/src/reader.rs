//! The module block: from records to a [`Module`].

use std::collections::BTreeMap;

use kiln_abi::{FunctionId, GlobalId};

use crate::attributes::{AttributeListId, AttributeTable};
use crate::bitstream::{Block, BlockInfo, BlockPlace, Budget, Entry, Record, UNABBREV_RECORD, bytes_of};
use crate::classes::Classes;
use crate::codes::BlockKind;
use crate::constant::{ConstantId, GlobalRef};
use crate::constants::{Constants, Labels};
use crate::cursor::SYMBOL_FIELDS;
use crate::error::{Error, ErrorKind};
use crate::file::{Frame, Strtab};
use crate::global::{
    Alias, AliasId, AliasKind, Alignment, CodeModel, Comdat, ComdatId, ComdatSelection, DllStorage, Function, Global,
    Linkage, Name, Sanitizer, Symbol, TextId, ThreadLocal, UnnamedAddr, Visibility,
};
use crate::layout::{DataLayout, Layouts};
use crate::module::{MetadataKind, Module, next_identity};
use crate::symbol_forms::{Like, OwnFields, SymbolForms};
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
const VSTOFFSET: u32 = 13;
const ALIAS: u32 = 14;
const SOURCE_FILENAME: u32 = 16;
const HASH: u32 = 17;
const IFUNC: u32 = 18;

/// What a module takes beside its tables.
const MODULE_COST: u64 = 4096;
/// `CallingConv::MaxID`
const MAX_CALLING_CONVENTION: u64 = 1023;

/// Reads a module block.
pub(crate) fn read_module<'a>(
    block: Block<'a>,
    producer: String,
    frame: Frame<'_>,
    record: &mut Record<'a>,
    budget: &mut Budget,
) -> Result<Module, Error> {
    block.charge(MODULE_COST, budget)?;
    let mut reader = Reader::new(block, frame);
    reader.read(producer.as_str(), record, budget)?;
    reader.finish(producer)
}

struct Reader<'a> {
    block: Block<'a>,
    strtab: Strtab,
    /// The word that offsets in the module are counted from.
    origin: u64,
    /// How many symbols there probably are.
    symbols: usize,
    /// Where the table of the places of function blocks lies.
    index: Option<u64>,
    info: BlockInfo,
    triple: Vec<u8>,
    source_filename: Vec<u8>,
    asm: Vec<u8>,
    data_layout: DataLayout,
    attributes: AttributeTable,
    /// Which blocks of attributes have been read, and whether their lists have found their groups.
    has_groups: bool,
    has_lists: bool,
    has_attributes: bool,
    types: Option<TypeTable>,
    texts: Vec<Box<[u8]>>,
    /// Of those, the sections and garbage collectors; sections without a name are none.
    sections: Vec<Option<TextId>>,
    gcs: Vec<Option<TextId>>,
    functions: Vec<Function>,
    globals: Vec<Global>,
    aliases: Vec<Alias>,
    comdats: Vec<Comdat>,
    forms: SymbolForms,
    constants: Constants,
    /// The last one of the constants that functions name.
    last_operand: Option<ConstantId>,
    /// Function records that announced a body, in order.
    defined: Vec<FunctionId>,
    bodies: Vec<BlockPlace>,
    /// Where debug info is found when somebody asks.
    metadata: Option<BlockPlace>,
    metadata_kinds: Vec<MetadataKind>,
    bundle_tags: Vec<Box<[u8]>>,
    sync_scopes: Vec<Box<[u8]>>,
    hash: Option<[u32; 5]>,
    version: Option<u64>,
}

impl<'a> Reader<'a> {
    fn new(block: Block<'a>, frame: Frame<'_>) -> Self {
        Self {
            block,
            strtab: frame.strtab.clone(),
            origin: frame.origin,
            symbols: frame.symbols,
            index: None,
            info: BlockInfo::default(),
            triple: Vec::new(),
            source_filename: Vec::new(),
            asm: Vec::new(),
            data_layout: DataLayout::default(),
            attributes: AttributeTable::default(),
            has_groups: false,
            has_lists: false,
            has_attributes: false,
            types: None,
            texts: Vec::new(),
            sections: Vec::new(),
            gcs: Vec::new(),
            functions: Vec::new(),
            globals: Vec::new(),
            aliases: Vec::new(),
            comdats: Vec::new(),
            forms: SymbolForms::default(),
            constants: Constants::default(),
            last_operand: None,
            defined: Vec::new(),
            bodies: Vec::new(),
            metadata: None,
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
        let mut fields = [0; SYMBOL_FIELDS];
        loop {
            match self.block.next(budget)? {
                Entry::End => return Ok(()),
                Entry::SubBlock(kind) => self.read_block(kind, record, budget)?,
                Entry::Record(abbrev) => {
                    if abbrev == UNABBREV_RECORD
                        && let Some((code, len)) = self.block.symbol_record(&mut fields, budget)?
                    {
                        match code {
                            GLOBALVAR => {
                                self.read_global(&fields)?;
                                let read = self.globals.last();
                                read.into_iter().for_each(|global| self.forms.add_global(&fields, global));
                            }
                            _ => {
                                self.read_function(&fields, len)?;
                                let read = self.functions.last();
                                read.into_iter().for_each(|function| self.forms.add_function(&fields, function));
                            }
                        }
                        self.read_known_symbols(budget)?;
                        continue;
                    }
                    self.block.read_record(abbrev, record, budget)?;
                    self.read_record(producer, record)?;
                }
            }
        }
    }

    fn read_block(&mut self, kind: BlockKind, record: &mut Record<'a>, budget: &mut Budget) -> Result<(), Error> {
        match kind {
            BlockKind::FUNCTION => {
                if self.bodies.is_empty() && self.read_index(budget) {
                    return Ok(());
                }
                let body = self.block.skip_located(kind)?;
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
            BlockKind::METADATA if self.metadata.is_none() => {
                self.metadata = Some(self.block.skip_located(kind)?);
                return Ok(());
            }
            // Value symbol table, use lists, summaries: skipped by their length word.
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
            BlockKind::PARAMATTR_GROUP if !self.has_groups => {
                self.has_groups = true;
                self.attributes.read_groups(&mut inner, record, budget)?;
            }
            BlockKind::PARAMATTR if !self.has_lists => {
                self.has_lists = true;
                self.attributes.read_lists(&mut inner, record, budget)?;
            }
            BlockKind::CONSTANTS => match &self.types {
                Some(types) => {
                    let shapes = inner.shapes();
                    self.constants.read(&mut inner, &shapes, types, record, budget)?;
                }
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
            SECTIONNAME => {
                let name = record.text(&self.block)?;
                let name = (!name.is_empty()).then(|| self.push_text(name));
                self.sections.push(name);
            }
            GCNAME => {
                let name = record.text(&self.block)?;
                let name = self.push_text(name);
                self.gcs.push(Some(name));
            }
            SOURCE_FILENAME => self.source_filename = record.text(&self.block)?,
            HASH => {
                let words: Option<Vec<u32>> = record.values().iter().map(|v| u32::try_from(*v).ok()).collect();
                self.hash = words.and_then(|words| words.try_into().ok());
            }
            COMDAT => self.read_comdat(record)?,
            GLOBALVAR => {
                record.require(8, &self.block)?;
                self.read_global(&first_fields(record.values()))?;
            }
            FUNCTION => {
                record.require(10, &self.block)?;
                self.read_function(&first_fields(record.values()), record.values().len())?;
            }
            // LLVM's own offset is never 0.
            VSTOFFSET => self.index = record.values().first().map(|offset| self.origin.saturating_add(*offset)),
            ALIAS => self.read_alias(record, AliasKind::Alias)?,
            IFUNC => self.read_alias(record, AliasKind::Ifunc)?,
            ALIAS_OLD | DEPLIB => return Err(self.error(ErrorKind::UnknownRecord { code: record.code })),
            _ => {}
        }
        Ok(())
    }

    /// The first thing that needs types and attributes calls this; both lie before all globals.
    fn types(&self) -> Result<&TypeTable, Error> {
        self.types.as_ref().ok_or_else(|| self.error(ErrorKind::MisplacedBlock))
    }

    fn push_text(&mut self, text: Vec<u8>) -> TextId {
        self.texts.push(text.into());
        TextId(self.texts.len() as u32 - 1)
    }

    #[inline]
    fn attributes(&mut self, index: u64) -> Result<AttributeListId, Error> {
        if index == 0 {
            return Ok(AttributeListId::default());
        }
        if !self.has_attributes {
            self.resolve_attributes()?;
        }
        let count = self.attributes.len() as u64;
        if index <= count {
            return Ok(AttributeListId(index as u32));
        }
        Err(self.error(ErrorKind::BadReference { what: "attribute list", index, count }))
    }

    fn resolve_attributes(&mut self) -> Result<(), Error> {
        // Another block of either kind would be lost.
        (self.has_groups, self.has_lists, self.has_attributes) = (true, true, true);
        match &self.types {
            Some(types) => self.attributes.resolve(types, &self.block),
            None => Err(self.error(ErrorKind::MisplacedBlock)),
        }
    }

    fn name(&self, start: u64, len: u64) -> Result<Name, Error> {
        let count = self.strtab.bytes().len() as u64;
        match start.checked_add(len) {
            Some(end) if end <= count && end <= u64::from(u32::MAX) => {
                Ok(Name { start: start as u32, len: len as u32 })
            }
            _ => Err(self.error(ErrorKind::BadReference { what: "name at", index: start, count })),
        }
    }

    /// Whether a table of `count` has an element `index` - 1.
    fn exists(&self, what: &'static str, index: u64, count: usize) -> Result<(), Error> {
        if index <= count as u64 {
            return Ok(());
        }
        Err(self.error(ErrorKind::BadReference { what, index, count: count as u64 }))
    }

    /// Element `index` - 1 of a table of texts, nothing for 0.
    #[inline]
    fn text(&self, table: &[Option<TextId>], what: &'static str, index: u64) -> Result<Option<TextId>, Error> {
        if index == 0 {
            return Ok(None);
        }
        self.exists(what, index, table.len())?;
        Ok(table[index as usize - 1])
    }

    #[inline]
    fn comdat_id(&self, index: u64) -> Result<Option<ComdatId>, Error> {
        if index == 0 {
            return Ok(None);
        }
        self.exists("comdat", index, self.comdats.len())?;
        Ok(Some(ComdatId(index as u32 - 1)))
    }

    /// A constant by its value number + 1; whether it exists is known at the end.
    fn constant(&self, value: u64) -> Result<Option<ConstantId>, Error> {
        match u32::try_from(value) {
            Ok(0) => Ok(None),
            Ok(number) => Ok(Some(ConstantId(number - 1))),
            Err(_) => Err(self.error(ErrorKind::BadValue { what: "value number", value })),
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

    /// Reads a record whose fields are `fields`, with zeros for those it lacks.
    fn read_global(&mut self, fields: &[u64; SYMBOL_FIELDS]) -> Result<(), Error> {
        // [strtab offset, strtab size, type, isconst | explicit type << 1 | address space << 2, initid, linkage,
        //  alignment, section, visibility, threadlocal, unnamed_addr, externally_initialized, dllstorageclass, comdat,
        //  attributes, preemption specifier, partition offset, partition size, sanitizer, code model]
        if fields[3] & 2 == 0 {
            return Err(self.error(ErrorKind::TypeMismatch { what: "global with a typed pointer" }));
        }
        let address_space = self.address_space(fields[3] >> 2)?;
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space,
            linkage: fields[5],
            visibility: fields[8],
            unnamed_addr: fields[10],
            dll_storage: fields[12],
            dso_local: fields[15],
            partition: (fields[16], fields[17]),
        })?;
        let sanitizer = fields[18];
        let mut global = Global {
            is_constant: fields[3] & 1 != 0,
            initializer: self.constant(fields[4])?,
            alignment: Alignment::decode(fields[6], &self.block)?,
            section: self.text(&self.sections, "section", fields[7])?,
            thread_local: ThreadLocal::None,
            externally_initialized: fields[11] != 0,
            comdat: self.comdat_id(fields[13])?,
            attributes: AttributeListId::default(),
            sanitizer: None,
            code_model: None,
            symbol,
        };
        // Most globals have none of these.
        if fields[9] | fields[14] | sanitizer | fields[19] != 0 {
            global.thread_local = ThreadLocal::decode(fields[9], &self.block)?;
            global.attributes = self.attributes(fields[14])?;
            global.sanitizer = (sanitizer != 0).then_some(Sanitizer {
                no_address: sanitizer & 1 != 0,
                no_hwaddress: sanitizer & 2 != 0,
                memtag: sanitizer & 4 != 0,
                dynamic_init: sanitizer & 8 != 0,
            });
            global.code_model = match fields[19] {
                0 => None,
                model => Some(CodeModel::decode(model, &self.block)?),
            };
        }
        self.add_global(global);
        Ok(())
    }

    #[inline(always)]
    fn add_global(&mut self, global: Global) {
        if self.globals.is_empty() {
            // Globals come first.
            self.globals.reserve(self.symbols);
            self.constants.reserve_globals(self.symbols);
        }
        let id = GlobalId(self.globals.len() as u32);
        self.constants.push_global(GlobalRef::Global(id), global.symbol.pointer_type);
        self.globals.push(global);
    }

    /// Reads the records of symbols that come next, as long as there have been others of the same form.
    fn read_known_symbols(&mut self, budget: &mut Budget) -> Result<(), Error> {
        let width = self.block.id_bits();
        let mut from = self.block.ahead();
        // Taken out while globals are added.
        let mut forms = std::mem::take(&mut self.forms);
        let before = self.globals.len() + self.functions.len();
        while let Some((like, own, place)) = forms.next(from, width) {
            // What is not right is left to be refused, as are lists of attributes that nobody has looked at yet.
            if own.attributes != 0 && !self.has_attributes || self.add_like(like, &own).is_err() {
                break;
            }
            from.place = place;
        }
        self.forms = forms;
        self.block.go_to(from.place)?;
        let count = (self.globals.len() + self.functions.len() - before) as u64;
        self.block.charge_records(count, count * SYMBOL_FIELDS as u64, budget)
    }

    /// Adds a symbol that differs from `like` in its own fields.
    #[inline(always)]
    fn add_like(&mut self, like: &Like, own: &OwnFields) -> Result<(), Error> {
        let name = self.name(own.name[0], own.name[1])?;
        let value_type = self.types()?.get(own.value_type, &self.block)?;
        let operand = self.constant(own.operand)?;
        let comdat = self.comdat_id(own.comdat)?;
        match like {
            Like::Global(like) => {
                let symbol = Symbol { name, value_type, ..like.symbol };
                self.add_global(Global { symbol, initializer: operand, comdat, ..*like });
            }
            Like::Function { function: like, has_body } => {
                let symbol = Symbol { name, value_type, ..like.symbol };
                self.check_function_type(&symbol)?;
                let attributes = self.attributes(own.attributes)?;
                self.last_operand = self.last_operand.max(operand);
                let personality = operand;
                self.add_function(Function { symbol, attributes, comdat, personality, ..*like }, *has_body);
            }
        }
        Ok(())
    }

    /// Reads a record of `len` fields.
    fn read_function(&mut self, fields: &[u64; SYMBOL_FIELDS], len: usize) -> Result<(), Error> {
        // [strtab offset, strtab size, type, callingconv, isproto, linkage, paramattr, alignment, section, visibility,
        //  gc, unnamed_addr, prologuedata, dllstorageclass, comdat, prefixdata, personalityfn, preemption specifier,
        //  address space, partition offset, partition size]
        let address_space = match len {
            19.. => self.address_space(fields[18])?,
            _ => self.data_layout.program_address_space(),
        };
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space,
            linkage: fields[5],
            visibility: fields[9],
            unnamed_addr: fields[11],
            dll_storage: fields[13],
            dso_local: fields[17],
            partition: (fields[19], fields[20]),
        })?;
        self.check_function_type(&symbol)?;
        if fields[3] > MAX_CALLING_CONVENTION {
            return Err(self.error(ErrorKind::BadValue { what: "calling convention", value: fields[3] }));
        }
        let mut function = Function {
            calling_convention: fields[3] as u32,
            attributes: self.attributes(fields[6])?,
            alignment: Alignment::decode(fields[7], &self.block)?,
            section: None,
            gc: None,
            comdat: self.comdat_id(fields[14])?,
            prefix: None,
            prologue: None,
            personality: None,
            body: None,
            symbol,
        };
        // Most functions have none of these.
        if fields[8] | fields[10] | fields[12] | fields[15] | fields[16] != 0 {
            function.section = self.text(&self.sections, "section", fields[8])?;
            function.gc = self.text(&self.gcs, "garbage collector", fields[10])?;
            function.prologue = self.constant(fields[12])?;
            function.prefix = self.constant(fields[15])?;
            function.personality = self.constant(fields[16])?;
            let operands = [function.prefix, function.prologue, function.personality];
            self.last_operand = operands.into_iter().fold(self.last_operand, Ord::max);
        }
        self.add_function(function, fields[4] == 0);
        Ok(())
    }

    fn check_function_type(&self, symbol: &Symbol) -> Result<(), Error> {
        if matches!(self.types()?.all()[symbol.value_type.0 as usize], Type::Function { .. }) {
            return Ok(());
        }
        Err(self.error(ErrorKind::TypeMismatch { what: "function of another type" }))
    }

    #[inline(always)]
    fn add_function(&mut self, function: Function, has_body: bool) {
        if self.functions.is_empty() {
            // Functions come behind the globals.
            let rest = self.symbols.saturating_sub(self.globals.len());
            self.functions.reserve(rest);
            self.constants.reserve_globals(rest);
        }
        let id = FunctionId(self.functions.len() as u32);
        if has_body {
            self.defined.push(id);
        }
        self.constants.push_global(GlobalRef::Function(id), function.symbol.pointer_type);
        self.functions.push(function);
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

    #[inline(always)]
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
            partition: match fields.partition {
                // The place of an empty name is of no interest.
                (_, 0) => Name::default(),
                (start, len) => self.name(start, len)?,
            },
        })
    }

    /// Reads the table of the places of function blocks (MODULE_CODE_VSTOFFSET), and goes on behind the last of them:
    /// that spares looking at the header of each. Where the table is not as LLVM writes it, nothing happens. Otherwise
    /// the blocks are trusted to lie where it says, like LLVM does; that they do is checked when one is read.
    fn read_index(&mut self, budget: &mut Budget) -> bool {
        let before = *self.block.cursor();
        let found = self.index.is_some_and(|at| self.try_index(at, budget).is_some());
        if !found {
            self.bodies.clear();
            self.block.restore(before);
        }
        found
    }

    fn try_index(&mut self, at: u64, budget: &mut Budget) -> Option<()> {
        const FNENTRY: u32 = 3;
        // The first function block has been announced: what comes next is the rest of its header.
        let before = *self.block.cursor();
        let first = before.word();
        self.block.seek(at).ok()?;
        let Ok(Entry::SubBlock(BlockKind::VALUE_SYMTAB)) = self.block.next(budget) else { return None };
        let mut table = self.block.enter(BlockKind::VALUE_SYMTAB, &self.info).ok()?;
        let mut record = Record::default();
        let mut last = first;
        let mut pairs = None;
        self.bodies.reserve(self.defined.len());
        loop {
            // [value, offset], by function
            let [value, offset] = match pairs.and_then(|id| table.next_pair(id)) {
                Some(pair) => pair,
                None => match table.next(budget).ok()? {
                    Entry::End => break,
                    Entry::SubBlock(_) => return None,
                    Entry::Record(abbrev) => {
                        table.read_record(abbrev, &mut record, budget).ok()?;
                        pairs = table.is_pair(abbrev, FNENTRY).then_some(abbrev);
                        <[u64; 2]>::try_from(record.values()).ok().filter(|_| record.code == FNENTRY)?
                    }
                },
            };
            let next = *self.defined.get(self.bodies.len())?;
            let word = self.origin.checked_add(offset)?;
            let ordered = if self.bodies.is_empty() { word == first } else { word > last };
            let value = ConstantId(u32::try_from(value).ok()?);
            if self.constants.global(value) != Some(GlobalRef::Function(next)) || !ordered {
                return None;
            }
            self.bodies.push(BlockPlace::at(word)?);
            last = word;
        }
        if self.bodies.len() != self.defined.len() {
            return None;
        }
        self.block.restore(before);
        if last > first {
            self.block.seek(last).ok()?;
            let Ok(Entry::SubBlock(BlockKind::FUNCTION)) = self.block.next(budget) else { return None };
        }
        self.block.skip_block().ok()
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
        if !self.has_attributes && self.attributes.len() > 0 {
            self.resolve_attributes()?;
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
            attributes: self.attributes,
            functions: self.functions,
            globals: self.globals,
            aliases: self.aliases,
            comdats: self.comdats,
            constants: self.constants,
            block_addresses,
            metadata: self.metadata,
            metadata_kinds: self.metadata_kinds,
            bundle_tags: self.bundle_tags,
            sync_scopes: self.sync_scopes,
            hash: self.hash,
            strtab: self.strtab,
            texts: self.texts,
            origin: self.block.origin(),
            body_forms: self.info.forms(BlockKind::FUNCTION),
            constant_forms: self.info.forms(BlockKind::CONSTANTS),
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
        self.last_operand.map_or(Ok(()), exists)
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

/// The fields of a symbol's record, with zeros for those it lacks.
fn first_fields(values: &[u64]) -> [u64; SYMBOL_FIELDS] {
    let mut fields = [0; SYMBOL_FIELDS];
    fields.iter_mut().zip(values).for_each(|(field, value)| *field = *value);
    fields
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
            Entry::SubBlock(_) => block.skip_block()?,
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
