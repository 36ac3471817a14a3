//! Unwind tables: which entries describe live code, and where they lie (LSB Core §10.6, DWARF 5 §6.4.1).
//!
//! A section `.eh_frame` is copied as it is. Entries of discarded functions stay in it as dead bytes that nothing leads
//! to: unwinders find an entry through [`FdeEntry`](kiln_abi::FdeEntry), never by walking the section. Sections are
//! recognised by name, because gcc marks them `SHT_PROGBITS` and clang `SHT_X86_64_UNWIND`.

use crate::elf::u32_at;
use crate::unit::{Home, Relocation, Role, Unit};

/// What is wrong with a table, and where.
pub(crate) struct Fault {
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
}

/// One record of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Offset of its length field.
    pub(crate) offset: u32,
    /// Offset of the next record.
    pub(crate) end: u32,
    /// A frame description entry rather than what several share.
    pub(crate) fde: Option<Fde>,
}

/// A frame description entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fde {
    pub(crate) pc_bytes: u64,
}

/// Offset of `pc_begin` in an entry.
pub(crate) const PC_BEGIN: u32 = 8;

/// The relocations of a section, sorted by offset.
pub(crate) fn sorted_relocations(unit: &Unit<'_>, section: u32) -> Vec<Relocation> {
    let mut relocations: Vec<Relocation> = unit.relocations(section).collect();
    if !relocations.is_sorted_by_key(|r| r.offset) {
        relocations.sort_by_key(|r| r.offset);
    }
    relocations
}

/// Calls `f` for each record with those of `relocations` that lie in it.
pub(crate) fn visit(
    bytes: &[u8],
    relocations: &[Relocation],
    mut f: impl FnMut(Record, &[Relocation]),
) -> Result<(), Fault> {
    // (offset, bytes of an address) of the common information entries so far: seldom more than three, mostly one.
    let mut last: Option<(u32, u32)> = None;
    let mut earlier: Vec<(u32, u32)> = Vec::new();
    let mut at = 0u32;
    let mut rest = relocations;
    while (at as usize) < bytes.len() {
        let fault = |what| Fault { offset: u64::from(at), what };
        let tail = &bytes[at as usize..];
        if tail.len() < 4 {
            return Err(fault("record ends early"));
        }
        let length = u32_at(tail, 0);
        if length == 0 {
            // Terminator: meant for who walks the table.
            at += 4;
            continue;
        }
        if length == u32::MAX {
            return Err(fault("64-bit DWARF"));
        }
        let Some(record) = (length as usize).checked_add(4).and_then(|size| tail.get(..size)).filter(|r| r.len() >= 8)
        else {
            return Err(fault("record ends early"));
        };
        let end = at + record.len() as u32;
        // A handful: looking for them from the front beats bisecting the whole section.
        let inside = rest.iter().position(|r| r.offset >= u64::from(end)).unwrap_or(rest.len());
        let (mine, later) = rest.split_at(inside);
        rest = later;
        let id = u32_at(record, 4);
        let fde = if id == 0 {
            earlier.extend(last.replace((at, address_bytes(record).map_err(fault)?)));
            None
        } else {
            let cie = (at + 4).checked_sub(id).ok_or(fault("entry before its common information"))?;
            let Some(&(_, width)) = last.iter().chain(earlier.iter().rev()).find(|(offset, _)| *offset == cie) else {
                return Err(fault("entry without common information"));
            };
            Some(Fde { pc_bytes: range(record, width).ok_or(fault("record ends early"))? })
        };
        f(Record { offset: at, end, fde }, mine);
        at = end;
    }
    Ok(())
}

/// Length of the code that an entry describes.
fn range(record: &[u8], width: u32) -> Option<u64> {
    let at = (PC_BEGIN + width) as usize;
    let field = record.get(at..at + width as usize)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Bytes of the addresses in the entries of a common information entry, from its augmentation.
fn address_bytes(record: &[u8]) -> Result<u32, &'static str> {
    const EARLY: &str = "common information ends early";
    let version = *record.get(8).ok_or(EARLY)?;
    if version != 1 && version != 3 {
        return Err("unknown version of common information");
    }
    let tail = &record[9..];
    let end = memchr::memchr(0, tail).ok_or(EARLY)?;
    let augmentation = &tail[..end];
    if augmentation.is_empty() {
        return Ok(8);
    }
    if augmentation[0] != b'z' || augmentation[1..].iter().any(|c| !b"RPLSB".contains(c)) {
        return Err("unknown augmentation");
    }
    let mut data = &tail[end + 1..];
    skip_leb128(&mut data).ok_or(EARLY)?; // code alignment factor
    skip_leb128(&mut data).ok_or(EARLY)?; // data alignment factor
    if version == 1 {
        data = data.get(1..).ok_or(EARLY)?; // return address register
    } else {
        skip_leb128(&mut data).ok_or(EARLY)?;
    }
    skip_leb128(&mut data).ok_or(EARLY)?; // length of the augmentation data
    for c in &augmentation[1..] {
        let encoding = match c {
            b'R' | b'L' | b'P' => *data.first().ok_or(EARLY)?,
            _ => continue,
        };
        data = &data[1..];
        match c {
            b'R' => return encoded_bytes(encoding).ok_or("unknown pointer encoding"),
            b'P' => {
                let bytes = encoded_bytes(encoding & 0x7f).ok_or("unknown pointer encoding")?;
                data = data.get(bytes as usize..).ok_or(EARLY)?;
            }
            _ => {}
        }
    }
    Ok(8)
}

/// Bytes of a pointer encoded by `encoding` (LSB Core §10.5.1): absolute or relative to the place, 4 or 8 bytes.
fn encoded_bytes(encoding: u8) -> Option<u32> {
    match encoding {
        0x00 | 0x04 | 0x0c | 0x10 | 0x14 | 0x1c => Some(8),
        0x03 | 0x0b | 0x13 | 0x1b => Some(4),
        _ => None,
    }
}

fn skip_leb128(data: &mut &[u8]) -> Option<()> {
    let end = data.iter().position(|byte| byte & 0x80 == 0)?;
    *data = &data[end + 1..];
    Some(())
}

/// The section of `unit` that an entry describes and the offset there, by the entry's own relocation: a name may be
/// bound to another unit's copy, which has an entry of its own.
pub(crate) fn described(unit: &Unit<'_>, record: Record, relocations: &[Relocation]) -> Option<(u32, u64)> {
    let at = u64::from(record.offset + PC_BEGIN);
    let relocation = relocations.iter().find(|r| r.offset == at)?;
    let view = unit.symbol(relocation.symbol)?;
    match view.home {
        Home::Section(section) => Some((section, view.value.wrapping_add_signed(relocation.addend))),
        _ => None,
    }
}

/// Whether an entry describes code that takes part.
pub(crate) fn is_live(unit: &Unit<'_>, record: Record, relocations: &[Relocation]) -> bool {
    described(unit, record, relocations).is_some_and(|(section, _)| unit.sections[section as usize].class.is_live())
}

/// Parts of a section whose relocations do not count.
pub(crate) struct DeadRanges(Vec<(u32, u32)>);

impl DeadRanges {
    pub(crate) fn contains(&self, offset: u64) -> bool {
        self.0.iter().any(|(start, end)| (u64::from(*start)..u64::from(*end)).contains(&offset))
    }
}

/// The entries of discarded functions in `section`; none if it is no unwind table.
pub(crate) fn dead_ranges(unit: &Unit<'_>, section: u32) -> DeadRanges {
    let mut dead = Vec::new();
    if unit.sections[section as usize].role == Role::EhFrame {
        // A fault is reported when the section is placed.
        let _ = visit(unit.section_bytes(section), &sorted_relocations(unit, section), |record, relocations| {
            if record.fde.is_some() && !is_live(unit, record, relocations) {
                dead.push((record.offset, record.end));
            }
        });
    }
    DeadRanges(dead)
}
