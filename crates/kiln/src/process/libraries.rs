//! The symbols of the shared libraries in this process, read from their dynamic symbol tables.
//!
//! `dlsym` cannot serve the engine: it takes the loader's lock and may call `malloc`, so it must not be used when a first
//! call interrupts either; and it tells neither functions from data nor where a thread-local variable lies. The
//! tables themselves never change once a library is loaded, so this reader walks them without a lock: generic ABI
//! "Dynamic Section", GNU hash table as in glibc's `elf/dl-lookup.c`.
//!
//! A snapshot holds the libraries that are loaded before the program starts. They are never closed: the engine
//! keeps a handle of what it opened, and the program cannot close what Kiln itself is linked with.

use std::ffi::{CStr, c_int, c_void};

use kiln_abi::ExecutorAddr;

/// One definition in a shared library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LibrarySymbol {
    Function(ExecutorAddr),
    /// A function chosen by a resolver; the address is the resolver's.
    Ifunc(ExecutorAddr),
    Data {
        address: ExecutorAddr,
        size: u64,
    },
    Tls {
        module: u64,
        offset: u64,
    },
}

/// The libraries of the process in search order.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    libraries: Vec<Library>,
}

#[derive(Debug)]
struct Library {
    path: String,
    base: u64,
    tls_module: u64,
    segments: Vec<Segment>,
    tables: Tables,
}

/// A readable, unwritable piece of a loaded library.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u64,
    bytes: &'static [u8],
}

/// Addresses of the tables that `.dynamic` names, 0 where absent.
#[derive(Clone, Copy, Debug, Default)]
struct Tables {
    symbols: u64,
    strings: u64,
    gnu_hash: u64,
    versions: u64,
    relocations: u64,
    relocations_bytes: u64,
    plt_relocations: u64,
    plt_relocations_bytes: u64,
}

/// A word of a library that holds the address of a named symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) name: &'static [u8],
    pub(crate) place: ExecutorAddr,
}

const RELOCATION_BYTES: u64 = 24;
const SYMBOL_BYTES: usize = 24;
const VERSION_HIDDEN: u16 = 0x8000;

impl Libraries {
    /// The libraries that are loaded now, the executable itself and the kernel's vDSO left out.
    pub(crate) fn snapshot() -> Self {
        let mut found: Vec<Library> = Vec::new();
        // SAFETY: `collect` matches the callback's signature and treats `data` as the vector we pass, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut found).cast()) };
        found.retain(|library| !library.path.is_empty() && !library.path.starts_with("linux-vdso"));
        Self { libraries: found }
    }

    /// The default version of `name` in the first library that defines it.
    pub(crate) fn lookup(&self, name: &[u8]) -> Option<LibrarySymbol> {
        let hash = gnu_hash(name);
        self.libraries.iter().find_map(|library| library.lookup(name, hash))
    }

    /// Every word that the loader bound to a symbol by name, in every library.
    pub(crate) fn references(&self) -> impl Iterator<Item = Reference> {
        self.libraries.iter().flat_map(Library::references)
    }

    /// The default version of `name` in the library at `path`.
    pub(crate) fn lookup_in(&self, path: &str, name: &[u8]) -> Option<LibrarySymbol> {
        let hash = gnu_hash(name);
        self.libraries.iter().filter(|library| library.path == path).find_map(|library| library.lookup(name, hash))
    }
}

/// The hash of DT_GNU_HASH tables.
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
}

impl Library {
    fn lookup(&self, name: &[u8], hash: u32) -> Option<LibrarySymbol> {
        let table = self.tables.gnu_hash;
        if table == 0 {
            return None;
        }
        let buckets = self.u32(table)?;
        let first = self.u32(table + 4)?;
        let bloom_words = u64::from(self.u32(table + 8)?);
        let bloom_shift = self.u32(table + 12)?;
        if buckets == 0 || bloom_words == 0 {
            return None;
        }
        let bloom = self.u64(table + 16 + (u64::from(hash) / 64 % bloom_words) * 8)?;
        let mask = 1u64 << (hash % 64) | 1u64 << (hash.wrapping_shr(bloom_shift) % 64);
        if bloom & mask != mask {
            return None;
        }
        let bucket_base = table + 16 + bloom_words * 8;
        let chain_base = bucket_base + u64::from(buckets) * 4;
        let mut index = self.u32(bucket_base + u64::from(hash % buckets) * 4)?;
        if index < first {
            return None;
        }
        loop {
            let entry = self.u32(chain_base + u64::from(index - first) * 4)?;
            if entry | 1 == hash | 1
                && let Some(symbol) = self.symbol(index, name)
            {
                return Some(symbol);
            }
            if entry & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }

    /// Symbol `index` if it is the default version of `name` and defined.
    fn symbol(&self, index: u32, name: &[u8]) -> Option<LibrarySymbol> {
        let raw = self.bytes(self.tables.symbols + u64::from(index) * SYMBOL_BYTES as u64, SYMBOL_BYTES)?;
        let name_offset = u32::from_le_bytes(raw[..4].try_into().ok()?);
        let section = u16::from_le_bytes(raw[6..8].try_into().ok()?);
        if section == 0 || !self.string_is(u64::from(name_offset), name) {
            return None;
        }
        if self.tables.versions != 0 {
            let version = self.bytes(self.tables.versions + u64::from(index) * 2, 2)?;
            if u16::from_le_bytes([version[0], version[1]]) & VERSION_HIDDEN != 0 {
                return None;
            }
        }
        let value = u64::from_le_bytes(raw[8..16].try_into().ok()?);
        let size = u64::from_le_bytes(raw[16..24].try_into().ok()?);
        let base = if section == object::elf::SHN_ABS { 0 } else { self.base };
        let address = ExecutorAddr::new(base.wrapping_add(value));
        Some(match raw[4] & 15 {
            object::elf::STT_TLS => LibrarySymbol::Tls { module: self.tls_module, offset: value },
            object::elf::STT_FUNC => LibrarySymbol::Function(address),
            object::elf::STT_GNU_IFUNC => LibrarySymbol::Ifunc(address),
            _ => LibrarySymbol::Data { address, size },
        })
    }

    fn references(&self) -> impl Iterator<Item = Reference> {
        let tables = self.tables;
        [(tables.relocations, tables.relocations_bytes), (tables.plt_relocations, tables.plt_relocations_bytes)]
            .into_iter()
            .flat_map(|(start, bytes)| (0..bytes / RELOCATION_BYTES).map(move |index| start + index * RELOCATION_BYTES))
            .filter_map(|record| self.reference(record))
    }

    fn reference(&self, record: u64) -> Option<Reference> {
        let info = self.u64(record + 8)?;
        let addend = self.u64(record + 16)?;
        let binds_by_name = matches!(
            info as u32,
            object::elf::R_X86_64_64 | object::elf::R_X86_64_GLOB_DAT | object::elf::R_X86_64_JUMP_SLOT
        );
        if !binds_by_name || addend != 0 {
            return None;
        }
        let symbol = self.bytes(self.tables.symbols + (info >> 32) * SYMBOL_BYTES as u64, SYMBOL_BYTES)?;
        let name = self.string(u64::from(u32::from_le_bytes(symbol[..4].try_into().ok()?)))?;
        let place = ExecutorAddr::new(self.base.wrapping_add(self.u64(record)?));
        (!name.is_empty()).then_some(Reference { name, place })
    }

    fn string(&self, offset: u64) -> Option<&'static [u8]> {
        let start = self.tables.strings + offset;
        let segment = self.segments.iter().find(|s| (s.start..s.start + s.bytes.len() as u64).contains(&start))?;
        let rest = &segment.bytes[(start - segment.start) as usize..];
        Some(&rest[..rest.iter().position(|byte| *byte == 0)?])
    }

    fn string_is(&self, offset: u64, expected: &[u8]) -> bool {
        self.bytes(self.tables.strings + offset, expected.len() + 1)
            .is_some_and(|bytes| bytes[expected.len()] == 0 && &bytes[..expected.len()] == expected)
    }

    fn u32(&self, address: u64) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(address, 4)?.try_into().ok()?))
    }

    fn u64(&self, address: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(address, 8)?.try_into().ok()?))
    }

    fn bytes(&self, address: u64, len: usize) -> Option<&'static [u8]> {
        self.segments.iter().find_map(|segment| {
            let offset = usize::try_from(address.checked_sub(segment.start)?).ok()?;
            segment.bytes.get(offset..offset.checked_add(len)?)
        })
    }
}

/// Adds one loaded object to the `Vec<Library>` behind `data`.
unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid record for the duration of the call.
    let info = unsafe { &*info };
    // SAFETY: `snapshot` passes its own vector, to which nobody else has access during the call.
    let found = unsafe { &mut *data.cast::<Vec<Library>>() };
    // SAFETY: the loader keeps `dlpi_phnum` program headers at `dlpi_phdr`.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let path = if info.dlpi_name.is_null() {
        String::new()
    } else {
        // SAFETY: a non-null `dlpi_name` is a C string.
        unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
    };
    let base = info.dlpi_addr;
    let mut library =
        Library { path, base, tls_module: info.dlpi_tls_modid as u64, segments: Vec::new(), tables: Tables::default() };
    let mut dynamic = None;
    for header in headers {
        let start = base.wrapping_add(header.p_vaddr);
        match header.p_type {
            libc::PT_LOAD if header.p_flags & libc::PF_R != 0 && header.p_flags & libc::PF_W == 0 => {
                // SAFETY: the loader mapped this segment readable and read-only; libraries in a snapshot stay loaded.
                let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) };
                library.segments.push(Segment { start, bytes });
            }
            libc::PT_DYNAMIC => dynamic = Some((start, header.p_memsz as usize / 16)),
            _ => {}
        }
    }
    if let Some((start, entries)) = dynamic {
        for index in 0..entries {
            // SAFETY: PT_DYNAMIC spans `entries` pairs of words; the loader wrote them before it published the object.
            let [tag, value] = unsafe { (start as *const [u64; 2]).add(index).read_volatile() };
            match tag as i64 {
                2 => library.tables.plt_relocations_bytes = value,
                8 => library.tables.relocations_bytes = value,
                _ => {}
            }
            // glibc relocates these in place, other loaders do not.
            let address = if value < base { base.wrapping_add(value) } else { value };
            match tag as i64 {
                0 => break,
                5 => library.tables.strings = address,
                6 => library.tables.symbols = address,
                7 => library.tables.relocations = address,
                23 => library.tables.plt_relocations = address,
                0x6fff_fef5 => library.tables.gnu_hash = address,
                0x6fff_fff0 => library.tables.versions = address,
                _ => {}
            }
        }
    }
    found.push(library);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dlsym(name: &CStr) -> u64 {
        // SAFETY: a plain look-up of a C string.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) as u64 }
    }

    #[test]
    fn functions_and_data_agree_with_dlsym() {
        let libraries = Libraries::snapshot();
        for name in [c"printf", c"malloc", c"qsort", c"sigaction"] {
            let found = libraries.lookup(name.to_bytes());
            assert_eq!(found, Some(LibrarySymbol::Function(ExecutorAddr::new(dlsym(name)))), "{name:?}");
        }
        let Some(LibrarySymbol::Data { address, size }) = libraries.lookup(b"stdout") else { panic!("stdout") };
        assert_eq!((address.get(), size), (dlsym(c"stdout"), 8));
    }

    #[test]
    fn absent_names_and_compatibility_versions_are_not_found() {
        let libraries = Libraries::snapshot();
        assert_eq!(libraries.lookup(b"kiln_no_such_symbol"), None);
        // `__malloc_hook` is defined in glibc >= 2.34 under a hidden compatibility version only.
        assert_eq!(libraries.lookup(b"__malloc_hook"), None);
    }

    #[test]
    fn ifuncs_are_told_apart() {
        assert!(matches!(Libraries::snapshot().lookup(b"memcpy"), Some(LibrarySymbol::Ifunc(_))));
    }
}
