// A child that shares the memory and is no thread.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int seen;
static int twice(int x) { return 2 * x; }
static int child(void *argument) {
  seen = twice(*(int *)argument);
  _exit(seen & 0x7f);
}
int main(void) {
  int argument = 21, status = 0;
  char *stack = malloc(1 << 16);
  pid_t pid = clone(child, stack + (1 << 16), CLONE_VM | SIGCHLD, &argument);
  if (pid < 0) return 1;
  if (waitpid(pid, &status, 0) != pid) return 2;
  printf("%d %d\n", seen, WEXITSTATUS(status));
  pid = clone(child, 0, SIGCHLD, &argument);
  printf("%d\n", pid);
  return 0;
}
