//! Any bytes: read, and if they are a module, walk all of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    _ = kiln_bitcode::identify(bytes);
    if let Ok(modules) = kiln_bitcode::parse(bytes) {
        let rows: usize = modules.iter().flat_map(kiln_bitcode::rows).map(|row| row.len()).sum();
        assert!(rows > 0);
    }
});
