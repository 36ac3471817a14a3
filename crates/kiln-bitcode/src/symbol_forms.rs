//! Records of functions and globals by their form: tens of thousands of them differ in a few fields only, and what the
//! others mean is the same for all.

use crate::ahead::{Ahead, Stretch};
use crate::bitstream::UNABBREV_RECORD;
use crate::cursor::SYMBOL_FIELDS;
use crate::global::{Function, Global};

/// Code and number of fields of the record of a function as LLVM 22 writes it, in chunks of 6 bits.
const FUNCTION: u64 = 8 | (SYMBOL_FIELDS as u64) << 6;
/// The same of a global.
const GLOBAL: u64 = 7 | 20 << 6;

/// Programs have a few dozen forms; looking through more would take longer than reading a record.
const FORMS_MAX: usize = 32;
/// Wider ids of abbreviations would leave no room for the fields behind them.
const ID_BITS_MAX: u32 = 8;

/// The fields of a symbol's record that tell it from others of its form.
#[derive(Default)]
pub(crate) struct OwnFields {
    /// Place and size of the name.
    pub(crate) name: [u64; 2],
    pub(crate) value_type: u64,
    pub(crate) comdat: u64,
    /// A function's.
    pub(crate) attributes: u64,
    /// The initial value of a global, the personality of a function.
    pub(crate) operand: u64,
}

/// All other fields, as they are written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Form(u64, u64);

impl Form {
    /// The form of a global with these fields, if it has one: no partition, and short numbers.
    fn of_global(fields: &[u64; SYMBOL_FIELDS]) -> Option<Self> {
        let flags = chunks(&fields[3..4])?;
        // From the linkage to the storage class.
        let middle = chunks(&fields[5..13])?;
        // Attributes and preemption specifier.
        let attributes = chunks(&fields[14..16])?;
        // From the size of the partition on.
        let end = chunks(&fields[17..20])?;
        (fields[17] == 0).then_some(Form(GLOBAL | flags << 12 | attributes << 18 | end << 30, middle))
    }

    /// The form of a function with these fields, if it has one.
    fn of_function(fields: &[u64; SYMBOL_FIELDS]) -> Option<Self> {
        // From the calling convention to the linkage.
        let start = chunks(&fields[3..6])?;
        // From the alignment to the storage class.
        let middle = chunks(&fields[7..14])?;
        let prefix = chunks(&fields[15..16])?;
        // Preemption specifier and address space.
        let end = chunks(&fields[17..19])?;
        (fields[20] == 0).then_some(Form(FUNCTION | start << 12 | prefix << 30 | end << 36, middle))
    }
}

/// These numbers as one chunk of 6 bits each, the first one lowest.
fn chunks(numbers: &[u64]) -> Option<u64> {
    numbers.iter().rev().try_fold(0, |word, number| (*number < 32).then_some(word << 6 | number))
}

/// A symbol that others are like.
pub(crate) enum Like {
    Global(Global),
    Function { function: Function, has_body: bool },
}

/// The forms that records of a module have had so far.
#[derive(Default)]
pub(crate) struct SymbolForms {
    known: Vec<(Form, Like)>,
    /// The one that was found last: the next record probably has it too.
    last: usize,
}

impl SymbolForms {
    /// Remembers `global`, which a record with these fields has become.
    pub(crate) fn add_global(&mut self, fields: &[u64; SYMBOL_FIELDS], global: &Global) {
        if let Some(form) = Form::of_global(fields) {
            self.add(form, || Like::Global(global.clone()));
        }
    }

    /// Remembers `function`, which a record with these fields has become.
    pub(crate) fn add_function(&mut self, fields: &[u64; SYMBOL_FIELDS], function: &Function) {
        if let Some(form) = Form::of_function(fields) {
            self.add(form, || Like::Function { function: function.clone(), has_body: fields[4] == 0 });
        }
    }

    fn add(&mut self, form: Form, like: impl FnOnce() -> Like) {
        if self.known.len() < FORMS_MAX {
            self.last = self.known.len();
            self.known.push((form, like()));
        }
    }

    #[inline(always)]
    fn find(&mut self, form: Form) -> Option<&Like> {
        if !self.known.get(self.last).is_some_and(|(known, _)| *known == form) {
            self.last = self.known.iter().position(|(known, _)| *known == form)?;
        }
        self.known.get(self.last).map(|(_, like)| like)
    }

    /// The symbol of the record that comes next, if its form is known, and the place behind it. `width` is that of
    /// abbreviations' ids.
    #[inline(always)]
    pub(crate) fn next(&mut self, from: Stretch<'_>, width: u32) -> Option<(&Like, OwnFields, u64)> {
        if width > ID_BITS_MAX {
            return None;
        }
        let mut from = Ahead::new(from);
        from.load();
        let id = from.fixed(width);
        let head = from.fixed(12);
        if id != u64::from(UNABBREV_RECORD) {
            return None;
        }
        let (mut own, form);
        match head {
            GLOBAL => {
                own = OwnFields { name: [from.number(), 0], ..OwnFields::default() };
                from.more();
                own.name[1] = from.number();
                own.value_type = from.number();
                from.more();
                let flags = from.fixed(6);
                own.operand = from.number();
                from.more();
                let middle = from.fixed(48);
                from.more();
                own.comdat = from.number();
                let attributes = from.fixed(12);
                from.more();
                // Where the name of a partition would be.
                from.skip();
                let end = from.fixed(18);
                form = Form(head | flags << 12 | attributes << 18 | end << 30, middle);
            }
            FUNCTION => {
                own = OwnFields { name: [from.number(), 0], ..OwnFields::default() };
                from.more();
                own.name[1] = from.number();
                own.value_type = from.number();
                from.more();
                let start = from.fixed(18);
                own.attributes = from.number();
                from.more();
                let middle = from.fixed(42);
                from.more();
                own.comdat = from.number();
                let prefix = from.fixed(6);
                own.operand = from.number();
                from.more();
                let end = from.fixed(12);
                // Where the name of a partition would be.
                from.skip();
                let partition = from.fixed(6);
                form = Form(head | start << 12 | prefix << 30 | end << 36 | partition << 48, middle);
            }
            _ => return None,
        }
        if !from.finish() {
            return None;
        }
        let place = from.rest().place;
        Some((self.find(form)?, own, place))
    }
}
