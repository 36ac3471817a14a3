//! Kiln's executable memory.
//!
//! One [`CodeCache`] per session reserves address space in which everything is in reach of everything, and hands out
//! pieces of it: [`CodeCache::reserve`] → write through [`Reservation::working`] → [`Reservation::publish`] →
//! [`Published::retire`] → [`Retired::reclaim`]. No page is writable and executable in one view ([`Options::breakpoints`]
//! apart), no call on this way changes a mapping, and the number of mappings does not grow.
//!
//! Duties of the caller:
//!
//! * Make the cache before the process has threads.
//! * Let nothing lead to code before `publish` has returned.
//! * Write nothing into published code but through [`Published::word`], and synchronise cores afterwards.
//! * Reclaim only what no thread is inside; unwind entries and their language data live exactly as long as the code.
//!
//! Nothing here calls libc's allocator or takes a lock of libc after the cache was made, so pieces can be reserved and
//! published in a signal handler that interrupted `malloc`, as long as signals are blocked meanwhile: the cache has locks
//! of its own.
//!
//! Not here: object formats, symbols, which code is current, who is inside of what.

mod cache;
mod error;
mod fork;
mod heap;
mod in_process;
mod lifecycle;
mod mapper;
mod observe;
mod pieces;
mod quarantine;
mod region;
mod sync;
mod sys;
pub mod tls;
pub mod unwind;

pub use cache::{CodeCache, Options, Place, RegionStats, Stats};
pub use error::{Error, ErrorKind};
pub use fork::forked_without_handlers;
pub use in_process::InProcess;
pub use lifecycle::{Line, Published, Records, Reservation, Retired, Symbol};
pub use mapper::{ForkCopy, HUGE_PAGE, Mapper, Pages, RegionViews};
