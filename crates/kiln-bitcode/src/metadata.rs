//! Nodes of metadata, found in one look through their block and decoded when somebody wants one.

use crate::bitstream::{Block, Budget, Entry, Record};
use crate::cursor::Cursor;
use crate::error::{Error, ErrorKind};

/// Records that define nothing that has a number.
const UNNUMBERED: [u32; 7] = [NAME, KIND, NAMED_NODE, STRINGS, GLOBAL_DECL_ATTACHMENT, INDEX_OFFSET, INDEX];
const NAME: u32 = 4;
const KIND: u32 = 6;
const NAMED_NODE: u32 = 10;
const STRINGS: u32 = 35;
const GLOBAL_DECL_ATTACHMENT: u32 = 36;
const INDEX_OFFSET: u32 = 38;
const INDEX: u32 = 39;

/// What one metadata block defines: strings first, then nodes, numbered on from `first`.
#[derive(Clone)]
pub(crate) struct Nodes<'a> {
    first: u32,
    strings: Vec<&'a [u8]>,
    /// The block as it begins, with all abbreviations.
    block: Block<'a>,
    begin: Cursor<'a>,
    /// Bits from there to each node.
    places: Vec<u64>,
}

impl<'a> Nodes<'a> {
    /// Looks through `block`, which goes on in the numbers of others from `first`.
    pub(crate) fn find(mut block: Block<'a>, first: u32) -> Result<Self, Error> {
        let begin = *block.cursor();
        let mut budget = Budget::for_input((block.size() / 8) as usize);
        let (mut strings, mut places) = (Vec::new(), Vec::new());
        let mut record = Record::default();
        loop {
            match block.next(&mut budget)? {
                Entry::End => break,
                Entry::SubBlock(_) => block.skip_block()?,
                Entry::Record(abbrev) => {
                    let place = block.cursor().bit() - u64::from(block.id_bits()) - begin.bit();
                    block.read_record(abbrev, &mut record, &mut budget)?;
                    match record.code {
                        STRINGS if places.is_empty() && strings.is_empty() => strings = read_strings(&record, &block)?,
                        STRINGS => return Err(block.error(ErrorKind::MisplacedBlock)),
                        code if UNNUMBERED.contains(&code) => {}
                        _ => places.push(place),
                    }
                }
            }
        }
        Ok(Self { first, strings, block: block.with_shared_abbrevs(), begin, places })
    }

    /// One past its last number.
    pub(crate) fn end(&self) -> u32 {
        self.first.saturating_add((self.strings.len() + self.places.len()) as u32)
    }

    /// The string `id`, if it is one of this block's.
    pub(crate) fn string(&self, id: u32) -> Option<&'a [u8]> {
        self.strings.get(id.checked_sub(self.first)? as usize).copied()
    }

    /// Reads node `id` into `record`; `false` if it is none of this block's.
    pub(crate) fn read(&self, id: u32, record: &mut Record<'a>) -> Result<bool, Error> {
        let index = id.checked_sub(self.first).and_then(|index| (index as usize).checked_sub(self.strings.len()));
        let Some(place) = index.and_then(|index| self.places.get(index)) else { return Ok(false) };
        let (mut block, mut cursor) = (self.block.clone(), self.begin);
        cursor.skip(*place)?;
        block.restore(cursor);
        // As much as one record can take.
        let mut budget = Budget::for_input((block.size() / 8) as usize);
        if let Entry::Record(abbrev) = block.next(&mut budget)? {
            block.read_record(abbrev, record, &mut budget)?;
        }
        Ok(true)
    }
}

/// `[count, offset of the characters]`, and a blob: lengths in chunks of 6 bits, then all characters.
fn read_strings<'a>(record: &Record<'a>, block: &Block<'a>) -> Result<Vec<&'a [u8]>, Error> {
    let fields = record.require(2, block)?;
    let (count, offset) = (fields[0], fields[1]);
    let truncated = || block.error(ErrorKind::Truncated);
    let (lengths, mut rest) =
        usize::try_from(offset).ok().and_then(|at| record.blob.split_at_checked(at)).ok_or_else(truncated)?;
    if count > lengths.len() as u64 * 8 / 6 {
        return Err(truncated());
    }
    let mut lengths = Cursor::new(lengths, 0);
    let mut strings = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = lengths.vbr6().map_err(|_| truncated())?;
        let (string, others) =
            usize::try_from(length).ok().and_then(|at| rest.split_at_checked(at)).ok_or_else(truncated)?;
        strings.push(string);
        rest = others;
    }
    Ok(strings)
}
