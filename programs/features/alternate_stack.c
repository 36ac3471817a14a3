// A handler on an alternate stack calls new functions; among them one for the overflow of the normal stack.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
static char stack[1 << 16];
static sigjmp_buf out;
__attribute__((noinline)) static int on_stack(void) {
  char here;
  return &here > stack && &here < stack + sizeof stack;
}
__attribute__((noinline)) static int once_more(int n) { return n + on_stack(); }
static volatile int usr, overflow;
static void handle_usr(int signal) { usr = once_more(signal); }
static void handle_segv(int signal) {
  overflow = on_stack();
  siglongjmp(out, signal);
}
__attribute__((noinline)) static int down(int n) {
  volatile char frame[1000];
  frame[n % 1000] = (char)n;
  return n < 0 ? 0 : down(n + 1) + frame[0];
}
int main(void) {
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, 0);
  struct sigaction action = {.sa_handler = handle_usr, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, 0);
  action.sa_handler = handle_segv;
  sigaction(SIGSEGV, &action, 0);
  raise(SIGUSR1);
  int code = sigsetjmp(out, 1);
  if (code == 0) down(1);
  printf("%d %d %d\n", usr, overflow, code);
  return 0;
}
