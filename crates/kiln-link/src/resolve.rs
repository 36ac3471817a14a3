//! Binds every symbol: to a unit of the link, a shared library, the process, or the linker itself.

use crate::eh_frame;
use crate::error::{ErrorKind, Errors, Site, text};
use crate::graph::{SymbolKind, Visibility};
use crate::layout::Layout;
use crate::link::{Input, Link, Options};
use crate::load::{Loaded, load};
use crate::prune;
use crate::scope::{External, Scope};
use crate::symbols::{Builtin, GlobalSymbol, State, Symbols};
use crate::unit::{NO_SYMBOL, Role, Unit};

/// The sections of one name, and whether `__start_` and `__stop_` symbols ask for them.
#[derive(Debug)]
pub(crate) struct NamedSet<'a> {
    pub(crate) name: &'a [u8],
    /// Address range; set by the layout, relative to the segment until then.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Segment of the sections, as an index of `Permission::ALL`.
    pub(crate) segment: usize,
}

/// A link whose symbols are bound.
pub struct Resolved<'a> {
    pub(crate) options: Options,
    pub(crate) units: Vec<Unit<'a>>,
    /// Units in the order of the inputs, members in the order in which they were pulled.
    pub(crate) order: Vec<u32>,
    pub(crate) symbols: Symbols<'a>,
    pub(crate) named: Vec<NamedSet<'a>>,
    /// Stubs of functions that the link defines: (symbol, stub).
    pub(crate) stubs: Vec<(u32, u64)>,
    pub(crate) parallel: bool,
}

/// 1. Load all units; from here on none is added.
/// 2. Bind what they leave undefined; from here on no symbol is added or bound anew.
/// 3. Prune.
/// 4. Report what is still undefined and referred to.
pub(crate) fn resolve<'a>(link: Link<'a>, scope: &mut dyn Scope) -> Result<Resolved<'a>, Errors> {
    let Loaded { link, units, symbols, parallel, duplicates: mut errors } = load(link)?;
    let Link { options, mut inputs, .. } = link;
    let mut order: Vec<u32> = (0..units.len() as u32).collect();
    order.sort_by_key(|unit| units[*unit as usize].input);
    let mut resolved = Resolved { options, units, order, symbols, named: Vec::new(), stubs: Vec::new(), parallel };
    let mut outside = Outside { inputs: &mut inputs, scope };
    resolved.bind_outside(&mut outside);
    resolved.bind_to_process(&mut outside);
    if resolved.options.stubs {
        resolved.find_stubs(scope);
    }
    if resolved.options.prune {
        prune::prune(&mut resolved)?;
    }
    errors.append(resolved.check_undefined());
    errors.or(resolved)
}

impl<'a> Resolved<'a> {
    /// Gives every section its place.
    ///
    /// # Errors
    ///
    /// If the output is too large for 32-bit displacements.
    pub fn layout(self) -> Result<Layout<'a>, Errors> {
        crate::layout::layout(self)
    }

    /// Binds undefined symbols to builtins, sets of sections, libraries and the process, in this order.
    fn bind_outside(&mut self, outside: &mut Outside<'_, '_>) {
        for id in self.symbols.ids() {
            let symbol = *self.symbols.get(id);
            if !matches!(symbol.state, State::Undefined | State::Lazy { .. }) {
                continue;
            }
            if let Some(definition) = self.default_version(symbol.name) {
                let definition = *self.symbols.get(definition);
                // The same definition by another name.
                let GlobalSymbol { state, weak, shared, kind, section, value, .. } = definition;
                let versioned = self.symbols.get_mut(id);
                *versioned = GlobalSymbol { state, weak, shared, kind, section, value, ..*versioned };
                continue;
            }
            let state = match self.builtin(&symbol) {
                Some(state) => Some(state),
                None if symbol.visibility == Visibility::Default => outside.lookup(symbol.name).map(State::External),
                None => None,
            };
            self.symbols.get_mut(id).state = state.unwrap_or(State::Undefined);
        }
    }

    /// What `name`, which is `base@VERSION`, asks for if an object defines `base@@VERSION`.
    pub(crate) fn default_version(&self, name: &[u8]) -> Option<u32> {
        let at = memchr::memchr(b'@', name)?;
        let id = self.symbols.find(&name[..at])?;
        let State::Defined { unit, global } = self.symbols.get(id).state else { return None };
        let unit = &self.units[unit as usize];
        let full = unit.symbol_name(unit.first_global + global);
        let version = full.strip_prefix(&name[..at])?.strip_prefix(b"@@")?;
        (version == &name[at + 1..]).then_some(id)
    }

    fn builtin(&mut self, symbol: &GlobalSymbol<'a>) -> Option<State> {
        match symbol.name {
            b"_GLOBAL_OFFSET_TABLE_" => Some(State::Builtin(Builtin::Got)),
            b"__dso_handle" => Some(State::Builtin(Builtin::DsoHandle)),
            b"__tls_get_addr" => Some(State::Builtin(Builtin::TlsGetAddr)),
            b"_TLS_MODULE_BASE_" => Some(State::Builtin(Builtin::TlsBase)),
            [b'_', b'_', b's', b't', ..] => {
                let (name, end) = match symbol.name.strip_prefix(b"__start_") {
                    Some(name) => (name, false),
                    None => (symbol.name.strip_prefix(b"__stop_")?, true),
                };
                let set = self.named_set(name)?;
                Some(State::Bounds { set, end })
            }
            _ => None,
        }
    }

    /// The set of sections called `name`; `None` if there are none.
    fn named_set(&mut self, name: &'a [u8]) -> Option<u32> {
        if let Some(set) = self.named.iter().position(|set| set.name == name) {
            return Some(set as u32);
        }
        let mut found = false;
        for unit in &mut self.units {
            for section in 0..unit.sections.len() as u32 {
                let s = unit.sections[section as usize];
                if s.role == Role::Named && s.class.permission().is_some() && unit.section_name(section) == name {
                    unit.sections[section as usize].retained = true;
                    found = true;
                }
            }
        }
        found.then(|| {
            self.named.push(NamedSet { name, start: 0, end: 0, segment: 0 });
            self.named.len() as u32 - 1
        })
    }

    /// Binds weak variables that the process has too to the process's: a C++ inline variable or a function's static
    /// must exist once. A guard variable goes with the variable it guards.
    fn bind_to_process(&mut self, outside: &mut Outside<'_, '_>) {
        let mut guards = Vec::new();
        for id in self.symbols.ids() {
            let symbol = *self.symbols.get(id);
            if !symbol.shared || symbol.visibility != Visibility::Default {
                continue;
            }
            if !matches!(symbol.state, State::Defined { .. }) {
                continue;
            }
            if symbol.name.starts_with(b"_ZGV") {
                guards.push(id);
            } else if let Some(external) = outside.lookup(symbol.name) {
                self.symbols.get_mut(id).state = State::External(external);
            }
        }
        for id in guards {
            let name = self.symbols.get(id).name;
            let variable = [b"_Z", &name[4..]].concat();
            let bound = self.symbols.find(&variable).map(|v| self.symbols.get(v).state);
            if matches!(bound, Some(State::External(_)))
                && let Some(external) = outside.lookup(name)
            {
                self.symbols.get_mut(id).state = State::External(external);
            }
        }
    }

    fn find_stubs(&mut self, scope: &mut dyn Scope) {
        for id in self.symbols.ids() {
            let symbol = self.symbols.get(id);
            // A function of a bitcode module is absolute here: its address is a stub's.
            let defined = matches!(symbol.state, State::Defined { .. }) && symbol.section != NO_SYMBOL;
            if defined
                && symbol.kind == SymbolKind::Function
                && let Some(stub) = scope.stub(symbol.name)
            {
                self.stubs.push((id, stub.get()));
            }
        }
    }

    /// Undefined symbols that a live section refers to. A symbol table may list names that nothing uses.
    fn check_undefined(&self) -> Errors {
        let mut errors = Errors::new();
        let missing = |id: u32| {
            let symbol = self.symbols.get(id);
            symbol.wanted && symbol.state == State::Undefined
        };
        let mut first: Vec<Option<(Site, usize)>> = Vec::new();
        if !self.symbols.ids().any(missing) {
            return errors;
        }
        first.resize_with(self.symbols.len(), || None);
        for &unit in &self.order {
            let unit = &self.units[unit as usize];
            for section in (0..unit.sections.len() as u32).filter(|s| unit.sections[*s as usize].class.is_live()) {
                let dead = eh_frame::dead_ranges(unit, section);
                for relocation in unit.relocations(section) {
                    let id = unit.bound(relocation.symbol);
                    if id == NO_SYMBOL || !missing(id) || dead.contains(relocation.offset) {
                        continue;
                    }
                    let found =
                        first[self.symbols.flat(id)].get_or_insert_with(|| (site(unit, section, relocation.offset), 0));
                    found.1 += 1;
                }
            }
        }
        for id in self.symbols.ids() {
            let Some((first, references)) = first[self.symbols.flat(id)].take() else { continue };
            let symbol = self.symbols.get(id);
            let name = text(symbol.name);
            errors.push(match symbol.visibility {
                Visibility::Default => ErrorKind::Undefined { symbol: name, first, references },
                v => ErrorKind::UndefinedHidden { symbol: name, protected: v == Visibility::Protected, first },
            });
        }
        errors
    }
}

/// The place of a relocation, for a message.
pub(crate) fn site(unit: &Unit<'_>, section: u32, offset: u64) -> Site {
    Site { object: unit.to_string(), section: text(unit.section_name(section)), offset }
}

/// What lies outside the link: the libraries among the inputs, in their order, then the process.
struct Outside<'o, 'a> {
    inputs: &'o mut [Input<'a>],
    scope: &'o mut dyn Scope,
}

impl Outside<'_, '_> {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        for input in &mut *self.inputs {
            if let Input::Dynamic(library) = input
                && let Some(external) = library.lookup(name)
            {
                return Some(external);
            }
        }
        self.scope.lookup(name)
    }
}
