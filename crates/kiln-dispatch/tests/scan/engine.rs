//! Threads inside the engine: their stack pointer is on a stack of the engine, the program's stack lies elsewhere.

use crate::rig::{
    Body, Thread, alone, holds, known_frames, own_tid, pipe, read_byte, scan_for, until_asleep_in, was_asked,
    write_byte,
};
use crate::tables::{self, Memory, plain};
use kiln_dispatch::scan::{Options, scan};
use kiln_dispatch::{FunctionIndex, FunctionTable};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static TABLE: OnceLock<&'static FunctionTable> = OnceLock::new();

/// Calls function 0 of the table.
extern "C" fn first_call(_: usize) -> i64 {
    plain(TABLE.get().unwrap(), FunctionIndex(0))().into()
}

/// One thread compiles, another waits for it in a futex; both were called by a body.
#[test]
fn trap_12_threads_inside_the_engine_hold_what_called_them() {
    alone("engine::trap_12_threads_inside_the_engine_hold_what_called_them", || {
        let (body, unused) = (Body::calling(), Body::calling());
        let (output, input) = pipe();
        let memory = Memory::two_views(1 << 20);
        let (table, _) = tables::function(memory, move || {
            read_byte(output as usize);
            memory.returns(5)
        });
        assert!(TABLE.set(table).is_ok());
        let compiling = Thread::start(move || body.call(first_call, 0));
        until_asleep_in(compiling.tid, libc::SYS_read);
        let waiting = Thread::start(move || body.call(first_call, 0));
        tables::until_asleep_in_futex(waiting.tid.0);
        let report = scan_for(body);
        assert!(holds(&report, compiling.tid) && holds(&report, waiting.tid), "{report:?}");
        assert!(report.is_conclusive(), "{report:?}");
        assert!(!was_asked(&report, compiling.tid) && !was_asked(&report, waiting.tid), "{report:?}");
        let report = scan_for(unused);
        assert!(report.is_free(0), "{report:?}");
        write_byte(input);
        assert_eq!((compiling.join(), waiting.join()), (5, 5));
        assert!(scan_for(body).is_free(0));
    });
}

/// The engine scans while it resolves a call that a body made: the engine's own frames know the range and do not count,
/// the program's do.
#[test]
fn a_scan_by_the_engine_sees_the_program_below_it() {
    static BODIES: OnceLock<[Body; 2]> = OnceLock::new();
    static HELD: AtomicU32 = AtomicU32::new(u32::MAX);
    alone("engine::a_scan_by_the_engine_sees_the_program_below_it", || {
        let memory = Memory::two_views(1 << 20);
        let bodies = *BODIES.get_or_init(|| [Body::calling(), Body::calling()]);
        let (table, _) = tables::function(memory, move || {
            let held = bodies.map(|body| {
                let known = std::hint::black_box(crate::rig::ranges(&[body]));
                let start = std::hint::black_box(known.get(0).start);
                let report = scan(&known, &Options { own_stack_from: None, ..crate::rig::patient() });
                std::hint::black_box(start);
                u32::from(holds(&report, own_tid()))
            });
            HELD.store(held[0] | held[1] << 1, Ordering::Relaxed);
            memory.returns(5)
        });
        assert!(TABLE.set(table).is_ok());
        // Frames above the body are the program's, but this test's know both bodies: on a thread of its own.
        let thread = Thread::start(|| known_frames(|| BODIES.get().unwrap()[0].call(first_call, 0)));
        assert_eq!(thread.join(), 5);
        assert_eq!(HELD.load(Ordering::Relaxed), 1);
    });
}
