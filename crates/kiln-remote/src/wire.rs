//! Little-endian encoding of message bodies.
//!
//! Every count is checked against the bytes that are left before anything is allocated for it, so a body costs at most
//! a small multiple of its own size whatever it says.

use std::os::fd::OwnedFd;

use crate::error::{Error, ErrorKind};
use crate::message::Payload;

/// Builds one body; descriptors are collected in the order in which they appear.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        // A longer value makes a frame that is refused as a whole when it is queued (`Outbox::push`).
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(value);
    }

    pub(crate) fn ids(&mut self, ids: impl ExactSizeIterator<Item = u32>) {
        self.u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        for id in ids {
            self.u32(id);
        }
    }

    pub(crate) fn payload(&mut self, payload: Payload) {
        match payload {
            Payload::Inline(bytes) => {
                self.u8(0);
                self.bytes(&bytes);
            }
            Payload::Memory { fd, size } => {
                self.u8(1);
                self.u64(size);
                self.fds.push(fd);
            }
        }
    }
}

/// Takes one body apart.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    fds: std::vec::IntoIter<OwnedFd>,
    message: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'static str, bytes: &'a [u8], fds: Vec<OwnedFd>) -> Self {
        Self { bytes, fds: fds.into_iter(), message }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Malformed { message: self.message, what })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(|| self.malformed("is too short"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let count = self.u32()? as usize;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    pub(crate) fn ids<T>(&mut self, make: impl Fn(u32) -> T) -> Result<Vec<T>, Error> {
        let count = self.u32()? as usize;
        let bytes = count.checked_mul(4).ok_or_else(|| self.malformed("has an absurd count"))?;
        let words = self.take(bytes)?.chunks_exact(4);
        Ok(words.map(|w| make(u32::from_le_bytes([w[0], w[1], w[2], w[3]]))).collect())
    }

    pub(crate) fn payload(&mut self) -> Result<Payload, Error> {
        match self.u8()? {
            0 => Ok(Payload::Inline(self.bytes()?.to_vec())),
            1 => {
                let size = self.u64()?;
                let fd = self.fds.next().ok_or_else(|| self.malformed("lacks a descriptor"))?;
                Ok(Payload::Memory { fd, size })
            }
            _ => Err(self.malformed("has an unknown kind of payload")),
        }
    }

    /// Checks that nothing is left over.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        if !self.bytes.is_empty() {
            return Err(self.malformed("is too long"));
        }
        if self.fds.next().is_some() {
            return Err(self.malformed("has too many descriptors"));
        }
        Ok(())
    }
}
