//! Real programs: a `main` of ours around C and C++ sources that `programs/vendor` pins.
//!
//! Each is built at both levels, as one module per file and as one module of the whole program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::workshop::{run, tool};
use super::{Built, Error, Key, Level, Workshop};

/// One real program.
#[derive(Clone, Copy, Debug)]
pub struct Real {
    /// Its name, and the folder in `programs/` that holds its `main` and its inputs.
    pub name: &'static str,
    language: Language,
    /// The crate whose source it is.
    package: &'static str,
    /// The folder of sources inside the crate.
    folder: &'static str,
    /// Sources: files, or folders of which every `.c` and `.cpp` file counts, relative to `folder`.
    sources: &'static [&'static str],
    /// Files in those folders that are left out.
    without: &'static [&'static str],
    /// Flags beside `-I folder`.
    flags: &'static [&'static str],
    /// Libraries it needs.
    libraries: &'static [&'static str],
}

/// What a program is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    C,
    Cxx,
}

impl Language {
    fn compiler(self) -> &'static str {
        match self {
            Language::C => tool::CLANG,
            Language::Cxx => tool::CLANGXX,
        }
    }

    /// The file that holds `main`.
    fn main(self) -> &'static str {
        match self {
            Language::C => "main.c",
            Language::Cxx => "main.cc",
        }
    }
}

/// All of them.
pub const ALL: &[Real] = &[
    Real {
        name: "sqlite",
        language: Language::C,
        package: "libsqlite3-sys",
        folder: "sqlite3",
        sources: &["sqlite3.c"],
        without: &[],
        flags: &[
            "-DSQLITE_THREADSAFE=0",
            "-DSQLITE_OMIT_LOAD_EXTENSION",
            "-DSQLITE_DEFAULT_MEMSTATUS=0",
            "-DSQLITE_ENABLE_MATH_FUNCTIONS",
        ],
        libraries: &["m"],
    },
    Real {
        name: "lua",
        language: Language::C,
        package: "lua-src",
        folder: "lua-5.4.9",
        sources: &["."],
        without: &["lua.c", "luac.c"],
        flags: &["-DLUA_USE_LINUX"],
        libraries: &["m"],
    },
    Real {
        name: "quickjs",
        language: Language::C,
        package: "rquickjs-sys",
        folder: "quickjs",
        sources: &["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"],
        without: &[],
        flags: &["-D_GNU_SOURCE"],
        libraries: &["m"],
    },
    Real {
        name: "zstd",
        language: Language::C,
        package: "zstd-sys",
        folder: "zstd/lib",
        sources: &["common", "compress", "decompress"],
        without: &[],
        flags: &["-DZSTD_DISABLE_ASM"],
        libraries: &[],
    },
    Real {
        name: "bzip2",
        language: Language::C,
        package: "bzip2-sys",
        folder: "bzip2-1.0.8",
        sources: &["blocksort.c", "huffman.c", "crctable.c", "randtable.c", "compress.c", "decompress.c", "bzlib.c"],
        without: &[],
        flags: &["-DBZ_NO_STDIO"],
        libraries: &[],
    },
    // A parser for each of several processors, of which the program takes all that it can run.
    Real {
        name: "simdjson",
        language: Language::Cxx,
        package: "simdjson-sys",
        folder: "vendor/simdjson",
        sources: &["simdjson.cpp"],
        without: &[],
        flags: &["-std=c++17"],
        libraries: &["stdc++", "m"],
    },
];

/// The program of that name.
pub fn named(name: &str) -> Option<&'static Real> {
    ALL.iter().find(|program| program.name == name)
}

impl Real {
    /// Builds it at one level: `modules` are its files, and [`whole`] beside them is all of it in one module.
    ///
    /// # Errors
    ///
    /// When the source cannot be fetched or a compiler refuses it.
    pub fn build(&self, shop: &Workshop, level: Level) -> Result<Built, Error> {
        let folder = shop.vendored(self.package)?.join(self.folder);
        let main = shop.source(format!("programs/{}/{}", self.name, self.language.main()));
        let sources = self.files(&folder)?;
        let mut flags: Vec<OsString> = self.flags.iter().map(OsString::from).collect();
        flags.extend(["-w".into(), "-fPIC".into(), level.flag().into()]);
        // The version is part of the path of a crate's source, and crates do not change within a version.
        let key = Key::new().words(&flags).word(&folder).words(&sources).file(&main)?;
        flags.extend(["-I".into(), folder.into()]);
        let directory = shop.result(&format!("{}-{}", self.name, level.name()), key, |into| {
            self.build_in(into, &flags, level, &main, &sources)
        })?;
        let modules = std::iter::once(&main).chain(&sources).map(|file| directory.join(module_name(file))).collect();
        let libraries = self.libraries.iter().map(ToString::to_string).collect();
        Ok(Built { native: directory.join("native"), modules, libraries, directory })
    }

    fn files(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for source in self.sources {
            let path = folder.join(source);
            if path.is_dir() {
                for entry in std::fs::read_dir(&path).map_err(Error::file(&path))? {
                    files.push(entry.map_err(Error::file(&path))?.path());
                }
            } else {
                files.push(path);
            }
        }
        files.retain(|file| {
            file.extension().is_some_and(|extension| extension == "c" || extension == "cpp")
                && !self.without.iter().any(|name| file.ends_with(name))
        });
        files.sort();
        Ok(files)
    }

    fn build_in(
        &self,
        into: &Path,
        flags: &[OsString],
        level: Level,
        main: &Path,
        sources: &[PathBuf],
    ) -> Result<(), Error> {
        let mut join = Command::new(tool::LLVM_LINK);
        let mut link = Command::new(self.language.compiler());
        link.arg(level.flag()).arg("-o").arg(into.join("native"));
        for file in std::iter::once(main).chain(sources.iter().map(PathBuf::as_path)) {
            let module = into.join(module_name(file));
            run(Command::new(self.language.compiler())
                .args(flags)
                .args(["-c", "-emit-llvm", "-o"])
                .arg(&module)
                .arg(file))?;
            let object = module.with_extension("o");
            run(Command::new(self.language.compiler()).args(flags).args(["-c", "-o"]).arg(&object).arg(file))?;
            join.arg(module);
            link.arg(object);
        }
        run(join.arg("-o").arg(into.join(WHOLE)))?;
        run(link.args(self.libraries.iter().map(|library| format!("-l{library}"))))
    }
}

const WHOLE: &str = "whole.bc";

/// The one module of a whole [`Real`] program.
pub fn whole(built: &Built) -> PathBuf {
    built.directory.join(WHOLE)
}

/// `folder/name.c` becomes `folder.name.bc`: zstd has files of one name in two folders.
fn module_name(file: &Path) -> String {
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    format!("{folder}.{}.bc", file.file_stem().unwrap_or_default().to_string_lossy())
}
