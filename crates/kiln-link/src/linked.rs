//! The result of a link.

use kiln_abi::{ExecutorAddr, FdeEntry};

use crate::graph::{SymbolId, SymbolKind, Visibility};
use crate::init::Functions;
use crate::layout::segment_of;
use crate::link::InputId;
use crate::resolve::Resolved;
use crate::symbols::State;
use crate::unit::{Home, NO_SYMBOL, Section, SymbolView, Unit};
use crate::x86_64::fixup::{Target, TargetKind};

/// Where a symbol ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// At an address.
    Address(ExecutorAddr),
    /// At an offset in the link's thread-local block.
    Tls {
        /// Offset in the block.
        offset: u64,
    },
}

impl Location {
    /// The address, unless it is thread-local.
    #[must_use]
    pub fn address(self) -> Option<ExecutorAddr> {
        match self {
            Location::Address(address) => Some(address),
            Location::Tls { .. } => None,
        }
    }
}

/// A definition that the link made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Where it is. For an `Ifunc`, its stub.
    pub location: Location,
    /// Bytes it covers; 0 if unknown.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
    /// Whether a definition elsewhere would have been preferred to it.
    pub weak: bool,
    /// Whether later loads may bind to it: false for hidden symbols.
    pub exported: bool,
}

/// A function whose address is found by calling a resolver (`STT_GNU_IFUNC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfuncSlot {
    /// The resolver to call, after all memory has its final protection and before any constructor.
    pub resolver: ExecutorAddr,
    /// Where to store what it returns: an aligned word of writable memory.
    pub slot: ExecutorAddr,
}

/// A direct branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite {
    /// Address of the displacement.
    pub place: ExecutorAddr,
    /// Index of the global symbol it names: [`Linked::global_name`].
    pub symbol: GlobalId,
    /// Where the branch leads now.
    pub target: ExecutorAddr,
    /// The instruction.
    pub opcode: Opcode,
    /// Whether the displacement lies in one aligned 8-byte word, so that it can be rewritten while threads run it.
    pub patchable: bool,
}

/// A global symbol of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalId(pub(crate) u32);

/// Kinds of direct branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// `E8 rel32`
    Call,
    /// `E9 rel32`
    Jump,
    /// `0F 8x rel32`
    ConditionalJump,
}

/// A section in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedSection<'a> {
    /// The input it comes from; for an archive's member, the archive.
    pub input: InputId,
    /// Its name.
    pub name: &'a [u8],
    /// Where it lies.
    pub address: ExecutorAddr,
    /// How long it is.
    pub bytes: u64,
}

/// A finished link: bytes are in place, everything else that its owner must know is here.
pub struct Linked<'a> {
    pub(crate) resolved: Resolved<'a>,
    /// Per symbol (flat).
    pub(crate) targets: Vec<Target>,
    pub(crate) bases: [u64; 3],
    pub(crate) unwind: Vec<FdeEntry>,
    pub(crate) calls: Vec<CallSite>,
    pub(crate) image: Vec<u8>,
    pub(crate) functions: Functions,
    pub(crate) ifuncs: Vec<IfuncSlot>,
}

/// The symbols of an input graph: [`Linked::graph_symbols`].
#[derive(Clone, Copy)]
pub struct GraphSymbols<'l, 'a> {
    linked: &'l Linked<'a>,
    unit: &'l Unit<'a>,
}

impl GraphSymbols<'_, '_> {
    /// The definition in the link that `symbol` is bound to, local ones included.
    #[inline]
    #[must_use]
    pub fn definition(&self, symbol: SymbolId) -> Option<Definition> {
        let Self { linked, unit } = *self;
        match unit.bound(symbol.0) {
            NO_SYMBOL => {
                let view = unit.symbol(symbol.0)?;
                Some(Definition {
                    location: linked.view_location(unit, &view)?,
                    size: view.size,
                    kind: view.kind,
                    weak: false,
                    exported: false,
                })
            }
            id => linked.definition(id),
        }
    }
}

impl<'a> Linked<'a> {
    /// The definition of a global symbol in this link. Of a function with a [stub](crate::Scope::stub), the body.
    #[must_use]
    pub fn symbol(&self, name: &[u8]) -> Option<Definition> {
        let found = self.resolved.symbols.find(name).or_else(|| self.resolved.default_version(name));
        self.definition(found?)
    }

    /// The definition in this link that a symbol of an input graph, local ones included, is bound to.
    #[must_use]
    pub fn graph_symbol(&self, input: InputId, symbol: SymbolId) -> Option<Definition> {
        self.graph_symbols(input)?.definition(symbol)
    }

    /// What [`Linked::graph_symbol`] says, for who asks for many symbols of `input`.
    #[must_use]
    pub fn graph_symbols(&self, input: InputId) -> Option<GraphSymbols<'_, 'a>> {
        let unit = self.resolved.units.iter().find(|unit| unit.input == input.0)?;
        Some(GraphSymbols { linked: self, unit })
    }

    fn view_location(&self, unit: &Unit<'_>, view: &SymbolView) -> Option<Location> {
        match view.home {
            Home::Section(section) => {
                let section = &unit.sections[section as usize];
                let offset = u64::from(section.offset).wrapping_add(view.value);
                match section.class {
                    class if class.is_tls() => Some(Location::Tls { offset }),
                    class => {
                        let base = self.bases[segment_of(class)?];
                        Some(Location::Address(ExecutorAddr::new(base.wrapping_add(offset))))
                    }
                }
            }
            Home::Absolute => Some(Location::Address(ExecutorAddr::new(view.value))),
            Home::Undefined | Home::Common => None,
        }
    }

    /// The address of a live section, or its offset in the thread-local block.
    pub(crate) fn section_address(&self, section: &Section) -> u64 {
        let base = segment_of(section.class).map_or(0, |segment| self.bases[segment]);
        base.wrapping_add(u64::from(section.offset))
    }

    /// Every section of the link's image: its input, its name, where it lies and how long it is.
    pub fn sections(&self) -> impl Iterator<Item = PlacedSection<'a>> + '_ {
        self.resolved.order.iter().flat_map(move |&id| {
            let unit = &self.resolved.units[id as usize];
            let live = (0u32..).zip(&unit.sections).filter(|(_, s)| segment_of(s.class).is_some());
            live.map(move |(index, section)| PlacedSection {
                input: InputId(unit.input),
                name: unit.section_name(index),
                address: ExecutorAddr::new(self.section_address(section)),
                bytes: u64::from(section.size),
            })
        })
    }

    fn definition(&self, id: u32) -> Option<Definition> {
        let symbol = self.resolved.symbols.get(id);
        let (size, kind) = match symbol.state {
            State::Defined { unit, global } => {
                let view = self.resolved.units[unit as usize].global(global);
                (view.size, view.kind)
            }
            State::Common { common, .. } => (self.resolved.symbols.common(id, common).size, SymbolKind::Data),
            State::Absolute(_) | State::Bounds { .. } => (0, SymbolKind::Untyped),
            _ => return None,
        };
        let target = self.targets[self.resolved.symbols.flat(id)];
        let location = match target.kind {
            TargetKind::OwnTls => Location::Tls { offset: target.address },
            TargetKind::Stubbed => Location::Address(ExecutorAddr::new(target.extra)),
            TargetKind::Gone => return None,
            _ => Location::Address(ExecutorAddr::new(target.address)),
        };
        let exported = symbol.visibility != Visibility::Hidden && !matches!(symbol.state, State::Bounds { .. });
        Some(Definition { location, size, kind, weak: symbol.weak, exported })
    }

    /// All definitions that later loads may bind to, with their names.
    pub fn exports(&self) -> impl Iterator<Item = (&'a [u8], Definition)> + '_ {
        self.definitions().filter(|(_, definition)| definition.exported)
    }

    /// All global definitions of the link with their names, hidden ones included.
    pub fn definitions(&self) -> impl Iterator<Item = (&'a [u8], Definition)> + '_ {
        self.resolved.symbols.ids().filter_map(|id| Some((self.resolved.symbols.get(id).name, self.definition(id)?)))
    }

    /// How many global names the link has, those included that it does not define.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.resolved.symbols.len()
    }

    /// The name of a global symbol.
    #[must_use]
    pub fn global_name(&self, symbol: GlobalId) -> &'a [u8] {
        self.resolved.symbols.get(symbol.0).name
    }

    /// Takes the unwind table entries of all live code, sorted by `pc_begin`.
    pub fn take_unwind(&mut self) -> Vec<FdeEntry> {
        std::mem::take(&mut self.unwind)
    }

    /// The initial image of the thread-local block, as long as [`TlsRequest::image_size`](crate::TlsRequest).
    #[must_use]
    pub fn tls_image(&self) -> &[u8] {
        &self.image
    }

    /// Functions of `.preinit_array`, in the order in which to call them, before [`Linked::init`].
    #[must_use]
    pub fn preinit(&self) -> &[ExecutorAddr] {
        &self.functions.preinit
    }

    /// Constructors, in the order in which to call them with (argc, argv, envp).
    #[must_use]
    pub fn init(&self) -> &[ExecutorAddr] {
        &self.functions.init
    }

    /// Destructors, in the order in which to call them.
    #[must_use]
    pub fn fini(&self) -> &[ExecutorAddr] {
        &self.functions.fini
    }

    /// Resolvers to run before anything else of the link.
    #[must_use]
    pub fn ifuncs(&self) -> &[IfuncSlot] {
        &self.ifuncs
    }

    /// Direct branches to global symbols, with [`Options::call_sites`](crate::Options::call_sites).
    #[must_use]
    pub fn call_sites(&self) -> &[CallSite] {
        &self.calls
    }
}
