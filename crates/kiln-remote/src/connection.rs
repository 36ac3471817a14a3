use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::Machine;
use crate::error::{Error, ErrorKind};
use crate::frame::Transmit;
use crate::transport::{Interest, Readiness, Transport, Waiter};

/// Bytes that one receive can take: a compiled function and its neighbours fit in.
const RECEIVE_BYTES: usize = 128 << 10;

/// A state machine joined with a socket.
#[derive(Debug)]
pub struct Connection<M> {
    transport: Transport,
    machine: M,
    sending: Option<(Transmit, usize)>,
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl<M: Machine> Connection<M> {
    /// Joins `machine` with `transport`. Nothing is sent yet.
    #[must_use]
    pub fn new(transport: Transport, machine: M) -> Self {
        Self { transport, machine, sending: None, buffer: vec![0; RECEIVE_BYTES], fds: Vec::new() }
    }

    /// The state machine, to make requests and take events.
    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The socket.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Something to wait on without holding the connection.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.transport.waiter()
    }

    /// Sends what can be sent without blocking; `true` if nothing is left.
    pub fn flush(&mut self) -> Result<bool, Error> {
        loop {
            let (transmit, sent) = match &mut self.sending {
                Some(sending) => sending,
                None => match self.machine.poll_transmit() {
                    Some(transmit) => self.sending.insert((transmit, 0)),
                    None => return Ok(true),
                },
            };
            let fds: Vec<_> = transmit.fds.iter().map(AsFd::as_fd).collect();
            match self.transport.send(&transmit.bytes[*sent..], &fds)? {
                None => return Ok(false),
                Some(bytes) => {
                    drop(fds);
                    transmit.fds.clear();
                    *sent += bytes;
                    if *sent == transmit.bytes.len() {
                        self.sending = None;
                    }
                }
            }
        }
    }

    /// Takes what has arrived, without blocking; `true` if anything had. The end of the stream is the error
    /// [`ErrorKind::Closed`].
    pub fn receive(&mut self) -> Result<bool, Error> {
        let mut any = false;
        loop {
            match self.transport.receive(&mut self.buffer, &mut self.fds)? {
                None => return Ok(any),
                Some(0) => return Err(Error::new(ErrorKind::Closed)),
                Some(bytes) => {
                    any = true;
                    self.machine.handle(&self.buffer[..bytes], &mut self.fds)?;
                    if bytes < self.buffer.len() / 2 {
                        return Ok(any);
                    }
                }
            }
        }
    }

    /// Sends what there is to send and waits until something arrives or `deadline` passes; `true` if something came.
    pub fn pump(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        loop {
            let flushed = self.flush()?;
            if self.receive()? {
                return Ok(true);
            }
            let timeout = match deadline {
                None => None,
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(rest) if rest > Duration::ZERO => Some(rest),
                    _ => return Ok(false),
                },
            };
            let interest = if flushed { Interest::Receive } else { Interest::Both };
            match self.transport.waiter().wait(interest, timeout)? {
                Readiness::TimedOut if deadline.is_some() => return Ok(false),
                _ => {}
            }
        }
    }

    /// Sends everything, waiting for the peer to take it; `false` if `deadline` passed first.
    pub fn flush_all(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        while !self.flush()? {
            let timeout = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if timeout == Some(Duration::ZERO) {
                return Ok(false);
            }
            self.transport.waiter().wait(Interest::Send, timeout)?;
        }
        Ok(true)
    }
}
