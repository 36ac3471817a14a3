// A fork while other threads compile: the child has one thread and still calls new functions.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#define F(n) __attribute__((noinline)) static int f##n(int x) { return x + n; }
#define TEN(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6)
#define N(n) f##n##0, f##n##1, f##n##2, f##n##3, f##n##4, f##n##5, f##n##6, f##n##7, f##n##8, f##n##9
static int (*const all[])(int) = {N(1), N(2), N(3), N(4), N(5), N(6)};
static atomic_int started;
static int prepared, in_parent, in_child;
static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }
static void *body(void *number) {
  long sum = 0;
  atomic_fetch_add(&started, 1);
  for (int i = (int)(long)number; i < 60; i += 3) sum += all[i](1);
  return (void *)sum;
}
int main(void) {
  pthread_t threads[3];
  pthread_atfork(prepare, parent, child);
  for (long i = 0; i < 3; i++) pthread_create(&threads[i], 0, body, (void *)i);
  while (atomic_load(&started) < 1) ;
  pid_t children[4];
  for (int c = 0; c < 4; c++)
    if ((children[c] = fork()) == 0) {
      int sum = 0;
      for (int i = 59 - c; i >= 0; i -= 7) sum += all[i](c);
      exit(sum % 200 + in_child);
    }
  for (int c = 0; c < 4; c++) {
    int status;
    waitpid(children[c], &status, 0);
    printf("%d ", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
  }
  long total = 0;
  for (int i = 0; i < 3; i++) {
    void *sum;
    pthread_join(threads[i], &sum);
    total += (long)sum;
  }
  printf("| %ld %d %d %d\n", total, prepared, in_parent, in_child);
  return 0;
}
