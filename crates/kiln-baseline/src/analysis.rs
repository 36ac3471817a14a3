//! What the code generator must know before its one pass: the order of blocks, and how long values live.
//!
//! *Order.* Reachable blocks in reverse post-order, successors taken so that blocks keep the bitcode's order where they
//! may: front ends write loops in one piece. Whatever dominates a block comes before it. From here on a block is known by
//! its *position* in this order.
//!
//! *Liveness.* A value lives from the block that defines it to the last block that uses it, and further if that lies in a
//! cycle: an edge from position `u` back to `v` is a *region* `[v, u]`, and what is defined before `v` and live in `v` is
//! live up to `u`. That holds for every graph, reducible or not: a path from a live point to a use either runs forward,
//! so that it stays within the interval, or takes an edge back, whose region the rule has added. Regions that overlap are
//! extended until they are nested; so finding the one to extend to is a walk up a tree.
//!
//! *Weights.* An operand in a cycle counts for eight outside, one in a cycle within for 64, and so on up to 4,096: what
//! decides about registers that values keep for all their life (`x86_64/fixed.rs`). A stack object of one scalar that is
//! only loaded and stored by its own type is a *variable*: it is a candidate as well.
//!
//! *Phis.* What flows along an edge is collected by predecessor once ([`Analysis::moves`]): phis with ten thousand
//! entries cost ten thousand steps.

use kiln_bitcode::{BlockId, Body, Instruction, Module, Opcode, Ordering, TypeId, ValueId};

/// No block, no instruction.
pub(crate) const NONE: u32 = u32::MAX;

/// How one value lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// How many operands name it.
    pub(crate) uses: u32,
    /// The instruction that names it last in the bitcode's order: the only one if `uses` is 1.
    pub(crate) user: u32,
    /// The instruction that defines it; none defines arguments.
    pub(crate) definition: u32,
    /// Position of the block that defines it.
    pub(crate) block: u32,
    /// Last position where it is live.
    pub(crate) last: u32,
    /// First position where its home must be its own: before that of its definition if predecessors write it.
    pub(crate) first: u32,
    /// Operands that name it, and writes of a phi, each counted by how deep in cycles it is.
    pub(crate) weight: u32,
    /// It is a phi: its home is written by the predecessors.
    pub(crate) is_phi: bool,
    /// What it is as a stack object.
    pub(crate) object: Object,
}

/// What is known of a value as the address of a stack object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// It is none, or its address is used for more than loads and stores of one type.
    No,
    /// An object that nobody has used yet.
    Unused,
    /// A variable that is loaded and stored by this type.
    Variable(TypeId),
}

impl Life {
    /// Whether it is live beyond the block that defines it, be it before: as a phi.
    pub(crate) fn crosses(&self) -> bool {
        self.last != self.block || self.is_phi
    }
}

/// One phi's value on one edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    /// The phi.
    pub(crate) phi: ValueId,
    /// Its value.
    pub(crate) value: ValueId,
    /// The block of the phi.
    pub(crate) block: BlockId,
}

/// A cycle's stretch of positions.
#[derive(Clone, Copy, Debug)]
struct Region {
    start: u32,
    end: u32,
    /// The region around it, or [`NONE`].
    parent: u32,
    /// Start of the outermost region around it, or its own.
    outermost: u32,
    /// How many regions are around it, and itself.
    depth: u32,
}

/// The result, with memory that is kept from function to function.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    /// Reachable blocks in order.
    pub(crate) order: Vec<BlockId>,
    /// Position of each block, or [`NONE`].
    pub(crate) position: Vec<u32>,
    /// Number of edges into the block at each position.
    pub(crate) predecessors: Vec<u32>,
    /// Position of one predecessor.
    pub(crate) predecessor: Vec<u32>,
    /// By value, from the function's first value on.
    pub(crate) lives: Vec<Life>,
    /// Whether a block has an indirect jump among its predecessors, by position.
    pub(crate) indirect: Vec<bool>,
    /// Whether a block has phis, by position.
    pub(crate) has_phis: Vec<bool>,
    moves: Vec<Move>,
    /// First move of each block's edges, by position, and the end.
    first_move: Vec<u32>,
    regions: Vec<Region>,
    /// Innermost region of each position, or [`NONE`].
    region_of: Vec<u32>,
    /// Calls before each position, and the end.
    calls: Vec<u32>,
    stack: Vec<(BlockId, u32)>,
}

/// Instructions whose operands are not all values, one bit each.
const MIXED: u64 = 1 << Opcode::Phi as u64
    | 1 << Opcode::ExtractValue as u64
    | 1 << Opcode::CondBr as u64
    | 1 << Opcode::Switch as u64
    | 1 << Opcode::IndirectBr as u64
    | 1 << Opcode::InsertValue as u64
    | 1 << Opcode::Br as u64
    | 1 << Opcode::LandingPad as u64
    | 1 << Opcode::Invoke as u64
    | 1 << Opcode::CallBr as u64;

/// Calls `visit` for every operand of `instruction` that is a value, block by block for phis excepted.
#[inline]
pub(crate) fn for_values(instruction: &Instruction, operands: &[u32], mut visit: impl FnMut(ValueId)) {
    if MIXED >> instruction.opcode as u64 & 1 == 0 {
        operands.iter().filter(|v| **v != ValueId::NONE.0).for_each(|v| visit(ValueId(*v)));
    } else {
        for_mixed_values(instruction, operands, visit);
    }
}

fn for_mixed_values(instruction: &Instruction, operands: &[u32], mut visit: impl FnMut(ValueId)) {
    match instruction.opcode {
        Opcode::Phi => operands.chunks_exact(2).for_each(|pair| visit(ValueId(pair[0]))),
        Opcode::ExtractValue | Opcode::CondBr | Opcode::Switch | Opcode::IndirectBr => {
            if let Some(first) = operands.first() {
                visit(ValueId(*first));
            }
        }
        Opcode::InsertValue => operands.iter().take(2).for_each(|v| visit(ValueId(*v))),
        Opcode::Br | Opcode::LandingPad => {}
        Opcode::Invoke => {
            for (at, value) in operands.iter().enumerate() {
                if at != 1 && at != 2 && *value != ValueId::NONE.0 {
                    visit(ValueId(*value));
                }
            }
        }
        _ => {}
    }
}

/// Calls `visit` for every successor in the order of the operands, repeated ones repeatedly.
pub(crate) fn for_successors(instruction: &Instruction, operands: &[u32], mut visit: impl FnMut(BlockId)) {
    match instruction.opcode {
        Opcode::Br => visit(BlockId(operands[0])),
        Opcode::CondBr => {
            visit(BlockId(operands[1]));
            visit(BlockId(operands[2]));
        }
        Opcode::Switch => {
            visit(BlockId(operands[1]));
            operands[2..].chunks_exact(2).for_each(|case| visit(BlockId(case[1])));
        }
        Opcode::IndirectBr => operands[1..].iter().for_each(|block| visit(BlockId(*block))),
        Opcode::Invoke => {
            visit(BlockId(operands[1]));
            visit(BlockId(operands[2]));
        }
        Opcode::CallBr => {
            visit(BlockId(operands[1]));
            let count = operands[2] as usize;
            operands[3..3 + count].iter().for_each(|block| visit(BlockId(*block)));
        }
        _ => {}
    }
}

impl Analysis {
    /// Analyses `body`.
    ///
    /// `calls` says of a call whether it destroys registers.
    pub(crate) fn run(&mut self, module: &Module, body: &Body, calls: impl FnMut(&Instruction, &[u32]) -> CallKind) {
        self.find_order(body);
        self.find_regions(body);
        self.collect_moves(body);
        self.measure(module, body, calls);
    }

    /// Whether a call is made anywhere from position `first` to `last`.
    pub(crate) fn has_calls(&self, first: u32, last: u32) -> bool {
        self.calls[first as usize] != self.calls[last as usize + 1]
    }

    pub(crate) fn life(&self, body: &Body, value: ValueId) -> &Life {
        &self.lives[(value.0 - body.first_value()) as usize]
    }

    /// What flows from the block at `position` into `block`'s phis.
    pub(crate) fn moves(&self, position: u32, block: BlockId) -> &[Move] {
        let all = self.all_moves(position);
        // Phis were visited block by block.
        let start = all.partition_point(|m| m.block < block);
        let len = all[start..].partition_point(|m| m.block == block);
        &all[start..start + len]
    }

    /// What flows from the block at `position` into phis, whatever the edge.
    pub(crate) fn all_moves(&self, position: u32) -> &[Move] {
        &self.moves[self.first_move[position as usize] as usize..self.first_move[position as usize + 1] as usize]
    }

    fn terminator(body: &Body, block: BlockId) -> (&Instruction, &[u32]) {
        let instruction = body.instruction(body.block_instructions(block).end - 1);
        (instruction, body.operands(instruction))
    }

    /// Depth first; a block is numbered when all its successors are, so the reverse of the numbers is the order.
    fn find_order(&mut self, body: &Body) {
        const OPEN: u32 = NONE - 1;
        let count = body.block_count() as usize;
        self.order.clear();
        self.position.clear();
        self.position.resize(count, NONE);
        self.stack.clear();
        self.stack.push((BlockId(0), 0));
        self.position[0] = OPEN;
        while let Some((block, next)) = self.stack.last_mut() {
            let (block, at) = (*block, *next);
            *next += 1;
            let (terminator, operands) = Self::terminator(body, block);
            // The successor that lies furthest away is visited first and comes last.
            let successor = match terminator.opcode {
                Opcode::Br if at == 0 => Some(BlockId(operands[0])),
                Opcode::CondBr | Opcode::Invoke if at < 2 => {
                    let (a, b) = (operands[1], operands[2]);
                    Some(BlockId(if at == 0 { a.max(b) } else { a.min(b) }))
                }
                Opcode::Switch if (at as usize) < operands.len() / 2 => {
                    let back = operands.len() / 2 - 1 - at as usize;
                    Some(BlockId(operands[1 + 2 * back]))
                }
                Opcode::IndirectBr if (at as usize) < operands.len() - 1 => {
                    Some(BlockId(operands[operands.len() - 1 - at as usize]))
                }
                Opcode::CallBr if at as usize <= operands[2] as usize => {
                    Some(BlockId(if at == 0 { operands[1] } else { operands[2 + at as usize] }))
                }
                _ => None,
            };
            match successor {
                Some(successor) if self.position[successor.0 as usize] == NONE => {
                    self.position[successor.0 as usize] = OPEN;
                    self.stack.push((successor, 0));
                }
                Some(_) => {}
                None => {
                    self.order.push(block);
                    self.stack.pop();
                }
            }
        }
        self.order.reverse();
        for (position, block) in (0u32..).zip(&self.order) {
            self.position[block.0 as usize] = position;
        }
    }

    fn find_regions(&mut self, body: &Body) {
        let count = self.order.len();
        self.predecessors.clear();
        self.predecessors.resize(count, 0);
        self.predecessor.clear();
        self.predecessor.resize(count, NONE);
        self.indirect.clear();
        self.indirect.resize(count, false);
        self.region_of.clear();
        self.region_of.resize(count, NONE);
        self.regions.clear();
        // `region_of` holds the end of the region that starts there, for now.
        for at in 0..count {
            let (terminator, operands) = Self::terminator(body, self.order[at]);
            let is_indirect = terminator.opcode == Opcode::IndirectBr;
            let (position, predecessors, predecessor) = (&self.position, &mut self.predecessors, &mut self.predecessor);
            let (region_of, indirect) = (&mut self.region_of, &mut self.indirect);
            for_successors(terminator, operands, |successor| {
                let to = position[successor.0 as usize] as usize;
                predecessors[to] += 1;
                predecessor[to] = at as u32;
                indirect[to] |= is_indirect;
                if to <= at {
                    region_of[to] = at as u32;
                }
            });
        }
        // From the back, so that regions that start within one are known; overlapping ones become nested.
        // `open` regions start after the current position; the innermost start comes last.
        let mut open: Vec<u32> = Vec::new();
        for at in (0..count as u32).rev() {
            let mut end = self.region_of[at as usize];
            if end == NONE {
                continue;
            }
            let id = self.regions.len() as u32;
            while let Some(&inner) = open.last() {
                let region = self.regions[inner as usize];
                if region.start > end {
                    break;
                }
                end = end.max(region.end);
                self.regions[inner as usize].parent = id;
                open.pop();
            }
            self.regions.push(Region { start: at, end, parent: NONE, outermost: at, depth: 1 });
            open.push(id);
        }
        // Parents come behind what they hold.
        for id in (0..self.regions.len()).rev() {
            let parent = self.regions[id].parent;
            if parent != NONE {
                let Region { outermost, depth, .. } = self.regions[parent as usize];
                self.regions[id].outermost = outermost;
                self.regions[id].depth = depth + 1;
            }
        }
        // Innermost region per position: later regions in the list start earlier, so paint from the outermost.
        self.region_of.fill(NONE);
        let mut current = NONE;
        let mut next = self.regions.len();
        for at in 0..count as u32 {
            while current != NONE && self.regions[current as usize].end < at {
                current = self.regions[current as usize].parent;
            }
            if next > 0 && self.regions[next - 1].start == at {
                next -= 1;
                current = next as u32;
            }
            self.region_of[at as usize] = current;
        }
    }

    fn collect_moves(&mut self, body: &Body) {
        let count = self.order.len();
        self.has_phis.clear();
        self.has_phis.resize(count, false);
        self.first_move.clear();
        self.first_move.resize(count + 1, 0);
        self.moves.clear();
        let mut total = 0;
        for block in (0..body.block_count()).map(BlockId) {
            let position = self.position[block.0 as usize];
            if position == NONE {
                continue;
            }
            for index in body.block_instructions(block) {
                let instruction = body.instruction(index);
                if instruction.opcode != Opcode::Phi {
                    break;
                }
                self.has_phis[position as usize] = true;
                for pair in body.operands(instruction).chunks_exact(2) {
                    let from = self.position[pair[1] as usize];
                    if from != NONE {
                        self.first_move[from as usize] += 1;
                        total += 1;
                    }
                }
            }
        }
        if total == 0 {
            return;
        }
        let mut sum = 0;
        for first in &mut self.first_move {
            sum += std::mem::replace(first, sum);
        }
        let nothing = Move { phi: ValueId::NONE, value: ValueId::NONE, block: BlockId(NONE) };
        self.moves.resize(total as usize, nothing);
        // `first_move[p]` runs ahead while moves are filled in, and is the end of `p`'s then.
        for block in (0..body.block_count()).map(BlockId) {
            let position = self.position[block.0 as usize];
            if position == NONE || !self.has_phis[position as usize] {
                continue;
            }
            for index in body.block_instructions(block) {
                let instruction = body.instruction(index);
                if instruction.opcode != Opcode::Phi {
                    break;
                }
                for pair in body.operands(instruction).chunks_exact(2) {
                    let from = self.position[pair[1] as usize];
                    if from == NONE {
                        continue;
                    }
                    let at = &mut self.first_move[from as usize];
                    self.moves[*at as usize] = Move { phi: instruction.result, value: ValueId(pair[0]), block };
                    *at += 1;
                }
            }
        }
        self.first_move.rotate_right(1);
        self.first_move[0] = 0;
    }

    /// What an operand at `at` counts.
    fn weight(&self, at: u32) -> u32 {
        match self.region_of[at as usize] {
            NONE => 1,
            region => 8u32.pow(self.regions[region as usize].depth.min(4)),
        }
    }

    /// First position from which a variable that is used at `at` must be kept.
    fn outermost_start(&self, at: u32) -> u32 {
        match self.region_of[at as usize] {
            NONE => at,
            region => self.regions[region as usize].outermost,
        }
    }

    /// Uses and intervals.
    fn measure(&mut self, module: &Module, body: &Body, mut calls: impl FnMut(&Instruction, &[u32]) -> CallKind) {
        let first = body.first_value();
        let count = (body.value_count() - first) as usize;
        self.lives.clear();
        let nothing = Life {
            uses: 0,
            user: NONE,
            definition: NONE,
            block: 0,
            last: 0,
            first: NONE,
            weight: 0,
            is_phi: false,
            object: Object::No,
        };
        self.lives.resize(count, nothing);
        for life in &mut self.lives[..body.argument_count() as usize] {
            life.first = 0;
        }
        self.calls.clear();
        let mut call_count = 0;
        for at in 0..self.order.len() as u32 {
            let block = self.order[at as usize];
            let weight = self.weight(at);
            self.calls.push(call_count);
            for index in body.block_instructions(block) {
                let instruction = body.instruction(index);
                if instruction.result != ValueId::NONE {
                    // Uses may come before in the order, through phis.
                    let life = &mut self.lives[(instruction.result.0 - first) as usize];
                    (life.definition, life.block) = (index, at);
                    life.last = life.last.max(at);
                    life.first = life.first.min(at);
                    life.weight = life.weight.saturating_add(weight);
                    life.is_phi = instruction.opcode == Opcode::Phi;
                }
                let operands = body.operands(instruction);
                // What an operand may do to a variable.
                let (mut address, mut weight) = (Use::Other, weight);
                match instruction.opcode {
                    Opcode::Phi => continue,
                    Opcode::Load | Opcode::Store => address = self.access(module, body, instruction, at),
                    Opcode::Alloca if at == 0 => {
                        // Nothing is taken back: an object is defined before it is used.
                        let life = &mut self.lives[(instruction.result.0 - first) as usize];
                        (life.object, life.first) = (Object::Unused, NONE);
                    }
                    Opcode::Call | Opcode::Invoke | Opcode::CallBr => match calls(instruction, operands) {
                        CallKind::Nothing => (address, weight) = (Use::Access, 0),
                        CallKind::Inline => {}
                        CallKind::Call => call_count += 1,
                    },
                    Opcode::FRem => call_count += 1,
                    _ => {}
                }
                let (regions, region_of, lives) = (&self.regions, &self.region_of, &mut self.lives);
                let mut is_address = address == Use::Access;
                for_values(instruction, operands, |value| {
                    if value.0 >= first {
                        let life = &mut lives[(value.0 - first) as usize];
                        life.uses += 1;
                        life.user = index;
                        life.weight = life.weight.saturating_add(weight);
                        if !is_address {
                            life.object = Object::No;
                        }
                        extend(life, at, regions, region_of);
                    }
                    // Of a load or store, only the first one.
                    is_address &= instruction.opcode == Opcode::Call;
                });
            }
            for step in self.first_move[at as usize]..self.first_move[at as usize + 1] {
                let Move { phi, value, .. } = self.moves[step as usize];
                // The phi's home is written here: it is taken from here on.
                let life = &mut self.lives[(phi.0 - first) as usize];
                life.last = life.last.max(at);
                life.first = life.first.min(at);
                life.weight = life.weight.saturating_add(weight);
                if value.0 >= first {
                    let life = &mut self.lives[(value.0 - first) as usize];
                    life.uses += 1;
                    life.user = NONE;
                    life.object = Object::No;
                    life.weight = life.weight.saturating_add(weight);
                    extend(life, at, &self.regions, &self.region_of);
                }
            }
        }
        self.calls.push(call_count);
    }

    /// Notes a load or store at `at`: of a variable, if its address is one.
    fn access(&mut self, module: &Module, body: &Body, instruction: &Instruction, at: u32) -> Use {
        let operands = body.operands(instruction);
        let Some(index) = operands[0].checked_sub(body.first_value()) else { return Use::Other };
        if self.lives[index as usize].object == Object::No {
            return Use::Other;
        }
        let start = self.outermost_start(at);
        let life = &mut self.lives[index as usize];
        let is_plain = instruction.flags & Instruction::VOLATILE == 0 && instruction.ordering == Ordering::NotAtomic;
        let ty = match instruction.opcode {
            Opcode::Load => instruction.ty,
            _ => body.type_of(module, ValueId(operands[1])),
        };
        life.object = match life.object {
            Object::Unused if is_plain => Object::Variable(ty),
            Object::Variable(known) if is_plain && ty == known => Object::Variable(known),
            _ => Object::No,
        };
        life.first = life.first.min(start);
        if life.object == Object::No { Use::Other } else { Use::Access }
    }
}

/// What an instruction does with the first value that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Loads or stores what it leads to, or nothing.
    Access,
    /// Anything.
    Other,
}

/// What a call does to registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// Nothing at all.
    Nothing,
    /// It is made without a call.
    Inline,
    /// It destroys what the convention lets it.
    Call,
}

/// Makes `life` reach a use at `at`.
fn extend(life: &mut Life, at: u32, regions: &[Region], region_of: &[u32]) {
    let mut end = at;
    if life.block != at {
        let mut region = region_of[at as usize];
        while region != NONE && regions[region as usize].start > life.block {
            end = regions[region as usize].end;
            region = regions[region as usize].parent;
        }
    }
    life.last = life.last.max(end);
}
