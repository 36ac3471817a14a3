//! Source lines from the line tables of a relocatable object.
//!
//! Each function lies in a section of its own, so every address in `.debug_line` is a relocation against one of those
//! sections. Sections are told apart by numbering them: the relocated value is the section's number times 2^40 plus the
//! offset, which no real function reaches.

use std::borrow::Cow;

use gimli::{EndianSlice, LittleEndian};
use kiln_abi::FunctionId;
use kiln_abi::symbol::{self, Id};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex};

const SECTION_SHIFT: u32 = 40;

/// Whether `object` holds line tables.
pub(crate) fn has_lines(object: &[u8]) -> bool {
    object::File::parse(object).is_ok_and(|file| file.section_by_name(".debug_line").is_some())
}

/// The source line, as `file:line`, of `offset` in `function`, which `object` defines under its id symbol.
pub(crate) fn line_of(object: &[u8], function: FunctionId, offset: u64) -> Option<String> {
    let file = object::File::parse(object).ok()?;
    let name = symbol::name(Id::Function(function));
    let symbol = file.symbol_by_name(&name)?;
    let section = symbol.section_index()?;
    // The call that leads to an address one past a row's end belongs to the row.
    let address = section_base(section) + symbol.address() + offset;
    let load = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> { Ok(relocated(&file, id.name())) };
    let sections = gimli::DwarfSections::load(load).ok()?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        let Ok(unit) = dwarf.unit(header) else { continue };
        if let Some(line) = line_in_unit(&dwarf, &unit, address) {
            return Some(line);
        }
    }
    None
}

fn line_in_unit(
    dwarf: &gimli::Dwarf<EndianSlice<'_, LittleEndian>>,
    unit: &gimli::Unit<EndianSlice<'_, LittleEndian>>,
    address: u64,
) -> Option<String> {
    let mut rows = unit.line_program.clone()?.rows();
    let mut previous: Option<(u64, u64, u64)> = None;
    while let Ok(Some((header, row))) = rows.next_row() {
        if let Some((start, file, line)) = previous
            && (start..row.address()).contains(&address)
        {
            let entry = header.file(file)?;
            let name = dwarf.attr_string(unit, entry.path_name()).ok()?;
            return Some(format!("{}:{line}", name.to_string_lossy()));
        }
        previous = (!row.end_sequence())
            .then(|| (row.address(), row.file_index(), row.line().map_or(0, std::num::NonZeroU64::get)));
    }
    None
}

fn section_base(section: SectionIndex) -> u64 {
    (section.0 as u64 + 1) << SECTION_SHIFT
}

/// The bytes of a debug section with its relocations applied; empty if there is none.
fn relocated<'d>(file: &object::File<'d>, name: &str) -> Cow<'d, [u8]> {
    let Some(section) = file.section_by_name(name) else { return Cow::Borrowed(&[]) };
    let Ok(bytes) = section.uncompressed_data() else { return Cow::Borrowed(&[]) };
    let mut bytes = bytes.into_owned();
    for (offset, relocation) in section.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else { continue };
        let Ok(symbol) = file.symbol_by_index(index) else { continue };
        let is_code = symbol
            .section_index()
            .and_then(|index| file.section_by_index(index).ok())
            .is_some_and(|section| section.kind() == object::SectionKind::Text);
        let base = if is_code { symbol.section_index().map_or(0, section_base) } else { 0 };
        let value = base.wrapping_add(symbol.address()).wrapping_add(relocation.addend() as u64);
        let size = usize::from(relocation.size() / 8);
        let Ok(offset) = usize::try_from(offset) else { continue };
        if let Some(field) = offset.checked_add(size).and_then(|end| bytes.get_mut(offset..end)) {
            field.copy_from_slice(&value.to_le_bytes()[..size]);
        }
    }
    Cow::Owned(bytes)
}
