//! Nodes of metadata, found in one look through their block and decoded when somebody wants one.

use kiln_abi::FunctionId;

use crate::bitstream::{Block, Budget, Entry, Record};
use crate::codes::BlockKind;
use crate::cursor::Cursor;
use crate::error::{Error, ErrorKind};
use crate::instructions::DECLAREBLOCKS;
use crate::module::Module;

const BLOCKADDR_USERS: u32 = 60;

/// Records that define nothing that has a number.
const UNNUMBERED: [u32; 7] = [NAME, KIND, NAMED_NODE, STRINGS, GLOBAL_DECL_ATTACHMENT, INDEX_OFFSET, INDEX];
const NAME: u32 = 4;
const KIND: u32 = 6;
const NAMED_NODE: u32 = 10;
const STRINGS: u32 = 35;
const GLOBAL_DECL_ATTACHMENT: u32 = 36;
const INDEX_OFFSET: u32 = 38;
const INDEX: u32 = 39;

/// Those of the module itself, if it has any; `bytes` are those it was read from.
pub(crate) fn nodes_of_module<'a>(module: &Module, bytes: &'a [u8]) -> Result<Option<Nodes<'a>>, Error> {
    let block = module.metadata.and_then(|place| Block::located(bytes, module.origin, place, BlockKind::METADATA));
    let block = block.map(|block| block.with_abbrevs_of(BlockKind::METADATA, &module.block_info));
    block.map(|block| Nodes::find(block, 0)).transpose()
}

/// Those that `function` brings along, numbered from `first` on.
pub(crate) fn nodes_of_function<'a>(
    module: &Module,
    bytes: &'a [u8],
    function: FunctionId,
    first: u32,
) -> Result<Vec<Nodes<'a>>, Error> {
    let mut all = Vec::new();
    let Some(block) = module.function(function).body.and_then(|place| Block::body(bytes, module.origin, place)) else {
        return Ok(all);
    };
    let mut block = block?.with_abbrevs_of(BlockKind::FUNCTION, &module.block_info);
    let mut budget = Budget::for_input((block.size() / 8) as usize);
    let mut record = Record::default();
    let mut next = first;
    // Metadata comes before the instructions.
    loop {
        match block.next(&mut budget)? {
            Entry::SubBlock(BlockKind::METADATA) => {
                let nodes = Nodes::find(block.enter(BlockKind::METADATA, &module.block_info)?, next)?;
                next = nodes.end();
                all.push(nodes);
            }
            Entry::SubBlock(_) => block.skip_block()?,
            Entry::Record(abbrev) => {
                block.read_record(abbrev, &mut record, &mut budget)?;
                if !matches!(record.code, DECLAREBLOCKS | BLOCKADDR_USERS) {
                    return Ok(all);
                }
            }
            Entry::End => return Ok(all),
        }
    }
}

/// Which metadata of a module is one of certain strings: what arguments of intrinsics say that have no other form.
#[derive(Clone, Debug, Default)]
pub struct MetadataStrings {
    /// [`Module::identity`]; no module has 0.
    module: u64,
    /// Numbers, and which of the strings they are.
    found: Vec<(u32, u8)>,
    /// How many of these are the module's own, and how much metadata it has.
    own: usize,
    end: u32,
}

impl MetadataStrings {
    /// Looks for `wanted` in the metadata of `module` and of `function`, but only once in the module's; `bytes` are those it
    /// was read from.
    ///
    /// # Errors
    ///
    /// Any departure from the format of blocks and records.
    pub fn find(&mut self, module: &Module, bytes: &[u8], function: FunctionId, wanted: &[&[u8]]) -> Result<(), Error> {
        if self.module != module.identity() {
            *self = Self::default();
            if let Some(nodes) = nodes_of_module(module, bytes)? {
                self.add(&nodes, wanted);
                self.end = nodes.end();
            }
            self.own = self.found.len();
            self.module = module.identity();
        }
        self.found.truncate(self.own);
        for nodes in nodes_of_function(module, bytes, function, self.end)? {
            self.add(&nodes, wanted);
        }
        Ok(())
    }

    fn add(&mut self, nodes: &Nodes<'_>, wanted: &[&[u8]]) {
        for (number, string) in (nodes.first..).zip(&nodes.strings) {
            if let Some(which) = wanted.iter().position(|known| known == string) {
                self.found.push((number, which as u8));
            }
        }
    }

    /// Which of the strings that were looked for metadata number `number` is.
    #[must_use]
    pub fn which(&self, number: u32) -> Option<u8> {
        self.found.iter().find(|(known, _)| *known == number).map(|(_, which)| *which)
    }
}

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
