//! x86-64: how a stub enters the resolver.
//!
//! System V psABI, x86-64 supplement. <https://gitlab.com/x86-psABIs/x86-64-ABI>
//!
//! Peculiar here: instructions are not aligned, so only a word that is, the stub's first, may be rewritten; a core
//! that learns of new code by a load of data must execute a serialising instruction before it runs it; and what a
//! function may be handed in registers has no fixed size, since every new vector extension adds to it.

mod entry;
mod trampoline;
mod xstate;

pub(crate) use entry::{ENTRY_BYTES, entry_code};
pub(crate) use trampoline::{SAVED_BELOW_PROGRAM_SP, program_sp_slot, trampoline};
pub use xstate::{XSTATE, XState};
