//# flags: -std=c++20
#include <coroutine>
#include <cstdio>
#include <exception>
#include <utility>
template <typename T> struct Generator {
  struct promise_type {
    T value;
    std::exception_ptr failure;
    Generator get_return_object() { return Generator{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(T v) { value = v; return {}; }
    void return_void() {}
    void unhandled_exception() { failure = std::current_exception(); }
  };
  std::coroutine_handle<promise_type> handle;
  explicit Generator(std::coroutine_handle<promise_type> h) : handle(h) {}
  ~Generator() { handle.destroy(); }
  bool next() {
    handle.resume();
    if (handle.promise().failure) std::rethrow_exception(std::exchange(handle.promise().failure, nullptr));
    return !handle.done();
  }
};
static Generator<long> fibonacci(int n) {
  struct Leave { ~Leave() { std::puts("left"); } } leave;
  long a = 0, b = 1;
  for (int i = 0; i < n; i++) {
    co_yield a;
    a = std::exchange(b, a + b);
  }
  throw 5;
}
int main() {
  auto numbers = fibonacci(10);
  try {
    while (numbers.next()) std::printf("%ld ", numbers.handle.promise().value);
  } catch (int i) {
    std::printf("caught %d\n", i);
  }
  auto abandoned = fibonacci(3);
  abandoned.next();
}
