//! Function table, stubs, slots and the lazy resolver trampoline.
//!
//! Every function of a program has one **stub**: 16 bytes of code whose address is what the whole process sees as the
//! function, and whose first aligned word, the **slot**, is a jump that leads to the function's body, or, as long as
//! there is none, into the **trampoline**. The trampoline moves the calling thread to a stack of the engine and asks
//! [`Resolve`] where to go on; then it makes the call as if nothing had happened. `docs/design/lazy-resolution.md`
//! holds the protocol and why each of its orderings is right.
//!
//! # The caller's duties
//!
//! - A body handed to [`FunctionTable::install`] is published: its bytes are written and every core has synchronised
//!   since. It stays valid for as long as the process runs.
//! - [`Resolve::resolve`] runs with all signals blocked, on a stack of 256 KiB, while any lock of the program may be
//!   held by the very thread it runs on: it uses neither libc's `malloc` nor anything else that takes a lock of libc,
//!   and it does not call program code. It does not unwind.
//! - Whoever claims a function settles it: [`install`](FunctionTable::install), [`fail`](FunctionTable::fail) or
//!   [`abandon`](FunctionTable::abandon).
//! - The child of a `fork` calls [`fork_child_reset`] before it claims, installs or allocates anything.
//!
//! # Replacement
//!
//! [`Versions`] holds what there is of each function beside its stub: the versions of its body, the units they came in
//! and the call sites that lead to them. It installs, replaces, takes away and frees them; `docs/design/replacement.md`
//! has the protocol.
//!
//! # What it does not do
//!
//! It does not compile or link, and it does not know why a body is replaced.

#[cfg(not(loom))]
mod chunk;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod fork;
#[cfg_attr(loom, allow(dead_code, unreachable_pub, reason = "the loom build leaves out the table"))]
mod index;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
pub mod scan;
#[cfg(not(loom))]
mod stack;
#[cfg_attr(loom, allow(dead_code, reason = "the loom build keeps the state machine and leaves out the table"))]
mod state;
mod sync;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod table;
mod versions;
#[cfg(not(loom))]
mod x86_64;

#[cfg(not(loom))]
pub use {
    error::{Error, ErrorKind},
    fork::fork_child_reset,
    index::FunctionIndex,
    memory::{StubBlock, StubMemory},
    table::{Claim, FunctionTable, Outcome, Resolve, Stats},
    versions::{
        Body, CallSite, Found, Frozen, Holder, InstallError, Installed, Mode, Pin, Reclaimed, Reclaiming,
        RetiredVersion, Unit, Versions, VersionsStats,
    },
    x86_64::{XSTATE, XState},
};
