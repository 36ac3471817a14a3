//! What a client keeps, gives up, and closes to others.

use std::sync::atomic::{AtomicU64, Ordering};

use kiln_abi::ExecutorAddr;
use kiln_dispatch::{Claim, Pin, RetiredVersion};

use crate::engine::{Engine, Inner};
use crate::error::Error;
use crate::process::signals::Blocked;
use crate::reclaim::frame_of;

/// Keeps one version of a function: its code, its constants and unwind entries, and what was linked together with it stay
/// where they are until the handle is dropped, whatever becomes current. What it calls are stubs or bodies that calls are
/// led away from when they go, so it can be called for as long as the handle lives.
pub struct CodeHandle {
    inner: &'static Inner,
    /// Taken when the handle is dropped.
    pin: Option<Pin>,
    version: RetiredVersion,
}

impl CodeHandle {
    /// Where the version's code begins: not the function's address, which is its stub and stays the same for all versions.
    #[must_use]
    pub fn address(&self) -> ExecutorAddr {
        self.version.start
    }

    /// How many bytes of code it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.version.bytes
    }

    /// The version's number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.version.number
    }
}

impl std::fmt::Debug for CodeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeHandle").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Drop for CodeHandle {
    fn drop(&mut self) {
        let _blocked = Blocked::all();
        if let Some(pin) = self.pin.take() {
            self.inner.versions().unpin(pin);
        }
        self.inner.owners.leave(self.inner);
    }
}

/// Who keeps a session's memory: the engine and the handles. The last one gives it back.
#[derive(Debug, Default)]
pub(crate) struct Owners(AtomicU64);

impl Owners {
    /// Set once the engine is closed; the rest counts handles.
    const CLOSED: u64 = 1 << 63;

    fn enter(&self) {
        // Relaxed: who enters holds the engine, or another handle.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self, inner: &Inner) {
        // AcqRel: whatever the others did with the session comes before its memory goes.
        if self.0.fetch_sub(1, Ordering::AcqRel) == Self::CLOSED | 1 {
            // SAFETY: the engine was closed, whose caller promised that nothing uses the session once the last handle is gone.
            unsafe { inner.cache.release() };
        }
    }

    /// The engine goes; whether it was the last. A second time is none.
    fn close(&self) -> bool {
        self.0.fetch_or(Self::CLOSED, Ordering::AcqRel) == 0
    }
}

impl Engine {
    /// Keeps the current version of the function `name`, which is compiled if it has none.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for names without a stub; [`Error::Replace`] where the function cannot be compiled.
    pub fn hold(&self, name: &str) -> Result<CodeHandle, Error> {
        let _blocked = Blocked::all();
        let inner = self.inner();
        let function = inner.stub_named(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })?;
        loop {
            if let Some((pin, version)) = inner.versions().pin_current(function) {
                inner.owners.enter();
                return Ok(CodeHandle { inner, pin: Some(pin), version });
            }
            match inner.table().claim_or_wait(function) {
                Claim::Mine => {
                    let epoch = inner.versions().epoch();
                    if let Err(failure) = inner.compile(function)
                        && inner.versions().fail(function, epoch)
                    {
                        return Err(Error::Replace(failure.to_string()));
                    }
                }
                // Its body belongs to somebody else: a library's function, by way of an ifunc.
                Claim::Installed(_) if inner.versions().current(function).is_none() => {
                    return Err(Error::NotFound { name: name.to_owned() });
                }
                Claim::Failed => return Err(Error::Replace(format!("{name} could not be compiled before"))),
                Claim::Installed(_) | Claim::Other => {}
            }
        }
    }

    /// Ends the session. All code that nobody holds is taken away and freed, as far as no thread is in it. What held versions
    /// call is there, and is compiled again where it is called, until the last [`CodeHandle`] is dropped: then, or now if there
    /// is none, all memory of code and data is given back. Address space and the table of functions stay.
    ///
    /// # Safety
    ///
    /// From that moment on no thread runs code of the session or has a frame of it on its stack, and nobody calls its functions,
    /// reads its variables or looks at it through this engine's copies: no library that was opened for it, no handler that
    /// the program registered, no thread that it started.
    pub unsafe fn close(self) {
        let entry = 0u8;
        let _blocked = Blocked::all();
        let inner = self.inner();
        inner.start().destructors.clear();
        let versions = inner.versions();
        versions.evict_cold(u64::MAX);
        let mut functions = versions.next_in_turn(usize::MAX);
        functions.retain(|function| inner.can_be_made_again(*function));
        versions.invalidate(&functions);
        inner.reclaim_all(Some(frame_of(&entry)));
        if inner.owners.close() {
            // SAFETY: the contract of this function; there is no handle.
            unsafe { inner.cache.release() };
        }
    }

    /// Takes names out of the session: look-ups and later loads do not find them any more, and may define them anew, as
    /// other functions with other addresses. Code that refers to the functions goes on calling them. How many there were.
    pub fn remove(&self, names: &[&str]) -> usize {
        let _blocked = Blocked::all();
        let mut session = self.inner().session();
        names.iter().filter(|name| session.undefine(name.as_bytes())).count()
    }

    /// From now on no compile of another function looks into these: they are called, never inlined, and nothing is concluded
    /// from their bodies, so that replacing them leaves all other code as it is and running activations meet it at their next
    /// call. Code that has looked into one already is compiled again.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for names that have no IR; nothing has changed then.
    pub fn never_inline(&self, names: &[&str]) -> Result<(), Error> {
        let entry = 0u8;
        let _blocked = Blocked::all();
        let inner = self.inner();
        let mut functions = Vec::new();
        for name in names {
            let not_found = || Error::NotFound { name: (*name).to_owned() };
            let index = inner.stub_named(name).ok_or_else(not_found)?;
            let (module, function) = inner.function_at(index).ok_or_else(not_found)?;
            functions.push((index, module.id, function));
        }
        for (_, module, function) in &functions {
            inner.history().close(*module, *function);
        }
        let indices: Vec<_> = functions.iter().map(|(index, ..)| *index).collect();
        inner.versions().invalidate_dependents(&indices);
        inner.reclaim_if_much(Some(frame_of(&entry)));
        Ok(())
    }
}
