//! One test per trap of executable memory that no other file has.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use kiln_abi::{ExecutorAddr, FdeEntry, Permission, Segment};
use kiln_codecache::{
    CodeCache, ErrorKind, ForkCopy, HUGE_PAGE, InProcess, Mapper, Options, Pages, Place, Published, Records,
    RegionViews,
};

/// Counts what reaches the mapper.
#[derive(Default)]
struct Counts {
    commits: AtomicUsize,
    huge: AtomicUsize,
    barriers: AtomicUsize,
}

struct Counting {
    memory: InProcess,
    counts: Arc<Counts>,
}

impl Counting {
    fn cache() -> (CodeCache, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        let mapper = Counting { memory: InProcess::new(&Options::new()).unwrap(), counts: counts.clone() };
        (CodeCache::with_mapper(Box::new(mapper), &Options::new()).unwrap(), counts)
    }
}

// SAFETY: everything is passed on to a mapper.
unsafe impl Mapper for Counting {
    fn region(&self, permission: Permission) -> RegionViews {
        self.memory.region(permission)
    }

    fn commit(&self, permission: Permission, range: Range<u64>, pages: Pages) -> io::Result<()> {
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        if pages == Pages::Huge {
            assert!(range.start.is_multiple_of(HUGE_PAGE) && range.end.is_multiple_of(HUGE_PAGE));
            self.counts.huge.fetch_add(((range.end - range.start) / HUGE_PAGE) as usize, Ordering::Relaxed);
        }
        self.memory.commit(permission, range, pages)
    }

    fn decommit(&self, permission: Permission, range: Range<u64>) -> io::Result<()> {
        self.memory.decommit(permission, range)
    }

    fn synchronize_cores(&self) {
        self.counts.barriers.fetch_add(1, Ordering::Relaxed);
        self.memory.synchronize_cores();
    }

    fn copy_for_child(&self, live: &[(Permission, Range<u64>)]) -> io::Result<ForkCopy> {
        self.memory.copy_for_child(live)
    }

    fn adopt(&self, copy: ForkCopy) {
        self.memory.adopt(copy);
    }

    fn discard(&self, copy: ForkCopy) {
        self.memory.discard(copy);
    }

    fn mappings(&self) -> usize {
        self.memory.mappings()
    }
}

/// `mov $value, %eax; ret` in one aligned word.
fn function(value: u32) -> u64 {
    let [a, b, c, d] = value.to_le_bytes();
    u64::from_le_bytes([0xb8, a, b, c, d, 0xc3, 0xcc, 0xcc])
}

fn code(size: u64) -> (Segment, Place) {
    (Segment { permission: Permission::Code, size, align: 16 }, Place::Anywhere)
}

fn publish(cache: &CodeCache, value: u32) -> Published {
    let mut reservation = cache.reserve(&[code(16)]).unwrap();
    reservation.working(0)[..8].copy_from_slice(&function(value).to_le_bytes());
    let entry = FdeEntry { pc_begin: reservation.segment(0), pc_bytes: 6, fde: ExecutorAddr::new(8) };
    reservation.publish(Records::new().unwind(vec![entry])).unwrap()
}

fn call(address: ExecutorAddr) -> u32 {
    // SAFETY: the tests pass addresses of published functions of this signature.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(address.get() as usize) };
    function()
}

/// Code written through the other view is what other threads execute, once cores have synchronised.
#[test]
fn trap_01_another_thread_runs_what_was_written_before_the_barrier() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let published = publish(&cache, 0);
    let at = published.address(0);
    let (written, stop, started) = (AtomicU32::new(0), AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| {
            started.wait();
            while !stop.load(Ordering::Relaxed) {
                let known = written.load(Ordering::Acquire);
                let got = call(at);
                assert!(got >= known, "ran {got} after {known} was written and synchronised");
            }
            assert_eq!(call(at), 3000);
        });
        started.wait();
        for value in 1..=3000 {
            published.word(at).unwrap().store(function(value), Ordering::Release);
            cache.synchronize_cores();
            written.store(value, Ordering::Release);
        }
        stop.store(true, Ordering::Relaxed);
        runner.join().unwrap();
    });
    published.leak();
}

/// One barrier serves a batch.
#[test]
fn trap_02_a_batch_takes_one_barrier() {
    let (cache, counts) = Counting::cache();
    publish(&cache, 1).leak();
    assert_eq!(counts.barriers.load(Ordering::Relaxed), 1);
    let batch: Vec<_> = (0..64).map(|_| (cache.reserve(&[code(16)]).unwrap(), Records::new())).collect();
    let published = cache.publish_all(batch).unwrap();
    assert_eq!((published.len(), counts.barriers.load(Ordering::Relaxed)), (64, 2));
    published.into_iter().for_each(Published::leak);
}

#[test]
fn a_batch_is_published_as_a_whole_or_not_at_all() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let before = cache.stats().regions[0].used_bytes;
    let bad = FdeEntry { pc_begin: ExecutorAddr::new(16), pc_bytes: 6, fde: ExecutorAddr::new(8) };
    let batch: Vec<_> = (0..5)
        .map(|n| {
            let records = if n == 3 { Records::new().unwind(vec![bad]) } else { Records::new() };
            (cache.reserve(&[code(16)]).unwrap(), records)
        })
        .collect();
    let error = cache.publish_all(batch).err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::BadUnwindEntry { .. }), "{error}");
    let stats = cache.stats();
    assert_eq!((stats.regions[0].used_bytes, stats.in_flight, stats.unwind_entries), (before, 0, 0));
}

/// Non-PIC objects need the low 2 GiB, and then libc is out of reach: the linker can tell.
#[test]
fn trap_18_a_low_reservation_lies_below_2_gib_and_does_not_reach_libc() {
    let cache = CodeCache::new(&Options::new().low_2gib(true)).unwrap();
    for permission in Permission::ALL {
        assert!(cache.region(permission).end <= ExecutorAddr::new(1 << 31));
    }
    let published = publish(&cache, 42);
    assert_eq!(call(published.address(0)), 42);
    published.leak();
    assert!(!cache.reaches(ExecutorAddr::new(libc::getpid as *const () as u64)));
}

/// The program's first descriptor is the one it would get natively, and closing all of them harms nothing.
#[test]
fn trap_19_no_descriptor_is_used() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests open files for a moment: ask until nothing is open that was not before.
    let before = count();
    let cache = CodeCache::new(&Options::new()).unwrap();
    publish(&cache, 1).leak();
    cache.before_fork();
    cache.after_fork_in_parent();
    assert!((0..1000).any(|_| count() <= before));
}

/// libc is in reach of 32-bit displacements from everywhere in a default reservation.
#[test]
fn trap_linker_22_the_shared_libraries_are_in_reach() {
    // In a process with one cache: the other tests' would lie in between.
    run_alone("in_reach");
}

/// Runs a test of this file that is ignored otherwise in a process of its own.
fn run_alone(test: &str) {
    let executable = std::env::current_exe().unwrap();
    let output = std::process::Command::new(executable).args(["--ignored", "--exact", test]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}\n{text}", output.status);
}

/// Where a sandbox refuses membarrier, also one that the program entered later, publishing goes on.
#[test]
fn trap_02_without_membarrier_another_barrier_serves() {
    run_alone("in_a_sandbox_without_membarrier");
}

#[test]
#[ignore = "run by trap_02_without_membarrier_another_barrier_serves"]
fn in_a_sandbox_without_membarrier() {
    let before = CodeCache::new(&Options::new()).unwrap();
    let statement = |code: u32, jt, k| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    // The number of the system call; membarrier gets EPERM, all others pass (seccomp(2)).
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, libc::SYS_membarrier as u32)
        },
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter are alive; what follows concerns this thread of a test process only.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
        assert_eq!(libc::syscall(libc::SYS_membarrier, 0, 0, 0), -1);
    }
    let after = CodeCache::new(&Options::new()).unwrap();
    for cache in [&before, &after] {
        let published = publish(cache, 42);
        assert_eq!(call(published.address(0)), 42);
        published.leak();
    }
}

/// Where the process forbids memory to become executable, code still runs, in parent and child.
#[test]
fn memory_deny_write_execute_is_no_obstacle() {
    run_alone("with_memory_deny_write_execute");
}

#[test]
#[ignore = "run by memory_deny_write_execute_is_no_obstacle"]
fn with_memory_deny_write_execute() {
    const PR_SET_MDWE: i32 = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    // SAFETY: concerns only what this process may map from now on. Linux before 6.3 does not know it: the test then
    // shows no more than others do.
    unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) };
    let cache = CodeCache::new(&Options::new()).unwrap();
    let published = publish(&cache, 42);
    assert_eq!(call(published.address(0)), 42);
    cache.before_fork();
    // SAFETY: the child calls the cache and the code only, and ends with `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = if cache.after_fork_in_child().is_ok() { call(published.address(0)) } else { 1 };
        // SAFETY: as above.
        unsafe { libc::_exit(status as i32) }
    }
    cache.after_fork_in_parent();
    let mut status = 0;
    // SAFETY: waits for a child of ours, with room for its status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(libc::WEXITSTATUS(status), 42);
    published.leak();
}

#[test]
#[ignore = "run by trap_linker_22_the_shared_libraries_are_in_reach"]
fn in_reach() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    assert!(cache.reaches(ExecutorAddr::new(libc::getpid as *const () as u64)));
    // And so is a library that is loaded later: mappings that follow land below the reservation, not below the working
    // view.
    let later = vec![0u8; 64 << 20];
    assert!(cache.reaches(ExecutorAddr::new(later.as_ptr() as u64)));
}

/// Large pieces are backed with huge pages as a whole.
#[test]
fn trap_linker_28_large_code_asks_for_huge_pages() {
    let (cache, counts) = Counting::cache();
    let mut reservation = cache.reserve(&[code(34 << 20)]).unwrap();
    assert_eq!(counts.huge.load(Ordering::Relaxed), 17);
    let bytes = reservation.working(0);
    let last = bytes.len() - 16;
    bytes[last..last + 8].copy_from_slice(&function(5).to_le_bytes());
    let published = reservation.publish(Records::new()).unwrap();
    assert_eq!(call(published.range(0).end - 16), 5);
    published.leak();
}

/// What is large and goes gives its memory back.
#[test]
fn large_code_that_was_reclaimed_takes_no_memory() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    for permission in Permission::ALL {
        let segment = Segment { permission, size: 64 << 20, align: 16 };
        let mut reservation = cache.reserve(&[(segment, Place::Anywhere)]).unwrap();
        reservation.working(0).fill(1);
        drop(reservation);
        let stats = cache.stats();
        let committed = stats.regions.iter().find(|region| region.permission == permission).unwrap().committed_bytes;
        assert!(committed < 4 << 20, "{committed} bytes of {permission:?}");
    }
}

/// Small installs find their memory ready: no call that changes a mapping.
#[test]
fn trap_linker_30_small_installs_reach_the_kernel_for_the_barrier_only() {
    let (cache, counts) = Counting::cache();
    publish(&cache, 1).leak();
    let before = counts.commits.load(Ordering::Relaxed);
    for value in 0..1000 {
        let published = publish(&cache, value);
        assert_eq!(call(published.address(0)), value);
        // SAFETY: the only call has returned.
        unsafe { published.retire().reclaim() };
    }
    for value in 0..1000 {
        publish(&cache, value).leak();
    }
    assert_eq!(counts.commits.load(Ordering::Relaxed), before);
    assert_eq!(counts.barriers.load(Ordering::Relaxed), 2001);
}

/// 100,000 functions: no mapping more than one.
#[test]
fn mappings_do_not_grow_with_functions() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let of_cache = || {
        let (start, end) = (cache.region(Permission::Code).start, cache.region(Permission::ReadWrite).end);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let starts = maps.lines().map(|line| u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap());
        starts.filter(|at| (start.get()..end.get()).contains(at)).count()
    };
    publish(&cache, 1).leak();
    let (before, stats) = (of_cache(), cache.stats().mappings);
    (0..100_000).for_each(|value| publish(&cache, value).leak());
    assert_eq!((of_cache(), cache.stats().mappings), (before, stats));
    assert_eq!(cache.stats().unwind_entries, 100_001);
}
