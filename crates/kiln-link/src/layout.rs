//! Where everything goes: sections to segments, slots and stubs beside them.
//!
//! ```text
//! code        stubs            sections in the order of the units   sections with __start_/__stop_
//! read-only   offset table     sections in the order of the units   sections with __start_/__stop_
//! read-write  resolver slots   sections in the order of the units   sections with __start_/__stop_   zeros, commons
//! ```
//!
//! Every section in the image gets an address, those of size 0 too: they are referred to. Sections in the order of the
//! units are what threads share among them: a job is a run of sections, contiguous in each segment.

use kiln_abi::{ExecutorAddr, Permission, Segment};

use crate::error::{ErrorKind, Errors};
use crate::linked::Linked;
use crate::resolve::Resolved;
use crate::symbols::State;
use crate::unit::{Class, Role};
use crate::x86_64::got_plt::{SLOT_BYTES, STUB_BYTES, Slots};

/// Bytes that a link may take, all segments together: what 32-bit displacements cross.
pub(crate) const LIMIT: u64 = 0x7fff_0000;

/// Bytes of a job from which the next one begins.
const JOB_BYTES: u64 = 256 << 10;

/// Thread-local storage that a link needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsRequest {
    /// Bytes of one thread's block.
    pub size: u64,
    /// Alignment of the block, a power of two.
    pub align: u64,
    /// Bytes that start with other values than 0; the rest of the block is zero.
    pub image_size: u64,
}

/// Where a link's thread-local block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsPlacement {
    /// The link needs none.
    None,
    /// In a pool at a constant distance from the thread pointer: every access becomes local-exec.
    Static {
        /// Address of the block minus the thread pointer.
        tp_offset: i64,
    },
    /// Each thread's block is found by `__tls_get_addr`.
    Dynamic {
        /// The id to find it by.
        module: u64,
    },
}

/// Functions of the runtime that linked code calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSymbols {
    /// `__tls_get_addr`: takes the address of a pair (module, offset).
    pub tls_get_addr: Option<ExecutorAddr>,
    /// Resolver of TLS descriptors: takes the address of a descriptor in `rax`, whose second word is the address of a
    /// pair (module, offset), returns the variable's offset from the thread pointer in `rax` and preserves every other
    /// register.
    pub tls_descriptor: Option<ExecutorAddr>,
}

/// The memory for one segment.
#[derive(Debug)]
pub struct Placement<'m> {
    /// Where the program will see it.
    pub address: ExecutorAddr,
    /// Where the linker writes it; at least the segment's size.
    pub working: &'m mut [u8],
    /// Whether `working` is known to hold zeros: then nothing is written where the program expects zeros.
    pub zeroed: bool,
}

/// A position in the order of the sections: (index in the order of the units, section).
pub(crate) type Position = (u32, u32);

/// A run of sections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// The first section after the run.
    pub(crate) end: Position,
    /// Offsets of its end in the segments.
    pub(crate) ends: [u32; 3],
}

/// A link whose sizes are final.
pub struct Layout<'a> {
    /// The memory it needs; none of size 0. [`Layout::place`] takes as many placements, in this order.
    pub segments: Vec<Segment>,
    /// The thread-local storage it needs.
    pub tls: Option<TlsRequest>,
    pub(crate) resolved: Resolved<'a>,
    pub(crate) slots: Slots,
    pub(crate) jobs: Vec<Job>,
    /// Bytes of stubs and slots at the start of each segment.
    pub(crate) heads: [u32; 3],
    /// Sections laid out by name: (unit, section), by address in each segment.
    pub(crate) named: Vec<(u32, u32)>,
    /// Where zeros begin in the segment of variables.
    pub(crate) zeros: u32,
    pub(crate) sizes: [u32; 3],
}

impl<'a> Layout<'a> {
    /// Copies the sections to their places and applies all relocations.
    ///
    /// # Errors
    ///
    /// All relocations that do not fit or cannot be; the working memory is in no defined state then.
    pub fn place(
        self,
        placements: &mut [Placement<'_>],
        tls: TlsPlacement,
        runtime: &RuntimeSymbols,
    ) -> Result<Linked<'a>, Errors> {
        crate::place::place(self, placements, tls, runtime)
    }
}

/// The segment of a class of sections, as an index of `Permission::ALL`.
pub(crate) fn segment_of(class: Class) -> Option<usize> {
    match class.permission()? {
        Permission::Code => Some(0),
        Permission::ReadOnly => Some(1),
        Permission::ReadWrite => Some(2),
    }
}

/// A growing segment.
#[derive(Clone, Copy)]
struct Cursor {
    size: u64,
    align_log2: u8,
}

impl Cursor {
    /// The offset of `size` bytes put at the end. May exceed the limit; checked at the end.
    fn put(&mut self, size: u64, align_log2: u8) -> u32 {
        let align_log2 = align_log2.min(40);
        let mask = (1u64 << align_log2) - 1;
        let start = (self.size + mask) & !mask;
        // Saturates far above the limit: nothing is ever placed then.
        self.size = start.saturating_add(size).min(1 << 50);
        self.align_log2 = self.align_log2.max(align_log2);
        start as u32
    }
}

struct Builder<'a> {
    resolved: Resolved<'a>,
    cursors: [Cursor; 3],
    jobs: Vec<Job>,
    named: Vec<(u32, u32)>,
    /// Sections without contents, and thread-local ones: (unit, section).
    zeros: Vec<(u32, u32)>,
    thread_local: Vec<(u32, u32)>,
}

pub(crate) fn layout(resolved: Resolved<'_>) -> Result<Layout<'_>, Errors> {
    let slots = Slots::assign(&resolved);
    let heads = [
        u64::from(slots.stubs.len() as u32) * u64::from(STUB_BYTES),
        u64::from(slots.words) * u64::from(SLOT_BYTES),
        u64::from(slots.writable_words) * u64::from(SLOT_BYTES),
    ];
    if let Some(&bytes) = heads.iter().find(|bytes| **bytes > LIMIT) {
        return Err(ErrorKind::TooLarge { bytes, limit: LIMIT }.into());
    }
    let heads = heads.map(|bytes| bytes as u32);
    let cursors = heads.map(|head| Cursor { size: u64::from(head), align_log2: 4 });
    let (jobs, named, zeros, thread_local) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut builder = Builder { resolved, cursors, jobs, named, zeros, thread_local };
    builder.put_sections();
    builder.put_named();
    let zeros = builder.cursors[2].size;
    builder.put_zeros();
    let tls = builder.put_thread_local();
    let total: u64 = builder.cursors.iter().map(|c| c.size + (1 << c.align_log2)).sum();
    let total = total + tls.map_or(0, |t| t.size);
    if total > LIMIT {
        return Err(ErrorKind::TooLarge { bytes: total, limit: LIMIT }.into());
    }
    let sizes = builder.cursors.map(|c| c.size as u32);
    let segments = Permission::ALL
        .into_iter()
        .zip(builder.cursors)
        .filter(|(_, c)| c.size > 0)
        .map(|(permission, c)| Segment { permission, size: c.size, align: 1 << c.align_log2 })
        .collect();
    let Builder { resolved, jobs, named, .. } = builder;
    Ok(Layout { segments, tls, resolved, slots, jobs, heads, named, zeros: zeros as u32, sizes })
}

impl Builder<'_> {
    /// Puts the sections with contents, in the order of the units.
    fn put_sections(&mut self) {
        let several = self.resolved.parallel;
        let by_name = !self.resolved.named.is_empty();
        let mut job_start: u64 = self.cursors.iter().map(|c| c.size).sum();
        for position in 0..self.resolved.order.len() {
            let id = self.resolved.order[position];
            let unit = &mut self.resolved.units[id as usize];
            for index in 0..unit.sections.len() {
                let section = &mut unit.sections[index];
                let segment = match section.class {
                    Class::Code => 0,
                    Class::ReadOnly => 1,
                    Class::ReadWrite => 2,
                    Class::Zero => {
                        if !(by_name && section.role == Role::Named) {
                            self.zeros.push((id, index as u32));
                            continue;
                        }
                        2
                    }
                    Class::Tls | Class::TlsZero => {
                        self.thread_local.push((id, index as u32));
                        continue;
                    }
                    Class::Absent | Class::Discarded | Class::Pruned => continue,
                };
                if by_name && section.role == Role::Named {
                    self.named.push((id, index as u32));
                    continue;
                }
                section.offset = self.cursors[segment].put(u64::from(section.size), section.align_log2);
                if several {
                    let bytes: u64 = self.cursors.iter().map(|c| c.size).sum();
                    if bytes - job_start >= JOB_BYTES {
                        job_start = bytes;
                        let end = (position as u32, index as u32 + 1);
                        self.jobs.push(Job { end, ends: self.cursors.map(|c| c.size as u32) });
                    }
                }
            }
        }
        let end = (self.resolved.order.len() as u32, 0);
        self.jobs.push(Job { end, ends: self.cursors.map(|c| c.size as u32) });
    }

    /// Puts the sections that `__start_` and `__stop_` symbols may ask for: namesakes next to each other, in one
    /// segment, the most permissive of theirs.
    fn put_named(&mut self) {
        let mut rest = std::mem::take(&mut self.named);
        for set in 0..self.resolved.named.len() {
            let name = self.resolved.named[set].name;
            let (members, others): (Vec<_>, Vec<_>) =
                rest.into_iter().partition(|(u, s)| self.resolved.units[*u as usize].section_name(*s) == name);
            rest = others;
            let class = |(u, s): &(u32, u32)| self.resolved.units[*u as usize].sections[*s as usize].class;
            let segments = members.iter().map(|m| segment_of(class(m)).unwrap_or(0));
            let segment = segments.max().unwrap_or(1);
            let (mut start, mut end) = (u64::MAX, 0);
            for &(unit, section) in &members {
                let section = &mut self.resolved.units[unit as usize].sections[section as usize];
                section.class = match (segment, section.class) {
                    (2, Class::Zero) => Class::Zero,
                    (2, _) => Class::ReadWrite,
                    (1, _) => Class::ReadOnly,
                    _ => Class::Code,
                };
                section.offset = self.cursors[segment].put(u64::from(section.size), section.align_log2);
                start = start.min(u64::from(section.offset));
                end = u64::from(section.offset) + u64::from(section.size);
            }
            let set = &mut self.resolved.named[set];
            (set.start, set.end, set.segment) = (start.min(end), end, segment);
            self.named.extend(members);
        }
        for &(unit, section) in &rest {
            let section = &mut self.resolved.units[unit as usize].sections[section as usize];
            if let Some(segment) = segment_of(section.class) {
                section.offset = self.cursors[segment].put(u64::from(section.size), section.align_log2);
            }
        }
        self.named.append(&mut rest);
    }

    fn put_zeros(&mut self) {
        for (unit, section) in std::mem::take(&mut self.zeros) {
            let section = &mut self.resolved.units[unit as usize].sections[section as usize];
            section.offset = self.cursors[2].put(u64::from(section.size), section.align_log2);
        }
        for id in self.resolved.symbols.ids() {
            if let State::Common { common, .. } = self.resolved.symbols.get(id).state {
                let common = self.resolved.symbols.common_mut(id, common);
                common.offset = self.cursors[2].put(common.size, common.align.trailing_zeros() as u8);
            }
        }
    }

    /// Puts the thread-local sections, those with contents first.
    fn put_thread_local(&mut self) -> Option<TlsRequest> {
        let mut block = Cursor { size: 0, align_log2: 0 };
        let mut image_size = 0;
        for class in [Class::Tls, Class::TlsZero] {
            for &(unit, section) in &self.thread_local {
                let section = &mut self.resolved.units[unit as usize].sections[section as usize];
                if section.class == class {
                    section.offset = block.put(u64::from(section.size), section.align_log2);
                }
            }
            if class == Class::Tls {
                image_size = block.size;
            }
        }
        let align = 1 << block.align_log2;
        (!self.thread_local.is_empty()).then_some(TlsRequest { size: block.size, align, image_size })
    }
}
