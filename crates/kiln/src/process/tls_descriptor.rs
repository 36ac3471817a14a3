//! The resolver of TLS descriptors (`-mtls-dialect=gnu2`), for variables whose blocks are made per thread.
//!
//! Code that uses descriptors (A. Oliva, G. Araujo, "Thread-Local Storage Descriptors for IA32 and AMD64/EM64T") loads
//! the address of a descriptor, two words, into `rax` and calls what the first word holds. It gets the variable's offset
//! from the thread pointer in `rax`, and expects that nothing else has changed but the flags: not one register, vector
//! registers included. The stack may have any alignment.
//!
//! What is here saves what `__tls_get_addr` may change, like the trampoline does (see [`XState`]), and calls it with the
//! second word: the linker makes that the address of the pair (module, offset).

use std::mem::offset_of;

use kiln_abi::ExecutorAddr;
use kiln_dispatch::{XSTATE, XState, restore_register_state, save_register_state};

use super::tls::tls_get_addr;

unsafe extern "C" {
    /// Not a function of C's calling convention.
    fn kiln_tls_descriptor();
}

/// The address of the resolver, for the linker.
pub(crate) fn resolver() -> ExecutorAddr {
    ExecutorAddr::new(kiln_tls_descriptor as *const () as u64)
}

std::arch::global_asm!(
    r#"
    .pushsection .text.kiln_tls_descriptor, "ax", @progbits
    .balign 32
    .globl kiln_tls_descriptor
    .hidden kiln_tls_descriptor
    .type kiln_tls_descriptor, @function
kiln_tls_descriptor:
    .cfi_startproc
    push    rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    mov     rbp, rsp
    .cfi_def_cfa_register rbp
    push    rcx
    push    rdx
    push    rsi
    push    rdi
    push    r8
    push    r9
    push    r10
    push    r11
    mov     rdi, [rax + 8]
    sub     rsp, [rip + {XSTATE} + {XSTATE_BYTES}]
    and     rsp, -64
    "#,
    save_register_state!(),
    r#"
    cld
    call    {get}
    mov     r8, rax
    "#,
    restore_register_state!(),
    r#"
    mov     rax, r8
    sub     rax, qword ptr fs:[0]
    lea     rsp, [rbp - 64]
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rdi
    pop     rsi
    pop     rdx
    pop     rcx
    pop     rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size kiln_tls_descriptor, . - kiln_tls_descriptor
    .popsection
    "#,
    XSTATE = sym XSTATE,
    XSTATE_MASK = const offset_of!(XState, mask),
    XSTATE_BYTES = const offset_of!(XState, bytes),
    get = sym tls_get_addr,
);

#[cfg(test)]
mod tests {
    use super::super::tls::{add_module, set_image};
    use super::*;

    /// Calls `descriptor` as compiled code does, on a stack of each alignment; returns the address of the variable and
    /// whether all registers have kept what they held.
    fn call(descriptor: &[u64; 4], skew: u64) -> (u64, bool) {
        let marks: [u64; 4] = [0x1111, 0x2222, 0x3333, 0x4444];
        let mut offset = descriptor.as_ptr() as u64;
        let same: u64;
        // SAFETY: the resolver keeps all registers but rax and the flags, which the block names as changed; the stack
        // pointer is put back.
        unsafe {
            std::arch::asm!(
                "push rbx",
                "mov rbx, rsp",
                "sub rsp, 128",
                "sub rsp, r12",
                "movq xmm0, rcx",
                "movq xmm15, rdx",
                "fld1",
                "call [rax]",
                "movq r10, xmm0",
                "movq r11, xmm15",
                "xor r10, rcx",
                "xor r11, rdx",
                "or r10, r11",
                "fistp qword ptr [rbx - 64]",
                "xor qword ptr [rbx - 64], 1",
                "or r10, [rbx - 64]",
                "mov rsp, rbx",
                "pop rbx",
                "xor rcx, 0x1111",
                "or r10, rcx",
                "xor rdx, 0x2222",
                "or r10, rdx",
                "xor rsi, 0x3333",
                "or r10, rsi",
                "xor rdi, 0x4444",
                "or r10, rdi",
                "xor r8, 0x5555",
                "or r10, r8",
                "xor r9, 0x6666",
                "or r10, r9",
                in("r12") skew,
                inout("rax") offset,
                inout("rcx") marks[0] => _,
                inout("rdx") marks[1] => _,
                inout("rsi") marks[2] => _,
                inout("rdi") marks[3] => _,
                inout("r8") 0x5555u64 => _,
                inout("r9") 0x6666u64 => _,
                out("r10") same,
                out("r11") _,
                out("xmm0") _,
                out("xmm15") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        let thread: u64;
        // SAFETY: on x86-64 Linux the first word of the thread's block is its own address.
        unsafe { std::arch::asm!("mov {}, fs:[0]", out(reg) thread, options(nostack, readonly)) };
        (offset.wrapping_add(thread), same == 0)
    }

    #[test]
    fn registers_stay_and_every_thread_finds_its_variable() {
        let module = add_module(64, 16);
        set_image(module, &[5, 6, 7]);
        let check = move || {
            let mut descriptor = [resolver().get(), 0, module, 2];
            descriptor[1] = &raw const descriptor[2] as u64;
            // The first call makes the block, the others find it.
            let found = [0, 8, 16, 24].map(|skew| call(&descriptor, skew));
            assert!(found.iter().all(|(address, same)| *same && *address == found[0].0), "{found:x?}");
            // SAFETY: the variable lies in this thread's block.
            assert_eq!(unsafe { *(found[0].0 as *const u8) }, 7);
            found[0].0
        };
        let mine = check();
        assert_ne!(mine, std::thread::spawn(check).join().unwrap());
    }
}
