//! Kiln: an adaptive JIT runtime for LLVM IR.
//!
//! An [`Engine`] loads bitcode, IR, objects, archives and shared libraries into this process, links them, and runs
//! them. Functions of bitcode modules are compiled when they are first called, by the thread that calls: straight from
//! the bitcode, in one pass. What that compiler leaves out goes to an optimizer process, which is started then; nothing of
//! LLVM is in this process.
//!
//! # Duties of the embedder
//!
//! - Code runs in this process with all its rights; an engine is no sandbox.
//! - The first call of a function may happen anywhere: in a signal handler, inside `malloc`, on a small stack. The engine
//!   then uses Rust's global allocator. Where that is libc's (the default), a first call from inside `malloc` can wait
//!   for itself for ever; the `kiln` command has an allocator of its own for that reason.
//! - Make the engine early, before the process has many threads: it registers with the kernel and reserves address space.
//!
//! # What it does not do
//!
//! It does not interpret, and it does not undo: a loaded module stays until the session is closed, its tables for the life of
//! the process.

mod baseline;
mod bindings;
mod code;
mod compiler;
mod debugger;
mod digest;
mod dwarf;
mod engine;
mod error;
mod function;
mod generation;
mod handle;
mod history;
mod ifunc;
mod input;
mod inspect;
mod labels;
mod limit;
mod lineage;
mod lines;
mod load;
mod migration;
mod module;
mod object_file;
mod observe;
mod options;
mod place;
mod process;
mod reclaim;
mod replace;
mod resolve;
mod session;
mod signature;
mod source;
mod statistics;
mod versions;
mod watch;

pub use engine::{Engine, Program};
pub use error::Error;
pub use function::{Function, Signature, Value, ValueKind};
pub use generation::Update;
pub use handle::CodeHandle;
pub use history::{CompiledBy, Origin, VersionRecord};
pub use input::Input;
pub use inspect::inspect;
pub use kiln_abi::{ExecutorAddr, Permission};
pub use kiln_codecache::{ForkCopy, InProcess, Mapper, Options as MapperOptions, Pages, RegionViews};
pub use kiln_dispatch::{Holder, Reclaimed};
pub use migration::{Migration, VariableLayout};
pub use object_file::{CompiledObject, compile_object};
pub use options::{Options, PerfFormat, Pipeline, Tier, TierChoice};
pub use replace::{Pending, Redefined};
pub use statistics::{RegionUse, Statistics};
pub use watch::WatchEvent;

/// The README's example, compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
