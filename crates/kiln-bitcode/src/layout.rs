//! Sizes and alignments: LLVM's `DataLayout` (llvm/lib/IR/DataLayout.cpp, language reference "Data Layout").

use std::collections::BTreeMap;

use crate::error::ErrorKind;
use crate::types::{Type, TypeId};

/// ABI and preferred alignment of primitives of one width, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alignment {
    abi: u64,
    preferred: u64,
}

const fn alignment(abi: u64, preferred: u64) -> Alignment {
    Alignment { abi, preferred }
}

/// How pointers of one address space look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointerLayout {
    /// Size in bits.
    pub bits: u32,
    /// Width of the integers that index it, in bits.
    pub index_bits: u32,
    /// ABI alignment in bytes.
    pub abi_align: u64,
    /// Preferred alignment in bytes.
    pub preferred_align: u64,
}

/// How symbols are decorated and which ones are private (`m:` in the string).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mangling {
    /// None given.
    None,
    /// ELF
    Elf,
    /// GOFF
    Goff,
    /// Mips
    Mips,
    /// Mach-O
    MachO,
    /// Windows COFF
    WinCoff,
    /// Windows COFF for 32-bit x86
    WinCoffX86,
    /// XCOFF
    Xcoff,
}

/// What a module says about sizes and alignments of its target.
#[derive(Clone, Debug)]
pub struct DataLayout {
    text: String,
    big_endian: bool,
    mangling: Mangling,
    integers: BTreeMap<u32, Alignment>,
    floats: BTreeMap<u32, Alignment>,
    vectors: BTreeMap<u32, Alignment>,
    aggregate: Alignment,
    pointers: BTreeMap<u32, PointerLayout>,
    native_integers: Vec<u32>,
    stack_align: Option<u64>,
    alloca_address_space: u32,
    program_address_space: u32,
    globals_address_space: u32,
}

impl Default for DataLayout {
    fn default() -> Self {
        let pointer = PointerLayout { bits: 64, index_bits: 64, abi_align: 8, preferred_align: 8 };
        Self {
            text: String::new(),
            big_endian: false,
            mangling: Mangling::None,
            integers: [(1, 1, 1), (8, 1, 1), (16, 2, 2), (32, 4, 4), (64, 4, 8)]
                .map(|(bits, abi, preferred)| (bits, alignment(abi, preferred)))
                .into(),
            floats: [(16, 2), (32, 4), (64, 8), (128, 16)].map(|(bits, a)| (bits, alignment(a, a))).into(),
            vectors: [(64, 8), (128, 16)].map(|(bits, a)| (bits, alignment(a, a))).into(),
            aggregate: alignment(1, 8),
            pointers: [(0, pointer)].into(),
            native_integers: Vec::new(),
            stack_align: None,
            alloca_address_space: 0,
            program_address_space: 0,
            globals_address_space: 0,
        }
    }
}

impl DataLayout {
    /// Reads a data layout string.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadDataLayout`] with the specification at fault.
    pub fn parse(text: &str) -> Result<Self, ErrorKind> {
        let mut layout = DataLayout { text: text.to_owned(), ..DataLayout::default() };
        if text.is_empty() {
            return Ok(layout);
        }
        for part in text.split('-') {
            layout.apply(part).ok_or_else(|| ErrorKind::BadDataLayout { part: part.to_owned() })?;
        }
        Ok(layout)
    }

    /// Applies one specification; `None` if it is malformed.
    fn apply(&mut self, part: &str) -> Option<()> {
        // Address spaces whose pointers are opaque numbers matter to optimisations only.
        if let Some(spaces) = part.strip_prefix("ni:") {
            return spaces.split(':').try_for_each(|s| number(s).map(|_| ()));
        }
        let kind = part.chars().next()?;
        let rest = &part[kind.len_utf8()..];
        match kind {
            'e' | 'E' => {
                self.big_endian = kind == 'E';
                rest.is_empty().then_some(())
            }
            'i' | 'f' | 'v' => {
                let mut fields = rest.split(':');
                let bits = number(fields.next()?).filter(|bits| *bits != 0)?;
                let abi = align(fields.next()?)?;
                let preferred = fields.next().map_or(Some(abi), align)?;
                let table = match kind {
                    'i' => &mut self.integers,
                    'f' => &mut self.floats,
                    _ => &mut self.vectors,
                };
                table.insert(bits, alignment(abi, preferred));
                (fields.next().is_none() && preferred >= abi && (kind != 'i' || bits != 8 || abi == 1)).then_some(())
            }
            'a' => {
                let mut fields = rest.split(':');
                let bits = fields.next()?;
                let abi = fields.next()?;
                // Zero stands for one byte here (parseAggregateSpec).
                let abi = if abi == "0" { 1 } else { align(abi)? };
                let preferred = fields.next().map_or(Some(abi), align)?;
                self.aggregate = alignment(abi, preferred);
                ((bits.is_empty() || bits == "0") && fields.next().is_none() && preferred >= abi).then_some(())
            }
            'p' => self.apply_pointer(rest),
            'm' => {
                self.mangling = match rest.strip_prefix(':')? {
                    "e" => Mangling::Elf,
                    "l" => Mangling::Goff,
                    "m" => Mangling::Mips,
                    "o" => Mangling::MachO,
                    "w" => Mangling::WinCoff,
                    "x" => Mangling::WinCoffX86,
                    "a" => Mangling::Xcoff,
                    _ => return None,
                };
                Some(())
            }
            'n' => {
                self.native_integers = rest.split(':').map(number).collect::<Option<_>>()?;
                Some(())
            }
            'S' => {
                let bits = number(rest)?;
                self.stack_align = if bits == 0 { None } else { Some(align(rest)?) };
                Some(())
            }
            // Alignment of function pointers: a matter of code generation.
            'F' => matches!(rest.as_bytes(), [b'i' | b'n', b'0'..=b'9', ..]).then_some(()),
            'A' => number(rest).map(|n| self.alloca_address_space = n),
            'P' => number(rest).map(|n| self.program_address_space = n),
            'G' => number(rest).map(|n| self.globals_address_space = n),
            _ => None,
        }
    }

    /// `p[flags][space[(name)]]:size:abi[:preferred[:index]]`
    fn apply_pointer(&mut self, rest: &str) -> Option<()> {
        let mut fields = rest.split(':');
        let space = fields.next()?.trim_start_matches(['u', 'e']);
        let space = space.split_once('(').map_or(space, |(number, _)| number);
        let space = if space.is_empty() { 0 } else { number(space)? };
        let bits = number(fields.next()?).filter(|bits| *bits != 0)?;
        let abi_align = align(fields.next()?)?;
        let preferred_align = fields.next().map_or(Some(abi_align), align)?;
        let index_bits = fields.next().map_or(Some(bits), number)?;
        self.pointers.insert(space, PointerLayout { bits, index_bits, abi_align, preferred_align });
        (fields.next().is_none() && preferred_align >= abi_align && (1..=bits).contains(&index_bits)).then_some(())
    }

    /// The string as the module has it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the target is big-endian.
    #[must_use]
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// How symbols are decorated.
    #[must_use]
    pub fn mangling(&self) -> Mangling {
        self.mangling
    }

    /// Widths of the integers the target computes with.
    #[must_use]
    pub fn native_integers(&self) -> &[u32] {
        &self.native_integers
    }

    /// Natural alignment of the stack in bytes.
    #[must_use]
    pub fn stack_align(&self) -> Option<u64> {
        self.stack_align
    }

    /// Address space of stack slots.
    #[must_use]
    pub fn alloca_address_space(&self) -> u32 {
        self.alloca_address_space
    }

    /// Address space of functions.
    #[must_use]
    pub fn program_address_space(&self) -> u32 {
        self.program_address_space
    }

    /// Address space of globals that do not name one.
    #[must_use]
    pub fn globals_address_space(&self) -> u32 {
        self.globals_address_space
    }

    /// How pointers of `address_space` look: like those of space 0 where the string does not say.
    #[must_use]
    pub fn pointer(&self, address_space: u32) -> PointerLayout {
        self.pointers.get(&address_space).or_else(|| self.pointers.get(&0)).copied().unwrap_or(PointerLayout {
            bits: 64,
            index_bits: 64,
            abi_align: 8,
            preferred_align: 8,
        })
    }

    /// The next wider integer's alignment, the widest one's where there is none.
    fn integer(&self, bits: u32) -> Alignment {
        let next = self.integers.range(bits..).next().or_else(|| self.integers.last_key_value());
        next.map_or(alignment(1, 1), |(_, a)| *a)
    }

    fn float(&self, bits: u32) -> Alignment {
        self.floats.get(&bits).copied().unwrap_or_else(|| {
            let natural = u64::from(bits / 8).next_power_of_two();
            alignment(natural, natural)
        })
    }

    fn vector(&self, bits: u64) -> Alignment {
        let exact = u32::try_from(bits).ok().and_then(|bits| self.vectors.get(&bits));
        exact.copied().unwrap_or_else(|| {
            let natural = bits.div_ceil(8).checked_next_power_of_two().unwrap_or(1 << 63);
            alignment(natural, natural)
        })
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n < 1 << 24)
}

/// An alignment given in bits, in bytes.
fn align(text: &str) -> Option<u64> {
    let bits = u64::from(number(text)?);
    (bits % 8 == 0 && (bits / 8).is_power_of_two()).then_some(bits / 8)
}

/// Size and alignment of a type, in bytes where nothing else is said.
///
/// Of a scalable vector these are the values for `vscale` = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeLayout {
    /// Size in bits (`getTypeSizeInBits`).
    pub bits: u64,
    /// Bytes that a store of a value writes (`getTypeStoreSize`).
    pub store_size: u64,
    /// Distance of two values in an array (`getTypeAllocSize`).
    pub size: u64,
    /// ABI alignment.
    pub abi_align: u64,
    /// Preferred alignment.
    pub preferred_align: u64,
    /// Whether the sizes are to be multiplied by `vscale`.
    pub scalable: bool,
}

/// Layouts of all types of a module, with the offsets of structure fields.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    types: Vec<Option<TypeLayout>>,
    /// Start of each type's field offsets.
    starts: Vec<u32>,
    offsets: Vec<u64>,
}

impl Layouts {
    /// Lays out `types`, which name only types before them.
    pub(crate) fn compute(types: &[Type], layout: &DataLayout) -> Self {
        let mut layouts = Layouts::default();
        for ty in types {
            layouts.starts.push(layouts.offsets.len() as u32);
            let computed = layouts.lay_out(ty, layout);
            layouts.types.push(computed);
        }
        layouts.starts.push(layouts.offsets.len() as u32);
        layouts
    }

    pub(crate) fn get(&self, id: TypeId) -> Option<&TypeLayout> {
        self.types[id.0 as usize].as_ref()
    }

    pub(crate) fn offsets(&self, id: TypeId) -> &[u64] {
        let at = id.0 as usize;
        &self.offsets[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The layout of `ty`; `None` where it has no size or one beyond 2^61 bytes.
    fn lay_out(&mut self, ty: &Type, layout: &DataLayout) -> Option<TypeLayout> {
        let scalar = |bits: u64, a: Alignment| TypeLayout::new(bits, a, false);
        match ty {
            Type::Half | Type::BFloat => scalar(16, layout.float(16)),
            Type::Float => scalar(32, layout.float(32)),
            Type::Double => scalar(64, layout.float(64)),
            Type::X86Fp80 => scalar(80, layout.float(80)),
            Type::Fp128 | Type::PpcFp128 => scalar(128, layout.float(128)),
            Type::X86Amx => scalar(8192, alignment(64, 64)),
            Type::Integer(bits) => scalar(u64::from(*bits), layout.integer(*bits)),
            Type::Pointer { address_space } => {
                let pointer = layout.pointer(*address_space);
                scalar(u64::from(pointer.bits), alignment(pointer.abi_align, pointer.preferred_align))
            }
            Type::Array { count, element } => {
                let element = *self.get(*element)?;
                let bits = count.checked_mul(element.size)?.checked_mul(8)?;
                TypeLayout::new(bits, alignment(element.abi_align, element.preferred_align), element.scalable)
            }
            Type::Vector { count, element, scalable } => {
                let bits = u64::from(*count).checked_mul(self.get(*element)?.bits)?;
                TypeLayout::new(bits, layout.vector(bits), *scalable)
            }
            Type::Struct { packed, fields, .. } => self.lay_out_struct(*packed, fields, layout),
            _ => None,
        }
    }

    fn lay_out_struct(&mut self, packed: bool, fields: &[TypeId], layout: &DataLayout) -> Option<TypeLayout> {
        let start = self.offsets.len();
        let laid = self.push_fields(packed, fields);
        let Some((end, widest, scalable)) = laid else {
            self.offsets.truncate(start);
            return None;
        };
        let size = end.checked_next_multiple_of(widest)?;
        let abi = if packed { 1 } else { layout.aggregate.abi.max(widest) };
        TypeLayout::new(size.checked_mul(8)?, alignment(abi, layout.aggregate.preferred.max(widest)), scalable)
    }

    /// Pushes the fields' offsets: end of the last field, widest alignment, whether a field is scalable.
    fn push_fields(&mut self, packed: bool, fields: &[TypeId]) -> Option<(u64, u64, bool)> {
        let (mut end, mut widest, mut scalable) = (0u64, 1u64, false);
        for field in fields {
            let field = *self.get(*field)?;
            let align = if packed { 1 } else { field.abi_align };
            let offset = end.checked_next_multiple_of(align)?;
            self.offsets.push(offset);
            end = offset.checked_add(field.size)?;
            widest = widest.max(align);
            scalable |= field.scalable;
        }
        Some((end, widest, scalable))
    }
}

impl TypeLayout {
    fn new(bits: u64, align: Alignment, scalable: bool) -> Option<Self> {
        let store_size = bits.div_ceil(8);
        let size = store_size.checked_next_multiple_of(align.abi).filter(|size| *size < 1 << 61)?;
        Some(Self { bits, store_size, size, abi_align: align.abi, preferred_align: align.preferred, scalable })
    }
}
