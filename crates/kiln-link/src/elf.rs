//! Reads ELF64 relocatable objects for x86-64 (System V gABI, chapter 4; AMD64 psABI).
//!
//! Fields are read from raw bytes, unaligned: an archive's members start at any even offset. Everything that a later
//! phase uses as an index or range without looking again is checked here; symbol and relocation records are looked at
//! again and checked then.

use std::sync::atomic::AtomicU32;

use crate::error::ErrorKind;
use crate::error::text;
use crate::graph::{Binding, SymbolKind, Visibility};
use crate::input::{FileKind, identify};
use crate::names;
use crate::unit::{
    Body, Class, GlobalName, Group, Home, NO_SYMBOL, Relocation, Role, Section, SymbolView, Unit, UnitName,
};
use crate::x86_64::RelocationKind;

pub(crate) const RELA_BYTES: usize = 24;
const SYMBOL_BYTES: usize = 24;
const HEADER_BYTES: usize = 64;
const SECTION_BYTES: usize = 64;

const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
pub(crate) const SHT_RELA: u32 = 4;
const SHT_NOBITS: u32 = 8;
const SHT_NOTE: u32 = 7;
const SHT_REL: u32 = 9;
const SHT_INIT_ARRAY: u32 = 14;
const SHT_FINI_ARRAY: u32 = 15;
const SHT_PREINIT_ARRAY: u32 = 16;
const SHT_GROUP: u32 = 17;
const SHT_SYMTAB_SHNDX: u32 = 18;
const SHT_RELR: u32 = 19;
const SHT_CREL: u32 = 0x4000_0014;
const SHT_ANDROID_REL: u32 = 0x6000_0001;
const SHT_ANDROID_RELA: u32 = 0x6000_0002;
const SHT_ANDROID_RELR: u32 = 0x6fff_ff00;
const SHT_X86_64_UNWIND: u32 = 0x7000_0001;

const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;
const SHF_INFO_LINK: u64 = 0x40;
const SHF_TLS: u64 = 0x400;
pub(crate) const SHF_COMPRESSED: u64 = 0x800;
const SHF_GNU_RETAIN: u64 = 0x20_0000;
const SHF_EXCLUDE: u64 = 0x8000_0000;

const SHN_UNDEF: u16 = 0;
const SHN_LORESERVE: u16 = 0xff00;
const SHN_ABS: u16 = 0xfff1;
const SHN_COMMON: u16 = 0xfff2;
const SHN_XINDEX: u16 = 0xffff;

const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;
const STT_SECTION: u8 = 3;
const STT_COMMON: u8 = 5;
const STT_TLS: u8 = 6;
const STT_GNU_IFUNC: u8 = 10;

const GRP_COMDAT: u32 = 1;

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// `Elf64_Shdr`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) align: u64,
    pub(crate) entry_size: u64,
}

impl Header {
    #[inline]
    fn read(b: &[u8; SECTION_BYTES]) -> Header {
        Header {
            name: u32_at(b, 0),
            kind: u32_at(b, 4),
            flags: u64_at(b, 8),
            offset: u64_at(b, 24),
            size: u64_at(b, 32),
            link: u32_at(b, 40),
            info: u32_at(b, 44),
            align: u64_at(b, 48),
            entry_size: u64_at(b, 56),
        }
    }
}

/// The tables of an object.
pub(crate) struct Object<'a> {
    pub(crate) bytes: &'a [u8],
    headers: &'a [u8],
    section_names: &'a [u8],
    symbols: &'a [u8],
    symbol_names: &'a [u8],
    /// Section indices of symbols that say `SHN_XINDEX`.
    long_indices: &'a [u8],
}

/// `Elf64_Rela`.
#[inline]
pub(crate) fn relocation(record: &[u8; RELA_BYTES]) -> Relocation {
    Relocation {
        offset: u64_at(record, 0),
        kind: RelocationKind(u32_at(record, 8)),
        symbol: u32_at(record, 12),
        addend: u64_at(record, 16) as i64,
    }
}

impl<'a> Object<'a> {
    pub(crate) fn section_count(&self) -> u32 {
        (self.headers.len() / SECTION_BYTES) as u32
    }

    pub(crate) fn header(&self, section: u32) -> Option<Header> {
        let at = (section as usize).checked_mul(SECTION_BYTES)?;
        let record = self.headers.get(at..at + SECTION_BYTES)?;
        Some(Header::read(record.try_into().expect("of that length")))
    }

    /// The bytes in the file that a header describes.
    pub(crate) fn contents(&self, header: &Header) -> Option<&'a [u8]> {
        let start = usize::try_from(header.offset).ok()?;
        let size = usize::try_from(header.size).ok()?;
        self.bytes.get(start..start.checked_add(size)?)
    }

    pub(crate) fn section_name(&self, section: u32) -> Option<&'a [u8]> {
        names::name_at(self.section_names, self.header(section)?.name)
    }

    #[inline]
    fn symbol_record(&self, index: u32) -> Option<&'a [u8; SYMBOL_BYTES]> {
        let at = index as usize * SYMBOL_BYTES;
        self.symbols.get(at..at + SYMBOL_BYTES).map(|r| r.try_into().expect("of that length"))
    }

    fn symbol_count(&self) -> u32 {
        (self.symbols.len() / SYMBOL_BYTES) as u32
    }

    #[inline]
    pub(crate) fn symbol(&self, index: u32) -> Option<SymbolView> {
        let record = self.symbol_record(index)?;
        let info = record[4];
        let home = match u16_at(record, 6) {
            SHN_UNDEF => Home::Undefined,
            SHN_ABS => Home::Absolute,
            SHN_COMMON => Home::Common,
            SHN_XINDEX => {
                let at = index as usize * 4;
                Home::Section(u32_at(self.long_indices.get(at..at + 4)?, 0))
            }
            reserved @ SHN_LORESERVE.. => Home::Section(u32::from(reserved) | 0xffff_0000),
            section => Home::Section(u32::from(section)),
        };
        if matches!(home, Home::Section(section) if section >= self.section_count()) {
            return None;
        }
        let binding = match info >> 4 {
            0 => Binding::Local,
            2 => Binding::Weak,
            10 => Binding::Unique,
            _ => Binding::Global,
        };
        let kind = match info & 15 {
            STT_OBJECT | STT_COMMON => SymbolKind::Data,
            STT_FUNC => SymbolKind::Function,
            STT_TLS => SymbolKind::Tls,
            STT_GNU_IFUNC => SymbolKind::Ifunc,
            _ => SymbolKind::Untyped,
        };
        let visibility = match record[5] & 3 {
            0 => Visibility::Default,
            3 => Visibility::Protected,
            _ => Visibility::Hidden,
        };
        Some(SymbolView { value: u64_at(record, 8), size: u64_at(record, 16), home, binding, kind, visibility })
    }

    /// Section (perhaps one that does not exist) and value of a symbol, unless it is an IFUNC or in no ordinary section.
    #[inline]
    pub(crate) fn plain_symbol(&self, index: u32) -> Option<(u32, u64)> {
        let record = self.symbol_record(index)?;
        let section = u16_at(record, 6);
        let plain = section != SHN_UNDEF && section < SHN_LORESERVE && record[4] & 15 != STT_GNU_IFUNC;
        plain.then(|| (u32::from(section), u64_at(record, 8)))
    }

    /// The name of a symbol; of a nameless section symbol, its section's.
    pub(crate) fn symbol_name(&self, index: u32) -> Option<&'a [u8]> {
        let record = self.symbol_record(index)?;
        let name = names::name_at(self.symbol_names, u32_at(record, 0))?;
        match self.symbol(index)?.home {
            Home::Section(section) if name.is_empty() && record[4] & 15 == STT_SECTION => self.section_name(section),
            _ => Some(name),
        }
    }

    /// The name of a symbol whose length is known.
    #[inline]
    pub(crate) fn name_of_length(&self, index: u32, len: u32) -> &'a [u8] {
        let start = self.symbol_record(index).map_or(0, |r| u32_at(r, 0)) as usize;
        self.symbol_names.get(start..start + len as usize).unwrap_or_default()
    }

    /// The relocation records in section `index`; none for 0.
    #[inline]
    pub(crate) fn relocations(&self, index: u32) -> &'a [u8] {
        if index == 0 {
            return &[];
        }
        // In bounds and a whole number of records: checked when the section was read.
        self.header(index).and_then(|h| self.contents(&h)).unwrap_or_default()
    }

    /// The sections that a group lists.
    pub(crate) fn group_members(&self, index: u32) -> impl Iterator<Item = u32> + 'a {
        let words = self.header(index).and_then(|h| self.contents(&h)).unwrap_or_default();
        words.chunks_exact(4).skip(1).map(|word| u32_at(word, 0))
    }
}

/// Reads the tables of an object and makes it a unit. `name` and `archive` are for messages.
pub(crate) fn parse<'a>(
    archive: Option<&'a str>,
    name: UnitName<'a>,
    input: u32,
    bytes: &'a [u8],
) -> Result<Unit<'a>, Box<ErrorKind>> {
    let object = Object { bytes, headers: &[], section_names: &[], symbols: &[], symbol_names: &[], long_indices: &[] };
    let unit = Unit {
        archive,
        name,
        input,
        body: Body::Elf(object),
        sections: Vec::new(),
        first_global: 0,
        globals: Vec::new(),
        bound: Vec::new(),
        groups: Vec::new(),
        slot_uses: Vec::new(),
        local_ifuncs: Vec::new(),
    };
    Parser { unit, relocated: Vec::new() }.run()
}

struct Parser<'a> {
    unit: Unit<'a>,
    /// (relocation section, its target).
    relocated: Vec<(u32, u32)>,
}

/// What a section header stands for besides memory.
struct Tables {
    symbols: Option<u32>,
    long_indices: Option<u32>,
    groups: Vec<u32>,
}

impl<'a> Parser<'a> {
    fn object(&self) -> &Object<'a> {
        match &self.unit.body {
            Body::Elf(object) => object,
            Body::Graph { .. } => unreachable!("made from an object"),
        }
    }

    fn object_mut(&mut self) -> &mut Object<'a> {
        match &mut self.unit.body {
            Body::Elf(object) => object,
            Body::Graph { .. } => unreachable!("made from an object"),
        }
    }

    fn malformed(&self, offset: u64, what: &'static str) -> Box<ErrorKind> {
        Box::new(ErrorKind::Malformed { input: self.unit.to_string(), offset, what })
    }

    fn unsupported(&self, section: u32, what: &'static str) -> Box<ErrorKind> {
        let section = text(self.object().section_name(section).unwrap_or_default());
        Box::new(ErrorKind::Unsupported { input: self.unit.to_string(), section, what })
    }

    fn run(mut self) -> Result<Unit<'a>, Box<ErrorKind>> {
        self.read_header()?;
        let tables = self.read_sections()?;
        self.read_symbols(&tables)?;
        self.read_groups(&tables.groups)?;
        self.read_relocations()?;
        Ok(self.unit)
    }

    fn read_header(&mut self) -> Result<(), Box<ErrorKind>> {
        let bytes = self.object().bytes;
        let found = identify(bytes);
        if found != FileKind::Object {
            return Err(Box::new(ErrorKind::NotLinkable { input: self.unit.to_string(), found }));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(self.malformed(0, "file header ends early"));
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(self.malformed(0, "object of 4 GiB or more"));
        }
        let start = u64_at(bytes, 40);
        if start == 0 {
            return Err(self.malformed(40, "no section headers"));
        }
        if usize::from(u16_at(bytes, 58)) != SECTION_BYTES {
            return Err(self.malformed(58, "section headers of unusual size"));
        }
        let start = usize::try_from(start).ok().filter(|s| *s <= bytes.len());
        let Some(table) = start.map(|s| &bytes[s..]).filter(|t| t.len() >= SECTION_BYTES) else {
            return Err(self.malformed(40, "section headers lie outside the file"));
        };
        // gABI, "Section header table": more than SHN_LORESERVE sections are counted in the first header.
        let first = Header::read(table[..SECTION_BYTES].try_into().expect("of that length"));
        let count = match u16_at(bytes, 60) {
            0 => first.size,
            count => u64::from(count),
        };
        let names = match u16_at(bytes, 62) {
            SHN_XINDEX => first.link,
            index => u32::from(index),
        };
        let size = usize::try_from(count).ok().and_then(|c| c.checked_mul(SECTION_BYTES));
        let Some(headers) = size.and_then(|size| table.get(..size)).filter(|h| !h.is_empty()) else {
            return Err(self.malformed(60, "section headers lie outside the file"));
        };
        self.object_mut().headers = headers;
        if names != 0 {
            self.object_mut().section_names = self.string_table(names)?;
        }
        Ok(())
    }

    fn string_table(&self, section: u32) -> Result<&'a [u8], Box<ErrorKind>> {
        let object = self.object();
        object
            .header(section)
            .and_then(|h| object.contents(&h))
            .ok_or_else(|| self.malformed(u64::from(section), "string table lies outside the file"))
    }

    fn read_sections(&mut self) -> Result<Tables, Box<ErrorKind>> {
        let count = self.object().section_count();
        let mut tables = Tables { symbols: None, long_indices: None, groups: Vec::new() };
        let mut sections = vec![Section::ABSENT; count as usize];
        for index in 1..count {
            let header = self.object().header(index).expect("counted");
            match header.kind {
                SHT_SYMTAB if tables.symbols.is_none() => tables.symbols = Some(index),
                SHT_SYMTAB => return Err(self.malformed(u64::from(index), "second symbol table")),
                SHT_SYMTAB_SHNDX => tables.long_indices = Some(index),
                SHT_GROUP => tables.groups.push(index),
                SHT_RELA => self.relocated.push((index, header.info)),
                SHT_REL => return Err(self.unsupported(index, "SHT_REL (relocations without addends)")),
                SHT_CREL => return Err(self.unsupported(index, "SHT_CREL (compact relocations)")),
                SHT_RELR | SHT_ANDROID_REL | SHT_ANDROID_RELA | SHT_ANDROID_RELR => {
                    return Err(self.unsupported(index, "packed dynamic relocations"));
                }
                _ if header.flags & SHF_ALLOC != 0 && header.flags & SHF_EXCLUDE == 0 => {
                    sections[index as usize] = self.allocated(index, &header)?;
                }
                SHT_PROGBITS | SHT_NOBITS | SHT_NOTE => {}
                // A type nobody knows, which says of itself that it applies to another section: relocations of a future
                // kind. Leaving them out would be silently wrong.
                unknown if header.flags & SHF_INFO_LINK != 0 && unknown > SHT_SYMTAB_SHNDX => {
                    return Err(self.unsupported(index, "unknown section type that applies to another section"));
                }
                _ => {}
            }
        }
        self.unit.sections = sections;
        Ok(tables)
    }

    fn allocated(&self, index: u32, header: &Header) -> Result<Section, Box<ErrorKind>> {
        let at = u64::from(index);
        let align = header.align.max(1);
        if !align.is_power_of_two() {
            return Err(self.malformed(at, "alignment of a section is not a power of two"));
        }
        let zero = header.kind == SHT_NOBITS;
        if !zero && self.object().contents(header).is_none() {
            return Err(self.malformed(at, "section lies outside the file"));
        }
        let Ok(size) = u32::try_from(header.size) else {
            return Err(Box::new(ErrorKind::TooLarge { bytes: header.size, limit: crate::layout::LIMIT }));
        };
        if header.flags & SHF_COMPRESSED != 0 {
            return Err(self.unsupported(index, "compression of an allocated section"));
        }
        let name = self.object().section_names.get(header.name as usize..).unwrap_or_default();
        let role = role(header.kind, name);
        let class = match header.flags & (SHF_WRITE | SHF_EXECINSTR | SHF_TLS) {
            f if f & SHF_TLS != 0 && zero => Class::TlsZero,
            f if f & SHF_TLS != 0 => Class::Tls,
            f if f & SHF_EXECINSTR != 0 && zero => return Err(self.unsupported(index, "code without contents")),
            f if f & SHF_EXECINSTR != 0 => Class::Code,
            _ if zero => Class::Zero,
            f if f & SHF_WRITE != 0 && !read_only_after_relocation(name, role) => Class::ReadWrite,
            _ => Class::ReadOnly,
        };
        let retained = header.flags & SHF_GNU_RETAIN != 0
            || !matches!(role, Role::Plain | Role::EhFrame | Role::Named)
            || header.kind == SHT_NOTE;
        Ok(Section {
            data: if zero { 0 } else { header.offset as u32 },
            size,
            align_log2: align.trailing_zeros() as u8,
            class,
            role,
            retained,
            ..Section::ABSENT
        })
    }

    fn read_symbols(&mut self, tables: &Tables) -> Result<(), Box<ErrorKind>> {
        let Some(table) = tables.symbols else { return Ok(()) };
        let header = self.object().header(table).expect("counted");
        let Some(symbols) = self.object().contents(&header) else {
            return Err(self.malformed(u64::from(table), "symbol table lies outside the file"));
        };
        if header.entry_size != SYMBOL_BYTES as u64 || symbols.len() % SYMBOL_BYTES != 0 {
            return Err(self.malformed(u64::from(table), "symbols of unusual size"));
        }
        let names = self.string_table(header.link)?;
        let long_indices = match tables.long_indices {
            Some(section) => self.string_table(section)?,
            None => &[],
        };
        let object = self.object_mut();
        (object.symbols, object.symbol_names, object.long_indices) = (symbols, names, long_indices);
        let count = object.symbol_count();
        let first = header.info;
        if first > count {
            return Err(self.malformed(u64::from(table), "more local symbols than symbols"));
        }
        self.unit.first_global = first;
        for (i, record) in symbols[..first as usize * SYMBOL_BYTES].chunks_exact(SYMBOL_BYTES).enumerate() {
            if record[4] & 15 == STT_GNU_IFUNC {
                self.unit.local_ifuncs.push(i as u32);
            }
        }
        self.read_globals(first, count)
    }

    fn read_globals(&mut self, first: u32, count: u32) -> Result<(), Box<ErrorKind>> {
        let mut globals = Vec::with_capacity((count - first) as usize);
        let mut bound = Vec::with_capacity((count - first) as usize);
        for index in first..count {
            let object = self.object();
            let offset = |what| self.malformed(u64::from(index) * SYMBOL_BYTES as u64, what);
            let Some(record) = object.symbol_record(index) else { return Err(offset("symbol table ends early")) };
            let Some(view) = object.symbol(index) else {
                return Err(offset("symbol in a section that does not exist"));
            };
            let Some((name, defined)) = names::definition_at(object.symbol_names, u32_at(record, 0)) else {
                return Err(offset("name of a symbol lies outside its table"));
            };
            let name = if view.home == Home::Undefined { name } else { &name[..defined] };
            if view.home == Home::Common && name == b"__gnu_lto_slim" {
                return Err(Box::new(ErrorKind::SlimLto { input: self.unit.to_string() }));
            }
            if view.home == Home::Common && !view.value.is_power_of_two() {
                return Err(offset("alignment of a common symbol is not a power of two"));
            }
            let len = if view.binding == Binding::Local || name.is_empty() { NO_SYMBOL } else { name.len() as u32 };
            globals.push(GlobalName { hash: names::hash(name), len });
            bound.push(AtomicU32::new(NO_SYMBOL));
        }
        (self.unit.globals, self.unit.bound) = (globals, bound);
        Ok(())
    }

    fn read_groups(&mut self, sections: &[u32]) -> Result<(), Box<ErrorKind>> {
        self.unit.groups.reserve_exact(sections.len());
        for &index in sections {
            let object = self.object();
            let header = object.header(index).expect("counted");
            let Some(words) = object.contents(&header).filter(|w| w.len() >= 4 && w.len() % 4 == 0) else {
                return Err(self.malformed(u64::from(index), "section group lies outside the file"));
            };
            if u32_at(words, 0) & GRP_COMDAT == 0 {
                continue;
            }
            let global = header.info.checked_sub(self.unit.first_global).map(|global| global as usize);
            let known = global.and_then(|global| self.unit.globals.get(global)).filter(|name| name.len != NO_SYMBOL);
            let group = match known {
                Some(name) => Group { signature: object.name_of_length(header.info, name.len), hash: name.hash, index },
                None => {
                    let Some(signature) = object.symbol_name(header.info) else {
                        return Err(self.malformed(u64::from(index), "section group without signature"));
                    };
                    Group { signature, hash: names::hash(signature), index }
                }
            };
            self.unit.groups.push(group);
        }
        Ok(())
    }

    fn read_relocations(&mut self) -> Result<(), Box<ErrorKind>> {
        for (index, target) in std::mem::take(&mut self.relocated) {
            let at = u64::from(index);
            let Some(section) = self.unit.sections.get(target as usize) else {
                return Err(self.malformed(at, "relocations of a section that does not exist"));
            };
            if !section.class.is_live() {
                continue;
            }
            let earlier = section.relocations;
            let object = self.object();
            let header = object.header(index).expect("counted");
            let Some(records) = object.contents(&header) else {
                return Err(self.malformed(at, "relocations lie outside the file"));
            };
            if header.entry_size != RELA_BYTES as u64 || records.len() % RELA_BYTES != 0 {
                return Err(self.malformed(at, "relocations of unusual size"));
            }
            if earlier != 0 {
                return Err(self.malformed(at, "two relocation sections for one section"));
            }
            self.unit.sections[target as usize].relocations = index;
            for (i, record) in records.chunks_exact(RELA_BYTES).enumerate() {
                if RelocationKind(u32_at(record, 8)).needs_slot() {
                    self.unit.slot_uses.push((target, i as u32));
                }
            }
        }
        Ok(())
    }
}

/// What a section means; `name` is the string table from the section's name on.
fn role(kind: u32, name: &[u8]) -> Role {
    /// Whether the name is `prefix` or `prefix.something`.
    fn is(name: &[u8], prefix: &[u8]) -> bool {
        name.strip_prefix(prefix).is_some_and(|rest| matches!(rest.first(), Some(0 | b'.')))
    }
    match kind {
        SHT_INIT_ARRAY => return Role::InitArray,
        SHT_FINI_ARRAY => return Role::FiniArray,
        SHT_PREINIT_ARRAY => return Role::PreinitArray,
        _ => {}
    }
    match name {
        [b'.', b'e', b'h', ..]
            if name.starts_with(b".eh_frame\0") && matches!(kind, SHT_PROGBITS | SHT_X86_64_UNWIND) =>
        {
            Role::EhFrame
        }
        [b'.', b'c', ..] if is(name, b".ctors") => Role::Ctors,
        [b'.', b'd', ..] if is(name, b".dtors") => Role::Dtors,
        [b'.', b'i', ..] if is(name, b".init_array") => Role::InitArray,
        [b'.', b'f', ..] if is(name, b".fini_array") => Role::FiniArray,
        [b'.', b'p', ..] if is(name, b".preinit_array") => Role::PreinitArray,
        [b'.', ..] | [] => Role::Plain,
        _ => {
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            if names::is_c_identifier(&name[..end]) { Role::Named } else { Role::Plain }
        }
    }
}

/// Whether a writable section is written by relocations only (what `-z relro` protects): here they are all applied
/// before anybody runs, so it can be read-only from the start.
fn read_only_after_relocation(name: &[u8], role: Role) -> bool {
    !matches!(role, Role::Plain | Role::Named)
        || name.strip_prefix(b".data.rel.ro").is_some_and(|rest| matches!(rest.first(), Some(0 | b'.')))
}
