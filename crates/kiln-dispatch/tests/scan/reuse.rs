//! What a scan finds free is overwritten with traps and used again, while threads call.

use crate::rig::{Thread, alone, flag, patient};
use kiln_abi::ExecutorAddr;
use kiln_dispatch::scan::{Ranges, scan};
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// `fn(function, argument)`: calls `function(argument)` and adds one, on 16 or more bytes of stack.
const CODE: [u8; 18] = [
    0x48, 0x83, 0xec, 0x08, // sub rsp, 8
    0x48, 0x89, 0xf8, // mov rax, rdi
    0x48, 0x89, 0xf7, // mov rdi, rsi
    0xff, 0xd0, // call rax
    0xff, 0xc0, // inc eax
    0x59, // pop rcx
    0xc3, // ret
    0xcc, 0xcc, // padding
];
const BODY_BYTES: u64 = CODE.len() as u64;
const STRIDE: u64 = 64;
const PLACES: u64 = 256;
const FUNCTIONS: usize = 8;
const THREADS: usize = 6;
/// Retired bodies for which a scan is worth it.
const BATCH: usize = 24;
const ROUNDS: usize = 1_500;

static TABLE: [AtomicU64; FUNCTIONS] = [const { AtomicU64::new(0) }; FUNCTIONS];

/// Calls the body that function `n` has now, which calls `inner`.
#[inline(never)]
fn call(n: usize, inner: extern "C" fn(usize) -> u32, argument: usize) -> u32 {
    let address = TABLE[n % FUNCTIONS].load(Ordering::Acquire);
    // SAFETY: `CODE` has this type; whether it is still there is what the test is about.
    let body: extern "C" fn(extern "C" fn(usize) -> u32, usize) -> u32 =
        unsafe { std::mem::transmute(address as usize) };
    body(inner, argument)
}

/// What a body calls: runs, waits, or calls on. How often bodies returned below it.
extern "C" fn work(argument: usize) -> u32 {
    let rest = argument / 5;
    match argument % 5 {
        0 if rest.is_multiple_of(16) => {
            // SAFETY: waits for nothing.
            unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
            0
        }
        1 => {
            // SAFETY: gives the processor away.
            unsafe { libc::sched_yield() };
            0
        }
        0 | 2 => {
            (0..50_000).for_each(|n| {
                black_box(n);
            });
            0
        }
        _ if rest == 0 => 0,
        _ => call(rest, work, rest) + call(rest + 1, work, rest) - call(rest + 1, leaf, 0) + 1,
    }
}

extern "C" fn leaf(_: usize) -> u32 {
    0
}

fn membarrier(command: libc::c_int) {
    // SAFETY: touches no memory.
    assert_eq!(unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }, 0);
}

/// Executable memory for bodies.
struct Places {
    base: u64,
    free: Vec<u64>,
}

impl Places {
    fn new() -> Places {
        let bytes = (PLACES * STRIDE) as usize;
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: a new mapping.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, all, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        let base = memory.expose_provenance() as u64;
        let mut places = Places { base, free: Vec::new() };
        (0..PLACES).for_each(|n| places.reclaim(base + n * STRIDE));
        places
    }

    fn write(&self, address: u64, code: &[u8]) {
        assert!((self.base..self.base + PLACES * STRIDE).contains(&address));
        let place = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: inside the mapping, which only this thread writes.
        unsafe { place.copy_from_nonoverlapping(code.as_ptr(), code.len()) };
    }

    fn publish(&mut self) -> Option<u64> {
        let address = self.free.pop()?;
        self.write(address, &CODE);
        membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
        Some(address)
    }

    /// Whoever is still in there dies of a trap.
    fn reclaim(&mut self, address: u64) {
        self.write(address, &[0xcc; CODE.len()]);
        self.free.insert(0, address);
    }
}

/// Frees what of `retired` is free; how much, and how many threads were inspected asleep and running.
fn reclaim(places: &mut Places, retired: &mut Vec<u64>) -> [usize; 3] {
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
    let range = |&start: &u64| ExecutorAddr::new(start)..ExecutorAddr::new(start + BODY_BYTES);
    let ranges = Ranges::new(retired.iter().map(range)).unwrap();
    let report = scan(&ranges, &patient());
    assert!(report.obstacles.is_empty(), "{report:?}");
    let before = retired.len();
    for index in (0..ranges.len()).filter(|&index| report.is_free(index)) {
        let address = ranges.get(index).start.get();
        places.reclaim(address);
        retired.retain(|&other| other != address);
    }
    [before - retired.len(), report.counts.asleep, report.counts.answered]
}

#[test]
fn what_is_found_free_is_not_in_use() {
    alone("reuse::what_is_found_free_is_not_in_use", || {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
        let mut places = Places::new();
        for function in &TABLE {
            function.store(places.publish().unwrap(), Ordering::Release);
        }
        let stop: &'static AtomicU32 = flag();
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                Thread::start(move || {
                    let mut calls = 0u64;
                    let mut seed = n;
                    while stop.load(Ordering::Acquire) == 0 {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        assert!(call(seed >> 40, work, (seed >> 33) % 3_000) > 0);
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        let (mut retired, mut total) = (Vec::new(), [0; 3]);
        for round in 0..ROUNDS {
            while places.free.is_empty() || retired.len() >= BATCH && round.is_multiple_of(BATCH) {
                let now = reclaim(&mut places, &mut retired);
                total.iter_mut().zip(now).for_each(|(total, now)| *total += now);
                if now[0] > 0 {
                    break;
                }
            }
            let new = places.publish().unwrap();
            retired.push(TABLE[round % FUNCTIONS].swap(new, Ordering::AcqRel));
        }
        stop.store(1, Ordering::Release);
        assert!(threads.into_iter().all(|thread| thread.join() > 0));
        let [freed, asleep, running] = total;
        assert!(freed > ROUNDS / 2 && asleep > 0 && running > 0, "{total:?}");
    });
}
