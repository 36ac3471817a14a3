//! What is peculiar to x86-64 (System V psABI, version 1.0).

pub(crate) mod abi;
mod addresses;
mod arithmetic;
mod assembly;
mod atomics;
mod calls;
mod control;
mod deferred;
pub(crate) mod eh;
mod encoder;
mod exceptions;
mod finish;
mod fixed;
mod floats;
mod frame;
pub(crate) mod generator;
mod integers;
mod intrinsics;
mod known;
mod lane_intrinsics;
mod lanes;
mod long;
mod long_division;
mod machine_intrinsics;
mod masks;
mod math;
mod memory;
mod operands;
mod part_array;
mod parts;
mod protector;
mod registers;
mod size;
mod soft_floats;
mod strict;
mod symbols;
mod values;
mod vector_intrinsics;
mod vectors;
mod wide_vectors;
mod x87;

use kiln_bitcode::{Body, Constant, GlobalRef, Instruction, Module, Opcode, ValueId};
use kiln_link::Graph;

pub(crate) use generator::Memory;
pub(crate) use strict::PREDICATES;

use crate::analysis::{Analysis, CallKind};
use crate::compiler::Unsupported;

/// Gets ready for functions of `module`.
pub(crate) fn enter(module: &Module, memory: &mut Memory) {
    memory.known.enter(module);
}

/// Compiles one function into `spare`, an empty graph.
pub(crate) fn compile(
    module: &Module,
    body: &Body,
    flow: &Analysis,
    memory: &mut Memory,
    spare: &mut Graph<'static>,
) -> generator::Result<Graph<'static>> {
    finish::check_function(module, body.function())?;
    let mut manner = Manner { keep_slots: false, may_fix: true, thread_locals: Vec::new(), wanted: None };
    loop {
        match attempt(module, body, flow, memory, spare, &mut manner) {
            Err(what) if *what == Unsupported::Instruction(generator::RETURNS_TWICE) && !manner.keep_slots => {
                manner.keep_slots = true;
            }
            Err(what) if *what == Unsupported::Instruction(fixed::IN_THE_WAY) && manner.may_fix => {
                manner.may_fix = false;
            }
            Err(what) if *what == Unsupported::Constant(operands::THREAD_LOCAL) && manner.wanted.is_some() => {
                manner.thread_locals.extend(manner.wanted.take());
            }
            other => return other,
        }
    }
}

/// Which liberties the code takes. Whether they are right turns out on the way.
#[derive(Clone, Debug)]
struct Manner {
    /// No slot is used twice, and nothing stays in a register: the function may return twice.
    keep_slots: bool,
    /// Values may keep registers.
    may_fix: bool,
    /// Variables whose addresses in this thread are found out at the start, because instructions name them.
    thread_locals: Vec<GlobalRef>,
    /// One that turned out to be missing there.
    wanted: Option<GlobalRef>,
}

/// What a call will do to registers, as far as that can be told before.
#[inline]
pub(crate) fn call_kind(
    module: &Module,
    body: &Body,
    memory: &mut Memory,
    instruction: &Instruction,
    operands: &[u32],
) -> CallKind {
    let callee = ValueId(operands[0]);
    match module.function_of(callee) {
        Some(function) => match intrinsics::known_callee(module, &mut memory.known, function) {
            known::Callee::Nothing if instruction.opcode == Opcode::Call => CallKind::Nothing,
            known::Callee::Inline if instruction.opcode == Opcode::Call => CallKind::Inline,
            _ => CallKind::Call,
        },
        None => address_kind(module, body, callee),
    }
}

/// The same of a callee that is no function of the module.
#[inline(never)]
fn address_kind(module: &Module, body: &Body, callee: ValueId) -> CallKind {
    match body.constant(module, callee) {
        Some(Constant::InlineAsm(_)) => CallKind::Inline,
        _ => CallKind::Call,
    }
}

fn attempt(
    module: &Module,
    body: &Body,
    flow: &Analysis,
    memory: &mut Memory,
    spare: &mut Graph<'static>,
    manner: &mut Manner,
) -> generator::Result<Graph<'static>> {
    let mut generator = generator::Generator::new(module, body, flow, memory)?;
    generator.frame.keep_slots = manner.keep_slots;
    generator.may_fix = manner.may_fix;
    let result = generator.run(&manner.thread_locals).and_then(|()| generator.finish(spare));
    manner.wanted = generator.wanted_thread_local;
    let owned = generator.give_back();
    memory.keep(owned);
    result
}
