//! Atomics and futexes, so that loom runs the code that ships.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A 32-bit word on which threads can sleep.
#[cfg_attr(not(loom), repr(transparent))]
pub(crate) struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    queue: (loom::sync::Mutex<()>, loom::sync::Condvar),
}

impl Futex {
    #[cfg(not(loom))]
    pub(crate) const fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value) }
    }

    #[cfg(loom)]
    pub(crate) fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value), queue: (loom::sync::Mutex::new(()), loom::sync::Condvar::new()) }
    }

    /// The word itself.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps if the word still holds `expected`; may return for no reason.
    pub(crate) fn wait(&self, expected: u32) {
        #[cfg(not(loom))]
        crate::sys::futex_wait(&self.word, expected);
        #[cfg(loom)]
        {
            // Like the kernel: the comparison and falling asleep are one step as seen by `wake_all`.
            let guard = self.queue.0.lock().unwrap();
            if self.word.load(Ordering::Relaxed) == expected {
                drop(self.queue.1.wait(guard).unwrap());
            }
        }
    }

    /// Wakes everyone who sleeps on the word.
    pub(crate) fn wake_all(&self) {
        #[cfg(not(loom))]
        crate::sys::futex_wake_all(&self.word);
        #[cfg(loom)]
        {
            let _guard = self.queue.0.lock().unwrap();
            self.queue.1.notify_all();
        }
    }
}
