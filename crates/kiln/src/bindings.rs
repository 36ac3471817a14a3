//! What the ids of one kind of a module are bound to: a word for each, because a module has tens of thousands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use kiln_abi::ExecutorAddr;
use kiln_link::External;

/// What references to ids bind to. An id is unset until somebody asks (names outside the module) or until the version that
/// owns it is installed (constants that hold label addresses); once set it stays what it is.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    /// A [`Form`], and above it what it says.
    words: Vec<AtomicU64>,
    /// What does not fit a word.
    wide: Mutex<Vec<External>>,
}

/// What a word holds.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Form {
    Unset,
    /// Bound to nothing.
    Nothing,
    Function,
    Near,
    Data,
    StaticTls,
    /// The place among the wide ones.
    Wide,
}

impl Form {
    const BITS: u32 = 3;
    const ALL: [Form; 7] =
        [Form::Unset, Form::Nothing, Form::Function, Form::Near, Form::Data, Form::StaticTls, Form::Wide];

    /// The word of this form for `value`, if that fits.
    fn word(self, value: u64) -> Option<u64> {
        let word = value << Self::BITS;
        ((word as i64) >> Self::BITS == value as i64).then_some(word | self as u64)
    }
}

impl Bindings {
    /// So many ids, none of them set.
    pub(crate) fn new(count: usize) -> Self {
        Self { words: (0..count).map(|_| AtomicU64::new(0)).collect(), wide: Mutex::default() }
    }

    #[inline]
    fn encode(&self, bound: Option<External>) -> u64 {
        let word = match bound {
            None => Some(Form::Nothing as u64),
            Some(External::Function(address)) => Form::Function.word(address.get()),
            Some(External::Near(address)) => Form::Near.word(address.get()),
            Some(External::Data(address)) => Form::Data.word(address.get()),
            Some(External::StaticTls { tp_offset }) => Form::StaticTls.word(tp_offset as u64),
            Some(_) => None,
        };
        match (word, bound) {
            (Some(word), _) => word,
            (None, Some(bound)) => self.encode_wide(bound),
            (None, None) => Form::Nothing as u64,
        }
    }

    #[cold]
    fn encode_wide(&self, bound: External) -> u64 {
        let mut wide = self.wide.lock().unwrap_or_else(PoisonError::into_inner);
        wide.push(bound);
        (wide.len() as u64 - 1) << Form::BITS | Form::Wide as u64
    }

    /// `None` if it is not set.
    #[inline]
    fn decode(&self, word: u64) -> Option<Option<External>> {
        let value = ((word as i64) >> Form::BITS) as u64;
        let address = ExecutorAddr::new(value);
        let form = Form::ALL.get((word & ((1 << Form::BITS) - 1)) as usize).copied().unwrap_or(Form::Unset);
        Some(Some(match form {
            Form::Unset => return None,
            Form::Nothing => return Some(None),
            Form::Function => External::Function(address),
            Form::Near => External::Near(address),
            Form::Data => External::Data(address),
            Form::StaticTls => External::StaticTls { tp_offset: value as i64 },
            Form::Wide => self.wide.lock().unwrap_or_else(PoisonError::into_inner)[value as usize],
        }))
    }

    /// What `id` is bound to; `None` if it is not set, or not there.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<Option<External>> {
        // Acquire: whoever set it has written what lies there. Pairs with the exchange in `set` and the store in `fill`.
        self.decode(self.words.get(id as usize)?.load(Ordering::Acquire))
    }

    /// Whether `id` is set.
    #[inline]
    pub(crate) fn is_set(&self, id: u32) -> bool {
        // Acquire: see `get`.
        self.words.get(id as usize).is_some_and(|word| word.load(Ordering::Acquire) != 0)
    }

    /// What `id` is bound to, if it is set and bound to something.
    #[inline]
    pub(crate) fn bound(&self, id: u32) -> Option<External> {
        self.get(id).flatten()
    }

    /// Sets `id` unless it is set; whether it was not.
    pub(crate) fn set(&self, id: u32, bound: Option<External>) -> bool {
        let Some(word) = self.words.get(id as usize) else { return false };
        // Release: see `get`. Of two threads, one is first.
        word.compare_exchange(0, self.encode(bound), Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The same while no other thread can know of the module: cheaper.
    #[inline]
    pub(crate) fn fill(&self, id: u32, bound: Option<External>) {
        // Relaxed: nobody else sets it.
        if let Some(word) = self.words.get(id as usize)
            && word.load(Ordering::Relaxed) == 0
        {
            // Release: see `get`.
            word.store(self.encode(bound), Ordering::Release);
        }
    }

    /// What `id` is bound to; if it is not set, to what `find` finds.
    pub(crate) fn get_or_set(&self, id: u32, find: impl FnOnce() -> Option<External>) -> Option<External> {
        if let Some(bound) = self.get(id) {
            return bound;
        }
        let found = find();
        self.set(id, found);
        // Another thread may have been first.
        self.get(id).unwrap_or(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_again() {
        let addresses =
            [0, 1, 0x7fff_ffff_ffff, 1 << 59, 1 << 60, 1 << 63, u64::MAX, u64::MAX >> 3].map(ExecutorAddr::new);
        let mut all = vec![None];
        for address in addresses {
            all.extend([External::Function(address), External::Near(address), External::Data(address)].map(Some));
            all.push(Some(External::StaticTls { tp_offset: address.get() as i64 }));
            all.push(Some(External::DynamicTls { module: address.get(), offset: 3 }));
        }
        let bindings = Bindings::new(all.len() + 1);
        for (id, bound) in (0..).zip(&all) {
            assert_eq!(bindings.get(id), None);
            if id % 2 == 0 { assert!(bindings.set(id, *bound)) } else { bindings.fill(id, *bound) }
        }
        for (id, bound) in (0..).zip(&all) {
            // The first one stays.
            assert!(!bindings.set(id, Some(External::DynamicTls { module: 1, offset: 1 })));
            bindings.fill(id, None);
            assert_eq!(bindings.get_or_set(id, || unreachable!("it is set")), *bound);
            assert_eq!((bindings.get(id), bindings.bound(id)), (Some(*bound), *bound));
        }
        let last = all.len() as u32;
        assert!(!bindings.is_set(last));
        assert_eq!(bindings.get_or_set(last, || all[1]), all[1]);
        assert!(bindings.is_set(last));
        assert_eq!((bindings.get(last + 1), bindings.set(last + 1, None)), (None, false));
    }
}
