// Throw and catch: types, bases, rethrow, nesting, exception_ptr, function try blocks, cleanup on the way.
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
struct Trace {
  const char *name;
  ~Trace() { std::printf("~%s ", name); }
};
struct Base { virtual ~Base() = default; virtual int code() const { return 1; } };
struct Derived : virtual Base { int code() const override { return 2; } };
__attribute__((noinline)) static void raise(int kind) {
  Trace t{"raise"};
  switch (kind) {
    case 0: throw 42;
    case 1: throw std::runtime_error("runtime");
    case 2: throw Derived();
    case 3: throw "text";
    case 4: throw std::make_unique<int>(7);
    case 5: throw 1.5;
  }
}
__attribute__((noinline)) static void between(int kind) {
  Trace t{"between"};
  raise(kind);
}
static std::string name(int kind) {
  try {
    between(kind);
    return "none";
  } catch (int i) {
    return "int " + std::to_string(i);
  } catch (const std::exception &e) {
    return std::string("std ") + e.what();
  } catch (const Base &b) {
    return "base " + std::to_string(b.code());
  } catch (const char *s) {
    return s;
  } catch (std::unique_ptr<int> &p) {
    return "pointer " + std::to_string(*p);
  } catch (...) {
    return "unknown";
  }
}
static void nested() {
  try {
    try {
      throw std::out_of_range("inner");
    } catch (...) {
      std::throw_with_nested(std::logic_error("outer"));
    }
  } catch (const std::exception &e) {
    std::printf("%s", e.what());
    try {
      std::rethrow_if_nested(e);
    } catch (const std::out_of_range &in) {
      std::printf(" > %s\n", in.what());
    }
  }
}
struct Throwing {
  Trace part{"part"};
  explicit Throwing(bool now) try : value(now ? throw 9 : 1) {
  } catch (int) {
    std::printf("function try ");
  }
  int value;
};
int main() {
  for (int kind = 0; kind < 7; kind++) std::printf("%s\n", name(kind).c_str());
  std::exception_ptr kept;
  try {
    raise(1);
  } catch (...) {
    kept = std::current_exception();
  }
  for (int i = 0; i < 2; i++) try {
      std::rethrow_exception(kept);
    } catch (std::runtime_error &e) {
      std::printf("kept %s\n", e.what());
    }
  nested();
  try {
    Throwing now(true);
  } catch (int i) {
    std::printf("from constructor %d\n", i);
  }
  int count = 0;
  for (int i = 0; i < 1000; i++) try {
      if (i % 2) raise(5);
    } catch (double d) {
      count += d > 1;
      if (count == 3) break;
    }
  std::printf("%d %d\n", count, std::uncaught_exceptions());
  struct Unwinding { ~Unwinding() { try { throw 1; } catch (int) { std::printf("inside %d ", std::uncaught_exceptions()); } } };
  try {
    Unwinding u;
    throw 2;
  } catch (int i) {
    std::printf("outside %d\n", i);
  }
}
