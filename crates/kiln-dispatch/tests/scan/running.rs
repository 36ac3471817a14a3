//! Threads that run: they answer a signal.

use crate::rig::{
    Body, Thread, alone, block_all_signals, flag, holds, patient, patient_for, ranges, scan_for, wait_for, was_asked,
};
use kiln_dispatch::scan::{Obstacle, Reason, Scan, prepare, scan};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn trap_13_a_spinning_thread_answers() {
    alone("running::trap_13_a_spinning_thread_answers", || {
        let body = Body::spinning();
        let (began, go_on) = (flag(), flag());
        let thread = Thread::start(move || body.spin(began, go_on));
        wait_for(began);
        for _ in 0..20 {
            let report = scan_for(body);
            assert!(holds(&report, thread.tid) && report.is_conclusive(), "{report:?}");
            assert!(was_asked(&report, thread.tid), "{report:?}");
        }
        go_on.store(1, Ordering::Release);
        thread.join();
        let report = scan_for(body);
        assert!(report.is_free(0), "{report:?}");
    });
}

/// What such a thread holds is unknown, so nothing is free; once it can be inspected, everything else is.
#[test]
fn trap_13_a_spinning_thread_that_blocks_all_signals() {
    alone("running::trap_13_a_spinning_thread_that_blocks_all_signals", || {
        let (body, unused) = (Body::spinning(), Body::spinning());
        let (began, go_on) = (flag(), flag());
        let thread = Thread::start(move || {
            block_all_signals();
            body.spin(began, go_on);
        });
        wait_for(began);
        let ranges = ranges(&[body, unused]);
        let report = scan(&ranges, &patient_for(Duration::from_millis(20)));
        assert!(report.uninspected.contains(&(thread.tid, Reason::SignalsBlocked)), "{report:?}");
        assert!(!report.is_free(0) && !report.is_free(1));
        go_on.store(1, Ordering::Release);
        thread.join();
        let report = scan(&ranges, &patient());
        assert!(report.is_free(0) && report.is_free(1), "{report:?}");
    });
}

/// A program that takes the signal away gets its memory kept, and is not killed.
#[test]
fn a_signal_that_was_taken_is_not_sent() {
    alone("running::a_signal_that_was_taken_is_not_sent", || {
        let number = prepare().unwrap();
        // SAFETY: sets the default action.
        assert_ne!(unsafe { libc::signal(number, libc::SIG_DFL) }, libc::SIG_ERR);
        let body = Body::spinning();
        let (began, go_on) = (flag(), flag());
        let thread = Thread::start(move || body.spin(began, go_on));
        wait_for(began);
        let report = scan(&ranges(&[body]), &patient_for(Duration::from_millis(20)));
        assert!(report.uninspected.contains(&(thread.tid, Reason::CannotAsk { errno: 0 })), "{report:?}");
        go_on.store(1, Ordering::Release);
        thread.join();
    });
}

/// Programs count their own signals from `SIGRTMIN`, and agree with other processes upon them.
#[test]
fn the_signal_is_the_last_one() {
    alone("running::the_signal_is_the_last_one", || {
        let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
        assert_eq!(prepare().unwrap(), last);
        assert_eq!(prepare().unwrap(), last);
        assert_eq!((libc::SIGRTMIN(), libc::SIGRTMAX()), (first, last - 1));
    });
}

/// More threads than can be asked at a time.
#[test]
fn many_spinning_threads_answer() {
    alone("running::many_spinning_threads_answer", || {
        let body = Body::spinning();
        let go_on = flag();
        let threads: Vec<_> = (0..70)
            .map(|_| {
                let began = flag();
                let thread = Thread::start(move || body.spin(began, go_on));
                wait_for(began);
                thread
            })
            .collect();
        let report = scan_for(body);
        assert!(report.is_conclusive() && report.counts.answered >= threads.len(), "{report:?}");
        assert!(threads.iter().all(|thread| holds(&report, thread.tid)), "{report:?}");
        go_on.store(1, Ordering::Release);
        threads.into_iter().for_each(Thread::join);
        let report = scan_for(body);
        assert!(report.is_free(0), "{report:?}");
    });
}

/// A scan that is continued now and then: the thread answers in between.
#[test]
fn a_scan_does_not_have_to_be_waited_for() {
    alone("running::a_scan_does_not_have_to_be_waited_for", || {
        let body = Body::spinning();
        let (began, go_on) = (flag(), flag());
        let thread = Thread::start(move || body.spin(began, go_on));
        wait_for(began);
        fn any_thread_may_continue<T: Send>(scan: T) -> T {
            scan
        }
        let own_stack_from = patient().own_stack_from;
        let mut first = any_thread_may_continue(Scan::begin(ranges(&[body])));
        while !first.poll(own_stack_from) {
            let second = scan_for(body);
            assert_eq!(second.obstacles, [Obstacle::Busy]);
            assert!(!second.is_free(0));
        }
        let report = first.finish();
        assert!(holds(&report, thread.tid) && report.is_conclusive(), "{report:?}");
        // One that is dropped takes its questions back.
        let mut dropped = Scan::begin(ranges(&[body]));
        dropped.poll(own_stack_from);
        drop(dropped);
        assert!(holds(&scan_for(body), thread.tid));
        go_on.store(1, Ordering::Release);
        thread.join();
        assert!(scan_for(body).is_free(0));
    });
}
