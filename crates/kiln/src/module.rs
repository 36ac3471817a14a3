//! A bitcode module of the session: what each of its ids is bound to.

use std::sync::{Arc, OnceLock};

use kiln_abi::{ExecutorAddr, FunctionId, GlobalId, symbol};
use kiln_baseline::data::TablePointer;
use kiln_bitcode::{AliasId, AliasKind, GlobalRef, Linkage};
use kiln_dispatch::FunctionIndex;
use kiln_link::External;
use kiln_remote::ModuleId;

use crate::bindings::Bindings;
use crate::digest::{Digest, Tables, digests};

/// The bytes of a module.
#[derive(Clone, Debug)]
pub(crate) enum Bytes {
    /// Of one that was loaded: they stay.
    Static(&'static [u8]),
    /// Of another generation: they go with what refers to them.
    Shared(Arc<[u8]>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Static(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }
}

/// A loaded module. Nothing in it changes once it is loaded, except that unset bindings get set.
#[derive(Debug)]
pub(crate) struct LoadedModule {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) bitcode: kiln_bitcode::Module,
    /// The number by which the optimizer knows it.
    pub(crate) id: ModuleId,
    /// The first generation of the same source: this one itself, unless it was loaded to replace another.
    pub(crate) root: ModuleId,
    /// The first of its own functions in the function table.
    pub(crate) first: FunctionIndex,
    /// Functions with bodies.
    pub(crate) defined: Vec<FunctionId>,
    /// Their indices in the function table.
    indices: Vec<FunctionIndex>,
    /// Those that no earlier generation has, in the order of their indices.
    own: Vec<FunctionId>,
    /// Ifuncs, whose indices in the function table follow those of its own functions.
    pub(crate) ifuncs: Vec<AliasId>,
    pub(crate) functions: Bindings,
    pub(crate) globals: Bindings,
    pub(crate) aliases: Bindings,
    /// What in its variables leads to tables of label addresses; set once that is filled in.
    pub(crate) table_pointers: OnceLock<Vec<TablePointer>>,
    /// Whether objects of this module hold line tables; known once there is one.
    pub(crate) has_lines: OnceLock<bool>,
    /// What leads to lines of the source; known once somebody asked for one. `None` if it cannot be read.
    pub(crate) debug_info: OnceLock<Option<kiln_bitcode::DebugInfo<'static>>>,
    /// What its types and constants mean; known once another generation was compared with it.
    tables: OnceLock<Arc<Tables>>,
    /// What the functions in `defined` mean; likewise.
    digests: OnceLock<Vec<Digest>>,
}

impl LoadedModule {
    /// A module whose functions have the indices that `known` says or else get them from `allocate`, and whose ids are not
    /// bound yet.
    pub(crate) fn new<E>(
        name: String,
        bytes: Bytes,
        bitcode: kiln_bitcode::Module,
        id: ModuleId,
        known: impl Fn(FunctionId) -> Option<FunctionIndex>,
        allocate: impl FnOnce(u32) -> Result<FunctionIndex, E>,
    ) -> Result<Self, E> {
        let has_body =
            |f: &kiln_bitcode::Function| !f.is_declaration() && f.symbol.linkage != Linkage::AvailableExternally;
        let functions = (0u32..).map(FunctionId).zip(bitcode.functions());
        let defined: Vec<_> = functions.filter(|(_, f)| has_body(f)).map(|(id, _)| id).collect();
        let aliases = (0u32..).map(AliasId).zip(bitcode.aliases());
        let ifuncs: Vec<_> = aliases.filter(|(_, a)| a.kind == AliasKind::Ifunc).map(|(id, _)| id).collect();
        let own: Vec<_> = defined.iter().copied().filter(|function| known(*function).is_none()).collect();
        let first = allocate((own.len() + ifuncs.len()) as u32)?;
        let mut next = first.0;
        let index = |function: &FunctionId| {
            known(*function).unwrap_or_else(|| {
                next += 1;
                FunctionIndex(next - 1)
            })
        };
        let indices = defined.iter().map(index).collect();
        Ok(Self {
            functions: Bindings::new(bitcode.functions().len()),
            globals: Bindings::new(bitcode.globals().len()),
            aliases: Bindings::new(bitcode.aliases().len()),
            table_pointers: OnceLock::new(),
            has_lines: OnceLock::new(),
            debug_info: OnceLock::new(),
            tables: OnceLock::new(),
            digests: OnceLock::new(),
            name,
            bytes,
            bitcode,
            id,
            root: id,
            first,
            defined,
            indices,
            own,
            ifuncs,
        })
    }

    /// What its types and constants mean is known already.
    pub(crate) fn know(&self, tables: Arc<Tables>) {
        let _ = self.tables.set(tables);
    }

    /// What its types and constants mean.
    pub(crate) fn tables(&self) -> Result<&Arc<Tables>, kiln_bitcode::Error> {
        if let Some(tables) = self.tables.get() {
            return Ok(tables);
        }
        let made = Tables::new(&self.bitcode, &self.bytes)?;
        Ok(self.tables.get_or_init(|| Arc::new(made)))
    }

    /// What the functions in `defined` mean.
    pub(crate) fn digests(&self) -> Result<&[Digest], kiln_bitcode::Error> {
        if let Some(digests) = self.digests.get() {
            return Ok(digests);
        }
        let made = digests(self.tables()?, &self.bitcode, &self.bytes, &self.defined)?;
        Ok(self.digests.get_or_init(|| made))
    }

    fn body_bits(&self, function: FunctionId) -> Option<&[u8]> {
        self.bytes.get(self.bitcode.body_range(&self.bytes, function)?)
    }

    /// What a function with a body means.
    pub(crate) fn digest(&self, function: FunctionId) -> Result<Digest, kiln_bitcode::Error> {
        let position = self.defined.binary_search(&function).expect("a function with a body");
        Ok(self.digests()?[position])
    }

    /// Finds out what everything means with the help of `older`, all of whose [tables are the
    /// same](kiln_bitcode::Module::has_tables_of): two bodies of the same bits mean the same then.
    pub(crate) fn learn_from(&self, older: &LoadedModule) -> Result<(), kiln_bitcode::Error> {
        let tables = older.tables()?;
        let mut meanings = older.digests()?.to_vec();
        let differs =
            |function: FunctionId| self.body_bits(function).is_none_or(|own| older.body_bits(function) != Some(own));
        let positions: Vec<_> = (0..self.defined.len()).filter(|at| differs(self.defined[*at])).collect();
        let functions: Vec<_> = positions.iter().map(|at| self.defined[*at]).collect();
        for (at, digest) in positions.into_iter().zip(digests(tables, &self.bitcode, &self.bytes, &functions)?) {
            meanings[at] = digest;
        }
        let _ = self.tables.set(tables.clone());
        let _ = self.digests.set(meanings);
        Ok(())
    }

    /// The function at `index` of the function table, if it is one of this module's with a body.
    pub(crate) fn function_at(&self, index: FunctionIndex) -> Option<FunctionId> {
        self.own.get(index.0.checked_sub(self.first.0)? as usize).copied()
    }

    /// The function with a body whose index in the function table is `index`, whichever generation had it first.
    pub(crate) fn function_with(&self, index: FunctionIndex) -> Option<FunctionId> {
        let joined = || self.indices.iter().position(|other| *other == index).map(|position| self.defined[position]);
        self.function_at(index).or_else(joined)
    }

    /// Its place among the modules of the session: where the table has its own functions. One that has none comes before the
    /// one that has those.
    pub(crate) fn place(&self) -> (FunctionIndex, bool, ModuleId) {
        (self.first, !self.own.is_empty() || !self.ifuncs.is_empty(), self.id)
    }

    /// Those of its functions that no earlier generation had, with their indices in the function table.
    pub(crate) fn own(&self) -> impl Iterator<Item = (FunctionIndex, FunctionId)> {
        (self.first.0..).map(FunctionIndex).zip(self.own.iter().copied())
    }

    /// Functions with bodies, with their indices in the function table.
    pub(crate) fn defined_functions(&self) -> impl Iterator<Item = (FunctionId, FunctionIndex)> {
        self.defined.iter().copied().zip(self.indices.iter().copied())
    }

    /// The index in the function table of a function with a body.
    pub(crate) fn index_of(&self, function: FunctionId) -> Option<FunctionIndex> {
        let position = self.defined.binary_search(&function).ok()?;
        Some(self.indices[position])
    }

    /// The index in the function table of an ifunc.
    pub(crate) fn index_of_ifunc(&self, ifunc: AliasId) -> Option<FunctionIndex> {
        let position = self.ifuncs.binary_search(&ifunc).ok()?;
        Some(FunctionIndex(self.first.0 + (self.own.len() + position) as u32))
    }

    /// What the resolver function of an ifunc is bound to.
    pub(crate) fn ifunc_resolver(&self, ifunc: AliasId) -> Option<External> {
        match self.bitcode.constant(self.bitcode.alias(ifunc).target) {
            kiln_bitcode::Constant::Global(GlobalRef::Function(function)) => self.functions.bound(function.0),
            kiln_bitcode::Constant::Global(GlobalRef::Alias(alias)) => self.aliases.bound(alias.0),
            _ => None,
        }
    }

    /// A function's name, or its id where it has none.
    pub(crate) fn function_name(&self, function: FunctionId) -> String {
        let name = self.bitcode.functions().get(function.0 as usize).map(|f| self.bitcode.str(f.symbol.name));
        match name {
            Some(name) if !name.is_empty() => String::from_utf8_lossy(name).into_owned(),
            _ => format!("function {}", function.0),
        }
    }

    /// A function as a module of its own, if it can be one.
    pub(crate) fn alone(&self, function: FunctionId) -> Option<Vec<u8>> {
        /// Longer ones cost more to send than they spare.
        const BYTES_MAX: usize = 1 << 20;
        let mut body = kiln_bitcode::Body::new();
        self.bitcode.read_body(&self.bytes, function, &mut body).ok()?;
        kiln_bitcode::write_function(&self.bitcode, &body).ok().filter(|alone| alone.len() <= BYTES_MAX)
    }

    /// The function with a body that is called `name`.
    pub(crate) fn function_named(&self, name: &str) -> Option<FunctionId> {
        let is_it =
            |function: &&FunctionId| self.bitcode.symbol_name(GlobalRef::Function(**function)) == name.as_bytes();
        self.defined.iter().find(is_it).copied()
    }

    /// What people call the symbol of one of this module's objects.
    pub(crate) fn symbol_name(&self, symbol: &[u8]) -> Vec<u8> {
        match symbol::parse(symbol) {
            Some(symbol::Id::Function(function)) => self.function_name(function).into_bytes(),
            _ => symbol.to_vec(),
        }
    }

    /// Binds a global whose address comes with a version of a function; `false` if it was bound: a second version of the
    /// same table, and references to the first one keep theirs.
    pub(crate) fn bind_owned_global(&self, global: GlobalId, address: ExecutorAddr) -> bool {
        self.globals.set(global.0, Some(External::Data(address)))
    }
}
