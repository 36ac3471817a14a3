//! Finds LLVM 22, compiles the shim and says what to link.

use std::path::{Path, PathBuf};
use std::process::Command;

const LLVM_MAJOR: &str = "22";
const COMPONENTS: [&str; 9] =
    ["x86", "bitreader", "bitwriter", "irreader", "asmparser", "passes", "codegen", "coroutines", "object"];
const SOURCES: [&str; 5] =
    ["shim/context.cpp", "shim/module.cpp", "shim/lines.cpp", "shim/batch.cpp", "shim/normalise.cpp"];

fn main() {
    println!("cargo::rerun-if-env-changed=LLVM_CONFIG");
    println!("cargo::rerun-if-changed=shim");
    let config = match find_config() {
        Ok(config) => config,
        Err(tried) => {
            println!(
                "cargo::error=kiln-optimizer needs LLVM {LLVM_MAJOR} (tried {tried}). On Debian and Ubuntu: apt-get \
                 install llvm-{LLVM_MAJOR}-dev libpolly-{LLVM_MAJOR}-dev libzstd-dev; elsewhere set LLVM_CONFIG to \
                 LLVM {LLVM_MAJOR}'s llvm-config"
            );
            return;
        }
    };
    let dynamic = std::env::var_os("CARGO_FEATURE_DYNAMIC_LLVM").is_some();
    if let Err(message) = compile(&config).and_then(|()| link(&config, dynamic)) {
        println!("cargo::error={message}");
    }
}

fn find_config() -> Result<PathBuf, String> {
    let candidates = match std::env::var_os("LLVM_CONFIG") {
        Some(path) => vec![PathBuf::from(path)],
        None => vec![
            format!("llvm-config-{LLVM_MAJOR}").into(),
            format!("/usr/lib/llvm-{LLVM_MAJOR}/bin/llvm-config").into(),
            "llvm-config".into(),
        ],
    };
    let is_right = |config: &PathBuf| {
        run(config, &["--version"]).is_ok_and(|version| version.split('.').next() == Some(LLVM_MAJOR))
    };
    let tried = candidates.iter().map(|c| c.display().to_string()).collect::<Vec<_>>().join(", ");
    candidates.into_iter().find(is_right).ok_or(tried)
}

fn run(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{} {} failed", program.display(), arguments.join(" ")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn compile(config: &Path) -> Result<(), String> {
    let mut build = cc::Build::new();
    // The linking of libstdc++ is ours to say, see below.
    build.cpp(true).cpp_link_stdlib(None).files(SOURCES).opt_level(2).warnings(false).debug(false);
    for flag in run(config, &["--cxxflags"])?.split_whitespace() {
        match flag.strip_prefix("-I") {
            // As a system directory: LLVM's headers are not ours to get clean of warnings.
            Some(directory) => build.flag("-isystem").flag(directory),
            None => build.flag(flag),
        };
    }
    build.flag("-Wall").flag("-Wno-unused-parameter");
    build.try_compile("kiln_shim").map_err(|error| format!("cannot compile the LLVM shim: {error}"))
}

fn link(config: &Path, dynamic: bool) -> Result<(), String> {
    let mode = if dynamic { "--link-shared" } else { "--link-static" };
    println!("cargo::rustc-link-search=native={}", run(config, &["--libdir"])?);
    let libs = run(config, &[&["--libs", mode][..], &COMPONENTS].concat())
        .map_err(|error| format!("{error}; apt-get install libpolly-{LLVM_MAJOR}-dev libzstd-dev"))?;
    let kind = if dynamic { "dylib" } else { "static:-bundle" };
    for library in libs.split_whitespace().filter_map(|flag| flag.strip_prefix("-l")) {
        println!("cargo::rustc-link-lib={kind}={library}");
    }
    if !dynamic {
        let system = run(config, &["--system-libs", "--link-static"])?;
        // As needed: of these only zlib and zstd are really used.
        println!("cargo::rustc-link-arg=-Wl,--as-needed");
        for flag in system.split_whitespace() {
            println!("cargo::rustc-link-arg={flag}");
        }
    }
    static_libstdcxx();
    // lld links LLVM's archives in a third of the time.
    let bindir = run(config, &["--bindir"])?;
    if Path::new(&bindir).join("ld.lld").exists() {
        println!("cargo::rustc-link-arg=-B{bindir}");
        println!("cargo::rustc-link-arg=-fuse-ld=lld");
    }
    Ok(())
}

/// Links libstdc++ statically where there is an archive: it saves a millisecond of each start.
fn static_libstdcxx() {
    let archive = Command::new("c++").arg("-print-file-name=libstdc++.a").output();
    let archive = archive.ok().map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    match archive.as_deref().filter(|path| path.is_absolute()).and_then(Path::parent) {
        Some(directory) => {
            println!("cargo::rustc-link-search=native={}", directory.display());
            println!("cargo::rustc-link-lib=static:-bundle=stdc++");
        }
        None => println!("cargo::rustc-link-lib=dylib=stdc++"),
    }
}
