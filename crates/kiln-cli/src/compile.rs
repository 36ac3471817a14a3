//! `kiln compile`: a bitcode module to an ELF object.

use std::io::Write;

use crate::args::CompileOptions;
use crate::{EXIT_KILN_FAILED, Status, report};

/// Writes the object and says what it lacks.
pub(crate) fn compile(options: &CompileOptions) -> Status {
    let compiled = match kiln::compile_object(&options.module) {
        Ok(compiled) => compiled,
        Err(error) => return report::failure(&error),
    };
    let mut errors = std::io::stderr().lock();
    for (name, reason) in &compiled.left {
        let _ = writeln!(errors, "kiln: {name} is left out: {reason}");
    }
    if !compiled.left.is_empty() && !options.partial {
        let _ = writeln!(errors, "kiln: error: the object would not hold {} functions", compiled.left.len());
        return EXIT_KILN_FAILED;
    }
    let output = options.output.clone().unwrap_or_else(|| options.module.with_extension("o"));
    if let Err(error) = std::fs::write(&output, &compiled.bytes) {
        let _ = writeln!(errors, "kiln: error: cannot write {}: {error}", output.display());
        return EXIT_KILN_FAILED;
    }
    0
}
