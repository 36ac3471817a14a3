//! Feature programs: `programs/features/NAME.{c,cc,rs}`, or a folder `NAME/` of several translation units.
//!
//! Lines that start with `//# ` direct the build and the run:
//!
//! | Directive | Meaning | Without it |
//! | --- | --- | --- |
//! | `args: WORDS` | arguments | none |
//! | `env: NAME=VALUE …` | added to the environment | nothing added |
//! | `stdin: TEXT` | standard input, `\n` written so | empty |
//! | `flags: WORDS` | for every compile | none |
//! | `libs: NAMES` | libraries beside those of the language | none |
//! | `exit: N` | the status the native program must end with | 0 |
//! | `signal: N` | the signal it must die by | it may not |
//! | `stderr: compare` | standard error must be equal too | ignored |
//! | `crash: WORDS` | what Kiln's report of the crash must name | no report expected |
//! | `levels: O0` | built at these levels only | both |
//! | `options: WORDS` | options of `kiln run` | none |
//!
//! In a folder the module of `main.c` or `main.cc` comes first; `plugin*.c` become shared libraries, whose directory the
//! program finds in the environment variable `PLUGINS`; `object*.c` and `asm*.s` become objects that are passed along
//! with the modules.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::workshop::{run, tool};
use super::{Built, Error, Key, Level, Workshop};
use crate::process::End;

/// Which compiler a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    C,
    Cxx,
    Rust,
}

impl Language {
    fn of(path: &Path) -> Option<Language> {
        match path.extension()?.to_str()? {
            "c" => Some(Language::C),
            "cc" => Some(Language::Cxx),
            "rs" => Some(Language::Rust),
            _ => None,
        }
    }

    fn compiler(self) -> &'static str {
        match self {
            Language::C => tool::CLANG,
            Language::Cxx => tool::CLANGXX,
            Language::Rust => tool::RUSTC,
        }
    }

    fn libraries(self) -> &'static [&'static str] {
        match self {
            // Of what Rust's standard library needs, the unwinder is part of every process that runs Kiln.
            Language::C | Language::Rust => &[],
            Language::Cxx => &["stdc++", "m"],
        }
    }
}

/// One program and what its directives say.
#[derive(Clone, Debug)]
pub struct Feature {
    /// Its file or folder name without extension.
    pub name: String,
    /// Arguments to run it with.
    pub args: Vec<String>,
    /// Additions to the environment.
    pub env: Vec<(String, String)>,
    /// Its standard input.
    pub stdin: Vec<u8>,
    /// How the native program ends.
    pub end: End,
    /// Whether standard error must be equal too.
    pub compare_stderr: bool,
    /// Words that the report of a crash must hold.
    pub crash_report: Vec<String>,
    /// Options of `kiln run`.
    pub options: Vec<String>,
    /// The levels it is built at.
    pub levels: Vec<Level>,
    flags: Vec<String>,
    libraries: Vec<String>,
    language: Language,
    /// Translation units that become bitcode, the one with `main` first.
    units: Vec<PathBuf>,
    /// Units that become shared libraries.
    plugins: Vec<PathBuf>,
    /// Units that become objects.
    objects: Vec<PathBuf>,
}

/// All feature programs, by name.
///
/// # Errors
///
/// When a file cannot be read or has a directive that does not exist.
pub fn all(shop: &Workshop) -> Result<Vec<Feature>, Error> {
    let folder = shop.source("programs/features");
    let mut features = Vec::new();
    for path in list(&folder)? {
        if path.is_dir() || Language::of(&path).is_some() {
            features.push(Feature::read(&path)?);
        }
    }
    Ok(features)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
        paths.push(entry.map_err(Error::file(folder))?.path());
    }
    paths.sort();
    Ok(paths)
}

impl Feature {
    fn read(path: &Path) -> Result<Feature, Error> {
        let files = if path.is_dir() { list(path)? } else { vec![path.to_path_buf()] };
        let named = |prefix: &str| -> Vec<PathBuf> {
            let in_folder = |file: &&PathBuf| path.is_dir() && file_name(file).starts_with(prefix);
            files.iter().filter(in_folder).cloned().collect()
        };
        let plugins = named("plugin");
        let mut objects = named("object");
        objects.extend(named("asm"));
        let mut units: Vec<PathBuf> = files
            .iter()
            .filter(|file| Language::of(file).is_some() && !plugins.contains(file) && !objects.contains(file))
            .cloned()
            .collect();
        units.sort_by_key(|file| !file_name(file).starts_with("main."));
        let main = units.first().ok_or_else(|| Error::format(path, "no translation unit"))?.clone();
        let mut feature = Feature {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            end: End::Exit(0),
            compare_stderr: false,
            crash_report: Vec::new(),
            options: Vec::new(),
            levels: Level::ALL.to_vec(),
            flags: Vec::new(),
            libraries: Vec::new(),
            language: Language::of(&main).ok_or_else(|| Error::format(&main, "unknown language"))?,
            units,
            plugins,
            objects,
        };
        // A folder with one unit of C++ is a C++ program.
        if feature.units.iter().any(|unit| Language::of(unit) == Some(Language::Cxx)) {
            feature.language = Language::Cxx;
        }
        feature.libraries = feature.language.libraries().iter().map(ToString::to_string).collect();
        let text = std::fs::read_to_string(&main).map_err(Error::file(&main))?;
        for line in text.lines() {
            if let Some(directive) = line.strip_prefix("//# ") {
                feature.direct(directive).map_err(|problem| Error::format(&main, problem))?;
            }
        }
        Ok(feature)
    }

    fn direct(&mut self, directive: &str) -> Result<(), String> {
        let (key, value) = directive.split_once(':').ok_or("a directive is `key: value`")?;
        let value = value.trim();
        let words = || value.split_whitespace().map(str::to_owned);
        let number = || value.parse::<i32>().map_err(|error| format!("{key}: {error}"));
        match key {
            "args" => self.args = words().collect(),
            "env" => {
                for word in words() {
                    let (name, value) = word.split_once('=').ok_or("env: NAME=VALUE")?;
                    self.env.push((name.to_owned(), value.to_owned()));
                }
            }
            "stdin" => self.stdin = value.replace("\\n", "\n").into_bytes(),
            "flags" => self.flags = words().collect(),
            "libs" => self.libraries.extend(words()),
            "exit" => self.end = End::Exit(number()?),
            "signal" => self.end = End::Signal(number()?),
            "stderr" if value == "compare" => self.compare_stderr = true,
            "options" => self.options = words().collect(),
            "crash" => self.crash_report = words().collect(),
            "levels" => self.levels = Level::ALL.into_iter().filter(|l| words().any(|w| w == l.name())).collect(),
            _ => return Err(format!("unknown directive `{directive}`")),
        }
        Ok(())
    }

    /// Builds it at one level.
    ///
    /// # Errors
    ///
    /// When a compiler is missing or refuses it.
    pub fn build(&self, shop: &Workshop, level: Level) -> Result<Built, Error> {
        let mut key = Key::new()
            .word(level.name())
            .words(&self.flags)
            .words(&self.libraries)
            .words(level_flags(level))
            .word(OBJECT_FLAG);
        for file in self.units.iter().chain(&self.plugins).chain(&self.objects) {
            key = key.file(file)?;
        }
        let name = format!("features/{}-{}", self.name, level.name());
        let parent = shop.out().join("features");
        std::fs::create_dir_all(&parent).map_err(Error::file(parent))?;
        let directory = shop.result(&name, key, |into| match self.language {
            Language::Rust => self.build_rust(into, level),
            Language::C | Language::Cxx => self.build_c(into, level),
        })?;
        let mut modules: Vec<PathBuf> = self.units.iter().map(|unit| directory.join(stem(unit) + ".bc")).collect();
        modules.extend(self.objects.iter().map(|unit| directory.join(stem(unit) + ".o")));
        Ok(Built { native: directory.join("native"), modules, libraries: self.libraries.clone(), directory })
    }

    fn build_c(&self, into: &Path, level: Level) -> Result<(), Error> {
        let compile = |unit: &Path| {
            let mut command = Command::new(Language::of(unit).unwrap_or(Language::C).compiler());
            command.args(level_flags(level));
            if self.objects.iter().any(|object| object == unit) {
                command.arg(OBJECT_FLAG);
            }
            command.args(&self.flags).arg("-w").arg(unit);
            command
        };
        for unit in &self.plugins {
            let library = into.join(stem(unit) + ".so");
            run(compile(unit).args(["-shared", "-fPIC", "-o"]).arg(library))?;
        }
        let mut link = Command::new(self.language.compiler());
        link.args(level_flags(level)).args(&self.flags).args(["-rdynamic", "-o"]).arg(into.join("native"));
        for unit in &self.objects {
            let object = into.join(stem(unit) + ".o");
            run(compile(unit).args(["-c", "-o"]).arg(&object))?;
            link.arg(object);
        }
        for unit in &self.units {
            run(compile(unit).args(["-c", "-emit-llvm", "-o"]).arg(into.join(stem(unit) + ".bc")))?;
            let object = into.join(stem(unit) + ".native.o");
            run(compile(unit).args(["-c", "-o"]).arg(&object))?;
            link.arg(object);
        }
        for library in &self.libraries {
            link.arg(format!("-l{library}"));
        }
        run(&mut link)
    }

    /// With fat LTO, `--emit=llvm-bc` writes the module after the standard library was linked in: the whole program.
    fn build_rust(&self, into: &Path, level: Level) -> Result<(), Error> {
        let unit = &self.units[0];
        run(Command::new(tool::RUSTC)
            .args(["--edition=2024", "--cap-lints=allow", "-Clto=fat", "-Ccodegen-units=1", "--emit=llvm-bc,link"])
            .arg(match level {
                Level::O0 => "-Copt-level=0",
                Level::O2 => "-Copt-level=2",
            })
            .args(&self.flags)
            .arg("--out-dir")
            .arg(into)
            .arg(unit))?;
        std::fs::rename(into.join(stem(unit)), into.join("native")).map_err(Error::file(into))
    }
}

/// For objects, unless the flags say otherwise: the last one counts.
const OBJECT_FLAG: &str = "-fPIC";

/// Position-independent where nothing is asked, as distributions configure clang, and with debug information, which the
/// report of a crash uses; the optimised build is not position-independent, so that both kinds of reference to data of
/// shared libraries occur.
fn level_flags(level: Level) -> &'static [&'static str] {
    match level {
        Level::O0 => &["-O0", "-g", "-D_GNU_SOURCE"],
        Level::O2 => &["-O2", "-fno-pic", "-no-pie", "-D_GNU_SOURCE", "-Wno-unused-command-line-argument"],
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
