//! Which function and source line an address of compiled code belongs to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_abi::{ExecutorAddr, FunctionId};
use kiln_baseline::LineTable;
use kiln_remote::ModuleId;

use crate::module::LoadedModule;

/// One compiled body.
#[derive(Clone, Debug)]
struct Body {
    end: u64,
    module: ModuleId,
    function: FunctionId,
    lines: Option<Lines>,
}

/// What knows the source lines of a body.
#[derive(Clone, Debug)]
pub(crate) enum Lines {
    /// The object it came in, which has line tables.
    Object(Arc<[u8]>),
    /// The first tier's table.
    Table(LineTable),
}

/// All compiled bodies by address.
#[derive(Debug, Default)]
pub(crate) struct Code {
    bodies: Mutex<Bodies>,
}

#[derive(Debug, Default)]
pub(crate) struct Bodies {
    by_address: BTreeMap<u64, Body>,
}

/// What is known about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) module: ModuleId,
    pub(crate) function: FunctionId,
    pub(crate) body: ExecutorAddr,
}

impl Code {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What lies at `address`. Gives up where the table is being changed: a crash reporter must not wait.
    pub(crate) fn try_find(&self, address: ExecutorAddr) -> Option<Found> {
        self.bodies.try_lock().ok()?.find(address)
    }

    /// The source line of `address`, as `file:line`.
    pub(crate) fn try_line(&self, module: &LoadedModule, found: Found, address: ExecutorAddr) -> Option<String> {
        let bodies = self.bodies.try_lock().ok()?;
        let offset = address.get() - found.body.get();
        match bodies.by_address.get(&found.body.get())?.lines.as_ref()? {
            Lines::Object(object) => crate::lines::line_of(object, found.function, offset),
            Lines::Table(table) => module.try_source_lines(found.function, table)?.row_at(offset)?.place(),
        }
    }
}

impl Bodies {
    /// Adds a body of `bytes` bytes.
    pub(crate) fn add(
        &mut self,
        body: ExecutorAddr,
        bytes: u64,
        module: ModuleId,
        function: FunctionId,
        lines: Option<Lines>,
    ) {
        self.by_address.insert(body.get(), Body { end: body.get() + bytes, module, function, lines });
    }

    /// Forgets the body at `body`, which is about to be freed.
    pub(crate) fn remove(&mut self, body: ExecutorAddr) {
        self.by_address.remove(&body.get());
    }

    fn find(&self, address: ExecutorAddr) -> Option<Found> {
        let (start, body) = self.by_address.range(..=address.get()).next_back()?;
        (address.get() < body.end).then_some(Found {
            module: body.module,
            function: body.function,
            body: ExecutorAddr::new(*start),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_to_the_body_they_lie_in() {
        let code = Code::default();
        code.lock().add(ExecutorAddr::new(0x100), 0x10, ModuleId(0), FunctionId(7), None);
        code.lock().add(ExecutorAddr::new(0x200), 0x10, ModuleId(0), FunctionId(8), None);
        let function = |address| code.try_find(ExecutorAddr::new(address)).map(|found| found.function);
        assert_eq!(function(0x10f), Some(FunctionId(7)));
        assert_eq!(function(0x110), None);
        assert_eq!(function(0x200), Some(FunctionId(8)));
        assert_eq!(function(0xff), None);
    }
}
