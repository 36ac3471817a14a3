#include <typeinfo>

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

template <typename T> struct Table {
  static constexpr T values[] = {T(1), T(2), T(3)};
  static inline T variable = T(7);
};

Base *make() { return new Bottom; }
int (Base::*method)() const = &Base::value;
int Left::*member = &Left::left;
const std::type_info *info = &typeid(Bottom);
const int *first = &Table<int>::values[1];
short *second = &Table<short>::variable;
thread_local const char *name = "thread";
