// Handlers call functions nobody called before: on the normal stack, with siginfo, nested, and with masks kept.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static volatile int log_[16], logged;
__attribute__((noinline)) static void note(int n) { log_[logged++] = n; }
__attribute__((noinline)) static int twice(int n) { return n * 2; }
__attribute__((noinline)) static int thrice(int n) { return n * 3; }
static void inner(int signal) { note(thrice(signal)); errno = 99; }
static void outer(int signal, siginfo_t *info, void *context) {
  note(twice(signal));
  note(info->si_pid == getpid() && context);
  raise(SIGUSR2);
  note(1000);
}
static void refused(int signal) { note(-signal); }
int main(void) {
  struct sigaction action = {.sa_sigaction = outer, .sa_flags = SA_SIGINFO}, old;
  sigaction(SIGUSR1, &action, 0);
  action = (struct sigaction){.sa_handler = inner};
  sigaction(SIGUSR2, &action, 0);
  errno = 5;
  kill(getpid(), SIGUSR1);
  int kept = errno;
  sigset_t set, before, pending;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, &before);
  signal(SIGINT, refused);
  raise(SIGINT);
  sigpending(&pending);
  int blocked = logged;
  sigprocmask(SIG_SETMASK, &before, 0);
  sigaction(SIGINT, 0, &old);
  for (int i = 0; i < logged; i++) printf("%d ", log_[i]);
  printf("| %d %d %d %d %d\n", kept, sigismember(&pending, SIGINT), logged - blocked, old.sa_handler == refused, sigismember(&before, SIGINT));
  return 0;
}
