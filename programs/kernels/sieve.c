// Bytes, a loop in a loop, few operations.
#include "kernel.h"

static uint64_t work(void) {
  enum { LIMIT = 4000000 };
  char *composite = calloc(LIMIT, 1);
  uint64_t sum = 0;
  for (int i = 2; i < LIMIT; i++) {
    if (composite[i]) continue;
    sum += i;
    for (long j = (long)i * i; j < LIMIT; j += i) composite[j] = 1;
  }
  free(composite);
  return sum;
}
