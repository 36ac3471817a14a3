//! First calls, for real: hand-assembled bodies, C functions, threads, signals and forks.
#![cfg(all(target_arch = "x86_64", target_os = "linux", not(loom)))]

mod code_cache;
mod concurrency;
mod forks;
mod native;
mod registers;
mod rig;
mod signals;
mod table;
mod versions;
