//! First calls, for real: hand-assembled bodies, C functions, threads, signals and forks.
#![cfg(all(target_arch = "x86_64", target_os = "linux", not(loom)))]

mod registers;
#[allow(dead_code, reason = "the tests of threads, signals and forks come next")]
mod rig;
mod table;
