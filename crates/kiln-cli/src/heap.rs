//! The engine's heap: dlmalloc in address space of its own, which shares nothing with libc's `malloc`.
//!
//! The allocator's memory comes from a *stretch* of reserved address space, from below upwards, so that what it gets is always
//! adjacent to what it has: dlmalloc joins both, and an array that grows can go on where it ends. Memory comes in blocks that
//! are backed at once, which takes a third of the time of one fault per page; beyond the first 2 MiB in huge pages, where the
//! kernel has some.
//!
//! The lock is Rust's, one word and no call where nobody waits. A thread that forks holds it meanwhile, so that the child finds
//! the heap whole and free.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::{Allocator, Dlmalloc};

/// Address space that is reserved at once. It is no memory yet, but counts for `RLIMIT_AS`.
const STRETCH_BYTES: usize = 32 << 20;
/// The smallest block.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks are an eighth of what there is already, as long as that is no more than this.
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// A huge page.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Larger pieces are backed by their first use: who asks for them doubles an array, and may not need all of it.
const BACKED_BYTES_MAX: usize = 512 << 10;

/// The heap of this process.
pub(crate) struct Heap(Mutex<Dlmalloc<Stretch>>);

impl Heap {
    /// An empty heap.
    pub(crate) const fn new() -> Self {
        let stretch = Stretch { next: Cell::new(0), end: Cell::new(0), taken: Cell::new(0), huge: Cell::new(0) };
        Self(Mutex::new(Dlmalloc::new_with_allocator(stretch)))
    }

    /// Has forks wait for whoever is in the heap. Called once, before anything else registers handlers of forks that
    /// allocate: those that run before a fork do so in reverse.
    pub(crate) fn hold_across_forks(&'static self) {
        // SAFETY: the handlers are functions for the rest of the process. Without memory for the registration, forks of
        // processes with threads in the heap are what they would be without it.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork)) };
    }

    fn lock(&self) -> MutexGuard<'_, Dlmalloc<Stretch>> {
        // The allocator does not panic halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    // No destructor: registering one would call libc's malloc inside a fork handler.
    static HELD: Cell<Option<ManuallyDrop<MutexGuard<'static, Dlmalloc<Stretch>>>>> = const { Cell::new(None) };
}

extern "C" fn before_fork() {
    HELD.set(Some(ManuallyDrop::new(crate::ALLOCATOR.lock())));
}

extern "C" fn after_fork() {
    drop(HELD.take().map(ManuallyDrop::into_inner));
}

// SAFETY: dlmalloc keeps the promises of an allocator, under a lock.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the contract of this function.
        unsafe { self.lock().malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the contract of this function.
        unsafe { self.lock().free(ptr, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the contract of this function.
        unsafe { self.lock().calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the contract of this function.
        unsafe { self.lock().realloc(ptr, layout.size(), layout.align(), new_size) }
    }
}

/// Reserved address space, handed out upwards.
struct Stretch {
    /// The first address that was not handed out.
    next: Cell<usize>,
    end: Cell<usize>,
    /// Bytes handed out and not given back.
    taken: Cell<usize>,
    /// From here on it shall have huge pages, which the kernel was not told yet; 0 afterwards.
    huge: Cell<usize>,
}

impl Stretch {
    /// Goes on in a new stretch with room for `bytes`.
    fn reserve(&self, bytes: usize) -> Option<()> {
        // Where address space is limited there may still be as much as is asked for.
        let sizes = [bytes.max(STRETCH_BYTES), bytes];
        let (at, size) = sizes.into_iter().find_map(|size| Some((map(size)?, size)))?;
        // What begins a stretch stays in base pages: a small program's heap is a part of a huge one.
        self.huge.set((at + HUGE_PAGE_BYTES).next_multiple_of(HUGE_PAGE_BYTES));
        self.next.set(at);
        self.end.set(at + size);
        Some(())
    }

    /// Asks for huge pages if what is handed out reaches up to `end` for the first time. A process that asks is one more that
    /// the kernel looks through for pages to join, so those that stay small do not.
    fn ask_for_huge_pages(&self, end: usize) {
        let huge = self.huge.get();
        if huge != 0 && end > huge {
            self.huge.set(0);
            let at: *mut libc::c_void = ptr::with_exposed_provenance_mut(huge);
            // SAFETY: a part of our own mapping, of which nothing is in use. Kernels without huge pages refuse.
            unsafe { libc::madvise(at, self.end.get() - huge, libc::MADV_HUGEPAGE) };
        }
    }

    /// Takes the bytes from `from` on back, if nothing behind them was handed out; whether they were.
    fn take_back(&self, from: usize, bytes: usize) -> bool {
        if from + bytes != self.next.get() {
            return false;
        }
        // SAFETY: memory of the heap that it says it does not need. Later it reads as zero, as the allocator expects.
        let given = unsafe { libc::madvise(ptr::with_exposed_provenance_mut(from), bytes, libc::MADV_DONTNEED) } == 0;
        if given {
            self.next.set(from);
            self.taken.set(self.taken.get() - bytes);
        }
        given
    }
}

// SAFETY: what is handed out is mapped, writable, zero, the heap's alone and stays so until it is given back.
unsafe impl Allocator for Stretch {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let block = (self.taken.get() / 8).clamp(BLOCK_BYTES, BLOCK_BYTES_MAX) / BLOCK_BYTES * BLOCK_BYTES;
        let left = self.end.get() - self.next.get();
        if left < size && self.reserve(size).is_none() {
            return (ptr::null_mut(), 0, 0);
        }
        let size = size.max(block).min(self.end.get() - self.next.get());
        let at: *mut u8 = ptr::with_exposed_provenance_mut(self.next.get());
        self.ask_for_huge_pages(self.next.get() + size);
        if size <= BACKED_BYTES_MAX {
            // SAFETY: a part of our own mapping. Kernels before 5.14 refuse, and then faults do it.
            unsafe { libc::madvise(at.cast(), size, libc::MADV_POPULATE_WRITE) };
        }
        self.next.set(self.next.get() + size);
        self.taken.set(self.taken.get() + size);
        (at, size, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, ptr: *mut u8, old_size: usize, new_size: usize) -> bool {
        self.take_back(ptr.expose_provenance() + new_size, old_size - new_size)
    }

    fn free(&self, ptr: *mut u8, size: usize) -> bool {
        // SAFETY: as in `take_back`; what lies in a stretch of its own, or in an older one, is not needed any more.
        self.take_back(ptr.expose_provenance(), size) || unsafe { libc::munmap(ptr.cast(), size) == 0 }
    }

    fn can_release_part(&self, _: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

/// Address space of our own, without memory.
fn map(bytes: usize) -> Option<usize> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, rights, flags, -1, 0) };
    (at != libc::MAP_FAILED).then(|| at.expose_provenance())
}
