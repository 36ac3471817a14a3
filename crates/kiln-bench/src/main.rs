//! Builds the test programs and prints the rows of `docs/performance.md`.

#![forbid(unsafe_code)]

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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Programs(arguments) => commands::programs::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kiln-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
