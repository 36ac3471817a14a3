//! One graph by itself: what its symbols mean, and what it leaves to the general link.

use kiln_abi::{ExecutorAddr, FdeEntry, Permission};
use kiln_link::{
    AloneMemory, Binding, Branch, Content, External, Graph, Placement, RelocationKind, Scope, SectionKind, Symbol,
    SymbolId, SymbolKind, SymbolPlace, Unfit,
};

const CODE: u64 = 0x40_0000;
const CONSTANTS: u64 = 0x50_0000;
const VARIABLES: u64 = 0x60_0000;
const NEAR: u64 = 0x48_1230;
const FAR_FUNCTION: u64 = 0x7fff_1234_5670;
const FAR_DATA: u64 = 0x7fff_2222_0008;
const STUB: u64 = 0x41_0000;

struct World;

impl Scope for World {
    fn lookup(&mut self, name: &[u8]) -> Option<External> {
        Some(match name {
            b"near" => External::Near(ExecutorAddr::new(NEAR)),
            b"far_function" => External::Function(ExecutorAddr::new(FAR_FUNCTION)),
            b"far_data" => External::Data(ExecutorAddr::new(FAR_DATA)),
            b"tls" => External::StaticTls { tp_offset: -16 },
            b"tls_of_a_library" => External::DynamicTls { module: 2, offset: 8 },
            _ => return None,
        })
    }

    fn stub(&mut self, name: &[u8]) -> Option<ExecutorAddr> {
        (name == b"function").then(|| ExecutorAddr::new(STUB))
    }
}

/// A function of `code`, 64 bytes at least, whose edges the test adds.
struct Function {
    graph: Graph<'static>,
    code: kiln_link::BlockId,
    own: SymbolId,
    begin: SymbolId,
    constant: SymbolId,
}

fn function(code: &[u8]) -> Function {
    let mut graph = Graph::new("function");
    let text = graph.add_section(".text", SectionKind::Code);
    let mut bytes = code.to_vec();
    bytes.resize(bytes.len().max(64), 0xcc);
    let code = graph.add_block(text, Content::from(bytes), 16);
    let own = graph.add_symbol(Symbol::function("function", code, 0));
    let begin = graph.add_symbol(Symbol::local(code, 0));
    let constants = graph.add_section(".rodata", SectionKind::ReadOnly);
    let block = graph.add_block(constants, Content::from(vec![7; 12]), 4);
    let constant = graph.add_symbol(Symbol::local(block, 4));
    Function { graph, code, own, begin, constant }
}

struct Image {
    addresses: Vec<Option<ExecutorAddr>>,
    unwind: Vec<FdeEntry>,
    branches: Vec<Branch>,
    memory: Vec<(u64, Vec<u8>)>,
}

impl Image {
    fn of(graph: &Graph<'static>) -> Image {
        let mut kept = AloneMemory::default();
        let first = Image::with(&mut kept, graph);
        let again = Image::with(&mut kept, graph);
        assert_eq!(again.memory, first.memory, "what was linked before leaves nothing");
        assert_eq!(again.addresses, first.addresses);
        assert_eq!((&again.unwind, &again.branches), (&first.unwind, &first.branches));
        again
    }

    fn with(kept: &mut AloneMemory, graph: &Graph<'static>) -> Image {
        let alone = graph.lay_out_alone(kept, &mut World).unwrap();
        let address = |permission| match permission {
            Permission::Code => CODE,
            Permission::ReadOnly => CONSTANTS,
            Permission::ReadWrite => VARIABLES,
        };
        let mut memory: Vec<(u64, Vec<u8>)> =
            alone.segments().iter().map(|s| (address(s.permission), vec![0xee; s.size as usize])).collect();
        let mut placements: Vec<Placement<'_>> = memory
            .iter_mut()
            .map(|(address, working)| Placement { address: ExecutorAddr::new(*address), working, zeroed: false })
            .collect();
        let placed = alone.place(&mut placements, true).unwrap();
        let addresses = graph.symbols_with_ids().map(|(id, _)| placed.address(id)).collect();
        let (unwind, branches) = (placed.unwind().to_vec(), placed.branches().to_vec());
        Image { addresses, unwind, branches, memory }
    }

    fn address(&self, symbol: SymbolId) -> Option<ExecutorAddr> {
        self.addresses[symbol.index()]
    }

    fn bytes(&self, address: u64, count: usize) -> &[u8] {
        let (start, bytes) = self.memory.iter().rfind(|(start, _)| *start <= address).unwrap();
        &bytes[(address - start) as usize..][..count]
    }

    fn word(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.bytes(address, 8).try_into().unwrap())
    }

    /// Where the displacement at `address` leads, as seen from behind it.
    fn target(&self, address: u64) -> u64 {
        let distance = i32::from_le_bytes(self.bytes(address, 4).try_into().unwrap());
        (address + 4).wrapping_add_signed(distance.into())
    }
}

#[test]
fn what_is_near_is_referred_to_directly() {
    let mut f = function(&[0xe8, 0, 0, 0, 0, 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0x48, 0x8d, 0x05, 0, 0, 0, 0]);
    let near = f.graph.add_symbol(Symbol::undefined("near"));
    f.graph.add_edge(f.code, 1, RelocationKind::PLT32, near, -4);
    f.graph.add_edge(f.code, 8, RelocationKind::REX_GOTPCRELX, near, -4);
    f.graph.add_edge(f.code, 15, RelocationKind::PC32, f.constant, -4);
    f.graph.add_edge(f.code, 32, RelocationKind::ABS64, f.constant, 1);
    f.graph.add_edge(f.code, 40, RelocationKind::PC64, near, 2);
    let image = Image::of(&f.graph);
    let body = image.address(f.own).unwrap().get();
    let constant = image.address(f.constant).unwrap().get();
    assert_eq!(body, CODE, "no stub stands before it");
    assert_eq!(constant, CONSTANTS + 4, "no slot stands before it");
    assert_eq!(image.target(body + 1), NEAR);
    assert_eq!(image.bytes(body + 5, 3), [0x48, 0x8d, 0x05], "a load of an address becomes lea");
    assert_eq!(image.target(body + 8), NEAR);
    assert_eq!(image.target(body + 15), constant);
    assert_eq!(image.word(body + 32), constant + 1);
    assert_eq!(image.word(body + 40), (NEAR + 2).wrapping_sub(body + 40));
    assert_eq!(image.bytes(constant, 8), [7; 8]);
}

#[test]
fn what_is_far_has_a_stub_or_a_slot() {
    let mut f = function(&[0xe8, 0, 0, 0, 0, 0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0x48, 0x8b, 0x05]);
    let call = f.graph.add_symbol(Symbol::undefined("far_function"));
    let data = f.graph.add_symbol(Symbol::undefined("far_data"));
    f.graph.add_edge(f.code, 1, RelocationKind::PLT32, call, -4);
    f.graph.add_edge(f.code, 8, RelocationKind::REX_GOTPCRELX, data, -4);
    f.graph.add_edge(f.code, 13, RelocationKind::PLT32, call, -4);
    f.graph.add_edge(f.code, 20, RelocationKind::GOTPCREL, call, -4);
    f.graph.add_edge(f.code, 40, RelocationKind::ABS64, data, 8);
    let image = Image::of(&f.graph);
    let body = image.address(f.own).unwrap().get();
    assert_eq!(body % 16, 0);
    let stub = image.target(body + 1);
    assert_eq!(stub, image.target(body + 13), "one stub for all calls");
    assert_eq!(image.bytes(stub, 2), [0xff, 0x25], "jmp *slot(%rip)");
    assert_eq!(image.word(image.target(stub + 2)), FAR_FUNCTION);
    assert_eq!(image.bytes(body + 5, 3), [0x48, 0x8b, 0x05], "still a load");
    assert_eq!(image.word(image.target(body + 8)), FAR_DATA);
    assert_eq!(image.target(body + 20), image.target(stub + 2), "stub and load share a slot");
    assert_eq!(image.word(body + 40), FAR_DATA + 8);
}

#[test]
fn a_function_with_a_stub_is_known_by_it_except_to_branches_that_can_be_led_elsewhere() {
    let mut f = function(&[0xe8, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0x48, 0x8d, 0x05, 0, 0, 0, 0]);
    f.graph.add_edge(f.code, 1, RelocationKind::PLT32, f.own, -4); // bytes 1-4: in one word
    f.graph.add_edge(f.code, 6, RelocationKind::PLT32, f.own, -4); // bytes 6-9: not
    f.graph.add_edge(f.code, 13, RelocationKind::PC32, f.own, -4);
    let image = Image::of(&f.graph);
    assert_eq!(image.target(CODE + 1), CODE);
    assert_eq!(image.target(CODE + 6), STUB);
    assert_eq!(image.target(CODE + 13), STUB);
    let branches: Vec<_> =
        image.branches.iter().map(|b| (b.place.get(), b.symbol, b.target.get(), b.patchable)).collect();
    assert_eq!(branches, [(CODE + 1, f.own, CODE, true), (CODE + 6, f.own, STUB, false)]);
}

/// data16 lea x@tlsgd(%rip), %rdi; data16 data16 rex.W call __tls_get_addr
const GENERAL_DYNAMIC: [u8; 16] = [0x66, 0x48, 0x8d, 0x3d, 0, 0, 0, 0, 0x66, 0x66, 0x48, 0xe8, 0, 0, 0, 0];

#[test]
fn a_thread_local_variable_with_a_fixed_place_needs_no_call() {
    let mut f = function(&GENERAL_DYNAMIC);
    let variable = f.graph.add_symbol(Symbol::undefined("tls"));
    let helper = f.graph.add_symbol(Symbol::undefined("__tls_get_addr"));
    f.graph.add_edge(f.code, 4, RelocationKind::TLSGD, variable, -4);
    f.graph.add_edge(f.code, 12, RelocationKind::PLT32, helper, -4);
    f.graph.add_edge(f.code, 40, RelocationKind::ABS64, f.constant, 0);
    let image = Image::of(&f.graph);
    // mov %fs:0, %rax; lea -16(%rax), %rax
    let expected = [0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x8d, 0x80, 0xf0, 0xff, 0xff, 0xff];
    assert_eq!(image.bytes(CODE, 16), expected);
    assert_eq!(image.word(CODE + 40), CONSTANTS + 4, "edges behind the call are applied");
    assert!(image.branches.is_empty());
}

#[test]
fn zeros_are_written_where_memory_is_not_known_to_hold_them() {
    let mut f = function(&[]);
    let section = f.graph.add_section(".bss", SectionKind::ReadWrite);
    let block = f.graph.add_block(section, Content::Zero(24), 8);
    let variable = f.graph.add_symbol(Symbol::data("variable", block, 0, 24));
    let image = Image::of(&f.graph);
    assert_eq!(image.address(variable), Some(ExecutorAddr::new(VARIABLES)));
    assert_eq!(image.bytes(VARIABLES, 24), [0; 24]);
}

#[test]
fn unwind_entries_describe_the_code() {
    let mut f = function(&[]);
    let mut table = vec![20, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 16, 1, 0x1b, 12, 7, 8, 0x90, 1, 0, 0];
    table.extend([20, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let section = f.graph.add_section(".eh_frame", SectionKind::ReadOnly);
    let block = f.graph.add_block(section, Content::from(table), 8);
    f.graph.add_edge(block, 32, RelocationKind::PC32, f.begin, 0);
    let image = Image::of(&f.graph);
    let fde = ExecutorAddr::new(CONSTANTS + 16 + 24);
    assert_eq!(image.unwind, [FdeEntry { pc_begin: ExecutorAddr::new(CODE), pc_bytes: 64, fde }]);
}

#[test]
fn what_asks_for_more_is_left_to_the_general_link() {
    let unfit = |change: &dyn Fn(&mut Function)| {
        let mut f = function(&[]);
        change(&mut f);
        let laid_out = f.graph.lay_out_alone(&mut AloneMemory::default(), &mut World).map(drop);
        assert_eq!(laid_out, Err(Unfit));
    };
    let refer = |f: &mut Function, symbol: Symbol<'static>, kind| {
        let symbol = f.graph.add_symbol(symbol);
        f.graph.add_edge(f.code, 1, kind, symbol, -4);
    };
    unfit(&|f| refer(f, Symbol::undefined("unknown"), RelocationKind::PLT32));
    unfit(&|f| refer(f, Symbol::undefined("tls"), RelocationKind::GOTTPOFF));
    unfit(&|f| refer(f, Symbol::undefined("near").with_binding(Binding::Weak), RelocationKind::PLT32));
    unfit(&|f| refer(f, Symbol::undefined("far_data"), RelocationKind::PC32));
    unfit(&|f| refer(f, Symbol::undefined("near"), RelocationKind::TLSGD));
    unfit(&|f| refer(f, Symbol::undefined("tls"), RelocationKind::TLSGD));
    unfit(&|f| refer(f, Symbol::undefined("tls"), RelocationKind::PC32));
    unfit(&|f| refer(f, Symbol::undefined("tls_of_a_library"), RelocationKind::TLSGD));
    unfit(&|f| refer(f, Symbol::undefined("__tls_get_addr"), RelocationKind::PLT32));
    unfit(&|f| refer(f, Symbol::new("common", SymbolPlace::Common { align: 8 }), RelocationKind::PC32));
    unfit(&|f| _ = f.graph.add_symbol(Symbol::undefined("near").with_kind(SymbolKind::Tls)));
    unfit(&|f| {
        let group = f.graph.add_group("group");
        f.graph.set_group(f.code, group);
    });
    unfit(&|f| {
        let array = f.graph.add_section(".init_array", SectionKind::InitArray);
        f.graph.add_block(array, Content::from(vec![0; 8]), 8);
    });
}

#[test]
fn what_is_no_sequence_for_thread_local_variables_is_unfit() {
    let mut f = function(&[0x48, 0x8d, 0x3d, 0x90]);
    let variable = f.graph.add_symbol(Symbol::undefined("tls"));
    let helper = f.graph.add_symbol(Symbol::undefined("__tls_get_addr"));
    f.graph.add_edge(f.code, 4, RelocationKind::TLSGD, variable, -4);
    f.graph.add_edge(f.code, 12, RelocationKind::PLT32, helper, -4);
    assert_eq!(place(&f.graph), Err(Unfit));
}

#[test]
fn a_field_outside_its_block_is_unfit() {
    let mut f = function(&[]);
    f.graph.add_edge(f.code, 62, RelocationKind::PC32, f.constant, -4);
    assert_eq!(place(&f.graph), Err(Unfit));
}

/// Places a graph that can be laid out.
fn place(graph: &Graph<'static>) -> Result<(), Unfit> {
    let mut kept = AloneMemory::default();
    let alone = graph.lay_out_alone(&mut kept, &mut World).unwrap();
    let mut memory: Vec<Vec<u8>> = alone.segments().iter().map(|s| vec![0; s.size as usize]).collect();
    let mut placements: Vec<Placement<'_>> = memory
        .iter_mut()
        .map(|working| Placement { address: ExecutorAddr::new(CODE), working, zeroed: true })
        .collect();
    alone.place(&mut placements, false).map(drop)
}
