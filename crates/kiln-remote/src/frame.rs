//! Frames: how messages lie in the byte stream.
//!
//! ```text
//! +0 u32  bytes of the body
//! +4 u16  kind of message
//! +6 u16  descriptors that belong to the frame
//! +8      body
//! ```
//!
//! Descriptors travel with the first byte of their frame, so they are there at the latest when the frame is complete;
//! frames take theirs from the queue in order.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::error::{Error, ErrorKind};
use crate::wire::Writer;

/// Largest body of a frame. Whatever can be large travels in memory files; what cannot is lists of ids.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// Most descriptors that one frame may hold.
pub const FRAME_DESCRIPTORS_MAX: usize = 4;
const HEADER: usize = 8;
/// Descriptors that may wait for their frames: those of a few frames that arrive at once.
const WAITING_DESCRIPTORS_MAX: usize = 16 * FRAME_DESCRIPTORS_MAX;

/// One frame on its way out: to be sent as a whole, the descriptors with the first byte.
#[derive(Debug)]
pub struct Transmit {
    /// Header and body.
    pub bytes: Vec<u8>,
    /// Descriptors to pass.
    pub fds: Vec<OwnedFd>,
}

/// One frame taken from the stream.
pub(crate) struct Frame {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

/// What arrived and is not yet consumed.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    pub(crate) fn push(&mut self, bytes: &[u8], fds: impl IntoIterator<Item = OwnedFd>) -> Result<(), Error> {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
        for fd in fds {
            if self.fds.len() == WAITING_DESCRIPTORS_MAX {
                return Err(Error::new(ErrorKind::TooManyDescriptors { max: FRAME_DESCRIPTORS_MAX }));
            }
            self.fds.push_back(fd);
        }
        Ok(())
    }

    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        let rest = &self.bytes[self.start..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, k0, k1, f0, f1] = *header;
        let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        let announced = usize::from(u16::from_le_bytes([f0, f1]));
        if bytes > FRAME_BYTES_MAX {
            return Err(Error::new(ErrorKind::FrameTooLarge { bytes, max: FRAME_BYTES_MAX }));
        }
        if announced > FRAME_DESCRIPTORS_MAX {
            return Err(Error::new(ErrorKind::TooManyDescriptors { max: FRAME_DESCRIPTORS_MAX }));
        }
        let Some(body) = rest.get(..bytes) else { return Ok(None) };
        if announced > self.fds.len() {
            return Err(Error::new(ErrorKind::MissingDescriptors { announced, received: self.fds.len() }));
        }
        let body = body.to_vec();
        let fds = self.fds.drain(..announced).collect();
        self.start += HEADER + bytes;
        Ok(Some(Frame { kind: u16::from_le_bytes([k0, k1]), body, fds }))
    }
}

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Transmit>);

impl Outbox {
    /// Queues a frame. The caller keeps bodies below [`FRAME_BYTES_MAX`]; a larger one is refused here, because the
    /// peer would end the connection over it.
    pub(crate) fn push(&mut self, kind: u16, body: Writer) -> Result<(), Error> {
        if body.bytes.len() > FRAME_BYTES_MAX {
            return Err(Error::new(ErrorKind::FrameTooLarge { bytes: body.bytes.len(), max: FRAME_BYTES_MAX }));
        }
        if body.fds.len() > FRAME_DESCRIPTORS_MAX {
            return Err(Error::new(ErrorKind::TooManyDescriptors { max: FRAME_DESCRIPTORS_MAX }));
        }
        let mut header = Writer { bytes: Vec::with_capacity(HEADER + body.bytes.len()), fds: body.fds };
        header.u32(body.bytes.len() as u32);
        header.u16(kind);
        header.u16(header.fds.len() as u16);
        header.bytes.extend_from_slice(&body.bytes);
        self.0.push_back(Transmit { bytes: header.bytes, fds: header.fds });
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Transmit> {
        self.0.pop_front()
    }
}
