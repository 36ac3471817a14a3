//! The code at the start of a stub block.

use kiln_abi::ExecutorAddr;

/// Bytes of the entry code.
pub(crate) const ENTRY_BYTES: u64 = 32;

/// What all resolver calls of one block of stubs call: it pushes the block's chunk and goes to the trampoline.
///
/// The trampoline is part of Kiln's executable, usually out of a displacement's reach, and no register is free:
///
/// ```text
/// +0  FF 35 0A 00 00 00   push qword ptr [rip + 10]   # chunk
/// +6  FF 25 0C 00 00 00   jmp  qword ptr [rip + 12]   # trampoline
/// +12 CC CC CC CC         int3
/// +16                     .quad chunk
/// +24                     .quad trampoline
/// ```
pub(crate) fn entry_code(chunk: ExecutorAddr, trampoline: ExecutorAddr) -> [u8; ENTRY_BYTES as usize] {
    let mut code = [0xcc; ENTRY_BYTES as usize];
    code[..6].copy_from_slice(&[0xff, 0x35, 0x0a, 0, 0, 0]);
    code[6..12].copy_from_slice(&[0xff, 0x25, 0x0c, 0, 0, 0]);
    code[16..24].copy_from_slice(&chunk.get().to_le_bytes());
    code[24..].copy_from_slice(&trampoline.get().to_le_bytes());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_lie_where_the_instructions_look() {
        let code = entry_code(ExecutorAddr::new(0x1122_3344_5566_7788), ExecutorAddr::new(0x99));
        let operand = |next: usize| {
            let displacement = u32::from_le_bytes(code[next - 4..next].try_into().unwrap()) as usize;
            u64::from_le_bytes(code[next + displacement..][..8].try_into().unwrap())
        };
        assert_eq!((operand(6), operand(12)), (0x1122_3344_5566_7788, 0x99));
    }
}
