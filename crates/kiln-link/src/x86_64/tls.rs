//! Thread-local storage (psABI §4.4.6 and "ELF Handling For Thread-Local Storage", U. Drepper).
//!
//! A variable lies in one of three places, and the place decides what becomes of the code:
//!
//! | place | offset from the thread pointer | general-dynamic, descriptor | local-dynamic | initial-exec | local-exec |
//! |---|---|---|---|---|---|
//! | this link, static pool | known | → local-exec | → local-exec | → local-exec | as it is |
//! | this link, own module | unknown | slot pair, `__tls_get_addr` | slot pair | error | error |
//! | outside, static | known | → local-exec | - | → local-exec | as it is |
//! | outside, dynamic | unknown | slot pair, `__tls_get_addr` | - | error | error |
//!
//! What is peculiar: a relaxed general- or local-dynamic sequence covers the call of `__tls_get_addr` too, so its
//! relocation is consumed with the first one. Local-dynamic code computes offsets from the block's start with
//! `DTPOFF32`; once the block's address has become the thread pointer, these must be offsets from the thread pointer:
//! both or neither, and never in debug information (which is not relocated here at all).

use crate::error::Advice;
use crate::layout::TlsPlacement;
use crate::unit::Relocation;
use crate::x86_64::fixup::{Context, Problem, Site, Target, TargetKind};
use crate::x86_64::got_plt::{Owner, SLOT_BYTES, SlotKind, owner};
use crate::x86_64::relocations::{Field, Formula, RelocationKind, Row};

/// mov %fs:0, %rax; lea tpoff(%rax), %rax
const GD_TO_LE: [u8; 12] = [0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x8d, 0x80];
/// data16 data16 data16 mov %fs:0, %rax: as long as `lea; call rel32`
const LD_TO_LE: [u8; 12] = [0x66, 0x66, 0x66, 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0];

impl Context<'_, '_> {
    /// The variable's offset from the thread pointer, where it is the same in all threads.
    pub(crate) fn tp_offset(&self, target: Target) -> Option<i64> {
        match (target.kind, self.tls) {
            (TargetKind::OwnTls, TlsPlacement::Static { tp_offset }) => {
                Some(tp_offset.wrapping_add(target.address as i64))
            }
            (TargetKind::StaticTls, _) => Some(target.address as i64),
            _ => None,
        }
    }

    /// The operands of `__tls_get_addr`.
    pub(crate) fn module_and_offset(&self, target: Target) -> (u64, u64) {
        match (target.kind, self.tls) {
            (TargetKind::OwnTls, TlsPlacement::Dynamic { module }) => (module, target.address),
            (TargetKind::DynamicTls, _) => (target.extra, target.address),
            _ => (0, 0),
        }
    }

    fn is_dynamic(&self, target: Target) -> bool {
        matches!(
            (target.kind, self.tls),
            (TargetKind::OwnTls, TlsPlacement::Dynamic { .. }) | (TargetKind::DynamicTls, _)
        )
    }

    /// The relocation's variable. A nameless local symbol of a thread-local section counts as one.
    fn variable(&self, site: &Site<'_, '_>, relocation: &Relocation) -> Result<Target, Problem> {
        let target = self.target(site.id, site.unit, relocation.symbol)?;
        match target.kind {
            TargetKind::Gone => Err(Problem::Gone),
            // An undefined weak variable: its address is never taken by a program that works.
            TargetKind::UndefinedWeak => Ok(Target::new(TargetKind::StaticTls, 0)),
            _ if target.is_tls() => Ok(target),
            _ => Err(Problem::Tls { is_tls: false }),
        }
    }

    /// Applies a thread-local relocation; returns how many relocations that consumed.
    pub(crate) fn thread_local(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        next: Option<Relocation>,
        row: Row,
    ) -> Result<u32, Problem> {
        let at = site.at(relocation, row.field.bytes())?;
        if row.formula == Formula::TlsLd {
            return self.local_dynamic(site, relocation, next, at);
        }
        let target = self.variable(site, relocation)?;
        let offset = self.tp_offset(target);
        let with_addend = |offset: i64| offset.wrapping_add(relocation.addend);
        match row.formula {
            Formula::TlsGd => match offset {
                Some(offset) if site.around(at, 4, 12).is_some_and(|code| is_gd_sequence(code)) => {
                    check_call(&next, relocation.offset + 8)?;
                    let value = narrow(offset)?;
                    write_local_exec(site.around(at, 4, 12).ok_or(Problem::Outside)?, value);
                    return Ok(2);
                }
                _ => self.pair(site, relocation, target, at, SlotKind::Pair)?,
            },
            Formula::TlsDesc => match offset {
                Some(offset) if relocation.kind == RelocationKind::GOTPC32_TLSDESC => {
                    descriptor_to_local_exec(site, at, offset)?;
                }
                _ => self.pair(site, relocation, target, at, SlotKind::Descriptor)?,
            },
            Formula::TlsDescCall => {
                let Some(call) = site.around(at, 0, 2).filter(|call| call[..] == [0xff, 0x10]) else {
                    return Err(Problem::Instruction("call *(%rax)"));
                };
                if offset.is_some() {
                    call.copy_from_slice(&[0x66, 0x90]); // xchg %ax, %ax
                }
            }
            Formula::GotTpOff => {
                let offset = offset.ok_or(Problem::TlsModel)?;
                let relaxed = relocation.kind == RelocationKind::GOTTPOFF
                    && relocation.addend == -4
                    && initial_exec_to_local_exec(site, at, offset);
                if !relaxed {
                    self.slot_relative(site, relocation, at, SlotKind::TpOffset)?;
                }
            }
            Formula::TpOff => {
                let value = with_addend(offset.ok_or(Problem::TlsModel)?);
                site.write(at, row.field, value, value as u64, Advice::UseDynamicTls)?;
            }
            Formula::DtpOff => {
                let value = match (target.kind, self.tls) {
                    (TargetKind::OwnTls, TlsPlacement::Dynamic { .. }) => target.address as i64,
                    (TargetKind::OwnTls | TargetKind::StaticTls, _) => offset.ok_or(Problem::TlsModel)?,
                    _ => return Err(Problem::TlsModel),
                };
                site.write(at, row.field, with_addend(value), value as u64, Advice::UseDynamicTls)?;
            }
            Formula::DtpMod => {
                let (module, _) = self.module_and_offset(target);
                if module == 0 {
                    return Err(Problem::TlsModel);
                }
                site.write(at, row.field, module as i64, 0, Advice::UseDynamicTls)?;
            }
            _ => unreachable!("no thread-local formula"),
        }
        Ok(1)
    }

    /// Leaves a sequence that calls the runtime as it is and points it to its slots.
    fn pair(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        target: Target,
        at: usize,
        kind: SlotKind,
    ) -> Result<(), Problem> {
        if !self.is_dynamic(target) {
            // In the static pool, but the code around the field is no sequence that could be rewritten.
            return Err(Problem::Instruction(match kind {
                SlotKind::Descriptor => "lea x@tlsdesc(%rip), %reg",
                _ => "data16 lea x@tlsgd(%rip), %rdi; call __tls_get_addr",
            }));
        }
        match kind {
            SlotKind::Descriptor if self.runtime.tls_descriptor.is_none() => {
                return Err(Problem::Runtime("resolver of TLS descriptors"));
            }
            SlotKind::Pair if self.runtime.tls_get_addr.is_none() => return Err(Problem::Runtime("__tls_get_addr")),
            _ => {}
        }
        self.slot_relative(site, relocation, at, kind)
    }

    fn slot_relative(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        at: usize,
        kind: SlotKind,
    ) -> Result<(), Problem> {
        let word = self.slots.find(owner(site.unit, site.id, relocation.symbol), kind).ok_or(Problem::BadSymbol)?;
        self.write_slot(site, relocation, at, word)
    }

    fn write_slot(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        at: usize,
        word: u32,
    ) -> Result<(), Problem> {
        let slot = self.got + u64::from(word * SLOT_BYTES);
        let place = site.address.wrapping_add(relocation.offset);
        let value = slot.wrapping_add_signed(relocation.addend).wrapping_sub(place) as i64;
        site.write(at, Field::Int32, value, slot, Advice::PlaceNearer)
    }

    fn local_dynamic(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        next: Option<Relocation>,
        at: usize,
    ) -> Result<u32, Problem> {
        if let TlsPlacement::Dynamic { .. } = self.tls {
            if self.runtime.tls_get_addr.is_none() {
                return Err(Problem::Runtime("__tls_get_addr"));
            }
            let word = self.slots.find(Owner::Module, SlotKind::Pair).ok_or(Problem::BadSymbol)?;
            self.write_slot(site, relocation, at, word)?;
            return Ok(1);
        }
        const EXPECTED: Problem = Problem::Instruction("lea x@tlsld(%rip), %rdi; call __tls_get_addr");
        match site.around(at, 3, 6) {
            // lea x(%rip), %rdi; call *slot(%rip)
            Some([0x48, 0x8d, 0x3d, _, _, _, _, 0xff, 0x15]) => {
                check_call(&next, relocation.offset + 6)?;
                let code = site.around(at, 3, 10).ok_or(EXPECTED)?;
                code[0] = 0x66;
                code[1..].copy_from_slice(&LD_TO_LE);
            }
            // lea x(%rip), %rdi; call rel32
            Some([0x48, 0x8d, 0x3d, _, _, _, _, 0xe8, _]) => {
                check_call(&next, relocation.offset + 5)?;
                site.around(at, 3, 9).ok_or(EXPECTED)?.copy_from_slice(&LD_TO_LE);
            }
            _ => return Err(EXPECTED),
        }
        Ok(2)
    }
}

/// `66 48 8d 3d rel32` data16 lea x(%rip), %rdi, and one of the two calls: `66 66 48 e8` data16 data16 rex.W call, or
/// `66 48 ff 15` data16 rex.W call *slot(%rip).
fn is_gd_sequence(code: &[u8]) -> bool {
    code[..4] == [0x66, 0x48, 0x8d, 0x3d]
        && (code[8..12] == [0x66, 0x66, 0x48, 0xe8] || code[8..12] == [0x66, 0x48, 0xff, 0x15])
}

/// The relocation of the call that ends a sequence: consumed with the sequence.
fn check_call(next: &Option<Relocation>, offset: u64) -> Result<(), Problem> {
    let calls = [
        RelocationKind::PLT32,
        RelocationKind::PC32,
        RelocationKind::GOTPCREL,
        RelocationKind::GOTPCRELX,
        RelocationKind::REX_GOTPCRELX,
    ];
    match next {
        Some(next) if next.offset == offset && calls.contains(&next.kind) => Ok(()),
        _ => Err(Problem::Instruction("followed by the call of __tls_get_addr")),
    }
}

fn write_local_exec(code: &mut [u8], offset: i32) {
    code[..12].copy_from_slice(&GD_TO_LE);
    code[12..].copy_from_slice(&offset.to_le_bytes());
}

/// Makes the sequence with its first field at `at` of `bytes` that of a variable at `offset` from the thread pointer; `None`
/// if it is none, or does not reach.
pub(crate) fn general_dynamic_to_local_exec(bytes: &mut [u8], at: usize, offset: i64) -> Option<()> {
    let code = bytes.get_mut(at.checked_sub(4)?..at.checked_add(12)?).filter(|code| is_gd_sequence(code))?;
    write_local_exec(code, i32::try_from(offset).ok()?);
    Some(())
}

/// `lea x@tlsdesc(%rip), %reg` → `mov $tpoff, %reg`
fn descriptor_to_local_exec(site: &mut Site<'_, '_>, at: usize, offset: i64) -> Result<(), Problem> {
    let value = narrow(offset)?;
    match site.around(at, 3, 4) {
        Some([rex @ (0x48 | 0x4c), op @ 0x8d, modrm, field @ ..]) if *modrm & 0xc7 == 0x05 => {
            // REX.R named the register; in the new form REX.B does.
            *rex = 0x48 | (*rex >> 2 & 1);
            *op = 0xc7;
            *modrm = 0xc0 | (*modrm >> 3 & 7);
            field.copy_from_slice(&value.to_le_bytes());
            Ok(())
        }
        _ => Err(Problem::Instruction("lea x@tlsdesc(%rip), %reg")),
    }
}

/// `mov x@gottpoff(%rip), %reg` → `mov $tpoff, %reg`; `add x@gottpoff(%rip), %reg` → `lea tpoff(%reg), %reg`, or
/// `add $tpoff, %reg` for `rsp` and `r12`, whose `lea` is a byte longer. False if the instruction is another one.
fn initial_exec_to_local_exec(site: &mut Site<'_, '_>, at: usize, offset: i64) -> bool {
    let Ok(value) = narrow(offset) else { return false };
    let Some([rex @ (0x48 | 0x4c), op @ (0x8b | 0x03), modrm, field @ ..]) = site.around(at, 3, 4) else {
        return false;
    };
    if *modrm & 0xc7 != 0x05 {
        return false;
    }
    let register = *modrm >> 3 & 7;
    let high = *rex >> 2 & 1;
    match (*op, register) {
        (0x8b, _) => (*rex, *op, *modrm) = (0x48 | high, 0xc7, 0xc0 | register),
        (_, 4) => (*rex, *op, *modrm) = (0x48 | high, 0x81, 0xc0 | register),
        _ => (*rex, *op, *modrm) = (0x48 | high | high << 2, 0x8d, 0x80 | register | register << 3),
    }
    field.copy_from_slice(&value.to_le_bytes());
    true
}

fn narrow(offset: i64) -> Result<i32, Problem> {
    i32::try_from(offset).map_err(|_| Problem::Range {
        target: offset as u64,
        value: offset,
        field: Field::Int32,
        advice: Advice::UseDynamicTls,
    })
}
