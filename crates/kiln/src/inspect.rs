//! What a file holds, as rows of text.

use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol};

use crate::error::Error;
use crate::input::{self, Kind};

/// Rows that describe the modules, symbols or members of the file at `path`.
///
/// # Errors
///
/// [`Error::Read`], [`Error::UnknownKind`], [`Error::Bitcode`] and [`Error::Link`] for what is no such file.
pub fn inspect(path: &Path) -> Result<Vec<String>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let name = path.display().to_string();
    let unknown = || Error::UnknownKind { path: path.to_owned() };
    match input::kind(path, &bytes).ok_or_else(unknown)? {
        Kind::Bitcode => {
            let modules = kiln_bitcode::parse(&bytes).map_err(|source| Error::Bitcode { name, source })?;
            Ok(modules.iter().flat_map(module_rows).collect())
        }
        Kind::Object | Kind::SharedLibrary => {
            object_rows(&bytes).map_err(|error| Error::Link(format!("{name}: {error}")))
        }
        Kind::Archive => archive_rows(&bytes).map_err(|error| Error::Link(format!("{name}: {error}"))),
        _ => Err(unknown()),
    }
}

fn module_rows(module: &kiln_bitcode::Module) -> Vec<String> {
    let mut rows = vec![format!("producer {}", module.producer())];
    rows.extend(kiln_bitcode::rows(module));
    rows
}

fn object_rows(bytes: &[u8]) -> Result<Vec<String>, object::Error> {
    let file = object::File::parse(bytes)?;
    let mut rows = vec![format!("object {:?} {:?}", file.architecture(), file.kind())];
    for section in file.sections() {
        let relocations = section.relocations().count();
        rows.push(format!(
            "section {} size {} align {} relocations {relocations}",
            section.name()?,
            section.size(),
            section.align()
        ));
    }
    for symbol in file.symbols() {
        let place = if symbol.is_undefined() { "undefined".to_owned() } else { format!("{:#x}", symbol.address()) };
        let binding = match (symbol.is_local(), symbol.is_weak()) {
            (true, _) => "local",
            (_, true) => "weak",
            _ => "global",
        };
        rows.push(format!("symbol {} {:?} {binding} {place} size {}", symbol.name()?, symbol.kind(), symbol.size()));
    }
    Ok(rows)
}

fn archive_rows(bytes: &[u8]) -> Result<Vec<String>, object::Error> {
    let archive = object::read::archive::ArchiveFile::parse(bytes)?;
    let mut rows = Vec::new();
    for member in archive.members() {
        let member = member?;
        rows.push(format!("member {} size {}", String::from_utf8_lossy(member.name()), member.size()));
    }
    Ok(rows)
}
