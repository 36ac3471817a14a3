//! What of a thread's memory is looked at, given its stack pointer.
//!
//! | the stack pointer is | looked at | then |
//! | --- | --- | --- |
//! | on a stack of the engine | from it to the stack's end | the program's stack, from where the trampoline left it |
//! | below one of the ends that the thread's own stack may have, all memory between them readable | that memory | |
//! | on an alternate signal stack, as a signal frame above it says | up to the end of that | what the handler interrupted |
//! | anywhere else | the readable memory above it | the thread may use more stacks that nobody knows of |
//!
//! The guard below a thread's stack, or the gap there, tells its own stack from one that lies below it.

use super::ranges::Finder;
use super::sys;
use super::x86_64::{FRAME_WORDS, RED_ZONE, SignalFrame};
use crate::stack::{POOL, STACKS, STRIDE};
use crate::x86_64::{SAVED_BELOW_PROGRAM_SP, program_sp_slot};
use std::sync::atomic::Ordering;

const WORD: u64 = size_of::<u64>() as u64;

/// A thread's own stack is not larger than this, or it is not believed to be one.
const MAX_OWN_BYTES: u64 = 1 << 30;

/// What is looked at above a stack pointer that nothing is known about.
const MAX_UNKNOWN_BYTES: u64 = 1 << 20;

/// Alternate stacks on alternate stacks, and the stack of the engine.
const MAX_NESTING: usize = 4;

/// Which stack a thread turned out to be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// All of its stack was looked at.
    Known,
    /// It is on memory that is not its stack, and may have left things there or elsewhere.
    Other,
    /// It has no stack that is known: it is no thread of libc's, or not yet or not any more.
    None,
}

/// Where a thread's own stack may end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// In the thread's control block, which libc has there; 0 if the thread has none.
    pub(super) control_block: u64,
    /// Behind the arguments of the process, where the main thread's stack ends.
    pub(super) main: u64,
}

/// Looks for addresses in memory.
pub(super) struct Search<'a> {
    pub(super) finder: Finder<'a>,
    pub(super) marks: &'a mut [u64],
    /// Memory is copied here to be looked at.
    pub(super) buffer: &'a mut [u64],
    /// Where signal handlers return to; it is the first word of each signal frame.
    pub(super) restorer: u64,
}

enum Step {
    Next(u64),
    Known,
    Unknown,
}

impl Search<'_> {
    /// Marks what registers point into.
    pub(super) fn words(&mut self, words: &[u64]) {
        for &word in words {
            self.finder.mark(word, self.marks);
        }
    }

    /// Marks what the stacks of a thread with stack pointer `sp` point into.
    pub(super) fn stacks(&mut self, sp: u64, ends: Ends) -> Stack {
        self.stacks_below(sp, RED_ZONE, ends)
    }

    /// The same for the calling thread, whose program calls something and has nothing below its stack pointer.
    pub(super) fn own_stacks(&mut self, sp: u64, ends: Ends) -> Stack {
        self.stacks_below(sp, 0, ends)
    }

    fn stacks_below(&mut self, mut sp: u64, mut red_zone: u64, ends: Ends) -> Stack {
        let unknown = if ends.control_block == 0 { Stack::None } else { Stack::Other };
        for _ in 0..MAX_NESTING {
            match self.stack(sp, red_zone, ends) {
                Step::Next(interrupted) => (sp, red_zone) = (interrupted, RED_ZONE),
                Step::Known => return Stack::Known,
                Step::Unknown => break,
            }
        }
        unknown
    }

    fn stack(&mut self, sp: u64, red_zone: u64, ends: Ends) -> Step {
        if let Some(engine) = EngineStack::of(sp) {
            self.span(sp, engine.end);
            return read_word(engine.program_sp_slot)
                .map_or(Step::Unknown, |program| Step::Next(program.wrapping_sub(SAVED_BELOW_PROGRAM_SP)));
        }
        let from = sp.saturating_sub(red_zone);
        let own = [ends.control_block, ends.main]
            .into_iter()
            .filter(|end| end.checked_sub(sp).is_some_and(|bytes| bytes <= MAX_OWN_BYTES))
            .min();
        if own.is_some_and(|end| self.span(from, end)) {
            return Step::Known;
        }
        let Some(frame) = self.interrupted_by_signal(sp) else {
            self.span(from, sp.saturating_add(MAX_UNKNOWN_BYTES));
            return Step::Unknown;
        };
        if self.span(from, frame.alternate.1) { Step::Next(frame.interrupted_sp) } else { Step::Unknown }
    }

    /// Marks what the words of `from..to` point into, as far as they can be read; whether all could.
    fn span(&mut self, from: u64, to: u64) -> bool {
        let mut at = from & !(WORD - 1);
        let to = to & !(WORD - 1);
        while at < to {
            let words = self.read(at, to);
            for n in 0..words {
                self.finder.mark(self.buffer[n], self.marks);
            }
            if words == 0 {
                return false;
            }
            at += words as u64 * WORD;
        }
        true
    }

    /// Fills the buffer with the words from `at`, not past `to`; how many.
    fn read(&mut self, at: u64, to: u64) -> usize {
        let want = usize::try_from((to - at) / WORD).map_or(self.buffer.len(), |words| words.min(self.buffer.len()));
        sys::read_words(at, &mut self.buffer[..want])
    }

    /// The signal frame that put the thread on the alternate stack that `sp` is on.
    ///
    /// Handlers that interrupted handlers leave several. The kernel put the first at the stack's upper end.
    fn interrupted_by_signal(&mut self, sp: u64) -> Option<SignalFrame> {
        let mut found: Option<SignalFrame> = None;
        let mut at = sp & !(WORD - 1);
        let mut to = sp.saturating_add(MAX_UNKNOWN_BYTES) & !(WORD - 1);
        while at < to {
            let words = self.read(at, to);
            for n in (0..words).filter(|&n| self.buffer[n] == self.restorer) {
                let Some(frame) = read_frame(at + n as u64 * WORD) else { continue };
                let (start, end) = frame.alternate;
                if (start..end).contains(&sp) && !(start..end).contains(&frame.interrupted_sp) {
                    to = to.min(end & !(WORD - 1));
                    found = Some(frame);
                }
            }
            if words == 0 {
                break;
            }
            at += words as u64 * WORD;
        }
        found
    }
}

fn read_frame(at: u64) -> Option<SignalFrame> {
    let mut words = [0; FRAME_WORDS];
    if sys::read_words(at, &mut words) < FRAME_WORDS {
        return None;
    }
    SignalFrame::parse(&words)
}

/// One word of this process's memory.
pub(super) fn read_word(address: u64) -> Option<u64> {
    let mut word = [0];
    (sys::read_words(address, &mut word) == 1).then_some(word[0])
}

/// A stack of the engine.
struct EngineStack {
    end: u64,
    /// Where the program's stack pointer is kept.
    program_sp_slot: u64,
}

impl EngineStack {
    fn of(sp: u64) -> Option<EngineStack> {
        let base = POOL.base.load(Ordering::Relaxed) as u64;
        let stride = STRIDE as u64;
        let offset = sp.checked_sub(base).filter(|&offset| base != 0 && offset < STACKS as u64 * stride)?;
        let end = base + (offset / stride + 1) * stride;
        Some(EngineStack { end, program_sp_slot: program_sp_slot(end) })
    }
}

/// The program's stack pointer, if `sp` is on a stack of the engine.
pub(super) fn program_stack(sp: u64) -> Option<u64> {
    let program = read_word(EngineStack::of(sp)?.program_sp_slot)?;
    Some(program.wrapping_sub(SAVED_BELOW_PROGRAM_SP))
}
