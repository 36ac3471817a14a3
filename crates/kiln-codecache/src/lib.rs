//! Kiln: codecache.
