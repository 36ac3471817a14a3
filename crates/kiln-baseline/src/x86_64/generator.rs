//! The one pass over a function's instructions.

use std::collections::HashMap;

use kiln_bitcode::{BlockId, Body, ConstantId, FunctionId, Instruction, Module, Opcode, Type, TypeId, ValueId};

use super::abi::{Signature, Vectors};
use super::calls::Tail;
use super::eh::Exceptions;
use super::encoder::{Encoder, Label, Mem};
use super::fixed::Candidate;
use super::frame::Frame;
use super::known::Known;
use super::parts::{Bank, PartType};
use super::registers::{NO_REG, Part, Registers};
use super::symbols::{Pool, Symbols};
use crate::analysis::Analysis;
use crate::compiler::Unsupported;
use crate::lines::{LineTable, Marks};

/// A call may return twice, and slots may have been used again already: the function is compiled anew.
pub(crate) const RETURNS_TWICE: &str = "a call that returns twice";

/// Boxed, so that results of small things are passed in registers.
pub(crate) type Result<T> = std::result::Result<T, Box<Unsupported>>;

/// How a value is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not yet.
    Nowhere,
    /// Parts from this one on.
    Parts(u32),
    /// It is RBP plus this.
    Frame(i32),
    /// It is the address of this part, which has a register and no memory.
    Variable(u32),
    /// The instruction of this number is translated where its one user is.
    Deferred(u32),
}

/// What is known of a value of the function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) place: Place,
    /// How many parts it has.
    pub(crate) parts: u32,
    /// Operands that are still to be read.
    pub(crate) uses: u32,
    /// [`crate::analysis::Life::crosses`]
    pub(crate) crosses: bool,
    /// Scratch of parallel moves: how many pending ones read this phi, and which one writes it.
    pub(crate) readers: u32,
    pub(crate) pending: u32,
}

/// A call for the table of call sites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The landing pad's label and the index of its `landingpad` instruction.
    pub(crate) pad: Option<(Label, u32)>,
}

/// All arrays, kept from function to function.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) asm: Encoder,
    pub(crate) prologue: Encoder,
    pub(crate) known: Known,
    pub(crate) values: Vec<Value>,
    pub(crate) parts: Vec<Part>,
    pub(crate) ending: Vec<u32>,
    pub(crate) labels: Vec<Label>,
    pub(crate) frame: Frame,
    pub(crate) pool: Pool,
    pub(crate) symbols: Symbols,
    pub(crate) sites: Vec<Site>,
    pub(crate) incoming: HashMap<u32, i32>,
    pub(crate) own: Signature,
    pub(crate) extra: Vec<TypeId>,
    pub(crate) numbers: Vec<u32>,
    pub(crate) cases: Vec<(u64, BlockId)>,
    pub(crate) stubs: Vec<(Label, BlockId)>,
    pub(crate) tables: Vec<(Label, Vec<Label>)>,
    pub(crate) edges: Vec<u32>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) reserved: Vec<u32>,
    pub(crate) tails: Vec<Tail>,
    pub(crate) exceptions: Exceptions,
    pub(crate) marks: Marks,
    /// Where the function begins in `asm`.
    pub(crate) start: u32,
}

impl Memory {
    /// The line table of the function that was just compiled.
    pub(crate) fn lines(&self, body: &Body) -> Option<LineTable> {
        self.marks.table(body, self.start)
    }
}

/// A function while it is compiled.
pub(crate) struct Generator<'a> {
    pub(crate) module: &'a Module,
    pub(crate) body: &'a Body,
    pub(crate) flow: &'a Analysis,
    pub(crate) function: FunctionId,
    pub(crate) first_value: u32,
    pub(crate) asm: &'a mut Encoder,
    pub(crate) prologue: &'a mut Encoder,
    pub(crate) known: &'a mut Known,
    pub(crate) values: &'a mut Vec<Value>,
    pub(crate) parts: &'a mut Vec<Part>,
    pub(crate) ending: &'a mut Vec<u32>,
    pub(crate) labels: &'a mut Vec<Label>,
    pub(crate) frame: &'a mut Frame,
    pub(crate) pool: &'a mut Pool,
    pub(crate) symbols: &'a mut Symbols,
    pub(crate) sites: &'a mut Vec<Site>,
    /// Where phis of blocks that indirect jumps enter are written, by value.
    pub(crate) incoming: &'a mut HashMap<u32, i32>,
    /// The function's own signature.
    pub(crate) own: &'a mut Signature,
    pub(crate) extra: &'a mut Vec<TypeId>,
    pub(crate) numbers: &'a mut Vec<u32>,
    pub(crate) cases: &'a mut Vec<(u64, BlockId)>,
    pub(crate) stubs: &'a mut Vec<(Label, BlockId)>,
    pub(crate) tables: &'a mut Vec<(Label, Vec<Label>)>,
    /// Labels of edges from the block at hand, by the target's position.
    pub(crate) edges: &'a mut Vec<u32>,
    /// Scratch of [`Generator::fix_registers`].
    pub(crate) candidates: &'a mut Vec<Candidate>,
    /// Registers that values keep, by position; empty where none do.
    pub(crate) reserved: &'a mut Vec<u32>,
    pub(crate) tails: &'a mut Vec<Tail>,
    pub(crate) exceptions: &'a mut Exceptions,
    pub(crate) marks: &'a mut Marks,
    /// Where the function begins in `asm`, once that is known.
    pub(crate) start: &'a mut u32,
    /// Values may keep registers.
    pub(crate) may_fix: bool,
    /// One of these was destroyed.
    pub(crate) in_the_way: bool,
    pub(crate) epilogue: Label,
    /// Memory for lanes of vectors, 0 where there is none yet.
    pub(crate) lane_areas: [i32; 3],
    /// Calls that are marked so may replace the frame.
    pub(crate) may_tail_call: bool,
    /// Bytes that the last call had on the stack.
    pub(crate) outgoing: u32,
    /// The block has left the function.
    pub(crate) ended: bool,
    pub(crate) registers: Registers,
    pub(crate) vectors: Vectors,
    /// Position of the block that is being translated.
    pub(crate) position: u32,
    /// Where the address of a result in memory is kept.
    pub(crate) result_slot: i32,
    /// The register save area of a variadic function.
    pub(crate) save_area: i32,
    /// RSP moves within the function.
    pub(crate) dynamic: bool,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(module: &'a Module, body: &'a Body, flow: &'a Analysis, memory: &'a mut Memory) -> Result<Self> {
        let Memory {
            asm,
            prologue,
            known,
            values,
            parts,
            ending,
            labels,
            frame,
            pool,
            symbols,
            sites,
            incoming,
            own,
            extra,
            numbers,
            cases,
            stubs,
            tables,
            edges,
            candidates,
            reserved,
            tails,
            exceptions,
            marks,
            start,
        } = memory;
        asm.clear();
        values.clear();
        values.extend(flow.lives.iter().map(|life| Value {
            place: Place::Nowhere,
            parts: 0,
            uses: life.uses,
            crosses: life.crosses(),
            readers: 0,
            pending: 0,
        }));
        parts.clear();
        ending.clear();
        ending.resize(flow.order.len(), u32::MAX);
        labels.clear();
        for _ in &flow.order {
            labels.push(asm.label());
        }
        frame.reset();
        pool.clear();
        symbols.clear();
        sites.clear();
        incoming.clear();
        tables.clear();
        edges.clear();
        edges.resize(flow.order.len(), crate::analysis::NONE);
        tails.clear();
        exceptions.clear();
        marks.restart(body);
        asm.code.fill_to(super::finish::PROLOGUE_MAX, 0);
        let epilogue = asm.label();
        let function = body.function();
        let properties = known.properties(module.attributes(module.function(function).attributes))?;
        Ok(Generator {
            module,
            body,
            flow,
            function,
            first_value: body.first_value(),
            asm,
            prologue,
            known,
            values,
            parts,
            ending,
            labels,
            frame,
            pool,
            symbols,
            sites,
            incoming,
            own,
            extra,
            numbers,
            cases,
            stubs,
            tables,
            edges,
            candidates,
            reserved,
            tails,
            exceptions,
            marks,
            start,
            may_fix: true,
            in_the_way: false,
            epilogue,
            lane_areas: [0; 3],
            may_tail_call: properties.may_tail_call,
            outgoing: 0,
            ended: false,
            registers: Registers::default(),
            vectors: properties.vectors,
            position: 0,
            result_slot: 0,
            save_area: 0,
            dynamic: false,
        })
    }

    // ---- types --------------------------------------------------------------------------------------------------

    pub(crate) fn ty(&self, value: ValueId) -> TypeId {
        self.body.type_of(self.module, value)
    }

    pub(crate) fn type_parts(&mut self, ty: TypeId) -> Result<(u32, u32)> {
        self.known.types.range(self.module, ty)
    }

    /// The type of part `at` of values of type `ty`.
    #[inline]
    pub(crate) fn part_type(&mut self, ty: TypeId, at: u32) -> Result<PartType> {
        let (first, count) = self.type_parts(ty)?;
        debug_assert!(at < count);
        Ok(self.known.types.get(first + at))
    }

    /// The only part of values of type `ty`.
    pub(crate) fn scalar(&mut self, ty: TypeId) -> Result<PartType> {
        match self.type_parts(ty)? {
            (first, 1) => Ok(self.known.types.get(first)),
            _ => Err(Box::new(Unsupported::Type("a value of several parts, here"))),
        }
    }

    /// Width of integer type `ty`; pointers are integers.
    pub(crate) fn integer_bits(&self, ty: TypeId) -> Option<u32> {
        match self.module.ty(ty) {
            Type::Integer(bits) => Some(*bits),
            Type::Pointer { .. } => Some(64),
            _ => None,
        }
    }

    pub(crate) fn size_of(&self, ty: TypeId) -> Result<u64> {
        Ok(self.module.layout_of(ty).ok_or_else(|| Box::new(Unsupported::Type("a type without size")))?.size)
    }

    // ---- the pass -----------------------------------------------------------------------------------------------

    /// Gives `value` parts of its type.
    pub(crate) fn make_parts(&mut self, value: ValueId) -> Result<()> {
        let index = self.value_index(value);
        if self.values[index as usize].place != Place::Nowhere {
            return Ok(());
        }
        let (first_type, count) = self.type_parts(self.body.type_of(self.module, value))?;
        let first = self.parts.len() as u32;
        let part = |ty: PartType| Part {
            value: index,
            slot: 0,
            reg: NO_REG,
            stored: false,
            fixed: false,
            bank: ty.bank,
            bytes: ty.bytes,
        };
        if count == 1 {
            self.parts.push(part(self.known.types.get(first_type)));
        } else {
            for at in first_type..first_type + count {
                self.parts.push(part(self.known.types.get(at)));
            }
        }
        let known = &mut self.values[index as usize];
        known.place = Place::Parts(first);
        known.parts = count;
        Ok(())
    }

    /// Translates the function; the prologue comes later, when it is known what it must save.
    pub(crate) fn run(&mut self) -> Result<()> {
        self.enter()?;
        for position in 0..self.flow.order.len() as u32 {
            self.position = position;
            self.block(position)?;
            if self.frame.overflow {
                return Err(Box::new(Unsupported::Attribute("a very large frame")));
            }
            if self.in_the_way {
                return Err(Box::new(Unsupported::Instruction(super::fixed::IN_THE_WAY)));
            }
        }
        Ok(())
    }

    fn block(&mut self, position: u32) -> Result<()> {
        let block = self.flow.order[position as usize];
        self.start_block(position);
        let range = self.body.block_instructions(block);
        if self.flow.has_phis[position as usize] {
            self.define_phis(position, block)?;
        }
        for index in range {
            let instruction = self.body.instruction(index);
            if instruction.opcode == Opcode::Phi {
                continue;
            }
            let operands = self.body.operands(instruction);
            if self.is_deferred(index, instruction)? {
                continue;
            }
            self.marks.note(self.asm.position(), index);
            self.instruction(index, instruction, operands)?;
            if self.ended {
                self.ended = false;
                self.end_instruction();
                break;
            }
            crate::analysis::for_values(instruction, operands, |value| self.release(value));
            self.release_deferred();
            self.end_instruction();
        }
        for at in self.flow.all_moves(position) {
            self.release(at.value);
        }
        self.end_lives(position);
        Ok(())
    }

    fn start_block(&mut self, position: u32) {
        if position > 0 {
            let follows = self.flow.predecessors[position as usize] == 1
                && self.flow.predecessor[position as usize] == position - 1
                && !self.flow.indirect[position as usize];
            if follows && !self.is_landing_pad(position) {
                self.forget_local_registers();
            } else {
                self.forget_registers();
            }
            let reserved = self.reserved_at(position);
            if reserved != self.registers.reserved {
                self.change_reserved(reserved);
            }
        }
        let label = self.labels[position as usize];
        self.asm.bind(label);
    }

    /// Whether an exception may arrive at the block at `position`: registers are what the unwinder made them then.
    fn is_landing_pad(&self, position: u32) -> bool {
        let block = self.flow.order[position as usize];
        let first = self.body.block_instructions(block).find(|at| self.body.instruction(*at).opcode != Opcode::Phi);
        first.is_some_and(|at| self.body.instruction(at).opcode == Opcode::LandingPad)
    }

    fn define_phis(&mut self, position: u32, block: BlockId) -> Result<()> {
        for index in self.body.block_instructions(block) {
            let instruction = self.body.instruction(index);
            if instruction.opcode != Opcode::Phi {
                break;
            }
            if self.values[self.value_index(instruction.result) as usize].uses == 0 {
                continue;
            }
            self.make_parts(instruction.result)?;
            let Place::Parts(first) = self.values[self.value_index(instruction.result) as usize].place else {
                unreachable!("phis have parts")
            };
            let count = self.values[self.value_index(instruction.result) as usize].parts;
            for part in first..first + count {
                if self.parts[part as usize].fixed {
                    continue;
                }
                let home = self.slot(part);
                self.parts[part as usize].stored = true;
                debug_assert_eq!(self.parts[part as usize].reg, NO_REG);
                if self.flow.indirect[position as usize] {
                    let from = self.incoming_slot(part);
                    let bytes = self.parts[part as usize].bytes;
                    self.copy_memory(&Mem::frame(home), &Mem::frame(from), bytes);
                }
            }
        }
        Ok(())
    }

    /// Where predecessors write the part of a phi in a block that an indirect jump enters.
    pub(crate) fn incoming_slot(&mut self, part: u32) -> i32 {
        if let Some(slot) = self.incoming.get(&part) {
            return *slot;
        }
        let bytes = if self.parts[part as usize].bytes == 16 { 16 } else { 8 };
        let slot = self.frame.object(bytes, bytes);
        self.incoming.insert(part, slot);
        slot
    }

    /// Whether the instruction waits for its one user, which makes it part of itself.
    fn is_deferred(&mut self, index: u32, instruction: &Instruction) -> Result<bool> {
        if !matches!(instruction.opcode, Opcode::Gep | Opcode::ICmp | Opcode::FCmp) {
            return Ok(false);
        }
        let at = self.value_index(instruction.result) as usize;
        let life = &self.flow.lives[at];
        if life.uses != 1 || life.crosses() || life.user == crate::analysis::NONE {
            return Ok(false);
        }
        let user = self.body.instruction(life.user);
        let operands = self.body.operands(user);
        let takes = match (instruction.opcode, user.opcode) {
            (Opcode::Gep, Opcode::Load | Opcode::Store) => true,
            (Opcode::Gep, Opcode::Gep) => {
                // One in another is enough: chains of any length would be walked by recursion.
                let base = ValueId(self.body.operands(instruction)[0]);
                let is_first = self.body.is_constant(base)
                    || !matches!(self.values[self.value_index(base) as usize].place, Place::Deferred(_));
                is_first && operands[0] == instruction.result.0 && self.module.ty(user.ty).is_scalar_pointer()
            }
            (Opcode::Gep, _) => false,
            (_, Opcode::CondBr) => true,
            (_, Opcode::Select) => operands[0] == instruction.result.0,
            _ => false,
        };
        let is_scalar = self.module.ty(instruction.ty).is_scalar() && !self.needs_call(instruction);
        if takes && is_scalar {
            self.values[at].place = Place::Deferred(index);
        }
        Ok(takes && is_scalar)
    }

    /// Whether a comparison is made by a function of the run-time library.
    fn needs_call(&self, instruction: &Instruction) -> bool {
        instruction.opcode == Opcode::FCmp
            && *self.module.ty(self.ty(ValueId(self.body.operands(instruction)[0]))) == Type::Fp128
    }

    /// Operands of what was put off until now.
    fn release_deferred(&mut self) {
        while let Some(value) = self.numbers.pop() {
            self.release(ValueId(value));
        }
    }

    fn instruction(&mut self, index: u32, instruction: &Instruction, operands: &[u32]) -> Result<()> {
        let value = |at: usize| ValueId(operands[at]);
        if instruction.result != ValueId::NONE {
            let known = self.values[self.value_index(instruction.result) as usize];
            if known.uses == 0 && is_pure(instruction) {
                return Ok(());
            }
        }
        match instruction.opcode {
            Opcode::Add
            | Opcode::Sub
            | Opcode::Mul
            | Opcode::And
            | Opcode::Or
            | Opcode::Xor
            | Opcode::UDiv
            | Opcode::SDiv
            | Opcode::URem
            | Opcode::SRem
            | Opcode::Shl
            | Opcode::LShr
            | Opcode::AShr => self.binary(instruction, value(0), value(1)),
            Opcode::FAdd | Opcode::FSub | Opcode::FMul | Opcode::FDiv | Opcode::FRem => {
                self.float_binary(instruction, value(0), value(1))
            }
            Opcode::FNeg => self.negate(instruction, value(0)),
            Opcode::Trunc
            | Opcode::ZExt
            | Opcode::SExt
            | Opcode::FpToUi
            | Opcode::FpToSi
            | Opcode::UiToFp
            | Opcode::SiToFp
            | Opcode::FpTrunc
            | Opcode::FpExt
            | Opcode::PtrToInt
            | Opcode::PtrToAddr
            | Opcode::IntToPtr
            | Opcode::BitCast
            | Opcode::AddrSpaceCast
            | Opcode::Freeze => self.convert(instruction, value(0)),
            Opcode::Gep => self.gep(instruction),
            Opcode::Select => self.select(instruction, value(0), value(1), value(2)),
            Opcode::ExtractElement => self.extract_element(instruction, value(0), value(1)),
            Opcode::InsertElement => self.insert_element(instruction, value(0), value(1), value(2)),
            Opcode::ShuffleVector => self.shuffle(instruction, value(0), value(1), value(2)),
            Opcode::ExtractValue => self.extract_value(instruction, value(0), &operands[1..]),
            Opcode::InsertValue => self.insert_value(instruction, value(0), value(1), &operands[2..]),
            Opcode::ICmp | Opcode::FCmp => self.compare(instruction, value(0), value(1)),
            Opcode::VaArg => Err(Box::new(Unsupported::Instruction("va_arg"))),
            Opcode::Alloca => self.alloca(instruction, value(0)),
            Opcode::Load => self.load(index, instruction, value(0)),
            Opcode::Store => self.store(instruction, value(0), value(1)),
            Opcode::CmpXchg => self.cmpxchg(instruction, value(0), value(1), value(2)),
            Opcode::AtomicRmw => self.atomic_rmw(instruction, value(0), value(1)),
            Opcode::Fence => self.fence(instruction),
            Opcode::Call => self.call(index, instruction, operands),
            Opcode::Invoke => self.invoke(index, instruction, operands),
            Opcode::LandingPad => self.landing_pad(instruction),
            Opcode::Resume => self.resume(value(0)),
            Opcode::Ret => self.ret(operands.first().map(|v| ValueId(*v))),
            Opcode::Br => {
                let target = BlockId(operands[0]);
                self.go(target)
            }
            Opcode::CondBr => self.branch(value(0), BlockId(operands[1]), BlockId(operands[2])),
            Opcode::Switch => self.switch(value(0), BlockId(operands[1]), &operands[2..]),
            Opcode::IndirectBr => self.indirect_branch(value(0), &operands[1..]),
            Opcode::Unreachable => {
                self.asm.ud2();
                Ok(())
            }
            Opcode::CallBr => Err(Box::new(Unsupported::Instruction("callbr"))),
            Opcode::Funclet => Err(Box::new(Unsupported::Instruction("an instruction of Windows' exceptions"))),
            Opcode::Phi => unreachable!("phis are made by the edges"),
        }
    }

    /// The constant `id` of the module or of the body.
    pub(crate) fn constant_type(&self, id: ConstantId) -> TypeId {
        self.body.type_of(self.module, ValueId(id.0))
    }

    /// A copy of `bytes` bytes in memory through the scratch register.
    pub(crate) fn copy_memory(&mut self, to: &Mem, from: &Mem, bytes: u8) {
        let bank = if bytes == 16 { Bank::Xmm } else { Bank::Gpr };
        match bank {
            Bank::Gpr => {
                self.asm.load(super::registers::SCRATCH, from, bytes);
                self.asm.store(to, super::registers::SCRATCH, bytes);
            }
            Bank::Xmm => {
                self.asm.load_xmm(super::registers::SCRATCH_XMM, from, 16);
                self.asm.store_xmm(to, super::registers::SCRATCH_XMM, 16);
            }
        }
    }

    /// Makes parts for the result of `instruction` and pins nothing.
    #[inline]
    pub(crate) fn result(&mut self, instruction: &Instruction) -> Result<ValueId> {
        self.make_parts(instruction.result)?;
        Ok(instruction.result)
    }
}

/// Whether nobody can tell that the instruction was left out, if nobody uses its result.
fn is_pure(instruction: &Instruction) -> bool {
    match instruction.opcode {
        Opcode::Call
        | Opcode::Invoke
        | Opcode::AtomicRmw
        | Opcode::CmpXchg
        | Opcode::LandingPad
        | Opcode::Alloca
        | Opcode::VaArg
        | Opcode::CallBr
        | Opcode::Funclet => false,
        Opcode::Load => {
            instruction.flags & Instruction::VOLATILE == 0 && instruction.ordering == kiln_bitcode::Ordering::NotAtomic
        }
        _ => true,
    }
}

trait Scalars {
    fn is_scalar(&self) -> bool;
    fn is_scalar_pointer(&self) -> bool;
}

impl Scalars for Type {
    fn is_scalar(&self) -> bool {
        matches!(self, Type::Integer(_) | Type::Pointer { .. })
    }

    fn is_scalar_pointer(&self) -> bool {
        matches!(self, Type::Pointer { .. })
    }
}
