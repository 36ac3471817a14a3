//! Calls: arguments to their places, results from theirs; tail calls; what exceptions do.

use kiln_bitcode::{
    AttributeList, BlockId, Call, Constant, FunctionId, GlobalRef, Instruction, Opcode, TailKind, ValueId,
};
use kiln_link::RelocationKind;

use super::abi::{Asked, Extend, Kind, Part as AbiPart, Place as AbiPlace, Signature, numbered};
use super::encoder::{Alu, Gpr, Label, Mem, Op, RAX, RCX, RDI, RDX, RSI, RSP, Target, Xmm};
use super::generator::{Generator, Rest, Result, Site, label_at};
use super::known::{CallSignature, Callee, InRegister, SignatureKey, register, returns_twice};
use super::parts::Bank;
use super::registers::{CALLER_SAVED, NO_PART, NO_REG, SCRATCH, XMM0, bit};
use super::values::Place;
use crate::compiler::Unsupported;

/// `byval` copies up to this size are made by moves.
const COPY_INLINE_MAX: u32 = 128;

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination {
    Direct(Target),
    Reg(Gpr),
    Mem(Mem),
}

/// The same as the instruction says it.
#[derive(Clone, Copy, Debug)]
enum Callable {
    /// What lies under a name.
    Global(GlobalRef),
    /// An address.
    Value(ValueId),
}

/// A jump that leaves the function for good, made where the frame is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) label: Label,
    /// A symbol, or R11 if there is none.
    pub(crate) target: Option<Target>,
}

/// How a call found room for its arguments on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// It had none.
    None,
    /// RSP was that much higher.
    Bytes(u32),
    /// RSP as it was lies there in the frame.
    Saved(i32),
}

impl Generator<'_> {
    /// A call. Of what means nothing here there is much: that is all that is done then.
    #[inline]
    pub(crate) fn call(&mut self, index: u32, instruction: &Instruction, operands: &[u32]) -> Result<()> {
        if let Some(function) = self.module.function_of(ValueId(operands[0]))
            && super::intrinsics::known_callee(self.module, self.known, function) == Callee::Nothing
        {
            return Ok(());
        }
        self.call_something(index, instruction, operands)
    }

    #[inline(never)]
    fn call_something(&mut self, index: u32, instruction: &Instruction, operands: &[u32]) -> Result<()> {
        let callee = ValueId(operands[0]);
        let to = match self.module.function_of(callee) {
            Some(function) => {
                let module = self.module;
                match super::intrinsics::known_callee(module, self.known, function) {
                    Callee::Nothing => return Ok(()),
                    Callee::Inline | Callee::Intrinsic => {
                        let name = module.str(module.function(function).symbol.name);
                        return self.intrinsic(name, instruction, &operands[1..]);
                    }
                    Callee::Plain | Callee::Unknown => {}
                }
                Callable::Global(GlobalRef::Function(function))
            }
            None => match self.constant(callee) {
                Some(Constant::Global(base)) => Callable::Global(base),
                Some(Constant::InlineAsm(asm)) => {
                    let asm = asm.clone();
                    return self.inline_asm(&asm, instruction, &operands[1..]);
                }
                _ => Callable::Value(callee),
            },
        };
        let tail = self.tail_kind(index, instruction)?;
        self.make_call(instruction, to, &operands[1..], None, tail)
    }

    /// Whether the call is followed by nothing but the return of its result, and may replace it.
    #[inline]
    fn tail_kind(&mut self, index: u32, instruction: &Instruction) -> Result<TailKind> {
        let body = self.body;
        let call = body.call(instruction);
        if !matches!(call.tail, TailKind::Tail | TailKind::Must) {
            return Ok(TailKind::None);
        }
        let follows = self.is_returned(index, instruction);
        match (follows && self.may_tail_call, call.tail) {
            (true, kind) => Ok(kind),
            (false, TailKind::Must) => Err(Box::new(Unsupported::Instruction("musttail"))),
            _ => Ok(TailKind::None),
        }
    }

    /// Whether the function returns right after instruction `index`, with its result if it has one: in its block, or in a
    /// block behind it that does nothing else, which front ends and optimisers share between all returns.
    fn is_returned(&self, index: u32, instruction: &Instruction) -> bool {
        let body = self.body;
        let next = body.instruction(index + 1);
        let (ret, from_here) = match next.opcode {
            Opcode::Br => {
                let block = BlockId(body.operands(next)[0]);
                let range = body.block_instructions(block);
                let ret = body.instruction(range.end - 1);
                let only_phis = (range.start..range.end - 1).all(|at| body.instruction(at).opcode == Opcode::Phi);
                if !only_phis {
                    return false;
                }
                (ret, Some(block))
            }
            _ => (next, None),
        };
        if ret.opcode != Opcode::Ret {
            return false;
        }
        let Some(mut returned) = body.operands(ret).first().copied() else { return true };
        if let Some(block) = from_here
            && let Some(m) = self.flow.moves(self.position, block).iter().find(|m| m.phi.0 == returned)
        {
            returned = m.value.0;
        }
        instruction.result() != ValueId::NONE && returned == instruction.result().0
    }

    #[inline(never)]
    pub(crate) fn invoke(&mut self, _index: u32, instruction: &Instruction, operands: &[u32]) -> Result<()> {
        let callee = ValueId(operands[0]);
        let (normal, unwind) = (BlockId(operands[1]), BlockId(operands[2]));
        if let Some(Constant::Global(GlobalRef::Function(function))) = self.constant(callee)
            && self.module.str(self.module.function(function).symbol.name).starts_with(b"llvm.")
        {
            return Err(Box::new(Unsupported::Instruction("invoke of an intrinsic")));
        }
        if matches!(self.constant(callee), Some(Constant::InlineAsm(_))) {
            return Err(Box::new(Unsupported::Instruction("invoke of inline assembly")));
        }
        let body = self.body;
        let pad = body.block_instructions(unwind).find(|at| body.instruction(*at).opcode != Opcode::Phi);
        let pad = pad.filter(|at| body.instruction(*at).opcode == Opcode::LandingPad);
        let pad = pad.ok_or_else(|| Box::new(Unsupported::Instruction("an unwind destination without landing pad")))?;
        let stub = self.asm.label();
        let to = match self.constant(callee) {
            Some(Constant::Global(base)) => Callable::Global(base),
            _ => Callable::Value(callee),
        };
        self.make_call(instruction, to, &operands[3..], Some((stub, pad)), TailKind::None)?;
        let stack = self.outgoing;
        self.flow_into(normal)?;
        let to = label_at(self.flow.position[normal.0 as usize]);
        self.asm.jmp(to);
        // The exception's registers are not touched on the way.
        self.asm.bind(stub);
        self.take_back(stack);
        self.flow_into(unwind)?;
        let to = label_at(self.flow.position[unwind.0 as usize]);
        self.asm.jmp(to);
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn landing_pad(&mut self, instruction: &Instruction) -> Result<()> {
        let result = self.result(instruction)?;
        self.claim(RAX.0)?;
        self.claim(RDX.0)?;
        let (first, count) = self.type_parts(self.body.result_type(instruction))?;
        if count != 2 || (0..2).any(|at| self.known.types.get(first + at).bank != Bank::Gpr) {
            return Err(Box::new(Unsupported::Type("an unusual landing pad")));
        }
        self.bind(result, 0, RAX.0);
        self.bind(result, 1, RDX.0);
        Ok(())
    }

    #[inline(never)]
    pub(crate) fn resume(&mut self, value: ValueId) -> Result<()> {
        self.claim(RDI.0)?;
        self.load_into(RDI.0, value, 0)?;
        let target = self.library("_Unwind_Resume");
        let start = self.asm.position();
        self.asm.branch(0xe8, target, RelocationKind::PLT32);
        self.sites.push(Site { start, end: self.asm.position(), pad: None });
        self.asm.ud2();
        Ok(())
    }

    /// Calls a function of the run-time library whose arguments are in place. The results' registers are free then.
    pub(crate) fn call_library(&mut self, name: &'static str) -> Result<()> {
        let target = self.library(name);
        self.save_around_call();
        self.asm.branch(0xe8, target, RelocationKind::PLT32);
        self.free_temporaries();
        Ok(())
    }

    /// Stores what is wanted after this instruction and does not survive a call.
    pub(crate) fn save_around_call(&mut self) {
        // Temporaries are nobody's.
        self.save_registers(CALLER_SAVED & !self.registers.temps);
        self.in_the_way |= self.registers.reserved & CALLER_SAVED != 0;
    }

    /// Puts part `at` of `value` into `reg`, which is taken until the call.
    pub(crate) fn place(&mut self, reg: u8, value: ValueId, at: u32) -> Result<()> {
        let Some(part) = self.part_of(value, at) else {
            self.claim(reg)?;
            return self.load_other(reg, value, at);
        };
        let known = self.parts[part as usize];
        if known.reg == reg && !known.fixed {
            let of = self.values[known.value as usize];
            if self.registers.pinned & bit(reg) == 0 && (known.stored || of.is_last_here()) {
                self.parts[part as usize].reg = NO_REG;
                self.registers.owners[usize::from(reg & 31)] = NO_PART;
                self.registers.free |= bit(reg);
            }
            // Whoever is copied elsewhere stays here as well.
            return self.claim(reg);
        }
        self.claim(reg)?;
        // What was in the register may have been this.
        let known = self.parts[part as usize];
        if known.reg != NO_REG {
            self.copy_register(reg, known.reg, known.bytes);
        } else if known.stored {
            self.load_slot(reg, known.slot, known.bytes);
        } else {
            return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
        }
        Ok(())
    }

    /// The attributes of a call, and of the function that it names.
    fn attribute_lists(&self, call: &Call, callee: Option<FunctionId>) -> [Option<AttributeList<'_>>; 2] {
        let module = self.module;
        let callee = callee.map(|function| module.attributes(module.function(function).attributes));
        [Some(module.attributes(call.attributes)), callee]
    }

    /// Finds the places of the arguments and the result of a call, and checks that they are this compiler's.
    #[inline(never)]
    fn classify_call(
        &mut self,
        call: &Call,
        instruction: &Instruction,
        function: Option<FunctionId>,
        arguments: &[u32],
        into: &mut CallSignature,
    ) -> Result<()> {
        let module = self.module;
        self.extra.clear();
        for argument in &arguments[self.parameter_count(call).min(arguments.len())..] {
            self.extra.push(self.body.type_of(module, ValueId(*argument)));
        }
        let mut scratch = std::mem::take(&mut self.known.scratch);
        let lists = self.attribute_lists(call, function);
        let mut given = [module.attributes(module.function(self.function).attributes); 2];
        let mut count = 0;
        for list in lists.into_iter().flatten() {
            given[count] = list;
            count += 1;
        }
        let given = &given[..count];
        into.returns_twice = given.iter().any(|list| returns_twice(*list));
        let signature = &mut into.signature;
        let (convention, vectors) = (u32::from(call.convention), self.vectors);
        let asked = Asked { function: call.ty, extra: self.extra, convention, attributes: given, vectors };
        signature.classify(module, &asked, &mut scratch).map_err(|what| Box::new(Unsupported::Attribute(what)))?;
        self.known.scratch = scratch;
        if signature.stack_bytes > 1 << 16 {
            return Err(Box::new(Unsupported::Attribute("very many arguments on the stack")));
        }
        for (at, part) in numbered(&signature.arguments) {
            self.check_part(ValueId(arguments[part.argument as usize]), at, part)?;
        }
        if !signature.demoted {
            for (at, part) in numbered(&signature.results) {
                if matches!(part.place, AbiPlace::X87(_)) && part.kind != Kind::X87 {
                    return Err(Box::new(Unsupported::Attribute("a result in an x87 register")));
                }
                self.check_type_part(self.body.result_type(instruction), at, part)?;
            }
        }
        into.sum_up();
        Ok(())
    }

    /// Refuses operand bundles that ask for something, by name.
    #[cold]
    fn check_bundles(&self, call: &Call) -> Result<()> {
        let tags = self.module.operand_bundle_tags();
        for (tag, _) in self.body.bundles(call) {
            let what = match tags.get(tag as usize).map_or(&b""[..], |tag| tag) {
                // Which calls are made together counts where several threads run one instruction.
                b"convergencectrl" => continue,
                b"kcfi" => "operand bundle kcfi",
                b"deopt" => "operand bundle deopt",
                b"funclet" => "operand bundle funclet",
                b"ptrauth" => "operand bundle ptrauth",
                b"gc-live" | b"gc-transition" => "operand bundles of garbage collection",
                b"preallocated" => "operand bundle preallocated",
                b"cfguardtarget" => "operand bundle cfguardtarget",
                b"clang.arc.attachedcall" => "operand bundle clang.arc.attachedcall",
                _ => "an operand bundle that is not known",
            };
            return Err(Box::new(Unsupported::Attribute(what)));
        }
        Ok(())
    }

    /// How many parameters the type of a call names.
    fn parameter_count(&self, call: &Call) -> usize {
        match self.module.ty(call.ty) {
            kiln_bitcode::Type::Function { parameters, .. } => parameters.len(),
            _ => 0,
        }
    }

    fn make_call(
        &mut self,
        instruction: &Instruction,
        callee: Callable,
        arguments: &[u32],
        pad: Option<(Label, u32)>,
        tail: TailKind,
    ) -> Result<()> {
        let body = self.body;
        let call = body.call(instruction);
        if body.bundles(call).next().is_some() {
            self.check_bundles(call)?;
        }
        let function = match callee {
            Callable::Global(GlobalRef::Function(function)) => Some(function),
            _ => None,
        };
        if arguments.len() != self.parameter_count(call) {
            // What is behind `...` is part of the signature.
            let mut signature = CallSignature::default();
            self.classify_call(call, instruction, function, arguments, &mut signature)?;
            return self.make_call_by(&signature, instruction, callee, arguments, pad, tail);
        }
        let site = self.known.site(function, call.ty);
        let key = SignatureKey::of_call(self.module, call, function, self.vectors);
        let (id, signature) = match self.known.take_signature(self.module, site, key) {
            Some(known) => known,
            None => {
                let mut signature = Box::default();
                self.classify_call(call, instruction, function, arguments, &mut signature)?;
                (self.known.add_signature(self.module, key), signature)
            }
        };
        let done = self.make_call_by(&signature, instruction, callee, arguments, pad, tail);
        self.known.give_back_signature(id, signature);
        done
    }

    fn make_call_by(
        &mut self,
        by: &CallSignature,
        instruction: &Instruction,
        callee: Callable,
        arguments: &[u32],
        pad: Option<(Label, u32)>,
        tail: TailKind,
    ) -> Result<()> {
        let signature = &by.signature;
        if by.returns_twice && !self.frame.keep_slots {
            return Err(Box::new(Unsupported::Instruction(super::generator::RETURNS_TWICE)));
        }
        let tail = tail != TailKind::None && self.check_tail(signature, tail)?;
        let outgoing = self.make_room(signature);
        if outgoing != Outgoing::None {
            self.place_on_stack(signature, arguments)?;
            self.free_temporaries();
        }
        let mut returned_at = None;
        if signature.demoted {
            returned_at = Some(self.place_demoted(instruction)?);
        }
        for InRegister { argument, at, reg, extended } in by.in_registers.iter().copied() {
            let value = ValueId(arguments[argument as usize]);
            self.place(reg, value, at)?;
            if let Some(kind @ Kind::Integer { bits, .. }) = extended
                && (bits < 32 || !self.body.is_constant(value))
            {
                self.extend_for(Gpr(reg), kind);
            }
        }
        if by.is_wide {
            self.place_uppers(signature, arguments)?;
        }
        if signature.variadic {
            self.claim(RAX.0)?;
            self.asm.mov_imm(RAX, u64::from(signature.vector_registers));
        }
        let callee = self.callee(callee)?;
        if tail {
            self.tail_jump(callee);
            return Ok(());
        }
        // What this call reads last need not be kept; but the slot that the callee's address is read from must not be
        // given away before.
        let body = self.body;
        let named = &body.operands(instruction)[..1];
        self.release_all(arguments);
        if matches!(callee, Destination::Reg(_)) {
            self.release_all(named);
        }
        self.save_around_call();
        if matches!(callee, Destination::Mem(_)) {
            self.release_all(named);
        }
        self.rest = Rest::Nothing;
        let start = self.asm.position();
        match callee {
            Destination::Direct(target) => self.asm.branch(0xe8, target, RelocationKind::PLT32),
            Destination::Reg(reg) => self.asm.rr(Op::one(0xff), 2, reg.0),
            Destination::Mem(mem) => self.asm.rm(Op::one(0xff), 2, &mem),
        }
        self.sites.push(Site { start, end: self.asm.position(), pad });
        self.take_back(outgoing);
        self.outgoing = outgoing;
        self.free_temporaries();
        if let Some(reg) = by.result {
            let only = self.scalar(self.body.result_type(instruction))?;
            self.claim(reg)?;
            self.define(instruction.result(), only, reg);
            return Ok(());
        }
        self.take_results(signature, instruction, returned_at)
    }

    /// Makes room for a result in memory, and says so to the callee.
    #[inline(never)]
    fn place_demoted(&mut self, instruction: &Instruction) -> Result<i32> {
        let layout = *self
            .module
            .layout_of(self.body.result_type(instruction))
            .ok_or_else(|| Box::new(Unsupported::Type("a type without size")))?;
        self.claim(RDI.0)?;
        if layout.abi_align <= 16 {
            let home = self.frame.object(layout.size, 16);
            self.asm.lea(RDI, &Mem::frame(home));
            return Ok(home);
        }
        // RBP is a multiple of 16 only. What is returned there is copied to where it is known to be.
        if layout.abi_align > 64 {
            return Err(Box::new(Unsupported::Attribute("a result in memory with a large alignment")));
        }
        let home = self.frame.object(layout.size + layout.abi_align - 16, 16);
        self.asm.lea(RDI, &Mem::frame(home + layout.abi_align as i32 - 16));
        self.asm.alu_ri(Alu::And, RDI, -(layout.abi_align as i32), 8);
        Ok(home)
    }

    /// Says that values have been read, for good.
    pub(crate) fn release_all(&mut self, values: &[u32]) {
        for value in values {
            self.release(ValueId(*value));
        }
    }

    /// Results of several parts, in memory, or none.
    #[inline(never)]
    fn take_results(&mut self, signature: &Signature, instruction: &Instruction, home: Option<i32>) -> Result<()> {
        if self.is_void(self.body.result_type(instruction)) {
            return Ok(());
        }
        let result = self.result(instruction)?;
        for reg in signature.results.iter().filter_map(|part| register(part.place)) {
            self.claim(reg)?;
        }
        // The x87 registers are to be empty, whoever wants what was in them.
        for (at, _) in numbered(&signature.results).filter(|(_, part)| matches!(part.place, AbiPlace::X87(_))) {
            self.bind_st0(result, at)?;
        }
        if self.values[self.value_index(result) as usize].uses() == 0 {
            return Ok(());
        }
        if let Some(home) = home {
            let (first, count) = self.type_parts(self.body.result_type(instruction))?;
            // It returns the address, which need not be the home's where that is not aligned.
            let home = match self.module.layout_of(self.body.result_type(instruction)) {
                Some(layout) if layout.abi_align > 16 => {
                    self.claim(RAX.0)?;
                    Mem::reg(RAX, 0)
                }
                _ => Mem::frame(home),
            };
            for at in 0..count {
                let part = self.known.types.get(first + at);
                let reg = self.load_memory(&home, part)?;
                self.bind_or_drop(result, at, reg);
            }
            return Ok(());
        }
        for (at, part) in numbered(&signature.results) {
            if let Some(reg) = register(part.place) {
                if part.kind.is_wide() {
                    self.take_upper(result, at + 1, Xmm(reg - XMM0));
                }
                self.bind(result, at, reg);
            }
        }
        if signature.results.iter().any(|part| part.kind.is_wide()) {
            self.asm.zero_uppers();
        }
        Ok(())
    }

    /// Makes room for arguments on the stack.
    fn make_room(&mut self, signature: &Signature) -> Outgoing {
        let bytes = signature.stack_bytes.next_multiple_of(16);
        if bytes == 0 {
            return Outgoing::None;
        }
        if signature.stack_align <= 16 {
            self.adjust_stack(-(bytes as i32));
            return Outgoing::Bytes(bytes);
        }
        // Vectors of AVX in memory, and what the program aligned: nobody knows how far RSP moves.
        let slot = self.frame.take(8);
        self.asm.store(&Mem::frame(slot), RSP, 8);
        self.adjust_stack(-(bytes as i32));
        self.asm.alu_ri(Alu::And, RSP, -(signature.stack_align as i32), 8);
        Outgoing::Saved(slot)
    }

    /// Takes the room back, after the call or where it was left by an exception.
    fn take_back(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::None => {}
            Outgoing::Bytes(bytes) => self.adjust_stack(bytes as i32),
            Outgoing::Saved(slot) => self.asm.load(RSP, &Mem::frame(slot), 8),
        }
    }

    /// Moves RSP without touching flags or registers.
    fn adjust_stack(&mut self, by: i32) {
        self.asm.lea(RSP, &Mem::reg(RSP, by));
    }

    fn place_on_stack(&mut self, signature: &Signature, arguments: &[u32]) -> Result<()> {
        for (at, part) in numbered(&signature.arguments) {
            let AbiPlace::Stack(offset) = part.place else { continue };
            let value = ValueId(arguments[part.argument as usize]);
            let to = Mem::reg(RSP, offset as i32);
            if part.kind == Kind::X87 {
                self.store_x87_part(&to, value, at)?;
                continue;
            }
            if let Kind::ByVal { size } = part.kind {
                self.copy_argument(value, to, size)?;
                continue;
            }
            let bytes = match part.kind {
                Kind::Integer { .. } => 8,
                Kind::Float { bits } => bits / 8,
                _ => 16,
            };
            if part.kind.is_wide() {
                for step in 0..2 {
                    let reg = self.read_xmm(value, at + step)?;
                    self.asm.store_xmm(&to.plus(16 * step as i32), reg, 16);
                    self.release_pin(reg.0 + XMM0);
                }
                continue;
            }
            match part.kind {
                Kind::Integer { extend: Extend::None, .. } if self.body.is_constant(value) => {
                    self.load_into(SCRATCH.0, value, at)?;
                    self.asm.store(&to, SCRATCH, 8);
                }
                Kind::Integer { .. } => {
                    let reg = self.take_gpr(value, at)?;
                    self.extend_for(reg, part.kind);
                    self.asm.store(&to, reg, 8);
                    self.unhold(reg.0);
                }
                _ => {
                    let reg = self.read_xmm(value, at)?;
                    self.asm.store_xmm(&to, reg, bytes);
                    self.release_pin(reg.0 + XMM0);
                }
            }
        }
        Ok(())
    }

    fn copy_argument(&mut self, value: ValueId, to: Mem, size: u32) -> Result<()> {
        if size <= COPY_INLINE_MAX {
            let from = self.address(value)?;
            let from = self.steady(from)?;
            self.copy_block(&to, &from, size);
            self.free_temporaries();
            return Ok(());
        }
        for reg in [RDI, RSI, RCX] {
            self.claim(reg.0)?;
        }
        self.load_into(RSI.0, value, 0)?;
        self.asm.lea(RDI, &to);
        self.asm.mov_imm(RCX, u64::from(size));
        self.asm.raw(&[0xf3, 0xa4]); // rep movsb
        self.free_temporaries();
        Ok(())
    }

    /// What to call, without a register that holds an argument.
    fn callee(&mut self, callee: Callable) -> Result<Destination> {
        let callee = match callee {
            Callable::Global(base) => return Ok(Destination::Direct(self.symbol(base))),
            Callable::Value(value) => value,
        };
        if self.body.is_constant(callee) {
            self.load_into(SCRATCH.0, callee, 0)?;
            return Ok(Destination::Reg(SCRATCH));
        }
        if let Some(part) = self.part_of(callee, 0) {
            let known = self.parts[part as usize];
            if known.reg != NO_REG {
                return Ok(Destination::Reg(Gpr(known.reg)));
            }
            if known.stored {
                return Ok(Destination::Mem(self.slot_mem(part)));
            }
            return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
        }
        if let Place::Deferred(_) = self.values[self.value_index(callee) as usize].place() {
            return Err(Box::new(Unsupported::Instruction("a call of an address that was put off")));
        }
        self.load_into(SCRATCH.0, callee, 0)?;
        Ok(Destination::Reg(SCRATCH))
    }

    // ---- tail calls ---------------------------------------------------------------------------------------------

    #[inline(never)]
    fn check_tail(&self, signature: &Signature, tail: TailKind) -> Result<bool> {
        let extends = |part: &AbiPart| match part.kind {
            Kind::Integer { bits, extend } => (bits, Some(extend)),
            _ => (0, None),
        };
        let same = self.own.results.is_empty()
            || self.own.results.len() == signature.results.len()
                && self
                    .own
                    .results
                    .iter()
                    .zip(&signature.results)
                    .all(|(a, b)| a.place == b.place && extends(a) == extends(b));
        let possible = same
            && signature.stack_bytes == 0
            && !signature.demoted
            && !self.own.demoted
            && self.own.sret.is_none()
            && !self.frame.keep_slots
            && (tail == TailKind::Must || !self.guard.is_possible());
        match (possible, tail) {
            (false, TailKind::Must) => Err(Box::new(Unsupported::Instruction("musttail"))),
            (possible, _) => Ok(possible),
        }
    }

    /// The arguments are in place; the frame goes, and the callee returns to the caller.
    fn tail_jump(&mut self, callee: Destination) {
        let target = match callee {
            Destination::Direct(target) => Some(target),
            Destination::Reg(reg) => {
                if reg != SCRATCH {
                    self.asm.mov(SCRATCH, reg);
                }
                None
            }
            Destination::Mem(mem) => {
                self.asm.load(SCRATCH, &mem, 8);
                None
            }
        };
        let label = self.asm.label();
        self.asm.jmp(label);
        self.tails.push(Tail { label, target });
        self.rest = Rest::Leave;
    }
}
