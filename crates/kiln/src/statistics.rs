//! What an engine did and holds.

use std::fmt;
use std::time::Duration;

use kiln_abi::Permission;

use crate::baseline::BaselineStatistics;
use kiln_dispatch::VersionsStats;

use crate::compiler::CompilerStatistics;
use crate::engine::Inner;

/// Time that the engine's own phases took on the calling threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Phases {
    /// Reservation, function table, start of the optimizer.
    pub(crate) setup: Duration,
    /// Reading files.
    pub(crate) read: Duration,
    /// Parsing module tables.
    pub(crate) parse: Duration,
    /// Globals to graphs.
    pub(crate) data: Duration,
    /// Opening shared libraries.
    pub(crate) libraries: Duration,
    /// Resolving, placing and publishing at load.
    pub(crate) link: Duration,
    /// Linking and installing compiled functions.
    pub(crate) install: Duration,
}

/// Memory of one permission.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RegionUse {
    /// How the program may use it.
    pub permission: Permission,
    /// Bytes allocated.
    pub used_bytes: u64,
    /// Bytes of address space.
    pub reserved_bytes: u64,
}

/// What an engine did and holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Statistics {
    /// Functions with bodies in loaded bitcode modules.
    pub functions_defined: u64,
    /// Bitcode modules in memory: those that were loaded, and generations that something may be compiled from.
    pub modules: u64,
    /// Modules that the optimizer knows, or will when it is started.
    pub modules_for_optimizer: u64,
    /// Functions that were compiled, by whichever tier.
    pub functions_compiled: u64,
    /// Of those, how many the first tier compiled.
    pub functions_baseline: u64,
    /// IR instructions of those.
    pub instructions_compiled: u64,
    /// Requests to the optimizer.
    pub requests: u64,
    /// Optimizers that died or were given up.
    pub optimizer_restarts: u64,
    /// Time threads waited for the optimizer.
    pub waited: Duration,
    /// Memory by region.
    pub regions: Vec<RegionUse>,
    /// Mappings of the code cache.
    pub mappings: u64,
    /// Old versions of functions: code that nothing leads to, not freed yet, in bytes.
    pub retired_bytes: u64,
    /// Pieces of old code freed so far.
    pub reclaimed: u64,
    /// Calls that lead straight to bodies.
    pub direct_sites: u64,
    /// Calls that go through a stub because their displacement crosses a word.
    pub stub_sites: u64,
    /// Functions that lost their code to [`Options::code_limit`](crate::Options::code_limit).
    pub evicted: u64,
    /// What the last look at all threads found to wait for: threads in old versions, and threads that could not be looked at.
    pub waiting: Vec<String>,
    versions: VersionsStats,
    phases: Phases,
    compiler: CompilerStatistics,
    baseline: BaselineStatistics,
}

impl Statistics {
    pub(crate) fn of(inner: &Inner) -> Self {
        let compiler = inner.compiler.statistics();
        let baseline = inner.baseline.statistics();
        let cache = inner.cache.stats();
        let versions = inner.versions().stats();
        let (modules, functions_defined) = {
            let modules = inner.modules();
            (modules.len() as u64, modules.iter().map(|module| module.own().count() as u64).sum())
        };
        Self {
            functions_defined,
            modules,
            modules_for_optimizer: inner.compiler.module_count() as u64,
            functions_compiled: baseline.functions + compiler.functions,
            functions_baseline: baseline.functions,
            instructions_compiled: baseline.instructions + compiler.instructions,
            requests: compiler.requests,
            optimizer_restarts: compiler.restarts,
            waited: compiler.waited,
            regions: cache
                .regions
                .iter()
                .map(|region| RegionUse {
                    permission: region.permission,
                    used_bytes: region.used_bytes,
                    reserved_bytes: region.reserved_bytes,
                })
                .collect(),
            mappings: cache.mappings as u64,
            retired_bytes: versions.retired_bytes,
            reclaimed: versions.reclaimed_units,
            direct_sites: versions.direct_sites,
            stub_sites: versions.stub_sites,
            evicted: versions.evicted,
            waiting: waiting(inner),
            versions,
            phases: *inner.phases(),
            compiler,
            baseline,
        }
    }
}

/// What keeps old code from being freed, in words.
fn waiting(inner: &Inner) -> Vec<String> {
    let last = inner.last_reclaimed().clone();
    let holders = last.holders.iter().map(|holder| {
        format!("thread {} is in version {} of {}", holder.thread, holder.number, inner.name_of(holder.function))
    });
    holders.chain(last.obstacles.iter().cloned()).collect()
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        writeln!(f, "kiln: statistics")?;
        writeln!(
            f,
            "  functions   {} of {} compiled, {} IR instructions",
            self.functions_compiled, self.functions_defined, self.instructions_compiled
        )?;
        let phases = &self.phases;
        writeln!(
            f,
            "  load        setup {}, read {}, parse {}, data {}, libraries {}, link {}",
            milliseconds(phases.setup),
            milliseconds(phases.read),
            milliseconds(phases.parse),
            milliseconds(phases.data),
            milliseconds(phases.libraries),
            milliseconds(phases.link)
        )?;
        let baseline = &self.baseline;
        writeln!(
            f,
            "  first tier  {} functions, {} IR instructions: compiling {} ({:.0} ns per instruction), installing {}",
            baseline.functions,
            baseline.instructions,
            milliseconds(baseline.compiling),
            baseline.compiling.as_nanos() as f64 / baseline.instructions.max(1) as f64,
            milliseconds(baseline.installing)
        )?;
        if !baseline.refused.is_empty() {
            let functions: u64 = baseline.refused.values().sum();
            writeln!(f, "              left {functions} to the optimizer after {}", milliseconds(baseline.refusing))?;
        }
        for (reason, functions) in &baseline.refused {
            writeln!(f, "              {functions:4} because {reason}")?;
        }
        let compiler = &self.compiler;
        writeln!(
            f,
            "  requests    {}, {} waited, {} of it linking and installing {} KiB of objects",
            self.requests,
            milliseconds(self.waited),
            milliseconds(phases.install),
            compiler.object_bytes >> 10
        )?;
        if compiler.alone > 0 {
            writeln!(f, "              {} of a function alone, {} bytes", compiler.alone, compiler.alone_bytes)?;
        }
        writeln!(
            f,
            "  optimizer   LLVM {}: queued {}, open {}, extract {}, passes {}, code {}; {} restarts",
            if compiler.llvm_version.is_empty() { "not needed" } else { &compiler.llvm_version },
            milliseconds(compiler.queued),
            milliseconds(compiler.open),
            milliseconds(compiler.extract),
            milliseconds(compiler.passes),
            milliseconds(compiler.codegen),
            self.optimizer_restarts
        )?;
        for region in &self.regions {
            let name = match region.permission {
                Permission::Code => "code",
                Permission::ReadOnly => "constants",
                Permission::ReadWrite => "data",
            };
            writeln!(
                f,
                "  {name:<11} {} KiB used of {} MiB reserved",
                region.used_bytes.div_ceil(1024),
                region.reserved_bytes >> 20
            )?;
        }
        writeln!(f, "  mappings    {}", self.mappings)?;
        let versions = &self.versions;
        writeln!(
            f,
            "  call sites  {} direct, {} through stubs; {} words of code changed",
            versions.direct_sites, versions.stub_sites, versions.patches
        )?;
        if versions.cooled > 0 {
            writeln!(
                f,
                "  code limit  {} functions evicted, {} called again in time",
                versions.evicted, versions.revived
            )?;
        }
        if versions.retirements == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "  old code    {} pieces retired, {} freed, {} KiB waiting; {} looks at all threads took {:.2} ms",
            versions.retirements,
            versions.reclaimed_units,
            versions.retired_bytes.div_ceil(1024),
            versions.scans,
            versions.scan_nanoseconds as f64 / 1e6
        )?;
        if self.modules > 1 {
            writeln!(f, "  modules     {} in memory, earlier generations included", self.modules)?;
        }
        for waiting in &self.waiting {
            writeln!(f, "              {waiting}")?;
        }
        Ok(())
    }
}
