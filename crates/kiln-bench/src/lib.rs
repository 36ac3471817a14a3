//! Programs to run and ways to measure them, for Kiln's tests and benchmarks. Not published.
//!
//! [`corpus`] builds the programs: the one-file feature programs in `programs/features`, the real programs around the C
//! sources that `programs/vendor` pins, and ripgrep; each as bitcode and as a native executable of the same compiler.
//! [`process`] runs a program under a time limit and keeps what can be compared, [`launch`] measures one. The binary's subcommands print the
//! Markdown rows that `docs/performance.md` quotes.
//!
//! Nothing here is linked with what it measures: Kiln is run as the `kiln` command, as a user would.

#![forbid(unsafe_code)]

pub mod chart;
pub mod corpus;
pub mod generate;
pub mod launch;
pub mod process;
pub mod table;
