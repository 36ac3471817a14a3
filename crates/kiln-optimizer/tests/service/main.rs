//! The optimizer process as its client sees it: inputs compiled by clang, objects inspected with an independent reader.

mod faults;
mod harness;
mod normalize;
mod objects;
mod requests;
