// A fault in compiled code: the report names the function and the line, and the process dies by the signal.
//# signal: 11
//# crash: reach_into_nothing
#include <stdio.h>
__attribute__((noinline)) static int reach_into_nothing(volatile int *where) {
  return *where;
}
int main(void) {
  puts("before");
  fflush(stdout);
  return reach_into_nothing((int *)16);
}
