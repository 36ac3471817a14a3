//! The bytes themselves.

use std::ops::{Deref, DerefMut};

/// Bytes of code. Behind those that count there is nearly always room for a word, so that instructions are put together
/// in registers and written by whole words.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Of 32 bits, so that a few bytes behind it cannot wrap: one comparison is enough where they are written.
    len: u32,
}

/// What the buffer grows by at least.
const STEP: usize = 4096;

impl Buffer {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// How many bytes there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Appends the low `count` bytes of `word`, at most 8.
    #[inline]
    pub(crate) fn put(&mut self, word: u64, count: usize) {
        let len = self.len as usize;
        let Some(room) = self.bytes.get_mut(len..len + 8) else { return self.put_more(word, count) };
        room.copy_from_slice(&word.to_le_bytes());
        self.len += count as u32;
    }

    /// The same where there may be no room for a word. Apart, so that the usual way saves no registers for it.
    #[cold]
    #[inline(never)]
    fn put_more(&mut self, word: u64, count: usize) {
        self.extend_from_slice(&word.to_le_bytes()[..count]);
    }

    /// Appends the low bytes of two words, at most 7 of the first.
    #[inline]
    pub(crate) fn put_two(&mut self, first: u64, count: usize, second: u64, more: usize) {
        let len = self.len as usize;
        let Some(room) = self.bytes.get_mut(len..len + 16) else {
            return self.put_two_more(first, count, second, more);
        };
        room[..8].copy_from_slice(&first.to_le_bytes());
        room[count & 7..][..8].copy_from_slice(&second.to_le_bytes());
        self.len += (count + more) as u32;
    }

    #[cold]
    #[inline(never)]
    fn put_two_more(&mut self, first: u64, count: usize, second: u64, more: usize) {
        self.put_more(first, count);
        self.put_more(second, more);
    }

    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        let len = self.len as usize;
        if self.bytes.len() < len + more.len() {
            self.grow(more.len());
        }
        self.bytes[len..len + more.len()].copy_from_slice(more);
        self.len += more.len() as u32;
    }

    /// Appends `value` until there are `len` bytes.
    pub(crate) fn fill_to(&mut self, len: usize, value: u8) {
        let before = self.len as usize;
        if self.bytes.len() < len {
            self.grow(len - before);
        }
        self.bytes[before..len].fill(value);
        self.len = len as u32;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let len = (self.len as usize + more).max(self.bytes.len() * 2) + STEP;
        // Positions are of 32 bits, and jumps reach half as far.
        assert!(len <= u32::MAX as usize, "a function of 4 GiB of code");
        self.bytes.resize(len, 0);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len as usize]
    }
}
