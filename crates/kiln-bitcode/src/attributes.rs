use std::sync::Arc;

use crate::bitstream::{Block, Budget, Entry, Record, bytes_of};
use crate::error::{Error, ErrorKind};
use crate::types::{TypeId, TypeTable};

/// One attribute of a function, return value, parameter or global.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// One that is either there or not: `nounwind`.
    Enum(AttributeKind),
    /// One with a number: `align`, `dereferenceable`, `memory` …, in LLVM's own encoding (`getValueAsInt`).
    Int(AttributeKind, u64),
    /// One with a type: `byval(T)`; `None` where the type is missing.
    Type(AttributeKind, Option<TypeId>),
    /// One with a range of integers: `range(iN lower, upper)`.
    Range(AttributeKind, IntRange),
    /// One with several: `initializes`.
    Ranges(AttributeKind, Box<[IntRange]>),
    /// One that LLVM passes along as text: `"target-cpu"="x86-64"`.
    String {
        /// Name.
        key: Arc<[u8]>,
        /// Value, may be empty.
        value: Arc<[u8]>,
    },
}

/// A half-open, possibly wrapped range of integers of `bits` bits; words are little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntRange {
    /// Width of the integers.
    pub bits: u32,
    /// First value.
    pub lower: Box<[u64]>,
    /// First value that does not belong to it.
    pub upper: Box<[u64]>,
}

/// Which attribute (`AttributeKindCodes` in llvm/Bitcode/LLVMBitCodes.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeKind(u16);

macro_rules! attribute_kinds {
    ($($constant:ident = $code:literal, $name:literal;)*) => {
        impl AttributeKind {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: AttributeKind = AttributeKind($code);
            )*

            /// Its name in textual IR.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($code => $name,)*
                    _ => "",
                }
            }
        }
    };
}

attribute_kinds! {
    ALIGN = 1, "align";
    ALWAYS_INLINE = 2, "alwaysinline";
    BYVAL = 3, "byval";
    INLINE_HINT = 4, "inlinehint";
    INREG = 5, "inreg";
    MIN_SIZE = 6, "minsize";
    NAKED = 7, "naked";
    NEST = 8, "nest";
    NOALIAS = 9, "noalias";
    NO_BUILTIN = 10, "nobuiltin";
    NO_DUPLICATE = 12, "noduplicate";
    NO_IMPLICIT_FLOAT = 13, "noimplicitfloat";
    NO_INLINE = 14, "noinline";
    NON_LAZY_BIND = 15, "nonlazybind";
    NO_RED_ZONE = 16, "noredzone";
    NO_RETURN = 17, "noreturn";
    NO_UNWIND = 18, "nounwind";
    OPT_SIZE = 19, "optsize";
    READ_NONE = 20, "readnone";
    READ_ONLY = 21, "readonly";
    RETURNED = 22, "returned";
    RETURNS_TWICE = 23, "returns_twice";
    SIGN_EXT = 24, "signext";
    ALIGN_STACK = 25, "alignstack";
    STACK_PROTECT = 26, "ssp";
    STACK_PROTECT_REQ = 27, "sspreq";
    STACK_PROTECT_STRONG = 28, "sspstrong";
    STRUCT_RET = 29, "sret";
    SANITIZE_ADDRESS = 30, "sanitize_address";
    SANITIZE_THREAD = 31, "sanitize_thread";
    SANITIZE_MEMORY = 32, "sanitize_memory";
    UW_TABLE = 33, "uwtable";
    ZERO_EXT = 34, "zeroext";
    BUILTIN = 35, "builtin";
    COLD = 36, "cold";
    OPT_NONE = 37, "optnone";
    IN_ALLOCA = 38, "inalloca";
    NON_NULL = 39, "nonnull";
    JUMP_TABLE = 40, "jumptable";
    DEREFERENCEABLE = 41, "dereferenceable";
    DEREFERENCEABLE_OR_NULL = 42, "dereferenceable_or_null";
    CONVERGENT = 43, "convergent";
    SAFE_STACK = 44, "safestack";
    SWIFT_SELF = 46, "swiftself";
    SWIFT_ERROR = 47, "swifterror";
    NO_RECURSE = 48, "norecurse";
    ALLOC_SIZE = 51, "allocsize";
    WRITE_ONLY = 52, "writeonly";
    SPECULATABLE = 53, "speculatable";
    STRICT_FP = 54, "strictfp";
    SANITIZE_HWADDRESS = 55, "sanitize_hwaddress";
    NOCF_CHECK = 56, "nocf_check";
    OPT_FOR_FUZZING = 57, "optforfuzzing";
    SHADOW_CALL_STACK = 58, "shadowcallstack";
    SPECULATIVE_LOAD_HARDENING = 59, "speculative_load_hardening";
    IMM_ARG = 60, "immarg";
    WILL_RETURN = 61, "willreturn";
    NO_FREE = 62, "nofree";
    NO_SYNC = 63, "nosync";
    SANITIZE_MEMTAG = 64, "sanitize_memtag";
    PREALLOCATED = 65, "preallocated";
    NO_MERGE = 66, "nomerge";
    NULL_POINTER_IS_VALID = 67, "null_pointer_is_valid";
    NO_UNDEF = 68, "noundef";
    BYREF = 69, "byref";
    MUST_PROGRESS = 70, "mustprogress";
    NO_CALLBACK = 71, "nocallback";
    HOT = 72, "hot";
    NO_PROFILE = 73, "noprofile";
    VSCALE_RANGE = 74, "vscale_range";
    SWIFT_ASYNC = 75, "swiftasync";
    NO_SANITIZE_COVERAGE = 76, "nosanitize_coverage";
    ELEMENT_TYPE = 77, "elementtype";
    DISABLE_SANITIZER_INSTRUMENTATION = 78, "disable_sanitizer_instrumentation";
    NO_SANITIZE_BOUNDS = 79, "nosanitize_bounds";
    ALLOC_ALIGN = 80, "allocalign";
    ALLOCATED_POINTER = 81, "allocptr";
    ALLOC_KIND = 82, "allockind";
    PRESPLIT_COROUTINE = 83, "presplitcoroutine";
    FN_RET_THUNK_EXTERN = 84, "fn_ret_thunk_extern";
    SKIP_PROFILE = 85, "skipprofile";
    MEMORY = 86, "memory";
    NO_FP_CLASS = 87, "nofpclass";
    OPT_DEBUG = 88, "optdebug";
    WRITABLE = 89, "writable";
    CORO_ONLY_DESTROY_WHEN_COMPLETE = 90, "coro_only_destroy_when_complete";
    DEAD_ON_UNWIND = 91, "dead_on_unwind";
    RANGE = 92, "range";
    SANITIZE_NUMERICAL_STABILITY = 93, "sanitize_numerical_stability";
    INITIALIZES = 94, "initializes";
    HYBRID_PATCHABLE = 95, "hybrid_patchable";
    SANITIZE_REALTIME = 96, "sanitize_realtime";
    SANITIZE_REALTIME_BLOCKING = 97, "sanitize_realtime_blocking";
    CORO_ELIDE_SAFE = 98, "coro_elide_safe";
    NO_EXT = 99, "noext";
    NO_DIVERGENCE_SOURCE = 100, "nodivergencesource";
    SANITIZE_TYPE = 101, "sanitize_type";
    CAPTURES = 102, "captures";
    DEAD_ON_RETURN = 103, "dead_on_return";
    SANITIZE_ALLOC_TOKEN = 104, "sanitize_alloc_token";
    NO_CREATE_UNDEF_OR_POISON = 105, "nocreateundeforpoison";
}

impl AttributeKind {
    /// Its code in bitcode.
    pub(crate) fn code(self) -> u64 {
        u64::from(self.0)
    }
}

/// What a group of attributes is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributePlace {
    /// The function itself, or a global variable.
    Function,
    /// The value it returns.
    Return,
    /// Its n-th parameter.
    Parameter(u32),
}

/// The attributes of one place.
#[derive(Clone, Copy, Debug)]
pub struct AttributeGroup<'m> {
    number: u32,
    place: AttributePlace,
    attributes: &'m [Attribute],
}

impl<'m> AttributeGroup<'m> {
    /// Its number in the module: lists share groups.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What they are attached to.
    #[must_use]
    pub fn place(&self) -> AttributePlace {
        self.place
    }

    /// The attributes.
    #[must_use]
    pub fn attributes(&self) -> &'m [Attribute] {
        self.attributes
    }
}

/// Which [`AttributeList`] of its module something has; the empty one by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AttributeListId(
    /// 1 + index in the table, 0 for the empty list.
    pub(crate) u32,
);

impl AttributeListId {
    /// Its place in [`Module::attribute_lists`](crate::Module::attribute_lists).
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// All attributes of a function, or of a call, or of a global: [`Module::attributes`](crate::Module::attributes).
#[derive(Clone, Copy, Debug)]
pub struct AttributeList<'m> {
    table: &'m AttributeTable,
    groups: &'m [u32],
}

impl<'m> AttributeList<'m> {
    /// The groups, at most one for each place.
    pub fn groups(self) -> impl Iterator<Item = AttributeGroup<'m>> {
        self.groups.iter().map(move |number| self.table.group(*number))
    }

    /// The attributes of `place`.
    #[must_use]
    pub fn at(&self, place: AttributePlace) -> &'m [Attribute] {
        self.groups().find(|group| group.place == place).map_or(&[], |group| group.attributes)
    }

    /// The attribute `kind` of `place`.
    #[must_use]
    pub fn get(&self, place: AttributePlace, kind: AttributeKind) -> Option<&'m Attribute> {
        self.at(place).iter().find(|a| match a {
            Attribute::Enum(k)
            | Attribute::Int(k, _)
            | Attribute::Type(k, _)
            | Attribute::Range(k, _)
            | Attribute::Ranges(k, _) => *k == kind,
            Attribute::String { .. } => false,
        })
    }

    /// The value of string attribute `key` of the function or global itself.
    #[must_use]
    pub fn string(&self, key: &[u8]) -> Option<&'m [u8]> {
        self.at(AttributePlace::Function).iter().find_map(|a| match a {
            Attribute::String { key: k, value } if **k == *key => Some(&**value),
            _ => None,
        })
    }
}

/// A group of the table.
#[derive(Debug, PartialEq)]
struct Group {
    /// Its number in the bitcode.
    id: u64,
    place: AttributePlace,
    start: u32,
    end: u32,
}

/// All attributes of a module.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct AttributeTable {
    attributes: Vec<Attribute>,
    groups: Vec<Group>,
    /// Types that groups name: the type table comes after the attributes.
    types: Vec<TypeId>,
    /// The groups of all lists: by their number in the bitcode, and once resolved by their index.
    ids: Vec<u64>,
    members: Vec<u32>,
    /// Where each list ends in `members`.
    lists: Vec<u32>,
}

impl AttributeTable {
    /// Number of lists.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// List `index`.
    pub(crate) fn list(&self, index: usize) -> AttributeList<'_> {
        let end = |at: usize| self.lists[at] as usize;
        let start = index.checked_sub(1).map_or(0, end);
        AttributeList { table: self, groups: &self.members[start..end(index)] }
    }

    /// The list without attributes.
    pub(crate) fn none(&self) -> AttributeList<'_> {
        AttributeList { table: self, groups: &[] }
    }

    fn group(&self, number: u32) -> AttributeGroup<'_> {
        let group = &self.groups[number as usize];
        let attributes = &self.attributes[group.start as usize..group.end as usize];
        AttributeGroup { number, place: group.place, attributes }
    }

    /// Reads a PARAMATTR_GROUP_BLOCK.
    pub(crate) fn read_groups<'a>(
        &mut self,
        block: &mut Block<'a>,
        record: &mut Record<'a>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        const ENTRY: u32 = 3;
        let mut texts = Texts::default();
        loop {
            match block.next(budget)? {
                Entry::End => break,
                Entry::SubBlock(_) => block.skip_block()?,
                Entry::Record(abbrev) => {
                    block.read_record(abbrev, record, budget)?;
                    if record.code != ENTRY {
                        return Err(block.error(ErrorKind::UnknownRecord { code: record.code }));
                    }
                    let fields = record.require(2, block)?;
                    let place = match fields[1] {
                        0xffff_ffff => AttributePlace::Function,
                        0 => AttributePlace::Return,
                        index => AttributePlace::Parameter(u32::try_from(index - 1).map_err(|_| {
                            block.error(ErrorKind::BadValue { what: "place of attributes", value: index })
                        })?),
                    };
                    let start = self.attributes.len();
                    let mut reader = GroupReader { fields: &fields[2..], at: 0, block, texts: &mut texts };
                    while reader.at < reader.fields.len() {
                        let attribute = reader.attribute()?;
                        if let Attribute::Type(_, Some(ty)) = attribute {
                            self.types.push(ty);
                        }
                        self.attributes.push(attribute);
                    }
                    let end = self.attributes.len();
                    block.charge((end - start) as u64 * 2 * size_of::<Attribute>() as u64, budget)?;
                    let (start, end) = (index32(start, block)?, index32(end, block)?);
                    self.groups.push(Group { id: fields[0], place, start, end });
                }
            }
        }
        self.groups.sort_by_key(|group| group.id);
        Ok(())
    }

    /// Reads a PARAMATTR_BLOCK: lists of groups.
    pub(crate) fn read_lists<'a>(
        &mut self,
        block: &mut Block<'a>,
        record: &mut Record<'a>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        const ENTRY: u32 = 2;
        loop {
            match block.next(budget)? {
                Entry::End => return Ok(()),
                Entry::SubBlock(_) => block.skip_block()?,
                Entry::Record(abbrev) => {
                    block.read_record(abbrev, record, budget)?;
                    if record.code != ENTRY {
                        return Err(block.error(ErrorKind::UnknownRecord { code: record.code }));
                    }
                    self.ids.extend_from_slice(record.values());
                    self.lists.push(index32(self.ids.len(), block)?);
                }
            }
        }
    }

    /// Finds the groups of the lists, and checks the types that they name.
    pub(crate) fn resolve(&mut self, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        for ty in &self.types {
            types.get(u64::from(ty.0), block)?;
        }
        self.members.reserve(self.ids.len());
        for id in std::mem::take(&mut self.ids) {
            // LLVM counts from 1 without gaps.
            let expected = id.wrapping_sub(1);
            let found = match usize::try_from(expected).ok().and_then(|at| self.groups.get(at)) {
                Some(group) if group.id == id => Ok(expected as usize),
                _ => self.groups.binary_search_by_key(&id, |group| group.id),
            };
            let Ok(found) = found else {
                let count = self.groups.len() as u64;
                return Err(block.error(ErrorKind::BadReference { what: "attribute group", index: id, count }));
            };
            self.members.push(found as u32);
        }
        Ok(())
    }
}

fn index32(index: usize, block: &Block<'_>) -> Result<u32, Error> {
    let limit = u64::from(u32::MAX);
    u32::try_from(index).map_err(|_| block.error(ErrorKind::Limit { what: "attributes", limit }))
}

/// Texts of attributes read lately: the functions of a module repeat a dozen.
struct Texts {
    /// By a part of their hash.
    known: [Option<Arc<[u8]>>; 64],
    buffer: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { known: [const { None }; 64], buffer: Vec::new() }
    }
}

impl Texts {
    /// The characters `fields` as a text; `None` if they are none.
    fn get(&mut self, fields: &[u64]) -> Option<Arc<[u8]>> {
        self.buffer.clear();
        self.buffer.extend(fields.iter().map(|field| *field as u8));
        // LLVM's writer extends the sign of characters.
        if fields.iter().any(|field| field.wrapping_add(128) > 255 + 128) {
            return None;
        }
        let text = &*self.buffer;
        let sample = |at: usize| u32::from(text.get(at).copied().unwrap_or_default());
        let middle = sample(text.len() / 2) << 16 | sample(text.len().wrapping_sub(2)) << 8;
        let hash = (sample(0) << 24 ^ middle ^ text.len() as u32).wrapping_mul(0x9e37_79b1) >> 26;
        let slot = &mut self.known[hash as usize];
        match slot {
            Some(known) if **known == *text => {}
            _ => *slot = Some(text.into()),
        }
        slot.clone()
    }
}

struct GroupReader<'r, 'b, 'a> {
    fields: &'r [u64],
    at: usize,
    block: &'b Block<'a>,
    texts: &'b mut Texts,
}

impl GroupReader<'_, '_, '_> {
    fn next(&mut self) -> Result<u64, Error> {
        let value = self.fields.get(self.at).copied().ok_or_else(|| {
            let len = self.fields.len();
            self.block.error(ErrorKind::ShortRecord { code: 3, len, needs: self.at + 1 })
        })?;
        self.at += 1;
        Ok(value)
    }

    fn kind(&mut self) -> Result<AttributeKind, Error> {
        let value = self.next()?;
        let kind = u16::try_from(value).map(AttributeKind).ok().filter(|kind| !kind.name().is_empty());
        kind.ok_or_else(|| self.block.error(ErrorKind::BadValue { what: "kind of attribute", value }))
    }

    fn attribute(&mut self) -> Result<Attribute, Error> {
        Ok(match self.next()? {
            0 => Attribute::Enum(self.kind()?),
            1 => {
                let kind = self.kind()?;
                let value = self.next()?;
                // The top byte of a memory attribute is the version of its encoding.
                Attribute::Int(kind, if kind == AttributeKind::MEMORY { value & (u64::MAX >> 8) } else { value })
            }
            3 => Attribute::String { key: self.text()?, value: self.texts.get(&[]).unwrap_or_default() },
            4 => Attribute::String { key: self.text()?, value: self.text()? },
            5 => Attribute::Type(self.kind()?, None),
            6 => {
                let kind = self.kind()?;
                let ty = self.next()?;
                let ty = u32::try_from(ty)
                    .map_err(|_| self.block.error(ErrorKind::BadValue { what: "type of an attribute", value: ty }))?;
                Attribute::Type(kind, Some(TypeId(ty)))
            }
            7 => {
                let kind = self.kind()?;
                let bits = self.next()?;
                Attribute::Range(kind, self.range(bits)?)
            }
            8 => {
                let kind = self.kind()?;
                let count = self.next()?;
                let bits = self.next()?;
                // Each range takes at least two fields.
                let left = (self.fields.len() - self.at) as u64;
                if count > left / 2 {
                    return Err(self.block.error(ErrorKind::BadValue { what: "number of ranges", value: count }));
                }
                Attribute::Ranges(kind, (0..count).map(|_| self.range(bits)).collect::<Result<_, _>>()?)
            }
            value => return Err(self.block.error(ErrorKind::BadValue { what: "form of an attribute", value })),
        })
    }

    fn text(&mut self) -> Result<Arc<[u8]>, Error> {
        let rest = &self.fields[self.at..];
        let Some(len) = rest.iter().position(|c| *c == 0) else {
            return Err(self.block.error(ErrorKind::BadValue { what: "end of an attribute's text", value: 0 }));
        };
        self.at += len + 1;
        match self.texts.get(&rest[..len]) {
            Some(text) => Ok(text),
            None => Ok(bytes_of(&rest[..len], self.block)?.into()),
        }
    }

    fn range(&mut self, bits: u64) -> Result<IntRange, Error> {
        let (range, used) = read_range(&self.fields[self.at..], bits)
            .ok_or_else(|| self.block.error(ErrorKind::BadValue { what: "range of integers", value: bits }))?;
        self.at += used;
        Ok(range)
    }
}

/// A range of integers of `bits` bits as `emitConstantRange` writes it, and the number of fields it takes.
pub(crate) fn read_range(fields: &[u64], bits: u64) -> Option<(IntRange, usize)> {
    let width = u32::try_from(bits).ok().filter(|b| (1..=1 << 23).contains(b))?;
    let decode = |fields: &[u64]| -> Box<[u64]> {
        let mut words: Vec<u64> = fields.iter().map(|v| decode_sign_rotated(*v)).collect();
        let count = width.div_ceil(64) as usize;
        if words.len() == count
            && !width.is_multiple_of(64)
            && let Some(top) = words.last_mut()
        {
            *top &= u64::MAX >> (64 - width % 64);
        }
        words.into()
    };
    let (lower, upper, first) = if width > 64 {
        let counts = *fields.first()?;
        ((counts & 0xffff_ffff) as usize, (counts >> 32) as usize, 1)
    } else {
        (1, 1, 0)
    };
    let middle = first + lower;
    let end = middle.checked_add(upper)?;
    if fields.len() < end || lower.max(upper) > width.div_ceil(64) as usize {
        return None;
    }
    Some((IntRange { bits: width, lower: decode(&fields[first..middle]), upper: decode(&fields[middle..end]) }, end))
}

/// A signed number whose sign is in bit 0 (`BitcodeReader::decodeSignRotatedValue`).
pub(crate) fn decode_sign_rotated(value: u64) -> u64 {
    match (value & 1, value) {
        (0, _) => value >> 1,
        // There is no such thing as -0 with integers: it means the smallest one.
        (_, 1) => 1 << 63,
        _ => (value >> 1).wrapping_neg(),
    }
}
