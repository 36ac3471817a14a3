//! Our reader against LLVM's: both must say the same of every module.
//!
//! `judge/llvm_rows.cpp` prints LLVM's view, [`kiln_bitcode::rows`] and
//! [`kiln_bitcode::body_rows`] ours. Besides the sources in `modules`, every `.bc`
//! file in the directory `KILN_TEST_PROGRAMS` is judged, if it is set.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_bitcode::{Body, DebugInfo, Frame, FunctionId, GlobalRef, Module};
use support::{compile_modules, run, scratch};

/// Builds the judge, once for all tests.
fn judge() -> &'static Path {
    static JUDGE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    JUDGE.get_or_init(|| {
        let config = ["--link-shared", "--cxxflags", "--ldflags", "--libs", "core", "bitreader", "support"];
        let flags = String::from_utf8(run(Command::new("llvm-config-22").args(config))).unwrap();
        let binary = scratch("judge").join("llvm_rows");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/llvm_rows.cpp");
        let mut clang = Command::new("clang++-22");
        run(clang.arg("-O1").arg(source).arg("-o").arg(&binary).args(flags.split_whitespace()));
        binary
    })
}

/// The lines of a module and of all its bodies.
fn all_rows<'m>(module: &'m Module, bytes: &'m [u8]) -> impl Iterator<Item = String> + 'm {
    let ids = (0..).map(FunctionId).zip(module.functions()).filter(|(_, function)| !function.is_declaration());
    let bodies = ids.flat_map(move |(id, _)| {
        let mut body = Body::new();
        module.read_body(bytes, id, &mut body).unwrap_or_else(|e| panic!("{id:?}: {e}"));
        kiln_bitcode::body_rows(module, &body).collect::<Vec<_>>()
    });
    kiln_bitcode::rows(module).chain(bodies)
}

fn assert_same(file: &Path) -> usize {
    let theirs = run(Command::new(judge()).arg(file));
    let theirs = String::from_utf8(theirs).unwrap();
    let bytes = std::fs::read(file).unwrap();
    let modules = kiln_bitcode::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut ours = modules.iter().flat_map(|module| all_rows(module, &bytes));
    let mut theirs = theirs.split_terminator('\n');
    for line in 1.. {
        match (ours.next(), theirs.next()) {
            (None, None) => return line - 1,
            (ours, theirs) => assert_eq!(ours.as_deref(), theirs, "{} line {line}: ours, LLVM's", file.display()),
        }
    }
    unreachable!()
}

#[test]
fn modules_read_as_llvm_reads_them() {
    let files = compile_modules(&scratch("judge-modules"));
    assert!(files.len() >= 10, "{files:?}");
    for file in &files {
        // The tables of names that LLVM puts into each module take some sixty lines.
        assert!(assert_same(file) > 60, "{}", file.display());
    }
}

/// Where each instruction with a debug location comes from, as the judge writes it.
fn location_rows(module: &Module, bytes: &[u8]) -> Vec<String> {
    let text = |bytes: &[u8]| format!("\"{}\"", String::from_utf8_lossy(bytes));
    let debug = DebugInfo::read(module, bytes).unwrap();
    let mut rows = Vec::new();
    let defined = (0..).map(FunctionId).zip(module.functions()).filter(|(_, function)| !function.is_declaration());
    for (id, _) in defined {
        let mut body = Body::new();
        module.read_body(bytes, id, &mut body).unwrap();
        let function = debug.function(module, bytes, id).unwrap();
        for location in body.locations() {
            let frames = function.frames(location).unwrap();
            let frames = frames.iter().map(|Frame { function: f, file, line, column }| {
                let (name, linkage, defined_in) = (text(f.name), text(f.linkage_name), text(f.file.name));
                let defined = format!("{defined_in}:{}:{} language {}", f.line, f.scope_line, f.language);
                let place = format!("{} {}:{line}:{column}", text(file.directory), text(file.name));
                format!("{name} {linkage} {defined} at {place}")
            });
            rows.push(frames.collect::<Vec<_>>().join(" < "));
        }
    }
    rows
}

fn assert_same_locations(file: &Path) -> (usize, usize) {
    let theirs = String::from_utf8(run(Command::new(judge()).arg("--locations").arg(file))).unwrap();
    let bytes = std::fs::read(file).unwrap();
    let modules = kiln_bitcode::parse(&bytes).unwrap();
    let ours: Vec<String> = modules.iter().flat_map(|module| location_rows(module, &bytes)).collect();
    let theirs: Vec<&str> = theirs.split_terminator('\n').collect();
    for (line, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "{} instruction {line}: ours, LLVM's", file.display());
    }
    assert_eq!(ours.len(), theirs.len(), "{}", file.display());
    (ours.len(), ours.iter().filter(|row| row.contains(" < ")).count())
}

#[test]
fn locations_mean_what_llvm_says() {
    let mut all = (0, 0);
    for file in compile_modules(&scratch("judge-locations")) {
        let (rows, inlined) = assert_same_locations(&file);
        all = (all.0 + rows, all.1 + inlined);
    }
    assert!(all.0 > 1000 && all.1 > 50, "{all:?}: instructions with locations, inlined ones");
}

/// A name as the judge writes it.
fn quoted(name: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'"' | b'\\' => format!("\\{byte:02x}"),
        0x20..=0x7e => char::from(*byte).to_string(),
        _ => format!("\\{byte:02x}"),
    };
    format!("\"{}\"", name.iter().map(escape).collect::<String>())
}

/// `row` with the names of `module` in place of those that stand for them.
fn in_names_of(module: &Module, row: &str) -> String {
    let mut pieces = row.split("@\"kiln$");
    let mut named = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (id, rest) = piece.split_once('"').unwrap();
        let global = match kiln_abi::symbol::parse(format!("kiln${id}").as_bytes()).unwrap() {
            kiln_abi::symbol::Id::Function(function) => GlobalRef::Function(function),
            kiln_abi::symbol::Id::Global(global) => GlobalRef::Global(global),
            kiln_abi::symbol::Id::Alias(alias) => GlobalRef::Alias(kiln_bitcode::AliasId(alias)),
        };
        named += &format!("@{}{rest}", quoted(module.symbol_name(global)));
    }
    named
}

/// What the judge says of all bodies of a module, by function, without places and what only carries metadata.
fn bodies(text: &str) -> Vec<Vec<String>> {
    let carriers = ["@\"llvm.dbg.", "@\"llvm.experimental.noalias.scope.decl\"", "@\"llvm.pseudoprobe\""];
    let mut bodies: Vec<Vec<String>> = Vec::new();
    for row in text.split_terminator('\n') {
        let row = row.rsplit_once(" at=").map_or(row, |(row, _)| row).trim_end();
        if row.starts_with("body ") {
            bodies.push(Vec::new());
        }
        if !carriers.iter().any(|carrier| row.contains(carrier)) {
            bodies.last_mut().unwrap().push(row.to_owned());
        }
    }
    bodies
}

/// How many functions of the module in `file` were written as modules of their own, and how many could not be.
fn assert_written_alone(file: &Path, dir: &Path) -> (usize, usize) {
    let theirs = bodies(&String::from_utf8(run(Command::new(judge()).arg("--bodies").arg(file))).unwrap());
    let bytes = std::fs::read(file).unwrap();
    let modules = kiln_bitcode::parse(&bytes).unwrap();
    let [module] = &modules[..] else { panic!("{}: one module", file.display()) };
    let defined = (0..).map(FunctionId).zip(module.functions()).filter(|(_, function)| !function.is_declaration());
    let (mut files, mut expected, mut refused) = (Vec::new(), Vec::new(), 0);
    for ((id, _), theirs) in defined.zip(theirs) {
        let mut body = Body::new();
        module.read_body(&bytes, id, &mut body).unwrap();
        let Ok(alone) = kiln_bitcode::write_function(module, &body) else {
            refused += 1;
            continue;
        };
        // Our reader takes it too.
        let again = kiln_bitcode::parse(&alone).unwrap_or_else(|error| panic!("{id:?} of {}: {error}", file.display()));
        again[0].read_body(&alone, FunctionId(0), &mut body).unwrap();
        let path = dir.join(format!("{}.bc", id.0));
        std::fs::write(&path, alone).unwrap();
        files.push(path);
        expected.push(theirs);
    }
    for (files, expected) in files.chunks(256).zip(expected.chunks(256)) {
        let ours = run(Command::new(judge()).arg("--bodies").args(files));
        let ours = bodies(&String::from_utf8(ours).unwrap());
        assert_eq!(ours.len(), expected.len(), "{}", file.display());
        for ((ours, theirs), path) in ours.iter().zip(expected).zip(files) {
            for (ours, theirs) in ours.iter().zip(theirs) {
                assert_eq!(
                    &in_names_of(module, ours),
                    theirs,
                    "{} of {}: alone, as it was",
                    path.display(),
                    file.display()
                );
            }
            assert_eq!(ours.len(), theirs.len(), "{} of {}", path.display(), file.display());
        }
    }
    (files.len(), refused)
}

#[test]
fn a_function_alone_is_what_it_was() {
    let dir = scratch("judge-alone");
    let mut all = (0, 0);
    for file in compile_modules(&scratch("judge-alone-modules")) {
        // Not verified where it was made.
        if file.file_name().unwrap().to_str().unwrap().contains(".ll") {
            continue;
        }
        let (written, refused) = assert_written_alone(&file, &dir);
        all = (all.0 + written, all.1 + refused);
    }
    assert!(all.0 > 200 && all.1 < all.0 / 20, "{all:?}: functions written, refused");
}

#[test]
fn several_modules_in_one_file() {
    let dir = scratch("judge-several");
    let files = compile_modules(&dir);
    let all = dir.join("all.bc");
    run(Command::new("llvm-cat-22").arg("-b").args(&files).arg("-o").arg(&all));
    assert_eq!(kiln_bitcode::parse(&std::fs::read(&all).unwrap()).unwrap().len(), files.len());
    assert_same(&all);
}

#[test]
fn wrapper_header() {
    let dir = scratch("judge-wrapper");
    let source = dir.join("apple.ll");
    // LLVM writes the wrapper for Darwin only.
    let text = "target triple = \"x86_64-apple-macosx13.0.0\"\n@a = global i32 5\ndefine void @f() { ret void }\n";
    std::fs::write(&source, text).unwrap();
    let file = dir.join("apple.bc");
    run(Command::new("llvm-as-22").arg(&source).arg("-o").arg(&file));
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.starts_with(&0x0b17_c0deu32.to_le_bytes()));
    assert_same(&file);
    let body = kiln_bitcode::parse(&bytes).unwrap()[0].body_range(&bytes, FunctionId(0)).unwrap();
    assert!(body.start < body.end && body.end < bytes.len(), "{body:?}");
}

/// Every body begins with an unabbreviated DECLAREBLOCKS record: `[code 1, one field, number of blocks]`.
#[test]
fn bodies_lie_where_they_are_said_to_lie() {
    let mut bodies = 0;
    for file in compile_modules(&scratch("judge-bodies")) {
        let bytes = std::fs::read(&file).unwrap();
        for module in kiln_bitcode::parse(&bytes).unwrap() {
            let ids = (0..module.functions().len() as u32).map(FunctionId);
            for body in ids.filter_map(|id| module.body_range(&bytes, id)) {
                assert_eq!((body.start % 4, body.end % 4), (0, 0), "{body:?}");
                let word = u64::from_le_bytes(bytes[body.start..body.start + 8].try_into().unwrap());
                let field = |at: u32, bits: u32| word >> at & ((1 << bits) - 1);
                // [ENTER_SUBBLOCK, block id, width of ids, length], aligned as LLVM aligns all function blocks.
                let header = u32::from_le_bytes(bytes[body.start - 8..body.start - 4].try_into().unwrap());
                let id_bits = header >> 11 & 15;
                assert_eq!(field(0, id_bits), 3, "unabbreviated: {body:?} of {}", file.display());
                assert_eq!((field(id_bits, 6), field(id_bits + 6, 6)), (1, 1), "{body:?} of {}", file.display());
                // The number of blocks, which is at least 1.
                assert_ne!(field(id_bits + 12, 6), 0, "{body:?} of {}", file.display());
                bodies += 1;
            }
        }
    }
    assert!(bodies > 200, "{bodies}");
}

#[test]
fn programs_read_as_llvm_reads_them() {
    let Some(dir) = std::env::var_os("KILN_TEST_PROGRAMS") else { return };
    let mut judged = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|e| e == "bc") {
            assert_same(&file);
            assert_same_locations(&file);
            assert_written_alone(&file, &scratch("judge-programs"));
            judged += 1;
        }
    }
    assert!(judged > 0, "no .bc file in KILN_TEST_PROGRAMS");
}
