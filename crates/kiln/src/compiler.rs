//! The engine's side of the compile protocol: many threads, one connection, no helper thread.
//!
//! A thread that needs a function sends a request and waits. Of those that wait, one at a time is the *reader*: it
//! waits for the socket without the lock, takes what arrived with the lock, and installs it, whoever asked. The others
//! sleep until the state changes. So the program's process has no thread that the program did not make: `pthread_exit`
//! in `main`, `fork` and thread counts behave as natively.
//!
//! An optimizer that dies, hangs or talks nonsense costs the connection. Every request that was under way is made
//! again on a new one, alone (without neighbours, so that a function that kills LLVM does not take others along), at most
//! [`ATTEMPTS_MAX`] times; a request whose own time limit passed fails at once.
//!
//! All of it runs with signals blocked where the program may be anywhere, and uses no libc function that allocates.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, ModuleDigest, Pipeline};
use kiln_dispatch::{Installed, Mode};
use kiln_remote::{
    Client, Compile, Compiled, Connection, Event, Failed, FailureKind, FunctionSet, Interest, ModuleId, Neighbours,
    Normalize, Normalized, OpenModule, Payload, RequestId, Spawner,
};

use crate::history::CompiledBy;
use crate::module::Bytes;

/// How often one request is made before it fails with the optimizer's death.
const ATTEMPTS_MAX: u32 = 4;

/// Where a job's install is told.
pub(crate) type Sink = Arc<Mutex<Installed>>;

/// What is to be compiled, and what for.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) module: ModuleId,
    /// What is wanted.
    pub(crate) roots: Vec<FunctionId>,
    pub(crate) pipeline: Pipeline,
    /// Whether other functions may come along.
    pub(crate) neighbours: Neighbours,
    /// Whether the code replaces what there is.
    pub(crate) mode: Mode,
    /// Who wants to know what was installed.
    pub(crate) installed: Option<Sink>,
    /// The root as a module of its own, which spares the optimizer the whole one.
    pub(crate) alone: Option<Vec<u8>>,
}

/// What was known when a compile began.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    /// Redefinitions by then.
    pub(crate) epoch: u64,
    pub(crate) at: Instant,
    pub(crate) by: CompiledBy,
    pub(crate) mode: Mode,
    pub(crate) installed: Option<Sink>,
}

/// What the compiler does with an object that arrived.
pub(crate) trait Install {
    /// Links and installs the functions of `compiled`, which belongs to `module`.
    fn install(&self, module: ModuleId, compiled: Compiled, begun: &Begun) -> Result<(), Failure>;
    /// Redefinitions so far.
    fn epoch(&self) -> u64;
    /// Functions of `module` that were redefined: nothing may be concluded from their bodies.
    fn closed_to(&self, module: ModuleId, roots: &[FunctionId]) -> Vec<FunctionId>;
    /// Whether `function` has come along with another one.
    fn is_installed(&self, module: ModuleId, function: FunctionId) -> bool;
}

/// Why a function has no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The first tier does not do it.
    #[error("{0}")]
    Baseline(kiln_baseline::CompileError),
    /// Neither does the optimizer.
    #[error("{refused}\n{source}")]
    Nobody {
        /// Why the first tier does not do it.
        refused: kiln_baseline::CompileError,
        /// Why the optimizer does not.
        source: Box<Failure>,
    },
    /// The optimizer could not be started.
    #[error("{0}")]
    NoOptimizer(String),
    /// The optimizer answered with an error.
    #[error("the optimizer: {0}")]
    Refused(String),
    /// The optimizer died each time.
    #[error("the optimizer died {attempts} times while it compiled this ({cause})")]
    Died {
        /// How often.
        attempts: u32,
        /// What the connection said last.
        cause: String,
    },
    /// The time limit passed.
    #[error("the optimizer took longer than {}", Seconds(*.0))]
    TimedOut(Duration),
    /// The object could not be linked or placed.
    #[error("{0}")]
    Link(String),
    /// A global holds label addresses of another function, which must be compiled first.
    #[error("it needs label addresses of function {}", .0.0)]
    NeedsOwner(FunctionId),
    /// A function whose body the compile saw was redefined meanwhile.
    #[error("a function was redefined while this was compiled")]
    Stale,
}

/// A duration as people write it.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s (see --compile-timeout)", self.0.as_secs_f64())
    }
}

/// How the optimizer is found, started and limited.
#[derive(Debug)]
pub(crate) struct CompilerOptions {
    /// The binary; `None` if none was found.
    pub(crate) optimizer: Option<PathBuf>,
    /// Starts it; prepared beforehand, because a restart may happen inside `malloc`.
    pub(crate) spawner: Option<Spawner>,
    /// Longest time for one request.
    pub(crate) timeout: Duration,
    /// The pipeline of lazy requests.
    pub(crate) pipeline: Pipeline,
    /// What comes along with them.
    pub(crate) neighbours: Neighbours,
}

/// A module's bytes, which outlive every connection.
#[derive(Clone, Debug)]
struct Module {
    /// Computed when an optimizer first hears of the module.
    digest: Option<ModuleDigest>,
    bitcode: Bytes,
    /// Functions that are there.
    have: FunctionSet,
    /// Whether the optimizer at the other end of the connection knows it.
    open: bool,
}

#[derive(Debug)]
enum Work {
    Compile(Job),
    Normalize { name: String, input: Bytes },
}

#[derive(Debug)]
struct Ticket {
    work: Work,
    request: Option<RequestId>,
    /// Redefinitions when the request was made, and when that was.
    begun: (u64, Instant),
    attempts: u32,
    deadline: Instant,
    outcome: Option<Result<Option<Normalized>, Failure>>,
}

/// Everything behind the lock.
#[derive(Default)]
pub(crate) struct State {
    connection: Option<Connection<Client>>,
    /// The optimizer at the other end of the connection.
    optimizer_pid: i32,
    next_request: u32,
    /// Modules are named to the optimizer before anything is asked of them.
    early: bool,
    modules: BTreeMap<ModuleId, Module>,
    next_module: u32,
    tickets: BTreeMap<u64, Ticket>,
    next_ticket: u64,
    reading: bool,
    statistics: CompilerStatistics,
}

/// What the connection did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct CompilerStatistics {
    pub(crate) requests: u64,
    /// Functions that came back from requests that did not need their module, and what was sent for them.
    pub(crate) alone: u64,
    pub(crate) alone_bytes: u64,
    pub(crate) functions: u64,
    pub(crate) instructions: u64,
    pub(crate) object_bytes: u64,
    pub(crate) restarts: u64,
    pub(crate) queued: Duration,
    pub(crate) open: Duration,
    pub(crate) extract: Duration,
    pub(crate) passes: Duration,
    pub(crate) codegen: Duration,
    pub(crate) waited: Duration,
    pub(crate) llvm_version: String,
}

/// The connection to the optimizer, shared by all threads.
pub(crate) struct Compiler {
    options: CompilerOptions,
    state: Mutex<State>,
    changed: Condvar,
}

impl Compiler {
    pub(crate) fn new(options: CompilerOptions) -> Self {
        Self { options, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The state's lock. A panic elsewhere is a bug that ends the process, so poisoning says nothing new.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the optimizer now, so that it gets ready while the program is being loaded. Failure shows at first use.
    pub(crate) fn start(&self) {
        let mut state = self.lock();
        state.early = true;
        if state.connection.is_none() {
            let _ = self.connect(&mut state);
        }
    }

    /// Makes a module known. Its bytes are sent at once if the optimizer was started early, else when they are needed.
    pub(crate) fn add_module(&self, bitcode: Bytes) -> ModuleId {
        let mut state = self.lock();
        let module = ModuleId(state.next_module);
        state.next_module += 1;
        state.modules.insert(module, Module { digest: None, bitcode, have: FunctionSet::default(), open: false });
        if state.early && state.connection.is_some() && open_module(&mut state, module).is_err() {
            state.connection = None;
        }
        module
    }

    /// Forgets modules that nobody asks for any more; an optimizer that is there too. Those stay that requests are under way
    /// for; which they were is returned.
    pub(crate) fn remove_modules(&self, modules: &[ModuleId]) -> Vec<ModuleId> {
        let mut state = self.lock();
        let is_asked_for = |module: &ModuleId| {
            state.tickets.values().any(|ticket| matches!(&ticket.work, Work::Compile(job) if job.module == *module))
        };
        let (stay, go): (Vec<_>, Vec<_>) = modules.iter().copied().partition(is_asked_for);
        for module in go {
            let removed = state.modules.remove(&module);
            let Some(Module { open: true, .. }) = removed else { continue };
            let closed = state.connection.as_mut().map(|connection| {
                connection.machine().close_module(module)?;
                connection.flush().map(drop)
            });
            if matches!(closed, Some(Err(_))) {
                state.connection = None;
            }
        }
        stay
    }

    /// How many modules are known here.
    pub(crate) fn module_count(&self) -> usize {
        self.lock().modules.len()
    }

    /// Compiles `function` for its first call and installs it, and what came along, through `install`. `alone` is the
    /// function as a module of its own, if it can be one.
    pub(crate) fn compile(
        &self,
        module: ModuleId,
        function: FunctionId,
        alone: Option<Vec<u8>>,
        install: &dyn Install,
    ) -> Result<(), Failure> {
        let (pipeline, neighbours) = (self.options.pipeline, self.options.neighbours);
        // What optimises looks at other functions and at constants.
        let alone = alone.filter(|_| pipeline == Pipeline::Quick);
        let roots = vec![function];
        self.run(Job { module, roots, pipeline, neighbours, mode: Mode::Offer, installed: None, alone }, install)
    }

    /// Does a job and installs what comes of it through `install`.
    pub(crate) fn run(&self, job: Job, install: &dyn Install) -> Result<(), Failure> {
        self.finish(Work::Compile(job), install).map(drop)
    }

    /// Rewrites `input` as bitcode that our reader takes.
    pub(crate) fn normalize(&self, name: &str, input: Bytes, install: &dyn Install) -> Result<Normalized, Failure> {
        let work = Work::Normalize { name: name.to_owned(), input };
        Ok(self.finish(work, install)?.expect("a normalize request is answered by its result"))
    }

    pub(crate) fn statistics(&self) -> CompilerStatistics {
        self.lock().statistics.clone()
    }

    fn finish(&self, work: Work, install: &dyn Install) -> Result<Option<Normalized>, Failure> {
        let begin = Instant::now();
        let mut state = self.lock();
        // Its caller may have been installed a moment ago, and it with it.
        if let Work::Compile(Job { module, roots, mode: Mode::Offer, .. }) = &work
            && roots.iter().all(|root| install.is_installed(*module, *root))
        {
            return Ok(None);
        }
        let number = state.next_ticket;
        state.next_ticket += 1;
        let deadline = begin + self.options.timeout;
        state
            .tickets
            .insert(number, Ticket { work, request: None, begun: (0, begin), attempts: 0, deadline, outcome: None });
        state.statistics.requests += 1;
        loop {
            if state.tickets[&number].outcome.is_some() {
                break;
            }
            self.send_waiting(&mut state, install)?;
            if state.reading {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.read(state, install);
        }
        let ticket = state.tickets.remove(&number).expect("only the thread that made a ticket removes it");
        state.statistics.waited += begin.elapsed();
        ticket.outcome.expect("the loop ends with an outcome")
    }

    /// Makes the request of every ticket that has none, on a new connection if need be.
    fn send_waiting(&self, state: &mut State, install: &dyn Install) -> Result<(), Failure> {
        let waiting: Vec<u64> = state
            .tickets
            .iter()
            .filter(|(_, ticket)| ticket.request.is_none() && ticket.outcome.is_none())
            .map(|(number, _)| *number)
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        for number in waiting {
            if state.connection.is_none()
                && let Err(failure) = self.connect(state)
            {
                // Nobody else's ticket can be served either; each thread reports it for its own.
                for ticket in state.tickets.values_mut().filter(|ticket| ticket.outcome.is_none()) {
                    ticket.outcome = Some(Err(failure.clone()));
                }
                self.changed.notify_all();
                return Ok(());
            }
            if let Err(cause) = self.send(state, number, install) {
                self.lose_connection(state, &cause);
            }
        }
        Ok(())
    }

    fn send(&self, state: &mut State, number: u64, install: &dyn Install) -> Result<(), String> {
        if let Work::Compile(Job { module, alone: None, .. }) = state.tickets[&number].work
            && state.modules.get(&module).is_some_and(|module| !module.open)
        {
            open_module(state, module)?;
        }
        let connection = state.connection.as_mut().expect("connected by the caller");
        let ticket = state.tickets.get_mut(&number).expect("the caller took the number from the table");
        if let Work::Compile(job) = &ticket.work
            && !state.modules.contains_key(&job.module)
        {
            // Nothing is compiled from it any more.
            ticket.outcome = Some(Err(Failure::Stale));
            self.changed.notify_all();
            return Ok(());
        }
        let request = match &ticket.work {
            Work::Compile(job) => {
                // The epoch first: what is redefined from here on makes the result stale.
                ticket.begun.0 = install.epoch();
                connection.machine().compile(Compile {
                    module: job.module,
                    roots: job.roots.clone(),
                    pipeline: job.pipeline,
                    neighbours: if ticket.attempts == 0 { job.neighbours } else { Neighbours::NONE },
                    opaque: install.closed_to(job.module, &job.roots),
                    alone: job.alone.clone(),
                })
            }
            Work::Normalize { name, input } => {
                let input = payload(input).map_err(|error| error.to_string())?;
                connection.machine().normalize(Normalize { input, name: name.clone() })
            }
        };
        ticket.request = Some(request.map_err(|error| error.to_string())?);
        ticket.attempts += 1;
        ticket.deadline = Instant::now() + self.options.timeout;
        state.next_request = connection.machine().next_request().0;
        connection.flush().map(drop).map_err(|error| error.to_string())
    }

    /// Waits for the socket as the one reader, then takes what came.
    fn read<'a>(&'a self, mut state: MutexGuard<'a, State>, install: &dyn Install) -> MutexGuard<'a, State> {
        let Some(connection) = state.connection.as_mut() else { return state };
        let interest = match connection.flush() {
            Ok(true) => Interest::Receive,
            Ok(false) => Interest::Both,
            Err(error) => {
                self.lose_connection(&mut state, &error.to_string());
                return state;
            }
        };
        let waiter = connection.waiter();
        let deadline =
            state.tickets.values().filter(|ticket| ticket.outcome.is_none()).map(|ticket| ticket.deadline).min();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        state.reading = true;
        drop(state);
        let ready = waiter.wait(interest, timeout);
        let mut state = self.lock();
        state.reading = false;
        let received = match ready {
            Ok(_) => match state.connection.as_mut() {
                Some(connection) => connection.receive().map(drop),
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        self.take_events(&mut state, install);
        if let Err(error) = received {
            self.lose_connection(&mut state, &error.to_string());
        }
        self.expire(&mut state);
        self.changed.notify_all();
        state
    }

    fn take_events(&self, state: &mut State, install: &dyn Install) {
        while let Some(event) = state.connection.as_mut().and_then(|connection| connection.machine().poll_event()) {
            match event {
                Event::Welcome(welcome) => state.statistics.llvm_version = welcome.llvm_version,
                Event::Compiled(compiled) => {
                    let request = compiled.request;
                    let outcome = take_compiled(state, compiled, install);
                    settle(state, request, outcome.map(|()| None));
                }
                Event::Covered(covered) => settle(state, covered.request, Ok(None)),
                Event::Failed(Failed {
                    request,
                    kind: FailureKind::OutOfMemory | FailureKind::LlvmFatal,
                    message,
                    ..
                }) => {
                    settle(state, request, Err(Failure::Refused(message)));
                }
                // Too little, it seems: once more with the whole module.
                Event::Failed(Failed {
                    request,
                    kind: FailureKind::InvalidIr | FailureKind::InvalidRequest | FailureKind::Unsupported,
                    ..
                }) if ask_for_whole(state, request) => {}
                Event::Failed(failed) => settle(state, failed.request, Err(Failure::Refused(failed.message))),
                Event::Normalized(normalized) => settle(state, normalized.request, Ok(Some(normalized))),
                _ => {}
            }
        }
    }

    /// Fails what took too long. The optimizer may hang, so it goes too.
    fn expire(&self, state: &mut State) {
        let now = Instant::now();
        let mut expired = false;
        for ticket in state.tickets.values_mut() {
            if ticket.outcome.is_none() && ticket.request.is_some() && ticket.deadline <= now {
                ticket.outcome = Some(Err(Failure::TimedOut(self.options.timeout)));
                expired = true;
            }
        }
        if expired {
            // It still holds its end of the connection, so it lives and the number is its own. A stopped one would not
            // notice that the connection ends.
            if let Some(pid) =
                rustix::process::Pid::from_raw(state.optimizer_pid).filter(|_| state.connection.is_some())
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            self.lose_connection(state, "time limit");
        }
    }

    /// Drops the connection; what was under way will be asked for again.
    fn lose_connection(&self, state: &mut State, cause: &str) {
        if state.connection.take().is_some() {
            state.statistics.restarts += 1;
        }
        for ticket in state.tickets.values_mut() {
            if ticket.request.take().is_some() && ticket.outcome.is_none() && ticket.attempts >= ATTEMPTS_MAX {
                let cause = cause.to_owned();
                ticket.outcome = Some(Err(Failure::Died { attempts: ticket.attempts, cause }));
            }
        }
        self.changed.notify_all();
    }

    /// Starts an optimizer and tells it about every module.
    fn connect(&self, state: &mut State) -> Result<(), Failure> {
        let (Some(path), Some(spawner)) = (&self.options.optimizer, &self.options.spawner) else {
            return Err(Failure::NoOptimizer(MISSING.to_owned()));
        };
        let spawned =
            spawner.spawn().map_err(|error| Failure::NoOptimizer(format!("the optimizer: {error}\n{MISSING}")))?;
        state.optimizer_pid = spawned.pid;
        let client = Client::numbered_from(RequestId(state.next_request));
        state.connection = Some(Connection::new(spawned.transport, client));
        state.modules.values_mut().for_each(|module| module.open = false);
        let early = if state.early { state.modules.keys().copied().collect::<Vec<_>>() } else { Vec::new() };
        for module in early {
            if let Err(error) = open_module(state, module) {
                state.connection = None;
                return Err(Failure::NoOptimizer(format!("cannot reach the optimizer {}: {error}", path.display())));
            }
        }
        Ok(())
    }

    /// In a forked child: the connection and its requests belong to the parent.
    pub(crate) fn reset_in_child(&self, state: &mut State) {
        state.connection = None;
        state.tickets.clear();
        state.reading = false;
    }
}

const MISSING: &str = "kiln-optimizer compiles functions that the first tier leaves out. It is looked for in KILN_OPTIMIZER, beside `kiln` and \
on PATH; it is built by `cargo build --release -p kiln-optimizer`, which needs the packages llvm-22-dev, libpolly-22-dev and \
libzstd-dev";

fn settle(state: &mut State, request: RequestId, outcome: Result<Option<Normalized>, Failure>) {
    if let Some(ticket) = state.tickets.values_mut().find(|ticket| ticket.request == Some(request)) {
        ticket.outcome = Some(outcome);
    }
}

/// Lets the ticket of `request`, whose function went alone, be asked again with its module; `false` if it had.
fn ask_for_whole(state: &mut State, request: RequestId) -> bool {
    let mut tickets = state.tickets.values_mut().filter(|ticket| ticket.request == Some(request));
    let Some(ticket) = tickets.next() else { return false };
    match &mut ticket.work {
        Work::Compile(job) if job.alone.is_some() => {
            job.alone = None;
            ticket.request = None;
            true
        }
        _ => false,
    }
}

fn take_compiled(state: &mut State, compiled: Compiled, install: &dyn Install) -> Result<(), Failure> {
    let mut alone = None;
    let asked = state.tickets.values().find_map(|ticket| match &ticket.work {
        Work::Compile(job) if ticket.request == Some(compiled.request) => {
            let (epoch, at) = ticket.begun;
            let by = CompiledBy::Optimizer(job.pipeline);
            let installed = job.installed.clone();
            alone = job.alone.as_ref().map(Vec::len);
            Some((job.module, Begun { epoch, at, by, mode: job.mode, installed }))
        }
        _ => None,
    });
    // A reply to a request whose thread gave up: nobody needs the code now, and it will be asked for again.
    let Some((module, begun)) = asked else { return Ok(()) };
    let statistics = &mut state.statistics;
    statistics.alone += u64::from(alone.is_some());
    statistics.alone_bytes += alone.unwrap_or_default() as u64;
    statistics.functions += compiled.functions.len() as u64;
    statistics.instructions += compiled.instructions;
    statistics.object_bytes += compiled.object.size();
    statistics.queued += compiled.timings.queued;
    statistics.open += compiled.timings.open;
    statistics.extract += compiled.timings.extract;
    statistics.passes += compiled.timings.passes;
    statistics.codegen += compiled.timings.codegen;
    if let Some(module) = state.modules.get_mut(&module) {
        compiled.functions.iter().for_each(|function| _ = module.have.insert(*function));
    }
    install.install(module, compiled, &begun)
}

fn open_module(state: &mut State, module: ModuleId) -> Result<(), String> {
    let Some(Module { digest, bitcode, have, open }) = state.modules.get_mut(&module) else { return Ok(()) };
    let digest = *digest.get_or_insert_with(|| ModuleDigest(*blake3::hash(bitcode).as_bytes()));
    let have = have.clone();
    *open = true;
    let connection = state.connection.as_mut().expect("connected by the caller");
    let bitcode = payload(bitcode).map_err(|error| error.to_string())?;
    connection
        .machine()
        .open_module(OpenModule { module, digest, bitcode, have })
        .map_err(|error| error.to_string())?;
    connection.flush().map(drop).map_err(|error| error.to_string())
}

/// `bytes` as part of a message if they are few, else in a memory file.
fn payload(bytes: &[u8]) -> Result<Payload, kiln_remote::Error> {
    if bytes.len() <= kiln_remote::INLINE_BYTES_MAX {
        Ok(Payload::Inline(bytes.to_vec()))
    } else {
        Payload::memory(bytes)
    }
}
