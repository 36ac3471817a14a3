//! `kiln-bench link`: linking in memory, beside linkers that write a file and llvm-jitlink.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use kiln_bench::corpus::{self, Key, Level, Workshop, real, tool};
use kiln_bench::{generate, table};

use super::{Result, Way, interleave, kiln, present, print, scratch, succeed};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Rounds; every way links once per round
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// These inputs only: cpython, comdats, sqlite, llvm
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
}

/// What is linked.
struct Input {
    files: Vec<PathBuf>,
    libraries: &'static [&'static str],
    driver: &'static str,
    /// Arguments of the program that was linked, to see that it runs.
    args: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let shop = Workshop::new();
    println!("{}\n\n{}", table::cpu(), table::head(&["input", "way", "min ms", "median ms"]));
    let mut notes = Vec::new();
    type Make = fn(&Workshop) -> Result<Option<Input>>;
    let inputs: [(&str, Make); 4] = [("cpython", cpython), ("comdats", comdats), ("sqlite", sqlite), ("llvm", llvm)];
    for (name, make) in inputs {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        let Some(input) = make(&shop)? else {
            notes.push(format!("{name}: its input is not installed here (scripts/setup-llvm.sh --tests)"));
            continue;
        };
        let mut ways = ways(&input)?;
        interleave(&mut ways, arguments.rounds)?;
        print(&ways, name);
        notes.push(format!("{name}: {:.1} MB given, {}", megabytes(&input), runs(&input)?));
    }
    println!("\n{}", notes.join("\n"));
    Ok(())
}

fn megabytes(input: &Input) -> f64 {
    input.files.iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len() as f64 / 1e6).sum()
}

fn ways(input: &Input) -> Result<Vec<Way>> {
    let files = words(&input.files);
    let libraries: String = input.libraries.iter().map(|library| format!(" -l{library}")).collect();
    let mut ways =
        vec![Way::new("`kiln link --no-run`", format!("{} link --no-run {files}{libraries}", kiln()?.display()))];
    let lld = static_link(input)?;
    ways.push(Way::new("`ld.lld-22`", format!("ld.lld-22 {lld}")));
    if present("mold") {
        ways.push(Way::new("`mold`", format!("mold {lld}")));
    }
    if present("llvm-jitlink-22") {
        // These two are in llvm-jitlink's own process, and it does not read the linker script that libm.so is.
        let others = input.libraries.iter().filter(|library| !["m", "stdc++"].contains(*library));
        let libraries: String = others.map(|library| format!(" -l{library}")).collect();
        let directory = "-L/usr/lib/x86_64-linux-gnu";
        ways.push(Way::new(
            "`llvm-jitlink-22 -noexec`",
            format!("llvm-jitlink-22 -noexec {directory} {files}{libraries}"),
        ));
    }
    Ok(ways)
}

fn words(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// The arguments the compiler's driver gives to a linker that makes an executable, in memory where the machine has a
/// file system there.
fn static_link(input: &Input) -> Result<String> {
    let mut driver = Command::new(input.driver);
    driver.args(["-###", "-fuse-ld=lld", "-o", &scratch("linked")]).args(&input.files);
    driver.args(input.libraries.iter().map(|library| format!("-l{library}"))).arg("-lm");
    let done = driver.output()?;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let line =
        text.lines().rfind(|line| line.contains("ld.lld")).ok_or_else(|| format!("{}: no linker", input.driver))?;
    let (_, arguments) = line.trim().split_once("ld.lld\" ").ok_or("an unexpected command of the driver")?;
    Ok(arguments.to_owned())
}

/// Whether what was linked in memory runs as what lld links does.
fn runs(input: &Input) -> Result<&'static str> {
    let files = words(&input.files);
    let libraries: String = input.libraries.iter().map(|library| format!(" -l{library}")).collect();
    succeed(&format!("ld.lld-22 {}", static_link(input)?))?;
    let expected = succeed(&format!("{} {}", scratch("linked"), input.args))?;
    match succeed(&format!("{} link {files}{libraries} -- {}", kiln()?.display(), input.args)) {
        Ok(ours) if ours == expected => Ok("runs as natively"),
        Ok(_) => Ok("runs, with other output than natively"),
        Err(_) => Ok("does not run"),
    }
}

fn object(shop: &Workshop, source: &Path, driver: &str, flags: &[String]) -> Result<PathBuf> {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let key = Key::new().file(source)?.word(driver).words(flags);
    let directory = shop.result(&format!("link-{stem}"), key, |into| {
        corpus::run(
            Command::new(driver).args(["-w", "-fPIC", "-c"]).args(flags).arg(source).arg("-o").arg(into.join("it.o")),
        )
    })?;
    Ok(directory.join("it.o"))
}

fn cpython(shop: &Workshop) -> Result<Option<Input>> {
    let archive = PathBuf::from("/usr/lib/python3.11/config-3.11-x86_64-linux-gnu/libpython3.11-pic.a");
    if !archive.exists() {
        return Ok(None);
    }
    let main = object(shop, &shop.source("programs/link/python.c"), tool::CLANG, &["-O2".to_owned()])?;
    Ok(Some(Input {
        files: vec![main, archive],
        libraries: &["z", "expat", "m"],
        driver: tool::CLANG,
        args: "-S -c 'print(sum(range(1000)))'".to_owned(),
    }))
}

fn comdats(shop: &Workshop) -> Result<Option<Input>> {
    let text = generate::comdats(160);
    let source = shop.result("comdats", Key::new().word(&text), |into| {
        let path = into.join("comdats.cc");
        fs::write(&path, &text).map_err(|source| corpus::Error::File { path, source })
    })?;
    let main = object(shop, &source.join("comdats.cc"), tool::CLANGXX, &["-O1".to_owned()])?;
    Ok(Some(Input { files: vec![main], libraries: &["stdc++", "m"], driver: tool::CLANGXX, args: String::new() }))
}

fn sqlite(shop: &Workshop) -> Result<Option<Input>> {
    let built = real::named("sqlite").ok_or("no sqlite")?.build(shop, Level::O2)?;
    let files = built.modules.iter().map(|module| module.with_extension("o")).collect();
    let args = shop.source("programs/sqlite/short.sql").display().to_string();
    Ok(Some(Input { files, libraries: &["m"], driver: tool::CLANG, args }))
}

fn llvm(shop: &Workshop) -> Result<Option<Input>> {
    let config = |arguments: &[&str]| -> Result<Vec<String>> {
        let done = Command::new("llvm-config-22").args(arguments).output()?;
        Ok(String::from_utf8_lossy(&done.stdout).split_whitespace().map(str::to_owned).collect())
    };
    let mut flags = config(&["--cxxflags"])?;
    flags.push("-O1".to_owned());
    let main = object(shop, &shop.source("programs/link/llvm.cc"), tool::CLANGXX, &flags)?;
    let folder = config(&["--libdir"])?.pop().ok_or("llvm-config-22 names no folder")?;
    let libraries = config(&["--link-static", "--libs", "core", "x86", "asmparser"])?;
    let archives = libraries.iter().filter_map(|library| library.strip_prefix("-l"));
    let mut files = vec![main];
    files.extend(archives.map(|name| Path::new(&folder).join(format!("lib{name}.a"))));
    Ok(Some(Input { files, libraries: &["z", "zstd", "stdc++", "m"], driver: tool::CLANGXX, args: String::new() }))
}
