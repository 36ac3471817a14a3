//! Loads what takes part in a link: objects, graphs, and the archive members that symbols ask for.
//!
//! Rounds: the units of a round are parsed (in parallel when large), claim their groups, enter their symbols; the
//! members that they ask for are the next round. So a definition in any object on the list comes before every archive.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::archive::{Archive, Fault, IndexEntry, Member};
use crate::error::{ErrorKind, Errors, text};
use crate::graph::Visibility;
use crate::input::{FileKind, identify};
use crate::link::{Input, Link};
use crate::symbols::{Clash, Pull, State, Symbols, join};
use crate::unit::{self, Class, Home, NO_SYMBOL, Unit, UnitId, UnitName};
use crate::{elf, graph::Graph};

/// Input bytes from which a second thread pays: creating and joining one costs about 90 µs.
const PARALLEL_BYTES: usize = 1 << 20;

/// All units of a link and their symbols.
pub(crate) struct Loaded<'a> {
    pub(crate) link: Link<'a>,
    pub(crate) units: Vec<Unit<'a>>,
    pub(crate) symbols: Symbols<'a>,
    pub(crate) parallel: bool,
    /// Duplicate symbols: they do not keep the search for undefined ones from making sense.
    pub(crate) duplicates: Errors,
}

enum Task<'a> {
    Object { archive: Option<&'a str>, name: UnitName<'a>, input: u32, bytes: &'a [u8] },
    Graph { archive: Option<&'a str>, name: &'a str, graph: &'a Graph<'a>, input: u32 },
}

impl<'a> Task<'a> {
    fn bytes(&self) -> usize {
        match self {
            Task::Object { bytes, .. } => bytes.len(),
            Task::Graph { graph, .. } => graph.edges.len() * 32,
        }
    }

    fn parse(&self) -> Result<Unit<'a>, Box<ErrorKind>> {
        match *self {
            Task::Object { archive, name, input, bytes } => elf::parse(archive, name, input, bytes),
            Task::Graph { archive, name, graph, input } => {
                let mut unit = unit::from_graph(name, graph, input)
                    .map_err(|what| Box::new(ErrorKind::Malformed { input: name.to_owned(), offset: 0, what }))?;
                unit.archive = archive;
                Ok(unit)
            }
        }
    }
}

/// An archive among the inputs.
struct Pool<'a> {
    input: u32,
    name: &'a str,
    archive: Archive<'a>,
}

struct Loader<'a> {
    link: Link<'a>,
    pools: Vec<Pool<'a>>,
    units: Vec<Unit<'a>>,
    symbols: Symbols<'a>,
    pulled: HashSet<(u32, u64), BuildHasherDefault<DefaultHasher>>,
    errors: Errors,
    parallel: bool,
}

/// Loads everything that takes part.
pub(crate) fn load<'a>(link: Link<'a>) -> Result<Loaded<'a>, Errors> {
    let bytes: usize = link
        .inputs
        .iter()
        .map(|input| match input {
            Input::Object { bytes, .. } | Input::Archive { bytes, .. } => bytes.len(),
            Input::Graph { graph, .. } => graph.edges.len() * 32,
            Input::Dynamic(_) => 0,
        })
        .sum();
    let parallel = bytes > PARALLEL_BYTES && !link.options.single_threaded;
    let mut loader = Loader {
        link,
        pools: Vec::new(),
        units: Vec::new(),
        symbols: Symbols::new(parallel),
        pulled: HashSet::default(),
        errors: Errors::new(),
        parallel,
    };
    loader.define();
    let mut tasks = loader.open_inputs();
    loader.enter_indices();
    while !tasks.is_empty() {
        tasks = loader.round(tasks);
    }
    let Loader { link, units, symbols, parallel, errors, .. } = loader;
    let duplicates_only = errors.iter().all(|error| matches!(error.kind(), ErrorKind::Duplicate { .. }));
    if duplicates_only { Ok(Loaded { link, units, symbols, parallel, duplicates: errors }) } else { Err(errors) }
}

impl<'a> Loader<'a> {
    fn define(&mut self) {
        for &(name, address) in &self.link.defines {
            let id = self.symbols.intern(name, crate::names::hash(name));
            self.symbols.get_mut(id).state = State::Absolute(address);
        }
    }

    /// Makes tasks of everything that takes part whatever the symbols say; opens the archives.
    fn open_inputs(&mut self) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        let mut archives = Vec::new();
        for (i, input) in (0u32..).zip(&self.link.inputs) {
            match *input {
                Input::Graph { name, graph } => tasks.push(Task::Graph { archive: None, name, graph, input: i }),
                Input::Dynamic(_) => {}
                Input::Object { name, bytes } | Input::Archive { name, bytes, .. } => match identify(bytes) {
                    FileKind::Archive | FileKind::ThinArchive => {
                        let whole = matches!(input, Input::Archive { whole: true, .. });
                        archives.push((i, name, bytes, whole));
                    }
                    _ => tasks.push(Task::Object { archive: None, name: UnitName::Text(name), input: i, bytes }),
                },
            }
        }
        let parallel = self.parallel && archives.len() > 1;
        let opened = map(&archives, parallel, |&(input, name, bytes, whole)| {
            (Archive::parse(bytes).map(|archive| Pool { input, name, archive }), whole, name)
        });
        for (pool, whole, name) in opened {
            match pool {
                Err(fault) => self.fault(name, fault),
                Ok(pool) if whole => self.take_whole(&pool, &mut tasks),
                Ok(mut pool) => {
                    if pool.archive.index.is_none() {
                        self.make_index(&mut pool);
                    }
                    self.pools.push(pool);
                }
            }
        }
        // Members of whole archives stand where their archive does.
        tasks.sort_by_key(|task| match task {
            Task::Object { input, .. } | Task::Graph { input, .. } => *input,
        });
        tasks
    }

    fn fault(&mut self, input: &str, fault: Fault) {
        self.errors.push(ErrorKind::Malformed { input: input.into(), offset: fault.offset, what: fault.what });
    }

    fn take_whole(&mut self, pool: &Pool<'a>, tasks: &mut Vec<Task<'a>>) {
        for member in pool.archive.members() {
            match member {
                Err(fault) => return self.fault(pool.name, fault),
                Ok((_, member)) => {
                    if let Some(task) = self.member_task(pool.input, pool.name, member, b"") {
                        tasks.push(task);
                    }
                }
            }
        }
    }

    /// Makes the index that an archive lacks from its members' symbols.
    fn make_index(&mut self, pool: &mut Pool<'a>) {
        let mut entries = Vec::new();
        let members: Vec<_> = pool.archive.members().collect();
        for member in members {
            let (offset, member) = match member {
                Ok(member) => member,
                Err(fault) => return self.fault(pool.name, fault),
            };
            // What is neither object nor bitcode defines nothing.
            let other = |bytes| !matches!(identify(bytes), FileKind::Object | FileKind::Bitcode);
            if member.bytes.is_some_and(other) {
                continue;
            }
            let Some(task) = self.member_task(pool.input, pool.name, member, b"") else { continue };
            match task.parse() {
                Err(error) => self.errors.push(*error),
                Ok(unit) => {
                    for global in 0..unit.globals.len() as u32 {
                        let name = unit.globals[global as usize];
                        if name.len != NO_SYMBOL && unit.global(global).home != Home::Undefined {
                            let hash = name.hash;
                            entries.push(IndexEntry { name: unit.global_name(global), hash, member: offset });
                        }
                    }
                }
            }
        }
        pool.archive.index = Some(entries);
    }

    fn enter_indices(&mut self) {
        let indices: Vec<(u32, &[IndexEntry<'a>])> =
            self.pools.iter().map(|p| (p.input, p.archive.index.as_deref().unwrap_or_default())).collect();
        if !indices.is_empty() {
            self.symbols.add_indices(&indices);
        }
    }

    /// What a member is to be parsed as; `None` if it holds nothing to link, or is an error.
    fn member_task(&mut self, input: u32, archive: &'a str, member: Member<'a>, wanted: &[u8]) -> Option<Task<'a>> {
        let Some(bytes) = member.bytes.or_else(|| self.link.members.thin(archive, member.name)) else {
            let path = text(member.name);
            self.errors.push(ErrorKind::ThinMemberMissing { archive: archive.into(), path });
            return None;
        };
        match identify(bytes) {
            FileKind::Bitcode => match self.link.members.bitcode(archive, member.name, bytes) {
                Some(graph) => Some(Task::Graph { archive: Some(archive), name: graph.name(), graph, input }),
                None => {
                    let (archive, member, symbol) = (archive.into(), text(member.name), text(wanted));
                    self.errors.push(ErrorKind::BitcodeMember { archive, member, symbol });
                    None
                }
            },
            // A whole archive may hold other things beside its objects: an rlib's metadata, a text.
            FileKind::Unknown if wanted.is_empty() => None,
            _ => Some(Task::Object { archive: Some(archive), name: UnitName::Bytes(member.name), input, bytes }),
        }
    }

    /// Loads the units of one round and returns the tasks of the next.
    fn round(&mut self, tasks: Vec<Task<'a>>) -> Vec<Task<'a>> {
        let bytes: usize = tasks.iter().map(Task::bytes).sum();
        let first = self.units.len() as UnitId;
        let parallel = self.parallel && tasks.len() > 1 && bytes > PARALLEL_BYTES / 2;
        if let [task] = &tasks[..] {
            match task.parse() {
                Ok(unit) => self.units.push(unit),
                Err(error) => self.errors.push(*error),
            }
        } else {
            for unit in map(&tasks, parallel, Task::parse) {
                match unit {
                    Ok(unit) => self.units.push(unit),
                    Err(error) => self.errors.push(*error),
                }
            }
        }
        for (unit, group) in self.symbols.claim_groups(&self.units[first as usize..], first) {
            discard(&mut self.units[unit as usize], group as usize);
        }
        let (pulls, clashes) = self.symbols.add_units(&self.units[first as usize..], first);
        for clash in clashes {
            self.report(clash);
        }
        let mut next = Vec::new();
        for pull in pulls {
            if let Some(task) = self.pull(pull) {
                next.push(task);
            }
        }
        next
    }

    fn report(&mut self, clash: Clash) {
        let symbol = self.symbols.get(clash.symbol);
        let second = &self.units[clash.unit as usize];
        let first = match symbol.state {
            State::Defined { unit, global } => {
                let unit = &self.units[unit as usize];
                let (a, b) = (unit.global(global), second.global(clash.global));
                if a.home == Home::Absolute && b.home == Home::Absolute && a.value == b.value {
                    return;
                }
                unit.to_string()
            }
            _ => "a defined address".into(),
        };
        self.errors.push(ErrorKind::Duplicate { symbol: text(symbol.name), first, second: second.to_string() });
    }

    /// The member that a reference asks for, unless a definition has turned up since, a shared library that stands
    /// earlier has one, or the member takes part already.
    fn pull(&mut self, pull: Pull) -> Option<Task<'a>> {
        let symbol = *self.symbols.get(pull.symbol);
        let State::Lazy { input, entry } = symbol.state else { return None };
        if symbol.visibility == Visibility::Default {
            for earlier in &mut self.link.inputs[..input as usize] {
                let Input::Dynamic(scope) = earlier else { continue };
                if let Some(external) = scope.lookup(symbol.name) {
                    self.symbols.get_mut(pull.symbol).state = State::External(external);
                    return None;
                }
            }
        }
        let pool = self.pools.binary_search_by_key(&input, |p| p.input).ok().map(|i| &self.pools[i])?;
        let offset = pool.archive.index.as_deref()?[entry as usize].member;
        if !self.pulled.insert((input, offset)) {
            return None;
        }
        match pool.archive.member(offset) {
            Ok(member) => {
                let name = pool.name;
                self.member_task(input, name, member, symbol.name)
            }
            Err(fault) => {
                let name = pool.name;
                self.fault(name, fault);
                None
            }
        }
    }
}

/// Marks the sections of a group that another unit provides.
fn discard(unit: &mut Unit<'_>, group: usize) {
    let group = unit.groups[group].clone();
    let mut members = Vec::new();
    unit.for_each_member(&group, |section| members.push(section));
    for section in members {
        let section = &mut unit.sections[section as usize];
        if section.class.is_live() {
            section.class = Class::Discarded;
        }
    }
}

/// `items` mapped by `f` in their order, by two threads if `parallel` is set.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], parallel: bool, f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if !parallel {
        return items.iter().map(f).collect();
    }
    // Runs of a few items: threads meet at the counter rarely, yet neither gets all the large ones.
    const RUN: usize = 4;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Vec<R>)>> = Mutex::new(Vec::with_capacity(items.len() / RUN + 1));
    let work = || {
        let mut mine = Vec::new();
        loop {
            // Relaxed: the counter only hands out indices; results meet at the mutex.
            let start = next.fetch_add(RUN, Ordering::Relaxed);
            if start >= items.len() {
                break;
            }
            let end = (start + RUN).min(items.len());
            mine.push((start, items[start..end].iter().map(&f).collect::<Vec<R>>()));
        }
        done.lock().expect("no thread panics while it holds the lock").append(&mut mine);
    };
    join(true, work, work);
    let mut done = done.into_inner().expect("no thread panics while it holds the lock");
    done.sort_unstable_by_key(|(start, _)| *start);
    done.into_iter().flat_map(|(_, results)| results).collect()
}
