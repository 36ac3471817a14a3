//! Codes of the records of function blocks (`FunctionCodes` in llvm/Bitcode/LLVMBitCodes.h).

pub(crate) const DECLAREBLOCKS: u32 = 1;
pub(crate) const BINOP: u32 = 2;
pub(crate) const CAST: u32 = 3;
pub(crate) const EXTRACTELT: u32 = 6;
pub(crate) const INSERTELT: u32 = 7;
pub(crate) const SHUFFLEVEC: u32 = 8;
pub(crate) const RET: u32 = 10;
pub(crate) const BR: u32 = 11;
pub(crate) const SWITCH: u32 = 12;
pub(crate) const INVOKE: u32 = 13;
pub(crate) const UNREACHABLE: u32 = 15;
pub(crate) const PHI: u32 = 16;
pub(crate) const ALLOCA: u32 = 19;
pub(crate) const LOAD: u32 = 20;
pub(crate) const VAARG: u32 = 23;
pub(crate) const EXTRACTVAL: u32 = 26;
pub(crate) const INSERTVAL: u32 = 27;
pub(crate) const CMP2: u32 = 28;
pub(crate) const VSELECT: u32 = 29;
pub(crate) const INDIRECTBR: u32 = 31;
pub(crate) const CALL: u32 = 34;
pub(crate) const FENCE: u32 = 36;
pub(crate) const RESUME: u32 = 39;
pub(crate) const LOADATOMIC: u32 = 41;
pub(crate) const GEP: u32 = 43;
pub(crate) const STORE: u32 = 44;
pub(crate) const STOREATOMIC: u32 = 45;
pub(crate) const CMPXCHG: u32 = 46;
pub(crate) const LANDINGPAD: u32 = 47;
pub(crate) const CLEANUPRET: u32 = 48;
pub(crate) const CATCHRET: u32 = 49;
pub(crate) const CATCHPAD: u32 = 50;
pub(crate) const CLEANUPPAD: u32 = 51;
pub(crate) const CATCHSWITCH: u32 = 52;
pub(crate) const UNOP: u32 = 56;
pub(crate) const CALLBR: u32 = 57;
pub(crate) const FREEZE: u32 = 58;
pub(crate) const ATOMICRMW: u32 = 59;
pub(crate) const OPERAND_BUNDLE: u32 = 55;

/// `AtomicRMWInst::BinOp` by the codes of the bitcode, which are in another order from 15 on.
pub(crate) const ATOMIC_OPERATIONS: [u8; 21] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 15, 16];

/// The code of an operation.
pub(crate) fn atomic_code(operation: u8) -> u64 {
    ATOMIC_OPERATIONS.iter().position(|known| *known == operation).unwrap_or_default() as u64
}
