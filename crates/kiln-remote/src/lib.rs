//! Kiln: remote.
