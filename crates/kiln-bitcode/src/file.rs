//! The file around modules: wrapper, magic, and the sequence of identification, module, string and symbol tables.

use std::sync::Arc;

use crate::bitstream::{Block, BlockInfo, Budget, Entry, Record};
use crate::codes::BlockKind;
use crate::cursor::Cursor;
use crate::error::{Error, ErrorKind};
use crate::module::Module;
use crate::reader::read_module;

/// `BC` 0xC0DE
const MAGIC: [u8; 4] = [0x42, 0x43, 0xc0, 0xde];
/// The wrapper header: magic, version, offset, size, CPU type.
const WRAPPER_MAGIC: [u8; 4] = 0x0b17_c0deu32.to_le_bytes();
const WRAPPER_BYTES: usize = 20;
/// The LLVM release whose bitcode this reader takes.
const LLVM_MAJOR: u32 = 22;

/// What a file is, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// LLVM bitcode.
    Bitcode {
        /// What wrote it, empty where it does not say.
        producer: String,
        /// Its compatibility epoch.
        epoch: u64,
        /// Whether this reader takes it; the optimizer rewrites what it does not.
        current: bool,
        /// Whether the producer is newer than the LLVM this reader is pinned to.
        newer: bool,
    },
    /// Probably LLVM IR as text: text, at least.
    TextualIr,
    /// An ELF file.
    Elf,
    /// An archive, thin or not.
    Archive,
    /// None of these.
    Unknown,
}

/// Says what `bytes` are without reading more than their beginning.
#[must_use]
pub fn identify(bytes: &[u8]) -> Input {
    if bytes.starts_with(b"\x7fELF") {
        return Input::Elf;
    }
    if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
        return Input::Archive;
    }
    if bytes.starts_with(&MAGIC) || bytes.starts_with(&WRAPPER_MAGIC) {
        let identification = first_identification(bytes).unwrap_or_default();
        let (current, newer) = (identification.is_current(), identification.is_newer());
        return Input::Bitcode { producer: identification.producer, epoch: identification.epoch, current, newer };
    }
    let start = &bytes[..bytes.len().min(512)];
    let text = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace() || *b >= 0x80;
    if !start.is_empty() && start.iter().all(text) { Input::TextualIr } else { Input::Unknown }
}

/// Who wrote a module.
#[derive(Clone, Debug, Default)]
struct Identification {
    producer: String,
    epoch: u64,
}

impl Identification {
    /// The major release in `LLVM22.1.8`.
    fn major(&self) -> Option<u32> {
        let digits = self.producer.strip_prefix("LLVM")?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    }

    fn is_current(&self) -> bool {
        self.epoch == 0 && self.major() == Some(LLVM_MAJOR)
    }

    fn is_newer(&self) -> bool {
        self.epoch > 0 || self.major().is_some_and(|major| major > LLVM_MAJOR)
    }
}

/// The names of a file's modules.
#[derive(Clone, Debug)]
pub(crate) enum Strtab {
    /// A copy.
    Owned(Arc<[u8]>),
    /// A part of input that stays.
    Static(&'static [u8]),
}

impl Strtab {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Strtab::Owned(bytes) => bytes,
            Strtab::Static(bytes) => bytes,
        }
    }
}

/// The bitstream inside `bytes`, behind wrapper and magic, and where it starts.
fn stream(bytes: &[u8]) -> Result<Block<'_>, Error> {
    let not_bitcode = || Error::new(ErrorKind::NotBitcode, 0, BlockKind::FILE);
    let (mut inner, mut base) = (bytes, 0);
    if bytes.starts_with(&WRAPPER_MAGIC) {
        let field = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let (offset, size) = field(8).zip(field(12)).ok_or_else(not_bitcode)?;
        let (start, size) = (offset as usize, size as usize);
        inner = start
            .checked_add(size)
            .filter(|_| start >= WRAPPER_BYTES)
            .and_then(|end| bytes.get(start..end))
            .ok_or_else(|| Error::new(ErrorKind::Truncated, 0, BlockKind::FILE))?;
        base = start;
    }
    if !inner.starts_with(&MAGIC) {
        return Err(not_bitcode());
    }
    let mut cursor = Cursor::new(inner, base);
    cursor.skip(32)?;
    Ok(Block::file(cursor))
}

/// The first module's identification.
fn first_identification(bytes: &[u8]) -> Result<Identification, Error> {
    let mut file = stream(bytes)?;
    let mut budget = Budget::for_input(bytes.len());
    match next_block(&mut file, &mut budget)? {
        Some(BlockKind::IDENTIFICATION) => {
            let mut block = file.enter(BlockKind::IDENTIFICATION, &BlockInfo::default())?;
            read_identification(&mut block, &mut budget)
        }
        _ => Ok(Identification::default()),
    }
}

/// The next block of the file; `None` at its end.
fn next_block(file: &mut Block<'_>, budget: &mut Budget) -> Result<Option<BlockKind>, Error> {
    // Like LLVM, take less than a block's worth of bytes at the end for padding (getBitcodeFileContents).
    if file.cursor().remaining() < 64 {
        return Ok(None);
    }
    match file.next(budget)? {
        Entry::SubBlock(kind) => Ok(Some(kind)),
        _ => Err(file.error(ErrorKind::MisplacedBlock)),
    }
}

/// Reads all modules of a bitcode file.
///
/// # Errors
///
/// Any departure from the format, with its place; [`ErrorKind::ForeignProducer`] for bitcode that something else than
/// LLVM 22 wrote.
pub fn parse(bytes: &[u8]) -> Result<Vec<Module>, Error> {
    parse_with(bytes, |names| Strtab::Owned(names.into()))
}

/// The same for bytes that stay: names are not copied, and only those pages of them are touched that are asked for.
///
/// # Errors
///
/// Those of [`parse`].
pub fn parse_static(bytes: &'static [u8]) -> Result<Vec<Module>, Error> {
    parse_with(bytes, Strtab::Static)
}

fn parse_with<'a>(bytes: &'a [u8], keep: impl Fn(&'a [u8]) -> Strtab) -> Result<Vec<Module>, Error> {
    let mut file = stream(bytes)?;
    let mut budget = Budget::for_input(bytes.len());
    let Trailer { strtabs, symbols } = Trailer::read(file.clone(), keep, &mut budget)?;
    let mut strtabs = strtabs.into_iter();
    let mut strtab = strtabs.next();
    let mut identification = Identification::default();
    let mut before = file.cursor().word();
    let mut record = Record::default();
    let mut modules = Vec::new();
    let mut origin = 0;
    while let Some(kind) = next_block(&mut file, &mut budget)? {
        match kind {
            BlockKind::IDENTIFICATION => {
                // Offsets in the module are counted from the word before (MODULE_CODE_VSTOFFSET).
                origin = before.saturating_sub(1);
                let mut block = file.enter(kind, &BlockInfo::default())?;
                identification = read_identification(&mut block, &mut budget)?;
            }
            BlockKind::MODULE => {
                let producer = std::mem::take(&mut identification);
                let foreign = |file: &Block<'_>, producer: Identification| {
                    let newer = producer.is_newer();
                    Err(file.error(ErrorKind::ForeignProducer { producer: producer.producer, newer }))
                };
                if !producer.is_current() {
                    return foreign(&file, producer);
                }
                // A module without a string table keeps its names in the old way.
                let Some(strtab) = &strtab else { return foreign(&file, producer) };
                let block = file.enter(kind, &BlockInfo::default())?;
                let frame = Frame { strtab, origin, symbols };
                modules.push(read_module(block, producer.producer, frame, &mut record, &mut budget)?);
            }
            BlockKind::STRTAB => {
                file.skip_block()?;
                strtab = strtabs.next();
            }
            // The symbol table repeats what the module says, for linkers that do not read modules.
            BlockKind::SYMTAB => file.skip_block()?,
            _ => return Err(file.error(ErrorKind::MisplacedBlock)),
        }
        before = file.cursor().word();
    }
    if modules.is_empty() {
        return Err(file.error(ErrorKind::NotBitcode));
    }
    Ok(modules)
}

/// What a file says outside a module about it.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'f> {
    /// Its names.
    pub(crate) strtab: &'f Strtab,
    /// The word of the stream that its offsets are counted from.
    pub(crate) origin: u64,
    /// How many symbols the file probably has.
    pub(crate) symbols: usize,
}

/// What lies behind the modules of a file.
struct Trailer {
    /// The string tables in order: one serves the modules between its predecessor and itself.
    strtabs: Vec<Strtab>,
    /// How many symbols there are, as far as the symbol table says: good for reserving memory, and nothing else.
    symbols: usize,
}

impl Trailer {
    fn read<'a>(mut file: Block<'a>, keep: impl Fn(&'a [u8]) -> Strtab, budget: &mut Budget) -> Result<Self, Error> {
        let mut trailer = Self { strtabs: Vec::new(), symbols: 0 };
        while let Some(kind) = next_block(&mut file, budget)? {
            match kind {
                BlockKind::STRTAB => {
                    let strtab = read_blob(&mut file, kind, budget)?;
                    trailer.strtabs.push(keep(strtab.unwrap_or_default()));
                }
                BlockKind::SYMTAB => {
                    let symtab = read_blob(&mut file.clone(), kind, budget).ok().flatten().unwrap_or_default();
                    file.skip_block()?;
                    // llvm::irsymtab::storage::Header: the size of its range of symbols.
                    let count = symtab.get(32..36).and_then(|word| word.try_into().ok()).map(u32::from_le_bytes);
                    // Each has 24 bytes there.
                    trailer.symbols += usize::min(count.unwrap_or(0) as usize, symtab.len() / 24);
                }
                _ => file.skip_block()?,
            }
        }
        Ok(trailer)
    }
}

/// The blob of a block that holds one.
fn read_blob<'a>(file: &mut Block<'a>, kind: BlockKind, budget: &mut Budget) -> Result<Option<&'a [u8]>, Error> {
    const BLOB: u32 = 1;
    let mut block = file.enter(kind, &BlockInfo::default())?;
    let mut record = Record::default();
    let mut blob = None;
    loop {
        match block.next(budget)? {
            Entry::End => return Ok(blob),
            Entry::SubBlock(_) => block.skip_block()?,
            Entry::Record(abbrev) => {
                block.read_record(abbrev, &mut record, budget)?;
                if record.code == BLOB {
                    blob = Some(record.blob);
                }
            }
        }
    }
}

fn read_identification(block: &mut Block<'_>, budget: &mut Budget) -> Result<Identification, Error> {
    const STRING: u32 = 1;
    const EPOCH: u32 = 2;
    let mut identification = Identification::default();
    let mut record = Record::default();
    loop {
        match block.next(budget)? {
            Entry::End => return Ok(identification),
            Entry::SubBlock(_) => block.skip_block()?,
            Entry::Record(abbrev) => {
                block.read_record(abbrev, &mut record, budget)?;
                match record.code {
                    STRING => identification.producer = String::from_utf8_lossy(&record.text(block)?).into_owned(),
                    EPOCH => identification.epoch = record.require(1, block)?[0],
                    _ => {}
                }
            }
        }
    }
}
