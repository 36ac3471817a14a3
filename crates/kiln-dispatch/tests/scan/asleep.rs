//! Threads that sleep in system calls: read from outside, and nothing returns early.

use crate::rig::{
    Body, Thread, alone, block_all_signals, holds, index, patient, pipe, ranges, read_byte, scan_for, until_asleep_in,
    was_asked, write_byte,
};
use kiln_dispatch::scan::{self, scan};
use std::time::{Duration, Instant};

#[test]
fn trap_13_a_thread_in_read_holds_the_body_that_called_it() {
    alone("asleep::trap_13_a_thread_in_read_holds_the_body_that_called_it", || {
        let body = Body::calling();
        let (output, input) = pipe();
        let thread = Thread::start(move || body.call(read_byte, output as usize));
        until_asleep_in(thread.tid, libc::SYS_read);
        for _ in 0..100 {
            let report = scan_for(body);
            assert!(holds(&report, thread.tid) && report.is_held(0) && !report.is_free(0), "{report:?}");
            assert!(report.is_conclusive() && !was_asked(&report, thread.tid), "{report:?}");
        }
        write_byte(input);
        assert_eq!(thread.join(), 1);
        let report = scan_for(body);
        assert!(report.is_free(0), "{report:?}");
    });
}

/// Only one of two bodies is in use.
#[test]
fn a_body_that_nobody_called_is_free() {
    alone("asleep::a_body_that_nobody_called_is_free", || {
        let (used, unused) = (Body::calling(), Body::calling());
        let (output, input) = pipe();
        let thread = Thread::start(move || used.call(read_byte, output as usize));
        until_asleep_in(thread.tid, libc::SYS_read);
        let ranges = ranges(&[used, unused]);
        let report = scan(&ranges, &patient());
        assert!(report.is_held(index(&ranges, used)) && report.is_free(index(&ranges, unused)), "{report:?}");
        write_byte(input);
        thread.join();
    });
}

/// The return address of a call that does not return is one past the body's end.
#[test]
fn trap_14_a_body_that_ends_with_a_call() {
    alone("asleep::trap_14_a_body_that_ends_with_a_call", || {
        let body = Body::ending_with_a_call();
        let (output, _input) = pipe();
        // The call never returns: the process ends under it.
        let thread = Thread::start(move || body.call(read_byte, output as usize));
        until_asleep_in(thread.tid, libc::SYS_read);
        let report = scan_for(body);
        assert!(holds(&report, thread.tid), "{report:?}");
    });
}

/// A system call made by the body itself: nothing is on the stack, but the instruction pointer tells.
#[test]
fn trap_14_a_body_that_calls_the_kernel_itself() {
    alone("asleep::trap_14_a_body_that_calls_the_kernel_itself", || {
        let body = Body::in_system_call();
        let thread = Thread::start(move || body.system_call(libc::SYS_pause, 0, 0));
        until_asleep_in(thread.tid, libc::SYS_pause);
        let report = scan_for(body);
        assert!(holds(&report, thread.tid) && !was_asked(&report, thread.tid), "{report:?}");
    });
}

#[test]
fn trap_13_a_sleeping_thread_that_blocks_all_signals() {
    alone("asleep::trap_13_a_sleeping_thread_that_blocks_all_signals", || {
        let body = Body::calling();
        let (output, input) = pipe();
        let thread = Thread::start(move || {
            block_all_signals();
            body.call(read_byte, output as usize)
        });
        until_asleep_in(thread.tid, libc::SYS_read);
        let report = scan_for(body);
        assert!(holds(&report, thread.tid) && report.is_conclusive(), "{report:?}");
        write_byte(input);
        assert_eq!(thread.join(), 1);
    });
}

/// How a wait for `milliseconds` ended: 0, or the number of `errno`.
type Wait = extern "C" fn(usize) -> i64;

fn outcome(status: libc::c_int, expected: libc::c_int) -> i64 {
    if status == expected { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap().into() }
}

fn timespec(milliseconds: usize) -> libc::timespec {
    libc::timespec { tv_sec: (milliseconds / 1000) as i64, tv_nsec: (milliseconds % 1000 * 1_000_000) as i64 }
}

fn in_future(milliseconds: usize) -> libc::timespec {
    let mut time = timespec(0);
    // SAFETY: writes a live structure.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    let nanoseconds = time.tv_nsec + (milliseconds as i64) * 1_000_000;
    libc::timespec { tv_sec: time.tv_sec + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 }
}

extern "C" fn by_nanosleep(milliseconds: usize) -> i64 {
    // SAFETY: reads a live structure.
    outcome(unsafe { libc::nanosleep(&timespec(milliseconds), std::ptr::null_mut()) }, 0)
}

extern "C" fn by_poll(milliseconds: usize) -> i64 {
    // SAFETY: waits for nothing.
    outcome(unsafe { libc::poll(std::ptr::null_mut(), 0, milliseconds as i32) }, 0)
}

extern "C" fn by_select(milliseconds: usize) -> i64 {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: (milliseconds * 1000) as i64 };
    let none = std::ptr::null_mut();
    // SAFETY: waits for nothing.
    outcome(unsafe { libc::select(0, none, none, none, &raw mut time) }, 0)
}

extern "C" fn by_epoll(milliseconds: usize) -> i64 {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: a descriptor of our own; room for one event.
    unsafe {
        let descriptor = libc::epoll_create1(0);
        let result = outcome(libc::epoll_wait(descriptor, &raw mut event, 1, milliseconds as i32), 0);
        libc::close(descriptor);
        result
    }
}

extern "C" fn by_semaphore(milliseconds: usize) -> i64 {
    // SAFETY: a semaphore of our own.
    unsafe {
        let mut semaphore = std::mem::zeroed();
        libc::sem_init(&raw mut semaphore, 0, 0);
        match outcome(libc::sem_timedwait(&raw mut semaphore, &in_future(milliseconds)), 0) as i32 {
            libc::ETIMEDOUT => 0,
            other => other.into(),
        }
    }
}

extern "C" fn by_sigtimedwait(milliseconds: usize) -> i64 {
    // SAFETY: waits for a signal that nobody sends.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        match outcome(libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &timespec(milliseconds)), 0) as i32 {
            libc::EAGAIN => 0,
            other => other.into(),
        }
    }
}

/// `recv` with a time limit: EINTR although the handler has SA_RESTART, signal(7) says.
extern "C" fn by_receiving(milliseconds: usize) -> i64 {
    // SAFETY: a socket of our own, and a live structure.
    unsafe {
        let mut sockets = [0; 2];
        assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, sockets.as_mut_ptr()), 0);
        let limit = libc::timeval { tv_sec: 0, tv_usec: (milliseconds * 1000) as i64 };
        let bytes = size_of_val(&limit) as u32;
        libc::setsockopt(sockets[0], libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const limit).cast(), bytes);
        let mut byte = 0u8;
        let result = outcome(libc::recv(sockets[0], (&raw mut byte).cast(), 1, 0) as i32, 0);
        for socket in sockets {
            libc::close(socket);
        }
        if result as i32 == libc::EAGAIN { 0 } else { result }
    }
}

const WAITS: [(&str, Wait); 7] = [
    ("nanosleep", by_nanosleep),
    ("poll", by_poll),
    ("select", by_select),
    ("epoll_wait", by_epoll),
    ("sem_timedwait", by_semaphore),
    ("sigtimedwait", by_sigtimedwait),
    ("recv", by_receiving),
];

/// Each wait lasts as long as it should, however often it is looked at.
#[test]
fn trap_13_nothing_returns_early() {
    alone("asleep::trap_13_nothing_returns_early", || {
        const MILLISECONDS: usize = 700;
        let body = Body::calling();
        let threads = WAITS.map(|(name, wait)| {
            let thread = Thread::start(move || {
                let begin = Instant::now();
                (body.call(wait, MILLISECONDS), begin.elapsed())
            });
            (name, thread)
        });
        let begin = Instant::now();
        let mut held = [0; WAITS.len()];
        while begin.elapsed() < Duration::from_millis(MILLISECONDS as u64) {
            let report = scan_for(body);
            assert!(report.is_conclusive(), "{report:?}");
            for (held, (_, thread)) in held.iter_mut().zip(&threads) {
                *held += usize::from(holds(&report, thread.tid));
            }
        }
        assert!(held.iter().all(|&times| times > 0), "{held:?}");
        for (name, thread) in threads {
            let (outcome, took) = thread.join();
            assert_eq!(outcome, 0, "{name}");
            assert!(took >= Duration::from_millis(MILLISECONDS as u64), "{name}: {took:?}");
        }
    });
}

/// Threads that go to sleep and wake up all the time are asked while they run, and asleep again when the signal would
/// come. It must not.
#[test]
fn trap_13_short_waits_are_not_interrupted() {
    alone("asleep::trap_13_short_waits_are_not_interrupted", || {
        let body = Body::calling();
        let threads = WAITS.map(|(name, wait)| {
            let thread = Thread::start(move || {
                let begin = Instant::now();
                let mut waits = 0;
                while begin.elapsed() < Duration::from_secs(3) {
                    // Enough work to be met running.
                    for n in 0..200_000 {
                        std::hint::black_box(n);
                    }
                    assert_eq!(body.call(wait, 1), 0, "{name}");
                    waits += 1;
                }
                waits
            });
            (name, thread)
        });
        let (mut asleep, mut answered) = (0, 0);
        while threads.iter().any(|(_, thread)| thread.is_running()) {
            let report = scan_for(body);
            assert!(report.is_conclusive(), "{report:?}");
            asleep += report.counts.asleep;
            answered += report.counts.answered;
        }
        for (name, thread) in threads {
            assert!(thread.join() > 0, "{name}");
        }
        assert!(asleep > 0 && answered > 0, "{asleep} asleep, {answered} answered");
        assert!(scan::reserved_signal().is_some());
    });
}
