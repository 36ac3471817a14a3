//! Rules about the repository that the compiler does not check.
//!
//! The crate table of `ARCHITECTURE.md` is read here, so it cannot drift from the code: edges come from `cargo metadata`,
//! `forbid(unsafe_code)` from the crates' roots.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A row of the crate table.
struct Row {
    may_use: BTreeSet<String>,
    forbids_unsafe: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/kiln-bench").to_path_buf()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The table under the heading "Crates": name, what it is, the crates it may know, unsafe.
fn table() -> BTreeMap<String, Row> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `kiln")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, may_use, unsafe_code] = cells[..] else { panic!("four columns: {line}") };
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        let name = names(name).pop_first().expect("a crate's name");
        rows.insert(name, Row { may_use: names(may_use), forbids_unsafe: unsafe_code == "forbid" });
    }
    assert!(rows.len() >= 10, "the crate table of ARCHITECTURE.md was not found");
    rows
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let members: BTreeSet<String> = packages.iter().map(name).collect();
    let table = table();
    assert_eq!(members, table.keys().cloned().collect(), "workspace members and rows of the crate table");
    let mut wrong = Vec::new();
    for package in packages {
        let from = name(package);
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = name(dependency);
            // Tests may look at anything.
            let ships = dependency["kind"] != "dev";
            if ships && members.contains(&to) && !table[&from].may_use.contains(&to) {
                wrong.push(format!("{from} -> {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the table in ARCHITECTURE.md does not allow: {wrong:?}");
}

#[test]
fn only_the_optimizer_knows_llvm() {
    let lock = read(&root().join("Cargo.lock"));
    for package in
        lock.split("[[package]]").filter(|package| package.contains("\"llvm-sys\"") || package.contains("\"inkwell\""))
    {
        let name = package.lines().find_map(|line| line.strip_prefix("name = ")).unwrap_or_default().trim_matches('"');
        assert!(["kiln-optimizer", "llvm-sys", "inkwell"].contains(&name), "{name} depends on LLVM");
    }
}

#[test]
fn crates_forbid_unsafe_code_where_the_table_says_so() {
    for (name, row) in table() {
        let folder = root().join("crates").join(&name).join("src");
        for file in ["lib.rs", "main.rs"].map(|file| folder.join(file)).iter().filter(|file| file.exists()) {
            let forbids = read(file).contains("#![forbid(unsafe_code)]");
            assert!(forbids || !row.forbids_unsafe, "{} lacks #![forbid(unsafe_code)]", file.display());
        }
    }
}

#[test]
fn no_file_is_a_drawer() {
    for file in files("rs") {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let drawer = ["utils", "util", "common", "shared", "misc", "helpers"].contains(&name.as_str());
        assert!(!drawer, "{}: a helper lives with its only user or becomes a named concept", file.display());
    }
}

#[test]
fn links_between_documents_resolve() {
    let mut broken = Vec::new();
    for file in files("md") {
        let text = read(&file);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = target.contains("://") || path.is_empty();
            if !elsewhere && !file.parent().expect("a folder").join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn design_notes_named_in_code_exist() {
    let mut missing = Vec::new();
    for file in files("rs") {
        for (at, _) in read(&file).match_indices("docs/") {
            let text = read(&file);
            let path: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || "/-_.".contains(*c)).collect();
            let path = path.trim_end_matches('.');
            if path.ends_with(".md") && !root().join(path).exists() {
                missing.push(format!("{}: {path}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The files with an extension, outside `target` and hidden folders.
fn files(extension: &str) -> Vec<PathBuf> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if entry.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(entry);
            } else if entry.extension().is_some_and(|found| found == extension) {
                files.push(entry);
            }
        }
    }
    assert!(!files.is_empty(), "no .{extension} file in {}", root.display());
    files
}
