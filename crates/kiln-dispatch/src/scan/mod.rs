//! Who may still be in code that nothing leads to any more.
//!
//! Given address ranges, a scan looks at the registers and stacks of every thread of the process and says which ranges
//! some word may point into. `docs/design/reclamation.md` says why that is enough to free the others, and what a program can
//! see of it: nothing.
//!
//! 1. Threads are listed ([`threads`]).
//! 2. One that sleeps in a system call is looked at from outside ([`outside`]).
//! 3. One that runs is asked by a signal, and looks at itself ([`signal`]). If it falls asleep before it answers, the
//!    question is taken back and step 2 does.
//! 4. The scanning thread looks at itself.
//! 5. Steps 1 to 4 are repeated for threads that have not been met, until a complete list holds none.
//!
//! What a thread was found to hold may be let go a moment later, but it cannot get hold of anything new: nothing leads
//! there. So each thread need be inspected only once, at any time, and all of them need not be stopped together.

mod control;
mod host;
mod outside;
mod procfs;
mod ranges;
mod report;
mod signal;
mod stacks;
mod sys;
mod threads;
mod x86_64;

pub use host::{PrepareError, note_coroutines, prepare, reserved_signal};
pub use ranges::{Ranges, RangesError};
pub use report::{Counts, Obstacle, Reason, Report, Tid};

use control::{Control, control};
use kiln_abi::ExecutorAddr;
use outside::Seen;
use ranges::{Finder, marks_words};
use signal::{Questions, Refusal, Request};
use stacks::{Search, Stack};
use std::time::Duration;
use sys::{Errno, File, KeepErrno, SignalsBlocked};
use threads::{Pass, Roster, Threads};

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long to wait for threads that can neither be asked nor looked at.
    ///
    /// Running threads answer at a tick of the kernel's clock, which comes every 1 to 10 ms of *their* time.
    pub patience: Duration,
    /// Where the program's part of the calling thread's stack begins; what is below are frames of the engine.
    ///
    /// Those know the ranges, as data. `None` on a stack of the engine: from where the trampoline was entered;
    /// elsewhere: from the caller's frame.
    pub own_stack_from: Option<ExecutorAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self { patience: Duration::from_millis(100), own_stack_from: None }
    }
}

/// Looks for threads that may be in `ranges`.
///
/// The caller has made sure that nothing leads there any more, and that every core has noticed (`membarrier`). May be
/// called on a stack of the engine with all signals blocked. Uses neither libc's `malloc` nor its locks; memory for the
/// report comes from Rust's allocator.
#[inline(never)]
#[must_use]
pub fn scan(ranges: &Ranges, options: &Options) -> Report {
    let _errno = KeepErrno::new();
    let _blocked = SignalsBlocked::new();
    let begin = sys::now();
    let own = Own::here(options);
    let mut report = Report::new(ranges.len());
    // Without a signal, running threads are reported; nothing else changes.
    let _ = prepare();
    match control() {
        Ok(control) => scan_process(control, ranges, options, own, &mut report),
        Err(errno) => report.obstacles.push(Obstacle::Refused { errno }),
    }
    report.elapsed = sys::now().saturating_sub(begin);
    report
}

/// Tells scans about a child process that runs on this process's memory without being one of its threads.
///
/// For `clone` with `CLONE_VM` but neither `CLONE_THREAD` nor `CLONE_VFORK`. Nothing is free while it lives. Children of
/// `vfork` and `posix_spawn` need no telling: the thread that made one waits for it, and shows it.
pub fn watch_child(pid: i32) {
    if let Ok(control) = control() {
        control.watch(pid);
    }
}

/// The scanning thread itself.
#[derive(Clone, Copy)]
struct Own {
    sp: u64,
    registers: [u64; 6],
}

impl Own {
    #[inline(always)]
    fn here(options: &Options) -> Own {
        let (sp, registers) = x86_64::callee_saved();
        // What calls the engine has left its return address above the boundary, as what calls the kernel has.
        let boundary = options.own_stack_from.map(ExecutorAddr::get).or_else(|| stacks::program_stack(sp));
        boundary.map_or(Own { sp, registers }, |sp| Own { sp, registers: [0; 6] })
    }

    fn ends() -> stacks::Ends {
        stacks::Ends { control_block: x86_64::thread_pointer(), main: host::main_stack_end() }
    }
}

fn scan_process(control: &Control, ranges: &Ranges, options: &Options, own: Own, report: &mut Report) {
    if !control.is_of(sys::process()) {
        report.obstacles.push(Obstacle::NotThisProcess);
        return;
    }
    let _turn = control.turn();
    if let Some(who) = control.sharing_child() {
        report.obstacles.push(Obstacle::SharedMemory { who });
    }
    Scan::new(control, ranges, options, report).run(own);
    if host::has_coroutines() {
        report.obstacles.push(Obstacle::Coroutines);
    }
}

/// Lists after which threads are given up on.
const MAX_LISTS: usize = 256;

/// Words of a stack that are copied at a time.
const BUFFER_WORDS: usize = 2048;

/// One scan.
struct Scan<'a> {
    control: &'a Control,
    ranges: &'a Ranges,
    patience: Duration,
    report: &'a mut Report,
    own: Tid,
    marks: Vec<u64>,
    buffer: Vec<u64>,
    questions: Option<Questions<'a>>,
}

/// A thread that has not been inspected yet.
struct Waiting {
    tid: Tid,
    request: Option<Request>,
    /// Why not.
    reason: Reason,
}

impl<'a> Scan<'a> {
    fn new(control: &'a Control, ranges: &'a Ranges, options: &Options, report: &'a mut Report) -> Self {
        Self {
            control,
            ranges,
            patience: options.patience,
            report,
            own: sys::thread(),
            marks: vec![0; marks_words(ranges.len())],
            buffer: vec![0; BUFFER_WORDS],
            questions: None,
        }
    }

    fn run(mut self, own: Own) {
        self.look_at_self(own);
        if let Err(obstacle) = self.everyone() {
            self.report.obstacles.push(obstacle);
        }
    }

    fn search(&mut self) -> Search<'_> {
        Search {
            finder: Finder::new(self.ranges.sorted()),
            marks: &mut self.marks,
            buffer: &mut self.buffer,
            restorer: host::restorer(),
        }
    }

    fn look_at_self(&mut self, own: Own) {
        let mut search = self.search();
        search.words(&own.registers);
        let stack = search.stacks(own.sp, Own::ends());
        self.inspected(self.own, stack);
    }

    /// Adds the marks of a thread.
    fn inspected(&mut self, tid: Tid, stack: Stack) {
        self.report.add(tid, &self.marks);
        self.marks.fill(0);
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

    fn everyone(&mut self) -> Result<(), Obstacle> {
        let mut roster = Roster::default();
        for _ in 0..MAX_LISTS {
            self.report.counts.lists += 1;
            match roster.pass(&mut OwnThreads(self.own)).map_err(|errno| Obstacle::Refused { errno })? {
                Pass::Complete => return Ok(()),
                Pass::Doubtful => {}
                Pass::New(tids) => self.threads(&tids),
            }
        }
        Err(Obstacle::ThreadsUnstable)
    }

    /// Inspects threads.
    fn threads(&mut self, tids: &[Tid]) {
        let mut waiting: Vec<Waiting> = tids
            .iter()
            .filter(|&&tid| tid != self.own)
            .map(|&tid| Waiting { tid, request: None, reason: Reason::NoAnswer })
            .collect();
        let deadline = sys::now() + self.patience;
        let mut pause = Duration::from_micros(50);
        loop {
            // Read before the threads are looked at: an answer that comes meanwhile ends the sleep at once.
            let answers = self.control.answers.load(std::sync::atomic::Ordering::Acquire);
            waiting.retain_mut(|thread| !self.is_settled(thread));
            if waiting.is_empty() {
                return;
            }
            if sys::now() >= deadline {
                break;
            }
            sys::futex_wait(&self.control.answers, answers, pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        for thread in waiting {
            self.give_up(thread);
        }
    }

    /// Tries to inspect a thread; whether nothing is left to be done.
    fn is_settled(&mut self, thread: &mut Waiting) -> bool {
        if self.take_answer(thread) {
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
        let questions = match &self.questions {
            Some(questions) => questions,
            None => match Questions::new(self.control, signal, self.ranges) {
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

    fn give_up(&mut self, mut thread: Waiting) {
        if self.take_answer(&mut thread) {
            return;
        }
        self.withdraw(&mut thread);
        self.report.uninspected.push((thread.tid, thread.reason));
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
