//! What a stub costs: a call through it beside a direct call, and a first call with a resolver that does nothing.
//!
//! `cargo run --release -p kiln-dispatch --example resolve_cost`

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod bench {
    use kiln_abi::x86_64::branch_displacement;
    use kiln_abi::{ExecutorAddr, Permission, Segment};
    use kiln_codecache::{CodeCache, Options, Place, Records};
    use kiln_dispatch::{FunctionIndex, FunctionTable, Resolve};
    use std::error::Error;
    use std::sync::OnceLock;
    use std::time::Instant;

    const FUNCTIONS: u32 = 100_000;
    const CALLS: u32 = 100_000_000;

    /// Sends every first call to one body and, if asked, installs it.
    struct Trivial {
        table: OnceLock<&'static FunctionTable>,
        body: OnceLock<ExecutorAddr>,
        install: bool,
    }

    impl Resolve for Trivial {
        fn resolve(&self, function: FunctionIndex) -> ExecutorAddr {
            let body = *self.body.get().expect("set before the first call");
            if self.install {
                let table = self.table.get().expect("set before the first call");
                table.install(&[(function, body)]).expect("in reach");
            }
            body
        }
    }

    fn publish(cache: &CodeCache, code: impl Fn(ExecutorAddr) -> Vec<u8>) -> Result<ExecutorAddr, Box<dyn Error>> {
        let segment = Segment { permission: Permission::Code, size: 64, align: 64 };
        let mut reservation = cache.reserve(&[(segment, Place::Anywhere)])?;
        let address = reservation.segment(0);
        let code = code(address);
        reservation.working(0)[..code.len()].copy_from_slice(&code);
        reservation.publish(Records::new())?.leak();
        Ok(address)
    }

    /// Code that calls `target` as often as its argument says.
    fn caller(cache: &CodeCache, target: ExecutorAddr) -> Result<extern "C" fn(u64), Box<dyn Error>> {
        let address = publish(cache, |address| {
            let displacement = branch_displacement(address + 8, target).expect("one reservation is in reach of itself");
            let [a, b, c, d] = displacement.to_le_bytes();
            #[rustfmt::skip]
            let code = vec![
                0x53,                           // +0  push rbx
                0x48, 0x89, 0xfb,               // +1  mov  rbx, rdi
                0x0f, 0x1f, 0x40, 0x00,         // +4  nop
                0xe8, a, b, c, d,               // +8  call target
                0x48, 0xff, 0xcb,               // +13 dec  rbx
                0x75, 0xf6,                     // +16 jnz  +8
                0x5b,                           // +18 pop  rbx
                0xc3,                           // +19 ret
            ];
            code
        })?;
        // SAFETY: the code above is a function of this type.
        Ok(unsafe { std::mem::transmute::<usize, extern "C" fn(u64)>(address.get() as usize) })
    }

    fn best_ns(per: u32, mut run: impl FnMut()) -> f64 {
        let once = |run: &mut dyn FnMut()| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e9 / f64::from(per)
        };
        (0..5).map(|_| once(&mut run)).fold(f64::INFINITY, f64::min)
    }

    fn table(
        cache: &'static CodeCache,
        body: ExecutorAddr,
        install: bool,
    ) -> Result<&'static FunctionTable, Box<dyn Error>> {
        let resolver: &'static Trivial =
            Box::leak(Box::new(Trivial { table: OnceLock::new(), body: body.into(), install }));
        let table = FunctionTable::new(cache, resolver)?;
        resolver.table.get_or_init(|| table);
        Ok(table)
    }

    fn call(table: &FunctionTable, function: FunctionIndex) {
        // SAFETY: every body here takes and returns nothing.
        let stub: extern "C" fn() = unsafe { std::mem::transmute(table.stub(function).get() as usize) };
        stub();
    }

    pub(crate) fn main() -> Result<(), Box<dyn Error>> {
        let cache: &'static CodeCache = Box::leak(Box::new(CodeCache::new(&Options::new())?));
        let body = publish(cache, |_| vec![0xc3])?; // ret
        let resolving = table(cache, body, false)?;
        let installing = table(cache, body, true)?;

        let start = Instant::now();
        let first = installing.allocate(FUNCTIONS)?;
        println!(
            "allocate                {:8.1} ns per function",
            start.elapsed().as_secs_f64() * 1e9 / f64::from(FUNCTIONS)
        );
        let stats = installing.stats();
        let bytes = (stats.stub_bytes + stats.table_bytes) as f64 / f64::from(FUNCTIONS);
        println!("memory                  {bytes:8.1} bytes per function of {FUNCTIONS}");

        let unresolved = resolving.allocate(1)?;
        let resolve = best_ns(100_000, || (0..100_000).for_each(|_| call(resolving, unresolved)));
        println!("first call              {resolve:8.1} ns, resolver returns at once");
        let start = Instant::now();
        (0..FUNCTIONS).for_each(|n| call(installing, FunctionIndex(first.0 + n)));
        println!(
            "first call with install {:8.1} ns, another function each",
            start.elapsed().as_secs_f64() * 1e9 / f64::from(FUNCTIONS)
        );

        let direct = caller(cache, body)?;
        let through_stub = caller(cache, installing.stub(first))?;
        println!("direct call             {:8.3} ns", best_ns(CALLS, || direct(u64::from(CALLS))));
        println!("call through a stub     {:8.3} ns", best_ns(CALLS, || through_stub(u64::from(CALLS))));
        Ok(())
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    bench::main()
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() {
    println!("there is no trampoline for this machine");
}
