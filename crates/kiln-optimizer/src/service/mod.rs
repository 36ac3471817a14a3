//! The compile service: one connection, one thread that reads it, a few workers.
//!
//! The main thread owns the reading side and never compiles, so the end of the connection ends the process at once,
//! whatever hangs. Workers answer by themselves. A worker has its own LLVM context and its own lazily read copy of each
//! module it met (5 ms and more to open), so the idle worker that ran last gets the next job, and a further one is
//! started only when all are busy.

mod state;
mod worker;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kiln_remote::{Connection, ErrorKind, Failed, FailureKind, Interest, Server, Transport, Waiter, Welcome};

use crate::ffi::{self, Fatal};
use state::State;

/// Exit status after LLVM's fatal error handler ran: EX_SOFTWARE of sysexits.h.
const EXIT_FATAL: i32 = 70;
/// Exit status when the client does not keep to the protocol: EX_PROTOCOL.
const EXIT_PROTOCOL: i32 = 76;

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most worker threads.
    pub workers_max: usize,
    /// Where to put the IR and the object of each request, for debugging.
    pub dump: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Options { workers_max: cores.min(4), dump: None }
    }
}

struct Service {
    options: Options,
    waiter: Waiter,
    state: Mutex<State>,
}

/// For LLVM's fatal error handler, which gets no argument of ours.
static SERVICE: OnceLock<Arc<Service>> = OnceLock::new();

impl Service {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is queued, with the lock released while the client does not read.
    fn flush(&self) {
        loop {
            match self.lock().connection.flush() {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => ffi::exit_now(0),
            }
            if self.waiter.wait(Interest::Send, None).is_err() {
                ffi::exit_now(0);
            }
        }
    }
}

/// Serves the client at the other end of `socket` until it closes the connection; then, or on a fatal error, ends the
/// process.
pub fn serve(socket: OwnedFd, options: Options) -> ! {
    ffi::initialise(fatal);
    let transport = match Transport::new(socket) {
        Ok(transport) => transport,
        Err(error) => {
            eprintln!("kiln-optimizer: {error}");
            ffi::exit_now(EXIT_PROTOCOL)
        }
    };
    let welcome = Welcome { llvm_version: ffi::llvm_version(), host_cpu: ffi::host_cpu() };
    let waiter = transport.waiter();
    let connection = Connection::new(transport, Server::new(welcome));
    let service = Arc::new(Service { options, waiter, state: Mutex::new(State::new(connection)) });
    // A process serves one connection.
    let _ = SERVICE.set(Arc::clone(&service));
    loop {
        let received = service.lock().connection.receive();
        if let Err(error) = received {
            end(&service, &error);
        }
        state::take_requests(&service);
        service.flush();
        if let Err(error) = waiter.wait(Interest::Receive, None) {
            end(&service, &error);
        }
    }
}

fn end(service: &Service, error: &kiln_remote::Error) -> ! {
    if matches!(error.kind(), ErrorKind::Closed) {
        ffi::exit_now(0);
    }
    eprintln!("kiln-optimizer: {error}");
    // What is queued may be what tells the client why.
    let _ = service.lock().connection.flush_all(Some(Instant::now() + Duration::from_secs(1)));
    ffi::exit_now(EXIT_PROTOCOL)
}

fn fatal(reason: Fatal<'_>) -> ! {
    let (kind, message) = match reason {
        Fatal::Error(text) => (FailureKind::LlvmFatal, format!("LLVM: {text}")),
        Fatal::OutOfMemory => (FailureKind::OutOfMemory, "the optimizer is out of memory".into()),
    };
    eprintln!("kiln-optimizer: {message}");
    if let (Some(service), Some(request)) = (SERVICE.get(), worker::current()) {
        let mut state = service.lock();
        let failed = Failed { request, kind, function: None, message };
        let _ = state.connection.machine().failed(&failed);
        let _ = state.connection.flush_all(Some(Instant::now() + Duration::from_secs(1)));
    }
    ffi::exit_now(EXIT_FATAL)
}
