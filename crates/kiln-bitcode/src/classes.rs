//! What instructions ask of types again and again, answered once per module.

use std::collections::BTreeMap;

use crate::types::{Type, TypeId};

/// What may be done with values of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Void,
    Integer,
    Float,
    Pointer,
    IntegerVector,
    FloatVector,
    PointerVector,
    Aggregate,
    Token,
    Metadata,
    Label,
    Function,
    /// A structure without a body.
    Opaque,
    /// `x86_amx`, types of targets, and vectors of these.
    Other,
}

impl Class {
    pub(crate) fn is_integer(self) -> bool {
        matches!(self, Class::Integer | Class::IntegerVector)
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Class::Float | Class::FloatVector)
    }

    pub(crate) fn is_pointer(self) -> bool {
        matches!(self, Class::Pointer | Class::PointerVector)
    }

    pub(crate) fn is_vector(self) -> bool {
        matches!(self, Class::IntegerVector | Class::FloatVector | Class::PointerVector)
    }

    /// Whether something that has a value of this type can be stored and loaded.
    #[inline]
    pub(crate) fn is_storable(self) -> bool {
        !matches!(self, Class::Void | Class::Token | Class::Metadata | Class::Label | Class::Function | Class::Opaque)
    }
}

/// What is known of one type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) class: Class,
    /// [`Class::is_storable`]
    pub(crate) storable: bool,
    /// Width of an integer or floating-point number, address space of a pointer; of an element where it is a vector.
    pub(crate) scalar: u32,
    /// Type of a comparison, if the module has it.
    pub(crate) compared: Option<TypeId>,
}

/// Of all types.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    facts: Vec<Facts>,
    vectors: BTreeMap<(u32, bool, TypeId), TypeId>,
    /// `{T, i1}` by `T`
    flagged: BTreeMap<TypeId, TypeId>,
    pointers: BTreeMap<u32, TypeId>,
    pub(crate) void: Option<TypeId>,
    pub(crate) bit: Option<TypeId>,
}

impl Classes {
    /// Classifies all of `types`.
    pub(crate) fn compute(types: &[Type]) -> Self {
        let mut classes = Classes::default();
        let ids = || (0..).map(TypeId).zip(types);
        for (id, ty) in ids() {
            match ty {
                Type::Void => _ = classes.void.get_or_insert(id),
                Type::Integer(1) => _ = classes.bit.get_or_insert(id),
                Type::Pointer { address_space } => _ = classes.pointers.entry(*address_space).or_insert(id),
                Type::Vector { count, element, scalable } => {
                    classes.vectors.entry((*count, *scalable, *element)).or_insert(id);
                }
                _ => {}
            }
        }
        for (id, ty) in ids() {
            if let Type::Struct { name: None, packed: false, fields } = ty
                && let [first, second] = **fields
                && Some(second) == classes.bit
            {
                classes.flagged.entry(first).or_insert(id);
            }
        }
        classes.facts = types.iter().map(|ty| classes.facts_of(ty, types)).collect();
        classes
    }

    fn facts_of(&self, ty: &Type, types: &[Type]) -> Facts {
        let (class, scalar) = scalar_class(ty);
        if let Type::Vector { count, element, scalable } = ty {
            let (class, scalar) = match scalar_class(&types[element.0 as usize]) {
                (Class::Integer, bits) => (Class::IntegerVector, bits),
                (Class::Float, bits) => (Class::FloatVector, bits),
                (Class::Pointer, space) => (Class::PointerVector, space),
                _ => (Class::Other, 0),
            };
            let compared = self.bit.and_then(|bit| self.vector(*count, *scalable, bit));
            return Facts { class, storable: class.is_storable(), scalar, compared };
        }
        Facts { class, storable: class.is_storable(), scalar, compared: self.bit }
    }

    #[inline]
    pub(crate) fn of(&self, ty: TypeId) -> Facts {
        self.facts[ty.0 as usize]
    }

    /// The same of the type with a number that may be any.
    #[inline(always)]
    pub(crate) fn get(&self, number: u64) -> Option<&Facts> {
        self.facts.get(number as usize)
    }

    /// The same of a type that is not known to be the module's.
    #[inline(always)]
    pub(crate) fn facts(&self, ty: TypeId) -> Option<&Facts> {
        self.facts.get(ty.0 as usize)
    }

    #[inline]
    pub(crate) fn class(&self, ty: TypeId) -> Class {
        self.of(ty).class
    }

    pub(crate) fn vector(&self, count: u32, scalable: bool, element: TypeId) -> Option<TypeId> {
        self.vectors.get(&(count, scalable, element)).copied()
    }

    /// `{ty, i1}`
    pub(crate) fn flagged(&self, ty: TypeId) -> Option<TypeId> {
        self.flagged.get(&ty).copied()
    }

    pub(crate) fn pointer(&self, address_space: u32) -> Option<TypeId> {
        self.pointers.get(&address_space).copied()
    }
}

/// The class of a type that is no vector.
fn scalar_class(ty: &Type) -> (Class, u32) {
    match ty {
        Type::Void => (Class::Void, 0),
        Type::Half | Type::BFloat => (Class::Float, 16),
        Type::Float => (Class::Float, 32),
        Type::Double => (Class::Float, 64),
        Type::X86Fp80 => (Class::Float, 80),
        Type::Fp128 | Type::PpcFp128 => (Class::Float, 128),
        Type::Label => (Class::Label, 0),
        Type::Metadata => (Class::Metadata, 0),
        Type::Token => (Class::Token, 0),
        Type::Integer(bits) => (Class::Integer, *bits),
        Type::Pointer { address_space } => (Class::Pointer, *address_space),
        Type::Array { .. } | Type::Struct { .. } => (Class::Aggregate, 0),
        Type::Opaque { .. } => (Class::Opaque, 0),
        Type::Function { .. } => (Class::Function, 0),
        Type::X86Amx | Type::Vector { .. } | Type::TargetExt { .. } => (Class::Other, 0),
    }
}
