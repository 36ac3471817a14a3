//! The ordered inputs of a link.

use kiln_abi::ExecutorAddr;

use crate::error::Errors;
use crate::graph::Graph;
use crate::resolve::Resolved;
use crate::scope::{Members, NoMembers, Scope};

/// How a link is done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Drop blocks and sections that nothing refers to. Roots are the names in `roots`, symbols of graphs marked
    /// `retained`, sections marked `SHF_GNU_RETAIN`, and arrays of constructors and destructors.
    pub prune: bool,
    /// Names of symbols that must stay when `prune` is set, such as `main`.
    pub roots: Vec<Vec<u8>>,
    /// Keep a record of every direct branch to a global symbol: [`Linked::call_sites`](crate::Linked::call_sites).
    pub call_sites: bool,
    /// Ask the scope for the [stub](Scope::stub) of every global function that the link defines.
    pub stubs: bool,
    /// Use one thread only, however large the input. Two are used above about 1 MB otherwise; the result is the same.
    pub single_threaded: bool,
}

/// An input of a link, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId(pub(crate) u32);

pub(crate) enum Input<'a> {
    Object { name: &'a str, bytes: &'a [u8] },
    Archive { name: &'a str, bytes: &'a [u8], whole: bool },
    Graph { name: &'a str, graph: &'a Graph<'a> },
    Dynamic(Box<dyn Scope + 'a>),
}

/// The inputs of a link, in a linker's order. See the [crate's documentation](crate) for the whole pipeline.
///
/// Order matters as it does for `ld.lld`: all objects and graphs take part; an archive's member takes part once a
/// symbol is wanted that it defines, whether the archive stands before or after who wants it; where several archives
/// and shared libraries could define a symbol, the first in the list does, and a definition in an object comes before
/// them all.
pub struct Link<'a> {
    pub(crate) options: Options,
    pub(crate) inputs: Vec<Input<'a>>,
    pub(crate) defines: Vec<(&'a [u8], ExecutorAddr)>,
    pub(crate) members: Box<dyn Members<'a> + 'a>,
}

impl<'a> Link<'a> {
    /// A link without inputs.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Link { options, inputs: Vec::new(), defines: Vec::new(), members: Box::new(NoMembers) }
    }

    fn add(&mut self, input: Input<'a>) -> InputId {
        self.inputs.push(input);
        InputId((self.inputs.len() - 1) as u32)
    }

    /// Adds an ELF object. Bytes that turn out to be an archive are taken as one.
    pub fn add_object(&mut self, name: &'a str, bytes: &'a [u8]) -> InputId {
        self.add(Input::Object { name, bytes })
    }

    /// Adds an archive, whose members are taken as they are needed, or all of them if `whole` is set. Bytes that turn
    /// out to be a bare object are taken as one.
    pub fn add_archive(&mut self, name: &'a str, bytes: &'a [u8], whole: bool) -> InputId {
        self.add(Input::Archive { name, bytes, whole })
    }

    /// Adds a graph.
    pub fn add_graph(&mut self, graph: &'a Graph<'a>) -> InputId {
        self.add_graph_as(graph.name(), graph)
    }

    /// Adds a graph that errors call `name` instead of what it is called itself.
    pub fn add_graph_as(&mut self, name: &'a str, graph: &'a Graph<'a>) -> InputId {
        self.add(Input::Graph { name, graph })
    }

    /// Adds a shared library: what `exports` defines comes before archives that stand later in the list, after
    /// archives that stand earlier, and after every object.
    pub fn add_dynamic(&mut self, exports: impl Scope + 'a) -> InputId {
        self.add(Input::Dynamic(Box::new(exports)))
    }

    /// Defines `name` as `address`, like `--defsym`. A definition in an object is a duplicate; one in an archive or
    /// library is not wanted any more.
    pub fn define(&mut self, name: &'a (impl AsRef<[u8]> + ?Sized), address: ExecutorAddr) {
        self.defines.push((name.as_ref(), address));
    }

    /// Sets where members of thin archives and bitcode members come from.
    pub fn set_members(&mut self, members: impl Members<'a> + 'a) {
        self.members = Box::new(members);
    }

    /// Reads the inputs, takes the archive members that are needed, and binds every symbol; what the inputs leave
    /// undefined is looked up in `scope`, the process.
    ///
    /// # Errors
    ///
    /// All malformed inputs and duplicate symbols; where no input is malformed, all undefined symbols too.
    pub fn resolve(self, scope: &mut dyn Scope) -> Result<Resolved<'a>, Errors> {
        crate::resolve::resolve(self, scope)
    }
}
