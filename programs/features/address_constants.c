/* Addresses as constants: in lanes of vectors, as distances, and far from their symbols. */
#include <stdint.h>
#include <stdio.h>
typedef uintptr_t v2u __attribute__((vector_size(16)));
typedef uintptr_t v4u __attribute__((vector_size(32)));

static int here[8];
int there[4];
static char large[40 << 20];
extern char **environ;
__attribute__((section("listed"), used)) static int first = 3;
__attribute__((section("listed"), used)) static int second = 4;
extern int __start_listed[], __stop_listed[];
extern int missing __attribute__((weak));

__attribute__((noinline)) static int one(void) { return 1; }
struct entry {
  int *a;
  void *b;
  int (*c)(void);
  void *d;
};

__attribute__((noinline)) static void fill(struct entry *e, int turn) {
  for (int i = 0; i < 2; i++) e[i] = (struct entry){&here[3], &there[1], one, large + (33 << 20)};
  if (turn) e[1] = (struct entry){&there[2], &here[0], 0, &environ};
}

__attribute__((noinline)) static uintptr_t lanes(int which) {
  v2u a = {(uintptr_t)&here[1], (uintptr_t)&there[3]};
  v4u b = {(uintptr_t)one, 7, (uintptr_t)&here[2], (uintptr_t)&missing};
  v2u base = {(uintptr_t)&here[0], (uintptr_t)&there[0]};
  v2u d = which ? a - base : base - a;
  return d[0] * 1000 + d[1] + (b[0] == (uintptr_t)one) + b[1] + (b[2] - (uintptr_t)here) + b[3];
}

__attribute__((noinline)) static long choose(int which, long sum) {
  for (int i = 0; i < 3; i++) sum = which ? (char *)&here[i] - (char *)here + sum : (char *)__stop_listed - (char *)__start_listed;
  return sum;
}

int main(void) {
  struct entry e[2];
  fill(e, 1);
  printf("%d %d %d\n", e[0].a == here + 3, e[0].b == there + 1, e[0].c());
  printf("%d %d %d %d\n", e[1].a == there + 2, e[1].b == here, e[1].c == 0, e[1].d == &environ);
  printf("%ld\n", (long)((char *)e[0].d - large));
  large[33 << 20] = 5;
  printf("%d\n", *(char *)e[0].d);
  printf("%lu %lu\n", (unsigned long)lanes(1), (unsigned long)lanes(0));
  printf("%ld %ld %d\n", choose(1, 4), choose(0, 4), __start_listed[0] + __start_listed[1]);
  printf("%ld %d\n", (long)(__stop_listed - __start_listed), &missing == 0);
  return 0;
}
