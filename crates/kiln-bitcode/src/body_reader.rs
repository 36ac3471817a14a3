//! The function block: from records to a [`Body`].
//!
//! One pass: a record becomes an instruction at once, with its operands turned into absolute value numbers. An operand
//! whose number is not given away yet is a forward reference; the type that its place demands is kept in a list and
//! compared at the end. Nothing is allocated per instruction, and a [`Body`] that is used again keeps all its memory.

use std::cell::Cell;

use kiln_abi::FunctionId;

use crate::bitstream::{Block, Budget, Entry, Record};
use crate::body::{Body, Location};
use crate::classes::Classes;
use crate::codes::BlockKind;
use crate::error::{Error, ErrorKind};
use crate::instructions::{DECLAREBLOCKS, OPERAND_BUNDLE};
use crate::module::Module;
use crate::packed::Draft;
use crate::types::{Type, TypeId};
use crate::usual::{Scope, read_block_count, read_usual};

pub(crate) const DEBUG_LOC_AGAIN: u32 = 33;
pub(crate) const DEBUG_LOC: u32 = 35;
const BLOCKADDR_USERS: u32 = 60;
const DEBUG_RECORD_VALUE: u32 = 61;
const DEBUG_RECORD_DECLARE_VALUE: u32 = 66;

/// Fields of a record, taken one after the other.
pub(crate) struct Fields<'f> {
    pub(crate) code: u32,
    values: &'f [u64],
    at: usize,
}

impl<'f> Fields<'f> {
    /// The next field, if there is one.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<u64> {
        let value = self.values.get(self.at).copied();
        self.at += 1;
        value
    }

    /// Those not taken yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'f [u64] {
        self.values.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn skip(&mut self, count: usize) {
        self.at += count;
    }
}

/// Reads the body of `function` into `body`; usual records apart if `usual` says so, which only makes it faster.
pub(crate) fn read_body(
    module: &Module,
    bytes: &[u8],
    function: FunctionId,
    body: &mut Body,
    usual: bool,
) -> Result<(), Error> {
    body.function = None;
    let Some(block) = module.function(function).body.and_then(|place| Block::body(bytes, module.origin, place)) else {
        return Err(Error::new(ErrorKind::NoBody { function: function.0 }, 0, BlockKind::FUNCTION));
    };
    let mut block = block?.with_abbrevs_of(BlockKind::FUNCTION, &module.block_info);
    let mut budget = Budget::for_input((block.size() / 8) as usize);
    let mut record = Record::with_buffer(std::mem::take(&mut body.fields));
    let mut reader = BodyReader::new(module, function, body, &block)?;
    reader.usual = usual;
    let outcome = reader.read(&mut block, &mut record, &mut budget);
    body.fields = record.into_buffer();
    outcome?;
    body.function = Some(function);
    Ok(())
}

pub(crate) struct BodyReader<'r> {
    pub(crate) module: &'r Module,
    pub(crate) classes: &'r Classes,
    pub(crate) body: &'r mut Body,
    scope: Scope<'r>,
    /// Whether usual records are read apart.
    usual: bool,
    /// Number of the first value of the function.
    pub(crate) first: u32,
    /// Number of the next value.
    pub(crate) next: u32,
    /// How many blocks are closed by a terminator.
    pub(crate) closed: u32,
    /// How many blocks there are.
    pub(crate) blocks: u32,
    pub(crate) void: TypeId,
    /// What the function returns.
    pub(crate) result: TypeId,
    /// First of the bundles that belong to the call to come.
    pub(crate) pending_bundles: u32,
    /// The pointer type that an `alloca` wanted last, and its address space.
    pub(crate) last_pointer: Option<(u32, TypeId)>,
    /// How many more elements of constants may be looked at.
    pub(crate) elements_left: Cell<u64>,
    pub(crate) elements_limit: u64,
}

/// A few instructions can name one long constant again and again: looking at its elements each time is bounded by this
/// many for each bit of the body, and a few more for those that are short. Real bodies need less than one.
const ELEMENTS_PER_BIT: u64 = 16;
const ELEMENTS_AT_LEAST: u64 = 1 << 16;

/// What an instruction is charged, with its operands and its result.
const BYTES_PER_INSTRUCTION: u64 = 64;

impl<'r> BodyReader<'r> {
    fn new(module: &'r Module, function: FunctionId, body: &'r mut Body, block: &Block<'_>) -> Result<Self, Error> {
        let Type::Function { result, parameters, .. } = module.ty(module.function(function).symbol.value_type) else {
            return Err(block.error(ErrorKind::TypeMismatch { what: "function of another type" }));
        };
        let Some(void) = module.classes.void else {
            return Err(block.error(ErrorKind::TypeMismatch { what: "code in a module without the type void" }));
        };
        let elements = block.size() * ELEMENTS_PER_BIT + ELEMENTS_AT_LEAST;
        let first = module.constants.len();
        let next = u32::try_from(first + parameters.len());
        let next = next.map_err(|_| block.error(ErrorKind::Limit { what: "values", limit: u64::from(u32::MAX) }))?;
        body.restart(void, first as u32, parameters);
        let scope = Scope {
            shapes: block.shapes_of(module.body_forms),
            types: module.types.all(),
            classes: &module.classes,
            constants: &module.constants,
            outer: module.constants.types(),
            attribute_lists: module.attributes.len() as u64,
            void,
            result: *result,
            pointer: module.classes.pointer(0).unwrap_or(void),
            alloca: module.classes.pointer(module.data_layout.alloca_address_space()),
        };
        Ok(Self {
            module,
            classes: &module.classes,
            body,
            scope,
            usual: true,
            first: first as u32,
            next,
            closed: 0,
            blocks: 0,
            void,
            result: *result,
            pending_bundles: 0,
            last_pointer: None,
            elements_left: Cell::new(elements),
            elements_limit: elements,
        })
    }

    fn read<'a>(&mut self, block: &mut Block<'a>, record: &mut Record<'a>, budget: &mut Budget) -> Result<(), Error> {
        loop {
            self.read_usual(block, budget)?;
            match block.next(budget)? {
                Entry::End => return self.finish(block),
                Entry::SubBlock(BlockKind::CONSTANTS) => self.read_constants(block, record, budget)?,
                // Symbol table, attachments, metadata and orders of uses: skipped by their length word.
                Entry::SubBlock(_) => block.skip_block()?,
                Entry::Record(abbrev) => {
                    block.read_record(abbrev, record, budget)?;
                    self.read_record(&mut Fields { code: record.code, values: record.values(), at: 0 }, block)?;
                }
            }
        }
    }

    /// Reads records as long as they are usual ones.
    #[inline]
    fn read_usual(&mut self, block: &mut Block<'_>, budget: &mut Budget) -> Result<(), Error> {
        if !self.usual {
            return Ok(());
        }
        if self.blocks == 0
            && let Some((count, place)) = read_block_count(&self.scope, block.ahead())
            && (1..=block.size()).contains(&count)
        {
            block.go_to(place)?;
            self.blocks = count as u32;
            self.body.blocks.push(0);
        }
        if self.closed >= self.blocks {
            return Ok(());
        }
        let before = self.body.len();
        let place = read_usual(self.body, &self.scope, self.blocks, self.pending_bundles, block.ahead());
        block.go_to(place)?;
        self.next = self.body.value_count();
        self.closed = self.body.blocks.len() as u32 - 1;
        let made = self.body.len() - before;
        block.charge(made as u64 * BYTES_PER_INSTRUCTION, budget)
    }

    /// Reads an instruction, for which there must be a block, by `read`, which must take all fields.
    #[inline]
    fn read_with(
        &mut self,
        read: impl FnOnce(&mut Self, &mut Fields<'_>, &Block<'_>) -> Result<(), Error>,
        fields: &mut Fields<'_>,
        block: &Block<'_>,
    ) -> Result<(), Error> {
        if self.closed >= self.blocks {
            return Err(block.error(ErrorKind::UnterminatedBlock { closed: self.closed, blocks: self.blocks }));
        }
        read(self, fields, block)?;
        if fields.at != fields.values.len() {
            let (code, len) = (fields.code, fields.values.len());
            return Err(block.error(ErrorKind::ShortRecord { code, len, needs: fields.at }));
        }
        Ok(())
    }

    fn read_record(&mut self, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<(), Error> {
        match fields.code {
            DEBUG_LOC => self.read_location(fields, block),
            DEBUG_LOC_AGAIN => self.repeat_location(block),
            DECLAREBLOCKS => {
                let count = self.need(fields, block)?;
                // Each has at least a terminator of two bits.
                if self.blocks != 0 || count == 0 || count > block.size() {
                    return Err(block.error(ErrorKind::BadValue { what: "number of basic blocks", value: count }));
                }
                self.blocks = count as u32;
                self.body.blocks.push(0);
                Ok(())
            }
            OPERAND_BUNDLE => self.read_bundle(fields, block),
            // Which functions take addresses of this one's blocks matters to who links modules.
            BLOCKADDR_USERS | DEBUG_RECORD_VALUE..=DEBUG_RECORD_DECLARE_VALUE => Ok(()),
            _ => self.read_with(Self::read_instruction, fields, block),
        }
    }

    fn read_constants<'a>(
        &mut self,
        block: &mut Block<'a>,
        record: &mut Record<'a>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        // The numbers of constants follow those of the arguments.
        if self.body.len() != 0 {
            return Err(block.error(ErrorKind::MisplacedBlock));
        }
        let mut inner = block.enter(BlockKind::CONSTANTS, &self.module.block_info)?;
        let before = self.body.constants.len();
        let shapes = inner.shapes_of(self.module.constant_forms);
        self.body.constants.read(&mut inner, &shapes, &self.module.types, record, budget)?;
        self.body.add_constants(before);
        self.next = self.body.value_count();
        Ok(())
    }

    fn finish(&mut self, block: &Block<'_>) -> Result<(), Error> {
        if self.closed != self.blocks || self.blocks == 0 {
            return Err(block.error(ErrorKind::UnterminatedBlock { closed: self.closed, blocks: self.blocks }));
        }
        if self.pending_bundles as usize != self.body.bundles.len() {
            return Err(block.error(ErrorKind::TypeMismatch { what: "operand bundle without a call" }));
        }
        self.body.constants.check_local(&self.module.constants, &self.module.types, block)?;
        for (value, ty) in &self.body.forward {
            if *value >= self.next {
                let (index, count) = (u64::from(*value), u64::from(self.next));
                return Err(block.error(ErrorKind::BadReference { what: "value", index, count }));
            }
            if self.type_of(*value) != *ty {
                return Err(block.error(ErrorKind::TypeMismatch { what: "operand that is defined later" }));
            }
        }
        self.body.finish_counts();
        Ok(())
    }

    /// The next field, which must be there.
    #[inline(always)]
    pub(crate) fn need(&self, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<u64, Error> {
        match fields.take() {
            Some(value) => Ok(value),
            None => {
                let (code, len) = (fields.code, fields.values.len());
                Err(block.error(ErrorKind::ShortRecord { code, len, needs: fields.at }))
            }
        }
    }

    /// The type of a value that exists already.
    #[inline(always)]
    pub(crate) fn type_of(&self, value: u32) -> TypeId {
        match self.body.own_type(value) {
            Some(ty) => ty,
            None => self.scope.outer[value as usize],
        }
    }

    /// Notes that `value` is used where only type `ty` will do.
    #[inline(always)]
    pub(crate) fn expect_type(&mut self, value: u32, ty: TypeId, block: &Block<'_>) -> Result<(), Error> {
        if value >= self.next {
            self.expect_later(value, ty);
            return Ok(());
        }
        if self.type_of(value) != ty {
            return Err(block.error(ErrorKind::TypeMismatch { what: "operand of an instruction" }));
        }
        Ok(())
    }

    #[cold]
    fn expect_later(&mut self, value: u32, ty: TypeId) {
        self.body.forward.push((value, ty));
    }

    /// The next field as a value of type `ty`, counted back from the next value to be defined.
    #[inline(always)]
    pub(crate) fn value(&mut self, ty: TypeId, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<u32, Error> {
        let value = self.next.wrapping_sub(self.need(fields, block)? as u32);
        self.expect_type(value, ty, block)?;
        Ok(value)
    }

    /// The next field as a value of any type. A field with the type follows if the value is defined later.
    #[inline(always)]
    pub(crate) fn typed(&mut self, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<(u32, TypeId), Error> {
        let value = self.next.wrapping_sub(self.need(fields, block)? as u32);
        if value < self.next { Ok((value, self.type_of(value))) } else { self.typed_later(value, fields, block) }
    }

    #[cold]
    fn typed_later(&mut self, value: u32, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<(u32, TypeId), Error> {
        let ty = self.ty(fields, block)?;
        // What is no value of the function can only be metadata.
        if self.classes.class(ty) != crate::classes::Class::Metadata {
            self.body.forward.push((value, ty));
        }
        Ok((value, ty))
    }

    /// The next field as a type.
    #[inline(always)]
    pub(crate) fn ty(&self, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<TypeId, Error> {
        self.module.types.get(self.need(fields, block)?, block)
    }

    /// Adds an instruction whose operands are those pushed since `first`.
    #[inline]
    pub(crate) fn push(&mut self, draft: Draft, first: usize) {
        self.body.push_any(draft, first);
        self.next = self.body.value_count();
    }

    /// `[line, column, scope, inlined at, is implicit, atom group, atom rank]`
    fn read_location(&mut self, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<(), Error> {
        let (line, column) = (self.need(fields, block)?, self.need(fields, block)?);
        let (scope, inlined_at) = (self.need(fields, block)?, self.need(fields, block)?);
        self.locate([line, column, scope, inlined_at], block)
    }

    /// Gives the last instruction a location.
    #[inline]
    fn locate(&mut self, fields: [u64; 4], block: &Block<'_>) -> Result<(), Error> {
        let [line, column, scope, inlined_at] = fields.map(|value| value.min(u64::from(u32::MAX)) as u32);
        self.push_location(Location { instruction: 0, line, column, scope, inlined_at }, block)
    }

    fn repeat_location(&mut self, block: &Block<'_>) -> Result<(), Error> {
        self.body.repeat_location().ok_or_else(|| block.error(ErrorKind::MisplacedLocation))
    }

    #[inline]
    fn push_location(&mut self, location: Location, block: &Block<'_>) -> Result<(), Error> {
        self.body.push_location(location).ok_or_else(|| block.error(ErrorKind::MisplacedLocation))
    }

    /// `[tag, (value, type?)…]`
    fn read_bundle(&mut self, fields: &mut Fields<'_>, block: &Block<'_>) -> Result<(), Error> {
        let tag = self.need(fields, block)?;
        let count = self.module.bundle_tags.len() as u64;
        if tag >= count {
            return Err(block.error(ErrorKind::BadReference { what: "operand bundle tag", index: tag, count }));
        }
        let first = self.body.operands.len();
        while !fields.rest().is_empty() {
            self.push_any(fields, block)?;
        }
        let operands = (self.body.operands.len() - first) as u32;
        self.body.bundles.push((tag as u32, first as u32, operands));
        Ok(())
    }
}
