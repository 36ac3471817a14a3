use kiln_abi::{FunctionId, Pipeline};
use kiln_remote::{Event, FailureKind, FunctionSet, Neighbours};

use crate::harness::{self, Session, function};

const CHAIN: &str = "
    int leaf(int x) { return x * 3; }
    static int middle(int x) { return leaf(x) + 1; }
    int top(int x) { return middle(x) + leaf(x); }
    int apart(int x) { return x; }
";

fn sorted(mut functions: Vec<FunctionId>) -> Vec<FunctionId> {
    functions.sort();
    functions
}

#[test]
fn a_function_alone() {
    let bitcode = harness::c(CHAIN, &[]);
    for pipeline in [Pipeline::Quick, Pipeline::Full] {
        let object = Session::start().one(&bitcode, "top", pipeline).unwrap();
        let id = function(&bitcode, "top");
        assert_eq!(object.compiled.functions, [id]);
        assert_eq!(object.compiled.visible, [id]);
        assert_eq!(object.defined(), [format!("kiln$f{}", id.0)]);
        let middle = format!("kiln$f{}", function(&bitcode, "middle").0);
        let leaf = format!("kiln$f{}", function(&bitcode, "leaf").0);
        let mut expected = [leaf, middle];
        expected.sort();
        assert_eq!(object.undefined(), expected);
    }
}

#[test]
fn neighbours_come_along_once() {
    let bitcode = harness::c(CHAIN, &[]);
    let [top, middle, leaf] = ["top", "middle", "leaf"].map(|name| function(&bitcode, name));
    let mut session = Session::start();
    let module = session.open(&bitcode);
    let compiled = session.compile(module, &[middle], Pipeline::Quick, Neighbours::default()).unwrap();
    assert_eq!(compiled.functions, [middle, leaf]);
    let compiled = session.compile(module, &[top], Pipeline::Quick, Neighbours::default()).unwrap();
    assert_eq!(compiled.functions, [top]);
    // What the client asks for again, it gets again.
    let compiled = session.compile(module, &[leaf], Pipeline::Quick, Neighbours::default()).unwrap();
    assert_eq!(compiled.functions, [leaf]);
}

#[test]
fn a_closed_module_is_forgotten() {
    let bitcode = harness::c(CHAIN, &[]);
    let top = function(&bitcode, "top");
    let mut session = Session::start();
    let (closed, other) = (session.open(&bitcode), session.open(&bitcode));
    session.compile(closed, &[top], Pipeline::Quick, Neighbours::NONE).unwrap();
    session.connection.machine().close_module(closed).unwrap();
    let failed = session.compile(closed, &[top], Pipeline::Quick, Neighbours::NONE).unwrap_err();
    assert_eq!(failed.kind, FailureKind::InvalidRequest);
    session.compile(other, &[top], Pipeline::Quick, Neighbours::NONE).unwrap();
}

#[test]
fn limits_and_have_are_kept() {
    let bitcode = harness::c(CHAIN, &[]);
    let [top, middle, leaf] = ["top", "middle", "leaf"].map(|name| function(&bitcode, name));
    let mut session = Session::start();
    let mut have = FunctionSet::default();
    have.insert(leaf);
    let module = session.open_having(&bitcode, have);
    let compiled = session.compile(module, &[top], Pipeline::Quick, Neighbours::default()).unwrap();
    assert_eq!(sorted(compiled.functions), sorted(vec![top, middle]));
    let module = session.open(&bitcode);
    let one = Neighbours { functions_max: 1, instructions_max: 1000 };
    let compiled = session.compile(module, &[top], Pipeline::Quick, one).unwrap();
    assert_eq!(compiled.functions, [top, middle]);
    let module = session.open(&bitcode);
    let few = Neighbours { functions_max: 9, instructions_max: 1 };
    assert_eq!(session.compile(module, &[top], Pipeline::Quick, few).unwrap().functions, [top]);
}

/// What an error path or one case of many calls does not come along; what surely runs does, through others too.
#[test]
fn unlikely_neighbours_stay_away() {
    let source = "
        void deep(void) {} void through(void) { deep(); } void each(int x) { (void)x; } void after(void) {}
        void fatal(void) { __builtin_trap(); } void one(void) {}
        void top(int x) {
            if (x < 0) { fatal(); __builtin_unreachable(); }
            through();
            for (int i = 0; i < x; i++) each(i);
            switch (x) { case 0: one(); break; case 1: break; case 2: break; case 3: break; case 4: break;
                         case 5: break; case 6: break; }
            after();
        }
    ";
    let bitcode = harness::c(source, &[]);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    let root = function(&bitcode, "top");
    let compiled = session.compile(module, &[root], Pipeline::Quick, Neighbours::default()).unwrap();
    let expected = ["top", "through", "each", "after", "deep"].map(|name| function(&bitcode, name));
    assert_eq!(sorted(compiled.functions), sorted(expected.to_vec()));
}

#[test]
fn a_request_that_crosses_a_reply_is_covered() {
    let bitcode = harness::c(CHAIN, &[]);
    let [top, leaf] = ["top", "leaf"].map(|name| function(&bitcode, name));
    let mut session = Session::start();
    let module = session.open(&bitcode);
    // Both are sent before any reply is read.
    let first = session.request(module, &[top], Pipeline::Quick, Neighbours::default());
    let second = session.request(module, &[top], Pipeline::Quick, Neighbours::default());
    let Event::Compiled(compiled) = session.event().unwrap() else { panic!() };
    assert_eq!(compiled.request, first);
    assert!(compiled.functions.contains(&leaf));
    let Event::Covered(covered) = session.event().unwrap() else { panic!() };
    assert_eq!((covered.request, covered.by), (second, vec![first]));
    assert_eq!(session.connection.machine().pending().len(), 0);
}

#[test]
fn a_function_can_be_compiled_again_in_another_pipeline() {
    let bitcode = harness::c(CHAIN, &["-g"]);
    let top = function(&bitcode, "top");
    let mut session = Session::start();
    let module = session.open(&bitcode);
    for pipeline in [Pipeline::Quick, Pipeline::Full, Pipeline::Quick, Pipeline::Full] {
        let compiled = session.compile(module, &[top], pipeline, Neighbours::default()).unwrap();
        assert_eq!(compiled.functions[0], top);
    }
}

#[test]
fn senseless_requests_are_refused() {
    let bitcode = harness::c("int f(void); int g(void) { return f(); }", &[]);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    for root in [function(&bitcode, "f"), FunctionId(1000), FunctionId(u32::MAX)] {
        let failed = session.compile(module, &[root], Pipeline::Quick, Neighbours::NONE).unwrap_err();
        assert_eq!((failed.kind, failed.function), (FailureKind::InvalidRequest, Some(root)));
    }
    let other = kiln_remote::ModuleId(77);
    let failed = session.compile(other, &[FunctionId(0)], Pipeline::Quick, Neighbours::NONE).unwrap_err();
    assert_eq!(failed.kind, FailureKind::InvalidRequest);
    assert!(session.compile(module, &[function(&bitcode, "g")], Pipeline::Quick, Neighbours::NONE).is_ok());
}
