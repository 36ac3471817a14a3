//! The x86-64 port: relocations, thread-local storage models, global offset table and stubs.

mod relocations;

pub use relocations::RelocationKind;
