//! A function as a module of its own: what goes to a compiler that need not see the rest.
//!
//! The module has the function, first among its functions, and declarations of what it refers to, under the names that
//! [`kiln_abi::symbol`] gives them; constants become the function's own. Types, attributes and values are numbered anew. What
//! says nothing about meaning is left out: metadata, debug locations, and the calls that only carry it. Everything is written
//! without abbreviations but the string table: the result is small whatever the module is.
//!
//! What cannot be had alone is refused by name: whoever holds addresses of blocks, and what no Linux front end writes.

mod bits;
mod constants;
mod instructions;
mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::bits::Bits;
use crate::attributes::AttributeListId;
use crate::body::{Body, ValueId};
use crate::codes::BlockKind;
use crate::constant::{Constant, GlobalRef};
use crate::module::Module;
use crate::opcode::Opcode;
use crate::packed::Instruction;
use crate::types::{Type, TypeId};

/// Why a function was not written as a module of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a module of its own cannot hold {0}")]
pub struct NotWritten(&'static str);

/// The function `body`, which belongs to `module`, as bitcode.
///
/// # Errors
///
/// [`NotWritten`] if the function needs its module.
pub fn write_function(module: &Module, body: &Body) -> Result<Vec<u8>, NotWritten> {
    let mut writer = Writer {
        module,
        body,
        bits: Bits::new(),
        types: BTreeMap::new(),
        globals: HashMap::new(),
        global_order: Vec::new(),
        constants: HashMap::new(),
        constant_order: Vec::new(),
        lists: BTreeMap::new(),
        left_out: BTreeSet::new(),
    };
    writer.collect()?;
    writer.write()
}

struct Writer<'m> {
    module: &'m Module,
    body: &'m Body,
    bits: Bits,
    /// Numbers of the types that are used, in the order of the module's; given once all are known.
    types: BTreeMap<TypeId, u64>,
    /// Numbers of functions, globals and aliases that are used: their value numbers.
    globals: HashMap<GlobalRef, u32>,
    global_order: Vec<GlobalRef>,
    /// Numbers of constants, counted from the first.
    constants: HashMap<ValueId, u32>,
    constant_order: Vec<ValueId>,
    /// Numbers of attribute lists that are used.
    lists: BTreeMap<AttributeListId, u64>,
    /// Instructions that only carry metadata.
    left_out: BTreeSet<u32>,
}

impl Writer<'_> {
    /// Finds out what the function refers to.
    fn collect(&mut self) -> Result<(), NotWritten> {
        let (module, body) = (self.module, self.body);
        let function = module.function(body.function());
        if function.prefix.is_some() || function.prologue.is_some() || function.gc.is_some() {
            return Err(NotWritten("data before the code, or garbage collection"));
        }
        if module.block_address_globals().any(|(_, owner)| owner == body.function()) {
            return Err(NotWritten("a table of label addresses"));
        }
        self.collect_global(GlobalRef::Function(body.function()));
        if let Some(personality) = function.personality {
            match module.constant(personality) {
                Constant::Global(global) => self.collect_global(global),
                _ => return Err(NotWritten("an unusual personality")),
            }
        }
        for (index, instruction) in (0u32..).zip(body.instructions()) {
            let operands = body.operands(instruction);
            if instruction.opcode == Opcode::Call && operands.contains(&ValueId::NONE.0) {
                self.leave_out(operands[0])?;
                self.left_out.insert(index);
                continue;
            }
            self.collect_type(body.result_type(instruction));
            match instruction.opcode {
                Opcode::CallBr | Opcode::Funclet => return Err(NotWritten("`callbr` or `catchpad`")),
                Opcode::Alloca if instruction.flags() & Instruction::SPECIAL_ALLOCA != 0 => {
                    return Err(NotWritten("`inalloca` or `swifterror`"));
                }
                Opcode::Gep | Opcode::Alloca => self.collect_type(TypeId(instruction.aux())),
                Opcode::Call | Opcode::Invoke => {
                    let call = body.call(instruction);
                    self.collect_type(call.ty);
                    self.collect_attributes(call.attributes);
                    for (_, values) in body.bundles(call) {
                        for value in values {
                            self.collect_value(*value)?;
                        }
                    }
                }
                _ => {}
            }
            for (at, operand) in operands.iter().enumerate() {
                if instructions::is_value(instruction.opcode, at) {
                    self.collect_value(*operand)?;
                }
            }
        }
        for (number, place) in (0..).zip(self.types.values_mut()) {
            *place = number;
        }
        for (number, place) in (1..).zip(self.lists.values_mut()) {
            *place = number;
        }
        Ok(())
    }

    /// Whether a call with metadata among its arguments may be left out.
    fn leave_out(&self, callee: u32) -> Result<(), NotWritten> {
        const CARRIERS: [&[u8]; 3] = [b"llvm.dbg.", b"llvm.experimental.noalias.scope.decl", b"llvm.pseudoprobe"];
        match self.body.constant(self.module, ValueId(callee)) {
            Some(Constant::Global(global)) => {
                let name = self.module.symbol_name(global);
                let carries = CARRIERS.iter().any(|carrier| name.starts_with(carrier));
                if carries { Ok(()) } else { Err(NotWritten("metadata that means something")) }
            }
            _ => Err(NotWritten("metadata that means something")),
        }
    }

    fn collect_value(&mut self, value: u32) -> Result<(), NotWritten> {
        let value = ValueId(value);
        if value == ValueId::NONE {
            return Err(NotWritten("metadata that means something"));
        }
        self.collect_type(self.body.type_of(self.module, value));
        self.collect_constant(value)
    }

    fn collect_global(&mut self, global: GlobalRef) {
        if self.globals.contains_key(&global) {
            return;
        }
        self.globals.insert(global, self.global_order.len() as u32);
        self.global_order.push(global);
        let symbol = self.module.symbol(global);
        self.collect_type(symbol.value_type);
        self.collect_type(symbol.pointer_type);
        if let GlobalRef::Function(function) = global {
            self.collect_attributes(self.module.function(function).attributes);
        }
    }

    fn collect_attributes(&mut self, list: AttributeListId) {
        if list.index() == 0 || self.lists.insert(list, 0).is_some() {
            return;
        }
        for ty in tables::types_of(self.module.attributes(list)) {
            self.collect_type(ty);
        }
    }

    fn collect_type(&mut self, ty: TypeId) {
        if self.types.insert(ty, 0).is_some() {
            return;
        }
        // Types name only earlier ones, and are bounded in depth by the reader.
        match self.module.ty(ty) {
            Type::Array { element, .. } | Type::Vector { element, .. } => self.collect_type(*element),
            Type::Struct { fields, .. } => fields.iter().for_each(|field| self.collect_type(*field)),
            Type::Function { result, parameters, .. } => {
                self.collect_type(*result);
                parameters.iter().for_each(|parameter| self.collect_type(*parameter));
            }
            Type::TargetExt { types, .. } => types.iter().for_each(|ty| self.collect_type(*ty)),
            _ => {}
        }
    }

    fn type_number(&self, ty: TypeId) -> u64 {
        self.types.get(&ty).copied().unwrap_or_default()
    }

    fn global_number(&self, global: GlobalRef) -> u32 {
        self.globals.get(&global).copied().unwrap_or_default()
    }

    /// The new number of a value.
    fn number(&self, value: ValueId) -> u32 {
        let globals = self.global_order.len() as u32;
        if let Some(constant) = self.constants.get(&value) {
            return globals + self.body.argument_count() + constant;
        }
        if let Some(Constant::Global(global)) = self.body.constant(self.module, value) {
            return self.global_number(global);
        }
        match value.0.checked_sub(self.body.first_result()) {
            Some(result) => self.first_result() + result,
            None => globals + (value.0 - self.body.first_value()),
        }
    }

    /// Number of the first value that an instruction makes.
    fn first_result(&self) -> u32 {
        (self.global_order.len() + self.constant_order.len()) as u32 + self.body.argument_count()
    }

    fn write(mut self) -> Result<Vec<u8>, NotWritten> {
        let mut names = Vec::new();
        self.write_identification();
        let module = self.bits.enter(BlockKind::MODULE, 3);
        self.write_tables(&mut names)?;
        self.write_body();
        self.bits.leave(module);
        let table = self.bits.enter(BlockKind::STRTAB, 3);
        self.bits.blob(1, &names);
        self.bits.leave(table);
        Ok(self.bits.into_bytes())
    }
}
