// An indirect function: its resolver runs before the first constructor. (Equality of its pointers is not asked for:
// clang and GNU ld give a position-independent program two.)
#include <stdio.h>
static int chosen;
static int plain(int x) { return x + 1; }
static int fancy(int x) { return x + 2; }
static int (*resolve(void))(int) { __builtin_cpu_init(); return __builtin_cpu_supports("sse2") ? fancy : plain; }
int pick(int x) __attribute__((ifunc("resolve")));
static int (*pointer)(int) = pick;
__attribute__((constructor)) static void early(void) { chosen = pick(10); }
int main(void) {
  printf("%d %d %d\n", chosen, pick(1), pointer(2));
  return 0;
}
