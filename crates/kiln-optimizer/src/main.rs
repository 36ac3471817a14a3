//! Kiln's optimizer process. Started by the runtime; see the crate's documentation.

use std::os::fd::RawFd;
use std::process::ExitCode;

use kiln_optimizer::{Options, llvm_version, serve, socket_from_number};

const HELP: &str = "\
The optimizer process of the Kiln JIT runtime. The runtime starts it by itself.

Usage: kiln-optimizer --connect-fd N [--workers N]

  --connect-fd N   serve the runtime at the other end of socket N, until it closes it
  --workers N      most compile threads (default: one per core, at most 4)
  --version        print the versions of Kiln and LLVM
  --help           print this

Environment:
  KILN_OPTIMIZER_DUMP=DIR   write the IR and the object of each request to DIR

Exit status: 0 the connection was closed, 64 wrong usage, 70 a fatal error inside LLVM, 76 protocol error.
";
/// EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("kiln-optimizer: {message}\nTry 'kiln-optimizer --help'.");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut options = Options { dump: std::env::var_os("KILN_OPTIMIZER_DUMP").map(Into::into), ..Options::default() };
    let mut socket: Option<RawFd> = None;
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize, String> {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a number"))?;
            value.parse().map_err(|_| format!("'{value}' is not a number"))
        };
        match argument.as_str() {
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(());
            }
            "--version" | "-V" => {
                println!("kiln-optimizer {} (LLVM {})", env!("CARGO_PKG_VERSION"), llvm_version());
                return Ok(());
            }
            "--connect-fd" => socket = Some(number()?.try_into().map_err(|_| "no such descriptor")?),
            "--workers" => options.workers_max = number()?.max(1),
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    let number = socket.ok_or("--connect-fd is missing")?;
    let socket = socket_from_number(number).map_err(|error| format!("descriptor {number}: {error}"))?;
    serve(socket, options)
}
