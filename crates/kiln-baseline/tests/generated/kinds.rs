//! The types of values, what constants of them look like, and the choice among things.

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
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
    pub(crate) fn name(self) -> String {
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

    pub(crate) fn suffix(self) -> String {
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

    pub(crate) fn bits(self) -> u32 {
        match self {
            Kind::Int(bits) | Kind::Vector(_, bits) => bits,
            _ => 0,
        }
    }

    pub(crate) fn is_int(self) -> bool {
        matches!(self, Kind::Int(_) | Kind::Vector(..))
    }

    pub(crate) fn constant(self, random: &mut Random) -> String {
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

pub(crate) const KINDS: &[Kind] = &[
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
