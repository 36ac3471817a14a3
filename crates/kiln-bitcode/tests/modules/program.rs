// Ordinary Rust: enum layouts, trait objects, statics, thread-locals, panics, wide integers.
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(3);
static WIDE: u128 = 1 << 100;
static NAMES: [Option<&str>; 3] = [Some("a"), None, Some("longer")];
static HANDLERS: &[(&str, fn(u32) -> u32)] = &[("double", |x| x * 2), ("square", |x| x * x)];

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(7) };
}

trait Shape {
    fn area(&self) -> f64;
}

struct Square(f64);

impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

fn main() {
    let mut map: HashMap<&str, Box<dyn Shape>> = HashMap::new();
    map.insert("square", Box::new(Square(2.0)));
    DEPTH.with(|d| d.set(d.get() + 1));
    let caught = std::panic::catch_unwind(|| HANDLERS[COUNT.load(Ordering::Relaxed)].1(2));
    println!("{} {:?} {:?} {}", WIDE, NAMES, caught.is_err(), map["square"].area());
}
