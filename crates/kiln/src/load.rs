//! Loading: from files to a linked program whose functions are stubs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_abi::{ExecutorAddr, FunctionId, GlobalId, Permission, Segment};
use kiln_baseline::data::{self, Images, ModuleData, TablePointer};
use kiln_bitcode::{AliasId, Linkage, ThreadLocal};
use kiln_codecache::{Place, Records, Reservation};
use kiln_dispatch::{Body, FunctionIndex, Mode, Unit};
use kiln_link::{External, IfuncSlot, InputId, Link, Linked, Scope, SymbolId, TlsPlacement};

use crate::bindings::Bindings;
use crate::engine::Inner;
use crate::error::Error;
use crate::input::{self, Input, Kind};
use crate::labels;
use crate::module::{Bytes, LoadedModule};
use crate::place::{self, Observed};
use crate::process::exports::{self, Exports};
use crate::process::signals::Blocked;
use crate::process::{files, interpose, libraries::Libraries};
use crate::session::external;
use crate::versions;

/// An input whose bytes are here. They stay for the process's life: bodies are read when they are first called.
pub(crate) enum Opened {
    Bitcode { name: String, bytes: &'static [u8], modules: Vec<kiln_bitcode::Module> },
    Object { name: String, bytes: &'static [u8] },
    Archive { name: String, bytes: &'static [u8], whole: bool },
    SharedLibrary { path: PathBuf },
}

/// Libraries of a C++ program, loaded when a name asks for them and nobody else has it.
const CXX_RUNTIME: &str = "libstdc++.so.6";
const MATH_LIBRARY: &str = "libm.so.6";

/// What every session has before anything is loaded.
pub(crate) fn prepare(inner: &Inner) -> Result<(), Error> {
    let cell = Segment { permission: Permission::ReadWrite, size: 8, align: 8 };
    let reservation = inner.cache.reserve(&[(cell, Place::Anywhere)])?;
    let address = reservation.segment(0);
    reservation.publish(Records::new())?.leak();
    let mut session = inner.session();
    session.set_dso_handle(address);
    session.refresh_libraries();
    for (name, value) in &inner.options.absolute_symbols {
        session.define(name.as_bytes(), External::Data(ExecutorAddr::new(*value)));
    }
    Ok(())
}

/// Loads `inputs` together.
///
/// 1. Files are read, source and foreign bitcode become current bitcode, module tables are parsed.
/// 2. Every function gets a stub. From here on addresses of functions are known.
/// 3. Shared libraries are opened.
/// 4. Globals become graphs, and graphs, objects and archives are resolved, placed and published together. From here on
///    every address is known and data has its initial values.
/// 5. The session learns the new names and modules. From here on stubs can be called.
/// 6. Functions are compiled whose label addresses initial values hold; resolvers of ifuncs run; libraries learn the program's symbols; constructors run or wait for `main`.
pub(crate) fn load(inner: &'static Inner, inputs: &[Input]) -> Result<(), Error> {
    let mut opened = open_all(inner, inputs)?;
    let modules = timed(inner, |phases| &mut phases.parse, || admit_all(inner, &mut opened))?;
    timed(inner, |phases| &mut phases.libraries, || open_libraries(inner, &opened))?;
    let linked = link_all(inner, &opened, &modules)?;
    finish(inner, &modules, &linked)
}

/// Runs `work` and adds its time to one of the phases.
fn timed<T>(inner: &Inner, phase: fn(&mut crate::statistics::Phases) -> &mut Duration, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = work();
    *phase(&mut inner.phases()) += begin.elapsed();
    result
}

// ---- 1. files ----------------------------------------------------------------------------------------------------

pub(crate) fn open_all(inner: &Inner, inputs: &[Input]) -> Result<Vec<Opened>, Error> {
    let mut opened = Vec::new();
    let mut whole = false;
    for input in inputs {
        match input {
            Input::WholeArchive(on) => whole = *on,
            Input::Bytes { name, bytes } => {
                open_bytes(inner, Path::new(name), bytes.clone().leak(), whole, &mut opened)?
            }
            Input::File(path) => open_file(inner, path, whole, &mut opened)?,
            Input::Library(name) => {
                let folders = &inner.options.library_paths;
                let path = input::find_library(name, folders).ok_or_else(|| Error::LibraryNotFound {
                    name: name.clone(),
                    folders: folders.iter().chain(&input::system_folders()).map(|f| f.display().to_string()).collect(),
                })?;
                open_file(inner, &path, whole, &mut opened)?;
            }
        }
    }
    Ok(opened)
}

fn open_file(inner: &Inner, path: &Path, whole: bool, opened: &mut Vec<Opened>) -> Result<(), Error> {
    let bytes = timed(
        inner,
        |phases| &mut phases.read,
        || {
            // Bodies are read when they are first called, however late: from memory that no other process can change.
            match input::is_bitcode(&files::head(path)?) {
                true => files::keep(path),
                false => files::map(path),
            }
        },
    );
    open_bytes(inner, path, bytes.map_err(|source| Error::Read { path: path.to_owned(), source })?, whole, opened)
}

fn open_bytes(
    inner: &Inner,
    path: &Path,
    bytes: &'static [u8],
    whole: bool,
    opened: &mut Vec<Opened>,
) -> Result<(), Error> {
    let name = path.display().to_string();
    let kind = input::kind(path, bytes).ok_or_else(|| Error::UnknownKind { path: path.to_owned() })?;
    let early = inner.options.wants_optimizer_early();
    if kind == Kind::TextualIr || early && matches!(kind, Kind::Bitcode | Kind::Source(_)) {
        // It gets ready while the rest is read.
        inner.compiler.start();
    }
    match kind {
        Kind::Bitcode => open_bitcode(inner, name, bytes, opened),
        Kind::TextualIr => normalize(inner, name, bytes, opened),
        Kind::Source(language) => {
            let compiled = input::compile_source(path, language)?;
            open_bitcode(inner, name, compiled.leak(), opened)
        }
        Kind::Object => {
            opened.push(Opened::Object { name, bytes });
            Ok(())
        }
        Kind::Archive if path.file_name().is_some_and(|name| name == "libc.a") => {
            Err(Error::StaticLibc { path: path.to_owned() })
        }
        Kind::Archive => {
            opened.push(Opened::Archive { name, bytes, whole });
            Ok(())
        }
        Kind::SharedLibrary => {
            opened.push(Opened::SharedLibrary { path: path.to_owned() });
            Ok(())
        }
        Kind::LinkerScript => {
            for file in input::script_files(path, bytes, &inner.options.library_paths)? {
                open_file(inner, &file, whole, opened)?;
            }
            Ok(())
        }
    }
}

/// Bitcode that our reader takes as it is, or else what the optimizer makes of it.
fn open_bitcode(inner: &Inner, name: String, bytes: &'static [u8], opened: &mut Vec<Opened>) -> Result<(), Error> {
    match kiln_bitcode::identify(bytes) {
        kiln_bitcode::Input::Bitcode { newer: true, producer, .. } => {
            return Err(Error::NewerProducer { name, producer });
        }
        kiln_bitcode::Input::Bitcode { current: false, .. } => return normalize(inner, name, bytes, opened),
        _ => {}
    }
    // Assembly needs LLVM's assembler; a module without a target has another data layout than the code it becomes.
    let modules = parse(inner, &name, bytes)?;
    if modules.iter().any(|module| !module.module_asm().is_empty() || module.triple().is_empty()) {
        return normalize(inner, name, bytes, opened);
    }
    opened.push(Opened::Bitcode { name, bytes, modules });
    Ok(())
}

fn parse(inner: &Inner, name: &str, bytes: &'static [u8]) -> Result<Vec<kiln_bitcode::Module>, Error> {
    let modules = timed(inner, |phases| &mut phases.parse, || kiln_bitcode::parse_static(bytes));
    modules.map_err(|source| Error::Bitcode { name: name.to_owned(), source })
}

fn normalize(inner: &Inner, name: String, bytes: &'static [u8], opened: &mut Vec<Opened>) -> Result<(), Error> {
    let failed = |message: String| Error::Normalize { name: name.clone(), message };
    let _blocked = Blocked::all();
    let normalized =
        inner.compiler.normalize(&name, Bytes::Static(bytes), inner).map_err(|failure| failed(failure.to_string()))?;
    let bitcode = normalized.bitcode.into_bytes().map_err(|error| failed(error.to_string()))?;
    if let Some(assembly) = normalized.assembly {
        let object = assembly.into_bytes().map_err(|error| failed(error.to_string()))?;
        opened.push(Opened::Object { name: format!("{name} (module-level assembly)"), bytes: object.leak() });
    }
    let bytes = bitcode.leak();
    let modules = parse(inner, &name, bytes)?;
    opened.push(Opened::Bitcode { name, bytes, modules });
    Ok(())
}

/// Another generation of a source, for as long as somebody refers to it.
pub(crate) fn open_generation(inner: &Inner, input: &Input) -> Result<(Bytes, kiln_bitcode::Module), Error> {
    let not_one =
        || Error::Replace("functions are redefined by one bitcode module, IR file or source file at a time".to_owned());
    let (path, bytes) = match input {
        // Not mapped: the next one may be written while this is read.
        Input::File(path) => {
            let read = timed(inner, |phases| &mut phases.read, || std::fs::read(path));
            (path.as_path(), read.map_err(|source| Error::Read { path: path.clone(), source })?)
        }
        Input::Bytes { name, bytes } => (Path::new(name), bytes.clone()),
        _ => return Err(not_one()),
    };
    let name = path.display().to_string();
    let parse = |bytes: &[u8]| {
        let modules = timed(inner, |phases| &mut phases.parse, || kiln_bitcode::parse(bytes));
        modules.map_err(|source| Error::Bitcode { name: name.clone(), source })
    };
    let bytes = match input::kind(path, &bytes).ok_or_else(|| Error::UnknownKind { path: path.to_owned() })? {
        Kind::Bitcode | Kind::TextualIr => bytes,
        Kind::Source(language) => input::compile_source(path, language)?,
        _ => return Err(not_one()),
    };
    let is_ours = match kiln_bitcode::identify(&bytes) {
        kiln_bitcode::Input::Bitcode { newer: true, producer, .. } => {
            return Err(Error::NewerProducer { name, producer });
        }
        kiln_bitcode::Input::Bitcode { current, .. } => current,
        _ => false,
    };
    let mut modules = if is_ours { parse(&bytes)? } else { Vec::new() };
    let is_whole = |module: &kiln_bitcode::Module| module.module_asm().is_empty() && !module.triple().is_empty();
    let mut bytes: Arc<[u8]> = bytes.into();
    if !is_ours || !modules.iter().all(is_whole) {
        let failed = |message: String| Error::Normalize { name: name.clone(), message };
        let _blocked = Blocked::all();
        let normalized = inner.compiler.normalize(&name, Bytes::Shared(bytes), inner);
        let normalized = normalized.map_err(|failure| failed(failure.to_string()))?;
        if normalized.assembly.is_some() {
            return Err(not_one());
        }
        bytes = normalized.bitcode.into_bytes().map_err(|error| failed(error.to_string()))?.into();
        modules = parse(&bytes)?;
    }
    match (modules.pop(), modules.is_empty()) {
        (Some(module), true) => Ok((Bytes::Shared(bytes), module)),
        _ => Err(not_one()),
    }
}

// ---- 2. modules ----------------------------------------------------------------------------------------------------

/// Gives every module's functions stubs. An optimizer that runs already opens the module meanwhile.
fn admit_all(inner: &'static Inner, opened: &mut [Opened]) -> Result<Vec<Arc<LoadedModule>>, Error> {
    let mut parsed = Vec::new();
    for input in opened {
        let Opened::Bitcode { name, bytes, modules } = input else { continue };
        for bitcode in modules.drain(..) {
            let bytes = Bytes::Static(bytes);
            let id = inner.compiler.add_module(bytes.clone());
            let module =
                LoadedModule::new(name.clone(), bytes, bitcode, id, |_| None, |count| inner.table().allocate(count));
            parsed.push(Arc::new(module.map_err(Error::Stubs)?));
        }
    }
    Ok(parsed)
}

// ---- 3. libraries --------------------------------------------------------------------------------------------------

fn open_libraries(inner: &Inner, opened: &[Opened]) -> Result<(), Error> {
    let mut any = false;
    for input in opened {
        let Opened::SharedLibrary { path } = input else { continue };
        // A path without a slash would be searched for instead of opened.
        let path = if path.components().count() == 1 { Path::new(".").join(path) } else { path.clone() };
        let name = path.display().to_string();
        exports::open_library(&name).map_err(|message| Error::Library { name, message })?;
        any = true;
    }
    if any {
        inner.session().refresh_libraries();
    }
    Ok(())
}

/// The names of one shared library, at its place in the list of inputs.
struct LibraryScope {
    libraries: Libraries,
    path: String,
}

impl Scope for LibraryScope {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        self.libraries.lookup_in(&self.path, name).map(external)
    }
}

/// The session's names at load: what is missing may make a language's runtime library appear.
pub(crate) struct LoadScope<'e> {
    inner: &'e Inner,
    wants_exports: bool,
    tried: Vec<&'static str>,
    /// Functions of objects that were given stubs.
    stubs: Vec<(Vec<u8>, FunctionIndex)>,
}

impl<'e> LoadScope<'e> {
    pub(crate) fn new(inner: &'e Inner) -> Self {
        LoadScope { inner, wants_exports: false, tried: Vec::new(), stubs: Vec::new() }
    }

    fn library_for(name: &[u8]) -> &'static str {
        let is_cxx = [&b"_ZS"[..], b"_ZN", b"_ZT", b"_Zn", b"_Zd", b"_ZK", b"__cxa", b"__gxx", b"__dynamic_cast"];
        if is_cxx.iter().any(|prefix| name.starts_with(prefix)) { CXX_RUNTIME } else { MATH_LIBRARY }
    }
}

impl Scope for LoadScope<'_> {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        if matches!(name, b"makecontext" | b"swapcontext" | b"setcontext") {
            // From here on there may be stacks that no scan of threads finds.
            kiln_dispatch::scan::note_coroutines();
        }
        self.wants_exports |= matches!(name, b"dlopen" | b"dlsym" | b"dlmopen" | b"dladdr" | b"dlvsym");
        if let Some(found) = self.inner.session().find(name) {
            return Some(found);
        }
        let library = Self::library_for(name);
        if self.tried.contains(&library) {
            return None;
        }
        self.tried.push(library);
        exports::open_library(library).ok()?;
        let mut session = self.inner.session();
        session.refresh_libraries();
        session.find(name)
    }

    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        let index = self.inner.table().allocate(1).ok()?;
        self.stubs.push((name.to_vec(), index));
        Some(self.inner.table().stub(index))
    }
}

// ---- 4. link -------------------------------------------------------------------------------------------------------

/// A link in memory, and what is to be done with it.
struct LinkedAll {
    constructors: Vec<ExecutorAddr>,
    destructors: Vec<ExecutorAddr>,
    ifunc_slots: Vec<IfuncSlot>,
    /// What points at tables of label addresses, by module.
    table_pointers: Vec<Vec<TablePointer>>,
    exports: Exports,
    wants_exports: bool,
}

fn link_all(inner: &'static Inner, opened: &[Opened], modules: &[Arc<LoadedModule>]) -> Result<LinkedAll, Error> {
    let images: Vec<_> = modules.iter().map(|_| Images::default()).collect();
    let data: Vec<_> = timed(
        inner,
        |phases| &mut phases.data,
        || {
            modules
                .iter()
                .zip(&images)
                .map(|(module, images)| module_graph(inner, module, images))
                .collect::<Result<_, _>>()
        },
    )?;
    let begin = Instant::now();
    let replaceable = inner.options.replaceable;
    let options = kiln_link::Options {
        prune: inner.options.prune,
        roots: vec![b"main".to_vec()],
        stubs: replaceable,
        call_sites: replaceable,
        ..Default::default()
    };
    let mut link = Link::new(options);
    let mut graph_inputs = Vec::with_capacity(data.len());
    for input in opened {
        match input {
            Opened::Bitcode { bytes, .. } => {
                let graphs = modules.iter().zip(&data).filter(|(module, _)| std::ptr::eq(&*module.bytes, *bytes));
                graph_inputs.extend(graphs.map(|(_, data)| link.add_graph(&data.graph)));
            }
            Opened::Object { name, bytes } => {
                link.add_object(name.as_str(), bytes);
            }
            Opened::Archive { name, bytes, whole } => {
                link.add_archive(name.as_str(), bytes, *whole);
            }
            Opened::SharedLibrary { path } => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string();
                link.add_dynamic(LibraryScope { libraries: Libraries::snapshot(), path });
            }
        }
    }
    let mut scope = LoadScope::new(inner);
    let resolved = link.resolve(&mut scope).map_err(|errors| Error::Link(errors.to_string()))?;
    // Names that only function bodies use are bound when those are compiled, where no library can be opened any more.
    for name in modules.iter().flat_map(|module| declared_names(module)) {
        let _ = scope.lookup(name);
    }
    let LoadScope { wants_exports, stubs, .. } = scope;

    let _blocked = Blocked::all();
    let name = |symbol: &[u8]| symbol.to_vec();
    let observed = Observed { object: None, name: inner.options.perf.is_some().then_some(&name) };
    let filled = place::fill(inner, resolved, &observed)?;
    let tls = filled.tls;
    filled.publish_with(|linked, reservation, records| {
        publish(inner, &stubs, linked, reservation, records)?;
        let stubs: HashMap<&[u8], FunctionIndex> = stubs.iter().map(|(name, index)| (&name[..], *index)).collect();
        let exports = define(inner, linked, &stubs, tls);
        for ((module, data), input) in modules.iter().zip(&data).zip(&graph_inputs) {
            bind_module(inner, module, data, linked, *input, tls);
        }
        inner.admit_modules(modules.iter().cloned());
        let all = LinkedAll {
            constructors: linked.preinit().iter().chain(linked.init()).copied().collect(),
            destructors: linked.fini().to_vec(),
            ifunc_slots: linked.ifuncs().to_vec(),
            table_pointers: data.iter().map(|data| data.table_pointers.clone()).collect(),
            exports,
            wants_exports,
        };
        inner.phases().link += begin.elapsed();
        Ok(all)
    })
}

/// Tells the session what a link defines; returns what libraries may see of it.
fn define(inner: &Inner, linked: &Linked<'_>, stubs: &HashMap<&[u8], FunctionIndex>, tls: TlsPlacement) -> Exports {
    let mut exported = Exports::default();
    let mut session = inner.session();
    // Names of C++ are about this long; room that is not used is never touched.
    let (count, bytes) = (linked.name_count(), linked.name_count() * 64);
    session.reserve(count, bytes);
    exported.reserve(count, bytes);
    for (name, definition) in linked.exports() {
        let Some(mut bound) = bound(&definition, tls) else { continue };
        if !stubs.is_empty()
            && let Some(index) = stubs.get(name)
        {
            bound = External::Function(inner.table().stub(*index));
        }
        session.define(name, bound);
        if let External::Function(address) | External::Data(address) = bound {
            exported.push(name, address, definition.size, matches!(bound, External::Function(_)), definition.weak);
        }
    }
    exported
}

/// Publishes a load's code and data, which stay for the process's life, and has stubs lead to the bodies that have them.
fn publish(
    inner: &Inner,
    stubs: &[(Vec<u8>, FunctionIndex)],
    linked: &Linked<'_>,
    reservation: Reservation,
    records: Records<'_>,
) -> Result<(), Error> {
    let bodies: Vec<_> = stubs
        .iter()
        .filter_map(|(name, function)| {
            let definition = linked.symbol(name)?;
            Some(Body { function: *function, address: definition.location.address()?, bytes: definition.size })
        })
        .collect();
    if bodies.is_empty() {
        reservation.publish(records)?.leak();
        return Ok(());
    }
    let (sites, unpatchable) = versions::sites(inner.table(), versions::branches(linked), &bodies);
    let (bodies, sites, epoch) = (&bodies[..], &sites[..], inner.versions().epoch());
    let unit = Unit { reservation, records, bodies, sites, unpatchable, visible: &[], epoch };
    let installed = inner.versions().install(unit, Mode::Offer)?;
    if let Some(unit) = installed.unit {
        // Its data is the program's.
        inner.versions().pin(unit).keep();
    }
    Ok(())
}

/// The stubs of one module's functions.
struct ModuleStubs<'e> {
    inner: &'e Inner,
    module: &'e LoadedModule,
}

impl data::Stubs for ModuleStubs<'_> {
    fn function(&self, function: FunctionId) -> ExecutorAddr {
        let index = self.module.index_of(function).expect("asked for functions with bodies only");
        self.inner.table().stub(index)
    }

    fn ifunc(&self, ifunc: AliasId) -> ExecutorAddr {
        let index = self.module.index_of_ifunc(ifunc).expect("asked for ifuncs only");
        self.inner.table().stub(index)
    }

    /// What joined an earlier generation is bound already.
    fn elsewhere(&self, global: GlobalId) -> Option<ExecutorAddr> {
        let bound = self.module.globals.bound(global.0)?;
        let thread_local = self.module.bitcode.global(global).thread_local != ThreadLocal::None;
        if thread_local { Some(ExecutorAddr::new(0)) } else { bound.address() }
    }

    fn fills_table_pointers(&self) -> bool {
        true
    }
}

pub(crate) fn module_graph<'m>(
    inner: &Inner,
    module: &'m LoadedModule,
    images: &'m Images,
) -> Result<ModuleData<'m>, Error> {
    data::module_data(&module.bitcode, &ModuleStubs { inner, module }, images)
        .map_err(|source| Error::Data { name: module.name.clone(), source })
}

/// Gives every id of a module that the link bound its meaning.
pub(crate) fn bind_module(
    inner: &Inner,
    module: &LoadedModule,
    data: &ModuleData<'_>,
    linked: &Linked<'_>,
    input: InputId,
    tls: TlsPlacement,
) {
    let bitcode = &module.bitcode;
    // Nobody looks for local functions by name: most have no symbol.
    for (function, index) in module.defined_functions() {
        if bitcode.function(function).symbol.linkage.is_local() {
            module.functions.fill(function.0, Some(External::Function(inner.table().stub(index))));
        }
    }
    if let Some(graph) = linked.graph_symbols(input) {
        let bind = |bindings: &Bindings, symbols: &[Option<SymbolId>]| {
            for (id, symbol) in (0u32..).zip(symbols) {
                if let Some(definition) = symbol.and_then(|symbol| graph.definition(symbol)) {
                    bindings.fill(id, bound(&definition, tls));
                }
            }
        };
        bind(&module.functions, &data.functions);
        bind(&module.globals, &data.globals);
        bind(&module.aliases, &data.aliases);
    }
    // Names that only bodies use; hidden definitions of the same link are theirs too, though nobody else's.
    let by_name = |bindings: &Bindings, id: u32, symbol: &kiln_bitcode::Symbol| {
        if !bindings.is_set(id)
            && let Some(definition) = linked.symbol(bitcode.str(symbol.name))
        {
            bindings.fill(id, bound(&definition, tls));
        }
    };
    (0u32..).zip(bitcode.functions()).for_each(|(id, function)| by_name(&module.functions, id, &function.symbol));
    (0u32..).zip(bitcode.globals()).for_each(|(id, global)| by_name(&module.globals, id, &global.symbol));
}

/// Names that a module's functions may ask the process for.
pub(crate) fn declared_names(module: &LoadedModule) -> impl Iterator<Item = &[u8]> {
    let bitcode = &module.bitcode;
    let functions = bitcode.functions().iter().filter(|f| f.is_declaration()).map(|f| &f.symbol);
    let globals = bitcode.globals().iter().filter(|g| g.is_declaration()).map(|g| &g.symbol);
    functions
        .chain(globals)
        .filter(|symbol| symbol.linkage != Linkage::ExternWeak)
        .map(|symbol| bitcode.str(symbol.name))
        .filter_map(|name| match name.strip_prefix(b"llvm.") {
            Some(intrinsic) => math_function(intrinsic),
            None => Some(name),
        })
}

/// The function of the mathematical library that an intrinsic may become a call of, by its name behind `llvm.`: it makes
/// the library appear.
fn math_function(intrinsic: &[u8]) -> Option<&[u8]> {
    const FUNCTIONS: [&[u8]; 32] = [
        b"acos",
        b"asin",
        b"atan",
        b"atan2",
        b"ceil",
        b"cos",
        b"cosh",
        b"exp",
        b"exp10",
        b"exp2",
        b"floor",
        b"fma",
        b"fmuladd",
        b"frexp",
        b"ldexp",
        b"llrint",
        b"llround",
        b"log",
        b"log10",
        b"log2",
        b"lrint",
        b"lround",
        b"pow",
        b"rint",
        b"round",
        b"roundeven",
        b"sin",
        b"sincos",
        b"sinh",
        b"tan",
        b"tanh",
        b"trunc",
    ];
    let plain = intrinsic.split(|byte| *byte == b'.').next()?;
    FUNCTIONS.binary_search(&plain).is_ok().then_some(if plain == b"fmuladd" { b"fma" } else { plain })
}

/// What a definition is to code outside its link.
fn bound(definition: &kiln_link::Definition, tls: TlsPlacement) -> Option<External> {
    use kiln_link::{Location, SymbolKind};
    match definition.location {
        Location::Address(address) => Some(match definition.kind {
            SymbolKind::Function | SymbolKind::Ifunc => External::Function(address),
            _ => External::Data(address),
        }),
        Location::Tls { offset } => match tls {
            TlsPlacement::Static { tp_offset } => Some(External::StaticTls { tp_offset: tp_offset + offset as i64 }),
            TlsPlacement::Dynamic { module } => Some(External::DynamicTls { module, offset }),
            _ => None,
        },
        _ => None,
    }
}

// ---- 6. start ------------------------------------------------------------------------------------------------------

fn finish(inner: &'static Inner, modules: &[Arc<LoadedModule>], linked: &LinkedAll) -> Result<(), Error> {
    labels::fill_pointers(inner, modules.iter().map(|module| &**module).zip(&linked.table_pointers))?;
    for slot in &linked.ifunc_slots {
        crate::ifunc::fill_slot(slot.resolver, slot.slot);
    }
    for module in modules {
        crate::ifunc::install_module(inner, module)?;
    }
    publish_symbols(inner, linked)?;
    let arguments = {
        let _blocked = Blocked::all();
        let mut start = inner.start();
        start.constructors.extend_from_slice(&linked.constructors);
        let mut destructors = linked.destructors.clone();
        destructors.append(&mut start.destructors);
        start.destructors = destructors;
        start.arguments
    };
    if let Some(arguments) = arguments {
        inner.run_constructors(arguments);
    }
    Ok(())
}

/// Has libraries see the program's symbols: those that are loaded, and those that the program will load.
fn publish_symbols(inner: &Inner, linked: &LinkedAll) -> Result<(), Error> {
    let begin = Instant::now();
    let session = inner.session();
    // Libraries refer to far fewer names than a large program defines: start from theirs.
    let wanted: HashSet<&[u8]> =
        session.libraries().references().map(|r| r.name).filter(|name| session.definition(name).is_some()).collect();
    let preempting: HashMap<&[u8], ExecutorAddr> = linked
        .exports
        .iter()
        .filter(|(_, export)| !export.is_weak && export.is_function)
        .filter(|(name, _)| !wanted.is_empty() && wanted.contains(name))
        .map(|(name, export)| (name, export.address))
        .collect();
    if !preempting.is_empty() {
        interpose::rebind(session.libraries(), &preempting);
    }
    drop(session);
    if linked.wants_exports {
        exports::publish(&linked.exports)
            .map_err(|message| Error::Library { name: "the program's symbols".to_owned(), message })?;
    }
    inner.phases().libraries += begin.elapsed();
    Ok(())
}
