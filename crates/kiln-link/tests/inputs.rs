//! What inputs may look like: archives of every kind, odd objects, and what is refused by name.

mod support;

use kiln_link::{ErrorKind, Graph, Link, Linked, Members, NoScope, Options};
use support::{LOW, Memory, World, address, archive, assemble, compile_c, compile_with, error, link, place};

fn links<'a>(link: Link<'a>) -> (Linked<'a>, Memory) {
    place(link.resolve(&mut NoScope).unwrap().layout().unwrap(), LOW, None).unwrap()
}

fn first_error(object: &[u8]) -> ErrorKind {
    error(link(&[object], &mut World::default())).iter().next().unwrap().kind().clone()
}

#[test]
fn trap_23_archives_with_and_without_index_and_bare_objects() {
    let main = assemble("call f\n.globl main\nmain: ret\n");
    let f = assemble(".globl f\nf: call g\n");
    let g = assemble(".globl g\ng: ret\n");
    let unused = assemble("call nobody\n.globl unused\nunused: ret\n");
    let members: [(&str, &[u8]); 3] = [("f.o", &f), ("unused.o", &unused), ("a_member_with_a_long_name.o", &g)];
    for flags in ["rcs", "rcS"] {
        let library = archive(flags, &members);
        let mut link = Link::new(Options::default());
        link.add_archive("before.a", &library, false);
        link.add_object("main.o", &main);
        let (linked, _) = links(link);
        assert!(linked.symbol(b"g").is_some() && linked.symbol(b"unused").is_none(), "{flags}");
    }
    let mut link = Link::new(Options::default());
    link.add_object("main.o", &main);
    link.add_archive("bare.a", &f, false);
    link.add_archive("empty.a", b"!<arch>\n", false);
    link.add_object("really_an_archive.o", &g);
    links(link);
}

#[test]
fn trap_23_duplicate_members() {
    let main = assemble("call f\ncall g\n");
    let (f, g) = (assemble(".globl f\nf: ret\n"), assemble(".globl g\ng: ret\n"));
    // Two members of one name, as appending leaves them.
    let dir = support::Dir::new();
    let path = dir.path("lib.a");
    for bytes in [&f, &g] {
        std::fs::write(dir.path("same.o"), bytes).unwrap();
        support::run(std::process::Command::new("llvm-ar-22").arg("qcs").arg(&path).arg(dir.path("same.o")));
    }
    let library = std::fs::read(&path).unwrap();
    let mut link = Link::new(Options::default());
    link.add_object("main.o", &main);
    link.add_archive("lib.a", &library, false);
    let (linked, _) = links(link);
    assert!(linked.symbol(b"f").is_some() && linked.symbol(b"g").is_some());
}

#[test]
fn trap_23_members_at_odd_multiples_of_two() {
    let g = assemble(".data\n.globl g\ng: .quad g\n");
    for name in ["a.o", "ab.o", "a_name_that_is_long.o", "a_name_that_is_longer.o"] {
        let library = archive("rcs", &[("x", b"text"), (name, &g)]);
        let main = assemble(".data\n.quad g\n");
        let mut link = Link::new(Options::default());
        link.add_object("main.o", &main);
        link.add_archive("lib.a", &library, false);
        let (linked, memory) = links(link);
        let g = address(&linked, "g");
        assert_eq!(memory.u64(g), g);
    }
}

struct Files<'a>(&'a [u8]);

impl<'a> Members<'a> for Files<'a> {
    fn thin(&mut self, archive: &str, path: &[u8]) -> Option<&'a [u8]> {
        assert_eq!((archive, path), ("thin.a", &b"f.o"[..]));
        Some(self.0)
    }
}

#[test]
fn trap_23_thin_archives_name_their_files() {
    let f = assemble(".globl f\nf: ret\n");
    let library = archive("rcsT", &[("f.o", &f)]);
    let main = assemble("call f\n");
    let thin = |link: &mut Link<'_>| assert!(library.starts_with(b"!<thin>") && std::mem::size_of_val(link) > 0);
    let mut link = Link::new(Options::default());
    thin(&mut link);
    link.add_object("main.o", &main);
    link.add_archive("thin.a", &library, false);
    let errors = error(link.resolve(&mut NoScope));
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::ThinMemberMissing { path, .. } if path == "f.o"));
    let mut link = Link::new(Options::default());
    link.add_object("main.o", &main);
    link.add_archive("thin.a", &library, false);
    link.set_members(Files(&f));
    assert!(links(link).0.symbol(b"f").is_some());
}

#[test]
fn whole_archive_takes_every_member() {
    let library = archive("rcs", &[("a.o", &assemble(".globl a\na: ret\n")), ("b.o", &assemble(".globl b\nb: ret\n"))]);
    let mut link = Link::new(Options::default());
    link.add_archive("lib.a", &library, true);
    let (linked, _) = links(link);
    assert!(linked.symbol(b"a").is_some() && linked.symbol(b"b").is_some());
}

struct Bitcode<'a>(&'a Graph<'a>);

impl<'a> Members<'a> for Bitcode<'a> {
    fn bitcode(&mut self, archive: &str, member: &[u8], bytes: &'a [u8]) -> Option<&'a Graph<'a>> {
        assert!(bytes.starts_with(b"BC") && archive == "lib.a" && member == b"f.o");
        Some(self.0)
    }
}

fn bitcode_member(index: &str, wanted: &str) {
    let bitcode = compile_c("int f(void) { return 1; }", &["-emit-llvm"]);
    let dir = support::Dir::new();
    std::fs::write(dir.path("f.o"), &bitcode).unwrap();
    // llvm-ar lists the symbols of bitcode.
    support::run(std::process::Command::new("llvm-ar-22").arg(index).arg(dir.path("lib.a")).arg(dir.path("f.o")));
    let library = std::fs::read(dir.path("lib.a")).unwrap();
    let main = assemble("call f\n");
    let mut link = Link::new(Options::default());
    link.add_object("main.o", &main);
    link.add_archive("lib.a", &library, false);
    let errors = error(link.resolve(&mut NoScope));
    let kind = errors.iter().next().unwrap().kind();
    assert!(matches!(kind, ErrorKind::BitcodeMember { member, symbol, .. } if member == "f.o" && symbol == wanted));
    let mut graph = Graph::new("f.bc");
    graph.add_symbol(kiln_link::Symbol::absolute("f", kiln_abi::ExecutorAddr::new(0x40_0000)));
    let mut link = Link::new(Options::default());
    link.add_object("main.o", &main);
    link.add_archive("lib.a", &library, false);
    link.set_members(Bitcode(&graph));
    assert_eq!(address(&links(link).0, "f"), 0x40_0000);
}

#[test]
fn trap_25_bitcode_members_go_to_the_bitcode_reader() {
    // llvm-ar lists the symbols of bitcode; without an index the reader is asked for them.
    bitcode_member("rcs", "f");
    bitcode_member("rcS", "");
}

#[test]
fn trap_25_excluded_sections_are_skipped_under_whole_archive_too() {
    let object = assemble(".section .llvmbc, \"ae\", @progbits\n.zero 4096\n.text\n.globl f\nf: ret\n");
    let library = archive("rcs", &[("f.o", &object)]);
    let mut link = Link::new(Options::default());
    link.add_archive("lib.a", &library, true);
    let (_, memory) = links(link);
    assert_eq!(memory.segments.iter().map(|(_, m)| m.len()).sum::<usize>(), 1);
}

#[test]
fn trap_11_what_cannot_be_linked_is_refused_by_name() {
    let crel = compile_c("int g(void); int f(void) { return g(); }", &["-Wa,--crel,--allow-experimental-crel"]);
    assert!(matches!(first_error(&crel), ErrorKind::Unsupported { what, .. } if what.contains("CREL")));
    let small = compile_c("int f(void) { return 1; }", &["-m32"]);
    assert!(matches!(first_error(&small), ErrorKind::NotLinkable { found: kiln_link::FileKind::ForeignElf, .. }));
    let slim = compile_with("gcc", "c", "int f(void) { return 1; }", &["-flto", "-fno-fat-lto-objects"]);
    assert!(matches!(first_error(&slim), ErrorKind::SlimLto { .. }));
    let mut foreign = assemble("ret\n");
    foreign[18] = 183; // EM_AARCH64
    assert!(matches!(first_error(&foreign), ErrorKind::NotLinkable { .. }));
    let mut rel = assemble("call f\n");
    let headers = u64::from_le_bytes(rel[40..48].try_into().unwrap()) as usize;
    let count = usize::from(rel[60]);
    let rela = (0..count).map(|i| headers + 64 * i + 4).find(|at| rel[*at] == 4).unwrap();
    rel[rela] = 9;
    assert!(matches!(first_error(&rel), ErrorKind::Unsupported { what, .. } if what.contains("SHT_REL")));
    // A type of the future that says of itself that it applies to another section.
    rel[rela..rela + 4].copy_from_slice(&0x4000_0099u32.to_le_bytes());
    assert!(matches!(first_error(&rel), ErrorKind::Unsupported { .. }));
    let script = b"GROUP ( /lib/libc.so.6 )\n";
    let is_script = |kind| matches!(kind, ErrorKind::NotLinkable { found: kiln_link::FileKind::LinkerScript, .. });
    assert!(is_script(first_error(script)));
}

#[test]
fn trap_12_section_symbol_plus_addend_may_lie_outside_the_section() {
    let object = assemble(
        ".section .rodata.a, \"a\"\n.quad 1\nlocal:\n.section .rodata.b, \"a\"\n.quad 2\n\
         .text\n.globl main\nmain: leaq .rodata.a+100(%rip), %rax\nleaq .rodata.a-50(%rip), %rcx\n",
    );
    let (linked, memory) = link(&[&object], &mut World::default()).unwrap();
    let main = address(&linked, "main");
    let a = |at: u64, off: i64| (at + 7).wrapping_add_signed(memory.i32(at + 3) - off);
    assert_eq!(a(main, 100), LOW.read_only);
    assert_eq!(a(main + 7, -50), LOW.read_only);
}

#[test]
fn trap_13_sections_of_size_zero_have_addresses() {
    let object = assemble(
        ".section .rodata.a, \"a\"\n.globl a\na:\n.section .data.b, \"aw\"\n.globl b\nb:\n\
         .data\n.globl p\np: .quad a, b, .rodata.a\n",
    );
    let (linked, memory) = link(&[&object], &mut World::default()).unwrap();
    let p = address(&linked, "p");
    // A segment that holds nothing else has no memory, but the address is still one.
    assert_eq!(memory.u64(p + 8), address(&linked, "b"));
    assert_ne!(memory.u64(p + 8), 0);
    assert_eq!(memory.u64(p), memory.u64(p + 16));
}

#[test]
fn trap_17_unwind_tables_are_known_by_name() {
    let source = "int g(int); int f(int x) { return g(x) + 1; }";
    for (compiler, kind) in [("gcc", 1u32), ("clang-22", 0x7000_0001)] {
        let object = compile_with(compiler, "c", source, &["-O1", "-fPIC"]);
        assert!(section_kinds(&object).contains(&kind));
        let mut world = World::default().function("g", 0x50_0000);
        let (mut linked, memory) = link(&[&object], &mut world).unwrap();
        let f = linked.symbol(b"f").unwrap();
        let unwind = linked.take_unwind();
        let [entry] = unwind[..] else { panic!("{compiler}: {unwind:?}") };
        assert_eq!((Some(entry.pc_begin), entry.pc_bytes), (f.location.address(), f.size), "{compiler}");
        // What the entry itself says: pc_begin relative to its field.
        let at = entry.fde.get() + 8;
        assert_eq!(at.wrapping_add_signed(memory.i32(at)), entry.pc_begin.get());
    }
}

fn section_kinds(object: &[u8]) -> Vec<u32> {
    let headers = u64::from_le_bytes(object[40..48].try_into().unwrap()) as usize;
    let kind = |i: usize| u32::from_le_bytes(object[headers + 64 * i + 4..][..4].try_into().unwrap());
    (0..usize::from(object[60])).map(kind).collect()
}

#[test]
fn trap_17_entries_of_discarded_functions_are_dropped() {
    let source = "inline __attribute__((noinline)) int twice(int x) { if (x > 3) throw x; return 2 * x; }\n\
                  int NAME(int x) { try { return twice(x); } catch (int) { return 0; } }\n";
    let object = |name| compile_with("clang-22", "c++", &source.replace("NAME", name), &["-O1", "-fPIC"]);
    let (a, b) = (object("a"), object("b"));
    let mut world = World::default();
    for name in ["__cxa_allocate_exception", "__cxa_throw", "__cxa_begin_catch", "__cxa_end_catch", "_Unwind_Resume"] {
        world = world.function(name, 0x50_0000);
    }
    world = world.function("__gxx_personality_v0", 0x50_0000).data("_ZTIi", 0x50_0000);
    let (mut linked, _) = link(&[&a, &b], &mut world).unwrap();
    let starts: Vec<_> = linked.take_unwind().iter().map(|e| e.pc_begin.get()).collect();
    let mut functions: Vec<_> = ["_Z1ai", "_Z1bi", "_Z5twicei"].iter().map(|n| address(&linked, n)).collect();
    functions.sort_unstable();
    assert_eq!(starts, functions);
}

#[test]
fn trap_4_constructors_by_number_then_in_file_order() {
    let unit = |name: &str| {
        assemble(&format!(
            ".text\n.globl {name}1, {name}2, {name}3, {name}4, {name}5\n\
             {name}1: ret\n{name}2: ret\n{name}3: ret\n{name}4: ret\n{name}5: ret\n\
             .section .init_array, \"aw\", @init_array\n.quad {name}1\n\
             .section .init_array.65534, \"aw\", @init_array\n.quad {name}2\n\
             .section .init_array.00101, \"aw\", @init_array\n.quad {name}3\n\
             .section .ctors.64535, \"aw\", @progbits\n.quad {name}4\n\
             .section .ctors, \"aw\", @progbits\n.quad {name}5, {name}1\n\
             .section .fini_array, \"aw\", @fini_array\n.quad {name}1\n\
             .section .fini_array.7, \"aw\", @fini_array\n.quad {name}2\n\
             .section .preinit_array, \"aw\", @preinit_array\n.quad {name}1\n"
        ))
    };
    let (a, b) = (unit("a"), unit("b"));
    let (linked, _) = link(&[&a, &b], &mut World::default()).unwrap();
    let names = |list: &[kiln_abi::ExecutorAddr]| -> Vec<String> {
        let name = |address: &kiln_abi::ExecutorAddr| {
            let found = linked.definitions().find(|(_, d)| d.location.address() == Some(*address)).unwrap();
            String::from_utf8(found.0.to_vec()).unwrap()
        };
        list.iter().map(name).collect()
    };
    // .ctors.64535 has priority 1000; a .ctors section runs last to first.
    let expected = ["a3", "b3", "a4", "b4", "a2", "b2", "a1", "a1", "a5", "b1", "b1", "b5"];
    assert_eq!(names(linked.init()), expected);
    assert_eq!(names(linked.fini()), ["b1", "a1", "b2", "a2"]);
    assert_eq!(names(linked.preinit()), ["a1", "b1"]);
}

#[test]
fn trap_19_unsorted_relocations_and_odd_neighbours() {
    let object = assemble(
        ".text\n.globl main\nmain:\n.cfi_startproc\nnop\n.cfi_endproc\n.data\n.globl p\np: .quad 0\n.quad 0\n\
         .reloc p + 8, R_X86_64_64, main\n.reloc p, R_X86_64_64, p\n.addrsig\n.addrsig_sym main\n",
    );
    let (linked, memory) = link(&[&object], &mut World::default()).unwrap();
    let p = address(&linked, "p");
    assert_eq!((memory.u64(p), memory.u64(p + 8)), (p, address(&linked, "main")));
}

#[test]
fn trap_24_more_sections_than_sixteen_bits_count() {
    let mut text = String::new();
    for i in 0..70_000 {
        text.push_str(&format!(".section .text.f{i},\"ax\"\n.globl f{i}\nf{i}: ret\n"));
    }
    text.push_str(".data\n.globl p\np: .quad f0, f65279, f69999\n");
    let object = assemble(&text);
    assert_eq!(&object[60..62], [0, 0], "the count does not fit the file header");
    let (linked, memory) = link(&[&object], &mut World::default()).unwrap();
    let p = address(&linked, "p");
    for (i, name) in ["f0", "f65279", "f69999"].iter().enumerate() {
        assert_eq!(memory.u64(p + 8 * i as u64), address(&linked, name));
        assert_eq!(memory.read(address(&linked, name), 1), [0xc3]);
    }
}

#[test]
fn trap_27_overlapping_and_overflowing_headers() {
    let object = assemble(".data\n.globl p\np: .quad p\n.bss\n.zero 64\n");
    let headers = u64::from_le_bytes(object[40..48].try_into().unwrap()) as usize;
    let count = usize::from(object[60]);
    for section in 1..count {
        for (field, value) in [(24, u64::MAX - 3), (32, u64::MAX), (32, 1 << 40), (48, 3), (48, 1 << 63)] {
            let mut broken = object.clone();
            broken[headers + 64 * section + field..][..8].copy_from_slice(&value.to_le_bytes());
            // An error, or a table that nothing needs; the memory stays bounded.
            if let Ok((_, memory)) = link(&[&broken], &mut World::default()) {
                assert!(memory.segments.iter().all(|(_, m)| m.len() < 1 << 20));
            }
        }
    }
    // Two sections that share their bytes: allowed, each has its own copy.
    let mut shared = object.clone();
    let of_kind = |bytes: &[u8], name| {
        (1..count).find(|i| u32::from_le_bytes(bytes[headers + 64 * i + 4..][..4].try_into().unwrap()) == name).unwrap()
    };
    let bss = of_kind(&shared, 8);
    shared[headers + 64 * bss + 4] = 1;
    shared[headers + 64 * bss + 24..][..8].copy_from_slice(&0u64.to_le_bytes());
    assert!(link(&[&shared], &mut World::default()).is_ok());
}

#[test]
fn the_result_is_the_same_on_one_thread_and_on_two() {
    // Above the size from which a second thread is used: many members, each with a group, pulled by one another.
    let member = |i: usize| {
        let filler = "\t.quad 1, 2, 3, 4, 5, 6, 7, 8\n".repeat(512);
        assemble(&format!(
            ".text\n.globl f{i}\nf{i}: call f{}\ncall f{}@PLT\nleaq g(%rip), %rax\n{filler}\
             .section .text.g, \"axG\", @progbits, g, comdat\n.weak g\ng: .quad {i}\n",
            (i + 1) % 40,
            (i * 7 + 3) % 40,
        ))
    };
    let objects: Vec<(String, Vec<u8>)> = (0..40).map(|i| (format!("m{i}.o"), member(i))).collect();
    let members: Vec<(&str, &[u8])> = objects.iter().map(|(n, b)| (&n[..], &b[..])).collect();
    let library = archive("rcs", &members);
    assert!(library.len() > 1 << 20, "{}", library.len());
    let main = assemble("call f0\n");
    let image = |single_threaded| {
        let options = Options { single_threaded, ..Options::default() };
        let mut link = Link::new(options);
        link.add_object("main.o", &main);
        link.add_archive("lib.a", &library, false);
        let (linked, memory) = links(link);
        (address(&linked, "f39"), memory.segments)
    };
    assert_eq!(image(true), image(false));
}

#[test]
fn debug_information_is_relocated_when_asked_for() {
    let source =
        "int g(int); int f(int x) {\n return g(x) + 1; }\nstatic int h(void) { return 2; } int (*p)(void) = h;";
    for flags in [&["-g", "-gdwarf-5"][..], &["-g", "-gz=zlib"], &["-g", "-gz=zstd"]] {
        let flags = [&["-O1", "-fPIC", "-ffunction-sections"], flags].concat();
        let object = compile_c(source, &flags);
        let mut world = World::default().function("g", 0x50_0000);
        let (linked, _) = link(&[&object], &mut world).unwrap();
        let objects: Vec<_> = linked.debug_objects().collect();
        let [debug] = objects[..] else { panic!("{}", objects.len()) };
        let f = linked.symbol(b"f").unwrap().location.address().unwrap();
        assert!(debug.code().any(|(address, bytes)| address == f && bytes > 0));
        // The function's address stands in the table of addresses, and nothing else made it so but relocation.
        let table = debug.section(b".debug_addr").unwrap().unwrap();
        assert!(table.windows(8).any(|w| w == f.get().to_le_bytes()), "{flags:?}");
        assert!(debug.section(b".debug_nothing").unwrap().is_none());
        assert!(linked.sections().any(|s| s.name == b".text.f" && s.address == f));
    }
}

#[test]
fn trap_18_debug_information_of_discarded_functions_gets_tombstones() {
    let source =
        "inline __attribute__((noinline)) int twice(int x) { return 2 * x; } int NAME(int x) { return twice(x); }";
    let object = |name| compile_with("clang-22", "c++", &source.replace("NAME", name), &["-O1", "-fPIC", "-g"]);
    let (a, b) = (object("a"), object("b"));
    let (linked, _) = link(&[&a, &b], &mut World::default()).unwrap();
    let twice = address(&linked, "_Z5twicei").to_le_bytes();
    let tables: Vec<_> = linked.debug_objects().map(|o| o.section(b".debug_addr").unwrap().unwrap()).collect();
    let holds = |table: &[u8], word: [u8; 8]| table[8..].chunks_exact(8).any(|w| w == word);
    assert!(holds(&tables[0], twice) && !holds(&tables[1], twice));
    assert!(!holds(&tables[0], [0; 8]) && holds(&tables[1], [0; 8]));
}
