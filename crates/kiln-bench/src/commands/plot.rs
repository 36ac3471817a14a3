//! `kiln-bench plot`: rows of `kiln-bench replace` and of programs that print the same, as a chart.

use std::path::PathBuf;

use clap::Args;
use kiln_bench::chart::{self, Rows};
use kiln_bench::table;

use super::Result;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files of rows; of several rows for one point the best is drawn
    #[arg(required = true)]
    rows: Vec<PathBuf>,
    /// The chart to write
    #[arg(short, long)]
    output: PathBuf,
    /// Where the rows were measured, if not here
    #[arg(long)]
    machine: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut rows = Rows::default();
    for file in &arguments.rows {
        rows.read(&std::fs::read_to_string(file)?);
    }
    let machine = arguments.machine.clone().unwrap_or_else(table::cpu);
    std::fs::write(&arguments.output, chart::draw(&rows, &machine))?;
    Ok(())
}
