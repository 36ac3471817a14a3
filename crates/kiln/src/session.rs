//! The names of a session: what the program defines, what the host provides, what the libraries have.

use std::collections::HashMap;
use std::ffi::CString;

use kiln_abi::ExecutorAddr;
use kiln_link::{External, Scope};

use crate::process::host;
use crate::process::libraries::{Libraries, LibrarySymbol};

/// Every name that a reference may bind to, searched in the order of a native process: the program's own definitions,
/// then what a native link would take from start-up files, then the libraries.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Definitions of earlier loads and of the client.
    program: HashMap<Box<[u8]>, External>,
    /// Answers of host and libraries so far: each name is asked for by many functions.
    outside: HashMap<Box<[u8]>, Option<External>>,
    libraries: Libraries,
    dso_handle: Option<ExecutorAddr>,
}

impl Session {
    /// Adds a definition of the program; an earlier one of the same name stays.
    pub(crate) fn define(&mut self, name: &[u8], definition: External) {
        self.program.entry(name.into()).or_insert(definition);
    }

    /// Forgets the program's definition of `name`; whether there was one.
    pub(crate) fn undefine(&mut self, name: &[u8]) -> bool {
        self.program.remove(name).is_some()
    }

    /// The program's own definition of `name`.
    pub(crate) fn definition(&self, name: &[u8]) -> Option<External> {
        self.program.get(name).copied()
    }

    /// The name of the program's function at `address`.
    pub(crate) fn name_of(&self, address: ExecutorAddr) -> Option<String> {
        let found = self.program.iter().find(|(_, definition)| definition.address() == Some(address));
        found.map(|(name, _)| String::from_utf8_lossy(name).into_owned())
    }

    /// Sets the cell whose address is `__dso_handle`.
    pub(crate) fn set_dso_handle(&mut self, cell: ExecutorAddr) {
        self.dso_handle = Some(cell);
    }

    /// Looks at the process's libraries anew, after some were loaded.
    pub(crate) fn refresh_libraries(&mut self) {
        self.libraries = Libraries::snapshot();
        self.outside.clear();
    }

    /// The process's libraries.
    pub(crate) fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// What `name` means to code that is linked now.
    pub(crate) fn find(&mut self, name: &[u8]) -> Option<External> {
        self.definition(name).or_else(|| self.find_outside(name))
    }

    /// What `name` means outside the program.
    pub(crate) fn find_outside(&mut self, name: &[u8]) -> Option<External> {
        if let Some(known) = self.outside.get(name) {
            return *known;
        }
        let found = match name {
            b"__dso_handle" => self.dso_handle.map(External::Data),
            _ => host::lookup(name).map(External::Function).or_else(|| host::lookup_data(name).map(External::Data)),
        };
        let found = found.or_else(|| self.libraries.lookup(name).map(external)).or_else(|| versioned(name));
        self.outside.insert(name.into(), found);
        found
    }
}

impl Scope for Session {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        self.find(name)
    }
}

/// A library's definition as the linker takes it.
pub(crate) fn external(symbol: LibrarySymbol) -> External {
    match symbol {
        LibrarySymbol::Function(address) => External::Function(address),
        LibrarySymbol::Data { address, .. } => External::Data(address),
        LibrarySymbol::Tls { module, offset } => External::DynamicTls { module, offset },
        LibrarySymbol::Ifunc(resolver) => External::Function(choose(resolver)),
    }
}

/// Calls an ifunc's resolver. Those of glibc on x86-64 take no arguments and only look at CPU features.
fn choose(resolver: ExecutorAddr) -> ExecutorAddr {
    // SAFETY: the loader's tables name this address as a resolver (STT_GNU_IFUNC), and the loader itself has called it, or would,
    // in the same way.
    let chosen = unsafe { std::mem::transmute::<*const (), extern "C" fn() -> u64>(resolver.get() as *const ())() };
    ExecutorAddr::new(chosen)
}

/// The address of `name@VERSION`, which only the loader can tell apart from other versions.
fn versioned(name: &[u8]) -> Option<External> {
    let at = name.iter().position(|byte| *byte == b'@')?;
    let version = name[at..].iter().position(|byte| *byte != b'@')? + at;
    let (plain, version) = (CString::new(&name[..at]).ok()?, CString::new(&name[version..]).ok()?);
    // SAFETY: a plain look-up of two C strings.
    let address = unsafe { libc::dlvsym(libc::RTLD_DEFAULT, plain.as_ptr(), version.as_ptr()) };
    (!address.is_null()).then(|| External::Function(ExecutorAddr::new(address as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let mut session = Session::default();
        session.refresh_libraries();
        session
    }

    #[test]
    fn the_program_comes_before_the_host_and_the_host_before_libraries() {
        let mut session = session();
        let libc = session.find(b"puts");
        assert!(matches!(libc, Some(External::Function(_))));
        let own = External::Function(ExecutorAddr::new(0x1000));
        session.define(b"puts", own);
        assert_eq!(session.find(b"puts"), Some(own));
        assert_eq!(session.find_outside(b"puts"), libc);
        assert!(session.find(b"atexit").is_some(), "libc_nonshared");
        assert_ne!(session.find(b"sigaction"), session.libraries().lookup(b"sigaction").map(external));
    }

    #[test]
    fn memcpy_is_what_dlsym_says() {
        // SAFETY: a plain look-up of a C string.
        let expected = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"memcpy".as_ptr()) } as u64;
        assert_eq!(session().find(b"memcpy"), Some(External::Function(ExecutorAddr::new(expected))));
    }

    #[test]
    fn an_old_version_is_not_the_default_one() {
        let mut session = session();
        let old = session.find(b"memcpy@GLIBC_2.2.5");
        assert!(old.is_some());
        assert_ne!(old, session.find(b"memcpy"));
    }
}
