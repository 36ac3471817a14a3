//! Kiln: the engine and embedding API.
