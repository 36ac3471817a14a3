// Every argument register reaches a function that is not compiled yet, vector registers and the hidden result pointer too.
#include <stdio.h>
typedef double v4d __attribute__((vector_size(32)));
struct result { double sum; long parts[8]; };
__attribute__((noinline)) struct result all(long a, long b, long c, long d, long e, double f, double g, double h, double i, double j,
                                            double k, double l, double m, long n, long o, double p) {
  return (struct result){f + g * 2 + h * 3 + i * 4 + j * 5 + k * 6 + l * 7 + m * 8 + p * 9, {a, b, c, d, e, n, o}};
}
__attribute__((noinline, target("avx"))) double wide(v4d a, v4d b, v4d c) { return a[0] + b[1] * 2 + c[3] * 3 + a[2] * 4; }
__attribute__((noinline)) long nested(long x) {
  struct result r = all(x, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
  return r.parts[0] + r.parts[6];
}
__attribute__((target("avx"))) static double call_wide(void) { return wide((v4d){1, 2, 3, 4}, (v4d){5, 6, 7, 8}, (v4d){9, 10, 11, 12}); }
int main(void) {
  struct result r = all(1, 2, 3, 4, 5, .5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 6, 7, 8.5);
  printf("%g %ld%ld%ld%ld%ld%ld%ld %ld\n", r.sum, r.parts[0], r.parts[1], r.parts[2], r.parts[3], r.parts[4], r.parts[5], r.parts[6], nested(40));
  printf("%g\n", __builtin_cpu_supports("avx") ? call_wide() : 61.0);
  return 0;
}
