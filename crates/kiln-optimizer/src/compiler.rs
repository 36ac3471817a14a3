//! Compiling batches of functions, on one thread.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, GlobalId, Pipeline};
use kiln_remote::Neighbours;

pub use crate::ffi::{Context, Error, ErrorKind, Fatal, Module, initialise};

/// A function comes along if it is called with at least this likelihood when a root is. A small SQL script runs 1,024 of
/// SQLite's 2,491 functions; with 0.45, 0.2 and 0.1 it compiles 1,104, 1,164 and 1,227 of them in 677, 555 and 488 requests.
/// Taking the direct callees breadth first compiles 1,423 in 367.
const LIKELIHOOD_MIN: f32 = 0.2;

/// What a batch became.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Functions that the object defines, the roots first.
    pub functions: Vec<FunctionId>,
    /// Globals that the object defines.
    pub globals: Vec<GlobalId>,
    /// Functions whose bodies the compile saw.
    pub visible: Vec<FunctionId>,
    /// The ELF object.
    pub object: Vec<u8>,
    /// IR instructions of `functions`, before the passes.
    pub instructions: u64,
    /// Time to read and extract the bodies.
    pub extract: Duration,
    /// Time of the IR passes.
    pub passes: Duration,
    /// Time of code generation.
    pub codegen: Duration,
    /// The extracted module, if it was asked for.
    pub text: Option<String>,
}

/// Compiles `roots` and the functions they will most likely call, directly or through each other, as far as `wanted` and
/// `neighbours` allow.
///
/// A root that cannot be compiled is an error; a neighbour that cannot is left out. Nothing is concluded from the bodies of
/// `opaque` functions.
pub fn compile<B>(
    module: &mut Module<'_, B>,
    roots: &[FunctionId],
    pipeline: Pipeline,
    neighbours: Neighbours,
    opaque: &[FunctionId],
    mut wanted: impl FnMut(FunctionId) -> bool,
    want_text: bool,
) -> Result<Output, Error> {
    let start = Instant::now();
    let (chosen, roots_count, instructions) = choose(module, roots, neighbours, &mut wanted)?;
    let mut batch = module.batch(pipeline, opaque);
    let mut functions = Vec::with_capacity(chosen.len());
    for (index, function) in chosen.into_iter().enumerate() {
        match batch.add(function) {
            Ok(()) => functions.push(function),
            Err(error) if index < roots_count => return Err(error),
            Err(_) => {}
        }
    }
    let text = want_text.then(|| batch.text());
    let extract = start.elapsed();
    let object = batch.compile()?;
    Ok(Output {
        functions,
        globals: object.globals,
        visible: object.visible,
        object: object.bytes,
        instructions,
        extract,
        passes: object.passes,
        codegen: object.codegen,
        text,
    })
}

/// A function that may come along.
struct Candidate {
    /// That it is called when a root is, by the estimates along the way.
    likelihood: f32,
    /// Order of discovery: what decides among equals.
    found: usize,
    function: FunctionId,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.likelihood.total_cmp(&other.likelihood).then(other.found.cmp(&self.found))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// The functions of the batch, how many of them are roots, and the instructions of all.
fn choose<B>(
    module: &mut Module<'_, B>,
    roots: &[FunctionId],
    neighbours: Neighbours,
    wanted: &mut impl FnMut(FunctionId) -> bool,
) -> Result<(Vec<FunctionId>, usize, u64), Error> {
    let mut chosen: Vec<FunctionId> = Vec::new();
    for root in roots {
        if !module.is_defined(*root) {
            let message = format!("function {} has no body in this module", root.0);
            return Err(Error { kind: ErrorKind::Unsupported, function: Some(*root), message });
        }
        if !chosen.contains(root) {
            chosen.push(*root);
        }
    }
    let roots_count = chosen.len();
    let functions_max = roots_count.saturating_add(neighbours.functions_max as usize);
    let mut total = 0;
    let mut candidates = BinaryHeap::new();
    let mut found = 0;
    let mut look = |module: &mut Module<'_, B>, function, likelihood: f32, candidates: &mut BinaryHeap<Candidate>| {
        let body = module.read(function)?;
        for (callee, chance) in body.callees().filter(|(_, chance)| likelihood * chance >= LIKELIHOOD_MIN) {
            found += 1;
            candidates.push(Candidate { likelihood: likelihood * chance, found, function: callee });
        }
        Ok(u64::from(body.instructions))
    };
    for root in &chosen {
        total += look(module, *root, 1.0, &mut candidates)?;
    }
    while let Some(candidate) = candidates.pop() {
        if chosen.len() >= functions_max || total >= u64::from(neighbours.instructions_max) {
            break;
        }
        if !chosen.contains(&candidate.function) && wanted(candidate.function) {
            chosen.push(candidate.function);
            total += look(module, candidate.function, candidate.likelihood, &mut candidates)?;
        }
    }
    Ok((chosen, roots_count, total))
}
