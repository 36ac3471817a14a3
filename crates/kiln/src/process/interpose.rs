//! Giving libraries that are loaded already the program's own definitions.
//!
//! In a native process the executable comes first in every look-up, so a program with a `malloc` of its own has
//! libc use it too. Here libc was bound before the program was known. The words that the loader filled in are still
//! there, each with the name it was filled in for, so they are filled in again.

use std::collections::HashMap;

use kiln_abi::ExecutorAddr;

use super::libraries::Libraries;

const PAGE_BYTES: u64 = 4096;

/// Binds every reference of the loaded libraries to a name in `definitions` to the program's definition. Returns how
/// many words changed.
pub(crate) fn rebind(libraries: &Libraries, definitions: &HashMap<&[u8], ExecutorAddr>) -> usize {
    let mut changed = 0;
    for reference in libraries.references() {
        let Some(target) = definitions.get(reference.name) else { continue };
        let page = reference.place.get() & !(PAGE_BYTES - 1);
        // SAFETY: the word lies in a loaded library's writable data or in the part that the loader made read-only after
        // it had filled it in (RELRO); the loader wrote it as one aligned word, and so do we. Other threads that read
        // it see either function.
        unsafe {
            let word = reference.place.get() as *mut u64;
            if word.read_volatile() == target.get() {
                continue;
            }
            let read_only = !is_writable(page);
            if read_only && libc::mprotect(page as *mut _, PAGE_BYTES as usize, libc::PROT_READ | libc::PROT_WRITE) != 0
            {
                continue;
            }
            word.write_volatile(target.get());
            if read_only {
                libc::mprotect(page as *mut _, PAGE_BYTES as usize, libc::PROT_READ);
            }
        }
        changed += 1;
    }
    changed
}

/// Whether the page at `page` is mapped writable, from `/proc/self/maps`.
fn is_writable(page: u64) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().any(|line| {
        let Some((range, rest)) = line.split_once(' ') else { return false };
        let Some((start, end)) = range.split_once('-') else { return false };
        let parse = |text| u64::from_str_radix(text, 16).unwrap_or(0);
        (parse(start)..parse(end)).contains(&page) && rest.as_bytes().get(1) == Some(&b'w')
    })
}
