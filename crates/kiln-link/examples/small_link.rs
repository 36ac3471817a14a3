//! Times the smallest links: one function as a graph in memory, and as the ELF object that a compiler writes.
//!
//! ```text
//! small_link [OBJECT] [REPETITIONS]
//! ```

use std::hint::black_box;
use std::time::Instant;

use kiln_abi::ExecutorAddr;
use kiln_link::{
    Content, External, Graph, Layout, Link, Options, Placement, RelocationKind, RuntimeSymbols, Scope, SectionKind,
    Symbol, TlsPlacement,
};

struct Near;

impl Scope for Near {
    fn lookup(&mut self, _: &[u8]) -> Option<External> {
        Some(External::Near(ExecutorAddr::new(0x7f00_0010_0000)))
    }
}

/// A function of 64 bytes that calls two others and reads a variable.
fn graph() -> Graph<'static> {
    let mut graph = Graph::new("module.bc");
    let text = graph.add_section(".text", SectionKind::Code);
    let body = graph.add_block(text, Content::from(vec![0x90; 64]), 16);
    graph.add_symbol(Symbol::function("kiln$f12", body, 0));
    for (i, name) in ["kiln$f13", "kiln$f14", "kiln$g7"].into_iter().enumerate() {
        let symbol = graph.add_symbol(Symbol::undefined(name));
        graph.add_edge(body, 8 + 8 * i as u64, RelocationKind::PC32, symbol, -4);
    }
    graph
}

/// Places a layout into memory that is there already, as the code cache's is.
fn place(layout: Layout<'_>, memory: &mut [Vec<u8>; 3]) -> usize {
    let mut placements = Vec::with_capacity(3);
    for (i, (working, segment)) in memory.iter_mut().zip(&layout.segments).enumerate() {
        assert!(segment.size as usize <= working.len());
        let address = ExecutorAddr::new(0x7f00_0000_0000 + 0x1_0000 * i as u64);
        placements.push(Placement { address, working, zeroed: false });
    }
    let mut linked = layout
        .place(&mut placements, TlsPlacement::None, &RuntimeSymbols::default())
        .unwrap_or_else(|errors| panic!("{errors}"));
    linked.take_unwind().len()
}

/// Best and median microseconds of `repetitions` runs in batches.
fn time(repetitions: usize, mut f: impl FnMut()) -> (f64, f64) {
    let batch = 100;
    let mut samples: Vec<f64> = (0..repetitions / batch)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..batch {
                f();
            }
            start.elapsed().as_secs_f64() * 1e6 / batch as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    (samples[0], samples[samples.len() / 2])
}

fn main() {
    let mut args = std::env::args().skip(1);
    let object = args.next().map(|path| std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}")));
    let repetitions = args.next().map_or(100_000, |n| n.parse().expect("a number"));
    let mut memory = [0; 3].map(|_| vec![0; 1 << 16]);
    let (best, median) = time(repetitions, || {
        let graph = graph();
        black_box(&graph);
    });
    println!("build the graph       {best:6.2} best {median:6.2} median µs");
    let graph = graph();
    let (best, median) = time(repetitions, || {
        let mut link = Link::new(Options::default());
        link.add_graph(&graph);
        let layout = link.resolve(&mut Near).and_then(|r| r.layout()).unwrap_or_else(|errors| panic!("{errors}"));
        black_box(place(layout, &mut memory));
    });
    println!("graph of one function {best:6.2} best {median:6.2} median µs");
    let Some(object) = object else { return };
    let (best, median) = time(repetitions, || {
        let mut link = Link::new(Options::default());
        link.add_object("function.o", &object);
        let layout = link.resolve(&mut Near).and_then(|r| r.layout()).unwrap_or_else(|errors| panic!("{errors}"));
        black_box(place(layout, &mut memory));
    });
    println!("object of {:6} bytes {best:5.2} best {median:6.2} median µs", object.len());
}
