//! The short way for one graph that only refers to what is already placed: the code of one function.
//!
//! The general link reads its inputs into tables of units and names; for one function that is most of the work. Here every
//! symbol is bound where it stands, every block gets the next place of its segment, and every edge is applied as it comes.
//! What asks for more (thread-local storage, an undefined name, groups, arrays of constructors, common symbols, weak
//! references) is said to be unfit before anything is reserved, and takes the general way, which also has the errors.
//! Both ways give a symbol the same meaning.
//!
//! ```text
//! code        stubs: ff 25 slot, cc cc     blocks
//! read-only   slots: the addresses         blocks
//! read-write                               blocks
//! ```

use kiln_abi::{ExecutorAddr, FdeEntry, Permission, Segment};

use crate::eh_frame;
use crate::graph::{Binding, Content, Edge, Graph, SectionKind, SymbolId, SymbolKind, SymbolPlace};
use crate::layout::{LIMIT, Placement};
use crate::scope::{External, Scope};
use crate::x86_64::RelocationKind;

const SLOT_BYTES: u32 = 8;
const STUB_BYTES: u32 = 8;
const NONE: u32 = u32::MAX;

/// What a symbol is bound to.
#[derive(Clone, Copy, Debug)]
enum Bound {
    /// A place in a block.
    Here { block: u32, offset: u64 },
    /// A function of the graph that has a stub elsewhere, which everybody but patchable branches means.
    Stubbed { block: u32, offset: u64, stub: u64 },
    /// An address in reach of everything here.
    Near(u64),
    /// An address that may be anywhere, of a function or of something else.
    Far { address: u64, function: bool },
}

/// Slot and stub of a symbol, by their numbers.
#[derive(Clone, Copy, Debug)]
struct Extra {
    slot: u32,
    stub: u32,
}

/// A direct branch from a graph that was linked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Address of the displacement.
    pub place: ExecutorAddr,
    /// The symbol it names.
    pub symbol: SymbolId,
    /// Where it leads now.
    pub target: ExecutorAddr,
    /// Whether the displacement lies in one aligned 8-byte word, so that it can be rewritten while threads run it.
    pub patchable: bool,
}

/// One graph, laid out by itself: see [`Graph::lay_out_alone`].
#[derive(Debug)]
pub struct Alone<'g> {
    graph: &'g Graph<'g>,
    bound: Vec<Bound>,
    extras: Vec<Extra>,
    /// Symbols with a slot, in the order of their slots.
    slots: Vec<u32>,
    /// Symbols with a stub.
    stubs: Vec<u32>,
    /// Segment and offset of each block.
    places: Vec<(u8, u32)>,
    segments: Vec<Segment>,
    /// The position in `segments` of code, constants and variables.
    index: [u8; 3],
}

/// A graph in its place.
#[derive(Debug, Default)]
pub struct PlacedAlone {
    /// Entries of its unwind tables.
    pub unwind: Vec<FdeEntry>,
    /// Its direct branches to global symbols, if asked for.
    pub branches: Vec<Branch>,
    blocks: Vec<u64>,
}

impl PlacedAlone {
    /// Where a symbol of the graph lies that the graph defines.
    #[must_use]
    pub fn address(&self, graph: &Graph<'_>, symbol: SymbolId) -> Option<ExecutorAddr> {
        match graph.symbols.get(symbol.index())?.place {
            SymbolPlace::Defined { block, offset } => {
                Some(ExecutorAddr::new(self.blocks.get(block.0 as usize)?.wrapping_add(offset)))
            }
            _ => None,
        }
    }
}

/// A relocation that cannot be applied here. The general link says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit;

impl<'a> Graph<'a> {
    /// Binds and lays out the graph by itself; `scope` has everything that it does not define. A function of it that has a
    /// [stub](Scope::stub) is known by that.
    ///
    /// # Errors
    ///
    /// [`Unfit`] where it must take part in a [`Link`](crate::Link).
    pub fn lay_out_alone(&'a self, scope: &mut dyn Scope) -> Result<Alone<'a>, Unfit> {
        if !self.groups.is_empty() {
            return Err(Unfit);
        }
        let bound = self.symbols.iter().map(|symbol| bind(symbol, scope)).collect::<Result<Vec<_>, _>>()?;
        let mut alone = Alone {
            graph: self,
            extras: vec![Extra { slot: NONE, stub: NONE }; bound.len()],
            bound,
            slots: Vec::new(),
            stubs: Vec::new(),
            places: Vec::with_capacity(self.blocks.len()),
            segments: Vec::with_capacity(3),
            index: [u8::MAX; 3],
        };
        alone.find_extras()?;
        alone.place_blocks()?;
        Ok(alone)
    }
}

fn bind(symbol: &crate::graph::Symbol<'_>, scope: &mut dyn Scope) -> Result<Bound, Unfit> {
    if matches!(symbol.kind, SymbolKind::Tls | SymbolKind::Ifunc) {
        return Err(Unfit);
    }
    match symbol.place {
        SymbolPlace::Defined { block, offset } => {
            let stub = match (symbol.binding, symbol.kind) {
                (Binding::Local, _) => None,
                (_, SymbolKind::Function) => scope.stub(&symbol.name),
                _ => None,
            };
            Ok(match stub {
                Some(stub) => Bound::Stubbed { block: block.0, offset, stub: stub.get() },
                None => Bound::Here { block: block.0, offset },
            })
        }
        SymbolPlace::Absolute(address) => Ok(Bound::Far { address: address.get(), function: false }),
        SymbolPlace::Common { .. } => Err(Unfit),
        SymbolPlace::Undefined if symbol.binding == Binding::Weak => Err(Unfit),
        SymbolPlace::Undefined => match scope.lookup(&symbol.name) {
            Some(External::Near(address)) => Ok(Bound::Near(address.get())),
            Some(External::Function(address)) => Ok(Bound::Far { address: address.get(), function: true }),
            Some(External::Data(address)) => Ok(Bound::Far { address: address.get(), function: false }),
            _ => Err(Unfit),
        },
    }
}

impl Alone<'_> {
    /// The memory it needs; none of size 0.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Gives symbols the slots and stubs that edges ask for, and refuses edges that are not for here.
    fn find_extras(&mut self) -> Result<(), Unfit> {
        for edge in &self.graph.edges {
            let at = edge.symbol.0 as usize;
            let (Some(bound), Some(extra)) = (self.bound.get(at), self.extras.get_mut(at)) else { return Err(Unfit) };
            let far = matches!(bound, Bound::Far { .. });
            let slot = match edge.kind {
                RelocationKind::ABS64 | RelocationKind::PC64 => false,
                RelocationKind::PC32 if !far => false,
                RelocationKind::PLT32 => match bound {
                    Bound::Far { function: true, .. } => {
                        if extra.stub == NONE {
                            extra.stub = self.stubs.len() as u32;
                            self.stubs.push(edge.symbol.0);
                        }
                        true
                    }
                    Bound::Far { function: false, .. } => return Err(Unfit),
                    _ => false,
                },
                RelocationKind::GOTPCREL | RelocationKind::GOTPCRELX | RelocationKind::REX_GOTPCRELX => {
                    far || !self.is_load(edge)
                }
                _ => return Err(Unfit),
            };
            let extra = &mut self.extras[at];
            if slot && extra.slot == NONE {
                extra.slot = self.slots.len() as u32;
                self.slots.push(edge.symbol.0);
            }
        }
        Ok(())
    }

    /// Whether the field belongs to `mov symbol@GOTPCREL(%rip), %reg`, which becomes a `lea` where the symbol is in reach
    /// (psABI, "Optimize GOTPCRELX relocations").
    fn is_load(&self, edge: &Edge) -> bool {
        let Some(block) = self.graph.blocks.get(edge.block.0 as usize) else { return false };
        let Content::Bytes(bytes) = &block.content else { return false };
        let at = edge.offset as usize;
        edge.kind != RelocationKind::GOTPCREL
            && edge.addend == -4
            && at >= 2
            && bytes.get(at - 2) == Some(&0x8b)
            && bytes.get(at - 1).is_some_and(|modrm| modrm & 0xc7 == 0x05)
    }

    fn place_blocks(&mut self) -> Result<(), Unfit> {
        let mut ends =
            [self.stubs.len() as u64 * u64::from(STUB_BYTES), self.slots.len() as u64 * u64::from(SLOT_BYTES), 0];
        let mut aligns = [1u64; 3];
        if !self.stubs.is_empty() {
            aligns[0] = 8;
        }
        if !self.slots.is_empty() {
            aligns[1] = 8;
        }
        for block in &self.graph.blocks {
            let section = self.graph.sections.get(block.section.0 as usize).ok_or(Unfit)?;
            let segment = match section.kind {
                SectionKind::Code => 0,
                SectionKind::ReadOnly => 1,
                SectionKind::ReadWrite => 2,
                _ => return Err(Unfit),
            };
            if !block.align.is_power_of_two() || block.group.is_some() {
                return Err(Unfit);
            }
            let start = ends[segment].next_multiple_of(block.align);
            ends[segment] = start.checked_add(block.content.size()).filter(|end| *end < LIMIT).ok_or(Unfit)?;
            aligns[segment] = aligns[segment].max(block.align);
            self.places.push((segment as u8, start as u32));
        }
        if ends.iter().sum::<u64>() >= LIMIT {
            return Err(Unfit);
        }
        for (at, permission) in Permission::ALL.into_iter().enumerate() {
            // A block without bytes has a place too.
            if ends[at] > 0 || self.places.iter().any(|(segment, _)| usize::from(*segment) == at) {
                self.index[at] = self.segments.len() as u8;
                self.segments.push(Segment { permission, size: ends[at].max(1), align: aligns[at] });
            }
        }
        Ok(())
    }

    /// Copies the blocks and applies the edges. Branches are listed if `branches` is set.
    ///
    /// # Errors
    ///
    /// [`Unfit`] where a value does not fit its field; the working memory is in no defined state then.
    ///
    /// # Panics
    ///
    /// If `placements` are not those of [`Alone::segments`].
    pub fn place(&self, placements: &mut [Placement<'_>], branches: bool) -> Result<PlacedAlone, Unfit> {
        assert_eq!(placements.len(), self.segments.len(), "one placement for each segment");
        let base = |segment: usize| {
            placements.get(usize::from(self.index[segment])).map_or(0, |placement| placement.address.get())
        };
        let bases = [base(0), base(1), base(2)];
        let mut placed = PlacedAlone {
            blocks: self.places.iter().map(|(segment, at)| bases[usize::from(*segment)] + u64::from(*at)).collect(),
            ..PlacedAlone::default()
        };
        self.write_extras(placements, bases, &placed.blocks);
        for (block, (segment, at)) in self.graph.blocks.iter().zip(&self.places) {
            let placement = &mut placements[usize::from(self.index[usize::from(*segment)])];
            let size = block.content.size() as usize;
            let working = &mut placement.working[*at as usize..][..size];
            match &block.content {
                Content::Bytes(bytes) => working.copy_from_slice(bytes),
                Content::Zero(_) if placement.zeroed => {}
                Content::Zero(_) => working.fill(0),
            }
        }
        for edge in &self.graph.edges {
            self.apply(edge, placements, bases, &mut placed, branches)?;
        }
        self.read_unwind(placements, &mut placed)?;
        Ok(placed)
    }

    fn write_extras(&self, placements: &mut [Placement<'_>], bases: [u64; 3], blocks: &[u64]) {
        for (slot, symbol) in self.slots.iter().enumerate() {
            let working = &mut placements[usize::from(self.index[1])].working[slot * SLOT_BYTES as usize..];
            working[..8].copy_from_slice(&self.address(*symbol, blocks).to_le_bytes());
        }
        for (stub, symbol) in self.stubs.iter().enumerate() {
            let at = stub * STUB_BYTES as usize;
            let slot = bases[1] + u64::from(self.extras[*symbol as usize].slot * SLOT_BYTES);
            let distance = slot.wrapping_sub(bases[0] + at as u64 + 6) as u32;
            let working = &mut placements[usize::from(self.index[0])].working[at..];
            working[..2].copy_from_slice(&[0xff, 0x25]); // jmp *slot(%rip)
            working[2..6].copy_from_slice(&distance.to_le_bytes());
            working[6..8].copy_from_slice(&[0xcc, 0xcc]);
        }
    }

    /// What everybody means by a symbol.
    fn address(&self, symbol: u32, blocks: &[u64]) -> u64 {
        match self.bound[symbol as usize] {
            Bound::Here { block, offset } => blocks[block as usize].wrapping_add(offset),
            Bound::Stubbed { stub: address, .. } | Bound::Near(address) | Bound::Far { address, .. } => address,
        }
    }

    fn apply(
        &self,
        edge: &Edge,
        placements: &mut [Placement<'_>],
        bases: [u64; 3],
        placed: &mut PlacedAlone,
        branches: bool,
    ) -> Result<(), Unfit> {
        let (segment, start) = *self.places.get(edge.block.0 as usize).ok_or(Unfit)?;
        let bytes = &mut placements[usize::from(self.index[usize::from(segment)])].working[start as usize..];
        let block = &self.graph.blocks[edge.block.0 as usize];
        let width = if matches!(edge.kind, RelocationKind::ABS64 | RelocationKind::PC64) { 8 } else { 4 };
        let at = usize::try_from(edge.offset).map_err(|_| Unfit)?;
        if at.checked_add(width).is_none_or(|end| end as u64 > block.content.size()) {
            return Err(Unfit);
        }
        let place = placed.blocks[edge.block.0 as usize] + edge.offset;
        let symbol = edge.symbol.0;
        let address = self.address(symbol, &placed.blocks);
        let target = match edge.kind {
            RelocationKind::ABS64 => {
                bytes[at..at + 8].copy_from_slice(&address.wrapping_add_signed(edge.addend).to_le_bytes());
                return Ok(());
            }
            RelocationKind::PC64 => {
                let value = address.wrapping_add_signed(edge.addend).wrapping_sub(place);
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                return Ok(());
            }
            RelocationKind::PLT32 => {
                let patchable = place % 8 <= 4;
                let target = match self.bound[symbol as usize] {
                    Bound::Stubbed { block, offset, .. } if patchable => {
                        placed.blocks[block as usize].wrapping_add(offset)
                    }
                    Bound::Far { function: true, .. } => {
                        bases[0] + u64::from(self.extras[symbol as usize].stub * STUB_BYTES)
                    }
                    _ => address,
                };
                let global = self.graph.symbols[symbol as usize].binding != Binding::Local;
                if branches && global && edge.addend == -4 {
                    placed.branches.push(Branch {
                        place: ExecutorAddr::new(place),
                        symbol: edge.symbol,
                        target: ExecutorAddr::new(target),
                        patchable,
                    });
                }
                target
            }
            RelocationKind::PC32 => address,
            _ => match self.extras[symbol as usize].slot {
                slot if slot != NONE => bases[1] + u64::from(slot * SLOT_BYTES),
                _ => {
                    bytes[at - 2] = 0x8d; // lea symbol(%rip), %reg
                    address
                }
            },
        };
        let value = target.wrapping_add_signed(edge.addend).wrapping_sub(place) as i64;
        let value = i32::try_from(value).map_err(|_| Unfit)?;
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Finds the entries of the unwind tables; what each describes is said by its own edge.
    fn read_unwind(&self, placements: &[Placement<'_>], placed: &mut PlacedAlone) -> Result<(), Unfit> {
        for (number, block) in self.graph.blocks.iter().enumerate() {
            let section = &self.graph.sections[block.section.0 as usize];
            if section.kind != SectionKind::ReadOnly || section.name.as_ref() != b".eh_frame" {
                continue;
            }
            let (segment, start) = self.places[number];
            let working = &placements[usize::from(self.index[usize::from(segment)])].working;
            let bytes = &working[start as usize..][..block.content.size() as usize];
            let at = placed.blocks[number];
            let mut complete = true;
            let edges = self.graph.edges.iter().filter(|edge| edge.block.0 as usize == number);
            let read = eh_frame::visit(bytes, &[], |record, _| {
                let Some(fde) = record.fde else { return };
                let begin = u64::from(record.offset + eh_frame::PC_BEGIN);
                let Some(edge) = edges.clone().find(|edge| edge.offset == begin) else {
                    complete = false;
                    return;
                };
                let Some(Bound::Here { block, offset }) = self.bound.get(edge.symbol.0 as usize).copied() else {
                    complete = false;
                    return;
                };
                let pc_begin = placed.blocks[block as usize].wrapping_add(offset).wrapping_add_signed(edge.addend);
                placed.unwind.push(FdeEntry {
                    pc_begin: ExecutorAddr::new(pc_begin),
                    pc_bytes: fde.pc_bytes,
                    fde: ExecutorAddr::new(at + u64::from(record.offset)),
                });
            });
            if read.is_err() || !complete {
                return Err(Unfit);
            }
        }
        placed.unwind.retain(|entry| entry.pc_bytes > 0);
        placed.unwind.sort_unstable_by_key(|entry| entry.pc_begin);
        Ok(())
    }
}
