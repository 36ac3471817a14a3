//! Asking a running thread: a signal whose handler looks at the thread's own registers and stack.
//!
//! The signal comes from a timer on the thread's own processor time. Such a timer expires at a clock tick that finds the
//! thread running, and Linux (since 5.9 on x86) sends the signal not from the tick but from the thread's way back to
//! its program (`CONFIG_POSIX_CPU_TIMERS_TASK_WORK`). So a system call that the thread makes meanwhile is never cut
//! short: while it sleeps no time passes for the timer. A signal sent by `tgkill` would not wait for the way back.
//!
//! A **cell** is the agreement between one scan and one thread:
//!
//! | phase | next | who | who may touch the cell's part of the snapshot |
//! | --- | --- | --- | --- |
//! | free | armed | the scan | nobody |
//! | armed | answering | the handler | nobody |
//! | armed | free | the scan, which gives up or can look itself | nobody |
//! | answering | answered | the handler | the handler |
//! | answered | free | the scan; if it has ended, the next one that asks | the scan |
//!
//! The phase shares its word with the request's number, and the handler is handed that number: a signal that comes
//! too late finds another one. A thread may be stopped in the handler for as long as a debugger likes, so the scan
//! does not wait for it but leaves it the **snapshot**, memory that holds what the handler reads and writes. The last
//! user unmaps it.

use super::control::{CELLS, Control, existing};
use super::ranges::{Bounds, Finder, Ranges, marks_words};
use super::stacks::{Ends, Search, Stack};
use super::sys::{self, Errno, KeepErrno, RunTimer};
use super::{Tid, host, x86_64};
use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Words of a stack that a handler copies at a time.
const BUFFER_WORDS: usize = 1024;

/// Agreement between a scan and a thread; zero is a free one.
#[repr(C)]
pub(super) struct Cell {
    /// The request's number, and in the lowest bits the phase.
    state: AtomicU64,
    snapshot: AtomicPtr<Snapshot>,
    /// How long the handler took.
    nanoseconds: AtomicU64,
    /// Which stack the thread was on, by its place in [`STACKS`].
    stack: AtomicU32,
}

const STACKS: [Stack; 3] = [Stack::Known, Stack::Other, Stack::None];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    Armed,
    Answering,
    Answered,
}

const PHASE_BITS: u32 = 2;

fn state(request: u64, phase: Phase) -> u64 {
    request << PHASE_BITS | phase as u64
}

fn has_phase(state: u64, phase: Phase) -> bool {
    state & ((1 << PHASE_BITS) - 1) == phase as u64
}

impl Cell {
    /// Frees the cell if it holds an answer to an earlier scan. Before this scan asks: then none is meant for it.
    fn forget_late_answer(&self) {
        // Acquire: partner of the Release in `answer`; the handler is done with the cell.
        let state = self.state.load(Ordering::Acquire);
        if has_phase(state, Phase::Answered) {
            self.state.store(state & !((1 << PHASE_BITS) - 1) | Phase::Free as u64, Ordering::Relaxed);
        }
    }
}

/// What handlers read and write: ranges, and for each cell a bit map and a buffer, all behind this header.
#[repr(C, align(64))]
struct Snapshot {
    /// The scan, armed cells, and handlers.
    users: AtomicUsize,
    bytes: usize,
    ranges: usize,
}

impl Snapshot {
    fn new(ranges: &Ranges) -> Result<NonNull<Snapshot>, Errno> {
        let sorted = ranges.sorted();
        let per_cell = (marks_words(sorted.len()) + BUFFER_WORDS) * size_of::<u64>();
        let bytes = size_of::<Snapshot>() + size_of_val(sorted) + CELLS * per_cell;
        let memory = sys::map(bytes)?;
        // SAFETY: a child has no handler that would use it, and no scan.
        let kept = unsafe { sys::keep_from_children(memory, bytes) };
        debug_assert!(kept.is_ok(), "a child keeps memory that it does not need");
        let snapshot: *mut Snapshot = memory.cast();
        // SAFETY: new memory, large enough for the header and, behind it, the ranges.
        unsafe {
            snapshot.write(Snapshot { users: AtomicUsize::new(1), bytes, ranges: sorted.len() });
            snapshot.add(1).cast::<Bounds>().copy_from_nonoverlapping(sorted.as_ptr(), sorted.len());
        }
        Ok(NonNull::new(snapshot).expect("the kernel never maps at 0 unasked"))
    }

    /// # Safety
    ///
    /// The snapshot is in use by the caller.
    unsafe fn bounds<'a>(this: NonNull<Snapshot>) -> &'a [Bounds] {
        // SAFETY: `new` put them behind the header, and nobody writes there.
        unsafe { std::slice::from_raw_parts(this.add(1).cast().as_ptr(), this.as_ref().ranges) }
    }

    /// The bit map and the buffer of a cell.
    ///
    /// # Safety
    ///
    /// The snapshot is in use by the caller, who may touch this cell's part by the table at the head of this file.
    unsafe fn part<'a>(this: NonNull<Snapshot>, cell: usize) -> (&'a mut [u64], &'a mut [u64]) {
        // SAFETY: `new` made room for `CELLS` parts behind the ranges, zeroed, which is what a new bit map must be.
        unsafe {
            let marks = marks_words(this.as_ref().ranges);
            let parts = this.add(1).cast::<Bounds>().add(this.as_ref().ranges).cast::<u64>();
            let part = parts.add(cell * (marks + BUFFER_WORDS));
            (
                std::slice::from_raw_parts_mut(part.as_ptr(), marks),
                std::slice::from_raw_parts_mut(part.add(marks).as_ptr(), BUFFER_WORDS),
            )
        }
    }

    /// # Safety
    ///
    /// The caller is a user, and is not one afterwards.
    unsafe fn leave(this: NonNull<Snapshot>) {
        // SAFETY: still in use by the caller.
        let header = unsafe { this.as_ref() };
        let bytes = header.bytes;
        // Release: what this user did comes before the unmapping; Acquire: what others did does too.
        if header.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: the last user.
            unsafe { sys::unmap(this.as_ptr().cast(), bytes) };
        }
    }
}

/// Cell and request, as they travel through the kernel with the signal.
fn ticket(cell: usize, request: u64) -> usize {
    const { assert!(CELLS <= 256) };
    (request << 8) as usize | cell
}

/// The handler: finds its cell and answers.
pub(super) extern "C" fn answer(_: c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let _errno = KeepErrno::new();
    // SAFETY: the kernel hands a handler with SA_SIGINFO a valid `siginfo_t` and a valid `ucontext_t`.
    let (info, context) = unsafe { (&*info, &*context.cast::<libc::ucontext_t>()) };
    if info.si_code != libc::SI_TIMER {
        host::pass_on();
        return;
    }
    // SAFETY: signals of timers carry a value.
    let ticket = unsafe { info.si_value() }.sival_ptr.addr();
    let (index, request) = (ticket & 0xff, ticket as u64 >> 8);
    let Some(cell) = existing().and_then(|control| control.cells.get(index)) else { return };
    // Acquire: partner of the Release in `arm`. If the scan withdraws first, this fails; if this comes first, the
    // scan's withdrawal fails and it leaves us the snapshot.
    let (armed, answering) = (state(request, Phase::Armed), state(request, Phase::Answering));
    if cell.state.compare_exchange(armed, answering, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return;
    }
    let begin = sys::now();
    let snapshot = NonNull::new(cell.snapshot.load(Ordering::Relaxed)).expect("an armed cell has a snapshot");
    // SAFETY: the armed cell was a user of the snapshot, and this handler has taken its place.
    let (finder, (marks, buffer)) =
        unsafe { (Finder::new(Snapshot::bounds(snapshot)), Snapshot::part(snapshot, index)) };
    let mut search = Search { finder, marks, buffer, restorer: host::restorer() };
    search.words(&x86_64::registers(context));
    // Not the thread pointer: a thread made by `clone` may have its maker's.
    let ends = Ends { control_block: sys::robust_list(Tid(0)), main: host::main_stack_end() };
    let stack = search.stacks(x86_64::stack_pointer(context), ends);
    cell.stack.store(stack as u32, Ordering::Relaxed);
    cell.nanoseconds.store(sys::now().saturating_sub(begin).as_nanos() as u64, Ordering::Relaxed);
    // Release: partner of the Acquire in `answer_to`; the scan sees the marks and the words above.
    cell.state.store(state(request, Phase::Answered), Ordering::Release);
    if let Some(control) = existing() {
        control.answers.fetch_add(1, Ordering::Release);
        crate::sys::futex_wake_all(&control.answers);
    }
    // SAFETY: the place of a user that was taken above.
    unsafe { Snapshot::leave(snapshot) };
}

/// What one scan asks of running threads.
pub(super) struct Questions {
    control: &'static Control,
    signal: c_int,
    snapshot: NonNull<Snapshot>,
}

// SAFETY: the snapshot is memory of the process, not of a thread: whoever has the value is its user, and what others may
// do with it is in the table at the head of this file.
unsafe impl Send for Questions {}

/// A thread that was asked.
pub(super) struct Request {
    cell: usize,
    number: u64,
    /// Before it is gone, the thread may be signalled.
    _timer: RunTimer,
}

/// What a thread found in its registers and on its stacks.
pub(super) struct Answer<'a> {
    pub(super) marks: &'a [u64],
    pub(super) stack: Stack,
    pub(super) pause: Duration,
}

/// Why a thread could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// As many as can be are being asked.
    Full,
    /// No timer could be made, for instance because the thread has ended.
    Timer(Errno),
}

impl Questions {
    /// Questions about `ranges`, by signal `signal`. The caller has the turn.
    pub(super) fn new(control: &'static Control, signal: c_int, ranges: &Ranges) -> Result<Self, Errno> {
        control.cells.iter().for_each(Cell::forget_late_answer);
        Ok(Self { control, signal, snapshot: Snapshot::new(ranges)? })
    }

    /// Has thread `tid` answer when it runs.
    pub(super) fn ask(&self, tid: Tid) -> Result<Request, Refusal> {
        // Only who has the turn arms cells.
        let is_free = |cell: &Cell| has_phase(cell.state.load(Ordering::Acquire), Phase::Free);
        let cell = self.control.cells.iter().position(is_free).ok_or(Refusal::Full)?;
        let number = self.control.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.arm(cell, number);
        match RunTimer::start(tid, self.signal, ticket(cell, number)) {
            Ok(timer) => Ok(Request { cell, number, _timer: timer }),
            Err(errno) => {
                self.disarm(cell, number);
                Err(Refusal::Timer(errno))
            }
        }
    }

    fn arm(&self, cell: usize, number: u64) {
        // SAFETY: this scan is a user until it is dropped, and the cell's part is nobody's while it is not armed. It
        // may have been used by an earlier request of this scan.
        let (marks, _) = unsafe { Snapshot::part(self.snapshot, cell) };
        marks.fill(0);
        // SAFETY: as above. Relaxed: the scan is a user, so the count is not zero.
        unsafe { self.snapshot.as_ref() }.users.fetch_add(1, Ordering::Relaxed);
        let cell = &self.control.cells[cell];
        cell.snapshot.store(self.snapshot.as_ptr(), Ordering::Relaxed);
        // Release: partner of the Acquire in `answer`; the handler finds the snapshot complete.
        cell.state.store(state(number, Phase::Armed), Ordering::Release);
    }

    /// Takes a question back; whether the thread had not begun to answer it.
    fn disarm(&self, cell: usize, number: u64) -> bool {
        let (armed, free) = (state(number, Phase::Armed), state(number, Phase::Free));
        let changed =
            self.control.cells[cell].state.compare_exchange(armed, free, Ordering::Relaxed, Ordering::Relaxed);
        if changed.is_ok() {
            // SAFETY: the armed cell's place, which no handler has taken.
            unsafe { Snapshot::leave(self.snapshot) };
        }
        changed.is_ok()
    }

    /// Takes a question back, or, if the thread is answering, lets it answer to nobody.
    pub(super) fn withdraw(&self, request: Request) {
        self.disarm(request.cell, request.number);
    }

    /// The answer, if there is one. It has to be given to [`done`](Self::done).
    pub(super) fn answer_to(&self, request: &Request) -> Option<Answer<'_>> {
        let cell = &self.control.cells[request.cell];
        // Acquire: partner of the Release in `answer`.
        if cell.state.load(Ordering::Acquire) != state(request.number, Phase::Answered) {
            return None;
        }
        // SAFETY: the cell's part is the scan's once it is answered; nobody arms it before `done`.
        let (marks, _) = unsafe { Snapshot::part(self.snapshot, request.cell) };
        Some(Answer {
            marks,
            stack: STACKS[cell.stack.load(Ordering::Relaxed) as usize],
            pause: Duration::from_nanos(cell.nanoseconds.load(Ordering::Relaxed)),
        })
    }

    /// Ends a request that was answered.
    pub(super) fn done(&self, request: Request) {
        self.control.cells[request.cell].state.store(state(request.number, Phase::Free), Ordering::Relaxed);
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        // SAFETY: the scan's own place.
        unsafe { Snapshot::leave(self.snapshot) };
    }
}
