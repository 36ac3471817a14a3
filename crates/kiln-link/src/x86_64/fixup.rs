//! Applies relocations to copied sections: one function per shape of formula, driven by the table.
//!
//! Two things are decided site by site, because only here it is known who is in reach: a branch to a function of the
//! process goes straight or through its stub, and a load from the global offset table becomes direct or stays.

use kiln_abi::ExecutorAddr;

use crate::error::{Advice, ErrorKind, Errors, text};
use crate::graph::SymbolKind;
use crate::layout::{RuntimeSymbols, TlsPlacement};
use crate::linked::{CallSite, GlobalId, Opcode};
use crate::resolve::site;
use crate::scope::External;
use crate::symbols::{Builtin, State};
use crate::unit::{Class, Home, NO_SYMBOL, Relocation, SymbolView, Unit};
use crate::x86_64::got_plt::{
    Form, NONE, Owner, SLOT_BYTES, STUB_BYTES, SlotKind, Slots, Stub, form, write_stub, write_trap,
};
use crate::x86_64::relocations::{Field, Formula, RelocationKind};

/// What a symbol is once everything has its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetKind {
    /// In this link.
    Here,
    /// A number; also an undefined symbol that nothing live needs.
    Absolute,
    /// Outside, always in reach.
    Near,
    /// A function outside, perhaps out of reach; it has a stub.
    Far,
    /// A variable outside, perhaps out of reach.
    FarData,
    /// Nobody's.
    UndefinedWeak,
    /// The address is the stub's.
    Ifunc,
    /// A function in this link: the address is the stub's, `extra` the body's.
    Stubbed,
    /// The address is an offset in the link's thread-local block.
    OwnTls,
    /// The address is an offset from the thread pointer.
    StaticTls,
    /// The address is an offset in the block of module `extra`.
    DynamicTls,
    /// In a section that is not in the image.
    Gone,
}

/// A symbol once everything has its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: u64,
    pub(crate) extra: u64,
    pub(crate) kind: TargetKind,
}

impl Target {
    pub(crate) fn new(kind: TargetKind, address: u64) -> Target {
        Target { address, extra: 0, kind }
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self.kind, TargetKind::OwnTls | TargetKind::StaticTls | TargetKind::DynamicTls)
    }
}

/// Why a relocation cannot be applied.
#[derive(Debug)]
pub(crate) enum Problem {
    Unknown,
    Outside,
    BadSymbol,
    Gone,
    Range { target: u64, value: i64, field: Field, advice: Advice },
    Instruction(&'static str),
    Tls { is_tls: bool },
    TlsModel,
    Runtime(&'static str),
}

/// Everything that fixing up reads: shared by all threads.
pub(crate) struct Context<'c, 'a> {
    pub(crate) resolved: &'c crate::resolve::Resolved<'a>,
    pub(crate) targets: &'c [Target],
    pub(crate) slots: &'c Slots,
    /// Addresses of the segments.
    pub(crate) bases: [u64; 3],
    pub(crate) got: u64,
    pub(crate) tls: TlsPlacement,
    pub(crate) runtime: &'c RuntimeSymbols,
}

/// A section being fixed up.
pub(crate) struct Site<'s, 'a> {
    pub(crate) bytes: &'s mut [u8],
    /// Address of the first byte.
    pub(crate) address: u64,
    pub(crate) id: u32,
    pub(crate) unit: &'s Unit<'a>,
    pub(crate) code: bool,
    /// References to functions mean their bodies: unwind tables.
    pub(crate) bodies: bool,
}

impl Site<'_, '_> {
    /// The position of the field in the section.
    #[inline]
    pub(crate) fn at(&self, relocation: &Relocation, bytes: usize) -> Result<usize, Problem> {
        match usize::try_from(relocation.offset) {
            Ok(at) if at <= self.bytes.len() && bytes <= self.bytes.len() - at => Ok(at),
            _ => Err(Problem::Outside),
        }
    }

    /// The bytes `before` the field to `after` its start, if they lie in the section.
    pub(crate) fn around(&mut self, at: usize, before: usize, after: usize) -> Option<&mut [u8]> {
        self.bytes.get_mut(at.checked_sub(before)?..at.checked_add(after)?)
    }

    pub(crate) fn write32(&mut self, at: usize, value: i64, target: u64, advice: Advice) -> Result<(), Problem> {
        let Ok(narrow) = i32::try_from(value) else {
            return Err(Problem::Range { target, value, field: Field::Int32, advice });
        };
        self.bytes[at..at + 4].copy_from_slice(&narrow.to_le_bytes());
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        at: usize,
        field: Field,
        value: i64,
        target: u64,
        advice: Advice,
    ) -> Result<(), Problem> {
        let (min, max) = field.range();
        if value < min || value > max {
            return Err(Problem::Range { target, value, field, advice });
        }
        let bytes = field.bytes();
        self.bytes[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        Ok(())
    }

    /// The direct branch whose displacement a relocation fills: decided by the opcode, since branches may bear
    /// `R_X86_64_PC32` and data `R_X86_64_PLT32`. `E8` and `E9` may be the first byte of a section.
    #[inline]
    fn branch(&self, at: usize, addend: i64) -> Option<Opcode> {
        if !self.code || addend != -4 || at == 0 {
            return None;
        }
        match self.bytes[at - 1] {
            0xe8 => Some(Opcode::Call),
            0xe9 => Some(Opcode::Jump),
            0x80..=0x8f if at >= 2 && self.bytes[at - 2] == 0x0f => Some(Opcode::ConditionalJump),
            _ => None,
        }
    }
}

/// Whether four bytes at `place` lie in one aligned 8-byte word.
pub(crate) fn is_patchable(place: u64) -> bool {
    kiln_abi::x86_64::is_patchable(ExecutorAddr::new(place))
}

impl Context<'_, '_> {
    /// The address of a live section, or its offset in the thread-local block.
    #[inline]
    pub(crate) fn section_address(&self, section: &crate::unit::Section) -> Target {
        let offset = u64::from(section.offset);
        match section.class {
            Class::Code => Target::new(TargetKind::Here, self.bases[0].wrapping_add(offset)),
            Class::ReadOnly => Target::new(TargetKind::Here, self.bases[1].wrapping_add(offset)),
            Class::ReadWrite | Class::Zero => Target::new(TargetKind::Here, self.bases[2].wrapping_add(offset)),
            Class::Tls | Class::TlsZero => Target::new(TargetKind::OwnTls, offset),
            Class::Absent | Class::Discarded | Class::Pruned => Target::new(TargetKind::Gone, 0),
        }
    }

    /// A symbol that a unit defines.
    #[inline]
    pub(crate) fn defined(&self, unit: &Unit<'_>, view: &SymbolView) -> Target {
        match view.home {
            Home::Section(section) => {
                let mut target = self.section_address(&unit.sections[section as usize]);
                target.address = target.address.wrapping_add(view.value);
                target
            }
            _ => Target::new(TargetKind::Absolute, if view.home == Home::Absolute { view.value } else { 0 }),
        }
    }

    /// The resolver of a global IFUNC.
    pub(crate) fn ifunc_resolver(&self, id: u32) -> Option<u64> {
        let State::Defined { unit, global } = self.resolved.symbols.get(id).state else { return None };
        let unit = &self.resolved.units[unit as usize];
        Some(self.defined(unit, &unit.global(global)).address)
    }

    fn stub_address(&self, stub: u32) -> u64 {
        self.bases[0].wrapping_add(u64::from(stub * STUB_BYTES))
    }

    /// What a global symbol became.
    pub(crate) fn global_target(&self, id: u32) -> Target {
        let symbol = self.resolved.symbols.get(id);
        let stub = self.slots.stub[self.resolved.symbols.flat(id)];
        match symbol.state {
            State::Undefined | State::Lazy { .. } => Target::new(TargetKind::UndefinedWeak, 0),
            State::Defined { .. } if symbol.kind == SymbolKind::Ifunc && stub != NONE => {
                Target::new(TargetKind::Ifunc, self.stub_address(stub))
            }
            State::Defined { unit, .. } => match symbol.section {
                NO_SYMBOL => Target::new(TargetKind::Absolute, symbol.value),
                section => {
                    let section = &self.resolved.units[unit as usize].sections[section as usize];
                    let mut target = self.section_address(section);
                    target.address = target.address.wrapping_add(symbol.value);
                    target
                }
            },
            State::Common { common, .. } => {
                let common = self.resolved.symbols.common(id, common);
                Target::new(TargetKind::Here, self.bases[2].wrapping_add(u64::from(common.offset)))
            }
            State::Absolute(address) => Target::new(TargetKind::Absolute, address.get()),
            State::External(external) => match external {
                External::Function(address) => Target::new(TargetKind::Far, address.get()),
                External::Near(address) => Target::new(TargetKind::Near, address.get()),
                External::Data(address) => Target::new(TargetKind::FarData, address.get()),
                External::StaticTls { tp_offset } => Target::new(TargetKind::StaticTls, tp_offset as u64),
                External::DynamicTls { module, offset } => {
                    Target { address: offset, extra: module, kind: TargetKind::DynamicTls }
                }
            },
            State::Builtin(Builtin::Got) => Target::new(TargetKind::Here, self.got),
            State::Builtin(Builtin::DsoHandle) => {
                let offset = u64::from(self.slots.dso_handle * SLOT_BYTES);
                Target::new(TargetKind::Here, self.bases[2].wrapping_add(offset))
            }
            State::Builtin(Builtin::TlsGetAddr) => match self.runtime.tls_get_addr {
                Some(address) => Target::new(TargetKind::Far, address.get()),
                // Every use of it that is not relaxed needs a slot pair, which reports what is missing.
                None => Target::new(TargetKind::Far, 0),
            },
            // Where offsets are turned into those from the thread pointer, that is their base.
            State::Builtin(Builtin::TlsBase) => Target::new(
                if matches!(self.tls, TlsPlacement::Dynamic { .. }) {
                    TargetKind::OwnTls
                } else {
                    TargetKind::StaticTls
                },
                0,
            ),
            State::Bounds { set, end } => {
                let set = &self.resolved.named[set as usize];
                let offset = if end { set.end } else { set.start };
                Target::new(TargetKind::Here, self.bases[set.segment].wrapping_add(offset))
            }
        }
    }

    /// What the symbol of a relocation became.
    #[inline]
    pub(crate) fn target(&self, id: u32, unit: &Unit<'_>, symbol: u32) -> Result<Target, Problem> {
        match unit.bound(symbol) {
            NO_SYMBOL => self.local_target(id, unit, symbol),
            global => Ok(self.targets[self.resolved.symbols.flat(global)]),
        }
    }

    #[inline]
    pub(crate) fn local_target(&self, id: u32, unit: &Unit<'_>, symbol: u32) -> Result<Target, Problem> {
        if let Some((section, value)) = unit.plain_local(symbol)
            && let Some(section) = unit.sections.get(section as usize)
        {
            let mut target = self.section_address(section);
            target.address = target.address.wrapping_add(value);
            return Ok(target);
        }
        let view = unit.symbol(symbol).ok_or(Problem::BadSymbol)?;
        if view.kind == SymbolKind::Ifunc
            && let Some(stub) = self.slots.local_stub(id, symbol)
        {
            return Ok(Target::new(TargetKind::Ifunc, self.stub_address(stub)));
        }
        Ok(self.defined(unit, &view))
    }

    /// Applies relocation `index` of those that `get` gives; returns how many it has consumed.
    #[inline]
    pub(crate) fn apply(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        next: Option<Relocation>,
        calls: Option<&mut Vec<CallSite>>,
    ) -> Result<u32, Problem> {
        if matches!(relocation.kind, RelocationKind::PC32 | RelocationKind::PLT32) && calls.is_none() {
            // Most relocations: to a place in this link.
            let target = self.target(site.id, site.unit, relocation.symbol)?;
            if target.kind == TargetKind::Here {
                let at = site.at(relocation, 4)?;
                let from = site.address.wrapping_add(relocation.offset).wrapping_sub(relocation.addend as u64);
                site.write32(at, target.address.wrapping_sub(from) as i64, target.address, Advice::PlaceNearer)?;
                return Ok(1);
            }
        }
        if relocation.kind == RelocationKind::ABS64 {
            // Those of data.
            let target = self.target(site.id, site.unit, relocation.symbol)?;
            if matches!(target.kind, TargetKind::Here | TargetKind::Absolute) {
                let at = site.at(relocation, 8)?;
                let value = target.address.wrapping_add_signed(relocation.addend);
                site.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                return Ok(1);
            }
        }
        let Some(row) = relocation.kind.row() else { return Err(Problem::Unknown) };
        match row.formula {
            Formula::Relative | Formula::Branch => self.relative(site, relocation, row.field, calls)?,
            Formula::Absolute => {
                let target = self.address(site, relocation)?;
                let at = site.at(relocation, row.field.bytes())?;
                let value = target.wrapping_add_signed(relocation.addend) as i64;
                site.write(at, row.field, value, target, Advice::CompilePicOrLinkLow)?;
            }
            Formula::GotRelaxable => self.got_relaxable(site, relocation, calls)?,
            Formula::Nothing => {}
            Formula::TlsGd
            | Formula::TlsLd
            | Formula::DtpOff
            | Formula::GotTpOff
            | Formula::TpOff
            | Formula::TlsDesc
            | Formula::TlsDescCall
            | Formula::DtpMod => return self.thread_local(site, relocation, next, row),
            _ => self.table_relative(site, relocation, row.formula, row.field)?,
        }
        Ok(1)
    }

    /// The address that a reference other than a branch means.
    #[inline]
    fn address(&self, site: &Site<'_, '_>, relocation: &Relocation) -> Result<u64, Problem> {
        let target = self.target(site.id, site.unit, relocation.symbol)?;
        match target.kind {
            TargetKind::Gone => Err(Problem::Gone),
            TargetKind::OwnTls | TargetKind::StaticTls | TargetKind::DynamicTls => Err(Problem::Tls { is_tls: true }),
            TargetKind::Stubbed if site.bodies => Ok(target.extra),
            _ => Ok(target.address),
        }
    }

    fn relative(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        field: Field,
        calls: Option<&mut Vec<CallSite>>,
    ) -> Result<(), Problem> {
        let at = site.at(relocation, field.bytes())?;
        let place = site.address.wrapping_add(relocation.offset);
        let target = self.target(site.id, site.unit, relocation.symbol)?;
        let from = place.wrapping_sub(relocation.addend as u64);
        let reaches = |address: u64| i32::try_from(address.wrapping_sub(from) as i64).is_ok();
        let mut address = target.address;
        let mut advice = Advice::PlaceNearer;
        let branch = match target.kind {
            TargetKind::Here | TargetKind::Near if calls.is_none() => None,
            _ => site.branch(at, relocation.addend),
        };
        match target.kind {
            TargetKind::Here | TargetKind::Near | TargetKind::Ifunc => {}
            TargetKind::Gone => return Err(Problem::Gone),
            TargetKind::OwnTls | TargetKind::StaticTls | TargetKind::DynamicTls => {
                return Err(Problem::Tls { is_tls: true });
            }
            TargetKind::Stubbed => {
                let body = site.bodies || branch.is_some() && is_patchable(place);
                address = if body { target.extra } else { target.address };
            }
            TargetKind::Far if field == Field::Int32 && !reaches(address) => {
                address = self.stub_of(site, relocation).unwrap_or(address);
                advice = Advice::CompilePic;
            }
            TargetKind::UndefinedWeak if branch.is_some() && self.slots.trap != NONE => {
                address = self.stub_address(self.slots.trap);
            }
            TargetKind::Far | TargetKind::FarData | TargetKind::UndefinedWeak => advice = Advice::CompilePic,
            TargetKind::Absolute => {
                // Given by `Link::define`: a function if it is called.
                match branch.filter(|_| !reaches(address)).and_then(|_| self.stub_of(site, relocation)) {
                    Some(stub) => address = stub,
                    None => advice = Advice::CompilePicOrLinkLow,
                }
            }
        }
        if field == Field::Int32 {
            site.write32(at, address.wrapping_sub(from) as i64, address, advice)?;
        } else {
            site.write(at, field, address.wrapping_sub(from) as i64, address, advice)?;
        }
        if let (Some(calls), Some(opcode)) = (calls, branch) {
            record(calls, site.unit, relocation, place, address, opcode);
        }
        Ok(())
    }

    /// The stub of a global symbol that has one.
    fn stub_of(&self, site: &Site<'_, '_>, relocation: &Relocation) -> Option<u64> {
        let id = site.unit.bound(relocation.symbol);
        let stub = *self.slots.stub.get(self.resolved.symbols.flat(id))?;
        (id != NO_SYMBOL && stub != NONE).then(|| self.stub_address(stub))
    }

    /// The address of the table's word that holds the symbol's address.
    fn slot(&self, site: &Site<'_, '_>, relocation: &Relocation) -> Result<u64, Problem> {
        let target = self.target(site.id, site.unit, relocation.symbol)?;
        match target.kind {
            TargetKind::Gone => return Err(Problem::Gone),
            _ if target.is_tls() => return Err(Problem::Tls { is_tls: true }),
            _ => {}
        }
        let word = match site.unit.bound(relocation.symbol) {
            NO_SYMBOL => {
                let owner = Owner::Local { unit: site.id, symbol: relocation.symbol };
                self.slots.find(owner, SlotKind::Address)
            }
            id => Some(self.slots.got[self.resolved.symbols.flat(id)]).filter(|word| *word != NONE),
        };
        // The layout has given one to every relocation that it saw; none means a symbol that does not exist.
        word.map(|word| self.got + u64::from(word * SLOT_BYTES)).ok_or(Problem::BadSymbol)
    }

    fn got_relaxable(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        calls: Option<&mut Vec<CallSite>>,
    ) -> Result<(), Problem> {
        let at = site.at(relocation, 4)?;
        let place = site.address.wrapping_add(relocation.offset);
        let target = self.target(site.id, site.unit, relocation.symbol)?;
        let form = form(relocation, site.bytes);
        let direct = match target.kind {
            TargetKind::Here | TargetKind::Near => form,
            TargetKind::Far | TargetKind::FarData => {
                // The field of the direct form may lie one byte back.
                let distance = |from: u64| i32::try_from(target.address.wrapping_sub(from) as i64).is_ok();
                form.filter(|_| distance(place + 3) && distance(place + 4))
            }
            TargetKind::Stubbed => form,
            TargetKind::Gone => return Err(Problem::Gone),
            _ if target.is_tls() => return Err(Problem::Tls { is_tls: true }),
            _ => None,
        };
        let Some(direct) = direct else {
            let slot = self.slot(site, relocation)?;
            let value = slot.wrapping_add_signed(relocation.addend).wrapping_sub(place) as i64;
            return site.write32(at, value, slot, Advice::PlaceNearer);
        };
        let (at, place) = match direct {
            Form::Load => {
                site.bytes[at - 2] = 0x8d; // lea symbol(%rip), %reg
                (at, place)
            }
            Form::Call => {
                site.bytes[at - 2..at].copy_from_slice(&[0x67, 0xe8]); // addr32 call symbol
                (at, place)
            }
            Form::Jump => {
                site.bytes[at - 2] = 0xe9; // jmp symbol
                site.bytes[at + 3] = 0x90; // nop
                (at - 1, place - 1)
            }
        };
        let opcode = match direct {
            Form::Load => None,
            Form::Call => Some(Opcode::Call),
            Form::Jump => Some(Opcode::Jump),
        };
        let address = match target.kind {
            TargetKind::Stubbed if opcode.is_some() && is_patchable(place) => target.extra,
            _ => target.address,
        };
        site.write32(at, address.wrapping_sub(place + 4) as i64, address, Advice::PlaceNearer)?;
        if let (Some(calls), Some(opcode)) = (calls, opcode) {
            record(calls, site.unit, relocation, place, address, opcode);
        }
        Ok(())
    }

    /// Formulas with the table's address or a slot, and `Z`.
    fn table_relative(
        &self,
        site: &mut Site<'_, '_>,
        relocation: &Relocation,
        formula: Formula,
        field: Field,
    ) -> Result<(), Problem> {
        let at = site.at(relocation, field.bytes())?;
        let place = site.address.wrapping_add(relocation.offset);
        let (target, base) = match formula {
            Formula::GotRelative => (self.slot(site, relocation)?, place),
            Formula::GotOffset => (self.slot(site, relocation)?, self.got),
            Formula::FromGot | Formula::BranchFromGot => (self.address(site, relocation)?, self.got),
            Formula::GotBase => (self.got, place),
            Formula::Size => (self.symbol_size(site, relocation)?, 0),
            _ => unreachable!("other formulas have functions of their own"),
        };
        let value = target.wrapping_add_signed(relocation.addend).wrapping_sub(base) as i64;
        site.write(at, field, value, target, Advice::PlaceNearer)
    }

    fn symbol_size(&self, site: &Site<'_, '_>, relocation: &Relocation) -> Result<u64, Problem> {
        let bound = site.unit.bound(relocation.symbol);
        if bound != NO_SYMBOL {
            match self.resolved.symbols.get(bound).state {
                State::Defined { unit, global } => return Ok(self.resolved.units[unit as usize].global(global).size),
                State::Common { common, .. } => return Ok(self.resolved.symbols.common(bound, common).size),
                _ => {}
            }
        }
        site.unit.symbol(relocation.symbol).map(|view| view.size).ok_or(Problem::BadSymbol)
    }

    /// The error of a relocation.
    pub(crate) fn error(
        &self,
        site_: &Site<'_, '_>,
        section: u32,
        relocation: &Relocation,
        problem: Problem,
    ) -> ErrorKind {
        let unit = site_.unit;
        let kind = relocation.kind;
        let symbol = text(unit.symbol_name(relocation.symbol));
        let site = site(unit, section, relocation.offset);
        match problem {
            Problem::Unknown => ErrorKind::UnknownRelocation { site, kind, symbol },
            Problem::Outside => ErrorKind::FieldOutside { site, kind, size: site_.bytes.len() as u64 },
            Problem::BadSymbol => ErrorKind::Malformed {
                input: unit.to_string(),
                offset: relocation.offset,
                what: "relocation against a symbol that does not exist",
            },
            Problem::Gone => ErrorKind::DiscardedTarget { site, symbol },
            Problem::Range { target, value, field, advice } => {
                let (min, max) = field.range();
                // An address of 2^63 or more is no negative number.
                let value = if min == 0 { i128::from(value as u64) } else { i128::from(value) };
                let place = ExecutorAddr::new(site_.address.wrapping_add(relocation.offset));
                let target = ExecutorAddr::new(target);
                let (min, max) = (i128::from(min), i128::from(max));
                ErrorKind::OutOfRange { site, kind, symbol, place, target, value, min, max, advice }
            }
            Problem::Instruction(expected) => ErrorKind::UnexpectedInstruction { site, kind, symbol, expected },
            Problem::Tls { is_tls } => ErrorKind::TlsMismatch { site, kind, symbol, is_tls },
            Problem::TlsModel => ErrorKind::TlsModel { site, kind, symbol, advice: Advice::UseDynamicTls },
            Problem::Runtime(function) => ErrorKind::MissingRuntime { site, kind, symbol, function },
        }
    }

    /// Writes the stubs at the start of the code segment.
    pub(crate) fn write_stubs(&self, bytes: &mut [u8]) -> Result<(), Errors> {
        for (i, stub) in self.slots.stubs.iter().enumerate() {
            let at = i * STUB_BYTES as usize;
            let bytes = &mut bytes[at..at + STUB_BYTES as usize];
            let slot = match *stub {
                Stub::Far { slot } => self.got + u64::from(slot * SLOT_BYTES),
                Stub::Ifunc { slot, .. } => self.bases[2] + u64::from(slot * SLOT_BYTES),
                Stub::Trap => {
                    write_trap(bytes);
                    continue;
                }
            };
            if write_stub(bytes, self.bases[0] + at as u64, slot).is_none() {
                return Err(ErrorKind::Placement { index: 0, what: "segments lie more than 2 GiB apart" }.into());
            }
        }
        Ok(())
    }

    /// Writes the global offset table.
    pub(crate) fn write_table(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        for &(owner, kind, word) in &self.slots.entries {
            let words = self.slot_words(owner, kind, word);
            let mut at = (word * SLOT_BYTES) as usize;
            for value in words.into_iter().flatten() {
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                at += 8;
            }
        }
    }

    fn slot_words(&self, owner: Owner, kind: SlotKind, word: u32) -> [Option<u64>; 4] {
        let target = match owner {
            Owner::Global(id) => self.targets[self.resolved.symbols.flat(id)],
            Owner::Local { unit, symbol } => {
                let parent = &self.resolved.units[unit as usize];
                self.local_target(unit, parent, symbol).unwrap_or(Target::new(TargetKind::Absolute, 0))
            }
            Owner::Module => Target::new(TargetKind::OwnTls, 0),
        };
        let (module, offset) = self.module_and_offset(target);
        match kind {
            SlotKind::Address => [Some(target.address), None, None, None],
            SlotKind::TpOffset => [Some(self.tp_offset(target).unwrap_or(0) as u64), None, None, None],
            SlotKind::Pair => [Some(module), Some(offset), None, None],
            SlotKind::Descriptor => {
                let resolver = self.runtime.tls_descriptor.unwrap_or_default().get();
                let pair = self.got + u64::from((word + 2) * SLOT_BYTES);
                [Some(resolver), Some(pair), Some(module), Some(offset)]
            }
        }
    }
}

fn record(
    calls: &mut Vec<CallSite>,
    unit: &Unit<'_>,
    relocation: &Relocation,
    place: u64,
    target: u64,
    opcode: Opcode,
) {
    let symbol = unit.bound(relocation.symbol);
    if symbol != NO_SYMBOL {
        calls.push(CallSite {
            place: ExecutorAddr::new(place),
            symbol: GlobalId(symbol),
            target: ExecutorAddr::new(target),
            opcode,
            patchable: is_patchable(place),
        });
    }
}
