//! Resolution.

use crate::error::Errors;
use crate::layout::Layout;
use crate::link::Link;
use crate::scope::Scope;

/// A link whose symbols are bound.
pub struct Resolved<'a> {
    pub(crate) link: Link<'a>,
}

pub(crate) fn resolve<'a>(link: Link<'a>, scope: &mut dyn Scope) -> Result<Resolved<'a>, Errors> {
    let _ = scope;
    Ok(Resolved { link })
}

impl<'a> Resolved<'a> {
    /// Gives every section its place.
    ///
    /// # Errors
    ///
    /// If the output is too large for 32-bit displacements.
    pub fn layout(self) -> Result<Layout<'a>, Errors> {
        let _ = &self.link;
        unimplemented!()
    }
}
