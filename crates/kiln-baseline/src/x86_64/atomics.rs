//! Atomic accesses: by one instruction where the machine has one, in a loop of compare-and-exchange, or by the run-time
//! library, each where LLVM does it (llvm/lib/CodeGen/AtomicExpandPass.cpp). Code of both tiers meets at one address, so
//! neither may lock where the other does not.

use kiln_bitcode::{Instruction, Ordering, Type, TypeId, ValueId};

use super::abi::Vectors;
use super::arithmetic::Test;
use super::encoder::{Alu, Cond, Gpr, Mem, Op, R8, R9, RAX, RBX, RCX, RDI, RDX, RSI, Xmm};
use super::floats::sse;
use super::generator::{Generator, Result};
use super::parts::Bank;
use super::registers::XMM0;
use super::soft_floats::Format;
use crate::compiler::Unsupported;

/// Values of more bytes than this are left to the optimizer.
const BYTES_MAX: u64 = 64;

/// What makes an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// An instruction, on at most 8 bytes.
    Machine,
    /// `cmpxchg16b`, on 16; where there is AVX, aligned moves too.
    Pair { avx: bool },
    /// The library's functions for 16 bytes, `__atomic_load_16` and so on.
    Library16,
    /// The library's functions for any size.
    Library { bytes: u32 },
}

/// Operations of `atomicrmw` (llvm/IR/Instructions.h, `AtomicRMWInst::BinOp`).
mod operation {
    pub(super) const XCHG: u8 = 0;
    pub(super) const ADD: u8 = 1;
    pub(super) const SUB: u8 = 2;
    pub(super) const AND: u8 = 3;
    pub(super) const NAND: u8 = 4;
    pub(super) const OR: u8 = 5;
    pub(super) const XOR: u8 = 6;
    pub(super) const MAX: u8 = 7;
    pub(super) const MIN: u8 = 8;
    pub(super) const UMAX: u8 = 9;
    pub(super) const UMIN: u8 = 10;
    pub(super) const FADD: u8 = 11;
    pub(super) const FSUB: u8 = 12;
    pub(super) const FMAX: u8 = 13;
    pub(super) const FMIN: u8 = 14;
    pub(super) const UINC_WRAP: u8 = 17;
    pub(super) const UDEC_WRAP: u8 = 18;
    pub(super) const USUB_COND: u8 = 19;
    pub(super) const USUB_SAT: u8 = 20;
}
use operation::{
    ADD, AND, FADD, FMAX, FMIN, FSUB, MAX, MIN, NAND, OR, SUB, UDEC_WRAP, UINC_WRAP, UMAX, UMIN, USUB_COND, USUB_SAT,
    XCHG, XOR,
};

/// The number of an ordering for the library (`__ATOMIC_RELAXED` and so on).
fn order_number(ordering: Ordering) -> u64 {
    match ordering {
        Ordering::NotAtomic | Ordering::Unordered | Ordering::Monotonic => 0,
        Ordering::Acquire => 2,
        Ordering::Release => 3,
        Ordering::AcquireRelease => 4,
        Ordering::SequentiallyConsistent => 5,
    }
}

/// The strongest ordering that a failed exchange may have whose success has this one.
fn order_on_failure(ordering: Ordering) -> Ordering {
    match ordering {
        Ordering::AcquireRelease => Ordering::Acquire,
        Ordering::Release => Ordering::Monotonic,
        other => other,
    }
}

// Areas of memory for lanes that hold values on their way.

/// The operand, or the new value of `cmpxchg`.
const OPERAND: usize = 0;
/// What was found, or is expected.
const OLD: usize = 1;
/// What is to be written; behind it, the address.
const NEW: usize = 2;

impl Generator<'_> {
    /// What makes the access of `instruction` to a value of type `ty`.
    pub(crate) fn access(&self, instruction: &Instruction, ty: TypeId) -> Result<Access> {
        let bytes = self.size_of(ty)?;
        if !bytes.is_power_of_two() || bytes > BYTES_MAX {
            return Err(Box::new(Unsupported::Instruction("an atomic access to a value of an unusual size")));
        }
        let aligned = instruction.align() == 0 || 1u64 << (instruction.align() - 1).min(63) >= bytes;
        match (aligned, bytes) {
            (true, ..=8) => Ok(Access::Machine),
            (true, 16) => self.access_to_pair(),
            _ => Ok(Access::Library { bytes: bytes as u32 }),
        }
    }

    /// What the function's own features say about 16 bytes: as for vectors, a definition is compiled by its own.
    fn access_to_pair(&self) -> Result<Access> {
        let attributes = self.module.attributes(self.module.function(self.function).attributes);
        let features = attributes.string(b"target-features").unwrap_or_default();
        let says = |wanted: &[u8]| features.split(|byte| *byte == b',').any(|feature| feature == wanted);
        let has = match attributes.string(b"target-cpu") {
            None | Some(b"" | b"x86-64" | b"generic") => says(b"+cx16"),
            Some(b"x86-64-v2" | b"x86-64-v3" | b"x86-64-v4") => !says(b"-cx16"),
            Some(_) if says(b"+cx16") || says(b"-cx16") => says(b"+cx16"),
            Some(_) => {
                return Err(Box::new(Unsupported::Instruction(
                    "an atomic access to 16 bytes for a processor that is not known",
                )));
            }
        };
        let avx = self.vectors == Vectors::Avx || says(b"+avx") && !says(b"-avx");
        Ok(if has { Access::Pair { avx } } else { Access::Library16 })
    }

    // ---- values on their way ------------------------------------------------------------------------------------

    fn atomic_area(&mut self, area: usize) -> Mem {
        self.lane_mem(area, 0)
    }

    /// Where the address is kept.
    fn address_home(&mut self) -> Mem {
        self.lane_mem(NEW, BYTES_MAX as u32)
    }

    fn put_value(&mut self, area: usize, value: ValueId) -> Result<()> {
        let mem = self.atomic_area(area);
        let ty = self.ty(value);
        for at in 0..self.type_parts(ty)?.1 {
            self.store_memory(&mem, value, at)?;
        }
        Ok(())
    }

    /// Makes the value of type `ty` in `area` the first parts of `result`.
    fn get_value(&mut self, area: usize, result: ValueId, ty: TypeId) -> Result<u32> {
        let mem = self.atomic_area(area);
        let (first, count) = self.type_parts(ty)?;
        for at in 0..count {
            let part = self.known.types.get(first + at);
            let reg = self.load_memory(&mem, part)?;
            self.bind_or_drop(result, at, reg);
        }
        Ok(count)
    }

    /// Puts the address into memory, and everything that calls destroy where it survives: from here on, claiming such a
    /// register makes no code, so loops may begin.
    fn put_address(&mut self, address: ValueId) -> Result<()> {
        let home = self.address_home();
        let mem = self.address(address)?;
        let reg = self.alloc_gpr()?;
        self.asm.lea(reg, &mem);
        self.asm.store(&home, reg, 8);
        self.save_around_call();
        self.free_temporaries();
        Ok(())
    }

    // ---- loads and stores ---------------------------------------------------------------------------------------

    pub(crate) fn atomic_load(&mut self, instruction: &Instruction, address: ValueId, access: Access) -> Result<()> {
        let result = self.result(instruction)?;
        let order = order_number(instruction.ordering());
        let old = self.atomic_area(OLD);
        match access {
            Access::Pair { avx: true } => {
                let mem = self.address(address)?;
                let through = self.alloc_xmm()?;
                // movaps
                self.asm.rm(Op::two(0x28), through.0, &mem);
                self.asm.store_xmm(&old, through, 16);
            }
            Access::Pair { avx: false } => {
                // If zero is there, it is written again.
                self.put_address(address)?;
                let new = self.atomic_area(NEW);
                for area in [old, new] {
                    self.asm.store_imm(&area, 0, 8);
                    self.asm.store_imm(&area.plus(8), 0, 8);
                }
                self.exchange_pair()?;
            }
            Access::Machine => unreachable!("a plain load makes it"),
            Access::Library16 => {
                self.put_address(address)?;
                self.library_address(RDI)?;
                self.library_number(RSI, order)?;
                self.call_library("__atomic_load_16")?;
                self.put_returned(&old)?;
            }
            Access::Library { bytes } => {
                self.put_address(address)?;
                self.library_number(RDI, bytes.into())?;
                self.library_address(RSI)?;
                self.library_area(RDX, OLD)?;
                self.library_number(RCX, order)?;
                self.call_library("__atomic_load")?;
            }
        }
        self.get_value(OLD, result, self.body.result_type(instruction))?;
        Ok(())
    }

    pub(crate) fn atomic_store(
        &mut self,
        instruction: &Instruction,
        address: ValueId,
        value: ValueId,
        access: Access,
    ) -> Result<()> {
        let order = order_number(instruction.ordering());
        self.put_value(OPERAND, value)?;
        match access {
            Access::Pair { avx: true } => {
                let mem = self.address(address)?;
                let through = self.alloc_xmm()?;
                let from = self.atomic_area(OPERAND);
                self.asm.load_xmm(through, &from, 16);
                // movaps
                self.asm.rm(Op::two(0x29), through.0, &mem);
                self.fence(instruction)
            }
            Access::Pair { avx: false } => {
                self.put_address(address)?;
                self.exchange_loop(instruction, XCHG, access, None)
            }
            Access::Machine => unreachable!("a plain store makes it"),
            Access::Library16 => {
                self.put_address(address)?;
                self.library_address(RDI)?;
                self.library_words(RSI, RDX, OPERAND)?;
                self.library_number(RCX, order)?;
                self.call_library("__atomic_store_16")
            }
            Access::Library { bytes } => {
                self.put_address(address)?;
                self.library_number(RDI, bytes.into())?;
                self.library_address(RSI)?;
                self.library_area(RDX, OPERAND)?;
                self.library_number(RCX, order)?;
                self.call_library("__atomic_store")
            }
        }
    }

    #[inline(never)]
    pub(crate) fn fence(&mut self, instruction: &Instruction) -> Result<()> {
        let single = instruction.flags() & Instruction::SINGLE_THREAD != 0;
        if instruction.ordering() == Ordering::SequentiallyConsistent && !single {
            // mfence
            self.asm.raw(&[0x0f, 0xae, 0xf0]);
        }
        Ok(())
    }

    // ---- compare and exchange -----------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn cmpxchg(
        &mut self,
        instruction: &Instruction,
        address: ValueId,
        expected: ValueId,
        new: ValueId,
    ) -> Result<()> {
        let ty = self.ty(expected);
        let access = self.access(instruction, ty)?;
        let result = self.result(instruction)?;
        if access != Access::Machine {
            self.put_value(OLD, expected)?;
            self.put_value(NEW, new)?;
            self.put_address(address)?;
            let failure = [Ordering::Monotonic, Ordering::Acquire, Ordering::SequentiallyConsistent]
                .into_iter()
                .find(|ordering| *ordering as u8 == instruction.sub)
                .unwrap_or(Ordering::SequentiallyConsistent);
            let cond = self.exchange(access, 16, [instruction.ordering(), failure])?;
            self.claim(R8.0)?;
            self.asm.setcc(cond, R8);
            let count = self.get_value(OLD, result, ty)?;
            self.bind(result, count, R8.0);
            return Ok(());
        }
        let part = self.scalar(ty)?;
        if part.bank != Bank::Gpr || !part.bits.is_multiple_of(8) {
            return Err(Box::new(Unsupported::Instruction("cmpxchg of an unusual type")));
        }
        self.claim(RAX.0)?;
        let mem = self.address(address)?;
        let from = self.read_gpr(new, 0)?;
        let flag = self.alloc_gpr()?;
        self.load_into(RAX.0, expected, 0)?;
        self.asm.raw(&[0xf0]);
        self.locked_two(0xb1, from, &mem, part.store);
        self.asm.setcc(Cond::E, flag);
        self.bind(result, 0, RAX.0);
        self.bind(result, 1, flag.0);
        Ok(())
    }

    /// An instruction of the 0F map after a `lock` prefix: opcode for bytes is one less.
    fn locked_two(&mut self, opcode: u8, reg: Gpr, mem: &Mem, bytes: u8) {
        let op = match bytes {
            1 => Op::two(opcode - 1).byte_reg(),
            2 => Op::two(opcode).p66(),
            4 => Op::two(opcode),
            _ => Op::two(opcode).w(),
        };
        self.asm.rm(op, reg.0, mem);
    }

    /// `lock cmpxchg16b`: if RDX:RAX is there, RCX:RBX takes its place, else RDX:RAX is what is there. RBX, which may be
    /// somebody's all through the function, is put aside.
    fn exchange_pair(&mut self) -> Result<()> {
        let (old, new) = (self.atomic_area(OLD), self.atomic_area(NEW));
        self.library_words(RAX, RDX, OLD)?;
        self.library_address(RSI)?;
        self.claim(RCX.0)?;
        self.claim(R9.0)?;
        self.asm.load(RCX, &new.plus(8), 8);
        self.asm.mov(R9, RBX);
        self.asm.load(RBX, &new, 8);
        self.asm.raw(&[0xf0]);
        self.asm.rm(Op::two(0xc7).w(), 1, &Mem::reg(RSI, 0));
        self.asm.mov(RBX, R9);
        self.asm.store(&old, RAX, 8);
        self.asm.store(&old.plus(8), RDX, 8);
        self.free_temporaries();
        Ok(())
    }

    /// Writes what is in the area `NEW` if what is in `OLD` is there; `OLD` is what was there then. The condition says
    /// whether it was written. Of `bytes` bytes, if an instruction does it.
    fn exchange(&mut self, access: Access, bytes: u8, orders: [Ordering; 2]) -> Result<Cond> {
        let (old, new) = (self.atomic_area(OLD), self.atomic_area(NEW));
        match access {
            Access::Machine => {
                self.claim(RAX.0)?;
                self.claim(RCX.0)?;
                self.library_address(RSI)?;
                self.asm.load(RAX, &old, bytes);
                self.asm.load(RCX, &new, bytes);
                self.asm.raw(&[0xf0]);
                self.locked_two(0xb1, RCX, &Mem::reg(RSI, 0), bytes);
                self.asm.store(&old, RAX, bytes);
            }
            Access::Pair { .. } => self.exchange_pair()?,
            Access::Library16 | Access::Library { .. } => {
                if let Access::Library { bytes } = access {
                    self.library_number(RDI, bytes.into())?;
                    self.library_address(RSI)?;
                    self.library_area(RDX, OLD)?;
                    self.library_area(RCX, NEW)?;
                } else {
                    self.library_address(RDI)?;
                    self.library_area(RSI, OLD)?;
                    self.library_words(RDX, RCX, NEW)?;
                }
                self.library_number(R8, order_number(orders[0]))?;
                self.library_number(R9, order_number(orders[1]))?;
                self.call_library(match access {
                    Access::Library { .. } => "__atomic_compare_exchange",
                    _ => "__atomic_compare_exchange_16",
                })?;
                self.claim(RAX.0)?;
                self.asm.test(RAX, RAX, 1);
                self.free_temporaries();
                return Ok(Cond::NE);
            }
        }
        self.free_temporaries();
        Ok(Cond::E)
    }

    // ---- the library's arguments --------------------------------------------------------------------------------

    fn library_address(&mut self, to: Gpr) -> Result<()> {
        let home = self.address_home();
        self.claim(to.0)?;
        self.asm.load(to, &home, 8);
        Ok(())
    }

    fn library_area(&mut self, to: Gpr, area: usize) -> Result<()> {
        let mem = self.atomic_area(area);
        self.claim(to.0)?;
        self.asm.lea(to, &mem);
        Ok(())
    }

    fn library_words(&mut self, low: Gpr, high: Gpr, area: usize) -> Result<()> {
        let mem = self.atomic_area(area);
        for (reg, at) in [(low, 0), (high, 8)] {
            self.claim(reg.0)?;
            self.asm.load(reg, &mem.plus(at), 8);
        }
        Ok(())
    }

    fn library_number(&mut self, to: Gpr, number: u64) -> Result<()> {
        self.claim(to.0)?;
        self.asm.mov_imm(to, number);
        Ok(())
    }

    /// Stores the two words that a function returned.
    fn put_returned(&mut self, to: &Mem) -> Result<()> {
        for (reg, at) in [(RAX, 0), (RDX, 8)] {
            self.claim(reg.0)?;
            self.asm.store(&to.plus(at), reg, 8);
        }
        self.free_temporaries();
        Ok(())
    }

    // ---- read, modify, write ------------------------------------------------------------------------------------

    #[inline(never)]
    pub(crate) fn atomic_rmw(&mut self, instruction: &Instruction, address: ValueId, value: ValueId) -> Result<()> {
        let ty = self.body.result_type(instruction);
        let access = self.access(instruction, ty)?;
        self.type_parts(ty)?;
        if access == Access::Machine && instruction.sub <= UMIN && self.known.types.word(ty) != 0 {
            return self.machine_rmw(instruction, address, value);
        }
        let format = match self.module.ty(ty) {
            Type::Integer(_) | Type::Pointer { .. } => None,
            Type::Vector { .. } if instruction.sub != XCHG => {
                return Err(Box::new(Unsupported::Instruction("atomicrmw of vectors")));
            }
            _ => Some(self.format(ty)?),
        };
        let result = self.result(instruction)?;
        self.put_value(OPERAND, value)?;
        self.put_address(address)?;
        let order = order_number(instruction.ordering());
        match (access, instruction.sub) {
            (Access::Library16, sub @ XCHG..=XOR) => {
                self.library_address(RDI)?;
                self.library_words(RSI, RDX, OPERAND)?;
                self.library_number(RCX, order)?;
                self.call_library(match sub {
                    XCHG => "__atomic_exchange_16",
                    ADD => "__atomic_fetch_add_16",
                    SUB => "__atomic_fetch_sub_16",
                    AND => "__atomic_fetch_and_16",
                    NAND => "__atomic_fetch_nand_16",
                    OR => "__atomic_fetch_or_16",
                    _ => "__atomic_fetch_xor_16",
                })?;
                let old = self.atomic_area(OLD);
                self.put_returned(&old)?;
            }
            (Access::Library { bytes }, XCHG) => {
                self.library_number(RDI, bytes.into())?;
                self.library_address(RSI)?;
                self.library_area(RDX, OPERAND)?;
                self.library_area(RCX, OLD)?;
                self.library_number(R8, order)?;
                self.call_library("__atomic_exchange")?;
            }
            (_, sub) => self.exchange_loop(instruction, sub, access, format)?,
        }
        self.get_value(OLD, result, ty)?;
        Ok(())
    }

    /// Tries until nobody else wrote in between.
    fn exchange_loop(
        &mut self,
        instruction: &Instruction,
        operation: u8,
        access: Access,
        format: Option<Format>,
    ) -> Result<()> {
        let bytes = match access {
            Access::Machine => self.size_of(self.body.result_type(instruction))? as u32,
            Access::Library { bytes } => bytes,
            _ => 16,
        };
        let ordering = instruction.ordering();
        let old = self.atomic_area(OLD);
        self.library_address(RSI)?;
        self.copy_block(&old, &Mem::reg(RSI, 0), bytes);
        self.free_temporaries();
        let again = self.asm.label();
        self.asm.bind(again);
        match format {
            Some(format) if operation != XCHG => self.modify_float(operation, format)?,
            _ => self.modify(operation, bytes)?,
        }
        let written = self.exchange(access, bytes.min(8) as u8, [ordering, order_on_failure(ordering)])?;
        self.asm.jcc(written.inverted(), again);
        Ok(())
    }

    /// `NEW` from `OLD` and `OPERAND`, word by word; flags live from word to word.
    fn modify(&mut self, operation: u8, bytes: u32) -> Result<()> {
        let (operand, old, new) = (self.atomic_area(OPERAND), self.atomic_area(OLD), self.atomic_area(NEW));
        if operation == XCHG {
            self.copy_block(&new, &operand, bytes);
            return Ok(());
        }
        let width = bytes.min(8) as u8;
        let words = bytes.div_ceil(8) as i32;
        let (word, other) = (RAX, RCX);
        self.claim(word.0)?;
        self.claim(other.0)?;
        let pair = match operation {
            ADD => Some((Alu::Add, Alu::Adc)),
            SUB | USUB_COND | USUB_SAT => Some((Alu::Sub, Alu::Sbb)),
            AND | NAND => Some((Alu::And, Alu::And)),
            OR => Some((Alu::Or, Alu::Or)),
            XOR => Some((Alu::Xor, Alu::Xor)),
            _ => None,
        };
        if let Some((first, others)) = pair {
            for at in 0..words {
                self.asm.load(word, &old.plus(8 * at), width);
                self.asm.alu_rm(if at == 0 { first } else { others }, word, &operand.plus(8 * at), width);
                if operation == NAND {
                    // Which leaves the flags alone.
                    self.asm.unary(2, word, 8);
                }
                self.asm.store(&new.plus(8 * at), word, width);
            }
        } else if matches!(operation, UINC_WRAP | UDEC_WRAP) {
            let (first, others) = if operation == UINC_WRAP { (Alu::Add, Alu::Adc) } else { (Alu::Sub, Alu::Sbb) };
            for at in 0..words {
                self.asm.load(word, &old.plus(8 * at), width);
                self.asm.alu_ri(if at == 0 { first } else { others }, word, i32::from(at == 0), width);
                self.asm.store(&new.plus(8 * at), word, width);
            }
        }
        // What replaces the result so far, and when.
        let less = |own: &mut Self, left: Mem, right: Mem| {
            for at in 0..words {
                own.asm.load(word, &left.plus(8 * at), width);
                let alu = if at == 0 { Alu::Cmp } else { Alu::Sbb };
                own.asm.alu_rm(alu, word, &right.plus(8 * at), width);
            }
        };
        let choose = |own: &mut Self, cond: Cond, then: Option<Mem>, otherwise: Mem| {
            for at in 0..words {
                // Moves only, which leave the flags alone.
                own.asm.load(word, &otherwise.plus(8 * at), width);
                match then {
                    Some(then) => own.asm.load(other, &then.plus(8 * at), width),
                    None => own.asm.mov_imm(other, 0),
                }
                own.asm.cmov(cond, word, other, true);
                own.asm.store(&new.plus(8 * at), word, width);
            }
        };
        match operation {
            MAX | UMAX => {
                less(self, old, operand);
                choose(self, if operation == MAX { Cond::L } else { Cond::B }, Some(operand), old);
            }
            MIN | UMIN => {
                less(self, operand, old);
                choose(self, if operation == MIN { Cond::L } else { Cond::B }, Some(operand), old);
            }
            // Back to zero when it is not below the operand; and so is what cannot be subtracted.
            UINC_WRAP => {
                less(self, old, operand);
                choose(self, Cond::AE, None, new);
            }
            USUB_SAT => {
                less(self, old, operand);
                choose(self, Cond::B, None, new);
            }
            USUB_COND => {
                less(self, old, operand);
                choose(self, Cond::B, Some(old), new);
            }
            // From zero, and from above the operand, to the operand.
            UDEC_WRAP => {
                less(self, operand, old);
                choose(self, Cond::B, Some(operand), new);
                self.asm.mov_imm(word, 0);
                for at in 0..words {
                    self.asm.load(other, &old.plus(8 * at), width);
                    self.asm.alu_rr(Alu::Or, word, other, 8);
                }
                self.asm.test(word, word, 8);
                choose(self, Cond::E, Some(operand), new);
            }
            _ if pair.is_none() => return Err(Box::new(Unsupported::Instruction("an unusual atomicrmw"))),
            _ => {}
        }
        self.free_temporaries();
        Ok(())
    }

    fn modify_float(&mut self, operation: u8, format: Format) -> Result<()> {
        let bytes = match format {
            Format::Single => 4,
            Format::Double => 8,
            _ => return Err(Box::new(Unsupported::Instruction("atomicrmw of an unusual type"))),
        };
        let (operand, old, new) = (self.atomic_area(OPERAND), self.atomic_area(OLD), self.atomic_area(NEW));
        let (number, other) = (Xmm(0), Xmm(1));
        self.claim(XMM0)?;
        self.claim(XMM0 + 1)?;
        self.asm.load_xmm(number, &old, bytes);
        match operation {
            FADD => self.asm.rm(sse(0x58, bytes), number.0, &operand),
            FSUB => self.asm.rm(sse(0x5c, bytes), number.0, &operand),
            FMAX | FMIN => {
                // `maxss` gives its second operand where one is a NaN: the number, if the first one is what was there.
                let opcode = if operation == FMAX { 0x5f } else { 0x5d };
                self.asm.movaps(other, number);
                self.asm.load_xmm(number, &operand, bytes);
                let op = if bytes == 4 { Op::two(0x2e) } else { Op::two(0x2e).p66() }; // ucomiss
                self.asm.rr(op, other.0, other.0);
                let nan = self.asm.skip(Cond::P);
                self.asm.rr(sse(opcode, bytes), number.0, other.0);
                self.asm.land(nan);
            }
            _ => return Err(Box::new(Unsupported::Instruction("an unusual atomicrmw"))),
        }
        self.asm.store_xmm(&new, number, bytes);
        self.free_temporaries();
        Ok(())
    }

    /// What the machine does with one instruction, or a short loop in registers.
    fn machine_rmw(&mut self, instruction: &Instruction, address: ValueId, value: ValueId) -> Result<()> {
        let bytes = self.scalar(self.body.result_type(instruction))?.store;
        let result = self.result(instruction)?;
        let wanted = self.values[self.value_index(result) as usize].uses() > 0;
        match instruction.sub {
            // xchg, which locks by itself
            XCHG => {
                let mem = self.address(address)?;
                let reg = self.take_gpr(value, 0)?;
                self.asm.rm(Op::sized(0x87, bytes), reg.0, &mem);
                self.bind(result, 0, reg.0);
                return Ok(());
            }
            ADD | SUB => {
                let mem = self.address(address)?;
                let reg = self.take_gpr(value, 0)?;
                if instruction.sub == SUB {
                    self.asm.unary(3, reg, 8);
                }
                // lock xadd
                self.asm.raw(&[0xf0]);
                self.locked_two(0xc1, reg, &mem, bytes);
                self.bind(result, 0, reg.0);
                return Ok(());
            }
            AND | OR | XOR if !wanted => {
                let mem = self.address(address)?;
                let reg = self.read_gpr(value, 0)?;
                let alu = match instruction.sub {
                    AND => Alu::And,
                    OR => Alu::Or,
                    _ => Alu::Xor,
                };
                self.asm.raw(&[0xf0]);
                self.asm.alu_mr(alu, &mem, reg, bytes);
                return Ok(());
            }
            _ => {}
        }
        self.claim(RAX.0)?;
        let mem = self.address(address)?;
        let operand = self.read_gpr(value, 0)?;
        let new = self.alloc_gpr()?;
        self.asm.load(RAX, &mem, bytes);
        let again = self.asm.label();
        self.asm.bind(again);
        self.asm.mov(new, RAX);
        match instruction.sub {
            AND => self.asm.alu_rr(Alu::And, new, operand, 8),
            NAND => {
                self.asm.alu_rr(Alu::And, new, operand, 8);
                self.asm.unary(2, new, 8);
            }
            OR => self.asm.alu_rr(Alu::Or, new, operand, 8),
            XOR => self.asm.alu_rr(Alu::Xor, new, operand, 8),
            operation => {
                // The operand replaces what is there unless that is already the one wanted.
                let cond = match operation {
                    MAX => Cond::L,
                    MIN => Cond::G,
                    UMAX => Cond::B,
                    _ => Cond::A,
                };
                self.asm.alu_rr(Alu::Cmp, RAX, operand, bytes);
                let test = Test::plain(cond);
                self.asm.cmov(test.cond, new, operand, true);
            }
        }
        self.asm.raw(&[0xf0]);
        self.locked_two(0xb1, new, &mem, bytes);
        self.asm.jcc(Cond::NE, again);
        self.bind(result, 0, RAX.0);
        Ok(())
    }
}
