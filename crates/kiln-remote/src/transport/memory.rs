//! Payloads as memory files.

use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::error::{Error, ErrorKind};
use crate::message::{INLINE_BYTES_MAX, Payload};

impl Payload {
    /// Makes a payload of `bytes`: inline if they are few, else a sealed memory file.
    pub fn new(bytes: Vec<u8>) -> Result<Payload, Error> {
        if bytes.len() <= INLINE_BYTES_MAX { Ok(Payload::Inline(bytes)) } else { Payload::memory(&bytes) }
    }

    /// Makes a payload of a copy of `bytes` in a sealed memory file.
    pub fn memory(bytes: &[u8]) -> Result<Payload, Error> {
        let size = bytes.len() as u64;
        // A file that grows beyond RLIMIT_FSIZE gets its process a SIGXFSZ besides the error: do not even try.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| limit < size) {
            return Err(Error::system("memfd_create", Errno::FBIG));
        }
        let fd = rustix::fs::memfd_create(c"kiln", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|e| Error::system("memfd_create", e))?;
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::pwrite(&fd, &bytes[written..], written as u64) {
                Ok(0) => return Err(Error::system("pwrite", Errno::NOSPC)),
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::system("pwrite", e)),
            }
        }
        // Sealed, so that the receiver's map of it can neither change nor fault.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals).map_err(|e| Error::system("fcntl(F_ADD_SEALS)", e))?;
        Ok(Payload::Memory { fd, size })
    }

    /// The bytes, read rather than mapped: a file that turns out shorter than announced is an error, not a SIGBUS.
    pub fn into_bytes(self) -> Result<Vec<u8>, Error> {
        match self {
            Payload::Inline(bytes) => Ok(bytes),
            Payload::Memory { fd, size } => {
                let size = checked_size(&fd, size)?;
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(size).map_err(|_| Error::system("pread", Errno::NOMEM))?;
                while bytes.len() < size {
                    let at = bytes.len() as u64;
                    match rustix::io::pread(&fd, rustix::buffer::spare_capacity(&mut bytes), at) {
                        Ok(0) => return Err(Error::new(ErrorKind::PayloadSize { announced: size as u64, actual: at })),
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(e) => return Err(Error::system("pread", e)),
                    }
                }
                bytes.truncate(size);
                Ok(bytes)
            }
        }
    }

    /// Maps the payload, for a process that can afford to die if the file is cut short later.
    pub fn map(self) -> Result<Mapping, Error> {
        match self {
            Payload::Inline(bytes) => Ok(Mapping(Source::Bytes(bytes))),
            Payload::Memory { size: 0, .. } => Ok(Mapping(Source::Bytes(Vec::new()))),
            Payload::Memory { fd, size } => {
                let size = checked_size(&fd, size)?;
                // SAFETY: a new private read-only map at an address of the kernel's choice aliases nothing; it is
                // unmapped by `Mapping` only.
                let address =
                    unsafe { rustix::mm::mmap(std::ptr::null_mut(), size, ProtFlags::READ, MapFlags::PRIVATE, &fd, 0) };
                let address = address.map_err(|e| Error::system("mmap", e))?;
                Ok(Mapping(Source::Map { address: address.cast::<u8>(), size }))
            }
        }
    }

    /// A second payload of the same bytes.
    pub fn try_clone(&self) -> Result<Payload, Error> {
        match self {
            Payload::Inline(bytes) => Ok(Payload::Inline(bytes.clone())),
            Payload::Memory { fd, size } => {
                let fd = rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| Error::system("fcntl(F_DUPFD)", e))?;
                Ok(Payload::Memory { fd, size: *size })
            }
        }
    }
}

fn checked_size(fd: &OwnedFd, announced: u64) -> Result<usize, Error> {
    let stat = rustix::fs::fstat(fd.as_fd()).map_err(|e| Error::system("fstat", e))?;
    let actual = u64::try_from(stat.st_size).unwrap_or(0);
    let mismatch = || Error::new(ErrorKind::PayloadSize { announced, actual });
    if announced > actual {
        return Err(mismatch());
    }
    usize::try_from(announced).map_err(|_| mismatch())
}

/// The bytes of a payload.
#[derive(Debug)]
pub struct Mapping(Source);

#[derive(Debug)]
enum Source {
    Bytes(Vec<u8>),
    Map { address: *mut u8, size: usize },
}

// SAFETY: the map is private to this value and only ever read.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives out shared slices only.
unsafe impl Sync for Mapping {}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Bytes(bytes) => bytes,
            // SAFETY: `address` is a live map of `size` bytes (`Payload::map`), unmapped only when `self` is dropped.
            // Senders seal their memory files, so the bytes do not change; where a plain file is sent and changed
            // later, its process is the one that depends on the answer.
            Source::Map { address, size } => unsafe { std::slice::from_raw_parts(*address, *size) },
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Source::Map { address, size } = &self.0 {
            // SAFETY: the map is ours and nothing borrows from it any more. An error would mean that it was not mapped.
            let _ = unsafe { rustix::mm::munmap(address.cast(), *size) };
        }
    }
}
