//! Copies sections into working memory and fixes them up, in one pass per section, on two threads if it is worth it.
//!
//! 1. Every global symbol gets its address.
//! 2. Stubs and slots are written.
//! 3. Jobs: each copies and fixes up a run of sections, in its own part of every segment.
//! 4. Sections outside the jobs (by name, thread-local) follow; zeros are cleared.
//! 5. Arrays of constructors are read from the finished bytes, unwind entries are sorted.

use std::sync::Mutex;

use kiln_abi::{ExecutorAddr, FdeEntry};

use crate::eh_frame;
use crate::elf::{self, RELA_BYTES};
use crate::error::{ErrorKind, Errors, text};
use crate::init;
use crate::layout::{Job, Layout, Placement, Position, RuntimeSymbols, TlsPlacement, segment_of};
use crate::linked::{CallSite, IfuncSlot, Linked};
use crate::symbols::join;
use crate::unit::{Body, Class, Relocation, Role, Unit, graph_relocation};
use crate::x86_64::fixup::{Context, Site, Target, TargetKind};
use crate::x86_64::got_plt::{NONE, Owner, SLOT_BYTES, Stub};

/// What fixing up finds beside the bytes.
#[derive(Default)]
struct Found {
    errors: Errors,
    unwind: Vec<FdeEntry>,
    calls: Vec<CallSite>,
}

/// A job with the memory it fills.
struct Task<'m> {
    start: Position,
    end: Position,
    /// Offsets of `parts` in the segments.
    starts: [u32; 3],
    parts: [&'m mut [u8]; 3],
}

pub(crate) fn place<'a>(
    layout: Layout<'a>,
    placements: &mut [Placement<'_>],
    tls: TlsPlacement,
    runtime: &RuntimeSymbols,
) -> Result<Linked<'a>, Errors> {
    let segments = Segments::new(&layout, placements)?;
    let bases = segments.bases;
    // Without a table its address is still a number that offsets can count from.
    let got = if layout.sizes[1] > 0 { bases[1] } else { bases[0].max(bases[2]) };
    let mut targets = vec![Target::new(TargetKind::Absolute, 0); layout.resolved.symbols.len()];
    {
        let context =
            Context { resolved: &layout.resolved, targets: &[], slots: &layout.slots, bases, got, tls, runtime };
        for id in layout.resolved.symbols.ids() {
            targets[layout.resolved.symbols.flat(id)] = context.global_target(id);
        }
    }
    for &(id, stub) in &layout.resolved.stubs {
        let target = &mut targets[layout.resolved.symbols.flat(id)];
        if target.kind == TargetKind::Here {
            *target = Target { address: stub, extra: target.address, kind: TargetKind::Stubbed };
        }
    }
    let context =
        Context { resolved: &layout.resolved, targets: &targets, slots: &layout.slots, bases, got, tls, runtime };
    let Filled { mut found, image, functions } = fill(&context, &layout, segments)?;
    if !found.errors.is_empty() {
        return Err(found.errors);
    }
    let by_address = |entry: &FdeEntry| (entry.pc_begin, entry.fde);
    if !found.unwind.is_sorted_by_key(by_address) {
        found.unwind.sort_by_key(by_address);
    }
    let ifuncs = ifunc_slots(&context, &layout);
    Ok(Linked {
        resolved: layout.resolved,
        targets,
        bases,
        unwind: found.unwind,
        calls: found.calls,
        image,
        functions,
        ifuncs,
    })
}

/// The segments' memory.
struct Segments<'m> {
    bases: [u64; 3],
    memory: [&'m mut [u8]; 3],
    zeroed: [bool; 3],
}

impl<'m> Segments<'m> {
    fn new<'p: 'm>(layout: &Layout<'_>, placements: &'m mut [Placement<'p>]) -> Result<Self, Errors> {
        let mut result = Segments { bases: [0; 3], memory: Default::default(), zeroed: [true; 3] };
        if placements.len() != layout.segments.len() {
            return Err(ErrorKind::Placement { index: placements.len(), what: "one placement per segment" }.into());
        }
        for (index, (placement, segment)) in placements.iter_mut().zip(&layout.segments).enumerate() {
            let fault = |what| Err(ErrorKind::Placement { index, what }.into());
            let slot = kiln_abi::Permission::ALL.iter().position(|p| *p == segment.permission).expect("one of all");
            if placement.address.get() & (segment.align - 1) != 0 {
                return fault("address is not aligned");
            }
            if placement.address.get().checked_add(segment.size).is_none() {
                return fault("address wraps around");
            }
            let Some(memory) = placement.working.get_mut(..segment.size as usize) else {
                return fault("working memory is too small");
            };
            result.bases[slot] = placement.address.get();
            result.memory[slot] = memory;
            result.zeroed[slot] = placement.zeroed;
        }
        Ok(result)
    }
}

struct Filled {
    found: Found,
    image: Vec<u8>,
    functions: init::Functions,
}

fn fill(context: &Context<'_, '_>, layout: &Layout<'_>, segments: Segments<'_>) -> Result<Filled, Errors> {
    let Segments { mut memory, zeroed, .. } = segments;
    let mut found = Found::default();
    {
        let [code, constants, variables] = &mut memory;
        context.write_stubs(&mut code[..layout.heads[0] as usize])?;
        context.write_table(&mut constants[..layout.heads[1] as usize]);
        let head = &mut variables[..layout.heads[2] as usize];
        head.fill(0);
        if layout.slots.dso_handle != NONE {
            // Its value is its own address, as crtbegin has it in a shared library.
            let at = (layout.slots.dso_handle * SLOT_BYTES) as usize;
            let value = context.bases[2] + at as u64;
            head[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        if !zeroed[2] {
            variables[layout.zeros as usize..].fill(0);
        }
    }
    let tasks = split(layout, &mut memory);
    for done in run(context, tasks, zeroed, layout.resolved.parallel) {
        found.errors.append(done.errors);
        found.unwind.extend(done.unwind);
        found.calls.extend(done.calls);
    }
    place_named(context, layout, &mut memory, zeroed, &mut found);
    let image = place_thread_local(context, layout, &mut found);
    let arrays = init::arrays(&layout.resolved.units, &layout.resolved.order);
    let functions = init::functions(&arrays, |unit, section| {
        let section = &layout.resolved.units[unit as usize].sections[section as usize];
        let start = section.offset as usize;
        segment_of(section.class).map_or(&[], |s| &memory[s][start..start + section.size as usize])
    });
    Ok(Filled { found, image, functions })
}

/// Splits the memory between the heads and the tails among the jobs.
fn split<'m>(layout: &Layout<'_>, memory: &'m mut [&mut [u8]; 3]) -> Vec<Task<'m>> {
    let mut rest: [&mut [u8]; 3] = Default::default();
    for ((rest, memory), head) in rest.iter_mut().zip(memory.iter_mut()).zip(layout.heads) {
        *rest = &mut memory[head as usize..];
    }
    let (mut start, mut starts) = ((0, 0), layout.heads);
    let mut tasks = Vec::with_capacity(layout.jobs.len());
    for &Job { end, ends } in &layout.jobs {
        let mut parts: [&mut [u8]; 3] = Default::default();
        for s in 0..3 {
            let (part, tail) = std::mem::take(&mut rest[s]).split_at_mut((ends[s] - starts[s]) as usize);
            (parts[s], rest[s]) = (part, tail);
        }
        tasks.push(Task { start, end, starts, parts });
        (start, starts) = (end, ends);
    }
    tasks
}

/// Runs all tasks; the results are in their order.
fn run(context: &Context<'_, '_>, tasks: Vec<Task<'_>>, zeroed: [bool; 3], parallel: bool) -> Vec<Found> {
    if !parallel || tasks.len() < 2 {
        return tasks.into_iter().map(|task| run_task(context, task, zeroed)).collect();
    }
    let queue = Mutex::new(tasks.into_iter().enumerate());
    let work = || {
        let mut mine = Vec::new();
        loop {
            let Some((i, task)) = queue.lock().expect("no thread panics while it holds the lock").next() else {
                return mine;
            };
            mine.push((i, run_task(context, task, zeroed)));
        }
    };
    let (mut a, b) = join(true, work, work);
    a.extend(b);
    a.sort_unstable_by_key(|(i, _)| *i);
    a.into_iter().map(|(_, found)| found).collect()
}

fn run_task(context: &Context<'_, '_>, task: Task<'_>, zeroed: [bool; 3]) -> Found {
    let Task { start, end, starts, parts } = task;
    let mut found = Found::default();
    let mut written = [0usize; 3];
    let by_name = !context.resolved.named.is_empty();
    for position in start.0..=end.0 {
        let Some(&id) = context.resolved.order.get(position as usize) else { break };
        let unit = &context.resolved.units[id as usize];
        let first = if position == start.0 { start.1 } else { 0 };
        let last = if position == end.0 { end.1 } else { unit.sections.len() as u32 };
        for index in first..last {
            let section = &unit.sections[index as usize];
            let segment = match section.class {
                Class::Code => 0,
                Class::ReadOnly => 1,
                Class::ReadWrite => 2,
                _ => continue,
            };
            if by_name && section.role == Role::Named {
                continue;
            }
            let from = (section.offset - starts[segment]) as usize;
            let to = from + section.size as usize;
            let part = &mut *parts[segment];
            pad(&mut part[written[segment]..from], segment, zeroed[segment]);
            written[segment] = to;
            let bytes = &mut part[from..to];
            bytes.copy_from_slice(unit.section_bytes(index));
            if unit.relocation_count(index) > 0 {
                fix(context, id, unit, index, bytes, &mut found);
            }
        }
    }
    found
}

/// Fills the gap between two sections.
fn pad(gap: &mut [u8], segment: usize, zeroed: bool) {
    if segment == 0 {
        gap.fill(0xcc); // int3
    } else if !zeroed {
        gap.fill(0);
    }
}

/// Fixes up one section.
fn fix(context: &Context<'_, '_>, id: u32, unit: &Unit<'_>, index: u32, bytes: &mut [u8], found: &mut Found) {
    let section = &unit.sections[index as usize];
    let address = context.section_address(section).address;
    let (code, bodies) = (section.class == Class::Code, section.role == Role::EhFrame);
    let mut site = Site { bytes, address, id, unit, code, bodies };
    if section.role == Role::EhFrame {
        return fix_unwind(context, &mut site, index, found);
    }
    match &unit.body {
        Body::Elf(object) => {
            let records = object.relocations(section.relocations);
            let count = records.len() / RELA_BYTES;
            apply_all(context, &mut site, index, found, count, |i| {
                elf::relocation(records[i * RELA_BYTES..][..RELA_BYTES].try_into().expect("of that length"))
            });
        }
        Body::Graph { graph, order } => {
            apply_all(context, &mut site, index, found, section.data as usize, |i| {
                graph_relocation(graph, order.as_deref(), section.relocations + i as u32)
            });
        }
    }
}

fn apply_all(
    context: &Context<'_, '_>,
    site: &mut Site<'_, '_>,
    section: u32,
    found: &mut Found,
    count: usize,
    get: impl Fn(usize) -> Relocation,
) {
    let keep_calls = context.resolved.options.call_sites;
    let mut i = 0;
    while i < count {
        let relocation = get(i);
        let next = if i + 1 < count && relocation.kind.needs_slot() { Some(get(i + 1)) } else { None };
        let calls = if keep_calls { Some(&mut found.calls) } else { None };
        match context.apply(site, &relocation, next, calls) {
            Ok(consumed) => i += consumed as usize,
            Err(problem) => {
                found.errors.push(context.error(site, section, &relocation, problem));
                i += 1;
            }
        }
    }
}

/// Fixes up the live entries of an unwind table and notes where they are.
fn fix_unwind(context: &Context<'_, '_>, site: &mut Site<'_, '_>, section: u32, found: &mut Found) {
    let unit = site.unit;
    let relocations = eh_frame::sorted_relocations(unit, section);
    let visited = eh_frame::visit(unit.section_bytes(section), &relocations, |record, inside| {
        if let Some(fde) = record.fde {
            let described = eh_frame::described(unit, record, inside);
            let Some((home, offset)) = described.filter(|(s, _)| unit.sections[*s as usize].class.is_live()) else {
                return;
            };
            let start = context.section_address(&unit.sections[home as usize]).address.wrapping_add(offset);
            if fde.pc_bytes > 0 {
                found.unwind.push(FdeEntry {
                    pc_begin: ExecutorAddr::new(start),
                    pc_bytes: fde.pc_bytes,
                    fde: ExecutorAddr::new(site.address + u64::from(record.offset)),
                });
            }
        }
        apply_all(context, site, section, found, inside.len(), |i| inside[i]);
    });
    if let Err(fault) = visited {
        found.errors.push(ErrorKind::EhFrame {
            input: unit.to_string(),
            section: text(unit.section_name(section)),
            offset: fault.offset,
            what: fault.what,
        });
    }
}

/// Places the sections that lie next to their namesakes.
fn place_named(
    context: &Context<'_, '_>,
    layout: &Layout<'_>,
    memory: &mut [&mut [u8]; 3],
    zeroed: [bool; 3],
    found: &mut Found,
) {
    let mut ends = layout.jobs.last().map_or(layout.heads, |job| job.ends);
    for &(id, index) in &layout.named {
        let unit = &context.resolved.units[id as usize];
        let section = &unit.sections[index as usize];
        let Some(segment) = segment_of(section.class) else { continue };
        let (from, to) = (section.offset as usize, section.offset as usize + section.size as usize);
        pad(&mut memory[segment][ends[segment] as usize..from], segment, zeroed[segment]);
        ends[segment] = to as u32;
        let bytes = &mut memory[segment][from..to];
        if section.class == Class::Zero {
            bytes.fill(0);
            continue;
        }
        bytes.copy_from_slice(unit.section_bytes(index));
        fix(context, id, unit, index, bytes, found);
    }
}

/// Makes the initial image of the thread-local block.
fn place_thread_local(context: &Context<'_, '_>, layout: &Layout<'_>, found: &mut Found) -> Vec<u8> {
    let Some(request) = layout.tls else { return Vec::new() };
    let mut image = vec![0; request.image_size as usize];
    for &id in &context.resolved.order {
        let unit = &context.resolved.units[id as usize];
        for (index, section) in (0u32..).zip(&unit.sections) {
            if section.class == Class::Tls {
                let bytes = &mut image[section.offset as usize..][..section.size as usize];
                bytes.copy_from_slice(unit.section_bytes(index));
                fix(context, id, unit, index, bytes, found);
            }
        }
    }
    image
}

/// The slots that resolvers fill.
fn ifunc_slots(context: &Context<'_, '_>, layout: &Layout<'_>) -> Vec<IfuncSlot> {
    let mut slots = Vec::new();
    for stub in &layout.slots.stubs {
        let Stub::Ifunc { owner, slot } = *stub else { continue };
        let resolver = match owner {
            Owner::Global(id) => context.ifunc_resolver(id),
            Owner::Local { unit, symbol } => {
                let unit = &context.resolved.units[unit as usize];
                unit.symbol(symbol).map(|view| context.defined(unit, &view).address)
            }
            Owner::Module => None,
        };
        if let Some(resolver) = resolver {
            let slot = ExecutorAddr::new(context.bases[2] + u64::from(slot * SLOT_BYTES));
            slots.push(IfuncSlot { resolver: ExecutorAddr::new(resolver), slot });
        }
    }
    slots
}
