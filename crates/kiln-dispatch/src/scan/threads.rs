//! All threads of a process, although they come and go while they are listed.
//!
//! The kernel walks its list of threads step by step. New ones are added at the end, so they are met; but when the one
//! it stands on ends, the walk ends too, and threads behind it are missing. So a listing counts only if all it lists
//! are alive *after* it: then it stood on none that ended, and it holds every thread there was when it began.
//!
//! Scanning ends with a listing that counts and holds only threads that had been inspected before it began. A thread
//! that was born later has a parent that had been inspected, and got from it nothing that the parent did not have.
#![forbid(unsafe_code)]

use super::Tid;
use std::collections::BTreeSet;

/// Where threads can be asked for.
pub(super) trait Threads {
    /// Why it cannot say.
    type Error;

    /// Lists threads into `found`.
    fn list(&mut self, found: &mut Vec<Tid>) -> Result<(), Self::Error>;

    /// Whether the thread has not ended.
    fn is_alive(&mut self, tid: Tid) -> bool;
}

/// The threads met so far.
#[derive(Debug, Default)]
pub(super) struct Roster {
    known: BTreeSet<Tid>,
}

/// What one listing brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// These have not been met before.
    New(Vec<Tid>),
    /// No new ones, but some may be missing: list again.
    Doubtful,
    /// No new ones, and none is missing.
    Complete,
}

impl Roster {
    /// Lists once.
    pub(super) fn pass<T: Threads>(&mut self, threads: &mut T) -> Result<Pass, T::Error> {
        let mut listed = Vec::new();
        threads.list(&mut listed)?;
        let new: Vec<Tid> = listed.iter().copied().filter(|tid| !self.known.contains(tid)).collect();
        if !new.is_empty() {
            self.known.extend(&new);
            return Ok(Pass::New(new));
        }
        if !listed.iter().all(|&tid| threads.is_alive(tid)) {
            // Numbers of threads that ended may be given to others.
            let (known, threads) = (&mut self.known, threads);
            known.retain(|&tid| threads.is_alive(tid));
            return Ok(Pass::Doubtful);
        }
        Ok(Pass::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each listing is what was lined up, each with those that are alive afterwards.
    struct Script(Vec<(Vec<i32>, Vec<i32>)>, BTreeSet<i32>);

    impl Threads for Script {
        type Error = ();

        fn list(&mut self, found: &mut Vec<Tid>) -> Result<(), ()> {
            if self.0.is_empty() {
                return Err(());
            }
            let (listed, alive) = self.0.remove(0);
            found.extend(listed.into_iter().map(Tid));
            self.1 = alive.into_iter().collect();
            Ok(())
        }

        fn is_alive(&mut self, tid: Tid) -> bool {
            self.1.contains(&tid.0)
        }
    }

    fn passes(script: &[(&[i32], &[i32])]) -> Vec<Pass> {
        let script = script.iter().map(|(listed, alive)| (listed.to_vec(), alive.to_vec())).collect();
        let mut script = Script(script, BTreeSet::new());
        let mut roster = Roster::default();
        std::iter::from_fn(|| roster.pass(&mut script).ok()).collect()
    }

    fn new(tids: &[i32]) -> Pass {
        Pass::New(tids.iter().copied().map(Tid).collect())
    }

    #[test]
    fn trap_14_lists_until_nothing_new_appears() {
        let all: &[i32] = &[1, 2, 3];
        assert_eq!(passes(&[(&[1, 2], &[1, 2]), (all, all), (all, all)]), [new(&[1, 2]), new(&[3]), Pass::Complete]);
    }

    /// Thread 2 ended while the kernel stood on it: thread 3 is missing and turns up later.
    #[test]
    fn trap_14_a_listing_that_was_cut_short_does_not_count() {
        assert_eq!(
            passes(&[(&[1, 2], &[1, 2, 3]), (&[1, 2], &[1, 3]), (&[1, 3], &[1, 3]), (&[1, 3], &[1, 3])]),
            [new(&[1, 2]), Pass::Doubtful, new(&[3]), Pass::Complete]
        );
    }

    /// The number of a thread that ended comes back: that is another thread.
    #[test]
    fn a_number_that_was_given_again_is_a_new_thread() {
        assert_eq!(
            passes(&[(&[1, 2], &[1, 2]), (&[1, 2], &[1]), (&[1, 2], &[1, 2]), (&[1, 2], &[1, 2])]),
            [new(&[1, 2]), Pass::Doubtful, new(&[2]), Pass::Complete]
        );
    }
}
