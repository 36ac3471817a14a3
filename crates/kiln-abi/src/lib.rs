//! What the stages and processes of Kiln must agree on.
//!
//! Plain values only: addresses in the process that runs the code, ids that mean the same to our reader and to LLVM's,
//! permissions of memory, and per-architecture encodings of stubs. Nothing here allocates, locks or does I/O.

#![forbid(unsafe_code)]

mod addr;
mod id;
mod memory;
pub mod symbol;
pub mod x86_64;

pub use addr::ExecutorAddr;
pub use id::{FunctionId, GlobalId, ModuleDigest};
pub use memory::{FdeEntry, Permission, Pipeline, Segment, Tier};
