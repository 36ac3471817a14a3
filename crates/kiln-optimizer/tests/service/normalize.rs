//! Inputs that are rewritten: textual IR, module-level assembly, other producers.

use kiln_abi::Pipeline;
use kiln_remote::{Event, Failed, FailureKind, Normalize, Payload};
use object::{Object, ObjectSymbol};

use crate::harness::{self, Session, function_names};

fn normalize(input: Vec<u8>) -> Result<(Vec<u8>, Option<Vec<u8>>), Failed> {
    let mut session = Session::start();
    let input = Payload::new(input).unwrap();
    session.connection.machine().normalize(Normalize { input, name: "input.ll".into() }).unwrap();
    match session.event().unwrap() {
        Event::Normalized(done) => {
            Ok((done.bitcode.into_bytes().unwrap(), done.assembly.map(|a| a.into_bytes().unwrap())))
        }
        Event::Failed(failed) => Err(failed),
        other => panic!("{other:?}"),
    }
}

const TRIPLE: &str = "target triple = \"x86_64-pc-linux-gnu\"\n";

#[test]
fn textual_ir_becomes_bitcode() {
    let text = format!("{TRIPLE}define i32 @f(i32 %x) {{ ret i32 %x }}");
    let (bitcode, assembly) = normalize(text.into_bytes()).unwrap();
    assert_eq!(assembly, None);
    assert_eq!(function_names(&bitcode), ["f"]);
    assert!(Session::start().one(&bitcode, "f", Pipeline::Quick).is_ok());
}

#[test]
fn bitcode_stays_bitcode() {
    let bitcode = harness::c("int f(void) { return 1; }", &["-g"]);
    let (again, assembly) = normalize(bitcode).unwrap();
    assert_eq!(assembly, None);
    assert_eq!(function_names(&again), ["f"]);
}

#[test]
fn errors_have_a_place() {
    let failed = normalize(b"define i32 @f() {\n  ret i33 0\n}".to_vec()).unwrap_err();
    assert_eq!(failed.kind, FailureKind::InvalidIr);
    assert!(failed.message.contains("input.ll:2"), "{}", failed.message);
}

#[test]
fn module_level_assembly_becomes_an_object() {
    let source = "
        static int internal(int x) { return x + 1; }
        __asm__(\".globl from_asm\\nfrom_asm: jmp internal\\n local_label: ret\\n .weak weak_one\\n weak_one: ret\");
        __attribute__((used)) static int (*keep)(int) = internal;
        extern int from_asm(int); extern void local_label(void);
        int f(int x) { local_label(); return from_asm(x); }
    ";
    let bitcode = harness::c(source, &[]);
    let (rewritten, assembly) = normalize(bitcode).unwrap();
    let assembly = assembly.expect("an object");
    let file = object::File::parse(&*assembly).unwrap();
    let find = |name: &str| file.symbols().find(|s| s.name() == Ok(name)).unwrap_or_else(|| panic!("{name}"));
    assert!(find("from_asm").is_global() && !find("from_asm").is_undefined());
    // Named on the other side, so no longer local; but not for other files either.
    assert!(find("local_label").is_global());
    assert_eq!(find("local_label").scope(), object::SymbolScope::Linkage);
    assert!(find("weak_one").is_weak());
    assert!(find("internal").is_undefined());
    let listing = harness::disassemble(&rewritten);
    assert!(listing.contains("define hidden i32 @internal("), "{listing}");
    assert!(!listing.contains("module asm"), "{listing}");
}

#[test]
fn bad_assembly_is_an_error() {
    let failed = normalize(format!("{TRIPLE}module asm \"no_such_instruction\"").into_bytes()).unwrap_err();
    assert_eq!(failed.kind, FailureKind::Rejected);
    assert!(failed.message.contains("module-level assembly"), "{}", failed.message);
}

#[test]
fn newer_producers_are_refused_by_name() {
    let mut bitcode = harness::c("int f(void) { return 1; }", &[]);
    // The producer's name is an array of 6-bit characters somewhere in the bit stream.
    let (old, new) = (char6("LLVM22."), char6("LLVM99."));
    assert!(replace_bits(&mut bitcode, &old, &new), "the producer string is there");
    let failed = normalize(bitcode).unwrap_err();
    assert_eq!(failed.kind, FailureKind::NewerProducer);
    assert!(failed.message.contains("LLVM99"), "{}", failed.message);
}

/// A string in LLVM's 6-bit encoding (BitCodeAbbrevOp::EncodeChar6), as bits.
fn char6(text: &str) -> Vec<bool> {
    let code = |c: u8| match c {
        b'a'..=b'z' => c - b'a',
        b'A'..=b'Z' => c - b'A' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'.' => 62,
        _ => 63,
    };
    text.bytes().flat_map(|c| (0..6).map(move |i| code(c) >> i & 1 != 0)).collect()
}

/// Replaces the first place where the bits of `old` lie.
fn replace_bits(bytes: &mut [u8], old: &[bool], new: &[bool]) -> bool {
    let bit = |bytes: &[u8], index: usize| bytes[index / 8] >> (index % 8) & 1 != 0;
    let place =
        (0..bytes.len() * 8 - old.len()).find(|at| old.iter().enumerate().all(|(i, b)| bit(bytes, at + i) == *b));
    let Some(place) = place else { return false };
    for (i, set) in new.iter().enumerate() {
        let (byte, mask) = ((place + i) / 8, 1 << ((place + i) % 8));
        bytes[byte] = if *set { bytes[byte] | mask } else { bytes[byte] & !mask };
    }
    true
}
