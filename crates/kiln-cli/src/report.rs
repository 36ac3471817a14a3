//! What the subcommands have in common: engine options and error messages.

use kiln::{Options, PerfFormat, Pipeline, Tier, TierChoice};

use crate::args::{EngineOptions, PerfChoice, PipelineChoice, TierName};
use crate::{EXIT_KILN_FAILED, Status};

/// The engine's options as the command line gives them.
pub(crate) fn engine_options(options: &EngineOptions) -> Options {
    let mut engine = Options::default();
    engine.tier = match (options.tier, options.mix) {
        _ if let Some((from, to)) = options.tier_range => TierChoice::Range { from, to },
        (Some(TierName::Baseline), _) => TierChoice::Only(Tier::Baseline),
        (Some(TierName::Optimizer), _) => TierChoice::Only(Tier::Optimizer),
        (None, Some(seed)) => TierChoice::Mix { seed },
        (None, None) => TierChoice::BaselineFirst,
    };
    engine.pipeline = match options.pipeline {
        PipelineChoice::Quick => Pipeline::Quick,
        PipelineChoice::Full => Pipeline::Full,
    };
    engine.low_2gib = options.low;
    engine.debugger = options.gdb;
    engine.perf = options.perf.map(|format| match format {
        PerfChoice::Map => PerfFormat::Map,
        PerfChoice::Jitdump => PerfFormat::Jitdump,
    });
    engine.optimizer = options.optimizer.clone();
    engine.compile_timeout = options.compile_timeout;
    engine.code_limit = options.code_limit;
    engine.quarantine_bytes = options.quarantine.unwrap_or(0);
    engine.absolute_symbols = options.defsym.clone();
    engine
}

/// Says why Kiln cannot go on.
pub(crate) fn failure(error: &dyn std::error::Error) -> Status {
    let text = error.to_string();
    let mut lines = text.lines();
    eprintln!("kiln: error: {}", lines.next().unwrap_or_default());
    for line in lines {
        eprintln!("kiln:        {line}");
    }
    EXIT_KILN_FAILED
}
