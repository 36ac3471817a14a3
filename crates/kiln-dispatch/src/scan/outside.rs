//! Looking at a thread that sleeps in the kernel, without its noticing.
//!
//! 1. How often the thread was given a processor is read.
//! 2. What it is doing is read. If it runs, this is not the way. The kernel answers only about a thread that stays off
//!    all processors while it looks.
//! 3. What the kernel shows of its registers, and its stacks, are looked at.
//! 4. Step 1 again. If it is the same number, the thread did not run since step 1: it was asleep when step 2 was, so to
//!    run it would have to be given a processor. What was looked at was all there at once.
//!
//! If it ran after step 2, the number is counted up before the thread writes anything, and read after what it may have
//! written: on x86 stores become visible in order and loads are done in order, and step 4 is a system call besides.
//!
//! Where the kernel does not count that (`CONFIG_SCHED_INFO`), times the thread was taken *off* a processor serve.
//! They do not change while it goes on running, so there step 2 is repeated too.

use super::procfs::{self, Condition, Doing};
use super::stacks::{Ends, Search, Stack, read_word};
use super::sys::{self, Errno, File};
use super::{Tid, host, x86_64};

/// What could be seen of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Everything that it holds.
    All { stack: Stack, waits_for_vfork: bool },
    /// Nothing: it runs.
    Running,
    /// Nothing: it sleeps in the kernel but did not call it, so its registers cannot be seen.
    Elsewhere,
    /// Nothing: it was stopped while it ran.
    Stopped,
    /// It holds nothing any more, or never could.
    Nothing,
    /// The kernel does not let us look.
    Hidden(Errno),
}

/// Times a thread may wake up while it is looked at before it counts as running.
const ATTEMPTS: usize = 3;

/// Looks at thread `tid`, and marks what it holds.
pub(super) fn look(tid: Tid, search: &mut Search<'_>) -> Seen {
    match try_look(tid, search) {
        Ok(seen) => seen,
        // Only the thread's number says that it ended: descriptors may be closed by the program at any time.
        Err(_) if !sys::is_alive(tid) => Seen::Nothing,
        Err(errno) => Seen::Hidden(errno),
    }
}

fn try_look(tid: Tid, search: &mut Search<'_>) -> Result<Seen, Errno> {
    let (runs, mut before) = Runs::of(tid)?;
    for _ in 0..ATTEMPTS {
        search.marks.fill(0);
        let doing = doing(tid)?;
        let seen = match doing {
            Doing::Running => return Ok(Seen::Running),
            Doing::Elsewhere { .. } => return special(tid, Seen::Elsewhere),
            // No code of the process has such a stack.
            Doing::Call { words: [.., 0, 0], .. } => return special(tid, Seen::Elsewhere),
            Doing::Call { number, words } => look_at_call(tid, number, &words, search),
        };
        let still = runs.counts_starts() || self::doing(tid)? == doing;
        let after = runs.count()?;
        if still && after == before {
            return Ok(seen);
        }
        before = after;
    }
    Ok(Seen::Running)
}

fn look_at_call(tid: Tid, number: i64, words: &[u64; procfs::CALL_WORDS], search: &mut Search<'_>) -> Seen {
    // It runs nothing of the process any more, and may have no stack.
    if number == libc::SYS_exit {
        return Seen::Nothing;
    }
    search.words(words);
    let ends = Ends { control_block: sys::robust_list(tid), main: host::main_stack_end() };
    let stack = search.stacks(words[procfs::CALL_WORDS - 2], ends);
    Seen::All { stack, waits_for_vfork: x86_64::waits_for_vfork(number, words[0], read_word) }
}

fn doing(tid: Tid) -> Result<Doing, Errno> {
    let mut buffer = [0; 256];
    // A file that does not look like this is another one: the program closed our descriptor and opened its own.
    Doing::parse(File::of_thread(tid, "syscall")?.read_anew(&mut buffer)?).ok_or(libc::EBADF)
}

fn special(tid: Tid, usual: Seen) -> Result<Seen, Errno> {
    let mut buffer = [0; 1024];
    let condition = Condition::parse(File::of_thread(tid, "stat")?.read_anew(&mut buffer)?).ok_or(libc::EBADF)?;
    Ok(match condition {
        Condition::Ended | Condition::KernelOnly => Seen::Nothing,
        Condition::Stopped => Seen::Stopped,
        Condition::Usual => usual,
    })
}

/// Whether thread `tid` blocks signal `number`.
pub(super) fn blocks(tid: Tid, number: i32) -> bool {
    let mut buffer = [0; 4096];
    let status = File::of_thread(tid, "status").and_then(|file| file.read_anew(&mut buffer).map(<[u8]>::len));
    let mask = status.ok().and_then(|bytes| procfs::blocked_signals(&buffer[..bytes]));
    mask.is_some_and(|mask| mask >> (number - 1) & 1 != 0)
}

/// What counts when a thread runs.
enum Runs {
    /// Each time it is given a processor.
    Starts(File),
    /// Each time it is taken off.
    Ends(File),
}

impl Runs {
    /// What the kernel counts of thread `tid`, and how much it is now.
    fn of(tid: Tid) -> Result<(Runs, u64), Errno> {
        if let Ok(file) = File::of_thread(tid, "schedstat") {
            let runs = Runs::Starts(file);
            if let Ok(count) = runs.count() {
                return Ok((runs, count));
            }
        }
        let runs = Runs::Ends(File::of_thread(tid, "status")?);
        let count = runs.count()?;
        Ok((runs, count))
    }

    fn counts_starts(&self) -> bool {
        matches!(self, Runs::Starts(_))
    }

    fn count(&self) -> Result<u64, Errno> {
        match self {
            Runs::Starts(file) => procfs::times_scheduled(file.read_anew(&mut [0; 128])?),
            Runs::Ends(file) => procfs::times_switched(file.read_anew(&mut [0; 4096])?),
        }
        .ok_or(libc::EBADF)
    }
}
