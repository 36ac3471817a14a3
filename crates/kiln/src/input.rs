//! What a client may load, and how a file's kind is found out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// One item of an ordered list of things to load together, as on a linker's command line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A file, whose kind is found out from its content (source files from their name).
    File(PathBuf),
    /// Bytes in memory with a name for messages: bitcode, textual IR, an object or an archive.
    Bytes {
        /// What messages call it.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
    /// A library as a linker's `-l` names it: `libNAME.so` or else `libNAME.a`; `:FILE` for an exact name.
    Library(String),
    /// From here on, whether every member of an archive is loaded or only those that are needed.
    WholeArchive(bool),
}

/// The kind of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bitcode,
    TextualIr,
    Object,
    Archive,
    SharedLibrary,
    LinkerScript,
    Source(Language),
}

/// A language that an installed compiler turns into bitcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cxx,
    Rust,
}

const EI_NIDENT: usize = 16;

/// Whether a file that begins with `head` is bitcode, perhaps in its wrapper (LLVM's "Bitcode File Format").
pub(crate) fn is_bitcode(head: &[u8]) -> bool {
    head.starts_with(b"BC\xc0\xde") || head.starts_with(&0x0b17_c0de_u32.to_le_bytes())
}

/// The kind of `bytes`, which messages call `name`; `None` if it is nothing that Kiln knows.
pub(crate) fn kind(name: &Path, bytes: &[u8]) -> Option<Kind> {
    if is_bitcode(bytes) {
        return Some(Kind::Bitcode);
    }
    if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
        return Some(Kind::Archive);
    }
    if bytes.starts_with(b"\x7fELF") {
        let kind = bytes.get(EI_NIDENT..EI_NIDENT + 2)?;
        let shared = u16::from_le_bytes([kind[0], kind[1]]) == object::elf::ET_DYN;
        return Some(if shared { Kind::SharedLibrary } else { Kind::Object });
    }
    let language = match name.extension()?.to_str()? {
        "ll" => return Some(Kind::TextualIr),
        "c" => Language::C,
        "cc" | "cpp" | "cxx" | "C" => Language::Cxx,
        "rs" => Language::Rust,
        "so" | "a" => return Some(Kind::LinkerScript),
        _ => return None,
    };
    Some(Kind::Source(language))
}

/// Compiles the source file `path` to bitcode with the compiler of its language.
///
/// # Errors
/// [`Error::Compiler`] with the compiler's own messages, or what to install where it is missing.
pub(crate) fn compile_source(path: &Path, language: Language) -> Result<Vec<u8>, Error> {
    let folder = std::env::temp_dir().join(format!("kiln-{}-{:x}", std::process::id(), hash_of(path)));
    std::fs::create_dir_all(&folder).map_err(|source| Error::Read { path: folder.clone(), source })?;
    let compiled = compile_into(&folder, path, language);
    let _ = std::fs::remove_dir_all(&folder);
    compiled
}

/// Runs the compiler; all that it writes goes into `folder`.
fn compile_into(folder: &Path, path: &Path, language: Language) -> Result<Vec<u8>, Error> {
    let output = folder.join("program.bc");
    let (compiler, arguments): (&str, &[&str]) = match language {
        Language::C => ("clang-22", &["-c", "-emit-llvm", "-g", "-fPIC"]),
        Language::Cxx => ("clang++-22", &["-c", "-emit-llvm", "-g", "-fPIC"]),
        // Only a program that is linked has its libraries' code in its bitcode.
        Language::Rust => {
            ("rustc", &["--emit=llvm-bc,link", "-Clto=fat", "-Ccodegen-units=1", "--crate-name=program", "-g"])
        }
    };
    let mut command = Command::new(compiler);
    command.args(arguments).arg(path);
    match language {
        Language::Rust => command.arg("--out-dir").arg(folder),
        _ => command.arg("-o").arg(&output),
    };
    let failed = |message| Error::Compiler { path: path.to_owned(), message };
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(failed(match language {
            Language::Rust => {
                "`rustc` was not found: install Rust (rustup), or compile to bitcode elsewhere".to_owned()
            }
            _ => format!("`{compiler}` was not found: `apt-get install clang-22`, or compile to bitcode elsewhere"),
        })),
        Err(error) => Err(failed(format!("`{compiler}`: {error}"))),
        Ok(result) if !result.status.success() => Err(failed(String::from_utf8_lossy(&result.stderr).into_owned())),
        Ok(_) => std::fs::read(&output).map_err(|source| Error::Read { path: output, source }),
    }
}

/// A number that tells source files of one process apart in the temporary folder.
fn hash_of(path: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Where the system keeps libraries.
const SYSTEM_LIBRARY_PATHS: &[&str] = &[
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];
/// Where GCC keeps one folder per version, with its own libraries (`libstdc++.so`, `libgcc.a`).
const GCC_PATHS: &[&str] =
    &["/usr/lib/gcc/x86_64-linux-gnu", "/usr/lib/gcc/x86_64-pc-linux-gnu", "/usr/lib/gcc/x86_64-redhat-linux"];

/// Where a linker on this system looks for libraries after the `-L` folders.
pub(crate) fn system_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = SYSTEM_LIBRARY_PATHS.iter().map(PathBuf::from).collect();
    for base in GCC_PATHS {
        let Ok(entries) = std::fs::read_dir(base) else { continue };
        let mut versions: Vec<(u32, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.split('.').next()?.parse().ok()?, entry.path())))
            .collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    }
    folders
}

/// The file that `-lNAME` means: the first folder that has `libNAME.so` or `libNAME.a`, the shared one first. Where no
/// package with link names is installed, the newest `libNAME.so.N`, which is what the program would run with.
pub(crate) fn find_library(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let candidates = match name.strip_prefix(':') {
        Some(exact) => vec![exact.to_owned()],
        None => vec![format!("lib{name}.so"), format!("lib{name}.a")],
    };
    let folders: Vec<PathBuf> = folders.iter().cloned().chain(system_folders()).collect();
    let exact = folders
        .iter()
        .find_map(|folder| candidates.iter().map(|candidate| folder.join(candidate)).find(|path| path.exists()));
    exact.or_else(|| folders.iter().find_map(|folder| newest_version(folder, &format!("lib{name}.so."))))
}

/// The file in `folder` with the highest number after `prefix`.
fn newest_version(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let numbered = entries.filter_map(|entry| {
        let name = entry.file_name();
        let number: u32 = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((number, entry.path()))
    });
    numbered.max().map(|(_, path)| path)
}

/// The files that a linker script names in `INPUT(…)` and `GROUP(…)`, which is all that libc's own scripts hold.
///
/// # Errors
/// [`Error::UnknownKind`] if it names none, [`Error::LibraryNotFound`] for a `-l` that is nowhere.
pub(crate) fn script_files(path: &Path, bytes: &[u8], folders: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let unknown = || Error::UnknownKind { path: path.to_owned() };
    let missing = |name: &str| Error::LibraryNotFound {
        name: name.to_owned(),
        folders: system_folders().iter().map(|folder| folder.display().to_string()).collect(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| unknown())?;
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let mut files = Vec::new();
    let mut words = plain.split(|c: char| c.is_whitespace() || "(),".contains(c)).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        match word {
            "GROUP" | "INPUT" | "AS_NEEDED" => {}
            "OUTPUT_FORMAT" | "OUTPUT_ARCH" => drop(words.next()),
            name if name.starts_with("-l") => {
                files.push(find_library(&name[2..], folders).ok_or_else(|| missing(&name[2..]))?);
            }
            name if name.starts_with('/') => files.push(name.into()),
            name => {
                let beside = path.parent().unwrap_or(Path::new(".")).join(name);
                let found = if beside.exists() { Some(beside) } else { find_library(&format!(":{name}"), folders) };
                files.push(found.ok_or_else(|| missing(&format!(":{name}")))?);
            }
        }
    }
    if files.is_empty() { Err(unknown()) } else { Ok(files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_before_the_name() {
        let elf = |kind: u8| {
            let mut bytes = b"\x7fELF".to_vec();
            bytes.resize(64, 0);
            bytes[EI_NIDENT] = kind;
            bytes
        };
        let cases: [(&str, Vec<u8>, Option<Kind>); 8] = [
            ("a.o", b"BC\xc0\xde".to_vec(), Some(Kind::Bitcode)),
            ("a.c", b"\xde\xc0\x17\x0b".to_vec(), Some(Kind::Bitcode)),
            ("a.a", elf(1), Some(Kind::Object)),
            ("a", elf(3), Some(Kind::SharedLibrary)),
            ("a.a", b"!<arch>\n".to_vec(), Some(Kind::Archive)),
            ("a.ll", b"define".to_vec(), Some(Kind::TextualIr)),
            ("a.rs", b"fn main() {}".to_vec(), Some(Kind::Source(Language::Rust))),
            ("a.txt", b"hello".to_vec(), None),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(kind(Path::new(name), &bytes), expected, "{name}");
        }
    }

    #[test]
    fn linker_scripts_name_files() {
        let script = b"/* GNU ld script */\nOUTPUT_FORMAT(elf64-x86-64)\nGROUP ( /lib/x86_64-linux-gnu/libc.so.6 AS_NEEDED ( -lgcc_s libc.so.6 ) )";
        let files = script_files(Path::new("/nowhere/libc.so"), script, &[]).unwrap();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| file.exists()), "{files:?}");
        assert!(script_files(Path::new("x.so"), b"", &[]).is_err());
    }

    #[test]
    fn libraries_are_found_by_name_and_exactly() {
        assert!(find_library(":libc.so.6", &[]).is_some());
        assert!(find_library("gcc_s", &[]).is_some_and(|path| path.to_string_lossy().contains("libgcc_s.so")));
        assert_eq!(find_library("no-such-library", &[]), None);
    }
}
