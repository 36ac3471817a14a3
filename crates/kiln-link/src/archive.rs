//! Reads static archives: GNU (`/` or `/SYM64/` index, `//` long names), BSD (`__.SYMDEF`, `#1/` names) and thin ones.
//!
//! Layout (ar(5)): a magic line, then members, each a 60-byte header of ASCII fields and its bytes, padded to an even
//! offset. A thin archive holds no bytes of its ordinary members, only their paths.

use crate::names;

const HEADER_BYTES: usize = 60;

/// A rule that an archive breaks, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
}

/// One entry of the symbol index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexEntry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) hash: u32,
    /// Offset of the member's header.
    pub(crate) member: u64,
}

/// A member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: &'a [u8],
    /// `None` where a thin archive only names the file.
    pub(crate) bytes: Option<&'a [u8]>,
    next: u64,
}

pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
    thin: bool,
    long_names: &'a [u8],
    /// The index; `None` where there is none.
    pub(crate) index: Option<Vec<IndexEntry<'a>>>,
}

/// A member before its name is looked up.
struct Raw<'a> {
    name: &'a [u8],
    size: u64,
    start: usize,
}

impl<'a> Archive<'a> {
    /// Reads the index and the table of long names. `bytes` start with one of the magic lines.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut archive = Archive { bytes, thin: bytes.starts_with(b"!<thin>\n"), long_names: &[], index: None };
        let mut at = 8;
        // The tables come first, in any order that writers have used.
        while (at as usize) < bytes.len() {
            let raw = archive.raw(at)?;
            let fault = |what| Fault { offset: at, what };
            let name = raw.name;
            let special = matches!(name, b"/" | b"//" | b"/SYM64/");
            let bsd = name.starts_with(b"#1/") || name.starts_with(b"__.SYMDEF");
            if !special && !bsd {
                break;
            }
            let data = archive.stored(&raw).ok_or(fault("table lies outside the archive"))?;
            match name {
                b"//" => archive.long_names = data,
                b"/" => archive.index = Some(gnu_index::<4>(data).ok_or(fault("malformed symbol index"))?),
                b"/SYM64/" => archive.index = Some(gnu_index::<8>(data).ok_or(fault("malformed symbol index"))?),
                _ => {
                    let member = archive.member(at)?;
                    let entries = member.bytes.unwrap_or_default();
                    match member.name {
                        b"__.SYMDEF" | b"__.SYMDEF SORTED" => {
                            archive.index = Some(bsd_index::<4>(entries).ok_or(fault("malformed symbol index"))?);
                        }
                        b"__.SYMDEF_64" | b"__.SYMDEF_64 SORTED" => {
                            archive.index = Some(bsd_index::<8>(entries).ok_or(fault("malformed symbol index"))?);
                        }
                        _ => break,
                    }
                }
            }
            at = next_header(raw.start as u64, raw.size);
        }
        Ok(archive)
    }

    fn raw(&self, at: u64) -> Result<Raw<'a>, Fault> {
        let fault = |what| Fault { offset: at, what };
        let start = usize::try_from(at).map_err(|_| fault("member lies outside the archive"))?;
        let end = start.checked_add(HEADER_BYTES).ok_or(fault("member lies outside the archive"))?;
        let header = self.bytes.get(start..end).ok_or(fault("member header ends early"))?;
        if &header[58..] != b"`\n" {
            return Err(fault("no member header where one is expected"));
        }
        let size = decimal(&header[48..58]).ok_or(fault("size of a member is no number"))?;
        Ok(Raw { name: header[..16].trim_ascii_end(), size, start: end })
    }

    /// The bytes behind a header, if they lie in this file.
    fn stored(&self, raw: &Raw<'a>) -> Option<&'a [u8]> {
        self.bytes.get(raw.start..raw.start.checked_add(usize::try_from(raw.size).ok()?)?)
    }

    /// The member whose header lies at `at`.
    pub(crate) fn member(&self, at: u64) -> Result<Member<'a>, Fault> {
        let fault = |what| Fault { offset: at, what };
        let raw = self.raw(at)?;
        let special = matches!(raw.name, b"/" | b"//" | b"/SYM64/");
        if self.thin && !special {
            return Ok(Member { name: self.name(&raw, at)?, bytes: None, next: raw.start as u64 });
        }
        let data = self.stored(&raw).ok_or(fault("member lies outside the archive"))?;
        let next = next_header(raw.start as u64, raw.size);
        if let Some(length) = raw.name.strip_prefix(b"#1/") {
            // BSD: the name comes first in the data, filled up with zeros.
            let length = decimal(length).and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= data.len());
            let (name, bytes) = data.split_at(length.ok_or(fault("length of a member's name"))?);
            let end = memchr::memchr(0, name).unwrap_or(name.len());
            return Ok(Member { name: &name[..end], bytes: Some(bytes), next });
        }
        Ok(Member { name: self.name(&raw, at)?, bytes: Some(data), next })
    }

    fn name(&self, raw: &Raw<'a>, at: u64) -> Result<&'a [u8], Fault> {
        if let Some(offset) = raw.name.strip_prefix(b"/").and_then(decimal) {
            let tail = usize::try_from(offset).ok().and_then(|o| self.long_names.get(o..));
            let tail = tail.ok_or(Fault { offset: at, what: "long name lies outside its table" })?;
            let end = memchr::memchr(b'\n', tail).unwrap_or(tail.len());
            return Ok(tail[..end].strip_suffix(b"/").unwrap_or(&tail[..end]));
        }
        Ok(if raw.name.len() > 1 { raw.name.strip_suffix(b"/").unwrap_or(raw.name) } else { raw.name })
    }

    /// All ordinary members with the offsets of their headers.
    pub(crate) fn members(&self) -> impl Iterator<Item = Result<(u64, Member<'a>), Fault>> + '_ {
        let mut at = 8u64;
        std::iter::from_fn(move || {
            loop {
                if at >= self.bytes.len() as u64 {
                    return None;
                }
                let offset = at;
                let member = match self.member(offset) {
                    Ok(member) => member,
                    Err(fault) => {
                        at = u64::MAX;
                        return Some(Err(fault));
                    }
                };
                at = member.next;
                let table = matches!(member.name, b"/" | b"//" | b"/SYM64/") || member.name.starts_with(b"__.SYMDEF");
                if !table {
                    return Some(Ok((offset, member)));
                }
            }
        })
    }
}

fn next_header(start: u64, size: u64) -> u64 {
    let end = start.saturating_add(size);
    end.saturating_add(end & 1)
}

/// A decimal field, filled up with blanks.
fn decimal(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field.trim_ascii_end()).ok()?.parse().ok()
}

/// The index of a GNU archive: a count, as many big-endian offsets of `N` bytes, as many names.
fn gnu_index<const N: usize>(data: &[u8]) -> Option<Vec<IndexEntry<'_>>> {
    let word = |at: usize| {
        let bytes = data.get(at..at.checked_add(N)?)?;
        Some(bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let count = usize::try_from(word(0)?).ok()?;
    let mut table = data.get(count.checked_add(1)?.checked_mul(N)?..)?;
    if count > table.len() {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for i in 0..count {
        let (name, defined) = names::definition_at(table, 0)?;
        table = &table[name.len() + 1..];
        let name = &name[..defined];
        entries.push(IndexEntry { name, hash: names::hash(name), member: word(N * (i + 1))? });
    }
    Some(entries)
}

/// The index of a BSD archive: size of the pairs, pairs (offset of the name, offset of the member), size of the names,
/// names; little-endian words of `N` bytes.
fn bsd_index<const N: usize>(data: &[u8]) -> Option<Vec<IndexEntry<'_>>> {
    let word = |at: usize| {
        let bytes = data.get(at..at.checked_add(N)?)?;
        Some(bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let size = usize::try_from(word(0)?).ok()?;
    let names = data.get(size.checked_add(2 * N)?..)?;
    let mut entries = Vec::with_capacity(size / (2 * N));
    for i in 0..size / (2 * N) {
        let at = N + 2 * N * i;
        let (name, defined) = names::definition_at(names, u32::try_from(word(at)?).ok()?)?;
        let name = &name[..defined];
        entries.push(IndexEntry { name, hash: names::hash(name), member: word(at + N)? });
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: usize) -> Vec<u8> {
        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).into_bytes()
    }

    #[test]
    fn trap_23_empty_archive() {
        let archive = Archive::parse(b"!<arch>\n").unwrap();
        assert!(archive.index.is_none());
        assert_eq!(archive.members().count(), 0);
    }

    #[test]
    fn trap_23_bsd_names_and_index() {
        let mut bytes = b"!<arch>\n".to_vec();
        let mut index = Vec::new();
        for word in [8u32, 0, 8 + 60 + 20 + 60 - 60, 4] {
            index.extend(word.to_le_bytes());
        }
        index.extend(b"foo\0");
        bytes.extend(header("#1/12", 12 + index.len()));
        bytes.extend(b"__.SYMDEF\0\0\0");
        let at = bytes.len() + index.len();
        index[8..12].copy_from_slice(&(at as u32).to_le_bytes());
        bytes.extend(&index);
        bytes.extend(header("#1/8", 8 + 3));
        bytes.extend(b"a long.oabc");
        let archive = Archive::parse(&bytes).unwrap();
        let entry = archive.index.as_ref().unwrap()[0];
        assert_eq!((entry.name, entry.member), (&b"foo"[..], at as u64));
        let member = archive.member(entry.member).unwrap();
        assert_eq!((member.name, member.bytes), (&b"a long.o"[..], Some(&b"abc"[..])));
        assert_eq!(archive.members().count(), 1);
    }

    #[test]
    fn trap_23_sym64_index_and_long_names() {
        let mut bytes = b"!<arch>\n".to_vec();
        let mut index = Vec::new();
        index.extend(1u64.to_be_bytes());
        index.extend(0u64.to_be_bytes());
        index.extend(b"foo\0");
        let long = b"a_name_that_is_long.o/\n";
        let at = 8 + 60 + index.len() + 60 + long.len() + 1;
        index[8..16].copy_from_slice(&(at as u64).to_be_bytes());
        bytes.extend(header("/SYM64/", index.len()));
        bytes.extend(&index);
        bytes.extend(header("//", long.len()));
        bytes.extend(long);
        bytes.push(b'\n');
        assert_eq!(bytes.len(), at);
        bytes.extend(header("/0", 3));
        bytes.extend(b"abc");
        let archive = Archive::parse(&bytes).unwrap();
        assert_eq!(archive.index.as_ref().unwrap()[0].member, at as u64);
        assert_eq!(archive.member(at as u64).unwrap().name, b"a_name_that_is_long.o");
    }

    #[test]
    fn counts_are_checked_before_allocating() {
        let mut bytes = b"!<arch>\n".to_vec();
        bytes.extend(header("/", 8));
        bytes.extend(u32::MAX.to_be_bytes());
        bytes.extend([0; 4]);
        assert!(Archive::parse(&bytes).is_err());
    }
}
