use std::fmt;

/// The index of a function record in a module's table, in the order of the bitcode.
///
/// Declarations are counted as well as definitions: LLVM's reader creates functions in record order, so the n-th
/// function of its module is the n-th record here, and no second numbering is needed. Valid within one
/// [`ModuleDigest`] only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct FunctionId(pub u32);

/// The index of a global variable record in a module's table, in the order of the bitcode, declarations included.
///
/// Valid within one [`ModuleDigest`] only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct GlobalId(pub u32);

/// The BLAKE3 digest of a module's bytes: what both processes mean by "the same module".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleDigest(pub [u8; 32]);

impl fmt::Debug for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}", self.0)
    }
}

impl fmt::Debug for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..6] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
