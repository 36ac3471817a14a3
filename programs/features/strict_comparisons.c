/* Comparisons that signal and that do not, conversions, lanes and functions, under all rounding modes, each with the
   exceptions that it raises. */
//# libs: m
//# flags: -ffp-model=strict
#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef float v3f __attribute__((ext_vector_type(3)));
typedef float v4f __attribute__((vector_size(16)));
typedef double v2d __attribute__((vector_size(16)));
typedef int v4i __attribute__((vector_size(16)));
typedef long v2l __attribute__((vector_size(16)));

static const char *flags(void) {
  static char text[4][8];
  static int turn;
  char *to = text[turn++ & 3];
  int raised = fetestexcept(FE_ALL_EXCEPT);
  sprintf(to, "%c%c%c%c%c", raised & FE_INEXACT ? 'i' : '-', raised & FE_DIVBYZERO ? 'z' : '-',
          raised & FE_OVERFLOW ? 'o' : '-', raised & FE_UNDERFLOW ? 'u' : '-', raised & FE_INVALID ? 'v' : '-');
  feclearexcept(FE_ALL_EXCEPT);
  return to;
}

#define COMPARISONS(NAME, T)                                                                                           \
  __attribute__((noinline)) static void NAME(T a, T b) {                                                               \
    feclearexcept(FE_ALL_EXCEPT);                                                                                      \
    int loud = (a < b) | (a <= b) << 1 | (a > b) << 2 | (a >= b) << 3;                                                 \
    const char *first = flags();                                                                                       \
    int quiet = (a == b) | (a != b) << 1 | isless(a, b) << 2 | islessequal(a, b) << 3 | isgreater(a, b) << 4 |         \
                isgreaterequal(a, b) << 5 | isunordered(a, b) << 6 | islessgreater(a, b) << 7 | (!isless(a, b)) << 8;  \
    const char *second = flags();                                                                                      \
    int classes = isnan(a) | isinf(a) << 1 | isnormal(a) << 2 | isfinite(a) << 3 | (a ? 16 : 0);                       \
    printf(#NAME " %x %s %x %s %x %s\n", loud, first, quiet, second, classes, flags());                                \
  }
COMPARISONS(floats, float)
COMPARISONS(doubles, double)
COMPARISONS(long_doubles, long double)

#define CONVERSIONS(NAME, T)                                                                                           \
  __attribute__((noinline)) static void NAME(T x) {                                                                    \
    feclearexcept(FE_ALL_EXCEPT);                                                                                      \
    long a = (long)x;                                                                                                  \
    const char *first = flags();                                                                                       \
    unsigned long b = (unsigned long)x;                                                                                \
    const char *second = flags();                                                                                      \
    unsigned c = (unsigned)x;                                                                                          \
    int d = (int)x;                                                                                                    \
    const char *third = flags();                                                                                       \
    unsigned __int128 e = (unsigned __int128)x;                                                                        \
    printf(#NAME " %ld %s %lu %s %u %d %s %lx%016lx\n", a, first, b, second, c, d, third, (long)(e >> 64), (long)e);   \
  }
CONVERSIONS(from_float, float)
CONVERSIONS(from_double, double)
CONVERSIONS(from_long_double, long double)

__attribute__((noinline)) static void to_floats(unsigned long u, long s, __int128 w) {
  float a = u, b = s, c = w;
  double d = u, e = s, f = w;
  long double g = u, h = s, i = w;
  printf("%a %a %a %a %a %a %La %La %La\n", a, b, c, d, e, f, g, h, i);
}

__attribute__((noinline)) static void functions(double x, float y, long double z) {
  feclearexcept(FE_ALL_EXCEPT);
  printf("%a %a %a %a %a %a %a", floor(x), ceil(x), trunc(x), round(x), rint(x), nearbyint(x), sqrt(fabs(x)));
  printf(" %ld %lld %ld %lld %s\n", lrint(x), llrint(x), lround(x), llround(x), flags());
  printf("%a %a %a %a %a %ld", floorf(y), ceilf(y), rintf(y), fmaf(y, y, 1e-30f), fminf(y, 2), lrintf(y));
  printf(" %La %La %La %La %La %La %ld %s\n", floorl(z), ceill(z), rintl(z), fmal(z, z, 1e-300L), sqrtl(fabsl(z)),
         fmaxl(z, 1), lrintl(z), flags());
  printf("%a %a %La %a %s\n", fma(x, x, -1e-300), ldexp(x, 3), fmodl(z, 0.7L), fmod(x, 0.3), flags());
}

__attribute__((noinline)) static void lanes(v4f a, v4f b, v2d c, v2d d, v3f e, v3f f) {
  feclearexcept(FE_ALL_EXCEPT);
  v4i less = a < b, same = a == b;
  const char *first = flags();
  v2l more = c >= d;
  v4f q = a / b;
  v3f r = e / f;
  v2d s = c + d * d;
  printf("%x%x%x%x %x%x%x%x %s %lx%lx %s\n", less[0], less[1], less[2], less[3], same[0], same[1], same[2], same[3],
         first, more[0], more[1], flags());
  printf("%a %a %a %a %a %a %a %a %a\n", q[0], q[1], q[2], q[3], r[0], r[1], r[2], s[0], s[1]);
  v4i t = __builtin_convertvector(a * 10, v4i);
  v2d u = __builtin_convertvector((v2l){(1l << 53) + 1, -3}, v2d);
  printf("%d %d %d %d %a %a\n", t[0], t[1], t[2], t[3], u[0], u[1]);
}

int main(void) {
  static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  volatile double numbers[] = {0.0, -0.0, 1.5, -2.5, 1e300, INFINITY, -INFINITY, NAN, 5e-324, 0.1};
  enum { COUNT = sizeof numbers / sizeof *numbers };
  for (int i = 0; i < COUNT; i++)
    for (int j = 0; j < COUNT; j++) {
      floats(numbers[i], numbers[j]);
      doubles(numbers[i], numbers[j]);
      long_doubles(numbers[i], numbers[j]);
    }
  doubles(__builtin_nans(""), 1);
  long_doubles(__builtin_nansl(""), 1);
  for (int i = 0; i < 4; i++) {
    fesetround(modes[i]);
    printf("mode %d\n", __builtin_flt_rounds());
    static volatile double wholes[] = {0.0, 1.5, -1.5, 2.5, 3e9, 9.3e18, 1.7e19, 9223372036854775808.0, 12345678.9};
    for (unsigned at = 0; at < sizeof wholes / sizeof *wholes; at++) {
      if (wholes[at] > -1) from_float(wholes[at]);
      if (wholes[at] > -1) from_double(wholes[at]);
      if (wholes[at] > -1) from_long_double(wholes[at]);
      functions(wholes[at] / 1e4, wholes[at] / 3e5, wholes[at] / 7e4);
    }
    to_floats(0, 0, 0);
    to_floats(0xfffffffffffffbfful, 0x7ffffffffffffdffl, -((__int128)0x7ffffffffffffff1 << 40));
    to_floats(0x8000000000000401ul, -0x7fffff8000000001l, (__int128)0x123456789abcdef << 57 | 1);
    lanes((v4f){1, 2, 3, NAN}, (v4f){3, 2, 7, 1}, (v2d){1, 2}, (v2d){0.3, 1e-9}, (v3f){1, 2, 4}, (v3f){3, 3, 3});
    lanes((v4f){1, 2, 3, 4}, (v4f){3, 2, 7, 1}, (v2d){1, NAN}, (v2d){0.3, 1}, (v3f){1, 2, 4}, (v3f){3, 3, 3});
    fesetround(FE_TONEAREST);
  }
  return 0;
}
