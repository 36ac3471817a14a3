// A panic nobody catches ends with 101.
//# exit: 101
struct Guard;
impl Drop for Guard {
    fn drop(&mut self) {
        println!("dropped");
    }
}
fn main() {
    let _guard = Guard;
    println!("before");
    panic!("the end");
}
