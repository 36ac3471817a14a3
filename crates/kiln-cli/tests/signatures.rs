//! Calls between functions of both compilers: random signatures, each function from one of both at random.
//!
//! A program of calls is made as textual IR. Every callee shows its arguments byte by byte, every caller the result; the
//! native build says what is right. Values come from memory, so that every byte of them differs.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const FUNCTIONS: usize = 150;
const PROGRAMS: u64 = 3;
const MIXES: u64 = 3;

const USUAL: [&str; 13] =
    ["i1", "i8", "i16", "i24", "i32", "i64", "i96", "i128", "float", "double", "x86_fp80", "<4 x float>", "ptr"];
const UNUSUAL: [&str; 24] = [
    "i3",
    "i33",
    "i63",
    "i65",
    "i127",
    "i200",
    "half",
    "fp128",
    "<2 x i64>",
    "<2 x float>",
    "<16 x i8>",
    "<8 x i16>",
    "<8 x float>",
    "{ i128 }",
    "[1 x i128]",
    "{ i8, float }",
    "{ ptr, i32 }",
    "[3 x i16]",
    "{ i64, { [2 x double], x86_fp80 }, i1 }",
    "<{ i8, i64 }>",
    "{ i64, i64, i64 }",
    "{ double, i64 }",
    "[5 x i64]",
    "{}",
];
const BY_VALUE: [&str; 4] = ["[3 x i32]", "{ i64, x86_fp80 }", "[5 x i8]", "[40 x i8]"];

/// `@bits` holds 0 and 1 only: integers whose width is no number of bytes must have clean padding in memory.
const DRIVER: &str = r#"
#include <stdio.h>
#include <string.h>
unsigned char bytes[4096] __attribute__((aligned(64))), bits[4096] __attribute__((aligned(64)));
unsigned char out[512] __attribute__((aligned(64)));
extern void all(void);
void show(int function, int argument, const unsigned char *p) {
  printf("%d.%d ", function, argument);
  for (int i = 0; i < 80; i++) printf("%02x", p[i]);
  puts("");
  memset(out, 0, sizeof out);
}
int main(void) {
  unsigned x = 12345;
  for (int i = 0; i < 4096; i++) {
    x = x * 1103515245 + 12345;
    bytes[i] = x >> 16;
    bits[i] = x >> 20 & 1;
  }
  for (int i = 0; i < 4096; i += 16) bytes[i + 7] = 0xbf, bytes[i + 6] |= 0x80, bytes[i + 9] = 0x3f;
  all();
}
"#;

/// Small deterministic random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    fn value_type(&mut self) -> &'static str {
        if self.below(20) < 13 { self.pick(&USUAL) } else { self.pick(&UNUSUAL) }
    }

    fn result_type(&mut self) -> String {
        match self.below(7) {
            0 => "void".to_owned(),
            1..5 => self.value_type().to_owned(),
            _ => {
                let fields: Vec<&str> = (0..=self.below(4)).map(|_| self.pick(&USUAL)).collect();
                format!("{{ {} }}", fields.join(", "))
            }
        }
    }

    /// An address of values of `ty`.
    fn source(&mut self, ty: &str) -> String {
        let padded = ["i1", "i3", "i33", "i63", "i65", "i127"];
        let words: Vec<&str> = ty.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let area = if padded.iter().any(|p| words.contains(p)) { "bits" } else { "bytes" };
        format!("getelementptr (i8, ptr @{area}, i64 {})", self.below(200) * 16)
    }
}

/// A parameter: its type, its attributes, and what `byval` copies.
struct Parameter {
    ty: &'static str,
    attributes: String,
    copied: Option<&'static str>,
}

fn parameter(random: &mut Random) -> Parameter {
    match random.below(16) {
        0 => {
            let copied = random.pick(&BY_VALUE);
            let align = random.pick(&["8", "16"]);
            Parameter { ty: "ptr", attributes: format!("byval({copied}) align {align}"), copied: Some(copied) }
        }
        1 => {
            let ty = random.pick(&["i1", "i8", "i16", "i24", "i32"]);
            Parameter { ty, attributes: random.pick(&["signext", "zeroext"]).to_owned(), copied: None }
        }
        _ => Parameter { ty: random.value_type(), attributes: String::new(), copied: None },
    }
}

fn program(seed: u64) -> String {
    let mut random = Random(seed);
    let mut text = String::from(
        "target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"\n\
         target triple = \"x86_64-pc-linux-gnu\"\n@bytes = external global [4096 x i8], align 64\n\
         @bits = external global [4096 x i8], align 64\n@out = external global [512 x i8], align 64\n\
         declare void @show(i32, i32, ptr)\n",
    );
    let mut calls = String::new();
    for number in 0..FUNCTIONS {
        let parameters: Vec<Parameter> = (0..random.below(12)).map(|_| parameter(&mut random)).collect();
        let result = random.result_type();
        let convention = random.pick(&["", "fastcc "]);
        let list = parameters.iter().enumerate();
        let list: Vec<String> = list.map(|(at, p)| format!("{} {} %a{at}", p.ty, p.attributes)).collect();
        writeln!(text, "define {convention}{result} @callee{number}({}) noinline {{", list.join(", ")).unwrap();
        for (at, p) in parameters.iter().enumerate() {
            match p.copied {
                Some(ty) => writeln!(text, "  %b{at} = load {ty}, ptr %a{at}\n  store {ty} %b{at}, ptr @out").unwrap(),
                None => writeln!(text, "  store {} %a{at}, ptr @out", p.ty).unwrap(),
            }
            writeln!(text, "  call void @show(i32 {number}, i32 {at}, ptr @out)").unwrap();
        }
        if result == "void" {
            text.push_str("  ret void\n}\n");
        } else {
            let source = random.source(&result);
            writeln!(text, "  %r = load {result}, ptr {source}\n  ret {result} %r\n}}").unwrap();
        }
        writeln!(text, "define void @caller{number}() noinline {{").unwrap();
        let mut arguments = Vec::new();
        for (at, p) in parameters.iter().enumerate() {
            let source = random.source(p.ty);
            if p.copied.is_some() {
                arguments.push(format!("ptr {} {source}", p.attributes));
            } else {
                writeln!(text, "  %v{at} = load {}, ptr {source}", p.ty).unwrap();
                arguments.push(format!("{} {} %v{at}", p.ty, p.attributes));
            }
        }
        let call = format!("call {convention}{result} @callee{number}({})", arguments.join(", "));
        match result.as_str() {
            "void" => writeln!(text, "  {call}").unwrap(),
            _ => writeln!(text, "  %r = {call}\n  store {result} %r, ptr @out").unwrap(),
        }
        writeln!(text, "  call void @show(i32 {number}, i32 99, ptr @out)\n  ret void\n}}").unwrap();
        writeln!(calls, "  call void @caller{number}()").unwrap();
    }
    text + "define void @all() {\n" + &calls + "  ret void\n}\n"
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("clang-22 and LLVM's tools are installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn calls_between_both_compilers_pass_every_value() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("signatures");
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: String| -> PathBuf { folder.join(name) };
    let driver = file("driver.c".to_owned());
    std::fs::write(&driver, DRIVER).unwrap();
    let driver_module = file("driver.bc".to_owned());
    run(Command::new("clang-22").args(["-c", "-emit-llvm"]).arg(&driver).arg("-o").arg(&driver_module));
    for seed in 0..PROGRAMS {
        let (text, module) = (file(format!("calls{seed}.ll")), file(format!("calls{seed}.bc")));
        std::fs::write(&text, program(seed)).unwrap();
        run(Command::new("llvm-as-22").arg(&text).arg("-o").arg(&module));
        let native = file(format!("native{seed}"));
        run(Command::new("clang-22").args(["-w", "-O0"]).arg(&driver).arg(&text).arg("-o").arg(&native));
        let expected = run(&mut Command::new(&native));
        // The first tier leaves some of the types to the optimizer.
        for options in std::iter::once(String::new()).chain((0..MIXES).map(|mix| format!("--mix={mix}"))) {
            let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
            kiln.arg("run").args(options.split_whitespace()).arg("-i").arg(&module).arg(&driver_module);
            let found = run(&mut kiln);
            let differ = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
            assert_eq!(differ, None, "program {seed}, {options:?}: LLVM's first, see {}", text.display());
            assert_eq!(expected.lines().count(), found.lines().count(), "program {seed}, {options:?}");
        }
    }
}
