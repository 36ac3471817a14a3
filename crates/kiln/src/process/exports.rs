//! A shared object that gives the program's symbols to the loader.
//!
//! A library that the program loads (a Lua C module, a Python extension) looks for the program's own functions, and so do
//! `dlsym(RTLD_DEFAULT, …)` and a C++ library that must use the program's `operator new`. The loader only knows ELF
//! objects, hence this module writes one whose dynamic symbols are absolute (`SHN_ABS`, which glibc ≥ 2.28 does not
//! relocate) and point at stubs and data, and opens it with `RTLD_GLOBAL` before any library of the program is loaded.

use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::AsRawFd;

use kiln_abi::ExecutorAddr;

/// One symbol to export.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Export {
    /// Where its name starts among the strings.
    name: u32,
    length: u32,
    pub(crate) address: ExecutorAddr,
    pub(crate) size: u64,
    pub(crate) is_function: bool,
    pub(crate) is_weak: bool,
}

/// Symbols to export. Large programs have some hundred thousand: their names lie as the object's string table has them.
#[derive(Clone, Debug)]
pub(crate) struct Exports {
    strings: Vec<u8>,
    symbols: Vec<Export>,
}

impl Default for Exports {
    fn default() -> Self {
        let strings = [b"\0", SONAME, b"\0"].concat();
        Self { strings, symbols: Vec::new() }
    }
}

impl Exports {
    /// Makes room for `count` symbols with names of `bytes` in all.
    pub(crate) fn reserve(&mut self, count: usize, bytes: usize) {
        self.strings.reserve(bytes + count);
        self.symbols.reserve(count);
    }

    /// Adds a symbol, a function or not.
    pub(crate) fn push(&mut self, name: &[u8], address: ExecutorAddr, size: u64, is_function: bool, is_weak: bool) {
        let length = name.len() as u32;
        let export = Export { name: self.strings.len() as u32, length, address, size, is_function, is_weak };
        self.strings.extend_from_slice(name);
        self.strings.push(0);
        self.symbols.push(export);
    }

    fn name(&self, export: &Export) -> &[u8] {
        &self.strings[export.name as usize..][..export.length as usize]
    }

    /// The symbols with their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Export)> {
        self.symbols.iter().map(|export| (self.name(export), export))
    }
}

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PROGRAM_HEADERS: usize = 3;
const SYMBOL_BYTES: usize = 24;
const DYNAMIC_ENTRIES: usize = 7;
const SONAME: &[u8] = b"kiln-program-symbols";

/// The bytes of a shared object that defines `exports`.
pub(crate) fn image(exports: &Exports) -> Vec<u8> {
    let Exports { strings, symbols: exported } = exports;
    let soname = 1;
    let symbols_at = HEADER_BYTES + PROGRAM_HEADERS * PROGRAM_HEADER_BYTES;
    let count = exported.len() + 1;
    let mut symbols = Vec::with_capacity(count * SYMBOL_BYTES);
    symbols.resize(SYMBOL_BYTES, 0);
    for export in exported {
        let binding = if export.is_weak { object::elf::STB_WEAK } else { object::elf::STB_GLOBAL };
        let kind = if export.is_function { object::elf::STT_FUNC } else { object::elf::STT_OBJECT };
        symbols.extend_from_slice(&export.name.to_le_bytes());
        symbols.extend_from_slice(&[binding << 4 | kind, 0]);
        symbols.extend_from_slice(&object::elf::SHN_ABS.to_le_bytes());
        symbols.extend_from_slice(&export.address.get().to_le_bytes());
        symbols.extend_from_slice(&export.size.to_le_bytes());
    }
    let hash_at = symbols_at + symbols.len();
    let hash = hash_table(exports, count);
    let strings_at = hash_at + hash.len();
    let dynamic_at = (strings_at + strings.len()).next_multiple_of(8);
    let total = dynamic_at + DYNAMIC_ENTRIES * 16;

    let mut out = Vec::with_capacity(total);
    file_header(&mut out);
    // One private segment: the loader writes relocated addresses into `.dynamic`.
    program_header(&mut out, object::elf::PT_LOAD, object::elf::PF_R | object::elf::PF_W, 0, total, 4096);
    let dynamic_bytes = DYNAMIC_ENTRIES * 16;
    program_header(
        &mut out,
        object::elf::PT_DYNAMIC,
        object::elf::PF_R | object::elf::PF_W,
        dynamic_at,
        dynamic_bytes,
        8,
    );
    program_header(&mut out, object::elf::PT_GNU_STACK, object::elf::PF_R | object::elf::PF_W, 0, 0, 16);
    out.extend_from_slice(&symbols);
    out.extend_from_slice(&hash);
    out.extend_from_slice(strings);
    out.resize(dynamic_at, 0);
    for (tag, value) in [
        (object::elf::DT_SONAME, soname as usize),
        (object::elf::DT_HASH, hash_at),
        (object::elf::DT_SYMTAB, symbols_at),
        (object::elf::DT_STRTAB, strings_at),
        (object::elf::DT_STRSZ, strings.len()),
        (object::elf::DT_SYMENT, SYMBOL_BYTES),
        (object::elf::DT_NULL, 0),
    ] {
        out.extend_from_slice(&(tag as u64).to_le_bytes());
        out.extend_from_slice(&(value as u64).to_le_bytes());
    }
    out
}

/// Opens a shared object that defines `exports` in the global scope, for the rest of the process's life.
///
/// Where the process's limit on file sizes (`ulimit -f`) leaves no room for the object, nothing is published: the program
/// runs, only libraries do not find its symbols. Trying would raise SIGXFSZ.
///
/// # Errors
/// The loader's message, or the operating system's where the object cannot be written.
pub(crate) fn publish(exports: &Exports) -> Result<(), String> {
    let image = image(exports);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| limit < image.len() as u64) {
        return Ok(());
    }
    let fd = rustix::fs::memfd_create("kiln-program-symbols", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| error.to_string())?;
    let mut file = std::fs::File::from(fd);
    file.write_all(&image).map_err(|error| error.to_string())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    open_library(&path).map(drop)
}

/// `dlopen(path, RTLD_NOW | RTLD_GLOBAL)`; the library is never closed.
///
/// # Errors
/// What `dlerror` says.
pub(crate) fn open_library(path: &str) -> Result<*mut libc::c_void, String> {
    let Ok(path) = CString::new(path) else { return Err(format!("{path:?} holds a NUL byte")) };
    // SAFETY: `path` is a C string; constructors of the library run here as they would at the start of a native program.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: `dlerror` returns null or a C string that stays valid until the next loader call of this thread.
    let message = unsafe {
        let message = libc::dlerror();
        if message.is_null() { c"unknown loader error" } else { CStr::from_ptr(message) }
    };
    Err(message.to_string_lossy().into_owned())
}

/// The System V hash table (generic ABI "Hash Table") over symbols 1..count.
fn hash_table(exports: &Exports, count: usize) -> Vec<u8> {
    let buckets = count.next_power_of_two();
    let mut heads = vec![0u32; buckets];
    let mut chains = vec![0u32; count];
    for (index, (name, _)) in (1u32..).zip(exports.iter()) {
        let bucket = object::elf::hash(name) as usize % buckets;
        chains[index as usize] = heads[bucket];
        heads[bucket] = index;
    }
    let mut table = Vec::with_capacity((2 + heads.len() + chains.len()) * 4);
    let words = [&[buckets as u32, count as u32][..], &heads, &chains];
    words.into_iter().flatten().for_each(|word| table.extend_from_slice(&word.to_le_bytes()));
    table
}

fn file_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&object::elf::ET_DYN.to_le_bytes());
    out.extend_from_slice(&object::elf::EM_X86_64.to_le_bytes());
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(&0u64.to_le_bytes()); // e_entry
    out.extend_from_slice(&(HEADER_BYTES as u64).to_le_bytes()); // e_phoff
    out.extend_from_slice(&0u64.to_le_bytes()); // e_shoff
    out.extend_from_slice(&0u32.to_le_bytes()); // e_flags
    for half in [HEADER_BYTES, PROGRAM_HEADER_BYTES, PROGRAM_HEADERS, 64, 0, 0] {
        out.extend_from_slice(&(half as u16).to_le_bytes());
    }
}

fn program_header(out: &mut Vec<u8>, kind: u32, flags: u32, offset: usize, size: usize, align: u64) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    for word in [offset, offset, offset, size, size] {
        out.extend_from_slice(&(word as u64).to_le_bytes());
    }
    out.extend_from_slice(&align.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_finds_exported_symbols() {
        let mut exports = Exports::default();
        exports.reserve(1, 8);
        exports.push(b"kiln_exports_test_function", ExecutorAddr::new(0x1234_5670), 16, true, false);
        exports.push(b"kiln_exports_test_data", ExecutorAddr::new(0x1234_5670), 16, false, false);
        publish(&exports).unwrap();
        for name in [c"kiln_exports_test_function", c"kiln_exports_test_data"] {
            // SAFETY: a plain look-up of a C string.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            assert_eq!(found as u64, 0x1234_5670, "{name:?}");
        }
    }

    #[test]
    fn an_unloadable_library_gives_the_loaders_message() {
        assert!(open_library("/nonexistent/libkiln.so").unwrap_err().contains("cannot open shared object file"));
    }
}
