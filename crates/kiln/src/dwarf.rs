//! Line tables of the first tier's code as DWARF: for debuggers, and in objects.

use gimli::write::{
    Address, AttributeValue, DirectoryId, DwarfUnit, EndianVec, FileId, LineProgram, LineString, Range, RangeList,
    RelocateWriter, Relocation, Sections,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian, SectionId};
use kiln_bitcode::SourceFile;

use crate::source::SourceLines;

/// A piece of code and where it comes from.
pub(crate) struct LinedCode<'a> {
    /// Where it begins.
    pub(crate) address: Address,
    pub(crate) bytes: u64,
    pub(crate) lines: SourceLines<'a>,
}

const ENCODING: Encoding = Encoding { format: Format::Dwarf32, version: 5, address_size: 8 };

/// One unit that describes all of `code`; `None` where there is nothing to say.
pub(crate) fn unit(producer: &str, code: &[LinedCode<'_>]) -> Option<DwarfUnit> {
    let first = code.first()?.lines.function;
    let mut dwarf = DwarfUnit::new(ENCODING);
    let (directory, name) = (text(first.file.directory), text(first.file.name));
    let mut program = Program {
        lines: LineProgram::new(ENCODING, LineEncoding::default(), string(&directory), None, string(&name), None),
        main: directory.clone(),
    };
    let unit = &mut dwarf.unit;
    let mut ranges = Vec::new();
    let mut described = Vec::new();
    for LinedCode { address, bytes, lines } in code {
        program.sequence(*address, *bytes, lines);
        ranges.push(Range::StartLength { begin: *address, length: *bytes });
        described.push((lines.function, *address, *bytes, program.file(&lines.function.file)));
    }
    unit.line_program = program.lines;
    let ranges = unit.ranges.add(RangeList(ranges));
    let root = unit.root();
    let entry = unit.get_mut(root);
    // C, where the front end does not say.
    let language = if first.language == 0 { gimli::DW_LANG_C11 } else { gimli::DwLang(first.language as u16) };
    entry.set(gimli::DW_AT_producer, AttributeValue::String(text(producer.as_bytes())));
    entry.set(gimli::DW_AT_language, AttributeValue::Language(language));
    entry.set(gimli::DW_AT_name, AttributeValue::String(name));
    entry.set(gimli::DW_AT_comp_dir, AttributeValue::String(directory));
    entry.set(gimli::DW_AT_low_pc, AttributeValue::Address(Address::Constant(0)));
    entry.set(gimli::DW_AT_ranges, AttributeValue::RangeListRef(ranges));
    entry.set(gimli::DW_AT_stmt_list, AttributeValue::LineProgramRef);
    for (function, address, bytes, file) in described {
        let id = unit.add(root, gimli::DW_TAG_subprogram);
        let entry = unit.get_mut(id);
        entry.set(gimli::DW_AT_name, AttributeValue::String(text(function.name)));
        if !function.linkage_name.is_empty() {
            entry.set(gimli::DW_AT_linkage_name, AttributeValue::String(text(function.linkage_name)));
        }
        entry.set(gimli::DW_AT_decl_file, AttributeValue::FileIndex(Some(file)));
        entry.set(gimli::DW_AT_decl_line, AttributeValue::Udata(u64::from(function.line)));
        // It has parameters and a result that nobody describes.
        entry.set(gimli::DW_AT_external, AttributeValue::Flag(true));
        entry.set(gimli::DW_AT_low_pc, AttributeValue::Address(address));
        entry.set(gimli::DW_AT_high_pc, AttributeValue::Udata(bytes));
    }
    Some(dwarf)
}

/// A section of debug information with what linkers fill in.
pub(crate) struct DebugSection {
    pub(crate) id: SectionId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) relocations: Vec<Relocation>,
}

/// The sections of `unit` for an object; symbols are numbered as in its addresses.
pub(crate) fn relocatable(unit: &mut DwarfUnit) -> Result<Vec<DebugSection>, gimli::write::Error> {
    let mut sections = Sections::new(Relocatable::default());
    unit.write(&mut sections)?;
    let mut made = Vec::new();
    sections.for_each_mut(|id, section| {
        let Relocatable { bytes, relocations } = std::mem::take(section);
        let bytes = bytes.into_vec();
        if !bytes.is_empty() {
            made.push(DebugSection { id, bytes, relocations });
        }
        Ok::<_, gimli::write::Error>(())
    })?;
    Ok(made)
}

/// What is being written.
#[derive(Clone)]
struct Relocatable {
    bytes: EndianVec<LittleEndian>,
    relocations: Vec<Relocation>,
}

impl Default for Relocatable {
    fn default() -> Self {
        Self { bytes: EndianVec::new(LittleEndian), relocations: Vec::new() }
    }
}

impl RelocateWriter for Relocatable {
    type Writer = EndianVec<LittleEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        self.relocations.push(relocation);
    }
}

/// The line program that is being made.
struct Program {
    lines: LineProgram,
    /// What names of files without a directory are relative to.
    main: Vec<u8>,
}

impl Program {
    fn sequence(&mut self, address: Address, bytes: u64, lines: &SourceLines<'_>) {
        self.lines.begin_sequence(Some(address));
        for row in lines.rows.iter().filter(|row| u64::from(row.offset) < bytes) {
            let file = self.file(&row.file);
            let into = self.lines.row();
            into.address_offset = u64::from(row.offset);
            into.file = file;
            into.line = u64::from(row.line);
            into.column = u64::from(row.column);
            into.is_statement = row.line != 0;
            self.lines.generate_row();
        }
        self.lines.end_sequence(bytes);
    }

    fn file(&mut self, file: &SourceFile<'_>) -> FileId {
        let directory: DirectoryId = match file.directory {
            [] => self.lines.default_directory(),
            directory if directory == self.main => self.lines.default_directory(),
            directory => self.lines.add_directory(string(&text(directory))),
        };
        self.lines.add_file(string(&text(file.name)), directory, None)
    }
}

/// What a DWARF string can hold: no zeros, and at least something.
fn text(bytes: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    if text.is_empty() { b".".to_vec() } else { text }
}

fn string(text: &[u8]) -> LineString {
    LineString::String(text.to_vec())
}
