//! First calls in the child of a fork.
//!
//! The children here are forked from a process with many threads, so they do nothing but first calls and `_exit`.

use crate::rig::{self, Memory, compile_once, plain};
use kiln_dispatch::{FunctionIndex, FunctionTable, fork_child_reset};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Like `fork`, but without telling anybody.
fn bare_fork() -> libc::pid_t {
    // SAFETY: the child does what the head of this file says.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

fn plain_fork() -> libc::pid_t {
    // SAFETY: as above.
    unsafe { libc::fork() }
}

/// Runs `child` in a forked process; the exit status.
fn in_child(fork: fn() -> libc::pid_t, child: impl FnOnce() -> u32) -> i32 {
    let pid = fork();
    assert!(pid >= 0);
    if pid == 0 {
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(254);
        // SAFETY: ends the process.
        unsafe { libc::_exit(status as i32) }
    }
    let mut status = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    // A child that hangs does so with all signals blocked: only the parent can end it.
    // SAFETY: waits for our own child.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > deadline {
            // SAFETY: our own child, which was not waited for yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

/// While `threads` threads of the parent are in the middle of compiling functions `0..threads`, a child calls `called`.
fn fork_during_compiles(threads: u32, called: u32, fork: fn() -> libc::pid_t, reset: bool) {
    // Whoever wants all stacks must not have some of them taken for ever by another who does.
    let _all_stacks = rig::ALL_STACKS.lock().unwrap();
    let go_on: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let compiling: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let parent = std::process::id();
    // What a child installs is its own.
    let memory = Memory::private(1 << 20);
    let (table, _) = rig::table(memory, move |table, function| {
        compile_once(table, function, &|| {
            compiling.fetch_add(1, Ordering::Relaxed);
            while std::process::id() == parent && !go_on.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            memory.returns(function.0)
        })
    });
    table.allocate(100).unwrap();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..threads).map(|n| scope.spawn(move || plain(table, FunctionIndex(n))())).collect();
        while compiling.load(Ordering::Relaxed) < threads {
            std::thread::yield_now();
        }
        // Whatever happens to the child, the callers are let go, and the test ends.
        let release = Release(go_on);
        let status = in_child(fork, || {
            if reset {
                fork_child_reset();
            }
            twice(table, called)
        });
        drop(release);
        assert_eq!(status, called as i32);
        for (n, caller) in callers.into_iter().enumerate() {
            assert_eq!(caller.join().unwrap(), n as u32);
        }
    });
    assert_eq!(twice(table, 70), 70);
}

/// Sets the flag when dropped.
struct Release(&'static AtomicBool);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn twice(table: &FunctionTable, n: u32) -> u32 {
    let function = plain(table, FunctionIndex(n));
    if function() == n && table.body(FunctionIndex(n)).is_some() { function() } else { 255 }
}

/// The owner of the compile exists in the parent only; the child compiles for itself.
#[test]
fn trap_11_a_forked_child_calls_what_the_parent_is_compiling() {
    fork_during_compiles(1, 0, plain_fork, true);
}

/// Nobody told the child that it is one: the trampoline notices.
#[test]
fn trap_11_a_child_of_a_bare_clone_calls_what_the_parent_is_compiling() {
    fork_during_compiles(1, 0, bare_fork, false);
}

/// All stacks of the engine are taken in the parent; in the child they are free.
#[test]
fn trap_11_a_forked_child_does_not_wait_for_the_parents_stacks() {
    fork_during_compiles(rig::STACKS as u32, 66, plain_fork, true);
    fork_during_compiles(rig::STACKS as u32, 66, bare_fork, false);
}

/// The child of a child is a child too, and threads of a child meet in it as anywhere.
#[test]
fn trap_11_children_fork_and_start_threads() {
    let memory = Memory::private(1 << 20);
    let (table, _) =
        rig::table(memory, move |table, function| compile_once(table, function, &|| memory.returns(function.0)));
    table.allocate(10).unwrap();
    let status = in_child(bare_fork, || {
        let grandchild = in_child(bare_fork, || twice(table, 1));
        if grandchild == 1 { twice(table, 2) } else { 255 }
    });
    assert_eq!(status, 2);
    assert_eq!(table.body(FunctionIndex(1)), None);
    assert_eq!(twice(table, 1), 1);
}

/// Threads that all come through the trampoline at once after a fork: one resets, none claims before.
#[test]
fn trap_11_the_first_threads_of_a_child_agree_on_the_reset() {
    const THREADS: u32 = 4;
    let memory = Memory::private(1 << 20);
    let compiles: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let (table, _) = rig::table(memory, move |table, function| {
        compile_once(table, function, &|| {
            compiles.fetch_add(1, Ordering::Relaxed);
            memory.returns(function.0)
        })
    });
    let function = table.allocate(1).unwrap();
    for _ in 0..50 {
        let status = in_child(plain_fork, || {
            // glibc's `fork` leaves a child in which threads and allocation work.
            let barrier = Barrier::new(THREADS as usize);
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        barrier.wait();
                        plain(table, function)();
                    });
                }
            });
            compiles.load(Ordering::Relaxed)
        });
        assert_eq!(status, 1);
    }
    let _: &FunctionTable = table;
}

/// The resolver itself forks, and its child makes a first call while it is still on the stack it was forked on.
#[test]
fn trap_11_a_child_forked_by_the_resolver_keeps_its_stack() {
    let memory = Memory::private(1 << 20);
    let (table, _) = rig::table(memory, move |table, function| {
        if function == FunctionIndex(0) {
            let status = in_child(bare_fork, || {
                fork_child_reset();
                twice(table, 1)
            });
            assert_eq!(status, 1);
        }
        compile_once(table, function, &|| memory.returns(function.0))
    });
    table.allocate(2).unwrap();
    assert_eq!(twice(table, 0), 0);
}
