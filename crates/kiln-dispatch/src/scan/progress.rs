//! A scan under way.

use super::control::{Turn, control};
use super::outside::{self, Seen};
use super::ranges::{Finder, Ranges, marks_words};
use super::report::{Obstacle, Reason, Report, Tid};
use super::signal::{Questions, Refusal, Request};
use super::stacks::{Ends, Search, Stack, program_stack};
use super::sys::{self, Errno, File, KeepErrno, SignalsBlocked};
use super::threads::{Pass, Roster, Threads};
use super::{host, note_coroutines, prepare, procfs, reserved_signal, x86_64};
use kiln_abi::ExecutorAddr;
use std::borrow::Borrow;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A scan that does not wait: running threads that were asked answer while the caller does other work.
///
/// One at a time; another that begins meanwhile says [`Obstacle::Busy`]. It may be continued by any thread. In the child
/// of a fork it is as good as dropped.
pub struct Scan<R: Borrow<Ranges>> {
    ranges: R,
    begin: Duration,
    process: i32,
    report: Report,
    roster: Roster,
    /// Threads that were met and not inspected yet.
    waiting: Vec<Waiting>,
    listed: bool,
    marks: Vec<u64>,
    buffer: Vec<u64>,
    questions: Option<Questions>,
    /// `None` if the scan cannot be.
    turn: Option<Turn>,
}

/// A thread that has not been inspected yet.
struct Waiting {
    tid: Tid,
    request: Option<Request>,
    /// Why not.
    reason: Reason,
}

/// The thread that continues the scan.
#[derive(Clone, Copy)]
pub(super) struct Own {
    sp: u64,
    registers: [u64; 6],
}

impl Own {
    #[inline(always)]
    pub(super) fn here(own_stack_from: Option<ExecutorAddr>) -> Own {
        let (sp, registers) = x86_64::callee_saved();
        // What calls the engine has left its return address above the boundary, as what calls the kernel has.
        let boundary = own_stack_from.map(ExecutorAddr::get).or_else(|| program_stack(sp));
        boundary.map_or(Own { sp, registers }, |sp| Own { sp, registers: [0; 6] })
    }
}

/// Lists after which threads are given up on.
const MAX_LISTS: usize = 256;

/// Words of a stack that are copied at a time.
const BUFFER_WORDS: usize = 2048;

impl<R: Borrow<Ranges>> Scan<R> {
    /// Begins to look for threads that may be in `ranges`; see [`scan`](super::scan) for what must be true of them.
    #[must_use]
    pub fn begin(ranges: R) -> Self {
        let _errno = KeepErrno::new();
        let _blocked = SignalsBlocked::new();
        let begin = sys::now();
        // Without a signal, running threads are reported; nothing else changes.
        let _ = prepare();
        let count = ranges.borrow().len();
        let process = sys::process();
        let mut report = Report::new(count);
        let turn =
            match control().map_err(|errno| Obstacle::Refused { errno }).and_then(|control| control.turn(process)) {
                Ok(turn) => Some(turn),
                Err(obstacle) => {
                    report.obstacles.push(obstacle);
                    None
                }
            };
        Self {
            ranges,
            begin,
            process,
            report,
            roster: Roster::default(),
            waiting: Vec::new(),
            listed: false,
            marks: vec![0; marks_words(count)],
            buffer: vec![0; BUFFER_WORDS],
            questions: None,
            turn,
        }
    }

    /// Inspects what can be inspected now; whether the scan is complete.
    ///
    /// `own_stack_from`: as in [`Options`](super::Options), of the calling thread.
    #[inline(never)]
    pub fn poll(&mut self, own_stack_from: Option<ExecutorAddr>) -> bool {
        let own = Own::here(own_stack_from);
        self.advance(own)
    }

    /// Inspects all that can be inspected, and waits up to `options.patience` for threads that run.
    #[inline(never)]
    pub fn run(&mut self, options: &super::Options) {
        let own = Own::here(options.own_stack_from);
        self.complete(own, options.patience);
    }

    pub(super) fn complete(&mut self, own: Own, patience: Duration) {
        let _errno = KeepErrno::new();
        let deadline = sys::now() + patience;
        let mut pause = Duration::from_micros(50);
        loop {
            let answers = self.answers();
            if self.advance(own) || sys::now() >= deadline {
                return;
            }
            self.wait(answers, pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
    }

    /// The ranges it is about.
    pub fn ranges(&self) -> &Ranges {
        self.ranges.borrow()
    }

    fn advance(&mut self, own: Own) -> bool {
        let _errno = KeepErrno::new();
        let _blocked = SignalsBlocked::new();
        if self.turn.is_none() || self.process != sys::process() {
            return true;
        }
        let own_tid = sys::thread();
        loop {
            let mut waiting = std::mem::take(&mut self.waiting);
            waiting.retain_mut(|thread| !self.is_settled(thread, own_tid, own));
            self.waiting = waiting;
            if !self.waiting.is_empty() {
                return false;
            }
            match self.list(own_tid) {
                Ok(true) => return true,
                Ok(false) => {}
                Err(obstacle) => {
                    self.report.obstacles.push(obstacle);
                    return true;
                }
            }
        }
    }

    /// Looks for threads that have not been met; whether there are none.
    fn list(&mut self, own: Tid) -> Result<bool, Obstacle> {
        self.report.counts.lists += 1;
        if self.report.counts.lists > MAX_LISTS {
            return Err(Obstacle::ThreadsUnstable);
        }
        match self.roster.pass(&mut OwnThreads(own)).map_err(|errno| Obstacle::Refused { errno })? {
            Pass::Complete => self.listed = true,
            Pass::Doubtful => {}
            Pass::New(tids) => {
                self.waiting.extend(tids.into_iter().map(|tid| Waiting {
                    tid,
                    request: None,
                    reason: Reason::NoAnswer,
                }));
            }
        }
        Ok(self.listed)
    }

    /// A number that changes when a thread answers.
    fn answers(&self) -> u32 {
        self.turn.as_ref().map_or(0, |turn| turn.control().answers.load(Ordering::Acquire))
    }

    /// Sleeps until a thread answers after [`answers`](Self::answers) returned `answers`, at most for `limit`.
    fn wait(&self, answers: u32, limit: Duration) {
        if let Some(turn) = &self.turn {
            let _blocked = SignalsBlocked::new();
            sys::futex_wait(&turn.control().answers, answers, limit);
        }
    }

    /// Ends the scan. Threads that were not inspected are reported.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let _errno = KeepErrno::new();
        let _blocked = SignalsBlocked::new();
        if self.process == sys::process() {
            self.give_up();
        } else {
            self.report.obstacles.push(Obstacle::NotThisProcess);
        }
        self.report.elapsed = sys::now().saturating_sub(self.begin);
        std::mem::take(&mut self.report)
    }

    fn give_up(&mut self) {
        for mut thread in std::mem::take(&mut self.waiting) {
            if !self.take_answer(&mut thread) {
                self.withdraw(&mut thread);
                self.report.uninspected.push((thread.tid, thread.reason));
            }
        }
        if !self.listed && self.report.is_conclusive() {
            self.report.obstacles.push(Obstacle::ThreadsUnstable);
        }
        // At the end: a child that was made after its maker was inspected has nothing that its maker had not.
        if let Some(who) = self.turn.as_ref().and_then(|turn| turn.control().sharing_child()) {
            self.report.obstacles.push(Obstacle::SharedMemory { who });
        }
        if host::has_coroutines() {
            self.report.obstacles.push(Obstacle::Coroutines);
        }
    }

    fn search(&mut self) -> Search<'_> {
        Search {
            finder: Finder::new(self.ranges.borrow().sorted()),
            marks: &mut self.marks,
            buffer: &mut self.buffer,
            restorer: host::restorer(),
        }
    }

    fn look_at_self(&mut self, tid: Tid, own: Own) {
        self.marks.fill(0);
        let mut search = self.search();
        search.words(&own.registers);
        let ends = Ends { control_block: x86_64::thread_pointer(), main: host::main_stack_end() };
        let stack = search.own_stacks(own.sp, ends);
        self.inspected(tid, stack);
    }

    /// Adds the marks of a thread.
    fn inspected(&mut self, tid: Tid, stack: Stack) {
        self.report.add(tid, &self.marks);
        self.judge(tid, stack);
    }

    fn judge(&mut self, tid: Tid, stack: Stack) {
        if stack == Stack::Other {
            note_coroutines();
        }
        if stack != Stack::Known {
            self.report.uninspected.push((tid, Reason::UnknownStack));
        }
    }

    /// Tries to inspect a thread; whether nothing is left to be done.
    fn is_settled(&mut self, thread: &mut Waiting, own_tid: Tid, own: Own) -> bool {
        if self.take_answer(thread) {
            return true;
        }
        if thread.tid == own_tid {
            self.withdraw(thread);
            self.look_at_self(own_tid, own);
            return true;
        }
        let seen = outside::look(thread.tid, &mut self.search());
        let reason = match seen {
            // At the start of its life. Later, it is one that libc does not know.
            Seen::All { stack: Stack::None, .. } => Reason::UnknownStack,
            Seen::All { stack, waits_for_vfork } => {
                self.report.counts.asleep += 1;
                self.inspected(thread.tid, stack);
                if waits_for_vfork {
                    self.report.obstacles.push(Obstacle::SharedMemory { who: Some(thread.tid) });
                }
                self.withdraw(thread);
                return true;
            }
            Seen::Nothing => {
                self.report.counts.without_code += 1;
                self.withdraw(thread);
                return true;
            }
            Seen::Running => self.ask(thread),
            Seen::Stopped => Reason::Stopped,
            Seen::Elsewhere => Reason::Uninterruptible,
            Seen::Hidden(errno) => Reason::Hidden { errno },
        };
        thread.reason = reason;
        false
    }

    fn take_answer(&mut self, thread: &mut Waiting) -> bool {
        let Some((questions, request)) = self.questions.as_ref().zip(thread.request.as_ref()) else { return false };
        let Some(answer) = questions.answer_to(request) else { return false };
        let stack = answer.stack;
        if stack != Stack::None {
            self.report.add(thread.tid, answer.marks);
            self.report.pauses.push((thread.tid, answer.pause));
            self.report.counts.answered += 1;
        }
        if let Some(request) = thread.request.take() {
            questions.done(request);
        }
        if stack == Stack::None {
            thread.reason = Reason::UnknownStack;
            return false;
        }
        self.judge(thread.tid, stack);
        true
    }

    /// Asks a running thread, unless that was done; why it is not inspected as long as it has not answered.
    fn ask(&mut self, thread: &mut Waiting) -> Reason {
        if thread.request.is_some() {
            return Reason::NoAnswer;
        }
        let Some(signal) = reserved_signal().filter(|&number| host::is_handled(number)) else {
            return Reason::CannotAsk { errno: 0 };
        };
        if outside::blocks(thread.tid, signal) {
            return Reason::SignalsBlocked;
        }
        let Some(control) = self.turn.as_ref().map(Turn::control) else { return Reason::NoAnswer };
        let questions = match &self.questions {
            Some(questions) => questions,
            None => match Questions::new(control, signal, self.ranges.borrow()) {
                Ok(questions) => self.questions.insert(questions),
                Err(errno) => return Reason::CannotAsk { errno },
            },
        };
        match questions.ask(thread.tid) {
            Ok(request) => thread.request = Some(request),
            Err(Refusal::Full) => {}
            Err(Refusal::Timer(errno)) => return Reason::CannotAsk { errno },
        }
        Reason::NoAnswer
    }

    fn withdraw(&self, thread: &mut Waiting) {
        if let Some((questions, request)) = self.questions.as_ref().zip(thread.request.take()) {
            questions.withdraw(request);
        }
    }
}

impl<R: Borrow<Ranges>> Drop for Scan<R> {
    fn drop(&mut self) {
        if self.process != sys::process() {
            // The parent's: its timers, its memory and its turn do not exist here.
            self.waiting.drain(..).filter_map(|thread| thread.request).for_each(std::mem::forget);
            std::mem::forget(self.questions.take());
            std::mem::forget(self.turn.take());
            return;
        }
        for mut thread in std::mem::take(&mut self.waiting) {
            self.withdraw(&mut thread);
        }
    }
}

/// The threads of this process.
struct OwnThreads(Tid);

impl Threads for OwnThreads {
    type Error = Errno;

    fn list(&mut self, found: &mut Vec<Tid>) -> Result<(), Errno> {
        let folder = File::threads()?;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let entries = folder.read_entries(&mut buffer)?;
            if entries.is_empty() {
                break;
            }
            found.extend(procfs::thread_numbers(entries).map(Tid));
        }
        // A folder without the caller is another one: the program closed our descriptor and opened its own.
        if found.contains(&self.0) { Ok(()) } else { Err(libc::EBADF) }
    }

    fn is_alive(&mut self, tid: Tid) -> bool {
        sys::is_alive(tid)
    }
}
