//! What profilers and debuggers are told.

use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, Line, Options, Place, Published, Records, Symbol};

const CODE: [u8; 32] = [0xc3; 32];

fn publish(cache: &CodeCache, names: [&str; 2], object: Option<&[u8]>) -> Published {
    let code = Segment { permission: Permission::Code, size: 32, align: 16 };
    let mut reservation = cache.reserve(&[(code, Place::Anywhere)]).unwrap();
    reservation.working(0).copy_from_slice(&CODE);
    let at = reservation.segment(0);
    let lines = [Line { address: at, file: b"dir/a.c", line: 7 }, Line { address: at + 4, file: b"b.h", line: 0 }];
    let symbols = [
        Symbol { name: names[0].as_bytes(), address: at, bytes: 16, lines: &lines },
        Symbol { name: names[1].as_bytes(), address: at + 16, bytes: 16, lines: &[] },
    ];
    reservation.publish(Records::new().symbols(&symbols).debug_object(object)).unwrap()
}

fn map_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/perf-{pid}.map"))
}

struct Removed(Vec<PathBuf>);

impl Drop for Removed {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

#[test]
fn perf_files_name_the_functions_in_parent_and_child() {
    let directory = std::env::temp_dir();
    let dump_of = |pid: u32| directory.join(format!("jit-{pid}.dump"));
    let own = std::process::id();
    let mut cleanup = Removed(vec![map_of(own), dump_of(own)]);
    let cache = CodeCache::new(&Options::new().perf_map(true).jitdump(Some(directory.clone()))).unwrap();
    let published = publish(&cache, ["first", "bad\nname"], None);
    let at = published.address(0);

    cache.before_fork();
    // SAFETY: the child uses the cache only and ends with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let right = cache.after_fork_in_child().is_ok();
        publish(&cache, ["child", "other"], None).leak();
        // SAFETY: ends the child without running the test harness.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    cache.after_fork_in_parent();
    let mut status = 0;
    // SAFETY: waits for a child of ours, with room for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let child = child as u32;
    cleanup.0.extend([map_of(child), dump_of(child)]);
    assert_eq!(status, 0);

    // SAFETY: nobody ever entered the code.
    unsafe { published.retire().reclaim() };
    drop(cache);
    let line = |at: ExecutorAddr, name: &str| format!("{:x} 10 {name}\n", at.get());
    let parents = line(at, "first") + &line(at + 16, "bad?name");
    assert_eq!(std::fs::read_to_string(map_of(own)).unwrap(), parents);
    let childs = parents + &line(at + 32, "child") + &line(at + 48, "other");
    assert_eq!(std::fs::read_to_string(map_of(child)).unwrap(), childs);

    assert_eq!(
        records(&dump_of(own), own),
        [
            (2, at.get(), lines_from(at)),
            (0, at.get(), "first".into()),
            (0, at.get() + 16, "bad\nname".into()),
            (3, 0, String::new())
        ]
    );
    assert_eq!(
        records(&dump_of(child), child),
        [
            (2, at.get() + 32, lines_from(at + 32)),
            (0, at.get() + 32, "child".into()),
            (0, at.get() + 48, "other".into())
        ]
    );
}

/// The lines that `publish` gives a function.
fn lines_from(at: ExecutorAddr) -> String {
    format!("{:x} dir/a.c:7 {:x} b.h:0 ", at.get(), at.get() + 4)
}

/// Kind, address and name of the records of a jitdump, or their lines, read by its specification.
fn records(path: &Path, pid: u32) -> Vec<(u32, u64, String)> {
    let bytes = std::fs::read(path).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!([word(0), word(4), word(8), word(12), word(20)], [0x4a69_5444, 1, 40, 62, pid]);
    let (mut at, mut records, mut last) = (40, Vec::new(), long(24));
    while at < bytes.len() {
        let (kind, size) = (word(at), word(at + 4) as usize);
        assert!(long(at + 8) >= last, "times ascend");
        last = long(at + 8);
        if kind == 0 {
            assert_eq!((word(at + 16), long(at + 24), long(at + 40)), (pid, long(at + 32), 16));
            let name = bytes[at + 56..at + size - 16].strip_suffix(b"\0").unwrap();
            assert_eq!(bytes[at + size - 16..at + size], CODE[..16]);
            records.push((kind, long(at + 32), String::from_utf8_lossy(name).into()));
        } else if kind == 2 {
            let (mut entry, mut lines) = (at + 32, String::new());
            for _ in 0..long(at + 24) {
                let name = &bytes[entry + 16..];
                let name = &name[..name.iter().position(|byte| *byte == 0).unwrap()];
                lines += &format!("{:x} {}:{} ", long(entry), String::from_utf8_lossy(name), word(entry + 8));
                entry += 16 + name.len() + 1;
            }
            assert_eq!(entry, at + size);
            records.push((kind, long(at + 16), lines));
        } else {
            records.push((kind, 0, String::new()));
        }
        at += size;
    }
    records
}

/// What the debugger is to show: this executable, run again as a debuggee.
#[test]
#[ignore = "run by gdb_names_a_published_function"]
fn debuggee() {
    let cache = CodeCache::new(&Options::new()).unwrap();
    let object = std::fs::read(std::env::var("KILN_TEST_OBJECT").unwrap()).unwrap();
    let code = Segment { permission: Permission::Code, size: 16, align: 16 };
    let mut reservation = cache.reserve(&[(code, Place::Anywhere)]).unwrap();
    reservation.working(0).fill(0xcc);
    reservation.working(0)[..8].copy_from_slice(&[0x48, 0x89, 0xe0, 0xcc, 0x90, 0x90, 0x90, 0xc3]);
    let object = at_address(object, reservation.segment(0));
    let published = reservation.publish(Records::new().debug_object(Some(&object))).unwrap();
    // SAFETY: the code is an `int3` and a return.
    let function: extern "C" fn() = unsafe { std::mem::transmute(published.address(0).get() as usize) };
    function();
    published.leak();
}

/// Sets the address of the `.text` of an ELF object: the first section with instructions (gABI, "Section Header").
fn at_address(mut object: Vec<u8>, text: ExecutorAddr) -> Vec<u8> {
    let long = |object: &[u8], at: usize| u64::from_le_bytes(object[at..at + 8].try_into().unwrap()) as usize;
    let headers = long(&object, 40);
    let count = usize::from(u16::from_le_bytes([object[60], object[61]]));
    let has_code = |at: &usize| long(&object, at + 8) & 4 != 0;
    let header = (0..count).map(|n| headers + 64 * n).find(has_code).unwrap();
    object[header + 16..header + 24].copy_from_slice(&text.get().to_le_bytes());
    object
}

/// Judge: gdb itself.
#[test]
fn gdb_names_a_published_function() {
    let object = std::env::temp_dir().join(format!("kiln-codecache-gdb-{}.o", std::process::id()));
    let _cleanup = Removed(vec![object.clone()]);
    let source = ".globl shown_by_gdb\n.type shown_by_gdb,@function\nshown_by_gdb:\n.skip 16\n.size shown_by_gdb,16\n";
    let mut assembler = Command::new("as")
        .arg("-o")
        .arg(&object)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("binutils is installed");
    std::io::Write::write_all(&mut assembler.stdin.take().unwrap(), source.as_bytes()).unwrap();
    assert!(assembler.wait().unwrap().success());
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex", "info symbol $pc", "--args"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "debuggee", "--test-threads=1"])
        .env("KILN_TEST_OBJECT", &object)
        .output()
        .expect("gdb is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("shown_by_gdb + 4 in section .text"), "{text}");
}
