//! Input files in memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::mm::{MapFlags, ProtFlags};

/// As many bytes tell what a file is.
pub(crate) const HEAD_BYTES: usize = 4;

/// The content of the file at `path`, mapped for the rest of the process's life.
///
/// Objects and archives are read while they are linked and never again, and of an archive's hundred megabytes most are not
/// touched at all. A file that is cut short during the link is a bus error, as with every linker that maps its inputs.
///
/// # Errors
///
/// What the operating system says; a folder is an error too.
pub(crate) fn map(path: &Path) -> io::Result<&'static [u8]> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let size = usize::try_from(metadata.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if size == 0 || !metadata.is_file() {
        // A pipe has no size, and an empty file cannot be mapped.
        return Ok(std::fs::read(path)?.leak());
    }
    // SAFETY: a new private read-only mapping at an address of the kernel's choice; it is never unmapped, so the slice
    // lives as long as the process.
    unsafe {
        let start = rustix::mm::mmap(std::ptr::null_mut(), size, ProtFlags::READ, MapFlags::PRIVATE, &file, 0)?;
        Ok(std::slice::from_raw_parts(start.cast::<u8>(), size))
    }
}

/// The content of the bitcode file at `path`, for the rest of the process's life and whatever becomes of the file.
///
/// # Errors
///
/// What the operating system says.
pub(crate) fn keep(path: &Path) -> io::Result<&'static [u8]> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let size = usize::try_from(metadata.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if metadata.is_file()
        && let Some(bytes) = super::lease::map(&file, size)
    {
        return Ok(bytes);
    }
    let mut bytes = Vec::with_capacity(size);
    (&file).read_to_end(&mut bytes)?;
    Ok(bytes.leak())
}

/// The first bytes of the file at `path`, by which its kind is told.
///
/// # Errors
///
/// What the operating system says.
pub(crate) fn head(path: &Path) -> io::Result<[u8; HEAD_BYTES]> {
    let mut head = [0; HEAD_BYTES];
    let mut file = File::open(path)?;
    let mut done = 0;
    while done < HEAD_BYTES {
        match file.read(&mut head[done..])? {
            0 => break,
            read => done += read,
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_devices() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(map(&own).unwrap(), std::fs::read(&own).unwrap());
        assert_eq!(map(Path::new("/")).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(map(Path::new("/dev/null")).unwrap().is_empty());
        assert_eq!(map(Path::new("/nonexistent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
