// Nobody catches: terminate handler, then abort.
//# signal: 6
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
static void bye() {
  try {
    throw;
  } catch (const std::exception &e) {
    std::printf("terminate: %s\n", e.what());
  }
  std::fflush(stdout);
  std::abort();
}
int main() {
  std::set_terminate(bye);
  throw std::runtime_error("nobody");
}
