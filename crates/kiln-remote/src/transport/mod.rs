//! The one transport: a Unix stream socket, memory files, and the start of the process at the other end.
//!
//! The only module with system calls. It uses rustix (raw system calls on Linux) and a few bare libc wrappers, nothing
//! that allocates through libc or takes its locks, since it may run while the program is inside `malloc`.

mod memory;
mod socket;
mod spawn;

pub use memory::Mapping;
pub use socket::{Interest, Readiness, Transport, Waiter};
pub use spawn::{Log, SpawnError, Spawned, Spawner};
