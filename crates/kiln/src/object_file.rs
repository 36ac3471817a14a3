//! A bitcode module as an ELF object, made by the first tier alone.

mod sections;
mod symbols;
mod writer;

use std::path::Path;

use kiln_abi::symbol::Id;
use kiln_abi::{ExecutorAddr, FunctionId};
use kiln_baseline::Compiler;
use kiln_baseline::data::{self, Stubs};
use kiln_bitcode::{AliasId, Linkage};

use crate::error::Error;
use writer::Writer;

/// A compiled module.
#[derive(Debug)]
#[non_exhaustive]
pub struct CompiledObject {
    /// The ELF object.
    pub bytes: Vec<u8>,
    /// How many functions it holds.
    pub functions: u64,
    /// Of how many IR instructions.
    pub instructions: u64,
    /// Functions that it refers to but does not hold, because the first tier leaves them to the optimizer, with the reason.
    /// Whoever defines them needs names that the module may have kept to itself: those are visible in this case.
    pub left: Vec<(String, String)>,
}

/// Compiles the bitcode module in `path` to an ELF object, without LLVM. Calls and data become relocations for any linker.
///
/// # Errors
///
/// Whatever is wrong with the file, and what an object cannot express.
pub fn compile_object(path: &Path) -> Result<CompiledObject, Error> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let refuse = |message: String| Error::Object { name: name.clone(), message };
    match kiln_bitcode::identify(&bytes) {
        kiln_bitcode::Input::Bitcode { newer: true, producer, .. } => {
            return Err(Error::NewerProducer { name, producer });
        }
        kiln_bitcode::Input::Bitcode { current: true, .. } => {}
        _ => return Err(refuse("not bitcode that LLVM 22 wrote".to_owned())),
    }
    let modules = kiln_bitcode::parse(&bytes).map_err(|source| Error::Bitcode { name: name.clone(), source })?;
    let [module] = &modules[..] else { return Err(refuse("it holds several modules".to_owned())) };
    if !module.module_asm().is_empty() {
        return Err(refuse("it holds assembly at module level".to_owned()));
    }

    let mut compiler = Compiler::new();
    let (mut graphs, mut left, mut instructions) = (Vec::new(), Vec::new(), 0);
    let mut lines = Vec::new();
    for (id, function) in (0u32..).map(FunctionId).zip(module.functions()) {
        if function.is_declaration() || function.symbol.linkage == Linkage::AvailableExternally {
            continue;
        }
        match compiler.compile(module, &bytes, id) {
            Ok(code) => {
                instructions += u64::from(code.instructions);
                lines.extend(code.lines.map(|table| (id, table)));
                graphs.push((id, code.graph));
            }
            Err(error) => {
                let name = symbols::name_of(module, Id::Function(id));
                left.push((String::from_utf8_lossy(&name).into_owned(), error.to_string()));
            }
        }
    }
    let images = data::Images::default();
    let data =
        data::module_data(module, &Nowhere, &images).map_err(|source| Error::Data { name: name.clone(), source })?;
    let mut writer = Writer::new(module, !left.is_empty());
    writer.add_data(&data).map_err(|error| refuse(error.to_string()))?;
    for (function, graph) in &graphs {
        writer.add_function(*function, graph).map_err(|error| refuse(error.to_string()))?;
    }
    writer.add_aliases();
    if !lines.is_empty() {
        writer.add_lines(&bytes, &lines).map_err(refuse)?;
    }
    let bytes = writer.finish().map_err(|error| refuse(error.to_string()))?;
    Ok(CompiledObject { bytes, functions: graphs.len() as u64, instructions, left })
}

/// Stubs that nobody asks for: a graph says of every symbol which function or ifunc it is.
struct Nowhere;

impl Stubs for Nowhere {
    fn function(&self, _: FunctionId) -> ExecutorAddr {
        ExecutorAddr::new(0)
    }

    fn ifunc(&self, _: AliasId) -> ExecutorAddr {
        ExecutorAddr::new(0)
    }
}
