#include <stdexcept>
struct Shape {
  virtual ~Shape();
  virtual int area() const = 0;
};
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
  int code = 0;
};
Shape *make(int kind);
inline int &counter() {
  static int count = 0;
  return count;
}
inline int inlined = (++counter(), 5);
template <typename T> struct Holder { static inline T value = T(); };
int bump();
