//! Whole programs: what `kiln run` makes of bitcode against the native build of the same compiler.
//!
//! Every feature program and every real program is run from unoptimised and from `-O2` bitcode; standard output and the
//! end, exit status or signal, must be those of the native program. Builds are kept under `target/programs`.

mod harness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::{Compare, LIMIT, Run, native, same, tail, under_kiln};
use kiln_bench::corpus::{Built, Level, Workshop, features, real, ripgrep};
use kiln_bench::generate;
use kiln_bench::process::{End, Outcome};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let shop = Arc::new(Workshop::new());
    let mut trials = Vec::new();
    features(&shop, &mut trials);
    real(&shop, &mut trials);
    ripgrep_trials(&shop, &mut trials);
    libtest_mimic::run(&arguments, trials).exit();
}

fn features(shop: &Arc<Workshop>, trials: &mut Vec<Trial>) {
    for feature in features::all(shop).expect("programs/features can be read") {
        for level in feature.levels.clone() {
            let (shop, feature) = (Arc::clone(shop), feature.clone());
            let name = format!("features::{}::{}", feature.name, level.name());
            trials.push(Trial::test(name, move || one_feature(&shop, &feature, level)));
        }
    }
}

fn one_feature(shop: &Workshop, feature: &features::Feature, level: Level) -> Result<(), Failed> {
    let built = feature.build(shop, level)?;
    let mut run = Run {
        options: feature.options.clone(),
        args: feature.args.clone(),
        env: feature.env.clone(),
        stdin: feature.stdin.clone(),
        ..Run::default()
    };
    run.env.push(("PLUGINS".to_owned(), built.directory.display().to_string()));
    let expected = native(&built, &run, LIMIT)?;
    native_ends(&expected, feature.end)?;
    let ours = under_kiln(&built, &built.modules, &run)?;
    same(&expected, &ours, Compare { stderr: feature.compare_stderr, ..Compare::default() })?;
    let report = String::from_utf8_lossy(&ours.stderr);
    match feature.crash_report.iter().find(|word| level == Level::O0 && !report.contains(*word)) {
        Some(word) => Err(format!("the report of the crash does not name {word}:\n{}", tail(&ours.stderr)).into()),
        None => Ok(()),
    }
}

/// One run of a real program.
struct Case {
    program: &'static str,
    name: &'static str,
    /// A file in the program's folder, as its first argument.
    script: Option<&'static str>,
    args: &'static [&'static str],
    stdin: Vec<u8>,
    end: End,
}

fn cases() -> Vec<Case> {
    let script = |program, script, args, exit| Case {
        program,
        name: script,
        script: Some(script),
        args,
        stdin: b"12.5 rest of line\nsecond line\n".to_vec(),
        end: End::Exit(exit),
    };
    let pack = |program, name, args, size| Case {
        program,
        name,
        script: None,
        args,
        stdin: generate::prose(size),
        end: End::Exit(0),
    };
    vec![
        script("sqlite", "short.sql", &[], 0),
        script("sqlite", "features.sql", &["file.db"], 0),
        script("sqlite", "error.sql", &[], 1),
        script("lua", "features.lua", &["x"], 0),
        script("lua", "fib.lua", &["18"], 0),
        script("lua", "nbody.lua", &["500"], 0),
        script("lua", "error.lua", &[], 1),
        script("quickjs", "features.js", &[], 0),
        script("quickjs", "small.js", &[], 0),
        script("quickjs", "error.js", &[], 1),
        script("simdjson", "sample.json", &[], 0),
        script("simdjson", "error.json", &[], 1),
        pack("zstd", "level 1", &["1"], 1 << 20),
        pack("zstd", "level 7", &["7"], 1 << 19),
        pack("zstd", "level 19", &["19"], 1 << 17),
        pack("zstd", "empty", &["3"], 0),
        pack("bzip2", "block 1", &["1"], 1 << 19),
        pack("bzip2", "block 9", &["9"], 1 << 20),
    ]
}

fn real(shop: &Arc<Workshop>, trials: &mut Vec<Trial>) {
    for case in cases() {
        let case = Arc::new(case);
        for level in Level::ALL {
            let forms: &[&str] = if level == Level::O0 { &["files", "whole"] } else { &["whole"] };
            for form in forms {
                let (shop, case) = (Arc::clone(shop), Arc::clone(&case));
                let name = format!("real::{}::{}::{}::{form}", case.program, case.name.replace(' ', "-"), level.name());
                trials.push(Trial::test(name, move || one_case(&shop, &case, level, form)));
            }
        }
    }
}

fn one_case(shop: &Workshop, case: &Case, level: Level, form: &str) -> Result<(), Failed> {
    let built = real::named(case.program).ok_or("no such program")?.build(shop, level)?;
    let mut run = Run { stdin: case.stdin.clone(), ..Run::default() };
    if let Some(script) = case.script {
        run.args.push(shop.source(format!("programs/{}/{script}", case.program)).display().to_string());
    }
    run.args.extend(case.args.iter().map(ToString::to_string));
    let expected = native(&built, &run, LIMIT)?;
    native_ends(&expected, case.end)?;
    let modules = if form == "whole" { vec![real::whole(&built)] } else { built.modules.clone() };
    let ours = under_kiln(&built, &modules, &run)?;
    same(&expected, &ours, Compare { stderr: true, ..Compare::default() })
}

/// Groups of ripgrep's flags; each line is one run in the tree that [`tree`] makes. Runs without `--sort` or `-j1` use
/// threads, so their lines are compared in any order.
const RIPGREP: &[(&str, &[&str])] = &[
    (
        "output",
        &[
            "needle",
            "-n needle",
            "-N needle",
            "-c needle",
            "--count-matches needle",
            "-l needle",
            "--files-without-match needle",
            "-o needle",
            "-b needle",
            "--column needle",
            "--vimgrep needle",
            "-H needle",
            "-I needle",
            "--heading --sort path needle",
            "--no-heading needle",
            "-p --sort path needle",
            "--color always needle",
            "--color=ansi --colors match:fg:magenta needle",
            "-0 -l --sort path needle",
            "--null-data -j1 --sort path needle",
            "--trim needle",
            "-M 20 needle",
            "-M 20 --max-columns-preview needle",
            "--json --sort path needle",
            "--path-separator : needle",
            "-r REPLACED needle",
            "-r $1-$2 (nee)(dle)",
            "--field-match-separator @ -n needle",
            "--hyperlink-format file://{path} --color always needle",
            "--passthru -j1 --sort path needle a.txt",
            "--include-zero -c needle",
            "--no-filename needle",
            "--byte-offset -o needle",
            "--line-buffered needle",
            "--block-buffered needle",
        ],
    ),
    (
        "context",
        &[
            "-A 1 --sort path needle",
            "-B 2 --sort path needle",
            "-C 1 --sort path needle",
            "-C 1 --context-separator === --sort path needle",
            "--no-context-separator -C 1 --sort path needle",
            "-C 1 --field-context-separator ~ -n --sort path needle",
            "-m 1 --sort path needle",
            "--stop-on-nonmatch --sort path needle",
        ],
    ),
    (
        "patterns",
        &[
            "-i NEEDLE",
            "-S needle",
            "-S Needle",
            "-s NEEDLE",
            "-F nee(dle",
            "-w needle",
            "-x needle",
            "-v e",
            "-e needle -e thread",
            "-f patterns",
            "-U needle\\nand",
            "-U --multiline-dotall needle.+?stack",
            "--crlf needle$",
            "\\bn\\w+e\\b",
            "[[:upper:]]{2,}",
            "\\p{Greek}+",
            "--no-unicode \\w+é",
            "^$",
            "(?i)NEEDLE|haystack(?-i)",
            "--engine default n..dle",
            "--auto-hybrid-regex needle",
            "--dfa-size-limit 1M needle",
            "--regex-size-limit 10M needle",
            "-a needle",
            "--binary needle",
            "-E utf-16le wide",
            "-E latin1 na.ve",
            "-E none needle",
            "nothing_has_this",
            "(unclosed",
            "-P (?<=a)b",
        ],
    ),
    (
        "files",
        &[
            "--files",
            "--files --sort path",
            "--files --sortr path",
            "--files -g *.rs",
            "--files -g !*.rs",
            "--files --iglob *.TXT",
            "--files --glob-case-insensitive -g *.TXT",
            "--files -t rust",
            "--files -T rust",
            "--files --type-add foo:*.foo -t foo",
            "--files --type-clear rust -t c",
            "--files --hidden",
            "--files --no-ignore",
            "--files --no-ignore-dot",
            "--files --no-ignore-vcs",
            "--files --no-ignore-parent --no-ignore-global --no-ignore-exclude",
            "--files --ignore-file own.ignore",
            "--files --no-ignore-files --ignore-file own.ignore",
            "--files --ignore-file-case-insensitive --ignore-file own.ignore",
            "--files --no-require-git",
            "--files -d 1",
            "--files --max-filesize 100",
            "--files -L",
            "--files --one-file-system",
            "--files -u",
            "--files -uu",
            "--files -uuu",
            "--type-list",
            "-q needle",
            "--no-messages needle nowhere",
            "needle nowhere",
            "--no-ignore-messages needle",
            "--mmap needle",
            "--no-mmap needle",
            "--search-zip needle",
            "--pre cat needle a.txt",
            "--pre cat --pre-glob *.txt needle",
            "--stop-on-nonmatch needle -j1 --sort path",
        ],
    ),
    (
        "program",
        &[
            "--version",
            "-V",
            "--help",
            "-h",
            "--pcre2-version",
            "--generate man",
            "--generate complete-bash",
            "--generate complete-zsh",
            "--generate complete-fish",
            "--generate complete-powershell",
            "--no-config needle",
            "--debug -j1 --sort path needle a.txt",
            "--no-such-flag",
            "-j1 needle",
            "-j2 needle",
            "-j8 needle",
            "--threads 16 -c e",
        ],
    ),
];

fn ripgrep_trials(shop: &Arc<Workshop>, trials: &mut Vec<Trial>) {
    for level in Level::ALL {
        for (group, lines) in RIPGREP {
            let shop = Arc::clone(shop);
            let name = format!("ripgrep::{group}::{}", level.name());
            // The unoptimised program is compiled anew for every run: a few flags of each group are enough there.
            let lines: Vec<&str> = match level {
                Level::O0 => lines.iter().copied().step_by(6).collect(),
                Level::O2 => lines.to_vec(),
            };
            trials.push(Trial::test(name, move || ripgrep_group(&shop, level, &lines)));
        }
    }
}

fn ripgrep_group(shop: &Workshop, level: Level, lines: &[&str]) -> Result<(), Failed> {
    let built = ripgrep::build(shop, level)?;
    let directory = tempfile::tempdir()?;
    tree(directory.path())?;
    let mut failures = Vec::new();
    for line in lines {
        if let Err(failure) = ripgrep_run(&built, directory.path(), line) {
            failures.push(format!("rg {line}: {}", failure.message().unwrap_or_default()));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} runs differ\n{}", failures.len(), lines.len(), failures.join("\n")).into())
}

fn ripgrep_run(built: &Built, directory: &Path, line: &str) -> Result<(), Failed> {
    let run = Run {
        args: line.split(' ').map(str::to_owned).collect(),
        directory: Some(directory.to_path_buf()),
        ..Run::default()
    };
    let ordered = ["--sort", "--sortr", "-j1", "--generate", "-h", "--help"];
    let ordered = line.split(' ').any(|word| ordered.contains(&word));
    let mut expected = native(built, &run, LIMIT)?;
    if !matches!(expected.end, End::Exit(0..=2)) {
        return Err(format!("natively {}", expected.end).into());
    }
    let mut ours = under_kiln(built, &built.modules, &run)?;
    if line.contains("--json") {
        expected.stdout = without_times(&expected.stdout);
        ours.stdout = without_times(&ours.stdout);
    }
    same(&expected, &ours, Compare { unordered: !ordered, ..Compare::default() })
}

/// ripgrep's JSON without the objects that say how long a search took.
fn without_times(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    let mut pieces = text.split("\"elapsed");
    let mut rest = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        rest.push_str(piece.split_once('}').map_or("", |(_, after)| after));
    }
    rest.into_bytes()
}

/// Files of several kinds in folders, some of them ignored, hidden, binary, wide, compressed or linked.
fn tree(root: &Path) -> std::io::Result<()> {
    let write = |path: &str, content: &[u8]| -> std::io::Result<()> {
        let path: PathBuf = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(root))?;
        std::fs::write(path, content)
    };
    write("a.txt", "a needle here\nand a thread\n\nneedle\nNEEDLE and Needle, needles too\nnee(dle\n".as_bytes())?;
    write("b.txt", "naïve café\nΑθήνα is Greek\nneedle\r\nstack of hay\n".as_bytes())?;
    write("latin.txt", b"na\xefve needle\n")?;
    write("wide.txt", &"\u{feff}a wide needle\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())?;
    write("binary.dat", b"needle before\0needle after\nneedle\n")?;
    write("nul.txt", b"one needle\0two\0three needle\0")?;
    write("long.txt", format!("{}needle{}\n", "x".repeat(500), "y".repeat(500)).as_bytes())?;
    write("patterns", b"needle\nthread\n")?;
    write("own.ignore", b"SUB/\n*.rs\n")?;
    write(".ignore", b"ignored.txt\n")?;
    write(".gitignore", b"target/\n*.log\n!kept.log\n")?;
    write(".hidden/needle.txt", b"hidden needle\n")?;
    write("ignored.txt", b"ignored needle\n")?;
    write("target/out.txt", b"built needle\n")?;
    write("lost.log", b"needle\n")?;
    write("kept.log", b"needle\n")?;
    write("x.foo", b"needle foo\n")?;
    write("empty", b"")?;
    std::fs::create_dir_all(root.join(".git"))?;
    for folder in 0..12 {
        for file in 0..10 {
            let text = String::from_utf8(generate::prose(500 + folder * 300 + file * 70)).unwrap_or_default();
            let extension = ["rs", "c", "txt", "md"][file % 4];
            let needle = if (folder + file) % 3 == 0 { "a needle in here\n" } else { "" };
            write(&format!("sub/{folder}/deep/{file}.{extension}"), format!("{text}\n{needle}{text}").as_bytes())?;
        }
    }
    std::os::unix::fs::symlink("a.txt", root.join("link.txt"))?;
    std::os::unix::fs::symlink("sub/1", root.join("linked"))
}

/// Fails unless the native program ended as it should: a program that does not even work natively shows nothing.
fn native_ends(outcome: &Outcome, end: End) -> Result<(), Failed> {
    if outcome.end == end {
        return Ok(());
    }
    Err(format!("the native program ended with {}, not {end}\n{}", outcome.end, tail(&outcome.stderr)).into())
}
