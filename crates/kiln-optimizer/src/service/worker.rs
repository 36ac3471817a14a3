//! A worker: a thread with an LLVM context of its own.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use kiln_abi::FunctionId;
use kiln_remote::{
    Compiled, Failed, FailureKind, Mapping, ModuleId, Neighbours, Normalize, Normalized, Payload, RequestId, Timings,
};

use super::Service;
use super::state::{self, CompileJob, Job};
use crate::compiler::{self, Context, Error, ErrorKind, Module, Output};
use crate::ffi;

/// Stack of a worker: LLVM recurses deeply on large functions. Only what is touched costs memory.
const STACK_BYTES: usize = 64 << 20;

thread_local! {
    static CURRENT: Cell<Option<RequestId>> = const { Cell::new(None) };
}

/// The request that the calling thread works on.
pub(super) fn current() -> Option<RequestId> {
    CURRENT.get()
}

pub(super) fn start(service: Arc<Service>, index: usize, jobs: Receiver<Job>) {
    let builder = std::thread::Builder::new().name(format!("worker {index}")).stack_size(STACK_BYTES);
    if let Err(error) = builder.spawn(move || run(&service, index, &jobs)) {
        // Without threads nothing can be answered; the client sees the end of the connection.
        eprintln!("kiln-optimizer: cannot start a worker: {error}");
        ffi::exit_now(super::EXIT_FATAL);
    }
}

/// Shares the bytes of a module with the other workers.
struct Bitcode(Arc<Mapping>);

impl AsRef<[u8]> for Bitcode {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

type Modules<'c> = HashMap<ModuleId, (Arc<Mapping>, Module<'c, Bitcode>)>;

fn run(service: &Arc<Service>, index: usize, jobs: &Receiver<Job>) {
    let context = Context::new(service.options.dump.is_some());
    let mut modules = Modules::new();
    while let Ok(job) = jobs.recv() {
        let mut next = Some(job);
        while let Some(job) = next {
            match job {
                // What is wrong with it is the answer to the first request.
                Job::Open(id, bitcode) => drop(module(&context, &mut modules, id, &bitcode)),
                Job::Close(id) => {
                    modules.remove(&id);
                    break;
                }
                Job::Compile(job) => {
                    CURRENT.set(Some(job.request));
                    let result = compile(service, &context, &mut modules, &job);
                    state::finish(service, &job, result);
                }
                Job::Normalize { request, normalize } => {
                    CURRENT.set(Some(request));
                    match rewrite(request, normalize) {
                        Ok(normalized) => state::reply(service, |server| server.normalized(normalized)),
                        Err(failed) => state::reply(service, |server| server.failed(&failed)),
                    }
                }
            }
            CURRENT.set(None);
            next = service.lock().next_job(index);
        }
    }
}

/// The worker's copy of a module, opened if it is not there yet.
fn module<'c, 'm>(
    context: &'c Context,
    modules: &'m mut Modules<'c>,
    id: ModuleId,
    bitcode: &Arc<Mapping>,
) -> Result<&'m mut Module<'c, Bitcode>, Error> {
    // The client may have given the number to other bytes.
    if modules.get(&id).is_none_or(|(bytes, _)| !Arc::ptr_eq(bytes, bitcode)) {
        let module = context.open(Bitcode(Arc::clone(bitcode)))?;
        modules.insert(id, (Arc::clone(bitcode), module));
    }
    modules.get_mut(&id).map(|(_, module)| module).ok_or_else(|| unreachable!("the module was inserted above"))
}

fn compile<'c>(
    service: &Arc<Service>,
    context: &'c Context,
    modules: &mut Modules<'c>,
    job: &CompileJob,
) -> Result<Compiled, Failed> {
    let queued = job.arrived.elapsed();
    let start = Instant::now();
    let id = job.compile.module;
    let failed = |error: Error| Failed {
        request: job.request,
        kind: failure_kind(error.kind),
        function: error.function.or(if let [one] = job.compile.roots[..] { Some(one) } else { None }),
        message: error.message,
    };
    if job.alone {
        let result = compile_alone(service, context, job);
        let (output, open) = result.map_err(failed)?;
        return answer(service, job, output, queued, open);
    }
    let module = module(context, modules, id, &job.bitcode).map_err(failed)?;
    let open = start.elapsed();
    if let Some(bad) = job.compile.roots.iter().find(|root| !module.is_defined(**root)) {
        let message = format!("function {} has no body in this module", bad.0);
        return Err(Failed { request: job.request, kind: FailureKind::InvalidRequest, function: Some(*bad), message });
    }
    match attempt(service, module, job) {
        Ok(output) => answer(service, job, output, queued, open),
        Err(error) => {
            if error.kind == ErrorKind::InvalidIr {
                // The reader may have stopped in the middle of something.
                modules.remove(&id);
            }
            Err(failed(error))
        }
    }
}

/// Compiles a function that came as a module of its own, and says how long opening that took.
fn compile_alone(service: &Service, context: &Context, job: &CompileJob) -> Result<(Output, Duration), Error> {
    const FIRST: FunctionId = FunctionId(0);
    let start = Instant::now();
    let mut module = context.open_alone(Bitcode(Arc::clone(&job.bitcode)))?;
    let open = start.elapsed();
    let [root] = job.compile.roots[..] else {
        let message = format!("{} functions cannot be one that comes alone", job.compile.roots.len());
        return Err(Error { kind: ErrorKind::Unsupported, function: None, message });
    };
    let (pipeline, dump) = (job.compile.pipeline, service.options.dump.is_some());
    let output = compiler::compile(&mut module, &[FIRST], pipeline, Neighbours::NONE, &[], |_| false, dump);
    let blame = |error: Error| Error { function: error.function.map(|_| root), ..error };
    let output = output.map_err(blame)?;
    Ok((Output { functions: vec![root], visible: vec![root], globals: Vec::new(), ..output }, open))
}

fn attempt(service: &Service, module: &mut Module<'_, Bitcode>, job: &CompileJob) -> Result<Output, Error> {
    let roots = &job.compile.roots;
    let dump = service.options.dump.is_some();
    let mut claimed = Vec::new();
    let result = compiler::compile(
        module,
        roots,
        job.compile.pipeline,
        job.compile.neighbours,
        &job.compile.opaque,
        |function| {
            let mine = !job.compile.opaque.contains(&function) && service.lock().claim(job, function);
            if mine {
                claimed.push(function);
            }
            mine
        },
        dump,
    );
    match result {
        Ok(output) => {
            let mut state = service.lock();
            for function in claimed.iter().filter(|function| !output.functions.contains(function)) {
                state.avoid(job.compile.module, *function);
            }
            Ok(output)
        }
        // Which function of the batch LLVM did not like is not known: try without those that nobody asked for.
        Err(error) if error.kind == ErrorKind::Rejected && !claimed.is_empty() => {
            service.lock().release(job.request, |function| roots.contains(&function));
            compiler::compile(
                module,
                roots,
                job.compile.pipeline,
                Neighbours::NONE,
                &job.compile.opaque,
                |_| false,
                dump,
            )
        }
        Err(error) => Err(error),
    }
}

fn answer(
    service: &Service,
    job: &CompileJob,
    output: Output,
    queued: Duration,
    open: Duration,
) -> Result<Compiled, Failed> {
    if let Some(directory) = &service.options.dump {
        dump(directory, job.request, &output);
    }
    let timings = Timings { queued, open, extract: output.extract, passes: output.passes, codegen: output.codegen };
    let object = Payload::new(output.object).map_err(|error| Failed {
        request: job.request,
        kind: FailureKind::OutOfMemory,
        function: None,
        message: format!("the object cannot be sent: {error}"),
    })?;
    Ok(Compiled {
        request: job.request,
        functions: output.functions,
        globals: output.globals,
        visible: output.visible,
        instructions: output.instructions,
        object,
        timings,
    })
}

fn dump(directory: &Path, request: RequestId, output: &Output) {
    let file = |extension| directory.join(format!("request-{}.{extension}", request.0));
    let written = std::fs::write(file("ll"), output.text.as_deref().unwrap_or_default())
        .and_then(|()| std::fs::write(file("o"), &output.object));
    if let Err(error) = written {
        eprintln!("kiln-optimizer: cannot write to {}: {error}", directory.display());
    }
}

fn rewrite(request: RequestId, normalize: Normalize) -> Result<Normalized, Failed> {
    let failed = |kind, message| Failed { request, kind, function: None, message };
    let input = normalize.input.map().map_err(|error| failed(FailureKind::InvalidRequest, error.to_string()))?;
    let output =
        ffi::normalise(&input, &normalize.name).map_err(|error| failed(failure_kind(error.kind), error.message))?;
    let payload = |bytes| {
        Payload::new(bytes).map_err(|error| failed(FailureKind::OutOfMemory, format!("cannot be sent: {error}")))
    };
    Ok(Normalized { request, bitcode: payload(output.bitcode)?, assembly: output.assembly.map(payload).transpose()? })
}

fn failure_kind(kind: ErrorKind) -> FailureKind {
    match kind {
        ErrorKind::InvalidIr => FailureKind::InvalidIr,
        ErrorKind::Rejected => FailureKind::Rejected,
        ErrorKind::Unsupported => FailureKind::Unsupported,
        ErrorKind::NewerProducer => FailureKind::NewerProducer,
    }
}
