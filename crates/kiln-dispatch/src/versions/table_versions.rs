//! The versions of a table's functions.

use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_abi::ExecutorAddr;
use kiln_abi::x86_64::{displacement_word, patch_displacement};
use kiln_codecache::{CodeCache, Records, Reservation};

use crate::error::Error;
use crate::index::FunctionIndex;
use crate::state;
use crate::sync::Ordering;
use crate::table::FunctionTable;
use crate::versions::plan::{self, Change, Closing, Plan, Settle};
use crate::versions::store::{self, Store, Version};

/// A compiled body in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Whose body it is.
    pub function: FunctionIndex,
    /// Its entry, in a code segment of the unit.
    pub address: ExecutorAddr,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A direct branch of a unit to a function of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSite {
    /// Address of the displacement, which lies in one aligned 8-byte word (`kiln_abi::x86_64::is_patchable`).
    pub place: ExecutorAddr,
    /// The function that it names.
    pub function: FunctionIndex,
}

/// Code that is linked and not published yet.
pub struct Unit<'a> {
    /// Its memory, filled.
    pub reservation: Reservation,
    /// What is made known about it.
    pub records: Records<'a>,
    /// Its bodies.
    pub bodies: &'a [Body],
    /// Its branches to functions of the table that can be patched. They lead to stubs or bodies of their functions now.
    pub sites: &'a [CallSite],
    /// How many of its branches to functions of the table cannot be patched, and lead to stubs.
    pub unpatchable: u32,
    /// Other functions whose bodies its compile could see: redefining one of them invalidates the unit.
    pub visible: &'a [FunctionIndex],
    /// [`Versions::epoch`] at the time the compile began.
    pub epoch: u64,
}

/// Which bodies of a unit become current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those of functions that have none.
    Offer,
    /// All; they mean the same as what they replace.
    Reoptimise,
    /// All, and what saw the old bodies is invalidated.
    Redefine,
}

/// A version that nothing leads to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetiredVersion {
    /// Whose it was.
    pub function: FunctionIndex,
    /// Its number.
    pub number: u32,
    /// Its addresses.
    pub start: ExecutorAddr,
    /// How many.
    pub bytes: u64,
}

impl From<&Version> for RetiredVersion {
    fn from(version: &Version) -> Self {
        let &Version { function, number, start, bytes, .. } = version;
        Self { function, number, start: ExecutorAddr::new(start), bytes }
    }
}

/// What an install did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The functions that have new versions, and their numbers.
    pub versions: Vec<(FunctionIndex, u32)>,
    /// What was replaced or invalidated. Threads may still be inside.
    pub retired: Vec<RetiredVersion>,
    /// Functions that have no body any more because they saw an old one.
    pub invalidated: Vec<FunctionIndex>,
    /// The unit, to be [pinned](Versions::pin); `None` where no body became current and the unit was dropped.
    pub unit: Option<u32>,
}

/// Why a unit was not installed. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// A function whose body the compile saw was redefined meanwhile: compile again.
    #[error("{0:?} was redefined while the code was compiled")]
    Stale(FunctionIndex),
    /// The code cache refused.
    #[error(transparent)]
    Memory(#[from] kiln_codecache::Error),
    /// A displacement does not reach.
    #[error(transparent)]
    Reach(#[from] Error),
}

/// Keeps a unit's memory although nothing leads to its code. Give it back with [`Versions::unpin`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pin that is dropped keeps its unit for ever"]
pub struct Pin(u32);

impl Pin {
    /// Keeps the unit for the rest of the process.
    pub fn keep(self) {}
}

/// How many of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionsStats {
    /// Versions whose memory is in use, current ones included.
    pub versions: u64,
    /// Units whose memory is in use.
    pub units: u64,
    /// Retired units that wait to be reclaimed.
    pub retired_units: u64,
    /// Their bytes.
    pub retired_bytes: u64,
    /// Units retired so far.
    pub retirements: u64,
    /// Units reclaimed so far.
    pub reclaimed_units: u64,
    /// Branches that lead straight to bodies when there are any.
    pub direct_sites: u64,
    /// Branches that always go through a stub, because their displacement crosses a word.
    pub stub_sites: u64,
    /// Words stored so far to lead live code elsewhere: slots of stubs, and displacements of branches.
    pub patches: u64,
    /// Looks at all threads so far.
    pub scans: u64,
    /// Time of all scans, in nanoseconds.
    pub scan_nanoseconds: u64,
    /// Versions that no entry leads to until a call shows that they are needed.
    pub cooled: u64,
    /// Of those, how many were called again.
    pub revived: u64,
    /// Of those, how many were taken away.
    pub evicted: u64,
}

/// All versions of a table's functions. Whoever calls has all signals blocked.
pub struct Versions {
    pub(super) table: &'static FunctionTable,
    pub(super) cache: &'static CodeCache,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) store: Store,
    pub(super) plan: Plan,
    /// The bodies that an install is about. Empty between installs, for its memory.
    chosen: Vec<Body>,
    /// Where the search for functions to cool goes on.
    pub(super) hand: u32,
    pub(super) stats: VersionsStats,
    pub(super) scanning: bool,
}

/// The lock of a [`Versions`], held across a fork.
pub struct Frozen<'a>(MutexGuard<'a, State>);

impl Versions {
    /// No versions. Bodies that `table` has already belong to somebody else and are never freed.
    #[must_use]
    pub fn new(table: &'static FunctionTable, cache: &'static CodeCache) -> Self {
        let state = State {
            store: Store::default(),
            plan: Plan::default(),
            chosen: Vec::new(),
            hand: 0,
            stats: VersionsStats::default(),
            scanning: false,
        };
        Self { table, cache, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Everything that can fail comes before the first change; a panic after it is reported by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for whoever installs or frees, and keeps others from it: what a thread does that forks.
    pub fn freeze(&self) -> Frozen<'_> {
        Frozen(self.lock())
    }

    /// In the child of a fork: a scan that another thread of the parent was at is forgotten.
    pub fn reset_in_child(&self, frozen: Frozen<'_>) {
        let mut state = frozen.0;
        state.scanning = false;
    }

    /// Redefinitions so far: what a compile that begins now knows.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.lock().store.epoch
    }

    /// Bodies that were taken away so far, whatever the reason.
    #[must_use]
    pub fn takings(&self) -> u64 {
        self.lock().store.takings
    }

    /// Publishes `unit` and makes its bodies current, as `mode` says. When this returns, every new entry, from any thread,
    /// reaches the new bodies.
    ///
    /// # Errors
    ///
    /// Nothing has changed then, and the unit's memory is given back.
    pub fn install(&self, unit: Unit<'_>, mode: Mode) -> Result<Installed, InstallError> {
        let mut state = self.lock();
        let State { store, plan, chosen, stats, .. } = &mut *state;
        let own = |function: &&Body| mode != Mode::Redefine && store.redefined_since(function.function, unit.epoch);
        if let Some(stale) = unit.bodies.iter().find(own).map(|body| body.function) {
            return Err(InstallError::Stale(stale));
        }
        if let Some(stale) = unit.visible.iter().find(|function| store.redefined_since(**function, unit.epoch)) {
            return Err(InstallError::Stale(*stale));
        }
        let is_chosen = |body: &&Body| mode != Mode::Offer || self.table.body(body.function).is_none();
        chosen.clear();
        chosen.extend(unit.bodies.iter().filter(is_chosen));
        if chosen.is_empty() {
            return Ok(Installed::default());
        }
        let invalidated = match mode {
            Mode::Redefine => {
                let functions: Vec<_> = chosen.iter().map(|body| body.function).collect();
                store.dependents(&functions)
            }
            Mode::Offer | Mode::Reoptimise => Vec::new(),
        };

        let mut reservation = unit.reservation;
        self.bind_sites(store, &mut reservation, unit.sites, chosen)?;
        self.plan(store, plan, chosen, &invalidated)?;
        let published = reservation.publish(unit.records)?;
        // From here on nothing fails.
        let number = store.add_unit(published, unit.visible.into());
        let versions = Vec::with_capacity(chosen.len());
        let mut installed = Installed { versions, retired: Vec::new(), invalidated, unit: Some(number) };
        let mut replaced = Vec::new();
        for body in chosen.iter() {
            let (version, old) = store.make_current(number, body.function, body.address.get(), body.bytes);
            installed.versions.push((body.function, version));
            replaced.extend(old);
        }
        replaced.extend(installed.invalidated.iter().filter_map(|function| store.take_current(*function)));
        for site in unit.sites {
            let place = NonZeroU64::new(site.place.get()).expect("code does not lie at address 0");
            store.add_site(number, place, site.function);
        }
        store.sites_on_stubs += u64::from(unit.unpatchable);
        store.units.get_mut(number).unpatchable = unit.unpatchable;
        if mode == Mode::Redefine {
            store.epoch += 1;
            chosen.iter().for_each(|body| store.mark_redefined(body.function));
        }
        if !replaced.is_empty() {
            plan.barrier();
        }
        // SAFETY: the store lists sites of live code only, and the lock is held.
        unsafe { self.execute(plan, stats) };
        for version in replaced {
            installed.retired.push(self.retire(store, version));
        }
        Ok(installed)
    }

    /// Takes the bodies of `functions` away: their next callers come to the resolver. Functions without versions stay as
    /// they are.
    pub fn invalidate(&self, functions: &[FunctionIndex]) -> Vec<RetiredVersion> {
        let mut state = self.lock();
        let State { store, plan, stats, .. } = &mut *state;
        plan.clear();
        let mut taken = Vec::new();
        for function in functions {
            let Some(version) = store.take_current(*function) else { continue };
            taken.push(version);
            plan.open(self.unresolved(*function), store.sites_of(*function));
        }
        if !taken.is_empty() {
            plan.barrier();
        }
        // SAFETY: the store lists sites of live code only, and the lock is held.
        unsafe { self.execute(plan, stats) };
        taken.into_iter().map(|version| self.retire(store, version)).collect()
    }

    /// Says that the owner's compile of `function`, begun at `epoch`, has failed for good; `false` if the function was
    /// redefined meanwhile, and then nothing happens.
    #[must_use]
    pub fn fail(&self, function: FunctionIndex, epoch: u64) -> bool {
        let state = self.lock();
        let fresh = !state.store.redefined_since(function, epoch);
        if fresh {
            self.table.fail(function);
        }
        fresh
    }

    /// The current version of a function.
    #[must_use]
    pub fn current(&self, function: FunctionIndex) -> Option<RetiredVersion> {
        let state = self.lock();
        Some(state.store.current(function)?.into())
    }

    /// Keeps the memory of the unit that holds the current version of `function`, and says which that is.
    #[must_use]
    pub fn pin_current(&self, function: FunctionIndex) -> Option<(Pin, RetiredVersion)> {
        let mut state = self.lock();
        let version = *state.store.current(function)?;
        state.store.units.get_mut(version.unit).pins += 1;
        Some((Pin(version.unit), (&version).into()))
    }

    /// Takes the code away that saw the body of one of `functions`; these keep theirs.
    pub fn invalidate_dependents(&self, functions: &[FunctionIndex]) -> Vec<RetiredVersion> {
        let dependents = self.lock().store.dependents(functions);
        self.invalidate(&dependents)
    }

    /// Keeps the memory of a unit, its data included, whatever becomes of its versions.
    pub fn pin(&self, unit: u32) -> Pin {
        self.lock().store.units.get_mut(unit).pins += 1;
        Pin(unit)
    }

    /// Gives a pin back.
    pub fn unpin(&self, pin: Pin) {
        let mut state = self.lock();
        state.store.units.get_mut(pin.0).pins -= 1;
        state.store.retire_if_unused(pin.0);
    }

    /// How many of what there is.
    #[must_use]
    pub fn stats(&self) -> VersionsStats {
        let state = self.lock();
        let store = &state.store;
        VersionsStats {
            versions: store.versions.len() as u64,
            units: store.units.len() as u64,
            retired_units: store.retired.len() as u64,
            retired_bytes: store.retired_bytes,
            retirements: store.retirements,
            direct_sites: store.sites_len() as u64,
            stub_sites: store.sites_on_stubs,
            ..state.stats
        }
    }

    /// Leads the sites of code that is not published yet to the bodies that will be current, else to stubs.
    fn bind_sites(
        &self,
        store: &Store,
        reservation: &mut Reservation,
        sites: &[CallSite],
        chosen: &[Body],
    ) -> Result<(), InstallError> {
        let mut rest = sites.iter().peekable();
        while let Some(first) = rest.peek() {
            let (start, bytes) = segment_with(reservation, first.place)
                .unwrap_or_else(|| panic!("the site at {} is not in its unit", first.place));
            let inside = start..start + bytes.len() as u64;
            while let Some(site) = rest.next_if(|site| inside.contains(&site.place)) {
                let own = chosen.iter().find(|body| body.function == site.function).map(|body| body.address);
                let current = || store.entered(site.function).map(|version| ExecutorAddr::new(version.start));
                let target = own.or_else(current).unwrap_or_else(|| self.table.stub(site.function));
                store::bind(bytes, start, site.place, target)
                    .ok_or_else(|| self.out_of_reach(site.function, site.place))?;
            }
        }
        Ok(())
    }

    /// Plans steps 5a and 5b: everything that can fail about them fails here.
    fn plan(
        &self,
        store: &Store,
        plan: &mut Plan,
        chosen: &[Body],
        invalidated: &[FunctionIndex],
    ) -> Result<(), InstallError> {
        plan.clear();
        let replaces = |body: &Body| store.current(body.function).is_some();
        if !invalidated.is_empty() || chosen.iter().filter(|body| replaces(body)).count() > 1 {
            let functions = chosen.iter().map(|body| body.function).chain(invalidated.iter().copied());
            for function in functions {
                let closing =
                    Closing { slot: self.table.slot_to_resolver(function), stub: self.table.stub(function).get() };
                plan.close(function, closing, store.sites_of(function));
            }
            plan.barrier();
        }
        for body in chosen {
            let open_slot = self.table.slot_word(body.function, body.address)?;
            let change =
                Change { function: body.function, open_slot, target: body.address.get(), settle: Settle::Installed };
            plan.open(change, store.sites_of(body.function));
        }
        for function in invalidated {
            plan.open(self.unresolved(*function), store.sites_of(*function));
        }
        for step in &plan.steps {
            if let plan::Step::Site { place, target } = *step
                && i32::try_from(target.wrapping_sub(place + 4).cast_signed()).is_err()
            {
                let function = chosen.first().map_or(FunctionIndex(0), |body| body.function);
                return Err(self.out_of_reach(function, ExecutorAddr::new(place)));
            }
        }
        Ok(())
    }

    pub(super) fn unresolved(&self, function: FunctionIndex) -> Change {
        Change {
            function,
            open_slot: self.table.slot_to_resolver(function),
            target: self.table.stub(function).get(),
            settle: Settle::Unresolved,
        }
    }

    fn out_of_reach(&self, function: FunctionIndex, place: ExecutorAddr) -> InstallError {
        let stub = self.table.stub(function);
        InstallError::Reach(Error::new(crate::ErrorKind::OutOfReach { function, stub, body: place }))
    }

    /// Carries a plan out, and counts what it changes.
    ///
    /// # Safety
    ///
    /// Every site of the plan is in live code, and no other thread changes code meanwhile.
    pub(super) unsafe fn execute(&self, plan: &Plan, stats: &mut VersionsStats) {
        plan::execute(plan, self);
        stats.patches += plan.words();
    }

    pub(super) fn retire(&self, store: &mut Store, version: u32) -> RetiredVersion {
        let retired = store.versions.get(version).into();
        store.retire(version);
        retired
    }
}

/// The segment that `place` lies in: its address, and its bytes.
fn segment_with(reservation: &mut Reservation, place: ExecutorAddr) -> Option<(ExecutorAddr, &mut [u8])> {
    let contains = |segment: &usize| {
        let range = reservation.range(*segment);
        range.start <= place && place < range.end
    };
    let segment = (0..reservation.segments()).find(contains)?;
    Some((reservation.segment(segment), reservation.working(segment)))
}

/// The real code. Only [`Versions::execute`] uses it, whose caller vouches for the plan.
impl plan::Target for Versions {
    fn close(&self, function: FunctionIndex) {
        state::close(self.table.function(function).0);
    }

    fn slot(&self, function: FunctionIndex, word: u64) {
        // Release: as in `state::install`.
        self.table.function(function).1.store(word, Ordering::Release);
    }

    fn site(&self, place: u64, target: u64) {
        let place = ExecutorAddr::new(place);
        // SAFETY: `execute`'s caller promises that the site is in live code.
        let word = unsafe { self.cache.code_word(displacement_word(place)) };
        let old = word.load(Ordering::Relaxed);
        let new = patch_displacement(old, place, ExecutorAddr::new(target)).expect("checked when the plan was made");
        // Release: the new body was published before; a core that fetches the word may run it.
        word.store(new, Ordering::Release);
    }

    fn settle(&self, function: FunctionIndex, settle: Settle) {
        let to = match settle {
            Settle::Installed => state::State::Installed,
            Settle::Unresolved => state::State::Unresolved,
        };
        state::settle(self.table.function(function).0, to);
    }

    fn barrier(&self) {
        self.cache.synchronize_cores();
    }
}

impl std::fmt::Debug for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versions").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
