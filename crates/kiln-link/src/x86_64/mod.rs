//! The x86-64 port: relocations, thread-local storage models, global offset table and stubs.

pub(crate) mod fixup;
pub(crate) mod got_plt;
pub(crate) mod relocations;
mod tls;

pub use relocations::RelocationKind;
pub(crate) use tls::general_dynamic_to_local_exec;
