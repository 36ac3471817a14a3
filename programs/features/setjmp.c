#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static jmp_buf out;
static sigjmp_buf from_handler;
__attribute__((noinline)) static void deep(int n) {
  if (n == 0) longjmp(out, 42);
  deep(n - 1);
}
static int compare(const void *a, const void *b) { (void)a, (void)b; longjmp(out, 43); }
static void handler(int signal) { siglongjmp(from_handler, signal); }
int main(void) {
  volatile int kept = 1;
  int code = setjmp(out);
  if (code == 0) {
    kept = 2;
    deep(50);
  }
  printf("%d %d\n", code, kept);
  int values[3] = {3, 2, 1};
  if ((code = setjmp(out)) == 0) qsort(values, 3, sizeof *values, compare);
  printf("%d\n", code);
  signal(SIGUSR1, handler);
  volatile int times = 0;
  while ((code = sigsetjmp(from_handler, 1)) != 0 || times == 0) {
    if (++times > 3) break;
    raise(SIGUSR1);
  }
  printf("%d %d\n", code, times);
  return 0;
}
