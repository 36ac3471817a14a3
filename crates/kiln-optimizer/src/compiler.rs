//! Compiling batches of functions, on one thread.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kiln_abi::{FunctionId, GlobalId, Pipeline};
use kiln_remote::{FunctionSet, Neighbours};

pub use crate::ffi::{Context, Error, ErrorKind, Fatal, Module, initialise};

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

/// Compiles `roots` and, breadth first along direct calls, as many functions that `wanted` agrees to as `neighbours`
/// allows.
///
/// A root that cannot be compiled is an error; a neighbour that cannot is left out.
pub fn compile<B>(
    module: &mut Module<'_, B>,
    roots: &[FunctionId],
    pipeline: Pipeline,
    neighbours: Neighbours,
    mut wanted: impl FnMut(FunctionId) -> bool,
    want_text: bool,
) -> Result<Output, Error> {
    let start = Instant::now();
    let (chosen, roots_count, instructions) = choose(module, roots, neighbours, &mut wanted)?;
    let mut batch = module.batch(pipeline);
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

/// The functions of the batch, how many of them are roots, and the instructions of all.
fn choose<B>(
    module: &mut Module<'_, B>,
    roots: &[FunctionId],
    neighbours: Neighbours,
    wanted: &mut impl FnMut(FunctionId) -> bool,
) -> Result<(Vec<FunctionId>, usize, u64), Error> {
    let mut seen = FunctionSet::default();
    let mut queue: VecDeque<FunctionId> = VecDeque::new();
    for root in roots {
        if !module.is_defined(*root) {
            let message = format!("function {} has no body in this module", root.0);
            return Err(Error { kind: ErrorKind::Unsupported, function: Some(*root), message });
        }
        if seen.insert(*root) {
            queue.push_back(*root);
        }
    }
    let roots_count = queue.len();
    let functions_max = roots_count.saturating_add(neighbours.functions_max as usize);
    let mut instructions = 0;
    let mut chosen = Vec::new();
    while let Some(function) = queue.pop_front() {
        let is_root = chosen.len() < roots_count;
        if !is_root {
            if chosen.len() >= functions_max || instructions >= u64::from(neighbours.instructions_max) {
                break;
            }
            if !wanted(function) {
                continue;
            }
        }
        let body = module.read(function)?;
        instructions += u64::from(body.instructions);
        chosen.push(function);
        if neighbours.functions_max > 0 {
            queue.extend(body.callees().filter(|callee| seen.insert(*callee)));
        }
    }
    Ok((chosen, roots_count, instructions))
}
