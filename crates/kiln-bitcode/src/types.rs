use std::collections::HashMap;

use crate::bitstream::{Block, Budget, Entry, Record};
use crate::error::{Error, ErrorKind};
use crate::layout::TypeLayout;

/// Index of a type in its module's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// A type of LLVM IR. See the language reference, "Type System".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Type {
    /// `void`
    Void,
    /// `half`
    Half,
    /// `bfloat`
    BFloat,
    /// `float`
    Float,
    /// `double`
    Double,
    /// `x86_fp80`
    X86Fp80,
    /// `fp128`
    Fp128,
    /// `ppc_fp128`
    PpcFp128,
    /// `label`
    Label,
    /// `metadata`
    Metadata,
    /// `token`
    Token,
    /// `x86_amx`
    X86Amx,
    /// `iN`
    Integer(u32),
    /// `ptr addrspace(N)`
    Pointer {
        /// Address space.
        address_space: u32,
    },
    /// `[count x element]`
    Array {
        /// Number of elements.
        count: u64,
        /// Type of an element.
        element: TypeId,
    },
    /// `<count x element>` or `<vscale x count x element>`
    Vector {
        /// Number of elements, times `vscale` where scalable.
        count: u32,
        /// Type of an element.
        element: TypeId,
        /// Whether the number is multiplied by the machine's `vscale`.
        scalable: bool,
    },
    /// A structure, identified by name or literal.
    Struct {
        /// Name of an identified structure.
        name: Option<Box<[u8]>>,
        /// Whether fields follow each other without padding.
        packed: bool,
        /// Types of the fields.
        fields: Box<[TypeId]>,
    },
    /// An identified structure without a body.
    Opaque {
        /// Its name.
        name: Box<[u8]>,
    },
    /// A function type.
    Function {
        /// What it returns.
        result: TypeId,
        /// What it takes.
        parameters: Box<[TypeId]>,
        /// Whether it takes more.
        variadic: bool,
    },
    /// `target("name", types…, integers…)`
    TargetExt {
        /// Name of the target's type.
        name: Box<[u8]>,
        /// Type parameters.
        types: Box<[TypeId]>,
        /// Integer parameters.
        integers: Box<[u32]>,
    },
}

impl Type {
    /// Whether values of the type are floating-point numbers.
    #[must_use]
    pub fn is_float(&self) -> bool {
        matches!(
            self,
            Type::Half | Type::BFloat | Type::Float | Type::Double | Type::X86Fp80 | Type::Fp128 | Type::PpcFp128
        )
    }
}

/// The types of a module, each naming only types before it: no value can have infinite size, and what is computed per
/// type can be computed in order.
#[derive(Debug, Default)]
pub(crate) struct TypeTable {
    types: Vec<Type>,
    /// How deep the tree below each type is, so that recursion over types is bounded.
    depths: Vec<u16>,
    pointers: HashMap<u32, TypeId>,
    /// The address space that was asked for last: nearly always the next one too.
    last_pointer: Option<(u32, TypeId)>,
}

/// Deepest nesting of types. C++ templates reach a few dozen.
const MAX_DEPTH: u16 = 512;
/// `IntegerType::MAX_INT_BITS`
const MAX_INTEGER_BITS: u64 = 1 << 23;
/// Address spaces are 24 bits wide.
const MAX_ADDRESS_SPACE: u64 = (1 << 24) - 1;

const NUMENTRY: u32 = 1;
const VOID: u32 = 2;
const FLOAT: u32 = 3;
const DOUBLE: u32 = 4;
const LABEL: u32 = 5;
const OPAQUE: u32 = 6;
const INTEGER: u32 = 7;
const HALF: u32 = 10;
const ARRAY: u32 = 11;
const VECTOR: u32 = 12;
const X86_FP80: u32 = 13;
const FP128: u32 = 14;
const PPC_FP128: u32 = 15;
const METADATA: u32 = 16;
const STRUCT_ANON: u32 = 18;
const STRUCT_NAME: u32 = 19;
const STRUCT_NAMED: u32 = 20;
const FUNCTION: u32 = 21;
const TOKEN: u32 = 22;
const BFLOAT: u32 = 23;
const X86_AMX: u32 = 24;
const OPAQUE_POINTER: u32 = 25;
const TARGET_TYPE: u32 = 26;

impl TypeTable {
    pub(crate) fn all(&self) -> &[Type] {
        &self.types
    }

    pub(crate) fn get(&self, id: u64, block: &Block<'_>) -> Result<TypeId, Error> {
        let count = self.types.len() as u64;
        if id < count {
            return Ok(TypeId(id as u32));
        }
        Err(block.error(ErrorKind::BadReference { what: "type", index: id, count }))
    }

    /// The pointer type of `address_space`, added if the table lacks it.
    #[inline(always)]
    pub(crate) fn pointer(&mut self, address_space: u32) -> TypeId {
        if let Some((space, id)) = self.last_pointer
            && space == address_space
        {
            return id;
        }
        let id = *self.pointers.entry(address_space).or_insert_with(|| {
            self.types.push(Type::Pointer { address_space });
            self.depths.push(0);
            TypeId(self.types.len() as u32 - 1)
        });
        self.last_pointer = Some((address_space, id));
        id
    }

    /// Reads a TYPE_BLOCK_NEW.
    pub(crate) fn read<'a>(block: &mut Block<'a>, record: &mut Record<'a>, budget: &mut Budget) -> Result<Self, Error> {
        let mut table = TypeTable::default();
        let mut announced = 0;
        let mut name = Vec::new();
        loop {
            match block.next(budget)? {
                Entry::End => break,
                Entry::SubBlock(_) => block.skip_block()?,
                Entry::Record(abbrev) => {
                    block.read_record(abbrev, record, budget)?;
                    match record.code {
                        NUMENTRY => announced = record.require(1, block)?[0],
                        STRUCT_NAME => name = record.text(block)?,
                        _ => {
                            let ty = table.read_type(record, &mut name, block)?;
                            block.charge(2 * size_of::<(Type, TypeLayout)>() as u64, budget)?;
                            table.push(ty, block)?;
                        }
                    }
                }
            }
        }
        if announced != table.types.len() as u64 {
            return Err(block.error(ErrorKind::BadValue { what: "announced number of types", value: announced }));
        }
        Ok(table)
    }

    fn push(&mut self, ty: Type, block: &Block<'_>) -> Result<(), Error> {
        let below = |ids: &[TypeId]| ids.iter().map(|t| self.depths[t.0 as usize] + 1).max().unwrap_or(0);
        let depth = match &ty {
            Type::Array { element, .. } | Type::Vector { element, .. } => below(&[*element]),
            Type::Struct { fields, .. } => below(fields),
            Type::Function { result, parameters, .. } => below(parameters).max(below(&[*result])),
            Type::TargetExt { types, .. } => below(types),
            _ => 0,
        };
        if depth > MAX_DEPTH {
            return Err(block.error(ErrorKind::Limit { what: "nesting of types", limit: u64::from(MAX_DEPTH) }));
        }
        if let Type::Pointer { address_space } = ty {
            self.pointers.entry(address_space).or_insert(TypeId(self.types.len() as u32));
        }
        self.types.push(ty);
        self.depths.push(depth);
        Ok(())
    }

    fn read_type(&self, record: &Record<'_>, name: &mut Vec<u8>, block: &Block<'_>) -> Result<Type, Error> {
        let mismatch = |what| block.error(ErrorKind::TypeMismatch { what });
        let bounded = |what, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(value as u32)
            } else {
                Err(block.error(ErrorKind::BadValue { what, value }))
            }
        };
        Ok(match record.code {
            VOID => Type::Void,
            FLOAT => Type::Float,
            DOUBLE => Type::Double,
            LABEL => Type::Label,
            HALF => Type::Half,
            X86_FP80 => Type::X86Fp80,
            FP128 => Type::Fp128,
            PPC_FP128 => Type::PpcFp128,
            METADATA => Type::Metadata,
            TOKEN => Type::Token,
            BFLOAT => Type::BFloat,
            X86_AMX => Type::X86Amx,
            OPAQUE => Type::Opaque { name: std::mem::take(name).into() },
            INTEGER => {
                Type::Integer(bounded("width of an integer", record.require(1, block)?[0], 1, MAX_INTEGER_BITS)?)
            }
            OPAQUE_POINTER => {
                let space = bounded("address space", record.require(1, block)?[0], 0, MAX_ADDRESS_SPACE)?;
                Type::Pointer { address_space: space }
            }
            ARRAY => {
                let fields = record.require(2, block)?;
                let element = self.get(fields[1], block)?;
                if !self.may_be_element(element) {
                    return Err(mismatch("array of a type without size"));
                }
                Type::Array { count: fields[0], element }
            }
            VECTOR => {
                let fields = record.require(2, block)?;
                let element = self.get(fields[1], block)?;
                let ty = &self.types[element.0 as usize];
                let valid =
                    ty.is_float() || matches!(ty, Type::Integer(_) | Type::Pointer { .. } | Type::TargetExt { .. });
                if !valid {
                    return Err(mismatch("vector of something else than numbers and pointers"));
                }
                Type::Vector {
                    count: bounded("length of a vector", fields[0], 1, u64::from(u32::MAX))?,
                    element,
                    scalable: fields.get(2).is_some_and(|s| *s != 0),
                }
            }
            STRUCT_ANON => self.read_struct(None, record, block)?,
            STRUCT_NAMED => self.read_struct(Some(std::mem::take(name).into()), record, block)?,
            FUNCTION => {
                let fields = record.require(2, block)?;
                let result = self.get(fields[1], block)?;
                let parameters = self.get_all(&fields[2..], block)?;
                // FunctionType::isValidReturnType, FunctionType::isValidArgumentType
                let returned =
                    !matches!(self.types[result.0 as usize], Type::Function { .. } | Type::Label | Type::Metadata);
                let taken = |ty: &TypeId| {
                    !matches!(self.types[ty.0 as usize], Type::Function { .. } | Type::Void | Type::Opaque { .. })
                };
                if !returned || !parameters.iter().all(taken) {
                    return Err(mismatch("function that takes or returns what has no values"));
                }
                Type::Function { variadic: fields[0] != 0, result, parameters }
            }
            TARGET_TYPE => {
                let fields = record.require(1, block)?;
                let count = u64::min(fields[0], fields.len() as u64) as usize;
                let Some((types, integers)) = fields[1..].split_at_checked(count) else {
                    return Err(
                        block.error(ErrorKind::BadValue { what: "number of type parameters", value: fields[0] })
                    );
                };
                Type::TargetExt {
                    name: std::mem::take(name).into(),
                    types: self.get_all(types, block)?,
                    integers: integers
                        .iter()
                        .map(|v| bounded("integer parameter of a type", *v, 0, u64::from(u32::MAX)))
                        .collect::<Result<_, _>>()?,
                }
            }
            code => return Err(block.error(ErrorKind::UnknownRecord { code })),
        })
    }

    fn read_struct(&self, name: Option<Box<[u8]>>, record: &Record<'_>, block: &Block<'_>) -> Result<Type, Error> {
        let values = record.require(1, block)?;
        let fields = self.get_all(&values[1..], block)?;
        if !fields.iter().all(|field| self.may_be_element(*field)) {
            return Err(block.error(ErrorKind::TypeMismatch { what: "field of a type without size" }));
        }
        Ok(Type::Struct { name, packed: values[0] != 0, fields })
    }

    fn get_all(&self, ids: &[u64], block: &Block<'_>) -> Result<Box<[TypeId]>, Error> {
        ids.iter().map(|id| self.get(*id, block)).collect()
    }

    /// `ArrayType::isValidElementType`, `StructType::isValidElementType`
    fn may_be_element(&self, id: TypeId) -> bool {
        !matches!(
            self.types[id.0 as usize],
            Type::Void | Type::Label | Type::Metadata | Type::Function { .. } | Type::Token | Type::X86Amx
        )
    }
}
