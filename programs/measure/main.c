/* measure RESULT COMMAND ARGUMENT...: runs the command and writes nanoseconds and kilobytes, "WALL PEAK", into the file.

   A child's peak memory (ru_maxrss) starts at that of the process which forks it, so what forks must be small: this is,
   and links nothing. Its own peak counts the children that the command has waited for. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 3) return 125;
  long long begin = now();
  pid_t child = vfork();
  if (child == 0) {
    execvp(argv[2], argv + 2);
    _exit(127);
  }
  int status;
  struct rusage usage;
  if (child < 0 || wait4(child, &status, 0, &usage) < 0) return 125;
  long long wall = now() - begin;
  FILE *result = fopen(argv[1], "w");
  if (!result || fprintf(result, "%lld %ld\n", wall, usage.ru_maxrss) < 0 || fclose(result)) return 125;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
