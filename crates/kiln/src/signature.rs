//! Comparing a Rust function pointer type with a function's type in the IR.

use kiln_abi::FunctionId;
use kiln_bitcode::{Module, Type, TypeId};

use crate::error::Error;
use crate::function::{Signature, ValueKind};

/// Checks that `function`, called `name`, has the signature `S`.
pub(crate) fn check<S: Signature>(name: &str, module: &Module, function: FunctionId) -> Result<(), Error> {
    let record = &module.functions()[function.0 as usize];
    let wanted = (S::result(), S::parameters());
    let found = match module.ty(record.symbol.value_type) {
        Type::Function { result, parameters, variadic: false, .. } => {
            let parameters: Vec<_> = parameters.iter().map(|ty| kind(module, *ty)).collect();
            (kind(module, *result), parameters)
        }
        _ => (None, Vec::new()),
    };
    let fits = |wanted: ValueKind, found: Option<ValueKind>| match (wanted, found) {
        // `bool` is i1 with an extension attribute in most front ends' IR and i8 in some.
        (ValueKind::Integer(1), Some(ValueKind::Integer(bits))) => bits == 1 || bits == 8,
        (wanted, found) => Some(wanted) == found,
    };
    let equal = fits(wanted.0, found.0)
        && wanted.1.len() == found.1.len()
        && wanted.1.iter().zip(&found.1).all(|(wanted, found)| fits(*wanted, *found));
    if equal {
        return Ok(());
    }
    let wanted_parameters: Vec<_> = wanted.1.into_iter().map(Some).collect();
    Err(Error::Signature {
        name: name.to_owned(),
        wanted: text(Some(wanted.0), &wanted_parameters),
        found: text(found.0, &found.1),
    })
}

fn kind(module: &Module, ty: TypeId) -> Option<ValueKind> {
    match module.ty(ty) {
        Type::Void => Some(ValueKind::Void),
        Type::Integer(bits) => Some(ValueKind::Integer(*bits)),
        Type::Float => Some(ValueKind::Float),
        Type::Double => Some(ValueKind::Double),
        Type::Pointer { .. } => Some(ValueKind::Pointer),
        _ => None,
    }
}

fn text(result: Option<ValueKind>, parameters: &[Option<ValueKind>]) -> String {
    let one = |kind: &Option<ValueKind>| kind.map_or_else(|| "…".to_owned(), |kind| kind.to_string());
    format!("{} ({})", one(&result), parameters.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A type as textual IR writes it.
pub(crate) fn describe(module: &Module, ty: TypeId) -> String {
    let list = |types: &[TypeId]| types.iter().map(|ty| describe(module, *ty)).collect::<Vec<_>>().join(", ");
    match module.ty(ty) {
        Type::Void => "void".to_owned(),
        Type::Integer(bits) => format!("i{bits}"),
        Type::Float => "float".to_owned(),
        Type::Double => "double".to_owned(),
        Type::Pointer { .. } => "ptr".to_owned(),
        Type::Array { count, element } => format!("[{count} x {}]", describe(module, *element)),
        Type::Vector { count, element, .. } => format!("<{count} x {}>", describe(module, *element)),
        Type::Struct { packed: true, fields, .. } => format!("<{{ {} }}>", list(fields)),
        Type::Struct { fields, .. } => format!("{{ {} }}", list(fields)),
        Type::Function { result, parameters, variadic, .. } => {
            let dots = match (*variadic, parameters.is_empty()) {
                (true, true) => "...",
                (true, false) => ", ...",
                (false, _) => "",
            };
            format!("{} ({}{dots})", describe(module, *result), list(parameters))
        }
        other => format!("{other:?}").to_lowercase(),
    }
}
