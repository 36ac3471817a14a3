//! Generations that nothing can be compiled from any more take no memory.

mod support;

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use kiln::{Engine, Input, Tier, TierChoice};
use support::{alone, bitcode, call, options};

/// 500 functions, of which one differs from edit to edit; every other edit has a string more, which shifts all numbers.
fn program(edit: u32) -> String {
    let mut source = String::from("extern int puts(const char *);\n");
    if edit % 2 == 1 {
        source.push_str("int before(int x) { if (x == -7) puts(\"one more\"); return x; }\n");
    }
    for n in 0..500 {
        let add = if n == 250 { 1000 * edit } else { n };
        let _ = writeln!(
            source,
            "int f{n}(int x) {{ if (x == -1) puts(\"text {n}\"); for (int i = 0; i < x; i++) x ^= i * {n}; return x + {add}; }}"
        );
    }
    source
}

fn edits(name: &str, count: u32) -> (String, Vec<Input>) {
    let inputs = (0..count).map(|edit| bitcode(&format!("{name}{edit}"), &program(edit), &[])).collect();
    (Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}0.bc")).display().to_string(), inputs)
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The process that was started as `command`: an optimizer is no child of who it works for.
fn process(command: &str) -> u32 {
    let is_it =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == command);
    let all = std::fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(is_it).last().expect("it runs")
}

/// Mappings of files in memory: the modules that it has open.
fn memory_files(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

/// Call after `rounds` edits whose numbers `edits` gives in turn.
fn edit(engine: &Engine, name: &str, inputs: &[Input], rounds: std::ops::Range<usize>) {
    for round in rounds {
        let edit = 1 + round % (inputs.len() - 1);
        let update = engine.update(name, &inputs[edit]).unwrap();
        assert_eq!(update.redefined.versions().len(), 1, "round {round}");
        assert_eq!(call(engine, "f250", 0), 1000 * edit as i32);
    }
}

#[test]
fn memory_stays_flat_over_many_updates() {
    alone("memory_stays_flat_over_many_updates", || {
        let (name, inputs) = edits("flat", 4);
        let engine = Engine::new(options()).unwrap();
        engine.load(&inputs[..1]).unwrap();
        assert_eq!(call(&engine, "f250", 0), 0);
        edit(&engine, &name, &inputs, 0..60);
        engine.reclaim();
        let (before, modules) = (resident(std::process::id()), engine.statistics().modules);
        // The first, the newest, and those that the last 16 versions can be rolled back to.
        assert!(modules <= 18, "{modules}");
        edit(&engine, &name, &inputs, 60..200);
        engine.reclaim();
        let after = resident(std::process::id());
        let statistics = engine.statistics();
        assert_eq!((statistics.modules, statistics.modules_for_optimizer), (modules, modules));
        // 140 generations of 500 functions: bytes and tables of one are more than 300 KiB.
        assert!(after < before + 4096, "{before} KiB, then {after} KiB");

        // What is remembered is there, and what goes is forgotten.
        let oldest = engine.history("f250").first().unwrap().number;
        engine.rollback("f250", oldest).unwrap();
        assert_eq!(call(&engine, "f250", 0), 1000 * (1 + (oldest as i32 - 2) % 3));
        assert!(engine.rollback("f250", 1).is_err());
        assert_eq!(
            (call(&engine, "f3", 0), call(&engine, "f499", 0)),
            (3, 499),
            "functions that were never called before"
        );
    });
}

#[test]
fn the_optimizer_forgets_generations_too() {
    alone("the_optimizer_forgets_generations_too", || {
        let (name, inputs) = edits("forgets", 4);
        let mut options = options();
        options.tier = TierChoice::Only(Tier::Optimizer);
        options.history = 4;
        // By its name it is found.
        let command = format!("optimizer{}", std::process::id() % 100_000);
        let link = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&command);
        std::os::unix::fs::symlink(options.optimizer.unwrap(), &link).unwrap();
        options.optimizer = Some(link.clone());
        let engine = Engine::new(options).unwrap();
        engine.load(&inputs[..1]).unwrap();
        assert_eq!(call(&engine, "f250", 0), 0);
        edit(&engine, &name, &inputs, 0..10);
        std::fs::remove_file(link).unwrap();
        let optimizer = process(&command);
        let modules = engine.statistics().modules_for_optimizer;
        assert!(modules <= 6 && memory_files(optimizer) > 0, "{modules} modules");
        edit(&engine, &name, &inputs, 10..50);
        assert_eq!(engine.statistics().modules_for_optimizer, modules);
        // It is told, and does not answer.
        let deadline = Instant::now() + Duration::from_secs(20);
        while memory_files(optimizer) as u64 > modules {
            assert!(Instant::now() < deadline, "{} files for {modules} modules", memory_files(optimizer));
            std::thread::yield_now();
        }
    });
}

/// Names that are redefined one by one from IR.
#[test]
fn redefinitions_that_fail_or_are_replaced_leave_nothing() {
    alone("redefinitions_that_fail_or_are_replaced_leave_nothing", || {
        let (_, inputs) = edits("single", 3);
        let mut options = options();
        options.history = 2;
        let engine = Engine::new(options).unwrap();
        engine.load(&inputs[..1]).unwrap();
        for round in 0..40 {
            engine.redefine(&["f250"], &inputs[1 + round % 2]).unwrap();
            assert!(engine.redefine(&["f250", "nobody"], &inputs[1]).is_err());
        }
        assert_eq!(call(&engine, "f250", 0), 2000);
        let statistics = engine.statistics();
        assert!(statistics.modules <= 4, "{}", statistics.modules);
        assert_eq!(statistics.modules_for_optimizer, statistics.modules);
    });
}
