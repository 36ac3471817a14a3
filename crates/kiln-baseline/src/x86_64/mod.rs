//! What is peculiar to x86-64 (System V psABI, version 1.0).

pub(crate) mod abi;
pub(crate) mod eh;
