//# libs: m
#include <math.h>
#include <stdio.h>
static long double poly(long double x, int n) {
  long double r = 0;
  while (n-- > 0) r = r * x + n;
  return r;
}
int main(void) {
  long double third = 1.0L / 3;
  printf("%.20Lf %.18Lg\n", third, poly(third, 9));
  printf("%.15Lg %.15Lg %.15Lg\n", sqrtl(2), powl(1.5L, 20.5L), fmodl(1e20L, 7));
  printf("%d %lld %Lg\n", (int)-2.9L, (long long)9007199254740993.0L, (long double)0x7fffffffffffffffLL + 1);
  double d = (double)(third * 3);
  float f = (float)third;
  printf("%.17g %.9g %d\n", d, f, third != (double)third);
  return 0;
}
