//! Freeing old code: when, and how the program's threads are looked at.
//!
//! Nobody waits for it: a look at all threads that is not complete is gone on with by whoever comes next, at most every
//! [`INTERVAL`]. Only [`Engine::reclaim`] and [`Redefined::pending`](crate::Redefined::pending) see it through.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_abi::ExecutorAddr;
use kiln_dispatch::scan::{self, Ranges, Report, Scan};
use kiln_dispatch::{Found, Reclaimed, Reclaiming, RetiredVersion};

use crate::engine::{Engine, Inner};
use crate::process::signals::Blocked;
use crate::replace::Pending;

/// Shortest time between two looks at threads that have not answered.
const INTERVAL: Duration = Duration::from_millis(1);
/// How long threads that run are given to answer.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is going on.
#[derive(Default)]
pub(crate) enum Reclamation {
    /// Nothing.
    #[default]
    Idle,
    /// All threads are being looked at; nobody waits for it.
    Looking(Box<Looking>),
    /// A thread is at it.
    Taken,
}

/// A look at all threads.
pub(crate) struct Looking {
    reclaiming: Reclaiming,
    scan: Scan<Ranges>,
    since: Instant,
    next: Instant,
}

impl Engine {
    /// Frees all retired code that no thread is in, and says who is in the rest. Waits up to 100 ms for threads that run. It
    /// happens by itself, without waiting, when much has been retired.
    pub fn reclaim(&self) -> Reclaimed {
        let entry = 0u8;
        let _blocked = Blocked::all();
        self.inner().reclaim_all(Some(frame_of(&entry)))
    }
}

/// Where the caller's part of this thread's stack begins, given a variable of the function that the client called: frames
/// below it are the engine's, which know old code as data.
pub(crate) fn frame_of(variable: &u8) -> ExecutorAddr {
    ExecutorAddr::new(std::ptr::from_ref(variable).addr() as u64)
}

impl Inner {
    pub(crate) fn reclamation(&self) -> MutexGuard<'_, Reclamation> {
        self.reclamation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with freeing retired code, or begins once there is enough of it to make up for looking at all threads.
    /// `from` as for [`frame_of`]; `None` on a stack of the engine.
    #[inline(never)]
    pub(crate) fn reclaim_if_much(&self, from: Option<ExecutorAddr>) {
        if self.options.reclaim_bytes == 0 {
            if self.versions().retired_bytes() > 0 {
                self.reclaim_all(from);
            }
            return;
        }
        let mut slot = self.reclamation();
        let looking = match std::mem::replace(&mut *slot, Reclamation::Taken) {
            Reclamation::Taken => return,
            Reclamation::Looking(looking) if Instant::now() >= looking.next => Some(looking),
            // Relaxed: a hint.
            Reclamation::Idle if self.versions().retired_bytes() >= self.reclaim_at.load(Ordering::Relaxed) => None,
            other => {
                *slot = other;
                return;
            }
        };
        drop(slot);
        let rest = looking.or_else(|| self.begin()).map_or(Reclamation::Idle, |looking| self.go_on(looking, from));
        *self.reclamation() = rest;
    }

    /// Inspects what can be inspected now.
    fn go_on(&self, mut looking: Box<Looking>, from: Option<ExecutorAddr>) -> Reclamation {
        if looking.scan.poll(from) || looking.since.elapsed() >= PATIENCE {
            self.finish(*looking);
            return Reclamation::Idle;
        }
        looking.next = Instant::now() + INTERVAL;
        Reclamation::Looking(looking)
    }

    #[inline(never)]
    pub(crate) fn reclaim_all(&self, from: Option<ExecutorAddr>) -> Reclaimed {
        let turn = self.take_turn(from);
        let mut result = Reclaimed::default();
        if let Some(mut looking) = self.begin() {
            looking.scan.run(&scan::Options { patience: PATIENCE, own_stack_from: from });
            result = self.finish(*looking);
        }
        result.units += turn.freed.units;
        result.bytes += turn.freed.bytes;
        result
    }

    /// Sees the look through that is under way, and keeps others from beginning one.
    fn take_turn(&self, from: Option<ExecutorAddr>) -> ScanTurn<'_> {
        let mut pause = Duration::from_micros(20);
        loop {
            // Not in the `match` itself, which would keep the lock to its end, and others would wait.
            let was = std::mem::replace(&mut *self.reclamation(), Reclamation::Taken);
            match was {
                Reclamation::Idle => return ScanTurn { inner: self, freed: Reclaimed::default() },
                Reclamation::Looking(mut looking) => {
                    let patience = PATIENCE.saturating_sub(looking.since.elapsed());
                    looking.scan.run(&scan::Options { patience, own_stack_from: from });
                    return ScanTurn { inner: self, freed: self.finish(*looking) };
                }
                Reclamation::Taken => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(INTERVAL);
                }
            }
        }
    }

    fn begin(&self) -> Option<Box<Looking>> {
        let reclaiming = self.versions().begin_reclaim()?;
        let scan = Scan::begin(ranges_of(reclaiming.ranges()));
        let now = Instant::now();
        Some(Box::new(Looking { reclaiming, scan, since: now, next: now }))
    }

    fn finish(&self, looking: Looking) -> Reclaimed {
        let Looking { reclaiming, scan, .. } = looking;
        let report = scan.finish();
        let found = Found {
            held: reclaiming.ranges().enumerate().map(|(at, _)| !report.is_free(at)).collect(),
            holders: report.holders.iter().map(|(thread, range)| (thread.0.cast_unsigned(), *range)).collect(),
            obstacles: obstacles(&report),
        };
        let reclaimed = self.versions().finish_reclaim(reclaiming, found, |body| self.code.lock().remove(body));
        // What is held now need not be looked at again for every version that retires.
        let left = self.versions().retired_bytes();
        self.reclaim_at.store(left + self.options.reclaim_threshold(), Ordering::Relaxed);
        *self.last_reclaimed() = reclaimed.clone();
        reclaimed
    }

    /// What the last look at all threads came to.
    pub(crate) fn last_reclaimed(&self) -> MutexGuard<'_, Reclaimed> {
        self.last_reclaimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is inside any of `retired`; `from` as for [`frame_of`].
    #[inline(never)]
    pub(crate) fn pending(&self, retired: &[RetiredVersion], from: ExecutorAddr) -> Vec<Pending> {
        let _blocked = Blocked::all();
        let turn = self.take_turn(Some(from));
        // Nothing is freed from here on: it takes a turn.
        let mut sorted = self.versions().not_freed(retired);
        sorted.retain(|version| version.bytes > 0);
        if sorted.is_empty() {
            return Vec::new();
        }
        sorted.sort_unstable_by_key(|version| version.start);
        let ranges = ranges_of(sorted.iter().map(|v| v.start.get()..v.start.get() + v.bytes));
        let report = scan::scan(&ranges, &scan::Options { patience: PATIENCE, own_stack_from: Some(from) });
        drop(turn);
        let seen = report.holders.iter().map(|(thread, at)| (Some(*thread), *at, true));
        let everything = |thread| (0..sorted.len()).map(move |at| (thread, at, false));
        let unseen = report.uninspected.iter().flat_map(|(thread, _)| everything(Some(*thread)));
        let unknown = report.obstacles.first().into_iter().flat_map(|_| everything(None));
        let mut pending: Vec<_> = seen
            .chain(unseen)
            .chain(unknown)
            .map(|(thread, at, seen)| Pending {
                thread: thread.map(|thread| thread.0.cast_unsigned()),
                function: self.name_of(sorted[at].function),
                number: sorted[at].number,
                seen,
            })
            .collect();
        pending.dedup();
        pending
    }
}

/// The right to look at all threads.
struct ScanTurn<'e> {
    inner: &'e Inner,
    /// By the look that was under way.
    freed: Reclaimed,
}

impl Drop for ScanTurn<'_> {
    fn drop(&mut self) {
        *self.inner.reclamation() = Reclamation::Idle;
    }
}

fn ranges_of(ranges: impl Iterator<Item = Range<u64>>) -> Ranges {
    let addresses = ranges.map(|range| ExecutorAddr::new(range.start)..ExecutorAddr::new(range.end));
    Ranges::new(addresses).unwrap_or_else(|error| panic!("live code overlaps: {error}"))
}

/// Why nothing is free, in words.
fn obstacles(report: &Report) -> Vec<String> {
    let threads = report.uninspected.iter().map(|(thread, reason)| format!("thread {} {reason}", thread.0));
    threads.chain(report.obstacles.iter().map(ToString::to_string)).collect()
}
