//! Kiln's compile protocol between the process that runs a program and the optimizer.
//!
//! [`Client`] and [`Server`] are state machines without I/O: bytes and descriptors go in through [`Machine::handle`],
//! frames come out of [`Machine::poll_transmit`], events and requests are values. [`Connection`] joins a machine with
//! the one transport, a Unix stream socket that passes memory files; [`Spawner`] starts an optimizer so that the
//! program does not notice it.
//!
//! # What the caller must know
//!
//! - Whatever bytes arrive, the answer is an [`Error`], after which the connection is of no use: drop it.
//! - Nothing here calls a libc function that allocates or locks. Rust's global allocator is used; where the first call
//!   of a function may happen inside `malloc`, that allocator must not be libc's.
//! - The program can close or replace any descriptor. Each use of the socket compares its identity first and fails with
//!   [`ErrorKind::NotOurs`]; two uses that race with such a program are not protected from each other.
//! - One connection is one thread's business at a time; [`Waiter`] lets another thread wait for it without a lock.

#![deny(unsafe_code)]

mod client;
mod connection;
mod error;
mod frame;
mod message;
mod server;
#[expect(unsafe_code, reason = "system calls that rustix does not wrap, memory maps, process creation")]
mod transport;
mod wire;

use std::os::fd::OwnedFd;

pub use client::{Client, Event};
pub use connection::Connection;
pub use error::{Error, ErrorKind};
pub use frame::{FRAME_BYTES_MAX, FRAME_DESCRIPTORS_MAX, Transmit};
pub use message::{
    Compile, Compiled, Covered, Failed, FailureKind, FunctionSet, INLINE_BYTES_MAX, ModuleId, Neighbours, Normalize,
    Normalized, OpenModule, PROTOCOL_VERSION, Payload, RequestId, Timings, Welcome,
};
pub use server::{Request, Server};
pub use transport::{Interest, Log, Mapping, Readiness, SpawnError, Spawned, Spawner, Transport, Waiter};

/// One side of a protocol as a state machine.
pub trait Machine {
    /// The next frame to send, if any.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// Takes what arrived, `fds` included, in pieces of any size. After an error the machine must not be used to
    /// receive; what it still has to send may say why.
    fn handle(&mut self, bytes: &[u8], fds: &mut Vec<OwnedFd>) -> Result<(), Error>;
}
