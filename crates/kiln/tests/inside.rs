//! Functions that are replaced while threads stay inside them: nothing returns early, and the engine says who waits.

mod support;

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kiln::{Engine, Redefined};
use support::{Int, alone, bitcode, call, engine, object, reclaim};

const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int get(int fd) {
    char byte = 0;
    return read(fd, &byte, 1) == 1 ? byte : -errno;
}
int in_read(int fd) { return get(fd); }
int in_sleep(int ms) {
    struct timespec time = {0, ms * 1000000L};
    return nanosleep(&time, 0) ? -errno : 1;
}
int in_poll(int ms) { return poll(0, 0, ms) ? -errno : 1; }
int in_sem_timedwait(int ms) {
    sem_t never;
    struct timespec time;
    sem_init(&never, 0, 0);
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_nsec += ms * 1000000L;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return sem_timedwait(&never, &time) && errno == ETIMEDOUT ? 1 : -errno;
}

volatile int began, go_on;
int spins(int how) {
    sigset_t all;
    sigfillset(&all);
    if (how == 1) pthread_sigmask(SIG_BLOCK, &all, 0);
    if (how == 2) syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, 0, 8);
    began = 1;
    while (!go_on) {}
    return 1;
}
int other(int x) { return x; }

static int descriptor, handled;
void handler(int number) { handled = get(descriptor); }
int interrupted(int fd) {
    stack_t stack = {malloc(65536), 0, 65536};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    descriptor = fd;
    sigaltstack(&stack, 0);
    sigaction(SIGUSR1, &action, 0);
    raise(SIGUSR1);
    return handled;
}
int signals_again(int x) { handled = 0; raise(SIGUSR1); return handled; }

int stamp(int x) { return 1; }
int forks(int fd) {
    int pid = fork();
    if (pid == 0) {
        get(fd);
        _exit(stamp(0) * 16 + 3);
    }
    return pid;
}
int child_says(int x) {
    int pid = fork(), status;
    if (pid == 0) _exit(stamp(0));
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
"#;

fn load(name: &str) -> Engine {
    let engine = engine();
    engine.load(&[bitcode(&format!("inside_{name}"), PROGRAM, &[])]).unwrap();
    engine
}

/// The object of a `name` that returns `value`.
fn returning(name: &str, value: i32) -> Vec<u8> {
    object(&format!("inside_{name}_{value}"), &format!("int {name}(int x) {{ return {value}; }}"))
}

/// Gives `name` a body that returns `value`.
fn redefine(engine: &Engine, name: &str, value: i32) -> Redefined {
    let new = returning(name, value);
    engine.redefine_from_object(&[name], &new).unwrap()
}

/// A thread in a function of the program.
struct Inside {
    tid: u32,
    thread: JoinHandle<(i32, Duration)>,
}

impl Inside {
    fn start(engine: &Engine, name: &str, argument: i32) -> Inside {
        let function = engine.function::<Int>(name).unwrap().pointer();
        let (say, said): (_, Receiver<u32>) = channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: asks for a number.
            say.send(unsafe { libc::gettid() }.cast_unsigned()).unwrap();
            let begin = Instant::now();
            // SAFETY: the program's functions take any number.
            (unsafe { function(argument) }, begin.elapsed())
        });
        Inside { tid: said.recv().unwrap(), thread }
    }

    /// Waits until the thread sleeps in one of these system calls.
    fn until_in(&self, numbers: &[i64]) {
        loop {
            let text = std::fs::read_to_string(format!("/proc/self/task/{}/syscall", self.tid)).unwrap();
            let number = text.split(' ').next().and_then(|number| number.parse().ok());
            if number.is_some_and(|number| numbers.contains(&number)) {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn returns(self) -> (i32, Duration) {
        self.thread.join().unwrap()
    }
}

fn variable<'e>(engine: &'e Engine, name: &str) -> &'e AtomicI32 {
    // SAFETY: an `int` of the program, which is never unloaded.
    unsafe { AtomicI32::from_ptr(engine.lookup(name).unwrap().get() as *mut i32) }
}

fn wait_for(variable: &AtomicI32) {
    while variable.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
}

fn go_on(engine: &Engine) {
    variable(engine, "go_on").store(1, Ordering::Release);
}

fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: writes two numbers.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    (ends[0], ends[1])
}

fn write_byte(descriptor: i32, byte: u8) {
    // SAFETY: reads one byte.
    assert_eq!(unsafe { libc::write(descriptor, (&raw const byte).cast(), 1) }, 1);
}

/// What the statistics say while `tid` is in version 1 of `function`.
fn waits_for(tid: u32, function: &str) -> String {
    format!("thread {tid} is in version 1 of {function}")
}

#[test]
fn nothing_returns_early() {
    alone("nothing_returns_early", || {
        const MILLISECONDS: i32 = 600;
        let engine = load("early");
        let (output, input) = pipe();
        let ways: [(&str, i32, &[i64]); 4] = [
            ("in_read", output, &[libc::SYS_read]),
            ("in_sleep", MILLISECONDS, &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]),
            ("in_poll", MILLISECONDS, &[libc::SYS_poll]),
            ("in_sem_timedwait", MILLISECONDS, &[libc::SYS_futex]),
        ];
        let objects = ways.map(|(name, ..)| returning(name, -7));
        let threads = ways.map(|(name, argument, numbers)| {
            let inside = Inside::start(&engine, name, argument);
            inside.until_in(numbers);
            (name, inside)
        });
        let redefine = |at: usize| engine.redefine_from_object(&[ways[at].0], &objects[at]).unwrap();
        let redefined: [_; 4] = std::array::from_fn(redefine);
        // All of them are looked at over and over while they sleep.
        let mut looks = 0;
        loop {
            let pending: Vec<_> = redefined.iter().flat_map(Redefined::pending).collect();
            let reclaimed = reclaim(&engine);
            let waiting = engine.statistics().waiting;
            if threads.iter().any(|(_, inside)| inside.thread.is_finished()) {
                break;
            }
            assert_eq!(reclaimed.held_units, 4);
            for ((name, inside), pending) in threads.iter().zip(&pending) {
                assert_eq!((pending.thread, pending.function.as_str(), pending.number), (Some(inside.tid), *name, 1));
                assert!(waiting.contains(&waits_for(inside.tid, name)), "{waiting:?}");
                assert_eq!(call(&engine, name, 0), -7, "a new call of {name}");
            }
            looks += 1;
        }
        assert!(looks > 0, "the machine was too slow to look at anything");
        write_byte(input, 5);
        for (name, inside) in threads {
            let (result, took) = inside.returns();
            assert_eq!(result, if name == "in_read" { 5 } else { 1 }, "{name}");
            assert!(name == "in_read" || took >= Duration::from_millis(MILLISECONDS as u64), "{name}: {took:?}");
        }
        assert!(redefined.iter().all(|redefined| redefined.wait(Duration::from_secs(60))));
        assert_eq!(reclaim(&engine).held_units, 0);
        assert_eq!(engine.statistics().waiting, [""; 0]);
    });
}

/// libc's functions leave out the signal that asks it.
#[test]
fn a_thread_that_blocks_all_signals() {
    alone("a_thread_that_blocks_all_signals", || {
        let engine = load("blocks");
        let inside = Inside::start(&engine, "spins", 1);
        wait_for(variable(&engine, "began"));
        assert_eq!(call(&engine, "other", 3), 3);
        redefine(&engine, "spins", 3);
        redefine(&engine, "other", 4);
        // On a machine with other work it may not have answered yet.
        let mut units = 0;
        loop {
            let reclaimed = engine.reclaim();
            units += reclaimed.units;
            if reclaimed.obstacles.is_empty() && reclaimed.held_units == 1 {
                break;
            }
            assert!(!reclaimed.obstacles.iter().any(|text| text.contains("blocks")), "{reclaimed:?}");
        }
        assert_eq!(units, 1);
        assert_eq!(engine.statistics().waiting, [waits_for(inside.tid, "spins")]);
        go_on(&engine);
        assert_eq!(inside.returns().0, 1);
        assert_eq!(reclaim(&engine).held_units, 0);
    });
}

/// What it holds cannot be known, so everything waits for it, and only as long as it runs.
#[test]
fn a_thread_that_blocks_all_signals_by_a_bare_system_call() {
    alone("a_thread_that_blocks_all_signals_by_a_bare_system_call", || {
        let engine = load("blocks_bare");
        let inside = Inside::start(&engine, "spins", 2);
        wait_for(variable(&engine, "began"));
        assert_eq!(call(&engine, "other", 3), 3);
        redefine(&engine, "spins", 2);
        redefine(&engine, "other", 4);
        let reclaimed = engine.reclaim();
        assert_eq!((reclaimed.units, reclaimed.obstacles.len()), (0, 1), "{reclaimed:?}");
        assert!(reclaimed.obstacles[0].contains(&inside.tid.to_string()), "{reclaimed:?}");
        assert!(reclaimed.obstacles[0].contains("blocks"), "{reclaimed:?}");
        assert_eq!(engine.statistics().waiting, reclaimed.obstacles, "and --stats says so");
        assert_eq!((call(&engine, "spins", 0), call(&engine, "other", 3)), (2, 4), "the program goes on");
        go_on(&engine);
        assert_eq!(inside.returns().0, 1);
        let reclaimed = reclaim(&engine);
        assert_eq!((reclaimed.units, reclaimed.held_units), (2, 0), "{reclaimed:?}");
    });
}

#[test]
fn a_thread_that_loops_for_ever() {
    alone("a_thread_that_loops_for_ever", || {
        let engine = load("loops");
        let inside = Inside::start(&engine, "spins", 0);
        wait_for(variable(&engine, "began"));
        for value in 1..=20 {
            redefine(&engine, "spins", value);
            assert_eq!(call(&engine, "spins", 0), value);
        }
        // On a machine with other work it may not have answered yet.
        let mut reclaimed = reclaim(&engine);
        let mut units = reclaimed.units;
        while reclaimed.held_units > 1 {
            reclaimed = reclaim(&engine);
            units += reclaimed.units;
        }
        assert_eq!((units, reclaimed.held_units), (19, 1), "{reclaimed:?}");
        assert_eq!(engine.statistics().waiting, [waits_for(inside.tid, "spins")]);
        // It still runs when the process ends.
    });
}

#[test]
fn a_thread_in_a_handler_on_an_alternate_stack() {
    alone("a_thread_in_a_handler_on_an_alternate_stack", || {
        let engine = load("handler");
        let (output, input) = pipe();
        let inside = Inside::start(&engine, "interrupted", output);
        inside.until_in(&[libc::SYS_read]);
        let new = object("inside_handler", "void handler(int number) {}");
        engine.redefine_from_object(&["handler"], &new).unwrap();
        redefine(&engine, "interrupted", -7);
        assert_eq!(reclaim(&engine).held_units, 2, "the handler, and what it interrupted");
        let waiting = engine.statistics().waiting;
        for function in ["handler", "interrupted"] {
            assert!(waiting.contains(&waits_for(inside.tid, function)), "{waiting:?}");
        }
        write_byte(input, 9);
        assert_eq!(inside.returns().0, 9);
        // The kernel knows the handler by its stub: the next signal meets the new one, which reads nothing.
        assert_eq!((call(&engine, "signals_again", 0), call(&engine, "interrupted", 0)), (0, -7));
        assert_eq!(reclaim(&engine).held_units, 0);
    });
}

#[test]
fn a_child_keeps_what_its_parent_frees() {
    alone("a_child_keeps_what_its_parent_frees", || {
        let engine = load("fork");
        redefine(&engine, "stamp", 2);
        let (output, input) = pipe();
        let pid = call(&engine, "forks", output);
        assert!(pid > 0);
        for value in 3..40 {
            redefine(&engine, "stamp", value);
            redefine(&engine, "forks", value);
            reclaim(&engine);
        }
        write_byte(input, 1);
        let mut status = 0;
        // SAFETY: waits for our own child.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status), "status {status:#x}");
        assert_eq!(libc::WEXITSTATUS(status), 2 * 16 + 3, "the versions of the moment of the fork");
    });
}

#[test]
fn forks_while_functions_are_replaced() {
    alone("forks_while_functions_are_replaced", || {
        let engine = load("forks");
        let versions: Vec<_> =
            (0..50).map(|value| object("inside_stamps", &format!("int stamp(int x) {{ return {value}; }}"))).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for version in versions.iter().cycle() {
                    engine.redefine_from_object(&["stamp"], version).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..100 {
                let said = call(&engine, "child_says", 0);
                assert!((0..50).contains(&said), "{said}");
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(engine.statistics().reclaimed > 0 || engine.statistics().retired_bytes > 0);
    });
}
