//! Scans for threads that may be in retired bodies, against threads in every state that there is.
//!
//! A scan looks at all threads of its process, so every test has a process of its own: `rig::alone`.
#![cfg(all(target_arch = "x86_64", target_os = "linux", not(loom)))]

mod asleep;
mod engine;
mod processes;
mod reuse;
mod rig;
mod running;
mod stacks;
#[allow(dead_code, reason = "only part of it is needed here")]
#[path = "../dispatch/rig.rs"]
mod tables;
mod threads;
