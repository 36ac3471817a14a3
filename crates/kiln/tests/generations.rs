//! What another generation of a source changes, and what it leaves.

mod support;

use std::fmt::Write;
use std::path::Path;

use kiln::{Engine, Error, Update};
use support::{bitcode, call, engine};

/// The engine with `source` loaded under `name`.
fn loaded(name: &str, source: &str, flags: &[&str]) -> Engine {
    let engine = engine();
    engine.load(&[bitcode(name, source, flags)]).unwrap();
    engine
}

fn update(engine: &Engine, name: &str, source: &str, flags: &[&str]) -> Result<Update, Error> {
    let module = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.bc")).display().to_string();
    engine.update(&module, &bitcode(&format!("{name}-next"), source, flags))
}

fn redefined(update: &Update) -> Vec<&str> {
    let mut names: Vec<_> = update.redefined.versions().iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// Many functions, so that more than one thread compares; `extra` comes first and shifts the numbers of all that follows.
fn many(extra: &str, changed: i32) -> String {
    let mut source = format!("extern int printf(const char *, ...);\n{extra}\nstatic int state = 1;\n");
    for n in 0..300 {
        let plus = if n == 77 { changed } else { n };
        writeln!(
            source,
            "static const int table{n}[3] = {{{n}, 2, 3}}; int f{n}(int x) {{ if (x == -1) printf(\"text {n}\\n\"); \
             return state + x + {plus} + table{n}[x & 1]; }}"
        )
        .unwrap();
    }
    source
}

#[test]
fn an_edit_that_shifts_all_numbers_changes_one_function() {
    let engine = loaded("shift", &many("", 77), &[]);
    assert_eq!((call(&engine, "f77", 0), call(&engine, "f3", 1)), (155, 7));
    let extras = [
        "int first(int x) { if (x) printf(\"a string before all\"); return x; }",
        "struct s { float f; double d[3]; } before; double of(struct s *s) { return s->f + s->d[1]; }",
        "extern int puts(const char *); extern int rand(void); int callee(int x) { puts(\"x\"); return rand() + x; }",
        "",
    ];
    for (extra, changed) in extras.iter().zip(100..) {
        let update = update(&engine, "shift", &many(extra, changed), &[]).unwrap();
        assert_eq!((redefined(&update), update.unchanged), (vec!["f77"], 299), "{extra}");
        assert_eq!((call(&engine, "f77", 0), call(&engine, "f3", 1)), (78 + changed, 7));
    }
    // What was found out along the way serves edits that shift nothing.
    for changed in 200..203 {
        let update = update(&engine, "shift", &many("", changed), &[]).unwrap();
        assert_eq!((redefined(&update), update.unchanged), (vec!["f77"], 299));
        assert_eq!(call(&engine, "f77", 0), 78 + changed);
    }
    let same = update(&engine, "shift", &many("", 202), &["-g"]).unwrap();
    assert_eq!((redefined(&same), same.unchanged), (vec![], 300));
}

#[test]
fn callers_follow_a_name_that_means_another_thing() {
    let helper = "int helper(int x) { return x + 1; } int f(int x) { return helper(x); } int g(int x) { return x; }";
    let engine = loaded("meaning", &format!("static {helper}"), &[]);
    assert_eq!(call(&engine, "f", 1), 2);
    // The same body, but another function now: others can see it.
    assert_eq!(redefined(&update(&engine, "meaning", helper, &[]).unwrap()), ["f"]);
    let next = helper.replace("x + 1", "x + 5");
    assert_eq!(redefined(&update(&engine, "meaning", &next, &[]).unwrap()), ["helper"]);
    assert_eq!((call(&engine, "f", 1), call(&engine, "helper", 1)), (6, 6));

    // What came from a library comes from the module.
    let libc = "extern int abs(int); int f(int x) { return abs(x); }";
    let engine = loaded("library", libc, &["-fno-builtin"]);
    assert_eq!(call(&engine, "f", -3), 3);
    let own = "int abs(int x) { return x * 100; } int f(int x) { return abs(x); }";
    assert_eq!(redefined(&update(&engine, "library", own, &["-fno-builtin"]).unwrap()), ["f"]);
    assert_eq!(call(&engine, "f", -3), -300);
}

#[test]
fn what_may_be_concluded_of_a_callee_counts() {
    let source =
        |attribute: &str| format!("extern int rand(void) {attribute}; int f(int x) {{ return rand() ? x : 1; }}");
    let engine = loaded("attributes", &source(""), &[]);
    let update = update(&engine, "attributes", &source("__attribute__((const))"), &[]).unwrap();
    assert_eq!(redefined(&update), ["f"]);
}

#[test]
fn constants_that_refer_to_each_other_count_by_content() {
    let source = |value: i32, extra: &str| {
        format!(
            "{extra} struct node {{ const struct node *next; int value; }};\n\
             static const struct node a, b; static const struct node a = {{&b, 1}}; static const struct node b = {{&a, {value}}};\n\
             int f(int x) {{ const struct node *n = &a; while (x--) n = n->next; return n->value; }} int g(int x) {{ return x; }}"
        )
    };
    let engine = loaded("circle", &source(2, ""), &[]);
    assert_eq!((call(&engine, "f", 1), call(&engine, "f", 2)), (2, 1));
    let shifted = update(&engine, "circle", &source(2, "char before[] = \"one more\";"), &[]).unwrap();
    assert_eq!((redefined(&shifted), shifted.unchanged), (vec![], 2));
    let changed = update(&engine, "circle", &source(5, ""), &[]).unwrap();
    assert_eq!(redefined(&changed), ["f"]);
    assert_eq!((call(&engine, "f", 1), call(&engine, "f", 2)), (5, 1));
}

/// It lies in memory that nobody can write.
#[test]
fn a_constant_does_not_become_a_variable() {
    let engine = loaded("constness", "const int limit = 7; int f(int x) { return x + limit; }", &[]);
    assert_eq!(call(&engine, "f", 1), 8);
    let error = update(&engine, "constness", "int limit = 7; int f(int x) { return x + limit++; }", &[]).unwrap_err();
    assert!(matches!(&error, Error::GlobalChanged { name, .. } if name == "limit"), "{error}");
    assert!(error.to_string().contains("constant i32 (4 bytes)"), "{error}");
    assert_eq!(call(&engine, "f", 1), 8);
}
