// Every access by one model: -ftls-model=local-dynamic.
//# flags: -ftls-model=local-dynamic
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
__thread long counter = 5;
static __thread struct { int a; char name[12]; } record = {7, "seven"};
static __thread long zero[3];
_Thread_local int *address_of_errno;
static void *body(void *unused) {
  (void)unused;
  counter++, record.a++, zero[1]++;
  address_of_errno = &errno;
  errno = 77;
  printf("%ld %d %s %ld %d %d\n", counter, record.a, record.name, zero[1], address_of_errno == &errno, errno);
  return 0;
}
int main(void) {
  for (int i = 0; i < 2; i++) {
    pthread_t thread;
    pthread_create(&thread, 0, body, 0);
    pthread_join(thread, 0);
  }
  body(0);
  body(0);
  return 0;
}
