// Ordinary C++: virtual tables, type information, inline and static variables, exceptions, thread-locals.
#include <stdexcept>
#include <string>
#include <vector>

struct Base {
  virtual ~Base() = default;
  virtual int value() const { return 1; }
};
struct Left : virtual Base {
  int value() const override { return 2; }
  int left = 3;
};
struct Right : virtual Base {
  double right = 4.0;
};
struct Bottom : Left, Right {
  int value() const override { return 5; }
};

template <typename T> struct Counter {
  static inline thread_local T count{};
  static T next() { return ++count; }
};

static std::vector<std::string> names{"one", "two", "three"};
const char *const table[] = {"alpha", "beta", nullptr, "gamma"};
long double wide = 1.25L;
__int128 huge = -1;
int Base::*member = nullptr;
int (Base::*method)() const = &Base::value;
__attribute__((constructor(200))) void early() { names.push_back("early"); }
__attribute__((weak)) int weak_function(int x) { return x; }
__attribute__((visibility("hidden"), aligned(128), section("special"))) int placed = 7;

int main(int argc, char **) {
  Bottom bottom;
  try {
    if (argc > 5)
      throw std::runtime_error("too many");
    return static_cast<Base &>(bottom).value() + Counter<int>::next() + int(names.size());
  } catch (const std::exception &e) {
    return int(std::string(e.what()).size());
  }
}
