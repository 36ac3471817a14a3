#!/usr/bin/env bash
# Runs the tests of the code cache, the function table and the stress test of replacement under ThreadSanitizer.
#
#   rustup toolchain install nightly --component rust-src
#   scripts/tsan.sh
#
# The standard library is built along with everything else, so that its locks are understood. What assembly does, the sanitizer
# does not see; trampoline.rs tells it who follows whom on a stack of the engine (`--cfg kiln_tsan`).
#
# What cannot run there, and why:
#   forks, and what starts the optimizer    the sanitizer follows neither threads of a forked child nor clone with CLONE_VM
#   kiln-dispatch's tests/scan              its runtime has signal handling, a thread and mappings of its own, which scans meet;
#                                           scans run in the stress test instead
#   a_handler_jumps_out_of_a_first_call     it loses count of frames that a longjmp leaves on another stack
#   limits_on_memory_and_files              its shadow memory is larger than the limits
set -euo pipefail
cd "$(dirname "$0")/.."
toolchain=${KILN_TSAN_TOOLCHAIN:-nightly}
target=x86_64-unknown-linux-gnu
export RUSTFLAGS="-Zsanitizer=thread --cfg kiln_tsan"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/tsan"
export TSAN_OPTIONS="suppressions=$PWD/scripts/tsan.supp die_after_fork=0 history_size=4"
run() { # cargo's arguments, --, the tests' arguments
  cargo "+$toolchain" test -q -Zbuild-std --target "$target" "$@"
}
# One test after another: caches of different tests come to lie at the same addresses, by system calls it does not see.
run -p kiln-codecache --lib --tests -- --test-threads=1 --skip limits_on_memory_and_files
run -p kiln-dispatch --lib --test dispatch -- --test-threads=1 --skip forks:: --skip a_handler_jumps_out_of_a_first_call
KILN_STRESS_SECONDS="${KILN_STRESS_SECONDS:-10}" run -p kiln --test stress -- --test-threads=1
