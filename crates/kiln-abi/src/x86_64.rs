//! Stub encoding for x86-64.
//!
//! A stub is 16 bytes at a 16-byte aligned address, so that function pointers keep their low bits clear (the Itanium
//! C++ ABI stores a flag in bit 0 of a member function pointer):
//!
//! ```text
//! +0  E9 rel32   jmp  target        the slot: one aligned 8-byte word holds the whole jump
//! +5  CC CC CC   int3
//! +8  E8 rel32   call resolver      pushes stub+13, from which the resolver knows the function
//! +13 CC CC CC   int3
//! ```
//!
//! At first the jump leads to +8. Installing a body stores the aligned quadword at +0 once; Intel SDM vol. 3 §9.1.1 and
//! AMD APM vol. 2 §7.3.2 make an aligned 8-byte store atomic.

use crate::ExecutorAddr;

/// Bytes of one stub, also its alignment.
pub const STUB_BYTES: u64 = 16;
/// Offset of the code that enters the resolver.
pub const STUB_RESOLVE_OFFSET: u64 = 8;
/// What the resolver finds as its return address, relative to the stub.
pub const STUB_RETURN_OFFSET: u64 = 13;

const JMP_REL32: u8 = 0xe9;
const CALL_REL32: u8 = 0xe8;
const INT3: u8 = 0xcc;

/// The displacement of a 5-byte branch at `from` that leads to `to`; `None` where it does not reach.
#[must_use]
pub fn branch_displacement(from: ExecutorAddr, to: ExecutorAddr) -> Option<i32> {
    i32::try_from(to.offset_from(from + 5)).ok()
}

/// The first word of the stub at `stub` when it leads to `target`; `None` where a displacement does not reach.
#[must_use]
pub fn stub_word(stub: ExecutorAddr, target: ExecutorAddr) -> Option<u64> {
    let [a, b, c, d] = branch_displacement(stub, target)?.to_le_bytes();
    Some(u64::from_le_bytes([JMP_REL32, a, b, c, d, INT3, INT3, INT3]))
}

/// Where the first word of the stub at `stub` leads; `None` if the word is not a jump.
#[must_use]
pub fn stub_target(stub: ExecutorAddr, word: u64) -> Option<ExecutorAddr> {
    let [op, a, b, c, d, ..] = word.to_le_bytes();
    (op == JMP_REL32).then(|| stub + 5 + i64::from(i32::from_le_bytes([a, b, c, d])) as u64)
}

/// The bytes of a fresh stub at `stub` that enters `resolver`; `None` where the resolver is out of reach.
#[must_use]
pub fn fresh_stub(stub: ExecutorAddr, resolver: ExecutorAddr) -> Option<[u8; STUB_BYTES as usize]> {
    let mut bytes = [INT3; STUB_BYTES as usize];
    bytes[..8].copy_from_slice(&stub_word(stub, stub + STUB_RESOLVE_OFFSET)?.to_le_bytes());
    let [a, b, c, d] = branch_displacement(stub + STUB_RESOLVE_OFFSET, resolver)?.to_le_bytes();
    bytes[8..13].copy_from_slice(&[CALL_REL32, a, b, c, d]);
    Some(bytes)
}

/// Whether the branch displacement at `place` lies in one naturally aligned 8-byte word, so that one store can change it
/// while threads execute the branch.
#[must_use]
pub const fn is_patchable(place: ExecutorAddr) -> bool {
    place.get() % 8 <= 4
}

/// The aligned word that holds the whole displacement at `place`.
#[must_use]
pub fn displacement_word(place: ExecutorAddr) -> ExecutorAddr {
    ExecutorAddr::new(place.get() & !7)
}

/// `word`, the aligned word around the displacement at `place`, with the branch led to `target`; `None` where it does not
/// reach. Calls, jumps and conditional jumps all end with their displacement.
///
/// # Panics
///
/// If the place is not [patchable](is_patchable).
#[must_use]
pub fn patch_displacement(word: u64, place: ExecutorAddr, target: ExecutorAddr) -> Option<u64> {
    assert!(is_patchable(place), "the displacement at {place} crosses a word");
    let displacement = i32::try_from(target.offset_from(place + 4)).ok()?;
    let shift = place.get() % 8 * 8;
    Some(word & !(0xffff_ffff << shift) | u64::from(displacement.cast_unsigned()) << shift)
}

/// Where the branch leads whose displacement is at `place` in the aligned `word`.
#[must_use]
pub fn displacement_target(word: u64, place: ExecutorAddr) -> ExecutorAddr {
    let displacement = (word >> (place.get() % 8 * 8)) as u32;
    place + 4 + i64::from(displacement.cast_signed()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUB: ExecutorAddr = ExecutorAddr::new(0x1000);

    #[test]
    fn fresh_stub_bytes() {
        let bytes = fresh_stub(STUB, ExecutorAddr::new(0x2000)).unwrap();
        // 1000: e9 03 00 00 00  jmp 1008        1008: e8 f3 0f 00 00  call 2000
        assert_eq!(bytes, [0xe9, 3, 0, 0, 0, 0xcc, 0xcc, 0xcc, 0xe8, 0xf3, 0x0f, 0, 0, 0xcc, 0xcc, 0xcc]);
    }

    #[test]
    fn displacements_change_alone() {
        let word = 0x1122_3344_5566_7788;
        for offset in 0..=4 {
            let place = STUB + offset;
            for target in [0x1001u64, 0x10, 0x7fff_0000] {
                let target = ExecutorAddr::new(target);
                let patched = patch_displacement(word, place, target).unwrap();
                assert_eq!(displacement_target(patched, place), target);
                assert_eq!((patched ^ word) & !(0xffff_ffff << (offset * 8)), 0, "{patched:#x}");
            }
        }
        assert_eq!(patch_displacement(word, STUB, ExecutorAddr::new(0x1_0000_0000)), None);
        assert!((5..8).all(|offset| !is_patchable(STUB + offset)));
    }

    #[test]
    fn slot_leads_back() {
        for target in [0x1008u64, 0x10, 0x7fff_0000] {
            let target = ExecutorAddr::new(target);
            assert_eq!(stub_target(STUB, stub_word(STUB, target).unwrap()), Some(target));
        }
        assert_eq!(stub_word(STUB, ExecutorAddr::new(0x1_0000_0000)), None);
        assert_eq!(stub_target(STUB, 0x90), None);
    }
}
