/* Vectors of 256 bits as arguments and results, in YMM registers, in memory and behind `...`, with AVX and without. */
//# libs: m
//# flags: -Wno-psabi
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef float v8f __attribute__((vector_size(32)));
typedef double v4d __attribute__((vector_size(32)));
typedef int v8i __attribute__((vector_size(32)));
typedef short v16s __attribute__((vector_size(32)));
typedef float v4f __attribute__((vector_size(16)));
typedef float v6f __attribute__((ext_vector_type(6)));
typedef long v3l __attribute__((ext_vector_type(3)));
struct two { v4d a, b; };
struct mixed { v8f v; long n; };

#define AVX __attribute__((target("avx"), noinline))
#define AVX512 __attribute__((target("avx512f,avx512vl"), noinline))
#define EACH(n) for (int i = 0; i < (n); i++)

AVX static v8f add(v8f a, v8f b) { return a + b; }
AVX static v4d scale(double by, v4d a, int turn) { return turn ? a * by : a; }
AVX static v8i eleven(v8i a, v8i b, v8i c, v8i d, v8i e, v8i f, v8i g, v8i h, v8i i, v8i j, v4f k) {
  return a + b * 2 + c * 3 + d * 4 + e * 5 + f * 6 + g * 7 + h * 8 + i * 9 + j * 10 + (int)k[3];
}
AVX static struct two both(struct two t, v4d c) { return (struct two){t.b + c, t.a - c}; }
AVX static struct mixed mix(struct mixed m) {
  EACH(8) m.v[i] += m.n;
  m.n *= 2;
  return m;
}
AVX static v6f six(v6f a, v3l b) {
  EACH(6) a[i] += b[i % 3];
  return a;
}
AVX static v16s shuffle(v16s a) { return __builtin_shufflevector(a, a, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
AVX static v8i callback(v8i (*f)(v8i, v8i, long), v8i a) { return f(a, a + 1, 5); }
AVX static v8i times(v8i a, v8i b, long n) { return a * b + (int)n; }
AVX static v4d sum(int count, ...) {
  va_list list;
  va_start(list, count);
  v4d total = {};
  for (int i = 0; i < count; i++) {
    total += va_arg(list, v4d);
    total[0] += va_arg(list, int);
    total[1] += va_arg(list, double);
  }
  va_end(list);
  return total;
}
AVX static v4d deep(int n, v4d a) {
  if (n == 0) return a;
  v4d below = deep(n - 1, a + n);
  EACH(4) below[i] += sqrt(a[i]) > 1e6;
  return below + a;
}
AVX512 static v8f masked(v8f a, v8f b) { return __builtin_elementwise_max(a, b); }
__attribute__((noinline)) static v8i plain(v8i a, v8i b) { return a - b; }

AVX static void show_floats(const char *what, v8f a) {
  printf("%s", what);
  EACH(8) printf(" %g", a[i]);
  printf("\n");
}
AVX static void show(const char *what, v8i a) {
  printf("%s", what);
  EACH(8) printf(" %d", a[i]);
  printf("\n");
}
AVX static void show_doubles(const char *what, v4d a) { printf("%s %g %g %g %g\n", what, a[0], a[1], a[2], a[3]); }

AVX static void all(int n) {
  v8f a = {1, 2, 3, 4, 5, 6, 7, 8}, b = {.5f, .25f, 0, -1, -2, -3, -4, (float)n};
  show_floats("add", add(a, add(b, a)));
  v4d d = {1.5, 2.5, -3.5, n};
  show_doubles("scale", scale(2, d, n));
  v8i x = {n, 1, 2, 3, 4, 5, 6, 7}, y = x * 3;
  show("eleven", eleven(x, y, x + 1, y + 1, x - 2, y - 2, x * 5, y * 5, x - y, y - x, (v4f){1, 2, 3, 4}));
  struct two t = both((struct two){d, d * 3}, d + 1);
  show_doubles("both", t.a);
  show_doubles("both", t.b);
  struct mixed m = mix((struct mixed){a, n});
  show_floats("mix", m.v);
  v6f s = six((v6f){1, 2, 3, 4, 5, 6}, (v3l){10, 20, 30});
  printf("six %g %g %g %ld\n", s[0], s[3], s[5], m.n);
  show("shuffle", (v8i)shuffle((v16s)x));
  show("callback", callback(times, x));
  show_doubles("sum", sum(3, d, 1, 2.0, d * 2, 3, 4.0, scale(3, d, 1), 5, 6.0));
  show_doubles("deep", deep(5, d));
}
AVX512 static void masks(int n) {
  v8f a = masked((v8f){1, -2, 3, -4, 5, -6, 7, -8}, (v8f){0, 0, 4, 0, 0, 0, 9, (float)n});
  EACH(8) printf("%g ", a[i]);
  printf("\n");
}
int main(void) {
  v8i x = {1, 2, 3, 4, 5, 6, 7, 8}, y = plain(x, x * x);
  EACH(8) printf("%d ", y[i]);
  printf("\n");
  if (__builtin_cpu_supports("avx")) all(9);
  if (__builtin_cpu_supports("avx512vl")) masks(2);
  return 0;
}
