//! What a program can see of the process it runs in: its libraries, symbols, handlers, exit and forks.

pub(crate) mod exports;
pub(crate) mod libraries;
