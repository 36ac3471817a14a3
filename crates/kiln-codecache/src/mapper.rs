//! Where a code cache gets its memory from.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use kiln_abi::{ExecutorAddr, Permission};

/// The two views of a region.
#[derive(Clone, Copy, Debug)]
pub struct RegionViews {
    /// Where the region lies in the process that runs the code; a multiple of [`HUGE_PAGE`].
    pub executor: ExecutorAddr,
    /// Where this process writes it; a multiple of [`HUGE_PAGE`].
    pub working: NonNull<u8>,
    /// Bytes of the region; a multiple of [`HUGE_PAGE`].
    pub bytes: u64,
}

/// Bytes of a huge page; regions are aligned to it so that huge pages can back both views.
pub const HUGE_PAGE: u64 = 2 << 20;

/// What kind of pages should back a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Pages of the base size.
    Base,
    /// Huge pages where the kernel can; base pages otherwise. The range is aligned to [`HUGE_PAGE`] and holds nothing.
    Huge,
}

/// A copy of the live code for a child that is about to be forked.
#[derive(Debug)]
#[must_use = "a copy is adopted by the child or discarded by the parent"]
pub struct ForkCopy {
    pub(crate) working: usize,
    pub(crate) executor: usize,
    pub(crate) bytes: usize,
}

/// The memory behind a code cache: three regions of one reservation, each seen through two views.
///
/// Ranges are offsets into a region, in bytes, multiples of the page size.
///
/// # Safety
///
/// For as long as the mapper lives, the working views must be disjoint, and readable and writable memory wherever
/// `commit` succeeded (everywhere for [`Permission::ReadWrite`]), which nothing else in the process writes. Memory reads
/// as zero when it is committed for the first time and after `decommit`.
pub unsafe trait Mapper: Send + Sync {
    /// The views of a region; always the same answer.
    fn region(&self, permission: Permission) -> RegionViews;

    /// Backs a range with memory. What cannot be had is an error here, never a signal at the first access.
    fn commit(&self, permission: Permission, range: Range<u64>, pages: Pages) -> io::Result<()>;

    /// Gives the memory behind a range back and makes it read as zero. On an error nothing has changed.
    fn decommit(&self, permission: Permission, range: Range<u64>) -> io::Result<()>;

    /// Takes the rights of a range in the executor view away, or gives them back: freed code that is kept for a while to be
    /// found out by whoever still uses it. A mapper that cannot do it does nothing.
    fn guard(&self, permission: Permission, range: Range<u64>, guarded: bool) {
        let _ = (permission, range, guarded);
    }

    /// Returns when every thread that runs code of the regions will see all bytes written before.
    fn synchronize_cores(&self);

    /// Copies `live` parts of the code and read-only regions for a child that is about to be forked, and backs them.
    fn copy_for_child(&self, live: &[(Permission, Range<u64>)]) -> io::Result<ForkCopy>;

    /// In the child: puts the copy in the place of the memory that the parent shares. Where the kernel refuses half-way,
    /// the process ends.
    fn adopt(&self, copy: ForkCopy);

    /// In the parent, or where no fork happened: frees the copy.
    fn discard(&self, copy: ForkCopy);

    /// Kernel mappings that the regions consist of, both views together.
    fn mappings(&self) -> usize;
}
