// The optimizer is nobody's child as far as the program can see.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile sig_atomic_t chld;
static void on_child(int signal) { (void)signal; chld++; }
__attribute__((noinline)) static int something_new(int x) { return x + 1; }
int main(void) {
  signal(SIGCHLD, on_child);
  int status;
  pid_t got = waitpid(-1, &status, WNOHANG);
  printf("%d %d\n", (int)got, errno == ECHILD);
  printf("%d %d\n", wait(0) == -1 && errno == ECHILD, something_new(1));
  siginfo_t info;
  printf("%d\n", waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == -1 && errno == ECHILD);
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigprocmask(SIG_BLOCK, &set, &before);
  if (fork() == 0) _exit(7);
  while (!chld) sigsuspend(&before);
  got = waitpid(-1, &status, 0);
  printf("%d %d\n", got > 0, WEXITSTATUS(status));
  printf("%d %d\n", waitpid(-1, &status, 0) == -1 && errno == ECHILD, (int)chld);
  return 0;
}
