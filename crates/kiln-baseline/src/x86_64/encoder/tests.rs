//! Every form of operand and every function that makes bytes, read back by LLVM's disassembler.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// What `llvm-mc-22` makes of the code, one instruction per line.
fn disassemble(code: &[u8]) -> Vec<String> {
    let mut child = Command::new("llvm-mc-22")
        .args(["--disassemble", "--triple=x86_64", "--output-asm-variant=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("llvm-mc-22");
    let text: Vec<String> = code.iter().map(|byte| format!("0x{byte:02x}")).collect();
    child.stdin.take().expect("piped").write_all(text.join(" ").as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with('.'))
        .collect()
}

fn check(emit: impl FnOnce(&mut Encoder), expected: &[&str]) {
    let mut asm = Encoder::default();
    emit(&mut asm);
    asm.resolve_jumps();
    assert_eq!(disassemble(&asm.code), expected);
}

const R8: Gpr = Gpr(8);
const R12: Gpr = Gpr(12);
const R13: Gpr = Gpr(13);
const R15: Gpr = Gpr(15);

#[test]
fn memory_operands() {
    let index =
        |base: Gpr, index: Gpr, scale: u8, disp: i32| Mem { base: Base::Reg(base), index: Some((index, scale)), disp };
    check(
        |asm| {
            for base in [RAX, RSP, RBP, R12, R13] {
                for disp in [0, 8, -128, 128] {
                    asm.load(RCX, &Mem::reg(base, disp), 8);
                }
            }
            for base in [RAX, RSP, RBP, R12, R13] {
                asm.load(RCX, &index(base, R12, 3, 0), 4);
                asm.load(RCX, &index(base, RBP, 0, -4), 4);
                asm.load(RCX, &index(base, RDI, 1, 1000), 4);
            }
            asm.load(RCX, &Mem { base: Base::None, index: None, disp: 64 }, 8);
            asm.load(RCX, &Mem { base: Base::None, index: Some((R8, 2)), disp: 64 }, 8);
        },
        &[
            "mov rcx, qword ptr [rax]",
            "mov rcx, qword ptr [rax + 8]",
            "mov rcx, qword ptr [rax - 128]",
            "mov rcx, qword ptr [rax + 128]",
            "mov rcx, qword ptr [rsp]",
            "mov rcx, qword ptr [rsp + 8]",
            "mov rcx, qword ptr [rsp - 128]",
            "mov rcx, qword ptr [rsp + 128]",
            "mov rcx, qword ptr [rbp]",
            "mov rcx, qword ptr [rbp + 8]",
            "mov rcx, qword ptr [rbp - 128]",
            "mov rcx, qword ptr [rbp + 128]",
            "mov rcx, qword ptr [r12]",
            "mov rcx, qword ptr [r12 + 8]",
            "mov rcx, qword ptr [r12 - 128]",
            "mov rcx, qword ptr [r12 + 128]",
            "mov rcx, qword ptr [r13]",
            "mov rcx, qword ptr [r13 + 8]",
            "mov rcx, qword ptr [r13 - 128]",
            "mov rcx, qword ptr [r13 + 128]",
            "mov ecx, dword ptr [rax + 8*r12]",
            "mov ecx, dword ptr [rax + rbp - 4]",
            "mov ecx, dword ptr [rax + 2*rdi + 1000]",
            "mov ecx, dword ptr [rsp + 8*r12]",
            "mov ecx, dword ptr [rsp + rbp - 4]",
            "mov ecx, dword ptr [rsp + 2*rdi + 1000]",
            "mov ecx, dword ptr [rbp + 8*r12]",
            "mov ecx, dword ptr [rbp + rbp - 4]",
            "mov ecx, dword ptr [rbp + 2*rdi + 1000]",
            "mov ecx, dword ptr [r12 + 8*r12]",
            "mov ecx, dword ptr [r12 + rbp - 4]",
            "mov ecx, dword ptr [r12 + 2*rdi + 1000]",
            "mov ecx, dword ptr [r13 + 8*r12]",
            "mov ecx, dword ptr [r13 + rbp - 4]",
            "mov ecx, dword ptr [r13 + 2*rdi + 1000]",
            "mov rcx, qword ptr [64]",
            "mov rcx, qword ptr [4*r8 + 64]",
        ],
    );
}

#[test]
fn widths_and_byte_registers() {
    check(
        |asm| {
            for bytes in [1, 2, 4, 8] {
                asm.store(&Mem::reg(RSI, 0), RDI, bytes);
                asm.store(&Mem::reg(RSI, 0), R15, bytes);
                asm.load(RDI, &Mem::reg(R15, 0), bytes);
                asm.alu_rr(Alu::Cmp, RSI, RDI, bytes);
                asm.alu_ri(Alu::Add, RSI, 1, bytes);
                asm.alu_ri(Alu::Xor, R15, -2, bytes);
                asm.alu_mi(Alu::Cmp, &Mem::reg(RAX, 4), 100, bytes);
                asm.store_imm(&Mem::reg(RAX, 4), -1, bytes);
                asm.test(RSI, RSI, bytes);
                asm.unary(3, RSI, bytes);
                asm.shift_cl(Shift::Sar, RDI, bytes);
                asm.shift_imm(Shift::Rol, RDI, 3, bytes);
            }
            asm.alu_ri(Alu::Sub, RCX, 1000, 2);
            asm.alu_ri(Alu::Sub, RCX, 100_000, 4);
            asm.alu_ri(Alu::Sub, RCX, -100_000, 8);
            asm.alu_mi(Alu::And, &Mem::reg(RSP, 0), 1000, 2);
            asm.setcc(Cond::E, RSI);
            asm.setcc(Cond::A, RAX);
            asm.test_i8(RDI, 1);
            asm.movzx(RAX, RSI, 1);
            asm.movzx(RAX, RSI, 2);
            asm.movzx(RAX, RSI, 4);
            asm.movsx(RAX, RSI, 1, true);
            asm.movsx(RAX, RSI, 2, false);
            asm.movsx(R8, RSI, 4, true);
        },
        &[
            "mov byte ptr [rsi], dil",
            "mov byte ptr [rsi], r15b",
            "movzx edi, byte ptr [r15]",
            "cmp sil, dil",
            "add sil, 1",
            "xor r15b, -2",
            "cmp byte ptr [rax + 4], 100",
            "mov byte ptr [rax + 4], -1",
            "test sil, sil",
            "neg sil",
            "sar dil, cl",
            "rol dil, 3",
            "mov word ptr [rsi], di",
            "mov word ptr [rsi], r15w",
            "movzx edi, word ptr [r15]",
            "cmp si, di",
            "add si, 1",
            "xor r15w, -2",
            "cmp word ptr [rax + 4], 100",
            "mov word ptr [rax + 4], 65535",
            "test si, si",
            "neg si",
            "sar di, cl",
            "rol di, 3",
            "mov dword ptr [rsi], edi",
            "mov dword ptr [rsi], r15d",
            "mov edi, dword ptr [r15]",
            "cmp esi, edi",
            "add esi, 1",
            "xor r15d, -2",
            "cmp dword ptr [rax + 4], 100",
            "mov dword ptr [rax + 4], 4294967295",
            "test esi, esi",
            "neg esi",
            "sar edi, cl",
            "rol edi, 3",
            "mov qword ptr [rsi], rdi",
            "mov qword ptr [rsi], r15",
            "mov rdi, qword ptr [r15]",
            "cmp rsi, rdi",
            "add rsi, 1",
            "xor r15, -2",
            "cmp qword ptr [rax + 4], 100",
            "mov qword ptr [rax + 4], -1",
            "test rsi, rsi",
            "neg rsi",
            "sar rdi, cl",
            "rol rdi, 3",
            "sub cx, 1000",
            "sub ecx, 100000",
            "sub rcx, -100000",
            "and word ptr [rsp], 1000",
            "sete sil",
            "seta al",
            "test dil, 1",
            "movzx eax, sil",
            "movzx eax, si",
            "mov eax, esi",
            "movsx rax, sil",
            "movsx eax, si",
            "movsxd r8, esi",
        ],
    );
}

#[test]
fn constants_and_floating_point() {
    check(
        |asm| {
            asm.mov_imm(RAX, 0);
            asm.mov_imm(R8, 0xffff_ffff);
            asm.mov_imm(RCX, u64::MAX);
            asm.mov_imm(R15, 0x1234_5678_9abc_def0);
            asm.imul(RAX, R8, true);
            asm.imul_imm(RAX, RCX, 5, false);
            asm.imul_imm(R8, RCX, 500, true);
            asm.cmov(Cond::LE, RAX, R8, true);
            asm.movaps(Xmm(1), Xmm(9));
            for bytes in [4, 8, 16] {
                asm.load_xmm(Xmm(8), &Mem::reg(RAX, 0), bytes);
                asm.store_xmm(&Mem::reg(R13, 0), Xmm(7), bytes);
            }
            asm.gpr_to_xmm(Xmm(2), R8, true);
            asm.gpr_to_xmm(Xmm(2), RAX, false);
            asm.xmm_to_gpr(RAX, Xmm(12), true);
            asm.xmm_to_gpr(RAX, Xmm(2), false);
            asm.rr(Op::three38(0x00).p66(), 1, 2);
            asm.rr_i8(Op::two(0x70).p66(), 1, 9, 0x1b);
            asm.raw(&[0x55]);
            asm.raw(&[0x41, 0x57]);
            asm.ud2();
        },
        &[
            "mov eax, 0",
            "mov r8d, 4294967295",
            "mov rcx, -1",
            "movabs r15, 1311768467463790320",
            "imul rax, r8",
            "imul eax, ecx, 5",
            "imul r8, rcx, 500",
            "cmovle rax, r8",
            "movaps xmm1, xmm9",
            "movss xmm8, dword ptr [rax]",
            "movss dword ptr [r13], xmm7",
            "movsd xmm8, qword ptr [rax]",
            "movsd qword ptr [r13], xmm7",
            "movups xmm8, xmmword ptr [rax]",
            "movups xmmword ptr [r13], xmm7",
            "movq xmm2, r8",
            "movd xmm2, eax",
            "movq rax, xmm12",
            "movd eax, xmm2",
            "pshufb xmm1, xmm2",
            "pshufd xmm1, xmm9, 27",
            "push rbp",
            "push r15",
            "ud2",
        ],
    );
}

#[test]
fn fused_multiplication() {
    check(
        |asm| {
            asm.multiply_add(Xmm(1), Xmm(2), Xmm(3), 4, true);
            asm.multiply_add(Xmm(9), Xmm(12), Xmm(14), 8, true);
            asm.multiply_add(Xmm(9), Xmm(0), Xmm(1), 4, false);
            asm.multiply_add(Xmm(1), Xmm(13), Xmm(10), 8, false);
        },
        &[
            "vfmadd213ss xmm1, xmm2, xmm3",
            "vfmadd213sd xmm9, xmm12, xmm14",
            "vfmadd213ps xmm9, xmm0, xmm1",
            "vfmadd213pd xmm1, xmm13, xmm10",
        ],
    );
}

#[test]
fn jumps() {
    check(
        |asm| {
            let (back, ahead) = (asm.label(), asm.label());
            asm.bind(back);
            asm.jcc(Cond::E, ahead);
            asm.jmp(back);
            asm.jcc(Cond::L, back);
            let skip = asm.skip(Cond::P);
            asm.nops(3);
            asm.land(skip);
            asm.bind(ahead);
            asm.nops(200);
            asm.jmp(back);
        },
        &[
            &["je 9", "jmp -8", "jl -10", "jp 3", "nop dword ptr [rax]"][..],
            &["nop word ptr [rax + rax]"; 22],
            &["nop", "jmp -220"],
        ]
        .concat(),
    );
}

#[test]
fn no_displacement_of_a_call_crosses_a_word() {
    for before in 0..16 {
        let mut asm = Encoder::default();
        asm.nops(before);
        asm.branch(0xe8, Target::Symbol(0), RelocationKind::PLT32);
        let at = asm.references[0].offset;
        assert_eq!(at / 8, (at + 3) / 8, "after {before} bytes");
        assert_eq!(asm.code[at as usize - 1], 0xe8);
    }
}

#[test]
fn references_count_from_the_end_of_the_instruction() {
    let mut asm = Encoder::default();
    asm.rm_i32(Op::sized(0xc7, 4), 0, &Mem::rip(Target::Symbol(3), RelocationKind::PC32, 16), 7);
    let Reference { offset, target, addend, .. } = asm.references[0];
    // c7 05 <4 bytes> 07 00 00 00
    assert_eq!((offset, target, addend), (2, Target::Symbol(3), 16 - 8));
    assert_eq!(asm.code.len(), 10);
}
