//! Kiln: bitcode.
#![forbid(unsafe_code)]
