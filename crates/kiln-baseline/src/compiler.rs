//! The compiler's face: one function in, one link graph out.

use kiln_bitcode::{Body, FunctionId, Module};
use kiln_link::Graph;

use crate::analysis::Analysis;
use crate::lines::LineTable;
use crate::x86_64;

/// Compiles functions, one after the other, and keeps its memory between them.
#[derive(Debug, Default)]
pub struct Compiler {
    body: Body,
    analysis: Analysis,
    memory: x86_64::Memory,
    /// The last function's graph, for its memory.
    spare: Graph<'static>,
}

/// A compiled function.
#[derive(Debug)]
pub struct Code {
    /// One block of code under the name [`kiln_abi::symbol`] gives the function, its constants and jump tables, its
    /// unwind tables, and the globals that hold addresses of its blocks. Everything else is an undefined symbol:
    /// functions, globals and aliases of the module under their ids, the run-time library under its plain names.
    pub graph: Graph<'static>,
    /// Instructions of bitcode that it was made of.
    pub instructions: u32,
    /// Where its code comes from, if the bitcode says.
    pub lines: Option<LineTable>,
}

/// Why a function was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It needs something that this compiler leaves to the optimizer.
    #[error("the first tier does not do {what}")]
    Unsupported {
        /// What it is: an instruction, a type, an intrinsic.
        what: Unsupported,
    },
    /// Its body is damaged.
    #[error("its body cannot be read: {message}")]
    Body {
        /// What the reader says.
        message: String,
    },
}

/// Something that the compiler leaves to the optimizer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// An instruction, or a form of it.
    #[error("{0}")]
    Instruction(&'static str),
    /// Values of a type.
    #[error("values of type {0}")]
    Type(&'static str),
    /// An intrinsic function.
    #[error("`{0}`")]
    Intrinsic(String),
    /// A constant.
    #[error("{0} as an operand")]
    Constant(&'static str),
    /// A property of the function or of a call.
    #[error("{0}")]
    Attribute(&'static str),
}

impl Compiler {
    /// A compiler without memory of its own yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes code back that nobody needs any more: the next function is compiled into its memory.
    pub fn reuse(&mut self, code: Code) {
        self.spare = code.graph;
        self.spare.clear();
    }

    /// Bytes that are in use for the function compiled last: as the body's arrays, those of the analysis, those of the
    /// generator, and as the code that was made.
    #[must_use]
    pub fn bytes_in_use(&self) -> [usize; 4] {
        [self.body.bytes_in_use(), self.analysis.bytes(), self.memory.bytes(), self.memory.code_bytes()]
    }

    /// Compiles `function`, whose body lies in `bytes`, the file that `module` was read from.
    ///
    /// # Errors
    ///
    /// [`CompileError::Unsupported`] if the optimizer should do it.
    pub fn compile(&mut self, module: &Module, bytes: &[u8], function: FunctionId) -> Result<Code, CompileError> {
        self.body.skip_locations();
        self.body.keep_metadata(false);
        match self.attempt(module, bytes, function) {
            Err(CompileError::Unsupported { what: Unsupported::Instruction(x86_64::PREDICATES) }) => {
                let found = self.memory.known.predicates.find(module, bytes, function);
                found.map_err(|error| CompileError::Body { message: error.to_string() })?;
                self.body.keep_metadata(true);
                self.attempt(module, bytes, function)
            }
            done => done,
        }
    }

    fn attempt(&mut self, module: &Module, bytes: &[u8], function: FunctionId) -> Result<Code, CompileError> {
        module
            .read_body(bytes, function, &mut self.body)
            .map_err(|error| CompileError::Body { message: error.to_string() })?;
        let Self { body, analysis, memory, .. } = self;
        x86_64::enter(module, memory);
        analysis.run(module, body, |body, call, operands| x86_64::call_kind(module, body, memory, call, operands));
        let graph = x86_64::compile(module, &self.body, &self.analysis, &mut self.memory, &mut self.spare)
            .map_err(|what| CompileError::Unsupported { what: *what })?;
        let lines = self.memory.lines();
        Ok(Code { graph, instructions: self.body.instructions().len() as u32, lines })
    }
}
