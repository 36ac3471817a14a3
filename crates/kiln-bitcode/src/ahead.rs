//! Fields from a word of bits, without a check for each.

/// Bits that a word has at least: 64 less the at most 7 before them in their first byte.
const BITS: u32 = 57;

/// A stretch of a stream, which bits are taken from; never its first ones, which are a magic number.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) place: u64,
    pub(crate) end: u64,
}

/// The bits from some place of a stream on.
///
/// Fields are taken from a word that one unaligned load fills. Taking more than that has gives zeros: whoever takes
/// fields sees to it that they fit, by [`Ahead::more`], or asks [`Ahead::finish`] before using them.
pub(crate) struct Ahead<'a> {
    bytes: &'a [u8],
    /// Place of the word's first bit.
    at: u64,
    /// Those not taken yet, lowest first.
    word: u64,
    taken: u32,
    /// First bit that does not belong to the block.
    end: u64,
}

impl<'a> Ahead<'a> {
    /// Bits of the longest number that is taken at once: four chunks.
    pub(crate) const NUMBER: u32 = 24;
    /// The bit of each of four chunks that says whether another one follows.
    const MORE: u64 = 0x82_0820;

    #[inline(always)]
    pub(crate) fn new(from: Stretch<'a>) -> Self {
        Self { bytes: from.bytes, at: from.place, word: 0, taken: 0, end: from.end }
    }

    /// The place of the next bit.
    #[inline(always)]
    fn place(&self) -> u64 {
        self.at + u64::from(self.taken)
    }

    /// What begins at the word, or behind what [`Ahead::finish`] counted.
    #[inline(always)]
    pub(crate) fn rest(&self) -> Stretch<'a> {
        Stretch { bytes: self.bytes, place: self.at, end: self.end }
    }

    /// Makes as many bits available as one load gives: 57.
    #[inline(always)]
    pub(crate) fn more(&mut self) {
        debug_assert!(self.taken <= BITS, "{} bits of {BITS}", self.taken);
        self.at = self.place();
        self.load();
    }

    /// Makes bits available for the first time, or after [`Ahead::finish`].
    #[inline(always)]
    pub(crate) fn load(&mut self) {
        let byte = (self.at >> 3) as usize;
        let word = match self.bytes.get(byte..byte + 8).and_then(|chunk| chunk.first_chunk::<8>()) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => tail(self.bytes, byte),
        };
        self.word = word >> (self.at & 7);
        self.taken = 0;
    }

    /// The same as [`Ahead::more`], unless there are `bits` still.
    #[inline(always)]
    pub(crate) fn more_than(&mut self, bits: u32) {
        if self.taken + bits > BITS {
            self.more();
        }
    }

    /// Whether all bits that were taken exist. No more can be taken before the next [`Ahead::load`].
    #[inline(always)]
    pub(crate) fn finish(&mut self) -> bool {
        let fits = self.taken <= BITS;
        self.at = self.place();
        fits && self.at <= self.end
    }

    /// A field of a fixed width below 64.
    #[inline(always)]
    pub(crate) fn fixed(&mut self, width: u32) -> u64 {
        let value = self.word & ((1 << width) - 1);
        self.word >>= width;
        self.taken += width;
        value
    }

    /// A number in chunks of 6 bits, put together without a branch: how many chunks numbers have is hard to predict.
    /// After a longer one, [`BITS`] are available.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> u64 {
        const PAYLOAD: u64 = 0xff_ffff ^ Ahead::MORE;
        const ODD_CHUNKS: u64 = 0x7c_07c0;
        let last = !self.word & Self::MORE;
        if last == 0 {
            return self.long_number();
        }
        let chunks = self.word & (last ^ (last - 1)) & PAYLOAD;
        let bits = last.trailing_zeros();
        self.word = self.word >> bits >> 1;
        self.taken += bits + 1;
        let pairs = chunks - ((chunks & ODD_CHUNKS) >> 1);
        pairs & 0x3ff | (pairs & 0x3f_f000) >> 2
    }

    /// Passes over a number in chunks of 6 bits. After a longer one, [`BITS`] are available.
    #[inline(always)]
    pub(crate) fn skip(&mut self) {
        let last = !self.word & Self::MORE;
        if last == 0 {
            self.long_number();
            return;
        }
        let bits = last.trailing_zeros();
        self.word = self.word >> bits >> 1;
        self.taken += bits + 1;
    }

    /// A number in chunks of 6 bits, where few have more than two. After a longer one, [`BITS`] are available.
    #[inline(always)]
    pub(crate) fn near(&mut self) -> u64 {
        let known = u32::from(SHORT_NUMBERS[(self.word & 0xfff) as usize]);
        let bits = known >> SHORT_BITS;
        if bits == 0 {
            return self.number();
        }
        self.word >>= bits;
        self.taken += bits;
        u64::from(known & ((1 << SHORT_BITS) - 1))
    }

    /// Takes `width` bits if they are `bits`.
    #[inline(always)]
    pub(crate) fn is_next(&mut self, bits: u64, width: u32) -> bool {
        let is_next = self.word & ((1 << width) - 1) == bits;
        if is_next {
            self.fixed(width);
        }
        is_next
    }

    /// A number of any length, and more bits behind it.
    #[inline(always)]
    fn long_number(&mut self) -> u64 {
        // By value: what a function has a reference to does not stay in registers.
        let place = self.place();
        let (value, bits) = long_number(self.bytes, place);
        self.at = place + u64::from(bits);
        // If it is too long, nothing that was taken is of use.
        self.end = if bits == 0 { 0 } else { self.end };
        self.load();
        value
    }

    /// A number in one or two chunks of 8 bits; not sound if it has more.
    #[inline(always)]
    pub(crate) fn column(&mut self) -> u64 {
        let width = if self.word & 0x80 == 0 { 8 } else { 16 };
        let chunks = self.fixed(width);
        if chunks >> 15 != 0 {
            self.end = 0;
        }
        chunks & 0x7f | chunks >> 1 & 0x3f80
    }

    /// Passes over a number in one or two chunks of 8 bits; not sound if it has more.
    #[inline(always)]
    pub(crate) fn skip_column(&mut self) {
        let width = if self.word & 0x80 == 0 { 8 } else { 16 };
        if self.fixed(width) >> 15 != 0 {
            self.end = 0;
        }
    }

    /// A number in at most four chunks of 8 bits; not sound if it has more.
    #[inline(always)]
    pub(crate) fn octets(&mut self) -> u64 {
        const MORE: u64 = 0x8080_8080;
        let last = !self.word & MORE;
        if last == 0 {
            self.end = 0;
            return 0;
        }
        let chunks = self.word & (last ^ (last - 1));
        let bits = last.trailing_zeros();
        self.word = self.word >> bits >> 1;
        self.taken += bits + 1;
        chunks & 0x7f | chunks >> 1 & 0x3f80 | chunks >> 2 & 0x1f_c000 | chunks >> 3 & 0xfe0_0000
    }

    /// Takes `width` bits if they are zeros.
    #[inline(always)]
    pub(crate) fn zeros(&mut self, width: u32) -> bool {
        self.more_than(width);
        self.fixed(width) == 0
    }
}

const _: () = assert!(2 * Ahead::NUMBER <= BITS);

/// Bits of numbers in two chunks of 6 bits.
const SHORT_BITS: u32 = 10;

/// By two chunks of 6 bits the number they start with, and above it how many bits it has: none if it is longer.
static SHORT_NUMBERS: [u16; 1 << 12] = {
    let mut table = [0; 1 << 12];
    let mut chunks = 0;
    while chunks < table.len() {
        let (low, high) = (chunks as u16 & 63, chunks as u16 >> 6);
        table[chunks] = match (low >> 5, high >> 5) {
            (0, _) => low | 6 << SHORT_BITS,
            (_, 0) => low & 31 | high << 5 | 12 << SHORT_BITS,
            _ => 0,
        };
        chunks += 1;
    }
    table
};

/// The number in chunks of 6 bits at `place`, and how many bits it takes: none if it is too long.
#[cold]
#[inline(never)]
fn long_number(bytes: &[u8], place: u64) -> (u64, u32) {
    let mut ahead = Ahead::new(Stretch { bytes, place, end: 0 });
    ahead.load();
    // Most have no more than four.
    if !ahead.word & Ahead::MORE != 0 {
        let value = ahead.number();
        return (value, ahead.taken);
    }
    let (mut value, mut shift) = (0, 0);
    while ahead.taken + 6 <= BITS {
        let chunk = ahead.fixed(6);
        value |= (chunk & 31) << shift;
        shift += 5;
        if chunk & 32 == 0 {
            return (value, ahead.taken);
        }
    }
    (0, 0)
}

/// The last bytes, then zeros.
#[cold]
#[inline(never)]
fn tail(bytes: &[u8], byte: usize) -> u64 {
    let rest = bytes.get(byte..).unwrap_or_default();
    rest.iter().take(8).rev().fold(0, |word, b| word << 8 | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;

    fn stretch(bytes: &[u8]) -> Stretch<'_> {
        Stretch { bytes, place: 0, end: bytes.len() as u64 * 8 }
    }

    #[test]
    fn numbers_read_as_a_cursor_reads_them() {
        // Every pattern of chunks comes up in pseudo-random bytes.
        let mut state = 1u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(4096)
        .collect();
        for take in [Ahead::number, Ahead::near] {
            let (mut cursor, mut ahead) = (Cursor::new(&bytes, 0), Ahead::new(stretch(&bytes)));
            let mut count = 0;
            // Not the first bits: see `Stretch`.
            for _ in 0..10 {
                ahead.load();
                take(&mut ahead);
                assert!(ahead.finish());
                cursor.vbr6().unwrap();
            }
            loop {
                ahead.load();
                let place = ahead.rest().place;
                let number = take(&mut ahead);
                let Ok(expected) = cursor.vbr6() else { break assert!(!ahead.finish()) };
                let bits = cursor_bits(&bytes, place);
                if ahead.finish() {
                    assert_eq!((number, ahead.rest().place), (expected, place + bits));
                    count += 1;
                } else {
                    // Too long for a word.
                    assert!(bits > 54, "number at bit {place} not read");
                    ahead = Ahead::new(Stretch { place: place + bits, ..stretch(&bytes) });
                }
            }
            assert!(count > 1000);
        }
    }

    /// How many bits the number at `place` takes.
    fn cursor_bits(bytes: &[u8], place: u64) -> u64 {
        let bit = |at: u64| bytes[(at / 8) as usize] >> (at % 8) & 1;
        (0..).map(|chunk| chunk * 6).find(|chunk| bit(place + chunk + 5) == 0).unwrap() + 6
    }

    #[test]
    fn nothing_is_sound_behind_the_end() {
        let bytes = [0xff; 16];
        for len in 0..100 {
            let mut ahead = Ahead::new(Stretch { bytes: &bytes, place: 3, end: 3 + len });
            let mut read = 0;
            loop {
                ahead.load();
                ahead.fixed(5);
                if !ahead.finish() {
                    break;
                }
                read += 5;
            }
            assert_eq!(read, len / 5 * 5);
        }
        // More than there is in a word, and numbers that are too long.
        let mut ahead = Ahead::new(stretch(&bytes));
        ahead.load();
        ahead.fixed(30);
        ahead.fixed(30);
        assert!(!ahead.finish());
        for take in [Ahead::number, Ahead::near, Ahead::octets, Ahead::column] {
            let mut ahead = Ahead::new(Stretch { place: 3, ..stretch(&bytes) });
            ahead.load();
            take(&mut ahead);
            assert!(!ahead.finish());
        }
    }

    #[test]
    fn octets_and_columns() {
        let bytes = 0x0123_8585u64.to_le_bytes();
        let mut ahead = Ahead::new(stretch(&bytes));
        ahead.load();
        assert_eq!(ahead.octets(), 5 | 5 << 7 | 0x23 << 14);
        assert_eq!((ahead.column(), ahead.fixed(4), ahead.zeros(12)), (1, 0, true));
        assert!(ahead.finish());
    }
}
