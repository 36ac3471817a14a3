//! Versions of functions: installing, replacing, taking away, and freeing what nobody is in any more.
//!
//! `docs/design/replacement.md` has the protocol and the table of states; [`plan`] is its heart.

#[cfg(not(loom))]
mod cold;
#[cfg_attr(loom, allow(dead_code, reason = "the loom build keeps the protocol and leaves out what it acts on"))]
pub(crate) mod plan;
#[cfg(not(loom))]
mod reclaim;
#[cfg(not(loom))]
mod slab;
#[cfg(not(loom))]
mod store;
#[cfg(not(loom))]
mod table_versions;

#[cfg(not(loom))]
pub use reclaim::{Found, Holder, Reclaimed, Reclaiming};
#[cfg(not(loom))]
pub use table_versions::{
    Body, CallSite, Frozen, InstallError, Installed, Mode, Pin, RetiredVersion, Unit, Versions, VersionsStats,
};
