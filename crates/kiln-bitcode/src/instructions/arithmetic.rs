//! Instructions that compute values from values.

use std::ops::RangeInclusive;

use super::{Outcome, fast_math_flags};
use crate::bitstream::Block;
use crate::body_reader::{BodyReader, Fields};
use crate::classes::{Class, Facts};
use crate::constant::Constant;
use crate::error::{Error, ErrorKind};
use crate::opcode::Opcode;
use crate::packed::Draft;
use crate::types::{Type, TypeId};

/// `CmpInst::Predicate`: comparisons of integers.
pub(crate) const PREDICATES: RangeInclusive<u64> = 32..=41;
const LAST_FCMP: u64 = 15;

/// Operations on integers by their codes.
pub(crate) const INTEGERS: [Opcode; 13] = {
    use Opcode::*;
    [Add, Sub, Mul, UDiv, SDiv, URem, SRem, Shl, LShr, AShr, And, Or, Xor]
};
/// Operations on floating-point numbers by the same codes.
pub(crate) const FLOATS: [Option<Opcode>; 7] = {
    use Opcode::*;
    [Some(FAdd), Some(FSub), Some(FMul), None, Some(FDiv), None, Some(FRem)]
};
/// Conversions by their codes.
pub(crate) const CASTS: [Opcode; 14] = {
    use Opcode::*;
    [
        Trunc,
        ZExt,
        SExt,
        FpToUi,
        FpToSi,
        UiToFp,
        SiToFp,
        FpTrunc,
        FpExt,
        PtrToInt,
        IntToPtr,
        BitCast,
        AddrSpaceCast,
        PtrToAddr,
    ]
};

/// The flags that an operation on integers may have.
#[inline]
pub(crate) fn known_flags(opcode: Opcode) -> u16 {
    match opcode {
        Opcode::Add | Opcode::Sub | Opcode::Mul | Opcode::Shl => 3,
        Opcode::UDiv | Opcode::SDiv | Opcode::LShr | Opcode::AShr | Opcode::Or => 1,
        _ => 0,
    }
}

/// Whether `opcode` converts elements of one type into those of another; `None` if that depends on more than these.
#[inline(always)]
pub(crate) fn converts(opcode: Opcode, source: Facts, target: Facts) -> Option<bool> {
    let integers = (source.class.is_integer(), target.class.is_integer());
    let floats = (source.class.is_float(), target.class.is_float());
    let pointers = (source.class.is_pointer(), target.class.is_pointer());
    Some(match opcode {
        Opcode::Trunc => integers == (true, true) && source.scalar > target.scalar,
        Opcode::ZExt | Opcode::SExt => integers == (true, true) && source.scalar < target.scalar,
        Opcode::FpTrunc => floats == (true, true) && source.scalar > target.scalar,
        Opcode::FpExt => floats == (true, true) && source.scalar < target.scalar,
        Opcode::UiToFp | Opcode::SiToFp => integers.0 && floats.1,
        Opcode::FpToUi | Opcode::FpToSi => floats.0 && integers.1,
        Opcode::PtrToInt | Opcode::PtrToAddr => pointers.0 && integers.1,
        Opcode::IntToPtr => integers.0 && pointers.1,
        Opcode::AddrSpaceCast => pointers == (true, true) && source.scalar != target.scalar,
        _ => return None,
    })
}

impl BodyReader<'_> {
    /// `[operand, type?, operation, flags?]`
    pub(super) fn negate(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (value, ty) = self.typed(f, b)?;
        let operation = self.need(f, b)?;
        if operation != 0 {
            return Err(b.error(ErrorKind::BadValue { what: "operation", value: operation }));
        }
        self.expect(self.classes.class(ty).is_float(), "negation of something else than a float", b)?;
        let fast_math = self.optional_fast_math(f);
        let first = self.operand(value);
        self.push(Draft { fast_math, ..Draft::new(Opcode::FNeg, ty) }, first);
        Ok(())
    }

    /// `[left, type?, right, operation, flags?]`
    #[inline(always)]
    pub(crate) fn binary(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (left, ty) = self.typed(f, b)?;
        let right = self.value(ty, f, b)?;
        let code = self.need(f, b)?;
        let at = usize::try_from(code).unwrap_or(usize::MAX);
        let unknown = || b.error(ErrorKind::BadValue { what: "operation", value: code });
        let mut instruction = Draft::new(Opcode::Add, ty);
        if self.classes.class(ty).is_integer() {
            instruction.opcode = *INTEGERS.get(at).ok_or_else(unknown)?;
            if !f.rest().is_empty() {
                instruction.flags = f.take().unwrap_or_default() as u16 & known_flags(instruction.opcode);
            }
        } else {
            self.expect(self.classes.class(ty).is_float(), "arithmetic on something else than numbers", b)?;
            instruction.opcode = FLOATS.get(at).copied().flatten().ok_or_else(unknown)?;
            instruction.fast_math = self.optional_fast_math(f);
        }
        let first = self.operands([left, right]);
        self.push(instruction, first);
        Ok(())
    }

    /// `[operand, type?, result type, operation, flags?]`
    #[inline]
    pub(crate) fn cast(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Opcode::*;
        let (value, from) = self.typed(f, b)?;
        let to = self.ty(f, b)?;
        let code = self.need(f, b)?;
        let opcode = usize::try_from(code).ok().and_then(|at| CASTS.get(at).copied());
        let opcode = opcode.ok_or_else(|| b.error(ErrorKind::BadValue { what: "conversion", value: code }))?;
        self.expect(self.cast_is_valid(opcode, from, to), "conversion between these types", b)?;
        let mut instruction = Draft::new(opcode, to);
        if !f.rest().is_empty() {
            let flags = f.take().unwrap_or_default();
            match opcode {
                Trunc => instruction.flags = flags as u16 & 3,
                ZExt | UiToFp => instruction.flags = flags as u16 & 1,
                FpTrunc | FpExt => instruction.fast_math = fast_math_flags(flags),
                _ => {}
            }
        }
        let first = self.operand(value);
        self.push(instruction, first);
        Ok(())
    }

    /// `CastInst::castIsValid`
    fn cast_is_valid(&self, opcode: Opcode, from: TypeId, to: TypeId) -> bool {
        let (source, target) = (self.classes.of(from), self.classes.of(to));
        let vectors = source.class.is_vector() || target.class.is_vector();
        let same_lanes = !vectors || self.lanes(from) == self.lanes(to);
        if let Some(converts) = converts(opcode, source, target) {
            return converts && same_lanes;
        }
        let pointers = (source.class.is_pointer(), target.class.is_pointer());
        match pointers {
            (true, _) | (_, true) => {
                let single = |ty| self.lanes(ty).is_none_or(|lanes| lanes == (1, false));
                pointers == (true, true)
                    && source.scalar == target.scalar
                    && (same_lanes || (single(from) && single(to)))
            }
            _ => {
                let plain = |class: Class| !matches!(class, Class::Aggregate | Class::Token) && class.is_storable();
                let bits = |ty| self.module.layout_of(ty).map(|layout| (layout.bits, layout.scalable));
                plain(source.class) && plain(target.class) && bits(from).is_some() && bits(from) == bits(to)
            }
        }
    }

    /// `[flags, source type, base, type?, (index, type?)…]`
    #[inline]
    pub(crate) fn gep(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let flags = self.need(f, b)? as u16 & 7;
        let source = self.ty(f, b)?;
        let (base, base_type) = self.typed(f, b)?;
        let class = self.classes.class(base_type);
        self.expect(class.is_pointer(), "address arithmetic on something else than pointers", b)?;
        let first = self.operand(base);
        let mut lanes = if class == Class::Pointer { None } else { self.lanes(base_type) };
        let (mut result, mut within) = (base_type, None);
        while !f.rest().is_empty() {
            let (index, ty) = self.typed(f, b)?;
            let class = self.classes.class(ty);
            self.expect(class.is_integer(), "index that is no integer", b)?;
            if class == Class::IntegerVector {
                let own = self.lanes(ty);
                self.expect(lanes.is_none() || lanes == own, "vectors of indices of different lengths", b)?;
                if lanes.is_none()
                    && let Some((count, scalable)) = own
                {
                    (lanes, result) = (own, self.missing_type(self.classes.vector(count, scalable, base_type), b)?);
                }
            }
            // The first index steps over whole objects of the source type.
            within = Some(match within {
                None => source,
                Some(outer) => self.step_into(outer, index, b)?,
            });
            self.body.operands.push(index);
        }
        // `inbounds` implies `nusw`.
        let flags = if flags & 1 != 0 { flags | 2 } else { flags };
        self.push(Draft { flags, aux: source.0, ..Draft::new(Opcode::Gep, result) }, first);
        Ok(())
    }

    /// The type of part `index` of a value of type `outer`.
    fn step_into(&self, outer: TypeId, index: u32, b: &Block<'_>) -> Result<TypeId, Error> {
        match self.module.ty(outer) {
            Type::Array { element, .. } | Type::Vector { element, .. } => Ok(*element),
            Type::Struct { fields, .. } => {
                let number =
                    self.constant_number(index, b)?.filter(|_| self.classes.of(self.type_of(index)).scalar == 32);
                let number = number.and_then(|number| usize::try_from(number).ok());
                let field = number.and_then(|number| fields.get(number).copied());
                field.ok_or_else(|| b.error(ErrorKind::TypeMismatch { what: "index of a field" }))
            }
            _ => Err(b.error(ErrorKind::TypeMismatch { what: "index into something without parts" })),
        }
    }

    /// The value of a constant integer, or of all elements of a vector of them.
    fn constant_number(&self, value: u32, b: &Block<'_>) -> Result<Option<u64>, Error> {
        Ok(match self.constant(value) {
            Some(Constant::Int(number)) => Some(number),
            Some(Constant::Null) => Some(0),
            Some(Constant::Data(bytes)) => {
                self.look_at(bytes.len() / 4, b)?;
                let first = bytes.first_chunk::<4>();
                let first = first.filter(|first| bytes.chunks_exact(4).all(|word| word == *first));
                first.map(|first| u64::from(u32::from_le_bytes(*first)))
            }
            Some(Constant::Aggregate(elements @ [first, ..])) => {
                self.look_at(elements.len(), b)?;
                match self.constant(first.0) {
                    Some(Constant::Int(number)) if elements.iter().all(|id| id == first) => Some(number),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    /// Accounts for looking at `count` elements of a constant.
    fn look_at(&self, count: usize, b: &Block<'_>) -> Outcome {
        match self.elements_left.get().checked_sub(count as u64) {
            Some(left) => {
                self.elements_left.set(left);
                Ok(())
            }
            None => Err(b.error(ErrorKind::Limit { what: "elements of constants", limit: self.elements_limit })),
        }
    }

    /// `[then, type?, otherwise, condition, type?, flags?]`
    pub(super) fn select(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (then, ty) = self.typed(f, b)?;
        self.storable(ty, b)?;
        let otherwise = self.value(ty, f, b)?;
        let (condition, condition_type) = self.typed(f, b)?;
        let condition_type = Some(condition_type);
        let facts = self.classes.of(ty);
        let fits = condition_type == self.classes.bit || (self.lanes(ty).is_some() && condition_type == facts.compared);
        self.expect(fits, "condition of a choice", b)?;
        let fast_math = self.optional_fast_math(f);
        let first = self.operands([condition, then, otherwise]);
        self.push(Draft { fast_math, ..Draft::new(Opcode::Select, ty) }, first);
        Ok(())
    }

    /// `[vector, type?, index, type?]`
    pub(super) fn extract_element(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (vector, ty) = self.typed(f, b)?;
        let element = self.element(ty, b)?;
        let index = self.index(f, b)?;
        let first = self.operands([vector, index]);
        self.push(Draft::new(Opcode::ExtractElement, element), first);
        Ok(())
    }

    /// `[vector, type?, element, index, type?]`
    pub(super) fn insert_element(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (vector, ty) = self.typed(f, b)?;
        let element = self.element(ty, b)?;
        let element = self.value(element, f, b)?;
        let index = self.index(f, b)?;
        let first = self.operands([vector, element, index]);
        self.push(Draft::new(Opcode::InsertElement, ty), first);
        Ok(())
    }

    fn index(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let (index, ty) = self.typed(f, b)?;
        self.expect(self.classes.class(ty) == Class::Integer, "index that is no integer", b)?;
        Ok(index)
    }

    /// `[left, type?, right, mask, type?]`
    pub(super) fn shuffle(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (left, ty) = self.typed(f, b)?;
        let element = self.element(ty, b)?;
        let right = self.value(ty, f, b)?;
        let (mask, mask_type) = self.typed(f, b)?;
        let Type::Vector { count, element: index, scalable } = *self.module.ty(mask_type) else {
            return Err(b.error(ErrorKind::TypeMismatch { what: "mask of a shuffle" }));
        };
        let lanes = self.lanes(ty).unwrap_or_default();
        let fits = *self.module.ty(index) == Type::Integer(32)
            && lanes.1 == scalable
            && self.mask_is_valid(mask, u64::from(lanes.0) * 2, scalable, b)?;
        self.expect(fits, "mask of a shuffle", b)?;
        let result = match lanes.0 == count {
            true => ty,
            false => self.missing_type(self.classes.vector(count, scalable, element), b)?,
        };
        let first = self.operands([left, right, mask]);
        self.push(Draft::new(Opcode::ShuffleVector, result), first);
        Ok(())
    }

    /// `ShuffleVectorInst::isValidOperands`
    fn mask_is_valid(&self, mask: u32, limit: u64, scalable: bool, b: &Block<'_>) -> Result<bool, Error> {
        let unknown = |constant| matches!(constant, Constant::Undef | Constant::Poison);
        Ok(match self.constant(mask) {
            Some(Constant::Null | Constant::Undef | Constant::Poison) => true,
            _ if scalable => false,
            Some(Constant::Data(bytes)) => {
                self.look_at(bytes.len() / 4, b)?;
                let below = |word: &[u8]| word.try_into().is_ok_and(|word| u64::from(u32::from_le_bytes(word)) < limit);
                bytes.chunks_exact(4).all(below)
            }
            Some(Constant::Aggregate(elements)) => {
                self.look_at(elements.len(), b)?;
                elements.iter().all(|id| match self.constant(id.0) {
                    Some(Constant::Int(index)) => index < limit,
                    Some(Constant::Null) => true,
                    Some(other) => unknown(other),
                    None => false,
                })
            }
            _ => false,
        })
    }

    /// `[left, type?, right, predicate, flags?]`
    #[inline(always)]
    pub(crate) fn compare(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (left, ty) = self.typed(f, b)?;
        let right = self.value(ty, f, b)?;
        let predicate = self.need(f, b)?;
        let facts = self.classes.of(ty);
        let compared = self.missing_type(facts.compared, b)?;
        let mut instruction = Draft::new(Opcode::ICmp, compared);
        let fits = if facts.class.is_float() {
            instruction.opcode = Opcode::FCmp;
            instruction.fast_math = self.optional_fast_math(f);
            predicate <= LAST_FCMP
        } else {
            self.expect(facts.class.is_integer() || facts.class.is_pointer(), "comparison of these types", b)?;
            if !f.rest().is_empty() {
                instruction.flags = f.take().unwrap_or_default() as u16 & 1;
            }
            PREDICATES.contains(&predicate)
        };
        if !fits {
            return Err(b.error(ErrorKind::BadValue { what: "predicate", value: predicate }));
        }
        instruction.sub = predicate as u8;
        let first = self.operands([left, right]);
        self.push(instruction, first);
        Ok(())
    }

    /// `[aggregate, type?, index…]`
    pub(super) fn extract_value(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (aggregate, ty) = self.typed(f, b)?;
        let first = self.operand(aggregate);
        let part = self.part(ty, f, b)?;
        self.push(Draft::new(Opcode::ExtractValue, part), first);
        Ok(())
    }

    /// `[aggregate, type?, value, type?, index…]`
    pub(super) fn insert_value(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (aggregate, ty) = self.typed(f, b)?;
        let (value, value_type) = self.typed(f, b)?;
        let first = self.operands([aggregate, value]);
        let part = self.part(ty, f, b)?;
        self.expect(part == value_type, "part of an aggregate", b)?;
        self.push(Draft::new(Opcode::InsertValue, ty), first);
        Ok(())
    }

    /// Takes the remaining fields for indices into a value of type `ty`, adds them, and returns the type of that part.
    fn part(&mut self, mut ty: TypeId, f: &mut Fields<'_>, b: &Block<'_>) -> Result<TypeId, Error> {
        self.expect(!f.rest().is_empty(), "part of an aggregate", b)?;
        let module = self.module;
        for index in f.rest() {
            let part = match module.ty(ty) {
                Type::Struct { fields, .. } => usize::try_from(*index).ok().and_then(|at| fields.get(at).copied()),
                Type::Array { count, element } if index < count => Some(*element),
                _ => None,
            };
            ty = part.ok_or_else(|| b.error(ErrorKind::TypeMismatch { what: "part of an aggregate" }))?;
            // LLVM's indices have 32 bits.
            let Ok(index) = u32::try_from(*index) else {
                return Err(b.error(ErrorKind::BadValue { what: "index", value: *index }));
            };
            self.body.operands.push(index);
        }
        f.skip(f.rest().len());
        Ok(ty)
    }
}
