//! Stack protectors: a word between a function's objects and its return address, looked at before the function returns.
//!
//! What the attributes ask for is what LLVM's StackProtector.cpp gives, or more: `sspreq` protects always, `sspstrong` where
//! an object of the frame is more than a variable that is loaded and stored, `ssp` where an object has an array in it or
//! its size is not known. The guard is the word at FS:0x28 (glibc and musl, x86-64). A module may ask for another place by
//! the flag `stack-protector-guard`; since a function sets and looks at its own word, it is as safe with this one.

use kiln_bitcode::{
    Attribute, AttributeKind, AttributeList, AttributePlace, BlockId, Instruction, Module, Opcode, Type, TypeId,
    ValueId,
};
use kiln_link::RelocationKind;

use super::encoder::{Alu, Cond, Encoder, Label, Mem};
use super::frame::Frame;
use super::generator::{Generator, Result};
use super::memory::object_size;
use super::registers::SCRATCH;
use crate::analysis::{Life, Object};
use crate::compiler::Unsupported;

/// `mov r11, fs:0x28`
const LOAD_GUARD: [u8; 9] = [0x64, 0x4c, 0x8b, 0x1c, 0x25, 0x28, 0, 0, 0];

/// Which frames get a guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protection {
    #[default]
    None,
    /// Those with arrays.
    Arrays,
    /// Those with objects whose address is used.
    Objects,
    All,
}

impl Protection {
    /// What a function's attributes ask for; the strongest counts, as in LLVM.
    pub(crate) fn of(attributes: AttributeList<'_>) -> Self {
        let wishes = attributes.at(AttributePlace::Function).iter().map(|attribute| match attribute {
            Attribute::Enum(AttributeKind::STACK_PROTECT) => Self::Arrays,
            Attribute::Enum(AttributeKind::STACK_PROTECT_STRONG) => Self::Objects,
            Attribute::Enum(AttributeKind::STACK_PROTECT_REQ) => Self::All,
            _ => Self::None,
        });
        wishes.max().unwrap_or_default()
    }
}

/// The guard of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Guard {
    protection: Protection,
    /// Where it would be, relative to RBP: above all objects.
    slot: i32,
    /// It is there.
    set: bool,
}

impl Guard {
    /// For a frame in which nothing was placed yet.
    pub(crate) fn new(protection: Protection, frame: &mut Frame) -> Self {
        match protection {
            Protection::None => Self::default(),
            _ => Self { protection, slot: frame.object(8, 8), set: protection == Protection::All },
        }
    }

    /// Whether the function may come to look at a guard when it returns.
    pub(crate) fn is_possible(self) -> bool {
        self.protection != Protection::None
    }

    /// Sets the guard; the prologue's last step.
    pub(crate) fn store(self, asm: &mut Encoder) {
        if self.set {
            asm.raw(&LOAD_GUARD);
            asm.store(&Mem::frame(self.slot), SCRATCH, 8);
        }
    }
}

impl Generator<'_> {
    /// Places what has arrays in it right below the guard, so that no other object lies between, as LLVM does.
    pub(crate) fn place_arrays(&mut self) -> Result<()> {
        if !self.guard.is_possible() {
            return Ok(());
        }
        let body = self.body;
        for at in body.block_instructions(BlockId(0)) {
            let instruction = body.instruction(at);
            if instruction.opcode != Opcode::Alloca || !has_array(self.module, TypeId(instruction.aux())) {
                continue;
            }
            let (layout, align) = self.object_layout(instruction)?;
            if let Some(count) = self.number(ValueId(body.operands(instruction)[0]))
                && align <= 16
            {
                let index = self.value_index(instruction.result()) as usize;
                let home = self.frame.object(object_size(&layout, count)?, align);
                self.values[index].set_frame(home);
                self.guard_object(instruction, true);
            }
        }
        Ok(())
    }

    /// Takes note of an object in the frame, `fixed` if its size is known.
    pub(crate) fn guard_object(&mut self, instruction: &Instruction, fixed: bool) {
        let needs = match self.guard.protection {
            Protection::None | Protection::All => return,
            _ if !fixed => true,
            Protection::Arrays => has_array(self.module, TypeId(instruction.aux())),
            Protection::Objects => {
                let object = self.flow.life(self.value_index(instruction.result())).map_or(Object::No, Life::object);
                object == Object::No
            }
        };
        self.guard.set |= needs;
    }

    /// Compares the guard with what was set, and goes to `fail` if it differs. Before a jump to a callee whose address is
    /// in a register there is no register left for that.
    pub(crate) fn check_guard(&mut self, fail: Label, free: bool) -> Result<()> {
        if !self.guard.set {
            return Ok(());
        }
        if !free {
            return Err(Box::new(Unsupported::Instruction("a musttail call of an address under a stack protector")));
        }
        self.asm.raw(&LOAD_GUARD);
        self.asm.alu_rm(Alu::Cmp, SCRATCH, &Mem::frame(self.guard.slot), 8);
        self.asm.jcc(Cond::NE, fail);
        Ok(())
    }

    /// What happens where the guard was written over; it does not return.
    pub(crate) fn fail_guard(&mut self, fail: Label) {
        if !self.guard.set {
            return;
        }
        self.asm.bind(fail);
        let target = self.library("__stack_chk_fail");
        self.asm.branch(0xe8, target, RelocationKind::PLT32);
        self.asm.ud2();
    }
}

/// Whether there is an array in objects of type `ty`.
fn has_array(module: &Module, ty: TypeId) -> bool {
    match module.ty(ty) {
        Type::Array { .. } => true,
        Type::Struct { fields, .. } => fields.iter().any(|field| has_array(module, *field)),
        _ => false,
    }
}
