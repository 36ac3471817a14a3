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
