//! The meaning of each instruction record (`BitcodeReader::parseFunctionBody`, `ModuleBitcodeWriter::writeInstruction`).
//!
//! What the compiler relies on is checked here: see [`Module::read_body`](crate::Module::read_body) for the list.

use crate::attributes::decode_sign_rotated;
use crate::bitstream::Block;
use crate::body::{Call, Instruction, Opcode, Ordering, TailKind, ValueId};
use crate::body_reader::{BodyReader, Fields};
use crate::classes::Class;
use crate::constant::{Constant, ConstantId};
use crate::error::{Error, ErrorKind};
use crate::types::{Type, TypeId};

pub(crate) const BINOP: u32 = 2;
pub(crate) const CAST: u32 = 3;
const EXTRACTELT: u32 = 6;
const INSERTELT: u32 = 7;
const SHUFFLEVEC: u32 = 8;
pub(crate) const RET: u32 = 10;
pub(crate) const BR: u32 = 11;
const SWITCH: u32 = 12;
const INVOKE: u32 = 13;
pub(crate) const UNREACHABLE: u32 = 15;
const PHI: u32 = 16;
const ALLOCA: u32 = 19;
pub(crate) const LOAD: u32 = 20;
const VAARG: u32 = 23;
const EXTRACTVAL: u32 = 26;
const INSERTVAL: u32 = 27;
pub(crate) const CMP2: u32 = 28;
const VSELECT: u32 = 29;
const INDIRECTBR: u32 = 31;
pub(crate) const CALL: u32 = 34;
const FENCE: u32 = 36;
const RESUME: u32 = 39;
const LOADATOMIC: u32 = 41;
pub(crate) const GEP: u32 = 43;
pub(crate) const STORE: u32 = 44;
const STOREATOMIC: u32 = 45;
const CMPXCHG: u32 = 46;
const LANDINGPAD: u32 = 47;
const CLEANUPRET: u32 = 48;
const CATCHRET: u32 = 49;
const CATCHPAD: u32 = 50;
const CLEANUPPAD: u32 = 51;
const CATCHSWITCH: u32 = 52;
const UNOP: u32 = 56;
const CALLBR: u32 = 57;
const FREEZE: u32 = 58;
const ATOMICRMW: u32 = 59;

/// `CmpInst::Predicate`: comparisons of integers begin here.
const FIRST_ICMP: u64 = 32;
const LAST_ICMP: u64 = 41;
const LAST_FCMP: u64 = 15;
/// `AtomicRMWInst::BinOp` by the codes of the bitcode, which are in another order from 15 on.
const ATOMIC_OPERATIONS: [u8; 21] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 15, 16];
/// `Value::MaxAlignmentExponent` + 1
const MAX_ALIGN: u64 = 33;

type Outcome = Result<(), Error>;

impl BodyReader<'_> {
    /// Reads the record of an instruction.
    #[inline]
    pub(crate) fn read_instruction(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        match f.code {
            LOAD => self.load(f, b),
            STORE => self.store(f, b),
            GEP => self.gep(f, b),
            CALL => self.call(f, b),
            BR => self.br(f, b),
            CMP2 => self.compare(f, b),
            BINOP => self.binary(f, b),
            CAST => self.cast(f, b),
            PHI => self.phi(f, b),
            ALLOCA => self.alloca(f, b),
            RET => self.ret(f, b),
            INVOKE => self.invoke(f, b),
            VSELECT => self.select(f, b),
            EXTRACTVAL => self.extract_value(f, b),
            INSERTVAL => self.insert_value(f, b),
            SWITCH => self.switch(f, b),
            UNREACHABLE => self.unreachable(f, b),
            UNOP => self.negate(f, b),
            EXTRACTELT => self.extract_element(f, b),
            INSERTELT => self.insert_element(f, b),
            SHUFFLEVEC => self.shuffle(f, b),
            LANDINGPAD => self.landing_pad(f, b),
            RESUME => {
                let (value, ty) = self.typed(f, b)?;
                self.storable(ty, b)?;
                let instruction = self.new_instruction(Opcode::Resume, self.void);
                let first = self.operand(value);
                self.terminate(instruction, first);
                Ok(())
            }
            FREEZE => {
                let (value, ty) = self.typed(f, b)?;
                self.storable(ty, b)?;
                let first = self.operand(value);
                self.push(self.new_instruction(Opcode::Freeze, ty), first);
                Ok(())
            }
            INDIRECTBR => self.indirect_br(f, b),
            VAARG => self.va_arg(f, b),
            LOADATOMIC => self.load(f, b),
            STOREATOMIC => self.store(f, b),
            FENCE => self.fence(f, b),
            CMPXCHG => self.cmpxchg(f, b),
            ATOMICRMW => self.atomic_rmw(f, b),
            CALLBR => self.callbr(f, b),
            CLEANUPRET | CATCHRET | CATCHPAD | CLEANUPPAD | CATCHSWITCH => self.funclet(f, b),
            code => Err(b.error(ErrorKind::UnknownRecord { code })),
        }
    }

    #[inline(always)]
    fn new_instruction(&self, opcode: Opcode, ty: TypeId) -> Instruction {
        Instruction {
            opcode,
            sub: 0,
            align: 0,
            ordering: Ordering::NotAtomic,
            flags: 0,
            fast_math: 0,
            ty,
            aux: 0,
            result: ValueId::NONE,
            first: 0,
            count: 0,
        }
    }

    /// Where the operands of the next instruction begin.
    #[inline(always)]
    fn start(&self) -> usize {
        self.body.operands.len()
    }

    /// Adds one operand.
    #[inline(always)]
    fn operand(&mut self, operand: u32) -> usize {
        let first = self.start();
        self.body.operands.push(operand);
        first
    }

    #[inline(always)]
    fn operands<const N: usize>(&mut self, operands: [u32; N]) -> usize {
        let first = self.start();
        self.body.operands.extend_from_slice(&operands);
        first
    }

    /// Adds an instruction that ends its block.
    #[inline]
    fn terminate(&mut self, instruction: Instruction, first: usize) {
        self.push(instruction, first);
        self.closed += 1;
        self.body.blocks.push(self.body.instructions.len() as u32);
    }

    /// Adds a value of any type, or of metadata, with its type if it is defined later.
    pub(crate) fn push_any(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (value, ty) = self.typed(f, b)?;
        let value = match self.classes.class(ty) {
            Class::Metadata => ValueId::NONE.0,
            Class::Token => value,
            _ => {
                self.storable(ty, b)?;
                value
            }
        };
        self.body.operands.push(value);
        Ok(())
    }

    /// The next field as a block that control may go to: any but the entry.
    #[inline(always)]
    fn target(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let index = self.need(f, b)?;
        if index == 0 || index >= u64::from(self.blocks) {
            let count = u64::from(self.blocks);
            return Err(b.error(ErrorKind::BadReference { what: "basic block", index, count }));
        }
        Ok(index as u32)
    }

    #[inline(always)]
    fn expect(&self, holds: bool, what: &'static str, b: &Block<'_>) -> Outcome {
        if holds { Ok(()) } else { Err(b.error(ErrorKind::TypeMismatch { what })) }
    }

    #[inline(always)]
    fn storable(&self, ty: TypeId, b: &Block<'_>) -> Outcome {
        self.expect(self.classes.class(ty).is_storable(), "value of a type that cannot be stored", b)
    }

    /// The next field and what follows it as the address of an access.
    #[inline(always)]
    fn address(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let (address, ty) = self.typed(f, b)?;
        self.expect(self.classes.class(ty) == Class::Pointer, "address that is no pointer", b)?;
        Ok(address)
    }

    #[inline(always)]
    fn align(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u8, Error> {
        match self.need(f, b)? {
            value @ 0..=MAX_ALIGN => Ok(value as u8),
            value => Err(b.error(ErrorKind::BadValue { what: "exponent of an alignment", value })),
        }
    }

    fn ordering(&self, f: &mut Fields<'_>, allowed: &[Ordering], b: &Block<'_>) -> Result<Ordering, Error> {
        use Ordering::*;
        let value = self.need(f, b)?;
        let all = [NotAtomic, Unordered, Monotonic, Acquire, Release, AcquireRelease, SequentiallyConsistent];
        let ordering = usize::try_from(value).ok().and_then(|value| all.get(value));
        ordering
            .filter(|ordering| allowed.contains(ordering))
            .copied()
            .ok_or_else(|| b.error(ErrorKind::BadValue { what: "memory ordering", value }))
    }

    /// Scope 0 is the own thread; all others are taken for the whole system, which is the strongest.
    fn scope(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u16, Error> {
        Ok(if self.need(f, b)? == 0 { Instruction::SINGLE_THREAD } else { 0 })
    }

    /// `volatile`
    #[inline(always)]
    fn volatile(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u16, Error> {
        Ok(if self.need(f, b)? != 0 { Instruction::VOLATILE } else { 0 })
    }

    /// `[operand, type?, operation, flags?]`
    fn negate(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (value, ty) = self.typed(f, b)?;
        let operation = self.need(f, b)?;
        if operation != 0 {
            return Err(b.error(ErrorKind::BadValue { what: "operation", value: operation }));
        }
        self.expect(self.classes.class(ty).is_float(), "negation of something else than a float", b)?;
        let fast_math = self.optional_fast_math(f);
        let first = self.operand(value);
        self.push(Instruction { fast_math, ..self.new_instruction(Opcode::FNeg, ty) }, first);
        Ok(())
    }

    #[inline(always)]
    fn optional_fast_math(&self, f: &mut Fields<'_>) -> u16 {
        if f.rest().is_empty() { 0 } else { fast_math_flags(f.take().unwrap_or_default()) }
    }

    /// `[left, type?, right, operation, flags?]`
    #[inline(always)]
    pub(crate) fn binary(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Opcode::*;
        const INTEGER: [Opcode; 13] = [Add, Sub, Mul, UDiv, SDiv, URem, SRem, Shl, LShr, AShr, And, Or, Xor];
        const FLOAT: [Option<Opcode>; 7] = [Some(FAdd), Some(FSub), Some(FMul), None, Some(FDiv), None, Some(FRem)];
        let (left, ty) = self.typed(f, b)?;
        let right = self.value(ty, f, b)?;
        let code = self.need(f, b)?;
        let at = usize::try_from(code).unwrap_or(usize::MAX);
        let unknown = || b.error(ErrorKind::BadValue { what: "operation", value: code });
        let mut instruction = self.new_instruction(Add, ty);
        if self.classes.class(ty).is_integer() {
            instruction.opcode = *INTEGER.get(at).ok_or_else(unknown)?;
            if !f.rest().is_empty() {
                let known = match instruction.opcode {
                    Add | Sub | Mul | Shl => 3,
                    UDiv | SDiv | LShr | AShr | Or => 1,
                    _ => 0,
                };
                instruction.flags = f.take().unwrap_or_default() as u16 & known;
            }
        } else {
            self.expect(self.classes.class(ty).is_float(), "arithmetic on something else than numbers", b)?;
            instruction.opcode = FLOAT.get(at).copied().flatten().ok_or_else(unknown)?;
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
        const CASTS: [Opcode; 14] = [
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
        ];
        let (value, from) = self.typed(f, b)?;
        let to = self.ty(f, b)?;
        let code = self.need(f, b)?;
        let opcode = usize::try_from(code).ok().and_then(|at| CASTS.get(at).copied());
        let opcode = opcode.ok_or_else(|| b.error(ErrorKind::BadValue { what: "conversion", value: code }))?;
        self.expect(self.cast_is_valid(opcode, from, to), "conversion between these types", b)?;
        let mut instruction = self.new_instruction(opcode, to);
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
        let integers = (source.class.is_integer(), target.class.is_integer());
        let floats = (source.class.is_float(), target.class.is_float());
        let pointers = (source.class.is_pointer(), target.class.is_pointer());
        match opcode {
            Opcode::Trunc => integers == (true, true) && source.scalar > target.scalar && same_lanes,
            Opcode::ZExt | Opcode::SExt => integers == (true, true) && source.scalar < target.scalar && same_lanes,
            Opcode::FpTrunc => floats == (true, true) && source.scalar > target.scalar && same_lanes,
            Opcode::FpExt => floats == (true, true) && source.scalar < target.scalar && same_lanes,
            Opcode::UiToFp | Opcode::SiToFp => integers.0 && floats.1 && same_lanes,
            Opcode::FpToUi | Opcode::FpToSi => floats.0 && integers.1 && same_lanes,
            Opcode::PtrToInt | Opcode::PtrToAddr => pointers.0 && integers.1 && same_lanes,
            Opcode::IntToPtr => integers.0 && pointers.1 && same_lanes,
            Opcode::AddrSpaceCast => pointers == (true, true) && source.scalar != target.scalar && same_lanes,
            _ if pointers.0 || pointers.1 => {
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

    /// Length of a vector, nothing for other types.
    fn lanes(&self, ty: TypeId) -> Option<(u32, bool)> {
        match self.module.ty(ty) {
            Type::Vector { count, scalable, .. } => Some((*count, *scalable)),
            _ => None,
        }
    }

    /// Element type of a vector.
    fn element(&self, ty: TypeId, b: &Block<'_>) -> Result<TypeId, Error> {
        match self.module.ty(ty) {
            Type::Vector { element, .. } => Ok(*element),
            _ => Err(b.error(ErrorKind::TypeMismatch { what: "element of something else than a vector" })),
        }
    }

    fn missing_type(&self, ty: Option<TypeId>, b: &Block<'_>) -> Result<TypeId, Error> {
        ty.ok_or_else(|| b.error(ErrorKind::TypeMismatch { what: "result whose type the module lacks" }))
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
        self.push(Instruction { flags, aux: source.0, ..self.new_instruction(Opcode::Gep, result) }, first);
        Ok(())
    }

    /// The type of part `index` of a value of type `outer`.
    fn step_into(&self, outer: TypeId, index: u32, b: &Block<'_>) -> Result<TypeId, Error> {
        match self.module.ty(outer) {
            Type::Array { element, .. } | Type::Vector { element, .. } => Ok(*element),
            Type::Struct { fields, .. } => {
                let number = self.constant_number(index).filter(|_| self.classes.of(self.type_of(index)).scalar == 32);
                let number = number.and_then(|number| usize::try_from(number).ok());
                let field = number.and_then(|number| fields.get(number).copied());
                field.ok_or_else(|| b.error(ErrorKind::TypeMismatch { what: "index of a field" }))
            }
            _ => Err(b.error(ErrorKind::TypeMismatch { what: "index into something without parts" })),
        }
    }

    /// The value of a constant integer, or of all elements of a vector of them.
    fn constant_number(&self, value: u32) -> Option<u64> {
        match self.constant(value)? {
            Constant::Int(number) => Some(number),
            Constant::Null => Some(0),
            Constant::Data(bytes) => {
                let first = *bytes.first_chunk::<4>()?;
                bytes.chunks_exact(4).all(|word| word == first).then_some(u64::from(u32::from_le_bytes(first)))
            }
            Constant::Aggregate([first, rest @ ..]) if rest.iter().all(|id| id == first) => {
                match self.constant(first.0)? {
                    Constant::Int(number) => Some(number),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// `value` as a constant, if it is one that exists.
    fn constant(&self, value: u32) -> Option<Constant<'_>> {
        let known = value < self.next && self.body.is_constant(ValueId(value));
        if known { self.body.constant(self.module, ValueId(value)) } else { None }
    }

    fn is_constant(&self, value: u32) -> bool {
        value < self.next && self.body.is_constant(ValueId(value))
    }

    /// `[then, type?, otherwise, condition, type?, flags?]`
    fn select(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        self.push(Instruction { fast_math, ..self.new_instruction(Opcode::Select, ty) }, first);
        Ok(())
    }

    /// `[vector, type?, index, type?]`
    fn extract_element(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (vector, ty) = self.typed(f, b)?;
        let element = self.element(ty, b)?;
        let index = self.index(f, b)?;
        let first = self.operands([vector, index]);
        self.push(self.new_instruction(Opcode::ExtractElement, element), first);
        Ok(())
    }

    /// `[vector, type?, element, index, type?]`
    fn insert_element(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (vector, ty) = self.typed(f, b)?;
        let element = self.element(ty, b)?;
        let element = self.value(element, f, b)?;
        let index = self.index(f, b)?;
        let first = self.operands([vector, element, index]);
        self.push(self.new_instruction(Opcode::InsertElement, ty), first);
        Ok(())
    }

    fn index(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let (index, ty) = self.typed(f, b)?;
        self.expect(self.classes.class(ty) == Class::Integer, "index that is no integer", b)?;
        Ok(index)
    }

    /// `[left, type?, right, mask, type?]`
    fn shuffle(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
            && self.mask_is_valid(mask, u64::from(lanes.0) * 2, scalable);
        self.expect(fits, "mask of a shuffle", b)?;
        let result = match lanes.0 == count {
            true => ty,
            false => self.missing_type(self.classes.vector(count, scalable, element), b)?,
        };
        let first = self.operands([left, right, mask]);
        self.push(self.new_instruction(Opcode::ShuffleVector, result), first);
        Ok(())
    }

    /// `ShuffleVectorInst::isValidOperands`
    fn mask_is_valid(&self, mask: u32, limit: u64, scalable: bool) -> bool {
        let unknown = |constant| matches!(constant, Constant::Undef | Constant::Poison);
        match self.constant(mask) {
            Some(Constant::Null | Constant::Undef | Constant::Poison) => true,
            _ if scalable => false,
            Some(Constant::Data(bytes)) => bytes
                .chunks_exact(4)
                .all(|word| word.try_into().is_ok_and(|word| u64::from(u32::from_le_bytes(word)) < limit)),
            Some(Constant::Aggregate(elements)) => elements.iter().all(|id| match self.constant(id.0) {
                Some(Constant::Int(index)) => index < limit,
                Some(Constant::Null) => true,
                Some(other) => unknown(other),
                None => false,
            }),
            _ => false,
        }
    }

    /// `[left, type?, right, predicate, flags?]`
    #[inline(always)]
    pub(crate) fn compare(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (left, ty) = self.typed(f, b)?;
        let right = self.value(ty, f, b)?;
        let predicate = self.need(f, b)?;
        let facts = self.classes.of(ty);
        let compared = self.missing_type(facts.compared, b)?;
        let mut instruction = self.new_instruction(Opcode::ICmp, compared);
        let fits = if facts.class.is_float() {
            instruction.opcode = Opcode::FCmp;
            instruction.fast_math = self.optional_fast_math(f);
            predicate <= LAST_FCMP
        } else {
            self.expect(facts.class.is_integer() || facts.class.is_pointer(), "comparison of these types", b)?;
            if !f.rest().is_empty() {
                instruction.flags = f.take().unwrap_or_default() as u16 & 1;
            }
            (FIRST_ICMP..=LAST_ICMP).contains(&predicate)
        };
        if !fits {
            return Err(b.error(ErrorKind::BadValue { what: "predicate", value: predicate }));
        }
        instruction.sub = predicate as u8;
        let first = self.operands([left, right]);
        self.push(instruction, first);
        Ok(())
    }

    pub(crate) fn unreachable(&mut self, _: &mut Fields<'_>, _: &Block<'_>) -> Outcome {
        let first = self.start();
        self.terminate(self.new_instruction(Opcode::Unreachable, self.void), first);
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
        self.terminate(self.new_instruction(Opcode::Ret, self.void), first);
        Ok(())
    }

    /// `[target]` or `[then, otherwise, condition]`
    #[inline(always)]
    pub(crate) fn br(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let then = self.target(f, b)?;
        if f.rest().is_empty() {
            let first = self.operand(then);
            self.terminate(self.new_instruction(Opcode::Br, self.void), first);
            return Ok(());
        }
        let otherwise = self.target(f, b)?;
        let bit = self.missing_type(self.classes.bit, b)?;
        let condition = self.value(bit, f, b)?;
        let first = self.operands([condition, then, otherwise]);
        self.terminate(self.new_instruction(Opcode::CondBr, self.void), first);
        Ok(())
    }

    /// `[type, value, default, (case, target)…]`, cases as absolute value numbers
    fn switch(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        self.terminate(self.new_instruction(Opcode::Switch, self.void), first);
        Ok(())
    }

    /// Whether the constant `value` is an integer written as such.
    fn is_integer(&self, value: u32) -> bool {
        let own = value >= self.first;
        let table = if own { &self.body.constants } else { &self.module.constants };
        table.is_integer(ConstantId(value))
    }

    /// `[type, address, target…]`
    fn indirect_br(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let ty = self.ty(f, b)?;
        self.expect(self.classes.class(ty) == Class::Pointer, "address that is no pointer", b)?;
        let address = self.value(ty, f, b)?;
        let first = self.operand(address);
        while !f.rest().is_empty() {
            let target = self.target(f, b)?;
            self.operand(target);
        }
        self.terminate(self.new_instruction(Opcode::IndirectBr, self.void), first);
        Ok(())
    }

    /// `[type, (value, block)…, flags?]`, values relative with their sign in the lowest bit
    #[inline]
    fn phi(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let ty = self.ty(f, b)?;
        self.storable(ty, b)?;
        let block_start = self.body.blocks.last().copied().unwrap_or_default() as usize;
        let only_phis = match self.body.instructions.last() {
            Some(last) if self.body.instructions.len() > block_start => last.opcode == Opcode::Phi,
            _ => true,
        };
        self.expect(only_phis, "phi behind another instruction", b)?;
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
        self.push(Instruction { fast_math, ..self.new_instruction(Opcode::Phi, ty) }, first);
        Ok(())
    }

    /// `[list type, list, result type]`
    fn va_arg(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let list_type = self.ty(f, b)?;
        self.expect(self.classes.class(list_type) == Class::Pointer, "list that is no pointer", b)?;
        let list = self.value(list_type, f, b)?;
        let ty = self.ty(f, b)?;
        self.storable(ty, b)?;
        let first = self.operand(list);
        self.push(self.new_instruction(Opcode::VaArg, ty), first);
        Ok(())
    }

    /// `[allocated type, type of the count, count, alignment and flags, address space?]`, the count as an absolute number
    #[inline]
    fn alloca(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        const SPECIAL: u64 = 1 << 5 | 1 << 7;
        const EXPLICIT_TYPE: u64 = 1 << 6;
        let allocated = self.ty(f, b)?;
        self.storable(allocated, b)?;
        let count_type = self.ty(f, b)?;
        self.expect(self.classes.class(count_type) == Class::Integer, "count that is no integer", b)?;
        let count = self.need(f, b)?;
        let Ok(count) = u32::try_from(count) else {
            return Err(b.error(ErrorKind::BadValue { what: "value number", value: count }));
        };
        self.expect_type(count, count_type, b)?;
        let packed = self.need(f, b)?;
        self.expect(packed & EXPLICIT_TYPE != 0, "alloca with a typed pointer", b)?;
        // Five bits of the alignment, three flags, the rest of it.
        let align = packed & 31 | packed >> 3 & 0xe0;
        if align > MAX_ALIGN {
            return Err(b.error(ErrorKind::BadValue { what: "exponent of an alignment", value: align }));
        }
        let space = match f.rest() {
            [] => self.module.data_layout.alloca_address_space(),
            _ => u32::try_from(self.need(f, b)?).unwrap_or(u32::MAX),
        };
        let ty = match self.last_pointer {
            Some((known, ty)) if known == space => ty,
            _ => {
                let ty = self.missing_type(self.classes.pointer(space), b)?;
                self.last_pointer = Some((space, ty));
                ty
            }
        };
        let first = self.operand(count);
        let instruction = Instruction {
            align: align as u8,
            flags: if packed & SPECIAL != 0 { Instruction::SPECIAL_ALLOCA } else { 0 },
            aux: allocated.0,
            ..self.new_instruction(Opcode::Alloca, ty)
        };
        self.push(instruction, first);
        Ok(())
    }

    /// `[address, type?, type, alignment, volatile, (ordering, scope)?]`
    #[inline(always)]
    pub(crate) fn load(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Ordering::*;
        let address = self.address(f, b)?;
        let ty = self.ty(f, b)?;
        self.storable(ty, b)?;
        let align = self.align(f, b)?;
        let flags = self.volatile(f, b)?;
        let mut instruction = Instruction { align, flags, ..self.new_instruction(Opcode::Load, ty) };
        if f.code == LOADATOMIC {
            instruction.ordering = self.ordering(f, &[Unordered, Monotonic, Acquire, SequentiallyConsistent], b)?;
            instruction.flags |= self.scope(f, b)?;
            self.atomic(ty, align, b)?;
        }
        let first = self.operand(address);
        self.push(instruction, first);
        Ok(())
    }

    /// Atomic accesses are aligned, of a number or pointer.
    fn atomic(&self, ty: TypeId, align: u8, b: &Block<'_>) -> Outcome {
        let class = self.classes.class(ty);
        let fits = matches!(class, Class::Integer | Class::Float | Class::Pointer) || class.is_vector();
        self.expect(fits && align != 0, "atomic access", b)
    }

    /// `[address, type?, value, type?, alignment, volatile, (ordering, scope)?]`
    #[inline(always)]
    pub(crate) fn store(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Ordering::*;
        let address = self.address(f, b)?;
        let (value, ty) = self.typed(f, b)?;
        self.storable(ty, b)?;
        let align = self.align(f, b)?;
        let flags = self.volatile(f, b)?;
        let mut instruction = Instruction { align, flags, ..self.new_instruction(Opcode::Store, self.void) };
        if f.code == STOREATOMIC {
            instruction.ordering = self.ordering(f, &[Unordered, Monotonic, Release, SequentiallyConsistent], b)?;
            instruction.flags |= self.scope(f, b)?;
            self.atomic(ty, align, b)?;
        }
        let first = self.operands([address, value]);
        self.push(instruction, first);
        Ok(())
    }

    /// `[ordering, scope]`
    fn fence(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Ordering::*;
        let ordering = self.ordering(f, &[Acquire, Release, AcquireRelease, SequentiallyConsistent], b)?;
        let flags = self.scope(f, b)?;
        let first = self.start();
        self.push(Instruction { ordering, flags, ..self.new_instruction(Opcode::Fence, self.void) }, first);
        Ok(())
    }

    /// `[address, type?, expected, type?, new, volatile, ordering, scope, ordering on failure, weak, alignment]`
    fn cmpxchg(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Ordering::*;
        let address = self.address(f, b)?;
        let (expected, ty) = self.typed(f, b)?;
        let new = self.value(ty, f, b)?;
        let volatile = self.volatile(f, b)?;
        let success = [Monotonic, Acquire, Release, AcquireRelease, SequentiallyConsistent];
        let ordering = self.ordering(f, &success, b)?;
        let scope = self.scope(f, b)?;
        let failure = self.ordering(f, &[Monotonic, Acquire, SequentiallyConsistent], b)?;
        let weak = if self.need(f, b)? != 0 { Instruction::WEAK } else { 0 };
        let align = self.align(f, b)?;
        let fits = matches!(self.classes.class(ty), Class::Integer | Class::Pointer) && align != 0;
        self.expect(fits, "atomic access", b)?;
        let result = self.missing_type(self.classes.flagged(ty), b)?;
        let instruction = Instruction {
            sub: failure as u8,
            align,
            ordering,
            flags: volatile | scope | weak,
            ..self.new_instruction(Opcode::CmpXchg, result)
        };
        let first = self.operands([address, expected, new]);
        self.push(instruction, first);
        Ok(())
    }

    /// `[address, type?, value, type?, operation, volatile, ordering, scope, alignment]`
    fn atomic_rmw(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Ordering::*;
        let address = self.address(f, b)?;
        let (value, ty) = self.typed(f, b)?;
        let code = self.need(f, b)?;
        let operation = usize::try_from(code).ok().and_then(|at| ATOMIC_OPERATIONS.get(at).copied());
        let operation = operation.ok_or_else(|| b.error(ErrorKind::BadValue { what: "operation", value: code }))?;
        let volatile = self.volatile(f, b)?;
        let ordering = self.ordering(f, &[Monotonic, Acquire, Release, AcquireRelease, SequentiallyConsistent], b)?;
        let scope = self.scope(f, b)?;
        let align = self.align(f, b)?;
        // 0 exchanges anything, 11 to 16 are those of floats.
        let class = self.classes.class(ty);
        let fits = match operation {
            0 => matches!(class, Class::Integer | Class::Float | Class::Pointer),
            11..=16 => class.is_float(),
            _ => class == Class::Integer,
        };
        self.expect(fits && align != 0, "atomic access", b)?;
        let flags = volatile | scope;
        let first = self.operands([address, value]);
        let instruction =
            Instruction { sub: operation, align, ordering, flags, ..self.new_instruction(Opcode::AtomicRmw, ty) };
        self.push(instruction, first);
        Ok(())
    }

    /// `[aggregate, type?, index…]`
    fn extract_value(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (aggregate, ty) = self.typed(f, b)?;
        let first = self.operand(aggregate);
        let part = self.part(ty, f, b)?;
        self.push(self.new_instruction(Opcode::ExtractValue, part), first);
        Ok(())
    }

    /// `[aggregate, type?, value, type?, index…]`
    fn insert_value(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let (aggregate, ty) = self.typed(f, b)?;
        let (value, value_type) = self.typed(f, b)?;
        let first = self.operands([aggregate, value]);
        let part = self.part(ty, f, b)?;
        self.expect(part == value_type, "part of an aggregate", b)?;
        self.push(self.new_instruction(Opcode::InsertValue, ty), first);
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

    /// `[result type, is cleanup, number of clauses, (kind, value, type?)…]`
    fn landing_pad(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        self.push(Instruction { flags, ..self.new_instruction(Opcode::LandingPad, ty) }, first);
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
        let tail = match bits {
            _ if bits & 1 << 16 != 0 => TailKind::Never,
            _ if bits & 1 << 14 != 0 => TailKind::Must,
            _ if bits & 1 != 0 => TailKind::Tail,
            _ => TailKind::None,
        };
        let aux =
            self.push_call(Call { ty, attributes, convention: (bits as u16 & 0x7ff) >> 1, tail, bundles: (0, 0) });
        self.push(Instruction { fast_math, aux, ..self.new_instruction(Opcode::Call, result) }, first);
        Ok(())
    }

    /// `[attributes, convention and flags, normal target, unwind target, function type, callee, type?, arguments…]`
    fn invoke(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let attributes = self.attribute_list(f, b)?;
        let bits = self.need(f, b)?;
        let (normal, unwind) = (self.target(f, b)?, self.target(f, b)?);
        self.expect(bits & 1 << 13 != 0, "call of a typed pointer", b)?;
        let (ty, callee) = self.callee(f, b)?;
        let first = self.operands([callee, normal, unwind]);
        let result = self.arguments(ty, f, b)?;
        let convention = bits as u16 & 0x3ff;
        let aux = self.push_call(Call { ty, attributes, convention, tail: TailKind::None, bundles: (0, 0) });
        self.terminate(Instruction { aux, ..self.new_instruction(Opcode::Invoke, result) }, first);
        Ok(())
    }

    /// `[attributes, convention and flags, default target, number of others, target…, function type, callee, type?,
    /// arguments…]`
    fn callbr(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        self.terminate(Instruction { aux, ..self.new_instruction(Opcode::CallBr, result) }, first);
        Ok(())
    }

    #[inline]
    fn attribute_list(&self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let index = self.need(f, b)?;
        let count = self.module.attribute_lists.len() as u64;
        if index > count {
            return Err(b.error(ErrorKind::BadReference { what: "attribute list", index, count }));
        }
        Ok(index as u32)
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
                    self.need(f, b)?;
                    ValueId::NONE.0
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
    fn funclet(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        let instruction = Instruction { sub: code as u8, ..self.new_instruction(Opcode::Funclet, ty) };
        match code {
            CATCHPAD | CLEANUPPAD => self.push(instruction, first),
            _ => self.terminate(instruction, first),
        }
        Ok(())
    }
}

/// `getDecodedFastMathFlags`: in bitcode `reassoc` is the highest bit, and the lowest once meant all of them.
#[inline]
fn fast_math_flags(flags: u64) -> u16 {
    let reassociate = (flags >> 7 & 1) as u16;
    if flags & 1 != 0 { 0x7f } else { flags as u16 & 0x7e | reassociate }
}
