//! Between links and versions: which branches of a link can be led elsewhere.

use kiln_abi::ExecutorAddr;
use kiln_dispatch::{Body, CallSite, FunctionIndex, FunctionTable};
use kiln_link::{Link, Linked};

use crate::module::LoadedModule;
use crate::resolve::MadeBodies;

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
pub(crate) fn branches(linked: &Linked<'_>) -> impl Iterator<Item = Branch> {
    let sites = linked.call_sites().iter();
    sites.map(|site| Branch { place: site.place, target: site.target, patchable: site.patchable })
}

/// What leads to compiled bodies and out of them, in indices of the table. Kept from install to install, for its memory.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) bodies: Vec<Body>,
    /// Branches to functions of the table that can be patched.
    pub(crate) sites: Vec<CallSite>,
    /// How many cannot.
    pub(crate) unpatchable: u32,
    /// Other functions whose bodies the compile could see.
    pub(crate) visible: Vec<FunctionIndex>,
}

impl Entries {
    /// Makes them those of `made`, whose code has these `branches`.
    pub(crate) fn fill(
        &mut self,
        table: &FunctionTable,
        module: &LoadedModule,
        made: &MadeBodies,
        branches: impl Iterator<Item = Branch>,
    ) {
        let Self { bodies, sites, unpatchable, visible } = self;
        bodies.clear();
        bodies.extend(made.functions.iter().filter_map(|&(function, address, bytes)| {
            Some(Body { function: module.index_of(function)?, address, bytes })
        }));
        visible.clear();
        visible.extend(made.visible.iter().filter_map(|function| module.index_of(*function)));
        sites.clear();
        *unpatchable = add_sites(table, branches, bodies, sites);
    }
}

/// Those of `branches` that lead to functions of the table and can be patched, and how many cannot.
pub(crate) fn sites(
    table: &FunctionTable,
    branches: impl Iterator<Item = Branch>,
    bodies: &[Body],
) -> (Vec<CallSite>, u32) {
    let mut sites = Vec::new();
    let unpatchable = add_sites(table, branches, bodies, &mut sites);
    (sites, unpatchable)
}

fn add_sites(
    table: &FunctionTable,
    branches: impl Iterator<Item = Branch>,
    bodies: &[Body],
    sites: &mut Vec<CallSite>,
) -> u32 {
    let mut unpatchable = 0;
    for Branch { place, target, patchable } in branches {
        let own = bodies.iter().find(|body| body.address == target).map(|body| body.function);
        match own.or_else(|| table.index_of(target)) {
            Some(function) if patchable => sites.push(CallSite { place, function }),
            Some(_) => unpatchable += 1,
            None => {}
        }
    }
    unpatchable
}
