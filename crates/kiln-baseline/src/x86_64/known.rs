//! What was found out about a module, kept between its functions.
//!
//! Types, callees and function attributes are the same again and again. What is known of them is found by their ids, in
//! arrays that are filled when first asked for, and forgotten when a function of another module comes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use kiln_bitcode::{AttributeKind, AttributeList, AttributeListId, AttributePlace, Call, FunctionId, Module, TypeId};

use super::abi::{self, Extend, Kind, Place, Scratch, Signature, Vectors, numbered};
use super::finish;
use super::generator::Result;
use super::parts::PartTable;
use super::protector::Protection;
use super::registers::XMM0;
use crate::predicates::Predicates;

/// What a call of a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// Nobody asked yet.
    Unknown,
    /// A function with code of its own, or an address.
    Plain,
    /// An intrinsic that means nothing here.
    Nothing,
    /// An intrinsic that never becomes a call.
    Inline,
    /// Another intrinsic.
    Intrinsic,
}

/// What a signature depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignatureKey {
    ty: TypeId,
    attributes: AttributeListId,
    /// Those of the callee, if it is known.
    callee: Option<AttributeListId>,
    convention: u32,
    vectors: Vectors,
}

impl SignatureKey {
    /// Of a call of `callee` or of an address.
    pub(crate) fn of_call(module: &Module, call: &Call, callee: Option<FunctionId>, vectors: Vectors) -> Self {
        let callee = callee.map(|callee| module.function(callee).attributes);
        let Call { ty, attributes, convention, .. } = *call;
        Self { ty, attributes, callee, convention: u32::from(convention), vectors }
    }

    /// Of `function` itself.
    pub(crate) fn of_function(module: &Module, function: FunctionId, vectors: Vectors) -> Self {
        let function = module.function(function);
        let (ty, attributes) = (function.symbol.value_type, function.attributes);
        Self { ty, attributes, callee: None, convention: function.calling_convention, vectors }
    }
}

/// For keys that are a few ids: they are no secret and come from nobody's choice but the module's.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci's multiplier; the table takes its bits from both ends.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// Signatures by what they depend on, lists of attributes that say nothing about calls left out. Whoever works with one
/// takes it out and gives it back.
#[derive(Debug)]
struct Table<T> {
    known: HashMap<SignatureKey, u32, BuildHasherDefault<IdHasher>>,
    all: Vec<Option<Box<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { known: HashMap::default(), all: Vec::new() }
    }
}

/// Which signature of a [`Table`].
pub(crate) type SignatureId = u32;

impl<T: Default> Table<T> {
    fn clear(&mut self) {
        self.known.clear();
        self.all.clear();
    }

    fn add(&mut self, key: SignatureKey) -> SignatureId {
        let id = self.all.len() as u32;
        self.known.insert(key, id);
        self.all.push(None);
        id
    }
}

/// A signature as calls need it.
#[derive(Debug, Default)]
pub(crate) struct CallSignature {
    pub(crate) signature: Signature,
    pub(crate) returns_twice: bool,
    /// The parts of arguments that travel in registers.
    pub(crate) in_registers: Vec<InRegister>,
    /// The register of the result, if it has one part and that travels in one.
    pub(crate) result: Option<u8>,
    /// Some of the arguments travel in YMM registers.
    pub(crate) is_wide: bool,
}

/// A part of an argument that travels in a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InRegister {
    pub(crate) argument: u32,
    /// Which part of it.
    pub(crate) at: u32,
    /// XMM registers follow the general ones.
    pub(crate) reg: u8,
    /// How it is extended, if it is.
    pub(crate) extended: Option<Kind>,
}

impl CallSignature {
    /// Notes what every call by the signature asks for.
    pub(crate) fn sum_up(&mut self) {
        self.in_registers.clear();
        self.in_registers.reserve_exact(self.signature.arguments.len());
        let is_wide = |part: &super::abi::Part| part.kind.is_wide() && register(part.place).is_some();
        self.is_wide = self.signature.arguments.iter().any(is_wide);
        for (at, part) in numbered(&self.signature.arguments) {
            let Some(reg) = register(part.place) else { continue };
            let extended = match part.kind {
                Kind::Integer { extend: Extend::None, .. } => None,
                Kind::Integer { .. } => Some(part.kind),
                _ => None,
            };
            self.in_registers.push(InRegister { argument: part.argument, at, reg, extended });
        }
        self.result = match &self.signature.results[..] {
            [part] if !self.signature.demoted && !part.kind.is_wide() => register(part.place),
            _ => None,
        };
    }
}

/// Whether a call by these attributes may return twice.
pub(crate) fn returns_twice(list: AttributeList<'_>) -> bool {
    list.get(AttributePlace::Function, AttributeKind::RETURNS_TWICE).is_some()
}

/// The register that `place` is, if it is one; XMM registers follow the general ones.
pub(crate) fn register(place: Place) -> Option<u8> {
    match place {
        Place::General(reg) => Some(reg),
        Place::Vector(reg) => Some(reg + XMM0),
        Place::X87(_) | Place::Stack(_) => None,
    }
}

/// A function, or an address of a function type, with the last signature by which it was called.
#[derive(Clone, Copy, Debug)]
struct Site {
    callee: Callee,
    last: Option<(SignatureKey, SignatureId)>,
}

/// What the attributes of a function say about its code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Properties {
    pub(crate) vectors: Vectors,
    /// Calls that are marked so may replace the frame.
    pub(crate) may_tail_call: bool,
    pub(crate) protection: Protection,
    /// Whether `fmuladd` rounds once: where the processor has an instruction for it, as in LLVM's code. Unknown for
    /// processors that are named only.
    pub(crate) fuses: Option<bool>,
}

impl Properties {
    fn fuses(attributes: AttributeList<'_>, vectors: Vectors) -> Option<bool> {
        let features = attributes.string(b"target-features").unwrap_or_default();
        let has = |wanted: &[u8]| features.split(|b| *b == b',').any(|feature| feature == wanted);
        let by_name = attributes.string(b"target-cpu") == Some(b"x86-64-v3");
        match (vectors, has(b"+fma"), by_name) {
            (Vectors::Sse, _, _) | (Vectors::Avx, false, false) => Some(false),
            // Said so, it is so on any processor.
            (Vectors::Avx | Vectors::Avx512 | Vectors::Unknown, true, _) if !has(b"-fma") => Some(true),
            _ => None,
        }
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// [`Module::identity`]; no module has 0.
    module: u64,
    pub(crate) types: PartTable,
    /// By function id, then by the id of the function type for calls of addresses.
    sites: Vec<Site>,
    functions: usize,
    calls: Table<CallSignature>,
    own: Table<Signature>,
    pub(crate) scratch: Scratch,
    /// Of constrained comparisons, once there is one.
    pub(crate) predicates: Predicates,
    /// By [`AttributeListId::index`]: whether a list says anything about calls, as far as somebody asked.
    about_calls: Vec<Option<bool>>,
    /// By the number of the group of attributes, if there is one.
    properties: Option<(Option<u32>, Properties)>,
}

/// For which callee signatures are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SiteId(usize);

impl Known {
    /// Gets ready for a function of `module`.
    pub(crate) fn enter(&mut self, module: &Module) {
        if self.module == module.identity() {
            return;
        }
        self.module = module.identity();
        self.types.reset(module);
        self.functions = module.functions().len();
        self.sites.clear();
        let count = self.functions + module.types().len();
        self.sites.resize(count, Site { callee: Callee::Unknown, last: None });
        self.calls.clear();
        self.own.clear();
        self.about_calls.clear();
        self.properties = None;
    }

    /// What a call of `function` is, by `classify` if it is not known yet.
    pub(crate) fn callee(&mut self, function: FunctionId, classify: impl FnOnce() -> Callee) -> Callee {
        let site = &mut self.sites[function.0 as usize];
        if site.callee == Callee::Unknown {
            site.callee = classify();
        }
        site.callee
    }

    /// Where signatures of calls of `function`, or of an address by type `ty`, are kept.
    pub(crate) fn site(&self, function: Option<FunctionId>, ty: TypeId) -> SiteId {
        SiteId(match function {
            Some(function) => function.0 as usize,
            None => self.functions + ty.0 as usize,
        })
    }

    /// `key` without the lists of attributes that nothing depends on: most signatures are the same then.
    fn essence(&mut self, module: &Module, key: SignatureKey) -> SignatureKey {
        let attributes = Some(key.attributes).filter(|list| self.is_about_calls(module, *list)).unwrap_or_default();
        let callee = key.callee.filter(|list| self.is_about_calls(module, *list));
        SignatureKey { attributes, callee, ..key }
    }

    fn is_about_calls(&mut self, module: &Module, list: AttributeListId) -> bool {
        let index = list.index();
        if index >= self.about_calls.len() {
            self.about_calls.resize(index + 1, None);
        }
        *self.about_calls[index].get_or_insert_with(|| {
            let list = module.attributes(list);
            abi::places_arguments(list) || returns_twice(list)
        })
    }

    /// The signature by `key` that a call at `site` has, taken out to be given back; `None` if nobody knows it.
    pub(crate) fn take_signature(
        &mut self,
        module: &Module,
        site: SiteId,
        key: SignatureKey,
    ) -> Option<(SignatureId, Box<CallSignature>)> {
        let id = match self.sites[site.0].last {
            Some((known, id)) if known == key => id,
            _ => {
                let essence = self.essence(module, key);
                let id = *self.calls.known.get(&essence)?;
                self.sites[site.0].last = Some((key, id));
                id
            }
        };
        Some((id, self.calls.all[id as usize].take()?))
    }

    /// Gives back a signature that [`Known::take_signature`] gave.
    pub(crate) fn give_back_signature(&mut self, id: SignatureId, signature: Box<CallSignature>) {
        self.calls.all[id as usize] = Some(signature);
    }

    /// Keeps a signature that nobody knew; it is taken out already.
    pub(crate) fn add_signature(&mut self, module: &Module, key: SignatureKey) -> SignatureId {
        let essence = self.essence(module, key);
        self.calls.add(essence)
    }

    /// A function's own signature, taken out to be given back: what `classify` makes of it where nobody knows it.
    pub(crate) fn take_own<E>(
        &mut self,
        module: &Module,
        key: SignatureKey,
        classify: impl FnOnce(&mut Signature, &mut Scratch) -> std::result::Result<(), E>,
    ) -> std::result::Result<(SignatureId, Box<Signature>), E> {
        let key = self.essence(module, key);
        if let Some(id) = self.own.known.get(&key)
            && let Some(signature) = self.own.all[*id as usize].take()
        {
            return Ok((*id, signature));
        }
        let mut signature = Box::default();
        classify(&mut signature, &mut self.scratch)?;
        Ok((self.own.add(key), signature))
    }

    /// Gives back a signature that [`Known::take_own`] gave.
    pub(crate) fn give_back_own(&mut self, id: SignatureId, signature: Box<Signature>) {
        self.own.all[id as usize] = Some(signature);
    }

    /// What the attributes of a function say; an error if they ask for what this compiler does not do.
    pub(crate) fn properties(&mut self, attributes: AttributeList<'_>) -> Result<Properties> {
        let group = attributes.groups().find(|group| group.place() == AttributePlace::Function);
        let number = group.map(|group| group.number());
        if let Some((known, properties)) = self.properties
            && known == number
        {
            return Ok(properties);
        }
        finish::check_attributes(attributes)?;
        let vectors = Vectors::of(attributes);
        let properties = Properties {
            vectors,
            fuses: Properties::fuses(attributes, vectors),
            may_tail_call: attributes.string(b"disable-tail-calls") != Some(b"true"),
            protection: Protection::of(attributes),
        };
        self.properties = Some((number, properties));
        Ok(properties)
    }
}
