//! The tables of the module: types, attributes, what is defined and declared.

use kiln_abi::symbol::{self, Id};

use super::constants::put_range;
use super::{NotWritten, Writer};
use crate::attributes::{Attribute, AttributeKind, AttributeList, AttributePlace};
use crate::codes::BlockKind;
use crate::constant::{Constant, GlobalRef};
use crate::global::{AliasKind, Linkage, Symbol, ThreadLocal, Visibility};
use crate::types::{Type, TypeId};

/// The version of the encoding of `memory` attributes, in their top byte.
const MEMORY_VERSION: u64 = 1 << 56;

/// The types that attributes name.
pub(super) fn types_of(list: AttributeList<'_>) -> impl Iterator<Item = TypeId> {
    list.groups().flat_map(|group| group.attributes()).filter_map(|attribute| match attribute {
        Attribute::Type(_, ty) => *ty,
        _ => None,
    })
}

fn characters(text: &[u8]) -> impl Iterator<Item = u64> {
    text.iter().map(|byte| u64::from(*byte))
}

/// Whether references bind to this module's definition whatever else is linked.
fn binds_here(symbol: &Symbol, is_definition: bool) -> bool {
    let local = symbol.linkage.is_local();
    let visible = symbol.linkage == Linkage::External || symbol.visibility != Visibility::Default;
    is_definition && symbol.linkage != Linkage::AvailableExternally && (local || visible)
}

impl Writer<'_> {
    pub(super) fn write_identification(&mut self) {
        const STRING: u32 = 1;
        const EPOCH: u32 = 2;
        let block = self.bits.enter(BlockKind::IDENTIFICATION, 5);
        self.bits.text(STRING, self.module.producer().as_bytes());
        self.bits.record(EPOCH, &[0]);
        self.bits.leave(block);
    }

    /// Everything but the body; names go to `names`.
    pub(super) fn write_tables(&mut self, names: &mut Vec<u8>) -> Result<(), NotWritten> {
        const VERSION: u32 = 1;
        const TRIPLE: u32 = 2;
        const DATALAYOUT: u32 = 3;
        self.bits.record(VERSION, &[2]);
        self.write_types()?;
        self.write_attributes();
        self.bits.text(TRIPLE, self.module.triple());
        self.bits.text(DATALAYOUT, self.module.data_layout().text().as_bytes());
        for global in self.global_order.clone() {
            self.write_global(global, names);
        }
        self.write_names(BlockKind::OPERAND_BUNDLE_TAGS, self.module.operand_bundle_tags());
        self.write_names(BlockKind::SYNC_SCOPE_NAMES, self.module.sync_scopes());
        Ok(())
    }

    fn write_names(&mut self, kind: BlockKind, names: &[Box<[u8]>]) {
        const NAME: u32 = 1;
        let block = self.bits.enter(kind, 3);
        for name in names {
            self.bits.text(NAME, name);
        }
        self.bits.leave(block);
    }

    fn write_types(&mut self) -> Result<(), NotWritten> {
        const NUMENTRY: u32 = 1;
        const STRUCT_NAME: u32 = 19;
        let block = self.bits.enter(BlockKind::TYPE, 4);
        let types: Vec<TypeId> = self.types.keys().copied().collect();
        self.bits.record(NUMENTRY, &[types.len() as u64]);
        for id in types {
            let ty = self.module.ty(id);
            if let Type::Struct { name: Some(name), .. } | Type::Opaque { name } = ty {
                self.bits.text(STRUCT_NAME, name);
            }
            let (code, fields) = self.type_record(ty)?;
            self.bits.record(code, &fields);
        }
        self.bits.leave(block);
        Ok(())
    }

    fn type_record(&self, ty: &Type) -> Result<(u32, Vec<u64>), NotWritten> {
        Ok(match ty {
            Type::Void => (2, vec![]),
            Type::Float => (3, vec![]),
            Type::Double => (4, vec![]),
            Type::Label => (5, vec![]),
            Type::Opaque { .. } => (6, vec![0]),
            Type::Integer(bits) => (7, vec![u64::from(*bits)]),
            Type::Half => (10, vec![]),
            Type::Array { count, element } => (11, vec![*count, self.type_number(*element)]),
            Type::Vector { count, element, scalable } => {
                let mut fields = vec![u64::from(*count), self.type_number(*element)];
                fields.extend(scalable.then_some(1));
                (12, fields)
            }
            Type::X86Fp80 => (13, vec![]),
            Type::Fp128 => (14, vec![]),
            Type::PpcFp128 => (15, vec![]),
            Type::Metadata => (16, vec![]),
            Type::Struct { name, packed, fields } => {
                let fields = fields.iter().map(|field| self.type_number(*field));
                let fields = std::iter::once(u64::from(*packed)).chain(fields).collect();
                (if name.is_some() { 20 } else { 18 }, fields)
            }
            Type::Function { result, parameters, variadic } => {
                let types = std::iter::once(result).chain(parameters).map(|ty| self.type_number(*ty));
                (21, std::iter::once(u64::from(*variadic)).chain(types).collect())
            }
            Type::Token => (22, vec![]),
            Type::BFloat => (23, vec![]),
            Type::X86Amx => (24, vec![]),
            Type::Pointer { address_space } => (25, vec![u64::from(*address_space)]),
            Type::TargetExt { .. } => return Err(NotWritten("a type of the target's own")),
        })
    }

    /// Groups of attributes, each list with groups of its own: few lists share any.
    fn write_attributes(&mut self) {
        const GROUP: u32 = 3;
        const LIST: u32 = 2;
        if self.lists.is_empty() {
            return;
        }
        let (mut groups, mut lists) = (Vec::new(), Vec::new());
        for list in self.lists.keys() {
            let mut members = Vec::new();
            for group in self.module.attributes(*list).groups() {
                let place = match group.place() {
                    AttributePlace::Function => 0xffff_ffff,
                    AttributePlace::Return => 0,
                    AttributePlace::Parameter(index) => u64::from(index) + 1,
                };
                let number = groups.len() as u64 + 1;
                let mut fields = vec![number, place];
                group.attributes().iter().for_each(|attribute| self.put_attribute(attribute, &mut fields));
                members.push(number);
                groups.push(fields);
            }
            lists.push(members);
        }
        let block = self.bits.enter(BlockKind::PARAMATTR_GROUP, 3);
        groups.iter().for_each(|fields| self.bits.record(GROUP, fields));
        self.bits.leave(block);
        let block = self.bits.enter(BlockKind::PARAMATTR, 3);
        lists.iter().for_each(|members| self.bits.record(LIST, members));
        self.bits.leave(block);
    }

    fn put_attribute(&self, attribute: &Attribute, fields: &mut Vec<u64>) {
        match attribute {
            Attribute::Enum(kind) => fields.extend([0, kind.code()]),
            Attribute::Int(kind, value) => {
                let version = if *kind == AttributeKind::MEMORY { MEMORY_VERSION } else { 0 };
                fields.extend([1, kind.code(), value | version]);
            }
            Attribute::String { key, value } => {
                fields.push(if value.is_empty() { 3 } else { 4 });
                fields.extend(characters(key).chain([0]));
                if !value.is_empty() {
                    fields.extend(characters(value).chain([0]));
                }
            }
            Attribute::Type(kind, None) => fields.extend([5, kind.code()]),
            Attribute::Type(kind, Some(ty)) => fields.extend([6, kind.code(), self.type_number(*ty)]),
            Attribute::Range(kind, range) => {
                fields.extend([7, kind.code(), u64::from(range.bits)]);
                put_range(fields, range);
            }
            Attribute::Ranges(kind, ranges) => {
                let bits = ranges.first().map_or(1, |range| range.bits);
                fields.extend([8, kind.code(), ranges.len() as u64, u64::from(bits)]);
                ranges.iter().for_each(|range| put_range(fields, range));
            }
        }
    }

    fn write_global(&mut self, global: GlobalRef, names: &mut Vec<u8>) {
        const GLOBALVAR: u32 = 7;
        const FUNCTION: u32 = 8;
        let module = self.module;
        let symbol = module.symbol(global);
        let own = module.symbol_name(global);
        let name = match global {
            GlobalRef::Function(_) if own.starts_with(b"llvm.") => own.to_vec(),
            GlobalRef::Function(id) => symbol::name(Id::Function(id)).into_bytes(),
            GlobalRef::Global(id) => symbol::name(Id::Global(id)).into_bytes(),
            GlobalRef::Alias(id) => symbol::name(Id::Alias(id.0)).into_bytes(),
        };
        let (start, size) = (names.len() as u64, name.len() as u64);
        names.extend_from_slice(&name);
        let weak = symbol.linkage == Linkage::ExternWeak;
        // External, extern_weak.
        let mut linkage = if weak { 7 } else { 0 };
        let is_function = matches!(module.ty(symbol.value_type), Type::Function { .. });
        let space = u64::from(symbol.address_space);
        let ty = self.type_number(symbol.value_type);
        let (is_definition, thread_local) = match global {
            GlobalRef::Function(id) => (!module.function(id).is_declaration(), ThreadLocal::None),
            GlobalRef::Global(id) => (module.global(id).initializer.is_some(), module.global(id).thread_local),
            GlobalRef::Alias(id) => (module.alias(id).kind == AliasKind::Alias, module.alias(id).thread_local),
        };
        let is_thread_local = thread_local != ThreadLocal::None;
        let dso_local = u64::from(binds_here(symbol, is_definition) && !is_thread_local);
        if is_function {
            let mut fields = [0; 19];
            let mut personality = 0;
            if let GlobalRef::Function(id) = global {
                let function = module.function(id);
                fields[3] = u64::from(function.calling_convention);
                fields[6] = self.lists.get(&function.attributes).copied().unwrap_or_default();
                fields[7] = function.align().map_or(0, |align| u64::from(align.trailing_zeros()) + 1);
                if id == self.body.function() {
                    // One that another module may replace keeps saying so.
                    let interposable = matches!(
                        symbol.linkage,
                        Linkage::LinkOnceAny | Linkage::WeakAny | Linkage::ExternWeak | Linkage::Common
                    );
                    linkage = if interposable { 16 } else { 0 };
                    if let Some(constant) = function.personality
                        && let Constant::Global(global) = module.constant(constant)
                    {
                        personality = u64::from(self.global_number(global)) + 1;
                    }
                }
            }
            let is_declaration = u64::from(global != GlobalRef::Function(self.body.function()));
            (fields[0], fields[1], fields[2], fields[4], fields[5]) = (start, size, ty, is_declaration, linkage);
            (fields[16], fields[17], fields[18]) = (personality, dso_local, space);
            self.bits.record(FUNCTION, &fields);
            return;
        }
        let mut fields = [0; 16];
        let mut flags = 2 | space << 2;
        if let GlobalRef::Global(id) = global {
            let record = module.global(id);
            flags |= u64::from(record.is_constant);
            fields[6] = record.align().map_or(0, |align| u64::from(align.trailing_zeros()) + 1);
            fields[11] = u64::from(record.externally_initialized);
        }
        (fields[0], fields[1], fields[2], fields[3], fields[5]) = (start, size, ty, flags, linkage);
        (fields[9], fields[15]) = (u64::from(is_thread_local), dso_local);
        self.bits.record(GLOBALVAR, &fields);
    }
}
