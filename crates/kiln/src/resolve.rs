//! A first call: from a stub without a body to code.
//!
//! Everything here may run inside a signal handler that interrupted `malloc`, on an engine stack, with all signals
//! blocked (`kiln_dispatch::Resolve` lists the duties): Rust's allocator and the engine's locks are used, libc's are not.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use kiln_abi::symbol::{self, Id};
use kiln_abi::{ExecutorAddr, FunctionId, GlobalId, Pipeline, Tier};
use kiln_baseline::LineTable;
use kiln_codecache::{Records, Reservation};
use kiln_dispatch::{Claim, FunctionIndex, InstallError, Resolve, Unit};
use kiln_link::{External, Scope};
use kiln_remote::{Compiled, ModuleId};

use crate::baseline::Plan;
use crate::code::Lines;
use crate::compiler::{Begun, Failure, Install};
use crate::engine::Inner;
use crate::history::CompiledBy;
use crate::module::LoadedModule;
use crate::place::{self, Filled, Observed};
use crate::process::fork;
use crate::versions::{self, Entries};

/// Longest chain of functions that hold each the next one's label addresses.
const OWNERS_MAX: u32 = 4;

/// Exit status when a function that the program needs has no code.
const EXIT_NO_CODE: i32 = 125;

impl Resolve for Inner {
    fn resolve(&self, function: FunctionIndex) -> ExecutorAddr {
        fork::notice();
        match self.table().claim_or_wait(function) {
            Claim::Installed(_) => {}
            // It was cold, and is not.
            Claim::Mine if self.versions().revive(function) => {}
            Claim::Mine => {
                let epoch = self.versions().epoch();
                if let Err(failure) = self.compile(function)
                    && self.versions().fail(function, epoch)
                {
                    self.die(function, &failure.to_string())
                }
                self.hold_code_limit();
                self.reclaim_if_much(None);
            }
            Claim::Failed | Claim::Other => self.die(function, "an earlier attempt to compile it failed"),
        }
        // Not to the body: that may have been replaced since it was looked up, and the stub knows.
        self.table().stub(function)
    }
}

impl Inner {
    /// Compiles and installs the function at `index`, which the calling thread has claimed.
    pub(crate) fn compile(&self, index: FunctionIndex) -> Result<(), Failure> {
        loop {
            // Again each time: a generation that it was compiled from may be gone.
            let Some((module, function)) = self.function_at(index) else {
                return Err(Failure::Link(format!("stub {} belongs to no function", index.0)));
            };
            let takings = self.versions().takings();
            match self.compile_function(&module, function, 0) {
                // A function whose body the compile saw was redefined meanwhile.
                Err(Failure::Stale) => {}
                Err(failure) => return Err(failure),
                // Taken away again already, or never there.
                Ok(()) if self.table().body(index).is_none() && self.versions().takings() == takings => {
                    return Err(Failure::Link("its compiler's output does not define it".to_owned()));
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Has `function` compiled by the tier that the options say, and installs it.
    fn compile_function(&self, module: &LoadedModule, function: FunctionId, depth: u32) -> Result<(), Failure> {
        let index = module.index_of(function).unwrap_or(FunctionIndex(u32::MAX));
        let refused = match Plan::of(&self.options, module.id, function, index) {
            Plan::Only(Tier::Optimizer) => None,
            Plan::Only(Tier::Baseline) => return self.compile_baseline(module, function, depth),
            Plan::BaselineFirst => match self.compile_baseline(module, function, depth) {
                Err(Failure::Baseline(refused)) => Some(refused),
                result => return result,
            },
        };
        let alone = refused.as_ref().and_then(|_| module.alone(function));
        let result = loop {
            match self.compiler.compile(module.id, function, alone.clone(), self) {
                Err(Failure::NeedsOwner(owner)) => self.compile_owner(module, owner, depth)?,
                result => break result,
            }
        };
        match (result, refused) {
            (Err(failure), Some(refused)) => Err(Failure::Nobody { refused, source: Box::new(failure) }),
            (result, _) => result,
        }
    }

    /// Compiles the function that owns label addresses to which a function refers that is the `depth`th in such a chain.
    pub(crate) fn compile_owner(&self, module: &LoadedModule, owner: FunctionId, depth: u32) -> Result<(), Failure> {
        // Two functions may hold each other's labels; which no compiler of C makes.
        if depth == OWNERS_MAX {
            return Err(Failure::NeedsOwner(owner));
        }
        self.compile_function(module, owner, depth + 1)
    }

    /// Ends the process: a call cannot return without its function.
    fn die(&self, index: FunctionIndex, reason: &str) -> ! {
        let name = match self.function_at(index) {
            Some((module, function)) => format!("{} ({})", module.function_name(function), module.name),
            None => format!("stub {}", index.0),
        };
        let mut text = format!("kiln: error: cannot compile {name}\n");
        for line in reason.lines() {
            text.push_str(&format!("kiln:        {line}\n"));
        }
        end(&text)
    }
}

impl Install for Inner {
    fn is_installed(&self, module: ModuleId, function: FunctionId) -> bool {
        let index = self.module(module).and_then(|module| module.index_of(function));
        index.is_some_and(|index| self.table().body(index).is_some())
    }

    fn epoch(&self) -> u64 {
        self.versions().epoch()
    }

    fn closed_to(&self, module: ModuleId, roots: &[FunctionId]) -> Vec<FunctionId> {
        let mut closed = self.history().closed_to(module, roots);
        if let Some(module) = self.module(module) {
            closed.extend(self.superseded(&module).into_iter().filter(|function| !roots.contains(function)));
            closed.sort_unstable();
            closed.dedup();
        }
        closed
    }

    fn install(&self, module: ModuleId, compiled: Compiled, begun: &Begun) -> Result<(), Failure> {
        let begin = Instant::now();
        let result = self.link_and_install(module, compiled, begun);
        self.phases().install += begin.elapsed();
        result
    }
}

impl Inner {
    fn link_and_install(&self, module: ModuleId, compiled: Compiled, begun: &Begun) -> Result<(), Failure> {
        let link_failure = |error: &dyn std::fmt::Display| Failure::Link(error.to_string());
        // Nothing is compiled from it any more.
        let module = &*self.module(module).ok_or(Failure::Stale)?;
        let object = compiled.object.into_bytes().map_err(|error| link_failure(&error))?;
        let mut link = versions::link();
        link.add_object(module.name.as_str(), &object);
        let mut scope = ObjectScope::new(self, module);
        let resolved = link.resolve(&mut scope);
        if let Some(owner) = scope.needs_owner {
            return Err(Failure::NeedsOwner(owner));
        }
        let resolved = resolved.map_err(|errors| Failure::Link(self.in_names_of(module, &errors.to_string())))?;
        let name = |symbol: &[u8]| module.symbol_name(symbol);
        let observed = Observed {
            object: self.options.debugger.then_some(&object[..]),
            name: self.options.perf.is_some().then_some(&name),
        };
        let filled = place::fill(self, resolved, &observed)
            .map_err(|error| Failure::Link(self.in_names_of(module, &error.to_string())))?;
        let has_lines = *module.has_lines.get_or_init(|| crate::lines::has_lines(&object));
        let mut made = MadeBodies::default();
        for function in &compiled.functions {
            let name = symbol::name(Id::Function(*function));
            let Some(definition) = filled.linked.symbol(name.as_bytes()) else { continue };
            made.functions.extend(definition.location.address().map(|body| (*function, body, definition.size)));
        }
        for global in &compiled.globals {
            let name = symbol::name(Id::Global(*global));
            let address = filled.linked.symbol(name.as_bytes()).and_then(|d| d.location.address());
            made.globals.extend(address.map(|address| (*global, address)));
        }
        // What a quick compile brings along it neither inlines nor looks into.
        let quick = begun.by == CompiledBy::Optimizer(Pipeline::Quick);
        let looked_into = |function: &&FunctionId| !quick || !compiled.functions.contains(function);
        made.visible.extend(compiled.visible.iter().filter(looked_into));
        let lines = has_lines.then(|| Arc::from(&object[..]));
        self.install_filled(module, &made, lines, filled, begun)
    }

    /// Publishes a filled link and makes it the code of its functions. `object` has its line tables.
    pub(crate) fn install_filled(
        &self,
        module: &LoadedModule,
        made: &MadeBodies,
        object: Option<Arc<[u8]>>,
        filled: Filled<'_>,
        begun: &Begun,
    ) -> Result<(), Failure> {
        filled.publish_with(|linked, reservation, records| {
            let mut entries = Entries::default();
            entries.fill(self.table(), module, made, versions::branches(linked));
            self.install_bodies(module, made, object, Ready { reservation, records, entries: &entries }, begun)
        })
    }

    /// Publishes what a compile made, and makes it the code of its functions. `object` has its line tables.
    pub(crate) fn install_bodies(
        &self,
        module: &LoadedModule,
        made: &MadeBodies,
        object: Option<Arc<[u8]>>,
        ready: Ready<'_>,
        begun: &Begun,
    ) -> Result<(), Failure> {
        let Ready { reservation, records, entries } = ready;
        let Entries { bodies, sites, unpatchable, visible } = entries;
        let unpatchable = *unpatchable;
        let unit = Unit { reservation, records, bodies, sites, unpatchable, visible, epoch: begun.epoch };
        let installed = self.versions().install(unit, begun.mode);
        let installed = match installed {
            Ok(installed) => installed,
            Err(InstallError::Stale(_)) => return Err(Failure::Stale),
            Err(error) => return Err(Failure::Link(error.to_string())),
        };
        let Some(unit) = installed.unit else { return Ok(()) };
        // Code of other functions may refer to a table of labels from here on.
        let bound: Vec<_> =
            made.globals.iter().filter(|(global, address)| module.bind_owned_global(*global, *address)).collect();
        if !bound.is_empty() {
            self.versions().pin(unit).keep();
        }
        let mut code = self.code.lock();
        for (function, body, bytes) in &made.functions {
            let table = || made.table(*function).cloned().map(Lines::Table);
            code.add(*body, *bytes, module.id, *function, object.clone().map(Lines::Object).or_else(table));
        }
        drop(code);
        self.note_installed(module, &installed, bodies, begun);
        if let Some(sink) = &begun.installed {
            *sink.lock().unwrap_or_else(PoisonError::into_inner) = installed;
        }
        Ok(())
    }
}

/// Linked code that is not published yet.
pub(crate) struct Ready<'r> {
    pub(crate) reservation: Reservation,
    pub(crate) records: Records<'r>,
    pub(crate) entries: &'r Entries,
}

/// What a link of compiled functions defines.
#[derive(Debug, Default)]
pub(crate) struct MadeBodies {
    /// Functions, where they begin, and how long they are.
    pub(crate) functions: Vec<(FunctionId, ExecutorAddr, u64)>,
    /// Lines of those that the first tier made.
    pub(crate) tables: Vec<(FunctionId, LineTable)>,
    /// Globals that belong to a version, because they hold label addresses.
    pub(crate) globals: Vec<(GlobalId, ExecutorAddr)>,
    /// Other functions whose bodies the compile could see.
    pub(crate) visible: Vec<FunctionId>,
}

impl MadeBodies {
    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        let Self { functions, tables, globals, visible } = self;
        functions.clear();
        tables.clear();
        globals.clear();
        visible.clear();
    }

    /// The first tier's line table of `function`.
    pub(crate) fn table(&self, function: FunctionId) -> Option<&LineTable> {
        self.tables.iter().find(|(of, _)| *of == function).map(|(_, table)| table)
    }
}

/// Writes `message` and ends the process where it cannot go on. `exit` handlers are the program's code, which must not
/// run here: the thread may hold any of the program's locks.
pub(crate) fn end(message: &str) -> ! {
    // SAFETY: a plain write of a live buffer and the end of the process.
    unsafe {
        libc::write(2, message.as_ptr().cast(), message.len());
        libc::_exit(EXIT_NO_CODE)
    }
}

/// What the symbols of one module's objects mean.
pub(crate) struct ObjectScope<'e> {
    engine: &'e Inner,
    module: &'e LoadedModule,
    /// A function that must be compiled first, because it owns a table of label addresses.
    needs_owner: Option<FunctionId>,
}

impl<'e> ObjectScope<'e> {
    pub(crate) fn new(engine: &'e Inner, module: &'e LoadedModule) -> Self {
        Self { engine, module, needs_owner: None }
    }

    pub(crate) fn needs_owner(&self) -> Option<FunctionId> {
        self.needs_owner
    }

    fn find(&mut self, name: &[u8]) -> Option<External> {
        match symbol::parse(name) {
            Some(id) => self.find_id(id),
            None => self.engine.session().find(name),
        }
    }

    fn find_id(&mut self, id: Id) -> Option<External> {
        let module = self.module;
        match id {
            Id::Function(function) => {
                let record = module.bitcode.functions().get(function.0 as usize)?;
                let find = || self.engine.session().find(module.bitcode.str(record.symbol.name));
                module.functions.get_or_set(function.0, find)
            }
            Id::Global(global) => {
                let record = module.bitcode.globals().get(global.0 as usize)?;
                if let Some(owner) = module.bitcode.block_address_owner(global)
                    && !module.globals.is_set(global.0)
                {
                    self.needs_owner = Some(owner);
                    return None;
                }
                let find = || self.engine.session().find(module.bitcode.str(record.symbol.name));
                module.globals.get_or_set(global.0, find)
            }
            Id::Alias(alias) => module.aliases.bound(alias),
        }
    }
}

impl Scope for ObjectScope<'_> {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        self.find(name).map(|found| self.engine.near(found))
    }

    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        self.stub_of_id(symbol::parse(name)?, name)
    }

    fn lookup_id(&mut self, id: Id, _: &[u8]) -> Option<External> {
        self.find_id(id).map(|found| self.engine.near(found))
    }

    fn stub_of_id(&mut self, id: Id, _: &[u8]) -> Option<ExecutorAddr> {
        let Id::Function(function) = id else { return None };
        Some(self.engine.table().stub(self.module.index_of(function)?))
    }
}

impl Inner {
    /// What is in reach of all code is said to be: most of what code refers to, and no slot and no stub are set aside for it.
    pub(crate) fn near(&self, found: External) -> External {
        match found {
            External::Function(address) | External::Data(address) if self.cache.reaches(address) => {
                External::Near(address)
            }
            far => far,
        }
    }

    /// `text` with the module's own names in place of id symbols.
    pub(crate) fn in_names_of(&self, module: &LoadedModule, text: &str) -> String {
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("kiln$") {
            named.push_str(&rest[..at]);
            let digits = rest[at + 6..].bytes().take_while(u8::is_ascii_digit).count();
            let word = &rest[at..at + 6 + digits];
            match symbol::parse(word.as_bytes()) {
                Some(Id::Function(function)) => named.push_str(&module.function_name(function)),
                Some(Id::Global(global)) => match module.bitcode.globals().get(global.0 as usize) {
                    Some(record) => named.push_str(&String::from_utf8_lossy(module.bitcode.str(record.symbol.name))),
                    None => named.push_str(word),
                },
                _ => named.push_str(word),
            }
            rest = &rest[at + word.len()..];
        }
        named.push_str(rest);
        named
    }
}
