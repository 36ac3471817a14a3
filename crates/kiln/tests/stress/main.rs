//! Sixteen threads call a thousand functions in every way there is while two others replace them.
//!
//! Others load modules and objects meanwhile, take their names away and add them again, and take and drop handles.
//!
//! Every function tells its version. A caller reads which version's `redefine` has returned, calls, and must meet that
//! version or a later one. Afterwards the process holds as much as in the middle. `KILN_STRESS_SECONDS` says how long
//! each test runs.

#[path = "../support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kiln::{Engine, Input, Options, Permission, Pipeline};
use support::alone;

const CALLERS: usize = 16;
const REPLACERS: usize = 2;
const LOADERS: usize = 2;
/// How often each of them loads in a run: what is loaded stays.
const LOADS: usize = 16;
/// Most code and data that a module and an object leave.
const BYTES_PER_LOAD: u64 = 2 << 10;
/// Most memory that their tables take.
const HEAP_PER_LOAD: u64 = 32 << 10;
const FUNCTIONS: usize = 1000;
/// From here on two functions at a time are replaced together.
const FIRST_PAIR: usize = 900;

/// Bytes per region, in the tests that keep freed memory apart.
const QUARANTINE: u64 = 256 << 10;

/// Ways that a caller reaches a function, and ways that a function ends: as in `program.cc` and `stamp.h`.
const HOWS: usize = 6;
const WAYS: usize = 4;

/// The system's allocator, counting what is allocated.
struct Counting;

static HEAP_BYTES: AtomicI64 = AtomicI64::new(0);

// SAFETY: as the system's, which does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HEAP_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A function that tells its version.
type Stamp = unsafe extern "C" fn(i32) -> i32;

/// `version_met(function, how, way)` of `program.cc`.
type VersionMet = unsafe extern "C" fn(i32, i32, i32) -> i32;

fn seconds() -> f64 {
    // In the first half of two, tables still grew when the second one began.
    std::env::var("KILN_STRESS_SECONDS").map_or(6.0, |text| text.parse().expect("KILN_STRESS_SECONDS is a number"))
}

fn compile(source: &str, extension: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stress").join(source);
    let name = format!("stress-{}-{}", std::process::id(), source.file_stem().unwrap().display());
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension(extension);
    let status = Command::new("clang++-22").args(["-c", "-fPIC"]).args(flags).arg(&source).arg("-o").arg(&out).status();
    assert!(status.unwrap().success(), "clang++-22 refused {}", source.display());
    out
}

/// An object whose names and version number are filled in.
#[derive(Clone)]
struct Template {
    bytes: Vec<u8>,
    versions: Vec<usize>,
    names: Vec<Vec<usize>>,
}

impl Template {
    /// An object, with a version number.
    fn new(source: &str, names: &[&str]) -> Template {
        let template = Self::of(compile(source, "o", &["-O1"]), names);
        assert!(!template.versions.is_empty());
        template
    }

    fn of(file: PathBuf, names: &[&str]) -> Template {
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        let places = |mark: &[u8]| -> Vec<usize> {
            (0..bytes.len() - mark.len()).filter(|at| bytes[*at..].starts_with(mark)).collect()
        };
        let names: Vec<_> = names.iter().map(|name| places(name.as_bytes())).collect();
        let versions = places(&0x1234_5678_i32.to_le_bytes());
        assert!(names.iter().all(|places| !places.is_empty()));
        Template { names, versions, bytes }
    }

    fn version(&mut self, version: i32, functions: &[usize]) -> &[u8] {
        for at in &self.versions {
            self.bytes[*at..*at + 4].copy_from_slice(&version.to_le_bytes());
        }
        for (places, function) in self.names.iter().zip(functions) {
            for at in places {
                self.bytes[*at..*at + 3].copy_from_slice(format!("{function:03}").as_bytes());
            }
        }
        &self.bytes
    }
}

/// A generator of numbers, so that every thread does something else.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

struct World {
    engine: Engine,
    version_met: VersionMet,
    one: Template,
    two: Template,
    module: Template,
    object: Template,
    /// The last version of each function whose redefinition returned.
    returned: Vec<AtomicI32>,
    stop: AtomicBool,
    calls: AtomicU64,
    redefinitions: AtomicU64,
    loads: AtomicU64,
}

impl World {
    fn new(change: impl FnOnce(&mut Options)) -> World {
        let mut options = support::options();
        // What is remembered of every function's versions is to be complete when the first half is over.
        options.history = 2;
        change(&mut options);
        let engine = Engine::new(options).unwrap();
        let program = compile("program.cc", "bc", &["-emit-llvm"]);
        engine.load(&[Input::File(program.clone()), Input::Library("stdc++".to_owned())]).unwrap();
        std::fs::remove_file(program).unwrap();
        let version_met = engine.function::<VersionMet>("version_met").unwrap().pointer();
        let world = World {
            engine,
            version_met,
            one: Template::new("version.cc", &["NNN"]),
            two: Template::new("pair.cc", &["NNN", "MMM"]),
            module: Template::of(compile("loaded.cc", "bc", &["-O1", "-emit-llvm"]), &["NNN"]),
            object: Template::new("object.cc", &["NNN"]),
            returned: (0..FUNCTIONS).map(|_| AtomicI32::new(0)).collect(),
            stop: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            redefinitions: AtomicU64::new(0),
            loads: AtomicU64::new(0),
        };
        // From now on all versions are of one size, and as many are remembered as will be.
        let (mut one, mut two, mut random) = (world.one.clone(), world.two.clone(), Random(0));
        aside(|| {
            for first in (0..FUNCTIONS).step_by(2).chain((0..FUNCTIONS).step_by(2)) {
                world.redefine(first, &mut one, &mut two, &mut random);
            }
        });
        world
    }

    fn call(&self, function: usize, how: usize, way: usize) -> i32 {
        // SAFETY: the program's function takes any numbers in these ranges and lets nothing be thrown out.
        unsafe { (self.version_met)(function as i32, how as i32, way as i32) }
    }

    /// Calls and compares until told to stop.
    fn call_all_the_time(&self, thread: usize) {
        let mut random = Random(thread as u64);
        let mut calls = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let (function, how, way) = (random.below(FUNCTIONS), random.below(HOWS), random.below(WAYS));
            let at_least = self.returned[function].load(Ordering::Acquire);
            let met = self.call(function, how, way);
            assert!(met >= at_least, "function {function}, how {how}, way {way}: {met} after {at_least}");
            calls += 1;
            if function >= FIRST_PAIR {
                // No thread can enter a new body of one and then an old one of the other.
                let other = self.call(function ^ 1, random.below(HOWS), random.below(WAYS));
                assert!(other >= met, "function {}: {other}, but {met} of {function}", function ^ 1);
                calls += 1;
            }
        }
        self.calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// Replaces its share of the functions, over and over, until the deadline.
    fn redefine_all_the_time(&self, replacer: usize, deadline: Instant) {
        let (mut one, mut two) = (self.one.clone(), self.two.clone());
        let mut random = Random(replacer as u64);
        let mut redefinitions = 0;
        for first in (replacer * 2..FUNCTIONS).step_by(REPLACERS * 2).cycle() {
            if Instant::now() >= deadline {
                break;
            }
            redefinitions += self.redefine(first, &mut one, &mut two, &mut random);
            // Callers change as well.
            let direct = format!("direct{:03}", random.below(FUNCTIONS));
            match random.below(256) {
                // The sanitizer does not follow how the optimizer is started.
                0 if !cfg!(kiln_tsan) => drop(self.engine.reoptimise(&[&direct], Pipeline::Full).unwrap()),
                1..4 => self.engine.evict(&[&direct]),
                _ => {}
            }
        }
        self.redefinitions.fetch_add(redefinitions, Ordering::Relaxed);
    }

    /// Loads, removes, adds again, holds and drops until told to stop.
    fn load_all_the_time(&self, loader: usize) {
        let (mut module, mut object) = (self.module.clone(), self.object.clone());
        let mut random = Random(1000 + loader as u64);
        let mut loads = 0;
        while !self.stop.load(Ordering::Relaxed) {
            // Each has names of its own.
            let function = random.below(FUNCTIONS / LOADERS) * LOADERS + loader;
            if loads < LOADS {
                loads += 1;
                self.load_and_remove(function, loads as i32, &mut module, &mut object);
            }
            let name = format!("stamp{function:03}");
            let at_least = self.returned[function].load(Ordering::Acquire);
            let handle = self.engine.hold(&name).unwrap();
            // SAFETY: a version of this function, which the handle keeps.
            let held = unsafe { std::mem::transmute::<*const (), Stamp>(handle.address().get() as *const ()) };
            // SAFETY: it returns its version.
            let met = unsafe { held(0) };
            assert!(met >= at_least, "function {function}: {met} is held after {at_least}");
            self.call(function, random.below(HOWS), random.below(WAYS));
            // SAFETY: as above.
            assert_eq!(unsafe { held(0) }, met, "function {function}: what is held stays what it is");
            assert!(self.engine.lookup(&name).is_some() && self.engine.lookup("nobody").is_none());
        }
        self.loads.fetch_add(loads as u64, Ordering::Relaxed);
    }

    /// A module that calls `function`, and an object that says `version`: their names come, go, and come back as others.
    fn load_and_remove(&self, function: usize, version: i32, module: &mut Template, object: &mut Template) {
        let (loaded, in_object) = (format!("loaded{function:03}"), format!("object{function:03}"));
        let mut inputs = vec![
            Input::Bytes { name: format!("{loaded}.bc"), bytes: module.version(0, &[function]).to_vec() },
            Input::Bytes { name: format!("{in_object}.o"), bytes: object.version(version, &[function]).to_vec() },
        ];
        // Together or one after the other.
        let last = if version % 2 == 0 { inputs.split_off(1) } else { Vec::new() };
        self.engine.load(&inputs).unwrap();
        if !last.is_empty() {
            self.engine.load(&last).unwrap();
        }
        let at_least = self.returned[function].load(Ordering::Acquire);
        let call = self.engine.function::<Stamp>(&loaded).unwrap().pointer();
        let tell = self.engine.lookup(&in_object).unwrap();
        // SAFETY: the object's function of that name.
        let tell = unsafe { std::mem::transmute::<*const (), Stamp>(tell.get() as *const ()) };
        for _ in 0..2 {
            // SAFETY: both take and return a number.
            let (met, told) = unsafe { (call(0), tell(1)) };
            assert!(met >= at_least, "function {function}, from another module: {met} after {at_least}");
            assert_eq!(told, version + 1);
            // Code stays when its name goes.
            self.engine.remove(&[&loaded, &in_object]);
            assert_eq!((self.engine.lookup(&loaded), self.engine.lookup(&in_object)), (None, None));
        }
    }

    /// Gives `first` and the next function their next versions; how many redefinitions that took.
    fn redefine(&self, first: usize, one: &mut Template, two: &mut Template, random: &mut Random) -> u64 {
        let pair = [first, first + 1];
        let names = pair.map(|function| format!("stamp{function:03}"));
        let version = self.returned[first].load(Ordering::Relaxed) + 1;
        let returned = |function: usize| self.returned[function].store(version, Ordering::Release);
        let now = |function: usize, random: &mut Random| {
            let met = self.call(function, random.below(HOWS), random.below(WAYS));
            assert_eq!(met, version, "function {function}, right after its redefinition");
        };
        if first >= FIRST_PAIR {
            let names = [names[0].as_str(), &names[1]];
            self.engine.redefine_from_object(&names, two.version(version, &pair)).unwrap();
            pair.into_iter().for_each(returned);
            pair.into_iter().for_each(|function| now(function, random));
            return 1;
        }
        for (name, function) in names.iter().zip(pair) {
            self.engine.redefine_from_object(&[name], one.version(version, &[function])).unwrap();
            returned(function);
            now(function, random);
        }
        2
    }

    fn call_each(&self) {
        for function in 0..FUNCTIONS {
            for how in 0..HOWS {
                for way in 0..WAYS {
                    assert_eq!(self.call(function, how, way), self.returned[function].load(Ordering::Relaxed));
                }
            }
        }
    }

    /// Lets all threads run for so long, then brings the engine into the same state as after any other run.
    fn run(&self, length: Duration) -> Footprint {
        let deadline = Instant::now() + length;
        self.stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for thread in 0..CALLERS {
                scope.spawn(move || self.call_all_the_time(thread));
            }
            for loader in 0..LOADERS {
                scope.spawn(move || self.load_all_the_time(loader));
            }
            let replacers: Vec<_> =
                (0..REPLACERS).map(|n| scope.spawn(move || self.redefine_all_the_time(n, deadline))).collect();
            replacers.into_iter().for_each(|replacer| replacer.join().unwrap());
            self.stop.store(true, Ordering::Relaxed);
        });
        // Callers are compiled again, all by the same compiler; versions are what they are.
        let names = self.engine.function_names();
        let callers: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.starts_with("stamp")).collect();
        aside(|| self.engine.evict(&callers));
        aside(|| self.call_each());
        aside(|| Footprint::now(&self.engine))
    }
}

/// Does `work` on a stack that is gone afterwards: a word that a call leaves behind keeps the old code that it leads to.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// What the process and the engine hold.
#[derive(Debug)]
struct Footprint {
    resident_kb: u64,
    heap_bytes: i64,
    mappings: usize,
    code_bytes: u64,
    retired_bytes: u64,
    call_sites: u64,
}

impl Footprint {
    fn now(engine: &Engine) -> Footprint {
        let reclaimed = engine.reclaim();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let statistics = engine.statistics();
        assert_eq!((reclaimed.held_units, &reclaimed.obstacles[..]), (0, &[][..]), "nobody runs: {reclaimed:?}");
        Footprint {
            resident_kb: resident.trim().trim_end_matches("kB").trim().parse().unwrap(),
            heap_bytes: HEAP_BYTES.load(Ordering::Relaxed),
            mappings: std::fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            code_bytes: statistics.regions.iter().map(|region| region.used_bytes).sum(),
            retired_bytes: statistics.retired_bytes,
            call_sites: statistics.direct_sites + statistics.stub_sites,
        }
    }
}

fn stress(change: impl FnOnce(&mut Options)) {
    // A thread that fails ends the process: the others would go on for ever.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(1);
    }));
    let mut quarantine = 0;
    let world = World::new(|options| {
        change(options);
        quarantine = options.quarantine_bytes;
    });
    let length = Duration::from_secs_f64(seconds() / 2.0);
    let before = world.run(length);
    let (warm_up, loads_before) = (world.redefinitions.load(Ordering::Relaxed), world.loads.load(Ordering::Relaxed));
    let after = world.run(length);
    let redefinitions = world.redefinitions.load(Ordering::Relaxed);
    let (calls, loads) = (world.calls.load(Ordering::Relaxed), world.loads.load(Ordering::Relaxed));
    eprintln!("{calls} calls, {redefinitions} redefinitions, {loads} loads");
    eprintln!("after {warm_up}: {before:?}\nat the end: {after:?}\n{}", world.engine.statistics());
    // What was loaded and calls something stays, with that call.
    let loaded = loads - loads_before;
    assert_eq!(after.retired_bytes, 0);
    assert!(after.call_sites <= before.call_sites + loaded, "call sites leak");
    let apart = Permission::ALL.len() as u64 * quarantine;
    assert!(after.code_bytes <= before.code_bytes + apart + loaded * BYTES_PER_LOAD, "code or its data leaks");
    let tables = (loaded * HEAP_PER_LOAD) as i64;
    assert!(after.heap_bytes <= before.heap_bytes + (1 << 20) + tables, "the engine's memory leaks");
    if cfg!(kiln_tsan) {
        // The sanitizer has memory and mappings of its own.
        return;
    }
    // Pages that are kept apart are unmapped one by one.
    assert!(after.mappings <= before.mappings + 4 + apart as usize / 4096, "mappings leak");
    assert!(after.resident_kb <= before.resident_kb + 8192, "the process's memory leaks");
}

#[test]
fn every_call_after_a_redefinition_has_the_new_meaning() {
    alone("every_call_after_a_redefinition_has_the_new_meaning", || stress(|_| {}));
}

/// The same, all threads being looked at all the time, and freed memory kept apart, so that code traps if it is used.
#[test]
fn old_code_is_freed_as_soon_as_it_is_left() {
    alone("old_code_is_freed_as_soon_as_it_is_left", || {
        stress(|options| {
            options.reclaim_bytes = 1;
            options.quarantine_bytes = QUARANTINE;
        });
    });
}

/// The same, and who replaces waits until all threads were looked at, each time.
#[test]
fn old_code_is_freed_before_anything_else_is_replaced() {
    alone("old_code_is_freed_before_anything_else_is_replaced", || {
        stress(|options| {
            options.reclaim_bytes = 0;
            options.quarantine_bytes = QUARANTINE;
        });
    });
}
