//! Children that run on our memory, and debuggers.

use crate::rig::{
    Body, Thread, alone, flag, holds, patient_for, pipe, ranges, read_byte, scan_for, until_asleep_in, wait_for,
    write_byte,
};
use kiln_dispatch::scan::{Obstacle, Reason, Tid, scan, watch_child};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Makes a child on our memory that runs `child`, with the given flags besides; its number.
fn child_on_our_memory(child: extern "C" fn(*mut libc::c_void) -> i32, argument: usize, flags: i32) -> i32 {
    let stack = Box::leak(vec![0u128; 16 << 10].into_boxed_slice()).as_mut_ptr_range().end;
    // SAFETY: a stack that lives as long as the process.
    let pid = unsafe {
        libc::clone(child, stack.cast(), libc::CLONE_VM | flags | libc::SIGCHLD, argument as *mut libc::c_void)
    };
    assert!(pid > 0);
    pid
}

fn wait_for_child(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    libc::WEXITSTATUS(status)
}

extern "C" fn child_reads(descriptor: *mut libc::c_void) -> i32 {
    read_byte(descriptor.addr()) as i32
}

/// The thread that waits for the child shows that there is one.
#[test]
fn trap_11_nothing_is_free_while_a_child_of_vfork_lives() {
    alone("processes::trap_11_nothing_is_free_while_a_child_of_vfork_lives", || {
        let body = Body::calling();
        assert!(scan_for(body).is_free(0));
        let (output, input) = pipe();
        let thread = Thread::start(move || child_on_our_memory(child_reads, output as usize, libc::CLONE_VFORK));
        until_asleep_in(thread.tid, libc::SYS_clone);
        let report = scan_for(body);
        assert_eq!(report.obstacles, [Obstacle::SharedMemory { who: Some(thread.tid) }]);
        assert!(!report.is_free(0));
        write_byte(input);
        assert_eq!(wait_for_child(thread.join()), 1);
        assert!(scan_for(body).is_free(0));
    });
}

static BODY: std::sync::OnceLock<Body> = std::sync::OnceLock::new();

/// It sees no thread of its parent's.
#[test]
fn trap_11_a_child_of_vfork_frees_nothing() {
    extern "C" fn child(_: *mut libc::c_void) -> i32 {
        let report = scan_for(*BODY.get().unwrap());
        i32::from(report.obstacles.contains(&Obstacle::NotThisProcess) && !report.is_free(0))
    }
    alone("processes::trap_11_a_child_of_vfork_frees_nothing", || {
        let body = *BODY.get_or_init(Body::calling);
        assert!(scan_for(body).is_free(0));
        assert_eq!(wait_for_child(child_on_our_memory(child, 0, libc::CLONE_VFORK)), 1);
        assert!(scan_for(body).is_free(0));
    });
}

/// A child that nobody waits for has to be announced.
#[test]
fn trap_11_nothing_is_free_while_an_announced_child_lives() {
    alone("processes::trap_11_nothing_is_free_while_an_announced_child_lives", || {
        let body = Body::calling();
        let (output, input) = pipe();
        let mut pid = 0;
        watch_child(|| {
            let report = scan_for(body);
            assert_eq!(report.obstacles, [Obstacle::SharedMemory { who: None }], "it may be there at any time");
            pid = child_on_our_memory(child_reads, output as usize, 0);
            Some(pid)
        });
        let report = scan_for(body);
        assert_eq!(report.obstacles, [Obstacle::SharedMemory { who: Some(Tid(pid)) }]);
        write_byte(input);
        assert_eq!(wait_for_child(pid), 1);
        assert!(scan_for(body).is_free(0));
    });
}

/// A debugger is another process, here a forked child that we let trace us.
struct Debugger {
    pid: i32,
    /// Written to when the debugger is to let go.
    let_go: i32,
}

impl Debugger {
    /// Stops thread `tid`.
    fn stop(tid: Tid) -> Debugger {
        let (told, let_go) = pipe();
        let (stopped, say_stopped) = pipe();
        // SAFETY: lets any process of ours trace us; the child only makes system calls.
        let pid = unsafe {
            libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
            let pid = libc::fork();
            if pid == 0 {
                // Not to outlive a test that fails.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                let none = std::ptr::null_mut::<libc::c_void>();
                let mut status = 0;
                if libc::ptrace(libc::PTRACE_ATTACH, tid.0, none, none) != 0
                    || libc::waitpid(tid.0, &raw mut status, libc::__WALL) != tid.0
                {
                    libc::_exit(1);
                }
                write_byte(say_stopped);
                read_byte(told as usize);
                libc::ptrace(libc::PTRACE_DETACH, tid.0, none, none);
                libc::_exit(0);
            }
            pid
        };
        assert_eq!(read_byte(stopped as usize), 1);
        Debugger { pid, let_go }
    }

    fn let_go(self) {
        write_byte(self.let_go);
        assert_eq!(wait_for_child(self.pid), 0);
    }
}

/// A thread that a debugger stopped while it ran shows no registers; one that it stopped in a system call does.
#[test]
fn trap_13_stopped_threads() {
    alone("processes::trap_13_stopped_threads", || {
        let (spinning, reading, unused) = (Body::spinning(), Body::calling(), Body::calling());
        let (began, go_on) = (flag(), flag());
        let (output, input) = pipe();
        let running = Thread::start(move || spinning.spin(began, go_on));
        let asleep = Thread::start(move || reading.call(read_byte, output as usize));
        wait_for(began);
        until_asleep_in(asleep.tid, libc::SYS_read);

        // First, while no handler of ours has run: one that is about to return would be in a system call.
        let debugger = Debugger::stop(running.tid);
        let report = scan(&ranges(&[unused]), &patient_for(Duration::from_millis(20)));
        assert!(report.uninspected.contains(&(running.tid, Reason::Stopped)), "{report:?}");
        assert!(!report.is_free(0));
        debugger.let_go();
        assert!(scan_for(unused).is_free(0));

        let debugger = Debugger::stop(asleep.tid);
        let report = scan_for(reading);
        assert!(holds(&report, asleep.tid) && report.is_conclusive(), "{report:?}");
        debugger.let_go();

        go_on.store(1, Ordering::Release);
        running.join();
        write_byte(input);
        assert_eq!(asleep.join(), 1);
    });
}

/// Memory that nobody may read does not end the scan, nor the program.
#[test]
fn a_thread_whose_stack_goes_away_is_no_fault() {
    static ROUNDS: AtomicU32 = AtomicU32::new(0);
    alone("processes::a_thread_whose_stack_goes_away_is_no_fault", || {
        let body = Body::calling();
        let stop = flag();
        let maker = Thread::start(move || {
            while stop.load(Ordering::Acquire) == 0 {
                // More stack than libc keeps for later: it is unmapped when the thread ends.
                let big = std::thread::Builder::new().stack_size(64 << 20);
                big.spawn(std::thread::yield_now).unwrap().join().unwrap();
                ROUNDS.fetch_add(1, Ordering::Relaxed);
            }
        });
        while ROUNDS.load(Ordering::Relaxed) < 200 {
            assert!(!scan_for(body).is_held(0));
        }
        stop.store(1, Ordering::Release);
        maker.join();
        assert!(scan_for(body).is_free(0));
    });
}
