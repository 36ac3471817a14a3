//! The messages of the compile protocol.

use std::os::fd::OwnedFd;
use std::time::Duration;

use kiln_abi::{FunctionId, GlobalId, ModuleDigest, Pipeline};

use crate::error::Error;
use crate::wire::{Reader, Writer};

/// Version of the protocol. Both sides must have the same: they are built together.
pub const PROTOCOL_VERSION: u32 = 4;
/// Payloads up to this size travel inside the message; a memory file costs about as much as copying this many bytes.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// A request, numbered by the client; the number comes back in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// A module that the client opened on this connection, numbered by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub u32);

/// Bytes that are part of a message.
#[derive(Debug)]
pub enum Payload {
    /// In the message itself; see [`INLINE_BYTES_MAX`].
    Inline(Vec<u8>),
    /// In a memory file (or any file) of which a descriptor travels along.
    Memory {
        /// The file; the payload begins at offset 0, wherever the descriptor's own offset is.
        fd: OwnedFd,
        /// Bytes of the payload.
        size: u64,
    },
}

impl Payload {
    /// Bytes of the payload, as announced.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Memory { size, .. } => *size,
        }
    }
}

/// A set of functions of one module, sent as a bitmap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionSet(Vec<u8>);

impl FunctionSet {
    /// Adds `function`; `false` if it was there before.
    pub fn insert(&mut self, function: FunctionId) -> bool {
        let (byte, bit) = (function.0 as usize / 8, 1 << (function.0 % 8));
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        let new = self.0[byte] & bit == 0;
        self.0[byte] |= bit;
        new
    }

    /// Takes `function` out.
    pub fn remove(&mut self, function: FunctionId) {
        if let Some(byte) = self.0.get_mut(function.0 as usize / 8) {
            *byte &= !(1 << (function.0 % 8));
        }
    }

    /// Whether `function` is in the set.
    #[must_use]
    pub fn contains(&self, function: FunctionId) -> bool {
        self.0.get(function.0 as usize / 8).is_some_and(|byte| byte & (1 << (function.0 % 8)) != 0)
    }

    /// Number of functions in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }
}

/// Client → server: from now on `module` means these bytes.
#[derive(Debug)]
pub struct OpenModule {
    /// The number by which requests name the module.
    pub module: ModuleId,
    /// What the bytes must hash to.
    pub digest: ModuleDigest,
    /// One bitcode file of one module, in the optimizer's own version.
    pub bitcode: Payload,
    /// Functions that the client has already; they are not brought along as neighbours.
    pub have: FunctionSet,
}

/// How much the optimizer may compile besides what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// Most functions to add.
    pub functions_max: u32,
    /// No function is added once the batch holds this many IR instructions.
    pub instructions_max: u32,
}

impl Neighbours {
    /// Compile the roots only.
    pub const NONE: Neighbours = Neighbours { functions_max: 0, instructions_max: 0 };
}

impl Default for Neighbours {
    /// What suits lazy compilation. Which functions come along within these limits is the optimizer's choice.
    fn default() -> Self {
        Neighbours { functions_max: 16, instructions_max: 3000 }
    }
}

/// Client → server: compile these functions.
#[derive(Clone, Debug)]
pub struct Compile {
    /// Of which module.
    pub module: ModuleId,
    /// What is wanted.
    pub roots: Vec<FunctionId>,
    /// How much work to put in.
    pub pipeline: Pipeline,
    /// What may come along.
    pub neighbours: Neighbours,
    /// Functions of the module whose bodies mean nothing any more, because they were redefined: they neither come along
    /// nor may anything be concluded from them.
    pub opaque: Vec<FunctionId>,
    /// The only root as a module of its own, which spares the server the whole one: bitcode whose first function is the root,
    /// with everything under its id symbol. The module itself need not be open.
    pub alone: Option<Vec<u8>>,
}

/// Server → client, once: who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Version of LLVM, such as `22.1.8`.
    pub llvm_version: String,
    /// LLVM's name for the host's processor, such as `znver3`.
    pub host_cpu: String,
}

/// Where the time of a compile went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the arrival of the request to its start on a worker.
    pub queued: Duration,
    /// Opening the module (first request of a worker only).
    pub open: Duration,
    /// Reading the bodies and copying them into a module of their own.
    pub extract: Duration,
    /// IR passes.
    pub passes: Duration,
    /// Code generation and object emission.
    pub codegen: Duration,
}

/// Server → client: a compile succeeded.
#[derive(Debug)]
pub struct Compiled {
    /// The request.
    pub request: RequestId,
    /// Functions defined in the object under their id symbols: the roots and what came along.
    pub functions: Vec<FunctionId>,
    /// Globals defined in the object, because they hold label addresses of its functions.
    pub globals: Vec<GlobalId>,
    /// Functions whose bodies the compile could see: what the code may depend on.
    pub visible: Vec<FunctionId>,
    /// IR instructions of the functions, before the passes.
    pub instructions: u64,
    /// The ELF object.
    pub object: Payload,
    /// Where the time went.
    pub timings: Timings,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The request makes no sense: unknown module, function without a body.
    InvalidRequest,
    /// LLVM's reader or verifier refused the input.
    InvalidIr,
    /// LLVM reported an error for this input, such as inline assembly that does not assemble.
    Rejected,
    /// LLVM called its fatal error handler. The optimizer ends after this reply.
    LlvmFatal,
    /// The optimizer died. Never sent: what a client reports for a request that was lost with the connection.
    Crash,
    /// The time limit passed. Never sent.
    Timeout,
    /// There was not enough memory.
    OutOfMemory,
    /// The optimizer does not know this kind of request or input.
    Unsupported,
    /// The input was written by a newer LLVM.
    NewerProducer,
}

impl FailureKind {
    const ALL: [(FailureKind, u8); 9] = [
        (FailureKind::InvalidRequest, 1),
        (FailureKind::InvalidIr, 2),
        (FailureKind::Rejected, 3),
        (FailureKind::LlvmFatal, 4),
        (FailureKind::Crash, 5),
        (FailureKind::Timeout, 6),
        (FailureKind::OutOfMemory, 7),
        (FailureKind::Unsupported, 8),
        (FailureKind::NewerProducer, 9),
    ];
}

/// Server → client: a request failed; the module stays open and other requests are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The request.
    pub request: RequestId,
    /// Why.
    pub kind: FailureKind,
    /// The function that made it fail, where that is known.
    pub function: Option<FunctionId>,
    /// Text for people.
    pub message: String,
}

/// Server → client: all roots are in objects that were sent for other requests meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The request.
    pub request: RequestId,
    /// The requests whose objects hold its roots; their replies came before this one.
    pub by: Vec<RequestId>,
}

/// Client → server: rewrite this as bitcode (and an object) that Kiln reads itself.
#[derive(Debug)]
pub struct Normalize {
    /// Textual IR, bitcode of another producer, or bitcode with module-level assembly.
    pub input: Payload,
    /// What to call the input in messages.
    pub name: String,
}

/// Server → client: the input, rewritten.
#[derive(Debug)]
pub struct Normalized {
    /// The request.
    pub request: RequestId,
    /// Bitcode of the optimizer's own version, without module-level assembly.
    pub bitcode: Payload,
    /// The module-level assembly as an ELF object, if there was any.
    pub assembly: Option<Payload>,
}

pub(crate) mod kind {
    pub(crate) const HELLO: u16 = 1;
    pub(crate) const OPEN_MODULE: u16 = 2;
    pub(crate) const COMPILE: u16 = 3;
    pub(crate) const NORMALIZE: u16 = 4;
    pub(crate) const CLOSE_MODULE: u16 = 5;
    pub(crate) const WELCOME: u16 = 0x8001;
    pub(crate) const REFUSED: u16 = 0x8002;
    pub(crate) const COMPILED: u16 = 0x8003;
    pub(crate) const FAILED: u16 = 0x8004;
    pub(crate) const COVERED: u16 = 0x8005;
    pub(crate) const NORMALIZED: u16 = 0x8006;
}

pub(crate) const MAGIC: [u8; 8] = *b"kilncomp";

impl OpenModule {
    pub(crate) fn encode(self) -> Writer {
        let mut w = Writer::default();
        w.u32(self.module.0);
        w.bytes.extend_from_slice(&self.digest.0);
        w.bytes(&self.have.0);
        w.payload(self.bitcode);
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<Self, Error> {
        let module = ModuleId(r.u32()?);
        let digest = ModuleDigest(r.array()?);
        let have = FunctionSet(r.bytes()?.to_vec());
        let bitcode = r.payload()?;
        r.finish()?;
        Ok(Self { module, digest, bitcode, have })
    }
}

impl Compile {
    /// `seen`: how many `Compiled` replies the client had handled when it made the request.
    pub(crate) fn encode(self, request: RequestId, seen: u32) -> Writer {
        let mut w = Writer::default();
        w.u32(request.0);
        w.u32(seen);
        w.u32(self.module.0);
        w.u8(match self.pipeline {
            Pipeline::Quick => 0,
            Pipeline::Full => 1,
        });
        w.u32(self.neighbours.functions_max);
        w.u32(self.neighbours.instructions_max);
        w.ids(self.roots.iter().map(|f| f.0));
        w.ids(self.opaque.iter().map(|f| f.0));
        w.u8(u8::from(self.alone.is_some()));
        if let Some(alone) = &self.alone {
            w.bytes(alone);
        }
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<(RequestId, u32, Self), Error> {
        let request = RequestId(r.u32()?);
        let seen = r.u32()?;
        let module = ModuleId(r.u32()?);
        let pipeline = match r.u8()? {
            0 => Pipeline::Quick,
            1 => Pipeline::Full,
            _ => return Err(r.malformed("names an unknown pipeline")),
        };
        let neighbours = Neighbours { functions_max: r.u32()?, instructions_max: r.u32()? };
        let roots = r.ids(FunctionId)?;
        let opaque = r.ids(FunctionId)?;
        let alone = match r.u8()? {
            0 => None,
            1 => Some(r.bytes()?.to_vec()),
            _ => return Err(r.malformed("has a flag that is neither 0 nor 1")),
        };
        r.finish()?;
        Ok((request, seen, Self { module, roots, pipeline, neighbours, opaque, alone }))
    }
}

impl Normalize {
    pub(crate) fn encode(self, request: RequestId) -> Writer {
        let mut w = Writer::default();
        w.u32(request.0);
        w.bytes(self.name.as_bytes());
        w.payload(self.input);
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<(RequestId, Self), Error> {
        let request = RequestId(r.u32()?);
        let name = r.text()?;
        let input = r.payload()?;
        r.finish()?;
        Ok((request, Self { input, name }))
    }
}

impl Welcome {
    pub(crate) fn encode(&self) -> Writer {
        let mut w = Writer::default();
        w.u32(PROTOCOL_VERSION);
        w.bytes(self.llvm_version.as_bytes());
        w.bytes(self.host_cpu.as_bytes());
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<(u32, Self), Error> {
        let version = r.u32()?;
        let welcome = Self { llvm_version: r.text()?, host_cpu: r.text()? };
        r.finish()?;
        Ok((version, welcome))
    }
}

impl Timings {
    fn encode(&self, w: &mut Writer) {
        for time in [self.queued, self.open, self.extract, self.passes, self.codegen] {
            w.u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Error> {
        let mut time = || r.u64().map(Duration::from_nanos);
        Ok(Self { queued: time()?, open: time()?, extract: time()?, passes: time()?, codegen: time()? })
    }
}

impl Compiled {
    pub(crate) fn encode(self) -> Writer {
        let mut w = Writer::default();
        w.u32(self.request.0);
        w.ids(self.functions.iter().map(|f| f.0));
        w.ids(self.globals.iter().map(|g| g.0));
        w.ids(self.visible.iter().map(|f| f.0));
        w.u64(self.instructions);
        self.timings.encode(&mut w);
        w.payload(self.object);
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<Self, Error> {
        let compiled = Self {
            request: RequestId(r.u32()?),
            functions: r.ids(FunctionId)?,
            globals: r.ids(GlobalId)?,
            visible: r.ids(FunctionId)?,
            instructions: r.u64()?,
            timings: Timings::decode(&mut r)?,
            object: r.payload()?,
        };
        r.finish()?;
        Ok(compiled)
    }
}

impl Failed {
    pub(crate) fn encode(&self) -> Writer {
        let mut w = Writer::default();
        w.u32(self.request.0);
        w.u8(FailureKind::ALL.iter().find(|(kind, _)| *kind == self.kind).map_or(0, |(_, code)| *code));
        w.u8(u8::from(self.function.is_some()));
        w.u32(self.function.map_or(0, |f| f.0));
        w.bytes(self.message.as_bytes());
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<Self, Error> {
        let request = RequestId(r.u32()?);
        let code = r.u8()?;
        let kind = FailureKind::ALL.iter().find(|(_, c)| *c == code).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| r.malformed("names an unknown kind of failure"))?;
        let known = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(r.malformed("has a flag that is neither 0 nor 1")),
        };
        let function = FunctionId(r.u32()?);
        let message = r.text()?;
        r.finish()?;
        Ok(Self { request, kind, function: known.then_some(function), message })
    }
}

impl Covered {
    pub(crate) fn encode(&self) -> Writer {
        let mut w = Writer::default();
        w.u32(self.request.0);
        w.ids(self.by.iter().map(|r| r.0));
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<Self, Error> {
        let covered = Self { request: RequestId(r.u32()?), by: r.ids(RequestId)? };
        r.finish()?;
        Ok(covered)
    }
}

impl Normalized {
    pub(crate) fn encode(self) -> Writer {
        let mut w = Writer::default();
        w.u32(self.request.0);
        w.payload(self.bitcode);
        w.u8(u8::from(self.assembly.is_some()));
        if let Some(assembly) = self.assembly {
            w.payload(assembly);
        }
        w
    }

    pub(crate) fn decode(mut r: Reader<'_>) -> Result<Self, Error> {
        let request = RequestId(r.u32()?);
        let bitcode = r.payload()?;
        let assembly = match r.u8()? {
            0 => None,
            1 => Some(r.payload()?),
            _ => return Err(r.malformed("has a flag that is neither 0 nor 1")),
        };
        r.finish()?;
        Ok(Self { request, bitcode, assembly })
    }
}
