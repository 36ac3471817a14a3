//! Builds the test programs and prints the rows of `docs/performance.md`.

#![deny(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build test programs: bitcode and native executables
    Programs(commands::programs::Arguments),
    /// Time from start to end of short runs, beside clang and lli
    Start(commands::start::Arguments),
    /// Time to link in memory, beside lld, mold and llvm-jitlink
    Link(commands::link::Arguments),
    /// Time to load bitcode modules
    Reader(commands::reader::Arguments),
    /// Time that the first tier takes per instruction, and its code's size beside LLVM's
    Compile(commands::compile::Arguments),
    /// Run time of the first tier's code beside native code
    Kernels(commands::kernels::Arguments),
    /// Cost of a throw with few and with many functions
    Throw(commands::throw::Arguments),
    /// Calls per second of a function that is replaced again and again
    Replace(commands::replace::Arguments),
    /// Draw rows of `replace` as a chart
    Plot(commands::plot::Arguments),
    /// Memory and mappings per function
    Functions(commands::functions::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Programs(arguments) => commands::programs::run(&arguments),
        Command::Start(arguments) => commands::start::run(&arguments),
        Command::Link(arguments) => commands::link::run(&arguments),
        Command::Reader(arguments) => commands::reader::run(&arguments),
        Command::Compile(arguments) => commands::compile::run(&arguments),
        Command::Kernels(arguments) => commands::kernels::run(&arguments),
        Command::Throw(arguments) => commands::throw::run(&arguments),
        Command::Replace(arguments) => commands::replace::run(&arguments),
        Command::Plot(arguments) => commands::plot::run(&arguments),
        Command::Functions(arguments) => commands::functions::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kiln-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
