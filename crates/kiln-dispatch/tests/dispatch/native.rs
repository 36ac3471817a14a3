//! First calls between C functions.

use crate::rig::{self, Memory};
use std::ffi::CString;
use std::process::Command;
use std::sync::OnceLock;

/// The address of a function of `native.c`.
pub(crate) fn symbol(name: &str) -> usize {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    let library = *LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dispatch/native.c");
        let library = format!("{}/native-{}.so", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let done = Command::new("clang-22").args(["-O1", "-shared", "-fPIC", "-o", &library, source]).status();
        assert!(done.expect("clang-22 is installed").success());
        let path = CString::new(library.clone()).unwrap();
        // SAFETY: the library has no constructors.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        std::fs::remove_file(library).unwrap();
        handle.expose_provenance()
    });
    let name = CString::new(name).unwrap();
    // SAFETY: the handle is never closed.
    let address = unsafe { libc::dlsym(std::ptr::with_exposed_provenance_mut(library), name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    address.expose_provenance()
}

/// `caller` of `native.c` calls a stub that is resolved to `body`, twice; it returns 1 if all was well.
fn check(caller: &str, body: &str) {
    let memory = Memory::two_views(1 << 20);
    let body = symbol(body);
    let (table, function) = rig::function(memory, move || memory.native(body));
    // SAFETY: all callers of `native.c` take a function and return an int.
    let caller: extern "C" fn(u64) -> i32 = unsafe { std::mem::transmute(symbol(caller)) };
    assert_eq!(caller(table.stub(function).get()), 1, "first call");
    assert!(table.body(function).is_some());
    assert_eq!(caller(table.stub(function).get()), 1, "second call");
}

#[test]
fn arguments_on_the_stack() {
    check("call_many", "body_many");
}

#[test]
fn variadic_arguments_in_vector_registers() {
    check("call_variadic", "body_variadic");
}

#[test]
fn structs_returned_in_memory() {
    check("call_sret", "body_sret");
}

#[test]
fn structs_in_registers() {
    check("call_mixed", "body_mixed");
}

#[test]
fn long_double_on_the_stack_and_returned_on_the_x87_stack() {
    check("call_long_double", "body_long_double");
    check("call_complex", "body_complex");
}

#[test]
fn the_static_chain() {
    check("call_chain", "body_chain");
}

#[test]
fn a_callback_of_qsort() {
    check("call_qsort", "body_compare");
}

#[test]
fn a_function_has_one_address() {
    let memory = Memory::two_views(1 << 20);
    let (table, function) = rig::function(memory, move || memory.returns(3));
    let before: rig::Plain = rig::plain(table, function);
    assert_eq!(before(), 3);
    let after: rig::Plain = rig::plain(table, function);
    assert_eq!(before as usize, after as usize);
    assert_ne!(table.body(function).unwrap(), table.stub(function));
}
