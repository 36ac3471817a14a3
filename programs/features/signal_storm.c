// A timer fires into malloc loops and into compiles; its handler calls a function that is new each time.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#define F(n) __attribute__((noinline)) static long f##n(long x) { return x + n; } __attribute__((noinline)) static long g##n(long x) { return x ^ n; }
#define TEN(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5)
#define N(x, n) x##n##0, x##n##1, x##n##2, x##n##3, x##n##4, x##n##5, x##n##6, x##n##7, x##n##8, x##n##9
static long (*const in_handler[])(long) = {N(f, 1), N(f, 2), N(f, 3), N(f, 4), N(f, 5)};
static long (*const in_main[])(long) = {N(g, 1), N(g, 2), N(g, 3), N(g, 4), N(g, 5)};
static volatile sig_atomic_t fired;
static volatile long sum;
static void handler(int signal) {
  (void)signal;
  if (fired < 50) sum += in_handler[fired](0), fired++;
}
int main(void) {
  struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, 0);
  setitimer(ITIMER_REAL, &every, 0);
  long check = 0, turns = 0;
  while (fired < 50) {
    void *blocks[20];
    for (int i = 0; i < 20; i++) blocks[i] = malloc(100 + i * 700);
    for (int i = 0; i < 20; i++) free(blocks[i]);
    if (turns < 50) check += in_main[turns](0);
    turns++;
  }
  setitimer(ITIMER_REAL, &never, 0);
  while (turns < 50) check += in_main[turns++](0);
  printf("%ld %ld\n", sum, check);
  return 0;
}
