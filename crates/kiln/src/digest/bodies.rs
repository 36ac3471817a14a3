//! What functions mean.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_abi::FunctionId;
use kiln_bitcode::{BlockId, Body, ConstantId, Module, Opcode, TailKind, ValueId};

use super::hasher::{Digest, Hasher, Kind};
use super::tables::Tables;
use crate::process::signals::Blocked;

/// From so many functions on, a second thread helps.
const FEW: usize = 64;
/// How many a thread takes at a time.
const AT_A_TIME: usize = 16;

/// The meanings of `functions`, in their order.
pub(crate) fn digests(
    tables: &Tables,
    module: &Module,
    bytes: &[u8],
    functions: &[FunctionId],
) -> Result<Vec<Digest>, kiln_bitcode::Error> {
    if functions.len() < FEW {
        let mut reader = Reader::new(tables, module, bytes);
        return functions.iter().map(|function| reader.function(*function)).collect();
    }
    let next = AtomicUsize::new(0);
    // Each thread takes what is next, and says what it took.
    let some = || -> Result<Vec<(usize, Digest)>, kiln_bitcode::Error> {
        let mut reader = Reader::new(tables, module, bytes);
        let mut digests = Vec::with_capacity(functions.len());
        loop {
            // Relaxed: it hands out numbers, nothing else.
            let first = next.fetch_add(AT_A_TIME, Ordering::Relaxed);
            let Some(rest) = functions.get(first..).filter(|rest| !rest.is_empty()) else { return Ok(digests) };
            for (at, function) in (first..).zip(&rest[..rest.len().min(AT_A_TIME)]) {
                digests.push((at, reader.function(*function)?));
            }
        }
    };
    // The thread inherits the mask: the program's signals are not ours.
    let blocked = Blocked::all();
    std::thread::scope(|scope| {
        let helper = std::thread::Builder::new().spawn_scoped(scope, some);
        drop(blocked);
        let mut digests = vec![None; functions.len()];
        let mut take =
            |some: Vec<(usize, Digest)>| some.into_iter().for_each(|(at, digest)| digests[at] = Some(digest));
        let own = some();
        if let Ok(helper) = helper {
            take(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        take(own?);
        Ok(digests.into_iter().map(|digest| digest.expect("one of the two took it")).collect())
    })
}

/// Reads bodies one after the other.
pub(super) struct Reader<'t> {
    tables: &'t Tables,
    module: &'t Module,
    bytes: &'t [u8],
    body: Body,
    /// The meanings of the body's own constants.
    own: Vec<Option<Digest>>,
}

/// What an operand is, where it is not a constant, which stands for itself.
const NO_VALUE: u64 = 1 << 62;
const ARGUMENT: u64 = 2 << 62;
const RESULT: u64 = 3 << 62;

impl<'t> Reader<'t> {
    pub(super) fn new(tables: &'t Tables, module: &'t Module, bytes: &'t [u8]) -> Self {
        Self { tables, module, bytes, body: Body::new(), own: Vec::new() }
    }

    /// The meaning of a function with a body.
    pub(super) fn function(&mut self, id: FunctionId) -> Result<Digest, kiln_bitcode::Error> {
        let (tables, module) = (self.tables, self.module);
        module.read_body(self.bytes, id, &mut self.body)?;
        let body = &self.body;
        self.own.clear();
        let first_constant = body.first_value() + body.argument_count();
        self.own.resize((body.first_result() - first_constant) as usize, None);
        for id in first_constant..body.first_result() {
            tables.constant_of(module, body, ConstantId(id), &mut self.own);
        }

        let function = module.function(id);
        let mut hasher = Hasher::new(Kind::Function);
        hasher.part(tables.ty(function.symbol.value_type));
        hasher.part(tables.attributes(function.attributes));
        hasher.word(u64::from(function.calling_convention) << 1 | u64::from(function.symbol.linkage.is_local()));
        hasher.word(function.align().unwrap_or_default());
        for text in [function.section, function.gc] {
            hasher.bytes(text.map(|id| module.text(id)).unwrap_or_default());
        }
        for constant in [function.prefix, function.prologue, function.personality] {
            match constant {
                Some(constant) => hasher.part(tables.constant(constant)),
                None => hasher.word(NO_VALUE),
            }
        }
        hasher.word(u64::from(body.block_count()));
        for block in 0..body.block_count() {
            let instructions = body.block_instructions(BlockId(block));
            hasher.word(u64::from(instructions.end - instructions.start));
            for at in instructions {
                self.instruction(&mut hasher, at);
            }
        }
        Ok(hasher.finish())
    }

    #[inline]
    fn instruction(&self, hasher: &mut Hasher, at: u32) {
        let (tables, body) = (self.tables, &self.body);
        let instruction = body.instruction(at);
        let operands = body.operands(instruction);
        hasher.word(
            instruction.opcode as u64
                | u64::from(instruction.sub) << 8
                | u64::from(instruction.align()) << 16
                | (instruction.ordering() as u64) << 24
                | u64::from(instruction.flags()) << 32
                | u64::from(instruction.fast_math()) << 48,
        );
        hasher.part(tables.ty(body.result_type(instruction)));
        let mut aux = 0;
        match instruction.opcode {
            Opcode::Gep | Opcode::Alloca => hasher.part(tables.ty(kiln_bitcode::TypeId(instruction.aux()))),
            Opcode::Call | Opcode::Invoke | Opcode::CallBr => {
                let call = body.call(instruction);
                hasher.part(tables.ty(call.ty));
                hasher.part(tables.attributes(call.attributes));
                let tail = match call.tail {
                    TailKind::None => 0,
                    TailKind::Tail => 1,
                    TailKind::Must => 2,
                    TailKind::Never => 3,
                };
                let mut bundles = 0;
                for (tag, values) in body.bundles(call) {
                    bundles += 1;
                    hasher.bytes(&self.module.operand_bundle_tags()[tag as usize]);
                    hasher.word(values.len() as u64);
                    values.iter().for_each(|value| self.value(hasher, ValueId(*value)));
                }
                aux = u64::from(call.convention) | tail << 16 | bundles << 18;
            }
            _ => {}
        }
        hasher.word(aux << 32 | operands.len() as u64);
        for (place, word) in operands.iter().enumerate() {
            // A word that is no value is a block or a plain number, which shift with nothing; a value among those would
            // count by its own number, so that a change elsewhere makes it differ: never the other way round.
            if is_value(instruction.opcode, place) {
                self.value(hasher, ValueId(*word));
            } else {
                hasher.word(u64::from(*word));
            }
        }
    }

    #[inline]
    fn value(&self, hasher: &mut Hasher, value: ValueId) {
        let body = &self.body;
        if value.0 < body.first_value() {
            hasher.part(self.tables.constant(ConstantId(value.0)));
        } else if value == ValueId::NONE {
            hasher.word(NO_VALUE);
        } else if let Some(result) = value.0.checked_sub(body.first_result()) {
            hasher.word(RESULT | u64::from(result));
        } else {
            // Arguments, then the body's own constants.
            let own = value.0 - body.first_value();
            match own.checked_sub(body.argument_count()) {
                Some(constant) => hasher.part(self.own[constant as usize].expect("computed with the body")),
                None => hasher.word(ARGUMENT | u64::from(own)),
            }
        }
    }
}

/// Whether word `place` among the operands is a value: see [`Opcode`].
#[inline]
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
