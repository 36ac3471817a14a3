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

mod walk;

use kiln_bitcode::{BlockId, Body, Instruction, Module, Opcode, TypeId, ValueId};
pub(crate) use kiln_bitcode::{MIXED, for_values};

use self::walk::{ALL, Here, UNUSUAL, VALUES, Walk};

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
    pub(crate) order: Vec<Node>,
    /// Position of each block, or [`NONE`].
    pub(crate) position: Vec<u32>,
    lives: Vec<Life>,
    /// By value, from the function's first value on: which of `lives` it has, or [`LOCAL`] and the position of its block.
    /// One more at the end stands for whatever is none of the function's.
    places: Vec<u32>,
    moves: Vec<Move>,
    /// The same as they are found, each with the position of the block that it comes from.
    unsorted: Vec<(u32, Move)>,
    regions: Vec<Region>,
    /// Innermost region of each position, or [`NONE`].
    region_of: Vec<u32>,
    /// What leads to each block; by block.
    edges: Vec<Edges>,
    /// Edges to blocks that were not done with yet: from where, and where they lead.
    back: Vec<(BlockId, BlockId)>,
    stack: Vec<(BlockId, Targets)>,
    /// Blocks in the order in which they are done with, the last one first.
    done: Vec<BlockId>,
}

/// The edges to a block.
#[derive(Clone, Copy, Debug)]
struct Edges {
    count: u32,
    /// The block that one of them comes from.
    from: BlockId,
    /// Whether one of them is an indirect jump.
    indirect: bool,
}

/// A reachable block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) block: BlockId,
    /// Number of edges into it.
    pub(crate) predecessors: u32,
    /// One that leads to it, if there are any.
    pub(crate) predecessor: BlockId,
    /// Whether it has an indirect jump among its predecessors.
    pub(crate) indirect: bool,
    /// Whether it has phis.
    pub(crate) has_phis: bool,
    /// Where among all moves those of the edges from it begin, and where they end.
    moves: (u32, u32),
    /// Calls up to its end.
    calls: u32,
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

/// Where `block` leads.
#[inline(always)]
fn targets(body: &Body, block: BlockId) -> Targets {
    let terminator = body.terminator(block);
    Targets::of(terminator, body.operands(terminator))
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
        self.find_regions();
        self.collect_moves(body);
        // From here on these say nothing that is not elsewhere.
        self.edges.clear();
        self.done.clear();
        self.unsorted.clear();
        self.measure(module, body, calls);
    }

    /// Bytes that the arrays hold.
    pub(crate) fn bytes(&self) -> usize {
        let words = self.position.len() + self.region_of.len() + self.places.len();
        words * size_of::<u32>()
            + size_of_val(&*self.lives)
            + size_of_val(&*self.moves)
            + size_of_val(&*self.regions)
            + size_of_val(&*self.order)
    }

    /// Whether a call is made anywhere from position `first` to `last`.
    pub(crate) fn has_calls(&self, first: u32, last: u32) -> bool {
        let before = first.checked_sub(1).map_or(0, |before| self.order[before as usize].calls);
        before != self.order[last as usize].calls
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
        self.moves_of(&self.order[position as usize])
    }

    /// The same of a block.
    #[inline]
    pub(crate) fn moves_of(&self, node: &Node) -> &[Move] {
        &self.moves[node.moves.0 as usize..node.moves.1 as usize]
    }

    /// Depth first; a block is numbered when all its successors are, so the reverse of the numbers is the order. An edge leads
    /// back in it if it leads to a block that is not numbered yet.
    #[inline(never)]
    fn find_order(&mut self, body: &Body) {
        const OPEN: u32 = NONE - 1;
        const DONE: u32 = NONE - 2;
        let count = body.block_count() as usize;
        self.done.clear();
        self.position.clear();
        self.position.resize(count, NONE);
        self.edges.clear();
        self.edges.resize(count, Edges { count: 0, from: BlockId(NONE), indirect: false });
        self.back.clear();
        self.stack.clear();
        let (positions, all_edges) = (&mut self.position[..], &mut self.edges[..]);
        let (mut block, mut left) = (BlockId(0), targets(body, BlockId(0)));
        positions[0] = OPEN;
        loop {
            let successor = match left {
                Targets(NONE, _) => {
                    positions[block.0 as usize] = DONE;
                    self.done.push(block);
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
                    all_edges[successor as usize].indirect |= terminator.opcode == Opcode::IndirectBr;
                    left.0 = at + 1;
                    successor
                }
                Targets(successor, other) => {
                    left = Targets(other, NONE);
                    successor
                }
            };
            let edges = &mut all_edges[successor as usize];
            edges.count += 1;
            edges.from = block;
            let position = &mut positions[successor as usize];
            if *position == NONE {
                *position = OPEN;
                self.stack.push((block, left));
                block = BlockId(successor);
                left = targets(body, block);
            } else if *position == OPEN {
                self.back.push((block, BlockId(successor)));
            }
        }
        self.order.clear();
        for (position, block) in (0u32..).zip(self.done.iter().rev()) {
            positions[block.0 as usize] = position;
            let Edges { count, from, indirect } = all_edges[block.0 as usize];
            self.order.push(Node {
                block: *block,
                predecessors: count,
                predecessor: from,
                indirect,
                has_phis: false,
                moves: (0, 0),
                calls: 0,
            });
        }
    }

    #[inline(never)]
    fn find_regions(&mut self) {
        let count = self.order.len();
        self.region_of.clear();
        self.region_of.resize(count, NONE);
        self.regions.clear();
        // `region_of` holds the end of the region that starts there, for now.
        for (from, to) in &self.back {
            let from = self.position[from.0 as usize];
            let end = &mut self.region_of[self.position[to.0 as usize] as usize];
            *end = if *end == NONE { from } else { from.max(*end) };
        }
        if self.back.is_empty() {
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

    #[inline(never)]
    fn collect_moves(&mut self, body: &Body) {
        self.moves.clear();
        if !body.has_phis() {
            return;
        }
        self.unsorted.clear();
        for (block, position) in (0u32..).map(BlockId).zip(&self.position) {
            if *position == NONE || body.instruction(body.block_instructions(block).start).opcode != Opcode::Phi {
                continue;
            }
            self.order[*position as usize].has_phis = true;
            for phi in phis(body, block) {
                for pair in body.operands(phi).as_chunks::<2>().0 {
                    let from = self.position[pair[1] as usize];
                    if from != NONE {
                        self.order[from as usize].moves.1 += 1;
                        self.unsorted.push((from, Move { phi: phi.result(), value: ValueId(pair[0]), block }));
                    }
                }
            }
        }
        let Some((_, any)) = self.unsorted.first() else { return };
        let mut sum = 0;
        for Node { moves: (start, end), .. } in &mut self.order {
            (*start, sum) = (sum, sum + *end);
            *end = *start;
        }
        self.moves.resize(self.unsorted.len(), *any);
        // `end` runs ahead while moves are filled in.
        for (from, flow) in &self.unsorted {
            let (_, end) = &mut self.order[*from as usize].moves;
            self.moves[*end as usize] = *flow;
            *end += 1;
        }
    }

    /// Intervals and weights.
    #[inline(never)]
    fn measure(
        &mut self,
        module: &Module,
        body: &Body,
        mut calls: impl FnMut(&Body, &Instruction, &[u32]) -> CallKind,
    ) {
        let first_value = body.first_value();
        let first_result = body.first_result() - first_value;
        let values = (body.value_count() - first_value) as usize;
        self.places.clear();
        self.places.resize(values + 1, LOCAL);
        self.lives.clear();
        let mut call_count = 0;
        let mut walk = Walk {
            module,
            body,
            places: &mut self.places,
            lives: &mut self.lives,
            region_of: &self.region_of,
            first_value,
            first_result,
            arguments: body.argument_count(),
            here: Here { at: 0, region: NONE, regions: &self.regions, weight: 1, outermost_start: 0 },
        };
        for (at, node) in (0u32..).zip(&mut self.order) {
            let range = body.block_instructions(node.block);
            let results = body.results(range.clone());
            let mut rows = body.block(range);
            walk.enter(at);
            let mut defined = results.start - first_value;
            if node.has_phis {
                while let [phi @ Instruction { opcode: Opcode::Phi, .. }, rest @ ..] = rows {
                    walk.phi(phi.result().0, at);
                    defined += 1;
                    rows = rest;
                }
            }
            walk.places[defined as usize..(results.end - first_value) as usize].fill(LOCAL | at);
            for instruction in rows {
                let operands = match VALUES[instruction.opcode as usize & 63] {
                    0 => continue,
                    ALL => match instruction.pair() {
                        Some([one, other]) => {
                            walk.operand(one, instruction, 0);
                            walk.operand(other, instruction, 1);
                            continue;
                        }
                        None => body.operands(instruction),
                    },
                    UNUSUAL => walk.unusual(instruction, &mut calls, &mut call_count),
                    count => &body.operands(instruction)[..usize::from(count)],
                };
                for value in operands {
                    walk.operand(*value, instruction, 1);
                }
            }
            node.calls = call_count;
            for Move { phi, value, block } in &self.moves[node.moves.0 as usize..node.moves.1 as usize] {
                // The phi's home is written here: it is taken from here on.
                walk.phi(phi.0, self.position[block.0 as usize]);
                walk.flow(value.0);
            }
        }
        walk.weigh_local_uses();
    }
}

/// The phis that `block` begins with.
#[inline]
fn phis(body: &Body, block: BlockId) -> impl Iterator<Item = &Instruction> {
    body.block(body.block_instructions(block)).iter().take_while(|instruction| instruction.opcode == Opcode::Phi)
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
