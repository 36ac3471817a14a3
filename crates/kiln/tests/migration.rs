//! Variables that get another type while the program runs.

mod support;

use std::path::Path;

use kiln::{Error, Migration};
use support::{bitcode, call, engine};

const OLD: &str = "static int total = 3; int kind = 1;\n\
    int add(int x) { return total += x; } int other(int x) { return x * 2; } int read_kind(int x) { return kind + x; }\n";
const NEW: &str = "static long total = 5; int kind = 1;\n\
    int add(int x) { return (int)(total += x); } int other(int x) { return x * 2; } int read_kind(int x) { return kind + x; }\n";

/// What the engine calls the module that `bitcode` made under this name.
fn module_name(name: &str) -> String {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.bc")).display().to_string()
}

#[test]
fn a_client_moves_the_value_of_a_variable_whose_type_changed() {
    let engine = engine();
    engine.load(&[bitcode("migration-moves", OLD, &[])]).unwrap();
    assert_eq!((call(&engine, "add", 4), call(&engine, "other", 4)), (7, 8));
    let new = bitcode("migration2", NEW, &[]);
    let refused = engine.update(&module_name("migration-moves"), &new);
    assert!(matches!(&refused, Err(Error::GlobalChanged { name, .. }) if name == "total"), "{refused:?}");
    assert_eq!(call(&engine, "add", 1), 8, "nothing has changed");

    let mut asked = Vec::new();
    let update = engine.update_migrating(&module_name("migration-moves"), &new, |migration: &Migration| {
        // SAFETY: nothing of the program runs; the places are variables of these types, as the assertions below say.
        unsafe {
            let value = (migration.old.address.get() as *const i32).read();
            assert_eq!((migration.new.address.get() as *const i64).read(), 5, "the initial value of the new source");
            (migration.new.address.get() as *mut i64).write(i64::from(value) + 100);
        }
        asked.push((migration.name.clone(), migration.old.ty.clone(), migration.old.bytes, migration.new.ty.clone()));
        true
    });
    assert_eq!(asked, [("total".to_owned(), "i32".to_owned(), 4, "i64".to_owned())]);
    let update = update.unwrap();
    let names: Vec<_> = update.redefined.versions().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, update.unchanged), (vec!["add"], 2));
    assert_eq!((call(&engine, "add", 1), call(&engine, "other", 4)), (109, 8));

    // The next generation finds it where it is now.
    engine
        .update(
            &module_name("migration-moves"),
            &bitcode("migration3", &NEW.replace("total += x", "total += 2 * x"), &[]),
        )
        .unwrap();
    assert_eq!(call(&engine, "add", 1), 111);
}

#[test]
fn functions_that_only_name_the_variable_use_its_new_place() {
    let engine = engine();
    engine.load(&[bitcode("migration-names", OLD, &[])]).unwrap();
    assert_eq!(call(&engine, "read_kind", 1), 2);
    // `read_kind` reads an `int` from it as before.
    let new =
        OLD.replace("int kind = 1;", "struct { int kind, more; } kinds __asm__(\"kind\") = {1, 2}; extern int kind;");
    let new = new.replace("return kind + x", "return *(int *)&kinds + x");
    let moved =
        engine.update_migrating(&module_name("migration-names"), &bitcode("migration4", &new, &[]), |migration| {
            // SAFETY: nothing of the program runs; both begin with an `int`.
            unsafe { (migration.new.address.get() as *mut i32).write(40) };
            true
        });
    moved.unwrap();
    assert_eq!(call(&engine, "read_kind", 1), 41);
    let place = engine.lookup("kind").unwrap();
    // SAFETY: the variable begins with an `int`.
    assert_eq!(unsafe { (place.get() as *const i32).read() }, 40, "its name means the new place");
}

#[test]
fn what_others_point_at_is_not_moved() {
    let engine = engine();
    let old = "static int total = 3; static int *const places[] = {&total}; int *kept = &total;\n\
               int add(int x) { return *places[0] += x + (kept == places[0]); }\n";
    engine.load(&[bitcode("migration-pointed", old, &[])]).unwrap();
    assert_eq!(call(&engine, "add", 1), 5);
    let new = old.replace("int total = 3", "long total = 3").replace("&total", "(int *)&total");
    let refused =
        engine.update_migrating(&module_name("migration-pointed"), &bitcode("migration5", &new, &[]), |_| true);
    assert!(matches!(&refused, Err(Error::GlobalChanged { name, .. }) if name == "total"), "{refused:?}");
    assert_eq!(call(&engine, "add", 1), 7);
}
