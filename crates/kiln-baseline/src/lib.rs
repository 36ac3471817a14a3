//! Kiln: baseline.
#![forbid(unsafe_code)]
