// A signal that was sent ends the program without a word.
//# signal: 15
//# stderr: compare
#include <signal.h>
#include <unistd.h>
int main(void) {
  kill(getpid(), SIGTERM);
  for (;;) pause();
}
