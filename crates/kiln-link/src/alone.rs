//! The short way for one graph that only refers to what is already placed: the code of one function.
//!
//! The general link reads its inputs into tables of units and names; for one function that is most of the work. Here every
//! symbol is bound where it stands, every block gets the next place of its segment, and every edge is applied as it comes.
//! What asks for more (thread-local storage of its own or without a fixed place, an undefined name, groups, arrays of
//! constructors, common symbols, weak references) is said to be unfit before anything is reserved, and takes the general
//! way, which also has the errors. Both ways give a symbol the same meaning.
//!
//! ```text
//! code        stubs: ff 25 slot, cc cc     blocks
//! read-only   slots: the addresses         blocks
//! read-write                               blocks
//! ```
//!
//! Whoever links one function after the other keeps an [`AloneMemory`]: then nothing is allocated.

use kiln_abi::{ExecutorAddr, FdeEntry, Permission, Segment};

use crate::eh_frame;
use crate::graph::{Binding, Content, Edge, Graph, SectionKind, Symbol, SymbolId, SymbolKind, SymbolPlace};
use crate::layout::{LIMIT, Placement};
use crate::scope::{External, Scope};
use crate::x86_64::{RelocationKind, general_dynamic_to_local_exec};

const SLOT_BYTES: u32 = 8;
const STUB_BYTES: u32 = 8;
const NONE: u32 = u32::MAX;
/// What code calls for a thread-local variable, unless that has a fixed place in all threads.
const TLS_GET_ADDR: &[u8] = b"__tls_get_addr";

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
    /// A thread-local variable, by its distance from the thread pointer.
    Tls(i64),
    /// What finds thread-local variables: nothing that is fit to be here calls it in the end.
    TlsGetAddr,
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

/// What linking alone takes, kept from one graph to the next.
#[derive(Debug, Default)]
pub struct AloneMemory {
    bound: Vec<Bound>,
    /// By symbol; empty as long as none has any.
    extras: Vec<Extra>,
    /// Symbols with a slot, in the order of their slots.
    slots: Vec<u32>,
    /// Symbols with a stub.
    stubs: Vec<u32>,
    /// Segment and offset of each block.
    places: Vec<(u8, u32)>,
    /// Address of each block.
    blocks: Vec<u64>,
    branches: Vec<Branch>,
    unwind: Vec<FdeEntry>,
}

/// One graph, laid out by itself: see [`Graph::lay_out_alone`].
#[derive(Debug)]
pub struct Alone<'g> {
    graph: &'g Graph<'g>,
    memory: &'g mut AloneMemory,
    segments: [Segment; 3],
    /// How many of `segments` there are.
    count: u8,
    /// The position in `segments` of code, constants and variables.
    index: [u8; 3],
}

/// A graph in its place.
#[derive(Debug)]
pub struct PlacedAlone<'g> {
    graph: &'g Graph<'g>,
    memory: &'g AloneMemory,
}

impl PlacedAlone<'_> {
    /// Where a symbol lies that the graph defines.
    #[must_use]
    pub fn address(&self, symbol: SymbolId) -> Option<ExecutorAddr> {
        match self.graph.symbols.get(symbol.index())?.place {
            SymbolPlace::Defined { block, offset } => {
                Some(ExecutorAddr::new(self.memory.blocks.get(block.0 as usize)?.wrapping_add(offset)))
            }
            _ => None,
        }
    }

    /// Entries of its unwind tables, in the order of what they describe.
    #[must_use]
    pub fn unwind(&self) -> &[FdeEntry] {
        &self.memory.unwind
    }

    /// Its direct branches to global symbols, if asked for.
    #[must_use]
    pub fn branches(&self) -> &[Branch] {
        &self.memory.branches
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
    pub fn lay_out_alone<'g>(&'g self, memory: &'g mut AloneMemory, scope: &mut dyn Scope) -> Result<Alone<'g>, Unfit> {
        if !self.groups.is_empty() {
            return Err(Unfit);
        }
        memory.bound.clear();
        memory.bound.reserve(self.symbols.len());
        for symbol in &self.symbols {
            memory.bound.push(bind(symbol, scope)?);
        }
        let segment = Segment { permission: Permission::Code, size: 0, align: 1 };
        let mut alone = Alone { graph: self, memory, segments: [segment; 3], count: 0, index: [u8::MAX; 3] };
        alone.find_extras()?;
        alone.place_blocks()?;
        Ok(alone)
    }
}

fn bind(symbol: &Symbol<'_>, scope: &mut dyn Scope) -> Result<Bound, Unfit> {
    if matches!(symbol.kind, SymbolKind::Tls | SymbolKind::Ifunc) {
        return Err(Unfit);
    }
    match symbol.place {
        SymbolPlace::Defined { block, offset } => {
            let stub = match (symbol.binding, symbol.kind) {
                (Binding::Local, _) => None,
                (_, SymbolKind::Function) => match symbol.name.id() {
                    Some(id) => scope.stub_of_id(id, &symbol.name),
                    None => scope.stub(&symbol.name),
                },
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
        SymbolPlace::Undefined => {
            let found = match symbol.name.id() {
                Some(id) => scope.lookup_id(id, &symbol.name),
                None if *symbol.name == *TLS_GET_ADDR => return Ok(Bound::TlsGetAddr),
                None => scope.lookup(&symbol.name),
            };
            match found {
                Some(External::Near(address)) => Ok(Bound::Near(address.get())),
                Some(External::Function(address)) => Ok(Bound::Far { address: address.get(), function: true }),
                Some(External::Data(address)) => Ok(Bound::Far { address: address.get(), function: false }),
                Some(External::StaticTls { tp_offset }) => Ok(Bound::Tls(tp_offset)),
                _ => Err(Unfit),
            }
        }
    }
}

impl<'g> Alone<'g> {
    /// The memory it needs; none of size 0.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments[..usize::from(self.count)]
    }

    /// Gives symbols the slots and stubs that edges ask for, and refuses edges that are not for here.
    fn find_extras(&mut self) -> Result<(), Unfit> {
        let AloneMemory { extras, slots, stubs, .. } = &mut *self.memory;
        extras.clear();
        slots.clear();
        stubs.clear();
        let mut edges = self.graph.edges.iter();
        while let Some(edge) = edges.next() {
            let bound = self.memory.bound.get(edge.symbol.0 as usize).ok_or(Unfit)?;
            let far = matches!(bound, Bound::Far { .. });
            let (slot, stub) = match (edge.kind, bound) {
                (RelocationKind::TLSGD, Bound::Tls(_)) => {
                    // The call belongs to the sequence, and goes with it.
                    match edges.next() {
                        Some(call) if self.is_call_of_tls_get_addr(edge, call) => continue,
                        _ => return Err(Unfit),
                    }
                }
                (_, Bound::Tls(_) | Bound::TlsGetAddr) => return Err(Unfit),
                (RelocationKind::ABS64 | RelocationKind::PC64, _) => continue,
                (RelocationKind::PC32, _) if !far => continue,
                (RelocationKind::PLT32, Bound::Far { function: true, .. }) => (true, true),
                (RelocationKind::PLT32, _) if !far => continue,
                (RelocationKind::GOTPCREL | RelocationKind::GOTPCRELX | RelocationKind::REX_GOTPCRELX, _) => {
                    if !far && self.is_load(edge) {
                        continue;
                    }
                    (true, false)
                }
                _ => return Err(Unfit),
            };
            self.memory.add_extra(edge.symbol.0, slot, stub);
        }
        Ok(())
    }

    /// Whether the edge `call` is that of the call that follows `edge`'s instruction.
    fn is_call_of_tls_get_addr(&self, edge: &Edge, call: &Edge) -> bool {
        let bound = self.memory.bound.get(call.symbol.0 as usize);
        call.block == edge.block
            && edge.offset.checked_add(8) == Some(call.offset)
            && call.kind == RelocationKind::PLT32
            && matches!(bound, Some(Bound::TlsGetAddr))
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
        let AloneMemory { stubs, slots, places, .. } = &mut *self.memory;
        let mut ends = [stubs.len() as u64 * u64::from(STUB_BYTES), slots.len() as u64 * u64::from(SLOT_BYTES), 0];
        let mut aligns = [1u64; 3];
        let mut used = [false; 3];
        if !stubs.is_empty() {
            (aligns[0], used[0]) = (8, true);
        }
        if !slots.is_empty() {
            (aligns[1], used[1]) = (8, true);
        }
        places.clear();
        places.reserve(self.graph.blocks.len());
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
            let start = ends[segment].checked_next_multiple_of(block.align).ok_or(Unfit)?;
            ends[segment] = start.checked_add(block.content.size()).filter(|end| *end < LIMIT).ok_or(Unfit)?;
            aligns[segment] = aligns[segment].max(block.align);
            // A block without bytes has a place too.
            used[segment] = true;
            places.push((segment as u8, start as u32));
        }
        if ends.iter().sum::<u64>() >= LIMIT {
            return Err(Unfit);
        }
        for (at, permission) in Permission::ALL.into_iter().enumerate() {
            if used[at] {
                self.index[at] = self.count;
                self.segments[usize::from(self.count)] =
                    Segment { permission, size: ends[at].max(1), align: aligns[at] };
                self.count += 1;
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
    pub fn place(self, placements: &mut [Placement<'_>], branches: bool) -> Result<PlacedAlone<'g>, Unfit> {
        assert_eq!(placements.len(), self.segments().len(), "one placement for each segment");
        let base = |segment: usize| {
            placements.get(usize::from(self.index[segment])).map_or(0, |placement| placement.address.get())
        };
        let bases = [base(0), base(1), base(2)];
        let Alone { graph, memory, index, .. } = self;
        memory.blocks.clear();
        memory.blocks.reserve(graph.blocks.len());
        memory.branches.clear();
        memory.unwind.clear();
        for (block, (segment, at)) in graph.blocks.iter().zip(&memory.places) {
            memory.blocks.push(bases[usize::from(*segment)] + u64::from(*at));
            let placement = &mut placements[usize::from(index[usize::from(*segment)])];
            let working = &mut placement.working[*at as usize..][..block.content.size() as usize];
            match &block.content {
                Content::Bytes(bytes) => working.copy_from_slice(bytes),
                Content::Zero(_) if placement.zeroed => {}
                Content::Zero(_) => working.fill(0),
            }
        }
        if !memory.slots.is_empty() {
            memory.write_extras(placements, index, bases);
        }
        memory.apply(graph, placements, index, bases, branches)?;
        memory.read_unwind(graph, placements, index)?;
        Ok(PlacedAlone { graph, memory })
    }
}

impl AloneMemory {
    /// Gives `symbol` a slot or a stub if it has none yet.
    #[cold]
    fn add_extra(&mut self, symbol: u32, slot: bool, stub: bool) {
        if self.extras.is_empty() {
            self.extras.resize(self.bound.len(), Extra { slot: NONE, stub: NONE });
        }
        let extra = &mut self.extras[symbol as usize];
        if stub && extra.stub == NONE {
            extra.stub = self.stubs.len() as u32;
            self.stubs.push(symbol);
        }
        if slot && extra.slot == NONE {
            extra.slot = self.slots.len() as u32;
            self.slots.push(symbol);
        }
    }

    fn extra(&self, symbol: u32) -> Extra {
        self.extras.get(symbol as usize).copied().unwrap_or(Extra { slot: NONE, stub: NONE })
    }

    #[cold]
    fn write_extras(&self, placements: &mut [Placement<'_>], index: [u8; 3], bases: [u64; 3]) {
        for (slot, symbol) in self.slots.iter().enumerate() {
            let working = &mut placements[usize::from(index[1])].working[slot * SLOT_BYTES as usize..];
            working[..8].copy_from_slice(&self.address(*symbol).to_le_bytes());
        }
        for (stub, symbol) in self.stubs.iter().enumerate() {
            let at = stub * STUB_BYTES as usize;
            let slot = bases[1] + u64::from(self.extra(*symbol).slot * SLOT_BYTES);
            let distance = slot.wrapping_sub(bases[0] + at as u64 + 6) as u32;
            let working = &mut placements[usize::from(index[0])].working[at..];
            working[..2].copy_from_slice(&[0xff, 0x25]); // jmp *slot(%rip)
            working[2..6].copy_from_slice(&distance.to_le_bytes());
            working[6..8].copy_from_slice(&[0xcc, 0xcc]);
        }
    }

    /// What everybody means by a symbol.
    fn address(&self, symbol: u32) -> u64 {
        match self.bound[symbol as usize] {
            Bound::Here { block, offset } => self.blocks[block as usize].wrapping_add(offset),
            Bound::Stubbed { stub: address, .. } | Bound::Near(address) | Bound::Far { address, .. } => address,
            // Refused by `find_extras`.
            Bound::Tls(_) | Bound::TlsGetAddr => 0,
        }
    }

    fn apply(
        &mut self,
        graph: &Graph<'_>,
        placements: &mut [Placement<'_>],
        index: [u8; 3],
        bases: [u64; 3],
        branches: bool,
    ) -> Result<(), Unfit> {
        // Edges of one block come together.
        let mut current = NONE;
        let mut base = 0;
        let mut bytes: &mut [u8] = &mut [];
        let mut edges = graph.edges.iter();
        while let Some(edge) = edges.next() {
            if edge.block.0 != current {
                current = edge.block.0;
                let (segment, start) = *self.places.get(current as usize).ok_or(Unfit)?;
                base = self.blocks[current as usize];
                let size = graph.blocks[current as usize].content.size() as usize;
                let working = &mut placements[usize::from(index[usize::from(segment)])].working;
                bytes = &mut working[start as usize..][..size];
            }
            let at = usize::try_from(edge.offset).map_err(|_| Unfit)?;
            let place = base.wrapping_add(edge.offset);
            let target = match edge.kind {
                RelocationKind::ABS64 | RelocationKind::PC64 => {
                    let mut value = self.address(edge.symbol.0).wrapping_add_signed(edge.addend);
                    if edge.kind == RelocationKind::PC64 {
                        value = value.wrapping_sub(place);
                    }
                    let field = at.checked_add(8).and_then(|end| bytes.get_mut(at..end)).ok_or(Unfit)?;
                    field.copy_from_slice(&value.to_le_bytes());
                    continue;
                }
                RelocationKind::PC32 => self.address(edge.symbol.0),
                RelocationKind::PLT32 => {
                    let patchable = place % 8 <= 4;
                    let target = match self.bound[edge.symbol.0 as usize] {
                        Bound::Stubbed { block, offset, .. } if patchable => {
                            self.blocks[block as usize].wrapping_add(offset)
                        }
                        Bound::Far { function: true, .. } => {
                            bases[0] + u64::from(self.extra(edge.symbol.0).stub * STUB_BYTES)
                        }
                        _ => self.address(edge.symbol.0),
                    };
                    let global = graph.symbols[edge.symbol.0 as usize].binding != Binding::Local;
                    if branches && global && edge.addend == -4 {
                        let (place, target) = (ExecutorAddr::new(place), ExecutorAddr::new(target));
                        self.branches.push(Branch { place, symbol: edge.symbol, target, patchable });
                    }
                    target
                }
                RelocationKind::TLSGD => {
                    let Bound::Tls(offset) = self.bound[edge.symbol.0 as usize] else { return Err(Unfit) };
                    general_dynamic_to_local_exec(bytes, at, offset).ok_or(Unfit)?;
                    // `find_extras` has seen that it is the call.
                    edges.next();
                    continue;
                }
                _ => match self.extra(edge.symbol.0).slot {
                    NONE => {
                        bytes[at - 2] = 0x8d; // lea symbol(%rip), %reg
                        self.address(edge.symbol.0)
                    }
                    slot => bases[1] + u64::from(slot * SLOT_BYTES),
                },
            };
            let value = target.wrapping_add_signed(edge.addend).wrapping_sub(place) as i64;
            let value = i32::try_from(value).map_err(|_| Unfit)?;
            let field = at.checked_add(4).and_then(|end| bytes.get_mut(at..end)).ok_or(Unfit)?;
            field.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    /// Finds the entries of the unwind tables; what each describes is said by its own edge.
    fn read_unwind(&mut self, graph: &Graph<'_>, placements: &[Placement<'_>], index: [u8; 3]) -> Result<(), Unfit> {
        for (number, block) in graph.blocks.iter().enumerate() {
            let section = &graph.sections[block.section.0 as usize];
            if section.kind != SectionKind::ReadOnly || *section.name != *b".eh_frame" {
                continue;
            }
            let (segment, start) = self.places[number];
            let working = &placements[usize::from(index[usize::from(segment)])].working;
            let bytes = &working[start as usize..][..block.content.size() as usize];
            let at = self.blocks[number];
            let mut complete = true;
            let read = eh_frame::visit(bytes, &[], |record, _| {
                let Some(fde) = record.fde else { return };
                let begin = u64::from(record.offset + eh_frame::PC_BEGIN);
                // From the end, where the edges of tables are.
                let mut edges = graph.edges.iter().rev();
                let edge = edges.find(|edge| edge.block.0 as usize == number && edge.offset == begin);
                let described = edge.and_then(|edge| match self.bound[edge.symbol.0 as usize] {
                    Bound::Here { block, offset } => {
                        Some(self.blocks[block as usize].wrapping_add(offset).wrapping_add_signed(edge.addend))
                    }
                    _ => None,
                });
                let Some(pc_begin) = described else {
                    complete = false;
                    return;
                };
                if fde.pc_bytes > 0 {
                    self.unwind.push(FdeEntry {
                        pc_begin: ExecutorAddr::new(pc_begin),
                        pc_bytes: fde.pc_bytes,
                        fde: ExecutorAddr::new(at + u64::from(record.offset)),
                    });
                }
            });
            if read.is_err() || !complete {
                return Err(Unfit);
            }
        }
        self.unwind.sort_unstable_by_key(|entry| entry.pc_begin);
        Ok(())
    }
}
