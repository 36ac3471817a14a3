//! Vectors.

use kiln_bitcode::{Instruction, ValueId};

use super::generator::{Generator, Result};
use crate::compiler::Unsupported;

impl Generator<'_> {
    pub(crate) fn vector_binary(&mut self, _: &Instruction, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("arithmetic on vectors"))
    }

    pub(crate) fn vector_float_binary(&mut self, _: &Instruction, _: u8, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("floating-point arithmetic on vectors"))
    }

    pub(crate) fn vector_compare(&mut self, _: &Instruction, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("comparison of vectors"))
    }

    pub(crate) fn vector_select(&mut self, _: &Instruction, _: ValueId, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("select by vector"))
    }

    pub(crate) fn vector_convert(&mut self, _: &Instruction, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("conversion of vectors"))
    }

    /// Whether it is one that is known.
    pub(crate) fn vector_intrinsic(&mut self, _: &[u8], _: &Instruction, _: &[u32]) -> Result<bool> {
        Ok(false)
    }

    pub(crate) fn extract_element(&mut self, _: &Instruction, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("extractelement"))
    }

    pub(crate) fn insert_element(&mut self, _: &Instruction, _: ValueId, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("insertelement"))
    }

    pub(crate) fn shuffle(&mut self, _: &Instruction, _: ValueId, _: ValueId, _: ValueId) -> Result<()> {
        Err(Unsupported::Instruction("shufflevector"))
    }
}
