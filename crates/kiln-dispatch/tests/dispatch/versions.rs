//! Replacing bodies for real: hand-assembled callers and callees in the real code cache.

use crate::rig::table_in;
use kiln_abi::x86_64::{displacement_target, displacement_word};
use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, Options, Place, Records};
use kiln_dispatch::{
    Body, CallSite, Claim, Found, FunctionIndex, FunctionTable, InstallError, Installed, Mode, Reclaimed, Unit,
    Versions,
};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

struct World {
    cache: &'static CodeCache,
    table: &'static FunctionTable,
    versions: &'static Versions,
}

/// What the resolver installs: `mov eax, VALUE; ret`.
static FRESH: AtomicU32 = AtomicU32::new(7);

fn world() -> World {
    let cache: &'static CodeCache = Box::leak(Box::new(CodeCache::new(&Options::new()).unwrap()));
    let cell: &'static OnceLock<&'static Versions> = Box::leak(Box::default());
    let (table, _) = table_in(cache, move |table, function| {
        let versions = cell.get().unwrap();
        let epoch = versions.epoch();
        match table.claim_or_wait(function) {
            Claim::Mine if versions.revive(function) => {}
            Claim::Mine => {
                let code = returns(FRESH.load(Ordering::Relaxed));
                install(cache, versions, function, &code, None, &[], epoch, Mode::Offer).unwrap();
            }
            Claim::Installed(_) => {}
            other => panic!("{other:?}"),
        }
        table.stub(function)
    });
    table.allocate(100).unwrap();
    let versions: &'static Versions = Box::leak(Box::new(Versions::new(table, cache)));
    assert!(cell.set(versions).is_ok());
    World { cache, table, versions }
}

fn returns(value: u32) -> Vec<u8> {
    let [a, b, c, d] = value.to_le_bytes();
    vec![0xb8, a, b, c, d, 0xc3]
}

/// `push rax; call ?; pop rcx; ret`: the displacement at 2.
fn calls() -> Vec<u8> {
    vec![0x50, 0xe8, 0, 0, 0, 0, 0x59, 0xc3]
}

#[expect(clippy::too_many_arguments, reason = "each test names what matters to it")]
fn install(
    cache: &CodeCache,
    versions: &Versions,
    function: FunctionIndex,
    code: &[u8],
    callee: Option<FunctionIndex>,
    visible: &[FunctionIndex],
    epoch: u64,
    mode: Mode,
) -> Result<Installed, InstallError> {
    let segment = Segment { permission: Permission::Code, size: code.len() as u64, align: 16 };
    let mut reservation = cache.reserve(&[(segment, Place::Anywhere)]).unwrap();
    reservation.working(0).copy_from_slice(code);
    let address = reservation.segment(0);
    let sites: Vec<_> = callee.map(|function| CallSite { place: address + 2, function }).into_iter().collect();
    let bodies = [Body { function, address, bytes: code.len() as u64 }];
    let unit =
        Unit { reservation, records: Records::new(), bodies: &bodies, sites: &sites, unpatchable: 0, visible, epoch };
    versions.install(unit, mode)
}

impl World {
    fn install(&self, function: u32, code: &[u8], callee: Option<u32>, mode: Mode) -> Installed {
        let (function, callee) = (FunctionIndex(function), callee.map(FunctionIndex));
        install(self.cache, self.versions, function, code, callee, &[], self.versions.epoch(), mode).unwrap()
    }

    fn call(&self, function: u32) -> u32 {
        crate::rig::plain(self.table, FunctionIndex(function))()
    }

    /// Where the call in the current body of `caller` leads.
    fn site(&self, caller: u32) -> ExecutorAddr {
        let place = self.versions.current(FunctionIndex(caller)).unwrap().start + 2;
        // SAFETY: inside a live body.
        let word = unsafe { self.cache.code_word(displacement_word(place)) };
        displacement_target(word.load(Ordering::Relaxed), place)
    }

    fn body(&self, function: u32) -> ExecutorAddr {
        self.versions.current(FunctionIndex(function)).unwrap().start
    }
}

impl World {
    /// Frees what is retired, as if threads were found to be in the bodies at `held`.
    fn reclaim(&self, held: &[ExecutorAddr]) -> Reclaimed {
        let Some(reclaiming) = self.versions.begin_reclaim() else { return Reclaimed::default() };
        assert!(self.versions.begin_reclaim().is_none(), "one at a time");
        let mut found = Found::default();
        for (at, range) in reclaiming.ranges().enumerate() {
            found.held.push(held.iter().any(|address| range.contains(&address.get())));
            if found.held[at] {
                found.holders.push((1, at));
            }
        }
        self.versions.finish_reclaim(reclaiming, found, |_| {})
    }
}

#[test]
fn calls_lead_straight_to_the_current_body() {
    let world = world();
    world.install(0, &calls(), Some(1), Mode::Offer);
    assert_eq!(world.site(0), world.table.stub(FunctionIndex(1)), "not compiled yet");
    assert_eq!(world.call(0), 7, "through the stub and the resolver");
    assert_eq!(world.site(0), world.body(1), "the first install moves the callers that exist");
    for value in 100..1100 {
        let installed = world.install(1, &returns(value), None, Mode::Redefine);
        assert_eq!(installed.versions, [(FunctionIndex(1), value - 98)]);
        assert_eq!(installed.retired.len(), 1);
        assert_eq!(world.site(0), world.body(1));
        assert_eq!((world.call(0), world.call(1)), (value, value));
    }
    world.install(2, &calls(), Some(1), Mode::Offer);
    assert_eq!(world.site(2), world.body(1), "a new caller is bound at once");
    assert_eq!(world.versions.stats().retired_units, 1000);
    let reclaimed = world.reclaim(&[]);
    assert_eq!((reclaimed.units, reclaimed.held_units), (1000, 0));
    assert_eq!((world.call(0), world.call(2)), (1099, 1099));
}

#[test]
fn memory_is_flat_however_often_a_function_is_replaced() {
    let world = world();
    world.install(0, &calls(), Some(1), Mode::Offer);
    let mut used = Vec::new();
    for round in 0..20 {
        for value in 0..500 {
            world.install(1, &returns(value), None, Mode::Redefine);
        }
        world.reclaim(&[]);
        used.push(world.cache.stats().regions[Permission::Code as usize].used_bytes);
        assert_eq!(world.versions.stats().units, 2, "round {round}");
    }
    assert!(used.iter().all(|bytes| *bytes == used[0]), "{used:?}");
}

#[test]
fn what_a_thread_is_in_stays_and_its_calls_go_to_new_bodies() {
    let world = world();
    world.install(1, &returns(1), None, Mode::Offer);
    world.install(0, &calls(), Some(1), Mode::Offer);
    let old_caller = world.body(0);
    world.install(0, &calls(), Some(1), Mode::Reoptimise);
    let reclaimed = world.reclaim(&[old_caller]);
    assert_eq!((reclaimed.units, reclaimed.held_units), (0, 1));
    assert_eq!(reclaimed.holders.len(), 1);
    assert_eq!((reclaimed.holders[0].function, reclaimed.holders[0].number), (FunctionIndex(0), 1));
    world.install(1, &returns(2), None, Mode::Redefine);
    // SAFETY: the old body was not freed, and it is a function without arguments.
    let old: extern "C" fn() -> u32 = unsafe { std::mem::transmute(old_caller.get() as *const ()) };
    assert_eq!(old(), 2, "a running old caller calls the new meaning");
    assert_eq!(world.reclaim(&[]).units, 2);
    assert_eq!(world.call(0), 2);
}

#[test]
fn who_saw_a_redefined_body_is_compiled_again() {
    let world = world();
    let epoch = world.versions.epoch();
    let saw = |epoch| {
        let (caller, callee) = (FunctionIndex(0), FunctionIndex(1));
        install(world.cache, world.versions, caller, &returns(70), None, &[callee], epoch, Mode::Offer)
    };
    saw(epoch).unwrap();
    world.install(2, &calls(), Some(0), Mode::Offer);
    world.install(1, &returns(1), None, Mode::Offer);
    assert_eq!(world.call(2), 70);
    assert!(world.install(1, &returns(2), None, Mode::Reoptimise).invalidated.is_empty(), "the same meaning");
    assert_eq!(world.site(2), world.body(0));
    let installed = world.install(1, &returns(3), None, Mode::Redefine);
    assert_eq!(installed.invalidated, [FunctionIndex(0)]);
    assert_eq!(installed.retired.len(), 2);
    assert_eq!(world.site(2), world.table.stub(FunctionIndex(0)));
    assert_eq!(world.table.claim(FunctionIndex(0)), Claim::Mine, "somebody must compile it again");
    assert!(matches!(saw(epoch), Err(InstallError::Stale(FunctionIndex(1)))), "begun before the redefinition");
    assert!(world.versions.fail(FunctionIndex(0), epoch), "it was not redefined itself");
    assert!(!world.versions.fail(FunctionIndex(1), epoch), "it was");
    saw(world.versions.epoch()).unwrap();
    assert_eq!(world.call(2), 70);
}

#[test]
fn bodies_taken_away_come_back_by_the_resolver() {
    let world = world();
    world.install(0, &calls(), Some(1), Mode::Offer);
    assert_eq!(world.call(0), 7);
    for _ in 0..3 {
        let taken = world.versions.invalidate(&[FunctionIndex(1), FunctionIndex(50)]);
        assert_eq!(taken.len(), 1, "there was never a body for the other");
        assert_eq!(world.site(0), world.table.stub(FunctionIndex(1)));
        assert_eq!(world.call(0), 7);
        assert_eq!(world.site(0), world.body(1));
    }
    assert_eq!(world.reclaim(&[]).units, 3);
}

#[test]
fn pinned_units_outlive_their_versions() {
    let world = world();
    let installed = world.install(1, &returns(1), None, Mode::Offer);
    let pin = world.versions.pin(installed.unit.unwrap());
    world.install(1, &returns(2), None, Mode::Redefine);
    assert_eq!(world.reclaim(&[]).units, 0);
    world.versions.unpin(pin);
    assert_eq!(world.reclaim(&[]).units, 1);
}

#[test]
fn cold_functions_are_revived_by_a_call_and_evicted_without_one() {
    let world = world();
    let count = |world: &World| {
        let stats = world.versions.stats();
        (stats.cooled, stats.revived, stats.evicted)
    };
    for n in 1..4 {
        world.install(n, &returns(n), None, Mode::Offer);
    }
    world.install(0, &calls(), Some(1), Mode::Offer);
    let callee = FunctionIndex(1);
    let body = world.body(1);
    let in_turn = world.versions.next_in_turn(10);
    assert_eq!(in_turn, [1, 2, 3, 0].map(FunctionIndex));
    world.versions.cool(&[callee, FunctionIndex(2)], u64::MAX);
    assert_eq!(world.site(0), world.table.stub(callee));
    assert_eq!(world.versions.next_in_turn(10), [1, 3, 0].map(FunctionIndex)[1..]);
    // A caller that is linked while its callee is cold shows that it is needed, too.
    world.install(0, &calls(), Some(1), Mode::Reoptimise);
    assert_eq!(world.site(0), world.table.stub(callee));
    assert_eq!(world.call(0), 1, "by way of the resolver, which finds the version there");
    assert_eq!((world.site(0), count(&world)), (body, (2, 1, 0)), "and calls are direct again");
    // The other one was not called.
    let evicted = world.versions.evict_cold(1);
    assert_eq!(evicted.iter().map(|v| v.function).collect::<Vec<_>>(), [FunctionIndex(2)]);
    assert!(world.versions.evict_cold(u64::MAX).is_empty());
    assert_eq!(count(&world), (2, 1, 1));
    assert_eq!(world.reclaim(&[]).units, 2, "it, and the first caller");
    assert_eq!(world.call(2), 7, "compiled again");
    assert_eq!(world.versions.cold_bytes(), 0);
}

#[test]
fn what_is_cold_can_be_replaced_and_taken_away() {
    let world = world();
    world.install(1, &returns(1), None, Mode::Offer);
    world.install(0, &calls(), Some(1), Mode::Offer);
    let callee = FunctionIndex(1);
    world.versions.cool(&[callee], u64::MAX);
    world.install(1, &returns(2), None, Mode::Redefine);
    assert_eq!((world.site(0), world.call(0)), (world.body(1), 2));
    assert!(world.versions.evict_cold(u64::MAX).is_empty(), "the new version is not cold");
    world.versions.cool(&[callee], u64::MAX);
    assert_eq!(world.versions.invalidate(&[callee]).len(), 1);
    assert!(world.versions.evict_cold(u64::MAX).is_empty());
    assert_eq!((world.call(0), world.versions.cold_bytes()), (7, 0));
    assert_eq!(world.reclaim(&[]).units, 2);
}

#[test]
fn cooling_stops_where_there_is_enough() {
    let world = world();
    for n in 0..4 {
        world.install(n, &returns(n), None, Mode::Offer);
    }
    let all = [0, 1, 2, 3].map(FunctionIndex);
    world.versions.cool(&all, returns(0).len() as u64 + 1);
    assert_eq!(world.versions.stats().cooled, 2);
    let pinned = world.install(0, &returns(9), None, Mode::Redefine).unit.unwrap();
    world.versions.pin(pinned).keep();
    assert_eq!(world.versions.next_in_turn(10), [2, 3].map(FunctionIndex), "one is cold, one is kept");
}

#[test]
fn an_offer_that_comes_late_is_dropped() {
    let world = world();
    world.install(1, &returns(1), None, Mode::Offer);
    let used = |world: &World| world.cache.stats().regions[Permission::Code as usize].used_bytes;
    let before = used(&world);
    assert_eq!(world.install(1, &returns(2), None, Mode::Offer), Installed::default());
    assert_eq!((world.call(1), used(&world)), (1, before));
}

#[test]
fn callers_see_the_new_meaning_as_soon_as_redefine_returns() {
    const CALLEES: u32 = 8;
    let world = &world();
    for n in 0..CALLEES {
        world.install(n, &returns(0), None, Mode::Offer);
        world.install(CALLEES + n, &calls(), Some(n), Mode::Offer);
    }
    let stamps: &[AtomicU32] = &[const { AtomicU32::new(0) }; CALLEES as usize];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let stop = &stop;
            scope.spawn(move || {
                let mut calls = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let n = (calls as u32 + thread) % CALLEES;
                    // Acquire: whatever made the stamp visible has returned from `install` before.
                    let at_least = stamps[n as usize].load(Ordering::Acquire);
                    let seen = world.call(if calls.is_multiple_of(2) { n } else { CALLEES + n });
                    assert!(seen >= at_least, "an entry into version {seen} after {at_least} was installed");
                    calls += 1;
                }
            });
        }
        for value in 1..20_000 {
            let n = value % CALLEES;
            world.install(n, &returns(value), None, Mode::Redefine);
            stamps[n as usize].store(value, Ordering::Release);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(world.versions.stats().retired_units, 19_999);
}
