//! Inline assembly: the pieces that start-up code and libraries are full of.
//!
//! Nothing is assembled. A template is known by its text, and the registers are taken from the constraints.

use kiln_bitcode::{Instruction, ValueId};

use super::encoder::{Alu, Cond};
use super::generator::{Generator, Result};
use super::registers::bit;
use crate::compiler::Unsupported;

fn unknown<T>() -> Result<T> {
    Err(Box::new(Unsupported::Instruction("inline assembly")))
}

impl Generator<'_> {
    pub(crate) fn inline_asm(
        &mut self,
        asm: &kiln_bitcode::InlineAsm,
        instruction: &Instruction,
        arguments: &[u32],
    ) -> Result<()> {
        let template: &[u8] = &asm.template;
        let constraints: &[u8] = &asm.constraints;
        let plain = constraints.split(|b| *b == b',').all(|c| c.is_empty() || c.starts_with(b"~{"));
        let trimmed = without_comment(template.trim_ascii());
        if arguments.is_empty() && self.is_void(self.body.result_type(instruction)) && plain {
            // Clobbers of registers that calls preserve would have to be kept.
            let clobbers_only_state = constraints.split(|b| *b == b',').all(is_state);
            if clobbers_only_state {
                let bytes: Option<&[u8]> = match trimmed {
                    b"" => Some(&[]),
                    b"nop" => Some(&[0x90]),
                    b"pause" | b"rep; nop" | b"rep nop" => Some(&[0xf3, 0x90]),
                    b"mfence" => Some(&[0x0f, 0xae, 0xf0]),
                    b"lfence" => Some(&[0x0f, 0xae, 0xe8]),
                    b"sfence" => Some(&[0x0f, 0xae, 0xf8]),
                    b"ud2" => Some(&[0x0f, 0x0b]),
                    b"int3" | b"int $$3" => Some(&[0xcc]),
                    _ => None,
                };
                if let Some(bytes) = bytes {
                    self.asm.raw(bytes);
                    return Ok(());
                }
                if is_alignment(trimmed) {
                    return Ok(());
                }
            }
        }
        if trimmed.is_empty() {
            return self.empty_asm(constraints, instruction, arguments);
        }
        self.known_asm(trimmed, constraints, instruction, arguments)
    }

    /// A barrier with inputs, whose values are of no consequence.
    fn empty_asm(&mut self, constraints: &[u8], instruction: &Instruction, arguments: &[u32]) -> Result<()> {
        let inputs_only = constraints
            .split(|b| *b == b',')
            .all(|c| matches!(c, b"r" | b"m" | b"*m" | b"=*m" | b"r,m" | b"imr" | b"rm" | b"g" | b"X") || is_state(c));
        if self.is_void(self.body.result_type(instruction)) && inputs_only {
            return Ok(());
        }
        let rest = constraints.strip_prefix(b"=r,0").or_else(|| constraints.strip_prefix(b"=&r,0"));
        let is_identity = rest.is_some_and(|rest| rest.split(|b| *b == b',').all(is_state));
        if is_identity && arguments.len() == 1 && self.type_parts(self.body.result_type(instruction))?.1 == 1 {
            let result = self.result(instruction)?;
            return self.copy_parts(result, 0, ValueId(arguments[0]), 0, 1);
        }
        Err(Box::new(Unsupported::Instruction("inline assembly")))
    }

    /// Instructions with registers of their own, whatever their front end tells about them.
    fn known_asm(
        &mut self,
        template: &[u8],
        constraints: &[u8],
        instruction: &Instruction,
        arguments: &[u32],
    ) -> Result<()> {
        let code: &[u8] = match template {
            b"cpuid" => &[0x0f, 0xa2],
            // Rust keeps RBX, which LLVM does not let it name.
            b"mov ${0:q}, rbx\ncpuid\nxchg ${0:q}, rbx" => &[0x0f, 0xa2],
            b"xgetbv" => &[0x0f, 0x01, 0xd0],
            b"rdtsc" => &[0x0f, 0x31],
            b"cmp $1, $2\ncmova $3, $0" => return self.move_if_above(constraints, instruction, arguments),
            _ => return unknown(),
        };
        let Some(operands) = AsmOperands::parse(constraints, template.starts_with(b"mov")) else { return unknown() };
        let AsmOperands { outputs, inputs } = operands;
        let count = if self.is_void(self.body.result_type(instruction)) {
            0
        } else {
            self.type_parts(self.body.result_type(instruction))?.1 as usize
        };
        if inputs.len() != arguments.len() || count != outputs.len() {
            return unknown();
        }
        for (reg, value) in inputs.iter().zip(arguments) {
            self.place(*reg, ValueId(*value), 0)?;
        }
        // What they write: all four, or RAX and RDX.
        let written: &[u8] = if code == [0x0f, 0xa2] { &[0, 1, 2, 3] } else { &[0, 2] };
        for reg in written {
            if self.registers.temps & bit(*reg) == 0 {
                self.claim(*reg)?;
            }
        }
        self.asm.raw(code);
        if !outputs.is_empty() {
            let result = self.result(instruction)?;
            for (at, reg) in (0u32..).zip(&outputs) {
                self.bind(result, at, *reg);
            }
        }
        Ok(())
    }

    /// `result = arguments[1] > arguments[0] ? arguments[2] : arguments[3]`, which zstd has so that no branch is made of it.
    fn move_if_above(&mut self, constraints: &[u8], instruction: &Instruction, arguments: &[u32]) -> Result<()> {
        let [low, high, then, otherwise] = *arguments else { return unknown() };
        let bits = |value: u32| self.integer_bits(self.ty(ValueId(value)));
        let bytes = match (bits(low), bits(high), bits(then), bits(otherwise)) {
            (Some(32), Some(32), Some(64), Some(64)) => 4,
            (Some(64), Some(64), Some(64), Some(64)) => 8,
            _ => return unknown(),
        };
        if !constraints.starts_with(b"=r,r,r,r,0") {
            return unknown();
        }
        let result = self.result(instruction)?;
        let low = self.read_gpr(ValueId(low), 0)?;
        let high = self.read_gpr(ValueId(high), 0)?;
        let then = self.read_gpr(ValueId(then), 0)?;
        let to = self.take_gpr(ValueId(otherwise), 0)?;
        self.asm.alu_rr(Alu::Cmp, high, low, bytes);
        self.asm.cmov(Cond::A, to, then, true);
        self.bind(result, 0, to.0);
        Ok(())
    }
}

/// The registers of outputs and inputs, by their numbers in machine code.
struct AsmOperands {
    outputs: Vec<u8>,
    inputs: Vec<u8>,
}

impl AsmOperands {
    /// Reads constraints that name registers; `rbx_is_free` if any register stands for RBX. What is clobbered is known.
    fn parse(constraints: &[u8], rbx_is_free: bool) -> Option<Self> {
        let named = |text: &[u8]| {
            Some(match text {
                b"{ax}" | b"{eax}" | b"{rax}" => 0,
                b"{cx}" | b"{ecx}" | b"{rcx}" => 1,
                b"{dx}" | b"{edx}" | b"{rdx}" => 2,
                b"{bx}" | b"{ebx}" | b"{rbx}" => 3,
                b"r" if rbx_is_free => 3,
                _ => return None,
            })
        };
        let mut operands = AsmOperands { outputs: Vec::new(), inputs: Vec::new() };
        for constraint in constraints.split(|byte| *byte == b',') {
            match constraint {
                [] | [b'~', ..] => {}
                [b'=', b'&', rest @ ..] | [b'=', rest @ ..] => operands.outputs.push(named(rest)?),
                [digit @ b'0'..=b'9'] => operands.inputs.push(*operands.outputs.get(usize::from(digit - b'0'))?),
                rest => operands.inputs.push(named(rest)?),
            }
        }
        Some(operands)
    }
}

/// Whether a constraint is nothing, or a clobber of what no value lives in across instructions.
fn is_state(constraint: &[u8]) -> bool {
    matches!(constraint, b"" | b"~{memory}" | b"~{dirflag}" | b"~{fpsr}" | b"~{flags}" | b"~{cc}")
}

/// The template, or nothing if it is one comment.
fn without_comment(template: &[u8]) -> &[u8] {
    match template.strip_prefix(b"/*").and_then(|rest| rest.strip_suffix(b"*/")) {
        Some(inner) if !inner.windows(2).any(|two| two == b"*/") => b"",
        _ => template,
    }
}

/// Alignment of code is advice.
fn is_alignment(template: &[u8]) -> bool {
    template.strip_prefix(b".p2align ").is_some_and(|rest| rest.iter().all(|b| b.is_ascii_digit() || *b == b' '))
}
