//! What the reader lets through, however odd, is laid out or refused: nothing panics.

#[path = "../../kiln-bitcode/tests/support/mutate.rs"]
#[allow(dead_code, reason = "one file for the tests of two crates, which use a part each")]
mod mutate;

use std::path::Path;
use std::process::Command;

use kiln_abi::{ExecutorAddr, FunctionId};
use kiln_baseline::data::{Images, Stubs, module_data};
use kiln_bitcode::AliasId;
use mutate::{Random, mutate};

struct NoStubs;

impl Stubs for NoStubs {
    fn function(&self, _: FunctionId) -> ExecutorAddr {
        ExecutorAddr::NULL
    }

    fn ifunc(&self, _: AliasId) -> ExecutorAddr {
        ExecutorAddr::NULL
    }
}

#[test]
fn damaged_modules_are_laid_out_or_refused() {
    let sources = [
        "kiln-bitcode/tests/modules/constants.ll",
        "kiln-bitcode/tests/modules/symbols.ll",
        "kiln-baseline/tests/modules/globals.ll",
    ];
    let corpus: Vec<Vec<u8>> = sources
        .iter()
        .enumerate()
        .map(|(n, source)| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(source);
            let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("damaged{n}.bc"));
            let mut assembler = Command::new("llvm-as-22");
            assert!(assembler.arg("-disable-verify").arg(source).arg("-o").arg(&out).status().unwrap().success());
            std::fs::read(out).unwrap()
        })
        .collect();
    let mut random = Random(3);
    let (mut laid_out, mut refused) = (0, 0);
    for round in 0..20_000 {
        let bytes = mutate(&mut random, &corpus[round % corpus.len()], &corpus[0]);
        let Ok(modules) = kiln_bitcode::parse(&bytes) else { continue };
        for module in &modules {
            match module_data(module, &NoStubs, &Images::default()) {
                Ok(_) => laid_out += 1,
                Err(error) => refused += usize::from(!error.to_string().is_empty()),
            }
        }
    }
    assert!(laid_out > 100 && refused > 100, "{laid_out} laid out, {refused} refused");
}
