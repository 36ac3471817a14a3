//! What the generations of one source have in common: which function, variable and constant is which.

use std::collections::HashMap;

use kiln_abi::GlobalId;
use kiln_bitcode::{GlobalRef, Linkage};
use kiln_dispatch::FunctionIndex;
use kiln_link::External;

use crate::digest::{Digest, Tables, is_matched_by_content};
use crate::migration::layout_of;
use crate::module::LoadedModule;

/// What is known of all generations of one source, by name or content. It holds on to none of them.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// Functions that no other module sees.
    functions: HashMap<Box<[u8]>, FunctionIndex>,
    /// The types of all functions.
    signatures: HashMap<FunctionIndex, Digest>,
    variables: HashMap<Box<[u8]>, Variable>,
    constants: HashMap<Digest, External>,
}

/// A variable of some generation.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) bound: External,
    /// What its type means.
    pub(crate) ty: Digest,
    /// Whether it may lie in memory that nobody can write.
    pub(crate) is_constant: bool,
    pub(crate) bytes: u64,
    /// Its type, as IR.
    pub(crate) described: String,
}

impl Lineage {
    /// Takes in what a generation has, its tables being `tables`.
    pub(crate) fn add(&mut self, module: &LoadedModule, tables: &Tables) {
        let bitcode = &module.bitcode;
        for function in &module.defined {
            let Some(index) = module.index_of(*function) else { continue };
            let symbol = &bitcode.function(*function).symbol;
            self.signatures.entry(index).or_insert_with(|| tables.ty(symbol.value_type));
            let name = bitcode.str(symbol.name);
            if symbol.linkage.is_local() && !name.is_empty() && self.functions.get(name) != Some(&index) {
                self.functions.insert(name.into(), index);
            }
        }
        for (id, global) in (0u32..).map(GlobalId).zip(bitcode.globals()) {
            let Some(bound) = module.globals.bound(id.0) else { continue };
            if global.is_declaration() || global.symbol.linkage == Linkage::AvailableExternally {
                continue;
            }
            if is_matched_by_content(bitcode, id) {
                if let Some(content) = tables.content(id) {
                    self.constants.entry(content).or_insert(bound);
                }
                continue;
            }
            let name = bitcode.symbol_name(GlobalRef::Global(id));
            let is_known = self.variables.get(name).is_some_and(|known| known.bound == bound);
            if name.is_empty() || is_known || bitcode.block_address_owner(id).is_some() {
                continue;
            }
            let (bytes, described) = layout_of(bitcode, id);
            let ty = tables.ty(global.symbol.value_type);
            let variable = Variable { bound, ty, is_constant: global.is_constant, bytes, described };
            self.variables.insert(name.into(), variable);
        }
    }

    /// The function that no other module sees, by its name.
    pub(crate) fn function(&self, name: &[u8]) -> Option<FunctionIndex> {
        self.functions.get(name).copied()
    }

    /// What the type of a function means.
    pub(crate) fn signature(&self, function: FunctionIndex) -> Option<Digest> {
        self.signatures.get(&function).copied()
    }

    /// A variable by its name.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&Variable> {
        self.variables.get(name)
    }

    /// A constant by what it holds.
    pub(crate) fn constant(&self, content: Digest) -> Option<External> {
        self.constants.get(&content).copied()
    }
}
