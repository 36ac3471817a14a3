//# signal: 6
//# flags: -Cpanic=abort
fn main() {
    println!("before");
    panic!("aborts");
}
