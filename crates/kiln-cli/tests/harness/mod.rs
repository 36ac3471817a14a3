//! What the whole-program tests share: running a built program natively and under Kiln, and telling the two apart.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use kiln_bench::corpus::Built;
use kiln_bench::process::{self, Outcome};
use libtest_mimic::Failed;

/// What stands in for `kiln run`, from `KILN_TEST_RUNNER`: to try the tests themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    Kiln,
    /// LLVM's own JIT.
    Lli,
    /// clang turns the bitcode into an executable, which is run.
    Clang,
}

fn runner() -> Runner {
    match std::env::var("KILN_TEST_RUNNER").as_deref() {
        Ok("lli") => Runner::Lli,
        Ok("clang") => Runner::Clang,
        Ok(other) => panic!("KILN_TEST_RUNNER={other}: lli or clang, or unset for kiln"),
        Err(_) => Runner::Kiln,
    }
}

/// Options for every `kiln run`, from `KILN_TEST_OPTIONS`: to run all programs in another way, such as `--pipeline full`.
fn more_options() -> Vec<String> {
    let options = std::env::var("KILN_TEST_OPTIONS").unwrap_or_default();
    options.split_whitespace().map(str::to_owned).collect()
}

/// The `kiln` that cargo built for this test.
pub(crate) fn kiln() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kiln"))
}

/// The optimizer: `KILN_OPTIMIZER`, or the one beside `kiln`, built here so that it is never older than its source.
pub(crate) fn optimizer() -> &'static Path {
    static OPTIMIZER: OnceLock<PathBuf> = OnceLock::new();
    OPTIMIZER.get_or_init(|| {
        if let Some(path) = std::env::var_os("KILN_OPTIMIZER") {
            return path.into();
        }
        let beside = kiln().with_file_name("kiln-optimizer");
        // nextest starts a process per test: there the caller builds it once, beforehand.
        if std::env::var_os("NEXTEST").is_none() || !beside.exists() {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--package", "kiln-optimizer", "--bins"]);
            if kiln().parent().is_some_and(|folder| folder.ends_with("release")) {
                cargo.arg("--release");
            }
            let status = cargo.status().expect("cargo starts");
            assert!(status.success(), "kiln-optimizer does not build");
        }
        beside
    })
}

/// How one run is started.
#[derive(Clone, Default)]
pub(crate) struct Run {
    /// Options of `kiln run`.
    pub(crate) options: Vec<String>,
    /// The program's arguments.
    pub(crate) args: Vec<String>,
    /// Additions to the environment.
    pub(crate) env: Vec<(String, String)>,
    /// Standard input.
    pub(crate) stdin: Vec<u8>,
    /// Where to run; a fresh directory per run if unset.
    pub(crate) directory: Option<PathBuf>,
}

/// Long enough for a debug build of everything on a busy machine; a hang is a failure all the same.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Runs the native executable.
pub(crate) fn native(built: &Built, run: &Run, limit: Duration) -> Result<Outcome, Failed> {
    start(Command::new(&built.native), run, limit)
}

/// Runs `modules` under Kiln; the first holds `main`.
pub(crate) fn under_kiln(built: &Built, modules: &[PathBuf], run: &Run) -> Result<Outcome, Failed> {
    let (main, more) = modules.split_first().ok_or("no module")?;
    let mut command;
    match runner() {
        Runner::Kiln => {
            command = Command::new(kiln());
            command.arg("run").args(&run.options).args(more_options());
            for library in &built.libraries {
                command.args(["-l", library]);
            }
            for module in more {
                command.arg("-i").arg(module);
            }
        }
        Runner::Lli => {
            command = Command::new("lli-22");
            for module in more {
                let object = module.extension().is_some_and(|extension| extension == "o");
                command.arg(if object { "--extra-object" } else { "--extra-module" }).arg(module);
            }
        }
        Runner::Clang => {
            let folder = tempfile::tempdir()?;
            let executable = folder.path().join("program");
            let mut clang = Command::new("clang-22");
            clang.args(["-w", "-O0", "-no-pie", "-rdynamic", "-o"]).arg(&executable).args(modules);
            clang.args(built.libraries.iter().map(|library| format!("-l{library}"))).args(["-lm", "-lgcc_s"]);
            let done = clang.output()?;
            if !done.status.success() {
                return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
            }
            return start(Command::new(&executable), run, LIMIT);
        }
    }
    command.arg(main);
    start(command, run, LIMIT)
}

fn start(mut command: Command, run: &Run, limit: Duration) -> Result<Outcome, Failed> {
    let fresh;
    let directory = match &run.directory {
        Some(directory) => directory,
        None => {
            fresh = tempfile::tempdir()?;
            fresh.path()
        }
    };
    command.args(&run.args).current_dir(directory).env_clear();
    for name in ["PATH", "HOME"] {
        command.env(name, std::env::var_os(name).unwrap_or_default());
    }
    // The native program gets the variable too, so that both see one environment.
    command.env("LANG", "C.UTF-8").env("RUST_BACKTRACE", "0").env("KILN_OPTIMIZER", optimizer());
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    Ok(process::run(command, &run.stdin, limit)?)
}

/// What is compared beside the end and standard output.
#[derive(Clone, Copy, Default)]
pub(crate) struct Compare {
    /// Standard error too.
    pub(crate) stderr: bool,
    /// The lines of standard output in any order: threads print them.
    pub(crate) unordered: bool,
}

/// Fails where the run under Kiln differs from the native one.
pub(crate) fn same(native: &Outcome, ours: &Outcome, compare: Compare) -> Result<(), Failed> {
    if ours.end != native.end {
        return Err(format!("ended with {}, native with {}\n{}", ours.end, native.end, tail(&ours.stderr)).into());
    }
    let order = |bytes: &[u8]| {
        let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if compare.unordered {
            lines.sort();
        }
        lines
    };
    differ("standard output", &order(&native.stdout), &order(&ours.stdout), &ours.stderr)?;
    if compare.stderr {
        differ("standard error", &order(&native.stderr), &order(&ours.stderr), &[])?;
    }
    Ok(())
}

fn differ(what: &str, native: &[Vec<u8>], ours: &[Vec<u8>], stderr: &[u8]) -> Result<(), Failed> {
    let Some(line) = (0..native.len().max(ours.len())).find(|line| native.get(*line) != ours.get(*line)) else {
        return Ok(());
    };
    let show = |lines: &[Vec<u8>]| lines.get(line).map(|text| String::from_utf8_lossy(text).into_owned());
    let (native, ours) = (show(native), show(ours));
    Err(format!("{what}, line {}:\n  native {native:?}\n  kiln   {ours:?}\n{}", line + 1, tail(stderr)).into())
}

/// The end of what a program wrote to standard error.
pub(crate) fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
