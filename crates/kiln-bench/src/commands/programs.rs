//! `kiln-bench programs`: builds test programs and links them under names that stay.

use std::path::{Path, PathBuf};

use clap::Args;
use kiln_bench::corpus::{Built, Level, Workshop, features, real, ripgrep};

use super::Result;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to put links to the results: DIR/NAME/LEVEL.bc and DIR/NAME/LEVEL
    #[arg(long, value_name = "DIR", default_value = "target/programs/by-name")]
    out: PathBuf,
    /// Build these only, by name: sqlite, lua, quickjs, zstd, bzip2, simdjson, ripgrep, features
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// Build at these levels only
    #[arg(long, value_delimiter = ',', default_value = "O0,O2", value_name = "LEVELS")]
    level: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let shop = Workshop::new();
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    for level in Level::ALL.into_iter().filter(|level| arguments.level.iter().any(|name| name == level.name())) {
        for program in real::ALL.iter().filter(|program| wanted(program.name)) {
            let built = program.build(&shop, level)?;
            put(&arguments.out.join(program.name), level, &real::whole(&built), &built)?;
        }
        if wanted("ripgrep") {
            let built = ripgrep::build(&shop, level)?;
            put(&arguments.out.join("ripgrep"), level, &built.modules[0], &built)?;
        }
        if wanted("features") {
            for feature in features::all(&shop)?.iter().filter(|feature| feature.levels.contains(&level)) {
                let built = feature.build(&shop, level)?;
                put(&arguments.out.join(&feature.name), level, &built.modules[0], &built)?;
            }
        }
    }
    Ok(())
}

fn put(folder: &Path, level: Level, module: &Path, built: &Built) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let link = |name: String, to: &Path| -> Result<()> {
        let link = folder.join(name);
        let _ = std::fs::remove_file(&link);
        Ok(std::os::unix::fs::symlink(to, &link)?)
    };
    link(format!("{}.bc", level.name()), module)?;
    link(level.name().to_owned(), &built.native)?;
    println!("{}", folder.join(format!("{}.bc", level.name())).display());
    Ok(())
}
