// The rounding mode and the exception flags live across the first call of a function, and across its compile.
//# flags: -frounding-math
//# libs: m
#include <fenv.h>
#include <stdio.h>
volatile double one = 1, three = 3, tiny = 1e-310;
__attribute__((noinline)) double divide_down(void) { return one / three; }
__attribute__((noinline)) double divide_up(void) { return one / three; }
__attribute__((noinline)) double divide_zero(void) { return one / three; }
__attribute__((noinline)) long double wide(void) { return (long double)one / three; }
__attribute__((noinline)) void nothing(void) {}
int main(void) {
  fesetround(FE_DOWNWARD);
  double down = divide_down();
  int mode_after = fegetround() == FE_DOWNWARD;
  fesetround(FE_UPWARD);
  double up = divide_up();
  long double wide_up = wide();
  fesetround(FE_TOWARDZERO);
  double zero = divide_zero();
  fesetround(FE_TONEAREST);
  feclearexcept(FE_ALL_EXCEPT);
  feraiseexcept(FE_OVERFLOW);
  nothing();
  printf("%a %a %a %La %d %d\n", down, up, zero, wide_up, mode_after, fetestexcept(FE_ALL_EXCEPT) == FE_OVERFLOW);
  return 0;
}
