//! What a program can see of the process it runs in: its libraries, symbols, handlers, exit and forks.

pub(crate) mod crash;
pub(crate) mod exports;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod host;
pub(crate) mod interpose;
pub(crate) mod lease;
pub(crate) mod libraries;
pub(crate) mod signal_calls;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod tls;
pub(crate) mod tls_descriptor;
