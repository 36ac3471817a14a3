//! What is known about live code: functions, their versions, the units they came in, and the call sites between them.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;

use kiln_abi::ExecutorAddr;
use kiln_abi::x86_64::is_patchable;
use kiln_codecache::{Published, Retired};

use crate::index::FunctionIndex;
use crate::versions::slab::Slab;

/// A compiled body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) function: FunctionIndex,
    /// Counts up per function, from 1.
    pub(crate) number: u32,
    pub(crate) unit: u32,
    /// The next one of the unit, or [`NONE`].
    next: u32,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

/// Where a list of versions or sites ends.
const NONE: u32 = u32::MAX;

/// A call site in live code. It is in two lists, which take no memory of their own: of its function, and of its unit.
#[derive(Clone, Copy, Debug)]
struct Site {
    /// Address of its displacement.
    place: NonZeroU64,
    function: FunctionIndex,
    /// Its neighbours in its function's list.
    before: u32,
    next: u32,
    /// The next one of its unit.
    next_of_unit: u32,
}

/// Code, by what may happen to it.
pub(crate) enum Code {
    Live(Published),
    Retired(Retired),
    /// In between, while it moves from one to the other.
    Moving,
}

/// What was linked and published together.
pub(crate) struct Unit {
    pub(crate) code: Code,
    /// Versions of the unit that are current.
    pub(crate) current: u32,
    /// The first of its versions, and of its sites.
    first_version: u32,
    first_site: u32,
    /// Its branches that always go through stubs.
    pub(crate) unpatchable: u32,
    /// Functions whose bodies its compile could see.
    pub(crate) visible: Box<[FunctionIndex]>,
    /// Who needs it beside its entries: holders of its data.
    pub(crate) pins: u32,
    pub(crate) bytes: u64,
    /// When it retired, in the order of retirements; tells a reused number from the one a scan was made for.
    pub(crate) retirement: u64,
}

/// What is known about a function, once there is anything.
#[derive(Debug)]
struct Record {
    current: Option<u32>,
    /// Whether the current version waits for a call that shows it is needed: no entry leads to it.
    cold: bool,
    /// The last version number given.
    number: u32,
    /// The first of the sites that name it.
    first_site: u32,
    /// When it was redefined last, in redefinitions.
    redefined: u64,
}

impl Default for Record {
    fn default() -> Self {
        Self { current: None, cold: false, number: 0, first_site: NONE, redefined: 0 }
    }
}

#[derive(Default)]
pub(crate) struct Store {
    functions: Vec<Record>,
    pub(crate) versions: Slab<Version>,
    pub(crate) units: Slab<Unit>,
    sites: Slab<Site>,
    /// Units by the functions whose bodies they saw.
    dependents: HashMap<FunctionIndex, Vec<u32>>,
    /// Retired units, not reclaimed yet.
    pub(crate) retired: Vec<u32>,
    pub(crate) retired_bytes: u64,
    pub(crate) retirements: u64,
    /// Redefinitions so far.
    pub(crate) epoch: u64,
    pub(crate) sites_on_stubs: u64,
    /// Functions that were made cold, the oldest first; some of them are not any more.
    pub(crate) cooled: VecDeque<FunctionIndex>,
    pub(crate) cold_bytes: u64,
    /// Bodies taken away from their entries so far.
    pub(crate) takings: u64,
}

impl Store {
    fn record(&self, function: FunctionIndex) -> Option<&Record> {
        self.functions.get(function.0 as usize)
    }

    fn record_mut(&mut self, function: FunctionIndex) -> &mut Record {
        let at = function.0 as usize;
        if self.functions.len() <= at {
            self.functions.resize_with(at + 1, Record::default);
        }
        &mut self.functions[at]
    }

    pub(crate) fn current(&self, function: FunctionIndex) -> Option<&Version> {
        Some(self.versions.get(self.record(function)?.current?))
    }

    /// The version that the entries of `function` lead to.
    pub(crate) fn entered(&self, function: FunctionIndex) -> Option<&Version> {
        let record = self.record(function).filter(|record| !record.cold)?;
        Some(self.versions.get(record.current?))
    }

    pub(crate) fn is_cold(&self, function: FunctionIndex) -> bool {
        self.record(function).is_some_and(|record| record.cold)
    }

    /// Says whether entries lead to the current version of `function`.
    pub(crate) fn set_cold(&mut self, function: FunctionIndex, cold: bool) {
        let bytes = self.current(function).map_or(0, |version| version.bytes);
        let record = self.record_mut(function);
        match (std::mem::replace(&mut record.cold, cold), cold) {
            (false, true) => self.cold_bytes += bytes,
            (true, false) => self.cold_bytes -= bytes,
            _ => {}
        }
    }

    /// How many functions there are records of.
    pub(crate) fn functions_len(&self) -> usize {
        self.functions.len()
    }

    /// Addresses of the displacements of sites that name `function`.
    pub(crate) fn sites_of(&self, function: FunctionIndex) -> impl Iterator<Item = u64> {
        let mut next = self.record(function).map_or(NONE, |record| record.first_site);
        std::iter::from_fn(move || {
            let site = (next != NONE).then(|| self.sites.get(next))?;
            next = site.next;
            Some(site.place.get())
        })
    }

    /// The versions of a unit.
    pub(crate) fn versions_of(&self, unit: u32) -> impl Iterator<Item = &Version> {
        let mut next = self.units.get(unit).first_version;
        std::iter::from_fn(move || {
            let version = (next != NONE).then(|| self.versions.get(next))?;
            next = version.next;
            Some(version)
        })
    }

    pub(crate) fn sites_len(&self) -> usize {
        self.sites.len()
    }

    /// Whether `function` was redefined after `epoch`.
    pub(crate) fn redefined_since(&self, function: FunctionIndex, epoch: u64) -> bool {
        self.record(function).is_some_and(|record| record.redefined > epoch)
    }

    pub(crate) fn mark_redefined(&mut self, function: FunctionIndex) {
        self.record_mut(function).redefined = self.epoch;
    }

    /// Functions whose current versions saw the body of one of `functions`, these left out.
    pub(crate) fn dependents(&self, functions: &[FunctionIndex]) -> Vec<FunctionIndex> {
        let mut found = Vec::new();
        for function in functions {
            for unit in self.dependents.get(function).into_iter().flatten() {
                for version in self.versions_of(*unit) {
                    let dependent = version.function;
                    let current = self.current(dependent);
                    let is_current = current.is_some_and(|current| current.number == version.number);
                    if is_current && !functions.contains(&dependent) {
                        found.push(dependent);
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Adds a unit whose versions are current for nobody yet.
    pub(crate) fn add_unit(&mut self, published: Published, visible: Box<[FunctionIndex]>) -> u32 {
        let bytes = (0..published.segments()).map(|segment| {
            let range = published.range(segment);
            range.end.get() - range.start.get()
        });
        let bytes = bytes.sum();
        let unit = self.units.insert(Unit {
            code: Code::Live(published),
            current: 0,
            first_version: NONE,
            first_site: NONE,
            unpatchable: 0,
            visible,
            pins: 0,
            bytes,
            retirement: 0,
        });
        for at in 0..self.units.get(unit).visible.len() {
            let function = self.units.get(unit).visible[at];
            self.dependents.entry(function).or_default().push(unit);
        }
        unit
    }

    /// Makes a body of `unit` the current version of its function; returns its number and the version it follows.
    pub(crate) fn make_current(
        &mut self,
        unit: u32,
        function: FunctionIndex,
        start: u64,
        bytes: u64,
    ) -> (u32, Option<u32>) {
        self.set_cold(function, false);
        let record = self.record_mut(function);
        record.number += 1;
        let number = record.number;
        let of = self.units.get_mut(unit);
        of.current += 1;
        let version = Version { function, number, unit, next: of.first_version, start, bytes };
        let version = self.versions.insert(version);
        of.first_version = version;
        (number, self.record_mut(function).current.replace(version))
    }

    /// Takes the current version away from its function.
    pub(crate) fn take_current(&mut self, function: FunctionIndex) -> Option<u32> {
        self.set_cold(function, false);
        let taken = self.record_mut(function).current.take();
        self.takings += u64::from(taken.is_some());
        taken
    }

    /// Adds a site of `unit` that names `function`.
    pub(crate) fn add_site(&mut self, unit: u32, place: NonZeroU64, function: FunctionIndex) {
        self.record_mut(function);
        let unit = &mut self.units.get_mut(unit).first_site;
        let first = &mut self.functions[function.0 as usize].first_site;
        let next = *first;
        let site = self.sites.insert(Site { place, function, before: NONE, next, next_of_unit: *unit });
        (*first, *unit) = (site, site);
        if next != NONE {
            self.sites.get_mut(next).before = site;
        }
    }

    /// Says that a version is nobody's current one any more; retires its unit if it was the last.
    pub(crate) fn retire(&mut self, version: u32) {
        let number = self.versions.get(version).unit;
        let unit = self.units.get_mut(number);
        unit.current -= 1;
        self.retire_if_unused(number);
    }

    /// Retires a unit that nothing leads to.
    pub(crate) fn retire_if_unused(&mut self, number: u32) {
        let unit = self.units.get_mut(number);
        if unit.current > 0 || unit.pins > 0 {
            return;
        }
        unit.code = match std::mem::replace(&mut unit.code, Code::Moving) {
            Code::Live(published) => Code::Retired(published.retire()),
            already => {
                unit.code = already;
                return;
            }
        };
        self.retirements += 1;
        unit.retirement = self.retirements;
        self.retired_bytes += unit.bytes;
        self.retired.push(number);
    }

    /// Forgets a retired unit and gives its code to the caller, to be freed.
    pub(crate) fn remove_unit(&mut self, number: u32) -> Retired {
        let unit = self.units.remove(number);
        let mut version = unit.first_version;
        while version != NONE {
            version = self.versions.remove(version).next;
        }
        let mut site = unit.first_site;
        while site != NONE {
            let Site { function, before, next, next_of_unit, .. } = self.sites.remove(site);
            match before {
                NONE => self.record_mut(function).first_site = next,
                before => self.sites.get_mut(before).next = next,
            }
            if next != NONE {
                self.sites.get_mut(next).before = before;
            }
            site = next_of_unit;
        }
        for function in &unit.visible {
            if let Some(units) = self.dependents.get_mut(function) {
                units.retain(|other| *other != number);
                if units.is_empty() {
                    self.dependents.remove(function);
                }
            }
        }
        self.retired_bytes -= unit.bytes;
        self.sites_on_stubs -= u64::from(unit.unpatchable);
        match unit.code {
            Code::Retired(retired) => retired,
            Code::Live(_) | Code::Moving => panic!("unit {number} is freed before it is retired"),
        }
    }
}

/// Leads the branch with its displacement at `place` to `target` in bytes that nobody executes yet; `None` if it does not
/// reach. `bytes` are those of the segment at `start`.
pub(crate) fn bind(bytes: &mut [u8], start: ExecutorAddr, place: ExecutorAddr, target: ExecutorAddr) -> Option<()> {
    debug_assert!(is_patchable(place), "the site at {place}");
    let at = usize::try_from(place.offset_from(start)).ok()?;
    let displacement = i32::try_from(target.offset_from(place + 4)).ok()?;
    bytes.get_mut(at..at.checked_add(4)?)?.copy_from_slice(&displacement.to_le_bytes());
    Some(())
}
