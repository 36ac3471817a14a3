//! Kiln: the engine and embedding API.
mod process;
