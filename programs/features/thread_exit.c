// exit from a thread that is not the first ends the process, with handlers.
//# exit: 9
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void bye(void) { puts("bye"); }
static void *body(void *unused) {
  (void)unused;
  exit(9);
}
int main(void) {
  pthread_t thread;
  atexit(bye);
  pthread_create(&thread, 0, body, 0);
  for (;;) pause();
}
