// Cancelling a blocked thread unwinds its stack and runs its cleanup handlers, which were never called before.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static int pipes[2];
static void cleanup(void *text) { printf("cleanup %s\n", (char *)text); }
__attribute__((noinline)) static void block(void) {
  char byte;
  pthread_cleanup_push(cleanup, "inner");
  if (read(pipes[0], &byte, 1) < 0) puts("interrupted");
  pthread_cleanup_pop(0);
}
static void *body(void *unused) {
  pthread_cleanup_push(cleanup, "outer");
  block();
  pthread_cleanup_pop(0);
  return unused;
}
int main(void) {
  pthread_t thread;
  void *result;
  if (pipe(pipes)) return 1;
  pthread_create(&thread, 0, body, 0);
  pthread_cancel(thread);
  pthread_join(thread, &result);
  printf("%d\n", result == PTHREAD_CANCELED);
  return 0;
}
