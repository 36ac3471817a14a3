//! Looks at everything a module and its bodies hold.

use kiln_bitcode::{Body, FunctionId, Module, ValueId};

/// How many things `module` has, and how many of its bodies could be read; `bytes` are those it was read from.
pub(crate) fn walk(module: &Module, bytes: &[u8], body: &mut Body) -> (usize, usize) {
    let (mut seen, mut bodies) = (kiln_bitcode::rows(module).map(|row| row.len()).sum(), 0);
    for (id, function) in (0..).map(FunctionId).zip(module.functions()) {
        if function.is_declaration() {
            continue;
        }
        if let Some(size) = walk_body(module, bytes, id, body) {
            bodies += 1;
            seen += size;
        }
    }
    (seen, bodies)
}

/// The same for the body of one function: how many things it has, if it can be read.
pub(crate) fn walk_body(module: &Module, bytes: &[u8], function: FunctionId, body: &mut Body) -> Option<usize> {
    match module.read_body(bytes, function, body) {
        Ok(()) => {
            check(module, body);
            Some(kiln_bitcode::body_rows(module, body).map(|row| row.len()).sum())
        }
        Err(error) => {
            assert!(error.bit() <= bytes.len() as u64 * 8, "{error}");
            None
        }
    }
}

/// What `Module::read_body` promises and rows do not touch.
fn check(module: &Module, body: &Body) {
    let mut next = 0;
    for block in (0..body.block_count()).map(kiln_bitcode::BlockId) {
        let range = body.block_instructions(block);
        assert!(range.start == next && range.end > range.start, "{block:?}: {range:?}");
        next = range.end;
    }
    assert_eq!(next as usize, body.instructions().len());
    for value in body.first_value()..body.value_count() {
        assert!((body.type_of(module, ValueId(value)).0 as usize) < module.types().len());
    }
    for instruction in body.instructions() {
        assert!((body.result_type(instruction).0 as usize) < module.types().len());
        if instruction.has_result() {
            assert_eq!(body.type_of(module, instruction.result()), body.result_type(instruction));
        }
        _ = module.layout_of(body.result_type(instruction));
    }
    assert!(body.locations().windows(2).all(|pair| pair[0].instruction < pair[1].instruction));
}
