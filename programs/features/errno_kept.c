#include <errno.h>
#include <stdio.h>
__attribute__((noinline)) static int first(void) { return errno; }
__attribute__((noinline)) static void second(void) {}
int main(void) {
  errno = 1234;
  int inside = first();
  second();
  int after = errno;
  printf("%d %d\n", inside, after);
  return 0;
}
