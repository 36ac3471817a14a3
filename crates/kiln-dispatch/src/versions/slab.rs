//! Numbered things whose numbers are used again.

/// How many entries lie in one piece of memory.
const CHUNK: usize = 64;

/// A vector with holes, in pieces: adding to it moves nothing.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(at) = self.free.pop() {
            *self.entry(at) = Some(value);
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("the last one has room");
        chunk.push(Some(value));
        u32::try_from(before + chunk.len() - 1).expect("fewer than 2^32 entries")
    }

    pub(crate) fn remove(&mut self, at: u32) -> T {
        let value = self.entry(at).take().unwrap_or_else(|| panic!("no entry {at}"));
        self.free.push(at);
        self.len -= 1;
        value
    }

    pub(crate) fn get(&self, at: u32) -> &T {
        let entry = &self.chunks[at as usize / CHUNK][at as usize % CHUNK];
        entry.as_ref().unwrap_or_else(|| panic!("no entry {at}"))
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> &mut T {
        self.entry(at).as_mut().unwrap_or_else(|| panic!("no entry {at}"))
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(self.chunks.iter().flatten()).filter_map(|(at, entry)| Some((at, entry.as_ref()?)))
    }

    fn entry(&mut self, at: u32) -> &mut Option<T> {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut slab = Slab::default();
        let numbers: Vec<_> = ["a", "b", "c"].into_iter().map(|s| slab.insert(s)).collect();
        assert_eq!((numbers, slab.remove(1)), (vec![0, 1, 2], "b"));
        assert_eq!((slab.len(), slab.insert("d"), *slab.get(1)), (2, 1, "d"));
        assert_eq!(slab.iter().map(|(at, s)| (at, *s)).collect::<Vec<_>>(), [(0, "a"), (1, "d"), (2, "c")]);
    }

    #[test]
    fn entries_keep_their_numbers_however_many_there_are() {
        let mut slab = Slab::default();
        let count = 5 * CHUNK as u32 / 2;
        assert!((0..count).all(|n| slab.insert(n) == n));
        (0..count).step_by(3).for_each(|n| assert_eq!(slab.remove(n), n));
        let left: Vec<u32> = (0..count).filter(|n| n % 3 != 0).collect();
        assert_eq!(slab.len(), left.len());
        assert!(slab.iter().map(|(at, value)| (at, *value)).eq(left.iter().map(|n| (*n, *n))));
    }
}
