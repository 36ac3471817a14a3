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
pub(crate) use kiln_bitcode::{MIXED, are_all_values, for_values};

/// No block, no instruction.
pub(crate) const NONE: u32 = u32::MAX;

/// Set in the place of a value that is used in its own block only.
const LOCAL: u32 = 1 << 31;

/// How a value lives that is used beyond the block that defines it, is a phi, or may be a variable. Of all others, most of
/// them, [`Body::uses`] says enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// Position of the block that defines it.
    pub(crate) block: u32,
    /// Last position where it is live.
    pub(crate) last: u32,
    /// First position where its home must be its own: before that of its definition if predecessors write it.
    pub(crate) first: u32,
    /// Operands that name it, and writes of a phi, each counted by how deep in cycles it is.
    pub(crate) weight: u32,
    /// One of the kinds below, or [`Life::VARIABLE`] and the number of the type.
    kind: u32,
    /// Uses that `weight` does not have yet: those in the defining block.
    local: u32,
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
    /// It is none of the following.
    const PLAIN: u32 = 0;
    /// It is a phi: its home is written by the predecessors.
    const PHI: u32 = 1;
    /// [`Object::Unused`]
    const UNUSED: u32 = 2;
    /// [`Object::Variable`]
    const VARIABLE: u32 = 3;

    /// Whether it is a phi: its home is written by the predecessors.
    pub(crate) fn is_phi(&self) -> bool {
        self.kind == Self::PHI
    }

    /// What it is as a stack object.
    pub(crate) fn object(&self) -> Object {
        match self.kind {
            Self::PLAIN | Self::PHI => Object::No,
            Self::UNUSED => Object::Unused,
            kind => Object::Variable(TypeId(kind - Self::VARIABLE)),
        }
    }

    /// Whether it is live beyond the block that defines it, be it before: as a phi.
    pub(crate) fn crosses(&self) -> bool {
        self.last != self.block || self.is_phi()
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

impl Region {
    /// What an operand in it counts.
    fn weight(&self) -> u32 {
        1 << (3 * self.depth.min(4))
    }
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
    lives: Vec<Life>,
    /// By value, from the function's first value on: which of `lives` it has, or [`LOCAL`] and the position of its block.
    places: Vec<u32>,
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
    /// The first two successors of each block, the further one first; by block.
    targets: Vec<Targets>,
    stack: Vec<(BlockId, Targets)>,
}

/// Where a block leads, as far as it has not been followed yet: at most two blocks, the first of which is followed first,
/// or as many as there are in the operands of the terminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Targets(u32, u32);

impl Targets {
    const NONE: Targets = Targets(NONE, NONE);
    /// Instead of the second one: there are many, and the first number says how many were followed.
    const MANY: u32 = NONE - 1;

    /// The successors of a block that ends with `terminator`. What lies furthest away is followed first and comes last.
    fn of(terminator: &Instruction, operands: &[u32]) -> Self {
        match terminator.opcode {
            Opcode::Br => Self(operands[0], NONE),
            Opcode::CondBr | Opcode::Invoke => {
                let (a, b) = (operands[1], operands[2]);
                Self(a.max(b), a.min(b))
            }
            Opcode::Switch | Opcode::IndirectBr | Opcode::CallBr => Self(0, Self::MANY),
            _ => Self::NONE,
        }
    }

    /// Successor `at` of a block that ends with `terminator`, which has many.
    fn many(terminator: &Instruction, operands: &[u32], at: usize) -> Option<u32> {
        match terminator.opcode {
            Opcode::Switch if at < operands.len() / 2 => {
                let back = operands.len() / 2 - 1 - at;
                Some(operands[1 + 2 * back])
            }
            Opcode::IndirectBr if at < operands.len() - 1 => Some(operands[operands.len() - 1 - at]),
            Opcode::CallBr if at <= operands[2] as usize => Some(if at == 0 { operands[1] } else { operands[2 + at] }),
            _ => None,
        }
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
    pub(crate) fn run(
        &mut self,
        module: &Module,
        body: &mut Body,
        calls: impl FnMut(&Body, &Instruction, &[u32]) -> CallKind,
    ) {
        self.find_order(body);
        if self.order.len() < body.block_count() as usize {
            // What is never reached uses nothing.
            body.count_uses_in(|block| self.position[block.0 as usize] != NONE);
        }
        self.find_regions(body);
        self.collect_moves(body);
        self.measure(module, body, calls);
    }

    /// Bytes that the arrays hold.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.order.len()
            + self.position.len()
            + self.predecessors.len()
            + self.predecessor.len()
            + self.first_move.len()
            + self.region_of.len()
            + self.places.len()
            + self.calls.len();
        words * size_of::<u32>()
            + size_of_val(&*self.lives)
            + size_of_val(&*self.moves)
            + size_of_val(&*self.regions)
            + size_of_val(&*self.targets)
            + self.indirect.len()
            + self.has_phis.len()
    }

    /// Whether a call is made anywhere from position `first` to `last`.
    pub(crate) fn has_calls(&self, first: u32, last: u32) -> bool {
        self.calls[first as usize] != self.calls[last as usize + 1]
    }

    /// How the value `index` behind the function's first one lives, if it is not only used in the block that defines it.
    #[inline]
    pub(crate) fn life(&self, index: u32) -> Option<&Life> {
        match self.places[index as usize] {
            place if place & LOCAL != 0 => None,
            place => Some(&self.lives[place as usize]),
        }
    }

    /// The values that have a [`Analysis::life`], by their indices, and what it is.
    #[inline]
    pub(crate) fn lives(&self) -> impl Iterator<Item = (u32, &Life)> {
        // No place with `LOCAL` is one in `lives`.
        let places = (0u32..).zip(&self.places);
        places.filter_map(|(index, place)| Some((index, self.lives.get(*place as usize)?)))
    }

    /// [`Life::crosses`] of the value `index`.
    #[inline]
    pub(crate) fn crosses(&self, index: u32) -> bool {
        self.life(index).is_some_and(Life::crosses)
    }

    /// What flows from the block at `position` into `block`'s phis.
    pub(crate) fn moves(&self, position: u32, block: BlockId) -> &[Move] {
        let all = self.all_moves(position);
        let (Some(first), Some(last)) = (all.first(), all.last()) else { return all };
        // Phis were visited block by block, and most blocks lead to no more than two.
        let start = if first.block == block { 0 } else { all.partition_point(|m| m.block < block) };
        let all = &all[start..];
        if last.block == block { all } else { &all[..all.partition_point(|m| m.block == block)] }
    }

    /// What flows from the block at `position` into phis, whatever the edge.
    pub(crate) fn all_moves(&self, position: u32) -> &[Move] {
        &self.moves[self.first_move[position as usize] as usize..self.first_move[position as usize + 1] as usize]
    }

    /// Depth first; a block is numbered when all its successors are, so the reverse of the numbers is the order.
    fn find_order(&mut self, body: &Body) {
        const OPEN: u32 = NONE - 1;
        let count = body.block_count() as usize;
        self.order.clear();
        self.position.clear();
        self.position.resize(count, NONE);
        self.targets.clear();
        self.targets.resize(count, Targets::NONE);
        self.stack.clear();
        let (mut block, mut left) = (BlockId(0), self.open(body, BlockId(0)));
        self.position[0] = OPEN;
        loop {
            let successor = match left {
                Targets(NONE, _) => {
                    self.order.push(block);
                    match self.stack.pop() {
                        Some(outer) => (block, left) = outer,
                        None => break,
                    }
                    continue;
                }
                Targets(at, Targets::MANY) => {
                    let terminator = body.terminator(block);
                    let Some(successor) = Targets::many(terminator, body.operands(terminator), at as usize) else {
                        left = Targets::NONE;
                        continue;
                    };
                    left.0 = at + 1;
                    successor
                }
                Targets(successor, other) => {
                    left = Targets(other, NONE);
                    successor
                }
            };
            if self.position[successor as usize] == NONE {
                self.position[successor as usize] = OPEN;
                self.stack.push((block, left));
                block = BlockId(successor);
                left = self.open(body, block);
            }
        }
        self.order.reverse();
        for (position, block) in (0u32..).zip(&self.order) {
            self.position[block.0 as usize] = position;
        }
    }

    /// Notes where `block` leads.
    #[inline(always)]
    fn open(&mut self, body: &Body, block: BlockId) -> Targets {
        let terminator = body.terminator(block);
        let targets = Targets::of(terminator, body.operands(terminator));
        self.targets[block.0 as usize] = targets;
        targets
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
        let mut has_cycles = false;
        for at in 0..count {
            let block = self.order[at];
            let mut lead_to = |successor: u32| {
                let to = self.position[successor as usize] as usize;
                self.predecessors[to] += 1;
                self.predecessor[to] = at as u32;
                if to <= at {
                    self.region_of[to] = at as u32;
                    has_cycles = true;
                }
                to
            };
            match self.targets[block.0 as usize] {
                Targets(NONE, _) => {}
                Targets(_, Targets::MANY) => {
                    let terminator = body.terminator(block);
                    for_successors(terminator, body.operands(terminator), |successor| {
                        let to = lead_to(successor.0);
                        self.indirect[to] |= terminator.opcode == Opcode::IndirectBr;
                    });
                }
                Targets(one, NONE) => _ = lead_to(one),
                Targets(one, other) => _ = (lead_to(one), lead_to(other)),
            }
        }
        if !has_cycles {
            return;
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
        if !body.has_phis() {
            return;
        }
        let mut total = 0;
        for (block, position) in (0u32..).map(BlockId).zip(&self.position) {
            if *position == NONE {
                continue;
            }
            for phi in phis(body, block) {
                self.has_phis[*position as usize] = true;
                for pair in body.operands(phi).as_chunks::<2>().0 {
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
        for (block, position) in (0u32..).map(BlockId).zip(&self.position) {
            if *position == NONE || !self.has_phis[*position as usize] {
                continue;
            }
            for phi in phis(body, block) {
                for pair in body.operands(phi).as_chunks::<2>().0 {
                    let from = self.position[pair[1] as usize];
                    if from == NONE {
                        continue;
                    }
                    let at = &mut self.first_move[from as usize];
                    self.moves[*at as usize] = Move { phi: phi.result(), value: ValueId(pair[0]), block };
                    *at += 1;
                }
            }
        }
        self.first_move.rotate_right(1);
        self.first_move[0] = 0;
    }

    /// Intervals and weights.
    fn measure(
        &mut self,
        module: &Module,
        body: &Body,
        mut calls: impl FnMut(&Body, &Instruction, &[u32]) -> CallKind,
    ) {
        let first_value = body.first_value();
        let first_result = body.first_result() - first_value;
        self.places.clear();
        self.places.resize((body.value_count() - first_value) as usize, LOCAL);
        self.lives.clear();
        self.calls.clear();
        let mut call_count = 0;
        let mut walk = Walk {
            body,
            places: &mut self.places,
            lives: &mut self.lives,
            region_of: &self.region_of,
            first_value,
            first_result,
            arguments: body.argument_count(),
            here: Here {
                at: 0,
                region: NONE,
                regions: &self.regions,
                weight: 1,
                outermost_start: 0,
                local: 0,
                local_count: 0,
            },
        };
        for (at, block) in (0u32..).zip(&self.order) {
            self.calls.push(call_count);
            let range = body.block_instructions(*block);
            let results = body.results(range.clone());
            let results = results.start - first_value..results.end - first_value;
            walk.enter(at, &results);
            let mut defined = results.start;
            if self.has_phis[at as usize] {
                for instruction in body.block(range.clone()) {
                    if instruction.opcode != Opcode::Phi {
                        break;
                    }
                    walk.phi(instruction.result().0, at);
                    defined += 1;
                }
            }
            walk.places[defined as usize..results.end as usize].fill(LOCAL | at);
            for instruction in body.block(range) {
                let operands = body.operands(instruction);
                match instruction.opcode {
                    Opcode::Phi | Opcode::Br => {}
                    Opcode::Load => {
                        walk.address(operands[0], || is_plain(instruction).then(|| body.result_type(instruction)))
                    }
                    Opcode::Store => {
                        let stored = operands[1];
                        walk.address(operands[0], || {
                            is_plain(instruction).then(|| body.type_of(module, ValueId(stored)))
                        });
                        walk.operand(stored);
                    }
                    Opcode::Alloca if at == 0 => {
                        walk.object(instruction.result().0);
                        walk.operand(operands[0]);
                    }
                    Opcode::Call => match calls(body, instruction, operands) {
                        CallKind::Nothing => operands.iter().for_each(|value| walk.mention(*value)),
                        kind => {
                            call_count += u32::from(kind == CallKind::Call);
                            operands.iter().for_each(|value| walk.operand(*value));
                        }
                    },
                    Opcode::CondBr => walk.operand(operands[0]),
                    opcode => {
                        call_count += match opcode {
                            Opcode::Invoke | Opcode::CallBr => {
                                u32::from(calls(body, instruction, operands) == CallKind::Call)
                            }
                            Opcode::FRem => 1,
                            _ => 0,
                        };
                        if are_all_values(opcode) {
                            operands.iter().for_each(|value| walk.operand(*value));
                        } else {
                            for_values(opcode, operands, |value| walk.operand(value.0));
                        }
                    }
                }
            }
            let moves = self.first_move[at as usize] as usize..self.first_move[at as usize + 1] as usize;
            for Move { phi, value, block } in &self.moves[moves] {
                // The phi's home is written here: it is taken from here on.
                walk.phi(phi.0, self.position[block.0 as usize]);
                walk.operand(value.0);
            }
        }
        walk.weigh_local_uses();
        self.calls.push(call_count);
    }
}

/// The walk over all instructions in order. What is used where it is defined costs it one comparison.
struct Walk<'r> {
    body: &'r Body,
    places: &'r mut Vec<u32>,
    lives: &'r mut Vec<Life>,
    region_of: &'r [u32],
    /// Number of the function's first value.
    first_value: u32,
    /// How many values come before the first result.
    first_result: u32,
    /// How many of these are arguments; the others are constants.
    arguments: u32,
    here: Here<'r>,
}

/// The block that is being looked at.
struct Here<'r> {
    at: u32,
    /// The innermost region around it, or [`NONE`].
    region: u32,
    regions: &'r [Region],
    /// What an operand counts.
    weight: u32,
    /// First position from which a variable that is used must be kept.
    outermost_start: u32,
    /// First value that it defines, and how many it does: none in the first block, whose stack objects may be variables.
    local: u32,
    local_count: u32,
}

impl Walk<'_> {
    /// Goes to the block at `at`, which defines `results`.
    fn enter(&mut self, at: u32, results: &std::ops::Range<u32>) {
        let here = &mut self.here;
        (here.at, here.region) = (at, self.region_of[at as usize]);
        (here.weight, here.outermost_start) = match here.region {
            NONE => (1, at),
            region => {
                let region = &here.regions[region as usize];
                (region.weight(), region.outermost)
            }
        };
        here.local = results.start;
        here.local_count = if at == 0 { 0 } else { results.end - results.start };
    }

    /// What an operand in the block at `position` counts.
    fn weight_at(&self, position: u32) -> u32 {
        match self.region_of[position as usize] {
            NONE => 1,
            region => self.here.regions[region as usize].weight(),
        }
    }

    /// Gives the value `index`, which the block at `block` defines, a life.
    #[inline(never)]
    fn add(&mut self, index: u32, block: u32, kind: u32) -> usize {
        // No instruction makes an argument, and what writes phis counts by itself.
        let weight = if index < self.first_result || kind == Life::PHI { 0 } else { self.weight_at(block) };
        let place = self.lives.len();
        self.places[index as usize] = place as u32;
        self.lives.push(Life { block, last: block, first: block, weight, kind, local: self.body.uses(index).0 });
        place
    }

    /// The result of an `alloca` in the first block.
    fn object(&mut self, result: u32) {
        let place = self.add(result - self.first_value, 0, Life::UNUSED);
        // Nothing is taken back: an object is defined before it is used.
        self.lives[place].first = NONE;
    }

    /// A phi of the block at `block` begins here, or is written.
    fn phi(&mut self, phi: u32, block: u32) {
        let index = phi - self.first_value;
        let place = match self.places[index as usize] {
            place if place & LOCAL != 0 => self.add(index, block, Life::PHI),
            place => place as usize,
        };
        let life = &mut self.lives[place];
        life.last = life.last.max(self.here.at);
        life.first = life.first.min(self.here.at);
        life.weight = life.weight.saturating_add(self.here.weight);
    }

    /// The life of `value`, if it has one or must have one because it is used here.
    #[inline(always)]
    fn life(&mut self, value: u32) -> Option<usize> {
        let index = value.wrapping_sub(self.first_value);
        if index.wrapping_sub(self.here.local) < self.here.local_count {
            return None;
        }
        match *self.places.get(index as usize)? {
            place if place & LOCAL != 0 => self.first_use(index, place ^ LOCAL),
            place => Some(place as usize),
        }
    }

    /// The life of a value that has none yet.
    #[inline(always)]
    fn first_use(&mut self, index: u32, block: u32) -> Option<usize> {
        // What the first block uses it has defined, and constants of the body live nowhere.
        let is_constant = index < self.first_result && index >= self.arguments;
        if self.here.at == 0 || is_constant { None } else { Some(self.add(index, block, Life::PLAIN)) }
    }

    /// An instruction uses `value`, not only as an address.
    #[inline(always)]
    fn operand(&mut self, value: u32) {
        if let Some(place) = self.life(value) {
            let life = &mut self.lives[place];
            if life.kind != Life::PHI {
                life.kind = Life::PLAIN;
            }
            self.here.count(life, self.here.weight);
        }
    }

    /// An instruction that does nothing names `value`.
    fn mention(&mut self, value: u32) {
        if let Some(place) = self.life(value) {
            self.here.count(&mut self.lives[place], 0);
        }
    }

    /// An instruction loads or stores at the address `value`: a variable of the type that `plain` gives may be there, if it
    /// gives one.
    #[inline(always)]
    fn address(&mut self, value: u32, plain: impl FnOnce() -> Option<TypeId>) {
        let Some(place) = self.life(value) else { return };
        let life = &mut self.lives[place];
        if life.kind >= Life::UNUSED {
            let kind = plain().map_or(Life::PLAIN, |ty| Life::VARIABLE + ty.0);
            let fits = life.kind == kind || life.kind == Life::UNUSED;
            life.kind = if fits { kind } else { Life::PLAIN };
            life.first = life.first.min(self.here.outermost_start);
        }
        self.here.count(life, self.here.weight);
    }

    /// Adds what uses in the block that defines a value count.
    fn weigh_local_uses(&mut self) {
        for at in 0..self.lives.len() {
            let Life { block, local, .. } = self.lives[at];
            if local != 0 {
                let weight = local.saturating_mul(self.weight_at(block));
                self.lives[at].weight = self.lives[at].weight.saturating_add(weight);
            }
        }
    }
}

/// The phis that `block` begins with.
#[inline]
fn phis(body: &Body, block: BlockId) -> impl Iterator<Item = &Instruction> {
    body.block(body.block_instructions(block)).iter().take_while(|instruction| instruction.opcode == Opcode::Phi)
}

/// Whether an access is neither volatile nor atomic.
fn is_plain(access: &Instruction) -> bool {
    access.flags() & Instruction::VOLATILE == 0 && access.ordering() == Ordering::NotAtomic
}

impl Here<'_> {
    #[inline(always)]
    fn count(&self, life: &mut Life, weight: u32) {
        life.local = life.local.saturating_sub(1);
        // Where so many count that it does not fit, any will do.
        life.weight = life.weight.wrapping_add(weight);
        if life.block != self.at {
            life.last = life.last.max(self.end_of_use(life.block));
        }
    }

    /// How far a value that is defined at `definition` lives if it is used here.
    #[inline(always)]
    fn end_of_use(&self, definition: u32) -> u32 {
        let (mut end, mut region) = (self.at, self.region);
        while region != NONE && self.regions[region as usize].start > definition {
            end = self.regions[region as usize].end;
            region = self.regions[region as usize].parent;
        }
        end
    }
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
