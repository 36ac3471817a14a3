//! Typed handles of compiled functions.

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;

use kiln_abi::ExecutorAddr;

/// What a Rust type is called in LLVM IR, where it may stand in a C signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `void`, as a result only.
    Void,
    /// An integer of so many bits (`bool` travels as `i1`, also as `i8`).
    Integer(u32),
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `ptr`.
    Pointer,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueKind::Void => f.write_str("void"),
            ValueKind::Integer(bits) => write!(f, "i{bits}"),
            ValueKind::Float => f.write_str("float"),
            ValueKind::Double => f.write_str("double"),
            ValueKind::Pointer => f.write_str("ptr"),
        }
    }
}

/// A type that C passes as one scalar.
pub trait Value {
    /// What it is in IR.
    const KIND: ValueKind;
}

macro_rules! values {
    ($($type:ty => $kind:expr),* $(,)?) => { $(impl Value for $type { const KIND: ValueKind = $kind; })* };
}

values! {
    () => ValueKind::Void,
    bool => ValueKind::Integer(1),
    i8 => ValueKind::Integer(8), u8 => ValueKind::Integer(8),
    i16 => ValueKind::Integer(16), u16 => ValueKind::Integer(16),
    i32 => ValueKind::Integer(32), u32 => ValueKind::Integer(32),
    i64 => ValueKind::Integer(64), u64 => ValueKind::Integer(64),
    isize => ValueKind::Integer(64), usize => ValueKind::Integer(64),
    f32 => ValueKind::Float, f64 => ValueKind::Double,
}

impl<T> Value for *const T {
    const KIND: ValueKind = ValueKind::Pointer;
}

impl<T> Value for *mut T {
    const KIND: ValueKind = ValueKind::Pointer;
}

/// A C function pointer type, such as `extern "C" fn(i32) -> i32`.
///
/// # Safety
///
/// Implementors must be function pointers of the C ABI with the parameters and result that the methods name.
pub unsafe trait Signature: Copy {
    /// The parameters in order.
    fn parameters() -> Vec<ValueKind>;
    /// The result.
    fn result() -> ValueKind;
    /// The pointer to the function at `address`.
    ///
    /// # Safety
    ///
    /// A function of this signature must be callable at `address`.
    unsafe fn from_address(address: *const c_void) -> Self;
}

macro_rules! signatures {
    ($($($parameter:ident)*;)*) => { $(
        // SAFETY: the type is a C function pointer with exactly these parameters and this result.
        unsafe impl<Result: Value, $($parameter: Value),*> Signature for unsafe extern "C" fn($($parameter),*) -> Result {
            fn parameters() -> Vec<ValueKind> { vec![$($parameter::KIND),*] }
            fn result() -> ValueKind { Result::KIND }
            unsafe fn from_address(address: *const c_void) -> Self {
                // SAFETY: function pointers and data pointers have one size here; the caller vouches for the function.
                unsafe { std::mem::transmute::<*const c_void, Self>(address) }
            }
        }
    )* };
}

signatures! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

/// A function of the session whose signature was compared with the IR.
///
/// It holds the function's stub, so it stays valid, and equal to every pointer that the program itself takes,
/// whatever body is current.
#[derive(Debug)]
pub struct Function<S> {
    address: ExecutorAddr,
    signature: PhantomData<S>,
}

impl<S> Clone for Function<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Function<S> {}

impl<S: Signature> Function<S> {
    pub(crate) fn new(address: ExecutorAddr) -> Self {
        Self { address, signature: PhantomData }
    }

    /// The function's address: its stub.
    #[must_use]
    pub fn address(&self) -> ExecutorAddr {
        self.address
    }

    /// The function as a pointer to call.
    #[must_use]
    pub fn pointer(&self) -> S {
        // SAFETY: the engine made this handle from a stub of its own, after it compared the signature with the IR's.
        // Calling the pointer is unsafe by its type: what the function does is the IR's business.
        unsafe { S::from_address(self.address.get() as *const c_void) }
    }
}
