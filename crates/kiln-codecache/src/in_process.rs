//! The mapper for code that runs in this very process.
//!
//! ```text
//! executor view   | code r-x | read-only r-- | data rw- |       one reservation, below the shared libraries
//!                      ║            ║           private anonymous
//! working view    | code rw- | read-only rw- |                  elsewhere, at one fixed distance
//! ```
//!
//! Code and read-only data are one piece of anonymous shared memory, mapped twice: no page is writable and executable
//! in one view ([`Options::breakpoints`] apart), and publishing needs no mprotect. It has no descriptor and its full size from the start; pages come
//! when they are committed. See docs/design/code-memory.md for why this is not a memfd.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_abi::{ExecutorAddr, Permission};

use crate::error::{Error, ErrorKind};
use crate::mapper::{ForkCopy, HUGE_PAGE, Mapper, Pages, RegionViews};
use crate::{Options, sys};

/// Shares of a reservation in sixteenths: code, read-only data, data.
const SHARES: [u64; 3] = [6, 4, 6];
/// The smallest reservation that is tried.
const MIN_BYTES: u64 = 16 * HUGE_PAGE;
/// The largest: beyond 2 GiB pieces are out of each other's reach anyway.
const MAX_BYTES: u64 = 64 << 30;
/// End of what non-PIC code with 32-bit signed absolute addresses reaches.
const LOW_END: u64 = 1 << 31;
/// Where the search for a low reservation begins: above `vm.mmap_min_addr` and non-PIE executables' usual place.
const LOW_START: u64 = 16 << 20;
/// How far below the reservation the working view goes, so that libraries opened later find room within reach.
const WORKING_DISTANCE: usize = 64 << 30;

/// Memory of this process, and code that runs in it.
#[derive(Debug)]
pub struct InProcess {
    regions: [Region; 3],
    working: usize,
    shared_bytes: usize,
    /// What code may be used for where it is executed.
    code: sys::Protection,
    /// Whether the kernel offered membarrier when the process started.
    membarrier: bool,
    /// Whether the kernel collapses pages: 0 once it said that it cannot.
    collapses: AtomicU32,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    executor: usize,
    working: usize,
    bytes: usize,
}

impl InProcess {
    /// Reserves `options.size` bytes, or less where the process has not that much.
    pub fn new(options: &Options) -> Result<Self, Error> {
        // First thing: 1.4 µs while the process has one thread, 12 to 14 ms later.
        let membarrier = sys::register_core_barrier();
        let mut bytes = options.size.clamp(MIN_BYTES, MAX_BYTES).next_multiple_of(MIN_BYTES);
        if let Some(left) = sys::address_space_left() {
            // Two views count twice, a fork needs two more for a moment, and the program needs space too.
            let fair = (left / 6) / MIN_BYTES * MIN_BYTES;
            bytes = bytes.min(fair.max(MIN_BYTES));
        }
        let code = if options.breakpoints { sys::Protection::ReadWriteExecute } else { sys::Protection::ReadExecute };
        loop {
            match Self::map(bytes as usize, options.low_2gib, code) {
                Ok((regions, working, shared_bytes)) => {
                    return Ok(Self { regions, working, shared_bytes, code, membarrier, collapses: AtomicU32::new(1) });
                }
                Err(_) if bytes / 2 >= MIN_BYTES => bytes = (bytes / 2).next_multiple_of(MIN_BYTES),
                Err(source) => return Err(ErrorKind::AddressSpace { bytes, source }.into()),
            }
        }
    }

    fn map(bytes: usize, low: bool, rights: sys::Protection) -> io::Result<([Region; 3], usize, usize)> {
        let executor = Reserved::new(bytes, low)?;
        let [code, read_only, data] = SHARES.map(|share| bytes / 16 * share as usize);
        let shared_bytes = code + read_only;
        let working = Reserved::far_below(executor.at, shared_bytes)?;
        // SAFETY: both reservations are fresh and ours alone.
        unsafe {
            map_twice(working.at, executor.at, code, shared_bytes, rights)?;
            sys::map_private_over(executor.at + shared_bytes, data)?;
        }
        sys::exclude_from_core(working.at, shared_bytes);
        let (executor, working) = (executor.keep(), working.keep());
        let regions = [
            Region { executor, working, bytes: code },
            Region { executor: executor + code, working: working + code, bytes: read_only },
            Region { executor: executor + shared_bytes, working: executor + shared_bytes, bytes: data },
        ];
        Ok((regions, working, shared_bytes))
    }

    fn of(&self, permission: Permission) -> &Region {
        &self.regions[permission as usize]
    }

    /// Backs `range` of a copy at `base`, whole huge pages as such.
    fn commit_copy(&self, base: usize, range: Range<usize>) -> io::Result<()> {
        const HUGE: usize = HUGE_PAGE as usize;
        let (first, last) = (range.start.next_multiple_of(HUGE), range.end / HUGE * HUGE);
        if first >= last || !self.commit_huge(base + first, last - first)? {
            return sys::populate(base + range.start, range.end - range.start);
        }
        sys::populate(base + range.start, first - range.start)?;
        sys::populate(base + last, range.end - last)
    }

    /// Touches each huge page once and lets the kernel collapse them; whether that worked.
    fn commit_huge(&self, at: usize, bytes: usize) -> io::Result<bool> {
        // Relaxed: a hint about the kernel; a thread that sees the old value asks once more.
        if self.collapses.load(Ordering::Relaxed) == 0 {
            return Ok(false);
        }
        for page in (at..at + bytes).step_by(HUGE_PAGE as usize) {
            sys::populate(page, sys::PAGE)?;
        }
        match sys::collapse(at, bytes) {
            Ok(()) => Ok(true),
            Err(error) => {
                if error.raw_os_error() == Some(libc::EINVAL) {
                    // Relaxed: as above.
                    self.collapses.store(0, Ordering::Relaxed);
                }
                Ok(false)
            }
        }
    }
}

// SAFETY: the working views are parts of mappings that `map` made and `drop` unmaps: shared memory for code and
// read-only data, disjoint by offset, private memory for data. Anonymous memory reads as zero.
unsafe impl Mapper for InProcess {
    fn region(&self, permission: Permission) -> RegionViews {
        let region = self.of(permission);
        let working = NonNull::new(std::ptr::with_exposed_provenance_mut(region.working));
        RegionViews {
            executor: ExecutorAddr::new(region.executor as u64),
            working: working.expect("a mapping does not lie at address 0"),
            bytes: region.bytes as u64,
        }
    }

    fn commit(&self, permission: Permission, range: Range<u64>, pages: Pages) -> io::Result<()> {
        let region = self.of(permission);
        let (offset, bytes) = (range.start as usize, (range.end - range.start) as usize);
        let huge = pages == Pages::Huge && permission != Permission::ReadWrite;
        if !(huge && self.commit_huge(region.working + offset, bytes)?) {
            sys::populate(region.working + offset, bytes)?;
        }
        if region.working != region.executor {
            sys::map_pages(region.executor + offset, bytes);
        }
        Ok(())
    }

    fn decommit(&self, permission: Permission, range: Range<u64>) -> io::Result<()> {
        let region = self.of(permission);
        let (offset, bytes) = (range.start as usize, (range.end - range.start) as usize);
        // SAFETY: the caller says that nothing refers to the range any more; the kind of mapping fits the call.
        unsafe {
            match permission {
                Permission::ReadWrite => sys::discard(region.working + offset, bytes),
                Permission::Code | Permission::ReadOnly => sys::remove(region.working + offset, bytes),
            }
        }
    }

    fn guard(&self, permission: Permission, range: Range<u64>, guarded: bool) {
        let region = self.of(permission);
        let protection = match permission {
            _ if guarded => sys::Protection::None,
            Permission::Code => self.code,
            Permission::ReadOnly => sys::Protection::Read,
            Permission::ReadWrite => sys::Protection::ReadWrite,
        };
        // Data has one view, which the cache clears when it is used again.
        if region.working != region.executor {
            let (offset, bytes) = (range.start as usize, (range.end - range.start) as usize);
            // SAFETY: the caller says that nothing may refer to a guarded range; finding out what does is the purpose. A
            // kernel that has no mapping left for it refuses: then the bytes are there, and trap.
            let _ = unsafe { sys::protect(region.executor + offset, bytes, protection) };
        }
    }

    fn synchronize_cores(&self) {
        // Refused although it was offered: the program has entered a sandbox since.
        if !(self.membarrier && sys::core_barrier().is_ok()) {
            interrupt_cores();
        }
    }

    fn copy_for_child(&self, live: &[(Permission, Range<u64>)]) -> io::Result<ForkCopy> {
        let code = self.of(Permission::Code).bytes;
        let working = Reserved::anywhere(self.shared_bytes)?;
        let executor = Reserved::anywhere(self.shared_bytes)?;
        // SAFETY: both reservations are fresh and ours alone.
        unsafe { map_twice(working.at, executor.at, code, self.shared_bytes, self.code) }?;
        for (permission, range) in live {
            let offset = self.of(*permission).working - self.working + range.start as usize;
            let bytes = (range.end - range.start) as usize;
            self.commit_copy(working.at, offset..offset + bytes)?;
            let from = std::ptr::with_exposed_provenance::<u8>(self.working + offset);
            let to = std::ptr::with_exposed_provenance_mut::<u8>(working.at + offset);
            // SAFETY: both ranges are committed parts of different mappings. Other threads write only what is in flight,
            // whose copy nobody will read.
            unsafe { from.copy_to_nonoverlapping(to, bytes) };
        }
        Ok(ForkCopy { working: working.keep(), executor: executor.keep(), bytes: self.shared_bytes })
    }

    fn adopt(&self, copy: ForkCopy) {
        let code = self.of(Permission::Code).bytes;
        // SAFETY: the copy is ours; it holds the same bytes as what it replaces, except what is in flight, whose owners
        // do not exist in this process. The child's only thread is here, so nobody executes the code meanwhile. Each
        // view has one kind of rights, so each call moves one mapping.
        let moved = unsafe {
            sys::move_over(copy.executor, self.regions[0].executor, code)
                .and_then(|()| sys::move_over(copy.executor + code, self.regions[0].executor + code, copy.bytes - code))
                .and_then(|()| sys::move_over(copy.working, self.working, copy.bytes))
        };
        if moved.is_err() {
            // Half of the views are the parent's, half our own: nothing that could go on.
            std::process::abort();
        }
        sys::exclude_from_core(self.working, self.shared_bytes);
    }

    fn discard(&self, copy: ForkCopy) {
        sys::unmap(copy.working, copy.bytes);
        sys::unmap(copy.executor, copy.bytes);
    }

    fn mappings(&self) -> usize {
        self.regions.len() + 1
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let [code, _, data] = self.regions;
        sys::unmap(code.executor, self.shared_bytes + data.bytes);
        sys::unmap(self.working, self.shared_bytes);
    }
}

/// [`sys::map_twice`] with these rights for code where it is executed.
///
/// # Safety
///
/// As for [`sys::map_twice`].
unsafe fn map_twice(
    working: usize,
    executor: usize,
    code: usize,
    bytes: usize,
    rights: sys::Protection,
) -> io::Result<()> {
    // SAFETY: the contract of this function; nothing relies on rights of fresh memory.
    unsafe {
        sys::map_twice(working, executor, code, bytes)?;
        if rights != sys::Protection::ReadExecute {
            sys::protect(executor, code, rights)?;
        }
    }
    Ok(())
}

/// A core barrier for sandboxes that refuse membarrier.
///
/// Taking a right away from a page that was just written makes the kernel interrupt every core that may have the
/// translation cached, and the return from that interrupt (IRET) serialises (Intel SDM vol. 3 §9.3). Linux on x86-64
/// interrupts all cores on which the address space is active. Unproven, and untrue where the kernel invalidates without
/// interrupting (AMD's INVLPGB, Linux 6.15). A page per call: a lock would have to be looked after around forks.
fn interrupt_cores() {
    let page = sys::map_private(sys::PAGE).expect("one page for a barrier");
    // SAFETY: the page is fresh and writable, and nobody else knows it.
    unsafe {
        page.write_volatile(1);
        let _ = sys::protect(page.as_ptr().expose_provenance(), sys::PAGE, sys::Protection::Read);
    }
    sys::unmap(page.as_ptr().expose_provenance(), sys::PAGE);
}

/// Address space that is given back unless it is kept.
struct Reserved {
    at: usize,
    bytes: usize,
}

impl Reserved {
    fn new(bytes: usize, low: bool) -> io::Result<Self> {
        if low { Self::low(bytes) } else { Self::anywhere(bytes) }
    }

    /// `bytes`, aligned to huge pages, where the kernel puts them: just below what was mapped last, which at the
    /// start of a process are the shared libraries.
    fn anywhere(bytes: usize) -> io::Result<Self> {
        const ALIGN: usize = HUGE_PAGE as usize;
        let start = sys::reserve(bytes + ALIGN)?;
        let at = start.next_multiple_of(ALIGN);
        if start < at {
            sys::unmap(start, at - start);
        }
        let end = start + bytes + ALIGN;
        if at + bytes < end {
            sys::unmap(at + bytes, end - at - bytes);
        }
        Ok(Self { at, bytes })
    }

    /// `bytes` below 2 GiB.
    fn low(bytes: usize) -> io::Result<Self> {
        let mut result = Err(io::Error::from(rustix::io::Errno::NOMEM));
        let last = LOW_END.saturating_sub(bytes as u64);
        for at in (LOW_START..=last).step_by(LOW_START as usize) {
            result = sys::reserve_at(at as usize, bytes).map(|()| Self { at: at as usize, bytes });
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// `bytes` far below `address`, or anywhere.
    fn far_below(address: usize, bytes: usize) -> io::Result<Self> {
        let wanted = address.checked_sub(WORKING_DISTANCE).and_then(|at| at.checked_sub(bytes));
        if let Some(at) = wanted.map(|at| at & !(HUGE_PAGE as usize - 1)).filter(|at| *at as u64 >= LOW_END)
            && sys::reserve_at(at, bytes).is_ok()
        {
            return Ok(Self { at, bytes });
        }
        Self::anywhere(bytes)
    }

    fn keep(self) -> usize {
        let at = self.at;
        std::mem::forget(self);
        at
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        sys::unmap(self.at, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels before 6.1 cannot collapse; memory comes all the same.
    #[test]
    fn trap_linker_28_without_collapse_base_pages_serve() {
        let memory = InProcess::new(&Options::new()).unwrap();
        memory.collapses.store(0, Ordering::Relaxed);
        for permission in Permission::ALL {
            memory.commit(permission, 0..2 * HUGE_PAGE, Pages::Huge).unwrap();
            let working = memory.region(permission).working;
            // SAFETY: committed working memory of a mapper that nobody else uses.
            let bytes = unsafe { std::slice::from_raw_parts_mut(working.as_ptr(), 2 * HUGE_PAGE as usize) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(1);
        }
    }
}
