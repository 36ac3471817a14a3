//! `kiln-bench compile`: what the first tier takes for all functions of a module, and how much code it makes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kiln_baseline::Compiler;
use kiln_bench::table::{self, number, row};
use kiln_bitcode::{FunctionId, Linkage, Module};
use kiln_link::Content;

use super::{Result, reader, scratch, succeed};

#[derive(Args)]
pub(crate) struct Arguments {
    /// How often all functions are compiled; the quickest counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    #[command(flatten)]
    files: reader::Files,
}

/// What one round came to.
#[derive(Default)]
struct Round {
    functions: u64,
    refused: u64,
    instructions: u64,
    code_bytes: u64,
    time: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("{}\n", table::cpu());
    let head =
        ["module", "functions", "left out", "instructions", "min ns each", "code KB", "`llc-22 -O0` KB", "ratio"];
    println!("{}", table::head(&head));
    for (name, path) in arguments.files.all()? {
        let bytes = std::fs::read(&path)?;
        let modules = kiln_bitcode::parse(&bytes)?;
        let mut compiler = Compiler::new();
        let mut best: Option<Round> = None;
        for _ in 0..arguments.rounds.max(1) {
            let round = compile(&mut compiler, &modules, &bytes);
            if best.as_ref().is_none_or(|best| round.time < best.time) {
                best = Some(round);
            }
        }
        let best = best.unwrap_or_default();
        let llvm = llvm_bytes(&path)?;
        let cells = [
            name,
            best.functions.to_string(),
            best.refused.to_string(),
            best.instructions.to_string(),
            number(best.time.as_nanos() as f64 / best.instructions.max(1) as f64),
            number(best.code_bytes as f64 / 1e3),
            number(llvm as f64 / 1e3),
            number(best.code_bytes as f64 / llvm.max(1) as f64),
        ];
        println!("{}", row(&cells));
    }
    Ok(())
}

/// Compiles all functions, bodies read from the file each.
fn compile(compiler: &mut Compiler, modules: &[Module], bytes: &[u8]) -> Round {
    let mut round = Round::default();
    let begin = processor_time();
    for module in modules {
        for (id, function) in (0..).map(FunctionId).zip(module.functions()) {
            if function.is_declaration() || function.symbol.linkage == Linkage::AvailableExternally {
                continue;
            }
            round.functions += 1;
            let Ok(code) = compiler.compile(module, bytes, id) else {
                round.refused += 1;
                continue;
            };
            round.instructions += u64::from(code.instructions);
            for (section, content, _) in code.graph.blocks() {
                // Code comes first; what is in other sections is not called code by others either.
                if section == 0
                    && let Content::Bytes(bytes) = content
                {
                    round.code_bytes += bytes.len() as u64;
                }
            }
        }
    }
    round.time = processor_time().saturating_sub(begin);
    round
}

/// Time that this thread had a processor, whatever else runs (clock_gettime(2)).
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Bytes of code that LLVM makes of the same module.
fn llvm_bytes(module: &Path) -> Result<u64> {
    let object = PathBuf::from(scratch("llc.o"));
    let (module, path) = (module.display(), object.display());
    let sizes = format!(
        "llc-22 -O0 -filetype=obj -relocation-model=pic {module} -o {path} && llvm-size-22 -A {path}; rm -f {path}"
    );
    let text = succeed(&sizes)?;
    let code = text.lines().filter(|line| line.starts_with(".text"));
    Ok(code.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}
