//! One file per relocation in `relocations/`, judged twice: by its own expectations, which stand beside the code as
//! expressions over symbols and memory, and (where the file says `# lld`) by comparing every byte with what lld makes of
//! the same object at the same addresses.
//!
//! Directives, each on a line of its own:
//!
//! ```text
//! # check EXPR == EXPR        u8 u16 u32 u64 i8 i16 i32 (EXPR) read memory; names are symbols of the link
//! # bytes EXPR = 48 8d 05     memory at EXPR
//! # function NAME = N         a function of the process; likewise near, data, define
//! # static-tls NAME = N       a variable of the process at a constant offset from the thread pointer
//! # dynamic-tls NAME = M, N   one that __tls_get_addr finds
//! # tls dynamic M             the link's own block is module M
//! # error KIND                the link fails with this error
//! # lld                       .text and .data are what lld makes
//! ```

mod support;

use std::collections::BTreeSet;

use kiln_abi::ExecutorAddr;
use kiln_link::{Errors, External, Link, Linked, Location, Options, RelocationKind, TlsPlacement};
use support::{LOW, Memory, World, assemble, here, lld, place};

#[derive(Default)]
struct Test {
    checks: Vec<(String, String)>,
    bytes: Vec<(String, Vec<u8>)>,
    defines: Vec<(String, u64)>,
    world: World,
    tls: Option<TlsPlacement>,
    error: Option<String>,
    lld: bool,
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(positive) = text.strip_prefix('-') {
        return number(positive).map(u64::wrapping_neg);
    }
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn parse(source: &str) -> Test {
    let mut test = Test::default();
    for line in source.lines() {
        let Some(directive) = line.strip_prefix("# ") else { continue };
        let (verb, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        let pair = || rest.split_once('=').map(|(a, b)| (a.trim().to_string(), b.trim().to_string())).unwrap();
        let value = || (pair().0, ExecutorAddr::new(number(&pair().1).unwrap()));
        let world = std::mem::take(&mut test.world);
        test.world = match verb {
            "function" => world.with(&value().0, External::Function(value().1)),
            "near" => world.with(&value().0, External::Near(value().1)),
            "data" => world.with(&value().0, External::Data(value().1)),
            "static-tls" => world.with(&value().0, External::StaticTls { tp_offset: value().1.get() as i64 }),
            "dynamic-tls" => {
                let (name, operands) = pair();
                let (module, offset) = operands.split_once(',').unwrap();
                let (module, offset) = (number(module).unwrap(), number(offset).unwrap());
                world.with(&name, External::DynamicTls { module, offset })
            }
            _ => world,
        };
        match verb {
            "check" => {
                let (a, b) = rest.split_once("==").unwrap();
                test.checks.push((a.to_string(), b.to_string()));
            }
            "bytes" => {
                let (at, hex) = pair();
                let bytes = hex.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
                test.bytes.push((at, bytes));
            }
            "define" => test.defines.push((pair().0, value().1.get())),
            "tls" => {
                let module = number(rest.strip_prefix("dynamic").unwrap()).unwrap();
                test.tls = Some(TlsPlacement::Dynamic { module });
            }
            "error" => test.error = Some(rest.to_string()),
            "lld" => test.lld = true,
            _ => {}
        }
    }
    test
}

/// Evaluates an expression: sums and differences of numbers, symbols and memory.
struct Expression<'e> {
    rest: &'e str,
    linked: &'e Linked<'e>,
    memory: &'e Memory,
}

impl Expression<'_> {
    fn sum(&mut self) -> i64 {
        let mut value = self.term();
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('+') {
                self.rest = rest;
                value = value.wrapping_add(self.term());
            } else if let Some(rest) = self.rest.strip_prefix('-') {
                self.rest = rest;
                value = value.wrapping_sub(self.term());
            } else {
                return value;
            }
        }
    }

    fn term(&mut self) -> i64 {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let Some(inside) = self.rest.strip_prefix('(') {
            self.rest = inside;
            let at = self.sum() as u64;
            self.rest = self.rest.trim_start().strip_prefix(')').expect("a closing parenthesis");
            let bytes = word[1..].parse::<usize>().expect("u8, i32, …") / 8;
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(self.memory.read(at, bytes));
            let value = i64::from_le_bytes(value);
            let shift = 64 - 8 * bytes as u32;
            return if word.starts_with('i') { value << shift >> shift } else { value };
        }
        if let Some(value) = number(word) {
            return value as i64;
        }
        match self.linked.symbol(word.as_bytes()).unwrap_or_else(|| panic!("no symbol {word}")).location {
            Location::Address(address) => address.get() as i64,
            Location::Tls { offset } => offset as i64,
            _ => unreachable!(),
        }
    }
}

fn evaluate(text: &str, linked: &Linked<'_>, memory: &Memory) -> i64 {
    let mut expression = Expression { rest: text.trim(), linked, memory };
    let value = expression.sum();
    assert!(expression.rest.trim().is_empty(), "{text}: {} is left over", expression.rest);
    value
}

fn check(source: &str) -> Vec<String> {
    let mut test = parse(source);
    let object = assemble(source);
    let mut failures = Vec::new();
    let mut link = Link::new(Options::default());
    for (name, value) in &test.defines {
        link.define(name, ExecutorAddr::new(*value));
    }
    link.add_object("test.o", &object);
    let result = (|| place(link.resolve(&mut test.world)?.layout()?, LOW, test.tls))();
    let (linked, memory) = match (result, &test.error) {
        (Ok(linked), None) => linked,
        (Ok(_), Some(error)) => return vec![format!("no {error}")],
        (Err(errors), Some(error)) => return wrong_error(&errors, error),
        (Err(errors), None) => return vec![errors.to_string()],
    };
    for (a, b) in &test.checks {
        let (left, right) = (evaluate(a, &linked, &memory), evaluate(b, &linked, &memory));
        if left != right {
            failures.push(format!("{a} = {left:#x}, but {b} = {right:#x}"));
        }
    }
    for (at, expected) in &test.bytes {
        let found = memory.read(evaluate(at, &linked, &memory) as u64, expected.len());
        if found != expected {
            failures.push(format!("at {at}: {found:02x?}, not {expected:02x?}"));
        }
    }
    if test.lld {
        let flags = ["-Ttext=0x201000", "-Tdata=0x401000", "--image-base=0x100000"];
        let sections = lld(&object, &flags, &[".text", ".data"]);
        // Stubs may lie before the code.
        let main = linked.symbol(b"main").and_then(|main| main.location.address()).map_or(LOW.code, ExecutorAddr::get);
        for (judge, base) in sections.iter().zip([main, LOW.read_write]) {
            if !judge.is_empty() && memory.read(base, judge.len()) != judge {
                failures.push(format!("{:02x?}, lld has {judge:02x?}", memory.read(base, judge.len())));
            }
        }
    }
    assert!(test.lld || !test.checks.is_empty() || !test.bytes.is_empty(), "the test judges nothing");
    failures
}

fn wrong_error(errors: &Errors, expected: &str) -> Vec<String> {
    let is = |kind: String| kind.split([' ', '{']).next() == Some(expected);
    let right = errors.iter().any(|error| is(format!("{:?}", error.kind())));
    if right { Vec::new() } else { vec![format!("{errors}, not {expected}")] }
}

#[test]
fn every_file_holds() {
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(here("relocations")).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap();
        let failures =
            std::panic::catch_unwind(|| check(&source)).unwrap_or_else(|_| vec!["panicked, see above".into()]);
        for failure in failures {
            failed.push(format!("{}: {failure}", path.file_name().unwrap().to_string_lossy()));
        }
        count += 1;
    }
    assert!(count >= RelocationKind::ALL.len());
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn every_relocation_has_a_file() {
    let files: BTreeSet<String> = std::fs::read_dir(here("relocations"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let missing: Vec<_> =
        RelocationKind::ALL.iter().map(ToString::to_string).filter(|name| !files.contains(name)).collect();
    assert!(missing.is_empty(), "no file for {missing:?}");
}
