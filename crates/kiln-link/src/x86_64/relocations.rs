//! The static relocations of x86-64, one row each.
//!
//! Letters as in the psABI (System V ABI, AMD64 supplement, §4.4.1): `S` the symbol's address, `A` the addend, `P` the
//! place (address of the field), `G` the offset of the symbol's slot in the global offset table, `GOT` its address, `L`
//! the address a branch to the symbol goes to (a stub where it does not reach), `Z` the symbol's size, `TP` the thread
//! pointer, `B` the start of the module's thread-local block.
//! <https://gitlab.com/x86-psABIs/x86-64-ABI>
//!
//! What is peculiar: no field has an alignment, instructions have no fixed place relative to their field (so a check of
//! the instruction looks at the bytes before it), and `R_X86_64_PLT32` means the same as `R_X86_64_PC32` wherever the
//! symbol is in reach. A 32-bit field that is not relative to the place bears absolute addresses: out of reach unless
//! everything lies below 2 GiB.

use std::fmt;

/// A relocation type of the x86-64 psABI, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelocationKind(pub u32);

/// How the value of a relocation is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Formula {
    /// Nothing is written.
    Nothing,
    /// `S + A`
    Absolute,
    /// `S + A - P`
    Relative,
    /// `L + A - P`
    Branch,
    /// `G + GOT + A - P`
    GotRelative,
    /// `G + GOT + A - P`, or a direct form of the instruction.
    GotRelaxable,
    /// `G + A`
    GotOffset,
    /// `S + A - GOT`
    FromGot,
    /// `GOT + A - P`
    GotBase,
    /// `L + A - GOT`
    BranchFromGot,
    /// `Z + A`
    Size,
    /// Slot pair (module, offset) for `__tls_get_addr`, relative to the place.
    TlsGd,
    /// Slot pair (module, 0) for `__tls_get_addr`, relative to the place.
    TlsLd,
    /// Offset in the module's thread-local block.
    DtpOff,
    /// Slot with the offset from the thread pointer, relative to the place.
    GotTpOff,
    /// Offset from the thread pointer.
    TpOff,
    /// Slot pair (resolver, argument), relative to the place.
    TlsDesc,
    /// Marks the call through a descriptor.
    TlsDescCall,
    /// The module's id.
    DtpMod,
}

/// The width of a field in bytes and how its value must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// No field.
    None,
    /// 8 bits, signed or unsigned.
    Bits8,
    /// 8 bits, sign-extended.
    Int8,
    /// 16 bits, signed or unsigned.
    Bits16,
    /// 16 bits, sign-extended.
    Int16,
    /// 32 bits, zero-extended.
    Word32,
    /// 32 bits, sign-extended.
    Int32,
    /// 64 bits, always fits.
    Word64,
}

impl Field {
    /// Bytes the field takes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Field::None => 0,
            Field::Bits8 | Field::Int8 => 1,
            Field::Bits16 | Field::Int16 => 2,
            Field::Word32 | Field::Int32 => 4,
            Field::Word64 => 8,
        }
    }

    /// Least and greatest value that fits; the whole range of `i64` for a 64-bit field.
    pub(crate) const fn range(self) -> (i64, i64) {
        match self {
            Field::Bits8 => (i8::MIN as i64, u8::MAX as i64),
            Field::Int8 => (i8::MIN as i64, i8::MAX as i64),
            Field::Bits16 => (i16::MIN as i64, u16::MAX as i64),
            Field::Int16 => (i16::MIN as i64, i16::MAX as i64),
            Field::Word32 => (0, u32::MAX as i64),
            Field::Int32 => (i32::MIN as i64, i32::MAX as i64),
            Field::None | Field::Word64 => (i64::MIN, i64::MAX),
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) formula: Formula,
    pub(crate) field: Field,
}

/// Numbers below this one may have a row.
pub(crate) const KINDS: usize = 64;

macro_rules! relocations {
    ($($name:ident = $number:literal, $formula:ident $text:literal, $field:ident $range:literal, $expects:literal, $overflow:literal;)*) => {
        impl RelocationKind {
            $(
                #[doc = concat!("`R_X86_64_", stringify!($name), "`: field ← `", $text, "` : ", $range,
                    ". Stands in: ", $expects, ". On overflow: ", $overflow, ".")]
                pub const $name: RelocationKind = RelocationKind($number);
            )*

            /// The psABI's name without `R_X86_64_`.
            fn short_name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// All kinds that a relocatable object may hold, in the order of the table.
            pub const ALL: &'static [RelocationKind] = &[$(RelocationKind($number)),*];
        }

        /// The rows by number.
        const ROWS: [Option<Row>; KINDS] = {
            let mut table = [None; KINDS];
            $(table[$number] = Some(Row { formula: Formula::$formula, field: Field::$field });)*
            table
        };

        /// The rows by number, in memory once.
        static TABLE: [Option<Row>; KINDS] = ROWS;
    };
}

relocations! {
    // relocation          formula                                          field  and its range        expects                                       overflow
    NONE = 0,              Nothing "nothing",                               None   "no field",          "anything",                                   "never";
    ABS64 = 1,             Absolute "S + A",                                Word64 "64 bits",           "data, movabs",                               "never";
    PC32 = 2,              Relative "S + A - P (L for a branch)",           Int32  "int32",             "data, displacement",                         "stub for a branch, else error";
    GOT32 = 3,             GotOffset "G + A",                               Int32  "int32",             "displacement",                               "error";
    PLT32 = 4,             Branch "L + A - P",                              Int32  "int32",             "call, jmp, jcc, data",                       "stub";
    GOTPCREL = 9,          GotRelative "G + GOT + A - P",                   Int32  "int32",             "displacement of a load",                     "error";
    ABS32 = 10,            Absolute "S + A",                                Word32 "uint32",            "immediate, data",                            "error";
    ABS32S = 11,           Absolute "S + A",                                Int32  "int32",             "displacement, immediate",                    "error";
    ABS16 = 12,            Absolute "S + A",                                Bits16 "int16 or uint16",   "data",                                       "error";
    PC16 = 13,             Relative "S + A - P",                            Int16  "int16",             "data, displacement",                         "error";
    ABS8 = 14,             Absolute "S + A",                                Bits8  "int8 or uint8",     "data",                                       "error";
    PC8 = 15,              Relative "S + A - P",                            Int8   "int8",              "data, short branch",                         "error";
    DTPMOD64 = 16,         DtpMod "module id of S",                         Word64 "64 bits",           "data",                                       "never";
    DTPOFF64 = 17,         DtpOff "S + A - B (S + A - TP after LD -> LE)",  Word64 "64 bits",           "data, movabs",                               "never";
    TPOFF64 = 18,          TpOff "S + A - TP",                              Word64 "64 bits",           "data, movabs",                               "never";
    TLSGD = 19,            TlsGd "pair(S) + A - P, or relaxed",             Int32  "int32",             "data16 lea x(%rip), %rdi; call",             "error";
    TLSLD = 20,            TlsLd "pair(module) + A - P, or relaxed",        Int32  "int32",             "lea x(%rip), %rdi; call",                    "error";
    DTPOFF32 = 21,         DtpOff "S + A - B (S + A - TP after LD -> LE)",  Int32  "int32",             "displacement, immediate",                    "error";
    GOTTPOFF = 22,         GotTpOff "slot(S - TP) + A - P, or relaxed",     Int32  "int32",             "mov or add x(%rip), %reg",                   "error";
    TPOFF32 = 23,          TpOff "S + A - TP",                              Int32  "int32",             "displacement, immediate",                    "error";
    PC64 = 24,             Relative "S + A - P",                            Word64 "64 bits",           "data, movabs",                               "never";
    GOTOFF64 = 25,         FromGot "S + A - GOT",                           Word64 "64 bits",           "data, movabs",                               "never";
    GOTPC32 = 26,          GotBase "GOT + A - P",                           Int32  "int32",             "lea x(%rip), %reg",                          "error";
    GOT64 = 27,            GotOffset "G + A",                               Word64 "64 bits",           "movabs",                                     "never";
    GOTPCREL64 = 28,       GotRelative "G + GOT + A - P",                   Word64 "64 bits",           "data, movabs",                               "never";
    GOTPC64 = 29,          GotBase "GOT + A - P",                           Word64 "64 bits",           "movabs",                                     "never";
    GOTPLT64 = 30,         GotOffset "G + A",                               Word64 "64 bits",           "movabs",                                     "never";
    PLTOFF64 = 31,         BranchFromGot "L + A - GOT",                     Word64 "64 bits",           "movabs",                                     "never";
    SIZE32 = 32,           Size "Z + A",                                    Word32 "uint32",            "data, immediate",                            "error";
    SIZE64 = 33,           Size "Z + A",                                    Word64 "64 bits",           "data, movabs",                               "never";
    GOTPC32_TLSDESC = 34,  TlsDesc "descriptor(S) + A - P, or relaxed",     Int32  "int32",             "lea x(%rip), %reg",                          "error";
    TLSDESC_CALL = 35,     TlsDescCall "nothing, or nop",                   None   "no field",          "call *(%rax)",                               "never";
    GOTPCRELX = 41,        GotRelaxable "G + GOT + A - P, or relaxed",      Int32  "int32",             "call, jmp, mov or binary operation",         "error";
    REX_GOTPCRELX = 42,    GotRelaxable "G + GOT + A - P, or relaxed",      Int32  "int32",             "REX mov or binary operation",                "error";
    CODE_4_GOTPCRELX = 43, GotRelative "G + GOT + A - P",                   Int32  "int32",             "REX2 mov or binary operation",               "error";
    CODE_4_GOTTPOFF = 44,  GotTpOff "slot(S - TP) + A - P",                 Int32  "int32",             "REX2 mov or add",                            "error";
    CODE_4_GOTPC32_TLSDESC = 45, TlsDesc "descriptor(S) + A - P",           Int32  "int32",             "REX2 lea x(%rip), %reg",                     "error";
    CODE_6_GOTTPOFF = 50,  GotTpOff "slot(S - TP) + A - P",                 Int32  "int32",             "EVEX add x(%rip), %reg1, %reg2",             "error";
}

impl RelocationKind {
    /// The row of this kind; `None` if a relocatable object cannot hold it.
    #[inline]
    pub(crate) fn row(self) -> Option<Row> {
        TABLE.get(self.0 as usize).copied().flatten()
    }

    /// Whether the linker may need a slot in the global offset table, or a decision about thread-local storage, before
    /// it lays the output out.
    #[inline]
    pub(crate) fn needs_slot(self) -> bool {
        const SLOTS: u64 = {
            let mut mask = 0u64;
            let mut i = 0;
            while i < KINDS {
                if let Some(row) = ROWS[i]
                    && matches!(
                        row.formula,
                        Formula::GotRelative
                            | Formula::GotRelaxable
                            | Formula::GotOffset
                            | Formula::TlsGd
                            | Formula::TlsLd
                            | Formula::GotTpOff
                            | Formula::TlsDesc
                    )
                {
                    mask |= 1 << i;
                }
                i += 1;
            }
            mask
        };
        self.0 < KINDS as u32 && SLOTS >> self.0 & 1 == 1
    }
}

impl fmt::Display for RelocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.short_name() {
            Some(name) => write!(f, "R_X86_64_{}", name.strip_prefix("ABS").unwrap_or(name)),
            None => write!(f, "relocation type {}", self.0),
        }
    }
}

impl fmt::Debug for RelocationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_psabi() {
        assert_eq!(RelocationKind::ABS64.to_string(), "R_X86_64_64");
        assert_eq!(RelocationKind::ABS32S.to_string(), "R_X86_64_32S");
        assert_eq!(RelocationKind::PC32.to_string(), "R_X86_64_PC32");
        assert_eq!(RelocationKind(5).to_string(), "relocation type 5");
    }

    #[test]
    fn every_row_is_listed_once() {
        assert_eq!(RelocationKind::ALL.len(), TABLE.iter().flatten().count());
        assert!(RelocationKind::TLSGD.needs_slot() && !RelocationKind::PC32.needs_slot());
        assert!(RelocationKind(5).row().is_none() && RelocationKind(u32::MAX).row().is_none());
    }
}
