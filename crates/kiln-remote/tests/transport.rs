//! The socket: descriptors passed, identity checked, partial sends, ends of connections.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_remote::{
    Client, Connection, ErrorKind, Event, Interest, Machine, Normalize, Normalized, Payload, Readiness, Request,
    Server, Transport, Welcome,
};

/// Some tests close descriptors by number, which another thread could have got meanwhile.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deadline() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(60))
}

fn pair() -> (Connection<Client>, Connection<Server>) {
    let (ours, theirs) = Transport::pair().unwrap();
    let welcome = Welcome { llvm_version: "22".into(), host_cpu: "x".into() };
    (Connection::new(ours, Client::new()), Connection::new(Transport::new(theirs).unwrap(), Server::new(welcome)))
}

fn request(server: &mut Connection<Server>) -> Request {
    loop {
        if let Some(request) = server.machine().poll_request() {
            return request;
        }
        assert!(server.pump(deadline()).unwrap());
    }
}

fn event(client: &mut Connection<Client>) -> Event {
    loop {
        match client.machine().poll_event() {
            Some(Event::Welcome(_)) => {}
            Some(event) => return event,
            None => assert!(client.pump(deadline()).unwrap()),
        }
    }
}

#[test]
fn memory_files_pass() {
    let _guard = alone();
    let (mut client, mut server) = pair();
    let large: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let input = Payload::new(large.clone()).unwrap();
    assert!(matches!(input, Payload::Memory { .. }));
    let id = client.machine().normalize(Normalize { input, name: "large".into() }).unwrap();
    assert!(client.flush().unwrap());
    let Request::Normalize { request, normalize } = request(&mut server) else { panic!() };
    assert_eq!(request, id);
    let mapping = normalize.input.map().unwrap();
    assert_eq!(&*mapping, &large[..]);
    let bitcode = Payload::new(mapping.to_vec()).unwrap();
    let assembly = Some(Payload::memory(b"asm").unwrap());
    server.machine().normalized(Normalized { request, bitcode, assembly }).unwrap();
    assert!(server.flush().unwrap());
    let Event::Normalized(done) = event(&mut client) else { panic!() };
    assert_eq!(done.bitcode.into_bytes().unwrap(), large);
    assert_eq!(done.assembly.unwrap().into_bytes().unwrap(), b"asm");
}

#[test]
fn a_frame_larger_than_the_socket_buffer_goes_in_parts() {
    let _guard = alone();
    let (mut client, mut server) = pair();
    let large = vec![7; 8 << 20];
    let input = Payload::Inline(large.clone());
    client.machine().normalize(Normalize { input, name: "large".into() }).unwrap();
    assert!(!client.flush().unwrap(), "8 MiB do not fit into a socket");
    let got = std::thread::scope(|scope| {
        let got = scope.spawn(|| request(&mut server));
        assert!(client.flush_all(deadline()).unwrap());
        got.join().unwrap()
    });
    let Request::Normalize { normalize, .. } = got else { panic!() };
    assert!(normalize.input.into_bytes().unwrap() == large);
}

#[test]
fn the_end_of_the_peer_is_closed() {
    let _guard = alone();
    let (mut client, server) = pair();
    drop(server);
    assert!(client.receive().unwrap_err().is_closed());
    // Without MSG_NOSIGNAL this would end the test by SIGPIPE (Rust's runtime ignores it; the flag is what counts).
    client.machine().normalize(Normalize { input: Payload::Inline(vec![]), name: "x".into() }).unwrap();
    assert!(client.flush().unwrap_err().is_closed());
}

#[test]
fn waiting_ends() {
    let _guard = alone();
    let (client, mut server) = pair();
    let waiter = client.waiter();
    assert_eq!(waiter.wait(Interest::Receive, Some(Duration::from_millis(1))).unwrap(), Readiness::TimedOut);
    assert_eq!(waiter.wait(Interest::Both, None).unwrap(), Readiness::Ready);
    assert!(!server.pump(Some(Instant::now())).unwrap());
    drop(server);
    assert_eq!(waiter.wait(Interest::Receive, None).unwrap(), Readiness::Ready);
}

/// A descriptor number that no other test of this process gets.
fn close_number(number: RawFd) {
    // SAFETY: this is what a program does to us; the transport is written to bear it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

#[test]
fn a_descriptor_that_the_program_took_is_noticed() {
    let _guard = alone();
    let (client, _server) = pair();
    let number = client.waiter().descriptor();
    assert!(number > 100, "out of the way: {number}");
    assert!(client.transport().is_ours());
    close_number(number);
    assert!(!client.transport().is_ours());
    let error = client.waiter().wait(Interest::Receive, None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotOurs { descriptor } if *descriptor == number));
    assert!(error.is_closed());
}

#[test]
fn a_replaced_descriptor_is_not_closed_by_us() {
    let _guard = alone();
    let (mut client, _server) = pair();
    let number = client.waiter().descriptor();
    close_number(number);
    let file = std::fs::File::open("/dev/null").unwrap();
    // SAFETY: the number is free: it was just closed, and other threads' descriptors are low.
    let replaced = unsafe { libc::dup2(file.as_raw_fd(), number) };
    assert_eq!(replaced, number);
    assert!(!client.transport().is_ours());
    assert!(client.flush().is_err());
    drop(client);
    // SAFETY: only asks whether the descriptor is open.
    assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0, "the program's file is still open");
    close_number(number);
}

#[test]
fn payloads_are_as_large_as_they_say() {
    let _guard = alone();
    let Payload::Memory { fd, size } = Payload::memory(b"12345678").unwrap() else { panic!() };
    assert_eq!(size, 8);
    let again = || fd.try_clone().unwrap();
    for announced in [9, u64::MAX] {
        let error = Payload::Memory { fd: again(), size: announced }.into_bytes().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::PayloadSize { actual: 8, .. }));
        assert!(Payload::Memory { fd: again(), size: announced }.map().is_err());
    }
    assert_eq!(Payload::Memory { fd: again(), size: 3 }.into_bytes().unwrap(), b"123");
    assert_eq!(Payload::Memory { fd: again(), size: 0 }.map().unwrap().len(), 0);
}

#[test]
fn memory_files_cannot_change_under_a_map() {
    let _guard = alone();
    let Payload::Memory { fd, .. } = Payload::memory(&[1; 100]).unwrap() else { panic!() };
    let file = std::fs::File::from(fd);
    assert!(file.set_len(0).is_err());
    assert!(std::os::unix::fs::FileExt::write_at(&file, b"x", 0).is_err());
}

#[test]
fn machines_say_nothing_after_the_end() {
    let _guard = alone();
    let (mut client, _) = pair();
    while client.machine().poll_transmit().is_some() {}
    assert!(client.receive().unwrap_err().is_closed());
}
