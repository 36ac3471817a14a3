// Three loops, two-dimensional arrays, a sum that is carried.
#include "kernel.h"

enum { N = 220 };
static double a[N][N], b[N][N], c[N][N];

static uint64_t work(void) {
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = i - j;
      b[i][j] = i * j % 17;
    }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      double sum = 0;
      for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  double all = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) all += c[i][j] * (i + 1);
  return (uint64_t)(int64_t)all;
}
