//! Constructors and destructors: which functions run, in which order.
//!
//! As GNU ld lays them out: numbered sections first, by number; then plain ones; equal numbers in the order of the
//! files. `.ctors.N` counts down where `.init_array.N` counts up (N is 65535 minus the priority), and the entries of
//! one `.ctors` section run last to first. `.fini_array` runs backwards as a whole.

use kiln_abi::ExecutorAddr;

use crate::elf::u64_at;
use crate::unit::{Role, Unit};

/// Sections without a number come after the greatest one.
const PLAIN: u32 = 65536;

/// A section that holds function addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array {
    priority: u32,
    pub(crate) unit: u32,
    pub(crate) section: u32,
    role: Role,
}

/// The functions to call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    pub(crate) preinit: Vec<ExecutorAddr>,
    pub(crate) init: Vec<ExecutorAddr>,
    pub(crate) fini: Vec<ExecutorAddr>,
}

/// The arrays of `units`, which are visited in `order`, sorted by priority.
pub(crate) fn arrays(units: &[Unit<'_>], order: &[u32]) -> Vec<Array> {
    let mut arrays = Vec::new();
    for &id in order {
        let unit = &units[id as usize];
        for (index, section) in (0u32..).zip(&unit.sections) {
            let array = !matches!(section.role, Role::Plain | Role::EhFrame | Role::Named);
            if array && section.class.is_live() && !section.class.is_tls() {
                let priority = priority(unit.section_name(index), section.role);
                arrays.push(Array { priority, unit: id, section: index, role: section.role });
            }
        }
    }
    arrays.sort_by_key(|array| array.priority);
    arrays
}

fn priority(name: &[u8], role: Role) -> u32 {
    let number = name.iter().rposition(|b| *b == b'.').map(|dot| &name[dot + 1..]);
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
    match (number, role) {
        (None, _) => PLAIN,
        (Some(n), Role::Ctors | Role::Dtors) => 65535 - u32::from(n),
        (Some(n), _) => u32::from(n),
    }
}

/// The functions in `arrays`; `bytes` gives a section's relocated bytes.
pub(crate) fn functions<'b>(arrays: &[Array], bytes: impl Fn(u32, u32) -> &'b [u8]) -> Functions {
    let mut functions = Functions::default();
    for array in arrays {
        let words = bytes(array.unit, array.section).chunks_exact(8).map(|word| u64_at(word, 0));
        // Old compilers bracket the list by -1 and 0.
        let addresses = words.filter(|w| *w != 0 && *w != u64::MAX).map(ExecutorAddr::new);
        match array.role {
            Role::PreinitArray => functions.preinit.extend(addresses),
            Role::InitArray => functions.init.extend(addresses),
            Role::FiniArray => functions.fini.extend(addresses),
            Role::Ctors => functions.init.extend(addresses.rev()),
            Role::Dtors => functions.fini.extend(addresses.rev()),
            _ => {}
        }
    }
    functions.fini.reverse();
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_4_priorities_are_numbers_and_ctors_count_down() {
        assert_eq!(priority(b".init_array", Role::InitArray), PLAIN);
        assert_eq!(priority(b".init_array.00099", Role::InitArray), 99);
        assert_eq!(priority(b".init_array.101", Role::InitArray), 101);
        assert_eq!(priority(b".ctors.65434", Role::Ctors), 101);
        assert_eq!(priority(b".ctors", Role::Ctors), PLAIN);
    }
}
