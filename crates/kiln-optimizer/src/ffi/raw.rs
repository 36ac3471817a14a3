//! `shim/kiln.h`, word for word.

use std::ffi::c_char;

#[repr(C)]
pub(super) struct Context([u8; 0]);
#[repr(C)]
pub(super) struct Module([u8; 0]);
#[repr(C)]
pub(super) struct Batch([u8; 0]);

#[repr(C)]
pub(super) struct Bytes {
    pub(super) data: *mut u8,
    pub(super) size: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes { data: std::ptr::null_mut(), size: 0 }
    }
}

#[repr(C)]
#[derive(Default)]
pub(super) struct Error {
    pub(super) kind: u32,
    pub(super) function: u32,
    pub(super) message: Bytes,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Callee {
    pub(super) function: u32,
    pub(super) likelihood: f32,
}

#[repr(C)]
pub(super) struct Compiled {
    pub(super) object: Bytes,
    pub(super) globals: *const u32,
    pub(super) globals_count: usize,
    pub(super) visible: *const u32,
    pub(super) visible_count: usize,
    pub(super) passes_ns: u64,
    pub(super) codegen_ns: u64,
}

impl Default for Compiled {
    fn default() -> Self {
        Compiled {
            object: Bytes::default(),
            globals: std::ptr::null(),
            globals_count: 0,
            visible: std::ptr::null(),
            visible_count: 0,
            passes_ns: 0,
            codegen_ns: 0,
        }
    }
}

#[repr(C)]
#[derive(Default)]
pub(super) struct Normalised {
    pub(super) bitcode: Bytes,
    pub(super) assembly: Bytes,
}

unsafe extern "C" {
    pub(super) fn kiln_bytes_free(bytes: Bytes);
    pub(super) fn kiln_initialise(fatal: extern "C" fn(bool, *const c_char));
    pub(super) fn kiln_llvm_version() -> Bytes;
    pub(super) fn kiln_host_cpu() -> Bytes;
    pub(super) fn kiln_context_new(keep_names: bool) -> *mut Context;
    pub(super) fn kiln_context_free(context: *mut Context);
    pub(super) fn kiln_module_open(
        context: *mut Context,
        data: *const u8,
        size: usize,
        named: bool,
        error: *mut Error,
    ) -> *mut Module;
    pub(super) fn kiln_module_free(module: *mut Module);
    pub(super) fn kiln_module_functions(module: *const Module) -> u32;
    pub(super) fn kiln_module_is_defined(module: *const Module, function: u32) -> bool;
    pub(super) fn kiln_module_read(
        module: *mut Module,
        function: u32,
        instructions: *mut u32,
        callees: *mut *const Callee,
        count: *mut usize,
        error: *mut Error,
    ) -> bool;
    pub(super) fn kiln_batch_new(
        module: *mut Module,
        full: bool,
        opaque: *const u32,
        opaque_count: usize,
    ) -> *mut Batch;
    pub(super) fn kiln_batch_free(batch: *mut Batch);
    pub(super) fn kiln_batch_add(batch: *mut Batch, function: u32, error: *mut Error) -> bool;
    pub(super) fn kiln_batch_text(batch: *const Batch) -> Bytes;
    pub(super) fn kiln_batch_compile(batch: *mut Batch, compiled: *mut Compiled, error: *mut Error) -> bool;
    pub(super) fn kiln_normalise(
        data: *const u8,
        size: usize,
        name: *const c_char,
        normalised: *mut Normalised,
        error: *mut Error,
    ) -> bool;
}
