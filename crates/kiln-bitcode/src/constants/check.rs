//! What is only known of constants when all of them are there: that their operands exist and have the right types, that
//! none contains itself, and whose block addresses they hold.

use kiln_abi::FunctionId;

use super::{Constants, Node};
use crate::bitstream::Block;
use crate::constant::{Constant, ConstantId, GlobalRef};
use crate::error::{Error, ErrorKind};
use crate::types::{Type, TypeId, TypeTable};

/// Deepest nesting of a constant. Evaluation recurses this far.
const MAX_DEPTH: u16 = 512;

/// Most parts of a constant expression, those that occur several times counted each time: what evaluation may take.
/// Aggregates are not bounded this way, but by the size of their type.
const MAX_EXPRESSION: u32 = 1 << 16;

impl Constants {
    /// Checks what can only be checked when all constants of a module are known: see the module's comment.
    pub(crate) fn check(&mut self, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        self.check_within(None, types, block)
    }

    /// The same for the constants of a body, which may name those of its module.
    pub(crate) fn check_local(
        &mut self,
        module: &Constants,
        types: &TypeTable,
        block: &Block<'_>,
    ) -> Result<(), Error> {
        if self.composed.is_empty() {
            return Ok(());
        }
        self.check_within(Some(module), types, block)
    }

    fn check_within(&mut self, outer: Option<&Constants>, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        let view = View { table: self, outer };
        for index in self.composed.iter().map(|index| *index as usize) {
            if let Some(operand) = self.operands(index).iter().find(|operand| !view.exists(**operand)) {
                let count = u64::from(self.base) + self.nodes.len() as u64;
                let index = u64::from(operand.0);
                return Err(block.error(ErrorKind::BadReference { what: "constant", index, count }));
            }
            view.check_types(index, types, block)?;
        }
        self.check_depth(outer, block)
    }

    /// Refuses constants that contain themselves, are nested too deep, or are too large expressions when written out;
    /// and notes which ones hold block addresses.
    fn check_depth(&mut self, outer: Option<&Constants>, block: &Block<'_>) -> Result<(), Error> {
        const UNSEEN: u16 = 0;
        const OPEN: u16 = u16::MAX;
        // 0: not seen, OPEN: being visited, else 1 + depth.
        let mut depths = std::mem::take(&mut self.depths);
        let mut sizes = std::mem::take(&mut self.sizes);
        depths.clear();
        depths.resize(self.nodes.len(), 1);
        self.composed.iter().for_each(|index| depths[*index as usize] = UNSEEN);
        sizes.clear();
        sizes.resize(self.nodes.len(), 1);
        // Who holds labels of a body's own constants is of no interest.
        let note_labels = self.has_block_address && outer.is_none();
        let mut labels = vec![Labels::None; if note_labels { self.nodes.len() } else { 0 }];
        let mut stack = Vec::new();
        for root in self.composed.iter().map(|index| *index as usize) {
            if depths[root] != UNSEEN {
                continue;
            }
            stack.push(root);
            while let Some(&index) = stack.last() {
                let first_visit = depths[index] == UNSEEN;
                if !first_visit && depths[index] != OPEN {
                    stack.pop();
                    continue;
                }
                // Most operands have no operands, or come before.
                let all_done = |(deepest, size): (u16, u32), operand: &ConstantId| {
                    let own = operand.0.checked_sub(self.base)? as usize;
                    let is_done = depths[own] != UNSEEN && depths[own] != OPEN;
                    is_done.then(|| (deepest.max(depths[own]), size.saturating_add(sizes[own])))
                };
                if !note_labels
                    && let Some((deepest, size)) = self.operands(index).iter().try_fold((0, 1), all_done)
                    && deepest < MAX_DEPTH
                    && size <= MAX_EXPRESSION
                {
                    (depths[index], sizes[index]) = (deepest + 1, size);
                    stack.pop();
                    continue;
                }
                depths[index] = OPEN;
                let (mut deepest, mut size, before) = (0, 1u32, stack.len());
                let mut holds = if note_labels { self.own_labels(index) } else { Labels::None };
                self.operands(index).iter().try_for_each(|operand| {
                    let Some(own) = operand.0.checked_sub(self.base) else {
                        let (depth, parts) = outer.map_or((1, 1), |outer| outer.extent(*operand));
                        deepest = deepest.max(depth);
                        size = size.saturating_add(parts);
                        return Ok(());
                    };
                    let own = own as usize;
                    match depths[own] {
                        UNSEEN if first_visit => stack.push(own),
                        // On the second visit all operands are done, or an operand is an ancestor.
                        UNSEEN | OPEN => {
                            let constant = self.base + index as u32;
                            return Err(block.error(ErrorKind::CyclicConstant { constant }));
                        }
                        depth => {
                            deepest = deepest.max(depth);
                            size = size.saturating_add(sizes[own]);
                            holds = holds.with(labels.get(own).copied().unwrap_or_default());
                        }
                    }
                    Ok(())
                })?;
                if stack.len() == before {
                    let exceeds = |what, limit| Err(block.error(ErrorKind::Limit { what, limit }));
                    if deepest >= MAX_DEPTH {
                        return exceeds("nesting of constants", u64::from(MAX_DEPTH));
                    }
                    if size > MAX_EXPRESSION && !matches!(self.nodes[index], Node::Aggregate(_)) {
                        return exceeds("size of a constant expression", u64::from(MAX_EXPRESSION));
                    }
                    depths[index] = deepest + 1;
                    sizes[index] = size;
                    if let Some(known) = labels.get_mut(index) {
                        *known = holds;
                    }
                    stack.pop();
                }
            }
        }
        (self.depths, self.sizes, self.labels) = (depths, sizes, labels);
        Ok(())
    }

    /// 1 + depth and number of parts of a constant that has been checked.
    fn extent(&self, id: ConstantId) -> (u16, u32) {
        (self.depths[id.0 as usize], self.sizes[id.0 as usize])
    }

    fn own_labels(&self, index: usize) -> Labels {
        match self.get(ConstantId(self.base + index as u32)) {
            Constant::BlockAddress { function, .. } => Labels::Of(function),
            _ => Labels::None,
        }
    }
}

/// A table together with that of the module around it, if it is a body's.
struct View<'c> {
    table: &'c Constants,
    outer: Option<&'c Constants>,
}

impl View<'_> {
    /// The table that holds `id`.
    fn holder(&self, id: ConstantId) -> &Constants {
        if id.0 < self.table.base { self.outer.unwrap_or(self.table) } else { self.table }
    }

    /// Between the constants of a module and those of a body lie the arguments.
    fn exists(&self, id: ConstantId) -> bool {
        let holder = self.holder(id);
        id.0.checked_sub(holder.base).is_some_and(|index| (index as usize) < holder.nodes.len())
    }

    fn ty(&self, id: ConstantId) -> TypeId {
        self.holder(id).ty(id)
    }

    fn global(&self, id: ConstantId) -> Option<GlobalRef> {
        self.holder(id).global(id)
    }

    fn check_types(&self, index: usize, types: &TypeTable, block: &Block<'_>) -> Result<(), Error> {
        let mismatch = |what| Err(block.error(ErrorKind::TypeMismatch { what }));
        match self.table.nodes[index] {
            Node::Aggregate(span) => {
                let elements = span.of(&self.table.operands);
                let fits = match &types.all()[self.table.types[index].0 as usize] {
                    Type::Array { count, element } => {
                        *count == elements.len() as u64 && elements.iter().all(|e| self.ty(*e) == *element)
                    }
                    Type::Vector { count, element, scalable: false } => {
                        *count as usize == elements.len() && elements.iter().all(|e| self.ty(*e) == *element)
                    }
                    Type::Struct { fields, .. } => elements.iter().map(|e| self.ty(*e)).eq(fields.iter().copied()),
                    _ => false,
                };
                if fits { Ok(()) } else { mismatch("elements of an aggregate") }
            }
            Node::BlockAddress { function, .. } if !matches!(self.global(function), Some(GlobalRef::Function(_))) => {
                mismatch("block address of something else than a function")
            }
            Node::DsoLocalEquivalent(of) | Node::NoCfi(of) if self.global(of).is_none() => {
                mismatch("equivalent of something else than a global")
            }
            _ => Ok(()),
        }
    }
}

/// Whose block addresses a constant holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Labels {
    #[default]
    None,
    /// This function's.
    Of(FunctionId),
    /// Several functions', of which this is the first.
    Mixed(FunctionId),
}

impl Labels {
    pub(crate) fn first(self) -> Option<FunctionId> {
        match self {
            Labels::None => None,
            Labels::Of(function) | Labels::Mixed(function) => Some(function),
        }
    }

    fn with(self, other: Labels) -> Labels {
        match (self, other) {
            (labels, Labels::None) | (Labels::None, labels) => labels,
            (Labels::Of(a), Labels::Of(b)) if a == b => self,
            (Labels::Of(a) | Labels::Mixed(a), Labels::Of(b) | Labels::Mixed(b)) => Labels::Mixed(a.min(b)),
        }
    }
}
