//! A bounded run of the fuzzer over real objects and archives, with fixed seeds.

mod support;

#[path = "support/fuzz.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the example")]
mod fuzz;

use fuzz::{Random, execute, mutate};
use support::{archive, assemble, compile_c, here};

/// Small inputs that together hold everything the parsers know.
fn corpus() -> Vec<Vec<u8>> {
    let c = "__attribute__((constructor)) static void up(void) {}\n\
             static __thread int t; extern int e; int common[4]; static int *p = &e;\n\
             __attribute__((weak)) int f(int x) { return x + t + *p + common[1]; }\n\
             int main(void) { return f(3); }\n";
    let cxx = "struct B { virtual ~B() {} virtual int f() { return 1; } };\n\
               struct D : B { int f() override { return 2; } };\n\
               inline int &counter() { static int n; return n; }\n\
               int g(B *b) { try { return b->f() + ++counter(); } catch (...) { return 0; } }\n\
               int main() { D d; return g(&d); }\n";
    let objects = vec![
        compile_c(c, &["-O1", "-fPIC", "-fcommon", "-ffunction-sections"]),
        support::compile_with("clang-22", "c++", cxx, &["-O1", "-fPIC", "-g"]),
        support::compile_with("gcc", "c++", cxx, &["-O0", "-fPIC"]),
    ];
    let members: Vec<(&str, &[u8])> =
        ["a.o", "a_name_that_is_long.o"].into_iter().zip(objects.iter().map(|o| &o[..])).collect();
    let mut corpus = vec![archive("rcs", &members), archive("rcS", &members), archive("rcsT", &members)];
    corpus.extend(objects);
    for name in
        ["R_X86_64_TLSGD", "R_X86_64_TLSLD", "R_X86_64_GOTPCRELX", "R_X86_64_GOTPC32_TLSDESC", "R_X86_64_GOTTPOFF"]
    {
        let path = here("relocations").join(name).with_extension("s");
        corpus.push(assemble(&std::fs::read_to_string(path).unwrap()));
    }
    corpus
}

#[test]
fn trap_27_mutated_inputs_never_panic() {
    let corpus = corpus();
    if let Some(directory) = std::env::var_os("KILN_WRITE_CORPUS") {
        for (i, bytes) in corpus.iter().enumerate() {
            std::fs::write(std::path::Path::new(&directory).join(format!("{i}")), bytes).unwrap();
        }
    }
    let mut random = Random::new(27);
    let (mut linked, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = random.below(corpus.len());
        mutate(&mut random, &mut input, &corpus[other]);
        match execute(&input, random.next()) {
            Ok(_) => linked += 1,
            Err(_) => refused += 1,
        }
    }
    // Both must occur, or the mutations test nothing.
    assert!(linked > 100 && refused > 100, "{linked} linked, {refused} refused");
}

#[test]
fn trap_27_every_truncation_ends_in_an_error_or_a_link() {
    for input in corpus() {
        for end in (0..input.len()).step_by(7) {
            let _ = execute(&input[..end], end as u64);
        }
    }
}
