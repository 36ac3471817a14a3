//! How an engine is set up.

use std::path::PathBuf;
use std::time::Duration;

pub use kiln_abi::{Pipeline, Tier};
use kiln_remote::Neighbours;

/// Which compiler makes functions when they are first called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TierChoice {
    /// The first tier, and the optimizer for functions that need something the first tier does not do.
    #[default]
    BaselineFirst,
    /// This one for all. A function that the first tier does not do is an error then.
    Only(Tier),
    /// For each function one of both, at random: a run that finds out whether they work together.
    Mix {
        /// Decides; a run with the same seed takes the same ones.
        seed: u64,
    },
    /// The first tier for functions with these numbers, the optimizer for all others: to find the one that is wrong.
    Range {
        /// The first of them, as in [`Engine::function_names`](crate::Engine::function_names).
        from: u32,
        /// The first that is not one of them.
        to: u32,
    },
}

/// Where perf finds the names of compiled functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfFormat {
    /// `/tmp/perf-PID.map`, which `perf report` reads by itself.
    Map,
    /// `jit-PID.dump`, for `perf inject --jit`; holds the code as well.
    Jitdump,
}

/// How an [`Engine`](crate::Engine) is set up. The default suits `kiln run`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Which compiler makes functions when they are first called.
    pub tier: TierChoice,
    /// Pipeline of the optimizer.
    pub pipeline: Pipeline,
    /// The optimizer's binary. If `None`: `KILN_OPTIMIZER`, beside the executable, on `PATH`.
    pub optimizer: Option<PathBuf>,
    /// Longest time for one compile.
    pub compile_timeout: Duration,
    /// Place all code and data below 2 GiB, for objects with 32-bit absolute relocations.
    pub low_2gib: bool,
    /// Bytes of address space to reserve for code and data; `None` for the default.
    pub reservation_bytes: Option<u64>,
    /// Tell debuggers about compiled code, and let them put breakpoints there.
    pub debugger: bool,
    /// Tell perf about compiled code.
    pub perf: Option<PerfFormat>,
    /// Where libraries are looked for before the system's folders.
    pub library_paths: Vec<PathBuf>,
    /// Names bound to addresses given by the client.
    pub absolute_symbols: Vec<(String, u64)>,
    /// Leave out blocks of objects that nothing refers to.
    pub prune: bool,
    /// Give the functions of objects stubs, so that they can be redefined. Functions of bitcode always have them.
    pub replaceable: bool,
    /// Versions that are remembered per function.
    pub history: usize,
    /// Bytes of retired code from which threads that retire more look at all threads and free what nobody is in. They do not
    /// wait for it; with 0 they do, each time.
    pub reclaim_bytes: u64,
    /// Bytes of code from which functions that are not called lose theirs, until they are called again. Code of objects, and of
    /// functions that keep addresses of their labels, stays in any case, and so does what threads are in.
    pub code_limit: Option<u64>,
    /// For debugging: bytes of freed memory per region that are not used again for a while, so that who still uses old code
    /// traps or faults instead of running something else.
    pub quarantine_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tier: TierChoice::default(),
            pipeline: Pipeline::Quick,
            optimizer: None,
            compile_timeout: Duration::from_secs(60),
            low_2gib: false,
            reservation_bytes: None,
            debugger: false,
            perf: None,
            library_paths: Vec::new(),
            absolute_symbols: Vec::new(),
            prune: false,
            replaceable: false,
            history: 16,
            reclaim_bytes: 1 << 20,
            code_limit: None,
            quarantine_bytes: 0,
        }
    }
}

impl Options {
    /// Whether the optimizer will be needed as soon as there is bitcode.
    pub(crate) fn wants_optimizer_early(&self) -> bool {
        matches!(self.tier, TierChoice::Only(Tier::Optimizer) | TierChoice::Mix { .. } | TierChoice::Range { .. })
    }

    /// Retired bytes from which all threads are looked at: with a limit, a small part of it.
    pub(crate) fn reclaim_threshold(&self) -> u64 {
        self.code_limit.map_or(self.reclaim_bytes, |limit| self.reclaim_bytes.min(limit / 16))
    }

    /// What comes along with a function that the optimizer is asked for: nothing where the first tier makes the others.
    pub(crate) fn neighbours(&self) -> Neighbours {
        match self.tier {
            TierChoice::Only(Tier::Optimizer) => Neighbours::default(),
            _ => Neighbours::NONE,
        }
    }

    /// The optimizer that these options mean, if there is one.
    pub(crate) fn find_optimizer(&self) -> Option<PathBuf> {
        const NAME: &str = "kiln-optimizer";
        if let Some(path) = &self.optimizer {
            return Some(path.clone());
        }
        if let Some(path) = std::env::var_os("KILN_OPTIMIZER") {
            return Some(path.into());
        }
        let beside = std::env::current_exe().ok().and_then(|executable| Some(executable.parent()?.join(NAME)));
        let path = std::env::var_os("PATH").unwrap_or_default();
        beside
            .into_iter()
            .chain(std::env::split_paths(&path).map(|folder| folder.join(NAME)))
            .find(|file| file.is_file())
    }
}
