//! `kiln-bench reader`: how long `kiln_bitcode::parse_static`, which is what programs are loaded by, takes, by size of
//! the module.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use kiln_bench::corpus::{Level, Workshop, real, ripgrep};
use kiln_bench::table::{self, Samples, ms, number, row};

use super::Result;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Loads per file
    #[arg(long, default_value_t = 101)]
    rounds: usize,
    #[command(flatten)]
    files: Files,
}

/// Modules to measure.
#[derive(Args)]
pub(crate) struct Files {
    /// Without ripgrep, which takes minutes to build
    #[arg(long)]
    quick: bool,
    /// These files instead of the test programs
    files: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "{}\n\n{}",
        table::cpu(),
        table::head(&["module", "MB", "functions", "min ms", "median ms", "min ms per MB"])
    );
    for (name, path) in arguments.files.all()? {
        let bytes: &'static [u8] = std::fs::read(&path)?.leak();
        let mut samples = Samples::default();
        let mut functions = 0;
        for _ in 0..arguments.rounds {
            let start = Instant::now();
            let modules = black_box(kiln_bitcode::parse_static(black_box(bytes))?);
            samples.push(start.elapsed());
            functions = modules.iter().map(|module| module.functions().len()).sum();
        }
        let megabytes = bytes.len() as f64 / 1e6;
        let per_megabyte = samples.min().map_or(0.0, |time| time.as_secs_f64() * 1e3 / megabytes);
        let cells = [
            name,
            number(megabytes),
            functions.to_string(),
            ms(samples.min()),
            ms(samples.median()),
            number(per_megabyte),
        ];
        println!("{}", row(&cells));
    }
    Ok(())
}

impl Files {
    /// Their names and paths; the test programs are built if need be.
    pub(crate) fn all(&self) -> Result<Vec<(String, PathBuf)>> {
        if !self.files.is_empty() {
            return Ok(self.files.iter().map(|path| (path.display().to_string(), path.clone())).collect());
        }
        let shop = Workshop::new();
        let mut files = Vec::new();
        for level in Level::ALL {
            for program in real::ALL {
                let built = program.build(&shop, level)?;
                files.push((format!("{} -{}", program.name, level.name()), real::whole(&built)));
            }
            if !self.quick {
                let built = ripgrep::build(&shop, level)?;
                files.push((format!("ripgrep -{}", level.name()), built.modules[0].clone()));
            }
        }
        Ok(files)
    }
}
