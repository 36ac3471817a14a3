//! Exceptions through published code.

mod frames;

use std::ffi::CStr;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kiln_abi::{ExecutorAddr, FdeEntry, Permission, Segment};
use kiln_codecache::unwind::find_fde;
use kiln_codecache::{CodeCache, ErrorKind, Options, Place, Records};

extern "C-unwind" fn throw() {
    std::panic::resume_unwind(Box::new(42u32));
}

fn caught(cache: &CodeCache) -> u32 {
    let published = frames::publish(cache, 64);
    let call_it = frames::function(&published);
    let payload = catch_unwind(|| call_it(throw)).unwrap_err();
    // SAFETY: the call was left by the exception.
    unsafe { published.retire().reclaim() };
    *payload.downcast::<u32>().unwrap()
}

#[test]
fn a_panic_passes_published_frames() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    assert_eq!(caught(&cache), 42);
}

/// libgcc 12 gets slower with each registered table, native throws included: nothing may be registered there.
#[test]
fn trap_15_the_executable_answers_for_libgcc() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: a look-up by a NUL-terminated name, and a query about what it found with room for the answer.
    let file = unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"_Unwind_Find_FDE".as_ptr());
        assert_ne!(libc::dladdr(found, info.as_mut_ptr()), 0);
        CStr::from_ptr(info.assume_init().dli_fname).to_str().unwrap()
    };
    let executable = std::env::current_exe().unwrap();
    assert_eq!(std::fs::canonicalize(file).unwrap(), executable);
    // Native frames are still found, by libgcc itself.
    assert!(catch_unwind(|| throw()).is_err());
    drop(cache);
}

/// FDE and LSDA live exactly as long as the body.
#[test]
fn trap_15_an_entry_lives_as_long_as_its_code() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let published = frames::publish(&cache, 64);
    let (at, frame) = (published.address(0), published.address(1));
    let entry = FdeEntry { pc_begin: at, pc_bytes: 11, fde: frame + 24 };
    for pc in [0, 1, 10] {
        assert_eq!(find_fde(at + pc), Some(entry));
    }
    for pc in [at + 11, at - 1, at + 4096, ExecutorAddr::NULL, ExecutorAddr::new(u64::MAX)] {
        assert_eq!(find_fde(pc), None);
    }
    assert_eq!(cache.stats().unwind_entries, 1);
    let retired = published.retire();
    assert_eq!(find_fde(at), Some(entry), "threads may still be inside");
    // SAFETY: nobody ever entered the code.
    unsafe { retired.reclaim() };
    assert_eq!((find_fde(at), cache.stats().unwind_entries), (None, 0));
}

/// Judge: a sorted list of what is live.
#[test]
fn random_publishes_and_reclaims_agree_with_a_list() {
    let cache = CodeCache::new(&Options::new().size(64 << 20)).unwrap();
    let mut live = std::collections::BTreeMap::new();
    let mut random = 7u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    for step in 0..4000 {
        if next(5) < 3 || live.is_empty() {
            let functions = 1 + next(30);
            let sizes: Vec<u64> = (0..functions).map(|_| 1 + next(400)).collect();
            let code =
                Segment { permission: Permission::Code, size: sizes.iter().sum::<u64>() + 5, align: 1 << next(8) };
            let reservation = cache.reserve(&[(code, Place::Anywhere)]).unwrap();
            let mut at = reservation.segment(0);
            let mut entries = Vec::new();
            for size in sizes {
                entries.push(FdeEntry { pc_begin: at, pc_bytes: size, fde: ExecutorAddr::new(next(1 << 30)) });
                at = at + size;
            }
            let first = entries[0].pc_begin;
            entries.swap(0, next(functions) as usize);
            live.insert(first, (reservation.publish(Records::new().unwind(entries.clone())).unwrap(), entries));
        } else {
            let victim = *live.keys().nth(next(live.len() as u64) as usize).unwrap();
            let (published, _) = live.remove(&victim).unwrap();
            // SAFETY: the bytes are no code, so nobody is inside.
            unsafe { published.retire().reclaim() };
        }
        if step % 50 == 0 {
            for (published, entries) in live.values() {
                for entry in entries {
                    assert_eq!(find_fde(entry.pc_begin), Some(*entry));
                    assert_eq!(find_fde(entry.pc_begin + (entry.pc_bytes - 1)), Some(*entry));
                }
                assert_eq!(find_fde(published.range(0).end - 1), None);
            }
            assert_eq!(cache.stats().unwind_entries, live.values().map(|(_, entries)| entries.len()).sum::<usize>());
        }
    }
    live.into_values().for_each(|(published, _)| published.leak());
}

/// Readers never miss live code, whatever is published and reclaimed around it.
#[test]
fn threads_throw_while_others_publish_and_reclaim() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let live: Vec<_> = (1..20).map(|n| frames::publish(&cache, n * 16)).collect();
                for published in live {
                    // SAFETY: nobody knows the function.
                    unsafe { published.retire().reclaim() };
                }
            }
        });
        let throwers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| (0..300).for_each(|_| assert_eq!(caught(&cache), 42)))).collect();
        let results: Vec<_> = throwers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        results.into_iter().for_each(Result::unwrap);
    });
}

static ASKED: AtomicU64 = AtomicU64::new(0);
static MISSED: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicU64 = AtomicU64::new(0);

extern "C" fn ask(_: i32) {
    let found = find_fde(ExecutorAddr::new(LIVE.load(Ordering::Relaxed) + 1));
    MISSED.fetch_add(u64::from(found.is_none()), Ordering::Relaxed);
    ASKED.fetch_add(1, Ordering::Relaxed);
}

/// A handler that interrupts a publish finds live code, and waits for no lock that the interrupted code holds.
#[test]
fn handlers_find_entries_in_the_middle_of_a_publish() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let keep = frames::publish(&cache, 64);
    LIVE.store(keep.address(0).get(), Ordering::Relaxed);
    // SAFETY: the handler touches atomics and the index only.
    unsafe { libc::signal(libc::SIGUSR1, ask as *const () as libc::sighandler_t) };
    // SAFETY: asks for the calling thread's handle.
    let publisher = unsafe { libc::pthread_self() };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let asked = ASKED.load(Ordering::Relaxed);
                // SAFETY: the publisher outlives the scope.
                unsafe { libc::pthread_kill(publisher, libc::SIGUSR1) };
                while ASKED.load(Ordering::Relaxed) == asked && !stop.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
        });
        while ASKED.load(Ordering::Relaxed) < 300 {
            let frame = frames::publish(&cache, 64);
            // SAFETY: nobody knows the function.
            unsafe { frame.retire().reclaim() };
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(MISSED.load(Ordering::Relaxed), 0);
    keep.leak();
}

#[test]
fn an_entry_outside_its_code_is_refused_and_rolled_back() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let code = Segment { permission: Permission::Code, size: 64, align: 16 };
    let entry = |pc_begin, pc_bytes| FdeEntry { pc_begin, pc_bytes, fde: ExecutorAddr::new(8) };
    type Make = fn(ExecutorAddr) -> Vec<(ExecutorAddr, u64)>;
    let cases: [Make; 6] = [
        |at| vec![(at - 1, 4)],
        |at| vec![(at + 60, 5)],
        |at| vec![(at + 64, 1)],
        |at| vec![(at, 0)],
        |at| vec![(at, 10), (at + 9, 10)],
        |at| vec![(at, 10), (at + 16, u64::MAX)],
    ];
    for make in cases {
        let reservation = cache.reserve(&[(code, Place::Anywhere)]).unwrap();
        let entries: Vec<_> = make(reservation.segment(0)).into_iter().map(|(at, bytes)| entry(at, bytes)).collect();
        let error = reservation.publish(Records::new().unwind(entries)).err().unwrap();
        assert!(matches!(error.kind(), ErrorKind::BadUnwindEntry { .. }), "{error}");
        assert_eq!((cache.stats().unwind_entries, cache.stats().regions[0].used_bytes), (0, 0));
    }
}
