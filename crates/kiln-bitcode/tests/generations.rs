//! Two states of one source: which bodies are the same, told by their bits.

use std::path::Path;
use std::process::Command;

use kiln_bitcode::{FunctionId, Module};

fn module(name: &str, source: &str) -> (Module, Vec<u8>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (c, bitcode) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.bc")));
    std::fs::write(&c, source).unwrap();
    let status = Command::new("clang-22").args(["-c", "-emit-llvm", "-O0"]).arg(&c).arg("-o").arg(&bitcode).status();
    assert!(status.expect("clang-22 is installed").success());
    let bytes = std::fs::read(bitcode).unwrap();
    (kiln_bitcode::parse(&bytes).unwrap().remove(0), bytes)
}

const SOURCE: &str = "int counter = 5; static const char *word(void) { return \"word\"; }\n\
    int next(int x) { return x + counter++; } const char *last(void) { return next(3) > 4 ? word() : 0; }\n";

#[test]
fn an_edit_inside_a_function_leaves_the_tables_and_other_bodies_as_they_are() {
    let (old, old_bytes) = module("generation-old", SOURCE);
    let (new, new_bytes) = module("generation-new", &SOURCE.replace("x + counter++", "counter-- * 7 - x"));
    assert!(new.has_tables_of(&old) && old.has_tables_of(&new));
    let same = |function: u32| {
        let body = |module: &Module, bytes: &[u8]| {
            module.body_range(bytes, FunctionId(function)).map(|range| bytes[range].to_vec())
        };
        body(&old, &old_bytes) == body(&new, &new_bytes)
    };
    let names: Vec<_> = old.functions().iter().map(|f| String::from_utf8_lossy(old.str(f.symbol.name))).collect();
    for (function, name) in (0u32..).zip(&names) {
        assert_eq!(same(function), name != "next", "{name}");
    }
}

#[test]
fn whatever_bodies_may_refer_to_makes_tables_differ() {
    let (old, _) = module("tables-old", SOURCE);
    let edits = [
        ("counter = 5", "counter = 6"),
        ("\"word\"", "\"other\""),
        ("int counter", "long counter"),
        ("int next(int x)", "__attribute__((cold)) int next(int x)"),
        ("int next(int x)", "int after(int x) { return x; } int next(int x)"),
        ("counter++", "__builtin_popcount(counter)"),
        ("int counter", "static int counter"),
        ("word", "term"),
    ];
    for (at, (from, to)) in edits.iter().enumerate() {
        let (new, _) = module(&format!("tables-{at}"), &SOURCE.replace(from, to));
        assert!(!new.has_tables_of(&old), "{from} became {to}");
    }
}
