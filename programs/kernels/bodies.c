// Floating point in structures and in locals.
#include "kernel.h"

struct body {
  double x[3], v[3], mass;
};

static uint64_t work(void) {
  struct body all[5];
  for (int i = 0; i < 5; i++)
    for (int k = 0; k < 3; k++) {
      all[i].x[k] = (i * 7 + k * 3) % 11 - 5;
      all[i].v[k] = ((i * 5 + k) % 7 - 3) * 0.01;
      all[i].mass = 1 + i;
    }
  for (int step = 0; step < 100000; step++) {
    for (int i = 0; i < 5; i++)
      for (int j = i + 1; j < 5; j++) {
        double d[3], square = 0.5;
        for (int k = 0; k < 3; k++) {
          d[k] = all[i].x[k] - all[j].x[k];
          square += d[k] * d[k];
        }
        double force = 0.0001 / (square * (1 + square));
        for (int k = 0; k < 3; k++) {
          all[i].v[k] -= d[k] * all[j].mass * force;
          all[j].v[k] += d[k] * all[i].mass * force;
        }
      }
    for (int i = 0; i < 5; i++)
      for (int k = 0; k < 3; k++) all[i].x[k] += 0.001 * all[i].v[k];
  }
  double energy = 0;
  for (int i = 0; i < 5; i++)
    for (int k = 0; k < 3; k++) energy += all[i].mass * all[i].v[k] * all[i].v[k];
  return (uint64_t)(energy * 1e9);
}
