//! Source lines of code that the first tier made.
//!
//! All that is kept for a compiled function is a small table of which debug location holds where. What those mean is
//! read from the bitcode when somebody asks: a crash report, a debugger, a profiler.

use std::collections::HashMap;

use kiln_abi::FunctionId;
use kiln_baseline::LineTable;
use kiln_bitcode::{Body, DebugInfo, Module, SourceFile, Subprogram};

/// Where the code of one function comes from.
#[derive(Clone, Debug)]
pub(crate) struct SourceLines<'a> {
    pub(crate) function: Subprogram<'a>,
    /// In ascending order of offsets, the first one 0.
    pub(crate) rows: Vec<SourceRow<'a>>,
}

/// A piece of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceRow<'a> {
    /// Where it begins; it ends where the next one does.
    pub(crate) offset: u32,
    pub(crate) file: SourceFile<'a>,
    /// 0 for code that belongs to no line.
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl<'a> SourceLines<'a> {
    /// What `table` says of the code of `function`, whose body is in `bytes`; `None` where the bitcode's debug info makes no
    /// sense.
    pub(crate) fn of(
        debug: &DebugInfo<'a>,
        module: &Module,
        bytes: &'a [u8],
        function: FunctionId,
        table: &LineTable,
    ) -> Option<Self> {
        let mut body = Body::new();
        module.read_body(bytes, function, &mut body).ok()?;
        let info = debug.function(module, bytes, function).ok()?;
        // All locations of a function end in itself, through whatever calls were inlined.
        let function = info.frames(body.locations().first()?).ok()?.last()?.function;
        let opening = if function.scope_line != 0 { function.scope_line } else { function.line };
        let mut rows = vec![SourceRow { offset: 0, file: function.file, line: opening, column: 0 }];
        let mut files: HashMap<u32, SourceFile<'a>> = HashMap::new();
        for (offset, location) in table.rows(&body) {
            let location = location.and_then(|index| body.locations().get(index as usize));
            let row = match location {
                Some(location) => {
                    let file = match files.get(&location.scope) {
                        Some(file) => *file,
                        None => {
                            let frame = info.frames(location).ok().and_then(|frames| frames.first().copied());
                            let file = frame.map(|frame| frame.file).unwrap_or_default();
                            files.insert(location.scope, file);
                            file
                        }
                    };
                    SourceRow { offset, file, line: location.line, column: location.column }
                }
                None => SourceRow { offset, file: function.file, line: 0, column: 0 },
            };
            match rows.last_mut() {
                Some(last) if last.offset == offset => *last = row,
                _ => rows.push(row),
            }
        }
        Some(Self { function, rows })
    }

    /// The row of the code at `offset`.
    pub(crate) fn row_at(&self, offset: u64) -> Option<&SourceRow<'a>> {
        let after = self.rows.partition_point(|row| u64::from(row.offset) <= offset);
        self.rows.get(after.checked_sub(1)?)
    }
}

impl SourceRow<'_> {
    /// `file:line`, if it has a line.
    pub(crate) fn place(&self) -> Option<String> {
        (self.line != 0 && !self.file.name.is_empty())
            .then(|| format!("{}:{}", String::from_utf8_lossy(self.file.name), self.line))
    }
}
