/* Rounding modes and exception flags, with the promise to the compiler that they matter; fused operations by target. */
//# libs: m
#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#pragma STDC FENV_ACCESS ON

static unsigned long bits(double x) {
  unsigned long all;
  memcpy(&all, &x, sizeof all);
  return all;
}

__attribute__((noinline)) static double chain(double a, double b, float c, int n, unsigned m) {
  double x = a / b + c;
  float narrow = (float)(x * a);
  x = narrow - (double)n / 3 + m;
  x += sqrt(a) * rint(x) - nearbyint(b) + floor(x) + (long)x + (int)narrow + (unsigned)fabs(x);
  return x * (double)(a + (unsigned long)m * 0x100000001ul);
}

static const char *flags(void) {
  static char text[8];
  int raised = fetestexcept(FE_ALL_EXCEPT);
  sprintf(text, "%c%c%c%c%c", raised & FE_INEXACT ? 'i' : '-', raised & FE_DIVBYZERO ? 'z' : '-',
          raised & FE_OVERFLOW ? 'o' : '-', raised & FE_UNDERFLOW ? 'u' : '-', raised & FE_INVALID ? 'v' : '-');
  feclearexcept(FE_ALL_EXCEPT);
  return text;
}

__attribute__((target("fma"), noinline)) static double fused(double a, double b, double c) {
#pragma STDC FP_CONTRACT ON
  return a * b + c;
}
__attribute__((noinline)) static double separate(double a, double b, double c) {
#pragma STDC FP_CONTRACT ON
  return a * b + c;
}

int main(void) {
  static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  for (int i = 0; i < 4; i++) {
    fesetround(modes[i]);
    feclearexcept(FE_ALL_EXCEPT);
    double x = chain(1.1, 0.3, 2.7f, 10, 7), y = chain(-5e9, 7.0, 1e-3f, -3, 4000000000u);
    fesetround(FE_TONEAREST);
    printf("%016lx %016lx\n", bits(x), bits(y));
  }
  volatile double zero = 0, one = 1, huge = 1e308, tiny = 1e-308;
  volatile float small = 1e-30f;
  feclearexcept(FE_ALL_EXCEPT);
  volatile double r = one / zero;
  printf("%s\n", flags());
  r = huge * 10;
  printf("%s\n", flags());
  r = tiny / 1e10;
  printf("%s\n", flags());
  r = zero / zero;
  printf("%s\n", flags());
  r = one / 4;
  printf("%s\n", flags());
  volatile float f = small * small;
  printf("%s\n", flags());
  f = (float)huge;
  printf("%s\n", flags());
  volatile int n = (int)(one / 3);
  printf("%s %d\n", flags(), n);
  (void)r, (void)f;
  double a = 1 + 0x1p-30, c = -(1 + 0x1p-29);
  printf("%016lx\n", bits(separate(a, a, c)));
  if (__builtin_cpu_supports("fma")) printf("%016lx\n", bits(fused(a, a, c)));
  return 0;
}
