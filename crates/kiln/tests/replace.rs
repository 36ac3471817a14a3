//! Replacing functions of a running program through the embedding API.

mod support;

use std::path::Path;
use std::time::Duration;

use kiln::{Engine, Error, Input, Origin, Pipeline};
use support::{bitcode, call, engine, object, options, reclaim};

#[test]
fn an_object_gives_a_function_another_meaning_and_a_rollback_the_first_one() {
    let engine = engine();
    let source = "int step(int x) { return x + 1; } int twice(int x) { return step(step(x)); }";
    engine.load(&[bitcode("rollback", source, &[])]).unwrap();
    assert_eq!(call(&engine, "twice", 5), 7);
    let before = engine.lookup("step");
    for k in [10, 100, 1000] {
        let redefined =
            engine.redefine_from_object(&["step"], &object("step", &format!("int step(int x) {{ return x + {k}; }}")));
        assert_eq!(redefined.unwrap().versions().len(), 1);
        assert_eq!(call(&engine, "twice", 5), 5 + 2 * k);
    }
    assert_eq!(engine.lookup("step"), before, "a function has one address");
    let history = engine.history("step");
    assert_eq!(history.iter().map(|v| v.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(matches!(history[0].origin, Origin::FirstCall(_)) && history[3].origin == Origin::Object);
    engine.rollback("step", 2).unwrap();
    assert_eq!(call(&engine, "twice", 5), 25);
    engine.rollback("step", 1).unwrap();
    assert_eq!(call(&engine, "twice", 5), 7);
    assert!(matches!(engine.rollback("step", 77), Err(Error::NoVersion { number: 77, .. })));
}

#[test]
fn what_inlined_or_inferred_from_an_old_body_is_compiled_again() {
    let engine = engine();
    let source = "__attribute__((noinline)) static int three(void) { return 3; }\n\
                  __attribute__((noinline)) int add(int x) { return x + three(); }\n\
                  int small(int x) { return x * 2; } int user(int x) { return add(small(x)); }";
    engine.load(&[bitcode("inferred", source, &[])]).unwrap();
    assert_eq!(call(&engine, "user", 5), 13);
    engine.reoptimise(&["user", "add", "small"], Pipeline::Full).unwrap();
    assert_eq!(call(&engine, "user", 5), 13);
    let redefined = engine.redefine_from_object(&["small"], &object("small", "int small(int x) { return x * 7; }"));
    assert_eq!(redefined.unwrap().invalidated(), 2, "`user` inlined it, and `add` was compiled together with it");
    assert_eq!(call(&engine, "user", 5), 38);
    engine.reoptimise(&["user"], Pipeline::Full).unwrap();
    assert_eq!(call(&engine, "user", 5), 38, "nothing is concluded from the body in the module");
}

#[test]
fn several_functions_change_together_and_old_code_is_freed() {
    let engine = engine();
    let source =
        "int a(int x) { return x + 1; } int b(int x) { return a(x) * 2; } int c(int x) { return b(x) + a(x); }";
    engine.load(&[bitcode("together", source, &[])]).unwrap();
    assert_eq!(call(&engine, "c", 1), 6);
    let new = object("together2", "int a(int x) { return x + 2; } int b(int x) { return a(x) * 3; }");
    let mut versions = 0;
    for _ in 0..200 {
        versions += engine.redefine_from_object(&["a", "b"], &new).unwrap().versions().len();
    }
    assert_eq!((call(&engine, "c", 1), versions), (12, 400));
    let reclaimed = reclaim(&engine);
    assert!(reclaimed.units >= 199 && reclaimed.held_units <= 2, "{reclaimed:?}");
    assert_eq!(call(&engine, "c", 1), 12);
}

#[test]
fn a_thread_inside_an_old_version_is_pending_until_it_leaves() {
    let engine = engine();
    let source = "extern long read(int, void *, unsigned long);\n\
                  int waits(int fd) { char c; read(fd, &c, 1); return c; }";
    engine.load(&[bitcode("pending", source, &[])]).unwrap();
    let mut ends = [0; 2];
    // SAFETY: plain system calls on a pipe of this test.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let reader = std::thread::spawn(move || call(&engine, "waits", ends[0]));
    // Until it sleeps in `read`, by what the kernel says about the process's threads.
    let is_reading = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let calls = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("syscall")).ok());
        calls.filter(|call| call.starts_with(&format!("0 {:#x} ", ends[0]))).count() > 0
    };
    while !is_reading() {
        std::thread::yield_now();
    }
    let new = object("waits2", "int waits(int fd) { return -1; }");
    let redefined = engine.redefine_from_object(&["waits"], &new).unwrap();
    assert_eq!(call(&engine, "waits", ends[0]), -1, "a new call has the new meaning");
    // What may be there unseen: children of other tests run on this memory until they start their programs.
    let pending: Vec<_> = redefined.pending().into_iter().filter(|pending| pending.seen).collect();
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert_eq!((pending[0].function.as_str(), pending[0].number), ("waits", 1));
    assert!(!redefined.wait(Duration::from_millis(1)));
    assert_eq!(reclaim(&engine).held_units, 1);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::write(ends[1], b"k".as_ptr().cast(), 1) }, 1);
    assert_eq!(reader.join().unwrap(), i32::from(b'k'), "it finished with the old meaning, undisturbed");
    assert!(redefined.wait(Duration::from_secs(60)));
    assert_eq!(reclaim(&engine).held_units, 0);
}

#[test]
fn a_function_with_label_tables_is_replaced() {
    let engine = engine();
    let source = "int machine(int n) { static const void *next[] = { &&add, &&stop }; int sum = 0;\n\
                  goto *next[n == 0]; add: sum += n; n--; goto *next[n == 0]; stop: return sum; }";
    engine.load(&[bitcode("labels", source, &["-O1"])]).unwrap();
    assert_eq!(call(&engine, "machine", 10), 55);
    for pipeline in [Pipeline::Full, Pipeline::Quick, Pipeline::Full] {
        engine.reoptimise(&["machine"], pipeline).unwrap();
        assert_eq!(call(&engine, "machine", 10), 55);
    }
}

#[test]
fn evicted_functions_come_back_and_failures_change_nothing() {
    let engine = engine();
    engine.load(&[bitcode("evict", "int f(int x) { return x + 1; } int g(int x) { return f(x); }", &[])]).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&engine, "g", 1), 2);
        engine.evict(&["f", "g", "nothing"]);
    }
    assert!(matches!(engine.redefine_from_object(&["f"], b"no object"), Err(Error::Link(_))));
    let lacks = object("lacks", "int other(int x) { return x; }");
    assert!(matches!(engine.redefine_from_object(&["f"], &lacks), Err(Error::NotFound { .. })));
    let undefined = object("undefined", "extern int nowhere(int); int f(int x) { return nowhere(x); }");
    assert!(matches!(engine.redefine_from_object(&["f"], &undefined), Err(Error::Link(_))));
    assert_eq!(call(&engine, "g", 1), 2);
}

#[test]
fn another_generation_keeps_values_and_changes_what_differs() {
    let engine = engine();
    let first = "static int calls = 40; int limit = 7; static const char *text(void) { return \"one\"; }\n\
                 static int helper(int x) { return x + 1; } int same(int x) { return x * 2; }\n\
                 int count(int x) { calls += 1; return calls + helper(x) + (text()[0] == 'o' ? 0 : 1000); }";
    engine.load(&[bitcode("generation", first, &["-g"])]).unwrap();
    let name = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generation.bc").display().to_string();
    assert_eq!((call(&engine, "count", 1), call(&engine, "same", 4)), (43, 8));
    let limit = engine.lookup("limit");

    // Another order, another function and string before the others, other lines: one function and a constant changed.
    let second = "extern int printf(const char *, ...);\n\nint added(int x) { if (x < 0) printf(\"less\"); return x - 1; }\n\
                  static int calls = 0; int limit = 9;\n\
                  int same(int x) { return x * 2; }\n\nstatic int helper(int x) { return x + 100; }\n\
                  static const char *text(void) { return \"two\"; }\n\
                  int count(int x) { calls += 1; return calls + helper(x) + (text()[0] == 'o' ? 0 : 1000); }";
    let update = engine.update(&name, &bitcode("generation", second, &["-g"])).unwrap();
    let mut changed: Vec<_> = update.redefined.versions().iter().map(|(name, _)| name.as_str()).collect();
    changed.sort_unstable();
    assert_eq!(changed, ["helper", "text"]);
    assert_eq!((update.added.as_slice(), update.removed.as_slice()), (&["added".to_owned()][..], &[][..]));
    assert_eq!(update.unchanged, 2);
    assert_eq!(call(&engine, "count", 1), 42 + 101 + 1000, "the static variable kept its value");
    assert_eq!((call(&engine, "same", 4), call(&engine, "added", 4)), (8, 3));
    assert_eq!(engine.lookup("limit"), limit);

    // The same once more changes nothing; then back to the first, with a name removed and one added again.
    let update = engine.update(&name, &bitcode("generation", second, &[])).unwrap();
    assert_eq!((update.redefined.versions().len(), update.unchanged), (0, 5));
    let update = engine.update(&name, &bitcode("generation", first, &[])).unwrap();
    assert_eq!(update.removed, ["added"]);
    assert_eq!(call(&engine, "count", 1), 43 + 2);

    let changed = first.replace("same(int x)", "same(long x, int y)");
    let error = engine.update(&name, &bitcode("generation", &changed, &[])).unwrap_err();
    assert!(matches!(&error, Error::SignatureChanged { name, .. } if name == "same"), "{error}");
    assert!(error.to_string().contains("i32 (i32)") && error.to_string().contains("i32 (i64, i32)"), "{error}");
    let changed = first.replace("static int calls = 40;", "static long calls = 40;");
    let error = engine.update(&name, &bitcode("generation", &changed, &[])).unwrap_err();
    assert!(error.to_string().contains("i32 (4 bytes)") && error.to_string().contains("i64 (8 bytes)"), "{error}");
    assert_eq!((call(&engine, "count", 1), call(&engine, "same", 4)), (44 + 2, 8), "nothing changed");
}

#[test]
fn functions_are_redefined_by_ir() {
    let engine = engine();
    let source = |k: i32| {
        format!("static int state; int f(int x) {{ return x + {k} + state++; }} int g(int x) {{ return -f(x); }}")
    };
    engine.load(&[bitcode("ir", &source(1), &[])]).unwrap();
    assert_eq!(call(&engine, "g", 1), -2);
    let redefined = engine.redefine(&["f"], &bitcode("ir2", &source(10), &[])).unwrap();
    assert_eq!(redefined.versions(), [("f".to_owned(), 2)]);
    assert_eq!(call(&engine, "g", 1), -12, "one call before counted");
    engine.reoptimise(&["f", "g"], Pipeline::Full).unwrap();
    assert_eq!(call(&engine, "g", 1), -13);
    engine.rollback("f", 1).unwrap();
    assert_eq!(call(&engine, "g", 1), -5);
    assert!(matches!(engine.redefine(&["nothing"], &bitcode("ir3", &source(1), &[])), Err(Error::NotFound { .. })));
}

/// Functions of objects get stubs; those of bitcode have theirs.
#[test]
fn replaceable_objects_beside_bitcode() {
    let mut options = options();
    options.replaceable = true;
    let engine = Engine::new(options).unwrap();
    let object_input = |name: &str, source: &str| Input::Bytes { name: name.to_owned(), bytes: object(name, source) };
    let bitcode = bitcode("beside", "extern int there(int); int here(int x) { return there(x) + 1; }", &[]);
    let there = object_input("there", "extern int here(int); int there(int x) { return x ? here(x - 1) : 100; }");
    engine.load(&[bitcode, there]).unwrap();
    assert_eq!(call(&engine, "here", 2), 103);
    for k in 1..4 {
        let new =
            object("there2", &format!("extern int here(int); int there(int x) {{ return x ? here(x - {k}) : 0; }}"));
        engine.redefine_from_object(&["there"], &new).unwrap();
        let new = object("here2", &format!("extern int there(int); int here(int x) {{ return there(x) + {k}; }}"));
        engine.redefine_from_object(&["here"], &new).unwrap();
        assert_eq!(call(&engine, "here", 6), k * (6 / k + 1));
    }
}
