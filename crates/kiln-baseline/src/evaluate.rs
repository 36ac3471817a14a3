//! Constant expressions: what an initialiser's leaf is worth.
//!
//! LLVM's own code generator lowers a constant expression to a symbol, a difference of symbols, or a number
//! (`AsmPrinter::lowerConstant`); so does this, with the same operations.

use kiln_bitcode::{
    BinaryOp, Body, CastOp, Constant, ConstantId, FunctionId, GlobalRef, Module, Type, TypeId, ValueId,
};

use crate::error::ErrorKind;

/// What a constant is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number; the upper bits are unspecified.
    Number(i128),
    /// `base + offset`.
    Address { base: GlobalRef, offset: i64 },
    /// `plus - minus + offset`.
    Difference { plus: GlobalRef, minus: GlobalRef, offset: i64 },
    /// The address of a block: known when its function is compiled.
    Label { function: FunctionId, block: u32 },
    /// `plus - minus` of two blocks of one function.
    LabelDifference { function: FunctionId, plus: u32, minus: u32 },
}

/// Where constants are found by their ids: a module, or a function's body and its module.
pub(crate) trait Source {
    /// The module.
    fn module(&self) -> &Module;
    /// The constant `id`.
    fn constant(&self, id: ConstantId) -> Constant<'_>;
    /// Its type.
    fn constant_type(&self, id: ConstantId) -> TypeId;
}

impl Source for Module {
    fn module(&self) -> &Module {
        self
    }

    fn constant(&self, id: ConstantId) -> Constant<'_> {
        Module::constant(self, id)
    }

    fn constant_type(&self, id: ConstantId) -> TypeId {
        Module::constant_type(self, id)
    }
}

impl Source for (&Module, &Body) {
    fn module(&self) -> &Module {
        self.0
    }

    fn constant(&self, id: ConstantId) -> Constant<'_> {
        // Arguments and results are no part of a constant; the reader has checked that.
        self.1.constant(self.0, ValueId(id.0)).unwrap_or(Constant::Poison)
    }

    fn constant_type(&self, id: ConstantId) -> TypeId {
        self.1.type_of(self.0, ValueId(id.0))
    }
}

/// The value of the module's constant `id`, which is no aggregate.
pub(crate) fn evaluate(module: &Module, id: ConstantId) -> Result<Value, ErrorKind> {
    evaluate_in(module, id)
}

/// The value of constant `id` of `module`, which is no aggregate.
pub(crate) fn evaluate_in<S: Source>(module: &S, id: ConstantId) -> Result<Value, ErrorKind> {
    let refuse = |what| Err(ErrorKind::Inexpressible { what, constant: id });
    match module.constant(id) {
        Constant::Null | Constant::Undef | Constant::Poison => Ok(Value::Number(0)),
        Constant::Int(value) => Ok(Value::Number(i128::from(value))),
        Constant::WideInt(words) => {
            let word = |at: usize| u128::from(words.get(at).copied().unwrap_or(0));
            Ok(Value::Number((word(0) | word(1) << 64) as i128))
        }
        Constant::Global(base) | Constant::DsoLocalEquivalent(base) | Constant::NoCfi(base) => {
            Ok(Value::Address { base, offset: 0 })
        }
        Constant::Gep(gep) => {
            let (base, indices) = gep.operands.split_first().ok_or(ErrorKind::Unsized)?;
            let offset = gep_offset(module, gep.source, indices)?;
            add(evaluate_in(module, *base)?, i128::from(offset))
                .ok_or(ErrorKind::Inexpressible { what: "an address difference of addresses", constant: id })
        }
        Constant::Cast { op, value } => cast(module, id, op, value),
        Constant::Binary { op, left, right, .. } => {
            let (left, right) = (evaluate_in(module, left)?, evaluate_in(module, right)?);
            binary(op, left, right).ok_or(ErrorKind::Inexpressible { what: "arithmetic on addresses", constant: id })
        }
        Constant::BlockAddress { function, block } => Ok(Value::Label { function, block }),
        Constant::PtrAuth { .. } => refuse("a signed pointer"),
        _ => refuse("an expression that is computed at run time"),
    }
}

fn add(value: Value, number: i128) -> Option<Value> {
    let step = number as i64;
    Some(match value {
        Value::Number(n) => Value::Number(n.wrapping_add(number)),
        Value::Address { base, offset } => Value::Address { base, offset: offset.wrapping_add(step) },
        Value::Difference { plus, minus, offset } => {
            Value::Difference { plus, minus, offset: offset.wrapping_add(step) }
        }
        Value::Label { .. } | Value::LabelDifference { .. } if number == 0 => value,
        Value::Label { .. } | Value::LabelDifference { .. } => return None,
    })
}

fn binary(op: BinaryOp, left: Value, right: Value) -> Option<Value> {
    match (op, left, right) {
        (BinaryOp::Add, value, Value::Number(number)) | (BinaryOp::Add, Value::Number(number), value) => {
            add(value, number)
        }
        (BinaryOp::Sub, value, Value::Number(number)) => add(value, number.wrapping_neg()),
        (BinaryOp::Sub, Value::Address { base: plus, offset: a }, Value::Address { base: minus, offset: b }) => {
            let offset = a.wrapping_sub(b);
            Some(if plus == minus {
                Value::Number(i128::from(offset))
            } else {
                Value::Difference { plus, minus, offset }
            })
        }
        (BinaryOp::Sub, Value::Label { function, block: plus }, Value::Label { function: other, block: minus })
            if function == other =>
        {
            Some(Value::LabelDifference { function, plus, minus })
        }
        (op, Value::Number(left), Value::Number(right)) => number_operation(op, left, right).map(Value::Number),
        _ => None,
    }
}

/// Operations whose result's low bits depend on the operands' low bits only; LLVM's reader folds all others.
fn number_operation(op: BinaryOp, left: i128, right: i128) -> Option<i128> {
    Some(match op {
        BinaryOp::Mul => left.wrapping_mul(right),
        BinaryOp::Shl => left.checked_shl(u32::try_from(right).ok()?)?,
        BinaryOp::And => left & right,
        BinaryOp::Or => left | right,
        BinaryOp::Xor => left ^ right,
        _ => return None,
    })
}

fn cast<S: Source>(module: &S, id: ConstantId, op: CastOp, operand: ConstantId) -> Result<Value, ErrorKind> {
    let value = evaluate_in(module, operand)?;
    let bits = |ty: TypeId| module.module().layout_of(ty).map_or(64, |layout| layout.bits);
    let from = bits(module.constant_type(operand));
    match (op, value) {
        (CastOp::ZExt | CastOp::IntToPtr | CastOp::PtrToInt | CastOp::PtrToAddr, Value::Number(number)) => {
            Ok(Value::Number(zero_extend(number, from)))
        }
        (CastOp::SExt, Value::Number(number)) => Ok(Value::Number(sign_extend(number, from))),
        // What was cut off an address cannot be had back.
        (CastOp::ZExt | CastOp::SExt | CastOp::IntToPtr, Value::Address { .. } | Value::Label { .. }) if from < 64 => {
            Err(ErrorKind::Inexpressible { what: "part of an address, widened", constant: id })
        }
        (
            CastOp::Trunc
            | CastOp::PtrToInt
            | CastOp::PtrToAddr
            | CastOp::IntToPtr
            | CastOp::BitCast
            | CastOp::AddrSpaceCast
            | CastOp::ZExt
            | CastOp::SExt,
            value,
        ) => Ok(value),
        _ => Err(ErrorKind::Inexpressible { what: "a conversion that is computed at run time", constant: id }),
    }
}

/// The low `bits` bits of `number`.
pub(crate) fn zero_extend(number: i128, bits: u64) -> i128 {
    if bits >= 128 { number } else { number & ((1 << bits) - 1) }
}

fn sign_extend(number: i128, bits: u64) -> i128 {
    let unused = 128u64.saturating_sub(bits) as u32;
    if unused == 0 || unused == 128 { number } else { number << unused >> unused }
}

/// Bytes that the indices of a `getelementptr` step over.
fn gep_offset<S: Source>(module: &S, source: TypeId, indices: &[ConstantId]) -> Result<i64, ErrorKind> {
    let mut ty = source;
    let mut offset = 0i64;
    for (position, index) in indices.iter().enumerate() {
        let Value::Number(number) = evaluate_in(module, *index)? else {
            return Err(ErrorKind::Inexpressible { what: "an address as an index", constant: *index });
        };
        let bits = module.module().layout_of(module.constant_type(*index)).map_or(64, |layout| layout.bits);
        let number = sign_extend(number, bits) as i64;
        let size =
            |ty: TypeId| module.module().layout_of(ty).map(|layout| layout.size as i64).ok_or(ErrorKind::Unsized);
        if position == 0 {
            offset = offset.wrapping_add(number.wrapping_mul(size(ty)?));
            continue;
        }
        match module.module().ty(ty) {
            Type::Struct { fields, .. } => {
                let field = usize::try_from(number).map_err(|_| ErrorKind::Unsized)?;
                let start = module.module().field_offsets(ty).get(field).ok_or(ErrorKind::Unsized)?;
                offset = offset.wrapping_add(*start as i64);
                ty = *fields.get(field).ok_or(ErrorKind::Unsized)?;
            }
            Type::Array { element, .. } | Type::Vector { element, .. } => {
                offset = offset.wrapping_add(number.wrapping_mul(size(*element)?));
                ty = *element;
            }
            _ => return Err(ErrorKind::Unsized),
        }
    }
    Ok(offset)
}
