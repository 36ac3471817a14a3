//! Prints what bitcode files hold: `rows FILE…`.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for file in std::env::args().skip(1) {
        for module in kiln_bitcode::parse(&std::fs::read(&file)?)? {
            for row in kiln_bitcode::rows(&module) {
                writeln!(out, "{row}")?;
            }
        }
    }
    Ok(())
}
