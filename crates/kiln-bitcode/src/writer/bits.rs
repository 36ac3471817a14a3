//! The container format: blocks, records, fields.

use crate::codes::BlockKind;

const END_BLOCK: u64 = 0;
const ENTER_SUBBLOCK: u64 = 1;
const DEFINE_ABBREV: u64 = 2;
const UNABBREV_RECORD: u64 = 3;
const FIRST_ABBREV: u64 = 4;

/// A bitstream in the making.
#[derive(Debug, Default)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// The bits that make up no byte yet, lowest first.
    pending: u64,
    count: u32,
    /// Of the block at hand.
    id_width: u32,
}

/// A block that is open.
pub(super) struct Open {
    /// Where its length goes.
    length_at: usize,
    outer_width: u32,
}

impl Bits {
    /// A stream that starts with the magic number of bitcode.
    pub(super) fn new() -> Self {
        Self { bytes: b"BC\xc0\xde".to_vec(), id_width: 2, ..Self::default() }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn fixed(&mut self, value: u64, width: u32) {
        debug_assert!(width <= 32 && value >> width == 0, "{value} in {width} bits");
        self.pending |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    fn vbr(&mut self, mut value: u64, width: u32) {
        let more = 1u64 << (width - 1);
        while value >= more {
            self.fixed(value & (more - 1) | more, width);
            value >>= width - 1;
        }
        self.fixed(value, width);
    }

    fn align(&mut self) {
        if self.count > 0 {
            self.fixed(0, 8 - self.count);
        }
        let aligned = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(aligned, 0);
    }

    /// Begins a block whose abbreviation ids take `id_width` bits.
    pub(super) fn enter(&mut self, kind: BlockKind, id_width: u32) -> Open {
        self.fixed(ENTER_SUBBLOCK, self.id_width);
        self.vbr(u64::from(kind.0), 8);
        self.vbr(u64::from(id_width), 4);
        self.align();
        let open = Open { length_at: self.bytes.len(), outer_width: self.id_width };
        self.bytes.extend([0; 4]);
        self.id_width = id_width;
        open
    }

    pub(super) fn leave(&mut self, open: Open) {
        self.fixed(END_BLOCK, self.id_width);
        self.align();
        let words = ((self.bytes.len() - open.length_at - 4) / 4) as u32;
        self.bytes[open.length_at..open.length_at + 4].copy_from_slice(&words.to_le_bytes());
        self.id_width = open.outer_width;
    }

    /// An unabbreviated record.
    pub(super) fn record(&mut self, code: u32, fields: &[u64]) {
        self.fixed(UNABBREV_RECORD, self.id_width);
        self.vbr(u64::from(code), 6);
        self.vbr(fields.len() as u64, 6);
        for field in fields {
            self.vbr(*field, 6);
        }
    }

    /// A record of characters.
    pub(super) fn text(&mut self, code: u32, text: &[u8]) {
        let fields: Vec<u64> = text.iter().map(|byte| u64::from(*byte)).collect();
        self.record(code, &fields);
    }

    /// A record that is one blob, with the abbreviation that this takes: the first one of its block.
    pub(super) fn blob(&mut self, code: u32, bytes: &[u8]) {
        self.fixed(DEFINE_ABBREV, self.id_width);
        // Two operands: a literal and a blob.
        self.vbr(2, 5);
        self.fixed(1, 1);
        self.vbr(u64::from(code), 8);
        self.fixed(0, 1);
        self.fixed(5, 3);
        self.fixed(FIRST_ABBREV, self.id_width);
        self.vbr(bytes.len() as u64, 6);
        self.align();
        self.bytes.extend_from_slice(bytes);
        self.align();
    }
}

/// A signed number with its sign in the lowest bit; -0 means the smallest one.
pub(super) fn sign_rotated(value: u64) -> u64 {
    if value as i64 >= 0 { value << 1 } else { value.wrapping_neg() << 1 | 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::decode_sign_rotated;

    #[test]
    fn signs_come_back() {
        for value in [0, 1, 2, u64::MAX, 1 << 63, (1 << 63) - 1, (1 << 63) + 1] {
            assert_eq!(decode_sign_rotated(sign_rotated(value)), value);
        }
    }
}
