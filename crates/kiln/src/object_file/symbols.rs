//! Symbols of an object: one for each name, with the module's word on binding and visibility.

use std::collections::HashMap;

use kiln_abi::symbol::{self, Id};
use kiln_bitcode::{AliasId, AliasKind, GlobalRef, Linkage, Module, ThreadLocal, Visibility};
use object::elf;
use object::write::{Object, Symbol, SymbolId, SymbolSection};
use object::{SymbolFlags, SymbolKind, SymbolScope};

/// The linker's name of something in the module; things without name keep that of their number.
pub(super) fn name_of(module: &Module, id: Id) -> Vec<u8> {
    let name = module.symbol_name(global(id));
    // "Not to be decorated", which ELF does to no name.
    let name = name.strip_prefix(b"\x01").unwrap_or(name);
    if name.is_empty() { symbol::name(id).into_bytes() } else { name.to_vec() }
}

fn global(id: Id) -> GlobalRef {
    match id {
        Id::Function(function) => GlobalRef::Function(function),
        Id::Global(global) => GlobalRef::Global(global),
        Id::Alias(alias) => GlobalRef::Alias(AliasId(alias)),
    }
}

/// What an object's symbol stands for.
pub(super) fn id_of(base: GlobalRef) -> Id {
    match base {
        GlobalRef::Function(function) => Id::Function(function),
        GlobalRef::Global(global) => Id::Global(global),
        GlobalRef::Alias(alias) => Id::Alias(alias.0),
    }
}

/// All symbols of an object so far.
pub(super) struct Symbols<'m> {
    module: &'m Module,
    /// Other objects will define functions of this module, so none of its names is kept to itself.
    partial: bool,
    named: HashMap<Vec<u8>, SymbolId>,
    /// Those whose flags the object's writer does not know to make.
    special: Vec<(SymbolId, Special)>,
}

enum Special {
    Protected,
    Ifunc(Visibility),
    Common(Visibility),
}

impl<'m> Symbols<'m> {
    pub(super) fn new(module: &'m Module, partial: bool) -> Self {
        Self { module, partial, named: HashMap::new(), special: Vec::new() }
    }

    /// The symbol that a graph calls `name`; undefined when it is new.
    pub(super) fn named(&mut self, object: &mut Object<'static>, name: &[u8], weak: bool) -> SymbolId {
        match symbol::parse(name) {
            Some(id) => self.of(object, id, weak),
            None => self.make(object, name.to_vec(), weak, SymbolScope::Dynamic).0,
        }
    }

    /// The symbol of something in the module; undefined when it is new.
    pub(super) fn of(&mut self, object: &mut Object<'static>, id: Id, weak: bool) -> SymbolId {
        let record = self.module.symbol(global(id));
        let weak = weak
            || matches!(
                record.linkage,
                Linkage::ExternWeak | Linkage::WeakAny | Linkage::WeakOdr | Linkage::LinkOnceAny | Linkage::LinkOnceOdr
            );
        let mut name = name_of(self.module, id);
        let scope = match (record.linkage, record.visibility) {
            (Linkage::Internal | Linkage::Private, _) if !self.partial => SymbolScope::Compilation,
            (_, Visibility::Hidden) => SymbolScope::Linkage,
            _ => SymbolScope::Dynamic,
        };
        if record.linkage == Linkage::Private && scope == SymbolScope::Compilation {
            // Linkers drop such names from what they make.
            name.splice(..0, *b".L");
        }
        let (made, new) = self.make(object, name, weak, scope);
        if new {
            let ifunc = matches!(id, Id::Alias(alias) if self.module.alias(AliasId(alias)).kind == AliasKind::Ifunc);
            if ifunc {
                self.special.push((made, Special::Ifunc(record.visibility)));
            } else if record.visibility == Visibility::Protected {
                self.special.push((made, Special::Protected));
            }
            let thread_local = match id {
                Id::Function(_) => ThreadLocal::None,
                Id::Global(global) => self.module.global(global).thread_local,
                Id::Alias(alias) => self.module.alias(AliasId(alias)).thread_local,
            };
            if thread_local != ThreadLocal::None {
                object.symbol_mut(made).kind = SymbolKind::Tls;
            }
        }
        made
    }

    fn make(
        &mut self,
        object: &mut Object<'static>,
        name: Vec<u8>,
        weak: bool,
        scope: SymbolScope,
    ) -> (SymbolId, bool) {
        if let Some(known) = self.named.get(&name) {
            return (*known, false);
        }
        let made = object.add_symbol(Symbol {
            name: name.clone(),
            value: 0,
            size: 0,
            kind: SymbolKind::Unknown,
            scope,
            weak,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        self.named.insert(name, made);
        (made, true)
    }

    /// Remembers a symbol that was made elsewhere.
    pub(super) fn know(&mut self, name: Vec<u8>, id: SymbolId) {
        self.named.insert(name, id);
    }

    /// `id` is another name of an ifunc.
    pub(super) fn is_ifunc(&mut self, id: SymbolId, visibility: Visibility) {
        self.special.push((id, Special::Ifunc(visibility)));
    }

    /// `id` is a tentative definition.
    pub(super) fn is_common(&mut self, id: SymbolId, visibility: Visibility) {
        self.special.push((id, Special::Common(visibility)));
    }

    /// The symbol that a COMDAT group goes by: what has its name, or else a local one that only says it.
    pub(super) fn signature(&self, object: &mut Object<'static>, name: &[u8], section: SymbolSection) -> SymbolId {
        if let Some(known) = self.named.get(name) {
            return *known;
        }
        object.add_symbol(Symbol {
            name: name.to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Label,
            scope: SymbolScope::Compilation,
            weak: false,
            section,
            flags: SymbolFlags::None,
        })
    }

    /// Gives those symbols their flags, once it is known which are defined.
    pub(super) fn finish(&self, object: &mut Object<'static>) {
        for (id, special) in &self.special {
            let symbol = object.symbol_mut(*id);
            let bind = match (symbol.weak, symbol.is_local()) {
                (true, _) => elf::STB_WEAK,
                (_, true) => elf::STB_LOCAL,
                _ => elf::STB_GLOBAL,
            };
            let (kind, visibility) = match special {
                Special::Ifunc(visibility) => (elf::STT_GNU_IFUNC, visibility),
                // Not `STT_COMMON`, which few linkers know.
                Special::Common(visibility) => (elf::STT_OBJECT, visibility),
                Special::Protected => {
                    let kind = match symbol.kind {
                        SymbolKind::Tls => elf::STT_TLS,
                        _ if symbol.section == SymbolSection::Undefined => elf::STT_NOTYPE,
                        SymbolKind::Text => elf::STT_FUNC,
                        _ => elf::STT_OBJECT,
                    };
                    (kind, &Visibility::Protected)
                }
            };
            let st_other = match visibility {
                Visibility::Default => elf::STV_DEFAULT,
                Visibility::Hidden => elf::STV_HIDDEN,
                Visibility::Protected => elf::STV_PROTECTED,
            };
            symbol.flags = SymbolFlags::Elf { st_info: (bind << 4) | kind, st_other };
        }
    }
}
