// main leaves by pthread_exit; the process ends with status 0 when its last thread does.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static pthread_t first;
static void bye(void) { puts("bye"); }
__attribute__((noinline)) static int work(int n) { return n * 3; }
static void *body(void *number) {
  if (number) pthread_join(first, 0);
  printf("thread %d\n", work((int)(long)number));
  return 0;
}
int main(void) {
  pthread_t second;
  atexit(bye);
  pthread_create(&first, 0, body, 0);
  pthread_create(&second, 0, body, (void *)1);
  pthread_detach(second);
  pthread_exit(0);
}
