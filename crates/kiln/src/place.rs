//! From a resolved link to memory that runs.

use kiln_codecache::{Place, Records, Reservation};
use kiln_link::{Linked, Placement, Resolved, RuntimeSymbols, SymbolKind, TlsPlacement, TlsRequest};

use crate::debugger;
use crate::engine::Inner;
use crate::observe::{Shown, ShownFunction};
use crate::process::{tls, tls_descriptor};

/// From a symbol's name to what people call it.
pub(crate) type Naming<'o> = dyn Fn(&[u8]) -> Vec<u8> + 'o;

/// What tools are told about a link, besides unwind tables.
#[derive(Default)]
pub(crate) struct Observed<'o> {
    /// The link's only object, if debuggers are to see it.
    pub(crate) object: Option<&'o [u8]>,
    /// How profilers shall call a function that the link knows by the given name, if they are to see any.
    pub(crate) name: Option<&'o Naming<'o>>,
}

/// A link whose bytes are in their place, not published yet.
pub(crate) struct Filled<'a> {
    pub(crate) linked: Linked<'a>,
    pub(crate) reservation: Reservation,
    pub(crate) tls: TlsPlacement,
    /// What debuggers and profilers are told.
    pub(crate) shown: Shown,
}

/// Why a link has no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{0}")]
    Link(#[from] kiln_link::Errors),
    #[error("{0}")]
    Memory(#[from] kiln_codecache::Error),
}

/// Lays `resolved` out, reserves its memory and fills it. Nobody can run it yet.
pub(crate) fn fill<'a>(
    engine: &Inner,
    resolved: Resolved<'a>,
    observed: &Observed<'_>,
) -> Result<Filled<'a>, PlaceError> {
    let layout = resolved.layout()?;
    let wanted: Vec<_> = layout.segments.iter().map(|segment| (*segment, Place::Anywhere)).collect();
    let mut reservation = engine.cache.reserve(&wanted)?;
    let tls = layout.tls.map_or(TlsPlacement::None, place_tls);
    let addresses: Vec<_> = (0..wanted.len()).map(|index| reservation.segment(index)).collect();
    let working = reservation.working_all();
    let mut placements: Vec<_> = addresses
        .into_iter()
        .zip(working)
        .map(|(address, working)| Placement { address, working, zeroed: false })
        .collect();
    let runtime =
        RuntimeSymbols { tls_get_addr: Some(tls::resolver()), tls_descriptor: Some(tls_descriptor::resolver()) };
    let linked = layout.place(&mut placements, tls, &runtime)?;
    drop(placements);
    fill_tls(tls, linked.tls_image());
    let object = observed.object.and_then(|object| debugger::placed_object(object, &linked));
    let functions = observed.name.map_or_else(Vec::new, |name| function_names(&linked, name));
    Ok(Filled { linked, reservation, tls, shown: Shown { object, functions } })
}

impl<'a> Filled<'a> {
    /// Calls `with` with the memory and what is to be made known about it when it is published.
    pub(crate) fn publish_with<T>(self, with: impl FnOnce(&Linked<'a>, Reservation, Records<'_>) -> T) -> T {
        let Filled { mut linked, reservation, shown, .. } = self;
        let unwind = linked.take_unwind();
        shown.with_records(&unwind, |records| with(&linked, reservation, records))
    }
}

/// Names, addresses and sizes of a link's functions.
fn function_names(linked: &Linked<'_>, name: &Naming<'_>) -> Vec<ShownFunction> {
    let functions = linked.definitions().filter(|(_, definition)| definition.kind == SymbolKind::Function);
    functions
        .filter_map(|(symbol, definition)| {
            let address = definition.location.address()?;
            Some(ShownFunction { name: name(symbol), address, bytes: definition.size, lines: Vec::new() })
        })
        .filter(|function| function.bytes > 0)
        .collect()
}

/// In the static pool if it fits there, else per thread on demand.
fn place_tls(request: TlsRequest) -> TlsPlacement {
    match kiln_codecache::tls::reserve(request.size, request.align) {
        Some(tp_offset) => TlsPlacement::Static { tp_offset },
        None => TlsPlacement::Dynamic { module: tls::add_module(request.size, request.align) },
    }
}

/// Gives threads the initial values: those to come and the calling one.
fn fill_tls(placement: TlsPlacement, image: &[u8]) {
    match placement {
        TlsPlacement::Static { tp_offset } => kiln_codecache::tls::write_image(tp_offset, image),
        TlsPlacement::Dynamic { module } => tls::set_image(module, image),
        _ => {}
    }
}
