//! What everything means that function bodies refer to by number, computed once for a module.

use std::collections::HashMap;

use kiln_abi::{FunctionId, GlobalId};
use kiln_bitcode::{
    Attribute, AttributeGroup, AttributeListId, AttributePlace, Body, Constant, ConstantId, GlobalRef, Linkage, Module,
    ThreadLocal, Type, TypeId, UnnamedAddr, ValueId,
};

use super::bodies::Reader;
use super::hasher::{Digest, Hasher, Kind};

/// The meanings of a module's types, lists of attributes and constants by their numbers. Modules with [the same
/// tables](Module::has_tables_of) share them.
#[derive(Debug)]
pub(crate) struct Tables {
    types: Vec<Digest>,
    attributes: Vec<Digest>,
    constants: Vec<Digest>,
    /// What the globals hold that count by content.
    contents: Vec<Option<Digest>>,
    /// The bodies that are there for inlining only.
    inlinable: Option<Digest>,
}

impl Tables {
    /// The meanings of `module`, which was read from `bytes`.
    pub(crate) fn new(module: &Module, bytes: &[u8]) -> Result<Self, kiln_bitcode::Error> {
        let types = types(module);
        let attributes = attributes(module, &types);
        let mut tables = Self { types, attributes, constants: Vec::new(), contents: Vec::new(), inlinable: None };
        tables.compute_constants(module);
        tables.inlinable = tables.digest_inlinable(module, bytes)?;
        if tables.inlinable.is_some() {
            tables.compute_constants(module);
        }
        Ok(tables)
    }

    fn compute_constants(&mut self, module: &Module) {
        let mut builder = Builder {
            module,
            types: &self.types,
            attributes: &self.attributes,
            inlinable: self.inlinable,
            constants: vec![None; module.constant_count()],
            set: Vec::new(),
            contents: vec![None; module.globals().len()],
        };
        builder.compute_contents();
        (0..builder.constants.len() as u32).for_each(|id| _ = builder.constant(ConstantId(id)));
        let Builder { constants, contents, .. } = builder;
        self.constants = constants.into_iter().map(|digest| digest.expect("all were computed")).collect();
        self.contents = contents;
    }

    /// Bodies for inlining are nobody's functions: who calls one depends on what all of them mean.
    fn digest_inlinable(&self, module: &Module, bytes: &[u8]) -> Result<Option<Digest>, kiln_bitcode::Error> {
        let is_inlinable = |id: &FunctionId| {
            let function = module.function(*id);
            !function.is_declaration() && function.symbol.linkage == Linkage::AvailableExternally
        };
        let mut reader = Reader::new(self, module, bytes);
        let functions = (0..module.functions().len() as u32).map(FunctionId).filter(is_inlinable);
        let mut bodies = functions
            .map(|id| Ok((module.symbol_name(GlobalRef::Function(id)), reader.function(id)?)))
            .collect::<Result<Vec<_>, kiln_bitcode::Error>>()?;
        bodies.sort_unstable_by_key(|(name, _)| *name);
        let mut hasher = Hasher::new(Kind::Inlinable);
        for (name, digest) in &bodies {
            hasher.bytes(name);
            hasher.part(*digest);
        }
        Ok((!bodies.is_empty()).then(|| hasher.finish()))
    }

    /// The meaning of a type.
    #[inline]
    pub(crate) fn ty(&self, id: TypeId) -> Digest {
        self.types[id.0 as usize]
    }

    /// The meaning of a list of attributes.
    #[inline]
    pub(super) fn attributes(&self, id: AttributeListId) -> Digest {
        self.attributes[id.index()]
    }

    /// The meaning of a module's constant.
    #[inline]
    pub(super) fn constant(&self, id: ConstantId) -> Digest {
        self.constants[id.0 as usize]
    }

    /// What a global holds that [is matched by content](is_matched_by_content).
    pub(crate) fn content(&self, id: GlobalId) -> Option<Digest> {
        self.contents[id.0 as usize]
    }

    /// The meaning of constant `id` of `body`: one of the module's, or one of its own, of which `known` holds those computed
    /// so far. The tree below one is of bounded depth.
    pub(super) fn constant_of(
        &self,
        module: &Module,
        body: &Body,
        id: ConstantId,
        known: &mut [Option<Digest>],
    ) -> Digest {
        let first = body.first_value() + body.argument_count();
        let own = id.0.checked_sub(first).map(|own| own as usize).filter(|own| *own < known.len());
        let Some(own) = own else {
            // What is no constant has no meaning as one.
            let constant = self.constants.get(id.0 as usize);
            return constant.copied().unwrap_or_else(|| Hasher::new(Kind::Constant).finish());
        };
        if let Some(digest) = known[own] {
            return digest;
        }
        let constant = body.constant(module, ValueId(id.0)).expect("it is one of the body's");
        let ty = self.ty(body.type_of(module, ValueId(id.0)));
        let reference = |global| self.references(module).to(global);
        let part = |id| self.constant_of(module, body, id, known);
        let digest = digest_constant(constant, ty, &|ty| self.ty(ty), reference, part);
        known[own] = Some(digest);
        digest
    }

    fn references<'r>(&'r self, module: &'r Module) -> References<'r> {
        let Self { types, attributes, contents, inlinable, .. } = self;
        References { module, types, attributes, contents, inlinable: *inlinable }
    }
}

/// Whether a global is known by what it holds: a constant that nobody outside its module sees.
pub(crate) fn is_matched_by_content(module: &Module, id: GlobalId) -> bool {
    let global = module.global(id);
    global.is_constant
        && !global.is_declaration()
        && global.thread_local == ThreadLocal::None
        && global.symbol.linkage.is_local()
        && module.block_address_owner(id).is_none()
}

/// The meanings of all types. A type names only types before it.
pub(crate) fn types(module: &Module) -> Vec<Digest> {
    let mut digests: Vec<Digest> = Vec::with_capacity(module.types().len());
    for ty in module.types() {
        let mut hasher = Hasher::new(Kind::Type);
        // Which one, by a number of ours; what follows depends on it.
        let mut compound = |which: u64, number: u64, parts: &mut dyn Iterator<Item = &TypeId>| {
            hasher.word(which);
            hasher.word(number);
            let mut count = 0;
            for part in parts {
                hasher.part(digests[part.0 as usize]);
                count += 1;
            }
            hasher.word(count);
        };
        match ty {
            Type::Array { count, element } => compound(1, *count, &mut [element].into_iter()),
            Type::Vector { count, element, scalable } => {
                compound(2, u64::from(*count) << 1 | u64::from(*scalable), &mut [element].into_iter());
            }
            Type::Struct { packed, fields, .. } => compound(3, u64::from(*packed), &mut fields.iter()),
            Type::Function { result, parameters, variadic } => {
                compound(4, u64::from(*variadic), &mut [result].into_iter().chain(parameters));
            }
            Type::TargetExt { name, types, integers } => {
                compound(5, integers.len() as u64, &mut types.iter());
                hasher.bytes(name);
                integers.iter().for_each(|integer| hasher.word(u64::from(*integer)));
            }
            Type::Integer(bits) => compound(6, u64::from(*bits), &mut [].into_iter()),
            Type::Pointer { address_space } => compound(7, u64::from(*address_space), &mut [].into_iter()),
            // The others say all about themselves, and hold no numbers of other types.
            plain => hasher.bytes(format!("{plain:?}").as_bytes()),
        }
        digests.push(hasher.finish());
    }
    digests
}

/// The meanings of all lists of attributes.
fn attributes(module: &Module, types: &[Digest]) -> Vec<Digest> {
    let mut groups: HashMap<u32, Digest> = HashMap::new();
    let lists = module.attribute_lists().map(|list| {
        let mut hasher = Hasher::new(Kind::AttributeList);
        for group in list.groups() {
            hasher.part(*groups.entry(group.number()).or_insert_with(|| attribute_group(group, types)));
        }
        hasher.finish()
    });
    lists.collect()
}

fn attribute_group(group: AttributeGroup<'_>, types: &[Digest]) -> Digest {
    let mut hasher = Hasher::new(Kind::Attributes);
    hasher.word(match group.place() {
        AttributePlace::Function => 0,
        AttributePlace::Return => 1,
        AttributePlace::Parameter(n) => 2 + u64::from(n),
    });
    for attribute in group.attributes() {
        match attribute {
            Attribute::Type(kind, Some(ty)) => {
                hasher.bytes(kind.name().as_bytes());
                hasher.part(types[ty.0 as usize]);
            }
            Attribute::Enum(kind) => hasher.bytes(kind.name().as_bytes()),
            Attribute::Int(kind, value) => {
                hasher.bytes(kind.name().as_bytes());
                hasher.word(*value);
            }
            Attribute::String { key, value } => {
                hasher.bytes(key);
                hasher.bytes(value);
            }
            other => hasher.bytes(format!("{other:?}").as_bytes()),
        }
    }
    hasher.finish()
}

/// The meaning of `constant`, of a type that means `ty`.
fn digest_constant(
    constant: Constant<'_>,
    ty: Digest,
    type_of: &dyn Fn(TypeId) -> Digest,
    mut reference: impl FnMut(GlobalRef) -> Digest,
    mut part: impl FnMut(ConstantId) -> Digest,
) -> Digest {
    let mut hasher = Hasher::new(Kind::Constant);
    hasher.part(ty);
    // Which one, by a number of ours: what follows depends on it.
    match constant {
        Constant::Int(value) => {
            hasher.word(1);
            hasher.word(value);
        }
        Constant::Null => hasher.word(2),
        Constant::Undef => hasher.word(3),
        Constant::Poison => hasher.word(4),
        Constant::Global(global) => {
            hasher.word(5);
            hasher.part(reference(global));
        }
        Constant::DsoLocalEquivalent(global) => {
            hasher.word(6);
            hasher.part(reference(global));
        }
        Constant::NoCfi(global) => {
            hasher.word(7);
            hasher.part(reference(global));
        }
        Constant::BlockAddress { function, block } => {
            hasher.word(8);
            hasher.part(reference(GlobalRef::Function(function)));
            hasher.word(u64::from(block));
        }
        Constant::Aggregate(elements) => {
            hasher.word(9);
            hasher.word(elements.len() as u64);
            elements.iter().for_each(|element| hasher.part(part(*element)));
        }
        Constant::Gep(gep) => {
            hasher.word(10);
            hasher.part(type_of(gep.source));
            hasher.word(u64::from(gep.inbounds) | u64::from(gep.nusw) << 1 | u64::from(gep.nuw) << 2);
            hasher.bytes(gep.in_range.map(|range| format!("{range:?}")).unwrap_or_default().as_bytes());
            hasher.word(gep.operands.len() as u64);
            gep.operands.iter().for_each(|operand| hasher.part(part(*operand)));
        }
        Constant::Cast { op, value } => {
            hasher.word(11 | (op as u64) << 8);
            hasher.part(part(value));
        }
        Constant::Binary { op, flags, left, right } => {
            hasher.word(12 | (op as u64) << 8 | u64::from(flags) << 16);
            for id in [left, right] {
                hasher.part(part(id));
            }
        }
        Constant::Negate(value) => {
            hasher.word(13);
            hasher.part(part(value));
        }
        Constant::Select { condition, then, otherwise } => {
            hasher.word(14);
            for id in [condition, then, otherwise] {
                hasher.part(part(id));
            }
        }
        Constant::Compare { predicate, left, right } => {
            hasher.word(15 | u64::from(predicate) << 8);
            for id in [left, right] {
                hasher.part(part(id));
            }
        }
        Constant::ExtractElement { vector, index } => {
            hasher.word(16);
            for id in [vector, index] {
                hasher.part(part(id));
            }
        }
        Constant::InsertElement { vector, element, index } => {
            hasher.word(17);
            for id in [vector, element, index] {
                hasher.part(part(id));
            }
        }
        Constant::ShuffleVector { left, right, mask } => {
            hasher.word(18);
            for id in [left, right, mask] {
                hasher.part(part(id));
            }
        }
        Constant::InlineAsm(asm) => {
            hasher.word(19 | u64::from(asm.flags) << 8);
            hasher.part(type_of(asm.ty));
            hasher.bytes(&asm.template);
            hasher.bytes(&asm.constraints);
        }
        Constant::Data(bytes) => {
            hasher.word(20);
            hasher.bytes(bytes);
        }
        Constant::String { bytes, nul } => {
            hasher.word(21 | u64::from(nul) << 8);
            hasher.bytes(bytes);
        }
        Constant::PtrAuth { pointer, key, discriminator, address_discriminator, deactivation_symbol } => {
            hasher.word(22 | u64::from(deactivation_symbol.is_some()) << 8);
            for id in [pointer, key, discriminator, address_discriminator] {
                hasher.part(part(id));
            }
            if let Some(id) = deactivation_symbol {
                hasher.part(part(id));
            }
        }
        Constant::Float(bits) => {
            hasher.word(23);
            hasher.bytes(&bits.to_le_bytes());
        }
        Constant::WideInt(words) => {
            hasher.word(24 | (words.len() as u64) << 8);
            words.iter().for_each(|word| hasher.word(*word));
        }
        // One that this does not know holds numbers that it cannot know either.
        other => hasher.bytes(format!("{other:?}").as_bytes()),
    }
    hasher.finish()
}

/// Computes the meanings of constants.
struct Builder<'b, 'm> {
    module: &'m Module,
    types: &'b [Digest],
    attributes: &'b [Digest],
    inlinable: Option<Digest>,
    constants: Vec<Option<Digest>>,
    /// Those set lately.
    set: Vec<ConstantId>,
    contents: Vec<Option<Digest>>,
}

impl<'m> Builder<'_, 'm> {
    /// Globals that count by what they hold.
    fn counts_by_content(&self, id: GlobalId) -> bool {
        is_matched_by_content(self.module, id) || self.module.block_address_owner(id).is_some()
    }

    /// What globals hold that count by content: those that refer to others after these. Where some refer to each other,
    /// each of them and of those that refer to them means what all of them mean, and its name: an edit of one makes all
    /// different, rather than one too few.
    fn compute_contents(&mut self) {
        let all = (0..self.module.globals().len() as u32).map(GlobalId).filter(|id| self.counts_by_content(*id));
        let all: Vec<_> = all.collect();
        let mut wanted: HashMap<GlobalId, usize> = HashMap::new();
        let mut wanted_by: HashMap<GlobalId, Vec<GlobalId>> = HashMap::new();
        let mut ready = Vec::new();
        let mut walk = Walk::new(self.module);
        for id in &all {
            let mut uses = walk.globals_in(*id);
            uses.retain(|used| self.counts_by_content(*used));
            uses.sort_unstable();
            uses.dedup();
            if uses.is_empty() {
                ready.push(*id);
            } else {
                wanted.insert(*id, uses.len());
                uses.into_iter().for_each(|used| wanted_by.entry(used).or_default().push(*id));
            }
        }
        while let Some(id) = ready.pop() {
            self.contents[id.0 as usize] = Some(self.content(id));
            for user in wanted_by.remove(&id).unwrap_or_default() {
                let left = wanted.get_mut(&user).expect("it wants one");
                *left -= 1;
                if *left == 0 {
                    wanted.remove(&user);
                    ready.push(user);
                }
            }
        }
        let mut rest: Vec<_> = wanted.into_keys().collect();
        if rest.is_empty() {
            return;
        }
        rest.sort_unstable_by_key(|id| (self.name(*id), *id));
        let named = |id: &GlobalId, name: &[u8], group: Option<Digest>| {
            let mut hasher = Hasher::new(Kind::Group);
            hasher.bytes(name);
            // Two without a name would be taken for each other.
            hasher.word(if name.is_empty() { u64::from(id.0) + 1 } else { 0 });
            if let Some(group) = group {
                hasher.part(group);
            }
            hasher.finish()
        };
        for id in &rest {
            self.contents[id.0 as usize] = Some(named(id, self.name(*id), None));
        }
        self.set.clear();
        let mut hasher = Hasher::new(Kind::Group);
        for id in &rest {
            hasher.bytes(self.name(*id));
            hasher.part(self.content(*id));
        }
        let group = hasher.finish();
        // What was computed with the names only.
        std::mem::take(&mut self.set).iter().for_each(|id| self.constants[id.0 as usize] = None);
        for id in &rest {
            self.contents[id.0 as usize] = Some(named(id, self.name(*id), Some(group)));
        }
    }

    fn name(&self, id: GlobalId) -> &'m [u8] {
        self.module.symbol_name(GlobalRef::Global(id))
    }

    fn content(&mut self, id: GlobalId) -> Digest {
        let global = self.module.global(id);
        let mut hasher = Hasher::new(Kind::Content);
        hasher.part(self.types[global.symbol.value_type.0 as usize]);
        hasher.word(global.align().unwrap_or_default());
        hasher.bytes(global.section.map(|id| self.module.text(id)).unwrap_or_default());
        // Two that may not share an address stay two.
        if global.symbol.unnamed_addr == UnnamedAddr::None {
            hasher.bytes(self.name(id));
        }
        if let Some(initializer) = global.initializer {
            hasher.part(self.constant(initializer));
        }
        hasher.finish()
    }

    /// The meaning of a module's constant. The tree below one is of bounded depth.
    fn constant(&mut self, id: ConstantId) -> Digest {
        if let Some(known) = self.constants[id.0 as usize] {
            return known;
        }
        let module = self.module;
        let ty = self.types[module.constant_type(id).0 as usize];
        let types = self.types;
        let this = std::cell::RefCell::new(&mut *self);
        let digest = digest_constant(
            module.constant(id),
            ty,
            &|ty| types[ty.0 as usize],
            |global| this.borrow().reference(global),
            |id| this.borrow_mut().constant(id),
        );
        self.constants[id.0 as usize] = Some(digest);
        self.set.push(id);
        digest
    }

    fn reference(&self, global: GlobalRef) -> Digest {
        let Self { module, types, attributes, contents, inlinable, .. } = self;
        References { module, types, attributes, contents, inlinable: *inlinable }.to(global)
    }
}

/// What references depend on.
struct References<'r> {
    module: &'r Module,
    types: &'r [Digest],
    attributes: &'r [Digest],
    contents: &'r [Option<Digest>],
    inlinable: Option<Digest>,
}

impl References<'_> {
    /// What a reference means: which thing it leads to, and what code may conclude about that without its body.
    fn to(&self, global: GlobalRef) -> Digest {
        let module = self.module;
        let symbol = module.symbol(global);
        let mut hasher = Hasher::new(Kind::Reference);
        let known = match global {
            GlobalRef::Global(id) => self.contents[id.0 as usize],
            _ => None,
        };
        if let Some(content) = known {
            return content;
        }
        let name = module.str(symbol.name);
        hasher.bytes(name);
        if name.is_empty() {
            // Nobody finds it again.
            hasher.word(module.identity());
        }
        hasher.word(u64::from(symbol.linkage.is_local()));
        match global {
            GlobalRef::Function(id) => {
                let function = module.function(id);
                let is_inlinable = symbol.linkage == Linkage::AvailableExternally;
                hasher.word(1 | u64::from(function.is_declaration()) << 8 | u64::from(is_inlinable) << 9);
                if function.is_declaration() || is_inlinable {
                    hasher.word(u64::from(function.calling_convention));
                    hasher.part(self.types[symbol.value_type.0 as usize]);
                    hasher.part(self.attributes[function.attributes.index()]);
                }
                if let (true, Some(inlinable)) = (is_inlinable, self.inlinable) {
                    hasher.part(inlinable);
                }
            }
            GlobalRef::Global(id) => {
                let global = module.global(id);
                hasher.word(
                    2 | u64::from(global.is_declaration()) << 8
                        | u64::from(global.is_constant) << 9
                        | (global.thread_local as u64) << 16,
                );
            }
            GlobalRef::Alias(id) => {
                let alias = module.alias(id);
                hasher.word(3 | (alias.kind as u64) << 8 | (alias.thread_local as u64) << 16);
                match module.constant(alias.target) {
                    Constant::Global(target) => hasher.bytes(module.symbol_name(target)),
                    // An address inside of something: never the same.
                    _ => hasher.word(module.identity()),
                }
            }
        }
        hasher.finish()
    }
}

/// Finds the globals that initial values refer to.
struct Walk<'m> {
    module: &'m Module,
    /// For which global a constant was looked at last, plus one.
    seen: Vec<u32>,
    left: Vec<ConstantId>,
}

impl<'m> Walk<'m> {
    fn new(module: &'m Module) -> Self {
        Self { module, seen: vec![0; module.constant_count()], left: Vec::new() }
    }

    fn globals_in(&mut self, id: GlobalId) -> Vec<GlobalId> {
        let mut found = Vec::new();
        self.left.extend(self.module.global(id).initializer);
        while let Some(constant) = self.left.pop() {
            let seen = &mut self.seen[constant.0 as usize];
            if std::mem::replace(seen, id.0 + 1) == id.0 + 1 {
                continue;
            }
            let left = &mut self.left;
            match self.module.constant(constant) {
                Constant::Global(global) | Constant::DsoLocalEquivalent(global) | Constant::NoCfi(global) => {
                    if let GlobalRef::Global(global) = global {
                        found.push(global);
                    }
                }
                Constant::Aggregate(elements) => left.extend_from_slice(elements),
                Constant::Gep(gep) => left.extend_from_slice(gep.operands),
                Constant::Cast { value, .. } | Constant::Negate(value) => left.push(value),
                Constant::Binary { left: a, right: b, .. } | Constant::Compare { left: a, right: b, .. } => {
                    left.extend([a, b]);
                }
                Constant::Select { condition, then, otherwise } => left.extend([condition, then, otherwise]),
                Constant::ExtractElement { vector, index } => left.extend([vector, index]),
                Constant::InsertElement { vector, element, index } => left.extend([vector, element, index]),
                Constant::ShuffleVector { left: a, right: b, mask } => left.extend([a, b, mask]),
                Constant::PtrAuth { pointer, key, discriminator, address_discriminator, deactivation_symbol } => {
                    left.extend([pointer, key, discriminator, address_discriminator]);
                    left.extend(deactivation_symbol);
                }
                _ => {}
            }
        }
        found
    }
}
