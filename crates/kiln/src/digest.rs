//! What a function or constant means, in 128 bits: equal for two modules exactly if nothing that code could depend on differs.
//!
//! Numbers that shift when something is added elsewhere in the file take no part: ids of types, constants, globals,
//! attribute groups and metadata. Neither do debug locations and the names of values. Globals and functions count by
//! name, by whether they are the module's own, and by what may be concluded from their declaration; constants that only
//! their module can see count by content. What is not understood counts as different.

mod bodies;
mod hasher;
mod tables;

pub(crate) use bodies::{digests, is_value};
pub(crate) use hasher::Digest;
pub(crate) use tables::{Tables, is_matched_by_content, types};
