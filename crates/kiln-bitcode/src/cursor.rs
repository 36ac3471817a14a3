use crate::codes::BlockKind;
use crate::error::{Error, ErrorKind};

/// Bits that one look-ahead word is guaranteed to hold: 64 less the at most 7 bits before the position in its byte.
const PEEK_BITS: u32 = 57;

/// A position in a bitstream, bounded by the end of the block it reads.
///
/// Every field is taken from one unaligned 8-byte load; only the last seven bytes of the input take a slower way.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Next bit to read, counted from `bytes`.
    bit: u64,
    /// First bit that does not belong to the block.
    end: u64,
    /// Offset of `bytes` in the input, for error reports.
    base: u64,
    block: BlockKind,
}

impl<'a> Cursor<'a> {
    /// A cursor over all of `bytes`, which start `base` bytes into the input.
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, bit: 0, end: bytes.len() as u64 * 8, base: base as u64 * 8, block: BlockKind::FILE }
    }

    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.base + self.bit, self.block)
    }

    /// The position counted from the start of the input, in bytes; the cursor must stand on a byte.
    pub(crate) fn input_byte(&self) -> usize {
        ((self.base + self.bit) / 8) as usize
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.end - self.bit
    }

    /// A cursor over `len` bits from here, for reading the inside of block `block`.
    pub(crate) fn inside(&self, len: u64, block: BlockKind) -> Result<Cursor<'a>, Error> {
        if len > self.remaining() {
            return Err(self.error(ErrorKind::BadBlockLength));
        }
        Ok(Cursor { end: self.bit + len, block, ..*self })
    }

    #[inline]
    fn peek(&self) -> u64 {
        let byte = (self.bit >> 3) as usize;
        let word = match self.bytes.get(byte..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.peek_tail(byte),
        };
        word >> (self.bit & 7)
    }

    #[cold]
    fn peek_tail(&self, byte: usize) -> u64 {
        let rest = self.bytes.get(byte..).unwrap_or_default();
        rest.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b))
    }

    #[cold]
    fn truncated(&self) -> Error {
        self.error(ErrorKind::Truncated)
    }

    /// Advances by `bits`.
    #[inline]
    pub(crate) fn skip(&mut self, bits: u64) -> Result<(), Error> {
        if bits > self.remaining() {
            return Err(self.truncated());
        }
        self.bit += bits;
        Ok(())
    }

    /// A fixed-width field of at most 57 bits.
    #[inline]
    pub(crate) fn fixed(&mut self, width: u32) -> Result<u64, Error> {
        debug_assert!(width <= PEEK_BITS, "field of {width} bits");
        let value = self.peek() & ((1 << width) - 1);
        self.skip(u64::from(width))?;
        Ok(value)
    }

    /// A variable-width number in chunks of `width` bits (1..=32), the top bit of each says whether more follow.
    #[inline]
    pub(crate) fn vbr(&mut self, width: u32) -> Result<u64, Error> {
        let word = self.peek();
        let more = 1u64 << (width - 1);
        let first = word & ((more << 1) - 1);
        if first & more == 0 {
            self.skip(u64::from(width))?;
            return Ok(first);
        }
        self.vbr_long(width)
    }

    fn vbr_long(&mut self, width: u32) -> Result<u64, Error> {
        let more = 1u64 << (width - 1);
        let mask = (more << 1) - 1;
        let (mut value, mut shift) = (0u64, 0u32);
        let (mut word, mut left) = (self.peek(), PEEK_BITS);
        loop {
            if left < width {
                (word, left) = (self.peek(), PEEK_BITS);
            }
            let chunk = word & mask;
            word >>= width;
            left -= width;
            self.skip(u64::from(width))?;
            let payload = chunk & (more - 1);
            if shift >= 64 || (shift > 0 && payload >> (64 - shift) != 0) {
                return Err(self.error(ErrorKind::NumberTooWide));
            }
            value |= payload << shift;
            if chunk & more == 0 {
                return Ok(value);
            }
            shift += width - 1;
            if width == 1 {
                return Err(self.error(ErrorKind::NumberTooWide));
            }
        }
    }

    /// Appends `count` numbers in 6-bit chunks: the fields of an unabbreviated record.
    ///
    /// Several numbers come from one look-ahead word. Most have one chunk; those of up to five are put together without
    /// a loop.
    pub(crate) fn vbr6_array(&mut self, count: u64, out: &mut Vec<u64>) -> Result<(), Error> {
        /// The bit of each chunk that says whether another one follows.
        const MORE: u64 = 0x0820_8208_2082_0820;
        const LONGEST: u32 = 5 * 6;
        let start = out.len();
        out.resize(start + count as usize, 0);
        let slots = &mut out[start..];
        let mut next = 0;
        'reload: while next < slots.len() {
            let mut word = self.peek();
            let mut used = 0;
            while next < slots.len() && used <= PEEK_BITS - LONGEST {
                let number = &mut slots[next];
                next += 1;
                if word & 32 == 0 {
                    *number = word & 31;
                    word >>= 6;
                    used += 6;
                } else {
                    let bits = (!word & MORE).trailing_zeros() + 1;
                    if bits > LONGEST {
                        self.skip(u64::from(used))?;
                        *number = self.vbr_long(6)?;
                        continue 'reload;
                    }
                    let chunks = word & ((1 << bits) - 1);
                    *number = chunks & 0x1f
                        | chunks >> 1 & 0x3e0
                        | chunks >> 2 & 0x7c00
                        | chunks >> 3 & 0xf_8000
                        | chunks >> 4 & 0x1f0_0000;
                    word >>= bits;
                    used += bits;
                }
            }
            self.skip(u64::from(used))?;
        }
        Ok(())
    }

    /// Advances to the next multiple of 32 bits from the start of the stream.
    pub(crate) fn align32(&mut self) -> Result<(), Error> {
        self.skip(self.bit.wrapping_neg() & 31)
    }

    /// `len` whole bytes from here; the cursor must stand on a byte.
    pub(crate) fn byte_slice(&mut self, len: u64) -> Result<&'a [u8], Error> {
        let start = (self.bit / 8) as usize;
        if len > self.remaining() / 8 {
            return Err(self.truncated());
        }
        self.skip(len * 8)?;
        Ok(&self.bytes[start..start + len as usize])
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
        let mut array = Vec::new();
        many.vbr6_array(singles.len() as u64, &mut array).unwrap();
        assert_eq!(array, singles);
        assert!(singles.len() > 1000);
        assert!(Cursor::new(&bytes[..8], 0).vbr6_array(40, &mut array).is_err());
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
    }
}
