//! `kiln link`: links in memory and runs `main`.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use kiln::{Engine, Input};

use crate::args::LinkOptions;
use crate::{Outcome, report, run};

/// The arguments of a link in a linker's order.
fn inputs(arguments: &[std::ffi::OsString]) -> Vec<Input> {
    let mut inputs = Vec::with_capacity(arguments.len());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        inputs.push(match bytes {
            b"--whole-archive" => Input::WholeArchive(true),
            b"--no-whole-archive" => Input::WholeArchive(false),
            b"-l" => match words.next() {
                Some(name) => Input::Library(name.to_string_lossy().into_owned()),
                None => break,
            },
            [b'-', b'l', name @ ..] => Input::Library(String::from_utf8_lossy(name).into_owned()),
            _ => Input::File(PathBuf::from(word)),
        });
    }
    inputs
}

/// Links, and unless told otherwise has the result run.
pub(crate) fn link(options: LinkOptions) -> Outcome {
    let end = options.words.iter().position(|word| word == "--").unwrap_or(options.words.len());
    let (words, arguments) = options.words.split_at(end);
    let inputs = inputs(words);
    let mut engine_options = report::engine_options(&options.engine);
    engine_options.library_paths = options.library_paths;
    engine_options.prune = options.gc_sections;
    if options.no_run {
        let loaded = Engine::new(engine_options).and_then(|engine| {
            if options.engine.stats {
                engine.report_statistics_at_exit();
            }
            engine.load(&inputs)
        });
        return Outcome::Done(loaded.map_or_else(|error| report::failure(&error), |()| 0));
    }
    let name = words.iter().find(|word| !word.as_bytes().starts_with(b"-"));
    let program = name.map_or_else(|| c"kiln".to_owned(), |name| run::c_string(name.as_bytes()));
    let arguments =
        std::iter::once(program).chain(arguments.iter().skip(1).map(|a| run::c_string(a.as_bytes()))).collect();
    run::load(engine_options, &inputs, arguments, options.engine.stats, Vec::new())
}
