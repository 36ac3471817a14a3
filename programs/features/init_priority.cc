// Objects with priorities, a function static, a thread_local and atexit, in construction and in destruction.
#include <cstdio>
#include <cstdlib>
struct Noisy {
  const char *name;
  explicit Noisy(const char *n) : name(n) { std::printf("+%s\n", name); }
  ~Noisy() { std::printf("-%s\n", name); }
};
Noisy ordinary("ordinary");
__attribute__((init_priority(2000))) Noisy second("second");
__attribute__((init_priority(1000))) Noisy first("first");
thread_local Noisy per_thread("per thread");
Noisy &local() {
  static Noisy kept("function static");
  return kept;
}
int main() {
  std::atexit([] { std::puts("atexit"); });
  std::puts("main");
  std::puts(local().name);
  std::puts(per_thread.name);
  local();
}
