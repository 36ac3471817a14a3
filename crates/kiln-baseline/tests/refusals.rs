//! What is left to the optimizer says why, by name; and what looks like it but means nothing for code is compiled.

use std::process::Command;

use kiln_baseline::{CompileError, Compiler};
use kiln_bitcode::FunctionId;

const TEXT: &str = r#"
target triple = "x86_64-unknown-linux-gnu"
declare void @llvm.assume(i1)
declare token @llvm.experimental.convergence.entry()
declare i32 @g(i32)
define i32 @assumes(ptr %p) {
  call void @llvm.assume(i1 true) [ "align"(ptr %p, i64 16), "nonnull"(ptr %p) ]
  %r = load i32, ptr %p
  ret i32 %r
}
define i32 @converges(i32 %x) convergent {
  %t = call token @llvm.experimental.convergence.entry()
  %r = call i32 @g(i32 %x) convergent [ "convergencectrl"(token %t) ]
  ret i32 %r
}
define i32 @kcfi(ptr %f, i32 %x) {
  %r = call i32 %f(i32 %x) [ "kcfi"(i32 1234) ]
  ret i32 %r
}
define i32 @deopt(ptr %f, i32 %x) {
  %r = call i32 %f(i32 %x) [ "deopt"(i32 1234) ]
  ret i32 %r
}
define i32 @ptrauth(ptr %f, i32 %x) {
  %r = call i32 %f(i32 %x) [ "ptrauth"(i32 0, i64 1234) ]
  ret i32 %r
}
define i32 @unknown(ptr %f, i32 %x) {
  %r = call i32 %f(i32 %x) [ "something"(i32 1234) ]
  ret i32 %r
}
define i32 @jumps(i32 %a) {
  callbr void asm "", "r,!i"(i32 %a) to label %x [label %y]
x:
  ret i32 1
y:
  ret i32 2
}
"#;

#[test]
fn every_refusal_has_a_name() {
    let folder = std::env::temp_dir().join(format!("kiln-refusals-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (source, bitcode) = (folder.join("refused.ll"), folder.join("refused.bc"));
    std::fs::write(&source, TEXT).expect("written");
    let status = Command::new("llvm-as-22").arg(&source).arg("-o").arg(&bitcode).status().expect("llvm-as-22");
    assert!(status.success(), "{status}");
    let bytes = std::fs::read(&bitcode).expect("read");
    std::fs::remove_dir_all(&folder).expect("removed");
    let modules = kiln_bitcode::parse(&bytes).expect("parsed");
    let module = &modules[0];
    let mut compiler = Compiler::new();
    let mut found = Vec::new();
    for number in 0..module.functions().len() as u32 {
        let function = module.function(FunctionId(number));
        if function.is_declaration() {
            continue;
        }
        let name = String::from_utf8_lossy(module.str(function.symbol.name)).into_owned();
        let outcome = match compiler.compile(module, &bytes, FunctionId(number)) {
            Ok(_) => "compiled".to_owned(),
            Err(CompileError::Unsupported { what }) => what.to_string(),
            Err(other) => panic!("{name}: {other}"),
        };
        found.push((name, outcome));
    }
    let found: Vec<(&str, &str)> = found.iter().map(|(name, outcome)| (&**name, &**outcome)).collect();
    let expected = [
        ("assumes", "compiled"),
        ("converges", "compiled"),
        ("kcfi", "operand bundle kcfi"),
        ("deopt", "operand bundle deopt"),
        ("ptrauth", "operand bundle ptrauth"),
        ("unknown", "an operand bundle that is not known"),
        ("jumps", "callbr"),
    ];
    assert_eq!(found, expected);
}
