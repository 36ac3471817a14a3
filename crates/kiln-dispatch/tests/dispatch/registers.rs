//! What a first call preserves.

use crate::rig::{self, Memory};
use std::arch::x86_64::_fxsave64;
use std::arch::{asm, naked_asm};
use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::sync::Mutex;

/// Everything a function can be handed.
#[repr(C, align(64))]
#[derive(Clone)]
struct State {
    zmm: [[u64; 8]; 32],
    fx: [u8; 512],
    k: [u64; 8],
    /// rax rbx rcx rdx rsi rdi rbp r8 … r15, rsp, flags
    general: [u64; 17],
    target: usize,
    vectors: usize,
}

#[repr(transparent)]
struct Shared(UnsafeCell<State>);
// SAFETY: all users hold `IN_USE`.
unsafe impl Sync for Shared {}

const EMPTY: State = State { zmm: [[0; 8]; 32], fx: [0; 512], k: [0; 8], general: [0; 17], target: 0, vectors: 0 };
static IN: Shared = Shared(UnsafeCell::new(EMPTY));
static OUT: Shared = Shared(UnsafeCell::new(EMPTY));
static IN_USE: Mutex<()> = Mutex::new(());

/// Loads the registers from `IN`, calls its target, and comes back with the callee-saved ones intact.
#[unsafe(naked)]
unsafe extern "C" fn call_with_registers() {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "fxrstor64 [rip + {IN} + {fx}]",
        "call [rip + {IN} + {vectors}]",
        "push qword ptr [rip + {IN} + {general} + 128]",
        "popfq",
        "mov rax, [rip + {IN} + {general} + 0]",
        "mov rbx, [rip + {IN} + {general} + 8]",
        "mov rcx, [rip + {IN} + {general} + 16]",
        "mov rdx, [rip + {IN} + {general} + 24]",
        "mov rsi, [rip + {IN} + {general} + 32]",
        "mov rdi, [rip + {IN} + {general} + 40]",
        "mov rbp, [rip + {IN} + {general} + 48]",
        "mov r8, [rip + {IN} + {general} + 56]",
        "mov r9, [rip + {IN} + {general} + 64]",
        "mov r10, [rip + {IN} + {general} + 72]",
        "mov r11, [rip + {IN} + {general} + 80]",
        "mov r12, [rip + {IN} + {general} + 88]",
        "mov r13, [rip + {IN} + {general} + 96]",
        "mov r14, [rip + {IN} + {general} + 104]",
        "mov r15, [rip + {IN} + {general} + 112]",
        "call [rip + {IN} + {target}]",
        "cld",
        "fninit",
        "mov dword ptr [rsp], 0x1f80",
        "ldmxcsr [rsp]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        IN = sym IN,
        vectors = const offset_of!(State, vectors),
        fx = const offset_of!(State, fx),
        general = const offset_of!(State, general),
        target = const offset_of!(State, target),
    );
}

/// A body that stores the registers to `OUT`.
#[unsafe(naked)]
unsafe extern "C" fn record() {
    naked_asm!(
        "mov [rip + {OUT} + {general} + 0], rax",
        "mov [rip + {OUT} + {general} + 8], rbx",
        "mov [rip + {OUT} + {general} + 16], rcx",
        "mov [rip + {OUT} + {general} + 24], rdx",
        "mov [rip + {OUT} + {general} + 32], rsi",
        "mov [rip + {OUT} + {general} + 40], rdi",
        "mov [rip + {OUT} + {general} + 48], rbp",
        "mov [rip + {OUT} + {general} + 56], r8",
        "mov [rip + {OUT} + {general} + 64], r9",
        "mov [rip + {OUT} + {general} + 72], r10",
        "mov [rip + {OUT} + {general} + 80], r11",
        "mov [rip + {OUT} + {general} + 88], r12",
        "mov [rip + {OUT} + {general} + 96], r13",
        "mov [rip + {OUT} + {general} + 104], r14",
        "mov [rip + {OUT} + {general} + 112], r15",
        "mov [rip + {OUT} + {general} + 120], rsp",
        "pushfq",
        "pop qword ptr [rip + {OUT} + {general} + 128]",
        "fxsave64 [rip + {OUT} + {fx}]",
        "jmp [rip + {OUT} + {vectors}]",
        OUT = sym OUT,
        general = const offset_of!(State, general),
        fx = const offset_of!(State, fx),
        vectors = const offset_of!(State, vectors),
    );
}

/// A naked function that does `$each` for every vector register and then `$more`.
macro_rules! vectors {
    ($name:ident, $state:ident, $registers:literal, $each:literal $(, $more:literal)*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                concat!(".irp n,", $registers), $each, ".endr",
                $($more,)*
                "ret /* {k} */",
                STATE = sym $state, zmm = const offset_of!(State, zmm), k = const offset_of!(State, k),
            );
        }
    };
}

vectors!(load_xmm, IN, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "movups xmm\\n, [rip + {STATE} + {zmm} + 64*\\n]");
vectors!(save_xmm, OUT, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "movups [rip + {STATE} + {zmm} + 64*\\n], xmm\\n");
vectors!(load_ymm, IN, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "vmovdqu ymm\\n, [rip + {STATE} + {zmm} + 64*\\n]");
vectors!(save_ymm, OUT, "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "vmovdqu [rip + {STATE} + {zmm} + 64*\\n], ymm\\n");
vectors!(
    load_zmm,
    IN,
    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovdqu64 zmm\\n, [rip + {STATE} + {zmm} + 64*\\n]",
    ".irp n,0,1,2,3,4,5,6,7",
    "kmovq k\\n, [rip + {STATE} + {k} + 8*\\n]",
    ".endr"
);
vectors!(
    save_zmm,
    OUT,
    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "vmovdqu64 [rip + {STATE} + {zmm} + 64*\\n], zmm\\n",
    ".irp n,0,1,2,3,4,5,6,7",
    "kmovq [rip + {STATE} + {k} + 8*\\n], k\\n",
    ".endr"
);

/// Puts something else into every register that a resolver may change.
fn trash_registers() {
    // SAFETY: all that changes is declared; the x87 stack is emptied again and the modes are set back.
    unsafe {
        asm!(
            "pcmpeqb xmm0, xmm0", "movaps xmm1, xmm0", "movaps xmm2, xmm0", "movaps xmm3, xmm0", "movaps xmm4, xmm0",
            "movaps xmm5, xmm0", "movaps xmm6, xmm0", "movaps xmm7, xmm0", "movaps xmm8, xmm0", "movaps xmm9, xmm0",
            "movaps xmm10, xmm0", "movaps xmm11, xmm0", "movaps xmm12, xmm0", "movaps xmm13, xmm0",
            "movaps xmm14, xmm0", "movaps xmm15, xmm0", "fldpi", "fldpi", "fldpi", "fldpi", "fldpi", "fldpi", "fldpi", "fldpi", "fninit",
            out("rax") _, out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _, clobber_abi("C"),
        );
    }
    if is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor has AVX-512; as above.
        unsafe {
            asm!(
                concat!(
                    ".irp n,",
                    "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"
                ),
                "vpternlogd zmm\\n, zmm\\n, zmm\\n, 255",
                ".endr",
                concat!(".irp n,", "0,1,2,3,4,5,6,7"),
                "kxnorq k\\n, k\\n, k\\n",
                ".endr",
                "vzeroupper",
                clobber_abi("C"),
            );
        }
    } else if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX.
        unsafe { asm!("vzeroall", clobber_abi("C")) };
    }
    // SAFETY: the thread's own variable.
    unsafe { *libc::__errno_location() = 77 };
}

/// MXCSR, x87 control word and x87 tag byte (empty: 0) right now.
fn modes() -> (u32, u16, u8) {
    #[repr(C, align(16))]
    struct Image([u8; 512]);
    let mut image = Image([0; 512]);
    // SAFETY: 512 bytes aligned to 16.
    unsafe { _fxsave64(image.0.as_mut_ptr()) };
    let image = image.0;
    (u32::from_le_bytes(image[24..28].try_into().unwrap()), u16::from_le_bytes([image[0], image[1]]), image[4])
}

const MXCSR_FLUSH_ROUND_UP: u32 = 0xdfc0 & !0x2000;
const CONTROL_DOUBLE_DOWN: u16 = 0x067f;

/// Registers full of values that all differ, modes that nobody has, three values on the x87 stack, direction flag set.
fn full() -> State {
    let mut state = EMPTY;
    let mut next = 0x0102_0304_0506_0708u64;
    let mut number = || {
        next = next.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        next
    };
    state.zmm.iter_mut().flatten().for_each(|word| *word = number());
    state.k.iter_mut().for_each(|word| *word = number());
    state.general.iter_mut().for_each(|word| *word = number());
    state.general[15] = 0;
    // Interrupts and the always-set bit, then direction, overflow, sign, parity and carry.
    state.general[16] = 0x202 | 0x400 | 0x800 | 0x80 | 0x4 | 0x1;
    state.fx[0..2].copy_from_slice(&CONTROL_DOUBLE_DOWN.to_le_bytes());
    state.fx[2..4].copy_from_slice(&(5u16 << 11).to_le_bytes()); // top of stack: 5
    state.fx[4] = 0b1110_0000; // registers 5, 6 and 7 hold something
    state.fx[24..28].copy_from_slice(&MXCSR_FLUSH_ROUND_UP.to_le_bytes());
    for st in 0..3u8 {
        // 1.m * 2^st: sign and exponent, then a significand with its integer bit.
        let place = 32 + 16 * usize::from(st);
        state.fx[place..place + 8].copy_from_slice(&(number() | 1 << 63).to_le_bytes());
        state.fx[place + 8..place + 10].copy_from_slice(&(0x3fff + u16::from(st)).to_le_bytes());
    }
    state
}

/// Calls the stub of a new function with `full()` registers; what the body saw.
fn first_call(load: unsafe extern "C" fn(), save: unsafe extern "C" fn()) -> (State, State) {
    let memory = Memory::two_views(1 << 20);
    let (table, function) = rig::function(memory, move || {
        // The engine's code runs with the modes that compiled code expects, whatever the program set.
        assert_eq!(modes(), (0x1f80, 0x37f, 0));
        trash_registers();
        memory.native(record as *const () as usize)
    });
    let _guard = IN_USE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut input = full();
    input.target = table.stub(function).get() as usize;
    input.vectors = load as *const () as usize;
    let mut results = Vec::new();
    for _ in ["first call, through the trampoline", "second call, straight to the body"] {
        // SAFETY: the lock is held; the assembly reads and writes the two statics only and follows the ABI.
        unsafe {
            IN.0.get().write(input.clone());
            OUT.0.get().write(State { vectors: save as *const () as usize, ..EMPTY });
            *libc::__errno_location() = 33;
            call_with_registers();
            assert_eq!(*libc::__errno_location(), 33);
            results.push((*OUT.0.get()).clone());
        }
    }
    let second = results.pop().unwrap();
    let first = results.pop().unwrap();
    assert_eq!(first.general[15], second.general[15], "stack pointer");
    assert_eq!(first.general, second.general);
    assert_eq!(first.fx[..5], second.fx[..5]);
    assert_eq!(first.fx[24..416], second.fx[24..416]);
    (input, first)
}

fn check_common(input: &State, output: &State) {
    assert_eq!(input.general[..15], output.general[..15]);
    assert_eq!(input.general[16], output.general[16], "flags");
    assert_eq!(input.fx[..2], output.fx[..2], "x87 control word");
    assert_eq!(input.fx[2..4], output.fx[2..4], "x87 status word");
    assert_eq!(input.fx[4], output.fx[4], "x87 tags");
    assert_eq!(input.fx[24..28], output.fx[24..28], "MXCSR");
    for st in 0..3 {
        let place = 32 + 16 * st;
        assert_eq!(input.fx[place..place + 10], output.fx[place..place + 10], "st({st})");
    }
}

#[test]
fn trap_12_a_first_call_preserves_general_x87_and_xmm_registers_modes_and_errno() {
    let (input, output) = first_call(load_xmm, save_xmm);
    check_common(&input, &output);
    for n in 0..16 {
        assert_eq!(input.zmm[n][..2], output.zmm[n][..2], "xmm{n}");
    }
}

#[test]
fn trap_12_a_first_call_preserves_ymm_registers() {
    if !is_x86_feature_detected!("avx") {
        println!("skipped: this processor has no AVX");
        return;
    }
    let (input, output) = first_call(load_ymm, save_ymm);
    check_common(&input, &output);
    for n in 0..16 {
        assert_eq!(input.zmm[n][..4], output.zmm[n][..4], "ymm{n}");
    }
}

#[test]
fn trap_12_a_first_call_preserves_zmm_and_mask_registers() {
    if !is_x86_feature_detected!("avx512bw") {
        println!("skipped: this processor has no AVX-512");
        return;
    }
    let (input, output) = first_call(load_zmm, save_zmm);
    check_common(&input, &output);
    for n in 0..32 {
        assert_eq!(input.zmm[n], output.zmm[n], "zmm{n}");
    }
    assert_eq!(input.k, output.k);
}

/// Runs `function` on the stack that ends at `top`.
#[unsafe(naked)]
unsafe extern "C" fn on_stack(function: usize, top: *mut u8) -> u32 {
    naked_asm!("push rbp", "mov rbp, rsp", "mov rsp, rsi", "call rdi", "mov rsp, rbp", "pop rbp", "ret");
}

#[test]
fn trap_12_a_first_call_takes_less_than_256_bytes_of_the_callers_stack() {
    const PAINT: u8 = 0xa5;
    let memory = Memory::two_views(1 << 20);
    let (table, function) = rig::function(memory, move || memory.returns(9));
    let mut stack = vec![PAINT; 64 << 10];
    let top = stack.as_mut_ptr_range().end.map_addr(|end| end & !15);
    // SAFETY: the stack is big enough; the body touches none of it beyond its return address.
    assert_eq!(unsafe { on_stack(table.stub(function).get() as usize, top) }, 9);
    let untouched = stack.iter().position(|byte| *byte != PAINT).unwrap();
    let used = stack.len() - untouched;
    println!("{used} bytes used");
    assert!(used <= 256, "{used}");
}

/// The trampoline's only way out is the instruction that also serialises, so that a body that was waited for, or
/// written by this very thread through another view, is fetched anew.
#[test]
fn trap_01_the_trampoline_leaves_by_a_serialising_instruction() {
    const IRETQ: [u8; 2] = [0x48, 0xcf];
    let memory = Memory::two_views(1 << 20);
    let (table, function) = rig::function(memory, move || memory.returns(1));
    // The entry code before the first stub holds the trampoline's address in its last word.
    let entry = table.stub(function).get() as usize - 8;
    // SAFETY: inside the stub block.
    let trampoline: usize = unsafe { std::ptr::with_exposed_provenance::<usize>(entry).read() };
    let output = std::process::Command::new("llvm-objdump-22")
        .args(["-d", "--no-show-raw-insn", "--x86-asm-syntax=intel", "--disassemble-symbols=kiln_dispatch_trampoline"])
        .arg(std::env::current_exe().unwrap())
        .output()
        .expect("llvm-objdump-22 is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let exits: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.split_once(":\t").or_else(|| line.split_once(": ")).map(|(_, instruction)| instruction.trim())
        })
        .filter(|i| {
            i.starts_with("ret")
                || i.starts_with("iret")
                || i.starts_with("jmp\t") && i.contains('[')
                || i.starts_with("sysret")
        })
        .collect();
    assert_eq!(exits, ["iretq"], "{text}");
    // And it is this very code that stubs lead to.
    // SAFETY: the trampoline's code is longer than this.
    let code: &[u8] = unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(trampoline), 512) };
    assert!(code.windows(2).any(|bytes| bytes == IRETQ));
}
