//! From a resolved link to memory that runs.

use kiln_codecache::{Place, Published, Records};
use kiln_link::{Linked, Placement, Resolved, RuntimeSymbols, TlsPlacement, TlsRequest};

use crate::engine::Inner;
use crate::process::tls;

/// What besides unwind tables is registered for a link.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Debug<'a> {
    /// The object, for debuggers.
    pub(crate) object: Option<&'a [u8]>,
}

/// A link in its place.
pub(crate) struct Placed<'a> {
    pub(crate) linked: Linked<'a>,
    pub(crate) published: Published,
    pub(crate) tls: TlsPlacement,
}

/// Why a link has no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{0}")]
    Link(#[from] kiln_link::Errors),
    #[error("{0}")]
    Memory(#[from] kiln_codecache::Error),
}

/// Lays `resolved` out, reserves its memory, fills it and publishes it: from here on its code may run.
pub(crate) fn place<'a>(engine: &Inner, resolved: Resolved<'a>, debug: Debug<'_>) -> Result<Placed<'a>, PlaceError> {
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
    let runtime = RuntimeSymbols { tls_get_addr: Some(tls::resolver()), tls_descriptor: None };
    let mut linked = layout.place(&mut placements, tls, &runtime)?;
    drop(placements);
    fill_tls(tls, linked.tls_image());
    let records = Records::new().unwind(linked.take_unwind()).debug_object(debug.object);
    let published = reservation.publish(records)?;
    Ok(Placed { linked, published, tls })
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
