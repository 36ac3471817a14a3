// Recursion, and loops with two conditions.
#include "kernel.h"

static void sort(int *values, int count) {
  while (count > 1) {
    int middle = values[count / 2], i = 0, j = count - 1;
    while (i <= j) {
      while (values[i] < middle) i++;
      while (values[j] > middle) j--;
      if (i <= j) {
        int t = values[i];
        values[i++] = values[j];
        values[j--] = t;
      }
    }
    sort(values, j + 1);
    values += i;
    count -= i;
  }
}

static uint64_t work(void) {
  enum { COUNT = 600000 };
  int *values = malloc(COUNT * sizeof *values);
  uint32_t state = 1;
  for (int i = 0; i < COUNT; i++) {
    state = state * 1664525 + 1013904223;
    values[i] = (int)(state >> 8);
  }
  sort(values, COUNT);
  uint64_t sum = 0;
  for (int i = 0; i < COUNT; i++) sum = sum * 31 + values[i];
  free(values);
  return sum;
}
