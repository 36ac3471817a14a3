//! In which section of an object something goes: name, type and flags, as LLVM's assembler would have them.

use kiln_link::SectionKind;
use object::SectionFlags;
use object::elf;

/// A section that is wanted. Two places that want the same one share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) name: Vec<u8>,
    /// The COMDAT group that it is a member of.
    pub(super) group: Option<Vec<u8>>,
    sh_type: u32,
    sh_flags: u32,
}

const READ: u32 = elf::SHF_ALLOC;
const WRITE: u32 = elf::SHF_ALLOC | elf::SHF_WRITE;
const CODE: u32 = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
const THREAD: u32 = elf::SHF_ALLOC | elf::SHF_WRITE | elf::SHF_TLS;

/// What decides about a section.
pub(super) struct Block<'a> {
    pub(super) kind: SectionKind,
    /// The section's name in the graph.
    pub(super) name: &'a [u8],
    /// The program itself names the section.
    pub(super) explicit: bool,
    /// Nothing but zero bytes.
    pub(super) zero: bool,
    /// Addresses are written into it when the program is loaded.
    pub(super) relocated: bool,
    pub(super) group: Option<&'a [u8]>,
}

impl Wanted {
    /// The section of a block.
    pub(super) fn of(block: &Block<'_>) -> Wanted {
        let Block { kind, name, explicit, zero, relocated, group } = *block;
        let (name, sh_type, sh_flags): (&[u8], u32, u32) = match kind {
            SectionKind::InitArray => (name, elf::SHT_INIT_ARRAY, WRITE),
            SectionKind::FiniArray => (name, elf::SHT_FINI_ARRAY, WRITE),
            SectionKind::PreinitArray => (name, elf::SHT_PREINIT_ARRAY, WRITE),
            SectionKind::Code if explicit => (name, elf::SHT_PROGBITS, CODE),
            SectionKind::Code => (b".text", elf::SHT_PROGBITS, CODE),
            SectionKind::ReadOnly if name == b".eh_frame" => (name, elf::SHT_X86_64_UNWIND, READ),
            SectionKind::ReadOnly if name == b".gcc_except_table" => (name, elf::SHT_PROGBITS, READ),
            // Of one name there is one section, whether or not this block of it is relocated.
            SectionKind::ReadOnly if explicit => (name, named(name), if relocated { WRITE } else { READ }),
            SectionKind::ReadOnly if relocated => (b".data.rel.ro", elf::SHT_PROGBITS, WRITE),
            SectionKind::ReadOnly => (b".rodata", elf::SHT_PROGBITS, READ),
            SectionKind::ReadWrite if explicit => (name, named(name), WRITE),
            SectionKind::ReadWrite if zero => (b".bss", elf::SHT_NOBITS, WRITE),
            SectionKind::ReadWrite => (b".data", elf::SHT_PROGBITS, WRITE),
            SectionKind::Tls if explicit => (name, elf::SHT_PROGBITS, THREAD),
            SectionKind::Tls if zero => (b".tbss", elf::SHT_NOBITS, THREAD),
            SectionKind::Tls => (b".tdata", elf::SHT_PROGBITS, THREAD),
        };
        // A linker sorts and keeps arrays by their whole names, and a named section is asked for by its name.
        let array =
            matches!(kind, SectionKind::InitArray | SectionKind::FiniArray | SectionKind::PreinitArray) || explicit;
        let mut name = name.to_vec();
        if let Some(group) = group.filter(|_| !array) {
            name.push(b'.');
            name.extend_from_slice(group);
        }
        let grouped = if group.is_some() { elf::SHF_GROUP } else { 0 };
        Wanted { name, group: group.map(<[u8]>::to_vec), sh_type, sh_flags: sh_flags | grouped }
    }

    /// A section that is no part of the program's memory.
    pub(super) fn outside(name: &[u8]) -> Wanted {
        Wanted { name: name.to_vec(), group: None, sh_type: elf::SHT_PROGBITS, sh_flags: 0 }
    }

    /// The type, as the writer of objects wants to have it.
    pub(super) fn kind(&self) -> object::SectionKind {
        match self.sh_type {
            elf::SHT_NOBITS if self.sh_flags & elf::SHF_TLS != 0 => object::SectionKind::UninitializedTls,
            elf::SHT_NOBITS => object::SectionKind::UninitializedData,
            sh_type => object::SectionKind::Elf(sh_type),
        }
    }

    pub(super) fn flags(&self) -> SectionFlags {
        SectionFlags::Elf { sh_flags: u64::from(self.sh_flags) }
    }
}

/// The type of a section that the program names (`getELFSectionType`).
fn named(name: &[u8]) -> u32 {
    if name.starts_with(b".note") { elf::SHT_NOTE } else { elf::SHT_PROGBITS }
}
