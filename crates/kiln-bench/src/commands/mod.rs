//! The subcommands.

pub(crate) mod programs;

/// What a subcommand can fail with; the user sees its text.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
