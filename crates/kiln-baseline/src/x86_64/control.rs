//! Branches, switches, what flows along edges, and returns.

use kiln_bitcode::{BlockId, Type, ValueId};
use kiln_link::RelocationKind;

use super::abi::{Extend, Kind, Place as AbiPlace, numbered};
use super::arithmetic::{Parity, Test};
use super::encoder::{Alu, Cond, Gpr, Label, Mem, Op, RAX, Target, Xmm};
use super::generator::{Generator, Result, Waiting, label_at};
use super::operands::{Bits, sign_extend};
use super::part_array::Part;
use super::parts::{Bank, PartType};
use super::registers::{NO_REG, SCRATCH, SCRATCH_XMM, XMM0};
use super::values::{Place, Value};
use crate::analysis::{Move, NONE};
use crate::compiler::Unsupported;

/// Fewer cases than this are compared one by one.
const TABLE_CASES_MIN: usize = 4;
/// A table may have so many entries per case.
const TABLE_SPREAD: u64 = 4;

impl<'a> Generator<'a> {
    // ---- edges --------------------------------------------------------------------------------------------------

    fn block_label(&self, block: BlockId) -> Label {
        label_at(self.flow.position[block.0 as usize])
    }

    fn is_next(&self, block: BlockId) -> bool {
        self.flow.position[block.0 as usize] == self.position + 1
    }

    /// What flows into the phis of `block` on the edge from here; nothing if the edge needs no code.
    fn moves_to(&self, block: BlockId) -> &'a [Move] {
        let moves = self.flow.moves(self.position, block);
        if moves.iter().any(|m| self.is_wanted_move(m)) { moves } else { &[] }
    }

    fn is_wanted_move(&self, m: &Move) -> bool {
        m.value != m.phi && self.body.is_used(m.phi)
            || m.value == m.phi && self.flow.order[self.flow.position[m.block.0 as usize] as usize].indirect
    }

    fn jump(&mut self, block: BlockId) {
        if !self.is_next(block) {
            let label = self.block_label(block);
            self.asm.jmp(label);
        }
    }

    /// The end of a block with one successor.
    #[inline(never)]
    pub(crate) fn go(&mut self, block: BlockId) -> Result<()> {
        self.flow_into(block)?;
        self.jump(block);
        Ok(())
    }

    /// Gives the phis of `block` their values on the edge from here. Uses the scratch registers only, so that other edges
    /// find all registers as they were; flags change.
    #[inline]
    pub(crate) fn flow_into(&mut self, block: BlockId) -> Result<()> {
        match self.flow.all_moves(self.position) {
            [] => Ok(()),
            _ => self.make_moves(self.flow.moves(self.position, block)),
        }
    }

    /// Makes the moves of an edge.
    fn make_moves(&mut self, moves: &[Move]) -> Result<()> {
        let [Move { block, phi: first, .. }, ..] = *moves else { return Ok(()) };
        // Phis of a block have consecutive numbers, and every predecessor writes all of them.
        let phis = first..=moves[moves.len() - 1].phi;
        let target = self.flow.position[block.0 as usize];
        let indirect = self.flow.order[target as usize].indirect;
        if let [only] = moves {
            self.meet(only.phi)?;
            return if self.is_wanted_move(only) {
                self.write_phi(only.phi, only.value, indirect, &[])
            } else {
                Ok(())
            };
        }
        let mut entangled = false;
        for m in moves {
            self.meet(m.phi)?;
            entangled |= m.value != m.phi && phis.contains(&m.value);
        }
        if entangled && !indirect {
            return self.flow_entangled(moves);
        }
        let mut last = ValueId::NONE;
        for m in moves {
            if m.phi != last && self.is_wanted_move(m) {
                self.write_phi(m.phi, m.value, indirect, &[])?;
            }
            last = m.phi;
        }
        Ok(())
    }

    /// Gives `phi` parts if it has none yet and somebody wants it.
    #[inline]
    fn meet(&mut self, phi: ValueId) -> Result<()> {
        match self.values[self.value_index(phi) as usize].is_nowhere() && self.body.is_used(phi) {
            true => self.make_parts(phi),
            false => Ok(()),
        }
    }

    /// Moves that read what others write: each waits until nobody reads its target any more; of a cycle, one value is
    /// kept aside.
    #[inline(never)]
    fn flow_entangled(&mut self, moves: &[Move]) -> Result<()> {
        let mut pending = 0usize;
        let mut last = ValueId::NONE;
        // By the number of the phi in its block.
        let (first, last_phi) = (moves[0].phi, moves[moves.len() - 1].phi);
        let index_of = |phi: ValueId| (phi.0 - first.0) as usize;
        self.waiting.clear();
        self.waiting.resize(index_of(last_phi) + 1, Waiting { readers: 0, pending: NONE });
        for (at, m) in moves.iter().enumerate() {
            if m.phi != last && self.is_wanted_move(m) {
                self.waiting[index_of(m.phi)].pending = at as u32;
                pending += 1;
            }
            last = m.phi;
        }
        let reads = |this: &mut Self, at: u32, change: i32| -> u32 {
            let m = moves[at as usize];
            if !(first..=last_phi).contains(&m.value) {
                return NONE;
            }
            let Waiting { readers, pending } = &mut this.waiting[index_of(m.value)];
            *readers = readers.wrapping_add_signed(change);
            if *readers == 0 { *pending } else { NONE }
        };
        let writes = |this: &Self, at: usize| this.waiting[index_of(moves[at].phi)].pending == at as u32;
        let is_ready = |this: &Self, at: usize| this.waiting[index_of(moves[at].phi)].readers == 0;
        for at in 0..moves.len() {
            if writes(self, at) {
                reads(self, at as u32, 1);
            }
        }
        // A phi whose value was put aside, and where.
        let mut aside: Vec<(ValueId, i32, u32)> = Vec::new();
        let mut scan = 0;
        while pending > 0 {
            // The next one that nobody reads; where there is none, the first one is part of a cycle.
            let ready = (0..moves.len()).skip(scan).find(|at| writes(self, *at) && is_ready(self, *at));
            let mut at = match ready {
                Some(at) => {
                    scan = at;
                    at as u32
                }
                None => {
                    scan = 0;
                    let again = (0..moves.len()).find(|at| writes(self, *at) && is_ready(self, *at));
                    match again {
                        Some(at) => at as u32,
                        None => {
                            let Some(at) = (0..moves.len()).find(|at| writes(self, *at)) else { break };
                            self.put_aside(moves[at].phi, &mut aside)?;
                            at as u32
                        }
                    }
                }
            };
            loop {
                let m = moves[at as usize];
                self.write_phi(m.phi, m.value, false, &aside)?;
                self.waiting[index_of(m.phi)].pending = NONE;
                pending -= 1;
                let next = reads(self, at, -1);
                if next == NONE {
                    break;
                }
                at = next;
            }
        }
        Ok(())
    }

    /// Copies the parts of `phi` to slots of their own, because it is written before it is read.
    fn put_aside(&mut self, phi: ValueId, aside: &mut Vec<(ValueId, i32, u32)>) -> Result<()> {
        let index = self.value_index(phi) as usize;
        for (at, index) in (0..).zip(self.all_parts(self.values[index])) {
            let part = self.parts[index as usize];
            let bytes = if part.bytes == 16 { 16 } else { 8 };
            let slot = self.frame.object(bytes, bytes);
            if part.reg != NO_REG {
                self.store_part(part.reg, &Mem::frame(slot), part.bytes);
            } else {
                let from = self.slot_mem(index);
                self.copy_memory(&Mem::frame(slot), &from, part.bytes);
            }
            aside.push((phi, slot, at));
        }
        Ok(())
    }

    /// Writes `value` into the home of `phi`.
    #[inline]
    fn write_phi(&mut self, phi: ValueId, value: ValueId, indirect: bool, aside: &[(ValueId, i32, u32)]) -> Result<()> {
        let known = self.values[self.value_index(phi) as usize];
        match known.part() {
            Some(part) if !known.has_several_parts() && !indirect && aside.is_empty() => {
                self.write_phi_part(part, value)
            }
            _ => self.write_phi_parts(known, value, indirect, aside),
        }
    }

    /// The same of a phi that has several, or that is not written where it lives.
    #[inline(never)]
    fn write_phi_parts(
        &mut self,
        known: Value,
        value: ValueId,
        indirect: bool,
        aside: &[(ValueId, i32, u32)],
    ) -> Result<()> {
        for (at, part) in (0..).zip(self.all_parts(known)) {
            let Part { reg, bytes, fixed, .. } = self.parts[part as usize];
            let put_aside = aside.iter().find(|(p, _, part)| *p == value && *part == at);
            if fixed {
                match put_aside {
                    Some((_, slot, _)) => self.load_part(reg, &Mem::frame(*slot), bytes),
                    None => self.load_into(reg, value, at)?,
                }
                continue;
            }
            let home = if indirect { self.incoming_slot(part) } else { self.slot(part) };
            match put_aside {
                Some((_, slot, _)) => self.copy_memory(&Mem::frame(home), &Mem::frame(*slot), bytes),
                None => self.write_home(part, home, value, at)?,
            }
        }
        Ok(())
    }

    /// Writes `value` into the home of a phi that has only this part: what nearly all are.
    #[inline(never)]
    fn write_phi_part(&mut self, part: u32, value: ValueId) -> Result<()> {
        let Part { reg, bytes, fixed, .. } = self.parts[part as usize];
        if fixed {
            return self.load_into(reg, value, 0);
        }
        let home = self.slot(part);
        match self.part_of(value, 0) {
            Some(from) if self.parts[from as usize].reg != NO_REG => {
                self.store_slot(self.parts[from as usize].reg, home, bytes);
                Ok(())
            }
            _ => self.write_home(part, home, value, 0),
        }
    }

    /// Writes part `at` of `value` into the slot `home` of the part `part` of a phi.
    fn write_home(&mut self, part: u32, home: i32, value: ValueId, at: u32) -> Result<()> {
        let Part { bytes, bank, .. } = self.parts[part as usize];
        let to = Mem::frame(home);
        if let Some(from) = self.part_of(value, at) {
            let from_part = self.parts[from as usize];
            if from_part.reg != NO_REG {
                self.store_slot(from_part.reg, home, bytes);
            } else if from_part.stored {
                let from = self.slot_mem(from);
                self.copy_memory(&to, &from, bytes);
            } else {
                return Err(Box::new(Unsupported::Instruction("a use of a value that is nowhere")));
            }
            return Ok(());
        }
        if !self.body.is_constant(value) {
            self.load_into(SCRATCH.0, value, at)?;
            self.store_slot(SCRATCH.0, home, bytes);
            return Ok(());
        }
        if bank == Bank::Gpr
            && at == 0
            && let Some(number) = self.number(value)
        {
            self.store_number(&to, number, bytes);
            return Ok(());
        }
        let ty = self.ty(value);
        let part = self.part_type(ty, at)?;
        match self.constant_bits(value, part)? {
            Bits::Number(number) if part.bytes <= 8 => self.store_number(&to, number as u64, part.bytes),
            bits => {
                let reg = if bank == Bank::Gpr { SCRATCH.0 } else { SCRATCH_XMM.0 + XMM0 };
                self.load_bits(reg, bits, part)?;
                self.store_slot(reg, home, bytes);
            }
        }
        Ok(())
    }

    // ---- branches -----------------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn branch(&mut self, condition: ValueId, yes: BlockId, no: BlockId) -> Result<()> {
        if yes == no {
            return self.go(yes);
        }
        if self.place_of(condition) == Place::Nowhere
            && let Some(number) = self.number(condition)
        {
            return self.go(if number & 1 != 0 { yes } else { no });
        }
        let test = self.truth(condition)?;
        // Edges that need code need a label of their own; one of them follows the branch.
        let (yes_moves, no_moves) = match self.flow.all_moves(self.position) {
            [] => (&[][..], &[][..]),
            _ => (self.moves_to(yes), self.moves_to(no)),
        };
        let yes_label = self.block_label(yes);
        let no_label = self.block_label(no);
        match (yes_moves, no_moves) {
            ([], []) => {
                if self.is_next(yes) {
                    self.jump_unless(test, no_label);
                } else {
                    self.jump_if(test, yes_label);
                    self.jump(no);
                }
            }
            ([], _) => {
                self.jump_if(test, yes_label);
                self.make_moves(no_moves)?;
                self.jump(no);
            }
            (_, []) => {
                self.jump_unless(test, no_label);
                self.make_moves(yes_moves)?;
                self.jump(yes);
            }
            _ => {
                let edge = self.asm.label();
                if self.is_next(no) {
                    self.jump_unless(test, edge);
                    self.make_moves(yes_moves)?;
                    self.asm.jmp(yes_label);
                    self.asm.bind(edge);
                    self.make_moves(no_moves)?;
                } else {
                    self.jump_if(test, edge);
                    self.make_moves(no_moves)?;
                    self.asm.jmp(no_label);
                    self.asm.bind(edge);
                    self.make_moves(yes_moves)?;
                    self.jump(yes);
                }
            }
        }
        Ok(())
    }

    fn jump_if(&mut self, test: Test, label: Label) {
        match test.parity {
            Parity::None => self.asm.jcc(test.cond, label),
            Parity::OrUnordered => {
                self.asm.jcc(Cond::P, label);
                self.asm.jcc(test.cond, label);
            }
            Parity::AndOrdered => {
                let skip = self.asm.skip(Cond::P);
                self.asm.jcc(test.cond, label);
                self.asm.land(skip);
            }
        }
    }

    fn jump_unless(&mut self, test: Test, label: Label) {
        match test.parity {
            Parity::None => self.asm.jcc(test.cond.inverted(), label),
            Parity::AndOrdered => {
                self.asm.jcc(Cond::P, label);
                self.asm.jcc(test.cond.inverted(), label);
            }
            Parity::OrUnordered => {
                let skip = self.asm.skip(Cond::P);
                self.asm.jcc(test.cond.inverted(), label);
                self.asm.land(skip);
            }
        }
    }

    // ---- switch -------------------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn switch(&mut self, value: ValueId, default: BlockId, cases: &[u32]) -> Result<()> {
        let bits = match self.module.ty(self.ty(value)) {
            Type::Integer(bits @ 1..=64) => *bits,
            Type::Integer(bits @ 65..=128) => return self.wide_switch(value, *bits, default, cases),
            _ => return Err(Box::new(Unsupported::Instruction("switch on an integer of over 128 bits"))),
        };
        if let Some(number) = self.number(value) {
            let target = cases.chunks_exact(2).find(|case| self.number(ValueId(case[0])) == Some(number));
            return self.go(target.map_or(default, |case| BlockId(case[1])));
        }
        let mut list = std::mem::take(self.cases);
        list.clear();
        for case in cases.chunks_exact(2) {
            let number =
                self.number(ValueId(case[0])).ok_or_else(|| Box::new(Unsupported::Instruction("a damaged switch")))?;
            list.push((sign_extend(number, bits) as u64, BlockId(case[1])));
        }
        list.sort_unstable_by_key(|(number, _)| *number as i64);
        let wide = bits > 32;
        let reg = self.take_sign_extended(value, 0, wide)?;
        let spare = self.alloc_gpr()?;
        let mut stubs = std::mem::take(self.stubs);
        stubs.clear();
        let default_label = self.edge_label(default, &mut stubs);
        let done = self.search(reg, spare, wide, &list, default_label, &mut stubs);
        *self.cases = list;
        done?;
        self.edge_code(stubs)
    }

    /// The code of edges that [`Generator::edge_label`] named.
    fn edge_code(&mut self, stubs: Vec<(Label, BlockId)>) -> Result<()> {
        for (label, block) in &stubs {
            self.asm.bind(*label);
            self.flow_into(*block)?;
            let to = self.block_label(*block);
            self.asm.jmp(to);
            self.edges[self.flow.position[block.0 as usize] as usize] = NONE;
        }
        *self.stubs = stubs;
        Ok(())
    }

    /// A switch on two words, case by case.
    fn wide_switch(&mut self, value: ValueId, bits: u32, default: BlockId, cases: &[u32]) -> Result<()> {
        let ty = self.ty(value);
        let (low, high) = self.take_wide(value, bits, false)?;
        let differences = self.alloc_gpr()?;
        let mut stubs = std::mem::take(self.stubs);
        stubs.clear();
        for case in cases.chunks_exact(2) {
            let mut words = [0u64; 2];
            for (at, word) in (0u32..).zip(&mut words) {
                let part = self.part_type(ty, at)?;
                match self.constant_bits(ValueId(case[0]), part)? {
                    Bits::Number(number) => *word = number as u64 & (u64::MAX >> (64 - part.bits)),
                    _ => return Err(Box::new(Unsupported::Instruction("a damaged switch"))),
                }
            }
            let label = self.edge_label(BlockId(case[1]), &mut stubs);
            self.asm.mov_imm(differences, words[0]);
            self.asm.alu_rr(Alu::Xor, differences, low, 8);
            self.asm.mov_imm(SCRATCH, words[1]);
            self.asm.alu_rr(Alu::Xor, SCRATCH, high, 8);
            self.asm.alu_rr(Alu::Or, differences, SCRATCH, 8);
            self.asm.jcc(Cond::E, label);
        }
        let label = self.edge_label(default, &mut stubs);
        self.asm.jmp(label);
        self.edge_code(stubs)
    }

    /// Where to jump for `block`: to it, or to code that gives its phis their values first.
    fn edge_label(&mut self, block: BlockId, stubs: &mut Vec<(Label, BlockId)>) -> Label {
        if self.moves_to(block).is_empty() {
            return self.block_label(block);
        }
        let position = self.flow.position[block.0 as usize] as usize;
        if self.edges[position] == NONE {
            let label = self.asm.label();
            self.edges[position] = label.0;
            stubs.push((label, block));
        }
        Label(self.edges[position])
    }

    fn compare_number(&mut self, reg: Gpr, wide: bool, number: u64) {
        let bytes = if wide { 8 } else { 4 };
        let small = if wide { i32::try_from(number as i64).ok() } else { Some(number as i32) };
        match small {
            Some(small) => self.asm.alu_ri(Alu::Cmp, reg, small, bytes),
            None => {
                self.asm.mov_imm(SCRATCH, number);
                self.asm.alu_rr(Alu::Cmp, reg, SCRATCH, bytes);
            }
        }
    }

    /// Finds `reg` among the sorted `cases`: by a table where they are dense, else by halves.
    fn search(
        &mut self,
        reg: Gpr,
        spare: Gpr,
        wide: bool,
        cases: &[(u64, BlockId)],
        default: Label,
        stubs: &mut Vec<(Label, BlockId)>,
    ) -> Result<()> {
        if cases.len() < TABLE_CASES_MIN {
            for (number, block) in cases {
                let label = self.edge_label(*block, stubs);
                self.compare_number(reg, wide, *number);
                self.asm.jcc(Cond::E, label);
            }
            self.asm.jmp(default);
            return Ok(());
        }
        let low = cases[0].0;
        let span = cases[cases.len() - 1].0.wrapping_sub(low);
        if span < TABLE_SPREAD * cases.len() as u64 {
            return self.table(reg, spare, wide, cases, default, stubs);
        }
        let middle = cases.len() / 2;
        let less = self.asm.label();
        self.compare_number(reg, wide, cases[middle].0);
        self.asm.jcc(Cond::L, less);
        self.search(reg, spare, wide, &cases[middle..], default, stubs)?;
        self.asm.bind(less);
        self.search(reg, spare, wide, &cases[..middle], default, stubs)
    }

    /// `jmp [table + 4 * (reg - low)]`, of distances from the table.
    fn table(
        &mut self,
        reg: Gpr,
        spare: Gpr,
        wide: bool,
        cases: &[(u64, BlockId)],
        default: Label,
        stubs: &mut Vec<(Label, BlockId)>,
    ) -> Result<()> {
        let bytes = if wide { 8 } else { 4 };
        let low = cases[0].0;
        let span = cases[cases.len() - 1].0.wrapping_sub(low);
        let negative = (low as i64).wrapping_neg();
        match i32::try_from(negative) {
            Ok(disp) => self.asm.rm(Op::one(0x8d).w_if(wide), spare.0, &Mem::reg(reg, disp)),
            Err(_) => {
                self.asm.mov_imm(spare, negative as u64);
                self.asm.alu_rr(Alu::Add, spare, reg, bytes);
            }
        }
        self.asm.alu_ri(Alu::Cmp, spare, span as i32, bytes);
        self.asm.jcc(Cond::A, default);
        let mut entries = Vec::with_capacity(span as usize + 1);
        let mut at = low;
        for (number, block) in cases {
            while at != *number {
                entries.push(default);
                at = at.wrapping_add(1);
            }
            entries.push(self.edge_label(*block, stubs));
            at = at.wrapping_add(1);
        }
        let table = self.asm.label();
        self.tables.push((table, entries));
        self.asm.lea(SCRATCH, &Mem::rip(Target::Label(table), RelocationKind::PC32, 0));
        let entry = Mem { base: super::encoder::Base::Reg(SCRATCH), index: Some((spare, 2)), disp: 0 };
        // movsxd
        self.asm.rm(Op::one(0x63).w(), spare.0, &entry);
        self.asm.alu_rr(Alu::Add, spare, SCRATCH, 8);
        self.jump_register(spare);
        Ok(())
    }

    pub(crate) fn jump_register(&mut self, reg: Gpr) {
        self.asm.rr(Op::one(0xff), 4, reg.0);
    }

    #[inline(never)]
    pub(crate) fn indirect_branch(&mut self, address: ValueId, blocks: &[u32]) -> Result<()> {
        let reg = self.read_gpr(address, 0)?;
        let mut seen: Vec<u32> = blocks.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for block in seen {
            self.flow_into(BlockId(block))?;
        }
        self.jump_register(reg);
        Ok(())
    }

    // ---- entry and return ---------------------------------------------------------------------------------------

    /// Takes over the arguments from where the caller left them.
    pub(crate) fn enter(&mut self) -> Result<()> {
        self.fix_registers();
        self.change_reserved(self.reserved_at(0));
        let arguments = std::mem::take(&mut self.own.arguments);
        let done = self.enter_with(&arguments);
        self.own.arguments = arguments;
        done?;
        self.free_temporaries();
        Ok(())
    }

    fn enter_with(&mut self, arguments: &[super::abi::Part]) -> Result<()> {
        // All of them are taken before one is moved.
        if self.own.demoted {
            self.claim(super::encoder::RDI.0)?;
        }
        for part in arguments {
            match part.place {
                AbiPlace::General(reg) => self.claim(reg)?,
                AbiPlace::Vector(reg) => self.claim(reg + XMM0)?,
                _ => {}
            }
        }
        if self.own.variadic {
            self.save_variadic();
        }
        if self.own.demoted {
            self.result_slot = self.frame.object(8, 8);
            self.asm.store(&Mem::frame(self.result_slot), super::encoder::RDI, 8);
        }
        for (at, part) in numbered(arguments) {
            let value = self.body.argument(part.argument);
            if let (Some(sret), AbiPlace::General(reg)) = (self.own.sret, part.place)
                && sret == part.argument
            {
                self.result_slot = self.frame.object(8, 8);
                self.asm.store(&Mem::frame(self.result_slot), Gpr(reg), 8);
            }
            let index = self.value_index(value) as usize;
            if self.values[index].uses() == 0 {
                continue;
            }
            if let Kind::ByVal { .. } = part.kind {
                let AbiPlace::Stack(offset) = part.place else {
                    return Err(Box::new(Unsupported::Attribute("byval in a register")));
                };
                self.values[index].set_frame(16 + offset as i32);
                continue;
            }
            self.make_parts(value)?;
            self.check_part(value, at, part)?;
            match part.place {
                AbiPlace::General(reg) => self.bind(value, at, reg),
                AbiPlace::Vector(reg) => {
                    if part.kind.is_wide() {
                        self.take_upper(value, at + 1, Xmm(reg));
                    }
                    self.bind(value, at, reg + XMM0);
                }
                AbiPlace::Stack(offset) => {
                    let own = part;
                    let first = self.part_of(value, at).expect("arguments have parts");
                    for (step, part) in (0i32..).zip(first..first + part.kind.own_parts()) {
                        let place = 16 + offset as i32 + if own.kind.is_wide() { 16 } else { 8 } * step;
                        if let Part { reg, bytes, fixed: true, .. } = self.parts[part as usize] {
                            self.load_part(reg, &Mem::frame(place), bytes);
                        } else {
                            self.parts[part as usize].slot = place;
                            self.parts[part as usize].stored = true;
                        }
                    }
                }
                AbiPlace::X87(_) => unreachable!("results only"),
            }
        }
        if arguments.iter().any(|part| part.kind.is_wide()) {
            self.asm.zero_uppers();
        }
        Ok(())
    }

    /// Whether the convention's idea of a part is this compiler's.
    pub(crate) fn check_part(&mut self, value: ValueId, at: u32, part: &super::abi::Part) -> Result<()> {
        let ty = self.ty(value);
        self.check_type_part(ty, at, part)
    }

    pub(crate) fn check_type_part(&mut self, ty: kiln_bitcode::TypeId, at: u32, part: &super::abi::Part) -> Result<()> {
        let (first, count) = self.type_parts(ty)?;
        if at >= count {
            return Err(Box::new(Unsupported::Attribute("an argument in more parts than expected")));
        }
        let own = self.known.types.get(first + at);
        let same = match part.kind {
            Kind::Integer { bits, .. } => own.bank == Bank::Gpr && own.bits == bits,
            Kind::Float { bits } => own.bank == Bank::Xmm && u32::from(own.store) * 8 == u32::from(bits),
            Kind::Vector { bytes: 32, lanes, lane_bits } => {
                let next = self.known.types.get(first + (at + 1).min(count - 1));
                let is_half = |part: PartType| part.bank == Bank::Xmm && part.bytes == 16;
                at + 1 < count
                    && is_half(own)
                    && is_half(next)
                    && own.store == 16
                    && u32::from(lanes) * u32::from(lane_bits) == 128 + u32::from(next.store) * 8
            }
            Kind::Vector { bytes, lanes, lane_bits } => {
                own.bank == Bank::Xmm
                    && own.bytes == 16
                    && bytes == 16
                    && u32::from(lanes) * u32::from(lane_bits) == u32::from(own.store) * 8
            }
            Kind::X87 => {
                let next = self.known.types.get(first + (at + 1).min(count - 1));
                at + 1 < count && (own.bits, own.bank, next.bits, next.bank) == (64, Bank::Gpr, 16, Bank::Gpr)
            }
            Kind::ByVal { .. } => true,
        };
        if same { Ok(()) } else { Err(Box::new(Unsupported::Attribute("an argument or result in unusual registers"))) }
    }

    /// Extends an integer as the receiver expects.
    pub(crate) fn extend_for(&mut self, reg: Gpr, kind: Kind) {
        let Kind::Integer { bits, extend } = kind else { return };
        match extend {
            Extend::None => {}
            Extend::Zero(to) if to > bits => self.zero_extend(reg, u32::from(bits)),
            Extend::Sign(to) if to > bits => self.sign_extend(reg, u32::from(bits), to > 32),
            _ => {}
        }
    }

    #[inline(never)]
    pub(crate) fn ret(&mut self, value: Option<ValueId>) -> Result<()> {
        if let Some(value) = value {
            let results = std::mem::take(&mut self.own.results);
            let done = self.place_results(value, &results);
            self.own.results = results;
            done?;
        }
        if self.own.sret.is_some() {
            self.claim(RAX.0)?;
            self.asm.load(RAX, &Mem::frame(self.result_slot), 8);
        }
        // The last block runs into it.
        if self.position as usize + 1 < self.flow.order.len() {
            let epilogue = self.epilogue;
            self.asm.jmp(epilogue);
        }
        Ok(())
    }

    fn place_results(&mut self, value: ValueId, results: &[super::abi::Part]) -> Result<()> {
        if self.own.demoted {
            let ty = self.ty(value);
            let count = self.type_parts(ty)?.1;
            self.claim(RAX.0)?;
            self.asm.load(RAX, &Mem::frame(self.result_slot), 8);
            for at in 0..count {
                self.store_memory(&Mem::reg(RAX, 0), value, at)?;
            }
            return Ok(());
        }
        // The last one pushed is ST0.
        let x87 = numbered(results).filter(|(_, part)| matches!(part.place, AbiPlace::X87(_)));
        let mut x87: Vec<(u32, &super::abi::Part)> = x87.collect();
        while let Some((at, part)) = x87.pop() {
            self.check_part(value, at, part)?;
            if part.kind != Kind::X87 {
                return Err(Box::new(Unsupported::Attribute("a result in an x87 register")));
            }
            self.push_x87_part(value, at)?;
        }
        for (at, part) in numbered(results) {
            self.check_part(value, at, part)?;
            match part.place {
                AbiPlace::General(reg) => {
                    self.claim(reg)?;
                    self.load_into(reg, value, at)?;
                    self.extend_for(Gpr(reg), part.kind);
                }
                AbiPlace::Vector(reg) => {
                    self.claim(reg + XMM0)?;
                    self.load_into(reg + XMM0, value, at)?;
                    if part.kind.is_wide() {
                        self.place_upper(Xmm(reg), value, at + 1)?;
                    }
                }
                AbiPlace::X87(_) => {}
                AbiPlace::Stack(_) => return Err(Box::new(Unsupported::Attribute("a result on the stack"))),
            }
        }
        Ok(())
    }

    /// Stores the argument registers of a variadic function where `va_arg` finds them (psABI 3.5.7, "Register Save Area").
    fn save_variadic(&mut self) {
        self.save_area = self.frame.object(176, 16);
        for at in usize::from(self.own.general_registers)..6 {
            let reg = Gpr(super::abi::ARGUMENT_REGISTERS[at]);
            self.asm.store(&Mem::frame(self.save_area + 8 * at as i32), reg, 8);
        }
        self.asm.test(RAX, RAX, 1);
        let skip = self.asm.skip(Cond::E);
        for at in self.own.vector_registers..8 {
            let mem = Mem::frame(self.save_area + 48 + 16 * i32::from(at));
            // movaps: the area is aligned.
            self.asm.rm(Op::two(0x29), Xmm(at).0, &mem);
        }
        self.asm.land(skip);
    }
}
