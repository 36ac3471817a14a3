//! What is known of each value of the function, in 8 bytes: values are looked up more often than anything else.

/// How a value is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not yet.
    Nowhere,
    /// Parts from this one on.
    Parts(u32),
    /// It is RBP plus this.
    Frame(i32),
    /// It is the address of this part, which has a register and no memory.
    Variable(u32),
    /// The instruction of this number is translated where its one user is.
    Deferred(u32),
}

/// A value: its [`Place`], how many operands that name it are still to be read, and whether it is live beyond its block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    /// Bit 31 says that it has parts, bit 30 that these are several; otherwise bits 29 and 30 are the kind. The number
    /// is in the bits below.
    place: u32,
    /// Twice the operands, and whether it crosses.
    uses: u32,
}

const PARTS: u32 = 1 << 31;
const SEVERAL: u32 = 1 << 30;
const KIND: u32 = 0b11 << 29;
const FRAME: u32 = 0b01 << 29;
const VARIABLE: u32 = 0b10 << 29;
const DEFERRED: u32 = 0b11 << 29;

/// Numbers of values, parts and instructions are less than this.
pub(crate) const COUNT_MAX: usize = 1 << 28;

impl Value {
    /// A value that is nowhere yet and does not cross.
    #[inline]
    pub(crate) fn new(uses: u32) -> Self {
        Self { place: 0, uses: uses << 1 }
    }

    /// It crosses: [`crate::analysis::Life::crosses`].
    #[inline]
    pub(crate) fn set_crosses(&mut self) {
        self.uses |= 1;
    }

    #[inline]
    pub(crate) fn place(self) -> Place {
        if let Some(part) = self.part() {
            return Place::Parts(part);
        }
        let number = self.place & !KIND;
        match self.place & KIND {
            // Signed, of 29 bits.
            FRAME => Place::Frame((self.place << 3) as i32 >> 3),
            VARIABLE => Place::Variable(number),
            DEFERRED => Place::Deferred(number),
            _ => Place::Nowhere,
        }
    }

    /// Its first part, if it has parts.
    #[inline]
    pub(crate) fn part(self) -> Option<u32> {
        (self.place & PARTS != 0).then_some(self.place & !(PARTS | SEVERAL))
    }

    /// Whether it has more parts than one, or none of a type without any.
    #[inline]
    pub(crate) fn has_several_parts(self) -> bool {
        self.place >= PARTS | SEVERAL
    }

    #[inline]
    pub(crate) fn is_nowhere(self) -> bool {
        self.place == 0
    }

    /// It has this one part.
    #[inline]
    pub(crate) fn set_part(&mut self, part: u32) {
        self.place = PARTS | part;
    }

    /// It has several parts from this one on.
    pub(crate) fn set_parts(&mut self, first: u32) {
        self.place = PARTS | SEVERAL | first;
    }

    /// Whether `disp` can be noted by [`Value::set_frame`]: frames are smaller.
    pub(crate) fn can_be_at(disp: i32) -> bool {
        disp << 3 >> 3 == disp
    }

    /// It is RBP plus `disp`.
    #[inline]
    pub(crate) fn set_frame(&mut self, disp: i32) {
        debug_assert!(Self::can_be_at(disp));
        self.place = FRAME | disp as u32 & !(KIND | PARTS);
    }

    pub(crate) fn set_variable(&mut self, part: u32) {
        self.place = VARIABLE | part;
    }

    #[inline]
    pub(crate) fn set_deferred(&mut self, instruction: u32) {
        self.place = DEFERRED | instruction;
    }

    /// Operands that are still to be read.
    #[inline]
    pub(crate) fn uses(self) -> u32 {
        self.uses >> 1
    }

    /// [`crate::analysis::Life::crosses`]
    #[inline]
    pub(crate) fn crosses(self) -> bool {
        self.uses & 1 != 0
    }

    /// Whether one operand is to be read, and nobody needs the value beyond its block.
    #[inline]
    pub(crate) fn is_last_here(self) -> bool {
        self.uses == 1 << 1
    }

    /// One operand more, or one less, is to be read.
    pub(crate) fn change_uses(&mut self, by: i32) {
        self.uses = self.uses.wrapping_add_signed(by << 1);
    }

    /// One operand has been read. Whether it was the last one.
    #[inline(always)]
    pub(crate) fn release(&mut self) -> bool {
        let (left, is_too_much) = self.uses.overflowing_sub(1 << 1);
        if is_too_much {
            return false;
        }
        self.uses = left;
        left <= 1
    }
}
