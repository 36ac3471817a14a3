//! Damage to files: the generator of the fuzz test and of `examples/fuzz_bitcode.rs`.

/// A plain pseudo-random generator (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// `bytes` with one to four faults; parts may come from `other`.
pub(crate) fn mutate(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.len() < 8 {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(8) {
            // Flipped bits are what reaches deepest: the stream stays in step.
            0..=3 => bytes[at] ^= 1 << random.below(8),
            4 => bytes.truncate(at),
            5 => {
                let word = [0, u32::MAX, 0x8000_0000, 1, random.next() as u32][random.below(5)];
                let at = at & !3;
                if let Some(place) = bytes.get_mut(at..at + 4) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
            6 => {
                let from = random.below(other.len());
                let len = random.below(64).min(other.len() - from);
                bytes.splice(at..at, other[from..from + len].iter().copied());
            }
            _ => {
                let len = random.below(32).min(bytes.len() - at);
                bytes.drain(at..at + len);
            }
        }
    }
    bytes
}

/// Flips one to three bits.
pub(crate) fn flip(random: &mut Random, bytes: &mut [u8]) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
}
