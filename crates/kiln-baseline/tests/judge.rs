//! Laid-out globals against LLVM's code generator: the same bytes, and addresses of the same things.
//!
//! Each module is compiled by `llc-22` to an object, and turned by us into a graph, which is linked and placed in plain
//! memory. For every global that the object defines, our bytes must be its bytes where it has no relocation, and where
//! it has one, what that relocation says with our addresses put in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_abi::{ExecutorAddr, FunctionId, Permission};
use kiln_baseline::data::{Images, Stubs, module_data};
use kiln_bitcode::{AliasId, GlobalRef, Linkage, Module};
use kiln_link::{External, Link, Location, Options, Placement, RuntimeSymbols, Scope, TlsPlacement};
use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionFlags, SymbolSection};

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (is LLVM 22 installed?)"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules")
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Bitcode of textual IR.
fn assemble(name: &str, text: &str) -> Vec<u8> {
    let [source, bitcode] = ["ll", "bc"].map(|kind| scratch(&format!("{name}.{kind}")));
    std::fs::write(&source, text).unwrap();
    run(Command::new("llvm-as-22").arg(&source).arg("-o").arg(&bitcode));
    std::fs::read(&bitcode).unwrap()
}

/// Bitcode and object of textual IR. Private globals become internal ones: only those have symbols in an object.
fn compile(name: &str, text: &str) -> (Vec<u8>, Vec<u8>) {
    let bitcode = assemble(name, &text.replace(" = private ", " = internal "));
    let object = scratch(&format!("{name}.o"));
    let mut llc = Command::new("llc-22");
    // One section each, so that a section's alignment is its global's.
    llc.args(["-filetype=obj", "-relocation-model=pic", "-data-sections", "-function-sections", "-O0"]);
    run(llc.arg(scratch(&format!("{name}.bc"))).arg("-o").arg(&object));
    (bitcode, std::fs::read(&object).unwrap())
}

fn clang(name: &str, flags: &[&str]) -> String {
    let out = scratch(&format!("clang-{name}.ll"));
    let mut clang = Command::new("clang-22");
    run(clang.args(["-S", "-emit-llvm"]).args(flags).arg(sources().join(name)).arg("-o").arg(&out));
    std::fs::read_to_string(out).unwrap()
}

const STUBS: u64 = 0x4000_0000;
const OUTSIDE: u64 = 0x4100_0000;
const SEGMENTS: u64 = 0x4200_0000;
const SEGMENT_BYTES: u64 = 0x100_0000;

struct FixedStubs;

impl Stubs for FixedStubs {
    fn function(&self, function: FunctionId) -> ExecutorAddr {
        ExecutorAddr::new(STUBS + 16 * u64::from(function.0))
    }

    fn ifunc(&self, ifunc: AliasId) -> ExecutorAddr {
        ExecutorAddr::new(STUBS + 0x10_0000 + 16 * u64::from(ifunc.0))
    }
}

/// Gives every name that the module does not define an address.
struct Outside<'m> {
    module: &'m Module,
    addresses: HashMap<Vec<u8>, u64>,
}

impl Outside<'_> {
    fn address(&mut self, name: &[u8]) -> u64 {
        let next = OUTSIDE + 16 * self.addresses.len() as u64;
        *self.addresses.entry(name.to_vec()).or_insert(next)
    }
}

impl Scope for Outside<'_> {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        let module = self.module;
        let functions = module.functions().iter().filter(|f| !f.is_declaration()).map(|f| f.symbol.name);
        let globals = module.globals().iter().filter(|g| !g.is_declaration());
        let globals = globals.filter(|g| g.symbol.linkage != Linkage::AvailableExternally).map(|g| g.symbol.name);
        let aliases = module.aliases().iter().map(|a| a.symbol.name);
        // A weak variable would give way to a definition outside.
        if functions.chain(globals).chain(aliases).any(|defined| module.str(defined) == name) {
            return None;
        }
        Some(External::Function(ExecutorAddr::new(self.address(name))))
    }
}

/// Our side: where each name ended up, and memory.
struct Ours<'m> {
    places: HashMap<Vec<u8>, Location>,
    memory: Vec<(u64, Permission, Vec<u8>)>,
    tls: Vec<u8>,
    outside: Outside<'m>,
    init: Vec<ExecutorAddr>,
    fini: Vec<ExecutorAddr>,
}

impl<'m> Ours<'m> {
    fn of(module: &'m Module) -> Self {
        let images = Images::default();
        let data = module_data(module, &FixedStubs, &images).unwrap();
        let mut link = Link::new(Options::default());
        let input = link.add_graph(&data.graph);
        let mut outside = Outside { module, addresses: HashMap::new() };
        let layout = link.resolve(&mut outside).unwrap().layout().unwrap();
        let segments = layout.segments.clone();
        let mut memory: Vec<Vec<u8>> = segments.iter().map(|s| vec![0; s.size as usize]).collect();
        let address = |i: usize| SEGMENTS + SEGMENT_BYTES * i as u64;
        let mut placements: Vec<Placement<'_>> = memory
            .iter_mut()
            .enumerate()
            .map(|(i, working)| Placement { address: ExecutorAddr::new(address(i)), working, zeroed: true })
            .collect();
        let tls = if layout.tls.is_some() { TlsPlacement::Static { tp_offset: -0x1000 } } else { TlsPlacement::None };
        let tls_size = layout.tls.map_or(0, |tls| tls.size as usize);
        let linked = layout.place(&mut placements, tls, &RuntimeSymbols::default()).unwrap();
        let mut places = HashMap::new();
        let functions = (0..).map(|n| GlobalRef::Function(FunctionId(n))).zip(&data.functions);
        let globals = (0..).map(|n| GlobalRef::Global(kiln_abi::GlobalId(n))).zip(&data.globals);
        let aliases = (0..).map(|n| GlobalRef::Alias(AliasId(n))).zip(&data.aliases);
        for (id, symbol) in functions.chain(globals).chain(aliases) {
            if let Some(definition) = symbol.and_then(|symbol| linked.graph_symbol(input, symbol)) {
                places.insert(module.symbol_name(id).to_vec(), definition.location);
            }
        }
        let (init, fini) = (linked.init().to_vec(), linked.fini().to_vec());
        let mut image = linked.tls_image().to_vec();
        image.resize(tls_size, 0);
        let memory = segments.iter().zip(memory).enumerate();
        let memory = memory.map(|(i, (segment, bytes))| (address(i), segment.permission, bytes)).collect();
        Ours { places, memory, tls: image, outside, init, fini }
    }

    /// Permission and bytes of `size` bytes at `location`; no permission for thread-local ones.
    fn bytes(&self, location: Location, size: usize) -> (Option<Permission>, &[u8]) {
        match location {
            Location::Tls { offset } => (None, &self.tls[offset as usize..][..size]),
            Location::Address(address) => {
                let (base, permission, bytes) = self
                    .memory
                    .iter()
                    .find(|(base, _, bytes)| (*base..=base + bytes.len() as u64).contains(&address.get()))
                    .unwrap_or_else(|| panic!("{address} is in no segment"));
                (Some(*permission), &bytes[(address.get() - base) as usize..][..size])
            }
            _ => panic!("{location:?}"),
        }
    }
}

/// Compares all globals of the object with ours and returns how many there were.
fn judge(name: &str, text: &str) -> usize {
    let (bitcode, object) = compile(name, text);
    let modules = kiln_bitcode::parse(&bitcode).unwrap();
    let mut ours = Ours::of(&modules[0]);
    let object = object::File::parse(&*object).unwrap();
    let mut judged = 0;
    for symbol in object.symbols() {
        let of_data = matches!(symbol.kind(), object::SymbolKind::Data | object::SymbolKind::Tls);
        let (true, SymbolSection::Section(section)) = (of_data, symbol.section()) else { continue };
        let name = symbol.name().unwrap();
        if label_table(&modules[0], name) {
            continue;
        }
        let place = *ours.places.get(name.as_bytes()).unwrap_or_else(|| panic!("{name} is missing"));
        let section = object.section_by_index(section).unwrap();
        let start = symbol.address() as usize;
        // An alias into a global has its whole size in the object.
        let size = symbol.size().min(section.size() - symbol.address()) as usize;
        let content = section.data().unwrap();
        let mut expected = content.get(start..start + size).map_or(vec![0; size], <[u8]>::to_vec);
        let address = place.address().map_or(0, ExecutorAddr::get);
        let relocations: Vec<_> = section.relocations().collect();
        for (at, relocation) in &relocations {
            let Some(offset) = (*at as usize).checked_sub(start).filter(|offset| *offset < size) else { continue };
            let target = target_address(&object, relocation.target(), relocation.addend(), &mut ours);
            let here = address + offset as u64;
            let RelocationFlags::Elf { r_type } = relocation.flags() else { panic!("{relocation:?}") };
            let (bytes, value) = match r_type {
                elf::R_X86_64_64 => (8, target),
                elf::R_X86_64_32 => (4, target),
                elf::R_X86_64_PC64 => (8, target.wrapping_sub(here)),
                elf::R_X86_64_PC32 | elf::R_X86_64_PLT32 => (4, target.wrapping_sub(here)),
                other => panic!("{name}: relocation {other}"),
            };
            expected[offset..offset + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        }
        let (permission, bytes) = ours.bytes(place, size);
        assert_eq!(bytes, expected, "{name}: ours, LLVM's");
        let SectionFlags::Elf { sh_flags } = section.flags() else { panic!("{name}") };
        // What is read-only after relocation is read-only from the start here.
        let relro = section.name().unwrap().starts_with(".data.rel.ro");
        let constant = relro || sh_flags & u64::from(elf::SHF_WRITE) == 0 || name == "sectioned_pointer";
        let is_tls = sh_flags & u64::from(elf::SHF_TLS) != 0;
        let wanted = if constant { Permission::ReadOnly } else { Permission::ReadWrite };
        assert_eq!(permission, (!is_tls).then_some(wanted), "{name}: permission");
        // Sections that a linker may merge are aligned for all they hold.
        let merged = sh_flags & u64::from(elf::SHF_MERGE) != 0;
        if !merged && !is_alias(&modules[0], name) {
            assert_eq!(address % section.align(), 0, "{name} at {address:#x} is to be aligned to {}", section.align());
        }
        judged += 1;
    }
    judged
}

fn label_table(module: &Module, name: &str) -> bool {
    let mut globals = (0..).map(kiln_abi::GlobalId).zip(module.globals());
    globals.any(|(id, global)| {
        module.str(global.symbol.name) == name.as_bytes() && module.block_address_owner(id).is_some()
    })
}

fn is_alias(module: &Module, name: &str) -> bool {
    module.aliases().iter().any(|alias| module.str(alias.symbol.name) == name.as_bytes())
}

/// What an object's relocation refers to, as an address of ours.
fn target_address(object: &object::File<'_>, target: RelocationTarget, addend: i64, ours: &mut Ours<'_>) -> u64 {
    let RelocationTarget::Symbol(index) = target else { panic!("{target:?}") };
    let symbol = object.symbol_by_index(index).unwrap();
    let mut place = |name: &[u8]| match ours.places.get(name) {
        Some(location) => location.address().expect("no address of a thread-local variable").get(),
        None => ours.outside.address(name),
    };
    if symbol.kind() != object::SymbolKind::Section {
        return place(symbol.name_bytes().unwrap()).wrapping_add_signed(addend);
    }
    // A section and an offset: a local symbol, alone in its section unless that holds strings.
    let named = object
        .symbols()
        .filter(|other| other.section() == symbol.section() && other.kind() != object::SymbolKind::Section)
        .max_by_key(|other| match other.address() as i64 {
            // The last one that begins before the place, or the first one behind it.
            before if before <= addend => (true, before),
            behind => (false, -behind),
        })
        .unwrap_or_else(|| panic!("no symbol in the section of {symbol:?}"));
    place(named.name_bytes().unwrap()).wrapping_add_signed(addend - named.address() as i64)
}

#[test]
fn globals_of_every_form() {
    let text = std::fs::read_to_string(sources().join("globals.ll")).unwrap();
    assert!(judge("globals", &text) > 100);
}

#[test]
fn globals_of_c() {
    assert!(judge("program-c", &clang("program.c", &["-fno-common"])) > 20);
    assert!(judge("program-c-common", &clang("program.c", &["-fcommon", "-O2"])) > 20);
}

#[test]
fn globals_of_cpp() {
    assert!(judge("program-cpp", &clang("program.cpp", &["-O1"])) > 10);
    // Virtual tables of distances instead of addresses.
    let flags = ["-O1", "-fno-rtti", "-fexperimental-relative-c++-abi-vtables", "-DNO_RTTI"];
    assert!(judge("program-cpp-relative", &clang("relative.cpp", &flags)) > 2);
}

/// Every `.bc` file in the directory `KILN_TEST_PROGRAMS`, if it is set; LLVM compiles only those of ordinary size.
#[test]
fn globals_of_programs() {
    let Some(dir) = std::env::var_os("KILN_TEST_PROGRAMS") else { return };
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|e| e != "bc") {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        for module in kiln_bitcode::parse(&bytes).unwrap() {
            module_data(&module, &FixedStubs, &Images::default()).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        }
        if bytes.len() < 4 << 20 {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = scratch(&format!("{name}.dis.ll"));
            run(Command::new("llvm-dis-22").arg(&file).arg("-o").arg(&text));
            judge(&format!("program-{name}"), &std::fs::read_to_string(text).unwrap());
        }
    }
}

/// Trap 4: priorities are numbers, the lowest first; equal ones in the order of the module.
#[test]
fn constructors_in_order() {
    let text = r#"
@llvm.global_ctors = appending global [5 x { i32, ptr, ptr }] [
  { i32, ptr, ptr } { i32 65535, ptr @f0, ptr null },
  { i32, ptr, ptr } { i32 1000, ptr @f1, ptr null },
  { i32, ptr, ptr } { i32 101, ptr @f2, ptr @variable },
  { i32, ptr, ptr } { i32 65535, ptr @f3, ptr null },
  { i32, ptr, ptr } zeroinitializer]
@llvm.global_dtors = appending global [2 x { i32, ptr, ptr }] [
  { i32, ptr, ptr } { i32 65535, ptr @f0, ptr null },
  { i32, ptr, ptr } { i32 101, ptr @f1, ptr null }]
@array = constant ptr @f1, section ".init_array.00200", align 8
$variable = comdat any
@variable = linkonce_odr global i32 1, comdat
define void @f0() { ret void }
define void @f1() { ret void }
define void @f2() { ret void }
define void @f3() { ret void }
"#;
    let bitcode = assemble("constructors", text);
    let modules = kiln_bitcode::parse(&bitcode).unwrap();
    let ours = Ours::of(&modules[0]);
    let stub = |n: u32| FixedStubs.function(FunctionId(n));
    assert_eq!(ours.init, [2, 1, 1, 0, 3].map(stub));
    assert_eq!(ours.fini, [0, 1].map(stub));
}

#[test]
fn what_no_relocation_expresses_is_refused() {
    let cases = [
        ("i64 sub (i64 ptrtoint (ptr @a to i64), i64 ptrtoint (ptr @b to i64))", "distance of two symbols"),
        ("i64 xor (i64 ptrtoint (ptr @a to i64), i64 -1)", "arithmetic on addresses"),
        ("i128 ptrtoint (ptr @a to i128)", "a field of 16 bytes"),
        ("ptr ptrauth (ptr @a, i32 0)", "a signed pointer"),
        ("{ [4294967296 x i8], i8 } { [4294967296 x i8] zeroinitializer, i8 1 }", "its 4294967297 bytes"),
    ];
    for (n, (initial, message)) in cases.into_iter().enumerate() {
        let text = format!("@a = external global i8\n@b = global i8 0\n@bad = global {initial}\n");
        let modules = kiln_bitcode::parse(&assemble(&format!("refused{n}"), &text)).unwrap();
        let error = module_data(&modules[0], &FixedStubs, &Images::default()).unwrap_err();
        assert_eq!(error.global(), "bad");
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// Trap 8: a table of label addresses belongs to its function's version; who points to it asks for it by id.
#[test]
fn label_tables_are_left_to_their_function() {
    let text = r#"
@labels = constant [1 x ptr] [ptr blockaddress(@f, %block)]
@user = global ptr @labels
define void @f() {
  br label %block
block:
  indirectbr ptr null, [label %block]
}
"#;
    let bitcode = assemble("labels", text);
    let modules = kiln_bitcode::parse(&bitcode).unwrap();
    let images = Images::default();
    let data = module_data(&modules[0], &FixedStubs, &images).unwrap();
    let symbol = &data.graph.symbols()[data.globals[0].unwrap().index()];
    assert_eq!((&*symbol.name, symbol.place), (&b"kiln$g0"[..], kiln_link::SymbolPlace::Undefined));
}
