//! How much memory the generator's arrays take for the function that was compiled last.

use super::generator::Memory;

impl Memory {
    /// Bytes of what is kept per value, block, call or jump; not what is known of the module.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.values)
            + self.parts.bytes()
            + size_of_val(&*self.ending)
            + size_of_val(&*self.waiting)
            + size_of_val(&*self.sites)
            + size_of_val(&*self.extra)
            + size_of_val(&*self.cases)
            + size_of_val(&*self.stubs)
            + size_of_val(&*self.edges)
            + size_of_val(&*self.wishes)
            + size_of_val(&*self.candidates)
            + size_of_val(&*self.unsorted)
            + size_of_val(&*self.reserved)
            + size_of_val(&*self.tails)
            + size_of_val(&*self.ends)
            + size_of_val(&*self.ids)
            + size_of_val(&*self.asm.references)
    }

    /// Bytes of the code.
    pub(crate) fn code_bytes(&self) -> usize {
        self.asm.position() as usize
    }
}
