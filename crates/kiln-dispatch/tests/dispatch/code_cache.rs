//! Stubs and bodies in the real code cache.

use crate::rig::{compile_once, plain, table_in};
use kiln_abi::{ExecutorAddr, Permission, Segment};
use kiln_codecache::{CodeCache, Options, Place, Records};
use kiln_dispatch::FunctionIndex;

fn publish(cache: &CodeCache, value: u32) -> ExecutorAddr {
    let segment = Segment { permission: Permission::Code, size: 6, align: 16 };
    let mut reservation = cache.reserve(&[(segment, Place::Anywhere)]).unwrap();
    let [a, b, c, d] = value.to_le_bytes();
    reservation.working(0).copy_from_slice(&[0xb8, a, b, c, d, 0xc3]); // mov eax, value; ret
    let body = reservation.segment(0);
    reservation.publish(Records::new()).unwrap().leak();
    body
}

#[test]
fn functions_of_a_code_cache_are_called_and_installed() {
    let cache: &'static CodeCache = Box::leak(Box::new(CodeCache::new(&Options::new()).unwrap()));
    let (table, _) =
        table_in(cache, move |table, function| compile_once(table, function, &|| publish(cache, function.0)));
    let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let before = mappings();
    table.allocate(100_000).unwrap();
    for n in (0..100_000).step_by(97) {
        assert_eq!(plain(table, FunctionIndex(n))(), n);
        assert_eq!(plain(table, FunctionIndex(n))(), n);
    }
    println!("{} mappings before, {} after 100,000 stubs; {:?}", before, mappings(), table.stats());
}
