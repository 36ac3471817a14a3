//! `kiln run --watch`: what people see of a save.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use kiln::WatchEvent;

/// Lines per save; the rest is counted.
const LINES_MAX: usize = 12;

/// The files that can be taken over when they change. Others, such as libraries, are left alone.
pub(crate) fn watchable(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_source = |file: &PathBuf| {
        let extension = file.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("c" | "cc" | "cpp" | "cxx" | "C" | "rs" | "bc" | "ll"))
    };
    let (watched, left): (Vec<_>, Vec<_>) = files.into_iter().partition(is_source);
    for file in left {
        eprintln!("kiln: {} is not watched: only source files, IR and bitcode are", file.display());
    }
    watched
}

/// Tells what came of a save, in one piece: the program writes as well.
pub(crate) fn report(event: &WatchEvent) {
    eprint!("{}", text(event));
}

fn text(event: &WatchEvent) -> String {
    let mut text = String::new();
    match event {
        WatchEvent::Live { file, update, since_save, compiler, kiln } => {
            let file = file.display();
            let versions = update.redefined.versions();
            for (function, version) in versions.iter().take(LINES_MAX) {
                let _ =
                    writeln!(text, "kiln: {function} is live, version {version}, {} after the save", ms(*since_save));
            }
            if versions.len() > LINES_MAX {
                let _ = writeln!(text, "kiln: and {} functions more", versions.len() - LINES_MAX);
            }
            for (what, names) in [("new", &update.added), ("gone from the source", &update.removed)] {
                if !names.is_empty() {
                    let _ = writeln!(text, "kiln: {what}: {}", names.join(", "));
                }
            }
            let again = match update.redefined.invalidated() {
                0 => String::new(),
                count => format!(", {count} that relied on them compiled again"),
            };
            let _ = writeln!(
                text,
                "kiln: {file}: {} changed, {} as before{again}; compiler {}, kiln {}",
                versions.len(),
                update.unchanged,
                ms(*compiler),
                ms(*kiln)
            );
        }
        WatchEvent::Failed { file, error } => {
            let _ = writeln!(text, "kiln: {}: not taken over, the program goes on as it is:", file.display());
            for line in error.to_string().lines() {
                let _ = writeln!(text, "kiln:   {line}");
            }
        }
        _ => {}
    }
    text
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
