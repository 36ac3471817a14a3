//! What the kernel refuses is an error, and everything is as before.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_abi::{Permission, Segment};
use kiln_codecache::{CodeCache, ErrorKind, ForkCopy, InProcess, Mapper, Options, Pages, Place, Records, RegionViews};

/// A mapper whose `n`-th commit from now on fails.
struct Failing {
    memory: InProcess,
    commits_left: Arc<AtomicUsize>,
}

impl Failing {
    fn cache() -> (CodeCache, Arc<AtomicUsize>) {
        let commits_left = Arc::new(AtomicUsize::new(usize::MAX));
        let memory = InProcess::new(&Options::new()).unwrap();
        let mapper = Failing { memory, commits_left: commits_left.clone() };
        (CodeCache::with_mapper(Box::new(mapper), &Options::new()).unwrap(), commits_left)
    }

    fn fail(&self) -> io::Result<()> {
        let left = self.commits_left.load(Ordering::Relaxed);
        self.commits_left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 { Err(io::Error::from_raw_os_error(libc::ENOMEM)) } else { Ok(()) }
    }
}

// SAFETY: everything is passed on to a mapper; failing more often takes no memory away.
unsafe impl Mapper for Failing {
    fn region(&self, permission: Permission) -> RegionViews {
        self.memory.region(permission)
    }

    fn commit(&self, permission: Permission, range: Range<u64>, pages: Pages) -> io::Result<()> {
        self.fail()?;
        self.memory.commit(permission, range, pages)
    }

    fn decommit(&self, permission: Permission, range: Range<u64>) -> io::Result<()> {
        self.fail()?;
        self.memory.decommit(permission, range)
    }

    fn synchronize_cores(&self) {
        self.memory.synchronize_cores();
    }

    fn copy_for_child(&self, live: &[(Permission, Range<u64>)]) -> io::Result<ForkCopy> {
        self.fail()?;
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

fn wanted() -> Vec<(Segment, Place)> {
    let sizes = [
        (Permission::Code, 100),
        (Permission::ReadOnly, 9 << 20),
        (Permission::Code, 7 << 20),
        (Permission::ReadWrite, 50),
    ];
    sizes.map(|(permission, size)| (Segment { permission, size, align: 64 }, Place::Anywhere)).to_vec()
}

#[test]
fn trap_20_memory_that_cannot_be_had_is_an_error_and_everything_is_rolled_back() {
    let mut failures = 0;
    for succeed in 0.. {
        let (cache, commits_left) = Failing::cache();
        let free = cache.stats().regions.map(|region| region.largest_free_bytes);
        commits_left.store(succeed, Ordering::Relaxed);
        let result = cache.reserve(&wanted());
        commits_left.store(usize::MAX, Ordering::Relaxed);
        let error = match result {
            Ok(reservation) => {
                drop(reservation);
                break;
            }
            Err(error) => error,
        };
        failures += 1;
        assert!(matches!(error.kind(), ErrorKind::OutOfMemory { .. }), "{error}");
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            io::Error::from_raw_os_error(libc::ENOMEM).to_string()
        );
        let stats = cache.stats();
        assert_eq!(stats.in_flight, 0);
        for (region, free) in stats.regions.iter().zip(free) {
            assert_eq!((region.used_bytes, region.live_allocations, region.largest_free_bytes), (0, 0, free));
        }
        // And the same works once there is memory.
        let mut reservation = cache.reserve(&wanted()).unwrap();
        reservation.working_all().iter_mut().for_each(|bytes| bytes.fill(1));
    }
    assert!(failures >= 4, "every segment's memory failed once");
}

#[test]
fn memory_that_cannot_be_given_back_is_cleared_instead() {
    let (cache, commits_left) = Failing::cache();
    let mut reservation = cache.reserve(&wanted()).unwrap();
    reservation.working_all().iter_mut().for_each(|bytes| bytes.fill(1));
    commits_left.store(0, Ordering::Relaxed);
    drop(reservation);
    commits_left.store(usize::MAX, Ordering::Relaxed);
    let mut again = cache.reserve(&wanted()).unwrap();
    assert!(again.working(1).iter().all(|byte| *byte == 0));
}

#[test]
fn a_child_that_got_no_memory_of_its_own_is_told_so() {
    let (cache, commits_left) = Failing::cache();
    let _reservation = cache.reserve(&wanted()).unwrap();
    commits_left.store(0, Ordering::Relaxed);
    cache.before_fork();
    // Both continuations on one process: what matters is what they say and that the lock is free afterwards.
    let error = cache.after_fork_in_child().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Fork { bytes, .. } if *bytes > 16 << 20), "{error}");
    assert_eq!(cache.stats().in_flight, 1);
}

#[test]
fn out_of_code_space_is_an_error_and_freeing_helps() {
    let cache = CodeCache::new(&Options::new().size(32 << 20)).unwrap();
    let code = Segment { permission: Permission::Code, size: 1 << 20, align: 16 };
    let mut live = Vec::new();
    let error = loop {
        match cache.reserve(&[(code, Place::Anywhere)]) {
            Ok(reservation) => live.push(reservation),
            Err(error) => break error,
        }
    };
    assert_eq!(live.len(), 12);
    let is_full =
        |kind: &ErrorKind| matches!(kind, ErrorKind::OutOfSpace { permission: Permission::Code, largest_free: 0, .. });
    assert!(is_full(error.kind()), "{error}");
    drop(live.swap_remove(3));
    cache.reserve(&[(code, Place::Anywhere)]).unwrap().publish(Records::new()).unwrap().leak();
}

/// Runs a test of this file that is ignored otherwise in a shell with limits.
fn run_limited(limits: &str, test: &str) {
    let executable = std::env::current_exe().unwrap();
    let script = format!("{limits}; exec \"$0\" --ignored --exact {test}");
    let output = std::process::Command::new("sh").args(["-c", &script]).arg(executable).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{:?}\n{text}", output.status);
}

#[test]
fn trap_20_limits_on_memory_and_files() {
    for limits in ["ulimit -v 4000000", "ulimit -v 1000000", "ulimit -v 500000", "ulimit -f 0", "ulimit -f 0 -v 600000"]
    {
        run_limited(limits, "with_little_memory");
    }
    run_limited("ulimit -v 40000", "with_hardly_any_memory");
}

#[test]
#[ignore = "run by trap_20_limits_on_memory_and_files"]
fn with_little_memory() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let segment = |permission| (Segment { permission, size: 3 << 20, align: 16 }, Place::Anywhere);
    let mut reservation = cache.reserve(&Permission::ALL.map(segment)).unwrap();
    reservation.working_all().iter_mut().for_each(|bytes| bytes.fill(1));
    reservation.publish(Records::new()).unwrap().leak();
    cache.before_fork();
    cache.after_fork_in_parent();
    // The program still gets memory of its own.
    assert_eq!(vec![1u8; 50 << 20].len(), 50 << 20);
}

#[test]
#[ignore = "run by trap_20_limits_on_memory_and_files"]
fn with_hardly_any_memory() {
    let error = CodeCache::new(&Options::new()).err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::AddressSpace { .. }), "{error}");
}
