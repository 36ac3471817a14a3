//# signal: 6
#include <cstdio>
static void breaks() noexcept { throw 1; }
int main() {
  std::puts("before");
  std::fflush(stdout);
  try {
    breaks();
  } catch (int) {
    std::puts("never");
  }
}
