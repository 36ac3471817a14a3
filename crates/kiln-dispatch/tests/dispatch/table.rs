//! The table itself: indices, stubs, slots.

use crate::rig::{self, Memory, plain};
use kiln_abi::ExecutorAddr;
use kiln_dispatch::{Claim, ErrorKind, FunctionIndex, Outcome};
use std::sync::atomic::Ordering;

fn never(_: &'static kiln_dispatch::FunctionTable, function: FunctionIndex) -> ExecutorAddr {
    panic!("{function:?} was called")
}

#[test]
fn stubs_and_indices_name_each_other() {
    let (table, _) = rig::table(Memory::two_views(4 << 20), never);
    let first = table.allocate(100).unwrap();
    let second = table.allocate(100_000).unwrap();
    assert_eq!((first, second), (FunctionIndex(0), FunctionIndex(100)));
    assert_eq!(table.len(), 100_100);
    for n in (0..table.len()).step_by(37) {
        let stub = table.stub(FunctionIndex(n));
        assert!(stub.get().is_multiple_of(16));
        assert_eq!(table.index_of(stub), Some(FunctionIndex(n)));
        assert_eq!(table.index_of(stub + 15), Some(FunctionIndex(n)));
    }
    assert_eq!(table.index_of(table.stub(FunctionIndex(0)) - 1), None);
    assert_eq!(table.index_of(table.stub(FunctionIndex(table.len() - 1)) + 16), None);
    assert_eq!(table.index_of(ExecutorAddr::new(0x1000)), None);
    assert_eq!(table.index_of(ExecutorAddr::new(u64::MAX)), None);
}

#[test]
fn a_function_costs_few_bytes() {
    let (table, _) = rig::table(Memory::two_views(4 << 20), never);
    table.allocate(100_000).unwrap();
    let stats = table.stats();
    let per_function = (stats.stub_bytes + stats.table_bytes) as f64 / f64::from(stats.functions);
    println!("{stats:?}: {per_function:.2} bytes per function");
    assert!(per_function < 22.5, "{per_function}");
    assert!(stats.blocks < 50);
}

#[test]
fn a_claim_is_settled_once() {
    let memory = Memory::two_views(1 << 20);
    let (table, _) = rig::table(memory, never);
    let first = table.allocate(3).unwrap();
    let [a, b, c] = [first, FunctionIndex(first.0 + 1), FunctionIndex(first.0 + 2)];
    assert_eq!(table.claim(a), Claim::Mine);
    assert_eq!(table.claim(a), Claim::Other);
    assert_eq!(table.body(a), None);
    let body = memory.returns(1);
    // A neighbour that nobody claimed comes along.
    table.install(&[(a, body), (b, body)]).unwrap();
    assert_eq!(table.claim(a), Claim::Installed(body));
    assert_eq!(table.claim(b), Claim::Installed(body));
    assert_eq!(table.wait(a), Outcome::Installed(body));
    assert_eq!(table.body(b), Some(body));
    assert_eq!(table.claim(c), Claim::Mine);
    table.abandon(c);
    assert_eq!(table.wait(c), Outcome::Abandoned);
    assert_eq!(table.claim(c), Claim::Mine);
    table.fail(c);
    assert_eq!(table.claim_or_wait(c), Claim::Failed);
    assert_eq!(table.wait(c), Outcome::Failed);
}

#[test]
fn bodies_out_of_reach_change_nothing() {
    let memory = Memory::two_views(1 << 20);
    let (table, _) = rig::table(memory, never);
    let near = table.allocate(2).unwrap();
    let far = FunctionIndex(near.0 + 1);
    let body = table.stub(far) + (1 << 40);
    let error = table.install(&[(near, memory.returns(1)), (far, body)]).unwrap_err();
    match error.kind() {
        ErrorKind::OutOfReach { function, stub, body: target } => {
            assert_eq!((*function, *stub, *target), (far, table.stub(far), body));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table.claim(near), Claim::Mine);
}

#[test]
fn full_stub_memory_is_an_error_and_the_table_goes_on() {
    let memory = Memory::two_views(64 << 10);
    let (table, _) = rig::table(memory, never);
    table.allocate(10).unwrap();
    assert!(matches!(table.allocate(100_000).unwrap_err().kind(), ErrorKind::StubMemory { .. }));
    assert_eq!(table.len(), 10);
    assert!(matches!(table.allocate(u32::MAX).unwrap_err().kind(), ErrorKind::TooManyFunctions { allocated: 10, .. }));
    assert_eq!(table.allocate(200).unwrap(), FunctionIndex(10));
    assert_eq!(table.allocate(0).unwrap(), FunctionIndex(210));
}

/// A batch of stubs takes one barrier, a batch of installs none of its own: the one that published the bodies serves.
#[test]
fn trap_02_barriers_are_shared_by_a_batch() {
    let memory = Memory::two_views(4 << 20);
    let (table, _) = rig::table(memory, never);
    let first = table.allocate(100_000).unwrap();
    assert_eq!(memory.barriers.load(Ordering::Relaxed), 1);
    let body = memory.returns(7);
    let before = memory.barriers.load(Ordering::Relaxed);
    let bodies: Vec<_> = (0..1000).map(|n| (FunctionIndex(first.0 + n), body)).collect();
    table.install(&bodies).unwrap();
    assert_eq!(memory.barriers.load(Ordering::Relaxed), before);
    assert!((0..1000).all(|n| plain(table, FunctionIndex(n))() == 7));
}

/// The only word that ever changes is the stub's first, which is aligned and holds the whole jump; the address that
/// everybody else holds stays the stub.
#[test]
fn trap_03_only_the_slot_is_patched() {
    let memory = Memory::two_views(1 << 20);
    let (table, _) = rig::table(memory, never);
    let function = table.allocate(3).unwrap();
    let stub = table.stub(function);
    let read = || {
        let bytes = std::ptr::with_exposed_provenance::<[u8; 48]>(stub.get() as usize);
        // SAFETY: three stubs of the table, readable where they run.
        unsafe { bytes.read_volatile() }
    };
    let fresh = read();
    assert_eq!(fresh[..8], [0xe9, 3, 0, 0, 0, 0xcc, 0xcc, 0xcc]);
    let body = memory.returns(5);
    table.install(&[(function, body)]).unwrap();
    let installed = read();
    assert_eq!(installed[8..], fresh[8..]);
    let word = u64::from_le_bytes(installed[..8].try_into().unwrap());
    assert_eq!(kiln_abi::x86_64::stub_target(stub, word), Some(body));
    assert_eq!(table.stub(function), stub);
}
