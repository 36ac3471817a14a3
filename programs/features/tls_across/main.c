// Thread-local data of one module used by another, by the models the compiler picks.
#include <pthread.h>
#include <stdio.h>
extern __thread int theirs;
extern int *address(void);
extern int bump(void);
static void *body(void *unused) {
  (void)unused;
  theirs += 10;
  int equal = address() == &theirs;
  return (void *)(long)(bump() * 10 + equal);
}
int main(void) {
  pthread_t thread;
  void *result;
  theirs = 50;
  pthread_create(&thread, 0, body, 0);
  pthread_join(thread, &result);
  printf("%ld %d %d\n", (long)result, theirs, bump());
  return 0;
}
