//! Symbol names: where they end and how they hash.
//!
//! Hashing costs more than anything else in a large link, so it is done once per name, in the parallel phase; from then
//! on the hash travels with the name. Equal hashes are never taken for equal names.

/// The name that starts at `offset` of a string table; `None` if it does not end inside.
#[inline]
pub(crate) fn name_at(table: &[u8], offset: u32) -> Option<&[u8]> {
    let tail = table.get(offset as usize..)?;
    Some(&tail[..memchr::memchr(0, tail)?])
}

/// The same for a definition, and the length of the part that names it: `name@@VERSION` (`.symver`) defines `name`, and
/// says that this is the version that whoever asks for none gets.
#[inline]
pub(crate) fn definition_at(table: &[u8], offset: u32) -> Option<(&[u8], usize)> {
    let tail = table.get(offset as usize..)?;
    match memchr::memchr2(0, b'@', tail)? {
        end if tail[end] == 0 => Some((&tail[..end], end)),
        at => {
            let name = &tail[..memchr::memchr(0, tail)?];
            let is_default = at > 0 && name[at..].starts_with(b"@@");
            Some((name, if is_default { at } else { name.len() }))
        }
    }
}

/// The hash of a name. Not proof against an attacker who wants collisions: those cost time only.
#[inline]
#[must_use]
pub fn hash(name: &[u8]) -> u32 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |h: u64, word: u64| (h.rotate_left(23) ^ word).wrapping_mul(K);
    let mut h = (name.len() as u64).wrapping_mul(K);
    let mut words = name.chunks_exact(8);
    for word in &mut words {
        h = step(h, u64::from_le_bytes(word.try_into().expect("8 bytes")));
    }
    let mut last = [0; 8];
    let tail = words.remainder();
    last[..tail.len()].copy_from_slice(tail);
    h = step(h, u64::from_le_bytes(last));
    h ^= h >> 29;
    (h.wrapping_mul(K) >> 32) as u32
}

/// Spreads a 32-bit hash for a table that uses the top bits of 64.
#[inline]
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Whether a section of this name gets `__start_` and `__stop_` symbols: whether it is a C identifier.
pub(crate) fn is_c_identifier(name: &[u8]) -> bool {
    !name.is_empty() && !name[0].is_ascii_digit() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_inside_their_table() {
        assert_eq!(name_at(b"\0ab\0c", 1), Some(&b"ab"[..]));
        assert_eq!(name_at(b"\0ab\0c", 4), None);
        assert_eq!(name_at(b"\0ab\0c", 9), None);
        for (table, length) in
            [(&b"ab@@V1\0"[..], 2), (b"ab@V1\0", 5), (b"ab\0@@V1\0", 2), (b"@@V1\0", 4), (b"ab@@\0", 2)]
        {
            let name = name_at(table, 0).unwrap();
            assert_eq!(definition_at(table, 0), Some((name, length)), "{table:?}");
        }
        assert_eq!((definition_at(b"ab@@V1", 0), definition_at(b"ab", 0)), (None, None));
    }

    #[test]
    fn hashes_differ_for_similar_names() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..100_000 {
            seen.insert(hash(format!("_ZN4llvm5thing{n}Ev").as_bytes()));
        }
        assert!(seen.len() > 99_990, "{}", seen.len());
        assert_ne!(hash(b"a"), hash(b"a\0"));
    }
}
