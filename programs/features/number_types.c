/* Numbers of every format and width, through calls, variadic calls, results, structures, callbacks and memory. */
#include <complex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef _BitInt(200) wide;
typedef unsigned _BitInt(200) uwide;
typedef unsigned _BitInt(256) whole;
typedef __int128 i128;
typedef unsigned __int128 u128;

static void show(const char *name, const void *from, int bytes) {
  const unsigned char *all = from;
  printf("%-12s", name);
  for (int i = bytes; i-- > 0;) printf("%02x", all[i]);
  printf("\n");
}
#define SHOW(x) do { __typeof__(x) now = (x); show(#x, &now, sizeof now); } while (0)
#define SHOW80(x) do { long double now = (x); show(#x, &now, 10); } while (0)

__attribute__((noinline)) static long double mix(int a, long double b, double c, long double d, char e) {
  return a * b + c / d - e;
}
__attribute__((noinline)) static complex long double turn(complex long double z, long double by) {
  return z * (by + 2.0L * I);
}
__attribute__((noinline)) static _Float16 halves(_Float16 a, float b, _Float16 c) { return a * c + (_Float16)b; }
__attribute__((noinline)) static __float128 quads(__float128 a, int b, __float128 c) { return a / b + c * 3; }
__attribute__((noinline)) static long double sum(int count, ...) {
  va_list list;
  va_start(list, count);
  long double all = 0;
  for (int i = 0; i < count; i++) all += i % 2 ? va_arg(list, double) : va_arg(list, long double);
  va_end(list);
  return all;
}
struct pair { long double number; int tag; };
__attribute__((noinline)) static struct pair both(struct pair a, struct pair b) {
  return (struct pair){a.number * b.number, a.tag - b.tag};
}
struct narrow { _Float16 a, b, c; };
__attribute__((noinline)) static struct narrow shuffle(struct narrow n) {
  return (struct narrow){n.c, n.a + n.b, -n.b};
}
__attribute__((noinline)) static whole product(whole a, whole b) { return a * b + 1; }
__attribute__((noinline)) static wide difference(wide a, wide b) { return a > b ? a - b : (b - a) >> 3; }
__attribute__((noinline)) static int order(uwide a, uwide b) { return (a > b) - (a < b); }
__attribute__((noinline)) static whole shifts(whole a, unsigned by) { return a << by ^ a >> (by + 7); }

static int compare(const void *a, const void *b) {
  long double x = *(const long double *)a, y = *(const long double *)b;
  return (x > y) - (x < y);
}
__attribute__((noinline)) static const char *which(u128 n) {
  switch (n) {
  case 1: return "one";
  case (u128)1 << 64: return "two words";
  case ((u128)1 << 64) + 1: return "and one";
  case ~(u128)0: return "all";
  default: return "another";
  }
}

int main(int argc, char **argv) {
  (void)argv;
  int n = argc + 2;
  SHOW80(mix(n, 1.5L, 2.25, 0.125L, 'x'));
  complex long double z = turn(n + 0.5L * I, 0.25L);
  SHOW80(creall(z));
  SHOW80(cimagl(z));
  SHOW(halves((_Float16)n, 0.333f, (_Float16)1.1));
  SHOW(quads(n, 7, (__float128)1 / 3));
  SHOW80(sum(5, 1.0L, 2.5, 1e300L, -0.25, 3.75L));
  struct pair p = both((struct pair){n, 4}, (struct pair){1e-5L, 9});
  SHOW80(p.number);
  SHOW(p.tag);
  SHOW(shuffle((struct narrow){1, (_Float16)n, (_Float16)0.1}));
  whole a = (whole)0x123456789abcdef0u << 150 | (whole)n * 0xfedcba9876543211u, b = ~(whole)0 / 3;
  SHOW(product(a, b));
  SHOW(shifts(a, 5));
  SHOW(shifts(a, 64));
  SHOW(shifts(a, 130));
  wide c = (wide)-5 * n << 100, d = (wide)n << 190;
  SHOW((whole)difference(c, d));
  SHOW((whole)difference(d, c));
  printf("%d %d %d\n", order((uwide)c, (uwide)d), order((uwide)d, (uwide)c), order((uwide)c, (uwide)c));
  long double list[] = {3.5L, -1.0L, n, 1e-20L, 7.0L};
  qsort(list, 5, sizeof *list, compare);
  for (int i = 0; i < 5; i++) printf("%Lg%c", list[i], i < 4 ? ' ' : '\n');
  printf("%s %s %s %s %s\n", which(n - 2), which((u128)1 << 64), which(((u128)1 << 64) + n - 2), which(-(u128)(n - 2)), which(n));
  volatile double big = 1e25, small = -3.75;
  volatile float less = 1e20f;
  SHOW((i128)big);
  SHOW((u128)less);
  SHOW((i128)small);
  SHOW((double)((i128)n << 90));
  SHOW((float)(u128)-(i128)n);
  volatile long double far = 1.9e19L, near = -2.9L;
  SHOW((unsigned long)(far - 1e18L));
  SHOW((long)near);
  SHOW((short)near);
  SHOW80((long double)(unsigned long)-n);
  SHOW80((long double)(long)-n);
  SHOW80((long double)(i128)-n);
  SHOW((double)far);
  SHOW((float)far);
  SHOW((__float128)far);
  SHOW80((long double)(__float128)small);
  SHOW((_Float16)small);
  SHOW((_Float16)65519.0f);
  SHOW((_Float16)65520.0f);
  SHOW((double)(_Float16)6e-8f);
  SHOW((int)(_Float16)small);
  SHOW((__float128)(_Float16)small);
  SHOW((int)(__float128)small);
  SHOW((__float128)(u128)-(i128)n);
  printf("%d%d%d%d%d%d\n", near < 0, near > 0, near == -2.9L, near != near, far >= 1.9e19L, far <= near);
  __float128 q = n, r = q / 3;
  _Float16 h = (_Float16)n, k = h / 3;
  printf("%d%d%d%d %d%d%d%d\n", q < r, q > r, q == r * 3, q != r, h < k, h > k, h == k * 3, h != k);
  i128 over;
  printf("%d", __builtin_mul_overflow((i128)n << 120, (i128)n, &over));
  SHOW(over);
  printf("%d", __builtin_mul_overflow(-((i128)n << 60), (i128)n << 61, &over));
  SHOW(over);
  u128 past;
  printf("%d", __builtin_mul_overflow((u128)n << 64, (u128)n << 62, &past));
  SHOW(past);
  printf("%d %d\n", __builtin_popcountg((u128)n << 70 | 5), __builtin_clzg((u128)n << 70));
  return 0;
}
