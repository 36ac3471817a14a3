//! Kiln: optimizer.
