//! Kiln's own reader of LLVM bitcode.
//!
//! [`parse`] reads the tables of every module in a file: types, attributes, globals, functions, aliases, comdats, and
//! the constants that initialisers are made of. Function bodies and metadata are located and skipped, so that loading
//! costs what the tables cost, whatever the bodies hold. The result is immutable and shared by threads without a lock.
//! [`Module::read_body`] decodes one body into arrays that are used again for the next.
//!
//! The caller checks with [`identify`] what a file is: this reader takes bitcode that LLVM 22 wrote (clang's, rustc's)
//! and refuses every other producer by name, since older bitcode needs LLVM's upgrades and newer bitcode may mean
//! something else.
//!
//! The input is not trusted. Whatever it holds, reading ends with a module or with an [`Error`] that names the bit and
//! the block; memory stays within a small multiple of the input's size, and trees of types and constants are bounded
//! in depth, so that recursion over them is safe.
//!
//! Of metadata, [`DebugInfo`] reads what leads from an instruction to a line of the source, when somebody asks for it.
//!
//! Not here: verification of what LLVM's verifier checks, upgrades, and all other metadata.

#![forbid(unsafe_code)]

mod ahead;
mod attributes;
mod bitstream;
mod body;
mod body_reader;
mod body_rows;
mod classes;
mod codes;
mod constant;
mod constants;
mod cursor;
mod debug_info;
mod error;
mod file;
mod global;
mod instructions;
mod layout;
mod metadata;
mod module;
mod opcode;
mod operands;
mod packed;
mod reader;
mod rows;
mod shape;
mod symbol_forms;
mod types;
mod usual;
mod writer;

pub use attributes::{
    Attribute, AttributeGroup, AttributeKind, AttributeList, AttributeListId, AttributePlace, IntRange,
};
pub use body::{BlockId, Body, Call, Location, TailKind, ValueId};
pub use body_rows::body_rows;
pub use constant::{BinaryOp, CastOp, Constant, ConstantId, Gep, GlobalRef, InlineAsm};
pub use debug_info::{DebugInfo, Frame, FunctionDebugInfo, SourceFile, Subprogram};
pub use error::{Error, ErrorKind};
pub use file::{Input, identify, parse, parse_static};
pub use global::{
    Alias, AliasId, AliasKind, CodeModel, Comdat, ComdatId, ComdatSelection, DllStorage, Function, Global, Linkage,
    Name, Sanitizer, Symbol, TextId, ThreadLocal, UnnamedAddr, Visibility,
};
pub use kiln_abi::{FunctionId, GlobalId};
pub use layout::{DataLayout, Mangling, PointerLayout, TypeLayout};
pub use metadata::MetadataStrings;
pub use module::{MetadataKind, Module};
pub use opcode::{Opcode, Ordering};
pub use operands::{MIXED, for_values};
pub use packed::Instruction;
pub use rows::rows;
pub use types::{Type, TypeId};
pub use writer::{NotWritten, write_function};
