//! `kiln run`: loads a program, which this process then becomes.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use kiln::{Engine, Input};

use crate::args::RunOptions;
use crate::{Outcome, report, watch};

/// Loads the program.
pub(crate) fn run(options: RunOptions) -> Outcome {
    let arguments = options.program.iter().map(|argument| c_string(argument.as_bytes())).collect();
    let program = PathBuf::from(&options.program[0]);
    let files: Vec<_> = std::iter::once(program).chain(options.more).collect();
    let mut inputs: Vec<_> = files.iter().cloned().map(Input::File).collect();
    inputs.extend(options.libraries.into_iter().map(Input::Library));
    let mut engine_options = report::engine_options(&options.engine);
    engine_options.library_paths = options.library_paths;
    let watched = if options.watch { watch::watchable(files) } else { Vec::new() };
    load(engine_options, &inputs, arguments, options.engine.stats, watched)
}

/// Loads `inputs` and finds their `main`.
pub(crate) fn load(
    options: kiln::Options,
    inputs: &[Input],
    arguments: Vec<CString>,
    stats: bool,
    watched: Vec<PathBuf>,
) -> Outcome {
    let loaded = Engine::new(options).and_then(|engine| {
        if stats {
            engine.report_statistics_at_exit();
        }
        engine.report_crashes();
        engine.load(inputs)?;
        let program = engine.program(arguments)?;
        if !watched.is_empty() {
            engine.watch(watched, watch::report)?;
        }
        Ok(program)
    });
    match loaded {
        Ok(program) => Outcome::Program(program),
        Err(error) => Outcome::Done(report::failure(&error)),
    }
}

/// An argument as C has it. The kernel gave it to us as a C string, so it holds no NUL.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}
