use crate::attributes::AttributeListId;
use crate::bitstream::{Block, BlockPlace};
use crate::constant::ConstantId;
use crate::error::{Error, ErrorKind};
use crate::types::TypeId;

/// A name in the module's string table: [`Module::str`](crate::Module::str) has the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Name {
    /// Whether the thing has no name.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A name outside the string table, of a section or a garbage collector:
/// [`Module::text`](crate::Module::text) has the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(pub(crate) u32);

/// An explicit alignment, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Alignment {
    /// 1 + its exponent, 0 for none.
    code: u8,
}

impl Alignment {
    /// `Value::MaxAlignmentExponent`
    const MAX_EXPONENT: u64 = 32;

    pub(crate) fn decode(value: u64, block: &Block<'_>) -> Result<Self, Error> {
        if value > Self::MAX_EXPONENT + 1 {
            return Err(block.error(ErrorKind::BadValue { what: "exponent of an alignment", value }));
        }
        Ok(Self { code: value as u8 })
    }

    fn bytes(self) -> Option<u64> {
        self.code.checked_sub(1).map(|exponent| 1 << exponent)
    }
}

macro_rules! coded_enum {
    ($(#[$meta:meta])* $type:ident, $what:literal { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// Its name in textual IR.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $text,)*
                }
            }

            pub(crate) fn decode(value: u64, block: &Block<'_>) -> Result<Self, Error> {
                match value {
                    $($code => Ok($type::$variant),)*
                    _ => Err(block.error(ErrorKind::BadValue { what: $what, value })),
                }
            }
        }
    };
}

coded_enum! {
    /// How definitions of one name in several modules relate.
    Linkage, "linkage" {
        /// Visible to other modules.
        External = 0, "external";
        /// A copy of a definition that lies elsewhere, for inlining: a declaration to a linker.
        AvailableExternally = 12, "available_externally";
        /// One of the equal definitions is kept, if used.
        LinkOnceAny = 18, "linkonce";
        /// The same, and all definitions are equivalent.
        LinkOnceOdr = 19, "linkonce_odr";
        /// One of the definitions is kept; a strong one wins.
        WeakAny = 16, "weak";
        /// The same, and all definitions are equivalent.
        WeakOdr = 17, "weak_odr";
        /// Arrays of this name are concatenated.
        Appending = 2, "appending";
        /// Invisible to other modules.
        Internal = 3, "internal";
        /// The same, and not in the object's symbol table either.
        Private = 9, "private";
        /// A declaration that may stay without definition: its address is then null.
        ExternWeak = 7, "extern_weak";
        /// A C tentative definition: zero, merged by size.
        Common = 8, "common";
    }
}

impl Linkage {
    /// Whether other modules cannot see it.
    #[must_use]
    #[inline]
    pub fn is_local(self) -> bool {
        matches!(self, Linkage::Internal | Linkage::Private)
    }
}

coded_enum! {
    /// ELF symbol visibility.
    Visibility, "visibility" {
        /// Visible to other components.
        Default = 0, "default";
        /// Not visible outside the component.
        Hidden = 1, "hidden";
        /// Visible, but not preempted.
        Protected = 2, "protected";
    }
}

coded_enum! {
    /// Which access model a thread-local variable asks for.
    ThreadLocal, "thread-local mode" {
        /// Not thread-local.
        None = 0, "none";
        /// May be accessed from everywhere.
        GeneralDynamic = 1, "general-dynamic";
        /// Accessed from its own component only.
        LocalDynamic = 2, "local-dynamic";
        /// Its component is loaded with the program.
        InitialExec = 3, "initial-exec";
        /// It belongs to the program.
        LocalExec = 4, "local-exec";
    }
}

coded_enum! {
    /// Whether the address matters.
    UnnamedAddr, "unnamed_addr" {
        /// It does.
        None = 0, "none";
        /// Nowhere.
        Global = 1, "unnamed_addr";
        /// Not in this module.
        Local = 2, "local_unnamed_addr";
    }
}

coded_enum! {
    /// Windows DLL storage.
    DllStorage, "DLL storage class" {
        /// None.
        Default = 0, "default";
        /// Imported.
        Import = 1, "dllimport";
        /// Exported.
        Export = 2, "dllexport";
    }
}

coded_enum! {
    /// Code model of a global.
    CodeModel, "code model" {
        /// Within 24 bits.
        Tiny = 1, "tiny";
        /// Within 32 bits.
        Small = 2, "small";
        /// In the top 2 GiB.
        Kernel = 3, "kernel";
        /// Data anywhere.
        Medium = 4, "medium";
        /// Everything anywhere.
        Large = 5, "large";
    }
}

coded_enum! {
    /// How a linker chooses between COMDAT groups of one name.
    ComdatSelection, "comdat selection" {
        /// Any one.
        Any = 1, "any";
        /// They must be equal.
        ExactMatch = 2, "exactmatch";
        /// The largest.
        Largest = 3, "largest";
        /// There may be only one.
        NoDuplicates = 4, "nodeduplicate";
        /// They must have one size.
        SameSize = 5, "samesize";
    }
}

/// Index of a COMDAT in its module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComdatId(pub u32);

/// A COMDAT group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comdat {
    /// Its name.
    pub name: Name,
    /// How a linker chooses.
    pub selection: ComdatSelection,
}

/// What functions, globals, aliases and ifuncs have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Name, empty for an unnamed one.
    pub name: Name,
    /// Type of the value it is the address of: a function type for functions.
    pub value_type: TypeId,
    /// Its own type: a pointer.
    pub pointer_type: TypeId,
    /// Address space it lies in.
    pub address_space: u32,
    /// Linkage.
    pub linkage: Linkage,
    /// Visibility.
    pub visibility: Visibility,
    /// Whether the address matters.
    pub unnamed_addr: UnnamedAddr,
    /// DLL storage class.
    pub dll_storage: DllStorage,
    /// Whether it is known to resolve within its component.
    pub dso_local: bool,
    /// Partition (a way of lld to split libraries).
    pub partition: Name,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Function {
    /// What it has in common with other symbols.
    pub symbol: Symbol,
    /// Calling convention (`CallingConv::ID`): 0 is C.
    pub calling_convention: u32,
    /// Attributes of function, return value and parameters.
    pub attributes: AttributeListId,
    pub(crate) alignment: Alignment,
    /// Explicit section.
    pub section: Option<TextId>,
    /// Garbage collector.
    pub gc: Option<TextId>,
    /// COMDAT group.
    pub comdat: Option<ComdatId>,
    /// Data before the entry.
    pub prefix: Option<ConstantId>,
    /// Data at the entry.
    pub prologue: Option<ConstantId>,
    /// Personality function.
    pub personality: Option<ConstantId>,
    /// Where the body lies in the input; `None` for a declaration.
    pub(crate) body: Option<BlockPlace>,
}

impl Function {
    /// Explicit alignment in bytes.
    #[must_use]
    pub fn align(&self) -> Option<u64> {
        self.alignment.bytes()
    }

    /// Whether there is no body here.
    #[must_use]
    pub fn is_declaration(&self) -> bool {
        self.body.is_none()
    }
}

/// What sanitizers are told about a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sanitizer {
    /// Not checked by AddressSanitizer.
    pub no_address: bool,
    /// Not checked by HWASan.
    pub no_hwaddress: bool,
    /// Tagged by MTE.
    pub memtag: bool,
    /// Initialised dynamically.
    pub dynamic_init: bool,
}

/// A global variable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Global {
    /// What it has in common with other symbols.
    pub symbol: Symbol,
    /// Whether the program never writes it.
    pub is_constant: bool,
    /// Its initial value; `None` for a declaration.
    pub initializer: Option<ConstantId>,
    pub(crate) alignment: Alignment,
    /// Explicit section.
    pub section: Option<TextId>,
    /// Thread-local access model.
    pub thread_local: ThreadLocal,
    /// Whether something outside may change it before the program starts.
    pub externally_initialized: bool,
    /// COMDAT group.
    pub comdat: Option<ComdatId>,
    /// Attributes.
    pub attributes: AttributeListId,
    /// What sanitizers are told; `None` for nothing.
    pub sanitizer: Option<Sanitizer>,
    /// Code model.
    pub code_model: Option<CodeModel>,
}

impl Global {
    /// Explicit alignment in bytes.
    #[must_use]
    pub fn align(&self) -> Option<u64> {
        self.alignment.bytes()
    }

    /// Whether there is no initial value here.
    #[must_use]
    pub fn is_declaration(&self) -> bool {
        self.initializer.is_none()
    }
}

/// Whether a second name is bound at link or at load time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AliasKind {
    /// Another name of an address.
    Alias,
    /// The address is what the resolver function returns.
    Ifunc,
}

/// Index of an alias or ifunc in its module's table, in the order of the bitcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AliasId(pub u32);

/// An alias or ifunc.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alias {
    /// What it has in common with other symbols.
    pub symbol: Symbol,
    /// Which of the two.
    pub kind: AliasKind,
    /// The address it stands for, or the resolver.
    pub target: ConstantId,
    /// Thread-local access model.
    pub thread_local: ThreadLocal,
}
