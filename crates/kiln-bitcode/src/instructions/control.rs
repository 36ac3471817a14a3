//! Instructions that direct control: terminators, phis, calls and exceptions.

use super::{CATCHPAD, CATCHRET, CATCHSWITCH, CLEANUPPAD, CLEANUPRET, Outcome, fast_math_flags};
use crate::attributes::{AttributeListId, decode_sign_rotated};
use crate::bitstream::Block;
use crate::body::{Call, TailKind, ValueId};
use crate::body_reader::{BodyReader, Fields};
use crate::classes::Class;
use crate::error::{Error, ErrorKind};
use crate::opcode::Opcode;
use crate::packed::{Draft, Instruction};
use crate::types::{Type, TypeId};

impl BodyReader<'_> {
    pub(crate) fn unreachable(&mut self, _: &mut Fields<'_>, _: &Block<'_>) -> Outcome {
        let first = self.start();
        self.terminate(Draft::new(Opcode::Unreachable, self.void), first);
        Ok(())
    }

    /// `[(value, type?)?]`
    pub(crate) fn ret(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let first = self.start();
        if f.rest().is_empty() {
            self.expect(self.result == self.void, "return without a value", b)?;
        } else {
            let (value, ty) = self.typed(f, b)?;
            self.expect(ty == self.result && ty != self.void, "value that is returned", b)?;
            self.operand(value);
        }
        self.terminate(Draft::new(Opcode::Ret, self.void), first);
        Ok(())
    }

    /// `[target]` or `[then, otherwise, condition]`
    #[inline(always)]
    pub(crate) fn br(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let then = self.target(f, b)?;
        if f.rest().is_empty() {
            let first = self.operand(then);
            self.terminate(Draft::new(Opcode::Br, self.void), first);
            return Ok(());
        }
        let otherwise = self.target(f, b)?;
        let bit = self.missing_type(self.classes.bit, b)?;
        let condition = self.value(bit, f, b)?;
        let first = self.operands([condition, then, otherwise]);
        self.terminate(Draft::new(Opcode::CondBr, self.void), first);
        Ok(())
    }

    /// `[type, value, default, (case, target)…]`, cases as absolute value numbers
    pub(super) fn switch(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let ty = self.ty(f, b)?;
        self.expect(self.classes.class(ty) == Class::Integer, "switch over something else than an integer", b)?;
        let value = self.value(ty, f, b)?;
        let default = self.target(f, b)?;
        let first = self.operands([value, default]);
        while !f.rest().is_empty() {
            let case = self.need(f, b)?;
            let target = self.target(f, b)?;
            let case = u32::try_from(case).unwrap_or(u32::MAX);
            let fits = self.is_constant(case) && self.type_of(case) == ty && self.is_integer(case);
            self.expect(fits, "case of a switch", b)?;
            self.operands([case, target]);
        }
        self.terminate(Draft::new(Opcode::Switch, self.void), first);
        Ok(())
    }

    /// `[type, address, target…]`
    pub(super) fn indirect_br(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let ty = self.ty(f, b)?;
        self.expect(self.classes.class(ty) == Class::Pointer, "address that is no pointer", b)?;
        let address = self.value(ty, f, b)?;
        let first = self.operand(address);
        while !f.rest().is_empty() {
            let target = self.target(f, b)?;
            self.operand(target);
        }
        self.terminate(Draft::new(Opcode::IndirectBr, self.void), first);
        Ok(())
    }

    /// `[type, (value, block)…, flags?]`, values relative with their sign in the lowest bit
    #[inline]
    pub(super) fn phi(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let ty = self.ty(f, b)?;
        self.storable(ty, b)?;
        let block_start = self.body.blocks.last().copied().unwrap_or_default();
        self.expect(self.body.may_add_phi(block_start), "phi behind another instruction", b)?;
        let first = self.start();
        let rest = f.rest();
        f.skip(rest.len());
        let mut pairs = rest.chunks_exact(2);
        for pair in &mut pairs {
            let value = self.next.wrapping_sub(decode_sign_rotated(pair[0]) as u32);
            self.expect_type(value, ty, b)?;
            let (index, count) = (pair[1], u64::from(self.blocks));
            if index >= count {
                return Err(b.error(ErrorKind::BadReference { what: "basic block", index, count }));
            }
            self.body.operands.extend_from_slice(&[value, index as u32]);
        }
        let fast_math = pairs.remainder().first().map_or(0, |flags| fast_math_flags(*flags));
        self.body.has_phis = true;
        self.push(Draft { fast_math, ..Draft::new(Opcode::Phi, ty) }, first);
        Ok(())
    }

    /// `[result type, is cleanup, number of clauses, (kind, value, type?)…]`
    pub(super) fn landing_pad(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let ty = self.ty(f, b)?;
        self.storable(ty, b)?;
        let flags = if self.need(f, b)? != 0 { Instruction::CLEANUP } else { 0 };
        let clauses = self.need(f, b)?;
        let first = self.start();
        for _ in 0..clauses {
            let kind = self.need(f, b)?;
            let (value, _) = self.typed(f, b)?;
            self.expect(kind <= 1 && self.is_constant(value), "clause of a landing pad", b)?;
            self.operands([kind as u32, value]);
        }
        self.push(Draft { flags, ..Draft::new(Opcode::LandingPad, ty) }, first);
        Ok(())
    }

    /// `[attributes, convention and flags, fast-math flags?, function type, callee, type?, arguments…]`
    #[inline]
    pub(crate) fn call(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let attributes = self.attribute_list(f, b)?;
        let bits = self.need(f, b)?;
        let fast_math = if bits & 1 << 17 != 0 { fast_math_flags(self.need(f, b)?) } else { 0 };
        self.expect(bits & 1 << 15 != 0, "call of a typed pointer", b)?;
        let (ty, callee) = self.callee(f, b)?;
        let first = self.operand(callee);
        let result = self.arguments(ty, f, b)?;
        let tail = TailKind::of(bits);
        let aux =
            self.push_call(Call { ty, attributes, convention: (bits as u16 & 0x7ff) >> 1, tail, bundles: (0, 0) });
        self.push(Draft { fast_math, aux, ..Draft::new(Opcode::Call, result) }, first);
        Ok(())
    }

    /// `[attributes, convention and flags, normal target, unwind target, function type, callee, type?, arguments…]`
    pub(super) fn invoke(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let attributes = self.attribute_list(f, b)?;
        let bits = self.need(f, b)?;
        let (normal, unwind) = (self.target(f, b)?, self.target(f, b)?);
        self.expect(bits & 1 << 13 != 0, "call of a typed pointer", b)?;
        let (ty, callee) = self.callee(f, b)?;
        let first = self.operands([callee, normal, unwind]);
        let result = self.arguments(ty, f, b)?;
        let convention = bits as u16 & 0x3ff;
        let aux = self.push_call(Call { ty, attributes, convention, tail: TailKind::None, bundles: (0, 0) });
        self.terminate(Draft { aux, ..Draft::new(Opcode::Invoke, result) }, first);
        Ok(())
    }

    /// `[attributes, convention and flags, default target, number of others, target…, function type, callee, type?,
    /// arguments…]`
    pub(super) fn callbr(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let attributes = self.attribute_list(f, b)?;
        let bits = self.need(f, b)?;
        let default = self.target(f, b)?;
        let count = self.need(f, b)?;
        let first = self.operands([ValueId::NONE.0, default, count as u32]);
        for _ in 0..count {
            let target = self.target(f, b)?;
            self.operand(target);
        }
        self.expect(bits & 1 << 15 != 0, "call of a typed pointer", b)?;
        let (ty, callee) = self.callee(f, b)?;
        self.body.operands[first] = callee;
        let result = self.arguments(ty, f, b)?;
        let convention = (bits as u16 & 0x7ff) >> 1;
        let aux = self.push_call(Call { ty, attributes, convention, tail: TailKind::None, bundles: (0, 0) });
        self.terminate(Draft { aux, ..Draft::new(Opcode::CallBr, result) }, first);
        Ok(())
    }

    #[inline]
    fn attribute_list(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<AttributeListId, Error> {
        let index = self.need(f, b)?;
        let count = self.module.attributes.len() as u64;
        if index > count {
            return Err(b.error(ErrorKind::BadReference { what: "attribute list", index, count }));
        }
        Ok(AttributeListId(index as u32))
    }

    #[inline]
    fn callee(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<(TypeId, u32), Error> {
        let ty = self.ty(f, b)?;
        let (callee, callee_type) = self.typed(f, b)?;
        self.expect(self.classes.class(callee_type) == Class::Pointer, "call of something else than a pointer", b)?;
        Ok((ty, callee))
    }

    /// Adds the arguments of a call to a function of type `ty` and returns the type of its result.
    #[inline]
    fn arguments(&mut self, ty: TypeId, f: &mut Fields<'_>, b: &Block<'_>) -> Result<TypeId, Error> {
        let module = self.module;
        let Type::Function { result, parameters, variadic } = module.ty(ty) else {
            return Err(b.error(ErrorKind::TypeMismatch { what: "call of something else than a function" }));
        };
        for parameter in parameters {
            let argument = match self.classes.class(*parameter) {
                // Numbered among metadata.
                Class::Metadata => {
                    let number = self.next.wrapping_sub(self.need(f, b)? as u32);
                    let kept =
                        if self.body.keeps_metadata { crate::body::Body::metadata_operand(number) } else { None };
                    kept.unwrap_or(ValueId::NONE.0)
                }
                Class::Label => return Err(b.error(ErrorKind::TypeMismatch { what: "label as an argument" })),
                _ => self.value(*parameter, f, b)?,
            };
            self.body.operands.push(argument);
        }
        if *variadic {
            while !f.rest().is_empty() {
                self.push_any(f, b)?;
            }
        }
        Ok(*result)
    }

    #[inline]
    fn push_call(&mut self, mut call: Call) -> u32 {
        let bundles = self.body.bundles.len() as u32;
        call.bundles = (self.pending_bundles, bundles);
        self.pending_bundles = bundles;
        self.body.calls.push(call);
        self.body.calls.len() as u32 - 1
    }

    /// `CLEANUPRET: [pad, target?]`, `CATCHRET: [pad, target]`, `CATCHPAD`, `CLEANUPPAD: [pad around, count, (argument,
    /// type?)…]`, `CATCHSWITCH: [pad around, count, handler…, unwind target?]`
    pub(super) fn funclet(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let code = f.code;
        let pad = self.next.wrapping_sub(self.need(f, b)? as u32);
        self.expect(pad < self.next, "pad that is defined later", b)?;
        let token = self.type_of(pad);
        self.expect(self.classes.class(token) == Class::Token, "pad that is no token", b)?;
        let first = self.operand(pad);
        let ty = match code {
            CLEANUPRET | CATCHRET => self.void,
            _ => {
                let count = self.need(f, b)?;
                self.operand(count as u32);
                for _ in 0..count {
                    if code == CATCHSWITCH {
                        let target = self.target(f, b)?;
                        self.operand(target);
                    } else {
                        self.push_any(f, b)?;
                    }
                }
                token
            }
        };
        if matches!(code, CLEANUPRET | CATCHRET | CATCHSWITCH) && !f.rest().is_empty() {
            let target = self.target(f, b)?;
            self.operand(target);
        }
        let instruction = Draft { sub: code as u8, ..Draft::new(Opcode::Funclet, ty) };
        match code {
            CATCHPAD | CLEANUPPAD => self.push(instruction, first),
            _ => self.terminate(instruction, first),
        }
        Ok(())
    }
}
