//! The same loop and body as everywhere here, linked into this program by the system's linker.

use super::objects::Loop;

std::arch::global_asm!(
    ".p2align 6",
    "1: lea rax, [rdi + 1]",
    "ret",
    ".p2align 6",
    ".globl kiln_bench_static_loop",
    ".hidden kiln_bench_static_loop",
    "kiln_bench_static_loop:",
    ".cfi_startproc",
    "push rbx",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbx, -16",
    "mov rbx, rdi",
    "mov rax, rsi",
    ".p2align 6",
    "2: mov rdi, rax",
    "call 1b",
    "dec rbx",
    "jne 2b",
    "pop rbx",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_endproc",
);

unsafe extern "C" {
    #[link_name = "kiln_bench_static_loop"]
    fn static_loop(calls: u64, x: u64) -> u64;
}

pub(super) const LOOP: Loop = static_loop;
