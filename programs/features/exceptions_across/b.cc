#include "shape.h"
Shape::~Shape() = default;
namespace {
struct Square : Shape {
  int side;
  explicit Square(int s) : side(s) { if (s > 10) { Failure f("too large"); f.code = s; throw f; } }
  int area() const override { return side * side; }
};
} // namespace
Shape *make(int kind) { return new Square(kind == 2 ? 11 : kind + 3); }
int bump() { return ++counter() + inlined + Holder<int>::value++; }
