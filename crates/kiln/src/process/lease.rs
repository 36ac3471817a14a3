//! Bitcode files in memory without reading them: mapped, under a lease.
//!
//! Bodies are read when they are first called, so what a file held when it was loaded must stay readable, whatever becomes
//! of the file. Copying it costs its size in memory and time, of which a run needs a part. A mapping alone would do for files
//! that are replaced (renamed over), but one that is written in place changes or vanishes under its readers. So:
//!
//! 1. The file is opened and a read lease taken (fcntl(2), "Leases"): nobody has it open for writing, and whoever opens it
//!    for writing or truncates it from now on is stopped by the kernel until the lease is given up, and the reserved signal
//!    comes.
//! 2. The handler copies the whole file to new memory, moves that memory over the mapping, which for every reader happens at
//!    one moment, and gives the lease up. The writer goes on; it waited as long as the copy took.
//! 3. Before a fork the same is done: the lease's signal comes to one process only.
//! 4. Where no lease can be had (another user's file, a file system without, a writer that has it open), the file is copied.
//! 5. The kernel maps 64 KiB around every place that is read, and bodies lie scattered: two thirds of a large file would count
//!    as the process's memory though each body is read once. So whoever reads says so, and from time to time all pages of the
//!    mapping are given back; the page cache keeps them. That must not meet 2 or 3, whose memory exists nowhere else; whoever
//!    was turned away by it meanwhile is looked for afterwards.
//!
//! States of a slot: `FREE` → (1) `TAKING` → `MAPPED` → (2, 3) `BUSY` → `FREE`, or (5) `BUSY` → `MAPPED`; only `MAPPED` →
//! `BUSY` is contended. Who loses that race in 3 tries until the file is not mapped any more; the winner never waits for
//! anybody.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rustix::fd::BorrowedFd;
use rustix::mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags};

/// Smaller files are copied: that is cheaper than the system calls here.
const BYTES_MIN: usize = 256 << 10;
/// As many files are mapped at a time.
const SLOTS: usize = 16;
/// Descriptors are kept where programs that count theirs do not see them.
const DESCRIPTOR_MIN: i32 = 512;

/// `F_SETSIG` (include/uapi/asm-generic/fcntl.h), which the `libc` crate lacks.
const F_SETSIG: i32 = 10;

/// Pages of a file are given back when as many bytes of it may be mapped.
const RESIDENT_BYTES_MAX: usize = 8 << 20;
/// What the kernel maps around a place that is read, if it is in the page cache (`fault_around_bytes` in debugfs).
const FAULT_AROUND_BYTES: usize = 64 << 10;

const FREE: u32 = 0;
const TAKING: u32 = 1;
const MAPPED: u32 = 2;
const BUSY: u32 = 3;

/// A file that is mapped.
struct Slot {
    state: AtomicU32,
    descriptor: AtomicI32,
    /// Of the file, by which the descriptor is known for this table's.
    inode: AtomicU64,
    start: AtomicUsize,
    size: AtomicUsize,
    /// Bytes that may be mapped since pages were given back last.
    resident: AtomicUsize,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        state: AtomicU32::new(FREE),
        descriptor: AtomicI32::new(-1),
        inode: AtomicU64::new(0),
        start: AtomicUsize::new(0),
        size: AtomicUsize::new(0),
        resident: AtomicUsize::new(0),
    }
}; SLOTS];

/// The content of `file`, of `size` bytes, for the rest of the process's life and whatever happens to the file; `None` where it
/// has to be copied.
pub(crate) fn map(file: &File, size: usize) -> Option<&'static [u8]> {
    if size < BYTES_MIN {
        return None;
    }
    let signal = kiln_dispatch::scan::prepare().ok()?;
    let slot = TABLE
        .iter()
        .find(|slot| slot.state.compare_exchange(FREE, TAKING, Ordering::Acquire, Ordering::Relaxed).is_ok())?;
    match lease(file, size, signal) {
        Ok((descriptor, inode, start)) => {
            slot.descriptor.store(descriptor, Ordering::Relaxed);
            slot.inode.store(inode, Ordering::Relaxed);
            slot.start.store(start, Ordering::Relaxed);
            slot.size.store(size, Ordering::Relaxed);
            // The module's own tables are read at once.
            slot.resident.store(RESIDENT_BYTES_MAX / 2, Ordering::Relaxed);
            kiln_dispatch::scan::on_other_signal(copy_what_is_wanted);
            // Release: partner of the Acquire in `copy`, whose winner reads the fields above.
            slot.state.store(MAPPED, Ordering::Release);
            // A signal that came before all this was ready found nothing to do.
            copy_what_is_wanted();
            // SAFETY: `size` bytes from `start` on are mapped and never unmapped: only other memory of the same content,
            // read-only as well, is ever moved there. The lease keeps the content from changing while it is the file's.
            Some(unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(start), size) })
        }
        Err(_) => {
            slot.state.store(FREE, Ordering::Relaxed);
            None
        }
    }
}

/// A descriptor with a lease on `file`, the file's inode, and where its content is mapped.
fn lease(file: &File, size: usize, signal: i32) -> io::Result<(i32, u64, usize)> {
    let own = rustix::io::fcntl_dupfd_cloexec(file, DESCRIPTOR_MIN)?;
    let number = own.as_raw_fd();
    let control = |command: i32, argument: i32| {
        // SAFETY: these commands take a number and touch no memory.
        let done = unsafe { libc::fcntl(number, command, argument) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
    };
    control(F_SETSIG, signal)?;
    control(libc::F_SETLEASE, libc::F_RDLCK)?;
    // The lease's owner is who gets the signal; taking it made that the calling thread.
    control(libc::F_SETOWN, rustix::process::getpid().as_raw_nonzero().get())?;
    // Nobody could change it since: this is the size that counts.
    let status = rustix::fs::fstat(&own)?;
    if status.st_size != size as i64 {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    // SAFETY: a new private read-only mapping at an address of the kernel's choice.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), size, ProtFlags::READ, MapFlags::PRIVATE, &own, 0)? };
    Ok((own.into_raw_fd(), status.st_ino, start.expose_provenance()))
}

/// The handler's part: copies every file that somebody wants to write. Async-signal-safe.
fn copy_what_is_wanted() {
    for slot in &TABLE {
        if slot.state.load(Ordering::Acquire) != MAPPED {
            continue;
        }
        // While somebody waits, it says what the lease has to become.
        // SAFETY: the command takes no argument and touches no memory.
        let wanted =
            slot.own_descriptor().is_some_and(|own| unsafe { libc::fcntl(own, libc::F_GETLEASE) } != libc::F_RDLCK);
        if wanted {
            let _ = copy(slot);
        }
    }
}

impl Slot {
    /// The descriptor, unless the program has closed it: then the number may be another file's by now.
    fn own_descriptor(&self) -> Option<i32> {
        let number = self.descriptor.load(Ordering::Relaxed);
        // SAFETY: used for one system call, which fails if nothing is open under the number.
        let status = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(number) });
        status.is_ok_and(|status| status.st_ino == self.inode.load(Ordering::Relaxed)).then_some(number)
    }
}

/// Makes all files that are mapped memory of the process. Before a fork, with signals blocked.
pub(crate) fn copy_all() {
    for slot in &TABLE {
        // Another thread may be at it; it never waits for this one.
        while !copy(slot) && matches!(slot.state.load(Ordering::Acquire), MAPPED | BUSY) {
            std::hint::spin_loop();
        }
    }
}

/// Somebody has read `part` of a file, if it is one that is mapped, and need not do so soon again.
pub(crate) fn was_read(part: &[u8]) {
    let at = part.as_ptr().addr();
    let holds = |slot: &&Slot| {
        // Acquire: partner of the Release in `map`, which comes after where it lies.
        slot.state.load(Ordering::Acquire) == MAPPED
            && at.wrapping_sub(slot.start.load(Ordering::Relaxed)) < slot.size.load(Ordering::Relaxed)
    };
    let Some(slot) = TABLE.iter().find(holds) else { return };
    let more = part.len() + FAULT_AROUND_BYTES;
    if slot.resident.fetch_add(more, Ordering::Relaxed) + more >= RESIDENT_BYTES_MAX {
        give_back(slot);
    }
}

/// Gives the pages of a file back to the page cache.
fn give_back(slot: &Slot) {
    if slot.state.compare_exchange(MAPPED, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    slot.resident.store(0, Ordering::Relaxed);
    let (start, size) = (slot.start.load(Ordering::Relaxed), slot.size.load(Ordering::Relaxed));
    // SAFETY: as long as the slot is this function's, the mapping is one of the file, which the lease keeps as it is: who
    // reads there finds the same bytes again. Nobody has written to it.
    unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), size, libc::MADV_DONTNEED) };
    slot.state.store(MAPPED, Ordering::Release);
    // A signal that came meanwhile found nothing to do.
    copy_what_is_wanted();
}

/// Moves a copy of the file over its mapping, unless that is another's or none; whether it tried.
fn copy(slot: &Slot) -> bool {
    if slot.state.compare_exchange(MAPPED, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return false;
    }
    let (start, size) = (slot.start.load(Ordering::Relaxed), slot.size.load(Ordering::Relaxed));
    if !move_copy(start, size) {
        // Without memory for it, the mapping and the lease stay. The writer goes on when the kernel's patience ends.
        slot.state.store(MAPPED, Ordering::Release);
        return true;
    }
    if let Some(descriptor) = slot.own_descriptor() {
        // SAFETY: the descriptor is this table's; closing the last one gives the lease up.
        unsafe {
            libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK);
            libc::syscall(libc::SYS_close, descriptor);
        }
    }
    slot.state.store(FREE, Ordering::Release);
    true
}

/// Whether a copy of the `size` bytes at `start` was moved there.
fn move_copy(start: usize, size: usize) -> bool {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address of the kernel's choice.
    let Ok(copy) = (unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), size, flags, MapFlags::PRIVATE) }) else {
        return false;
    };
    let from: *mut std::ffi::c_void = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: `copy` is this function's mapping of `size` bytes, and as many lie at `start`, which nobody writes. What is
    // moved there has the same bytes and is read-only as well; for everybody who reads there, the kernel exchanges one for
    // the other at one moment.
    unsafe {
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), copy.cast::<u8>(), size);
        let moved = rustix::mm::mprotect(copy, size, MprotectFlags::READ).is_ok()
            && rustix::mm::mremap_fixed(copy, size, size, MremapFlags::MAYMOVE, from).is_ok();
        if !moved {
            let _ = rustix::mm::munmap(copy, size);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Copies are made of all files of the process: those of another test, too.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(name: &str, byte: u8) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("kiln-lease-{}-{name}", std::process::id()));
        std::fs::write(&path, vec![byte; 2 * BYTES_MIN]).unwrap();
        let file = File::open(&path).unwrap();
        (path, file)
    }

    fn is_mapped(bytes: &[u8]) -> bool {
        TABLE.iter().any(|slot| {
            slot.state.load(Ordering::Acquire) == MAPPED && slot.start.load(Ordering::Relaxed) == bytes.as_ptr().addr()
        })
    }

    #[test]
    fn whoever_writes_the_file_waits_and_changes_nothing() {
        let _alone = alone();
        let (path, own) = file("written", 7);
        let Some(bytes) = map(&own, 2 * BYTES_MIN) else {
            eprintln!("no leases on this file system");
            return;
        };
        drop(own);
        // Truncates, then writes less.
        std::fs::write(&path, [9; 100]).unwrap();
        assert!(!is_mapped(bytes));
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert_eq!(std::fs::read(&path).unwrap(), [9; 100]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_removed_stays_and_a_fork_takes_copies() {
        let _alone = alone();
        let (path, own) = file("removed", 5);
        let Some(bytes) = map(&own, 2 * BYTES_MIN) else { return };
        std::fs::remove_file(&path).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 5));
        copy_all();
        assert!(!is_mapped(bytes));
        assert!(bytes.iter().all(|byte| *byte == 5));
    }

    /// Kilobytes of the mapping at `bytes` that count as the process's.
    fn resident(bytes: &[u8]) -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-", bytes.as_ptr().addr());
        let own = maps.split_once(&start).expect("the file is mapped").1;
        let line = own.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn pages_that_were_read_are_given_back_and_read_the_same_again() {
        let _alone = alone();
        let (path, own) = file("resident", 6);
        let Some(bytes) = map(&own, 2 * BYTES_MIN) else { return };
        let is_same = || bytes.iter().all(|byte| *byte == 6);
        assert!(is_same());
        assert!(resident(bytes) > 0);
        let before = RESIDENT_BYTES_MAX / 2 / (FAULT_AROUND_BYTES + 100);
        (0..before).for_each(|_| was_read(&bytes[..100]));
        assert!(resident(bytes) > 0);
        was_read(&bytes[..100]);
        assert_eq!(resident(bytes), 0);
        assert!(is_mapped(bytes) && is_same());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn pages_are_given_back_while_writers_and_forks_want_copies() {
        let _alone = alone();
        let (path, own) = file("contended", 4);
        for round in 0..50u8 {
            std::fs::write(&path, vec![4; 2 * BYTES_MIN]).unwrap();
            let Some(bytes) = map(&own, 2 * BYTES_MIN) else { return };
            std::thread::scope(|scope| {
                let readers: Vec<_> = (0..2)
                    .map(|_| {
                        scope.spawn(|| {
                            while is_mapped(bytes) {
                                was_read(bytes);
                                assert!(bytes.iter().all(|byte| *byte == 4));
                            }
                        })
                    })
                    .collect();
                match round % 2 {
                    0 => copy_all(),
                    _ => std::fs::write(&path, [9; 100]).unwrap(),
                }
                readers.into_iter().for_each(|reader| reader.join().unwrap());
            });
            assert!(!is_mapped(bytes));
            assert!(bytes.iter().all(|byte| *byte == 4));
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_somebody_writes_is_not_mapped() {
        let _alone = alone();
        let (path, own) = file("open", 3);
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(map(&own, 2 * BYTES_MIN).is_none());
        writer.write_all(&[1]).unwrap();
        drop(writer);
        // Nor is one whose size was another when it was asked for.
        assert!(map(&own, 2 * BYTES_MIN).is_none());
        std::fs::remove_file(&path).unwrap();
    }
}
