//! Another generation of a loaded module: changed source of a program that runs.
//!
//! Ids hold within one module, so two generations are joined by names: functions and variables that other modules see by
//! their names in the session, the others by their names in earlier generations of the same module, constants that
//! nobody else sees by content. What is known keeps its stub or address, and its value; what is new gets its own.

use std::collections::{HashMap, HashSet};

use kiln_abi::{FunctionId, GlobalId};
use kiln_bitcode::{GlobalRef, Linkage};
use kiln_codecache::Records;
use kiln_dispatch::{FunctionIndex, Mode};
use kiln_link::{External, Link, Scope, TlsPlacement};
use kiln_remote::Neighbours;

use crate::compiler::Job;
use crate::digest::{Digest, Digester, is_matched_by_content};
use crate::engine::{Engine, Inner};
use crate::error::Error;
use crate::input::Input;
use crate::labels;
use crate::load::{self, LoadScope, Opened};
use crate::migration::{self, Migration, Moved};
use crate::module::LoadedModule;
use crate::place::{self, Observed};
use crate::process::signals::Blocked;
use crate::reclaim::frame_of;
use crate::replace::Redefined;

/// What became of a program when its source changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Update {
    /// The functions that have a new meaning, with their new versions.
    pub redefined: Redefined,
    /// Functions that are new.
    pub added: Vec<String>,
    /// Functions that the new source has not. Code that refers to them goes on doing so.
    pub removed: Vec<String>,
    /// How many functions are as they were.
    pub unchanged: usize,
}

impl Engine {
    /// Gives functions a new meaning: those called `names` get the bodies that `input` defines, a bitcode module or source
    /// file that belongs to the module which defines the first of them.
    ///
    /// Functions and variables that the session or an earlier generation of the module has under the same name are the
    /// same: variables keep their addresses and values, static and thread-local ones included. What is new is added.
    /// When this returns, every new entry, from any thread, has the new meaning.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::SignatureChanged`] and [`Error::GlobalChanged`] where the types of something that lives
    /// differ; what is wrong with the input or its code. Everything is as before then.
    pub fn redefine(&self, names: &[&str], input: &Input) -> Result<Redefined, Error> {
        let entry = 0u8;
        let result = redefine(self.inner(), names, input);
        self.inner().reclaim_if_much(Some(frame_of(&entry)));
        result
    }

    /// Takes over all that differs in `input`, another generation of the loaded module that came from `name`: compares
    /// function by function, whatever their order and debug information, and redefines together those that changed.
    ///
    /// # Errors
    ///
    /// As [`Engine::redefine`].
    pub fn update(&self, name: &str, input: &Input) -> Result<Update, Error> {
        self.update_migrating(name, input, |_| false)
    }

    /// As [`Engine::update`], where variables may get other types: `migrate` is asked for each of them, once its new place holds
    /// the initial value and before anything else has changed, and says whether it has moved the value there. From then on the
    /// module's functions use the new place; pointers to the old one lead there as before, and code that runs goes on
    /// using it, so the program had better be somewhere else.
    ///
    /// # Errors
    ///
    /// As [`Engine::redefine`]; [`Error::GlobalChanged`] for variables that `migrate` does not move, that are thread-local, or that
    /// other modules or initial values refer to.
    pub fn update_migrating(
        &self,
        name: &str,
        input: &Input,
        mut migrate: impl FnMut(&Migration) -> bool,
    ) -> Result<Update, Error> {
        let entry = 0u8;
        let result = update(self.inner(), name, input, &mut migrate);
        self.inner().reclaim_if_much(Some(frame_of(&entry)));
        result
    }
}

#[inline(never)]
fn redefine(inner: &'static Inner, names: &[&str], input: &Input) -> Result<Redefined, Error> {
    let not_found = |name: &str| Error::NotFound { name: name.to_owned() };
    let first = names.first().ok_or_else(|| not_found(""))?;
    let index = inner.stub_named(first).ok_or_else(|| not_found(first))?;
    let (parent, _) = inner.function_at(index).ok_or_else(|| not_found(first))?;
    let generation = Generation::load(inner, parent, input)?;
    generation.migrate(&mut |_| false)?;
    let named = |name: &&str| {
        let function = generation.module.function_named(name).ok_or_else(|| not_found(name))?;
        let is_known = generation.known.contains_key(&function);
        if is_known { Ok(function) } else { Err(not_found(name)) }
    };
    let functions: Vec<_> = names.iter().map(named).collect::<Result<_, _>>()?;
    check_labels(inner, generation.module, &functions)?;
    generation.admit(inner);
    inner.redefine_functions(generation.module, &functions)
}

#[inline(never)]
fn update(
    inner: &'static Inner,
    name: &str,
    input: &Input,
    migrate: &mut dyn FnMut(&Migration) -> bool,
) -> Result<Update, Error> {
    let parent = inner.newest(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
    let generation = Generation::load(inner, parent, input)?;
    let module = generation.module;
    let moved = generation.migrate(migrate)?;
    let mut comparison = Comparison::new(module);
    let mut opaque: HashMap<u32, Vec<FunctionId>> = HashMap::new();
    let mut changed = Vec::new();
    let mut unchanged = 0;
    for (function, index) in &generation.known {
        let Some((before, id)) = inner.function_at(*index) else { continue };
        let opaque = opaque.entry(before.id.0).or_insert_with(|| inner.history().opaque(before.id));
        let same = !opaque.contains(&id)
            && (moved.is_empty() || !migration::names_any(module, *function, &moved))
            && comparison
                .is_same(before, id, *function)
                .map_err(|source| Error::Bitcode { name: module.name.clone(), source })?;
        if same {
            unchanged += 1;
        } else {
            changed.push(*function);
        }
    }
    changed.sort_unstable();
    check_labels(inner, module, &changed)?;
    let added = module.defined.iter().filter(|function| !generation.known.contains_key(function));
    let added = added.map(|function| module.function_name(*function)).collect();
    let names: HashSet<_> = module.defined.iter().map(|function| module.function_name(*function)).collect();
    let removed = parent.defined.iter().map(|function| parent.function_name(*function));
    let removed = removed.filter(|name| !names.contains(name)).collect();
    generation.admit(inner);
    let redefined = inner.redefine_functions(module, &changed)?;
    generation.rebind(inner, &moved);
    Ok(Update { redefined, added, removed, unchanged })
}

/// Finds the functions of a module that mean something else than in earlier generations.
struct Comparison {
    module: &'static LoadedModule,
    digester: Digester<'static>,
    /// Earlier generations whose numbers for everything are the same, and what tells their functions apart.
    same_tables: HashMap<u32, Option<Digester<'static>>>,
}

impl Comparison {
    fn new(module: &'static LoadedModule) -> Self {
        Self { module, digester: Digester::new(&module.bitcode, module.bytes), same_tables: HashMap::new() }
    }

    /// Whether `function` means what `id` of `before` means. Most edits leave all tables as they are: then equal bits mean
    /// the same, and only what differs is looked into.
    fn is_same(
        &mut self,
        before: &'static LoadedModule,
        id: FunctionId,
        function: FunctionId,
    ) -> Result<bool, kiln_bitcode::Error> {
        let module = self.module;
        let tables = self.same_tables.entry(before.id.0).or_insert_with(|| {
            let same = module.bitcode.has_tables_of(&before.bitcode);
            same.then(|| Digester::new(&before.bitcode, before.bytes))
        });
        let Some(older) = tables else { return Ok(before.digest(id)? == module.digest(function)?) };
        let bits = |module: &LoadedModule, function| {
            let range = module.bitcode.body_range(module.bytes, function)?;
            module.bytes.get(range)
        };
        let same_bits = id == function && bits(before, id).is_some_and(|old| Some(old) == bits(module, function));
        Ok(same_bits || older.function(id)? == self.digester.function(function)?)
    }
}

/// Refuses if old code of one of `functions` may have left addresses of its labels behind.
fn check_labels(inner: &Inner, module: &LoadedModule, functions: &[FunctionId]) -> Result<(), Error> {
    functions.iter().filter_map(|function| module.index_of(*function)).try_for_each(|index| inner.check_labels(index))
}

impl Inner {
    /// Finds out what the functions of the module mean that was loaded from `name`, so that a comparison finds it known.
    pub(crate) fn prepare_comparison(&self, name: &str) {
        let first = self.newest(name).and_then(|module| Some((module, *module.defined.first()?)));
        if let Some((module, function)) = first {
            // What is wrong with it shows when there is something to compare.
            let _ = module.digest(function);
        }
    }

    /// The newest generation of the module that was loaded from `name`.
    fn newest(&self, name: &str) -> Option<&'static LoadedModule> {
        let modules = self.modules();
        let root = modules.iter().find(|module| module.name == name)?.root;
        modules.iter().rfind(|module| module.root == root).copied()
    }

    /// All generations of a module, the newest first.
    fn generations(&self, of: &LoadedModule) -> Vec<&'static LoadedModule> {
        self.modules().iter().rev().filter(|module| module.root == of.root).copied().collect()
    }

    /// Compiles `functions` of `module` and makes the result their current versions, all together.
    fn redefine_functions(
        &'static self,
        module: &'static LoadedModule,
        functions: &[FunctionId],
    ) -> Result<Redefined, Error> {
        if functions.is_empty() {
            return Ok(Redefined::nothing(self));
        }
        let _blocked = Blocked::all();
        let by_baseline = self.redefine_by_baseline(module, functions);
        if let Some(redefined) = by_baseline.map_err(|failure| Error::Replace(failure.to_string()))? {
            return Ok(redefined);
        }
        self.replace_by_ir(Job {
            module: module.id,
            roots: functions.to_vec(),
            pipeline: self.options.pipeline,
            neighbours: Neighbours::NONE,
            mode: Mode::Redefine,
            installed: None,
        })
    }
}

/// A module that joins earlier generations of itself.
struct Generation {
    module: &'static LoadedModule,
    /// Its functions that earlier generations or other modules know.
    known: HashMap<FunctionId, FunctionIndex>,
    /// Its variables that have another type than they had.
    moved: Vec<Moved>,
}

/// What is known of earlier generations, by name or content.
#[derive(Default)]
struct Earlier {
    functions: HashMap<Vec<u8>, (&'static LoadedModule, FunctionId)>,
    variables: HashMap<Vec<u8>, (&'static LoadedModule, GlobalId)>,
    constants: HashMap<Digest, External>,
}

impl Earlier {
    fn of(generations: &[&'static LoadedModule]) -> Self {
        let mut earlier = Earlier::default();
        for module in generations {
            let bitcode = &module.bitcode;
            for function in &module.defined {
                let name = bitcode.symbol_name(GlobalRef::Function(*function));
                if is_local(bitcode.function(*function).symbol.linkage) && !name.is_empty() {
                    earlier.functions.entry(name.to_vec()).or_insert((module, *function));
                }
            }
            let mut digester = Digester::new(bitcode, module.bytes);
            for (id, global) in (0u32..).map(GlobalId).zip(bitcode.globals()) {
                if is_matched_by_content(bitcode, id) {
                    if let Some(Some(bound)) = module.globals[id.0 as usize].get() {
                        earlier.constants.entry(digester.content(id)).or_insert(*bound);
                    }
                } else if !global.is_declaration() {
                    let name = bitcode.symbol_name(GlobalRef::Global(id));
                    earlier.variables.entry(name.to_vec()).or_insert((module, id));
                }
            }
        }
        earlier
    }
}

impl Generation {
    /// Reads `input`, joins it to the generations of `parent`, and lays out what is new of its data.
    fn load(inner: &'static Inner, parent: &'static LoadedModule, input: &Input) -> Result<Self, Error> {
        let mut opened = load::open_all(inner, std::slice::from_ref(input))?;
        let single = match opened.pop() {
            Some(Opened::Bitcode { bytes, mut modules, .. }) if opened.is_empty() && modules.len() == 1 => {
                modules.pop().map(|bitcode| (bytes, bitcode))
            }
            _ => None,
        };
        let (bytes, bitcode) = single.ok_or_else(|| {
            Error::Replace("functions are redefined by one bitcode module, IR file or source file at a time".to_owned())
        })?;
        let generations = inner.generations(parent);
        let earlier = Earlier::of(&generations);
        let known = join_functions(inner, &earlier, &bitcode, bytes)?;
        let _blocked = Blocked::all();
        let id = inner.compiler.add_module(bytes);
        let module = LoadedModule::new(
            parent.name.clone(),
            bytes,
            bitcode,
            id,
            |function| known.get(&function).copied(),
            |count| inner.table().allocate(count),
        );
        let mut module = module.map_err(Error::Stubs)?;
        module.root = parent.root;
        let moved = join_globals(inner, &earlier, &module);
        if let Some(fixed) = moved.iter().find(|moved| !moved.can_be_moved(inner, &module)) {
            return Err(fixed.migration.refused());
        }
        let module: &'static LoadedModule = Box::leak(Box::new(module));
        lay_out(inner, module)?;
        Ok(Self { module, known, moved })
    }

    /// Has the client move the values of variables whose types differ, and says which they are.
    fn migrate(&self, migrate: &mut dyn FnMut(&Migration) -> bool) -> Result<HashSet<GlobalId>, Error> {
        for moved in &self.moved {
            let mut migration = moved.migration.clone();
            let bound = self.module.globals[moved.global.0 as usize].get().copied().flatten();
            let place = bound.and_then(External::address).ok_or_else(|| migration.refused())?;
            migration.new.address = place;
            if !migrate(&migration) {
                return Err(migration.refused());
            }
        }
        Ok(self.moved.iter().map(|moved| moved.global).collect())
    }

    /// Gives the names of `moved` variables their new meaning.
    fn rebind(&self, inner: &Inner, moved: &HashSet<GlobalId>) {
        let mut session = inner.session();
        let bitcode = &self.module.bitcode;
        for global in moved {
            let symbol = &bitcode.global(*global).symbol;
            let bound = self.module.globals[global.0 as usize].get().copied().flatten();
            if let (false, Some(bound)) = (is_local(symbol.linkage), bound) {
                session.undefine(bitcode.str(symbol.name));
                session.define(bitcode.str(symbol.name), bound);
            }
        }
    }

    /// Makes the module part of the session: its new functions can be called.
    fn admit(&self, inner: &Inner) {
        inner.modules().push(self.module);
        let mut session = inner.session();
        let bitcode = &self.module.bitcode;
        for function in &self.module.defined {
            let symbol = &bitcode.function(*function).symbol;
            if let (false, Some(index)) = (is_local(symbol.linkage), self.module.index_of(*function)) {
                session.define(bitcode.str(symbol.name), External::Function(inner.table().stub(index)));
            }
        }
        for (cell, global) in self.module.globals.iter().zip(bitcode.globals()) {
            if let (false, false, Some(Some(bound))) =
                (is_local(global.symbol.linkage), global.is_declaration(), cell.get())
            {
                session.define(bitcode.str(global.symbol.name), *bound);
            }
        }
    }
}

pub(crate) fn is_local(linkage: Linkage) -> bool {
    matches!(linkage, Linkage::Internal | Linkage::Private)
}

/// Which functions of the new module exist; refuses those whose types differ.
fn join_functions(
    inner: &Inner,
    earlier: &Earlier,
    bitcode: &kiln_bitcode::Module,
    bytes: &[u8],
) -> Result<HashMap<FunctionId, FunctionIndex>, Error> {
    let mut known = HashMap::new();
    let mut digester = Digester::new(bitcode, bytes);
    let mut older: HashMap<u32, Digester<'static>> = HashMap::new();
    for (id, function) in (0u32..).map(FunctionId).zip(bitcode.functions()) {
        let linkage = function.symbol.linkage;
        if function.is_declaration() || linkage == Linkage::AvailableExternally {
            continue;
        }
        let name = bitcode.str(function.symbol.name);
        let text = String::from_utf8_lossy(name);
        let (index, before) = if is_local(linkage) {
            let Some((module, old)) = earlier.functions.get(name) else { continue };
            let Some(index) = module.index_of(*old) else { continue };
            (index, Some((*module, *old)))
        } else {
            let Some(index) = inner.stub_named(&text) else { continue };
            (index, inner.function_at(index))
        };
        if let Some((module, old)) = before {
            let old_type = module.bitcode.function(old).symbol.value_type;
            let older = older.entry(module.id.0).or_insert_with(|| Digester::new(&module.bitcode, module.bytes));
            if older.ty(old_type) != digester.ty(function.symbol.value_type) {
                return Err(Error::SignatureChanged {
                    name: text.into_owned(),
                    old: crate::signature::describe(&module.bitcode, old_type),
                    new: crate::signature::describe(bitcode, function.symbol.value_type),
                });
            }
        }
        known.insert(id, index);
    }
    Ok(known)
}

/// Binds the globals of the new module that exist; returns variables whose types differ.
fn join_globals(inner: &Inner, earlier: &Earlier, module: &LoadedModule) -> Vec<Moved> {
    let mut moved = Vec::new();
    let bitcode = &module.bitcode;
    let mut digester = Digester::new(bitcode, module.bytes);
    let mut older: HashMap<u32, Digester<'static>> = HashMap::new();
    for (id, global) in (0u32..).map(GlobalId).zip(bitcode.globals()) {
        let cell = &module.globals[id.0 as usize];
        let name = bitcode.str(global.symbol.name);
        let skip = global.is_declaration()
            || global.symbol.linkage == Linkage::AvailableExternally
            || name.starts_with(b"llvm.")
            || bitcode.block_address_owner(id).is_some();
        if skip {
            continue;
        }
        if is_matched_by_content(bitcode, id) {
            if let Some(bound) = earlier.constants.get(&digester.content(id)) {
                let _ = cell.set(Some(*bound));
            }
            continue;
        }
        let before = earlier.variables.get(name);
        let bound = match before {
            Some((old, old_id)) if is_local(global.symbol.linkage) => {
                old.globals[old_id.0 as usize].get().copied().flatten()
            }
            _ if is_local(global.symbol.linkage) => None,
            _ => inner.session().definition(name),
        };
        let Some(bound) = bound else { continue };
        if let Some((old, old_id)) = before {
            let old_type = old.bitcode.global(*old_id).symbol.value_type;
            let older = older.entry(old.id.0).or_insert_with(|| Digester::new(&old.bitcode, old.bytes));
            if older.ty(old_type) != digester.ty(global.symbol.value_type) {
                moved.push(Moved::new(module, id, (*old, *old_id), bound));
                continue;
            }
        }
        let _ = cell.set(Some(bound));
    }
    moved
}

/// Lays out and initialises the globals of `module` that are new, and binds its ids. Constructors do not run again.
fn lay_out(inner: &'static Inner, module: &'static LoadedModule) -> Result<(), Error> {
    let data = load::module_graph(inner, module)?;
    let mut link = Link::new(kiln_link::Options { single_threaded: true, ..kiln_link::Options::default() });
    let input = link.add_graph(&data.graph);
    let mut scope = LoadScope::new(inner);
    let resolved = link.resolve(&mut scope).map_err(|errors| Error::Link(errors.to_string()))?;
    for name in load::declared_names(module) {
        let _ = scope.lookup(name);
    }
    let filled = place::fill(inner, resolved, &Observed::default())?;
    let tls: TlsPlacement = filled.tls;
    filled.publish_with(|linked, reservation, records: Records<'_>| {
        reservation.publish(records)?.leak();
        load::bind_module(module, &data, linked, input, tls);
        Ok::<_, Error>(())
    })?;
    labels::fill_pointers(inner, [(module, &data.table_pointers)])
}
