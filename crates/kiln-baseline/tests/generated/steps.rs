//! Instructions: each step makes a value of one type from others.

use std::fmt::Write as _;

use crate::kinds::{Kind, Random};

/// One function while it is written.
pub(crate) struct Writer<'r> {
    pub(crate) random: &'r mut Random,
    pub(crate) text: String,
    pub(crate) next: u32,
    pub(crate) values: Vec<(Kind, String)>,
    pub(crate) declarations: &'r mut Vec<String>,
}

impl Writer<'_> {
    pub(crate) fn name(&mut self) -> String {
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

    pub(crate) fn emit(&mut self, kind: Kind, text: &str) -> String {
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

    pub(crate) fn step(&mut self, kind: Kind) {
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
