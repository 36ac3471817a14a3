//! Numbered things whose numbers are used again.

/// A vector with holes.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let Some(at) = self.free.pop() else {
            self.entries.push(Some(value));
            return u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 entries");
        };
        self.entries[at as usize] = Some(value);
        at
    }

    pub(crate) fn remove(&mut self, at: u32) -> T {
        let value = self.entries[at as usize].take().unwrap_or_else(|| panic!("no entry {at}"));
        self.free.push(at);
        value
    }

    pub(crate) fn get(&self, at: u32) -> &T {
        self.entries[at as usize].as_ref().unwrap_or_else(|| panic!("no entry {at}"))
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> &mut T {
        self.entries[at as usize].as_mut().unwrap_or_else(|| panic!("no entry {at}"))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(&self.entries).filter_map(|(at, entry)| Some((at, entry.as_ref()?)))
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
}
