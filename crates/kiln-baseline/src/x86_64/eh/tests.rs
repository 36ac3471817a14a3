//! The tables are judged by who reads them: C++'s own unwinder runs over them in an executable that clang-22 links, and
//! llvm-dwarfdump prints the frames.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_abi::ExecutorAddr;
use kiln_link::{Link, NoScope, Options, Placement, RuntimeSymbols, TlsPlacement};

use super::*;

/// A function that calls `thrower` and returns what arrives in RDX at its landing pad, or 0.
const CODE: &[u8] = &[
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0x48, 0x83, 0xec, 0x10, // sub rsp, 16
    0x48, 0x89, 0x5d, 0xf8, // mov [rbp - 8], rbx
    0xbb, 0x2a, 0x00, 0x00, 0x00, // mov ebx, 42
    0xe8, 0x00, 0x00, 0x00, 0x00, // call thrower
    0x31, 0xc0, // xor eax, eax
    0x31, 0xd2, // xor edx, edx
    0x89, 0xd0, // mov eax, edx
    0x48, 0x8b, 0x5d, 0xf8, // mov rbx, [rbp - 8]
    0xc9, // leave
    0xc3, // ret
    0xcc, // int3: the code goes on behind the epilogue
];
const CALL: u32 = 0x11;
const CALL_END: u32 = 0x16;
const PAD: u32 = 0x1a;
const FRAME: FrameRows<'_> = FrameRows {
    code_bytes: CODE.len() as u32,
    pushed: 1,
    framed: 4,
    saved_from: 12,
    saved: &[(3, -8)],
    epilogues: &[(0x21, 0x22)],
};
/// Types by number: as the program below has them.
const TYPES: [&str; 3] = ["_ZTIi", "_ZTI1A", "_ZTI1B"];
const INT: Option<u32> = Some(0);
const A: Option<u32> = Some(1);
const B: Option<u32> = Some(2);

fn bytes_as_assembly(bytes: &[u8], words: &[(u32, String)]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < bytes.len() {
        match words.iter().find(|(place, _)| *place as usize == at) {
            Some((_, word)) => {
                writeln!(text, "  .long {word}").unwrap();
                at += 4;
            }
            None => {
                writeln!(text, "  .byte {}", bytes[at]).unwrap();
                at += 1;
            }
        }
    }
    text
}

/// The area's bytes, and place and number of each type in it.
fn area_of(exceptions: &mut Exceptions, code_bytes: u32) -> (Vec<u8>, Vec<(u32, u32)>) {
    let mut area = Vec::new();
    let types = exceptions.area(code_bytes, &mut area);
    let numbered = (types..).step_by(4).zip(exceptions.types.iter().rev());
    let places = numbered.filter_map(|(place, ty)| Some((place, (*ty)?))).collect();
    (area, places)
}

/// Assembly of a function `name` with its tables.
fn assembly(name: &str, exceptions: Option<&mut Exceptions>) -> String {
    let mut text = format!("  .text\n  .globl {name}\n{name}:\n");
    text += &bytes_as_assembly(CODE, &[(CALL + 1, "thrower@PLT - . - 4".to_owned())]);
    let mut frame = Vec::new();
    let places = write_frame(&mut frame, &FRAME, exceptions.is_some());
    let mut words = vec![(places.code, format!("{name} - ."))];
    words.extend(places.personality.map(|place| (place, "DW.ref.__gxx_personality_v0 - .".to_owned())));
    words.extend(places.area.map(|place| (place, format!("{name}.area - ."))));
    text += "  .section .eh_frame,\"a\",@progbits\n  .p2align 3\n";
    text += &bytes_as_assembly(&frame, &words);
    if let Some(exceptions) = exceptions {
        let (area, places) = area_of(exceptions, FRAME.code_bytes);
        let words: Vec<_> =
            places.iter().map(|(place, ty)| (*place, format!("cell.{} - .", TYPES[*ty as usize]))).collect();
        text += &format!("  .section .gcc_except_table,\"a\",@progbits\n  .p2align 2\n{name}.area:\n");
        text += &bytes_as_assembly(&area, &words);
    }
    text
}

fn cells() -> String {
    let mut text = String::from("  .section .data.rel.ro,\"aw\",@progbits\n  .p2align 3\n");
    text += "DW.ref.__gxx_personality_v0:\n  .quad __gxx_personality_v0\n";
    for ty in TYPES {
        writeln!(text, "cell.{ty}:\n  .quad {ty}").unwrap();
    }
    text + "  .section .note.GNU-stack,\"\",@progbits\n"
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kiln-eh-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    folder
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the tools of LLVM 22 are installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const DRIVER: &str = r#"
#include <cstdio>
struct A { int a; virtual ~A() {} };
struct B : A { int b; };
struct C {};
static int mode;
extern "C" int plain(), catches(), everything(), nothing_passes(), a_passes(), cleans();
extern "C" __attribute__((noinline)) void thrower() {
  switch (mode) {
    case 1: throw 1;
    case 2: throw A();
    case 3: throw B();
    case 4: throw C();
  }
}
static __attribute__((noinline)) void run(const char *name, int (*f)()) {
  printf("%s", name);
  for (mode = 0; mode < 5; mode++) {
    int before = mode * 3;
    try { printf(" %d", f()); } catch (...) { printf(" out%s", before == mode * 3 ? "" : "!"); }
  }
  printf("\n");
}
int main() {
  run("plain", plain);
  run("catches", catches);
  run("everything", everything);
  run("nothing_passes", nothing_passes);
  run("a_passes", a_passes);
  run("cleans", cleans);
}
"#;

/// What the landing pad gets: nothing thrown, an `int`, an `A`, a `B` (which is an `A`), a `C`. A pad
/// that is a cleanup for an exception gets 0.
const EXPECTED: &str = "plain 0 out out out out\n\
    catches 0 1 3 2 0\n\
    everything 0 1 2 2 2\n\
    nothing_passes 0 -1 -1 -1 -1\n\
    a_passes 0 -1 out out -1\n\
    cleans 0 0 0 0 0\n";

#[test]
fn the_unwinder_of_cxx_goes_where_the_tables_say() {
    let mut text = String::new();
    let mut exceptions = Exceptions::default();
    let mut add = |name: &str, clauses: &dyn Fn(&mut Exceptions) -> Vec<i32>, cleanup: bool| {
        exceptions.clear();
        let clauses = clauses(&mut exceptions);
        let action = exceptions.action(&clauses, cleanup);
        exceptions.site(CALL, CALL_END, (PAD, action));
        assert!(!exceptions.is_empty());
        text += &assembly(name, Some(&mut exceptions));
    };
    add("catches", &|e| vec![e.type_number(INT), e.type_number(B), e.type_number(A)], true);
    add("everything", &|e| vec![e.type_number(INT), e.type_number(None)], false);
    add("nothing_passes", &|e| vec![e.filter_number(&[])], false);
    add("a_passes", &|e| vec![e.filter_number(&[A])], false);
    add("cleans", &|_| vec![], true);
    text += &assembly("plain", None);
    text += &cells();
    let folder = folder("cxx");
    let assembly = write(&folder, "tables.s", &text);
    let driver = write(&folder, "driver.cc", DRIVER);
    let program = folder.join("program");
    let mut clang = Command::new("clang++-22");
    run(clang.args(["-O2", "-o"]).arg(&program).arg(&driver).arg(&assembly));
    assert_eq!(run(&mut Command::new(&program)), EXPECTED);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn frames_are_described_at_every_instruction() {
    let folder = folder("frames");
    let assembly = write(&folder, "frame.s", &(assembly("plain", None) + &cells()));
    let object = folder.join("frame.o");
    run(Command::new("clang-22").arg("-c").arg(&assembly).arg("-o").arg(&object));
    let dump = run(Command::new("llvm-dwarfdump-22").arg("--eh-frame").arg(&object));
    let rows: Vec<&str> = dump
        .lines()
        .skip_while(|line| !line.contains(" FDE "))
        .filter_map(|line| line.split(": CFA=").nth(1))
        .collect();
    assert_eq!(
        rows,
        [
            "RSP+8: RIP=[CFA-8]",
            "RSP+16: RBP=[CFA-16], RIP=[CFA-8]",
            "RBP+16: RBP=[CFA-16], RIP=[CFA-8]",
            "RBP+16: RBX=[CFA-24], RBP=[CFA-16], RIP=[CFA-8]",
            "RSP+8: RIP=[CFA-8]",
            "RBP+16: RBX=[CFA-24], RBP=[CFA-16], RIP=[CFA-8]",
        ],
        "{dump}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn long_areas_and_long_functions_keep_their_form() {
    let mut exceptions = Exceptions::default();
    for number in 0..200 {
        let action = exceptions.type_number(Some(number));
        let action = exceptions.action(&[action], false);
        exceptions.site(0x1_0000 + number * 16, 0x1_0000 + number * 16 + 5, (0x2_0000 + number, action));
    }
    let (bytes, places) = area_of(&mut exceptions, 0x10_0000);
    assert_eq!(places.len(), 200);
    assert!(places.iter().all(|(place, _)| place % 4 == 0), "types are aligned");
    // The distance to the base ends behind the last type, which is number 1.
    let distance = u32::from(bytes[2] & 0x7f) | u32::from(bytes[3] & 0x7f) << 7;
    assert_eq!(places.last(), Some(&(4 + distance - 4, 0)));
    assert_eq!(4 + distance, bytes.len() as u32);

    let mut table = Vec::new();
    let frame = FrameRows {
        code_bytes: 0x10_0000,
        epilogues: &[(0x50, 0x51), (0x8000, 0x8001), (0xf_0000, 0x10_0000)],
        ..FRAME
    };
    write_frame(&mut table, &frame, true);
    assert_eq!(table.len() % 8, 0);
}

#[test]
fn a_linked_function_has_its_entry() {
    let mut graph = Graph::new("function");
    let text = graph.add_section(".text", SectionKind::Code);
    let block = graph.add_block(text, Content::from(CODE), 16);
    graph.add_symbol(Symbol::function("function", block, 0));
    let code = graph.add_symbol(Symbol::local(block, 0));
    let data = graph.add_section(".rodata", SectionKind::ReadOnly);
    let data = graph.add_block(data, Content::from(vec![0; 8]), 8);
    let personality = graph.add_symbol(Symbol::local(data, 0));
    let ty = graph.add_symbol(Symbol::local(data, 4));
    let mut exceptions = Exceptions::default();
    let numbers = [exceptions.type_number(Some(7)), exceptions.type_number(None)];
    let action = exceptions.action(&numbers, false);
    exceptions.site(CALL, CALL_END, (PAD, action));
    attach(&mut graph, code, &FRAME, Some((&mut exceptions, personality)), &|number| {
        assert_eq!(number, 7);
        ty
    });

    let mut link = Link::new(Options::default());
    link.add_graph(&graph);
    let layout = link.resolve(&mut NoScope).unwrap().layout().unwrap();
    let mut memory: Vec<Vec<u8>> = layout.segments.iter().map(|s| vec![0; s.size as usize]).collect();
    let mut placements: Vec<Placement<'_>> = memory
        .iter_mut()
        .enumerate()
        .map(|(i, working)| Placement {
            address: ExecutorAddr::new(0x40_0000 + 0x10_0000 * i as u64),
            working,
            zeroed: true,
        })
        .collect();
    let mut linked = layout.place(&mut placements, TlsPlacement::None, &RuntimeSymbols::default()).unwrap();
    let entries = linked.take_unwind();
    assert_eq!(entries.len(), 1);
    let function = linked.symbol(b"function").unwrap().location.address().unwrap();
    assert_eq!((entries[0].pc_begin, entries[0].pc_bytes), (function, CODE.len() as u64));
}
