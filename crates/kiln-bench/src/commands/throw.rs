//! `kiln-bench throw`: what a throw costs with few and with many functions around.

use clap::Args;
use kiln_bench::generate;
use kiln_bench::table;

use super::generated::{Language, build};
use super::{Result, kiln, succeed};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Numbers of functions
    #[arg(long, value_delimiter = ',', default_value = "100,100000")]
    functions: Vec<usize>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!("{}\n", table::cpu());
    println!("{}", table::head(&["way", "functions", "ns per throw, own frames", "ns per throw, libstdc++'s frames"]));
    let kiln = kiln()?.display().to_string();
    for &count in &arguments.functions {
        let built = build("throw", count, Language::Cxx, &generate::throws(count))?;
        let ways = [
            ("`kiln run`", format!("{kiln} run -l stdc++ -l m {}", built.module.display())),
            ("`kiln link`", format!("{kiln} link {} -lstdc++ -lm", built.object.display())),
            ("native", built.native.display().to_string()),
        ];
        for (way, command) in ways {
            let cells = match succeed(&command) {
                Ok(output) => {
                    let mut words = output.split_whitespace();
                    let mut next = || words.next().unwrap_or("-").to_owned();
                    [way.to_owned(), count.to_string(), next(), next()]
                }
                Err(error) => [way.to_owned(), count.to_string(), "fails".to_owned(), error.to_string()],
            };
            println!("{}", table::row(&cells));
        }
    }
    Ok(())
}
