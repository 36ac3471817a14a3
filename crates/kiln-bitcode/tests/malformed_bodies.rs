//! Function bodies that no LLVM would write: each is refused for the right reason, at the right place.

#[path = "support/bits.rs"]
mod bits;

use bits::{Bits, file};
use kiln_bitcode::{Body, Error, ErrorKind, FunctionId, parse};

const CONSTANTS: u64 = 11;
const FUNCTION: u64 = 12;
const TYPES: u64 = 17;

const VOID: u64 = 0;
const I32: u64 = 2;
const PTR: u64 = 3;
const PAIR: u64 = 4;
const DOUBLE: u64 = 5;
const VECTOR: u64 = 6;
const FUNCTION_TYPE: u64 = 8;

/// A module with one function, `i32 (i32, ptr, double, <4 x i32>)`, whose arguments are the values 1 to 4.
fn function(body: impl FnOnce(&mut Bits)) -> Vec<u8> {
    file("LLVM22.1.8", 0, |b| {
        b.record(1, &[2]);
        b.block(3, TYPES, 3, |b| {
            b.record(1, &[11]).record(2, &[]).record(7, &[8]).record(7, &[32]).record(25, &[0]).record(11, &[2, I32]);
            b.record(4, &[]).record(12, &[4, I32]).record(7, &[1]).record(21, &[0, I32, I32, PTR, DOUBLE, VECTOR]);
            b.record(21, &[1, VOID]).record(16, &[]);
        });
        b.record(8, &[0, 4, FUNCTION_TYPE, 0, 0, 0, 0, 0, 0, 0]);
        b.block(3, FUNCTION, 3, body);
    })
}

/// `function` with blocks, and records given as code and fields.
fn records(blocks: u64, records: &[(u64, &[u64])]) -> Vec<u8> {
    function(|b| {
        b.record(1, &[blocks]);
        records.iter().for_each(|(code, fields)| _ = b.record(*code, fields));
    })
}

fn read(bytes: &[u8]) -> Result<Body, Error> {
    let modules = parse(bytes).unwrap();
    let mut body = Body::new();
    modules[0].read_body(bytes, FunctionId(0), &mut body).map(|()| body)
}

fn refused(bytes: &[u8]) -> Error {
    let error = read(bytes).expect_err("refused");
    assert!(error.bit() <= bytes.len() as u64 * 8);
    error
}

#[track_caller]
fn refused_as(blocks: u64, list: &[(u64, &[u64])], what: &str) {
    let error = refused(&records(blocks, list));
    assert!(error.to_string().contains(what), "{error}, expected {what}");
    assert_eq!(error.block(), "FUNCTION_BLOCK");
}

const BINOP: u64 = 2;
const CAST: u64 = 3;
const RET: u64 = 10;
const BR: u64 = 11;
const SWITCH: u64 = 12;
const PHI: u64 = 16;
const ALLOCA: u64 = 19;
const LOAD: u64 = 20;
const EXTRACTVAL: u64 = 26;
const INSERTVAL: u64 = 27;
const CMP: u64 = 28;
const CALL: u64 = 34;
const DEBUG_LOC_AGAIN: u64 = 33;
const DEBUG_LOC: u64 = 35;
const LOADATOMIC: u64 = 41;
const GEP: u64 = 43;
const STORE: u64 = 44;
const CMPXCHG: u64 = 46;
const LANDINGPAD: u64 = 47;
const BUNDLE: u64 = 55;
const ATOMICRMW: u64 = 59;

/// Returns argument 0, when nothing was defined in between.
const RETURN: (u64, &[u64]) = (RET, &[4]);

#[test]
fn the_frame_of_these_tests_is_well_formed() {
    let bytes = records(1, &[RETURN]);
    let body = read(&bytes).unwrap();
    assert_eq!((body.block_count(), body.instructions().len(), body.first_value()), (1, 1, 1));
    assert_eq!(body.operands(body.instruction(0)), [body.argument(0).0]);
    // A body can be read again, into the same arrays.
    let modules = parse(&bytes).unwrap();
    let mut body = body;
    modules[0].read_body(&bytes, FunctionId(0), &mut body).unwrap();
    assert_eq!(body.instructions().len(), 1);
    // Bytes that end before the body.
    let error = modules[0].read_body(&bytes[..100], FunctionId(0), &mut body).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoBody { function: 0 });
}

#[test]
fn blocks_that_do_not_add_up() {
    let unterminated = |closed, blocks| ErrorKind::UnterminatedBlock { closed, blocks };
    assert_eq!(*refused(&function(|_| {})).kind(), unterminated(0, 0));
    assert_eq!(*refused(&function(|b| _ = b.record(RET, &[4]))).kind(), unterminated(0, 0));
    assert_eq!(*refused(&records(1, &[])).kind(), unterminated(0, 1));
    assert_eq!(*refused(&records(2, &[RETURN])).kind(), unterminated(1, 2));
    assert_eq!(*refused(&records(1, &[RETURN, RETURN])).kind(), unterminated(1, 1));
    assert_eq!(*refused(&records(1, &[(BINOP, &[4, 4, 0])])).kind(), unterminated(0, 1));
    for blocks in [0, 100_000, u64::MAX] {
        refused_as(blocks, &[RETURN], "number of basic blocks");
    }
    refused_as(1, &[(1, &[1]), RETURN], "number of basic blocks");
    refused_as(1, &[RETURN, (99, &[])], "1 basic blocks end with a terminator");
    refused_as(1, &[(99, &[])], "unknown record code 99");
}

#[test]
fn targets_that_do_not_exist() {
    refused_as(2, &[(BR, &[2]), RETURN], "basic block 2 does not exist");
    refused_as(2, &[(BR, &[0]), RETURN], "basic block 0 does not exist");
    refused_as(2, &[(BR, &[u64::MAX]), RETURN], "does not exist");
    refused_as(2, &[(BR, &[1, 7, 4]), RETURN], "basic block 7 does not exist");
    refused_as(2, &[(BR, &[1, 1, 4]), RETURN], "operand of an instruction");
    refused_as(2, &[(BR, &[1, 1]), RETURN], "has 2 fields, needs 3");
    refused_as(2, &[(BR, &[1, 1, 4, 4]), RETURN], "operand");
    refused_as(1, &[(SWITCH, &[I32, 4, 0])], "basic block 0 does not exist");
    refused_as(2, &[(BR, &[1]), (PHI, &[I32, 8, 2]), (RET, &[1])], "basic block 2 does not exist");
}

#[test]
fn values_that_do_not_exist() {
    // Forward references that nothing resolves, or something of another type.
    refused_as(1, &[(RET, &[u64::from(u32::MAX), I32])], "value 6 does not exist");
    refused_as(1, &[(RET, &[0, I32])], "value 5 does not exist");
    refused_as(1, &[(RET, &[0])], "has 1 fields, needs 2");
    refused_as(1, &[(RET, &[0, 77])], "type 77 does not exist");
    refused_as(1, &[(BINOP, &[0, DOUBLE, 4, 0]), (RET, &[1])], "operand of an instruction");
    refused_as(1, &[(CAST, &[u64::from(u32::MAX), PTR, I32, 9]), (BINOP, &[1, 1, 0]), (RET, &[1])], "defined later");
    // A phi of a value far behind the end.
    refused_as(2, &[(BR, &[1]), (PHI, &[I32, 3 << 20 | 1, 0]), (RET, &[1])], "does not exist");
    // Absolute numbers.
    refused_as(1, &[(ALLOCA, &[I32, I32, 1 << 32, 1 << 6]), (RET, &[5])], "value number cannot be");
    refused_as(1, &[(ALLOCA, &[I32, I32, 900, 1 << 6]), (RET, &[5])], "value 900 does not exist");
    refused_as(1, &[(ALLOCA, &[I32, I32, 2, 1 << 6]), (RET, &[5])], "operand of an instruction");
    refused_as(2, &[(SWITCH, &[I32, 4, 1, 1, 1]), RETURN], "case of a switch");
    refused_as(2, &[(SWITCH, &[I32, 4, 1, u64::MAX, 1]), RETURN], "case of a switch");
}

#[test]
fn types_that_do_not_agree() {
    refused_as(1, &[(BINOP, &[4, 3, 0]), (RET, &[1])], "operand of an instruction");
    refused_as(1, &[(BINOP, &[3, 3, 0]), (RET, &[5])], "arithmetic on something else");
    refused_as(1, &[(BINOP, &[2, 2, 3]), (RET, &[5])], "operation cannot be 3");
    refused_as(1, &[(BINOP, &[4, 4, 13]), (RET, &[1])], "operation cannot be 13");
    refused_as(1, &[(BINOP, &[4, 4, 0, 0, 0]), (RET, &[1])], "has 5 fields, needs 4");
    refused_as(1, &[(CAST, &[4, DOUBLE, 1]), (RET, &[5])], "conversion between");
    refused_as(1, &[(CAST, &[4, I32, 0]), (RET, &[5])], "conversion between");
    refused_as(1, &[(CAST, &[4, VOID, 11]), (RET, &[5])], "conversion between");
    refused_as(1, &[(CAST, &[4, I32, 99]), (RET, &[5])], "conversion cannot be 99");
    refused_as(1, &[(CMP, &[3, 3, 1]), (RET, &[5])], "predicate cannot be 1");
    refused_as(1, &[(CMP, &[2, 2, 32]), (RET, &[5])], "predicate cannot be 32");
    // The module has no vector of i1, and no { i32, i1 }.
    refused_as(1, &[(CMP, &[1, 1, 32]), (RET, &[5])], "type the module lacks");
    refused_as(1, &[(CMPXCHG, &[3, 4, 4, 0, 6, 1, 6, 0, 3]), (RET, &[5])], "type the module lacks");
    refused_as(1, &[(LOAD, &[4, I32, 3, 0]), (RET, &[1])], "address that is no pointer");
    refused_as(1, &[(LOAD, &[3, VOID, 3, 0]), (RET, &[4])], "cannot be stored");
    refused_as(1, &[(LOAD, &[3, FUNCTION_TYPE, 3, 0]), (RET, &[1])], "cannot be stored");
    refused_as(1, &[(LOAD, &[3, I32, 34, 0]), (RET, &[1])], "exponent of an alignment cannot be 34");
    refused_as(1, &[(LOADATOMIC, &[3, I32, 3, 0, 4, 1]), (RET, &[1])], "memory ordering cannot be 4");
    refused_as(1, &[(LOADATOMIC, &[3, I32, 0, 0, 6, 1]), (RET, &[1])], "atomic access");
    refused_as(1, &[(ATOMICRMW, &[3, 4, 11, 0, 6, 1, 3]), (RET, &[1])], "atomic access");
    refused_as(1, &[(ATOMICRMW, &[3, 4, 21, 0, 6, 1, 3]), (RET, &[1])], "operation cannot be 21");
    refused_as(1, &[(STORE, &[3, 4, 3]), RETURN], "has 3 fields, needs 4");
    refused_as(1, &[(ALLOCA, &[VOID, I32, 1, 1 << 6]), (RET, &[5])], "cannot be stored");
    refused_as(1, &[(ALLOCA, &[I32, I32, 1, 0]), (RET, &[5])], "typed pointer");
    refused_as(1, &[(RET, &[])], "return without a value");
    refused_as(1, &[(RET, &[2])], "value that is returned");
    refused_as(2, &[(BR, &[1]), (BINOP, &[4, 4, 0]), (PHI, &[I32, 8, 0]), (RET, &[1])], "phi behind another");
    refused_as(2, &[(BR, &[1]), (PHI, &[VOID]), RETURN], "cannot be stored");
}

#[test]
fn parts_that_do_not_exist() {
    refused_as(1, &[(GEP, &[0, I32, 4]), (RET, &[1])], "something else than pointers");
    refused_as(1, &[(GEP, &[0, I32, 3, 2]), (RET, &[1])], "index that is no integer");
    refused_as(1, &[(GEP, &[0, I32, 3, 4, 4]), (RET, &[1])], "without parts");
    // A vector of indices, and no vector of pointers.
    refused_as(1, &[(GEP, &[0, I32, 3, 1]), (RET, &[1])], "type the module lacks");
    refused_as(1, &[(LOAD, &[3, PAIR, 3, 0]), (EXTRACTVAL, &[1, 2]), (RET, &[1])], "part of an aggregate");
    refused_as(1, &[(LOAD, &[3, PAIR, 3, 0]), (EXTRACTVAL, &[1]), (RET, &[1])], "part of an aggregate");
    refused_as(1, &[(EXTRACTVAL, &[4, 0]), (RET, &[1])], "part of an aggregate");
    refused_as(1, &[(LOAD, &[3, PAIR, 3, 0]), (INSERTVAL, &[1, 3, 0]), (RET, &[5])], "part of an aggregate");
    refused_as(1, &[(LANDINGPAD, &[PTR, 0, 1, 0, 3]), RETURN], "clause of a landing pad");
    refused_as(1, &[(LANDINGPAD, &[PTR, 0, u64::MAX, 0, 5]), RETURN], "needs");
}

#[test]
fn calls_that_do_not_fit() {
    const EXPLICIT: u64 = 1 << 15;
    // Values count from the function itself, which is 5 back from the first result.
    let good: &[u64] = &[0, EXPLICIT, FUNCTION_TYPE, 5, 4, 3, 2, 1];
    assert!(read(&records(1, &[(CALL, good), (RET, &[1])])).is_ok());
    refused_as(1, &[(CALL, &[0, 0, FUNCTION_TYPE, 5, 4, 3, 2, 1]), (RET, &[1])], "typed pointer");
    refused_as(1, &[(CALL, &[1, EXPLICIT, FUNCTION_TYPE, 5, 4, 3, 2, 1]), (RET, &[1])], "attribute list 1 does not");
    refused_as(1, &[(CALL, &[0, EXPLICIT, I32, 5, 4, 3, 2, 1]), (RET, &[1])], "something else than a function");
    refused_as(1, &[(CALL, &[0, EXPLICIT, FUNCTION_TYPE, 4, 4, 3, 2, 1]), (RET, &[1])], "else than a pointer");
    refused_as(1, &[(CALL, &[0, EXPLICIT, FUNCTION_TYPE, 5, 4, 3, 2]), (RET, &[1])], "has 7 fields, needs 8");
    refused_as(1, &[(CALL, &[0, EXPLICIT, FUNCTION_TYPE, 5, 4, 3, 2, 1, 1]), (RET, &[1])], "has 9 fields, needs 8");
    refused_as(1, &[(CALL, &[0, EXPLICIT, FUNCTION_TYPE, 5, 3, 3, 2, 1]), (RET, &[1])], "operand of an instruction");
    refused_as(1, &[(BUNDLE, &[0, 4]), RETURN], "operand bundle tag 0 does not exist");
}

#[test]
fn locations_of_nothing() {
    let misplaced = |list: &[(u64, &[u64])]| {
        assert_eq!(*refused(&records(1, list)).kind(), ErrorKind::MisplacedLocation);
    };
    misplaced(&[(DEBUG_LOC, &[1, 1, 1, 0, 0]), RETURN]);
    misplaced(&[RETURN, (DEBUG_LOC_AGAIN, &[])]);
    refused_as(1, &[RETURN, (DEBUG_LOC, &[1, 1, 1])], "has 3 fields, needs 4");
    let bytes = records(1, &[(BINOP, &[4, 4, 0]), (DEBUG_LOC, &[7, 8, 2, 3, 0]), (RET, &[1]), (DEBUG_LOC_AGAIN, &[])]);
    let body = read(&bytes).unwrap();
    let found: Vec<_> =
        body.locations().iter().map(|l| (l.instruction, l.line, l.column, l.scope, l.inlined_at)).collect();
    assert_eq!(found, [(0, 7, 8, 2, 3), (1, 7, 8, 2, 3)]);
}

#[test]
fn constants_of_bodies() {
    // i32 constants, numbered from 5 on; binary expressions name them by their numbers.
    let constants = |list: &[(u64, &[u64])]| {
        function(|b| {
            b.record(1, &[1]);
            b.block(3, CONSTANTS, 3, |b| {
                b.record(1, &[I32]);
                list.iter().for_each(|(code, fields)| _ = b.record(*code, fields));
            });
            b.record(RET, &[list.len() as u64]);
        })
    };
    assert!(read(&constants(&[(10, &[0, 6, 6]), (4, &[4])])).is_ok());
    let error = refused(&constants(&[(10, &[0, 5, 5])]));
    assert_eq!(*error.kind(), ErrorKind::CyclicConstant { constant: 5 });
    // Arguments are no constants.
    let error = refused(&constants(&[(10, &[0, 1, 1])]));
    assert!(error.to_string().contains("constant 1 does not exist"), "{error}");
    let error = refused(&constants(&[(10, &[0, 9, 9])]));
    assert!(error.to_string().contains("constant 9 does not exist"), "{error}");
    let error = refused(&constants(&[(21, &[0, 1, 0])]));
    assert!(error.to_string().contains("does not exist"), "{error}");
    // Their numbers come before those of results.
    let bytes = function(|b| {
        b.record(1, &[1]).record(BINOP, &[4, 4, 0]);
        b.block(3, CONSTANTS, 3, |b| _ = b.record(1, &[I32]).record(4, &[4]));
        b.record(RET, &[1]);
    });
    assert_eq!(*refused(&bytes).kind(), ErrorKind::MisplacedBlock);
}

/// An abbreviation of literals makes an instruction of three bits.
#[test]
fn instructions_out_of_nothing_are_bounded() {
    let bytes = function(|b| {
        b.record(1, &[1]);
        // [LOAD, argument 1, PTR, 4, 0]: each loads from what the one before loaded.
        b.record(LOAD, &[3, PTR, 4, 0]);
        b.fixed(2, 3).vbr(5, 5);
        for value in [LOAD, 1, PTR, 4, 0] {
            b.fixed(1, 1).vbr(value, 8);
        }
        for _ in 0..2_000_000 {
            b.fixed(4, 3);
        }
    });
    let error = refused(&bytes);
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "bytes of decoded tables", .. }), "{error}");
}

/// A long mask is named by many short records: looking at its elements takes bounded time.
#[test]
fn long_constants_are_not_looked_at_for_ever() {
    const LANES: u64 = 1 << 14;
    const SHUFFLEVEC: u64 = 8;
    let bytes = |shuffles: u64| {
        file("LLVM22.1.8", 0, |b| {
            b.record(1, &[2]);
            b.block(3, TYPES, 3, |b| {
                // void, i32, <LANES x i32>, void (<LANES x i32>), ptr
                b.record(1, &[5]).record(2, &[]).record(7, &[32]).record(12, &[LANES, 1]).record(21, &[0, 0, 2]);
                b.record(25, &[0]);
            });
            b.record(8, &[0, 4, 3, 0, 0, 0, 0, 0, 0, 0]);
            b.block(3, FUNCTION, 3, |b| {
                b.record(1, &[1]);
                b.block(3, CONSTANTS, 3, |b| _ = b.record(1, &[2]).record(22, &vec![1; LANES as usize]));
                // The argument is value 1, the mask value 2.
                for n in 0..shuffles {
                    b.record(SHUFFLEVEC, &[n + 2, n + 2, n + 1]);
                }
                b.record(RET, &[]);
            });
        })
    };
    assert!(read(&bytes(10)).is_ok());
    let error = refused(&bytes(2000));
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "elements of constants", .. }), "{error}");
}
