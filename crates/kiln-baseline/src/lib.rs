//! Kiln's baseline tier: from bitcode to link graphs, without LLVM.
//!
//! [`data::module_data`] turns the global variables of a module into a [`kiln_link::Graph`]: laid out as LLVM's data
//! layout says, with a relocation for every address. Functions take part as the addresses of their stubs.
//!
//! [`Compiler`] turns one function at a time into such a graph: its body is read, analysed (`analysis.rs`: order of
//! blocks, liveness, what flows along edges) and translated in one pass (`x86_64/`). What it does not do it refuses by
//! name ([`Unsupported`]), and the caller asks the optimizer for that function. It refuses whatever it is not sure about.
//!
//! The caller gives stubs for all functions with bodies and all ifuncs, and takes care of globals that hold label
//! addresses: they belong to a compiled version of their function and are left out here.

#![forbid(unsafe_code)]

mod analysis;
mod compiler;
pub mod data;
mod error;
mod evaluate;
mod lines;
mod predicates;
mod x86_64;

pub use compiler::{Code, CompileError, Compiler, Unsupported};
pub use error::{Error, ErrorKind};
pub use lines::LineTable;
