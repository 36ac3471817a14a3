// Collections, strings, formatting, iterators, traits, files, arguments, environment, a process, exit code.
//# args: first --second=2
//# env: KILN_TEST_RUST=yes
//# stdin: 3\n4\n
//# exit: 17
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt::{self, Display};
use std::io::{self, BufRead, Read, Seek, Write};

trait Shape {
    fn area(&self) -> f64;
    fn name(&self) -> String {
        "shape".to_owned()
    }
}
struct Square(f64);
struct Circle {
    radius: f64,
}
impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}
impl Shape for Circle {
    fn area(&self) -> f64 {
        std::f64::consts::PI * self.radius.powi(2)
    }
    fn name(&self) -> String {
        format!("circle {:.1}", self.radius)
    }
}
struct Matrix<const N: usize>([[i128; N]; N]);
impl<const N: usize> Display for Matrix<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|row| writeln!(f, "{row:?}"))
    }
}
fn words(text: &str) -> HashMap<&str, usize> {
    text.split_whitespace().fold(HashMap::new(), |mut map, word| {
        *map.entry(word).or_default() += 1;
        map
    })
}
fn main() -> io::Result<()> {
    println!("{:?} {:?}", std::env::args().skip(1).collect::<Vec<_>>(), std::env::var("KILN_TEST_RUST"));
    let sum: i32 = io::stdin().lock().lines().map(|line| line.unwrap().parse::<i32>().unwrap()).sum();
    println!("{sum}");
    let shapes: [Box<dyn Shape>; 2] = [Box::new(Square(1.5)), Box::new(Circle { radius: 2.0 })];
    for shape in &shapes {
        println!("{:<12}|{:>8.3}|", shape.name(), shape.area());
    }
    let mut counts: Vec<_> = words("the cat and the dog and the bird").into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    println!("{counts:?}");
    let mut heap: BinaryHeap<_> = [3, 1, 4, 1, 5, 9, 2, 6].into_iter().collect();
    let top: Vec<_> = std::iter::from_fn(|| heap.pop()).take(3).collect();
    let set: BTreeSet<_> = "mississippi".chars().collect();
    let mut queue: VecDeque<_> = (1..=5).collect();
    queue.rotate_left(2);
    println!("{top:?} {set:?} {queue:?} {}", HashSet::from([1, 2, 3]).is_superset(&HashSet::from([2])));
    print!("{}", Matrix([[1, -2], [i128::MAX, 4]]));
    println!("{:#x} {:>+8.2e} {:?} {}", 255, 1234.5_f32, "tab\t\"é\"", 'ß'.to_uppercase());
    println!("{:?} {:?}", "a,b,,c".split(',').collect::<Vec<_>>(), "日本語".char_indices().nth(1));
    println!("{} {:?} {}", u64::MAX.leading_zeros(), 7_i32.checked_div(0), (0.1_f64 + 0.2).to_string());
    let path = std::path::PathBuf::from("file.txt");
    let mut file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    file.write_all(b"hello file")?;
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    std::fs::remove_file(&path)?;
    println!("{text} {}", path.exists());
    let output = std::process::Command::new("sh").args(["-c", "echo from sh; exit 3"]).output()?;
    println!("{} {:?}", String::from_utf8_lossy(&output.stdout).trim(), output.status.code());
    println!("{:?}", std::fs::File::open("/nonexistent").map_err(|error| error.kind()).err());
    let closure: Box<dyn Fn(i32) -> i32> = { let by = sum; Box::new(move |x| x * by) };
    println!("{}", (1..=4).map(|x| closure(x)).filter(|x| x % 2 == 1).chain([100]).rev().map(|x| x.to_string()).collect::<Vec<_>>().join("-"));
    io::stdout().flush()?;
    std::process::exit(17)
}
