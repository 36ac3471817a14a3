//! What lies outside a link: the process, earlier loads, shared libraries, and where members come from.

use kiln_abi::ExecutorAddr;
use kiln_abi::symbol::Id;

use crate::graph::Graph;

/// A definition outside the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum External {
    /// A function: branches that do not reach it go through a stub of this link.
    Function(ExecutorAddr),
    /// A function or variable in the same reservation as the link's own memory: always in reach, so that no stub is kept
    /// ready for it.
    Near(ExecutorAddr),
    /// A variable: code that does not reach it must go through the global offset table.
    Data(ExecutorAddr),
    /// A thread-local variable at a constant distance from the thread pointer.
    StaticTls {
        /// Address of the variable minus the thread pointer.
        tp_offset: i64,
    },
    /// A thread-local variable that `__tls_get_addr` finds.
    DynamicTls {
        /// The module's id (`RTLD_DI_TLS_MODID`).
        module: u64,
        /// Offset in the module's block (`st_value`).
        offset: u64,
    },
}

impl External {
    /// The address, unless it is a thread-local variable.
    #[must_use]
    pub fn address(self) -> Option<ExecutorAddr> {
        match self {
            External::Function(address) | External::Near(address) | External::Data(address) => Some(address),
            _ => None,
        }
    }
}

/// A source of definitions outside the link.
///
/// A name may carry a version (`memcpy@GLIBC_2.2.5`) where the object asks for one.
pub trait Scope {
    /// The definition of `name`, if there is one.
    fn lookup(&mut self, name: &[u8]) -> Option<External>;

    /// The stub of the function `name`, which this link defines: the one address that everybody outside the link sees,
    /// however often the function is replaced.
    ///
    /// Where there is one, only branches that can be patched later (their displacement lies in one aligned 8-byte
    /// word) bind to the body in this link; every other reference, in whatever section, binds to the stub. Asked only
    /// with [`Options::stubs`](crate::Options::stubs).
    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        let _ = name;
        None
    }

    /// [`Scope::lookup`] of a name that stands for `id`, for who would have to read that out of it.
    fn lookup_id(&mut self, id: Id, name: &[u8]) -> Option<External> {
        let _ = id;
        self.lookup(name)
    }

    /// [`Scope::stub`] of a name that stands for `id`.
    fn stub_of_id(&mut self, id: Id, name: &[u8]) -> Option<ExecutorAddr> {
        let _ = id;
        self.stub(name)
    }
}

impl<S: Scope + ?Sized> Scope for &mut S {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        (**self).lookup(name)
    }

    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        (**self).stub(name)
    }

    fn lookup_id(&mut self, id: Id, name: &[u8]) -> Option<External> {
        (**self).lookup_id(id, name)
    }

    fn stub_of_id(&mut self, id: Id, name: &[u8]) -> Option<ExecutorAddr> {
        (**self).stub_of_id(id, name)
    }
}

/// A scope without definitions.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoScope;

impl Scope for NoScope {
    fn lookup(&mut self, _: &[u8]) -> Option<External> {
        None
    }
}

/// Where archive members come from that are not ELF objects inside their archive.
///
/// A member is asked for when a symbol needs it; where the archive has no index, once before, for its symbols.
pub trait Members<'a> {
    /// The bytes of the file that the thin archive `archive` names `path`, relative to the archive's directory.
    fn thin(&mut self, archive: &str, path: &[u8]) -> Option<&'a [u8]> {
        let _ = (archive, path);
        None
    }

    /// A graph that defines what the bitcode member `member` of `archive` defines; `None` has it reported as
    /// [`ErrorKind::BitcodeMember`](crate::ErrorKind::BitcodeMember).
    fn bitcode(&mut self, archive: &str, member: &[u8], bytes: &'a [u8]) -> Option<&'a Graph<'a>> {
        let _ = (archive, member, bytes);
        None
    }
}

/// No members beyond those inside archives.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMembers;

impl Members<'_> for NoMembers {}
