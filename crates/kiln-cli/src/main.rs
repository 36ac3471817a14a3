//! The `kiln` command.
//!
//! The program runs inside this process, so the process is made to look like the program's own: no Rust runtime
//! start-up (it would ignore SIGPIPE and catch SIGSEGV), no helper threads, and an allocator that shares nothing with
//! libc's `malloc`, because a first call may interrupt that one anywhere.

#![no_main]

mod args;
mod bisect;
mod compile;
mod heap;
mod inspect;
mod link;
mod report;
mod run;
mod watch;

use std::ffi::{c_char, c_int};

use clap::Parser;

use crate::args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: heap::Heap = heap::Heap::new();

/// Exit status when Kiln itself fails before the program starts, as `env` and container runtimes use it.
pub(crate) const EXIT_KILN_FAILED: u8 = 125;

/// The C entry point: does what a subcommand says, then runs the program if there is one.
///
/// Everything that must be dropped lives in [`outcome`]'s frame: `pthread_exit` in the program's `main` unwinds through this
/// one.
// SAFETY: the C runtime calls this name, with this signature; nothing else in the program defines it.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    ALLOCATOR.hold_across_forks();
    match outcome() {
        Outcome::Done(status) => c_int::from(status),
        Outcome::Program(program) => program.run(),
    }
}

/// What a subcommand leaves to be done.
pub(crate) enum Outcome {
    /// Nothing; this is the exit status.
    Done(Status),
    /// To become this program.
    Program(kiln::Program),
}

/// Parses the command line and does what it says, up to a program's start.
fn outcome() -> Outcome {
    let cli = match Cli::try_parse_from(args::command_line()) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return Outcome::Done(error.exit_code() as Status);
        }
    };
    match cli.command {
        Command::Run(options) => run::run(options),
        Command::Link(options) => link::link(options),
        Command::Compile(options) => Outcome::Done(compile::compile(&options)),
        Command::Bisect(options) => Outcome::Done(bisect::bisect(&options)),
        Command::Inspect(options) => Outcome::Done(inspect::inspect(&options)),
        Command::Completions { shell } => Outcome::Done(args::completions(shell)),
        Command::Man { command } => Outcome::Done(args::man(command.as_deref())),
    }
}

/// Exit status of a subcommand that did not hand the process over to a program.
pub(crate) type Status = u8;
