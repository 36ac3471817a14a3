//! Digests of 128 bits from a stream of words.

use std::num::NonZeroU128;

/// A meaning. Never zero, so that one that is not known yet takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest(NonZeroU128);

/// What is digested: no digest of one kind is that of another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Type = 1,
    Attributes,
    AttributeList,
    Reference,
    Content,
    Constant,
    Function,
    Group,
    Inlinable,
}

/// Mixes words into 128 bits. Each step is a bijection of the state, and of the word for a given state: one word that
/// differs always makes a difference. Two or more cancel each other only by an accident of one in 2^128, since a word
/// is multiplied over the whole state before the next one comes. Not for input by somebody who wants digests to
/// collide: who saves a program's source may change the program anyway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher(u128);

impl Hasher {
    /// Odd, and of no pattern: the multiplier of PCG's 128-bit generator.
    const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

    #[inline]
    pub(crate) fn new(kind: Kind) -> Self {
        let mut hasher = Self(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        hasher.word(kind as u64);
        hasher
    }

    #[inline(always)]
    fn step(&mut self, word: u128) {
        let mixed = (self.0 ^ word).wrapping_mul(Self::MULTIPLIER);
        self.0 = mixed ^ mixed >> 67;
    }

    /// A number.
    #[inline(always)]
    pub(crate) fn word(&mut self, word: u64) {
        self.step(u128::from(word));
    }

    /// A part by its meaning.
    #[inline(always)]
    pub(crate) fn part(&mut self, part: Digest) {
        self.step(part.0.get());
    }

    /// Bytes, and how many.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<16>();
        words.iter().for_each(|word| self.step(u128::from_le_bytes(*word)));
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        self.step(u128::from_le_bytes(last));
    }

    #[inline]
    pub(crate) fn finish(mut self) -> Digest {
        self.word(0);
        self.word(0);
        Digest(NonZeroU128::new(self.0).unwrap_or(NonZeroU128::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn digest(write: impl FnOnce(&mut Hasher)) -> Digest {
        let mut hasher = Hasher::new(Kind::Constant);
        write(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn words_that_are_nearly_the_same_have_digests_of_their_own() {
        let pairs = (0..300u64).flat_map(|a| (0..300u64).map(move |b| (a, b)));
        let seen: HashSet<_> = pairs
            .map(|(a, b)| {
                digest(|hasher| {
                    hasher.word(a);
                    hasher.word(b);
                })
            })
            .collect();
        assert_eq!(seen.len(), 300 * 300);
        // Half of the bits change, whichever bit of the input does.
        for bit in 0..64 {
            let bits = |word: u64| digest(|hasher| hasher.word(word)).0.get();
            let changed = (bits(0x1234) ^ bits(0x1234 ^ 1 << bit)).count_ones();
            assert!((32..=96).contains(&changed), "bit {bit}: {changed}");
        }
    }

    #[test]
    fn bytes_are_told_apart_by_length_and_place() {
        let mut seen = HashSet::new();
        for len in 0..40usize {
            assert!(seen.insert(digest(|hasher| hasher.bytes(&vec![0; len]))), "{len}");
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at] = 1;
                assert!(seen.insert(digest(|hasher| hasher.bytes(&bytes))), "{at} of {len}");
            }
        }
    }
}
