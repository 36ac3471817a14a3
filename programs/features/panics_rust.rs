// Panics: caught, with drops on the way, payloads, hooks, in threads, through iterators, overflow and bounds.
use std::panic::{self, AssertUnwindSafe};

struct Guard(&'static str);
impl Drop for Guard {
    fn drop(&mut self) {
        println!("drop {} {}", self.0, std::thread::panicking());
    }
}

#[inline(never)]
fn index(list: &[i32], at: usize) -> i32 {
    let _guard = Guard("index");
    list[at]
}

fn main() {
    panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<String>().map(String::as_str).or(info.payload().downcast_ref::<&str>().copied());
        println!("hook: {}", text.unwrap_or("other"));
    }));
    println!("{:?}", panic::catch_unwind(|| index(&[1, 2], std::env::args().count() + 4)).is_err());
    let text = panic::catch_unwind(|| panic!("formatted {}", 5)).unwrap_err();
    println!("{:?}", text.downcast_ref::<String>());
    let value = panic::catch_unwind(|| panic::panic_any(77_u64)).unwrap_err();
    println!("{:?}", value.downcast_ref::<u64>());
    let mut seen = 0;
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        [1, 2, 3, 4].iter().for_each(|i| {
            seen += i;
            assert!(*i < 3, "too large: {i}");
        });
    }));
    println!("{} {seen}", result.is_err());
    println!("{}", std::thread::spawn(|| { let _guard = Guard("thread"); None::<i32>.unwrap() }).join().is_err());
    let nested = panic::catch_unwind(|| {
        let inner = panic::catch_unwind(|| panic!("inner"));
        let _guard = Guard("outer");
        panic::resume_unwind(inner.unwrap_err())
    });
    println!("{:?}", nested.unwrap_err().downcast_ref::<&str>());
    println!("{:?} {:?}", i32::MAX.checked_add(1), "12x".parse::<i32>().is_err());
}
