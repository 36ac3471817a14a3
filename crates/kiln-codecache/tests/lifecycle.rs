//! Reserve, write, publish, run, retire, reclaim.

use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, ErrorKind, Options, Place, Published, Records};

const RETURN_42: [u8; 6] = [
    0xb8, 42, 0, 0, 0,    // mov $42, %eax
    0xc3, // ret
];

fn segment(permission: Permission, size: u64, align: u64) -> Segment {
    Segment { permission, size, align }
}

fn code(size: u64) -> (Segment, Place) {
    (segment(Permission::Code, size, 16), Place::Anywhere)
}

fn publish(cache: &CodeCache, bytes: &[u8]) -> Published {
    let mut reservation = cache.reserve(&[code(bytes.len() as u64)]).unwrap();
    reservation.working(0).copy_from_slice(bytes);
    reservation.publish(Records::new()).unwrap()
}

fn call(address: ExecutorAddr) -> u32 {
    // SAFETY: the tests pass addresses of published functions of this signature.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(address.get() as usize) };
    function()
}

#[test]
fn published_code_runs_and_is_reused_after_it_is_reclaimed() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let first = publish(&cache, &RETURN_42);
    let at = first.address(0);
    assert_eq!(call(at), 42);
    // SAFETY: the only call has returned.
    unsafe { first.retire().reclaim() };
    let mut other = RETURN_42;
    other[1] = 7;
    let second = publish(&cache, &other);
    assert_eq!((second.address(0), call(at)), (at, 7));
    second.leak();
}

#[test]
fn a_word_of_published_code_is_patched_through_the_other_view() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let mut function = [0xcc; 16];
    function[..6].copy_from_slice(&RETURN_42);
    let published = publish(&cache, &function);
    let at = published.address(0);
    let word = published.word(at).unwrap();
    word.store(word.load(std::sync::atomic::Ordering::Relaxed) + (1 << 8), std::sync::atomic::Ordering::Release);
    cache.synchronize_cores();
    assert_eq!(call(at), 43);
    for bad in [at + 4, at + 16, at - 8] {
        assert!(published.word(bad).is_none(), "{bad}");
    }
    published.leak();
}

#[test]
fn a_dropped_reservation_gives_everything_back() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let before = cache.stats();
    let sizes = [
        segment(Permission::Code, 100, 64),
        segment(Permission::ReadOnly, 0, 1),
        segment(Permission::ReadWrite, 5 << 20, 4096),
    ];
    let mut reservation = cache.reserve(&sizes.map(|segment| (segment, Place::Anywhere))).unwrap();
    for bytes in reservation.working_all() {
        bytes.fill(0xff);
    }
    assert_eq!(cache.stats().in_flight, 1);
    drop(reservation);
    let after = cache.stats();
    assert_eq!(after.in_flight, 0);
    for (before, after) in before.regions.iter().zip(&after.regions) {
        assert_eq!((after.used_bytes, after.live_allocations), (0, 0));
        assert_eq!(before.largest_free_bytes, after.largest_free_bytes);
    }
    // Data and read-only memory reads as zero again.
    let mut again = cache.reserve(&sizes.map(|segment| (segment, Place::Anywhere))).unwrap();
    assert!(again.working_all()[1..].iter().all(|bytes| bytes.iter().all(|byte| *byte == 0)));
}

#[test]
fn one_segment_too_many_rolls_back_the_others() {
    let cache = CodeCache::new(&Options::new().size(64 << 20)).unwrap();
    let wanted = [code(64), (segment(Permission::ReadWrite, 1 << 40, 16), Place::Anywhere)];
    let error = cache.reserve(&wanted).err().unwrap();
    let ErrorKind::OutOfSpace { permission: Permission::ReadWrite, size, largest_free, .. } = error.kind() else {
        panic!("{error}")
    };
    assert!(*size == 1 << 40 && *largest_free > 1 << 20);
    assert_eq!(cache.stats().regions[0].used_bytes, 0);
}

#[test]
fn places_are_kept() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let region = cache.region(Permission::Code);
    let wanted = region.start + (10 << 20);
    let at = |address| [(segment(Permission::Code, 100, 16), Place::At(address))];
    let there = cache.reserve(&at(wanted)).unwrap();
    assert_eq!(there.segment(0), wanted);
    let error = cache.reserve(&at(wanted + 16)).err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Occupied { size: 100, .. }), "{error}");
    let within = Place::Within(wanted..wanted + 4096);
    let behind = cache.reserve(&[(segment(Permission::Code, 64, 64), within)]).unwrap();
    assert_eq!(behind.segment(0), wanted + 128);
    assert!(cache.reserve(&at(region.end)).is_err());
}

#[test]
fn absurd_segments_are_errors() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    for (size, align) in [(u64::MAX, 16), (16, 0), (16, 24), (16, 1 << 63), (1 << 63, 1)] {
        for permission in Permission::ALL {
            assert!(cache.reserve(&[(segment(permission, size, align), Place::Anywhere)]).is_err(), "{size} {align}");
        }
    }
}

/// The byte at an address as the kernel reads it; `None` where the process may not.
fn byte_at(address: ExecutorAddr) -> Option<u8> {
    let mut byte = [0u8];
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: the kernel reads one byte from the address, or says that it cannot.
    let written = unsafe { libc::write(std::os::fd::AsRawFd::as_raw_fd(&writer), address.get() as *const _, 1) };
    if written != 1 {
        return None;
    }
    std::io::Read::read_exact(&mut &reader, &mut byte).unwrap();
    Some(byte[0])
}

#[test]
fn freed_code_in_quarantine_traps_faults_and_is_not_used_again() {
    let cache = CodeCache::new(&Options::new().quarantine(16 << 10)).unwrap();
    let large = publish(&cache, &[0xc3; 2 * 4096]);
    let small = publish(&cache, &[0xc3; 64]);
    let neighbour = publish(&cache, &[0xc3; 64]);
    let (at_large, at_small) = (large.address(0), small.address(0));
    for published in [large, small] {
        // SAFETY: nobody has called it.
        unsafe { published.retire().reclaim() };
    }
    assert_eq!(byte_at(at_large), None, "no live byte on its pages");
    assert_eq!(byte_at(at_small), Some(0xcc), "its page has a live neighbour");
    assert_eq!(byte_at(neighbour.address(0)), Some(0xc3));
    let mut new = Vec::new();
    for _ in 0..40 {
        let published = publish(&cache, &[0xc3; 1024]);
        assert_eq!(byte_at(published.address(0)), Some(0xc3));
        new.push(published.address(0));
        // SAFETY: nobody has called it.
        unsafe { published.retire().reclaim() };
    }
    let first = |at: ExecutorAddr| new.iter().position(|other| *other == at);
    assert!(first(at_large).is_none_or(|round| round >= 8), "not before so many bytes were freed after it");
    assert!(new.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(new.iter().collect::<std::collections::HashSet<_>>().len() < new.len(), "the quarantine is bounded");
    neighbour.leak();
}
