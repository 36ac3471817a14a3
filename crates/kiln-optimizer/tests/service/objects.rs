//! What the objects look like: symbols, relocations, sections.

use kiln_abi::{GlobalId, Pipeline};
use kiln_remote::Neighbours;
use object::elf::{
    R_X86_64_64, R_X86_64_GOTPCREL, R_X86_64_GOTPCRELX, R_X86_64_PC32, R_X86_64_PLT32, R_X86_64_REX_GOTPCRELX,
    R_X86_64_TLSGD,
};
use object::{Object, ObjectSection, ObjectSymbol};

use crate::harness::{self, Inspected, Session, function};

const BOTH: [Pipeline; 2] = [Pipeline::Quick, Pipeline::Full];

fn symbol(bitcode: &[u8], name: &str) -> String {
    format!("kiln$f{}", function(bitcode, name).0)
}

/// Whether `symbol` is reached through the global offset table, in any of its forms.
fn through_got(object: &Inspected, symbol: &str) -> bool {
    let got = [R_X86_64_GOTPCREL, R_X86_64_GOTPCRELX, R_X86_64_REX_GOTPCRELX];
    object.relocations().iter().any(|r| r.symbol == symbol && got.contains(&r.kind))
}

/// Trap: calls that the assembler resolves leave no relocation, so replaced code would re-enter itself.
#[test]
fn self_recursion_is_a_relocation() {
    let source = "
        int plain(int n) { return n < 2 ? n : plain(n - 1) + plain(n - 2); }
        static int hidden(int n) { return n < 2 ? n : hidden(n - 1) + hidden(n - 2); }
        __attribute__((weak)) int weak(int n) { return n < 2 ? n : weak(n - 1) + weak(n - 2); }
        int (*use)(int) = hidden;
    ";
    let bitcode = harness::c(source, &[]);
    for pipeline in BOTH {
        for name in ["plain", "hidden", "weak"] {
            let object = Session::start().one(&bitcode, name, pipeline).unwrap();
            let symbol = symbol(&bitcode, name);
            let section = format!(".rela.text.{symbol}");
            let text = format!(".text.{symbol}");
            assert!(object.has(&text, R_X86_64_PLT32, &symbol), "{section}: {:?}", object.relocations());
        }
    }
}

#[test]
fn calls_inside_a_batch_are_relocations() {
    let source = "__attribute__((noinline)) static int a(int x) { return x + 1; }
                  __attribute__((noinline)) int b(int x) { return a(x) * 2; }";
    let bitcode = harness::c(source, &["-O1"]);
    for pipeline in BOTH {
        let mut session = Session::start();
        let module = session.open(&bitcode);
        let compiled = session.compile(module, &[function(&bitcode, "b")], pipeline, Neighbours::default()).unwrap();
        assert_eq!(compiled.functions.len(), 2);
        let object = Inspected::new(compiled);
        let text = format!(".text.{}", symbol(&bitcode, "b"));
        assert!(object.has(&text, R_X86_64_PLT32, &symbol(&bitcode, "a")), "{:?}", object.relocations());
    }
}

#[test]
fn data_is_external_by_id() {
    let source = "
        extern int far; int strong = 1; static int mine = 2; __attribute__((weak)) int weak = 3;
        __attribute__((visibility(\"hidden\"))) int hidden = 4; __thread int tls = 5; static __thread int local_tls = 6;
        const char *f(void) { mine++; return \"text\"; }
        void g(int *volatile *out) { *out = &far; *out = &strong; *out = &mine; *out = &weak; *out = &hidden; }
        int h(void) { return tls + local_tls; }
    ";
    let bitcode = harness::c(source, &["-ftls-model=local-exec"]);
    // In the order of the listing: what matters is which kind of reference each gets.
    let ids = harness::global_names(&bitcode);
    let global = |name: &str| format!("kiln$g{}", ids.iter().position(|n| n == name).unwrap());
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "g", pipeline).unwrap();
        for name in ["far", "weak"] {
            assert!(through_got(&object, &global(name)), "{name}: {:?}", object.relocations());
        }
        for name in ["strong", "mine", "hidden"] {
            assert!(!through_got(&object, &global(name)), "{name}: {:?}", object.relocations());
            assert!(object.undefined().contains(&global(name)), "{name}");
        }
        let object = Session::start().one(&bitcode, "f", pipeline).unwrap();
        assert_eq!(object.defined(), [symbol(&bitcode, "f")]);
        assert!(object.has(".text.", R_X86_64_PC32, &global(".str")), "{:?}", object.relocations());

        let object = Session::start().one(&bitcode, "h", pipeline).unwrap();
        for name in ["tls", "local_tls"] {
            assert!(object.has(".text.", R_X86_64_TLSGD, &global(name)), "{name}: {:?}", object.relocations());
        }
        assert!(object.has(".text.", R_X86_64_PLT32, "__tls_get_addr"));
    }
}

/// Trap: non-PIC bitcode calls everything dso_local; what is only declared is still reached through the table.
#[test]
fn undefined_data_of_non_pic_code_goes_through_the_table() {
    let bitcode = harness::c("extern int far; int f(void) { return far; }", &["-fno-pic"]);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "f", pipeline).unwrap();
        assert!(through_got(&object, "kiln$g0"), "{:?}", object.relocations());
    }
}

/// Trap: tables of label addresses belong to the code they point into.
#[test]
fn label_tables_are_defined_with_their_function() {
    let source = "
        int run(const char *code, int x) {
            static const void *table[] = {&&add, &&twice, &&done};
            goto *table[(int)*code];
        add: x += 1; goto *table[(int)*++code];
        twice: x *= 2; goto *table[(int)*++code];
        done: return x;
        }
        static int other = 7;
        int *unrelated(void) { return &other; }
    ";
    for flags in [&[][..], &["-O1"], &["-g"]] {
        let bitcode = harness::c(source, flags);
        let names = harness::global_names(&bitcode);
        let table = names.iter().position(|name| name.contains("table")).unwrap() as u32;
        for pipeline in BOTH {
            let mut session = Session::start();
            let module = session.open(&bitcode);
            // Twice: the body must be there again for the second.
            for _ in 0..2 {
                let root = [function(&bitcode, "run")];
                let compiled = session.compile(module, &root, pipeline, Neighbours::NONE).unwrap();
                let object = Inspected::new(compiled);
                assert_eq!(object.compiled.globals, [GlobalId(table)]);
                let name = format!("kiln$g{table}");
                assert!(object.defined().contains(&name));
                let entries =
                    object.relocations().iter().filter(|r| r.section.contains(&name) && r.kind == R_X86_64_64).count();
                assert_eq!(entries, 3, "{:?}", object.relocations());
            }
            let compiled =
                session.compile(module, &[function(&bitcode, "unrelated")], pipeline, Neighbours::NONE).unwrap();
            assert_eq!(compiled.globals, []);
        }
    }
}

#[test]
fn aliases_are_declared_by_id() {
    let source = "
        @data = global i32 1
        @first = alias i32, ptr @data
        @second = alias i32 (i32), ptr @target
        @third = ifunc i32 (i32), ptr @resolver
        define i32 @target(i32 %x) { ret i32 %x }
        define ptr @resolver() { ret ptr @target }
        define i32 @user(i32 %x) {
          %a = load i32, ptr @first
          %b = call i32 @second(i32 %a)
          %c = call i32 @third(i32 %b)
          ret i32 %c
        }
    ";
    let bitcode = harness::ll(source);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "user", pipeline).unwrap();
        assert_eq!(object.undefined(), ["kiln$a0", "kiln$a1", "kiln$a2"]);
    }
}

#[test]
fn exceptions_name_their_personality_by_id() {
    let source = "
        int may_throw(int);
        int caught(int x) { try { return may_throw(x); } catch (int e) { return e; } }
    ";
    let bitcode = harness::cxx(source, &[]);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "_Z6caughti", pipeline).unwrap();
        let personality = symbol(&bitcode, "__gxx_personality_v0");
        assert!(object.undefined().contains(&personality), "{:?}", object.undefined());
        assert!(object.has(".data.DW.ref", R_X86_64_64, &personality), "{:?}", object.relocations());
        let file = object.file();
        assert!(file.sections().any(|s| s.name().unwrap().starts_with(".gcc_except_table")));
        assert!(file.section_by_name(".eh_frame").is_some());
    }
}

/// Whatever the function says of itself: the runtime unwinds through it.
#[test]
fn every_function_has_unwind_tables() {
    let bitcode = harness::c("int f(int x) { return x; }", &["-fno-asynchronous-unwind-tables"]);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "f", pipeline).unwrap();
        assert!(object.file().section_by_name(".eh_frame").is_some());
    }
}

#[test]
fn functions_that_must_be_inlined_are() {
    let source = "
        static __attribute__((always_inline)) inline int inner(int x) { return x + 40; }
        static __attribute__((always_inline)) inline int outer(int x) { return inner(x) * 2; }
        int f(int x) { return outer(x); }
    ";
    // Unlike clang's own -O0, which has inlined them already.
    let bitcode = harness::c(source, &["-Xclang", "-disable-llvm-passes"]);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "f", pipeline).unwrap();
        assert_eq!(object.undefined(), Vec::<String>::new());
        assert_eq!(object.compiled.functions, [function(&bitcode, "f")]);
        assert_eq!(object.compiled.visible.len(), 3);
    }
}

#[test]
fn unoptimised_functions_are_optimised_in_full() {
    let source = "static int twice(int x) { return 2 * x; } int f(int x) { return twice(x) + twice(x); }";
    let bitcode = harness::c(source, &[]);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    let root = [function(&bitcode, "f")];
    let compiled = session.compile(module, &root, Pipeline::Full, Neighbours::default()).unwrap();
    let object = Inspected::new(compiled);
    assert!(!object.has(".text.", R_X86_64_PLT32, &symbol(&bitcode, "twice")), "inlined");
}

/// A program's own `memcpy` must not become a call of itself because its loop looks like one.
#[test]
fn library_functions_are_known_by_name() {
    let source = "
        #include <stddef.h>
        void *memcpy(void *to, const void *from, size_t n) {
            for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
            return to;
        }
        int puts(const char *); int printf(const char *, ...);
        int hello(void) { return printf(\"hello\\n\"); }
    ";
    let bitcode = harness::c(source, &["-O1", "-Xclang", "-disable-llvm-passes", "-fno-builtin-memcpy"]);
    let object = Session::start().one(&bitcode, "memcpy", Pipeline::Full).unwrap();
    assert_eq!(object.undefined(), Vec::<String>::new());
}

#[test]
fn line_tables_are_kept_and_little_else() {
    let source = "
        struct big { int a; struct big *next; } *list;
        int counter; static inline int helper(int x) { counter = x; return x + 1; }
        int f(int x) { struct big *p = list; return helper(x) + p->a; }
    ";
    let bitcode = harness::c(source, &["-g", "-O1"]);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "f", pipeline).unwrap();
        let file = object.file();
        assert!(file.section_by_name(".debug_line").is_some_and(|s| s.size() > 0));
        let strings = file.section_by_name(".debug_str").unwrap().uncompressed_data().unwrap();
        let has = |needle: &[u8]| strings.windows(needle.len()).any(|w| w == needle);
        assert!(has(b"helper") && !has(b"big"), "{}", String::from_utf8_lossy(&strings));
    }
}

/// Names that clang gives to labels in inline assembly and to symbols it defines stay out of the way.
#[test]
fn only_id_symbols_are_defined() {
    let source = "
        __attribute__((section(\"special\"))) int f(double x) { switch ((int)x) {
            case 0: return 5; case 1: return 99; case 2: return 7; case 3: return 1; case 4: return 8; } return 1.5 * x; }
    ";
    let bitcode = harness::c(source, &["-O1"]);
    for pipeline in BOTH {
        let object = Session::start().one(&bitcode, "f", pipeline).unwrap();
        assert_eq!(object.defined(), ["kiln$f0"]);
        let file = object.file();
        let f = file.symbols().find(|s| s.name() == Ok("kiln$f0")).unwrap();
        let section = file.section_by_index(f.section_index().unwrap()).unwrap();
        assert_eq!(section.name(), Ok(".text.kiln$f0"));
    }
}

/// Coroutines are split by passes that even unoptimised code needs.
#[test]
fn coroutines_are_lowered() {
    let source = "
        #include <coroutine>
        struct task { struct promise_type {
            task get_return_object() { return {}; } std::suspend_never initial_suspend() noexcept { return {}; }
            std::suspend_never final_suspend() noexcept { return {}; } void return_void() {}
            void unhandled_exception() {} }; };
        task run() { co_await std::suspend_always{}; }
    ";
    let bitcode = harness::cxx(source, &["-std=c++20"]);
    let object = Session::start().one(&bitcode, "_Z3runv", Pipeline::Quick).unwrap();
    assert!(!object.undefined().iter().any(|name| name.starts_with("llvm.")), "{:?}", object.undefined());
}

/// Trap: with the host's features, vectors of more than 128 bits would be passed in other registers than in the rest of
/// the program.
#[test]
fn wide_vectors_are_passed_as_the_function_says() {
    let source = "
        declare <8 x float> @other(<8 x float>)
        define <8 x float> @wide(<8 x float> %x) { %y = fadd <8 x float> %x, %x ret <8 x float> %y }
        define void @calls(ptr %p) {
          %x = load <8 x float>, ptr %p
          %y = call <8 x float> @other(<8 x float> %x)
          store <8 x float> %y, ptr %p
          ret void
        }
        define <8 x float> @asked(<8 x float> %x) #0 { %y = fadd <8 x float> %x, %x ret <8 x float> %y }
        attributes #0 = { \"target-features\"=\"+avx\" }
    ";
    let bitcode = harness::ll(source);
    for pipeline in BOTH {
        for (name, wide) in [("wide", false), ("calls", false), ("asked", true)] {
            let object = Session::start().one(&bitcode, name, pipeline).unwrap();
            let listing = harness::machine_code(&object.bytes);
            assert_eq!(listing.contains("ymm"), wide, "{name} {pipeline:?}: {listing}");
        }
    }
}
