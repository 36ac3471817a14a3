//! Opcodes, and the bytes of an instruction up to its operands.

use super::Gpr;

/// One row of the opcode map.
///
/// Bits 0-31 mandatory prefix, the map's escape bytes and the opcode in their order, 32-39 how many bits these are, 40-43
/// how many of them are the prefix, 44 REX.W, 45 the register operand is a byte, 46 the other operand is a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op(u64);

const LENGTH: u32 = 32;
const PREFIX: u32 = 40;
const W: u32 = 44;
const BYTE_REG: u64 = 1 << 45;
const BYTE_RM: u64 = 1 << 46;

impl Op {
    /// An opcode of the one-byte map.
    pub(crate) const fn one(opcode: u8) -> Op {
        Op(opcode as u64 | 8 << LENGTH)
    }

    /// `0F opcode`
    pub(crate) const fn two(opcode: u8) -> Op {
        Op(0x0f | (opcode as u64) << 8 | 16 << LENGTH)
    }

    /// `0F 38 opcode`
    pub(crate) const fn three38(opcode: u8) -> Op {
        Op(0x380f | (opcode as u64) << 16 | 24 << LENGTH)
    }

    /// `0F 3A opcode`
    pub(crate) const fn three3a(opcode: u8) -> Op {
        Op(0x3a0f | (opcode as u64) << 16 | 24 << LENGTH)
    }

    const fn prefix(self, byte: u8) -> Op {
        debug_assert!(self.0 >> PREFIX & 0xf == 0, "one prefix only");
        let flags = self.0 & !0xffff_ffff;
        Op(((self.0 & 0xff_ffff) << 8 | byte as u64 | flags) + (8 << LENGTH) + (8 << PREFIX))
    }

    /// With prefix 66.
    pub(crate) const fn p66(self) -> Op {
        self.prefix(0x66)
    }

    /// With prefix F3.
    pub(crate) const fn pf3(self) -> Op {
        self.prefix(0xf3)
    }

    /// With prefix F2.
    pub(crate) const fn pf2(self) -> Op {
        self.prefix(0xf2)
    }

    /// With REX.W.
    pub(crate) const fn w(self) -> Op {
        self.w_if(true)
    }

    /// With REX.W if `wide`.
    pub(crate) const fn w_if(self, wide: bool) -> Op {
        Op(self.0 | (wide as u64) << W)
    }

    /// The register operand is a byte register.
    pub(crate) const fn byte_reg(self) -> Op {
        Op(self.0 | BYTE_REG)
    }

    /// The register-or-memory operand is a byte.
    pub(crate) const fn byte_rm(self) -> Op {
        Op(self.0 | BYTE_RM)
    }

    /// An operation of `bytes` bytes whose opcode has the width in bit 0 (0 for bytes).
    pub(crate) const fn sized(opcode: u8, bytes: u8) -> Op {
        match bytes {
            1 => Op::one(opcode & !1).byte_reg().byte_rm(),
            2 => Op::one(opcode).p66(),
            4 => Op::one(opcode),
            _ => Op::one(opcode).w(),
        }
    }

    /// The instruction up to its opcode.
    #[inline]
    pub(super) fn head(self, reg: u8, index: u8, rm: u8, rm_is_reg: bool) -> Head {
        let Op(op) = self;
        let word = op & 0xffff_ffff;
        let bits = (op >> LENGTH) as u32 & 0x38;
        // REX.W, R, X and B; registers are below 16.
        let mut rex = (op >> (W - 3)) as u8 & 8 | reg >> 1 & 4 | index >> 2 & 2 | rm >> 3;
        if op & (BYTE_REG | BYTE_RM) != 0 {
            // Without REX, 4-7 would be AH, CH, DH, BH.
            let byte_reg = op & BYTE_REG != 0 && (4..8).contains(&reg);
            let byte_rm = op & BYTE_RM != 0 && rm_is_reg && (4..8).contains(&rm);
            rex |= u8::from(byte_reg || byte_rm) << 6;
        }
        if rex == 0 {
            return Head { word, bits };
        }
        let rex = u64::from(rex | 0x40);
        if op >> PREFIX & 8 == 0 {
            return Head { word: rex | word << 8, bits: bits + 8 };
        }
        // Between the prefix and the rest.
        Head { word: word & 0xff | rex << 8 | (word & 0xffff_ff00) << 8, bits: bits + 8 }
    }
}

/// Instructions of one opcode byte with a register and a place behind another one, as far as the displacement, which is one
/// byte: by REX.W, register and base, in four, four and one bits from the lowest on. Bits 32-39 say where the displacement
/// begins.
pub(super) type Based = [u64; 2 * 16 * 16];

/// Loads: `mov reg, [base + disp]`.
pub(super) static LOADS: Based = based(0x8b);
/// Stores: `mov [base + disp], reg`.
pub(super) static STORES: Based = based(0x89);

const fn based(opcode: u64) -> Based {
    let mut forms = [0; 2 * 16 * 16];
    let mut at = 0;
    while at < forms.len() {
        let (wide, reg, base) = (at >> 8, at & 15, at >> 4 & 15);
        let rex = (wide << 3 | reg >> 1 & 4 | base >> 3) as u64;
        let field = (0x40 | (reg & 7) << 3 | base & 7) as u64;
        let rest = opcode | field << 8;
        forms[at] = match rex {
            0 => rest | 16 << 32,
            rex => 0x40 | rex | rest << 8 | 24 << 32,
        };
        at += 1;
    }
    forms
}

/// The first bytes of an instruction, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) word: u64,
    pub(super) bits: u32,
}

impl Head {
    /// At most eight bytes in all: prefix, REX, three of opcode, ModRM, SIB, and one of displacement or immediate.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.word |= u64::from(byte) << self.bits;
        self.bits += 8;
    }

    /// ModRM of `field` with base register `base`, and the displacement, which fits one byte; it may be left out, but not
    /// with RBP and R13.
    #[inline]
    pub(super) fn base(&mut self, field: u8, base: Gpr, disp: i32) {
        let left_out = disp == 0 && base.0 & 7 != 5;
        self.push(if left_out { field } else { 0x40 | field });
        self.word |= u64::from(disp as u8) << self.bits;
        self.bits += if left_out { 0 } else { 8 };
    }

    #[inline]
    pub(super) fn bytes(self) -> usize {
        self.bits as usize / 8
    }
}
