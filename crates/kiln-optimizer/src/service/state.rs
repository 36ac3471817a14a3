//! What is known about the connection's modules and requests, and who does what next.
//!
//! | A function of a pipeline is | recorded in | then a request for it |
//! | --- | --- | --- |
//! | not asked for | - | becomes a job |
//! | claimed by a job | `claims` | waits for that job, if that is so for all its roots |
//! | sent, the client had not seen it when it asked | `sent` | is answered `Covered` |
//! | sent and seen | `sent` | becomes a job again |

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use kiln_abi::{FunctionId, ModuleDigest, Pipeline};
use kiln_remote::{
    Compile, Compiled, Connection, Covered, Failed, FailureKind, FunctionSet, Mapping, ModuleId, Normalize, OpenModule,
    Payload, Request, RequestId, Server,
};

use super::{Service, worker};

/// The bytes of a module, or why there are none.
pub(super) type Bitcode = Result<Arc<Mapping>, (FailureKind, String)>;

/// Something for a worker to do.
pub(super) enum Job {
    /// Open a module that is about to be used.
    Open(ModuleId, Arc<Mapping>),
    /// Forget a module. It comes beside jobs, and takes nobody's turn.
    Close(ModuleId),
    Compile(CompileJob),
    Normalize {
        request: RequestId,
        normalize: Normalize,
    },
}

impl Job {
    /// The module that a worker opens for it.
    fn module(&self) -> Option<ModuleId> {
        match self {
            Job::Open(module, _) => Some(*module),
            Job::Compile(job) => (!job.alone).then_some(job.compile.module),
            Job::Close(_) | Job::Normalize { .. } => None,
        }
    }
}

#[derive(Clone)]
pub(super) struct CompileJob {
    pub(super) request: RequestId,
    pub(super) seen: u32,
    pub(super) compile: Compile,
    /// The module, or the function as one of its own.
    pub(super) bitcode: Arc<Mapping>,
    pub(super) alone: bool,
    pub(super) arrived: Instant,
}

struct Opened {
    bitcode: Bitcode,
    have: FunctionSet,
    sent: HashMap<(Pipeline, FunctionId), Sent>,
}

#[derive(Clone, Copy)]
struct Sent {
    /// Position among the `Compiled` replies, from 1.
    reply: u32,
    request: RequestId,
}

struct Waiting {
    job: CompileJob,
    on: BTreeSet<RequestId>,
}

pub(super) struct WorkerHandle {
    pub(super) sender: Sender<Job>,
    pub(super) open: BTreeSet<ModuleId>,
}

pub(super) struct State {
    pub(super) connection: Connection<Server>,
    modules: HashMap<ModuleId, Opened>,
    claims: HashMap<(ModuleId, Pipeline, FunctionId), RequestId>,
    waiting: Vec<Waiting>,
    replies: u32,
    pub(super) workers: Vec<WorkerHandle>,
    /// Workers without a job, the one that ran last at the end.
    idle: Vec<usize>,
    queue: VecDeque<Job>,
}

impl State {
    pub(super) fn new(connection: Connection<Server>) -> State {
        State {
            connection,
            modules: HashMap::new(),
            claims: HashMap::new(),
            waiting: Vec::new(),
            replies: 0,
            workers: Vec::new(),
            idle: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// The next job of a worker that is done with one; `None`: it will get one through its channel.
    pub(super) fn next_job(&mut self, worker: usize) -> Option<Job> {
        let job = self.queue.pop_front();
        match &job {
            Some(job) => self.workers[worker].open.extend(job.module()),
            None => self.idle.push(worker),
        }
        job
    }

    /// Claims `function` as a neighbour for `job`, unless the client has it or will get it.
    pub(super) fn claim(&mut self, job: &CompileJob, function: FunctionId) -> bool {
        let Some(module) = self.modules.get(&job.compile.module) else { return false };
        let key = (job.compile.module, job.compile.pipeline, function);
        if module.have.contains(function)
            || module.sent.contains_key(&(job.compile.pipeline, function))
            || self.claims.contains_key(&key)
        {
            return false;
        }
        self.claims.insert(key, job.request);
        true
    }

    /// Gives back the claims of a request on functions that `keep` does not want.
    pub(super) fn release(&mut self, request: RequestId, keep: impl Fn(FunctionId) -> bool) {
        self.claims.retain(|(_, _, function), owner| *owner != request || keep(*function));
    }

    /// Makes sure that nobody tries `function` as a neighbour again.
    pub(super) fn avoid(&mut self, module: ModuleId, function: FunctionId) {
        if let Some(module) = self.modules.get_mut(&module) {
            module.have.insert(function);
        }
    }

    /// Forgets a module, and has the workers do so that opened it.
    fn close_module(&mut self, module: ModuleId) {
        self.modules.remove(&module);
        self.claims.retain(|(of, _, _), _| *of != module);
        self.queue.retain(|job| !matches!(job, Job::Open(of, _) if *of == module));
        for worker in &mut self.workers {
            if worker.open.remove(&module) {
                // A worker lives as long as the process.
                let _ = worker.sender.send(Job::Close(module));
            }
        }
    }

    fn all_sent_after(&self, job: &CompileJob) -> Option<Vec<RequestId>> {
        let module = self.modules.get(&job.compile.module)?;
        let mut by = Vec::new();
        for root in &job.compile.roots {
            let sent = module.sent.get(&(job.compile.pipeline, *root)).filter(|sent| sent.reply > job.seen)?;
            if !by.contains(&sent.request) {
                by.push(sent.request);
            }
        }
        Some(by)
    }

    fn all_claimed(&self, job: &CompileJob) -> Option<BTreeSet<RequestId>> {
        let module = self.modules.get(&job.compile.module)?;
        let mut on = BTreeSet::new();
        for root in &job.compile.roots {
            let key = (job.compile.module, job.compile.pipeline, *root);
            match self.claims.get(&key) {
                Some(owner) => {
                    on.insert(*owner);
                }
                None => {
                    let sent = module.sent.get(&(job.compile.pipeline, *root));
                    sent.filter(|sent| sent.reply > job.seen)?;
                }
            }
        }
        Some(on)
    }

    fn failed(&mut self, request: RequestId, kind: FailureKind, message: String, function: Option<FunctionId>) {
        self.reply_failed(&Failed { request, kind, function, message });
    }

    fn reply_failed(&mut self, failed: &Failed) {
        // Only a message of 16 MiB could be refused.
        if let Err(error) = self.connection.machine().failed(failed) {
            eprintln!("kiln-optimizer: {error}");
        }
    }
}

/// Takes what has arrived.
pub(super) fn take_requests(service: &Arc<Service>) {
    loop {
        let request = service.lock().connection.machine().poll_request();
        match request {
            None => return,
            Some(Request::OpenModule(module)) => open_module(service, module),
            Some(Request::CloseModule(module)) => service.lock().close_module(module),
            Some(Request::Compile { request, seen, mut compile }) => {
                let mut state = service.lock();
                let arrived = Instant::now();
                if let Some(bytes) = compile.alone.take() {
                    match Payload::Inline(bytes).map() {
                        Ok(bitcode) => {
                            let bitcode = Arc::new(bitcode);
                            let job = CompileJob { request, seen, compile, bitcode, alone: true, arrived };
                            consider(service, &mut state, job);
                        }
                        Err(error) => state.failed(request, FailureKind::InvalidRequest, error.to_string(), None),
                    }
                    continue;
                }
                match state.modules.get(&compile.module).map(|module| module.bitcode.clone()) {
                    None => {
                        let message = format!("module {} was never opened", compile.module.0);
                        state.failed(request, FailureKind::InvalidRequest, message, None);
                    }
                    Some(Err((kind, message))) => state.failed(request, kind, message, None),
                    Some(Ok(bitcode)) => {
                        let job = CompileJob { request, seen, compile, bitcode, alone: false, arrived };
                        consider(service, &mut state, job);
                    }
                }
            }
            Some(Request::Normalize { request, normalize }) => {
                dispatch(service, &mut service.lock(), Job::Normalize { request, normalize });
            }
            Some(_) => {}
        }
    }
}

fn open_module(service: &Arc<Service>, open: OpenModule) {
    let bitcode = open.bitcode.map().map(Arc::new);
    let bitcode = bitcode.map_err(|error| (FailureKind::InvalidRequest, error.to_string()));
    let mut state = service.lock();
    if let Ok(bitcode) = &bitcode {
        // Opening takes a worker longer than hashing takes us: let it begin.
        dispatch(service, &mut state, Job::Open(open.module, Arc::clone(bitcode)));
    }
    drop(state);
    let bitcode = bitcode.and_then(|bitcode| {
        let digest = ModuleDigest(*blake3::hash(&bitcode).as_bytes());
        if digest == open.digest {
            Ok(bitcode)
        } else {
            let message = format!("the module's bytes hash to {digest:?}, not to {:?} as announced", open.digest);
            Err((FailureKind::InvalidRequest, message))
        }
    });
    service.lock().modules.insert(open.module, Opened { bitcode, have: open.have, sent: HashMap::new() });
}

/// Answers a request from what is there, lets it wait for what is coming, or makes it a job.
fn consider(service: &Arc<Service>, state: &mut State, job: CompileJob) {
    if let Some(by) = state.all_sent_after(&job) {
        if let Err(error) = state.connection.machine().covered(&Covered { request: job.request, by }) {
            eprintln!("kiln-optimizer: {error}");
        }
        return;
    }
    if let Some(on) = state.all_claimed(&job) {
        state.waiting.push(Waiting { job, on });
        return;
    }
    for root in &job.compile.roots {
        state.claims.insert((job.compile.module, job.compile.pipeline, *root), job.request);
    }
    dispatch(service, state, Job::Compile(job));
}

fn dispatch(service: &Arc<Service>, state: &mut State, job: Job) {
    let module = job.module();
    let knows = |worker: &usize| module.is_some_and(|module| state.workers[*worker].open.contains(&module));
    let idle = state.idle.iter().rposition(knows).or_else(|| state.idle.len().checked_sub(1));
    if let Some(position) = idle {
        let worker = state.idle.remove(position);
        if let Some(module) = module {
            state.workers[worker].open.insert(module);
        }
        // A worker lives as long as the process.
        let _ = state.workers[worker].sender.send(job);
    } else if state.workers.len() < service.options.workers_max {
        let (sender, jobs) = std::sync::mpsc::channel();
        let index = state.workers.len();
        let _ = sender.send(job);
        state.workers.push(WorkerHandle { sender, open: module.into_iter().collect() });
        worker::start(Arc::clone(service), index, jobs);
    } else {
        state.queue.push_back(job);
    }
}

/// Sends the reply to a compile and deals with the requests that waited for it.
pub(super) fn finish(service: &Arc<Service>, job: &CompileJob, result: Result<Compiled, Failed>) {
    let mut state = service.lock();
    state.release(job.request, |_| false);
    match result {
        Ok(compiled) => {
            let functions = compiled.functions.clone();
            if let Err(error) = state.connection.machine().compiled(compiled) {
                let message = format!("the result cannot be sent: {error}");
                state.failed(job.request, FailureKind::Unsupported, message, None);
            } else {
                state.replies += 1;
                let sent = Sent { reply: state.replies, request: job.request };
                if let Some(module) = state.modules.get_mut(&job.compile.module) {
                    module.sent.extend(functions.into_iter().map(|f| ((job.compile.pipeline, f), sent)));
                }
            }
        }
        Err(failed) => state.reply_failed(&failed),
    }
    let mut ready = Vec::new();
    state.waiting.retain_mut(|waiting| {
        waiting.on.remove(&job.request);
        if waiting.on.is_empty() {
            ready.push(waiting.job.clone());
        }
        !waiting.on.is_empty()
    });
    for job in ready {
        consider(service, &mut state, job);
    }
    drop(state);
    service.flush();
}

/// Sends any other reply.
pub(super) fn reply(service: &Service, send: impl FnOnce(&mut Server) -> Result<(), kiln_remote::Error>) {
    if let Err(error) = send(service.lock().connection.machine()) {
        eprintln!("kiln-optimizer: {error}");
    }
    service.flush();
}
