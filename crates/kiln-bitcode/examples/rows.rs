//! Prints what bitcode files hold: `rows FILE…`.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for file in std::env::args().skip(1) {
        let bytes = std::fs::read(&file)?;
        for module in kiln_bitcode::parse(&bytes)? {
            for row in kiln_bitcode::rows(&module) {
                writeln!(out, "{row}")?;
            }
            let mut body = kiln_bitcode::Body::new();
            for (id, _) in module.functions().iter().enumerate().filter(|(_, function)| !function.is_declaration()) {
                module.read_body(&bytes, kiln_bitcode::FunctionId(id as u32), &mut body)?;
                for row in kiln_bitcode::body_rows(&module, &body) {
                    writeln!(out, "{row}")?;
                }
            }
        }
    }
    Ok(())
}
