//! Watching files: what is saved becomes part of the program that runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::engine::Engine;
use crate::error::Error;
use crate::generation::Update;
use crate::input::{self, Input, Kind};
use crate::process::host;
use crate::process::signals::Blocked;

/// How often files are looked at. A save is taken up when two looks in a row find the same.
const INTERVAL: Duration = Duration::from_millis(5);
/// Looks between two looks at whether the program is still there.
const LOOKS_PER_CHECK: u32 = 100;

/// What came of a save.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The changes are live.
    Live {
        /// The file.
        file: PathBuf,
        /// What changed.
        update: Update,
        /// From the save until every call has the new meaning.
        since_save: Duration,
        /// What the compiler of the source language took of that; zero for bitcode.
        compiler: Duration,
        /// What comparing, compiling to machine code and redefining took of it.
        kiln: Duration,
    },
    /// The program goes on as it is.
    Failed {
        /// The file.
        file: PathBuf,
        /// Why.
        error: Error,
    },
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
}

struct Watched {
    file: PathBuf,
    /// What the program runs.
    live: Option<Stamp>,
    /// What the last look found.
    seen: Option<Stamp>,
}

impl Engine {
    /// From now on takes over what is saved in `files`, which are loaded already: compiles them where they are source,
    /// and redefines the functions that changed. `report` is told what came of each save, on a thread of its own that
    /// blocks all signals and ends with the program.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] where the thread cannot be started.
    pub fn watch(
        &self,
        files: Vec<PathBuf>,
        mut report: impl FnMut(&WatchEvent) + Send + 'static,
    ) -> Result<(), Error> {
        // Before the program can ask for the highest real-time signal. Where there is none, scans say so.
        let _ = kiln_dispatch::scan::prepare();
        let engine = *self;
        let watched = files.into_iter().map(|file| Watched { live: stamp(&file), seen: stamp(&file), file });
        let mut watched: Vec<_> = watched.collect();
        // The thread inherits the mask: the program's signals are not ours.
        let _blocked = Blocked::all();
        let thread = std::thread::Builder::new().name("kiln-watch".to_owned());
        let spawned = thread.spawn(move || {
            // While nobody waits.
            let prepare = |file: &Path| engine.inner().prepare_comparison(&file.display().to_string());
            watched.iter().for_each(|watched| prepare(&watched.file));
            let mut looks = 0u32;
            loop {
                std::thread::sleep(INTERVAL);
                for watched in &mut watched {
                    if let Some(event) = look(&engine, watched) {
                        report(&event);
                        prepare(&watched.file);
                    }
                }
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(LOOKS_PER_CHECK) && host::only_thread_left() {
                    // `pthread_exit` in `main`, and the other threads have ended: natively the process ends then.
                    std::process::exit(0);
                }
            }
        });
        spawned.map(drop).map_err(|source| Error::Read { path: PathBuf::from("/proc/self/task"), source })
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(file).ok()?;
    Some(Stamp { modified: metadata.modified().ok()?, bytes: metadata.len() })
}

/// What came of a save, if there was one.
fn look(engine: &Engine, watched: &mut Watched) -> Option<WatchEvent> {
    let now = stamp(&watched.file);
    let settled = now == watched.seen;
    watched.seen = now;
    // Editors replace files: for a moment there may be none.
    let now = now.filter(|now| settled && Some(*now) != watched.live)?;
    watched.live = Some(now);
    let file = watched.file.clone();
    Some(match take_over(engine, &file) {
        Ok((update, compiler, kiln)) => {
            let since_save = SystemTime::now().duration_since(now.modified).unwrap_or_default();
            WatchEvent::Live { file, update, since_save, compiler, kiln }
        }
        Err(error) => WatchEvent::Failed { file, error },
    })
}

fn take_over(engine: &Engine, file: &Path) -> Result<(Update, Duration, Duration), Error> {
    let begin = Instant::now();
    // Not mapped: the next save may come while it is read.
    let bytes = std::fs::read(file).map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let name = file.display().to_string();
    let (bytes, compiler) = match input::kind(file, &bytes) {
        Some(Kind::Source(language)) => (input::compile_source(file, language)?, begin.elapsed()),
        Some(Kind::Bitcode | Kind::TextualIr) => (bytes, Duration::ZERO),
        _ => return Err(Error::Replace(format!("{name}: only source files, IR and bitcode can be watched"))),
    };
    let update = engine.update(&name, &Input::Bytes { name: name.clone(), bytes })?;
    Ok((update, compiler, begin.elapsed() - compiler))
}
