//! The static TLS pool. One test: the pool belongs to the process.

use std::ffi::c_void;

use kiln_codecache::tls::{POOL_ALIGN, POOL_BYTES, reserve, write_image};

/// What local-exec code would read.
fn read(tp_offset: i64) -> u64 {
    let value;
    // SAFETY: the tests pass offsets of 8 reserved bytes.
    unsafe { std::arch::asm!("movq %fs:({}), {}", in(reg) tp_offset, out(reg) value, options(att_syntax, readonly)) };
    value
}

extern "C" fn read_in_thread(tp_offset: *mut c_void) -> *mut c_void {
    std::ptr::without_provenance_mut(read(tp_offset.addr() as i64) as usize)
}

/// The value in a new thread with the smallest stack there is.
fn read_on_small_stack(tp_offset: i64) -> u64 {
    let mut result = std::ptr::null_mut();
    // SAFETY: plain pthread calls with live arguments; the thread is joined before they go.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
        assert_eq!(libc::pthread_attr_setstacksize(&raw mut attributes, 16 << 10), 0);
        let mut thread = std::mem::zeroed();
        let argument = std::ptr::without_provenance_mut(tp_offset as usize);
        assert_eq!(libc::pthread_create(&raw mut thread, &raw const attributes, read_in_thread, argument), 0);
        assert_eq!(libc::pthread_join(thread, &raw mut result), 0);
    }
    result.addr() as u64
}

#[test]
fn trap_16_initial_values_reach_new_threads_and_a_full_pool_is_refused() {
    let first = reserve(8, 8).unwrap();
    assert_eq!((read(first), read_on_small_stack(first)), (0, 0));
    write_image(first, &77u64.to_le_bytes());
    assert_eq!((read(first), read_on_small_stack(first)), (77, 77));

    let aligned = reserve(24, POOL_ALIGN).unwrap();
    assert!(aligned > first && aligned % POOL_ALIGN as i64 == 0);
    write_image(aligned + 8, &5u64.to_le_bytes());
    assert_eq!([0, 8, 16].map(|at| read_on_small_stack(aligned + at)), [0, 5, 0]);
    assert_eq!(read_on_small_stack(first), 77);

    for (size, align) in [(8, 0), (8, 24), (8, 2 * POOL_ALIGN), (POOL_BYTES, 1), (u64::MAX, 8)] {
        assert_eq!(reserve(size, align), None, "{size} {align}");
    }
    let rest = POOL_BYTES - (aligned - first) as u64 - 24;
    assert!(reserve(rest, 1).is_some() && reserve(1, 1).is_none());
    assert!(std::panic::catch_unwind(|| write_image(first - 1, b"x")).is_err());
    assert!(std::panic::catch_unwind(|| write_image(first + POOL_BYTES as i64, b"x")).is_err());
}
