//! Names of functions for `perf`.
//!
//! Two forms, both optional. The *map* `/tmp/perf-PID.map` has a line of text per function ("start size name", hexadecimal;
//! linux/tools/perf/Documentation/jit-interface.txt); perf reads it when it reports. *jitdump* has binary records with the
//! code itself and times (linux/tools/perf/Documentation/jitdump-specification.txt); `perf inject --jit` merges it.
//!
//! Neither can say that code is gone. A map keeps the line, and perf takes the last one that fits an address; a jitdump's
//! later record for the same address wins by its time. A jitdump ends with a close record.
//!
//! Files are opened for each write: no descriptor stays that the program could see or close. A write that fails ends the
//! log: profiling must not disturb the program.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Symbol;
use crate::sys;

/// jitdump: "JiTD".
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
const HEADER_BYTES: u32 = 40;
const CODE_LOAD: u32 = 0;
const CODE_DEBUG_INFO: u32 = 2;
const CODE_CLOSE: u32 = 3;
/// `e_machine` of the code: EM_X86_64.
const MACHINE: u32 = 62;

/// What a cache writes for perf.
#[derive(Debug)]
pub(crate) struct Log {
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pid: u32,
    map: Option<CString>,
    dump: Option<Dump>,
    /// Where dumps of forked children go.
    dump_directory: Option<PathBuf>,
}

#[derive(Debug)]
struct Dump {
    path: CString,
    /// A page of the file, mapped executable: how perf learns of the file.
    marker: usize,
    next_index: u64,
}

impl Log {
    /// A log, or none where nothing was asked for.
    pub(crate) fn new(map: bool, dump_directory: Option<PathBuf>) -> Option<Self> {
        if !map && dump_directory.is_none() {
            return None;
        }
        let pid = sys::process_id();
        let map = map.then(|| map_path(pid)).filter(|path| sys::create_file(path, b"").is_ok());
        let dump = dump_directory.as_ref().and_then(|directory| Dump::create(directory, pid).ok());
        Some(Self { state: Mutex::new(State { pid, map, dump, dump_directory }) })
    }

    /// Keeps other threads from writing, around a fork.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down functions; `code` gives the bytes of one.
    pub(crate) fn add<'a>(&self, symbols: &[Symbol<'_>], code: impl Fn(&Symbol<'_>) -> Option<&'a [u8]>) {
        if symbols.is_empty() {
            return;
        }
        let mut state = self.lock();
        let pid = state.pid;
        if let Some(path) = &state.map
            && sys::append_file(path, &map_lines(symbols)).is_err()
        {
            state.map = None;
        }
        let Some(dump) = &mut state.dump else { return };
        let mut records = Vec::new();
        for symbol in symbols {
            if let Some(code) = code(symbol) {
                // The order that perf wants.
                if !symbol.lines.is_empty() {
                    debug_record(&mut records, symbol);
                }
                load_record(&mut records, pid, symbol, code, dump.next_index);
                dump.next_index += 1;
            }
        }
        if sys::append_file(&dump.path, &records).is_err() {
            state.dump = None;
        }
    }
}

impl State {
    /// In a forked child: files of its own, the map with what the parent had written.
    pub(crate) fn become_child(&mut self) {
        let pid = sys::process_id();
        self.pid = pid;
        if let Some(parents) = self.map.take() {
            let path = map_path(pid);
            self.map = sys::read_file(&parents).and_then(|lines| sys::create_file(&path, &lines)).ok().map(|()| path);
        }
        if let Some(parents) = self.dump.take() {
            parents.forget();
            let directory = self.dump_directory.as_ref();
            self.dump = directory.and_then(|directory| Dump::create(directory, pid).ok());
        }
    }
}

impl Dump {
    fn create(directory: &std::path::Path, pid: u32) -> io::Result<Self> {
        let path = directory.join(format!("jit-{pid}.dump"));
        let path = CString::new(path.into_os_string().into_encoded_bytes())?;
        let mut header = Vec::new();
        for word in [MAGIC, VERSION, HEADER_BYTES, MACHINE, 0, pid] {
            header.extend(word.to_ne_bytes());
        }
        header.extend(sys::monotonic_ns().to_ne_bytes());
        header.extend(0u64.to_ne_bytes());
        sys::create_file(&path, &header)?;
        let marker = sys::map_file_executable(&path)?;
        Ok(Self { path, marker, next_index: 0 })
    }

    /// Gives up the file without a closing record: it is another process's.
    fn forget(self) {
        sys::unmap(self.marker, sys::PAGE);
        std::mem::forget(self);
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let mut record = Vec::new();
        record_head(&mut record, CODE_CLOSE, 0);
        let _ = sys::append_file(&self.path, &record);
        sys::unmap(self.marker, sys::PAGE);
    }
}

fn map_path(pid: u32) -> CString {
    CString::new(format!("/tmp/perf-{pid}.map")).expect("no NUL in it")
}

fn map_lines(symbols: &[Symbol<'_>]) -> Vec<u8> {
    let mut lines = Vec::new();
    for symbol in symbols {
        lines.extend(format!("{:x} {:x} ", symbol.address.get(), symbol.bytes).bytes());
        // A line break in a name would begin a line of its own.
        lines.extend(symbol.name.iter().map(|byte| if byte.is_ascii_control() { b'?' } else { *byte }));
        lines.push(b'\n');
    }
    lines
}

fn record_head(record: &mut Vec<u8>, kind: u32, body_bytes: usize) {
    record.extend(kind.to_ne_bytes());
    record.extend((16 + body_bytes as u32).to_ne_bytes());
    record.extend(sys::monotonic_ns().to_ne_bytes());
}

/// `struct jr_code_debug_info` and its entries: address, line, discriminator, name of the file.
fn debug_record(records: &mut Vec<u8>, symbol: &Symbol<'_>) {
    let mut body = Vec::new();
    body.extend(symbol.address.get().to_ne_bytes());
    body.extend((symbol.lines.len() as u64).to_ne_bytes());
    for line in symbol.lines {
        body.extend(line.address.get().to_ne_bytes());
        body.extend(line.line.to_ne_bytes());
        body.extend(0u32.to_ne_bytes());
        body.extend(line.file.iter().copied().filter(|byte| *byte != 0));
        body.push(0);
    }
    record_head(records, CODE_DEBUG_INFO, body.len());
    records.extend(body);
}

/// `struct jr_code_load`, the name and the code.
fn load_record(records: &mut Vec<u8>, pid: u32, symbol: &Symbol<'_>, code: &[u8], index: u64) {
    let name: Vec<u8> = symbol.name.iter().copied().filter(|byte| *byte != 0).collect();
    record_head(records, CODE_LOAD, 40 + name.len() + 1 + code.len());
    records.extend(pid.to_ne_bytes());
    records.extend(sys::thread_id().to_ne_bytes());
    for value in [symbol.address.get(), symbol.address.get(), code.len() as u64, index] {
        records.extend(value.to_ne_bytes());
    }
    records.extend(name);
    records.push(0);
    records.extend(code);
}
