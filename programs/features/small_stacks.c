// First calls on the smallest stacks a thread may have.
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#define F(n) __attribute__((noinline)) static int f##n(int x) { return x + n; }
F(1) F(2) F(3) F(4)
static void *body(void *which) {
  static int (*const all[])(int) = {f1, f2, f3, f4};
  return (void *)(long)all[(long)which]((int)(long)which * 100);
}
int main(void) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  printf("%d\n", pthread_attr_setstacksize(&attributes, 16384));
  for (long i = 0; i < 4; i++) {
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, &attributes, body, (void *)i)) return 1;
    pthread_join(thread, &result);
    printf("%ld\n", (long)result);
  }
  return 0;
}
