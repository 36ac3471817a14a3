//! The loop and the bodies that it calls, assembled when the bench runs.

use super::Result;

/// The addend in the assembled body, to be replaced by others.
const MARK: u32 = 0x1234_5678;

/// Calls its function so many times, and returns the last result.
pub(super) type Loop = unsafe extern "C" fn(u64, u64) -> u64;

/// The assembler source of `f` ("body") or of the loop around it.
pub(super) fn source(prefix: &str, what: &str) -> String {
    let (f, run) = (format!("{prefix}f"), format!("{prefix}run"));
    match what {
        "body" => format!(
            ".text\n.globl {f}\n.type {f}, @function\n.p2align 6\n{f}: .cfi_startproc\nleaq {MARK}(%rdi), %rax\nret\n\
             .cfi_endproc\n.size {f}, . - {f}\n"
        ),
        _ => format!(
            ".text\n.globl {run}\n.type {run}, @function\n.p2align 6\n{run}: .cfi_startproc\npushq %rbx\n\
             .cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\nmovq %rdi, %rbx\nmovq %rsi, %rax\n.p2align 6\n\
             1: movq %rax, %rdi\ncall {f}\ndecq %rbx\njne 1b\npopq %rbx\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n\
             .size {run}, . - {run}\n"
        ),
    }
}

/// What `cc` makes of an assembler source.
pub(super) fn assemble(text: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("in.s"), folder.path().join("out.o"));
    std::fs::write(&from, text)?;
    let status = std::process::Command::new("cc").arg("-c").arg(&from).arg("-o").arg(&to).status()?;
    if !status.success() {
        return Err("cc cannot assemble".into());
    }
    Ok(std::fs::read(to)?)
}

/// An object whose addend can be changed.
pub(super) struct Body {
    bytes: Vec<u8>,
    addend: usize,
}

impl Body {
    /// The body of `f` after `prefix`.
    pub(super) fn new(prefix: &str) -> Result<Body> {
        let bytes = assemble(&source(prefix, "body"))?;
        let mark = MARK.to_le_bytes();
        let addend = bytes.windows(4).position(|window| window == mark).ok_or("the body has no addend")?;
        Ok(Body { bytes, addend })
    }

    /// The object of the body that adds `k`.
    pub(super) fn adding(&mut self, k: u32) -> &[u8] {
        self.bytes[self.addend..self.addend + 4].copy_from_slice(&k.to_le_bytes());
        &self.bytes
    }
}
