//! LLVM for Kiln: extraction of single functions from lazily read bitcode, pipelines, emission, and the service that
//! offers them over a socket.
//!
//! The only crate that links LLVM, and so the only one that may crash, hang or run out of memory for reasons that are
//! not ours: it belongs in a process of its own, `kiln-optimizer`, which [`serve`] is the whole of. [`compiler`] is the
//! same without socket and threads.

#![deny(unsafe_code)]

pub mod compiler;
#[expect(unsafe_code, reason = "the C interface of the LLVM shim")]
mod ffi;
mod service;

pub use ffi::{Error, ErrorKind, Normalised, host_cpu, llvm_version, normalise, socket_from_number};
pub use service::{Options, serve};
