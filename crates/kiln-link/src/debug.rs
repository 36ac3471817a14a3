//! Debug information: left unread in the inputs, relocated section by section when a debugger or crash reporter asks.
//!
//! Debug sections of an object refer to each other by offset and to code by address. Each object keeps sections of its
//! own here, so an offset is just the addend and symbols of debug sections count from 0. References to functions that
//! are not in the image get a tombstone, as lld writes it: 0, or 1 where 0 would end a list.

use std::borrow::Cow;
use std::io::Read;

use crate::elf::{self, RELA_BYTES, u32_at, u64_at};
use crate::linked::Linked;
use crate::unit::{Body, Home, Unit};
use crate::x86_64::fixup::TargetKind;
use crate::x86_64::relocations::{Field, Formula};

/// Decompressed bytes of one section, at most.
const DECOMPRESSED_LIMIT: u64 = 1 << 30;

/// An input that holds debug information.
#[derive(Clone, Copy)]
pub struct DebugObject<'l, 'a> {
    linked: &'l Linked<'a>,
    unit: &'l Unit<'a>,
    id: u32,
}

/// Why a debug section cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DebugError {
    /// The section's header or compressed bytes are malformed, or it is too large.
    #[error("malformed debug section")]
    Malformed,
    /// A relocation that debug information does not use.
    #[error("unexpected relocation in debug information")]
    Relocation,
}

impl<'a> Linked<'a> {
    /// The inputs that hold debug information, in the order of the link.
    pub fn debug_objects(&self) -> impl Iterator<Item = DebugObject<'_, 'a>> {
        self.resolved.order.iter().filter_map(move |&id| {
            let object = DebugObject { linked: self, unit: &self.resolved.units[id as usize], id };
            object.find(b".debug_info").map(|_| object)
        })
    }
}

impl<'a> DebugObject<'_, 'a> {
    /// The input's name.
    #[must_use]
    pub fn name(&self) -> String {
        self.unit.to_string()
    }

    /// The address ranges of the input's code, as (address, bytes): whether to look here for an address.
    pub fn code(&self) -> impl Iterator<Item = (kiln_abi::ExecutorAddr, u64)> {
        let base = self.linked.bases[0];
        let code = self.unit.sections.iter().filter(|s| s.class == crate::unit::Class::Code);
        code.map(move |s| (kiln_abi::ExecutorAddr::new(base + u64::from(s.offset)), u64::from(s.size)))
    }

    fn find(&self, name: &[u8]) -> Option<u32> {
        let Body::Elf(object) = &self.unit.body else { return None };
        (1..object.section_count()).find(|section| object.section_name(*section) == Some(name))
    }

    /// The relocated bytes of a section such as `.debug_line`; `None` if the input has none.
    ///
    /// # Errors
    ///
    /// If the section is malformed.
    pub fn section(&self, name: &[u8]) -> Result<Option<Cow<'a, [u8]>>, DebugError> {
        let Some(section) = self.find(name) else { return Ok(None) };
        let Body::Elf(object) = &self.unit.body else { return Ok(None) };
        let header = object.header(section).ok_or(DebugError::Malformed)?;
        let mut bytes = Cow::Borrowed(object.contents(&header).ok_or(DebugError::Malformed)?);
        if header.flags & elf::SHF_COMPRESSED != 0 {
            bytes = Cow::Owned(decompress(&bytes)?);
        }
        for relocations in 1..object.section_count() {
            let header = object.header(relocations).ok_or(DebugError::Malformed)?;
            if header.kind == elf::SHT_RELA && header.info == section {
                let records = object.contents(&header).ok_or(DebugError::Malformed)?;
                self.relocate(bytes.to_mut(), records, matches!(name, b".debug_loc" | b".debug_ranges"))?;
            }
        }
        Ok(Some(bytes))
    }

    fn relocate(&self, bytes: &mut [u8], records: &[u8], lists: bool) -> Result<(), DebugError> {
        for record in records.chunks_exact(RELA_BYTES) {
            let relocation = elf::relocation(record.try_into().expect("of that length"));
            let row = relocation.kind.row().ok_or(DebugError::Relocation)?;
            if !matches!(row.formula, Formula::Absolute | Formula::DtpOff | Formula::Nothing) {
                return Err(DebugError::Relocation);
            }
            let width = row.field.bytes();
            let at = usize::try_from(relocation.offset).map_err(|_| DebugError::Malformed)?;
            let field = at.checked_add(width).and_then(|end| bytes.get_mut(at..end)).ok_or(DebugError::Malformed)?;
            let value = match self.value(relocation.symbol)? {
                Some(value) => value.wrapping_add_signed(relocation.addend),
                None => u64::from(lists),
            };
            if row.field != Field::None {
                field.copy_from_slice(&value.to_le_bytes()[..width]);
            }
        }
        Ok(())
    }

    /// What a symbol counts as in debug information: an address, an offset in a debug section or in the thread-local
    /// block; `None` for what is not in the image.
    fn value(&self, symbol: u32) -> Result<Option<u64>, DebugError> {
        let view = self.unit.symbol(symbol).ok_or(DebugError::Malformed)?;
        let bound = self.unit.bound(symbol);
        let target = match view.home {
            Home::Section(section) => {
                let section = &self.unit.sections[section as usize];
                if section.class == crate::unit::Class::Absent {
                    return Ok(Some(view.value));
                }
                if !section.class.is_live() {
                    return Ok(None);
                }
                self.linked.section_address(section).wrapping_add(view.value)
            }
            _ if bound != crate::unit::NO_SYMBOL => {
                let target = self.linked.targets[self.linked.resolved.symbols.flat(bound)];
                match target.kind {
                    TargetKind::Gone | TargetKind::UndefinedWeak => return Ok(None),
                    TargetKind::Stubbed => target.extra,
                    _ => target.address,
                }
            }
            _ => view.value,
        };
        Ok(Some(target))
    }

    /// The position of the input in load order.
    #[must_use]
    pub fn index(&self) -> usize {
        self.id as usize
    }
}

/// `Elf64_Chdr` and what follows it (gABI, "Section Compression").
fn decompress(bytes: &[u8]) -> Result<Vec<u8>, DebugError> {
    const HEADER: usize = 24;
    const ZLIB: u32 = 1;
    const ZSTD: u32 = 2;
    if bytes.len() < HEADER {
        return Err(DebugError::Malformed);
    }
    let (header, data) = bytes.split_at(HEADER);
    let size = u64_at(header, 8);
    if size > DECOMPRESSED_LIMIT {
        return Err(DebugError::Malformed);
    }
    let mut result = Vec::new();
    let done = match u32_at(header, 0) {
        ZLIB => flate2::read::ZlibDecoder::new(data).take(size).read_to_end(&mut result).is_ok(),
        ZSTD => match ruzstd::decoding::StreamingDecoder::new(data) {
            Ok(decoder) => decoder.take(size).read_to_end(&mut result).is_ok(),
            Err(_) => false,
        },
        _ => false,
    };
    if done && result.len() as u64 == size { Ok(result) } else { Err(DebugError::Malformed) }
}
