//! Variables that live and get another type.

use std::collections::HashSet;

use kiln_abi::{ExecutorAddr, FunctionId, GlobalId};
use kiln_bitcode::{Body, Constant, ConstantId, GlobalRef, Module, ThreadLocal, ValueId};
use kiln_link::External;

use crate::digest::is_value;
use crate::engine::Inner;
use crate::error::Error;
use crate::labels::constant_has;
use crate::lineage::Variable;
use crate::module::LoadedModule;

/// A variable of the program that an update gives another type, and with it another place. The client moves its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// The variable.
    pub name: String,
    /// Where its value is.
    pub old: VariableLayout,
    /// Where it shall be; it holds the initial value of the new source.
    pub new: VariableLayout,
}

/// Where a variable lies and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VariableLayout {
    /// Its address.
    pub address: ExecutorAddr,
    /// Its size.
    pub bytes: u64,
    /// Its type, as IR.
    pub ty: String,
}

impl Migration {
    /// That it is refused.
    pub(crate) fn refused(&self) -> Error {
        let text = |layout: &VariableLayout| format!("{} ({} bytes)", layout.ty, layout.bytes);
        Error::GlobalChanged { name: self.name.clone(), old: text(&self.old), new: text(&self.new) }
    }
}

/// A variable of a module that is not where its earlier generations had it.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) global: GlobalId,
    /// Where it is; the new place is not known yet.
    pub(crate) migration: Migration,
}

impl Moved {
    /// A variable of `module` that was `before`.
    pub(crate) fn new(module: &LoadedModule, global: GlobalId, before: &Variable, old: External) -> Self {
        let (bytes, ty) = layout_of(&module.bitcode, global);
        let name = String::from_utf8_lossy(module.bitcode.symbol_name(GlobalRef::Global(global))).into_owned();
        let nowhere = ExecutorAddr::new(0);
        let address = old.address().unwrap_or(nowhere);
        let old = VariableLayout { address, bytes: before.bytes, ty: before.described.clone() };
        Self { global, migration: Migration { name, old, new: VariableLayout { address: nowhere, bytes, ty } } }
    }

    /// Whether a client can move it: not where each thread has its own, nor where another module or an initial value refers to
    /// it, which would go on using the old one.
    pub(crate) fn can_be_moved(&self, inner: &Inner, module: &LoadedModule) -> bool {
        let name = self.migration.name.as_bytes();
        let refers = |other: &LoadedModule| {
            let mut globals = other.bitcode.globals().iter();
            other.root != module.root && globals.any(|global| other.bitcode.str(global.symbol.name) == name)
        };
        let globals = HashSet::from([self.global]);
        let is_pointed_at = module
            .bitcode
            .globals()
            .iter()
            .filter_map(|global| global.initializer)
            .any(|value| constant_has(&|id| Some(module.bitcode.constant(id)), value, 0, &is_one_of(&globals)));
        let is_local = module.bitcode.global(self.global).symbol.linkage.is_local();
        module.bitcode.global(self.global).thread_local == ThreadLocal::None
            && !is_pointed_at
            && (is_local || !inner.modules().iter().any(|other| refers(other)))
    }
}

/// The size of a variable, and its type as IR.
pub(crate) fn layout_of(module: &Module, global: GlobalId) -> (u64, String) {
    let global = module.global(global);
    let ty = global.symbol.value_type;
    let writable = if global.is_constant { "constant " } else { "" };
    let bytes = module.layout_of(ty).map_or(0, |layout| layout.size);
    (bytes, format!("{writable}{}", crate::signature::describe(module, ty)))
}

fn is_one_of(globals: &HashSet<GlobalId>) -> impl Fn(&Constant<'_>) -> bool {
    |constant| matches!(constant, Constant::Global(GlobalRef::Global(global)) if globals.contains(global))
}

/// Whether the body of `function` names one of `globals`; so it is said to if it cannot be read.
pub(crate) fn names_any(module: &LoadedModule, function: FunctionId, globals: &HashSet<GlobalId>) -> bool {
    let mut body = Body::new();
    if module.bitcode.read_body(&module.bytes, function, &mut body).is_err() {
        return true;
    }
    let is_one = is_one_of(globals);
    let constant = |id: ConstantId| body.constant(&module.bitcode, ValueId(id.0));
    body.instructions().iter().any(|instruction| {
        body.operands(instruction).iter().enumerate().any(|(at, word)| {
            let value = ValueId(*word);
            is_value(instruction.opcode, at)
                && value != ValueId::NONE
                && body.is_constant(value)
                && constant_has(&constant, ConstantId(*word), 0, &is_one)
        })
    })
}
