//! Calls of `llvm.*`.

use kiln_bitcode::{Constant, FunctionId, GlobalRef, Instruction, Module, Type, ValueId};
use kiln_link::RelocationKind;

use super::encoder::{Alu, Cond, Gpr, Mem, Op, RAX, RBP, RCX, RDI, RDX, RSI, RSP, Shift};
use super::floats::sse;
use super::generator::{Generator, Result};
use super::known::{Callee, Known};
use super::registers::{SCRATCH, XMM0};
use super::soft_floats::Sign;
use crate::compiler::Unsupported;

/// Blocks of memory up to this size are copied by moves: LLVM's own limit at -O2.
const COPY_INLINE_MAX: u64 = 64;
/// And filled.
const FILL_INLINE_MAX: u64 = 128;

/// The name without `llvm.` and the types that end it.
fn base(name: &[u8]) -> &[u8] {
    let mut rest = &name[5..];
    while let Some(dot) = rest.iter().rposition(|b| *b == b'.') {
        let last = &rest[dot + 1..];
        let is_type = match last {
            [b'p' | b'i' | b'f', digits @ ..] if !digits.is_empty() => digits.iter().all(u8::is_ascii_digit),
            [b'v', b'0'..=b'9', ..] | [b'n', b'x', b'v', ..] | [b's', b'l', b'_', ..] | b"bf16" => true,
            _ => false,
        };
        if !is_type {
            break;
        }
        rest = &rest[..dot];
    }
    rest
}

/// What a call of `function` is.
#[inline]
pub(crate) fn known_callee(module: &Module, known: &mut Known, function: FunctionId) -> Callee {
    known.callee(function, || classify(module.str(module.function(function).symbol.name)))
}

/// What a call of the function called `name` is.
#[cold]
#[inline(never)]
fn classify(name: &[u8]) -> Callee {
    if !name.starts_with(b"llvm.") {
        return Callee::Plain;
    }
    match base(name) {
        b"lifetime.start"
        | b"lifetime.end"
        | b"assume"
        | b"experimental.noalias.scope.decl"
        | b"donothing"
        | b"invariant.end"
        | b"sideeffect"
        | b"var.annotation"
        | b"prefetch"
        | b"va_end"
        | b"dbg.value"
        | b"dbg.declare"
        | b"dbg.label"
        | b"dbg.assign"
        | b"experimental.convergence.entry"
        | b"experimental.convergence.anchor"
        | b"experimental.convergence.loop"
        | b"pseudoprobe" => Callee::Nothing,
        b"invariant.start" | b"umin" | b"umax" | b"smin" | b"smax" | b"scmp" | b"ucmp" | b"abs" | b"bswap"
        | b"bitreverse" | b"ctlz" | b"cttz" | b"ctpop" | b"fshl" | b"fshr" | b"fabs" | b"copysign" | b"sqrt"
        | b"fmuladd" | b"expect" | b"is.constant" | b"is.fpclass" | b"objectsize" | b"ptrmask" | b"trap"
        | b"load.relative" => Callee::Inline,
        name if name.ends_with(b".sat") || name.ends_with(b".with.overflow") => Callee::Inline,
        name if [&b"vector.reduce."[..], b"x86.", b"masked."].iter().any(|start| name.starts_with(start)) => {
            Callee::Inline
        }
        _ => Callee::Intrinsic,
    }
}

impl Generator<'_> {
    pub(crate) fn intrinsic(&mut self, name: &[u8], instruction: &Instruction, operands: &[u32]) -> Result<()> {
        let value = |at: usize| ValueId(operands[at]);
        let unsupported = || Err(Box::new(Unsupported::Intrinsic(String::from_utf8_lossy(name).into_owned())));
        let is_vector = matches!(self.module.ty(self.body.result_type(instruction)), Type::Vector { .. });
        let base = base(name);
        if let Some(operation) = base.strip_prefix(b"experimental.constrained.") {
            return match self.constrained(operation, instruction, operands)? {
                true => Ok(()),
                false => unsupported(),
            };
        }
        if is_vector {
            return match self.vector_intrinsic(base, instruction, operands)? {
                true => Ok(()),
                false => unsupported(),
            };
        }
        match base {
            b"memcpy" | b"memcpy.inline" => self.copy_call(operands, "memcpy", base == b"memcpy.inline"),
            b"memmove" => self.copy_call(operands, "memmove", false),
            b"memset" | b"memset.inline" => self.fill_call(operands, base == b"memset.inline"),
            b"expect"
            | b"expect.with.probability"
            | b"ssa.copy"
            | b"launder.invariant.group"
            | b"strip.invariant.group"
            | b"annotation"
            | b"ptr.annotation"
            | b"preserve.static.offset" => {
                let result = self.result(instruction)?;
                let count = self.type_parts(self.body.result_type(instruction))?.1;
                self.copy_parts(result, 0, value(0), 0, count)
            }
            b"trap" => {
                self.asm.ud2();
                Ok(())
            }
            b"debugtrap" => {
                self.asm.raw(&[0xcc]);
                Ok(())
            }
            b"is.constant" | b"invariant.start" => self.constant_result(instruction, 0),
            b"objectsize" => {
                let least = self.number(value(1)).is_some_and(|n| n & 1 != 0);
                self.constant_result(instruction, if least { 0 } else { u64::MAX })
            }
            b"umin" => self.extreme(instruction, value(0), value(1), Cond::B, false),
            b"umax" => self.extreme(instruction, value(0), value(1), Cond::A, false),
            b"smin" => self.extreme(instruction, value(0), value(1), Cond::L, true),
            b"smax" => self.extreme(instruction, value(0), value(1), Cond::G, true),
            b"scmp" => self.three_way(instruction, value(0), value(1), true),
            b"ucmp" => self.three_way(instruction, value(0), value(1), false),
            b"abs" => self.absolute(instruction, value(0)),
            b"bswap" => self.byte_swap(instruction, value(0)),
            b"bitreverse" => self.bit_reverse(instruction, value(0)),
            b"ctlz" => self.count_zeros(instruction, value(0), true),
            b"cttz" => self.count_zeros(instruction, value(0), false),
            b"ctpop" => self.population(instruction, value(0)),
            b"fshl" => self.funnel(instruction, operands, true),
            b"fshr" => self.funnel(instruction, operands, false),
            b"uadd.with.overflow" => self.overflow(instruction, value(0), value(1), Alu::Add, false),
            b"sadd.with.overflow" => self.overflow(instruction, value(0), value(1), Alu::Add, true),
            b"usub.with.overflow" => self.overflow(instruction, value(0), value(1), Alu::Sub, false),
            b"ssub.with.overflow" => self.overflow(instruction, value(0), value(1), Alu::Sub, true),
            b"umul.with.overflow" => self.multiply_overflow(instruction, value(0), value(1), false),
            b"smul.with.overflow" => self.multiply_overflow(instruction, value(0), value(1), true),
            b"uadd.sat" => self.saturate(instruction, value(0), value(1), Alu::Add, false),
            b"sadd.sat" => self.saturate(instruction, value(0), value(1), Alu::Add, true),
            b"usub.sat" => self.saturate(instruction, value(0), value(1), Alu::Sub, false),
            b"ssub.sat" => self.saturate(instruction, value(0), value(1), Alu::Sub, true),
            b"va_start" => self.va_start(value(0)),
            b"va_copy" => {
                let to = self.address(value(0))?;
                let to = self.steady(to)?;
                let from = self.address(value(1))?;
                let from = self.steady(from)?;
                self.copy_block(&to, &from, 24);
                Ok(())
            }
            b"stacksave" => {
                let result = self.result(instruction)?;
                let reg = self.alloc_gpr()?;
                self.asm.mov(reg, RSP);
                self.bind(result, 0, reg.0);
                Ok(())
            }
            b"stackrestore" => {
                let reg = self.read_gpr(value(0), 0)?;
                self.asm.mov(RSP, reg);
                Ok(())
            }
            b"frameaddress" if self.number(value(0)) == Some(0) => {
                let result = self.result(instruction)?;
                let reg = self.alloc_gpr()?;
                self.asm.mov(reg, RBP);
                self.bind(result, 0, reg.0);
                Ok(())
            }
            b"returnaddress" if self.number(value(0)) == Some(0) => {
                let result = self.result(instruction)?;
                let reg = self.alloc_gpr()?;
                self.asm.load(reg, &Mem::frame(8), 8);
                self.bind(result, 0, reg.0);
                Ok(())
            }
            b"readcyclecounter" => {
                let result = self.result(instruction)?;
                self.claim(RAX.0)?;
                self.claim(RDX.0)?;
                self.asm.raw(&[0x0f, 0x31]); // rdtsc
                self.asm.shift_imm(Shift::Shl, RDX, 32, 8);
                self.asm.alu_rr(Alu::Or, RAX, RDX, 8);
                self.bind(result, 0, RAX.0);
                Ok(())
            }
            b"x86.xgetbv" => {
                let result = self.result(instruction)?;
                self.claim(RAX.0)?;
                self.claim(RDX.0)?;
                self.place(RCX.0, value(0), 0)?;
                self.asm.raw(&[0x0f, 0x01, 0xd0]);
                self.asm.shift_imm(Shift::Shl, RDX, 32, 8);
                self.asm.alu_rr(Alu::Or, RAX, RDX, 8);
                self.bind(result, 0, RAX.0);
                Ok(())
            }
            b"eh.typeid.for" => self.type_id(instruction, value(0)),
            b"threadlocal.address" => self.thread_local_address(instruction, value(0)),
            b"load.relative" => {
                let result = self.result(instruction)?;
                let reg = self.take_gpr(value(0), 0)?;
                let offset = self.take_sign_extended(value(1), 0, true)?;
                let mem = Mem { index: Some((offset, 0)), ..Mem::reg(reg, 0) };
                // movsxd
                self.asm.rm(Op::one(0x63).w(), offset.0, &mem);
                self.asm.alu_rr(Alu::Add, reg, offset, 8);
                self.bind(result, 0, reg.0);
                Ok(())
            }
            b"ptrmask" => {
                let result = self.result(instruction)?;
                let mask = self.read_gpr(value(1), 0)?;
                let reg = self.take_gpr(value(0), 0)?;
                self.asm.alu_rr(Alu::And, reg, mask, 8);
                self.bind(result, 0, reg.0);
                Ok(())
            }
            b"fptosi.sat" => self.saturating_conversion(instruction, value(0), true),
            b"fptoui.sat" => self.saturating_conversion(instruction, value(0), false),
            b"fabs" | b"copysign" if !self.format(self.body.result_type(instruction))?.is_native() => {
                let change = if base == b"fabs" { Sign::Clear } else { Sign::Of(value(1)) };
                self.soft_sign(instruction, self.format(self.body.result_type(instruction))?, value(0), change)
            }
            b"fabs" => self.sign_bits(instruction, value(0), None),
            b"copysign" => self.sign_bits(instruction, value(0), Some(value(1))),
            b"sqrt" if *self.module.ty(self.body.result_type(instruction)) == Type::X86Fp80 => {
                self.x87_root(instruction, value(0))
            }
            b"is.fpclass" => self.float_class(instruction, value(0), value(1)),
            b"sqrt" if self.format(self.body.result_type(instruction))?.is_native() => {
                let bytes = self.float_bytes(self.body.result_type(instruction))?;
                let result = self.result(instruction)?;
                let from = self.read_xmm(value(0), 0)?;
                let to = self.alloc_xmm()?;
                self.clear(to);
                self.asm.rr(sse(0x51, bytes), to.0, from.0);
                self.bind_xmm(result, 0, to);
                Ok(())
            }
            b"fmuladd" if !self.format(self.body.result_type(instruction))?.is_native() => {
                self.soft_multiply_add(instruction, [value(0), value(1), value(2)])
            }
            b"fmuladd" => {
                let bytes = self.float_bytes(self.body.result_type(instruction))?;
                let fused = self.fuses()?;
                let result = self.result(instruction)?;
                if fused {
                    let addend = self.read_xmm(value(2), 0)?;
                    let factor = self.read_xmm(value(1), 0)?;
                    let reg = self.take_xmm(value(0), 0)?;
                    self.asm.multiply_add(reg, factor, addend, bytes, true);
                    self.bind_xmm(result, 0, reg);
                    return Ok(());
                }
                let addend = self.read_xmm(value(2), 0)?;
                let reg = self.float_op(None, sse(0x59, bytes), value(0), value(1), bytes)?;
                self.asm.rr(sse(0x58, bytes), reg.0, addend.0);
                self.bind_xmm(result, 0, reg);
                Ok(())
            }
            b"modf" => self.modf(instruction, value(0)),
            b"minnum" | b"maxnum" | b"minimum" | b"maximum" | b"minimumnum" | b"maximumnum" => {
                let known = self.extreme_float(base, instruction, value(0), value(1))?
                    || self.mathematical(base, instruction, operands)?;
                if known { Ok(()) } else { unsupported() }
            }
            b"get.rounding" => self.get_rounding(instruction),
            b"set.rounding" => self.set_rounding(value(0)),
            b"powi" | b"ldexp" => match self.scaled(base, instruction, value(0), value(1))? {
                true => Ok(()),
                false => unsupported(),
            },
            b"lround" | b"llround" | b"lrint" | b"llrint" => {
                match self.rounded_to_integer(base, instruction, value(0))? {
                    true => Ok(()),
                    false => unsupported(),
                }
            }
            b"masked.store" | b"masked.scatter" => self.masked_store(base == b"masked.scatter", operands),
            _ if base.starts_with(b"x86.") => match self.machine(&base[4..], instruction, operands)? {
                true => Ok(()),
                false => unsupported(),
            },
            _ if base.starts_with(b"vector.reduce.") => match self.reduce(base, instruction, operands)? {
                true => Ok(()),
                false => unsupported(),
            },
            _ => match self.mathematical(base, instruction, operands)? {
                true => Ok(()),
                false => unsupported(),
            },
        }
    }

    /// Whether `fmuladd` rounds once.
    pub(crate) fn fuses(&self) -> Result<bool> {
        self.fuses.ok_or_else(|| Box::new(Unsupported::Instruction("fmuladd for a processor that is not known")))
    }

    /// `modf`: the fraction is returned, the rest written to memory.
    fn modf(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let ty = self.ty(value);
        let bytes = self.float_bytes(ty)?;
        let result = self.result(instruction)?;
        let whole = self.lane_mem(0, 0);
        self.claim(RDI.0)?;
        self.asm.lea(RDI, &whole);
        self.place(XMM0, value, 0)?;
        self.call_library(if bytes == 4 { "modff" } else { "modf" })?;
        self.claim(XMM0)?;
        let rest = self.alloc_xmm()?;
        self.asm.load_xmm(rest, &whole, bytes);
        self.bind(result, 0, XMM0);
        self.bind_xmm(result, 1, rest);
        Ok(())
    }

    pub(crate) fn constant_result(&mut self, instruction: &Instruction, number: u64) -> Result<()> {
        let result = self.result(instruction)?;
        let reg = self.alloc_gpr()?;
        self.asm.mov_imm(reg, number);
        self.bind(result, 0, reg.0);
        Ok(())
    }

    // ---- memory -------------------------------------------------------------------------------------------------

    fn copy_call(&mut self, operands: &[u32], name: &'static str, always_inline: bool) -> Result<()> {
        let (to, from, size) = (ValueId(operands[0]), ValueId(operands[1]), ValueId(operands[2]));
        if let Some(bytes) = self.number(size)
            && (bytes <= COPY_INLINE_MAX || always_inline && bytes <= 4096)
        {
            let to = self.address(to)?;
            let from = self.address(from)?;
            if name == "memcpy" {
                self.copy_block(&to, &from, bytes as u32);
                return Ok(());
            }
            if bytes <= COPY_INLINE_MAX {
                return self.move_block(&to, &from, bytes as u32);
            }
        }
        if always_inline {
            return Err(Box::new(Unsupported::Instruction("a long copy without call")));
        }
        self.place(RDI.0, to, 0)?;
        self.place(RSI.0, from, 0)?;
        self.place(RDX.0, size, 0)?;
        self.extend_size(RDX, size);
        self.call_memory(operands, name)
    }

    fn extend_size(&mut self, reg: Gpr, size: ValueId) {
        if self.integer_bits(self.ty(size)) == Some(32) && !self.body.is_constant(size) {
            self.asm.mov32(reg, reg);
        }
    }

    /// A call that uses its operands last is not a reason to keep them.
    fn call_memory(&mut self, operands: &[u32], name: &'static str) -> Result<()> {
        let target = self.library(name);
        self.save_around_call_of(operands);
        let start = self.asm.position();
        self.asm.branch(0xe8, target, RelocationKind::PLT32);
        self.sites.push(super::generator::Site { start, end: self.asm.position(), pad: None });
        self.free_temporaries();
        Ok(())
    }

    /// As [`Generator::save_around_call`], for an instruction that reads `operands` now.
    fn save_around_call_of(&mut self, operands: &[u32]) {
        for by in [-1i32, 1] {
            for value in operands {
                if *value != ValueId::NONE.0
                    && let Some(index) = value.checked_sub(self.first_value)
                {
                    self.values[index as usize].change_uses(by);
                }
            }
            if by < 0 {
                self.save_around_call();
            }
        }
    }

    /// Reads everything before it writes anything: the places may overlap.
    fn move_block(&mut self, to: &Mem, from: &Mem, size: u32) -> Result<()> {
        let mut pieces = [(0u8, 0u32, 0u8); 16];
        let mut count = 0;
        let mut at = 0;
        while at < size {
            let step: u8 = match size - at {
                16.. => 16,
                8.. => 8,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            let place = from.plus(at as i32);
            let reg = if step == 16 {
                let reg = self.alloc_xmm()?;
                self.asm.load_xmm(reg, &place, 16);
                reg.0 + XMM0
            } else {
                let reg = self.alloc_gpr()?;
                self.asm.load(reg, &place, step);
                reg.0
            };
            pieces[count] = (reg, at, step);
            count += 1;
            at += u32::from(step);
        }
        for (reg, at, step) in &pieces[..count] {
            self.store_part(*reg, &to.plus(*at as i32), *step);
        }
        Ok(())
    }

    fn fill_call(&mut self, operands: &[u32], always_inline: bool) -> Result<()> {
        let (to, byte, size) = (ValueId(operands[0]), ValueId(operands[1]), ValueId(operands[2]));
        if let (Some(bytes), Some(byte)) = (self.number(size), self.number(byte))
            && (bytes <= FILL_INLINE_MAX || always_inline && bytes <= 4096)
        {
            let mem = self.address(to)?;
            let pattern = (byte & 0xff) * 0x0101_0101_0101_0101;
            let wide = if bytes >= 16 {
                let reg = self.alloc_xmm()?;
                if pattern == 0 {
                    self.clear(reg);
                } else {
                    let pool = self.pool_mem(u128::from(pattern) | u128::from(pattern) << 64, 16);
                    self.asm.load_xmm(reg, &pool, 16);
                }
                Some(reg)
            } else {
                None
            };
            if bytes % 16 != 0 {
                self.asm.mov_imm(SCRATCH, pattern);
            }
            let mut at = 0;
            while at < bytes {
                let place = mem.plus(at as i32);
                let step: u8 = match (bytes - at, wide) {
                    (16.., Some(reg)) => {
                        self.asm.store_xmm(&place, reg, 16);
                        16
                    }
                    (8.., _) => 8,
                    (4.., _) => 4,
                    (2.., _) => 2,
                    _ => 1,
                };
                if step < 16 {
                    self.asm.store(&place, SCRATCH, step);
                }
                at += u64::from(step);
            }
            return Ok(());
        }
        if always_inline {
            return Err(Box::new(Unsupported::Instruction("a long fill without call")));
        }
        self.place(RDI.0, to, 0)?;
        self.place(RSI.0, byte, 0)?;
        self.place(RDX.0, size, 0)?;
        self.extend_size(RDX, size);
        self.call_memory(operands, "memset")
    }

    /// `va_list` (psABI 3.5.7): offsets of the next register of each kind, the stack's arguments, the save area.
    fn va_start(&mut self, list: ValueId) -> Result<()> {
        let mem = self.address(list)?;
        let reg = self.alloc_gpr()?;
        self.asm.store_imm(&mem, i32::from(self.own.general_registers) * 8, 4);
        self.asm.store_imm(&mem.plus(4), 48 + i32::from(self.own.vector_registers) * 16, 4);
        self.asm.lea(reg, &Mem::frame(16 + self.own.stack_bytes as i32));
        self.asm.store(&mem.plus(8), reg, 8);
        self.asm.lea(reg, &Mem::frame(self.save_area));
        self.asm.store(&mem.plus(16), reg, 8);
        Ok(())
    }

    /// The address of a thread-local variable by the general dynamic model, which the linker relaxes
    /// (psABI 4.5.3; the bytes are fixed).
    fn thread_local_address(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let Some(Constant::Global(base @ GlobalRef::Global(_))) = self.constant(value) else {
            return Err(Box::new(Unsupported::Constant("a thread-local alias")));
        };
        if !self.is_thread_local(base) {
            return Err(Box::new(Unsupported::Constant("a variable that is not thread-local")));
        }
        let result = self.result(instruction)?;
        self.call_for_thread_local(base)?;
        self.bind(result, 0, RAX.0);
        Ok(())
    }

    /// Finds out once where `base` lies in this thread, for instructions that name it as an operand.
    pub(crate) fn keep_thread_local(&mut self, base: GlobalRef) -> Result<()> {
        self.call_for_thread_local(base)?;
        let slot = self.frame.object(8, 8);
        self.asm.store(&Mem::frame(slot), RAX, 8);
        self.free_temporaries();
        self.thread_locals.push((base, slot));
        Ok(())
    }

    /// Leaves the address in `RAX`.
    fn call_for_thread_local(&mut self, base: GlobalRef) -> Result<()> {
        let target = self.symbol(base);
        let helper = self.library("__tls_get_addr");
        self.claim(RDI.0)?;
        self.claim(RAX.0)?;
        self.save_around_call();
        // data16 lea x@tlsgd(%rip), %rdi
        self.asm.raw(&[0x66]);
        self.asm.rm(Op::one(0x8d).w(), RDI.0, &Mem::rip(target, RelocationKind::TLSGD, 0));
        // data16 data16 rex.W call __tls_get_addr
        self.asm.raw(&[0x66, 0x66, 0x48]);
        self.asm.unaligned_call(helper);
        self.free_temporaries();
        self.claim(RAX.0)
    }

    fn type_id(&mut self, instruction: &Instruction, value: ValueId) -> Result<()> {
        let number = self.type_number(value)?;
        self.constant_result(instruction, number as u64)
    }
}
