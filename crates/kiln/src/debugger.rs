//! Objects as a debugger wants them: with the addresses that their sections got.
//!
//! GDB's JIT interface takes an in-memory ELF file. Of a relocatable one it believes `sh_addr` and applies the relocations
//! of the debug sections itself (GDB manual, "JIT Compilation Interface"; LLVM's ELFDebugObjectPlugin does the same).
//! What the optimizer made brings its object along; for the first tier's code one is made that holds symbols and lines.

use gimli::write::{Address, EndianVec, Sections};
use kiln_abi::ExecutorAddr;
use kiln_link::Linked;
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionFlags, SectionKind, SymbolFlags, SymbolScope, elf};

use crate::dwarf::{self, LinedCode};
use crate::source::SourceLines;

const HEADER_BYTES: usize = 64;
const SECTION_HEADER_BYTES: usize = 64;
const NAME_AT: usize = 0;
const ADDRESS_AT: usize = 16;
const OFFSET_AT: usize = 24;

/// A copy of `object`, the only input of `linked`, with section addresses filled in; `None` if it is no ELF object.
pub(crate) fn placed_object(object: &[u8], linked: &Linked<'_>) -> Option<Vec<u8>> {
    place(object, |name| Some(linked.sections().find(|section| section.name == name)?.address))
}

/// A function of the first tier.
pub(crate) struct PlacedFunction<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) address: ExecutorAddr,
    pub(crate) bytes: u64,
    pub(crate) lines: Option<SourceLines<'a>>,
}

/// An object that tells debuggers what `functions` are called and where they come from. Their code is in memory.
pub(crate) fn object_of(functions: &[PlacedFunction<'_>]) -> Option<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section_name = |index: usize| format!(".text.{index}");
    let mut lined = Vec::new();
    for (index, function) in functions.iter().enumerate() {
        let section = object.add_section(Vec::new(), section_name(index).into_bytes(), SectionKind::UninitializedData);
        object.append_section_bss(section, function.bytes, 1);
        object.section_mut(section).flags =
            SectionFlags::Elf { sh_flags: u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR) };
        object.add_symbol(Symbol {
            name: function.name.clone(),
            value: 0,
            size: function.bytes,
            kind: object::SymbolKind::Text,
            scope: SymbolScope::Dynamic,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        });
        lined.extend(function.lines.clone().map(|lines| LinedCode {
            address: Address::Constant(function.address.get()),
            bytes: function.bytes,
            lines,
        }));
    }
    if let Some(mut unit) = dwarf::unit("kiln", &lined) {
        let mut sections = Sections::new(EndianVec::new(gimli::LittleEndian));
        unit.write(&mut sections).ok()?;
        let added = sections.for_each(|id, bytes| {
            if !bytes.slice().is_empty() {
                let section = object.add_section(Vec::new(), id.name().into(), SectionKind::Debug);
                object.append_section_data(section, bytes.slice(), 1);
            }
            Ok::<_, gimli::write::Error>(())
        });
        added.ok()?;
    }
    let bytes = object.write().ok()?;
    place(&bytes, |name| {
        let index: usize = std::str::from_utf8(name).ok()?.strip_prefix(".text.")?.parse().ok()?;
        Some(functions.get(index)?.address)
    })
}

/// A copy of `object` with the addresses of sections that `address` gives.
fn place(object: &[u8], address: impl Fn(&[u8]) -> Option<ExecutorAddr>) -> Option<Vec<u8>> {
    let mut copy = object.to_vec();
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(object.get(at..at + 2)?.try_into().ok()?)));
    let word = |at: usize| Some(u32::from_le_bytes(object.get(at..at + 4)?.try_into().ok()?) as usize);
    let long = |at: usize| Some(u64::from_le_bytes(object.get(at..at + 8)?.try_into().ok()?) as usize);
    object.get(..HEADER_BYTES)?;
    let (headers, count, names) = (long(40)?, half(60)?, half(62)?);
    let header = |index: usize| headers + index * SECTION_HEADER_BYTES;
    let strings = long(header(names) + OFFSET_AT)?;
    for index in 0..count {
        let start = strings + word(header(index) + NAME_AT)?;
        let rest = object.get(start..)?;
        let name = &rest[..rest.iter().position(|byte| *byte == 0)?];
        if let Some(address) = address(name) {
            let at = header(index) + ADDRESS_AT;
            copy.get_mut(at..at + 8)?.copy_from_slice(&address.get().to_le_bytes());
        }
    }
    Some(copy)
}
