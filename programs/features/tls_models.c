// All four models, chosen per variable; each thread starts from the initial value.
#include <pthread.h>
#include <stdio.h>
#define MODEL(name) __attribute__((tls_model(name)))
__thread int dynamic MODEL("global-dynamic") = 1;
static __thread int local MODEL("local-dynamic") = 2;
static __thread int local_zero MODEL("local-dynamic");
__thread int initial MODEL("initial-exec") = 3;
static __thread int exec MODEL("local-exec") = 4;
static __thread char block[200] MODEL("local-exec") __attribute__((aligned(64))) = "text";
static __thread int *self MODEL("local-exec");
static int sum(void) { return dynamic * 1000 + local * 100 + local_zero * 10 + initial + exec; }
static void *body(void *by) {
  int before = sum();
  dynamic += *(int *)by, local += *(int *)by, local_zero += *(int *)by, initial++, exec++;
  self = &exec;
  return (void *)(long)(before * 10000 + sum() + (block[0] == 't') + ((unsigned long)block % 64 == 0) + (*self == exec));
}
int main(void) {
  exec = 9;
  pthread_t threads[4];
  int by[4] = {1, 2, 3, 4};
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, body, &by[i]);
  for (int i = 0; i < 4; i++) {
    void *result;
    pthread_join(threads[i], &result);
    printf("%ld\n", (long)result);
  }
  printf("%d %s %d\n", sum(), block, self == 0);
  return 0;
}
