//! The optimizer's start, as the program and the optimizer see it. A shell script plays the optimizer.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kiln_remote::{Interest, Log, SpawnError, Spawned, Spawner};

static SIGCHLD_COUNT: AtomicU32 = AtomicU32::new(0);
/// The tests look at state of the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

extern "C" fn on_sigchld(_: libc::c_int) {
    SIGCHLD_COUNT.fetch_add(1, Ordering::Relaxed);
}

fn script(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("optimizer");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Everything the script writes to descriptor 3 until it ends.
fn listen(spawned: &Spawned) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match spawned.transport.receive(&mut buffer, &mut Vec::new()).unwrap() {
            Some(0) => return String::from_utf8(text).unwrap(),
            Some(count) => text.extend_from_slice(&buffer[..count]),
            None => {
                spawned.transport.waiter().wait(Interest::Receive, Some(Duration::from_secs(60))).unwrap();
            }
        }
    }
}

fn run(body: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let spawner = Spawner::new(&script(directory.path(), body), &Log::Silent);
    listen(&spawner.spawn().unwrap())
}

#[test]
fn the_program_does_not_see_it() {
    let _guard = ONE_AT_A_TIME.lock();
    // SAFETY: the handler only counts.
    unsafe { libc::signal(libc::SIGCHLD, on_sigchld as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    let directory = tempfile::tempdir().unwrap();
    // Lives until the connection ends.
    let spawner = Spawner::new(&script(directory.path(), "echo up >&3; read line <&3; exit 7"), &Log::Silent);
    let spawned = spawner.spawn().unwrap();
    let no_children = || {
        // SAFETY: asks for any child.
        let result = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
        result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD)
    };
    assert!(no_children(), "while it lives");
    // SAFETY: sends nothing, asks whether the process exists.
    assert_eq!(unsafe { libc::kill(spawned.pid, 0) }, 0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", spawned.pid)).unwrap();
    assert!(!status.contains(&format!("PPid:\t{}\n", std::process::id())), "{status}");
    // SAFETY: ends the process that the test started.
    unsafe { libc::kill(spawned.pid, libc::SIGKILL) };
    listen(&spawned);
    assert!(no_children(), "after its end");
    assert_eq!(SIGCHLD_COUNT.load(Ordering::Relaxed), 0);
}

#[test]
fn it_sees_its_socket_and_nothing_else() {
    let _guard = ONE_AT_A_TIME.lock();
    let report = run("echo $0 $@ >&3; ls /proc/self/fd >&3; exec readlink /proc/self/fd/0 /proc/self/fd/2 >&3");
    let lines: Vec<_> = report.lines().collect();
    assert!(lines[0].ends_with("/optimizer --connect-fd 3"), "{report}");
    // 4 is what ls itself opened.
    let fds: Vec<_> = lines[1..].iter().take_while(|line| !line.starts_with('/')).copied().collect();
    // 10 is where shells keep the script.
    assert!(fds == ["0", "1", "2", "3", "4"] || fds == ["0", "1", "10", "2", "3", "4"], "{report}");
    assert_eq!(&lines[lines.len() - 2..], ["/dev/null"; 2]);
}

#[test]
fn it_starts_with_a_clean_slate() {
    let _guard = ONE_AT_A_TIME.lock();
    // SAFETY: changes state of this process that no other test depends on, and restores it.
    unsafe {
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        let mut mask = std::mem::zeroed();
        libc::sigemptyset(&mut mask);
        libc::sigaddset(&mut mask, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &mask, std::ptr::null_mut());
        let mut limit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit);
        let soft = std::mem::replace(&mut limit.rlim_cur, 1 << 30);
        libc::setrlimit(libc::RLIMIT_FSIZE, &limit);

        let report = run("ulimit -S -f >&3; ulimit -H -f >&3; exec grep -E 'Sig(Blk|Ign)' /proc/self/status >&3");

        let mut now = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &mut now);
        assert_eq!(libc::sigismember(&now, libc::SIGUSR2), 1, "our own mask is as it was");
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &mask, std::ptr::null_mut());
        limit.rlim_cur = soft;
        libc::setrlimit(libc::RLIMIT_FSIZE, &limit);

        let lines: Vec<_> = report.lines().collect();
        assert_eq!(lines[0], lines[1], "the soft limit is the hard one");
        assert_eq!(lines[2..], ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]);
    }
}

#[test]
fn it_works_where_the_standard_streams_are_closed() {
    let _guard = ONE_AT_A_TIME.lock();
    let report = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // A table of descriptors of our own, so that no other thread loses its streams.
            // SAFETY: affects this thread only, which ends right after.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_FILES), 0);
            }
            let directory = tempfile::tempdir().unwrap();
            let spawner = Spawner::new(&script(directory.path(), "echo fine >&3"), &Log::Silent);
            // SAFETY: as above.
            unsafe {
                for number in 0..10 {
                    libc::close(number);
                }
            }
            spawner.spawn().map(|spawned| listen(&spawned)).map_err(|error| error.to_string())
        });
        thread.join().unwrap()
    });
    assert_eq!(report, Ok("fine\n".to_owned()));
}

#[test]
fn the_log_goes_where_it_is_told() {
    let _guard = ONE_AT_A_TIME.lock();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let path = script(directory.path(), "echo complaint >&2");
    for _ in 0..2 {
        listen(&Spawner::new(&path, &Log::File(log.clone())).spawn().unwrap());
    }
    assert_eq!(std::fs::read_to_string(log).unwrap(), "complaint\ncomplaint\n");
}

#[test]
fn a_missing_binary_is_an_error() {
    let _guard = ONE_AT_A_TIME.lock();
    for path in ["/nonexistent/kiln-optimizer", "", "/etc/passwd", "a\0b"] {
        match Spawner::new(Path::new(path), &Log::Silent).spawn() {
            Err(SpawnError::Execute { source, .. }) => {
                let expected = if path == "/etc/passwd" { libc::EACCES } else { libc::ENOENT };
                assert_eq!(source.raw_os_error(), Some(expected), "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    // SAFETY: asks for any child.
    assert_eq!(unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) }, -1);
}
