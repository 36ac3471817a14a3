#include <any>
#include <cstdio>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>
struct A { virtual ~A() {} virtual int f() { return 1; } };
struct B : virtual A { int f() override { return 2; } int b = 20; };
struct C : virtual A { int f() override { return 3; } int c = 30; };
struct D : B, C { int f() override { return B::f() + C::f(); } };
struct E : private A {};
template <typename T> struct Named { virtual ~Named() {} };
int main() {
  D d;
  A *a = &d;
  B *b = dynamic_cast<B *>(a);
  C *c = dynamic_cast<C *>(b);
  A plain;
  std::printf("%d %d %d %d\n", a->f(), b->b, c->c, dynamic_cast<B *>(&plain) == nullptr);
  std::printf("%s %d %d\n", typeid(*a).name(), typeid(*a) == typeid(D), dynamic_cast<void *>(c) == &d);
  try {
    dynamic_cast<B &>(plain);
  } catch (const std::bad_cast &) {
    std::puts("bad cast");
  }
  try {
    A *none = nullptr;
    std::puts(typeid(*none).name());
  } catch (const std::bad_typeid &) {
    std::puts("bad typeid");
  }
  int D::*member = &D::b;
  int (A::*method)() = &A::f;
  std::printf("%d %d %d\n", d.*member, (a->*method)(), (plain.*method)());
  std::unordered_map<std::type_index, int> types{{typeid(Named<int>), 1}, {typeid(Named<long>), 2}};
  Named<long> named;
  std::any any = 5;
  std::printf("%d %d %d\n", types[typeid(named)], any.type() == typeid(int), std::any_cast<long>(&any) == nullptr);
}
