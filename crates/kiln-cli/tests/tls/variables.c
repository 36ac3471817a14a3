// More thread-local data than the static pool holds, so that its place is found at run time.
#include <pthread.h>
#include <stdio.h>
#ifndef MODEL
#define MODEL "global-dynamic"
#endif
#define OF(model) __attribute__((tls_model(model)))
extern __thread long theirs OF("global-dynamic");
__thread long ours OF("global-dynamic") = 3;
static __thread long large[2000] OF(MODEL) = {1, 2, 3};
static __thread long zero OF(MODEL);
// Arguments and sums stay in registers across the accesses.
static double mixed(double a, double b, long i, long j) {
  double sum = 0;
  for (long n = 0; n < 3; n++)
    sum += a * large[n] + b * ++zero + (i - j) * ours++ + theirs++;
  return sum;
}
static void *body(void *by) {
  printf("%.3f\n", mixed(1.5, 2.25, (long)by, 4));
  printf("%ld %ld %ld %ld\n", zero, ours, theirs, large[2]);
  return 0;
}
int main(void) {
  for (long i = 0; i < 2; i++) {
    pthread_t thread;
    pthread_create(&thread, 0, body, (void *)(i + 10));
    pthread_join(thread, 0);
  }
  body((void *)7);
  body((void *)8);
  return 0;
}
