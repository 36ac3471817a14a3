//! The table of global symbols: who defines what, in one or two shards by the hash of the name.
//!
//! # Rules
//!
//! A symbol belongs to the first strong definition; a second one is an error. A tentative definition (common) gives
//! way to a strong one and beats a weak one; two of them merge to the greater size and alignment. Of several weak
//! definitions the first one counts. An archive's index only says where a definition could be had: the first archive
//! that has it wins, and only a strong reference fetches it. A tentative definition fetches nothing, as in lld and gold
//! (GNU ld and mold do fetch then). Visibility is the most restrictive that any object states.
//!
//! # Determinism
//!
//! Each shard sees the units in load order, so its state does not depend on the other shard or on timing. Requests for
//! members are put in the order of the references afterwards.

use std::sync::atomic::Ordering;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use kiln_abi::ExecutorAddr;

use crate::archive::IndexEntry;
use crate::graph::{Binding, SymbolKind, Visibility};
use crate::names::spread;
use crate::scope::External;
use crate::unit::{Class, Home, NO_SYMBOL, SymbolView, Unit, UnitId};

/// The bit of a symbol's number that says in which shard it is.
const SHARD_SHIFT: u32 = 31;

/// What a name is bound to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Undefined,
    /// Entry `entry` of the index of archive `input`.
    Lazy {
        input: u32,
        entry: u32,
    },
    /// Symbol `global` of a unit, in one of its sections or absolute.
    Defined {
        unit: UnitId,
        global: u32,
    },
    /// A tentative definition; size and alignment are in the table of commons.
    Common {
        unit: UnitId,
        global: u32,
        common: u32,
    },
    /// Given by `Link::define`.
    Absolute(ExecutorAddr),
    External(External),
    Builtin(Builtin),
    /// Start or end of all sections of one name.
    Bounds {
        set: u32,
        end: bool,
    },
}

/// Symbols that the linker itself provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// `_GLOBAL_OFFSET_TABLE_`
    Got,
    /// `__dso_handle`: identifies this link to `__cxa_atexit`.
    DsoHandle,
    /// `__tls_get_addr`: the runtime's.
    TlsGetAddr,
    /// `_TLS_MODULE_BASE_`: what offsets of local-dynamic variables are counted from, for descriptors.
    TlsBase,
}

/// A tentative definition's storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub(crate) size: u64,
    pub(crate) align: u64,
    /// Offset in the segment of variables; set by the layout.
    pub(crate) offset: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct GlobalSymbol<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) state: State,
    pub(crate) hash: u32,
    pub(crate) visibility: Visibility,
    /// Whether the definition gives way to another one.
    pub(crate) weak: bool,
    /// Whether an object refers to it other than weakly.
    pub(crate) wanted: bool,
    /// Whether an object names it at all.
    pub(crate) mentioned: bool,
    /// Of a definition: a variable that must exist once in the process.
    pub(crate) shared: bool,
    /// Of a definition: its type, section (`NO_SYMBOL` if absolute) and value. Copied from the symbol's record, which
    /// would be another miss of the cache for each later phase.
    pub(crate) kind: SymbolKind,
    pub(crate) section: u32,
    pub(crate) value: u64,
}

/// A reference that asks for an archive's member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pull {
    pub(crate) unit: UnitId,
    pub(crate) global: u32,
    pub(crate) symbol: u32,
}

/// Two strong definitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clash {
    pub(crate) unit: UnitId,
    pub(crate) global: u32,
    pub(crate) symbol: u32,
}

/// An entry of an archive's index.
#[derive(Clone, Copy)]
struct LazyEntry<'a> {
    name: &'a [u8],
    hash: u32,
    input: u32,
    entry: u32,
}

#[derive(Default)]
pub(crate) struct Shard<'a> {
    number: u32,
    table: HashTable<u32>,
    pub(crate) symbols: Vec<GlobalSymbol<'a>>,
    pub(crate) commons: Vec<Common>,
    /// What archives could define: by name, the first entry.
    lazy: HashTable<LazyEntry<'a>>,
    groups: HashTable<u32>,
    group_names: Vec<(&'a [u8], u32)>,
}

impl<'a> Shard<'a> {
    fn find_or_insert(&mut self, name: &'a [u8], hash: u32) -> u32 {
        let symbols = &mut self.symbols;
        let entry = self.table.entry(
            spread(hash),
            |i| {
                let s = &symbols[*i as usize];
                s.hash == hash && s.name == name
            },
            |i| spread(symbols[*i as usize].hash),
        );
        match entry {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let index = symbols.len() as u32;
                entry.insert(index);
                let lazy = match self.lazy.is_empty() {
                    true => None,
                    false => self.lazy.find(spread(hash), |e| e.hash == hash && e.name == name),
                };
                let state = lazy.map_or(State::Undefined, |e| State::Lazy { input: e.input, entry: e.entry });
                symbols.push(GlobalSymbol {
                    name,
                    state,
                    hash,
                    visibility: Visibility::Default,
                    weak: false,
                    wanted: false,
                    mentioned: false,
                    shared: false,
                    kind: SymbolKind::Untyped,
                    section: NO_SYMBOL,
                    value: 0,
                });
                index
            }
        }
    }

    fn find(&self, name: &[u8], hash: u32) -> Option<u32> {
        let same = |i: &u32| {
            let s = &self.symbols[*i as usize];
            s.hash == hash && s.name == name
        };
        self.table.find(spread(hash), same).copied()
    }

    fn reserve(&mut self, names: usize) {
        self.symbols.reserve(names);
        let symbols = &self.symbols;
        self.table.reserve(names, |i| spread(symbols[*i as usize].hash));
    }

    /// Notes what the archive at position `input` could define.
    fn add_index(&mut self, input: u32, entries: &[IndexEntry<'a>], shards: u32) {
        for (i, entry) in entries.iter().enumerate() {
            if shard_of(entry.hash, shards) != self.number {
                continue;
            }
            let vacant = self.lazy.entry(
                spread(entry.hash),
                |other| other.hash == entry.hash && other.name == entry.name,
                |other| spread(other.hash),
            );
            if let Entry::Vacant(vacant) = vacant {
                vacant.insert(LazyEntry { name: entry.name, hash: entry.hash, input, entry: i as u32 });
            }
        }
    }

    /// Claims the groups of `units`; returns (unit, group) of those that an earlier unit provides.
    fn claim_groups(&mut self, units: &[Unit<'a>], first: UnitId, shards: u32) -> Vec<(UnitId, u32)> {
        let mut lost = Vec::new();
        for (unit, id) in units.iter().zip(first..) {
            for (i, group) in unit.groups.iter().enumerate() {
                if shard_of(group.hash, shards) != self.number {
                    continue;
                }
                let names = &mut self.group_names;
                let entry = self.groups.entry(
                    spread(group.hash),
                    |g| names[*g as usize] == (group.signature, group.hash),
                    |g| spread(names[*g as usize].1),
                );
                match entry {
                    Entry::Occupied(_) => lost.push((id, i as u32)),
                    Entry::Vacant(entry) => {
                        entry.insert(names.len() as u32);
                        names.push((group.signature, group.hash));
                    }
                }
            }
        }
        lost
    }

    /// Enters the global symbols of `units`.
    fn add_units(&mut self, units: &[Unit<'a>], first: UnitId, shards: u32) -> (Vec<Pull>, Vec<Clash>) {
        let mut found = (Vec::new(), Vec::new());
        for (unit, id) in units.iter().zip(first..) {
            for (global, name) in (0u32..).zip(&unit.globals) {
                if name.len == NO_SYMBOL || shard_of(name.hash, shards) != self.number {
                    continue;
                }
                let symbol = self.find_or_insert(unit.global_name(global), name.hash);
                let number = symbol | self.number << SHARD_SHIFT;
                // Relaxed: read after this thread is joined.
                unit.bound[global as usize].store(number, Ordering::Relaxed);
                self.enter(symbol, unit, id, global, &mut found);
            }
        }
        found
    }

    fn enter(&mut self, index: u32, unit: &Unit<'a>, id: UnitId, global: u32, found: &mut (Vec<Pull>, Vec<Clash>)) {
        let view = unit.global(global);
        let symbol = &mut self.symbols[index as usize];
        symbol.mentioned = true;
        symbol.visibility = stricter(symbol.visibility, view.visibility);
        let number = index | self.number << SHARD_SHIFT;
        match view.home {
            Home::Undefined => {
                if view.binding != Binding::Weak {
                    symbol.wanted = true;
                    if matches!(symbol.state, State::Lazy { .. }) {
                        found.0.push(Pull { unit: id, global, symbol: number });
                    }
                }
            }
            Home::Section(section) if unit.sections[section as usize].class == Class::Discarded => {}
            Home::Common => self.enter_common(index, &view, id, global),
            Home::Section(_) | Home::Absolute => {
                let weak = view.binding == Binding::Weak;
                let clash = !weak && !symbol.weak;
                match symbol.state {
                    State::Undefined | State::Lazy { .. } | State::External(_) => {}
                    State::Common { .. } if !weak => {}
                    State::Defined { .. } if !weak && symbol.weak => {}
                    State::Defined { .. } | State::Absolute(_) if clash => {
                        found.1.push(Clash { unit: id, global, symbol: number });
                        return;
                    }
                    _ => return,
                }
                symbol.state = State::Defined { unit: id, global };
                symbol.weak = weak;
                symbol.kind = view.kind;
                symbol.value = view.value;
                symbol.section = NO_SYMBOL;
                symbol.shared = false;
                if let Home::Section(section) = view.home {
                    symbol.section = section;
                    symbol.shared = matches!(view.binding, Binding::Weak | Binding::Unique)
                        && matches!(view.kind, SymbolKind::Data | SymbolKind::Tls)
                        && matches!(
                            unit.sections[section as usize].class,
                            Class::ReadWrite | Class::Zero | Class::Tls | Class::TlsZero
                        );
                }
            }
        }
    }

    fn enter_common(&mut self, index: u32, view: &SymbolView, unit: UnitId, global: u32) {
        let symbol = &mut self.symbols[index as usize];
        let (size, align) = (view.size, view.value.max(1));
        match symbol.state {
            State::Common { common, .. } => {
                let common = &mut self.commons[common as usize];
                common.size = common.size.max(size);
                common.align = common.align.max(align);
            }
            State::Defined { .. } if !symbol.weak => {}
            State::Absolute(_) => {}
            _ => {
                symbol.state = State::Common { unit, global, common: self.commons.len() as u32 };
                symbol.weak = false;
                self.commons.push(Common { size, align, offset: 0 });
            }
        }
    }
}

fn shard_of(hash: u32, shards: u32) -> u32 {
    if shards == 1 { 0 } else { hash >> 31 }
}

fn stricter(a: Visibility, b: Visibility) -> Visibility {
    match (a, b) {
        (Visibility::Hidden, _) | (_, Visibility::Hidden) => Visibility::Hidden,
        (Visibility::Protected, _) | (_, Visibility::Protected) => Visibility::Protected,
        _ => Visibility::Default,
    }
}

/// Runs both, on two threads if there is a second one to use.
pub(crate) fn join<A: Send, B: Send>(
    threads: bool,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if !threads {
        return (a(), b());
    }
    std::thread::scope(|scope| {
        let b = scope.spawn(b);
        let a = a();
        (a, b.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// All shards.
pub(crate) struct Symbols<'a> {
    shards: Vec<Shard<'a>>,
}

impl<'a> Symbols<'a> {
    /// A table of one shard, or of two to be filled by two threads.
    pub(crate) fn new(sharded: bool) -> Self {
        let mut shards = vec![Shard::default()];
        if sharded {
            shards.push(Shard { number: 1, ..Shard::default() });
        }
        Symbols { shards }
    }

    fn on_shards<R: Send>(&mut self, threads: bool, f: impl Fn(&mut Shard<'a>, u32) -> R + Sync) -> Vec<R> {
        match self.shards.as_mut_slice() {
            [one] => vec![f(one, 1)],
            [one, two] => {
                let (a, b) = join(threads, || f(one, 2), || f(two, 2));
                vec![a, b]
            }
            _ => unreachable!("one shard or two"),
        }
    }

    pub(crate) fn add_indices(&mut self, indices: &[(u32, &[IndexEntry<'a>])]) {
        let names: usize = indices.iter().map(|(_, entries)| entries.len()).sum();
        self.on_shards(names > 5000, |shard, shards| {
            shard.lazy.reserve(names / shards as usize + names / 16, |entry| spread(entry.hash));
            shard.reserve(names / 2 / shards as usize);
            for (input, entries) in indices {
                shard.add_index(*input, entries, shards);
            }
        });
    }

    /// Decides which groups of `units` (numbered from `first`) are lost to earlier ones.
    pub(crate) fn claim_groups(&mut self, units: &[Unit<'a>], first: UnitId) -> Vec<(UnitId, u32)> {
        let groups: usize = units.iter().map(|u| u.groups.len()).sum();
        if groups == 0 {
            return Vec::new();
        }
        self.on_shards(groups > 4000, |shard, shards| shard.claim_groups(units, first, shards)).concat()
    }

    /// Enters the global symbols of `units` (numbered from `first`).
    pub(crate) fn add_units(&mut self, units: &[Unit<'a>], first: UnitId) -> (Vec<Pull>, Vec<Clash>) {
        let globals: usize = units.iter().map(|u| u.globals.len()).sum();
        if let [shard] = &mut self.shards[..] {
            shard.reserve(if globals < 64 { globals } else { 0 });
            return shard.add_units(units, first, 1);
        }
        let results = self.on_shards(globals > 4000, |shard, shards| shard.add_units(units, first, shards));
        let (mut pulls, mut clashes) = (Vec::new(), Vec::new());
        for (mut p, mut c) in results {
            pulls.append(&mut p);
            clashes.append(&mut c);
        }
        pulls.sort_unstable_by_key(|p: &Pull| (p.unit, p.global));
        clashes.sort_unstable_by_key(|c: &Clash| (c.unit, c.global));
        (pulls, clashes)
    }

    /// Finds or makes the symbol `name`, which no unit need mention.
    pub(crate) fn intern(&mut self, name: &'a [u8], hash: u32) -> u32 {
        let shard = shard_of(hash, self.shards.len() as u32);
        self.shards[shard as usize].find_or_insert(name, hash) | shard << SHARD_SHIFT
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        let hash = crate::names::hash(name);
        let shard = shard_of(hash, self.shards.len() as u32);
        Some(self.shards[shard as usize].find(name, hash)? | shard << SHARD_SHIFT)
    }

    pub(crate) fn get(&self, symbol: u32) -> &GlobalSymbol<'a> {
        &self.shards[(symbol >> SHARD_SHIFT) as usize].symbols[(symbol & !(1 << SHARD_SHIFT)) as usize]
    }

    pub(crate) fn get_mut(&mut self, symbol: u32) -> &mut GlobalSymbol<'a> {
        &mut self.shards[(symbol >> SHARD_SHIFT) as usize].symbols[(symbol & !(1 << SHARD_SHIFT)) as usize]
    }

    pub(crate) fn common(&self, symbol: u32, common: u32) -> &Common {
        &self.shards[(symbol >> SHARD_SHIFT) as usize].commons[common as usize]
    }

    pub(crate) fn common_mut(&mut self, symbol: u32, common: u32) -> &mut Common {
        &mut self.shards[(symbol >> SHARD_SHIFT) as usize].commons[common as usize]
    }

    /// The numbers of all symbols.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + use<> {
        let count = |shard: usize| self.shards.get(shard).map_or(0, |s| s.symbols.len() as u32);
        (0..count(0)).chain((0..count(1)).map(|i| i | 1 << SHARD_SHIFT))
    }

    /// The position of a symbol in a flat list of all, the shards one after the other.
    #[inline]
    pub(crate) fn flat(&self, symbol: u32) -> usize {
        let index = (symbol & !(1 << SHARD_SHIFT)) as usize;
        if symbol >> SHARD_SHIFT == 0 { index } else { self.shards[0].symbols.len() + index }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.symbols.len()).sum()
    }
}
