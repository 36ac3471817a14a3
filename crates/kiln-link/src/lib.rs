//! Kiln: link.
#![forbid(unsafe_code)]
