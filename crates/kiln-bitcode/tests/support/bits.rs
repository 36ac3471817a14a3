//! Bitcode made bit by bit.

/// Writes a bitstream.
#[derive(Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    pub(crate) fn fixed(&mut self, value: u64, width: usize) -> &mut Self {
        for bit in 0..width {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
        self
    }

    pub(crate) fn vbr(&mut self, mut value: u64, width: usize) -> &mut Self {
        let payload = (1u64 << (width - 1)) - 1;
        while value > payload {
            self.fixed(value & payload | (payload + 1), width);
            value >>= width - 1;
        }
        self.fixed(value, width)
    }

    pub(crate) fn align(&mut self) -> &mut Self {
        while !self.used.is_multiple_of(32) {
            self.fixed(0, 1);
        }
        self
    }

    /// A block with abbreviation ids of `width` bits, inside one with ids of `outer` bits.
    pub(crate) fn block(&mut self, outer: usize, id: u64, width: usize, content: impl FnOnce(&mut Self)) -> &mut Self {
        self.fixed(1, outer).vbr(id, 8).vbr(width as u64, 4).align();
        let length_at = self.bytes.len();
        self.fixed(0, 32);
        content(self);
        self.fixed(0, width).align();
        let words = ((self.bytes.len() - length_at) / 4 - 1) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&words.to_le_bytes());
        self
    }

    /// An unabbreviated record in a block with ids of 3 bits.
    pub(crate) fn record(&mut self, code: u64, fields: &[u64]) -> &mut Self {
        self.fixed(3, 3).vbr(code, 6).vbr(fields.len() as u64, 6);
        fields.iter().for_each(|field| _ = self.vbr(*field, 6));
        self
    }
}

const IDENTIFICATION: u64 = 13;
const MODULE: u64 = 8;
const STRTAB: u64 = 23;

/// A file of `producer` with a module and a string table.
pub(crate) fn file(producer: &str, epoch: u64, module: impl FnOnce(&mut Bits)) -> Vec<u8> {
    let mut bits = Bits::default();
    for byte in [0x42, 0x43, 0xc0, 0xde] {
        bits.fixed(byte, 8);
    }
    bits.block(2, IDENTIFICATION, 3, |b| {
        let chars: Vec<u64> = producer.bytes().map(u64::from).collect();
        b.record(1, &chars).record(2, &[epoch]);
    });
    bits.block(2, MODULE, 3, module);
    bits.block(2, STRTAB, 3, |b| {
        // [1, blob]
        b.fixed(2, 3).vbr(2, 5).fixed(1, 1).vbr(1, 8).fixed(0, 1).fixed(5, 3);
        b.fixed(4, 3).vbr(4, 6).align().fixed(u64::from_le_bytes(*b"name\0\0\0\0"), 32).align();
    });
    bits.bytes
}
