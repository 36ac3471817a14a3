//! What a scan found.
#![forbid(unsafe_code)]

use super::ranges::{marked, marks_words};
use std::fmt;
use std::time::Duration;

/// A thread, or the main thread of a process, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub i32);

/// Why a thread was not inspected. It may hold everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It runs, and did not answer in time.
    NoAnswer,
    /// It runs and blocks all signals.
    SignalsBlocked,
    /// It runs, and there is no way to ask it: no signal or no timer could be had, or the program took the signal.
    CannotAsk {
        /// What the kernel said, 0 if it was not asked.
        errno: i32,
    },
    /// It was stopped, by a signal or a debugger, while it ran.
    Stopped,
    /// It sleeps in the kernel, but not in a system call: a page fault that takes long.
    Uninterruptible,
    /// It is on a stack that nobody knows of, and may have left others.
    UnknownStack,
    /// `/proc` could not be read.
    Hidden {
        /// What the kernel said.
        errno: i32,
    },
}

/// Why a scan that inspected every thread still cannot say that anything is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// A child runs on the memory of this process, and is none of its threads.
    SharedMemory {
        /// The thread that waits for the child, or the child; `None` if it is not known any more.
        who: Option<Tid>,
    },
    /// The program switches stacks by itself; those that it switched away from cannot be found.
    Coroutines,
    /// Threads came and went too quickly to list them.
    ThreadsUnstable,
    /// The scan was asked for by a child of `vfork`, whose parent's threads it cannot see, or was begun before a fork.
    NotThisProcess,
    /// Another scan is under way.
    Busy,
    /// The list of threads, or memory for the scan, could not be had.
    Refused {
        /// What the kernel said.
        errno: i32,
    },
}

/// How many threads were inspected in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Slept in a system call, and were read from outside.
    pub asleep: usize,
    /// Answered a signal.
    pub answered: usize,
    /// Ended meanwhile, or never run code of the process.
    pub without_code: usize,
    /// Times that threads were listed.
    pub lists: usize,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    held: Vec<u64>,
    /// Threads and the ranges that they hold, by index.
    pub holders: Vec<(Tid, usize)>,
    /// Threads that could not be inspected.
    pub uninspected: Vec<(Tid, Reason)>,
    /// What else stands against freeing anything.
    pub obstacles: Vec<Obstacle>,
    /// How long each thread that answered a signal was kept from its work, without the kernel's part of it.
    pub pauses: Vec<(Tid, Duration)>,
    /// How long the scan took.
    pub elapsed: Duration,
    /// How the threads were inspected.
    pub counts: Counts,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoAnswer => f.write_str("runs, and has not answered yet"),
            Reason::SignalsBlocked => f.write_str("runs, and blocks all signals"),
            Reason::CannotAsk { errno: 0 } => f.write_str("runs, and the signal to ask it is not to be had"),
            Reason::CannotAsk { errno } => write!(f, "runs, and there is no timer to ask it (error {errno})"),
            Reason::Stopped => f.write_str("was stopped while it ran"),
            Reason::Uninterruptible => f.write_str("waits in the kernel, outside a system call"),
            Reason::UnknownStack => f.write_str("is on a stack of its own making"),
            Reason::Hidden { errno } => write!(f, "cannot be looked at (error {errno})"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::SharedMemory { who: Some(who) } => write!(f, "a child runs on this memory ({})", who.0),
            Obstacle::SharedMemory { who: None } => f.write_str("a child runs on this memory"),
            Obstacle::Coroutines => f.write_str("the program switches stacks, and some cannot be found"),
            Obstacle::ThreadsUnstable => f.write_str("threads came and went too quickly"),
            Obstacle::NotThisProcess => f.write_str("the threads belong to another process"),
            Obstacle::Busy => f.write_str("another scan is under way"),
            Obstacle::Refused { errno } => write!(f, "threads cannot be listed (error {errno})"),
        }
    }
}

impl Report {
    pub(super) fn new(ranges: usize) -> Self {
        Self { held: vec![0; marks_words(ranges)], ..Self::default() }
    }

    /// Whether an inspected thread holds range `index`. If it does not, others may.
    #[must_use]
    pub fn is_held(&self, index: usize) -> bool {
        let bits = u64::BITS as usize;
        self.held.get(index / bits).is_some_and(|word| word >> (index % bits) & 1 != 0)
    }

    /// Whether every thread was inspected and nothing else stands against it, so that what is not held is free.
    #[must_use]
    pub fn is_conclusive(&self) -> bool {
        self.uninspected.is_empty() && self.obstacles.is_empty()
    }

    /// Whether nobody can be in range `index` any more.
    #[must_use]
    pub fn is_free(&self, index: usize) -> bool {
        self.is_conclusive() && !self.is_held(index)
    }

    /// The longest of the pauses.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.pauses.iter().map(|&(_, pause)| pause).max().unwrap_or_default()
    }

    /// Adds what thread `tid` holds.
    pub(super) fn add(&mut self, tid: Tid, marks: &[u64]) {
        for (held, marks) in self.held.iter_mut().zip(marks) {
            *held |= marks;
        }
        self.holders.extend(marked(marks).map(|index| (tid, index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_thread_holds_is_held() {
        let mut report = Report::new(70);
        report.add(Tid(1), &[0b101, 0]);
        report.add(Tid(2), &[0b100, 1 << 5]);
        assert_eq!(report.holders, [(Tid(1), 0), (Tid(1), 2), (Tid(2), 2), (Tid(2), 69)]);
        let held: Vec<usize> = (0..70).filter(|&index| report.is_held(index)).collect();
        assert_eq!(held, [0, 2, 69]);
        assert!(report.is_free(1) && !report.is_free(69));
    }

    #[test]
    fn nothing_is_free_while_a_thread_was_not_inspected() {
        let mut report = Report::new(1);
        assert!(report.is_free(0));
        report.uninspected.push((Tid(1), Reason::NoAnswer));
        assert!(!report.is_free(0) && !report.is_held(0));
        report.uninspected.clear();
        report.obstacles.push(Obstacle::Coroutines);
        assert!(!report.is_free(0));
    }
}
