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
    let mut file = stream(bytes)?;
    let mut budget = Budget::for_input(bytes.len());
    let strtabs = find_strtabs(file.clone(), &mut budget)?;
    let mut strtabs = strtabs.into_iter();
    let mut strtab = strtabs.next();
    let mut identification = Identification::default();
    let mut record = Record::default();
    let mut modules = Vec::new();
    while let Some(kind) = next_block(&mut file, &mut budget)? {
        match kind {
            BlockKind::IDENTIFICATION => {
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
                modules.push(read_module(block, producer.producer, strtab, &mut record, &mut budget)?);
            }
            BlockKind::STRTAB => {
                file.skip_block()?;
                strtab = strtabs.next();
            }
            // The symbol table repeats what the module says, for linkers that do not read modules.
            BlockKind::SYMTAB => _ = file.skip_block()?,
            _ => return Err(file.error(ErrorKind::MisplacedBlock)),
        }
    }
    if modules.is_empty() {
        return Err(file.error(ErrorKind::NotBitcode));
    }
    Ok(modules)
}

/// The string tables of the file in order: one serves the modules between its predecessor and itself.
fn find_strtabs(mut file: Block<'_>, budget: &mut Budget) -> Result<Vec<Arc<[u8]>>, Error> {
    const BLOB: u32 = 1;
    let mut strtabs = Vec::new();
    while let Some(kind) = next_block(&mut file, budget)? {
        if kind != BlockKind::STRTAB {
            file.skip_block()?;
            continue;
        }
        let mut block = file.enter(kind, &BlockInfo::default())?;
        let mut record = Record::default();
        let mut strtab = None;
        loop {
            match block.next(budget)? {
                Entry::End => break,
                Entry::SubBlock(_) => _ = block.skip_block()?,
                Entry::Record(abbrev) => {
                    block.read_record(abbrev, &mut record, budget)?;
                    if record.code == BLOB {
                        strtab = Some(Arc::from(record.blob));
                    }
                }
            }
        }
        strtabs.push(strtab.unwrap_or_default());
    }
    Ok(strtabs)
}

fn read_identification(block: &mut Block<'_>, budget: &mut Budget) -> Result<Identification, Error> {
    const STRING: u32 = 1;
    const EPOCH: u32 = 2;
    let mut identification = Identification::default();
    let mut record = Record::default();
    loop {
        match block.next(budget)? {
            Entry::End => return Ok(identification),
            Entry::SubBlock(_) => _ = block.skip_block()?,
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
