//! Threads that come and go.

use crate::rig::{
    Body, Thread, alone, flag, holds, known_frames, own_tid, patient, pipe, ranges, read_byte, scan_for,
    until_asleep_in, wait_for, write_byte,
};
use kiln_dispatch::scan::{Obstacle, Scan, Tid};
use std::sync::atomic::{AtomicU32, Ordering};

/// Threads are made, call a body and end all the time; one stays in it.
#[test]
fn trap_14_threads_are_made_during_scans() {
    alone("threads::trap_14_threads_are_made_during_scans", || {
        let (body, unused) = (Body::calling(), Body::calling());
        extern "C" fn briefly(_: usize) -> i64 {
            std::thread::yield_now();
            0
        }
        let (output, input) = pipe();
        let staying = Thread::start(move || body.call(read_byte, output as usize));
        until_asleep_in(staying.tid, libc::SYS_read);
        let stop = flag();
        let made: &'static AtomicU32 = flag();
        let makers: Vec<_> = (0..3)
            .map(|_| {
                Thread::start(move || {
                    while stop.load(Ordering::Acquire) == 0 {
                        std::thread::spawn(move || body.call(briefly, 0)).join().unwrap();
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let mut conclusive = 0;
        while conclusive < 15 {
            let report = scan_for(body);
            assert!(holds(&report, staying.tid) && !report.is_free(0), "{report:?}");
            let report = scan_for(unused);
            assert!(!report.is_held(0), "{report:?}");
            conclusive += u32::from(report.is_conclusive());
        }
        stop.store(1, Ordering::Release);
        makers.into_iter().for_each(Thread::join);
        assert!(made.load(Ordering::Relaxed) > 0);
        write_byte(input);
        assert_eq!(staying.join(), 1);
        assert!(scan_for(body).is_free(0));
    });
}

/// Runs `child` in a forked process; its exit status.
fn in_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs nothing that another thread might have left locked: libc makes its allocator usable.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(254);
        // SAFETY: ends the process.
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

/// The main thread ends before the others: it stays, and never answers.
#[test]
fn trap_14_a_main_thread_that_has_ended() {
    alone("threads::trap_14_a_main_thread_that_has_ended", || {
        let body = Body::calling();
        let status = in_child(|| {
            let main = own_tid();
            std::thread::spawn(move || {
                let stat = || std::fs::read_to_string(format!("/proc/self/task/{}/stat", main.0)).unwrap();
                while !stat().contains(") Z ") {
                    std::thread::yield_now();
                }
                let report = known_frames(|| scan_for(body));
                if !report.is_free(0) {
                    eprintln!("{report:?}");
                }
                let expected = report.is_free(0) && report.counts.without_code == 1;
                // SAFETY: ends the process.
                unsafe { libc::_exit(if expected { 7 } else { 8 }) }
            });
            // SAFETY: ends the thread, as `pthread_exit` does in the end.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!()
        });
        assert_eq!(status, 7);
    });
}

/// A child has only the thread that forked, whatever scan was under way; it can scan, and make threads.
#[test]
fn trap_10_forks_during_scans() {
    alone("threads::trap_10_forks_during_scans", || {
        let (body, spinning) = (Body::calling(), Body::spinning());
        let (output, input) = pipe();
        let staying = Thread::start(move || body.call(read_byte, output as usize));
        until_asleep_in(staying.tid, libc::SYS_read);
        // Scans take long enough to be forked in if a thread has to answer.
        let (began, go_on) = (flag(), flag());
        let running = Thread::start(move || spinning.spin(began, go_on));
        let stop = flag();
        let scanning = Thread::start(move || {
            let mut scans = 0;
            while stop.load(Ordering::Acquire) == 0 {
                let report = scan_for(body);
                assert!(report.is_held(0), "{report:?}");
                scans += 1;
            }
            scans
        });
        for _ in 0..30 {
            assert_eq!(in_child(|| child(body)), 9);
        }
        stop.store(1, Ordering::Release);
        assert!(scanning.join() > 0);
        go_on.store(1, Ordering::Release);
        running.join();
        write_byte(input);
        assert_eq!(staying.join(), 1);
    });
}

/// A scan that the parent began is nothing in the child, and goes on in the parent.
#[test]
fn trap_10_a_fork_while_a_scan_is_under_way() {
    alone("threads::trap_10_a_fork_while_a_scan_is_under_way", || {
        let body = Body::spinning();
        let (began, go_on) = (flag(), flag());
        let thread = Thread::start(move || body.spin(began, go_on));
        wait_for(began);
        let own_stack_from = patient().own_stack_from;
        let mut begun = Some(Scan::begin(ranges(&[body])));
        begun.as_mut().unwrap().poll(own_stack_from);
        let status = in_child(|| {
            let report = begun.take().unwrap().finish();
            let refused = report.obstacles == [Obstacle::NotThisProcess] && !report.is_free(0);
            i32::from(refused && scan_for(body).is_free(0))
        });
        assert_eq!(status, 1);
        let mut begun = begun.unwrap();
        while !begun.poll(own_stack_from) {
            std::thread::yield_now();
        }
        let report = begun.finish();
        assert!(holds(&report, thread.tid) && report.is_conclusive(), "{report:?}");
        go_on.store(1, Ordering::Release);
        thread.join();
    });
}

/// In the child nobody is in the body, until a thread of its own is.
fn child(body: Body) -> i32 {
    let before = scan_for(body);
    if !before.is_free(0) {
        eprintln!("{before:?}");
        return 1;
    }
    let (output, input) = pipe();
    let thread = Thread::start(move || body.call(read_byte, output as usize));
    let tid: Tid = thread.tid;
    until_asleep_in(tid, libc::SYS_read);
    if !holds(&scan_for(body), tid) {
        return 2;
    }
    write_byte(input);
    thread.join();
    if scan_for(body).is_free(0) { 9 } else { 3 }
}
