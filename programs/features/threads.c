// Many threads meet in functions that nobody has compiled yet, and count with a mutex, atomics, a barrier and once.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
enum { THREADS = 8, TURNS = 1000 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static long locked, initialised, destroyed;
static _Atomic long counted;
#define F(n) __attribute__((noinline)) static long f##n(long x) { return x * (n + 3) % 10007 + n; }
F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9)
static long (*const all[])(long) = {f0, f1, f2, f3, f4, f5, f6, f7, f8, f9};
static void initialise(void) { initialised++; }
static void destroy(void *value) { pthread_mutex_lock(&lock), destroyed += (long)value, pthread_mutex_unlock(&lock); }
static void *body(void *number) {
  long x = 1;
  pthread_once(&once, initialise);
  pthread_setspecific(key, (void *)1);
  for (int i = 0; i < 10; i++) {
    pthread_barrier_wait(&barrier);
    x = all[i](x);
  }
  for (int i = 0; i < TURNS; i++) {
    pthread_mutex_lock(&lock);
    locked++;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&counted, (long)number);
  }
  return (void *)x;
}
int main(void) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&barrier, 0, THREADS);
  pthread_key_create(&key, destroy);
  for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], 0, body, (void *)i);
  long same = 0, first = 0;
  for (int i = 0; i < THREADS; i++) {
    void *x;
    pthread_join(threads[i], &x);
    if (i == 0) first = (long)x;
    same += (long)x == first;
  }
  printf("%ld %ld %ld %ld %ld %ld\n", same, first, locked, (long)counted, initialised, destroyed);
  return 0;
}
