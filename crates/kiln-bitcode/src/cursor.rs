use std::ops::Range;

use crate::ahead::Stretch;
use crate::codes::BlockKind;
use crate::error::{Error, ErrorKind};

/// Bits that a look-ahead word has at least where the block goes on: 64 less the at most 7 bits before them in their
/// first byte. No field is wider.
const AHEAD: u32 = 57;

/// Most fields that the record of a symbol has.
pub(crate) const SYMBOL_FIELDS: usize = 21;

/// A position in a bitstream, bounded by the end of the block it reads.
///
/// Fields are taken from a look-ahead word, which one unaligned 8-byte load fills; it never holds bits from behind the
/// block's end, so that running out of it is the only bounds check there is.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The next bits, lowest first; zeros above the `left` that count.
    word: u64,
    left: u32,
    /// First bit that is not in `word`, counted from `bytes`.
    next: u64,
    /// First bit that does not belong to the block.
    end: u64,
    /// Offset of `bytes` in the input, for error reports.
    base: u64,
    block: BlockKind,
}

impl<'a> Cursor<'a> {
    /// A cursor over all of `bytes`, which start `base` bytes into the input.
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Self {
        let (end, base) = (bytes.len() as u64 * 8, base as u64 * 8);
        Self { bytes, word: 0, left: 0, next: 0, end, base, block: BlockKind::FILE }
    }

    #[cold]
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.base + self.bit(), self.block)
    }

    /// Next bit to read, counted from `bytes`.
    #[inline]
    pub(crate) fn bit(&self) -> u64 {
        self.next - u64::from(self.left)
    }

    /// The word of the stream that it stands in.
    pub(crate) fn word(&self) -> u64 {
        self.bit() / 32
    }

    /// From here to the end of the block, in bytes of the input; both must be whole bytes.
    pub(crate) fn input_range(&self) -> Range<usize> {
        ((self.base + self.bit()) / 8) as usize..((self.base + self.end) / 8) as usize
    }

    /// Where the stream starts in the input, in bytes.
    pub(crate) fn base(&self) -> usize {
        (self.base / 8) as usize
    }

    /// Advances to the start of `word` of the stream.
    pub(crate) fn seek(&mut self, word: u64) -> Result<(), Error> {
        match word.checked_mul(32).and_then(|bit| bit.checked_sub(self.bit())) {
            Some(bits) => self.skip(bits),
            None => Err(self.error(ErrorKind::Truncated)),
        }
    }

    #[inline]
    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.bit()
    }

    /// A cursor over `len` bits from here, for reading the inside of block `block`.
    pub(crate) fn inside(&self, len: u64, block: BlockKind) -> Result<Cursor<'a>, Error> {
        if len > self.remaining() {
            return Err(self.error(ErrorKind::BadBlockLength));
        }
        let bit = self.bit();
        Ok(Cursor { word: 0, left: 0, next: bit, end: bit + len, block, ..*self })
    }

    /// Fills the look-ahead word with at least [`AHEAD`] bits, or what is left of the block.
    #[inline(always)]
    fn refill(&mut self) {
        let bit = self.bit();
        self.left = 64 - (bit & 7) as u32;
        self.word = self.bits_at(bit);
        self.next = bit + u64::from(self.left);
        if self.next > self.end {
            self.cut();
        }
    }

    /// Drops bits that do not belong to the block from the look-ahead word.
    #[cold]
    fn cut(&mut self) {
        self.left -= (self.next - self.end) as u32;
        self.next = self.end;
        self.word &= (1u64 << self.left).wrapping_sub(1);
    }

    #[cold]
    fn tail(&self, byte: usize) -> u64 {
        let rest = self.bytes.get(byte..).unwrap_or_default();
        rest.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b))
    }

    #[cold]
    fn truncated(&self) -> Error {
        self.error(ErrorKind::Truncated)
    }

    /// Makes sure that the look-ahead word has `bits`.
    #[inline]
    fn want(&mut self, bits: u32) -> Result<(), Error> {
        if self.left < bits {
            self.refill();
            if self.left < bits {
                return Err(self.truncated());
            }
        }
        Ok(())
    }

    /// Takes `bits`, fewer than 64, which the look-ahead word has.
    #[inline]
    fn drop_bits(&mut self, bits: u32) {
        self.word >>= bits;
        self.left -= bits;
    }

    /// Advances by `bits`.
    #[inline]
    pub(crate) fn skip(&mut self, bits: u64) -> Result<(), Error> {
        if bits > self.remaining() {
            return Err(self.truncated());
        }
        (self.next, self.word, self.left) = (self.bit() + bits, 0, 0);
        Ok(())
    }

    /// At least 57 bits from `bit` on, of whatever block they are.
    #[inline(always)]
    fn bits_at(&self, bit: u64) -> u64 {
        let byte = (bit >> 3) as usize;
        let word = match self.bytes.get(byte..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.tail(byte),
        };
        word >> (bit & 7)
    }

    /// Appends the next `count` bytes, which may start at any bit and must be there, to `out`. Does not advance.
    pub(crate) fn octets(&self, count: usize, out: &mut Vec<u8>) {
        let (first, before) = ((self.bit() >> 3) as usize, self.bit() & 7);
        if before == 0 {
            out.extend_from_slice(&self.bytes[first..first + count]);
        } else if count > 0 {
            let (start, padded) = (out.len(), count.next_multiple_of(8));
            let Some(words) = self.bytes.get(first..first + padded + 8) else {
                let pairs = self.bytes[first..=first + count].windows(2);
                out.extend(pairs.map(|pair| pair[0] >> before | pair[1] << (8 - before)));
                return;
            };
            out.resize(start + padded, 0);
            let (words, _) = words.as_chunks::<8>();
            let (slots, _) = out[start..].as_chunks_mut::<8>();
            for ((slot, low), high) in slots.iter_mut().zip(words).zip(&words[1..]) {
                let word = u64::from_le_bytes(*low) >> before | u64::from_le_bytes(*high) << (64 - before);
                *slot = word.to_le_bytes();
            }
            out.truncate(start + count);
        }
    }

    /// Appends the next `count` characters of `width` bits, at most 7, to `out`: eight by eight, as `spread` makes them of
    /// a word that has the first one lowest. They must be there. Does not advance.
    #[inline(always)]
    pub(crate) fn eights(&self, width: u32, count: usize, out: &mut Vec<u8>, spread: impl Fn(u64) -> [u8; 8]) {
        let end = out.len() + count;
        out.reserve(count.next_multiple_of(8));
        let step = u64::from(width) * 8;
        for n in 0..count.div_ceil(8) as u64 {
            out.extend_from_slice(&spread(self.bits_at(self.bit() + n * step)));
        }
        out.truncate(end);
    }

    /// A fixed-width field of at most 57 bits.
    #[inline]
    pub(crate) fn fixed(&mut self, width: u32) -> Result<u64, Error> {
        debug_assert!(width <= AHEAD, "field of {width} bits");
        self.want(width)?;
        let value = self.word & ((1 << width) - 1);
        self.drop_bits(width);
        Ok(value)
    }

    /// A variable-width number in chunks of `width` bits (1..=32), the top bit of each says whether more follow.
    #[inline]
    pub(crate) fn vbr(&mut self, width: u32) -> Result<u64, Error> {
        self.want(width)?;
        let more = 1u64 << (width - 1);
        if self.word & more == 0 {
            let value = self.word & (more - 1);
            self.drop_bits(width);
            return Ok(value);
        }
        if width == 8 {
            let mut look = self.look();
            let value = look.octets();
            if self.accept(look) {
                return Ok(value);
            }
        }
        self.vbr_long(width)
    }

    fn vbr_long(&mut self, width: u32) -> Result<u64, Error> {
        let more = 1u64 << (width - 1);
        let (mut look, mut value, mut shift) = (self.look(), 0, 0);
        while look.used + width <= self.left {
            let chunk = look.fixed(width);
            value |= (chunk & (more - 1)) << shift;
            shift += width - 1;
            if chunk & more == 0 {
                self.accept(look);
                return Ok(value);
            }
        }
        self.vbr_longest(width)
    }

    /// A number that does not fit the look-ahead word.
    #[cold]
    fn vbr_longest(&mut self, width: u32) -> Result<u64, Error> {
        let more = 1u64 << (width - 1);
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            self.want(width)?;
            let payload = self.word & (more - 1);
            let last = self.word & more == 0;
            self.drop_bits(width);
            if shift >= 64 || (shift > 0 && payload >> (64 - shift) != 0) {
                return Err(self.error(ErrorKind::NumberTooWide));
            }
            value |= payload << shift;
            if last {
                return Ok(value);
            }
            shift += width - 1;
            if width == 1 {
                return Err(self.error(ErrorKind::NumberTooWide));
            }
        }
    }

    /// The same for chunks of 6 bits, which most numbers come in.
    #[inline(always)]
    pub(crate) fn vbr6(&mut self) -> Result<u64, Error> {
        if self.left < Look::LONGEST {
            self.refill();
        }
        let mut look = Look { word: self.word, used: 0 };
        let number = look.number();
        if self.accept(look) { Ok(number) } else { self.vbr_long(6) }
    }

    /// Fills `out` with numbers in 6-bit chunks: the fields of an unabbreviated record.
    pub(crate) fn vbr6_array(&mut self, out: &mut [u64]) -> Result<(), Error> {
        // A copy stays in registers.
        let mut cursor = *self;
        if out.len() < Self::LONG_ARRAY {
            cursor.short_array(out)?;
        } else {
            cursor.long_array(out)?;
        }
        *self = cursor;
        Ok(())
    }

    /// Arrays from here on are records of symbols, which are mostly zeros, and strings.
    const LONG_ARRAY: usize = 16;

    #[inline(always)]
    fn short_array(&mut self, out: &mut [u64]) -> Result<(), Error> {
        let mut slots = out.iter_mut();
        loop {
            if self.left < Look::LONGEST {
                self.refill();
                if self.left < Look::LONGEST {
                    // The end is near.
                    return slots.try_for_each(|slot| self.vbr6().map(|number| *slot = number));
                }
            }
            let (mut word, mut left) = (self.word, self.left);
            while left >= Look::LONGEST {
                let Some(slot) = slots.next() else {
                    (self.word, self.left) = (word, left);
                    return Ok(());
                };
                let bits = Look::number_bits(word);
                if bits > Look::LONGEST {
                    (self.word, self.left) = (word, left);
                    *slot = self.vbr_long(6)?;
                    (word, left) = (self.word, self.left);
                    continue;
                }
                *slot = Look::number_of(word & ((1 << bits) - 1));
                word >>= bits;
                left -= bits;
            }
            (self.word, self.left) = (word, left);
        }
    }

    #[inline(always)]
    fn long_array(&mut self, out: &mut [u64]) -> Result<(), Error> {
        /// The bit of each of eight chunks that says whether another one follows.
        const MORE: u64 = 0x8208_2082_0820;
        /// The same when these are four numbers of two chunks each: characters of strings in attributes.
        const PAIRS: u64 = 0x0200_2002_0020;
        const BITS: u32 = 48;
        let mut at = 0;
        while at < out.len() {
            if self.left < Look::LONGEST {
                self.refill();
            }
            let word = self.word;
            if self.left >= BITS / 2
                && let Some(four) = out[at..].first_chunk_mut::<4>()
            {
                if word & MORE == PAIRS && self.left >= BITS {
                    *four = std::array::from_fn(|n| word >> (12 * n) & 0x1f | word >> (12 * n + 1) & 0x3e0);
                    at += 4;
                    self.drop_bits(BITS);
                    continue;
                }
                if word & MORE & 0xff_ffff == 0 {
                    *four = std::array::from_fn(|n| word >> (6 * n) & 0x1f);
                    at += 4;
                    self.drop_bits(BITS / 2);
                    continue;
                }
            }
            if word & 32 == 0 && self.left >= 6 {
                out[at] = word & 31;
                self.drop_bits(6);
            } else {
                out[at] = self.vbr6()?;
            }
            at += 1;
        }
        Ok(())
    }

    /// Takes the fields of the unabbreviated record of a function or a global as LLVM 22 writes them, if it is one:
    /// where the long ones and the runs of short ones are is known. Returns the record's code and length.
    #[inline(always)]
    pub(crate) fn symbol_record(&mut self, fields: &mut [u64; SYMBOL_FIELDS]) -> Option<(u32, usize)> {
        const FUNCTION: [u64; 2] = [8, 21];
        const GLOBAL: [u64; 2] = [7, 20];
        // A copy stays in registers, and nothing is taken if this does not work out.
        let mut cursor = *self;
        let mut head = [0; 2];
        cursor.group(|look| {
            head = look.shorts::<2>();
            // Place and size of the name.
            fields[0] = look.number();
            fields[1] = look.number();
        })?;
        match head {
            FUNCTION => {
                cursor.group(|look| {
                    // Type.
                    fields[2] = look.number();
                    look.shorts_into::<3>(&mut fields[3..]);
                    // Attributes.
                    fields[6] = look.number();
                })?;
                // The last one of these is the comdat.
                cursor.group(|look| look.shorts_into::<8>(&mut fields[7..]))?;
                cursor.group(|look| {
                    look.shorts_into::<4>(&mut fields[15..]);
                    // Partition.
                    fields[19] = look.number();
                })?;
                cursor.group(|look| fields[20] = look.number())?;
            }
            GLOBAL => {
                cursor.group(|look| {
                    // Type, flags, initial value.
                    fields[2] = look.number();
                    fields[3] = look.number();
                    fields[4] = look.number();
                })?;
                // The last one of these is the comdat.
                cursor.group(|look| look.shorts_into::<9>(&mut fields[5..]))?;
                cursor.group(|look| {
                    look.shorts_into::<2>(&mut fields[14..]);
                    // Partition.
                    fields[16] = look.number();
                })?;
                cursor.group(|look| look.shorts_into::<3>(&mut fields[17..]))?;
                fields[20] = 0;
            }
            _ => return None,
        }
        *self = cursor;
        Some((head[0] as u32, head[1] as usize))
    }

    /// Takes fields of at most [`AHEAD`] bits together; `None` if they have more, or the block ends.
    #[inline(always)]
    fn group(&mut self, take: impl FnOnce(&mut Look)) -> Option<()> {
        if self.left < AHEAD {
            self.refill();
        }
        let mut look = Look { word: self.word, used: 0 };
        take(&mut look);
        self.accept(look).then_some(())
    }

    /// What comes next, for taking several fields without a check for each: [`Cursor::accept`] makes it.
    #[inline]
    pub(crate) fn look(&mut self) -> Look {
        if self.left < AHEAD {
            self.refill();
        }
        Look { word: self.word, used: 0 }
    }

    /// Advances by what was taken from `look`, unless that was more than there is.
    #[inline]
    pub(crate) fn accept(&mut self, look: Look) -> bool {
        let enough = look.used <= self.left;
        if enough {
            self.word = look.word;
            self.left -= look.used;
        }
        enough
    }

    /// The bits from here on.
    pub(crate) fn ahead(&self) -> Stretch<'a> {
        Stretch { bytes: self.bytes, place: self.bit(), end: self.end }
    }

    /// Advances to `place`, counted as those of [`Cursor::ahead`] are.
    pub(crate) fn go_to(&mut self, place: u64) -> Result<(), Error> {
        match place.checked_sub(self.bit()) {
            Some(bits) => self.skip(bits),
            None => Err(self.truncated()),
        }
    }

    /// Advances to the next multiple of 32 bits from the start of the stream.
    pub(crate) fn align32(&mut self) -> Result<(), Error> {
        self.skip(self.bit().wrapping_neg() & 31)
    }

    /// `len` whole bytes from here; the cursor must stand on a byte.
    pub(crate) fn byte_slice(&mut self, len: u64) -> Result<&'a [u8], Error> {
        let start = (self.bit() / 8) as usize;
        if len > self.remaining() / 8 {
            return Err(self.truncated());
        }
        self.skip(len * 8)?;
        Ok(&self.bytes[start..start + len as usize])
    }
}

/// The bits ahead of a [`Cursor`]: fields taken from them count only once they are accepted.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    word: u64,
    /// Bits taken; more than there can be, if a field was too long for this.
    used: u32,
}

impl Look {
    /// Bits of the longest variable-width number in chunks of 6 bits that is taken: five chunks.
    const LONGEST: u32 = 30;
    /// More than there can be.
    const TOO_LONG: u32 = 1 << 16;

    #[inline]
    pub(crate) fn fixed(&mut self, width: u32) -> u64 {
        let value = self.word & ((1 << width) - 1);
        self.word >>= width;
        self.used += width;
        value
    }

    /// How many bits the number in chunks of 6 bits at the bottom of `word` takes; more than [`Look::LONGEST`] if it has
    /// more than five chunks.
    #[inline(always)]
    fn number_bits(word: u64) -> u32 {
        /// The bit of each chunk that says whether another one follows.
        const MORE: u64 = 0x2082_0820;
        (!word & MORE | 1 << Look::LONGEST).trailing_zeros() + 1
    }

    /// The number in five chunks of 6 bits.
    #[inline(always)]
    fn number_of(chunks: u64) -> u64 {
        chunks & 0x1f | chunks >> 1 & 0x3e0 | chunks >> 2 & 0x7c00 | chunks >> 3 & 0xf_8000 | chunks >> 4 & 0x1f0_0000
    }

    /// A number in chunks of 6 bits, put together without a branch: how many chunks numbers have is hard to predict.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> u64 {
        let bits = Self::number_bits(self.word);
        let chunks = self.word & ((1 << bits) - 1);
        self.word >>= bits;
        self.used += if bits > Look::LONGEST { Look::TOO_LONG } else { bits };
        Self::number_of(chunks)
    }

    /// `N` numbers that are expected to have one chunk of 6 bits each.
    #[inline(always)]
    fn shorts<const N: usize>(&mut self) -> [u64; N] {
        /// The bit of each of nine chunks that says whether another one follows.
        const MORE: u64 = 0x20_8208_2082_0820;
        let bits = 6 * N as u32;
        if self.word & MORE & ((1 << bits) - 1) == 0 {
            let word = self.word;
            self.word >>= bits;
            self.used += bits;
            return std::array::from_fn(|n| word >> (6 * n) & 0x1f);
        }
        std::array::from_fn(|_| self.number())
    }

    #[inline(always)]
    fn shorts_into<const N: usize>(&mut self, out: &mut [u64]) {
        if let Some(out) = out.first_chunk_mut() {
            *out = self.shorts::<N>();
        }
    }

    /// A number in at most four chunks of 8 bits.
    #[inline(always)]
    pub(crate) fn octets(&mut self) -> u64 {
        /// The bit of each chunk that says whether another one follows.
        const MORE: u64 = 0x8080_8080;
        let last = !self.word & MORE | 1 << 32;
        let bits = last.trailing_zeros() + 1;
        let chunks = self.word & (last ^ (last - 1));
        self.word >>= bits;
        self.used += if bits > 32 { Look::TOO_LONG } else { bits };
        chunks & 0x7f | chunks >> 1 & 0x3f80 | chunks >> 2 & 0x1f_c000 | chunks >> 3 & 0xfe0_0000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cross_bytes_and_the_tail() {
        let bytes: Vec<u8> = (1..=11).collect();
        let mut cursor = Cursor::new(&bytes, 0);
        assert_eq!(cursor.fixed(4).unwrap(), 1);
        assert_eq!(cursor.fixed(8).unwrap(), 0x20);
        cursor.skip(60).unwrap();
        assert_eq!(cursor.fixed(16).unwrap(), 0x0b0a);
        assert_eq!(cursor.fixed(1).unwrap_err().kind(), &ErrorKind::Truncated);
    }

    #[test]
    fn variable_width_numbers() {
        // 6-bit chunks of 1000: 01000 more, 11111 last = 0b11111_01000
        let bytes = (0b101000u64 | 0b011111 << 6).to_le_bytes();
        assert_eq!(Cursor::new(&bytes, 0).vbr(6).unwrap(), 1000);
        assert_eq!(Cursor::new(&[0xff; 32], 0).vbr(6).unwrap_err().kind(), &ErrorKind::NumberTooWide);
        assert_eq!(Cursor::new(&[0xff; 32], 0).vbr(1).unwrap_err().kind(), &ErrorKind::NumberTooWide);
        assert_eq!(Cursor::new(&[0xff; 4], 0).vbr(6).unwrap_err().kind(), &ErrorKind::Truncated);
    }

    #[test]
    fn characters_read_as_their_fields() {
        let bytes: Vec<u8> = (0..24u8).map(|n| n.wrapping_mul(151).wrapping_add(89)).collect();
        for (width, start) in [6, 7, 8].into_iter().flat_map(|width| (0..17).map(move |start| (width, start))) {
            // Up to the last bit of the input.
            for count in 0..=(bytes.len() as u64 * 8 - start) / u64::from(width) {
                let mut cursor = Cursor::new(&bytes, 0);
                cursor.skip(start).unwrap();
                let mut text = vec![b'x'];
                match width {
                    8 => cursor.octets(count as usize, &mut text),
                    _ => cursor.eights(width, count as usize, &mut text, |word| {
                        std::array::from_fn(|n| (word >> (width * n as u32) & ((1 << width) - 1)) as u8)
                    }),
                }
                let one_by_one = (0..count).map(|_| cursor.fixed(width).unwrap() as u8);
                assert_eq!(text, [b'x'].into_iter().chain(one_by_one).collect::<Vec<_>>(), "{width} {start} {count}");
            }
        }
    }

    #[test]
    fn arrays_read_as_their_elements() {
        // Every chunk pattern comes up in pseudo-random bytes.
        let mut state = 1u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(4096)
        .collect();
        let (mut one, mut many) = (Cursor::new(&bytes, 0), Cursor::new(&bytes, 0));
        let mut singles = Vec::new();
        while let Ok(number) = one.vbr(6) {
            singles.push(number);
        }
        let mut array = vec![0; singles.len()];
        many.vbr6_array(&mut array).unwrap();
        assert_eq!(array, singles);
        assert!(singles.len() > 1000);
        assert!(Cursor::new(&bytes[..8], 0).vbr6_array(&mut array[..40]).is_err());
        // Runs of small numbers and of characters, which are taken several at once.
        let numbers: Vec<u64> = (0..400u64).map(|n| if n / 40 % 3 == 0 { n % 32 } else { 64 + n % 60 }).collect();
        let mut bits = 0u128;
        let (mut bytes, mut used) = (Vec::new(), 0);
        for number in &numbers {
            let chunks: &[u64] = if *number < 32 { &[*number] } else { &[number & 31 | 32, number >> 5] };
            for chunk in chunks {
                bits |= u128::from(*chunk) << used;
                used += 6;
                while used >= 8 {
                    bytes.push(bits as u8);
                    (bits, used) = (bits >> 8, used - 8);
                }
            }
        }
        bytes.push(bits as u8);
        let mut array = vec![0; numbers.len()];
        Cursor::new(&bytes, 0).vbr6_array(&mut array).unwrap();
        assert_eq!(array, numbers);
    }

    #[test]
    fn the_widest_number_is_read() {
        // u64::MAX in 6-bit chunks: twelve of five payload bits, then four.
        let mut bits = vec![0u8; 12];
        for chunk in 0..13 {
            let value: u128 = if chunk == 12 { 0xf } else { 0x3f };
            let word = value << (chunk * 6 % 8);
            for (i, byte) in word.to_le_bytes().iter().take(2).enumerate() {
                if let Some(slot) = bits.get_mut(chunk * 6 / 8 + i) {
                    *slot |= byte;
                }
            }
        }
        assert_eq!(Cursor::new(&bits, 0).vbr(6).unwrap(), u64::MAX);
        assert_eq!(Cursor::new(&bits, 0).vbr6().unwrap(), u64::MAX);
    }

    #[test]
    fn nothing_is_read_behind_the_end_of_a_block() {
        let bytes = [0xff; 64];
        let outer = Cursor::new(&bytes, 0);
        for len in 0..100 {
            let mut inside = outer.inside(len, BlockKind::FILE).unwrap();
            let mut read = 0;
            while inside.fixed(3).is_ok() {
                read += 3;
            }
            assert_eq!((read, inside.remaining()), (len / 3 * 3, len % 3));
            let inside = || outer.inside(len, BlockKind::FILE).unwrap();
            assert!(inside().vbr6().is_err() && inside().vbr(4).is_err());
            assert!(len >= 57 || inside().fixed(len as u32 + 1).is_err());
        }
        let zeros = [0; 8];
        for len in 0..12 {
            let mut inside = Cursor::new(&zeros, 0).inside(len, BlockKind::FILE).unwrap();
            assert_eq!(inside.vbr6().is_ok(), len >= 6);
        }
    }
}
