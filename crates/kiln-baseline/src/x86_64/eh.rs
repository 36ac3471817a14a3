//! Unwind tables: how a frame is left (`.eh_frame`), and where an exception goes on (`.gcc_except_table`).
//!
//! Sources: LSB 5.0 Core §10.6 and DWARF 5 §6.4 for frames, psABI figure 3.36 for register numbers; the table of call
//! sites is the Itanium ABI's language-specific data area, as gcc and LLVM write it (llvm/lib/CodeGen/AsmPrinter/EHStreamer.cpp)
//! and libgcc, libstdc++ and Rust's library read it.
//!
//! The area, from its start:
//!
//! ```text
//! ff            landing pads count from the function's start
//! 9b, uleb      types are 4-byte distances to cells that hold the address; distance from here to the base below
//! 01, uleb      call sites are uleb128; bytes of them
//! ...           call sites: start, length, landing pad or 0, action + 1 or 0, in the order of the code, without a gap:
//!               what no entry covers ends the program
//! ...           actions: type or filter, distance to the next one or 0
//! ...           types, the last one first; 0 catches everything
//! base          filters: types, ended by 0
//! ```
//!
//! Addresses of personality and types stand in cells that one table of the function holds, because they may lie farther
//! away than 2 GiB.

use kiln_link::{BlockId, Content, Graph, RelocationKind, SectionKind, Symbol, SymbolId};

#[cfg(test)]
mod tests;

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`
const DISTANCE: u8 = 0x1b;
/// `DW_EH_PE_indirect | DW_EH_PE_pcrel | DW_EH_PE_sdata4`
const CELL: u8 = 0x9b;
/// `DW_EH_PE_omit`
const OMIT: u8 = 0xff;
/// `DW_EH_PE_uleb128`
const ULEB: u8 = 0x01;

const RSP: u8 = 7;
const RBP: u8 = 6;
const RETURN_ADDRESS: u8 = 16;

/// How the frame of one function is built: all offsets count from its first instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameRows<'a> {
    /// Bytes of code.
    pub(crate) code_bytes: u32,
    /// Behind `push rbp`.
    pub(crate) pushed: u32,
    /// Behind `mov rbp, rsp`.
    pub(crate) framed: u32,
    /// Behind the stores of callee-saved registers.
    pub(crate) saved_from: u32,
    /// Those registers by their numbers in machine code, and where they are kept, relative to RBP.
    pub(crate) saved: &'a [(u8, i32)],
    /// From behind each `leave`, which restores RSP and RBP, to behind its `ret` or jump.
    pub(crate) epilogues: &'a [(u32, u32)],
}

/// A call, or several in a row, and where an exception goes that comes out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CallSite {
    start: u32,
    end: u32,
    /// Offset of the landing pad, not 0, and its action.
    pad: (u32, u32),
}

/// What `.gcc_except_table` says about one function. Made to be used again: memory stays.
///
/// Types are named by numbers of the caller's choice, the same for the same type; `None` catches everything.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    sites: Vec<CallSite>,
    actions: Vec<u8>,
    types: Vec<Option<u32>>,
    filters: Vec<u8>,
    /// Memory for actions by their landing pads' labels, while sites are filled in.
    pub(crate) by_label: Vec<u32>,
    /// Memory for the encoded table of call sites, and for the cells that are known.
    encoded: Vec<u8>,
    cells: Vec<(SymbolId, SymbolId)>,
}

impl Exceptions {
    pub(crate) fn clear(&mut self) {
        self.sites.clear();
        self.actions.clear();
        self.types.clear();
        self.filters.clear();
    }

    /// Whether the function needs no area: it has no landing pads.
    pub(crate) fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// How many types there are.
    pub(crate) fn type_count(&self) -> usize {
        self.types.len()
    }

    /// The number of a type in the function's own table, which is what `llvm.eh.typeid.for` gives and what an action asks
    /// for.
    pub(crate) fn type_number(&mut self, ty: Option<u32>) -> i32 {
        let at = self.types.iter().position(|known| *known == ty).unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        });
        at as i32 + 1
    }

    /// The number of a filter: a list of types that may pass, an empty one in functions that let nothing pass.
    pub(crate) fn filter_number(&mut self, types: &[Option<u32>]) -> i32 {
        let at = self.filters.len();
        for ty in types {
            let number = self.type_number(*ty);
            uleb128(&mut self.filters, number as u64);
        }
        self.filters.push(0);
        -1 - at as i32
    }

    /// The action of a landing pad with these clauses, numbers of types and filters in their order.
    pub(crate) fn action(&mut self, clauses: &[i32], cleanup: bool) -> u32 {
        if clauses.is_empty() {
            return 0;
        }
        let first = self.actions.len() as u32 + 1;
        let all = clauses.iter().chain(cleanup.then_some(&0));
        let last = clauses.len() + usize::from(cleanup) - 1;
        for (at, clause) in all.enumerate() {
            sleb128(&mut self.actions, i64::from(*clause));
            // The next one begins right behind this byte, from which the distance counts.
            self.actions.push(u8::from(at != last));
        }
        first
    }

    /// Says where exceptions go that come out of the calls between two offsets: to a landing pad's offset with its action.
    /// All others go on to the caller. Sites come in the order of the code.
    pub(crate) fn site(&mut self, start: u32, end: u32, pad: (u32, u32)) {
        debug_assert!(self.sites.last().is_none_or(|last| last.end <= start) && start < end, "sites in order");
        match self.sites.last_mut() {
            Some(last) if last.pad == pad && last.end == start => last.end = end,
            _ => self.sites.push(CallSite { start, end, pad }),
        }
    }

    /// Encodes the table of call sites; how many bytes of `encoded` it takes.
    fn encode_sites(&mut self, code_bytes: u32) -> usize {
        let Self { sites, encoded, .. } = self;
        let mut length = 0;
        let mut push = |start: u32, end: u32, (pad, action): (u32, u32)| {
            if encoded.len() < length + ENTRY_MAX {
                encoded.resize(2 * length + 16 * ENTRY_MAX, 0);
            }
            let entry = &mut encoded[length..length + ENTRY_MAX];
            let mut at = 0;
            for mut value in [start, end - start, pad, action] {
                while value >= 0x80 {
                    entry[at % ENTRY_MAX] = value as u8 | 0x80;
                    value >>= 7;
                    at += 1;
                }
                entry[at % ENTRY_MAX] = value as u8;
                at += 1;
            }
            length += at;
        };
        let mut at = 0;
        for site in &*sites {
            if site.start > at {
                push(at, site.start, ONWARD);
            }
            push(site.start, site.end, site.pad);
            at = site.end;
        }
        if at < code_bytes {
            push(at, code_bytes, ONWARD);
        }
        length
    }

    /// Writes the area; where in it the types begin, four bytes each, the last one first.
    fn area(&mut self, code_bytes: u32, bytes: &mut Vec<u8>) -> u32 {
        let length = self.encode_sites(code_bytes);
        let sites = &self.encoded[..length];
        // Two formats, three lengths of at most five bytes, and three bytes at most before the types.
        let rest = self.actions.len() + 4 * self.types.len() + self.filters.len() + 24;
        bytes.reserve_exact(length + rest);
        bytes.push(OMIT);
        if self.types.is_empty() && self.filters.is_empty() {
            bytes.push(OMIT);
            bytes.push(ULEB);
            uleb128(bytes, length as u64);
            bytes.extend_from_slice(sites);
            bytes.extend_from_slice(&self.actions);
            return bytes.len() as u32;
        }
        bytes.push(CELL);
        let body = 1 + uleb128_bytes(length as u64) + length + self.actions.len();
        // Types are aligned, and how long the distance over them is depends on itself.
        let (mut width, mut padding, mut distance) = (1, 0, 0);
        while width <= 5 {
            padding = (bytes.len() + width + body).next_multiple_of(4) - (bytes.len() + width + body);
            distance = body + padding + 4 * self.types.len();
            if distance < 1 << (7 * width) {
                break;
            }
            width += 1;
        }
        uleb128_wide(bytes, distance as u64, width);
        bytes.push(ULEB);
        uleb128(bytes, length as u64);
        bytes.extend_from_slice(sites);
        bytes.extend_from_slice(&self.actions);
        let types = bytes.len() + padding;
        bytes.resize(types + 4 * self.types.len(), 0);
        bytes.extend_from_slice(&self.filters);
        types as u32
    }
}

/// Room for an entry of the table of call sites: four numbers of up to five bytes.
const ENTRY_MAX: usize = 32;
/// No landing pad and no action: on to the caller.
const ONWARD: (u32, u32) = (0, 0);

/// Cells that hold addresses, for who can only say a distance of 4 bytes.
struct Cells<'g> {
    graph: &'g mut Graph<'static>,
    block: Option<BlockId>,
    known: &'g mut Vec<(SymbolId, SymbolId)>,
}

impl Cells<'_> {
    /// The cell that holds the address of `symbol`.
    fn of(&mut self, symbol: SymbolId) -> SymbolId {
        if let Some((_, cell)) = self.known.iter().find(|(known, _)| *known == symbol) {
            return *cell;
        }
        let block = *self.block.get_or_insert_with(|| {
            let section = self.graph.add_section(".data.rel.ro", SectionKind::ReadOnly);
            let bytes = self.graph.take_spare();
            self.graph.add_block(section, Content::from(bytes), 8)
        });
        let bytes = self.graph.block_bytes_mut(block).expect("made of bytes above");
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(&[0; 8]);
        self.graph.add_edge(block, offset, RelocationKind::ABS64, symbol, 0);
        let cell = self.graph.add_symbol(Symbol::local(block, offset));
        self.known.push((symbol, cell));
        cell
    }
}

/// Adds the unwind tables of the function at `code`, a local symbol, to its graph. `exceptions` come with the symbol of
/// the personality function, and `symbol` knows the types in them.
pub(crate) fn attach(
    graph: &mut Graph<'static>,
    code: SymbolId,
    frame: &FrameRows<'_>,
    exceptions: Option<(&mut Exceptions, SymbolId)>,
    symbol: &dyn Fn(u32) -> SymbolId,
) {
    let tables = exceptions.map(|(exceptions, personality)| {
        let mut known = std::mem::take(&mut exceptions.cells);
        known.clear();
        let mut cells = Cells { graph: &mut *graph, block: None, known: &mut known };
        let personality = cells.of(personality);
        let mut bytes = cells.graph.take_spare();
        let types = exceptions.area(frame.code_bytes, &mut bytes);
        let section = cells.graph.add_section(".gcc_except_table", SectionKind::ReadOnly);
        let block = cells.graph.add_block(section, Content::from(bytes), 4);
        for (place, ty) in (types..).step_by(4).zip(exceptions.types.iter().rev()) {
            if let Some(ty) = ty {
                let cell = cells.of(symbol(*ty));
                cells.graph.add_edge(block, u64::from(place), RelocationKind::PC32, cell, 0);
            }
        }
        exceptions.cells = known;
        (personality, graph.add_symbol(Symbol::local(block, 0)))
    });
    let mut table = graph.take_spare();
    table.reserve(96);
    let places = write_frame(&mut table, frame, tables.is_some());
    let section = graph.add_section(".eh_frame", SectionKind::ReadOnly);
    let block = graph.add_block(section, Content::from(table), 8);
    if let (Some(place), Some((cell, _))) = (places.personality, tables) {
        graph.add_edge(block, u64::from(place), RelocationKind::PC32, cell, 0);
    }
    graph.add_edge(block, u64::from(places.code), RelocationKind::PC32, code, 0);
    if let (Some(place), Some((_, area))) = (places.area, tables) {
        graph.add_edge(block, u64::from(place), RelocationKind::PC32, area, 0);
    }
}

/// Where the distances stand in a table.
struct Places {
    personality: Option<u32>,
    code: u32,
    area: Option<u32>,
}

/// Writes one common information entry and one frame description entry.
fn write_frame(out: &mut Vec<u8>, frame: &FrameRows<'_>, has_area: bool) -> Places {
    let mut places = Places { personality: None, code: 0, area: None };
    let start = begin_record(out, 0);
    out.push(1); // version
    out.extend_from_slice(if has_area { b"zPLR\0" } else { b"zR\0" });
    out.push(1); // code alignment factor
    out.push(0x78); // data alignment factor: sleb128 -8
    out.push(RETURN_ADDRESS);
    if has_area {
        out.extend_from_slice(&[7, CELL]);
        places.personality = Some(out.len() as u32);
        out.extend_from_slice(&[0, 0, 0, 0, DISTANCE, DISTANCE]);
    } else {
        out.extend_from_slice(&[1, DISTANCE]);
    }
    out.extend_from_slice(&[0x0c, RSP, 8]); // DW_CFA_def_cfa: RSP + 8
    out.extend_from_slice(&[0x80 | RETURN_ADDRESS, 1]); // DW_CFA_offset: CFA - 8
    end_record(out, start);

    let distance = out.len() as u32 + 4 - start as u32;
    let start = begin_record(out, distance);
    places.code = out.len() as u32;
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&frame.code_bytes.to_le_bytes());
    if has_area {
        out.push(4);
        places.area = Some(out.len() as u32);
        out.extend_from_slice(&[0; 4]);
    } else {
        out.push(0);
    }
    write_rows(out, frame);
    end_record(out, start);
    places
}

fn write_rows(out: &mut Vec<u8>, frame: &FrameRows<'_>) {
    let mut at = 0;
    advance(out, &mut at, frame.pushed);
    out.extend_from_slice(&[0x0e, 16]); // DW_CFA_def_cfa_offset
    out.extend_from_slice(&[0x80 | RBP, 2]); // DW_CFA_offset: CFA - 16
    advance(out, &mut at, frame.framed);
    out.extend_from_slice(&[0x0d, RBP]); // DW_CFA_def_cfa_register
    if !frame.saved.is_empty() {
        advance(out, &mut at, frame.saved_from);
        for (register, displacement) in frame.saved {
            out.push(0x80 | dwarf_register(*register)); // DW_CFA_offset
            uleb128(out, (16 - i64::from(*displacement)) as u64 / 8);
        }
    }
    for (start, end) in frame.epilogues {
        advance(out, &mut at, *start);
        let goes_on = *end < frame.code_bytes;
        if goes_on {
            out.push(0x0a); // DW_CFA_remember_state
        }
        out.extend_from_slice(&[0x0c, RSP, 8]); // DW_CFA_def_cfa
        out.push(0xc0 | RBP); // DW_CFA_restore
        out.extend(frame.saved.iter().map(|(register, _)| 0xc0 | dwarf_register(*register)));
        if goes_on {
            advance(out, &mut at, *end);
            out.push(0x0b); // DW_CFA_restore_state
        }
    }
}

/// `DW_CFA_advance_loc` and its longer forms.
fn advance(out: &mut Vec<u8>, at: &mut u32, to: u32) {
    let delta = to - *at;
    *at = to;
    match delta {
        0 => {}
        1..0x40 => out.push(0x40 | delta as u8),
        0x40..0x100 => out.extend_from_slice(&[0x02, delta as u8]),
        0x100..0x1_0000 => {
            out.push(0x03);
            out.extend_from_slice(&(delta as u16).to_le_bytes());
        }
        _ => {
            out.push(0x04);
            out.extend_from_slice(&delta.to_le_bytes());
        }
    }
}

/// DWARF's number of a general register (psABI figure 3.36).
fn dwarf_register(register: u8) -> u8 {
    const NUMBERS: [u8; 8] = [0, 2, 1, 3, RSP, RBP, 4, 5];
    NUMBERS.get(usize::from(register)).copied().unwrap_or(register)
}

/// Begins a record; the result is its place.
fn begin_record(out: &mut Vec<u8>, id: u32) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_le_bytes());
    start
}

/// Pads a record with `DW_CFA_nop` and writes its length.
fn end_record(out: &mut Vec<u8>, start: usize) {
    out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn uleb128(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes a number takes.
fn uleb128_bytes(value: u64) -> usize {
    value.checked_ilog2().unwrap_or(0) as usize / 7 + 1
}

/// The same in exactly `width` bytes.
fn uleb128_wide(out: &mut Vec<u8>, value: u64, width: usize) {
    for at in 0..width {
        let more = if at + 1 < width { 0x80 } else { 0 };
        out.push((value >> (7 * at)) as u8 & 0x7f | more);
    }
}

fn sleb128(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        let done = value == 0 && byte & 0x40 == 0 || value == -1 && byte & 0x40 != 0;
        out.push(if done { byte } else { byte | 0x80 });
        if done {
            return;
        }
    }
}
