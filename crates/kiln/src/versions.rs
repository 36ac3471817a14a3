//! Between links and versions: which branches of a link can be led elsewhere.

use kiln_abi::ExecutorAddr;
use kiln_dispatch::{Body, CallSite, FunctionTable};
use kiln_link::{Link, Linked};

/// A link of code that may be replaced: functions have stubs, branches to them are recorded, and it is small.
pub(crate) fn link<'a>() -> Link<'a> {
    Link::new(kiln_link::Options {
        stubs: true,
        call_sites: true,
        single_threaded: true,
        ..kiln_link::Options::default()
    })
}

/// A direct branch of linked code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    /// Address of its displacement.
    pub(crate) place: ExecutorAddr,
    /// Where it leads.
    pub(crate) target: ExecutorAddr,
    /// Whether the displacement lies in one aligned 8-byte word.
    pub(crate) patchable: bool,
}

/// The branches of a link to global symbols.
pub(crate) fn branches(linked: &Linked<'_>) -> Vec<Branch> {
    let sites = linked.call_sites().iter();
    sites.map(|site| Branch { place: site.place, target: site.target, patchable: site.patchable }).collect()
}

/// Those of `branches` that lead to functions of the table and can be patched, and how many cannot.
pub(crate) fn sites(table: &FunctionTable, branches: &[Branch], bodies: &[Body]) -> (Vec<CallSite>, u32) {
    let function = |target: ExecutorAddr| match bodies.iter().find(|body| body.address == target) {
        Some(body) => Some(body.function),
        None => table.index_of(target),
    };
    let mut unpatchable = 0;
    let sites = branches.iter().filter_map(|branch| {
        let function = function(branch.target)?;
        if !branch.patchable {
            unpatchable += 1;
            return None;
        }
        Some(CallSite { place: branch.place, function })
    });
    (sites.collect(), unpatchable)
}
