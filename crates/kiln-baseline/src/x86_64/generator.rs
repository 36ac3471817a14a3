//! The one pass over a function's instructions.

use std::collections::HashMap;

use kiln_bitcode::{
    BlockId, Body, ConstantId, FunctionId, GlobalRef, Instruction, Module, Opcode, Ordering, Type, TypeId, ValueId,
};

use kiln_link::SymbolId;

use super::abi::{Asked, Signature, Vectors};
use super::calls::{Outgoing, Tail};
use super::eh::Exceptions;
use super::encoder::{Encoder, Label, Mem};
use super::fixed::Candidate;
use super::frame::Frame;
use super::known::{Known, SignatureId, SignatureKey};
use super::part_array::{Part, PartArray};
use super::parts::{Bank, PartType, Parts};
use super::protector::Guard;
use super::registers::{NO_REG, Registers};
use super::symbols::{Pool, Symbols};
use super::values::{COUNT_MAX, Value};
use crate::analysis::{Analysis, Node, Object};
use crate::compiler::Unsupported;
use crate::lines::{LineTable, Marks};

/// A call may return twice, and slots may have been used again already: the function is compiled anew.
pub(crate) const RETURNS_TWICE: &str = "a call that returns twice";

/// Boxed, so that results of small things are passed in registers.
pub(crate) type Result<T> = std::result::Result<T, Box<Unsupported>>;

/// A phi while moves are ordered: how many pending ones read it, and which one writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) readers: u32,
    pub(crate) pending: u32,
}

/// What is to be done after an instruction was translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Its operands have been read.
    Operands,
    /// Nothing: it said itself that they have been read.
    Nothing,
    /// It has left the function, and so has the block.
    Leave,
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
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) parts: PartArray,
    pub(crate) ending: Vec<u32>,
    pub(crate) frame: Frame,
    pub(crate) pool: Pool,
    pub(crate) symbols: Symbols,
    pub(crate) sites: Vec<Site>,
    pub(crate) incoming: HashMap<u32, i32>,
    pub(crate) extra: Vec<TypeId>,
    pub(crate) cases: Vec<(u64, BlockId)>,
    pub(crate) stubs: Vec<(Label, BlockId)>,
    pub(crate) tables: Vec<(Label, Vec<Label>)>,
    pub(crate) edges: Vec<u32>,
    pub(crate) wishes: Vec<u32>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) unsorted: Vec<Candidate>,
    pub(crate) reserved: Vec<u32>,
    pub(crate) tails: Vec<Tail>,
    pub(crate) exceptions: Exceptions,
    pub(crate) marks: Marks,
    /// Where the function begins in `asm`.
    pub(crate) start: u32,
    pub(crate) ends: Vec<(u32, u32)>,
    pub(crate) ids: Vec<SymbolId>,
}

/// Those of the arrays that a generator owns while it works.
pub(crate) struct Owned {
    asm: Encoder,
    values: Vec<Value>,
    parts: PartArray,
    ending: Vec<u32>,
    frame: Frame,
    symbols: Symbols,
    sites: Vec<Site>,
    reserved: Vec<u32>,
}

impl Memory {
    /// The line table of the function that was just compiled.
    pub(crate) fn lines(&mut self) -> Option<LineTable> {
        self.marks.table(self.start)
    }

    /// Takes back what a generator owned.
    pub(crate) fn keep(&mut self, owned: Owned) {
        let Owned { asm, values, parts, ending, frame, symbols, sites, reserved } = owned;
        (self.asm, self.values, self.parts, self.ending) = (asm, values, parts, ending);
        (self.frame, self.symbols, self.sites) = (frame, symbols, sites);
        self.reserved = reserved;
    }
}

/// A function while it is compiled.
pub(crate) struct Generator<'a> {
    pub(crate) module: &'a Module,
    pub(crate) body: &'a Body,
    pub(crate) flow: &'a Analysis,
    pub(crate) function: FunctionId,
    pub(crate) first_value: u32,
    pub(crate) asm: Encoder,
    pub(crate) prologue: &'a mut Encoder,
    pub(crate) known: &'a mut Known,
    pub(crate) values: Vec<Value>,
    /// Scratch of [`Generator::flow_into`].
    pub(crate) waiting: &'a mut Vec<Waiting>,
    pub(crate) parts: PartArray,
    pub(crate) ending: Vec<u32>,
    pub(crate) frame: Frame,
    pub(crate) pool: &'a mut Pool,
    pub(crate) symbols: Symbols,
    pub(crate) sites: Vec<Site>,
    /// Where phis of blocks that indirect jumps enter are written, by value.
    pub(crate) incoming: &'a mut HashMap<u32, i32>,
    /// The function's own signature.
    pub(crate) own: Box<Signature>,
    own_id: SignatureId,
    pub(crate) extra: &'a mut Vec<TypeId>,
    pub(crate) cases: &'a mut Vec<(u64, BlockId)>,
    pub(crate) stubs: &'a mut Vec<(Label, BlockId)>,
    pub(crate) tables: &'a mut Vec<(Label, Vec<Label>)>,
    /// Labels of edges from the block at hand, by the target's position.
    pub(crate) edges: &'a mut Vec<u32>,
    /// Values that a register of their own may be worth while for, and scratch of [`Generator::fix_registers`].
    pub(crate) wishes: &'a mut Vec<u32>,
    pub(crate) candidates: &'a mut Vec<Candidate>,
    pub(crate) unsorted: &'a mut Vec<Candidate>,
    /// Registers that values keep, by position; empty where none do.
    pub(crate) reserved: Vec<u32>,
    pub(crate) tails: &'a mut Vec<Tail>,
    pub(crate) exceptions: &'a mut Exceptions,
    pub(crate) marks: &'a mut Marks,
    /// Where the function begins in `asm`, once that is known.
    pub(crate) start: &'a mut u32,
    /// Scratch of [`Generator::finish`]: where the frame is left, and the symbols' numbers in the graph.
    pub(crate) ends: &'a mut Vec<(u32, u32)>,
    pub(crate) ids: &'a mut Vec<SymbolId>,
    /// Values may keep registers.
    pub(crate) may_fix: bool,
    /// One of these was destroyed.
    pub(crate) in_the_way: bool,
    /// Where the frame holds the addresses that thread-local variables have in this thread.
    pub(crate) thread_locals: Vec<(GlobalRef, i32)>,
    /// One that is needed and not among them.
    pub(crate) wanted_thread_local: Option<GlobalRef>,
    pub(crate) epilogue: Label,
    /// Memory for lanes of vectors, 0 where there is none yet.
    pub(crate) lane_areas: [i32; 3],
    /// Calls that are marked so may replace the frame.
    pub(crate) may_tail_call: bool,
    pub(crate) guard: Guard,
    /// What the last call had on the stack.
    pub(crate) outgoing: Outgoing,
    /// What the instruction at hand leaves to do.
    pub(crate) rest: Rest,
    pub(crate) registers: Registers,
    pub(crate) vectors: Vectors,
    /// [`super::known::Properties::fuses`]
    pub(crate) fuses: Option<bool>,
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
            waiting,
            parts,
            ending,
            frame,
            pool,
            symbols,
            sites,
            incoming,
            extra,
            cases,
            stubs,
            tables,
            edges,
            wishes,
            candidates,
            unsorted,
            reserved,
            tails,
            exceptions,
            marks,
            start,
            ends,
            ids,
        } = memory;
        if ((body.value_count() - body.first_value()) as usize).max(body.instructions().len()) > COUNT_MAX {
            return Err(Box::new(Unsupported::Attribute("very many instructions")));
        }
        let function = body.function();
        let record = module.function(function);
        let attributes = module.attributes(record.attributes);
        let properties = known.properties(attributes)?;
        let key = SignatureKey::of_function(module, function, properties.vectors);
        let (own_id, own) = known.take_own(module, key, |own, scratch| {
            let asked = Asked {
                function: record.symbol.value_type,
                extra: &[],
                convention: record.calling_convention,
                attributes: &[attributes],
                vectors: properties.vectors,
            };
            own.classify(module, &asked, scratch).map_err(|what| Box::new(Unsupported::Attribute(what)))
        })?;
        asm.clear();
        values.clear();
        wishes.clear();
        values.extend(body.use_counts().map(Value::new));
        for (index, life) in flow.lives() {
            let crosses = life.crosses();
            if crosses {
                values[index as usize].set_crosses();
            }
            if life.weight >= super::fixed::WEIGHT_MIN && (crosses || matches!(life.object(), Object::Variable(_))) {
                wishes.push(index);
            }
        }
        parts.clear();
        ending.clear();
        ending.resize(flow.order.len(), u32::MAX);
        asm.first_labels(flow.order.len());
        frame.reset();
        let guard = Guard::new(properties.protection, frame);
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
        Ok(Generator {
            module,
            body,
            flow,
            function,
            first_value: body.first_value(),
            asm: std::mem::take(asm),
            prologue,
            known,
            values: std::mem::take(values),
            waiting,
            parts: std::mem::take(parts),
            ending: std::mem::take(ending),
            frame: std::mem::take(frame),
            pool,
            symbols: std::mem::take(symbols),
            sites: std::mem::take(sites),
            incoming,
            own,
            own_id,
            extra,
            cases,
            stubs,
            tables,
            edges,
            wishes,
            candidates,
            unsorted,
            reserved: std::mem::take(reserved),
            tails,
            exceptions,
            marks,
            start,
            ends,
            ids,
            may_fix: true,
            in_the_way: false,
            thread_locals: Vec::new(),
            wanted_thread_local: None,
            epilogue,
            lane_areas: [0; 3],
            may_tail_call: properties.may_tail_call,
            guard,
            outgoing: Outgoing::None,
            rest: Rest::Operands,
            registers: Registers::default(),
            vectors: properties.vectors,
            fuses: properties.fuses,
            position: 0,
            result_slot: 0,
            save_area: 0,
            dynamic: false,
        })
    }

    /// Gives back the arrays that it owns, whatever came of it: they are its own because one step less leads to what is
    /// in them.
    pub(crate) fn give_back(self) -> Owned {
        let Generator { asm, values, parts, ending, frame, symbols, sites, reserved, .. } = self;
        self.known.give_back_own(self.own_id, self.own);
        Owned { asm, values, parts, ending, frame, symbols, sites, reserved }
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
        let Parts { first, count, only } = self.known.types.of(self.module, ty)?;
        debug_assert!(at < count);
        Ok(if at == 0 { only } else { self.known.types.get(first + at) })
    }

    /// The only part of values of type `ty`.
    #[inline(always)]
    pub(crate) fn scalar(&mut self, ty: TypeId) -> Result<PartType> {
        match self.known.types.word(ty) {
            0 => self.other_scalar(ty),
            bytes => Ok(PartType::word(bytes)),
        }
    }

    #[inline(never)]
    fn other_scalar(&mut self, ty: TypeId) -> Result<PartType> {
        match self.known.types.of(self.module, ty)? {
            Parts { count: 1, only, .. } => Ok(only),
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
        if !self.values[index as usize].is_nowhere() {
            return Ok(());
        }
        self.add_parts(index, self.body.type_of(self.module, value))
    }

    /// Gives the value at `index` the parts of `ty`.
    fn add_parts(&mut self, index: u32, ty: TypeId) -> Result<()> {
        let Parts { first: first_type, count, only } = self.known.types.of(self.module, ty)?;
        let part = |ty: PartType| Part {
            value: index,
            slot: 0,
            reg: NO_REG,
            stored: false,
            fixed: false,
            bank: ty.bank,
            bytes: ty.bytes,
            count: count as u8,
        };
        let known = &mut self.values[index as usize];
        if count == 1 {
            let made = part(only);
            known.set_part(if known.crosses() { self.parts.add(made) } else { self.parts.add_local(made) });
            return Ok(());
        }
        let first = self.parts.next();
        if first as usize > COUNT_MAX {
            return Err(Box::new(Unsupported::Type("very many values of many parts")));
        }
        known.set_parts(first);
        if count == 0 {
            // One that says so.
            self.parts.add(part(only));
        }
        for at in first_type..first_type + count {
            self.parts.add(part(self.known.types.get(at)));
        }
        Ok(())
    }

    /// Translates the function; the prologue comes later, when it is known what it must save.
    pub(crate) fn run(&mut self, thread_locals: &[GlobalRef]) -> Result<()> {
        self.place_arrays()?;
        self.enter()?;
        for base in thread_locals {
            self.keep_thread_local(*base)?;
        }
        for position in 0..self.flow.order.len() as u32 {
            self.position = position;
            self.block(position)?;
            if self.frame.overflow | self.in_the_way {
                return self.give_up();
            }
        }
        Ok(())
    }

    #[cold]
    fn give_up(&self) -> Result<()> {
        Err(Box::new(match self.frame.overflow {
            true => Unsupported::Attribute("a very large frame"),
            false => Unsupported::Instruction(super::fixed::IN_THE_WAY),
        }))
    }

    /// What most instructions are is taken apart here: how many operands they have, and whether they can wait or be left
    /// out, is known then.
    #[inline(never)]
    fn block(&mut self, position: u32) -> Result<()> {
        let flow = self.flow;
        let node = &flow.order[position as usize];
        self.start_block(position, node);
        if node.has_phis {
            self.define_phis(node.block, node.indirect)?;
        }
        let body = self.body;
        let range = body.block_instructions(node.block);
        let first = range.start;
        for (index, instruction) in (first..).zip(body.block(range)) {
            let start = self.asm.position();
            match instruction.opcode {
                Opcode::Phi => continue,
                Opcode::Load => {
                    let address = ValueId(body.operands(instruction)[0]);
                    if !self.is_useless(instruction) || !is_plain_access(instruction) {
                        self.load(index, instruction, address)?;
                    }
                    self.release(address);
                }
                Opcode::Store => {
                    let operands = body.operands(instruction);
                    let (address, value) = (ValueId(operands[0]), ValueId(operands[1]));
                    self.store(instruction, address, value)?;
                    self.release(address);
                    self.release(value);
                }
                Opcode::Gep => {
                    if self.is_deferred(index, instruction) {
                        continue;
                    }
                    if !self.is_useless(instruction) {
                        self.gep(instruction)?;
                    }
                    match *body.operands(instruction) {
                        [base, index] => {
                            self.release(ValueId(base));
                            self.release(ValueId(index));
                        }
                        ref operands => self.release_all(operands),
                    }
                }
                Opcode::ICmp | Opcode::FCmp => {
                    if self.is_deferred(index, instruction) {
                        continue;
                    }
                    let operands = body.operands(instruction);
                    let (left, right) = (ValueId(operands[0]), ValueId(operands[1]));
                    if !self.is_useless(instruction) {
                        self.compare(instruction, left, right)?;
                    }
                    self.release(left);
                    self.release(right);
                }
                Opcode::Call => {
                    let operands = body.operands(instruction);
                    self.call(index, instruction, operands)?;
                    match std::mem::replace(&mut self.rest, Rest::Operands) {
                        Rest::Operands => self.release_all(operands),
                        Rest::Nothing => {}
                        Rest::Leave => {
                            self.note(start, index);
                            self.free_temporaries();
                            break;
                        }
                    }
                }
                Opcode::Br => self.go(BlockId(body.operands(instruction)[0]))?,
                Opcode::CondBr => {
                    let operands = body.operands(instruction);
                    let condition = ValueId(operands[0]);
                    self.branch(condition, BlockId(operands[1]), BlockId(operands[2]))?;
                    self.release(condition);
                }
                _ => self.other_instruction(index, instruction)?,
            }
            self.note(start, index);
            self.free_temporaries();
        }
        for at in flow.moves_of(node) {
            self.release(at.value);
        }
        self.end_lives(position);
        Ok(())
    }

    /// Notes that the code of instruction `index` begins at `start`.
    #[inline(always)]
    fn note(&mut self, start: u32, index: u32) {
        if self.marks.wanted {
            self.marks.note(start, index);
        }
    }

    /// An instruction that is none of those that [`Generator::block`] takes apart.
    #[inline(never)]
    fn other_instruction(&mut self, index: u32, instruction: &Instruction) -> Result<()> {
        let body = self.body;
        let operands = body.operands(instruction);
        if !(PURE >> instruction.opcode as u64 & 1 != 0 && self.is_useless(instruction)) {
            self.instruction(index, instruction, operands)?;
        }
        if PLAIN >> instruction.opcode as u64 & 1 != 0 {
            self.release_all(operands);
        } else if std::mem::replace(&mut self.rest, Rest::Operands) == Rest::Operands {
            crate::analysis::for_values(instruction.opcode, operands, |value| self.release(value));
        }
        Ok(())
    }

    /// Whether nobody wants the result of the instruction, one of [`PURE`] or a load.
    #[inline]
    fn is_useless(&self, instruction: &Instruction) -> bool {
        self.values[self.value_index(instruction.result()) as usize].uses() == 0
    }

    #[inline(never)]
    fn start_block(&mut self, position: u32, node: &Node) {
        if position > 0 {
            let before = self.flow.order[position as usize - 1].block;
            let follows = node.predecessors == 1 && node.predecessor == before && !node.indirect;
            if follows && !self.is_landing_pad(node.block) {
                self.forget_local_registers();
            } else {
                self.forget_registers();
            }
            let reserved = self.reserved_at(position);
            if reserved != self.registers.reserved {
                self.change_reserved(reserved);
            }
            self.parts.begin_block();
        }
        self.asm.bind(label_at(position));
    }

    /// Whether an exception may arrive at `block`: registers are what the unwinder made them then.
    fn is_landing_pad(&self, block: BlockId) -> bool {
        let instructions = self.body.block(self.body.block_instructions(block));
        let first = instructions.iter().find(|instruction| instruction.opcode != Opcode::Phi);
        first.is_some_and(|first| first.opcode == Opcode::LandingPad)
    }

    #[inline(never)]
    fn define_phis(&mut self, block: BlockId, indirect: bool) -> Result<()> {
        for index in self.body.block_instructions(block) {
            let instruction = self.body.instruction(index);
            if instruction.opcode != Opcode::Phi {
                break;
            }
            let index = self.value_index(instruction.result()) as usize;
            if self.values[index].uses() == 0 {
                continue;
            }
            self.make_parts(instruction.result())?;
            for part in self.all_parts(self.values[index]) {
                if self.parts[part as usize].fixed {
                    continue;
                }
                let home = self.slot(part);
                self.parts[part as usize].stored = true;
                debug_assert_eq!(self.parts[part as usize].reg, NO_REG);
                if indirect {
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

    #[inline(always)]
    fn instruction(&mut self, index: u32, instruction: &Instruction, operands: &[u32]) -> Result<()> {
        let value = |at: usize| ValueId(operands[at]);
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
            Opcode::Select => self.select(instruction, value(0), value(1), value(2)),
            Opcode::ExtractElement => self.extract_element(instruction, value(0), value(1)),
            Opcode::InsertElement => self.insert_element(instruction, value(0), value(1), value(2)),
            Opcode::ShuffleVector => self.shuffle(instruction, value(0), value(1), value(2)),
            Opcode::ExtractValue => self.extract_value(instruction, value(0), &operands[1..]),
            Opcode::InsertValue => self.insert_value(instruction, value(0), value(1), &operands[2..]),
            Opcode::VaArg => Err(Box::new(Unsupported::Instruction("va_arg"))),
            Opcode::Alloca => self.alloca(instruction, value(0)),
            Opcode::CmpXchg => self.cmpxchg(instruction, value(0), value(1), value(2)),
            Opcode::AtomicRmw => self.atomic_rmw(instruction, value(0), value(1)),
            Opcode::Fence => self.fence(instruction),
            Opcode::Invoke => self.invoke(index, instruction, operands),
            Opcode::LandingPad => self.landing_pad(instruction),
            Opcode::Resume => self.resume(value(0)),
            Opcode::Ret => self.ret(operands.first().map(|v| ValueId(*v))),
            Opcode::Switch => self.switch(value(0), BlockId(operands[1]), &operands[2..]),
            Opcode::IndirectBr => self.indirect_branch(value(0), &operands[1..]),
            Opcode::Unreachable => {
                self.asm.ud2();
                Ok(())
            }
            Opcode::CallBr => Err(Box::new(Unsupported::Instruction("callbr"))),
            Opcode::Funclet => Err(Box::new(Unsupported::Instruction("an instruction of Windows' exceptions"))),
            Opcode::Phi
            | Opcode::Call
            | Opcode::Load
            | Opcode::Store
            | Opcode::Gep
            | Opcode::ICmp
            | Opcode::FCmp
            | Opcode::Br
            | Opcode::CondBr => unreachable!("phis are made by the edges, the others were taken apart"),
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
        let index = self.value_index(instruction.result());
        if self.values[index as usize].is_nowhere() {
            self.add_parts(index, self.body.result_type(instruction))?;
        }
        Ok(instruction.result())
    }
}

/// Instructions whose operands are all values, and that leave nothing else to do, one bit each.
const PLAIN: u64 = !(crate::analysis::MIXED | 1 << Opcode::Call as u64);

/// Other instructions that do nothing but make their result, one bit each.
const PURE: u64 = !(1 << Opcode::Call as u64
    | 1 << Opcode::Invoke as u64
    | 1 << Opcode::AtomicRmw as u64
    | 1 << Opcode::CmpXchg as u64
    | 1 << Opcode::LandingPad as u64
    | 1 << Opcode::Alloca as u64
    | 1 << Opcode::VaArg as u64
    | 1 << Opcode::CallBr as u64
    | 1 << Opcode::Funclet as u64
    | 1 << Opcode::Fence as u64
    | 1 << Opcode::Ret as u64
    | 1 << Opcode::Switch as u64
    | 1 << Opcode::IndirectBr as u64
    | 1 << Opcode::Resume as u64
    | 1 << Opcode::Unreachable as u64);

/// Whether an access is neither volatile nor atomic.
fn is_plain_access(access: &Instruction) -> bool {
    access.flags() & Instruction::VOLATILE == 0 && access.ordering() == Ordering::NotAtomic
}

/// The label of the block at `position`.
pub(crate) fn label_at(position: u32) -> Label {
    Label(position)
}
