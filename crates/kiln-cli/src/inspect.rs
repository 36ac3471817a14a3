//! `kiln inspect`: what a file holds.

use std::io::Write;

use crate::args::InspectOptions;
use crate::{EXIT_KILN_FAILED, Status, report};

/// Prints the rows of a module, object or archive.
pub(crate) fn inspect(options: &InspectOptions) -> Status {
    let rows = match kiln::inspect(&options.file) {
        Ok(rows) => rows,
        Err(error) => return report::failure(&error),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for row in rows {
        if writeln!(out, "{row}").is_err() {
            return 0; // A closed pipe: whoever reads has seen enough.
        }
    }
    if out.flush().is_ok() { 0 } else { EXIT_KILN_FAILED }
}
