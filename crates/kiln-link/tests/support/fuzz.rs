//! Mutates linker inputs and links them: whatever the bytes, a link ends in a result or an error.

use kiln_abi::ExecutorAddr;
use kiln_link::{Errors, External, FileKind, Link, Options, Placement, RuntimeSymbols, Scope, TlsPlacement, identify};

/// xorshift64*: reproducible from its seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 32) as usize) % end.max(1)
    }
}

/// Values that break arithmetic.
const HARD: [u64; 14] = [
    0,
    1,
    2,
    7,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Changes a few bytes, words or ranges of an input.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + random.below(6) {
        if bytes.is_empty() {
            return;
        }
        // Headers and tables are what matters: half of the changes go to the first and last kilobytes.
        let len = bytes.len();
        let at = match random.below(4) {
            0 => random.below(len.min(512)),
            1 => len - 1 - random.below(len.min(4096)),
            _ => random.below(len),
        };
        match random.below(9) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let width = [1, 2, 4, 8][random.below(4)];
                let value = HARD[random.below(HARD.len())].to_le_bytes();
                let at = at & !(width - 1);
                let end = (at + width).min(len);
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            3 => {
                let width = [4, 8][random.below(2)];
                let at = at & !(width - 1);
                if at + width <= len {
                    let mut word = [0; 8];
                    word[..width].copy_from_slice(&bytes[at..at + width]);
                    let delta = random.below(64) as u64;
                    let word = u64::from_le_bytes(word).wrapping_add(delta).wrapping_sub(32).to_le_bytes();
                    bytes[at..at + width].copy_from_slice(&word[..width]);
                }
            }
            4 => bytes.truncate(at),
            5 => {
                let count = random.below(64).min(len - at);
                let from = random.below(len - count + 1);
                bytes.copy_within(from..from + count, at);
            }
            6 if !other.is_empty() => {
                let from = random.below(other.len());
                let count = random.below(128).min(len - at).min(other.len() - from);
                bytes[at..at + count].copy_from_slice(&other[from..from + count]);
            }
            7 => {
                let count = random.below(16).min(len - at);
                bytes.drain(at..at + count);
            }
            _ => {
                let value = random.next() as u8;
                bytes.insert(at, value);
            }
        }
    }
}

struct Anything(u64);

impl Scope for Anything {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        let hash = name.iter().fold(self.0, |hash, byte| hash.rotate_left(5).wrapping_add(u64::from(*byte)));
        let far = ExecutorAddr::new(0x7fff_0000_0000);
        let near = ExecutorAddr::new(0x40_0000);
        match hash % 8 {
            0 => Some(External::Function(far)),
            1 => Some(External::Function(near)),
            2 => Some(External::Data(far)),
            3 => Some(External::Near(near)),
            4 => Some(External::StaticTls { tp_offset: -64 }),
            5 => Some(External::DynamicTls { module: 3, offset: 8 }),
            _ => None,
        }
    }

    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        name.len().is_multiple_of(3).then_some(ExecutorAddr::new(0x40_1000))
    }
}

/// Links `bytes` with options chosen by `choice`. Must not panic.
pub fn execute(bytes: &[u8], choice: u64) -> Result<usize, Errors> {
    let options = Options {
        prune: choice & 1 != 0,
        roots: vec![b"main".to_vec()],
        call_sites: choice & 2 != 0,
        stubs: choice & 4 != 0,
        single_threaded: true,
    };
    let mut link = Link::new(options);
    match identify(bytes) {
        FileKind::Archive | FileKind::ThinArchive => link.add_archive("fuzz.a", bytes, choice & 8 != 0),
        _ => link.add_object("fuzz.o", bytes),
    };
    link.define("number", ExecutorAddr::new(0x1234));
    let layout = link.resolve(&mut Anything(choice >> 8))?.layout()?;
    if layout.segments.iter().map(|s| s.size).sum::<u64>() + layout.tls.map_or(0, |t| t.image_size) > 1 << 22 {
        return Ok(0);
    }
    let mut memory: Vec<Vec<u8>> = layout.segments.iter().map(|s| vec![1; s.size as usize]).collect();
    let mut placements = Vec::new();
    let mut address = 0x50_0000u64;
    for (working, segment) in memory.iter_mut().zip(&layout.segments) {
        address = address.next_multiple_of(segment.align);
        placements.push(Placement { address: ExecutorAddr::new(address), working, zeroed: choice & 16 != 0 });
        address += segment.size;
    }
    let tls = match (choice >> 5) % 3 {
        0 => TlsPlacement::None,
        1 => TlsPlacement::Static { tp_offset: -4096 },
        _ => TlsPlacement::Dynamic { module: 1 },
    };
    let known = (choice & 128 != 0).then_some(ExecutorAddr::new(0x60_0000));
    let runtime = RuntimeSymbols { tls_get_addr: known, tls_descriptor: known };
    let mut linked = layout.place(&mut placements, tls, &runtime)?;
    let unwind = linked.take_unwind();
    assert!(unwind.is_sorted_by_key(|entry| entry.pc_begin));
    Ok(linked.definitions().count() + unwind.len())
}
