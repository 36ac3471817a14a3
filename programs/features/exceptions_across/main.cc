// Classes, exceptions, inline variables and statics of inline functions shared by two modules.
#include "shape.h"
#include <cstdio>
#include <memory>
#include <typeinfo>
int main() {
  for (int kind = 0; kind < 3; kind++) try {
      std::unique_ptr<Shape> shape(make(kind));
      std::printf("%d %d\n", shape->area(), typeid(*shape) == typeid(Shape));
    } catch (const Failure &failure) {
      std::printf("%s %d\n", failure.what(), failure.code);
    }
  counter() += 10;
  Holder<int>::value = 3;
  std::printf("%d %d %d\n", bump(), counter(), Holder<int>::value);
}
