//! Which operands of an instruction are values.

use crate::body::ValueId;
use crate::opcode::Opcode;

/// Instructions whose operands are not all values, one bit each.
pub const MIXED: u64 = 1 << Opcode::Phi as u64
    | 1 << Opcode::ExtractValue as u64
    | 1 << Opcode::CondBr as u64
    | 1 << Opcode::Switch as u64
    | 1 << Opcode::IndirectBr as u64
    | 1 << Opcode::InsertValue as u64
    | 1 << Opcode::Br as u64
    | 1 << Opcode::LandingPad as u64
    | 1 << Opcode::Invoke as u64
    | 1 << Opcode::CallBr as u64;

/// Whether all operands of such an instruction are values, or [`ValueId::NONE`].
#[inline]
#[must_use]
fn are_all_values(opcode: Opcode) -> bool {
    MIXED >> opcode as u64 & 1 == 0
}

/// Calls `visit` for every operand of an instruction that is a value of which code is made: not for clauses of landing pads
/// and cases of switches.
#[inline(always)]
pub fn for_values(opcode: Opcode, operands: &[u32], mut visit: impl FnMut(ValueId)) {
    if are_all_values(opcode) {
        operands.iter().filter(|v| **v != ValueId::NONE.0).for_each(|v| visit(ValueId(*v)));
    } else {
        for_mixed_values(opcode, operands, visit);
    }
}

#[inline(always)]
fn for_mixed_values(opcode: Opcode, operands: &[u32], mut visit: impl FnMut(ValueId)) {
    match opcode {
        Opcode::Phi => operands.chunks_exact(2).for_each(|pair| visit(ValueId(pair[0]))),
        Opcode::ExtractValue | Opcode::CondBr | Opcode::Switch | Opcode::IndirectBr => {
            if let Some(first) = operands.first() {
                visit(ValueId(*first));
            }
        }
        Opcode::InsertValue => operands.iter().take(2).for_each(|v| visit(ValueId(*v))),
        Opcode::Br | Opcode::LandingPad => {}
        Opcode::Invoke => {
            for (at, value) in operands.iter().enumerate() {
                if at != 1 && at != 2 && *value != ValueId::NONE.0 {
                    visit(ValueId(*value));
                }
            }
        }
        _ => {}
    }
}
