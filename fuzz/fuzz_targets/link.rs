//! Coverage-guided fuzzing of the linker: the first eight bytes choose the options, the rest is the input.

#![no_main]

#[allow(dead_code, unreachable_pub, reason = "shared with the linker's tests")]
#[path = "../../crates/kiln-link/tests/support/fuzz.rs"]
mod fuzz;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (choice, input) = data.split_at(data.len().min(8));
    let choice = choice.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let _ = fuzz::execute(input, choice);
});
