//! The first tier beside LLVM, in one process: what each takes from a file's bytes to the code of all its functions.
//!
//! LLVM parses the bitcode and generates code at -O0 (FastISel, no verifier) into an object in memory; the first tier
//! reads every body and compiles it. Neither reads the file itself, and neither links. Rounds take turns, times are
//! processor time of the one thread, and the best round of each counts: other programs share the machine.
//!
//! `cargo run --release -p kiln-optimizer --example beside_llvm -- [--rounds N] FILE.bc…`

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use kiln_baseline::Compiler;
use kiln_bitcode::{FunctionId, Linkage};
use kiln_optimizer::compiler::initialise;
use rustix::time::{ClockId, clock_gettime};

// The C interface of LLVM 22 (llvm-c/Core.h, BitReader.h, TargetMachine.h); opaque references are pointers there too.
unsafe extern "C" {
    fn LLVMContextCreate() -> *mut c_void;
    fn LLVMContextDispose(context: *mut c_void);
    fn LLVMCreateMemoryBufferWithMemoryRange(
        data: *const c_char,
        length: usize,
        name: *const c_char,
        terminated: c_int,
    ) -> *mut c_void;
    fn LLVMDisposeMemoryBuffer(buffer: *mut c_void);
    fn LLVMGetBufferSize(buffer: *mut c_void) -> usize;
    fn LLVMParseBitcodeInContext2(context: *mut c_void, buffer: *mut c_void, module: *mut *mut c_void) -> c_int;
    fn LLVMDisposeModule(module: *mut c_void);
    fn LLVMGetFirstFunction(module: *mut c_void) -> *mut c_void;
    fn LLVMGetNextFunction(function: *mut c_void) -> *mut c_void;
    fn LLVMIsDeclaration(value: *mut c_void) -> c_int;
    fn LLVMSetSection(value: *mut c_void, section: *const c_char);
    fn LLVMGetTarget(module: *mut c_void) -> *const c_char;
    fn LLVMGetTargetFromTriple(triple: *const c_char, target: *mut *mut c_void, error: *mut *mut c_char) -> c_int;
    fn LLVMCreateTargetMachine(
        target: *mut c_void,
        triple: *const c_char,
        cpu: *const c_char,
        features: *const c_char,
        level: c_int,
        relocation: c_int,
        code_model: c_int,
    ) -> *mut c_void;
    fn LLVMDisposeTargetMachine(machine: *mut c_void);
    fn LLVMTargetMachineEmitToMemoryBuffer(
        machine: *mut c_void,
        module: *mut c_void,
        kind: c_int,
        error: *mut *mut c_char,
        buffer: *mut *mut c_void,
    ) -> c_int;
}

/// `LLVMCodeGenLevelNone`, `LLVMRelocPIC`, `LLVMCodeModelSmall`, `LLVMObjectFile`: numbers of the enumerations in
/// llvm-c/TargetMachine.h.
const LEVEL_NONE: c_int = 0;
const RELOCATION_PIC: c_int = 2;
const MODEL_SMALL: c_int = 3;
const OBJECT_FILE: c_int = 1;

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// What LLVM took: for parsing, and for the code.
fn llvm(bitcode: &[u8]) -> Result<(Duration, Duration), String> {
    // SAFETY: every reference is checked or comes from a call that cannot fail, is used before it is disposed of, and
    // is disposed of once, what hangs on the context before the context. The buffer borrows `bitcode`, which outlives
    // it; it need not end with a zero (third flag 0). Strings are terminated.
    unsafe {
        let start = now();
        let context = LLVMContextCreate();
        let buffer =
            LLVMCreateMemoryBufferWithMemoryRange(bitcode.as_ptr().cast(), bitcode.len(), c"input".as_ptr(), 0);
        let mut module = ptr::null_mut();
        let failed = LLVMParseBitcodeInContext2(context, buffer, &raw mut module) != 0;
        let parsed = now();
        LLVMDisposeMemoryBuffer(buffer);
        if failed {
            LLVMContextDispose(context);
            return Err("LLVM does not parse the file".to_owned());
        }
        own_sections(module);
        let start_of_code = now();
        let generated = generate(module);
        let done = now();
        LLVMDisposeModule(module);
        LLVMContextDispose(context);
        generated.map(|()| (parsed - start, done - start_of_code))
    }
}

/// Puts every function into a section of its own. With all in one, relaxing branches takes LLVM's assembler four times
/// as long as all of the rest for SQLite; `clang -O0` avoids that by an option that the C interface does not have.
///
/// # Safety
///
/// `module` is a module of LLVM that nobody else uses.
unsafe fn own_sections(module: *mut c_void) {
    // SAFETY: functions are the module's, the name is terminated and copied.
    unsafe {
        let mut function = LLVMGetFirstFunction(module);
        for number in 0.. {
            if function.is_null() {
                return;
            }
            if LLVMIsDeclaration(function) == 0 {
                let name = CString::new(format!(".text.{number}")).unwrap_or_default();
                LLVMSetSection(function, name.as_ptr());
            }
            function = LLVMGetNextFunction(function);
        }
    }
}

/// # Safety
///
/// `module` is a module of LLVM that nobody else uses.
unsafe fn generate(module: *mut c_void) -> Result<(), String> {
    // SAFETY: as in `llvm`; an error's text is terminated, and left to the end of the process.
    unsafe {
        let (mut target, mut error) = (ptr::null_mut(), ptr::null_mut());
        let triple = LLVMGetTarget(module);
        if LLVMGetTargetFromTriple(triple, &raw mut target, &raw mut error) != 0 {
            return Err(CStr::from_ptr(error).to_string_lossy().into_owned());
        }
        let machine = LLVMCreateTargetMachine(
            target,
            triple,
            c"x86-64".as_ptr(),
            c"".as_ptr(),
            LEVEL_NONE,
            RELOCATION_PIC,
            MODEL_SMALL,
        );
        let mut object = ptr::null_mut();
        let failed =
            LLVMTargetMachineEmitToMemoryBuffer(machine, module, OBJECT_FILE, &raw mut error, &raw mut object) != 0;
        LLVMDisposeTargetMachine(machine);
        if failed {
            return Err(CStr::from_ptr(error).to_string_lossy().into_owned());
        }
        let size = LLVMGetBufferSize(object);
        LLVMDisposeMemoryBuffer(object);
        if size == 0 { Err("LLVM made an empty object".to_owned()) } else { Ok(()) }
    }
}

/// What the first tier took, parsing the module's tables included, with how many instructions and how many functions
/// were left out.
fn first_tier(bitcode: &[u8]) -> Result<(Duration, u64, u64), Box<dyn std::error::Error>> {
    let start = now();
    let (mut instructions, mut left) = (0, 0);
    let mut compiler = Compiler::new();
    for module in &kiln_bitcode::parse(bitcode)? {
        for (id, function) in (0..).map(FunctionId).zip(module.functions()) {
            if function.is_declaration() || function.symbol.linkage == Linkage::AvailableExternally {
                continue;
            }
            match compiler.compile(module, bitcode, id) {
                Ok(code) => instructions += u64::from(code.instructions),
                Err(_) => left += 1,
            }
        }
    }
    Ok((now() - start, instructions, left))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    initialise(|reason| {
        eprintln!("{reason:?}");
        std::process::exit(70)
    });
    let mut arguments = std::env::args().skip(1).peekable();
    let mut rounds = 5;
    if arguments.next_if_eq("--rounds").is_some() {
        rounds = arguments.next().ok_or("--rounds N")?.parse()?;
    }
    println!("| module | instructions | left out | Kiln ns each | LLVM parse ns each | LLVM -O0 ns each | times |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for path in arguments {
        let bitcode = std::fs::read(&path)?;
        let (mut ours, mut parse, mut code) = (Duration::MAX, Duration::MAX, Duration::MAX);
        let (mut instructions, mut left) = (0, 0);
        for _ in 0..rounds {
            let (time, of, out) = first_tier(&bitcode)?;
            (ours, instructions, left) = (ours.min(time), of, out);
            let times = llvm(&bitcode)?;
            (parse, code) = (parse.min(times.0), code.min(times.1));
        }
        let each = |time: Duration| time.as_nanos() as f64 / instructions.max(1) as f64;
        println!(
            "| {path} | {instructions} | {left} | {:.0} | {:.0} | {:.0} | {:.1} |",
            each(ours),
            each(parse),
            each(code),
            (parse + code).as_secs_f64() / ours.as_secs_f64(),
        );
    }
    Ok(())
}
