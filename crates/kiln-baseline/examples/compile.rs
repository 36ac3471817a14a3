//! Compiles the functions of a bitcode file to an ELF object, and says how long it took and what was left out.
//!
//! `compile IN.bc [-o OUT.o] [--left LIST] [--only N..M] [--repeat N]`: functions that were left out are undefined in
//! the object; their names go to LIST.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use kiln_abi::ExecutorAddr;
use kiln_abi::symbol::{Id, parse};
use kiln_baseline::data::{Images, Stubs, module_data};
use kiln_baseline::{CompileError, Compiler, LineTable};
use kiln_bitcode::{AliasId, AliasKind, FunctionId, GlobalRef, Linkage, Module};
use kiln_link::{Binding, Content, Graph, SectionKind, SymbolKind, SymbolPlace};
use object::write::{Object, Relocation, SectionId, StandardSection, Symbol, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolScope};

/// Stubs that only say which function they stand for.
struct Numbers;

impl Stubs for Numbers {
    fn function(&self, function: FunctionId) -> ExecutorAddr {
        ExecutorAddr::new(0x1000 + u64::from(function.0))
    }

    fn ifunc(&self, ifunc: AliasId) -> ExecutorAddr {
        ExecutorAddr::new(0x1_0000_0000 + u64::from(ifunc.0))
    }
}

struct Output<'m> {
    module: &'m Module,
    object: Object<'static>,
    named: HashMap<Vec<u8>, SymbolId>,
    others: HashMap<Vec<u8>, SectionId>,
}

impl<'m> Output<'m> {
    fn name_of(&self, base: GlobalRef, id: Id) -> Vec<u8> {
        let name = self.module.symbol_name(base);
        let name = name.strip_prefix(b"\x01").unwrap_or(name);
        if name.is_empty() { kiln_abi::symbol::name(id).into_bytes() } else { name.to_vec() }
    }

    /// A symbol by its real name, whatever the linkage: the parts of a program that others compile refer to it.
    fn symbol(&mut self, name: &[u8], weak: bool) -> SymbolId {
        let (name, weak) = match parse(name) {
            Some(id) => {
                let base = match id {
                    Id::Function(f) => GlobalRef::Function(f),
                    Id::Global(g) => GlobalRef::Global(g),
                    Id::Alias(a) => GlobalRef::Alias(AliasId(a)),
                };
                let linkage = self.module.symbol(base).linkage;
                let weak = matches!(
                    linkage,
                    Linkage::ExternWeak
                        | Linkage::WeakAny
                        | Linkage::WeakOdr
                        | Linkage::LinkOnceAny
                        | Linkage::LinkOnceOdr
                );
                (self.name_of(base, id), weak)
            }
            None => (name.to_vec(), weak),
        };
        if let Some(known) = self.named.get(&name) {
            return *known;
        }
        let id = self.object.add_symbol(Symbol {
            name: name.clone(),
            value: 0,
            size: 0,
            kind: object::SymbolKind::Unknown,
            scope: SymbolScope::Dynamic,
            weak,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        self.named.insert(name, id);
        id
    }

    fn section(&mut self, name: &[u8], kind: SectionKind, zero: bool) -> SectionId {
        let standard = match (kind, zero) {
            (SectionKind::Code, _) => StandardSection::Text,
            (SectionKind::ReadOnly, _) if name == b".eh_frame" => {
                return self.other(b".eh_frame", object::SectionKind::ReadOnlyData);
            }
            (SectionKind::ReadOnly, _) => return self.other(b".data.rel.ro", object::SectionKind::Data),
            (SectionKind::ReadWrite, true) => StandardSection::UninitializedData,
            (SectionKind::ReadWrite, false) => StandardSection::Data,
            (SectionKind::Tls, true) => StandardSection::UninitializedTls,
            (SectionKind::Tls, false) => StandardSection::Tls,
            (SectionKind::InitArray | SectionKind::PreinitArray, _) => {
                return self.other(b".init_array", object::SectionKind::Data);
            }
            (SectionKind::FiniArray, _) => return self.other(b".fini_array", object::SectionKind::Data),
        };
        self.object.section_id(standard)
    }

    fn other(&mut self, name: &[u8], kind: object::SectionKind) -> SectionId {
        let object = &mut self.object;
        *self.others.entry(name.to_vec()).or_insert_with(|| object.add_section(Vec::new(), name.to_vec(), kind))
    }

    fn add(&mut self, graph: &Graph<'_>) -> Result<(), Box<dyn Error>> {
        let sections: Vec<(Vec<u8>, SectionKind)> = graph.sections().map(|(n, k)| (n.to_vec(), k)).collect();
        let mut places = Vec::new();
        for (section, content, align) in graph.blocks() {
            let (name, kind) = &sections[section];
            let zero = matches!(content, Content::Zero(_));
            let zero = zero && matches!(kind, SectionKind::ReadWrite | SectionKind::Tls);
            let id = self.section(name, *kind, zero);
            let start = match content {
                Content::Zero(size) if zero => self.object.append_section_bss(id, *size, align),
                Content::Zero(size) => self.object.append_section_data(id, &vec![0; *size as usize], align),
                Content::Bytes(bytes) => self.object.append_section_data(id, bytes, align),
            };
            places.push((id, start));
        }
        let mut symbols = Vec::new();
        for symbol in graph.symbols() {
            let kind = match symbol.kind {
                SymbolKind::Function => object::SymbolKind::Text,
                SymbolKind::Tls => object::SymbolKind::Tls,
                _ => object::SymbolKind::Data,
            };
            let id = match symbol.place {
                SymbolPlace::Defined { block, offset } => {
                    let (section, start) = places[block.index()];
                    if symbol.name.is_empty() {
                        self.object.add_symbol(Symbol {
                            name: Vec::new(),
                            value: start + offset,
                            size: 0,
                            kind,
                            scope: SymbolScope::Compilation,
                            weak: false,
                            section: SymbolSection::Section(section),
                            flags: SymbolFlags::None,
                        })
                    } else {
                        let id = self.symbol(&symbol.name, false);
                        let made = self.object.symbol_mut(id);
                        made.section = SymbolSection::Section(section);
                        made.value = start + offset;
                        made.size = symbol.size;
                        made.kind = kind;
                        made.weak |= symbol.binding == Binding::Weak;
                        id
                    }
                }
                SymbolPlace::Absolute(address) => {
                    let number = address.get() - 0x1000;
                    let function = FunctionId(number as u32);
                    let name = self.name_of(GlobalRef::Function(function), Id::Function(function));
                    self.symbol(&name, false)
                }
                SymbolPlace::Undefined => self.symbol(&symbol.name, symbol.binding == Binding::Weak),
                SymbolPlace::Common { align } => {
                    let id = self.symbol(&symbol.name, false);
                    let section = self.object.section_id(StandardSection::UninitializedData);
                    let start = self.object.append_section_bss(section, symbol.size, align);
                    let made = self.object.symbol_mut(id);
                    made.section = SymbolSection::Section(section);
                    made.value = start;
                    made.kind = object::SymbolKind::Data;
                    id
                }
            };
            symbols.push(id);
        }
        for (block, offset, kind, symbol, addend) in graph.edges() {
            let (section, start) = places[block];
            self.object.add_relocation(
                section,
                Relocation {
                    offset: start + offset,
                    symbol: symbols[symbol.index()],
                    addend,
                    flags: RelocationFlags::Elf { r_type: kind.0 },
                },
            )?;
        }
        Ok(())
    }
}

fn bytes_of_code(graph: &Graph<'_>) -> u64 {
    let code = graph.blocks().filter(|(section, ..)| *section == 0);
    code.map(|(_, content, _)| match content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Zero(_) => 0,
    })
    .sum()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (mut input, mut output, mut left, mut repeat) = (None, None, None, 1);
    let mut only = 0..u32::MAX;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "-o" => output = Some(value()?),
            "--left" => left = Some(value()?),
            "--repeat" => repeat = value()?.parse()?,
            "--only" => {
                let text = value()?;
                let (from, to) = text.split_once("..").ok_or("--only N..M")?;
                only = from.parse()?..to.parse()?;
            }
            _ => input = Some(argument),
        }
    }
    let bytes = fs::read(input.ok_or("no input")?)?;
    let modules = kiln_bitcode::parse(&bytes)?;
    let module = &modules[0];
    let mut out = Output {
        module,
        object: Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little),
        named: HashMap::new(),
        others: HashMap::new(),
    };
    let mut compiler = Compiler::new();
    let mut reasons: BTreeMap<String, (u32, u64)> = BTreeMap::new();
    let (mut done, mut total, mut instructions, mut code_bytes) = (0u32, 0u32, 0u64, 0u64);
    let mut largest = (0, [0; 4]);
    let mut names = Vec::new();
    let mut best = Duration::MAX;
    let mut graphs = Vec::new();
    let (mut marks, mut table_bytes) = (0, 0);
    for round in 0..repeat {
        graphs.clear();
        names.clear();
        reasons.clear();
        (done, total, instructions) = (0, 0, 0);
        let begin = Instant::now();
        for id in (0u32..).map(FunctionId).take(module.functions().len()) {
            let function = module.function(id);
            if function.is_declaration() || function.symbol.linkage == Linkage::AvailableExternally {
                continue;
            }
            total += 1;
            let result = if only.contains(&id.0) {
                compiler.compile(module, &bytes, id)
            } else {
                Err(CompileError::Body { message: "not asked for".to_owned() })
            };
            match result {
                Ok(code) => {
                    done += 1;
                    instructions += u64::from(code.instructions);
                    if code.instructions > largest.0 {
                        largest = (code.instructions, compiler.bytes_in_use());
                    }
                    if round + 1 == repeat {
                        marks += code.lines.as_ref().map_or(0, |lines| lines.marks().count());
                        table_bytes += code.lines.as_ref().map_or(0, LineTable::size);
                        code_bytes += bytes_of_code(&code.graph);
                        // A program's engine keeps none.
                        if output.is_some() {
                            graphs.push(code.graph);
                        }
                    }
                }
                Err(error) => {
                    let reason = match &error {
                        CompileError::Unsupported { what } => what.to_string(),
                        other => other.to_string(),
                    };
                    reasons.entry(reason).or_default().0 += 1;
                    names.push(out.name_of(GlobalRef::Function(id), Id::Function(id)));
                }
            }
        }
        best = best.min(begin.elapsed());
    }
    println!(
        "{done} of {total} functions ({:.1} %), {instructions} instructions, {:.0} ns each, {code_bytes} bytes of code",
        f64::from(done) * 100.0 / f64::from(total.max(1)),
        best.as_nanos() as f64 / instructions.max(1) as f64,
    );
    if marks > 0 {
        println!("{marks} marks of line tables in {table_bytes} bytes");
    }
    let each = largest.1.map(|bytes| bytes as f64 / f64::from(largest.0.max(1)));
    println!(
        "largest function: {} instructions, {:.1} bytes each: body {:.1}, analysis {:.1}, generator {:.1}; and {:.1} of code",
        largest.0,
        each[..3].iter().sum::<f64>(),
        each[0],
        each[1],
        each[2],
        each[3],
    );
    let mut sorted: Vec<_> = reasons.into_iter().collect();
    sorted.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (reason, (count, _)) in sorted.iter().take(40) {
        println!("{count:6} {reason}");
    }
    if let Some(path) = output {
        let images = Images::default();
        let data = module_data(module, &Numbers, &images)?;
        out.add(&data.graph)?;
        for graph in &graphs {
            out.add(graph)?;
        }
        for (id, alias) in (0u32..).zip(module.aliases()) {
            // Aliases of functions take the function's place.
            if alias.kind == AliasKind::Alias
                && let kiln_bitcode::Constant::Global(GlobalRef::Function(function)) = module.constant(alias.target)
            {
                let target = out.name_of(GlobalRef::Function(function), Id::Function(function));
                let target = out.symbol(&target, false);
                let target = out.object.symbol(target);
                let (section, value, kind) = (target.section, target.value, target.kind);
                let name = out.name_of(GlobalRef::Alias(AliasId(id)), Id::Alias(id));
                let made = out.symbol(&name, false);
                let made = out.object.symbol_mut(made);
                (made.section, made.value, made.kind) = (section, value, kind);
            }
        }
        fs::write(path, out.object.write()?)?;
    }
    if let Some(path) = left {
        let mut text = Vec::new();
        for name in names {
            text.extend_from_slice(&name);
            text.push(b'\n');
        }
        fs::write(path, text)?;
    }
    Ok(())
}
