// Threads, channels, scoped threads, mutexes, thread-local values with destructors.
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, RwLock, mpsc};
use std::thread;

static DROPPED: AtomicUsize = AtomicUsize::new(0);
static ONCE: OnceLock<String> = OnceLock::new();

struct Noisy(usize);
impl Drop for Noisy {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0, Ordering::SeqCst);
    }
}
thread_local! {
    static LOCAL: RefCell<Noisy> = const { RefCell::new(Noisy(1)) };
    static LAZY: RefCell<Vec<usize>> = RefCell::new(vec![7]);
}

fn main() {
    let (send, receive) = mpsc::channel();
    let barrier = Arc::new(Barrier::new(4));
    let shared = Arc::new(Mutex::new(HashMap::new()));
    let handles: Vec<_> = (0..4)
        .map(|i| {
            let (send, barrier, shared) = (send.clone(), Arc::clone(&barrier), Arc::clone(&shared));
            thread::Builder::new()
                .name(format!("worker {i}"))
                .spawn(move || {
                    barrier.wait();
                    LOCAL.with_borrow_mut(|noisy| noisy.0 = i + 10);
                    LAZY.with_borrow_mut(|list| list.push(i));
                    ONCE.get_or_init(|| "once".to_owned());
                    *shared.lock().unwrap().entry(i % 2).or_insert(0) += i;
                    send.send((i, thread::current().name().unwrap().to_owned())).unwrap();
                    LAZY.with_borrow(|list| list.iter().sum::<usize>())
                })
                .unwrap()
        })
        .collect();
    drop(send);
    let sums: Vec<usize> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
    let mut names: Vec<_> = receive.iter().collect();
    names.sort();
    println!("{sums:?} {names:?}");
    println!("{} {}", DROPPED.load(Ordering::SeqCst), ONCE.get().unwrap());
    let sorted: BTreeMap<_, _> = shared.lock().unwrap().iter().map(|(k, v)| (*k, *v)).collect();
    println!("{sorted:?}");
    let mut parts = [0_u64; 8];
    let lock = RwLock::new(3_u64);
    thread::scope(|scope| {
        for (i, part) in parts.iter_mut().enumerate() {
            let lock = &lock;
            scope.spawn(move || *part = (0..1000 * i as u64).map(|x| x * *lock.read().unwrap()).sum());
        }
    });
    println!("{parts:?}");
    let poisoned = Mutex::new(1);
    let _ = thread::scope(|scope| scope.spawn(|| {
        let _guard = poisoned.lock().unwrap();
        std::panic::resume_unwind(Box::new("quiet"));
    }).join());
    println!("{}", poisoned.is_poisoned());
}
