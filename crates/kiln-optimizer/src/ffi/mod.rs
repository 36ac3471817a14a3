//! The only place that talks to LLVM: a safe face for the C++ shim.
//!
//! A [`Context`] and everything made from it stay on one thread; modules and batches borrow what they are made from, so
//! the order of destruction is the compiler's business. LLVM's fatal errors do not return: see [`initialise`].

mod raw;

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::time::Duration;

use kiln_abi::{FunctionId, GlobalId, Pipeline};

/// What LLVM's fatal error handler is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal<'a> {
    /// LLVM cannot go on, for this reason.
    Error(&'a str),
    /// There is no memory left.
    OutOfMemory,
}

static HANDLER: OnceLock<fn(Fatal<'_>) -> !> = OnceLock::new();

/// Sets LLVM up. To be called once, before anything else of this module. `fatal` is called on the thread that met the
/// error, inside LLVM, and must end the process; with [`Fatal::OutOfMemory`] it must not allocate.
pub fn initialise(fatal: fn(Fatal<'_>) -> !) {
    if HANDLER.set(fatal).is_ok() {
        // SAFETY: called once; `on_fatal` has the type that the shim expects.
        unsafe { raw::kiln_initialise(on_fatal) };
    }
}

extern "C" fn on_fatal(out_of_memory: bool, reason: *const c_char) {
    // SAFETY: LLVM passes a NUL-terminated string, or null.
    let reason = if reason.is_null() { c"" } else { unsafe { CStr::from_ptr(reason) } };
    let Some(handler) = HANDLER.get() else { std::process::abort() };
    if out_of_memory {
        handler(Fatal::OutOfMemory)
    }
    handler(Fatal::Error(&reason.to_string_lossy()))
}

/// LLVM's version, such as `22.1.8`.
#[must_use]
pub fn llvm_version() -> String {
    // SAFETY: no preconditions.
    take_text(unsafe { raw::kiln_llvm_version() })
}

/// LLVM's name for this machine's processor.
#[must_use]
pub fn host_cpu() -> String {
    // SAFETY: no preconditions.
    take_text(unsafe { raw::kiln_host_cpu() })
}

/// Why LLVM did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of problem.
    pub kind: ErrorKind,
    /// The function that is to blame, where that is known.
    pub function: Option<FunctionId>,
    /// LLVM's text.
    pub message: String,
}

/// Kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The reader or the verifier refused the input.
    InvalidIr,
    /// Code generation reported an error.
    Rejected,
    /// Nothing this optimizer can do.
    Unsupported,
    /// Written by a newer LLVM.
    NewerProducer,
}

impl Error {
    fn take(raw: raw::Error) -> Error {
        let kind = match raw.kind {
            1 => ErrorKind::InvalidIr,
            2 => ErrorKind::Rejected,
            4 => ErrorKind::NewerProducer,
            _ => ErrorKind::Unsupported,
        };
        let function = (raw.function != u32::MAX).then_some(FunctionId(raw.function));
        Error { kind, function, message: take_text(raw.message) }
    }
}

fn take_bytes(raw: raw::Bytes) -> Vec<u8> {
    if raw.data.is_null() {
        return Vec::new();
    }
    // SAFETY: the shim hands out `size` initialised bytes, which are ours until they are freed right below.
    unsafe {
        let bytes = std::slice::from_raw_parts(raw.data, raw.size).to_vec();
        raw::kiln_bytes_free(raw);
        bytes
    }
}

fn take_text(raw: raw::Bytes) -> String {
    String::from_utf8(take_bytes(raw)).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// An LLVM context with the target machines and pipelines made for it.
pub struct Context {
    raw: NonNull<raw::Context>,
}

impl Context {
    /// A new context. Names of instructions are kept only on request: for dumps.
    #[must_use]
    pub fn new(keep_names: bool) -> Context {
        // SAFETY: no preconditions; never null, as the allocation handler does not return.
        let raw = unsafe { NonNull::new_unchecked(raw::kiln_context_new(keep_names)) };
        Context { raw }
    }

    /// Opens one bitcode module without reading any function body.
    pub fn open<B: AsRef<[u8]>>(&self, bitcode: B) -> Result<Module<'_, B>, Error> {
        self.open_as(bitcode, false)
    }

    /// The same with a part of a module, in which everything has its id symbol for a name.
    pub fn open_alone<B: AsRef<[u8]>>(&self, bitcode: B) -> Result<Module<'_, B>, Error> {
        self.open_as(bitcode, true)
    }

    fn open_as<B: AsRef<[u8]>>(&self, bitcode: B, named: bool) -> Result<Module<'_, B>, Error> {
        let bytes = bitcode.as_ref();
        let mut error = raw::Error::default();
        // SAFETY: `bytes` lives as long as the module, which owns `bitcode` (for which `AsRef` must be stable: it is for
        // the slices, vectors, arcs and mappings that are used here); the context is borrowed by it.
        let module =
            unsafe { raw::kiln_module_open(self.raw.as_ptr(), bytes.as_ptr(), bytes.len(), named, &mut error) };
        match NonNull::new(module) {
            Some(raw) => Ok(Module { raw, _bitcode: bitcode, context: PhantomData }),
            None => Err(Error::take(error)),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: modules borrow the context, so none is left.
        unsafe { raw::kiln_context_free(self.raw.as_ptr()) }
    }
}

/// A module whose function bodies are read when asked for.
pub struct Module<'c, B> {
    raw: NonNull<raw::Module>,
    _bitcode: B,
    context: PhantomData<&'c Context>,
}

/// What a look at a body tells.
#[derive(Debug, PartialEq)]
pub struct Body<'m> {
    /// Number of IR instructions.
    pub instructions: u32,
    callees: &'m [raw::Callee],
}

impl Body<'_> {
    /// The functions with a body that this one calls directly, in order, each once, with an estimate between 0 and 1
    /// of how likely one activation is to call it.
    pub fn callees(&self) -> impl ExactSizeIterator<Item = (FunctionId, f32)> + '_ {
        self.callees.iter().map(|callee| (FunctionId(callee.function), callee.likelihood))
    }
}

impl<B> Module<'_, B> {
    /// Number of function records, declarations included.
    #[must_use]
    pub fn functions(&self) -> u32 {
        // SAFETY: `raw` is live.
        unsafe { raw::kiln_module_functions(self.raw.as_ptr()) }
    }

    /// Whether the function has a body to compile.
    #[must_use]
    pub fn is_defined(&self, function: FunctionId) -> bool {
        // SAFETY: `raw` is live; the shim checks the index.
        unsafe { raw::kiln_module_is_defined(self.raw.as_ptr(), function.0) }
    }

    /// Reads a body. After an error the module is in no state to be used any more.
    pub fn read(&mut self, function: FunctionId) -> Result<Body<'_>, Error> {
        assert!(self.is_defined(function), "{function:?} has no body");
        let (mut instructions, mut callees, mut count) = (0, ptr::null(), 0);
        let mut error = raw::Error::default();
        // SAFETY: `raw` is live, the function exists, the results are valid for writes.
        let read = unsafe {
            raw::kiln_module_read(
                self.raw.as_ptr(),
                function.0,
                &mut instructions,
                &mut callees,
                &mut count,
                &mut error,
            )
        };
        if !read {
            return Err(Error::take(error));
        }
        // SAFETY: on success `callees` points to `count` ids that stay until the module is used again, which the
        // borrow in `Body` prevents. A vector's data may be null when it is empty.
        let callees = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(callees, count) } };
        Ok(Body { instructions, callees })
    }

    /// Starts a batch of functions to be compiled together.
    ///
    /// The bodies of `opaque` functions mean nothing any more: nothing is concluded from them.
    pub fn batch(&mut self, pipeline: Pipeline, opaque: &[FunctionId]) -> Batch<'_> {
        let opaque: Vec<u32> = opaque.iter().map(|function| function.0).collect();
        // SAFETY: `raw` is live, and borrowed mutably by the batch; the ids are copied.
        let raw = unsafe {
            raw::kiln_batch_new(self.raw.as_ptr(), pipeline == Pipeline::Full, opaque.as_ptr(), opaque.len())
        };
        // SAFETY: never null, as the allocation handler does not return.
        let raw = unsafe { NonNull::new_unchecked(raw) };
        Batch { raw, module: PhantomData }
    }
}

impl<B> Drop for Module<'_, B> {
    fn drop(&mut self) {
        // SAFETY: batches borrow the module, so none is left; the bitcode is dropped after this.
        unsafe { raw::kiln_module_free(self.raw.as_ptr()) }
    }
}

/// Functions extracted into a module of their own.
pub struct Batch<'m> {
    raw: NonNull<raw::Batch>,
    module: PhantomData<&'m mut ()>,
}

/// What came of a batch.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// The ELF object.
    pub bytes: Vec<u8>,
    /// Globals it defines.
    pub globals: Vec<GlobalId>,
    /// Functions whose bodies the compile saw.
    pub visible: Vec<FunctionId>,
    /// Time of the IR passes.
    pub passes: Duration,
    /// Time of code generation.
    pub codegen: Duration,
}

impl Batch<'_> {
    /// Adds a function that [`Module::is_defined`]. If it cannot be had or is not valid, the batch goes on without it.
    pub fn add(&mut self, function: FunctionId) -> Result<(), Error> {
        let mut error = raw::Error::default();
        // SAFETY: `raw` is live; the index is checked by the shim.
        if unsafe { raw::kiln_batch_add(self.raw.as_ptr(), function.0, &mut error) } {
            Ok(())
        } else {
            Err(Error::take(error))
        }
    }

    /// The module as textual IR.
    #[must_use]
    pub fn text(&self) -> String {
        // SAFETY: `raw` is live.
        take_text(unsafe { raw::kiln_batch_text(self.raw.as_ptr()) })
    }

    /// Runs the pipeline and emits the object.
    pub fn compile(self) -> Result<Object, Error> {
        let mut compiled = raw::Compiled::default();
        let mut error = raw::Error::default();
        // SAFETY: `raw` is live and, since `self` is consumed, compiled once only; the results are valid for writes.
        if !unsafe { raw::kiln_batch_compile(self.raw.as_ptr(), &mut compiled, &mut error) } {
            return Err(Error::take(error));
        }
        let ids = |data: *const u32, count: usize| -> Vec<u32> {
            // SAFETY: lists of the batch, which is live until the end of this function; empty ones may be null.
            if count == 0 { Vec::new() } else { unsafe { std::slice::from_raw_parts(data, count) }.to_vec() }
        };
        Ok(Object {
            bytes: take_bytes(compiled.object),
            globals: ids(compiled.globals, compiled.globals_count).into_iter().map(GlobalId).collect(),
            visible: ids(compiled.visible, compiled.visible_count).into_iter().map(FunctionId).collect(),
            passes: Duration::from_nanos(compiled.passes_ns),
            codegen: Duration::from_nanos(compiled.codegen_ns),
        })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is live and not used after this.
        unsafe { raw::kiln_batch_free(self.raw.as_ptr()) }
    }
}

/// An input rewritten as current bitcode.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// The bitcode, without module-level assembly.
    pub bitcode: Vec<u8>,
    /// The module-level assembly as an object.
    pub assembly: Option<Vec<u8>>,
}

/// Reads textual IR or bitcode of any LLVM up to this one.
pub fn normalise(input: &[u8], name: &str) -> Result<Normalised, Error> {
    let name = CString::new(name.replace('\0', "?")).unwrap_or_default();
    let mut normalised = raw::Normalised::default();
    let mut error = raw::Error::default();
    // SAFETY: the input is valid for its length, the name is NUL-terminated, the results are valid for writes.
    let done = unsafe { raw::kiln_normalise(input.as_ptr(), input.len(), name.as_ptr(), &mut normalised, &mut error) };
    if !done {
        return Err(Error::take(error));
    }
    let assembly = (!normalised.assembly.data.is_null()).then(|| take_bytes(normalised.assembly));
    Ok(Normalised { bitcode: take_bytes(normalised.bitcode), assembly })
}

/// Ends the process at once: no destructors, no waiting for threads that hang.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(status) }
}

/// Takes over the socket that the parent process left at descriptor `number`. To be called once, at the start.
pub fn socket_from_number(number: RawFd) -> std::io::Result<OwnedFd> {
    let mut kind: libc::c_int = 0;
    let mut size = size_of_val(&kind) as libc::socklen_t;
    // SAFETY: both results are valid for writes.
    let result = unsafe {
        libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_TYPE, ptr::from_mut(&mut kind).cast(), &mut size)
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if kind != libc::SOCK_STREAM {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is an open socket, which by the caller's word nobody else in this process owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
