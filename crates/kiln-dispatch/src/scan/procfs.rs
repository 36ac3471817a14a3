//! What the files below `/proc/self/task/TID` say, as values.
//!
//! proc(5). `syscall` is written by `proc_pid_syscall` in the kernel's fs/proc/base.c: `running` for a thread that is
//! runnable; else the number of the system call it is in, its six arguments, the stack pointer and the instruction
//! pointer; with -1 and without arguments if it sleeps in the kernel for another reason, such as a page fault.
#![forbid(unsafe_code)]

/// Words that are visible of a thread that sleeps in a system call: arguments, stack pointer, instruction pointer.
pub(super) const CALL_WORDS: usize = 8;

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It runs, or would if there was a processor for it.
    Running,
    /// It sleeps in system call `number`.
    Call { number: i64, words: [u64; CALL_WORDS] },
    /// It sleeps in the kernel without having called it; its registers cannot be seen.
    Elsewhere { sp: u64, pc: u64 },
}

impl Doing {
    /// From the file `syscall`.
    pub(super) fn parse(text: &[u8]) -> Option<Doing> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
        if text == "running" {
            return Some(Doing::Running);
        }
        let (number, rest) = text.split_once(' ')?;
        let number: i64 = number.parse().ok()?;
        let mut words = [0; CALL_WORDS];
        let mut count = 0;
        for field in rest.split(' ') {
            *words.get_mut(count)? = u64::from_str_radix(field.strip_prefix("0x")?, 16).ok()?;
            count += 1;
        }
        match count {
            CALL_WORDS if number >= 0 => Some(Doing::Call { number, words }),
            2 => Some(Doing::Elsewhere { sp: words[0], pc: words[1] }),
            _ => None,
        }
    }
}

/// From `schedstat`: how often the thread was given a processor. `None` if the kernel does not count.
pub(super) fn times_scheduled(schedstat: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(schedstat).ok()?;
    // A thread that can be asked about has run.
    text.trim_end().split(' ').nth(2)?.parse().ok().filter(|&times| times != 0)
}

/// From `status`: how often the thread stopped running, by its own will or not.
pub(super) fn times_switched(status: &[u8]) -> Option<u64> {
    let voluntary: u64 = status_field(status, "voluntary_ctxt_switches:")?.parse().ok()?;
    let other: u64 = status_field(status, "nonvoluntary_ctxt_switches:")?.parse().ok()?;
    Some(voluntary + other)
}

/// From `status`: the signals that the thread blocks; bit n-1 is signal n.
pub(super) fn blocked_signals(status: &[u8]) -> Option<u64> {
    u64::from_str_radix(status_field(status, "SigBlk:")?, 16).ok()
}

fn status_field<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name.as_bytes()))
        .and_then(|value| std::str::from_utf8(value).ok())
        .map(str::trim)
}

/// What is special about a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing that matters here.
    Usual,
    /// It has ended; a main thread stays like this until the others have.
    Ended,
    /// It never runs code of the process: a worker of io_uring.
    KernelOnly,
    /// Stopped by a signal or by a debugger.
    Stopped,
}

impl Condition {
    /// From the file `stat`: `tid (name) state ppid pgrp session tty tpgid flags …`; a name may hold anything.
    pub(super) fn parse(stat: &[u8]) -> Option<Condition> {
        /// `PF_IO_WORKER` of the kernel's include/linux/sched.h.
        const IO_WORKER: u64 = 0x10;
        let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        Some(match state {
            "Z" | "X" | "x" => Condition::Ended,
            _ if flags & IO_WORKER != 0 => Condition::KernelOnly,
            "T" | "t" => Condition::Stopped,
            _ => Condition::Usual,
        })
    }
}

/// The thread numbers among the entries of `/proc/self/task`, as `getdents64` returns them.
///
/// ```text
/// +0 inode u64   +8 offset i64   +16 length of the entry u16   +18 type u8   +19 name, zero-terminated
/// ```
pub(super) fn thread_numbers(mut entries: &[u8]) -> impl Iterator<Item = i32> {
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let names = std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(entries.get(LENGTH..LENGTH + 2)?.try_into().ok()?));
        let (entry, rest) = entries.split_at_checked(length.max(NAME))?;
        entries = rest;
        entry[NAME..].split(|&byte| byte == 0).next()
    });
    names.filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok())
}

/// From `/proc/self/maps`: where the main thread's stack ends.
pub(super) fn main_stack_end(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?.trim_end().strip_suffix("[stack]")?;
    let (_, end) = line.split_once(' ')?.0.split_once('-')?;
    u64::from_str_radix(end, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_threads_registers_are_read() {
        let text = b"202 0x7f9f 0x189 0x0 0x0 0x0 0xffffffff 0x7ffc0010 0x7fd6a9\n";
        let words = [0x7f9f, 0x189, 0, 0, 0, 0xffff_ffff, 0x7ffc_0010, 0x7f_d6a9];
        assert_eq!(Doing::parse(text), Some(Doing::Call { number: 202, words }));
    }

    #[test]
    fn a_fault_has_no_arguments() {
        assert_eq!(Doing::parse(b"-1 0x10 0x20\n"), Some(Doing::Elsewhere { sp: 0x10, pc: 0x20 }));
        assert_eq!(Doing::parse(b"running\n"), Some(Doing::Running));
    }

    #[test]
    fn anything_else_is_not_believed() {
        let bad: [&[u8]; 8] = [
            b"",
            b"running",
            b"0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n",
            b"0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n",
            b"-1 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n",
            b"0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 7\n",
            b"x 0x0 0x0\n",
            b"\xff\n",
        ];
        for text in bad {
            assert_eq!(Doing::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_kernel_that_does_not_count_says_zero() {
        assert_eq!(times_scheduled(b"1048 77 3\n"), Some(3));
        assert_eq!(times_scheduled(b"0 0 0\n"), None);
        assert_eq!(times_scheduled(b"1 2\n"), None);
    }

    #[test]
    fn fields_of_status_are_found() {
        let status = b"Name:\tSigBlk: 7\nSigBlk:\t8000000000000001\nvoluntary_ctxt_switches:\t5\n\
            nonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(blocked_signals(status), Some(1 << 63 | 1));
        assert_eq!(times_switched(status), Some(7));
        assert_eq!(times_switched(b"voluntary_ctxt_switches:\t5\n"), None);
    }

    #[test]
    fn a_threads_name_says_nothing_about_it() {
        let stat = |name: &str, state: &str, flags: u32| {
            Condition::parse(format!("7 ({name}) {state} 1 1 1 0 -1 {flags} 0 0").as_bytes())
        };
        assert_eq!(stat("a) Z (b", "S", 64), Some(Condition::Usual));
        assert_eq!(stat("x", "Z", 64), Some(Condition::Ended));
        assert_eq!(stat("x", "t", 64), Some(Condition::Stopped));
        assert_eq!(stat("iou-wrk-1", "S", 0x10), Some(Condition::KernelOnly));
        assert_eq!(Condition::parse(b"7 (x"), None);
        assert_eq!(Condition::parse(b"7 (x) S 1"), None);
    }

    fn entry(name: &str) -> Vec<u8> {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut bytes = vec![0; 16];
        bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        bytes.push(4);
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn threads_are_the_entries_that_are_numbers() {
        let entries = [".", "..", "7", "4194304"].map(entry).concat();
        assert_eq!(thread_numbers(&entries).collect::<Vec<_>>(), [7, 4_194_304]);
        assert_eq!(thread_numbers(&entries[..entries.len() - 1]).collect::<Vec<_>>(), [7]);
        assert_eq!(thread_numbers(&[0; 64]).collect::<Vec<_>>(), []);
    }

    #[test]
    fn the_main_stack_is_named() {
        let line = b"7ffc5c1e2000-7ffc5c204000 rw-p 00000000 00:00 0                          [stack]\n";
        assert_eq!(main_stack_end(line), Some(0x7ffc_5c20_4000));
        assert_eq!(main_stack_end(b"7ffc5c1e2000-7ffc5c204000 rw-p 00000000 00:00 0 [heap]\n"), None);
    }
}
