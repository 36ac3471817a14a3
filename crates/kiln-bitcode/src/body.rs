//! Function bodies, decoded into arrays that are reused from function to function.

use std::ops::Range;

use kiln_abi::FunctionId;

use crate::attributes::AttributeListId;
use crate::constant::{Constant, ConstantId};
use crate::constants::Constants;
use crate::module::Module;
use crate::opcode::Opcode;
use crate::operands::for_values;
use crate::packed::{Draft, Instruction};
use crate::types::TypeId;

/// A value that an instruction can name: the module's constants, globals included, come first
/// ([`Module::constant_count`](crate::Module::constant_count) of them), then the function's arguments, the constants of
/// the body, and the results of instructions in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

impl ValueId {
    /// No value: the result of a `void` call, an operand that is metadata.
    pub const NONE: ValueId = ValueId(u32::MAX);
}

/// A basic block of a function, counted from the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// A value of the function: its type, and who uses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) ty: TypeId,
    /// How many operands name it; of a single one, [`Value::ONE`] and whose it is.
    users: u32,
}

impl Value {
    /// Neither operands nor instructions are as many.
    const ONE: u32 = 1 << 31;

    #[inline(always)]
    fn new(ty: TypeId) -> Self {
        Self { ty, users: 0 }
    }

    /// Notes that `user` names it.
    #[inline(always)]
    pub(crate) fn note_use(&mut self, user: u32) {
        self.users = match self.uses() {
            0 => Self::ONE | user,
            uses => uses + 1,
        };
    }

    /// Takes back that an instruction names it, which is going to name it all the same.
    fn take_back_use(&mut self) {
        self.users = match self.users {
            0 | Self::ONE.. => 0,
            // Whose the other operand is does not matter any more when this one comes again.
            2 => Self::ONE,
            several => several - 1,
        };
    }

    #[inline(always)]
    fn uses(self) -> u32 {
        if self.users & Self::ONE != 0 { 1 } else { self.users }
    }

    /// The one instruction that names it, in one operand.
    #[inline(always)]
    fn user(self) -> Option<u32> {
        (self.users & Self::ONE != 0 && self.users != NO_USER).then_some(self.users & !Self::ONE)
    }
}

/// Operands that lie from `first` on in `all`.
#[inline(always)]
fn outside(all: &[u32], first: u32) -> &[u32] {
    let first = first as usize;
    &all[first..][..all[first - 1] as usize]
}

/// Notes that `user` names `value`. What is no value of the function, or not yet, is not counted.
#[inline(always)]
fn note_use(values: &mut [Value], first_value: u32, value: u32, user: u32) {
    if let Some(known) = values.get_mut(value.wrapping_sub(first_value) as usize) {
        known.note_use(user);
    }
}

/// Metadata has smaller numbers where they are kept: values never have the ones that stand for them.
const METADATA_MAX: u32 = 1 << 28;

/// No certain instruction uses a value.
pub(crate) const NO_USER: u32 = u32::MAX;

/// How a call must be made with respect to the caller's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TailKind {
    /// No wish.
    None,
    /// `tail`: may be one.
    Tail,
    /// `musttail`
    Must,
    /// `notail`
    Never,
}

impl TailKind {
    /// What the bits of a call's record say.
    #[inline]
    pub(crate) fn of(bits: u64) -> Self {
        match bits {
            _ if bits & 1 << 16 != 0 => TailKind::Never,
            _ if bits & 1 << 14 != 0 => TailKind::Must,
            _ if bits & 1 != 0 => TailKind::Tail,
            _ => TailKind::None,
        }
    }
}

/// What a call says beside its operands.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The function type of the call.
    pub ty: TypeId,
    /// Attributes: [`Module::attributes`](crate::Module::attributes).
    pub attributes: AttributeListId,
    /// Calling convention (`CallingConv::ID`).
    pub convention: u16,
    /// Its tail marker.
    pub tail: TailKind,
    /// Its operand bundles: a range of [`Body::bundles`].
    pub(crate) bundles: (u32, u32),
}

/// Where an instruction comes from. The bitcode's "same as before" is resolved: an instruction without an entry comes
/// from nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Index of the instruction.
    pub instruction: u32,
    /// Line, from 1; 0 where it is not known.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// Scope: the number of the metadata node plus one.
    pub scope: u32,
    /// Where it was inlined: the number of the metadata node plus one; 0 if it was not.
    pub inlined_at: u32,
}

/// A decoded function body. Reused: [`Module::read_body`](crate::Module::read_body) clears it and keeps its memory.
#[derive(Debug, Default)]
pub struct Body {
    pub(crate) function: Option<FunctionId>,
    /// First instruction of every block, and the end of the last one.
    pub(crate) blocks: Vec<u32>,
    rows: Vec<Instruction>,
    pub(crate) operands: Vec<u32>,
    pub(crate) calls: Vec<Call>,
    pub(crate) bundles: Vec<(u32, u32, u32)>,
    pub(crate) locations: Vec<Location>,
    pub(crate) has_locations: bool,
    pub(crate) skips_locations: bool,
    pub(crate) keeps_metadata: bool,
    /// Number of the first value that belongs to the function: its first argument.
    pub(crate) first_value: u32,
    pub(crate) arguments: u32,
    pub(crate) has_phis: bool,
    /// The function's values, its arguments first.
    values: Vec<Value>,
    /// The type `void`.
    void: TypeId,
    /// The constants of the body, numbered from `first_value + arguments`.
    pub(crate) constants: Constants,
    /// Values used before their definition, with the type that the use demands.
    pub(crate) forward: Vec<(u32, TypeId)>,
    /// The fields of the record that is being read.
    pub(crate) fields: Vec<u64>,
}

impl Body {
    /// An empty body, to be filled by [`Module::read_body`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose body it is.
    ///
    /// # Panics
    ///
    /// If nothing was read, or the last reading failed.
    #[must_use]
    pub fn function(&self) -> FunctionId {
        self.function.expect("a body was read")
    }

    /// Bytes that its arrays hold.
    #[must_use]
    pub fn bytes_in_use(&self) -> usize {
        size_of_val(&*self.blocks)
            + size_of_val(&*self.rows)
            + size_of_val(&*self.operands)
            + size_of_val(&*self.calls)
            + size_of_val(&*self.bundles)
            + size_of_val(&*self.locations)
            + size_of_val(&*self.values)
            + size_of_val(&*self.forward)
    }

    /// How many blocks it has, at least one.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.blocks.len().saturating_sub(1) as u32
    }

    /// The instructions of `block`, at least one.
    #[must_use]
    pub fn block_instructions(&self, block: BlockId) -> Range<u32> {
        self.blocks[block.0 as usize]..self.blocks[block.0 as usize + 1]
    }

    /// Whether a block begins behind instruction `before` and not behind `index`.
    #[must_use]
    pub fn begins_block(&self, before: u32, index: u32) -> bool {
        let next = self.blocks.partition_point(|first| *first <= before);
        index < before || self.blocks.get(next).is_some_and(|first| *first <= index)
    }

    /// Whether there is a [`Opcode::Phi`] among the instructions.
    #[must_use]
    pub fn has_phis(&self) -> bool {
        self.has_phis
    }

    /// Instruction `index`.
    #[inline(always)]
    #[must_use]
    pub fn instruction(&self, index: u32) -> &Instruction {
        &self.rows[index as usize]
    }

    /// The last instruction of `block`.
    #[inline(always)]
    #[must_use]
    pub fn terminator(&self, block: BlockId) -> &Instruction {
        &self.rows[self.blocks[block.0 as usize + 1] as usize - 1]
    }

    /// The instructions of a range that [`Body::block_instructions`] gave.
    #[inline(always)]
    #[must_use]
    pub fn block(&self, range: Range<u32>) -> &[Instruction] {
        &self.rows[range.start as usize..range.end as usize]
    }

    /// All instructions, block after block.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.rows
    }

    /// Type of the result of `instruction`; `void` where there is none.
    #[inline(always)]
    #[must_use]
    pub fn result_type(&self, instruction: &Instruction) -> TypeId {
        match instruction.has_result() {
            true => self.own_type(instruction.next).unwrap_or(self.void),
            false => self.void,
        }
    }

    /// Which of the instructions of `block` makes `value`, if one does.
    #[must_use]
    pub fn definition_in(&self, block: BlockId, value: ValueId) -> Option<u32> {
        let range = self.block_instructions(block);
        let rows = self.block(range.clone());
        let mut at = 0;
        loop {
            let row = rows.get(at)?;
            // At least as many instructions come before it as make values.
            match value.0.checked_sub(row.next)? {
                0 if row.has_result() => return Some(range.start + at as u32),
                left => at += (left as usize).max(1),
            }
        }
    }

    /// The values that the instructions of a range that [`Body::block_instructions`] gave make: they have consecutive
    /// numbers.
    #[inline]
    #[must_use]
    pub fn results(&self, range: Range<u32>) -> Range<u32> {
        let next = |index: u32| self.rows.get(index as usize).map_or(self.value_count(), |row| row.next);
        next(range.start)..next(range.end)
    }

    /// The operands of `instruction`: see [`Opcode`] for what the words mean.
    #[inline(always)]
    #[must_use]
    pub fn operands<'b>(&'b self, instruction: &'b Instruction) -> &'b [u32] {
        match instruction.bits >> 6 {
            Instruction::OUTSIDE => outside(&self.operands, instruction.words[0]),
            count => &instruction.words[..usize::from(count)],
        }
    }

    /// How many operands name the value `index` behind the function's first ([`for_values`](crate::for_values)), and if it
    /// is one, the instruction that does unless it is a phi.
    #[inline]
    #[must_use]
    pub fn uses(&self, index: u32) -> (u32, Option<u32>) {
        let value = &self.values[index as usize];
        (value.uses(), value.user())
    }

    /// How many operands name each of the function's values.
    #[inline]
    pub fn use_counts(&self) -> impl ExactSizeIterator<Item = u32> {
        self.values.iter().map(|value| value.uses())
    }

    /// Whether an operand names `value`, which is the function's.
    #[must_use]
    pub fn is_used(&self, value: ValueId) -> bool {
        self.values[(value.0 - self.first_value) as usize].users != 0
    }

    /// Counts uses again, without those in blocks that are not `reached`.
    pub fn count_uses_in(&mut self, reached: impl Fn(BlockId) -> bool) {
        self.values.iter_mut().for_each(|value| *value = Value::new(value.ty));
        for block in (0..self.block_count()).map(BlockId).filter(|block| reached(*block)) {
            for index in self.block_instructions(block) {
                let instruction = *self.instruction(index);
                if instruction.opcode != Opcode::Phi {
                    self.count_operands(index, &instruction);
                    continue;
                }
                let pairs = self.operands(&instruction).len() / 2;
                for at in 0..pairs {
                    let pair = &self.operands(&instruction)[2 * at..];
                    if reached(BlockId(pair[1])) {
                        let value = pair[0];
                        self.count_use(value, NO_USER);
                    }
                }
            }
        }
    }

    /// Notes that instruction `index` names its operands.
    fn count_operands(&mut self, index: u32, instruction: &Instruction) {
        let operands = match instruction.bits >> 6 {
            Instruction::OUTSIDE => outside(&self.operands, instruction.words[0]),
            count => &instruction.words[..usize::from(count)],
        };
        let user = if instruction.opcode == Opcode::Phi { NO_USER } else { index };
        for_values(instruction.opcode, operands, |value| {
            note_use(&mut self.values, self.first_value, value.0, user);
        });
    }

    /// Notes that `user` names `value`.
    #[inline(always)]
    pub(crate) fn count_use(&mut self, value: u32, user: u32) {
        note_use(&mut self.values, self.first_value, value, user);
    }

    /// Forgets everything; instructions have the type `void` unless they make values, which begin with those of `types`.
    pub(crate) fn restart(&mut self, void: TypeId, first_value: u32, types: &[TypeId]) {
        self.blocks.clear();
        self.rows.clear();
        self.operands.clear();
        self.calls.clear();
        self.bundles.clear();
        self.locations.clear();
        self.has_locations = false;
        self.values.clear();
        self.forward.clear();
        self.has_phis = false;
        self.void = void;
        self.first_value = first_value;
        self.arguments = types.len() as u32;
        self.add_values(types);
        self.constants.restart(self.value_count());
    }

    /// Adds values that no instruction makes.
    pub(crate) fn add_values(&mut self, types: &[TypeId]) {
        self.values.extend(types.iter().map(|ty| Value::new(*ty)));
    }

    /// The same for the constants of the body from `before` on.
    pub(crate) fn add_constants(&mut self, before: usize) {
        self.values.extend(self.constants.types()[before..].iter().map(|ty| Value::new(*ty)));
    }

    /// The type of a value of the function that exists already.
    #[inline(always)]
    pub(crate) fn own_type(&self, value: u32) -> Option<TypeId> {
        self.values.get(value.wrapping_sub(self.first_value) as usize).map(|value| value.ty)
    }

    /// A value of the function that exists already.
    #[inline(always)]
    pub(crate) fn own_value(&mut self, value: u32) -> Option<&mut Value> {
        self.values.get_mut(value.wrapping_sub(self.first_value) as usize)
    }

    /// How many instructions there are.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no instruction from `start` on, or a phi comes last.
    pub(crate) fn may_add_phi(&self, start: u32) -> bool {
        self.rows.len() <= start as usize || self.rows.last().is_some_and(|last| last.opcode == Opcode::Phi)
    }

    /// Adds an instruction with these operands, whose uses are counted already, and its result if it has one.
    #[inline(always)]
    pub(crate) fn push<const N: usize>(&mut self, draft: Draft, has_result: bool, operands: [u32; N]) {
        if N <= draft.opcode.room() {
            let mut words = [0, draft.aux];
            for (word, operand) in words.iter_mut().zip(operands) {
                *word = operand;
            }
            self.push_row(draft, has_result, N as u8, words);
        } else {
            self.operands.push(N as u32);
            let first = self.operands.len() as u32;
            self.operands.extend_from_slice(&operands);
            self.push_row(draft, has_result, Instruction::OUTSIDE, [first, draft.aux]);
        }
    }

    #[inline(always)]
    fn push_row(&mut self, draft: Draft, has_result: bool, count: u8, words: [u32; 2]) {
        let next = self.value_count();
        self.rows.push(Instruction::new(draft, has_result, next, count, words));
        if has_result {
            self.values.push(Value::new(draft.ty));
        }
    }

    /// Adds an instruction with the operands from `first` on, whose uses are counted already, behind a word that is left for
    /// their number.
    #[inline(always)]
    pub(crate) fn push_behind(&mut self, draft: Draft, has_result: bool, first: usize) {
        let count = self.operands.len() - first;
        if count <= draft.opcode.room() {
            let mut words = [0, draft.aux];
            words[..count].copy_from_slice(&self.operands[first..]);
            self.operands.truncate(first - 1);
            self.push_row(draft, has_result, count as u8, words);
        } else {
            self.operands[first - 1] = count as u32;
            self.push_row(draft, has_result, Instruction::OUTSIDE, [first as u32, draft.aux]);
        }
    }

    /// Adds an instruction with the operands from `first` on.
    pub(crate) fn push_any(&mut self, draft: Draft, first: usize) {
        let has_result = draft.ty != self.void;
        let index = self.rows.len() as u32;
        let operands = &self.operands[first..];
        if operands.len() <= draft.opcode.room() {
            let mut words = [0, draft.aux];
            words[..operands.len()].copy_from_slice(operands);
            let count = operands.len() as u8;
            self.operands.truncate(first);
            self.push_row(draft, has_result, count, words);
        } else {
            let count = operands.len() as u32;
            self.operands.insert(first, count);
            self.push_row(draft, has_result, Instruction::OUTSIDE, [first as u32 + 1, draft.aux]);
        }
        let instruction = *self.instruction(index);
        self.count_operands(index, &instruction);
    }

    /// Takes back that the next instruction names the values from `first` on among the operands. It must be the one that
    /// names them after all, because who named them before is forgotten.
    #[cold]
    pub(crate) fn take_back_uses(&mut self, first: usize) {
        for value in &self.operands[first..] {
            if let Some(known) = self.values.get_mut(value.wrapping_sub(self.first_value) as usize) {
                known.take_back_use();
            }
        }
    }

    /// Counts uses that could not be counted with the instructions.
    pub(crate) fn finish_counts(&mut self) {
        // Of values that were not there yet.
        for at in 0..self.forward.len() {
            self.count_use(self.forward[at].0, NO_USER);
        }
    }

    /// Gives the last instruction the place `location`; nothing if there is none.
    #[inline]
    pub(crate) fn push_location(&mut self, location: Location) -> Option<()> {
        let instruction = self.rows.len().checked_sub(1)? as u32;
        self.has_locations = true;
        if self.skips_locations {
            return Some(());
        }
        let location = Location { instruction, ..location };
        match self.locations.last_mut() {
            Some(last) if last.instruction == instruction => *last = location,
            _ => self.locations.push(location),
        }
        Some(())
    }

    /// Gives the last instruction the place of the last one that has one; nothing if there is none.
    #[inline]
    pub(crate) fn repeat_location(&mut self) -> Option<()> {
        match self.locations.last() {
            Some(last) => self.push_location(*last),
            // What is skipped is as good as any other.
            None => self.has_locations.then_some(()),
        }
    }

    /// What a [`Opcode::Call`], [`Opcode::Invoke`] or [`Opcode::CallBr`] numbered `aux` says beside its operands.
    #[must_use]
    pub fn call(&self, instruction: &Instruction) -> &Call {
        &self.calls[instruction.aux() as usize]
    }

    /// Operand bundles of `call`: the tag, an index of [`Module::operand_bundle_tags`], and the values.
    pub fn bundles(&self, call: &Call) -> impl Iterator<Item = (u32, &[u32])> {
        let (start, end) = call.bundles;
        let bundles = self.bundles[start as usize..end as usize].iter();
        bundles.map(|(tag, first, count)| (*tag, &self.operands[*first as usize..][..*count as usize]))
    }

    /// From now on bodies are read without their locations.
    pub fn skip_locations(&mut self) {
        self.skips_locations = true;
    }

    /// Whether bodies are read from now on with the numbers of metadata that is an argument of a call, which takes longer.
    pub fn keep_metadata(&mut self, keep: bool) {
        self.keeps_metadata = keep;
    }

    /// Whether they are.
    #[must_use]
    pub fn keeps_metadata(&self) -> bool {
        self.keeps_metadata
    }

    /// The number of the metadata that `operand` is, if it is that and numbers are kept.
    #[must_use]
    pub fn metadata_number(operand: ValueId) -> Option<u32> {
        let number = operand.0.wrapping_neg().wrapping_sub(2);
        (number < METADATA_MAX).then_some(number)
    }

    /// What stands for metadata number `number` among operands.
    pub(crate) fn metadata_operand(number: u32) -> Option<u32> {
        (number < METADATA_MAX).then(|| number.wrapping_add(2).wrapping_neg())
    }

    /// Whether instructions have locations, skipped or not.
    #[must_use]
    pub fn has_locations(&self) -> bool {
        self.has_locations
    }

    /// Where instructions come from, in their order; those without an entry come from nowhere. Empty if they are skipped.
    #[must_use]
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }

    /// Number of the first value that is not the module's: the first argument.
    #[must_use]
    pub fn first_value(&self) -> u32 {
        self.first_value
    }

    /// How many arguments the function takes, without those behind `...`.
    #[must_use]
    pub fn argument_count(&self) -> u32 {
        self.arguments
    }

    /// Argument `n`.
    #[must_use]
    pub fn argument(&self, n: u32) -> ValueId {
        debug_assert!(n < self.arguments, "argument {n} of {}", self.arguments);
        ValueId(self.first_value + n)
    }

    /// One past the last value.
    #[must_use]
    pub fn value_count(&self) -> u32 {
        self.first_value + self.values.len() as u32
    }

    /// The type of `value`.
    #[must_use]
    pub fn type_of(&self, module: &Module, value: ValueId) -> TypeId {
        match value.0.checked_sub(self.first_value) {
            Some(own) => self.values[own as usize].ty,
            None => module.constant_type(ConstantId(value.0)),
        }
    }

    /// Whether `value` is a constant, of the module or of the body.
    #[must_use]
    pub fn is_constant(&self, value: ValueId) -> bool {
        value.0 < self.first_value || (self.first_constant()..self.first_result()).contains(&value.0)
    }

    /// The constant `value`; `None` for arguments and results. The [`ConstantId`]s inside are value numbers as well:
    /// those of the body's own constants are for this function only.
    #[must_use]
    pub fn constant<'a>(&'a self, module: &'a Module, value: ValueId) -> Option<Constant<'a>> {
        if value.0 < self.first_value {
            return Some(module.constant(ConstantId(value.0)));
        }
        self.is_constant(value).then(|| self.constants.get_local(&module.constants, ConstantId(value.0)))
    }

    /// The constant integer or pointer `value` of at most 64 bits, whose bits above its type's are zero; `None` for all
    /// else. Undefined ones are 0.
    #[inline]
    #[must_use]
    pub fn number(&self, module: &Module, value: ValueId) -> Option<u64> {
        if value.0 < self.first_value {
            module.constants.number(ConstantId(value.0), &module.classes)
        } else if self.is_constant(value) {
            self.constants.number(ConstantId(value.0), &module.classes)
        } else {
            None
        }
    }

    /// The same of what is written as an integer, without a look at its type: an index, for example.
    #[inline]
    #[must_use]
    pub fn index(&self, module: &Module, value: ValueId) -> Option<u64> {
        let constants = if value.0 < self.first_value { &module.constants } else { &self.constants };
        constants.index(ConstantId(value.0))
    }

    fn first_constant(&self) -> u32 {
        self.first_value + self.arguments
    }

    /// Number of the first value that an instruction makes.
    #[must_use]
    pub fn first_result(&self) -> u32 {
        self.first_constant() + self.constants.len() as u32
    }
}
