//! What the tests share: assembling with clang, judging with lld, memory that pretends to lie at an address.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_abi::{ExecutorAddr, Permission};
use kiln_link::{Errors, External, Layout, Link, Linked, Options, Placement, RuntimeSymbols, Scope, TlsPlacement};

pub const TLS_GET_ADDR: u64 = 0x48_0000;
pub const TLS_DESCRIPTOR: u64 = 0x48_0100;

/// A fresh path for a temporary file; removed with the directory at the end of the test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kiln-link-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles `text` in the language `language` (`assembler`, `c`, `c++`) with `program` and returns the object.
pub fn compile_with(program: &str, language: &str, text: &str, flags: &[&str]) -> Vec<u8> {
    let dir = Dir::new();
    let (source, object) = (dir.path("input"), dir.path("output.o"));
    std::fs::write(&source, text).unwrap();
    run(Command::new(program).args(["-x", language, "-c"]).args(flags).arg("-o").arg(&object).arg(&source));
    std::fs::read(object).unwrap()
}

pub fn assemble(text: &str) -> Vec<u8> {
    compile_with("clang-22", "assembler", text, &[])
}

pub fn compile_c(text: &str, flags: &[&str]) -> Vec<u8> {
    compile_with("clang-22", "c", text, flags)
}

/// An archive of `members`, made by `ar` with `flags`.
pub fn archive(flags: &str, members: &[(&str, &[u8])]) -> Vec<u8> {
    let dir = Dir::new();
    for (name, bytes) in members {
        std::fs::write(dir.path(name), bytes).unwrap();
    }
    let mut command = Command::new("ar");
    command.current_dir(dir.path("")).arg(flags).arg("lib.a").args(members.iter().map(|(name, _)| name));
    run(&mut command);
    std::fs::read(dir.path("lib.a")).unwrap()
}

/// The bytes of `sections` after lld linked `object` with the given flags.
pub fn lld(object: &[u8], flags: &[&str], sections: &[&str]) -> Vec<Vec<u8>> {
    let dir = Dir::new();
    let (input, output) = (dir.path("input.o"), dir.path("output"));
    std::fs::write(&input, object).unwrap();
    run(Command::new("ld.lld-22").args(["-e", "0", "-o"]).arg(&output).args(flags).arg(&input));
    let bytes_of = |section: &&str| {
        let bytes = dir.path("bytes");
        let mut command = Command::new("llvm-objcopy-22");
        run(command.args(["-O", "binary", "--only-section", section]).arg(&output).arg(&bytes));
        std::fs::read(bytes).unwrap()
    };
    sections.iter().map(bytes_of).collect()
}

/// Definitions outside the link.
#[derive(Clone, Default)]
pub struct World {
    pub names: HashMap<Vec<u8>, External>,
    pub stubs: HashMap<Vec<u8>, u64>,
    pub asked: Vec<String>,
}

impl World {
    pub fn with(mut self, name: &str, external: External) -> World {
        self.names.insert(name.into(), external);
        self
    }

    pub fn function(self, name: &str, address: u64) -> World {
        self.with(name, External::Function(ExecutorAddr::new(address)))
    }

    pub fn data(self, name: &str, address: u64) -> World {
        self.with(name, External::Data(ExecutorAddr::new(address)))
    }
}

impl Scope for World {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        self.asked.push(String::from_utf8_lossy(name).into_owned());
        self.names.get(name).copied()
    }

    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        self.stubs.get(name).copied().map(ExecutorAddr::new)
    }
}

/// Segments that pretend to lie at their addresses.
#[derive(Default)]
pub struct Memory {
    pub segments: Vec<(u64, Vec<u8>)>,
}

impl Memory {
    pub fn read(&self, address: u64, bytes: usize) -> &[u8] {
        for (start, memory) in &self.segments {
            if address >= *start && address + bytes as u64 <= start + memory.len() as u64 {
                let at = (address - start) as usize;
                return &memory[at..at + bytes];
            }
        }
        panic!("{address:#x} is not in the link's memory");
    }

    pub fn u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read(address, 8).try_into().unwrap())
    }

    pub fn i32(&self, address: u64) -> i64 {
        i64::from(i32::from_le_bytes(self.read(address, 4).try_into().unwrap()))
    }

    /// Where the direct branch at `address` (E8, E9) leads.
    pub fn branch(&self, address: u64) -> u64 {
        assert!(matches!(self.read(address, 1)[0], 0xe8 | 0xe9), "no branch: {:x?}", self.read(address, 5));
        (address + 5).wrapping_add_signed(self.i32(address + 1))
    }
}

/// Where the segments of a test lie.
#[derive(Clone, Copy)]
pub struct Bases {
    pub code: u64,
    pub read_only: u64,
    pub read_write: u64,
}

pub const LOW: Bases = Bases { code: 0x20_1000, read_only: 0x30_1000, read_write: 0x40_1000 };
pub const HIGH: Bases = Bases { code: 0x7f00_0000_1000, read_only: 0x7f00_0010_0000, read_write: 0x7f00_0020_0000 };

pub fn memory_for(layout: &Layout<'_>, bases: Bases) -> Memory {
    let base = |permission| match permission {
        Permission::Code => bases.code,
        Permission::ReadOnly => bases.read_only,
        Permission::ReadWrite => bases.read_write,
    };
    // Garbage: what must be zero has to be written.
    let segments = layout.segments.iter().map(|s| (base(s.permission), vec![0xa5; s.size as usize])).collect();
    Memory { segments }
}

/// The static pool's placement of a layout's block: right below the thread pointer, as in an executable.
pub fn static_tls(layout: &Layout<'_>) -> TlsPlacement {
    match layout.tls {
        None => TlsPlacement::None,
        Some(t) => TlsPlacement::Static { tp_offset: -(t.size.next_multiple_of(t.align) as i64) },
    }
}

pub fn runtime() -> RuntimeSymbols {
    RuntimeSymbols {
        tls_get_addr: Some(ExecutorAddr::new(TLS_GET_ADDR)),
        tls_descriptor: Some(ExecutorAddr::new(TLS_DESCRIPTOR)),
    }
}

/// Places a layout; `tls` overrides the static pool.
pub fn place<'a>(layout: Layout<'a>, bases: Bases, tls: Option<TlsPlacement>) -> Result<(Linked<'a>, Memory), Errors> {
    let mut memory = memory_for(&layout, bases);
    let tls = tls.unwrap_or_else(|| static_tls(&layout));
    let mut placements: Vec<Placement<'_>> = memory
        .segments
        .iter_mut()
        .map(|(address, working)| Placement { address: ExecutorAddr::new(*address), working, zeroed: false })
        .collect();
    let linked = layout.place(&mut placements, tls, &runtime())?;
    Ok((linked, memory))
}

/// Links objects at the low addresses.
pub fn link<'a>(objects: &[&'a [u8]], world: &mut World) -> Result<(Linked<'a>, Memory), Errors> {
    link_with(Options::default(), objects, world)
}

pub fn link_with<'a>(
    options: Options,
    objects: &[&'a [u8]],
    world: &mut World,
) -> Result<(Linked<'a>, Memory), Errors> {
    const NAMES: [&str; 8] = ["0.o", "1.o", "2.o", "3.o", "4.o", "5.o", "6.o", "7.o"];
    let mut link = Link::new(options);
    for (object, name) in objects.iter().zip(NAMES) {
        link.add_object(name, object);
    }
    place(link.resolve(world)?.layout()?, LOW, None)
}

pub fn address(linked: &Linked<'_>, name: &str) -> u64 {
    let definition = linked.symbol(name.as_bytes()).unwrap_or_else(|| panic!("{name} is not defined"));
    definition.location.address().unwrap_or_else(|| panic!("{name} has no address")).get()
}

/// The message of what must be an error.
pub fn error<T>(result: Result<T, Errors>) -> Errors {
    match result {
        Ok(_) => panic!("linked without an error"),
        Err(errors) => errors,
    }
}

pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}
