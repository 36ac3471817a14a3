//! Where arguments and results travel: the calling convention of x86-64 System V as LLVM lowers it.
//!
//! LLVM knows nothing of C's types. It takes every argument apart into *leaves* (the scalars and vectors in an aggregate,
//! in order), every leaf into *parts* that fit a register, and gives each part the next register of its kind, else a place
//! on the stack; a structure may so be split between registers and memory, which the psABI never does. Front ends arrange
//! their signatures for that. Code of this compiler and of LLVM call each other, so the same is done here, whatever the
//! psABI says:
//!
//! | Part | Argument | Result |
//! | --- | --- | --- |
//! | integer, pointer | RDI RSI RDX RCX R8 R9, 8 bytes of stack | RAX RDX RCX |
//! | `i128` that is a whole argument | two consecutive of these, or 16 aligned bytes of stack | RAX RDX RCX |
//! | other integer of over 64 bits | each 64 bits for itself | each for itself |
//! | `float`, `double` | XMM0-7, 8 bytes of stack | XMM0-1, then ST0-1 |
//! | `half`, `bfloat` | XMM0-7, 8 bytes of stack | XMM0-2 |
//! | `fp128` | XMM0-7, 16 bytes of stack | XMM0-1 |
//! | `x86_fp80` | 16 bytes of stack | ST0-1 |
//! | vector | XMM0-7 or YMM0-7, 16 or 32 bytes of stack | XMM0-3 or YMM0-3 |
//! | `nest` | R10 | |
//! | `byval` | stack, 8 bytes or the alignment asked for | |
//!
//! A result that has a part without register is returned in memory as a whole, through a pointer that comes before all
//! arguments and is returned in RAX (llvm/lib/CodeGen/TargetLoweringBase.cpp, `GetReturnInfo`;
//! llvm/lib/Target/X86/X86CallingConv.td; `X86TargetLowering::CanLowerReturn`).

use kiln_bitcode::{Attribute, AttributeKind, AttributeList, AttributePlace, Module, Type, TypeId};

#[cfg(test)]
mod tests;

/// Why a signature is left to the optimizer.
pub(crate) type Refusal = &'static str;

/// General registers of arguments, by their numbers in machine code: RDI RSI RDX RCX R8 R9.
pub(crate) const ARGUMENT_REGISTERS: [u8; 6] = [7, 6, 2, 1, 8, 9];
/// General registers of results: RAX RDX RCX.
pub(crate) const RESULT_REGISTERS: [u8; 3] = [0, 2, 1];
/// R10, which holds the `nest` parameter.
pub(crate) const NEST_REGISTER: u8 = 10;
/// XMM registers of arguments: as many, from XMM0 on.
pub(crate) const ARGUMENT_VECTORS: u8 = 8;

/// More parts than this in one argument: better in memory, which front ends know.
const PARTS_MAX: usize = 512;

/// Where a part travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A general register, by its number in machine code.
    General(u8),
    /// An XMM register, or the YMM register around it.
    Vector(u8),
    /// ST0 or ST1: results only.
    X87(u8),
    /// So many bytes above the first argument on the stack, which lies at RSP when the call instruction is reached.
    Stack(u32),
}

/// How far the sender of an integer extends it; whoever receives one need not believe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extend {
    /// Not at all: bits above its width are garbage.
    None,
    /// By zeros, up to this width.
    Zero(u8),
    /// By its sign, up to this width.
    Sign(u8),
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An integer or pointer, or 64 bits of a longer one; `bits` is at most 64.
    Integer {
        /// Width.
        bits: u8,
        /// What is above it.
        extend: Extend,
    },
    /// `half`, `bfloat`, `float`, `double` or `fp128` at the bottom of an XMM register.
    Float {
        /// 16, 32, 64 or 128.
        bits: u8,
    },
    /// `x86_fp80`
    X87,
    /// Lanes of a vector; where they fill less than the register, what is above is garbage.
    Vector {
        /// Bytes of the register: 16 or 32.
        bytes: u8,
        /// Lanes of the value that this part holds.
        lanes: u8,
        /// Bits that a lane takes in the register: more than the element has where LLVM promotes it (garbage above).
        lane_bits: u8,
    },
    /// A copy of what the pointer leads to, made by the caller.
    ByVal {
        /// Bytes.
        size: u32,
    },
}

/// One part of an argument or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which argument; 0 for results.
    pub(crate) argument: u32,
    /// Which leaf of it, counted from 0 through all nested aggregates.
    pub(crate) leaf: u32,
    /// Type of the leaf.
    pub(crate) ty: TypeId,
    /// Where the leaf begins in the memory image of the argument or result.
    pub(crate) offset: u32,
    /// The first bit of the leaf that this part holds: of an integer, or of the elements of a vector side by side.
    pub(crate) bit: u32,
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it travels.
    pub(crate) place: Place,
}

impl Kind {
    /// How many registers hold such a part within a function: `x86_fp80` has two, and there are none wider than XMM's.
    pub(crate) fn own_parts(self) -> u32 {
        if self == Kind::X87 || self.is_wide() { 2 } else { 1 }
    }

    /// Whether it travels in a YMM register.
    pub(crate) fn is_wide(self) -> bool {
        matches!(self, Kind::Vector { bytes: 32, .. })
    }
}

/// The parts of arguments or of a result with the numbers that they have within their values.
pub(crate) fn numbered(parts: &[Part]) -> impl Iterator<Item = (u32, &Part)> {
    let mut argument = u32::MAX;
    let mut next = 0;
    parts.iter().map(move |part| {
        if part.argument != argument {
            argument = part.argument;
            next = 0;
        }
        let at = next;
        next += part.kind.own_parts();
        (at, part)
    })
}

/// The vector registers that a function's own target features make legal: they decide about vectors in its signature and
/// in its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Vectors {
    /// XMM.
    Sse,
    /// XMM and YMM.
    Avx,
    /// XMM and YMM; masks and ZMM, where they count, are refused.
    Avx512,
    /// A processor that is not known here: XMM where all agree, else refused.
    Unknown,
    /// No floating point in registers: kernels.
    None,
}

impl Vectors {
    /// By the attributes `target-cpu` and `target-features` of a function.
    pub(crate) fn of(attributes: AttributeList<'_>) -> Self {
        let mut found = match attributes.string(b"target-cpu") {
            None | Some(b"" | b"x86-64" | b"x86-64-v2" | b"generic") => Vectors::Sse,
            Some(b"x86-64-v3") => Vectors::Avx,
            Some(b"x86-64-v4") => Vectors::Avx512,
            Some(_) => Vectors::Unknown,
        };
        let features = attributes.string(b"target-features").unwrap_or_default();
        for feature in features.split(|byte| *byte == b',') {
            let avx512 = feature.starts_with(b"+avx512") || feature.starts_with(b"+avx10");
            found = match feature {
                b"+soft-float" | b"-sse" | b"-sse2" | b"-x87" => return Vectors::None,
                _ if avx512 && found != Vectors::Unknown => Vectors::Avx512,
                // Everything that implies AVX (llvm/lib/Target/X86/X86.td).
                b"+avx" | b"+avx2" | b"+fma" | b"+f16c" | b"+fma4" | b"+xop" | b"+vaes" | b"+vpclmulqdq"
                | b"+avxvnni" | b"+avxifma" | b"+avxneconvert" | b"+avxvnniint8" | b"+avxvnniint16" | b"+sha512"
                | b"+sm3" | b"+sm4"
                    if found == Vectors::Sse =>
                {
                    Vectors::Avx
                }
                // Switching off what AVX builds on switches AVX off.
                b"-avx" | b"-sse4.2" | b"-sse4.1" | b"-ssse3" | b"-sse3" => Vectors::Sse,
                _ => found,
            };
        }
        found
    }

    /// Whether a vector of `bits` bits fits a register; `None` where that is not known.
    fn is_legal(self, bits: u64) -> Option<bool> {
        match (self, bits) {
            (Vectors::None, _) => None,
            (_, 128) => Some(true),
            (Vectors::Avx | Vectors::Avx512, 256) => Some(true),
            (Vectors::Avx512, 512) | (Vectors::Unknown, 256 | 512) => None,
            _ => Some(false),
        }
    }
}

/// Whether the list says anything that [`Signature::classify`] heeds.
pub(crate) fn places_arguments(list: AttributeList<'_>) -> bool {
    let arguments = list.groups().filter(|group| group.place() != AttributePlace::Function);
    arguments.into_iter().any(|group| {
        let mut flags = Flags::NONE;
        group.attributes().iter().for_each(|attribute| flags.add(attribute));
        // Without `byval` it means nothing.
        flags.align = 0;
        flags != Flags::NONE
    })
}

/// What attributes say about one argument or the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flags {
    sign: bool,
    zero: bool,
    nest: bool,
    sret: bool,
    inreg: bool,
    byval: Option<TypeId>,
    /// `align`, which counts for `byval` only.
    align: u64,
    /// `alignstack`, which goes before it.
    stack_align: u64,
    refused: Option<Refusal>,
}

impl Flags {
    const NONE: Flags = Flags {
        sign: false,
        zero: false,
        nest: false,
        sret: false,
        inreg: false,
        byval: None,
        align: 0,
        stack_align: 0,
        refused: None,
    };

    fn add(&mut self, attribute: &Attribute) {
        match attribute {
            Attribute::Enum(kind) => match *kind {
                AttributeKind::SIGN_EXT => self.sign = true,
                AttributeKind::ZERO_EXT => self.zero = true,
                AttributeKind::NEST => self.nest = true,
                AttributeKind::INREG => self.inreg = true,
                AttributeKind::SWIFT_SELF => self.refused = Some("parameter attribute swiftself"),
                AttributeKind::SWIFT_ERROR => self.refused = Some("parameter attribute swifterror"),
                AttributeKind::SWIFT_ASYNC => self.refused = Some("parameter attribute swiftasync"),
                _ => {}
            },
            Attribute::Int(AttributeKind::ALIGN, align) => self.align = *align,
            Attribute::Int(AttributeKind::ALIGN_STACK, align) => self.stack_align = *align,
            Attribute::Type(AttributeKind::BYVAL, Some(ty)) => self.byval = Some(*ty),
            Attribute::Type(AttributeKind::STRUCT_RET, _) => self.sret = true,
            Attribute::Type(AttributeKind::IN_ALLOCA, _) => self.refused = Some("parameter attribute inalloca"),
            Attribute::Type(AttributeKind::PREALLOCATED, _) => self.refused = Some("parameter attribute preallocated"),
            _ => {}
        }
    }

    fn extend(&self, to: u8) -> Extend {
        match (self.sign, self.zero) {
            (true, _) => Extend::Sign(to),
            (_, true) => Extend::Zero(to),
            _ => Extend::None,
        }
    }
}

/// Registers and stack that are still free.
#[derive(Clone, Copy, Debug, Default)]
struct Free {
    general: u8,
    vector: u8,
    x87: u8,
    stack: u32,
    stack_align: u32,
}

/// Where the arguments and results of one call or function travel. Made to be used again: memory stays.
#[derive(Debug, Default)]
pub(crate) struct Signature {
    /// Parts of the arguments, in their order.
    pub(crate) arguments: Vec<Part>,
    /// Parts of the result; empty where it travels in memory.
    pub(crate) results: Vec<Part>,
    /// The result travels in memory, through a pointer in RDI that is no argument of the function type.
    pub(crate) demoted: bool,
    /// The argument that is returned in RAX, because it has the attribute `sret`.
    pub(crate) sret: Option<u32>,
    /// The function type takes more arguments than it names; the caller says in AL how many vector registers it uses.
    pub(crate) variadic: bool,
    /// General registers of arguments in use, from RDI on.
    pub(crate) general_registers: u8,
    /// Vector registers of arguments in use, from XMM0 on.
    pub(crate) vector_registers: u8,
    /// Bytes of arguments on the stack. In a variadic function the unnamed arguments begin here, in 8-byte steps.
    pub(crate) stack_bytes: u32,
    /// Alignment of the stack's arguments: 16, or more where one asks for more.
    pub(crate) stack_align: u32,
}

/// What decides about a signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The function's type, or that of a call.
    pub(crate) function: TypeId,
    /// Types of a call's arguments beyond those that its type names.
    pub(crate) extra: &'a [TypeId],
    pub(crate) convention: u32,
    /// Those of the definition, or of the call and of a directly called function.
    pub(crate) attributes: &'a [AttributeList<'a>],
    pub(crate) vectors: Vectors,
}

/// Memory for finding out about signatures, which are kept without it.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    flags: Vec<Flags>,
    walk: Vec<Step>,
}

/// An aggregate whose leaves are being visited.
#[derive(Clone, Copy, Debug)]
struct Step {
    ty: TypeId,
    offset: u64,
    next: u64,
}

impl Signature {
    /// Finds the places of `asked`'s arguments and result.
    pub(crate) fn classify(
        &mut self,
        module: &Module,
        asked: &Asked<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let &Asked { function, extra, convention, attributes, vectors } = asked;
        check_convention(convention)?;
        let Type::Function { result, parameters, variadic } = module.ty(function) else {
            return Err("call of something that is no function");
        };
        self.arguments.clear();
        self.results.clear();
        self.variadic = *variadic;
        self.sret = None;
        let count = parameters.len() + extra.len();
        let Scratch { flags, walk } = scratch;
        let returned = read_attributes(attributes, count, flags)?;
        let mut lowering = Lowering { module, vectors, variadic: *variadic, leaf: 0, argument: 0 };

        // The result first: without registers for it, its address is the first argument.
        let mut results = std::mem::take(&mut self.results);
        let fits = lowering.results(*result, &returned, &mut results, walk)?;
        if !fits {
            results.clear();
        }
        self.results = results;
        self.demoted = !fits;

        let mut free = Free { stack_align: 16, general: u8::from(self.demoted), ..Free::default() };
        let mut arguments = std::mem::take(&mut self.arguments);
        arguments.reserve_exact(count);
        for (index, ty) in parameters.iter().chain(extra).enumerate() {
            let flags = flags[index];
            if let Some(refusal) = flags.refused {
                return Err(refusal);
            }
            if flags.sret && self.sret.is_none() {
                self.sret = Some(index as u32);
            }
            lowering.argument = index as u32;
            lowering.argument(*ty, &flags, &mut free, &mut arguments, walk)?;
        }
        self.arguments = arguments;
        self.general_registers = free.general;
        self.vector_registers = free.vector;
        self.stack_bytes = free.stack;
        self.stack_align = free.stack_align;
        Ok(())
    }
}

/// Collects what the lists say about the `count` arguments, and about the result.
fn read_attributes(lists: &[AttributeList<'_>], count: usize, arguments: &mut Vec<Flags>) -> Result<Flags, Refusal> {
    arguments.clear();
    arguments.resize(count, Flags::NONE);
    let mut returned = Flags::NONE;
    for group in lists.iter().flat_map(|list| list.groups()) {
        let flags = match group.place() {
            AttributePlace::Function => continue,
            AttributePlace::Return => &mut returned,
            AttributePlace::Parameter(index) => match arguments.get_mut(index as usize) {
                Some(flags) => flags,
                None => continue,
            },
        };
        for attribute in group.attributes() {
            flags.add(attribute);
        }
    }
    if returned.inreg {
        return Err("inreg result");
    }
    Ok(returned)
}

/// LLVM's numbers of calling conventions (llvm/IR/CallingConv.h): on x86-64, `fastcc` is C's.
fn check_convention(convention: u32) -> Result<(), Refusal> {
    Err(match convention {
        0 | 8 | 78 => return Ok(()),
        9 => "calling convention coldcc",
        10 => "calling convention ghccc",
        11 => "calling convention 11 (HiPE)",
        13 => "calling convention anyregcc",
        14 => "calling convention preserve_mostcc",
        15 => "calling convention preserve_allcc",
        16 => "calling convention swiftcc",
        17 => "calling convention cxx_fast_tlscc",
        18 => "calling convention tailcc",
        20 => "calling convention swifttailcc",
        21 => "calling convention preserve_nonecc",
        79 => "calling convention win64cc",
        80 => "calling convention x86_vectorcallcc",
        83 => "calling convention x86_intrcc",
        92 => "calling convention x86_regcallcc",
        _ => "an unknown calling convention",
    })
}

/// What a leaf is taken apart into.
struct Pieces {
    kind: Kind,
    /// How many of the same kind.
    count: u32,
    /// Bits of the leaf that each holds.
    bits: u32,
}

struct Lowering<'m> {
    module: &'m Module,
    vectors: Vectors,
    variadic: bool,
    argument: u32,
    leaf: u32,
}

impl Lowering<'_> {
    /// Places the parts of one argument.
    fn argument(
        &mut self,
        ty: TypeId,
        flags: &Flags,
        free: &mut Free,
        parts: &mut Vec<Part>,
        walk: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        self.leaf = 0;
        if let Some(pointee) = flags.byval {
            let layout = self.module.layout_of(pointee).ok_or("byval of a type without size")?;
            let asked = if flags.stack_align != 0 { flags.stack_align } else { flags.align };
            let natural = if asked != 0 { asked } else { layout.abi_align };
            let align = u32::try_from(natural.max(8)).map_err(|_| "byval with a huge alignment")?;
            let size = u32::try_from(layout.size).ok().filter(|size| *size < 1 << 30).ok_or("byval of over 1 GiB")?;
            let place = free.stack(size.max(8).next_multiple_of(8), align);
            parts.push(self.part(ty, 0, 0, Kind::ByVal { size }, place));
            return Ok(());
        }
        if flags.nest {
            let kind = Kind::Integer { bits: 64, extend: Extend::None };
            parts.push(self.part(ty, 0, 0, kind, Place::General(NEST_REGISTER)));
            return Ok(());
        }
        if *self.module.ty(ty) == Type::Integer(128) {
            let pair = free.general_pair();
            for half in 0..2u32 {
                let kind = Kind::Integer { bits: 64, extend: Extend::None };
                let place = match pair {
                    Some((low, _)) if half == 0 => Place::General(low),
                    Some((_, high)) => Place::General(high),
                    None if half == 0 => free.stack(16, 16),
                    None => Place::Stack(free.stack - 8),
                };
                parts.push(self.part(ty, 0, 64 * half, kind, place));
            }
            return Ok(());
        }
        if let Some(kind) = self.plain_scalar(ty, flags) {
            let place = free.argument(kind, self.variadic);
            parts.push(self.part(ty, 0, 0, kind, place));
            self.leaf = 1;
            return Ok(());
        }
        let first = parts.len();
        self.leaves(ty, walk, &mut |this, leaf, offset| {
            let pieces = this.pieces(leaf, flags, false)?;
            for piece in 0..pieces.count {
                if parts.len() - first >= PARTS_MAX {
                    return Err("an argument of very many parts");
                }
                let kind = last_piece(&pieces, piece, this.bits_of(leaf));
                let place = free.argument(kind, this.variadic);
                parts.push(this.part(leaf, offset, piece * pieces.bits, kind, place));
            }
            this.leaf += 1;
            Ok(true)
        })?;
        Ok(())
    }

    /// Places the parts of the result; whether there are registers for all.
    fn results(
        &mut self,
        ty: TypeId,
        flags: &Flags,
        parts: &mut Vec<Part>,
        walk: &mut Vec<Step>,
    ) -> Result<bool, Refusal> {
        if *self.module.ty(ty) == Type::Void {
            return Ok(true);
        }
        parts.reserve_exact(2);
        let mut free = Free::default();
        let complete = self.leaves(ty, walk, &mut |this, leaf, offset| {
            let pieces = this.pieces(leaf, flags, true)?;
            for piece in 0..pieces.count {
                let kind = last_piece(&pieces, piece, this.bits_of(leaf));
                let Some(place) = free.result(kind) else { return Ok(false) };
                parts.push(this.part(leaf, offset, piece * pieces.bits, kind, place));
            }
            this.leaf += 1;
            Ok(true)
        })?;
        Ok(complete)
    }

    /// The only part of an argument of a type that most have: what [`Lowering::pieces`] makes of it.
    fn plain_scalar(&self, ty: TypeId, flags: &Flags) -> Option<Kind> {
        match self.module.ty(ty) {
            Type::Integer(bits @ 1..=64) => integer_pieces(*bits, flags, false).ok().map(|pieces| pieces.kind),
            Type::Pointer { address_space: 0 } if self.module.data_layout().pointer(0).bits == 64 => {
                Some(Kind::Integer { bits: 64, extend: Extend::None })
            }
            _ => None,
        }
    }

    fn part(&self, ty: TypeId, offset: u64, bit: u32, kind: Kind, place: Place) -> Part {
        Part { argument: self.argument, leaf: self.leaf, ty, offset: offset as u32, bit, kind, place }
    }

    fn bits_of(&self, leaf: TypeId) -> u64 {
        self.module.layout_of(leaf).map_or(0, |layout| layout.bits)
    }

    /// Calls `visit` for every leaf of `ty` with its offset until it says `false`. Nested aggregates wait on `walk`, not on
    /// the machine's stack, which is small where a first call comes from.
    fn leaves(
        &mut self,
        ty: TypeId,
        walk: &mut Vec<Step>,
        visit: &mut dyn FnMut(&mut Self, TypeId, u64) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        let module = self.module;
        let is_aggregate = |ty: TypeId| matches!(module.ty(ty), Type::Struct { .. } | Type::Array { .. });
        if !is_aggregate(ty) {
            return visit(self, ty, 0);
        }
        walk.clear();
        walk.push(Step { ty, offset: 0, next: 0 });
        while let Some(step) = walk.last_mut() {
            let at = step.next;
            step.next += 1;
            let below = match module.ty(step.ty) {
                Type::Struct { fields, .. } => fields
                    .get(at as usize)
                    .map(|field| (*field, step.offset + module.field_offsets(step.ty).get(at as usize).unwrap_or(&0))),
                Type::Array { count, element } => {
                    let layout = module.layout_of(*element).ok_or("an aggregate of types without size")?;
                    // Empty elements have no leaves, however many they are.
                    (at < *count && layout.size > 0).then_some((*element, step.offset + at * layout.size))
                }
                _ => None,
            };
            let Some((below, offset)) = below else {
                walk.pop();
                continue;
            };
            if is_aggregate(below) {
                walk.push(Step { ty: below, offset, next: 0 });
            } else if !visit(self, below, offset)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes a leaf apart (`getRegisterTypeForCallingConv`, `getNumRegistersForCallingConv`).
    fn pieces(&self, leaf: TypeId, flags: &Flags, result: bool) -> Result<Pieces, Refusal> {
        let one = |kind, bits| Ok(Pieces { kind, count: 1, bits });
        match self.module.ty(leaf) {
            Type::Integer(bits) => integer_pieces(*bits, flags, result),
            Type::Pointer { address_space } => match self.module.data_layout().pointer(*address_space).bits {
                64 => one(Kind::Integer { bits: 64, extend: Extend::None }, 64),
                _ => Err("pointers that are not 64 bits wide"),
            },
            Type::X86Fp80 => one(Kind::X87, 80),
            Type::Half | Type::BFloat | Type::Float | Type::Double | Type::Fp128 if self.vectors == Vectors::None => {
                Err("floating point without SSE2")
            }
            Type::Half | Type::BFloat => one(Kind::Float { bits: 16 }, 16),
            Type::Float => one(Kind::Float { bits: 32 }, 32),
            Type::Double => one(Kind::Float { bits: 64 }, 64),
            Type::Fp128 => one(Kind::Float { bits: 128 }, 128),
            Type::Vector { scalable: true, .. } => Err("a scalable vector in a signature"),
            Type::Vector { count, element, .. } => self.vector_pieces(*count, *element, flags, result),
            Type::PpcFp128 => Err("ppc_fp128 in a signature"),
            Type::X86Amx => Err("x86_amx in a signature"),
            Type::TargetExt { .. } => Err("a target extension type in a signature"),
            _ => Err("a type without values in a signature"),
        }
    }

    /// `TargetLoweringBase::getVectorTypeBreakdown`, and `computeRegisterProperties` for types that LLVM has names for.
    fn vector_pieces(&self, count: u32, element: TypeId, flags: &Flags, result: bool) -> Result<Pieces, Refusal> {
        let scalar = self.pieces(element, flags, result)?;
        let (bits, integer) = match (self.module.ty(element), scalar.kind) {
            (Type::Integer(bits), _) => (u64::from(*bits), true),
            (Type::Pointer { .. }, _) => (64, false),
            (_, Kind::Float { bits }) => (u64::from(bits), false),
            _ => (0, false),
        };
        let scalars = Pieces { count: count * scalar.count, ..scalar };
        let legal = |bits: u64| self.vectors.is_legal(bits).ok_or("a vector in a signature, for this processor");
        // fp80 and fp128 have no vectors; one lane is a scalar.
        if count == 1 || !(1..=64).contains(&bits) {
            return Ok(scalars);
        }
        if matches!(self.vectors, Vectors::Unknown | Vectors::Avx512) && bits == 1 {
            return Err("a vector of i1 in a signature, for this processor");
        }
        let vector = |bytes: u64, lanes: u32, lane_bits: u64, count: u32| {
            let kind = Kind::Vector { bytes: bytes as u8, lanes: lanes as u8, lane_bits: lane_bits as u8 };
            Ok(Pieces { kind, count, bits: lanes * bits as u32 })
        };
        let rounded = count.next_power_of_two();
        let full = u64::from(rounded) * bits;
        let standard = matches!(bits, 8 | 16 | 32 | 64);
        let half = matches!(self.module.ty(element), Type::Half | Type::BFloat);
        if half && count < 8 {
            return vector(16, count, 16, 1);
        }
        if !standard {
            // Elements are promoted to the width that makes a legal vector of as many lanes.
            for bytes in [16u64, 32, 64] {
                let lane_bits = bytes * 8 / u64::from(rounded).max(1);
                let wanted = matches!(lane_bits, 8 | 16 | 32 | 64) && lane_bits > bits;
                if integer && wanted && count == rounded && legal(bytes * 8)? {
                    return vector(bytes, count, lane_bits, 1);
                }
            }
            return Ok(scalars);
        }
        if legal(full)? {
            return vector(full / 8, count, bits, 1);
        }
        if count != rounded {
            return Ok(scalars);
        }
        if full < 128 {
            return vector(16, count, bits, 1);
        }
        let bytes = if legal(256)? { 32 } else { 16 };
        let lanes = bytes as u32 * 8 / bits as u32;
        vector(bytes, lanes, bits, count / lanes)
    }
}

fn integer_pieces(bits: u32, flags: &Flags, result: bool) -> Result<Pieces, Refusal> {
    let extend = match (bits, result) {
        // `X86TargetLowering::getTypeForExtReturn`
        (1, true) => flags.extend(8),
        (8 | 16, true) => Extend::None,
        (32 | 64, _) => Extend::None,
        (..=31, _) => flags.extend(32),
        (33..=63, _) => flags.extend(64),
        _ => Extend::None,
    };
    if bits <= 64 {
        return Ok(Pieces { kind: Kind::Integer { bits: bits as u8, extend }, count: 1, bits });
    }
    let kind = Kind::Integer { bits: 64, extend: Extend::None };
    Ok(Pieces { kind, count: bits.div_ceil(64), bits: 64 })
}

/// The kind of piece number `piece` of a leaf of `total` bits: the last one of a long integer is shorter.
fn last_piece(pieces: &Pieces, piece: u32, total: u64) -> Kind {
    match pieces.kind {
        Kind::Integer { bits: 64, extend } if pieces.count > 1 => {
            let rest = total.saturating_sub(u64::from(piece) * 64).min(64);
            Kind::Integer { bits: rest.max(1) as u8, extend }
        }
        kind => kind,
    }
}

impl Free {
    fn stack(&mut self, bytes: u32, align: u32) -> Place {
        let at = self.stack.next_multiple_of(align);
        self.stack = at + bytes;
        self.stack_align = self.stack_align.max(align);
        Place::Stack(at)
    }

    /// Two consecutive general registers; one that is left over stays free for a later argument.
    fn general_pair(&mut self) -> Option<(u8, u8)> {
        let at = usize::from(self.general);
        let pair = ARGUMENT_REGISTERS.get(at).copied().zip(ARGUMENT_REGISTERS.get(at + 1).copied());
        if pair.is_some() {
            self.general += 2;
        }
        pair
    }

    /// `CC_X86_64_C`
    fn argument(&mut self, kind: Kind, variadic: bool) -> Place {
        match kind {
            Kind::Integer { .. } => match ARGUMENT_REGISTERS.get(usize::from(self.general)) {
                Some(register) => {
                    self.general += 1;
                    Place::General(*register)
                }
                None => self.stack(8, 8),
            },
            Kind::X87 => self.stack(16, 16),
            // Wide vectors of a variadic call are never in registers, which the callee could not save.
            Kind::Vector { bytes: 32, .. } if variadic => self.stack(32, 32),
            Kind::Float { .. } | Kind::Vector { .. } if self.vector < ARGUMENT_VECTORS => {
                self.vector += 1;
                Place::Vector(self.vector - 1)
            }
            Kind::Float { bits: 128 } => self.stack(16, 16),
            Kind::Float { .. } => self.stack(8, 8),
            Kind::Vector { bytes, .. } => self.stack(bytes.into(), bytes.into()),
            Kind::ByVal { size } => self.stack(size, 8),
        }
    }

    /// `RetCC_X86_64_C`
    fn result(&mut self, kind: Kind) -> Option<Place> {
        let vectors = match kind {
            Kind::Integer { .. } => {
                let register = RESULT_REGISTERS.get(usize::from(self.general))?;
                self.general += 1;
                return Some(Place::General(*register));
            }
            Kind::Vector { .. } => 4,
            Kind::Float { bits: 16 } => 3,
            Kind::Float { .. } => 2,
            Kind::X87 => 0,
            Kind::ByVal { .. } => return None,
        };
        if self.vector < vectors {
            self.vector += 1;
            return Some(Place::Vector(self.vector - 1));
        }
        let spills = matches!(kind, Kind::X87 | Kind::Float { bits: 32 | 64 });
        if spills && self.x87 < 2 {
            self.x87 += 1;
            return Some(Place::X87(self.x87 - 1));
        }
        None
    }
}
