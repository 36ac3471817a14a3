//! Files that no LLVM would write, made bit by bit: each is refused for the right reason, at the right place.

#[path = "support/bits.rs"]
mod bits;

use bits::{Bits, file};
use kiln_bitcode::{Error, ErrorKind, Input, identify, parse};

const CONSTANTS: u64 = 11;
const FUNCTION: u64 = 12;
const TYPES: u64 = 17;

/// A module of LLVM 22 with the types void, i8, i32, ptr, [2 x i32], and `content`.
fn module(content: impl FnOnce(&mut Bits)) -> Vec<u8> {
    file("LLVM22.1.8", 0, |b| {
        b.record(1, &[2]);
        b.block(3, TYPES, 3, |b| {
            b.record(1, &[5]).record(2, &[]).record(7, &[8]).record(7, &[32]).record(25, &[0]).record(11, &[2, 2]);
        });
        content(b);
    })
}

const I32: u64 = 2;
const PTR: u64 = 3;
const PAIR: u64 = 4;

fn refused(bytes: &[u8]) -> Error {
    let error = parse(bytes).expect_err("refused");
    assert!(error.bit() <= bytes.len() as u64 * 8);
    error
}

#[test]
fn the_frame_of_these_tests_is_well_formed() {
    let bytes = module(|b| {
        b.record(7, &[0, 4, I32, 3, 1 + 1, 0, 0, 0]);
        b.block(3, CONSTANTS, 3, |b| {
            b.record(1, &[I32]).record(4, &[14]);
        });
    });
    let modules = parse(&bytes).unwrap();
    let rows: Vec<String> = kiln_bitcode::rows(&modules[0]).collect();
    assert!(rows[1].starts_with("global \"name\" linkage=external"), "{rows:?}");
    assert!(rows[1].ends_with("initializer=i32 0x7"), "{rows:?}");
}

#[test]
fn other_things_than_bitcode() {
    assert_eq!(identify(b""), Input::Unknown);
    assert_eq!(identify(b"\x7fELF\x02"), Input::Elf);
    assert_eq!(identify(b"!<thin>\n"), Input::Archive);
    assert_eq!(identify(b"; ModuleID = 'x'\n"), Input::TextualIr);
    assert_eq!(identify(&[1, 2, 3]), Input::Unknown);
    for bytes in [&b""[..], b"BC", b"BC\xc0\xde", b"\x7fELF", &0x0b17_c0deu32.to_le_bytes()] {
        assert_eq!(*refused(bytes).kind(), ErrorKind::NotBitcode, "{bytes:?}");
    }
}

#[test]
fn foreign_producers_are_named() {
    for (producer, epoch, newer) in [
        ("LLVM21.1.0", 0, false),
        ("LLVM3.2svn", 0, false),
        ("LLVM23.0.0git", 0, true),
        ("LLVM220.0", 0, true),
        ("LLVM22.1.8", 1, true),
        ("APPLE_1_1700.0.13.5_0", 0, false),
        ("", 0, false),
    ] {
        let bytes = file(producer, epoch, |b| _ = b.record(1, &[2]));
        let named = ErrorKind::ForeignProducer { producer: producer.to_owned(), newer };
        assert_eq!(*refused(&bytes).kind(), named);
        let Input::Bitcode { producer: seen, epoch: at, current, newer: ahead } = identify(&bytes) else { panic!() };
        assert_eq!((seen.as_str(), at, current, ahead), (producer, epoch, false, newer));
    }
    // Names outside a string table: the module's version says so, or is missing.
    for version in [&[0][..], &[1]] {
        let bytes = file("LLVM22.1.8", 0, |b| _ = b.record(1, version));
        assert!(matches!(refused(&bytes).kind(), ErrorKind::ForeignProducer { newer: false, .. }));
    }
    let bytes = file("LLVM22.1.8", 0, |_| {});
    assert!(matches!(refused(&bytes).kind(), ErrorKind::ForeignProducer { newer: false, .. }));
}

#[test]
fn lengths_that_lie() {
    // A block that says it is longer than its parent.
    let bytes = module(|b| _ = b.fixed(1, 3).vbr(FUNCTION, 8).vbr(3, 4).align().fixed(0xffff_ffff, 32));
    let error = refused(&bytes);
    assert_eq!((error.kind(), error.block().as_str()), (&ErrorKind::BadBlockLength, "MODULE_BLOCK"));
    // A block that ends before its length says so.
    let bytes = module(|b| {
        b.block(3, CONSTANTS, 3, |b| _ = b.fixed(0, 3).align().fixed(0, 32));
    });
    let error = refused(&bytes);
    assert_eq!((error.kind(), error.block().as_str()), (&ErrorKind::BadBlockLength, "CONSTANTS_BLOCK"));
    // A record with 2^60 fields.
    let bytes = module(|b| _ = b.fixed(3, 3).vbr(7, 6).vbr(1 << 60, 6));
    assert_eq!(*refused(&bytes).kind(), ErrorKind::Truncated);
    // A blob of 2^40 bytes.
    let bytes = module(|b| {
        b.fixed(2, 3).vbr(2, 5).fixed(1, 1).vbr(1, 8).fixed(0, 1).fixed(5, 3);
        b.fixed(4, 3).vbr(1 << 40, 6).align();
    });
    assert_eq!(*refused(&bytes).kind(), ErrorKind::Truncated);
}

#[test]
fn abbreviations_that_make_no_sense() {
    type Definition = fn(&mut Bits);
    let cases: [(Definition, &str); 7] = [
        (|b| _ = b.vbr(0, 5), "no operands"),
        (|b| _ = b.vbr(1, 5).fixed(0, 1).fixed(1, 3).vbr(33, 5), "wider than 32"),
        (|b| _ = b.vbr(2, 5).fixed(0, 1).fixed(3, 3).fixed(0, 1).fixed(3, 3), "array of arrays"),
        (|b| _ = b.vbr(2, 5).fixed(0, 1).fixed(3, 3).fixed(0, 1).fixed(1, 3).vbr(0, 5), "zero-width"),
        (|b| _ = b.vbr(3, 5).fixed(0, 1).fixed(3, 3), "not the last but one"),
        (|b| _ = b.vbr(1, 5).fixed(0, 1).fixed(7, 3), "unknown encoding"),
        (|b| _ = b.vbr(1, 5).fixed(0, 1).fixed(5, 3), "no record code"),
    ];
    for (definition, message) in cases {
        let bytes = module(|b| {
            b.fixed(2, 3);
            definition(b);
            b.align().fixed(0, 32);
        });
        let error = refused(&bytes);
        assert!(matches!(error.kind(), ErrorKind::BadAbbreviation { .. }), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let bytes = module(|b| _ = b.fixed(2, 3).vbr(1000, 5));
    assert!(matches!(refused(&bytes).kind(), ErrorKind::Limit { .. }));
    let bytes = module(|b| _ = b.fixed(7, 3));
    assert_eq!(*refused(&bytes).kind(), ErrorKind::UndefinedAbbreviation { id: 7 });
}

/// An abbreviation of literals makes a record of hundreds of fields out of three bits.
#[test]
fn records_out_of_nothing_are_bounded() {
    let bytes = file("LLVM22.1.8", 0, |b| {
        b.record(1, &[2]);
        b.block(3, TYPES, 3, |b| {
            b.record(1, &[1]).record(7, &[8]);
            // [STRUCT_ANON, not packed, 254 × type 0]
            b.fixed(2, 3).vbr(256, 5).fixed(1, 1).vbr(18, 8);
            for _ in 0..255 {
                b.fixed(1, 1).vbr(0, 8);
            }
            for _ in 0..200_000 {
                b.fixed(4, 3);
            }
        });
    });
    let error = refused(&bytes);
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "bytes of decoded tables", .. }), "{error}");
}

fn with_constants(ty: u64, initializer: u64, constants: impl FnOnce(&mut Bits)) -> Vec<u8> {
    module(|b| {
        b.record(7, &[0, 4, ty, 3, initializer + 1, 0, 0, 0]);
        b.block(3, CONSTANTS, 3, constants);
    })
}

const AGGREGATE: u64 = 7;
const BINARY: u64 = 10;
const GEP: u64 = 32;
const BLOCKADDRESS: u64 = 21;

#[test]
fn constants_that_contain_themselves() {
    let bytes = with_constants(I32, 1, |b| _ = b.record(1, &[I32]).record(BINARY, &[0, 1, 1]));
    assert_eq!(*refused(&bytes).kind(), ErrorKind::CyclicConstant { constant: 1 });
    let bytes = with_constants(I32, 1, |b| {
        b.record(1, &[I32]).record(BINARY, &[0, 2, 3]).record(BINARY, &[0, 3, 3]).record(BINARY, &[0, 3, 1]);
    });
    assert!(matches!(refused(&bytes).kind(), ErrorKind::CyclicConstant { .. }));
}

#[test]
fn constants_too_deep_or_too_large() {
    // Each adds the one before to 0: depth 600.
    let bytes = with_constants(I32, 1, |b| {
        b.record(1, &[I32]).record(2, &[]);
        for n in 1..600 {
            b.record(BINARY, &[0, n, 1]);
        }
    });
    let error = refused(&bytes);
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "nesting of constants", .. }), "{error}");
    // Each adds the one before to itself: 2^40 parts.
    let bytes = with_constants(I32, 1, |b| {
        b.record(1, &[I32]).record(2, &[]);
        for n in 1..40 {
            b.record(BINARY, &[0, n, n]);
        }
    });
    let error = refused(&bytes);
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "size of a constant expression", .. }), "{error}");
}

#[test]
fn constants_that_do_not_fit() {
    let refused_as = |bytes: &[u8], what: &str| {
        let error = refused(bytes);
        assert!(error.to_string().contains(what), "{error}");
    };
    // The initialiser has another type, does not exist, or an aggregate has other elements than its type.
    refused_as(&with_constants(PTR, 1, |b| _ = b.record(1, &[I32]).record(2, &[])), "initialiser of a global");
    refused_as(&with_constants(I32, 9, |b| _ = b.record(1, &[I32]).record(2, &[])), "constant 9 does not exist");
    refused_as(&with_constants(PAIR, 1, |b| _ = b.record(1, &[PAIR]).record(AGGREGATE, &[0])), "elements");
    refused_as(&with_constants(PAIR, 1, |b| _ = b.record(1, &[PAIR]).record(AGGREGATE, &[0, 0])), "elements");
    refused_as(&with_constants(PAIR, 1, |b| _ = b.record(1, &[PAIR]).record(AGGREGATE, &[0, 77])), "constant 77");
    // Strings, data and integers of other types.
    refused_as(&with_constants(PAIR, 1, |b| _ = b.record(1, &[PAIR]).record(9, &[65])), "string of another type");
    refused_as(&with_constants(PAIR, 1, |b| _ = b.record(1, &[PAIR]).record(22, &[1, 2, 3])), "data of another length");
    refused_as(&with_constants(PTR, 1, |b| _ = b.record(1, &[PTR]).record(4, &[2])), "integer constant");
    refused_as(&with_constants(I32, 1, |b| _ = b.record(1, &[I32]).record(5, &[2, 2])), "words of an integer");
    refused_as(&with_constants(I32, 1, |b| _ = b.record(1, &[I32]).record(6, &[2])), "floating-point constant");
    refused_as(&with_constants(I32, 1, |b| _ = b.record(4, &[2])), "constant without a type");
    // Labels of what is no function, addresses without a base, codes from the future.
    refused_as(&with_constants(PTR, 1, |b| _ = b.record(1, &[PTR]).record(BLOCKADDRESS, &[0, 0, 1])), "block address");
    refused_as(&with_constants(PTR, 1, |b| _ = b.record(1, &[PTR]).record(GEP, &[I32, 0])), "needs");
    refused_as(&with_constants(I32, 1, |b| _ = b.record(1, &[I32]).record(99, &[])), "unknown record code 99");
    refused_as(&with_constants(I32, 1, |b| _ = b.record(1, &[55])), "type 55 does not exist");
}

#[test]
fn symbols_that_do_not_fit() {
    let refused_as = |fields: &[u64], code: u64, what: &str| {
        let error = refused(&module(|b| _ = b.record(code, fields)));
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.block(), "MODULE_BLOCK");
    };
    refused_as(&[0, 5, I32, 3, 0, 0, 0, 0], 7, "name at 0 does not exist");
    refused_as(&[u64::MAX, 1, I32, 3, 0, 0, 0, 0], 7, "does not exist");
    refused_as(&[0, 4, I32, 1, 0, 0, 0, 0], 7, "typed pointer");
    refused_as(&[0, 4, I32, 3, 0, 4, 0, 0], 7, "linkage cannot be 4");
    refused_as(&[0, 4, I32, 3, 0, 0, 40, 0], 7, "exponent of an alignment");
    refused_as(&[0, 4, I32, 3, 0, 0, 0, 1], 7, "section 1 does not exist");
    refused_as(&[0, 4, I32, 3, 0, 0, 0, 0, 3], 7, "visibility cannot be 3");
    refused_as(&[0, 4, I32, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 7, "comdat 1 does not exist");
    refused_as(&[0, 4, I32, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 7, "attribute list 1 does not exist");
    refused_as(&[0, 4, I32], 7, "record 7 has 3 fields, needs 8");
    refused_as(&[0, 4, I32, 0, 1, 0, 0, 0, 0, 0], 8, "function of another type");
    let bytes = module(|b| _ = b.block(3, FUNCTION, 3, |_| {}));
    assert_eq!(*refused(&bytes).kind(), ErrorKind::BodyCount { bodies: 1, definitions: 0 });
}

#[test]
fn types_that_do_not_fit() {
    let types = |content: &dyn Fn(&mut Bits)| {
        file("LLVM22.1.8", 0, |b| {
            b.record(1, &[2]);
            b.block(3, TYPES, 3, |b| content(b));
        })
    };
    let error = refused(&types(&|b| _ = b.record(1, &[1]).record(11, &[4, 0])));
    assert_eq!((error.to_string().contains("type 0 does not exist"), error.block().as_str()), (true, "TYPE_BLOCK_NEW"));
    let error = refused(&types(&|b| _ = b.record(1, &[1_000_000]).record(7, &[8])));
    assert!(error.to_string().contains("announced number of types"), "{error}");
    let error = refused(&types(&|b| _ = b.record(1, &[2]).record(2, &[]).record(11, &[4, 0])));
    assert!(error.to_string().contains("without size"), "{error}");
    let error = refused(&types(&|b| _ = b.record(1, &[1]).record(7, &[1 << 24])));
    assert!(error.to_string().contains("width of an integer"), "{error}");
    // [1 x [1 x …]] 600 deep.
    let error = refused(&types(&|b| {
        b.record(1, &[601]).record(7, &[8]);
        (0..600).for_each(|n| _ = b.record(11, &[1, n]));
    }));
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "nesting of types", .. }), "{error}");
    // Sizes beyond 64 bits are no error until somebody asks.
    let bytes = types(&|b| {
        b.record(1, &[11]).record(7, &[64]);
        (0..10).for_each(|n| _ = b.record(11, &[1 << 20, n]));
    });
    let modules = parse(&bytes).unwrap();
    assert!(modules[0].layout_of(kiln_bitcode::TypeId(1)).is_some());
    assert_eq!(modules[0].layout_of(kiln_bitcode::TypeId(10)), None);
}

/// Three functions of no instruction but `ret`, and a table that says where they lie, `off` that many words from there.
fn indexed(off: [i64; 3]) -> Vec<u8> {
    const METADATA: u64 = 15;
    const VALUE_SYMTAB: u64 = 14;
    // Numbers below 1024 take two chunks: the first pass finds where things are, the second says so.
    let build = |table: u64, places: [u64; 3]| {
        assert!([table, places[0], places[2]].iter().all(|word| (32..1024).contains(word)), "{table} {places:?}");
        file("LLVM22.1.8", 0, |b| {
            b.record(1, &[2]);
            b.block(3, TYPES, 3, |b| {
                b.record(1, &[3]).record(2, &[]).record(25, &[0]).record(21, &[0, 0]);
            });
            b.record(13, &[table]);
            for _ in 0..3 {
                b.record(8, &[0, 4, 2, 0, 0, 0, 0, 0, 0, 0]);
            }
            // Function blocks start at whole words, because a block comes before.
            b.block(3, METADATA, 3, |b| _ = b.record(99, &[0; 40]));
            for _ in 0..3 {
                b.block(3, FUNCTION, 3, |b| _ = b.record(1, &[1]).record(10, &[]));
            }
            b.block(3, VALUE_SYMTAB, 3, |b| {
                (0..).zip(places).for_each(|(value, place)| _ = b.record(3, &[value, place]));
            });
        })
    };
    let draft = build(100, [100; 3]);
    let words = draft.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let starts = |id: u64| {
        let header = (1 | id << 3 | 3 << 11) as u32;
        let found = words.clone().enumerate().filter(move |(_, word)| *word == header);
        found.map(|(at, _)| at as u64).collect::<Vec<_>>()
    };
    let functions = starts(FUNCTION);
    let [table] = starts(VALUE_SYMTAB)[..] else { panic!("the table") };
    assert_eq!(functions.len(), 3);
    build(table, std::array::from_fn(|n| functions[n].wrapping_add_signed(off[n])))
}

#[test]
fn places_of_bodies_that_lie() {
    let read = |bytes: &[u8]| {
        let modules = parse(bytes).unwrap();
        let mut body = kiln_bitcode::Body::new();
        [0, 1, 2]
            .map(|n| modules[0].read_body(bytes, kiln_bitcode::FunctionId(n), &mut body).map(|()| body.block_count()))
    };
    let good =
        |bodies: &[Result<u32, Error>; 3]| bodies.each_ref().map(|body| body.as_ref().is_ok_and(|blocks| *blocks == 1));
    assert_eq!(good(&read(&indexed([0; 3]))), [true; 3]);
    // Where the first or the last is wrong, the table is not used.
    for off in [[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1], [0, 0, 500], [0, 100, 0], [0, -100, 0]] {
        assert_eq!(good(&read(&indexed(off))), [true; 3], "{off:?}");
    }
    // Another one is believed until somebody wants it.
    for off in [1, -1] {
        let bodies = read(&indexed([0, off, 0]));
        assert_eq!(good(&bodies), [true, false, true]);
        assert_eq!(*bodies[1].as_ref().unwrap_err().kind(), ErrorKind::MisplacedBlock);
    }
}
