use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, Place, Records};
use std::error::Error;
use std::ptr::NonNull;

/// Where stubs live: executable memory that is written through another view.
///
/// # Safety
///
/// Whoever implements it promises about each block that [`reserve`](StubMemory::reserve) returns: it is `bytes` bytes
/// long and aligned as asked; `working` may be written and read, and what is written there shows at `executor`, which
/// may be executed; both views stay where they are until the process ends, in a forked child too, and nobody else
/// writes there.
pub unsafe trait StubMemory: Sync {
    /// A new block.
    ///
    /// # Errors
    ///
    /// When there is no memory; nothing has changed then.
    fn reserve(&self, bytes: u64, align: u64) -> Result<StubBlock, Box<dyn Error + Send + Sync>>;

    /// Makes every thread of the process execute a core serialising operation after what was written so far and before
    /// this returns, such as `membarrier(PRIVATE_EXPEDITED_SYNC_CORE)`.
    fn synchronize(&self);
}

/// A block of memory for stubs.
#[derive(Clone, Copy, Debug)]
pub struct StubBlock {
    /// Where the code runs.
    pub executor: ExecutorAddr,
    /// Where it is written.
    pub working: NonNull<u8>,
}

// SAFETY: a reservation of the asked size and alignment; what is written in its working memory shows at its address.
// Leaking keeps it, and the cache with both its views, for the rest of the process, a forked child included. The cache
// itself writes nothing into published code.
unsafe impl StubMemory for CodeCache {
    fn reserve(&self, bytes: u64, align: u64) -> Result<StubBlock, Box<dyn Error + Send + Sync>> {
        let segment = Segment { permission: Permission::Code, size: bytes, align };
        let mut reservation = CodeCache::reserve(self, &[(segment, Place::Anywhere)])?;
        let block =
            StubBlock { executor: reservation.segment(0), working: NonNull::from(reservation.working(0)).cast() };
        // Published before it holds a stub: a table fills its blocks bit by bit and synchronises after each bit.
        reservation.publish(Records::new())?.leak();
        Ok(block)
    }

    fn synchronize(&self) {
        self.synchronize_cores();
    }
}
