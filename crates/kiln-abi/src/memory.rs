use crate::ExecutorAddr;

/// How the program may use a piece of memory; also which region of the reservation it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read and execute. Written through a second mapping only.
    Code,
    /// Read only. Written through a second mapping only.
    ReadOnly,
    /// Read and write: private memory of the program.
    ReadWrite,
}

impl Permission {
    /// All permissions, in the order in which regions lie in a reservation.
    pub const ALL: [Permission; 3] = [Permission::Code, Permission::ReadOnly, Permission::ReadWrite];
}

/// How much work the optimizer puts into a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pipeline {
    /// No IR passes beyond what correctness needs, `-O0`-like code generation.
    Quick,
    /// The `-O2` pipeline.
    Full,
}

/// Which compiler made a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The one-pass compiler in the program's process.
    Baseline,
    /// LLVM, in the optimizer's process.
    Optimizer,
}

/// A contiguous piece of memory that a link needs: the linker asks with it, the code cache answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment {
    /// How the program may use it.
    pub permission: Permission,
    /// Size in bytes; may be 0.
    pub size: u64,
    /// Alignment in bytes, a power of two.
    pub align: u64,
}

/// One function's entry in an unwind table: where its frame description entry lies.
///
/// The linker makes them while it places `.eh_frame`; the code cache answers `_Unwind_Find_FDE` from them. See
/// DWARF 5 §6.4.1 and LSB 5.0 Core §10.6 (`.eh_frame`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdeEntry {
    /// First address of the code the entry describes.
    pub pc_begin: ExecutorAddr,
    /// Bytes of code the entry describes, at least 1.
    pub pc_bytes: u64,
    /// Address of the frame description entry (its length field).
    pub fde: ExecutorAddr,
}
