//! Whole functions: arguments from memory, steps, a loop, more steps, results to memory.

use std::fmt::Write as _;

use crate::kinds::{KINDS, Kind, Random};
use crate::steps::Writer;

/// Functions in a program.
pub(crate) const FUNCTIONS: usize = 12;

fn function(random: &mut Random, number: usize, declarations: &mut Vec<String>) -> String {
    let kinds: Vec<Kind> = (0..4).map(|_| *random.pick(KINDS)).collect();
    let mut writer = Writer { random, text: String::new(), next: 0, values: Vec::new(), declarations };
    // Which instructions make atomic accesses.
    let features = *writer.random.pick(&["", "+cx16", "+cx16,+avx"]);
    let _ = writeln!(
        writer.text,
        "define void @f{number}(ptr %in, ptr %out) \"target-features\"=\"{features}\" {{\nentry:"
    );
    for (at, kind) in kinds.iter().chain(&kinds).enumerate() {
        let place = writer.name();
        let _ = writeln!(writer.text, "  {place} = getelementptr i8, ptr %in, i64 {}", at * 64);
        match kind {
            // What pads an integer in memory is zero: whole bytes are loaded, and cut.
            Kind::Int(bits) if bits % 8 != 0 => {
                let whole = writer.name();
                let bytes = bits.next_multiple_of(8);
                let _ = writeln!(writer.text, "  {whole} = load i{bytes}, ptr {place}, align 1");
                writer.emit(*kind, &format!("trunc i{bytes} {whole} to i{bits}"));
            }
            // Not every 80 bits are a number: what an operation makes of others depends on whether there is one.
            Kind::X87 => {
                let number = writer.name();
                let _ = writeln!(writer.text, "  {number} = load double, ptr {place}, align 1");
                writer.emit(*kind, &format!("fpext double {number} to x86_fp80"));
            }
            _ => _ = writer.emit(*kind, &format!("load {}, ptr {place}, align 1", kind.name())),
        }
    }
    for _ in 0..writer.random.below(12) {
        let kind = *writer.random.pick(&kinds);
        writer.step(kind);
    }
    // A loop whose phis change places.
    let before = writer.values.clone();
    let count = 2 + writer.random.below(4);
    let chosen: Vec<(Kind, String)> = (0..count).map(|_| writer.random.pick(&before).clone()).collect();
    let phis: Vec<String> = (0..count).map(|_| writer.name()).collect();
    let body_start = writer.text.len();
    let head = std::mem::take(&mut writer.text);
    for ((kind, _), phi) in chosen.iter().zip(&phis) {
        writer.values.push((*kind, phi.clone()));
    }
    for _ in 0..writer.random.below(10) {
        let kind = *writer.random.pick(&kinds);
        writer.step(kind);
    }
    let body = std::mem::replace(&mut writer.text, head);
    debug_assert_eq!(body_start, writer.text.len());
    let _ = writeln!(writer.text, "  br label %loop\nloop:\n  %i = phi i32 [ 0, %entry ], [ %j, %again ]");
    for ((kind, start), phi) in chosen.iter().zip(&phis) {
        // The next value is another phi of the kind, or anything else of it.
        let same: Vec<&String> =
            chosen.iter().zip(&phis).filter(|((k, _), _)| k == kind).map(|(_, other)| other).collect();
        let next = if writer.random.below(3) > 0 {
            (*writer.random.pick(&same)).clone()
        } else {
            writer.values.iter().rev().find(|(k, _)| k == kind).map(|(_, n)| n.clone()).unwrap_or_default()
        };
        let _ = writeln!(writer.text, "  {phi} = phi {} [ {start}, %entry ], [ {next}, %again ]", kind.name());
    }
    writer.text.push_str(&body);
    let _ = writeln!(
        writer.text,
        "  %j = add i32 %i, 1\n  %more = icmp ult i32 %j, 5\n  br i1 %more, label %again, label %exit"
    );
    let _ = writeln!(writer.text, "again:\n  br label %loop\nexit:");
    for _ in 0..writer.random.below(6) {
        let kind = *writer.random.pick(&kinds);
        writer.step(kind);
    }
    let last: Vec<(Kind, String)> = writer.values.iter().rev().take(12).cloned().collect();
    for (at, (kind, name)) in last.iter().enumerate() {
        let place = writer.name();
        let _ = writeln!(writer.text, "  {place} = getelementptr i8, ptr %out, i64 {}", at * 64);
        let mut name = name.clone();
        if !kind.is_int() {
            // The sign of a NaN is anybody's.
            let (nan, plain) = (writer.name(), writer.name());
            let (ty, one) = (kind.name(), kind.constant(writer.random));
            let condition = match kind {
                Kind::FloatVector(lanes, _) => format!("<{lanes} x i1>"),
                _ => "i1".into(),
            };
            let _ = writeln!(writer.text, "  {nan} = fcmp uno {ty} {name}, {name}");
            let _ = writeln!(writer.text, "  {plain} = select {condition} {nan}, {ty} {one}, {ty} {name}");
            name = plain;
        }
        let _ = writeln!(writer.text, "  store {} {name}, ptr {place}, align 1", kind.name());
    }
    writer.text.push_str("  ret void\n}\n");
    writer.text
}

pub(crate) fn program(seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut declarations = Vec::new();
    let mut text = String::from("target triple = \"x86_64-unknown-linux-gnu\"\n");
    text.push_str(
        "target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"\n",
    );
    for number in 0..FUNCTIONS {
        text.push_str(&function(&mut random, number, &mut declarations));
    }
    let all: Vec<String> = (0..FUNCTIONS).map(|n| format!("ptr @f{n}")).collect();
    let _ = writeln!(text, "@all = constant [{FUNCTIONS} x ptr] [{}]", all.join(", "));
    for declaration in declarations {
        let _ = writeln!(text, "{declaration}");
    }
    text
}
