//! What is peculiar to x86-64 (System V psABI, version 1.0).

pub(crate) mod abi;
mod arithmetic;
mod calls;
mod control;
pub(crate) mod eh;
mod encoder;
mod exceptions;
mod finish;
mod floats;
mod frame;
pub(crate) mod generator;
mod integers;
mod intrinsics;
mod known;
mod lanes;
mod memory;
mod operands;
mod parts;
mod registers;
mod symbols;
mod vectors;

use kiln_bitcode::{Body, Module};
use kiln_link::Graph;

pub(crate) use generator::Memory;

use crate::analysis::Analysis;
use crate::compiler::Unsupported;

/// Compiles one function.
pub(crate) fn compile(
    module: &Module,
    body: &Body,
    flow: &Analysis,
    memory: &mut Memory,
) -> generator::Result<Graph<'static>> {
    finish::check_function(module, body.function())?;
    memory.known.enter(module);
    match attempt(module, body, flow, memory, false) {
        Err(what) if *what == Unsupported::Instruction(generator::RETURNS_TWICE) => {
            attempt(module, body, flow, memory, true)
        }
        other => other,
    }
}

fn attempt(
    module: &Module,
    body: &Body,
    flow: &Analysis,
    memory: &mut Memory,
    keep_slots: bool,
) -> generator::Result<Graph<'static>> {
    let mut generator = generator::Generator::new(module, body, flow, memory)?;
    generator.frame.keep_slots = keep_slots;
    generator.run()?;
    generator.finish()
}
