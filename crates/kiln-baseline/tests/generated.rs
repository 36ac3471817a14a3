//! Random functions, compiled here and by LLVM, run on the same inputs: values of every width, vectors, loops with phis
//! that change places, aggregates, calls. No operation in them is undefined for any input.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many programs; `KILN_GENERATED` asks for more.
const PROGRAMS: u64 = 12;
const FUNCTIONS: usize = 12;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Int(u32),
    Half,
    BFloat,
    Float,
    Double,
    X87,
    Quad,
    Vector(u32, u32),
    FloatVector(u32, bool),
}

impl Kind {
    fn name(self) -> String {
        match self {
            Kind::Int(bits) => format!("i{bits}"),
            Kind::Half => "half".into(),
            Kind::BFloat => "bfloat".into(),
            Kind::X87 => "x86_fp80".into(),
            Kind::Quad => "fp128".into(),
            Kind::Float => "float".into(),
            Kind::Double => "double".into(),
            Kind::Vector(lanes, bits) => format!("<{lanes} x i{bits}>"),
            Kind::FloatVector(lanes, true) => format!("<{lanes} x double>"),
            Kind::FloatVector(lanes, false) => format!("<{lanes} x float>"),
        }
    }

    fn suffix(self) -> String {
        match self {
            Kind::Int(bits) => format!("i{bits}"),
            Kind::Half => "f16".into(),
            Kind::BFloat => "bf16".into(),
            Kind::X87 => "f80".into(),
            Kind::Quad => "f128".into(),
            Kind::Float => "f32".into(),
            Kind::Double => "f64".into(),
            Kind::Vector(lanes, bits) => format!("v{lanes}i{bits}"),
            Kind::FloatVector(lanes, double) => format!("v{lanes}f{}", if double { 64 } else { 32 }),
        }
    }

    fn bits(self) -> u32 {
        match self {
            Kind::Int(bits) | Kind::Vector(_, bits) => bits,
            _ => 0,
        }
    }

    fn is_int(self) -> bool {
        matches!(self, Kind::Int(_) | Kind::Vector(..))
    }

    fn constant(self, random: &mut Random) -> String {
        let int = |bits: u32, random: &mut Random| -> String {
            let value = match random.below(4) {
                0 => 1u128,
                1 => (1u128 << (bits.min(128) - 1)).wrapping_sub(1),
                2 => u128::from(random.next()),
                _ => u128::from(random.next() & 0xff),
            };
            // Of longer ones, the low half and the sign's.
            let bits = bits.min(128);
            let value = if bits == 128 { value } else { value & ((1 << bits) - 1) };
            // As a signed number, so that it fits.
            let signed = if bits < 128 && value >> (bits - 1) & 1 == 1 {
                value as i128 - (1i128 << bits)
            } else {
                value as i128
            };
            if bits == 1 { (value == 1).to_string() } else { signed.to_string() }
        };
        match self {
            Kind::Int(bits) => int(bits, random),
            // 1, 3, -0.5
            Kind::X87 => {
                (*random.pick(&["0xK3FFF8000000000000000", "0xK4000C000000000000000", "0xKBFFE8000000000000000"]))
                    .into()
            }
            Kind::Quad => (*random.pick(&[
                "0xL00000000000000003FFF000000000000",
                "0xL00000000000000004000800000000000",
                "0xL0000000000000000BFFE000000000000",
            ]))
            .into(),
            Kind::Half | Kind::BFloat | Kind::Float | Kind::Double => format!("{}.5", random.below(100)),
            Kind::Vector(lanes, bits) => {
                let all: Vec<String> = (0..lanes).map(|_| format!("i{bits} {}", int(bits, random))).collect();
                format!("<{}>", all.join(", "))
            }
            Kind::FloatVector(lanes, double) => {
                let element = if double { "double" } else { "float" };
                let all: Vec<String> = (0..lanes).map(|_| format!("{element} {}.25", random.below(50))).collect();
                format!("<{}>", all.join(", "))
            }
        }
    }
}

const KINDS: &[Kind] = &[
    Kind::Int(1),
    Kind::Int(3),
    Kind::Int(7),
    Kind::Int(8),
    Kind::Int(13),
    Kind::Int(16),
    Kind::Int(24),
    Kind::Int(31),
    Kind::Int(32),
    Kind::Int(33),
    Kind::Int(40),
    Kind::Int(48),
    Kind::Int(56),
    Kind::Int(63),
    Kind::Int(64),
    Kind::Int(65),
    Kind::Int(100),
    Kind::Int(128),
    Kind::Int(129),
    Kind::Int(192),
    Kind::Int(250),
    Kind::Half,
    Kind::BFloat,
    Kind::X87,
    Kind::Quad,
    Kind::Float,
    Kind::Double,
    Kind::Vector(16, 8),
    Kind::Vector(8, 16),
    Kind::Vector(4, 32),
    Kind::Vector(2, 64),
    Kind::Vector(8, 8),
    Kind::Vector(4, 8),
    Kind::Vector(2, 32),
    Kind::Vector(4, 16),
    Kind::Vector(32, 8),
    Kind::Vector(8, 32),
    Kind::Vector(4, 64),
    Kind::Vector(3, 32),
    Kind::Vector(16, 1),
    Kind::Vector(8, 1),
    Kind::Vector(32, 1),
    Kind::FloatVector(4, false),
    Kind::FloatVector(2, true),
    Kind::FloatVector(2, false),
];

/// One function while it is written.
struct Writer<'r> {
    random: &'r mut Random,
    text: String,
    next: u32,
    values: Vec<(Kind, String)>,
    declarations: &'r mut Vec<String>,
}

impl Writer<'_> {
    fn name(&mut self) -> String {
        self.next += 1;
        format!("%v{}", self.next)
    }

    fn operand(&mut self, kind: Kind) -> String {
        let known: Vec<String> = self.values.iter().filter(|(k, _)| *k == kind).map(|(_, n)| n.clone()).collect();
        if known.is_empty() || self.random.below(8) == 0 {
            return kind.constant(self.random);
        }
        // The newest are the most interesting.
        let from = known.len().saturating_sub(4);
        known[from + self.random.below(known.len() - from)].clone()
    }

    fn emit(&mut self, kind: Kind, text: &str) -> String {
        let name = self.name();
        let _ = writeln!(self.text, "  {name} = {text}");
        self.values.push((kind, name.clone()));
        name
    }

    fn declare(&mut self, text: String) {
        if !self.declarations.contains(&text) {
            self.declarations.push(text);
        }
    }

    fn splat(kind: Kind, value: u32) -> String {
        let one = |bits: u32| if bits == 1 { (value & 1 == 1).to_string() } else { value.to_string() };
        match kind {
            Kind::Vector(lanes, bits) => {
                let all: Vec<String> = (0..lanes).map(|_| format!("i{bits} {}", one(bits))).collect();
                format!("<{}>", all.join(", "))
            }
            _ => one(kind.bits()),
        }
    }

    fn step(&mut self, kind: Kind) {
        if kind.is_int() { self.integer(kind) } else { self.float(kind) }
    }

    fn integer(&mut self, kind: Kind) {
        let ty = kind.name();
        let (a, b) = (self.operand(kind), self.operand(kind));
        let choice = match kind {
            // Of vectors of bits, what compilers make.
            Kind::Vector(_, 1) => *self.random.pick(&[0, 7, 8, 12, 13]),
            _ => match self.random.below(15) {
                13 => 14,
                choice => choice,
            },
        };
        match choice {
            14 => self.atomic(kind, &a, &b),
            13 => {
                let Kind::Vector(lanes, _) = kind else { return };
                let (x, y) = (self.operand(kind), self.operand(kind));
                self.emit(kind, &format!("select <{lanes} x i1> {a}, {ty} {x}, {ty} {y}"));
            }
            0..=3 => {
                let op = *self.random.pick(&["add", "sub", "mul", "and", "or", "xor"]);
                self.emit(kind, &format!("{op} {ty} {a}, {b}"));
            }
            4 | 5 => {
                let constant = self.random.below(2) == 0;
                let amount = if constant {
                    Self::splat(kind, self.random.below(kind.bits() as usize) as u32)
                } else {
                    let name = self.name();
                    let width = Self::splat(kind, kind.bits());
                    let _ = writeln!(self.text, "  {name} = urem {ty} {b}, {width}");
                    name
                };
                let op = *self.random.pick(&["shl", "lshr", "ashr"]);
                self.emit(kind, &format!("{op} {ty} {a}, {amount}"));
            }
            6 => {
                let (n, d) = (self.name(), self.name());
                let one = Self::splat(kind, 1);
                // i1 cannot be halved: both are 1 then.
                if kind.bits() == 1 {
                    return;
                }
                let _ = writeln!(self.text, "  {n} = lshr {ty} {a}, {one}\n  {d} = or {ty} {b}, {one}");
                let op = *self.random.pick(&["udiv", "sdiv", "urem", "srem"]);
                self.emit(kind, &format!("{op} {ty} {n}, {d}"));
            }
            7 => {
                let predicate =
                    *self.random.pick(&["eq", "ne", "ugt", "uge", "ult", "ule", "sgt", "sge", "slt", "sle"]);
                let c = self.name();
                let _ = writeln!(self.text, "  {c} = icmp {predicate} {ty} {a}, {b}");
                let (x, y) = (self.operand(kind), self.operand(kind));
                let condition = match kind {
                    Kind::Vector(lanes, _) => format!("<{lanes} x i1>"),
                    _ => "i1".into(),
                };
                match self.random.below(3) {
                    0 if kind.bits() != 1 => {
                        let op = *self.random.pick(&["zext", "sext"]);
                        self.emit(kind, &format!("{op} {condition} {c} to {ty}"));
                    }
                    _ => {
                        self.emit(kind, &format!("select {condition} {c}, {ty} {x}, {ty} {y}"));
                    }
                }
            }
            8 | 9 => self.convert(kind),
            10 | 11 => self.intrinsic(kind, &a, &b),
            _ => self.lanes(kind, &a, &b),
        }
    }

    /// In memory, where nobody else is; under-aligned now and then, which is the library's.
    fn atomic(&mut self, kind: Kind, a: &str, b: &str) {
        let ty = kind.name();
        let bytes = match kind {
            Kind::Int(bits @ (8 | 16 | 32 | 64 | 128)) => bits / 8,
            Kind::Float => 4,
            Kind::Double => 8,
            Kind::Quad => 16,
            _ => return,
        };
        let align = if self.random.below(5) == 0 { 1.max(bytes / 2) } else { bytes };
        let place = self.name();
        let _ = writeln!(self.text, "  {place} = alloca {ty}, align 16");
        let order = *self.random.pick(&["monotonic", "release", "seq_cst"]);
        let _ = writeln!(self.text, "  store atomic {ty} {b}, ptr {place} {order}, align {align}");
        let order = *self.random.pick(&["monotonic", "acquire", "release", "acq_rel", "seq_cst"]);
        if kind.is_int() && self.random.below(3) == 0 {
            let (expected, pair) = (self.operand(kind), self.name());
            let failure = *self.random.pick(&["monotonic", "acquire", "seq_cst"]);
            let _ = writeln!(
                self.text,
                "  {pair} = cmpxchg ptr {place}, {ty} {expected}, {ty} {a} {order} {failure}, align {align}"
            );
            self.emit(kind, &format!("extractvalue {{{ty}, i1}} {pair}, 0"));
            self.emit(Kind::Int(1), &format!("extractvalue {{{ty}, i1}} {pair}, 1"));
        } else {
            let operations: &[&str] = match kind {
                Kind::Quad => &["xchg"],
                Kind::Float | Kind::Double => &["xchg", "fadd", "fsub", "fmax", "fmin"],
                _ => &[
                    "xchg",
                    "add",
                    "sub",
                    "and",
                    "nand",
                    "or",
                    "xor",
                    "max",
                    "min",
                    "umax",
                    "umin",
                    "uinc_wrap",
                    "udec_wrap",
                    "usub_cond",
                    "usub_sat",
                ],
            };
            let operation = *self.random.pick(operations);
            self.emit(kind, &format!("atomicrmw {operation} ptr {place}, {ty} {a} {order}, align {align}"));
        }
        let order = *self.random.pick(&["unordered", "monotonic", "acquire", "seq_cst"]);
        self.emit(kind, &format!("load atomic {ty}, ptr {place} {order}, align {align}"));
    }

    /// From another width.
    fn convert(&mut self, kind: Kind) {
        let others: Vec<(Kind, String)> = self
            .values
            .iter()
            .filter(|(other, _)| match (kind, *other) {
                (Kind::Int(a), Kind::Int(b)) => a != b,
                (Kind::Vector(a, x), Kind::Vector(b, y)) => a == b && x != y,
                _ => false,
            })
            .cloned()
            .collect();
        if others.is_empty() {
            return;
        }
        let (other, name) = self.random.pick(&others).clone();
        let op = if other.bits() > kind.bits() { "trunc" } else { *self.random.pick(&["zext", "sext"]) };
        self.emit(kind, &format!("{op} {} {name} to {}", other.name(), kind.name()));
    }

    fn intrinsic(&mut self, kind: Kind, a: &str, b: &str) {
        let (ty, suffix) = (kind.name(), kind.suffix());
        let mut choices = vec!["umin", "umax", "smin", "smax"];
        let natural = matches!(kind, Kind::Int(8 | 16 | 32 | 64));
        if natural {
            choices.extend(["uadd.sat", "sadd.sat", "usub.sat", "ssub.sat", "fshl", "fshr", "ctpop", "ctlz", "cttz"]);
            choices.extend(["uadd.o", "sadd.o", "usub.o", "ssub.o", "umul.o", "smul.o", "bitreverse", "scmp", "ucmp"]);
        }
        if matches!(kind, Kind::Int(1..=63)) {
            choices.extend(["ctlz", "cttz", "ctpop", "abs"]);
        }
        if matches!(kind, Kind::Int(16 | 32 | 48 | 64 | 128)) {
            choices.push("bswap");
        }
        if matches!(kind, Kind::Int(65..=128)) {
            choices.extend(["abs", "ctpop", "scmp.w", "ucmp.w"]);
        }
        if kind == Kind::Int(128) {
            choices.extend(["uadd.o", "sadd.o", "usub.o", "ssub.o", "umul.o", "smul.o"]);
        }
        if matches!(kind, Kind::Vector(_, 8..)) {
            choices.extend(["ctpop", "ctlz", "cttz", "bitreverse", "fshl", "fshr"]);
            choices.extend(["uadd.sat", "sadd.sat", "usub.sat", "ssub.sat"]);
        }
        if matches!(kind, Kind::Vector(_, 16..)) {
            choices.push("bswap");
        }
        if matches!(kind, Kind::Int(1..=53 | 64)) {
            choices.push("fp.sat");
        }
        if matches!(kind, Kind::Vector(..)) {
            choices.push("abs");
        }
        let choice = *self.random.pick(&choices);
        match choice {
            "fshl" | "fshr" => {
                let c = self.operand(kind);
                self.declare(format!("declare {ty} @llvm.{choice}.{suffix}({ty}, {ty}, {ty})"));
                self.emit(kind, &format!("call {ty} @llvm.{choice}.{suffix}({ty} {a}, {ty} {b}, {ty} {c})"));
            }
            "ctpop" | "bswap" | "bitreverse" => {
                self.declare(format!("declare {ty} @llvm.{choice}.{suffix}({ty})"));
                self.emit(kind, &format!("call {ty} @llvm.{choice}.{suffix}({ty} {a})"));
            }
            "ctlz" | "cttz" | "abs" => {
                self.declare(format!("declare {ty} @llvm.{choice}.{suffix}({ty}, i1)"));
                self.emit(kind, &format!("call {ty} @llvm.{choice}.{suffix}({ty} {a}, i1 false)"));
            }
            "scmp.w" | "ucmp.w" => {
                let name = &choice[..4];
                self.declare(format!("declare i32 @llvm.{name}.i32.{suffix}({ty}, {ty})"));
                self.emit(Kind::Int(32), &format!("call i32 @llvm.{name}.i32.{suffix}({ty} {a}, {ty} {b})"));
            }
            "fp.sat" => {
                let from = *self.random.pick(&[Kind::Float, Kind::Double]);
                let value = self.operand(from);
                let (name, number) = (from.name(), from.suffix());
                let sign = *self.random.pick(&["s", "u"]);
                self.declare(format!("declare {ty} @llvm.fpto{sign}i.sat.{suffix}.{number}({name})"));
                self.emit(kind, &format!("call {ty} @llvm.fpto{sign}i.sat.{suffix}.{number}({name} {value})"));
            }
            "scmp" | "ucmp" => {
                self.declare(format!("declare {ty} @llvm.{choice}.{suffix}.{suffix}({ty}, {ty})"));
                self.emit(kind, &format!("call {ty} @llvm.{choice}.{suffix}.{suffix}({ty} {a}, {ty} {b})"));
            }
            _ if choice.ends_with(".o") => {
                let name = format!("llvm.{}.with.overflow.{suffix}", &choice[..4]);
                self.declare(format!("declare {{{ty}, i1}} @{name}({ty}, {ty})"));
                let pair = self.name();
                let _ = writeln!(self.text, "  {pair} = call {{{ty}, i1}} @{name}({ty} {a}, {ty} {b})");
                self.emit(kind, &format!("extractvalue {{{ty}, i1}} {pair}, 0"));
                self.emit(Kind::Int(1), &format!("extractvalue {{{ty}, i1}} {pair}, 1"));
            }
            _ => {
                self.declare(format!("declare {ty} @llvm.{choice}.{suffix}({ty}, {ty})"));
                self.emit(kind, &format!("call {ty} @llvm.{choice}.{suffix}({ty} {a}, {ty} {b})"));
            }
        }
    }

    /// In and out of vectors; through an aggregate for scalars.
    fn lanes(&mut self, kind: Kind, a: &str, b: &str) {
        let ty = kind.name();
        let Kind::Vector(lanes, bits) = kind else {
            let name = self.name();
            let _ = writeln!(self.text, "  {name} = insertvalue {{i8, {ty}, [2 x {ty}]}} undef, {ty} {a}, 2, 1");
            let again = self.name();
            let _ = writeln!(self.text, "  {again} = insertvalue {{i8, {ty}, [2 x {ty}]}} {name}, {ty} {b}, 1");
            let path = *self.random.pick(&["1", "2, 1"]);
            self.emit(kind, &format!("extractvalue {{i8, {ty}, [2 x {ty}]}} {again}, {path}"));
            return;
        };
        let element = Kind::Int(bits);
        let lane = self.random.below(lanes as usize);
        match self.random.below(5) {
            4 if bits > 1 => {
                let mask = self.name();
                let _ = writeln!(self.text, "  {mask} = icmp slt {ty} {a}, {b}");
                self.masked(kind, lanes, a, b, &mask);
            }
            0 => {
                self.emit(element, &format!("extractelement {ty} {a}, i32 {lane}"));
            }
            1 => {
                let x = self.operand(element);
                self.emit(kind, &format!("insertelement {ty} {a}, {} {x}, i32 {lane}", element.name()));
            }
            2 => {
                let order: Vec<String> =
                    (0..lanes).map(|_| format!("i32 {}", self.random.below(2 * lanes as usize))).collect();
                let order = order.join(", ");
                self.emit(kind, &format!("shufflevector {ty} {a}, {ty} {b}, <{lanes} x i32> <{order}>"));
            }
            _ => {
                let op = *self.random.pick(&["add", "or", "and", "xor", "umax", "smin"]);
                let suffix = kind.suffix();
                self.declare(format!("declare i{bits} @llvm.vector.reduce.{op}.{suffix}({ty})"));
                self.emit(element, &format!("call i{bits} @llvm.vector.reduce.{op}.{suffix}({ty} {a})"));
            }
        }
    }

    /// Some lanes of `a` to memory, some lanes back, from where they were put or from elsewhere.
    fn masked(&mut self, kind: Kind, lanes: u32, a: &str, b: &str, mask: &str) {
        let (ty, suffix, place) = (kind.name(), kind.suffix(), self.name());
        let bits = format!("<{lanes} x i1>");
        let _ = writeln!(self.text, "  {place} = alloca {ty}\n  store {ty} {b}, ptr {place}");
        if lanes > 16 || self.random.below(2) == 0 {
            self.declare(format!("declare void @llvm.masked.store.{suffix}.p0({ty}, ptr, {bits})"));
            self.declare(format!("declare {ty} @llvm.masked.load.{suffix}.p0(ptr, {bits}, {ty})"));
            let _ = writeln!(
                self.text,
                "  call void @llvm.masked.store.{suffix}.p0({ty} {a}, ptr align 1 {place}, {bits} {mask})"
            );
            self.emit(
                kind,
                &format!("call {ty} @llvm.masked.load.{suffix}.p0(ptr align 1 {place}, {bits} {mask}, {ty} {a})"),
            );
            return;
        }
        let element = ty.split_once(" x ").map_or("", |(_, rest)| rest.trim_end_matches('>')).to_owned();
        let order: Vec<String> = (0..lanes).map(|_| format!("i64 {}", self.random.below(lanes as usize))).collect();
        let (order, all) = (order.join(", "), self.name());
        let pointers = format!("<{lanes} x ptr>");
        let _ = writeln!(self.text, "  {all} = getelementptr {element}, ptr {place}, <{lanes} x i64> <{order}>");
        self.declare(format!("declare void @llvm.masked.scatter.{suffix}.v{lanes}p0({ty}, {pointers}, {bits})"));
        self.declare(format!("declare {ty} @llvm.masked.gather.{suffix}.v{lanes}p0({pointers}, {bits}, {ty})"));
        let _ = writeln!(
            self.text,
            "  call void @llvm.masked.scatter.{suffix}.v{lanes}p0({ty} {a}, {pointers} align 1 {all}, {bits} {mask})"
        );
        self.emit(
            kind,
            &format!(
                "call {ty} @llvm.masked.gather.{suffix}.v{lanes}p0({pointers} align 1 {all}, {bits} {mask}, {ty} {a})"
            ),
        );
    }

    /// An intrinsic that honours the environment, which is the usual one here.
    fn constrained(&mut self, kind: Kind, a: &str, b: &str) {
        let (ty, suffix) = (kind.name(), kind.suffix());
        // LLVM has no comparison of these that signals.
        if matches!(kind, Kind::Half | Kind::BFloat) {
            return;
        }
        let what = "metadata !\"round.dynamic\", metadata !\"fpexcept.strict\"";
        if self.random.below(2) == 0 {
            let op = *self.random.pick(&["fadd", "fsub", "fmul", "fdiv"]);
            let name = format!("llvm.experimental.constrained.{op}.{suffix}");
            self.declare(format!("declare {ty} @{name}({ty}, {ty}, metadata, metadata)"));
            self.emit(kind, &format!("call {ty} @{name}({ty} {a}, {ty} {b}, {what}) strictfp"));
            return;
        }
        let name = format!("llvm.experimental.constrained.{}.{suffix}", self.random.pick(&["fcmp", "fcmps"]));
        let predicate = *self
            .random
            .pick(&["oeq", "ogt", "oge", "olt", "ole", "ord", "uno", "ugt", "uge", "ult", "ule", "une", "one", "ueq"]);
        let condition = match kind {
            Kind::FloatVector(lanes, _) => format!("<{lanes} x i1>"),
            _ => "i1".into(),
        };
        self.declare(format!("declare {condition} @{name}({ty}, {ty}, metadata, metadata)"));
        let c = self.name();
        let _ = writeln!(
            self.text,
            "  {c} = call {condition} @{name}({ty} {a}, {ty} {b}, metadata !\"{predicate}\", \
             metadata !\"fpexcept.strict\") strictfp"
        );
        self.emit(kind, &format!("select {condition} {c}, {ty} {b}, {ty} {a}"));
    }

    /// Extremes, classes and roundings.
    fn float_function(&mut self, kind: Kind, a: &str, b: &str) {
        let (ty, suffix) = (kind.name(), kind.suffix());
        match kind {
            Kind::Float | Kind::Double if self.random.below(2) == 0 => {
                let name = *self.random.pick(&["minnum", "maxnum", "minimum", "maximum"]);
                self.declare(format!("declare {ty} @llvm.{name}.{suffix}({ty}, {ty})"));
                self.emit(kind, &format!("call {ty} @llvm.{name}.{suffix}({ty} {a}, {ty} {b})"));
            }
            Kind::Half | Kind::BFloat | Kind::Float | Kind::Double | Kind::X87 if self.random.below(2) == 0 => {
                let mask = self.random.below(1024);
                self.declare(format!("declare i1 @llvm.is.fpclass.{suffix}({ty}, i32)"));
                self.emit(Kind::Int(1), &format!("call i1 @llvm.is.fpclass.{suffix}({ty} {a}, i32 {mask})"));
            }
            Kind::Half | Kind::Float | Kind::Double | Kind::X87 => {
                let name = *self.random.pick(&["floor", "ceil", "trunc", "rint", "nearbyint", "round"]);
                self.declare(format!("declare {ty} @llvm.{name}.{suffix}({ty})"));
                self.emit(kind, &format!("call {ty} @llvm.{name}.{suffix}({ty} {a})"));
            }
            _ => {}
        }
    }

    fn float(&mut self, kind: Kind) {
        let ty = kind.name();
        let (a, b) = (self.operand(kind), self.operand(kind));
        match self.random.below(11) {
            8 => self.atomic(kind, &a, &b),
            9 => self.constrained(kind, &a, &b),
            10 => self.float_function(kind, &a, &b),
            0..=2 => {
                let op = *self.random.pick(&["fadd", "fsub", "fmul", "fdiv"]);
                self.emit(kind, &format!("{op} {ty} {a}, {b}"));
            }
            3 => {
                self.emit(kind, &format!("fneg {ty} {a}"));
            }
            4 => {
                let predicate = *self.random.pick(&[
                    "oeq", "ogt", "oge", "olt", "ole", "ord", "uno", "ugt", "uge", "ult", "ule", "une", "one", "ueq",
                ]);
                let (x, y) = (self.operand(kind), self.operand(kind));
                let c = self.name();
                let _ = writeln!(self.text, "  {c} = fcmp {predicate} {ty} {a}, {b}");
                let condition = match kind {
                    Kind::FloatVector(lanes, _) => format!("<{lanes} x i1>"),
                    _ => "i1".into(),
                };
                self.emit(kind, &format!("select {condition} {c}, {ty} {x}, {ty} {y}"));
            }
            5 => {
                let suffix = kind.suffix();
                if let Kind::FloatVector(lanes, _) = kind {
                    if self.random.below(2) == 0 {
                        let mask = self.name();
                        let _ = writeln!(self.text, "  {mask} = fcmp olt {ty} {a}, {b}");
                        return self.masked(kind, lanes, &a, &b, &mask);
                    }
                    let name = *self.random.pick(&["floor", "ceil", "trunc", "rint", "fabs"]);
                    self.declare(format!("declare {ty} @llvm.{name}.{suffix}({ty})"));
                    self.emit(kind, &format!("call {ty} @llvm.{name}.{suffix}({ty} {a})"));
                    return;
                }
                if self.random.below(2) == 0 {
                    self.declare(format!("declare {ty} @llvm.fabs.{suffix}({ty})"));
                    self.emit(kind, &format!("call {ty} @llvm.fabs.{suffix}({ty} {a})"));
                } else {
                    // Of a NaN the sign is anybody's.
                    let (nan, sign, one) = (self.name(), self.name(), kind.constant(self.random));
                    let _ = writeln!(self.text, "  {nan} = fcmp uno {ty} {b}, {b}");
                    let _ = writeln!(self.text, "  {sign} = select i1 {nan}, {ty} {one}, {ty} {b}");
                    self.declare(format!("declare {ty} @llvm.copysign.{suffix}({ty}, {ty})"));
                    self.emit(kind, &format!("call {ty} @llvm.copysign.{suffix}({ty} {a}, {ty} {sign})"));
                }
            }
            6 => {
                let formats = [Kind::Half, Kind::Float, Kind::Double, Kind::X87, Kind::Quad];
                let others: Vec<(Kind, String)> = self
                    .values
                    .iter()
                    .filter(|(other, _)| formats.contains(other) && formats.contains(&kind) && *other != kind)
                    .cloned()
                    .collect();
                if others.is_empty() {
                    return;
                }
                let (other, name) = self.random.pick(&others).clone();
                let rank = |kind: Kind| formats.iter().position(|format| *format == kind);
                let op = if rank(other) > rank(kind) { "fptrunc" } else { "fpext" };
                self.emit(kind, &format!("{op} {} {name} to {ty}", other.name()));
            }
            _ => {
                // Of long ones to what holds them all: what LLVM makes of others is anybody's.
                let widest = if kind == Kind::Double { 250 } else { 128 };
                let is_source = |k: &Kind| matches!(k, Kind::Int(bits) if *bits <= widest);
                let ints: Vec<(Kind, String)> = self.values.iter().filter(|(k, _)| is_source(k)).cloned().collect();
                if !matches!(kind, Kind::FloatVector(..)) && !ints.is_empty() {
                    let (from, name) = self.random.pick(&ints).clone();
                    let op = *self.random.pick(&["sitofp", "uitofp"]);
                    self.emit(kind, &format!("{op} {} {name} to {ty}", from.name()));
                }
            }
        }
    }
}

fn function(random: &mut Random, number: usize, declarations: &mut Vec<String>) -> String {
    let kinds: Vec<Kind> = (0..4).map(|_| *random.pick(KINDS)).collect();
    let mut writer = Writer { random, text: String::new(), next: 0, values: Vec::new(), declarations };
    // Which instructions make atomic accesses.
    let features = *writer.random.pick(&["", "+cx16", "+cx16,+avx"]);
    let _ = writeln!(
        writer.text,
        "define void @f{number}(ptr %in, ptr %out) \"target-features\"=\"{features}\" {{\nentry:"
    );
    for (at, kind) in kinds.iter().chain(&kinds).enumerate() {
        let place = writer.name();
        let _ = writeln!(writer.text, "  {place} = getelementptr i8, ptr %in, i64 {}", at * 64);
        match kind {
            // What pads an integer in memory is zero: whole bytes are loaded, and cut.
            Kind::Int(bits) if bits % 8 != 0 => {
                let whole = writer.name();
                let bytes = bits.next_multiple_of(8);
                let _ = writeln!(writer.text, "  {whole} = load i{bytes}, ptr {place}, align 1");
                writer.emit(*kind, &format!("trunc i{bytes} {whole} to i{bits}"));
            }
            // Not every 80 bits are a number: what an operation makes of others depends on whether there is one.
            Kind::X87 => {
                let number = writer.name();
                let _ = writeln!(writer.text, "  {number} = load double, ptr {place}, align 1");
                writer.emit(*kind, &format!("fpext double {number} to x86_fp80"));
            }
            _ => _ = writer.emit(*kind, &format!("load {}, ptr {place}, align 1", kind.name())),
        }
    }
    for _ in 0..writer.random.below(12) {
        let kind = *writer.random.pick(&kinds);
        writer.step(kind);
    }
    // A loop whose phis change places.
    let before = writer.values.clone();
    let count = 2 + writer.random.below(4);
    let chosen: Vec<(Kind, String)> = (0..count).map(|_| writer.random.pick(&before).clone()).collect();
    let phis: Vec<String> = (0..count).map(|_| writer.name()).collect();
    let body_start = writer.text.len();
    let head = std::mem::take(&mut writer.text);
    for ((kind, _), phi) in chosen.iter().zip(&phis) {
        writer.values.push((*kind, phi.clone()));
    }
    for _ in 0..writer.random.below(10) {
        let kind = *writer.random.pick(&kinds);
        writer.step(kind);
    }
    let body = std::mem::replace(&mut writer.text, head);
    debug_assert_eq!(body_start, writer.text.len());
    let _ = writeln!(writer.text, "  br label %loop\nloop:\n  %i = phi i32 [ 0, %entry ], [ %j, %again ]");
    for ((kind, start), phi) in chosen.iter().zip(&phis) {
        // The next value is another phi of the kind, or anything else of it.
        let same: Vec<&String> =
            chosen.iter().zip(&phis).filter(|((k, _), _)| k == kind).map(|(_, other)| other).collect();
        let next = if writer.random.below(3) > 0 {
            (*writer.random.pick(&same)).clone()
        } else {
            writer.values.iter().rev().find(|(k, _)| k == kind).map(|(_, n)| n.clone()).unwrap_or_default()
        };
        let _ = writeln!(writer.text, "  {phi} = phi {} [ {start}, %entry ], [ {next}, %again ]", kind.name());
    }
    writer.text.push_str(&body);
    let _ = writeln!(
        writer.text,
        "  %j = add i32 %i, 1\n  %more = icmp ult i32 %j, 5\n  br i1 %more, label %again, label %exit"
    );
    let _ = writeln!(writer.text, "again:\n  br label %loop\nexit:");
    for _ in 0..writer.random.below(6) {
        let kind = *writer.random.pick(&kinds);
        writer.step(kind);
    }
    let last: Vec<(Kind, String)> = writer.values.iter().rev().take(12).cloned().collect();
    for (at, (kind, name)) in last.iter().enumerate() {
        let place = writer.name();
        let _ = writeln!(writer.text, "  {place} = getelementptr i8, ptr %out, i64 {}", at * 64);
        let mut name = name.clone();
        if !kind.is_int() {
            // The sign of a NaN is anybody's.
            let (nan, plain) = (writer.name(), writer.name());
            let (ty, one) = (kind.name(), kind.constant(writer.random));
            let condition = match kind {
                Kind::FloatVector(lanes, _) => format!("<{lanes} x i1>"),
                _ => "i1".into(),
            };
            let _ = writeln!(writer.text, "  {nan} = fcmp uno {ty} {name}, {name}");
            let _ = writeln!(writer.text, "  {plain} = select {condition} {nan}, {ty} {one}, {ty} {name}");
            name = plain;
        }
        let _ = writeln!(writer.text, "  store {} {name}, ptr {place}, align 1", kind.name());
    }
    writer.text.push_str("  ret void\n}\n");
    writer.text
}

fn program(seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut declarations = Vec::new();
    let mut text = String::from("target triple = \"x86_64-unknown-linux-gnu\"\n");
    text.push_str(
        "target datalayout = \"e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128\"\n",
    );
    for number in 0..FUNCTIONS {
        text.push_str(&function(&mut random, number, &mut declarations));
    }
    let all: Vec<String> = (0..FUNCTIONS).map(|n| format!("ptr @f{n}")).collect();
    let _ = writeln!(text, "@all = constant [{FUNCTIONS} x ptr] [{}]", all.join(", "));
    for declaration in declarations {
        let _ = writeln!(text, "{declaration}");
    }
    text
}

/// Calls every function with several inputs and prints what it wrote.
const DRIVER: &str = r#"
#include <stdio.h>
#include <string.h>
extern void (*const all[])(unsigned char *, unsigned char *);
/* What older run-time libraries lack: to nearest, ties to even. */
__bf16 __truncsfbf2(float from) {
  unsigned bits = __builtin_bit_cast(unsigned, from);
  bits = from != from ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return __builtin_bit_cast(__bf16, (unsigned short)(bits >> 16));
}
int main(void) {
  unsigned long long s = 88172645463325252ull;
  for (int f = 0; f < COUNT; f++)
    for (int round = 0; round < 6; round++) {
      unsigned char in[512], out[1024];
      memset(out, 0, sizeof out);
      for (int i = 0; i < 512; i++) {
        s ^= s << 13; s ^= s >> 7; s ^= s << 17;
        in[i] = round == 0 ? 0 : round == 1 ? 0xff : round == 2 ? (i % 64 < 2 ? s : 0) : s;
        if (round == 5 && i % 8 == 7) in[i] = 0x40;
      }
      all[f](in, out);
      printf("%d %d:", f, round);
      for (int i = 0; i < 1024; i++) if (i % 64 < 32) printf("%02x", out[i]);
      printf("\n");
    }
}
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The example that writes objects, which cargo builds along with the tests.
fn compiler() -> PathBuf {
    let own = std::env::current_exe().expect("own path");
    own.parent().and_then(Path::parent).expect("the profile's folder").join("examples/compile")
}

#[test]
fn agrees_with_llvm() {
    let folder = std::env::temp_dir().join(format!("kiln-generated-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = |name: String| folder.join(name);
    std::fs::write(path("driver.c".into()), DRIVER.replace("COUNT", &FUNCTIONS.to_string())).expect("driver");
    let driver = path("driver.o".into());
    run(Command::new("clang-22").args(["-O1", "-c"]).arg(path("driver.c".into())).arg("-o").arg(&driver));
    let programs = std::env::var("KILN_GENERATED").ok().and_then(|n| n.parse().ok()).unwrap_or(PROGRAMS);
    let first: u64 = std::env::var("KILN_GENERATED_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut done = 0;
    for seed in first..first + programs {
        let text = program(seed);
        let ll = path(format!("{seed}.ll"));
        let bc = path(format!("{seed}.bc"));
        std::fs::write(&ll, text).expect("written");
        run(Command::new("llvm-as-22").arg(&ll).arg("-o").arg(&bc));
        let (object, left) = (path(format!("{seed}.o")), path(format!("{seed}.left")));
        let report = run(Command::new(compiler()).arg(&bc).arg("-o").arg(&object).arg("--left").arg(&left));
        done += report.split_whitespace().next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        let mut parts = vec![object];
        let names = std::fs::read_to_string(&left).expect("list");
        if !names.is_empty() {
            let rest = path(format!("{seed}.rest.bc"));
            let functions = names.lines().map(|name| format!("--func={name}"));
            run(Command::new("llvm-extract-22").args(functions).arg(&bc).arg("-o").arg(&rest));
            let object = path(format!("{seed}.rest.o"));
            run(Command::new("llc-22")
                .args(["-O1", "-relocation-model=pic", "-filetype=obj"])
                .arg(rest)
                .arg("-o")
                .arg(&object));
            parts.push(object);
        }
        let theirs = path(format!("{seed}.llvm.o"));
        run(Command::new("llc-22")
            .args(["-O1", "-relocation-model=pic", "-filetype=obj"])
            .arg(&bc)
            .arg("-o")
            .arg(&theirs));
        let mut outputs = Vec::new();
        for objects in [parts, vec![theirs]] {
            let exe = path(format!("{seed}.exe"));
            run(Command::new("clang-22")
                .arg("-fuse-ld=lld")
                .arg(&driver)
                .args(objects)
                .args(["-lm", "-latomic"])
                .arg("-o")
                .arg(&exe));
            outputs.push(run(&mut Command::new(&exe)));
        }
        for (ours, llvm) in outputs[0].lines().zip(outputs[1].lines()) {
            assert_eq!(ours, llvm, "seed {seed}: {}", ll.display());
        }
        assert_eq!(outputs[0].lines().count(), outputs[1].lines().count());
        for file in std::fs::read_dir(&folder).expect("the folder").flatten() {
            if file.file_name().to_string_lossy().starts_with(&format!("{seed}.")) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
    assert!(
        programs < PROGRAMS || done * 10 > programs as usize * FUNCTIONS * 6,
        "only {done} functions were compiled here"
    );
    std::fs::remove_dir_all(&folder).expect("removed");
}
