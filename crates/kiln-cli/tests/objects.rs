//! Objects of `kiln compile`: linked by several linkers, alone and with clang's, and beside clang's by `readelf`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const UNITS: [(&str, &str); 3] = [("main.cc", "clang++-22"), ("other.cc", "clang++-22"), ("tentative.c", "clang-22")];

/// One translation unit: its bitcode, what clang makes of that, and what Kiln does.
struct Unit {
    module: PathBuf,
    native: PathBuf,
    ours: PathBuf,
}

/// The units of `programs/objects`.
fn units(name: &str, level: &str) -> Vec<Unit> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs/objects");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("objects-{name}{level}"));
    std::fs::create_dir_all(&folder).unwrap();
    let build = |(file, compiler): (&str, &str)| {
        let at = |extension: &str| folder.join(file).with_extension(extension);
        let unit = Unit { module: at("bc"), native: at("native.o"), ours: at("kiln.o") };
        let mut clang = Command::new(compiler);
        if file.ends_with(".c") {
            clang.arg("-fcommon");
        }
        succeed(
            clang.args([level, "-w", "-fPIC", "-c", "-emit-llvm"]).arg(sources.join(file)).arg("-o").arg(&unit.module),
        );
        succeed(
            Command::new("clang-22").args(["-O0", "-fPIC", "-w", "-c"]).arg(&unit.module).arg("-o").arg(&unit.native),
        );
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        succeed(kiln.arg("compile").arg(&unit.module).arg("-o").arg(&unit.ours));
        unit
    };
    UNITS.map(build).into()
}

/// Runs what must succeed without a word on standard error; its standard output.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Links and runs.
fn outcome(program: &Path, flags: &[&str], objects: &[&Path]) -> String {
    succeed(Command::new("clang++-22").args(flags).args(objects).arg("-o").arg(program));
    succeed(&mut Command::new(program))
}

#[test]
fn objects_of_one_program_link_with_each_other_and_with_others() {
    for level in ["-O0", "-O2"] {
        let units = units("linked", level);
        let program = units[0].module.with_extension("exe");
        let native: Vec<&Path> = units.iter().map(|unit| &*unit.native).collect();
        let expected = outcome(&program, &[], &native);
        assert!(expected.starts_with("constructor at 150\nconstructor at 160\nmade at 200\n"), "{expected}");
        // Bit by bit, which units are Kiln's.
        for ours in 1..8 {
            let objects: Vec<&Path> = (0..units.len())
                .map(|at| if ours >> at & 1 == 1 { &*units[at].ours } else { &*units[at].native })
                .collect();
            for flags in [&["-fuse-ld=lld", "-pie"][..], &["-fuse-ld=lld", "-no-pie"], &["-fuse-ld=bfd", "-pie"]] {
                assert_eq!(outcome(&program, flags, &objects), expected, "{level} {flags:?} {ours:03b}");
            }
        }
        let objects: Vec<&Path> = units.iter().map(|unit| &*unit.ours).collect();
        for flags in [&["-fuse-ld=bfd", "-no-pie"][..], &["-fuse-ld=lld", "-Wl,--gc-sections,-z,nostart-stop-gc"]] {
            assert_eq!(outcome(&program, flags, &objects), expected, "{level} {flags:?}");
        }
    }
}

#[test]
fn shared_libraries_are_made_of_objects() {
    for level in ["-O0", "-O2"] {
        let units = units("shared", level);
        let folder = units[0].module.parent().unwrap();
        let program = folder.join("program");
        for library in ["native", "ours"] {
            let object = |unit: &Unit| if library == "ours" { unit.ours.clone() } else { unit.native.clone() };
            let path = folder.join(format!("lib{library}.so"));
            // References to what another library may define must not be bound here.
            let flags = ["-fuse-ld=lld", "-shared", "-Wl,-z,text,--allow-shlib-undefined"];
            let mut link = Command::new("clang++-22");
            succeed(link.args(flags).args(units[1..].iter().map(object)).arg("-o").arg(&path));
            let rpath = format!("-Wl,-rpath,{}", folder.display());
            let flags = ["-fuse-ld=lld", "-rdynamic", &rpath];
            let expected = outcome(&program, &flags, &[&units[0].native, &path]);
            assert_eq!(outcome(&program, &flags, &[&units[0].ours, &path]), expected, "{level}: {library}");
            assert!(expected.contains("\n1 2 3\n") && expected.contains("\n42 1\n"), "one copy of each: {expected}");
        }
    }
}

/// Type, binding, visibility and kind of section of each symbol that linkers look at.
fn symbols(object: &Path) -> BTreeMap<String, [String; 4]> {
    let text = succeed(Command::new("llvm-readelf-22").args(["-sW"]).arg(object));
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let named = rows.filter(|row| row.len() == 8 && row[0].ends_with(':') && row[3] != "SECTION");
    // Labels of tables, what linkers do not keep, and what a compiler calls of itself.
    let kept = named.filter(|row| {
        let own = ["memset", "memcpy", "memmove"].contains(&row[7]);
        !own && !row[7].starts_with("GCC_except_table") && !row[7].starts_with(".L")
    });
    kept.map(|row| {
        let place = if row[6].parse::<u32>().is_ok() { "section" } else { row[6] };
        (row[7].to_owned(), [row[3], row[4], row[5], place].map(str::to_owned))
    })
    .collect()
}

/// Signatures of the COMDAT groups with their members but relocations.
fn groups(object: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in succeed(Command::new("llvm-readelf-22").args(["-gW"]).arg(object)).lines() {
        if let Some((_, signature)) = line.strip_prefix("COMDAT group").and_then(|rest| rest.split_once("' [")) {
            current = signature.split(']').next().unwrap().to_owned();
            groups.entry(current.clone()).or_default();
        } else if let Some((_, member)) = line.split_once("]   .").filter(|(_, member)| !member.starts_with("rel")) {
            // The rest of a name is whose it is, which not all compilers say alike.
            let section = [".text", ".rodata", ".data.rel.ro", ".data", ".bss", ".tbss", ".tdata"]
                .into_iter()
                .find(|section| format!(".{member}").starts_with(section));
            if let Some(section) = section {
                groups.get_mut(&current).unwrap().insert(section.to_owned());
            }
        }
    }
    for members in groups.values_mut().filter(|members| members.contains(".text")) {
        // Where a function's tables lie is its compiler's business.
        members.remove(".rodata");
    }
    groups
}

/// Name, type and flags of the sections whose names linkers give a meaning to, or the program does.
fn sections(object: &Path) -> BTreeSet<String> {
    let text = succeed(Command::new("llvm-readelf-22").args(["-SW"]).arg(object));
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let Some((_, row)) = line.split_once("] ") else { continue };
        let row: Vec<&str> = row.split_whitespace().collect();
        let [name, kind, _, _, _, _, flags, ..] = row[..] else { continue };
        let arrays = [".init_array", ".fini_array"].iter().find(|array| name.starts_with(**array));
        if let Some(array) = arrays {
            let priority = name[array.len()..].trim_start_matches(['.', '0']);
            found.insert(format!("{array} {priority} {kind} {flags}"));
        } else if name.starts_with(".own") || name == "listed" || name == ".note.GNU-stack" {
            found.insert(format!("{name} {kind} {}", flags.trim_end_matches('R')));
        }
    }
    found
}

#[test]
fn objects_say_of_their_symbols_groups_and_sections_what_clangs_say() {
    for level in ["-O0", "-O2"] {
        for unit in units("described", level) {
            let (expected, ours) = (symbols(&unit.native), symbols(&unit.ours));
            assert!(expected.len() > 3, "{expected:?}");
            let names: BTreeSet<&String> = expected.keys().chain(ours.keys()).collect();
            for name in names {
                assert_eq!(ours.get(name), expected.get(name), "{level} {}: {name}", unit.ours.display());
            }
            let (expected, ours) = (groups(&unit.native), groups(&unit.ours));
            let names: BTreeSet<&String> = expected.keys().chain(ours.keys()).collect();
            for name in names {
                assert_eq!(ours.get(name), expected.get(name), "{level} {}: group {name}", unit.ours.display());
            }
            assert_eq!(sections(&unit.ours), sections(&unit.native), "{level} {}", unit.ours.display());
        }
    }
}
