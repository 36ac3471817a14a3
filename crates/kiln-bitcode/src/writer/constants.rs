//! Constants: those that a function uses, as its own.

use super::bits::sign_rotated;
use super::{NotWritten, Writer};
use crate::attributes::IntRange;
use crate::body::ValueId;
use crate::codes::BlockKind;
use crate::constant::{Constant, ConstantId};
use crate::constants::codes::{
    AGGREGATE, CE_BINOP, CE_CAST, CE_GEP, CE_GEP_WITH_INRANGE, CE_UNOP, CSTRING, DATA, DSO_LOCAL_EQUIVALENT, FLOAT,
    INLINEASM, INTEGER, NO_CFI, NULL, POISON, SETTYPE, STRING, UNDEF, WIDE_INTEGER,
};
use crate::types::{Type, TypeId};

impl<'m> Writer<'m> {
    fn constant(&self, value: ValueId) -> Option<Constant<'m>> {
        self.body.constant(self.module, value)
    }

    /// Notes `value` and whatever it is made of, operands first.
    pub(super) fn collect_constant(&mut self, value: ValueId) -> Result<(), NotWritten> {
        // Trees of constants are bounded in depth by the reader.
        if self.constants.contains_key(&value) {
            return Ok(());
        }
        let Some(constant) = self.constant(value) else { return Ok(()) };
        self.collect_type(self.body.type_of(self.module, value));
        let mut operands: Vec<ConstantId> = Vec::new();
        match constant {
            Constant::Global(global) => {
                self.collect_global(global);
                return Ok(());
            }
            Constant::Aggregate(elements) => operands.extend(elements),
            Constant::Gep(gep) => {
                self.collect_type(gep.source);
                operands.extend(gep.operands);
            }
            Constant::Cast { value, .. } | Constant::Negate(value) => operands.push(value),
            Constant::Binary { left, right, .. } => operands.extend([left, right]),
            Constant::DsoLocalEquivalent(global) | Constant::NoCfi(global) => self.collect_global(global),
            Constant::InlineAsm(asm) => self.collect_type(asm.ty),
            Constant::Null
            | Constant::Undef
            | Constant::Poison
            | Constant::Int(_)
            | Constant::WideInt(_)
            | Constant::Float(_)
            | Constant::Data(_)
            | Constant::String { .. } => {}
            Constant::BlockAddress { .. } => return Err(NotWritten("the address of a block")),
            _ => return Err(NotWritten("a constant expression that no front end writes")),
        }
        for operand in operands {
            self.collect_constant(ValueId(operand.0))?;
        }
        let number = self.constants.len() as u32;
        self.constants.insert(value, number);
        self.constant_order.push(value);
        Ok(())
    }

    /// The new number of a constant or a global.
    fn id(&self, id: ConstantId) -> u64 {
        u64::from(self.number(ValueId(id.0)))
    }

    /// The constants of the function.
    pub(super) fn write_constants(&mut self) {
        if self.constant_order.is_empty() {
            return;
        }
        let block = self.bits.enter(BlockKind::CONSTANTS, 4);
        let mut current = None;
        let order = std::mem::take(&mut self.constant_order);
        for value in &order {
            let ty = self.body.type_of(self.module, *value);
            if current != Some(ty) {
                let number = self.type_number(ty);
                self.bits.record(SETTYPE, &[number]);
                current = Some(ty);
            }
            let (code, fields) = self.constant_record(*value, ty);
            self.bits.record(code, &fields);
        }
        self.constant_order = order;
        self.bits.leave(block);
    }

    fn constant_record(&self, value: ValueId, ty: TypeId) -> (u32, Vec<u64>) {
        let typed = |id: &ConstantId| [self.type_number(self.body.type_of(self.module, ValueId(id.0))), self.id(*id)];
        let characters = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).collect::<Vec<u64>>();
        let Some(constant) = self.constant(value) else { unreachable!("collected constants are constants") };
        match constant {
            Constant::Undef => (UNDEF, Vec::new()),
            Constant::Poison => (POISON, Vec::new()),
            Constant::Int(number) => {
                let bits = match self.module.ty(ty) {
                    Type::Integer(bits) => *bits,
                    _ => 64,
                };
                (INTEGER, vec![sign_rotated(sign_extended(number, bits))])
            }
            Constant::WideInt(words) => (WIDE_INTEGER, words.iter().map(|word| sign_rotated(*word)).collect()),
            Constant::Float(bits) => match self.module.ty(ty) {
                Type::X86Fp80 => (FLOAT, vec![(bits >> 16) as u64, (bits & 0xffff) as u64]),
                Type::Fp128 | Type::PpcFp128 => (FLOAT, vec![bits as u64, (bits >> 64) as u64]),
                _ => (FLOAT, vec![bits as u64]),
            },
            Constant::Aggregate(elements) => (AGGREGATE, elements.iter().map(|id| self.id(*id)).collect()),
            Constant::Data(bytes) => (DATA, self.elements(bytes, ty)),
            Constant::String { bytes, nul } => (if nul { CSTRING } else { STRING }, characters(bytes)),
            Constant::Gep(gep) => {
                let flags = u64::from(gep.inbounds) | u64::from(gep.nusw) << 1 | u64::from(gep.nuw) << 2;
                let mut fields = vec![self.type_number(gep.source), flags];
                if let Some(range) = gep.in_range {
                    fields.push(u64::from(range.bits));
                    put_range(&mut fields, range);
                }
                fields.extend(gep.operands.iter().flat_map(typed));
                (if gep.in_range.is_some() { CE_GEP_WITH_INRANGE } else { CE_GEP }, fields)
            }
            Constant::Cast { op, value } => {
                let [ty, id] = typed(&value);
                (CE_CAST, vec![op.encode(), ty, id])
            }
            Constant::Binary { op, flags, left, right } => {
                let mut fields = vec![op.encode(), self.id(left), self.id(right)];
                fields.extend((flags != 0).then_some(u64::from(flags)));
                (CE_BINOP, fields)
            }
            Constant::Negate(value) => (CE_UNOP, vec![0, self.id(value)]),
            Constant::DsoLocalEquivalent(global) => {
                (DSO_LOCAL_EQUIVALENT, vec![self.type_number(ty), u64::from(self.global_number(global))])
            }
            Constant::NoCfi(global) => (NO_CFI, vec![self.type_number(ty), u64::from(self.global_number(global))]),
            Constant::InlineAsm(asm) => {
                let mut fields = vec![self.type_number(asm.ty), u64::from(asm.flags)];
                for text in [&asm.template, &asm.constraints] {
                    fields.push(text.len() as u64);
                    fields.extend(characters(text));
                }
                (INLINEASM, fields)
            }
            // All others were refused when they were collected.
            _ => (NULL, Vec::new()),
        }
    }

    /// The elements of an array or vector of numbers.
    fn elements(&self, bytes: &[u8], ty: TypeId) -> Vec<u64> {
        let element = match self.module.ty(ty) {
            Type::Array { element, .. } | Type::Vector { element, .. } => *element,
            _ => return Vec::new(),
        };
        let size = match self.module.ty(element) {
            Type::Integer(bits) => bits.div_ceil(8) as usize,
            Type::Half | Type::BFloat => 2,
            Type::Float => 4,
            _ => 8,
        };
        bytes.chunks(size).map(|chunk| chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))).collect()
    }
}

fn sign_extended(number: u64, bits: u32) -> u64 {
    let shift = 64 - bits.clamp(1, 64);
    ((number << shift) as i64 >> shift) as u64
}

/// `emitConstantRange`, without the width.
pub(super) fn put_range(fields: &mut Vec<u64>, range: &IntRange) {
    if range.bits > 64 {
        fields.push(range.lower.len() as u64 | (range.upper.len() as u64) << 32);
        fields.extend(range.lower.iter().chain(&range.upper).map(|word| sign_rotated(*word)));
    } else {
        let end = |words: &[u64]| sign_rotated(sign_extended(words.first().copied().unwrap_or(0), range.bits));
        fields.extend([end(&range.lower), end(&range.upper)]);
    }
}
