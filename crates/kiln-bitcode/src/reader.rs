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
use crate::global::{Alias, AliasKind, Comdat, ComdatId, Function, Global, Name, TextId};
use crate::layout::{DataLayout, Layouts};
use crate::module::{MetadataKind, Module, next_identity};
use crate::symbol_forms::SymbolForms;
use crate::types::TypeTable;

mod symbols;

use symbols::first_fields;

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
