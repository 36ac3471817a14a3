//! What debuggers and profilers are told about code, besides unwind tables.

use kiln_abi::{ExecutorAddr, FdeEntry, FunctionId};
use kiln_baseline::LineTable;
use kiln_codecache::{Line, Records, Symbol};

use crate::debugger::{self, PlacedFunction};
use crate::engine::Inner;
use crate::module::{Bytes, LoadedModule};
use crate::resolve::MadeBodies;
use crate::source::{SourceLines, SourceRow};

/// What is told about one piece of code.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// For debuggers.
    pub(crate) object: Option<Vec<u8>>,
    /// For profilers.
    pub(crate) functions: Vec<ShownFunction>,
}

/// A function as profilers see it.
#[derive(Debug)]
pub(crate) struct ShownFunction {
    pub(crate) name: Vec<u8>,
    pub(crate) address: ExecutorAddr,
    pub(crate) bytes: u64,
    /// Where its code comes from: address, file and line.
    pub(crate) lines: Vec<(ExecutorAddr, Vec<u8>, u32)>,
}

impl Shown {
    /// Calls `with` with all that is to be made known of code that has these unwind entries.
    pub(crate) fn with_records<T>(&self, unwind: &[FdeEntry], with: impl FnOnce(Records<'_>) -> T) -> T {
        let lines: Vec<Vec<Line<'_>>> = self.functions.iter().map(ShownFunction::lines).collect();
        let functions = self.functions.iter().zip(&lines);
        let symbols: Vec<_> =
            functions.map(|(f, lines)| Symbol { name: &f.name, address: f.address, bytes: f.bytes, lines }).collect();
        with(Records::new().unwind(unwind).debug_object(self.object.as_deref()).symbols(&symbols))
    }
}

impl ShownFunction {
    fn lines(&self) -> Vec<Line<'_>> {
        self.lines.iter().map(|(address, file, line)| Line { address: *address, file, line: *line }).collect()
    }
}

impl Inner {
    /// What is told about functions that the first tier made.
    pub(crate) fn show_baseline(&self, module: &LoadedModule, made: &MadeBodies) -> Shown {
        let mut shown = Shown::default();
        if !self.options.debugger && self.options.perf.is_none() {
            return shown;
        }
        let functions: Vec<_> = made
            .functions
            .iter()
            .map(|(function, address, bytes)| PlacedFunction {
                name: module.function_name(*function).into_bytes(),
                address: *address,
                bytes: *bytes,
                lines: made.table(*function).and_then(|table| module.source_lines(*function, table)),
            })
            .collect();
        if self.options.debugger {
            shown.object = debugger::object_of(&functions);
        }
        if self.options.perf.is_some() {
            shown.functions.extend(functions.into_iter().map(|PlacedFunction { name, address, bytes, lines }| {
                let rows = lines.map_or_else(Vec::new, |lines| lines.rows);
                let line = |row: &SourceRow<'_>| (address + u64::from(row.offset), row.file.path(), row.line);
                ShownFunction { name, address, bytes, lines: rows.iter().map(line).collect() }
            }));
        }
        shown
    }
}

impl LoadedModule {
    /// Where code of the first tier comes from.
    pub(crate) fn source_lines(&self, function: FunctionId, table: &LineTable) -> Option<SourceLines<'_>> {
        self.source_lines_by(function, table, true)
    }

    /// The same for who must not wait for another thread.
    pub(crate) fn try_source_lines(&self, function: FunctionId, table: &LineTable) -> Option<SourceLines<'_>> {
        self.source_lines_by(function, table, false)
    }

    /// `keep`: what is read is remembered, where the bytes stay for ever.
    fn source_lines_by(&self, function: FunctionId, table: &LineTable, keep: bool) -> Option<SourceLines<'_>> {
        if let Bytes::Static(bytes) = self.bytes {
            let known = match self.debug_info.get() {
                None if keep => {
                    Some(self.debug_info.get_or_init(|| kiln_bitcode::DebugInfo::read(&self.bitcode, bytes).ok()))
                }
                known => known,
            };
            if let Some(known) = known {
                return SourceLines::of(known.as_ref()?, &self.bitcode, bytes, function, table);
            }
        }
        let made = kiln_bitcode::DebugInfo::read(&self.bitcode, &self.bytes).ok()?;
        SourceLines::of(&made, &self.bitcode, &self.bytes, function, table)
    }
}
