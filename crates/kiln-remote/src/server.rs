use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::Machine;
use crate::error::{Error, ErrorKind};
use crate::frame::{Frame, Inbox, Outbox, Transmit};
use crate::message::{
    Compile, Compiled, Covered, Failed, FailureKind, MAGIC, ModuleId, Normalize, Normalized, OpenModule,
    PROTOCOL_VERSION, RequestId, Welcome, kind,
};
use crate::wire::{Reader, Writer};

/// What a client wants of its server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// From now on a module has a number.
    OpenModule(OpenModule),
    /// A module's number is not used any more.
    CloseModule(ModuleId),
    /// Compile functions.
    Compile {
        /// To be named in the reply.
        request: RequestId,
        /// How many [`Server::compiled`] replies the client had handled when it asked.
        seen: u32,
        /// What it asks.
        compile: Compile,
    },
    /// Rewrite an input.
    Normalize {
        /// To be named in the reply.
        request: RequestId,
        /// What to rewrite.
        normalize: Normalize,
    },
}

/// The server's side of the compile protocol, without I/O.
#[derive(Debug)]
pub struct Server {
    inbox: Inbox,
    outbox: Outbox,
    requests: VecDeque<Request>,
    welcome: Welcome,
    greeted: bool,
}

impl Server {
    /// A server that waits for a client's greeting and answers with `welcome`.
    #[must_use]
    pub fn new(welcome: Welcome) -> Self {
        Self { inbox: Inbox::default(), outbox: Outbox::default(), requests: VecDeque::new(), welcome, greeted: false }
    }

    /// What came from the client, in order.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Answers a compile.
    pub fn compiled(&mut self, reply: Compiled) -> Result<(), Error> {
        self.outbox.push(kind::COMPILED, reply.encode())
    }

    /// Answers a compile whose roots went out with other replies.
    pub fn covered(&mut self, reply: &Covered) -> Result<(), Error> {
        self.outbox.push(kind::COVERED, reply.encode())
    }

    /// Answers that a request failed.
    pub fn failed(&mut self, reply: &Failed) -> Result<(), Error> {
        self.outbox.push(kind::FAILED, reply.encode())
    }

    /// Answers a request to rewrite.
    pub fn normalized(&mut self, reply: Normalized) -> Result<(), Error> {
        self.outbox.push(kind::NORMALIZED, reply.encode())
    }

    fn receive(&mut self, frame: Frame) -> Result<(), Error> {
        let reader = |name| Reader::new(name, &frame.body, frame.fds);
        match frame.kind {
            kind::HELLO if !self.greeted => self.greet(reader("Hello")),
            _ if !self.greeted => Err(Error::new(ErrorKind::NotKiln)),
            kind::OPEN_MODULE => {
                let module = OpenModule::decode(reader("OpenModule"))?;
                self.requests.push_back(Request::OpenModule(module));
                Ok(())
            }
            kind::CLOSE_MODULE => {
                let mut reader = reader("CloseModule");
                let module = ModuleId(reader.u32()?);
                reader.finish()?;
                self.requests.push_back(Request::CloseModule(module));
                Ok(())
            }
            kind::COMPILE => {
                let (request, seen, compile) = Compile::decode(reader("Compile"))?;
                self.requests.push_back(Request::Compile { request, seen, compile });
                Ok(())
            }
            kind::NORMALIZE => {
                let (request, normalize) = Normalize::decode(reader("Normalize"))?;
                self.requests.push_back(Request::Normalize { request, normalize });
                Ok(())
            }
            kind if kind & 0x8000 != 0 || kind == kind::HELLO => Err(Error::new(ErrorKind::Unexpected { kind })),
            kind => {
                // A request of a later protocol: every request begins with its number, so it can be refused politely.
                let request = RequestId(reader("of a later version").u32()?);
                let message = format!("this optimizer does not know requests of kind {kind}");
                self.failed(&Failed { request, kind: FailureKind::Unsupported, function: None, message })
            }
        }
    }

    fn greet(&mut self, mut r: Reader<'_>) -> Result<(), Error> {
        if r.array::<8>()? != MAGIC {
            return Err(Error::new(ErrorKind::NotKiln));
        }
        let theirs = r.u32()?;
        if theirs != PROTOCOL_VERSION {
            let mut body = Writer::default();
            body.u32(PROTOCOL_VERSION);
            self.outbox.push(kind::REFUSED, body)?;
            return Err(Error::new(ErrorKind::Version { ours: PROTOCOL_VERSION, theirs }));
        }
        self.greeted = true;
        self.outbox.push(kind::WELCOME, self.welcome.encode())
    }
}

impl Machine for Server {
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
