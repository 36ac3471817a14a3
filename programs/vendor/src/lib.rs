//! Nothing: the dependencies are sources to fetch, see Cargo.toml.
