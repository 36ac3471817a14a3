//! Blocks, abbreviations and records: the container format below LLVM's meaning of it.
//!
//! Memory and time stay proportional to the input whatever it says: blocks are entered by their length word and their
//! content cannot reach beyond it; counts are checked against the bits that are left before anything is allocated;
//! zero-width fields cannot be repeated; and every record is charged to a [`Budget`], because abbreviations made of
//! literals produce values from no bits at all. <https://llvm.org/docs/BitCodeFormat.html>

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::ahead::Stretch;
use crate::codes::BlockKind;
use crate::cursor::{Cursor, SYMBOL_FIELDS};
use crate::error::{Error, ErrorKind};
use crate::shape::{Forms, Shape, Shapes};

const END_BLOCK: u32 = 0;
const ENTER_SUBBLOCK: u32 = 1;
const DEFINE_ABBREV: u32 = 2;
pub(crate) const UNABBREV_RECORD: u32 = 3;
const FIRST_APPLICATION_ABBREV: u32 = 4;

/// LLVM's own limit for fixed and variable-width fields (`BitstreamCursor::MaxChunkSize`).
const MAX_FIELD_WIDTH: u64 = 32;
/// LLVM's longest abbreviation (for debug-info nodes) has some twenty operands.
const MAX_ABBREV_OPERANDS: u64 = 256;

const CHAR6: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";

/// How much memory tables read from one input may take.
pub(crate) struct Budget {
    left: u64,
    limit: u64,
}

impl Budget {
    /// The budget for `len` bytes of input. Real modules stay below twice their size.
    pub(crate) fn for_input(len: usize) -> Self {
        let limit = (len as u64).saturating_mul(32).saturating_add(1 << 20);
        Self { left: limit, limit }
    }

    #[inline]
    fn charge(&mut self, bytes: u64, at: &Cursor<'_>) -> Result<(), Error> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(at.error(ErrorKind::Limit { what: "bytes of decoded tables", limit: self.limit })),
        }
    }

    /// Counts are bounded by bits of the input, far below where this could overflow.
    #[inline]
    fn charge_record(&mut self, values: u64, at: &Cursor<'_>) -> Result<(), Error> {
        self.charge(values * 8 + 48, at)
    }
}

/// A field that takes bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Fixed(u32),
    Vbr(u32),
    Char6,
}

impl Field {
    #[inline]
    fn read(self, cursor: &mut Cursor<'_>) -> Result<u64, Error> {
        match self {
            Field::Fixed(width) => cursor.fixed(width),
            Field::Vbr(width) => cursor.vbr(width),
            Field::Char6 => Ok(u64::from(CHAR6[cursor.fixed(6)? as usize])),
        }
    }

    fn min_bits(self) -> u64 {
        match self {
            Field::Fixed(width) | Field::Vbr(width) => u64::from(width),
            Field::Char6 => 6,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Literal(u64),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tail {
    None,
    Array(Field),
    Blob,
}

/// The form of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Abbrev {
    code: Operand,
    operands: Box<[Operand]>,
    tail: Tail,
    shape: Shape,
}

impl Abbrev {
    /// Reads the definition that follows a DEFINE_ABBREV id.
    fn read(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Self, Error> {
        let bad = |cursor: &Cursor<'_>, what| Err(cursor.error(ErrorKind::BadAbbreviation { what }));
        let count = cursor.vbr(5)?;
        if count == 0 {
            return bad(cursor, "no operands");
        }
        if count > MAX_ABBREV_OPERANDS {
            return Err(
                cursor.error(ErrorKind::Limit { what: "operands of an abbreviation", limit: MAX_ABBREV_OPERANDS })
            );
        }
        budget.charge(64 + 16 * count, cursor)?;
        let mut operands = Vec::with_capacity(count as usize);
        let mut tail = Tail::None;
        let mut left = count;
        while left > 0 {
            left -= 1;
            if cursor.fixed(1)? == 1 {
                operands.push(Operand::Literal(cursor.vbr(8)?));
                continue;
            }
            match cursor.fixed(3)? {
                encoding @ (1 | 2) => operands.push(Self::read_field(cursor, encoding)?),
                3 => {
                    if left != 1 {
                        return bad(cursor, "an array is not the last but one operand");
                    }
                    left -= 1;
                    if cursor.fixed(1)? == 1 {
                        return bad(cursor, "array of a literal");
                    }
                    let element = match cursor.fixed(3)? {
                        encoding @ (1 | 2) => Self::read_field(cursor, encoding)?,
                        4 => Operand::Field(Field::Char6),
                        _ => return bad(cursor, "array of arrays or blobs"),
                    };
                    // An element without bits could be repeated without end.
                    let Operand::Field(element) = element else { return bad(cursor, "array of zero-width fields") };
                    tail = Tail::Array(element);
                }
                4 => operands.push(Operand::Field(Field::Char6)),
                5 => {
                    if left != 0 {
                        return bad(cursor, "a blob is not the last operand");
                    }
                    tail = Tail::Blob;
                }
                _ => return bad(cursor, "unknown encoding"),
            }
        }
        if operands.is_empty() {
            return bad(cursor, "no record code");
        }
        let code = operands.remove(0);
        let shape = Shape::of(code, &operands, tail);
        Ok(Self { code, operands: operands.into(), tail, shape })
    }

    #[inline]
    fn read_record<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        record: &mut Record<'a>,
        budget: &mut Budget,
    ) -> Result<u64, Error> {
        budget.charge_record(self.operands.len() as u64, cursor)?;
        let code = match self.code {
            Operand::Literal(code) => code,
            Operand::Field(field) => field.read(cursor)?,
        };
        for (slot, operand) in record.start(self.operands.len()).iter_mut().zip(&self.operands) {
            *slot = match operand {
                Operand::Literal(value) => *value,
                Operand::Field(field) => field.read(cursor)?,
            };
        }
        match self.tail {
            Tail::None => {}
            Tail::Array(field) => read_array(cursor, field, record, budget)?,
            Tail::Blob => record.blob = read_blob(cursor, budget)?,
        }
        Ok(code)
    }

    fn read_field(cursor: &mut Cursor<'_>, encoding: u64) -> Result<Operand, Error> {
        let width = cursor.vbr(5)?;
        if width > MAX_FIELD_WIDTH {
            return Err(cursor.error(ErrorKind::BadAbbreviation { what: "field wider than 32 bits" }));
        }
        Ok(match (width, encoding) {
            // LLVM writes these for "always zero", see BitstreamCursor::ReadAbbrevRecord.
            (0, _) => Operand::Literal(0),
            (_, 1) => Operand::Field(Field::Fixed(width as u32)),
            _ => Operand::Field(Field::Vbr(width as u32)),
        })
    }
}

fn read_array<'a>(
    cursor: &mut Cursor<'a>,
    field: Field,
    record: &mut Record<'a>,
    budget: &mut Budget,
) -> Result<(), Error> {
    let count = cursor.vbr(6)?;
    if count > cursor.remaining() / field.min_bits() {
        return Err(cursor.error(ErrorKind::Truncated));
    }
    budget.charge_record(count, cursor)?;
    let slots = record.extend(count as usize);
    match field {
        // Those that occur in long arrays get loops of their own.
        Field::Vbr(6) => cursor.vbr6_array(slots),
        Field::Fixed(width) => slots.iter_mut().try_for_each(|slot| cursor.fixed(width).map(|v| *slot = v)),
        _ => slots.iter_mut().try_for_each(|slot| field.read(cursor).map(|v| *slot = v)),
    }
}

fn read_blob<'a>(cursor: &mut Cursor<'a>, budget: &mut Budget) -> Result<&'a [u8], Error> {
    let len = cursor.vbr(6)?;
    cursor.align32()?;
    budget.charge(48, cursor)?;
    let blob = cursor.byte_slice(len)?;
    cursor.align32()?;
    Ok(blob)
}

/// The abbreviation `id` of a block: those from its BLOCKINFO come first.
#[inline]
fn find_abbrev<'b>(shared: Option<&'b Vec<Abbrev>>, local: &'b [Abbrev], id: u32) -> Option<&'b Abbrev> {
    let index = (id - FIRST_APPLICATION_ABBREV) as usize;
    let shared = shared.map_or(&[][..], Vec::as_slice);
    match shared.get(index) {
        Some(abbrev) => Some(abbrev),
        None => local.get(index - shared.len()),
    }
}

/// Those that blocks have from the start; most have none.
type Abbrevs = Option<Arc<Vec<Abbrev>>>;

/// Abbreviations that a BLOCKINFO block defines for blocks to come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BlockInfo {
    blocks: BTreeMap<u32, Abbrevs>,
}

impl BlockInfo {
    fn abbrevs(&self, block: u32) -> Abbrevs {
        self.blocks.get(&block).cloned().flatten()
    }

    fn add(&mut self, block: u32, abbrev: Abbrev) {
        Arc::make_mut(self.blocks.entry(block).or_default().get_or_insert_default()).push(abbrev);
    }

    /// The forms of records in blocks of `kind`.
    pub(crate) fn forms(&self, kind: BlockKind) -> Forms {
        let abbrevs = self.blocks.get(&kind.0).and_then(Option::as_deref);
        Forms::new(abbrevs.into_iter().flatten().map(|abbrev| abbrev.shape))
    }

    /// Reads a BLOCKINFO block.
    pub(crate) fn read(&mut self, mut block: Block<'_>, budget: &mut Budget) -> Result<(), Error> {
        const SETBID: u32 = 1;
        let mut target = None;
        let mut record = Record::default();
        loop {
            match block.next_raw(budget)? {
                Raw::End => return Ok(()),
                Raw::SubBlock(_) => block.skip_block()?,
                Raw::Define(abbrev) => match target {
                    Some(id) => self.add(id, abbrev),
                    None => return Err(block.error(ErrorKind::BadAbbreviation { what: "no block selected" })),
                },
                Raw::Record(abbrev) => {
                    block.read_record(abbrev, &mut record, budget)?;
                    if record.code == SETBID {
                        let id = record.require(1, &block)?[0];
                        let id = u32::try_from(id).ok().filter(|id| *id < 1 << 16);
                        let Some(id) = id else {
                            return Err(
                                block.error(ErrorKind::BadValue { what: "block id", value: record.values()[0] })
                            );
                        };
                        target = Some(id);
                    }
                }
            }
        }
    }
}

/// One record: its code and its fields.
#[derive(Default)]
pub(crate) struct Record<'a> {
    pub(crate) code: u32,
    /// The fields are the first `len`; what follows is left from longer records.
    buffer: Vec<u64>,
    len: usize,
    pub(crate) blob: &'a [u8],
}

impl Record<'_> {
    /// A record that keeps its fields in `buffer`.
    pub(crate) fn with_buffer(buffer: Vec<u64>) -> Self {
        Self { buffer, ..Self::default() }
    }

    pub(crate) fn into_buffer(self) -> Vec<u64> {
        self.buffer
    }

    /// The fields.
    #[inline]
    pub(crate) fn values(&self) -> &[u64] {
        &self.buffer[..self.len]
    }

    /// Room for `len` fields instead of those it had.
    #[inline]
    fn start(&mut self, len: usize) -> &mut [u64] {
        self.len = 0;
        self.extend(len)
    }

    /// Room for `more` fields behind those it has.
    #[inline]
    fn extend(&mut self, more: usize) -> &mut [u64] {
        let before = self.len;
        self.len += more;
        if self.buffer.len() < self.len {
            self.grow();
        }
        &mut self.buffer[before..self.len]
    }

    #[cold]
    fn grow(&mut self) {
        self.buffer.resize(self.len.max(16), 0);
    }

    /// The fields, of which there must be at least `needs`.
    pub(crate) fn require(&self, needs: usize, block: &Block<'_>) -> Result<&[u64], Error> {
        if self.len < needs {
            let kind = ErrorKind::ShortRecord { code: self.code, len: self.len, needs };
            return Err(block.error(kind));
        }
        Ok(self.values())
    }

    /// The fields as bytes of a string.
    pub(crate) fn text(&self, block: &Block<'_>) -> Result<Vec<u8>, Error> {
        bytes_of(self.values(), block)
    }
}

/// Fields that hold one character each, as bytes.
pub(crate) fn bytes_of(values: &[u64], block: &Block<'_>) -> Result<Vec<u8>, Error> {
    // LLVM's writer extends the sign of characters in attributes.
    if let Some(value) = values.iter().find(|value| !(-128..=255).contains(&(**value as i64))) {
        return Err(block.error(ErrorKind::BadValue { what: "character", value: *value }));
    }
    Ok(values.iter().map(|value| *value as u8).collect())
}

/// What comes next in a block; definitions of abbreviations are already dealt with.
pub(crate) enum Entry {
    End,
    /// A block begins: [`Block::enter`] or [`Block::skip_block`] it.
    SubBlock(BlockKind),
    /// A record with this abbreviation id begins: [`Block::read_record`].
    Record(u32),
}

enum Raw {
    End,
    SubBlock(u32),
    Define(Abbrev),
    Record(u32),
}

/// Reader of one block's content.
#[derive(Clone)]
pub(crate) struct Block<'a> {
    cursor: Cursor<'a>,
    abbrev_width: u32,
    shared: Abbrevs,
    local: Vec<Abbrev>,
}

impl<'a> Block<'a> {
    /// The outermost level of a file: blocks only, abbreviation ids of two bits.
    pub(crate) fn file(cursor: Cursor<'a>) -> Self {
        Self { cursor, abbrev_width: 2, shared: None, local: Vec::new() }
    }

    /// The content of the function block at `place` of `bytes`; `None` if those are too short.
    pub(crate) fn body(bytes: &'a [u8], origin: Origin, place: BlockPlace) -> Option<Result<Self, Error>> {
        if place.abbrev_width != 0 {
            return Self::located(bytes, origin, place, BlockKind::FUNCTION).map(Ok);
        }
        let mut cursor = Cursor::new(bytes.get(origin.base..)?, origin.base);
        cursor.seek(u64::from(place.length.get()) - 1).ok()?;
        let file = Self { cursor, abbrev_width: origin.abbrev_width, shared: None, local: Vec::new() };
        Some(file.into_body())
    }

    /// The content of the block of `kind` at `place` of `bytes`, which [`Block::skip_located`] found.
    pub(crate) fn located(bytes: &'a [u8], origin: Origin, place: BlockPlace, kind: BlockKind) -> Option<Self> {
        let mut cursor = Cursor::new(bytes.get(origin.base..)?, origin.base);
        cursor.seek(u64::from(place.length.get())).ok()?;
        let words = cursor.fixed(32).ok()?;
        let cursor = cursor.inside(words * 32, kind).ok()?;
        Some(Self { cursor, abbrev_width: u32::from(place.abbrev_width), shared: None, local: Vec::new() })
    }

    /// The content of the function block that starts here.
    fn into_body(mut self) -> Result<Self, Error> {
        let id = self.cursor.fixed(self.abbrev_width)?;
        if id != u64::from(ENTER_SUBBLOCK) || self.cursor.vbr(8)? != u64::from(BlockKind::FUNCTION.0) {
            return Err(self.error(ErrorKind::MisplacedBlock));
        }
        self.enter(BlockKind::FUNCTION, &BlockInfo::default())
    }

    /// The same with the abbreviations that `info` has for blocks of `kind`.
    pub(crate) fn with_abbrevs_of(self, kind: BlockKind, info: &BlockInfo) -> Self {
        Self { shared: info.abbrevs(kind.0), ..self }
    }

    /// The same as a reader whose copies share all abbreviations that it knows.
    pub(crate) fn with_shared_abbrevs(mut self) -> Self {
        if !self.local.is_empty() {
            Arc::make_mut(self.shared.get_or_insert_default()).append(&mut self.local);
        }
        self
    }

    /// Bits that the id of a record takes.
    pub(crate) fn id_bits(&self) -> u32 {
        self.abbrev_width
    }

    /// Bits from here to the end of the block.
    pub(crate) fn size(&self) -> u64 {
        self.cursor.remaining()
    }

    #[cold]
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        self.cursor.error(kind)
    }

    /// Charges records with `values` fields in all.
    pub(crate) fn charge_records(&self, count: u64, values: u64, budget: &mut Budget) -> Result<(), Error> {
        budget.charge(values * 8 + count * 48, &self.cursor)
    }

    /// Charges what a record turns into, where that is much more than its fields.
    pub(crate) fn charge(&self, bytes: u64, budget: &mut Budget) -> Result<(), Error> {
        budget.charge(bytes, &self.cursor)
    }

    pub(crate) fn cursor(&self) -> &Cursor<'a> {
        &self.cursor
    }

    /// Goes on at another place of the stream, in this block and not before where it stands.
    pub(crate) fn seek(&mut self, word: u64) -> Result<(), Error> {
        self.cursor.seek(word)
    }

    /// Goes back to `cursor`, which was this block's.
    pub(crate) fn restore(&mut self, cursor: Cursor<'a>) {
        self.cursor = cursor;
    }

    /// What places of bodies in this block, a module, are counted from.
    pub(crate) fn origin(&self) -> Origin {
        Origin { base: self.cursor.base(), abbrev_width: self.abbrev_width }
    }

    /// What comes next.
    #[inline]
    pub(crate) fn next(&mut self, budget: &mut Budget) -> Result<Entry, Error> {
        let id = self.cursor.fixed(self.abbrev_width)? as u32;
        if id >= UNABBREV_RECORD { Ok(Entry::Record(id)) } else { self.next_other(id, budget) }
    }

    fn next_other(&mut self, mut id: u32, budget: &mut Budget) -> Result<Entry, Error> {
        loop {
            match self.raw(id, budget)? {
                Raw::End => return Ok(Entry::End),
                Raw::SubBlock(id) => return Ok(Entry::SubBlock(BlockKind(id))),
                Raw::Define(abbrev) => self.local.push(abbrev),
                Raw::Record(id) => return Ok(Entry::Record(id)),
            }
            id = self.cursor.fixed(self.abbrev_width)? as u32;
        }
    }

    fn next_raw(&mut self, budget: &mut Budget) -> Result<Raw, Error> {
        let id = self.cursor.fixed(self.abbrev_width)? as u32;
        self.raw(id, budget)
    }

    /// What the abbreviation id `id` stands for.
    fn raw(&mut self, id: u32, budget: &mut Budget) -> Result<Raw, Error> {
        match id {
            END_BLOCK => {
                self.cursor.align32()?;
                if self.cursor.remaining() != 0 {
                    return Err(self.error(ErrorKind::BadBlockLength));
                }
                Ok(Raw::End)
            }
            ENTER_SUBBLOCK => match u32::try_from(self.cursor.vbr(8)?) {
                Ok(id) => Ok(Raw::SubBlock(id)),
                Err(_) => Err(self.error(ErrorKind::BadValue { what: "block id", value: u64::MAX })),
            },
            DEFINE_ABBREV => Ok(Raw::Define(Abbrev::read(&mut self.cursor, budget)?)),
            id => Ok(Raw::Record(id)),
        }
    }

    /// Enters the block that [`Entry::SubBlock`] announced. This reader goes on behind it.
    pub(crate) fn enter(&mut self, kind: BlockKind, info: &BlockInfo) -> Result<Block<'a>, Error> {
        let (cursor, abbrev_width) = self.block_header(kind)?;
        Ok(Block { cursor, abbrev_width, shared: info.abbrevs(kind.0), local: Vec::new() })
    }

    /// Skips the block that [`Entry::SubBlock`] announced.
    pub(crate) fn skip_block(&mut self) -> Result<(), Error> {
        self.block_header(BlockKind::FILE).map(|_| ())
    }

    /// The same, and says where it lies.
    pub(crate) fn skip_located(&mut self, kind: BlockKind) -> Result<BlockPlace, Error> {
        let (cursor, abbrev_width) = self.block_header(kind)?;
        let place = BlockPlace::new(cursor.word() - 1, abbrev_width as u8);
        place.ok_or_else(|| self.error(ErrorKind::Limit { what: "words of a file", limit: u64::from(u32::MAX) }))
    }

    fn block_header(&mut self, kind: BlockKind) -> Result<(Cursor<'a>, u32), Error> {
        let width = self.cursor.vbr(4)?;
        if !(2..=MAX_FIELD_WIDTH).contains(&width) {
            return Err(self.error(ErrorKind::BadValue { what: "width of abbreviation ids", value: width }));
        }
        self.cursor.align32()?;
        let words = self.cursor.fixed(32)?;
        let inside = self.cursor.inside(words * 32, kind)?;
        self.cursor.skip(words * 32)?;
        Ok((inside, width as u32))
    }

    #[inline]
    fn abbrev(&self, id: u32) -> Option<&Abbrev> {
        find_abbrev(self.shared.as_deref(), &self.local, id)
    }

    /// Reads the record with abbreviation `id`, replacing what `record` held.
    #[inline]
    pub(crate) fn read_record(&mut self, id: u32, record: &mut Record<'a>, budget: &mut Budget) -> Result<(), Error> {
        record.blob = &[];
        let cursor = &mut self.cursor;
        let code = if id == UNABBREV_RECORD {
            let code = cursor.vbr6()?;
            record.len = 0;
            read_array(cursor, Field::Vbr(6), record, budget)?;
            code
        } else {
            let abbrev = find_abbrev(self.shared.as_deref(), &self.local, id);
            let abbrev = abbrev.ok_or_else(|| cursor.error(ErrorKind::UndefinedAbbreviation { id }))?;
            abbrev.read_record(cursor, record, budget)?
        };
        record.code =
            u32::try_from(code).map_err(|_| self.error(ErrorKind::BadValue { what: "record code", value: code }))?;
        Ok(())
    }

    /// Takes the record of a function or a global that [`Entry::Record`] announced as unabbreviated, if it has the usual
    /// form, and returns its code and length.
    #[inline]
    pub(crate) fn symbol_record(
        &mut self,
        fields: &mut [u64; SYMBOL_FIELDS],
        budget: &mut Budget,
    ) -> Result<Option<(u32, usize)>, Error> {
        let found = self.cursor.symbol_record(fields);
        if let Some((_, len)) = found {
            budget.charge_record(len as u64, &self.cursor)?;
        }
        Ok(found)
    }

    /// The bits from here on.
    pub(crate) fn ahead(&self) -> Stretch<'a> {
        self.cursor.ahead()
    }

    /// Advances to `place`, where an [`Ahead`](crate::ahead::Ahead) of it stood.
    pub(crate) fn go_to(&mut self, place: u64) -> Result<(), Error> {
        self.cursor.go_to(place)
    }

    /// The forms of the block's records, as far as a BLOCKINFO defines them.
    pub(crate) fn shapes(&self) -> Shapes {
        let shared = self.shared.as_deref().into_iter().flatten();
        self.shapes_of(Forms::new(shared.map(|abbrev| abbrev.shape)))
    }

    /// The same where they are known for blocks of this kind.
    pub(crate) fn shapes_of(&self, forms: Forms) -> Shapes {
        Shapes::new(self.abbrev_width, forms)
    }

    /// Whether abbreviation `id` is the literal record code `code` followed by two numbers in chunks of 8 bits.
    pub(crate) fn is_pair(&self, id: u32, code: u32) -> bool {
        const NUMBER: Operand = Operand::Field(Field::Vbr(8));
        let abbrev = if id < FIRST_APPLICATION_ABBREV { None } else { self.abbrev(id) };
        abbrev.is_some_and(|abbrev| {
            let literal = abbrev.code == Operand::Literal(u64::from(code));
            literal && *abbrev.operands == [NUMBER, NUMBER] && matches!(abbrev.tail, Tail::None)
        })
    }

    /// The fields of the next record, if its abbreviation is `id`, for which [`Block::is_pair`], and they are not large.
    #[inline(always)]
    pub(crate) fn next_pair(&mut self, id: u32) -> Option<[u64; 2]> {
        let mut look = self.cursor.look();
        let next = look.fixed(self.abbrev_width) as u32;
        let pair = [look.octets(), look.octets()];
        (next == id && self.cursor.accept(look)).then_some(pair)
    }

    /// Bytes up to the end of the block, rounded down.
    pub(crate) fn remaining_bytes(&self) -> usize {
        (self.cursor.remaining() / 8) as usize
    }

    /// If abbreviation `id` is a literal record code followed by an array of characters, the code and the field.
    pub(crate) fn text_abbrev(&self, id: u32) -> Option<(u32, Field)> {
        if id < FIRST_APPLICATION_ABBREV {
            return None;
        }
        let abbrev = self.abbrev(id)?;
        match (abbrev.code, &*abbrev.operands, abbrev.tail) {
            (Operand::Literal(code), [], Tail::Array(field @ (Field::Fixed(1..=8) | Field::Char6))) => {
                Some((u32::try_from(code).ok()?, field))
            }
            _ => None,
        }
    }

    /// Appends the characters of a record whose abbreviation [`Block::text_abbrev`] recognised to `out`.
    pub(crate) fn read_text(&mut self, field: Field, out: &mut Vec<u8>, budget: &mut Budget) -> Result<(), Error> {
        let count = self.cursor.vbr(6)?;
        budget.charge(count + 48, &self.cursor)?;
        self.read_characters(field, count, out)
    }

    /// Appends the next `count` characters, whose fields are `field`, to `out`.
    #[inline]
    pub(crate) fn read_characters(&mut self, field: Field, count: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        let width = field.min_bits() as u32;
        if count.checked_mul(u64::from(width)).is_none_or(|bits| bits > self.cursor.remaining()) {
            return Err(self.error(ErrorKind::Truncated));
        }
        let start = out.len();
        match field {
            Field::Fixed(8) => self.cursor.octets(count as usize, out),
            Field::Fixed(7) => self.cursor.eights(7, count as usize, out, spread7),
            Field::Char6 => self.cursor.eights(6, count as usize, out, |word| {
                std::array::from_fn(|n| CHAR6[(word >> (6 * n) & 0x3f) as usize])
            }),
            _ => {
                for _ in 0..count {
                    out.push(self.cursor.fixed(width)? as u8);
                }
                return Ok(());
            }
        }
        debug_assert_eq!((out.len() - start) as u64, count);
        self.cursor.skip(count * u64::from(width))
    }
}

/// Eight characters of seven bits each, as bytes.
fn spread7(word: u64) -> [u8; 8] {
    let halves = word & 0xfff_ffff | word << 4 & 0xfff_ffff_0000_0000;
    let quarters = halves & 0x3fff_0000_3fff | halves << 2 & 0x3fff_0000_3fff_0000;
    let eighths = quarters & 0x7f_007f_007f_007f | quarters << 1 & 0x7f00_7f00_7f00_7f00;
    eighths.to_le_bytes()
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    /// The word of the stream that holds the block's length: the last one of its header.
    length: NonZeroU32,
    /// Width of the block's abbreviation ids; 0 where only an index named the place, and nobody has looked there.
    abbrev_width: u8,
}

impl BlockPlace {
    fn new(length: u64, abbrev_width: u8) -> Option<Self> {
        let length = u32::try_from(length).ok().and_then(NonZeroU32::new)?;
        Some(Self { length, abbrev_width })
    }

    /// A function block whose header starts at `word`, aligned.
    pub(crate) fn at(word: u64) -> Option<Self> {
        Self::new(word.checked_add(1)?, 0)
    }
}

/// What places in a module are counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// Where the stream starts in the input, in bytes.
    base: usize,
    /// Width of the abbreviation ids of the module.
    abbrev_width: u32,
}
