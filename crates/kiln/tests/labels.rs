//! Functions whose label addresses are data (`&&label` of GNU C), under replacement.

mod support;

use kiln::{Error, Pipeline};
use support::{bitcode, call, engine, object};

/// A function `f` that goes to a label by its number, in several ways to keep the labels' addresses.
fn source(declarations: &str, jump: &str) -> String {
    format!("int f(int n) {{ {declarations} {jump} a: return 10; b: return 20; }}")
}

const TABLE: &str = "static const void *const t[] = {&&a, &&b};";

#[test]
fn labels_that_stay_inside_do_not_keep_a_function_from_being_replaced() {
    let cases = [
        (TABLE.to_owned(), "goto *t[n];".to_owned()),
        (TABLE.to_owned(), "const void *to = t[n]; goto *to;".to_owned()),
        ("void *t[] = {&&a, &&b};".to_owned(), "goto *t[n];".to_owned()),
        (TABLE.to_owned(), "const void *const *p = t; p += n; goto *(n ? *p : &&a);".to_owned()),
    ];
    for (at, (declarations, jump)) in cases.iter().enumerate() {
        for flags in [&["-O0"][..], &["-O2"]] {
            let engine = engine();
            let name = format!("inside{at}{}", flags[0]);
            engine.load(&[bitcode(&name, &source(declarations, jump), flags)]).unwrap();
            assert_eq!((call(&engine, "f", 0), call(&engine, "f", 1)), (10, 20));
            engine.reoptimise(&["f"], Pipeline::Full).unwrap();
            assert_eq!((call(&engine, "f", 0), call(&engine, "f", 1)), (10, 20));
            engine.redefine_from_object(&["f"], &object("seven", "int f(int n) { return n + 7; }")).unwrap();
            assert_eq!(call(&engine, "f", 1), 8, "{declarations} {jump}");
        }
    }
}

#[test]
fn a_function_whose_labels_are_kept_in_data_is_refused_by_name() {
    let cases = [
        // In the initial value of a variable.
        (format!("{TABLE} static const void *const *p = t;"), "goto *p[n];"),
        // Stored in one, directly and by way of the table.
        ("static void *kept; if (!kept) kept = &&b;".to_owned(), "if (n) goto *kept; goto a;"),
        (format!("{TABLE} static const void *kept[2]; kept[n] = t[n];"), "goto *kept[n];"),
        // Behind a pointer.
        (
            format!("{TABLE} extern void *malloc(unsigned long); const void **h = malloc(8); *h = t[n];"),
            "goto *(void *)*h;",
        ),
        // In a variable that others are shown.
        (format!("{TABLE} extern void show(void *); const void *l = t[n]; if (n > 5) show(&l);"), "goto *(void *)l;"),
    ];
    for (at, (declarations, jump)) in cases.iter().enumerate() {
        let engine = engine();
        let declared = format!("void show(void *p) {{ (void)p; }} {}", source(declarations, jump));
        engine.load(&[bitcode(&format!("kept{at}"), &declared, &["-O0"])]).unwrap();
        assert_eq!((call(&engine, "f", 0), call(&engine, "f", 1)), (10, 20));
        let object = object("eight", "int f(int n) { return n + 8; }");
        let generation = bitcode(&format!("kept{at}b"), &source("", "if (n) goto b;"), &["-O0"]);
        let refused = [
            engine.redefine_from_object(&["f"], &object).err(),
            engine.reoptimise(&["f"], Pipeline::Quick).err(),
            engine.redefine(&["f"], &generation).err(),
        ];
        for error in refused {
            assert!(matches!(&error, Some(Error::LabelsEscape { name }) if name == "f"), "{declarations}: {error:?}");
        }
        engine.evict(&["f"]);
        assert_eq!((call(&engine, "f", 1), engine.history("f").len()), (20, 1), "{declarations}");
    }
}
