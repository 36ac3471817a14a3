// alloca, variable-length arrays, large frames, over-aligned locals, deep recursion.
#include <alloca.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
__attribute__((noinline)) static int variable(int n) {
  int values[n], sum = 0;
  char *text = alloca(n + 1);
  memset(text, 'x', n);
  text[n] = 0;
  for (int i = 0; i < n; i++) values[i] = i;
  for (int i = 0; i < n; i++) sum += values[i];
  return sum + (int)strlen(text);
}
__attribute__((noinline)) static int large(int n) {
  volatile char frame[1 << 20];
  frame[0] = 1, frame[n] = 2;
  return frame[0] + frame[n];
}
__attribute__((noinline)) static int aligned(void) {
  _Alignas(256) char buffer[10];
  return (uintptr_t)buffer % 256 == 0 && buffer != 0;
}
__attribute__((noinline)) static long deep(long n) { return n == 0 ? 0 : 1 + deep(n - 1); }
int main(void) {
  int total = 0;
  for (int i = 1; i < 100; i++) total += variable(i);
  printf("%d %d %d %ld\n", total, large(1000000), aligned(), deep(50000));
  return 0;
}
