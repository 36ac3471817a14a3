// A threaded interpreter: addresses of labels in a static table, and as differences.
#include <stdio.h>
static long run(const unsigned char *code) {
  static const void *const table[] = {&&push, &&add, &&mul, &&dup, &&loop, &&halt};
  static const int offsets[] = {(int)((char *)&&push - (char *)&&push), (int)((char *)&&halt - (char *)&&push)};
  long stack[16], *top = stack;
  int turns = 0;
  const unsigned char *start = code;
#define NEXT goto *table[*code++]
  NEXT;
push: *top++ = *code++; NEXT;
add: top--; top[-1] += top[0]; NEXT;
mul: top--; top[-1] *= top[0]; NEXT;
dup: *top = top[-1]; top++; NEXT;
loop: if (++turns < *code) { code = start; NEXT; } code++; NEXT;
halt: return top[-1] + (offsets[0] == 0) + (offsets[1] != 0);
}
static long local_table(int which) {
  void *table[] = {&&a, &&b};
  goto *table[which];
a: return 1;
b: return 2;
}
int main(void) {
  static const unsigned char program[] = {0, 2, 0, 3, 1, 3, 2, 0, 7, 1, 4, 4, 5};
  printf("%ld %ld %ld\n", run(program), local_table(0), local_table(1));
  return 0;
}
