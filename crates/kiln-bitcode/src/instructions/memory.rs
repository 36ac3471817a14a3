//! Instructions that access memory.

use super::{ATOMIC_OPERATIONS, LOADATOMIC, MAX_ALIGN, Outcome, STOREATOMIC};
use crate::bitstream::Block;
use crate::body_reader::{BodyReader, Fields};
use crate::classes::Class;
use crate::error::{Error, ErrorKind};
use crate::opcode::{Opcode, Ordering};
use crate::packed::{Draft, Instruction};
use crate::types::TypeId;

/// What a word of an `alloca` packs.
pub(crate) struct AllocaFields {
    pub(crate) align: u8,
    /// [`Instruction::SPECIAL_ALLOCA`] or nothing.
    pub(crate) flags: u16,
}

impl AllocaFields {
    const SPECIAL: u64 = 1 << 5 | 1 << 7;
    const EXPLICIT_TYPE: u64 = 1 << 6;

    /// The fields, if the type is explicit and the alignment one that exists.
    #[inline]
    pub(crate) fn of(packed: u64) -> Option<Self> {
        // Five bits of the alignment, three flags, the rest of it.
        let align = packed & 31 | packed >> 3 & 0xe0;
        let flags = if packed & Self::SPECIAL != 0 { Instruction::SPECIAL_ALLOCA } else { 0 };
        let fits = align <= MAX_ALIGN && packed & Self::EXPLICIT_TYPE != 0;
        fits.then_some(Self { align: align as u8, flags })
    }
}

impl BodyReader<'_> {
    /// The next field and what follows it as the address of an access.
    #[inline(always)]
    fn address(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Result<u32, Error> {
        let (address, ty) = self.typed(f, b)?;
        self.expect(self.classes.class(ty) == Class::Pointer, "address that is no pointer", b)?;
        Ok(address)
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

    /// `[list type, list, result type]`
    pub(super) fn va_arg(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        let list_type = self.ty(f, b)?;
        self.expect(self.classes.class(list_type) == Class::Pointer, "list that is no pointer", b)?;
        let list = self.value(list_type, f, b)?;
        let ty = self.ty(f, b)?;
        self.storable(ty, b)?;
        let first = self.operand(list);
        self.push(Draft::new(Opcode::VaArg, ty), first);
        Ok(())
    }

    /// `[allocated type, type of the count, count, alignment and flags, address space?]`, the count as an absolute number
    #[inline]
    pub(super) fn alloca(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        self.expect(packed & AllocaFields::EXPLICIT_TYPE != 0, "alloca with a typed pointer", b)?;
        let fields = AllocaFields::of(packed);
        let AllocaFields { align, flags } =
            fields.ok_or_else(|| b.error(ErrorKind::BadValue { what: "exponent of an alignment", value: packed }))?;
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
        let instruction = Draft { align, flags, aux: allocated.0, ..Draft::new(Opcode::Alloca, ty) };
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
        let mut instruction = Draft { align, flags, ..Draft::new(Opcode::Load, ty) };
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
        let mut instruction = Draft { align, flags, ..Draft::new(Opcode::Store, self.void) };
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
    pub(super) fn fence(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
        use Ordering::*;
        let ordering = self.ordering(f, &[Acquire, Release, AcquireRelease, SequentiallyConsistent], b)?;
        let flags = self.scope(f, b)?;
        let first = self.start();
        self.push(Draft { ordering, flags, ..Draft::new(Opcode::Fence, self.void) }, first);
        Ok(())
    }

    /// `[address, type?, expected, type?, new, volatile, ordering, scope, ordering on failure, weak, alignment]`
    pub(super) fn cmpxchg(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        let instruction = Draft {
            sub: failure as u8,
            align,
            ordering,
            flags: volatile | scope | weak,
            ..Draft::new(Opcode::CmpXchg, result)
        };
        let first = self.operands([address, expected, new]);
        self.push(instruction, first);
        Ok(())
    }

    /// `[address, type?, value, type?, operation, volatile, ordering, scope, alignment]`
    pub(super) fn atomic_rmw(&mut self, f: &mut Fields<'_>, b: &Block<'_>) -> Outcome {
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
        let instruction = Draft { sub: operation, align, ordering, flags, ..Draft::new(Opcode::AtomicRmw, ty) };
        self.push(instruction, first);
        Ok(())
    }
}
