//! Finding the unwind entry of a program counter.
//!
//! libgcc before version 13 keeps registered tables in a list, and every throw of the process, native ones included,
//! gets slower with each of them. So nothing is registered there: this crate defines `_Unwind_Find_FDE` itself
//! (`libgcc`), answers for its own code and passes every other question on. `index` is the data structure;
//! docs/design/unwind.md the protocol.

mod index;
mod libgcc;
mod registries;

use kiln_abi::FdeEntry;

pub(crate) use registries::{Checked, Registration, Registry, forget_readers};

/// The unwind entry of the published code at `pc`.
///
/// Lock-free and async-signal-safe; O(log n) in the number of functions of one publish, and independent of everything
/// else that is published.
#[must_use]
pub fn find_fde(pc: kiln_abi::ExecutorAddr) -> Option<FdeEntry> {
    registries::find(pc.get())
}
