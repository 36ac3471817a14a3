//! Who a name is bound to: the rules of ELF linkers, one trap each.

mod support;

use kiln_abi::ExecutorAddr;
use kiln_link::{ErrorKind, External, Link, NoScope, Options};
use support::{World, address, archive, assemble, compile_c, compile_with, error, link, place};

const OUTSIDE: u64 = 0x50_0000;

#[test]
fn strong_beats_common_beats_weak() {
    let weak = assemble(".data\n.weak x\n.globl wx\nwx:\nx: .quad 1\n");
    let common = assemble(".comm x, 24, 32\n");
    let strong = assemble(".data\n.globl x\nx: .quad 3\n");
    let (linked, memory) = link(&[&weak, &common, &strong], &mut World::default()).unwrap();
    assert_eq!(memory.u64(address(&linked, "x")), 3);
    let (linked, memory) = link(&[&weak, &common], &mut World::default()).unwrap();
    let x = address(&linked, "x");
    assert_eq!((memory.u64(x), x % 32, linked.symbol(b"x").unwrap().size), (0, 0, 24));
    assert_ne!(x, address(&linked, "wx"));
}

#[test]
fn commons_merge_to_the_greater_size_and_alignment() {
    let a = assemble(".comm x, 8, 64\n");
    let b = assemble(".comm x, 100, 8\n");
    let (linked, memory) = link(&[&a, &b], &mut World::default()).unwrap();
    let x = address(&linked, "x");
    assert_eq!((linked.symbol(b"x").unwrap().size, x % 64), (100, 0));
    assert_eq!(memory.read(x, 100), [0; 100]);
}

#[test]
fn trap_27_sizes_are_summed_without_overflow() {
    let object = |size: u64| {
        let mut bytes = assemble(".comm x, 0x1122334455667788, 8\n.globl main\nmain: ret\n");
        let at = bytes.windows(8).position(|w| w == 0x1122_3344_5566_7788u64.to_le_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    for size in [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 31] {
        let object = object(size);
        let mut link = Link::new(Options::default());
        link.add_object("a.o", &object);
        let errors = error(link.resolve(&mut NoScope).unwrap().layout());
        assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::TooLarge { .. }), "{errors}");
    }
}

#[test]
fn all_duplicates_and_undefined_names_are_reported_at_once() {
    let a = assemble(".globl x, y\nx:\ny: nop\n");
    let errors = error(link(&[&a, &a], &mut World::default()));
    let names: Vec<_> = errors
        .iter()
        .map(|e| match e.kind() {
            ErrorKind::Duplicate { symbol, first, second } => (symbol.as_str(), first.as_str(), second.as_str()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(names, [("x", "0.o", "1.o"), ("y", "0.o", "1.o")]);
    let both = assemble(".globl x\nx: call p\n");
    let errors = error(link(&[&a, &both], &mut World::default()));
    let kinds: Vec<_> = errors.iter().map(|e| matches!(e.kind(), ErrorKind::Undefined { .. })).collect();
    assert_eq!(kinds, [false, true], "{errors}");
    let b = assemble("call p\ncall q\ncall p\n");
    let errors = error(link(&[&b], &mut World::default()));
    let mut found: Vec<_> = errors
        .iter()
        .map(|e| match e.kind() {
            ErrorKind::Undefined { symbol, first, references } => (symbol.clone(), first.offset, *references),
            other => panic!("{other}"),
        })
        .collect();
    found.sort();
    assert_eq!(found, [("p".into(), 1, 2), ("q".into(), 6, 1)]);
}

/// The weak variable, its guard and a hidden one as clang (WEAK) and g++ (UNIQUE) emit them.
fn shared_variable(compiler: &str) {
    let source = "int init(); struct S { static S &get() { static int n = init(); return *(S *)&n; } };\n\
                  void *address() { return &S::get(); }\n\
                  inline int plain; int *use() { return &plain; }\n\
                  __attribute__((visibility(\"hidden\"))) inline int hidden; int *uses() { return &hidden; }\n";
    let object = compile_with(compiler, "c++", source, &["-O1", "-fPIC", "-std=c++17"]);
    let world = || {
        World::default()
            .function("_Z4initv", OUTSIDE)
            .function("__cxa_guard_acquire", OUTSIDE)
            .function("__cxa_guard_release", OUTSIDE)
            .function("__cxa_guard_abort", OUTSIDE)
            .function("_Unwind_Resume", OUTSIDE)
            .function("__gxx_personality_v0", OUTSIDE)
    };
    let (variable, guard) = ("_ZZN1S3getEvE1n", "_ZGVZN1S3getEvE1n");
    let own = |world: &mut World| {
        let (linked, _) = link(&[&object], world).unwrap();
        ["plain", variable, guard, "hidden"].map(|name| linked.symbol(name.as_bytes()).is_some())
    };
    assert_eq!(own(&mut world()), [true; 4], "{compiler}: nobody else has them");
    let mut both = world().data("plain", OUTSIDE).data(variable, OUTSIDE).data(guard, OUTSIDE).data("hidden", OUTSIDE);
    assert_eq!(own(&mut both), [false, false, false, true], "{compiler}: the library has them");
    let mut guard_alone = world().data(guard, OUTSIDE);
    assert_eq!(own(&mut guard_alone), [true; 4], "{compiler}: a guard without its variable is another one's");
}

#[test]
fn trap_1_weak_variables_bind_to_the_library_that_has_them() {
    shared_variable("clang-22");
}

#[test]
fn trap_1_unique_variables_bind_to_the_library_that_has_them() {
    shared_variable("g++");
}

#[test]
fn trap_3_start_and_stop_of_sections() {
    let one = assemble(
        ".section things, \"aw\", @progbits\n.quad 1\n.text\n.globl main\nmain:\n\
         .weak __start_absent\nmovq __start_absent@GOTPCREL(%rip), %rcx\n\
         .data\n.globl bounds\nbounds: .quad __start_things, __stop_things\n",
    );
    let two = assemble(".section things, \"aw\", @progbits\n.quad 2\n.quad 3\n.section other, \"aw\"\n.quad 4\n");
    for prune in [false, true] {
        let roots = vec![b"bounds".to_vec(), b"main".to_vec()];
        let options = Options { prune, roots, ..Options::default() };
        let (linked, memory) = support::link_with(options, &[&one, &two], &mut World::default()).unwrap();
        let bounds = address(&linked, "bounds");
        let (start, stop) = (memory.u64(bounds), memory.u64(bounds + 8));
        let things: Vec<u64> = (start..stop).step_by(8).map(|at| memory.u64(at)).collect();
        assert_eq!(things, [1, 2, 3], "prune: {prune}");
        let main = address(&linked, "main");
        assert_eq!(memory.u64((main + 7).wrapping_add_signed(memory.i32(main + 3))), 0);
    }
    let strong = assemble(".quad __start_absent\n");
    let errors = error(link(&[&strong], &mut World::default()));
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::Undefined { .. }));
}

#[test]
fn trap_7_hidden_and_protected_never_leave_the_link() {
    let plain = assemble("call getpid\n");
    let hidden = assemble(".hidden getpid\ncall getpid\n");
    let protected = assemble(".protected getpid\ncall getpid\n");
    let world = World::default().function("getpid", OUTSIDE);
    assert!(link(&[&plain], &mut world.clone()).is_ok());
    for object in [&hidden, &protected] {
        let errors = error(link(&[&plain, object], &mut world.clone()));
        assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::UndefinedHidden { .. }), "{errors}");
    }
    let weak = assemble(".weak getpid\n.hidden getpid\n.data\n.globl p\np: .quad getpid\n");
    let (linked, memory) = link(&[&weak], &mut world.clone()).unwrap();
    assert_eq!(memory.u64(address(&linked, "p")), 0);
    // One hidden reference hides the definition from later loads.
    let defined = assemble(".globl getpid\ngetpid: ret\n");
    let (linked, _) = link(&[&defined, &hidden], &mut world.clone()).unwrap();
    assert!(!linked.symbol(b"getpid").unwrap().exported);
    assert!(linked.exports().next().is_none());
}

#[test]
fn trap_8_an_undefined_name_that_nothing_uses_is_no_error() {
    let idle = assemble(".globl idle, main\nmain: ret\n");
    assert!(link(&[&idle], &mut World::default()).is_ok());
    // The linker's own names need no definition, and a definition comes first.
    let handle = assemble("leaq __dso_handle(%rip), %rdi\n.hidden __dso_handle\n.globl main\nmain: ret\n");
    assert!(link(&[&handle], &mut World::default()).is_ok());
    let mut given = Link::new(Options::default());
    given.define("__dso_handle", ExecutorAddr::new(0x40_2000));
    given.add_object("a.o", &handle);
    let (linked, memory) = place(given.resolve(&mut NoScope).unwrap().layout().unwrap(), support::LOW, None).unwrap();
    let main = address(&linked, "main");
    assert_eq!(main.wrapping_add_signed(memory.i32(main - 4)), 0x40_2000);
}

#[test]
fn trap_6_libraries_and_archives_in_their_order() {
    let main = assemble("call f\n");
    let member = archive("rcs", &[("f.o", &assemble(".globl f\nf: ret\n"))]);
    let library = || World::default().function("f", OUTSIDE);
    let is_own = |order: &[&str]| {
        let mut link = Link::new(Options::default());
        for what in order {
            match *what {
                "main" => _ = link.add_object("main.o", &main),
                "a" => _ = link.add_archive("a.a", &member, false),
                _ => _ = link.add_dynamic(library()),
            }
        }
        let layout = link.resolve(&mut NoScope).unwrap().layout().unwrap();
        place(layout, support::LOW, None).unwrap().0.symbol(b"f").is_some()
    };
    assert!(!is_own(&["main", "b", "a"]));
    assert!(is_own(&["main", "a", "b"]));
    assert!(is_own(&["a", "b", "main"]));
    assert!(!is_own(&["b", "a", "main"]));
    assert!(!is_own(&["main", "b"]));
}

#[test]
fn trap_6_an_object_beats_libraries_and_archives() {
    let main = assemble("call f\n.globl main\nmain: ret\n");
    let own = assemble(".globl f\nf: ret\n");
    let member = archive("rcs", &[("f.o", &own)]);
    let mut link = Link::new(Options::default());
    link.add_dynamic(World::default().function("f", OUTSIDE));
    link.add_archive("a.a", &member, false);
    link.add_object("main.o", &main);
    link.add_object("own.o", &own);
    let layout = link.resolve(&mut NoScope).unwrap().layout().unwrap();
    assert!(place(layout, support::LOW, None).unwrap().0.symbol(b"f").is_some());
}

#[test]
fn trap_6_a_weak_reference_and_a_common_pull_no_member() {
    let member = archive("rcs", &[("x.o", &assemble(".data\n.globl x\nx: .quad 7\n"))]);
    let weak = assemble(".weak x\n.data\n.globl p\np: .quad x\n");
    let common = assemble(".comm x, 8, 8\n.data\n.globl p\np: .quad x\n");
    for (object, defined) in [(&weak, false), (&common, true)] {
        let mut link = Link::new(Options::default());
        link.add_object("main.o", object);
        link.add_archive("a.a", &member, false);
        let (linked, memory) =
            place(link.resolve(&mut NoScope).unwrap().layout().unwrap(), support::LOW, None).unwrap();
        let x = memory.u64(address(&linked, "p"));
        assert_eq!(x != 0, defined);
        assert!(x == 0 || memory.u64(x) == 0, "the archive's 7 is not wanted");
    }
}

#[test]
fn define_gives_a_name_an_address() {
    let object = assemble(".data\n.globl p\np: .quad x + 1\n");
    let definition = assemble(".data\n.globl x\nx: .quad 0\n");
    let library = archive("rcs", &[("x.o", &definition)]);
    let mut link = Link::new(Options::default());
    link.define("x", ExecutorAddr::new(0x1234));
    link.add_object("a.o", &object);
    link.add_archive("x.a", &library, false);
    let (linked, memory) = place(link.resolve(&mut NoScope).unwrap().layout().unwrap(), support::LOW, None).unwrap();
    assert_eq!(memory.u64(address(&linked, "p")), 0x1235);
    assert_eq!(address(&linked, "x"), 0x1234);
    let mut link = Link::new(Options::default());
    link.define("x", ExecutorAddr::new(0x1234));
    link.add_object("x.o", &definition);
    let errors = error(link.resolve(&mut NoScope));
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::Duplicate { .. }));
}

#[test]
fn trap_15_the_address_of_an_undefined_weak_symbol_in_code_is_an_error() {
    let object = assemble(".weak nobody\nleaq nobody(%rip), %rax\n");
    let mut link = Link::new(Options::default());
    link.add_object("a.o", &object);
    let layout = link.resolve(&mut NoScope).unwrap().layout().unwrap();
    let errors = error(place(layout, support::HIGH, None));
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::OutOfRange { .. }), "{errors}");
}

#[test]
fn trap_18_groups() {
    let group = |body: &str, flag: &str| {
        assemble(&format!(
            ".section .text.f, \"axG\", @progbits, f{flag}\n.weak f\nf: {body}\n\
             .section .init_array, \"awG\", @init_array, f{flag}\n.quad f\n"
        ))
    };
    let (a, b) = (group("ret", ", comdat"), group("nop\nret", ", comdat"));
    let (linked, memory) = link(&[&a, &b], &mut World::default()).unwrap();
    assert_eq!(memory.read(address(&linked, "f"), 1), [0xc3], "the first group is kept");
    assert_eq!(linked.init().len(), 1, "an array of the group goes with it");
    let (a, b) = (group("ret", ""), group("nop\nret", ""));
    let (linked, _) = link(&[&a, &b], &mut World::default()).unwrap();
    assert_eq!(linked.init().len(), 2, "only flag 1 removes duplicates");
    // A reference by section into the lost copy.
    let inside =
        assemble(".section .text.f, \"axG\", @progbits, f, comdat\n.weak f\nf: ret\nlocal: ret\n.data\n.quad local\n");
    let errors = error(link(&[&inside, &inside], &mut World::default()));
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::DiscardedTarget { .. }), "{errors}");
}

#[test]
fn trap_18_groups_named_by_section_symbols_do_not_collide() {
    // gcc's assembler names a group after a section symbol where the signature is a section: make one by hand.
    let object = |section: &str| {
        let text =
            format!(".section .text.{section}, \"axG\", @progbits, sig, comdat\n.globl {section}\n{section}: ret\n");
        let mut bytes = assemble(&text);
        retarget_group(&mut bytes);
        bytes
    };
    let (a, b) = (object("one"), object("two"));
    let (linked, _) = link(&[&a, &b], &mut World::default()).unwrap();
    assert!(linked.symbol(b"one").is_some() && linked.symbol(b"two").is_some());
}

/// Makes the group's signature a section symbol: turns the symbol it names into one.
fn retarget_group(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let headers = word(bytes, 40);
    let count = usize::from(bytes[60]);
    let header = |i: usize| headers + 64 * i;
    let of_kind = |bytes: &[u8], kind| (0..count).find(|i| word(bytes, header(*i) + 4) == kind).unwrap();
    let (group, symbols) = (of_kind(bytes, 17), of_kind(bytes, 2));
    let member = word(bytes, word(bytes, header(group) + 24) + 4);
    let symbol = word(bytes, header(symbols) + 24) + 24 * word(bytes, header(group) + 44);
    bytes[symbol..symbol + 4].fill(0);
    bytes[symbol + 4] = 3;
    bytes[symbol + 6] = member as u8;
}

#[test]
fn pruning_keeps_what_the_roots_reach() {
    let object = compile_c(
        "int used_data = 3; int dead_data = 4;\n\
         static int helper(void) { return used_data; }\n\
         int dead(void) { return dead_data; }\n\
         int main(void) { return helper(); }\n\
         __attribute__((constructor)) static void up(void) { used_data++; }\n\
         __attribute__((retain, used)) int kept(void) { return 5; }\n",
        &["-O0", "-fPIC", "-ffunction-sections", "-fdata-sections"],
    );
    let options = Options { prune: true, roots: vec![b"main".to_vec()], ..Options::default() };
    let (mut linked, _) = support::link_with(options, &[&object], &mut World::default()).unwrap();
    let has = |name: &str| linked.symbol(name.as_bytes()).is_some();
    assert_eq!(["main", "used_data", "kept", "dead", "dead_data"].map(has), [true, true, true, false, false]);
    assert_eq!(linked.init().len(), 1);
    assert_eq!(linked.take_unwind().len(), 4, "main, helper, up, kept");
}

#[test]
fn stubs_are_what_everybody_but_patchable_branches_sees() {
    // call at 1 (patchable: displacement 2..6), call whose displacement crosses a word, address in data and in code.
    let object = assemble(
        ".text\n.p2align 4\n.globl caller, callee\n.type callee, @function\n\
         caller: nop\ncall callee\nnop\nnop\nnop\nnop\nnop\ncall callee\nleaq callee(%rip), %rax\n\
         .type caller, @function\n.p2align 4\ncallee: ret\n.data\n.globl p\np: .quad callee\n",
    );
    let mut world = World::default();
    world.stubs.insert(b"callee".to_vec(), OUTSIDE);
    let options = Options { stubs: true, call_sites: true, ..Options::default() };
    let (linked, memory) = support::link_with(options, &[&object], &mut world).unwrap();
    let (caller, callee) = (address(&linked, "caller"), address(&linked, "callee"));
    assert_eq!(memory.branch(caller + 1), callee);
    assert_eq!(memory.branch(caller + 11), callee, "its displacement lies in 12..16");
    assert_eq!((caller + 23).wrapping_add_signed(memory.i32(caller + 19)), OUTSIDE);
    assert_eq!(memory.u64(address(&linked, "p")), OUTSIDE);
    let sites: Vec<_> = linked.call_sites().iter().map(|s| (s.place.get() - caller, s.patchable)).collect();
    assert_eq!(sites, [(2, true), (12, true)]);
    assert!(linked.call_sites().iter().all(|s| linked.global_name(s.symbol) == b"callee"));
}

#[test]
fn trap_16_call_sites_are_found_by_opcode() {
    // The first byte of a section is a branch; PC32 branches count; PLT32 in data does not; a word is crossed.
    let object = assemble(
        ".text\n.p2align 4\n.globl main\nmain:\n.byte 0xe8\n.long f - . - 4\nnop\njmp f\njne f\n\
         .section .rodata\n.long f@PLT - .\n",
    );
    let options = Options { call_sites: true, ..Options::default() };
    let mut world = World::default().with("f", External::Near(ExecutorAddr::new(OUTSIDE)));
    let (linked, _) = support::link_with(options, &[&object], &mut world).unwrap();
    let main = address(&linked, "main");
    let sites: Vec<_> =
        linked.call_sites().iter().map(|s| (s.place.get() - main, format!("{:?}", s.opcode), s.patchable)).collect();
    assert_eq!(sites, [(1, "Call".into(), true), (7, "Jump".into(), false), (13, "ConditionalJump".into(), false)]);
}

#[test]
fn trap_20_ifuncs_have_one_address() {
    let object = assemble(
        ".text\n.globl pick, f\n.type f, @gnu_indirect_function\n.type pick, @function\npick: ret\n.set f, pick\n\
         .globl main\nmain: call f\ncall *f@GOTPCREL(%rip)\nleaq f(%rip), %rax\n.data\n.globl p\np: .quad f\n",
    );
    let (linked, memory) = link(&[&object], &mut World::default()).unwrap();
    let [slot] = linked.ifuncs() else { panic!("{:?}", linked.ifuncs()) };
    assert_eq!(slot.resolver.get(), address(&linked, "pick"));
    let stub = address(&linked, "f");
    assert_eq!(memory.read(stub, 2), [0xff, 0x25]);
    assert_eq!((stub + 6).wrapping_add_signed(memory.i32(stub + 2)), slot.slot.get());
    let main = address(&linked, "main");
    assert_eq!(memory.branch(main), stub);
    assert_eq!(memory.read(main + 5, 2), [0xff, 0x15], "not relaxed");
    assert_eq!(memory.u64((main + 11).wrapping_add_signed(memory.i32(main + 7))), stub);
    assert_eq!((main + 18).wrapping_add_signed(memory.i32(main + 14)), stub);
    assert_eq!(memory.u64(address(&linked, "p")), stub);
}

/// What GNU ld binds references to, judged by the values that the functions return.
#[test]
fn versioned_definitions_are_bound_as_gnu_ld_binds_them() {
    let definitions = "
        .globl new, old
        new: movl $2, %eax
        ret
        old: movl $1, %eax
        ret
        .symver new, f@@V2
        .symver old, f@V1
        .symver old, g@V1\n";
    let uses = "
        .globl main
        main: call f
        call second
        call first
        .symver second, f@V2
        .symver first, f@V1\n";
    let (definitions, uses) = (assemble(definitions), assemble(uses));
    let dir = support::Dir::new();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path(name), bytes).unwrap();
        dir.path(name)
    };
    let judge = |uses: &[u8]| {
        let versions = file("versions", b"V1 {}; V2 {} V1;");
        let (definitions, uses) = (file("d.o", &definitions), file("u.o", uses));
        let mut ld = std::process::Command::new("ld");
        ld.args(["-e", "main", "-Ttext=0x600000", "--version-script"]).arg(versions);
        ld.args([uses, definitions]).arg("-o").arg(dir.path("judge")).output().unwrap().status.success()
    };
    assert!(judge(&uses));
    let judged = std::fs::read(dir.path("judge")).unwrap();
    let (linked, memory) = link(&[&uses, &definitions], &mut World::default()).unwrap();
    let main = address(&linked, "main");
    let word = |address: u64| i32::from_le_bytes(memory.read(address, 4).try_into().unwrap());
    for call in 0..3 {
        let next = main + 5 * call + 5;
        let returned = word(next.wrapping_add_signed(i64::from(word(next - 4))) + 1);
        // The same bytes at the same place of GNU ld's output: mov $returned, %eax.
        let start = judged.windows(15).position(|code| [code[0], code[5], code[10]] == [0xe8; 3]).unwrap() as i64;
        let next = start + 5 * call as i64 + 5;
        let at = |at: i64| i64::from(i32::from_le_bytes(judged[at as usize..][..4].try_into().unwrap()));
        assert_eq!(i64::from(returned), at(next + at(next - 4) + 1), "call {call}");
        assert_eq!(returned, [2, 2, 1][call as usize]);
    }
    let names = ["f", "f@V2", "f@V1", "g@V1"].map(|name| address(&linked, name));
    assert_eq!(names, [names[0], names[0], address(&linked, "old"), names[2]]);
    // A version that is not the default has to be asked for, one that does not exist is not replaced.
    for (reference, asked) in [("call g\n", "g"), ("call x\n.symver x, f@V3\n", "f@V3")] {
        let uses = assemble(&format!(".globl main\nmain: {reference}"));
        assert!(!judge(&uses), "{asked}");
        let errors = error(link(&[&uses, &definitions], &mut World::default()));
        assert!(errors.to_string().contains(&format!("undefined symbol {asked},")), "{errors}");
    }
    // From an archive, whose index has the version too.
    let library = archive("rcs", &[("d.o", &definitions)]);
    let mut link = Link::new(Options::default());
    link.add_object("u.o", &uses);
    link.add_archive("libd.a", &library, false);
    assert!(link.resolve(&mut NoScope).is_ok());
}
