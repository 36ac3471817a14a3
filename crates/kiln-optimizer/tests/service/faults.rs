//! Bad input and a dying optimizer.

use kiln_abi::Pipeline;
use kiln_remote::{Event, FailureKind, Neighbours};

use crate::harness::{self, Session, function};

#[test]
fn invalid_ir_is_an_error_that_names_the_function() {
    // A definition that does not dominate its use passes the reader, not the verifier.
    let source = "
        define i32 @bad(i1 %c) {
          br i1 %c, label %a, label %b
        a:
          %x = add i32 1, 2
          br label %b
        b:
          ret i32 %x
        }
        define i32 @good() { ret i32 1 }
        define i32 @caller(i1 %c) {
          %x = call i32 @good()
          %y = call i32 @bad(i1 %c)
          ret i32 %y
        }
    ";
    let bitcode = harness::ll(source);
    let [bad, good, caller] = ["bad", "good", "caller"].map(|name| function(&bitcode, name));
    let mut session = Session::start();
    let module = session.open(&bitcode);
    let failed = session.compile(module, &[bad], Pipeline::Quick, Neighbours::default()).unwrap_err();
    assert_eq!((failed.kind, failed.function), (FailureKind::InvalidIr, Some(bad)));
    assert!(failed.message.contains("dominate"), "{}", failed.message);
    // As a neighbour it is left out, and not tried again.
    let compiled = session.compile(module, &[caller], Pipeline::Quick, Neighbours::default()).unwrap();
    assert_eq!(compiled.functions, [caller, good]);
}

#[test]
fn truncated_bitcode_is_an_error() {
    let bitcode = harness::c("int f(void) { return 1; }", &[]);
    for length in [0, 3, 4, 100, bitcode.len() / 2, bitcode.len() - 4] {
        let mut session = Session::start();
        let module = session.open(&bitcode[..length]);
        let failed = session
            .compile(module, &[function(&bitcode, "f")], Pipeline::Quick, Neighbours::NONE)
            .expect_err("half of a module");
        assert_eq!(failed.kind, FailureKind::InvalidIr, "{length}: {}", failed.message);
    }
}

#[test]
fn assembly_that_does_not_assemble_is_an_error_reply() {
    let source = "
        static int bad(int x) { __asm__(\"no_such_instruction %0\" : \"+r\"(x)); return x; }
        int caller(int x) { return bad(x); }
        int good(int x) { return x; }
    ";
    let bitcode = harness::c(source, &[]);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    for pipeline in [Pipeline::Quick, Pipeline::Full] {
        let bad = function(&bitcode, "bad");
        let failed = session.compile(module, &[bad], pipeline, Neighbours::NONE).unwrap_err();
        assert_eq!((failed.kind, failed.function), (FailureKind::Rejected, Some(bad)));
        assert!(failed.message.contains("no_such_instruction"), "{}", failed.message);
        // A root does not fail because of a neighbour.
        let caller = function(&bitcode, "caller");
        let compiled = session.compile(module, &[caller], pipeline, Neighbours::default()).unwrap();
        assert_eq!(compiled.functions, [caller]);
        let good = function(&bitcode, "good");
        assert!(session.compile(module, &[good], pipeline, Neighbours::NONE).is_ok());
    }
}

#[test]
fn other_targets_are_refused() {
    let bitcode = harness::ll_for("aarch64-linux-gnu", "define void @f() { ret void }");
    let failed = Session::start().one(&bitcode, "f", Pipeline::Quick).err().unwrap();
    assert_eq!(failed.kind, FailureKind::Unsupported);
    assert!(failed.message.contains("aarch64"), "{}", failed.message);
}

#[test]
fn llvm_fatal_errors_are_replies() {
    // No pattern for it: instruction selection gives up with a fatal error.
    let source = "
        declare void @llvm.aarch64.hint(i32)
        define void @f() { call void @llvm.aarch64.hint(i32 0) ret void }
    ";
    let bitcode = harness::ll(source);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    let request = session.request(module, &[function(&bitcode, "f")], Pipeline::Quick, Neighbours::NONE);
    let Event::Failed(failed) = session.event().unwrap() else { panic!() };
    assert_eq!((failed.request, failed.kind), (request, FailureKind::LlvmFatal));
    assert!(failed.message.contains("Cannot select"), "{}", failed.message);
    assert!(session.event().unwrap_err().is_closed());
}

#[test]
fn a_killed_optimizer_is_a_closed_connection() {
    let bitcode = harness::c("int f(void) { return 1; }", &[]);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    let root = [function(&bitcode, "f")];
    session.compile(module, &root, Pipeline::Quick, Neighbours::NONE).unwrap();
    let pid = rustix::process::Pid::from_raw(session.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let request = session.request(module, &root, Pipeline::Quick, Neighbours::NONE);
    assert!(session.event().unwrap_err().is_closed());
    assert_eq!(session.connection.machine().pending().collect::<Vec<_>>(), [request]);
}

#[test]
fn the_optimizer_ends_with_its_connection() {
    let bitcode = harness::c("int f(void) { return 1; }", &[]);
    let mut session = Session::start();
    let module = session.open(&bitcode);
    session.compile(module, &[function(&bitcode, "f")], Pipeline::Quick, Neighbours::NONE).unwrap();
    let pid = rustix::process::Pid::from_raw(session.pid).unwrap();
    drop(session);
    // It is no child of ours, so there is nothing to wait for but its number. Zombies whose new parent does not reap
    // count as gone.
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let gone = || match std::fs::read_to_string(&stat) {
        Err(_) => true,
        Ok(text) => text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
    };
    let start = std::time::Instant::now();
    while !gone() {
        assert!(start.elapsed().as_secs() < 60, "still running");
        std::thread::yield_now();
    }
}

#[test]
fn a_wrong_digest_is_refused() {
    let bitcode = harness::c("int f(void) { return 1; }", &[]);
    let mut session = Session::start();
    let module = session.open_as(&bitcode, kiln_abi::ModuleDigest([7; 32]));
    let failed = session.compile(module, &[function(&bitcode, "f")], Pipeline::Quick, Neighbours::NONE).unwrap_err();
    assert_eq!(failed.kind, FailureKind::InvalidRequest);
}
