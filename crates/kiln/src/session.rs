//! The names of a session: what the program defines, what the host provides, what the libraries have.

use std::collections::HashMap;
use std::ffi::CString;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use kiln_abi::ExecutorAddr;
use kiln_link::{External, Scope, name_hash};

use crate::process::host;
use crate::process::libraries::{Libraries, LibrarySymbol};

/// What names mean. A program may define some hundred thousand: they lie one behind the other.
#[derive(Debug, Default)]
struct Definitions {
    names: Vec<u8>,
    /// How many bytes of `names` are of names that were removed.
    unused: usize,
    table: HashTable<Definition>,
}

#[derive(Debug)]
struct Definition {
    start: usize,
    len: u32,
    hash: u32,
    meaning: External,
}

impl Definition {
    fn name<'n>(&self, names: &'n [u8]) -> &'n [u8] {
        &names[self.start..][..self.len as usize]
    }

    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Definitions {
    /// Makes room for `count` names of `bytes` in all.
    fn reserve(&mut self, count: usize, bytes: usize) {
        self.names.reserve(bytes);
        self.table.reserve(count, |known| Definition::spread(known.hash));
    }

    /// Adds a name, unless it is there.
    fn insert(&mut self, name: &[u8], meaning: External) {
        let hash = name_hash(name);
        let names = &self.names;
        let same = |known: &Definition| known.hash == hash && known.name(names) == name;
        let entry = self.table.entry(Definition::spread(hash), same, |known| Definition::spread(known.hash));
        if let Entry::Vacant(place) = entry {
            place.insert(Definition { start: self.names.len(), len: name.len() as u32, hash, meaning });
            self.names.extend_from_slice(name);
        }
    }

    fn get(&self, name: &[u8]) -> Option<External> {
        let hash = name_hash(name);
        let same = |known: &Definition| known.hash == hash && known.name(&self.names) == name;
        self.table.find(Definition::spread(hash), same).map(|known| known.meaning)
    }

    /// Removes a name; whether it was there.
    fn remove(&mut self, name: &[u8]) -> bool {
        let hash = name_hash(name);
        let names = &self.names;
        let same = |known: &Definition| known.hash == hash && known.name(names) == name;
        let Ok(found) = self.table.find_entry(Definition::spread(hash), same) else { return false };
        let (removed, _) = found.remove();
        self.unused += removed.len as usize;
        if self.unused > (self.names.len() / 2).max(4096) {
            let mut names = Vec::with_capacity(self.names.len() - self.unused);
            for known in &mut self.table {
                let start = names.len();
                names.extend_from_slice(known.name(&self.names));
                known.start = start;
            }
            (self.names, self.unused) = (names, 0);
        }
        true
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], External)> {
        self.table.iter().map(|known| (known.name(&self.names), known.meaning))
    }
}

/// Every name that a reference may bind to, searched in the order of a native process: the program's own definitions,
/// then what a native link would take from start-up files, then the libraries.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Definitions of earlier loads and of the client.
    program: Definitions,
    /// Answers of host and libraries so far: each name is asked for by many functions.
    outside: HashMap<Box<[u8]>, Option<External>>,
    libraries: Libraries,
    dso_handle: Option<ExecutorAddr>,
}

impl Session {
    /// Adds a definition of the program; an earlier one of the same name stays.
    pub(crate) fn define(&mut self, name: &[u8], definition: External) {
        self.program.insert(name, definition);
    }

    /// Makes room for `count` definitions with names of `bytes` in all.
    pub(crate) fn reserve(&mut self, count: usize, bytes: usize) {
        self.program.reserve(count, bytes);
    }

    /// Forgets the program's definition of `name`; whether there was one.
    pub(crate) fn undefine(&mut self, name: &[u8]) -> bool {
        self.program.remove(name)
    }

    /// The program's own definition of `name`.
    pub(crate) fn definition(&self, name: &[u8]) -> Option<External> {
        self.program.get(name)
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
    fn definitions_are_found_until_they_are_forgotten() {
        let mut session = Session::default();
        let address = |n: u64| External::Data(ExecutorAddr::new(n));
        session.reserve(10, 10);
        let names: Vec<_> = (0..5000u64).map(|n| format!("name{n}")).collect();
        (0..).zip(&names).for_each(|(n, name)| session.define(name.as_bytes(), address(n)));
        session.define(b"name7", address(1));
        assert!((0..).zip(&names).all(|(n, name)| session.definition(name.as_bytes()) == Some(address(n))));
        assert_eq!(session.name_of(ExecutorAddr::new(4000)).as_deref(), Some("name4000"));
        assert!(session.undefine(b"name7") && !session.undefine(b"name7") && session.definition(b"name7").is_none());
        session.define(b"name7", address(9));
        assert_eq!((session.definition(b"name7"), session.definition(b"name8")), (Some(address(9)), Some(address(8))));
        assert_eq!(session.definition(b"nobody"), None);
    }

    #[test]
    fn names_that_come_and_go_take_no_memory() {
        let mut session = Session::default();
        let address = |n: u64| External::Data(ExecutorAddr::new(n));
        session.define(b"stays", address(5));
        for n in 0..10_000 {
            let name = format!("a name of some length {n}");
            session.define(name.as_bytes(), address(n));
            assert!(session.undefine(name.as_bytes()) && session.definition(b"stays") == Some(address(5)));
        }
        assert!(session.program.names.len() < 20_000);
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
