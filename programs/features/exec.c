// vfork, posix_spawn, popen and system: other programs start and end as natively, and see no stray descriptor.
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
__attribute__((noinline)) static int code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status); }
int main(void) {
  int status;
  pid_t child = vfork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", "exit 3", (char *)0);
    _exit(127);
  }
  waitpid(child, &status, 0);
  printf("%d\n", code(status));
  child = vfork();
  if (child == 0) _exit(execl("/nonexistent", "x", (char *)0) == -1 ? 5 : 6);
  waitpid(child, &status, 0);
  printf("%d\n", code(status));
  char *arguments[] = {"sh", "-c", "kill -9 $$", 0};
  posix_spawn(&child, "/bin/sh", 0, 0, arguments, environ);
  waitpid(child, &status, 0);
  printf("%d\n", code(status));
  char line[100] = "";
  FILE *pipe = popen("ls /proc/self/fd | wc -l", "r");
  if (fgets(line, sizeof line, pipe)) printf("descriptors %s", line);
  printf("%d\n", code(pclose(pipe)));
  printf("%d\n", code(system("trap '' TERM; exit 4")));
  fflush(stdout);
  execlp("echo", "echo", "the", "end", (char *)0);
  return 1;
}
