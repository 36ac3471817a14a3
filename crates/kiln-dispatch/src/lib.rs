//! Kiln: dispatch.
