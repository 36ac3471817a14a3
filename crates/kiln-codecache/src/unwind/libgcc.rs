//! `_Unwind_Find_FDE` in libgcc's place.
//!
//! libgcc_s calls the function through its own PLT, so a definition in the executable is found first (gcc's
//! `libgcc/unwind-dw2-fde-dip.c` has the original; `struct dwarf_eh_bases` is in `unwind-dw2-fde.h`). The executable
//! must export it: linkers do that on their own for a symbol that a shared library of the link defines too.

use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use kiln_abi::ExecutorAddr;

/// What the unwinder wants to know besides the entry.
#[repr(C)]
struct DwarfEhBases {
    /// Base of `DW_EH_PE_textrel`: none.
    tbase: *mut c_void,
    /// Base of `DW_EH_PE_datarel`: none.
    dbase: *mut c_void,
    /// First address of the function.
    func: *mut c_void,
}

type FindFde = unsafe extern "C" fn(*mut c_void, *mut DwarfEhBases) -> *const c_void;

/// libgcc's own function.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Runs before `main`: a throw must find the way on without dlsym, which takes the loader's lock.
#[used]
#[unsafe(link_section = ".init_array")]
static RESOLVE_AT_START: extern "C" fn() = resolve_next;

extern "C" fn resolve_next() {
    const NAME: *const c_char = c"_Unwind_Find_FDE".as_ptr();
    // SAFETY: a look-up of a NUL-terminated name; it runs before `main` or while a code cache is made, where libc's
    // locks may be taken.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, NAME) };
    // Relaxed: the code behind the address was there before the process had threads.
    NEXT.store(next, Ordering::Relaxed);
}

/// Refers to everything in this module, so that no linker leaves it out of the executable.
pub(super) fn install() {
    std::hint::black_box((&RESOLVE_AT_START, _Unwind_Find_FDE as FindFde));
    // Relaxed: as in `resolve_next`.
    if NEXT.load(Ordering::Relaxed).is_null() {
        resolve_next();
    }
}

/// The entry for `pc`, from our index or from libgcc.
///
/// # Safety
///
/// As libgcc's: `bases` points to a writable structure.
// Loom's atomics panic outside of its models, so there unwinding is left to libgcc.
#[cfg_attr(not(loom), unsafe(no_mangle))]
#[cfg_attr(loom, expect(non_snake_case, reason = "the name that libgcc calls"))]
unsafe extern "C" fn _Unwind_Find_FDE(pc: *mut c_void, bases: *mut DwarfEhBases) -> *const c_void {
    if let Some(entry) = super::find_fde(ExecutorAddr::new(pc.addr() as u64)) {
        let func = std::ptr::with_exposed_provenance_mut(entry.pc_begin.get() as usize);
        let null = std::ptr::null_mut();
        // SAFETY: the unwinder passes a structure of its own.
        unsafe { bases.write(DwarfEhBases { tbase: null, dbase: null, func }) };
        return std::ptr::with_exposed_provenance(entry.fde.get() as usize);
    }
    // Relaxed: as in `resolve_next`.
    let next = NEXT.load(Ordering::Relaxed);
    if next.is_null() {
        return std::ptr::null();
    }
    // SAFETY: the address of libgcc's function of this name and signature; arguments are passed on as they came.
    unsafe { std::mem::transmute::<*mut c_void, FindFde>(next)(pc, bases) }
}
