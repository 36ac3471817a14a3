//! Telling debuggers and profilers about published code.

mod gdb;
mod perf;

pub(crate) use gdb::{ForkLock, Registration, lock_for_fork, register as register_object};
pub(crate) use perf::{Log, State as LogState};
