//! Instruction bytes.
//!
//! An [`Op`] is a row of the manual's opcode map: mandatory prefix, map, opcode, operand width. The functions here add
//! REX, ModRM, SIB, displacement and immediate, and remember what has to be filled in later: jumps to labels when the
//! label is bound, references to symbols when the function is linked.
//!
//! Intel SDM volume 2, chapter 2 ("Instruction Format") and appendix A; the tests compare with LLVM's disassembler.

mod buffer;
mod opcode;
#[cfg(test)]
mod tests;

use kiln_link::RelocationKind;

use self::buffer::Buffer;
pub(crate) use self::opcode::Op;
use self::opcode::{Based, Head, LOADS, STORES};

/// A general-purpose register by its number in ModRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gpr(pub(crate) u8);

/// An SSE register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Xmm(pub(crate) u8);

pub(crate) const RAX: Gpr = Gpr(0);
pub(crate) const RCX: Gpr = Gpr(1);
pub(crate) const RDX: Gpr = Gpr(2);
pub(crate) const RBX: Gpr = Gpr(3);
pub(crate) const RSP: Gpr = Gpr(4);
pub(crate) const RBP: Gpr = Gpr(5);
pub(crate) const RSI: Gpr = Gpr(6);
pub(crate) const RDI: Gpr = Gpr(7);
pub(crate) const R8: Gpr = Gpr(8);
pub(crate) const R9: Gpr = Gpr(9);

/// Something whose address is known when the function is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// A symbol: its index in the list of the function's symbols.
    Symbol(u32),
    /// A byte of the function's constants.
    Pool(u32),
    /// A label of the function's code.
    Label(Label),
}

/// What a memory operand starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: an absolute address of 31 bits, or an index alone.
    None,
    /// A register.
    Reg(Gpr),
    /// A place that the linker knows: `kind` says through what.
    Rip(Target, RelocationKind),
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mem {
    pub(crate) base: Base,
    /// Index register, not RSP, and the binary logarithm of its factor.
    pub(crate) index: Option<(Gpr, u8)>,
    pub(crate) disp: i32,
}

impl Mem {
    pub(crate) fn reg(base: Gpr, disp: i32) -> Mem {
        Mem { base: Base::Reg(base), index: None, disp }
    }

    pub(crate) fn rip(target: Target, kind: RelocationKind, disp: i32) -> Mem {
        Mem { base: Base::Rip(target, kind), index: None, disp }
    }

    pub(crate) fn frame(disp: i32) -> Mem {
        Mem::reg(RBP, disp)
    }

    /// Its register and displacement, if it consists of these and needs no SIB byte.
    #[inline]
    fn plain(&self) -> Option<(Gpr, i32)> {
        match *self {
            Mem { base: Base::Reg(base), index: None, disp } if base.0 & 7 != 4 => Some((base, disp)),
            _ => None,
        }
    }

    /// The same place `bytes` further on.
    pub(crate) fn plus(self, bytes: i32) -> Mem {
        Mem { disp: self.disp + bytes, ..self }
    }
}

/// A place in the code that jumps refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(pub(crate) u32);

const UNBOUND: u32 = u32::MAX;

/// A reference to be resolved by the linker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) offset: u32,
    pub(crate) target: Target,
    pub(crate) kind: RelocationKind,
    pub(crate) addend: i32,
}

/// Condition codes as in `Jcc`, `SETcc`, `CMOVcc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cond {
    O = 0,
    B = 2,
    AE = 3,
    E = 4,
    NE = 5,
    BE = 6,
    A = 7,
    S = 8,
    P = 10,
    NP = 11,
    L = 12,
    GE = 13,
    LE = 14,
    G = 15,
}

impl Cond {
    pub(crate) fn inverted(self) -> Cond {
        match self {
            Cond::O => unreachable!("no code needs the absence of overflow"),
            Cond::B => Cond::AE,
            Cond::AE => Cond::B,
            Cond::E => Cond::NE,
            Cond::NE => Cond::E,
            Cond::BE => Cond::A,
            Cond::A => Cond::BE,
            Cond::S => unreachable!("no code needs the absence of a sign"),
            Cond::P => Cond::NP,
            Cond::NP => Cond::P,
            Cond::L => Cond::GE,
            Cond::GE => Cond::L,
            Cond::LE => Cond::G,
            Cond::G => Cond::LE,
        }
    }
}

/// The eight operations that share an encoding; the number is the digit of the immediate form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    Adc = 2,
    Sbb = 3,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotates; the number is the digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Code in the making.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) code: Buffer,
    labels: Vec<u32>,
    /// Displacements of jumps to labels that were not bound yet.
    jumps: Vec<(u32, Label)>,
    pub(crate) references: Vec<Reference>,
}

impl Encoder {
    pub(crate) fn clear(&mut self) {
        self.code.clear();
        self.labels.clear();
        self.jumps.clear();
        self.references.clear();
    }

    pub(crate) fn position(&self) -> u32 {
        self.code.len() as u32
    }

    // ---- labels -------------------------------------------------------------------------------------------------

    /// Makes the first `count` labels; nobody made one before.
    pub(crate) fn first_labels(&mut self, count: usize) {
        debug_assert!(self.labels.is_empty(), "others are first");
        self.labels.resize(count, UNBOUND);
    }

    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }

    pub(crate) fn bind(&mut self, label: Label) {
        debug_assert_eq!(self.labels[label.0 as usize], UNBOUND, "label bound twice");
        self.labels[label.0 as usize] = self.position();
    }

    pub(crate) fn offset_of(&self, label: Label) -> u32 {
        debug_assert_ne!(self.labels[label.0 as usize], UNBOUND, "label never bound");
        self.labels[label.0 as usize]
    }

    /// Fills in the jumps to labels. All labels are bound.
    pub(crate) fn resolve_jumps(&mut self) {
        for (at, label) in self.jumps.drain(..) {
            let target = self.labels[label.0 as usize];
            debug_assert_ne!(target, UNBOUND, "label never bound");
            let distance = target.wrapping_sub(at + 4) as i32;
            self.code[at as usize..at as usize + 4].copy_from_slice(&distance.to_le_bytes());
        }
    }

    /// The distance of a bound label as a byte, for an instruction of two bytes that starts here.
    fn near(&self, label: Label) -> Option<u8> {
        let target = self.labels[label.0 as usize];
        if target == UNBOUND {
            return None;
        }
        let distance = i64::from(target) - i64::from(self.position()) - 2;
        i8::try_from(distance).ok().map(|d| d as u8)
    }

    pub(crate) fn jmp(&mut self, label: Label) {
        match self.near(label) {
            Some(distance) => self.code.put(0xeb | u64::from(distance) << 8, 2),
            None => {
                self.code.put(0xe9, 5);
                self.jumps.push((self.position() - 4, label));
            }
        }
    }

    pub(crate) fn jcc(&mut self, cond: Cond, label: Label) {
        match self.near(label) {
            Some(distance) => self.code.put(0x70 | cond as u64 | u64::from(distance) << 8, 2),
            None => {
                self.code.put(0x0f | (0x80 | cond as u64) << 8, 6);
                self.jumps.push((self.position() - 4, label));
            }
        }
    }

    /// A conditional jump over code that is shorter than 128 bytes; [`Encoder::land`] ends it.
    pub(crate) fn skip(&mut self, cond: Cond) -> usize {
        self.code.put(0x70 | cond as u64, 2);
        self.code.len()
    }

    pub(crate) fn skip_always(&mut self) -> usize {
        self.code.put(0xeb, 2);
        self.code.len()
    }

    pub(crate) fn land(&mut self, skip: usize) {
        let distance = self.code.len() - skip;
        assert!(distance < 128, "a short jump over {distance} bytes");
        self.code[skip - 1] = distance as u8;
    }

    // ---- operands -----------------------------------------------------------------------------------------------

    #[inline]
    fn put(&mut self, head: Head) {
        self.code.put(head.word, head.bytes());
    }

    /// `op reg, rm` with both in registers.
    #[inline]
    pub(crate) fn rr(&mut self, op: Op, reg: u8, rm: u8) {
        let mut out = op.head(reg, 0, rm, true);
        out.push(0xc0 | (reg & 7) << 3 | rm & 7);
        self.put(out);
    }

    /// The same with an immediate byte.
    #[inline]
    pub(crate) fn rr_i8(&mut self, op: Op, reg: u8, rm: u8, imm: u8) {
        let mut out = op.head(reg, 0, rm, true);
        out.push(0xc0 | (reg & 7) << 3 | rm & 7);
        out.push(imm);
        self.put(out);
    }

    /// The same with an immediate of four bytes.
    #[inline]
    pub(crate) fn rr_i32(&mut self, op: Op, reg: u8, rm: u8, imm: i32) {
        let mut out = op.head(reg, 0, rm, true);
        out.push(0xc0 | (reg & 7) << 3 | rm & 7);
        self.put_with(out, u64::from(imm as u32), 4);
    }

    /// With an immediate of `imm_bytes` bytes, at most four.
    #[inline]
    fn memory(&mut self, op: Op, reg: u8, mem: &Mem, imm: u32, imm_bytes: usize) {
        if let Some((base, disp)) = mem.plain() {
            self.based_imm(op, reg, base, disp, imm, imm_bytes);
        } else {
            self.other_memory(op, reg, mem, imm, imm_bytes);
        }
    }

    /// Of a register and a displacement, which most places are.
    #[inline(never)]
    fn based(&mut self, op: Op, reg: u8, base: Gpr, disp: i32) {
        let head = op.head(reg, 0, base.0, false);
        let field = u64::from((reg & 7) << 3 | base.0 & 7);
        let (mode, disp_bytes) = match disp {
            0 if base.0 & 7 != 5 => (0, 0),
            -128..=127 => (0x40, 1),
            _ => (0x80, 4),
        };
        self.code.put_two(
            head.word | (mode | field) << head.bits,
            head.bytes() + 1,
            u64::from(disp as u32),
            disp_bytes,
        );
    }

    /// The same of a table of opcodes, on 8 bytes if `wide`, else on 4: what loads and stores of slots are. All of it fits a
    /// word. How long the displacement is nobody can foresee: so there is no branch for it.
    #[inline(always)]
    fn based_word(&mut self, forms: &Based, wide: bool, reg: u8, base: Gpr, disp: i32) {
        let at = usize::from(wide) << 8 | usize::from(base.0) << 4 | usize::from(reg);
        let form = forms[at & (forms.len() - 1)];
        let (word, end) = (u64::from(form as u32), (form >> 32) as u32);
        // The mode's lower bit.
        let mode = end - 2;
        if disp == 0 && base.0 & 7 != 5 {
            return self.code.put(word ^ 1 << mode, end as usize / 8);
        }
        let is_far = u64::from(i32::from(disp as i8) != disp);
        let head = word + (is_far << mode);
        self.code.put(head | u64::from(disp as u32) << end, end as usize / 8 + 1 + 3 * is_far as usize);
    }

    /// The same with an immediate.
    fn based_imm(&mut self, op: Op, reg: u8, base: Gpr, disp: i32, imm: u32, imm_bytes: usize) {
        let mut out = op.head(reg, 0, base.0, false);
        let field = (reg & 7) << 3 | base.0 & 7;
        if i32::from(disp as i8) == disp {
            out.base(field, base, disp);
            self.put_with(out, u64::from(imm), imm_bytes);
        } else {
            out.push(0x80 | field);
            self.put_with(out, u64::from(disp as u32) | u64::from(imm) << 32, 4 + imm_bytes);
        }
    }

    /// A head, which is shorter than a word here, and what follows it.
    #[inline]
    fn put_with(&mut self, head: Head, rest: u64, bytes: usize) {
        debug_assert!(head.bytes() < 8, "no room for a byte more");
        self.code.put_two(head.word, head.bytes(), rest, bytes);
    }

    fn other_memory(&mut self, op: Op, reg: u8, mem: &Mem, imm: u32, imm_bytes: usize) {
        let field = (reg & 7) << 3;
        // Behind ModRM and SIB: the displacement and its length.
        let (mut out, disp, disp_bytes);
        match (mem.base, mem.index) {
            (Base::Reg(base), index) => {
                let mode;
                (mode, disp_bytes) = match mem.disp {
                    0 if base.0 & 7 != 5 => (0, 0),
                    -128..=127 => (0x40, 1),
                    _ => (0x80, 4),
                };
                disp = if disp_bytes == 4 { mem.disp as u32 } else { u32::from(mem.disp as u8) };
                match index {
                    None => {
                        out = op.head(reg, 0, base.0, false);
                        out.push(mode | field | base.0 & 7);
                        if base.0 & 7 == 4 {
                            out.push(0x24);
                        }
                    }
                    Some((index, scale)) => {
                        debug_assert_ne!(index, RSP, "RSP is no index");
                        out = op.head(reg, index.0, base.0, false);
                        out.push(mode | field | 4);
                        out.push(scale << 6 | (index.0 & 7) << 3 | base.0 & 7);
                    }
                }
            }
            (Base::Rip(target, kind), index) => {
                debug_assert_eq!(index, None, "RIP has no index");
                out = op.head(reg, 0, 0, false);
                out.push(field | 5);
                (disp, disp_bytes) = (0, 4);
                // The displacement counts from the end of the instruction.
                let addend = mem.disp - (disp_bytes + imm_bytes) as i32;
                let offset = (self.code.len() + out.bytes()) as u32;
                self.references.push(Reference { offset, target, kind, addend });
            }
            (Base::None, index) => {
                let (index, scale) = index.unwrap_or((RSP, 0));
                out = op.head(reg, index.0, 0, false);
                out.push(field | 4);
                out.push(scale << 6 | (index.0 & 7) << 3 | 5);
                (disp, disp_bytes) = (mem.disp as u32, 4);
            }
        }
        self.put_with(out, u64::from(disp) | u64::from(imm) << (8 * disp_bytes), disp_bytes + imm_bytes);
    }

    /// `op reg, [mem]` or `op [mem], reg`, as the opcode says.
    #[inline]
    pub(crate) fn rm(&mut self, op: Op, reg: u8, mem: &Mem) {
        if let Some((base, disp)) = mem.plain() {
            self.based(op, reg, base, disp);
        } else {
            self.other_memory(op, reg, mem, 0, 0);
        }
    }

    pub(crate) fn rm_i8(&mut self, op: Op, reg: u8, mem: &Mem, imm: u8) {
        self.memory(op, reg, mem, u32::from(imm), 1);
    }

    pub(crate) fn rm_i16(&mut self, op: Op, reg: u8, mem: &Mem, imm: i16) {
        self.memory(op, reg, mem, u32::from(imm as u16), 2);
    }

    pub(crate) fn rm_i32(&mut self, op: Op, reg: u8, mem: &Mem, imm: i32) {
        self.memory(op, reg, mem, imm as u32, 4);
    }

    // ---- moves --------------------------------------------------------------------------------------------------

    /// `mov to, from` of all 64 bits.
    pub(crate) fn mov(&mut self, to: Gpr, from: Gpr) {
        self.rr(Op::one(0x8b).w(), to.0, from.0);
    }

    /// `mov to, from` of 32 bits, zero above.
    pub(crate) fn mov32(&mut self, to: Gpr, from: Gpr) {
        self.rr(Op::one(0x8b), to.0, from.0);
    }

    /// The shortest `mov to, value`; changes no flags.
    pub(crate) fn mov_imm(&mut self, to: Gpr, value: u64) {
        if value <= u64::from(u32::MAX) {
            let opcode = 0xb8 | u64::from(to.0 & 7);
            if to.0 >= 8 {
                self.code.put(0x41 | opcode << 8 | value << 16, 6);
            } else {
                self.code.put(opcode | value << 8, 5);
            }
        } else if let Ok(value) = i32::try_from(value as i64) {
            self.rr_i32(Op::one(0xc7).w(), 0, to.0, value);
        } else {
            self.code.put(u64::from(0x48 | to.0 >> 3) | u64::from(0xb8 | to.0 & 7) << 8, 2);
            self.code.put(value, 8);
        }
    }

    /// Loads `bytes` bytes; those of 1 and 2 are zero-extended.
    pub(crate) fn load(&mut self, to: Gpr, mem: &Mem, bytes: u8) {
        if let Some((base, disp)) = mem.plain() {
            return self.load_at(to, base, disp, bytes);
        }
        let op = match bytes {
            1 => Op::two(0xb6),
            2 => Op::two(0xb7),
            4 => Op::one(0x8b),
            _ => Op::one(0x8b).w(),
        };
        self.other_memory(op, to.0, mem, 0, 0);
    }

    /// The same from behind a register, not RSP or R12.
    pub(crate) fn load_at(&mut self, to: Gpr, base: Gpr, disp: i32, bytes: u8) {
        if bytes < 4 {
            return self.based(Op::two(0xb5 + bytes), to.0, base, disp);
        }
        self.based_word(&LOADS, bytes == 8, to.0, base, disp);
    }

    /// Stores the low `bytes` bytes.
    pub(crate) fn store(&mut self, mem: &Mem, from: Gpr, bytes: u8) {
        if let Some((base, disp)) = mem.plain() {
            return self.store_at(base, disp, from, bytes);
        }
        self.other_memory(Op::sized(0x89, bytes), from.0, mem, 0, 0);
    }

    /// The same behind a register, not RSP or R12.
    pub(crate) fn store_at(&mut self, base: Gpr, disp: i32, from: Gpr, bytes: u8) {
        if bytes < 4 {
            return self.based(Op::sized(0x89, bytes), from.0, base, disp);
        }
        self.based_word(&STORES, bytes == 8, from.0, base, disp);
    }

    /// Stores a number of `bytes` bytes; one of 8 is sign-extended from 32 bits.
    pub(crate) fn store_imm(&mut self, mem: &Mem, value: i32, bytes: u8) {
        let op = Op::sized(0xc7, bytes);
        match bytes {
            1 => self.rm_i8(op, 0, mem, value as u8),
            2 => self.rm_i16(op, 0, mem, value as i16),
            _ => self.rm_i32(op, 0, mem, value),
        }
    }

    pub(crate) fn lea(&mut self, to: Gpr, mem: &Mem) {
        self.rm(Op::one(0x8d).w(), to.0, mem);
    }

    /// `movaps`: the shortest copy of all 128 bits.
    pub(crate) fn movaps(&mut self, to: Xmm, from: Xmm) {
        self.rr(Op::two(0x28), to.0, from.0);
    }

    fn sse_move(bytes: u8, store: bool) -> Op {
        match (bytes, store) {
            (4, false) => Op::two(0x10).pf3(),
            (8, false) => Op::two(0x10).pf2(),
            (4, true) => Op::two(0x11).pf3(),
            (8, true) => Op::two(0x11).pf2(),
            (_, false) => Op::two(0x10),
            (_, true) => Op::two(0x11),
        }
    }

    /// `movss`, `movsd` or `movups`.
    pub(crate) fn load_xmm(&mut self, to: Xmm, mem: &Mem, bytes: u8) {
        self.rm(Self::sse_move(bytes, false), to.0, mem);
    }

    /// `movss`, `movsd` or `movups`.
    pub(crate) fn store_xmm(&mut self, mem: &Mem, from: Xmm, bytes: u8) {
        self.rm(Self::sse_move(bytes, true), from.0, mem);
    }

    /// `movd`/`movq to, from`
    pub(crate) fn gpr_to_xmm(&mut self, to: Xmm, from: Gpr, wide: bool) {
        self.rr(Op::two(0x6e).p66().w_if(wide), to.0, from.0);
    }

    /// `movd`/`movq to, from`
    pub(crate) fn xmm_to_gpr(&mut self, to: Gpr, from: Xmm, wide: bool) {
        self.rr(Op::two(0x7e).p66().w_if(wide), from.0, to.0);
    }

    // ---- arithmetic ---------------------------------------------------------------------------------------------

    pub(crate) fn alu_rr(&mut self, alu: Alu, to: Gpr, from: Gpr, bytes: u8) {
        self.rr(Op::sized((alu as u8) << 3 | 3, bytes), to.0, from.0);
    }

    pub(crate) fn alu_rm(&mut self, alu: Alu, to: Gpr, mem: &Mem, bytes: u8) {
        self.rm(Op::sized((alu as u8) << 3 | 3, bytes), to.0, mem);
    }

    pub(crate) fn alu_mr(&mut self, alu: Alu, mem: &Mem, from: Gpr, bytes: u8) {
        self.rm(Op::sized((alu as u8) << 3 | 1, bytes), from.0, mem);
    }

    /// With an immediate; of 8 bytes it is sign-extended, of 1 and 2 cut.
    pub(crate) fn alu_ri(&mut self, alu: Alu, to: Gpr, value: i32, bytes: u8) {
        match (i8::try_from(value), bytes) {
            (_, 1) => self.rr_i8(Op::sized(0x80, 1), alu as u8, to.0, value as u8),
            (Ok(short), _) => self.rr_i8(Op::sized(0x83, bytes), alu as u8, to.0, short as u8),
            (_, 2) => {
                self.rr_i8(Op::sized(0x81, 2), alu as u8, to.0, value as u8);
                self.code.put(u64::from((value >> 8) as u8), 1);
            }
            _ => self.rr_i32(Op::sized(0x81, bytes), alu as u8, to.0, value),
        }
    }

    pub(crate) fn alu_mi(&mut self, alu: Alu, mem: &Mem, value: i32, bytes: u8) {
        match (i8::try_from(value), bytes) {
            (_, 1) => self.rm_i8(Op::sized(0x80, 1), alu as u8, mem, value as u8),
            (Ok(short), _) => self.rm_i8(Op::sized(0x83, bytes), alu as u8, mem, short as u8),
            (_, 2) => self.rm_i16(Op::sized(0x81, 2), alu as u8, mem, value as i16),
            _ => self.rm_i32(Op::sized(0x81, bytes), alu as u8, mem, value),
        }
    }

    pub(crate) fn test(&mut self, left: Gpr, right: Gpr, bytes: u8) {
        self.rr(Op::sized(0x85, bytes), right.0, left.0);
    }

    /// `test reg8, imm8`
    pub(crate) fn test_i8(&mut self, reg: Gpr, imm: u8) {
        self.rr_i8(Op::one(0xf6).byte_rm(), 0, reg.0, imm);
    }

    /// Shifts by a constant.
    pub(crate) fn shift_imm(&mut self, shift: Shift, reg: Gpr, count: u8, bytes: u8) {
        self.rr_i8(Op::sized(0xc1, bytes), shift as u8, reg.0, count);
    }

    /// Shifts by CL.
    pub(crate) fn shift_cl(&mut self, shift: Shift, reg: Gpr, bytes: u8) {
        self.rr(Op::sized(0xd3, bytes), shift as u8, reg.0);
    }

    pub(crate) fn imul(&mut self, to: Gpr, from: Gpr, wide: bool) {
        self.rr(Op::two(0xaf).w_if(wide), to.0, from.0);
    }

    pub(crate) fn imul_imm(&mut self, to: Gpr, from: Gpr, value: i32, wide: bool) {
        match i8::try_from(value) {
            Ok(short) => self.rr_i8(Op::one(0x6b).w_if(wide), to.0, from.0, short as u8),
            Err(_) => self.rr_i32(Op::one(0x69).w_if(wide), to.0, from.0, value),
        }
    }

    /// `F7 /digit`: not 2, neg 3, mul 4, imul 5, div 6, idiv 7.
    pub(crate) fn unary(&mut self, digit: u8, reg: Gpr, bytes: u8) {
        self.rr(Op::sized(0xf7, bytes), digit, reg.0);
    }

    pub(crate) fn setcc(&mut self, cond: Cond, to: Gpr) {
        self.rr(Op::two(0x90 | cond as u8).byte_rm(), 0, to.0);
    }

    pub(crate) fn cmov(&mut self, cond: Cond, to: Gpr, from: Gpr, wide: bool) {
        self.rr(Op::two(0x40 | cond as u8).w_if(wide), to.0, from.0);
    }

    pub(crate) fn movzx(&mut self, to: Gpr, from: Gpr, bytes: u8) {
        match bytes {
            1 => self.rr(Op::two(0xb6).byte_rm(), to.0, from.0),
            2 => self.rr(Op::two(0xb7), to.0, from.0),
            _ => self.mov32(to, from),
        }
    }

    /// Sign-extends to 64 bits if `wide`, else to 32.
    pub(crate) fn movsx(&mut self, to: Gpr, from: Gpr, bytes: u8, wide: bool) {
        match bytes {
            1 => self.rr(Op::two(0xbe).byte_rm().w_if(wide), to.0, from.0),
            2 => self.rr(Op::two(0xbf).w_if(wide), to.0, from.0),
            _ if wide => self.rr(Op::one(0x63).w(), to.0, from.0),
            _ => self.mov32(to, from),
        }
    }

    /// `vfmadd213`: `to = factor * to + addend`, of numbers of `bytes` bytes; of the lowest alone if `scalar`.
    pub(crate) fn multiply_add(&mut self, to: Xmm, factor: Xmm, addend: Xmm, bytes: u8, scalar: bool) {
        // VEX: inverted high bits of the registers and the map; width, the inverted second operand and the prefix.
        let map = 0x42 | (!to.0 & 8) << 4 | (!addend.0 & 8) << 2;
        let rest = u8::from(bytes == 8) << 7 | (!factor.0 & 15) << 3 | 1;
        let opcode = if scalar { 0xa9 } else { 0xa8 };
        self.raw(&[0xc4, map, rest, opcode, 0xc0 | (to.0 & 7) << 3 | addend.0 & 7]);
    }

    /// `vinsertf128 to, to, from, 1`: `from` becomes the upper half of YMM register `to`.
    pub(crate) fn insert_upper(&mut self, to: Xmm, from: Xmm) {
        let map = 0x43 | (!to.0 & 8) << 4 | (!from.0 & 8) << 2;
        self.raw(&[0xc4, map, (!to.0 & 15) << 3 | 5, 0x18, 0xc0 | (to.0 & 7) << 3 | from.0 & 7, 1]);
    }

    /// `vextractf128 to, from, 1`: the upper half of YMM register `from`.
    pub(crate) fn extract_upper(&mut self, to: Xmm, from: Xmm) {
        let map = 0x43 | (!from.0 & 8) << 4 | (!to.0 & 8) << 2;
        self.raw(&[0xc4, map, 0x7d, 0x19, 0xc0 | (from.0 & 7) << 3 | to.0 & 7, 1]);
    }

    /// `vzeroupper`: what is above XMM's is zero, so that instructions without VEX need not keep it.
    pub(crate) fn zero_uppers(&mut self) {
        self.raw(&[0xc5, 0xf8, 0x77]);
    }

    /// An instruction of general registers in the map 0F 38 (BMI), with prefix number `prefix`: `to` and `rm` are its ModRM.
    pub(crate) fn bits(&mut self, prefix: u8, opcode: u8, to: Gpr, other: Gpr, rm: Gpr, wide: bool) {
        let map = 0x42 | (!to.0 & 8) << 4 | (!rm.0 & 8) << 2;
        let rest = u8::from(wide) << 7 | (!other.0 & 15) << 3 | prefix;
        self.raw(&[0xc4, map, rest, opcode, 0xc0 | (to.0 & 7) << 3 | rm.0 & 7]);
    }

    /// `bswap`, of 64 bits.
    pub(crate) fn byte_swap(&mut self, reg: Gpr) {
        self.raw(&[if reg.0 >= 8 { 0x49 } else { 0x48 }, 0x0f, 0xc8 | reg.0 & 7]);
    }

    // ---- control ------------------------------------------------------------------------------------------------

    pub(crate) fn ud2(&mut self) {
        self.code.put(0x0b0f, 2);
    }

    /// Pads with the recommended multi-byte `nop`s (SDM, NOP) to a multiple of `align` minus `before`.
    pub(crate) fn nops(&mut self, count: usize) {
        const NOPS: [&[u8]; 9] = [
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0x00],
            &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
            &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        ];
        let mut left = count;
        while left > 0 {
            let step = left.min(9);
            self.code.extend_from_slice(NOPS[step - 1]);
            left -= step;
        }
    }

    /// `call target` (E8) or `jmp target` (E9). The displacement lies within one aligned word of 8 bytes, so that it
    /// can be replaced while other threads run it.
    pub(crate) fn branch(&mut self, opcode: u8, target: Target, kind: RelocationKind) {
        let start = (self.code.len() + 1) % 8;
        if start > 4 {
            self.nops(8 - start);
        }
        self.code.put(u64::from(opcode), 5);
        let offset = self.position() - 4;
        self.references.push(Reference { offset, target, kind, addend: -4 });
    }

    /// `call target` wherever it falls: part of a sequence that the linker knows.
    pub(crate) fn unaligned_call(&mut self, target: Target) {
        self.code.put(0xe8, 5);
        let offset = self.position() - 4;
        self.references.push(Reference { offset, target, kind: RelocationKind::PLT32, addend: -4 });
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }
}
