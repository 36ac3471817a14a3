// _Fork and the bare system call run no atfork handlers; the child still calls new functions.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) static int one(void) { return 21; }
__attribute__((noinline)) static int two(void) { return 22; }
__attribute__((noinline)) static int three(void) { return 23; }
static int status_of(pid_t pid) {
  int status;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
int main(void) {
  pid_t child = _Fork();
  if (child == 0) _exit(one());
  int first = status_of(child);
  child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(two());
  int second = status_of(child);
  printf("%d %d %d\n", first, second, three() + one() + two());
  return 0;
}
