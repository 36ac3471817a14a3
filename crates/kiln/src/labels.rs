//! Addresses of labels in data (`&&label` of GNU C): they exist once the labels' function is compiled.

use std::collections::{HashMap, HashSet};

use kiln_abi::{ExecutorAddr, FunctionId, GlobalId};
use kiln_baseline::data::TablePointer;
use kiln_bitcode::{Body, Constant, ConstantId, GlobalRef, Instruction, Module, Opcode, ValueId};
use kiln_dispatch::FunctionIndex;
use kiln_link::External;

use crate::digest::is_value;
use crate::engine::Inner;
use crate::error::Error;
use crate::module::LoadedModule;
use crate::process::signals::Blocked;

/// Gives pointers to tables of label addresses their values: compiles the functions that the tables belong to.
///
/// Before any code of `modules` runs, and once their data is placed. Where several modules have a copy of a variable, the
/// first one's pointer counts, as its function does.
pub(crate) fn fill_pointers<'p>(
    inner: &Inner,
    modules: impl IntoIterator<Item = (&'p LoadedModule, &'p Vec<TablePointer>)>,
) -> Result<(), Error> {
    let mut filled = HashSet::new();
    for (module, pointers) in modules {
        let pointers = module.table_pointers.get_or_init(|| pointers.clone());
        for pointer in pointers {
            let holder = module.globals.bound(pointer.holder.0);
            // A copy that the linker dropped, or that nobody refers to.
            let Some(External::Data(holder)) = holder else { continue };
            let place = holder + pointer.offset;
            if filled.insert(place) {
                let table = table_address(inner, module, pointer)?;
                // SAFETY: eight bytes inside a global that this load has placed; nothing of the program has run since.
                unsafe { inner.cache.write_data(place, &(table + pointer.addend as u64).get().to_le_bytes()) };
            }
        }
    }
    Ok(())
}

/// Where a table lies; compiles its function if that has not been done.
fn table_address(inner: &Inner, module: &LoadedModule, pointer: &TablePointer) -> Result<ExecutorAddr, Error> {
    let owner = module.bitcode.block_address_owner(pointer.table).expect("the pointer leads to a table of labels");
    let describe =
        |reason: String| Error::Labels { function: module.function_name(owner), module: module.name.clone(), reason };
    if !module.globals.is_set(pointer.table.0) {
        let _blocked = Blocked::all();
        inner.compile_owner(module, owner, 0).map_err(|failure| describe(failure.to_string()))?;
    }
    let bound = module.globals.bound(pointer.table.0).and_then(External::address);
    bound.ok_or_else(|| describe("its code does not define the table".to_owned()))
}

impl Inner {
    /// Refuses to give the function at `index` other code, if addresses of its labels may be kept somewhere.
    pub(crate) fn check_labels(&self, index: FunctionIndex) -> Result<(), Error> {
        match self.function_at(index) {
            Some((module, function)) if escape(&module, function) => {
                Err(Error::LabelsEscape { name: module.function_name(function) })
            }
            _ => Ok(()),
        }
    }
}

/// Whether addresses of labels of `function` may be kept where its code does not end with the activation: in variables, in
/// memory that a pointer leads to, with a callee or the caller. Another version has its labels elsewhere, so such a function
/// keeps its code.
///
/// Whatever is not seen to stay inside counts as kept, as does a body that cannot be read.
pub(crate) fn escape(module: &LoadedModule, function: FunctionId) -> bool {
    let tables: HashSet<GlobalId> =
        module.bitcode.block_address_globals().filter(|(_, owner)| *owner == function).map(|(id, _)| id).collect();
    let pointers = module.table_pointers.get();
    if pointers.is_some_and(|pointers| pointers.iter().any(|pointer| tables.contains(&pointer.table))) {
        return true;
    }
    let mut body = Body::new();
    if module.bitcode.read_body(&module.bytes, function, &mut body).is_err() {
        return true;
    }
    Flow::new(&module.bitcode, &body, tables).escapes()
}

/// Where addresses of labels and of their tables go in a body, whatever the order of its blocks.
struct Flow<'b> {
    module: &'b Module,
    body: &'b Body,
    /// Globals that hold addresses of its labels.
    tables: HashSet<GlobalId>,
    /// Values that may hold one of the addresses.
    holds: HashSet<ValueId>,
    /// Constants that were looked at.
    constants: HashMap<ValueId, bool>,
    /// Addresses in variables of the activation, and which variable.
    variables: HashMap<ValueId, ValueId>,
    /// Variables of the activation in which there may be such an address.
    filled: HashSet<ValueId>,
    /// Variables of the activation to which others may have a pointer.
    shown: HashSet<ValueId>,
    /// An address went where it is not followed.
    lost: bool,
}

/// Constants that are made of constants are looked into so deep.
const DEPTH_MAX: u32 = 64;

impl<'b> Flow<'b> {
    fn new(module: &'b Module, body: &'b Body, tables: HashSet<GlobalId>) -> Self {
        Self {
            module,
            body,
            tables,
            holds: HashSet::new(),
            constants: HashMap::new(),
            variables: HashMap::new(),
            filled: HashSet::new(),
            shown: HashSet::new(),
            lost: false,
        }
    }

    fn escapes(mut self) -> bool {
        loop {
            let known = self.known();
            for instruction in self.body.instructions() {
                self.follow(instruction);
            }
            if self.lost || !self.filled.is_disjoint(&self.shown) {
                return true;
            }
            if self.known() == known {
                return false;
            }
        }
    }

    /// Grows with what is found out.
    fn known(&self) -> usize {
        self.holds.len() + self.variables.len() + self.filled.len() + self.shown.len()
    }

    fn follow(&mut self, instruction: &Instruction) {
        let body = self.body;
        let operands = body.operands(instruction);
        let values = operands
            .iter()
            .enumerate()
            .filter(|(at, word)| is_value(instruction.opcode, *at) && ValueId(**word) != ValueId::NONE);
        let values: Vec<_> = values.map(|(_, word)| ValueId(*word)).collect();
        let result = instruction.result();
        match instruction.opcode {
            Opcode::Alloca => {
                self.variables.insert(result, result);
            }
            Opcode::Load => {
                let from_variable =
                    self.variables.get(&values[0]).is_some_and(|variable| self.filled.contains(variable));
                if from_variable || self.holds(values[0]) {
                    self.holds.insert(result);
                }
            }
            Opcode::Store => {
                if let Some(variable) = self.variables.get(&values[1]) {
                    self.shown.insert(*variable);
                }
                if self.holds(values[1]) {
                    self.put(values[0]);
                }
            }
            Opcode::Gep | Opcode::BitCast | Opcode::Freeze => {
                if let Some(variable) = self.variables.get(&values[0]).copied() {
                    self.variables.insert(result, variable);
                }
                self.pass_on(&values, result);
            }
            Opcode::Call | Opcode::Invoke | Opcode::CallBr => self.call(&values),
            // They end the use of an address, or compare it.
            Opcode::IndirectBr | Opcode::ICmp | Opcode::Switch | Opcode::CondBr => {}
            Opcode::Ret | Opcode::Resume | Opcode::CmpXchg | Opcode::AtomicRmw | Opcode::VaArg | Opcode::Funclet => {
                self.lose(&values);
            }
            _ => {
                self.shown.extend(values.iter().filter_map(|value| self.variables.get(value)));
                self.pass_on(&values, result);
            }
        }
    }

    /// The callee first, then the arguments.
    fn call(&mut self, values: &[ValueId]) {
        let (callee, arguments) = values.split_first().expect("a call has a callee");
        let name = match self.body.constant(self.module, *callee) {
            Some(Constant::Global(GlobalRef::Function(id))) => self.module.symbol_name(GlobalRef::Function(id)),
            _ => b"",
        };
        if name.starts_with(b"llvm.lifetime.") || name.starts_with(b"llvm.dbg.") {
            return;
        }
        if let ([to, from, ..], true) =
            (arguments, name.starts_with(b"llvm.memcpy.") || name.starts_with(b"llvm.memmove."))
        {
            let from_variable = self.variables.get(from).is_some_and(|variable| self.filled.contains(variable));
            if from_variable || self.holds(*from) {
                self.put(*to);
            }
            return;
        }
        self.lose(values);
    }

    /// An address is stored at `to`.
    fn put(&mut self, to: ValueId) {
        match self.variables.get(&to) {
            Some(variable) => {
                self.filled.insert(*variable);
            }
            None => self.lost = true,
        }
    }

    /// `values` go where they are not followed.
    fn lose(&mut self, values: &[ValueId]) {
        for value in values {
            self.lost |= self.holds(*value);
            self.shown.extend(self.variables.get(value));
        }
    }

    /// `result` is computed from `values`.
    fn pass_on(&mut self, values: &[ValueId], result: ValueId) {
        if values.iter().any(|value| self.holds(*value)) {
            self.holds.insert(result);
        }
    }

    fn holds(&mut self, value: ValueId) -> bool {
        if !self.body.is_constant(value) {
            return self.holds.contains(&value);
        }
        if let Some(known) = self.constants.get(&value) {
            return *known;
        }
        let holds = self.constant_holds(value);
        self.constants.insert(value, holds);
        holds
    }

    fn constant_holds(&self, value: ValueId) -> bool {
        constant_has(&|id| self.body.constant(self.module, ValueId(id.0)), ConstantId(value.0), 0, &|constant| {
            match constant {
                Constant::BlockAddress { .. } => true,
                Constant::Global(GlobalRef::Global(id)) => self.tables.contains(id),
                _ => false,
            }
        })
    }
}

/// Whether `is` holds for the constant `id`, which `constant` looks up, or one that it is made of; so it is said to where that
/// goes too deep to be looked into.
pub(crate) fn constant_has<'c>(
    constant: &dyn Fn(ConstantId) -> Option<Constant<'c>>,
    id: ConstantId,
    depth: u32,
    is: &dyn Fn(&Constant<'_>) -> bool,
) -> bool {
    let Some(found) = constant(id).filter(|_| depth < DEPTH_MAX) else { return true };
    let part = |id: &ConstantId| constant_has(constant, *id, depth + 1, is);
    is(&found)
        || match found {
            Constant::Aggregate(elements) => elements.iter().any(part),
            Constant::Gep(gep) => gep.operands.iter().any(part),
            Constant::Cast { value, .. } => part(&value),
            Constant::Binary { left, right, .. } => part(&left) || part(&right),
            Constant::Select { then, otherwise, .. } => part(&then) || part(&otherwise),
            Constant::ExtractElement { vector, .. } => part(&vector),
            Constant::InsertElement { vector, element, .. } => part(&vector) || part(&element),
            Constant::ShuffleVector { left, right, .. } => part(&left) || part(&right),
            _ => false,
        }
}
