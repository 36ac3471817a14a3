//! The body: blocks of instructions, without what only carries metadata.

use super::Writer;
use super::bits::sign_rotated;
use crate::body::{BlockId, TailKind, ValueId};
use crate::codes::BlockKind;
use crate::instructions::{CASTS, FLOATS, INTEGERS, codes};
use crate::opcode::{Opcode, Ordering};
use crate::packed::Instruction;
use crate::types::Type;

/// Whether operand `at` of an instruction is a value: see [`Opcode`].
pub(super) fn is_value(opcode: Opcode, at: usize) -> bool {
    match opcode {
        Opcode::Br => false,
        Opcode::CondBr | Opcode::IndirectBr | Opcode::ExtractValue => at == 0,
        Opcode::InsertValue => at < 2,
        Opcode::Phi | Opcode::Switch => at.is_multiple_of(2),
        Opcode::Invoke => at == 0 || at > 2,
        Opcode::LandingPad => at % 2 == 1,
        _ => true,
    }
}

/// Bits of fast-math flags in bitcode, where `reassoc` is the highest one.
fn fast_math_bits(flags: u16) -> u64 {
    u64::from(flags & 0x7e | (flags & 1) << 7)
}

/// The fields of a record, with the number that its instruction would have as a value.
struct Fields<'w, 'm> {
    writer: &'w Writer<'m>,
    next: u32,
    fields: Vec<u64>,
}

impl Fields<'_, '_> {
    fn put(&mut self, field: impl Into<u64>) {
        self.fields.push(field.into());
    }

    /// A value whose type is known from its place.
    fn value(&mut self, value: u32) {
        let number = self.writer.number(ValueId(value));
        self.put(self.next.wrapping_sub(number));
    }

    /// A value of any type.
    fn typed(&mut self, value: u32) {
        self.value(value);
        if self.writer.number(ValueId(value)) >= self.next {
            self.ty_of(value);
        }
    }

    fn ty_of(&mut self, value: u32) {
        let ty = self.writer.body.type_of(self.writer.module, ValueId(value));
        self.put(self.writer.type_number(ty));
    }

    fn flags(&mut self, flags: u64) {
        if flags != 0 {
            self.put(flags);
        }
    }

    /// The arguments of a call: those that the callee's type has, then others.
    fn arguments(&mut self, ty: &Type, arguments: &[u32]) {
        let Type::Function { parameters, .. } = ty else { return };
        for (at, argument) in arguments.iter().enumerate() {
            if at < parameters.len() { self.value(*argument) } else { self.typed(*argument) }
        }
    }
}

impl Writer<'_> {
    pub(super) fn write_body(&mut self) {
        let block = self.bits.enter(BlockKind::FUNCTION, 4);
        self.bits.record(codes::DECLAREBLOCKS, &[u64::from(self.body.block_count())]);
        self.write_constants();
        let mut next = self.first_result();
        for id in 0..self.body.block_count() {
            for index in self.body.block_instructions(BlockId(id)) {
                if self.left_out.contains(&index) {
                    continue;
                }
                let instruction = self.body.instruction(index);
                self.write_bundles(instruction, next);
                let (code, fields) = self.instruction_record(instruction, next);
                self.bits.record(code, &fields);
                if instruction.has_result() {
                    next += 1;
                }
            }
        }
        self.bits.leave(block);
    }

    fn write_bundles(&mut self, instruction: &Instruction, next: u32) {
        if !matches!(instruction.opcode, Opcode::Call | Opcode::Invoke) {
            return;
        }
        let mut records = Vec::new();
        for (tag, values) in self.body.bundles(self.body.call(instruction)) {
            let mut f = Fields { writer: self, next, fields: vec![u64::from(tag)] };
            values.iter().for_each(|value| f.typed(*value));
            records.push(f.fields);
        }
        for fields in records {
            self.bits.record(codes::OPERAND_BUNDLE, &fields);
        }
    }

    fn instruction_record(&self, instruction: &Instruction, next: u32) -> (u32, Vec<u64>) {
        use Opcode::*;
        let operands = self.body.operands(instruction);
        let mut f = Fields { writer: self, next, fields: Vec::new() };
        let flags = u64::from(instruction.flags() & 0xff);
        let fast_math = fast_math_bits(u16::from(instruction.fast_math()));
        let volatile = u64::from(instruction.flags() & Instruction::VOLATILE != 0);
        let align = u64::from(instruction.align());
        let ordering = instruction.ordering() as u64;
        // The own thread is the first scope, the system the second.
        let scope = u64::from(instruction.flags() & Instruction::SINGLE_THREAD == 0);
        let ty = self.type_number(self.body.result_type(instruction));
        let atomic = instruction.ordering() != Ordering::NotAtomic;
        let code = match instruction.opcode {
            FNeg => {
                f.typed(operands[0]);
                f.put(0u64);
                f.flags(fast_math);
                codes::UNOP
            }
            Add | Sub | Mul | UDiv | SDiv | URem | SRem | Shl | LShr | AShr | And | Or | Xor | FAdd | FSub | FMul
            | FDiv | FRem => {
                f.typed(operands[0]);
                f.value(operands[1]);
                f.put(binary_code(instruction.opcode));
                f.flags(flags | fast_math);
                codes::BINOP
            }
            Trunc | ZExt | SExt | FpToUi | FpToSi | UiToFp | SiToFp | FpTrunc | FpExt | PtrToInt | PtrToAddr
            | IntToPtr | BitCast | AddrSpaceCast => {
                f.typed(operands[0]);
                f.put(ty);
                f.put(cast_code(instruction.opcode));
                f.flags(flags | fast_math);
                codes::CAST
            }
            Gep => {
                f.put(flags);
                f.put(self.type_number(crate::TypeId(instruction.aux())));
                operands.iter().for_each(|operand| f.typed(*operand));
                codes::GEP
            }
            Select => {
                f.typed(operands[1]);
                f.value(operands[2]);
                f.typed(operands[0]);
                f.flags(fast_math);
                codes::VSELECT
            }
            ExtractElement => {
                operands.iter().for_each(|operand| f.typed(*operand));
                codes::EXTRACTELT
            }
            InsertElement | ShuffleVector => {
                f.typed(operands[0]);
                f.value(operands[1]);
                f.typed(operands[2]);
                if instruction.opcode == InsertElement { codes::INSERTELT } else { codes::SHUFFLEVEC }
            }
            ExtractValue => {
                f.typed(operands[0]);
                operands[1..].iter().for_each(|index| f.put(*index));
                codes::EXTRACTVAL
            }
            InsertValue => {
                f.typed(operands[0]);
                f.typed(operands[1]);
                operands[2..].iter().for_each(|index| f.put(*index));
                codes::INSERTVAL
            }
            ICmp | FCmp => {
                f.typed(operands[0]);
                f.value(operands[1]);
                f.put(instruction.sub);
                f.flags(flags | fast_math);
                codes::CMP2
            }
            Phi => {
                f.put(ty);
                for pair in operands.chunks_exact(2) {
                    let distance = i64::from(next) - i64::from(self.number(ValueId(pair[0])));
                    f.put(sign_rotated(distance as u64));
                    f.put(pair[1]);
                }
                f.flags(fast_math);
                codes::PHI
            }
            Freeze => {
                f.typed(operands[0]);
                codes::FREEZE
            }
            VaArg => {
                f.ty_of(operands[0]);
                f.value(operands[0]);
                f.put(ty);
                codes::VAARG
            }
            Alloca => {
                const EXPLICIT_TYPE: u64 = 1 << 6;
                f.put(self.type_number(crate::TypeId(instruction.aux())));
                f.ty_of(operands[0]);
                f.put(self.number(ValueId(operands[0])));
                f.put(align & 31 | EXPLICIT_TYPE | (align & !31) << 3);
                let Type::Pointer { address_space } = self.module.ty(self.body.result_type(instruction)) else {
                    unreachable!("of alloca")
                };
                f.flags(u64::from(*address_space));
                codes::ALLOCA
            }
            Load => {
                f.typed(operands[0]);
                f.fields.extend([ty, align, volatile]);
                if atomic {
                    f.fields.extend([ordering, scope]);
                }
                if atomic { codes::LOADATOMIC } else { codes::LOAD }
            }
            Store => {
                f.typed(operands[0]);
                f.typed(operands[1]);
                f.fields.extend([align, volatile]);
                if atomic {
                    f.fields.extend([ordering, scope]);
                }
                if atomic { codes::STOREATOMIC } else { codes::STORE }
            }
            CmpXchg => {
                f.typed(operands[0]);
                f.typed(operands[1]);
                f.value(operands[2]);
                let weak = u64::from(instruction.flags() & Instruction::WEAK != 0);
                f.fields.extend([volatile, ordering, scope, u64::from(instruction.sub), weak, align]);
                codes::CMPXCHG
            }
            AtomicRmw => {
                f.typed(operands[0]);
                f.typed(operands[1]);
                f.fields.extend([codes::atomic_code(instruction.sub), volatile, ordering, scope, align]);
                codes::ATOMICRMW
            }
            Fence => {
                f.fields.extend([ordering, scope]);
                codes::FENCE
            }
            Ret => {
                operands.iter().for_each(|operand| f.typed(*operand));
                codes::RET
            }
            Br => {
                f.put(operands[0]);
                codes::BR
            }
            CondBr => {
                f.put(operands[1]);
                f.put(operands[2]);
                f.value(operands[0]);
                codes::BR
            }
            Switch => {
                f.ty_of(operands[0]);
                f.value(operands[0]);
                f.put(operands[1]);
                for case in operands[2..].chunks_exact(2) {
                    f.put(self.number(ValueId(case[0])));
                    f.put(case[1]);
                }
                codes::SWITCH
            }
            IndirectBr => {
                f.ty_of(operands[0]);
                f.value(operands[0]);
                operands[1..].iter().for_each(|block| f.put(*block));
                codes::INDIRECTBR
            }
            Unreachable => codes::UNREACHABLE,
            Resume => {
                f.typed(operands[0]);
                codes::RESUME
            }
            LandingPad => {
                f.put(ty);
                f.put(u64::from(instruction.flags() & Instruction::CLEANUP != 0));
                f.put(operands.len() as u64 / 2);
                for clause in operands.chunks_exact(2) {
                    f.put(clause[0]);
                    f.typed(clause[1]);
                }
                codes::LANDINGPAD
            }
            Call => {
                const EXPLICIT_TYPE: u64 = 1 << 15;
                const FAST_MATH: u64 = 1 << 17;
                let call = self.body.call(instruction);
                let tail = match call.tail {
                    TailKind::None => 0,
                    TailKind::Tail => 1,
                    TailKind::Must => 1 << 14,
                    TailKind::Never => 1 << 16,
                };
                f.put(self.lists.get(&call.attributes).copied().unwrap_or_default());
                let fast = if fast_math != 0 { FAST_MATH } else { 0 };
                f.put(u64::from(call.convention) << 1 | tail | EXPLICIT_TYPE | fast);
                f.flags(fast_math);
                f.put(self.type_number(call.ty));
                f.typed(operands[0]);
                f.arguments(self.module.ty(call.ty), &operands[1..]);
                codes::CALL
            }
            Invoke => {
                const EXPLICIT_TYPE: u64 = 1 << 13;
                let call = self.body.call(instruction);
                f.put(self.lists.get(&call.attributes).copied().unwrap_or_default());
                f.put(u64::from(call.convention) | EXPLICIT_TYPE);
                f.put(operands[1]);
                f.put(operands[2]);
                f.put(self.type_number(call.ty));
                f.typed(operands[0]);
                f.arguments(self.module.ty(call.ty), &operands[3..]);
                codes::INVOKE
            }
            CallBr | Funclet => unreachable!("refused when instructions were collected"),
        };
        (code, f.fields)
    }
}

/// The code under which the reader finds `opcode`: integers and floating point share them.
fn binary_code(opcode: Opcode) -> u64 {
    let integers = INTEGERS.iter().position(|known| *known == opcode);
    let floats = || FLOATS.iter().position(|known| *known == Some(opcode));
    integers.or_else(floats).unwrap_or_else(|| unreachable!("{opcode:?} is not binary")) as u64
}

fn cast_code(opcode: Opcode) -> u64 {
    let known = CASTS.iter().position(|known| *known == opcode);
    known.unwrap_or_else(|| unreachable!("{opcode:?} is no conversion")) as u64
}
