//! `kiln-bench functions`: memory and mappings per one-line function.
//!
//! The program reports its own resident memory and mappings, at the start of `main` and after it has called every
//! function. What a function costs is the difference between a program with many and one with few.

use clap::Args;
use kiln_bench::generate;
use kiln_bench::table::{self, number};

use super::generated::{Language, build};
use super::{Result, kiln, succeed};

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many functions
    #[arg(long, default_value_t = 100_000)]
    functions: usize,
}

/// With how few the many are compared.
const FEW: usize = 100;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let count = arguments.functions;
    println!("{}\n", table::cpu());
    println!(
        "{}",
        table::head(&[
            &format!("{count} functions"),
            "bytes per function, none called",
            "bytes per function, all called",
            "mappings at the end",
            &format!("mappings with {FEW} functions"),
        ])
    );
    let kiln = kiln()?.display().to_string();
    let [few, many] = [FEW, count].map(|count| build("functions", count, Language::C, &generate::one_liners(count)));
    let (few, many) = (few?, many?);
    let ways = [
        ("`kiln run`", format!("{kiln} run {}", few.module.display()), format!("{kiln} run {}", many.module.display())),
        (
            "`kiln link`",
            format!("{kiln} link {}", few.object.display()),
            format!("{kiln} link {}", many.object.display()),
        ),
        ("native", few.native.display().to_string(), many.native.display().to_string()),
    ];
    for (way, few, many) in ways {
        let (few, many) = (Report::of(&few)?, Report::of(&many)?);
        let per_function = |at: usize| number((many.bytes[at] - few.bytes[at]) / (count - FEW) as f64);
        let cells =
            [way.to_owned(), per_function(0), per_function(1), many.mappings.to_string(), few.mappings.to_string()];
        println!("{}", table::row(&cells));
    }
    Ok(())
}

/// What the program prints.
struct Report {
    /// Resident bytes before and after the calls.
    bytes: [f64; 2],
    /// Mappings after them.
    mappings: u64,
}

impl Report {
    fn of(command: &str) -> Result<Report> {
        let output = succeed(command)?;
        let field = |line: &str, at: usize| -> Result<f64> {
            let line = output.lines().find(|text| text.starts_with(line)).ok_or("the program reports nothing")?;
            Ok(line.split_whitespace().nth(at).ok_or("a short report")?.parse()?)
        };
        Ok(Report { bytes: [field("before", 1)?, field("after", 1)?], mappings: field("after", 2)? as u64 })
    }
}
