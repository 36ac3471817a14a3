use std::path::PathBuf;

/// Why something could not be loaded, looked up or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is nothing that Kiln knows.
    #[error("{}: neither bitcode, LLVM IR, an ELF object, an archive, a shared library nor a known source file", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A compiler for a source file is missing or refused it.
    #[error("{}: {message}", path.display())]
    Compiler {
        /// The source file.
        path: PathBuf,
        /// The compiler's messages, or what to install.
        message: String,
    },
    /// A `-l` library is in none of the folders.
    #[error("cannot find -l{name} in: {}", folders.join(", "))]
    LibraryNotFound {
        /// The name after `-l`.
        name: String,
        /// Where it was looked for.
        folders: Vec<String>,
    },
    /// The static C library.
    #[error(
        "{}: this process has a C library already, and a second one would have its own heap, locks and streams; leave it out, \
         or link the program with -lc",
        path.display()
    )]
    StaticLibc {
        /// The archive.
        path: PathBuf,
    },
    /// The system's loader refused a shared library.
    #[error("cannot load the shared library {name}: {message}")]
    Library {
        /// The library.
        name: String,
        /// What the loader said.
        message: String,
    },
    /// Our reader refused a bitcode file.
    #[error("{name}: {source}")]
    Bitcode {
        /// The file.
        name: String,
        /// Where and why.
        source: kiln_bitcode::Error,
    },
    /// A bitcode file comes from a newer LLVM.
    #[error(
        "{name}: written by {producer}, which is newer than the LLVM 22 that Kiln is built with; compile it with clang-22"
    )]
    NewerProducer {
        /// The file.
        name: String,
        /// What wrote it.
        producer: String,
    },
    /// A module's globals could not be laid out.
    #[error("{name}: {source}")]
    Data {
        /// The module.
        name: String,
        /// Which global and why.
        source: kiln_baseline::Error,
    },
    /// A variable's initial value needs label addresses of a function that cannot be compiled.
    #[error("{module}: a variable holds label addresses of {function}, which cannot be compiled: {reason}")]
    Labels {
        /// The function.
        function: String,
        /// The module.
        module: String,
        /// Why.
        reason: String,
    },
    /// The optimizer could not rewrite an input.
    #[error("{name}: {message}")]
    Normalize {
        /// The file.
        name: String,
        /// Why.
        message: String,
    },
    /// A module cannot become an object.
    #[error("{name}: {message}")]
    Object {
        /// The file.
        name: String,
        /// Why.
        message: String,
    },
    /// The inputs do not link.
    #[error("{0}")]
    Link(String),
    /// No room for code or data.
    #[error("no memory for code and data: {0}")]
    Memory(#[from] kiln_codecache::Error),
    /// No room for stubs.
    #[error("no memory for stubs: {0}")]
    Stubs(kiln_dispatch::Error),
    /// A name has no definition.
    #[error("no function is called {name:?}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// A function that lives was given another type.
    #[error("{name} was {old} and is {new} now; callers that run expect the old type, so bind a new name or restart")]
    SignatureChanged {
        /// The function.
        name: String,
        /// Its type.
        old: String,
        /// The type it was to have.
        new: String,
    },
    /// A variable that lives was given another type.
    #[error("the variable {name} was {old} and is {new} now; its value cannot be kept, so restart")]
    GlobalChanged {
        /// The variable.
        name: String,
        /// Its type and size.
        old: String,
        /// The type and size it was to have.
        new: String,
    },
    /// A function that keeps addresses of its labels was to get other code.
    #[error("{name} keeps addresses of its labels in data, and new code has its labels elsewhere; restart")]
    LabelsEscape {
        /// The function.
        name: String,
    },
    /// A replacement could not be compiled.
    #[error("{0}")]
    Replace(String),
    /// A function has no such version, or not any more.
    #[error("version {number} of {name:?} is not remembered")]
    NoVersion {
        /// The function.
        name: String,
        /// The version's number.
        number: u32,
    },
    /// A function has another signature than the caller says.
    #[error("{name} is {found}, not {wanted}")]
    Signature {
        /// The function.
        name: String,
        /// What the caller asked for, in IR types.
        wanted: String,
        /// What the IR says; `…` for types that no Rust scalar stands for.
        found: String,
    },
}

impl From<crate::place::PlaceError> for Error {
    fn from(error: crate::place::PlaceError) -> Self {
        match error {
            crate::place::PlaceError::Link(errors) => Error::Link(errors.to_string()),
            crate::place::PlaceError::Memory(error) => Error::Memory(error),
        }
    }
}

impl From<kiln_dispatch::InstallError> for Error {
    fn from(error: kiln_dispatch::InstallError) -> Self {
        match error {
            kiln_dispatch::InstallError::Memory(error) => Error::Memory(error),
            error => Error::Link(error.to_string()),
        }
    }
}
