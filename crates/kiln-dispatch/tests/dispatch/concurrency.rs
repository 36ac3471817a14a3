//! Threads that meet in first calls.

use crate::rig::{self, Memory, compile_once, plain};
use kiln_dispatch::FunctionIndex;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

#[test]
fn threads_that_meet_in_one_function_make_one_compile() {
    const THREADS: usize = 8;
    const FUNCTIONS: u32 = 200;
    static COMPILES: AtomicU32 = AtomicU32::new(0);
    let memory = Memory::two_views(4 << 20);
    let (table, _) = rig::table(memory, move |table, function| {
        compile_once(table, function, &|| {
            COMPILES.fetch_add(1, Ordering::Relaxed);
            memory.returns(function.0)
        })
    });
    table.allocate(FUNCTIONS).unwrap();
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for n in 0..FUNCTIONS {
                    barrier.wait();
                    assert_eq!(plain(table, FunctionIndex(n))(), n);
                }
            });
        }
    });
    assert_eq!(COMPILES.load(Ordering::Relaxed), FUNCTIONS);
}

/// Bodies are written, published and installed while other cores run through the stubs they go behind.
#[test]
fn trap_01_bodies_are_whole_when_a_stub_leads_to_them() {
    const FUNCTIONS: u32 = 20_000;
    let memory = Memory::two_views(8 << 20);
    let (table, _) =
        rig::table(memory, move |table, function| compile_once(table, function, &|| memory.returns(function.0)));
    table.allocate(FUNCTIONS).unwrap();
    let installed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..FUNCTIONS {
                installed.store(n, Ordering::Relaxed);
                assert_eq!(plain(table, FunctionIndex(n))(), n);
            }
            installed.store(FUNCTIONS, Ordering::Relaxed);
        });
        // This one always calls what the other one just goes through for the first time.
        while installed.load(Ordering::Relaxed) < FUNCTIONS {
            let n = installed.load(Ordering::Relaxed).min(FUNCTIONS - 1);
            assert_eq!(plain(table, FunctionIndex(n))(), n);
        }
    });
}

#[test]
fn a_slot_may_be_stored_again_while_threads_call() {
    let memory = Memory::two_views(1 << 20);
    let bodies = [memory.returns(0), memory.returns(1)];
    let (table, resolver) = rig::table(memory, move |table, function| compile_once(table, function, &|| bodies[0]));
    let function = table.allocate(1).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..100_000 {
                table.install(&[(function, bodies[n % 2])]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            assert!(plain(table, function)() < 2);
        }
    });
    assert!(resolver.entered.load(Ordering::Relaxed) <= 1);
}

/// 200 threads want one of 64 stacks: 64 get one, the others wait for theirs and get it.
#[test]
fn trap_12_more_first_calls_than_stacks() {
    const THREADS: u32 = 200;
    use rig::STACKS;
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    static MOST_INSIDE: AtomicUsize = AtomicUsize::new(0);
    static OPEN: AtomicBool = AtomicBool::new(false);
    static ADDRESSES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let memory = Memory::two_views(1 << 20);
    let (table, _) = rig::table(memory, move |table, function| {
        let local = 0u8;
        ADDRESSES.lock().unwrap().push((&raw const local).addr());
        let inside = INSIDE.fetch_add(1, Ordering::Relaxed) + 1;
        MOST_INSIDE.fetch_max(inside, Ordering::Relaxed);
        while !OPEN.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let body = compile_once(table, function, &|| memory.returns(function.0));
        INSIDE.fetch_sub(1, Ordering::Relaxed);
        body
    });
    table.allocate(THREADS).unwrap();
    ADDRESSES.lock().unwrap().reserve(THREADS as usize);
    let _all_stacks = rig::ALL_STACKS.lock().unwrap();
    let tids = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let tids = &tids;
            std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(scope, move || {
                    // SAFETY: asks for a number.
                    tids.lock().unwrap().push(unsafe { libc::gettid() });
                    assert_eq!(plain(table, FunctionIndex(n))(), n);
                })
                .unwrap();
        }
        // Other tests use the same stacks, so a few of the 64 may be out at any moment; they come back.
        while INSIDE.load(Ordering::Relaxed) < STACKS || tids.lock().unwrap().len() < THREADS as usize {
            std::thread::yield_now();
        }
        // Exactly one address per stack so far: nobody shares.
        let addresses = ADDRESSES.lock().unwrap().clone();
        OPEN.store(true, Ordering::Relaxed);
        assert_eq!(addresses.len(), STACKS);
        assert_eq!(addresses.iter().map(|address| address >> 12).collect::<HashSet<_>>().len(), STACKS);
    });
    assert_eq!(MOST_INSIDE.load(Ordering::Relaxed), STACKS);
}
