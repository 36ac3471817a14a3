//! Thread-local storage that the local-exec and initial-exec models of published code can reach.
//!
//! Those models address a variable at a constant distance from the thread pointer, decided before the thread was made:
//! only what the executable brought along at start has such a place (Drepper, "ELF Handling For Thread-Local Storage",
//! §3.4). So this module defines a block of `.tdata`, the *pool*, and hands out parts of it. Their initial values are
//! written into the executable's TLS image, which libc copies into every new thread.
//!
//! * The pool is small: it lies in every thread's stack mapping, and 16-KB stacks must stay usable.
//! * Threads that exist when an image is written keep zeroes, except the calling one. Modules with thread-local data are
//!   loaded before the program makes threads, or from a thread that is the only user so far; others get dynamic TLS.
//! * Parts are never given back: a thread-local variable lives as long as any thread.
//! * Only where this crate is part of the executable (or was loaded at its start); [`reserve`] says `None` elsewhere.

use std::sync::{Mutex, PoisonError};

/// Bytes of the pool.
pub const POOL_BYTES: u64 = 4096;
/// Largest alignment that a part can have.
pub const POOL_ALIGN: u64 = 64;

/// Bytes of the pool that are handed out.
static TAKEN: Mutex<u64> = Mutex::new(0);

/// Takes `size` bytes of the pool at a multiple of `align`; the distance from the thread pointer to the first of them.
///
/// `None` where the pool is used up, `align` is no power of two or too large, or the platform has no pool. The part is
/// zero in every thread.
#[must_use]
pub fn reserve(size: u64, align: u64) -> Option<i64> {
    if !align.is_power_of_two() || align > POOL_ALIGN {
        return None;
    }
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let start = taken.next_multiple_of(align);
    let end = start.checked_add(size).filter(|end| *end <= POOL_BYTES)?;
    // Asked before anything is handed out: later, writing the image must not fail.
    let image = image::find()?;
    image.is_writable().then(|| {
        *taken = end;
        platform::pool_offset() + start as i64
    })
}

/// Makes `bytes` the initial values at `tp_offset`, for threads to come and for the calling one.
///
/// # Panics
///
/// If the bytes are not inside what [`reserve`] handed out.
pub fn write_image(tp_offset: i64, bytes: &[u8]) {
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let offset = tp_offset.checked_sub(platform::pool_offset()).and_then(|offset| u64::try_from(offset).ok());
    let inside = |offset: u64| offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= *taken);
    let offset = offset.filter(|offset| inside(*offset)).expect("the bytes lie in a reserved part of the pool");
    image::find().expect("found when the part was reserved").write(offset as usize, bytes);
    let own = platform::thread_pointer().wrapping_add_signed(tp_offset as isize);
    let own = std::ptr::with_exposed_provenance_mut::<u8>(own);
    // SAFETY: the bytes are inside the calling thread's pool, which holds nothing that Rust refers to; `bytes` is no
    // part of it unless the caller passes the program's own data, and then the copy is of equal bytes or to itself.
    unsafe { own.copy_from(bytes.as_ptr(), bytes.len()) };
}

/// The initial values that libc copies into new threads.
mod image {
    use std::ffi::{c_int, c_void};

    use super::{POOL_BYTES, platform};
    use crate::sys::{self, PAGE, Protection};

    /// The pool's part of the image. It lies in RELRO: read-only since the program started.
    pub(super) struct Image {
        at: usize,
        protection: Protection,
    }

    impl Image {
        /// Whether the image can be written and protected again.
        pub(super) fn is_writable(&self) -> bool {
            self.protect(Protection::ReadWrite) && self.protect(self.protection)
        }

        pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
            assert!(self.protect(Protection::ReadWrite), "the image could be made writable before");
            let to = std::ptr::with_exposed_provenance_mut::<u8>(self.at + offset);
            // SAFETY: in bounds of the image, which is writable now; libc reads it when it makes a thread, and a thread
            // made at this moment has no defined initial values.
            unsafe { to.copy_from(bytes.as_ptr(), bytes.len()) };
            // Left writable if the kernel refuses, which harms nothing.
            self.protect(self.protection);
        }

        fn protect(&self, protection: Protection) -> bool {
            let start = self.at / PAGE * PAGE;
            let end = (self.at + POOL_BYTES as usize).next_multiple_of(PAGE);
            // SAFETY: the pages of the executable's data; nobody writes them while they are read-only, and nothing
            // relies on their being so.
            unsafe { sys::protect(start, end - start, protection) }.is_ok()
        }
    }

    /// Finds the image through the program headers of the object that the pool belongs to.
    ///
    /// Takes a lock of the dynamic loader: only for loading modules, never while resolving.
    pub(super) fn find() -> Option<Image> {
        let mut found: Option<Image> = None;
        let data = (&raw mut found).cast::<c_void>();
        // SAFETY: the callback matches the type that libc expects and gets a pointer to `found`, alive until it returns.
        unsafe { libc::dl_iterate_phdr(Some(inspect), data) };
        found
    }

    /// # Safety
    ///
    /// Called by `dl_iterate_phdr` with a pointer to an `Option<Image>`.
    unsafe extern "C" fn inspect(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: libc passes a valid structure.
        let info = unsafe { &*info };
        let headers = info.dlpi_phdr;
        if headers.is_null() {
            return 0;
        }
        // SAFETY: libc says where the headers are and how many.
        let headers = unsafe { std::slice::from_raw_parts(headers, usize::from(info.dlpi_phnum)) };
        let of_type = |kind| headers.iter().find(move |header| header.p_type == kind);
        let Some(tls) = of_type(libc::PT_TLS) else { return 0 };
        let own = platform::thread_pointer().wrapping_add_signed(platform::pool_offset() as isize);
        // The calling thread's copy says where in its block the pool lies, whatever the TLS variant.
        let offset = own.wrapping_sub(info.dlpi_tls_data.addr());
        if info.dlpi_tls_data.is_null() || offset.saturating_add(POOL_BYTES as usize) > tls.p_filesz as usize {
            return 0;
        }
        let vaddr = tls.p_vaddr as usize + offset;
        let relro = of_type(libc::PT_GNU_RELRO);
        let is_relro =
            |header: &libc::Elf64_Phdr| (header.p_vaddr..header.p_vaddr + header.p_memsz).contains(&(vaddr as u64));
        let protection = if relro.is_some_and(is_relro) { Protection::Read } else { Protection::ReadWrite };
        // SAFETY: the caller passed the address of such an option.
        unsafe { *found.cast::<Option<Image>>() = Some(Image { at: info.dlpi_addr as usize + vaddr, protection }) };
        1
    }
}

#[cfg(target_arch = "x86_64")]
mod platform {
    //! The thread pointer is `%fs:0`; static TLS lies below it (variant II).

    use std::arch::{asm, global_asm};

    global_asm!(
        ".pushsection .tdata.kiln_codecache_tls_pool,\"awT\",@progbits",
        ".balign {align}",
        ".hidden kiln_codecache_tls_pool",
        ".globl kiln_codecache_tls_pool",
        ".type kiln_codecache_tls_pool,@tls_object",
        ".size kiln_codecache_tls_pool,{bytes}",
        "kiln_codecache_tls_pool:",
        ".zero {bytes}",
        ".popsection",
        align = const super::POOL_ALIGN,
        bytes = const super::POOL_BYTES,
        options(att_syntax),
    );

    pub(super) fn pool_offset() -> i64 {
        let offset: i64;
        // SAFETY: loads a constant that the linker or loader computed.
        unsafe {
            asm!(
                "movq kiln_codecache_tls_pool@gottpoff(%rip), {}",
                out(reg) offset,
                options(att_syntax, pure, nomem, nostack, preserves_flags),
            );
        }
        offset
    }

    pub(super) fn thread_pointer() -> usize {
        let pointer: usize;
        // SAFETY: the word at %fs:0 is the thread pointer itself (psABI, "Thread-Local Storage").
        unsafe {
            asm!("movq %fs:0, {}", out(reg) pointer, options(att_syntax, pure, readonly, nostack, preserves_flags));
        }
        pointer
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod platform {
    //! No pool yet: offset 0 is in no object's TLS block of the size of the pool.

    pub(super) fn pool_offset() -> i64 {
        0
    }

    pub(super) fn thread_pointer() -> usize {
        0
    }
}
