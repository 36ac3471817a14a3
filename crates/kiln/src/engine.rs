//! The engine: what is loaded, where it lies, and how it starts and ends.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use kiln_abi::{ExecutorAddr, FunctionId};
use kiln_codecache::{CodeCache, Mapper};
use kiln_dispatch::{Frozen, FunctionIndex, FunctionTable, Reclaimed, Versions};
use kiln_link::External;
use kiln_remote::{Log, ModuleId, Spawner};

use crate::baseline::{self, Baseline};
use crate::code::{Bodies, Code};
use crate::compiler::{Compiler, CompilerOptions, State};
use crate::error::Error;
use crate::function::{Function, Signature};
use crate::handle::Owners;
use crate::history::History;
use crate::input::Input;
use crate::lineage::Lineage;
use crate::module::LoadedModule;
use crate::options::{Options, PerfFormat};
use crate::process::fork::{self, Forking};
use crate::process::signals::Blocked;
use crate::process::start::{self, Arguments};
use crate::process::{crash, host};
use crate::reclaim::Reclamation;
use crate::resolve::end;
use crate::session::Session;
use crate::statistics::{Phases, Statistics};
use crate::{load, signature};

/// A session: code and data of one program in this process.
///
/// A session lives as long as the process, unless it is [closed](Engine::close): stubs are addresses that the program may hold
/// anywhere, so dropping this value frees nothing. Several engines can live side by side; crash reports and the handling of `fork` belong to the first.
///
/// # Example
///
/// ```no_run
/// use kiln::{Engine, Input, Options};
///
/// let engine = Engine::new(Options::default())?;
/// engine.load(&[Input::File("sum.bc".into())])?;
/// let sum = engine.function::<unsafe extern "C" fn(i32, i32) -> i32>("sum")?;
/// // SAFETY: `sum` in sum.bc only adds its arguments.
/// assert_eq!(unsafe { sum.pointer()(1, 2) }, 3);
/// # Ok::<(), kiln::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Engine {
    inner: &'static Inner,
}

/// What all threads share.
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) cache: CodeCache,
    pub(crate) baseline: Baseline,
    pub(crate) compiler: Compiler,
    pub(crate) code: Code,
    pub(crate) start: Mutex<Start>,
    pub(crate) phases: Mutex<Phases>,
    pub(crate) history: Mutex<History>,
    /// Retired bytes from which all threads are looked at.
    pub(crate) reclaim_at: AtomicU64,
    pub(crate) reclamation: Mutex<Reclamation>,
    pub(crate) owners: Owners,
    pub(crate) last_reclaimed: Mutex<Reclaimed>,
    session: Mutex<Session>,
    /// By the first generation; there is one once a second generation was compared.
    lineages: Mutex<HashMap<ModuleId, Lineage>>,
    /// In the order of [`LoadedModule::place`].
    modules: RwLock<Vec<Arc<LoadedModule>>>,
    table: OnceLock<&'static FunctionTable>,
    versions: OnceLock<Versions>,
}

/// Functions to call before `main` and at exit.
#[derive(Debug, Default)]
pub(crate) struct Start {
    pub(crate) constructors: Vec<ExecutorAddr>,
    pub(crate) destructors: Vec<ExecutorAddr>,
    /// What constructors get; set once the program runs, and then constructors of later loads run at once.
    pub(crate) arguments: Option<Arguments>,
}

/// The engine whose crashes, forks and exit this process reports and handles.
static FIRST: OnceLock<&'static Inner> = OnceLock::new();

impl Engine {
    /// Makes an engine. Its optimizer is started when something needs it.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] where the operating system gives no address space or executable memory.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with_cache(options, CodeCache::new)
    }

    /// Makes an engine whose code and data lie in memory that `mapper` provides; [`Options::reservation_bytes`] and
    /// [`Options::low_2gib`] say nothing then.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] where the mapper's memory cannot be used.
    pub fn with_mapper(options: Options, mapper: Box<dyn Mapper>) -> Result<Self, Error> {
        Self::with_cache(options, |options| CodeCache::with_mapper(mapper, options))
    }

    fn with_cache(
        options: Options,
        cache: impl FnOnce(&kiln_codecache::Options) -> Result<CodeCache, kiln_codecache::Error>,
    ) -> Result<Self, Error> {
        let begin = Instant::now();
        let optimizer = options.find_optimizer();
        let spawner = optimizer.as_deref().map(|path| Spawner::new(path, &Log::from_env()));
        let compiler = Compiler::new(CompilerOptions {
            optimizer,
            spawner,
            timeout: options.compile_timeout,
            pipeline: options.pipeline,
            neighbours: options.neighbours(),
        });
        let mut cache_options =
            kiln_codecache::Options::new().low_2gib(options.low_2gib).quarantine(options.quarantine_bytes);
        cache_options = cache_options.breakpoints(options.debugger);
        cache_options = match options.perf {
            Some(PerfFormat::Map) => cache_options.perf_map(true),
            Some(PerfFormat::Jitdump) => cache_options.jitdump(Some(".".into())),
            None => cache_options,
        };
        if let Some(bytes) = options.reservation_bytes {
            cache_options = cache_options.size(bytes);
        }
        let cache = cache(&cache_options)?;
        let inner: &'static Inner = Box::leak(Box::new(Inner {
            reclaim_at: AtomicU64::new(options.reclaim_threshold()),
            options,
            cache,
            baseline: Baseline::default(),
            compiler,
            code: Code::default(),
            start: Mutex::default(),
            phases: Mutex::default(),
            history: Mutex::default(),
            reclamation: Mutex::default(),
            owners: Owners::default(),
            last_reclaimed: Mutex::default(),
            session: Mutex::default(),
            lineages: Mutex::default(),
            modules: RwLock::default(),
            table: OnceLock::new(),
            versions: OnceLock::new(),
        }));
        let table = FunctionTable::new(&inner.cache, inner).map_err(Error::Stubs)?;
        inner.table.get_or_init(|| table);
        inner.versions.get_or_init(|| Versions::new(table, &inner.cache));
        load::prepare(inner)?;
        if inner.options.replaceable || inner.options.code_limit.is_some() {
            // Before the program can ask for the highest real-time signal. Where there is none, scans say so.
            let _ = kiln_dispatch::scan::prepare();
        }
        if FIRST.set(inner).is_ok() {
            fork::register(inner);
        }
        inner.phases().setup += begin.elapsed();
        Ok(Self { inner })
    }

    pub(crate) fn inner(&self) -> &'static Inner {
        self.inner
    }

    /// Loads `inputs` together, in a linker's order: names are resolved, data is initialised, and every function of a
    /// bitcode module gets its stub. No function of a bitcode module is compiled, except resolvers of ifuncs.
    ///
    /// Constructors run when [`Program::run`] starts the program, or at once if it runs already.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the inputs; nothing of them is defined then.
    pub fn load(&self, inputs: &[Input]) -> Result<(), Error> {
        load::load(self.inner, inputs)
    }

    /// The address of a function or variable of the session, by its symbol name: for a function of bitcode its stub.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<ExecutorAddr> {
        let _blocked = Blocked::all();
        self.inner.session().definition(name.as_bytes()).and_then(External::address)
    }

    /// The function `name` of a loaded bitcode module, its signature compared with `S`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] and [`Error::Signature`].
    pub fn function<S: Signature>(&self, name: &str) -> Result<Function<S>, Error> {
        let address = self.lookup(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
        let found = self.inner.table().index_of(address).and_then(|index| self.inner.function_at(index));
        let Some((module, function)) = found else { return Err(Error::NotFound { name: name.to_owned() }) };
        signature::check::<S>(name, &module.bitcode, function)?;
        Ok(Function::new(address))
    }

    /// The names of all functions with bodies in loaded bitcode, in the order of their numbers in the session.
    #[must_use]
    pub fn function_names(&self) -> Vec<String> {
        let modules = self.inner.modules();
        let mut names = Vec::new();
        for (index, function, module) in modules.iter().flat_map(|m| m.own().map(move |(index, f)| (index, f, m))) {
            let number = index.0 as usize;
            names.resize(names.len().max(number + 1), String::new());
            names[number] = module.function_name(function);
        }
        names
    }

    /// The program, ready to run: `main` and its `arguments` (the program's name first).
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if nothing loaded defines `main`.
    pub fn program(&self, arguments: Vec<CString>) -> Result<Program, Error> {
        let main = self.lookup("main").ok_or_else(|| Error::NotFound { name: "main".to_owned() })?;
        Ok(Program { inner: self.inner, main, arguments: Arguments::new(arguments) })
    }

    /// From now on a fault in compiled code is reported with function and line before the process dies of it.
    pub fn report_crashes(&self) {
        crash::install(describe);
    }

    /// Prints [`Engine::statistics`] to stderr when the process exits.
    pub fn report_statistics_at_exit(&self) {
        host::at_exit(print_statistics);
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let _blocked = Blocked::all();
        Statistics::of(self.inner)
    }
}

/// A program about to run.
///
/// Plain values: `pthread_exit` in `main` unwinds through the frame that runs it, which may hold nothing to drop. The
/// caller's frames should not either.
#[derive(Clone, Copy)]
pub struct Program {
    inner: &'static Inner,
    main: ExecutorAddr,
    arguments: Arguments,
}

impl Program {
    /// Runs the program: constructors, `main`, `exit` with its value.
    pub fn run(self) -> ! {
        self.inner.run_constructors(self.arguments);
        // SAFETY: `main` is the program's definition of that name, and C fixes its signature.
        unsafe { start::run_main(self.main, self.arguments) }
    }
}

impl Inner {
    pub(crate) fn table(&self) -> &'static FunctionTable {
        self.table.get().expect("set before the engine is handed out")
    }

    pub(crate) fn versions(&self) -> &Versions {
        self.versions.get().expect("set before the engine is handed out")
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lineages(&self) -> MutexGuard<'_, HashMap<ModuleId, Lineage>> {
        self.lineages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phases(&self) -> MutexGuard<'_, Phases> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(&self) -> MutexGuard<'_, Start> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn modules(&self) -> RwLockWriteGuard<'_, Vec<Arc<LoadedModule>>> {
        self.modules.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn module(&self, id: ModuleId) -> Option<Arc<LoadedModule>> {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        modules.iter().find(|module| module.id == id).cloned()
    }

    /// Makes modules part of the session. They lie in the order of their functions in the table, whoever comes first.
    pub(crate) fn admit_modules(&self, new: impl IntoIterator<Item = Arc<LoadedModule>>) {
        let mut modules = self.modules();
        for module in new {
            let at = modules.partition_point(|other| other.place() < module.place());
            modules.insert(at, module);
        }
    }

    /// The function behind a stub.
    pub(crate) fn function_at(&self, index: FunctionIndex) -> Option<(Arc<LoadedModule>, FunctionId)> {
        let source = self.history().source(index);
        if let Some((module, function)) = source {
            return Some((self.module(module)?, function));
        }
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        let at = modules.partition_point(|module| module.first <= index).checked_sub(1)?;
        let module = &modules[at];
        Some((module.clone(), module.function_at(index)?))
    }

    /// What people call the function behind a stub.
    pub(crate) fn name_of(&self, index: FunctionIndex) -> String {
        match self.function_at(index) {
            Some((module, function)) => module.function_name(function),
            None => {
                let stub = self.table().stub(index);
                let name = self.session().name_of(stub);
                name.unwrap_or_else(|| format!("the function at {stub}"))
            }
        }
    }

    /// Runs the constructors that wait, and has destructors run at exit.
    pub(crate) fn run_constructors(&self, arguments: Arguments) {
        let constructors = {
            let _blocked = Blocked::all();
            let mut start = self.start();
            if start.arguments.is_none() {
                // Before the first constructor, so that it runs after every handler that the program registers.
                host::at_exit(run_destructors);
            }
            start.arguments = Some(arguments);
            std::mem::take(&mut start.constructors)
        };
        // SAFETY: the linker made the list from arrays of constructors; the code is published.
        unsafe { start::run_constructors(&constructors, arguments) };
    }
}

extern "C" fn run_destructors(_: *mut c_void) {
    let Some(inner) = FIRST.get() else { return };
    let destructors = {
        let _blocked = Blocked::all();
        std::mem::take(&mut inner.start().destructors)
    };
    // SAFETY: the linker made the list from arrays of destructors; the code is published.
    unsafe { start::run_destructors(&destructors) };
}

extern "C" fn print_statistics(_: *mut c_void) {
    let _blocked = Blocked::all();
    let Some(inner) = FIRST.get() else { return };
    let text = Statistics::of(inner).to_string();
    // SAFETY: a plain write of a live buffer; Rust's stderr would take a lock that a killed thread may hold.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// What a crash report says about an address.
fn describe(address: ExecutorAddr) -> Option<String> {
    let inner = FIRST.get()?;
    let found = inner.code.try_find(address)?;
    let module = inner.module(found.module)?;
    let name = module.function_name(found.function);
    Some(match inner.code.try_line(&module, found, address) {
        Some(line) => format!("{name} at {line}"),
        None => format!("{name} ({}+{:#x})", module.name, address.offset_from(found.body)),
    })
}

/// Every lock of the engine, held by a thread that forks.
struct Guards {
    _modules: RwLockWriteGuard<'static, Vec<Arc<LoadedModule>>>,
    _lineages: MutexGuard<'static, HashMap<ModuleId, Lineage>>,
    _session: MutexGuard<'static, Session>,
    _baseline: MutexGuard<'static, baseline::State>,
    reclamation: MutexGuard<'static, Reclamation>,
    versions: Frozen<'static>,
    _code: MutexGuard<'static, Bodies>,
    _start: MutexGuard<'static, Start>,
    _phases: MutexGuard<'static, Phases>,
    _history: MutexGuard<'static, History>,
    _last_reclaimed: MutexGuard<'static, Reclaimed>,
    compiler: MutexGuard<'static, State>,
}

thread_local! {
    // No destructor: registering one would call libc's malloc inside a fork handler.
    static GUARDS: Cell<Option<ManuallyDrop<Guards>>> = const { Cell::new(None) };
}

impl Forking for Inner {
    fn before(&self) {
        crate::process::lease::copy_all();
        let inner: &'static Inner = FIRST.get().expect("only the first engine is registered");
        // In the order in which a compile takes them.
        let guards = Guards {
            _lineages: inner.lineages(),
            compiler: inner.compiler.lock(),
            _modules: inner.modules(),
            _session: inner.session(),
            _baseline: inner.baseline.lock(),
            reclamation: inner.reclamation(),
            versions: inner.versions().freeze(),
            _code: inner.code.lock(),
            _start: inner.start(),
            _phases: inner.phases(),
            _history: inner.history(),
            _last_reclaimed: inner.last_reclaimed(),
        };
        inner.cache.before_fork();
        GUARDS.set(Some(ManuallyDrop::new(guards)));
    }

    fn in_parent(&self) {
        self.cache.after_fork_in_parent();
        drop(GUARDS.take().map(ManuallyDrop::into_inner));
    }

    fn in_child(&self) {
        if let Err(error) = self.cache.after_fork_in_child() {
            // The code it would run belongs to its parent, which may change it at any time.
            end(&format!("kiln: error: a forked child cannot have its own code: {error}\n"));
        }
        kiln_dispatch::fork_child_reset();
        if let Some(guards) = GUARDS.take() {
            let Guards { mut compiler, mut reclamation, versions, .. } = ManuallyDrop::into_inner(guards);
            *reclamation = Reclamation::Idle;
            self.compiler.reset_in_child(&mut compiler);
            self.versions().reset_in_child(versions);
        }
    }
}
