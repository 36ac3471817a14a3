//! Where code comes from, in the words of its source: what the scopes of debug locations mean.
//!
//! Loading a module only notes where its metadata lies. Whoever wants a line pays for looking through that block once, and
//! for the few nodes that a location leads to (llvm/IR/DebugInfoMetadata.h; fields as LLVM 22's writer orders them).

use std::fmt;

use kiln_abi::FunctionId;

use crate::bitstream::Record;
use crate::body::Location;
use crate::codes::BlockKind;
use crate::error::{Error, ErrorKind};
use crate::metadata::{Nodes, nodes_of_function, nodes_of_module};
use crate::module::Module;

const LOCATION: u32 = 7;
const FILE: u32 = 16;
const COMPILE_UNIT: u32 = 20;
const SUBPROGRAM: u32 = 21;
const LEXICAL_BLOCK: u32 = 22;
const LEXICAL_BLOCK_FILE: u32 = 23;

/// Longest chain of scopes, and of calls that were inlined; real ones have some dozens.
const CHAIN_MAX: usize = 4096;

/// The metadata of a module.
#[derive(Clone)]
pub struct DebugInfo<'a> {
    nodes: Option<Nodes<'a>>,
}

/// The same with what one function brings along.
pub struct FunctionDebugInfo<'d, 'a> {
    module: &'d DebugInfo<'a>,
    own: Vec<Nodes<'a>>,
}

/// A file as the compiler named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SourceFile<'a> {
    /// Its name, which may have directories in it.
    pub name: &'a [u8],
    /// What the name is relative to; may be empty.
    pub directory: &'a [u8],
}

impl SourceFile<'_> {
    /// Where it is: its name behind its directory, unless it needs none.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        if self.directory.is_empty() || self.name.first() == Some(&b'/') {
            return self.name.to_vec();
        }
        [self.directory, b"/", self.name].concat()
    }
}

/// A function of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subprogram<'a> {
    /// Its number in the metadata: the same for the same function.
    pub id: u32,
    /// Its name.
    pub name: &'a [u8],
    /// What the linker calls it; empty if that is its name.
    pub linkage_name: &'a [u8],
    /// Where it is defined.
    pub file: SourceFile<'a>,
    /// The line of its definition, or 0.
    pub line: u32,
    /// The line of its opening brace, or 0.
    pub scope_line: u32,
    /// The language (`DW_LANG`), or 0.
    pub language: u32,
}

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The function it lies in.
    pub function: Subprogram<'a>,
    /// The file it lies in.
    pub file: SourceFile<'a>,
    /// Its line, or 0.
    pub line: u32,
    /// Its column, or 0.
    pub column: u32,
}

impl fmt::Debug for DebugInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").finish_non_exhaustive()
    }
}

impl<'a> DebugInfo<'a> {
    /// Looks through the metadata of `module`; `bytes` are those it was read from.
    ///
    /// # Errors
    ///
    /// Any departure from the format of blocks and records.
    pub fn read(module: &Module, bytes: &'a [u8]) -> Result<Self, Error> {
        Ok(Self { nodes: nodes_of_module(module, bytes)? })
    }

    /// What the locations of `function` mean.
    ///
    /// # Errors
    ///
    /// Any departure from the format of blocks and records.
    pub fn function(
        &self,
        module: &Module,
        bytes: &'a [u8],
        function: FunctionId,
    ) -> Result<FunctionDebugInfo<'_, 'a>, Error> {
        let first = self.nodes.as_ref().map_or(0, Nodes::end);
        Ok(FunctionDebugInfo { module: self, own: nodes_of_function(module, bytes, function, first)? })
    }
}

/// A node that a location can lead to.
enum Node<'a> {
    Location { line: u32, column: u32, scope: u32, inlined_at: u32 },
    Block { scope: u32, file: u32 },
    Subprogram { subprogram: Subprogram<'a>, file: u32, unit: u32 },
    Other,
}

impl<'a> FunctionDebugInfo<'_, 'a> {
    /// Where `location` is, the innermost inlined call first. Empty where the metadata does not say.
    ///
    /// # Errors
    ///
    /// Nodes that are damaged or lead in a circle.
    pub fn frames(&self, location: &Location) -> Result<Vec<Frame<'a>>, Error> {
        let (mut frames, mut location) = (Vec::new(), *location);
        loop {
            let Some((function, file)) = self.scope(location.scope)? else { return Ok(frames) };
            frames.push(Frame { function, file, line: location.line, column: location.column });
            let Node::Location { line, column, scope, inlined_at } = self.node(location.inlined_at)? else {
                return Ok(frames);
            };
            if frames.len() == CHAIN_MAX {
                return Err(self.circle());
            }
            location = Location { line, column, scope, inlined_at, ..location };
        }
    }

    /// The function and the file that a scope lies in.
    fn scope(&self, mut scope: u32) -> Result<Option<(Subprogram<'a>, SourceFile<'a>)>, Error> {
        let mut innermost = None;
        for _ in 0..CHAIN_MAX {
            match self.node(scope)? {
                Node::Block { scope: outer, file } => {
                    innermost = innermost.or((file != 0).then_some(file));
                    scope = outer;
                }
                Node::Subprogram { mut subprogram, file, unit } => {
                    subprogram.file = self.file(file)?;
                    subprogram.language = self.language(unit)?;
                    let file = innermost.map_or(Ok(subprogram.file), |file| self.file(file))?;
                    return Ok(Some((subprogram, file)));
                }
                Node::Location { .. } | Node::Other => return Ok(None),
            }
        }
        Err(self.circle())
    }

    fn circle(&self) -> Error {
        Error::new(
            ErrorKind::Limit { what: "scopes of a debug location", limit: CHAIN_MAX as u64 },
            0,
            BlockKind::METADATA,
        )
    }

    fn all(&self) -> impl Iterator<Item = &Nodes<'a>> {
        self.module.nodes.iter().chain(&self.own)
    }

    /// The string whose number plus one is `id`; empty for 0.
    fn string(&self, id: u64) -> &'a [u8] {
        let id = id.checked_sub(1).and_then(|id| u32::try_from(id).ok());
        id.and_then(|id| self.all().find_map(|nodes| nodes.string(id))).unwrap_or_default()
    }

    /// The record of the node whose number plus one is `id`.
    fn record(&self, id: u32) -> Result<Option<Record<'a>>, Error> {
        let Some(id) = id.checked_sub(1) else { return Ok(None) };
        let mut record = Record::default();
        for nodes in self.all() {
            if nodes.read(id, &mut record)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn node(&self, id: u32) -> Result<Node<'a>, Error> {
        let Some(record) = self.record(id)? else { return Ok(Node::Other) };
        let values = record.values();
        let number = |at: usize| values.get(at).map_or(0, |value| u32::try_from(*value).unwrap_or(u32::MAX));
        Ok(match record.code {
            // The scope is the only reference that is never missing, and so the only one that counts from 0.
            LOCATION => Node::Location {
                line: number(1),
                column: number(2),
                scope: number(3).saturating_add(1),
                inlined_at: number(4),
            },
            LEXICAL_BLOCK | LEXICAL_BLOCK_FILE => Node::Block { scope: number(1), file: number(2) },
            SUBPROGRAM => Node::Subprogram {
                subprogram: Subprogram {
                    id: id - 1,
                    name: self.string(u64::from(number(2))),
                    linkage_name: self.string(u64::from(number(3))),
                    file: SourceFile::default(),
                    line: number(5),
                    scope_line: number(7),
                    language: 0,
                },
                file: number(4),
                unit: number(12),
            },
            _ => Node::Other,
        })
    }

    fn file(&self, id: u32) -> Result<SourceFile<'a>, Error> {
        let Some(record) = self.record(id)?.filter(|record| record.code == FILE) else {
            return Ok(SourceFile::default());
        };
        let string = |at: usize| record.values().get(at).map_or(&[][..], |id| self.string(*id));
        Ok(SourceFile { name: string(1), directory: string(2) })
    }

    /// The language of a compile unit.
    fn language(&self, id: u32) -> Result<u32, Error> {
        let record = self.record(id)?.filter(|record| record.code == COMPILE_UNIT);
        let language = record.and_then(|record| record.values().get(1).copied());
        // Newer names of languages have a version besides.
        Ok(language.and_then(|language| u16::try_from(language).ok()).map_or(0, u32::from))
    }
}
