//! x86-64: where registers and stacks of a thread are.
//!
//! System V psABI §3.2.2 (red zone); `struct rt_sigframe` of the kernel's arch/x86/include/asm/sigframe.h and
//! `struct ucontext_x86_64`, `struct sigcontext_64` of its uapi headers (signal frames). Peculiar here: the word of a
//! signal frame at the lowest address is where the handler returns to, libc's `__restore_rt`, and what was interrupted
//! follows right behind it. So frames can be found by that address.

/// Bytes below the stack pointer that code may use without moving it.
pub(super) const RED_ZONE: u64 = 128;

/// Words of a signal frame that [`SignalFrame::parse`] needs.
pub(super) const FRAME_WORDS: usize = 23;

/// What a signal frame says about stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignalFrame {
    /// The thread's alternate stack when the signal came.
    pub(super) alternate: (u64, u64),
    /// The stack pointer of what was interrupted.
    pub(super) interrupted_sp: u64,
}

impl SignalFrame {
    /// From the words that start with the return address. `None` if they cannot be a frame.
    ///
    /// ```text
    /// 0 return address   1 uc_flags   2 uc_link   3 ss_sp   4 ss_flags   5 ss_size   6 r8 … 13 r15
    /// 14 rdi   15 rsi   16 rbp   17 rbx   18 rdx   19 rax   20 rcx   21 rsp   22 rip
    /// ```
    pub(super) fn parse(words: &[u64; FRAME_WORDS]) -> Option<SignalFrame> {
        let end = words[3].checked_add(words[5])?;
        Some(SignalFrame { alternate: (words[3], end), interrupted_sp: words[21] })
    }
}

/// Whether a thread that sleeps in system call `number` waits there for a child that runs on its memory.
///
/// `read` reads a word of this process.
pub(super) fn waits_for_vfork(number: i64, first_argument: u64, read: impl Fn(u64) -> Option<u64>) -> bool {
    let vfork = |flags: u64| flags & libc::CLONE_VFORK as u64 != 0;
    match number {
        libc::SYS_vfork => true,
        libc::SYS_clone => vfork(first_argument),
        // The first member of `struct clone_args`. What cannot be read is taken for one.
        libc::SYS_clone3 => read(first_argument).is_none_or(vfork),
        _ => false,
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use host::{callee_saved, registers, stack_pointer, thread_pointer};

#[cfg(target_arch = "x86_64")]
mod host {
    use std::arch::asm;

    /// General registers and the instruction pointer: the first of `gregs`.
    const REGISTERS: usize = libc::REG_RIP as usize + 1;

    /// The registers that a signal interrupted.
    pub(in crate::scan) fn registers(context: &libc::ucontext_t) -> [u64; REGISTERS] {
        std::array::from_fn(|n| context.uc_mcontext.gregs[n].cast_unsigned())
    }

    /// The stack pointer that a signal interrupted.
    pub(in crate::scan) fn stack_pointer(context: &libc::ucontext_t) -> u64 {
        context.uc_mcontext.gregs[libc::REG_RSP as usize].cast_unsigned()
    }

    /// The calling thread's control block, which glibc has at the end of the thread's stack.
    pub(in crate::scan) fn thread_pointer() -> u64 {
        let pointer;
        // SAFETY: the psABI's TLS supplement has the word at fs:0 hold its own address.
        unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly, pure)) };
        pointer
    }

    /// The calling function's stack pointer and the registers that functions preserve.
    #[inline(always)]
    pub(in crate::scan) fn callee_saved() -> (u64, [u64; 6]) {
        let (sp, rbx, rbp, r12, r13, r14, r15);
        // SAFETY: copies registers.
        unsafe {
            asm!(
                "mov {0}, rsp", "mov {1}, rbx", "mov {2}, rbp",
                out(reg) sp, out(reg) rbx, out(reg) rbp,
                options(nostack, nomem, preserves_flags)
            );
            asm!(
                "mov {0}, r12", "mov {1}, r13", "mov {2}, r14", "mov {3}, r15",
                out(reg) r12, out(reg) r13, out(reg) r14, out(reg) r15,
                options(nostack, nomem, preserves_flags)
            );
        }
        (sp, [rbx, rbp, r12, r13, r14, r15])
    }
}
