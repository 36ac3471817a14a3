//! The records that nearly all instructions have, read straight from the bits into the arrays of a [`Body`].
//!
//! LLVM's writer gives most instructions one of a dozen abbreviations ([`Shape`]), calls and phis none. What is common
//! among these is taken here: fields come from a word of bits ahead, by code made for the record, and everything that
//! [`instructions`](crate::instructions) would check is checked. Whatever is not common, or not right, is left where it
//! is, for the general reader to take or refuse: there are no errors here, and a record means the same to both.

use crate::ahead::{Ahead, Stretch};
use crate::attributes::{AttributeListId, decode_sign_rotated};
use crate::body::{Body, Call, Location, NO_USER, TailKind, ValueId};
use crate::body_reader;
use crate::classes::{Class, Classes, Facts};
use crate::constant::ConstantId;
use crate::constants::Constants;
use crate::instructions::{self, AllocaFields, CASTS, FLOATS, INTEGERS, PREDICATES};
use crate::instructions::{converts, known_flags};
use crate::opcode::Opcode;
use crate::packed::{Draft, Instruction};
use crate::shape::{Shape, Shapes};
use crate::types::{Type, TypeId};

const CALL: u64 = instructions::CALL as u64;
const PHI: u64 = instructions::PHI as u64;
const ALLOCA: u64 = instructions::ALLOCA as u64;
const INVOKE: u64 = instructions::INVOKE as u64;
const SELECT: u64 = instructions::VSELECT as u64;
const EXTRACT_VALUE: u64 = instructions::EXTRACTVAL as u64;
const LANDING_PAD: u64 = instructions::LANDINGPAD as u64;

/// A repeated location: the code in two chunks of 6 bits, no fields.
const LOCATION_AGAIN: u64 = {
    let code = body_reader::DEBUG_LOC_AGAIN as u64;
    code & 31 | 32 | code >> 5 << 6
};

/// What records may refer to, and what their meaning depends on.
pub(crate) struct Scope<'r> {
    pub(crate) shapes: Shapes,
    pub(crate) types: &'r [Type],
    pub(crate) classes: &'r Classes,
    /// The module's.
    pub(crate) constants: &'r Constants,
    /// Their types.
    pub(crate) outer: &'r [TypeId],
    pub(crate) attribute_lists: u64,
    pub(crate) void: TypeId,
    /// What the function returns.
    pub(crate) result: TypeId,
    /// The type of most addresses.
    pub(crate) pointer: TypeId,
    /// The type of a stack object's address, unless the record names an address space.
    pub(crate) alloca: Option<TypeId>,
}

/// Reads records into `body`, which has `blocks` blocks, one of them open, as long as they are usual ones; returns the
/// place of the first other one. The first `bundles` of the body's operand bundles belong to calls before.
pub(crate) fn read_usual(body: &mut Body, scope: &Scope<'_>, blocks: u32, bundles: u32, from: Stretch<'_>) -> u64 {
    // A value of its own stays in registers.
    let mut from = Ahead::new(from);
    loop {
        let place = from.rest().place;
        from.load();
        let shape = scope.shapes.next(&mut from);
        let taken = match shape {
            Shape::Load { ty } => load(body, scope, ty, &mut from),
            Shape::Store => store(body, scope, &mut from),
            Shape::Gep { ty } => gep(body, scope, ty, &mut from),
            Shape::Compare => compare(body, scope, false, &mut from),
            Shape::FlaggedCompare => compare(body, scope, true, &mut from),
            Shape::Binary => binary(body, scope, false, &mut from),
            Shape::FlaggedBinary => binary(body, scope, true, &mut from),
            Shape::Cast { ty } => cast(body, scope, ty, false, &mut from),
            Shape::FlaggedCast { ty } => cast(body, scope, ty, true, &mut from),
            Shape::Location => location(body, &mut from),
            Shape::Unabbreviated => {
                if from.is_next(LOCATION_AGAIN, 18) {
                    location_again(body, &mut from)
                } else if from.is_next(PHI, 6) {
                    let count = from.near();
                    phi(body, scope, count, blocks, &mut from)
                } else if from.is_next(ALLOCA, 6) {
                    let count = from.near();
                    alloca(body, scope, count, &mut from)
                } else {
                    let (code, count) = (from.near(), from.near());
                    match code {
                        CALL => call(body, scope, count, bundles, &mut from),
                        INVOKE => {
                            let taken = invoke(body, scope, count, blocks, bundles, &mut from);
                            if taken.is_some() && body.blocks.len() as u32 > blocks {
                                return read_last_location(body, scope, from.rest());
                            }
                            taken
                        }
                        SELECT => select(body, scope, count, &mut from),
                        EXTRACT_VALUE => extract_value(body, scope, count, &mut from),
                        LANDING_PAD => landing_pad(body, scope, count, &mut from),
                        _ => None,
                    }
                }
            }
            Shape::Jump | Shape::Branch | Shape::Return | Shape::ReturnVoid | Shape::Unreachable => {
                let taken = match shape {
                    Shape::Jump => jump(body, scope, blocks, &mut from),
                    Shape::Branch => branch(body, scope, blocks, &mut from),
                    Shape::Return => ret(body, scope, &mut from),
                    Shape::ReturnVoid => ret_void(body, scope, &mut from),
                    _ => unreachable(body, scope, &mut from),
                };
                if taken.is_some() && body.blocks.len() as u32 > blocks {
                    return read_last_location(body, scope, from.rest());
                }
                taken
            }
            Shape::SetType { .. } | Shape::Integer | Shape::Null | Shape::Other => None,
        };
        if taken.is_none() {
            return place;
        }
    }
}

/// Reads how many blocks there are; returns that and the place behind it.
pub(crate) fn read_block_count(scope: &Scope<'_>, from: Stretch<'_>) -> Option<(u64, u64)> {
    let mut from = Ahead::new(from);
    from.load();
    expect(scope.shapes.next(&mut from) == Shape::Unabbreviated)?;
    expect((from.near(), from.near()) == (u64::from(instructions::DECLAREBLOCKS), 1))?;
    let count = from.near();
    expect(from.finish())?;
    Some((count, from.rest().place))
}

/// Reads the location of the last instruction, if it has one.
fn read_last_location(body: &mut Body, scope: &Scope<'_>, from: Stretch<'_>) -> u64 {
    let mut from = Ahead::new(from);
    let place = from.rest().place;
    from.load();
    match scope.shapes.next(&mut from) {
        Shape::Location if location(body, &mut from).is_some() => from.rest().place,
        _ => place,
    }
}

/// What was taken, unless it is not what the general reader would take.
type Taken = Option<()>;

/// Nothing if `holds` is false.
#[inline(always)]
fn expect(holds: bool) -> Taken {
    if holds { Some(()) } else { None }
}

/// The value that a field counts back to from the next one.
#[inline(always)]
fn value(body: &Body, field: u64) -> u32 {
    body.value_count().wrapping_sub(field as u32)
}

/// The type of a value that exists already.
#[inline(always)]
fn type_of(body: &Body, scope: &Scope<'_>, value: u32) -> Option<TypeId> {
    match body.own_type(value) {
        Some(ty) => Some(ty),
        None => scope.outer.get(value as usize).copied(),
    }
}

/// What is known of the type of a value that exists already.
#[inline(always)]
fn facts_of<'s>(body: &Body, scope: &Scope<'s>, value: u32) -> Option<&'s Facts> {
    scope.classes.get(u64::from(type_of(body, scope, value)?.0))
}

/// A type by its number that values can be stored and loaded by.
#[inline(always)]
fn storable(scope: &Scope<'_>, field: u64) -> Option<TypeId> {
    expect(scope.classes.get(field)?.storable)?;
    Some(TypeId(field as u32))
}

/// Whether `ty` is that of addresses.
#[inline(always)]
fn is_pointer(scope: &Scope<'_>, ty: TypeId) -> bool {
    ty == scope.pointer || scope.classes.facts(ty).is_some_and(|facts| facts.class == Class::Pointer)
}

/// The value that a field counts back to, if its type `fits`: then the instruction that comes next uses it. What is checked
/// behind this cannot be refused any more.
#[inline(always)]
fn used(body: &mut Body, scope: &Scope<'_>, field: u64, fits: impl FnOnce(TypeId) -> bool) -> Option<u32> {
    let value = value(body, field);
    let user = body.len() as u32;
    match body.own_value(value) {
        Some(own) => {
            expect(fits(own.ty))?;
            own.note_use(user);
        }
        None => expect(fits(*scope.outer.get(value as usize)?))?,
    }
    Some(value)
}

/// Adds an instruction without a result, whose operands are counted.
#[inline(always)]
fn push<const N: usize>(body: &mut Body, draft: Draft, operands: [u32; N]) {
    body.push(draft, false, operands);
}

/// Adds an instruction with a result.
#[inline(always)]
fn push_value<const N: usize>(body: &mut Body, draft: Draft, operands: [u32; N]) {
    body.push(draft, true, operands);
}

/// Adds an instruction that ends its block.
#[inline(always)]
fn terminate<const N: usize>(body: &mut Body, draft: Draft, operands: [u32; N]) {
    body.push(draft, false, operands);
    body.blocks.push(body.len() as u32);
}

#[inline(always)]
fn load(body: &mut Body, scope: &Scope<'_>, ty: u8, from: &mut Ahead<'_>) -> Taken {
    let (address, ty, align, volatile) = (from.near(), from.fixed(ty.into()), from.fixed(4), from.fixed(1));
    expect(from.finish() && align < 8)?;
    let ty = storable(scope, ty)?;
    let address = used(body, scope, address, |ty| is_pointer(scope, ty))?;
    let flags = if volatile != 0 { Instruction::VOLATILE } else { 0 };
    push_value(body, Draft { align: align as u8, flags, ..Draft::new(Opcode::Load, ty) }, [address]);
    Some(())
}

#[inline(always)]
fn store(body: &mut Body, scope: &Scope<'_>, from: &mut Ahead<'_>) -> Taken {
    let (address, stored, align, volatile) = (from.near(), from.near(), from.fixed(4), from.fixed(1));
    expect(from.finish() && align < 8)?;
    let address = value(body, address);
    expect(is_pointer(scope, type_of(body, scope, address)?))?;
    let stored = used(body, scope, stored, |ty| scope.classes.facts(ty).is_some_and(|facts| facts.storable))?;
    body.count_use(address, body.len() as u32);
    let flags = if volatile != 0 { Instruction::VOLATILE } else { 0 };
    push(body, Draft { align: align as u8, flags, ..Draft::new(Opcode::Store, scope.void) }, [address, stored]);
    Some(())
}

#[inline(always)]
fn gep(body: &mut Body, scope: &Scope<'_>, ty: u8, from: &mut Ahead<'_>) -> Taken {
    let (flags, source, count) = (from.fixed(3) as u16, from.fixed(ty.into()), from.near());
    expect(matches!(count, 2 | 3))?;
    from.more();
    let (base, index) = (from.near(), value(body, from.near()));
    let part = if count == 3 { from.near() } else { 0 };
    expect(from.finish())?;
    expect(facts_of(body, scope, index)?.class == Class::Integer)?;
    // `inbounds` implies `nusw`.
    let flags = flags | (flags & 1) << 1;
    let draft = |ty| Draft { flags, aux: source as u32, ..Draft::new(Opcode::Gep, ty) };
    let source = scope.types.get(source as usize)?;
    if count == 2 {
        let base = used(body, scope, base, |ty| is_pointer(scope, ty))?;
        body.count_use(index, body.len() as u32);
        push_value(body, draft(type_of(body, scope, base)?), [base, index]);
        return Some(());
    }
    let part = value(body, part);
    let part_type = facts_of(body, scope, part)?;
    expect(part_type.class == Class::Integer)?;
    match source {
        Type::Array { .. } => {}
        Type::Struct { fields, .. } => {
            let number = index_of(body, scope, part)?;
            expect(part_type.scalar == 32 && number < fields.len() as u64)?;
        }
        _ => return None,
    }
    let base = used(body, scope, base, |ty| is_pointer(scope, ty))?;
    body.count_use(index, body.len() as u32);
    body.count_use(part, body.len() as u32);
    push_value(body, draft(type_of(body, scope, base)?), [base, index, part]);
    Some(())
}

/// The value of a constant integer.
#[inline(always)]
fn index_of(body: &Body, scope: &Scope<'_>, value: u32) -> Option<u64> {
    let table = if value < body.first_value { scope.constants } else { &body.constants };
    table.index(ConstantId(value))
}

/// A block that control may go to.
#[inline(always)]
fn target(field: u64, blocks: u32) -> Option<u32> {
    expect(field != 0 && field < u64::from(blocks))?;
    Some(field as u32)
}

#[inline(always)]
fn jump(body: &mut Body, scope: &Scope<'_>, blocks: u32, from: &mut Ahead<'_>) -> Taken {
    let then = from.near();
    expect(from.finish())?;
    let then = target(then, blocks)?;
    terminate(body, Draft::new(Opcode::Br, scope.void), [then]);
    Some(())
}

#[inline(always)]
fn branch(body: &mut Body, scope: &Scope<'_>, blocks: u32, from: &mut Ahead<'_>) -> Taken {
    let (then, otherwise, condition) = (from.near(), from.near(), from.near());
    expect(from.finish())?;
    let (then, otherwise) = (target(then, blocks)?, target(otherwise, blocks)?);
    let condition = used(body, scope, condition, |ty| Some(ty) == scope.classes.bit)?;
    terminate(body, Draft::new(Opcode::CondBr, scope.void), [condition, then, otherwise]);
    Some(())
}

#[inline(always)]
fn ret(body: &mut Body, scope: &Scope<'_>, from: &mut Ahead<'_>) -> Taken {
    let returned = from.near();
    expect(from.finish() && scope.result != scope.void)?;
    let returned = used(body, scope, returned, |ty| ty == scope.result)?;
    terminate(body, Draft::new(Opcode::Ret, scope.void), [returned]);
    Some(())
}

#[inline(always)]
fn ret_void(body: &mut Body, scope: &Scope<'_>, from: &mut Ahead<'_>) -> Taken {
    expect(from.finish() && scope.result == scope.void)?;
    terminate(body, Draft::new(Opcode::Ret, scope.void), []);
    Some(())
}

#[inline(always)]
fn unreachable(body: &mut Body, scope: &Scope<'_>, from: &mut Ahead<'_>) -> Taken {
    expect(from.finish())?;
    terminate(body, Draft::new(Opcode::Unreachable, scope.void), []);
    Some(())
}

/// Two operands of the same type, which the instruction that comes next uses.
#[inline(always)]
fn pair(body: &mut Body, scope: &Scope<'_>, left: u32, right: u64, ty: TypeId) -> Option<[u32; 2]> {
    let right = used(body, scope, right, |other| other == ty)?;
    body.count_use(left, body.len() as u32);
    Some([left, right])
}

#[inline(always)]
fn compare(body: &mut Body, scope: &Scope<'_>, flagged: bool, from: &mut Ahead<'_>) -> Taken {
    let (left, right, predicate) = (from.near(), from.near(), from.fixed(6));
    let flags = if flagged { from.fixed(8) } else { 0 };
    expect(from.finish())?;
    let left = value(body, left);
    let ty = type_of(body, scope, left)?;
    let facts = scope.classes.facts(ty)?;
    // Of numbers in floating point there are few.
    let fits = matches!(facts.class, Class::Integer | Class::Pointer) && PREDICATES.contains(&predicate);
    expect(fits)?;
    let new = Draft::new(Opcode::ICmp, facts.compared?);
    let operands = pair(body, scope, left, right, ty)?;
    push_value(body, Draft { sub: predicate as u8, flags: flags as u16 & 1, ..new }, operands);
    Some(())
}

#[inline(always)]
fn binary(body: &mut Body, scope: &Scope<'_>, flagged: bool, from: &mut Ahead<'_>) -> Taken {
    let (left, right, code) = (from.near(), from.near(), from.fixed(4) as usize);
    let flags = if flagged { from.fixed(8) } else { 0 };
    expect(from.finish())?;
    let left = value(body, left);
    let ty = type_of(body, scope, left)?;
    let draft = match scope.classes.facts(ty)?.class {
        Class::Integer | Class::IntegerVector => {
            let opcode = *INTEGERS.get(code)?;
            Draft { flags: flags as u16 & known_flags(opcode), ..Draft::new(opcode, ty) }
        }
        Class::Float if !flagged => Draft::new((*FLOATS.get(code)?)?, ty),
        _ => return None,
    };
    let operands = pair(body, scope, left, right, ty)?;
    push_value(body, draft, operands);
    Some(())
}

#[inline(always)]
fn cast(body: &mut Body, scope: &Scope<'_>, ty: u8, flagged: bool, from: &mut Ahead<'_>) -> Taken {
    let (operand, to, code) = (from.near(), from.fixed(ty.into()), from.fixed(4) as usize);
    let flags = if flagged { from.fixed(8) as u16 } else { 0 };
    expect(from.finish())?;
    let target = scope.classes.get(to)?;
    let opcode = *CASTS.get(code)?;
    let known = match opcode {
        Opcode::Trunc => 3,
        Opcode::ZExt | Opcode::UiToFp => 1,
        _ if flagged => return None,
        _ => 0,
    };
    expect(!target.class.is_vector())?;
    let operand = used(body, scope, operand, |ty| {
        let source = scope.classes.facts(ty);
        source.is_some_and(|source| !source.class.is_vector() && converts(opcode, *source, *target) == Some(true))
    })?;
    push_value(body, Draft { flags: flags & known, ..Draft::new(opcode, TypeId(to as u32)) }, [operand]);
    Some(())
}

#[inline(always)]
fn alloca(body: &mut Body, scope: &Scope<'_>, fields: u64, from: &mut Ahead<'_>) -> Taken {
    expect(fields == 4)?;
    from.more();
    let (allocated, count_type) = (from.near(), from.near());
    let (count, packed) = (from.number(), from.near());
    expect(from.finish())?;
    let allocated = storable(scope, allocated)?;
    let count = u32::try_from(count).ok()?;
    expect(scope.classes.get(count_type)?.class == Class::Integer)?;
    expect(u64::from(type_of(body, scope, count)?.0) == count_type)?;
    let AllocaFields { align, flags } = AllocaFields::of(packed)?;
    let new = Draft::new(Opcode::Alloca, scope.alloca?);
    body.count_use(count, body.len() as u32);
    push_value(body, Draft { align, flags, aux: allocated.0, ..new }, [count]);
    Some(())
}

#[inline(always)]
fn select(body: &mut Body, scope: &Scope<'_>, fields: u64, from: &mut Ahead<'_>) -> Taken {
    // Without fast-math flags.
    expect(fields == 3)?;
    from.more();
    let [then, otherwise, condition] = [from.near(), from.near(), from.near()];
    expect(from.finish())?;
    let [then, otherwise, condition] = [then, otherwise, condition].map(|field| value(body, field));
    let ty = type_of(body, scope, then)?;
    expect(scope.classes.facts(ty)?.storable && type_of(body, scope, otherwise)? == ty)?;
    // One for all lanes.
    expect(Some(type_of(body, scope, condition)?) == scope.classes.bit)?;
    let operands = [condition, then, otherwise];
    operands.into_iter().for_each(|operand| body.count_use(operand, body.len() as u32));
    push_value(body, Draft::new(Opcode::Select, ty), operands);
    Some(())
}

#[inline(always)]
fn extract_value(body: &mut Body, scope: &Scope<'_>, fields: u64, from: &mut Ahead<'_>) -> Taken {
    expect(fields == 2)?;
    from.more();
    let (aggregate, index) = (value(body, from.near()), from.near());
    expect(from.finish())?;
    let Type::Struct { fields, .. } = scope.types.get(type_of(body, scope, aggregate)?.0 as usize)? else {
        return None;
    };
    let part = *fields.get(index as usize)?;
    expect(part != scope.void)?;
    body.count_use(aggregate, body.len() as u32);
    push_value(body, Draft::new(Opcode::ExtractValue, part), [aggregate, index as u32]);
    Some(())
}

#[inline(always)]
fn landing_pad(body: &mut Body, scope: &Scope<'_>, fields: u64, from: &mut Ahead<'_>) -> Taken {
    // Without clauses.
    expect(fields == 3)?;
    let (ty, cleanup, clauses) = (from.near(), from.near(), from.near());
    expect(from.finish() && clauses == 0)?;
    let flags = if cleanup != 0 { Instruction::CLEANUP } else { 0 };
    push_value(body, Draft { flags, ..Draft::new(Opcode::LandingPad, storable(scope, ty)?) }, []);
    Some(())
}

#[inline(always)]
fn phi(body: &mut Body, scope: &Scope<'_>, fields: u64, blocks: u32, from: &mut Ahead<'_>) -> Taken {
    from.more();
    let ty = from.near();
    expect(fields % 2 == 1 && fields <= 1 + 2 * LONGEST_OPERANDS)?;
    let ty = storable(scope, ty)?;
    expect(body.may_add_phi(body.blocks.last().copied().unwrap_or_default()))?;
    let (before, later) = (body.operands.len(), body.forward.len());
    body.operands.push(0);
    for _ in 0..fields / 2 {
        from.more();
        let value = value(body, decode_sign_rotated(from.near()));
        let block = from.near();
        let fits = match type_of(body, scope, value) {
            Some(known) => known == ty,
            None => {
                body.forward.push((value, ty));
                true
            }
        };
        if !(fits && block < u64::from(blocks)) {
            body.operands.truncate(before);
            body.forward.truncate(later);
            return None;
        }
        body.operands.extend_from_slice(&[value, block as u32]);
    }
    if !from.finish() {
        body.operands.truncate(before);
        body.forward.truncate(later);
        return None;
    }
    for at in (before + 1..body.operands.len()).step_by(2) {
        body.count_use(body.operands[at], NO_USER);
    }
    body.has_phis = true;
    body.push_behind(Draft::new(Opcode::Phi, ty), true, before + 1);
    Some(())
}

/// Most words of operands that an instruction has here.
const LONGEST_OPERANDS: u64 = 100;

/// The fields that all calls have.
struct CallFields {
    attributes: u64,
    ty: u64,
    callee: u64,
    /// How many fields follow.
    arguments: Option<u64>,
    convention: u16,
    tail: TailKind,
}

#[inline(always)]
fn call(body: &mut Body, scope: &Scope<'_>, fields: u64, bundles: u32, from: &mut Ahead<'_>) -> Taken {
    from.more();
    let (attributes, bits) = (from.near(), from.number());
    from.more();
    let (ty, callee) = (from.near(), from.number());
    // Explicit type, without fast-math flags.
    expect(bits & (1 << 17 | 1 << 15) == 1 << 15)?;
    let arguments = fields.checked_sub(4);
    let (convention, tail) = ((bits as u16 & 0x7ff) >> 1, TailKind::of(bits));
    let fields = CallFields { attributes, ty, callee, arguments, convention, tail };
    any_call(body, scope, Opcode::Call, fields, [], bundles, from)
}

#[inline(always)]
fn invoke(body: &mut Body, scope: &Scope<'_>, fields: u64, blocks: u32, bundles: u32, from: &mut Ahead<'_>) -> Taken {
    from.more();
    let (attributes, bits) = (from.near(), from.number());
    from.more();
    let (normal, unwind) = (target(from.near(), blocks)?, target(from.near(), blocks)?);
    from.more();
    let (ty, callee) = (from.near(), from.number());
    // Explicit type.
    expect(bits & 1 << 13 != 0)?;
    let arguments = fields.checked_sub(6);
    let fields =
        CallFields { attributes, ty, callee, arguments, convention: bits as u16 & 0x3ff, tail: TailKind::None };
    any_call(body, scope, Opcode::Invoke, fields, [normal, unwind], bundles, from)?;
    body.blocks.push(body.len() as u32);
    Some(())
}

/// A call that goes on at `targets`.
#[inline(always)]
fn any_call<const N: usize>(
    body: &mut Body,
    scope: &Scope<'_>,
    opcode: Opcode,
    fields: CallFields,
    targets: [u32; N],
    bundles: u32,
    from: &mut Ahead<'_>,
) -> Taken {
    let CallFields { attributes, ty, callee, arguments: count, convention, tail } = fields;
    let count = count.filter(|count| *count <= LONGEST_OPERANDS)?;
    expect(attributes <= scope.attribute_lists && body.bundles.len() as u32 == bundles)?;
    let callee = value(body, callee);
    expect(is_pointer(scope, type_of(body, scope, callee)?))?;
    let Type::Function { result, parameters, variadic } = scope.types.get(ty as usize)? else { return None };
    let rest = count.checked_sub(parameters.len() as u64)?;
    expect(rest == 0 || *variadic)?;
    let before = body.operands.len();
    body.operands.extend_from_slice(&[0, callee]);
    body.operands.extend_from_slice(&targets);
    if arguments(body, scope, parameters, rest, from).is_none() {
        // The general reader counts them.
        body.take_back_uses(before + 2 + N);
        body.operands.truncate(before);
        return None;
    }
    body.count_use(callee, body.len() as u32);
    let aux = body.calls.len() as u32;
    let (ty, attributes) = (TypeId(ty as u32), AttributeListId(attributes as u32));
    body.calls.push(Call { ty, attributes, convention, tail, bundles: (bundles, bundles) });
    body.push_behind(Draft { aux, ..Draft::new(opcode, *result) }, *result != scope.void, before + 1);
    Some(())
}

/// Adds arguments for `parameters` and `rest` others.
#[inline(always)]
fn arguments(body: &mut Body, scope: &Scope<'_>, parameters: &[TypeId], rest: u64, from: &mut Ahead<'_>) -> Taken {
    for parameter in parameters {
        from.more_than(Ahead::NUMBER);
        let field = from.near();
        let argument = match used(body, scope, field, |ty| ty == *parameter) {
            Some(argument) => argument,
            // Numbered among metadata.
            None if scope.classes.facts(*parameter)?.class == Class::Metadata => ValueId::NONE.0,
            None => return None,
        };
        body.operands.push(argument);
    }
    for _ in 0..rest {
        from.more_than(Ahead::NUMBER);
        let field = from.near();
        let argument = used(body, scope, field, |ty| scope.classes.facts(ty).is_some_and(|facts| facts.storable))?;
        body.operands.push(argument);
    }
    expect(from.finish())
}

#[inline(always)]
fn location(body: &mut Body, from: &mut Ahead<'_>) -> Taken {
    if body.skips_locations {
        from.skip();
        from.skip_column();
        // Usually one word more is enough: it has the last number and what follows, if the one before it is here.
        from.more_than(Ahead::NUMBER);
        from.skip();
        from.more();
        from.skip();
        expect(from.zeros(1 + 6 + 3) && from.finish())?;
        return body.push_location(Location::default());
    }
    let (line, column) = (from.near(), from.column());
    from.more();
    let (scope, inlined_at) = (from.number(), from.number());
    // Is implicit, atom group, atom rank: nearly always 0, 0, 0.
    expect(from.zeros(1 + 6 + 3) && from.finish())?;
    let [line, column, scope, inlined_at] =
        [line, column, scope, inlined_at].map(|field| field.min(u64::from(u32::MAX)) as u32);
    body.push_location(Location { instruction: 0, line, column, scope, inlined_at })
}

#[inline(always)]
fn location_again(body: &mut Body, from: &mut Ahead<'_>) -> Taken {
    expect(from.finish())?;
    body.repeat_location()
}
