//! The trampoline: from a stub to the resolver and on to the body.
//!
//! A stub that leads nowhere yet calls its block's entry code, which pushes the chunk and jumps here, so that with S
//! for the stack pointer as the trampoline finds it:
//!
//! ```text
//! S+16  return address of the program's call      S+8  stub + 13      S+0  chunk
//! ```
//!
//! Everything else is as at the entry of a function, and that is how the body must find it, with the stack pointer
//! at S+16. Saved and restored are all general registers (`rax` counts vector arguments, `r10` is the static chain, the
//! others hold arguments or belong to the caller), flags, and what [`XState`](super::xstate::XState) says: x87 with its
//! stack, MXCSR, vector and mask registers. 136 bytes of the caller's stack are used: a signal handler on a
//! tiny alternate stack has them.
//!
//! 1. Save the general registers and flags. Block all signals, the two that glibc keeps for itself too, with a
//!    bare system call (libc's would leave those out): from here on no handler can run on this thread and find it
//!    holding a lock or a stack. Errors are ignored: a sandbox that refuses would be no better off without us.
//! 2. Take a stack. A set bit is a taken stack. If all are: announce a sleeper, read the counter of returns, look at
//!    the bits once more, and sleep on the counter. The partner, step 6, clears its bit before it looks for sleepers,
//!    and locked instructions are full barriers: either we see the bit or it sees us and counts up, and then the
//!    system call, which compares the counter, does not fall asleep.
//! 3. On the new stack, save the vector and x87 state and set the modes that compiled Rust expects. The program's stack
//!    pointer goes where XSAVE and FXSAVE leave 48 bytes to software (Intel SDM vol. 1 §13.4.1): scans of stacks look for
//!    it there.
//! 4. Call [`enter`]. It returns where to go.
//! 5. Restore the vector and x87 state.
//! 6. Back on the caller's stack, give the engine's stack back, and wake a sleeper if there is one.
//! 7. Restore the signal mask. Handlers of signals that came meanwhile run now, on the stack they would run on without
//!    us, and may leave by `longjmp`: nothing is held any more.
//! 8. Restore the general registers and leave by `iretq`, which loads stack pointer, flags and instruction pointer at
//!    once and serialises (Intel SDM vol. 3 §9.3, AMD APM vol. 2 §7.6.4). So a body that this thread wrote through
//!    another view, or that another thread published and this one only heard of, is fetched anew.
//!
//! Shadow stacks and indirect branch tracking are not in use for user space on the systems this runs on. With a
//! shadow stack the entry that the stub's `call` pushed would have to be dropped in step 8; with branch tracking
//! nothing changes, since no indirect branch leads to a body.
//!
//! The frame is described to unwinders as a signal frame, because its caller's stack is elsewhere and gdb believes that
//! of signal frames only. A return address of a signal frame is not taken for one past a call, so the line that gdb
//! shows for the program's function may be the one after the call.

use crate::chunk::Chunk;
use crate::fork;
use crate::index::FunctionIndex;
use crate::stack;
use crate::x86_64::xstate::XSTATE;
use kiln_abi::ExecutorAddr;
use std::sync::atomic::Ordering;

/// Where stubs that lead nowhere go, or `None` if this is not the machine for it.
pub(crate) fn trampoline() -> Option<ExecutorAddr> {
    #[cfg(target_arch = "x86_64")]
    {
        super::xstate::detect();
        let address: unsafe extern "C" fn() = host::kiln_dispatch_trampoline;
        Some(ExecutorAddr::new(address as usize as u64))
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Offset in the XSAVE area of the program's stack pointer: bytes 464 to 511 are for software.
const FOR_SOFTWARE: u64 = 464;

/// What the trampoline saves on the program's stack below the address that it keeps as the program's stack pointer.
pub(crate) const SAVED_BELOW_PROGRAM_SP: u64 = 88;

/// Where the trampoline keeps the program's stack pointer of the thread on the stack of the engine that ends at `end`.
pub(crate) fn program_sp_slot(end: u64) -> u64 {
    // Relaxed: written before there is a stub.
    ((end - XSTATE.bytes.load(Ordering::Relaxed)) & !63) + FOR_SOFTWARE
}

/// Step 4, where ThreadSanitizer watches: it does not see that who takes a stack comes after who gave it back, since
/// assembly does both.
#[cfg(kiln_tsan)]
extern "C-unwind" fn enter(chunk: &'static Chunk, resolver_return: u64) -> u64 {
    unsafe extern "C" {
        fn __tsan_acquire(address: *mut libc::c_void);
        fn __tsan_release(address: *mut libc::c_void);
    }
    let stack = crate::stack::current();
    // SAFETY: the sanitizer takes any address for the name of something.
    unsafe { __tsan_acquire(stack) };
    let target = ask(chunk, resolver_return);
    // SAFETY: as above.
    unsafe { __tsan_release(stack) };
    target
}

#[cfg(not(kiln_tsan))]
use ask as enter;

/// Step 4: asks the resolver, with what the C library keeps per thread as the program left it afterwards.
///
/// Unwinds only when the program's thread is cancelled asynchronously and the request arrives between the two calls of
/// `pthread_setcancelstate`: the second one then ends the thread, which costs one stack of the engine.
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "called by the trampoline, which runs on x86-64 only")
)]
extern "C-unwind" fn ask(chunk: &'static Chunk, resolver_return: u64) -> u64 {
    /// `PTHREAD_CANCEL_DISABLE` of `<pthread.h>`.
    const CANCEL_DISABLE: libc::c_int = 1;
    unsafe extern "C-unwind" {
        fn pthread_setcancelstate(state: libc::c_int, old: *mut libc::c_int) -> libc::c_int;
    }
    // SAFETY: always callable; the result is the thread's own variable, valid as long as the thread.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved_errno = *errno;
    let mut cancel_state = 0;
    // SAFETY: changes a word of the calling thread's; asynchronous-signal-safe in glibc. Without it, a cancellation
    // point of libc that the resolver passes would unwind through it.
    unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut cancel_state) };
    let target = resolve(chunk, ExecutorAddr::new(resolver_return));
    // SAFETY: as above; restores what the program had.
    unsafe { pthread_setcancelstate(cancel_state, &raw mut cancel_state) };
    *errno = saved_errno;
    target.get()
}

/// Not inlined and not `C-unwind`: a panic of the resolver ends the process here.
#[inline(never)]
extern "C" fn resolve(chunk: &'static Chunk, resolver_return: ExecutorAddr) -> ExecutorAddr {
    fork::reset_if_forked();
    stack::guard_current();
    let function = FunctionIndex(chunk.index_of_resolver_call(resolver_return));
    chunk.table.resolver().resolve(function)
}

#[cfg(target_arch = "x86_64")]
mod host {
    use super::{FOR_SOFTWARE, enter};
    use crate::stack::{Control, POOL, Pool, STRIDE};
    use crate::x86_64::xstate::{XSTATE, XState};
    use crate::{restore_register_state, save_register_state};
    use std::mem::offset_of;

    unsafe extern "C" {
        /// Not a function of any calling convention: only stubs lead here.
        pub(super) fn kiln_dispatch_trampoline();
    }

    std::arch::global_asm!(
        r#"
        .pushsection .rodata.kiln_dispatch_trampoline, "a", @progbits
        .balign 8
    .Lkiln_all_signals:
        .quad -1
    .Lkiln_default_mxcsr:
        .long 0x1f80
        .popsection

        .pushsection .text.kiln_dispatch_trampoline, "ax", @progbits
        .balign 64
        .globl kiln_dispatch_trampoline
        .hidden kiln_dispatch_trampoline
        .type kiln_dispatch_trampoline, @function
    kiln_dispatch_trampoline:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_def_cfa rsp, 24

        # 1. The frame of step 8's iretq grows out of what is on the stack already:
        #    rbp+40 ss (was stub + 13), +32 rsp (was chunk), +24 rflags, +16 cs, +8 rip, +0 rbp.
        pushfq
        .cfi_adjust_cfa_offset 8
        lea     rsp, [rsp - 16]
        .cfi_adjust_cfa_offset 16
        push    rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        mov     rbp, rsp
        .cfi_def_cfa rbp, 56
        push    rax
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    r8
        push    r9
        push    r10
        push    r11
        push    rbx
        .cfi_offset rbx, -136
        push    2                       # no direction, alignment or trap flag
        popfq
        sub     rsp, 8                  # the program's signal mask
        mov     eax, {SYS_RT_SIGPROCMASK}
        mov     edi, {SIG_SETMASK}
        lea     rsi, [rip + .Lkiln_all_signals]
        mov     rdx, rsp
        mov     r10d, 8
        syscall

        # 2. rbx: the stack's number
        mov     r8, [rip + {POOL} + {POOL_CONTROL}]
    2:
        mov     rax, [r8 + {USED}]
        not     rax
        bsf     rbx, rax
        jz      3f
        lock bts qword ptr [r8 + {USED}], rbx
        jnc     5f
        jmp     2b
    3:
        lock inc dword ptr [r8 + {SLEEPERS}]
        mov     edx, [r8 + {RETURNED}]
        cmp     qword ptr [r8 + {USED}], -1
        jne     4f
        mov     eax, {SYS_FUTEX}
        lea     rdi, [r8 + {RETURNED}]
        mov     esi, {FUTEX_WAIT_PRIVATE}
        xor     r10d, r10d              # no timeout
        syscall
    4:
        lock dec dword ptr [r8 + {SLEEPERS}]
        jmp     2b

        # 3.
    5:
        lea     rax, [rbx + 1]
        imul    rax, rax, {STRIDE}
        add     rax, [rip + {POOL} + {POOL_BASE}]
        mov     rsp, rax
        sub     rsp, [rip + {XSTATE} + {XSTATE_BYTES}]
        and     rsp, -64
        mov     [rsp + {FOR_SOFTWARE}], rbp
        "#,
        save_register_state!(),
        r#"
        fninit
        ldmxcsr [rip + .Lkiln_default_mxcsr]

        # 4.
        mov     rdi, [rbp + 32]
        mov     rsi, [rbp + 40]
        call    {enter}
        mov     [rbp + 8], rax

        # 5.
        "#,
        restore_register_state!(),
        r#"
        # 6.
        lea     rsp, [rbp - 88]
        mov     r8, [rip + {POOL} + {POOL_CONTROL}]
        lock btr qword ptr [r8 + {USED}], rbx
        cmp     dword ptr [r8 + {SLEEPERS}], 0
        je      20f
        lock inc dword ptr [r8 + {RETURNED}]
        mov     eax, {SYS_FUTEX}
        lea     rdi, [r8 + {RETURNED}]
        mov     esi, {FUTEX_WAKE_PRIVATE}
        mov     edx, 1
        syscall
    20:
        mov     eax, cs
        mov     [rbp + 16], rax
        lea     rax, [rbp + 48]
        mov     [rbp + 32], rax
        mov     eax, ss
        mov     [rbp + 40], rax

        # 7.
        mov     eax, {SYS_RT_SIGPROCMASK}
        mov     edi, {SIG_SETMASK}
        mov     rsi, rsp
        xor     edx, edx
        mov     r10d, 8
        syscall

        # 8.
        add     rsp, 8
        pop     rbx
        .cfi_restore rbx
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rax
        pop     rbp
        .cfi_def_cfa rsp, 48
        .cfi_restore rbp
        iretq
        .cfi_endproc
        .size kiln_dispatch_trampoline, . - kiln_dispatch_trampoline
        .popsection
        "#,
        SYS_RT_SIGPROCMASK = const libc::SYS_rt_sigprocmask,
        SIG_SETMASK = const libc::SIG_SETMASK,
        SYS_FUTEX = const libc::SYS_futex,
        FUTEX_WAIT_PRIVATE = const libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
        FUTEX_WAKE_PRIVATE = const libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
        POOL = sym POOL,
        POOL_CONTROL = const offset_of!(Pool, control),
        POOL_BASE = const offset_of!(Pool, base),
        STRIDE = const STRIDE,
        USED = const offset_of!(Control, used),
        RETURNED = const offset_of!(Control, returned),
        SLEEPERS = const offset_of!(Control, sleepers),
        XSTATE = sym XSTATE,
        FOR_SOFTWARE = const FOR_SOFTWARE,
        XSTATE_MASK = const offset_of!(XState, mask),
        XSTATE_BYTES = const offset_of!(XState, bytes),
        enter = sym enter,
    );
}
