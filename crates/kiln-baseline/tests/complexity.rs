//! Functions that are large in one way: what takes time by the square, or memory by the product, does not end here.
//!
//! Nothing is timed. The sizes are such that a quadratic step takes minutes, and the stack is that of an engine.

use std::fmt::Write as _;
use std::process::Command;

use kiln_baseline::Compiler;
use kiln_bitcode::FunctionId;

/// Compiles the one function that `text` defines on a thread with a stack of the size that engines have.
fn compile(name: &str, text: &str) {
    let folder = std::env::temp_dir().join(format!("kiln-complexity-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (source, bitcode) = (folder.join("large.ll"), folder.join("large.bc"));
    std::fs::write(&source, text).expect("written");
    let status = Command::new("llvm-as-22").arg(&source).arg("-o").arg(&bitcode).status().expect("llvm-as-22");
    assert!(status.success(), "{name}: {status}");
    let bytes = std::fs::read(&bitcode).expect("read");
    std::fs::remove_dir_all(&folder).expect("removed");
    let done = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        let modules = kiln_bitcode::parse(&bytes).expect("parsed");
        let module = &modules[0];
        let function = (0..).map(FunctionId).find(|id| !module.function(*id).is_declaration()).expect("one");
        Compiler::new().compile(module, &bytes, function).map(|code| code.instructions)
    });
    let instructions = done.expect("a thread").join().expect("no panic");
    assert!(instructions.expect("compiled") > 1000, "{name}");
}

#[test]
fn five_thousand_values_live_through_five_thousand_blocks() {
    const COUNT: usize = 5_000;
    let mut text = String::from("define i64 @f(i64 %n) {\nentry:\n");
    for at in 0..COUNT {
        writeln!(text, "  %v{at} = mul i64 %n, {}", at + 3).unwrap();
    }
    text.push_str("  br label %b0\n");
    for at in 0..COUNT {
        // Every block may also go back to the first one.
        writeln!(text, "b{at}:\n  %c{at} = icmp ult i64 %v{at}, %n").unwrap();
        writeln!(text, "  br i1 %c{at}, label %b0, label %b{}", at + 1).unwrap();
    }
    writeln!(text, "b{COUNT}:").unwrap();
    writeln!(text, "  %s0 = add i64 %v0, 1").unwrap();
    for at in 1..COUNT {
        writeln!(text, "  %s{at} = add i64 %s{}, %v{at}", at - 1).unwrap();
    }
    writeln!(text, "  ret i64 %s{}\n}}", COUNT - 1).unwrap();
    compile("live", &text);
}

#[test]
fn a_phi_of_fifty_thousand_entries() {
    const COUNT: usize = 50_000;
    let mut text = String::from("define i64 @f(i64 %n) {\nentry:\n  switch i64 %n, label %end [\n");
    for at in 1..COUNT {
        writeln!(text, "    i64 {}, label %b{at}", at * 3).unwrap();
    }
    text.push_str("  ]\n");
    for at in 1..COUNT {
        writeln!(text, "b{at}:\n  %v{at} = add i64 %n, {at}\n  br label %end").unwrap();
    }
    text.push_str("end:\n  %p = phi i64 [ 0, %entry ]");
    for at in 1..COUNT {
        write!(text, ", [ %v{at}, %b{at} ]").unwrap();
    }
    text.push_str("\n  ret i64 %p\n}\n");
    compile("phi", &text);
}

#[test]
fn five_thousand_nested_loops() {
    const DEPTH: usize = 5_000;
    let mut text = String::from("define i64 @f(i64 %n) {\nentry:\n  br label %h0\n");
    for at in 0..DEPTH {
        let from = if at == 0 { "entry".to_owned() } else { format!("h{}", at - 1) };
        writeln!(text, "h{at}:\n  %i{at} = phi i64 [ 0, %{from} ], [ %j{at}, %l{at} ]").unwrap();
        let next = if at + 1 < DEPTH { format!("h{}", at + 1) } else { format!("l{at}") };
        writeln!(text, "  br label %{next}").unwrap();
    }
    for at in (0..DEPTH).rev() {
        writeln!(text, "l{at}:\n  %j{at} = add i64 %i{at}, 1\n  %c{at} = icmp ult i64 %j{at}, %n").unwrap();
        let out = if at == 0 { "end".to_owned() } else { format!("l{}", at - 1) };
        writeln!(text, "  br i1 %c{at}, label %h{at}, label %{out}").unwrap();
    }
    text.push_str("end:\n  ret i64 %j0\n}\n");
    compile("nested", &text);
}

#[test]
fn a_switch_of_a_hundred_thousand_cases() {
    let mut text = String::from("define i64 @f(i64 %n) {\nentry:\n  %a = add i64 %n, 1\n");
    // Enough instructions to count as large.
    for at in 0..1000 {
        writeln!(text, "  store volatile i64 %a, ptr @g{}", at % 2).unwrap();
    }
    text.push_str("  switch i64 %a, label %b0 [\n");
    for at in 0..100_000u64 {
        // Sparse and dense stretches.
        let number = if at % 64 < 32 { at } else { at * 1_000_003 };
        writeln!(text, "    i64 {number}, label %b{}", at % 16).unwrap();
    }
    text.push_str("  ]\n");
    for at in 0..16 {
        writeln!(text, "b{at}:\n  ret i64 {at}").unwrap();
    }
    text.push_str("}\n@g0 = global i64 0\n@g1 = global i64 0\n");
    compile("switch", &text);
}

#[test]
fn a_chain_of_addresses_and_comparisons() {
    const COUNT: usize = 50_000;
    let mut text = String::from("define i64 @f(ptr %p, i64 %n) {\nentry:\n  %g0 = getelementptr i8, ptr %p, i64 %n\n");
    for at in 1..COUNT {
        writeln!(text, "  %g{at} = getelementptr i8, ptr %g{}, i64 %n", at - 1).unwrap();
    }
    writeln!(text, "  %v = load i64, ptr %g{}\n  ret i64 %v\n}}", COUNT - 1).unwrap();
    compile("chain", &text);
}
