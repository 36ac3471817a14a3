//! The embedding API, on modules that clang compiles when the test runs.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln::{Engine, Error, Input};
use support::{engine, options};

/// The bitcode of C source, compiled by clang-22.
fn compile(name: &str, source: &str, flags: &[&str]) -> Input {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (c, bc) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.bc")));
    std::fs::write(&c, source).unwrap();
    let status =
        Command::new("clang-22").args(["-c", "-emit-llvm", "-fPIC"]).args(flags).arg(&c).arg("-o").arg(&bc).status();
    assert!(status.unwrap().success(), "clang-22 refused {name}");
    Input::File(bc)
}

fn object(name: &str, source: &str) -> Input {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (c, o) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.o")));
    std::fs::write(&c, source).unwrap();
    assert!(Command::new("clang-22").args(["-c", "-fPIC"]).arg(&c).arg("-o").arg(&o).status().unwrap().success());
    Input::File(o)
}

#[test]
fn a_function_is_called_through_its_typed_handle() {
    let engine = engine();
    engine.load(&[compile("sum", "int sum(int a, int b) { return a + b; }", &[])]).unwrap();
    let sum = engine.function::<unsafe extern "C" fn(i32, i32) -> i32>("sum").unwrap();
    // SAFETY: `sum` only adds its arguments.
    assert_eq!(unsafe { sum.pointer()(2, 40) }, 42);
    assert_eq!(engine.lookup("sum"), Some(sum.address()));
    assert_eq!(engine.statistics().functions_compiled, 1);
}

#[test]
fn a_wrong_signature_is_refused_with_both() {
    let engine = engine();
    engine.load(&[compile("sig", "double half(double x) { return x / 2; }", &[])]).unwrap();
    let error = engine.function::<unsafe extern "C" fn(i32) -> i32>("half").unwrap_err();
    assert_eq!(error.to_string(), "half is double (double), not i32 (i32)");
    let error = engine.function::<unsafe extern "C" fn()>("nothing").unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn what_is_never_called_is_never_compiled() {
    let source = "int a(void) { return 1; } int b(void) { return a(); } int c(void) { return 3; }";
    let engine = engine();
    engine.load(&[compile("lazy", source, &[])]).unwrap();
    assert_eq!(engine.statistics().functions_compiled, 0);
    let c = engine.function::<unsafe extern "C" fn() -> i32>("c").unwrap();
    // SAFETY: a function without effects.
    assert_eq!(unsafe { c.pointer()() }, 3);
    assert_eq!((engine.statistics().functions_compiled, engine.statistics().functions_defined), (1, 3));
}

#[test]
fn modules_objects_and_the_client_see_each_other() {
    let bitcode = compile(
        "mixed_bitcode",
        "extern int counter; extern int from_object(int); extern char given[];\n\
         int from_bitcode(int x) { return x * 2; }\n\
         int (*const table[])(int) = { from_bitcode, from_object };\n\
         long run(void) { counter++; return table[0](counter) + table[1](counter) + (long)given; }",
        &[],
    );
    let object = object(
        "mixed_object",
        "extern int from_bitcode(int); int counter = 4; int from_object(int x) { return from_bitcode(x) + 1; }",
    );
    let mut options = options();
    options.absolute_symbols.push(("given".to_owned(), 1000));
    let engine = Engine::new(options).unwrap();
    engine.load(&[bitcode, object]).unwrap();
    let run = engine.function::<unsafe extern "C" fn() -> i64>("run").unwrap();
    // SAFETY: `run` changes the session's own counter only.
    assert_eq!(unsafe { run.pointer()() }, 10 + 11 + 1000);
    // SAFETY: as above.
    assert_eq!(unsafe { run.pointer()() }, 12 + 13 + 1000);
}

#[test]
fn a_later_load_binds_to_an_earlier_one() {
    let engine = engine();
    engine.load(&[compile("earlier", "int value = 7; int get(void) { return value; }", &[])]).unwrap();
    engine
        .load(&[compile(
            "later",
            "extern int value; int get(void); int both(void) { return value * 10 + get(); }",
            &[],
        )])
        .unwrap();
    let both = engine.function::<unsafe extern "C" fn() -> i32>("both").unwrap();
    // SAFETY: a function without effects.
    assert_eq!(unsafe { both.pointer()() }, 77);
}

#[test]
fn many_threads_meet_in_one_function() {
    let engine = engine();
    engine
        .load(&[compile("meet", "int leaf(int x) { return x + 1; } int meet(int x) { return leaf(x) * 2; }", &[])])
        .unwrap();
    let meet = engine.function::<unsafe extern "C" fn(i32) -> i32>("meet").unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|i| {
                let pointer = meet.pointer();
                // SAFETY: a function without effects.
                scope.spawn(move || unsafe { pointer(i) })
            })
            .collect();
        for (i, thread) in (0..).zip(threads) {
            assert_eq!(thread.join().unwrap(), (i + 1) * 2);
        }
    });
    assert_eq!(engine.statistics().functions_compiled, 2);
}

#[test]
fn a_missing_definition_is_an_error_that_names_it() {
    let engine = engine();
    let error =
        engine.load(&[object("undefined", "extern int nowhere(void); int f(void) { return nowhere(); }")]).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(engine.lookup("f"), None, "nothing of a failed load is defined");
}

#[test]
fn a_file_that_is_nothing_known_is_an_error() {
    let engine = engine();
    let error = engine.load(&[Input::Bytes { name: "x.txt".into(), bytes: b"hello".to_vec() }]).unwrap_err();
    assert!(matches!(error, Error::UnknownKind { .. }), "{error}");
    let error = engine.load(&[Input::File("/nonexistent".into())]).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
    let error = engine.load(&[Input::Library("no-such-library".into())]).unwrap_err();
    assert!(matches!(error, Error::LibraryNotFound { .. }), "{error}");
}

#[test]
fn textual_ir_is_rewritten_by_the_optimizer() {
    let engine = engine();
    let text = "define i32 @answer() {\n  ret i32 42\n}\n";
    engine.load(&[Input::Bytes { name: "answer.ll".into(), bytes: text.into() }]).unwrap();
    let answer = engine.function::<unsafe extern "C" fn() -> i32>("answer").unwrap();
    // SAFETY: a function without effects.
    assert_eq!(unsafe { answer.pointer()() }, 42);
    let error = engine.load(&[Input::Bytes { name: "bad.ll".into(), bytes: b"define nonsense".to_vec() }]).unwrap_err();
    assert!(matches!(error, Error::Normalize { .. }), "{error}");
}

#[test]
fn without_an_optimizer_loading_still_works() {
    let mut options = options();
    options.optimizer = Some("/nonexistent/kiln-optimizer".into());
    options.compile_timeout = Duration::from_secs(1);
    let engine = Engine::new(options).unwrap();
    engine.load(&[compile("no_optimizer", "int datum = 5; int f(void) { return datum; }", &[])]).unwrap();
    let datum = engine.lookup("datum").unwrap();
    // SAFETY: the session's own initialised variable.
    assert_eq!(unsafe { *(datum.get() as *const i32) }, 5);
}

#[test]
fn a_second_c_library_is_refused() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    std::fs::create_dir_all(&folder).unwrap();
    let archive = folder.join("libc.a");
    std::fs::write(&archive, b"!<arch>\n").unwrap();
    let error = engine().load(&[Input::File(archive)]).unwrap_err();
    assert!(matches!(error, Error::StaticLibc { .. }), "{error}");
}
