//! A client with a real optimizer process, and inputs for it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, ModuleDigest, Pipeline};
use kiln_remote::{
    Client, Compile, Compiled, Connection, Event, Failed, FunctionSet, Log, ModuleId, Neighbours, OpenModule, Payload,
    RequestId, Spawner,
};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};

/// Longer than anything here takes: a hang fails the test rather than the run.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn clang(source: &str, language: &str, flags: &[&str]) -> Vec<u8> {
    let directory = scratch();
    let (input, output) = (directory.path().join("input"), directory.path().join("output.bc"));
    std::fs::write(&input, source).unwrap();
    let status = Command::new("clang-22")
        .args(["-x", language, "-c", "-emit-llvm", "-fPIC", "-o"])
        .arg(&output)
        .args(flags)
        .arg(&input)
        .status();
    assert!(status.expect("clang-22 is installed").success());
    std::fs::read(output).unwrap()
}

/// Bitcode of a C source.
pub(crate) fn c(source: &str, flags: &[&str]) -> Vec<u8> {
    clang(source, "c", flags)
}

/// Bitcode of a C++ source.
pub(crate) fn cxx(source: &str, flags: &[&str]) -> Vec<u8> {
    clang(source, "c++", flags)
}

/// Bitcode of textual IR for x86-64, written by LLVM's own assembler and not verified.
pub(crate) fn ll(source: &str) -> Vec<u8> {
    ll_for("x86_64-pc-linux-gnu", source)
}

/// Bitcode of textual IR for another target.
pub(crate) fn ll_for(triple: &str, source: &str) -> Vec<u8> {
    let source = format!("target triple = \"{triple}\"\n{source}");
    let directory = scratch();
    let (input, output) = (directory.path().join("input.ll"), directory.path().join("output.bc"));
    std::fs::write(&input, source).unwrap();
    let status =
        Command::new("/usr/lib/llvm-22/bin/llvm-as").args(["-disable-verify", "-o"]).arg(&output).arg(&input).status();
    assert!(status.expect("llvm-as of LLVM 22 is installed").success());
    std::fs::read(output).unwrap()
}

/// LLVM's own listing.
pub(crate) fn disassemble(bitcode: &[u8]) -> String {
    let directory = scratch();
    let input = directory.path().join("input.bc");
    std::fs::write(&input, bitcode).unwrap();
    let output = Command::new("/usr/lib/llvm-22/bin/llvm-dis").arg("-o").arg("-").arg(&input).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The disassembly of an object.
pub(crate) fn machine_code(object: &[u8]) -> String {
    let directory = scratch();
    let input = directory.path().join("input.o");
    std::fs::write(&input, object).unwrap();
    let output = Command::new("/usr/lib/llvm-22/bin/llvm-objdump").arg("-d").arg(&input).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The global variable records of a bitcode file, in order.
pub(crate) fn global_names(bitcode: &[u8]) -> Vec<String> {
    let text = disassemble(bitcode);
    let globals = text.lines().filter(|line| line.starts_with('@') && !line.contains(" alias "));
    globals.map(|line| line[1..line.find(" =").unwrap()].trim_matches('"').to_owned()).collect()
}

/// The function records of a bitcode file, in order: the listing has declarations and definitions in module order.
pub(crate) fn function_names(bitcode: &[u8]) -> Vec<String> {
    let text = disassemble(bitcode);
    let line = |line: &str| -> Option<String> {
        let line = line.strip_prefix("define").or_else(|| line.strip_prefix("declare"))?;
        let rest = &line[line.find('@')? + 1..];
        Some(rest[..rest.find('(')?].trim_matches('"').to_owned())
    };
    text.lines().filter_map(line).collect()
}

pub(crate) fn function(bitcode: &[u8], name: &str) -> FunctionId {
    let names = function_names(bitcode);
    FunctionId(names.iter().position(|n| n == name).unwrap_or_else(|| panic!("{name} in {names:?}")) as u32)
}

/// One optimizer and the client connected to it.
pub(crate) struct Session {
    pub(crate) connection: Connection<Client>,
    pub(crate) pid: i32,
    modules: u32,
}

impl Session {
    pub(crate) fn start() -> Session {
        let spawner = Spawner::new(Path::new(env!("CARGO_BIN_EXE_kiln-optimizer")), &Log::Inherit);
        let spawned = spawner.spawn().unwrap();
        Session { connection: Connection::new(spawned.transport, Client::new()), pid: spawned.pid, modules: 0 }
    }

    pub(crate) fn open(&mut self, bitcode: &[u8]) -> ModuleId {
        self.open_having(bitcode, FunctionSet::default())
    }

    pub(crate) fn open_having(&mut self, bitcode: &[u8], have: FunctionSet) -> ModuleId {
        self.open_with(bitcode, ModuleDigest(*blake3::hash(bitcode).as_bytes()), have)
    }

    pub(crate) fn open_as(&mut self, bitcode: &[u8], digest: ModuleDigest) -> ModuleId {
        self.open_with(bitcode, digest, FunctionSet::default())
    }

    fn open_with(&mut self, bitcode: &[u8], digest: ModuleDigest, have: FunctionSet) -> ModuleId {
        let module = ModuleId(self.modules);
        self.modules += 1;
        let bitcode = Payload::memory(bitcode).unwrap();
        self.connection.machine().open_module(OpenModule { module, digest, bitcode, have }).unwrap();
        module
    }

    pub(crate) fn request(
        &mut self,
        module: ModuleId,
        roots: &[FunctionId],
        pipeline: Pipeline,
        neighbours: Neighbours,
    ) -> RequestId {
        self.connection
            .machine()
            .compile(Compile { module, roots: roots.to_vec(), pipeline, neighbours, opaque: Vec::new(), alone: None })
            .unwrap()
    }

    /// The next event that is not the greeting.
    pub(crate) fn event(&mut self) -> Result<Event, kiln_remote::Error> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.connection.machine().poll_event() {
                Some(Event::Welcome(_)) => {}
                Some(event) => return Ok(event),
                None => assert!(self.connection.pump(Some(deadline))?, "no answer within {LIMIT:?}"),
            }
        }
    }

    pub(crate) fn compile(
        &mut self,
        module: ModuleId,
        roots: &[FunctionId],
        pipeline: Pipeline,
        neighbours: Neighbours,
    ) -> Result<Compiled, Failed> {
        let request = self.request(module, roots, pipeline, neighbours);
        match self.event().unwrap() {
            Event::Compiled(compiled) if compiled.request == request => Ok(compiled),
            Event::Failed(failed) if failed.request == request => Err(failed),
            other => panic!("{other:?}"),
        }
    }

    /// Compiles one function alone.
    pub(crate) fn one(&mut self, bitcode: &[u8], name: &str, pipeline: Pipeline) -> Result<Inspected, Failed> {
        let module = self.open(bitcode);
        let compiled = self.compile(module, &[function(bitcode, name)], pipeline, Neighbours::NONE)?;
        Ok(Inspected::new(compiled))
    }
}

/// A compiled object, taken apart.
pub(crate) struct Inspected {
    pub(crate) compiled: Compiled,
    pub(crate) bytes: Vec<u8>,
}

/// A relocation: the section it is in, its type's number in the psABI, and the symbol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reloc {
    pub(crate) section: String,
    pub(crate) kind: u32,
    pub(crate) symbol: String,
}

impl Inspected {
    pub(crate) fn new(mut compiled: Compiled) -> Inspected {
        let object = std::mem::replace(&mut compiled.object, Payload::Inline(Vec::new()));
        Inspected { compiled, bytes: object.into_bytes().unwrap() }
    }

    pub(crate) fn file(&self) -> object::File<'_> {
        object::File::parse(&*self.bytes).unwrap()
    }

    /// Names of symbols that other objects can see.
    pub(crate) fn defined(&self) -> Vec<String> {
        let file = self.file();
        let symbols = file.symbols().filter(|s| s.is_definition() && s.is_global());
        let mut names: Vec<_> = symbols.map(|s| s.name().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn undefined(&self) -> Vec<String> {
        let file = self.file();
        let symbols = file.symbols().filter(|s| s.is_undefined() && !s.name().unwrap().is_empty());
        let mut names: Vec<_> = symbols.map(|s| s.name().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn relocations(&self) -> Vec<Reloc> {
        let file = self.file();
        let mut all = Vec::new();
        for section in file.sections() {
            for (_, relocation) in section.relocations() {
                let object::RelocationFlags::Elf { r_type } = relocation.flags() else { panic!("ELF") };
                let RelocationTarget::Symbol(target) = relocation.target() else { continue };
                let symbol = file.symbol_by_index(target).unwrap();
                let name = match symbol.section_index() {
                    Some(index) if symbol.name().unwrap().is_empty() => {
                        file.section_by_index(index).unwrap().name().unwrap().to_owned()
                    }
                    _ => symbol.name().unwrap().to_owned(),
                };
                all.push(Reloc { section: section.name().unwrap().to_owned(), kind: r_type, symbol: name });
            }
        }
        all
    }

    /// Whether some relocation of `kind` in a section whose name starts with `section` names `symbol`.
    pub(crate) fn has(&self, section: &str, kind: u32, symbol: &str) -> bool {
        self.relocations().iter().any(|r| r.section.starts_with(section) && r.kind == kind && r.symbol == symbol)
    }
}
