//! The socket.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Resource, getrlimit};

use crate::error::{Error, ErrorKind};
use crate::frame::FRAME_DESCRIPTORS_MAX;

/// Highest number that our descriptor takes. The kernel's table of descriptors reaches up to the highest one in use and
/// is copied by every fork (8 bytes each), so a soft limit of a million must not put us at its end.
const DESCRIPTOR_MAX: u64 = 4096;
/// Numbers to try below the limit.
const DESCRIPTOR_MARGIN: u64 = 64;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to receive, or the end of the stream.
    Receive,
    /// Room to send.
    Send,
    /// Either.
    Both,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// There is something to do (or the connection has ended, which the next call will tell).
    Ready,
    /// The time passed, or a signal came.
    TimedOut,
}

/// A connected stream socket whose descriptor number is not necessarily ours for ever.
///
/// All calls return at once; [`Waiter::wait`] blocks. Dropping closes the descriptor if it is still ours.
#[derive(Debug)]
pub struct Transport {
    socket: Waiter,
}

/// A copyable handle on a [`Transport`]'s socket, to wait on.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    fd: RawFd,
    device: u64,
    inode: u64,
}

impl Transport {
    /// Takes over a connected stream socket.
    pub fn new(socket: OwnedFd) -> Result<Transport, Error> {
        let stat = rustix::fs::fstat(&socket).map_err(|e| Error::system("fstat", e))?;
        let fd = socket.into_raw_fd();
        Ok(Transport { socket: Waiter { fd, device: stat.st_dev, inode: stat.st_ino } })
    }

    /// A transport at a high descriptor number, and the peer's end of its connection. Both are close-on-exec.
    pub fn pair() -> Result<(Transport, OwnedFd), Error> {
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|e| Error::system("socketpair", e))?;
        Ok((Transport::new(move_high(ours))?, theirs))
    }

    /// Whether the descriptor still is the socket it was.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.socket.borrow().is_ok()
    }

    /// Something to wait on.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.socket
    }

    /// Sends a part of `bytes`, with `fds` if any of it is sent. `None`: there is no room now.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Option<usize>, Error> {
        let socket = self.socket.borrow()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Error::new(ErrorKind::TooManyDescriptors { max: FRAME_DESCRIPTORS_MAX }));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            match rustix::net::sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, flags) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(Error::new(ErrorKind::Closed)),
                Err(e) => return Err(Error::system("sendmsg", e)),
            }
        }
    }

    /// Receives bytes and the descriptors that came with them. `None`: nothing is there; `Some(0)`: end of the stream.
    pub fn receive(&self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<Option<usize>, Error> {
        let socket = self.socket.borrow()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FRAME_DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        loop {
            match rustix::net::recvmsg(socket, &mut [std::io::IoSliceMut::new(bytes)], &mut control, flags) {
                Ok(received) => {
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(rights) = message {
                            fds.extend(rights);
                        }
                    }
                    if received.flags.contains(ReturnFlags::CTRUNC) {
                        return Err(Error::new(ErrorKind::TooManyDescriptors { max: FRAME_DESCRIPTORS_MAX }));
                    }
                    return Ok(Some(received.bytes));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::CONNRESET) => return Ok(Some(0)),
                Err(e) => return Err(Error::system("recvmsg", e)),
            }
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: the descriptor was handed over in `Transport::new`, only `self` owns it, and it still refers to
            // the same socket.
            drop(unsafe { OwnedFd::from_raw_fd(self.socket.fd) });
        }
    }
}

impl Waiter {
    fn borrow(&self) -> Result<BorrowedFd<'_>, Error> {
        // SAFETY: the descriptor is not -1. That it stays open is not for us to promise (the program may close it);
        // I/O safety is kept as far as it can be by comparing its identity right before each use.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        match rustix::fs::fstat(fd) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (self.device, self.inode) => Ok(fd),
            _ => Err(Error::new(ErrorKind::NotOurs { descriptor: self.fd })),
        }
    }

    /// The number of the descriptor.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.fd
    }

    /// Blocks until the socket is ready, `timeout` passes or a signal arrives.
    pub fn wait(&self, interest: Interest, timeout: Option<Duration>) -> Result<Readiness, Error> {
        let fd = self.borrow()?;
        let events = match interest {
            Interest::Receive => PollFlags::IN,
            Interest::Send => PollFlags::OUT,
            Interest::Both => PollFlags::IN | PollFlags::OUT,
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(Readiness::TimedOut),
            Ok(_) => Ok(Readiness::Ready),
            Err(e) => Err(Error::system("poll", e)),
        }
    }
}

/// Moves a descriptor out of the way of the program, whose `open` shall return what it would natively. Where the limit
/// leaves no room it stays where it is.
fn move_high(fd: OwnedFd) -> OwnedFd {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTOR_MAX).min(DESCRIPTOR_MAX);
    let mut from = limit.saturating_sub(DESCRIPTOR_MARGIN);
    while from > fd.as_raw_fd() as u64 {
        if let Ok(high) = rustix::io::fcntl_dupfd_cloexec(&fd, from as RawFd) {
            return high;
        }
        from /= 2;
    }
    fd
}
