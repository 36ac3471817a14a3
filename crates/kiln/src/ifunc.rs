//! Functions that are chosen when the program is loaded.

use kiln_abi::ExecutorAddr;

use crate::engine::Inner;
use crate::error::Error;
use crate::module::LoadedModule;

/// Calls a resolver of the program and stores its choice.
///
/// Resolvers run after all relocations and before any constructor (psABI, "Dynamic Linking", `R_X86_64_IRELATIVE`).
pub(crate) fn fill_slot(resolver: ExecutorAddr, slot: ExecutorAddr) {
    let chosen = choose(resolver);
    // SAFETY: the linker made the slot: an aligned word of writable memory of a link that has just been placed.
    unsafe { (slot.get() as *mut u64).write_volatile(chosen.get()) };
}

/// Has the stub of every ifunc of `module` lead to the function that its resolver chooses.
pub(crate) fn install_module(inner: &Inner, module: &LoadedModule) -> Result<(), Error> {
    for ifunc in &module.ifuncs {
        let (Some(index), Some(resolver)) = (module.index_of_ifunc(*ifunc), module.ifunc_resolver(*ifunc)) else {
            continue;
        };
        let Some(resolver) = resolver.address() else { continue };
        inner.table().install(&[(index, choose(resolver))]).map_err(Error::Stubs)?;
    }
    Ok(())
}

fn choose(resolver: ExecutorAddr) -> ExecutorAddr {
    // SAFETY: the program declares the function at `resolver` as an ifunc's resolver, which takes no arguments on x86-64 and
    // returns a function's address; it may be called once everything is relocated.
    let chosen = unsafe { std::mem::transmute::<*const (), extern "C" fn() -> u64>(resolver.get() as *const ())() };
    ExecutorAddr::new(chosen)
}
