//! Hand-made functions with hand-made unwind entries.

use kiln_abi::{ExecutorAddr, FdeEntry, Permission, Segment};
use kiln_codecache::{CodeCache, Place, Published, Records};

/// A function that calls the function it is given.
pub(crate) const CALL_IT: [u8; 11] = [
    0x48, 0x83, 0xec, 0x08, // sub $8, %rsp
    0xff, 0xd7, // call *%rdi
    0x48, 0x83, 0xc4, 0x08, // add $8, %rsp
    0xc3, // ret
];

/// Bytes of a CIE and an FDE for [`CALL_IT`].
pub(crate) const FRAME_BYTES: usize = 24 + 24;

/// The `.eh_frame` of [`CALL_IT`] at `code`, itself at `at` (LSB 5.0 Core §10.6); the FDE is its second half.
pub(crate) fn eh_frame(at: ExecutorAddr, code: ExecutorAddr) -> [u8; FRAME_BYTES] {
    let mut bytes = [0; FRAME_BYTES];
    bytes[..24].copy_from_slice(&[
        20, 0, 0, 0, // length
        0, 0, 0, 0, // CIE
        1, b'z', b'R', 0, // version, augmentation
        1, 0x78, 16, // code alignment 1, data alignment -8, return address in column 16
        1, 0x1b, // augmentation data: pointers are pcrel sdata4
        0x0c, 7, 8, // DW_CFA_def_cfa rsp + 8
        0x90, 1, // DW_CFA_offset column 16 at CFA - 8
        0, 0, // DW_CFA_nop
    ]);
    bytes[24..48].copy_from_slice(&[
        20, 0, 0, 0, // length
        28, 0, 0, 0, // distance to the CIE
        0, 0, 0, 0, // pc_begin, below
        11, 0, 0, 0,    // pc_range
        0,    // augmentation data
        0x44, // DW_CFA_advance_loc 4
        0x0e, 16, // DW_CFA_def_cfa_offset 16
        0, 0, 0, 0, // DW_CFA_nop
    ]);
    let pc_begin = code.offset_from(at + 32) as i32;
    bytes[32..36].copy_from_slice(&pc_begin.to_le_bytes());
    bytes
}

/// Publishes one [`CALL_IT`], its code padded to `code_bytes`.
pub(crate) fn publish(cache: &CodeCache, code_bytes: u64) -> Published {
    let code = Segment { permission: Permission::Code, size: code_bytes, align: 16 };
    let frame = Segment { permission: Permission::ReadOnly, size: FRAME_BYTES as u64, align: 8 };
    let mut reservation = cache.reserve(&[(code, Place::Anywhere), (frame, Place::Anywhere)]).unwrap();
    let (at, frame_at) = (reservation.segment(0), reservation.segment(1));
    reservation.working(0)[..CALL_IT.len()].copy_from_slice(&CALL_IT);
    reservation.working(1).copy_from_slice(&eh_frame(frame_at, at));
    let entry = FdeEntry { pc_begin: at, pc_bytes: CALL_IT.len() as u64, fde: frame_at + 24 };
    reservation.publish(Records::new().unwind(vec![entry])).unwrap()
}

/// [`CALL_IT`] as a function.
pub(crate) fn function(published: &Published) -> extern "C-unwind" fn(extern "C-unwind" fn()) {
    // SAFETY: `published` came from `publish`, so that this is the address of code with this signature.
    unsafe { std::mem::transmute(published.address(0).get() as usize) }
}
