//! The command line: each option's name, help and parsing together; help, completions and manual pages are
//! generated from it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use crate::Status;

const AFTER_HELP: &str = "\
Exit status: that of the program (death by a signal included). 125: Kiln could not start it. 2: wrong usage.

Environment:
  KILN_OPTIMIZER  path of kiln-optimizer (else: beside `kiln`, then on PATH)";

/// An adaptive JIT runtime for LLVM IR.
#[derive(Parser, Debug)]
#[command(name = "kiln", version, about, after_help = AFTER_HELP, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a program from bitcode, IR, objects or source.
    Run(RunOptions),
    /// Link objects, archives and shared libraries in memory, in a linker's order, and run `main`.
    Link(LinkOptions),
    /// Compile a bitcode module to an ELF object with Kiln's own compiler: fast, and without LLVM.
    Compile(CompileOptions),
    /// Find the function that Kiln's own compiler translates wrongly: run the program again and again, with fewer and
    /// fewer functions compiled by it, and compare the output with that of a run where LLVM compiles all.
    Bisect(BisectOptions),
    /// Print what a module, object or archive holds.
    Inspect(InspectOptions),
    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
    /// Print a manual page, for `man -l -` or for a file `kiln.1` below `share/man/man1`.
    Man {
        /// The command whose page to print, `kiln-COMMAND(1)`; without it, that of kiln itself.
        command: Option<String>,
    },
}

/// How much work the optimizer puts into each function.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PipelineChoice {
    /// Fast compiles, code like `clang -O0`.
    #[default]
    Quick,
    /// LLVM's -O2 pipeline.
    Full,
}

/// Which compiler makes functions when they are first called.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TierName {
    /// Kiln's own, in this process; a function that it does not do is an error.
    Baseline,
    /// LLVM, in the optimizer's process.
    Optimizer,
}

/// Where perf finds the names of compiled functions.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PerfChoice {
    /// `/tmp/perf-PID.map`.
    Map,
    /// `jit-PID.dump` in the current directory, for `perf inject --jit`.
    Jitdump,
}

/// Options that concern the process, whatever is loaded into it.
#[derive(Args, Debug)]
pub(crate) struct EngineOptions {
    /// Have all functions compiled by this compiler. By default Kiln's own compiles what it can, and the optimizer is
    /// started for the rest.
    #[arg(long, value_enum, value_name = "TIER")]
    pub(crate) tier: Option<TierName>,

    /// Have each function compiled by one of both compilers at random, to find out whether they work together. The same
    /// SEED chooses the same.
    #[arg(long, value_name = "SEED", conflicts_with = "tier")]
    pub(crate) mix: Option<u64>,

    /// Have the functions with these numbers compiled by Kiln's own compiler and all others by the optimizer.
    #[arg(long, value_name = "FROM..TO", hide = true, value_parser = parse_range, conflicts_with_all = ["tier", "mix"])]
    pub(crate) tier_range: Option<(u32, u32)>,

    /// Pipeline of the optimizer.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pipeline: PipelineChoice,

    /// Print statistics to stderr at exit: functions compiled, time by phase, memory by region.
    #[arg(long)]
    pub(crate) stats: bool,

    /// Keep all code and data below 2 GiB, for objects that are not position independent.
    #[arg(long)]
    pub(crate) low: bool,

    /// Tell debuggers about compiled code and its source lines (GDB JIT interface), and let them put breakpoints there.
    #[arg(long)]
    pub(crate) gdb: bool,

    /// Tell perf about compiled code, with source lines in the form jitdump.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) perf: Option<PerfChoice>,

    /// The optimizer to start.
    #[arg(long, value_name = "PATH", env = "KILN_OPTIMIZER", value_hint = ValueHint::ExecutablePath)]
    pub(crate) optimizer: Option<PathBuf>,

    /// Give up on a function that takes the optimizer longer than this.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) compile_timeout: Duration,

    /// Keep compiled code below SIZE (bytes, or with K, M or G): functions that are not called lose theirs until they are
    /// called again.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) code_limit: Option<u64>,

    /// For debugging: do not use SIZE bytes of freed code again for a while, so that who still uses it traps or faults.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) quarantine: Option<u64>,

    /// Bind NAME to an address, as a linker's --defsym does.
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = parse_defsym)]
    pub(crate) defsym: Vec<(String, u64)>,
}

#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// Load a shared library or archive, found as a linker does: libLIB.so, libLIB.a; `-l :FILE` for an exact name.
    #[arg(short = 'l', value_name = "LIB", allow_hyphen_values = true)]
    pub(crate) libraries: Vec<String>,

    /// Look for libraries in DIR first.
    #[arg(short = 'L', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) library_paths: Vec<PathBuf>,

    /// Load MORE too: .bc, .ll, .o, .a, .so or source.
    #[arg(short = 'i', value_name = "MORE", value_hint = ValueHint::FilePath)]
    pub(crate) more: Vec<PathBuf>,

    /// Take over what is saved in PROGRAM and MORE (source, IR, bitcode) while the program runs: functions that changed are
    /// replaced, variables keep their values.
    #[arg(long)]
    pub(crate) watch: bool,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    /// The program (.bc, .ll, .o, .a, .so, .c, .cc, .rs); everything after it belongs to the program.
    #[arg(value_name = "PROGRAM", value_hint = ValueHint::FilePath, required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) program: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct LinkOptions {
    /// Link, but do not run anything, constructors included.
    #[arg(long)]
    pub(crate) no_run: bool,

    /// Look for libraries in DIR first.
    #[arg(short = 'L', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) library_paths: Vec<PathBuf>,

    /// Leave out what nothing refers to (a linker's --gc-sections).
    #[arg(long)]
    pub(crate) gc_sections: bool,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    /// Objects, archives, bitcode and libraries in a linker's order: FILE, -lLIB, --whole-archive, --no-whole-archive;
    /// after `--` the arguments of the program.
    #[arg(value_name = "FILE|-lLIB|-- ARGS", value_hint = ValueHint::FilePath, required = true, num_args = 1.., allow_hyphen_values = true)]
    pub(crate) words: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct CompileOptions {
    /// Where to write the object; by default beside the module, as .o.
    #[arg(short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,

    /// Leave out the functions that Kiln's compiler does not do, undefined; another object has to define them.
    #[arg(long)]
    pub(crate) partial: bool,

    /// The module.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) module: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct BisectOptions {
    /// What the program reads as standard input; nothing by default.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) stdin: Option<PathBuf>,

    /// Load a shared library or archive, as `kiln run -l` does.
    #[arg(short = 'l', value_name = "LIB", allow_hyphen_values = true)]
    pub(crate) libraries: Vec<String>,

    /// Load MORE too, as `kiln run -i` does.
    #[arg(short = 'i', value_name = "MORE", value_hint = ValueHint::FilePath)]
    pub(crate) more: Vec<PathBuf>,

    /// The program and its arguments.
    #[arg(value_name = "PROGRAM", value_hint = ValueHint::FilePath, required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) program: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct InspectOptions {
    /// The file to look into.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

/// The command line with `-Ldir`, `-lname` and `-ifile` split in two, as every linker takes them: clap would pass them to
/// the program, whose arguments may begin with a hyphen.
pub(crate) fn command_line() -> Vec<OsString> {
    let mut words = std::env::args_os();
    let mut line: Vec<OsString> = words.by_ref().take(2).collect();
    let is_run = line.get(1).is_some_and(|word| word == "run");
    let mut value_follows = false;
    let mut verbatim = !is_run && line.get(1).is_none_or(|word| word != "link");
    for word in words {
        let bytes = word.as_bytes();
        let splits: &[u8] = if is_run { b"Lli" } else { b"L" };
        match bytes {
            _ if verbatim || value_follows => value_follows = false,
            b"--" => verbatim = true,
            [b'-', option, _, ..] if splits.contains(option) => {
                line.push(OsString::from_vec(bytes[..2].to_vec()));
                line.push(OsString::from_vec(bytes[2..].to_vec()));
                continue;
            }
            [b'-', option] if splits.contains(option) => value_follows = true,
            [b'-', b'-', long @ ..] => value_follows = takes_value(long),
            // The program: everything from here on is its own.
            [first, ..] if is_run && *first != b'-' => verbatim = true,
            _ => {}
        }
        line.push(word);
    }
    line
}

/// Whether the long option without its hyphens has a value in the next word.
fn takes_value(long: &[u8]) -> bool {
    let command = Cli::command();
    let run = command.find_subcommand("run");
    run.into_iter().flat_map(clap::Command::get_arguments).any(|argument| {
        argument.get_long().is_some_and(|name| name.as_bytes() == long) && argument.get_action().takes_values()
    })
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A number of bytes; K, M and G are powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" | "KiB" => 1u64 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return Err(format!("{text:?} is not a size like 300000, 512K or 4M")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is not a size like 300000, 512K or 4M"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
}

fn parse_range(text: &str) -> Result<(u32, u32), String> {
    let (from, to) = text.split_once("..").ok_or_else(|| format!("{text:?} is not FROM..TO"))?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
    Ok((number(from)?, number(to)?))
}

fn parse_defsym(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=ADDRESS"))?;
    let parsed = match value.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => value.parse(),
    };
    Ok((name.to_owned(), parsed.map_err(|error| format!("address {value:?}: {error}"))?))
}

/// Prints the completion script for `shell`.
pub(crate) fn completions(shell: clap_complete::Shell) -> Status {
    clap_complete::generate(shell, &mut Cli::command(), "kiln", &mut std::io::stdout());
    0
}

/// Prints the manual page of kiln, or of its command `name`.
pub(crate) fn man(name: Option<&str>) -> Status {
    let mut root = Cli::command();
    root.build();
    let command = match name {
        None => root,
        Some(name) => match root.find_subcommand(name) {
            // Its page is named as git's are: `build` has made it `kiln-COMMAND`.
            Some(command) => command.clone(),
            None => {
                let error = root.error(clap::error::ErrorKind::InvalidValue, format!("kiln has no command {name:?}"));
                let _ = error.print();
                return error.exit_code() as Status;
            }
        },
    };
    match clap_mangen::Man::new(command).render(&mut std::io::stdout()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("kiln: the manual page: {error}");
            1
        }
    }
}
