//! The global offset table and the stubs of a link, and the direct forms of instructions that load from the table.
//!
//! ```text
//! stub of a far function      ff 25 rel32   jmp *slot(%rip)       slot: its address, read-only
//!                             cc cc         int3; int3
//! stub of an IFUNC            the same; slot: what its resolver returned, writable until the program ends
//! stub of undefined weak      0f 0b         ud2
//! ```
//!
//! Every function of the process gets a stub before anything is placed, since only then it is known who is in reach;
//! whether a site goes through it is decided site by site. Slots of the table are given to the symbols that a
//! relocation wants one for, as the parser has noted them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::graph::SymbolKind;
use crate::resolve::Resolved;
use crate::scope::External;
use crate::symbols::{Builtin, State};
use crate::unit::{Home, NO_SYMBOL, Relocation, Unit};
use crate::x86_64::relocations::{Formula, RelocationKind};

/// Bytes of a stub.
pub(crate) const STUB_BYTES: u32 = 8;
/// Bytes of a slot.
pub(crate) const SLOT_BYTES: u32 = 8;
/// No slot, no stub.
pub(crate) const NONE: u32 = u32::MAX;

/// A map whose order and hashes are the same in every run, and which needs no random numbers from the system.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Whose slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// A global symbol.
    Global(u32),
    /// A local symbol of a unit.
    Local { unit: u32, symbol: u32 },
    /// The link's own thread-local block.
    Module,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SlotKind {
    /// The symbol's address.
    Address,
    /// The variable's offset from the thread pointer.
    TpOffset,
    /// Two words: module, offset.
    Pair,
    /// Four words: resolver, address of the third; module, offset.
    Descriptor,
}

impl SlotKind {
    fn words(self) -> u32 {
        match self {
            SlotKind::Address | SlotKind::TpOffset => 1,
            SlotKind::Pair => 2,
            SlotKind::Descriptor => 4,
        }
    }
}

/// A stub.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stub {
    /// Jumps to what word `slot` of the table holds.
    Far { slot: u32 },
    /// Jumps to what writable word `slot` holds.
    Ifunc { owner: Owner, slot: u32 },
    /// Stops the program.
    Trap,
}

/// All slots and stubs of a link.
#[derive(Default)]
pub(crate) struct Slots {
    /// Words of the table.
    pub(crate) words: u32,
    /// What they hold: (owner, kind, first word).
    pub(crate) entries: Vec<(Owner, SlotKind, u32)>,
    index: Map<(Owner, SlotKind), u32>,
    /// Per symbol (flat): the word with its address.
    pub(crate) got: Vec<u32>,
    /// Per symbol (flat): its stub.
    pub(crate) stub: Vec<u32>,
    pub(crate) stubs: Vec<Stub>,
    local_stubs: Map<(u32, u32), u32>,
    /// The stub of undefined weak functions.
    pub(crate) trap: u32,
    /// Writable words: results of resolvers, then `__dso_handle`.
    pub(crate) writable_words: u32,
    pub(crate) dso_handle: u32,
}

impl Slots {
    /// Gives out all slots and stubs.
    pub(crate) fn assign(resolved: &Resolved<'_>) -> Slots {
        let symbols = resolved.symbols.len();
        let mut slots = Slots {
            got: vec![NONE; symbols],
            stub: vec![NONE; symbols],
            trap: NONE,
            dso_handle: NONE,
            ..Slots::default()
        };
        for id in resolved.symbols.ids() {
            slots.assign_symbol(resolved, id);
        }
        for &unit in &resolved.order {
            for &symbol in &resolved.units[unit as usize].local_ifuncs {
                slots.assign_local_ifunc(resolved, unit, symbol);
            }
        }
        for &unit in &resolved.order {
            for &(section, index) in &resolved.units[unit as usize].slot_uses {
                slots.assign_use(resolved, unit, section, index);
            }
        }
        slots
    }

    fn assign_symbol(&mut self, resolved: &Resolved<'_>, id: u32) {
        let symbol = resolved.symbols.get(id);
        let flat = resolved.symbols.flat(id);
        match symbol.state {
            // An address from `Link::define` may be a function's.
            State::Absolute(_) if !symbol.mentioned => {}
            State::Absolute(_) | State::External(External::Function(_)) | State::Builtin(Builtin::TlsGetAddr) => {
                let slot = self.slot(resolved, Owner::Global(id), SlotKind::Address);
                self.stub[flat] = self.add_stub(Stub::Far { slot });
            }
            State::Builtin(Builtin::DsoHandle) => {
                self.dso_handle = self.writable_words;
                self.writable_words += 1;
            }
            State::Builtin(Builtin::Got) => self.words = self.words.max(1),
            State::Undefined if symbol.mentioned && self.trap == NONE => {
                self.trap = self.add_stub(Stub::Trap);
            }
            State::Defined { .. } if symbol.kind == SymbolKind::Ifunc => {
                self.stub[flat] = self.add_ifunc(Owner::Global(id));
            }
            _ => {}
        }
    }

    fn assign_local_ifunc(&mut self, resolved: &Resolved<'_>, unit: u32, symbol: u32) {
        let view = resolved.units[unit as usize].symbol(symbol);
        if matches!(view.map(|v| v.home), Some(Home::Section(_))) {
            let stub = self.add_ifunc(Owner::Local { unit, symbol });
            self.local_stubs.insert((unit, symbol), stub);
        }
    }

    fn add_stub(&mut self, stub: Stub) -> u32 {
        self.stubs.push(stub);
        self.stubs.len() as u32 - 1
    }

    fn add_ifunc(&mut self, owner: Owner) -> u32 {
        let slot = self.writable_words;
        self.writable_words += 1;
        self.add_stub(Stub::Ifunc { owner, slot })
    }

    /// Gives the symbol of a relocation the slot that it wants.
    fn assign_use(&mut self, resolved: &Resolved<'_>, id: u32, section: u32, index: u32) {
        let unit = &resolved.units[id as usize];
        if !unit.sections[section as usize].class.is_live() {
            return;
        }
        let relocation = unit.relocation(section, index);
        let kind = match relocation.kind.row().map(|row| row.formula) {
            Some(Formula::GotRelaxable) if is_direct(resolved, unit, section, &relocation) => return,
            Some(Formula::GotRelative | Formula::GotRelaxable | Formula::GotOffset) => SlotKind::Address,
            Some(Formula::GotTpOff) => SlotKind::TpOffset,
            Some(Formula::TlsGd) => SlotKind::Pair,
            Some(Formula::TlsDesc) => SlotKind::Descriptor,
            Some(Formula::TlsLd) => {
                self.slot(resolved, Owner::Module, SlotKind::Pair);
                return;
            }
            _ => return,
        };
        self.slot(resolved, owner(unit, id, relocation.symbol), kind);
    }

    fn slot(&mut self, resolved: &Resolved<'_>, owner: Owner, kind: SlotKind) -> u32 {
        let new = self.words;
        let word = match (owner, kind) {
            (Owner::Global(id), SlotKind::Address) => {
                let word = &mut self.got[resolved.symbols.flat(id)];
                if *word == NONE {
                    *word = new;
                }
                *word
            }
            _ => *self.index.entry((owner, kind)).or_insert(new),
        };
        if word == new {
            self.words += kind.words();
            self.entries.push((owner, kind, word));
        }
        word
    }

    /// The first word of a slot, unless it is a global symbol's address.
    pub(crate) fn find(&self, owner: Owner, kind: SlotKind) -> Option<u32> {
        self.index.get(&(owner, kind)).copied()
    }

    pub(crate) fn local_stub(&self, unit: u32, symbol: u32) -> Option<u32> {
        if self.local_stubs.is_empty() { None } else { self.local_stubs.get(&(unit, symbol)).copied() }
    }
}

/// Whose slot a relocation against `symbol` wants.
pub(crate) fn owner(unit: &Unit<'_>, id: u32, symbol: u32) -> Owner {
    match unit.bound(symbol) {
        NO_SYMBOL => Owner::Local { unit: id, symbol },
        global => Owner::Global(global),
    }
}

/// Whether a relaxable relocation will be relaxed wherever the link is placed.
fn is_direct(resolved: &Resolved<'_>, unit: &Unit<'_>, section: u32, relocation: &Relocation) -> bool {
    let form = || form(relocation, unit.section_bytes(section)).is_some();
    let in_section = |unit: &Unit<'_>, symbol: u32| {
        unit.symbol(symbol).is_some_and(|v| v.kind != SymbolKind::Ifunc && matches!(v.home, Home::Section(_)))
    };
    match unit.bound(relocation.symbol) {
        NO_SYMBOL => in_section(unit, relocation.symbol) && form(),
        id => match resolved.symbols.get(id).state {
            State::Defined { unit, global } => {
                let unit = &resolved.units[unit as usize];
                in_section(unit, unit.first_global + global) && form()
            }
            State::Common { .. } | State::External(External::Near(_)) => form(),
            _ => false,
        },
    }
}

/// An instruction that loads an address from the table and has a form that does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `8b /r` mov slot(%rip), %reg → `8d /r` lea symbol(%rip), %reg
    Load,
    /// `ff 15` call *slot(%rip) → `67 e8` addr32 call symbol
    Call,
    /// `ff 25` jmp *slot(%rip) → `e9` jmp symbol; nop: the field moves one byte back
    Jump,
}

/// The form of the instruction around a relaxable relocation (psABI, "Optimize GOTPCRELX Relocations"). Only the usual
/// addend: `cmpq $0, x@GOTPCREL(%rip)` has -5, because an immediate follows its field. The forms of `test` and of binary
/// operations, which need an address of 31 bits, stay with the table.
pub(crate) fn form(relocation: &Relocation, bytes: &[u8]) -> Option<Form> {
    let at = usize::try_from(relocation.offset).ok()?;
    if relocation.addend != -4 || at < 2 || bytes.len() < at.checked_add(4)? {
        return None;
    }
    let rex = relocation.kind == RelocationKind::REX_GOTPCRELX;
    if rex && (at < 3 || bytes[at - 3] & 0xf0 != 0x40) {
        return None;
    }
    match (bytes[at - 2], bytes[at - 1]) {
        (0x8b, modrm) if modrm & 0xc7 == 0x05 => Some(Form::Load),
        (0xff, 0x15) if !rex => Some(Form::Call),
        (0xff, 0x25) if !rex => Some(Form::Jump),
        _ => None,
    }
}

/// Writes a stub that jumps through the word at `slot`; `None` where it does not reach.
pub(crate) fn write_stub(bytes: &mut [u8], place: u64, slot: u64) -> Option<()> {
    let displacement = i32::try_from(slot.wrapping_sub(place + 6) as i64).ok()?;
    bytes[..2].copy_from_slice(&[0xff, 0x25]); // jmp *slot(%rip)
    bytes[2..6].copy_from_slice(&displacement.to_le_bytes());
    bytes[6..8].copy_from_slice(&[0xcc, 0xcc]); // int3; int3
    Some(())
}

/// Writes the stub of undefined weak functions.
pub(crate) fn write_trap(bytes: &mut [u8]) {
    bytes.copy_from_slice(&[0x0f, 0x0b, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc]); // ud2; int3 …
}
