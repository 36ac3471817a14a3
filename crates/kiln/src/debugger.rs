//! An object as a debugger wants it: with the addresses that its sections got.
//!
//! GDB's JIT interface takes an in-memory ELF file. Of a relocatable one it believes `sh_addr` and applies the relocations
//! of the debug sections itself (GDB manual, "JIT Compilation Interface"; LLVM's ELFDebugObjectPlugin does the same).

use kiln_link::Linked;

const HEADER_BYTES: usize = 64;
const SECTION_HEADER_BYTES: usize = 64;
const NAME_AT: usize = 0;
const ADDRESS_AT: usize = 16;
const OFFSET_AT: usize = 24;

/// A copy of `object`, the only input of `linked`, with section addresses filled in; `None` if it is no ELF object.
pub(crate) fn placed_object(object: &[u8], linked: &Linked<'_>) -> Option<Vec<u8>> {
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
        if let Some(section) = linked.sections().find(|section| section.name == name) {
            let at = header(index) + ADDRESS_AT;
            copy.get_mut(at..at + 8)?.copy_from_slice(&section.address.get().to_le_bytes());
        }
    }
    Some(copy)
}
