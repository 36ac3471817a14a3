//! What a client keeps, gives up, closes to others, and brings along.

mod support;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln::{
    CodeHandle, Engine, Error, ExecutorAddr, ForkCopy, InProcess, Input, Mapper, Pages, Permission, Pipeline,
    RegionViews,
};
use support::{bitcode, call, engine, object, options, reclaim};

fn call_handle(handle: &CodeHandle, argument: i32) -> i32 {
    // SAFETY: the version's code is kept by the handle, and the tests' functions take and return an `int`.
    let function: extern "C" fn(i32) -> i32 = unsafe { std::mem::transmute(handle.address().get() as *const ()) };
    function(argument)
}

#[test]
fn a_held_version_stays_callable_until_the_handle_goes() {
    let engine = engine();
    let source = "int step(int x) { return x + 1; } int twice(int x) { return step(step(x)); }";
    engine.load(&[bitcode("held", source, &[])]).unwrap();
    // On a stack that is gone afterwards: the addresses that this leaves there would keep the code.
    std::thread::scope(|scope| scope.spawn(|| hold_and_replace(&engine)).join().unwrap());
    assert!(reclaim(&engine).units >= 1, "the first version of `twice`");
    assert_eq!(engine.statistics().waiting, [""; 0]);
    assert!(matches!(engine.hold("thrice"), Err(Error::NotFound { .. })));
}

fn hold_and_replace(engine: &Engine) {
    // Not compiled yet: holding it does that.
    let first = engine.hold("twice").unwrap();
    assert_eq!((first.number(), call_handle(&first, 5)), (1, 7));
    engine.redefine_from_object(&["twice"], &object("held2", "int twice(int x) { return x * 100; }")).unwrap();
    let second = engine.hold("twice").unwrap();
    engine.evict(&["step"]);
    for round in 0..3 {
        let object = object(&format!("held{round}"), &format!("int step(int x) {{ return x + 1{round}; }}"));
        engine.redefine_from_object(&["step"], &object).unwrap();
        reclaim(engine);
        assert_eq!(call_handle(&first, 5), 5 + 2 * (10 + round), "an old body calls new ones");
        assert_eq!((second.number(), call_handle(&second, 5), call(engine, "twice", 5)), (2, 500, 500));
    }
    assert!(engine.body("twice").is_some_and(|(start, bytes)| (start, bytes) == (second.address(), second.bytes())));
}

#[test]
fn a_removed_name_can_be_defined_anew() {
    let engine = engine();
    engine.load(&[bitcode("removed", "int f(int x) { return x + 1; } int g(int x) { return f(x); }", &[])]).unwrap();
    assert_eq!((call(&engine, "g", 1), engine.lookup("f").is_some()), (2, true));
    let before = engine.lookup("f");
    assert_eq!(engine.remove(&["f", "nobody"]), 1);
    assert_eq!(engine.lookup("f"), None);
    assert_eq!(call(&engine, "g", 1), 2, "who refers to it goes on");
    let wants = "extern int f(int); int h(int x) { return f(x); }";
    assert!(matches!(engine.load(&[object_input("orphan", wants)]), Err(Error::Link(_))), "a load does not find it");
    engine.load(&[bitcode("anew", "int f(int x) { return x + 50; }", &[])]).unwrap();
    engine.load(&[bitcode("wants", wants, &[])]).unwrap();
    assert_ne!(engine.lookup("f"), before);
    assert_eq!((call(&engine, "f", 1), call(&engine, "h", 1), call(&engine, "g", 1)), (51, 51, 2));
}

fn object_input(name: &str, source: &str) -> Input {
    Input::Bytes { name: name.to_owned(), bytes: object(name, source) }
}

#[test]
fn what_is_never_inlined_invalidates_nobody() {
    let engine = engine();
    let source = "int small(int x) { return x * 2; } int user(int x) { return small(x) + 1; }";
    engine.load(&[bitcode("closed", source, &[])]).unwrap();
    engine.reoptimise(&["user", "small"], Pipeline::Full).unwrap();
    let seven = object("closed7", "int small(int x) { return x * 7; }");
    engine.never_inline(&["small"]).unwrap();
    assert_eq!(engine.body("user"), None, "it had inlined it");
    engine.reoptimise(&["user", "small"], Pipeline::Full).unwrap();
    assert_eq!(call(&engine, "user", 3), 7);
    assert_eq!(engine.redefine_from_object(&["small"], &seven).unwrap().invalidated(), 0);
    assert_eq!(call(&engine, "user", 3), 22);
    assert!(matches!(engine.never_inline(&["nobody"]), Err(Error::NotFound { .. })));
}

fn used_bytes(engine: &Engine) -> u64 {
    engine.statistics().regions.iter().map(|region| region.used_bytes).sum()
}

#[test]
fn a_closed_session_gives_its_memory_back_with_the_last_handle() {
    let source = "static int calls; static int leaf(int x) { return x + ++calls; } int f(int x) { return leaf(x); }\n\
                  int others(int x) { return leaf(x) * 2; }";
    let load = || {
        let engine = engine();
        engine.load(&[bitcode("closing", source, &[])]).unwrap();
        assert_eq!((call(&engine, "f", 10), call(&engine, "others", 10)), (11, 24));
        engine
    };
    let engine = load();
    // SAFETY: nothing of the session is used from here on but its statistics.
    unsafe { engine.close() };
    assert_eq!(used_bytes(&engine), 0);

    let engine = load();
    let held = engine.hold("f").unwrap();
    // SAFETY: only the handle is used from here on.
    unsafe { engine.close() };
    assert_eq!(engine.body("others"), None, "nobody holds it");
    assert_eq!(call_handle(&held, 20), 23, "what it calls is compiled again, and data is as it was");
    drop(held);
    assert_eq!(used_bytes(&engine), 0);
}

/// Memory of this process that counts what is committed.
struct Counting {
    memory: InProcess,
    committed: Arc<AtomicU64>,
}

// SAFETY: everything is passed on to a mapper.
unsafe impl Mapper for Counting {
    fn region(&self, permission: Permission) -> RegionViews {
        self.memory.region(permission)
    }
    fn commit(&self, permission: Permission, range: Range<u64>, pages: Pages) -> std::io::Result<()> {
        self.committed.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.memory.commit(permission, range, pages)
    }
    fn decommit(&self, permission: Permission, range: Range<u64>) -> std::io::Result<()> {
        self.memory.decommit(permission, range)
    }
    fn synchronize_cores(&self) {
        self.memory.synchronize_cores();
    }
    fn copy_for_child(&self, live: &[(Permission, Range<u64>)]) -> std::io::Result<ForkCopy> {
        self.memory.copy_for_child(live)
    }
    fn adopt(&self, copy: ForkCopy) {
        self.memory.adopt(copy);
    }
    fn discard(&self, copy: ForkCopy) {
        self.memory.discard(copy);
    }
    fn mappings(&self) -> usize {
        self.memory.mappings()
    }
}

#[test]
fn code_lies_in_memory_of_the_clients_mapper() {
    let committed = Arc::new(AtomicU64::new(0));
    let memory = InProcess::new(&kiln::MapperOptions::new().size(64 << 20)).unwrap();
    let region = memory.region(Permission::Code);
    let engine = Engine::with_mapper(options(), Box::new(Counting { memory, committed: committed.clone() })).unwrap();
    engine.load(&[bitcode("mapped", "int f(int x) { return x + 1; }", &[])]).unwrap();
    assert_eq!(call(&engine, "f", 1), 2);
    let inside = |address: ExecutorAddr| region.executor <= address && address < region.executor + region.bytes;
    assert!(inside(engine.body("f").unwrap().0) && inside(engine.lookup("f").unwrap()));
    assert!(committed.load(Ordering::Relaxed) > 0);
}

#[test]
fn freed_code_in_quarantine_is_not_used_again() {
    let mut options = options();
    options.quarantine_bytes = 1 << 20;
    let engine = Engine::new(options).unwrap();
    engine.load(&[bitcode("quarantine", "int f(int x) { return x + 1; }", &[])]).unwrap();
    let mut bodies = std::collections::HashSet::new();
    for round in 0..50 {
        let object = object("quarantined", &format!("int f(int x) {{ return x + {round}; }}"));
        engine.redefine_from_object(&["f"], &object).unwrap();
        assert_eq!(call(&engine, "f", 1), 1 + round);
        assert!(bodies.insert(engine.body("f").unwrap().0), "round {round}: memory was used again");
        if round % 10 == 0 {
            reclaim(&engine);
        }
    }
}
