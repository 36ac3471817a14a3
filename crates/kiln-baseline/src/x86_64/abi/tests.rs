//! Every place is compared with the one that LLVM chooses: the judge is the machine code `llc-22` has after instruction
//! selection, where registers of arguments and results are still named.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use kiln_bitcode::Module;

use super::*;

const SCALARS: [&str; 12] =
    ["i1", "i8", "i16", "i24", "i32", "i64", "i96", "i128", "float", "double", "x86_fp80", "<4 x float>"];

const OTHERS: [&str; 26] = [
    "i3",
    "i33",
    "i63",
    "i65",
    "i127",
    "i200",
    "i256",
    "ptr",
    "half",
    "bfloat",
    "fp128",
    "<2 x i64>",
    "<2 x float>",
    "<8 x i1>",
    "<8 x float>",
    "<3 x i64>",
    "{}",
    "{ i128 }",
    "[1 x i128]",
    "<1 x i128>",
    "{ i8, float }",
    "{ ptr, i32 }",
    "[3 x i16]",
    "{ i64, { [2 x double], x86_fp80 }, i1 }",
    "<{ i8, i64 }>",
    "[2 x { half, [0 x i64], <2 x i8> }]",
];

/// What one function of the module is, apart from its body.
#[derive(Clone, Default)]
struct Case {
    result: String,
    /// Type and attributes of each argument.
    arguments: Vec<String>,
    variadic: bool,
    features: &'static str,
}

impl Case {
    fn returning(result: impl Into<String>) -> Self {
        Case { result: result.into(), ..Case::default() }
    }

    fn taking<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Case {
            result: "void".to_owned(),
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            ..Case::default()
        }
    }
}

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
}

/// What LLVM says about one function.
#[derive(Default, Debug)]
struct Lowered {
    registers: Vec<String>,
    stack: Vec<u32>,
    returned: Vec<String>,
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kiln-abi-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    folder
}

/// Textual IR with a function for every case, each using all its arguments.
fn source(cases: &[Case]) -> String {
    let mut text = String::from(
        "target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"\n\
         target triple = \"x86_64-unknown-linux-gnu\"\n@sink = global i8 0\n",
    );
    for (index, case) in cases.iter().enumerate() {
        write!(text, "define {} @f{index}(", case.result).unwrap();
        for (at, argument) in case.arguments.iter().enumerate() {
            write!(text, "{}{argument} %a{at}", if at > 0 { ", " } else { "" }).unwrap();
        }
        let tail = match (case.variadic, case.arguments.is_empty()) {
            (true, true) => "...",
            (true, false) => ", ...",
            _ => "",
        };
        writeln!(text, "{tail}) \"target-features\"=\"{}\" {{", case.features).unwrap();
        for (at, argument) in case.arguments.iter().enumerate() {
            // The type is what comes before the attributes.
            let ty = argument.split_once(" byval").or(argument.split_once(" nest")).or(argument.split_once(" sret"));
            let ty = ty.or(argument.split_once(" signext")).or(argument.split_once(" zeroext"));
            let ty = ty.or(argument.split_once(" inreg")).map_or(argument.as_str(), |(ty, _)| ty);
            writeln!(text, "  store volatile {ty} %a{at}, ptr @sink").unwrap();
        }
        let ty = case.result.trim_start_matches("zeroext ").trim_start_matches("signext ");
        if ty == "void" {
            text.push_str("  ret void\n}\n");
        } else {
            writeln!(text, "  %r = load volatile {ty}, ptr @sink\n  ret {ty} %r\n}}").unwrap();
        }
    }
    text
}

fn run(command: &mut Command) {
    let output = command.output().expect("the tools of LLVM 22 are installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Our module of the cases and LLVM's code for them.
fn judge(name: &str, cases: &[Case]) -> (Module, Vec<Lowered>) {
    let folder = folder(name);
    let (text, bitcode, machine) = (folder.join("cases.ll"), folder.join("cases.bc"), folder.join("cases.mir"));
    std::fs::write(&text, source(cases)).unwrap();
    run(Command::new("llvm-as-22").arg(&text).arg("-o").arg(&bitcode));
    run(Command::new("llc-22").arg("-stop-after=finalize-isel").arg(&bitcode).arg("-o").arg(&machine));
    let module = kiln_bitcode::parse(&std::fs::read(&bitcode).unwrap()).unwrap().remove(0);
    let lowered = parse_machine_code(&std::fs::read_to_string(&machine).unwrap());
    assert_eq!(lowered.len(), cases.len());
    std::fs::remove_dir_all(&folder).unwrap();
    (module, lowered)
}

fn parse_machine_code(text: &str) -> Vec<Lowered> {
    let mut all: Vec<Lowered> = Vec::new();
    let mut incoming = false;
    for line in text.lines() {
        if line.starts_with("name:") {
            all.push(Lowered::default());
        }
        if !line.starts_with(' ') {
            incoming = line.starts_with("fixedStack:");
        }
        let Some(lowered) = all.last_mut() else { continue };
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("- { reg: '$") {
            lowered.registers.push(rest.split('\'').next().unwrap().to_owned());
        } else if incoming && let Some((_, rest)) = line.split_once(" offset: ") {
            lowered.stack.push(rest.split(',').next().unwrap().parse().unwrap());
        } else if let Some(rest) = line.strip_prefix("RET 0") {
            let operands = rest.split(", ").filter(|operand| !operand.is_empty());
            lowered.returned = operands.map(|operand| operand.replace("killed ", "").replace('$', "")).collect();
        }
    }
    for lowered in &mut all {
        lowered.stack.sort_unstable();
    }
    all
}

/// Number and width of a general register by its name.
fn general(name: &str) -> Option<(u8, u8)> {
    const NAMES: [[&str; 4]; 9] = [
        ["al", "ax", "eax", "rax"],
        ["cl", "cx", "ecx", "rcx"],
        ["dl", "dx", "edx", "rdx"],
        ["sil", "si", "esi", "rsi"],
        ["dil", "di", "edi", "rdi"],
        ["r8b", "r8w", "r8d", "r8"],
        ["r9b", "r9w", "r9d", "r9"],
        ["r10b", "r10w", "r10d", "r10"],
        ["r11b", "r11w", "r11d", "r11"],
    ];
    const NUMBERS: [u8; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];
    NAMES.iter().zip(NUMBERS).find_map(|(names, number)| {
        let width = names.iter().position(|n| *n == name)?;
        Some((number, 8 << width))
    })
}

fn place(name: &str) -> Place {
    if let Some((number, _)) = general(name) {
        return Place::General(number);
    }
    if name.starts_with('%') {
        return Place::X87(u8::MAX); // Which one follows from the order.
    }
    let number = name.trim_start_matches("xmm").trim_start_matches("ymm");
    Place::Vector(number.parse().unwrap_or_else(|_| panic!("register {name}")))
}

fn check(name: &str, cases: &[Case]) {
    let (module, lowered) = judge(name, cases);
    let mut signature = Signature::default();
    let mut scratch = Scratch::default();
    let mut differences = Vec::new();
    let mut refused: HashMap<Refusal, u32> = HashMap::new();
    for ((case, lowered), function) in cases.iter().zip(&lowered).zip(module.functions()) {
        let attributes = module.attributes(function.attributes);
        let asked = Asked {
            function: function.symbol.value_type,
            extra: &[],
            convention: 0,
            attributes: &[attributes],
            vectors: Vectors::of(attributes),
        };
        if let Err(refusal) = signature.classify(&module, &asked, &mut scratch) {
            *refused.entry(refusal).or_default() += 1;
            continue;
        }
        differences.extend(compare(case, &signature, lowered).err());
    }
    assert!(refused.is_empty(), "{refused:?}");
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?}, LLVM {theirs:?}")) }
}

fn compare(case: &Case, signature: &Signature, lowered: &Lowered) -> Result<(), String> {
    let dots = if case.variadic { ", ..." } else { "" };
    let what = format!("{} ({}{dots}) {}", case.result, case.arguments.join(", "), case.features);
    let mut registers: Vec<Place> = Vec::new();
    if signature.demoted {
        registers.push(Place::General(ARGUMENT_REGISTERS[0]));
    }
    let mut stack = Vec::new();
    for part in &signature.arguments {
        match part.place {
            Place::Stack(offset) => stack.push(offset),
            place => registers.push(place),
        }
    }
    stack.sort_unstable();
    let expected: Vec<Place> = lowered.registers.iter().map(|name| place(name)).collect();
    same(&format!("registers of {what}"), registers, expected)?;
    same(&format!("stack of {what}"), &stack, &lowered.stack)?;

    let expected: Vec<Place> = lowered.returned.iter().map(|name| place(name)).collect();
    if signature.demoted || signature.sret.is_some() {
        return same(&format!("address of the result of {what}"), vec![Place::General(0)], expected);
    }
    let unnumbered = |part: &Part| match part.place {
        Place::X87(_) => Place::X87(u8::MAX),
        place => place,
    };
    let found: Vec<Place> = signature.results.iter().map(unnumbered).collect();
    same(&format!("result of {what}"), found, expected)?;
    for (part, name) in signature.results.iter().zip(&lowered.returned).filter(|(part, _)| part.bit == 0) {
        let (Kind::Integer { bits, extend }, Some((_, width))) = (part.kind, general(name)) else { continue };
        let to = match extend {
            Extend::None => bits.next_power_of_two().max(8),
            Extend::Zero(to) | Extend::Sign(to) => to,
        };
        same(&format!("width of a result of {what}"), to, width)?;
    }
    Ok(())
}

/// Structures of up to three fields, all of them; of four and five, a sample.
fn structures() -> Vec<String> {
    let mut all: Vec<Vec<&str>> = vec![vec![]];
    let mut last: Vec<Vec<&str>> = all.clone();
    for _ in 0..3 {
        last = last
            .iter()
            .flat_map(|fields| SCALARS.iter().map(move |field| [fields.as_slice(), &[*field]].concat()))
            .collect();
        all.extend(last.iter().cloned());
    }
    let mut random = Random(1);
    for _ in 0..800 {
        let count = 4 + random.below(2);
        all.push((0..count).map(|_| random.pick(&SCALARS)).collect());
    }
    all.iter().map(|fields| format!("{{ {} }}", fields.join(", "))).collect()
}

#[test]
fn results_of_structures_travel_as_llvm_has_them() {
    let cases: Vec<Case> = structures().into_iter().map(Case::returning).collect();
    check("results", &cases);
}

#[test]
fn results_of_every_type_travel_as_llvm_has_them() {
    let mut cases: Vec<Case> = SCALARS.iter().chain(&OTHERS).map(|ty| Case::returning(*ty)).collect();
    for ty in ["i1", "i3", "i8", "i16", "i24", "i32", "i33", "i63", "i64"] {
        cases.push(Case::returning(format!("zeroext {ty}")));
        cases.push(Case::returning(format!("signext {ty}")));
    }
    let mut random = Random(2);
    for _ in 0..500 {
        let fields: Vec<&str> = (0..=random.below(5)).map(|_| random.pick(&OTHERS)).collect();
        cases.push(Case::returning(format!("{{ {} }}", fields.join(", "))));
    }
    check("types", &cases);
}

#[test]
fn vectors_travel_as_llvm_has_them() {
    let elements = ["i1", "i2", "i4", "i8", "i12", "i16", "i24", "i32", "i40", "i64", "i128", "ptr"];
    let floats = ["half", "bfloat", "float", "double", "x86_fp80", "fp128"];
    let mut cases = Vec::new();
    for element in elements.iter().chain(&floats) {
        for count in (1..=17).chain([24, 31, 32, 33, 64]) {
            let ty = format!("<{count} x {element}>");
            for features in ["", "+avx", "+avx2,-sse4.1"] {
                for variadic in [false, true] {
                    let arguments = vec!["i32".to_owned(), ty.clone(), "i64".to_owned(), ty.clone()];
                    cases.push(Case { result: ty.clone(), arguments, variadic: false, features });
                    if variadic {
                        let arguments = vec!["i32".to_owned(), ty.clone(), "double".to_owned()];
                        cases.push(Case { result: "void".to_owned(), arguments, variadic, features });
                    }
                }
            }
        }
    }
    check("vectors", &cases);
}

#[test]
fn arguments_travel_as_llvm_has_them() {
    let special = [
        "ptr byval(i8)",
        "ptr byval([3 x i32])",
        "ptr byval({ i64, x86_fp80 })",
        "ptr byval([2 x i64]) align 32",
        "ptr byval({}) align 4",
        "ptr byval([5 x i8]) align 1",
        "ptr byval(<{ i8, i64 }>) align 64",
        "ptr inreg",
        "i32 inreg",
        "double inreg",
        "i8 signext",
        "i16 zeroext",
        "i24 signext",
        "i1 zeroext",
    ];
    let mut random = Random(3);
    let mut cases = Vec::new();
    for number in 0..3000 {
        let mut case = Case::taking([]);
        for _ in 0..=random.below(14) {
            let argument = match random.below(8) {
                0..4 => random.pick(&SCALARS),
                4..7 => random.pick(&OTHERS),
                _ => random.pick(&special),
            };
            case.arguments.push(argument.to_owned());
        }
        match random.below(8) {
            0 => case.arguments[0] = "ptr sret(i64)".to_owned(),
            1 => case.arguments[0] = "ptr nest".to_owned(),
            2 => case.result = "[5 x i64]".to_owned(),
            _ => {}
        }
        case.features = if number % 4 == 0 { "+avx2" } else { "" };
        cases.push(case);
    }
    check("arguments", &cases);
}
