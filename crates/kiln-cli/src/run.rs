//! `kiln run`: loads a program and becomes it.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use kiln::{Engine, Input};

use crate::args::RunOptions;
use crate::{Status, report};

/// Runs the program; returns only if it could not be started.
pub(crate) fn run(options: RunOptions) -> Status {
    let arguments = options.program.iter().map(|argument| c_string(argument.as_bytes())).collect();
    let program = PathBuf::from(&options.program[0]);
    let mut inputs = vec![Input::File(program)];
    inputs.extend(options.more.into_iter().map(Input::File));
    inputs.extend(options.libraries.into_iter().map(Input::Library));
    let mut engine_options = report::engine_options(&options.engine);
    engine_options.library_paths = options.library_paths;
    start(engine_options, &inputs, arguments, options.engine.stats)
}

/// Loads `inputs` and runs their `main`; returns only if that was not possible.
pub(crate) fn start(options: kiln::Options, inputs: &[Input], arguments: Vec<CString>, stats: bool) -> Status {
    let engine = match Engine::new(options) {
        Ok(engine) => engine,
        Err(error) => return report::failure(&error),
    };
    if stats {
        engine.report_statistics_at_exit();
    }
    engine.report_crashes();
    if let Err(error) = engine.load(inputs) {
        return report::failure(&error);
    }
    match engine.run_main(arguments) {
        Ok(never) => match never {},
        Err(error) => report::failure(&error),
    }
}

/// An argument as C has it. The kernel gave it to us as a C string, so it holds no NUL.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}
