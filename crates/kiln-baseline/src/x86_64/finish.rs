//! The function's ends: prologue, epilogue, tables, and the graph.

use kiln_abi::symbol::Id;
use kiln_bitcode::{
    Attribute, AttributeKind, AttributeList, AttributePlace, Constant, FunctionId, GlobalId, Module, ThreadLocal,
};
use kiln_link::{Binding, Content, Graph, RelocationKind, SectionKind, Symbol};

use super::eh::{self, FrameRows};
use super::encoder::{Alu, Cond, Gpr, Mem, RBP, RSP, Reference, Target};
use super::frame::{saved, saved_at};
use super::generator::{Generator, Result, label_at};
use super::memory::PROBE_BYTES;
use super::registers::{CALLEE_SAVED, SCRATCH};
use super::symbols::Name;
use crate::analysis::NONE;
use crate::compiler::Unsupported;
use crate::data;
use crate::evaluate::Value;

/// Room before the body for the longest prologue.
pub(crate) const PROLOGUE_MAX: usize = 128;

/// Attributes that ask for what this compiler does not do.
fn refused_kind(kind: AttributeKind) -> Option<&'static str> {
    const REFUSED: &[AttributeKind] = &[
        AttributeKind::NAKED,
        AttributeKind::SAFE_STACK,
        AttributeKind::SHADOW_CALL_STACK,
        AttributeKind::ALIGN_STACK,
        AttributeKind::PRESPLIT_COROUTINE,
        AttributeKind::SPECULATIVE_LOAD_HARDENING,
        AttributeKind::FN_RET_THUNK_EXTERN,
    ];
    REFUSED.contains(&kind).then(|| kind.name())
}

/// The same for those that are text.
fn refused_key(key: &[u8], value: &[u8]) -> Option<&'static str> {
    Some(match key {
        b"split-stack" => "split-stack",
        b"patchable-function" => "patchable-function",
        b"patchable-function-entry" => "patchable-function-entry",
        b"patchable-function-prefix" => "patchable-function-prefix",
        b"stackrealign" => "stackrealign",
        b"kcfi-target" => "kcfi-target",
        b"fentry-call" => "fentry-call",
        b"instrument-function-entry-inlined" => "instrument-function-entry-inlined",
        b"instrument-function-exit-inlined" => "instrument-function-exit-inlined",
        b"indirect-tls-seg-refs" => "indirect-tls-seg-refs",
        b"probe-stack" if value != b"inline-asm" => "a stack probe of its own",
        _ => return None,
    })
}

/// Refuses functions with attributes that this compiler does not heed.
pub(crate) fn check_attributes(attributes: AttributeList<'_>) -> Result<()> {
    for attribute in attributes.at(AttributePlace::Function) {
        let what = match attribute {
            Attribute::Enum(kind) | Attribute::Int(kind, _) => refused_kind(*kind),
            Attribute::String { key, value } => refused_key(key, value),
            _ => None,
        };
        if let Some(what) = what {
            return Err(Box::new(Unsupported::Attribute(what)));
        }
    }
    Ok(())
}

/// Refuses functions with properties that this compiler does not give them.
pub(crate) fn check_function(module: &Module, function: FunctionId) -> Result<()> {
    let function = module.function(function);
    let refuse = |what| Err(Box::new(Unsupported::Attribute(what)));
    if function.gc.is_some() {
        return refuse("garbage collection");
    }
    if function.prefix.is_some() || function.prologue.is_some() {
        return refuse("data before the code");
    }
    Ok(())
}

/// A global that holds addresses of the function's blocks.
struct Owned {
    global: GlobalId,
    align: u64,
    is_constant: bool,
    bytes: Vec<u8>,
    leaves: Vec<OwnedLeaf>,
}

/// An address in it.
enum OwnedLeaf {
    /// Of a place of the encoder.
    Label {
        offset: u64,
        to: u32,
    },
    Symbol {
        offset: u64,
        symbol: u32,
        addend: i64,
    },
}

impl Generator<'_> {
    /// Emits what comes behind the body and before it, and makes the graph, in the memory of `spare`.
    pub(crate) fn finish(&mut self, spare: &mut Graph<'static>) -> Result<Graph<'static>> {
        let used = self.registers.used;
        self.ends.clear();
        let epilogue = self.epilogue;
        self.asm.bind(epilogue);
        let fail = self.asm.label();
        self.check_guard(fail, true)?;
        self.restore(used);
        // leave, ret
        self.asm.raw(&[0xc9, 0xc3]);
        let end = self.asm.position();
        self.ends.push((end - 1, end));
        for at in 0..self.tails.len() {
            let tail = self.tails[at];
            self.asm.bind(tail.label);
            self.check_guard(fail, tail.target.is_some())?;
            self.restore(used);
            self.asm.raw(&[0xc9]);
            let from = self.asm.position();
            match tail.target {
                Some(target) => self.asm.branch(0xe9, target, RelocationKind::PLT32),
                None => self.jump_register(SCRATCH),
            }
            self.ends.push((from, self.asm.position()));
        }
        self.fail_guard(fail);
        let code_end = self.asm.position();
        self.emit_tables();
        self.asm.resolve_jumps();

        let (pushed, framed, saved_from) = self.prologue(used);
        let start = PROLOGUE_MAX - self.prologue.code.len();
        self.asm.code[start..PROLOGUE_MAX].copy_from_slice(&self.prologue.code);
        let start = start as u32;
        *self.start = start;
        self.fill_sites(start)?;

        let mut kept = [(0, 0); CALLEE_SAVED.count_ones() as usize];
        let mut count = 0;
        for reg in saved(used) {
            kept[count] = (reg.0, saved_at(reg.0));
            count += 1;
        }
        let mut ends = std::mem::take(self.ends);
        for (from, to) in &mut ends {
            *from -= start;
            *to -= start;
        }
        let code_bytes = code_end - start;
        let rows = FrameRows { code_bytes, pushed, framed, saved_from, saved: &kept[..count], epilogues: &ends };
        let graph = self.graph(start, &rows, spare);
        *self.ends = ends;
        graph
    }

    fn restore(&mut self, used: u32) {
        for reg in saved(used) {
            self.asm.load_at(reg, RBP, saved_at(reg.0), 8);
        }
    }

    /// Jump tables, then constants.
    fn emit_tables(&mut self) {
        let tables = std::mem::take(self.tables);
        for (label, entries) in &tables {
            self.asm.code.fill_to(self.asm.code.len().next_multiple_of(4), 0xcc);
            self.asm.bind(*label);
            let table = self.asm.position();
            for entry in entries {
                let distance = self.asm.offset_of(*entry).wrapping_sub(table);
                self.asm.code.extend_from_slice(&distance.to_le_bytes());
            }
        }
        *self.tables = tables;
    }

    /// Makes the prologue, and says where its steps end.
    fn prologue(&mut self, used: u32) -> (u32, u32, u32) {
        let mut asm = std::mem::take(self.prologue);
        asm.clear();
        // push rbp; mov rbp, rsp
        asm.raw(&[0x55, 0x48, 0x8b, 0xec]);
        let (pushed, framed) = (1, 4);
        let bytes = self.frame.bytes();
        if bytes >= PROBE_BYTES {
            // Every page is touched in order, or a guard page could be jumped over.
            asm.lea(SCRATCH, &Mem::reg(RSP, -(bytes as i32 & !(PROBE_BYTES as i32 - 1))));
            let again = asm.label();
            asm.bind(again);
            asm.alu_ri(Alu::Sub, RSP, PROBE_BYTES as i32, 8);
            asm.alu_mi(Alu::Or, &Mem::reg(RSP, 0), 0, 8);
            asm.alu_rr(Alu::Cmp, RSP, SCRATCH, 8);
            asm.jcc(Cond::NE, again);
            let rest = bytes & (PROBE_BYTES - 1);
            if rest > 0 {
                asm.alu_ri(Alu::Sub, RSP, rest as i32, 8);
            }
        } else {
            asm.alu_ri(Alu::Sub, RSP, bytes as i32, 8);
        }
        for reg in saved(used) {
            let reg: Gpr = reg;
            asm.store_at(RBP, saved_at(reg.0), reg, 8);
        }
        let saved_from = asm.position();
        self.guard.store(&mut asm);
        let pad = asm.code.len().next_multiple_of(16) - asm.code.len();
        asm.nops(pad);
        *self.prologue = asm;
        (pushed, framed, saved_from)
    }

    /// The globals that hold addresses of this function's blocks.
    fn owned_globals(&mut self) -> Result<Vec<Owned>> {
        let refuse = || Box::new(Unsupported::Constant("a table of labels of an unusual form"));
        let module = self.module;
        let mut owned = Vec::new();
        for (global, owner) in module.block_address_globals() {
            if owner != self.function {
                continue;
            }
            let record = module.global(global);
            let initializer = record.initializer.ok_or_else(refuse)?;
            let ty = record.symbol.value_type;
            let size = module.layout_of(ty).ok_or_else(refuse)?.size;
            if module.has_several_block_address_owners(global) || record.thread_local != ThreadLocal::None {
                return Err(refuse());
            }
            let mut image = data::Image { bytes: vec![0; size as usize], leaves: Vec::new() };
            data::write(module, initializer, ty, 0, &mut image).map_err(|_| refuse())?;
            let mut leaves = Vec::new();
            for leaf in &image.leaves {
                let offset = leaf.offset;
                let at = |block: u32| match self.flow.position.get(block as usize) {
                    Some(&NONE) | None => None,
                    Some(position) => Some(self.asm.offset_of(label_at(*position))),
                };
                match leaf.value {
                    Value::Label { function, block } if function == self.function && leaf.bytes == 8 => {
                        match at(block) {
                            Some(to) => leaves.push(OwnedLeaf::Label { offset, to }),
                            None => image.bytes[offset as usize] = 1,
                        }
                    }
                    Value::LabelDifference { function, plus, minus }
                        if function == self.function && matches!(leaf.bytes, 4 | 8) =>
                    {
                        let distance = match (at(plus), at(minus)) {
                            (Some(plus), Some(minus)) => i64::from(plus) - i64::from(minus),
                            // Nobody jumps there.
                            _ => 0,
                        };
                        image.bytes[offset as usize..][..leaf.bytes as usize]
                            .copy_from_slice(&distance.to_le_bytes()[..leaf.bytes as usize]);
                    }
                    Value::Address { base, offset: addend } if leaf.bytes == 8 => {
                        let Target::Symbol(symbol) = self.symbol(base) else { return Err(refuse()) };
                        leaves.push(OwnedLeaf::Symbol { offset, symbol, addend });
                    }
                    _ => return Err(refuse()),
                }
            }
            let align = data::alignment(module, record);
            owned.push(Owned { global, align, is_constant: record.is_constant, bytes: image.bytes, leaves });
        }
        Ok(owned)
    }

    /// The symbol of the personality function, where it is asked for.
    fn personality(&mut self) -> Result<Option<u32>> {
        if self.exceptions.is_empty() {
            return Ok(None);
        }
        let Some(personality) = self.module.function(self.function).personality else {
            return Err(Box::new(Unsupported::Attribute("landing pads without personality")));
        };
        match self.module.constant(personality) {
            Constant::Global(base) => match self.symbol(base) {
                Target::Symbol(index) => Ok(Some(index)),
                _ => Ok(None),
            },
            _ => Err(Box::new(Unsupported::Attribute("an unusual personality"))),
        }
    }

    fn graph(&mut self, start: u32, rows: &FrameRows<'_>, spare: &mut Graph<'static>) -> Result<Graph<'static>> {
        let pool = self.asm.code.len().next_multiple_of(16);
        if !self.pool.bytes.is_empty() {
            self.asm.code.fill_to(pool, 0xcc);
            self.asm.code.extend_from_slice(&self.pool.bytes);
        }
        let owned = self.owned_globals()?;
        let personality = self.personality()?;
        let references = std::mem::take(&mut self.asm.references);
        let mut outside = 0;
        for Reference { offset, target, addend, .. } in &references {
            let place = match target {
                Target::Pool(at) => pool as u32 + at,
                Target::Label(label) => self.asm.offset_of(*label),
                Target::Symbol(_) => {
                    outside += 1;
                    continue;
                }
            };
            let distance = (i64::from(place) - i64::from(*offset) + i64::from(*addend)) as i32;
            self.asm.code[*offset as usize..*offset as usize + 4].copy_from_slice(&distance.to_le_bytes());
        }
        let mut graph = std::mem::take(spare);
        // The function, a local name of it, and what it refers to, which may be itself; one edge is the unwind table's. With
        // landing pads two more blocks, a symbol for one of them and each cell, and edges from and to cells.
        let (blocks, more, edges) = match personality {
            Some(_) => (4, 2 + self.exceptions.type_count(), 3 + 2 * self.exceptions.type_count()),
            None => (2, 0, 0),
        };
        graph.reserve(blocks, blocks, self.symbols.names.len() + 2 + more, outside + 1 + edges);
        let text = graph.add_section(".text", SectionKind::Code);
        let mut bytes = graph.take_spare();
        bytes.extend_from_slice(&self.asm.code[start as usize..]);
        let block = graph.add_block(text, Content::from(bytes), 16);
        let mut own = Symbol::function(Id::Function(self.function), block, 0);
        own.size = u64::from(rows.code_bytes);
        let own = graph.add_symbol(own);
        let mut ids = std::mem::take(self.ids);
        ids.clear();
        ids.extend(self.symbols.names.iter().map(|name| match name {
            Name::Module(Id::Function(function)) if *function == self.function => own,
            Name::Module(id) => graph.add_symbol(Symbol::undefined(*id)),
            Name::Weak(id) => graph.add_symbol(Symbol::undefined(*id).with_binding(Binding::Weak)),
            Name::Library(name) => graph.add_symbol(Symbol::undefined(*name)),
        }));
        for Reference { offset, target, kind, addend } in &references {
            if let Target::Symbol(index) = target {
                graph.add_edge(block, u64::from(offset - start), *kind, ids[*index as usize], i64::from(*addend));
            }
        }
        self.asm.references = references;
        let code = graph.add_symbol(Symbol::local(block, 0));
        for Owned { global, align, is_constant, bytes, leaves } in owned {
            let (name, kind) =
                if is_constant { (".rodata", SectionKind::ReadOnly) } else { (".data", SectionKind::ReadWrite) };
            let section = graph.add_section(name, kind);
            let size = bytes.len() as u64;
            let data = graph.add_block(section, Content::from(bytes), align);
            let known = self.symbols.names.iter().position(|name| *name == Name::Module(Id::Global(global)));
            let own = known.map(|at| ids[at]);
            let mut made = Symbol::data(Id::Global(global), data, 0, size);
            made.binding = Binding::Global;
            match own {
                // The function refers to it.
                Some(known) => graph.define_symbol(known, made),
                None => _ = graph.add_symbol(made),
            }
            for leaf in leaves {
                match leaf {
                    OwnedLeaf::Label { offset, to } => {
                        graph.add_edge(data, offset, RelocationKind::ABS64, code, i64::from(to - start));
                    }
                    OwnedLeaf::Symbol { offset, symbol, addend } => {
                        graph.add_edge(data, offset, RelocationKind::ABS64, ids[symbol as usize], addend);
                    }
                }
            }
        }
        let exceptions = personality.map(|index| (&mut *self.exceptions, ids[index as usize]));
        eh::attach(&mut graph, code, rows, exceptions, &|ty| ids[ty as usize]);
        *self.ids = ids;
        Ok(graph)
    }
}
