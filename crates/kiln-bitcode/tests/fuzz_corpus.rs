//! Damaged bitcode is refused or read, and what is read can be walked: nothing panics, hangs or takes much memory.
//!
//! A fixed number of seeded mutations; `examples/fuzz_bitcode.rs` runs as many as one likes, `fuzz/fuzz_targets/bitcode.rs`
//! under libFuzzer.

#[path = "support/mutate.rs"]
mod mutate;
mod support;
#[path = "support/walk.rs"]
mod walk;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_bitcode::{Body, FunctionId};
use mutate::{Random, flip, mutate};

/// Counts what is allocated, to bound it.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory that reading `len` bytes may take: the reader's budget and the tables made of it, those of a body included.
fn bound(len: usize) -> usize {
    len * 128 + (4 << 20)
}

#[test]
fn damaged_files_are_refused_or_read() {
    let files = support::compile_modules(&support::scratch("fuzz-modules"));
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let small: Vec<&Vec<u8>> = corpus.iter().filter(|bytes| bytes.len() < 64 << 10).collect();
    assert!(small.len() >= 8);
    let mut random = Random(22);
    let (mut read, mut refused) = (0, 0);
    let (mut bodies, mut bad_bodies) = (0, 0);
    for round in 0..20_000 {
        let other = small[random.below(small.len())];
        let bytes = mutate(&mut random, small[round % small.len()], other);
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        match kiln_bitcode::parse(&bytes) {
            Ok(modules) => {
                read += 1;
                for module in &modules {
                    let (rows, good) = walk::walk(module, &bytes, &mut Body::new());
                    assert!(rows > 0);
                    let all = module.functions().iter().filter(|function| !function.is_declaration()).count();
                    bodies += good;
                    bad_bodies += all - good;
                }
            }
            Err(error) => {
                refused += 1;
                assert!(error.bit() <= bytes.len() as u64 * 8, "{error}");
                assert!(!error.to_string().is_empty());
            }
        }
        _ = kiln_bitcode::identify(&bytes);
        let peak = PEAK.load(Ordering::Relaxed) - before;
        assert!(peak <= bound(bytes.len()), "round {round}: {peak} bytes for {}", bytes.len());
    }
    // Both must occur often, or the mutations test nothing.
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
    assert!(bodies > 1000 && bad_bodies > 100, "{bodies} bodies read, {bad_bodies} refused");
}

/// Flipped bits inside of bodies, which the module's tables do not notice.
#[test]
fn damaged_bodies_are_refused_or_read() {
    let mut random = Random(64);
    let mut body = Body::new();
    let (mut read, mut refused) = (0, 0);
    for file in support::compile_modules(&support::scratch("fuzz-bodies")) {
        let mut bytes = std::fs::read(file).unwrap();
        let modules = kiln_bitcode::parse(&bytes).unwrap();
        let module = &modules[0];
        let ids = (0..module.functions().len() as u32).map(FunctionId);
        let ranges: Vec<_> = ids.filter_map(|id| Some((id, module.body_range(&bytes, id)?))).collect();
        for _ in 0..if ranges.is_empty() { 0 } else { 4_000 } {
            let (id, range) = ranges[random.below(ranges.len())].clone();
            let before = bytes[range.clone()].to_vec();
            flip(&mut random, &mut bytes[range.clone()]);
            match walk::walk_body(module, &bytes, id, &mut body) {
                Some(seen) => read += usize::from(seen > 0),
                None => refused += 1,
            }
            bytes[range].copy_from_slice(&before);
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} bodies read, {refused} refused");
}

/// Every prefix of a file is refused: a module that lost its end is never taken for a whole one.
#[test]
fn truncated_files_are_refused() {
    let dir = support::scratch("fuzz-truncated");
    let file = dir.join("minimal.bc");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules/default_layout.ll");
    support::run(std::process::Command::new("llvm-as-22").arg(source).arg("-o").arg(&file));
    let bytes = std::fs::read(file).unwrap();
    for len in (0..bytes.len() - 8).step_by(3) {
        let error = kiln_bitcode::parse(&bytes[..len]).expect_err("a prefix was taken for a module");
        assert!(error.bit() <= len as u64 * 8, "{error}");
    }
}

/// What reading a body gives: its rows, or why not.
fn outcome(result: Result<(), kiln_bitcode::Error>, module: &kiln_bitcode::Module, body: &Body) -> Vec<String> {
    match result {
        Ok(()) => kiln_bitcode::body_rows(module, body).collect(),
        Err(error) => vec![error.to_string(), error.bit().to_string()],
    }
}

#[test]
fn usual_records_mean_the_same_to_both_readers() {
    let files = support::compile_modules(&support::scratch("fuzz-readers"));
    let (mut body, mut other) = (Body::new(), Body::new());
    let (mut read, mut refused) = (0, 0);
    let mut random = Random(36);
    for file in files {
        let mut bytes = std::fs::read(file).unwrap();
        for module in kiln_bitcode::parse(&bytes.clone()).unwrap() {
            for id in (0..module.functions().len() as u32).map(FunctionId) {
                let Some(range) = module.body_range(&bytes, id) else { continue };
                for _ in 0..150 {
                    let before = bytes[range.clone()].to_vec();
                    flip(&mut random, &mut bytes[range.clone()]);
                    let usual = module.read_body(&bytes, id, &mut body);
                    let slow = module.read_body_slowly(&bytes, id, &mut other);
                    if usual.is_ok() {
                        read += 1
                    } else {
                        refused += 1
                    }
                    let (usual, slow) = (outcome(usual, &module, &body), outcome(slow, &module, &other));
                    assert_eq!(usual, slow);
                    bytes[range.clone()].copy_from_slice(&before);
                }
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}
