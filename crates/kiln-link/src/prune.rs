//! Drops sections that nothing refers to: marks from the roots along relocations, then sweeps.
//!
//! Unwind tables refer to every function and keep none alive: only the entries of live functions pass their references
//! on (to landing-pad tables and personality routines), which may make more functions live.

use crate::eh_frame;
use crate::error::Errors;
use crate::resolve::Resolved;
use crate::symbols::State;
use crate::unit::{Class, Home, NO_SYMBOL, Role, Unit};

struct Marker<'r, 'a> {
    resolved: &'r Resolved<'a>,
    live: Vec<Vec<bool>>,
    work: Vec<(u32, u32)>,
}

pub(crate) fn prune(resolved: &mut Resolved<'_>) -> Result<(), Errors> {
    let live = resolved.units.iter().map(|unit| vec![false; unit.sections.len()]).collect();
    let mut marker = Marker { resolved, live, work: Vec::new() };
    marker.mark_roots();
    loop {
        marker.drain();
        marker.mark_unwinding();
        if marker.work.is_empty() {
            break;
        }
    }
    let live = marker.live;
    for (unit, live) in resolved.units.iter_mut().zip(live) {
        for (section, live) in unit.sections.iter_mut().zip(live) {
            if section.class.is_live() && !live && section.role != Role::EhFrame {
                section.class = Class::Pruned;
            }
        }
    }
    Ok(())
}

impl Marker<'_, '_> {
    fn mark_roots(&mut self) {
        for (u, unit) in (0u32..).zip(&self.resolved.units) {
            for (s, section) in (0u32..).zip(&unit.sections) {
                if section.retained {
                    self.mark(u, s);
                }
            }
        }
        for name in &self.resolved.options.roots {
            if let Some(symbol) = self.resolved.symbols.find(name) {
                self.mark_symbol(symbol);
            }
        }
    }

    fn mark(&mut self, unit: u32, section: u32) {
        let class = self.resolved.units[unit as usize].sections[section as usize].class;
        let live = &mut self.live[unit as usize][section as usize];
        if class.is_live() && !*live {
            *live = true;
            self.work.push((unit, section));
        }
    }

    fn mark_symbol(&mut self, symbol: u32) {
        if let State::Defined { unit, global } = self.resolved.symbols.get(symbol).state
            && let Home::Section(section) = self.resolved.units[unit as usize].global(global).home
        {
            self.mark(unit, section);
        }
    }

    fn mark_target(&mut self, id: u32, unit: &Unit<'_>, symbol: u32) {
        match unit.bound(symbol) {
            NO_SYMBOL => {
                if let Some(Home::Section(section)) = unit.symbol(symbol).map(|view| view.home) {
                    self.mark(id, section);
                }
            }
            bound => self.mark_symbol(bound),
        }
    }

    fn drain(&mut self) {
        while let Some((id, section)) = self.work.pop() {
            let unit = &self.resolved.units[id as usize];
            if unit.sections[section as usize].role == Role::EhFrame {
                continue;
            }
            for relocation in unit.relocations(section) {
                self.mark_target(id, unit, relocation.symbol);
            }
        }
    }

    fn mark_unwinding(&mut self) {
        for (id, unit) in (0u32..).zip(&self.resolved.units) {
            for section in 0..unit.sections.len() as u32 {
                let s = unit.sections[section as usize];
                if s.role == Role::EhFrame && s.class.is_live() {
                    self.mark_entries(id, unit, section);
                }
            }
        }
    }

    fn mark_entries(&mut self, id: u32, unit: &Unit<'_>, section: u32) {
        let relocations = eh_frame::sorted_relocations(unit, section);
        let mut targets = Vec::new();
        // A fault is reported when the section is placed.
        let _ = eh_frame::visit(unit.section_bytes(section), &relocations, |record, inside| {
            let live = record.fde.is_none()
                || eh_frame::described(unit, record, inside).is_some_and(|(s, _)| self.live[id as usize][s as usize]);
            if live {
                targets.extend(inside.iter().map(|r| r.symbol));
            }
        });
        for symbol in targets {
            self.mark_target(id, unit, symbol);
        }
    }
}
