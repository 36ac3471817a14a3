//! The functions about signals that the program calls: they hide the reserved signal and the crash reporter.
//!
//! Scans ask running threads by a real-time signal, and leases are given up on it (`lease`). It works only on threads that
//! do not block it, while nobody else handles it, and if nobody takes it out of the queue. So here it is to the program
//! what 32 and 33, which glibc keeps to itself, are to every program:
//!
//! - It lies above `SIGRTMAX`: it is reserved when the first of these names is bound, before the program can ask.
//! - Changing or asking what it does is EINVAL. A loop over all numbers meets that at 32 and 33 as well.
//! - Sets come to the kernel without it: it is never blocked and never waited for.
//!
//! What a mask shows is not so clear. Natively a program that blocks a full set finds all of it in the mask, the reserved
//! signal too; no kernel mask holds that here. A bit of our own per thread would have to follow the mask into new threads,
//! forks, jump buffers and handlers. Instead the signal **shows as blocked exactly when the number below it is**: programs
//! block all real-time signals, none, or some that they count from `SIGRTMIN`, and each of these sees what it would natively.
//!
//! Some of these functions are cancellation points, and unwinding passes through them: their frames hold nothing to drop.

use std::ffi::{c_int, c_ulong, c_void};

use super::crash;

/// Words of libc's `sigset_t`, of which the kernel knows the first.
const SET_WORDS: usize = 16;

/// libc's `sigset_t`.
#[repr(C)]
struct Set([c_ulong; SET_WORDS]);

const EMPTY: Set = Set([0; SET_WORDS]);

type Time = libc::timespec;

mod own {
    use super::{Set, Time, c_int, c_ulong, c_void};

    // Declared here since libc's declarations say that nothing unwinds through them, or are missing.
    unsafe extern "C-unwind" {
        pub(super) fn sigsuspend(set: *const Set) -> c_int;
        pub(super) fn sigwait(set: *const Set, number: *mut c_int) -> c_int;
        pub(super) fn sigwaitinfo(set: *const Set, info: *mut libc::siginfo_t) -> c_int;
        pub(super) fn sigtimedwait(set: *const Set, info: *mut libc::siginfo_t, time: *const Time) -> c_int;
        pub(super) fn ppoll(polled: *mut c_void, count: c_ulong, time: *const Time, set: *const Set) -> c_int;
        pub(super) fn __ppoll_chk(
            polled: *mut c_void,
            count: c_ulong,
            time: *const Time,
            set: *const Set,
            bytes: usize,
        ) -> c_int;
        pub(super) fn pselect(
            count: c_int,
            read: *mut c_void,
            write: *mut c_void,
            except: *mut c_void,
            time: *const Time,
            set: *const Set,
        ) -> c_int;
        pub(super) fn epoll_pwait(epoll: c_int, events: *mut c_void, count: c_int, ms: c_int, set: *const Set)
        -> c_int;
    }

    unsafe extern "C" {
        pub(super) fn sigprocmask(how: c_int, new: *const Set, old: *mut Set) -> c_int;
        pub(super) fn pthread_sigmask(how: c_int, new: *const Set, old: *mut Set) -> c_int;
        pub(super) fn pthread_attr_setsigmask_np(attributes: *mut c_void, set: *const Set) -> c_int;
        pub(super) fn signalfd(descriptor: c_int, set: *const Set, flags: c_int) -> c_int;
        pub(super) fn sysv_signal(number: c_int, handler: libc::sighandler_t) -> libc::sighandler_t;
        pub(super) fn sigset(number: c_int, handler: libc::sighandler_t) -> libc::sighandler_t;
        pub(super) fn sighold(number: c_int) -> c_int;
        pub(super) fn sigrelse(number: c_int) -> c_int;
        pub(super) fn sigignore(number: c_int) -> c_int;
        pub(super) fn siginterrupt(number: c_int, interrupts: c_int) -> c_int;
    }

    const _: () = assert!(size_of::<Set>() == size_of::<libc::sigset_t>());
}

/// What `name` means to the program. The signal is reserved before the program calls anything that could tell.
pub(crate) fn lookup(name: &[u8]) -> Option<*const ()> {
    let function = match name {
        b"sigaction" | b"__sigaction" => sigaction as *const (),
        b"signal" | b"bsd_signal" | b"ssignal" => signal as *const (),
        b"sysv_signal" | b"__sysv_signal" => sysv_signal as *const (),
        b"sigset" => sigset as *const (),
        b"sighold" => sighold as *const (),
        b"sigrelse" => sigrelse as *const (),
        b"sigignore" => sigignore as *const (),
        b"siginterrupt" => siginterrupt as *const (),
        b"sigprocmask" => sigprocmask as *const (),
        b"pthread_sigmask" => pthread_sigmask as *const (),
        b"pthread_attr_setsigmask_np" => pthread_attr_setsigmask_np as *const (),
        b"sigsuspend" | b"__sigsuspend" => sigsuspend as *const (),
        b"sigwait" => sigwait as *const (),
        b"sigwaitinfo" => sigwaitinfo as *const (),
        b"sigtimedwait" => sigtimedwait as *const (),
        b"signalfd" => signalfd as *const (),
        b"ppoll" => ppoll as *const (),
        b"__ppoll_chk" => ppoll_chk as *const (),
        b"pselect" => pselect as *const (),
        b"epoll_pwait" => epoll_pwait as *const (),
        // libc's own will do.
        b"__libc_current_sigrtmax" | b"__libc_allocate_rtsig" => std::ptr::null(),
        _ => return None,
    };
    // Without one to be had, there is none to hide.
    let _ = kiln_dispatch::scan::prepare();
    (!function.is_null()).then_some(function)
}

fn is_reserved(number: c_int) -> bool {
    kiln_dispatch::scan::reserved_signal() == Some(number)
}

/// The reserved signal in the first word of a set.
fn reserved_bit() -> Option<c_ulong> {
    kiln_dispatch::scan::reserved_signal().map(|number| 1 << (number - 1))
}

/// `set` without the reserved signal, made in `room` where it makes a difference.
///
/// # Safety
/// `set` is null, or its first word can be read.
unsafe fn leave_out(set: *const Set, room: &mut Set) -> *const Set {
    let Some(bit) = reserved_bit().filter(|_| !set.is_null()) else { return set };
    // SAFETY: the caller's duty. Only the word that the kernel reads as well.
    let word = unsafe { *set.cast::<c_ulong>() };
    if word & bit == 0 {
        return set;
    }
    room.0[0] = word & !bit;
    room
}

/// Makes the mask `old`, as the kernel gave it, what the program is shown.
///
/// # Safety
/// `old` is null, or its first word can be written.
unsafe fn show(old: *mut Set) {
    let Some(bit) = reserved_bit().filter(|_| !old.is_null()) else { return };
    // SAFETY: the caller's duty.
    let word = unsafe { &mut *old.cast::<c_ulong>() };
    *word = if *word & bit >> 1 == 0 { *word & !bit } else { *word | bit };
}

/// What a call with a signal number that libc keeps to itself does.
fn refuse() {
    // SAFETY: the calling thread's own variable.
    unsafe { *libc::__errno_location() = libc::EINVAL };
}

unsafe extern "C" fn sigaction(number: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    if is_reserved(number) {
        refuse();
        return -1;
    }
    let mut changed;
    let mut given = new;
    if !new.is_null() {
        // SAFETY: the program's own argument, valid by the program's duty.
        changed = unsafe { *new };
        let mut room = EMPTY;
        // SAFETY: a live set; what comes back is it or `room`.
        unsafe {
            let set = leave_out((&raw const changed.sa_mask).cast(), &mut room);
            changed.sa_mask = *set.cast();
        }
        given = &raw const changed;
    }
    // SAFETY: the program's own arguments, and a copy that lives across the call.
    let status = unsafe { libc::sigaction(number, given, old) };
    if status == 0 && !old.is_null() {
        // SAFETY: the call above filled `old`, which the program made valid for writes.
        unsafe {
            crash::hide(&mut *old);
            show((&raw mut (*old).sa_mask).cast());
        }
    }
    status
}

/// Calls `set` unless the signal is the reserved one; the previous handler as the program is to see it.
fn handler(number: c_int, set: impl FnOnce() -> libc::sighandler_t) -> libc::sighandler_t {
    if is_reserved(number) {
        refuse();
        return libc::SIG_ERR;
    }
    let previous = set();
    if crash::is_reporter(previous) { libc::SIG_DFL } else { previous }
}

/// Calls `change` unless the signal is the reserved one.
fn change(number: c_int, change: impl FnOnce() -> c_int) -> c_int {
    if is_reserved(number) {
        refuse();
        return -1;
    }
    change()
}

unsafe extern "C" fn signal(number: c_int, new: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: the program's own arguments, passed on.
    handler(number, || unsafe { libc::signal(number, new) })
}

unsafe extern "C" fn sysv_signal(number: c_int, new: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: the program's own arguments, passed on.
    handler(number, || unsafe { own::sysv_signal(number, new) })
}

unsafe extern "C" fn sigset(number: c_int, new: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: the program's own arguments, passed on.
    handler(number, || unsafe { own::sigset(number, new) })
}

unsafe extern "C" fn sighold(number: c_int) -> c_int {
    // SAFETY: takes a number.
    change(number, || unsafe { own::sighold(number) })
}

unsafe extern "C" fn sigrelse(number: c_int) -> c_int {
    // SAFETY: takes a number.
    change(number, || unsafe { own::sigrelse(number) })
}

unsafe extern "C" fn sigignore(number: c_int) -> c_int {
    // SAFETY: takes a number.
    change(number, || unsafe { own::sigignore(number) })
}

unsafe extern "C" fn siginterrupt(number: c_int, interrupts: c_int) -> c_int {
    // SAFETY: takes numbers.
    change(number, || unsafe { own::siginterrupt(number, interrupts) })
}

/// Changes the thread's mask by `function`, libc's `sigprocmask` or `pthread_sigmask`.
///
/// # Safety
///
/// `new` and `old` are what that function may be given.
unsafe fn change_mask(
    function: unsafe extern "C" fn(c_int, *const Set, *mut Set) -> c_int,
    how: c_int,
    new: *const Set,
    old: *mut Set,
) -> c_int {
    let mut room = EMPTY;
    // SAFETY: by this function's own contract; `old` is filled if the call succeeds.
    unsafe {
        let status = function(how, leave_out(new, &mut room), old);
        if status == 0 {
            show(old);
        }
        status
    }
}

unsafe extern "C" fn sigprocmask(how: c_int, new: *const Set, old: *mut Set) -> c_int {
    // SAFETY: the program's own arguments, passed on under the program's own duty to make them valid.
    unsafe { change_mask(own::sigprocmask, how, new, old) }
}

unsafe extern "C" fn pthread_sigmask(how: c_int, new: *const Set, old: *mut Set) -> c_int {
    // SAFETY: as for `sigprocmask`.
    unsafe { change_mask(own::pthread_sigmask, how, new, old) }
}

unsafe extern "C" fn pthread_attr_setsigmask_np(attributes: *mut c_void, set: *const Set) -> c_int {
    let mut room = EMPTY;
    // SAFETY: the program's own arguments, passed on under the program's own duty to make them valid.
    unsafe { own::pthread_attr_setsigmask_np(attributes, leave_out(set, &mut room)) }
}

unsafe extern "C" fn signalfd(descriptor: c_int, set: *const Set, flags: c_int) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::signalfd(descriptor, leave_out(set, &mut room), flags) }
}

// The masks of the functions below hold while the thread sleeps, and also in the handler that ends the sleep.

unsafe extern "C-unwind" fn sigsuspend(set: *const Set) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::sigsuspend(leave_out(set, &mut room)) }
}

unsafe extern "C-unwind" fn sigwait(set: *const Set, number: *mut c_int) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::sigwait(leave_out(set, &mut room), number) }
}

unsafe extern "C-unwind" fn sigwaitinfo(set: *const Set, info: *mut libc::siginfo_t) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::sigwaitinfo(leave_out(set, &mut room), info) }
}

unsafe extern "C-unwind" fn sigtimedwait(set: *const Set, info: *mut libc::siginfo_t, time: *const Time) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::sigtimedwait(leave_out(set, &mut room), info, time) }
}

unsafe extern "C-unwind" fn ppoll(polled: *mut c_void, count: c_ulong, time: *const Time, set: *const Set) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::ppoll(polled, count, time, leave_out(set, &mut room)) }
}

/// `ppoll` of a program that was compiled with `_FORTIFY_SOURCE`.
unsafe extern "C-unwind" fn ppoll_chk(
    polled: *mut c_void,
    count: c_ulong,
    time: *const Time,
    set: *const Set,
    bytes: usize,
) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::__ppoll_chk(polled, count, time, leave_out(set, &mut room), bytes) }
}

unsafe extern "C-unwind" fn pselect(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    time: *const Time,
    set: *const Set,
) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::pselect(count, read, write, except, time, leave_out(set, &mut room)) }
}

unsafe extern "C-unwind" fn epoll_pwait(
    epoll: c_int,
    events: *mut c_void,
    count: c_int,
    milliseconds: c_int,
    set: *const Set,
) -> c_int {
    let mut room = EMPTY;
    // SAFETY: as above.
    unsafe { own::epoll_pwait(epoll, events, count, milliseconds, leave_out(set, &mut room)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Set = Set([c_ulong::MAX; SET_WORDS]);

    /// The calling thread's mask as the kernel has it.
    fn kernel_mask() -> c_ulong {
        let mut mask = 0;
        // SAFETY: the kernel writes one live word.
        let status = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0usize, &raw mut mask, size_of_val(&mask))
        };
        assert_eq!(status, 0);
        mask
    }

    fn bit(number: c_int) -> c_ulong {
        1 << (number - 1)
    }

    fn reserved() -> c_int {
        assert!(lookup(b"__libc_current_sigrtmax").is_none());
        let number = kiln_dispatch::scan::reserved_signal().unwrap();
        assert!(libc::SIGRTMAX() < number);
        number
    }

    /// On a thread of its own, whose mask is nobody else's.
    fn alone(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_full_set_is_blocked_without_the_reserved_signal_and_shows_with_it() {
        let number = reserved();
        type Change = unsafe extern "C" fn(c_int, *const Set, *mut Set) -> c_int;
        for change in [sigprocmask as Change, pthread_sigmask as Change] {
            for how in [libc::SIG_BLOCK, libc::SIG_SETMASK] {
                alone(move || {
                    let mut old = FULL;
                    // SAFETY: live sets.
                    assert_eq!(unsafe { change(how, &FULL, &mut old) }, 0);
                    assert_eq!(old.0[0] & (bit(number) | bit(number - 1)), 0);
                    assert_eq!(kernel_mask() & (bit(number) | bit(number - 1)), bit(number - 1));
                    // SAFETY: live sets, and a null pointer for none.
                    assert_eq!(unsafe { change(how, std::ptr::null(), &mut old) }, 0);
                    let never = bit(libc::SIGKILL) | bit(libc::SIGSTOP) | bit(32) | bit(33);
                    assert_eq!(old.0[0], !never);
                    // Taken for the old mask and the new one at once.
                    let same = &raw mut old;
                    // SAFETY: a live set.
                    assert_eq!(unsafe { change(libc::SIG_UNBLOCK, same, same) }, 0);
                    assert_eq!((kernel_mask(), old.0[0]), (0, !never));
                });
            }
        }
    }

    #[test]
    fn what_the_reserved_signal_does_stays() {
        let number = reserved();
        let invalid = || std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL);
        // SAFETY: all-zero is the default action; `action` and `old` live across the calls.
        unsafe {
            let (action, mut old): (libc::sigaction, libc::sigaction) = (std::mem::zeroed(), std::mem::zeroed());
            assert!(sigaction(number, &action, &mut old) == -1 && invalid());
            assert!(sigaction(number, std::ptr::null(), &mut old) == -1 && invalid());
            for set in [signal, sysv_signal, sigset] {
                assert!(set(number, libc::SIG_DFL) == libc::SIG_ERR && invalid());
            }
            for change in [sighold, sigrelse, sigignore] {
                assert!(change(number) == -1 && invalid());
            }
            assert!(siginterrupt(number, 1) == -1 && invalid());
            assert_eq!(libc::sigaction(number, std::ptr::null(), &mut old), 0);
            assert!(old.sa_sigaction != libc::SIG_DFL && old.sa_sigaction != libc::SIG_IGN);
        }
    }

    #[test]
    fn handlers_do_not_block_it() {
        let number = reserved();
        // SAFETY: the handler is none; the structures live across the calls.
        unsafe {
            let (mut action, mut old): (libc::sigaction, libc::sigaction) = (std::mem::zeroed(), std::mem::zeroed());
            action.sa_sigaction = libc::SIG_IGN;
            libc::sigfillset(&mut action.sa_mask);
            assert_eq!(sigaction(libc::SIGURG, &action, std::ptr::null_mut()), 0);
            assert_eq!(libc::sigaction(libc::SIGURG, std::ptr::null(), &mut old), 0);
            assert_eq!(libc::sigismember(&old.sa_mask, number), 0);
            assert_eq!(libc::sigismember(&old.sa_mask, number - 1), 1);
            assert_eq!(sigaction(libc::SIGURG, std::ptr::null(), &mut old), 0);
            assert_eq!(libc::sigismember(&old.sa_mask, number), 1);
        }
    }

    #[test]
    fn nobody_waits_for_it() {
        let number = reserved();
        alone(move || {
            let word = bit(number);
            // Pending, since the thread blocks it by a bare system call.
            // SAFETY: live structures; the signal is this thread's.
            unsafe {
                libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const word, 0usize, size_of_val(&word));
                libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), number);
                let only = Set(std::array::from_fn(|at| if at == 0 { word } else { 0 }));
                let soon = Time { tv_sec: 0, tv_nsec: 1 };
                assert_eq!(sigtimedwait(&only, std::ptr::null_mut(), &soon), -1);
                let descriptor = signalfd(-1, &only, libc::SFD_NONBLOCK);
                let mut read = [0u8; 128];
                assert_eq!(libc::read(descriptor, read.as_mut_ptr().cast(), read.len()), -1);
                libc::close(descriptor);
                // libc's own function would have got it.
                assert_eq!(own::sigtimedwait(&only, std::ptr::null_mut(), &soon), number);
            }
        });
    }
}
