//! Another generation of a loaded module: changed source of a program that runs.
//!
//! Ids hold within one module, so two generations are joined by names: functions and variables that other modules see by
//! their names in the session, the others by their names in earlier generations of the same module, constants that
//! nobody else sees by content. What is known keeps its stub or address, and its value; what is new gets its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_abi::{FunctionId, GlobalId};
use kiln_baseline::data::Images;
use kiln_bitcode::Linkage;
use kiln_codecache::Records;
use kiln_dispatch::{FunctionIndex, Mode};
use kiln_link::{External, Link, Scope, TlsPlacement};
use kiln_remote::{ModuleId, Neighbours};

use crate::compiler::Job;
use crate::digest::{Digest, Tables, is_matched_by_content, types};
use crate::engine::{Engine, Inner};
use crate::error::Error;
use crate::input::Input;
use crate::labels;
use crate::lineage::Lineage;
use crate::load::{self, LoadScope};
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
    let result = redefine_keeping(inner, names, input);
    inner.drop_generations();
    result
}

fn redefine_keeping(inner: &'static Inner, names: &[&str], input: &Input) -> Result<Redefined, Error> {
    let not_found = |name: &str| Error::NotFound { name: name.to_owned() };
    let first = names.first().ok_or_else(|| not_found(""))?;
    let index = inner.stub_named(first).ok_or_else(|| not_found(first))?;
    let (parent, _) = inner.function_at(index).ok_or_else(|| not_found(first))?;
    let generation = Generation::load(inner, &parent, input)?;
    generation.migrate(&mut |_| false)?;
    let named = |name: &&str| {
        let function = generation.module.function_named(name).ok_or_else(|| not_found(name))?;
        let is_known = generation.known.contains_key(&function);
        if is_known { Ok(function) } else { Err(not_found(name)) }
    };
    let functions: Vec<_> = names.iter().map(named).collect::<Result<_, _>>()?;
    check_labels(inner, &generation.module, &functions)?;
    generation.admit(inner);
    inner.redefine_functions(&generation.module, &functions)
}

#[inline(never)]
fn update(
    inner: &'static Inner,
    name: &str,
    input: &Input,
    migrate: &mut dyn FnMut(&Migration) -> bool,
) -> Result<Update, Error> {
    let result = update_keeping(inner, name, input, migrate);
    inner.drop_generations();
    result
}

fn update_keeping(
    inner: &'static Inner,
    name: &str,
    input: &Input,
    migrate: &mut dyn FnMut(&Migration) -> bool,
) -> Result<Update, Error> {
    let parent = inner.newest(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
    let generation = Generation::load(inner, &parent, input)?;
    let module = &*generation.module;
    let moved = generation.migrate(migrate)?;
    let broken = |source| Error::Bitcode { name: module.name.clone(), source };
    if let Some(older) = &generation.same_tables {
        module.learn_from(older).map_err(broken)?;
    }
    let mut opaque: HashMap<u32, HashSet<FunctionId>> = HashMap::new();
    let mut changed = Vec::new();
    let mut unchanged = Vec::new();
    for (function, index) in &generation.known {
        let Some((before, id)) = inner.function_at(*index) else { continue };
        let opaque =
            opaque.entry(before.id.0).or_insert_with(|| inner.history().opaque(before.id).into_iter().collect());
        let same = !opaque.contains(&id)
            && (moved.is_empty() || !migration::names_any(module, *function, &moved))
            && before.digest(id).map_err(broken)? == module.digest(*function).map_err(broken)?;
        if same {
            unchanged.push((*function, *index, (before.id, id)));
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
    inner.move_sources(module, &unchanged);
    let redefined = inner.redefine_functions(module, &changed)?;
    generation.rebind(inner, &moved);
    Ok(Update { redefined, added, removed, unchanged: unchanged.len() })
}

/// Refuses if old code of one of `functions` may have left addresses of its labels behind.
fn check_labels(inner: &Inner, module: &LoadedModule, functions: &[FunctionId]) -> Result<(), Error> {
    functions.iter().filter_map(|function| module.index_of(*function)).try_for_each(|index| inner.check_labels(index))
}

impl Inner {
    /// Finds out what the module means that was loaded from `name`, so that a comparison finds it known.
    pub(crate) fn prepare_comparison(&self, name: &str) {
        if let Some(module) = self.newest(name) {
            // What is wrong with it shows when there is something to compare.
            let _ = module.digests();
            let _ = self.lineage_of(&module);
        }
    }

    /// Sees to it that there is a lineage of the generations of `module`.
    fn lineage_of(&self, module: &LoadedModule) -> Result<(), kiln_bitcode::Error> {
        if self.lineages().contains_key(&module.root) {
            return Ok(());
        }
        let Some(root) = self.module(module.root) else { return Ok(()) };
        let tables = root.tables()?;
        self.lineages().entry(root.id).or_default().add(&root, tables);
        Ok(())
    }

    /// The newest generation of the module that was loaded from `name`.
    fn newest(&self, name: &str) -> Option<Arc<LoadedModule>> {
        let modules = self.modules();
        let root = modules.iter().find(|module| module.name == name)?.root;
        modules.iter().filter(|module| module.root == root).max_by_key(|module| module.id).cloned()
    }

    /// The newest generation of the source that `module` came from.
    fn newest_of(&self, module: &Arc<LoadedModule>) -> Arc<LoadedModule> {
        let modules = self.modules();
        modules.iter().filter(|other| other.root == module.root).max_by_key(|other| other.id).unwrap_or(module).clone()
    }

    /// Has functions that mean in `module` what they mean where they are compiled from now be compiled from there, so that
    /// the other generation is not needed for them.
    fn move_sources(&self, module: &LoadedModule, functions: &[(FunctionId, FunctionIndex, (ModuleId, FunctionId))]) {
        // Tables of labels belong to the code of the generation that made them.
        if module.bitcode.block_address_globals().next().is_some() {
            return;
        }
        let mut history = self.history();
        for (function, index, before) in functions {
            history.move_source(*index, *before, (module.id, *function));
        }
    }

    /// Forgets generations that nothing can be compiled from any more: no function's source is theirs, and no version that can
    /// be rolled back to. The first and the newest of each source stay.
    fn drop_generations(&self) {
        let _blocked = Blocked::all();
        let mut old: Vec<ModuleId> = {
            let modules = self.modules();
            let mut newest: HashMap<ModuleId, ModuleId> = HashMap::new();
            for module in modules.iter() {
                let known = newest.entry(module.root).or_insert(module.id);
                *known = module.id.max(*known);
            }
            let history = self.history();
            let used = history.modules();
            let is_old = |module: &&Arc<LoadedModule>| {
                module.root != module.id
                    && newest[&module.root] != module.id
                    && !used.contains(&module.id)
                    && module.ifuncs.is_empty()
                    && module.own().all(|(index, _)| history.source(index).is_some())
            };
            modules.iter().filter(is_old).map(|module| module.id).collect()
        };
        if old.is_empty() {
            return;
        }
        let asked_for = self.compiler.remove_modules(&old);
        old.retain(|module| !asked_for.contains(module));
        // Freed once the locks are.
        let gone: Vec<_> = self.modules().extract_if(.., |module| old.contains(&module.id)).collect();
        let mut history = self.history();
        gone.iter().for_each(|module| history.forget(module.id));
    }

    /// Compiles `functions` of `module` and makes the result their current versions, all together.
    fn redefine_functions(&'static self, module: &LoadedModule, functions: &[FunctionId]) -> Result<Redefined, Error> {
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
            alone: None,
        })
    }
}

/// A module that joins earlier generations of itself.
struct Generation {
    module: Arc<LoadedModule>,
    /// The compiler knows it from here on; not for longer, if it does not become part of the session.
    announced: Announced,
    /// Its functions that earlier generations or other modules know.
    known: HashMap<FunctionId, FunctionIndex>,
    /// Its variables that have another type than they had.
    moved: Vec<Moved>,
    /// The generation before it, if numbers mean the same in both. Otherwise what they mean was found out.
    same_tables: Option<Arc<LoadedModule>>,
}

/// A module that the compiler knows and the session does not, yet.
struct Announced {
    inner: &'static Inner,
    id: ModuleId,
    is_admitted: AtomicBool,
}

impl Drop for Announced {
    fn drop(&mut self) {
        if !*self.is_admitted.get_mut() {
            let _blocked = Blocked::all();
            self.inner.compiler.remove_modules(&[self.id]);
        }
    }
}

/// What the numbers of a new module mean.
enum Numbers<'n> {
    /// What they mean in the generation before it.
    As(&'n LoadedModule),
    /// Something else.
    Mean(&'n Tables, &'n Lineage),
}

impl Generation {
    /// Reads `input`, joins it to the generations of `parent`, and lays out what is new of its data.
    fn load(inner: &'static Inner, parent: &Arc<LoadedModule>, input: &Input) -> Result<Self, Error> {
        let (bytes, bitcode) = load::open_generation(inner, input)?;
        let broken = |source| Error::Bitcode { name: parent.name.clone(), source };
        let older = inner.newest_of(parent);
        let same_tables = bitcode.has_tables_of(&older.bitcode).then_some(older);
        let tables = match &same_tables {
            Some(_) => None,
            None => {
                inner.lineage_of(parent).map_err(broken)?;
                Some(Arc::new(Tables::new(&bitcode, &bytes).map_err(broken)?))
            }
        };
        let _blocked = Blocked::all();
        let mut lineages = inner.lineages();
        let numbers = match (&same_tables, &tables) {
            (None, Some(tables)) => Numbers::Mean(tables, lineages.entry(parent.root).or_default()),
            (older, _) => Numbers::As(older.as_ref().unwrap_or(parent)),
        };
        let known = join_functions(inner, &numbers, &bitcode)?;
        let id = inner.compiler.add_module(bytes.clone());
        let announced = Announced { inner, id, is_admitted: AtomicBool::new(false) };
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
        let moved = join_globals(inner, &numbers, &module);
        drop(lineages);
        if let Some(fixed) = moved.iter().find(|moved| !moved.can_be_moved(inner, &module)) {
            return Err(fixed.migration.refused());
        }
        if let Some(tables) = tables {
            module.know(tables);
        }
        lay_out(inner, &module)?;
        Ok(Self { module: Arc::new(module), announced, known, moved, same_tables })
    }

    /// Has the client move the values of variables whose types differ, and says which they are.
    fn migrate(&self, migrate: &mut dyn FnMut(&Migration) -> bool) -> Result<HashSet<GlobalId>, Error> {
        for moved in &self.moved {
            let mut migration = moved.migration.clone();
            let bound = self.module.globals.bound(moved.global.0);
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
            let bound = self.module.globals.bound(global.0);
            if let (false, Some(bound)) = (symbol.linkage.is_local(), bound) {
                session.undefine(bitcode.str(symbol.name));
                session.define(bitcode.str(symbol.name), bound);
            }
        }
    }

    /// Makes the module part of the session: its new functions can be called.
    fn admit(&self, inner: &Inner) {
        inner.admit_modules([self.module.clone()]);
        // Relaxed: one thread at a time has the generation.
        self.announced.is_admitted.store(true, Ordering::Relaxed);
        if let (None, Ok(tables)) = (&self.same_tables, self.module.tables()) {
            inner.lineages().entry(self.module.root).or_default().add(&self.module, tables);
        }
        let mut session = inner.session();
        let bitcode = &self.module.bitcode;
        for function in &self.module.defined {
            let symbol = &bitcode.function(*function).symbol;
            if let (false, Some(index)) = (symbol.linkage.is_local(), self.module.index_of(*function)) {
                session.define(bitcode.str(symbol.name), External::Function(inner.table().stub(index)));
            }
        }
        for (id, global) in (0u32..).zip(bitcode.globals()) {
            if let (false, false, Some(bound)) =
                (global.symbol.linkage.is_local(), global.is_declaration(), self.module.globals.bound(id))
            {
                session.define(bitcode.str(global.symbol.name), bound);
            }
        }
    }
}

/// Which functions of the new module exist; refuses those whose types differ.
fn join_functions(
    inner: &Inner,
    numbers: &Numbers<'_>,
    bitcode: &kiln_bitcode::Module,
) -> Result<HashMap<FunctionId, FunctionIndex>, Error> {
    let mut known = HashMap::with_capacity(bitcode.functions().len());
    let mut others: HashMap<ModuleId, Vec<Digest>> = HashMap::new();
    let mut own = None;
    for (id, function) in (0u32..).map(FunctionId).zip(bitcode.functions()) {
        let (linkage, ty) = (function.symbol.linkage, function.symbol.value_type);
        if function.is_declaration() || linkage == Linkage::AvailableExternally {
            continue;
        }
        let name = bitcode.str(function.symbol.name);
        let found = match numbers {
            _ if !linkage.is_local() => inner.stub_of(name),
            Numbers::As(older) => older.index_of(id),
            Numbers::Mean(_, lineage) => lineage.function(name),
        };
        let Some(index) = found else { continue };
        known.insert(id, index);
        let has_type_it_had = match numbers {
            Numbers::As(older) => (older.index_of(id) == Some(index)).then_some(true),
            Numbers::Mean(tables, lineage) => lineage.signature(index).map(|signature| signature == tables.ty(ty)),
        };
        if has_type_it_had == Some(true) {
            continue;
        }
        // Another module's, or a change that is to be shown.
        let Some((module, old)) = inner.function_at(index) else { continue };
        let old_type = module.bitcode.function(old).symbol.value_type;
        let other = others.entry(module.id).or_insert_with(|| types(&module.bitcode));
        let own = own.get_or_insert_with(|| types(bitcode));
        if other[old_type.0 as usize] != own[ty.0 as usize] {
            return Err(Error::SignatureChanged {
                name: String::from_utf8_lossy(name).into_owned(),
                old: crate::signature::describe(&module.bitcode, old_type),
                new: crate::signature::describe(bitcode, ty),
            });
        }
    }
    Ok(known)
}

/// Binds the globals of the new module that exist; returns variables whose types differ.
fn join_globals(inner: &Inner, numbers: &Numbers<'_>, module: &LoadedModule) -> Vec<Moved> {
    let mut moved = Vec::new();
    let bitcode = &module.bitcode;
    for (id, global) in (0u32..).map(GlobalId).zip(bitcode.globals()) {
        let name = bitcode.str(global.symbol.name);
        let skip = global.is_declaration()
            || global.symbol.linkage == Linkage::AvailableExternally
            || name.starts_with(b"llvm.")
            || bitcode.block_address_owner(id).is_some();
        if skip {
            continue;
        }
        let is_local = global.symbol.linkage.is_local();
        let by_content = is_matched_by_content(bitcode, id);
        let bound = match numbers {
            _ if !is_local => inner.session().definition(name),
            Numbers::As(older) => older.globals.bound(id.0),
            Numbers::Mean(tables, lineage) if by_content => {
                tables.content(id).and_then(|content| lineage.constant(content))
            }
            Numbers::Mean(_, lineage) => lineage.variable(name).map(|variable| variable.bound),
        };
        let Some(bound) = bound else { continue };
        if let (Numbers::Mean(tables, lineage), false) = (numbers, by_content)
            && let Some(before) = lineage.variable(name)
            && (before.ty != tables.ty(global.symbol.value_type) || before.is_constant && !global.is_constant)
        {
            moved.push(Moved::new(module, id, before, bound));
            continue;
        }
        module.globals.set(id.0, Some(bound));
    }
    moved
}

/// Lays out and initialises the globals of `module` that are new, and binds its ids. Constructors do not run again.
fn lay_out(inner: &'static Inner, module: &LoadedModule) -> Result<(), Error> {
    let images = Images::default();
    let data = load::module_graph(inner, module, &images)?;
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
        load::bind_module(inner, module, &data, linked, input, tls);
        Ok::<_, Error>(())
    })?;
    labels::fill_pointers(inner, [(module, &data.table_pointers)])
}
