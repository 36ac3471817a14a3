//! Telling debuggers and profilers about published code.

mod gdb;
mod perf;

pub(crate) use gdb::{Registration, lock as lock_debuggers, register as register_object};
pub(crate) use perf::{Log, State as LogState};
