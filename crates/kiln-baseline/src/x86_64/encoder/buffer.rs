//! The bytes themselves.

use std::ops::{Deref, DerefMut};

/// Bytes of code. Behind those that count there is nearly always room for a word, so that instructions are put together
/// in registers and written by whole words.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

/// What the buffer grows by at least.
const STEP: usize = 4096;

impl Buffer {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends the low `count` bytes of `word`, at most 8.
    #[inline]
    pub(crate) fn put(&mut self, word: u64, count: usize) {
        if self.bytes.len() < self.len + 8 {
            self.grow(8);
        }
        self.bytes[self.len..self.len + 8].copy_from_slice(&word.to_le_bytes());
        self.len += count;
    }

    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        if self.bytes.len() < self.len + more.len() {
            self.grow(more.len());
        }
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    /// Appends `value` until there are `len` bytes.
    pub(crate) fn fill_to(&mut self, len: usize, value: u8) {
        let before = self.len;
        if self.bytes.len() < len {
            self.grow(len - before);
        }
        self.bytes[before..len].fill(value);
        self.len = len;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let len = (self.len + more).max(self.bytes.len() * 2) + STEP;
        self.bytes.resize(len, 0);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}
