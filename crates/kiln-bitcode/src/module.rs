use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_abi::{FunctionId, GlobalId};

use crate::attributes::{AttributeList, AttributeListId, AttributeTable};
use crate::bitstream::{Block, BlockInfo, BlockPlace, Origin};
use crate::body::{Body, ValueId};
use crate::body_reader::read_body;
use crate::classes::Classes;
use crate::constant::{Constant, ConstantId, GlobalRef};
use crate::constants::{Constants, Labels};
use crate::error::Error;
use crate::file::Strtab;
use crate::global::{Alias, AliasId, Comdat, ComdatId, Function, Global, Name, Symbol, TextId};
use crate::layout::{DataLayout, Layouts, TypeLayout};
use crate::shape::Forms;
use crate::types::{Type, TypeId, TypeTable};

/// A kind of metadata attachment: `!dbg`, `!prof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataKind {
    /// Its number in this module.
    pub id: u32,
    /// Its name.
    pub name: Box<[u8]>,
}

/// One module of a bitcode file: its tables, decoded; its function bodies, located.
///
/// Immutable and free of interior mutability: any number of threads may read it. It does not borrow the input, but
/// for the names of one that stays ([`parse_static`](crate::parse_static)); whoever wants bodies keeps the bytes.
#[derive(Debug)]
pub struct Module {
    pub(crate) identity: u64,
    pub(crate) producer: String,
    pub(crate) triple: Box<[u8]>,
    pub(crate) source_filename: Box<[u8]>,
    pub(crate) asm: Box<[u8]>,
    pub(crate) data_layout: DataLayout,
    pub(crate) types: TypeTable,
    pub(crate) layouts: Layouts,
    pub(crate) attributes: AttributeTable,
    pub(crate) functions: Vec<Function>,
    pub(crate) globals: Vec<Global>,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) comdats: Vec<Comdat>,
    pub(crate) constants: Constants,
    pub(crate) block_addresses: BTreeMap<GlobalId, Labels>,
    /// Where its metadata lies.
    pub(crate) metadata: Option<BlockPlace>,
    pub(crate) metadata_kinds: Vec<MetadataKind>,
    pub(crate) bundle_tags: Vec<Box<[u8]>>,
    pub(crate) sync_scopes: Vec<Box<[u8]>>,
    pub(crate) hash: Option<[u32; 5]>,
    pub(crate) strtab: Strtab,
    /// Names of sections and garbage collectors.
    pub(crate) texts: Vec<Box<[u8]>>,
    /// Abbreviations of function bodies.
    pub(crate) block_info: BlockInfo,
    /// Forms of the records of function bodies, and of the constants in them.
    pub(crate) body_forms: Forms,
    pub(crate) constant_forms: Forms,
    pub(crate) classes: Classes,
    /// What the places of bodies are counted from.
    pub(crate) origin: Origin,
}

/// A number that no other module of the process has.
pub(crate) fn next_identity() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    // Relaxed: only that numbers differ matters.
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl Module {
    /// A number, not 0, that no other module of this process has: for who keeps what it knows of a module.
    #[must_use]
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// What wrote the module: `LLVM22.1.8` for example.
    #[must_use]
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// Target triple.
    #[must_use]
    pub fn triple(&self) -> &[u8] {
        &self.triple
    }

    /// Name of the source file.
    #[must_use]
    pub fn source_filename(&self) -> &[u8] {
        &self.source_filename
    }

    /// Module-level assembly, empty for most modules.
    #[must_use]
    pub fn module_asm(&self) -> &[u8] {
        &self.asm
    }

    /// Sizes and alignments of the target.
    #[must_use]
    pub fn data_layout(&self) -> &DataLayout {
        &self.data_layout
    }

    /// All types, [`TypeId`] 0 first.
    #[must_use]
    pub fn types(&self) -> &[Type] {
        self.types.all()
    }

    /// The type `id`.
    #[must_use]
    pub fn ty(&self, id: TypeId) -> &Type {
        &self.types.all()[id.0 as usize]
    }

    /// Size and alignment of type `id`; `None` where it has none: functions, labels, opaque structures, target
    /// extension types, and types of 2^61 bytes and more.
    #[must_use]
    pub fn layout_of(&self, id: TypeId) -> Option<&TypeLayout> {
        self.layouts.get(id)
    }

    /// Offsets of the fields of structure `id` in bytes; empty for other types.
    #[must_use]
    pub fn field_offsets(&self, id: TypeId) -> &[u64] {
        self.layouts.offsets(id)
    }

    /// All functions, declarations included, [`FunctionId`] 0 first.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function `id`.
    #[must_use]
    pub fn function(&self, id: FunctionId) -> &Function {
        &self.functions[id.0 as usize]
    }

    /// All global variables, declarations included, [`GlobalId`] 0 first.
    #[must_use]
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// The global variable `id`.
    #[must_use]
    pub fn global(&self, id: GlobalId) -> &Global {
        &self.globals[id.0 as usize]
    }

    /// All aliases and ifuncs, [`AliasId`] 0 first.
    #[must_use]
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// The alias or ifunc `id`.
    #[must_use]
    pub fn alias(&self, id: AliasId) -> &Alias {
        &self.aliases[id.0 as usize]
    }

    /// What `global` has in common with other symbols.
    #[must_use]
    pub fn symbol(&self, global: GlobalRef) -> &Symbol {
        match global {
            GlobalRef::Function(id) => &self.function(id).symbol,
            GlobalRef::Global(id) => &self.global(id).symbol,
            GlobalRef::Alias(id) => &self.alias(id).symbol,
        }
    }

    /// The name of `global`, empty where it has none.
    #[must_use]
    pub fn symbol_name(&self, global: GlobalRef) -> &[u8] {
        self.str(self.symbol(global).name)
    }

    /// All COMDAT groups, [`ComdatId`] 0 first.
    #[must_use]
    pub fn comdats(&self) -> &[Comdat] {
        &self.comdats
    }

    /// The COMDAT group `id`.
    #[must_use]
    pub fn comdat(&self, id: ComdatId) -> &Comdat {
        &self.comdats[id.0 as usize]
    }

    /// The bytes of `name`.
    #[must_use]
    pub fn str(&self, name: Name) -> &[u8] {
        &self.strtab()[name.start as usize..][..name.len as usize]
    }

    /// The string table of the file.
    #[must_use]
    pub fn strtab(&self) -> &[u8] {
        self.strtab.bytes()
    }

    /// Reads the body of `function` into `body`, replacing what it held; `bytes` are those the module was read from.
    ///
    /// Whatever the input says, a body that is read has these properties:
    ///
    /// - Every block has instructions, of which the last one is a terminator and no other is. Phis come first. The
    ///   targets of terminators are blocks of the function and never its entry.
    /// - Every value operand exists, and has the type that its place demands: both sides of arithmetic and comparisons,
    ///   addresses, conditions, indices, stored and returned values, arguments of a call by its function type, values
    ///   of a phi by its type. Types of operands and results are right for the operation: conversions are between types
    ///   that may be converted, indices lead to existing fields and parts, orderings and operations are allowed.
    /// - Cases of a switch are integers; masks of shuffles are constants in range; clauses of a landing pad are
    ///   constants.
    /// - What is no argument of metadata is a value: nothing has the types `void`, `label` or a function's.
    ///
    /// Not checked, because it is the business of LLVM's verifier: that definitions dominate uses, that the entries of
    /// a phi are its block's predecessors, that switches have distinct cases, that an unwind target begins with a
    /// landing pad, that attributes fit, that a call's function type is the callee's, that inline assembly makes sense,
    /// that operands of constant expressions have the right types, and that types which are stored have a size.
    ///
    /// # Errors
    ///
    /// Any departure from the format, with its place; `body` is of no use then.
    pub fn read_body(&self, bytes: &[u8], function: FunctionId, body: &mut Body) -> Result<(), Error> {
        let usual = !body.keeps_metadata();
        read_body(self, bytes, function, body, usual)
    }

    /// The same, slower: all records are read in the same way. For tests, which compare.
    ///
    /// # Errors
    ///
    /// Those of [`Module::read_body`].
    #[doc(hidden)]
    pub fn read_body_slowly(&self, bytes: &[u8], function: FunctionId, body: &mut Body) -> Result<(), Error> {
        read_body(self, bytes, function, body, false)
    }

    /// The function that `value` is, if it is one of the module's.
    #[inline]
    #[must_use]
    pub fn function_of(&self, value: ValueId) -> Option<FunctionId> {
        match self.constants.global(ConstantId(value.0)) {
            Some(GlobalRef::Function(function)) => Some(function),
            _ => None,
        }
    }

    /// Where the content of the body of `function` lies in `bytes`, those the module was read from; `None` for a
    /// declaration, or if there is no function block where its index says.
    #[must_use]
    pub fn body_range(&self, bytes: &[u8], function: FunctionId) -> Option<Range<usize>> {
        let block = Block::body(bytes, self.origin, self.function(function).body?)?.ok()?;
        Some(block.cursor().input_range())
    }

    /// Whether all that bodies refer to by number is the same in both modules: two bodies of the same bits mean the same then,
    /// but for their metadata.
    #[must_use]
    pub fn has_tables_of(&self, other: &Module) -> bool {
        let but_body = |function: &Function| Function { body: None, ..function.clone() };
        let functions = || self.functions.iter().map(but_body).eq(other.functions.iter().map(but_body));
        let declared = self.functions.iter().map(Function::is_declaration);
        self.producer == other.producer
            && self.triple == other.triple
            && self.data_layout.text() == other.data_layout.text()
            && self.texts == other.texts
            && self.types() == other.types()
            && self.attributes == other.attributes
            && declared.eq(other.functions.iter().map(Function::is_declaration))
            && functions()
            && self.globals == other.globals
            && self.aliases == other.aliases
            && self.comdats == other.comdats
            && self.constants == other.constants
            && self.metadata_kinds == other.metadata_kinds
            && self.bundle_tags == other.bundle_tags
            && self.sync_scopes == other.sync_scopes
            && self.block_info == other.block_info
            && self.names().eq(other.names())
    }

    /// The names of everything, in the order of the tables: where they lie in the string table is not all that counts.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let symbols = self.functions.iter().map(|f| &f.symbol).chain(self.globals.iter().map(|g| &g.symbol));
        let symbols = symbols.chain(self.aliases.iter().map(|a| &a.symbol));
        let names = symbols.flat_map(|symbol| [symbol.name, symbol.partition]);
        names.chain(self.comdats.iter().map(|comdat| comdat.name)).map(|name| self.str(name))
    }

    /// The constant `id`.
    #[must_use]
    pub fn constant(&self, id: ConstantId) -> Constant<'_> {
        self.constants.get(id)
    }

    /// The type of constant `id`.
    #[must_use]
    pub fn constant_type(&self, id: ConstantId) -> TypeId {
        self.constants.ty(id)
    }

    /// How many constants of module scope there are, globals included: function bodies number on from here.
    #[must_use]
    pub fn constant_count(&self) -> usize {
        self.constants.len()
    }

    /// The function that `global` belongs to because its initial value holds addresses of that function's blocks,
    /// however deep inside; the first one where there are several.
    #[must_use]
    pub fn block_address_owner(&self, global: GlobalId) -> Option<FunctionId> {
        self.block_addresses.get(&global).and_then(|labels| labels.first())
    }

    /// The globals that belong to a function because of such addresses, with that function.
    pub fn block_address_globals(&self) -> impl Iterator<Item = (GlobalId, FunctionId)> {
        self.block_addresses.iter().filter_map(|(global, labels)| Some((*global, labels.first()?)))
    }

    /// Whether the initial value of `global` holds block addresses of several functions.
    #[must_use]
    pub fn has_several_block_address_owners(&self, global: GlobalId) -> bool {
        matches!(self.block_addresses.get(&global), Some(Labels::Mixed(_)))
    }

    /// The name `id` of a section or a garbage collector.
    #[must_use]
    pub fn text(&self, id: TextId) -> &[u8] {
        &self.texts[id.0 as usize]
    }

    /// The attributes of a function, global or call.
    #[must_use]
    pub fn attributes(&self, id: AttributeListId) -> AttributeList<'_> {
        match (id.0 as usize).checked_sub(1) {
            Some(index) => self.attributes.list(index),
            None => self.attributes.none(),
        }
    }

    /// All lists of attributes by [`AttributeListId::index`], the empty one first.
    pub fn attribute_lists(&self) -> impl Iterator<Item = AttributeList<'_>> {
        std::iter::once(self.attributes.none())
            .chain((0..self.attributes.len()).map(|index| self.attributes.list(index)))
    }

    /// Ids and names of the kinds of metadata.
    #[must_use]
    pub fn metadata_kinds(&self) -> &[MetadataKind] {
        &self.metadata_kinds
    }

    /// Names of operand bundles by their number.
    #[must_use]
    pub fn operand_bundle_tags(&self) -> &[Box<[u8]>] {
        &self.bundle_tags
    }

    /// Names of synchronisation scopes by their number.
    #[must_use]
    pub fn sync_scopes(&self) -> &[Box<[u8]>] {
        &self.sync_scopes
    }

    /// SHA-1 that the producer left in the module, if it did.
    #[must_use]
    pub fn hash(&self) -> Option<[u32; 5]> {
        self.hash
    }
}
