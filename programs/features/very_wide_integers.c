/* Integers of over 128 bits: division, multiplication, conversions from and to floating point. */
#include <stdio.h>
typedef unsigned _BitInt(256) u256;
typedef _BitInt(256) s256;
typedef _BitInt(200) s200;
typedef unsigned _BitInt(129) u129;
typedef unsigned _BitInt(900) u900;
#define NO __attribute__((noinline)) static

NO void show(const char *what, u256 x) {
  printf("%s %016lx%016lx%016lx%016lx\n", what, (unsigned long)(x >> 192), (unsigned long)(x >> 128),
         (unsigned long)(x >> 64), (unsigned long)x);
}
NO u256 divide(u256 a, u256 b) { return a / b; }
NO u256 remain(u256 a, u256 b) { return a % b; }
NO s256 divide_signed(s256 a, s256 b) { return a / b; }
NO s256 remain_signed(s256 a, s256 b) { return a % b; }
NO s200 odd(s200 a, s200 b) { return a / b * 3 + a % b; }
NO u129 small(u129 a, u129 b) { return a / b + a % b; }
NO u900 big(u900 a, u900 b) { return a / b * (a % b) + (a >> 400) * (b | 1); }
NO void convert(s256 a) {
  printf("%a %a %a\n", (double)a, (float)(a >> 140), (double)(u256)a);
  printf("%a %a %a\n", (double)(s200)a, (float)((u129)a >> 2), (double)(_Float16)(s200)(a >> 244));
}
NO void back(double d, float f, long double l) {
  show("double", (s256)d);
  show("float", (s256)f);
  show("long double", (s256)l);
  show("unsigned", (u256)(d < 0 ? -d : d));
  show("odd", (u256)(s200)f);
}
NO void show_long(u900 x) {
  for (int at = 0; at < 900; at += 100) printf("%lx ", (unsigned long)(x >> at));
  printf("\n");
}

int main(void) {
  u256 a = ((u256)0x123456789abcdef0 << 192) | ((u256)0xfedcba9876543210 << 100) | 0x1111;
  u256 all = ~(u256)0, top = (u256)1 << 255;
  u256 numbers[] = {a, all, top, top - 1, 1, 3, 10, (u256)1 << 64, ((u256)1 << 128) - 1, a >> 70, a >> 200, ((u256)7 << 190) + 5};
  int count = sizeof numbers / sizeof *numbers;
  for (int i = 0; i < count; i++)
    for (int j = 0; j < count; j++) {
      u256 x = numbers[i], y = numbers[j];
      show("u", divide(x, y));
      show("u", remain(x, y));
      if (!(x == top && y == all)) {
        show("s", divide_signed(x, y));
        show("s", remain_signed(x, y));
      }
      s200 p = (s200)x, q = (s200)y;
      if (q && q != -1) show("odd", (u256)odd(p, q));
      if ((u129)y) show("small", small(x, y));
    }
  u900 b = ((u900)a << 500) | ((u900)a << 200) | 77;
  show_long(big(b, b >> 333));
  show_long(big(~(u900)0, b));
  for (int i = 0; i < count; i++) {
    convert(numbers[i]);
    convert(-numbers[i]);
  }
  convert(0);
  /* Halfway cases, and what lies just above them. */
  for (int shift = 0; shift < 150; shift += 37) {
    convert((s256)((1l << 54) + 2) << shift);
    convert((s256)((1l << 54) + 6) << shift);
    convert(((s256)((1l << 54) + 2) << shift) + 1);
    convert(-((s256)((1l << 53) + 1) << shift));
  }
  double ds[] = {0, -0.0, 0.5, -0.99, 1, -1.5, 1e15, 4503599627370497.0, -9e18, 1.8e19, 3e38, -3e38, 5e70, -1.25e75, 4e-310};
  for (unsigned i = 0; i < sizeof ds / sizeof *ds; i++) back(ds[i], ds[i] > 1e38 || ds[i] < -1e38 ? 1e30f : (float)ds[i], ds[i]);
  back(1, 16777217.0f, 18446744073709551615.0L);
  back(1, -1.5e38f, -1.23456789e60L);
  return 0;
}
