//! What a file is, from its first bytes.

use std::fmt;

/// What an input file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A relocatable ELF64 object for x86-64.
    Object,
    /// An ELF64 shared library or position-independent executable for x86-64.
    SharedLibrary,
    /// An ELF file of another class, byte order, machine or type.
    ForeignElf,
    /// An archive with its members inside.
    Archive,
    /// An archive that names its members' files.
    ThinArchive,
    /// LLVM bitcode, with or without the wrapper header.
    Bitcode,
    /// A text that a linker reads as a script: `libc.so` and `libm.a` of glibc are such. See
    /// [`linker_script`](crate::linker_script).
    LinkerScript,
    /// Nothing known.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::Object => "x86-64 ELF object",
            FileKind::SharedLibrary => "shared library",
            FileKind::ForeignElf => "ELF file of another class, machine or type",
            FileKind::Archive => "archive",
            FileKind::ThinArchive => "thin archive",
            FileKind::Bitcode => "LLVM bitcode",
            FileKind::LinkerScript => "linker script",
            FileKind::Unknown => "unknown format",
        })
    }
}

/// What `bytes` look like; cheap, and no promise that they are well-formed.
#[must_use]
pub fn identify(bytes: &[u8]) -> FileKind {
    if bytes.starts_with(b"\x7fELF") {
        let field = |at: usize| bytes.get(at..at + 2).map(|f| u16::from_le_bytes([f[0], f[1]]));
        return match (bytes.get(4), bytes.get(5), field(16), field(18)) {
            (Some(2), Some(1), Some(1), Some(62)) => FileKind::Object,
            (Some(2), Some(1), Some(3), Some(62)) => FileKind::SharedLibrary,
            _ => FileKind::ForeignElf,
        };
    }
    if bytes.starts_with(b"!<arch>\n") {
        return FileKind::Archive;
    }
    if bytes.starts_with(b"!<thin>\n") {
        return FileKind::ThinArchive;
    }
    if bytes.starts_with(b"BC\xc0\xde") || bytes.starts_with(&[0xde, 0xc0, 0x17, 0x0b]) {
        return FileKind::Bitcode;
    }
    if is_script(bytes) { FileKind::LinkerScript } else { FileKind::Unknown }
}

/// Whether `bytes` are printable text that holds one of the commands of [`linker_script`].
fn is_script(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    !head.is_empty()
        && head.iter().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t'))
        && linker_script(bytes).is_some_and(|inputs| !inputs.is_empty())
}

/// One input that a linker script asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptInput<'a> {
    /// A path, or `-lNAME`.
    pub name: &'a str,
    /// Whether it stands in `AS_NEEDED`.
    pub as_needed: bool,
}

/// The inputs of a linker script that consists of `INPUT`, `GROUP`, `AS_NEEDED` and `OUTPUT_FORMAT`, in order; `None`
/// for any other text. That is what libraries' scripts hold; a program's script is no input for a JIT.
#[must_use]
pub fn linker_script(bytes: &[u8]) -> Option<Vec<ScriptInput<'_>>> {
    let mut inputs = Vec::new();
    let mut rest = std::str::from_utf8(bytes).ok()?;
    let mut nesting: Vec<&str> = Vec::new();
    let mut command = "";
    while let Some(token) = script_token(&mut rest)? {
        match token {
            "(" => {
                if !matches!(command, "INPUT" | "GROUP" | "AS_NEEDED" | "OUTPUT_FORMAT") || nesting.len() > 2 {
                    return None;
                }
                nesting.push(command);
            }
            ")" => {
                nesting.pop()?;
            }
            "," | ";" => {}
            "AS_NEEDED" if !nesting.is_empty() => command = token,
            name => match nesting.last() {
                None => command = name,
                Some(&"OUTPUT_FORMAT") => {}
                Some(&last) => inputs.push(ScriptInput { name, as_needed: last == "AS_NEEDED" }),
            },
        }
    }
    nesting.is_empty().then_some(inputs)
}

/// The next token; the inner `None` at the end, the outer one where the text ends within a comment.
fn script_token<'a>(rest: &mut &'a str) -> Option<Option<&'a str>> {
    loop {
        *rest = rest.trim_start();
        match rest.strip_prefix("/*") {
            Some(comment) => *rest = &comment[comment.find("*/")? + 2..],
            None => break,
        }
    }
    let Some(first) = rest.chars().next() else { return Some(None) };
    let end = if "(),;".contains(first) {
        1
    } else {
        rest.find(|c: char| c.is_whitespace() || "(),;".contains(c)).unwrap_or(rest.len())
    };
    let (token, tail) = rest.split_at(end);
    *rest = tail;
    Some(Some(token.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_23_linker_scripts_are_recognised() {
        let libm =
            b"/* GNU ld script\n*/\nOUTPUT_FORMAT(elf64-x86-64)\nGROUP ( /usr/lib/libm-2.36.a /usr/lib/libmvec.a )\n";
        assert_eq!(identify(libm), FileKind::LinkerScript);
        let names: Vec<_> = linker_script(libm).unwrap().iter().map(|i| i.name).collect();
        assert_eq!(names, ["/usr/lib/libm-2.36.a", "/usr/lib/libmvec.a"]);
        let libc = b"GROUP ( /lib/libc.so.6 /usr/lib/libc_nonshared.a  AS_NEEDED ( /lib64/ld-linux-x86-64.so.2 ) )";
        let inputs = linker_script(libc).unwrap();
        assert_eq!(inputs.iter().map(|i| i.as_needed).collect::<Vec<_>>(), [false, false, true]);
        for text in ["", "SECTIONS { }", "GROUP ( a", "/* GROUP ( a )", "hello world"] {
            assert_eq!(identify(text.as_bytes()), FileKind::Unknown, "{text}");
        }
    }

    #[test]
    fn first_bytes_tell_the_kind() {
        assert_eq!(identify(b"\x7fELF\x02\x01\x01"), FileKind::ForeignElf);
        assert_eq!(identify(b"!<arch>\n"), FileKind::Archive);
        assert_eq!(identify(b"!<thin>\nxx"), FileKind::ThinArchive);
        assert_eq!(identify(b"BC\xc0\xde"), FileKind::Bitcode);
        assert_eq!(identify(b"\0\x01"), FileKind::Unknown);
    }
}
