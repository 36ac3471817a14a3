//! Thread-local data that does not fit the static pool: blocks made per thread at first use.
//!
//! The pool in Kiln's own `.tdata` is small, because every thread's stack pays for it. What does not fit is reached
//! through `__tls_get_addr` (psABI, "Thread-Local Storage"; Drepper, "ELF Handling For Thread-Local Storage", §3.4), and
//! the linker calls the one here, which tells the engine's modules from the loader's by their number.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::{OnceLock, PoisonError, RwLock};

use kiln_abi::ExecutorAddr;

use super::signals::Blocked;

/// The first number of an engine's module. The loader counts its own from 1 and never gets here.
pub(crate) const FIRST_MODULE: u64 = 1 << 32;

/// What `__tls_get_addr` is given: a pair in the global offset table.
#[repr(C)]
pub(super) struct TlsIndex {
    module: u64,
    offset: u64,
}

#[derive(Clone, Copy)]
struct Template {
    layout: Layout,
    image: &'static [u8],
}

/// One thread's blocks, indexed by module number minus [`FIRST_MODULE`]; null where not made yet.
type Blocks = Vec<*mut u8>;

static TEMPLATES: RwLock<Vec<Template>> = RwLock::new(Vec::new());
static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();

thread_local! {
    // Without a destructor of Rust's, whose registration would call libc's malloc; the key below frees it.
    static BLOCKS: Cell<*mut Blocks> = const { Cell::new(std::ptr::null_mut()) };
}

unsafe extern "C" {
    fn __tls_get_addr(index: *const TlsIndex) -> *mut c_void;
}

/// Makes a module of `size` zero bytes; returns its number.
pub(crate) fn add_module(size: u64, align: u64) -> u64 {
    let size = usize::try_from(size).expect("the linker bounds a TLS image by the reservation");
    let layout = Layout::from_size_align(size.max(1), align as usize).expect("alignments are powers of two");
    KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is writable, and `free_blocks` takes what `make_block` stores under the key.
        unsafe { libc::pthread_key_create(&raw mut key, Some(free_blocks)) };
        key
    });
    let mut templates = TEMPLATES.write().unwrap_or_else(PoisonError::into_inner);
    templates.push(Template { layout, image: &[] });
    FIRST_MODULE + templates.len() as u64 - 1
}

/// Sets the first bytes of a module, before any thread uses it.
pub(crate) fn set_image(module: u64, image: &[u8]) {
    let mut templates = TEMPLATES.write().unwrap_or_else(PoisonError::into_inner);
    let template = &mut templates[(module - FIRST_MODULE) as usize];
    assert!(image.len() <= template.layout.size(), "an image of {} bytes for {:?}", image.len(), template.layout);
    template.image = image.to_vec().leak();
}

/// The address of [`tls_get_addr`], for the linker.
pub(crate) fn resolver() -> ExecutorAddr {
    ExecutorAddr::new(tls_get_addr as *const () as u64)
}

/// Where the variable that a pair names lies in this thread.
pub(super) unsafe extern "C" fn tls_get_addr(index: *const TlsIndex) -> *mut c_void {
    // SAFETY: compiled code passes the address of a pair that the linker filled in.
    let TlsIndex { module, offset } = unsafe { index.read() };
    if module < FIRST_MODULE {
        // SAFETY: the pair names a module of the loader.
        return unsafe { __tls_get_addr(index) };
    }
    let number = (module - FIRST_MODULE) as usize;
    let blocks = BLOCKS.get();
    let block = if blocks.is_null() {
        None
    } else {
        // SAFETY: the list belongs to this thread, and only `make_block`, with signals blocked, changes it.
        unsafe { &*blocks }.get(number).copied()
    };
    let base = block.filter(|block| !block.is_null()).unwrap_or_else(|| make_block(number));
    base.wrapping_add(offset as usize).cast()
}

/// Makes this thread's block of module `number`.
#[cold]
fn make_block(number: usize) -> *mut u8 {
    let _blocked = Blocked::all();
    let template = TEMPLATES.read().unwrap_or_else(PoisonError::into_inner)[number];
    let mut list = BLOCKS.get();
    if list.is_null() {
        list = Box::into_raw(Box::default());
        BLOCKS.set(list);
        if let Some(key) = KEY.get() {
            // SAFETY: the key was created with a destructor for this very type.
            unsafe { libc::pthread_setspecific(*key, list.cast()) };
        }
    }
    // SAFETY: the list belongs to this thread and signals are blocked, so nothing else looks at it now.
    let list = unsafe { &mut *list };
    if list.len() <= number {
        list.resize(number + 1, std::ptr::null_mut());
    }
    if list[number].is_null() {
        // SAFETY: the layout has a size of at least 1.
        let block = unsafe { alloc_zeroed(template.layout) };
        if block.is_null() {
            handle_alloc_error(template.layout);
        }
        // SAFETY: the image is at most as long as the block (`set_image` checks).
        unsafe { block.copy_from_nonoverlapping(template.image.as_ptr(), template.image.len()) };
        list[number] = block;
    }
    list[number]
}

/// Frees what a thread that ends had.
unsafe extern "C" fn free_blocks(list: *mut c_void) {
    let _blocked = Blocked::all();
    BLOCKS.set(std::ptr::null_mut());
    // SAFETY: `make_block` stored a boxed list under the key, and the thread runs no code of the program any more.
    let list = unsafe { Box::from_raw(list.cast::<Blocks>()) };
    let templates = TEMPLATES.read().unwrap_or_else(PoisonError::into_inner);
    for (block, template) in list.iter().zip(templates.iter()) {
        if !block.is_null() {
            // SAFETY: `make_block` allocated it with this layout.
            unsafe { dealloc(*block, template.layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(module: u64, offset: u64) -> *mut u8 {
        // SAFETY: the pair names a module made by the test.
        unsafe { tls_get_addr(&TlsIndex { module, offset }).cast() }
    }

    #[test]
    fn every_thread_has_its_own_initialised_block() {
        let module = add_module(32, 16);
        set_image(module, &[1, 2, 3]);
        let other = add_module(8, 8);
        set_image(other, &[9]);
        let check = move || {
            assert_eq!(read(module, 0) as usize % 16, 0);
            // SAFETY: offsets 0..32 lie in the block.
            let bytes = unsafe { std::slice::from_raw_parts_mut(read(module, 0), 32) };
            assert_eq!((&bytes[..4], bytes[31]), (&[1, 2, 3, 0][..], 0));
            bytes[0] = 7;
            // SAFETY: offset 0 lies in the block.
            assert_eq!(unsafe { *read(other, 0) }, 9);
            // SAFETY: offset 0 lies in the block.
            assert_eq!(unsafe { *read(module, 0) }, 7);
            read(module, 1) as usize
        };
        let mine = check();
        let theirs = std::thread::spawn(check).join().unwrap();
        assert_ne!(mine, theirs);
    }
}
