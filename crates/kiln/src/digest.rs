//! What a function or constant means, in 32 bytes: equal for two modules exactly if nothing that code could depend on differs.
//!
//! Numbers that shift when something is added elsewhere in the file take no part: ids of types, constants, globals,
//! attribute groups and metadata. Neither do debug locations and the names of values. Globals and functions count by
//! name, constants that only their module can see by content. What is not understood counts as different.

use std::collections::HashMap;

use kiln_abi::{FunctionId, GlobalId};
use kiln_bitcode::{
    Attribute, AttributeGroup, AttributeList, AttributePlace, Body, Constant, ConstantId, GlobalRef, Linkage, Module,
    Opcode, TextId, ThreadLocal, Type, TypeId, ValueId,
};

use crate::process::signals::Blocked;

/// A meaning.
pub(crate) type Digest = [u8; 32];

/// What is to be digested, gathered first: hashing many small pieces costs more than one large one.
#[derive(Default)]
struct Hasher(Vec<u8>);

impl Hasher {
    fn new() -> Self {
        Self::default()
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A part by its meaning: half of a digest tells parts apart as well as all of it tells functions.
    fn part(&mut self, digest: &Digest) {
        self.0.extend_from_slice(&digest[..16]);
    }

    fn finish(&self) -> Digest {
        *blake3::hash(&self.0).as_bytes()
    }
}

/// From so many functions on, a second thread takes half of them.
const FEW: usize = 256;

/// The meanings of `functions`, in their order.
pub(crate) fn digests(
    module: &Module,
    bytes: &[u8],
    functions: &[FunctionId],
) -> Result<Vec<Digest>, kiln_bitcode::Error> {
    let all = |functions: &[FunctionId]| -> Result<Vec<Digest>, kiln_bitcode::Error> {
        let mut digester = Digester::new(module, bytes);
        functions.iter().map(|function| digester.function(*function)).collect()
    };
    if functions.len() < FEW {
        return all(functions);
    }
    let (first, second) = functions.split_at(functions.len() / 2);
    // The thread inherits the mask: the program's signals are not ours.
    let blocked = Blocked::all();
    std::thread::scope(|scope| {
        let helper = std::thread::Builder::new().spawn_scoped(scope, || all(second));
        drop(blocked);
        let mut digests = all(first)?;
        digests.extend(match helper {
            Ok(helper) => helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            Err(_) => all(second)?,
        });
        Ok(digests)
    })
}

/// Digests of one module's functions, types and constants.
pub(crate) struct Digester<'m> {
    module: &'m Module,
    bytes: &'m [u8],
    body: Body,
    types: Vec<Option<Digest>>,
    globals: HashMap<GlobalId, Digest>,
    /// The module's constants by number.
    constants: Vec<Option<Digest>>,
    /// Attribute groups by number: calls share them.
    groups: HashMap<u32, Digest>,
    /// Globals whose contents are being looked at: they may refer to each other.
    open: Vec<GlobalId>,
}

impl<'m> Digester<'m> {
    pub(crate) fn new(module: &'m Module, bytes: &'m [u8]) -> Self {
        Self {
            module,
            bytes,
            body: Body::new(),
            types: vec![None; module.types().len()],
            globals: HashMap::new(),
            constants: Vec::new(),
            groups: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// The meaning of a function with a body.
    pub(crate) fn function(&mut self, id: FunctionId) -> Result<Digest, kiln_bitcode::Error> {
        let module = self.module;
        let function = module.function(id);
        let mut body = std::mem::take(&mut self.body);
        let read = module.read_body(self.bytes, id, &mut body);
        if let Err(error) = read {
            self.body = body;
            return Err(error);
        }
        let mut hasher = Hasher::new();
        hasher.part(&self.ty(function.symbol.value_type));
        self.attributes(&mut hasher, self.module.attributes(function.attributes));
        number(&mut hasher, u64::from(function.calling_convention));
        let named = |id: Option<TextId>| id.map(|id| self.module.text(id));
        let (section, gc) = (named(function.section), named(function.gc));
        text(&mut hasher, &format!("{:?} {section:?} {gc:?}", function.align()));
        for constant in [function.prefix, function.prologue, function.personality] {
            match constant {
                Some(constant) => hasher.part(&self.constant(constant)),
                None => hasher.update(b"-"),
            }
        }
        for block in 0..body.block_count() {
            hasher.update(b"B");
            for at in body.block_instructions(kiln_bitcode::BlockId(block)) {
                self.instruction(&mut hasher, &body, at);
            }
        }
        self.body = body;
        Ok(hasher.finish())
    }

    fn instruction(&mut self, hasher: &mut Hasher, body: &Body, at: u32) {
        let module = self.module;
        let instruction = body.instruction(at);
        hasher.update(&[instruction.opcode as u8, instruction.sub, instruction.align, instruction.ordering as u8]);
        number(hasher, u64::from(instruction.flags) << 16 | u64::from(instruction.fast_math));
        hasher.part(&self.ty(instruction.ty));
        match instruction.opcode {
            Opcode::Gep | Opcode::Alloca => {
                hasher.part(&self.ty(TypeId(instruction.aux)));
            }
            Opcode::Call | Opcode::Invoke | Opcode::CallBr => {
                let call = body.call(instruction);
                hasher.part(&self.ty(call.ty));
                text(hasher, &format!("{} {:?}", call.convention, call.tail));
                self.attributes(hasher, module.attributes(call.attributes));
                for (tag, values) in body.bundles(call) {
                    hasher.update(&module.operand_bundle_tags()[tag as usize]);
                    values.iter().for_each(|value| self.value(hasher, body, ValueId(*value)));
                }
            }
            _ => number(hasher, u64::from(instruction.aux)),
        }
        for (place, word) in body.operands(instruction).iter().enumerate() {
            // A word that is no value is a block or a plain number, which shift with nothing; a value among those would
            // count by its own number, so that a change elsewhere makes it differ: never the other way round.
            if is_value(instruction.opcode, place) {
                self.value(hasher, body, ValueId(*word));
            } else {
                number(hasher, u64::from(*word));
            }
        }
    }

    fn value(&mut self, hasher: &mut Hasher, body: &Body, value: ValueId) {
        if value == ValueId::NONE {
            hasher.update(b"m");
        } else if value.0 < body.first_value() {
            hasher.update(b"c");
            hasher.part(&self.constant(ConstantId(value.0)));
        } else if let Some(constant) = body.constant(self.module, value) {
            hasher.update(b"c");
            let ty = body.type_of(self.module, value);
            let digest = self.own_constant(Some(body), constant, ty);
            hasher.part(&digest);
        } else {
            hasher.update(b"v");
            // Numbered from the function's first value; its own constants come between arguments and results.
            let results = value.0.checked_sub(body.first_result());
            number(hasher, results.map_or(u64::from(value.0 - body.first_value()) << 32, u64::from));
        }
    }

    /// The meaning of a module's constant.
    pub(crate) fn constant(&mut self, id: ConstantId) -> Digest {
        let at = id.0 as usize;
        if let Some(Some(known)) = self.constants.get(at) {
            return *known;
        }
        let (constant, ty) = (self.module.constant(id), self.module.constant_type(id));
        let digest = self.own_constant(None, constant, ty);
        // Within a cycle of globals it depends on where the cycle was entered.
        if self.open.is_empty() {
            self.constants.resize(self.module.constant_count().max(at + 1), None);
            self.constants[at] = Some(digest);
        }
        digest
    }

    fn part(&mut self, body: Option<&Body>, id: ConstantId) -> Digest {
        match body {
            Some(body) if id.0 >= body.first_value() => match body.constant(self.module, ValueId(id.0)) {
                Some(constant) => self.own_constant(Some(body), constant, body.type_of(self.module, ValueId(id.0))),
                None => [0; 32],
            },
            _ => self.constant(id),
        }
    }

    fn own_constant(&mut self, body: Option<&Body>, constant: Constant<'_>, ty: TypeId) -> Digest {
        let mut hasher = Hasher::new();
        hasher.part(&self.ty(ty));
        let mut parts: Vec<ConstantId> = Vec::new();
        match constant {
            Constant::Global(global) => {
                hasher.part(&self.reference(global));
            }
            Constant::DsoLocalEquivalent(global) | Constant::NoCfi(global) => {
                hasher.update(b"e");
                hasher.part(&self.reference(global));
            }
            Constant::BlockAddress { function, block } => {
                hasher.part(&self.reference(GlobalRef::Function(function)));
                number(&mut hasher, u64::from(block));
            }
            Constant::Aggregate(elements) => {
                hasher.update(b"a");
                parts.extend_from_slice(elements);
            }
            Constant::Gep(gep) => {
                hasher.part(&self.ty(gep.source));
                text(&mut hasher, &format!("g {} {} {} {:?}", gep.inbounds, gep.nusw, gep.nuw, gep.in_range));
                parts.extend_from_slice(gep.operands);
            }
            Constant::Cast { op, value } => {
                text(&mut hasher, op.name());
                parts.push(value);
            }
            Constant::Binary { op, flags, left, right } => {
                text(&mut hasher, &format!("{} {flags}", op.name()));
                parts.extend([left, right]);
            }
            Constant::Negate(value) => parts.push(value),
            Constant::Select { condition, then, otherwise } => parts.extend([condition, then, otherwise]),
            Constant::Compare { predicate, left, right } => {
                number(&mut hasher, u64::from(predicate));
                parts.extend([left, right]);
            }
            Constant::ExtractElement { vector, index } => {
                hasher.update(b"x");
                parts.extend([vector, index]);
            }
            Constant::InsertElement { vector, element, index } => {
                hasher.update(b"i");
                parts.extend([vector, element, index]);
            }
            Constant::ShuffleVector { left, right, mask } => {
                hasher.update(b"s");
                parts.extend([left, right, mask]);
            }
            Constant::InlineAsm(asm) => {
                hasher.part(&self.ty(asm.ty));
                text(&mut hasher, &format!("{} {:?} {:?}", asm.flags, asm.template, asm.constraints));
            }
            Constant::Int(value) => {
                hasher.update(b"n");
                number(&mut hasher, value);
            }
            Constant::Null => hasher.update(b"0"),
            Constant::Data(bytes) => {
                hasher.update(b"d");
                hasher.update(bytes);
            }
            Constant::String { bytes, nul } => {
                hasher.update(if nul { b"z" } else { b"t" });
                hasher.update(bytes);
            }
            // The like say all about themselves.
            plain => text(&mut hasher, &format!("{plain:?}")),
        }
        for part in parts {
            let digest = self.part(body, part);
            hasher.part(&digest);
        }
        hasher.finish()
    }

    fn reference(&mut self, global: GlobalRef) -> Digest {
        if let GlobalRef::Global(id) = global
            && (is_matched_by_content(self.module, id) || self.module.block_address_owner(id).is_some())
            && !self.open.contains(&id)
        {
            return self.content(id);
        }
        let mut hasher = Hasher::new();
        let kind = match global {
            GlobalRef::Function(_) => b"F",
            GlobalRef::Global(_) => b"G",
            GlobalRef::Alias(_) => b"A",
        };
        hasher.update(kind);
        hasher.update(self.module.symbol_name(global));
        hasher.finish()
    }

    /// The meaning of a constant that only its module can see.
    pub(crate) fn content(&mut self, id: GlobalId) -> Digest {
        if let Some(known) = self.globals.get(&id) {
            return *known;
        }
        let global = self.module.global(id);
        let mut hasher = Hasher::new();
        hasher.part(&self.ty(global.symbol.value_type));
        let section = global.section.map(|id| self.module.text(id));
        text(&mut hasher, &format!("{:?} {section:?}", global.align()));
        // Two that may not share an address stay two.
        if global.symbol.unnamed_addr == kiln_bitcode::UnnamedAddr::None {
            hasher.update(self.module.symbol_name(GlobalRef::Global(id)));
        }
        self.open.push(id);
        if let Some(initializer) = global.initializer {
            let digest = self.constant(initializer);
            hasher.part(&digest);
        }
        self.open.pop();
        let digest = hasher.finish();
        if self.open.is_empty() {
            self.globals.insert(id, digest);
        }
        digest
    }

    fn attributes(&mut self, hasher: &mut Hasher, list: AttributeList<'_>) {
        for group in list.groups() {
            let digest = match self.groups.get(&group.number()) {
                Some(known) => *known,
                None => {
                    let digest = self.group(group);
                    self.groups.insert(group.number(), digest);
                    digest
                }
            };
            hasher.part(&digest);
        }
    }

    fn group(&mut self, group: AttributeGroup<'_>) -> Digest {
        let mut hasher = Hasher::new();
        match group.place() {
            AttributePlace::Parameter(n) => text(&mut hasher, &format!("P{n}")),
            place => text(&mut hasher, &format!("{place:?}")),
        }
        for attribute in group.attributes() {
            match attribute {
                Attribute::Type(kind, Some(ty)) => {
                    text(&mut hasher, kind.name());
                    hasher.part(&self.ty(*ty));
                }
                other => text(&mut hasher, &format!("{other:?}")),
            }
        }
        hasher.finish()
    }

    /// The meaning of a type.
    pub(crate) fn ty(&mut self, id: TypeId) -> Digest {
        let at = id.0 as usize;
        if let Some(known) = self.types.get(at).copied().flatten() {
            return known;
        }
        let mut hasher = Hasher::new();
        let Some(ty) = self.module.types().get(at) else {
            text(&mut hasher, &format!("no type {at}"));
            return hasher.finish();
        };
        let mut parts: Vec<TypeId> = Vec::new();
        match ty {
            Type::Array { count, element } => {
                text(&mut hasher, &format!("array {count}"));
                parts.push(*element);
            }
            Type::Vector { count, element, scalable } => {
                text(&mut hasher, &format!("vector {count} {scalable}"));
                parts.push(*element);
            }
            Type::Struct { packed, fields, .. } => {
                text(&mut hasher, &format!("struct {packed}"));
                parts.extend_from_slice(fields);
            }
            Type::Function { result, parameters, variadic, .. } => {
                text(&mut hasher, &format!("function {variadic}"));
                parts.push(*result);
                parts.extend_from_slice(parameters);
            }
            plain => text(&mut hasher, &format!("{plain:?}")),
        }
        number(&mut hasher, parts.len() as u64);
        for part in parts {
            let digest = self.ty(part);
            hasher.part(&digest);
        }
        let digest = hasher.finish();
        self.types[at] = Some(digest);
        digest
    }
}

/// Whether a global is known by what it holds: a constant that nobody outside its module sees.
pub(crate) fn is_matched_by_content(module: &Module, id: GlobalId) -> bool {
    let global = module.global(id);
    global.is_constant
        && !global.is_declaration()
        && global.thread_local == ThreadLocal::None
        && matches!(global.symbol.linkage, Linkage::Internal | Linkage::Private)
        && module.block_address_owner(id).is_none()
}

/// Whether word `place` among the operands is a value: see [`Opcode`].
pub(crate) fn is_value(opcode: Opcode, place: usize) -> bool {
    match opcode {
        Opcode::Br => false,
        Opcode::CondBr => place == 0,
        Opcode::Switch => place == 0 || place >= 2 && place.is_multiple_of(2),
        Opcode::IndirectBr | Opcode::ExtractValue => place == 0,
        Opcode::InsertValue => place < 2,
        Opcode::Phi => place.is_multiple_of(2),
        Opcode::LandingPad => !place.is_multiple_of(2),
        Opcode::Invoke => place == 0 || place >= 3,
        Opcode::CallBr | Opcode::Funclet => place == 0,
        _ => true,
    }
}

fn number(hasher: &mut Hasher, number: u64) {
    hasher.update(&number.to_le_bytes());
}

fn text(hasher: &mut Hasher, text: &str) {
    number(hasher, text.len() as u64);
    hasher.update(text.as_bytes());
}
