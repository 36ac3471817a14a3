//# signal: 8
//# crash: divide
#include <stdio.h>
__attribute__((noinline)) static int divide(volatile int *by) { return 100 / *by; }
int main(void) {
  int zero = 0;
  return divide(&zero);
}
