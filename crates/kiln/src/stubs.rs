//! Stub memory from the code cache.

use std::error::Error;
use std::ptr::NonNull;

use kiln_abi::{Permission, Segment};
use kiln_codecache::{CodeCache, Place, Records};
use kiln_dispatch::{StubBlock, StubMemory};

/// Gives the function table blocks of the cache's code region.
pub(crate) struct CacheStubs {
    cache: CodeCache,
}

impl CacheStubs {
    pub(crate) fn new(cache: CodeCache) -> Self {
        Self { cache }
    }
}

// SAFETY: a block is a published and leaked code segment: it has the size and alignment asked for, both views stay for the
// process's life (a forked child maps its copy at the same addresses), and the cache gives it to nobody else.
unsafe impl StubMemory for CacheStubs {
    fn reserve(&self, bytes: u64, align: u64) -> Result<StubBlock, Box<dyn Error + Send + Sync>> {
        let segment = Segment { permission: Permission::Code, size: bytes, align };
        let mut reservation = self.cache.reserve(&[(segment, Place::Anywhere)])?;
        let executor = reservation.segment(0);
        let working = NonNull::from(reservation.working(0)).cast::<u8>();
        reservation.publish(Records::new())?.leak();
        Ok(StubBlock { executor, working })
    }

    fn synchronize(&self) {
        self.cache.synchronize_cores();
    }
}
