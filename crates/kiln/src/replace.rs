//! Replacing functions of a running program: by objects, by IR, by better code of the same meaning.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, Pipeline};
use kiln_dispatch::{Body, FunctionIndex, Installed, Mode, RetiredVersion, Unit};
use kiln_link::{External, Scope};
use kiln_remote::{ModuleId, Neighbours};

use crate::compiler::{Begun, Failure, Job, Sink};
use crate::engine::{Engine, Inner};
use crate::error::Error;
use crate::history::{History, Origin, Source, VersionRecord};
use crate::labels;
use crate::module::LoadedModule;
use crate::place::{self, Observed};
use crate::process::signals::Blocked;
use crate::reclaim::frame_of;
use crate::versions;

/// What a redefinition did.
#[derive(Clone)]
pub struct Redefined {
    inner: &'static Inner,
    /// The functions, and the numbers of their new versions.
    versions: Vec<(String, u32)>,
    retired: Vec<RetiredVersion>,
    /// Functions that will be compiled again, because they had inlined an old body or relied on it.
    invalidated: usize,
}

/// A thread that is still inside an old version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// The thread's id; `None` for stacks that no thread is on, of which not all can be found.
    pub thread: Option<u32>,
    /// The function whose old version it is in.
    pub function: String,
    /// The version's number.
    pub number: u32,
    /// Whether it was seen there. If not, the thread could not be looked at, and may be in any old version.
    pub seen: bool,
}

impl Engine {
    /// Gives functions a new meaning: those called `names` get the bodies that the object file `object` defines under
    /// these names. When this returns, every new entry, from any thread, has the new meaning; code that had inlined or
    /// inferred anything from an old body is compiled again when it is called.
    ///
    /// Other names that the object defines are left alone where the session has them, and added where it has not. Data
    /// that the object defines under a name of the session is not replaced: references bind to what there is.
    ///
    /// Several names change together: no thread can enter a new body and then an old one.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a name without a stub (see [`Options::replaceable`](crate::Options::replaceable)) or one that
    /// the object does not define; [`Error::Link`] and [`Error::Memory`]. Everything is as before then.
    pub fn redefine_from_object(&self, names: &[&str], object: &[u8]) -> Result<Redefined, Error> {
        let entry = 0u8;
        let _blocked = Blocked::all();
        let result = self.inner().redefine_from_object(names, object);
        self.inner().reclaim_if_much(Some(frame_of(&entry)));
        result
    }

    /// Compiles functions again, with the same meaning, and installs the result. Callers are not stopped; who is inside the
    /// old code finishes there.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for names that have no IR: what came in objects, or was redefined by one.
    /// [`Error::Replace`] where the compile fails. Everything is as before then.
    pub fn reoptimise(&self, names: &[&str], pipeline: Pipeline) -> Result<Redefined, Error> {
        let entry = 0u8;
        let _blocked = Blocked::all();
        let inner = self.inner();
        // Those that no other compile may look into, each by itself.
        let mut jobs: BTreeMap<(ModuleId, Option<FunctionId>), Vec<FunctionId>> = BTreeMap::new();
        for name in names {
            let (module, function) = inner.ir_of(name)?;
            inner.stub_named(name).map_or(Ok(()), |index| inner.check_labels(index))?;
            let alone = inner.history().is_closed(module, function).then_some(function);
            jobs.entry((module, alone)).or_default().push(function);
        }
        let mut result = Redefined::nothing(inner);
        for ((module, _), roots) in jobs {
            let neighbours = Neighbours::NONE;
            result.add(inner.replace_by_ir(Job {
                module,
                roots,
                pipeline,
                neighbours,
                mode: Mode::Reoptimise,
                installed: None,
                alone: None,
            })?);
        }
        inner.reclaim_if_much(Some(frame_of(&entry)));
        Ok(result)
    }

    /// Makes an earlier version's meaning current again; it gets a new number. What the version was made of is remembered
    /// for the last [`Options::history`](crate::Options::history) versions.
    ///
    /// # Errors
    ///
    /// [`Error::NoVersion`], and those of a redefinition.
    pub fn rollback(&self, name: &str, number: u32) -> Result<Redefined, Error> {
        let entry = 0u8;
        let _blocked = Blocked::all();
        let result = self.inner().rollback(name, number);
        self.inner().reclaim_if_much(Some(frame_of(&entry)));
        result
    }

    /// Takes the code of functions away: the next call of each compiles it again. For the program nothing changes.
    /// Functions that came in objects or keep addresses of their labels, and names that are no functions, stay.
    pub fn evict(&self, names: &[&str]) {
        let entry = 0u8;
        let _blocked = Blocked::all();
        let inner = self.inner();
        let functions = names.iter().filter_map(|name| inner.stub_named(name));
        let compiled: Vec<_> = functions.filter(|function| inner.can_be_made_again(*function)).collect();
        inner.versions().invalidate(&compiled);
        inner.reclaim_if_much(Some(frame_of(&entry)));
    }

    /// The last versions of a function, the oldest first; at most [`Options::history`](crate::Options::history).
    #[must_use]
    pub fn history(&self, name: &str) -> Vec<VersionRecord> {
        let _blocked = Blocked::all();
        let inner = self.inner();
        inner.stub_named(name).map_or_else(Vec::new, |function| inner.history().of(function))
    }

    /// The address of the current body of a function, which changes with every version; for tools that show code.
    #[must_use]
    pub fn body(&self, name: &str) -> Option<(kiln_abi::ExecutorAddr, u64)> {
        let _blocked = Blocked::all();
        let inner = self.inner();
        let version = inner.versions().current(inner.stub_named(name)?)?;
        Some((version.start, version.bytes))
    }
}

impl std::fmt::Debug for Redefined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redefined").field("versions", &self.versions).finish_non_exhaustive()
    }
}

impl Redefined {
    pub(crate) fn nothing(inner: &'static Inner) -> Self {
        Self { inner, versions: Vec::new(), retired: Vec::new(), invalidated: 0 }
    }

    fn add(&mut self, other: Redefined) {
        self.versions.extend(other.versions);
        self.retired.extend(other.retired);
        self.invalidated += other.invalidated;
    }

    /// The functions that were replaced, and the numbers of their new versions.
    #[must_use]
    pub fn versions(&self) -> &[(String, u32)] {
        &self.versions
    }

    /// How many other functions lost their code because they had inlined an old body or relied on it.
    #[must_use]
    pub fn invalidated(&self) -> usize {
        self.invalidated
    }

    /// Threads that are inside an old version right now, or inside code that inlined one. They finish what they began with
    /// the old meaning.
    ///
    /// Looks at all threads: tens of microseconds per thread.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let entry = 0u8;
        self.inner.pending(&self.retired, frame_of(&entry))
    }

    /// Waits until no thread is inside an old version; `false` if one still is after `timeout`.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut pause = Duration::from_micros(50);
        loop {
            if self.pending().is_empty() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Nothing tells when a thread leaves a function: ask less and less often.
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Inner {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The function whose stub the session knows by `name`.
    pub(crate) fn stub_named(&self, name: &str) -> Option<FunctionIndex> {
        self.stub_of(name.as_bytes())
    }

    /// The same for a name that need not be text.
    pub(crate) fn stub_of(&self, name: &[u8]) -> Option<FunctionIndex> {
        let address = self.session().definition(name).and_then(External::address)?;
        self.table().index_of(address)
    }

    /// The IR that a function is compiled from.
    fn ir_of(&self, name: &str) -> Result<(ModuleId, FunctionId), Error> {
        let not_found = || Error::NotFound { name: name.to_owned() };
        let function = self.stub_named(name).ok_or_else(not_found)?;
        let (module, id) = self.function_at(function).ok_or_else(not_found)?;
        if self.history().opaque(module.id).contains(&id) { Err(not_found()) } else { Ok((module.id, id)) }
    }

    /// Whether the code of a function can be taken away, because the next call makes it again.
    pub(crate) fn can_be_made_again(&self, function: FunctionIndex) -> bool {
        let Some((module, id)) = self.function_at(function) else { return false };
        !self.history().opaque(module.id).contains(&id) && !labels::escape(&module, id)
    }

    fn rollback(&'static self, name: &str, number: u32) -> Result<Redefined, Error> {
        let function = self.stub_named(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
        let found = self.history().of(function).into_iter().find(|record| record.number == number);
        let record = found.ok_or_else(|| Error::NoVersion { name: name.to_owned(), number })?;
        self.check_labels(function)?;
        match record.source {
            Source::Object(object) => self.redefine_from_object(&[name], &object),
            Source::Module(module, id) => {
                let (pipeline, neighbours) = (self.options.pipeline, Neighbours::NONE);
                let (roots, mode) = (vec![id], Mode::Redefine);
                let job = Job { module, roots, pipeline, neighbours, mode, installed: None, alone: None };
                self.replace_by_ir(job)
            }
        }
    }

    /// Does a job that replaces functions.
    pub(crate) fn replace_by_ir(&'static self, mut job: Job) -> Result<Redefined, Error> {
        let sink = Sink::default();
        job.installed = Some(sink.clone());
        let (module_id, roots, mode) = (job.module, job.roots.clone(), job.mode);
        loop {
            let gone = || Error::Replace("the source of this version is gone".to_owned());
            let module = self.module(module_id).ok_or_else(gone)?;
            match self.compiler.run(job.clone(), self) {
                Ok(()) => break,
                Err(Failure::Stale) => {}
                Err(Failure::NeedsOwner(owner)) => self.compile_owner(&module, owner, 0).map_err(replace_error)?,
                Err(failure) => return Err(replace_error(failure)),
            }
        }
        let installed = std::mem::take(&mut *sink.lock().unwrap_or_else(PoisonError::into_inner));
        if mode == Mode::Redefine {
            self.module(module_id).inspect(|module| self.adopt_sources(module, &roots));
        }
        Ok(self.redefined(installed))
    }

    /// Functions of `module` that are compiled from other modules' bodies: the ones here may mean something else.
    pub(crate) fn superseded(&self, module: &LoadedModule) -> Vec<FunctionId> {
        let history = self.history();
        let is_other = |function: &FunctionId| {
            let Some(index) = module.index_of(*function) else { return false };
            match history.source(index) {
                Some(source) => source != (module.id, *function),
                None => module.function_at(index) != Some(*function),
            }
        };
        module.defined.iter().copied().filter(is_other).collect()
    }

    /// Says that `functions` of `module` are compiled from its bodies from now on.
    pub(crate) fn adopt_sources(&self, module: &LoadedModule, functions: &[FunctionId]) {
        for function in functions {
            let Some(index) = module.index_of(*function) else { continue };
            let old = self.function_at(index);
            let mut history = self.history();
            if let Some((old, id)) = old {
                history.set_opaque(old.id, id, true);
                if history.is_closed(old.id, id) {
                    history.close(module.id, *function);
                }
            }
            history.set_source(index, module.id, *function);
        }
    }

    /// What an install means to the client.
    pub(crate) fn redefined(&'static self, installed: Installed) -> Redefined {
        let names: Vec<_> = installed.versions.iter().map(|(function, _)| self.name_of(*function)).collect();
        self.redefined_as(names, installed)
    }

    /// The same, where the client has named the functions.
    fn redefined_as(&'static self, names: Vec<String>, installed: Installed) -> Redefined {
        let numbers = installed.versions.iter().map(|(_, number)| *number);
        Redefined {
            inner: self,
            versions: names.into_iter().zip(numbers).collect(),
            invalidated: installed.invalidated.len(),
            retired: installed.retired,
        }
    }

    #[inline(never)]
    fn redefine_from_object(&'static self, names: &[&str], object: &[u8]) -> Result<Redefined, Error> {
        let begun = Instant::now();
        let mut link = versions::link();
        link.add_object("redefinition", object);
        let mut scope = ReplacementScope { inner: self };
        let resolved = link.resolve(&mut scope).map_err(|errors| Error::Link(errors.to_string()))?;
        let name = |symbol: &[u8]| symbol.to_vec();
        let observed = Observed {
            object: self.options.debugger.then_some(object),
            name: self.options.perf.is_some().then_some(&name),
        };
        let filled = place::fill(self, resolved, &observed)?;
        let mut bodies = Vec::with_capacity(names.len());
        for name in names {
            let not_found = || Error::NotFound { name: (*name).to_owned() };
            let function = self.stub_named(name).ok_or_else(not_found)?;
            self.check_labels(function)?;
            let definition = filled.linked.symbol(name.as_bytes()).ok_or_else(not_found)?;
            let address = definition.location.address().ok_or_else(not_found)?;
            bodies.push(Body { function, address, bytes: definition.size });
        }
        let installed = filled.publish_with(|linked, reservation, records| {
            let (sites, unpatchable) = versions::sites(self.table(), versions::branches(linked), &bodies);
            let (bodies, sites) = (&bodies[..], &sites[..]);
            let unit = Unit { reservation, records, bodies, sites, unpatchable, visible: &[], epoch: 0 };
            self.versions().install(unit, Mode::Redefine)
        });
        let installed = installed?;
        let source: Arc<[u8]> = object.into();
        let sources: Vec<_> = installed.versions.iter().map(|(function, _)| self.function_at(*function)).collect();
        let mut history = self.history();
        for (((function, number), body), source_ir) in installed.versions.iter().zip(&bodies).zip(sources) {
            if let Some((module, id)) = source_ir {
                history.set_opaque(module.id, id, true);
            }
            let record = VersionRecord {
                number: *number,
                origin: Origin::Object,
                installed: Instant::now(),
                took: begun.elapsed(),
                bytes: body.bytes,
                source: Source::Object(source.clone()),
            };
            history.add(*function, record, self.options.history);
        }
        drop(history);
        Ok(self.redefined_as(names.iter().map(|name| (*name).to_owned()).collect(), installed))
    }

    /// Remembers what a compile installed.
    pub(crate) fn note_installed(&self, module: &LoadedModule, installed: &Installed, bodies: &[Body], begun: &Begun) {
        for (function, number) in &installed.versions {
            let Some(id) = module.function_with(*function) else { continue };
            let bytes = bodies.iter().find(|body| body.function == *function).map_or(0, |body| body.bytes);
            let record = VersionRecord {
                number: *number,
                origin: match begun.mode {
                    Mode::Offer => Origin::FirstCall(begun.by),
                    Mode::Reoptimise => Origin::Reoptimised(begun.by),
                    Mode::Redefine => Origin::Redefined(begun.by),
                },
                installed: Instant::now(),
                took: begun.at.elapsed(),
                bytes,
                source: Source::Module(module.id, id),
            };
            self.history().add(*function, record, self.options.history);
        }
    }
}

fn replace_error(failure: Failure) -> Error {
    Error::Replace(failure.to_string())
}

/// What the symbols of an object mean that redefines functions.
struct ReplacementScope {
    inner: &'static Inner,
}

impl Scope for ReplacementScope {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        let found = self.inner.session().find(name)?;
        Some(self.inner.near(found))
    }

    fn stub(&mut self, name: &[u8]) -> Option<kiln_abi::ExecutorAddr> {
        let address = self.inner.session().definition(name).and_then(External::address)?;
        self.inner.table().index_of(address).map(|index| self.inner.table().stub(index))
    }
}
