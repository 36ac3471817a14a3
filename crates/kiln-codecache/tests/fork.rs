//! Both sides of a fork go on. Children run nothing but the code cache and end with `_exit`.

mod frames;

use std::sync::atomic::{AtomicBool, Ordering};

use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, Options, Place, Published, Records, forked_without_handlers};

/// A function that returns `value`, in two aligned words.
fn publish(cache: &CodeCache, value: u8) -> Published {
    let code = Segment { permission: Permission::Code, size: 16, align: 16 };
    let mut reservation = cache.reserve(&[(code, Place::Anywhere)]).unwrap();
    reservation.working(0)[..8].copy_from_slice(&function(value).to_le_bytes());
    reservation.publish(Records::new()).unwrap()
}

fn function(value: u8) -> u64 {
    // b8 imm32  mov $value, %eax      c3  ret
    u64::from_le_bytes([0xb8, value, 0, 0, 0, 0xc3, 0xcc, 0xcc])
}

fn patch(cache: &CodeCache, published: &Published, value: u8) {
    published.word(published.address(0)).unwrap().store(function(value), Ordering::Release);
    cache.synchronize_cores();
}

fn call(address: ExecutorAddr) -> u8 {
    // SAFETY: the tests pass addresses of published functions of this signature.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(address.get() as usize) };
    function() as u8
}

/// Forks with the protocol; the child's exit status is what `child` returns.
fn fork(cache: &CodeCache, child: impl FnOnce() -> i32, parent: impl FnOnce()) -> i32 {
    cache.before_fork();
    // SAFETY: the child calls only code of this crate, which takes no lock that another thread may have held.
    match unsafe { libc::fork() } {
        0 => {
            let status = if cache.after_fork_in_child().is_ok() { child() } else { 99 };
            // SAFETY: ends the child without running anything of the parent's test harness.
            unsafe { libc::_exit(status) }
        }
        pid => {
            cache.after_fork_in_parent();
            assert!(pid > 0);
            parent();
            wait(pid)
        }
    }
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for a child of ours, with room for its status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "child ended with status {status:#x}");
    libc::WEXITSTATUS(status)
}

/// A byte that tells the child to go on.
struct Gate([i32; 2]);

impl Gate {
    fn new() -> Self {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        Self(ends)
    }

    fn open(&self) {
        // SAFETY: one byte from a live buffer.
        assert_eq!(unsafe { libc::write(self.0[1], (&raw const *b"x").cast(), 1) }, 1);
    }

    fn pass(&self) {
        let mut byte = 0u8;
        // SAFETY: one byte into a live buffer.
        assert_eq!(unsafe { libc::read(self.0[0], (&raw mut byte).cast(), 1) }, 1);
    }
}

extern "C-unwind" fn throw() {
    std::panic::resume_unwind(Box::new(()));
}

#[test]
fn trap_10_neither_side_sees_what_the_other_installs() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let old = publish(&cache, 42);
    let gate = Gate::new();
    let child = || {
        gate.pass();
        // By now the parent has patched the function and published another.
        if call(old.address(0)) != 42 {
            return 1;
        }
        patch(&cache, &old, 50);
        let new = publish(&cache, 51);
        let frame = frames::publish(&cache, 64);
        let call_it = frames::function(&frame);
        let thrown = std::panic::catch_unwind(|| call_it(throw)).is_err();
        let status = if (call(old.address(0)), call(new.address(0)), thrown) == (50, 51, true) { 7 } else { 2 };
        // SAFETY: all calls have returned or were left by the exception.
        [new, frame].into_iter().for_each(|published| unsafe { published.retire().reclaim() });
        status
    };
    let mut other = None;
    let status = fork(&cache, child, || {
        patch(&cache, &old, 60);
        other = Some(publish(&cache, 61));
        gate.open();
    });
    assert_eq!(status, 7);
    let other = other.unwrap();
    assert_eq!((call(old.address(0)), call(other.address(0))), (60, 61));
    other.leak();
    old.leak();
}

#[test]
fn trap_10_the_parent_reuses_what_the_child_still_executes() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let old = publish(&cache, 42);
    let at = old.address(0);
    let gate = Gate::new();
    let child = || {
        gate.pass();
        i32::from(call(at))
    };
    let status = fork(&cache, child, || {
        // SAFETY: no call is under way in this process; the child has memory of its own or waits at the gate.
        unsafe { old.retire().reclaim() };
        let new = publish(&cache, 9);
        assert_eq!((new.address(0), call(at)), (at, 9));
        new.leak();
        gate.open();
    });
    assert_eq!(status, 42);
}

#[test]
fn children_of_children_and_large_code() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let segment = |permission| (Segment { permission, size: 5 << 20, align: 4096 }, Place::Anywhere);
    let mut big = cache.reserve(&[segment(Permission::Code), segment(Permission::ReadOnly)]).unwrap();
    for bytes in big.working_all() {
        let last = bytes.len() - 8;
        bytes[last..].copy_from_slice(&function(33).to_le_bytes());
        bytes[1 << 20] = 77;
    }
    let big = big.publish(Records::new()).unwrap();
    let small = publish(&cache, 1);
    let check = || {
        let read_only = big.address(1) + (1 << 20);
        // SAFETY: an address inside a live segment.
        let byte = unsafe { *std::ptr::with_exposed_provenance::<u8>(read_only.get() as usize) };
        (call(big.range(0).end - 8), byte, call(small.address(0))) == (33, 77, 1)
    };
    let grandchild = || if check() { 5 } else { 1 };
    let child = || if check() { fork(&cache, grandchild, || patch(&cache, &small, 2)) } else { 3 };
    assert_eq!(fork(&cache, child, || patch(&cache, &small, 4)), 5);
    assert_eq!(call(small.address(0)), 4);
    big.leak();
    small.leak();
}

#[test]
fn what_was_in_flight_in_other_threads_is_free_in_the_child() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let code = Segment { permission: Permission::Code, size: 100, align: 16 };
    let reservation = cache.reserve(&[(code, Place::Anywhere)]).unwrap();
    let child = || {
        let stats = cache.stats();
        (stats.in_flight as u64 + stats.regions[0].used_bytes) as i32
    };
    assert_eq!(fork(&cache, child, || ()), 0);
    assert_eq!(cache.stats().in_flight, 1);
    drop(reservation);
}

/// The copy backs what is in use: the rest of the child's memory is committed when it is needed, like any other.
#[test]
fn a_child_commits_anew_what_was_not_in_use() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let keep = publish(&cache, 1);
    let code = Segment { permission: Permission::Code, size: 1 << 20, align: 16 };
    let megabyte = [(code, Place::Anywhere)];
    drop(cache.reserve(&megabyte).unwrap());
    let committed_kib = || cache.stats().regions[0].committed_bytes >> 10;
    assert!(committed_kib() >= 1024);
    assert_eq!(fork(&cache, || i32::from(committed_kib() == 64), || ()), 1);
    let child = || {
        drop(cache.reserve(&megabyte).unwrap());
        i32::from(committed_kib() >= 1024)
    };
    assert_eq!(fork(&cache, child, || ()), 1);
    keep.leak();
}

#[test]
fn forks_while_other_threads_publish() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let keep = publish(&cache, 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let frame = frames::publish(&cache, 64);
                    // SAFETY: nobody knows the function.
                    unsafe { frame.retire().reclaim() };
                }
            });
        }
        for _ in 0..40 {
            let child = || {
                let mine: Vec<_> = (0..100).map(|value| publish(&cache, value)).collect();
                let right = mine.iter().enumerate().all(|(n, published)| usize::from(call(published.address(0))) == n);
                mine.into_iter().for_each(Published::leak);
                if right && call(keep.address(0)) == 3 { 11 } else { 1 }
            };
            assert_eq!(fork(&cache, child, || ()), 11);
        }
        stop.store(true, Ordering::Relaxed);
    });
    keep.leak();
}

#[test]
fn several_caches_fork_together() {
    let caches = [(); 2].map(|()| CodeCache::new(&Options::new()).unwrap());
    let [a, b] = [publish(&caches[0], 1), publish(&caches[1], 2)];
    let child = || {
        patch(&caches[0], &a, 10);
        patch(&caches[1], &b, 20);
        i32::from(call(a.address(0)) + call(b.address(0)))
    };
    caches[0].before_fork();
    caches[1].before_fork();
    // SAFETY: as in `fork`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let moved = caches[1].after_fork_in_child().is_ok() && caches[0].after_fork_in_child().is_ok();
        let status = if moved { child() } else { 99 };
        // SAFETY: as in `fork`.
        unsafe { libc::_exit(status) }
    }
    caches[1].after_fork_in_parent();
    caches[0].after_fork_in_parent();
    assert_eq!((wait(pid), call(a.address(0)), call(b.address(0))), (30, 1, 2));
    a.leak();
    b.leak();
}

#[test]
fn trap_11_a_fork_without_the_handlers_is_noticed() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    assert!(!forked_without_handlers());
    assert_eq!(fork(&cache, || i32::from(forked_without_handlers()), || ()), 0);
    // SAFETY: the child does nothing but read one word and end.
    let pid = unsafe { libc::syscall(libc::SYS_fork) } as i32;
    if pid == 0 {
        // SAFETY: as above.
        unsafe { libc::_exit(i32::from(forked_without_handlers())) }
    }
    assert_eq!(wait(pid), 1);
}

/// No page is writable and executable in one view, before and after a fork, and no mapping is added by either side.
#[test]
fn views_stay_as_they_are() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    publish(&cache, 1).leak();
    let count = || {
        let code = cache.region(Permission::Code).start.get();
        let end = cache.region(Permission::ReadWrite).end.get();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!maps.lines().any(|line| line.split(' ').nth(1).unwrap().starts_with("rwx")));
        maps.lines()
            .filter(|line| {
                let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
                (code..end).contains(&start)
            })
            .count()
    };
    assert_eq!(count(), 3);
    assert_eq!(fork(&cache, || count() as i32, || ()), 3);
    assert_eq!(count(), 3);
}
