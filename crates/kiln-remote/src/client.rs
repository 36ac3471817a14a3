use std::collections::{BTreeSet, VecDeque};
use std::os::fd::OwnedFd;

use crate::Machine;
use crate::error::{Error, ErrorKind};
use crate::frame::{Frame, Inbox, Outbox, Transmit};
use crate::message::{
    Compile, Compiled, Covered, Failed, MAGIC, ModuleId, Normalize, Normalized, OpenModule, PROTOCOL_VERSION,
    RequestId, Welcome, kind,
};
use crate::wire::{Reader, Writer};

/// What a client learns from its server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is done.
    Welcome(Welcome),
    /// A compile succeeded.
    Compiled(Compiled),
    /// The roots of a compile came with other replies.
    Covered(Covered),
    /// A request failed.
    Failed(Failed),
    /// An input was rewritten.
    Normalized(Normalized),
}

/// The client's side of the compile protocol, without I/O.
///
/// Requests can be made at once, before the handshake is done; each gets exactly one reply, in any order, unless the
/// connection ends: [`Client::pending`] then says which are lost. A new connection needs a new client.
#[derive(Debug)]
pub struct Client {
    inbox: Inbox,
    outbox: Outbox,
    events: VecDeque<Event>,
    welcomed: bool,
    next_request: u32,
    pending: BTreeSet<RequestId>,
    /// `Compiled` replies handled so far. Travels with each request, so that the server can tell a request that
    /// crossed a reply on the wire from one that wants a function again.
    seen: u32,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client whose first message, the greeting, is ready to be sent.
    #[must_use]
    pub fn new() -> Self {
        Self::numbered_from(RequestId(0))
    }

    /// As [`Client::new`], but requests are numbered from `first`: for a client that follows a lost connection, so that
    /// numbers stay unique.
    #[must_use]
    pub fn numbered_from(first: RequestId) -> Self {
        let mut outbox = Outbox::default();
        let mut hello = Writer::default();
        hello.bytes.extend_from_slice(&MAGIC);
        hello.u32(PROTOCOL_VERSION);
        // A greeting is 12 bytes: the limits that `push` checks are out of question.
        let queued = outbox.push(kind::HELLO, hello);
        debug_assert!(queued.is_ok());
        Self {
            inbox: Inbox::default(),
            outbox,
            events: VecDeque::new(),
            welcomed: false,
            next_request: first.0,
            pending: BTreeSet::new(),
            seen: 0,
        }
    }

    /// Names a module. There is no reply: what is wrong with a module is the answer to requests that use it.
    pub fn open_module(&mut self, module: OpenModule) -> Result<(), Error> {
        self.outbox.push(kind::OPEN_MODULE, module.encode())
    }

    /// Gives up a module's number, and what the server keeps of the module. No request for it may be under way.
    pub fn close_module(&mut self, module: ModuleId) -> Result<(), Error> {
        let mut body = Writer::default();
        body.u32(module.0);
        self.outbox.push(kind::CLOSE_MODULE, body)
    }

    /// Requests a compile.
    pub fn compile(&mut self, compile: Compile) -> Result<RequestId, Error> {
        let request = RequestId(self.next_request);
        self.outbox.push(kind::COMPILE, compile.encode(request, self.seen))?;
        self.requested(request);
        Ok(request)
    }

    /// Requests that an input is rewritten.
    pub fn normalize(&mut self, normalize: Normalize) -> Result<RequestId, Error> {
        let request = RequestId(self.next_request);
        self.outbox.push(kind::NORMALIZE, normalize.encode(request))?;
        self.requested(request);
        Ok(request)
    }

    fn requested(&mut self, request: RequestId) {
        self.next_request = self.next_request.wrapping_add(1);
        self.pending.insert(request);
    }

    /// What came from the server, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Requests that have no reply yet.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = RequestId> + '_ {
        self.pending.iter().copied()
    }

    /// The number that the next request will get.
    #[must_use]
    pub fn next_request(&self) -> RequestId {
        RequestId(self.next_request)
    }

    fn receive(&mut self, frame: Frame) -> Result<(), Error> {
        let reader = |name| Reader::new(name, &frame.body, frame.fds);
        match frame.kind {
            kind::WELCOME if !self.welcomed => {
                let (theirs, welcome) = Welcome::decode(reader("Welcome"))?;
                if theirs != PROTOCOL_VERSION {
                    return Err(Error::new(ErrorKind::Version { ours: PROTOCOL_VERSION, theirs }));
                }
                self.welcomed = true;
                self.events.push_back(Event::Welcome(welcome));
                Ok(())
            }
            kind::REFUSED if !self.welcomed => {
                let theirs = reader("Refused").u32()?;
                Err(Error::new(ErrorKind::Version { ours: PROTOCOL_VERSION, theirs }))
            }
            kind::COMPILED if self.welcomed => {
                let compiled = Compiled::decode(reader("Compiled"))?;
                self.replied(compiled.request, frame.kind)?;
                self.seen = self.seen.wrapping_add(1);
                self.events.push_back(Event::Compiled(compiled));
                Ok(())
            }
            kind::COVERED if self.welcomed => {
                let covered = Covered::decode(reader("Covered"))?;
                self.replied(covered.request, frame.kind)?;
                self.events.push_back(Event::Covered(covered));
                Ok(())
            }
            kind::FAILED if self.welcomed => {
                let failed = Failed::decode(reader("Failed"))?;
                self.replied(failed.request, frame.kind)?;
                self.events.push_back(Event::Failed(failed));
                Ok(())
            }
            kind::NORMALIZED if self.welcomed => {
                let normalized = Normalized::decode(reader("Normalized"))?;
                self.replied(normalized.request, frame.kind)?;
                self.events.push_back(Event::Normalized(normalized));
                Ok(())
            }
            kind => Err(Error::new(ErrorKind::Unexpected { kind })),
        }
    }

    fn replied(&mut self, request: RequestId, kind: u16) -> Result<(), Error> {
        if self.pending.remove(&request) { Ok(()) } else { Err(Error::new(ErrorKind::Unexpected { kind })) }
    }
}

impl Machine for Client {
    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop()
    }

    fn handle(&mut self, bytes: &[u8], fds: &mut Vec<OwnedFd>) -> Result<(), Error> {
        self.inbox.push(bytes, fds.drain(..))?;
        while let Some(frame) = self.inbox.next()? {
            self.receive(frame)?;
        }
        Ok(())
    }
}
