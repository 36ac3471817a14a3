// Nothing of the runtime shows in the dispositions and the mask a program starts with.
//# signal: 13
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
  for (int number = 1; number < 65; number++) {
    struct sigaction action;
    if (sigaction(number, 0, &action)) continue;
    if (action.sa_handler != SIG_DFL) printf("%d is not the default\n", number);
  }
  sigset_t mask;
  sigprocmask(SIG_BLOCK, 0, &mask);
  for (int number = 1; number < 65; number++)
    if (sigismember(&mask, number) == 1) printf("%d is blocked\n", number);
  stack_t alternate;
  sigaltstack(0, &alternate);
  printf("%d\n", (alternate.ss_flags & SS_DISABLE) != 0);
  fflush(stdout);
  int pipes[2];
  if (pipe(pipes)) return 1;
  close(pipes[0]);
  return (int)write(pipes[1], "x", 1);
}
