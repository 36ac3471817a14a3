//! Records of symbols: globals, functions, aliases and the COMDATs that they belong to.

use kiln_abi::{FunctionId, GlobalId};

use super::Reader;
use crate::attributes::AttributeListId;
use crate::bitstream::{Budget, Record};
use crate::constant::{ConstantId, GlobalRef};
use crate::cursor::SYMBOL_FIELDS;
use crate::error::{Error, ErrorKind};
use crate::global::{
    Alias, AliasId, AliasKind, Alignment, CodeModel, Comdat, ComdatSelection, DllStorage, Function, Global, Linkage,
    Name, Sanitizer, Symbol, ThreadLocal, UnnamedAddr, Visibility,
};
use crate::symbol_forms::{Like, OwnFields};
use crate::types::Type;

/// `CallingConv::MaxID`
const MAX_CALLING_CONVENTION: u64 = 1023;

impl Reader<'_> {
    pub(super) fn read_comdat(&mut self, record: &Record<'_>) -> Result<(), Error> {
        // [strtab offset, strtab size, selection kind]
        let fields = record.require(3, &self.block)?;
        let name = self.name(fields[0], fields[1])?;
        self.comdats.push(Comdat { name, selection: ComdatSelection::decode(fields[2], &self.block)? });
        Ok(())
    }

    /// Reads a record whose fields are `fields`, with zeros for those it lacks.
    pub(super) fn read_global(&mut self, fields: &[u64; SYMBOL_FIELDS]) -> Result<(), Error> {
        // [strtab offset, strtab size, type, isconst | explicit type << 1 | address space << 2, initid, linkage,
        //  alignment, section, visibility, threadlocal, unnamed_addr, externally_initialized, dllstorageclass, comdat,
        //  attributes, preemption specifier, partition offset, partition size, sanitizer, code model]
        if fields[3] & 2 == 0 {
            return Err(self.error(ErrorKind::TypeMismatch { what: "global with a typed pointer" }));
        }
        let address_space = self.address_space(fields[3] >> 2)?;
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space,
            linkage: fields[5],
            visibility: fields[8],
            unnamed_addr: fields[10],
            dll_storage: fields[12],
            dso_local: fields[15],
            partition: (fields[16], fields[17]),
        })?;
        let sanitizer = fields[18];
        let mut global = Global {
            is_constant: fields[3] & 1 != 0,
            initializer: self.constant(fields[4])?,
            alignment: Alignment::decode(fields[6], &self.block)?,
            section: self.text(&self.sections, "section", fields[7])?,
            thread_local: ThreadLocal::None,
            externally_initialized: fields[11] != 0,
            comdat: self.comdat_id(fields[13])?,
            attributes: AttributeListId::default(),
            sanitizer: None,
            code_model: None,
            symbol,
        };
        // Most globals have none of these.
        if fields[9] | fields[14] | sanitizer | fields[19] != 0 {
            global.thread_local = ThreadLocal::decode(fields[9], &self.block)?;
            global.attributes = self.attributes(fields[14])?;
            global.sanitizer = (sanitizer != 0).then_some(Sanitizer {
                no_address: sanitizer & 1 != 0,
                no_hwaddress: sanitizer & 2 != 0,
                memtag: sanitizer & 4 != 0,
                dynamic_init: sanitizer & 8 != 0,
            });
            global.code_model = match fields[19] {
                0 => None,
                model => Some(CodeModel::decode(model, &self.block)?),
            };
        }
        self.add_global(global);
        Ok(())
    }

    #[inline(always)]
    fn add_global(&mut self, global: Global) {
        if self.globals.is_empty() {
            // Globals come first.
            self.globals.reserve(self.symbols);
            self.constants.reserve_globals(self.symbols);
        }
        let id = GlobalId(self.globals.len() as u32);
        self.constants.push_global(GlobalRef::Global(id), global.symbol.pointer_type);
        self.globals.push(global);
    }

    /// Reads the records of symbols that come next, as long as there have been others of the same form.
    pub(super) fn read_known_symbols(&mut self, budget: &mut Budget) -> Result<(), Error> {
        let width = self.block.id_bits();
        let mut from = self.block.ahead();
        // Taken out while globals are added.
        let mut forms = std::mem::take(&mut self.forms);
        let before = self.globals.len() + self.functions.len();
        while let Some((like, own, place)) = forms.next(from, width) {
            // What is not right is left to be refused, as are lists of attributes that nobody has looked at yet.
            if own.attributes != 0 && !self.has_attributes || self.add_like(like, &own).is_err() {
                break;
            }
            from.place = place;
        }
        self.forms = forms;
        self.block.go_to(from.place)?;
        let count = (self.globals.len() + self.functions.len() - before) as u64;
        self.block.charge_records(count, count * SYMBOL_FIELDS as u64, budget)
    }

    /// Adds a symbol that differs from `like` in its own fields.
    #[inline(always)]
    fn add_like(&mut self, like: &Like, own: &OwnFields) -> Result<(), Error> {
        let name = self.name(own.name[0], own.name[1])?;
        let value_type = self.types()?.get(own.value_type, &self.block)?;
        let operand = self.constant(own.operand)?;
        let comdat = self.comdat_id(own.comdat)?;
        match like {
            Like::Global(like) => {
                let symbol = Symbol { name, value_type, ..like.symbol };
                self.add_global(Global { symbol, initializer: operand, comdat, ..*like });
            }
            Like::Function { function: like, has_body } => {
                let symbol = Symbol { name, value_type, ..like.symbol };
                self.check_function_type(&symbol)?;
                let attributes = self.attributes(own.attributes)?;
                self.last_operand = self.last_operand.max(operand);
                let personality = operand;
                self.add_function(Function { symbol, attributes, comdat, personality, ..*like }, *has_body);
            }
        }
        Ok(())
    }

    /// Reads a record of `len` fields.
    pub(super) fn read_function(&mut self, fields: &[u64; SYMBOL_FIELDS], len: usize) -> Result<(), Error> {
        // [strtab offset, strtab size, type, callingconv, isproto, linkage, paramattr, alignment, section, visibility,
        //  gc, unnamed_addr, prologuedata, dllstorageclass, comdat, prefixdata, personalityfn, preemption specifier,
        //  address space, partition offset, partition size]
        let address_space = match len {
            19.. => self.address_space(fields[18])?,
            _ => self.data_layout.program_address_space(),
        };
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space,
            linkage: fields[5],
            visibility: fields[9],
            unnamed_addr: fields[11],
            dll_storage: fields[13],
            dso_local: fields[17],
            partition: (fields[19], fields[20]),
        })?;
        self.check_function_type(&symbol)?;
        if fields[3] > MAX_CALLING_CONVENTION {
            return Err(self.error(ErrorKind::BadValue { what: "calling convention", value: fields[3] }));
        }
        let mut function = Function {
            calling_convention: fields[3] as u32,
            attributes: self.attributes(fields[6])?,
            alignment: Alignment::decode(fields[7], &self.block)?,
            section: None,
            gc: None,
            comdat: self.comdat_id(fields[14])?,
            prefix: None,
            prologue: None,
            personality: None,
            body: None,
            symbol,
        };
        // Most functions have none of these.
        if fields[8] | fields[10] | fields[12] | fields[15] | fields[16] != 0 {
            function.section = self.text(&self.sections, "section", fields[8])?;
            function.gc = self.text(&self.gcs, "garbage collector", fields[10])?;
            function.prologue = self.constant(fields[12])?;
            function.prefix = self.constant(fields[15])?;
            function.personality = self.constant(fields[16])?;
            let operands = [function.prefix, function.prologue, function.personality];
            self.last_operand = operands.into_iter().fold(self.last_operand, Ord::max);
        }
        self.add_function(function, fields[4] == 0);
        Ok(())
    }

    fn check_function_type(&self, symbol: &Symbol) -> Result<(), Error> {
        if matches!(self.types()?.all()[symbol.value_type.0 as usize], Type::Function { .. }) {
            return Ok(());
        }
        Err(self.error(ErrorKind::TypeMismatch { what: "function of another type" }))
    }

    #[inline(always)]
    fn add_function(&mut self, function: Function, has_body: bool) {
        if self.functions.is_empty() {
            // Functions come behind the globals.
            let rest = self.symbols.saturating_sub(self.globals.len());
            self.functions.reserve(rest);
            self.constants.reserve_globals(rest);
        }
        let id = FunctionId(self.functions.len() as u32);
        if has_body {
            self.defined.push(id);
        }
        self.constants.push_global(GlobalRef::Function(id), function.symbol.pointer_type);
        self.functions.push(function);
    }

    pub(super) fn read_alias(&mut self, record: &Record<'_>, kind: AliasKind) -> Result<(), Error> {
        // ALIAS: [strtab offset, strtab size, type, address space, aliasee, linkage, visibility, dllstorageclass,
        //         threadlocal, unnamed_addr, preemption specifier, partition offset, partition size]
        // IFUNC: [strtab offset, strtab size, type, address space, resolver, linkage, visibility, preemption
        //         specifier, partition offset, partition size]
        let fields = record.require(6, &self.block)?;
        let field = |at: usize| fields.get(at).copied().unwrap_or(0);
        let alias = kind == AliasKind::Alias;
        let only_alias = |at: usize| if alias { field(at) } else { 0 };
        let rest = if alias { 10 } else { 7 };
        let symbol = self.symbol(SymbolFields {
            name: self.name(fields[0], fields[1])?,
            value_type: fields[2],
            address_space: self.address_space(fields[3])?,
            linkage: fields[5],
            visibility: field(6),
            unnamed_addr: only_alias(9),
            dll_storage: only_alias(7),
            dso_local: field(rest),
            partition: (field(rest + 1), field(rest + 2)),
        })?;
        let Ok(target) = u32::try_from(fields[4]) else {
            return Err(self.error(ErrorKind::BadValue { what: "value number", value: fields[4] }));
        };
        let thread_local = ThreadLocal::decode(only_alias(8), &self.block)?;
        let id = AliasId(self.aliases.len() as u32);
        self.constants.push_global(GlobalRef::Alias(id), symbol.pointer_type);
        self.aliases.push(Alias { symbol, kind, target: ConstantId(target), thread_local });
        Ok(())
    }

    #[inline(always)]
    fn symbol(&mut self, fields: SymbolFields) -> Result<Symbol, Error> {
        let linkage = Linkage::decode(fields.linkage, &self.block)?;
        let local = linkage.is_local();
        // What is local has default visibility and no DLL storage class (parseGlobalVarRecord).
        let visibility = Visibility::decode(fields.visibility, &self.block)?;
        let visibility = if local { Visibility::Default } else { visibility };
        let dll_storage = DllStorage::decode(fields.dll_storage, &self.block)?;
        let value_type = self.types()?.get(fields.value_type, &self.block)?;
        let Some(types) = &mut self.types else { return Err(self.block.error(ErrorKind::MisplacedBlock)) };
        Ok(Symbol {
            name: fields.name,
            value_type,
            pointer_type: types.pointer(fields.address_space),
            address_space: fields.address_space,
            linkage,
            visibility,
            unnamed_addr: UnnamedAddr::decode(fields.unnamed_addr, &self.block)?,
            dll_storage: if local { DllStorage::Default } else { dll_storage },
            // inferDSOLocal
            dso_local: fields.dso_local != 0
                || local
                || (visibility != Visibility::Default && linkage != Linkage::ExternWeak),
            partition: match fields.partition {
                // The place of an empty name is of no interest.
                (_, 0) => Name::default(),
                (start, len) => self.name(start, len)?,
            },
        })
    }
}

/// The fields of a symbol's record, with zeros for those it lacks.
pub(super) fn first_fields(values: &[u64]) -> [u64; SYMBOL_FIELDS] {
    let mut fields = [0; SYMBOL_FIELDS];
    fields.iter_mut().zip(values).for_each(|(field, value)| *field = *value);
    fields
}

/// What the records of functions, globals and aliases have in common.
struct SymbolFields {
    name: Name,
    value_type: u64,
    address_space: u32,
    linkage: u64,
    visibility: u64,
    unnamed_addr: u64,
    dll_storage: u64,
    dso_local: u64,
    partition: (u64, u64),
}
